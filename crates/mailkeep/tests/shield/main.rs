//! `mailkeep shield`: what a postmaster does with what the shield has kept.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::format_push_string,
    clippy::format_collect,
    reason = "a test stops at the first surprise, and plays the other side itself"
)]

#[path = "../common/mod.rs"]
mod common;
mod quarantine;
mod replay;
mod rules;
mod scan;
mod status;
#[cfg(target_os = "linux")]
mod suricata;
mod why;
