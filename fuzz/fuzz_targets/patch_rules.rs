//! What the built-in virtual patches are shown: a command, headers, or a part. The first octet says which.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_inspect::rules::fuzz_condition(data));
