//! OLE2 files: what is embedded in documents, the text of their macros, the attachments of Outlook messages.
//!
//! The texts of macros come out as members of the type [`VBA`], so that whoever judges content judges them.

mod compound;
mod vba;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) use compound::{Compound, Stream};

use super::{Member, Sink, Trouble, Unread, inflate};
use crate::kind::{self, Class, Kind};
use crate::octets::{name, place, rest, some, u16le, u32le, until_zero, utf16le, utf16le_whole};
use crate::{Limit, LimitReached};

/// The type given to the text of a macro.
pub(crate) const VBA: &str = "text/x-vba";

/// The type given to a macro sheet of Excel 4, of which only the presence is known.
pub(crate) const MACRO_SHEET: &str = "application/x-macro-sheet";

/// The type given to the number formats of a workbook, one a line.
pub(crate) const FORMATS: &str = "text/x-number-formats";

/// The type given to where an object is linked from; places are parted by noughts.
pub(crate) const LINK: &str = "text/x-ole-link";

/// The type given to instructions of fields of DDE, one a line; a mark stands where another field lies in one.
pub(crate) const FIELDS: &str = "text/x-dde-fields";

/// The type given to links of a workbook, one a line: whom it asks by DDE, a tab, and for what.
pub(crate) const DDE_LINKS: &str = "text/x-dde-links";

/// The class of the Equation Editor, as files hold it: {0002CE02-0000-0000-C000-000000000046}.
pub(crate) const EQUATION: &[u8] = b"\x02\xce\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46";

/// The class of a moniker that is an address: {79EAC9E0-BAF9-11CE-8C82-00AA004BA90B}.
const ADDRESS: &[u8] = b"\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\0\xaa\0\x4b\xa9\x0b";

/// That of one that is a file: {00000303-0000-0000-C000-000000000046}.
const FILE: &[u8] = b"\x03\x03\0\0\0\0\0\0\xc0\0\0\0\0\0\0\x46";

/// No address or path is longer.
const LINK_MAX: usize = 4096;

/// Those of monikers that run what they lead to: a script, what a class makes anew, SOAP (CVE-2017-8570, CVE-2017-8759).
const RUNNING: [&[u8]; 3] = [
    b"\xd3\x0b\x29\x06\xaa\x48\xd2\x11\x84\x32\0\x60\x08\xc3\xfb\xfc",
    b"\xc6\xaf\xab\xec\x19\x7f\xd2\x11\x97\x8e\0\0\xf8\x75\x7e\x2a",
    b"\xc7\xb0\xab\xec\x19\x7f\xd2\x11\x97\x8e\0\0\xf8\x75\x7e\x2a",
];

/// Names that one attachment may have.
const NAMES_MAX: usize = 16;

/// Streams of macros larger than this were written to exhaust their readers.
const MACRO_MAX: usize = 8 << 20;

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    let Some(file) = Compound::open(octets) else {
        sink.trouble(Trouble::Damaged("its head is none"));
        return;
    };
    if file.more {
        sink.trouble(Trouble::Limit(LimitReached(Limit::Parts)));
    }
    let streams = file.streams();
    let mut macros: Vec<u8> = Vec::new();
    let mut attachments: BTreeMap<&str, Vec<&Stream>> = BTreeMap::new();
    for stream in streams {
        let title = stream.name();
        if title.starts_with("__substg1.0_") && stream.path.contains("__attach_version1.0_") {
            attachments.entry(stream.folder()).or_default().push(stream);
            continue;
        }
        if title == "EncryptedPackage" {
            sink.trouble(Trouble::EncryptedNames);
        }
        if !one(&file, stream, &mut macros, sink) {
            return;
        }
    }
    if !macros.is_empty() {
        // Together: what runs by itself and what it calls may stand in different modules.
        sink.produced(&macros);
        let more = sink.member(Member {
            names: vec!["macros.bas".to_owned()],
            types: vec![VBA.to_owned()],
            octets: Cow::Owned(macros),
            inner: true,
            ..Member::default()
        });
        if !more {
            return;
        }
    }
    reminder(&file, sink);
    for parts in attachments.values() {
        if !attachment(&file, parts, sink) {
            return;
        }
    }
}

/// What one stream of a document holds.
fn one(file: &Compound<'_>, stream: &Stream, macros: &mut Vec<u8>, sink: &mut Sink<'_>) -> bool {
    let (most, limit) = sink.allowance();
    let content = file.content(stream, crate::octets::place64(most).saturating_add(1));
    if crate::octets::count(&content) > most {
        sink.limit(LimitReached(limit));
        return false;
    }
    // Paid whether or not anything comes of it: chains may go over the same sectors.
    sink.produced(&content);
    let title = stream.name();
    // Names are compared in capital letters (MS-CFB 2.6.4).
    match title.to_ascii_uppercase().as_str() {
        "\u{1}OLE10NATIVE" => {
            return match package(rest(&content, 4)) {
                Some(member) => sink.member(member),
                None => inner(sink, "Ole10Native", &content),
            };
        }
        "\u{1}OLE" => return link(&content, sink),
        "PACKAGE" | "CONTENTS" => {
            return inner(sink, title, &content);
        }
        "POWERPOINT DOCUMENT" => return presentation(&content, sink),
        "WORDDOCUMENT" if !fields(&content, sink) => return false,
        "WORKBOOK" | "BOOK" => return workbook(title, &content, sink),
        _ => {}
    }
    let folder = stream.folder();
    if folder
        .split('/')
        .any(|part| part.eq_ignore_ascii_case("VBA"))
        && title != "dir"
    {
        let (texts, mut cut) = vba::texts(some(&content, 0, MACRO_MAX));
        cut |= content.len() > MACRO_MAX;
        for text in texts {
            if macros.len().saturating_add(text.len()) <= MACRO_MAX {
                macros.extend_from_slice(&text);
                macros.push(b'\n');
            } else {
                cut = true;
            }
        }
        // What was not read may be what runs.
        if cut {
            sink.trouble(Trouble::Limit(LimitReached(Limit::MemberOctets)));
        }
        return true;
    }
    // Anything else that would be something by itself.
    let kind = kind::of(&content);
    if matches!(
        kind.class(),
        Class::Program | Class::Shortcut | Class::Archive | Class::Disk
    ) || matches!(
        kind,
        Kind::Ole2
            | Kind::OoxmlMacro
            | Kind::Ooxml
            | Kind::Pdf
            | Kind::WindowsScript
            | Kind::EncodedScript
    ) || kind::hidden(&content, Kind::Ole2)
        .found
        .iter()
        .any(|found| found.kind == Kind::Pe)
    {
        return inner(sink, title, &content);
    }
    true
}

fn inner(sink: &mut Sink<'_>, title: &str, content: &[u8]) -> bool {
    if content.is_empty() {
        return true;
    }
    sink.member(Member {
        names: vec![title.to_owned()],
        octets: Cow::Borrowed(content),
        inner: true,
        ..Member::default()
    })
}

/// How a field begins in the text of a document, and what ends its instruction: a field within, its result, its end (MS-DOC
/// 2.8.25).
const FIELD: u8 = 0x13;
const FIELD_END: u8 = 0x15;

/// Fields of DDE, in letters of one octet or of two.
fn fields(content: &[u8], sink: &mut Sink<'_>) -> bool {
    let mut lines = String::new();
    for at in memchr::memchr_iter(FIELD, content) {
        let from = rest(content, at.saturating_add(1));
        let is_mark = |octet: u8| (FIELD..=FIELD_END).contains(&octet);
        // To the next mark, however far it is: so nothing is read twice. Where none comes, programs may take what there is.
        let (instruction, mark) = if let Some(from) = from.strip_prefix(b"\0") {
            let mut units = from.chunks_exact(2);
            let end = units.position(|unit| matches!(unit, [low, 0] if is_mark(*low)));
            let end = end.map_or(from.len(), |end| end.saturating_mul(2));
            (utf16le(some(from, 0, end)), from.get(end))
        } else {
            let mut letters = from.iter();
            let end = letters.position(|letter| is_mark(*letter));
            let end = end.unwrap_or(from.len());
            (name(some(from, 0, end)), from.get(end))
        };
        let begin = instruction.trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric());
        if crate::octets::begins(begin.as_bytes(), b"dde") {
            for word in begin.split_whitespace() {
                lines.push_str(word);
                lines.push(' ');
            }
            if mark == Some(&FIELD) {
                lines.push(char::from(FIELD));
            }
            lines.push('\n');
        }
    }
    if lines.is_empty() {
        return true;
    }
    sink.produced(lines.as_bytes());
    sink.member(Member {
        names: vec!["fields".to_owned()],
        types: vec![FIELDS.to_owned()],
        octets: Cow::Owned(lines.into_bytes()),
        inner: true,
        ..Member::default()
    })
}

/// Where an object is linked from: monikers that are addresses or files, and whether one runs something (MS-OLEDS
/// 2.3.3). Which of them a program binds is not known.
fn link(content: &[u8], sink: &mut Sink<'_>) -> bool {
    let runs = RUNNING
        .iter()
        .any(|class| crate::octets::holds(content, class));
    let mut links = BTreeSet::new();
    if runs {
        links.insert("script:".to_owned());
    }
    for (class, is_file) in [(ADDRESS, false), (FILE, true)] {
        let mut left = content;
        while let Some(at) = crate::octets::find(left, class) {
            left = rest(left, at.saturating_add(class.len()));
            // No further than to the next one, so that nothing is read twice.
            let end = crate::octets::find(left, class).unwrap_or(left.len());
            let moniker = some(left, 0, end);
            if is_file {
                links.extend(paths(moniker));
            } else {
                links.insert(utf16le(some(moniker, 4, LINK_MAX)));
            }
        }
    }
    links.remove("");
    if links.is_empty() {
        return true;
    }
    let link = links.into_iter().collect::<Vec<_>>().join("\0");
    sink.produced(link.as_bytes());
    sink.member(Member {
        names: vec!["link".to_owned()],
        types: vec![LINK.to_owned()],
        octets: Cow::Owned(link.into_bytes()),
        inner: true,
        ..Member::default()
    })
}

/// The paths of a moniker that is a file: in letters of one octet, and in UTF-16 where those do not do (MS-OSHARED 2.3.7.8).
fn paths(moniker: &[u8]) -> Vec<String> {
    let length = u32le(moniker, 2).map_or(0, place);
    let mut paths = vec![name(until_zero(some(moniker, 6, length.min(LINK_MAX))))];
    // Behind it, where the server's name ends, a version and twenty octets of nothing.
    let at = length.saturating_add(30);
    if u32le(moniker, at).is_some_and(|size| size > 0) {
        let octets = u32le(moniker, at.saturating_add(4)).map_or(0, place);
        paths.push(utf16le(some(
            moniker,
            at.saturating_add(10),
            octets.min(LINK_MAX),
        )));
    }
    paths
}

/// What the packager of Windows keeps: a label, a path, another path, the content (as in `Ole10Native`).
pub(super) fn package(octets: &[u8]) -> Option<Member<'_>> {
    if u16le(octets, 0)? != 2 {
        return None;
    }
    let mut at = 2;
    let label = until_zero(some(octets, at, 4096));
    at += label.len() + 1;
    let path = until_zero(some(octets, at, 4096));
    at += path.len() + 1;
    // A number, then 3 for a file and 1 for a command line that a click would run.
    let what = u16le(octets, at + 2)?;
    at += 4;
    if what == 1 {
        return Some(Member {
            names: vec![name(label), "command line.cmd".to_owned()],
            octets: Cow::Borrowed(path),
            inner: false,
            ..Member::default()
        });
    }
    let length = place(u32le(octets, at)?);
    let second = until_zero(some(octets, at + 4, length.min(4096)));
    at = at.checked_add(4)?.checked_add(length)?;
    let size = place(u32le(octets, at)?);
    let content = some(octets, at.checked_add(4)?, size);
    let mut names = Vec::new();
    for found in [label, path, second] {
        let found = name(found);
        if !found.is_empty() && !names.contains(&found) {
            names.push(found);
        }
    }
    // Names in UTF-16 follow the content, and are what Windows shows today.
    let mut after = rest(octets, at.saturating_add(4).saturating_add(size));
    for _ in 0..3 {
        let Some(length) = u32le(after, 0).map(place).filter(|length| *length <= 2048) else {
            break;
        };
        let found = utf16le(some(after, 4, length.saturating_mul(2)));
        if !found.is_empty() && !names.contains(&found) {
            names.push(found);
        }
        after = rest(after, length.saturating_mul(2).saturating_add(4));
    }
    let short = content.len() < size;
    Some(Member {
        names,
        octets: Cow::Borrowed(content),
        unread: short.then_some(Unread::Damaged),
        ..Member::default()
    })
}

/// Objects in a presentation: records of their own, deflated as a rule (MS-PPT 2.10.34).
fn presentation(content: &[u8], sink: &mut Sink<'_>) -> bool {
    const OBJECT: u16 = 0x1011;
    let mut at = 0;
    while let (Some(first), Some(kind), Some(length)) = (
        u16le(content, at),
        u16le(content, at + 2),
        u32le(content, at + 4).map(place),
    ) {
        let body = some(content, at + 8, length);
        if kind == OBJECT {
            let (object, unread) = if first >> 4 == 1 {
                sink.unpack(&mut inflate::zlib(rest(body, 4)), None)
            } else {
                (body.to_vec(), None)
            };
            let more = sink.member(Member {
                names: vec!["object".to_owned()],
                octets: Cow::Owned(object),
                unread,
                inner: true,
                ..Member::default()
            });
            if !more {
                return false;
            }
        }
        // A container's records follow its head.
        at += if first & 0x0f == 0x0f {
            8
        } else {
            length.saturating_add(8)
        };
        if at >= content.len() {
            break;
        }
    }
    true
}

/// A workbook without a file around it.
pub(super) fn bare_workbook(octets: &[u8], sink: &mut Sink<'_>) {
    workbook("workbook", octets, sink);
}

/// What a workbook lists: number formats, sheets of Excel 4 macros, and links (FORMAT, BOUNDSHEET, SUPBOOK; MS-XLS 2.4.126,
/// 2.4.28, 2.4.271). Excel has them before its first sheet; `Spreadsheet::ParseExcel` takes formats wherever they stand.
fn workbook(title: &str, content: &[u8], sink: &mut Sink<'_>) -> bool {
    /// Octets of number formats that are handed out as one.
    const TOGETHER: usize = 1 << 20;
    let mut at = 0;
    let mut formats = Vec::new();
    let mut links = Vec::new();
    let mut sheet = false;
    let mut is_old = false;
    let dde = |text: &str, links: &mut Vec<u8>| {
        if let Some((service, topic)) = text.split_once('\u{3}') {
            let line = format!("{service}\t{topic}").replace(['\r', '\n'], " ");
            links.extend_from_slice(line.as_bytes());
            links.push(b'\n');
        }
    };
    let mut give = |kind: &str, octets: Vec<u8>| {
        sink.produced(&octets);
        sink.member(Member {
            names: vec![title.to_owned()],
            types: vec![kind.to_owned()],
            octets: Cow::Owned(octets),
            inner: true,
            ..Member::default()
        })
    };
    while let (Some(record), Some(length)) = (u16le(content, at), u16le(content, at + 2)) {
        let body = some(content, at + 4, usize::from(length));
        match record {
            0x85 => sheet |= body.get(5) == Some(&1),
            // BOF (MS-XLS 2.4.21): the version of what follows, and whether it is a sheet of macros.
            0x009 | 0x209 | 0x409 | 0x809 => {
                is_old |= record != 0x809 || u16le(body, 0) == Some(0x500);
                sheet |= u16le(body, 2) == Some(0x40);
            }
            0x41e => {
                // Letters of two octets, with whatever else is said of them in front, or of one, which old versions have only.
                let is_wide = body.get(4).is_some_and(|flags| flags & 1 == 1);
                if is_wide {
                    formats.extend_from_slice(utf16le_whole(rest(body, 5)).as_bytes());
                    formats.push(b'\n');
                }
                if is_old || !is_wide {
                    let text = rest(body, 3).iter().copied();
                    formats.extend(text.filter(|octet| *octet != 0));
                    formats.push(b'\n');
                }
                if formats.len() >= TOGETHER && !give(FORMATS, std::mem::take(&mut formats)) {
                    return false;
                }
            }
            // EXTERNSHEET of Excel 5 and 95: its length, and the same text; in later ones it holds numbers.
            0x17 if is_old => {
                let length = body.first().map_or(0, |length| usize::from(*length));
                dde(&name(some(body, 1, length)), &mut links);
            }
            // SUPBOOK (MS-XLS 2.4.271): a program and a topic, parted by a 3, where it is one of DDE.
            0x1ae => {
                let text = rest(body, 5);
                let text = if body.get(4).is_some_and(|flags| flags & 1 == 1) {
                    utf16le(text)
                } else {
                    name(text)
                };
                dde(&text, &mut links);
            }
            _ => {}
        }
        at += 4 + usize::from(length);
    }
    (!sheet || give(MACRO_SHEET, Vec::new()))
        && (links.is_empty() || give(DDE_LINKS, links))
        && (formats.is_empty() || give(FORMATS, formats))
}

/// The sound of a reminder in an Outlook message: a property with a name, which a table maps to a number.
fn reminder(file: &Compound<'_>, sink: &mut Sink<'_>) {
    let named = file
        .streams()
        .iter()
        .filter(|stream| stream.path.contains("__nameid_version1.0/"))
        .take(64)
        .any(|stream| crate::octets::holds(&file.content(stream, 1 << 16), b"\x1f\x85\0\0"));
    if !named {
        return;
    }
    for stream in file.streams() {
        let tag = stream.name().to_ascii_uppercase();
        if !tag.starts_with("__SUBSTG1.0_8") {
            continue;
        }
        let octets = file.content(stream, 2048);
        let text = if tag.ends_with("001F") {
            utf16le(&octets)
        } else if tag.ends_with("001E") {
            name(until_zero(&octets))
        } else {
            continue;
        };
        if text.starts_with("\\\\") {
            let more = sink.member(Member {
                names: vec!["reminder".to_owned()],
                types: vec![super::REMINDER.to_owned()],
                octets: Cow::Owned(text.into_bytes()),
                inner: true,
                ..Member::default()
            });
            if !more {
                return;
            }
        }
    }
}

/// An attachment of an Outlook message: its properties are streams (MS-OXMSG 2.2.2).
fn attachment(file: &Compound<'_>, parts: &[&Stream], sink: &mut Sink<'_>) -> bool {
    let mut member = Member::default();
    let mut data = None;
    for part in parts {
        let Some(tag) = part.name().strip_prefix("__substg1.0_") else {
            continue;
        };
        let tag = tag.to_ascii_uppercase();
        let wide = tag.ends_with("001F");
        let text = || {
            let octets = file.content(part, 4096);
            if wide {
                utf16le(&octets)
            } else {
                name(until_zero(&octets))
            }
        };
        match tag.get(..4) {
            // More names than any has say nothing new.
            Some("3704" | "3707" | "3001") if member.names.len() >= NAMES_MAX => {}
            Some("3707") => member.names.insert(0, text()),
            Some("3704" | "3001") => {
                let found = text();
                if !member.names.contains(&found) {
                    member.names.push(found);
                }
            }
            Some("370E") if member.types.len() < NAMES_MAX => {
                member.types.push(text().to_ascii_lowercase());
            }
            Some("3701") => data = Some(*part),
            _ => {}
        }
    }
    let Some(part) = data else {
        return true;
    };
    let (most, limit) = sink.allowance();
    let mut content = file.content(part, crate::octets::place64(most).saturating_add(1));
    if crate::octets::count(&content) > most {
        content.truncate(crate::octets::place64(most));
        member.unread = Some(sink.reached(limit));
    }
    sink.produced(&content);
    member.octets = Cow::Owned(content);
    sink.member(member)
}
