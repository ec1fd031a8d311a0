//! Extensions that are offered in the answer to EHLO.
//!
//! Entry: [`Offer`]. Only extensions that are understood here are read from a server or shown to a client.

use std::fmt::Write as _;

use crate::auth::{Mechanism, Mechanisms};
use crate::reply::ServerReply;

/// What a server offers, of what is understood here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an extension of its own, and any may stand with any"
)]
pub struct Offer {
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// AUTH (RFC 4954), and the mechanisms that are known here.
    pub auth: Mechanisms,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced: bool,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870) in octets; zero is no limit.
    pub size: Option<u64>,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// SMTPUTF8 (RFC 6531).
    pub utf8: bool,
    /// XCLIENT, and the attributes it takes.
    pub xclient: Vec<String>,
}

impl Offer {
    /// Everything that is understood, for tests.
    #[cfg(test)]
    pub(crate) fn everything() -> Self {
        Self {
            eight_bit: true,
            auth: Mechanism::ALL.iter().copied().collect(),
            dsn: true,
            enhanced: true,
            pipelining: true,
            size: Some(0),
            starttls: true,
            utf8: true,
            xclient: Vec::new(),
        }
    }

    /// Reads the answer to EHLO: the first line is the greeting, each other one a keyword.
    pub fn read(reply: &ServerReply) -> Self {
        let mut offer = Self::default();
        for line in reply.lines().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "8BITMIME" => offer.eight_bit = true,
                "AUTH" => offer.auth = words.filter_map(Mechanism::named).collect(),
                "DSN" => offer.dsn = true,
                "ENHANCEDSTATUSCODES" => offer.enhanced = true,
                "PIPELINING" => offer.pipelining = true,
                "SIZE" => {
                    let limit = words.next().map_or(Some(0), |word| word.parse().ok());
                    offer.size = limit.or(Some(0));
                }
                "STARTTLS" => offer.starttls = true,
                "SMTPUTF8" => offer.utf8 = true,
                "XCLIENT" => {
                    offer.xclient = words.map(str::to_ascii_uppercase).collect();
                }
                _ => {}
            }
        }
        offer
    }

    /// What both offer. SIZE is the smaller limit.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            eight_bit: self.eight_bit && other.eight_bit,
            auth: self.auth.and(other.auth),
            dsn: self.dsn && other.dsn,
            enhanced: self.enhanced && other.enhanced,
            pipelining: self.pipelining && other.pipelining,
            size: self.size.zip(other.size).map(|sizes| match sizes {
                (0, limit) | (limit, 0) => limit,
                (ours, theirs) => ours.min(theirs),
            }),
            starttls: self.starttls && other.starttls,
            utf8: self.utf8 && other.utf8,
            xclient: Vec::new(),
        }
    }

    /// The lines of an answer to EHLO behind its first; XCLIENT is never among them.
    pub fn keywords(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (offered, keyword) in [
            (self.pipelining, "PIPELINING"),
            (self.eight_bit, "8BITMIME"),
            (self.utf8, "SMTPUTF8"),
            (self.dsn, "DSN"),
            (self.enhanced, "ENHANCEDSTATUSCODES"),
            (self.starttls, "STARTTLS"),
        ] {
            if offered {
                lines.push(keyword.to_owned());
            }
        }
        if let Some(size) = self.size {
            let mut line = "SIZE".to_owned();
            if size > 0 {
                write!(line, " {size}").ok();
            }
            lines.push(line);
        }
        if !self.auth.is_empty() {
            let mut line = "AUTH".to_owned();
            for mechanism in self.auth.iter() {
                write!(line, " {}", mechanism.name()).ok();
            }
            lines.push(line);
        }
        lines
    }

    /// The longest command line of MAIL: 512 octets and what each extension on offer adds.
    pub fn longest_mail(&self) -> usize {
        let added = [
            (self.size.is_some(), 26),
            (self.eight_bit, 17),
            (self.utf8, 10),
            // RET=HDRS and ENVID= of 100 octets encoded threefold at most.
            (self.dsn, 138),
            (!self.auth.is_empty(), 500),
        ];
        512 + added
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, more)| more)
            .sum::<usize>()
    }

    /// The longest command line of RCPT.
    pub fn longest_recipient(&self) -> usize {
        512 + if self.dsn { 528 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::ReplyReader;

    fn read(text: &str) -> Offer {
        let mut reader = ReplyReader::default();
        reader.feed(text.as_bytes());
        Offer::read(&reader.next_reply().unwrap().unwrap())
    }

    #[test]
    fn only_what_is_understood_goes_on() {
        let offer = read(
            "250-mx\r\n250-PIPELINING\r\n250-size 1000\r\n250-ETRN\r\n250-CHUNKING\r\n250-XEXCH50\r\n\
             250-XCLIENT NAME ADDR\r\n250-AUTH NTLM plain GSSAPI SCRAM-SHA-256-PLUS\r\n250 DSN\r\n",
        );
        assert_eq!(
            offer.keywords(),
            ["PIPELINING", "DSN", "SIZE 1000", "AUTH PLAIN"]
        );
        assert_eq!(offer.xclient, ["NAME", "ADDR"]);
    }

    #[test]
    fn the_smaller_limit_counts_and_zero_is_none() {
        let sizes = |ours, theirs| {
            let of = |size| Offer {
                size,
                ..Offer::default()
            };
            of(ours).and(&of(theirs)).size
        };
        assert_eq!(sizes(Some(10), Some(0)), Some(10));
        assert_eq!(sizes(Some(10), Some(7)), Some(7));
        assert_eq!(sizes(Some(10), None), None);
    }
}
