//! `rpm -qa` of a host: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_facts::rpm::fuzz(data));
