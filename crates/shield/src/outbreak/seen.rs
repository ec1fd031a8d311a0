//! What is observed of a message, and what is said of it.

use std::collections::VecDeque;
use std::net::IpAddr;

use mailkeep_model::OutbreakExample;
use serde::{Deserialize, Serialize};

/// How dangerous an attachment is to whoever opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Weight {
    /// Pictures, sound, signatures, invitations: counted, never held.
    Passive,
    /// Documents, archives, web pages.
    Openable,
    /// Programs, scripts, macros, and archives that hold them.
    Active,
}

/// An attachment, or a member of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// SHA-256 of its octets.
    pub(crate) digest: [u8; 32],
    /// The stable name of what it is.
    pub(crate) kind: &'static str,
    /// How dangerous.
    pub(crate) weight: Weight,
    /// How large, in octets.
    pub(crate) octets: u64,
}

impl Attachment {
    /// Alike in kind, and in size to about a sixteenth: a worm that changes some octets of itself keeps this.
    pub(super) fn shape(&self) -> Shape {
        let step = (self.octets / 16).checked_next_power_of_two().unwrap_or(1);
        Shape {
            kind: self.kind.to_owned(),
            size: self.octets / step * step,
        }
    }
}

/// What a worm's copies have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) kind: String,
    pub(super) size: u64,
}

/// One message that would otherwise go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation<'a> {
    /// When, in seconds of the Unix epoch.
    pub(crate) at: u64,
    /// Who handed it over.
    pub(crate) host: IpAddr,
    /// The envelope's sender, in lower case. A worm forges it, and that many hand in one thing shows all the sooner.
    pub(crate) sender: &'a str,
    /// Whose mail it is: the name that logged in, where it is known, else the envelope's sender; in lower case.
    pub(crate) account: &'a str,
    /// Whether it comes from inside: from own networks, or from somebody who logged in.
    pub(crate) own: bool,
    /// To how many.
    pub(crate) recipients: u32,
    /// What it carries.
    pub(crate) attachments: &'a [Attachment],
    /// Its trace id.
    pub(crate) trace: &'a str,
}

/// What is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Detector {
    /// The same new attachment from many senders.
    SameAttachment,
    /// Attachments alike in kind and size from many senders, programs only.
    AlikeAttachments,
    /// A sender or a host that suddenly sends many.
    SuddenSender,
    /// A rising share of messages that carry programs.
    ShareOfPrograms,
    /// A server that attaches something to everything it sends.
    AttachingServer,
}

impl Detector {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [
        Self::SameAttachment,
        Self::AlikeAttachments,
        Self::SuddenSender,
        Self::ShareOfPrograms,
        Self::AttachingServer,
    ];

    /// The name in log, metric, configuration and documents.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SameAttachment => "same-attachment",
            Self::AlikeAttachments => "alike-attachments",
            Self::SuddenSender => "sudden-sender",
            Self::ShareOfPrograms => "share-of-programs",
            Self::AttachingServer => "attaching-server",
        }
    }
}

/// That a limit was passed. Said once for each hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alert {
    /// Which.
    pub(crate) detector: Detector,
    /// What was counted, of whom, and what was expected, in sentences.
    pub(crate) text: String,
    /// What is done about it, in a sentence; none where nothing is held.
    pub(crate) holds: Option<&'static str>,
    /// What was counted within an hour.
    pub(crate) counted: u32,
    /// From when on that is too much.
    pub(crate) limit: u32,
    /// The most in the weeks before; none where the place was not seen for long enough.
    pub(crate) usual: Option<u32>,
    /// Of what these are so many.
    pub(crate) unit: &'static str,
    /// The host that should be looked at, and isolated if it is ours and what it sends is not.
    pub(crate) isolate: Option<IpAddr>,
    /// Some of the messages, the newest first.
    pub(crate) examples: Vec<OutbreakExample>,
}

/// Messages that are remembered for the sake of examples, and examples of one alert.
const RECENT: usize = 512;
pub(super) const EXAMPLES: usize = 5;

/// The messages of now, the newest last.
#[derive(Debug, Default)]
pub(super) struct Recents(VecDeque<Recent>);

// A copy is made to be written down, and these are not.
impl Clone for Recents {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Recents {
    pub(super) fn add(&mut self, seen: &Observation<'_>) {
        if self.0.len() >= RECENT {
            self.0.pop_front();
        }
        self.0.push_back(Recent::of(seen));
    }

    /// Some of those that an alert is about, the newest first.
    pub(super) fn examples(
        &self,
        is_one: impl Fn(&Observation<'_>) -> bool,
    ) -> Vec<OutbreakExample> {
        let all = self.0.iter().rev().map(Recent::observation);
        let examples = all
            .filter(is_one)
            .take(EXAMPLES)
            .map(|one| OutbreakExample {
                trace: one.trace.to_owned(),
                host: one.host,
                sender: super::printable(one.sender),
            });
        examples.collect()
    }
}

/// A message that was seen lately.
#[derive(Debug)]
struct Recent {
    host: IpAddr,
    sender: String,
    account: String,
    own: bool,
    trace: String,
    attachments: Vec<Attachment>,
}

impl Recent {
    fn of(seen: &Observation<'_>) -> Self {
        Self {
            host: seen.host,
            sender: seen.sender.to_owned(),
            account: seen.account.to_owned(),
            own: seen.own,
            trace: seen.trace.to_owned(),
            attachments: seen.attachments.to_vec(),
        }
    }

    fn observation(&self) -> Observation<'_> {
        Observation {
            at: 0,
            host: self.host,
            sender: &self.sender,
            account: &self.account,
            own: self.own,
            recipients: 0,
            attachments: &self.attachments,
            trace: &self.trace,
        }
    }
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    /// Held, and by which detector: a temporary failure for the sender.
    pub(crate) held: Option<Detector>,
    /// Limits that this message passed.
    pub(crate) alerts: Vec<Alert>,
}
