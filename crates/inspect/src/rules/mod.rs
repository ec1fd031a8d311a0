//! Virtual patches: rules that stand in for a patch, as data.
//!
//! Duty: a bundle's text to rules that were checked ([`Bundle::read`]), those to something quick
//! ([`Compiled`]), and commands and messages to reasons ([`Compiled::command`], [`Compiled::message`]). A
//! bundle that somebody sends is taken by [`admit`] alone: signature, age and self-tests. The format is
//! described in `docs/bundle-format.md`.
//!
//! Pure, as the room is. A condition is one of a small closed set, never code; its cost is linear in what it
//! is shown.

mod admit;
mod builtin;
mod bundle;
mod cases;
mod compile;
mod condition;
mod eve;
mod fuzz;
mod pcre;
mod signature;
mod suricata;
mod view;

pub use admit::{Admitted, Held, admit};
pub use builtin::{builtin, builtin_text};
pub use bundle::{
    Bounds, Bundle, BundleError, Case, Closes, Confidence, FORMAT, MAX_BYTES, PatchRule, Stage,
    State,
};
pub use compile::{Compiled, MessageRun};
pub use condition::{Count, Decode, Subject, Test};
pub use eve::{Attack, Tally, read_alerts};
pub use fuzz::{fuzz_bundle, fuzz_condition, fuzz_eve, fuzz_signature};
pub use signature::{AllowedSigners, NAMESPACE, SignatureError, Signer};
pub use suricata::{Export, FIRST_SID, LAST_SID, export, number_of, rule_of};
