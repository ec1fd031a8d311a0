//! Outbreaks: many messages that are each well by themselves, and together are not.
//!
//! Duty: what passed is observed, and four things are noticed: the same new attachment from many senders, a sender or a
//! host that suddenly sends far more than ever, a rising share of messages that carry programs, and a server that
//! attaches something to everything it sends. Each has a limit learnt from the days before, says in its alert what it
//! counted and what it had expected, and holds the mail that matches. Entry: [`Outbreaks::observe`].
//!
//! Pure: time is told, nothing is read or written, and equal observations give equal outcomes. Memory is bounded by
//! [`KEYS`]; who is forgotten first is who was not seen for longest.
//!
//! What was observed today teaches from tomorrow on: an outbreak cannot raise its own limit by growing slowly
//! within a day, and what is held teaches nothing.

mod baseline;
mod expected;
mod keyed;
mod seen;
#[cfg(test)]
mod simulation;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use baseline::{Learnt, Window};
use keyed::Keyed;

pub(crate) use expected::Expected;
pub(crate) use seen::{Alert, Attachment, Detector, Observation, Outcome, Weight};

use seen::{Recents, Shape};

/// Hosts, senders, attachments and shapes that are remembered, each.
const KEYS: usize = 20_000;

/// Distinct senders of one thing that are told apart; more are not needed by any limit.
const SENDERS: usize = 128;

/// How long an attachment is new: what was seen first before that is no outbreak (a logo, a signed form).
const NEW_FOR: u64 = 24 * 3600;

/// How long a hold stays after the last message that matched it. A sender who tries again renews it: what he has was
/// held for a reason.
const HELD_FOR: u64 = 2 * 3600;

/// How long a hold stays at most: as long as senders usually try (RFC 5321 section 4.5.4.1).
const HELD_AT_MOST: u64 = 5 * 86_400;

/// Holds at one time; beyond them the one goes that was not matched for longest.
const HOLDS: usize = 256;

/// Which mail a hold is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Matching {
    /// Every message with this attachment.
    Digest([u8; 32]),
    /// Every message with a program of this shape.
    Shape(Shape),
    /// What this sender attaches.
    Sender(String),
    /// What this host hands over with an attachment of this kind, or with any.
    Host(IpAddr, Option<String>),
    /// Every program from inside.
    Programs,
}

impl Matching {
    fn matches(&self, seen: &Observation<'_>) -> bool {
        let dangerous = || {
            seen.attachments
                .iter()
                .filter(|attachment| attachment.weight > Weight::Passive)
        };
        match self {
            Self::Digest(digest) => seen.attachments.iter().any(|one| one.digest == *digest),
            Self::Shape(shape) => dangerous().any(|one| one.shape() == *shape),
            Self::Sender(account) => seen.account == account && dangerous().next().is_some(),
            Self::Host(host, kind) => {
                seen.host == *host
                    && dangerous().any(|one| kind.as_ref().is_none_or(|kind| one.kind == kind))
            }
            Self::Programs => seen.own && dangerous().any(|one| one.weight == Weight::Active),
        }
    }
}

/// Mail that is held, since when, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Hold {
    detector: Detector,
    matching: Matching,
    since: u64,
    last: u64,
    held: u64,
}

impl Hold {
    fn lasts(&self, at: u64) -> bool {
        at.saturating_sub(self.last) < HELD_FOR && at.saturating_sub(self.since) < HELD_AT_MOST
    }
}

/// Somebody who sent a thing.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sender {
    last: u64,
    who: u64,
    /// The host of ours that handed all of his over; none where it is a stranger's, or one of several.
    host: Option<IpAddr>,
}

/// What one attachment has done.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Spread {
    first: u64,
    last: u64,
    /// Senders within the last hour.
    senders: Vec<Sender>,
}

/// What one sender has done.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sending {
    last: u64,
    messages: Window,
    recipients: Window,
    learnt: Learnt,
    alerted: u64,
}

/// What one host has done.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Hosting {
    sending: Sending,
    messages: Window,
    /// Messages with something to open.
    carrying: Window,
    /// By kind of attachment: messages that carry one.
    kinds: Vec<(String, Window)>,
    senders: Vec<Sender>,
    /// Share of messages with something to open, in thousandths, on its most carrying hours.
    usual_share: Learnt,
    /// When it was last told that it attaches to everything.
    told: u64,
}

/// Everything that was observed, and what is held.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Outbreaks {
    attachments: Keyed<[u8; 32], Spread>,
    shapes: Keyed<Shape, Spread>,
    senders: Keyed<String, Sending>,
    hosts: Keyed<IpAddr, Hosting>,
    /// The widest spread of one new attachment within an hour.
    spread: Learnt,
    own_messages: Window,
    own_programs: Window,
    /// Share of own messages with programs, in thousandths.
    program_share: Learnt,
    program_senders: Vec<Sender>,
    holds: Vec<Hold>,
    /// The messages of now.
    #[serde(skip)]
    recent: Recents,
}

/// The least that is ever counted as an outbreak, whatever was learnt.
mod floor {
    /// Senders of one new program within an hour.
    pub(super) const PROGRAM_SENDERS: u32 = 3;
    /// Senders of one new document or archive within an hour.
    pub(super) const DOCUMENT_SENDERS: u32 = 12;
    /// More senders of one thing than this are always too many: more are not told apart.
    pub(super) const MOST_SENDERS: u32 = 100;
    /// Messages of one sender within an hour, and recipients of them. One message to the whole house is neither.
    pub(super) const SENDER: (u32, u32) = (30, 200);
    /// The same of one host.
    pub(super) const HOST: (u32, u32) = (300, 2_000);
    /// Messages with programs within an hour, from that many senders, and their share in thousandths.
    pub(super) const PROGRAMS: (u32, u32, u32) = (5, 3, 50);
    /// Messages of a host within an hour, from that many senders, of which nine in ten carry something.
    pub(super) const ATTACHING: (u32, u32) = (20, 3);
}

impl Outbreaks {
    /// Notes a message that would otherwise go on, and says whether it is held. `expected` is what the
    /// postmaster knows of: it is counted, and holds nothing.
    pub(crate) fn observe(&mut self, seen: &Observation<'_>, expected: &Expected) -> Outcome {
        let mut outcome = Outcome::default();
        self.holds.retain(|hold| hold.lasts(seen.at));
        self.recent.add(seen);
        let sender = identity(seen.sender);
        let calm = !self.holds.iter().any(|hold| hold.matching.matches(seen));
        self.note_attachments(seen, sender, expected, calm, &mut outcome);
        self.note_sending(seen, sender, expected, calm, &mut outcome);
        self.note_programs(seen, sender, calm, &mut outcome);
        if expected.covers(seen) {
            return outcome;
        }
        if let Some(hold) = self
            .holds
            .iter_mut()
            .find(|hold| hold.matching.matches(seen))
        {
            hold.last = seen.at;
            hold.held += 1;
            outcome.held = Some(hold.detector);
        }
        outcome
    }

    /// What is held at this time: by which detector, since when (seconds of the Unix epoch, both), and how many messages.
    pub(crate) fn held(&self, at: u64) -> impl Iterator<Item = (Detector, u64, u64)> + '_ {
        self.holds
            .iter()
            .filter(move |hold| hold.lasts(at))
            .map(|hold| (hold.detector, hold.since, hold.held))
    }

    fn hold(&mut self, detector: Detector, matching: Matching, at: u64) -> bool {
        if self.holds.iter().any(|hold| hold.matching == matching) {
            return false;
        }
        if self.holds.len() >= HOLDS {
            let oldest = self.holds.iter().map(|hold| hold.last).min();
            let place = self.holds.iter().position(|hold| Some(hold.last) == oldest);
            place.map(|place| self.holds.swap_remove(place));
        }
        self.holds.push(Hold {
            detector,
            matching,
            since: at,
            last: at,
            held: 0,
        });
        true
    }

    /// The same attachment, or one of the same shape, from many.
    fn note_attachments(
        &mut self,
        seen: &Observation<'_>,
        sender: u64,
        expected: &Expected,
        calm: bool,
        outcome: &mut Outcome,
    ) {
        // A message that holds one thing twice is one message.
        let mut digests = BTreeSet::new();
        let mut shapes = BTreeSet::new();
        for attachment in seen.attachments {
            if attachment.weight == Weight::Passive || !digests.insert(attachment.digest) {
                continue;
            }
            let spread = self.attachments.entry(attachment.digest, seen.at);
            let senders = spread.seen(seen, sender);
            let isolate = alone(&spread.senders);
            let is_new = seen.at.saturating_sub(spread.first) < NEW_FOR;
            let (least, factor) = match attachment.weight {
                Weight::Active => (floor::PROGRAM_SENDERS, 0),
                // Twice as many while nothing is known of the place.
                _ if self.spread.days(seen.at).is_none() => (floor::DOCUMENT_SENDERS * 2, 2),
                _ => (floor::DOCUMENT_SENDERS, 2),
            };
            let usual = self.spread.most(seen.at);
            let limit = least
                .max(usual.saturating_mul(factor))
                .min(floor::MOST_SENDERS);
            let known = expected.covers(seen) || expected.holds(&attachment.digest);
            if is_new && senders >= limit && !known {
                let matching = Matching::Digest(attachment.digest);
                if self.hold(Detector::SameAttachment, matching.clone(), seen.at) {
                    let examples = self.recent.examples(|one| matching.matches(one));
                    outcome.alerts.push(Alert {
                        detector: Detector::SameAttachment,
                        text: format!(
                            "The same new attachment ({}, {} octets, SHA-256 {}) came from {senders} senders within \
                             an hour. The most that one new document had in the weeks before is {usual}; the limit is \
                             {limit}.",
                            attachment.kind,
                            attachment.octets,
                            hexadecimal(&attachment.digest),
                        ),
                        holds: Some("Mail with it is held."),
                        counted: senders,
                        limit,
                        usual: self.spread.days(seen.at).map(|_| usual),
                        unit: "senders",
                        isolate,
                        examples,
                    });
                }
            } else if is_new && attachment.weight == Weight::Openable && calm {
                self.spread.note(seen.at, senders);
            }
            let shape = attachment.shape();
            if attachment.weight == Weight::Active && shapes.insert(shape.clone()) {
                let spread = self.shapes.entry(shape.clone(), seen.at);
                let senders = spread.seen(seen, sender);
                let isolate = alone(&spread.senders);
                let is_new = seen.at.saturating_sub(spread.first) < NEW_FOR;
                // Programs alike in size are less of a sign than the same program.
                let limit = floor::PROGRAM_SENDERS * 2;
                if is_new
                    && senders >= limit
                    && !expected.covers(seen)
                    && self.hold(
                        Detector::AlikeAttachments,
                        Matching::Shape(shape.clone()),
                        seen.at,
                    )
                {
                    let matching = Matching::Shape(shape.clone());
                    let examples = self.recent.examples(|one| matching.matches(one));
                    outcome.alerts.push(Alert {
                        detector: Detector::AlikeAttachments,
                        text: format!(
                            "Programs alike in kind and size ({}, about {} octets) came from {senders} senders within \
                             an hour; the limit is {limit}.",
                            shape.kind, shape.size,
                        ),
                        holds: Some("Mail with such a program is held."),
                        counted: senders,
                        limit,
                        usual: None,
                        unit: "senders",
                        isolate,
                        examples,
                    });
                }
            }
        }
    }

    /// Somebody who suddenly sends many, and a host that attaches something to everything.
    fn note_sending(
        &mut self,
        seen: &Observation<'_>,
        sender: u64,
        expected: &Expected,
        calm: bool,
        outcome: &mut Outcome,
    ) {
        let known = expected.covers(seen);
        if seen.own && !seen.account.is_empty() {
            let sending = self.senders.entry(seen.account.to_owned(), seen.at);
            if let Some((count, usual, limit)) = sending.sent(seen, floor::SENDER, calm, known) {
                let known_for = sending.learnt.days(seen.at);
                let examples = self.recent.examples(|one| one.account == seen.account);
                outcome.alerts.push(Alert {
                    detector: Detector::SuddenSender,
                    text: format!(
                        "{} sent to {count} recipients within an hour. The most in the weeks before is {usual}; the limit \
                         is {limit}.",
                        printable(seen.account),
                    ),
                    holds: Some("What it attaches is held; text goes on."),
                    counted: count,
                    limit,
                    usual: known_for.map(|_| usual),
                    unit: "recipients",
                    isolate: None,
                    examples,
                });
                let matching = Matching::Sender(seen.account.to_owned());
                self.hold(Detector::SuddenSender, matching, seen.at);
            }
        }
        let host = self.hosts.entry(seen.host, seen.at);
        // What is much for a whole host, only its own days can tell.
        let is_new = host.sending.learnt.days(seen.at).is_none();
        let known_host = known || is_new || !seen.own;
        let sudden = host.sending.sent(seen, floor::HOST, calm, known_host);
        let attaching = host.attaches(seen, sender, calm, expected);
        // Of a host that was never seen before nobody knows what is usual: it is only told of.
        let tell = attaching
            .as_ref()
            .is_some_and(|(_, _, _, usual)| usual.is_none() && !known && host.tell(seen.at));
        if let Some((count, usual, limit)) = sudden {
            let examples = self.recent.examples(|one| one.host == seen.host);
            outcome.alerts.push(Alert {
                detector: Detector::SuddenSender,
                text: format!(
                    "The host {} sent to {count} recipients within an hour. The most in the weeks before is {usual}; the \
                     limit is {limit}.",
                    seen.host,
                ),
                holds: Some("What it attaches is held; text goes on."),
                counted: count,
                limit,
                usual: Some(usual),
                unit: "recipients",
                isolate: seen.own.then_some(seen.host),
                examples,
            });
            let matching = Matching::Host(seen.host, None);
            self.hold(Detector::SuddenSender, matching, seen.at);
        }
        if let Some((kind, carrying, messages, usual)) = attaching
            && !known
            && seen.own
        {
            let held = usual.is_some();
            let first = if held {
                let matching = Matching::Host(seen.host, Some(kind.clone()));
                self.hold(Detector::AttachingServer, matching, seen.at)
            } else {
                tell
            };
            if !first {
                return;
            }
            let was = usual.map_or_else(
                || "It was not seen long enough to know what is usual.".to_owned(),
                |share| {
                    format!(
                        "In the weeks before it was {}.{} percent.",
                        share / 10,
                        share % 10
                    )
                },
            );
            let matching = Matching::Host(seen.host, Some(kind.clone()));
            let examples = self.recent.examples(|one| matching.matches(one));
            outcome.alerts.push(Alert {
                detector: Detector::AttachingServer,
                text: format!(
                    "The host {} attached something ({kind}) to {carrying} of the {messages} messages it sent within an \
                     hour. {was}",
                    seen.host,
                ),
                holds: held.then_some("What it attaches of that kind is held."),
                counted: carrying,
                limit: messages - messages / 10,
                usual: usual.map(|usual| u32::try_from(u64::from(messages) * u64::from(usual) / 1000).unwrap_or(messages)),
                unit: "messages with something attached",
                isolate: seen.own.then_some(seen.host),
                examples,
            });
        }
    }

    /// A rising share of messages from inside that carry programs.
    fn note_programs(
        &mut self,
        seen: &Observation<'_>,
        sender: u64,
        calm: bool,
        outcome: &mut Outcome,
    ) {
        if !seen.own {
            return;
        }
        let carries = seen
            .attachments
            .iter()
            .any(|attachment| attachment.weight == Weight::Active);
        let messages = self.own_messages.add(seen.at, 1);
        let programs = self.own_programs.add(seen.at, u32::from(carries));
        if carries {
            remember(&mut self.program_senders, seen, sender);
        }
        let share = share(programs, messages);
        let (least, from, floor) = floor::PROGRAMS;
        let usual = self.program_share.most(seen.at);
        let limit = floor.max(usual.saturating_mul(3));
        if carries
            && programs >= least
            && share >= limit
            && count(&self.program_senders) >= from
            && self.hold(Detector::ShareOfPrograms, Matching::Programs, seen.at)
        {
            let examples = self.recent.examples(|one| Matching::Programs.matches(one));
            let isolate = alone(&self.program_senders);
            outcome.alerts.push(Alert {
                detector: Detector::ShareOfPrograms,
                text: format!(
                    "{programs} of the {messages} messages from inside within an hour carry programs ({}.{} percent). The \
                     most in the weeks before is {}.{} percent; the limit is {}.{} percent.",
                    share / 10,
                    share % 10,
                    usual / 10,
                    usual % 10,
                    limit / 10,
                    limit % 10,
                ),
                holds: Some("Programs from inside are held."),
                counted: share,
                limit,
                usual: Some(usual),
                unit: "of 1,000 messages with a program",
                isolate,
                examples,
            });
        } else if calm && messages >= 100 {
            self.program_share.note(seen.at, share);
        }
    }
}

impl Spread {
    /// Notes a sender; how many there are within the hour.
    fn seen(&mut self, seen: &Observation<'_>, sender: u64) -> u32 {
        remember(&mut self.senders, seen, sender);
        count(&self.senders)
    }
}

impl Sending {
    /// Notes a message; what was counted, what is usual and the limit, where it is passed for the first time in an hour.
    fn sent(
        &mut self,
        seen: &Observation<'_>,
        (messages, least): (u32, u32),
        calm: bool,
        known: bool,
    ) -> Option<(u32, u32, u32)> {
        let many = self.messages.add(seen.at, 1) >= messages;
        let count = self.recipients.add(seen.at, seen.recipients.max(1));
        let usual = self.learnt.most(seen.at);
        // Twice as many of somebody who was not seen before: nothing says yet what is much for him.
        let least = least * (1 + u32::from(self.learnt.days(seen.at).is_none()));
        let limit = least.max(usual.saturating_mul(4));
        if !many || count < limit || known {
            if calm || known {
                self.learnt.note(seen.at, count);
            }
            return None;
        }
        let again = seen.at.saturating_sub(self.alerted) < HELD_FOR && self.alerted != 0;
        self.alerted = seen.at;
        (!again).then_some((count, usual, limit))
    }
}

impl Hosting {
    /// Whether it is to be told again that it attaches to everything.
    fn tell(&mut self, at: u64) -> bool {
        let again = self.told != 0 && at.saturating_sub(self.told) < HELD_FOR;
        self.told = at;
        !again
    }

    /// Notes what a message carries; the kind that is attached to nearly everything, messages with it and all of
    /// the hour, and the usual share in thousandths, where that is more than ever.
    fn attaches(
        &mut self,
        seen: &Observation<'_>,
        sender: u64,
        calm: bool,
        expected: &Expected,
    ) -> Option<(String, u32, u32, Option<u32>)> {
        remember(&mut self.senders, seen, sender);
        let messages = self.messages.add(seen.at, 1);
        let mut kinds = BTreeSet::new();
        for attachment in seen.attachments {
            if attachment.weight > Weight::Passive && !expected.holds(&attachment.digest) {
                kinds.insert(attachment.kind);
            }
        }
        let carrying = self.carrying.add(seen.at, u32::from(!kinds.is_empty()));
        self.kinds.retain_mut(|(_, window)| window.sum(seen.at) > 0);
        let mut most = None;
        for kind in kinds {
            let place = self.kinds.iter().position(|(known, _)| known == kind);
            let place = place.unwrap_or_else(|| {
                self.kinds.push((kind.to_owned(), Window::default()));
                self.kinds.len() - 1
            });
            let with = self
                .kinds
                .get_mut(place)
                .map_or(0, |(_, window)| window.add(seen.at, 1));
            if most.as_ref().is_none_or(|(_, other)| with > *other) {
                most = Some((kind, with));
            }
        }
        let (least, from) = floor::ATTACHING;
        // Known only from days with enough mail to tell.
        let usual = self
            .usual_share
            .days(seen.at)
            .map(|_| self.usual_share.most(seen.at));
        if calm && messages >= least {
            self.usual_share.note(seen.at, share(carrying, messages));
        }
        let (kind, with) = most?;
        let nearly_all = with >= messages - messages / 10;
        let unusual = usual.is_none_or(|usual| usual < 600);
        (messages >= least && count(&self.senders) >= from && nearly_all && unusual)
            .then(|| (kind.to_owned(), with, messages, usual))
    }
}

/// In thousandths.
fn share(part: u32, whole: u32) -> u32 {
    let thousandths = u64::from(part) * 1000 / u64::from(whole.max(1));
    u32::try_from(thousandths).unwrap_or(1000)
}

/// A sender, told apart from others.
fn identity(sender: &str) -> u64 {
    // Without a key: the same in each run, so that what is learnt can be kept.
    let mut hasher = DefaultHasher::new();
    sender.hash(&mut hasher);
    hasher.finish()
}

/// Notes a sender, and forgets those of more than an hour ago.
fn remember(senders: &mut Vec<Sender>, seen: &Observation<'_>, who: u64) {
    let mut host = seen.own.then_some(seen.host);
    senders.retain(|one| {
        let lasts = seen.at.saturating_sub(one.last) < 3600;
        if lasts && one.who == who && one.host != host {
            host = None;
        }
        lasts && one.who != who
    });
    if senders.len() < SENDERS {
        senders.push(Sender {
            last: seen.at,
            who,
            host,
        });
    } else if let Some(last) = senders.last_mut() {
        // More are not told apart: the last stands for all of them.
        last.last = seen.at;
        if last.host != host {
            last.host = None;
        }
    }
}

/// The host of ours that alone handed over what these sent.
fn alone(senders: &[Sender]) -> Option<IpAddr> {
    let host = senders.first()?.host?;
    let all = senders.iter().all(|one| one.host == Some(host));
    all.then_some(host)
}

fn count(senders: &[Sender]) -> u32 {
    u32::try_from(senders.len()).unwrap_or(u32::MAX)
}

fn hexadecimal(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").ok();
        text
    })
}

fn printable(text: &str) -> String {
    mailkeep_model::text::printable_max(text, 100)
}
