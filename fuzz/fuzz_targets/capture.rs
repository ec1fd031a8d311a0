//! Captures of the network and the mail sessions in them: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep::shield::replay::fuzz(data));
