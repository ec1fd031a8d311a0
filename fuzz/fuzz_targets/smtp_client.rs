//! What a client sends to the shield: any octets, in pieces of any size.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_wire::fuzz::client(data));
