//! The patch filter: version order, the index of statements, verdicts with their evidence.
//!
//! **Invariant:** pure. Versions are turned into order-preserving keys once ([`version`]); rules only
//! compare bytes.

pub mod version;
