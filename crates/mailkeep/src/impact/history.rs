//! How long servers were out of service: from this fleet's own rollouts, else what was measured on
//! Debian's packages.

use serde::Serialize;

use crate::planning::basis::{Progress, outages};

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
    let seen = outages(family, plans).map(|(_, length)| length.as_secs_f64());
    expected(seen.collect(), family)
}

fn expected(mut seconds: Vec<f64>, family: &str) -> Interruption {
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
    use super::*;

    #[test]
    fn the_fleets_own_median_counts_once_there_are_enough_steps() {
        let by_history = expected(vec![40.0, 20.0, 300.0], "postfix");
        assert_eq!(by_history.basis, Basis::History { steps: 3 });
        assert!((by_history.seconds - 40.0).abs() < 1e-9);
        assert_eq!(expected(vec![40.0, 20.0], "postfix").basis, Basis::Measured);
        assert_eq!(expect(&[], "zmail").basis, Basis::Guess);
    }
}
