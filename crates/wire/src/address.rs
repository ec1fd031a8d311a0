//! Addresses of the envelope (RFC 5321 section 4.1.2, RFC 6531 section 3.3).
//!
//! Entry: [`Path::parse`]. An address is kept in a form that can be sent on; `Debug` shows its domain only.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::rules::Rule;

/// Octets of a path with its brackets (RFC 5321 section 4.5.3.1.3).
pub(crate) const MAX_PATH: usize = 256;
const MAX_LOCAL_PART: usize = 64;
const MAX_DOMAIN: usize = 255;
const MAX_LABEL: usize = 63;

/// What stands after `MAIL FROM:` or `RCPT TO:`.
#[derive(Clone, PartialEq, Eq)]
pub enum Path {
    /// `<>`, the sender of bounces.
    Null,
    /// `<postmaster>` without a domain, in whatever case.
    Postmaster,
    /// An address.
    Mailbox(Mailbox),
}

/// Local part and domain.
#[derive(Clone, PartialEq, Eq)]
pub struct Mailbox {
    local: String,
    domain: Option<Domain>,
}

/// A domain or an address literal, as written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domain(String);

/// Why octets are no path: the rule they break.
pub type PathError = Rule;

/// A path, what of it only some policies take, and what is left of the line.
pub(crate) struct Parsed<'a> {
    pub(crate) path: Path,
    pub(crate) noticed: Vec<Rule>,
    pub(crate) rest: &'a [u8],
}

impl Path {
    /// Reads a path at the beginning of `line`; parameters may follow it after a space. Also returns the rules
    /// that it breaks without being unreadable, and the octets that are left.
    pub fn parse(line: &[u8]) -> Result<(Self, Vec<Rule>, &[u8]), PathError> {
        parse(line).map(|parsed| (parsed.path, parsed.noticed, parsed.rest))
    }

    /// Its octets with the brackets, to be sent on.
    pub fn to_wire(&self) -> String {
        match self {
            Self::Null => "<>".to_owned(),
            Self::Postmaster => "<postmaster>".to_owned(),
            Self::Mailbox(mailbox) => format!("<{}>", mailbox.to_wire()),
        }
    }

    /// Whether it cannot be sent without SMTPUTF8.
    pub fn needs_utf8(&self) -> bool {
        matches!(self, Self::Mailbox(mailbox) if !mailbox.to_wire().is_ascii())
    }

    /// The domain, where there is one.
    pub fn domain(&self) -> Option<&str> {
        match self {
            Self::Null | Self::Postmaster => None,
            Self::Mailbox(mailbox) => mailbox.domain.as_ref().map(|domain| domain.0.as_str()),
        }
    }
}

impl Mailbox {
    /// Local part, `@`, domain.
    pub fn to_wire(&self) -> String {
        match &self.domain {
            Some(domain) => format!("{}@{}", self.local, domain.0),
            None => self.local.clone(),
        }
    }

    /// The local part as written, with quotes where it had them.
    pub fn local_part(&self) -> &str {
        &self.local
    }
}

impl Domain {
    /// A host name of letters, digits, hyphens, underscores and dots, UTF-8 letters included, or an address
    /// literal.
    pub fn parse(octets: &[u8]) -> Result<Self, Rule> {
        let text = std::str::from_utf8(octets)
            .ok()
            .ok_or(Rule::NotAsciiEnvelope)?;
        if text.len() > MAX_DOMAIN {
            return Err(Rule::DomainTooLong);
        }
        let whole = if text.starts_with('[') {
            is_address_literal(text)
        } else {
            is_host_name(text)?
        };
        if whole {
            Ok(Self(text.to_owned()))
        } else {
            Err(Rule::AddressSyntax)
        }
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Postmaster => f.write_str("<postmaster>"),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = self.domain.as_ref().map_or("", Domain::as_str);
        write!(f, "<...@{domain}>")
    }
}

/// See [`Path::parse`].
pub(crate) fn parse(line: &[u8]) -> Result<Parsed<'_>, Rule> {
    let mut noticed = Vec::new();
    let (inner, rest) = if let Some(after) = line.strip_prefix(b"<") {
        let end = end_of_path(after).ok_or(Rule::AddressSyntax)?;
        let (inner, rest) = after.split_at(end);
        (inner, rest.strip_prefix(b">").unwrap_or(rest))
    } else {
        let end = memchr::memchr(b' ', line).unwrap_or(line.len());
        noticed.push(Rule::AddressWithoutBrackets);
        let (inner, rest) = line.split_at(end);
        if inner.is_empty() {
            return Err(Rule::AddressSyntax);
        }
        (inner, rest)
    };
    // With its brackets.
    if inner.len() + 2 > MAX_PATH {
        return Err(Rule::PathTooLong);
    }
    if !rest.is_empty() && !rest.starts_with(b" ") {
        return Err(Rule::AddressSyntax);
    }
    let inner = match inner.strip_prefix(b"@") {
        Some(route) => {
            noticed.push(Rule::SourceRoute);
            after_route(route).ok_or(Rule::AddressSyntax)?
        }
        None => inner,
    };
    let path = if inner.is_empty() && noticed.is_empty() {
        Path::Null
    } else if inner.eq_ignore_ascii_case(b"postmaster") {
        Path::Postmaster
    } else {
        Path::Mailbox(mailbox(inner, &mut noticed)?)
    };
    Ok(Parsed {
        path,
        noticed,
        rest,
    })
}

/// Where the `>` is that ends a path: one that is not quoted.
fn end_of_path(octets: &[u8]) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, octet) in octets.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// What follows the colon of `a,@b:`; the domains of the route must be domains.
fn after_route(route: &[u8]) -> Option<&[u8]> {
    let colon = memchr::memchr(b':', route)?;
    let (domains, mailbox) = route.split_at_checked(colon)?;
    for (nth, domain) in domains.split(|octet| *octet == b',').enumerate() {
        let domain = match nth {
            0 => domain,
            _ => domain.strip_prefix(b"@")?,
        };
        Domain::parse(domain).ok()?;
    }
    mailbox.strip_prefix(b":").filter(|rest| !rest.is_empty())
}

fn mailbox(octets: &[u8], noticed: &mut Vec<Rule>) -> Result<Mailbox, Rule> {
    let text = std::str::from_utf8(octets)
        .ok()
        .ok_or(Rule::NotAsciiEnvelope)?;
    let (local, after) = if text.starts_with('"') {
        quoted_local_part(text).ok_or(Rule::AddressSyntax)?
    } else {
        let end = text.find('@').unwrap_or(text.len());
        let (local, after) = text.split_at_checked(end).ok_or(Rule::AddressSyntax)?;
        if !dot_string(local, noticed) {
            return Err(Rule::AddressSyntax);
        }
        (local, after)
    };
    if local.len() > MAX_LOCAL_PART {
        noticed.push(Rule::LocalPartTooLong);
    }
    let domain = match after.strip_prefix('@') {
        Some(domain) => Some(Domain::parse(domain.as_bytes())?),
        // A quoted local part alone was how commands were smuggled into OpenSMTPD (CVE-2020-7247).
        None if after.is_empty() && !local.starts_with('"') => {
            noticed.push(Rule::AddressWithoutDomain);
            None
        }
        None => return Err(Rule::AddressSyntax),
    };
    Ok(Mailbox {
        local: local.to_owned(),
        domain,
    })
}

/// RFC 5321 `Dot-string`, with dots too many noticed. One at the beginning is never taken (CVE-2003-0540).
fn dot_string(local: &str, noticed: &mut Vec<Rule>) -> bool {
    if local.is_empty() || local.starts_with('.') {
        return false;
    }
    if local.ends_with('.') || local.contains("..") {
        noticed.push(Rule::AddressDots);
    }
    local.chars().all(|c| c == '.' || is_atext(c))
}

/// RFC 5322 `atext` and RFC 6531 `UTF8-non-ascii`, without the C1 controls.
fn is_atext(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
    } else {
        !c.is_control()
    }
}

/// RFC 5321 `Quoted-string`, not empty (CVE-2020-10967), and what follows it.
fn quoted_local_part(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if c.is_control() => return None,
            _ if escaped => {
                if !c.is_ascii() {
                    return None;
                }
                escaped = false;
            }
            '\\' => escaped = true,
            '"' if at == 1 => return None,
            '"' => return text.split_at_checked(at + 1),
            _ => {}
        }
    }
    None
}

fn is_host_name(text: &str) -> Result<bool, Rule> {
    if text.split('.').any(|label| label.len() > MAX_LABEL) {
        return Err(Rule::DomainTooLong);
    }
    let is_letter =
        |c: char| c.is_ascii_alphanumeric() || c == '_' || (!c.is_ascii() && !c.is_control());
    let is_label = |label: &str| {
        label.starts_with(is_letter)
            && label.ends_with(is_letter)
            && label.chars().all(|c| c == '-' || is_letter(c))
    };
    Ok(text.split('.').all(is_label))
}

fn is_address_literal(text: &str) -> bool {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    inner.is_some_and(|inner| match inner.split_once(':') {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6") => {
            address.parse::<Ipv6Addr>().is_ok()
        }
        Some(_) => false,
        None => inner.parse::<Ipv4Addr>().is_ok(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(line: &str, expected: &str) {
        let got = match parse(line.as_bytes()) {
            Ok(parsed) => {
                let mut text = parsed.path.to_wire();
                for rule in parsed.noticed {
                    text.push(' ');
                    text.push_str(rule.name());
                }
                text
            }
            Err(rule) => format!("! {}", rule.name()),
        };
        assert_eq!(got, expected, "{line}");
    }

    #[test]
    fn ordinary_addresses_are_taken() {
        for line in [
            "<>",
            "<a@example.org>",
            "<o'brien@example.org>",
            "<a+b=c#d$e%f&g*h/i?j^k_l{m}n~@example.org>",
            "<\"john smith\"@example.org>",
            "<\"a\\\"b\"@example.org>",
            "<\"a>b\"@example.org>",
            "<a@[192.0.2.1]>",
            "<a@[IPv6:2001:db8::1]>",
            "<a@xn--bcher-kva.example>",
            "<bounces+1234-me=example.org@mta_7.example.com>",
            "<grüße@bücher.example>",
        ] {
            check(line, line);
        }
        check("<PostMaster>", "<postmaster>");
    }

    #[test]
    fn what_only_some_policies_take_is_noticed() {
        check(
            "a@example.org SIZE=3",
            "<a@example.org> address-without-brackets",
        );
        check("<root>", "<root> address-without-domain");
        check("<a..b.@example.org>", "<a..b.@example.org> address-dots");
        check(
            "<@a.example,@b.example:c@d.example>",
            "<c@d.example> source-route",
        );
        let long = format!("<{}@example.org>", "a".repeat(65));
        check(&long, &format!("{long} local-part-too-long"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for line in [
            "",
            " ",
            "<",
            "<a@b",
            "<@>",
            "<a@>",
            "<@b>",
            "<a b@example.org>",
            "<a@b c>",
            "<a@b>x",
            "<a@@b>",
            "<.!@example.org>",
            "<\"\"@example.org>",
            "<\";id;\">",
            "<;id;>",
            "<a@example..org>",
            "<a@-b>",
            "<a@[1.2.3]>",
            "<a@[x-ip:3]>",
            "<a@[1.2.3.4:25]!b>",
            "<a<b@example.org>",
            "<a@example.org.>",
            "<@a,b:c@d>",
            "<a\u{7f}@b>",
            "<a\u{85}@b>",
            "<<a@b>>",
            "<a(b)@c>",
            "<a,b@c>",
        ] {
            check(line, "! address-syntax");
        }
        check(&format!("<{}@b>", "a".repeat(260)), "! path-too-long");
        check(&format!("<a@{}.b>", "c".repeat(64)), "! domain-too-long");
        assert_eq!(
            parse(b"<\xff@example.org>").err(),
            Some(Rule::NotAsciiEnvelope)
        );
    }

    #[test]
    fn an_address_does_not_show_its_local_part_by_accident() {
        let (path, _, _) = Path::parse(b"<secret@example.org>").unwrap();
        assert_eq!(format!("{path:?}"), "<...@example.org>");
    }

    proptest! {
        #[test]
        fn what_was_taken_is_taken_again_and_equal(line in r#"<[a-z.@"\\ \[\]:,0-9é-]{0,20}>"#) {
            if let Ok(parsed) = parse(line.as_bytes()) {
                let wire = parsed.path.to_wire();
                let again = parse(wire.as_bytes()).map(|again| again.path);
                prop_assert_eq!(again, Ok(parsed.path));
            }
        }

        #[test]
        fn any_octets_are_survived(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(parse(&line));
        }
    }
}
