//! From findings to a plan that a region can agree to: the planner, the checker that distrusts it,
//! the difference between two plans, and the picture of one.
//!
//! Entry types: [`Request`] and [`plan`]; [`canonical`], [`id_of`] and [`read`]; [`check()`], [`diff()`], [`show`].
//!
//! **Invariant:** pure. "Now" is an argument; equal input gives equal bytes. The planner proposes and
//! never acts; what it leaves out it names in the report.

mod bound;
pub mod check;
pub mod diff;
pub mod document;
pub mod instances;
pub mod planner;
pub mod recurrence;
pub mod request;
pub mod show;
#[cfg(test)]
mod testing;
pub mod windows;
pub mod work;

pub use check::{Breach, BreachKind, Weight, check};
pub use diff::{NotOnlyShifted, PlanDiff, diff, is_only_shift_of, only_shifts, part_digest};
pub use document::{DocumentError, canonical, id_of, read};
pub use planner::{Planned, plan};
pub use request::{HostWork, Request, variant_of};
pub use work::{VersionOrder, family_seen, mitigation, risk_of, work_from};
