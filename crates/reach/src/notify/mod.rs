//! Telling people and programs: mail, webhooks, commands.
//!
//! Entry types: [`send_mail`], [`pass_on`], [`post_webhook`], [`run_command`].

mod command;
mod mail;
mod webhook;

pub use command::{CommandError, run_command};
pub use mail::{
    Calendar, Mail, MailCredentials, MailError, MailSettings, MailTls, pass_on, send_mail,
};
pub use webhook::{SIGNATURE_HEADER, post_webhook, signature};
