//! Package files that are opened for their changelog: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep::feeds::deb::fuzz(data));
