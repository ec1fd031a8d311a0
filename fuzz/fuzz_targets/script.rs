//! Scripts among the files of an archive, looked at as source code: any bytes, as each language.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_inspect::danger::fuzz_script(data));
