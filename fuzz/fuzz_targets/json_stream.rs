//! The splitter below every JSON feed: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_advisory::json_stream::fuzz(data));
