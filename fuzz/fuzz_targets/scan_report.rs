//! What a scanned host prints: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_facts::scan::fuzz(data));
