//! A message handed in by SMTP, and found again: one real message is worth more than any number of
//! answering ports.
//!
//! Entry types: [`hand_in`] (to exactly one server), [`arrived`] (what lies in a mailbox on a host),
//! [`Addresses`] (where hosts take connections, and from where this machine's come).
//!
//! The client is a small one of its own and not `lettre`'s, for what counts here is what a library
//! hides: whether the server *has* the message. A failure before the final dot says that it has not
//! ([`HandIn::Refused`]); one after it says nothing ([`HandIn::Unknown`]), and a sender that wants to
//! lose nothing hands it in again (RFC 5321 section 4.5.4.1), at the price of a duplicate.
//!
//! Where STARTTLS is offered it is used as mail servers use it among each other (RFC 7435): whatever the
//! certificate says is taken, and put on record; where it fails the message goes without.

mod addresses;
mod session;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mailkeep_model::text::printable_max;

use crate::hosts::{HostFailure, RunLimits, SshOptions, SshTarget, run_over_ssh};

use session::Session;

pub use addresses::{Addresses, sources, takes_connections};

/// Finds probes in a mailbox.
const ARRIVED: &str = include_str!("probe/arrived.sh");

/// Bytes of one line of a reply (RFC 5321 section 4.5.3.1.5 says 512, with room for the careless).
const MAX_LINE: usize = 2048;

/// Lines of one reply: an EHLO answer has a dozen.
const MAX_LINES: usize = 100;

/// Characters of a server's words that are kept.
const MAX_WORDS: usize = 200;

/// TLS may take one part in so many of the time that is left: the message may have to go without.
const TLS_SHARE: u32 = 3;

/// Where a probe is handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeServer {
    /// Name or address.
    pub address: String,
    /// Port.
    pub port: u16,
    /// The name to greet it with.
    pub hello: String,
}

/// A probe. Nothing in it may hold a line break; `<`, `>` and white space do not belong into the
/// addresses and the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Envelope sender, and `From`.
    pub from: String,
    /// Recipient.
    pub to: String,
    /// `Message-ID`, without its angle brackets.
    pub id: String,
    /// `Subject`.
    pub subject: String,
    /// `Date`.
    pub date: Timestamp,
}

/// How long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeLimits {
    /// For the connection to stand.
    pub connect: Duration,
    /// For all of it, the connection included.
    pub total: Duration,
}

impl Default for ProbeLimits {
    /// 5 s to connect, 20 s in all: RFC 5321 section 4.5.3.2 allows minutes for each reply, but a
    /// server that needs them for one small message is not in order.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            total: Duration::from_secs(20),
        }
    }
}

/// How handing in ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandIn {
    /// 250 after the final dot: the server answers for the message (RFC 5321 section 6.1).
    Accepted {
        /// What it said, printable.
        reply: String,
        /// What kept it from strangers on its way.
        cover: Cover,
    },
    /// The server does not have it: it said no, or the connection ended before the final dot.
    Refused {
        /// Where, and what was said or seen; printable.
        why: String,
        /// Whether it said so for good (5yz, RFC 5321 section 4.2.1). A greylist, a filter that is not
        /// up yet, or a connection that does not come about, may be otherwise in a moment.
        for_good: bool,
    },
    /// The connection ended between the final dot and the answer to it.
    Unknown {
        /// What was seen, printable.
        why: String,
    },
}

impl HandIn {
    fn words(self) -> String {
        match self {
            Self::Refused { why, .. } | Self::Unknown { why } => why,
            Self::Accepted { reply, .. } => reply,
        }
    }
}

/// What keeps a message from strangers on its way to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cover {
    /// Nothing; STARTTLS was not offered.
    Plain,
    /// Nothing, though STARTTLS was offered.
    Failed {
        /// What was seen, printable.
        why: String,
    },
    /// TLS, whoever the server says it is.
    Tls {
        /// `TLSv1.3`.
        version: &'static str,
        /// SHA-256 of the certificate, in hexadecimal digits.
        certificate: String,
    },
}

impl fmt::Display for Cover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("without TLS"),
            Self::Failed { why } => write!(f, "without TLS, since STARTTLS failed: {why}"),
            Self::Tls {
                version,
                certificate,
            } => write!(f, "by {version}, certificate sha256 {certificate}"),
        }
    }
}

/// Hands a probe to exactly one server.
pub fn hand_in(server: &ProbeServer, probe: &Probe, limits: ProbeLimits) -> HandIn {
    let deadline = Instant::now() + limits.total;
    for (what, text) in [
        ("the name to greet with", &server.hello),
        ("the sender", &probe.from),
        ("the recipient", &probe.to),
        ("the message id", &probe.id),
    ] {
        if text.is_empty()
            || text
                .chars()
                .any(|c| !c.is_ascii_graphic() || c == '<' || c == '>')
        {
            return refused(
                "before connecting",
                &format!("{what} {text:?} is not fit for SMTP"),
            );
        }
    }
    if probe.subject.chars().any(|c| !(' '..='~').contains(&c)) {
        return refused("before connecting", "the subject is not plain ASCII");
    }
    let mut cover = Cover::Plain;
    let outcome = greeted(server, limits, deadline, &mut cover).and_then(|mut session| {
        let outcome = converse(&mut session, probe).map(|()| finish(&mut session, &cover));
        session.quit();
        outcome
    });
    match (outcome, cover) {
        // It may be just the lack of TLS that it refuses, and that may be otherwise in a moment.
        (Err(HandIn::Refused { why, .. }), Cover::Failed { why: tls }) => HandIn::Refused {
            why: format!("{why}; STARTTLS had failed: {tls}"),
            for_good: false,
        },
        (outcome, _) => outcome.unwrap_or_else(|refusal| refusal),
    }
}

/// Whether a server greets us, and hears us: what a probe needs before anything else. An error says why
/// not, printable.
pub fn greets(server: &ProbeServer, limits: ProbeLimits) -> Result<(), String> {
    let deadline = Instant::now() + limits.total;
    // Without TLS, which costs both sides more than all the rest: where it failed the message would go without.
    let mut tls_is_left_out = Cover::Failed { why: String::new() };
    let session = greeted(server, limits, deadline, &mut tls_is_left_out);
    session.map(Session::quit).map_err(HandIn::words)
}

enum Greeted {
    Ready,
    /// STARTTLS failed half-way: once more, without.
    Again,
}

/// A session in which the next word is of the message.
fn greeted(
    server: &ProbeServer,
    limits: ProbeLimits,
    deadline: Instant,
    cover: &mut Cover,
) -> Result<Session, HandIn> {
    loop {
        let mut session = Session::open(server, limits, deadline)?;
        match greet(&mut session, server, cover) {
            Ok(Greeted::Ready) => return Ok(session),
            // Nothing was said of the message yet; the connection is of no more use.
            Ok(Greeted::Again) => {}
            Err(refusal) => {
                session.quit();
                return Err(refusal);
            }
        }
    }
}

/// Greets, and goes on under TLS where that is offered and has not failed before.
fn greet(
    session: &mut Session,
    server: &ProbeServer,
    cover: &mut Cover,
) -> Result<Greeted, HandIn> {
    session.expect("greeting", None, 220)?;
    let hello = format!("EHLO {}", server.hello);
    if session.expect("EHLO", Some(&hello), 250).is_err() {
        let hello = format!("HELO {}", server.hello);
        session.expect("HELO", Some(&hello), 250)?;
        return Ok(Greeted::Ready);
    }
    if *cover != Cover::Plain || !session.offers_starttls() {
        return Ok(Greeted::Ready);
    }
    let whole = session.hurry(TLS_SHARE);
    match secure(session, &server.address, &hello) {
        Ok(tls) => {
            session.allow(whole);
            *cover = tls;
            Ok(Greeted::Ready)
        }
        Err(why) => {
            *cover = Cover::Failed { why };
            Ok(Greeted::Again)
        }
    }
}

/// From STARTTLS to the greeting under TLS, where TLS 1.3 says what it did not like (RFC 8446 section 6.2).
/// An error says what was seen, printable.
fn secure(session: &mut Session, name: &str, hello: &str) -> Result<Cover, String> {
    // 454 (RFC 3207 section 4), or gone.
    session
        .expect("STARTTLS", Some("STARTTLS"), 220)
        .map_err(HandIn::words)?;
    let tls = session
        .start_tls(name)
        .map_err(|error| printable_max(&error.to_string(), MAX_WORDS))?;
    session
        .expect("EHLO under TLS", Some(hello), 250)
        .map_err(HandIn::words)?;
    Ok(tls)
}

/// Everything from the greeting to the final dot. An error is a refusal.
fn converse(session: &mut Session, probe: &Probe) -> Result<(), HandIn> {
    let from = format!("MAIL FROM:<{}>", probe.from);
    session.expect("MAIL FROM", Some(&from), 250)?;
    let to = format!("RCPT TO:<{}>", probe.to);
    session.expect("RCPT TO", Some(&to), 250)?;
    session.expect("DATA", Some("DATA"), 354)?;
    let text = text_of(probe);
    session
        .write(text.as_bytes())
        .map_err(|error| refused("message text", &error.to_string()))
}

fn finish(session: &mut Session, cover: &Cover) -> HandIn {
    let unknown = |error: io::Error| HandIn::Unknown {
        why: printable_max(&format!("after the final dot: {error}"), MAX_WORDS),
    };
    if let Err(error) = session.write(b".\r\n") {
        return unknown(error);
    }
    match session.reply() {
        Ok((250, reply)) => HandIn::Accepted {
            reply,
            cover: cover.clone(),
        },
        // 3yz cannot be meant here; anything but 2yz says that the server does not take it.
        Ok((code, reply)) => said_no("final dot", code, &reply),
        Err(error) => unknown(error),
    }
}

/// The message, without its final dot. No line begins with one.
fn text_of(probe: &Probe) -> String {
    let date = mail_date(probe.date);
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\nDate: {date}\r\nMessage-ID: <{id}>\r\n\
         Subject: {subject}\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\r\n\
         A numbered message by which mailkeep sees whether mail still flows. Nobody need read it.\r\n",
        from = probe.from,
        to = probe.to,
        id = probe.id,
        subject = probe.subject,
    )
}

/// RFC 5322 section 3.3.
fn mail_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

fn refused(stage: &str, why: &str) -> HandIn {
    HandIn::Refused {
        why: printable_max(&format!("{stage}: {why}"), MAX_WORDS),
        for_good: false,
    }
}

fn said_no(stage: &str, code: u16, reply: &str) -> HandIn {
    HandIn::Refused {
        why: printable_max(&format!("{stage}: {reply}"), MAX_WORDS),
        for_good: code >= 500,
    }
}

/// The code of one line of a reply, and whether it is the last (RFC 5321 section 4.2.1).
fn reply_line(line: &[u8]) -> Option<(u16, bool)> {
    let (code, rest) = line.split_at_checked(3)?;
    let code = str::from_utf8(code)
        .ok()
        .filter(|code| code.bytes().all(|b| b.is_ascii_digit()))?;
    let ends = match rest.first() {
        Some(b'-') => false,
        None | Some(b' ') => true,
        Some(_) => return None,
    };
    Some((code.parse().ok()?, ends))
}

/// How often each number was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Copies by number.
    pub copies: BTreeMap<u64, u64>,
}

/// Why a mailbox could not be looked at. That nothing lies in it is no error.
#[derive(Debug, thiserror::Error)]
pub enum ArrivedError {
    /// The host gave no answer.
    #[error("cannot look into mailbox {mailbox} on {host}")]
    Host {
        /// On which host.
        host: String,
        /// Which mailbox.
        mailbox: String,
        /// What happened.
        #[source]
        source: HostFailure,
    },
    /// Its answer was cut short, or is no answer.
    #[error("the answer of {host} about mailbox {mailbox} makes no sense: {what}")]
    Garbage {
        /// Which host.
        host: String,
        /// Which mailbox.
        mailbox: String,
        /// What was found, printable.
        what: String,
    },
    /// The mailbox is there and cannot be read.
    #[error("mailbox {mailbox} on {host} cannot be read: {what}")]
    Unreadable {
        /// Which host.
        host: String,
        /// Which mailbox.
        mailbox: String,
        /// What was said, printable.
        what: String,
    },
}

/// Looks for messages whose `Message-ID` is `PREFIX`, a number, `@` and anything, in a mailbox (an
/// mbox file or a Maildir directory) on a host. Numbers below `from` are told only where they were
/// found more than once. A mailbox that is not there is empty: the first delivery makes it.
pub fn arrived(
    target: &SshTarget,
    mailbox: &str,
    prefix: &str,
    from: u64,
    limits: RunLimits,
    options: &SshOptions,
) -> Result<Arrivals, ArrivedError> {
    let from = from.to_string();
    let output = run_over_ssh(target, ARRIVED, &[mailbox, prefix, &from], limits, options)
        .map_err(|source| ArrivedError::Host {
            host: target.host.to_string(),
            mailbox: printable_max(mailbox, MAX_WORDS),
            source,
        })?;
    read_arrivals(target.host.as_str(), mailbox, &output)
}

/// The same in a mailbox of this machine.
pub fn arrived_locally(
    mailbox: &str,
    prefix: &str,
    from: u64,
    limits: RunLimits,
) -> Result<Arrivals, ArrivedError> {
    let from = from.to_string();
    let host = "this host";
    let output = crate::hosts::run_locally(ARRIVED, &[mailbox, prefix, &from], limits).map_err(
        |source| ArrivedError::Host {
            host: host.to_owned(),
            mailbox: printable_max(mailbox, MAX_WORDS),
            source,
        },
    )?;
    read_arrivals(host, mailbox, &output)
}

/// Reads what the script printed. Bounded by the bytes given.
pub fn read_arrivals(host: &str, mailbox: &str, output: &[u8]) -> Result<Arrivals, ArrivedError> {
    let text = String::from_utf8_lossy(output);
    let garbage = |what: &str| ArrivedError::Garbage {
        host: host.to_owned(),
        mailbox: printable_max(mailbox, MAX_WORDS),
        what: printable_max(what, MAX_WORDS),
    };
    let mut arrivals = Arrivals::default();
    let mut ended = false;
    // What a login shell prints comes first, and is not ours.
    let mut lines = text
        .lines()
        .skip_while(|line| *line != "mailkeep-arrived 1")
        .skip(1);
    for line in &mut lines {
        if line == "end" {
            ended = true;
            break;
        }
        if let Some(what) = line.strip_prefix("unreadable ") {
            return Err(ArrivedError::Unreadable {
                host: host.to_owned(),
                mailbox: printable_max(mailbox, MAX_WORDS),
                what: printable_max(what, MAX_WORDS),
            });
        }
        let read = line
            .split_once(' ')
            .and_then(|(number, copies)| Some((number.parse().ok()?, copies.parse().ok()?)));
        let Some((number, copies)) = read else {
            return Err(garbage(line));
        };
        arrivals.copies.insert(number, copies);
    }
    if ended {
        Ok(arrivals)
    } else {
        Err(garbage("it is cut short"))
    }
}

/// Fuzz entry: any bytes, as what a host says lies in a mailbox, and as a line of a mail server.
pub fn fuzz(input: &[u8]) {
    let with_head = [b"mailkeep-arrived 1\n".as_slice(), input].concat();
    for answer in [input, &with_head] {
        if let Err(error) = read_arrivals("mx1", "/m", answer) {
            // What is quoted, and the words around it.
            debug_assert!(error.to_string().chars().count() < MAX_WORDS + 80);
        }
    }
    if let Some((code, _)) = reply_line(input) {
        debug_assert!(code < 1000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_cut_short_is_no_answer() {
        let whole = "Welcome!\nmailkeep-arrived 1\n3 1\n7 2\nend\n";
        let found = read_arrivals("mx1", "/m", whole.as_bytes()).unwrap();
        assert_eq!(found.copies, BTreeMap::from([(3, 1), (7, 2)]));
        for end in 0..whole.len() - 1 {
            let cut = whole.get(..end).unwrap();
            read_arrivals("mx1", "/m", cut.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn only_a_code_and_its_separator_begin_a_reply() {
        assert_eq!(reply_line(b"250 ok"), Some((250, true)));
        assert_eq!(reply_line(b"250"), Some((250, true)));
        assert_eq!(reply_line(b"250-PIPELINING"), Some((250, false)));
        for odd in [
            &b"25"[..],
            b"2500 x",
            b"+25 x",
            b"25\xc3\xa9",
            b"",
            b"250\0",
        ] {
            assert_eq!(reply_line(odd), None, "{}", odd.escape_ascii());
        }
    }

    #[test]
    fn a_date_is_as_mail_wants_it() {
        let at = "2026-11-02T03:04:05.9Z".parse().unwrap();
        assert_eq!(mail_date(at), "Mon, 02 Nov 2026 03:04:05 +0000");
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(bytes: Vec<u8>) {
            fuzz(&bytes);
        }

        #[test]
        fn numbers_of_any_length_are_read_or_refused(text in "([0-9]{1,25} [0-9]{1,25}\n|end\n|unreadable .{0,9}\n){0,9}") {
            fuzz(text.as_bytes());
        }
    }
}
