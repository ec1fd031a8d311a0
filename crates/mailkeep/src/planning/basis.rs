//! What a plan is made from: findings, facts, and how far earlier plans came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context as _;
use jiff::SignedDuration;
use mailkeep_model::{
    Act, ActOutcome, EventKind, Fleet, HostFacts, HostName, HostState, Lifecycle, NotPlanned,
    NotPlannedReason, Plan, PlanId, RecordedEvent, ScanFailure, ScanFailureKind, Timestamp,
    Variant,
};
use mailkeep_plan::{HostWork, variant_of};
use mailkeep_rollout::Executor;
use mailkeep_store::{SqliteStore, Store, StoreError};

use super::kept;
use super::whereabouts::{Told, last_told};
use crate::answer::Answer;
use crate::app::{App, LoadedFleet};
use crate::check::{self, Terms, check};
use crate::cli::Scope;
use crate::commands::check::{at_one_moment, subjects};
use crate::commands::feeds;
use crate::shield::Cover;

/// Plans looked at for what became of their hosts, newest first.
const MAX_PLANS: usize = 500;

/// An answer, and the facts it was made from.
#[derive(Debug)]
pub struct Basis {
    /// The answer, as `mailkeep check` gives it.
    pub answer: Answer,
    /// The newest facts of each host.
    pub facts: BTreeMap<HostName, HostFacts>,
    /// Hosts of which the last scan failed, of the whole fleet whatever hosts were asked for: who is
    /// down counts for no minimum.
    pub failures: BTreeMap<HostName, ScanFailure>,
}

/// Judges the fleet's hosts by what is stored, as `mailkeep check` does. Nothing is recorded.
pub fn basis(
    app: &App,
    store: &mut SqliteStore,
    fleet: &LoadedFleet,
    hosts: &[HostName],
) -> anyhow::Result<Basis> {
    feeds::import_local(app, store, fleet)?;
    let scope = Scope {
        hosts: hosts.to_vec(),
        ..Scope::default()
    };
    let key = fleet.scope();
    let store: &SqliteStore = store;
    at_one_moment(store, || {
        let subjects = subjects(app, store, &scope, Some(fleet))?;
        let names = subjects.iter().map(|subject| &subject.name).collect();
        let terms = Terms {
            now: app.now,
            scope: fleet.path.display().to_string(),
            fleet: &fleet.file.fleet,
            policy: &fleet.file.policy,
            all: false,
            only: None,
            last: store.findings_of(&key)?,
            earlier: check::earlier(store, &key, &key, &names)?,
            cover: Cover::default(),
        };
        let answer = check(store, &subjects, &terms)?;
        let mut facts = BTreeMap::new();
        let mut failures = BTreeMap::new();
        for subject in subjects {
            if let Some(failure) = subject.failure {
                failures.insert(subject.name.clone(), failure);
            }
            if let Some(seen) = subject.facts {
                facts.insert(subject.name, seen);
            }
        }
        add_failures(store, &fleet.file.fleet, &mut failures)?;
        Ok(Basis {
            answer,
            facts,
            failures,
        })
    })
}

/// Adds the failed scans of running hosts that were not asked for.
pub fn add_failures(
    store: &dyn Store,
    fleet: &Fleet,
    failures: &mut BTreeMap<HostName, ScanFailure>,
) -> Result<(), StoreError> {
    for (name, host) in &fleet.hosts {
        // A host described by a file is not scanned.
        let scanned = host.lifecycle == Lifecycle::Running && host.facts.is_none();
        if !scanned || failures.contains_key(name) {
            continue;
        }
        if let Some(failure) = store.scan_of(name)?.failure {
            failures.insert(name.clone(), failure);
        }
    }
    Ok(())
}

/// How a kept plan stands.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Its id.
    pub id: PlanId,
    /// The plan.
    pub plan: Plan,
    /// Whether it was started.
    pub started: bool,
    /// Whether it has ended.
    pub ended: bool,
    /// Hosts that came to an end, with their state and since when.
    pub hosts: BTreeMap<HostName, (HostState, Option<Timestamp>)>,
    /// Hosts that were drained, or may have been.
    pub drained: BTreeSet<HostName>,
    /// Hosts on which the change failed, whatever became of them, and when it did.
    pub failed: BTreeMap<HostName, Timestamp>,
    /// How long each host was out of service, from its drain to its return.
    pub out_of_service: BTreeMap<HostName, SignedDuration>,
}

/// How a plan stands by its journal.
pub fn progress(store: &dyn Store, id: &PlanId, plan: Plan) -> anyhow::Result<Progress> {
    let events = store.events_of_plan(id, 0)?;
    let plan = Arc::new(plan);
    let mut executor = Executor::new(id.clone(), Arc::clone(&plan), u64::MAX);
    let mut drained = BTreeSet::new();
    let mut failed = BTreeMap::new();
    for recorded in &events {
        // A line that does not fit is the executor's to tell of; what it leaves is what is known.
        let _told_by_the_rollout = executor.apply(&recorded.event);
        match &recorded.event.kind {
            EventKind::ActStarted {
                host,
                act: Act::Drain,
                ..
            } => {
                drained.insert(host.clone());
            }
            EventKind::ActEnded { host, .. } if executor.change_failed_on(host) => {
                failed.entry(host.clone()).or_insert(recorded.event.at);
            }
            _ => {}
        }
    }
    let hosts = executor
        .states()
        .filter(|view| view.state.is_end())
        .map(|view| (view.host.clone(), (view.state, view.since)))
        .collect();
    let out_of_service = out_of_service_for(&events);
    let (started, ended) = (executor.is_started(), executor.outcome().is_some());
    drop(executor);
    Ok(Progress {
        id: id.clone(),
        plan: Arc::unwrap_or_clone(plan),
        started,
        ended,
        hosts,
        drained,
        failed,
        out_of_service,
    })
}

fn out_of_service_for(events: &[RecordedEvent]) -> BTreeMap<HostName, SignedDuration> {
    let mut drained: BTreeMap<&HostName, Timestamp> = BTreeMap::new();
    let mut out = BTreeMap::new();
    for recorded in events {
        let at = recorded.event.at;
        match &recorded.event.kind {
            EventKind::ActStarted {
                host,
                act: Act::Drain,
                ..
            } => {
                drained.entry(host).or_insert(at);
            }
            EventKind::ActEnded {
                host,
                act: Act::Return,
                result: ActOutcome::Done { .. } | ActOutcome::AlreadyDone { .. },
                ..
            } => {
                if let Some(since) = drained.remove(host) {
                    out.insert(host.clone(), at.duration_since(since));
                }
            }
            _ => {}
        }
    }
    out
}

/// Minutes, begun ones counted.
fn minutes_begun(length: SignedDuration) -> u32 {
    u32::try_from(length.as_mins().saturating_add(1)).unwrap_or(u32::MAX)
}

/// Steps of a family from which what was seen says more than the policy's allotment.
const ENOUGH: usize = 5;

/// Newest steps looked at: an older one was on other hosts, or other versions.
const NEWEST: usize = 50;

/// Minutes to allot to a host of a family, from this fleet's own rollouts: nine of ten of the newest
/// steps took no longer than two thirds of it. `None` where too little was seen.
///
/// One slow night, or a controller that was down meanwhile, must not make a family too slow for every
/// window: the slowest step never counts, and it is at most four times what the policy allots.
pub fn minutes_of(family: &str, plans: &[Progress], allotted: u32) -> Option<u32> {
    let proven = outages(family, plans).filter(|(state, _)| *state == Some(HostState::Proven));
    let newest = proven.take(NEWEST);
    allotment(
        newest.map(|(_, length)| minutes_begun(length)).collect(),
        allotted,
    )
}

/// How long each host of a family was out of service, those of the first plan first, and in which state it
/// ended.
pub fn outages<'p>(
    family: &'p str,
    plans: &'p [Progress],
) -> impl Iterator<Item = (Option<HostState>, SignedDuration)> + 'p {
    plans.iter().flat_map(move |plan| {
        let of_family = plan.out_of_service.iter().filter(move |(host, _)| {
            change_of(&plan.plan, host).is_some_and(|change| change.family == family)
        });
        of_family.map(|(host, length)| (plan.hosts.get(host).map(|end| end.0), *length))
    })
}

fn allotment(mut seen: Vec<u32>, allotted: u32) -> Option<u32> {
    /// A host that was looked at for a moment was not proven by a message.
    const LEAST: u32 = 5;
    if seen.len() < ENOUGH {
        return None;
    }
    seen.sort_unstable();
    let usual = *seen.get((seen.len() * 9 / 10).checked_sub(1)?)?;
    let with_reserve = usual.saturating_add(usual.div_ceil(2)).max(LEAST);
    Some(with_reserve.min(allotted.saturating_mul(4).max(LEAST)))
}

/// How every kept plan stands that can still matter, newest first.
pub fn all_progress(store: &dyn Store) -> anyhow::Result<Vec<Progress>> {
    let mut all = Vec::new();
    for entry in store.plans()?.into_iter().take(MAX_PLANS) {
        let kept = kept::by_id(store, &entry.id)?.context("a plan went away")?;
        all.push(progress(store, &kept.id, kept.plan)?);
    }
    Ok(all)
}

/// Hosts on which earlier plans did what is to be done now, and proved it after the facts of the host
/// were seen: what a newer scan still finds is work again.
pub fn proven(fleet: &Fleet, work: &[HostWork], plans: &[Progress]) -> BTreeSet<HostName> {
    let is_proven = |item: &&HostWork| {
        let change = variant_of(fleet, item);
        plans.iter().any(|plan| {
            matches!(plan.hosts.get(&item.host), Some((HostState::Proven, Some(at)))
                if *at > item.facts_as_of)
                && change_of(&plan.plan, &item.host) == Some(&change)
        })
    };
    let proven = work.iter().filter(is_proven);
    proven.map(|item| item.host.clone()).collect()
}

/// Changes that failed on a host, with that host: they are set aside, for every host, until they are
/// proven on the same host afterwards, or by a plan that a person ordered to try them again. `plans` are
/// newest first.
pub fn failed(plans: &[Progress]) -> BTreeMap<Variant, HostName> {
    // In the order in which it happened; a plan may be carried out after a newer one.
    let mut told: Vec<(Timestamp, &Progress, &HostName, bool)> = Vec::new();
    for plan in plans.iter().rev() {
        for (host, (state, since)) in &plan.hosts {
            if *state == HostState::Proven {
                told.push((since.unwrap_or(plan.plan.made_at), plan, host, true));
            }
        }
        let failed = plan.failed.iter();
        told.extend(failed.map(|(host, at)| (*at, plan, host, false)));
    }
    told.sort_by_key(|(at, ..)| *at);
    let mut failed: BTreeMap<Variant, (&HostName, &PlanId)> = BTreeMap::new();
    for (_, plan, host, is_proven) in told {
        let Some(change) = change_of(&plan.plan, host) else {
            continue;
        };
        // A plan that tries again what failed lifts no failure of its own.
        let lifts = |(on, by): &(&HostName, &PlanId)| {
            *on == host || plan.plan.retries.contains(*on) && **by != plan.id
        };
        if !is_proven {
            failed.insert(change.clone(), (host, &plan.id));
        } else if failed.get(change).is_some_and(lifts) {
            failed.remove(change);
        }
    }
    let failed = failed.into_iter();
    failed
        .map(|(change, (host, _))| (change, host.clone()))
        .collect()
}

/// What a plan was to change on a host.
pub fn change_of<'p>(plan: &'p Plan, host: &HostName) -> Option<&'p Variant> {
    let step = plan.step_of(host)?;
    plan.variants.get(usize::try_from(step.variant).ok()?)
}

/// Hosts that another plan has: one that was started and has not ended. Plans of the same lineage do
/// not count; they are what the new one replaces.
pub fn elsewhere(plans: &[Progress], lineage: &BTreeSet<PlanId>) -> BTreeMap<HostName, PlanId> {
    let mut elsewhere = BTreeMap::new();
    for plan in plans {
        if !plan.started || plan.ended || lineage.contains(&plan.id) {
            continue;
        }
        for step in &plan.plan.steps {
            if !plan.hosts.contains_key(&step.host) {
                elsewhere.insert(step.host.clone(), plan.id.clone());
            }
        }
    }
    elsewhere
}

/// Hosts that are not in service: isolated by hand, held by a rollout, or not answering at all.
pub fn out_of_service(
    store: &dyn Store,
    failures: &BTreeMap<HostName, ScanFailure>,
    plans: &[Progress],
) -> anyhow::Result<BTreeSet<HostName>> {
    // A host released once may be down today, so what was done by hand is replayed by itself.
    let by_hand = store.isolation_events()?;
    let mut out = isolated(&by_hand);
    let down = failures.iter().filter(|(_, failure)| is_down(failure));
    out.extend(down.map(|(host, _)| host.clone()));
    let mut released = BTreeMap::new();
    for recorded in by_hand {
        if let EventKind::HostReleased { host, .. } = recorded.event.kind {
            released.insert(host, recorded.event.at);
        }
    }
    out.extend(left_out(plans.iter().flat_map(ends), &released));
    Ok(out)
}

/// Where a rollout left the hosts that came to an end in it.
fn ends(progress: &Progress) -> impl Iterator<Item = Told<'_>> {
    progress.hosts.iter().map(|(host, &(state, since))| Told {
        host,
        plan: &progress.id,
        drained: progress.drained.contains(host),
        state,
        at: since.unwrap_or(progress.plan.made_at),
    })
}

/// Hosts that rollouts have left out of service, held or unproven. The one that moved a host last says
/// where it left it, until somebody says that it is well again; the plan may be older than another.
fn left_out<'p>(
    ends: impl Iterator<Item = Told<'p>>,
    released: &BTreeMap<HostName, Timestamp>,
) -> BTreeSet<HostName> {
    let left = last_told(ends).into_values().filter(|told| {
        let is_well = released.get(told.host).is_some_and(|at| *at > told.at);
        told.state.is_out_of_service() && !is_well
    });
    left.map(|told| told.host.clone()).collect()
}

/// Hosts that are isolated after these events.
pub fn isolated(events: &[RecordedEvent]) -> BTreeSet<HostName> {
    let mut isolated = BTreeSet::new();
    for recorded in events {
        match &recorded.event.kind {
            EventKind::HostIsolated { host, .. } => {
                isolated.insert(host.clone());
            }
            EventKind::HostReleased { host, .. } => {
                isolated.remove(host);
            }
            _ => {}
        }
    }
    isolated
}

/// Whether nothing answers there. A host that only refuses us may well serve mail.
fn is_down(failure: &ScanFailure) -> bool {
    matches!(
        failure.kind,
        ScanFailureKind::TimedOut | ScanFailureKind::Unreachable
    )
}

/// Running hosts of which too little is known to plan anything, with why. Silence about them would pass
/// for safety.
pub fn not_known(basis: &Basis, fleet: &LoadedFleet, now: Timestamp) -> Vec<NotPlanned> {
    let fleet = &fleet.file.fleet;
    let max_age = fleet.facts_max_age.unwrap_or(Fleet::DEFAULT_FACTS_MAX_AGE);
    let mut left_out = Vec::new();
    for answer in &basis.answer.hosts {
        let running = fleet
            .hosts
            .get(&answer.name)
            .is_some_and(|host| host.lifecycle == Lifecycle::Running);
        if !running {
            continue;
        }
        let reason = if let Some(failure) = basis.failures.get(&answer.name) {
            NotPlannedReason::Unreachable {
                why: failure.to_string(),
            }
        } else if let Some(facts) = basis.facts.get(&answer.name) {
            if now.duration_since(facts.seen_at) <= max_age {
                continue;
            }
            NotPlannedReason::FactsTooOld {
                seen_at: facts.seen_at,
            }
        } else {
            NotPlannedReason::FactsMissing
        };
        left_out.push(NotPlanned {
            host: answer.name.clone(),
            reason,
        });
    }
    left_out
}

#[cfg(test)]
mod tests {
    use mailkeep_model::{Actor, Event, Realm};

    use super::*;

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    fn event(seconds: i64, kind: EventKind) -> RecordedEvent {
        RecordedEvent {
            seq: 1,
            event: Event {
                at: Timestamp::from_second(1_800_000_000 + seconds).unwrap(),
                realm: Realm::Live,
                kind,
            },
        }
    }

    fn acts(name: &str, from: i64, to: i64) -> [RecordedEvent; 2] {
        let plan = PlanId::new("sha256:00").unwrap();
        [
            event(
                from,
                EventKind::ActStarted {
                    plan: plan.clone(),
                    host: host(name),
                    act: Act::Drain,
                    attempt: 1,
                    fence: 1,
                },
            ),
            event(
                to,
                EventKind::ActEnded {
                    plan,
                    host: host(name),
                    act: Act::Return,
                    attempt: 1,
                    fence: 1,
                    result: ActOutcome::Done { seen: Vec::new() },
                },
            ),
        ]
    }

    #[test]
    fn time_out_of_service_is_counted_from_the_first_drain_to_the_return() {
        let mut events = acts("mx1", 0, 119).to_vec();
        // A second attempt to drain is the same time out of service.
        events.insert(1, acts("mx1", 30, 0)[0].clone());
        events.extend(acts("mx2", 0, 600));
        // One that never came back has no length.
        events.push(acts("mx3", 0, 0)[0].clone());
        events.push(event(
            5,
            EventKind::HostReleased {
                host: host("mx3"),
                by: Actor {
                    name: "anna".to_owned(),
                    team: None,
                },
            },
        ));
        let minutes: BTreeMap<HostName, u32> = out_of_service_for(&events)
            .into_iter()
            .map(|(host, length)| (host, minutes_begun(length)))
            .collect();
        assert_eq!(
            minutes,
            [(host("mx1"), 2), (host("mx2"), 11)].into_iter().collect()
        );
    }

    #[test]
    fn an_outage_counts_for_the_family_of_its_host_alone() {
        let plans = (0..).filter_map(|seed| {
            mailkeep_drill::fleets::Drawn::new(seed)
                .unwrap()
                .planned()
                .plan
        });
        let of_several = |plan: &Plan| {
            let first = &plan.variants[0].family;
            plan.variants.iter().any(|variant| variant.family != *first)
        };
        let plan = plans.into_iter().find(of_several).unwrap();
        let hosts = plan.steps.iter().map(|step| step.host.clone());
        let out_of_service: BTreeMap<_, _> = (1..)
            .zip(hosts)
            .map(|(minutes, host)| (host, SignedDuration::from_mins(minutes)))
            .collect();
        let family = plan.variants[0].family.clone();
        let mine = plan.steps.iter().map(|step| &step.host);
        let mine = mine.filter(|host| change_of(&plan, host).unwrap().family == family);
        let expected: BTreeSet<_> = mine.map(|host| out_of_service[host]).collect();
        assert!(expected.len() < out_of_service.len());
        let progress = Progress {
            id: PlanId::new("sha256:00").unwrap(),
            plan,
            started: true,
            ended: true,
            hosts: BTreeMap::new(),
            drained: BTreeSet::new(),
            failed: BTreeMap::new(),
            out_of_service,
        };
        let plans = [progress];
        let found: BTreeSet<_> = outages(&family, &plans).map(|(_, length)| length).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_few_steps_say_nothing() {
        assert_eq!(minutes_of("exim", &[], 30), None);
        assert_eq!(allotment(vec![10; 4], 30), None);
    }

    #[test]
    fn one_slow_night_does_not_make_a_family_too_slow_for_every_window() {
        assert_eq!(allotment(vec![10; 5], 30), Some(15));
        assert_eq!(allotment(vec![10, 10, 600, 10, 10], 30), Some(15));
        let mut seen = vec![10; 45];
        seen.extend([600; 5]);
        assert_eq!(allotment(seen, 30), Some(15));
        // Where all were slow, the policy's word still bounds it.
        assert_eq!(allotment(vec![600; 50], 30), Some(120));
        assert_eq!(allotment(vec![1; 5], 30), Some(5));
    }

    fn failure(kind: ScanFailureKind) -> ScanFailure {
        ScanFailure {
            kind,
            detail: "no answer".to_owned(),
            at: Timestamp::from_second(1_800_000_000).unwrap(),
        }
    }

    #[test]
    fn the_rollout_that_moved_a_host_last_says_where_it_is() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let plans = ["sha256:00", "sha256:01"].map(|id| PlanId::new(id).unwrap());
        // Newest plan first; the older one was carried out later.
        let ends = [
            (0, "mx1", true, HostState::Proven, 10),
            (0, "mx2", true, HostState::Held, 10),
            // One only looked at it; of the other it came back as it was.
            (0, "mx3", false, HostState::Untouched, 90),
            (0, "mx6", true, HostState::Untouched, 90),
            (0, "mx4", true, HostState::Unproven, 10),
            (0, "mx5", true, HostState::Held, 10),
            (1, "mx1", true, HostState::Held, 20),
            (1, "mx2", true, HostState::Proven, 20),
            (1, "mx3", true, HostState::Held, 20),
            (1, "mx6", true, HostState::Held, 20),
        ];
        let ends = ends.map(|(plan, name, drained, state, second)| {
            (&plans[plan], host(name), drained, state, at(second))
        });
        let told = ends.iter().map(|(plan, host, drained, state, at)| Told {
            host,
            plan,
            drained: *drained,
            state: *state,
            at: *at,
        });
        let released = BTreeMap::from([(host("mx5"), at(11))]);
        let out = left_out(told, &released);
        assert_eq!(out, [host("mx1"), host("mx3"), host("mx4")].into());
    }

    #[test]
    fn a_host_that_was_released_once_and_is_down_now_is_out_of_service() {
        let mut store = SqliteStore::open_in_memory(Realm::Live).unwrap();
        let by = Actor {
            name: "anna".to_owned(),
            team: None,
        };
        let isolated = |name| EventKind::HostIsolated {
            host: host(name),
            by: by.clone(),
            reason: "a test".to_owned(),
            below_minimum: false,
        };
        let released = |name| EventKind::HostReleased {
            host: host(name),
            by: by.clone(),
        };
        let events = [
            isolated("mx1"),
            released("mx1"),
            isolated("mx2"),
            released("mx2"),
            isolated("mx3"),
        ];
        for (second, kind) in (0..).zip(events) {
            store.append_event(&event(second, kind).event).unwrap();
        }
        let failures = [(host("mx1"), failure(ScanFailureKind::Unreachable))].into();
        let out = out_of_service(&store, &failures, &[]).unwrap();
        assert_eq!(out, [host("mx1"), host("mx3")].into());
    }

    #[test]
    fn hosts_that_nobody_asked_for_are_known_to_be_down_all_the_same() {
        let mut store = SqliteStore::open_in_memory(Realm::Live).unwrap();
        let mut fleet = Fleet::default();
        for name in ["mx1", "mx2", "mx3"] {
            let declared = mailkeep_model::Host::default();
            fleet.hosts.insert(host(name), declared);
        }
        fleet.hosts.get_mut(&host("mx3")).unwrap().lifecycle = Lifecycle::Decommissioned;
        for name in ["mx2", "mx3"] {
            let failure = failure(ScanFailureKind::TimedOut);
            store.record_scan_failure(&host(name), &failure).unwrap();
        }
        let mut failures = BTreeMap::new();
        add_failures(&store, &fleet, &mut failures).unwrap();
        assert_eq!(failures.into_keys().collect::<Vec<_>>(), [host("mx2")]);
    }
}
