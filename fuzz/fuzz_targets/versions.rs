//! Version order under every scheme: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_matcher::version::fuzz(data));
