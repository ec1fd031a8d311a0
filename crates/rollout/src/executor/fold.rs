//! The fold: what each event of the journal changes.

use std::mem;

use mailkeep_model::{Act, ActOutcome, CallOff, Event, EventKind, HostName, HostState, Timestamp};

use super::agenda::Key;
use super::progress::{Flight, later, minutes};
use super::{ApplyError, Executor};
use crate::machine::{self, HostEvent, limits, retry_after};

impl Executor {
    /// Takes one event of the journal over. Events of other plans and of the other realm change
    /// nothing; hosts isolated by hand count as out of service.
    pub fn apply(&mut self, event: &Event) -> Result<(), ApplyError> {
        if event.realm != self.plan.realm {
            return Ok(());
        }
        let plan = event.kind.plan();
        if plan.is_some_and(|plan| *plan != self.plan_id) {
            return Ok(());
        }
        match &event.kind {
            EventKind::HostIsolated { host, .. } => self.roster.isolate(host),
            EventKind::HostReleased { host, .. } => self.roster.let_in(host, event.at),
            EventKind::RolloutStarted { .. } => self.started = true,
            EventKind::RolloutPaused { reason, .. } => self.paused = Some(reason.clone()),
            EventKind::RolloutResumed { .. } => {
                self.paused = None;
                self.changed = None;
                self.agenda.let_go(Key::Pause);
                for wave in &mut self.waves {
                    wave.borne = wave.failed;
                }
            }
            EventKind::RolloutAborted { reason, .. } => {
                self.aborted = Some(reason.clone());
                self.unsettled = true;
            }
            EventKind::RolloutEnded { outcome, .. } => self.outcome = Some(*outcome),
            EventKind::HostCalledOff {
                host,
                reason,
                detail,
                ..
            } => return self.called_off(event.at, host, *reason, detail),
            EventKind::ActStarted {
                host,
                act,
                attempt,
                fence,
                ..
            } => {
                let flight = Flight {
                    act: *act,
                    attempt: *attempt,
                    fence: *fence,
                };
                return self.act_started(event.at, host, flight);
            }
            EventKind::ActEnded {
                host,
                act,
                attempt,
                fence,
                result,
                ..
            } => {
                let flight = Flight {
                    act: *act,
                    attempt: *attempt,
                    fence: *fence,
                };
                return self.act_ended(event.at, host, flight, result);
            }
            EventKind::FeedImported { .. }
            | EventKind::FeedFailed { .. }
            | EventKind::HostScanned { .. }
            | EventKind::ScanFailed { .. }
            | EventKind::FindingNew { .. }
            | EventKind::FindingGone { .. }
            | EventKind::FindingChanged { .. }
            | EventKind::WindowsReserved { .. }
            | EventKind::ReservationEnded { .. }
            | EventKind::PlanMade { .. }
            | EventKind::PlanReported { .. }
            | EventKind::RecipesPlanned { .. }
            | EventKind::MessageReleased { .. }
            | EventKind::HeldMailTold { .. }
            | EventKind::AttackSeen { .. }
            | EventKind::PlanApproved { .. }
            | EventKind::ProbesCounted { .. } => {}
        }
        Ok(())
    }

    fn step_named(&self, host: &HostName) -> Result<usize, ApplyError> {
        let no_such_host = || ApplyError::NoSuchHost { host: host.clone() };
        self.by_name.get(host).copied().ok_or_else(no_such_host)
    }

    fn called_off(
        &mut self,
        time: Timestamp,
        host: &HostName,
        reason: CallOff,
        detail: &str,
    ) -> Result<(), ApplyError> {
        let at = self.step_named(host)?;
        if let Some(progress) = self.hosts.get_mut(at) {
            let event = if progress.state == HostState::Patching && progress.fresh() {
                HostEvent::CalledOffUnbegun
            } else {
                HostEvent::CalledOff
            };
            let to =
                machine::next(progress.state, event).map_err(|source| ApplyError::Illegal {
                    host: host.clone(),
                    source,
                })?;
            progress.trouble = Some(format!("{}: {detail}", reason.name()));
            self.enter(at, to, event, time);
        }
        Ok(())
    }

    fn act_started(
        &mut self,
        time: Timestamp,
        host: &HostName,
        flight: Flight,
    ) -> Result<(), ApplyError> {
        let at = self.step_named(host)?;
        // Of two controllers the one that came later counts.
        if flight.fence < self.seen_fence {
            return Err(ApplyError::Stale { host: host.clone() });
        }
        self.seen_fence = flight.fence;
        let Some(progress) = self.hosts.get_mut(at) else {
            return Ok(());
        };
        let event = if progress.state == HostState::Ready && flight.act == Act::Precheck {
            HostEvent::LookAgain
        } else if machine::act_of(progress.state) == Some(flight.act) {
            HostEvent::Begun
        } else {
            return Err(ApplyError::NotDue {
                host: host.clone(),
                act: flight.act,
                state: progress.state,
            });
        };
        let to = machine::next(progress.state, event).map_err(|source| ApplyError::Illegal {
            host: host.clone(),
            source,
        })?;
        progress.ordered = false;
        progress.flight = None;
        self.enter(at, to, event, time);
        if let Some(progress) = self.hosts.get_mut(at) {
            progress.attempt = progress.attempt.max(flight.attempt);
            progress.flight = Some(flight);
        }
        self.count(at);
        Ok(())
    }

    fn act_ended(
        &mut self,
        time: Timestamp,
        host: &HostName,
        flight: Flight,
        result: &ActOutcome,
    ) -> Result<(), ApplyError> {
        let at = self.step_named(host)?;
        let Some(progress) = self.hosts.get_mut(at) else {
            return Ok(());
        };
        let Some(limits) = limits(progress.state).filter(|_| progress.flight == Some(flight))
        else {
            return Err(ApplyError::Stale { host: host.clone() });
        };
        let event = progress.class_of(result, limits);
        let to = machine::next(progress.state, event).map_err(|source| ApplyError::Illegal {
            host: host.clone(),
            source,
        })?;
        progress.flight = None;
        let pause = match event {
            HostEvent::NotYet => Some(limits.ask_again),
            HostEvent::Unreachable => Some(retry_after(progress.unreachable)),
            HostEvent::Done | HostEvent::AlreadyDone => {
                progress.trouble = None;
                None
            }
            HostEvent::Begun
            | HostEvent::LookAgain
            | HostEvent::Overdue
            | HostEvent::Failed
            | HostEvent::ChangedByOthers
            | HostEvent::LeaseLost
            | HostEvent::OutOfReach
            | HostEvent::CalledOff
            | HostEvent::CalledOffUnbegun => None,
        };
        progress.retry_at = pause.map(|pause| later(time, pause));
        self.enter(at, to, event, time);
        Ok(())
    }

    /// Moves a host to a state, and everything that is counted by states with it.
    fn enter(&mut self, at: usize, to: HostState, event: HostEvent, time: Timestamp) {
        let (Some(host), Some(step)) = (self.hosts.get_mut(at), self.plan.steps.get(at)) else {
            return;
        };
        let was_at_work = host.at_work();
        let from = mem::replace(&mut host.state, to);
        if from != to {
            host.since = Some(time);
            host.attempt = 0;
            host.not_yet = 0;
            host.unreachable = 0;
            host.retry_at = None;
            host.flight = None;
            let was_past = past(from);
            let wave = self.waves.get_mut(step.wave as usize);
            let astray = matches!(
                event,
                HostEvent::Overdue
                    | HostEvent::Failed
                    | HostEvent::ChangedByOthers
                    | HostEvent::LeaseLost
                    | HostEvent::OutOfReach
                    | HostEvent::CalledOff
                    | HostEvent::CalledOffUnbegun
            );
            if event == HostEvent::ChangedByOthers && from == HostState::Soaking {
                self.changed = Some(at);
                self.unsettled = true;
            }
            if astray && host.why.is_none() && !is_release(from) {
                host.why.clone_from(&host.trouble);
            }
            if to == HostState::Ready {
                host.looked_at = Some(time);
            }
            if to == HostState::Soaking {
                let soak = self.plan.policy.lane(self.plan.lane).soak_wave_minutes;
                host.returned_at = Some(time);
                host.retry_at = Some(later(time, minutes(soak)));
            }
            if to == HostState::Proven && from == HostState::Prechecking {
                host.returned_at = Some(time);
            }
            if to == HostState::Untouched {
                host.unreachable = u32::from(event == HostEvent::OutOfReach);
            }
            if matches!(to, HostState::RollingBack | HostState::DrainingAgain)
                && event != HostEvent::CalledOff
            {
                host.change_failed = true;
                if let Some(variant) = self.variants.get_mut(step.variant as usize) {
                    variant.failed_on.get_or_insert(at);
                }
            }
            let failed = host.change_failed
                || matches!(
                    to,
                    HostState::RolledBack | HostState::Held | HostState::Unproven
                );
            let sets_to_work = !was_at_work && host.at_work();
            if let Some(wave) = wave {
                if sets_to_work {
                    wave.idle = wave.idle.saturating_sub(1);
                    if wave.idle == 0 {
                        self.agenda.let_go(Key::Wave(step.wave as usize));
                    }
                }
                match (was_past, past(to)) {
                    (false, true) => {
                        wave.open = wave.open.saturating_sub(1);
                        if wave.open == 0 {
                            self.agenda.let_go(Key::Wave(step.wave as usize));
                        }
                    }
                    (true, false) => wave.open = wave.open.saturating_add(1),
                    (true, true) | (false, false) => {}
                }
                if to == HostState::Soaking {
                    wave.last_return = wave.last_return.max(Some(time));
                }
                if failed && !mem::replace(&mut host.counted_failed, true) {
                    wave.failed = wave.failed.saturating_add(1);
                }
            }
            let bad_end = to.is_end() && to != HostState::Proven;
            if bad_end || host.change_failed {
                self.unsettled = true;
            }
            self.agenda.let_go(Key::Host(at));
            let cluster = host.cluster.and_then(|cluster| self.clusters.get(cluster));
            for &member in cluster.into_iter().flatten() {
                self.agenda.mark(member);
            }
            if to.is_end() {
                self.ended += 1;
            }
            let moves_its_stage = to.is_end()
                || sets_to_work
                || matches!(to, HostState::Soaking | HostState::Releasing);
            if moves_its_stage && let Some(variant) = self.variants.get_mut(step.variant as usize) {
                for stage in [&mut variant.test, &mut variant.pilot] {
                    if stage.steps.contains(&at) {
                        stage.look(&self.hosts);
                        self.agenda.let_go(Key::Stages(step.variant as usize));
                    }
                }
            }
        }
        if to.is_end() {
            self.agenda.forget(at);
        } else {
            self.agenda.mark(at);
        }
        self.count(at);
    }
}

/// Whether its wave is over for a host in this state: it ended, or serves again.
fn past(state: HostState) -> bool {
    state.is_end() || state == HostState::Soaking || is_release(state)
}

fn is_release(state: HostState) -> bool {
    matches!(
        state,
        HostState::Releasing | HostState::ReleasingOld | HostState::ReleasingUntouched
    )
}
