//! Claims about the executor, each run against scripted hands and a clock of its own.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a script names what it answers otherwise, and nothing else"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use mailkeep_model::{
    Act, ActFailure, ActOutcome, Actor, CallOff, Drain, Event, EventKind, HostName, HostState,
    Lane, PackageChange, Plan, PlanId, PlanStep, PlannedRegion, PlannedService, PlannedWindow,
    Precheck, Proof, Realm, RegionName, RolloutOutcome, RolloutPolicy, ServiceName, Stage,
    Timestamp, Variant, Wave,
};

use super::{ApplyError, Do, Executor, WaitsFor};
use crate::Order;

const MX: &str = "inbound-mx";

pub(super) fn at(minutes: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH
        .checked_add(SignedDuration::from_hours(400_000) + SignedDuration::from_mins(minutes))
        .unwrap()
}

pub(super) fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub(super) fn plan_id() -> PlanId {
    PlanId::new("sha256:00").unwrap()
}

/// The usual rules, but that nothing begins before its time.
fn by_the_clock() -> RolloutPolicy {
    let mut policy = RolloutPolicy::default();
    policy.emergency.early = false;
    policy
}

/// One region, one service. Each step: host, stage, start in minutes; half an hour each, a wave for
/// each stage, a window from 0 to `closes`.
pub(crate) fn plan_of(steps: &[(&str, Stage, i64)], minimum: u32, closes: Option<i64>) -> Plan {
    let region = RegionName::new("eu").unwrap();
    let service = ServiceName::new(MX).unwrap();
    let window = closes.map(|closes| PlannedWindow {
        opens: at(0),
        closes: at(closes),
    });
    let mut stages: Vec<Stage> = steps.iter().map(|step| step.1).collect();
    stages.sort();
    stages.dedup();
    let waves = stages
        .iter()
        .map(|&stage| {
            let starts = || {
                steps
                    .iter()
                    .filter(|step| step.1 == stage)
                    .map(|step| step.2)
            };
            Wave {
                region: region.clone(),
                stage,
                start: at(starts().min().unwrap()),
                end: at(starts().max().unwrap() + 30),
                window,
            }
        })
        .collect();
    let mut sorted: Vec<_> = steps.to_vec();
    sorted.sort_by_key(|step| (step.2, step.0.to_owned()));
    Plan {
        format: Plan::FORMAT,
        realm: Realm::Drill,
        generation: 1,
        parent: None,
        made_at: at(-60),
        tzdb: "2026b".to_owned(),
        lane: Lane::Emergency,
        overriding: None,
        retries: BTreeSet::new(),
        bulletin: Vec::new(),
        title: "a test".to_owned(),
        policy: by_the_clock(),
        regions: BTreeMap::from([(
            region.clone(),
            PlannedRegion {
                time_zone: "Europe/Berlin".to_owned(),
                owner: None,
                pilot: true,
                windows: Vec::new(),
            },
        )]),
        services: BTreeMap::from([(
            service.clone(),
            PlannedService {
                hosts: BTreeMap::from([(
                    region.clone(),
                    steps.iter().map(|step| host(step.0)).collect(),
                )]),
                minimum: BTreeMap::from([(region.clone(), minimum)]),
                minimum_total: None,
                after: BTreeSet::new(),
                probe: None,
            },
        )]),
        out_of_service: BTreeSet::new(),
        variants: vec![Variant {
            family: "postfix".to_owned(),
            platform: "Debian:12".to_owned(),
            packages: vec![PackageChange {
                name: "postfix".to_owned(),
                from: "1".to_owned(),
                to: "2".to_owned(),
            }],
            recipe: None,
            whole_cluster: false,
            mitigates: BTreeMap::new(),
        }],
        waves,
        steps: sorted
            .iter()
            .map(|step| PlanStep {
                host: host(step.0),
                region: region.clone(),
                owner: None,
                wave: u32::try_from(stages.iter().position(|&stage| stage == step.1).unwrap())
                    .unwrap(),
                variant: 0,
                start: at(step.2),
                end: at(step.2 + 30),
                services: BTreeSet::from([service.clone()]),
                drain: Drain::SynRefusal,
                precheck: Precheck {
                    facts_as_of: at(-60),
                    free_mib: 100,
                },
                proof: Proof {
                    ports: BTreeSet::from([25]),
                    probes: BTreeSet::new(),
                },
                after: BTreeSet::new(),
                risk: 1,
                deadline: None,
            })
            .collect(),
    }
}

fn done() -> ActOutcome {
    ActOutcome::Done { seen: Vec::new() }
}

fn failed(kind: ActFailure) -> ActOutcome {
    ActOutcome::Failed {
        kind,
        detail: "as scripted".to_owned(),
    }
}

/// What scripted hands answer: host, act, attempt.
type Hands<'a> = dyn FnMut(&str, Act, u32) -> ActOutcome + 'a;

struct Bench {
    executor: Executor,
    journal: Vec<Event>,
    now: Timestamp,
    /// Orders under way, each a minute long.
    open: Vec<(Timestamp, Order)>,
}

impl Bench {
    fn new(plan: Plan) -> Self {
        let mut bench = Self {
            executor: Executor::new(plan_id(), Arc::new(plan), 1),
            journal: Vec::new(),
            now: at(-30),
            open: Vec::new(),
        };
        bench.note(EventKind::RolloutStarted {
            plan: plan_id(),
            by: actor(),
        });
        bench
    }

    fn note(&mut self, kind: EventKind) {
        let event = Event {
            at: self.now,
            realm: Realm::Drill,
            kind,
        };
        self.executor.apply(&event).unwrap();
        self.journal.push(event);
    }

    /// Performs what is due now, and ends what has run its minute.
    fn tick(&mut self, hands: &mut Hands<'_>) {
        let (ended, open) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|(end, _)| *end <= self.now);
        self.open = open;
        for (_, order) in ended {
            let result = hands(order.host().unwrap().as_str(), order.act, order.attempt);
            self.note(order.ended(result).unwrap());
        }
        loop {
            let due = self.executor.poll(self.now);
            assert_eq!(self.executor.overlooked(&due, self.now), None);
            let mut again = false;
            for what in due {
                match what {
                    Do::Record(kind) => {
                        again = true;
                        self.note(kind);
                    }
                    Do::Order(order) => {
                        assert!(self.open.iter().all(|(_, other)| other.step != order.step));
                        self.note(order.started().unwrap());
                        let end = self.now + SignedDuration::from_mins(1);
                        self.open.push((end, order));
                    }
                }
            }
            if !again {
                break;
            }
        }
    }

    /// Goes on until nothing is due any more.
    fn run(&mut self, hands: &mut Hands<'_>) {
        for _ in 0..10_000 {
            self.tick(hands);
            let ends = self.open.iter().map(|open| open.0);
            let Some(next) = ends.chain(self.executor.next_wake(self.now)).min() else {
                return;
            };
            assert!(next > self.now);
            self.now = next;
        }
        unreachable!("it does not end");
    }

    fn until(&mut self, time: Timestamp, hands: &mut Hands<'_>) {
        while self.now < time {
            self.tick(hands);
            let ends = self.open.iter().map(|open| open.0);
            let next = ends.chain(self.executor.next_wake(self.now)).min();
            self.now = next.unwrap_or(time).min(time);
        }
        self.tick(hands);
    }

    fn state(&self, name: &str) -> HostState {
        self.executor.state_of(&host(name)).unwrap()
    }

    /// When an act was first begun on a host, in minutes.
    fn begun(&self, name: &str, wanted: Act) -> Option<i64> {
        self.journal.iter().find_map(|event| match &event.kind {
            EventKind::ActStarted { host, act, .. } if host.as_str() == name && *act == wanted => {
                Some(event.at.duration_since(at(0)).as_mins())
            }
            _ => None,
        })
    }

    fn acts(&self, name: &str) -> Vec<&'static str> {
        let begun = self.journal.iter().filter_map(|event| match &event.kind {
            EventKind::ActStarted { host, act, .. } if host.as_str() == name => Some(act.name()),
            _ => None,
        });
        begun.collect()
    }

    fn called_off(&self, name: &str) -> Option<(CallOff, String)> {
        self.journal.iter().find_map(|event| match &event.kind {
            EventKind::HostCalledOff {
                host,
                reason,
                detail,
                ..
            } if host.as_str() == name => Some((*reason, detail.clone())),
            _ => None,
        })
    }
}

fn actor() -> Actor {
    Actor {
        name: "ines".to_owned(),
        team: None,
    }
}

const GOOD: [&str; 10] = [
    "precheck",
    "lease",
    "drain",
    "await-empty",
    "save",
    "patch",
    "prove",
    "return",
    "recheck",
    "release",
];

#[test]
fn a_good_run_takes_every_act_once_and_in_order() {
    let mut bench = Bench::new(plan_of(&[("mx1", Stage::Test, 0)], 0, Some(240)));
    bench.run(&mut |_, _, _| done());
    assert_eq!(bench.acts("mx1"), GOOD);
    assert_eq!(bench.state("mx1"), HostState::Proven);
    assert_eq!(bench.executor.outcome(), Some(RolloutOutcome::Proven));
}

#[test]
fn a_host_is_looked_at_early_and_drained_never_before_its_start() {
    let mut bench = Bench::new(plan_of(&[("mx1", Stage::Test, 0)], 0, Some(240)));
    bench.run(&mut |_, _, _| done());
    assert_eq!(bench.begun("mx1", Act::Precheck), Some(-10));
    assert_eq!(bench.begun("mx1", Act::Lease), Some(0));
    assert_eq!(bench.begun("mx1", Act::Drain), Some(1));
}

#[test]
fn a_host_is_looked_at_when_those_before_it_are_at_work() {
    let steps = [("mx1", Stage::Test, 0), ("mx2", Stage::Rest, 0)];
    let mut plan = plan_of(&steps, 0, Some(240));
    let lane = &mut plan.policy.emergency;
    (lane.soak_test_minutes, lane.soak_pilot_minutes) = (0, 0);
    lane.soak_wave_minutes = 0;
    let mut bench = Bench::new(plan);
    bench.run(&mut |_, _, _| done());
    assert_eq!(
        bench.begun("mx2", Act::Precheck),
        bench.begun("mx1", Act::Patch)
    );
    // As soon as the look after its return was good.
    let rechecked = bench.begun("mx1", Act::Recheck).unwrap() + 1;
    assert_eq!(bench.begun("mx2", Act::Lease), Some(rechecked));
    assert_eq!(bench.executor.outcome(), Some(RolloutOutcome::Proven));
}

#[test]
fn a_host_that_runs_the_target_is_not_touched() {
    let mut bench = Bench::new(plan_of(&[("mx1", Stage::Test, 0)], 0, Some(240)));
    bench.run(&mut |_, _, _| ActOutcome::AlreadyDone { seen: Vec::new() });
    assert_eq!(bench.acts("mx1"), ["precheck"]);
    assert_eq!(bench.state("mx1"), HostState::Proven);
}

#[test]
fn the_last_of_a_service_is_never_drained() {
    let mut bench = Bench::new(plan_of(&[("mx1", Stage::Test, 0)], 1, Some(240)));
    bench.run(&mut |_, _, _| done());
    assert_eq!(bench.acts("mx1"), ["precheck"]);
    assert_eq!(bench.state("mx1"), HostState::Untouched);
    let (reason, detail) = bench.called_off("mx1").unwrap();
    assert_eq!(reason, CallOff::WindowPassed);
    assert!(
        detail.contains("the minimum of inbound-mx in eu: 0 would stay, 1 must"),
        "{detail}"
    );
    assert_eq!(bench.executor.outcome(), Some(RolloutOutcome::Partly));
}

#[test]
fn two_hosts_due_at_once_go_one_after_the_other_where_one_must_stay() {
    let steps = [("mx1", Stage::Rest, 0), ("mx2", Stage::Rest, 0)];
    let mut bench = Bench::new(plan_of(&steps, 1, Some(240)));
    bench.run(&mut |_, _, _| done());
    let (first, second) = (
        bench.begun("mx1", Act::Lease),
        bench.begun("mx2", Act::Lease),
    );
    // Lease to return are seven acts of a minute.
    assert_eq!((first, second), (Some(0), Some(8 - 1)));
    assert_eq!(bench.executor.outcome(), Some(RolloutOutcome::Proven));
}

#[test]
fn where_the_lane_lets_it_a_step_begins_early_but_not_before_its_window_and_those_before_it() {
    let steps = [
        ("test", Stage::Test, 60),
        ("mx1", Stage::Rest, 120),
        ("mx2", Stage::Rest, 180),
    ];
    let mut plan = plan_of(&steps, 2, Some(300));
    plan.policy.emergency.early = true;
    plan.policy.emergency.soak_test_minutes = 5;
    let mut bench = Bench::new(plan);
    bench.run(&mut |_, _, _| done());
    // The window opens at 0.
    assert_eq!(bench.begun("test", Act::Lease), Some(0));
    let (first, second) = (
        bench.begun("mx1", Act::Lease).unwrap(),
        bench.begun("mx2", Act::Lease).unwrap(),
    );
    // Its test host must be proven, and soaked, first; then one of two may go at a time.
    assert!(first > 7 + 5 && first < 60, "{first}");
    assert!(second >= first + 7 && second < 100, "{second}");
    assert_eq!(bench.executor.outcome(), Some(RolloutOutcome::Proven));
}

#[test]
fn hosts_isolated_by_hand_count_as_gone() {
    let steps = [("mx1", Stage::Rest, 0), ("mx2", Stage::Rest, 200)];
    let mut bench = Bench::new(plan_of(&steps, 1, Some(240)));
    bench.note(EventKind::HostIsolated {
        host: host("mx2"),
        by: actor(),
        reason: "smoke".to_owned(),
        below_minimum: false,
    });
    bench.until(at(10), &mut |_, _, _| done());
    assert_eq!(bench.state("mx1"), HostState::Ready);
    assert!(matches!(
        bench.executor.waits_for(0, bench.now),
        Some(WaitsFor::Minimum {
            stay: 0,
            minimum: 1,
            ..
        })
    ));
    bench.note(EventKind::HostReleased {
        host: host("mx2"),
        by: actor(),
    });
    bench.until(at(11), &mut |_, _, _| done());
    assert_eq!(bench.state("mx1"), HostState::Draining);
}

/// What `mx1`, alone with one other server under a minimum of one, comes to after what was kept.
fn beside(out_by_plan: bool, left_out: bool, released: i64) -> HostState {
    let mut plan = plan_of(&[("mx1", Stage::Rest, 0)], 1, Some(240));
    for service in plan.services.values_mut() {
        for hosts in service.hosts.values_mut() {
            hosts.insert(host("mx2"));
        }
    }
    if out_by_plan {
        plan.out_of_service.insert(host("mx2"));
    }
    let mut bench = Bench::new(plan);
    if left_out {
        bench.executor.keep_out([&host("mx2")], at(-30));
    }
    let kinds = [
        EventKind::HostIsolated {
            host: host("mx2"),
            by: actor(),
            reason: "smoke".to_owned(),
            below_minimum: false,
        },
        EventKind::HostReleased {
            host: host("mx2"),
            by: actor(),
        },
    ];
    for kind in kinds {
        let event = Event {
            at: at(released),
            realm: Realm::Drill,
            kind,
        };
        bench.executor.apply(&event).unwrap();
    }
    bench.until(at(10), &mut |_, _, _| done());
    bench.state("mx1")
}

#[test]
fn an_old_release_lets_no_host_in_that_was_found_out_of_service_since() {
    assert_eq!(beside(true, false, -90 * 24 * 60), HostState::Ready);
    assert_eq!(beside(false, true, -90 * 24 * 60), HostState::Ready);
    assert_ne!(beside(false, false, -90 * 24 * 60), HostState::Ready);
    assert_ne!(beside(true, true, -10), HostState::Ready);
}

#[test]
fn no_more_hosts_at_a_time_than_the_policy_allows() {
    let steps = [
        ("mx1", Stage::Rest, 0),
        ("mx2", Stage::Rest, 0),
        ("mx3", Stage::Rest, 0),
    ];
    let mut plan = plan_of(&steps, 0, Some(240));
    plan.policy.parallel_region = Some(2);
    let mut bench = Bench::new(plan);
    bench.until(at(2), &mut |_, _, _| done());
    assert_eq!(bench.state("mx3"), HostState::Ready);
    assert_eq!(
        bench.executor.waits_for(2, bench.now),
        Some(WaitsFor::ParallelRegion { limit: 2 })
    );
    bench.run(&mut |_, _, _| done());
    assert_eq!(bench.executor.outcome(), Some(RolloutOutcome::Proven));
}

#[test]
fn the_rest_waits_for_test_and_pilot_and_their_soaks() {
    let steps = [
        ("mx1", Stage::Test, 0),
        ("mx2", Stage::Pilot, 1),
        ("mx3", Stage::Rest, 2),
    ];
    let mut bench = Bench::new(plan_of(&steps, 0, None));
    bench.run(&mut |_, _, _| done());
    let returned = |bench: &Bench, name: &str| bench.begun(name, Act::Return).unwrap() + 1;
    let emergency = RolloutPolicy::default().emergency;
    // Proven is after the watch of a wave's soak and the recheck; nobody waits for the release.
    let watched = i64::from(emergency.soak_wave_minutes) + 1;
    let pilot = bench.begun("mx2", Act::Lease).unwrap();
    let soak = i64::from(emergency.soak_test_minutes).max(watched);
    assert_eq!(pilot, returned(&bench, "mx1") + soak);
    let rest = bench.begun("mx3", Act::Lease).unwrap();
    let soak = i64::from(emergency.soak_pilot_minutes).max(watched);
    assert_eq!(rest, returned(&bench, "mx2") + soak);
    // Looked at once, shortly before its turn.
    assert_eq!(bench.acts("mx3")[..2], ["precheck", "lease"]);
    assert_eq!(bench.begun("mx3", Act::Precheck), Some(rest - 10));
    assert_eq!(bench.executor.outcome(), Some(RolloutOutcome::Proven));
}

#[test]
fn a_failed_proof_goes_back_proves_that_and_keeps_the_change_from_all_others() {
    let steps = [("mx1", Stage::Test, 0), ("mx2", Stage::Rest, 60)];
    let mut bench = Bench::new(plan_of(&steps, 0, Some(240)));
    bench.run(&mut |_, act, _| match act {
        Act::Prove => failed(ActFailure::ServiceDown),
        _ => done(),
    });
    let mut expected = GOOD[..7].to_vec();
    expected.extend(["roll-back", "prove-old", "return", "release"]);
    assert_eq!(bench.acts("mx1"), expected);
    assert_eq!(bench.state("mx1"), HostState::RolledBack);
    assert_eq!(bench.acts("mx2"), [""; 0]);
    let (reason, detail) = bench.called_off("mx2").unwrap();
    assert_eq!(reason, CallOff::ChangeQuarantined);
    assert!(detail.contains("service-down: as scripted"), "{detail}");
    assert_eq!(bench.executor.outcome(), Some(RolloutOutcome::Partly));
}

#[test]
fn a_proof_that_nobody_can_take_rolls_nothing_back() {
    let steps = [("mx1", Stage::Rest, 0), ("mx2", Stage::Rest, 60)];
    let mut plan = plan_of(&steps, 0, Some(240));
    plan.policy.wave_failures = 1;
    let mut bench = Bench::new(plan);
    bench.run(&mut |host, act, _| match (host, act) {
        ("mx1", Act::Prove) => ActOutcome::NotYet {
            why: "nobody could look for the probe".to_owned(),
        },
        _ => done(),
    });
    // Out of service until somebody looks, with what may well be a good patch, which others get.
    assert_eq!(bench.state("mx1"), HostState::Held);
    assert!(!bench.acts("mx1").contains(&"roll-back"));
    assert_eq!(bench.state("mx2"), HostState::Proven);
}

#[test]
fn a_change_that_failed_is_taken_from_hosts_on_their_way_to_it() {
    let steps = [("mx1", Stage::Rest, 0), ("mx2", Stage::Rest, 0)];
    let mut bench = Bench::new(plan_of(&steps, 0, Some(240)));
    bench.run(&mut |host, act, _| match (host, act) {
        ("mx1", Act::Patch) => failed(ActFailure::PackageManager),
        ("mx2", Act::AwaitEmpty) => ActOutcome::NotYet {
            why: "one session".to_owned(),
        },
        _ => done(),
    });
    assert_eq!(bench.state("mx1"), HostState::RolledBack);
    assert_eq!(bench.state("mx2"), HostState::Untouched);
    assert_eq!(
        bench.called_off("mx2").unwrap().0,
        CallOff::ChangeQuarantined
    );
    assert!(!bench.acts("mx2").contains(&"patch"));
    assert!(bench.acts("mx2").ends_with(&["return", "release"]));
}

#[test]
fn more_failures_than_a_wave_bears_pause_what_is_not_begun() {
    let steps = [("mx1", Stage::Rest, 0), ("mx2", Stage::Rest, 60)];
    let mut plan = plan_of(&steps, 0, Some(240));
    // Another change, so that the quarantine does not answer first.
    let mut other = plan.variants[0].clone();
    other.family = "exim".to_owned();
    plan.variants.push(other);
    plan.steps[1].variant = 1;
    let mut bench = Bench::new(plan);
    let mut hands = |host: &str, act: Act, _: u32| match (host, act) {
        ("mx1", Act::Prove) => failed(ActFailure::RunsOldCode),
        _ => done(),
    };
    bench.until(at(90), &mut hands);
    assert_eq!(bench.state("mx2"), HostState::Waiting);
    let reason = bench.executor.paused().unwrap();
    assert!(
        reason.starts_with("wave-failures: 1 host of wave 0"),
        "{reason}"
    );
    bench.note(EventKind::RolloutResumed {
        plan: plan_id(),
        by: actor(),
    });
    bench.run(&mut hands);
    assert_eq!(bench.state("mx2"), HostState::Proven);
}

#[test]
fn a_host_that_somebody_changes_after_its_proof_stays_proven_and_pauses_the_rest() {
    let steps = [("mx1", Stage::Rest, 0), ("mx2", Stage::Rest, 180)];
    let mut bench = Bench::new(plan_of(&steps, 0, Some(240)));
    let mut hands = |host: &str, act: Act, _: u32| match (host, act) {
        ("mx1", Act::Recheck) => failed(ActFailure::ConfigurationChanged),
        _ => done(),
    };
    bench.until(at(190), &mut hands);
    assert_eq!(bench.acts("mx1"), GOOD);
    assert_eq!(bench.state("mx1"), HostState::Proven);
    assert_eq!(bench.state("mx2"), HostState::Waiting);
    let reason = bench.executor.paused().unwrap();
    assert!(
        reason.starts_with("changed-by-others: mx1: configuration-changed"),
        "{reason}"
    );
    let view = bench.executor.states().next().unwrap();
    assert!(view.why.unwrap().starts_with("configuration-changed"));
    bench.note(EventKind::RolloutResumed {
        plan: plan_id(),
        by: actor(),
    });
    bench.run(&mut hands);
    assert_eq!(bench.state("mx2"), HostState::Proven);
    assert_eq!(bench.executor.outcome(), Some(RolloutOutcome::Proven));
}

#[test]
fn a_host_that_somebody_changes_before_its_patch_is_let_go_and_no_other_waits_for_it() {
    for kind in [
        ActFailure::ConfigurationChanged,
        // Newer than the plan's, say: it is not taken back.
        ActFailure::UnexpectedVersion,
    ] {
        let steps = [("mx1", Stage::Rest, 0), ("mx2", Stage::Rest, 60)];
        let mut bench = Bench::new(plan_of(&steps, 0, Some(240)));
        bench.run(&mut |host, act, _| match (host, act) {
            ("mx1", Act::Patch) => failed(kind),
            _ => done(),
        });
        assert_eq!(bench.state("mx1"), HostState::Untouched);
        assert!(bench.acts("mx1").ends_with(&["patch", "return", "release"]));
        assert_eq!(bench.state("mx2"), HostState::Proven);
    }
}

#[test]
fn another_version_after_the_proof_is_neither_proven_nor_taken_back() {
    let mut bench = Bench::new(plan_of(&[("mx1", Stage::Rest, 0)], 0, Some(240)));
    bench.run(&mut |_, act, _| match act {
        Act::Recheck => failed(ActFailure::UnexpectedVersion),
        _ => done(),
    });
    assert_eq!(bench.state("mx1"), HostState::Unproven);
    assert!(!bench.acts("mx1").contains(&"roll-back"));
}

#[test]
fn what_others_did_to_a_host_after_its_proof_takes_no_patch_back() {
    let others = [
        failed(ActFailure::DiskFull),
        failed(ActFailure::MitigationGone),
        failed(ActFailure::PackageManager),
        failed(ActFailure::RunsOldCode),
        ActOutcome::NotYet {
            why: "another package manager is at work".to_owned(),
        },
    ];
    for found in others {
        let mut bench = Bench::new(plan_of(&[("mx1", Stage::Rest, 0)], 0, Some(240)));
        bench.run(&mut |_, act, _| match act {
            Act::Recheck => found.clone(),
            _ => done(),
        });
        assert_eq!(bench.state("mx1"), HostState::Unproven, "{found:?}");
        assert!(!bench.acts("mx1").contains(&"roll-back"), "{found:?}");
    }
}

#[test]
fn the_same_before_the_return_is_the_patchs_own_failure() {
    for kind in [
        ActFailure::DiskFull,
        ActFailure::MitigationGone,
        ActFailure::PackageManager,
        ActFailure::RunsOldCode,
    ] {
        let mut bench = Bench::new(plan_of(&[("mx1", Stage::Rest, 0)], 0, Some(240)));
        bench.run(&mut |_, act, _| match act {
            Act::Prove => failed(kind),
            _ => done(),
        });
        assert_eq!(bench.state("mx1"), HostState::RolledBack, "{kind:?}");
    }
}

#[test]
fn a_paused_rollout_ends_when_its_windows_have_passed() {
    let mut bench = Bench::new(plan_of(&[("mx1", Stage::Test, 0)], 0, Some(240)));
    bench.note(EventKind::RolloutPaused {
        plan: plan_id(),
        by: actor(),
        reason: "a storm".to_owned(),
    });
    bench.run(&mut |_, _, _| done());
    let (reason, detail) = bench.called_off("mx1").unwrap();
    assert_eq!(reason, CallOff::WindowPassed);
    assert_eq!(detail, "it waited for the rollout to be resumed");
    assert_eq!(bench.executor.outcome(), Some(RolloutOutcome::Partly));
}

#[test]
fn an_abort_ends_what_is_changed_and_takes_back_what_is_not() {
    let steps = [
        ("mx1", Stage::Rest, 0),
        ("mx2", Stage::Rest, 3),
        ("mx3", Stage::Rest, 60),
    ];
    let mut bench = Bench::new(plan_of(&steps, 0, Some(240)));
    bench.until(at(5), &mut |_, _, _| done());
    assert_eq!(bench.state("mx1"), HostState::Proving);
    assert_eq!(bench.state("mx2"), HostState::Emptying);
    bench.note(EventKind::RolloutAborted {
        plan: plan_id(),
        by: actor(),
        reason: "enough".to_owned(),
    });
    bench.run(&mut |_, _, _| done());
    assert_eq!(bench.state("mx1"), HostState::Proven);
    assert_eq!(bench.state("mx2"), HostState::Untouched);
    assert_eq!(bench.acts("mx3"), [""; 0]);
    assert_eq!(bench.executor.outcome(), Some(RolloutOutcome::Aborted));
}

#[test]
fn an_abort_keeps_a_host_from_its_patch_up_to_the_last_moment() {
    let mut bench = Bench::new(plan_of(&[("mx1", Stage::Rest, 0)], 0, Some(240)));
    bench.until(at(4), &mut |_, act, _| {
        assert_ne!(act, Act::Patch);
        done()
    });
    // Its way back is saved, and the controller dies before it begins the patch.
    let saved = bench
        .journal
        .iter()
        .position(|event| matches!(event.kind, EventKind::ActEnded { act: Act::Save, .. }));
    bench.journal.truncate(saved.unwrap() + 1);
    bench.open.clear();
    bench.executor = Executor::new(plan_id(), Arc::clone(bench.executor.plan()), 2);
    for event in &bench.journal {
        bench.executor.apply(event).unwrap();
    }
    assert_eq!(bench.state("mx1"), HostState::Patching);
    bench.note(EventKind::RolloutAborted {
        plan: plan_id(),
        by: actor(),
        reason: "no longer approved".to_owned(),
    });
    bench.run(&mut |_, _, _| done());
    // Nothing was changed, so nothing is taken back: what others did there meanwhile is theirs.
    assert!(bench.acts("mx1").ends_with(&["save", "return", "release"]));
    assert_eq!(bench.called_off("mx1").unwrap().0, CallOff::Aborted);
    assert_eq!(bench.state("mx1"), HostState::Untouched);
    assert_eq!(bench.executor.outcome(), Some(RolloutOutcome::Aborted));
}

#[test]
fn a_host_that_waits_for_one_not_proven_is_called_off() {
    let steps = [("mx1", Stage::Rest, 0), ("store1", Stage::Rest, 60)];
    let mut plan = plan_of(&steps, 0, Some(240));
    plan.steps[1].after = BTreeSet::from([host("mx1")]);
    let mut bench = Bench::new(plan.clone());
    bench.run(&mut |host, act, _| match (host, act) {
        ("mx1", Act::Precheck) => failed(ActFailure::UnexpectedVersion),
        _ => done(),
    });
    assert_eq!(bench.state("mx1"), HostState::Untouched);
    assert_eq!(
        bench.called_off("store1").unwrap().0,
        CallOff::DependencyNotProven
    );

    plan.steps[1].start = at(0);
    let mut bench = Bench::new(plan);
    bench.run(&mut |_, _, _| done());
    assert_eq!(bench.begun("store1", Act::Lease), Some(8 - 1));
    assert_eq!(bench.executor.outcome(), Some(RolloutOutcome::Proven));
}

#[test]
fn a_host_that_fails_in_service_is_drained_again_before_it_goes_back() {
    let mut bench = Bench::new(plan_of(&[("mx1", Stage::Test, 0)], 0, Some(240)));
    bench.run(&mut |_, act, _| match act {
        Act::Recheck => failed(ActFailure::ProbeLost),
        _ => done(),
    });
    let acts = bench.acts("mx1");
    assert_eq!(
        acts[8..],
        [
            "recheck",
            "drain",
            "await-empty",
            "roll-back",
            "prove-old",
            "return",
            "release"
        ]
    );
    assert_eq!(bench.state("mx1"), HostState::RolledBack);
}

#[test]
fn a_host_that_fails_in_service_waits_until_its_service_can_spare_it() {
    // mx1 soaks while mx2 is out; one must stay.
    let steps = [("mx1", Stage::Rest, 0), ("mx2", Stage::Rest, 15)];
    let mut bench = Bench::new(plan_of(&steps, 1, Some(240)));
    let mut hands = |host: &str, act: Act, attempt: u32| match (host, act) {
        ("mx1", Act::Recheck) => failed(ActFailure::ProbeLost),
        // mx2 is on its way, past what a quarantine takes back.
        ("mx2", Act::Prove) if attempt < 10 => ActOutcome::NotYet {
            why: "the probe is under way".to_owned(),
        },
        _ => done(),
    };
    bench.until(at(26), &mut hands);
    assert_eq!(bench.state("mx1"), HostState::DrainingAgain);
    assert_eq!(bench.state("mx2"), HostState::Proving);
    assert!(matches!(
        bench.executor.waits_for(0, bench.now),
        Some(WaitsFor::Minimum { .. })
    ));
    bench.run(&mut hands);
    assert_eq!(bench.state("mx1"), HostState::RolledBack);
    assert_eq!(bench.state("mx2"), HostState::Proven);
}

#[test]
fn a_host_that_can_never_be_spared_stays_and_says_so() {
    let steps = [("mx1", Stage::Rest, 0), ("mx2", Stage::Rest, 10)];
    let mut bench = Bench::new(plan_of(&steps, 1, Some(240)));
    bench.run(&mut |host, act, _| match (host, act) {
        ("mx2", Act::Prove | Act::RollBack) => failed(ActFailure::ServiceDown),
        ("mx1", Act::Recheck) => failed(ActFailure::ProbeLost),
        _ => done(),
    });
    assert_eq!(bench.state("mx2"), HostState::Held);
    assert_eq!(bench.state("mx1"), HostState::Unproven);
    assert_eq!(
        bench.called_off("mx1").unwrap().0,
        CallOff::MinimumInService
    );
    assert_eq!(bench.executor.outcome(), Some(RolloutOutcome::Partly));
}

#[test]
fn a_host_that_can_go_neither_forward_nor_back_is_held() {
    let mut bench = Bench::new(plan_of(&[("mx1", Stage::Test, 0)], 0, Some(240)));
    bench.run(&mut |_, act, _| match act {
        Act::Patch | Act::RollBack => failed(ActFailure::PackageManager),
        _ => done(),
    });
    assert_eq!(bench.state("mx1"), HostState::Held);
    assert!(bench.acts("mx1").ends_with(&["patch", "roll-back"]));
    let view = bench.executor.states().next().unwrap();
    assert_eq!(view.why, Some("package-manager: as scripted"));
}

#[test]
fn a_host_that_vanishes_in_mid_patch_is_held_only_after_the_way_back_was_tried() {
    let mut bench = Bench::new(plan_of(&[("mx1", Stage::Test, 0)], 0, Some(240)));
    bench.run(&mut |_, act, _| match act {
        Act::Patch | Act::RollBack => failed(ActFailure::Unreachable),
        _ => done(),
    });
    assert_eq!(bench.state("mx1"), HostState::Held);
    let acts = bench.acts("mx1");
    assert_eq!(acts.iter().filter(|act| **act == "patch").count(), 12);
    assert_eq!(acts.iter().filter(|act| **act == "roll-back").count(), 12);
}

#[test]
fn a_host_that_reboots_in_mid_patch_goes_on() {
    let mut bench = Bench::new(plan_of(&[("mx1", Stage::Test, 0)], 0, Some(240)));
    bench.run(&mut |_, act, attempt| match act {
        Act::Patch if attempt < 6 => failed(ActFailure::Unreachable),
        _ => done(),
    });
    assert_eq!(bench.state("mx1"), HostState::Proven);
}

#[test]
fn what_cannot_be_reached_before_it_is_touched_is_left_alone_and_counts_as_gone() {
    let steps = [("mx1", Stage::Rest, 0), ("mx2", Stage::Rest, 30)];
    let mut bench = Bench::new(plan_of(&steps, 1, Some(240)));
    bench.run(&mut |host, _, _| match host {
        "mx1" => failed(ActFailure::Unreachable),
        _ => done(),
    });
    assert_eq!(bench.acts("mx1"), ["precheck"; 12]);
    assert_eq!(bench.state("mx1"), HostState::Untouched);
    assert_eq!(bench.called_off("mx2").unwrap().0, CallOff::WindowPassed);
}

#[test]
fn the_last_ask_says_so_and_an_endless_session_backs_out() {
    let mut bench = Bench::new(plan_of(&[("mx1", Stage::Test, 0)], 0, Some(240)));
    bench.run(&mut |_, act, _| match act {
        Act::AwaitEmpty => ActOutcome::NotYet {
            why: "one session".to_owned(),
        },
        _ => done(),
    });
    assert_eq!(bench.state("mx1"), HostState::Untouched);
    assert!(
        bench
            .acts("mx1")
            .ends_with(&["await-empty", "return", "release"])
    );
    let view = bench.executor.states().next().unwrap();
    assert_eq!(view.why, Some("not-yet: one session"));
}

#[test]
fn somebody_elses_hands_end_ours() {
    let mut bench = Bench::new(plan_of(&[("mx1", Stage::Test, 0)], 0, Some(240)));
    bench.run(&mut |_, act, _| match act {
        Act::Save => failed(ActFailure::LeaseLost),
        _ => done(),
    });
    assert_eq!(bench.state("mx1"), HostState::Held);
    assert!(bench.acts("mx1").ends_with(&["save"]));
}

#[test]
fn a_cluster_is_patched_together_or_not_at_all() {
    let steps = [("st1", Stage::Rest, 0), ("st2", Stage::Rest, 0)];
    let mut plan = plan_of(&steps, 0, Some(240));
    plan.variants[0].whole_cluster = true;
    let mut bench = Bench::new(plan.clone());
    bench.run(&mut |host, act, attempt| match (host, act) {
        ("st1", Act::AwaitEmpty) if attempt < 5 => ActOutcome::NotYet {
            why: "one session".to_owned(),
        },
        _ => done(),
    });
    assert_eq!(
        bench.begun("st1", Act::Patch),
        bench.begun("st2", Act::Patch)
    );
    assert_eq!(bench.executor.outcome(), Some(RolloutOutcome::Proven));

    let mut bench = Bench::new(plan.clone());
    bench.run(&mut |host, act, _| match (host, act) {
        ("st1", Act::Prove) => failed(ActFailure::ServiceDown),
        _ => done(),
    });
    assert_eq!(bench.state("st1"), HostState::RolledBack);
    assert_eq!(bench.state("st2"), HostState::RolledBack);

    // One waits before its patch for the other, which never comes so far.
    let mut bench = Bench::new(plan.clone());
    bench.run(&mut |host, act, attempt| match (host, act) {
        ("st1", Act::AwaitEmpty) if attempt < 5 => ActOutcome::NotYet {
            why: "one session".to_owned(),
        },
        ("st1", Act::Save) => failed(ActFailure::DiskFull),
        _ => done(),
    });
    assert_eq!(bench.called_off("st2").unwrap().0, CallOff::ClusterBroken);
    assert!(bench.acts("st2").ends_with(&["save", "return", "release"]));
    assert_eq!(bench.state("st1"), HostState::Untouched);
    assert_eq!(bench.state("st2"), HostState::Untouched);

    // A patch that was begun, however far it came, is taken back.
    let mut bench = Bench::new(plan.clone());
    bench.run(&mut |host, act, _| match (host, act) {
        ("st1", Act::Patch) => failed(ActFailure::PackageManager),
        ("st2", Act::Patch) => failed(ActFailure::Unreachable),
        _ => done(),
    });
    assert_eq!(bench.called_off("st2").unwrap().0, CallOff::ClusterBroken);
    assert!(bench.acts("st2").contains(&"roll-back"));
    assert_eq!(bench.state("st2"), HostState::RolledBack);

    let mut bench = Bench::new(plan);
    bench.run(&mut |host, act, _| match (host, act) {
        ("st1", Act::Precheck) => failed(ActFailure::DiskFull),
        _ => done(),
    });
    assert_eq!(bench.acts("st2"), ["precheck"]);
    assert_eq!(bench.called_off("st2").unwrap().0, CallOff::ClusterBroken);
}

#[test]
fn a_pause_lets_a_cluster_end_of_which_one_is_drained() {
    let steps = [("st1", Stage::Rest, 0), ("st2", Stage::Rest, 0)];
    let mut plan = plan_of(&steps, 0, Some(240));
    plan.variants[0].whole_cluster = true;
    let pause = EventKind::RolloutPaused {
        plan: plan_id(),
        by: actor(),
        reason: "tea".to_owned(),
    };
    let mut hands = |host: &str, act: Act, attempt: u32| match (host, act) {
        ("st2", Act::Lease) if attempt < 5 => ActOutcome::NotYet {
            why: "the lease file is being written".to_owned(),
        },
        _ => done(),
    };
    let mut bench = Bench::new(plan.clone());
    bench.until(at(3), &mut hands);
    assert!(bench.state("st1").is_out_of_service());
    assert_eq!(bench.state("st2"), HostState::Leasing);
    bench.note(pause.clone());
    bench.run(&mut hands);
    assert_eq!(bench.state("st1"), HostState::Proven);
    assert_eq!(bench.state("st2"), HostState::Proven);

    // As long as none of them is out of service, none is begun.
    let mut bench = Bench::new(plan);
    bench.until(at(0), &mut hands);
    bench.note(pause);
    bench.until(at(60), &mut hands);
    assert_eq!(bench.begun("st1", Act::Drain), None);
    assert_eq!(bench.begun("st2", Act::Drain), None);
    assert_eq!(
        bench.executor.waits_for(0, bench.now),
        Some(WaitsFor::Paused)
    );
}

#[test]
fn an_act_without_an_end_is_begun_again_by_the_next_controller_only() {
    let plan = plan_of(&[("mx1", Stage::Test, 0)], 0, Some(240));
    let mut bench = Bench::new(plan.clone());
    bench.until(at(4), &mut |_, _, _| done());
    assert_eq!(bench.state("mx1"), HostState::Patching);
    assert!(bench.executor.poll(at(200)).is_empty());

    let mut next = Executor::new(plan_id(), Arc::new(plan), 2);
    for event in &bench.journal {
        next.apply(event).unwrap();
    }
    let due = next.poll(bench.now);
    let [Do::Order(order)] = &due[..] else {
        unreachable!("{due:?}")
    };
    assert_eq!((order.act, order.attempt, order.fence), (Act::Patch, 2, 2));
    assert!(next.poll(bench.now).is_empty());

    let event = |kind| Event {
        at: at(6),
        realm: Realm::Drill,
        kind,
    };
    let late = event(bench.open[0].1.ended(done()).unwrap());
    next.apply(&event(order.started().unwrap())).unwrap();
    // The old controller's answer, and whatever else it begins, come too late.
    let stale = Err(ApplyError::Stale { host: host("mx1") });
    assert_eq!(next.apply(&late), stale);
    assert_eq!(
        next.apply(&event(bench.open[0].1.started().unwrap())),
        stale
    );
    assert_eq!(next.state_of(&host("mx1")), Some(HostState::Patching));
    next.apply(&event(order.ended(done()).unwrap())).unwrap();
    assert_eq!(next.state_of(&host("mx1")), Some(HostState::Proving));

    // And the old one sees that it was replaced.
    let started = event(order.started().unwrap());
    bench.executor.apply(&started).unwrap();
    assert_eq!(bench.executor.taken_over_by(), Some(2));
    assert!(bench.executor.poll(at(300)).is_empty());
}

#[test]
fn events_of_other_plans_and_of_the_other_realm_change_nothing() {
    let mut bench = Bench::new(plan_of(&[("mx1", Stage::Test, 0)], 0, Some(240)));
    let abort = |plan: &str, realm| Event {
        at: at(0),
        realm,
        kind: EventKind::RolloutAborted {
            plan: PlanId::new(plan).unwrap(),
            by: actor(),
            reason: String::new(),
        },
    };
    bench
        .executor
        .apply(&abort("sha256:01", Realm::Drill))
        .unwrap();
    bench
        .executor
        .apply(&abort("sha256:00", Realm::Live))
        .unwrap();
    assert_eq!(bench.executor.aborted(), None);
    bench
        .executor
        .apply(&abort("sha256:00", Realm::Drill))
        .unwrap();
    assert!(bench.executor.aborted().is_some());
}
