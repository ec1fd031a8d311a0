//! The example fleet `examples/harbour`, checked by the program itself with no network: what README
//! shows is right, host by host, and the same each time.
//!
//! The example is copied first and its files get a fixed time: a feed that gives no date of its own
//! speaks as of its file's time, which a clone sets to now.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test: runs the built program on a copy of the example"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use serde_json::Value;

/// "Now": one and the same Saturday in every region.
const NOW: &str = "2026-11-21T12:00:00Z";

/// The day the excerpts speak for, 2026-08-16, in days since 1970-01-01.
const AS_OF: Duration = Duration::from_hours(20_681 * 24);

/// A copy of the example, removed when dropped.
struct Harbour {
    directory: tempfile::TempDir,
}

impl Harbour {
    fn new() -> Self {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/harbour");
        let directory = tempfile::tempdir().unwrap();
        copy(&example, &directory.path().join("harbour"));
        Self { directory }
    }

    fn fleet(&self) -> PathBuf {
        self.directory.path().join("harbour/mailkeep.toml")
    }

    /// Runs a command against the copy, with a state of its own.
    fn run(&self, state: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mailkeep"))
            .args(arguments)
            .arg("--fleet")
            .arg(self.fleet())
            .arg("--state")
            .arg(self.directory.path().join(state))
            .args(["--at", NOW])
            // Whoever tried to reach a network would fail, and say so.
            .env("ALL_PROXY", "http://127.0.0.1:9")
            .env("HTTPS_PROXY", "http://127.0.0.1:9")
            .env("HTTP_PROXY", "http://127.0.0.1:9")
            .output()
            .unwrap()
    }

    fn text(&self, arguments: &[&str], exit: i32) -> String {
        let output = self.run("state", arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{errors}");
        assert!(!errors.contains("error"), "{errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn answer(&self) -> Value {
        serde_json::from_str(&self.text(&["check", "--all", "--format", "json"], 1)).unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() == ".state" {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            set_time(&target);
        }
    }
    set_time(to);
}

fn set_time(path: &Path) {
    let file = File::open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + AS_OF).unwrap();
}

/// The one verdict on a host's advisory.
fn verdict<'a>(answer: &'a Value, host: &str, advisory: &str) -> &'a Value {
    let found: Vec<&Value> = answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["host"] == host && f["advisory"] == advisory)
        .collect();
    let [one] = found.as_slice() else {
        panic!(
            "{} verdicts on {host} {advisory}, not one: {found:#?}",
            found.len()
        );
    };
    one
}

fn host<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|h| h["name"] == name)
        .unwrap_or_else(|| panic!("no host {name}"))
}

#[test]
fn thirty_six_servers_each_have_their_state() {
    let answer = Harbour::new().answer();
    assert_eq!(answer["schema"], "mailkeep.check/1");
    assert_eq!(answer["hosts"].as_array().unwrap().len(), 36);
    for name in [
        "mx1.lis",
        "out1.lis",
        "mail2.ham",
        "mx2.ewr",
        "out1.ewr",
        "mx1.yok",
        "mail1.yok",
    ] {
        assert_eq!(host(&answer, name)["status"], "clean", "{name}");
    }
    assert_eq!(host(&answer, "mx3.sin")["status"], "decommissioned");
    let never_seen = host(&answer, "relay1.dur");
    assert_eq!(never_seen["status"], "unknown");
    assert_eq!(never_seen["reasons"][0]["kind"], "no-facts");
    // An appliance known by its SBOM: judged by the CVE record of its product, and by no whole feed.
    assert_eq!(host(&answer, "mx2.yok")["status"], "affected");
    assert_eq!(
        host(&answer, "mx2.yok")["reasons"][0]["kind"],
        "no-whole-feed"
    );
    for name in ["mx1.ham", "mx2.sin", "exch1.ewr", "lists1.ewr", "mail1.dur"] {
        assert_eq!(host(&answer, name)["status"], "affected", "{name}");
    }
    assert_eq!(answer["counts"]["hosts"]["affected"], 27);
    assert_eq!(answer["counts"]["hosts"]["clean"], 7);
    assert_eq!(answer["counts"]["hosts"]["unknown"], 1);
    for feed in answer["feeds"].as_array().unwrap() {
        assert_eq!(feed["stale"], false, "{feed}");
        assert_eq!(feed["problems"], 0, "{feed}");
    }
}

/// Host, advisory, status, the version that fixes it (`-` is none), what became of it by whose word.
const VERDICTS: &[(&str, &str, &str, &str, &str)] = &[
    // Debian fixed it, and the host could have it.
    (
        "web1.ham",
        "CVE-2025-49113",
        "fix-available",
        "1.6.5+dfsg-1+deb12u5",
        "debian-tracker",
    ),
    (
        "web1.ham",
        "CVE-2025-68461",
        "fix-available",
        "1.6.5+dfsg-1+deb12u6",
        "debian-tracker",
    ),
    (
        "mx1.ham",
        "CVE-2023-42115",
        "fix-available",
        "4.96-15+deb12u2",
        "debian-tracker",
    ),
    (
        "mx1.ham",
        "CVE-2023-4911",
        "fix-available",
        "2.36-9+deb12u3",
        "debian-tracker",
    ),
    (
        "mx1.sin",
        "CVE-2024-39929",
        "fix-available",
        "4.94.2-7+deb11u3",
        "debian-tracker",
    ),
    (
        "mail1.sin",
        "CVE-2022-30550",
        "fix-available",
        "1:2.3.13+dfsg1-2+deb11u1",
        "debian-tracker",
    ),
    (
        "mail1.sin",
        "CVE-2022-37434",
        "fix-available",
        "1:1.2.11.dfsg-2+deb11u2",
        "debian-tracker",
    ),
    (
        "mail1.lis",
        "CVE-2025-30189",
        "fix-available",
        "1:2.4.1+dfsg1-6+deb13u1",
        "debian-tracker",
    ),
    (
        "mail2.sin",
        "CVE-2024-34055",
        "fix-available",
        "3.6.1-4+deb12u2",
        "debian-tracker",
    ),
    (
        "filter1.sin",
        "CVE-2023-20032",
        "fix-available",
        "0.103.8+dfsg-0+deb11u1",
        "debian-tracker",
    ),
    (
        "filter1.ham",
        "CVE-2024-20328",
        "fix-available",
        "1.0.5+dfsg-1~deb12u1",
        "debian-tracker",
    ),
    (
        "lists1.sin",
        "CVE-2023-51765",
        "fix-available",
        "8.17.1.9-2+deb12u1",
        "debian-tracker",
    ),
    (
        "out1.sin",
        "CVE-2023-51764",
        "fix-available",
        "3.5.23-0+deb11u1",
        "debian-tracker",
    ),
    // AlmaLinux and Red Hat, by epoch and release.
    (
        "mx1.ewr",
        "CVE-2023-51764",
        "fix-available",
        "2:3.5.25-1.el9",
        "osv-almalinux",
    ),
    (
        "mail1.ewr",
        "CVE-2024-23185",
        "fix-available",
        "1:2.3.16-11.el9_4.1",
        "osv-almalinux",
    ),
    (
        "mail1.dur",
        "CVE-2026-42006",
        "fix-available",
        "1:2.3.16-8.el8_10",
        "osv-almalinux",
    ),
    (
        "lists1.ewr",
        "CVE-2023-51764",
        "fix-available",
        "2:3.5.25-1.el9",
        "csaf-redhat",
    ),
    (
        "lists1.ewr",
        "CVE-2024-6387",
        "fix-available",
        "8.7p1-38.el9_4.1",
        "csaf-redhat",
    ),
    // A fix exists, but not where the host gets its packages from.
    (
        "out1.dur",
        "CVE-2023-51764",
        "fix-published",
        "3.7.9-0+deb12u1",
        "debian-tracker",
    ),
    (
        "mx1.dur",
        "CVE-2026-48840",
        "fix-published",
        "4.92-8+deb10u12",
        "debian-elts",
    ),
    (
        "exch1.ewr",
        "CVE-2021-26855",
        "fix-published",
        "15.1.2176.9",
        "csaf-msrc",
    ),
    (
        "exch1.ham",
        "CVE-2024-21410",
        "fix-published",
        "15.2.1544.4",
        "csaf-msrc",
    ),
    // Installed, and not running.
    (
        "mx2.sin",
        "CVE-2023-42117",
        "restart-pending",
        "4.94.2-7+deb11u4",
        "debian-tracker",
    ),
    (
        "mx2.sin",
        "CVE-2024-39929",
        "restart-pending",
        "4.94.2-7+deb11u3",
        "debian-tracker",
    ),
    // Nobody fixed it, or ever will.
    (
        "out1.ham",
        "CVE-2026-43964",
        "no-fix",
        "-",
        "debian-tracker",
    ),
    ("mx2.ham", "CVE-2024-25768", "no-fix", "-", "debian-tracker"),
    ("out1.yok", "CVE-2021-3618", "no-fix", "-", "debian-tracker"),
    ("web1.ham", "CVE-2015-3276", "no-fix", "-", "debian-tracker"),
    (
        "web1.ewr",
        "CVE-2025-30349",
        "will-not-fix",
        "-",
        "debian-tracker",
    ),
    // Not your concern, and why.
    (
        "mx2.sin",
        "CVE-2023-42115",
        "fixed",
        "4.94.2-7+deb11u1",
        "debian-tracker",
    ),
    (
        "mx1.lis",
        "CVE-2025-30232",
        "fixed",
        "4.98.1-2",
        "debian-tracker",
    ),
    (
        "mx2.ewr",
        "CVE-2026-43964",
        "fixed",
        "2:3.5.25-3.el9_8",
        "osv-almalinux",
    ),
    (
        "mx1.yok",
        "CVE-2020-7247",
        "fixed",
        "6.6.2p1-1",
        "debian-tracker",
    ),
    (
        "exch1.ham",
        "CVE-2021-26855",
        "fixed",
        "15.2.792.10",
        "csaf-msrc",
    ),
    (
        "mx1.sin",
        "CVE-2025-30232",
        "not-affected",
        "-",
        "debian-tracker",
    ),
    (
        "mail2.ham",
        "CVE-2025-30189",
        "not-affected",
        "-",
        "debian-tracker",
    ),
    (
        "filter1.sin",
        "CVE-2024-20328",
        "not-affected",
        "-",
        "debian-tracker",
    ),
    (
        "mx1.sin",
        "CVE-2024-6387",
        "not-affected",
        "-",
        "debian-tracker",
    ),
    (
        "lists1.ewr",
        "CVE-2024-3094",
        "not-affected",
        "-",
        "csaf-redhat",
    ),
    (
        "mx2.ham",
        "CVE-2025-26794",
        "not-affected",
        "-",
        "debian-tracker",
    ),
];

#[test]
fn every_verdict_is_the_one_a_person_would_reach() {
    let answer = Harbour::new().answer();
    for (host, advisory, status, fixed, source) in VERDICTS {
        let found = verdict(&answer, host, advisory);
        let fix = found["fixed"].as_str().unwrap_or("-");
        let got = (found["status"].as_str().unwrap(), fix);
        assert_eq!(got, (*status, *fixed), "{host} {advisory}: {found:#}");
        assert_eq!(found["evidence"]["source"], *source, "{host} {advisory}");
    }
}

#[test]
fn the_tracker_of_newer_releases_does_not_clear_debian_10() {
    let answer = Harbour::new().answer();
    let found = verdict(&answer, "mx1.dur", "CVE-2019-16928");
    assert_eq!(found["status"], "unknown");
    assert_eq!(found["lane"], "emergency");
}

#[test]
fn a_decommissioned_or_unseen_host_has_no_findings() {
    let answer = Harbour::new().answer();
    let findings = answer["findings"].as_array().unwrap();
    for name in ["mx3.sin", "relay1.dur"] {
        assert!(findings.iter().all(|f| f["host"] != name), "{name}");
    }
}

#[test]
fn lane_decision_deadline_and_owner_follow_the_fleet_file() {
    let answer = Harbour::new().answer();
    for (host, advisory, lane, decision, deadline, owner) in [
        (
            "web1.ham",
            "CVE-2025-49113",
            "emergency",
            "Act",
            Some("2026-11-24"),
            "groupware",
        ),
        (
            "exch1.ewr",
            "CVE-2021-26855",
            "emergency",
            "Act",
            Some("2026-11-24"),
            "groupware",
        ),
        (
            "exch1.ham",
            "CVE-2024-21410",
            "emergency",
            "Act",
            Some("2026-11-24"),
            "groupware",
        ),
        // Internal, so that its exploited hole in the C library has until the second week.
        (
            "mail1.sin",
            "CVE-2023-4911",
            "emergency",
            "Act",
            Some("2026-12-05"),
            "groupware",
        ),
        // Not known to be exploited, but anybody could, at once.
        (
            "mx1.ham",
            "CVE-2023-42115",
            "regular",
            "Attend",
            Some("2026-11-24"),
            "europe",
        ),
        (
            "mx2.sin",
            "CVE-2024-39929",
            "regular",
            "Track*",
            Some("2027-01-20"),
            "asia",
        ),
        (
            "out1.dur",
            "CVE-2023-51764",
            "regular",
            "Track",
            Some("2026-12-05"),
            "africa",
        ),
        (
            "filter1.sin",
            "CVE-2023-20032",
            "regular",
            "Track*",
            Some("2027-01-20"),
            "postmasters",
        ),
        (
            "mail2.sin",
            "CVE-2024-34055",
            "regular",
            "Track",
            None,
            "groupware",
        ),
        (
            "mx1.ewr",
            "CVE-2023-51764",
            "regular",
            "Attend",
            Some("2026-12-05"),
            "americas",
        ),
    ] {
        let found = verdict(&answer, host, advisory);
        assert_eq!(found["lane"], lane, "{host} {advisory}");
        assert_eq!(found["decision"], decision, "{host} {advisory}");
        assert_eq!(found["deadline"].as_str(), deadline, "{host} {advisory}");
        assert_eq!(found["owner"], owner, "{host} {advisory}");
    }
}

#[test]
fn mail_software_its_dependencies_and_the_rest_are_told_apart() {
    let answer = Harbour::new().answer();
    for (host, advisory, surface) in [
        ("mx1.ham", "CVE-2023-42115", "mail"),
        ("mx1.ham", "CVE-2023-4911", "dependency"),
        ("mx1.ham", "CVE-2023-38408", "other"),
        ("exch1.ham", "CVE-2024-21410", "mail"),
    ] {
        assert_eq!(
            verdict(&answer, host, advisory)["surface"],
            surface,
            "{host} {advisory}"
        );
    }
}

#[test]
fn two_checks_from_nothing_give_the_same_bytes() {
    let harbour = Harbour::new();
    for format in ["table", "json", "csv"] {
        let run = |state: &str| {
            let output = harbour.run(
                &format!("{state}-{format}"),
                &["check", "--all", "--format", format],
            );
            assert_eq!(output.status.code(), Some(1));
            output.stdout
        };
        let (first, second) = (run("first"), run("second"));
        assert!(first.len() > 5_000, "{format}");
        assert!(first == second, "{format} differs between two runs");
    }
}

#[test]
fn tables_fit_a_hundred_columns() {
    let harbour = Harbour::new();
    let table = harbour.text(&["check", "--all-packages"], 1);
    assert!(table.contains("36 hosts: 27 affected, 7 clean, 1 unknown."));
    assert!(!table.contains('\u{1b}'), "no colour but on a terminal");
    let affected = harbour.text(&["affected", "CVE-2023-51764"], 1);
    for line in table.lines().chain(affected.lines()) {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn affected_names_those_concerned_those_not_and_those_nobody_knows() {
    let text = Harbour::new().text(&["affected", "CVE-2023-51764"], 1);
    assert!(
        text.starts_with("CVE-2023-51764: Postfix through 3.8.4: SMTP smuggling"),
        "{text}"
    );
    let (concerned, rest) = text.split_once("Not concerned:").unwrap();
    for name in ["mx1.ewr", "lists1.ewr", "out1.dur", "out1.sin"] {
        assert!(concerned.contains(name), "{name}: {text}");
    }
    let (settled, rest) = rest.split_once("No package that it names").unwrap();
    assert!(
        settled.contains("mx2.ewr") && settled.contains("out1.ham"),
        "{text}"
    );
    assert!(
        rest.contains("mx1.lis") && rest.contains("relay1.dur"),
        "{text}"
    );
    assert!(
        rest.contains("Decommissioned, not judged:\n  mx3.sin"),
        "{text}"
    );
}

#[test]
fn explain_shows_what_ran_what_is_installed_and_why_it_matters() {
    let harbour = Harbour::new();
    let restart = harbour.text(&["explain", "mx2.sin", "CVE-2024-39929"], 1);
    assert!(
        restart.contains("(pid 1187) still runs /usr/sbin/exim4"),
        "{restart}"
    );
    assert!(
        restart.contains("(version 4.94.2-7+deb11u2); restart it"),
        "{restart}"
    );
    let webmail = harbour.text(&["explain", "web1.ham", "CVE-2025-49113"], 1);
    assert!(webmail.contains("  CVSS         9.9 "), "{webmail}");
    assert!(
        webmail.contains("search the host for traces of a break-in"),
        "{webmail}"
    );
    harbour.text(&["explain", "mx1.lis", "CVE-2025-30232"], 0);
}

#[test]
fn only_the_gaps_the_fleet_file_explains_are_left_open() {
    let gaps = Harbour::new().text(&["fleet", "lint", "--json"], 1);
    let gaps: Value = serde_json::from_str(&gaps).unwrap();
    let named: Vec<String> = gaps
        .as_array()
        .unwrap()
        .iter()
        .map(|gap| {
            format!(
                "{} {}",
                gap["gap"].as_str().unwrap(),
                gap["subject"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        named,
        [
            "facts-never-seen relay1.dur",
            "service-unowned inbound-mx",
            "service-unowned lists",
            "service-unowned submission",
            "service-without-minimum lists in ewr",
            "service-without-minimum lists in ham",
            "service-without-minimum lists in sin",
        ]
    );
}

#[test]
fn a_plan_just_made_waits_for_nothing_but_its_teams() {
    let harbour = Harbour::new();
    let file = harbour.directory.path().join("plan.json");
    let file = file.to_str().unwrap();
    harbour.run("state", &["plan", "--output", file]);
    let start = ["rollout", "start", file, "--dry-run"];
    let output = harbour.run("state", &start);
    let errors = String::from_utf8(output.stderr).unwrap();
    let refused: Vec<&str> = errors
        .lines()
        .filter(|line| line.starts_with("refused: "))
        .collect();
    assert_eq!(refused.len(), 1, "{errors}");
    assert!(
        refused[0].starts_with("refused: not-approved: "),
        "{errors}"
    );
}
