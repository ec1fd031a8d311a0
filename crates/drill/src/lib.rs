//! A simulated fleet with mail flowing through it, under a clock of its own: rehearsals for staff, and
//! the bench on which planner and executor are tested.
//!
//! Entry types: [`rehearse`] (carries a plan out against a simulated fleet), [`Faults`] (what goes
//! wrong), [`fleets`] (fleets drawn from a seed, with plans for them).
//!
//! The executor that runs here is the one that runs the real thing, unchanged. What is simulated is the
//! world: hosts with packages, running code, queues and sessions; senders that try one server after
//! another and keep what nobody takes (RFC 5321 section 4.5.4.1); the failures, by seed; and the death
//! of the controller between any two writes to its journal.
//!
//! **Invariants.** Equal plan, seed and faults give equal events and figures. Every event is of
//! [`Realm::Drill`](mailkeep_model::Realm::Drill), whatever the plan's realm.

mod draw;
mod faults;
pub mod fleets;
mod host;
mod mail;
mod rehearsal;
mod simulation;
mod world;

pub use faults::Faults;
pub use rehearsal::{Breach, Figures, Rehearsal, RehearseError, Settings, rehearse, rehearse_with};
