//! A message: every reading of it, and the judgement.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_inspect::readings::fuzz(data));
