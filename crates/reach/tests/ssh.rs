//! Every way an `ssh` session can end, with a stand-in for the program.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and plays the other side itself"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mailkeep_model::{Access, HostName, ScanFailureKind, text};
use mailkeep_reach::hosts::{
    HostFailure, RunLimits, SshOptions, SshTarget, for_each_bounded, run_over_ssh,
};

const LIMITS: RunLimits = RunLimits {
    connect_timeout: Duration::from_secs(5),
    total_timeout: Duration::from_secs(20),
    max_output: 1 << 20,
};

fn target(behaviour: &str) -> SshTarget {
    SshTarget {
        host: HostName::new(behaviour).unwrap(),
        address: None,
        access: Access::default(),
    }
}

fn options() -> SshOptions {
    SshOptions {
        program: PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/fake-ssh"
        )),
        ..SshOptions::default()
    }
}

fn run(behaviour: &str, script: &str, limits: RunLimits) -> Result<Vec<u8>, HostFailure> {
    run_over_ssh(
        &target(behaviour),
        script,
        &["a b", "it's"],
        limits,
        &options(),
    )
}

#[test]
fn every_failure_has_its_stable_name_and_a_printable_line() {
    for (behaviour, kind) in [
        ("changed", ScanFailureKind::ChangedHostKey),
        ("escapes", ScanFailureKind::Unreachable),
        ("hung-up", ScanFailureKind::Unreachable),
        ("misconfigured", ScanFailureKind::Local),
        ("no-shell", ScanFailureKind::GarbageOutput),
        ("noisy", ScanFailureKind::Unreachable),
        ("nologin", ScanFailureKind::GarbageOutput),
        ("nowhere", ScanFailureKind::Unreachable),
        ("refused-key", ScanFailureKind::RefusedKey),
        ("signal", ScanFailureKind::Local),
        ("timed-out", ScanFailureKind::TimedOut),
        ("unknown", ScanFailureKind::UnknownHostKey),
        ("unreachable", ScanFailureKind::Unreachable),
    ] {
        let failure = run(behaviour, "true", LIMITS).unwrap_err();
        assert_eq!(failure.kind, kind, "{behaviour}: {failure}");
        assert!(failure.detail.contains(behaviour), "{failure}");
        assert!(!failure.detail.chars().any(text::is_unsafe), "{failure}");
    }
}

#[test]
fn the_script_and_its_arguments_arrive_whole() {
    let mut script = String::from("printf '%s|' \"$@\"; exit 0\n");
    script.push_str(&"# padding that is larger than a pipe\n".repeat(20_000));
    assert_eq!(run("good", &script, LIMITS).unwrap(), b"a b|it's|");
}

#[test]
fn much_output_and_much_input_do_not_block_each_other() {
    let script = "yes line | head -n 100000\n".to_owned() + &"# padding\n".repeat(50_000);
    assert_eq!(run("good", &script, LIMITS).unwrap().len(), 500_000);
}

#[test]
fn a_host_that_says_nothing_is_left_to_the_reader_of_facts() {
    assert_eq!(run("silent", "true", LIMITS).unwrap(), b"");
}

#[test]
fn a_script_that_breaks_off_gives_no_facts() {
    let failure = run("good", "echo half; exit 9", LIMITS).unwrap_err();
    assert_eq!(failure.kind, ScanFailureKind::GarbageOutput);
    assert!(failure.detail.contains("status 9"), "{failure}");
}

#[test]
fn a_flood_ends_the_session() {
    let failure = run("flood", "true", LIMITS).unwrap_err();
    assert_eq!(failure.kind, ScanFailureKind::GarbageOutput);
    assert!(failure.detail.contains("1048576 bytes"), "{failure}");
}

#[test]
fn a_host_that_hangs_is_given_up_with_all_its_processes() {
    let limits = RunLimits {
        total_timeout: Duration::from_millis(200),
        ..LIMITS
    };
    for behaviour in ["hang", "hang-with-child"] {
        let begun = Instant::now();
        let failure = run(behaviour, "true", limits).unwrap_err();
        assert_eq!(failure.kind, ScanFailureKind::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn one_failing_host_does_not_stop_the_others() {
    let hosts = ["good", "unknown", "good", "flood", "good"];
    let mut answered = 0;
    let mut failed = Vec::new();
    for_each_bounded(
        &hosts,
        3,
        |host| run(host, "echo here", LIMITS),
        |host, outcome| match outcome {
            Ok(out) => {
                assert_eq!(out, b"here\n");
                answered += 1;
            }
            Err(failure) => failed.push((*host, failure.kind)),
        },
    );
    failed.sort_unstable();
    assert_eq!(answered, 3);
    assert_eq!(
        failed,
        [
            ("flood", ScanFailureKind::GarbageOutput),
            ("unknown", ScanFailureKind::UnknownHostKey)
        ]
    );
}

#[test]
fn a_missing_ssh_is_a_local_failure() {
    let options = SshOptions {
        program: PathBuf::from("/nonexistent/ssh"),
        ..SshOptions::default()
    };
    let failure = run_over_ssh(&target("good"), "true", &[], LIMITS, &options).unwrap_err();
    assert_eq!(failure.kind, ScanFailureKind::Local);
    assert!(failure.detail.contains("installed"), "{failure}");
}
