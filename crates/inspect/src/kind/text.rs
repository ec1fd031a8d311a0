//! Kinds told by what a text says. Weaker than a signature: scripts of Windows and batch files have none, and are
//! told by what only they would say.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use memchr::memmem;

use super::Kind;
use crate::octets::{any_of, begins, find, holds, rest, some};

/// What stands before `BinHex` (RFC 1741 section 5).
static BINHEX: LazyLock<memmem::Finder<'_>> =
    LazyLock::new(|| memmem::Finder::new("(this file must be converted with binhex"));

/// How much of a text is looked at.
const HEAD: usize = 64 << 10;

/// How much is looked at for octets that no text has.
const SAMPLE: usize = 4096;

pub(super) fn of(octets: &[u8]) -> Kind {
    let Some(head) = readable(octets, HEAD) else {
        return Kind::Unknown;
    };
    let lower = head.to_ascii_lowercase();
    let start = lower.trim_ascii_start();
    if let Some(interpreter) = start.strip_prefix(b"#!")
        && interpreter.trim_ascii_start().starts_with(b"/")
    {
        return Kind::UnixScript;
    }
    if begins(start, b"begin:vcalendar") {
        return Kind::Calendar;
    }
    if begins(start, b"begin:vcard") {
        return Kind::Vcard;
    }
    if let Some(kind) = settings(start) {
        return kind;
    }
    if BINHEX.find(some(start, 0, 8192)).is_some() {
        return Kind::BinHex;
    }
    if start.starts_with(b"-----begin pgp message") && crate::unpack::is_openpgp(octets) {
        return Kind::Pkcs7;
    }
    if is_uuencode_head(start) {
        return Kind::Uuencode;
    }
    if is_message(start) {
        return Kind::Message;
    }
    if let Some(kind) = markup(start) {
        return kind;
    }
    script(start).unwrap_or_else(|| {
        // Nothing stands before it, or words that no standard knows, or much else.
        if crate::unpack::binhex_at(octets, 0).is_some() {
            Kind::BinHex
        } else {
            Kind::Text
        }
    })
}

/// As many characters of a text, one octet each; none where it is no text.
pub(crate) fn readable(octets: &[u8], most: usize) -> Option<Cow<'_, [u8]>> {
    let plain = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    let wide = |skip: usize, low: usize| -> Cow<'_, [u8]> {
        let units = some(octets, skip, most.saturating_mul(2)).chunks_exact(2);
        let narrow = units.map(|pair| match (pair.get(low), pair.get(1 - low)) {
            (Some(octet), Some(0)) => *octet,
            // U+2028 and U+2029, which end lines and paragraphs.
            (Some(0x28 | 0x29), Some(0x20)) => b'\n',
            _ => b'?',
        });
        Cow::Owned(narrow.collect())
    };
    match octets {
        [0xff, 0xfe, ..] => return Some(wide(2, 0)),
        [0xfe, 0xff, ..] => return Some(wide(2, 1)),
        [first, 0, second, 0, ..] if first.is_ascii_graphic() && second.is_ascii_graphic() => {
            return Some(wide(0, 0));
        }
        // XML is told by its first letter (XML 1.0, appendix F).
        [0, b'<', 0, second, ..] if second.is_ascii_graphic() => return Some(wide(0, 1)),
        _ => {}
    }
    let sample = some(plain, 0, SAMPLE);
    let zero = memchr::memchr(0, sample).is_some();
    if zero || strange(sample) * 50 > sample.len() {
        return None;
    }
    Some(Cow::Borrowed(some(plain, 0, most)))
}

/// How many octets a text has no use for. In pieces whose number fits an octet, which compilers make quick.
fn strange(sample: &[u8]) -> usize {
    // From backspace to carriage return, and escape.
    let is_strange = |octet: &u8| {
        let is_format = octet.wrapping_sub(0x08) <= 0x05;
        u8::from(*octet < 0x20) & u8::from(!is_format) & u8::from(*octet != 0x1b)
    };
    let pieces = sample.chunks(255);
    pieces
        .map(|piece| usize::from(piece.iter().map(is_strange).sum::<u8>()))
        .sum()
}

/// Files of settings that open something.
fn settings(start: &[u8]) -> Option<Kind> {
    let head = some(start, 0, 4096);
    memchr::memchr2(b'[', b'<', head)?;
    if section(head, b"[internetshortcut]")
        || section(head, b"[{000214a0-0000-0000-c000-000000000046}]")
    {
        return Some(Kind::UrlShortcut);
    }
    // A text that only mentions them is none: these begin with it.
    let first = head
        .split(|octet| *octet == b'\n')
        .find(|line| !is_comment(line));
    let first = first.unwrap_or_default();
    let is_command = || holds(head, b"iconfile=") || holds(head, b"[taskbar]");
    if section(first, b"[shell]") && holds(head, b"command=") && is_command() {
        return Some(Kind::ShellFile);
    }
    if head.starts_with(b"<") {
        let shell = [
            b"<librarydescription".as_slice(),
            b"<searchconnectordescription",
            b"<persistedquery",
            b"<pcsettings",
            b"<msc_consolefile",
        ];
        if shell.iter().any(|word| holds(head, word)) {
            return Some(Kind::ShellFile);
        }
    }
    None
}

/// Whether nothing stands in a line of settings, or what is left out.
fn is_comment(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || line.starts_with(b";")
}

/// Whether a line consists of this section's name.
fn section(head: &[u8], name: &[u8]) -> bool {
    let is_blank = |octet: &&u8| matches!(octet, b' ' | b'\t' | 0x0c);
    let is_end = |octet: Option<&u8>| octet.is_none_or(|octet| matches!(octet, b'\n' | b'\r'));
    // Most texts hold no such name at all.
    memmem::find_iter(head, name).any(|at| {
        let mut before = some(head, 0, at).iter().rev().skip_while(is_blank);
        let behind = rest(head, at.saturating_add(name.len()));
        is_end(before.next()) && is_end(behind.iter().find(|octet| !is_blank(octet)))
    })
}

/// Whether its first line begins a uuencoded file.
fn is_uuencode_head(start: &[u8]) -> bool {
    let line = start.split(|octet| *octet == b'\n').next().unwrap_or(&[]);
    uuencode_begin(line).is_some()
}

/// The name in a line that begins a uuencoded file.
pub(crate) fn uuencode_begin(line: &[u8]) -> Option<&[u8]> {
    let rest = line
        .strip_prefix(b"begin ".as_slice())
        .or_else(|| line.strip_prefix(b"begin-base64 "))?;
    let mode_end = rest.iter().position(|octet| *octet == b' ')?;
    let (mode, name) = rest.split_at_checked(mode_end)?;
    let octal =
        (3..=4).contains(&mode.len()) && mode.iter().all(|octet| matches!(octet, b'0'..=b'7'));
    let name = name.trim_ascii();
    (octal && !name.is_empty()).then_some(name)
}

/// Fields that begin a message, and that tell one from a text with a colon in it.
const FIELDS: &[&[u8]] = &[
    b"received:",
    b"return-path:",
    b"delivered-to:",
    b"from:",
    b"to:",
    b"cc:",
    b"subject:",
    b"date:",
    b"message-id:",
    b"mime-version:",
    b"content-type:",
    b"content-transfer-encoding:",
    b"content-disposition:",
    b"x-mailer:",
    b"reply-to:",
    b"sender:",
    b"dkim-signature:",
    b"authentication-results:",
];

/// Lines that are no fields, and that readers of mail pass over where a message has parts.
const MAX_ODD: usize = 3;

/// Whether it begins like a message: a field first, and at least two that messages have; or, among odd lines too, the one
/// that says it has parts.
fn is_message(start: &[u8]) -> bool {
    let mut found = 0;
    let mut odd = 0;
    let mut parts = false;
    let lines = start.split(|octet| *octet == b'\n').take(200);
    for (number, line) in lines.enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if number == 0 && (line.starts_with(b"from ") || line.starts_with(b">from ")) {
            continue;
        }
        if line.is_empty() {
            break;
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            continue;
        }
        let name = memchr::memchr(b':', line).map(|colon| some(line, 0, colon));
        if name.is_none_or(|name| !name.iter().all(u8::is_ascii_graphic)) {
            odd += 1;
            if odd > MAX_ODD {
                return false;
            }
            continue;
        }
        if FIELDS.iter().any(|field| line.starts_with(field)) {
            found += 1;
        }
        let kind = line.strip_prefix(b"content-type:");
        parts |= kind.is_some_and(|kind| holds(some(kind, 0, 200), b"multipart/"));
    }
    parts || (odd == 0 && found >= 2)
}

/// The name of the first element, behind declarations and comments.
pub(crate) fn root(text: &[u8]) -> &[u8] {
    // Each is looked at once.
    const MOST: usize = 16;
    let mut rest = text;
    for _ in 0..MOST {
        let Some(open) = memchr::memchr(b'<', rest) else {
            break;
        };
        rest = crate::octets::rest(rest, open + 1);
        let end: &[u8] = match rest.first() {
            Some(b'!') if rest.starts_with(b"!--") => b"-->",
            Some(b'!' | b'?') => b">",
            _ => {
                let is_name = |octet: &u8| octet.is_ascii_alphanumeric() || b":_-.".contains(octet);
                let end = rest.iter().position(|octet| !is_name(octet));
                return some(rest, 0, end.unwrap_or(rest.len()));
            }
        };
        let Some(behind) = find(rest, end) else {
            break;
        };
        rest = crate::octets::rest(rest, behind + end.len());
    }
    &[]
}

/// Elements that only HTML has.
static HTML_TAGS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    any_of(&[
        b"<!doctype html",
        b"<html",
        b"<head",
        b"<body",
        b"<script",
        b"<iframe",
        b"<meta",
        b"<title",
        b"<style",
        b"<table",
        b"<div",
        b"<font",
        b"<center",
        b"<p>",
        b"<br",
        b"<a ",
        b"<img",
    ])
});

/// HTML, SVG, XML and what is written in them.
fn markup(start: &[u8]) -> Option<Kind> {
    if !start.starts_with(b"<") {
        return None;
    }
    if holds(start, b"<hta:application") {
        return Some(Kind::WindowsScript);
    }
    if matches!(
        root(start),
        b"job" | b"package" | b"component" | b"scriptlet"
    ) && holds(start, b"<script")
        && !holds(start, b"<html")
    {
        return Some(Kind::WindowsScript);
    }
    let head = some(start, 0, 4096);
    let svg = find(head, b"<svg");
    let html = HTML_TAGS.as_ref().and_then(|tags| tags.find(head));
    let html = html.map(|tag| tag.start());
    match (svg, html) {
        (Some(svg), Some(html)) if html < svg => Some(Kind::Html),
        (Some(_), _) => Some(Kind::Svg),
        (None, Some(_)) => Some(Kind::Html),
        (None, None) if head.starts_with(b"<?xml") || head.starts_with(b"<!doctype") => {
            Some(Kind::Xml)
        }
        (None, None) => None,
    }
}

/// What hardly anything but a script for Windows Script Host holds.
const HOST_WORDS: &[&[u8]] = &[
    b"wscript.shell",
    b"scripting.filesystemobject",
    b"wscript.createobject",
    b"adodb.stream",
    b"getobject(\"winmgmts",
    b"wscript.scriptfullname",
];

/// What scripts for `PowerShell` hold, of which two are needed.
const SHELL_WORDS: &[&[u8]] = &[
    b"invoke-expression",
    b"iex (",
    b"iex(",
    b"new-object net.webclient",
    b"new-object system.net.webclient",
    b"invoke-webrequest",
    b".downloadstring(",
    b".downloadfile(",
    b"frombase64string(",
    b"-encodedcommand",
    b"[reflection.assembly]::load",
    b"[system.reflection.assembly]::load",
    b"set-executionpolicy",
    b"start-process",
    b"add-type -typedefinition",
    b"set-strictmode",
    b"write-host",
    b"write-output",
    b"$env:",
    b"[cmdletbinding()]",
    b"get-childitem",
];

/// What batch files hold, of which two are needed.
const BATCH_WORDS: &[&[u8]] = &[
    b"%~dp0",
    b"%comspec%",
    b"%temp%\\",
    b"%appdata%\\",
    b"setlocal enabledelayedexpansion",
    b"cmd.exe /c",
    b"goto :eof",
];

/// All these words, for one search: nearly every text holds none of them.
static SCRIPT_WORDS: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| any_of(&[HOST_WORDS, SHELL_WORDS, BATCH_WORDS].concat()));

/// Scripts without a signature. One word that only such a script has cause to hold, or two that are frequent there.
fn script(text: &[u8]) -> Option<Kind> {
    let mut first = text.split(|octet| *octet == b'\n').take(5);
    let is_echo = |line: &[u8]| {
        let line = line.trim_ascii();
        line.starts_with(b"@echo off")
            || line.starts_with(b"@cmd ")
            || line.starts_with(b"@powershell")
    };
    let echo = memchr::memchr(b'@', text).is_some() && first.any(is_echo);
    let holds_none = |words: &AhoCorasick| !words.is_match(text);
    if !echo && SCRIPT_WORDS.as_ref().is_some_and(holds_none) {
        return None;
    }
    let count = |words: &[&[u8]]| words.iter().filter(|word| holds(text, word)).count();
    if count(HOST_WORDS) >= 1 && count(&[b"createobject", b"activexobject", b"getobject("]) >= 1 {
        return Some(Kind::WindowsScript);
    }
    if count(SHELL_WORDS) >= 2 {
        return Some(Kind::PowerShell);
    }
    (echo || count(BATCH_WORDS) >= 2).then_some(Kind::Batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_stands_alone_in_its_line() {
        for head in [
            "[shell]",
            "x\r\n [shell]\t\r\ny",
            "[shell] [shell]\n[shell]",
        ] {
            assert!(section(head.as_bytes(), b"[shell]"), "{head:?}");
        }
        for head in [
            "",
            "a[shell]",
            "[shell] [shell]",
            "[shell]b\r\n",
            "x\n[shell] y",
        ] {
            assert!(!section(head.as_bytes(), b"[shell]"), "{head:?}");
        }
    }
}
