//! Whole rollouts on real mail servers while things go wrong: the controller is killed at random moments
//! and started again; hosts lose their power, their network, their clock; and hosts that cannot be patched
//! are left as they were, or brought back, or kept out of service, and said to be.
//!
//! Every test has a lab of its own, so they may run side by side. `MAILKEEP_KILLS` says how often the
//! controller is killed, `MAILKEEP_KILLS_SEED` repeats a run's moments; `docs/lab.md` tells of both.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and says what it is about to claim"
)]

mod faults;
mod ring;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use ring::{LONGEST, Ring, lab};
use xtask::lab::Family::{Exim, Postfix};

/// How often the controller is killed unless `MAILKEEP_KILLS` says otherwise.
const FEW_KILLS: u64 = 6;

#[test]
fn a_controller_that_is_killed_at_any_moment_goes_on_and_patches_every_host_once() {
    let began = Instant::now();
    let Some((lab, _turn)) = lab("rollout_crash") else {
        return;
    };
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let kills = number("MAILKEEP_KILLS").unwrap_or(FEW_KILLS);
    let seed = number("MAILKEEP_KILLS_SEED").unwrap_or_else(|| RandomState::new().hash_one(kills));
    println!("MAILKEEP_KILLS={kills} MAILKEEP_KILLS_SEED={seed}");
    let mut dice = Dice(seed | 1);
    let mut left = kills;
    let mut under_way = BTreeMap::new();
    let mut rollouts = 0;
    while rollouts == 0 || left > 0 {
        rollouts += 1;
        let name = format!("killed-{rollouts}");
        let ring = if rollouts == 1 {
            Ring::fresh(&lab, &name, began, behind_a_jump_host)
        } else {
            Ring::anew(&lab, &name, began, behind_a_jump_host)
        };
        let load = ring.load();
        let before = left;
        let status = killed_again_and_again(&ring, &mut dice, &mut left, &mut under_way);
        ring.step(&format!("ended by itself after {} kills", before - left));
        assert_eq!(status, 0, "{}", ring.said());
        ring.nothing_is_lost(load);
        ring.all_are_proven(&[]);
        let again = ring.desk.rollout("start").output().unwrap();
        assert_eq!(again.status.code(), Some(0), "it has ended: {again:?}");
        ring.has_no_sockets();
    }
    println!(
        "{kills} kills in {rollouts} rollouts of four hosts, {} s; in the middle of: {under_way:?}",
        began.elapsed().as_secs()
    );
}

/// `ssh` to `h04` goes through `h01`; messages to it do not.
fn behind_a_jump_host(mut text: String) -> String {
    let host = "[hosts.h04]\n";
    let below = text.find(host).unwrap() + host.len();
    text.insert_str(below, "jump = \"h01\"\n");
    text
}

/// Until the controller ends by itself, or is no longer to be killed and ends; gives its status.
fn killed_again_and_again(
    ring: &Ring<'_>,
    dice: &mut Dice,
    left: &mut u64,
    under_way: &mut BTreeMap<String, u64>,
) -> i32 {
    let mut controller = ring.start();
    ring.hears(&["h01: precheck"]);
    let rival = ring.desk.rollout("start").output().unwrap();
    assert_eq!(rival.status.code(), Some(1), "{rival:?}");
    let why = String::from_utf8_lossy(&rival.stderr).into_owned();
    assert!(why.contains("refused: held"), "{why}");
    while *left > 0 {
        // Every other one may hit while nothing is done but wait.
        if left.is_multiple_of(2) && !ring.is_at_work(&mut controller) {
            break;
        }
        if let Some(status) = controller.ended_within(dice.moment()) {
            return status;
        }
        controller.kill();
        *left -= 1;
        let acts = acts_under_way(&ring.said_since_start());
        ring.step(&format!("killed in the middle of {acts:?}"));
        for act in acts {
            let act = act.split_once(' ').unwrap().1.to_owned();
            *under_way.entry(act).or_default() += 1;
        }
        controller = ring.start();
    }
    controller
        .ended_within(LONGEST)
        .unwrap_or_else(|| panic!("does not end:\n{}", ring.said()))
}

/// `h01 patch` for each host of which a controller said last that it begins something.
fn acts_under_way(said: &str) -> Vec<String> {
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    for line in said.lines() {
        for host in ["h01", "h02", "h03", "h04"] {
            if let Some((_, what)) = line.split_once(&format!("Z {host}: ")) {
                last.insert(host, what);
            }
        }
    }
    let begun = last.into_iter().filter_map(|(host, what)| {
        let act = what.strip_suffix(" ...")?.split(' ').next()?;
        Some(format!("{host} {act}"))
    });
    begun.collect()
}

/// xorshift64*, which is good enough for moments.
struct Dice(u64);

impl Dice {
    /// From 0.2 to 4 seconds.
    fn moment(&mut self) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        Duration::from_millis(200 + (drawn >> 33) % 3800)
    }
}

#[test]
fn hosts_that_lose_power_network_lock_or_clock_half_way_are_patched_and_proven() {
    let began = Instant::now();
    let Some((lab, _turn)) = lab("rollout_crash_faults") else {
        return;
    };
    let ring = Ring::fresh(&lab, "faults", began, |text| text);
    faults::wrong_clock(&ring, "h02");
    let busy = lab.lock_dpkg("h04").unwrap();
    let load = ring.load();
    let mut controller = ring.start();
    std::thread::scope(|scope| {
        let ring = &ring;
        scope.spawn(move || {
            ring.hears(&["h04: precheck not yet", "another package manager"]);
            drop(busy);
            ring.step("h04: its package manager is at work no longer");
            ring.sees("h04", "/var/lib/mailkeep/rollout/*/patching");
            ring.cable("h04", "down");
            ring.step("h04: its cable was pulled while it was patched");
            // Longer than ssh waits for a sign of life.
            ring.hears(&["h04: patch", "FAILED: unreachable"]);
            ring.cable("h04", "up");
            ring.step("h04: its cable is in again");
        });
        scope.spawn(|| {
            ring.sees("h01", "/var/lib/mailkeep/rollout/*/patching");
            lab.kill("h01").unwrap();
            ring.step("h01: its power was cut while it was patched");
            // An outage: the controller shall find nobody there.
            ring.hears(&["h01: patch", "FAILED: unreachable"]);
            lab.boot("h01").unwrap();
            ring.step("h01: runs again");
        });
        scope.spawn(|| {
            ring.sees("h03", "/var/lib/mailkeep/rollout/*/patching");
            ring.cable("h03", "down");
            ring.step("h03: its cable was pulled while it was patched");
            // It is done before ssh misses anything, and nobody hears of it.
            ring.sees("h03", "/var/lib/mailkeep/rollout/*/patched");
            ring.cable("h03", "up");
            ring.step("h03: its cable is in again");
        });
        scope.spawn(|| {
            ring.sees("h02", "/var/lib/mailkeep/rollout/*/saved");
            faults::refuse_controller(ring, "h02");
            ring.step("h02: its connections to the controller are reset");
            ring.hears(&["h02: ", "FAILED: unreachable"]);
            faults::accept_controller(ring, "h02");
            ring.step("h02: can be reached again");
        });
    });
    let status = controller.ended_within(LONGEST);
    assert_eq!(status, Some(0), "{}", ring.said());
    ring.nothing_is_lost(load);
    // What was under dpkg's hands when the power went is installed again.
    let report = ring.all_are_proven(&["h01"]);
    faults::clock_is_wrong(&ring, "h02");
    assert!(report.act("h04", "precheck")["tries"].as_u64().unwrap() > 1);
    for cut_off in ["h01", "h04"] {
        assert!(report.act(cut_off, "patch")["tries"].as_u64().unwrap() > 1);
    }
}

#[test]
fn hosts_that_cannot_be_patched_are_left_or_brought_back_or_held_and_said_to_be() {
    let began = Instant::now();
    let Some((lab, _turn)) = lab("rollout_crash_refused") else {
        return;
    };
    let ring = Ring::fresh(&lab, "mirror-gone", began, |text| text);
    the_mirror_is_gone(&ring);
    let ring = Ring::planned(&lab, "full", began, |_| {}, |text| text);
    disks_fill_half_way(&ring);
    let broken = lab.publish_broken(Postfix).unwrap();
    let ring = Ring::planned(
        &lab,
        "broken",
        began,
        |pairs| {
            pairs
                .iter_mut()
                .filter(|(of, _)| *of == Postfix)
                .for_each(|(_, pair)| pair.new.clone_from(&broken));
        },
        |text| text,
    );
    the_patch_does_not_start_and_a_disk_is_full(&ring);
    lab.publish(Postfix).unwrap();
    let ring = Ring::planned(
        &lab,
        "silent",
        began,
        |_| {},
        |text| {
            let quicker = text.replace("late = \"1m\"", "late = \"5s\"");
            assert_ne!(quicker, text);
            quicker
        },
    );
    the_message_never_arrives(&ring);
}

/// What the plan wants is nowhere to be had: nothing is begun.
fn the_mirror_is_gone(ring: &Ring<'_>) {
    for family in [Exim, Postfix] {
        ring.lab.unpublish(family).unwrap();
    }
    let status = ring.ends(&mut ring.start());
    assert_eq!(status, 1, "{}", ring.said());
    let report = ring.report();
    for host in ["h01", "h03"] {
        report.ended(host, "untouched", "package-unavailable");
    }
    for host in ["h01", "h02", "h03", "h04"] {
        report.ended(host, "untouched", "");
        ring.is_in_service(host);
    }
    for family in [Exim, Postfix] {
        ring.lab.publish(family).unwrap();
    }
}

/// One is brought back, one not begun, and the rest is not tried.
fn the_patch_does_not_start_and_a_disk_is_full(ring: &Ring<'_>) {
    ring.inside("h03", "mount -t tmpfs -o size=4m full /var/cache/apt");
    let load = ring.load();
    let status = ring.ends(&mut ring.start());
    assert_eq!(status, 1, "{}", ring.said());
    ring.nothing_is_lost(load);
    let report = ring.report();
    report.ended("h01", "rolled-back", "service-down");
    report.ended("h03", "untouched", "disk-full");
    report.ended("h02", "untouched", "");
    report.ended("h04", "untouched", "");
    for host in ["h01", "h02", "h03", "h04"] {
        ring.is_in_service(host);
    }
    ring.inside("h03", "umount /var/cache/apt");
}

/// Between the look and the patch there is nothing to take back; in the patch there is, and it must do
/// without room as well.
fn disks_fill_half_way(ring: &Ring<'_>) {
    for host in ["h01", "h03"] {
        faults::roomy_dpkg(ring, host);
    }
    let load = ring.load();
    let mut controller = ring.start();
    ring.hears(&["h01: precheck done"]);
    faults::fill_dpkg(ring, "h01");
    ring.sees("h03", "/var/lib/mailkeep/rollout/*/saved");
    faults::fill_dpkg(ring, "h03");
    let status = ring.ends(&mut controller);
    assert_eq!(status, 1, "{}", ring.said());
    ring.nothing_is_lost(load);
    let report = ring.report();
    report.ended("h01", "untouched", "disk-full");
    report.ended("h03", "rolled-back", "disk-full");
    for host in ["h01", "h02", "h03", "h04"] {
        ring.is_in_service(host);
    }
    for host in ["h01", "h03"] {
        faults::empty_dpkg(ring, host);
    }
}

/// It serves, and no message that it takes arrives, not even with the old version: kept out of service.
fn the_message_never_arrives(ring: &Ring<'_>) {
    let load = ring.load();
    let mut controller = ring.start();
    ring.sees("h01", "/var/lib/mailkeep/rollout/drained");
    // Its own queue first: what it took in service is not what is at stake.
    ring.hears(&["h01: await-empty done"]);
    faults::close_mailbox(ring, "h01");
    ring.hears(&["h01: prove-old FAILED: probe-lost"]);
    ring.step("h01: neither forward nor back; its mailbox is repaired");
    assert!(ring.holds("h01", "test -e /var/lib/mailkeep/rollout/drained"));
    faults::open_mailbox(ring, "h01");
    let status = ring.ends(&mut controller);
    assert_eq!(status, 1, "{}", ring.said());
    ring.nothing_is_lost(load);
    let report = ring.report();
    report.ended("h01", "held", "probe-lost");
    report.ended("h04", "untouched", "");
    assert!(ring.holds("h01", "test -e /var/lib/mailkeep/rollout/drained"));
}
