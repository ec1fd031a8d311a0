//! What lies in a mailbox, as its host says, and replies of mail servers: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_reach::probe::fuzz(data));
