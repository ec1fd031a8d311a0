//! Every act of every adapter on real mail servers: the whole cycle under mail load, each act twice, the
//! way back, code that runs on after an upgrade, a patch that does not start, somebody else's lease, a
//! reboot and a power cut half-way, and a drain at a front end.
//!
//! One test, because the hosts take longer to come up than any claim takes to check; the families are
//! gone through side by side. `docs/adapters.md` tells what is exercised, `docs/lab.md` what the lab is.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and says what it is about to claim"
)]

mod bed;

use std::time::Instant;

use bed::{Bed, Load};
use mailkeep_model::{Act, ActFailure, ActOutcome, Drain};
use xtask::lab::{Family, Fault, Lab, Pairing, Wanted};

/// One host of each; then the front end, where strangers' mail comes from as well, and its server.
const FAMILIES: [Family; 8] = [
    Family::Postfix,
    Family::Exim,
    Family::Dovecot,
    Family::Sendmail,
    Family::Opensmtpd,
    Family::Cyrus,
    Family::Haproxy,
    Family::Postfix,
];
const FRONT: &str = "h07";
const BEHIND: &str = "h08";
/// How versions end whose daemon does not start.
const BROKEN: &str = "+broken1";

fn one_of_each() -> Wanted {
    Wanted {
        hosts: 8,
        families: FAMILIES.to_vec(),
        regions: 1,
        pairing: Pairing::Synthetic,
    }
}

#[test]
fn every_adapter_takes_its_server_through_the_whole_cycle() {
    let wanted = one_of_each();
    let Some((lab, _turn)) = Lab::for_test("rollout_lab", &wanted).unwrap() else {
        return;
    };
    assert_eq!(lab.hosts().unwrap().len(), 8);
    for family in FAMILIES {
        let broken = lab.publish_broken(family).unwrap();
        assert!(broken.ends_with(BROKEN), "{broken}");
    }
    side_by_side(&lab, |bed, family| {
        if family == Family::Haproxy {
            at_a_front_end(bed);
            return;
        }
        forward_and_back(bed);
        if family == Family::Postfix {
            reboots_half_way(bed);
            hands_of_others(bed);
            a_certificate_is_renewed(bed);
        }
        if family == Family::Opensmtpd {
            by_a_recipe(bed);
            by_a_workaround(bed);
        }
        if family == Family::Exim {
            without_root(bed);
            nobody_offers_the_old_version(bed);
        }
    });
}

/// Each family's host, or those of `MAILKEEP_TEST_FAMILY`.
fn side_by_side(lab: &Lab, claims: impl Fn(&mut Bed<'_>, Family) + Copy + Send) {
    let began = Instant::now();
    let only = std::env::var("MAILKEEP_TEST_FAMILY").ok();
    let wanted = |family: &Family| {
        only.as_deref()
            .is_none_or(|only| only.split(',').any(|name| name == family.name()))
    };
    std::thread::scope(|scope| {
        for (index, family) in FAMILIES.iter().enumerate().take(7) {
            if wanted(family) {
                scope.spawn(move || {
                    let host = format!("h{:02}", index + 1);
                    claims(&mut Bed::new(lab, &host, *family, began), *family);
                });
            }
        }
    });
}

fn forward_and_back(bed: &mut Bed<'_>) {
    the_whole_cycle(bed, FRONT);
    by_the_products_own_means(bed);
    code_that_runs_on(bed);
    a_patch_that_does_not_start(bed);
}

/// Not in every run: images with systemd are built for it. The hosts of the other test have `/etc/init.d` only.
#[test]
#[ignore = "builds images of its own"]
fn every_adapter_takes_its_server_through_the_whole_cycle_under_systemd() {
    let wanted = one_of_each();
    let (lab, _turn) = Lab::for_test_with(&["systemd-sysv"], "rollout_systemd", &wanted).unwrap();
    for family in FAMILIES {
        lab.publish_broken(family).unwrap();
    }
    side_by_side(&lab, |bed, family| {
        assert!(bed.holds("[ \"$(cat /proc/1/comm)\" = systemd ]"));
        if family == Family::Haproxy {
            at_a_front_end(bed);
            return;
        }
        forward_and_back(bed);
        if family == Family::Postfix {
            reboots_half_way(bed);
        }
    });
}

/// Not in every run: an image with `iptables` is built for it. The hosts of the other test have `nft`.
#[test]
#[ignore = "builds an image of its own"]
fn a_host_without_nft_goes_the_whole_way_by_iptables() {
    let wanted = Wanted {
        hosts: 2,
        families: vec![Family::Postfix],
        regions: 1,
        pairing: Pairing::Synthetic,
    };
    let (lab, _turn) = Lab::for_test_with(&["iptables"], "rollout_iptables", &wanted).unwrap();
    lab.publish(Family::Postfix).unwrap();
    for (host, from, kind) in [("h01", "h02", "legacy"), ("h02", "h01", "nft")] {
        let mut bed = Bed::new(&lab, host, Family::Postfix, Instant::now());
        bed.inside(&format!(
            "test ! -e /usr/sbin/nft || mv /usr/sbin/nft /usr/sbin/nft.away; \
             update-alternatives --set iptables /usr/sbin/iptables-{kind}; \
             update-alternatives --set ip6tables /usr/sbin/ip6tables-{kind}"
        ));
        the_whole_cycle(&mut bed, from);
        assert!(bed.holds("! iptables -S | grep mailkeep && ! ip6tables -S | grep mailkeep"));
        bed.step(kind);
    }
}

/// Drained by packet filter, while a stranger sends mail from another host: twice each, forward and back.
fn the_whole_cycle(bed: &mut Bed<'_>, from: &str) {
    bed.plan("cycle", Drain::SynRefusal);
    let load = Load::start(bed, from);
    bed.done(Act::Precheck);
    bed.done(Act::Precheck);
    bed.done(Act::Lease);
    bed.already(Act::Lease);
    load.has_sent(3);
    let says_let_in = |seen: Vec<String>| seen.iter().any(|fact| fact.starts_with("lets-in "));
    assert!(says_let_in(bed.done(Act::Drain)));
    bed.already(Act::Drain);
    load.is_refused();
    assert!(bed.answers_the_controller(), "a probe must get through");
    bed.done(Act::AwaitEmpty);
    bed.done(Act::AwaitEmpty);
    bed.done(Act::Save);
    bed.already(Act::Save);
    bed.done(Act::Patch);
    bed.already(Act::Patch);
    let seen = bed.done(Act::Prove);
    let new = bed.pair.new.clone();
    assert!(
        seen.iter()
            .any(|fact| fact.starts_with("runs ") && fact.contains(&bed.packages[0].to)),
        "{new}: {seen:#?}"
    );
    bed.done(Act::Prove);
    load.is_refused();
    bed.done(Act::Return);
    bed.already(Act::Return);
    load.has_sent(3);
    bed.done(Act::Recheck);
    bed.step("patched and proven under load; now the way back");
    // Whoever does not greet now is rolled back all the same.
    assert!(!says_let_in(bed.done(Act::Drain)));
    bed.done(Act::AwaitEmpty);
    bed.done(Act::RollBack);
    bed.already(Act::RollBack);
    bed.done(Act::ProveOld);
    load.is_refused();
    bed.done(Act::Return);
    load.has_sent(3);
    bed.done(Act::Recheck);
    bed.done(Act::Release);
    bed.already(Act::Release);
    let (accepted, lost, more) = load.ledger();
    bed.step(&format!(
        "ledger: accepted {accepted}, duplicated {more}, lost {}",
        lost.len()
    ));
    assert!(accepted >= 9, "{accepted}");
    assert_eq!(lost, Vec::<u64>::new());
    assert!(bed.state_is_gone());
}

/// Drained by the product itself, forward only.
fn by_the_products_own_means(bed: &mut Bed<'_>) {
    bed.plan("product", Drain::Product);
    bed.done(Act::Precheck);
    bed.done(Act::Lease);
    bed.done(Act::Drain);
    bed.already(Act::Drain);
    bed.done(Act::AwaitEmpty);
    bed.done(Act::Save);
    bed.done(Act::Patch);
    bed.done(Act::Prove);
    bed.done(Act::Return);
    bed.done(Act::Recheck);
    bed.done(Act::Release);
    bed.step("drained by its own means, patched, proven");
    // A plan that comes late changes nothing.
    bed.plan("late", Drain::SynRefusal);
    bed.already(Act::Precheck);
    bed.back_to_old("product");
}

/// Installed and not restarted: found, and set right without installing anything.
fn code_that_runs_on(bed: &mut Bed<'_>) {
    if bed.family == Family::Sendmail {
        // Its maintainer scripts stop the daemon themselves, whatever policy-rc.d says.
        bed.inside(
            "DEBIAN_FRONTEND=noninteractive apt-get -qq -y install /repo/held/sendmail/*.deb; \
             cd /usr/libexec/sendmail; cp -p sendmail new; mv new sendmail",
        );
    } else {
        bed.lab
            .fault(&bed.host, Fault::UpgradeWithoutRestart)
            .unwrap();
    }
    bed.plan("stale", Drain::SynRefusal);
    let seen = bed.done(Act::Precheck);
    assert!(
        seen.iter().any(|f| f.contains("restart is due")),
        "{seen:?}"
    );
    bed.done(Act::Lease);
    bed.fails(Act::Recheck, ActFailure::RunsOldCode);
    bed.done(Act::Drain);
    bed.done(Act::AwaitEmpty);
    bed.done(Act::Save);
    bed.done(Act::Patch);
    bed.done(Act::Prove);
    bed.done(Act::Return);
    bed.done(Act::Release);
    bed.step("old code that ran on was found and ended");
}

/// From the patch to one whose daemon does not start, and back.
fn a_patch_that_does_not_start(bed: &mut Bed<'_>) {
    bed.plan_broken("broken", BROKEN);
    bed.done(Act::Precheck);
    bed.done(Act::Lease);
    bed.done(Act::Drain);
    bed.done(Act::AwaitEmpty);
    bed.done(Act::Save);
    let outcome = bed.act(Act::Patch);
    match &outcome {
        ActOutcome::Failed { kind, detail } => {
            bed.step(&format!("the broken patch: {}: {detail}", kind.name()));
            assert!(
                matches!(kind, ActFailure::ServiceDown | ActFailure::PackageManager),
                "{outcome:?}"
            );
        }
        other => panic!("{}: a broken patch ended {other:?}", bed.host),
    }
    bed.done(Act::RollBack);
    bed.already(Act::RollBack);
    bed.done(Act::ProveOld);
    bed.done(Act::Return);
    bed.done(Act::Release);
    bed.step("rolled back from a patch that does not start");
}

/// A host that reboots while drained comes up undrained, and is drained again by the next act; one whose
/// power is cut in the middle of dpkg is repaired and goes on.
fn reboots_half_way(bed: &mut Bed<'_>) {
    bed.back_to_old("broken");
    bed.plan("reboot", Drain::SynRefusal);
    bed.done(Act::Precheck);
    bed.done(Act::Lease);
    bed.done(Act::Drain);
    bed.lab.kill(&bed.host).unwrap();
    bed.lab.boot(&bed.host).unwrap();
    let seen = bed.done(Act::AwaitEmpty);
    assert!(seen.iter().any(|f| f.contains("rebooted")), "{seen:?}");
    assert!(seen.iter().any(|f| f.contains("put back")), "{seen:?}");
    bed.done(Act::Save);
    bed.cut_power_in(Act::Patch);
    bed.lab.boot(&bed.host).unwrap();
    bed.done(Act::Patch);
    bed.done(Act::Prove);
    bed.done(Act::Return);
    bed.done(Act::Release);
    bed.step("a reboot and a power cut were survived");
}

/// Another controller, an older one, a person's change, a package manager at work.
fn hands_of_others(bed: &mut Bed<'_>) {
    bed.back_to_old("reboot");
    bed.plan("mine", Drain::SynRefusal);
    bed.done(Act::Precheck);
    bed.done(Act::Lease);
    let stranger = bed.hands_of("another-controller");
    let other = bed.with_plan("theirs");
    bed.fails_as(&stranger, &other, Act::Precheck, ActFailure::LeaseHeld);
    bed.fails_as(&stranger, &other, Act::Lease, ActFailure::LeaseHeld);
    bed.fails_as(&stranger, &other, Act::Patch, ActFailure::LeaseLost);
    bed.fence -= 1;
    bed.fails(Act::Drain, ActFailure::LeaseLost);
    bed.fence += 2;
    bed.done(Act::Drain);
    bed.fence -= 1;
    bed.fails(Act::AwaitEmpty, ActFailure::LeaseLost);
    bed.fence += 1;
    bed.inside("postconf -e message_size_limit=1234567");
    let detail = bed.fails(Act::Save, ActFailure::ConfigurationChanged);
    assert!(detail.contains("1234567"), "{detail}");
    bed.inside("postconf -X message_size_limit");
    bed.done(Act::Save);
    let busy = bed.lab.lock_dpkg(&bed.host).unwrap();
    assert!(
        matches!(bed.once(Act::Patch), ActOutcome::NotYet { .. }),
        "a package manager at work is waited for"
    );
    drop(busy);
    bed.done(Act::Patch);
    bed.inside("rm /run/mailkeep/lease");
    bed.fails(Act::Prove, ActFailure::LeaseLost);
    bed.done(Act::Lease);
    bed.done(Act::Prove);
    bed.done(Act::Return);
    bed.inside("postconf -e message_size_limit=7654321");
    let detail = bed.fails(Act::Recheck, ActFailure::ConfigurationChanged);
    assert!(detail.contains("7654321"), "{detail}");
    bed.inside("postconf -X message_size_limit");
    bed.done(Act::Recheck);
    bed.done(Act::Release);
    bed.step("others' hands were seen");
    bed.isolated_and_back(FRONT);
}

/// Whoever changes the host before the patch, or after its proof, is told so; a certificate that is renewed
/// changes nothing.
fn a_certificate_is_renewed(bed: &mut Bed<'_>) {
    bed.back_to_old("mine");
    let shows = |bed: &Bed<'_>, names: &str| {
        bed.inside(&format!(
            "mkdir -p /etc/ssl/lab; openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN={names} \
             -addext subjectAltName=DNS:{names} -keyout /etc/ssl/lab/key -out /etc/ssl/lab/certificate; \
             postconf -e smtpd_tls_cert_file=/etc/ssl/lab/certificate smtpd_tls_key_file=/etc/ssl/lab/key \
             smtpd_tls_security_level=may; postfix reload"
        ));
    };
    shows(bed, "mx.lab.test");
    bed.plan("renewed", Drain::SynRefusal);
    bed.done(Act::Precheck);
    bed.done(Act::Lease);
    bed.done(Act::Drain);
    bed.done(Act::AwaitEmpty);
    bed.done(Act::Save);
    bed.inside("postconf -e message_size_limit=1234567");
    let detail = bed.fails(Act::Patch, ActFailure::ConfigurationChanged);
    assert!(detail.contains("1234567"), "{detail}");
    bed.inside("postconf -X message_size_limit");
    shows(bed, "other.lab.test");
    let detail = bed.fails(Act::Patch, ActFailure::ConfigurationChanged);
    assert!(
        detail.contains("other.lab.test") && detail.contains("mx.lab.test"),
        "{detail}"
    );
    assert!(!bed.holds("test -e /var/lib/mailkeep/rollout/*/patching"));
    shows(bed, "mx.lab.test");
    bed.done(Act::Patch);
    let seen = bed.done(Act::Prove);
    assert!(
        seen.iter()
            .any(|f| f.contains("another one, for the same names")),
        "{seen:?}"
    );
    bed.done(Act::Return);
    bed.done(Act::Recheck);
    shows(bed, "other.lab.test");
    let detail = bed.fails(Act::Recheck, ActFailure::ConfigurationChanged);
    assert!(detail.contains("other.lab.test"), "{detail}");
    bed.done(Act::Drain);
    bed.done(Act::AwaitEmpty);
    bed.fails(Act::Prove, ActFailure::MailServiceChanged);
    bed.done(Act::RollBack);
    // The old version shows the new certificate as well.
    bed.done(Act::ProveOld);
    bed.done(Act::Return);
    bed.done(Act::Release);
    bed.step("a renewed certificate was no change, and one for other names was not taken for the patch's");
}

/// A package given as a file, a fragment, a command, a proof, and a workaround that ends with the patch;
/// then back again.
fn by_a_recipe(bed: &mut Bed<'_>) {
    bed.back_to_old("broken");
    bed.inside("touch /lab/workaround");
    bed.plan_with_recipe(
        "recipe",
        r#"
        [[fragment]]
        path = "/etc/mail-motd"
        file = "motd"
        [[command]]
        when = "before-restart"
        run = "tr a-z A-Z </etc/mail-motd >/lab/motd"
        [[proof]]
        name = "motd"
        run = "grep -q PATCHED /lab/motd"
        [[mitigation]]
        name = "workaround"
        assert = "touch /lab/workaround"
        check = "test -e /lab/workaround"
        remove = "rm /lab/workaround"
        "#,
        &[("motd", b"it's patched\n")],
    );
    let seen = bed.done(Act::Precheck);
    assert!(
        seen.iter().any(|f| f == "mitigation workaround in force"),
        "{seen:?}"
    );
    bed.done(Act::Lease);
    bed.done(Act::Drain);
    bed.done(Act::AwaitEmpty);
    bed.done(Act::Save);
    bed.inside("rm /lab/workaround"); // As an update that overwrites it would.
    let seen = bed.done(Act::Patch);
    for wanted in [
        "workaround put in force again",
        "workaround removed",
        "fragment /etc/mail-motd",
    ] {
        assert!(
            seen.iter().any(|f| f.contains(wanted)),
            "{wanted}: {seen:?}"
        );
    }
    bed.already(Act::Patch);
    let seen = bed.done(Act::Prove);
    assert!(seen.iter().any(|f| f == "proof motd holds"), "{seen:?}");
    bed.inside("echo changed >/etc/mail-motd");
    bed.fails(Act::Prove, ActFailure::ConfigurationChanged);
    bed.done(Act::RollBack);
    bed.done(Act::ProveOld);
    assert!(bed.holds("test -e /lab/workaround && test ! -e /etc/mail-motd"));
    bed.done(Act::Return);
    bed.done(Act::Release);
    bed.step("patched by a recipe, and back");
}

/// The acts of a whole way before one of them.
fn up_to(last: Act) -> impl Iterator<Item = Act> {
    Act::WHOLE_WAY
        .into_iter()
        .take_while(move |act| *act != last)
}

/// Nobody has a fix: a workaround is put in force and proven, and taken back where the proof fails.
fn by_a_workaround(bed: &mut Bed<'_>) {
    let recipe = r#"
        [[mitigation]]
        name = "open-hole"
        advisories = ["CVE-2026-40001"]
        assert = "touch /lab/stand-in"
        check = "test -e /lab/stand-in"
        remove = "rm /lab/stand-in"
        "#;
    for (id, holds) in [("interim-not", false), ("interim", true)] {
        bed.plan_interim(id, recipe, "CVE-2026-40001");
        for act in up_to(Act::Patch) {
            bed.done(act);
        }
        let seen = bed.done(Act::Patch);
        assert!(
            seen.iter()
                .any(|f| f == "mitigation open-hole put in force"),
            "{seen:?}"
        );
        bed.already(Act::Patch);
        let seen = bed.done(Act::Prove);
        assert!(
            seen.iter().any(|f| f == "mitigation open-hole in force"),
            "{seen:?}"
        );
        if holds {
            bed.done(Act::Return);
            bed.inside("mv /lab/stand-in /lab/away");
            bed.fails(Act::Recheck, ActFailure::MitigationGone);
            let busy = bed.lab.lock_dpkg(&bed.host).unwrap();
            assert!(
                matches!(bed.once(Act::Recheck), ActOutcome::NotYet { .. }),
                "nobody judges a host while packages come"
            );
            drop(busy);
            bed.inside("mv /lab/away /lab/stand-in");
            bed.done(Act::Recheck);
        } else {
            bed.inside("mv /lab/stand-in /lab/away");
            let detail = bed.fails(Act::Prove, ActFailure::MitigationGone);
            assert!(detail.contains("open-hole is not in force"), "{detail}");
            bed.inside("mv /lab/away /lab/stand-in");
            bed.done(Act::RollBack);
            assert!(bed.holds("test ! -e /lab/stand-in"));
            bed.already(Act::RollBack);
            bed.done(Act::ProveOld);
            bed.done(Act::Return);
        }
        bed.done(Act::Release);
    }
    assert!(bed.holds("test -e /lab/stand-in"));
    bed.step("a workaround was put in force, taken back, and put in force for good");
}

/// The login is not root: sudo where it is allowed, a clear word where it is not.
fn without_root(bed: &mut Bed<'_>) {
    bed.plan("sudo", Drain::SynRefusal);
    bed.inside("useradd -m -s /bin/sh ops && usermod -p '*' ops");
    let detail = bed.as_user("ops", |bed| bed.fails(Act::Lease, ActFailure::Other));
    assert!(detail.contains("sudo"), "{detail}");
    bed.inside("echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops");
    bed.as_user("ops", |bed| {
        bed.done(Act::Lease);
        bed.done(Act::Release);
    });
    bed.step("worked by sudo");
}

/// The repository has only the newest version, as real ones do: the old package is rebuilt from its files.
fn nobody_offers_the_old_version(bed: &mut Bed<'_>) {
    bed.back_to_old("broken");
    bed.inside(
        "rm -rf /lab/mirror && cp -r /repo/live/exim /lab/mirror && cd /lab/mirror && \
         for f in *.deb; do case $f in *lab1_*) ;; *) rm $f ;; esac; done; \
         awk -v RS= -v ORS='\\n\\n' '/Version: [^\\n]*\\+lab1\\n/' /repo/live/exim/Packages >Packages; \
         echo 'deb [trusted=yes] file:/lab/mirror ./' >/etc/apt/sources.list; \
         rm -rf /var/cache/apt/archives/*.deb; apt-get -qq update",
    );
    bed.plan("rebuilt", Drain::SynRefusal);
    let seen = bed.done(Act::Precheck);
    assert!(seen.iter().any(|f| f.contains("rebuilt")), "{seen:?}");
    for act in [
        Act::Lease,
        Act::Drain,
        Act::AwaitEmpty,
        Act::Save,
        Act::Patch,
    ] {
        bed.done(act);
    }
    bed.done(Act::RollBack);
    bed.done(Act::ProveOld);
    bed.done(Act::Return);
    bed.done(Act::Release);
    bed.step("went back to a package rebuilt from its files");
}

/// The front end stops sending to a server, and sends again once it is proven; then the front end itself
/// is patched.
fn at_a_front_end(bed: &mut Bed<'_>) {
    let mut server = Bed::new(bed.lab, BEHIND, Family::Postfix, bed.began);
    bed.serves(&server);
    server.plan(
        "behind",
        Drain::Haproxy {
            front: bed.name(),
            socket: "/run/haproxy/admin.sock".to_owned(),
            backend: "mx".to_owned(),
            server: BEHIND.to_owned(),
        },
    );
    let load = Load::through(bed, &server);
    load.has_sent(3);
    for act in up_to(Act::Release) {
        server.done(act);
    }
    load.has_sent(3);
    server.done(Act::Release);
    let (accepted, lost, more) = load.ledger();
    bed.step(&format!(
        "behind HAProxy: accepted {accepted}, duplicated {more}, lost {}",
        lost.len()
    ));
    assert_eq!(lost, Vec::<u64>::new());
    bed.plan("front", Drain::None);
    for act in Act::ALL {
        if !matches!(act, Act::RollBack | Act::ProveOld | Act::Release) {
            bed.done(act);
        }
    }
    bed.done(Act::Release);
    bed.step("patched the front end");
}
