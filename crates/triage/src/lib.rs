//! Urgency: from a verdict and what is known of its CVE id and its host, to a decision, a lane and
//! a deadline.
//!
//! Entry points: [`triage`] for one verdict, [`rank`] for the order of a table, [`delta()`] for what
//! changed between two checks. The rules are tables: CISA's SSVC tree in [`ssvc`], the deadlines of
//! BOD 26-04 in [`Policy`].
//!
//! **Where an input is missing, the more urgent value is taken, and a note says so.** In full:
//!
//! | input | from | missing |
//! |---|---|---|
//! | exploitation | KEV (`active`), else Vulnrichment | `poc` where a whole KEV feed is loaded, fresh or stale (its silence says: not known as exploited on its date), `active` where there is none, or one partly read or dated in the future |
//! | automatable | Vulnrichment | `no` where the CVSS vector says so (AV:L or A or P, PR or Au not N, UI:R), else `yes` |
//! | technical impact | Vulnrichment | `partial` where the CVSS vector rates neither confidentiality nor integrity high (denial of service is limited control), else `total` |
//! | mission prevalence | the host's services | `essential` |
//! | well-being impact | the host's services | `irreversible` |
//! | exposure | the host, else its zone | exposed |
//! | mail port open | facts of the host | open |
//! | AV:N and PR:N | CVSS vector | both |
//!
//! How good the stand-in from CVSS is: over the 32,762 records of CISA's Vulnrichment of 24 October 2024
//! that carry both, it is less urgent than CISA's own word in 0.7% (automatable) and 2.0%
//! (technical impact), and more urgent in 5.8% and 15.1%.
//!
//! **Invariant:** this crate is pure. It reads no clock (the first day of a deadline is an
//! argument), and it never looks at EPSS except to break ties.

mod assess;
mod cvss;
pub mod delta;
mod policy;
mod rank;
pub mod ssvc;
#[cfg(test)]
mod testing;

pub use assess::{Context, Triaged, triage};
pub use cvss::{CvssFacts, cvss_base_score};
pub use delta::{Change, ChangeKind, delta, delta_judged};
pub use policy::{InvalidPolicy, Policy, Term, Within};
pub use rank::{RankKey, rank, rank_of_equals};
