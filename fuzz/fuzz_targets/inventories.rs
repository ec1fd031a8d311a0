//! Ansible inventories in both forms, and CSV: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep::fleet::import::fuzz(data));
