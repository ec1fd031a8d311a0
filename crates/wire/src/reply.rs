//! Replies: what is answered to a client, and what a server answers (RFC 5321 section 4.2).
//!
//! Entry: [`Reply`] is written, [`ReplyReader`] reads. A reply always has text behind its enhanced status code:
//! Postfix reads past its buffer where there is none (CVE-2026-43964). A server's reply is never passed on as it
//! came; [`Reply::relayed`] writes it anew.

use std::fmt::Write as _;

use thiserror::Error;

/// Octets of a reply line with its CRLF that are written (RFC 5321 section 4.5.3.1.5).
const LONGEST_WRITTEN: usize = 512;
/// Octets of a reply line that are read. Some servers write more than they should; what is more than is written
/// is cut.
const LONGEST_READ: usize = 2048;
/// Lines of one reply that are read.
const MOST_LINES: usize = 100;

/// An enhanced status code (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnhancedCode {
    class: u8,
    subject: u16,
    detail: u16,
}

impl EnhancedCode {
    /// The code `class.subject.detail`.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self {
            class,
            subject,
            detail,
        }
    }

    /// A code at the beginning of a text, if it is of this class, and the text behind it.
    fn split(text: &str, class: u8) -> Option<(Self, &str)> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut numbers = word.split('.');
        let mut number = |longest: usize| {
            let digits = numbers.next()?;
            let is_number = !digits.is_empty()
                && digits.len() <= longest
                && digits.bytes().all(|octet| octet.is_ascii_digit());
            is_number.then(|| digits.parse::<u16>().ok()).flatten()
        };
        let (first, subject, detail) = (number(1)?, number(3)?, number(3)?);
        let whole = numbers.next().is_none() && first == u16::from(class);
        whole.then(|| (Self::new(class, subject, detail), rest))
    }
}

impl std::fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// What is answered to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<EnhancedCode>,
    /// At least one, all printable ASCII, none of them empty but a challenge.
    lines: Vec<String>,
}

impl Reply {
    /// A reply of one line with an enhanced status code.
    pub fn new(code: u16, enhanced: EnhancedCode, text: &str) -> Self {
        Self {
            code,
            enhanced: Some(enhanced),
            lines: vec![clean(text)],
        }
    }

    /// A reply without one: the banner, the answers to EHLO, HELO, DATA (RFC 2034 section 4).
    pub fn bare(code: u16, lines: &[String]) -> Self {
        let mut lines: Vec<String> = lines.iter().map(|line| clean(line)).collect();
        if lines.is_empty() {
            lines.push(clean(""));
        }
        Self {
            code,
            enhanced: None,
            lines,
        }
    }

    /// A server's answer, written anew. An enhanced status code that is missing or of another class is replaced
    /// by a general one.
    pub fn relayed(answer: &ServerReply) -> Self {
        let class = u8::try_from(answer.code / 100).unwrap_or(4);
        let mut enhanced = None;
        let lines = answer.lines().map(|line| {
            let (code, text) = match EnhancedCode::split(line, class) {
                Some((code, text)) => (Some(code), text),
                None => (None, line),
            };
            enhanced = enhanced.or(code);
            clean(text)
        });
        let lines = lines.collect();
        Self {
            code: answer.code,
            enhanced: Some(enhanced.unwrap_or(EnhancedCode::new(class, 0, 0))),
            lines,
        }
    }

    /// A server's challenge in an AUTH exchange (334), where what it holds is base64 and its only line.
    pub fn challenge(answer: &ServerReply) -> Option<Self> {
        let [text] = answer.lines.as_slice() else {
            return None;
        };
        let is_base64 = |octet: u8| octet.is_ascii_alphanumeric() || b"+/=".contains(&octet);
        (answer.code == 334 && text.bytes().all(is_base64)).then(|| Self {
            code: 334,
            enhanced: None,
            // The one text that may be empty: there is no code before it that would need one.
            lines: vec![text.clone()],
        })
    }

    /// The reply code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The same with more text at the end of its last line.
    #[must_use]
    pub fn with(mut self, more: &str) -> Self {
        if let Some(last) = self.lines.last_mut() {
            *last = clean(&format!("{last} {more}"));
        }
        self
    }

    /// All its lines in one piece, for one segment on the wire.
    pub fn to_wire(&self) -> String {
        let mut text = String::new();
        let last = self.lines.len().saturating_sub(1);
        for (nth, line) in self.lines.iter().enumerate() {
            let separator = if nth == last { ' ' } else { '-' };
            write!(text, "{}{separator}", self.code).ok();
            if let Some(enhanced) = self.enhanced {
                write!(text, "{enhanced} ").ok();
            }
            text.push_str(line);
            text.push_str("\r\n");
        }
        text
    }
}

/// One line of printable ASCII that fits behind any code, and is not empty.
fn clean(text: &str) -> String {
    // "550-5.123.123 " and CRLF.
    let room = LONGEST_WRITTEN - 16;
    let printable = text.chars().map(|c| match c {
        ' '..='~' => c,
        _ => '?',
    });
    let line: String = printable.take(room).collect();
    match line.trim() {
        "" => "no reason given".to_owned(),
        line => line.to_owned(),
    }
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReply {
    code: u16,
    lines: Vec<String>,
}

impl ServerReply {
    /// The reply code, 200 to 599.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The text of each line, without the code.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// Whether it says yes (2xx).
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }
}

/// Why a server's octets are no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// The lines of one reply have different codes.
    #[error("the lines of one reply have different codes")]
    CodesDiffer,
    /// A line does not begin with a code and a space or hyphen.
    #[error("a line is no reply")]
    NotAReply,
    /// Something stood behind a reply where the server had not been asked for more (RFC 3207 for STARTTLS).
    #[error("octets follow a reply that nothing asked for")]
    OctetsAfter,
    /// A CR or LF that is no CRLF, or another control octet.
    #[error("a reply holds a bare CR or LF or a control octet")]
    LineEnds,
    /// A line of more than 2048 octets.
    #[error("a line of a reply is longer than 2048 octets")]
    TooLong,
    /// More than a hundred lines.
    #[error("a reply has more than 100 lines")]
    TooManyLines,
}

impl ReplyError {
    /// Its stable name.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::CodesDiffer => "reply-codes-differ",
            Self::LineEnds => "reply-line-ends",
            Self::NotAReply => "not-a-reply",
            Self::OctetsAfter => "octets-after-reply",
            Self::TooLong => "reply-too-long",
            Self::TooManyLines => "reply-too-many-lines",
        }
    }
}

/// Reads replies from octets as they come. After an error nothing more can be read.
#[derive(Debug, Clone, Default)]
pub struct ReplyReader {
    buffer: Vec<u8>,
    code: Option<u16>,
    lines: Vec<String>,
}

impl ReplyReader {
    /// Takes octets. Ask for replies until there is none before more are fed; what is held is then at most one
    /// line.
    pub fn feed(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// Whether octets wait that belong to no reply handed out.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.code.is_none()
    }

    /// The next whole reply.
    pub fn next_reply(&mut self) -> Result<Option<ServerReply>, ReplyError> {
        loop {
            let Some(end) = memchr::memchr(b'\n', &self.buffer) else {
                if self.buffer.len() > LONGEST_READ {
                    return Err(ReplyError::TooLong);
                }
                return Ok(None);
            };
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            if line.len() > LONGEST_READ {
                return Err(ReplyError::TooLong);
            }
            let line = line.strip_suffix(b"\r\n").ok_or(ReplyError::LineEnds)?;
            if let Some(reply) = self.line(line)? {
                return Ok(Some(reply));
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<ServerReply>, ReplyError> {
        if line
            .iter()
            .any(|octet| *octet != b'\t' && octet.is_ascii_control())
        {
            return Err(ReplyError::LineEnds);
        }
        let (code, rest) = line.split_at_checked(3).ok_or(ReplyError::NotAReply)?;
        let code = match code {
            [
                hundreds @ b'2'..=b'5',
                tens @ b'0'..=b'9',
                ones @ b'0'..=b'9',
            ] => {
                u16::from(hundreds - b'0') * 100
                    + u16::from(tens - b'0') * 10
                    + u16::from(ones - b'0')
            }
            _ => return Err(ReplyError::NotAReply),
        };
        let (last, text) = match rest {
            [] => (true, rest),
            [b' ', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return Err(ReplyError::NotAReply),
        };
        if self.code.is_some_and(|earlier| earlier != code) {
            return Err(ReplyError::CodesDiffer);
        }
        self.code = Some(code);
        if self.lines.len() == MOST_LINES {
            return Err(ReplyError::TooManyLines);
        }
        self.lines.push(String::from_utf8_lossy(text).into_owned());
        if !last {
            return Ok(None);
        }
        self.code = None;
        let lines = std::mem::take(&mut self.lines);
        Ok(Some(ServerReply { code, lines }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(octets: &[u8]) -> Result<Option<ServerReply>, ReplyError> {
        let mut reader = ReplyReader::default();
        reader.feed(octets);
        reader.next_reply()
    }

    fn relayed(octets: &str) -> String {
        Reply::relayed(&one(octets.as_bytes()).unwrap().unwrap()).to_wire()
    }

    #[test]
    fn an_enhanced_code_never_stands_without_text() {
        let code = EnhancedCode::new(5, 7, 1);
        assert_eq!(
            Reply::new(550, code, "").to_wire(),
            "550 5.7.1 no reason given\r\n"
        );
        assert_eq!(relayed("550 5.7.1\r\n"), "550 5.7.1 no reason given\r\n");
        assert_eq!(relayed("550\r\n"), "550 5.0.0 no reason given\r\n");
    }

    #[test]
    fn answers_are_written_anew() {
        assert_eq!(relayed("250 2.1.5 Ok\r\n"), "250 2.1.5 Ok\r\n");
        assert_eq!(relayed("250 Ok\r\n"), "250 2.0.0 Ok\r\n");
        assert_eq!(
            relayed("450 5.1.1 odd class\r\n"),
            "450 4.0.0 5.1.1 odd class\r\n"
        );
        assert_eq!(
            relayed("550-5.1.1 a\r\n550 5.1.1 b\x09c\r\n"),
            "550-5.1.1 a\r\n550 5.1.1 b?c\r\n"
        );
        assert_eq!(
            relayed("550-a\r\n550 5.1.1 b\r\n"),
            "550-5.1.1 a\r\n550 5.1.1 b\r\n"
        );
        let long = format!("550 {}\r\n", "x".repeat(1500));
        assert!(relayed(&long).len() <= LONGEST_WRITTEN);
    }

    #[test]
    fn a_challenge_goes_on_whole_and_nothing_else_is_one() {
        let challenge = |octets: &str| {
            let reply = one(octets.as_bytes()).unwrap().unwrap();
            Reply::challenge(&reply).map(|reply| reply.to_wire())
        };
        let long = format!("334 {}\r\n", "QUJD".repeat(300));
        for octets in ["334 \r\n", "334 VXNlcm5hbWU6\r\n", &long] {
            assert_eq!(challenge(octets).as_deref(), Some(octets));
        }
        assert_eq!(challenge("334\r\n").as_deref(), Some("334 \r\n"));
        for octets in ["334 a b\r\n", "334-a\r\n334 b\r\n", "235 VXNl\r\n"] {
            assert_eq!(challenge(octets), None, "{octets}");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused_by_name() {
        for (octets, kind) in [
            (&b"250 ok\n"[..], "reply-line-ends"),
            (b"250 a\rb\r\n", "reply-line-ends"),
            (b"250-a\r\n251 b\r\n", "reply-codes-differ"),
            (b"150 a\r\n", "not-a-reply"),
            (b"650 a\r\n", "not-a-reply"),
            (b"25 a\r\n", "not-a-reply"),
            (b"250x\r\n", "not-a-reply"),
            (b"\r\n", "not-a-reply"),
            (b"HTTP/1.1 400\r\n", "not-a-reply"),
        ] {
            assert_eq!(one(octets).unwrap_err().kind(), kind, "{octets:?}");
        }
        assert_eq!(one(&[b'2'; 3000]), Err(ReplyError::TooLong));
        assert_eq!(
            one("250-a\r\n".repeat(101).as_bytes()),
            Err(ReplyError::TooManyLines)
        );
    }

    #[test]
    fn octets_behind_a_reply_are_noticed() {
        let mut reader = ReplyReader::default();
        reader.feed(b"220 go\r\n250 injected\r\n");
        assert!(reader.next_reply().unwrap().is_some());
        assert!(!reader.is_empty());
    }

    proptest! {
        #[test]
        fn any_split_reads_the_same(octets in r"(250-[a-z]{0,3}\r\n|250 [a-z]{0,3}\r\n|250\r\n|\r|\n|x){0,8}", cut in 0_usize..40) {
            let octets = octets.as_bytes();
            let cut = cut.min(octets.len());
            let mut whole = ReplyReader::default();
            whole.feed(octets);
            let all: Vec<_> = std::iter::from_fn(|| whole.next_reply().transpose()).take(10).take_while(Result::is_ok).collect();
            let mut pieces = ReplyReader::default();
            let mut got = Vec::new();
            for piece in [&octets[..cut], &octets[cut..]] {
                pieces.feed(piece);
                got.extend(std::iter::from_fn(|| pieces.next_reply().transpose()).take(10).take_while(Result::is_ok));
            }
            // Whatever follows an error is not read by a caller; up to it both agree.
            prop_assert!(got.starts_with(&all) || all.starts_with(&got));
        }

        #[test]
        fn a_reply_written_is_a_reply_read(text in any::<String>(), code in 200_u16..600) {
            let reply = Reply::new(code, EnhancedCode::new(5, 1, 1), &text);
            let wire = reply.to_wire();
            let read = one(wire.as_bytes()).unwrap().unwrap();
            prop_assert_eq!(read.code(), code);
            prop_assert!(wire.len() <= LONGEST_WRITTEN);
        }

        #[test]
        fn any_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
            drop(one(&octets));
        }
    }
}
