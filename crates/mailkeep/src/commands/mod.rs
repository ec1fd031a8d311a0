//! One module for each command: arguments in, exit status out.

pub mod affected;
pub mod check;
pub mod explain;
pub mod feeds;
pub mod fleet;
pub mod generate;
pub mod impact;
pub mod isolate;
pub mod plan;
pub mod rehearse;
pub mod rollout;
pub mod scan;
pub mod shield;
pub mod watch;

/// How a command ended, where it ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Nothing to do: status 0.
    Nothing,
    /// Findings, or a refusal: status 1.
    Findings,
}
