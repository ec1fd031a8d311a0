//! The states of a host in a rollout, and every transition between them.
//!
//! Entry types: [`next`], the table; [`act_of`], what is done in a state; [`limits`], how long and how
//! often. `docs/rollout-states.md` is drawn from the table.
//!
//! **Invariant:** knows no plan, no time and no other host. Illegal moves are errors, never panics.

#![warn(clippy::wildcard_enum_match_arm)]

use jiff::SignedDuration;
use mailkeep_model::{Act, HostState};

/// A transition that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing leads on from {} by {}", state.name(), event.name())]
pub struct IllegalTransition {
    /// From where.
    pub state: HostState,
    /// By what.
    pub event: HostEvent,
}

/// What moves a host from state to state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostEvent {
    /// The act that leads on was begun.
    Begun,
    /// A host that is ready is looked at once more, since the last look is old.
    LookAgain,
    /// Done.
    Done,
    /// It was so already.
    AlreadyDone,
    /// Not yet; it will be asked again.
    NotYet,
    /// Not yet, and it was asked often enough.
    Overdue,
    /// It failed.
    Failed,
    /// Nothing was done, or what was done stands proven, and somebody has changed the host besides.
    ChangedByOthers,
    /// Somebody else has their hands on the host.
    LeaseLost,
    /// No answer, or none that could be understood; it will be tried again.
    Unreachable,
    /// The same, and it was tried often enough.
    OutOfReach,
    /// The executor takes it back without a failure of its own; never while an act is under way.
    CalledOff,
    /// The same, before its patch was begun.
    CalledOffUnbegun,
}

impl HostEvent {
    /// Every event.
    pub const ALL: [Self; 13] = [
        Self::Begun,
        Self::LookAgain,
        Self::Done,
        Self::AlreadyDone,
        Self::NotYet,
        Self::Overdue,
        Self::Failed,
        Self::ChangedByOthers,
        Self::LeaseLost,
        Self::Unreachable,
        Self::OutOfReach,
        Self::CalledOff,
        Self::CalledOffUnbegun,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AlreadyDone => "already-done",
            Self::Begun => "begun",
            Self::CalledOff => "called-off",
            Self::CalledOffUnbegun => "called-off-unbegun",
            Self::ChangedByOthers => "changed-by-others",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::LeaseLost => "lease-lost",
            Self::LookAgain => "look-again",
            Self::NotYet => "not-yet",
            Self::OutOfReach => "out-of-reach",
            Self::Overdue => "overdue",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The table.
///
/// What is behind it: nothing that was not drained is changed; whoever was drained is either proven
/// and let in again, or stays out. What fails before anything was changed leads back to service, what
/// fails later leads to the saved versions, what fails there leaves the host out of service, and so
/// does a proof that nobody could take. Somebody else's hands on a host end ours at once. A lease that
/// cannot be given back spoils nothing: it is noted, and runs out.
pub fn next(state: HostState, event: HostEvent) -> Result<HostState, IllegalTransition> {
    use HostEvent as E;
    use HostState as S;
    let illegal = Err(IllegalTransition { state, event });
    match state {
        S::Waiting => match event {
            E::Begun => Ok(S::Prechecking),
            E::CalledOff => Ok(S::Untouched),
            E::LookAgain
            | E::Done
            | E::AlreadyDone
            | E::NotYet
            | E::Overdue
            | E::Failed
            | E::ChangedByOthers
            | E::LeaseLost
            | E::Unreachable
            | E::OutOfReach
            | E::CalledOffUnbegun => illegal,
        },
        S::Prechecking => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::Prechecking),
            E::Done => Ok(S::Ready),
            // It runs the target already.
            E::AlreadyDone => Ok(S::Proven),
            E::Overdue | E::Failed | E::LeaseLost | E::OutOfReach | E::CalledOff => {
                Ok(S::Untouched)
            }
            E::LookAgain | E::ChangedByOthers | E::CalledOffUnbegun => illegal,
        },
        S::Ready => match event {
            E::Begun => Ok(S::Leasing),
            E::LookAgain => Ok(S::Prechecking),
            E::CalledOff => Ok(S::Untouched),
            E::Done
            | E::AlreadyDone
            | E::NotYet
            | E::Overdue
            | E::Failed
            | E::ChangedByOthers
            | E::LeaseLost
            | E::Unreachable
            | E::OutOfReach
            | E::CalledOffUnbegun => illegal,
        },
        S::Leasing => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::Leasing),
            E::Done | E::AlreadyDone => Ok(S::Draining),
            // Another has it; there is nothing of ours to give back.
            E::Failed | E::LeaseLost => Ok(S::Untouched),
            // It may have been taken all the same.
            E::Overdue | E::OutOfReach | E::CalledOff => Ok(S::ReleasingUntouched),
            E::LookAgain | E::ChangedByOthers | E::CalledOffUnbegun => illegal,
        },
        S::Draining => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::Draining),
            E::Done | E::AlreadyDone => Ok(S::Emptying),
            E::Overdue | E::Failed | E::OutOfReach | E::CalledOff => Ok(S::BackingOut),
            E::LeaseLost => Ok(S::Held),
            E::LookAgain | E::ChangedByOthers | E::CalledOffUnbegun => illegal,
        },
        S::Emptying => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::Emptying),
            E::Done | E::AlreadyDone => Ok(S::Saving),
            E::Overdue | E::Failed | E::OutOfReach | E::CalledOff => Ok(S::BackingOut),
            E::LeaseLost => Ok(S::Held),
            E::LookAgain | E::ChangedByOthers | E::CalledOffUnbegun => illegal,
        },
        S::Saving => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::Saving),
            E::Done | E::AlreadyDone => Ok(S::Patching),
            E::Overdue | E::Failed | E::OutOfReach | E::CalledOff => Ok(S::BackingOut),
            E::LeaseLost => Ok(S::Held),
            E::LookAgain | E::ChangedByOthers | E::CalledOffUnbegun => illegal,
        },
        S::Patching => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::Patching),
            E::Done | E::AlreadyDone => Ok(S::Proving),
            // Nothing was done yet. What others did meanwhile is not ours to take back.
            E::ChangedByOthers | E::CalledOffUnbegun => Ok(S::BackingOut),
            // From here on only the saved versions are known to be good.
            E::Overdue | E::Failed | E::OutOfReach | E::CalledOff => Ok(S::RollingBack),
            E::LeaseLost => Ok(S::Held),
            E::LookAgain => illegal,
        },
        S::Proving => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::Proving),
            E::Done | E::AlreadyDone => Ok(S::Returning),
            E::Failed | E::OutOfReach | E::CalledOff => Ok(S::RollingBack),
            // What nobody could ask for so long says nothing against the patch, and the way back could
            // not be proven either.
            E::Overdue | E::LeaseLost => Ok(S::Held),
            E::LookAgain | E::ChangedByOthers | E::CalledOffUnbegun => illegal,
        },
        S::Returning => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::Returning),
            E::Done | E::AlreadyDone => Ok(S::Soaking),
            // Mail may flow again: it is kept away before anything else is done.
            E::Overdue | E::Failed | E::OutOfReach | E::CalledOff => Ok(S::DrainingAgain),
            E::LeaseLost => Ok(S::Unproven),
            E::LookAgain | E::ChangedByOthers | E::CalledOffUnbegun => illegal,
        },
        S::Soaking => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::Soaking),
            // What others changed after the proof is not the patch's doing, nor ours to take back.
            E::Done | E::AlreadyDone | E::ChangedByOthers => Ok(S::Releasing),
            E::Failed | E::OutOfReach | E::CalledOff => Ok(S::DrainingAgain),
            // A look that nobody could take for so long says nothing against the patch either.
            E::Overdue | E::LeaseLost => Ok(S::Unproven),
            E::LookAgain | E::CalledOffUnbegun => illegal,
        },
        S::Releasing => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::Releasing),
            E::Done | E::AlreadyDone | E::Overdue | E::Failed | E::LeaseLost | E::OutOfReach => {
                Ok(S::Proven)
            }
            E::LookAgain | E::ChangedByOthers | E::CalledOff | E::CalledOffUnbegun => illegal,
        },
        S::DrainingAgain => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::DrainingAgain),
            E::Done | E::AlreadyDone => Ok(S::EmptyingAgain),
            // It serves, or may serve: nothing is changed below it.
            E::Overdue | E::Failed | E::LeaseLost | E::OutOfReach | E::CalledOff => Ok(S::Unproven),
            E::LookAgain | E::ChangedByOthers | E::CalledOffUnbegun => illegal,
        },
        S::EmptyingAgain => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::EmptyingAgain),
            // A session that outlasts the wait is cut; its sender has not been told 250 and tries
            // again (RFC 5321 section 4.5.4.1).
            E::Done | E::AlreadyDone | E::Overdue | E::Failed => Ok(S::RollingBack),
            E::LeaseLost | E::OutOfReach => Ok(S::Held),
            E::LookAgain | E::ChangedByOthers | E::CalledOff | E::CalledOffUnbegun => illegal,
        },
        S::RollingBack => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::RollingBack),
            E::Done | E::AlreadyDone => Ok(S::ProvingOld),
            E::Overdue | E::Failed | E::LeaseLost | E::OutOfReach => Ok(S::Held),
            E::LookAgain | E::ChangedByOthers | E::CalledOff | E::CalledOffUnbegun => illegal,
        },
        S::ProvingOld => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::ProvingOld),
            E::Done | E::AlreadyDone => Ok(S::ReturningOld),
            E::Overdue | E::Failed | E::LeaseLost | E::OutOfReach => Ok(S::Held),
            E::LookAgain | E::ChangedByOthers | E::CalledOff | E::CalledOffUnbegun => illegal,
        },
        S::ReturningOld => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::ReturningOld),
            E::Done | E::AlreadyDone => Ok(S::ReleasingOld),
            E::Overdue | E::Failed | E::LeaseLost | E::OutOfReach => Ok(S::Held),
            E::LookAgain | E::ChangedByOthers | E::CalledOff | E::CalledOffUnbegun => illegal,
        },
        S::ReleasingOld => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::ReleasingOld),
            E::Done | E::AlreadyDone | E::Overdue | E::Failed | E::LeaseLost | E::OutOfReach => {
                Ok(S::RolledBack)
            }
            E::LookAgain | E::ChangedByOthers | E::CalledOff | E::CalledOffUnbegun => illegal,
        },
        S::BackingOut => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::BackingOut),
            E::Done | E::AlreadyDone => Ok(S::ReleasingUntouched),
            E::Overdue | E::Failed | E::LeaseLost | E::OutOfReach => Ok(S::Held),
            E::LookAgain | E::ChangedByOthers | E::CalledOff | E::CalledOffUnbegun => illegal,
        },
        S::ReleasingUntouched => match event {
            E::Begun | E::NotYet | E::Unreachable => Ok(S::ReleasingUntouched),
            E::Done | E::AlreadyDone | E::Overdue | E::Failed | E::LeaseLost | E::OutOfReach => {
                Ok(S::Untouched)
            }
            E::LookAgain | E::ChangedByOthers | E::CalledOff | E::CalledOffUnbegun => illegal,
        },
        S::Proven | S::RolledBack | S::Untouched | S::Held | S::Unproven => match event {
            E::Begun
            | E::LookAgain
            | E::Done
            | E::AlreadyDone
            | E::NotYet
            | E::Overdue
            | E::Failed
            | E::ChangedByOthers
            | E::LeaseLost
            | E::Unreachable
            | E::OutOfReach
            | E::CalledOff
            | E::CalledOffUnbegun => illegal,
        },
    }
}

/// What is done in a state, or begun from it; `None` at an end. (In [`HostState::Ready`] a look may
/// come first.)
pub fn act_of(state: HostState) -> Option<Act> {
    match state {
        HostState::Waiting | HostState::Prechecking => Some(Act::Precheck),
        HostState::Ready | HostState::Leasing => Some(Act::Lease),
        HostState::Draining | HostState::DrainingAgain => Some(Act::Drain),
        HostState::Emptying | HostState::EmptyingAgain => Some(Act::AwaitEmpty),
        HostState::Saving => Some(Act::Save),
        HostState::Patching => Some(Act::Patch),
        HostState::Proving => Some(Act::Prove),
        HostState::Returning | HostState::ReturningOld | HostState::BackingOut => Some(Act::Return),
        HostState::Soaking => Some(Act::Recheck),
        HostState::RollingBack => Some(Act::RollBack),
        HostState::ProvingOld => Some(Act::ProveOld),
        HostState::Releasing | HostState::ReleasingOld | HostState::ReleasingUntouched => {
            Some(Act::Release)
        }
        HostState::Proven
        | HostState::RolledBack
        | HostState::Untouched
        | HostState::Held
        | HostState::Unproven => None,
    }
}

/// How long and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The hands are back after this long.
    pub answer: SignedDuration,
    /// Pause after a "not yet".
    pub ask_again: SignedDuration,
    /// How many times "not yet" is taken for an answer.
    pub not_yet: u32,
    /// How many times in all a host that does not answer is tried.
    pub unreachable: u32,
}

/// First pause before a host that did not answer is tried again; each further one is twice as long.
pub const FIRST_RETRY: SignedDuration = SignedDuration::from_secs(15);

/// The longest such pause.
pub const LONGEST_RETRY: SignedDuration = SignedDuration::from_secs(300);

/// Tries where giving up costs little, since nothing was changed and the next state tries again: with the
/// pauses, some four minutes.
const TRIES_FEW: u32 = 5;

/// Tries everywhere else: with the pauses, some 35 minutes. A server's reboot, memory test included, fits
/// in; and the alternative is a host left out, or a person at night.
const TRIES: u32 = 12;

/// The longest a session may take over its last answer is ten minutes (RFC 5321 section 4.5.3.2.6); it
/// is asked for twelve, every twenty seconds.
const EMPTY_ASKED: u32 = 36;

/// Other package managers at work (unattended upgrades) are waited for: half an hour, twice a minute.
const PACKAGES_ASKED: u32 = 60;

/// The limits of a state; `None` where nothing is done.
pub fn limits(state: HostState) -> Option<Limits> {
    let limits = |minutes, ask_again, not_yet, unreachable| {
        Some(Limits {
            answer: SignedDuration::from_mins(minutes),
            ask_again: SignedDuration::from_secs(ask_again),
            not_yet,
            unreachable,
        })
    };
    match state {
        HostState::Waiting | HostState::Prechecking => limits(3, 30, PACKAGES_ASKED, TRIES),
        HostState::Ready | HostState::Leasing => limits(2, 30, 10, TRIES_FEW),
        HostState::Draining => limits(2, 20, 10, TRIES_FEW),
        HostState::DrainingAgain => limits(2, 20, 10, TRIES),
        HostState::Emptying | HostState::EmptyingAgain => limits(3, 20, EMPTY_ASKED, TRIES),
        HostState::Saving => limits(10, 30, PACKAGES_ASKED, TRIES),
        HostState::Patching | HostState::RollingBack => limits(30, 30, PACKAGES_ASKED, TRIES),
        HostState::Proving | HostState::ProvingOld | HostState::Soaking => {
            limits(15, 20, 30, TRIES)
        }
        HostState::Returning | HostState::ReturningOld | HostState::BackingOut => {
            limits(2, 20, 10, TRIES)
        }
        HostState::Releasing | HostState::ReleasingOld | HostState::ReleasingUntouched => {
            limits(2, 20, 5, TRIES_FEW)
        }
        HostState::Proven
        | HostState::RolledBack
        | HostState::Untouched
        | HostState::Held
        | HostState::Unproven => None,
    }
}

/// The pause before the try after so many without an answer.
pub fn retry_after(unreachable: u32) -> SignedDuration {
    let doublings = unreachable.saturating_sub(1).min(16);
    let seconds = FIRST_RETRY.as_secs() << doublings;
    SignedDuration::from_secs(seconds).min(LONGEST_RETRY)
}

/// The table as a page with a Mermaid diagram and a list of limits: `docs/rollout-states.md`.
pub fn page() -> String {
    use std::fmt::Write as _;
    let mut text = String::from(
        "# States of a host in a rollout\n\n\
         Drawn from `crates/rollout/src/machine.rs`; a test fails when it is stale. To draw it again:\n\
         `cargo test -p mailkeep-rollout --lib -- --ignored draw_the_states`.\n\n\
         Left out: `not-yet` and `unreachable`, which ask and try again in the same state.\n\n\
         ```mermaid\nstateDiagram-v2\n    [*] --> waiting\n",
    );
    for from in HostState::ALL {
        let mut edges: Vec<(HostState, Vec<&str>)> = Vec::new();
        for event in HostEvent::ALL {
            let Ok(to) = next(from, event) else { continue };
            if to == from {
                continue;
            }
            match edges.iter_mut().find(|edge| edge.0 == to) {
                Some(edge) => edge.1.push(event.name()),
                None => edges.push((to, vec![event.name()])),
            }
        }
        for (to, events) in edges {
            let _never_fails = writeln!(
                text,
                "    {} --> {}: {}",
                id(from),
                id(to),
                events.join(", ")
            );
        }
        if from.is_end() {
            let _never_fails = writeln!(text, "    {} --> [*]", id(from));
        }
    }
    text.push_str(
        "```\n\n| state | act | out of service | answers within | asked again, at most | tried, at most |\n\
         |---|---|---|---|---|---|\n",
    );
    for state in HostState::ALL {
        let (Some(act), Some(limits)) = (act_of(state), limits(state)) else {
            continue;
        };
        let _never_fails = writeln!(
            text,
            "| {} | {} | {} | {} min | every {} s, {} times | {} times |",
            state.name(),
            act.name(),
            if state.is_out_of_service() {
                "yes"
            } else {
                "no"
            },
            limits.answer.as_mins(),
            limits.ask_again.as_secs(),
            limits.not_yet,
            limits.unreachable,
        );
    }
    text.push_str("\nEnds: ");
    let ends: Vec<&str> = HostState::ALL
        .into_iter()
        .filter(|state| state.is_end())
        .map(HostState::name)
        .collect();
    text.push_str(&ends.join(", "));
    text.push_str(".\n");
    text
}

/// Mermaid ids have no hyphens.
fn id(state: HostState) -> String {
    state.name().replace('-', "_")
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests read the page they check")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rollout-states.md");

    #[test]
    fn the_page_of_states_is_what_the_table_says() {
        let kept = std::fs::read_to_string(PAGE).unwrap();
        assert!(
            kept == page(),
            "docs/rollout-states.md is stale; see its head"
        );
    }

    #[test]
    #[ignore = "writes docs/rollout-states.md; run as its head says"]
    fn draw_the_states() {
        std::fs::write(PAGE, page()).unwrap();
    }

    #[test]
    fn all_lists_hold_each_member_once() {
        assert_eq!(BTreeSet::from(HostState::ALL).len(), HostState::ALL.len());
        assert_eq!(BTreeSet::from(HostEvent::ALL).len(), HostEvent::ALL.len());
        let names: BTreeSet<&str> = HostState::ALL.iter().map(|state| state.name()).collect();
        assert_eq!(names.len(), HostState::ALL.len());
    }

    #[test]
    fn nothing_leads_out_of_an_end_and_every_other_state_has_an_act_and_limits() {
        for state in HostState::ALL {
            let moves = HostEvent::ALL.map(|event| next(state, event).is_ok());
            assert_eq!(state.is_end(), !moves.contains(&true), "{}", state.name());
            assert_eq!(state.is_end(), act_of(state).is_none());
            assert_eq!(state.is_end(), limits(state).is_none());
        }
    }

    #[test]
    fn every_state_is_reached_and_reaches_an_end() {
        let mut reached = BTreeSet::from([HostState::Waiting]);
        loop {
            let before = reached.len();
            for from in HostState::ALL {
                if reached.contains(&from) {
                    reached.extend(HostEvent::ALL.iter().filter_map(|&e| next(from, e).ok()));
                }
            }
            if reached.len() == before {
                break;
            }
        }
        assert_eq!(reached.len(), HostState::ALL.len());
        for from in HostState::ALL {
            // An executor that always says "often enough" comes to an end from everywhere.
            let mut state = from;
            for _ in 0..HostState::ALL.len() {
                if state == HostState::Waiting || state == HostState::Ready {
                    state = next(state, HostEvent::Begun).unwrap();
                } else if !state.is_end() {
                    state = next(state, HostEvent::OutOfReach).unwrap();
                }
            }
            assert!(state.is_end(), "{}", from.name());
        }
    }

    #[test]
    fn a_host_is_patched_only_while_it_is_out_of_service_and_saved() {
        for from in HostState::ALL {
            for event in HostEvent::ALL {
                let Ok(to) = next(from, event) else { continue };
                if to == HostState::Patching && from != to {
                    assert_eq!(from, HostState::Saving);
                }
                if to == HostState::RollingBack && from != to {
                    assert!(from.is_out_of_service(), "{}", from.name());
                    assert_ne!(from, HostState::Returning);
                }
            }
        }
    }

    #[test]
    fn a_changed_host_serves_only_after_a_proof() {
        for from in HostState::ALL {
            for event in HostEvent::ALL {
                let Ok(to) = next(from, event) else { continue };
                if from == to {
                    continue;
                }
                if to == HostState::Returning {
                    assert_eq!(from, HostState::Proving);
                }
                if to == HostState::ReturningOld {
                    assert_eq!(from, HostState::ProvingOld);
                }
                let unbegun = [HostEvent::ChangedByOthers, HostEvent::CalledOffUnbegun];
                if to == HostState::BackingOut && !unbegun.contains(&event) {
                    assert!(matches!(
                        from,
                        HostState::Draining | HostState::Emptying | HostState::Saving
                    ));
                }
            }
        }
    }

    #[test]
    fn a_patch_that_was_not_begun_is_not_rolled_back() {
        let moves: Vec<(HostState, HostState)> = HostState::ALL
            .into_iter()
            .filter_map(|from| Some((from, next(from, HostEvent::CalledOffUnbegun).ok()?)))
            .collect();
        assert_eq!(moves, [(HostState::Patching, HostState::BackingOut)]);
    }

    #[test]
    fn what_others_changed_is_never_rolled_back() {
        let moves: Vec<(HostState, HostState)> = HostState::ALL
            .into_iter()
            .filter_map(|from| Some((from, next(from, HostEvent::ChangedByOthers).ok()?)))
            .collect();
        assert_eq!(
            moves,
            [
                (HostState::Patching, HostState::BackingOut),
                (HostState::Soaking, HostState::Releasing),
            ]
        );
    }

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let pauses: Vec<i64> = (1..=7).map(|n| retry_after(n).as_secs()).collect();
        assert_eq!(pauses, [15, 30, 60, 120, 240, 300, 300]);
        assert_eq!(retry_after(u32::MAX), LONGEST_RETRY);
    }
}
