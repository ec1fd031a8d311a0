//! Input that is broken, huge, hostile or mistimed, and a machine that fails in between: each has a
//! message that a tired person understands, and leaves the state as it was.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, and plays the other side itself"
)]

mod common;

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{
    Bench, KEV, Ran, TRACKER, assert_harmless, fifo, fleet, gzip, has_program, osv, package, touch,
    zip,
};
use mailkeep_model::text::is_unsafe;

/// A state with one good feed in it, which everything below must leave alone.
fn with_tracker() -> Bench {
    let bench = Bench::new();
    let file = bench.write("good.json", TRACKER);
    bench.import("debian-tracker", &file).exits(0);
    bench
}

#[track_caller]
fn assert_state_as_before(bench: &Bench) {
    let status = bench.status();
    assert_eq!(status.as_array().unwrap().len(), 1, "{status}");
    assert_eq!(status[0]["source"], "debian-tracker");
    assert_eq!(
        (&status[0]["records"], &status[0]["partial"]),
        (&1.into(), &false.into())
    );
    let root = bench.exim_host();
    bench
        .run(&["check", "--root", &root])
        .exits(1)
        .prints("4.96-15 -> 4.96-15+deb12u2");
}

#[test]
fn a_truncated_feed_gives_what_was_whole_and_says_so() {
    let bench = Bench::new();
    let two = TRACKER.replacen('{', r#"{"aaa": {"CVE-2020-1111": {"releases": {"bookworm": {"status": "open", "repositories": {"bookworm": "1"}, "urgency": "low"}}}}, "#, 1);
    let file = bench.write("cut.json", &two[..two.len() - 40]);
    bench
        .import("debian-tracker", &file)
        .exits(0)
        .says("ENDED BEFORE ITS END");
    let zipped = gzip(&lines(1 << 20));
    let file = bench.write("cut.jsonl.gz", &zipped[..zipped.len() / 2]);
    bench
        .import("osv", &file)
        .exits(0)
        .says("ENDED BEFORE ITS END");
    let file = bench.write("cut.json.gz", &zipped[..20]);
    bench
        .import("kev", &file)
        .exits(2)
        .says("gzip data cut short before any content");
    let archive = zip(&[(
        "a.json",
        osv("DSA-1-1", "CVE-2026-1", "exim4", "4.97-1").as_bytes(),
    )]);
    let file = bench.write("cut.zip", &archive[..archive.len() - 9]);
    bench
        .import("osv", &file)
        .exits(2)
        .says("it may be cut short");
}

#[test]
fn what_is_plainly_something_else_is_refused_by_name() {
    let bench = with_tracker();
    let utf16: Vec<u8> = std::iter::once(0xfeff)
        .chain(TRACKER.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    for (name, bytes, message) in [
        (
            "utf16.json",
            utf16,
            "text in UTF-16 or UTF-32; save it as UTF-8",
        ),
        (
            "page.json",
            b"<!DOCTYPE html><title>Log in</title>".to_vec(),
            "an HTML page; a proxy",
        ),
        ("empty.json", Vec::new(), "it is empty"),
        ("binary.json", b"\x7fELF\x02\0\0\0".to_vec(), "binary data"),
        ("list.json", b"[1, 2, 3]".to_vec(), "this is no"),
        (
            "nested.gz",
            gzip(&gzip(TRACKER.as_bytes())),
            "gzip data within gzip data",
        ),
    ] {
        let file = bench.write(name, bytes);
        let ran = bench.import("debian-tracker", &file).exits(2).says(message);
        assert!(ran.err.starts_with("error: cannot read "), "{}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    }
    bench
        .import("debian-tracker", "no-such-file")
        .exits(2)
        .says("error: cannot open no-such-file: No such file or directory");
    assert_state_as_before(&bench);
}

#[test]
fn depth_and_bombs_end_at_their_limits() {
    let bench = with_tracker();
    let deep = format!("{{\"exim4\": {}", "[".repeat(2_000_000));
    for kind in ["debian-tracker", "osv", "csaf", "cve", "kev"] {
        let file = bench.write("deep.json", &deep);
        let ran = bench.run(&[
            "feeds",
            "import",
            "--source",
            kind,
            "--name",
            &format!("deep-{kind}"),
            &file,
        ]);
        assert_harmless(&ran.err);
        // Refused, or a problem by name: never a crash, never silence.
        let told = ran.code == Some(2)
            || ran.err.contains("could not be used")
            || ran.err.contains("ENDED BEFORE");
        assert!(told, "{kind}: {ran:#?}");
        if ran.code == Some(0) {
            bench
                .run(&["feeds", "remove", &format!("deep-{kind}")])
                .exits(0);
        }
    }
    let mut bomb = vec![b' '; 96 << 20];
    bomb[0] = b'{';
    let file = bench.write("bomb.json.gz", gzip(&bomb));
    bench
        .import("debian-tracker", &file)
        .exits(2)
        .says("more than 300 times its size, as only a compression bomb does");
    let record = osv("DSA-1-1", "CVE-2026-1", "exim4", "4.97-1");
    let archive = zip(&[
        ("../../../../etc/cron.d/x", record.as_bytes()),
        ("/etc/passwd", record.as_bytes()),
        ("good.json", record.as_bytes()),
    ]);
    let file = bench.write("climbs.zip", archive);
    bench
        .run(&[
            "feeds", "import", "--source", "osv", "--name", "climbs", &file,
        ])
        .exits(0)
        .says("3 records, 2 could not be used");
    bench.run(&["feeds", "problems", "climbs"]).exits(1).prints(
        "climbs: ../../../../etc/cron.d/x: its name leads out of the archive; it was not read",
    );
    bench.run(&["feeds", "remove", "climbs"]).exits(0);
    assert_state_as_before(&bench);
}

#[test]
fn a_broken_paragraph_of_the_package_database_is_named_and_the_rest_goes_on() {
    let bench = with_tracker();
    let status = format!(
        "Package: bad\nStatus: install ok\n: \nVersion\n\n{}Package: no-version\nStatus: install ok installed\n\n{}",
        package("exim4", "4.96-15"),
        package("good", "1"),
    );
    let root = bench.root("broken", &status);
    bench
        .run(&["check", "--root", &root])
        .exits(1)
        .says("no-version")
        .prints("4.96-15 -> 4.96-15+deb12u2");
    let root = bench.root("garbage", "\0\u{1b}[2J\n\n\u{9b}31m: x\n");
    let ran = bench.run(&["check", "--root", &root]).exits(1);
    assert!(ran.out.contains("unknown"), "{}", ran.out);
    bench
        .run(&["check", "--root", "nowhere"])
        .exits(2)
        .says("there is no etc/os-release below nowhere");
}

#[test]
fn two_hosts_of_one_name_are_a_mistake_with_its_place() {
    let bench = with_tracker();
    bench.exim_host();
    bench.write("mailkeep.toml", fleet("[hosts.mx1]\nregion = \"eu\"\n"));
    bench
        .run(&["check", "--fleet", "mailkeep.toml"])
        .exits(2)
        .says("the fleet file mailkeep.toml has mistakes")
        .says("mx1");
}

#[test]
fn who_names_the_hole_before_the_host_is_told_so() {
    let bench = with_tracker();
    bench.write("mailkeep.toml", fleet("[hosts.mx1]\n"));
    bench
        .run(&["explain", "cve-2023-42115", "mx1"])
        .exits(2)
        .says("the host comes first: mailkeep explain mx1 cve-2023-42115");
    let ran = bench.run(&["explain", "mx2", "CVE-2023-42115"]).exits(2);
    assert!(!ran.err.contains("comes first"), "{}", ran.err);
}

#[test]
fn a_clock_in_the_future_or_the_past_makes_nothing_look_fresh() {
    let bench = with_tracker();
    let root = bench.exim_host();
    let early = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailkeep"));
        bench.prepare(&mut command);
        command
            .args(["--at", "2026-11-01T00:00:00Z", "--state"])
            .arg(bench.state());
        Ran::of(&command.args(args).output().unwrap())
    };
    early(&["feeds", "status"])
        .exits(1)
        .prints("FUTURE")
        .prints("in the future");
    early(&["check", "--root", &root])
        .exits(1)
        .prints("feed debian-tracker bears a date in the future: as of 2026-11-21T06:00:00Z");
    let json = early(&["check", "--root", &root, "--format", "json"])
        .exits(1)
        .json();
    assert_eq!(json["feeds"][0]["state"], "from-the-future");
    assert_eq!(
        json["hosts"][0]["reasons"][0]["kind"],
        "feed-from-the-future"
    );

    // Facts of a scan, seen later than "now".
    bench
        .run(&["scan", "--root", &root, "--name", "mx1"])
        .exits(0);
    let json = early(&["check", "--host", "mx1", "--format", "json"]).json();
    let reasons = json["hosts"][0]["reasons"].to_string();
    assert!(reasons.contains("check this machine's clock"), "{reasons}");

    // One record's date is not the archive's.
    let mut record: serde_json::Value =
        serde_json::from_str(&osv("DSA-1-1", "CVE-2026-1", "exim4", "4.97-1")).unwrap();
    record["modified"] = "2099-01-01T00:00:00Z".into();
    let archive = bench.write(
        "future.zip",
        zip(&[("a.json", record.to_string().as_bytes())]),
    );
    bench
        .import("osv", &archive)
        .exits(0)
        .says("as of 2026-11-21T06:00:00Z");
    let kev = bench.write("kev.json", KEV.replace("2026-11-20T", "2099-11-20T"));
    bench.import("kev", &kev).exits(0);
    bench.run(&["feeds", "status"]).exits(1).prints("FUTURE");
    // Nor does a file's own time make it speak for a time to come.
    touch(Path::new(&archive), "2099-01-01T00:00:00Z");
    bench
        .import("osv", &archive)
        .exits(0)
        .says("as of 2026-11-2");
}

/// One OSV record a line, as many as it takes.
fn lines(bytes: usize) -> Vec<u8> {
    let record = osv("DSA-NUMBER-1", "CVE-2026-NUMBER", "packagePACKAGE", "1.2-3");
    let mut all = Vec::with_capacity(bytes + 1000);
    let mut number = 1000_u32;
    while all.len() < bytes {
        number += 1;
        let package = number.wrapping_mul(2_654_435_761) % 50_000;
        let record = record.replace("NUMBER", &number.to_string());
        writeln!(all, "{}", record.replace("PACKAGE", &package.to_string())).unwrap();
    }
    all
}

/// A tracker of many packages, without its end.
fn large_tracker(bytes: usize) -> Vec<u8> {
    let package = &TRACKER[1..TRACKER.len() - 1];
    let mut all = b"{".to_vec();
    let mut number = 0_u32;
    while all.len() < bytes {
        number += 1;
        writeln!(
            all,
            "{},",
            package.replacen("exim4", &format!("package{number}"), 1)
        )
        .unwrap();
    }
    all
}

/// An import that reads from a pipe: it goes as far as it is fed, and waits.
struct Fed {
    child: Child,
    pipe: File,
}

fn fed(bench: &Bench, kind: &str, name: &str) -> Fed {
    let path = bench.path("pipe.jsonl");
    fifo(&path);
    let location = path.display().to_string();
    let child = bench
        .command(&[
            "feeds", "import", "--source", kind, "--name", name, &location,
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Waits until the other side opens it.
    let pipe = OpenOptions::new().write(true).open(&path).unwrap();
    Fed { child, pipe }
}

#[test]
fn an_import_killed_halfway_leaves_the_state_as_before() {
    let bench = with_tracker();
    let mut fed = fed(&bench, "debian-tracker", "debian-tracker");
    // Far more than a pipe and the reader's window hold: it was read, and rows were written.
    fed.pipe.write_all(&large_tracker(4 << 20)).unwrap();
    fed.child.kill().unwrap();
    fed.child.wait().unwrap();
    assert_state_as_before(&bench);
    let file = bench.write("again.jsonl", lines(10_000));
    bench.import("osv", &file).exits(0);
}

#[test]
fn while_one_imports_another_checks_and_a_second_import_waits_then_says_why() {
    let bench = with_tracker();
    let root = bench.exim_host();
    let mut fed = fed(&bench, "osv", "records");
    fed.pipe.write_all(&lines(1 << 20)).unwrap();
    // The feeds as they were; that the check itself cannot be kept is said.
    let ran = bench.run(&["check", "--root", &root]).exits(1);
    assert!(
        ran.out.contains("4.96-15 -> 4.96-15+deb12u2"),
        "{}",
        ran.out
    );
    assert!(
        ran.err.contains(
            "warning: this check is not kept for --since last: another mailkeep is writing"
        ),
        "{}",
        ran.err
    );
    let kev = bench.write("kev.json", KEV);
    bench
        .import("kev", &kev)
        .exits(2)
        .says("another mailkeep is writing to ")
        .says("wait for it to end");
    drop(fed.pipe);
    let output = fed.child.wait_with_output().unwrap();
    Ran::of(&output).exits(0).says("records: ");
    bench.import("kev", &kev).exits(0);
}

#[test]
fn memory_does_not_grow_with_the_feed() {
    let bench = Bench::new();
    let mut fed = fed(&bench, "osv", "records");
    fed.pipe.write_all(&lines(30 << 20)).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", fed.child.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    drop(fed.pipe);
    Ran::of(&fed.child.wait_with_output().unwrap()).exits(0);
    println!("peak of importing 30 MiB: {} MiB", kib >> 10);
    assert!(kib < 100 << 10, "{kib} KiB");
}

#[test]
fn a_full_disk_leaves_the_state_as_before() {
    let name = "a_full_disk_leaves_the_state_as_before";
    let bench = with_tracker();
    let mut large = large_tracker(24 << 20);
    large.extend_from_slice(&TRACKER.as_bytes()[1..]);
    let file = bench.write("large.json", large);
    let state = bench.state().display().to_string();
    let program = env!("CARGO_BIN_EXE_mailkeep");
    let script = format!(
        "mkdir small && mount -t tmpfs -o size=3m none small && cp -a {state}/. small/ || exit 77
         {program} --at {now} --state small feeds import --source debian-tracker {file}
         echo \"status $?\"
         {program} --at {now} --state small feeds status --json",
        now = common::NOW,
    );
    let mut command = Command::new("unshare");
    bench.prepare(&mut command);
    let output = command.args(["--mount", "sh", "-c", &script]).output();
    match output {
        Ok(output) if output.status.code() == Some(0) => {
            let ran = Ran::of(&output);
            assert!(ran.out.contains("status 2\n"), "{ran:#?}");
            assert!(
                ran.err
                    .contains("is full; nothing was changed: free some space"),
                "{ran:#?}"
            );
            let json = ran.out.split_once('\n').unwrap().1;
            let feeds: serde_json::Value = serde_json::from_str(json).unwrap();
            assert_eq!(feeds.as_array().unwrap().len(), 1, "{feeds}");
        }
        other => println!("skipped: {name}: no tmpfs of our own here ({other:?})"),
    }

    // A limit on file sizes fails the same way, without any privilege.
    if has_program(name, "sh") {
        let mut command = Command::new("sh");
        bench.prepare(&mut command);
        let script = format!(
            "trap '' XFSZ; ulimit -f 4096; exec {program} --at {} --state {state} feeds import --source debian-tracker {file}",
            common::NOW
        );
        let ran = Ran::of(&command.args(["-c", &script]).output().unwrap()).exits(2);
        assert!(
            ran.err.contains("is full; nothing was changed")
                || ran.err.contains("refused a read or write"),
            "{ran:#?}"
        );
        assert_state_as_before(&bench);
    }
}

#[test]
fn a_state_directory_that_cannot_be_used_is_named() {
    let bench = Bench::new();
    let kev = bench.write("kev.json", KEV);
    std::fs::write(bench.state(), "a file").unwrap();
    bench
        .import("kev", &kev)
        .exits(2)
        .says("as state directory; make it writable for this user");
    bench
        .run(&["feeds", "status"])
        .exits(2)
        .says("state directory");

    let bench = with_tracker();
    std::fs::write(
        bench.path("state/mailkeep.db"),
        "no database, but long enough to be none",
    )
    .unwrap();
    for end in ["-wal", "-shm"] {
        std::fs::remove_file(bench.path(&format!("state/mailkeep.db{end}"))).ok();
    }
    bench
        .run(&["feeds", "status"])
        .exits(2)
        .says("is damaged; move it aside");

    // Nobody may use what belongs to another.
    if !has_program(
        "a_state_directory_that_cannot_be_used_is_named: setpriv",
        "setpriv",
    ) {
        return;
    }
    let bench = with_tracker();
    let mut command = Command::new("setpriv");
    bench.prepare(&mut command);
    command
        .args(["--reuid", "65534", "--clear-groups", "--"])
        .arg(env!("CARGO_BIN_EXE_mailkeep"));
    command
        .arg("--state")
        .arg(bench.state())
        .args(["feeds", "status"])
        .current_dir("/");
    match command.output() {
        Ok(output) if output.status.code() == Some(2) => {
            let err = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                err.contains("state") || err.contains("cannot open"),
                "{err}"
            );
            assert_harmless(&err);
        }
        other => println!(
            "skipped: a_state_directory_that_cannot_be_used_is_named: no other user here ({other:?})"
        ),
    }
}

/// What no terminal may see of a host or a feed.
const ESCAPES: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\u{7f}";

#[test]
fn terminal_escapes_never_reach_a_terminal_in_any_format() {
    let bench = Bench::new();
    let osv_record = serde_json::json!({
        "schema_version": "1.6.0", "id": "DSA-1-1", "modified": "2026-11-20T00:00:00Z", "aliases": ["CVE-2026-1111"],
        "summary": format!("a{ESCAPES}hole"), "details": ESCAPES,
        "affected": [{"package": {"ecosystem": "Debian:12", "name": "exim4"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": format!("9{ESCAPES}")}]}]}],
    });
    let tracker = serde_json::json!({"exim4": {"CVE-2023-42115": {"description": format!("x{ESCAPES}y"),
        "releases": {"bookworm": {"status": "open", "repositories": {"bookworm": format!("5{ESCAPES}")},
        "urgency": "high", "nodsa": format!("n{ESCAPES}"), "nodsa_reason": "ignored"}}}},
        format!("evil{ESCAPES}"): {format!("CVE-2023-1{ESCAPES}"): {"releases": {}}}});
    let one = bench.write("one.json", osv_record.to_string());
    let two = bench.write("two.json", tracker.to_string());
    bench.import("osv", &one);
    bench.import("debian-tracker", &two).exits(0);
    let hostile = format!("evil{ESCAPES}.json");
    bench.write(&format!("records/{hostile}"), "{");
    bench.write(
        "records/good.json",
        osv("DSA-3-1", "CVE-2026-3333", "exim4", "9"),
    );
    let records = bench.path("records").display().to_string();
    bench
        .run(&[
            "feeds", "import", "--source", "osv", "--name", "records", &records,
        ])
        .exits(0);
    bench
        .run(&["feeds", "problems"])
        .exits(1)
        .prints("evil\u{fffd}");

    let status = format!(
        "{}{}{}",
        package("exim4", "4.96-15"),
        package(&format!("evil{ESCAPES}"), "1"),
        package("odd", &format!("1{ESCAPES}")),
    );
    let root = bench.root(&format!("host{ESCAPES}"), &status);
    bench.write(
        &format!("host{ESCAPES}/etc/os-release"),
        format!(
            "ID=debian\nVERSION_ID=12\nVERSION_CODENAME=bookworm\nPRETTY_NAME=\"Debian{ESCAPES}\"\n"
        ),
    );
    for format in ["table", "json", "csv", "html", "csaf-vex", "openvex"] {
        let args = [
            "check",
            "--root",
            &root,
            "--all",
            "--all-packages",
            "--format",
            format,
        ];
        bench.run(&args).exits(1);
        let coloured = bench.run(&[&args[..], &["--color", "always"]].concat());
        assert_harmless(&without_own_colours(&coloured.out));
    }
    bench
        .run(&["check", "--root", &root, "--since", "last"])
        .exits(0);
    for args in [
        &["affected", "CVE-2023-42115", "--root", &root][..],
        &["explain", "root", "CVE-2023-42115", "--root", &root],
        &["explain", "root", "CVE-2026-1111", "--root", &root],
        &["scan", "--root", &root, "--name", "mx1"],
        &["feeds", "status", "--json"],
        &["feeds", "import", "--source", "kev", &hostile],
        &["check", "--fleet", &hostile],
    ] {
        let ran = bench.run(args);
        assert_harmless(&ran.out);
        assert_harmless(&ran.err);
    }
    bench.write(
        "mailkeep.toml",
        fleet(&format!(
            "[hosts.\"mx\\u001b[31m\"]\nfamily = \"x{}\"\n",
            "\\u009b"
        )),
    );
    bench.run(&["check", "--fleet", "mailkeep.toml"]).exits(2);
    let ran = bench.run(&["fleet", "lint", "--fleet", "mailkeep.toml"]);
    assert_harmless(&ran.out);
    assert_harmless(&ran.err);
}

/// Takes away the sequences that the table itself writes.
fn without_own_colours(text: &str) -> String {
    let mut text = text.to_owned();
    for own in ["1;31", "33", "32", "2", "0", "1"] {
        text = text.replace(&format!("\u{1b}[{own}m"), "");
    }
    assert!(
        text.chars()
            .all(|c| c == '\n' || c == '\r' || !is_unsafe(c)),
        "{text:?}"
    );
    text
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    for shell in ["bash", "zsh"] {
        let bench = Bench::new();
        let mut command = bench.command(&["completions", shell]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        Ran::of(&child.wait_with_output().unwrap()).exits(0);
    }
}
