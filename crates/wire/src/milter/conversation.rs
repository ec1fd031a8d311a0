//! One connection of a mail server. Entry: [`Milter`].

use std::net::IpAddr;

use super::answer::{ADD_HEADERS, CHANGE_HEADERS, CONTINUE, QUARANTINE, Settled, settle};
use super::event::{Event, MilterError};
use super::packet::{PacketReader, text, write};
use crate::reply::Reply;

/// `SMFIP_NOUNKNOWN`, `SMFIP_NODATA`: commands that are not asked for.
const NOT_SENT: u32 = 0x100 | 0x200;
/// `SMFIP_HDR_LEADSPC`: header values come with the space behind the colon, so that signatures over them hold.
const LEADING_SPACE: u32 = 0x0010_0000;

/// What the server need not wait for (`SMFIP_NR_*`), by letter.
const NOT_AWAITED: [(u8, u32); 8] = [
    (b'B', 0x0008_0000),
    (b'C', 0x1000),
    (b'H', 0x2000),
    (b'L', 0x80),
    (b'M', 0x4000),
    (b'N', 0x0004_0000),
    (b'R', 0x8000),
    (b'T', 0x0001_0000),
];

/// What one connection may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MilterLimits {
    /// Octets of a message; what is beyond is not handed out, and the message is told to be too large.
    pub size: u64,
    /// Octets of an envelope with its macros.
    pub envelope: usize,
}

impl Default for MilterLimits {
    fn default() -> Self {
        Self {
            size: 50 << 20,
            envelope: 1 << 20,
        }
    }
}

/// What the server says of a message beside its content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MilterEnvelope {
    /// The client's address; none where it came by no network, and where the server does not know it.
    pub client: Option<IpAddr>,
    /// It came by a socket of the server's own machine.
    pub local: bool,
    /// Its name as the server found it, an address in brackets where it found none.
    pub client_name: String,
    /// What the client called itself.
    pub hello: String,
    /// The sender without brackets; empty for a bounce.
    pub sender: String,
    /// The recipients without brackets.
    pub recipients: Vec<String>,
    /// Who the client proved to be (`{auth_authen}`).
    pub authenticated: Option<String>,
    /// The server's id of the message (`i`).
    pub queue_id: Option<String>,
    /// Which of its listeners (`{daemon_name}`).
    pub daemon: Option<String>,
    /// Whether the client spoke TLS (`{tls_version}`).
    pub secure: bool,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MilterStep {
    /// More octets are needed.
    Feed,
    /// To be sent, in one piece.
    Send(Vec<u8>),
    /// A message is whole; its content has been handed out. To be answered by [`Milter::settle`].
    Message {
        /// Its octets.
        size: u64,
        /// It is beyond the limit, and not all of it was handed out.
        too_large: bool,
    },
    /// The message that had begun is over; what was handed out of it is to be forgotten.
    Forget,
    /// The server is done.
    Quit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum State {
    /// Nothing was said.
    New,
    /// Negotiated; no message.
    Idle,
    /// A sender was told.
    Envelope,
    /// Headers come.
    Headers,
    /// The body comes.
    Body,
    /// The end was handed out and waits for its answer.
    Whole,
}

/// One connection of a mail server: it may bring many clients, and each many messages.
#[derive(Debug, Clone)]
pub struct Milter {
    reader: PacketReader,
    limits: MilterLimits,
    state: State,
    actions: u32,
    steps: u32,
    client: MilterEnvelope,
    envelope: MilterEnvelope,
    envelope_octets: usize,
    size: u64,
    too_large: bool,
}

impl Milter {
    /// A connection that has just begun.
    pub fn new(limits: MilterLimits) -> Self {
        Self {
            reader: PacketReader::default(),
            limits,
            state: State::New,
            actions: 0,
            steps: 0,
            client: MilterEnvelope::default(),
            envelope: MilterEnvelope::default(),
            envelope_octets: 0,
            size: 0,
            too_large: false,
        }
    }

    /// Takes octets of the server; [`Milter::step`] is to be called until it asks for more.
    pub fn feed(&mut self, octets: &[u8]) {
        self.room().extend_from_slice(octets);
    }

    /// The same without a copy: octets of the server are to be appended, and nothing else changed.
    pub fn room(&mut self) -> &mut Vec<u8> {
        self.reader.room()
    }

    /// What is known of the message that has begun.
    pub fn envelope(&self) -> &MilterEnvelope {
        &self.envelope
    }

    /// Whether a message has begun that is not settled.
    pub fn in_message(&self) -> bool {
        self.state > State::Idle
    }

    /// The next step; content of the message is appended to `content`.
    ///
    /// # Errors
    ///
    /// What came is no milter conversation; the connection is to be closed.
    pub fn step(&mut self, content: &mut Vec<u8>) -> Result<MilterStep, MilterError> {
        loop {
            // The reader lends its packet, and what it says changes everything else.
            let mut reader = std::mem::take(&mut self.reader);
            let before = reader.place();
            let taken = match reader.next_packet() {
                // A sender where another message had begun: nobody said that it is over, but it is.
                Ok(Some((b'M', _))) if (State::Envelope..State::Whole).contains(&self.state) => {
                    reader.back_to(before);
                    self.forget();
                    Ok(Some(Some(MilterStep::Forget)))
                }
                Ok(Some((letter, data))) => self.packet(letter, data, content).map(Some),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            self.reader = reader;
            match taken? {
                None => return Ok(MilterStep::Feed),
                Some(Some(step)) => return Ok(step),
                Some(None) => {}
            }
        }
    }

    /// Writes what becomes of the message that is whole, in one piece. `instead` is said where the server cannot
    /// quarantine.
    pub fn settle(&mut self, settled: &Settled, instead: &Reply) -> Vec<u8> {
        let mut out = Vec::new();
        if self.state == State::Whole {
            let leading_space = self.steps & LEADING_SPACE != 0;
            settle(&mut out, settled, self.actions, leading_space, instead);
            self.forget();
        }
        out
    }

    fn packet(
        &mut self,
        letter: u8,
        data: &[u8],
        content: &mut Vec<u8>,
    ) -> Result<Option<MilterStep>, MilterError> {
        let event = Event::read(letter, data)?;
        self.in_order(letter, event)?;
        match event {
            Event::Negotiate {
                version,
                actions,
                steps,
            } => return self.negotiate(version, actions, steps).map(Some),
            Event::Macros { of, pairs } => {
                self.macros(of, pairs)?;
                return Ok(None);
            }
            Event::Connect {
                name,
                address,
                local,
            } => {
                self.client = MilterEnvelope {
                    client: address,
                    local,
                    client_name: printable(name),
                    daemon: self.client.daemon.take(),
                    secure: self.client.secure,
                    ..MilterEnvelope::default()
                };
            }
            Event::Hello(name) => self.client.hello = printable(name),
            Event::Mail(sender) => {
                self.envelope.client = self.client.client;
                self.envelope.local = self.client.local;
                self.envelope
                    .client_name
                    .clone_from(&self.client.client_name);
                self.envelope.hello.clone_from(&self.client.hello);
                self.envelope.daemon.clone_from(&self.client.daemon);
                self.envelope.secure = self.client.secure;
                self.envelope.sender = self.path(sender)?;
                self.state = State::Envelope;
            }
            Event::Recipient(recipient) => {
                let recipient = self.path(recipient)?;
                self.envelope.recipients.push(recipient);
            }
            Event::Data => self.state = State::Headers,
            Event::Header { name, value } => {
                self.state = State::Headers;
                self.header(name, value, content);
            }
            Event::EndOfHeaders => {
                self.state = State::Body;
                self.hand_out(&[b"\r\n"], content);
            }
            Event::Body(piece) => {
                self.state = State::Body;
                self.hand_out(&[piece], content);
            }
            Event::EndOfBody(piece) => {
                self.hand_out(&[piece], content);
                self.state = State::Whole;
                return Ok(Some(MilterStep::Message {
                    size: self.size,
                    too_large: self.too_large,
                }));
            }
            // Never answered.
            Event::Abort => {
                self.forget();
                return Ok(Some(MilterStep::Forget));
            }
            Event::NewClient => {
                self.forget();
                self.client = MilterEnvelope::default();
                return Ok(Some(MilterStep::Forget));
            }
            Event::Quit => return Ok(Some(MilterStep::Quit)),
            Event::UnknownCommand => {}
        }
        let silent = NOT_AWAITED
            .iter()
            .any(|(of, bit)| *of == letter && self.steps & bit != 0);
        if silent {
            return Ok(None);
        }
        let mut out = Vec::new();
        write(&mut out, CONTINUE, b"");
        Ok(Some(MilterStep::Send(out)))
    }

    fn in_order(&self, letter: u8, event: Event<'_>) -> Result<(), MilterError> {
        let fits = match event {
            Event::Negotiate { .. } => self.state == State::New,
            Event::Macros { .. } | Event::Abort | Event::NewClient | Event::UnknownCommand => {
                self.state != State::New
            }
            Event::Connect { .. } | Event::Mail(_) => self.state == State::Idle,
            Event::Hello(_) => self.state != State::New && self.state != State::Whole,
            Event::Recipient(_) | Event::Data => self.state == State::Envelope,
            Event::Header { .. } | Event::EndOfHeaders => {
                matches!(self.state, State::Envelope | State::Headers)
            }
            Event::Body(_) | Event::EndOfBody(_) => {
                matches!(self.state, State::Envelope | State::Headers | State::Body)
            }
            Event::Quit => true,
        };
        if fits {
            Ok(())
        } else {
            Err(MilterError::Order(char::from(letter)))
        }
    }

    fn negotiate(
        &mut self,
        version: u32,
        actions: u32,
        steps: u32,
    ) -> Result<MilterStep, MilterError> {
        if version < 2 {
            return Err(MilterError::Version(version));
        }
        let version = version.min(6);
        let silent = NOT_AWAITED.iter().fold(0, |all, (_, bit)| all | bit);
        self.actions = actions & (ADD_HEADERS | CHANGE_HEADERS | QUARANTINE);
        // Before version 6 a server does not know these, and says so by not offering them.
        self.steps = steps & (NOT_SENT | LEADING_SPACE | silent);
        self.state = State::Idle;
        let mut data = Vec::with_capacity(12);
        for number in [version, self.actions, self.steps] {
            data.extend_from_slice(&number.to_be_bytes());
        }
        let mut out = Vec::new();
        write(&mut out, b'O', &data);
        Ok(MilterStep::Send(out))
    }

    fn macros(&mut self, of: u8, pairs: &[u8]) -> Result<(), MilterError> {
        let mut rest = pairs;
        while !rest.is_empty() {
            let name = text(&mut rest)?;
            let value = text(&mut rest)?;
            let of_client = matches!(of, b'C' | b'H');
            let place = if of_client {
                &mut self.client
            } else {
                &mut self.envelope
            };
            match name {
                b"i" | b"{i}" => place.queue_id = some(value),
                b"{auth_authen}" => place.authenticated = some(value),
                b"{daemon_name}" => self.client.daemon = some(value),
                b"{tls_version}" => self.client.secure = !value.is_empty(),
                _ => {}
            }
        }
        Ok(())
    }

    /// An address in the octets that an envelope may have.
    fn path(&mut self, path: &[u8]) -> Result<String, MilterError> {
        // Each costs its own bookkeeping besides.
        self.envelope_octets = self.envelope_octets.saturating_add(path.len() + 64);
        if self.envelope_octets > self.limits.envelope {
            return Err(MilterError::Envelope(self.limits.envelope));
        }
        let path = String::from_utf8_lossy(path);
        let path = path.trim();
        let bare = path
            .strip_prefix('<')
            .and_then(|path| path.strip_suffix('>'));
        Ok(bare.unwrap_or(path).to_owned())
    }

    /// As it stood in the message. Line ends within come as LF from Postfix, and from Sendmail as they were.
    fn header(&mut self, name: &[u8], value: &[u8], content: &mut Vec<u8>) {
        let colon: &[u8] = if self.steps & LEADING_SPACE != 0 {
            b":"
        } else {
            b": "
        };
        self.hand_out(&[name, colon], content);
        for (nth, line) in value.split(|octet| *octet == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if nth > 0 {
                self.hand_out(&[b"\r\n"], content);
            }
            self.hand_out(&[line], content);
        }
        self.hand_out(&[b"\r\n"], content);
    }

    fn hand_out(&mut self, pieces: &[&[u8]], content: &mut Vec<u8>) {
        for piece in pieces {
            self.size = self.size.saturating_add(piece.len() as u64);
            if self.size > self.limits.size {
                self.too_large = true;
            } else {
                content.extend_from_slice(piece);
            }
        }
    }

    fn forget(&mut self) {
        self.envelope = MilterEnvelope::default();
        self.envelope_octets = 0;
        self.size = 0;
        self.too_large = false;
        if self.state != State::New {
            self.state = State::Idle;
        }
    }
}

/// A name of at most 255 octets, as it may be shown.
fn printable(octets: &[u8]) -> String {
    let octets = octets.get(..octets.len().min(255)).unwrap_or_default();
    let text = String::from_utf8_lossy(octets);
    text.chars().filter(|c| !c.is_control()).collect()
}

fn some(value: &[u8]) -> Option<String> {
    (!value.is_empty()).then(|| printable(value))
}
