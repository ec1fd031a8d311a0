//! The smallest parsers: os-release, CVSS vectors, deadline tables, checksum files, OpenPGP keys,
//! the status lines of `gpgv`, answers of an `ssh` that shares its connection, and records of quarantined
//! messages. Any bytes.
#![no_main]

use mailkeep_facts::os_release;
use mailkeep_reach::{fetch, hosts};
use mailkeep_triage::{CvssFacts, Policy, cvss_base_score};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    drop(fetch::parse_checksums(data));
    drop(fetch::dearmor_key(data));
    drop(fetch::read_status(data));
    hosts::fuzz(data);
    mailkeep_inspect::kept::fuzz(data);
    let text = &String::from_utf8_lossy(data);
    os_release::platform_of(&os_release::parse(text).0);
    cvss_base_score(text);
    CvssFacts::read(text);
    drop(toml::from_str::<Policy>(text));
});
