//! The readers against real feeds at real size. Each test reads files below `MAILKEEP_DATA`, and
//! says so and passes where they are absent.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests read files, say what they skip, and may unwrap"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use mailkeep_advisory::container::{self, Limits};
use mailkeep_advisory::{Collect, debian_tracker, epss, kev, osv};
use mailkeep_model::{ClaimKind, Signal};

fn data(test: &str, path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MAILKEEP_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {test}: no data");
    None
}

fn opened(path: &Path) -> Box<dyn Read> {
    let file = File::open(path).unwrap();
    container::open(file, Limits::default()).unwrap().content
}

fn counts<T: Ord>(items: impl Iterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}

/// Counted independently, by a few lines of Python over the same file.
#[test]
fn a_tracker_of_real_size_is_read_whole() {
    let Some(path) = data("tracker", "synthetic-debian/tracker.json.xz") else {
        return;
    };
    let mut sink = Collect::default();
    let summary = debian_tracker::read(opened(&path), &mut sink).unwrap();
    assert_eq!((summary.records, summary.problems), (57_936, 0));
    assert_eq!(summary.cut_short, None);
    assert_eq!(sink.covers.len(), 2);
    let kinds = counts(sink.statements.iter().flat_map(|s| &s.claims).map(|claim| {
        let release = claim.release.as_deref().unwrap();
        let kind = match &claim.kind {
            ClaimKind::FixedIn { .. } => "fixed".to_owned(),
            ClaimKind::NotAffected => "not affected".to_owned(),
            ClaimKind::Open { state } => format!("{state:?}"),
            other => panic!("{other:?}"),
        };
        format!("{release} {kind}")
    }));
    let kinds: Vec<_> = kinds
        .iter()
        .map(|(kind, n)| format!("{kind} {n}"))
        .collect();
    assert_eq!(
        kinds,
        [
            "bookworm EndOfLife 122",
            "bookworm Ignored 1847",
            "bookworm Minor 3895",
            "bookworm Open 5035",
            "bookworm Postponed 1956",
            "bookworm fixed 25998",
            "bookworm not affected 19083",
            "sid EndOfLife 65",
            "sid Open 6325",
            "sid fixed 51546",
        ]
    );
}

#[test]
fn a_tracker_cut_in_the_middle_gives_the_first_half_and_says_so() {
    let Some(path) = data("cut tracker", "synthetic-debian/tracker.json.xz") else {
        return;
    };
    let mut sink = Collect::default();
    let half = opened(&path).take(3_000_000);
    let summary = debian_tracker::read(half, &mut sink).unwrap();
    assert!(summary.records > 5_000 && summary.problems == 0);
    assert!(summary.cut_short.unwrap().contains("3000000"));

    let packed = std::fs::read(&path).unwrap();
    let cut = packed.get(..packed.len() / 4).unwrap();
    let opened = container::open(cut, Limits::default()).unwrap();
    let summary = debian_tracker::read(opened.content, &mut sink).unwrap();
    assert!(summary.cut_short.unwrap().contains("compressed data ends"));
}

#[test]
fn the_kev_catalogue_is_read_whole() {
    for (file, records, as_of) in [
        (
            "kev/known_exploited_vulnerabilities.json",
            1_662,
            "2026-08-07",
        ),
        (
            "kev/known_exploited_vulnerabilities-2025-08-25.json.xz",
            1_404,
            "2025-08-25",
        ),
    ] {
        let Some(path) = data("kev", file) else {
            continue;
        };
        let mut sink = Collect::default();
        let summary = kev::read(opened(&path), &mut sink).unwrap();
        assert_eq!((summary.records, summary.problems), (records, 0));
        assert!(summary.as_of.unwrap().to_string().starts_with(as_of));
        let listed = sink
            .signals
            .iter()
            .filter(|(_, signal)| matches!(signal, Signal::Kev { .. }));
        assert_eq!(listed.count() as u64, records);
    }
}

#[test]
fn every_epss_score_is_read() {
    let Some(path) = data("epss", "epss/epss_scores-2026-08-16.csv.xz") else {
        return;
    };
    let mut sink = Collect::default();
    let summary = epss::read(opened(&path), &mut sink).unwrap();
    assert_eq!((summary.records, summary.problems), (360_142, 0));
    assert_eq!(summary.as_of.unwrap().to_string(), "2026-08-16T00:00:00Z");
}

/// The defects the source is known for: 205 entries in 107 records whose name is not the one in
/// their package URL, and two malformed ranges in one record.
#[test]
fn every_defect_of_debian_elts_is_named_and_every_sound_record_used() {
    let Some(path) = data("elts", "osv-debian-elts/ela-all-2026-08-17.jsonl.xz") else {
        return;
    };
    let mut sink = Collect::default();
    let summary = osv::read_lines(opened(&path), &mut sink).unwrap();
    assert_eq!((summary.records, summary.cut_short), (1_712, None));
    let reasons = counts(
        sink.problems
            .iter()
            .map(|problem| match problem.reason.as_str() {
                reason if reason.contains("like other entries; left out") => "stray entry",
                reason if reason.contains("its purl says") => "misspelt name",
                reason if reason.contains("ranges is one object") => "malformed range",
                other => panic!("{other}"),
            }),
    );
    assert_eq!(
        reasons,
        BTreeMap::from([
            ("malformed range", 2),
            ("misspelt name", 1),
            ("stray entry", 204)
        ])
    );
    let records = counts(sink.problems.iter().map(|problem| problem.record.clone()));
    assert_eq!(records.len(), 108);
    let used = counts(
        sink.statements
            .iter()
            .flat_map(|s| &s.aliases)
            .map(ToString::to_string),
    );
    assert_eq!(used.len(), 1_712, "each record makes a statement");
    let covers: Vec<_> = sink.covers.iter().map(ToString::to_string).collect();
    assert_eq!(covers, ["Debian:7", "Debian:8", "Debian:9", "Debian:10"]);
}

#[test]
fn almalinux_records_of_mail_packages_are_read_without_a_problem() {
    let Some(path) = data("almalinux", "osv-almalinux/mail") else {
        return;
    };
    let mut sink = Collect::default();
    let (mut records, mut problems) = (0, 0);
    let mut folders = vec![path];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let summary = osv::read(File::open(path).unwrap(), &mut sink).unwrap();
            records += summary.records;
            problems += summary.problems;
        }
    }
    assert_eq!((records, problems), (33, 0));
    let modules = counts(sink.statements.iter().filter_map(|s| s.module.clone()));
    assert_eq!(
        modules.keys().map(|m| &**m).collect::<Vec<_>>(),
        ["mailman:2.1"]
    );
    assert!(sink.statements.iter().all(|s| s.advisory.is_cve()));
    assert!(
        sink.statements
            .iter()
            .all(|s| s.claims[0].urgency.is_some())
    );
}
