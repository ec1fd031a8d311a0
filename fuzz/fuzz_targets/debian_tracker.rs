//! The Debian security tracker: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_advisory::debian_tracker::fuzz(data));
