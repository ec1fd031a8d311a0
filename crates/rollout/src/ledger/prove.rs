//! The part of a host's proof that is a real message: handed to exactly that host before it serves
//! again, and found where its mail ends.
//!
//! Entry type: [`ProvingHands`].

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::SignedDuration;
use mailkeep_model::{Act, ActFailure, ActOutcome, HostName, PlanId, ServiceName, Timestamp};
use mailkeep_reach::probe::HandIn;

use super::flow::Post;
use super::prefix;
use crate::drive::Clock;
use crate::hands::{Hands, Order};

/// Messages handed in one after the other before the host is said not to deliver.
const TRIES: usize = 3;

/// From one look for the message to the next, and from one try of anything else.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(1);

/// The same at first, twice as long each time: most messages are there in a fraction of a second, and the host is
/// out of service meanwhile.
const FIRST_LOOKS_EVERY: SignedDuration = SignedDuration::from_millis(100);

/// What a drained host says of whom it still lets in (`scripts/common.sh`).
const LETS_IN: &str = "lets-in ";

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
        let begun = self.clock.now();
        let outcome = self.hands.perform(order);
        match order.act {
            Act::Precheck | Act::Drain => self.reached(order, outcome),
            Act::Prove | Act::ProveOld => self.proven(order, outcome, begun),
            Act::Lease
            | Act::AwaitEmpty
            | Act::Save
            | Act::Patch
            | Act::Return
            | Act::Recheck
            | Act::RollBack
            | Act::Release => outcome,
        }
    }
}

impl<H> ProvingHands<H> {
    /// A host that greets nobody from here could never be proven: that is found before it is touched,
    /// and once more when strangers are kept away from it, not after it was patched.
    fn reached(&self, order: &Order, outcome: ActOutcome) -> ActOutcome {
        let (ActOutcome::Done { seen } | ActOutcome::AlreadyDone { seen }) = &outcome else {
            return outcome;
        };
        let is_drain = order.act == Act::Drain;
        let let_in = let_in(seen);
        // A host that runs the target already is not proven again; one whose product is not listening
        // while it is drained says nobody whom it lets in.
        let is_asked = if is_drain {
            let_in.is_some()
        } else {
            matches!(outcome, ActOutcome::Done { .. })
        };
        let Some(step) = order.step().filter(|_| is_asked) else {
            return outcome;
        };
        for service in &step.proof.probes {
            let Err(why) = self.greeted(&step.host, service) else {
                continue;
            };
            return if is_drain {
                ActOutcome::Failed {
                    kind: ActFailure::ProbeLost,
                    detail: format!(
                        "drained, {} does not let the controller hand in a probe of {service}: {why}{}",
                        step.host,
                        says_let_in(let_in)
                    ),
                }
            } else {
                ActOutcome::NotYet {
                    why: format!(
                        "the controller cannot hand a probe of {service} to {}: {why}",
                        step.host
                    ),
                }
            };
        }
        outcome
    }

    fn greeted(&self, host: &HostName, service: &ServiceName) -> Result<(), String> {
        let mut outcome = Ok(());
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.clock.pause(LOOK_EVERY.unsigned_abs());
            }
            outcome = self.post.greets(host, service);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Adds the messages to a proof.
    fn proven(&self, order: &Order, outcome: ActOutcome, begun: Timestamp) -> ActOutcome {
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
        let end = begun.checked_add(order.limit).unwrap_or(Timestamp::MAX);
        let mut left = step.proof.probes.len();
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
            let now = self.clock.now();
            let until = now
                .checked_add(share(end.duration_since(now), left))
                .unwrap_or(end);
            left -= 1;
            let proof = Proof {
                host: &step.host,
                service,
                prefix: proof_prefix(&order.plan_id, &self.run, &step.host, service, order.act),
                // Numbers of this try, apart from those of every other try and controller.
                first: order
                    .fence
                    .saturating_mul(1_000_000)
                    .saturating_add(u64::from(order.attempt).saturating_mul(100)),
                late: SignedDuration::from_secs(i64::from(settings.late_seconds.max(1))),
                until,
            };
            match self.deliver(&proof) {
                Ok(line) => seen.push(line),
                Err(ActOutcome::Failed { kind, mut detail }) => {
                    detail.push_str(&says_let_in(let_in(&seen)));
                    return ActOutcome::Failed { kind, detail };
                }
                Err(not_yet) => return not_yet,
            }
        }
        if already {
            ActOutcome::AlreadyDone { seen }
        } else {
            ActOutcome::Done { seen }
        }
    }

    /// Hands messages in until one is found; the line of evidence.
    fn deliver(&self, proof: &Proof<'_>) -> Result<String, ActOutcome> {
        let Proof { host, service, .. } = proof;
        let here = BTreeSet::from([HostName::clone(host)]);
        let mut trouble = String::new();
        let mut covered = "in a try of which no answer came".to_owned();
        // Why nobody could look since the last message was handed in.
        let mut blind = None;
        let mut longest = SignedDuration::ZERO;
        for (number, tries_left) in (proof.first..).zip((1..=TRIES).rev()) {
            let left = proof.until.duration_since(self.clock.now());
            // Less a look that takes its time.
            let wait = share(left, tries_left) - LOOK_EVERY * 2;
            let wait = proof.late.min(wait);
            if wait < LOOK_EVERY {
                return Err(ActOutcome::NotYet {
                    why: format!("there was no time left for a probe through {service}"),
                });
            }
            longest = longest.max(wait);
            match self.handed(proof, number, wait) {
                HandIn::Accepted { cover, .. } => {
                    trouble.clear();
                    covered = cover.to_string();
                }
                HandIn::Unknown { why } => trouble = why,
                HandIn::Refused { why, for_good } => {
                    trouble = format!("refused ({why})");
                    if for_good {
                        self.clock.pause(LOOK_EVERY.unsigned_abs());
                        continue;
                    }
                    // It had as long as a message may take.
                    break;
                }
            }
            let handed = self.clock.now();
            let mut looked = false;
            let mut pause = FIRST_LOOKS_EVERY;
            loop {
                match self
                    .post
                    .look(service, Some(&here), &proof.prefix, proof.first)
                {
                    Ok(copies) => {
                        (looked, blind) = (true, None);
                        let mine = copies.range(proof.first..).find(|(_, copies)| **copies > 0);
                        if let Some((number, _)) = mine {
                            let took = self.clock.now().duration_since(handed);
                            return Ok(format!(
                                "probe {service} {}{number} handed in {covered}, found after {:.1} s",
                                proof.prefix,
                                took.as_secs_f64()
                            ));
                        }
                    }
                    Err(error) if looked => trouble = error,
                    Err(error) => blind = Some(error),
                }
                if self.clock.now().duration_since(handed) >= wait {
                    break;
                }
                self.clock.pause(pause.unsigned_abs());
                pause = (pause * 2).min(LOOK_EVERY);
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
            longest.as_secs()
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

    /// Hands one message in. What is refused for the moment is offered again, as a sender does: a
    /// greylist, or a filter that starts slowly, says nothing about a patch.
    fn handed(&self, proof: &Proof<'_>, number: u64, wait: SignedDuration) -> HandIn {
        let begun = self.clock.now();
        loop {
            let outcome = self
                .post
                .hand_in(proof.host, proof.service, &proof.prefix, number);
            let lasts = self.clock.now().duration_since(begun);
            match outcome {
                HandIn::Refused {
                    for_good: false, ..
                } if lasts < wait => self.clock.pause(LOOK_EVERY.unsigned_abs()),
                outcome => return outcome,
            }
        }
    }
}

/// What is to be delivered.
struct Proof<'a> {
    host: &'a HostName,
    service: &'a ServiceName,
    prefix: String,
    /// The first number; the others follow.
    first: u64,
    late: SignedDuration,
    /// The hands must be back by then.
    until: Timestamp,
}

/// One of so many equal parts.
fn share(time: SignedDuration, parts: usize) -> SignedDuration {
    time / i32::try_from(parts.max(1)).unwrap_or(i32::MAX)
}

/// Whom a drained host lets in, by what it said.
fn let_in(seen: &[String]) -> Option<&str> {
    seen.iter().find_map(|fact| fact.strip_prefix(LETS_IN))
}

fn says_let_in(let_in: Option<&str>) -> String {
    let_in.map_or_else(String::new, |addresses| {
        let addresses = if addresses.is_empty() {
            "nobody"
        } else {
            addresses
        };
        format!(
            "; it lets in {addresses}; where a gateway makes another address of the controller's, say which: \
             [controller] seen_as in the fleet file"
        )
    })
}

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

    use mailkeep_model::{ProbeSettings, Stage};
    use mailkeep_reach::probe::Cover;

    use super::super::bench::Hand;
    use super::*;
    use crate::executor::tests::plan_of;

    /// Greets as it is told, delivers nothing; so many offers are refused first; one look in so many
    /// works.
    #[derive(Default)]
    struct Town {
        works: Option<u64>,
        looks: Mutex<u64>,
        refuses: Mutex<Vec<HandIn>>,
        delivers: bool,
        taken: Mutex<Vec<u64>>,
        deaf: bool,
    }

    impl Post for Town {
        fn hand_in(&self, _: &HostName, _: &ServiceName, _: &str, number: u64) -> HandIn {
            if let Some(refusal) = self.refuses.lock().unwrap().pop() {
                return refusal;
            }
            self.taken.lock().unwrap().push(number);
            HandIn::Accepted {
                reply: "250".to_owned(),
                cover: Cover::Plain,
            }
        }

        fn greets(&self, _: &HostName, _: &ServiceName) -> Result<(), String> {
            if self.deaf {
                Err("connect: refused".to_owned())
            } else {
                Ok(())
            }
        }

        fn mailboxes(&self, _: &ServiceName) -> usize {
            1
        }

        fn look(
            &self,
            _: &ServiceName,
            _: Option<&BTreeSet<HostName>>,
            _: &str,
            _: u64,
        ) -> Result<BTreeMap<u64, u64>, String> {
            let mut looks = self.looks.lock().unwrap();
            *looks += 1;
            if self
                .works
                .is_some_and(|one_in| looks.is_multiple_of(one_in))
            {
                let taken = self.taken.lock().unwrap();
                let there = taken.iter().filter(|_| self.delivers);
                Ok(there.map(|number| (*number, 1)).collect())
            } else {
                Err("no route to st1".to_owned())
            }
        }
    }

    fn delivered(town: Town, late: i64, within: i64) -> (Result<String, ActOutcome>, i64) {
        delivered_by(&Arc::new(Hand::default()), town, late, within)
    }

    fn delivered_by(
        clock: &Arc<Hand>,
        town: Town,
        late: i64,
        within: i64,
    ) -> (Result<String, ActOutcome>, i64) {
        let proving = ProvingHands {
            hands: (),
            post: Arc::new(town),
            clock: Arc::clone(clock) as Arc<dyn Clock>,
            run: "run".to_owned(),
        };
        let (host, service) = (
            HostName::new("mx1").unwrap(),
            ServiceName::new("inbound-mx").unwrap(),
        );
        let outcome = proving.deliver(&Proof {
            host: &host,
            service: &service,
            prefix: "p.".to_owned(),
            first: 1,
            late: SignedDuration::from_secs(late),
            until: Timestamp::from_second(within).unwrap(),
        });
        (outcome, clock.now().as_second())
    }

    fn outcome(works: Option<u64>) -> ActOutcome {
        let town = Town {
            works,
            ..Town::default()
        };
        delivered(town, 5, 600).0.unwrap_err()
    }

    fn is_lost(outcome: &ActOutcome) -> bool {
        matches!(
            outcome,
            ActOutcome::Failed {
                kind: ActFailure::ProbeLost,
                ..
            }
        )
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
            assert!(is_lost(&outcome(Some(one_in))));
        }
    }

    #[test]
    fn a_lost_message_is_called_lost_within_the_act_however_late_a_service_lets_it_be() {
        for late in [5, 60, 300, 86_400] {
            let town = Town {
                works: Some(1),
                ..Town::default()
            };
            let (outcome, took) = delivered(town, late, 900);
            let outcome = outcome.unwrap_err();
            assert!(is_lost(&outcome), "late after {late} s: {outcome:?}");
            assert!(took <= 900, "{took} s");
        }
    }

    #[test]
    fn a_message_that_is_there_soon_is_found_soon_and_one_that_is_not_is_not_asked_for_too_often() {
        let found_at = |look| {
            let town = Town {
                works: Some(look),
                delivers: true,
                ..Town::default()
            };
            let clock = Arc::new(Hand::default());
            let (outcome, _) = delivered_by(&clock, town, 60, 600);
            assert!(outcome.is_ok(), "{outcome:?}");
            clock.now().as_millisecond()
        };
        assert_eq!(found_at(1), 0);
        assert_eq!(found_at(2), 100);
        assert_eq!(found_at(4), 700);
        // 1.5 s after four looks, and one a second from there.
        assert_eq!(found_at(25), 21_500);
    }

    fn refusal(for_good: bool) -> HandIn {
        HandIn::Refused {
            why: "RCPT TO: no".to_owned(),
            for_good,
        }
    }

    #[test]
    fn a_server_that_says_later_is_asked_later() {
        let town = Town {
            works: Some(1),
            delivers: true,
            refuses: Mutex::new(vec![refusal(false); 40]),
            ..Town::default()
        };
        let (outcome, took) = delivered(town, 60, 900);
        assert!(outcome.is_ok(), "{outcome:?}");
        assert!((40..60).contains(&took), "{took} s");
    }

    #[test]
    fn a_server_that_says_no_is_not_asked_for_long() {
        for (for_good, at_most) in [(true, 5), (false, 65)] {
            let town = Town {
                works: Some(1),
                delivers: true,
                refuses: Mutex::new(vec![refusal(for_good); 1000]),
                ..Town::default()
            };
            let (outcome, took) = delivered(town, 60, 900);
            let outcome = outcome.unwrap_err();
            assert!(is_lost(&outcome), "{outcome:?}");
            assert!(took <= at_most, "{took} s");
        }
    }

    /// Hands that say this of every act.
    struct Says(ActOutcome);

    impl Hands for Says {
        fn perform(&self, _: &Order) -> ActOutcome {
            self.0.clone()
        }
    }

    fn order(act: Act) -> Order {
        let mut plan = plan_of(&[("mx1", Stage::Test, 0)], 0, None);
        for (name, service) in &mut plan.services {
            service.probe = Some(ProbeSettings {
                port: 25,
                from: "probe@example.org".to_owned(),
                to: "probe@example.org".to_owned(),
                found_on: None,
                mailbox: "/var/mail/probe".to_owned(),
                late_seconds: 5,
            });
            for step in &mut plan.steps {
                step.proof.probes.insert(name.clone());
            }
        }
        Order {
            plan_id: PlanId::new("sha256:00").unwrap(),
            plan: Arc::new(plan),
            step: 0,
            act,
            attempt: 1,
            fence: 1,
            limit: SignedDuration::from_mins(15),
            last: false,
        }
    }

    fn performed(act: Act, deaf: bool, inner: ActOutcome) -> ActOutcome {
        let proving = ProvingHands::new(
            Says(inner),
            Arc::new(Town {
                works: Some(1),
                deaf,
                ..Town::default()
            }),
            Arc::new(Hand::default()),
            "run".to_owned(),
        );
        proving.perform(&order(act))
    }

    fn done(fact: &str) -> ActOutcome {
        ActOutcome::Done {
            seen: vec![fact.to_owned()],
        }
    }

    #[test]
    fn a_host_that_lets_the_controller_in_is_drained_and_another_is_not() {
        let drained = done("lets-in 192.0.2.9 2001:db8::9");
        assert_eq!(performed(Act::Drain, false, drained.clone()), drained);
        let ActOutcome::Failed { kind, detail } = performed(Act::Drain, true, drained) else {
            panic!("it is taken for drained");
        };
        assert_eq!(kind, ActFailure::ProbeLost);
        assert!(detail.contains("connect: refused"), "{detail}");
        assert!(
            detail.contains("; it lets in 192.0.2.9 2001:db8::9; where a gateway")
                && detail.ends_with("[controller] seen_as in the fleet file"),
            "{detail}"
        );
        // A product that does not listen while it is drained cannot be asked.
        let silent = done("drained product");
        assert_eq!(performed(Act::Drain, true, silent.clone()), silent);
    }

    #[test]
    fn a_host_that_no_probe_could_reach_is_not_begun() {
        let ready = done("installed postfix=1");
        assert_eq!(performed(Act::Precheck, false, ready.clone()), ready);
        let ActOutcome::NotYet { why } = performed(Act::Precheck, true, ready.clone()) else {
            panic!("it is begun");
        };
        assert!(why.contains("connect: refused"), "{why}");
        assert_eq!(performed(Act::Lease, true, ready.clone()), ready);
        let already = ActOutcome::AlreadyDone { seen: Vec::new() };
        assert_eq!(performed(Act::Precheck, true, already.clone()), already);
    }

    #[test]
    fn a_lost_message_says_whom_the_host_lets_in() {
        let ActOutcome::Failed { detail, .. } =
            performed(Act::Prove, false, done("lets-in 192.0.2.9"))
        else {
            panic!("the mailbox is empty");
        };
        assert!(detail.contains("; it lets in 192.0.2.9; "), "{detail}");
    }
}
