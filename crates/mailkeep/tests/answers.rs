//! What an answer claims, and what it does not: silence is not safety.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, and writes its own hosts"
)]

mod common;

use std::process::Command;

use common::{Bench, EPSS, KEV, Ran, TRACKER, fleet, package};
use mailkeep_model::{EventKind, FeedId, FeedKind, FeedStatus, Realm};
use mailkeep_store::{Space, SqliteStore, Store};
use serde_json::Value;

const FIXED: &str = "4.96-15+deb12u2";

/// The fleet file's own feed; stale after two days.
const FEED: &str = "[feeds.debian-tracker]\nlocation = \"tracker.json\"\n";

/// A run at another time than the bench's.
fn at(bench: &Bench, time: &str, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailkeep"));
    bench.prepare(&mut command);
    command.args(["--at", time, "--state"]).arg(bench.state());
    Ran::of(&command.args(args).output().unwrap())
}

/// A live host's report: its packages, and one Exim process.
fn report(uid: u32, status: &str, process: &str) -> String {
    format!(
        "MAILKEEP-FACTS 1 n\n\n=n host\nuid {uid}\nnow 1795262400\nzone +0000\nhertz 100\norder 0001\n\n\
         =n os-release\nID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n\n\
         =n dpkg-status\n{status}\n=n processes\npid 70\ncomm exim4\n{process}\n=n end\n"
    )
}

/// A fleet of one host, mx1, whose facts are a report, and the tracker as its feed.
fn reported(report: &str) -> Bench {
    let bench = Bench::new();
    bench.write("tracker.json", TRACKER);
    bench.write("host", report);
    bench.write("mailkeep.toml", fleet(FEED));
    bench
}

fn reasons(answer: &Value, host: usize) -> Vec<&str> {
    let reasons = answer["hosts"][host]["reasons"].as_array().unwrap();
    reasons
        .iter()
        .map(|r| r["kind"].as_str().unwrap())
        .collect()
}

fn first_seen(ran: &Ran) -> String {
    let answer = ran.json();
    let finding = &answer["findings"][0];
    assert_eq!(finding["advisory"], "CVE-2023-42115", "{answer}");
    finding["first_seen"].as_str().unwrap().to_owned()
}

#[test]
fn a_damaged_word_about_an_id_is_an_error_and_no_silence() {
    let bench = Bench::new();
    let tracker = bench.write("tracker.json", TRACKER);
    bench.import("debian-tracker", &tracker).exits(0);
    let epss = bench.write("epss.csv", EPSS);
    bench.import("epss", &epss).exits(0);
    let root = bench.exim_host();
    bench.run(&["check", "--root", &root]).exits(1);
    let mut store = SqliteStore::open(&bench.state(), Realm::Live).unwrap();
    let id = FeedId::new("epss").unwrap();
    let status: FeedStatus = store
        .feeds()
        .unwrap()
        .into_iter()
        .find(|f| f.id == id)
        .unwrap();
    assert_eq!(status.kind, FeedKind::Epss);
    store
        .import_feed(&id, &mut |writer| {
            writer.put(Space::Vulnerability, "CVE-2023-42115", &[0xff; 9])?;
            Ok(status.clone())
        })
        .unwrap();
    drop(store);
    bench
        .run(&["check", "--root", &root])
        .exits(2)
        .says("cannot rank CVE-2023-42115: what epss says of it is damaged");
}

#[test]
fn a_live_host_whose_running_code_was_not_seen_is_not_clean() {
    let bench = reported(&report(1000, &package("exim4", FIXED), "exe \n"));
    let ran = bench
        .run(&["check", "--fleet", "mailkeep.toml", "--format", "json"])
        .exits(1);
    let answer = ran.json();
    assert_eq!(answer["hosts"][0]["status"], "unknown", "{answer}");
    assert_eq!(reasons(&answer, 0), ["running-code-not-seen"]);
    let table = bench.run(&["check", "--fleet", "mailkeep.toml"]).exits(1);
    let table = table
        .prints("running-code-not-seen")
        .prints("scan as root or");
    assert!(
        table.out.lines().all(|l| l.chars().count() <= 100),
        "{}",
        table.out
    );
    // With a finding it is affected, and the reason is told beside it.
    bench.write("host", report(1000, &package("exim4", "4.96-15"), "exe \n"));
    let answer = bench
        .run(&["check", "--fleet", "mailkeep.toml", "--format", "json"])
        .json();
    assert_eq!(answer["hosts"][0]["status"], "affected");
    assert_eq!(reasons(&answer, 0), ["running-code-not-seen"]);
}

#[test]
fn a_csaf_document_without_a_publisher_of_its_own_is_said_to_have_none() {
    let bench = reported(&report(0, &package("exim4", "4.96-15"), "exe \n"));
    let csaf = ["check", "--fleet", "mailkeep.toml", "--format", "csaf-vex"];
    let said = "the document's publisher is a placeholder";
    let ran = bench.run(&csaf).exits(1).says(said);
    let namespace = "/document/publisher/namespace";
    let named = |ran: &Ran| ran.json().pointer(namespace).unwrap().clone();
    assert_eq!(named(&ran), "https://operator.invalid");

    let organisation = "[organisation]\nname = \"Harbour\"\nurl = \"https://harbour.example\"\n";
    bench.write("mailkeep.toml", fleet(&format!("{FEED}{organisation}")));
    let ran = bench.run(&csaf).exits(1);
    assert!(!ran.err.contains(said), "{}", ran.err);
    assert_eq!(named(&ran), "https://harbour.example");
    // The other formats name no publisher.
    bench.write("mailkeep.toml", fleet(FEED));
    let ran = bench.run(&["check", "--fleet", "mailkeep.toml"]).exits(1);
    assert!(!ran.err.contains(said), "{}", ran.err);
}

#[test]
fn a_package_of_another_packager_is_one_line_and_each_advisory_can_be_explained() {
    let bench = Bench::new();
    let tracker = TRACKER.replacen(
        r#""CVE-2023-42115""#,
        r#""CVE-2026-1": {"description": "another", "scope": "remote", "releases": {"bookworm":
        {"status": "resolved", "repositories": {"bookworm": "4.96-15+deb12u2"},
        "fixed_version": "4.96-15+deb12u1", "urgency": "low"}}}, "CVE-2023-42115""#,
        1,
    );
    let tracker = bench.write("tracker.json", tracker);
    bench.import("debian-tracker", &tracker).exits(0);
    let root = bench.root("theirs", &package("exim4", "4.98-1+debian12"));
    let table = bench.run(&["check", "--root", &root]).exits(1);
    let lines = |text: &str| table.out.lines().filter(|l| l.contains(text)).count();
    assert_eq!(lines(" exim4 "), 1, "{}", table.out);
    assert_eq!(lines("4.98-1+debian12: unknown, 2 advisories"), 1);
    let json = bench
        .run(&["check", "--root", &root, "--format", "json"])
        .json();
    let rules: Vec<_> = json["findings"].as_array().unwrap().iter().collect();
    assert_eq!(rules.len(), 2);
    for finding in rules {
        assert_eq!(finding["evidence"]["rule"], "not-the-distributors-package");
    }
    for advisory in ["CVE-2026-1", "CVE-2023-42115"] {
        bench
            .run(&["explain", "root", advisory, "--root", &root])
            .exits(1)
            .prints("not-the-distributors-package");
    }
}

#[test]
fn a_mounted_root_is_clean_and_its_limits_are_told() {
    let bench = Bench::new();
    let tracker = bench.write("tracker.json", TRACKER);
    bench.import("debian-tracker", &tracker).exits(0);
    let root = bench.root("patched", &package("exim4", FIXED));
    bench
        .run(&["check", "--root", &root])
        .exits(0)
        .prints("1 clean")
        .prints("What runs was not seen on: root\n")
        .prints("candidates on root, listeners on root");
}

#[test]
fn old_code_that_no_package_owns_is_not_clean() {
    let process = "exe /usr/local/sbin/exim4 (deleted)\n\n\
                   =n maps\n/proc/70/maps:55b9-55ba r-xp 00026000 fe:00 91 /usr/local/sbin/exim4 (deleted)\n";
    let bench = reported(&report(0, &package("exim4", FIXED), process));
    let answer = bench
        .run(&["check", "--fleet", "mailkeep.toml", "--format", "json"])
        .exits(1)
        .json();
    assert_eq!(answer["hosts"][0]["status"], "unknown", "{answer}");
    assert_eq!(reasons(&answer, 0), ["stale-code-unowned"]);
    let sentence = answer["hosts"][0]["reasons"][0]["text"].as_str().unwrap();
    assert!(
        sentence.starts_with("exim4 (pid 70) runs /usr/local/sbin/exim4"),
        "{sentence}"
    );
    // The same code, still on disk: nothing against it.
    bench.write(
        "host",
        report(
            0,
            &package("exim4", FIXED),
            &process.replace(" (deleted)", ""),
        ),
    );
    bench.run(&["check", "--fleet", "mailkeep.toml"]).exits(0);
}

#[test]
fn a_host_without_packages_is_unknown() {
    let bench = Bench::new();
    let tracker = bench.write("tracker.json", TRACKER);
    bench.import("debian-tracker", &tracker).exits(0);
    let root = bench.root("empty", "");
    let answer = bench
        .run(&["check", "--root", &root, "--format", "json"])
        .exits(1)
        .json();
    assert_eq!(answer["hosts"][0]["status"], "unknown");
    assert!(reasons(&answer, 0).contains(&"no-packages"), "{answer}");
}

#[test]
fn a_host_whose_package_list_is_damaged_is_not_clean() {
    let broken = "Package: exim4\nStatus: install ok installed\nArchitecture: amd64\n";
    let bench = reported(&report(
        0,
        &format!("{broken}\n{}", package("bash", "5.2.15-2+b2")),
        "exe /usr/sbin/exim4\n",
    ));
    let ran = bench
        .run(&["check", "--fleet", "mailkeep.toml", "--format", "json"])
        .exits(1);
    let answer = ran.json();
    assert_eq!(answer["hosts"][0]["status"], "unknown", "{answer}");
    assert!(
        reasons(&answer, 0).contains(&"packages-not-whole"),
        "{answer}"
    );
    bench
        .run(&["check", "--fleet", "mailkeep.toml"])
        .exits(1)
        .prints("dpkg status of exim4");
}

#[test]
fn the_first_check_prints_nothing_but_its_answer() {
    let bench = Bench::new();
    let ran = bench.run(&["check", "--format", "json"]);
    // Whatever this machine is, the scan of it is no part of the answer.
    assert_eq!(ran.json()["hosts"].as_array().unwrap().len(), 1);
    assert!(ran.err.contains("looking at this machine"), "{}", ran.err);
}

#[test]
fn a_host_that_is_not_scanned_is_told_with_the_reason() {
    let bench = reported("");
    let with_old =
        "[hosts.old]\nregion = \"eu\"\nfamily = \"exim\"\nlifecycle = \"decommissioned\"\n";
    bench.write("mailkeep.toml", fleet(&format!("{FEED}{with_old}")));
    bench
        .run(&["scan", "--fleet", "mailkeep.toml", "mx1", "old"])
        .exits(2)
        .says("mx1 is not scanned: its facts come from")
        .says("old is not scanned: mailkeep.toml says it is out of use")
        .says("there is nothing to scan");
    bench
        .run(&["scan", "--fleet", "mailkeep.toml"])
        .exits(0)
        .says("every host of mailkeep.toml");
    bench.write("mailkeep.toml", "");
    bench
        .run(&["scan", "--fleet", "mailkeep.toml"])
        .exits(2)
        .says("there is nothing to scan");
}

#[test]
fn facts_of_a_list_are_an_event_as_those_of_a_scan() {
    let bench = Bench::new();
    let root = bench.exim_host();
    bench
        .run(&["scan", "--root", &root, "--name", "mx1"])
        .exits(0)
        .prints("things not seen: `mailkeep explain mx1` lists them");
    let store = SqliteStore::open(&bench.state(), Realm::Live).unwrap();
    let kinds: Vec<EventKind> = store
        .events_after(0, 10)
        .unwrap()
        .into_iter()
        .map(|recorded| recorded.event.kind)
        .collect();
    assert!(
        matches!(&kinds[..], [EventKind::HostScanned { host, .. }] if host.as_str() == "mx1"),
        "{kinds:?}"
    );
}

#[test]
fn a_host_is_explained_without_an_advisory() {
    let bench = Bench::new();
    let tracker = bench.write("tracker.json", TRACKER);
    bench.import("debian-tracker", &tracker).exits(0);
    let root = bench.exim_host();
    bench
        .run(&["explain", "mx1", "--root", &root])
        .exits(1)
        .prints("mx1: Debian GNU/Linux 12")
        .prints("not seen: processes: a mounted root does not run")
        .prints("  exim4 4.96-15: 1 advisory\n");
}

#[test]
fn since_last_shows_everything_the_first_time_and_counts_everything_always() {
    let bench = Bench::new();
    let tracker = bench.write("tracker.json", TRACKER);
    bench.import("debian-tracker", &tracker).exits(0);
    let root = bench.exim_host();
    let since = |format: &str| {
        bench.run(&[
            "check", "--root", &root, "--since", "last", "--format", format,
        ])
    };
    let first = since("json").exits(1).says("There was no check of").json();
    assert_eq!(first["findings"].as_array().unwrap().len(), 1, "{first}");
    assert_eq!(first["changes"][0]["change"], "new");
    let again = since("json").exits(0).json();
    assert_eq!(again["findings"].as_array().unwrap().len(), 0);
    assert_eq!(again["changes"].as_array().unwrap().len(), 0);
    assert_eq!(
        again["counts"]["status"]["fix-available"],
        first["counts"]["status"]["fix-available"]
    );
    assert_eq!(again["counts"]["surface"]["mail"], 1, "{again}");

    // Nothing changed, but nothing is known either.
    let bench = Bench::new();
    bench.write(
        "mailkeep.toml",
        fleet("[hosts.mx2]\nregion = \"eu\"\nfamily = \"exim\"\n"),
    );
    bench.exim_host();
    for _ in 0..2 {
        bench
            .run(&["check", "--fleet", "mailkeep.toml", "--since", "last"])
            .exits(1);
    }
}

#[test]
fn a_feed_that_breaks_off_makes_nothing_gone_and_no_deadline_begins_anew() {
    let bench = Bench::new();
    let whole = bench.write("tracker.json", TRACKER);
    let partial = bench.write("partial.json", "{\"aaa\": {\"CVE-2026-1\": {\"releases\": {\"bookworm\": {\"status\": \"open\", \"repositories\": {\"bookworm\": \"1\"}, \"urgency\": \"low\"}}}}, \"exim4\": {\"CVE-2023");
    let root = bench.exim_host();
    let import = |path: &str| {
        let args = [
            "feeds",
            "import",
            "--source",
            "debian-tracker",
            "--as-of",
            "2026-11-21T06:00:00Z",
            path,
        ];
        at(&bench, "2026-11-21T12:00:00Z", &args);
        bench.status()
    };
    let check = |time: &str| {
        at(
            &bench,
            time,
            &[
                "check", "--root", &root, "--format", "json", "--since", "last",
            ],
        )
    };
    import(&whole);
    assert_eq!(
        first_seen(&check("2026-11-21T12:00:00Z").exits(1)),
        "2026-11-21"
    );
    assert_eq!(import(&partial)[0]["state"], "partial");
    let broken = check("2026-11-22T12:00:00Z").exits(1).json();
    assert_eq!(broken["hosts"][0]["status"], "unknown", "{broken}");
    assert_eq!(
        broken["counts"]["status"]["fix-available"], 0,
        "the test needs its silence: {broken}"
    );
    assert_eq!(broken["changes"].as_array().unwrap().len(), 0, "{broken}");
    import(&whole);
    let back = check("2026-11-23T05:00:00Z").json();
    assert_eq!(back["changes"].as_array().unwrap().len(), 0, "{back}");
    let args = ["check", "--root", &root, "--format", "json"];
    assert_eq!(
        first_seen(&at(&bench, "2026-11-23T05:00:00Z", &args)),
        "2026-11-21"
    );
}

#[test]
fn one_hole_has_one_first_day_whoever_asks() {
    const SECOND: &str = "[hosts.mx2]\nregion = \"eu\"\nservices = [\"inbound-mx\"]\nfamily = \"exim\"\nfacts = \"host\"\n";
    const DAY_1: &str = "2026-11-21T12:00:00Z";
    const DAY_2: &str = "2026-11-22T12:00:00Z";
    let fleet_check = |bench: &Bench| {
        let args = ["check", "--fleet", "mailkeep.toml", "--format", "json"];
        let answer = at(bench, DAY_2, &args).exits(1).json();
        let days: Vec<String> = answer["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| {
                format!(
                    "{} {}",
                    f["host"].as_str().unwrap(),
                    f["first_seen"].as_str().unwrap()
                )
            })
            .collect();
        days
    };
    let before: [&[&str]; 4] = [
        &["check", "--fleet", "mailkeep.toml", "--host", "mx1"],
        &[
            "check",
            "--fleet",
            "mailkeep.toml",
            "--host",
            "mx1",
            "--host",
            "mx2",
        ],
        &["watch", "--once", "--offline", "--fleet", "mailkeep.toml"],
        &[
            "explain",
            "mx1",
            "CVE-2023-42115",
            "--fleet",
            "mailkeep.toml",
        ],
    ];
    let expected = [
        ["mx1 2026-11-21", "mx2 2026-11-22"],
        ["mx1 2026-11-21", "mx2 2026-11-21"],
        ["mx1 2026-11-21", "mx2 2026-11-21"],
        // To explain is to ask, not to check: nothing is kept of it.
        ["mx1 2026-11-22", "mx2 2026-11-22"],
    ];
    for (args, expected) in before.into_iter().zip(expected) {
        let bench = Bench::new();
        bench.exim_host();
        bench.write("tracker.json", TRACKER);
        bench.write("mailkeep.toml", fleet(&format!("{FEED}{SECOND}")));
        at(&bench, DAY_1, args).exits(1);
        assert_eq!(fleet_check(&bench), expected, "{args:?}");
        // And the other way: who asks about one host hears the fleet's day.
        let args = [
            "check",
            "--fleet",
            "mailkeep.toml",
            "--host",
            "mx1",
            "--format",
            "json",
        ];
        let alone = at(&bench, "2026-11-23T05:00:00Z", &args);
        assert_eq!(format!("mx1 {}", first_seen(&alone)), expected[0]);
    }
}

#[test]
fn an_old_list_of_exploited_holes_still_tells_what_was_not_on_it() {
    let bench = Bench::new();
    let tracker = bench.write("tracker.json", TRACKER);
    bench.import("debian-tracker", &tracker).exits(0);
    let root = bench.exim_host();
    let later = "2026-12-20T12:00:00Z";
    let notes = |ran: &Ran| ran.json()["findings"][0]["evidence"]["notes"].to_string();
    let json = ["check", "--root", &root, "--format", "json"];
    let without = at(&bench, later, &json);
    assert!(
        notes(&without).contains("no usable KEV feed: taken as active"),
        "{}",
        without.out
    );
    let kev = bench.write("kev.json", KEV.replace("CVE-2023-42115", "CVE-2020-1"));
    bench.import("kev", &kev).exits(0);
    let stale = at(&bench, later, &json);
    assert!(
        notes(&stale).contains("not in KEV: taken as poc"),
        "{}",
        stale.out
    );
    assert!(
        notes(&stale)
            .contains("the list of known exploited vulnerabilities is of 2026-11-20 (stale)"),
        "{}",
        stale.out
    );
    at(&bench, later, &["check", "--root", &root])
        .exits(1)
        .prints("exploited vulnerabilities is of 2026-11-20 (stale)");
    let fresh = bench.run(&json);
    assert!(!notes(&fresh).contains("stale"), "{}", fresh.out);
}

#[test]
fn an_id_that_no_feed_knows_is_told_from_one_that_concerns_nobody() {
    let bench = Bench::new();
    let tracker = bench.write("tracker.json", TRACKER);
    bench.import("debian-tracker", &tracker).exits(0);
    let osv = bench.write(
        "osv.json",
        common::osv("GHSA-aaaa-bbbb-cccc", "CVE-2026-7", "dovecot", "1:2.4"),
    );
    bench.import("osv", &osv).exits(0);
    let kev = bench.write("kev.json", KEV.replace("CVE-2023-42115", "CVE-2020-1"));
    bench.import("kev", &kev).exits(0);
    let root = bench.root("patched", &package("exim4", FIXED));
    let affected =
        |id: &str, format: &str| bench.run(&["affected", id, "--root", &root, "--format", format]);
    affected("CVE-2023-4211", "table")
        .exits(1)
        .prints("No imported feed knows it");
    affected("CVE-2023-4211", "json")
        .exits(1)
        .says("no imported feed knows CVE-2023-4211");
    // By its own name, by an alias, by a list of ids only.
    for known in ["CVE-2026-7", "GHSA-aaaa-bbbb-cccc", "CVE-2020-1"] {
        affected(known, "table")
            .exits(0)
            .prints("No package that it names is installed on:\n  root");
    }
    affected("CVE-2023-42115", "table")
        .exits(0)
        .prints("Not concerned:");
    bench
        .run(&["explain", "root", "CVE-2023-4211", "--root", &root])
        .exits(1)
        .prints("No imported feed knows CVE-2023-4211");
}

#[test]
fn a_host_with_something_against_its_answer_is_not_called_free_of_a_hole() {
    let bench = reported(&report(1000, &package("exim4", "4.96-15"), "exe \n"));
    let kev = bench.write("kev.json", KEV.replace("CVE-2023-42115", "CVE-2020-1"));
    bench.import("kev", &kev).exits(0);
    let ran = bench
        .run(&["affected", "CVE-2020-1", "--fleet", "mailkeep.toml"])
        .exits(1);
    let ran = ran.prints("Not known:\n  mx1");
    assert!(!ran.out.contains("No package that it names"), "{}", ran.out);
    bench
        .run(&[
            "explain",
            "mx1",
            "CVE-2023-42115",
            "--fleet",
            "mailkeep.toml",
        ])
        .exits(1)
        .prints("running-code-not-seen");
}

#[test]
fn explaining_a_host_never_seen_is_no_all_clear() {
    let bench = Bench::new();
    bench.write(
        "mailkeep.toml",
        fleet(&format!(
            "{FEED}[hosts.mx2]\nregion = \"eu\"\nfamily = \"exim\"\n"
        )),
    );
    bench.write("tracker.json", TRACKER);
    bench.exim_host();
    bench
        .run(&[
            "explain",
            "mx2",
            "CVE-2023-42115",
            "--fleet",
            "mailkeep.toml",
        ])
        .exits(1)
        .prints("never seen")
        .prints("no-facts");
}

#[test]
fn a_watch_tells_what_became_unknown_or_stale_and_counts_what_is_not_about_mail() {
    let bench = Bench::new();
    let tracker = TRACKER.replace(
        "{\"exim4\"",
        "{\"bash\": {\"CVE-2026-5\": {\"releases\": {\"bookworm\": {\"status\": \"open\", \"repositories\": {\"bookworm\": \"5.2\"}, \"urgency\": \"low\"}}}}, \"exim4\"",
    );
    bench.write("tracker.json", tracker);
    let kev = bench.write("kev.json", KEV.replace("CVE-2023-42115", "CVE-2020-1"));
    bench.root(
        "host",
        &format!("{}{}", package("bash", "5.2"), package("exim4", "4.96-15")),
    );
    bench.write(
        "mailkeep.toml",
        fleet(&format!(
            "{FEED}[hosts.mx2]\nregion = \"eu\"\nfamily = \"exim\"\n\
             [notify]\ncommand = [\"sh\", \"-c\", \"cat >> told.json; echo >> told.json\"]\n"
        )),
    );
    bench.import("kev", &kev).exits(0);
    let watch = |time: &str| {
        at(
            &bench,
            time,
            &["watch", "--once", "--offline", "--fleet", "mailkeep.toml"],
        )
    };
    let told = || -> Value {
        let text = std::fs::read_to_string(bench.path("told.json")).unwrap();
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    };
    let first = watch("2026-11-21T12:00:00Z")
        .exits(1)
        .says("mx1 exim4 CVE-2023-42115")
        .says("mx2 is not known to be safe: no-facts")
        .says("1 more on packages apart from mail");
    assert!(!first.err.contains("CVE-2026-5"), "{}", first.err);
    assert_eq!(
        told()["changes"].as_array().unwrap().len(),
        2,
        "a program hears everything"
    );
    assert_eq!(told()["hosts"][0]["host"], "mx2");
    watch("2026-11-21T12:00:00Z").exits(0);
    // Four days later nothing was fetched: the tracker is stale, and mx1's answer is not whole.
    let stale = watch("2026-11-25T12:00:00Z")
        .exits(1)
        .says("feed debian-tracker is stale: as of 2026-11-21T06:00:00Z");
    assert!(
        !stale.err.contains("mx2 is not known to be safe"),
        "told once: {}",
        stale.err
    );
    assert_eq!(told()["feeds"][0]["state"], "stale");
    assert_eq!(told()["changes"].as_array().unwrap().len(), 0, "{}", told());
    watch("2026-11-25T12:00:00Z").exits(0);
    common::touch(&bench.path("tracker.json"), "2026-11-25T06:00:00Z");
    watch("2026-11-25T12:00:00Z")
        .exits(1)
        .says("feed debian-tracker is fresh again");
}

#[test]
fn what_one_package_needs_stands_together_and_fits_the_line() {
    let bench = Bench::new();
    let hole = |fixed: &str, offered: &str, urgency: &str| {
        format!(
            "{{\"releases\": {{\"bookworm\": {{\"status\": \"resolved\", \"repositories\": {{\"bookworm\": \"{offered}\"}}, \
             \"fixed_version\": \"{fixed}\", \"urgency\": \"{urgency}\"}}}}}}"
        )
    };
    let tracker = format!(
        "{{\"dovecot\": {{\"CVE-2026-2\": {}}}, \"exim4\": {{\"CVE-2026-1\": {}, \"CVE-2026-3\": {}}}}}",
        hole("1:2.4", "1:2.4", "medium"),
        hole(FIXED, FIXED, "high"),
        hole(
            "4.96-15+deb12u9~with.a.long.suffix.of.its.own",
            FIXED,
            "low"
        ),
    );
    bench.write("tracker.json", tracker);
    bench.write("mailkeep.toml", fleet(FEED));
    let policy = "exe /usr/sbin/exim4\n\n\
        =n maps\n/proc/70/maps:55b9-55ba r-xp 00026000 fe:00 91 /usr/sbin/exim4\n\n\
        =n apt-lists\n1795200000 /var/lib/apt/lists/mirror.example_debian_dists_bookworm_InRelease\n\n\
        =n apt-policy\nexim4:\n  Installed: 4.96-15\n  Candidate: 4.96-15+deb12u2\n\
        dovecot:\n  Installed: 1:2.3\n  Candidate: 1:2.4\n";
    let packages = format!(
        "{}{}",
        package("dovecot", "1:2.3"),
        package("exim4", "4.96-15")
    );
    bench.write("host", report(0, &packages, policy));
    let table = bench
        .run(&["check", "--fleet", "mailkeep.toml"])
        .exits(1)
        .out;
    let acts: Vec<&str> = table.lines().filter(|l| l.contains(" -> ")).collect();
    assert_eq!(acts.len(), 3, "{table}");
    assert!(
        acts[0].contains("exim4") && acts[1].contains("exim4"),
        "{table}"
    );
    assert!(acts[1].ends_with("(not offered)"), "{table}");
}
