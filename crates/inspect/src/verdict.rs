//! What becomes of a message, and why.

use std::borrow::Cow;

use serde::Serialize;

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
