//! The fleet file (`mailkeep.toml`): reading it, naming its gaps, and filling it from other
//! inventories.
//!
//! Entry points: [`parse`] gives a [`FleetFile`] or every mistake at once, each with its place;
//! [`lint()`] names what a correct file leaves open; [`import`] reads Ansible inventories and CSV
//! and [`import::to_toml`] writes them as a fleet file.
//!
//! **Invariant:** nothing here touches a file, a network or a clock; the command line hands in
//! texts and times. A key that is not known is a mistake, never passed over: a misspelt `exposed`
//! must not make a host internal.

mod file;
pub mod import;
pub mod lint;
mod notify;
mod organisation;
mod read;
mod rollout;
mod shield;
#[cfg(test)]
mod tests;
mod window;

pub use file::{
    ApprovalSettings, FeedLocation, FeedSettings, FleetError, FleetFile, MAX_BYTES, ScanSettings,
    parse,
};
pub use lint::{Gap, GapKind, lint};
pub use notify::{MailSettings, MailTls, NotifySettings};
pub use organisation::Organisation;
pub use read::{Fault, Faults};
pub use shield::{ShieldSettings, StatusPlace};

/// Entry point for fuzzing: [`parse`] on any bytes.
pub fn parse_bytes(bytes: &[u8]) -> Result<(FleetFile, Vec<mailkeep_model::Problem>), FleetError> {
    parse(&String::from_utf8_lossy(bytes))
}
