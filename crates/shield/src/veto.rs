//! A word against a single command: where virtual patches speak. Entry: [`CommandVeto`].
//!
//! It is asked for every command line that `mailkeep-wire` has taken, before the shield acts on it and before a
//! backend hears of it.

use std::fmt::Debug;
use std::net::IpAddr;

use mailkeep_wire::{Command, Reply};

/// A command line, and whose it is.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "read by the rules of a bundle")]
pub(crate) struct CommandLine<'a> {
    /// As it came, without its line end.
    pub(crate) line: &'a [u8],
    /// As it was understood.
    pub(crate) command: &'a Command,
    /// The name of the listener.
    pub(crate) listener: &'a str,
    /// The client.
    pub(crate) client: IpAddr,
    /// Whether it came over TLS.
    pub(crate) secure: bool,
    /// Whether the client has authenticated.
    pub(crate) authenticated: bool,
}

/// Why it goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Veto {
    /// The stable name of the rule.
    pub(crate) rule: String,
    /// What the client is told.
    pub(crate) reply: Reply,
    /// Whether it is refused; else it is only told of, and goes on.
    pub(crate) refuses: bool,
    /// Whether the connection ends by that.
    pub(crate) closes: bool,
}

/// Who may say no.
pub(crate) trait CommandVeto: Debug + Send + Sync {
    /// Looks at one command.
    fn veto(&self, line: &CommandLine<'_>) -> Option<Veto>;
}
