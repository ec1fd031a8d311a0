//! Recurrence rules in a time zone: any bytes. Planner and checker must see the same windows.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_plan::windows::fuzz(data));
