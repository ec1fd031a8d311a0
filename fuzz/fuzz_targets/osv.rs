//! OSV records, one or one a line: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_advisory::osv::fuzz(data));
