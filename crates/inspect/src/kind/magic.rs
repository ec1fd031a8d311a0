//! Kinds told by numbers at known places.

use super::Kind;
use crate::octets::{find, find_last, holds, piece, some, u8_at, u16be, u16le, u32be, u32le};

/// Signatures at the very beginning.
const HEADS: &[(&[u8], Kind)] = &[
    (b"\x7fELF", Kind::Elf),
    (b"\xfe\xed\xfa\xce", Kind::MachO),
    (b"\xfe\xed\xfa\xcf", Kind::MachO),
    (b"\xce\xfa\xed\xfe", Kind::MachO),
    (b"\xcf\xfa\xed\xfe", Kind::MachO),
    (b"dex\n0", Kind::Dex),
    (b"#@~^", Kind::EncodedScript),
    // A shell link's header size and class, MS-SHLLINK 2.1.
    (
        b"\x4c\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46",
        Kind::Shortcut,
    ),
    (b"7z\xbc\xaf\x27\x1c", Kind::SevenZip),
    (b"Rar!\x1a\x07\x01\0", Kind::Rar5),
    (b"Rar!\x1a\x07\0", Kind::Rar4),
    (b"RE~^", Kind::Rar4),
    (b"\x1f\x8b", Kind::Gzip),
    (b"\xfd7zXZ\0", Kind::Xz),
    (b"\x28\xb5\x2f\xfd", Kind::Zstd),
    (b"LZIP\x01", Kind::Lzip),
    (b"LZIP\0", Kind::Lzip),
    (b"\x04\x22\x4d\x18", Kind::Lz4),
    (b"\x02\x21\x4c\x18", Kind::Lz4),
    (b"\x1f\x9d", Kind::Compress),
    (b"\x1f\xa0", Kind::Compress),
    (b"MSCF\0\0\0\0", Kind::Cab),
    (b"070701", Kind::Cpio),
    (b"070702", Kind::Cpio),
    (b"070707", Kind::Cpio),
    (b"\xed\xab\xee\xdb", Kind::Rpm),
    (b"!<arch>\n", Kind::Ar),
    (b"!<thin>\n", Kind::Ar),
    (b"ALZ\x01", Kind::Alz),
    (b"EGGA", Kind::Egg),
    (b"xar!", Kind::Xar),
    (b"WARC/0.", Kind::Warc),
    (b"WARC/1.", Kind::Warc),
    // AppleSingle, of both versions (RFC 1740, appendix A).
    (b"\0\x05\x16\0\0\x01\0\0", Kind::MacFile),
    (b"\0\x05\x16\0\0\x02\0\0", Kind::MacFile),
    (b"SZDD\x88\xf0\x27\x33", Kind::Szdd),
    (b"SZ \x88\xf0\x27\x33\xd1", Kind::Szdd),
    (b"KWAJ\x88\xf0\x27\xd1", Kind::Szdd),
    (b"ActiveMime", Kind::ActiveMime),
    (b"{\\rtf", Kind::Rtf),
    (b"{\\rt", Kind::Rtf),
    (b"ITSF", Kind::Chm),
    (b"\x78\x9f\x3e\x22", Kind::Tnef),
    // The file types of a section and of a table of contents, MS-ONESTORE 2.3.1.
    (
        b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3",
        Kind::OneNote,
    ),
    (
        b"\xa1\x2f\xff\x43\xd9\xef\x76\x4c\x9e\xe2\x10\xea\x57\x22\x76\x5f",
        Kind::OneNote,
    ),
    (b"vhdxfile", Kind::VirtualDisk),
    (b"conectix", Kind::VirtualDisk),
    (b"KDMV", Kind::VirtualDisk),
    (b"COWD", Kind::VirtualDisk),
    (b"QFI\xfb", Kind::VirtualDisk),
    (b"MSWIM\0\0\0", Kind::VirtualDisk),
    (b"\x89PNG\r\n\x1a\n", Kind::Image),
    (b"\xff\xd8\xff", Kind::Image),
    (b"GIF87a", Kind::Image),
    (b"GIF89a", Kind::Image),
    (b"II*\0", Kind::Image),
    (b"MM\0*", Kind::Image),
    (b"8BPS", Kind::Image),
    (b"\0\0\x01\0\x01\0", Kind::Image),
    (b"\xd7\xcd\xc6\x9a", Kind::Image),
    (b"\x0a\x05\x01", Kind::Image),
    (b"\0\0\0\x0cjP  ", Kind::Image),
    (b"OggS", Kind::Audio),
    (b"fLaC", Kind::Audio),
    (b"MThd", Kind::Audio),
    (b"ID3", Kind::Audio),
    (b"#!AMR", Kind::Audio),
    (b".snd\0", Kind::Audio),
    (b"\x1a\x45\xdf\xa3", Kind::Video),
    (b"FLV\x01", Kind::Video),
    (b"\0\0\x01\xba", Kind::Video),
    (b"\0\0\x01\xb3", Kind::Video),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Kind::Video),
    (b"\0\x01\0\0\0", Kind::Font),
    (b"OTTO", Kind::Font),
    (b"wOFF", Kind::Font),
    (b"wOF2", Kind::Font),
];

/// How far a reader of PDF looks for its header (Adobe's own look through the first KiB).
const PDF_HEAD: usize = 1024;

pub(super) fn of(octets: &[u8]) -> Option<Kind> {
    if let Some(kind) = program(octets) {
        return Some(kind);
    }
    let head = HEADS
        .iter()
        .find(|(signature, _)| octets.starts_with(signature));
    if let Some((_, kind)) = head {
        return Some(match kind {
            Kind::Gzip if u8_at(octets, 2).is_some_and(|method| method != 8) => Kind::Unknown,
            _ => *kind,
        });
    }
    // Blanks before it no reader minds.
    if some(octets, 0, 256)
        .trim_ascii_start()
        .starts_with(b"{\\rt")
    {
        return Some(Kind::Rtf);
    }
    if octets.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return Some(ole2(octets));
    }
    if is_workbook(octets) {
        return Some(Kind::Workbook);
    }
    if octets.starts_with(b"PK\x03\x04")
        || octets.starts_with(b"PK\x05\x06")
        || octets.starts_with(b"PK00PK\x03\x04")
        || octets.starts_with(b"PK\x07\x08PK\x03\x04")
    {
        return Some(zip(octets));
    }
    if let Some(kind) = numbered(octets) {
        return Some(kind);
    }
    if holds(some(octets, 0, PDF_HEAD), b"%PDF-") {
        return Some(Kind::Pdf);
    }
    if some(octets, octets.len().saturating_sub(512), 4) == b"koly" {
        return Some(Kind::Dmg);
    }
    if let Some(kind) = disk(octets) {
        return Some(kind);
    }
    // A zip without its head, or behind something that nothing above knows.
    if zip_end(octets).is_some() {
        return Some(zip(octets));
    }
    if mac_binary(octets) {
        return Some(Kind::MacFile);
    }
    // So little tells it that all else is asked before.
    any_lzma(octets).then_some(Kind::Lzma)
}

/// `MZ` and what follows; Java; Symbian.
fn program(octets: &[u8]) -> Option<Kind> {
    if octets.starts_with(b"MZ") || octets.starts_with(b"ZM") {
        return mz(octets);
    }
    if octets.starts_with(b"\xca\xfe\xba\xbe") {
        // A class of Java keeps its version where a program for several processors keeps their number.
        let number = u32be(octets, 4)?;
        return Some(if number < 40 {
            Kind::MachO
        } else {
            Kind::JavaClass
        });
    }
    if u32le(octets, 8) == Some(0x1000_0419) || u32le(octets, 0) == Some(0x1020_1a7a) {
        return Some(Kind::Sis);
    }
    None
}

/// Whether what begins with `MZ` runs.
pub(super) fn mz(octets: &[u8]) -> Option<Kind> {
    if is_pe(octets) {
        return Some(Kind::Pe);
    }
    // What linkers write first: a damaged program most likely.
    let usual = [&b"MZ\x90\0"[..], b"MZP\0", b"MZ\0\0"];
    let is_usual = usual.iter().any(|begin| octets.starts_with(begin));
    (is_usual || has_dos_header(octets)).then_some(Kind::Dos)
}

/// Whether numbers stand behind `MZ` that fit each other: by these two letters alone one of a hundred lists of
/// hashes would be a program. Octets on the last page, pages, paragraphs of the header, least and most memory, where the table of relocations begins.
fn has_dos_header(octets: &[u8]) -> bool {
    let number = |at: usize| u16le(octets, at).map(usize::from);
    let header = || -> Option<bool> {
        let (last, pages, paragraphs) = (number(2)?, number(4)?, number(8)?);
        let (fewest, most, table) = (number(10)?, number(12)?, number(24)?);
        // DOS has room for no more than a megabyte.
        let is_size = last < 512 && (1..=2048).contains(&pages);
        let is_header = paragraphs >= 2 && paragraphs * 16 <= pages * 512;
        let is_table = number(6)? == 0 || (28..=paragraphs * 16).contains(&table);
        Some(is_size && is_header && is_table && fewest <= most)
    };
    header().unwrap_or(false)
}

/// Whether there is a PE header where the `MZ` header says.
pub(super) fn is_pe(octets: &[u8]) -> bool {
    u32le(octets, 0x3c)
        .map(crate::octets::place)
        .and_then(|at| piece(octets, at, 4))
        .is_some_and(|signature| {
            signature == b"PE\0\0" || signature.starts_with(b"NE") || signature.starts_with(b"LE")
        })
}

/// Whether octets begin with the record BOF of any version of Excel (2, 3, 4, and from 5 on; MS-XLS 2.4.21): how long it is, and
/// what begins.
fn is_workbook(octets: &[u8]) -> bool {
    let is_one = matches!(u16le(octets, 0), Some(0x009 | 0x209 | 0x409 | 0x809));
    let fits = u16le(octets, 2).is_some_and(|length| (4..=16).contains(&length));
    // A workbook, a module, a sheet, a chart, macros, a workspace.
    is_one && fits && matches!(u16le(octets, 6), Some(5 | 6 | 0x10 | 0x20 | 0x40 | 0x100))
}

/// An OLE2 file: an installer, or a document. The root's class stands in the first directory sector.
fn ole2(octets: &[u8]) -> Kind {
    let sector = match u16le(octets, 30) {
        Some(12) => 4096_usize,
        _ => 512,
    };
    let root = u32le(octets, 48)
        .map(crate::octets::place)
        .and_then(|first| first.checked_add(1)?.checked_mul(sector))
        .and_then(|at| piece(octets, at, 128));
    match root.and_then(|entry| piece(entry, 80, 16)) {
        // The classes of an installer, a merge module, a patch and a transform: {000C1084...}, 1082, 1086.
        Some(
            [
                0x82 | 0x84 | 0x86,
                0x10,
                0x0c,
                0,
                0,
                0,
                0,
                0,
                0xc0,
                0,
                0,
                0,
                0,
                0,
                0,
                0x46,
            ],
        ) => Kind::Msi,
        _ => Kind::Ole2,
    }
}

/// Where a zip's end of central directory lies, if it has one that may be its own.
pub(super) fn zip_end(octets: &[u8]) -> Option<usize> {
    let from = octets.len().saturating_sub(22 + 65_535);
    let at = from.checked_add(find_last(some(octets, from, usize::MAX), b"PK\x05\x06")?)?;
    let size = crate::octets::place(u32le(octets, at.checked_add(12)?)?);
    let entries = u16le(octets, at.checked_add(10)?)?;
    if size > at && size != crate::octets::place(u32::MAX) {
        return None;
    }
    // Most programs read the directory and do not mind its number.
    (entries > 0 || lists_something(octets, at)).then_some(at)
}

/// Whether an entry of a directory stands where the end of it, at `end`, says.
pub(super) fn lists_something(octets: &[u8], end: usize) -> bool {
    u32le(octets, end.saturating_add(12))
        .and_then(|size| end.checked_sub(crate::octets::place(size)))
        .is_some_and(|start| piece(octets, start, 4) == Some(b"PK\x01\x02"))
}

/// What a zip is, by the names in its directory.
fn zip(octets: &[u8]) -> Kind {
    if let Some(first) = piece(octets, 30, 38) {
        // ODF and EPUB put their type into a first, stored member.
        if first.starts_with(b"mimetypeapplication/vnd.oasis.opendocument")
            || first.starts_with(b"mimetypeapplication/epub+zip")
        {
            return Kind::Odf;
        }
    }
    let directory = zip_directory(octets);
    let has = |name: &[u8]| find(directory, name).is_some();
    if has(b"AndroidManifest.xml") && has(b"classes.dex") {
        return Kind::Apk;
    }
    // Names of parts are the same in letters of either case (ECMA-376-2 section 6.2.2.3), and Office reads both slashes.
    let mut lower = some(directory, 0, 1 << 20).to_ascii_lowercase();
    for octet in &mut lower {
        if *octet == b'\\' {
            *octet = b'/';
        }
    }
    let has_part = |name: &[u8]| has(name) || find(&lower, &name.to_ascii_lowercase()).is_some();
    if has_part(b"[Content_Types].xml") {
        if has(b"AppxManifest.xml") || has(b"AppxBundleManifest.xml") {
            return Kind::Appx;
        }
        if has_part(b"vbaProject.bin") || has_part(b"xl/macrosheets/") {
            return Kind::OoxmlMacro;
        }
        if [&b"word/"[..], b"xl/", b"ppt/", b"_rels/.rels"]
            .iter()
            .any(|name| has_part(name))
        {
            return Kind::Ooxml;
        }
    }
    if has(b"META-INF/MANIFEST.MF") && has(b".class") {
        return Kind::Jar;
    }
    if has(b"META-INF/manifest.xml") && (has(b"mimetype") || has(b"content.xml")) {
        return Kind::Odf;
    }
    Kind::Zip
}

/// The directory of a zip; all of it, where none is found.
fn zip_directory(octets: &[u8]) -> &[u8] {
    zip_end(octets)
        .and_then(|end| {
            let size = crate::octets::place(u32le(octets, end.checked_add(12)?)?);
            octets.get(end.checked_sub(size)?..end)
        })
        .unwrap_or(octets)
}

/// Whether a zip is one of `OpenDocument`, whatever else it is: without this member none is opened (ODF 1.3 part 2,
/// section 3.2).
pub(crate) fn lists_manifest(octets: &[u8]) -> bool {
    find(zip_directory(octets), b"META-INF/manifest.xml").is_some()
}

/// Opaque S/MIME: a sequence that begins with the number of what it is.
fn pkcs7(octets: &[u8]) -> bool {
    use crate::unpack::{COMPRESSED, SIGNED};
    let head = some(octets, 0, 32);
    octets.first() == Some(&0x30) && (holds(head, SIGNED) || holds(head, COMPRESSED))
}

/// Kinds whose signature is more than a fixed string at the beginning.
fn numbered(octets: &[u8]) -> Option<Kind> {
    if let [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] = octets
        && (rest.starts_with(b"1AY&SY") || rest.starts_with(b"\x17rE8P\x90"))
    {
        return Some(Kind::Bzip2);
    }
    if let [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] = octets {
        return Some(Kind::Zstd);
    }
    if matches!(octets, [0xc7, 0x71, ..] | [0x71, 0xc7, ..]) && binary_cpio(octets) {
        return Some(Kind::Cpio);
    }
    if matches!(piece(octets, 257, 5), Some(b"ustar")) || summed_tar(octets) {
        return Some(Kind::Tar);
    }
    if octets.starts_with(b"\x60\xea")
        && u16le(octets, 2).is_some_and(|size| (20..=2600).contains(&size))
        && u8_at(octets, 10).is_some_and(|file_type| file_type <= 4)
    {
        return Some(Kind::Arj);
    }
    if let Some([b'-', b'l' | b'p', b'h' | b'z' | b'm', _, b'-']) = piece(octets, 2, 5) {
        return Some(Kind::Lzh);
    }
    if piece(octets, 7, 7) == Some(b"**ACE**") {
        return Some(Kind::Ace);
    }
    if u32le(octets, 20) == Some(0xfdc4_a7dc) {
        return Some(Kind::Zoo);
    }
    if lzma(octets) {
        return Some(Kind::Lzma);
    }
    if pkcs7(octets) || octets.first() >= Some(&0x80) && crate::unpack::is_openpgp(octets) {
        return Some(Kind::Pkcs7);
    }
    if let Some(b"ftyp") = piece(octets, 4, 4) {
        return Some(match piece(octets, 8, 4) {
            Some(b"heic" | b"heix" | b"mif1" | b"avif" | b"msf1") => Kind::Image,
            Some(b"M4A " | b"M4B ") => Kind::Audio,
            _ => Kind::Video,
        });
    }
    if let Some(b"moov" | b"mdat" | b"wide") = piece(octets, 4, 4) {
        return Some(Kind::Video);
    }
    if octets.starts_with(b"RIFF") || octets.starts_with(b"RIFX") {
        return Some(match piece(octets, 8, 4) {
            Some(b"WAVE" | b"RMID") => Kind::Audio,
            Some(b"WEBP") => Kind::Image,
            // An animated cursor is one, too; CVE-2007-0038 was reached by mail.
            _ => Kind::Video,
        });
    }
    if octets.starts_with(b"FORM") && matches!(piece(octets, 8, 4), Some(b"AIFF" | b"AIFC")) {
        return Some(Kind::Audio);
    }
    if octets.starts_with(b"BM")
        && u32le(octets, 6) == Some(0)
        && u32le(octets, 14).is_some_and(|size| size <= 200)
    {
        return Some(Kind::Image);
    }
    if piece(octets, 40, 4) == Some(b" EMF") && u32le(octets, 0) == Some(1) {
        return Some(Kind::Image);
    }
    if let [0xff, second, third, ..] = octets
        && second & 0xe6 >= 0xe2
        && second & 0x18 != 0x08
        && third & 0xf0 != 0xf0
        && third & 0xf0 != 0
        // UTF-16 begins with FF FE; as sound that would be the reserved layer with a strange rate.
        && *second != 0xfe
    {
        return Some(Kind::Audio);
    }
    None
}

/// A tar by the sum over its header (tar(5)), which is all that one of before POSIX has.
pub(super) fn summed_tar(octets: &[u8]) -> bool {
    let Some(header) = piece(octets, 0, 512) else {
        return false;
    };
    if header.first().is_none_or(|first| *first == 0) {
        return false;
    }
    crate::unpack::tar_sum_holds(header)
}

/// The old cpio in machine words: the sizes in its header must be possible.
fn binary_cpio(octets: &[u8]) -> bool {
    let size = match octets.first() {
        Some(0xc7) => u16le(octets, 20),
        _ => u16be(octets, 20),
    };
    size.is_some_and(|size| (2..=1024).contains(&size))
}

/// LZMA alone has no signature: properties, a dictionary of a usual size, and a length that is unknown or sane.
fn lzma(octets: &[u8]) -> bool {
    let Some(dictionary) = u32le(octets, 1) else {
        return false;
    };
    let usual =
        dictionary.is_power_of_two() || (dictionary % 3 == 0 && (dictionary / 3).is_power_of_two());
    octets.first() == Some(&0x5d)
        && usual
        && dictionary >= 4096
        && u8_at(octets, 13) == Some(0)
        && crate::octets::u64le(octets, 5).is_some_and(|size| size == u64::MAX || size < 1 << 40)
}

/// ISO 9660 from sector 16 on; images of raw CDs have sectors of 2352 octets, with 16 or 24 of a head.
pub(super) fn is_cd(octets: &[u8]) -> bool {
    [0x8001, 0x9311, 0x9319].into_iter().any(|at| {
        matches!(
            piece(octets, at, 5),
            Some(b"CD001" | b"BEA01" | b"NSR02" | b"NSR03")
        )
    })
}

/// LZMA alone as every program opens it: other properties than the usual ones, and a dictionary of any size that is. How long
/// it is unpacked must be unknown, or be at least what is packed.
fn any_lzma(octets: &[u8]) -> bool {
    let (Some(properties), Some(dictionary), Some(size)) = (
        u8_at(octets, 0),
        u32le(octets, 1),
        crate::octets::u64le(octets, 5),
    ) else {
        return false;
    };
    let usual = dictionary == u32::MAX
        || dictionary >= 4096
            && (dictionary.is_power_of_two()
                || dictionary % 3 == 0 && (dictionary / 3).is_power_of_two());
    // What cannot be packed becomes a little longer.
    let packed = crate::octets::count(octets).saturating_sub(13);
    let possible =
        size == u64::MAX || size < 1 << 38 && size.saturating_add(size / 16 + 64) >= packed;
    // Five places for the octet, five for the bits before it, nine for those of the octet before; the latter share four bits.
    properties < 225
        && properties % 9 + properties / 9 % 5 <= 4
        && usual
        && u8_at(octets, 13) == Some(0)
        && size > 0
        && possible
}

/// `MacBinary`: a head of 128 octets with zeros at known places, a name, and since its second version a sum.
fn mac_binary(octets: &[u8]) -> bool {
    let Some(head) = piece(octets, 0, 128) else {
        return false;
    };
    let zero = |at: usize| u8_at(head, at) == Some(0);
    let length = u8_at(head, 1).map_or(0, usize::from);
    if !(zero(0) && zero(74) && (1..=63).contains(&length)) {
        return false;
    }
    if u16be(head, 124).is_some_and(|sum| sum != 0 && sum == crc16(some(head, 0, 124))) {
        return true;
    }
    // The first version has none: its forks must fill it.
    let fork = |at: usize| {
        let length = u32be(head, at).map_or(usize::MAX, crate::octets::place);
        length.checked_next_multiple_of(128)
    };
    let whole = fork(83)
        .zip(fork(87))
        .and_then(|(data, resource)| data.checked_add(resource).filter(|forks| *forks > 0));
    let name = some(head, 2, length);
    zero(82)
        && some(head, 101, 25).iter().all(|octet| *octet == 0)
        && name.iter().all(|octet| *octet >= 0x20)
        && whole
            .is_some_and(|forks| octets.len().next_multiple_of(128) == forks.saturating_add(128))
}

/// The sum of `MacBinary` and `BinHex`.
fn crc16(octets: &[u8]) -> u16 {
    octets.iter().fold(0_u16, |sum, octet| {
        (0..8).fold(sum ^ u16::from(*octet) << 8, |sum, _| {
            sum << 1 ^ if sum & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

/// A file system of Linux: squashfs of the version in use, or the numbers of ext2 and later.
fn linux_disk(octets: &[u8]) -> bool {
    let squashed = match piece(octets, 0, 4) {
        Some(b"hsqs") => u16le(octets, 28),
        Some(b"sqsh") => u16be(octets, 28),
        _ => None,
    };
    if squashed.is_some_and(|version| (1..=4).contains(&version)) {
        return true;
    }
    u16le(octets, 1024 + 56) == Some(0xef53)
        && u32le(octets, 1024).is_some_and(|inodes| inodes > 0)
        && u32le(octets, 1024 + 20).is_some_and(|first| first <= 1)
        && u32le(octets, 1024 + 24).is_some_and(|size| size <= 6)
        && u32le(octets, 1024 + 76).is_some_and(|version| version <= 1)
}

/// Images of disks: their signatures lie far inside.
fn disk(octets: &[u8]) -> Option<Kind> {
    if is_cd(octets) {
        return Some(Kind::Iso);
    }
    if matches!(piece(octets, 1024, 4), Some(b"H+\0\x04" | b"HX\0\x05"))
        || piece(octets, 512, 8) == Some(b"EFI PART")
            && holds(some(octets, 0, 1 << 16), b"H+\0\x04")
    {
        return Some(Kind::Dmg);
    }
    if some(octets, octets.len().saturating_sub(512), 8) == b"conectix" {
        return Some(Kind::VirtualDisk);
    }
    if linux_disk(octets) {
        return Some(Kind::LinuxDisk);
    }
    // A disk or a floppy of DOS: a jump, and the mark at the end of its first sector.
    if matches!(octets, [0xeb, _, 0x90, ..] | [0xe9, ..])
        && piece(octets, 510, 2) == Some(b"\x55\xaa")
        && u16le(octets, 11).is_some_and(|size| matches!(size, 512 | 1024 | 2048 | 4096))
    {
        return Some(Kind::VirtualDisk);
    }
    None
}
