//! Conditions: what is looked at, and what has to be true of it. A closed set.

use std::collections::{BTreeSet, HashSet};

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::bundle::Stage;
use super::view;

/// Octets of an expression that is taken.
const MAX_REGEX: usize = 1000;
/// Octets its compiled form may have; some thousand of them must fit a small machine.
const MAX_COMPILED: usize = 256 << 10;

/// What a test is shown, one item at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// All that follows a command's verb.
    Argument,
    /// A line of a calendar (RFC 5545 section 3.1), unfolded, behind its property's name; `names` are properties.
    CalendarLine,
    /// Decoded octets; `types` are media types.
    Content,
    /// The value of a header field of the message, unfolded; `names` are fields.
    Header,
    /// One address of such a field: between commas, without comments and quoted strings.
    HeaderAddress,
    /// The value of a tag (`d=`) of such a field, without white space; `tags` are tags.
    HeaderTag,
    /// The name in EHLO or HELO.
    Hello,
    /// The name of a member of an archive.
    MemberName,
    /// The name of an attachment or a member.
    Name,
    /// The value of a parameter of MAIL or RCPT; `names` are parameters.
    Parameter,
    /// The value of a header field of a part, as [`Subject::Header`]; a message is its own first part.
    PartHeader,
    /// The path of RCPT, without angle brackets.
    Recipient,
    /// Its part before the last `@`.
    RecipientLocal,
    /// The path of MAIL, without angle brackets.
    Sender,
    /// Its part before the last `@`.
    SenderLocal,
    /// The value of a parameter of Content-Type or Content-Disposition; `names` are parameters.
    TypeParameter,
    /// A command's verb, in capitals.
    Verb,
}

/// What is seen at a time. All tests of one condition look at the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Command,
    Header,
    PartHeader,
    Content,
}

impl Subject {
    pub(super) const COUNT: usize = 17;

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Argument => "argument",
            Self::CalendarLine => "calendar-line",
            Self::Content => "content",
            Self::Header => "header",
            Self::HeaderAddress => "header-address",
            Self::HeaderTag => "header-tag",
            Self::Hello => "hello",
            Self::MemberName => "member-name",
            Self::Name => "name",
            Self::Parameter => "parameter",
            Self::PartHeader => "part-header",
            Self::Recipient => "recipient",
            Self::RecipientLocal => "recipient-local",
            Self::Sender => "sender",
            Self::SenderLocal => "sender-local",
            Self::TypeParameter => "type-parameter",
            Self::Verb => "verb",
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }

    pub(super) const fn unit(self) -> Unit {
        match self {
            Self::Argument
            | Self::Hello
            | Self::Parameter
            | Self::Recipient
            | Self::RecipientLocal
            | Self::Sender
            | Self::SenderLocal
            | Self::Verb => Unit::Command,
            Self::Header | Self::HeaderAddress | Self::HeaderTag => Unit::Header,
            Self::PartHeader | Self::TypeParameter => Unit::PartHeader,
            Self::CalendarLine | Self::Content | Self::MemberName | Self::Name => Unit::Content,
        }
    }

    /// The stage at which it shows.
    pub const fn stage(self) -> Stage {
        match self.unit() {
            Unit::Command => Stage::Cmd,
            Unit::Header => Stage::Hdr,
            Unit::PartHeader | Unit::Content => Stage::Mime,
        }
    }

    const fn has_names(self) -> bool {
        matches!(
            self,
            Self::CalendarLine
                | Self::Header
                | Self::HeaderAddress
                | Self::HeaderTag
                | Self::Parameter
                | Self::PartHeader
                | Self::TypeParameter
        )
    }
}

/// What has to be true of one item of its subjects; all that is given has to be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// What is looked at.
    #[serde(rename = "in")]
    pub subjects: Vec<Subject>,
    /// Only items of these names, however capitals are set; an asterisk at the end stands for any rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// No items of these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// Only these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Only content of these types: `text/calendar`, `image/*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// The item is decoded first; where it cannot be, the test does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode: Option<Decode>,
    /// It holds a match of this expression (crate `regex`, octets, ASCII only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// It holds none of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_regex: Option<String>,
    /// It has more octets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longer_than: Option<usize>,
    /// Its length in octets is none of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub length_not: Vec<usize>,
    /// It holds more of some octets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
    /// These two octets do not come in pairs, the first before the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unbalanced: Option<String>,
    /// So many items of one command, header block or part have to be so; one, if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<u32>,
    /// What has to hold as well, in the same command, header block or part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Self>,
}

/// How an item is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decode {
    /// Base64 (RFC 4648 section 4), white space taken out.
    Base64,
    /// xtext (RFC 3461 section 4).
    Xtext,
}

/// More of some octets than so many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// Each of these octets counts.
    pub of: String,
    /// The most that may be.
    pub more_than: usize,
}

impl Test {
    pub(super) fn check(&self, stages: &[Stage]) -> Result<(), String> {
        let Some(first) = self.subjects.first() else {
            return Err("a condition says in what it looks".to_owned());
        };
        if self.also.len() > 8 || self.also.iter().any(|test| !test.also.is_empty()) {
            return Err("also has at most eight tests, and they have none".to_owned());
        }
        for subject in self
            .subjects
            .iter()
            .chain(self.also.iter().flat_map(|test| &test.subjects))
        {
            if subject.unit() != first.unit() {
                return Err(format!(
                    "{} and {} are not seen at the same time: make two conditions of it",
                    first.name(),
                    subject.name()
                ));
            }
            if !stages.contains(&subject.stage()) {
                return Err(format!("{} does not show at its stages", subject.name()));
            }
        }
        self.check_alone()?;
        for test in &self.also {
            test.check_alone()?;
        }
        Ok(())
    }

    fn check_alone(&self) -> Result<(), String> {
        let said = self.regex.is_some()
            || self.not_regex.is_some()
            || self.longer_than.is_some()
            || !self.length_not.is_empty()
            || self.count.is_some()
            || self.unbalanced.is_some()
            || self.at_least.is_some()
            || !self.names.is_empty();
        if self.subjects.is_empty() || !said {
            return Err("a condition says what has to be true".to_owned());
        }
        let nameless = self.subjects.iter().any(|subject| !subject.has_names());
        if nameless && (!self.names.is_empty() || !self.except.is_empty()) {
            return Err("names and except are for subjects that have names".to_owned());
        }
        if !self.tags.is_empty() && self.subjects != [Subject::HeaderTag] {
            return Err("tags are for header-tag".to_owned());
        }
        if !self.types.is_empty() && self.subjects.iter().any(|s| s.unit() != Unit::Content) {
            return Err("types are for content, calendar-line, name and member-name".to_owned());
        }
        let two = |text: &str| text.len() == 2;
        if self.unbalanced.as_deref().is_some_and(|pair| !two(pair)) {
            return Err("unbalanced has two octets: \"<>\"".to_owned());
        }
        if self.at_least == Some(0) {
            return Err("at_least is one or more".to_owned());
        }
        Ok(())
    }
}

/// A test that is ready to be made.
#[derive(Debug)]
pub(super) struct Ready {
    names: Names,
    except: Names,
    tags: Names,
    types: Vec<String>,
    decode: Option<Decode>,
    regex: Option<Regex>,
    not_regex: Option<Regex>,
    longer_than: Option<usize>,
    length_not: Vec<usize>,
    count: Option<(Vec<u8>, usize)>,
    unbalanced: Option<(u8, u8)>,
    pub(super) at_least: u32,
}

/// Names in small letters, and what names begin with.
#[derive(Debug, Default)]
pub(super) struct Names {
    whole: Vec<String>,
    starts: Vec<String>,
}

/// The names that any of many tests is for.
#[derive(Debug, Default)]
pub(super) struct AskedNames {
    whole: HashSet<String>,
    starts: BTreeSet<String>,
    /// One is for all.
    all: bool,
}

impl AskedNames {
    /// Of no name: of all.
    pub(super) fn add(&mut self, names: &Names) {
        self.whole.extend(names.whole.iter().cloned());
        self.starts.extend(names.starts.iter().cloned());
        self.all |= names.is_empty();
    }

    pub(super) fn hold(&self, name: &str) -> bool {
        let mut starts = self.starts.iter();
        self.all
            || self.whole.contains(name)
            || starts.any(|start| name.starts_with(start.as_str()))
    }
}

impl Names {
    fn new(names: &[String]) -> Self {
        let mut made = Self::default();
        for name in names {
            let name = name.to_ascii_lowercase();
            match name.strip_suffix('*') {
                Some(start) => made.starts.push(start.to_owned()),
                None => made.whole.push(name),
            }
        }
        made
    }

    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.starts.is_empty()
    }

    fn hold(&self, name: &str) -> bool {
        self.whole.iter().any(|own| own == name)
            || self
                .starts
                .iter()
                .any(|start| name.starts_with(start.as_str()))
    }
}

/// What a test is shown: an item, and what it is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    /// Of a header field, parameter or property, in small letters.
    pub(super) name: &'a str,
    /// Of a tag.
    pub(super) tag: &'a str,
    /// Of the content, in small letters.
    pub(super) types: &'a [String],
    pub(super) value: &'a [u8],
}

impl Ready {
    pub(super) fn new(test: &Test) -> Result<Self, String> {
        let lower = |texts: &[String]| texts.iter().map(|text| text.to_ascii_lowercase()).collect();
        let compiled = |text: &Option<String>| text.as_deref().map(expression).transpose();
        let pair = test.unbalanced.as_deref().map(str::as_bytes);
        Ok(Self {
            names: Names::new(&test.names),
            except: Names::new(&test.except),
            tags: Names::new(&test.tags),
            types: lower(&test.types),
            decode: test.decode,
            regex: compiled(&test.regex)?,
            not_regex: compiled(&test.not_regex)?,
            longer_than: test.longer_than,
            length_not: test.length_not.clone(),
            count: test
                .count
                .as_ref()
                .map(|count| (count.of.clone().into_bytes(), count.more_than)),
            unbalanced: pair.and_then(|pair| Some((*pair.first()?, *pair.get(1)?))),
            at_least: test.at_least.unwrap_or(1),
        })
    }

    /// The names of items that it is for; empty: of all.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// The tags that it is for; empty: of all.
    pub(super) fn tags(&self) -> &Names {
        &self.tags
    }

    /// The types of content that it is for; empty: of all.
    pub(super) fn types(&self) -> &[String] {
        &self.types
    }

    /// Whether it is for items of this name and type at all.
    pub(super) fn concerns(&self, item: &Item<'_>) -> bool {
        (self.names.is_empty() || self.names.hold(item.name))
            && !self.except.hold(item.name)
            && (self.tags.is_empty() || self.tags.hold(item.tag))
            && (self.types.is_empty()
                || item
                    .types
                    .iter()
                    .any(|found| self.types.iter().any(|own| is_type(own, found))))
    }

    pub(super) fn holds(&self, value: &[u8]) -> bool {
        let decoded;
        let value = match self.decode {
            None => value,
            Some(decode) => {
                let read = match decode {
                    Decode::Base64 => view::base64(value),
                    Decode::Xtext => view::xtext(value),
                };
                let Some(octets) = read else { return false };
                decoded = octets;
                decoded.as_slice()
            }
        };
        self.longer_than.is_none_or(|most| value.len() > most)
            && !self.length_not.contains(&value.len())
            && self.count.as_ref().is_none_or(|(of, most)| {
                value.iter().filter(|octet| of.contains(octet)).count() > *most
            })
            && self
                .unbalanced
                .is_none_or(|(opens, closes)| is_unbalanced(value, opens, closes))
            && self
                .regex
                .as_ref()
                .is_none_or(|regex| regex.is_match(value))
            && self
                .not_regex
                .as_ref()
                .is_none_or(|regex| !regex.is_match(value))
    }
}

pub(super) fn is_type(pattern: &str, found: &str) -> bool {
    match pattern.strip_suffix("/*") {
        Some(major) => found.split_once('/').is_some_and(|(own, _)| own == major),
        None => pattern == found,
    }
}

fn is_unbalanced(value: &[u8], opens: u8, closes: u8) -> bool {
    let mut open: usize = 0;
    for octet in value {
        if *octet == opens {
            open += 1;
        } else if *octet == closes {
            match open.checked_sub(1) {
                Some(less) => open = less,
                None => return true,
            }
        }
    }
    open > 0
}

fn expression(text: &str) -> Result<Regex, String> {
    if text.len() > MAX_REGEX {
        return Err(format!("an expression has more than {MAX_REGEX} octets"));
    }
    RegexBuilder::new(text)
        .unicode(false)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .nest_limit(50)
        .build()
        .map_err(|error| format!("its expression cannot be used: {error}"))
}

/// What a test shows of texts that it may hold of: without one of these, in small letters, an item need not be looked
/// at. `None`: nothing can be said.
pub(super) fn literals(test: &Test) -> Option<Vec<Vec<u8>>> {
    use regex_syntax::hir::literal::{ExtractKind, Extractor, Seq};

    if test.decode.is_some() {
        return None;
    }
    let hir = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .nest_limit(50)
        .build()
        .parse(test.regex.as_deref()?)
        .ok()?;
    let usable = |seq: &Seq| {
        let mut texts: Vec<Vec<u8>> = Vec::new();
        for literal in seq.literals()? {
            if literal.as_bytes().len() < 2 {
                return None;
            }
            texts.push(literal.as_bytes().to_ascii_lowercase());
        }
        texts.sort_unstable();
        texts.dedup();
        Some(texts)
    };
    usable(&Extractor::new().extract(&hir)).or_else(|| {
        let mut extractor = Extractor::new();
        extractor.kind(ExtractKind::Suffix);
        usable(&extractor.extract(&hir))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(regex: &str) -> Test {
        Test {
            subjects: vec![Subject::Content],
            regex: Some(regex.to_owned()),
            ..Test::default()
        }
    }

    #[test]
    fn what_an_expression_must_hold_is_found() {
        let literals = |regex: &str| {
            literals(&test(regex)).map(|texts| {
                let texts = texts
                    .into_iter()
                    .map(|text| String::from_utf8(text).unwrap());
                texts.collect::<Vec<_>>()
            })
        };
        assert_eq!(literals("abc[a-z]+"), Some(vec!["abc".to_owned()]));
        assert_eq!(literals("(?i)RuN"), Some(vec!["run".to_owned()]));
        assert_eq!(literals("[a-z]+xy"), Some(vec!["xy".to_owned()]));
        assert_eq!(literals("\""), None);
        assert_eq!(literals("a*"), None);
        // Nothing matches it, and nothing need be looked at.
        assert_eq!(literals("[a&&b]"), Some(Vec::new()));
    }

    #[test]
    fn expressions_that_cost_too_much_are_refused() {
        assert!(Ready::new(&test("a{1000}{1000}")).is_err());
        assert!(Ready::new(&test(&"(".repeat(400))).is_err());
        assert!(Ready::new(&test(&"a".repeat(MAX_REGEX + 1))).is_err());
        assert!(Ready::new(&test("(?-u:\\xff)")).is_ok());
    }

    #[test]
    fn brackets_come_in_pairs() {
        for (value, expected) in [
            (&b"<a>"[..], false),
            (b"", false),
            (b"<a", true),
            (b"a>", true),
            (b"><", true),
            (b"<<>>", false),
        ] {
            assert_eq!(is_unbalanced(value, b'<', b'>'), expected, "{value:?}");
        }
    }
}
