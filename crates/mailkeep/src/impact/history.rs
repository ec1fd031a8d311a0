//! How long servers were out of service: from this fleet's own rollouts, else what was measured on
//! Debian's packages.

use std::collections::BTreeMap;

use mailkeep_model::{Act, ActOutcome, EventKind, HostName, RecordedEvent, Timestamp};
use serde::Serialize;

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

/// The expectation for a family. `family_of` tells a host's.
pub fn expect(
    events: &[RecordedEvent],
    family: &str,
    family_of: impl Fn(&HostName) -> Option<String>,
) -> Interruption {
    let mut seconds: Vec<f64> = out_of_service(events)
        .into_iter()
        .filter(|(host, _)| family_of(host).as_deref() == Some(family))
        .map(|(_, seconds)| seconds)
        .collect();
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

/// Seconds between the start of a drain and the end of the return that followed, by host.
fn out_of_service(events: &[RecordedEvent]) -> Vec<(HostName, f64)> {
    let mut drained: BTreeMap<&HostName, Timestamp> = BTreeMap::new();
    let mut found = Vec::new();
    for recorded in events {
        match &recorded.event.kind {
            EventKind::ActStarted {
                host,
                act: Act::Drain,
                ..
            } => {
                drained.entry(host).or_insert(recorded.event.at);
            }
            EventKind::ActEnded {
                host,
                act: Act::Return,
                result: ActOutcome::Done { .. } | ActOutcome::AlreadyDone { .. },
                ..
            } => {
                if let Some(since) = drained.remove(host) {
                    let seconds = recorded.event.at.duration_since(since).as_secs_f64();
                    found.push((host.clone(), seconds));
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use mailkeep_model::{Event, PlanId, Realm};

    use super::*;

    fn event(seq: u64, second: i64, host: &str, act: Act, ended: bool) -> RecordedEvent {
        let plan = PlanId::new("sha256:00").unwrap();
        let host = HostName::new(host).unwrap();
        let kind = if ended {
            EventKind::ActEnded {
                plan,
                host,
                act,
                attempt: 1,
                fence: 1,
                result: ActOutcome::Done { seen: Vec::new() },
            }
        } else {
            EventKind::ActStarted {
                plan,
                host,
                act,
                attempt: 1,
                fence: 1,
            }
        };
        RecordedEvent {
            seq,
            event: Event {
                at: Timestamp::from_second(second).unwrap(),
                realm: Realm::Live,
                kind,
            },
        }
    }

    #[test]
    fn the_fleets_own_median_counts_once_there_are_enough_steps() {
        let mut events = Vec::new();
        for (at, (host, took)) in (0_i64..).zip([("a", 40), ("b", 20), ("c", 300)]) {
            let start = 1000 * (at + 1);
            events.push(event(at.unsigned_abs(), start, host, Act::Drain, false));
            events.push(event(
                at.unsigned_abs(),
                start + took,
                host,
                Act::Return,
                true,
            ));
        }
        let all_postfix = |_: &HostName| Some("postfix".to_owned());
        let expected = expect(&events, "postfix", all_postfix);
        assert_eq!(expected.basis, Basis::History { steps: 3 });
        assert!((expected.seconds - 40.0).abs() < 1e-9);
        let few = expect(&events[..4], "postfix", all_postfix);
        assert_eq!(few.basis, Basis::Measured);
        assert_eq!(expect(&[], "zmail", all_postfix).basis, Basis::Guess);
    }

    #[test]
    fn a_second_drain_of_the_same_outage_does_not_shorten_it() {
        let events = [
            event(1, 100, "a", Act::Drain, false),
            event(2, 130, "a", Act::Drain, false),
            event(3, 160, "a", Act::Return, true),
        ];
        assert_eq!(
            out_of_service(&events),
            [(HostName::new("a").unwrap(), 60.0)]
        );
    }
}
