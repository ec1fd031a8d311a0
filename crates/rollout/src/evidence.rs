//! What an auditor wants to know of a rollout, read from its plan, its approvals and its journal.
//!
//! Entry type: [`evidence`].
//!
//! **Invariant:** pure, and no second truth: whatever it says stands in one of the three.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use mailkeep_model::{
    Act, ActOutcome, AdvisoryId, Event, EventKind, HostName, HostState, Lane, Ledger,
    PackageChange, Plan, PlanId, Realm, RecordedEvent, RegionName, RolloutOutcome, ServiceName,
    Stage, TeamName, Timestamp,
};
use serde::Serialize;

use crate::executor::Executor;

/// Name of the form of [`Evidence`] as JSON.
pub const SCHEMA: &str = "mailkeep.rollout/1";

/// A rollout, accounted for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Live servers, or a rehearsal.
    pub realm: Realm,
    /// The plan's id.
    pub plan: PlanId,
    /// The plan it replaces.
    pub parent: Option<PlanId>,
    /// One line for a person.
    pub title: String,
    /// Its lane.
    pub lane: Lane,
    /// The advisories it answers.
    pub bulletin: Vec<AdvisoryId>,
    /// When the plan was made.
    pub made_at: Timestamp,
    /// As of when this was read.
    pub as_of: Timestamp,
    /// Where the rollout stands.
    pub state: RolloutState,
    /// Why it is paused or was aborted.
    pub reason: Option<String>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Who approved what.
    pub approvals: Vec<ApprovalEvidence>,
    /// What people, or the rollout itself, ordered, in order.
    pub orders: Vec<OrderEvidence>,
    /// Hosts in the order of the plan's steps.
    pub hosts: Vec<HostEvidence>,
    /// Messages through all services; `None` where none flowed.
    pub ledger: Option<Ledger>,
    /// Messages by service.
    pub ledger_by_service: BTreeMap<ServiceName, Ledger>,
    /// Events that fit no state of their host: printable.
    pub oddities: Vec<String>,
}

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutState {
    /// Nobody has started it.
    NotStarted,
    /// It starts what is due.
    Running,
    /// It starts nothing until it is resumed.
    Paused,
    /// It was aborted, and brings hosts in work to an end.
    Aborting,
    /// It ended: every host is proven.
    Proven,
    /// It ended by itself, and not every host is proven.
    Partly,
    /// Somebody stopped it, and it has ended.
    Aborted,
}

impl RolloutState {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::Aborting => "aborting",
            Self::NotStarted => "not-started",
            Self::Partly => "partly",
            Self::Paused => "paused",
            Self::Proven => "proven",
            Self::Running => "running",
        }
    }

    /// Where it stands, by what the executor has taken over.
    pub fn of(executor: &Executor) -> Self {
        match executor.outcome() {
            Some(RolloutOutcome::Aborted) => Self::Aborted,
            Some(RolloutOutcome::Partly) => Self::Partly,
            Some(RolloutOutcome::Proven) => Self::Proven,
            None if !executor.is_started() => Self::NotStarted,
            None if executor.aborted().is_some() => Self::Aborting,
            None if executor.paused().is_some() => Self::Paused,
            None => Self::Running,
        }
    }
}

/// An approval, as the store has it. Whether its signature is good is told where signatures are
/// verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApprovalEvidence {
    /// Whose part; `None` is the whole.
    pub region: Option<RegionName>,
    /// The team.
    pub team: TeamName,
    /// The digest that was signed.
    pub digest: String,
    /// When it was recorded.
    pub at: Timestamp,
    /// Who could verify it and with what result; `None` where nobody has looked.
    pub verified: Option<String>,
}

/// A start, a pause, a resumption, an abort, the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderEvidence {
    /// When.
    pub at: Timestamp,
    /// `started`, `paused`, `resumed`, `aborted`, `ended`.
    pub what: &'static str,
    /// Who.
    pub by: Option<String>,
    /// Why, or with which outcome.
    pub why: Option<String>,
}

/// One act on one host, all its tries together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActEvidence {
    /// Which.
    pub act: Act,
    /// When it was first begun.
    pub begun: Timestamp,
    /// When its last try ended; `None` where that is not known.
    pub ended: Option<Timestamp>,
    /// How often it was begun.
    pub tries: u32,
    /// How its last try ended: `done`, `already-done`, `not-yet`, or the name of the failure.
    pub outcome: Option<String>,
    /// Expected and found, where it failed or waits.
    pub detail: Option<String>,
    /// What was seen, printable.
    pub seen: Vec<String>,
}

/// What happened to one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostEvidence {
    /// Which.
    pub host: HostName,
    /// Its region.
    pub region: RegionName,
    /// The team that answers for it.
    pub owner: Option<TeamName>,
    /// Its wave.
    pub wave: u32,
    /// The stage of that wave.
    pub stage: Option<Stage>,
    /// Product family.
    pub family: String,
    /// What was to change.
    pub packages: Vec<PackageChange>,
    /// When it was to leave service.
    pub planned: Timestamp,
    /// Where it stands.
    pub state: HostState,
    /// What led it off the good path, or went wrong last.
    pub trouble: Option<String>,
    /// Since when it was exposed to what the plan answers, as far as this fleet's checks know.
    pub exposed_since: Option<Timestamp>,
    /// New sessions were kept away.
    pub drained_at: Option<Timestamp>,
    /// The planned versions were installed.
    pub patched_at: Option<Timestamp>,
    /// It was proven: what serves mail runs the planned versions.
    pub proven_at: Option<Timestamp>,
    /// It took mail again.
    pub returned_at: Option<Timestamp>,
    /// When it was released by hand, after this rollout had left it out of service.
    pub released_at: Option<Timestamp>,
    /// When its exposure ended: the proof of a host that is proven.
    pub exposure_closed_at: Option<Timestamp>,
    /// Seconds out of service, from the first attempt to drain it until its return was confirmed;
    /// until now where it was not.
    pub seconds_out_of_service: i64,
    /// Acts in the order of their beginning.
    pub acts: Vec<ActEvidence>,
}

impl HostEvidence {
    /// Whether it may be out of service by this rollout.
    pub fn is_out_of_service(&self) -> bool {
        self.state.is_out_of_service() && self.released_at.is_none()
    }
}

/// What is beside the journal.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// Approvals.
    pub approvals: Vec<ApprovalEvidence>,
    /// Since when each host is exposed.
    pub exposed_since: BTreeMap<HostName, Timestamp>,
}

/// Accounts for a rollout: `journal` holds its events and those of hosts isolated by hand, in order.
pub fn evidence(
    id: &PlanId,
    plan: &Arc<Plan>,
    journal: &[RecordedEvent],
    beside: Beside,
    now: Timestamp,
) -> Evidence {
    let mut executor = Executor::new(id.clone(), Arc::clone(plan), u64::MAX);
    let mut oddities = Vec::new();
    let mut work: BTreeMap<HostName, HostWork> = BTreeMap::new();
    let mut released: BTreeMap<HostName, Timestamp> = BTreeMap::new();
    let mut story = Story::default();
    for recorded in journal {
        if let Err(error) = executor.apply(&recorded.event) {
            // The late answer of an act that was begun anew, say: it proves nothing.
            oddities.push(format!("event {}: {error}", recorded.seq));
            continue;
        }
        story.take(id, &recorded.event);
        match &recorded.event.kind {
            EventKind::ActStarted {
                plan, host, act, ..
            } if plan == id => {
                work.entry(host.clone())
                    .or_default()
                    .begun(*act, recorded.event.at);
            }
            EventKind::ActEnded {
                plan,
                host,
                act,
                result,
                ..
            } if plan == id => {
                work.entry(host.clone())
                    .or_default()
                    .ended(*act, recorded.event.at, result);
            }
            // An isolation that ended while the host was still in work ends nothing of this.
            EventKind::HostReleased { host, .. }
                if recorded.event.realm == plan.realm
                    && executor
                        .state_of(host)
                        .is_some_and(|state| state.is_end() && state.is_out_of_service()) =>
            {
                released.entry(host.clone()).or_insert(recorded.event.at);
            }
            _other => {}
        }
    }
    let state = RolloutState::of(&executor);
    let until = story.ended_at.unwrap_or(now);
    let hosts = executor
        .states()
        .filter_map(|view| {
            let step = plan.steps.get(view.step)?;
            let variant = plan.variants.get(step.variant as usize);
            let work = work.remove(&step.host).unwrap_or_default();
            let released_at = released.remove(&step.host);
            let out_until = if view.state.is_out_of_service() {
                released_at.unwrap_or(now)
            } else {
                until
            };
            Some(HostEvidence {
                host: step.host.clone(),
                region: step.region.clone(),
                owner: step.owner.clone(),
                wave: step.wave,
                stage: plan.waves.get(step.wave as usize).map(|wave| wave.stage),
                family: variant.map(|v| v.family.clone()).unwrap_or_default(),
                packages: variant.map(|v| v.packages.clone()).unwrap_or_default(),
                planned: step.start,
                state: view.state,
                trouble: view.why.or(view.trouble).map(str::to_owned),
                exposed_since: beside.exposed_since.get(&step.host).copied(),
                drained_at: work.done_at(Act::Drain),
                patched_at: work.done_at(Act::Patch),
                proven_at: work.done_at(Act::Prove),
                returned_at: work.done_at(Act::Return),
                released_at,
                exposure_closed_at: (view.state == HostState::Proven)
                    .then(|| work.done_at(Act::Prove).or(work.ended_at(Act::Precheck)))
                    .flatten(),
                seconds_out_of_service: work.seconds_out(out_until),
                acts: work.acts,
            })
        })
        .collect();
    Evidence {
        schema: SCHEMA,
        realm: plan.realm,
        plan: id.clone(),
        parent: plan.parent.clone(),
        title: plan.title.clone(),
        lane: plan.lane,
        bulletin: plan.bulletin.clone(),
        made_at: plan.made_at,
        as_of: now,
        state,
        reason: executor.aborted().or(executor.paused()).map(str::to_owned),
        started_at: story.started_at,
        ended_at: story.ended_at,
        approvals: beside.approvals,
        orders: story.orders,
        hosts,
        ledger: story.ledger,
        ledger_by_service: story.by_service,
        oddities,
    }
}

impl Evidence {
    /// Hosts in a state.
    pub fn count(&self, state: HostState) -> usize {
        self.hosts.iter().filter(|host| host.state == state).count()
    }

    /// The line that every report ends with.
    pub fn ledger_line(&self) -> String {
        crate::ledger::line(&self.ledger.unwrap_or_default())
    }
}

#[derive(Default)]
struct Story {
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    orders: Vec<OrderEvidence>,
    ledger: Option<Ledger>,
    by_service: BTreeMap<ServiceName, Ledger>,
}

impl Story {
    fn take(&mut self, id: &PlanId, event: &Event) {
        if event.kind.plan() != Some(id) {
            return;
        }
        let order = |what, by: Option<&mailkeep_model::Actor>, why: Option<String>| OrderEvidence {
            at: event.at,
            what,
            by: by.map(|actor| match &actor.team {
                Some(team) => format!("{} ({team})", actor.name),
                None => actor.name.clone(),
            }),
            why,
        };
        match &event.kind {
            EventKind::RolloutStarted { by, .. } => {
                self.started_at.get_or_insert(event.at);
                self.orders.push(order("started", Some(by), None));
            }
            EventKind::RolloutPaused { by, reason, .. } => {
                self.orders
                    .push(order("paused", Some(by), Some(reason.clone())));
            }
            EventKind::RolloutResumed { by, .. } => {
                self.orders.push(order("resumed", Some(by), None));
            }
            EventKind::RolloutAborted { by, reason, .. } => {
                self.orders
                    .push(order("aborted", Some(by), Some(reason.clone())));
            }
            EventKind::RolloutEnded { outcome, .. } => {
                self.ended_at = Some(event.at);
                let outcome = match outcome {
                    RolloutOutcome::Aborted => "aborted",
                    RolloutOutcome::Partly => "partly",
                    RolloutOutcome::Proven => "proven",
                };
                self.orders
                    .push(order("ended", None, Some(outcome.to_owned())));
            }
            EventKind::ProbesCounted {
                service, ledger, ..
            } => match service {
                Some(service) => {
                    self.by_service.insert(service.clone(), *ledger);
                }
                None => self.ledger = Some(*ledger),
            },
            _other => {}
        }
    }
}

#[derive(Debug, Default)]
struct HostWork {
    acts: Vec<ActEvidence>,
    /// Closed intervals out of service, in seconds.
    out: i64,
    out_since: Option<Timestamp>,
}

impl HostWork {
    fn begun(&mut self, act: Act, at: Timestamp) {
        if act == Act::Drain {
            self.out_since.get_or_insert(at);
        }
        // A new line where the act comes again after others: a second drain, say.
        let again = self.acts.last_mut().filter(|last| last.act == act);
        match again {
            Some(last) => {
                last.tries += 1;
                last.ended = None;
            }
            None => self.acts.push(ActEvidence {
                act,
                begun: at,
                ended: None,
                tries: 1,
                outcome: None,
                detail: None,
                seen: Vec::new(),
            }),
        }
    }

    fn ended(&mut self, act: Act, at: Timestamp, result: &ActOutcome) {
        let Some(last) = self.acts.iter_mut().rev().find(|last| last.act == act) else {
            return;
        };
        last.ended = Some(at);
        let (outcome, detail, seen) = match result {
            ActOutcome::Done { seen } => ("done", None, Some(seen)),
            ActOutcome::AlreadyDone { seen } => ("already-done", None, Some(seen)),
            ActOutcome::NotYet { why } => ("not-yet", Some(why.clone()), None),
            ActOutcome::Failed { kind, detail } => (kind.name(), Some(detail.clone()), None),
        };
        last.outcome = Some(outcome.to_owned());
        last.detail = detail;
        if let Some(seen) = seen {
            last.seen.clone_from(seen);
            if act == Act::Return
                && let Some(since) = self.out_since.take()
            {
                self.out += seconds(since, at);
            }
        }
    }

    fn ended_at(&self, act: Act) -> Option<Timestamp> {
        let mut all = self.acts.iter().rev().filter(|done| done.act == act);
        all.next()?.ended
    }

    /// When an act was last done.
    fn done_at(&self, act: Act) -> Option<Timestamp> {
        let done =
            |outcome: &Option<String>| matches!(outcome.as_deref(), Some("done" | "already-done"));
        let last = self
            .acts
            .iter()
            .rev()
            .find(|last| last.act == act && done(&last.outcome));
        last?.ended
    }

    fn seconds_out(&self, until: Timestamp) -> i64 {
        self.out + self.out_since.map_or(0, |since| seconds(since, until))
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).max(SignedDuration::ZERO).as_secs()
}
