//! Conditions as expressions of PCRE, for programs that see a whole session and not its items.
//!
//! Entry: [`pattern`]. An expression about an item becomes one about the line that the item stands in: what comes before
//! it, what it may be made of, how it ends. What cannot be said so is an error, with the reason.

use std::borrow::Cow;
use std::fmt::Write as _;

use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, HirKind, Look};

use super::condition::{Decode, Subject, Test};

/// Longest run that is asked for; PCRE takes 65,535.
const MOST: usize = 60_000;

/// Where an item stands.
#[derive(Debug, Default)]
pub(super) struct Item {
    /// What comes before it, from the beginning of a line on.
    before: String,
    /// One octet of it, or what stands for one.
    octet: &'static str,
    /// What may be passed over to where an expression begins.
    skip: &'static str,
    /// What follows it.
    end: &'static str,
    /// What has to follow an expression within it.
    behind: &'static str,
    /// A header that may be folded.
    folds: bool,
    /// A line: it holds no line ends.
    line: bool,
    /// Octets beyond those that it never holds: they end it.
    closes: &'static [u8],
}

const WORD_END: &str = r"(?=[ \t]|\r?\n)";
const LINE_END: &str = r"(?=[ \t]*\r?\n)";
/// An octet of a field, or its folding.
const FIELD: &str = r"(?:[^\r\n]|\r?\n(?=[ \t]))";
const FIELD_END: &str = r"(?=[ \t]*\r?\n(?![ \t]))";
/// Beside quoted strings and comments.
const ADDRESS: &str =
    r"(?:\x22(?:[^\x22\\\r\n]|\\.)*\x22|\([^()\r\n]*\)|[^\x22(\r\n]|\r?\n(?=[ \t]))";

impl Item {
    /// A whole buffer of its own.
    pub(super) fn whole() -> Self {
        Self::default()
    }

    /// A part of a line; `verb` is the expression of its verb, where only one is meant.
    pub(super) fn line(subject: Subject, test: &Test, verb: &str) -> Self {
        let line = Self {
            line: true,
            octet: r"[^\r\n]",
            skip: r"[^\r\n]",
            end: LINE_END,
            ..Self::default()
        };
        let path = |command: &str, local: bool| Self {
            before: format!(r"^(?i:{command}):[ \t]*+<?+"),
            closes: b">",
            octet: r"[^>\r\n]",
            skip: r"[^>\r\n]",
            end: if local {
                r"(?=@[^@>\r\n]*(?:>|\r?\n))"
            } else {
                r"(?=[>\r\n])"
            },
            behind: if local { r"(?=[^>\r\n]*@)" } else { "" },
            line: true,
            ..Self::default()
        };
        let field = |octet, skip, end, closes| Self {
            octet,
            skip,
            end,
            closes,
            folds: true,
            line: true,
            ..Self::default()
        };
        match subject {
            Subject::Verb => Self {
                // Conditions see it in capitals.
                before: "^(?i)".to_owned(),
                octet: "[!-~]",
                skip: "[!-~]",
                end: WORD_END,
                ..line
            },
            Subject::Argument => Self {
                before: if verb.is_empty() {
                    r"^[A-Za-z0-9-]+[ \t]+".to_owned()
                } else {
                    format!(r"(?:{verb})[ \t]+")
                },
                ..line
            },
            Subject::Hello => Self {
                before: r"^(?i:EHLO|HELO|LHLO)[ \t]+".to_owned(),
                ..line
            },
            Subject::Sender => path(r"MAIL[ \t]+FROM", false),
            Subject::SenderLocal => path(r"MAIL[ \t]+FROM", true),
            Subject::Recipient => path(r"RCPT[ \t]+TO", false),
            Subject::RecipientLocal => path(r"RCPT[ \t]+TO", true),
            Subject::Parameter => Self {
                before: format!(
                    r"^(?i:MAIL[ \t]+FROM|RCPT[ \t]+TO):[^\r\n]*>[^\r\n]*?[ \t]{}",
                    OF_PARAMETER.of(test)
                ),
                octet: r"[^ \t\r\n]",
                skip: r"[^ \t\r\n]",
                end: WORD_END,
                closes: b" \t",
                ..line
            },
            Subject::HeaderTag => Self {
                before: format!(
                    r"^{}(?:{FIELD}*?\x3b)?(?:[ \t]|\r?\n(?=[ \t]))*{}[ \t]*+",
                    OF_SIGNATURE.of(test),
                    OF_TAG.among(&test.tags, &[]),
                ),
                ..field(
                    r"[^\x3b\r\n]",
                    r"[^\x3b\r\n]",
                    r"(?=[ \t]*(?:\x3b|\r?\n))",
                    b";",
                )
            },
            Subject::TypeParameter => Self {
                before: format!(
                    r"^(?i:Content-Type|Content-Disposition)[ \t]*:{FIELD}*?\x3b(?:[ \t]|\r?\n(?=[ \t]))*{}[ \t]*+\x22?+",
                    OF_TYPE_PARAMETER.of(test)
                ),
                ..field(
                    r"[^\x22\x3b\r\n]",
                    r"[^\x22\x3b\r\n]",
                    r"(?=\x22?[ \t]*(?:\x3b|\r?\n))",
                    b"\";",
                )
            },
            Subject::HeaderAddress => Self {
                before: format!("^{}", OF_HEADER.of(test)),
                ..field(r"[^\x22(,\r\n]", ADDRESS, FIELD_END, b"")
            },
            _ => Self {
                before: format!(r"^{}[ \t]*+", OF_HEADER.of(test)),
                ..field(FIELD, FIELD, FIELD_END, b"")
            },
        }
    }
}

/// A text as itself: a bundle may name what PCRE, or Suricata's rules, read otherwise.
fn literal(text: &str) -> String {
    let mut out = String::new();
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_' {
            out.push(char::from(octet));
        } else {
            write!(out, r"\x{octet:02x}").ok();
        }
    }
    out
}

/// How names of one kind are written: any one of them, a letter of one, and what stands behind it.
struct Name {
    any: &'static str,
    letter: &'static str,
    behind: &'static str,
}

const OF_HEADER: Name = Name {
    any: r"[!-9\x3b-~]+",
    letter: r"[^:\r\n]",
    behind: r"[ \t]*:",
};
const OF_SIGNATURE: Name = Name {
    any: "(?i:DKIM-Signature|ARC-[A-Za-z-]+)",
    ..OF_HEADER
};
const OF_PARAMETER: Name = Name {
    any: "[A-Za-z0-9-]+",
    letter: "[A-Za-z0-9-]",
    behind: "=",
};
const OF_TYPE_PARAMETER: Name = Name {
    any: "[A-Za-z0-9*-]+",
    letter: "[A-Za-z0-9*-]",
    behind: r"[ \t]*=",
};
const OF_TAG: Name = Name {
    any: "[A-Za-z0-9_]+",
    letter: "[A-Za-z0-9_]",
    behind: r"[ \t]*=",
};

impl Name {
    /// Any of some names, however capitals are set, with what stands behind it.
    fn among(&self, names: &[String], except: &[String]) -> String {
        let of = |names: &[String]| {
            let names: Vec<String> = names
                .iter()
                .map(|name| match name.strip_suffix('*') {
                    Some(start) => format!("{}{}*", literal(start), self.letter),
                    None => literal(name),
                })
                .collect();
            format!("(?i:{})", names.join("|"))
        };
        let mut text = String::new();
        if !except.is_empty() {
            write!(text, "(?!{}{})", of(except), self.behind).ok();
        }
        if names.is_empty() {
            text.push_str(self.any);
        } else {
            text.push_str(&of(names));
        }
        text + self.behind
    }

    /// Those a test is about.
    fn of(&self, test: &Test) -> String {
        self.among(&test.names, &test.except)
    }
}

/// A test of an item.
pub(super) fn pattern(item: &Item, test: &Test) -> Result<String, Cow<'static, str>> {
    let mut parts = Vec::new();
    if let Some(most) = test.longer_than {
        if most >= MOST {
            return Err("PCRE does not count so far".into());
        }
        parts.push(format!("{}{}{{{},}}", item.before, item.octet, most + 1));
    }
    if let Some(count) = &test.count {
        let [octet] = count.of.as_bytes() else {
            return Err("it counts several octets together".into());
        };
        if item.skip != ADDRESS {
            return Err("it counts octets of something else than an address".into());
        }
        let one = format!(r"\x{octet:02x}");
        let between = format!(
            r"(?:\x22(?:[^\x22\\\r\n]|\\.)*\x22|\([^()\r\n]*\)|[^{one},\x22(\r\n]|\r?\n(?=[ \t]))*"
        );
        if count.more_than >= MOST {
            return Err("PCRE does not count so far".into());
        }
        parts.push(format!(
            "{}{}*?{one}(?:{between}{one}){{{}}}",
            item.before, item.skip, count.more_than
        ));
    }
    if let Some(pair) = &test.unbalanced {
        if pair != "<>" || item.skip != ADDRESS {
            return Err(
                "it looks for pairs of something else than angle brackets of addresses".into(),
            );
        }
        let (before, skip) = (&item.before, item.skip);
        let none =
            r"(?:\x22(?:[^\x22\\\r\n]|\\.)*\x22|\([^()\r\n]*\)|[^<>\x22(\r\n]|\r?\n(?=[ \t]))*";
        parts.push(format!(
            r"{before}(?:{none}>|{skip}*?>{none}>|{skip}*?<(?:[^>\r\n]|\r?\n(?=[ \t]))*\r?\n(?![ \t]))"
        ));
    }
    let read = |regex: &Option<String>| {
        let ways = regex.as_deref().map(|regex| ways(item, regex, test.decode));
        ways.transpose()
    };
    match (read(&test.regex)?, read(&test.not_regex)?) {
        (None, None) => {}
        (Some(ways), None) => parts.push(format!("{}(?:{ways}){}", item.before, item.behind)),
        (ways, Some(not)) => {
            let ways = ways.unwrap_or_default();
            parts.push(format!("{}(?!{not})(?:{ways}){}", item.before, item.behind));
        }
    }
    if !test.length_not.is_empty() {
        return Err("it measures an item".into());
    }
    match parts.as_slice() {
        [] if !test.names.is_empty() => Ok(item.before.clone()),
        [one] => Ok(one.clone()),
        [] => Err("it asks for nothing that an expression could say".into()),
        _ => Err("it needs two expressions of one item".into()),
    }
}

/// An expression within an item: in all the ways in which it may begin.
fn ways(item: &Item, regex: &str, decode: Option<Decode>) -> Result<String, Cow<'static, str>> {
    if decode == Some(Decode::Base64) {
        return Err("what it looks for is in base64".into());
    }
    let hir = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .build()
        .parse(regex)
        .map_err(|error| format!("its expression cannot be read: {error}"))?;
    let mut ways = Vec::new();
    for (anchored, parts) in branches(&hir) {
        let mut text = match (anchored, item.skip) {
            // A buffer of its own is searched by the engine.
            (false, "") => String::new(),
            (true, "") => r"\A".to_owned(),
            (false, skip) => format!("{skip}*?"),
            (true, _) => String::new(),
        };
        for part in &parts {
            print(item, decode, part, &mut text)?;
        }
        ways.push(text);
    }
    Ok(ways.join("|"))
}

/// The ways in which an expression may begin, and whether each is held to the beginning of the item.
fn branches(hir: &Hir) -> Vec<(bool, Vec<Hir>)> {
    match hir.kind() {
        HirKind::Look(Look::Start) => vec![(true, Vec::new())],
        HirKind::Capture(capture) => branches(&capture.sub),
        HirKind::Alternation(all) => all.iter().flat_map(branches).collect(),
        HirKind::Concat(parts) => {
            let Some((first, rest)) = parts.split_first() else {
                return vec![(false, Vec::new())];
            };
            let mut found = branches(first);
            for (_, parts) in &mut found {
                parts.extend(rest.iter().cloned());
            }
            found
        }
        _ => vec![(false, vec![hir.clone()])],
    }
}

fn print(
    item: &Item,
    decode: Option<Decode>,
    hir: &Hir,
    text: &mut String,
) -> Result<(), Cow<'static, str>> {
    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Literal(literal) => {
            for octet in &*literal.0 {
                let one = ClassBytes::new([ClassBytesRange::new(*octet, *octet)]);
                class(item, decode, &one, text)?;
            }
        }
        HirKind::Class(Class::Bytes(bytes)) => class(item, decode, bytes, text)?,
        HirKind::Class(Class::Unicode(_)) => {
            return Err("its expression has letters beyond ASCII".into());
        }
        HirKind::Look(Look::End) if item.line => text.push_str(item.end),
        HirKind::Look(Look::WordAscii) => text.push_str(r"\b"),
        HirKind::Look(_) => return Err("its expression is held to a place that is not seen".into()),
        HirKind::Repetition(repeated) => {
            text.push_str("(?:");
            print(item, decode, &repeated.sub, text)?;
            text.push(')');
            match (repeated.min, repeated.max) {
                (0, Some(1)) => text.push('?'),
                (0, None) => text.push('*'),
                (1, None) => text.push('+'),
                (least, Some(most)) if least == most => {
                    write!(text, "{{{least}}}").ok();
                }
                (least, most) => {
                    let most = most.map_or_else(String::new, |most| most.to_string());
                    write!(text, "{{{least},{most}}}").ok();
                }
            }
            if !repeated.greedy {
                text.push('?');
            }
        }
        HirKind::Capture(capture) => {
            text.push_str("(?:");
            print(item, decode, &capture.sub, text)?;
            text.push(')');
        }
        HirKind::Concat(parts) => {
            for part in parts {
                print(item, decode, part, text)?;
            }
        }
        HirKind::Alternation(parts) => {
            text.push_str("(?:");
            for (nth, part) in parts.iter().enumerate() {
                if nth > 0 {
                    text.push('|');
                }
                print(item, decode, part, text)?;
            }
            text.push(')');
        }
    }
    Ok(())
}

/// One of some octets. A line holds no line ends, but that a header is folded where it may have a blank.
fn class(
    item: &Item,
    decode: Option<Decode>,
    bytes: &ClassBytes,
    text: &mut String,
) -> Result<(), Cow<'static, str>> {
    let mut ways = Vec::new();
    let mut plain = bytes.clone();
    let ends = item.line.then_some([b'\n', b'\r']).into_iter().flatten();
    for octet in ends.chain(item.closes.iter().copied()) {
        let one = ClassBytes::new([ClassBytesRange::new(octet, octet)]);
        plain.difference(&one);
    }
    if let [one] = plain.ranges()
        && one.start() == one.end()
    {
        let letter = char::from(one.start());
        ways.push(if letter.is_ascii_alphanumeric() {
            letter.to_string()
        } else {
            format!(r"\x{:02x}", one.start())
        });
    } else if !plain.ranges().is_empty() {
        let mut set = "[".to_owned();
        for range in plain.ranges() {
            write!(set, r"\x{:02x}", range.start()).ok();
            if range.end() > range.start() {
                write!(set, r"-\x{:02x}", range.end()).ok();
            }
        }
        ways.push(set + "]");
    }
    let has = |octet: u8| {
        bytes
            .ranges()
            .iter()
            .any(|range| (range.start()..=range.end()).contains(&octet))
    };
    if item.folds && has(b' ') {
        ways.push(r"\r?\n(?=[ \t])".to_owned());
    }
    if decode == Some(Decode::Xtext) {
        let octets: Vec<u8> = (0..=u8::MAX).filter(|octet| has(*octet)).collect();
        if octets.len() > 8 {
            return Err("too much of what it looks for may be encoded".into());
        }
        ways.extend(octets.iter().map(|octet| format!(r"\+(?i:{octet:02x})")));
    }
    match ways.as_slice() {
        [] => return Err("it looks for what ends an item, within one".into()),
        [one] => text.push_str(one),
        several => {
            write!(text, "(?:{})", several.join("|")).ok();
        }
    }
    Ok(())
}
