//! SPF records as text (RFC 7208 sections 4.6, 5, 6 and 7). Entry: [`Record::parse`].
//!
//! Strict: a record with any mistake is an error as a whole, as the standard has it. A lenient reader lets `ip4:1.2.3.4/33`
//! match, and with it mail that the domain's owner never meant to allow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Terms of one record that are read; those of RFC 7208 that cost something are ten.
const MOST_TERMS: usize = 500;

/// A record, understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Record {
    pub(super) directives: Vec<Directive>,
    pub(super) redirect: Option<Template>,
}

/// A mechanism, and what it says where it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) qualifier: Qualifier,
    pub(super) mechanism: Mechanism,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Qualifier {
    Fail,
    Neutral,
    Pass,
    SoftFail,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// Addresses of a name.
    A(Option<Template>, Cidr),
    All,
    Exists(Template),
    Include(Template),
    /// A network.
    Ip(IpAddr, u8),
    Mx(Option<Template>, Cidr),
    Ptr(Option<Template>),
}

/// How many leading bits of an address count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cidr {
    v4: u8,
    v6: u8,
}

impl Cidr {
    /// Whether both lie in one network of that size.
    pub(super) fn joins(self, one: IpAddr, other: IpAddr) -> bool {
        match (one, other) {
            (IpAddr::V4(_), IpAddr::V4(_)) => same_network(one, other, self.v4),
            (IpAddr::V6(_), IpAddr::V6(_)) => same_network(one, other, self.v6),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Whether the leading bits of two addresses of one kind are the same.
pub(super) fn same_network(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (one.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(bits)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            (one.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(bits)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// A domain with macros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(pub(super) Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Macro {
        letter: char,
        /// Written as in a URL.
        escaped: bool,
        /// How many parts from the right; none: all.
        parts: Option<usize>,
        reversed: bool,
        delimiters: String,
    },
}

/// The record is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrong;

impl Record {
    /// Whether a TXT record is one of SPF at all (section 4.5).
    pub(super) fn is_one(text: &[u8]) -> bool {
        let Some((version, rest)) = text.split_at_checked(6) else {
            return false;
        };
        version.eq_ignore_ascii_case(b"v=spf1") && matches!(rest.first(), None | Some(b' '))
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, Wrong> {
        let text = std::str::from_utf8(text)
            .ok()
            .filter(|text| text.is_ascii());
        let (_, terms) = text.ok_or(Wrong)?.split_at_checked(6).ok_or(Wrong)?;
        let mut record = Self::default();
        let mut explained = false;
        for (nth, term) in terms.split(' ').filter(|term| !term.is_empty()).enumerate() {
            if nth >= MOST_TERMS {
                return Err(Wrong);
            }
            let mark = term.find([':', '/', '=']);
            let modifier =
                mark.filter(|at| term.get(*at..).is_some_and(|rest| rest.starts_with('=')));
            if let Some(at) = modifier {
                let (name, value) = term.split_at_checked(at).ok_or(Wrong)?;
                let value = value.get(1..).ok_or(Wrong)?;
                match name.to_ascii_lowercase().as_str() {
                    "redirect" if record.redirect.is_none() => {
                        record.redirect = Some(Template::domain(value)?);
                    }
                    "exp" if !explained => {
                        Template::domain(value)?;
                        explained = true;
                    }
                    "redirect" | "exp" => return Err(Wrong),
                    name => {
                        check_name(name)?;
                        Template::read(value, true)?;
                    }
                }
            } else {
                record.directives.push(directive(term)?);
            }
        }
        Ok(record)
    }
}

/// `name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." )`
fn check_name(name: &str) -> Result<(), Wrong> {
    let mut letters = name.bytes();
    let first = letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic());
    let rest = letters.all(|one| one.is_ascii_alphanumeric() || matches!(one, b'-' | b'_' | b'.'));
    if first && rest { Ok(()) } else { Err(Wrong) }
}

fn directive(term: &str) -> Result<Directive, Wrong> {
    let (qualifier, term) = match term.split_at_checked(1) {
        Some(("+", rest)) => (Qualifier::Pass, rest),
        Some(("-", rest)) => (Qualifier::Fail, rest),
        Some(("~", rest)) => (Qualifier::SoftFail, rest),
        Some(("?", rest)) => (Qualifier::Neutral, rest),
        _ => (Qualifier::Pass, term),
    };
    let end = term.find([':', '/']).unwrap_or(term.len());
    let (name, rest) = term.split_at_checked(end).ok_or(Wrong)?;
    let argument = rest.strip_prefix(':');
    let mechanism = match (name.to_ascii_lowercase().as_str(), argument) {
        ("all", None) if rest.is_empty() => Mechanism::All,
        ("include", Some(domain)) => Mechanism::Include(Template::domain(domain)?),
        ("exists", Some(domain)) => Mechanism::Exists(Template::domain(domain)?),
        ("ptr", None) if rest.is_empty() => Mechanism::Ptr(None),
        ("ptr", Some(domain)) => Mechanism::Ptr(Some(Template::domain(domain)?)),
        ("a", _) => {
            let (domain, cidr) = target(rest)?;
            Mechanism::A(domain, cidr)
        }
        ("mx", _) => {
            let (domain, cidr) = target(rest)?;
            Mechanism::Mx(domain, cidr)
        }
        ("ip4", Some(network)) => {
            let (address, bits) = network.split_once('/').unwrap_or((network, "32"));
            let address: Ipv4Addr = address.parse().ok().ok_or(Wrong)?;
            Mechanism::Ip(address.into(), number(bits, 32)?)
        }
        ("ip6", Some(network)) => {
            let (address, bits) = network.split_once('/').unwrap_or((network, "128"));
            let address: Ipv6Addr = address.parse().ok().ok_or(Wrong)?;
            Mechanism::Ip(address.into(), number(bits, 128)?)
        }
        _ => return Err(Wrong),
    };
    Ok(Directive {
        qualifier,
        mechanism,
    })
}

/// `[ ":" domain-spec ] [ dual-cidr-length ]`
fn target(text: &str) -> Result<(Option<Template>, Cidr), Wrong> {
    let mut cidr = Cidr { v4: 32, v6: 128 };
    let mut rest = text;
    if let Some((before, bits)) = rest.rsplit_once("//")
        && is_digits(bits)
    {
        cidr.v6 = number(bits, 128)?;
        rest = before;
    }
    if let Some((before, bits)) = rest.rsplit_once('/')
        && is_digits(bits)
    {
        cidr.v4 = number(bits, 32)?;
        rest = before;
    }
    match rest.strip_prefix(':') {
        Some(domain) => Ok((Some(Template::domain(domain)?), cidr)),
        None if rest.is_empty() => Ok((None, cidr)),
        None => Err(Wrong),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|one| one.is_ascii_digit())
}

/// A length without a leading zero.
fn number(text: &str, most: u8) -> Result<u8, Wrong> {
    if !is_digits(text) || (text.len() > 1 && text.starts_with('0')) {
        return Err(Wrong);
    }
    let number: u8 = text.parse().ok().ok_or(Wrong)?;
    if number > most {
        return Err(Wrong);
    }
    Ok(number)
}

impl Template {
    /// `domain-spec`: ends with a macro, or with a dot and a label that may stand at the top.
    fn domain(text: &str) -> Result<Self, Wrong> {
        let template = Self::read(text, false)?;
        let ends_well = match template.0.last() {
            Some(Piece::Macro { .. }) => true,
            // `%%`, `%_` and `%-` are macros to the grammar.
            Some(Piece::Text(_)) if ["%%", "%_", "%-"].iter().any(|end| text.ends_with(end)) => {
                true
            }
            Some(Piece::Text(last)) => {
                let last = last.strip_suffix('.').unwrap_or(last);
                let label = last.rsplit_once('.').map(|(_, label)| label);
                label.is_some_and(is_top_label)
            }
            None => false,
        };
        if ends_well { Ok(template) } else { Err(Wrong) }
    }

    /// `macro-string`; some letters only stand in explanations and in modifiers nobody knows.
    fn read(text: &str, explains: bool) -> Result<Self, Wrong> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                '%' => match rest.next() {
                    Some('%') => plain.push('%'),
                    Some('_') => plain.push(' '),
                    Some('-') => plain.push_str("%20"),
                    Some('{') => {
                        let (inside, after) = rest.as_str().split_once('}').ok_or(Wrong)?;
                        if !plain.is_empty() {
                            pieces.push(Piece::Text(std::mem::take(&mut plain)));
                        }
                        pieces.push(expansion(inside, explains)?);
                        rest = after.chars();
                    }
                    _ => return Err(Wrong),
                },
                '!'..='~' => plain.push(c),
                _ => return Err(Wrong),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }
}

/// What stands between the braces of a macro.
fn expansion(inside: &str, explains: bool) -> Result<Piece, Wrong> {
    let mut rest = inside.chars();
    let first = rest.next().ok_or(Wrong)?;
    let letter = first.to_ascii_lowercase();
    let known = "slodiphv".contains(letter) || (explains && "crt".contains(letter));
    if !known {
        return Err(Wrong);
    }
    let rest = rest.as_str();
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (digits, rest) = rest.split_at_checked(digits).ok_or(Wrong)?;
    let parts = match digits {
        "" => None,
        // More parts than any name has are all of them.
        digits => Some(digits.parse::<usize>().unwrap_or(usize::MAX)),
    };
    if parts == Some(0) {
        return Err(Wrong);
    }
    let (reversed, delimiters) = match rest.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if !delimiters.chars().all(|c| ".-+,/_=".contains(c)) {
        return Err(Wrong);
    }
    Ok(Piece::Macro {
        letter,
        escaped: first.is_ascii_uppercase(),
        parts,
        reversed,
        delimiters: if delimiters.is_empty() {
            ".".to_owned()
        } else {
            delimiters.to_owned()
        },
    })
}

/// `toplabel`: letters, digits and hyphens within, and not digits alone.
fn is_top_label(label: &str) -> bool {
    let within = label
        .bytes()
        .all(|one| one.is_ascii_alphanumeric() || one == b'-');
    let digits = label.bytes().all(|one| one.is_ascii_digit());
    !label.is_empty() && within && !digits && !label.starts_with('-') && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_mistake_spoils_a_record() {
        for good in [
            "v=spf1",
            "V=SPF1 -all",
            "v=spf1  a/24//64 mx:%{d2}/24 ip6:::1/0 ?all ",
            "v=spf1 exists:%{ir}.%{v}._spf.example.org unknown=%{c} redirect=_spf.example.org.",
        ] {
            assert!(Record::is_one(good.as_bytes()), "{good}");
            assert!(Record::parse(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "v=spf1 ip4:1.2.3.4/33",
            "v=spf1 ip4:1.2.3.4/032",
            "v=spf1 a:example.org/",
            "v=spf1 a:111.222",
            "v=spf1 include",
            "v=spf1 all:x.org",
            "v=spf1 exp=a.org exp=b.org",
            "v=spf1 exists:%{c}.org",
            "v=spf1 a:%{d0}.org",
            "v=spf1 -all\tptr",
            "v=spf1 =x",
            "v=spf1 \u{e9}",
        ] {
            assert_eq!(Record::parse(bad.as_bytes()), Err(Wrong), "{bad}");
        }
        assert!(!Record::is_one(b"v=spf10 -all"));
    }

    proptest! {
        #[test]
        fn any_octets_are_survived(tail in proptest::collection::vec(
            prop_oneof![Just(b' '), Just(b'%'), Just(b'{'), Just(b'}'), Just(b'/'), Just(b':'), any::<u8>()], 0..80)) {
            let mut text = b"v=spf1 a".to_vec();
            text.extend(tail);
            let parsed = Record::parse(&text);
            prop_assert!(parsed.is_ok() || parsed == Err(Wrong));
        }
    }
}
