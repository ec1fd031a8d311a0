//! What a host still waits for before it may leave service: the rules that hold at run time.

use std::fmt;

use mailkeep_model::{
    HostName, HostState, Plan, RegionName, ServiceName, Stage, TeamName, Timestamp,
};

use super::agenda::{Key, Room};
use super::progress::{Progress, StageProgress, later, minutes};
use super::roster::{Count, Shortfall};
use super::{Executor, LATEST_WITHOUT_WINDOW, LOOK_AHEAD, START_GRACE, look_at};

/// What a host waits for before it leaves service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitsFor {
    /// Another host of its cluster.
    Cluster {
        /// Which.
        host: HostName,
    },
    /// A host that must be proven before it.
    Dependency {
        /// Which.
        host: HostName,
    },
    /// The minimum of a service.
    Minimum {
        /// Of which service.
        service: ServiceName,
        /// Where; `None` is over all regions.
        region: Option<RegionName>,
        /// Hosts that would stay in service.
        stay: u32,
        /// Hosts that must.
        minimum: u32,
    },
    /// The policy allows no further host at a time in the whole fleet.
    ParallelFleet {
        /// How many it allows.
        limit: u32,
    },
    /// The same in its region.
    ParallelRegion {
        /// How many it allows.
        limit: u32,
    },
    /// The same for its team.
    ParallelTeam {
        /// Which team.
        team: TeamName,
        /// How many it allows.
        limit: u32,
    },
    /// The rollout is paused.
    Paused,
    /// The soak after the stage, or the wave, before it.
    Soak {
        /// Its end.
        until: Timestamp,
    },
    /// A host of the stage before its own.
    Stage {
        /// Which stage.
        stage: Stage,
        /// Which host.
        host: HostName,
    },
    /// Its start.
    Start {
        /// When.
        at: Timestamp,
    },
    /// An earlier wave of its region.
    Wave {
        /// Its number.
        wave: usize,
    },
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster { host } => write!(f, "{host} of its cluster"),
            Self::Dependency { host } => write!(f, "{host}, which must be proven before it"),
            Self::Minimum {
                service,
                region,
                stay,
                minimum,
            } => {
                write!(f, "the minimum of {service}")?;
                if let Some(region) = region {
                    write!(f, " in {region}")?;
                }
                write!(f, ": {stay} would stay, {minimum} must")
            }
            Self::ParallelFleet { limit } => write!(f, "one of {limit} places in the fleet"),
            Self::ParallelRegion { limit } => write!(f, "one of {limit} places in its region"),
            Self::ParallelTeam { team, limit } => write!(f, "one of {limit} places of {team}"),
            Self::Paused => f.write_str("the rollout to be resumed"),
            Self::Soak { until } => write!(f, "the soak until {until}"),
            Self::Stage { stage, host } => write!(f, "{host} of the {} stage", stage.name()),
            Self::Start { at } => write!(f, "its start at {at}"),
            Self::Wave { wave } => write!(f, "wave {wave} of its region"),
        }
    }
}

/// The same by places instead of names: it is asked for often, and told rarely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Paused,
    Start(Timestamp),
    Soak(Timestamp),
    /// A step.
    Dependency(usize),
    /// A step, of a stage.
    Stage(Stage, usize),
    Wave(usize),
    /// A step.
    Cluster(usize),
    /// Of the fleet, for so many hosts.
    Fleet(usize),
    Region(usize),
    Team(usize),
    Minimum(Shortfall),
}

/// Whether an earlier stage lets a host through.
#[derive(Debug, Clone, Copy)]
pub(super) enum StageGate {
    Open,
    Until(Timestamp),
    Waits(Stage, usize),
    /// It never will: this host was not proven.
    Never(Stage, usize),
}

impl Executor {
    /// What a host that has not left service waits for; `None` where nothing holds it, or where it has
    /// left.
    pub fn waits_for(&self, step: usize, now: Timestamp) -> Option<WaitsFor> {
        let hold = match self.hosts.get(step)?.state {
            HostState::Waiting | HostState::Prechecking | HostState::Ready => {
                self.holds_start(step, now)
            }
            HostState::Draining => self.holds_drain(step),
            HostState::DrainingAgain => self.holds_second_drain(step).map(Hold::Minimum),
            HostState::Leasing
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
        self.in_words(step, hold?)
    }

    pub(super) fn in_words(&self, at: usize, hold: Hold) -> Option<WaitsFor> {
        let host = |step: usize| Some(self.plan.steps.get(step)?.host.clone());
        let policy = &self.plan.policy;
        Some(match hold {
            Hold::Paused => WaitsFor::Paused,
            Hold::Start(at) => WaitsFor::Start { at },
            Hold::Soak(until) => WaitsFor::Soak { until },
            Hold::Dependency(step) => WaitsFor::Dependency { host: host(step)? },
            Hold::Stage(stage, step) => WaitsFor::Stage {
                stage,
                host: host(step)?,
            },
            Hold::Wave(wave) => WaitsFor::Wave { wave },
            Hold::Cluster(step) => WaitsFor::Cluster { host: host(step)? },
            Hold::Fleet(_) => WaitsFor::ParallelFleet {
                limit: policy.parallel_fleet?,
            },
            Hold::Region(_) => WaitsFor::ParallelRegion {
                limit: policy.parallel_region?,
            },
            Hold::Team(_) => WaitsFor::ParallelTeam {
                team: self.plan.steps.get(at)?.owner.clone()?,
                limit: policy.parallel_team?,
            },
            Hold::Minimum(lacks) => {
                let (service, region) = self.roster.named(lacks)?;
                WaitsFor::Minimum {
                    service: service.clone(),
                    region: region.cloned(),
                    stay: lacks.stay,
                    minimum: lacks.minimum,
                }
            }
        })
    }

    /// What must change before a host that is held so may leave service; `None` where time alone does.
    pub(super) fn key_of(&self, at: usize, hold: Hold) -> Option<Key> {
        let host = self.hosts.get(at)?;
        Some(match hold {
            Hold::Paused => Key::Pause,
            Hold::Start(_) | Hold::Soak(_) => return None,
            Hold::Dependency(step) | Hold::Cluster(step) => Key::Host(step),
            Hold::Stage(..) => Key::Stages(self.plan.steps.get(at)?.variant as usize),
            Hold::Wave(wave) => Key::Wave(wave),
            Hold::Fleet(more) => Key::Room(Room::Fleet(more)),
            Hold::Region(more) => Key::Room(Room::Region(host.region, more)),
            Hold::Team(more) => Key::Room(Room::Team(host.team?, more)),
            Hold::Minimum(lacks) => {
                Key::Room(Room::Service(lacks.service, lacks.region, lacks.leaving))
            }
        })
    }

    /// Whether there is room for hosts that do not count as gone yet.
    pub(super) fn has_room(&self, room: Room) -> bool {
        let policy = &self.plan.policy;
        let within = |count: usize, more: usize, limit: Option<u32>| {
            limit.is_none_or(|limit| count + more <= limit as usize)
        };
        match room {
            Room::Fleet(more) => within(self.working.len(), more, policy.parallel_fleet),
            Room::Region(region, more) => {
                let count = self.working_by_region.get(region).copied();
                within(count.unwrap_or(0), more, policy.parallel_region)
            }
            Room::Team(team, more) => {
                let count = self.working_by_team.get(team).copied();
                within(count.unwrap_or(0), more, policy.parallel_team)
            }
            Room::Service(service, region, leaving) => {
                self.roster.has_room(service, region, leaving)
            }
        }
    }

    /// What keeps a host from being looked at: so much must still happen before its turn that the look
    /// would be an old one by then. What ends soon is not waited for.
    pub(super) fn holds_look(&self, at: usize, now: Timestamp) -> Option<Hold> {
        if self.paused.is_some() {
            return Some(Hold::Paused);
        }
        let due = self.due_at(at);
        if now < look_at(due) {
            return Some(Hold::Start(due));
        }
        let at_work = |step: usize| self.hosts.get(step).is_some_and(Progress::at_work);
        let still = |until: Timestamp| (now < look_at(until)).then_some(Hold::Soak(until));
        for (other, _) in self.dependencies(at) {
            if !at_work(other) {
                return Some(Hold::Dependency(other));
            }
        }
        let rules = self.plan.policy.lane(self.plan.lane);
        for gate in self.stage_gates(at) {
            let hold = match gate {
                StageGate::Open | StageGate::Never(..) => None,
                StageGate::Until(until) => still(until),
                StageGate::Waits(stage, other) => {
                    let soak = match stage {
                        Stage::Pilot => rules.soak_pilot_minutes,
                        Stage::Test | Stage::Rest => rules.soak_test_minutes,
                    };
                    let soak = minutes(soak.max(rules.soak_wave_minutes));
                    match self.hosts.get(other)?.returned_at {
                        Some(back) => still(later(back, soak)),
                        None if at_work(other) && soak <= LOOK_AHEAD => None,
                        None => Some(Hold::Stage(stage, other)),
                    }
                }
            };
            if hold.is_some() {
                return hold;
            }
        }
        let soak = minutes(rules.soak_wave_minutes);
        let wave = self.plan.steps.get(at)?.wave as usize;
        self.waves.get(wave)?.before.iter().find_map(|&before| {
            let other = self.waves.get(before)?;
            if other.idle > 0 || other.open > 0 && soak > LOOK_AHEAD {
                return Some(Hold::Wave(before));
            }
            if other.open > 0 {
                return None;
            }
            still(later(other.last_return?, soak))
        })
    }

    /// What keeps a host that is ready from being leased.
    pub(super) fn holds_start(&self, at: usize, now: Timestamp) -> Option<Hold> {
        let step = self.plan.steps.get(at)?;
        if self.holds_pause(at) {
            return Some(Hold::Paused);
        }
        let due = self.due_at(at);
        if now < due {
            return Some(Hold::Start(due));
        }
        for (other, before) in self.dependencies(at) {
            if !serves_proven(before) {
                return Some(Hold::Dependency(other));
            }
        }
        match self.stage_gate(at) {
            StageGate::Open => {}
            StageGate::Until(until) if until <= now => {}
            StageGate::Until(until) => return Some(Hold::Soak(until)),
            StageGate::Waits(stage, other) | StageGate::Never(stage, other) => {
                return Some(Hold::Stage(stage, other));
            }
        }
        if let Some(hold) = self.holds_wave(step.wave as usize, now) {
            return Some(hold);
        }
        let cluster = self.cluster_of(at);
        for &member in cluster {
            let progress = self.hosts.get(member)?;
            if matches!(
                progress.state,
                HostState::Waiting | HostState::Prechecking | HostState::Untouched
            ) {
                return Some(Hold::Cluster(member));
            }
        }
        let leaving = || {
            cluster.iter().copied().filter(|&member| {
                self.hosts
                    .get(member)
                    .is_some_and(|progress| !progress.in_work())
            })
        };
        self.holds_parallel(at, leaving().count()).or_else(|| {
            let entries = leaving().filter_map(|member| Some(self.hosts.get(member)?.entry));
            self.roster
                .shortfall(entries, Count::Taken)
                .map(Hold::Minimum)
        })
    }

    /// Whether a pause keeps a host from being begun. It does not where one of its cluster is out of
    /// service: that one waits for it before its patch, and a cluster in work is finished as a whole.
    fn holds_pause(&self, at: usize) -> bool {
        let is_out = |&member: &usize| self.hosts.get(member).is_some_and(Progress::out);
        self.paused.is_some() && !self.cluster_of(at).iter().any(is_out)
    }

    /// What keeps a leased host from being drained: things may have changed since it was leased.
    pub(super) fn holds_drain(&self, at: usize) -> Option<Hold> {
        let progress = self.hosts.get(at)?;
        if !progress.fresh() {
            return None;
        }
        if self.holds_pause(at) {
            return Some(Hold::Paused);
        }
        self.roster
            .shortfall([progress.entry].into_iter(), Count::Taken)
            .map(Hold::Minimum)
    }

    /// What keeps a host that failed in service from being drained once more.
    pub(super) fn holds_second_drain(&self, at: usize) -> Option<Shortfall> {
        let progress = self.hosts.get(at)?;
        if !progress.fresh() {
            return None;
        }
        self.roster
            .shortfall([progress.entry].into_iter(), Count::Out)
    }

    /// Whether no host in work can ever make room for a host that failed in service.
    pub(super) fn never_spared(&self, at: usize) -> bool {
        let Some(progress) = self.hosts.get(at) else {
            return false;
        };
        !self.working.iter().any(|&other| {
            other != at
                && self.hosts.get(other).is_some_and(|host| {
                    host.out() && self.roster.share_a_service(host.entry, progress.entry)
                })
        })
    }

    /// The steps that must be proven before one, with their states.
    pub(super) fn dependencies(&self, at: usize) -> impl Iterator<Item = (usize, HostState)> {
        let after = self.after.get(at).into_iter().flatten();
        after.filter_map(|&step| Some((step, self.hosts.get(step)?.state)))
    }

    /// Whether the stages before a host's own let it through.
    pub(super) fn stage_gate(&self, at: usize) -> StageGate {
        let [test, pilot] = self.stage_gates(at);
        match (test, pilot) {
            (StageGate::Never(stage, host), _) | (_, StageGate::Never(stage, host)) => {
                StageGate::Never(stage, host)
            }
            (StageGate::Waits(stage, host), _) | (_, StageGate::Waits(stage, host)) => {
                StageGate::Waits(stage, host)
            }
            (StageGate::Until(a), StageGate::Until(b)) => StageGate::Until(a.max(b)),
            (StageGate::Until(until), StageGate::Open)
            | (StageGate::Open, StageGate::Until(until)) => StageGate::Until(until),
            (StageGate::Open, StageGate::Open) => StageGate::Open,
        }
    }

    /// The same for the test hosts and the pilot hosts of its variant.
    fn stage_gates(&self, at: usize) -> [StageGate; 2] {
        let Some((stage, variant)) = self.plan.steps.get(at).and_then(|step| {
            Some((
                self.plan.waves.get(step.wave as usize)?.stage,
                self.variants.get(step.variant as usize)?,
            ))
        }) else {
            return [StageGate::Open, StageGate::Open];
        };
        let rules = self.plan.policy.lane(self.plan.lane);
        let test = || gate(&variant.test, Stage::Test, rules.soak_test_minutes, true);
        let pilot = || {
            let soak = rules.soak_pilot_minutes;
            gate(&variant.pilot, Stage::Pilot, soak, false)
        };
        match stage {
            Stage::Test => [StageGate::Open, StageGate::Open],
            Stage::Pilot => [test(), StageGate::Open],
            Stage::Rest => [test(), pilot()],
        }
    }

    fn holds_wave(&self, wave: usize, now: Timestamp) -> Option<Hold> {
        let soak = minutes(self.plan.policy.lane(self.plan.lane).soak_wave_minutes);
        for &before in &self.waves.get(wave)?.before {
            let other = self.waves.get(before)?;
            if other.open > 0 {
                return Some(Hold::Wave(before));
            }
            let until = other.last_return.map(|last| later(last, soak));
            if let Some(until) = until.filter(|&until| now < until) {
                return Some(Hold::Soak(until));
            }
        }
        None
    }

    /// Whether the policy has no place for so many more hosts.
    fn holds_parallel(&self, at: usize, more: usize) -> Option<Hold> {
        if more == 0 {
            return None;
        }
        let host = self.hosts.get(at)?;
        if !self.has_room(Room::Fleet(more)) {
            return Some(Hold::Fleet(more));
        }
        if !self.has_room(Room::Region(host.region, more)) {
            return Some(Hold::Region(more));
        }
        let team = host.team?;
        (!self.has_room(Room::Team(team, more))).then_some(Hold::Team(more))
    }

    /// The members of a host's cluster; itself alone where it has none.
    pub(super) fn cluster_of(&self, at: usize) -> &[usize] {
        self.hosts
            .get(at)
            .and_then(|progress| self.clusters.get(progress.cluster?))
            .map_or_else(|| self.alone.get(at..=at).unwrap_or(&[]), Vec::as_slice)
    }

    pub(super) fn due_at(&self, at: usize) -> Timestamp {
        due_at(&self.plan, at)
    }

    /// From when on a host is not begun any more: it would not end in its window.
    pub(super) fn too_late_at(&self, at: usize) -> Timestamp {
        let Some(step) = self.plan.steps.get(at) else {
            return Timestamp::MAX;
        };
        let window = self
            .plan
            .waves
            .get(step.wave as usize)
            .and_then(|wave| wave.window);
        match window {
            Some(window) => {
                let needs = step.end.duration_since(step.start);
                let latest = window.closes.checked_sub(needs).unwrap_or(step.start);
                latest.max(later(step.start, START_GRACE))
            }
            None => later(step.start, LATEST_WITHOUT_WINDOW),
        }
    }
}

/// From when on a host may be begun, as far as the clock is concerned: its start, or, where its lane
/// lets steps begin early, the opening of its window.
pub(super) fn due_at(plan: &Plan, at: usize) -> Timestamp {
    let Some(step) = plan.steps.get(at) else {
        return Timestamp::MAX;
    };
    if !plan.policy.lane(plan.lane).early {
        return step.start;
    }
    let wave = plan.waves.get(step.wave as usize);
    match wave.and_then(|wave| wave.window) {
        Some(window) => window.opens.min(step.start),
        None => plan.made_at.min(step.start),
    }
}

/// Whether a host was proven and serves again. Its soak belongs to its wave: the plan lets a host start
/// as soon as those it waits for are back.
fn serves_proven(state: HostState) -> bool {
    matches!(
        state,
        HostState::Soaking | HostState::Releasing | HostState::Proven
    )
}

/// What a stage's hosts let through. Of the test hosts all must be proven: they are the test. A pilot
/// host that was never begun says nothing about the change; one proven host suffices, and one that
/// failed is enough to stop.
fn gate(stage: &StageProgress, which: Stage, soak: u32, all: bool) -> StageGate {
    if stage.steps.is_empty() {
        return StageGate::Open;
    }
    if let Some(failed) = stage.failed {
        return StageGate::Never(which, failed);
    }
    match (stage.unproven, stage.open, stage.last_proven) {
        (Some(unproven), _, _) if all => StageGate::Never(which, unproven),
        (_, Some(open), _) => StageGate::Waits(which, open),
        (_, None, Some(proven)) => StageGate::Until(later(proven, minutes(soak))),
        (Some(unproven), None, None) => StageGate::Never(which, unproven),
        (None, None, None) => StageGate::Open,
    }
}
