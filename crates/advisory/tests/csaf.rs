//! CSAF documents: small ones of our own, hostile ones, and real ones where the data is at hand.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

mod collected;

use std::fmt::Write as _;

use collected::{Collected, data, json_files};
use mailkeep_advisory::{ReadError, Summary, csaf};
use mailkeep_model::{Ecosystem, PackageKind, Signal, Urgency, Voice};
use proptest::prelude::*;

use PackageKind::{Binary, Source};

fn read(text: &str) -> (Summary, Collected) {
    let mut sink = Collected::default();
    let summary = csaf::read_document(text.as_bytes(), &mut sink).unwrap();
    assert_eq!(summary.problems, sink.problems.len() as u64);
    (summary, sink)
}

/// A document around a product tree and vulnerabilities.
fn document(namespace: &str, tree: &str, vulnerabilities: &str) -> String {
    format!(
        r#"{{"document": {{"csaf_version": "2.0", "category": "csaf_vex", "title": "A bulletin",
            "publisher": {{"category": "vendor", "name": "Vendor", "namespace": "{namespace}"}},
            "aggregate_severity": {{"text": "Important"}},
            "tracking": {{"id": "TEST-2026:0001", "status": "final", "current_release_date": "2026-02-03T04:05:06Z"}}}},
            "product_tree": {tree}, "vulnerabilities": {vulnerabilities}}}"#
    )
}

const RED_HAT: &str = "https://www.redhat.com";
const OTHER: &str = "https://psirt.example.org";

/// Red Hat's shape: platforms and packages side by side, joined by relationships.
fn red_hat_tree() -> String {
    let platform = |id: &str, cpe: &str| {
        format!(
            r#"{{"category": "product_name", "name": "{id}", "product": {{"name": "{id}", "product_id": "{id}",
                "product_identification_helper": {{"cpe": "{cpe}"}}}}}}"#
        )
    };
    let package = |id: &str, purl: &str| {
        format!(
            r#"{{"category": "product_version", "name": "{id}", "product": {{"name": "{id}", "product_id": "{id}",
                "product_identification_helper": {{"purl": "{purl}"}}}}}}"#
        )
    };
    let relationship = |part: &str, whole: &str| {
        format!(
            r#"{{"category": "default_component_of", "product_reference": "{part}", "relates_to_product_reference": "{whole}",
                "full_product_name": {{"name": "x", "product_id": "{whole}:{part}"}}}}"#
        )
    };
    let branches = [
        platform("AppStream-9", "cpe:/a:redhat:enterprise_linux:9::appstream"),
        platform("AppStream-9.2.EUS", "cpe:/a:redhat:rhel_eus:9.2::appstream"),
        platform("AppStream-8", "cpe:/a:redhat:enterprise_linux:8::appstream"),
        platform("rhel_7", "cpe:/o:redhat:enterprise_linux:7"),
        package(
            "dovecot-1:2.3.16-11.el9.x86_64",
            "pkg:rpm/redhat/dovecot@2.3.16-11.el9?arch=x86_64&epoch=1",
        ),
        package(
            "dovecot-1:2.3.16-11.el9.src",
            "pkg:rpm/redhat/dovecot@2.3.16-11.el9?arch=src&epoch=1",
        ),
        package(
            "dovecot-debuginfo-1:2.3.16-11.el9.x86_64",
            "pkg:rpm/redhat/dovecot-debuginfo@2.3.16-11.el9?arch=x86_64&epoch=1",
        ),
        package(
            "dovecot-1:2.3.16-8.el9_2.3.src",
            "pkg:rpm/redhat/dovecot@2.3.16-8.el9_2.3?arch=src&epoch=1",
        ),
        package("dovecot.src", "pkg:rpm/redhat/dovecot?arch=src"),
        package("nodejs:16:8040:rh", "pkg:rpmmod/redhat/nodejs@16:8040:rh"),
        package(
            "nodejs-1:16.20-1.el8.src",
            "pkg:rpm/redhat/nodejs@16.20-1.el8?arch=src&epoch=1",
        ),
        package(
            "image@sha256:00_amd64",
            "pkg:oci/image@sha256:00?arch=amd64",
        ),
    ];
    let relationships = [
        relationship("dovecot-1:2.3.16-11.el9.x86_64", "AppStream-9"),
        relationship("dovecot-1:2.3.16-11.el9.src", "AppStream-9"),
        relationship("dovecot-debuginfo-1:2.3.16-11.el9.x86_64", "AppStream-9"),
        relationship("dovecot-1:2.3.16-8.el9_2.3.src", "AppStream-9.2.EUS"),
        relationship("dovecot.src", "rhel_7"),
        relationship("dovecot.src", "AppStream-8"),
        relationship("nodejs:16:8040:rh", "AppStream-8"),
        relationship("nodejs-1:16.20-1.el8.src", "AppStream-8:nodejs:16:8040:rh"),
        relationship("image@sha256:00_amd64", "AppStream-9"),
    ];
    format!(
        r#"{{"branches": [{{"category": "vendor", "name": "Red Hat", "branches": [{}]}}], "relationships": [{}]}}"#,
        branches.join(","),
        relationships.join(",")
    )
}

#[test]
fn a_distributors_word_is_kept_release_by_release() {
    let vulnerability = r#"[{"cve": "CVE-2026-0001", "title": "CVE-2026-0001 dovecot: a hole", "cwe": {"id": "CWE-770"},
        "scores": [{"cvss_v2": {"vectorString": "AV:N/AC:L/Au:N/C:N/I:N/A:P"}}, {"cvss_v3": {"vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}}],
        "product_status": {
            "fixed": ["AppStream-9:dovecot-1:2.3.16-11.el9.x86_64", "AppStream-9:dovecot-1:2.3.16-11.el9.src",
                "AppStream-9:dovecot-debuginfo-1:2.3.16-11.el9.x86_64", "AppStream-9.2.EUS:dovecot-1:2.3.16-8.el9_2.3.src",
                "AppStream-8:nodejs:16:8040:rh:nodejs-1:16.20-1.el8.src", "AppStream-9:image@sha256:00_amd64"],
            "known_affected": ["rhel_7:dovecot.src", "AppStream-8:dovecot.src"]},
        "threats": [{"category": "impact", "details": "Moderate"},
            {"category": "impact", "details": "Low", "product_ids": ["rhel_7:dovecot.src"]}],
        "remediations": [{"category": "no_fix_planned", "details": "Out of support scope", "product_ids": ["rhel_7:dovecot.src"]},
            {"category": "none_available", "details": "Fix deferred", "product_ids": ["AppStream-8:dovecot.src"]}]}]"#;
    let (summary, sink) = read(&document(RED_HAT, &red_hat_tree(), vulnerability));
    assert_eq!(summary.records, 1);
    assert_eq!(summary.as_of, Some("2026-02-03T04:05:06Z".parse().unwrap()));
    let cve = "CVE-2026-0001";
    assert_eq!(
        sink.said(cve, "dovecot", Source),
        "7 endoflife, 8 postponed, 9 fixed 1:2.3.16-11.el9, 9.2-eus fixed 1:2.3.16-8.el9_2.3"
    );
    assert_eq!(sink.said(cve, "dovecot", Binary), "9 fixed 1:2.3.16-11.el9");
    assert_eq!(sink.about(cve, "dovecot-debuginfo", Binary), None);
    let dovecot = sink.about(cve, "dovecot", Source).unwrap();
    assert_eq!(dovecot.voice, Voice::Distributor);
    assert_eq!(&*dovecot.title, "dovecot: a hole");
    assert_eq!(dovecot.aliases[0].as_str(), "TEST-2026:0001");
    assert!(dovecot.cvss.as_deref().unwrap().starts_with("CVSS:3.1/"));
    assert_eq!(dovecot.claims[0].urgency, Some(Urgency::Low));
    assert_eq!(dovecot.claims[2].urgency, Some(Urgency::Medium));
    assert_eq!(dovecot.claims[1].note.as_deref(), Some("Fix deferred"));
    let nodejs = sink.about(cve, "nodejs", Source).unwrap();
    assert_eq!(nodejs.module.as_deref(), Some("nodejs:16"));
    assert!(
        sink.covers
            .iter()
            .any(|p| p.ecosystem == Ecosystem::RedHat && &*p.release == "9")
    );
    assert_eq!(
        sink.signals,
        [(
            dovecot.advisory.clone(),
            Signal::Weaknesses {
                cwes: vec!["CWE-770".into()]
            }
        )]
    );
    assert_eq!(
        sink.problem_texts(),
        ["TEST-2026:0001: container images, not packages: AppStream-9:image@sha256:00_amd64"]
    );
}

#[test]
fn will_not_fix_not_affected_and_under_investigation_are_told_apart() {
    let vulnerability = r#"[{"cve": "CVE-2026-0002",
        "product_status": {"known_affected": ["rhel_7:dovecot.src"], "known_not_affected": ["AppStream-8:dovecot.src"],
            "under_investigation": ["AppStream-9:dovecot-1:2.3.16-11.el9.src"]},
        "flags": [{"label": "vulnerable_code_not_present", "product_ids": ["AppStream-8:dovecot.src"]}],
        "remediations": [{"category": "no_fix_planned", "details": "Will not fix", "product_ids": ["rhel_7:dovecot.src"]}]}]"#;
    let (_, sink) = read(&document(RED_HAT, &red_hat_tree(), vulnerability));
    assert_eq!(
        sink.said("CVE-2026-0002", "dovecot", Source),
        "7 ignored, 8 not-affected, 9 undetermined"
    );
    let claims = &sink
        .about("CVE-2026-0002", "dovecot", Source)
        .unwrap()
        .claims;
    assert_eq!(claims[0].note.as_deref(), Some("Will not fix"));
    assert_eq!(
        claims[1].note.as_deref(),
        Some("vulnerable code not present")
    );
    assert_eq!(claims[0].urgency, Some(Urgency::High), "from the document");
}

#[test]
fn only_the_distributor_has_the_distributors_voice() {
    let vulnerability = r#"[{"cve": "CVE-2026-0003", "product_status": {"known_not_affected": ["rhel_7:dovecot.src"]}}]"#;
    for (namespace, voice) in [
        (RED_HAT, Voice::Distributor),
        ("https://redhat.com/", Voice::Distributor),
        (OTHER, Voice::Upstream),
        ("https://notredhat.com", Voice::Upstream),
        ("https://redhat.com.example.org", Voice::Upstream),
    ] {
        let (_, sink) = read(&document(namespace, &red_hat_tree(), vulnerability));
        assert_eq!(sink.statements[0].voice, voice, "{namespace}");
    }
}

#[test]
fn suse_names_its_fixes_recommended() {
    let tree = r#"{"branches": [{"category": "vendor", "name": "SUSE", "branches": [
        {"category": "architecture", "name": "x86_64", "branches": [{"category": "product_version", "name": "dovecot23-2.3.15-150200.65.1.x86_64",
            "product": {"name": "dovecot23-2.3.15-150200.65.1.x86_64", "product_id": "dovecot23-2.3.15-150200.65.1.x86_64"}}]},
        {"category": "product_version", "name": "exim", "product": {"name": "exim", "product_id": "exim"}},
        {"category": "product_family", "name": "SUSE Linux Enterprise", "branches": [{"category": "product_name", "name": "SUSE Linux Enterprise Server 15 SP5",
            "product": {"name": "SUSE Linux Enterprise Server 15 SP5", "product_id": "SUSE Linux Enterprise Server 15 SP5",
                "product_identification_helper": {"cpe": "cpe:/o:suse:sles:15:sp5"}}}]}]}],
        "relationships": [
            {"category": "default_component_of", "product_reference": "dovecot23-2.3.15-150200.65.1.x86_64", "relates_to_product_reference": "SUSE Linux Enterprise Server 15 SP5",
                "full_product_name": {"name": "x", "product_id": "SUSE Linux Enterprise Server 15 SP5:dovecot23-2.3.15-150200.65.1.x86_64"}}]}"#;
    let vulnerability = r#"[{"cve": "CVE-2026-0004", "product_status": {
        "recommended": ["SUSE Linux Enterprise Server 15 SP5:dovecot23-2.3.15-150200.65.1.x86_64"],
        "known_affected": ["SUSE Linux Enterprise Server 15 SP5:exim"]}}]"#;
    let (_, sink) = read(&document("https://www.suse.com/", tree, vulnerability));
    let cve = "CVE-2026-0004";
    assert_eq!(
        sink.said(cve, "dovecot23", Binary),
        "15.5 fixed 2.3.15-150200.65.1"
    );
    // The relationship is missing, and nothing says whose name it is: both are meant.
    assert_eq!(sink.said(cve, "exim", Source), "15.5 open");
    assert_eq!(sink.said(cve, "exim", Binary), "15.5 open");
    assert_eq!(sink.statements[0].ecosystem, Ecosystem::Suse);
    assert!(sink.problems.is_empty());
}

#[test]
fn products_of_no_distributor_have_ranges() {
    let tree = r#"{"branches": [{"category": "vendor", "name": "Example GmbH", "branches": [
        {"category": "product_name", "name": "Example Mail Gate", "branches": [
            {"category": "product_version_range", "name": "vers:generic/>=2.9|<=4.1", "product": {"name": "a", "product_id": "A"}},
            {"category": "product_version_range", "name": "<1.2", "product": {"name": "b", "product_id": "B"}},
            {"category": "product_version", "name": "4.2", "product": {"name": "c", "product_id": "C"}},
            {"category": "product_version_range", "name": "as of the summer", "product": {"name": "d", "product_id": "D"}}]},
        {"category": "product_name", "name": "Appliance", "product": {"name": "Appliance", "product_id": "E"}},
        {"category": "product_name", "name": "Server", "branches": [
            {"category": "product_version", "name": "2.3.21", "product": {"name": "s", "product_id": "S1"}},
            {"category": "product_version", "name": "2.3.21.1", "product": {"name": "s", "product_id": "S2",
                "product_identification_helper": {"cpe": "cpe:2.3:a:example:imap_server:2.3.21.1:*:*:*:*:*:*:*"}}}]}]}],
        "full_product_names": [{"name": "lib", "product_id": "L", "product_identification_helper": {"purl": "pkg:npm/lib@1.0.0"}},
            {"name": "Debian", "product_id": "O", "product_identification_helper": {"cpe": "cpe:/o:debian:debian_linux:12"}}]}"#;
    let vulnerability = r#"[{"cve": "CVE-2026-0005", "product_status": {
        "known_affected": ["A", "B", "D", "E", "L", "O", "nowhere", 7], "fixed": ["C", "E"],
        "last_affected": ["S1"], "first_fixed": ["S2"]}}]"#;
    let (_, sink) = read(&document(OTHER, tree, vulnerability));
    let cve = "CVE-2026-0005";
    assert_eq!(sink.said_of(cve, "example/example-mail-gate"), "");
    assert_eq!(sink.said_of(cve, "example/mail-gate"), "..1.2 2.9..=4.1");
    assert_eq!(sink.said_of(cve, "example/appliance"), "open");
    assert_eq!(sink.said_of(cve, "example/imap-server"), "..2.3.21.1");
    assert_eq!(sink.said_of(cve, "npm"), "1.0.0");
    assert_eq!(
        sink.problem_texts(),
        [
            "TEST-2026:0001: a distribution is named, but no package of it: O",
            "TEST-2026:0001: product ids that are no text",
            "TEST-2026:0001: products that are fixed in no version named: E",
            "TEST-2026:0001: products that are not in the product tree: nowhere",
            "TEST-2026:0001: products whose version cannot be read: D",
        ]
    );
}

#[test]
fn exchange_is_one_package_with_a_range_for_each_cumulative_update() {
    let product = |number: u32, name: &str, build: &str| {
        format!(
            r#"{{"category": "product_name", "name": "{name}", "branches": [
                {{"category": "product_version_range", "name": "<{build}", "product": {{"name": "x", "product_id": "{number}"}}}},
                {{"category": "product_version", "name": "{build}", "product": {{"name": "x", "product_id": "{number}-fixed"}}}}]}}"#
        )
    };
    let tree = format!(
        r#"{{"branches": [{}, {}, {}]}}"#,
        product(
            1,
            "Microsoft Exchange Server 2019 Cumulative Update 14",
            "15.02.1544.011"
        ),
        product(
            2,
            "Microsoft Exchange Server 2019 Cumulative Update 13",
            "15.02.1258.034"
        ),
        product(3, "Microsoft Edge (Chromium-based)", "129.0.1")
    );
    let vulnerability = r#"[{"cve": "CVE-2026-0006", "product_status": {"known_affected": ["1", "2", "3"], "fixed": ["1-fixed", "2-fixed", "3-fixed"]}}]"#;
    let (_, sink) = read(&document(
        "https://msrc.microsoft.com",
        &tree,
        vulnerability,
    ));
    assert_eq!(
        sink.said_of("CVE-2026-0006", "Exchange"),
        "15.2.0.0..15.2.1258.34 15.2.1259.0..15.2.1544.11"
    );
    assert_eq!(
        sink.said_of("CVE-2026-0006", "microsoft/edge-chromium-based"),
        "..129.0.1"
    );
    assert!(sink.problems.is_empty());
}

#[test]
fn drafts_and_withdrawn_documents_say_nothing() {
    let text = document(
        OTHER,
        &red_hat_tree(),
        r#"[{"cve": "CVE-2026-0007", "product_status": {"known_affected": ["rhel_7"]}}]"#,
    );
    let (summary, sink) = read(&text.replace("\"final\"", "\"draft\""));
    assert_eq!(
        (summary.records, summary.problems, sink.statements.len()),
        (1, 1, 0)
    );
    let (summary, sink) = read(&text.replace("csaf_vex", "csaf_withdrawn"));
    assert_eq!(
        (summary.records, summary.problems, sink.statements.len()),
        (1, 0, 0)
    );
}

#[test]
fn wrong_types_cost_only_what_they_stand_for() {
    let tree = r#"{"branches": [7, {"category": [], "name": {}, "product": {"product_id": 7}},
        {"category": "vendor", "name": "V", "branches": {"a": 1}},
        {"category": "vendor", "name": "V", "branches": [{"category": "product_name", "name": "P", "product": {"name": "P", "product_id": "P"}}]}],
        "relationships": [null, {}, {"full_product_name": 1}], "full_product_names": "none"}"#;
    let vulnerabilities = r#"[1, {}, {"cve": 1, "product_status": []}, {"cve": "no id", "scores": {}, "product_status": {"known_affected": "P"}},
        {"cve": "CVE-2026-0008", "threats": [0, {"details": 3}], "remediations": 1, "product_status": {"known_affected": ["P"], "fixed": {}}}]"#;
    let (summary, sink) = read(&document(OTHER, tree, vulnerabilities));
    assert_eq!(summary.records, 5);
    assert_eq!(sink.said_of("CVE-2026-0008", "v/p"), "open");
    assert_eq!(
        sink.problem_texts(),
        [
            "TEST-2026:0001: parts of the product tree cannot be read (5 in all)",
            "TEST-2026:0001: vulnerabilities that are no objects",
        ]
    );
}

#[test]
fn relationships_in_a_circle_end() {
    let relation = |id: &str, part: &str, whole: &str| {
        format!(
            r#"{{"product_reference": "{part}", "relates_to_product_reference": "{whole}", "full_product_name": {{"product_id": "{id}"}}}}"#
        )
    };
    let tree = format!(
        r#"{{"relationships": [{}, {}, {}, {}]}}"#,
        relation("a", "b", "p"),
        relation("b", "a", "p"),
        relation("c", "x", "d"),
        relation("d", "y", "d")
    );
    let vulnerability =
        r#"[{"cve": "CVE-2026-0009", "product_status": {"known_affected": ["a", "b", "c", "d"]}}]"#;
    let (_, sink) = read(&document(OTHER, &tree, vulnerability));
    assert_eq!(
        sink.problem_texts(),
        ["TEST-2026:0001: products whose relationships do not end: a (4 in all)"]
    );
}

#[test]
fn deep_nesting_is_refused_or_cut_and_never_overflows() {
    for depth in [50, 62, 100_000] {
        let mut tree = String::from(r#"{"branches": ["#);
        for _ in 0..depth {
            tree.push_str(r#"{"category": "product_family", "name": "f", "branches": ["#);
        }
        for _ in 0..depth {
            tree.push_str("]}");
        }
        tree.push_str("]}");
        let text = document(OTHER, &tree, "[]");
        let result = csaf::read_document(text.as_bytes(), &mut Collected::default());
        match result {
            Ok(_) => assert!(depth < 64),
            Err(ReadError::NotThisKind { found, .. }) => {
                assert!(found.contains("recursion limit"), "{found}");
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn what_is_no_csaf_document_is_refused_in_words() {
    let refused = |text: &str| match csaf::read_document(text.as_bytes(), &mut Collected::default())
    {
        Err(error) => error.to_string(),
        Ok(summary) => panic!("{text} was read: {summary:?}"),
    };
    assert!(refused("").contains("empty"));
    assert!(refused("<html>").contains("HTML"));
    assert!(refused("[]").contains("CSAF"));
    assert!(refused("{}").contains("no `document`"));
    assert!(refused(r#"{"document": {"csaf_version": "1.2"}}"#).contains("csaf_version"));
    assert!(refused(r#"{"document": {"csaf_version": "2.0", "#).contains("ends too early"));
    assert!(refused(&format!("[{}]", "{},".repeat(500_001))).contains("500000 objects"));
}

#[test]
fn a_huge_list_of_products_makes_one_problem() {
    let mut ids = String::new();
    for number in 0..200_000 {
        write!(ids, "\"product {number}\",").unwrap();
    }
    let vulnerability = format!(
        r#"[{{"cve": "CVE-2026-0010", "product_status": {{"known_affected": [{ids}"x"]}}}}]"#
    );
    let (_, sink) = read(&document(OTHER, "{}", &vulnerability));
    assert_eq!(
        sink.problem_texts(),
        ["TEST-2026:0001: products that are not in the product tree: product 0 (200001 in all)"]
    );
}

#[test]
fn real_red_hat_documents_say_what_red_hat_says() {
    let Some(folder) = data("real_red_hat_documents", "csaf/vendor-samples/redhat") else {
        return;
    };
    let mut problems = Vec::new();
    for (name, bytes) in json_files(&folder) {
        let mut sink = Collected::default();
        let summary = csaf::read_document(bytes.as_slice(), &mut sink).unwrap();
        assert!(summary.as_of.is_some(), "{name}");
        assert!(
            sink.statements
                .iter()
                .all(|s| s.voice == Voice::Distributor && s.ecosystem == Ecosystem::RedHat),
            "{name}"
        );
        problems.extend(sink.problems.iter().map(|p| p.reason.clone()));
        match name.as_str() {
            "cve-2024-2961.json.xz" => {
                let glibc = sink.said("CVE-2024-2961", "glibc", Source);
                for expected in [
                    "6 endoflife",
                    "7 fixed 2.17-326.el7_9.3",
                    "8 ..2.28-236.el8_9.13 2.28-236.el8_10..2.28-251.el8_10.1",
                    "9 fixed 2.34-100.el9_4.2",
                    "9.2-eus fixed 2.34-60.el9_2.14",
                    "8.4-aus fixed 2.28-151.el8_4.2",
                ] {
                    assert!(glibc.contains(expected), "{glibc}");
                }
                assert_eq!(
                    sink.said("CVE-2024-2961", "compat-glibc", Source),
                    "6 not-affected, 7 not-affected"
                );
            }
            "cve-2024-0727-openssl.json" => {
                let openssl = sink.said("CVE-2024-0727", "openssl", Source);
                assert_eq!(
                    openssl,
                    "6 endoflife, 7 endoflife, 8 postponed, 9 fixed 1:3.0.7-27.el9"
                );
                assert_eq!(
                    sink.said("CVE-2024-0727", "edk2", Source),
                    "8 ignored, 9 fixed 20240524-6.el9_5"
                );
                assert_eq!(
                    sink.said("CVE-2024-0727", "shim", Source),
                    "8 not-affected, 9 not-affected"
                );
            }
            "rhsa-2024_3666.json" => {
                let tomcat = sink.about("CVE-2024-23672", "tomcat", Source).unwrap();
                assert_eq!(tomcat.aliases[0].as_str(), "RHSA-2024:3666");
                assert_eq!(tomcat.claims[0].urgency, Some(Urgency::High));
            }
            "rhsa-2024_10771.json.xz" => {
                let kernel = sink.said("CVE-2022-48804", "kernel", Source);
                assert_eq!(kernel, "9.4-eus fixed 5.14.0-427.47.1.el9_4");
            }
            _ => {}
        }
    }
    // What Red Hat ships that is no RPM package, and nothing else.
    for problem in problems {
        assert!(
            problem.starts_with("container images")
                || problem.starts_with("components of other products")
                || problem
                    .starts_with("products that are fixed in no version named: Red Hat build"),
            "{problem}"
        );
    }
}

#[test]
fn real_documents_of_other_vendors_are_read() {
    for vendor in ["microsoft", "ox", "cert-bund"] {
        let folder = format!("csaf/vendor-samples/{vendor}");
        let Some(folder) = data("real_documents_of_other_vendors", &folder) else {
            return;
        };
        for (name, bytes) in json_files(&folder) {
            let mut sink = Collected::default();
            csaf::read_document(bytes.as_slice(), &mut sink).unwrap();
            assert!(!sink.statements.is_empty(), "{name}");
            assert!(
                sink.statements.iter().all(|s| s.voice == Voice::Upstream),
                "{name}"
            );
            let problems = sink.problem_texts();
            match name.as_str() {
                "oxdc-adv-2024-0003.json" => {
                    assert_eq!(
                        sink.said_of("CVE-2024-23185", "open-xchange/dovecot"),
                        "..2.3.21.1"
                    );
                }
                "msrc_cve-2025-29806.json" => assert_eq!(
                    sink.said_of("CVE-2025-29806", "microsoft/edge-chromium-based"),
                    "..129.0.2792.52"
                ),
                "wid-sec-w-2025-0001.json" => {
                    let cve = "CVE-2021-32740";
                    assert_eq!(sink.said_of(cve, "ibm/db2"), "..5.1.0");
                    assert_eq!(sink.said_of(cve, "ibm/db2-warehouse"), "..5.1.0");
                    assert_eq!(
                        sink.said_of(cve, "ibm/spectrum-protect-plus"),
                        "..10.1.6.4 ..10.1.17.1"
                    );
                    assert_eq!(
                        problems,
                        [
                            "WID-SEC-W-2025-0001: a distribution is named, but no package of it: 67646 (35 in all)"
                        ]
                    );
                }
                _ => {}
            }
            if name != "wid-sec-w-2025-0001.json" {
                assert!(problems.is_empty(), "{name}: {problems:?}");
            }
        }
    }
}

#[test]
fn a_cvrf_file_is_not_taken_for_csaf() {
    let Some(folder) = data("a_cvrf_file", "csaf/vendor-samples/suse") else {
        return;
    };
    for (_, bytes) in json_files(&folder) {
        let error = csaf::read_document(bytes.as_slice(), &mut Collected::default()).unwrap_err();
        assert!(matches!(error, ReadError::NotThisKind { .. }));
    }
}

#[test]
fn the_examples_of_oasis_are_read() {
    let Some(folder) = data("the_examples_of_oasis", "csaf/oasis/csaf_2.0-examples/csaf") else {
        return;
    };
    let mut read = 0;
    for (name, bytes) in json_files(&folder) {
        let mut sink = Collected::default();
        csaf::read_document(bytes.as_slice(), &mut sink).unwrap();
        read += 1;
        let problems = sink.problem_texts();
        match name.as_str() {
            "2022-evd-uc-04-001.json" => {
                assert_eq!(sink.said_of("CVE-2021-44228", "example-company/abc"), "");
                assert_eq!(
                    sink.said_of("CVE-2021-44228", "example/abc"),
                    "2.9..=4.1 2.4 2.6"
                );
            }
            "rhsa-2022_0011.json" => assert_eq!(
                sink.said("CVE-2020-10188", "telnet", Source),
                "7.6-aus fixed 1:0.17-65.el7_6, 7.6-e4s fixed 1:0.17-65.el7_6, 7.6-tus fixed 1:0.17-65.el7_6"
            ),
            "bsi-2022-0001.json" => {
                let said = sink.said_of("CVE-2022-27193", "csaf-tools/cvrf-csaf-converter");
                assert_eq!(
                    said,
                    "1.0.0-alpha 1.0.0-dev1 1.0.0-dev2 1.0.0-dev3 1.0.0-rc1"
                );
            }
            "rhsa-2021_5186.json" => {
                assert!(problems[0].contains("no RPM packages"), "{problems:?}");
            }
            "rhsa-2021_5217.json" => {
                assert!(problems[0].contains("no version named"), "{problems:?}");
            }
            // Single versions that are not affected: nothing can be said of the others.
            "2022-evd-uc-01-na-001.json"
            | "2022-evd-uc-02-na-001.json"
            | "2022-evd-uc-03-ms-001.json"
            | "sec-vex-2022-0001.json" => {
                assert!(problems[0].contains("single versions"), "{problems:?}");
            }
            _ => assert!(problems.is_empty(), "{name}: {problems:?}"),
        }
    }
    assert!(read >= 18);
}

#[test]
fn the_whole_test_suite_of_oasis_is_survived() {
    let test = "the_whole_test_suite_of_oasis";
    let Some(folder) = data(test, "csaf/oasis") else {
        return;
    };
    let archive = "oasis-csaf-2.0-2.1-examples-tests-2026-08-17.tar.xz";
    let Some(files) = collected::tar_xz_json(test, &folder.join(archive)) else {
        return;
    };
    // Every file of the archive, one after the other: documents, valid and not, and schemas.
    let mut members =
        serde_json::Deserializer::from_slice(&files).into_iter::<serde::de::IgnoredAny>();
    let (mut start, mut documents) = (0, 0);
    while let Some(member) = members.next() {
        member.unwrap();
        let bytes = &files[start..members.byte_offset()];
        start = members.byte_offset();
        csaf::fuzz(bytes);
        let mut sink = Collected::default();
        match csaf::read_document(bytes, &mut sink) {
            Ok(_) => documents += 1,
            Err(ReadError::NotThisKind { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert!(documents > 1000, "{documents}");
}

#[test]
fn oasis_provider_metadata_and_rolie_examples_are_read() {
    let Some(folder) = data("oasis_provider_metadata", "csaf/oasis/csaf_2.0-examples") else {
        return;
    };
    for (name, bytes) in json_files(&folder.join("provider-metadata")) {
        let (provider, problems) = csaf::read_provider_metadata(&bytes).unwrap();
        assert!(problems.is_empty(), "{name}: {problems:?}");
        assert_eq!(provider.distributions.len(), 1);
        assert_eq!(provider.role, "csaf_trusted_provider");
        assert_eq!(provider.keys.len(), 1);
    }
    let feeds = json_files(&folder.join("ROLIE"));
    let feed = feeds
        .iter()
        .find(|(name, _)| name == "example-01-feed-tlp-white.json");
    let (entries, problems) = csaf::read_rolie(&feed.unwrap().1).unwrap();
    assert!(problems.is_empty());
    assert_eq!(entries.len(), 1);
    assert!(entries[0].url.ends_with("2020/2020-ESA-001.json"));
    assert!(entries[0].sha512_url.is_some() && entries[0].signature_url.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        csaf::fuzz(&bytes);
    }

    #[test]
    fn a_document_cut_anywhere_or_with_a_byte_changed_never_panics(at in 0usize..6000, byte in any::<u8>()) {
        let text = document(RED_HAT, &red_hat_tree(), r#"[{"cve": "CVE-2026-0001", "product_status": {"fixed": ["AppStream-9:dovecot-1:2.3.16-11.el9.src"]}}]"#);
        let mut bytes = text.into_bytes();
        let at = at % bytes.len();
        csaf::fuzz(&bytes[..at]);
        bytes[at] = byte;
        csaf::fuzz(&bytes);
    }

    #[test]
    fn strange_names_never_panic_and_stay_printable(name in "\\PC{0,30}|[\u{0}-\u{1f}]{1,4}|(<=?|>=?|vers:)[ -~]{0,20}", category in "product_(name|version|version_range|family)") {
        let name = serde_json::to_string(&name).unwrap();
        let tree = format!(r#"{{"branches": [{{"category": "vendor", "name": "V", "branches": [{{"category": "product_name", "name": "P", "branches": [
            {{"category": "{category}", "name": {name}, "product": {{"name": {name}, "product_id": "X"}}}}]}}]}}]}}"#);
        let (_, sink) = read(&document(OTHER, &tree, r#"[{"cve": "CVE-2026-0011", "product_status": {"known_affected": ["X"]}}]"#));
        // Said or reported, never lost.
        prop_assert_eq!(sink.statements.len() + sink.problems.len(), 1);
        for statement in &sink.statements {
            let text = serde_json::to_string(statement).unwrap();
            prop_assert!(!text.contains("\\u00"), "{}", text);
        }
    }
}
