//! What a mail server sends to the shield as its filter: any octets, in pieces of any size.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_wire::milter::fuzz::server(data));
