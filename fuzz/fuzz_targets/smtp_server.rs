//! What the server behind the shield answers: any octets.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_wire::fuzz::server(data));
