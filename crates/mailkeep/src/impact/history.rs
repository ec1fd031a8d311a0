//! How long servers were out of service: from this fleet's own rollouts, else what was measured on
//! Debian's packages.

use serde::Serialize;

use crate::planning::basis::{Progress, change_of};

/// Rollout steps from which a median means something.
const ENOUGH: usize = 3;

/// Seconds from stop to service, measured on Debian's packages with one restart after an upgrade under
/// held-back services; by product family.
const MEASURED: &[(&str, f64)] = &[("dovecot", 1.8), ("exim", 1.3), ("postfix", 1.7)];

/// For a family that was not measured: the longest of them, and a minute of care.
const UNMEASURED: f64 = 60.0;

/// How long a server is expected to be out of service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Interruption {
    /// Seconds.
    pub seconds: f64,
    /// What that rests on.
    pub basis: Basis,
}

/// What an expectation rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Basis {
    /// The median of this fleet's own steps, drain and proof included.
    History {
        /// How many steps.
        steps: usize,
    },
    /// Measured on the package, restart only; a drain comes on top.
    Measured,
    /// Nothing is known of the family.
    Guess,
}

/// The expectation for a family.
pub fn expect(plans: &[Progress], family: &str) -> Interruption {
    let mut seconds: Vec<f64> = Vec::new();
    for plan in plans {
        for (host, length) in &plan.out_of_service {
            if change_of(&plan.plan, host).is_some_and(|change| change.family == family) {
                seconds.push(length.as_secs_f64());
            }
        }
    }
    seconds.sort_by(f64::total_cmp);
    if seconds.len() >= ENOUGH
        && let Some(median) = seconds.get(seconds.len() / 2)
    {
        return Interruption {
            seconds: *median,
            basis: Basis::History {
                steps: seconds.len(),
            },
        };
    }
    match MEASURED.iter().find(|(name, _)| *name == family) {
        Some((_, seconds)) => Interruption {
            seconds: *seconds,
            basis: Basis::Measured,
        },
        None => Interruption {
            seconds: UNMEASURED,
            basis: Basis::Guess,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use jiff::SignedDuration;
    use mailkeep_model::{
        Drain, HostName, Lane, Plan, PlanId, PlanStep, Precheck, Proof, Realm, RegionName,
        RolloutPolicy, Timestamp, Variant,
    };

    use super::*;

    /// A plan whose hosts were out of service for so many seconds.
    fn progress(family: &str, took: &[i64]) -> Progress {
        let host = |at: usize| HostName::new(format!("mx{at}")).unwrap();
        let step = |at: usize| PlanStep {
            host: host(at),
            region: RegionName::new("eu").unwrap(),
            owner: None,
            wave: 0,
            variant: 0,
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            services: BTreeSet::new(),
            drain: Drain::None,
            precheck: Precheck {
                facts_as_of: Timestamp::UNIX_EPOCH,
                free_mib: 1,
            },
            proof: Proof {
                ports: BTreeSet::new(),
                probes: BTreeSet::new(),
            },
            after: BTreeSet::new(),
            risk: 1,
            deadline: None,
        };
        let plan = Plan {
            format: Plan::FORMAT,
            realm: Realm::Live,
            generation: 1,
            parent: None,
            made_at: Timestamp::UNIX_EPOCH,
            tzdb: String::new(),
            lane: Lane::Regular,
            overriding: None,
            retries: BTreeSet::new(),
            bulletin: Vec::new(),
            title: String::new(),
            policy: RolloutPolicy::default(),
            regions: BTreeMap::new(),
            services: BTreeMap::new(),
            out_of_service: BTreeSet::new(),
            variants: vec![Variant {
                family: family.to_owned(),
                platform: "Debian:12".to_owned(),
                packages: Vec::new(),
                recipe: None,
                whole_cluster: false,
                mitigates: BTreeMap::new(),
            }],
            waves: Vec::new(),
            steps: (0..took.len()).map(step).collect(),
        };
        Progress {
            id: PlanId::new("sha256:00").unwrap(),
            plan,
            started: true,
            ended: true,
            hosts: BTreeMap::new(),
            drained: BTreeSet::new(),
            failed: BTreeMap::new(),
            out_of_service: took
                .iter()
                .enumerate()
                .map(|(at, seconds)| (host(at), SignedDuration::from_secs(*seconds)))
                .collect(),
        }
    }

    #[test]
    fn the_fleets_own_median_counts_once_there_are_enough_steps() {
        let plans = [progress("postfix", &[40, 20]), progress("postfix", &[300])];
        let expected = expect(&plans, "postfix");
        assert_eq!(expected.basis, Basis::History { steps: 3 });
        assert!((expected.seconds - 40.0).abs() < 1e-9);
        assert_eq!(expect(&plans[..1], "postfix").basis, Basis::Measured);
        assert_eq!(expect(&[], "zmail").basis, Basis::Guess);
        // Another family's steps say nothing.
        assert_eq!(expect(&plans, "exim").basis, Basis::Measured);
    }
}
