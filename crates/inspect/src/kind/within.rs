//! What lies in the middle or at the end of something else: a zip behind a picture, an archive behind a program, a
//! program anywhere.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use memchr::memmem;

use super::{Class, Kind, magic, text};
use crate::octets::{any_of, find_last, piece, place, rest, some, u16le, u32le};

/// Something that begins within other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hidden {
    /// Where it begins; for a ZIP, which is read from its end, where its directory ends.
    pub at: usize,
    /// What it is.
    pub kind: Kind,
}

/// At most so many are given back: the first is reason enough.
const MOST: usize = 8;

/// A program's second header lies near its first one, in any program that a linker made.
const PE_HEADER_WITHIN: usize = 0x1000;

/// Signatures of archives that are put behind a program or a picture.
const BEHIND: [(&[u8], Kind); 4] = [
    (b"Rar!\x1a\x07\x01\0", Kind::Rar5),
    (b"Rar!\x1a\x07\0", Kind::Rar4),
    (b"7z\xbc\xaf\x27\x1c", Kind::SevenZip),
    (b"MSCF\0\0\0\0", Kind::Cab),
];

/// What begins within content of the given kind. Reads all of it once.
pub fn hidden(octets: &[u8], kind: Kind) -> Vec<Hidden> {
    let mut found = Vec::new();
    found.extend(as_well(octets, kind));
    if !is_zip(kind)
        && let Some(at) = magic::zip_end(octets)
    {
        found.push(Hidden {
            at,
            kind: Kind::Zip,
        });
    }
    if matches!(
        kind.class(),
        Class::Program | Class::Media | Class::Other | Class::Markup
    ) || kind == Kind::Pdf
    {
        behind(octets, &mut found);
    }
    if kind.class() != Class::Program && octets.len() > 128 {
        programs(octets, &mut found);
    }
    if matches!(kind, Kind::Text | Kind::Html) {
        uuencoded(octets, &mut found);
    }
    found.truncate(MOST);
    found
}

/// What octets are besides what they begin like: the name of a tar's first member, and the first sectors of a CD, may hold the
/// signature of anything.
fn as_well(octets: &[u8], kind: Kind) -> Option<Hidden> {
    let found = if kind != Kind::Tar && magic::summed_tar(octets) {
        Kind::Tar
    } else if kind != Kind::Iso && magic::is_cd(octets) {
        Kind::Iso
    } else {
        return None;
    };
    Some(Hidden { at: 0, kind: found })
}

/// Where each of [`BEHIND`] stands first, but not at the very beginning.
fn behind(octets: &[u8], found: &mut Vec<Hidden>) {
    static SEARCH: LazyLock<Option<AhoCorasick>> =
        LazyLock::new(|| any_of(&BEHIND.map(|(signature, _)| signature)));
    let within = rest(octets, 1);
    let Some(search) = SEARCH.as_ref() else {
        return;
    };
    let mut first = [None; BEHIND.len()];
    for one in search.find_iter(within) {
        if let Some(first) = first.get_mut(one.pattern().as_usize()) {
            first.get_or_insert(one.start());
        }
        if first.iter().all(Option::is_some) {
            break;
        }
    }
    for (first, (_, kind)) in first.iter().zip(BEHIND) {
        found.extend(first.map(|at| Hidden {
            at: at.saturating_add(1),
            kind,
        }));
    }
}

fn is_zip(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Zip | Kind::Jar | Kind::Apk | Kind::Appx | Kind::Ooxml | Kind::OoxmlMacro | Kind::Odf
    )
}

/// Programs for Windows, anywhere. Both headers must be there, so that chance does not make one.
fn programs(octets: &[u8], found: &mut Vec<Hidden>) {
    for at in memmem::find_iter(octets, b"MZ") {
        let from = rest(octets, at);
        let Some(header) = u32le(from, 0x3c).map(place) else {
            break;
        };
        if header > PE_HEADER_WITHIN || piece(from, header, 4) != Some(b"PE\0\0") {
            continue;
        }
        // A processor that Windows runs or ran on, and at least one section.
        let machine = u16le(from, header.saturating_add(4));
        let sections = u16le(from, header.saturating_add(6));
        if matches!(
            machine,
            Some(
                0x14c
                    | 0x8664
                    | 0xaa64
                    | 0x1c0
                    | 0x1c2
                    | 0x1c4
                    | 0x200
                    | 0x184
                    | 0x166
                    | 0x1f0
                    | 0x0
            )
        ) && sections.is_some_and(|sections| (1..=96).contains(&sections))
            && at > 0
        {
            found.push(Hidden { at, kind: Kind::Pe });
            if found.len() >= MOST {
                break;
            }
        }
    }
}

/// Uuencoded files in a text, as mail had them before MIME.
fn uuencoded(octets: &[u8], found: &mut Vec<Hidden>) {
    let last_end = find_last(octets, b"\nend").unwrap_or(0);
    for at in memmem::find_iter(octets, b"\nbegin") {
        let at = at.saturating_add(1);
        let line = some(octets, at, 400);
        let line = line.split(|octet| *octet == b'\n').next().unwrap_or(&[]);
        if text::uuencode_begin(line).is_none() {
            continue;
        }
        // The next line must be one: its length as its first octet, and an end somewhere.
        let body = rest(octets, at.saturating_add(line.len()).saturating_add(1));
        let plausible = body
            .first()
            .is_some_and(|first| (0x21..=0x60).contains(first));
        if plausible && (line.starts_with(b"begin-base64") || last_end > at) {
            found.push(Hidden {
                at,
                kind: Kind::Uuencode,
            });
            // Its reader goes on to all that follow.
            break;
        }
    }
}
