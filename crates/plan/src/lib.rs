//! From findings to a plan that a region can agree to: the planner, the checker that distrusts it,
//! the difference between two plans, and the picture of one.
//!
//! Entry types: [`Request`] and [`plan`], [`canonical`] and [`id_of`].
//!
//! **Invariant:** pure. "Now" is an argument; equal input gives equal bytes. The planner proposes and
//! never acts; what it leaves out it names in the report.

pub mod check;
pub mod diff;
pub mod document;
pub mod request;
#[cfg(test)]
mod testing;

pub use check::{Breach, BreachKind, Weight, check};
pub use diff::{NotOnlyShifted, PlanDiff, diff, is_only_shift_of, only_shifts, part_digest};
pub use document::{DocumentError, canonical, id_of, read};
pub use request::{HostWork, Request, Settled};
