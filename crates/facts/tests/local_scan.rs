//! The script, run for real on whatever machine runs the tests.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test of the script has to run it, and its helpers may unwrap as it may"
)]

use std::io::Write;
use std::process::{Command, Stdio};

use mailkeep_facts::scan::{self, ScanReport};
use mailkeep_model::{FactsSource, HostName, Timestamp};

/// Runs the script as ssh would: fed on standard input. `None` where there is no such shell.
fn run(shell: &[&str]) -> Option<Vec<u8>> {
    let mut child = Command::new(shell[0])
        .args(&shell[1..])
        .args(["-s", "--", "0123456789abcdef"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .ok()?;
    child
        .stdin
        .take()
        .unwrap()
        .write_all(scan::SCRIPT.as_bytes())
        .unwrap();
    Some(child.wait_with_output().unwrap().stdout)
}

fn parse(output: &[u8]) -> ScanReport {
    scan::parse_report(
        HostName::new("here").unwrap(),
        FactsSource::Local,
        scan::Made::Now(Timestamp::now()),
        output,
    )
    .unwrap()
}

#[test]
fn every_shell_at_hand_reports_this_machine_alike() {
    let mut packages = None;
    for shell in [&["sh"][..], &["dash"], &["bash"], &["busybox", "sh"]] {
        let Some(output) = run(shell) else {
            println!("skipped: {}: no such shell", shell.join(" "));
            continue;
        };
        let report = parse(&output);
        let facts = report.facts;
        assert!(
            !facts.limitations.iter().any(|l| l.what == "clock"),
            "{:?}",
            facts.limitations
        );
        if facts.packages.is_empty() {
            assert!(facts.limitations.iter().any(|l| l.what == "packages"));
        }
        let wanted = packages.get_or_insert_with(|| facts.packages.clone());
        assert_eq!(*wanted, facts.packages, "{}", shell.join(" "));
    }
}
