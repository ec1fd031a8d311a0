//! What the fuzzers have found in host texts is survived (`fuzz/corpus`).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its corpus"
)]

#[path = "../../../fuzz/replay.rs"]
mod replay;

use mailkeep_facts::{dpkg, impact, os_release, rpm, sbom, scan};
use replay::replay;

#[test]
fn every_dpkg_status_of_the_corpus_is_survived() {
    replay("dpkg_status", dpkg::fuzz);
}

#[test]
fn every_report_of_impact_of_the_corpus_is_survived() {
    replay("impact_report", impact::fuzz);
}

#[test]
fn every_rpm_list_of_the_corpus_is_survived() {
    replay("rpm_list", rpm::fuzz);
}

#[test]
fn every_sbom_of_the_corpus_is_survived() {
    replay("sbom", sbom::fuzz);
}

#[test]
fn every_scan_report_of_the_corpus_is_survived() {
    replay("scan_report", scan::fuzz);
}

#[test]
fn every_small_text_of_the_corpus_is_survived_as_os_release() {
    replay("small_texts", |data| {
        os_release::platform_of(&os_release::parse(&String::from_utf8_lossy(data)).0);
    });
}
