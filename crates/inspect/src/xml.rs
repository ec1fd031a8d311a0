//! XML as programs for documents read it: in UTF-16 too, with whatever prefixes, quotes, blanks and references.
//!
//! Entry: [`decoded`], then [`read`]. Nothing that a document declares itself is expanded: OPC and `OpenDocument` know no
//! such declarations (ECMA-376-2 section 8.2.5.3).

use std::borrow::Cow;

use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::octets::{find, holds, rest, some};

/// What is told of a document, in its order.
pub(crate) enum Piece<'x> {
    /// An element begins.
    Begin(&'x Element<'x>),
    /// One ends; its name without a prefix.
    End(&'x str),
    /// Text between, its references resolved.
    Text(&'x str),
}

/// The tag an element begins with.
pub(crate) struct Element<'x>(BytesStart<'x>);

impl Element<'_> {
    /// Its name without a prefix.
    pub(crate) fn name(&self) -> &str {
        self.0.local_name().into_inner()
    }

    /// Its prefix; empty where it has none.
    pub(crate) fn prefix(&self) -> &str {
        let prefix = self.0.name().prefix();
        prefix.map_or("", quick_xml::name::Prefix::into_inner)
    }

    /// The values of all attributes of a name, whatever their prefixes: which of two a program takes is not known. There may be any
    /// number of them, in a namespace each.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = String> {
        let of_name = move |(key, value): (String, String)| {
            (key.rsplit(':').next() == Some(name)).then_some(value)
        };
        self.attributes_if(name).filter_map(of_name)
    }

    /// Prefixes, and the namespaces they stand for from here on.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = (String, String)> {
        let declared = |(key, value): (String, String)| {
            let prefix = key.strip_prefix("xmlns")?;
            let prefix = prefix
                .strip_prefix(':')
                .or(prefix.is_empty().then_some(""))?;
            Some((prefix.to_owned(), value))
        };
        self.attributes_if("xmlns").filter_map(declared)
    }

    /// What stands in the tag behind the name.
    pub(crate) fn raw(&self) -> &str {
        self.0.attributes_raw()
    }

    /// None where the tag does not hold this word.
    fn attributes_if(&self, word: &str) -> impl Iterator<Item = (String, String)> {
        let is_there = self.raw().contains(word);
        is_there.then(|| self.attributes()).into_iter().flatten()
    }

    fn attributes(&self) -> impl Iterator<Item = (String, String)> {
        // One that is not well-formed ends nothing: what follows may be what matters.
        let mut attributes = self.0.attributes();
        attributes.with_checks(false);
        attributes.filter_map(Result::ok).map(|attribute| {
            let value = resolved(&attribute.value).into_owned();
            (attribute.key.into_inner().to_owned(), value)
        })
    }
}

/// Whether octets may be XML: a document begins with an element, a declaration, or a mark of its encoding.
pub(crate) fn may_be(octets: &[u8]) -> bool {
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    wide(octets).is_some() || wider(octets).is_some() || octets.trim_ascii_start().starts_with(b"<")
}

/// UTF-16, and by which octet of a pair comes first, by its mark or its first letters (XML 1.0, appendix F).
fn wide(octets: &[u8]) -> Option<&'static Encoding> {
    match octets {
        [0xff, 0xfe, ..] | [b'<' | b' ' | b'\t' | b'\r' | b'\n', 0, ..] => Some(UTF_16LE),
        [0xfe, 0xff, ..] | [0, b'<' | b' ' | b'\t' | b'\r' | b'\n', ..] => Some(UTF_16BE),
        _ => None,
    }
}

/// UTF-32, and how four octets make a letter, by its mark or its first one (XML 1.0, appendix F).
fn wider(octets: &[u8]) -> Option<fn([u8; 4]) -> u32> {
    match octets {
        [0xff, 0xfe, 0, 0, ..] | [b'<', 0, 0, 0, ..] => Some(u32::from_le_bytes),
        [0, 0, 0xfe, 0xff, ..] | [0, 0, 0, b'<', ..] => Some(u32::from_be_bytes),
        _ => None,
    }
}

/// The text of a document. What is in no encoding it could be in is replaced.
pub(crate) fn decoded(octets: &[u8]) -> Cow<'_, str> {
    if let Some(number) = wider(octets) {
        let letters = octets.as_chunks().0.iter().map(|letter| number(*letter));
        let letters = letters.filter(|letter| *letter != 0xfeff);
        let replaced = |letter| char::from_u32(letter).unwrap_or(char::REPLACEMENT_CHARACTER);
        return Cow::Owned(letters.map(replaced).collect());
    }
    if let Some(encoding) = wide(octets) {
        return encoding.decode_with_bom_removal(octets).0;
    }
    let plain = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    let label = declared(plain).unwrap_or_default();
    if holds(&label.to_ascii_lowercase(), b"utf-7") {
        return Cow::Owned(crate::readings::utf7(plain, b'+'));
    }
    let declared = Encoding::for_label(label);
    // It shifts, and letters may stand for others.
    if declared == Some(ISO_2022_JP) {
        return ISO_2022_JP.decode_without_bom_handling(plain).0;
    }
    if let Ok(text) = std::str::from_utf8(plain) {
        return Cow::Borrowed(text);
    }
    let declared = declared.filter(|encoding| encoding.is_ascii_compatible());
    let encoding = declared.unwrap_or(UTF_8);
    encoding.decode_without_bom_handling(plain).0
}

/// The encoding that a declaration names, however long it is.
fn declared(octets: &[u8]) -> Option<&[u8]> {
    let declaration = octets.strip_prefix(b"<?xml")?;
    let declaration = some(declaration, 0, find(declaration, b"?>")?);
    let value = rest(
        declaration,
        find(declaration, b"encoding")?.saturating_add(8),
    );
    let value = value.trim_ascii_start().strip_prefix(b"=")?;
    let (quote, value) = value.trim_ascii_start().split_first()?;
    Some(some(value, 0, memchr::memchr(*quote, value)?.min(64)))
}

/// Tells `see` of all pieces, in order. False: it is not well-formed, and something may not have been read.
pub(crate) fn read(xml: &str, see: &mut dyn FnMut(Piece<'_>)) -> bool {
    let mut reader = Reader::from_str(xml);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let mut is_whole = true;
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => {
                // In no tag another begins.
                is_whole &= !tag.contains('<');
                see(Piece::Begin(&Element(tag)));
            }
            Ok(Event::Empty(tag)) => {
                is_whole &= !tag.contains('<');
                let element = Element(tag);
                see(Piece::Begin(&element));
                see(Piece::End(element.name()));
            }
            Ok(Event::End(tag)) => see(Piece::End(tag.local_name().into_inner())),
            Ok(Event::Text(text)) => see(Piece::Text(&text)),
            Ok(Event::CData(text)) => see(Piece::Text(&text)),
            Ok(Event::GeneralRef(reference)) => {
                let mut letter = [0; 4];
                if let Some(text) = referred(&reference, &mut letter) {
                    see(Piece::Text(text));
                }
            }
            Ok(Event::Comment(_) | Event::Decl(_) | Event::DocType(_) | Event::PI(_)) => {}
            Ok(Event::Eof) => return is_whole,
            Err(_) => return false,
        }
    }
}

/// What `&name;` stands for.
fn referred<'l>(name: &str, letter: &'l mut [u8; 4]) -> Option<&'l str> {
    let Some(number) = name.strip_prefix('#') else {
        return quick_xml::escape::resolve_predefined_entity(name);
    };
    let number = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    };
    let found = char::from_u32(number.ok()?)?;
    Some(found.encode_utf8(letter))
}

/// An attribute's value: its references resolved, and its ends of lines blanks (XML 1.0 section 3.3.3).
fn resolved(value: &str) -> Cow<'_, str> {
    if !value.contains(['&', '\t', '\r', '\n']) {
        return Cow::Borrowed(value);
    }
    let mut plain = String::with_capacity(value.len());
    let mut pieces = value.split('&');
    let blank = |text: &str| text.replace(['\t', '\r', '\n'], " ");
    plain.push_str(&blank(pieces.next().unwrap_or_default()));
    for piece in pieces {
        let mut letter = [0; 4];
        let found = piece
            .split_once(';')
            .and_then(|(name, behind)| Some((referred(name, &mut letter)?, behind)));
        if let Some((text, behind)) = found {
            plain.push_str(text);
            plain.push_str(&blank(behind));
        } else {
            plain.push('&');
            plain.push_str(&blank(piece));
        }
    }
    Cow::Owned(plain)
}

/// Whether a text may be a document in one file, though a page may begin so, too: it says that it is XML, or its first element
/// is one of such.
pub(crate) fn is_document(octets: &[u8]) -> bool {
    const ROOTS: [&str; 6] = [
        "document",
        "document-content",
        "package",
        "wordDocument",
        "workbook",
        "worksheet",
    ];
    if !may_be(octets) {
        return false;
    }
    let behind = behind_comments(octets);
    let head = decoded(some(behind, 0, 8192));
    let head = head.trim_start();
    let root = String::from_utf8_lossy(crate::kind::root(head.as_bytes())).into_owned();
    let root = root.rsplit(':').next().unwrap_or_default();
    head.starts_with("<?xml")
        || head.starts_with("<?mso")
        || ROOTS.iter().any(|known| root.eq_ignore_ascii_case(known))
}

/// What follows the comments a text begins with, however many; instructions that are no declaration are passed over, too.
fn behind_comments(octets: &[u8]) -> &[u8] {
    let mut behind = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    loop {
        let begin = behind.trim_ascii_start();
        let end: &[u8] = if begin.starts_with(b"<!--") {
            b"-->"
        } else if begin.starts_with(b"<?")
            && !begin.starts_with(b"<?xml")
            && !begin.starts_with(b"<?mso")
        {
            b"?>"
        } else {
            return behind;
        };
        let Some(at) = find(rest(begin, 2), end) else {
            return behind;
        };
        behind = rest(begin, at.saturating_add(2).saturating_add(end.len()));
    }
}
