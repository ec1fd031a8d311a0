//! What content is and what is dangerous in it, with all that lies in it: any bytes as an attachment.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    mailkeep_inspect::kind::fuzz(data);
    mailkeep_inspect::examine::fuzz(data);
});
