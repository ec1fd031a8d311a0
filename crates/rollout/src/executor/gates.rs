//! What a host still waits for before it may leave service: the rules that hold at run time.

use std::fmt;

use mailkeep_model::{HostName, HostState, RegionName, ServiceName, Stage, TeamName, Timestamp};

use super::progress::{StageProgress, later, minutes};
use super::roster::{Count, Shortfall};
use super::{Executor, LATEST_WITHOUT_WINDOW, START_GRACE};

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

impl From<Shortfall> for WaitsFor {
    fn from(lacks: Shortfall) -> Self {
        Self::Minimum {
            service: lacks.service,
            region: lacks.region,
            stay: lacks.stay,
            minimum: lacks.minimum,
        }
    }
}

/// Whether an earlier stage lets a host through.
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
        match self.hosts.get(step)?.state {
            HostState::Waiting | HostState::Prechecking | HostState::Ready => {
                self.holds_start(step, now)
            }
            HostState::Draining => self.holds_drain(step),
            HostState::DrainingAgain => self.holds_second_drain(step).map(WaitsFor::from),
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
        }
    }

    /// What keeps a host that is ready from being leased.
    pub(super) fn holds_start(&self, at: usize, now: Timestamp) -> Option<WaitsFor> {
        let step = self.plan.steps.get(at)?;
        if self.paused.is_some() {
            return Some(WaitsFor::Paused);
        }
        let due = self.due_at(at);
        if now < due {
            return Some(WaitsFor::Start { at: due });
        }
        for (other, before) in self.dependencies(at) {
            if !serves_proven(before) {
                let host = self.plan.steps.get(other)?.host.clone();
                return Some(WaitsFor::Dependency { host });
            }
        }
        match self.stage_gate(at) {
            StageGate::Open => {}
            StageGate::Until(until) if until <= now => {}
            StageGate::Until(until) => return Some(WaitsFor::Soak { until }),
            StageGate::Waits(stage, other) | StageGate::Never(stage, other) => {
                let host = self.plan.steps.get(other)?.host.clone();
                return Some(WaitsFor::Stage { stage, host });
            }
        }
        if let Some(waits) = self.holds_wave(step.wave as usize, now) {
            return Some(waits);
        }
        let cluster = self.cluster_of(at);
        for &member in cluster {
            let progress = self.hosts.get(member)?;
            if matches!(
                progress.state,
                HostState::Waiting | HostState::Prechecking | HostState::Untouched
            ) {
                let host = self.plan.steps.get(member)?.host.clone();
                return Some(WaitsFor::Cluster { host });
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
                .map(WaitsFor::from)
        })
    }

    /// What keeps a leased host from being drained: things may have changed since it was leased.
    pub(super) fn holds_drain(&self, at: usize) -> Option<WaitsFor> {
        let progress = self.hosts.get(at)?;
        if !progress.fresh() {
            return None;
        }
        if self.paused.is_some() {
            return Some(WaitsFor::Paused);
        }
        self.roster
            .shortfall([progress.entry].into_iter(), Count::Taken)
            .map(WaitsFor::from)
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
        !self.active.iter().any(|&other| {
            other != at
                && self.hosts.get(other).is_some_and(|host| {
                    host.in_work()
                        && host.out()
                        && self.roster.share_a_service(host.entry, progress.entry)
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
        let Some((stage, variant)) = self.plan.steps.get(at).and_then(|step| {
            Some((
                self.plan.waves.get(step.wave as usize)?.stage,
                self.variants.get(step.variant as usize)?,
            ))
        }) else {
            return StageGate::Open;
        };
        let rules = self.plan.policy.lane(self.plan.lane);
        let test = || gate(&variant.test, Stage::Test, rules.soak_test_minutes, true);
        let pilot = || {
            gate(
                &variant.pilot,
                Stage::Pilot,
                rules.soak_pilot_minutes,
                false,
            )
        };
        match stage {
            Stage::Test => StageGate::Open,
            Stage::Pilot => test(),
            Stage::Rest => match (test(), pilot()) {
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
            },
        }
    }

    fn holds_wave(&self, wave: usize, now: Timestamp) -> Option<WaitsFor> {
        let soak = minutes(self.plan.policy.lane(self.plan.lane).soak_wave_minutes);
        for &before in &self.waves.get(wave)?.before {
            let other = self.waves.get(before)?;
            if other.open > 0 {
                return Some(WaitsFor::Wave { wave: before });
            }
            let until = other.last_return.map(|last| later(last, soak));
            if let Some(until) = until.filter(|&until| now < until) {
                return Some(WaitsFor::Soak { until });
            }
        }
        None
    }

    /// Whether the policy has a place for so many more hosts.
    fn holds_parallel(&self, at: usize, more: usize) -> Option<WaitsFor> {
        let policy = &self.plan.policy;
        if more == 0
            || (
                policy.parallel_fleet,
                policy.parallel_region,
                policy.parallel_team,
            ) == (None, None, None)
        {
            return None;
        }
        let step = self.plan.steps.get(at)?;
        let mut fleet = more;
        let mut region = more;
        let mut team = more;
        for &other in &self.active {
            let (Some(host), Some(its)) = (self.hosts.get(other), self.plan.steps.get(other))
            else {
                continue;
            };
            if host.in_work() {
                fleet += 1;
                region += usize::from(its.region == step.region);
                team += usize::from(its.owner == step.owner);
            }
        }
        let over = |count: usize, limit: Option<u32>| limit.filter(|&limit| count > limit as usize);
        if let Some(limit) = over(fleet, policy.parallel_fleet) {
            return Some(WaitsFor::ParallelFleet { limit });
        }
        if let Some(limit) = over(region, policy.parallel_region) {
            return Some(WaitsFor::ParallelRegion { limit });
        }
        let owner = step.owner.as_ref()?;
        over(team, policy.parallel_team).map(|limit| WaitsFor::ParallelTeam {
            team: owner.clone(),
            limit,
        })
    }

    /// The members of a host's cluster; itself alone where it has none.
    pub(super) fn cluster_of(&self, at: usize) -> &[usize] {
        self.hosts
            .get(at)
            .and_then(|progress| self.clusters.get(progress.cluster?))
            .map_or_else(|| self.alone.get(at..=at).unwrap_or(&[]), Vec::as_slice)
    }

    /// From when on a host may be begun, as far as the clock is concerned: its start, or, where its lane
    /// lets steps begin early, the opening of its window.
    pub(super) fn due_at(&self, at: usize) -> Timestamp {
        let Some(step) = self.plan.steps.get(at) else {
            return Timestamp::MAX;
        };
        if !self.plan.policy.lane(self.plan.lane).early {
            return step.start;
        }
        let wave = self.plan.waves.get(step.wave as usize);
        match wave.and_then(|wave| wave.window) {
            Some(window) => window.opens.min(step.start),
            None => self.plan.made_at.min(step.start),
        }
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
