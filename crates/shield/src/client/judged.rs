//! Looks into a message that is whole, before the backend gets any of it.

use mailkeep_inspect::Verdict;
use mailkeep_wire::{EnhancedCode, Path, Reply};
use serde_json::json;

use super::Client;
use super::delivery::Envelope;
use super::partly::Before;
use crate::content::{Outcome, Subject};

/// An address without its brackets.
pub(super) fn bare(path: &Path) -> String {
    let wire = path.to_wire();
    let bare = wire
        .strip_prefix('<')
        .and_then(|path| path.strip_suffix('>'));
    bare.unwrap_or(&wire).to_owned()
}

impl Client {
    fn subject(&self, envelope: &Envelope) -> Subject {
        Subject {
            listener: self.listener.name.clone(),
            trace: self.trace().to_owned(),
            client: Some(self.address.ip()),
            hello: self.hello.clone(),
            sender: envelope.sender.clone(),
            recipients: envelope.to.clone(),
            authenticated: self.session.is_authenticated(),
            login: None,
            spf: envelope.spf.clone(),
        }
    }

    /// What is said against the sender at his first recipient, where policy asks before there is any content.
    pub(super) async fn sender_refused(&mut self) -> Option<Reply> {
        if !self.envelope.sender_asked {
            self.envelope.sender_asked = true;
            let content = self.shared.content();
            let subject = self.subject(&self.envelope);
            if let Some((spf, answered)) = content.before_content(&subject).await {
                self.envelope.spf = Some(spf);
                if let Some((reason, reply)) = answered {
                    let fields = [
                        ("rule", json!(reason.rule)),
                        ("evidence", json!(reason.evidence)),
                        ("sender_domain", json!(self.envelope.from_domain)),
                    ];
                    self.log("refused", &fields);
                    self.envelope.sender_refused = Some(reply);
                }
            }
        }
        self.envelope.sender_refused.clone()
    }

    /// Whether it goes on. If not, the backend has forgotten it and the client has been answered.
    pub(super) async fn judged(
        &mut self,
        envelope: &mut Envelope,
        before: &Before,
        size: u64,
    ) -> bool {
        let content = self.shared.content();
        if !content.looks(&self.listener.name, &envelope.to) {
            return true;
        }
        let subject = self.subject(envelope);
        let room = content.room(size).await;
        let mut why = "no-room";
        let octets = match &mut envelope.spool {
            Some(spool) if room.is_some() => {
                why = "spool-failed";
                let octets = spool.octets().await;
                octets.inspect_err(|error| self.spool_failed(error)).ok()
            }
            _ => None,
        };
        let seen = octets.is_some();
        let outcome = match octets {
            Some(octets) => {
                content
                    .judge(
                        &subject,
                        octets,
                        room.clone(),
                        &self.shared.patches,
                        &self.shared.log,
                    )
                    .await
            }
            None => Outcome::unseen(Verdict::Tempfail),
        };
        drop(room);
        envelope.judged = outcome.fields();
        if outcome.verdict == Verdict::Accept {
            envelope.before = outcome.before();
            if let Some(spool) = &mut envelope.spool {
                spool.omit(outcome.omit());
            }
            return true;
        }
        self.reset_backend().await;
        let mut reply = outcome.reply.unwrap_or_else(|| {
            let text = format!(
                "it could not be looked into; try again later {}",
                self.reference()
            );
            Reply::new(451, EnhancedCode::new(4, 7, 1), &text)
        });
        if reply.code() >= 500
            && let Some(other) = self.not_refused(envelope, before)
        {
            reply = other;
        }
        let counters = &self.shared.counters;
        let verdict = match reply.code() {
            // It was taken, if not by the backend.
            200..=299 => {
                self.told(envelope, before);
                "quarantine"
            }
            500.. => {
                counters.refused.one();
                "refuse"
            }
            _ => {
                counters.tempfailed.one();
                "tempfail"
            }
        };
        let why = (!seen).then(|| ("why", json!(why)));
        self.log_message(envelope, verdict, Some(size), why.as_slice());
        self.say(&reply);
        false
    }
}
