//! What Exchange and Stalwart answer before and during maintenance: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_rollout::host::dialogue::fuzz(data));
