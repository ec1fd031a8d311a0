//! Archives and documents: the first octet picks the reader, the rest is any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_inspect::unpack::fuzz(data));
