//! SMTP as octets, without IO: what a client sends to the shield, and what a server answers to it.
//!
//! - [`Session`] is the server's side of one connection: it takes octets and hands out commands that are
//!   whole, in order and allowed, the content of messages, and refusals. It is told how each command was
//!   answered, and knows nothing of sockets.
//! - [`Command`], [`Mailbox`], [`MailParameters`], [`RecipientParameters`] are what a command line says, and can
//!   be written anew: nothing of a stranger's line goes on as it came.
//! - [`ContentReader`] and [`ContentWriter`] take a message out of the DATA stream and put one into it.
//! - [`Reply`] is what is answered; [`ReplyReader`] and [`Offer`] are what the server behind answers.
//! - [`ProxyHeader`] says who a client is where another proxy took its connection; [`AuthData`] is what a client
//!   sends to prove who it is, and passes through unseen.
//! - [`milter::Milter`] is the filter's side of a connection of Postfix or Sendmail.
//! - [`Rule`] lists the generic rules with their defaults; [`Policy`] their exceptions.
//!
//! Standards: RFC 5321, 1870 (SIZE), 2034 and 3463 (enhanced status codes), 2920 (PIPELINING), 3207
//! (STARTTLS), 3461 (DSN), 4954 (AUTH), 6152 (8BITMIME), 6531 (SMTPUTF8).
//!
//! Must not: open a socket, ask a clock, or hold more of a stranger's octets than its limits say.
#![warn(clippy::indexing_slicing, clippy::string_slice)]

mod address;
mod auth;
mod command;
mod content;
pub mod fuzz;
mod headers;
pub mod milter;
mod network;
mod offer;
mod parameters;
mod proxy;
mod reply;
mod rules;
mod session;

pub use address::{Domain, Mailbox, Path, PathError};
pub use auth::{AuthData, Mechanism, Mechanisms};
pub use command::{Command, CommandError, Verb};
pub use content::{ContentLimits, ContentReader, ContentWriter, Progress};
pub use headers::{HeaderGuard, HeaderLimits};
pub use network::{Network, NetworkError};
pub use offer::Offer;
pub use parameters::{
    Body, MailParameters, Notify, ParameterError, RecipientParameters, Ret, Xtext,
};
pub use proxy::{ProxyError, ProxyHeader, ProxyProgress};
pub use reply::{EnhancedCode, Reply, ReplyError, ReplyReader, ServerReply};
pub use rules::{Action, Actions, Exception, ExceptionError, Policy, Rule};
pub use session::{Limits, Refusal, Session, Step};
