//! What a host answers to an act of a rollout: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_rollout::host::answer::fuzz(data));
