//! A region may shift its own waves without the global team: is this all that a child plan does?

use std::collections::BTreeMap;

use jiff::SignedDuration;
use mailkeep_model::{HostName, Plan, PlanStep, RegionName, Timestamp, Wave};

use super::place;

/// Why a plan is more than another one with a region shifted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOnlyShifted {
    /// A step of the region moved farther than the policy lets a region move it by itself.
    #[error("{host} moves by {minutes} minutes, and a region may shift by {allowed}")]
    TooFar {
        /// Which host.
        host: HostName,
        /// By how much, without its sign.
        minutes: i64,
        /// The policy's `shift_minutes`.
        allowed: u32,
    },
    /// A step of another region is not as it was.
    #[error("{host} is of {region}, and its step is not as it was")]
    OtherRegion {
        /// Which host.
        host: HostName,
        /// Its region.
        region: RegionName,
    },
    /// A step of the region has more changed than its time.
    #[error("more than the time of {host} is changed")]
    Step {
        /// Which host.
        host: HostName,
    },
    /// A host has a step in one plan only.
    #[error("{host} has a step in one of the plans only")]
    Hosts {
        /// Which host.
        host: HostName,
    },
    /// A wave of another region is not as it was.
    #[error("the waves of {region} are not as they were")]
    Waves {
        /// Which region.
        region: RegionName,
    },
    /// Something else than steps and waves is changed.
    #[error("more than steps is changed")]
    Plan,
}

impl NotOnlyShifted {
    /// The stable name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hosts { .. } => "shift-hosts",
            Self::OtherRegion { .. } => "shift-other-region",
            Self::Plan => "shift-plan",
            Self::Step { .. } => "shift-step",
            Self::TooFar { .. } => "shift-too-far",
            Self::Waves { .. } => "shift-waves",
        }
    }
}

/// Whether plan `b` differs from plan `a` in nothing but the times and waves of the steps of one region,
/// each moved by no more than `shift_minutes` of `a`'s policy and as long as it was. Generation, parent
/// and the moment of making may differ.
///
/// It does not say whether `b` keeps the rules; [`crate::check()`] does. Where shifts follow each other,
/// compare with the plan that the global team approved, lest they add up.
pub fn only_shifts(a: &Plan, b: &Plan, region: &RegionName) -> Result<(), NotOnlyShifted> {
    let old: BTreeMap<&HostName, &PlanStep> = a.steps.iter().map(|s| (&s.host, s)).collect();
    let new: BTreeMap<&HostName, &PlanStep> = b.steps.iter().map(|s| (&s.host, s)).collect();
    let once = |list: &BTreeMap<&HostName, &PlanStep>, plan: &Plan| list.len() == plan.steps.len();
    if !once(&old, a) || !once(&new, b) {
        return Err(NotOnlyShifted::Plan);
    }
    let everybody = old.keys().chain(new.keys()).copied();
    for host in everybody {
        let (Some(before), Some(after)) = (old.get(host), new.get(host)) else {
            return Err(NotOnlyShifted::Hosts { host: host.clone() });
        };
        one_step((a, before), (b, after), region)?;
    }
    waves(a, b, region)?;
    // All that is left must be the same to the letter.
    let rest = Plan {
        generation: a.generation,
        parent: a.parent.clone(),
        made_at: a.made_at,
        waves: a.waves.clone(),
        steps: a.steps.clone(),
        ..b.clone()
    };
    if rest == *a {
        Ok(())
    } else {
        Err(NotOnlyShifted::Plan)
    }
}

/// The region whose waves `child` shifts against `parent`, if that is all it does; see [`only_shifts`].
/// `None` also where nothing moves.
pub fn is_only_shift_of(child: &Plan, parent: &Plan) -> Option<RegionName> {
    let times = |plan: &Plan| -> BTreeMap<HostName, (RegionName, Timestamp)> {
        let time = |step: &PlanStep| (step.host.clone(), (step.region.clone(), step.start));
        plan.steps.iter().map(time).collect()
    };
    let (old, new) = (times(parent), times(child));
    let moved = new
        .iter()
        .find(|(host, time)| old.get(*host) != Some(*time));
    let (_, (region, _)) = moved?;
    only_shifts(parent, child, region)
        .ok()
        .map(|()| region.clone())
}

fn one_step(
    (a, old): (&Plan, &PlanStep),
    (b, new): (&Plan, &PlanStep),
    region: &RegionName,
) -> Result<(), NotOnlyShifted> {
    let host = || new.host.clone();
    if old.region != *region {
        let as_was = PlanStep {
            wave: old.wave,
            ..new.clone()
        };
        let wave = |plan: &Plan, step: &PlanStep| plan.waves.get(place(step.wave)).cloned();
        if as_was == *old && wave(a, old) == wave(b, new) {
            return Ok(());
        }
        return Err(NotOnlyShifted::OtherRegion {
            host: host(),
            region: old.region.clone(),
        });
    }
    let stage = |plan: &Plan, step: &PlanStep| plan.waves.get(place(step.wave)).map(|w| w.stage);
    let as_was = PlanStep {
        wave: old.wave,
        start: old.start,
        end: old.end,
        ..new.clone()
    };
    let lasts = |step: &PlanStep| step.end.duration_since(step.start);
    if as_was != *old || lasts(old) != lasts(new) || stage(a, old) != stage(b, new) {
        return Err(NotOnlyShifted::Step { host: host() });
    }
    let moved = new.start.duration_since(old.start).abs();
    let allowed = a.policy.shift_minutes;
    if moved > SignedDuration::from_mins(i64::from(allowed)) {
        return Err(NotOnlyShifted::TooFar {
            host: host(),
            minutes: moved.as_mins(),
            allowed,
        });
    }
    Ok(())
}

/// The waves of all other regions are the same ones, in the same order.
fn waves(a: &Plan, b: &Plan, region: &RegionName) -> Result<(), NotOnlyShifted> {
    let others = |plan: &'_ Plan| -> Vec<Wave> {
        let of_others = |wave: &&Wave| wave.region != *region;
        plan.waves.iter().filter(of_others).cloned().collect()
    };
    let (old, new) = (others(a), others(b));
    let longest = old.len().max(new.len());
    for number in 0..longest {
        let (before, after) = (old.get(number), new.get(number));
        if before != after
            && let Some(wave) = before.or(after)
        {
            return Err(NotOnlyShifted::Waves {
                region: wave.region.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, coast, region};

    /// Boston's last night an hour later.
    fn shifted(minutes: i64) -> Plan {
        let mut plan = coast();
        let by = SignedDuration::from_mins(minutes);
        for step in plan.steps.iter_mut().filter(|step| step.wave == 7) {
            (step.start, step.end) = (step.start + by, step.end + by);
        }
        let wave = &mut plan.waves[7];
        (wave.start, wave.end) = (wave.start + by, wave.end + by);
        plan.generation = 2;
        plan
    }

    fn kind(change: impl FnOnce(&mut Plan)) -> Option<&'static str> {
        let mut plan = shifted(60);
        change(&mut plan);
        let result = only_shifts(&coast(), &plan, &region("boston"));
        result.err().map(|error| error.kind())
    }

    #[test]
    fn a_region_may_shift_its_own_waves() {
        assert_eq!(kind(|_| {}), None);
        assert_eq!(
            is_only_shift_of(&shifted(60), &coast()),
            Some(region("boston"))
        );
        assert_eq!(is_only_shift_of(&shifted(0), &coast()), None);
        assert!(
            crate::check(&shifted(60))
                .iter()
                .all(|b| b.kind.name() == "generation-mismatch")
        );
    }

    #[test]
    fn it_may_not_shift_farther_than_the_policy_says() {
        let mut strict = coast();
        strict.policy.shift_minutes = 59;
        let mut child = shifted(60);
        child.policy.shift_minutes = 59;
        let error = only_shifts(&strict, &child, &region("boston")).unwrap_err();
        assert_eq!(error.kind(), "shift-too-far");
        child.policy.shift_minutes = 60;
        let error = only_shifts(&strict, &child, &region("boston")).unwrap_err();
        assert_eq!(
            error.kind(),
            "shift-too-far",
            "the child's own policy does not count"
        );
    }

    #[test]
    fn it_may_change_nothing_else() {
        assert_eq!(
            kind(|plan| plan.steps[0].risk = 5),
            Some("shift-other-region")
        );
        assert_eq!(
            kind(|plan| plan.steps[0].start -= SignedDuration::from_mins(15)),
            Some("shift-other-region")
        );
        assert_eq!(kind(|plan| plan.steps[14].risk = 5), Some("shift-step"));
        assert_eq!(
            kind(|plan| plan.steps[14].end += SignedDuration::from_mins(15)),
            Some("shift-step")
        );
        assert_eq!(
            kind(|plan| plan.waves[7].stage = mailkeep_model::Stage::Test),
            Some("shift-step")
        );
        assert_eq!(
            kind(|plan| {
                plan.steps.remove(14);
            }),
            Some("shift-hosts")
        );
        assert_eq!(
            kind(|plan| {
                let mut wave = plan.waves[0].clone();
                wave.start = at("2026-11-21T23:00:00Z");
                plan.waves.push(wave);
            }),
            Some("shift-waves")
        );
        assert_eq!(
            kind(|plan| plan.policy.step_minutes = 5),
            Some("shift-plan")
        );
        assert_eq!(kind(|plan| plan.variants.swap(0, 1)), Some("shift-plan"));
        assert_eq!(
            kind(|plan| {
                plan.services
                    .get_mut("mailbox")
                    .unwrap()
                    .minimum
                    .insert(region("boston"), 0);
            }),
            Some("shift-plan")
        );
    }
}
