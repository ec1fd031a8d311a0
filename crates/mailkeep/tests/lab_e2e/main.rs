//! Six real mail hosts in namespaces of this machine, looked at over SSH: two that are old, one with the
//! fix installed and not running, one with another host key than before, one that hangs, one healthy.
//!
//! One test, because the hosts take longer to come up than any claim takes to check; its steps build on
//! each other, as a day at work does. `docs/lab.md` tells what the lab is.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and says what it is about to claim"
)]

mod bench;
mod shield;

use std::time::{Duration, Instant};

use bench::{Bench, remains, told, tracker};
use mailkeep_model::{HostFacts, MailProcess, MailRole, Seen};
use xtask::lab::Family::{Dovecot, Exim, Postfix};
use xtask::lab::{Fault, Lab, Pair, Pairing, Wanted};

/// Old, an Exim.
const OLD_EXIM: &str = "h01";
/// Old, a Postfix.
const OLD_POSTFIX: &str = "h02";
/// The fix is installed, the old Exim still runs.
const NOT_RESTARTED: &str = "h03";
/// A Postfix that shows another host key than the one known.
const STALE_KEY: &str = "h04";
/// A Dovecot whose port 22 accepts and never answers.
const HANGS: &str = "h05";
/// A Dovecot, patched and restarted.
const HEALTHY: &str = "h06";

#[test]
fn six_hosts_over_ssh_get_exactly_the_right_answers() {
    let began = Instant::now();
    let wanted = Wanted {
        hosts: 6,
        families: vec![Exim, Postfix, Exim, Postfix, Dovecot, Dovecot],
        regions: 3,
        pairing: Pairing::Synthetic,
    };
    let Some((lab, turn)) = Lab::for_test("lab_e2e", &wanted).unwrap() else {
        return;
    };
    assert_eq!(lab.hosts().unwrap().len(), 6);

    let bench = Bench {
        lab: &lab,
        fleet: lab.root().join("mailkeep.toml"),
        state: lab.root().join("state/main"),
        began,
    };
    std::fs::create_dir_all(lab.root().join("state")).unwrap();
    let pairs = Pairs {
        exim: lab.pair(Exim).unwrap(),
        postfix: lab.pair(Postfix).unwrap(),
        dovecot: lab.pair(Dovecot).unwrap(),
    };
    bench.step("six hosts are up");

    pairs.import(&bench);
    before_the_release(&bench, &pairs);
    make_the_six(&bench);
    scanned_over_ssh(&bench);
    checked(&bench, &pairs);
    what_was_seen(&bench, &pairs);
    what_it_would_change(&bench, &pairs);
    without_a_feed(&bench, &pairs);
    without_root(&bench, &pairs);
    restarted_and_patched(&bench, &pairs);
    back_from_unknown(&bench, &pairs);

    bench.step("nothing is left when the lab is taken down");
    drop(turn);
    assert_eq!(remains(&lab), Vec::<String>::new());
    bench.step("done");
}

struct Pairs {
    exim: Pair,
    postfix: Pair,
    dovecot: Pair,
}

impl Pairs {
    /// Imports a tracker that knows them.
    fn import(&self, bench: &Bench<'_>) {
        let path = bench.lab.root().join("state/tracker.json");
        let text = tracker(&self.exim, &self.postfix, &self.dovecot).to_string();
        std::fs::write(&path, text).unwrap();
        let path = path.display().to_string();
        bench.mailkeep(0, &["feeds", "import", "--source", "debian-tracker", &path]);
    }
}

/// The vendor has written the advisory, and its repository does not have the patch yet.
fn before_the_release(bench: &Bench<'_>, pairs: &Pairs) {
    bench.step("a host without package lists: the fix is the distributor's word, and that is said");
    bench.with_fleet(0, "scan", &[OLD_EXIM]);
    let answer = bench.check(1, &["--host", OLD_EXIM]);
    let finding = answer.finding(OLD_EXIM, "CVE-2026-90002");
    assert_eq!(finding["status"], "fix-available");
    assert!(told(finding).contains("was not seen"), "{finding:#}");
    let limitations = answer.host(OLD_EXIM)["limitations"].to_string();
    assert!(limitations.contains("candidates: "), "{limitations}");

    bench.step("a host whose own apt does not offer the fix: fix-published");
    for host in [OLD_EXIM, OLD_POSTFIX] {
        bench.inside(host, "apt-get -qq update");
    }
    bench.with_fleet(0, "scan", &[OLD_EXIM, OLD_POSTFIX]);
    let answer = bench.check(1, &["--host", OLD_EXIM, "--host", OLD_POSTFIX]);
    for (host, cve, pair) in [
        (OLD_EXIM, "CVE-2026-90002", &pairs.exim),
        (OLD_POSTFIX, "CVE-2026-90001", &pairs.postfix),
    ] {
        let finding = answer.finding(host, cve);
        assert_eq!(finding["status"], "fix-published", "{finding:#}");
        assert_eq!(finding["fixed"], *pair.new);
        let offer = format!("offer only {}", pair.old);
        assert!(told(finding).contains(&offer), "{finding:#}");
    }
}

/// The release, and what became of each host since.
fn make_the_six(bench: &Bench<'_>) {
    bench.step("the vendor releases the patches; six hosts go six ways");
    for family in [Exim, Postfix, Dovecot] {
        bench.lab.publish(family).unwrap();
    }
    for host in [OLD_EXIM, OLD_POSTFIX, NOT_RESTARTED, HEALTHY] {
        bench.inside(host, "apt-get -qq update");
    }
    let fault = |host, fault| bench.lab.fault(host, fault).unwrap();
    fault(NOT_RESTARTED, Fault::UpgradeWithoutRestart);
    fault(STALE_KEY, Fault::StaleHostKey);
    fault(HANGS, Fault::Hang);
    upgrade(bench, HEALTHY, "dovecot-core dovecot-imapd dovecot-lmtpd");
}

/// Installs the patch as an administrator does; Debian's packages restart what they hold.
fn upgrade(bench: &Bench<'_>, host: &str, packages: &str) {
    let install = "DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install";
    bench.inside(host, &format!("{install} --only-upgrade {packages}"));
}

fn scanned_over_ssh(bench: &Bench<'_>) {
    bench.step("scan: every host in a line, failures by name, and one that hangs holds nobody up");
    // The limit leaves a busy machine room; ssh gives up on a silent port by itself after half of it.
    let began = Instant::now();
    let scan = bench.with_fleet(1, "scan", &["--timeout", "20"]);
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(scan.lines().len(), 6, "{}", scan.stdout);
    for host in [OLD_EXIM, OLD_POSTFIX, NOT_RESTARTED, HEALTHY] {
        assert!(scan.line_of(host).contains(" packages"), "{}", scan.stdout);
    }
    let old_code = |host| scan.line_of(host).contains("RUNNING OLD CODE");
    assert!(old_code(NOT_RESTARTED), "{}", scan.stdout);
    assert!(!old_code(OLD_EXIM) && !old_code(HEALTHY), "{}", scan.stdout);
    let failure = |host, kind: &str| {
        let line = scan.line_of(host);
        assert!(line.starts_with(&format!("{host}: {kind}: ")), "{line}");
    };
    failure(STALE_KEY, "changed-host-key");
    failure(HANGS, "timed-out");
    assert!(
        scan.stderr
            .contains("2 of 6 hosts could not be scanned; they stay unknown"),
        "{}",
        scan.stderr
    );
}

fn checked(bench: &Bench<'_>, pairs: &Pairs) {
    bench.step("check: exactly the right status for every host and every advisory");
    let answer = bench.check(1, &[]);
    assert_eq!(
        answer.findings(),
        [
            "h01 CVE-2026-90002 exim4 fix-available mail",
            "h01 CVE-2026-90032 exim4 no-fix mail",
            "h01 CVE-2026-90044 tini no-fix other",
            "h01 CVE-2026-90045 glibc no-fix dependency",
            "h02 CVE-2026-90001 postfix fix-available mail",
            "h02 CVE-2026-90031 postfix will-not-fix mail",
            "h03 CVE-2026-90002 exim4 restart-pending mail",
            "h03 CVE-2026-90032 exim4 no-fix mail",
            "h03 CVE-2026-90044 tini no-fix other",
            "h03 CVE-2026-90045 glibc no-fix dependency",
        ]
    );
    assert_eq!(
        answer.hosts(),
        [
            "h01 affected",
            "h02 affected",
            "h03 affected",
            "h04 unknown scan-failed",
            "h05 unknown scan-failed",
            "h06 clean",
        ]
    );
    let reason = |host| answer.host(host)["reasons"].to_string();
    assert!(reason(STALE_KEY).contains("changed-host-key"));
    assert!(reason(HANGS).contains("timed-out"));

    bench.step("the evidence names the version on offer, and the process that runs old code");
    for (host, cve, pair) in [
        (OLD_EXIM, "CVE-2026-90002", &pairs.exim),
        (OLD_POSTFIX, "CVE-2026-90001", &pairs.postfix),
    ] {
        let finding = answer.finding(host, cve);
        assert_eq!(finding["installed"], *pair.old);
        assert_eq!(finding["fixed"], *pair.new);
        assert_eq!(finding["evidence"]["source"], "debian-tracker");
        assert_eq!(finding["evidence"]["rule"], "distributor-fixed-version");
        let compared = &finding["evidence"]["compared"];
        assert_eq!(compared["installed"], *pair.old);
        assert_eq!(compared["with"], *pair.new);
        assert_eq!(compared["ordering"], "less");
        let offer = format!("the host's own repositories offer {}", pair.new);
        assert!(told(finding).contains(&offer), "{finding:#}");
    }
    let pending = answer.finding(NOT_RESTARTED, "CVE-2026-90002");
    assert_eq!(pending["installed"], *pairs.exim.new);
    assert_eq!(pending["evidence"]["rule"], "stale-process");
    let told = told(pending);
    let ran = format!("(version {})", pairs.exim.old);
    assert!(
        told.contains("exim4 (pid ") && told.contains(&ran),
        "{told}"
    );

    bench.step("with --all, what is fixed and what was never affected is there, too");
    let all = bench.check(1, &["--all"]);
    let settled: Vec<String> = all
        .findings()
        .into_iter()
        .filter(|line| line.contains(" fixed ") || line.contains(" not-affected "))
        .collect();
    assert_eq!(
        settled,
        [
            "h01 CVE-2010-90012 exim4 fixed mail",
            "h01 CVE-2026-90022 exim4 not-affected mail",
            "h02 CVE-2011-90011 postfix fixed mail",
            "h02 CVE-2026-90044 tini not-affected other",
            "h02 CVE-2026-90045 glibc not-affected dependency",
            "h03 CVE-2010-90012 exim4 fixed mail",
            "h03 CVE-2026-90022 exim4 not-affected mail",
            "h06 CVE-2011-90011 postfix fixed mail",
            "h06 CVE-2012-90013 dovecot fixed mail",
            "h06 CVE-2026-90001 postfix not-affected mail",
            "h06 CVE-2026-90003 dovecot fixed mail",
            "h06 CVE-2026-90031 postfix not-affected mail",
            "h06 CVE-2026-90044 tini not-affected other",
            "h06 CVE-2026-90045 glibc not-affected dependency",
        ]
    );

    bench.step("affected: the right hosts, and the unseen ones as not known");
    let affected = bench.with_fleet(1, "affected", &["CVE-2026-90002"]);
    let sections: Vec<&str> = affected.stdout.split("\n\n").collect();
    let [_, concerned, none, not_known] = sections.as_slice() else {
        panic!("{}", affected.stdout);
    };
    let named = |section: &str| -> Vec<String> {
        let mut hosts: Vec<String> = ["h01", "h02", "h03", "h04", "h05", "h06"]
            .into_iter()
            .filter(|host| section.contains(host))
            .map(str::to_owned)
            .collect();
        hosts.dedup();
        hosts
    };
    assert!(concerned.starts_with("Concerned:"), "{}", affected.stdout);
    assert_eq!(named(concerned), [OLD_EXIM, NOT_RESTARTED]);
    assert!(none.starts_with("No package that it names"), "{none}");
    assert_eq!(named(none), [OLD_POSTFIX, HEALTHY]);
    assert!(not_known.starts_with("Not known:"), "{not_known}");
    assert_eq!(named(not_known), [STALE_KEY, HANGS]);

    bench.step("explain: the whole evidence for a person");
    let explain = bench.with_fleet(1, "explain", &[NOT_RESTARTED, "CVE-2026-90002"]);
    assert!(explain.stdout.contains("restart it"), "{}", explain.stdout);
    assert!(
        explain.stdout.contains(&pairs.exim.old),
        "{}",
        explain.stdout
    );
}

fn process<'f>(facts: &'f HostFacts, name: &str) -> &'f MailProcess {
    let mut found = facts.processes.items().iter().filter(|p| p.name == name);
    let first = found.next();
    first.unwrap_or_else(|| panic!("no {name} among {:#?}", facts.processes))
}

fn what_was_seen(bench: &Bench<'_>, pairs: &Pairs) {
    bench.step("facts: ports with banners, what each process does, who owns it, what it maps");
    for (host, name, package, path) in [
        (OLD_EXIM, "exim4", "exim4-daemon-light", "/usr/sbin/exim4"),
        (
            OLD_POSTFIX,
            "master",
            "postfix",
            "/usr/lib/postfix/sbin/master",
        ),
        (HEALTHY, "dovecot", "dovecot-core", "/usr/sbin/dovecot"),
    ] {
        let facts = bench.facts(host);
        assert!(
            facts.limitations.is_empty(),
            "{host}: {:?}",
            facts.limitations
        );
        let process = process(&facts, name);
        assert_eq!(process.package.as_deref(), Some(package));
        assert_eq!(process.executable, path);
        assert_eq!(process.stale, Seen::Yes(Vec::new()), "{host}");
        let maps = process.maps.items();
        assert!(maps.iter().any(|p| &**p == "libc6"), "{host}: {maps:?}");
        let banner = |port| {
            let mut open = facts.listeners.items().iter().filter(|l| l.port == port);
            let listener = open.find(|l| !l.is_loopback()).unwrap();
            assert!(listener.pid.is_some(), "{host}: {listener:?}");
            listener.banner.clone().unwrap_or_default()
        };
        assert!(banner(25).starts_with("220 "), "{host}: {:?}", banner(25));
        if host == HEALTHY {
            assert!(banner(143).starts_with("* OK "), "{:?}", banner(143));
            assert!(process.roles.contains(&MailRole::Imap));
        } else {
            assert!(process.roles.contains(&MailRole::Smtp), "{process:?}");
        }
    }
    let facts = bench.facts(NOT_RESTARTED);
    let exim = process(&facts, "exim4");
    assert_eq!(
        exim.package_version.as_deref(),
        Some(&*pairs.exim.new),
        "what is installed, not what runs"
    );
    let stale = exim.stale.items();
    assert_eq!(stale.len(), 1, "{stale:?}");
    assert_eq!(stale[0].path, "/usr/sbin/exim4");
    assert_eq!(stale[0].ran_version.as_deref(), Some(&*pairs.exim.old));
}

/// Nothing is changed yet; the host's own apt is asked what it would do.
fn what_it_would_change(bench: &Bench<'_>, pairs: &Pairs) {
    bench.step("what applying the patch would change is told before anyone agrees to it");
    bench.inside(
        OLD_EXIM,
        "echo '# ours' >>/etc/logrotate.d/exim4-base; apt-mark hold exim4-base",
    );
    let impact = |status: i32, args: &[&str]| -> serde_json::Value {
        let args = [&["--format", "json"], args].concat();
        let run = bench.with_fleet(status, "impact", &args);
        serde_json::from_str(&run.stdout).unwrap()
    };
    let postfix = impact(1, &[OLD_POSTFIX]);
    let package = &postfix["packages"][0];
    assert_eq!(package["name"], "postfix");
    assert_eq!(package["from"], *pairs.postfix.old);
    assert_eq!(package["to"], *pairs.postfix.new);
    assert_eq!(package["closes"], serde_json::json!(["CVE-2026-90001"]));
    let names: Vec<&str> = postfix["processes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|process| process["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"master") && names.contains(&"qmgr"),
        "{names:?}"
    );
    // It is the only one of its region; the fleet file wants one to stay.
    assert_eq!(
        postfix["cautions"],
        serde_json::json!([{ "kind": "below-minimum", "service": "inbound-mx" }])
    );
    assert_eq!(postfix["interruption"]["basis"]["kind"], "measured");

    let exim = impact(1, &[OLD_EXIM, "exim4"]);
    let base = exim["packages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|package| package["name"] == "exim4-base")
        .unwrap();
    assert_eq!(base["held"], true, "{exim:#}");
    let file = &base["configuration"][0];
    assert_eq!(file["path"], "/etc/logrotate.d/exim4-base", "{exim:#}");
    assert_eq!(file["outcome"], "kept");
    assert!(exim["cautions"].to_string().contains("held"), "{exim:#}");
    bench.inside(OLD_EXIM, "apt-mark unhold exim4-base");

    let nothing = impact(0, &[HEALTHY]);
    assert_eq!(nothing["packages"], serde_json::json!([]));
    bench.with_fleet(2, "impact", &[OLD_EXIM, "no-such-package"]);
    bench.with_fleet(2, "impact", &["h99"]);
}

fn without_a_feed(bench: &Bench<'_>, pairs: &Pairs) {
    bench.step(
        "a host with no feed at all still gets an answer: from the changelog of what apt offers",
    );
    let alone = bench.other("alone", |fleet| fleet);
    alone.with_fleet(0, "scan", &["--released", OLD_POSTFIX]);
    let answer = alone.check(1, &["--host", OLD_POSTFIX]);
    assert_eq!(
        answer.findings(),
        ["h02 CVE-2026-90001 postfix fix-available mail"]
    );
    assert_eq!(answer.hosts(), ["h02 affected no-whole-feed"]);
    let finding = answer.finding(OLD_POSTFIX, "CVE-2026-90001");
    assert_eq!(finding["fixed"], *pairs.postfix.new);
    assert_eq!(finding["evidence"]["rule"], "changelog-fixed-version");
    assert_eq!(finding["evidence"]["source"], "released-h02");
}

fn without_root(bench: &Bench<'_>, pairs: &Pairs) {
    bench.step("without root: packages are right all the same, and what was not seen is said");
    for host in [OLD_EXIM, NOT_RESTARTED] {
        // An account whose password is locked gets no login from this sshd.
        bench.inside(host, "usermod -p '*' probe");
    }
    let user = |fleet: String| fleet.replace("\naddress = ", "\nuser = \"probe\"\naddress = ");
    let plain = bench.other("plain", user);
    pairs.import(&plain);
    plain.with_fleet(0, "scan", &[OLD_EXIM, NOT_RESTARTED]);
    for host in [OLD_EXIM, NOT_RESTARTED] {
        let (root, plain) = (bench.facts(host), plain.facts(host));
        assert_eq!(plain.packages, root.packages, "{host}");
        assert_eq!(plain.platform, root.platform);
        assert_eq!(plain.candidates, root.candidates, "{host}");
        let ports = |facts: &HostFacts| -> Vec<u16> {
            facts.listeners.items().iter().map(|l| l.port).collect()
        };
        assert_eq!(ports(&plain), ports(&root));
        let limits: Vec<String> = plain.limitations.iter().map(ToString::to_string).collect();
        assert!(
            limits
                .iter()
                .any(|l| l.starts_with("code run by ") && l.ends_with("needs root")),
            "{limits:?}"
        );
    }
    let answer = plain.check(1, &["--host", OLD_EXIM, "--host", NOT_RESTARTED, "--all"]);
    let old = answer.finding(OLD_EXIM, "CVE-2026-90002");
    assert_eq!(old["status"], "fix-available");
    // Its version has the fix; that old code runs is what only root can see.
    let patched = answer.finding(NOT_RESTARTED, "CVE-2026-90002");
    assert_eq!(patched["status"], "fixed", "{patched:#}");
    let limitations = answer.host(NOT_RESTARTED)["limitations"].to_string();
    assert!(limitations.contains("needs root"), "{limitations}");
}

fn restarted_and_patched(bench: &Bench<'_>, pairs: &Pairs) {
    bench.step("after the restart nothing is pending; an upgrade that restarts is done in one go");
    bench.inside(NOT_RESTARTED, "service exim4 restart");
    upgrade(
        bench,
        OLD_EXIM,
        "exim4-daemon-light exim4-base exim4-config",
    );
    bench
        .lab
        .fault(OLD_POSTFIX, Fault::UpgradeWithoutRestart)
        .unwrap();
    let hosts = [OLD_EXIM, OLD_POSTFIX, NOT_RESTARTED];
    bench.with_fleet(0, "scan", &hosts);
    let answer = bench.check(1, &["--since", "last", "--all"]);
    assert_eq!(
        answer.changes(),
        [
            "h01 CVE-2026-90002 gone fixed",
            "h02 CVE-2026-90001 changed restart-pending",
            "h03 CVE-2026-90002 gone fixed",
        ]
    );
    let pending = answer.finding(OLD_POSTFIX, "CVE-2026-90001");
    let ran = format!("(version {})", pairs.postfix.old);
    assert!(told(pending).contains(&ran), "{pending:#}");

    bench.step("the same check again: nothing changed");
    let again = bench.check(1, &["--since", "last"]);
    assert_eq!(again.changes(), Vec::<String>::new());

    bench.step("a Postfix restarted by hand is fixed");
    bench.inside(OLD_POSTFIX, "service postfix restart");
    bench.with_fleet(0, "scan", &[OLD_POSTFIX]);
    let answer = bench.check(1, &["--since", "last", "--all"]);
    assert_eq!(answer.changes(), ["h02 CVE-2026-90001 gone fixed"]);
}

fn back_from_unknown(bench: &Bench<'_>, pairs: &Pairs) {
    bench.step("a host that hung and was started anew: seen again; its new Dovecot is not running");
    bench.lab.kill(HANGS).unwrap();
    bench.lab.boot(HANGS).unwrap();
    bench
        .lab
        .fault(HANGS, Fault::UpgradeWithoutRestart)
        .unwrap();
    bench.with_fleet(0, "scan", &[HANGS]);
    let answer = bench.check(1, &["--since", "last"]);
    assert_eq!(answer.changes(), ["h05 CVE-2026-90003 new restart-pending"]);
    assert_eq!(answer.host(HANGS)["status"], "affected");
    let pending = answer.finding(HANGS, "CVE-2026-90003");
    let ran = format!("(version {})", pairs.dovecot.old);
    assert!(told(pending).contains(&ran), "{pending:#}");
}
