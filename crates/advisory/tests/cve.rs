//! CVE records: small ones of our own, hostile ones, and real ones where the data is at hand.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

mod collected;

use collected::{Collected, data, json_files};
use mailkeep_advisory::{ReadError, Summary, cve};
use mailkeep_model::{
    Ecosystem, PackageKind, Signal, SsvcAutomatable, SsvcExploitation, SsvcTechnicalImpact, Voice,
};
use proptest::prelude::*;

const ID: &str = "CVE-2026-1234";

fn read(text: &str) -> (Summary, Collected) {
    let mut sink = Collected::default();
    let summary = cve::read_record(text.as_bytes(), &mut sink).unwrap();
    assert_eq!(summary.problems, sink.problems.len() as u64);
    (summary, sink)
}

/// A record around the CNA's container and the others.
fn record(cna: &str, adp: &str) -> String {
    format!(
        r#"{{"dataType": "CVE_RECORD", "dataVersion": "5.1", "cveMetadata": {{"cveId": "{ID}", "state": "PUBLISHED",
            "dateUpdated": "2026-02-03T04:05:06.789Z"}}, "containers": {{"cna": {cna}, "adp": [{adp}]}}}}"#
    )
}

const EXIM: &str = r#"{"vendor": "Exim", "product": "Exim", "versions": [{"status": "affected", "version": "0", "lessThan": "4.98"}]}"#;

fn cisa(metrics: &str, affected: &str) -> String {
    format!(
        r#"{{"title": "CISA ADP Vulnrichment", "providerMetadata": {{"shortName": "CISA-ADP"}}, "metrics": [{metrics}], "affected": [{affected}]}}"#
    )
}

fn signals(sink: &Collected) -> Vec<&Signal> {
    sink.signals.iter().map(|(_, signal)| signal).collect()
}

#[test]
fn a_record_gives_signals_and_statements() {
    let cna = format!(
        r#"{{"title": "A hole in Exim", "affected": [{EXIM}],
        "metrics": [{{"cvssV3_0": {{"vectorString": "CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}}}}],
        "problemTypes": [{{"descriptions": [{{"cweId": "CWE-787"}}, {{"cweId": "not one"}}]}}]}}"#
    );
    let adp = cisa(
        r#"{"other": {"type": "ssvc", "content": {"options": [{"Exploitation": "PoC"}, {"Automatable": "Yes"}, {"Technical Impact": "total"}]}}},
           {"other": {"type": "kev", "content": {"dateAdded": "2026-01-02"}}},
           {"cvssV3_1": {"vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}}"#,
        "",
    );
    let (summary, sink) = read(&record(&cna, &adp));
    assert_eq!((summary.records, summary.problems), (1, 0));
    assert_eq!(
        summary.as_of,
        Some("2026-02-03T04:05:06.789Z".parse().unwrap())
    );
    assert_eq!(sink.said_of(ID, "exim/exim"), "..4.98");
    let statement = &sink.statements[0];
    assert_eq!(&*statement.package, "exim");
    assert_eq!(statement.voice, Voice::Upstream);
    assert_eq!(
        signals(&sink),
        [
            &Signal::Title {
                text: "A hole in Exim".into()
            },
            &Signal::Cvss {
                vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H".into()
            },
            &Signal::Weaknesses {
                cwes: vec!["CWE-787".into()]
            },
            &Signal::Ssvc {
                exploitation: Some(SsvcExploitation::Poc),
                automatable: Some(SsvcAutomatable::Yes),
                technical_impact: Some(SsvcTechnicalImpact::Total),
            },
            &Signal::Kev {
                added: "2026-01-02".parse().unwrap(),
                due: None,
                ransomware: false
            },
        ]
    );
}

#[test]
fn a_missing_ssvc_point_is_none_and_only_cisa_is_asked() {
    let metrics = r#"{"other": {"type": "ssvc", "content": {"options": [{"Exploitation": "active"}, {"Automatable": "perhaps"}]}}}"#;
    let (_, sink) = read(&record("{}", &cisa(metrics, "")));
    assert_eq!(
        signals(&sink),
        [&Signal::Ssvc {
            exploitation: Some(SsvcExploitation::Active),
            automatable: None,
            technical_impact: None,
        }]
    );
    assert_eq!(
        sink.problem_texts(),
        ["CVE-2026-1234: an SSVC value that is not known: perhaps"]
    );
    let (_, sink) = read(&record(
        "{}",
        &format!(r#"{{"title": "Somebody", "metrics": [{metrics}]}}"#),
    ));
    assert!(sink.signals.is_empty());
}

#[test]
fn the_cnas_vector_comes_first_among_equals() {
    let metric = |a: &str| {
        format!(
            r#""metrics": [{{"cvssV3_1": {{"vectorString": "CVSS:3.1/AV:{a}/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}}}}, {{"cvssV2_0": {{"vectorString": "AV:N/AC:L/Au:N/C:P/I:P/A:P"}}}}]"#
        )
    };
    let text = record(
        &format!("{{{}}}", metric("N")),
        &format!("{{{}}}", metric("L")),
    );
    let (_, sink) = read(&text);
    let [Signal::Cvss { vector }] = signals(&sink)[..] else {
        panic!("{:?}", sink.signals);
    };
    assert!(vector.starts_with("CVSS:3.1/AV:N/"));
}

#[test]
fn other_containers_speak_only_where_the_cna_draws_no_line() {
    let adp = cisa(
        "",
        r#"{"vendor": "exim", "product": "exim", "versions": [{"status": "affected", "version": "0", "lessThanOrEqual": "4.99"}]}"#,
    );
    let (_, sink) = read(&record(&format!(r#"{{"affected": [{EXIM}]}}"#), &adp));
    assert_eq!(sink.said_of(ID, "exim/exim"), "..4.98");
    for weak in [
        r#"{"vendor": "Exim", "product": "Exim", "defaultStatus": "unknown", "versions": [{"status": "affected", "version": "exim 4.95"}]}"#,
        r#"{"vendor": "Exim", "product": "Exim", "versions": [{"status": "affected", "version": "n/a"}]}"#,
        r#"{"vendor": "n/a", "product": "n/a", "versions": [{"status": "affected", "version": "n/a"}]}"#,
    ] {
        let (_, sink) = read(&record(&format!(r#"{{"affected": [{weak}]}}"#), &adp));
        assert!(
            sink.said_of(ID, "exim/exim").starts_with("..=4.99"),
            "{weak}"
        );
        assert!(sink.problems.is_empty());
    }
}

#[test]
fn an_affected_product_without_versions_is_undetermined_not_clean() {
    let (_, sink) = read(&record(
        r#"{"affected": [{"vendor": "Exim", "product": "Exim", "versions": [{"status": "affected", "version": "n/a"}]}]}"#,
        "",
    ));
    assert_eq!(sink.said_of(ID, "exim/exim"), "undetermined");
}

#[test]
fn wildcard_versions_are_ranges() {
    let (_, sink) = read(&record(
        r#"{"affected": [{"vendor": "v", "product": "p", "versions": [{"status": "affected", "version": "0.104.x"},
            {"status": "affected", "version": "1.0.x", "lessThanOrEqual": "1.2.x"}]}]}"#,
        "",
    ));
    assert_eq!(sink.said_of(ID, "v/p"), "0.104..limit 0.105 1.0..limit 1.3");
}

#[test]
fn packages_of_registries_are_filed_under_the_registry() {
    let (_, sink) = read(&record(
        r#"{"affected": [
            {"vendor": "v", "product": "p", "packageURL": "pkg:pypi/aiosmtpd", "versions": [{"status": "affected", "version": "< 1.4.5"}]},
            {"collectionURL": "https://repo.maven.apache.org/maven2", "packageName": "org.apache.james:apache-mime4j-dom",
                "versions": [{"status": "affected", "version": "0", "lessThanOrEqual": "0.8.9"}]}]}"#,
        "",
    ));
    assert_eq!(sink.said_of(ID, "PyPI"), "..1.4.5");
    assert_eq!(sink.said_of(ID, "Maven"), "..=0.8.9");
}

#[test]
fn distributors_speak_of_their_own_packages() {
    let cna = |name: &str| {
        format!(
            r#"{{"providerMetadata": {{"shortName": "{name}"}}, "affected": [
            {{"vendor": "SUSE", "product": "SUSE Linux Enterprise Server 15 SP5", "packageName": "postfix", "defaultStatus": "unaffected",
                "versions": [{{"status": "affected", "version": "?", "lessThan": "3.7.3-150500.3.5.1"}}]}},
            {{"vendor": "Red Hat", "product": "Red Hat Enterprise Linux 9", "packageName": "postfix", "cpes": ["cpe:/a:redhat:enterprise_linux:9::appstream"],
                "defaultStatus": "affected", "versions": [{{"status": "unaffected", "version": "2:3.5.25-1.el9", "lessThan": "*", "versionType": "rpm"}}]}},
            {{"vendor": "Red Hat", "product": "Red Hat Enterprise Linux 8", "packageName": "postfix", "defaultStatus": "affected"}},
            {{"vendor": "Red Hat", "product": "Red Hat Enterprise Linux 7", "packageName": "postfix", "defaultStatus": "unknown"}},
            {{"vendor": "Red Hat", "product": "Red Hat Enterprise Linux 6", "packageName": "postfix", "defaultStatus": "unaffected"}}]}}"#
        )
    };
    let (_, sink) = read(&record(&cna("redhat"), ""));
    assert_eq!(
        sink.said_of(ID, "SUSE"),
        "15.5 fixed 3.7.3-150500.3.5.1; 15.5 fixed 3.7.3-150500.3.5.1"
    );
    let red_hat = sink
        .statements
        .iter()
        .find(|s| s.ecosystem == Ecosystem::RedHat && s.package_kind == PackageKind::Source)
        .unwrap();
    assert_eq!(
        collected::print_claims(&red_hat.claims),
        "6 not-affected, 7 undetermined, 8 open, 9 fixed 2:3.5.25-1.el9"
    );
    assert_eq!(red_hat.voice, Voice::Distributor);
    let (_, sink) = read(&record(&cna("mitre"), ""));
    assert_eq!(sink.statements[0].voice, Voice::Upstream);
}

#[test]
fn the_swapped_builds_of_exchange_do_not_swap_its_updates() {
    let product = |name: &str, build: &str| {
        format!(
            r#"{{"vendor": "Microsoft", "product": "Microsoft Exchange Server {name}", "versions": [
                {{"status": "affected", "version": "15.02.0", "lessThan": "{build}", "versionType": "custom"}}]}}"#
        )
    };
    let cna = format!(
        r#"{{"affected": [{}, {}]}}"#,
        product("2019 Cumulative Update 14", "15.02.1258.034"),
        product("2019 Cumulative Update 13", "15.02.1544.011")
    );
    let (_, sink) = read(&record(&cna, ""));
    assert_eq!(
        sink.said_of(ID, "Exchange"),
        "15.2.0.0..15.2.1258.34 15.2.1259.0..15.2.1544.11"
    );
    assert_eq!(&*sink.statements[0].package, "exchange-server");
}

#[test]
fn rejected_and_reserved_ids_are_counted_and_say_nothing() {
    for state in ["REJECTED", "RESERVED"] {
        let text = record(&format!(r#"{{"affected": [{EXIM}]}}"#), "").replace("PUBLISHED", state);
        let (summary, sink) = read(&text);
        assert_eq!((summary.records, summary.problems), (1, 0));
        assert!(sink.statements.is_empty() && sink.signals.is_empty());
    }
    let (_, sink) = read(&record("{}", "").replace("PUBLISHED", "LOST"));
    assert_eq!(
        sink.problem_texts(),
        ["CVE-2026-1234: a state that is not known: LOST"]
    );
}

#[test]
fn wrong_types_cost_only_what_they_stand_for() {
    let cna = format!(
        r#"{{"title": 1, "descriptions": [{{"lang": "en", "value": "First sentence. Second."}}], "metrics": [1, {{"cvssV3_1": "x"}}],
            "problemTypes": {{}}, "affected": [7, {{"product": "lonely"}}, {{"vendor": [], "versions": 3}}, {EXIM},
                {{"vendor": "v", "product": "q", "versions": [{{"status": "unaffected", "version": "1463"}}], "defaultStatus": "unaffected"}},
                {{"vendor": "v", "product": "g", "versions": [{{"status": "affected", "version": "77b44d", "lessThan": "1603fe", "versionType": "git"}}]}}]}}"#
    );
    let (_, sink) = read(&record(&cna, "null"));
    assert_eq!(sink.said_of(ID, "exim/exim"), "..4.98");
    assert_eq!(
        signals(&sink),
        [&Signal::Title {
            text: "First sentence.".into()
        }]
    );
    assert_eq!(
        sink.problem_texts(),
        [
            "CVE-2026-1234: a container that is no object",
            "CVE-2026-1234: a product of which no version is affected: q",
            "CVE-2026-1234: a product without a vendor: lonely",
            "CVE-2026-1234: an affected product that is no object",
            "CVE-2026-1234: only commits are named, no versions: g",
        ]
    );
    assert_eq!(read(&record("[]", "")).1.problems.len(), 1);
}

#[test]
fn what_is_no_record_is_refused_in_words() {
    for (text, word) in [
        ("", "empty"),
        ("<!DOCTYPE html>", "HTML"),
        ("{}", "cveMetadata"),
        (
            r#"{"cveMetadata": {}, "dataVersion": "4.0"}"#,
            "dataVersion",
        ),
        (r#"{"cveMetadata": {}, "dataType": "CVE_LIST"}"#, "dataType"),
        (r#"{"cveMetadata": {"#, "ends too early"),
    ] {
        let error = cve::read_record(text.as_bytes(), &mut Collected::default()).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    let deep = format!(r#"{{"containers": {}"#, "[".repeat(10_000));
    assert!(cve::read_record(deep.as_bytes(), &mut Collected::default()).is_err());
    let huge = std::io::Read::take(std::io::repeat(b' '), 17 << 20);
    assert!(matches!(
        cve::read_record(huge, &mut Collected::default()),
        Err(ReadError::Limit { .. })
    ));
}

#[test]
fn real_records_are_read() {
    let Some(folder) = data("real_records", "cve5-vulnrichment") else {
        return;
    };
    let (mut records, mut ssvc, mut kev) = (0, 0, 0);
    for (name, bytes) in json_files(&folder) {
        let mut sink = Collected::default();
        let summary = cve::read_record(bytes.as_slice(), &mut sink).unwrap();
        records += summary.records;
        assert!(summary.as_of.is_some(), "{name}");
        let of =
            |wanted: fn(&Signal) -> bool| sink.signals.iter().filter(|(_, s)| wanted(s)).count();
        ssvc += of(|s| matches!(s, Signal::Ssvc { .. }));
        kev += of(|s| matches!(s, Signal::Kev { .. }));
        assert_eq!(of(|s| matches!(s, Signal::Title { .. })), 1, "{name}");
        for problem in sink.problem_texts() {
            assert!(
                problem.contains("a version that cannot be read")
                    || problem.contains("a product of which no version is affected")
                    || problem.contains("a distribution is named"),
                "{problem}"
            );
        }
        let id = name.trim_end_matches(".json");
        let expected = match id {
            "CVE-2024-39929" => ("exim/exim", "..=4.97.1"),
            "CVE-2023-42115" => ("exim/exim", "..4.95 4.95"),
            "CVE-2024-37383" => ("roundcube/webmail", "..1.5.7 1.6.0..1.6.7"),
            "CVE-2024-23184" => ("open-xchange/ox-dovecot-pro", "..=2.3.21"),
            "CVE-2024-27305" => ("aio-libs/aiosmtpd", "..1.4.5"),
            "CVE-2024-21410" => ("Exchange", "15.1.0.0..limit 15.2.0.0 15.2.0.0..15.2.1544.4"),
            "CVE-2023-36439" => (
                "Exchange",
                "15.1.0.0..15.1.2507.35 15.2.0.0..15.2.1118.40 15.2.1119.0..15.2.1258.28",
            ),
            "CVE-2022-49006" => (
                "linux/linux",
                "2.6.33..5.4.226 5.5..5.10.158 5.11..5.15.82 5.16..6.0.12 2.6.33",
            ),
            _ => continue,
        };
        assert_eq!(sink.said_of(id, expected.0), expected.1, "{id}");
    }
    assert_eq!((records, ssvc, kev), (140, 140, 6));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        cve::fuzz(&bytes);
    }

    #[test]
    fn a_record_cut_anywhere_or_with_a_byte_changed_never_panics(at in 0usize..2000, byte in any::<u8>()) {
        let mut bytes = record(&format!(r#"{{"affected": [{EXIM}]}}"#), &cisa("", EXIM)).into_bytes();
        let at = at % bytes.len();
        cve::fuzz(&bytes[..at]);
        bytes[at] = byte;
        cve::fuzz(&bytes);
    }

    #[test]
    fn an_affected_product_is_said_or_reported(version in "\\PC{0,30}|[<>=]{0,2} ?[0-9.x*]{1,8}", less in "([0-9.]{1,6}|\\*|\\PC{0,5})?", default in "(un)?affected|unknown|") {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        let cna = format!(r#"{{"affected": [{{"vendor": "v", "product": "p", "defaultStatus": "{default}",
            "versions": [{{"status": "affected", "version": {}, "lessThan": {}}}]}}]}}"#, quoted(&version), quoted(&less));
        let (_, sink) = read(&record(&cna, ""));
        prop_assert_eq!(sink.statements.len(), 1, "{:?}", sink.problems);
    }
}
