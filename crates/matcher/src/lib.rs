//! The patch filter: version order, the index of statements, verdicts with their evidence.
//!
//! Entry types: [`RowBuilder`] packs statements into opaque rows at import; [`HostView`] arranges
//! what was seen on a host by source package; [`judge_host`] gives each (source package, advisory)
//! exactly one [`mailkeep_model::Verdict`], and [`HostJudge`] does so while the rows are read;
//! [`fleet_check::check_fleet`] judges a whole fleet at once.
//!
//! **Invariant:** pure. Versions are turned into order-preserving keys once ([`version`]), at import
//! and when a host is viewed; rules only compare bytes.

pub mod fleet_check;
pub mod fleet_index;
pub mod version;

mod coverage;
mod host;
mod judge;
mod row;
mod surface;

pub use coverage::{coverage_gaps, gap_sentence};
pub use host::{HostView, SourcePackage, StaleRun};
pub use judge::{FeedView, HostJudge, Judged, judge_host, judge_package};
pub use row::{
    DecodedRow, PackageRows, RowBuilder, RowError, package_key, read_rows, statement_key,
};
