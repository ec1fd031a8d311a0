//! Line ends that readers disagree on.

/// What is seen of line ends in a message.
#[derive(Default)]
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
        let mut shape = Self {
            nul: memchr::memchr(0, octets).is_some(),
            ..Self::default()
        };
        let mut feeds = 0_usize;
        let mut pairs = 0_usize;
        for at in memchr::memchr_iter(b'\n', octets) {
            feeds += 1;
            if at > 0 && octets.get(at - 1) == Some(&b'\r') {
                pairs += 1;
            }
        }
        let returns = memchr::memchr_iter(b'\r', octets).count();
        shape.crlf = pairs > 0;
        shape.bare_lf = feeds > pairs;
        shape.bare_cr = returns > pairs;
        shape
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
