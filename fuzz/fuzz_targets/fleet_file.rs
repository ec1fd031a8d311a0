//! The fleet file: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(mailkeep::fleet::parse_bytes(data)));
