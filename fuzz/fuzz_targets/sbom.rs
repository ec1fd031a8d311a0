//! CycloneDX and SPDX documents: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailkeep_facts::sbom::fuzz(data));
