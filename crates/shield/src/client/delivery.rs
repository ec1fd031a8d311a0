//! One message of a client: its envelope, and how it reaches a backend.
//!
//! Only here is a message acknowledged, and only with the backend's own words.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use mail_auth::SpfResult;
use mailkeep_wire::{Command, EnhancedCode, Path, Refusal, Reply, ServerReply};
use serde_json::{Value, json};

use super::judged::bare;
use super::{Client, End, relayed};
use crate::backend::{BackendError, Connection, Handed, try_again};
use crate::spool::Spool;

/// What was said of the message that has begun.
#[derive(Default)]
pub(super) struct Envelope {
    /// MAIL as the backend got it.
    pub(super) mail: String,
    /// RCPT as the backend accepted them.
    pub(super) recipients: Vec<String>,
    pub(super) from_domain: Option<String>,
    /// The sender, without brackets.
    pub(super) sender: String,
    /// The recipients that the backend accepted, without brackets.
    pub(super) to: Vec<String>,
    /// Whether the sender was asked about before the content.
    pub(super) sender_asked: bool,
    /// What SPF said then, and of which domain.
    pub(super) spf: Option<(SpfResult, String)>,
    /// What each recipient is answered for it.
    pub(super) sender_refused: Option<Reply>,
    /// Header lines that stand in front of the message.
    pub(super) before: String,
    /// What was found in it, for the log.
    pub(super) judged: Vec<(&'static str, Value)>,
    /// The backend was lost since: nothing of this message can be acknowledged.
    pub(super) lost: bool,
    pub(super) spool: Option<Spool>,
    /// Whether its recipients must not stand beside others; `None` before the first of them.
    apart: Option<bool>,
}

/// What became of a message that was handed over, or could not be.
pub(super) struct Taken {
    verdict: &'static str,
    reply: Reply,
    /// For the log.
    fields: Vec<(&'static str, Value)>,
}

impl Taken {
    pub(super) fn of(reply: Reply, fields: Vec<(&'static str, Value)>) -> Self {
        let verdict = match reply.code() {
            200..=299 => "accept",
            500.. => "refuse",
            _ => "tempfail",
        };
        Self {
            verdict,
            reply,
            fields,
        }
    }

    /// As the one answer of a backend has it.
    pub(super) fn all(answer: &ServerReply) -> Self {
        let fields = vec![
            ("code", json!(answer.code())),
            ("answer", json!(answer.lines().last())),
        ];
        Self::of(relayed(answer), fields)
    }
}

impl Client {
    /// Asks a backend, and answers with its answer. Whether it said yes.
    pub(super) async fn mail(&mut self, command: &Command, from: &Path) -> Result<bool, End> {
        self.messages = self.messages.saturating_add(1);
        self.message_trace = Some(format!("{}-{:x}", self.trace, self.messages));
        self.envelope = Envelope {
            from_domain: from.domain().map(str::to_owned),
            sender: bare(from),
            ..Envelope::default()
        };
        let bound = self.session.is_authenticated();
        if !bound && self.backend.as_ref().is_some_and(Connection::is_draining) {
            self.leave_backend().await;
        }
        let kept = self.backend.is_some();
        if bound && !kept {
            return self.gone();
        }
        let mut reply = None;
        // One that was kept may have had enough while the client was silent: that is no fault of the next message.
        for again in [false, true] {
            if again && (bound || !kept) {
                break;
            }
            if self.backend.is_none() {
                match self.connect().await {
                    Ok(backend) => self.backend = Some(backend),
                    Err(error) => {
                        self.backend_failed(&error);
                        let reply = match &error {
                            BackendError::Refuses(_, reply) => relayed(reply),
                            _ => try_again(),
                        };
                        self.say(&reply);
                        return Ok(false);
                    }
                }
            }
            let Some(line) = self.line_for_backend(command) else {
                // It offered more when the client was greeted.
                self.say(&try_again());
                return Ok(false);
            };
            reply = self.ask(&line).await;
            self.envelope.mail = line;
            if reply.is_some() {
                break;
            }
        }
        match reply {
            Some(reply) => {
                self.say(&relayed(&reply));
                Ok(reply.is_positive())
            }
            None if bound => self.gone(),
            None => {
                self.say(&try_again());
                Ok(false)
            }
        }
    }

    /// The backend that knows who the client is was lost: only the client can say so anew.
    fn gone(&mut self) -> Result<bool, End> {
        let text = "the mail server behind is gone; connect and authenticate anew";
        self.say(&Reply::new(421, EnhancedCode::new(4, 4, 2), text));
        Err(End::NoBackend)
    }

    pub(super) async fn connect(&mut self) -> Result<Connection, BackendError> {
        let stranger = self.stranger().await;
        let backends = &self.shared.backends;
        backends.connect(&self.listener.name, &stranger).await
    }

    /// MAIL with the parameters that this backend offers.
    fn line_for_backend(&self, command: &Command) -> Option<String> {
        let offer = &self.backend.as_ref()?.offer;
        let Command::Mail { from, parameters } = command else {
            return None;
        };
        let mut parameters = parameters.clone();
        if offer.size.is_none() {
            parameters.size = None;
        }
        // RFC 4954 section 5: not said to a server that does not know it.
        if offer.auth.is_empty() {
            parameters.auth = None;
        }
        let from = from.clone();
        parameters
            .fits(offer)
            .then(|| Command::Mail { from, parameters }.to_wire())
    }

    pub(super) async fn recipient(&mut self, command: &Command, to: &Path) -> bool {
        if let Some(reply) = self.sender_refused().await {
            self.say(&reply);
            return false;
        }
        let line = command.to_wire();
        let to = bare(to);
        let apart = self.shared.partly.is_apart(&self.envelope.sender, &to);
        if self.envelope.apart.is_some_and(|others| others != apart) {
            let text = "send it to this recipient in a message of its own";
            self.say(&Reply::new(452, EnhancedCode::new(4, 5, 3), text));
            return false;
        }
        let fits = match (&self.backend, command) {
            (Some(backend), Command::Recipient { parameters, .. }) => {
                parameters.fits(&backend.offer)
            }
            _ => true,
        };
        if !fits {
            // It offered more when the client was greeted; its refusal would be for good.
            self.say(&try_again());
            return false;
        }
        let reply = if self.envelope.lost {
            None
        } else {
            self.ask(&line).await
        };
        if let Some(reply) = reply {
            self.say(&relayed(&reply));
            if reply.is_positive() {
                self.envelope.recipients.push(line);
                self.envelope.to.push(to);
                self.envelope.apart = Some(apart);
            }
            reply.is_positive()
        } else {
            self.envelope.lost = true;
            self.say(&try_again());
            false
        }
    }

    /// Asks the backend of this message; `None` where it was lost.
    pub(super) async fn ask(&mut self, line: &str) -> Option<ServerReply> {
        let answer = match &mut self.backend {
            Some(backend) => backend.command(line).await,
            None => return None,
        };
        match answer {
            Ok(reply) if reply.code() != 421 => Some(reply),
            Ok(_) => {
                self.backend = None;
                None
            }
            Err(error) => {
                self.backend = None;
                self.backend_failed(&error);
                None
            }
        }
    }

    pub(super) async fn message(
        &mut self,
        refused: Option<Refusal>,
        size: u64,
        content: &mut Vec<u8>,
    ) -> Result<(), End> {
        let mut envelope = std::mem::take(&mut self.envelope);
        if let Some(refusal) = refused {
            self.refuse_message(refusal, &envelope, Some(size));
            self.reset_backend().await;
            return if refusal.closes() {
                Err(End::Closed)
            } else {
                Ok(())
            };
        }
        let whole = match &mut envelope.spool {
            Some(spool) => {
                let added = spool.end(content).await;
                added.inspect_err(|error| self.spool_failed(error)).is_ok()
            }
            None => false,
        };
        content.clear();
        let taken = if !whole {
            let code = EnhancedCode::new(4, 3, 0);
            let text = "the message could not be stored here; try again later";
            let fields = vec![("why", json!("spool-failed"))];
            Taken::of(Reply::new(451, code, text), fields)
        } else if !envelope.lost {
            let before = self.take_out_who_has(&mut envelope).await;
            if envelope.to.is_empty() {
                self.reset_backend().await;
                self.delivered_before(&envelope, &before)
            } else if self.judged(&mut envelope, &before, size).await {
                self.deliver(&mut envelope, &before).await
            } else {
                return Ok(());
            }
        } else {
            Taken::of(try_again(), Vec::new())
        };
        let counters = &self.shared.counters;
        match taken.verdict {
            "accept" => {
                counters.accepted.one();
                counters.octets.add(size);
            }
            "refuse" => counters.refused.one(),
            _ => counters.tempfailed.one(),
        }
        if taken.verdict != "accept" {
            self.reset_backend().await;
        }
        let mut fields = taken.fields;
        if let Some(backend) = &self.backend {
            fields.push(("backend", json!(backend.address().to_string())));
        }
        self.log_message(&envelope, taken.verdict, Some(size), &fields);
        self.say(&taken.reply);
        Ok(())
    }

    /// Hands a whole message to its backend. A backend that ended the conversation while the client was slow is
    /// asked anew, as long as nothing of the message went out.
    pub(super) async fn hand_over(&mut self, envelope: &mut Envelope) -> Option<Handed> {
        for again in [false, true] {
            if again && !self.reopen(envelope).await {
                return None;
            }
            let Some(mut backend) = self.backend.take() else {
                continue;
            };
            let mut before = if backend.knows_client {
                String::new()
            } else {
                self.received()
            };
            before.push_str(&envelope.before);
            let Some(spool) = &mut envelope.spool else {
                return None;
            };
            let recipients = envelope.recipients.len();
            match backend.hand_over(&before, spool, recipients).await {
                Ok(Handed::NotBegun(error)) => self.backend_failed(&error),
                Ok(handed) => {
                    let stays = match &handed {
                        Handed::Each(replies) => {
                            replies.len() == recipients
                                && replies.iter().all(|reply| reply.code() != 421)
                        }
                        Handed::Answered(reply) => reply.code() != 421,
                        Handed::NotBegun(_) => false,
                    };
                    if stays {
                        self.backend = Some(backend);
                    }
                    return Some(handed);
                }
                Err(error) => {
                    self.backend_failed(&error);
                    return None;
                }
            }
        }
        None
    }

    /// The same envelope in a new conversation; every part of it must be accepted again.
    async fn reopen(&mut self, envelope: &Envelope) -> bool {
        // Only the client can authenticate anew.
        if self.session.is_authenticated() {
            return false;
        }
        match self.connect().await {
            Ok(backend) => self.backend = Some(backend),
            Err(error) => {
                self.backend_failed(&error);
                return false;
            }
        }
        for line in std::iter::once(&envelope.mail).chain(&envelope.recipients) {
            let reply = self.ask(line).await;
            if !reply.is_some_and(|reply| reply.is_positive()) {
                return false;
            }
        }
        true
    }

    /// The trace header that a relay must add (RFC 5321 section 4.4), where the backend cannot write the client's
    /// address itself.
    fn received(&self) -> String {
        let date = DateTimePrinter::new().timestamp_to_string(&Timestamp::now());
        // RFC 3848.
        let protocol = match (self.session.is_extended(), self.session.is_secure()) {
            (true, true) if self.session.is_authenticated() => "ESMTPSA",
            (true, true) => "ESMTPS",
            (true, false) => "ESMTP",
            (false, _) => "SMTP",
        };
        let name = self.named().known();
        let name = name.map_or_else(String::new, |name| format!("{name} "));
        let address = match self.address.ip().to_canonical() {
            std::net::IpAddr::V4(address) => address.to_string(),
            std::net::IpAddr::V6(address) => format!("IPv6:{address}"),
        };
        format!(
            "Received: from {} ({}[{address}])\r\n\tby {} (Mailkeep shield) with {protocol} id {};\r\n\t{}\r\n",
            self.hello,
            name,
            self.shared.name,
            self.trace(),
            date.unwrap_or_else(|_| "Thu, 1 Jan 1970 00:00:00 +0000".to_owned()),
        )
    }

    /// Lets the backend forget the message that has begun.
    pub(super) async fn forget(&mut self) {
        let begun = !self.envelope.mail.is_empty();
        self.envelope = Envelope::default();
        self.deadline = None;
        if begun {
            self.reset_backend().await;
        }
        self.message_trace = None;
    }

    /// What the backend remembers of the message it must forget. One that does not even do that is not asked again.
    pub(super) async fn reset_backend(&mut self) {
        if self.backend.is_none() {
            return;
        }
        let answer = self.ask("RSET\r\n").await;
        if !answer.is_some_and(|reply| reply.is_positive()) {
            self.backend = None;
        }
    }
}
