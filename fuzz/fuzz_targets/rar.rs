//! RAR archives of any version: any bytes, with the sums of the heads made right.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_inspect::unpack::fuzz_rar(data));
