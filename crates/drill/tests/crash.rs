//! The controller dies: at each point in turn, and it ends the same. Each act is done twice, and it
//! ends the same.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, and the figures they report"
)]

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_drill::fleets::Drawn;
use mailkeep_drill::{Faults, Rehearsal, Settings, rehearse_with};
use mailkeep_model::{EventKind, HostName, HostState, Plan};

fn ends(rehearsal: &Rehearsal) -> BTreeMap<&HostName, HostState> {
    let hosts = rehearsal.hosts.iter();
    hosts.map(|(host, (state, _))| (host, *state)).collect()
}

/// Equal, but for hosts that one of the runs called off: which host of a variant fails first, and keeps
/// the change from which others, depends on when each begins, and a crash moves that.
fn same_ends(left: &Rehearsal, right: &Rehearsal, what: &str) {
    let called_off = |rehearsal: &Rehearsal| -> BTreeSet<HostName> {
        let events = rehearsal.events.iter();
        events
            .filter_map(|event| match &event.kind {
                EventKind::HostCalledOff { host, .. } => Some(host.clone()),
                _ => None,
            })
            .collect()
    };
    let loose = &called_off(left) | &called_off(right);
    let (mut left, mut right) = (ends(left), ends(right));
    left.retain(|host, _| !loose.contains(*host));
    right.retain(|host, _| !loose.contains(*host));
    assert_eq!(left, right, "{what}");
}

fn run(plan: &Plan, seed: u64, faults: &Faults, settings: &Settings) -> Rehearsal {
    let rehearsal = rehearse_with(plan, seed, faults, settings).unwrap();
    let breaches: Vec<String> = rehearsal.breaches.iter().map(ToString::to_string).collect();
    assert!(
        breaches.is_empty(),
        "seed {seed}, {settings:?}: {breaches:#?}"
    );
    rehearsal
}

/// Points at which the controller can die in a run without a crash: before and after each write, and
/// after each order.
fn points(rehearsal: &Rehearsal) -> u64 {
    let orders = rehearsal.figures.acts;
    2 * rehearsal.events.len() as u64 + orders
}

#[test]
fn a_controller_that_dies_at_any_point_ends_the_same() {
    // Three fleets of a handful of hosts: some hundred points each.
    let plans = (0..).filter_map(|seed| Some((seed, Drawn::new(seed).unwrap().plan()?)));
    let small = plans.filter(|(_, plan)| (3..=6).contains(&plan.steps.len()));
    for (seed, plan) in small.take(3) {
        for faults in [Faults::NONE, Faults::LASTING] {
            let whole = run(&plan, seed, &faults, &Settings::default());
            for point in 1..=points(&whole) {
                let settings = Settings {
                    crash_at: vec![point],
                    ..Settings::default()
                };
                let broken = run(&plan, seed, &faults, &settings);
                assert_eq!(broken.figures.crashes, 1, "seed {seed}, point {point}");
                same_ends(&broken, &whole, &format!("seed {seed}, point {point}"));
            }
        }
    }
}

#[test]
fn a_controller_that_dies_again_and_again_ends() {
    for seed in 0..12 {
        let Some(plan) = Drawn::new(seed).unwrap().plan() else {
            continue;
        };
        let settings = Settings {
            crash_at: (0..60).map(|n| 3 + n * 7).collect(),
            ..Settings::default()
        };
        let broken = run(&plan, seed, &Faults::NONE, &settings);
        assert!(broken.figures.crashes > 3);
    }
}

#[test]
fn each_act_done_twice_ends_the_same() {
    for seed in 0..20 {
        let Some(plan) = Drawn::new(seed).unwrap().plan() else {
            continue;
        };
        for faults in [Faults::NONE, Faults::LASTING] {
            let once = run(&plan, seed, &faults, &Settings::default());
            let settings = Settings {
                twice: true,
                ..Settings::default()
            };
            let twice = run(&plan, seed, &faults, &settings);
            assert_eq!(ends(&once), ends(&twice), "seed {seed}");
        }
    }
}

#[test]
fn every_intent_is_written_before_its_end() {
    let plan = Drawn::new(2).unwrap().plan().unwrap();
    let rehearsal = run(&plan, 2, &Faults::MANY, &Settings::default());
    let mut begun = BTreeMap::new();
    for event in &rehearsal.events {
        match &event.kind {
            EventKind::ActStarted {
                host, act, attempt, ..
            } => {
                begun.insert(host.clone(), (*act, *attempt));
            }
            EventKind::ActEnded {
                host, act, attempt, ..
            } => {
                assert_eq!(begun.remove(host), Some((*act, *attempt)));
            }
            _ => {}
        }
    }
}
