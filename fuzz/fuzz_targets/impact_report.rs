//! What a host says an upgrade would change: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_facts::impact::fuzz(data));
