//! One SMTP session of a capture, judged as the shield would have.
//!
//! Entry: [`Dialogue`]. Commands go through the session of `mailkeep-wire` with every rule monitored that may be, so
//! that one refusal does not hide the next; where the server behind took what is refused, the session goes on as
//! it did there. Content is handed out whole, to be judged by others. Nothing of an AUTH is ever shown.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use mailkeep_inspect::rules::Compiled;
use mailkeep_model::text::printable_max;
use mailkeep_wire::{
    Actions, Command, Limits, Offer, ProxyHeader, ProxyProgress, Refusal, ReplyReader, Rule,
    ServerReply, Session as Wire, Step,
};

use super::exceptions::Exceptions;
use super::streams::{End, Pair, Session};
use super::{Acts, Group, Hit, all_monitored};

/// Replies that wait for the command they answer.
const MOST_REPLIES: usize = 1000;
/// Octets of the client that wait for an answer. More than any window: it talks to nobody.
const MOST_WAITING: usize = 4 << 20;
/// Hits of one message or session that are kept; more say nothing new.
const MOST_HITS: usize = 200;
/// Characters of a line that are shown.
const SHOWN: usize = 120;

/// What is told of a session.
#[derive(Debug)]
pub enum Piece {
    /// A message that is whole.
    Message {
        /// Who sent it to whom.
        pair: Pair,
        /// Which of the session, from 1 on.
        number: usize,
        /// What the rules on commands and on its form say.
        hits: Vec<Hit>,
        /// Its content; none where it was refused before its end.
        content: Option<Vec<u8>>,
    },
    /// The session is over.
    Session {
        /// Client and server.
        pair: Pair,
        /// What was said of commands behind the last message.
        hits: Vec<Hit>,
        /// How it ended: a stable name.
        ended: &'static str,
        /// Whether all of it was judged.
        whole: bool,
    },
}

/// Where what sessions tell is put.
pub type Pieces = Rc<RefCell<VecDeque<Piece>>>;

/// One session.
pub struct Dialogue<'p> {
    patches: Option<&'p Compiled>,
    exceptions: &'p Exceptions,
    /// What would follow for this client.
    actions: Actions,
    pieces: Pieces,
    pair: Pair,
    wire: Wire,
    replies: ReplyReader,
    answers: VecDeque<ServerReply>,
    /// What the client said, and nobody has read yet.
    waiting: Vec<u8>,
    content: Vec<u8>,
    state: State,
    hits: Vec<Hit>,
    messages: usize,
    refused: u32,
    greeted: bool,
    heard_server: bool,
    /// Content is being read.
    in_content: bool,
}

#[derive(Debug)]
enum State {
    /// The server has not greeted.
    Banner,
    /// The client is to speak.
    Ready,
    /// The server is to answer.
    Asked(Asked),
    /// An AUTH that was refused here, and goes on there.
    Credentials,
    /// So many octets more of a chunk; whether it is the last.
    Chunk(u64, bool),
    /// Nothing more is judged.
    Done(&'static str),
}

#[derive(Debug)]
enum Asked {
    Hello,
    Data,
    StartTls,
    Other,
    /// A command that is refused here.
    Refused(Vec<u8>),
}

impl<'p> Dialogue<'p> {
    /// A session that begins.
    pub fn new(
        pair: Pair,
        patches: Option<&'p Compiled>,
        exceptions: &'p Exceptions,
        pieces: Pieces,
    ) -> Self {
        let (client, server) = pair;
        let limits = Limits {
            // Counted here: what is monitored must not end a session.
            errors: u32::MAX,
            ..Limits::default()
        };
        Self {
            patches,
            exceptions,
            actions: exceptions.of_session(Some(client.ip()), server),
            pieces,
            pair,
            wire: Wire::new(offer(&Offer::default()), all_monitored(), limits),
            replies: ReplyReader::default(),
            answers: VecDeque::new(),
            waiting: Vec::new(),
            content: Vec::new(),
            state: State::Banner,
            hits: Vec::new(),
            messages: 0,
            refused: 0,
            greeted: false,
            heard_server: false,
            in_content: false,
        }
    }

    /// Goes on as far as what has come lets it.
    fn run(&mut self) {
        loop {
            let goes_on = match &mut self.state {
                State::Banner => self.banner(),
                State::Ready => self.step(),
                State::Asked(_) | State::Credentials => self.answer(),
                State::Chunk(left, _) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX);
                    let count = count.min(self.waiting.len());
                    *left -= count as u64;
                    let room = usize::try_from(Limits::default().content.size).unwrap_or(0);
                    if self.content.len() < room {
                        self.content.extend(self.waiting.drain(..count));
                    } else {
                        self.waiting.drain(..count);
                    }
                    self.chunk()
                }
                State::Done(_) => {
                    self.waiting = Vec::new();
                    self.content = Vec::new();
                    self.answers.clear();
                    false
                }
            };
            if !goes_on {
                break;
            }
        }
        if self.waiting.len() > MOST_WAITING || self.answers.len() > MOST_REPLIES {
            self.done("not-smtp");
        }
    }

    fn done(&mut self, why: &'static str) {
        self.state = State::Done(why);
        self.waiting = Vec::new();
        self.content = Vec::new();
        self.answers.clear();
    }

    /// Waits for the greeting.
    fn banner(&mut self) -> bool {
        match self.waiting.first().copied() {
            // A handshake of TLS (RFC 8446 section 5.1).
            Some(0x16) => {
                self.done("encrypted");
                return false;
            }
            Some(b'P' | b'\r') if !self.proxied() => return false,
            _ => {}
        }
        let Some(reply) = self.answers.pop_front() else {
            return false;
        };
        if !reply.is_positive() {
            self.done("refused-by-server");
            return false;
        }
        self.feed();
        if let Some(refusal) = self.wire.before_banner() {
            self.refuse(refusal);
        }
        self.monitored("");
        self.state = State::Ready;
        true
    }

    /// Takes off what a proxy says of the client. `false`: it has not come whole.
    fn proxied(&mut self) -> bool {
        let mut have = 1;
        loop {
            let Some(begin) = self.waiting.get(..have) else {
                return false;
            };
            match ProxyHeader::read(begin) {
                Ok(ProxyProgress::Needs(more)) => have += more,
                Ok(ProxyProgress::Whole(header)) => {
                    self.waiting.drain(..have);
                    if let Some((client, _)) = header.addresses {
                        self.actions = self.exceptions.of_session(Some(client.ip()), self.pair.1);
                    }
                    return true;
                }
                // Then it is the client's own.
                Err(_) => return true,
            }
        }
    }

    fn feed(&mut self) -> bool {
        let taken = self.wire.feed(&self.waiting);
        self.waiting.drain(..taken);
        taken > 0
    }

    fn step(&mut self) -> bool {
        let fed = self.feed();
        match self.wire.step(&mut self.content) {
            Step::Feed => {
                self.monitored("");
                fed && !self.waiting.is_empty()
            }
            Step::Command(command) => {
                let shown = shown(self.wire.line());
                self.monitored(&shown);
                self.judge(&command, &shown);
                self.state = State::Asked(match command {
                    Command::Hello { .. } => Asked::Hello,
                    Command::Data => Asked::Data,
                    Command::StartTls => Asked::StartTls,
                    _ => Asked::Other,
                });
                true
            }
            // No AUTH is on offer, so that none goes on.
            Step::Credentials(_) => {
                self.done("not-smtp");
                false
            }
            Step::Refused(refusal) => {
                self.monitored("");
                self.refused(refusal)
            }
            Step::Message { refused, .. } => {
                self.monitored("");
                if let Some(refusal) = refused {
                    self.refuse(refusal);
                }
                self.message(refused.is_none());
                self.state = State::Asked(Asked::Other);
                true
            }
            Step::GiveUp(refusal) => {
                self.refuse(refusal);
                self.message(false);
                self.done("closed-by-rule");
                false
            }
        }
    }

    fn refused(&mut self, refusal: Refusal) -> bool {
        let line = self.wire.line().to_vec();
        let shown = shown(&line);
        if refusal.rule == Rule::Chunking {
            let mut rest = self.wire.unread();
            rest.append(&mut self.waiting);
            self.waiting = rest;
            let words = String::from_utf8_lossy(&line).to_ascii_uppercase();
            let mut words = words.split_ascii_whitespace().skip(1);
            let size = words.next().and_then(|word| word.parse().ok());
            self.hit(refusal.rule, Acts::Notice, &shown);
            match size {
                Some(size) => {
                    self.in_content = true;
                    self.state = State::Chunk(size, words.next() == Some("LAST"));
                }
                None => self.state = State::Asked(Asked::Other),
            }
            return true;
        }
        // What is not offered is not used by who asks first.
        let acts = match refusal.rule {
            Rule::ParameterNotOffered => Acts::Notice,
            _ => Acts::Refuse,
        };
        self.hit(refusal.rule, acts, &shown);
        self.refused += u32::from(acts == Acts::Refuse);
        if refusal.closes() {
            self.done("closed-by-rule");
            return false;
        }
        if self.refused > Limits::default().errors {
            self.hit(Rule::TooManyErrors, Acts::Refuse, "");
            self.done("closed-by-rule");
            return false;
        }
        self.state = State::Asked(Asked::Refused(line));
        true
    }

    /// Behind a piece of a chunk.
    fn chunk(&mut self) -> bool {
        let State::Chunk(0, last) = self.state else {
            return false;
        };
        if last {
            self.message(true);
        }
        self.state = State::Asked(Asked::Other);
        true
    }

    /// Takes the server's next answer.
    fn answer(&mut self) -> bool {
        let Some(reply) = self.answers.pop_front() else {
            return false;
        };
        let positive = reply.is_positive();
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Credentials if reply.code() == 334 => self.state = State::Credentials,
            State::Credentials => {
                self.after_credentials();
            }
            State::Asked(Asked::Hello) => {
                self.wire.answered(positive);
                self.hello(positive, &reply);
            }
            State::Asked(Asked::Data) => {
                self.in_content = reply.code() == 354;
                self.wire.answered(self.in_content);
            }
            State::Asked(Asked::StartTls) if positive => {
                self.done("encrypted");
                return false;
            }
            State::Asked(Asked::StartTls | Asked::Other) => self.wire.answered(positive),
            State::Asked(Asked::Refused(line)) => self.taken_there(&line, &reply),
            other => self.state = other,
        }
        true
    }

    fn hello(&mut self, positive: bool, reply: &ServerReply) {
        if positive {
            self.greeted = true;
            self.wire.set_offer(offer(&Offer::read(reply)));
        }
    }

    /// Goes on as the server did that took what is refused here.
    fn taken_there(&mut self, line: &[u8], reply: &ServerReply) {
        let verb = line.get(..4).unwrap_or(line).to_ascii_uppercase();
        let hello = if self.greeted {
            "NOOP\r\n"
        } else {
            "HELO a.example\r\n"
        };
        let (sender, recipient) = ("MAIL FROM:<>\r\n", "RCPT TO:<postmaster>\r\n");
        match (verb.as_slice(), reply.code()) {
            (b"AUTH", 334) => {
                self.state = State::Credentials;
                let mut rest = self.wire.unread();
                rest.append(&mut self.waiting);
                self.waiting = rest;
            }
            (b"STAR", 220) => self.done("encrypted"),
            (b"EHLO", 250) => {
                self.pretend(&["EHLO a.example\r\n"]);
                self.hello(true, reply);
            }
            (b"HELO", 250) => {
                self.pretend(&["HELO a.example\r\n"]);
                self.hello(true, reply);
            }
            (b"MAIL", 250) => self.pretend(&[hello, "RSET\r\n", sender]),
            (b"RCPT", 250 | 251) => self.pretend(&[recipient]),
            (b"DATA", 354) => {
                self.pretend(&[hello, "RSET\r\n", sender, recipient, "DATA\r\n"]);
                self.in_content = true;
            }
            (b"RSET", 250) => self.pretend(&["RSET\r\n"]),
            _ => {}
        }
    }

    /// Has the session take these commands, as if the client had said them.
    fn pretend(&mut self, lines: &[&str]) {
        let mut rest = self.wire.unread();
        for line in lines {
            self.wire.feed(line.as_bytes());
            if let Step::Command(_) = self.wire.step(&mut self.content) {
                self.wire.answered(true);
            }
        }
        self.wire.take_monitored();
        rest.append(&mut self.waiting);
        self.waiting = rest;
    }

    /// Throws away what the client said in an AUTH: whole lines, up to where the server ended it.
    fn after_credentials(&mut self) {
        // What is waiting behind its last line was said in the exchange; a client waits for its end.
        let end = memchr::memrchr(b'\n', &self.waiting).map_or(0, |at| at + 1);
        self.waiting.drain(..end);
    }

    /// Asks the virtual patches.
    fn judge(&mut self, command: &Command, shown: &str) {
        let Some(patches) = self.patches else {
            return;
        };
        for reason in patches.command(self.wire.line()) {
            let mut hit = Hit::of(reason, Group::Patch);
            if matches!(command, Command::Auth { .. }) {
                hit.evidence.clear();
            }
            if hit.place.is_empty() {
                shown.clone_into(&mut hit.place);
            }
            self.add(hit);
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.hit(refusal.rule, Acts::Refuse, "");
    }

    /// Notes the rules that applied and were not held against it.
    fn monitored(&mut self, shown: &str) {
        for rule in self.wire.take_monitored() {
            self.hit(rule, Acts::of(self.actions.of(rule)), shown);
        }
    }

    fn hit(&mut self, rule: Rule, acts: Acts, shown: &str) {
        self.add(Hit::generic(rule, acts, shown));
    }

    fn add(&mut self, hit: Hit) {
        if self.hits.len() < MOST_HITS {
            self.hits.push(hit);
        }
    }

    fn message(&mut self, whole: bool) {
        self.messages += 1;
        self.in_content = false;
        let content = std::mem::take(&mut self.content);
        self.pieces.borrow_mut().push_back(Piece::Message {
            pair: self.pair,
            number: self.messages,
            hits: std::mem::take(&mut self.hits),
            content: whole.then_some(content),
        });
    }
}

impl Session for Dialogue<'_> {
    fn client(&mut self, octets: &[u8]) {
        if matches!(self.state, State::Done(_)) {
            return;
        }
        self.waiting.extend_from_slice(octets);
        self.run();
    }

    fn server(&mut self, octets: &[u8]) {
        if matches!(self.state, State::Done(_)) {
            return;
        }
        self.heard_server = true;
        self.replies.feed(octets);
        loop {
            match self.replies.next_reply() {
                Ok(Some(reply)) => self.answers.push_back(reply),
                Ok(None) => break,
                Err(_) => {
                    self.run();
                    if !matches!(self.state, State::Done(_)) {
                        self.done("not-smtp");
                    }
                    return;
                }
            }
        }
        self.run();
    }

    fn held(&self) -> usize {
        // The session itself, its buffer and a reply.
        self.waiting.capacity() + self.content.capacity() + (4 << 10)
    }

    fn end(mut self, why: End) {
        let (ended, whole) = match self.state {
            State::Done(why) => (why, why == "refused-by-server"),
            _ if why == End::NoBeginning => (why.name(), false),
            State::Banner if !self.heard_server => ("no-answers", false),
            // Nothing is missing but the goodbye.
            _ if why == End::Closed && !self.in_content => (why.name(), true),
            _ if why == End::Closed => ("broken-off", false),
            _ => (why.name(), false),
        };
        self.pieces.borrow_mut().push_back(Piece::Session {
            pair: self.pair,
            hits: std::mem::take(&mut self.hits),
            ended,
            whole,
        });
    }
}

/// What the shield would offer before a server that offers this.
fn offer(behind: &Offer) -> Offer {
    let size = Limits::default().content.size;
    let ours = Offer {
        eight_bit: true,
        dsn: true,
        size: Some(size),
        utf8: true,
        ..Offer::default()
    };
    let both = ours.and(behind);
    Offer {
        enhanced: true,
        pipelining: true,
        size: both.size.or(Some(size)),
        starttls: behind.starttls,
        ..both
    }
}

/// A command line for a person; of an AUTH its verb alone.
fn shown(line: &[u8]) -> String {
    if line
        .get(..4)
        .is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"))
    {
        return "AUTH".to_owned();
    }
    printable_max(&String::from_utf8_lossy(line), SHOWN)
}
