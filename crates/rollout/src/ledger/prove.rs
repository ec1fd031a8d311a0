//! The part of a host's proof that is a real message: handed to exactly that host before it serves
//! again, and found where its mail ends.
//!
//! Entry type: [`ProvingHands`].

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use mailkeep_model::{Act, ActFailure, ActOutcome, HostName, PlanId, ProbeSettings, ServiceName};
use mailkeep_reach::probe::HandIn;

use super::flow::Post;
use super::prefix;
use crate::drive::Clock;
use crate::hands::{Hands, Order};

/// Messages handed in one after the other before the host is said not to deliver.
const TRIES: u64 = 3;

/// From one look for the message to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The longest wait for one message, whatever the service allows.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(5);

/// Hands that add the message to the proof of other hands.
pub struct ProvingHands<H> {
    hands: H,
    post: Arc<dyn Post>,
    clock: Arc<dyn Clock>,
    run: String,
}

impl<H> ProvingHands<H> {
    /// `run` is the token of the ledger, so that ids are not those of another run.
    pub fn new(hands: H, post: Arc<dyn Post>, clock: Arc<dyn Clock>, run: String) -> Self {
        Self {
            hands,
            post,
            clock,
            run,
        }
    }
}

impl<H: Hands> Hands for ProvingHands<H> {
    fn perform(&self, order: &Order) -> ActOutcome {
        let outcome = self.hands.perform(order);
        if !matches!(order.act, Act::Prove | Act::ProveOld) {
            return outcome;
        }
        let (mut seen, already) = match outcome {
            ActOutcome::Done { seen } => (seen, false),
            ActOutcome::AlreadyDone { seen } => (seen, true),
            other @ (ActOutcome::NotYet { .. } | ActOutcome::Failed { .. }) => return other,
        };
        let Some(step) = order.step() else {
            return ActOutcome::Failed {
                kind: ActFailure::Other,
                detail: "the plan has no such step".to_owned(),
            };
        };
        for service in &step.proof.probes {
            let settings = order
                .plan
                .services
                .get(service)
                .and_then(|planned| planned.probe.as_ref());
            let Some(settings) = settings else {
                return ActOutcome::Failed {
                    kind: ActFailure::Other,
                    detail: format!("the plan wants a message through {service} and says not how"),
                };
            };
            match self.prove(order, &step.host, service, settings) {
                Ok(line) => seen.push(line),
                Err(failed) => return failed,
            }
        }
        if already {
            ActOutcome::AlreadyDone { seen }
        } else {
            ActOutcome::Done { seen }
        }
    }
}

impl<H> ProvingHands<H> {
    /// Hands messages in until one is found; the line of evidence.
    fn prove(
        &self,
        order: &Order,
        host: &HostName,
        service: &ServiceName,
        settings: &ProbeSettings,
    ) -> Result<String, ActOutcome> {
        let prefix = proof_prefix(&order.plan_id, &self.run, host, service, order.act);
        // Numbers of this try, apart from those of every other try and controller.
        let first = order
            .fence
            .saturating_mul(1_000_000)
            .saturating_add(u64::from(order.attempt).saturating_mul(100));
        let wait = SignedDuration::from_secs(i64::from(settings.late_seconds.max(1)));
        let wait = wait.min(LONGEST_WAIT);
        self.deliver(host, service, &prefix, first, wait, order.limit)
    }

    fn deliver(
        &self,
        host: &HostName,
        service: &ServiceName,
        prefix: &str,
        first: u64,
        wait: SignedDuration,
        limit: SignedDuration,
    ) -> Result<String, ActOutcome> {
        let begun = self.clock.now();
        let mut trouble = String::new();
        // Why nobody could look since the last message was handed in.
        let mut blind = None;
        for number in first..first + TRIES {
            match self.post.hand_in(host, service, prefix, number) {
                HandIn::Accepted { .. } => trouble.clear(),
                HandIn::Unknown { why } => trouble = why,
                HandIn::Refused { why } => {
                    trouble = format!("refused ({why})");
                    self.clock.pause(LOOK_EVERY);
                    continue;
                }
            }
            let handed = self.clock.now();
            let mut looked = false;
            loop {
                match self.post.look(service, Some(host), prefix, first) {
                    Ok(copies) => {
                        (looked, blind) = (true, None);
                        let mine = copies.range(first..).find(|(_, copies)| **copies > 0);
                        if let Some((number, _)) = mine {
                            let took = self.clock.now().duration_since(handed);
                            return Ok(format!(
                                "probe {service} {prefix}{number} found after {} s",
                                took.as_secs()
                            ));
                        }
                    }
                    Err(error) if looked => trouble = error,
                    Err(error) => blind = Some(error),
                }
                let now = self.clock.now();
                if now.duration_since(handed) >= wait {
                    break;
                }
                if now.duration_since(begun) >= limit - LOOK_EVERY_SIGNED {
                    return Err(ActOutcome::NotYet {
                        why: format!("the probe through {service} is not found yet"),
                    });
                }
                self.clock.pause(LOOK_EVERY);
            }
        }
        // Only a look that worked can make a message missing: the mailbox may lie on another machine,
        // and its trouble is not this host's.
        if let Some(why) = blind {
            return Err(ActOutcome::NotYet {
                why: format!("nobody could look for the probe through {service}: {why}"),
            });
        }
        let mut detail = format!(
            "{TRIES} probes through {service} handed to {host}, none found within {} s each",
            wait.as_secs()
        );
        if !trouble.is_empty() {
            detail.push_str(": ");
            detail.push_str(&trouble);
        }
        Err(ActOutcome::Failed {
            kind: ActFailure::ProbeLost,
            detail,
        })
    }
}

const LOOK_EVERY_SIGNED: SignedDuration = SignedDuration::from_secs(1);

/// What the ids of a host's proof begin with.
fn proof_prefix(
    plan: &PlanId,
    run: &str,
    host: &HostName,
    service: &ServiceName,
    act: Act,
) -> String {
    prefix(plan, run, &format!("{}.{host}.{service}", act.name()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::mpsc::Receiver;

    use mailkeep_model::Timestamp;

    use super::*;
    use crate::drive::Message;

    /// Every pause is a second.
    #[derive(Default)]
    struct Hand(Mutex<i64>);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(*self.0.lock().unwrap()).unwrap()
        }

        fn wait(
            &self,
            _: &Receiver<Message>,
            _: Duration,
            _: Option<Timestamp>,
        ) -> Option<Message> {
            None
        }

        fn pause(&self, _: Duration) {
            *self.0.lock().unwrap() += 1;
        }
    }

    /// Takes every message and delivers none; one look in so many works.
    struct Town {
        works: Option<u64>,
        looks: Mutex<u64>,
    }

    impl Post for Town {
        fn hand_in(&self, _: &HostName, _: &ServiceName, _: &str, _: u64) -> HandIn {
            HandIn::Accepted {
                reply: "250".to_owned(),
            }
        }

        fn look(
            &self,
            _: &ServiceName,
            _: Option<&HostName>,
            _: &str,
            _: u64,
        ) -> Result<BTreeMap<u64, u64>, String> {
            let mut looks = self.looks.lock().unwrap();
            *looks += 1;
            if self
                .works
                .is_some_and(|one_in| looks.is_multiple_of(one_in))
            {
                Ok(BTreeMap::new())
            } else {
                Err("no route to st1".to_owned())
            }
        }
    }

    fn outcome(works: Option<u64>) -> ActOutcome {
        let proving = ProvingHands {
            hands: (),
            post: Arc::new(Town {
                works,
                looks: Mutex::default(),
            }),
            clock: Arc::new(Hand::default()),
            run: "run".to_owned(),
        };
        let prefix = "p.";
        let (host, service) = (
            HostName::new("mx1").unwrap(),
            ServiceName::new("inbound-mx").unwrap(),
        );
        let limit = SignedDuration::from_mins(10);
        let late = SignedDuration::from_secs(5);
        proving
            .deliver(&host, &service, prefix, 1, late, limit)
            .unwrap_err()
    }

    #[test]
    fn who_cannot_look_calls_no_message_lost() {
        let ActOutcome::NotYet { why } = outcome(None) else {
            panic!("the message is called lost");
        };
        assert!(why.contains("no route to st1"), "{why}");
    }

    #[test]
    fn what_some_looks_did_not_find_is_lost() {
        for one_in in [1, 2, 3] {
            assert!(matches!(
                outcome(Some(one_in)),
                ActOutcome::Failed {
                    kind: ActFailure::ProbeLost,
                    ..
                }
            ));
        }
    }
}
