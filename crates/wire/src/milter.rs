//! The milter protocol, version 6, without IO: the filter's side of a connection of Postfix or Sendmail.
//!
//! Entry: [`Milter`] takes octets of the mail server and hands out whole messages with their envelopes;
//! [`Milter::settle`] writes what the server is to do with one. The message is put together as SMTP would carry it.
//!
//! There is no standard. What holds is libmilter's `mfdef.h` of Sendmail 8.18 and `milter8.c` of Postfix. The server is
//! asked to await no answer before the end of a message, where it can do that: one answer a message, in one piece,
//! since small ones are held back by TCP for 40 ms each. A reply always has text behind its enhanced status code:
//! Postfix reads past its buffer where there is none (CVE-2026-43964).

mod answer;
mod conversation;
mod event;
pub mod fuzz;
mod packet;

pub use answer::{HeaderEdit, Settled};
pub use conversation::{Milter, MilterEnvelope, MilterLimits, MilterStep};
pub use event::MilterError;
