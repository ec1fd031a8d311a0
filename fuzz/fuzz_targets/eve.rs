//! A log of events of Suricata: any octets.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_inspect::rules::fuzz_eve(data));
