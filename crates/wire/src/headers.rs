//! Limits on the header block of a message, and octets that must not stand in it.
//!
//! Entry: [`HeaderGuard::look`], which is shown the clean content piece by piece and stops looking at the first
//! empty line. Must not judge what headers mean: that is the inspection's matter.

use crate::rules::Rule;

/// How large headers may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderLimits {
    /// Octets of the whole block.
    pub block: usize,
    /// Octets of one header with its continuation lines.
    pub one: usize,
    /// Headers.
    pub count: usize,
    /// Addresses in one header that names them.
    pub addresses: usize,
    /// Received headers; more, and the message goes in circles.
    pub received: usize,
}

impl Default for HeaderLimits {
    fn default() -> Self {
        Self {
            block: 256 << 10,
            one: 64 << 10,
            count: 1000,
            // As many as a message may have recipients.
            addresses: 1000,
            received: 100,
        }
    }
}

/// Looks at headers as they go by.
#[derive(Debug, Clone)]
pub struct HeaderGuard {
    limits: HeaderLimits,
    block: usize,
    one: usize,
    count: usize,
    received: usize,
    /// The beginning of this header's name, in lower case, while its colon has not come.
    name: [u8; LONGEST_NAME],
    /// How much of it there is; `None` once it is known, or too long for one that matters.
    named: Option<usize>,
    /// What is left of the addresses that this header may name; `None` where it names none.
    addresses: Option<usize>,
    quoted: Quoted,
    /// Where in its line the next octet stands; counted no further than 1.
    column: usize,
    utf8: Utf8,
    done: bool,
}

/// Of the names that matter.
const LONGEST_NAME: usize = 16;

/// Headers that name addresses (RFC 5322 section 3.6).
const ADDRESS_HEADERS: &[&[u8]] = &[
    b"bcc",
    b"cc",
    b"from",
    b"reply-to",
    b"resent-bcc",
    b"resent-cc",
    b"resent-from",
    b"resent-reply-to",
    b"resent-sender",
    b"resent-to",
    b"sender",
    b"to",
];

/// Where in a quoted string we are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Quoted {
    #[default]
    No,
    Yes,
    Escaped,
}

impl HeaderGuard {
    /// A guard for one message.
    pub fn new(limits: HeaderLimits) -> Self {
        Self {
            limits,
            block: 0,
            one: 0,
            count: 0,
            received: 0,
            name: [0; LONGEST_NAME],
            named: None,
            addresses: None,
            quoted: Quoted::No,
            column: 0,
            utf8: Utf8::default(),
            done: false,
        }
    }

    /// Whether the headers are over.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Looks at the next piece of clean content, in which every line end is CRLF, and tells each rule that it breaks.
    pub fn look(&mut self, content: &[u8], mut breaks: impl FnMut(Rule)) {
        let mut rest = content;
        while !self.done && !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let (part, after) = rest
                .split_at_checked(end.map_or(rest.len(), |at| at + 1))
                .unwrap_or((rest, b""));
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            // A CR is part of a line end, though its LF may come with the next piece.
            self.text(text.strip_suffix(b"\r").unwrap_or(text), &mut breaks);
            self.block += part.len();
            self.one += part.len();
            if self.block > self.limits.block {
                breaks(Rule::HeadersTooLarge);
            }
            if self.one > self.limits.one {
                breaks(Rule::HeaderTooLong);
            }
            if end.is_some() {
                self.done = self.column == 0;
                self.column = 0;
                if self.utf8.is_within() {
                    breaks(Rule::HeaderNotUtf8);
                    self.utf8 = Utf8::default();
                }
            }
            rest = after;
        }
    }

    /// Octets within a line.
    fn text(&mut self, text: &[u8], breaks: &mut impl FnMut(Rule)) {
        let Some(first) = text.first() else { return };
        if self.column == 0 {
            self.begin_line(*first, breaks);
            self.column = 1;
        }
        if text.iter().any(|octet| is_forbidden(*octet)) {
            breaks(Rule::ControlInHeader);
        }
        if self.utf8.is_within() || !text.is_ascii() {
            for octet in text {
                if !self.utf8.next(*octet) {
                    breaks(Rule::HeaderNotUtf8);
                }
            }
        }
        let value = if self.named.is_some() {
            self.read_name(text, breaks)
        } else {
            text
        };
        if self.addresses.is_some() {
            self.count_addresses(value, breaks);
        }
    }

    fn begin_line(&mut self, octet: u8, breaks: &mut impl FnMut(Rule)) {
        if octet == b' ' || octet == b'\t' {
            // A name that is folded is none.
            self.named = None;
            return;
        }
        self.named = Some(0);
        self.addresses = None;
        self.one = 0;
        self.count += 1;
        if self.count > self.limits.count {
            breaks(Rule::TooManyHeaders);
        }
    }

    /// Reads on in the name of a header; what follows its colon.
    fn read_name<'a>(&mut self, text: &'a [u8], breaks: &mut impl FnMut(Rule)) -> &'a [u8] {
        let Some(begun) = self.named else {
            return text;
        };
        let free = self.name.get_mut(begun..).unwrap_or_default();
        let colon = memchr::memchr(b':', text);
        let fresh = text.get(..colon.unwrap_or(text.len())).unwrap_or_default();
        if fresh.len() > free.len() {
            self.named = None;
            return b"";
        }
        for (place, octet) in free.iter_mut().zip(fresh) {
            *place = octet.to_ascii_lowercase();
        }
        let length = begun + fresh.len();
        let Some(colon) = colon else {
            self.named = Some(length);
            return b"";
        };
        self.named = None;
        // Blanks before the colon are obsolete, and read.
        let name = self.name.get(..length).unwrap_or_default().trim_ascii_end();
        if name == b"received" {
            self.received += 1;
            if self.received > self.limits.received {
                breaks(Rule::MailLoop);
            }
        } else if ADDRESS_HEADERS.contains(&name) {
            // The first has no comma before it.
            self.addresses = Some(self.limits.addresses.saturating_sub(1));
            self.quoted = Quoted::No;
        }
        text.get(colon + 1..).unwrap_or_default()
    }

    /// Commas and semicolons outside of quoted strings.
    fn count_addresses(&mut self, value: &[u8], breaks: &mut impl FnMut(Rule)) {
        let mut left = self.addresses.unwrap_or_default();
        let mut rest = value;
        while let Some(octet) = rest.first() {
            self.quoted = match (self.quoted, octet) {
                (Quoted::Yes, b'\\') => Quoted::Escaped,
                (Quoted::No, b'"') | (Quoted::Escaped, _) => Quoted::Yes,
                (Quoted::Yes, b'"') => Quoted::No,
                (Quoted::No, b',' | b';') => {
                    match left.checked_sub(1) {
                        Some(fewer) => left = fewer,
                        None => breaks(Rule::TooManyAddresses),
                    }
                    Quoted::No
                }
                (quoted, _) => quoted,
            };
            rest = rest.get(1..).unwrap_or_default();
            let run = match self.quoted {
                Quoted::No => memchr::memchr3(b',', b';', b'"', rest),
                Quoted::Yes => memchr::memchr2(b'\\', b'"', rest),
                Quoted::Escaped => Some(0),
            };
            rest = rest.get(run.unwrap_or(rest.len())..).unwrap_or_default();
        }
        self.addresses = Some(left);
    }
}

/// No octet of a header but a tab and ESC may be one of these.
const fn is_forbidden(octet: u8) -> bool {
    (octet < b' ' && octet != b'\t' && octet != ESCAPE) || octet == 0x7f
}

/// Raw ISO-2022-JP, as some Japanese mail still has it in its Subject, switches its alphabets by ESC.
const ESCAPE: u8 = 0x1b;

/// Where in a UTF-8 sequence we are.
#[derive(Debug, Clone, Copy, Default)]
struct Utf8 {
    /// Continuation octets still to come.
    missing: u8,
    /// Lowest and highest of the next one (Unicode 15 table 3-7).
    low: u8,
    high: u8,
}

impl Utf8 {
    /// Whether more octets must come.
    fn is_within(self) -> bool {
        self.missing > 0
    }

    /// Whether it still is UTF-8 with this octet.
    fn next(&mut self, octet: u8) -> bool {
        if self.missing > 0 {
            let fits = (self.low..=self.high).contains(&octet);
            (self.low, self.high) = (0x80, 0xbf);
            self.missing = if fits { self.missing - 1 } else { 0 };
            return fits;
        }
        (self.missing, self.low, self.high) = match octet {
            0x00..=0x7f => (0, 0x80, 0xbf),
            0xc2..=0xdf => (1, 0x80, 0xbf),
            0xe0 => (2, 0xa0, 0xbf),
            0xed => (2, 0x80, 0x9f),
            0xe1..=0xef => (2, 0x80, 0xbf),
            0xf0 => (3, 0x90, 0xbf),
            0xf4 => (3, 0x80, 0x8f),
            0xf1..=0xf3 => (3, 0x80, 0xbf),
            _ => return false,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeaderLimits = HeaderLimits {
        block: 200,
        one: 100,
        count: 10,
        addresses: 5,
        received: 2,
    };

    fn broken(content: &[u8]) -> BTreeSet<&'static str> {
        let mut rules = BTreeSet::new();
        HeaderGuard::new(LIMITS).look(content, |rule| {
            rules.insert(rule.name());
        });
        rules
    }

    #[test]
    fn headers_beyond_their_limits_are_told() {
        let fold = format!("Subject: a\r\n {}\r\n\r\n", "b".repeat(100));
        assert_eq!(broken(fold.as_bytes()), BTreeSet::from(["header-too-long"]));
        let many = "A: b\r\n".repeat(11);
        assert_eq!(
            broken(many.as_bytes()),
            BTreeSet::from(["too-many-headers"])
        );
        let large = format!("A: {0}\r\nB: {0}\r\nC: {0}\r\n", "b".repeat(80));
        assert_eq!(
            broken(large.as_bytes()),
            BTreeSet::from(["headers-too-large"])
        );
        let circle = "received: x\r\n".repeat(3);
        assert_eq!(broken(circle.as_bytes()), BTreeSet::from(["mail-loop"]));
        for crowd in [
            "To: a,b,c,\r\n d,e,f\r\n",
            "resent-CC : a;b;c;d;e;f;\r\n",
            "From:,,,,,\r\n",
        ] {
            assert_eq!(
                broken(crowd.as_bytes()),
                BTreeSet::from(["too-many-addresses"]),
                "{crowd}"
            );
        }
    }

    #[test]
    fn octets_that_no_header_may_hold_are_told() {
        assert_eq!(
            broken(b"A: \x01\r\n"),
            BTreeSet::from(["control-in-header"])
        );
        assert_eq!(
            broken(b"A: gr\xfc\xdfe\r\n"),
            BTreeSet::from(["header-not-utf8"])
        );
        assert_eq!(
            broken(b"A: \xe2\x82\r\n"),
            BTreeSet::from(["header-not-utf8"])
        );
    }

    #[test]
    fn look_alikes_and_bodies_pass() {
        for content in [
            "Subject: gr\u{fc}\u{df}e\t\u{1f600}\r\n folded\r\n\r\n".as_bytes(),
            b"Subject: \x1b$B%F%9%H\x1b(B\r\n\r\n",
            b"Received: a\r\n Received: b\r\nX-Received: c\r\nReceived: d\r\n\r\n",
            b"To: \"a,b,c,d\\\",e\" <a@b>, c,\r\n d, e, f\r\nSubject: a,b,c,d,e,f,g\r\n\r\n",
            b"A: b\r\n\r\n\x01\xff\r\nReceived: a\r\nReceived: a\r\nReceived: a\r\n",
        ] {
            assert_eq!(broken(content), BTreeSet::new(), "{content:?}");
        }
    }

    proptest! {
        #[test]
        fn any_split_tells_the_same(
            pieces in proptest::collection::vec(proptest::sample::select(vec!["To", ":", ",", "\"", "\\", "\r\n", " ", "received:", "\u{e9}", "\u{1}", "x"]), 0..60),
            cut in 1_usize..9,
        ) {
            let mut content = pieces.concat().into_bytes();
            content.extend(b"\r\n");
            let mut rules = BTreeSet::new();
            let mut guard = HeaderGuard::new(LIMITS);
            for piece in content.chunks(cut) {
                guard.look(piece, |rule| { rules.insert(rule.name()); });
            }
            prop_assert_eq!(rules, broken(&content));
        }

        #[test]
        fn utf8_is_judged_as_the_standard_library_does(octets in proptest::collection::vec(any::<u8>(), 0..8)) {
            let mut content = b"A:".to_vec();
            content.extend(octets.iter().filter(|octet| !matches!(octet, b'\r' | b'\n')));
            content.extend(b"\r\n");
            let whole = std::str::from_utf8(&content).is_ok();
            prop_assert_eq!(!broken(&content).contains("header-not-utf8"), whole);
        }
    }
}
