//! Version ranges, CPE names, product names and package URLs: any bytes.
#![no_main]

use mailkeep_advisory::product::{cpe::Cpe, distribution, ranges, registry_package};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = &String::from_utf8_lossy(data);
    ranges::parse(text);
    Cpe::parse(text)
        .as_ref()
        .and_then(distribution::Release::from_cpe);
    distribution::Release::from_name(text);
    distribution::RpmPackage::from_purl(text);
    distribution::RpmPackage::from_text(text);
    registry_package(text);
});
