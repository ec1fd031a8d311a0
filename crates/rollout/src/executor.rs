//! The executor: from a plan and its journal to what is due now.
//!
//! Entry type: [`Executor`]. The caller, be it the real controller or a simulation, does four things:
//!
//! 1. builds it from the plan and applies every event of the journal, oldest first;
//! 2. asks [`Executor::poll`] what is due, at every event and at [`Executor::next_wake`];
//! 3. for a [`Do::Record`]: appends that event to the journal and applies it;
//! 4. for a [`Do::Order`]: appends [`Order::started`] and applies it, performs the order, appends
//!    [`Order::ended`] and applies that.
//!
//! A caller that cannot append must stop: what is not in the journal has not happened, and the next
//! controller knows nothing of it.
//!
//! **Invariant:** decides nothing that the plan has not decided, except to wait, to stop and to take
//! back. No clock, no file, no socket, no thread; the state is a fold over events and nothing else.

#![warn(clippy::wildcard_enum_match_arm)]

mod agenda;
mod fold;
mod gates;
mod progress;
#[cfg(test)]
mod properties;
mod roster;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use jiff::SignedDuration;
use mailkeep_model::{
    Act, Actor, CallOff, EventKind, HostName, HostState, Plan, PlanId, RolloutOutcome, Timestamp,
};

use crate::Order;
use crate::machine::{IllegalTransition, act_of, limits};
use agenda::Agenda;
use gates::{Hold, StageGate};
use progress::{Progress, VariantProgress, WaveProgress};
use roster::Roster;

pub use gates::WaitsFor;

/// How long before its turn, as far as that is known, a host is looked at for the first time: long enough
/// that a host which is not as the plan thinks is known before, short enough that the look still counts
/// then. Where its turn depends on what others do, it is looked at when they are at work.
pub const LOOK_AHEAD: SignedDuration = SignedDuration::from_mins(10);

/// A look older than this is repeated before anything is done.
pub const LOOK_LASTS: SignedDuration = SignedDuration::from_mins(30);

/// How much later than planned a step may begin even where it fills its window to the end: what
/// starting a process and asking a host takes.
pub const START_GRACE: SignedDuration = SignedDuration::from_mins(5);

/// How much later than planned a step may begin where windows do not hold. After a day the plan's
/// facts are another day's.
pub const LATEST_WITHOUT_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// What the caller of [`Executor::poll`] is to do.
#[derive(Debug, Clone)]
pub enum Do {
    /// Append this to the journal and apply it. Records come alone: what else is due depends on them,
    /// so apply all and poll again at once.
    Record(EventKind),
    /// Journal, perform, journal; see the module's head. Orders of one poll are for different hosts
    /// and may be performed side by side.
    Order(Order),
}

/// Why an event was not taken over. The state is as it was before; the caller notes it and goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It names a host that has no step in the plan.
    #[error("the plan has no step for {host}")]
    NoSuchHost {
        /// Which.
        host: HostName,
    },
    /// It belongs to no act that is under way: the late answer of an earlier try, or of a controller
    /// that was replaced.
    #[error("no such act is under way on {host}")]
    Stale {
        /// On which host.
        host: HostName,
    },
    /// An act that is not due in the host's state.
    #[error("{} is not due on {host}, which is {}", act.name(), state.name())]
    NotDue {
        /// On which host.
        host: HostName,
        /// Which act.
        act: Act,
        /// Its state.
        state: HostState,
    },
    /// The transition does not exist.
    #[error("the journal does not fit the state of {host}")]
    Illegal {
        /// Of which host.
        host: HostName,
        /// Which.
        #[source]
        source: IllegalTransition,
    },
}

/// A plan being executed.
#[derive(Debug, Clone)]
pub struct Executor {
    plan_id: PlanId,
    plan: Arc<Plan>,
    fence: u64,
    /// The highest one in the journal.
    seen_fence: u64,
    started: bool,
    paused: Option<String>,
    aborted: Option<String>,
    /// A host that somebody changed after its proof, and that nobody has looked at since.
    changed: Option<usize>,
    outcome: Option<RolloutOutcome>,
    /// By step.
    hosts: Vec<Progress>,
    by_name: BTreeMap<HostName, usize>,
    /// By step, the steps that must be proven before it.
    after: Vec<Vec<usize>>,
    waves: Vec<WaveProgress>,
    variants: Vec<VariantProgress>,
    clusters: Vec<Vec<usize>>,
    /// Each step's own place, so that a host without a cluster has a cluster of one.
    alone: Vec<usize>,
    roster: Roster,
    agenda: Agenda,
    /// Steps between their lease and their return, and how many there are by region and by team.
    working: BTreeSet<usize>,
    working_by_region: Vec<usize>,
    working_by_team: Vec<usize>,
    /// Hosts that have ended.
    ended: usize,
    /// Something happened after which hosts that wait may have to be called off.
    unsettled: bool,
}

/// Where one host stands.
#[derive(Debug, Clone)]
pub struct HostView<'a> {
    /// Which.
    pub host: &'a HostName,
    /// Place of its step in [`Plan::steps`].
    pub step: usize,
    /// Its state.
    pub state: HostState,
    /// Since when; `None` while it waits.
    pub since: Option<Timestamp>,
    /// How often the act of this state was begun.
    pub attempt: u32,
    /// Whether an act is under way.
    pub busy: bool,
    /// What led it off the good path: stable name, colon, detail.
    pub why: Option<&'a str>,
    /// What went wrong last, in the same form.
    pub trouble: Option<&'a str>,
}

impl Executor {
    /// An executor that has seen no event. `fence` is this controller's number, higher than that of
    /// every controller before it: acts begun under a lower one and never ended are ordered again.
    pub fn new(plan_id: PlanId, plan: Arc<Plan>, fence: u64) -> Self {
        let mut roster = Roster::new(&plan);
        let (mut regions, mut teams) = (BTreeMap::new(), BTreeMap::new());
        let mut hosts = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            let next = regions.len();
            let region = *regions.entry(&step.region).or_insert(next);
            let next = teams.len();
            let team = step.owner.as_ref();
            let team = team.map(|team| *teams.entry(team).or_insert(next));
            hosts.push(Progress::new(roster.entry(&step.host), region, team));
        }
        let (regions, teams) = (regions.len(), teams.len());
        let clusters = progress::clusters_of(&plan);
        for (at, members) in clusters.iter().enumerate() {
            for &member in members {
                if let Some(host) = hosts.get_mut(member) {
                    host.cluster = Some(at);
                }
            }
        }
        let by_name: BTreeMap<HostName, usize> = plan
            .steps
            .iter()
            .enumerate()
            .map(|(at, step)| (step.host.clone(), at))
            .collect();
        // A host without a step was proven by an earlier plan, or this one would not name it.
        let after = plan.steps.iter().map(|step| {
            let known = step.after.iter().filter_map(|host| by_name.get(host));
            known.copied().collect()
        });
        let starts = (0..plan.steps.len()).map(|at| gates::due_at(&plan, at));
        Self {
            plan_id,
            fence,
            seen_fence: 0,
            started: false,
            paused: None,
            aborted: None,
            changed: None,
            outcome: None,
            after: after.collect(),
            by_name,
            waves: progress::waves_of(&plan),
            variants: progress::variants_of(&plan),
            clusters,
            alone: (0..plan.steps.len()).collect(),
            roster,
            agenda: Agenda::new(starts.map(look_at)),
            working: BTreeSet::new(),
            working_by_region: vec![0; regions],
            working_by_team: vec![0; teams],
            ended: 0,
            unsettled: true,
            hosts,
            plan,
        }
    }

    /// Notes hosts that other rollouts have left out of service, as found at a time: they count for no
    /// minimum until they are released by hand after it.
    pub fn keep_out<'h>(
        &mut self,
        hosts: impl IntoIterator<Item = &'h HostName>,
        found: Timestamp,
    ) {
        for host in hosts {
            self.roster.keep_out(host, found);
        }
    }

    /// What is due. Each order is handed out once; until its end is applied there is no other for its
    /// host. Empty until [`EventKind::RolloutStarted`] was applied and after
    /// [`EventKind::RolloutEnded`] was, and for good once a higher fence was seen.
    pub fn poll(&mut self, now: Timestamp) -> Vec<Do> {
        if !self.started || self.outcome.is_some() || self.taken_over_by().is_some() {
            return Vec::new();
        }
        self.agenda.wake(now);
        let records = self.records(now);
        if records.is_empty() {
            self.unsettled = false;
            self.orders(now).into_iter().map(Do::Order).collect()
        } else {
            records.into_iter().map(Do::Record).collect()
        }
    }

    /// When to poll again even if nothing happens; `None` where only an event can make anything due.
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.started || self.outcome.is_some() || self.taken_over_by().is_some() {
            return None;
        }
        self.agenda.next_wake(now)
    }

    /// A host on which something is due that the last [`Self::poll`], whose answer this is, did not hand
    /// out: none, or there is an error here. For simulations; it looks at every host.
    pub fn overlooked(&self, answer: &[Do], now: Timestamp) -> Option<&HostName> {
        let is_record = |what: &Do| matches!(what, Do::Record(_));
        let is_over = self.outcome.is_some() || self.taken_over_by().is_some();
        if !self.started || is_over || answer.iter().any(is_record) {
            return None;
        }
        let at = (0..self.hosts.len())
            .find(|&at| self.due(at, now).is_ok() || self.call_off(at, now).is_some())?;
        Some(&self.plan.steps.get(at)?.host)
    }

    /// Takes back every order that [`Self::poll`] handed out and that was not begun: what is still due is
    /// handed out again.
    pub fn take_orders_back(&mut self) {
        for at in 0..self.hosts.len() {
            if let Some(host) = self.hosts.get_mut(at)
                && mem::take(&mut host.ordered)
            {
                self.count(at);
                self.agenda.mark(at);
            }
        }
    }

    /// Where each host stands, in the order of the plan's steps.
    pub fn states(&self) -> impl Iterator<Item = HostView<'_>> {
        self.hosts
            .iter()
            .zip(&self.plan.steps)
            .enumerate()
            .map(|(step, (progress, planned))| HostView {
                host: &planned.host,
                step,
                state: progress.state,
                since: progress.since,
                attempt: progress.attempt,
                busy: progress.busy(self.fence),
                why: progress.why.as_deref(),
                trouble: progress.trouble.as_deref(),
            })
    }

    /// Where one host stands.
    pub fn state_of(&self, host: &HostName) -> Option<HostState> {
        Some(self.hosts.get(*self.by_name.get(host)?)?.state)
    }

    /// Whether the plan's change failed on a host, whatever became of it. What others did to the host is
    /// no failure of it, nor is a proof that nobody could take.
    pub fn change_failed_on(&self, host: &HostName) -> bool {
        let at = self.by_name.get(host);
        at.and_then(|at| self.hosts.get(*at))
            .is_some_and(|host| host.change_failed)
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<RolloutOutcome> {
        self.outcome
    }

    /// Whether it was started.
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// The reason of the pause, while it is paused.
    pub fn paused(&self) -> Option<&str> {
        self.paused.as_deref()
    }

    /// Why it was aborted, where it was.
    pub fn aborted(&self) -> Option<&str> {
        self.aborted.as_deref()
    }

    /// The highest fencing number seen, where it is higher than this executor's: another controller has
    /// taken over, and this one must stop.
    pub fn taken_over_by(&self) -> Option<u64> {
        (self.seen_fence > self.fence).then_some(self.seen_fence)
    }

    /// The plan's id.
    pub fn plan_id(&self) -> &PlanId {
        &self.plan_id
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// This controller's number.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    fn records(&self, now: Timestamp) -> Vec<EventKind> {
        let call_off = |at| self.call_off(at, now);
        let mut records: Vec<EventKind> = if self.unsettled {
            (0..self.hosts.len()).filter_map(call_off).collect()
        } else {
            self.agenda.marked().filter_map(call_off).collect()
        };
        if self.unsettled {
            records.extend(self.pause());
        }
        if records.is_empty() && self.ended == self.hosts.len() {
            let proven = |host: &Progress| host.state == HostState::Proven;
            records.push(EventKind::RolloutEnded {
                plan: self.plan_id.clone(),
                outcome: if self.hosts.iter().all(proven) {
                    RolloutOutcome::Proven
                } else if self.aborted.is_some() {
                    RolloutOutcome::Aborted
                } else {
                    RolloutOutcome::Partly
                },
            });
        }
        records
    }

    /// The record that takes a host off the plan, where something asks for it and no act is under way.
    fn call_off(&self, at: usize, now: Timestamp) -> Option<EventKind> {
        let progress = self.hosts.get(at)?;
        if progress.state.is_end() || progress.busy(self.fence) {
            return None;
        }
        let (reason, detail) = self.calls_off(at, progress, now)?;
        Some(EventKind::HostCalledOff {
            plan: self.plan_id.clone(),
            host: self.plan.steps.get(at)?.host.clone(),
            reason,
            detail,
        })
    }

    fn calls_off(&self, at: usize, host: &Progress, now: Timestamp) -> Option<(CallOff, String)> {
        let unchanged = match host.state {
            HostState::Waiting
            | HostState::Prechecking
            | HostState::Ready
            | HostState::Leasing
            | HostState::Draining
            | HostState::Emptying
            | HostState::Saving => true,
            HostState::Patching => host.fresh(),
            HostState::Proving | HostState::Returning | HostState::Soaking => false,
            HostState::DrainingAgain => {
                let lacks = self.holds_second_drain(at)?;
                let waits = || {
                    self.in_words(at, Hold::Minimum(lacks))
                        .map(|it| it.to_string())
                };
                return self
                    .never_spared(at)
                    .then(|| (CallOff::MinimumInService, waits().unwrap_or_default()));
            }
            HostState::Releasing
            | HostState::EmptyingAgain
            | HostState::RollingBack
            | HostState::ProvingOld
            | HostState::ReturningOld
            | HostState::ReleasingOld
            | HostState::BackingOut
            | HostState::ReleasingUntouched
            | HostState::Proven
            | HostState::RolledBack
            | HostState::Untouched
            | HostState::Held
            | HostState::Unproven => return None,
        };
        if unchanged && let Some(why) = &self.aborted {
            return Some((CallOff::Aborted, why.clone()));
        }
        if unchanged && let Some(failed) = self.quarantined_by(at) {
            return Some((CallOff::ChangeQuarantined, self.failure_of(failed)));
        }
        if let Some(broken) = self.breaks_cluster(at) {
            return Some((CallOff::ClusterBroken, self.failure_of(broken)));
        }
        if host.state == HostState::Leasing || host.state == HostState::Draining && host.fresh() {
            return self.passed(at, now);
        }
        if !matches!(
            host.state,
            HostState::Waiting | HostState::Prechecking | HostState::Ready
        ) {
            return None;
        }
        for (other, state) in self.dependencies(at) {
            if state.is_end() && state != HostState::Proven {
                return Some((CallOff::DependencyNotProven, self.failure_of(other)));
            }
        }
        if let StageGate::Never(_, failed) = self.stage_gate(at) {
            return Some((CallOff::StageNotProven, self.failure_of(failed)));
        }
        self.passed(at, now)
    }

    fn passed(&self, at: usize, now: Timestamp) -> Option<(CallOff, String)> {
        (self.too_late_at(at) <= now).then(|| {
            let waited = self.waits_for(at, now);
            let waited = waited.map_or_else(
                || "it was not begun in time".to_owned(),
                |waited| format!("it waited for {waited}"),
            );
            (CallOff::WindowPassed, waited)
        })
    }

    /// The step on which this one's change failed, where that is another.
    fn quarantined_by(&self, at: usize) -> Option<usize> {
        let variant = self.plan.steps.get(at)?.variant;
        let failed = self.variants.get(variant as usize)?.failed_on?;
        (failed != at).then_some(failed)
    }

    /// A member of its cluster that was not begun, or failed.
    fn breaks_cluster(&self, at: usize) -> Option<usize> {
        self.cluster_of(at).iter().copied().find(|&member| {
            member != at
                && self.hosts.get(member).is_some_and(|host| {
                    host.change_failed
                        || matches!(
                            host.state,
                            HostState::BackingOut
                                | HostState::ReleasingUntouched
                                | HostState::Untouched
                                | HostState::RollingBack
                                | HostState::RolledBack
                                | HostState::Held
                                | HostState::Unproven
                        )
                })
        })
    }

    fn failure_of(&self, at: usize) -> String {
        let (Some(step), Some(host)) = (self.plan.steps.get(at), self.hosts.get(at)) else {
            return String::new();
        };
        let why = host.why.as_deref().or(host.trouble.as_deref());
        format!(
            "{} is {}: {}",
            step.host,
            host.state.name(),
            why.unwrap_or("no reason given")
        )
    }

    /// The record that pauses the rollout, where something happened that a person must know of before
    /// more hosts are begun, and there is anything left to stop.
    fn pause(&self) -> Option<EventKind> {
        if self.paused.is_some() || self.aborted.is_some() {
            return None;
        }
        let reason = self.wave_failures().or_else(|| self.changed_by_others())?;
        let left = self.hosts.iter().any(|host| {
            matches!(
                host.state,
                HostState::Waiting | HostState::Prechecking | HostState::Ready | HostState::Leasing
            )
        });
        left.then(|| EventKind::RolloutPaused {
            plan: self.plan_id.clone(),
            by: Actor {
                name: "mailkeep".to_owned(),
                team: None,
            },
            reason,
        })
    }

    /// A wave has more failures than it bears, and more than a person knew of when resuming.
    fn wave_failures(&self) -> Option<String> {
        let limit = self.plan.policy.wave_failures;
        let (at, wave) = self
            .waves
            .iter()
            .enumerate()
            .find(|(_, wave)| wave.failed > limit && wave.failed > wave.borne)?;
        let planned = self.plan.waves.get(at)?;
        let hosts = if wave.failed == 1 { "host" } else { "hosts" };
        Some(format!(
            "wave-failures: {} {hosts} of wave {at} ({} stage, {}) failed, {limit} may",
            wave.failed,
            planned.stage.name(),
            planned.region,
        ))
    }

    /// Somebody works on hosts by hand.
    fn changed_by_others(&self) -> Option<String> {
        let at = self.changed?;
        let (step, host) = (self.plan.steps.get(at)?, self.hosts.get(at)?);
        Some(format!(
            "changed-by-others: {}: {}",
            step.host,
            host.why.as_deref().unwrap_or_default()
        ))
    }

    fn orders(&mut self, now: Timestamp) -> Vec<Order> {
        let mut orders = Vec::new();
        // Whoever is in work comes first: what ends there makes room for others.
        let marked = self.agenda.take_marked();
        let (in_work, mut others): (BTreeSet<usize>, BTreeSet<usize>) =
            marked.into_iter().partition(|at| self.working.contains(at));
        for at in in_work {
            orders.extend(self.look(at, now));
        }
        let mut from = 0;
        loop {
            let marked = others.range(from..).next().copied();
            let with_room = self.agenda.next_with_room(from, |room| self.has_room(room));
            let Some(at) = marked.into_iter().chain(with_room).min() else {
                return orders;
            };
            from = at + 1;
            if let Some(order) = self.look(at, now) {
                orders.push(order);
                // The rest of its cluster needs less room now; who comes before it, at the next poll.
                for member in self.cluster_of(at).to_vec() {
                    if member < from {
                        self.agenda.mark(member);
                    } else {
                        others.insert(member);
                    }
                }
            }
        }
    }

    /// The order that is due on a host; where there is none, what it waits for is noted.
    fn look(&mut self, at: usize, now: Timestamp) -> Option<Order> {
        match self.due(at, now) {
            Ok(act) => {
                self.agenda.put(at, None, None);
                self.order(at, act)
            }
            Err(hold) => {
                let wake = self.wakes_at(at, now, hold);
                let in_work = self.hosts.get(at).is_some_and(Progress::in_work);
                let key = hold.filter(|_| !in_work);
                let key = key.and_then(|hold| self.key_of(at, hold));
                self.agenda.put(at, wake, key);
                // There are few of these, and what they wait for is no one thing.
                if in_work && hold.is_some() {
                    self.agenda.mark(at);
                }
                None
            }
        }
    }

    /// The act that is due on a host, or what holds it: nothing where it is busy, has ended, or waits
    /// for a moment before it tries again.
    fn due(&self, at: usize, now: Timestamp) -> Result<Act, Option<Hold>> {
        let host = self.hosts.get(at).ok_or(None)?;
        if host.busy(self.fence) || host.retry_at.is_some_and(|retry| now < retry) {
            return Err(None);
        }
        let act = act_of(host.state).ok_or(None)?;
        let hold = match host.state {
            HostState::Waiting => self.holds_look(at, now),
            HostState::Ready => {
                let hold = self.holds_start(at, now);
                if hold.is_none()
                    && host
                        .looked_at
                        .is_some_and(|looked| progress::later(looked, LOOK_LASTS) < now)
                {
                    return Ok(Act::Precheck);
                }
                hold
            }
            HostState::Draining => self.holds_drain(at),
            HostState::DrainingAgain => self.holds_second_drain(at).map(Hold::Minimum),
            // Two versions never run side by side in a cluster: its members are patched, and serve
            // again, together.
            HostState::Patching | HostState::Returning if host.fresh() => {
                self.runs_ahead(at, host.state).map(Hold::Cluster)
            }
            HostState::Prechecking
            | HostState::Leasing
            | HostState::Emptying
            | HostState::Saving
            | HostState::Patching
            | HostState::Proving
            | HostState::Returning
            | HostState::Soaking
            | HostState::Releasing
            | HostState::EmptyingAgain
            | HostState::RollingBack
            | HostState::ProvingOld
            | HostState::ReturningOld
            | HostState::ReleasingOld
            | HostState::BackingOut
            | HostState::ReleasingUntouched
            | HostState::Proven
            | HostState::RolledBack
            | HostState::Untouched
            | HostState::Held
            | HostState::Unproven => None,
        };
        if hold.is_some() { Err(hold) } else { Ok(act) }
    }

    /// Another member of its cluster that has not come as far as this.
    fn runs_ahead(&self, at: usize, state: HostState) -> Option<usize> {
        let place = |state: HostState| HostState::ALL.iter().position(|&known| known == state);
        self.cluster_of(at).iter().copied().find(|&member| {
            self.hosts
                .get(member)
                .is_some_and(|host| place(host.state) < place(state))
        })
    }

    fn order(&mut self, at: usize, act: Act) -> Option<Order> {
        let host = self.hosts.get_mut(at)?;
        let limits = limits(host.state)?;
        let attempt = if matches!(host.state, HostState::Waiting | HostState::Ready) {
            1
        } else {
            host.attempt.saturating_add(1)
        };
        host.ordered = true;
        let last = host.not_yet.saturating_add(1) >= limits.not_yet;
        self.count(at);
        Some(Order {
            plan_id: self.plan_id.clone(),
            plan: Arc::clone(&self.plan),
            step: at,
            act,
            attempt,
            fence: self.fence,
            limit: limits.answer,
            last,
        })
    }

    /// The next time at which something may be due on a host by time alone.
    fn wakes_at(&self, at: usize, now: Timestamp, hold: Option<Hold>) -> Option<Timestamp> {
        let host = self.hosts.get(at)?;
        if host.busy(self.fence) {
            return None;
        }
        let start = self.due_at(at);
        let mut times = vec![host.retry_at];
        match host.state {
            HostState::Waiting | HostState::Ready | HostState::Prechecking | HostState::Leasing => {
                times.extend([
                    Some(look_at(start)),
                    Some(start),
                    Some(self.too_late_at(at)),
                ]);
                if let Some(Hold::Soak(until)) = hold {
                    times.extend([Some(look_at(until)), Some(until)]);
                }
            }
            HostState::Draining => times.push(Some(self.too_late_at(at))),
            HostState::Emptying
            | HostState::Saving
            | HostState::Patching
            | HostState::Proving
            | HostState::Returning
            | HostState::Soaking
            | HostState::Releasing
            | HostState::DrainingAgain
            | HostState::EmptyingAgain
            | HostState::RollingBack
            | HostState::ProvingOld
            | HostState::ReturningOld
            | HostState::ReleasingOld
            | HostState::BackingOut
            | HostState::ReleasingUntouched
            | HostState::Proven
            | HostState::RolledBack
            | HostState::Untouched
            | HostState::Held
            | HostState::Unproven => {}
        }
        times.into_iter().flatten().filter(|&time| time > now).min()
    }

    /// Counts a host as its progress says: in the roster, and among those in work.
    fn count(&mut self, at: usize) {
        let Some(host) = self.hosts.get(at) else {
            return;
        };
        self.roster.set(host.entry, host.taken(), host.out());
        let team = host
            .team
            .and_then(|team| self.working_by_team.get_mut(team));
        let region = self.working_by_region.get_mut(host.region);
        let counters = team.into_iter().chain(region);
        if host.in_work() {
            if self.working.insert(at) {
                counters.for_each(|count| *count += 1);
            }
        } else if self.working.remove(&at) {
            counters.for_each(|count| *count = count.saturating_sub(1));
        }
    }
}

/// When a host is looked at that starts then.
fn look_at(start: Timestamp) -> Timestamp {
    start.checked_sub(LOOK_AHEAD).unwrap_or(start)
}
