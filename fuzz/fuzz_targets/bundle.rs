//! A bundle of virtual patches: any text.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_inspect::rules::fuzz_bundle(data));
