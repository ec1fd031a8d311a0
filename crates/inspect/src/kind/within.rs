//! What lies in the middle or at the end of something else: a zip behind a picture, an archive behind a program, a
//! program anywhere.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use memchr::memmem;

use super::{Class, Kind, magic, text};
use crate::octets::{any_of, find_last, piece, place, rest, some, u8_at, u16le, u32le};

/// Something that begins within other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hidden {
    /// Where it begins; for a ZIP, which is read from its end, where its directory ends.
    pub at: usize,
    /// What it is.
    pub kind: Kind,
}

/// What begins within something else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllHidden {
    /// What was found.
    pub found: Vec<Hidden>,
    /// There is more of one kind than is looked into.
    pub more: bool,
}

/// At most so many of one kind, of which the first may be no archive at all.
const OF_ONE_KIND: usize = 8;

/// A program's second header lies near its first one, in any program that a linker made.
const PE_HEADER_WITHIN: usize = 0x1000;

/// Signatures of archives that are put behind something else, how far behind their beginning they stand, and what they are
/// of. That of ARJ is too short to be looked for beside others.
const BEHIND: [(&[u8], usize, Kind); 8] = [
    (b"Rar!\x1a\x07\x01\0", 0, Kind::Rar5),
    (b"Rar!\x1a\x07\0", 0, Kind::Rar4),
    (b"7z\xbc\xaf\x27\x1c", 0, Kind::SevenZip),
    (b"MSCF", 0, Kind::Cab),
    (b"PK\x05\x06", 0, Kind::Zip),
    (b"-lh", 2, Kind::Lzh),
    (b"-lz", 2, Kind::Lzh),
    (b"-pm", 2, Kind::Lzh),
];

/// What begins within content of the given kind. Reads all of it once.
pub fn hidden(octets: &[u8], kind: Kind) -> AllHidden {
    let mut all = AllHidden::default();
    let found = &mut all.found;
    found.extend(as_well(octets, kind));
    if !is_zip(kind)
        && let Some(at) = magic::zip_end(octets)
    {
        found.push(Hidden {
            at,
            kind: Kind::Zip,
        });
    }
    if !stores(octets, kind) {
        let more = behind(octets, kind, found);
        // Archives that an archive holds unpacked are its members, and so are those in messages and notes.
        let holds = matches!(kind, Kind::Ole2 | Kind::Msi | Kind::Tnef | Kind::OneNote);
        all.more = more && !holds && kind.class() != Class::Archive;
    }
    if kind.class() != Class::Program && octets.len() > 128 {
        programs(octets, found);
    }
    if matches!(kind, Kind::Text | Kind::Html) {
        uuencoded(octets, found);
    }
    all
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

/// Whether archives lie in it as they are: its members are judged by themselves.
fn stores(octets: &[u8], kind: Kind) -> bool {
    matches!(kind, Kind::Tar | Kind::Cpio | Kind::Ar)
        || kind.class() == Class::Disk
        || is_zip(kind) && magic::zip_end(octets).is_some()
}

/// Archives that begin behind the very beginning. In what may hold such signatures by chance, or holds archives as they are,
/// their heads must be right. Gives whether there are more than were taken.
fn behind(octets: &[u8], kind: Kind, found: &mut Vec<Hidden>) -> bool {
    static SEARCH: LazyLock<Option<AhoCorasick>> =
        LazyLock::new(|| any_of(&BEHIND.map(|(signature, ..)| signature)));
    let Some(search) = SEARCH.as_ref() else {
        return false;
    };
    let mut heads = Heads {
        octets,
        strict: !(matches!(
            kind.class(),
            Class::Program | Class::Media | Class::Other | Class::Markup
        ) || kind == Kind::Pdf),
        left: octets.len().saturating_add(1 << 16),
        found: Vec::new(),
        more: false,
    };
    let mut zip_end = None;
    for one in search.find_iter(octets) {
        let Some((_, before, kind)) = BEHIND.get(one.pattern().as_usize()) else {
            continue;
        };
        if *kind == Kind::Zip {
            if magic::lists_something(octets, one.start()) {
                zip_end = Some(one.start());
            }
        } else if let Some(at) = one.start().checked_sub(*before) {
            heads.take(at, *kind);
        }
    }
    // A search for two octets beside the others would make all of it ten times slower.
    for at in memmem::find_iter(octets, b"\x60\xea") {
        heads.take(at, Kind::Arj);
    }
    found.append(&mut heads.found);
    // Some programs look for it farther from the end than they should.
    if let Some(at) = zip_end
        && !is_zip(kind)
        && found.iter().all(|found| found.kind != Kind::Zip)
    {
        let kind = Kind::Zip;
        found.push(Hidden { at, kind });
    }
    heads.more
}

/// Archives found by their heads.
struct Heads<'o> {
    octets: &'o [u8],
    /// One whose head is wrong is none.
    strict: bool,
    /// Octets that may still be summed up: each head says how many it has.
    left: usize,
    found: Vec<Hidden>,
    /// There was one more of a kind of which enough had been found.
    more: bool,
}

impl Heads<'_> {
    fn take(&mut self, at: usize, kind: Kind) {
        let of_kind = self.found.iter().filter(|found| found.kind == kind).count();
        let enough = of_kind >= OF_ONE_KIND;
        if at == 0 || enough && (self.more || matches!(kind, Kind::Arj | Kind::Lzh)) {
            return;
        }
        let from = rest(self.octets, at);
        let loose = !self.strict
            && of_kind == 0
            && matches!(kind, Kind::Rar4 | Kind::Rar5 | Kind::SevenZip);
        let is_one = match kind {
            Kind::Rar4 => self.rar4(from),
            Kind::Rar5 => self.rar5(from),
            Kind::SevenZip => self.summed(u32le(from, 8), piece(from, 12, 20)),
            Kind::Cab => cab(from),
            Kind::Arj => self.arj(from),
            _ => self.lzh(from),
        };
        if is_one.is_some() && enough {
            // Each member of these begins like an archive.
            self.more |= !matches!(kind, Kind::Arj | Kind::Lzh);
        } else if loose || is_one.is_some() {
            self.found.push(Hidden { at, kind });
        }
    }

    /// Whether `right` is so of some octets. Where so many were asked for that no more are counted, it is taken to be so.
    fn counted(&mut self, octets: &[u8], right: impl FnOnce(&[u8]) -> bool) -> Option<()> {
        let Some(left) = self.left.checked_sub(octets.len()) else {
            return Some(());
        };
        self.left = left;
        right(octets).then_some(())
    }

    fn summed(&mut self, sum: Option<u32>, octets: Option<&[u8]>) -> Option<()> {
        let (sum, octets) = (sum?, octets?);
        self.counted(octets, |octets| crc32(octets) == sum)
    }

    /// The head of the archive that follows the mark, with half a sum.
    fn rar4(&mut self, from: &[u8]) -> Option<()> {
        let size = u16le(from, 12).map(usize::from)?;
        let head = piece(from, 9, size.checked_sub(2)?)?;
        if head.first() != Some(&0x73) || size < 13 {
            return None;
        }
        let sum = u32::from(u16le(from, 7)?);
        self.counted(head, |head| crc32(head) & 0xffff == sum)
    }

    /// The head that follows the mark: a sum, its size in sevens of bits, and as much.
    fn rar5(&mut self, from: &[u8]) -> Option<()> {
        let (mut size, mut width) = (0_usize, 0_usize);
        loop {
            let octet = u8_at(from, 12 + width)?;
            size |= usize::from(octet & 0x7f) << (7 * width);
            width += 1;
            if octet & 0x80 == 0 {
                break;
            }
            if width == 3 {
                return None;
            }
        }
        self.summed(u32le(from, 8), piece(from, 12, width.checked_add(size)?))
    }

    /// A size, a head of it, and its sum.
    fn arj(&mut self, from: &[u8]) -> Option<()> {
        let size = u16le(from, 2)
            .map(usize::from)
            .filter(|size| (2..=ARJ_HEAD_MAX).contains(size))?;
        self.summed(u32le(from, 4 + size), piece(from, 4, size))
    }

    /// A head whose octets add up, or one of the later levels whose pieces end where it does.
    fn lzh(&mut self, from: &[u8]) -> Option<()> {
        if u8_at(from, 6) != Some(b'-') {
            return None;
        }
        let level = u8_at(from, 20)?;
        if level < 2 {
            let head = piece(from, 2, u8_at(from, 0).map(usize::from)?)?;
            let sum = u8_at(from, 1)?;
            let add = |head: &[u8]| head.iter().copied().fold(0, u8::wrapping_add);
            return self.counted(head, |head| head.len() >= 20 && add(head) == sum);
        }
        let (size, mut next, wide) = match level {
            2 => (u16le(from, 0).map(usize::from)?, 24, false),
            3 if u16le(from, 0) == Some(4) => (u32le(from, 24).map(place)?, 28, true),
            _ => return None,
        };
        for _ in 0..64 {
            let (length, width) = if wide {
                (u32le(from, next).map(place)?, 4)
            } else {
                (u16le(from, next).map(usize::from)?, 2)
            };
            if length == 0 {
                let end = next.saturating_add(width);
                // One octet may fill it up.
                return (end == size || end.saturating_add(1) == size).then_some(());
            }
            if length <= width {
                return None;
            }
            next = next.saturating_add(length);
        }
        None
    }
}

fn crc32(octets: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(octets);
    sum.sum()
}

/// A head larger than this is none of ARJ.
const ARJ_HEAD_MAX: usize = 2600;

/// The head of a cabinet: it lies within what there is, and has folders and files (MS-CAB 2.2). What is reserved no program
/// looks at.
fn cab(from: &[u8]) -> Option<()> {
    // That much may be missing at its end.
    let most = from.len().saturating_add(32);
    let size = u32le(from, 8).map(place).filter(|size| *size <= most)?;
    let files = u32le(from, 16).map(place)?;
    let (folders, count) = (u16le(from, 26)?, u16le(from, 28)?);
    (files >= 36 && files < size && folders > 0 && count > 0).then_some(())
}

fn is_zip(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Zip | Kind::Jar | Kind::Apk | Kind::Appx | Kind::Ooxml | Kind::OoxmlMacro | Kind::Odf
    )
}

/// Programs for Windows, anywhere. Both headers must be there, so that chance does not make one.
fn programs(octets: &[u8], found: &mut Vec<Hidden>) {
    let mut programs = 0;
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
            programs += 1;
            if programs >= OF_ONE_KIND {
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
