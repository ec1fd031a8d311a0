//! How far each host, wave, variant and cluster came: what the fold keeps.

use std::collections::BTreeMap;
use std::mem;

use jiff::SignedDuration;
use mailkeep_model::{Act, ActFailure, ActOutcome, HostState, Plan, Stage, Timestamp};

use crate::machine::{HostEvent, Limits};

/// An act that was begun and has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) act: Act,
    pub(super) attempt: u32,
    pub(super) fence: u64,
}

/// How far one host came.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    pub(super) state: HostState,
    pub(super) since: Option<Timestamp>,
    /// How often the act of this state was begun.
    pub(super) attempt: u32,
    pub(super) not_yet: u32,
    /// Tries of this state without an answer; left standing where a host was given up for it.
    pub(super) unreachable: u32,
    pub(super) flight: Option<Flight>,
    /// Handed out by `poll` and not yet seen in the journal. The one thing not folded from events: it
    /// lasts from a poll to the event that follows it.
    pub(super) ordered: bool,
    /// Not before this.
    pub(super) retry_at: Option<Timestamp>,
    /// When it was last found ready.
    pub(super) looked_at: Option<Timestamp>,
    /// When it was let in again, proven; or found to run the target.
    pub(super) returned_at: Option<Timestamp>,
    /// Its change failed on it.
    pub(super) change_failed: bool,
    /// Counted among its wave's failures.
    pub(super) counted_failed: bool,
    /// What led it off the good path.
    pub(super) why: Option<String>,
    /// What went wrong last.
    pub(super) trouble: Option<String>,
    /// Its place in the roster.
    pub(super) entry: usize,
    pub(super) cluster: Option<usize>,
    /// Places of its region and of its team.
    pub(super) region: usize,
    pub(super) team: Option<usize>,
}

impl Progress {
    pub(super) fn new(entry: usize, region: usize, team: Option<usize>) -> Self {
        Self {
            state: HostState::Waiting,
            since: None,
            attempt: 0,
            not_yet: 0,
            unreachable: 0,
            flight: None,
            ordered: false,
            retry_at: None,
            looked_at: None,
            returned_at: None,
            change_failed: false,
            counted_failed: false,
            why: None,
            trouble: None,
            entry,
            cluster: None,
            region,
            team,
        }
    }

    /// Whether this controller has an act under way on it. One of an earlier controller is none: its
    /// answer will never come, so it is begun again.
    pub(super) fn busy(&self, fence: u64) -> bool {
        self.ordered || self.flight.is_some_and(|flight| flight.fence >= fence)
    }

    /// Whether the act of this state has not been begun yet.
    pub(super) fn fresh(&self) -> bool {
        self.attempt == 0
    }

    /// Whether it counts as gone for those who would leave service next.
    pub(super) fn taken(&self) -> bool {
        match self.state {
            HostState::Leasing
            | HostState::Draining
            | HostState::Emptying
            | HostState::Saving
            | HostState::Patching
            | HostState::Proving
            | HostState::Returning
            | HostState::DrainingAgain
            | HostState::EmptyingAgain
            | HostState::RollingBack
            | HostState::ProvingOld
            | HostState::ReturningOld
            | HostState::BackingOut
            | HostState::Held
            | HostState::Unproven => true,
            HostState::Prechecking | HostState::Soaking | HostState::Untouched => {
                self.unreachable > 0
            }
            HostState::Ready => self.ordered,
            HostState::Waiting
            | HostState::Releasing
            | HostState::ReleasingOld
            | HostState::ReleasingUntouched
            | HostState::Proven
            | HostState::RolledBack => false,
        }
    }

    /// Whether it may really be out of service.
    pub(super) fn out(&self) -> bool {
        let begun = !self.fresh() || self.ordered;
        if self.state == HostState::Draining {
            begun
        } else if self.state == HostState::DrainingAgain {
            begun || self.returned_at.is_none()
        } else {
            self.state.is_out_of_service()
        }
    }

    /// Whether its change has been begun, or it came to an end: whoever waits for it may expect its turn.
    pub(super) fn at_work(&self) -> bool {
        !matches!(
            self.state,
            HostState::Waiting
                | HostState::Prechecking
                | HostState::Ready
                | HostState::Leasing
                | HostState::Draining
                | HostState::Emptying
                | HostState::Saving
        )
    }

    /// Whether it is between its lease and its return, on whichever way.
    pub(super) fn in_work(&self) -> bool {
        self.taken()
            && !self.state.is_end()
            && !matches!(self.state, HostState::Prechecking | HostState::Soaking)
    }

    /// What the end of an act means, counted against the limits of the state.
    pub(super) fn class_of(&mut self, result: &ActOutcome, limits: Limits) -> HostEvent {
        let unclear = |progress: &mut Self| {
            progress.unreachable = progress.unreachable.saturating_add(1);
            if progress.unreachable >= limits.unreachable {
                HostEvent::OutOfReach
            } else {
                HostEvent::Unreachable
            }
        };
        match result {
            ActOutcome::Done { .. } => HostEvent::Done,
            ActOutcome::AlreadyDone { .. } => HostEvent::AlreadyDone,
            ActOutcome::NotYet { why } => {
                self.trouble = Some(format!("not-yet: {why}"));
                // It answered: what could not be reached before can be now.
                self.unreachable = 0;
                self.not_yet = self.not_yet.saturating_add(1);
                if self.not_yet >= limits.not_yet {
                    HostEvent::Overdue
                } else {
                    HostEvent::NotYet
                }
            }
            ActOutcome::Failed { kind, detail } => {
                self.trouble = Some(format!("{}: {detail}", kind.name()));
                match kind {
                    ActFailure::Unreachable | ActFailure::GarbageOutput => unclear(self),
                    // Before it is leased it is another's; after that it was ours.
                    ActFailure::LeaseHeld
                        if matches!(self.state, HostState::Prechecking | HostState::Leasing) =>
                    {
                        HostEvent::Failed
                    }
                    ActFailure::LeaseHeld | ActFailure::LeaseLost => HostEvent::LeaseLost,
                    // The hands say so of a patch only before it begins; after a proof it is not ours.
                    ActFailure::ConfigurationChanged
                        if matches!(self.state, HostState::Patching | HostState::Soaking) =>
                    {
                        HostEvent::ChangedByOthers
                    }
                    ActFailure::UnexpectedVersion if self.state == HostState::Patching => {
                        HostEvent::ChangedByOthers
                    }
                    // Nor are other packages then, a library among them that old code runs on with, nor a
                    // mitigation that is gone: whoever did it has their hands on the host. A disk that has
                    // filled says nothing of a patch that was proven, and leaves no room to take it back.
                    ActFailure::DiskFull
                    | ActFailure::MitigationGone
                    | ActFailure::PackageManager
                    | ActFailure::RunsOldCode
                    | ActFailure::UnexpectedVersion
                        if self.state == HostState::Soaking =>
                    {
                        HostEvent::LeaseLost
                    }
                    // Says nothing against the patch, and without it there is no way back either.
                    ActFailure::RecipeMissing
                        if matches!(
                            self.state,
                            HostState::Patching | HostState::Proving | HostState::Soaking
                        ) =>
                    {
                        HostEvent::LeaseLost
                    }
                    ActFailure::ConfigurationChanged
                    | ActFailure::DiskFull
                    | ActFailure::MailServiceChanged
                    | ActFailure::MitigationGone
                    | ActFailure::PackageManager
                    | ActFailure::PackageUnavailable
                    | ActFailure::ProbeLost
                    | ActFailure::RecipeMissing
                    | ActFailure::RunsOldCode
                    | ActFailure::ServiceDown
                    | ActFailure::Other
                    | ActFailure::UnexpectedVersion => HostEvent::Failed,
                }
            }
        }
    }
}

/// How far a wave came.
#[derive(Debug, Clone, Default)]
pub(super) struct WaveProgress {
    /// Hosts that are not past it.
    pub(super) open: u32,
    /// Hosts of those that are not at work either.
    pub(super) idle: u32,
    /// The last return of one of its hosts.
    pub(super) last_return: Option<Timestamp>,
    /// Hosts whose change failed, or that were left out of service.
    pub(super) failed: u32,
    /// Failures that a person knew of when resuming.
    pub(super) borne: u32,
    /// Waves of its region that the plan lets end, and soak, before it.
    pub(super) before: Vec<usize>,
}

/// Where the hosts of one stage of one variant stand.
#[derive(Debug, Clone, Default)]
pub(super) struct StageProgress {
    pub(super) steps: Vec<usize>,
    /// One that has not ended: where there is one, it is not at work yet.
    pub(super) open: Option<usize>,
    /// One that ended otherwise than proven.
    pub(super) unproven: Option<usize>,
    /// One that was rolled back, or stays out of service.
    pub(super) failed: Option<usize>,
    /// When the last one came back that has been proven since.
    pub(super) last_proven: Option<Timestamp>,
}

impl StageProgress {
    pub(super) fn look(&mut self, hosts: &[Progress]) {
        *self = Self {
            steps: mem::take(&mut self.steps),
            ..Self::default()
        };
        let mut at_work = None;
        for &step in &self.steps {
            let Some(host) = hosts.get(step) else {
                continue;
            };
            // What is left to do for one that is being released changes nothing about its proof.
            if matches!(host.state, HostState::Proven | HostState::Releasing) {
                self.last_proven = self.last_proven.max(host.returned_at);
            } else if host.state.is_end() {
                self.unproven = self.unproven.or(Some(step));
                if host.state != HostState::Untouched {
                    self.failed = self.failed.or(Some(step));
                }
            } else if host.at_work() {
                at_work = at_work.or(Some(step));
            } else {
                self.open = self.open.or(Some(step));
            }
        }
        self.open = self.open.or(at_work);
    }
}

/// How far a variant came.
#[derive(Debug, Clone, Default)]
pub(super) struct VariantProgress {
    pub(super) test: StageProgress,
    pub(super) pilot: StageProgress,
    /// The step on which its change failed first.
    pub(super) failed_on: Option<usize>,
}

pub(super) fn waves_of(plan: &Plan) -> Vec<WaveProgress> {
    let soak = minutes(plan.policy.lane(plan.lane).soak_wave_minutes);
    let mut waves: Vec<WaveProgress> = plan
        .waves
        .iter()
        .map(|wave| WaveProgress {
            before: plan
                .waves
                .iter()
                .enumerate()
                .filter(|(_, other)| {
                    other.region == wave.region
                        // The plan itself may leave less than the soak between two waves; it is
                        // not for the executor to widen it.
                        && later(other.end, soak) <= wave.start
                })
                .map(|(at, _)| at)
                .collect(),
            ..WaveProgress::default()
        })
        .collect();
    for step in &plan.steps {
        if let Some(wave) = waves.get_mut(step.wave as usize) {
            wave.open = wave.open.saturating_add(1);
            wave.idle = wave.open;
        }
    }
    waves
}

pub(super) fn variants_of(plan: &Plan) -> Vec<VariantProgress> {
    let mut variants = vec![VariantProgress::default(); plan.variants.len()];
    for (at, step) in plan.steps.iter().enumerate() {
        let (Some(variant), Some(wave)) = (
            variants.get_mut(step.variant as usize),
            plan.waves.get(step.wave as usize),
        ) else {
            continue;
        };
        match wave.stage {
            Stage::Test => variant.test.steps.push(at),
            Stage::Pilot => variant.pilot.steps.push(at),
            Stage::Rest => {}
        }
    }
    for variant in &mut variants {
        variant.test.open = variant.test.steps.first().copied();
        variant.pilot.open = variant.pilot.steps.first().copied();
    }
    variants
}

/// The steps that are one step in time: those of one wave, one region and one variant that asks for it.
pub(super) fn clusters_of(plan: &Plan) -> Vec<Vec<usize>> {
    let mut clusters: BTreeMap<(u32, u32, &str), Vec<usize>> = BTreeMap::new();
    for (at, step) in plan.steps.iter().enumerate() {
        let whole = plan
            .variants
            .get(step.variant as usize)
            .is_some_and(|variant| variant.whole_cluster);
        if whole {
            let key = (step.wave, step.variant, step.region.as_str());
            clusters.entry(key).or_default().push(at);
        }
    }
    clusters.into_values().collect()
}

/// A time, later.
pub(super) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Minutes as a duration.
pub(super) fn minutes(minutes: u32) -> SignedDuration {
    SignedDuration::from_mins(i64::from(minutes))
}
