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
        let feeds = memchr::memchr_iter(b'\n', octets).count();
        let returns = memchr::memchr_iter(b'\r', octets).count();
        let pairs = pairs(octets);
        Self {
            bare_cr: returns > pairs,
            bare_lf: feeds > pairs,
            crlf: pairs > 0,
            nul: memchr::memchr(0, octets).is_some(),
        }
    }
}

/// How often a line feed follows a carriage return. In pieces whose number fits an octet, which compilers make quick.
fn pairs(octets: &[u8]) -> usize {
    let next = octets.get(1..).unwrap_or_default();
    let pieces = octets.chunks(255).zip(next.chunks(255));
    pieces
        .map(|(piece, next)| {
            let both = piece.iter().zip(next);
            let ends = both.map(|(one, other)| u8::from(*one == b'\r') & u8::from(*other == b'\n'));
            usize::from(ends.sum::<u8>())
        })
        .sum()
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
