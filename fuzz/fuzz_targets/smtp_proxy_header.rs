//! What another proxy says of a client before the client speaks (PROXY protocol, both versions).
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_wire::fuzz::proxy(data));
