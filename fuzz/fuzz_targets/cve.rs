//! CVE records: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_advisory::cve::fuzz(data));
