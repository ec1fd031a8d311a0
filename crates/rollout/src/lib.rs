//! A plan being executed: a durable executor that decides nothing, and the hands that touch hosts.
//!
//! Entry types: [`Executor`] (what is due now, given the journal), [`Hands`] (does
//! one act on one host).
//!
//! **Invariants.** The executor is sans-IO: it has no clock, thread, file or socket, so that the real
//! controller and a simulation run the same code. Its state is a fold over the events of the log and
//! nothing else. The intent is written before each act, the result after it; an intent without a result
//! means "look at the host".

pub mod drive;
pub mod evidence;
pub mod executor;
pub mod hands;
pub mod host;
pub mod ledger;
pub mod machine;
pub mod recipe;

pub use executor::{ApplyError, Do, Executor, HostView, WaitsFor};
pub use hands::{Hands, Order};
pub use host::SshHands;
pub use recipe::Recipe;
