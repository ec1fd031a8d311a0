//! What becomes of a message, and why.

use std::borrow::Cow;

use serde::Serialize;

use crate::kind::Kind;
use crate::{Content, Origin};

/// What becomes of a message. In order: of several, the greatest holds.
///
/// A temporary failure is above quarantine, because what could not be inspected is the sender's to keep;
/// refusal is above all, because another try would change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Goes on.
    #[default]
    Accept,
    /// Is taken, and kept from its recipients.
    Quarantine,
    /// The sender is told to come again (`4xx`).
    Tempfail,
    /// The sender is told why it will not be taken (`5xx`).
    Refuse,
}

impl Verdict {
    /// The name in output, log and metric.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Quarantine => "quarantine",
            Self::Tempfail => "tempfail",
            Self::Refuse => "refuse",
        }
    }
}

/// One thing a rule has to say of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The rule's stable name, as in the documentation, the log and the metric.
    pub rule: Cow<'static, str>,
    /// What it asks for. [`Verdict::Accept`]: noticed, and no more.
    pub verdict: Verdict,
    /// A sentence for the sender of the message: one line, printable.
    pub text: String,
    /// What it saw, for the postmaster: one line, printable, at most some hundred octets.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// Where it lay: part numbers and names of members, as `2/invoice.zip/a.exe`; empty for the message itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub place: String,
}

/// What was found in a message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Judgement {
    /// What becomes of it: the greatest of what the reasons ask for.
    pub verdict: Verdict,
    /// Why, in the order of the message.
    pub reasons: Vec<Reason>,
    /// What the message holds, where the profile asks for that: each distinct piece of content once, and not more than
    /// some dozens.
    #[serde(skip)]
    pub contents: Vec<Seen>,
    /// Any reading finds something beside the texts of the message, told of above or not.
    #[serde(skip)]
    pub files: bool,
    /// The octets of what the profile wants handed out ([`crate::Pieces`]).
    #[serde(skip)]
    pub pieces: Vec<Vec<u8>>,
    /// There was more than is handed out of what only unusual readings find.
    #[serde(skip)]
    pub pieces_left: bool,
}

/// A piece of content that was seen in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// SHA-256 of its octets.
    pub digest: [u8; 32],
    /// What it is, told by its octets.
    pub kind: Kind,
    /// Its names, the most usual first.
    pub names: Vec<String>,
    /// How many octets it has.
    pub octets: usize,
    /// What it lay in.
    pub origin: Origin,
}

impl Seen {
    /// What is kept of a piece of content.
    pub fn of(content: &Content<'_>, kind: Kind) -> Self {
        let hash = ring::digest::digest(&ring::digest::SHA256, &content.octets);
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(hash.as_ref()) {
            *to = *from;
        }
        Self {
            digest,
            kind,
            names: content.names.clone(),
            octets: content.octets.len(),
            origin: content.origin,
        }
    }
}

impl Judgement {
    /// Adds a reason; the verdict becomes the greater of both.
    pub fn add(&mut self, reason: Reason) {
        self.verdict = self.verdict.max(reason.verdict);
        self.reasons.push(reason);
    }

    /// The reason that decided: the first of those that ask for the verdict.
    pub fn deciding(&self) -> Option<&Reason> {
        self.reasons
            .iter()
            .find(|reason| reason.verdict == self.verdict)
    }
}
