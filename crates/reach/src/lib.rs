//! All outbound IO: [`hosts`] (the local one, and over the user's own `ssh`), [`fetch`] (feeds over
//! HTTPS), [`notify`] (mail, webhooks, commands), [`probe`] (a message handed in, and
//! found again), [`mod@sign`] (signatures by SSH keys), [`clamd`] (a virus scanner on this machine).
//!
//! Entry types: [`hosts::run_over_ssh`], [`fetch::Fetcher`], [`notify::send_mail`].
//!
//! It is synchronous: work that waits is done in a bounded number of threads
//! ([`hosts::for_each_bounded`]); there is no async runtime.
//!
//! **Invariants.** It understands nothing of what it carries: no facts, no feeds, no findings. It
//! reads no environment variable and no clock of the wall: both come in as values. Every wait has
//! a limit, and so has every answer. What strangers said is made printable before it enters an
//! error. Nothing that a password or a token stands in is shown.
//!
//! # Security
//!
//! It talks to strangers (feed servers, mail servers) and to hosts that may be hostile. It holds
//! no key: `ssh` and its agent keep theirs. TLS is rustls with the system's certificate
//! authorities; HTTPS never falls back to HTTP, and mail leaves the machine only under TLS. Probes alone go
//! as mail goes between servers: under TLS where it is offered, with whoever answers; they hold no secret.

#![expect(
    clippy::disallowed_methods,
    reason = "this room owns the outbound effects: processes, sockets, and the files downloads go to"
)]

pub mod clamd;
pub mod fetch;
pub mod hosts;
pub mod notify;
pub mod probe;
pub mod sign;

mod process;
mod secret;
mod tls;

pub use secret::Secret;
pub use tls::{Roots, RootsError};
