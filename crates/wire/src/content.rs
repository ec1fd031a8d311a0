//! The content of a message in the DATA stream (RFC 5321 sections 2.3.8, 4.1.1.4 and 4.5.2).
//!
//! Entry: [`ContentReader`] takes it out, [`ContentWriter`] puts it in. Only `<CRLF>.<CRLF>` ends a message; what
//! the reader hands out has no line end but CRLF, whatever came in, so that what the writer sends can end in one
//! place only. Must not keep content: it goes through.

use crate::headers::{HeaderGuard, HeaderLimits};
use crate::rules::{Action, Actions, Rule};

/// How much one message may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentLimits {
    /// Octets of content.
    pub size: u64,
    /// Octets that are still read, and thrown away, once the message is refused; then the connection ends.
    pub discard: u64,
    /// Limits on headers.
    pub headers: HeaderLimits,
}

impl Default for ContentLimits {
    fn default() -> Self {
        Self {
            size: 50 << 20,
            discard: 16 << 20,
            headers: HeaderLimits::default(),
        }
    }
}

/// Where a message stands after some octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More is to come.
    More,
    /// This was its end.
    End,
    /// It was refused, and more has come since than is worth reading.
    GiveUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Behind a CRLF.
    LineStart,
    /// A dot behind a CRLF.
    Dot,
    /// A dot and a CR behind a CRLF.
    DotCr,
    /// Within a line, or behind a line end that was no CRLF.
    Line,
    /// A CR within a line.
    Cr,
}

/// Takes one message out of the stream.
#[derive(Debug, Clone)]
pub struct ContentReader {
    state: State,
    actions: Actions,
    limits: ContentLimits,
    guard: HeaderGuard,
    /// Octets handed out.
    size: u64,
    discarded: u64,
    refused: Option<Rule>,
    monitored: Vec<Rule>,
}

impl ContentReader {
    /// A reader that stands behind the answer to DATA.
    pub fn new(actions: Actions, limits: ContentLimits) -> Self {
        Self {
            state: State::LineStart,
            actions,
            guard: HeaderGuard::new(limits.headers),
            limits,
            size: 0,
            discarded: 0,
            refused: None,
            monitored: Vec::new(),
        }
    }

    /// Takes octets of the stream and appends clean content to `out`: at most twice as many octets. Returns how
    /// many were taken; fewer than all only at the end of the message. Once the message is refused, nothing is
    /// appended any more.
    pub fn read(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, Progress) {
        let begin = out.len();
        let mut at = 0;
        let mut ended = false;
        while let Some(rest) = input.get(at..)
            && let Some(octet) = rest.first()
        {
            if self.state == State::Line {
                // Most of a message.
                let run = memchr::memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
                if let Some(plain) = rest.get(..run)
                    && run > 0
                {
                    out.extend_from_slice(plain);
                    at += run;
                    continue;
                }
            }
            at += 1;
            if self.octet(*octet, out) {
                ended = true;
                break;
            }
        }
        self.judge(out, begin, at);
        let progress = if ended {
            Progress::End
        } else if self.discarded > self.limits.discard {
            Progress::GiveUp
        } else {
            Progress::More
        };
        (at, progress)
    }

    /// The rule by which the message is refused.
    pub fn refused(&self) -> Option<Rule> {
        self.refused
    }

    /// Rules that apply and are only monitored.
    pub fn monitored(&self) -> &[Rule] {
        &self.monitored
    }

    /// Octets handed out so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether this octet ends the message.
    fn octet(&mut self, octet: u8, out: &mut Vec<u8>) -> bool {
        match (self.state, octet) {
            (State::LineStart, b'.') => self.state = State::Dot,
            (State::Dot, b'\r') => self.state = State::DotCr,
            (State::DotCr, b'\n') => {
                self.state = State::LineStart;
                return true;
            }
            (State::DotCr, _) => {
                // The dot was stuffed before a bare CR.
                self.bare_cr(out);
                self.within(octet, out);
            }
            (State::Cr, b'\n') => {
                out.extend_from_slice(b"\r\n");
                self.state = State::LineStart;
            }
            (State::Cr, _) => {
                self.bare_cr(out);
                self.within(octet, out);
            }
            // A dot that something follows was stuffed.
            (State::Dot | State::LineStart | State::Line, _) => self.within(octet, out),
        }
        false
    }

    fn within(&mut self, octet: u8, out: &mut Vec<u8>) {
        self.state = State::Line;
        match octet {
            b'\r' => self.state = State::Cr,
            b'\n' => {
                self.breaks(Rule::BareLfInContent);
                out.extend_from_slice(b"\r\n");
            }
            0 => {
                self.breaks(Rule::NulInContent);
                out.push(0);
            }
            _ => out.push(octet),
        }
    }

    fn bare_cr(&mut self, out: &mut Vec<u8>) {
        self.breaks(Rule::BareCrInContent);
        out.extend_from_slice(b"\r\n");
        self.state = State::Line;
    }

    /// The first rule in the order of the list refuses, not the first in the stream: that would depend on how
    /// the stream was cut.
    fn breaks(&mut self, rule: Rule) {
        match self.actions.of(rule) {
            Action::Refuse => {
                let earlier = self.refused.unwrap_or(rule);
                self.refused = Some(earlier.min(rule));
            }
            Action::Monitor => {
                if let Err(at) = self.monitored.binary_search(&rule) {
                    self.monitored.insert(at, rule);
                }
            }
        }
    }

    /// Counts what was appended, shows it to the guard of headers, and takes it back if it is refused.
    fn judge(&mut self, out: &mut Vec<u8>, begin: usize, taken: usize) {
        let mut guard = self.guard.clone();
        if let Some(fresh) = out.get(begin..) {
            self.size = self.size.saturating_add(fresh.len() as u64);
            guard.look(fresh, |rule| self.breaks(rule));
        }
        self.guard = guard;
        if self.size > self.limits.size {
            self.breaks(Rule::MessageTooLarge);
        }
        if self.refused.is_some() {
            out.truncate(begin);
            self.discarded = self.discarded.saturating_add(taken as u64);
        }
    }
}

/// Puts clean content into the stream: stuffs dots, and ends it.
#[derive(Debug, Clone)]
pub struct ContentWriter {
    line_start: bool,
}

impl Default for ContentWriter {
    fn default() -> Self {
        Self { line_start: true }
    }
}

impl ContentWriter {
    /// Appends the next piece of content to `out`. Every LF in it must end a CRLF, as the reader hands it out.
    pub fn write(&mut self, content: &[u8], out: &mut Vec<u8>) {
        let mut rest = content;
        while !rest.is_empty() {
            if self.line_start && rest.starts_with(b".") {
                out.push(b'.');
            }
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, after) = rest.split_at_checked(end).unwrap_or((rest, b""));
            out.extend_from_slice(line);
            self.line_start = line.ends_with(b"\n");
            rest = after;
        }
    }

    /// Appends what ends the message.
    pub fn end(self, out: &mut Vec<u8>) {
        if !self.line_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lenient() -> Actions {
        Actions::default()
            .with(Rule::BareCrInContent, Action::Monitor)
            .with(Rule::BareLfInContent, Action::Monitor)
            .with(Rule::NulInContent, Action::Monitor)
            .with(Rule::ControlInHeader, Action::Monitor)
    }

    /// The content, the progress, what is left, and the reader.
    fn read(stream: &[u8], actions: Actions) -> (Vec<u8>, Progress, usize, ContentReader) {
        let mut reader = ContentReader::new(actions, ContentLimits::default());
        let mut out = Vec::new();
        let (taken, progress) = reader.read(stream, &mut out);
        (out, progress, stream.len() - taken, reader)
    }

    #[test]
    fn only_crlf_dot_crlf_ends_a_message() {
        for tried in [
            "a\n.\nb",
            "a\n.\r\nb",
            "a\r\n.\nb",
            "a\r.\rb",
            "a\r.\r\nb",
            "a\r\n.\rb",
            "a\r\n.\r\r\nb",
            "a\n\r.\r\nb",
            "a\r\n\0.\r\nb",
            "a\r\n.\0\r\nb",
        ] {
            let stream = format!("H: v\r\n\r\n{tried}\r\n.\r\n");
            let (content, progress, left, reader) = read(stream.as_bytes(), Actions::default());
            assert_eq!((progress, left), (Progress::End, 0), "{tried:?}");
            assert!(reader.refused().is_some(), "{tried:?}");
            assert!(content.is_empty(), "nothing of a refused message goes on");
            // Let through by an exception, it goes on as one message with whole line ends.
            let (content, progress, left, _) = read(stream.as_bytes(), lenient());
            assert_eq!((progress, left), (Progress::End, 0), "{tried:?}");
            let mut wire = Vec::new();
            let mut writer = ContentWriter::default();
            writer.write(&content, &mut wire);
            writer.end(&mut wire);
            let (again, progress, left, reader) = read(
                &wire,
                Actions::default()
                    .with(Rule::NulInContent, Action::Monitor)
                    .with(Rule::ControlInHeader, Action::Monitor),
            );
            assert_eq!(
                (again, progress, left),
                (content, Progress::End, 0),
                "{tried:?}"
            );
            assert_eq!(reader.refused(), None, "{tried:?}");
        }
    }

    #[test]
    fn stuffed_dots_are_taken_off_and_look_alikes_stay() {
        let (content, progress, left, reader) = read(
            b"H: v\r\n\r\n..a\r\n. \r\n...\r\na.\r\n.\r\nQUIT",
            Actions::default(),
        );
        assert_eq!(content, b"H: v\r\n\r\n.a\r\n \r\n..\r\na.\r\n");
        assert_eq!((progress, left, reader.refused()), (Progress::End, 4, None));
        let (content, progress, _, _) = read(b".\r\n", Actions::default());
        assert_eq!((content.as_slice(), progress), (&b""[..], Progress::End));
    }

    #[test]
    fn a_message_beyond_its_size_is_read_to_its_end_and_then_given_up() {
        let limits = ContentLimits {
            size: 10,
            discard: 20,
            ..ContentLimits::default()
        };
        let mut reader = ContentReader::new(Actions::default(), limits);
        let mut out = Vec::new();
        let (_, progress) = reader.read(b"aaaaaaaaaaaaa\r\n.\r\n", &mut out);
        assert_eq!(
            (progress, reader.refused()),
            (Progress::End, Some(Rule::MessageTooLarge))
        );
        let mut reader = ContentReader::new(Actions::default(), limits);
        let (_, progress) = reader.read(&[b'a'; 40], &mut out);
        assert_eq!(progress, Progress::GiveUp);
        assert!(out.is_empty());
    }

    fn streams() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(&b"\r\n"[..]),
            Just(&b"\r"[..]),
            Just(&b"\n"[..]),
            Just(&b"."[..]),
            Just(&b"\r\n.\r\n"[..]),
            Just(&b"A: b"[..]),
            Just(&b"\0"[..]),
            Just(&b"\xff"[..]),
        ];
        proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_reads_the_same(stream in streams(), cuts in proptest::collection::vec(1_usize..7, 1..9)) {
            let (whole, progress, left, reader) = read(&stream, lenient());
            let mut pieces = ContentReader::new(lenient(), ContentLimits::default());
            let mut out = Vec::new();
            let (mut at, mut last) = (0, Progress::More);
            for cut in cuts.iter().cycle() {
                if at == stream.len() || last == Progress::End {
                    break;
                }
                let end = stream.len().min(at + cut);
                let (taken, progress) = pieces.read(&stream[at..end], &mut out);
                at += taken;
                last = progress;
            }
            prop_assert_eq!((out, last, stream.len() - at), (whole, progress, left));
            prop_assert_eq!(pieces.monitored(), reader.monitored());
        }

        #[test]
        fn what_is_sent_on_is_read_as_the_same_one_message(stream in streams()) {
            let (content, _, _, _) = read(&stream, lenient());
            let mut wire = Vec::new();
            let mut writer = ContentWriter::default();
            writer.write(&content, &mut wire);
            writer.end(&mut wire);
            let (again, progress, left, reader) = read(&wire, lenient());
            prop_assert_eq!((progress, left), (Progress::End, 0));
            let bare = [Rule::BareCrInContent, Rule::BareLfInContent];
            prop_assert!(!reader.monitored().iter().any(|rule| bare.contains(rule)));
            let mut expected = content;
            if !expected.is_empty() && !expected.ends_with(b"\n") {
                expected.extend(b"\r\n");
            }
            prop_assert_eq!(again, expected);
        }
    }
}
