//! Compressed feeds and archives: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_advisory::container::fuzz(data));
