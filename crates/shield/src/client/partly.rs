//! Messages that reached some of their recipients only. Entry: [`Partly`].
//!
//! LMTP answers a message once for each recipient, SMTP once for all (RFC 2033 section 4.2). Where the answers differ,
//! neither a yes nor a no is true of everybody: the sender is told to come again, and here it is remembered who has it.
//! When it comes again it is given to the others only. Where these are refused for good then, by the server or by the
//! shield, both are kept apart at the next try, each in a message of their own, so that whatever is said at its end is true
//! of all of them.
//!
//! In memory only: after a restart such a message arrives once more where it was, and is never lost.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mailkeep_wire::{EnhancedCode, Reply, ServerReply};
use serde_json::json;

use super::delivery::{Envelope, Taken};
use super::{Client, relayed};
use crate::backend::{Handed, try_again};

/// What is remembered at most; then the oldest is forgotten.
const MOST: usize = 4096;
/// Senders give up after four or five days (RFC 5321 section 4.5.4.1).
const KEPT: Duration = Duration::from_hours(6 * 24);

/// SHA-256 of a message.
pub(crate) type Digest = [u8; 32];

/// Who has what.
#[derive(Debug, Default)]
pub(crate) struct Partly(Mutex<VecDeque<Had>>);

/// A message that somebody has, though its sender was told to bring it again.
#[derive(Debug)]
struct Had {
    sender: String,
    recipient: String,
    digest: Digest,
    since: Instant,
    /// Whether others were refused it for good.
    apart: bool,
}

impl Had {
    fn is_of(&self, sender: &str, recipient: &str) -> bool {
        self.sender == sender && self.recipient == recipient
    }
}

impl Partly {
    /// That this recipient has it, and its sender does not know.
    pub(super) fn remember(&self, sender: &str, recipient: &str, digest: Digest) {
        if self.has(sender, recipient, &digest) {
            return;
        }
        let mut held = self.held();
        if held.len() == MOST {
            held.pop_front();
        }
        held.push_back(Had {
            sender: sender.to_owned(),
            recipient: recipient.to_owned(),
            digest,
            since: Instant::now(),
            apart: false,
        });
    }

    /// Whether this sender is to bring something again that this recipient has.
    pub(super) fn awaits(&self, sender: &str, recipient: &str) -> bool {
        let held = self.held();
        held.iter().any(|had| had.is_of(sender, recipient))
    }

    /// That it must come again without the others, who are refused.
    fn set_apart(&self, sender: &str, recipient: &str, digest: &Digest) {
        for had in self.held().iter_mut() {
            had.apart |= had.is_of(sender, recipient) && had.digest == *digest;
        }
    }

    /// Whether something of this sender for this recipient must come without others.
    pub(super) fn is_apart(&self, sender: &str, recipient: &str) -> bool {
        let held = self.held();
        held.iter()
            .any(|had| had.apart && had.is_of(sender, recipient))
    }

    /// Whether this recipient has this message.
    pub(super) fn has(&self, sender: &str, recipient: &str, digest: &Digest) -> bool {
        let held = self.held();
        held.iter()
            .any(|had| had.is_of(sender, recipient) && had.digest == *digest)
    }

    /// That the sender has been told.
    pub(super) fn told(&self, sender: &str, recipient: &str, digest: &Digest) {
        self.held()
            .retain(|had| !had.is_of(sender, recipient) || had.digest != *digest);
    }

    fn held(&self) -> MutexGuard<'_, VecDeque<Had>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while held.front().is_some_and(|had| had.since.elapsed() > KEPT) {
            held.pop_front();
        }
        held
    }
}

/// Who had a message before it came now.
pub(super) struct Before {
    recipients: Vec<String>,
    digest: Option<Digest>,
}

impl Client {
    /// What is said of a message that all of its recipients have.
    pub(super) fn delivered_before(&self, envelope: &Envelope, before: &Before) -> Taken {
        self.told(envelope, before);
        let text = "delivered when it came before";
        let reply = Reply::new(250, EnhancedCode::new(2, 0, 0), text);
        Taken::of(reply, Vec::new())
    }

    /// Gives a message to all who do not have it.
    pub(super) async fn deliver(&mut self, envelope: &mut Envelope, before: &Before) -> Taken {
        if !before.recipients.is_empty() {
            // The others, in a transaction without them.
            self.leave_backend().await;
        }
        match self.hand_over(envelope).await {
            Some(Handed::Answered(answer)) if before.recipients.is_empty() => Taken::all(&answer),
            Some(Handed::Answered(answer)) => {
                let answers = vec![answer; envelope.to.len()];
                self.combined(envelope, &answers, before).await
            }
            Some(Handed::Each(answers)) => self.combined(envelope, &answers, before).await,
            Some(Handed::NotBegun(_)) | None => Taken::of(try_again(), Vec::new()),
        }
    }

    /// Takes those out of the envelope who have this very message.
    pub(super) async fn take_out_who_has(&self, envelope: &mut Envelope) -> Before {
        let mut recipients = Vec::new();
        let mut digest = None;
        let partly = &self.shared.partly;
        let mut to = envelope.to.iter();
        if to.any(|to| partly.awaits(&envelope.sender, to))
            && let Some(spool) = &mut envelope.spool
        {
            digest = spool.digest().await.ok();
        }
        if let Some(digest) = &digest {
            let to = std::mem::take(&mut envelope.to);
            let lines = std::mem::take(&mut envelope.recipients);
            for (to, line) in to.into_iter().zip(lines) {
                if self.shared.partly.has(&envelope.sender, &to, digest) {
                    recipients.push(to);
                } else {
                    envelope.to.push(to);
                    envelope.recipients.push(line);
                }
            }
        }
        Before { recipients, digest }
    }

    /// What is said instead of a refusal for good where some have the message: it would speak of them, too. They are kept
    /// apart from then on.
    pub(super) fn not_refused(&self, envelope: &Envelope, before: &Before) -> Option<Reply> {
        let digest = before.digest.filter(|_| !before.recipients.is_empty())?;
        for recipient in &before.recipients {
            let partly = &self.shared.partly;
            partly.set_apart(&envelope.sender, recipient, &digest);
        }
        Some(come_again(0, envelope.to.len()))
    }

    /// That those who had it before are spoken of with the others.
    pub(super) fn told(&self, envelope: &Envelope, before: &Before) {
        if let Some(digest) = &before.digest {
            for recipient in &before.recipients {
                let partly = &self.shared.partly;
                partly.told(&envelope.sender, recipient, digest);
            }
        }
    }

    /// One answer of what was said of each recipient. Of those of whom nothing was said nobody knows.
    async fn combined(
        &self,
        envelope: &mut Envelope,
        answers: &[ServerReply],
        before: &Before,
    ) -> Taken {
        let who = envelope.to.iter().zip(answers);
        let takers = who.filter(|(_, answer)| answer.is_positive());
        let takers: Vec<String> = takers.map(|(to, _)| to.clone()).collect();
        let (all, taken) = (envelope.to.len(), takers.len());
        let failed = answers.iter().find(|answer| !answer.is_positive());
        let codes: Vec<u16> = answers.iter().map(ServerReply::code).collect();
        let fields = vec![
            ("delivered", json!(taken)),
            ("codes", json!(codes)),
            ("answer", json!(failed.and_then(|one| one.lines().last()))),
        ];
        if taken == all {
            self.told(envelope, before);
            let text = format!("delivered to {all} recipients");
            return Taken::of(Reply::new(250, EnhancedCode::new(2, 0, 0), &text), fields);
        }
        if taken == 0 && before.recipients.is_empty() {
            // What holds only for now is stronger: who is refused for good will be refused again.
            let later = answers.iter().find(|answer| answer.code() < 500);
            let reply = match (later, failed) {
                (Some(later), _) => relayed(later),
                (None, Some(failed)) if answers.len() == all => relayed(failed),
                (None, _) => try_again(),
            };
            return Taken::of(reply, fields);
        }
        let digest = match (before.digest, &mut envelope.spool) {
            (Some(digest), _) => Some(digest),
            (None, Some(spool)) => spool.digest().await.ok(),
            (None, None) => None,
        };
        if let Some(digest) = digest {
            let (partly, sender) = (&self.shared.partly, &envelope.sender);
            for recipient in &takers {
                partly.remember(sender, recipient, digest);
            }
            // Who only came once may never come again, and his later mail need not be cut in two for that.
            let for_good = |answer: &ServerReply| answer.is_positive() || answer.code() >= 500;
            if !before.recipients.is_empty() && answers.len() == all && answers.iter().all(for_good)
            {
                for recipient in takers.iter().chain(&before.recipients) {
                    partly.set_apart(sender, recipient, &digest);
                }
            }
        }
        Taken::of(come_again(taken, all), fields)
    }
}

fn come_again(taken: usize, all: usize) -> Reply {
    let text = format!("delivered to {taken} of {all} recipients; send it again for the others");
    Reply::new(451, EnhancedCode::new(4, 3, 0), &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_what_is_known_until_its_sender_was_told_and_is_bounded() {
        let partly = Partly::default();
        partly.remember("a@x", "b@y", [1; 32]);
        partly.remember("a@x", "b@y", [1; 32]);
        partly.remember("a@x", "b@y", [2; 32]);
        assert_eq!(partly.held().len(), 2);
        assert!(partly.awaits("a@x", "b@y") && !partly.awaits("a@x", "c@y"));
        assert!(partly.has("a@x", "b@y", &[1; 32]) && !partly.has("a@x", "b@y", &[3; 32]));
        partly.told("a@x", "b@y", &[1; 32]);
        assert!(!partly.has("a@x", "b@y", &[1; 32]) && partly.has("a@x", "b@y", &[2; 32]));
        for nth in 0..MOST {
            partly.remember("a@x", &format!("{nth}@y"), [0; 32]);
        }
        assert_eq!(partly.held().len(), MOST);
        assert!(!partly.awaits("a@x", "b@y"), "the oldest goes first");
        partly.set_apart("a@x", "7@y", &[1; 32]);
        assert!(!partly.is_apart("a@x", "7@y"), "another message");
        partly.set_apart("a@x", "7@y", &[0; 32]);
        assert!(partly.is_apart("a@x", "7@y") && !partly.is_apart("a@x", "8@y"));
    }
}
