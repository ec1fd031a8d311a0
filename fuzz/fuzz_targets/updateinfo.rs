//! `updateinfo.xml` of rpm repositories: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_advisory::updateinfo::fuzz(data));
