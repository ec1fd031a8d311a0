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
    /// Received headers; more, and the message goes in circles.
    pub received: usize,
}

impl Default for HeaderLimits {
    fn default() -> Self {
        Self {
            block: 256 << 10,
            one: 64 << 10,
            count: 1000,
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
    /// Where in its line the next octet stands.
    column: usize,
    /// How many octets of this line are those of `received:`.
    matched: usize,
    utf8: Utf8,
    done: bool,
}

const RECEIVED: &[u8] = b"received:";

impl HeaderGuard {
    /// A guard for one message.
    pub fn new(limits: HeaderLimits) -> Self {
        Self {
            limits,
            block: 0,
            one: 0,
            count: 0,
            received: 0,
            column: 0,
            matched: 0,
            utf8: Utf8::default(),
            done: false,
        }
    }

    /// Looks at the next piece of clean content, and tells each rule that it breaks.
    pub fn look(&mut self, content: &[u8], mut breaks: impl FnMut(Rule)) {
        for octet in content {
            if self.done {
                return;
            }
            self.octet(*octet, &mut breaks);
        }
    }

    fn octet(&mut self, octet: u8, breaks: &mut impl FnMut(Rule)) {
        match octet {
            b'\r' => {}
            b'\n' => {
                self.done = self.column == 0;
                self.column = 0;
            }
            _ => {
                if self.column == 0 {
                    self.begin_line(octet, breaks);
                }
                if self.matched == self.column
                    && RECEIVED.get(self.column) == Some(&octet.to_ascii_lowercase())
                {
                    self.matched += 1;
                    if self.matched == RECEIVED.len() {
                        self.received += 1;
                        if self.received > self.limits.received {
                            breaks(Rule::MailLoop);
                        }
                    }
                }
                self.column += 1;
                if (octet < b' ' && octet != b'\t' && octet != ESCAPE) || octet == 0x7f {
                    breaks(Rule::ControlInHeader);
                }
            }
        }
        if !self.utf8.next(octet) {
            breaks(Rule::HeaderNotUtf8);
        }
        self.block += 1;
        self.one += 1;
        if self.block > self.limits.block {
            breaks(Rule::HeadersTooLarge);
        }
        if self.one > self.limits.one {
            breaks(Rule::HeaderTooLong);
        }
    }

    fn begin_line(&mut self, octet: u8, breaks: &mut impl FnMut(Rule)) {
        if octet == b' ' || octet == b'\t' {
            self.matched = usize::MAX;
            return;
        }
        self.matched = 0;
        self.one = 0;
        self.count += 1;
        if self.count > self.limits.count {
            breaks(Rule::TooManyHeaders);
        }
    }
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

    fn broken(content: &[u8]) -> BTreeSet<&'static str> {
        let mut rules = BTreeSet::new();
        let limits = HeaderLimits {
            block: 200,
            one: 100,
            count: 10,
            received: 2,
        };
        HeaderGuard::new(limits).look(content, |rule| {
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
            b"A: b\r\n\r\n\x01\xff\r\nReceived: a\r\nReceived: a\r\nReceived: a\r\n",
        ] {
            assert_eq!(broken(content), BTreeSet::new(), "{content:?}");
        }
    }

    proptest! {
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
