//! An SSH signature over a bundle, and the list of those who may make one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_inspect::rules::fuzz_signature(data));
