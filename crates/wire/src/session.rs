//! The server's side of one connection, without IO: order, waiting, limits.
//!
//! Entry: [`Session`]. The caller feeds octets, takes [`Step`]s, answers each command and says so. What the session
//! holds is bounded by [`Session::room`]; content goes straight through to the caller.
//!
//! # Security
//!
//! Faces strangers. Nothing of a line goes on but what was parsed. After STARTTLS nothing is kept of what was said
//! before (RFC 3207 section 4.2).

use crate::auth::{AuthData, Mechanism};
use crate::command::{Command, LONGEST_AUTH};
use crate::content::{ContentLimits, ContentReader, Progress};
use crate::offer::Offer;
use crate::reply::Reply;
use crate::rules::{Action, Actions, Rule};

/// Octets that wait to be read, at most: room for the longest line (AUTH, RFC 4954 section 4) and a segment.
const MOST_BUFFERED: usize = 32 << 10;

/// Octets of one overlong line that are read before the connection ends.
const MOST_OF_A_LINE: usize = 64 << 10;

/// How much one session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Commands.
    pub commands: u32,
    /// Refused commands.
    pub errors: u32,
    /// Empty lines where a command should stand.
    pub empty_lines: u32,
    /// Recipients of one message.
    pub recipients: u32,
    /// AUTH that failed.
    pub auth_failures: u32,
    /// Of each message.
    pub content: ContentLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            commands: 10_000,
            errors: 10,
            empty_lines: 3,
            recipients: 1000,
            auth_failures: 3,
            content: ContentLimits::default(),
        }
    }
}

/// A rule by which something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The rule.
    pub rule: Rule,
}

impl Refusal {
    /// What to answer.
    pub fn reply(self) -> Reply {
        self.rule.reply()
    }

    /// Whether to close the connection after that.
    pub fn closes(self) -> bool {
        self.rule.closes()
    }
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Feed more octets. Content that was there is in the caller's buffer.
    Feed,
    /// A command that may come now. Answer it, then say so with [`Session::answered`].
    Command(Command),
    /// The client's next word in an AUTH exchange; `None` where it gives up. Answer it as the AUTH itself: with
    /// [`Session::challenged`] or [`Session::answered`].
    Credentials(Option<AuthData>),
    /// Answer by the rule's reply. An AUTH exchange is over by that.
    Refused(Refusal),
    /// The message is whole; answer it. Content is in the caller's buffer, unless it is refused.
    Message {
        /// The rule that refuses it.
        refused: Option<Refusal>,
        /// Its octets.
        size: u64,
    },
    /// More came of a refused message than is worth reading: answer by the rule's reply, and close.
    GiveUp(Refusal),
}

/// What was said in HELO or EHLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Greeting {
    None,
    Plain,
    Extended,
}

/// Which command waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    None,
    Auth(Mechanism),
    Hello(Greeting),
    Mail,
    Recipient,
    Data,
    Reset,
    Other,
}

/// One connection.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a state of its own, and any may stand with any"
)]
pub struct Session {
    offer: Offer,
    actions: Actions,
    limits: Limits,
    buffer: Vec<u8>,
    /// Octets of the buffer that were read.
    at: usize,
    /// Octets of an overlong line that were thrown away, while it has not ended.
    overlong: Option<usize>,
    greeting: Greeting,
    pending: Pending,
    secure: bool,
    /// Accepted recipients of the message that has begun.
    transaction: Option<u32>,
    /// Whether the last MAIL asked for SMTPUTF8.
    utf8: bool,
    /// Whether the last MAIL was refused: what was sent behind it, not knowing that, is no error of its own.
    mail_refused: bool,
    /// The mechanism of an AUTH that goes on.
    exchange: Option<Mechanism>,
    authenticated: bool,
    auth_required: bool,
    content: Option<ContentReader>,
    /// The last command line, without its line end.
    line: Vec<u8>,
    commands: u32,
    errors: u32,
    auth_failures: u32,
    empty_lines: u32,
    noticed: Vec<Rule>,
}

impl Session {
    /// A connection that begins.
    pub fn new(offer: Offer, actions: Actions, limits: Limits) -> Self {
        Self {
            offer,
            actions,
            limits,
            buffer: Vec::new(),
            at: 0,
            overlong: None,
            greeting: Greeting::None,
            pending: Pending::None,
            secure: false,
            transaction: None,
            utf8: false,
            mail_refused: false,
            exchange: None,
            authenticated: false,
            auth_required: false,
            content: None,
            line: Vec::new(),
            commands: 0,
            errors: 0,
            auth_failures: 0,
            empty_lines: 0,
            noticed: Vec::new(),
        }
    }

    /// The same, where nobody may send mail without AUTH.
    #[must_use]
    pub fn requiring_auth(mut self) -> Self {
        self.auth_required = true;
        self
    }

    /// What is offered from now on.
    pub fn set_offer(&mut self, offer: Offer) {
        self.offer = offer;
    }

    /// Octets that can be fed now.
    pub fn room(&self) -> usize {
        MOST_BUFFERED.saturating_sub(self.buffer.len() - self.at)
    }

    /// Takes octets, as many as there is room for, and tells how many. Take steps until [`Step::Feed`] before
    /// feeding again.
    pub fn feed(&mut self, octets: &[u8]) -> usize {
        self.buffer.drain(..self.at);
        self.at = 0;
        let taken = octets.len().min(self.room());
        self.buffer
            .extend_from_slice(octets.get(..taken).unwrap_or_default());
        taken
    }

    /// Takes back what was fed and not read yet, for a caller who has to read on otherwise: one who follows a session
    /// that another server had, which took what is refused here.
    pub fn unread(&mut self) -> Vec<u8> {
        let rest = self.rest().to_vec();
        self.buffer.clear();
        self.at = 0;
        rest
    }

    /// To be asked before the banner is sent, with what has come so far.
    pub fn before_banner(&mut self) -> Option<Refusal> {
        if self.rest().is_empty() {
            return None;
        }
        self.held_against(Rule::TalksBeforeBanner)
    }

    /// What follows. Content of a message is appended to `content`.
    pub fn step(&mut self, content: &mut Vec<u8>) -> Step {
        self.pending = Pending::None;
        if self.content.is_some() {
            return self.content_step(content);
        }
        if let Some(mechanism) = self.exchange {
            return match self.credentials(mechanism) {
                Ok(None) => Step::Feed,
                Ok(Some(word)) => {
                    self.exchange = None;
                    self.pending = Pending::Auth(mechanism);
                    word
                }
                Err(rule) => {
                    self.exchange = None;
                    self.auth_failures = self.auth_failures.saturating_add(1);
                    self.refused(rule)
                }
            };
        }
        match self.command() {
            Ok(Some(command)) => Step::Command(command),
            Ok(None) => Step::Feed,
            Err(rule) => self.refused(rule),
        }
    }

    /// Tells how the command that [`Session::step`] handed out was answered.
    pub fn answered(&mut self, accepted: bool) {
        let pending = std::mem::replace(&mut self.pending, Pending::None);
        if !accepted {
            match pending {
                Pending::Auth(_) => self.auth_failures = self.auth_failures.saturating_add(1),
                Pending::Mail => self.mail_refused = true,
                Pending::None
                | Pending::Data
                | Pending::Hello(_)
                | Pending::Other
                | Pending::Recipient
                | Pending::Reset => {}
            }
            return;
        }
        match pending {
            Pending::Auth(_) => self.authenticated = true,
            Pending::Hello(greeting) => {
                self.greeting = greeting;
                self.transaction = None;
            }
            Pending::Mail => {
                self.transaction = Some(0);
                self.mail_refused = false;
            }
            Pending::Recipient => {
                if let Some(count) = &mut self.transaction {
                    *count = count.saturating_add(1);
                }
            }
            Pending::Data => {
                let reader = ContentReader::new(self.actions.clone(), self.limits.content);
                self.content = Some(reader);
            }
            Pending::Reset => self.transaction = None,
            Pending::None | Pending::Other => {}
        }
    }

    /// Tells that the AUTH which [`Session::step`] handed out, or its last word, was answered with a challenge.
    pub fn challenged(&mut self) {
        if let Pending::Auth(mechanism) = std::mem::replace(&mut self.pending, Pending::None) {
            self.exchange = Some(mechanism);
        }
    }

    /// The line of the command that [`Session::step`] handed out last, as it came, without its line end.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// Counts a command as refused that [`Session::step`] handed out; whether that was one too many.
    pub fn refused_by_caller(&mut self) -> bool {
        self.answered(false);
        self.errors = self.errors.saturating_add(1);
        self.errors > self.limits.errors
    }

    /// The message that began is gone: the server behind lost it, or the client was told that it failed.
    pub fn forget_transaction(&mut self) {
        self.transaction = None;
    }

    /// TLS has begun; what was said before is forgotten.
    pub fn secured(&mut self, offer: Offer) {
        self.secure = true;
        self.offer = offer;
        self.buffer.clear();
        self.at = 0;
        self.overlong = None;
        self.greeting = Greeting::None;
        self.transaction = None;
        self.exchange = None;
        self.authenticated = false;
        self.content = None;
        self.line.clear();
    }

    /// Whether an AUTH of this session succeeded.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Whether TLS has begun.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether a message has begun: between MAIL and its end.
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Whether the client greeted with EHLO.
    pub fn is_extended(&self) -> bool {
        self.greeting == Greeting::Extended
    }

    /// Takes the rules that applied and are only monitored, since it was asked last.
    pub fn take_monitored(&mut self) -> Vec<Rule> {
        std::mem::take(&mut self.noticed)
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    fn refused(&mut self, rule: Rule) -> Step {
        self.errors = self.errors.saturating_add(1);
        let rule = if self.errors > self.limits.errors && !rule.closes() {
            Rule::TooManyErrors
        } else {
            rule
        };
        Step::Refused(Refusal { rule })
    }

    /// Whether a rule that applies refuses; if not, that it applied is kept.
    fn held_against(&mut self, rule: Rule) -> Option<Refusal> {
        match self.actions.of(rule) {
            Action::Refuse => Some(Refusal { rule }),
            Action::Monitor => {
                self.noticed.push(rule);
                None
            }
        }
    }

    fn hold(&mut self, rule: Rule) -> Result<(), Rule> {
        self.held_against(rule)
            .map_or(Ok(()), |refusal| Err(refusal.rule))
    }

    fn content_step(&mut self, out: &mut Vec<u8>) -> Step {
        let Some(mut reader) = self.content.take() else {
            return Step::Feed;
        };
        let (taken, progress) = reader.read(self.rest(), out);
        self.at += taken;
        let refused = reader.refused().map(|rule| Refusal { rule });
        match progress {
            Progress::More => {
                self.content = Some(reader);
                Step::Feed
            }
            Progress::End => {
                self.transaction = None;
                self.noticed.extend_from_slice(reader.monitored());
                let size = reader.size();
                Step::Message { refused, size }
            }
            Progress::GiveUp => {
                let rule = Rule::MessageTooLarge;
                Step::GiveUp(refused.unwrap_or(Refusal { rule }))
            }
        }
    }

    /// The next word of an AUTH exchange.
    fn credentials(&mut self, mechanism: Mechanism) -> Result<Option<Step>, Rule> {
        let mut line = std::mem::take(&mut self.line);
        let whole = self.next_line(&mut line);
        let data = match whole {
            Ok(true) if !self.rest().is_empty() => self
                .hold(Rule::TalksBeforeReply)
                .and_then(|()| word(mechanism, &line))
                .map(Some),
            Ok(true) => word(mechanism, &line).map(Some),
            Ok(false) => Ok(None),
            Err(rule) => Err(rule),
        };
        // Nobody shall find it in `Session::line`.
        line.clear();
        self.line = line;
        data
    }

    fn command(&mut self) -> Result<Option<Command>, Rule> {
        let mut line = std::mem::take(&mut self.line);
        let command = match self.next_line(&mut line) {
            Ok(true) => self.read_command(&line).map(Some),
            Ok(false) => Ok(None),
            Err(rule) => Err(rule),
        };
        if command.is_err()
            && line
                .get(..4)
                .is_some_and(|verb| verb.eq_ignore_ascii_case(b"MAIL"))
        {
            self.mail_refused = true;
        }
        self.line = line;
        command
    }

    fn read_command(&mut self, line: &[u8]) -> Result<Command, Rule> {
        self.commands = self.commands.saturating_add(1);
        if self.commands > self.limits.commands {
            return Err(Rule::TooManyCommands);
        }
        if line.is_empty() {
            self.empty_lines += 1;
            if self.empty_lines > self.limits.empty_lines {
                return Err(Rule::TooManyEmptyLines);
            }
        }
        // Extensions are for those who asked for them.
        let plain = Offer::default();
        let offer = match self.greeting {
            Greeting::Extended => &self.offer,
            Greeting::None | Greeting::Plain => &plain,
        };
        let (command, noticed) = Command::parse(line, offer)?;
        for rule in noticed {
            self.hold(rule)?;
        }
        self.in_order(&command)?;
        self.in_step(&command)?;
        if let Command::Mail { parameters, .. } = &command {
            self.utf8 = parameters.utf8;
        }
        self.pending = match &command {
            Command::Auth { mechanism, .. } => Pending::Auth(*mechanism),
            Command::Data => Pending::Data,
            Command::Hello { extended: true, .. } => Pending::Hello(Greeting::Extended),
            Command::Hello { .. } => Pending::Hello(Greeting::Plain),
            Command::Mail { .. } => Pending::Mail,
            Command::Recipient { .. } => Pending::Recipient,
            Command::Reset => Pending::Reset,
            Command::Expand
            | Command::Help
            | Command::Noop
            | Command::Quit
            | Command::StartTls
            | Command::Verify => Pending::Other,
        };
        Ok(command)
    }

    /// Puts the next line into `line`, without its CRLF; whether there was one.
    fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool, Rule> {
        line.clear();
        let longest = match self.greeting {
            Greeting::Extended if !self.offer.auth.is_empty() => LONGEST_AUTH,
            Greeting::Extended => self
                .offer
                .longest_mail()
                .max(self.offer.longest_recipient()),
            Greeting::None | Greeting::Plain => 512,
        };
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let Some(end) = memchr::memchr(b'\n', rest) else {
            let waiting = rest.len();
            if self.overlong.is_some() || waiting > longest {
                let thrown = self.overlong.unwrap_or(0).saturating_add(waiting);
                self.overlong = Some(thrown);
                self.at = self.buffer.len();
                if thrown > MOST_OF_A_LINE {
                    return Err(Rule::TooManyErrors);
                }
            }
            return Ok(false);
        };
        line.extend_from_slice(rest.get(..end).unwrap_or_default());
        self.at += end + 1;
        if self.overlong.take().is_some() || line.len() >= longest {
            return Err(Rule::CommandTooLong);
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        } else {
            self.hold(Rule::BareLfInCommand)?;
        }
        if memchr::memchr(b'\r', line).is_some() {
            return Err(Rule::BareCrInCommand);
        }
        Ok(true)
    }

    /// RFC 5321 section 4.1.4.
    fn in_order(&mut self, command: &Command) -> Result<(), Rule> {
        let greeted = self.greeting != Greeting::None;
        let right = match command {
            Command::Auth { .. } if !self.secure => return Err(Rule::AuthNotOffered),
            Command::Auth { .. } if self.auth_failures >= self.limits.auth_failures => {
                return Err(Rule::TooManyAuthFailures);
            }
            Command::Auth { .. } => !self.authenticated && self.transaction.is_none(),
            Command::StartTls if !self.offer.starttls && !self.secure => {
                return Err(Rule::UnknownVerb);
            }
            Command::StartTls => !self.secure && self.greeting == Greeting::Extended,
            Command::Mail { .. } if greeted && self.auth_required && !self.authenticated => {
                return Err(Rule::AuthRequired);
            }
            Command::Mail { parameters, .. } => {
                if parameters
                    .size
                    .is_some_and(|size| size > self.limits.content.size)
                {
                    return Err(Rule::MessageTooLarge);
                }
                greeted && self.transaction.is_none()
            }
            Command::Recipient { to, .. } => {
                if self.transaction.is_none() && self.mail_refused {
                    self.forgive();
                }
                if to.needs_utf8() && !self.utf8 {
                    return Err(Rule::NotAsciiEnvelope);
                }
                if self
                    .transaction
                    .is_some_and(|count| count >= self.limits.recipients)
                {
                    return Err(Rule::TooManyRecipients);
                }
                self.transaction.is_some()
            }
            Command::Data => {
                if self.transaction == Some(0) || (self.transaction.is_none() && self.mail_refused)
                {
                    self.forgive();
                }
                self.transaction.is_some_and(|count| count > 0)
            }
            Command::Expand
            | Command::Hello { .. }
            | Command::Help
            | Command::Noop
            | Command::Quit
            | Command::Reset
            | Command::Verify => true,
        };
        if right {
            Ok(())
        } else {
            Err(Rule::CommandOrder)
        }
    }

    /// For what is refused next: a client that pipelines could not know that its MAIL was refused, or that nobody
    /// was left, and what it sent behind that is no error of its own.
    fn forgive(&mut self) {
        self.errors = self.errors.saturating_sub(1);
    }

    /// Whether octets follow that should have waited.
    fn in_step(&mut self, command: &Command) -> Result<(), Rule> {
        if self.rest().is_empty() || *command == Command::Quit {
            return Ok(());
        }
        if *command == Command::StartTls {
            return Err(Rule::StarttlsInjection);
        }
        let may_pipeline = self.greeting == Greeting::Extended && self.offer.pipelining;
        if command.must_be_awaited() || !may_pipeline {
            self.hold(Rule::TalksBeforeReply)?;
        }
        Ok(())
    }
}

/// `*` gives up (RFC 4954 section 4).
fn word(mechanism: Mechanism, line: &[u8]) -> Result<Step, Rule> {
    if line == b"*" {
        return Ok(Step::Credentials(None));
    }
    AuthData::parse(mechanism, line).map(|data| Step::Credentials(Some(data)))
}
