//! What the fuzzers have found in feeds is survived (`fuzz/corpus`).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its corpus"
)]

#[path = "../../../fuzz/replay.rs"]
mod replay;

use mailkeep_advisory::product::{cpe::Cpe, distribution, ranges, registry_package};
use mailkeep_advisory::{
    container, csaf, cve, debian_tracker, epss, json_stream, kev, osv, released, updateinfo,
};
use replay::replay;

#[test]
fn every_changelog_of_the_corpus_is_survived() {
    replay("changelog", released::fuzz);
}

#[test]
fn every_container_of_the_corpus_is_survived() {
    replay("container", container::fuzz);
}

#[test]
fn every_csaf_document_and_listing_of_the_corpus_is_survived() {
    replay("csaf", csaf::fuzz);
}

#[test]
fn every_cve_record_of_the_corpus_is_survived() {
    replay("cve", cve::fuzz);
}

#[test]
fn every_debian_tracker_of_the_corpus_is_survived() {
    replay("debian_tracker", debian_tracker::fuzz);
}

#[test]
fn every_kev_and_epss_of_the_corpus_is_survived() {
    replay("exploited", |data| {
        kev::fuzz(data);
        epss::fuzz(data);
    });
}

#[test]
fn every_json_of_the_corpus_is_taken_apart() {
    replay("json_stream", json_stream::fuzz);
}

#[test]
fn every_osv_record_of_the_corpus_is_survived() {
    replay("osv", osv::fuzz);
}

#[test]
fn every_product_text_of_the_corpus_is_survived() {
    replay("product_texts", |data| {
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
}

#[test]
fn every_updateinfo_of_the_corpus_is_survived() {
    replay("updateinfo", updateinfo::fuzz);
}
