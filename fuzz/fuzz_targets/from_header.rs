//! The value of From: any bytes as a list of mailboxes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_inspect::from::fuzz(data));
