//! What holds for any journal, even one that no controller writes.

use std::collections::BTreeSet;
use std::sync::Arc;

use mailkeep_model::{
    Act, ActFailure, ActOutcome, Actor, CallOff, Event, EventKind, HostState, Realm, Stage,
};
use proptest::prelude::*;

use super::tests::{at, host, plan_id, plan_of};
use super::{Do, Executor};

const HOSTS: [&str; 5] = ["mx1", "mx2", "mx3", "mx4", "nobody"];

fn outcome() -> impl Strategy<Value = ActOutcome> {
    let failed = |kind| ActOutcome::Failed {
        kind,
        detail: String::new(),
    };
    prop_oneof![
        6 => Just(ActOutcome::Done { seen: Vec::new() }),
        1 => Just(ActOutcome::AlreadyDone { seen: Vec::new() }),
        1 => Just(ActOutcome::NotYet { why: String::new() }),
        1 => Just(failed(ActFailure::Unreachable)),
        1 => Just(failed(ActFailure::ServiceDown)),
        1 => Just(failed(ActFailure::LeaseLost)),
    ]
}

/// Something a journal may hold: mostly ends of what was begun, else anything.
#[derive(Debug, Clone)]
enum Line {
    /// What the executor asks for is begun; nothing ends.
    Poll,
    /// The act under way on a host ends so.
    Ends(usize, ActOutcome),
    /// An act is begun that nobody asked for.
    Begins(usize, usize, u32, u64),
    CalledOff(usize),
    Paused,
    Resumed,
    Aborted,
    Isolated(usize, bool),
    /// A new controller replays all of it.
    Crash,
}

fn line() -> impl Strategy<Value = Line> {
    let who = 0..HOSTS.len();
    prop_oneof![
        20 => Just(Line::Poll),
        40 => (who.clone(), outcome()).prop_map(|(host, end)| Line::Ends(host, end)),
        3 => (who.clone(), 0..Act::ALL.len(), 1..4_u32, 0..4_u64)
            .prop_map(|(host, act, attempt, fence)| Line::Begins(host, act, attempt, fence)),
        2 => who.clone().prop_map(Line::CalledOff),
        1 => Just(Line::Paused),
        1 => Just(Line::Resumed),
        1 => Just(Line::Aborted),
        2 => (who, any::<bool>()).prop_map(|(host, isolated)| Line::Isolated(host, isolated)),
        2 => Just(Line::Crash),
    ]
}

/// A journal under construction, and the acts that are under way by it.
struct Writer {
    executor: Executor,
    journal: Vec<Event>,
    minute: i64,
    fence: u64,
}

impl Writer {
    fn new() -> Self {
        let mut writer = Self {
            executor: fresh(1),
            journal: Vec::new(),
            minute: -10,
            fence: 1,
        };
        writer.write(EventKind::RolloutStarted {
            plan: plan_id(),
            by: somebody(),
        });
        writer
    }

    /// An event that is refused is in the journal all the same.
    fn write(&mut self, kind: EventKind) {
        let event = Event {
            at: at(self.minute),
            realm: Realm::Drill,
            kind,
        };
        let before = states(&self.executor);
        if self.executor.apply(&event).is_err() {
            assert_eq!(before, states(&self.executor), "a refusal changes nothing");
        }
        self.journal.push(event);
    }

    fn poll(&mut self) {
        for _ in 0..100 {
            let due = self.executor.poll(at(self.minute));
            let overlooked = self.executor.overlooked(&due, at(self.minute));
            assert_eq!(overlooked, None);
            let mut hosts = BTreeSet::new();
            let mut records = 0;
            for what in &due {
                match what {
                    Do::Record(_) => records += 1,
                    Do::Order(order) => assert!(hosts.insert(order.step), "one order a host"),
                }
            }
            assert!(records == 0 || hosts.is_empty(), "records come alone");
            for what in due {
                match what {
                    Do::Record(kind) => self.write(kind),
                    Do::Order(order) => self.write(order.started().unwrap()),
                }
            }
            if records == 0 {
                return;
            }
        }
        unreachable!("the executor records without end");
    }

    fn line(&mut self, line: Line) {
        self.minute += 1;
        match line {
            Line::Poll => self.poll(),
            Line::Ends(who, result) => {
                let begun = self.journal.iter().rev().find_map(|event| {
                    let EventKind::ActStarted {
                        host,
                        act,
                        attempt,
                        fence,
                        ..
                    } = &event.kind
                    else {
                        return None;
                    };
                    (host.as_str() == HOSTS[who]).then_some((*act, *attempt, *fence))
                });
                if let Some((act, attempt, fence)) = begun {
                    self.write(EventKind::ActEnded {
                        plan: plan_id(),
                        host: host(HOSTS[who]),
                        act,
                        attempt,
                        fence,
                        result,
                    });
                }
            }
            Line::Begins(who, act, attempt, fence) => self.write(EventKind::ActStarted {
                plan: plan_id(),
                host: host(HOSTS[who]),
                act: Act::ALL[act],
                attempt,
                fence,
            }),
            Line::CalledOff(who) => self.write(EventKind::HostCalledOff {
                plan: plan_id(),
                host: host(HOSTS[who]),
                reason: CallOff::WindowPassed,
                detail: String::new(),
            }),
            Line::Paused => self.write(EventKind::RolloutPaused {
                plan: plan_id(),
                by: somebody(),
                reason: String::new(),
            }),
            Line::Resumed => self.write(EventKind::RolloutResumed {
                plan: plan_id(),
                by: somebody(),
            }),
            Line::Aborted => self.write(EventKind::RolloutAborted {
                plan: plan_id(),
                by: somebody(),
                reason: String::new(),
            }),
            Line::Isolated(who, true) => self.write(EventKind::HostIsolated {
                host: host(HOSTS[who]),
                by: somebody(),
                reason: String::new(),
                below_minimum: false,
            }),
            Line::Isolated(who, false) => self.write(EventKind::HostReleased {
                host: host(HOSTS[who]),
                by: somebody(),
            }),
            Line::Crash => {
                self.fence = self.executor.taken_over_by().unwrap_or(self.fence) + 1;
                self.executor = replay(&self.journal, self.fence);
            }
        }
    }
}

fn somebody() -> Actor {
    Actor {
        name: "somebody".to_owned(),
        team: None,
    }
}

fn fresh(fence: u64) -> Executor {
    let steps = [
        ("mx1", Stage::Test, 0),
        ("mx2", Stage::Rest, 10),
        ("mx3", Stage::Rest, 10),
        ("mx4", Stage::Rest, 20),
    ];
    let mut plan = plan_of(&steps, 2, Some(600));
    plan.policy.wave_failures = 1;
    Executor::new(plan_id(), Arc::new(plan), fence)
}

fn replay(journal: &[Event], fence: u64) -> Executor {
    let mut executor = fresh(fence);
    for event in journal {
        // What is refused was refused when it was written.
        executor.apply(event).ok();
    }
    executor
}

fn states(executor: &Executor) -> Vec<(HostState, u32)> {
    let views = executor.states();
    views.map(|view| (view.state, view.attempt)).collect()
}

proptest! {
    #[test]
    fn any_journal_folds_to_the_same_states_and_asks_for_one_thing_a_host(
        lines in prop::collection::vec(line(), 0..200),
    ) {
        let mut writer = Writer::new();
        for line in lines {
            writer.line(line);
        }
        let again = replay(&writer.journal, writer.fence);
        prop_assert_eq!(states(&writer.executor), states(&again));
        prop_assert_eq!(writer.executor.outcome(), again.outcome());
        prop_assert_eq!(writer.executor.paused(), again.paused());
        let (now, wake) = (at(writer.minute), again.next_wake(at(writer.minute)));
        prop_assert!(wake.is_none_or(|wake| wake > now));
    }
}
