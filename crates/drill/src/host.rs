//! One simulated host, and what each act does to it: the hands of a rehearsal.
//!
//! Each act looks first and is safe to repeat, as the real ones are; the tests run each twice.

use mailkeep_model::{Act, ActFailure, ActOutcome};

/// Which code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Code {
    /// The version the plan starts from.
    Old,
    /// The version it leads to.
    New,
    /// Unpacked in part.
    Half,
}

/// Whose hands are on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lease {
    Nobody,
    /// Ours; the highest fencing number it has seen.
    Ours(u64),
    /// Of another plan of the same controller: each may take over what the other one left, as long as no
    /// mail is kept away.
    OtherPlan,
    Another,
}

/// What a host answers whose lease another plan took.
pub(crate) const OTHER_PLAN: &str = "another plan of this controller took it";

/// What is wrong with a host for as long as a rehearsal lasts, drawn once.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing that is wrong or not"
)]
pub(crate) struct Flaws {
    pub(crate) package_broken: bool,
    pub(crate) stays_old: bool,
    pub(crate) probe_lost: bool,
    pub(crate) probe_lost_later: bool,
    pub(crate) probe_lost_old: bool,
    pub(crate) reboots: bool,
    /// It never comes up after that.
    pub(crate) never_back: bool,
    pub(crate) mirror_gone: bool,
    pub(crate) drain_fails: bool,
    pub(crate) roll_back_broken: bool,
    pub(crate) disk_full: Option<DiskFull>,
    /// Seconds of the run during which its disk is full.
    pub(crate) disk_fills: Option<(i64, i64)>,
    /// Seconds of the run during which somebody else's package manager is at work.
    pub(crate) locked: Option<(i64, i64)>,
    /// Seconds of the run during which the controller does not reach it.
    pub(crate) outage: Option<(i64, i64)>,
    /// The same for its next hop.
    pub(crate) next_hop_down: Option<(i64, i64)>,
}

/// When a full disk shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskFull {
    Before,
    Saving,
    Unpacking,
}

/// A host.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is something that a host is or is not, whatever the others"
)]
pub(crate) struct SimHost {
    pub(crate) installed: Code,
    /// What serves mail; `None` is nothing.
    pub(crate) running: Option<Code>,
    pub(crate) drained: bool,
    pub(crate) saved: bool,
    pub(crate) lease: Lease,
    /// Down until this second of the run.
    pub(crate) down_until: i64,
    /// Its line is cut until this second; what is at work there goes on.
    pub(crate) cut_until: i64,
    /// An act runs on it until this second, whoever listens.
    pub(crate) busy_until: i64,
    /// Its queue outlives an upgrade. Where it does not, it must be empty before one.
    pub(crate) durable: bool,
    /// Sessions open, each with the message it will hand over.
    pub(crate) sessions: Vec<u32>,
    /// Messages it has answered for and not passed on.
    pub(crate) queue: Vec<u32>,
    pub(crate) flaws: Flaws,
    /// It has rebooted in mid-patch.
    pub(crate) rebooted: bool,
    /// Services it carries: service, place within it.
    pub(crate) places: Vec<(usize, usize)>,
    /// As the world counts it.
    pub(crate) serving: bool,
}

/// What an act did to the world besides the host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Effects {
    /// Sessions that were cut.
    pub(crate) cut: Vec<u32>,
    /// Messages that are gone for good.
    pub(crate) lost: Vec<u32>,
    /// Its queue is to be tried at once.
    pub(crate) flush: bool,
}

fn done() -> ActOutcome {
    ActOutcome::Done { seen: Vec::new() }
}

fn already() -> ActOutcome {
    ActOutcome::AlreadyDone { seen: Vec::new() }
}

fn failed(kind: ActFailure, detail: &str) -> ActOutcome {
    ActOutcome::Failed {
        kind,
        detail: detail.to_owned(),
    }
}

fn not_yet(why: &str) -> ActOutcome {
    ActOutcome::NotYet {
        why: why.to_owned(),
    }
}

impl SimHost {
    pub(crate) fn new(places: Vec<(usize, usize)>) -> Self {
        Self {
            installed: Code::Old,
            running: Some(Code::Old),
            drained: false,
            saved: false,
            lease: Lease::Nobody,
            down_until: i64::MIN,
            cut_until: i64::MIN,
            busy_until: i64::MIN,
            durable: true,
            sessions: Vec::new(),
            queue: Vec::new(),
            flaws: Flaws::default(),
            rebooted: false,
            places,
            serving: false,
        }
    }

    /// Whether new sessions are taken.
    pub(crate) fn serves(&self, now: i64) -> bool {
        now >= self.down_until && self.running.is_some() && !self.drained
    }

    /// Whether queued mail moves on.
    pub(crate) fn passes_on(&self, now: i64) -> bool {
        now >= self.down_until && self.running.is_some() && !within(self.flaws.next_hop_down, now)
    }

    /// Whether the controller reaches it.
    pub(crate) fn reached(&self, now: i64) -> bool {
        now >= self.down_until.max(self.cut_until) && !within(self.flaws.outage, now)
    }

    /// Another plan of the same controller takes the lease, as the scripts on a host let it.
    pub(crate) fn taken_by_other_plan(&mut self) {
        if !self.drained && matches!(self.lease, Lease::Nobody | Lease::Ours(_)) {
            self.lease = Lease::OtherPlan;
        }
    }

    fn locked(&self, now: i64) -> bool {
        within(self.flaws.locked, now)
    }

    /// Does an act, now, and tells how it ended.
    pub(crate) fn perform(
        &mut self,
        act: Act,
        fence: u64,
        last: bool,
        now: i64,
        effects: &mut Effects,
    ) -> ActOutcome {
        if let Some(refused) = self.check_lease(act, fence) {
            return refused;
        }
        if let Lease::Ours(seen) = &mut self.lease {
            *seen = fence.max(*seen);
        }
        let writes = matches!(act, Act::Lease | Act::Drain | Act::Save | Act::RollBack);
        if writes && within(self.flaws.disk_fills, now) {
            return failed(ActFailure::DiskFull, "no space left on device");
        }
        match act {
            Act::Precheck => self.precheck(now),
            Act::Lease => {
                let had = self.lease;
                self.lease = Lease::Ours(fence);
                if had == Lease::Nobody {
                    done()
                } else {
                    already()
                }
            }
            Act::Drain => {
                if self.flaws.drain_fails {
                    failed(ActFailure::Other, "the packet filter refuses the rule")
                } else if self.drained {
                    already()
                } else {
                    self.drained = true;
                    done()
                }
            }
            Act::AwaitEmpty => {
                effects.flush = true;
                if !self.sessions.is_empty() {
                    not_yet("sessions are open")
                } else if self.queue.is_empty() || self.durable && last {
                    done()
                } else {
                    not_yet("messages are queued")
                }
            }
            Act::Save => {
                if self.saved {
                    already()
                } else if self.locked(now) {
                    not_yet("the package manager is at work")
                } else if self.flaws.disk_full == Some(DiskFull::Saving) {
                    failed(ActFailure::DiskFull, "no space left for the way back")
                } else {
                    self.saved = true;
                    done()
                }
            }
            Act::Patch => self.patch(now, effects),
            Act::Prove => self.prove(Code::New, self.flaws.probe_lost),
            Act::Recheck => self.prove(
                Code::New,
                self.flaws.probe_lost || self.flaws.probe_lost_later,
            ),
            Act::ProveOld => self.prove(Code::Old, self.flaws.probe_lost_old),
            Act::Return => {
                if self.drained {
                    self.drained = false;
                    done()
                } else {
                    already()
                }
            }
            Act::RollBack => self.roll_back(now, effects),
            Act::Release => {
                self.lease = Lease::Nobody;
                done()
            }
        }
    }

    /// What another's lease, or a later controller, answers.
    fn check_lease(&self, act: Act, fence: u64) -> Option<ActOutcome> {
        match (self.lease, act) {
            (Lease::Another, Act::Precheck | Act::Lease) => {
                Some(failed(ActFailure::LeaseHeld, "another controller has it"))
            }
            (Lease::Another, _) => Some(failed(ActFailure::LeaseLost, "another took it")),
            (Lease::OtherPlan, Act::Precheck | Act::Lease) if self.drained => {
                Some(failed(ActFailure::LeaseHeld, "another plan has it"))
            }
            (Lease::OtherPlan, Act::Precheck | Act::Lease) => None,
            (Lease::OtherPlan, _) => Some(failed(ActFailure::LeaseLost, OTHER_PLAN)),
            (Lease::Ours(seen), _) if fence < seen => {
                Some(failed(ActFailure::LeaseLost, "a later controller has it"))
            }
            (Lease::Nobody, Act::Precheck | Act::Lease) | (Lease::Ours(_), _) => None,
            (Lease::Nobody, Act::Release) => Some(already()),
            (Lease::Nobody, _) => Some(failed(ActFailure::LeaseLost, "the lease is gone")),
        }
    }

    fn precheck(&self, now: i64) -> ActOutcome {
        if self.locked(now) {
            not_yet("the package manager is at work")
        } else if self.flaws.disk_full == Some(DiskFull::Before)
            || within(self.flaws.disk_fills, now)
        {
            failed(ActFailure::DiskFull, "no room to unpack")
        } else if self.drained && !matches!(self.lease, Lease::Ours(_)) {
            failed(ActFailure::Other, "mail is kept away already")
        } else {
            match (self.installed, self.running) {
                (Code::New, Some(Code::New)) if !self.drained => already(),
                (Code::Old, Some(_)) => done(),
                (Code::Old, None) => failed(ActFailure::ServiceDown, "nothing serves mail"),
                (Code::New | Code::Half, _) => {
                    failed(ActFailure::UnexpectedVersion, "neither start nor target")
                }
            }
        }
    }

    fn stop(&mut self, effects: &mut Effects) {
        self.running = None;
        effects.cut.append(&mut self.sessions);
    }

    fn patch(&mut self, now: i64, effects: &mut Effects) -> ActOutcome {
        if (self.installed, self.running) == (Code::New, Some(Code::New)) {
            return already();
        }
        if self.locked(now) {
            return not_yet("the package manager is at work");
        }
        if self.flaws.mirror_gone && self.installed == Code::Old {
            return failed(ActFailure::PackageUnavailable, "the mirror does not answer");
        }
        if self.flaws.disk_full == Some(DiskFull::Unpacking) || within(self.flaws.disk_fills, now) {
            self.stop(effects);
            self.installed = Code::Half;
            return failed(ActFailure::PackageManager, "no space left on device");
        }
        self.stop(effects);
        self.installed = Code::New;
        if !self.durable {
            effects.lost.append(&mut self.queue);
        }
        if self.flaws.package_broken {
            return failed(ActFailure::ServiceDown, "the daemon does not start");
        }
        let stays_old = self.flaws.stays_old;
        self.running = Some(if stays_old { Code::Old } else { Code::New });
        effects.flush = true;
        done()
    }

    fn roll_back(&mut self, now: i64, effects: &mut Effects) -> ActOutcome {
        if (self.installed, self.running) == (Code::Old, Some(Code::Old)) {
            return already();
        }
        if self.locked(now) {
            return not_yet("the package manager is at work");
        }
        if self.flaws.roll_back_broken {
            return failed(
                ActFailure::PackageManager,
                "the old package does not install",
            );
        }
        if !self.saved && self.installed != Code::Old {
            return failed(ActFailure::Other, "nothing was saved");
        }
        self.stop(effects);
        self.installed = Code::Old;
        self.running = Some(Code::Old);
        effects.flush = true;
        done()
    }

    fn prove(&self, code: Code, probe_lost: bool) -> ActOutcome {
        match self.running {
            None => failed(ActFailure::ServiceDown, "nothing serves mail"),
            Some(running) if running != code || self.installed != code => {
                failed(ActFailure::RunsOldCode, "a process runs other code")
            }
            Some(_) if probe_lost => failed(ActFailure::ProbeLost, "the probe did not arrive"),
            Some(_) => done(),
        }
    }

    /// The power goes, in the middle of a patch.
    pub(crate) fn reboot(&mut self, until: i64, effects: &mut Effects) {
        self.rebooted = true;
        self.down_until = until;
        self.busy_until = self.busy_until.min(until);
        self.leave_half_done(effects);
    }

    /// A patch, or a roll back, is cut off in the middle.
    pub(crate) fn leave_half_done(&mut self, effects: &mut Effects) {
        self.stop(effects);
        self.installed = Code::Half;
        if !self.durable {
            effects.lost.append(&mut self.queue);
        }
    }
}

fn within(span: Option<(i64, i64)>, now: i64) -> bool {
    span.is_some_and(|(from, to)| from <= now && now < to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_good(outcome: &ActOutcome) -> bool {
        matches!(
            outcome,
            ActOutcome::Done { .. } | ActOutcome::AlreadyDone { .. }
        )
    }

    #[test]
    fn each_act_done_twice_leaves_the_host_as_once() {
        let mut host = SimHost::new(Vec::new());
        for act in Act::WHOLE_WAY {
            let mut effects = Effects::default();
            assert!(is_good(&host.perform(act, 1, false, 0, &mut effects)));
            let once = host.clone();
            assert!(is_good(&host.perform(act, 1, false, 0, &mut effects)));
            assert_eq!(format!("{once:?}"), format!("{host:?}"), "{}", act.name());
        }
        assert_eq!(host.installed, Code::New);
        assert!(host.serves(0));
    }

    #[test]
    fn a_queue_that_an_upgrade_removes_is_lost_unless_it_is_empty() {
        let mut host = SimHost::new(Vec::new());
        host.durable = false;
        let mut effects = Effects::default();
        host.perform(Act::Lease, 1, false, 0, &mut effects);
        host.queue.push(4);
        let waits = host.perform(Act::AwaitEmpty, 1, true, 0, &mut effects);
        assert!(matches!(waits, ActOutcome::NotYet { .. }));
        host.perform(Act::Patch, 1, false, 0, &mut effects);
        assert_eq!(effects.lost, [4]);
    }

    #[test]
    fn a_host_that_goes_neither_forward_nor_back_keeps_its_queue() {
        let mut host = SimHost::new(Vec::new());
        host.flaws.package_broken = true;
        host.flaws.roll_back_broken = true;
        let mut effects = Effects::default();
        for act in [Act::Lease, Act::Drain, Act::Save] {
            assert!(is_good(&host.perform(act, 1, false, 0, &mut effects)));
        }
        host.queue.push(4);
        let empty = host.perform(Act::AwaitEmpty, 1, true, 0, &mut effects);
        assert!(is_good(&empty));
        for act in [Act::Patch, Act::RollBack] {
            assert!(!is_good(&host.perform(act, 1, false, 0, &mut effects)));
        }
        assert_eq!((host.queue.as_slice(), host.drained), (&[4][..], true));
        assert!(effects.lost.is_empty() && !host.passes_on(0));
    }

    #[test]
    fn plans_of_one_controller_take_over_what_keeps_no_mail_away_and_nothing_else() {
        let mut host = SimHost::new(Vec::new());
        let mut effects = Effects::default();
        let lost = |outcome: &ActOutcome| {
            let lease = [ActFailure::LeaseLost, ActFailure::LeaseHeld];
            matches!(outcome, ActOutcome::Failed { kind, .. } if lease.contains(kind))
        };
        // What another plan left is ours for the taking.
        host.taken_by_other_plan();
        assert_eq!(host.lease, Lease::OtherPlan);
        for act in [Act::Precheck, Act::Lease, Act::Drain] {
            assert!(is_good(&host.perform(act, 1, false, 0, &mut effects)));
        }
        // Drained, it is nobody else's.
        host.taken_by_other_plan();
        assert_eq!(host.lease, Lease::Ours(1));
        assert!(is_good(&host.perform(
            Act::Return,
            1,
            false,
            0,
            &mut effects
        )));
        // It soaks: the lease says nothing that would keep the other plan away.
        host.taken_by_other_plan();
        assert!(lost(&host.perform(Act::Recheck, 1, false, 0, &mut effects)));
        host.drained = true;
        assert!(lost(&host.perform(Act::Lease, 1, false, 0, &mut effects)));
    }

    #[test]
    fn a_disk_that_fills_after_the_look_leaves_a_way_back_into_service() {
        let mut host = SimHost::new(Vec::new());
        host.flaws.disk_fills = Some((10, 20));
        let mut effects = Effects::default();
        for (act, now, good) in [
            (Act::Precheck, 0, true),
            (Act::Lease, 1, true),
            (Act::Drain, 2, true),
            (Act::Save, 10, false),
            (Act::Return, 11, true),
            (Act::Release, 12, true),
        ] {
            let outcome = host.perform(act, 1, false, now, &mut effects);
            assert_eq!(is_good(&outcome), good, "{}", act.name());
        }
        assert!(host.serves(12) && host.installed == Code::Old);
    }

    #[test]
    fn a_lower_fence_than_the_host_has_seen_is_refused() {
        let mut host = SimHost::new(Vec::new());
        let mut effects = Effects::default();
        host.perform(Act::Lease, 2, false, 0, &mut effects);
        let late = host.perform(Act::Drain, 1, false, 0, &mut effects);
        assert!(matches!(
            late,
            ActOutcome::Failed {
                kind: ActFailure::LeaseLost,
                ..
            }
        ));
        assert!(!host.drained);
    }
}
