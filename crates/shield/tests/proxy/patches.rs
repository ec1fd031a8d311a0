//! Virtual patches at work: what they refuse, and how a bundle comes into force.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use mailkeep_model::{Covering, ShieldState};

use super::*;

/// One rule: no `%` in the local part of a recipient.
fn bundle(version: u64, state: &str, expires: &str, refused: &str) -> String {
    format!(
        r#"format = 1
id = "test"
version = {version}
made = "2026-01-01T00:00:00Z"
expires = "{expires}"

[[rule]]
name = "no-percent"
title = "A percent sign in a recipient"
cves = ["CVE-2099-0001"]
product = "a server of the test"
packages = ["test-mta"]
affected = "all"
stages = ["CMD"]
closes = ["signature"]
confidence = "A"
state = "{state}"
text = "no percent signs, please"
when = [{{ in = ["recipient-local"], regex = '%' }}]
refused = [{{ commands = ["RCPT TO:<{refused}@x.example>"] }}]
passes = [{{ commands = ["RCPT TO:<a@x%y.example>"] }}]
"#
    )
}

const LATER: &str = "2099-01-01T00:00:00Z";

/// A key, and who may sign by it; nothing where there is no `ssh-keygen`.
fn keys(directory: &Path) -> Option<()> {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(directory.join("key"))
        .status();
    if made.is_err() {
        return None;
    }
    let public = std::fs::read_to_string(directory.join("key.pub")).unwrap();
    let line = format!("postmaster@example.org namespaces=\"mailkeep-bundle\" {public}");
    std::fs::write(directory.join("signers"), line).unwrap();
    Some(())
}

/// Puts a bundle and its signature in place, each whole at once, as `mailkeep` does.
fn place(directory: &Path, text: &str) {
    let fresh = directory.join("fresh.toml");
    std::fs::write(&fresh, text).unwrap();
    let signed = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", "mailkeep-bundle", "-f"])
        .arg(directory.join("key"))
        .arg(&fresh)
        .stderr(std::process::Stdio::null())
        .status();
    assert!(signed.unwrap().success());
    std::fs::rename(
        directory.join("fresh.toml.sig"),
        directory.join("bundle.toml.sig"),
    )
    .unwrap();
    std::fs::rename(fresh, directory.join("bundle.toml")).unwrap();
}

/// What the shield tells, read as `mailkeep` reads it.
fn status(address: SocketAddr) -> ShieldState {
    serde_json::from_str(&get(address, "/status")).unwrap()
}

#[test]
fn a_rule_that_only_monitors_lets_the_command_pass_and_tells_of_it() {
    let (_directory, backend, mut shield) = stand();
    let mut client = shield.client();
    client.ask("EHLO client.example");
    // Refused by the grammar already, before any rule for single holes is asked.
    let answer = client.ask("MAIL FROM:<a@client.example> ENVID=\"a");
    assert!(answer.starts_with("501 5.5.4 "), "{answer}");
    assert_eq!(shield.event("refused")["rule"], "parameter-syntax");
    client.ask("MAIL FROM:<\"a b\"@client.example> ENVID=a");
    // Legal, and the rule's condition was not checked against the vendor's text.
    let answer = client.ask("RCPT TO:<${run{x}}@x.example>");
    assert!(answer.starts_with("250 "), "{answer}");
    assert_eq!(
        shield.event("monitored")["rule"],
        "exim-recipient-expansion"
    );
    let commands = backend.commands();
    assert!(
        commands.iter().all(|command| !command.contains("ENVID=\"")),
        "{commands:?}"
    );
}

#[test]
fn a_signed_bundle_comes_into_force_and_a_refused_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let Some(()) = keys(directory.path()) else {
        return;
    };
    place(directory.path(), &bundle(5, "enforce", LATER, "a%b"));
    let backend = Backend::start(OFFER);
    let metrics = free_address();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let more = format!(
        "metrics = \"{metrics}\"\nbundle = {:?}\nbundle_signers = {:?}\n",
        at("bundle.toml"),
        at("signers")
    );
    let mut shield = Shield::start(directory.path(), &config(&[backend.address], &more));
    let refuses = |shield: &Shield| {
        let mut client = shield.client();
        client.ask("EHLO client.example");
        client.ask("MAIL FROM:<a@client.example>");
        let answer = client.ask("RCPT TO:<a%b@x.example>");
        client.ask("QUIT");
        answer.starts_with("550 5.7.1 no percent signs, please")
    };
    assert!(refuses(&shield));
    let told = status(metrics);
    assert_eq!(told.bundle.version, 5);
    assert_eq!(
        told.bundle.signer.as_deref(),
        Some("postmaster@example.org")
    );
    let covering = Covering {
        rule: "no-percent".to_owned(),
        holes: vec!["CVE-2099-0001".to_owned()],
        packages: vec!["test-mta".to_owned()],
    };
    assert_eq!(told.bundle.enforced, [covering]);
    // Nothing watches for outbreaks and viruses here, and `mailkeep` reads it all the same.
    assert!(told.held.is_empty() && told.antivirus.is_empty());

    // Each of these is refused by its name, and what was in force stays.
    for (text, why) in [
        (bundle(4, "monitor", LATER, "a%b"), "not-newer"),
        (
            bundle(6, "monitor", "2026-01-02T00:00:00Z", "a%b"),
            "expired",
        ),
        (bundle(6, "monitor", LATER, "ab"), "self-test"),
        ("format = 2\n".to_owned(), "syntax"),
    ] {
        place(directory.path(), &text);
        shield.signal(Signal::HUP);
        assert_eq!(shield.event("bundle-refused")["why"], why);
        assert!(refuses(&shield));
        assert_eq!(status(metrics).bundle.refused.unwrap().kind, why);
    }
    // One that nobody signed.
    std::fs::write(
        directory.path().join("bundle.toml"),
        bundle(7, "monitor", LATER, "a%b"),
    )
    .unwrap();
    shield.signal(Signal::HUP);
    assert_eq!(shield.event("bundle-refused")["why"], "signature");
    assert!(refuses(&shield));

    // A newer one comes into force by itself, without a signal.
    place(directory.path(), &bundle(8, "monitor", LATER, "a%b"));
    assert_eq!(shield.event("bundle-loaded")["version"], 8);
    assert!(!refuses(&shield));
    let told = status(metrics);
    assert_eq!(told.bundle.enforced, []);
    assert_eq!(told.bundle.monitored, ["no-percent"]);
    assert_eq!(told.bundle.refused, None);
}

#[test]
fn an_older_bundle_is_not_taken_after_a_restart_either() {
    let directory = tempfile::tempdir().unwrap();
    let Some(()) = keys(directory.path()) else {
        return;
    };
    let backend = Backend::start(OFFER);
    let metrics = free_address();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let more = format!(
        "metrics = \"{metrics}\"\nbundle = {:?}\nbundle_signers = {:?}\nbundle_state = {:?}\n",
        at("bundle.toml"),
        at("signers"),
        at("state.json")
    );
    let started = || {
        let shield = Shield::start(directory.path(), &config(&[backend.address], &more));
        let told = status(metrics).bundle;
        drop(shield);
        (told.version, told.refused.map(|refused| refused.kind))
    };
    place(directory.path(), &bundle(5, "enforce", LATER, "a%b"));
    assert_eq!(started(), (5, None));
    // The same again is in force again.
    assert_eq!(started(), (5, None));
    // An old one, signed and unexpired, that somebody kept: the rules of the program are in force.
    place(directory.path(), &bundle(4, "monitor", LATER, "a%b"));
    let builtin = mailkeep_inspect::rules::builtin().unwrap().version;
    assert_eq!(started(), (builtin, Some("not-newer".to_owned())));
    // On purpose.
    std::fs::remove_file(at("state.json")).unwrap();
    assert_eq!(started(), (4, None));
}

#[test]
fn what_hinders_a_bundle_but_does_not_stop_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let Some(()) = keys(directory.path()) else {
        return;
    };
    place(directory.path(), &bundle(5, "enforce", LATER, "a%b"));
    let backend = Backend::start(OFFER);
    let at = |name: &str| directory.path().join(name).display().to_string();
    let more = format!(
        "bundle = {:?}\nbundle_signers = {:?}\nbundle_state = {:?}\n",
        at("bundle.toml"),
        at("signers"),
        // A directory, which no file can take the place of.
        at("")
    );
    let mut shield = Shield::start(directory.path(), &config(&[backend.address], &more));
    let good = std::fs::read_to_string(at("signers")).unwrap();
    std::fs::write(
        at("signers"),
        format!("{good}a colour=red ssh-ed25519 AAAA\n"),
    )
    .unwrap();
    place(directory.path(), &bundle(6, "enforce", LATER, "a%b"));
    shield.signal(Signal::HUP);
    let told = shield.event("bundle-signer-unread");
    let why = told["why"].as_str().unwrap();
    assert!(why.contains("line 2") && why.contains("colour"), "{why}");
    shield.event("bundle-state-failed");
    assert_eq!(shield.event("bundle-loaded")["version"], 6);
}
