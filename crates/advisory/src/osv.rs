//! OSV records (ossf.github.io/osv-schema, version 1.7): one, one a line, or many in a list.
//!
//! Entries: [`read`], [`read_lines`]. A record becomes a statement for each of its vulnerabilities
//! and packages. What a distribution's record says of that distribution's packages is the
//! distributor's word; any other is upstream's.
//!
//! Which ids a record stands for differs by who wrote it: a distribution lists the CVE ids its
//! update fixes in `upstream` or `related` as often as in `aliases`, while in any other record
//! `related` is a different vulnerability.

mod affected;
mod record;

use std::io::Read;

use crate::json_stream::{Member, Splitter};
use crate::window::{Line, Lines};
use crate::{ReadError, Sink, Summary};

use record::Reader;

const EXPECTED: &str = "OSV record";

/// Largest record, in bytes; the largest real one has 4 MB.
const RECORD_MAX: usize = 64 * 1024 * 1024;

/// Members of a record: an object that begins with one of these is one.
const RECORD_KEYS: &[&str] = &[
    "affected",
    "aliases",
    "credits",
    "database_specific",
    "details",
    "id",
    "modified",
    "published",
    "references",
    "related",
    "schema_version",
    "severity",
    "summary",
    "upstream",
    "withdrawn",
];

/// Reads records, in whichever of these shapes they come: one record, several in a row, an array
/// of records, `{"vulns": [...]}` as OSV's API answers, or an object of records by any key.
///
/// Withdrawn records, and bug-fix advisories without any vulnerability (AlmaLinux `ALBA-`, Red Hat
/// `RHBA-`), are counted as records and make no statement.
pub fn read(input: impl Read, sink: &mut dyn Sink) -> Result<Summary, ReadError> {
    let mut splitter = Splitter::open(input, EXPECTED)?;
    let (array, first_key) = splitter.peek()?;
    let mut beside_matters = true;
    if !array {
        match first_key.as_deref() {
            Some("vulns" | "next_page_token") => {
                splitter = splitter.at(&["vulns"]);
                beside_matters = false;
            }
            Some(key) if RECORD_KEYS.contains(&key) => splitter = splitter.values(),
            _ => {}
        }
    }
    let mut reader = Reader::new(sink);
    while let Some(member) = splitter.next()? {
        if member.inside || beside_matters {
            take(&mut reader, &member)?;
        }
    }
    let (mut summary, understood) = (reader.summary, reader.understood);
    summary.cut_short = splitter.cut_short();
    if summary.cut_short.is_none() && understood == 0 {
        let found = if summary.records == 0 {
            "it holds no record"
        } else {
            "nothing in it can be read as a record"
        };
        return Err(ReadError::NotThisKind {
            expected: EXPECTED,
            found: found.to_owned(),
        });
    }
    Ok(summary)
}

/// Reads records, one a line. A line that is no record is a problem of its own.
pub fn read_lines(input: impl Read, sink: &mut dyn Sink) -> Result<Summary, ReadError> {
    let mut lines = Lines::open(input, "file of OSV records, one a line", RECORD_MAX)?;
    let mut reader = Reader::new(sink);
    let mut number = 0_u64;
    while let Some(line) = lines.next()? {
        number += 1;
        let name = || format!("line {number}");
        match line {
            Line::Whole(text) if text.trim_ascii().is_empty() => {}
            Line::Whole(text) => reader.record(&name(), text.trim_ascii())?,
            Line::TooLong => {
                reader.bad_record(&name(), &format!("it is larger than {RECORD_MAX} bytes"))?;
            }
        }
    }
    let mut summary = reader.summary;
    summary.cut_short = lines.ended_early().map(ToOwned::to_owned);
    Ok(summary)
}

/// Fuzz entry.
pub fn fuzz(data: &[u8]) {
    let _read = read(data, &mut crate::Collect::default());
    let _read = read_lines(data, &mut crate::Collect::default());
}

fn take(reader: &mut Reader<'_>, member: &Member<'_>) -> Result<(), ReadError> {
    let name = member.name();
    match member.value {
        Ok(value) => reader.record(&name, value),
        Err(unusable) => reader.bad_record(&name, &unusable.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Collect;
    use mailkeep_model::{
        ClaimKind, Ecosystem, OpenState, PackageKind, RangeEnd, Statement, Urgency, Voice,
    };
    use proptest::prelude::*;

    fn osv(text: &str) -> (Collect, Summary) {
        let mut sink = Collect::default();
        let summary = read(text.as_bytes(), &mut sink).unwrap();
        assert_eq!(summary.problems, sink.problems.len() as u64);
        (sink, summary)
    }

    /// `advisory package release: kind`, a row for each claim.
    fn rows(statements: &[Statement]) -> Vec<String> {
        let mut rows = Vec::new();
        for s in statements {
            for claim in &s.claims {
                let kind = match &claim.kind {
                    ClaimKind::FixedIn { version } => format!("fixed in {version}"),
                    ClaimKind::Affected { ranges, versions } => {
                        format!("{} ranges, {} versions", ranges.len(), versions.len())
                    }
                    other => format!("{other:?}"),
                };
                let release = claim.release.as_deref().unwrap_or("-");
                rows.push(format!("{} {} {release}: {kind}", s.advisory, s.package));
            }
        }
        rows
    }

    /// A record of Debian ELTS, `entries` being (release, name, name in the purl, fixed version).
    fn elts(entries: &[(&str, &str, &str, &str)]) -> String {
        let affected: Vec<_> = entries
            .iter()
            .map(|(release, name, by_purl, fixed)| {
                serde_json::json!({
                    "package": {"ecosystem": format!("Debian:{release}"), "name": name,
                        "purl": format!("pkg:deb/debian/{by_purl}?distro=x&repository_url=http%3A%2F%2Fx")},
                    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]
                })
            })
            .collect();
        serde_json::json!({"id": "ELA-1-1", "modified": "2024-01-01T00:00:00Z",
            "related": ["CVE-2024-0001", "CVE-2024-0002"], "affected": affected})
        .to_string()
    }

    #[test]
    fn a_distributions_record_becomes_its_word_for_each_cve() {
        let (sink, summary) = osv(&elts(&[
            ("8", "exim4", "exim4", "4.84.2-2+deb8u9"),
            ("9", "exim4", "exim4", "4.89-2+deb9u12"),
        ]));
        assert_eq!((summary.records, summary.problems), (1, 0));
        assert_eq!(
            rows(&sink.statements),
            [
                "CVE-2024-0001 exim4 jessie: fixed in 4.84.2-2+deb8u9",
                "CVE-2024-0001 exim4 stretch: fixed in 4.89-2+deb9u12",
                "CVE-2024-0002 exim4 jessie: fixed in 4.84.2-2+deb8u9",
                "CVE-2024-0002 exim4 stretch: fixed in 4.89-2+deb9u12",
            ]
        );
        let first = &sink.statements[0];
        assert_eq!(first.voice, Voice::Distributor);
        assert_eq!(first.package_kind, PackageKind::Source);
        assert_eq!(first.aliases[0].as_str(), "ELA-1-1");
        let covers: Vec<_> = sink.covers.iter().map(ToString::to_string).collect();
        assert_eq!(covers, ["Debian:8", "Debian:9"]);
    }

    #[test]
    fn entries_swept_in_from_other_packages_are_left_out_by_name() {
        let (sink, summary) = osv(&elts(&[
            ("8", "tzdata", "xorg-server", "2024a-0+deb8u1"),
            ("8", "xorg-server", "xorg-server", "2:1.16.4-1+deb8u14"),
        ]));
        assert_eq!(rows(&sink.statements).len(), 2);
        assert!(sink.statements.iter().all(|s| &*s.package == "xorg-server"));
        assert_eq!(summary.problems, 1);
        assert_eq!(sink.problems[0].record, "ELA-1-1");
        assert!(sink.problems[0].reason.contains("\"tzdata\""));
    }

    #[test]
    fn a_misspelt_name_gives_way_to_the_package_url() {
        let (sink, summary) = osv(&elts(&[("9", "cloud-int", "cloud-init", "0.7.9-2")]));
        assert_eq!(&*sink.statements[0].package, "cloud-init");
        assert_eq!(summary.problems, 1);
    }

    #[test]
    fn ranges_as_one_object_are_read_as_a_list_of_it() {
        let text = elts(&[("8", "http-parser", "http-parser", "2.1-2+deb8u1")])
            .replace("\"ranges\":[", "\"ranges\":")
            .replace("\"type\":\"ECOSYSTEM\"}]", "\"type\":\"ECOSYSTEM\"}");
        assert!(text.contains("\"ranges\":{"), "{text}");
        let (sink, _) = osv(&text);
        assert_eq!(sink.statements.len(), 2);
        assert!(sink.problems[0].reason.contains("where a list belongs"));
    }

    #[test]
    fn one_odd_entry_does_not_cost_the_others() {
        let text = r#"{"id": "X-1", "aliases": [7], "affected": [
            {"package": {"ecosystem": "PyPI", "name": "a"}, "ranges": "none"},
            {"package": {"ecosystem": "PyPI", "name": "b"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]}"#;
        let (sink, summary) = osv(text);
        assert_eq!(rows(&sink.statements), ["X-1 b -: 1 ranges, 0 versions"]);
        assert_eq!(summary.problems, 2);
    }

    #[test]
    fn rpm_distributions_name_binary_packages_and_module_streams() {
        let (sink, summary) = osv(
            r#"{"id": "ALSA-2021:4916", "summary": "Important: mailman:2.1 security update", "affected": [
            {"package": {"ecosystem": "AlmaLinux:8", "name": "mailman"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3:2.1.29-12.module_el8.5.0+26+48d4c9ee.2"}]}]},
            {"package": {"ecosystem": "AlmaLinux:8", "name": "mailman"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3:2.1.29-12.module_el8.5.0+2602+327eb9f3.2"}]}]}],
            "related": ["CVE-2021-44227"]}"#,
        );
        assert_eq!(summary.problems, 0);
        assert_eq!(
            rows(&sink.statements),
            ["CVE-2021-44227 mailman 8: fixed in 3:2.1.29-12.module_el8.5.0+2602+327eb9f3.2"]
        );
        let statement = &sink.statements[0];
        assert_eq!(statement.module.as_deref(), Some("mailman:2.1"));
        assert_eq!(statement.package_kind, PackageKind::Binary);
        assert_eq!(statement.claims[0].urgency, Some(Urgency::High));
    }

    #[test]
    fn upstreams_related_ids_are_other_vulnerabilities() {
        let (sink, _) = osv(
            r#"{"id": "GHSA-aaaa-bbbb-cccc", "aliases": ["CVE-2024-0001"], "related": ["CVE-2024-0009"],
            "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}, {"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:P/I:P/A:P"}],
            "details": "First line.\nSecond.", "affected": [{"package": {"ecosystem": "crates.io", "name": "mail-parser", "purl": "pkg:cargo/mail-parser"},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "0.0.0-0"}, {"fixed": "0.9.1"}, {"introduced": "0.10.0"}, {"last_affected": "0.10.2"}]},
                       {"type": "GIT", "repo": "https://example.org/x.git", "events": [{"introduced": "0"}]}], "versions": ["0.9.0"]}]}"#,
        );
        let statement = &sink.statements[0];
        assert_eq!(sink.statements.len(), 1);
        assert_eq!(statement.advisory.as_str(), "CVE-2024-0001");
        assert_eq!(statement.voice, Voice::Upstream);
        assert_eq!(&*statement.title, "First line.");
        assert!(statement.cvss.as_deref().unwrap().starts_with("CVSS:3.1"));
        let ClaimKind::Affected { ranges, versions } = &statement.claims[0].kind else {
            panic!("{statement:?}")
        };
        assert_eq!(ranges[0].introduced.as_deref(), Some("0.0.0-0"));
        assert_eq!(ranges[1].end, RangeEnd::LastAffected("0.10.2".into()));
        assert_eq!(versions.len(), 1);
    }

    #[test]
    fn unfixed_and_never_affected_are_told_apart() {
        let record = |events: &str, urgency: &str| {
            let (sink, _) = osv(&format!(
                r#"{{"id": "DEBIAN-CVE-2024-0001", "upstream": ["CVE-2024-0001"], "affected": [{{"package": {{"ecosystem": "Debian:12", "name": "exim4"}},
                "ranges": [{{"type": "ECOSYSTEM", "events": {events}}}], "versions": ["4.96-15"], "ecosystem_specific": {{"urgency": "{urgency}"}}}}]}}"#
            ));
            sink.statements[0].claims[0].clone()
        };
        let open = record(r#"[{"introduced": "0"}]"#, "low");
        assert_eq!(
            open.kind,
            ClaimKind::Open {
                state: OpenState::Open
            }
        );
        assert_eq!(open.urgency, Some(Urgency::Low));
        let ended = record(r#"[{"introduced": "0"}]"#, "end-of-life");
        assert_eq!(
            ended.kind,
            ClaimKind::Open {
                state: OpenState::EndOfLife
            }
        );
        let never = record(r#"[{"introduced": "0"}, {"fixed": "0"}]"#, "low");
        assert_eq!(never.kind, ClaimKind::NotAffected);
    }

    #[test]
    fn unknown_ecosystems_are_kept_and_named() {
        let (sink, summary) = osv(
            r#"{"id": "P9-1", "affected": [{"package": {"ecosystem": "Plan 9:4", "name": "upas"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "5"}]}]}]}"#,
        );
        assert_eq!(
            sink.statements[0].ecosystem,
            Ecosystem::Other("Plan 9".into())
        );
        assert_eq!(
            rows(&sink.statements),
            ["P9-1 upas 4: 1 ranges, 0 versions"]
        );
        assert!(sink.problems[0].reason.contains("Plan 9"));
        assert_eq!(summary.problems, 1);
    }

    #[test]
    fn commits_alone_are_nothing_to_compare() {
        let (sink, _) = osv(r#"{"id": "OSV-1", "affected": [
            {"ranges": [{"type": "GIT", "repo": "https://example.org/exim.git", "events": [{"introduced": "abc"}]}], "versions": ["4.95"]},
            {"package": {"ecosystem": "OSS-Fuzz", "name": "dovecot"}, "ranges": [{"type": "GIT", "repo": "x", "events": [{"introduced": "abc"}]}]}]}"#);
        assert_eq!(
            rows(&sink.statements),
            ["OSV-1 exim -: 0 ranges, 1 versions"]
        );
        assert!(sink.problems[0].reason.contains("no version to compare"));
    }

    #[test]
    fn withdrawn_records_and_bug_fixes_are_counted_and_say_nothing() {
        for text in [
            r#"{"id": "X-1", "withdrawn": "2024-01-01T00:00:00Z", "affected": []}"#,
            r#"{"id": "ALBA-2019:3363", "related": [], "affected": []}"#,
        ] {
            let (sink, summary) = osv(text);
            assert_eq!(
                (sink.statements.len(), summary.records, summary.problems),
                (0, 1, 0)
            );
        }
    }

    #[test]
    fn records_are_read_in_every_shape_they_come_in() {
        let one = elts(&[("8", "exim4", "exim4", "1")]);
        for (text, records) in [
            (one.clone(), 1),
            (format!("{one}\n{one}\n"), 2),
            (format!("[{one}, {one}]"), 2),
            (
                format!(r#"{{"vulns": [{one}, {one}], "next_page_token": "x"}}"#),
                2,
            ),
            (format!(r#"{{"ELA-1-1": {one}, "ELA-1-2": {one}}}"#), 2),
        ] {
            let (sink, summary) = osv(&text);
            assert_eq!(summary.records, records, "{text}");
            assert_eq!(sink.statements.len() as u64, 2 * records);
            assert_eq!((summary.problems, summary.cut_short), (0, None));
        }
        let mut sink = Collect::default();
        let lines = format!("{one}\n\nrubbish {{\n{one}");
        let summary = read_lines(lines.as_bytes(), &mut sink).unwrap();
        assert_eq!((summary.records, summary.problems), (3, 1));
        assert_eq!(sink.problems[0].record, "line 3");
    }

    #[test]
    fn something_else_entirely_is_refused_and_a_cut_file_is_not() {
        for text in ["{}", "[]", r#"{"error": {}}"#, "<html>", "", "{\0"] {
            let error = read(text.as_bytes(), &mut Collect::default()).unwrap_err();
            assert!(matches!(error, ReadError::NotThisKind { .. }), "{text}");
        }
        let one = elts(&[("8", "exim4", "exim4", "1")]);
        let (sink, summary) = osv(&format!("[{one}, {}", one.get(..40).unwrap()));
        assert_eq!((sink.statements.len(), summary.records), (2, 1));
        assert!(summary.cut_short.is_some());
    }

    #[test]
    fn a_record_that_multiplies_without_end_is_named_and_left_out() {
        let cves: Vec<_> = (0..2000).map(|n| format!("CVE-2024-{n:05}")).collect();
        let affected: Vec<_> = (0..1000)
            .map(|n| {
                serde_json::json!({"package": {"ecosystem": "AlmaLinux:9", "name": format!("p{n}")},
                    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1"}]}]})
            })
            .collect();
        let text = serde_json::json!({"id": "ALSA-1", "related": cves, "affected": affected});
        let (sink, _) = osv(&text.to_string());
        assert!(sink.statements.is_empty());
        assert!(sink.problems[0].reason.contains("1000000 statements"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz(&data);
        }

        #[test]
        fn damaged_records_are_read_without_panic(at in 0usize..500, to: u8) {
            let mut data = elts(&[("8", "a", "b", "1"), ("9", "b", "b", "2")]).into_bytes();
            let at = at % data.len();
            data[at] = to;
            fuzz(&data);
        }

        #[test]
        fn any_events_are_read_without_panic(events in "(\\{\"(introduced|fixed|last_affected|limit)\": \"[0-9 ]?\"\\},){0,8}") {
            let events = events.trim_end_matches(',');
            fuzz(format!(r#"{{"id": "X-1", "affected": [{{"package": {{"ecosystem": "Debian:12", "name": "x"}},
                "ranges": [{{"type": "ECOSYSTEM", "events": [{events}]}}]}}]}}"#).as_bytes());
        }
    }
}
