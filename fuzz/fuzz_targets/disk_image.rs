//! Disk images, ISO 9660 and UDF, behind the sectors of the system: any bytes, with the sums made right.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_inspect::unpack::fuzz_disk(data));
