//! Recipes: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_rollout::recipe::fuzz(data));
