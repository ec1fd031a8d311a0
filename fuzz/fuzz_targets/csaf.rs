//! CSAF documents, and what a CSAF provider lists: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_advisory::csaf::fuzz(data));
