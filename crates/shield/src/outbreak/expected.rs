//! What the postmaster knows of: newsletters, a run of invoices, a form that everybody sends back.

use std::net::IpAddr;

use serde::Deserialize;

use super::{Observation, Weight};

/// Senders, hosts and attachments of which much is expected. They are counted, and never held.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expected {
    /// Envelope senders or names that log in, in lower case.
    pub(crate) senders: Vec<String>,
    /// Addresses of hosts.
    pub(crate) hosts: Vec<IpAddr>,
    /// SHA-256 of attachments, in hexadecimal.
    pub(crate) attachments: Vec<String>,
}

impl Expected {
    /// Whether a message is of these.
    pub(super) fn covers(&self, seen: &Observation<'_>) -> bool {
        self.hosts.contains(&seen.host)
            || self
                .senders
                .iter()
                .any(|sender| sender == seen.sender || sender == seen.account)
            || self.covers_all_attachments(seen)
    }

    /// One that is not expected beside one that is: the message is not expected.
    fn covers_all_attachments(&self, seen: &Observation<'_>) -> bool {
        let mut dangerous = seen
            .attachments
            .iter()
            .filter(|attachment| attachment.weight > Weight::Passive)
            .peekable();
        dangerous.peek().is_some() && dangerous.all(|attachment| self.holds(&attachment.digest))
    }

    /// Whether an attachment is one of these.
    pub(super) fn holds(&self, digest: &[u8; 32]) -> bool {
        !self.attachments.is_empty() && {
            let digest = super::hexadecimal(digest);
            self.attachments
                .iter()
                .any(|known| known.eq_ignore_ascii_case(&digest))
        }
    }
}
