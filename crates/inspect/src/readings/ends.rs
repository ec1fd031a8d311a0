//! Line ends that readers disagree on.

/// What is seen of line ends in a message.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each may be so whatever the others are"
)]
pub(super) struct Shape {
    pub(super) bare_cr: bool,
    pub(super) bare_lf: bool,
    pub(super) crlf: bool,
    pub(super) nul: bool,
}

impl Shape {
    /// Looks through a message once.
    pub(super) fn of(octets: &[u8]) -> Self {
        let Ends {
            feeds,
            returns,
            pairs,
        } = Ends::of(octets);
        Self {
            bare_cr: returns > pairs,
            bare_lf: feeds > pairs,
            crlf: pairs > 0,
            nul: memchr::memchr(0, octets).is_some(),
        }
    }
}

/// How often each end of a line stands in a message.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ends {
    feeds: usize,
    returns: usize,
    /// Line feeds that follow a carriage return.
    pairs: usize,
}

/// Octets whose ends of lines fit one octet, and that compilers take many at a time.
const PIECE: usize = 224;

impl Ends {
    fn of(octets: &[u8]) -> Self {
        let mut all = Self::default();
        let next = octets.get(1..).unwrap_or_default();
        let (pieces, _) = octets.as_chunks::<PIECE>();
        let (nexts, rest) = next.as_chunks::<PIECE>();
        for (piece, next) in pieces.iter().zip(nexts) {
            all.count(piece, next);
        }
        let last = octets.get(next.len() - rest.len()..);
        all.count(last.unwrap_or_default(), rest);
        // Each was looked at as one of two neighbours.
        all.feeds += usize::from(octets.first() == Some(&b'\n'));
        all.returns += usize::from(octets.last() == Some(&b'\r'));
        all
    }

    /// Counts in octets that have neighbours, of which there are no more than [`PIECE`].
    #[inline]
    fn count(&mut self, octets: &[u8], next: &[u8]) {
        let (mut feeds, mut returns, mut pairs) = (0_u8, 0_u8, 0_u8);
        for (one, next) in octets.iter().zip(next) {
            let back = u8::from(*one == b'\r');
            let feed = u8::from(*next == b'\n');
            returns += back;
            feeds += feed;
            pairs += back & feed;
        }
        self.returns += usize::from(returns);
        self.feeds += usize::from(feeds);
        self.pairs += usize::from(pairs);
    }
}

/// With a line feed behind each carriage return.
pub(super) fn carriage_returns_as_ends(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() + 64);
    let mut rest = octets.iter().copied().peekable();
    while let Some(octet) = rest.next() {
        out.push(octet);
        if octet == b'\r' && rest.peek() != Some(&b'\n') {
            out.push(b'\n');
        }
    }
    out
}

/// With a blank for each line feed that no carriage return precedes.
pub(super) fn line_feeds_as_blanks(octets: &[u8]) -> Vec<u8> {
    let mut before = 0;
    octets
        .iter()
        .map(|octet| {
            let seen = if *octet == b'\n' && before != b'\r' {
                b' '
            } else {
                *octet
            };
            before = *octet;
            seen
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_end_of_a_line_is_counted(text in "([a\r\n]{0,3}|[a-f]{200,300}){0,8}") {
            let octets = text.as_bytes();
            let count = |end: &str| text.matches(end).count();
            let seen = Ends { feeds: count("\n"), returns: count("\r"), pairs: count("\r\n") };
            prop_assert_eq!(Ends::of(octets), seen);
        }
    }
}
