//! `mailkeep shield rules`, `explain`, `bundle`, and what a shield covers.

use std::process::Command;

use crate::common::{Bench, NOW};
use serde_json::{Value, json};

/// A tracker that knows one hole in Exim, which the shield closes, and one that it does not.
const TRACKER: &str = r#"{"exim4": {
    "CVE-2020-28022": {"description": "quotes", "scope": "remote", "releases": {"bookworm": {"status": "resolved",
        "repositories": {"bookworm": "4.94-9"}, "fixed_version": "4.94-9", "urgency": "high"}}},
    "CVE-2023-42119": {"description": "dnsdb", "scope": "remote", "releases": {"bookworm": {"status": "resolved",
        "repositories": {"bookworm": "4.94-9"}, "fixed_version": "4.94-9", "urgency": "high"}}}}}"#;

const FLEET: &str = r#"
[regions.eu]
time_zone = "UTC"
[zones.inside]
exposed = false
[services.inbound-mx]
[hosts.mx1]
region = "eu"
zone = "inside"
services = ["inbound-mx"]
facts = "mx1.cdx.json"
[[shield]]
name = "shield.example.org"
guards = ["inbound-mx"]
status = "status.json"
only_through_shield = true
[feeds.debian-tracker]
location = "tracker.json"
"#;

fn sbom(version: &str) -> String {
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"timestamp": "2026-11-21T08:00:00Z",
            "component": {"type": "operating-system", "name": "debian", "version": "12"}},
        "components": [{"type": "library", "name": "exim4", "version": version,
            "purl": format!("pkg:deb/debian/exim4@{version}?arch=amd64&distro=debian-12")}],
    })
    .to_string()
}

pub(super) fn stand() -> Bench {
    let bench = Bench::new();
    bench.write("mailkeep.toml", FLEET);
    bench.write("tracker.json", TRACKER);
    bench.write("mx1.cdx.json", sbom("4.94-1"));
    bench
}

fn status(time: &str) -> String {
    json!({
        "name": "shield.example.org", "time": time, "draining": false,
        "bundle": {"id": "shield-x", "version": 1, "expires": "2026-12-21T12:00:00Z",
            "enforced": [{"rule": "exim-parameter-quote", "holes": ["CVE-2020-28022"], "packages": ["exim4"]}]},
    })
    .to_string()
}

/// Each hole's status, and what is noted of it.
fn found(bench: &Bench) -> Vec<(String, String, String)> {
    let ran = bench.run(&["check", "--fleet", "mailkeep.toml", "--format", "json"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found: Vec<_> = ran.json()["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            (
                text(&finding["advisory"]),
                text(&finding["status"]),
                finding["evidence"].to_string(),
            )
        })
        .collect();
    found.sort();
    found
}

#[test]
fn the_deadline_of_a_mitigated_hole_follows_the_policy() {
    let bench = stand();
    let due = |bench: &Bench| -> Vec<Value> {
        let ran = bench.run(&["check", "--fleet", "mailkeep.toml", "--format", "json"]);
        let findings = ran.json()["findings"].as_array().unwrap().clone();
        ["CVE-2020-28022", "CVE-2023-42119"]
            .map(|hole| {
                let finding = findings.iter().find(|found| found["advisory"] == hole);
                finding.unwrap()["deadline"].clone()
            })
            .to_vec()
    };
    let open = due(&bench);
    let days = "[[policy.deadline]]\nmitigated = true\nwithin = 200\n";
    bench.write("mailkeep.toml", format!("{FLEET}{days}"));
    assert_eq!(due(&bench), open, "nothing is mitigated yet");
    bench.write("status.json", status(NOW));
    let mitigated = due(&bench);
    assert_eq!(mitigated[0], "2027-06-09");
    assert_eq!(mitigated[1], open[1], "no rule covers it");
    // Without such a row it keeps the deadline of the hole.
    bench.write("mailkeep.toml", FLEET);
    assert_eq!(due(&bench), open);
}

#[test]
fn a_hole_is_mitigated_while_the_shield_says_so_and_no_longer() {
    let bench = stand();
    let quotes = |bench: &Bench| found(bench).remove(0);
    assert_eq!(quotes(&bench).1, "fix-available", "{:?}", found(&bench));
    bench.write("status.json", status(NOW));
    let all = found(&bench);
    assert_eq!(all[0].1, "mitigated");
    assert!(all[0].2.contains("exim-parameter-quote"), "{}", all[0].2);
    assert_ne!(all[1].1, "mitigated", "no rule covers it");

    // Mail comes through another shield as well, of which nothing is known.
    let other = "[[shield]]\nname = \"other.example.org\"\nguards = [\"mx1\"]\nstatus = \"none.json\"\nonly_through_shield = true\n";
    bench.write("mailkeep.toml", format!("{FLEET}{other}"));
    assert_eq!(quotes(&bench).1, "fix-available");
    bench.write("mailkeep.toml", FLEET);
    assert_eq!(quotes(&bench).1, "mitigated");

    // A state that is too old tells nothing of now.
    bench.write("status.json", status("2026-11-21T11:00:00Z"));
    assert_eq!(quotes(&bench).1, "fix-available");
    // The shield is gone.
    bench.write("status.json", "");
    assert_eq!(quotes(&bench).1, "fix-available");
    bench
        .run(&["check", "--fleet", "mailkeep.toml"])
        .says("shield shield.example.org covers nothing");
    // Somebody answers where nobody may.
    bench.write("status.json", status(NOW));
    let around = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = around.local_addr().unwrap();
    let tried = format!("must_not_answer = [\"{place}\"]\n[feeds");
    bench.write("mailkeep.toml", FLEET.replace("[feeds", &tried));
    assert_eq!(quotes(&bench).1, "fix-available");
    bench
        .run(&["check", "--fleet", "mailkeep.toml"])
        .says("takes connections from here");
    drop(around);
    assert_eq!(quotes(&bench).1, "mitigated");
    bench.write(
        "mailkeep.toml",
        FLEET.replace("[feeds", "must_not_answer = [\"mx\"]\n[feeds"),
    );
    bench
        .run(&["check", "--fleet", "mailkeep.toml"])
        .exits(2)
        .says("a name or address and a port");
    bench.write("mailkeep.toml", FLEET);
    // Mail reaches the server around it.
    bench.write("status.json", status(NOW));
    bench.write(
        "mailkeep.toml",
        FLEET.replace("only_through_shield = true\n", ""),
    );
    assert_eq!(quotes(&bench).1, "fix-available");
}

#[test]
fn a_bundle_holds_what_the_servers_behind_need_and_a_rule_retires_with_the_patch() {
    let bench = stand();
    let build =
        |bench: &Bench| bench.run(&["shield", "bundle", "build", "--fleet", "mailkeep.toml"]);
    let selected = |bench: &Bench| -> Vec<String> {
        let ran = bench.run(&[
            "shield",
            "rules",
            "--bundle",
            "shield.example.org.toml",
            "--format",
            "json",
        ]);
        let value = ran.exits(0).json();
        let rules = value["rules"].as_array().unwrap().clone();
        assert_eq!(rules.len(), 156);
        rules
            .iter()
            .filter(|rule| rule["selected"] == true)
            .map(|rule| rule["name"].as_str().unwrap().to_owned())
            .collect()
    };
    build(&bench)
        .exits(0)
        .prints("exim-parameter-quote (enforce): CVE-2020-28022 on mx1")
        .prints("nothing but the patch closes CVE-2023-42119 on mx1");
    assert_eq!(selected(&bench), ["exim-parameter-quote"]);
    // Nothing has changed: its signature counts on.
    let before = std::fs::read(bench.path("shield.example.org.toml")).unwrap();
    build(&bench).exits(0).says("is right still");
    assert_eq!(
        std::fs::read(bench.path("shield.example.org.toml")).unwrap(),
        before
    );

    bench.write("mx1.cdx.json", sbom("4.94-9"));
    build(&bench)
        .exits(0)
        .prints("retired: exim-parameter-quote");
    assert_eq!(selected(&bench), Vec::<String>::new());
    // Of a server that was never seen nobody knows what it needs.
    bench.write(
        "mailkeep.toml",
        FLEET.replace("facts = \"mx1.cdx.json\"\n", ""),
    );
    build(&bench).exits(0).prints("all rules");
    assert_eq!(selected(&bench).len(), 134);
}

#[test]
fn what_is_signed_is_verified_and_what_was_changed_is_refused() {
    let bench = Bench::new();
    let mut keygen = Command::new("ssh-keygen");
    bench.prepare(&mut keygen);
    let made = keygen
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(bench.path("key"))
        .status();
    if made.is_err() {
        eprintln!("skipped: there is no ssh-keygen");
        return;
    }
    let public = std::fs::read_to_string(bench.path("key.pub")).unwrap();
    bench.write("signers", format!("postmaster@example.org {public}"));
    bench
        .run(&["shield", "bundle", "build", "--all", "all.toml"])
        .exits(0);
    bench
        .run(&["shield", "bundle", "sign", "all.toml", "--key", "key"])
        .exits(0);
    let verify = |bench: &Bench| {
        bench.run(&[
            "shield",
            "bundle",
            "verify",
            "all.toml",
            "--signers",
            "signers",
        ])
    };
    verify(&bench)
        .exits(0)
        .prints("signed by postmaster@example.org with SHA256:");
    let text = std::fs::read_to_string(bench.path("all.toml")).unwrap();
    bench.write(
        "all.toml",
        text.replace("state = \"enforce\"", "state = \"monitor\""),
    );
    verify(&bench).exits(1).says("refused (signature)");
    // What fails its own tests is not signed at all.
    bench.write("all.toml", text.replace("regex = '\"'", "regex = 'no'"));
    let ran = bench.run(&["shield", "bundle", "sign", "all.toml", "--key", "key"]);
    ran.exits(2).says("no shield would take it");
}

#[test]
fn a_hole_is_explained_by_any_of_its_names() {
    let bench = Bench::new();
    bench
        .run(&["shield", "explain", "cve-2020-28022"])
        .exits(0)
        .prints("enforce: what has this form is refused");
    for name in [
        "CVE-2025-67896",
        "EXIM-Security-2025-12-09.1",
        "exim-ratelimit-injection",
    ] {
        bench
            .run(&["shield", "explain", name])
            .exits(1)
            .prints("monitor: it is counted and logged, and covers nobody");
    }
    bench
        .run(&["shield", "explain", "CVE-2023-42119"])
        .exits(1)
        .prints("patch only");
    bench
        .run(&["shield", "explain", "CVE-2099-0001"])
        .exits(1)
        .prints("No rule is about");
    bench
        .run(&["shield", "rules", "--about", "opensmtpd"])
        .exits(0)
        .prints("6 rules: 1 enforce, 2 monitor, 3 patch only");
}
