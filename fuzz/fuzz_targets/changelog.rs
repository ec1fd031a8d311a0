//! Debian changelogs of offered packages: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_advisory::released::fuzz(data));
