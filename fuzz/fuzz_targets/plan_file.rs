//! Plans: any bytes. What can be read is checked, compared and drawn, too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_plan::document::fuzz_read(data));
