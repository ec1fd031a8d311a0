//! The command line itself: exit statuses, streams, closed pipes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, and plays the other side itself"
)]

mod common;

use std::process::Stdio;

use common::{Bench, TRACKER, fifo, fleet, package};

#[test]
fn wrong_usage_exits_2_and_says_what_was_meant() {
    let bench = Bench::new();
    for (args, said) in [
        (&["chekc"][..], "similar subcommand exists: 'check'"),
        (
            &["check", "--formt", "json"],
            "similar argument exists: '--format'",
        ),
        (
            &["check", "--format", "xml"],
            "possible values: table, json, csv",
        ),
        (
            &["feeds", "import", "--source", "debian", "x"],
            "known kinds are csaf, cve, debian-tracker",
        ),
        (
            &["check", "--at", "yesterday"],
            "invalid value 'yesterday' for '--at <TIME>'",
        ),
        (&["check", "--name", "x"], "--root"),
        (&[], "Usage: mailkeep"),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mailkeep"));
        bench.prepare(&mut command);
        let ran = common::Ran::of(&command.args(args).output().unwrap());
        assert_eq!(ran.code, Some(2), "{args:?}: {ran:#?}");
        assert!(ran.err.contains(said), "{args:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{args:?}");
    }
}

#[test]
fn findings_exit_1_and_nothing_to_do_exits_0() {
    let bench = Bench::new();
    let tracker = bench.write("tracker.json", TRACKER);
    bench.import("debian-tracker", &tracker).exits(0);
    let affected = bench.exim_host();
    bench.run(&["check", "--root", &affected]).exits(1);
    let patched = bench.root("patched", &package("exim4", "4.96-15+deb12u2"));
    let ran = bench.run(&["check", "--root", &patched]).exits(0);
    assert!(
        ran.out.contains("1 host: 0 affected, 1 clean"),
        "{}",
        ran.out
    );
    bench.run(&["--version"]).exits(0).prints("mailkeep ");
    bench
        .run(&["--help"])
        .exits(0)
        .prints("Exit status: 0 nothing to do, 1 findings or refusals, 2 error.");
}

#[test]
fn what_changed_since_the_last_check_is_new_changed_or_gone() {
    let bench = Bench::new();
    let import = |text: &str| {
        let file = bench.write("tracker.json", text);
        bench.import("debian-tracker", &file).exits(0);
    };
    import(TRACKER);
    let root = bench.exim_host();
    let since = |format: &str| {
        bench.run(&[
            "check", "--root", &root, "--since", "last", "--format", format,
        ])
    };
    since("table").exits(1).prints("CVE-2023-42115");
    since("table")
        .exits(0)
        .prints("Nothing changed since the last check.");

    let more = TRACKER.replace(
        "{\"CVE-2023-42115\"",
        "{\"CVE-2023-42116\": {\"releases\": {\"bookworm\": {\"status\": \"open\", \"repositories\": {\"bookworm\": \"4.96-15\"}, \"urgency\": \"low\"}}}, \"CVE-2023-42115\"",
    );
    import(&more);
    let json = since("json").exits(1).json();
    assert_eq!(json["findings"].as_array().unwrap().len(), 1, "{json}");
    assert_eq!(json["findings"][0]["advisory"], "CVE-2023-42116");
    since("table").exits(0);

    import(
        &TRACKER
            .replace("\"status\": \"resolved\"", "\"status\": \"open\"")
            .replace("\"fixed_version\": \"4.96-15+deb12u2\", ", ""),
    );
    let ran = since("table").exits(1);
    assert!(
        ran.out.contains("root exim4 CVE-2023-42116: gone"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("root exim4 CVE-2023-42115: changed"),
        "{}",
        ran.out
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bench = Bench::new();
    let tracker = bench.write("tracker.json", TRACKER);
    bench.import("debian-tracker", &tracker).exits(0);
    let root = bench.exim_host();
    for args in [
        &["check", "--root", &root, "--format", "json"][..],
        &["feeds", "sources"],
        &["--help"],
    ] {
        let mut child = bench
            .command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(
            !err.contains("panicked") && !err.contains("error"),
            "{args:?}: {err}"
        );
        assert!(
            output.status.code().is_some_and(|code| code < 2),
            "{args:?}"
        );
    }
}

#[test]
fn an_answer_goes_whole_into_a_file_or_not_at_all() {
    let bench = Bench::new();
    let root = bench.exim_host();
    bench
        .run(&[
            "check",
            "--root",
            &root,
            "--format",
            "json",
            "--output",
            "answer.json",
        ])
        .exits(1);
    let text = std::fs::read_to_string(bench.path("answer.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
    bench
        .run(&["check", "--root", &root, "--output", "no/such/place.txt"])
        .exits(2)
        .says("cannot write the answer to no/such/place.txt");
}

#[test]
fn an_answer_goes_into_pipes_and_streams_without_replacing_them() {
    let bench = Bench::new();
    let root = bench.exim_host();
    let output = |to: &str| {
        ["check", "--root", &root, "--format", "json", "--output", to].map(str::to_owned)
    };
    let command = |to: &str| {
        let args = output(to);
        bench.command(&args.each_ref().map(String::as_str))
    };
    let piped = common::Ran::of(&command("/dev/stdout").output().unwrap()).exits(1);
    piped.json();

    let log = bench.path("log");
    std::fs::write(&log, "before\n").unwrap();
    let appending = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
    command("/dev/stdout").stdout(appending).status().unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    serde_json::from_str::<serde_json::Value>(text.strip_prefix("before\n").unwrap()).unwrap();

    let pipe = bench.path("pipe");
    fifo(&pipe);
    let mut child = command("pipe").spawn().unwrap();
    let text = std::fs::read_to_string(&pipe).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
    assert!(!std::fs::symlink_metadata(&pipe).unwrap().is_file());
}

#[test]
fn mistakes_in_a_fleet_file_are_shown_where_they_are() {
    let bench = Bench::new();
    bench.exim_host();
    bench.write(
        "mailkeep.toml",
        fleet("[hosts.mx2]\nregion = \"nowhere\"\n"),
    );
    let ran = bench
        .run(&["check", "--fleet", "mailkeep.toml"])
        .exits(2)
        .says("error: the fleet file mailkeep.toml has mistakes:\n");
    assert_eq!(ran.err.matches("has mistakes").count(), 1, "{}", ran.err);
    let lines: Vec<&str> = ran.err.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.contains("region = \"nowhere\""))
        .unwrap_or_else(|| panic!("{}", ran.err));
    assert_eq!(
        lines[at].find("\"nowhere\""),
        lines[at + 1].find('^'),
        "{}",
        ran.err
    );
}

#[test]
fn an_advisory_is_found_though_it_be_typed_in_small_letters() {
    let bench = Bench::new();
    let tracker = bench.write("tracker.json", TRACKER);
    bench.import("debian-tracker", &tracker).exits(0);
    let root = bench.exim_host();
    bench
        .run(&["affected", "cve-2023-42115", "--root", &root])
        .exits(1)
        .prints("CVE-2023-42115: out-of-bounds write");
}

#[test]
fn a_fleet_file_that_anybody_can_write_is_only_used_where_it_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    bench.exim_host();
    bench.write("mailkeep.toml", fleet(""));
    bench.run(&["check"]).prints("1 host: ");
    let open_to_all = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(bench.path("mailkeep.toml"), open_to_all).unwrap();
    bench
        .run(&["watch", "--once", "--offline"])
        .exits(2)
        .says("./mailkeep.toml can be written by anybody and is not used")
        .says("there is no fleet file to watch");
    bench
        .run(&["check", "--fleet", "mailkeep.toml"])
        .prints("1 host: ");
}
