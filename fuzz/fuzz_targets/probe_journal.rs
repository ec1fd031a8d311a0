//! The journal of numbered messages, as a crash leaves it: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_rollout::ledger::fuzz(data));
