//! The shield: an SMTP proxy in front of a mail server that cannot be patched yet.
//!
//! Entry: [`run`], behind the program `mailkeep-shield`. It takes mail from strangers by `mailkeep-wire`, and speaks
//! its own SMTP to a backend. It acknowledges a message only after the backend has: it never owns one, so nothing
//! is lost when it dies.
//!
//! # Security
//!
//! Faces strangers. Holds no key but those of its certificates, no database, no state between sessions. Writes
//! nothing but unlinked files below its spool directory and lines on standard output. Must not link `store` or
//! `reach`. No octet of a stranger's command, and no octet of a backend's answer, goes on as it came.
#![expect(
    clippy::disallowed_methods,
    reason = "the shield owns its sockets, its clock, its files and what systemd tells it"
)]

mod backend;
mod client;
mod config;
mod content;
mod counters;
mod log;
mod metrics;
mod milter;
mod outbreak;
mod patches;
mod quarantine;
mod resolver;
mod server;
mod spool;
mod status;
mod stream;
mod systemd;
mod tls;
mod veto;

pub use config::{Config, ConfigError, Line, Origin};
pub use server::{RunError, run};
