//! Who a header says that a message is from, as lenient readers read addresses (RFC 5322 sections 3.4 and 4.4).
//!
//! Entry: [`mailboxes`]. A message shows its reader one of the addresses in From, and is held to the domain of another
//! where two programs read it differently: what can be read in more than one way is said to be so, and every address is told.
//! mail-parser, which others are read by, gives one reading, and makes one address of two that no comma parts.

use crate::octets::{find, rest, some};
use crate::readings::{decoded, word_length};

/// One mailbox in a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mailbox {
    /// The name that it shows, decoded (RFC 2047).
    pub name: String,
    /// Comments beside it.
    pub comment: String,
    /// The name of the group that it is in.
    pub group: String,
    /// Without blanks and comments; empty where there is none.
    pub address: String,
}

impl Mailbox {
    /// What stands behind the last `@` of its address.
    pub fn domain(&self) -> &str {
        let found = self.address.rsplit_once('@');
        found.map_or("", |(_, domain)| domain)
    }

    /// All that a reader of mail may show for it.
    pub fn shown(&self) -> impl Iterator<Item = &str> {
        let all = [&self.name, &self.comment, &self.group, &self.address];
        all.into_iter().map(String::as_str)
    }
}

impl std::fmt::Display for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.name.is_empty() {
            f.write_str(&self.address)
        } else {
            write!(f, "{} <{}>", self.name, self.address)
        }
    }
}

/// The mailboxes of one header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mailboxes {
    /// In their order; by all readings.
    pub list: Vec<Mailbox>,
    /// Two programs may see different addresses in it.
    pub ambiguous: bool,
    /// There are more than were asked for.
    pub more: bool,
}

/// The mailboxes in the value of a header, so many at most.
pub fn mailboxes(value: &[u8], most: usize) -> Mailboxes {
    let tokens = tokens(value);
    // A program that takes marks for marks in there, too, sees other addresses.
    let is_mixed = |token: &Token<'_>| match token {
        Token::Encoded(word) => {
            word.contains(&b'<')
                || (word.contains(&b'@')
                    && word.iter().any(|octet| is_mark(*octet) && *octet != b'@'))
        }
        _ => false,
    };
    let mut list = List {
        draft: Draft::default(),
        group: None,
        found: Mailboxes::default(),
        most,
    };
    let mut rest = tokens.iter();
    while let Some(token) = rest.next() {
        match token {
            Token::Mark(b'<') => {
                // Up to its end, or to another.
                let inner = rest.as_slice();
                let is_end = |token: &Token<'_>| matches!(token, Token::Mark(b'<' | b'>'));
                let end = inner.iter().position(is_end).unwrap_or(inner.len());
                let (inner, behind) = inner.split_at(end);
                let closed = matches!(behind.first(), Some(Token::Mark(b'>')));
                rest = behind.get(usize::from(closed)..).unwrap_or_default().iter();
                list.draft.angles.push(joined(inner));
            }
            Token::Mark(b',') => list.end_mailbox(),
            Token::Mark(b';') => {
                list.end_mailbox();
                list.end_group();
            }
            Token::Mark(b':') => list.begin_group(),
            Token::Comment(text) => {
                list.draft.comment.extend_from_slice(text);
                list.draft.comment.push(b' ');
                list.draft.outside().push(&Token::Blank);
            }
            other => list.draft.outside().push(other),
        }
    }
    list.end_mailbox();
    list.end_group();
    list.found.ambiguous |= tokens.iter().any(is_mixed);
    list.found
}

/// What addresses consist of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<'v> {
    Blank,
    /// What is in a comment, without its brackets.
    Comment(&'v [u8]),
    /// A string in quotes, as it stands there and as it shows.
    Quoted(&'v [u8], Vec<u8>),
    /// An encoded word (RFC 2047), whose marks mean nothing.
    Encoded(&'v [u8]),
    /// Anything else that holds no mark, or whose marks mean nothing: a domain of numbers.
    Atom(&'v [u8]),
    Mark(u8),
}

impl<'v> Token<'v> {
    fn raw<'t>(&'t self) -> &'t [u8]
    where
        'v: 't,
    {
        match self {
            Self::Blank => b" ",
            Self::Comment(_) => &[],
            Self::Quoted(raw, _) | Self::Encoded(raw) | Self::Atom(raw) => raw,
            Self::Mark(mark) => std::slice::from_ref(mark),
        }
    }

    fn shown<'t>(&'t self) -> &'t [u8]
    where
        'v: 't,
    {
        match self {
            Self::Quoted(_, shown) => shown,
            other => other.raw(),
        }
    }
}

fn is_mark(octet: u8) -> bool {
    matches!(octet, b'<' | b'>' | b',' | b';' | b':' | b'@')
}

fn tokens(value: &[u8]) -> Vec<Token<'_>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    // None was open to the end.
    let (mut quotes, mut comments) = (true, true);
    let mut left = value;
    while let Some(&first) = left.first() {
        let domain_begins = || {
            let mut before = tokens.iter().rev();
            let before = before.find(|token| !matches!(token, Token::Blank | Token::Comment(_)));
            before == Some(&Token::Mark(b'@'))
        };
        let (token, length) = if first.is_ascii_whitespace() {
            let blanks = left.iter().take_while(|octet| octet.is_ascii_whitespace());
            (Token::Blank, blanks.count())
        } else if let Some(length) = word_length(left) {
            (Token::Encoded(some(left, 0, length)), length)
        } else if first == b'"'
            && quotes
            && let Some((shown, length)) = told(&mut quotes, quoted(left))
        {
            (Token::Quoted(some(left, 0, length), shown), length)
        } else if first == b'('
            && comments
            && let Some((inner, length)) = told(&mut comments, comment(left))
        {
            (Token::Comment(inner), length)
        } else if first == b'['
            && domain_begins()
            && let Some(end) = memchr::memchr(b']', some(left, 0, 1024))
        {
            // It may hold colons (RFC 5321 section 4.1.3).
            (Token::Atom(some(left, 0, end + 1)), end + 1)
        } else if is_mark(first) {
            (Token::Mark(first), 1)
        } else {
            let ends = |octet: &u8| {
                is_mark(*octet) || octet.is_ascii_whitespace() || b"\"([=".contains(octet)
            };
            let length = rest(left, 1).iter().position(ends);
            let length = length.map_or(left.len(), |length| length + 1);
            (Token::Atom(some(left, 0, length)), length)
        };
        tokens.push(token);
        left = rest(left, length);
    }
    tokens
}

/// Notes where something has no end.
fn told<T>(ends: &mut bool, found: Option<T>) -> Option<T> {
    *ends = found.is_some();
    found
}

/// What a string in quotes shows, and its length (section 3.2.4). None where it does not end: the quote is a letter then.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut shown = Vec::new();
    let mut at = 1;
    loop {
        let next = memchr::memchr2(b'"', b'\\', rest(text, at))?;
        shown.extend_from_slice(some(text, at, next));
        at += next;
        if text.get(at) == Some(&b'"') {
            return Some((shown, at + 1));
        }
        shown.extend(text.get(at + 1));
        at += 2;
    }
}

/// What a comment holds, and its length (section 3.2.2). None where it does not end: the bracket is a letter then.
fn comment(text: &[u8]) -> Option<(&[u8], usize)> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        at += memchr::memchr3(b'(', b')', b'\\', rest(text, at))?;
        match text.get(at) {
            Some(b'(') => depth += 1,
            Some(b')') => depth = depth.saturating_sub(1),
            _ => at += 1,
        }
        at += 1;
        if depth == 0 {
            return Some((some(text, 1, at.saturating_sub(2)), at));
        }
    }
}

/// A word between blanks.
#[derive(Debug, Default)]
struct Word {
    /// As an address has it.
    raw: Vec<u8>,
    /// As a name shows it.
    shown: Vec<u8>,
    /// Where its unquoted `@` stand.
    ats: Vec<usize>,
    /// Other programs may read another address.
    is_odd: bool,
}

impl Word {
    fn push(&mut self, token: &Token<'_>) {
        if *token == Token::Mark(b'@') {
            self.ats.push(self.raw.len());
        }
        self.raw.extend_from_slice(token.raw());
        self.shown.extend_from_slice(token.shown());
    }

    /// Whether an address goes on behind a blank: beside an `@`, and beside the dots of a domain (section 4.4).
    fn goes_on(&self, token: &Token<'_>) -> bool {
        let dotted = token.raw().starts_with(b".") || self.raw.ends_with(b".");
        *token == Token::Mark(b'@') || self.raw.ends_with(b"@") || (dotted && !self.ats.is_empty())
    }

    /// Whether programs may take its address for another: it is cut by a blank, holds an encoded word, or its domain is none (RFC 5321
    /// section 4.1.2).
    fn is_twofold(&self) -> bool {
        let Some(at) = self.ats.last() else {
            // In quotes.
            return self.raw.contains(&b'@');
        };
        let domain = rest(&self.raw, at + 1);
        let is_literal = domain.first() == Some(&b'[') && domain.last() == Some(&b']');
        let is_letter = |octet: &u8| match octet {
            b'-' | b'_' | b'.' | 0x80.. => true,
            b'[' | b']' | b':' => is_literal,
            other => other.is_ascii_alphanumeric(),
        };
        self.is_odd || !domain.iter().all(is_letter) || find(&self.raw, b"=?").is_some()
    }
}

/// What stands in angle brackets: one word, whatever is between.
fn joined(tokens: &[Token<'_>]) -> Word {
    let mut word = Word::default();
    let mut parted = false;
    for token in tokens {
        if matches!(token, Token::Blank | Token::Comment(_)) {
            parted = true;
            continue;
        }
        // Some end an address at a blank where none may stand.
        word.is_odd |= parted && !word.ats.is_empty() && !word.goes_on(token);
        word.push(token);
        parted = false;
    }
    word
}

/// Words, as blanks part them.
fn words(tokens: &[&Token<'_>]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut parted = true;
    for token in tokens {
        if matches!(token, Token::Blank | Token::Comment(_)) {
            parted = true;
            continue;
        }
        match words.last_mut() {
            Some(last) if !parted || last.goes_on(token) => last.push(token),
            _ => {
                let mut word = Word::default();
                word.push(token);
                words.push(word);
            }
        }
        parted = false;
    }
    words
}

/// A mailbox that is being read.
#[derive(Default)]
struct Draft<'t> {
    front: Vec<&'t Token<'t>>,
    comment: Vec<u8>,
    angles: Vec<Word>,
    behind: Vec<&'t Token<'t>>,
}

impl<'t> Draft<'t> {
    /// Where what stands outside of angle brackets now belongs.
    fn outside(&mut self) -> &mut Vec<&'t Token<'t>> {
        if self.angles.is_empty() {
            &mut self.front
        } else {
            &mut self.behind
        }
    }

    /// What stands in front of an address, as a name.
    fn shown(&self) -> String {
        let shown: Vec<u8> = self
            .front
            .iter()
            .flat_map(|token| token.shown())
            .copied()
            .collect();
        name(&shown)
    }
}

/// A name, decoded, with one blank between words.
fn name(octets: &[u8]) -> String {
    let text = decoded(octets);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

struct List<'t> {
    draft: Draft<'t>,
    /// The name of the group, and whether nobody was in it yet.
    group: Option<(String, bool)>,
    found: Mailboxes,
    most: usize,
}

impl List<'_> {
    fn end_mailbox(&mut self) {
        let draft = std::mem::take(&mut self.draft);
        let (with_at, others): (Vec<Word>, Vec<Word>) = words(&draft.front)
            .into_iter()
            .partition(|word| !word.ats.is_empty());
        let shown = if draft.angles.is_empty() {
            let words: Vec<&[u8]> = others.iter().map(|word| word.shown.as_slice()).collect();
            name(&words.join(&b' '))
        } else {
            draft.shown()
        };
        let mut found = draft.angles;
        if found.is_empty() {
            found = with_at;
        }
        let behind = words(&draft.behind).into_iter();
        found.extend(behind.filter(|word| !word.ats.is_empty()));
        found.retain(|word| !word.raw.is_empty());
        // `Jobs <IT> <jobs@example.org>`, and the same twice.
        if found.iter().any(|word| !word.ats.is_empty()) {
            found.retain(|word| !word.ats.is_empty());
        }
        found.dedup_by(|one, other| one.raw.eq_ignore_ascii_case(&other.raw));
        self.found.ambiguous |= found.len() > 1 || found.iter().any(Word::is_twofold);
        // What is told of a name is taken for its address, where there is no other.
        let is_named = |text: &str| {
            text.split_once('@')
                .is_some_and(|(_, domain)| domain.contains('.'))
        };
        self.found.ambiguous |= found.iter().all(|word| word.ats.is_empty()) && is_named(&shown);
        let mut addresses: Vec<String> = found
            .iter()
            .flat_map(|word| self.found.addresses(word))
            .collect();
        let comment = name(&draft.comment);
        if addresses.is_empty() {
            if shown.is_empty() && comment.is_empty() {
                return;
            }
            addresses.push(String::new());
        }
        for address in addresses {
            // Before anything is copied for it.
            if self.is_full() {
                return;
            }
            let group = self
                .group
                .as_mut()
                .map_or_else(String::new, |(name, is_empty)| {
                    *is_empty = false;
                    name.clone()
                });
            self.found.list.push(Mailbox {
                name: shown.clone(),
                comment: comment.clone(),
                group,
                address,
            });
        }
    }

    /// Whether there is room for no more, which is told.
    fn is_full(&mut self) -> bool {
        self.found.more |= self.found.list.len() >= self.most;
        self.found.more
    }

    fn begin_group(&mut self) {
        if !self.draft.angles.is_empty() {
            // Nobody writes a group so.
            self.found.ambiguous = true;
            return self.end_mailbox();
        }
        let mut front = self.draft.front.iter();
        self.found.ambiguous |= front.any(|token| **token == Token::Mark(b'@'));
        let shown = self.draft.shown();
        self.draft.front.clear();
        match &mut self.group {
            Some((name, _)) => {
                name.push(':');
                name.push_str(&shown);
            }
            None => self.group = Some((shown, true)),
        }
    }

    fn end_group(&mut self) {
        if let Some((group, true)) = self.group.take()
            && !self.is_full()
        {
            self.found.list.push(Mailbox {
                group,
                ..Mailbox::default()
            });
        }
    }
}

impl Mailboxes {
    /// The addresses that a word may be taken for.
    fn addresses(&mut self, word: &Word) -> Vec<String> {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let whole = word.raw.as_slice();
        if word.ats.first() == Some(&0)
            && let Some(colon) = memchr::memrchr(b':', whole)
        {
            // A route, which nobody writes any more (RFC 5322 section 4.4).
            self.ambiguous = true;
            return vec![text(rest(whole, colon + 1))];
        }
        self.ambiguous |= word.ats.len() > 1;
        let ends = word.ats.iter().skip(1).copied().chain([whole.len()]);
        // Of hundreds, the first and the last say enough.
        let ends: Vec<usize> = ends.collect();
        let first = ends.iter().take(8);
        let last = ends.iter().skip(8).next_back();
        first
            .chain(last)
            .map(|end| text(some(whole, 0, *end)))
            .collect()
    }
}

/// The entry for fuzzing: any octets as the value of From.
#[doc(hidden)]
pub fn fuzz(value: &[u8]) {
    let found = mailboxes(value, 20);
    let octets: usize = found.list.iter().map(|one| one.address.len()).sum();
    assert!(found.list.len() <= 20, "no more than were asked for");
    assert!(
        octets <= value.len().saturating_mul(27),
        "of each word nine addresses, and each octet three at most"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Mailboxes {
        mailboxes(value.as_bytes(), 100)
    }

    #[test]
    fn what_everybody_reads_alike_is_one_address() {
        for (value, name, comment, address) in [
            (" a@x.example\r\n", "", "", "a@x.example"),
            (
                " Ada Lovelace <a@x.example>",
                "Ada Lovelace",
                "",
                "a@x.example",
            ),
            (
                "\"Lovelace, Ada\" <a@x.example>",
                "Lovelace, Ada",
                "",
                "a@x.example",
            ),
            (
                "a@x.example (Ada Lovelace)",
                "",
                "Ada Lovelace",
                "a@x.example",
            ),
            (
                "Ada (x (y)) Lovelace <a@x.example>",
                "Ada Lovelace",
                "x (y)",
                "a@x.example",
            ),
            (
                "=?utf-8?Q?Lovelace,_Ada:?= <a@x.example>",
                "Lovelace, Ada:",
                "",
                "a@x.example",
            ),
            (
                "\"=?utf-8?B?QWRh?=\" <a@x.example>",
                "Ada",
                "",
                "a@x.example",
            ),
            (
                "Bob @ Work <bob@x.example>",
                "Bob @ Work",
                "",
                "bob@x.example",
            ),
            (
                "\"a @ b . c\" <a@x.example>",
                "a @ b . c",
                "",
                "a@x.example",
            ),
            (
                "John Q. Public <john@x.example>",
                "John Q. Public",
                "",
                "john@x.example",
            ),
            (
                "boss@own.example <a@x.example>",
                "boss@own.example",
                "",
                "a@x.example",
            ),
            (
                "boss@own.example(x) <a@x.example>",
                "boss@own.example",
                "x",
                "a@x.example",
            ),
            (
                "\"boss@own.example <a@x.example>",
                "\"boss@own.example",
                "",
                "a@x.example",
            ),
            ("\"a@b\"@x.example", "", "", "\"a@b\"@x.example"),
            ("<a@[IPv6:2001:db8::1]>", "", "", "a@[IPv6:2001:db8::1]"),
            ("a @ [192.0.2.1]", "", "", "a@[192.0.2.1]"),
            (
                "MAILER-DAEMON (Mail System)",
                "MAILER-DAEMON",
                "Mail System",
                "",
            ),
            ("<>", "", "", ""),
        ] {
            let found = read(value);
            assert!(!found.ambiguous && !found.more, "{value}");
            let expected = Mailbox {
                name: name.to_owned(),
                comment: comment.to_owned(),
                group: String::new(),
                address: address.to_owned(),
            };
            let expected = if value == "<>" {
                vec![]
            } else {
                vec![expected]
            };
            assert_eq!(found.list, expected, "{value}");
        }
    }

    #[test]
    fn blanks_and_comments_part_no_address() {
        for value in [
            "boss @ own.example",
            "boss@ own.example",
            "boss (x) @ own . example",
            "Boss <boss@own\r\n .example>",
            "Boss <boss (a (b) \\) c)@(@)own(.).example>",
            "\"Boss (\" <boss @own.example>",
            "\"boss\" @ own.example",
        ] {
            let found = read(value);
            let domains: Vec<&str> = found.list.iter().map(Mailbox::domain).collect();
            assert_eq!(domains, ["own.example"], "{value}");
            assert!(!found.ambiguous, "{value}");
        }
        let found = read("a@x.example, boss @ own.example");
        let domains: Vec<&str> = found.list.iter().map(Mailbox::domain).collect();
        assert_eq!(domains, ["x.example", "own.example"]);
        let found = read("a @ a.example, b @ b . example, <c@c.example>;");
        let domains: Vec<&str> = found.list.iter().map(Mailbox::domain).collect();
        assert_eq!(domains, ["a.example", "b.example", "c.example"]);
        assert!(!found.ambiguous);
    }

    #[test]
    fn all_addresses_that_may_be_read_are_told() {
        for value in [
            "<boss@own.example> <a@x.example>",
            "Boss <boss@own.example> <a@x.example>",
            "<boss@own.example><a@x.example>",
            "<boss@own.example>a@x.example",
            "<boss@own.example> (x) a@x.example",
            "boss@own.example a@x.example",
            "boss@own.example\ta @ x.example",
            "<boss@own.example <a@x.example>",
            "boss@own.example@a@x.example",
            "boss@own.example: a@x.example;",
            "<boss@own.example>: a@x.example",
            "=?utf-8?q?<boss@own.example>?= <a@x.example>",
            "=?utf-8?q?,boss@own.example,?= <a@x.example>",
        ] {
            let found = read(value);
            assert!(found.ambiguous, "{value}");
            let mut shown = found.list.iter().flat_map(Mailbox::shown);
            assert!(
                shown.any(|text| text.contains("boss@own.example")),
                "{value}"
            );
            let mut domains = found.list.iter().map(Mailbox::domain);
            assert!(domains.any(|one| one == "x.example"), "{value}");
        }
        let routed = read("<@own.example:a@x.example>");
        assert!(routed.ambiguous);
        assert_eq!(routed.list[0].address, "a@x.example");
    }

    #[test]
    fn an_address_that_some_read_shorter_is_ambiguous() {
        for value in [
            "<boss@own.example x>",
            "<boss@own.example evil.example>",
            "<boss@own.example (c) evil.example>",
            "<boss@own.example,>",
            "<boss@own.example;>",
            "boss@own.example>",
            "boss@own.example)",
            "boss@own.example\"x\"",
            "<boss@own.example\0.x.example>",
            "a@[<boss@own.example>]",
            "<\"boss@own.example\">",
            "\"boss@own.example\"",
            "=?utf-8?q?boss=40own.example?=",
            "=?utf-8?b?Ym9zc0Bvd24uZXhhbXBsZQ==?==?utf-8?Q?=00?=@x.example",
        ] {
            assert!(read(value).ambiguous, "{value}");
        }
    }

    #[test]
    fn what_is_written_twice_or_aside_is_no_other_address() {
        for value in [
            "John <j@x.example> <J@x.example>",
            "John <j@x.example> j@x.example",
            "j@x.example j@x.example",
            "Jobs <IT> <j@x.example>",
            "<John Doe <j@x.example>>",
            "j@x.example.",
            "j@m\u{fc}ller.example",
        ] {
            let found = read(value);
            assert!(
                !found.ambiguous && found.list.len() == 1,
                "{value}: {found:?}"
            );
        }
    }

    #[test]
    fn groups_are_told_with_those_in_them() {
        let group = |name: &str, address: &str| Mailbox {
            group: name.to_owned(),
            address: address.to_owned(),
            ..Mailbox::default()
        };
        let found = read("\"a@own.example\": b@x.example, <c@y.example>; d@z.example");
        assert!(!found.ambiguous);
        assert_eq!(
            found.list,
            [
                group("a@own.example", "b@x.example"),
                group("a@own.example", "c@y.example"),
                group("", "d@z.example"),
            ]
        );
        assert_eq!(read("Nobody:;").list, [group("Nobody", "")]);
        assert_eq!(
            read("a: b: c@x.example").list,
            [group("a:b", "c@x.example")]
        );
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_in_from_has_an_end_and_a_bound(
            value in "([a-c@.,;: <>()\"\\\\\\[\\]\r\n]|=\\?utf-8\\?[qb]\\?|\\?=|\\PC){0,60}",
        ) {
            fuzz(value.as_bytes());
        }
    }

    #[test]
    fn no_more_are_told_than_were_asked_for() {
        let many = "a@x.example,".repeat(30);
        let found = mailboxes(many.as_bytes(), 20);
        assert_eq!((found.list.len(), found.more), (20, true));
        let long = "@".repeat(64 << 10);
        assert!(read(&long).list.len() < 20);
        for open in [
            "(", "\"", "<", "[", "=?", ":", "a:", "(\\", "<a@b", "@[", "=?a?q?",
        ] {
            fuzz(open.repeat((64 << 10) / open.len()).as_bytes());
        }
    }
}
