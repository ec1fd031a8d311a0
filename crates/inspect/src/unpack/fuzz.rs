//! Entry points for fuzzing. They panic where something is not as it must be.

use super::rar::Input;
use super::{NAME_MAX, members};
use crate::kind::Kind;
use crate::octets::{count, piece, place, place64, rest, some, u8_at, u16le, u32le};
use crate::{Budget, Limits};

/// The first sectors of a disk are the system's.
const SYSTEM_AREA: usize = 32 << 10;

/// The entry for fuzzing: the first octet picks the reader, so that none needs its signature found first.
pub fn fuzz(octets: &[u8]) {
    const READERS: &[Kind] = &[
        Kind::Zip,
        Kind::SevenZip,
        Kind::Rar4,
        Kind::Rar5,
        Kind::Tar,
        Kind::Cpio,
        Kind::Ar,
        Kind::Rpm,
        Kind::Gzip,
        Kind::Xz,
        Kind::Bzip2,
        Kind::Zstd,
        Kind::Lzma,
        Kind::Lzip,
        Kind::Szdd,
        Kind::BinHex,
        Kind::Uuencode,
        Kind::Cab,
        Kind::Iso,
        Kind::Ole2,
        Kind::Tnef,
        Kind::Rtf,
        Kind::Pdf,
        Kind::OneNote,
        Kind::Html,
        Kind::Arj,
        Kind::Lzh,
        Kind::Chm,
        Kind::Ace,
        Kind::Pkcs7,
        Kind::Xml,
        Kind::ActiveMime,
        Kind::Odf,
        Kind::Workbook,
    ];
    let Some((first, rest)) = octets.split_first() else {
        return;
    };
    let kind = READERS
        .get(usize::from(first.wrapping_sub(b'A')))
        .copied()
        .unwrap_or_else(|| crate::kind::of(rest));
    read(rest, kind);
}

/// Disks: what follows the 32 KiB that no file system of them uses. The sums of UDF's descriptors are made right, which
/// changes alone would hardly ever hit.
pub fn fuzz_disk(octets: &[u8]) {
    let mut image = vec![0; SYSTEM_AREA];
    image.extend(octets);
    for at in (SYSTEM_AREA..image.len()).step_by(4) {
        let Some(tag) = image.get_mut(at..at.saturating_add(16)) else {
            break;
        };
        let is_one = match u16le(tag, 0) {
            Some(2 | 5 | 6 | 8) => at.is_multiple_of(512),
            Some(id) => matches!(id, 256 | 257 | 258 | 261 | 266),
            None => false,
        };
        let octets = tag.iter().enumerate().filter(|(nth, _)| *nth != 4);
        let right = octets.fold(0_u8, |sum, (_, octet)| sum.wrapping_add(*octet));
        if let Some(sum) = tag.get_mut(4).filter(|_| is_one) {
            *sum = right;
        }
    }
    read(&image, Kind::Iso);
}

/// RAR archives, of which the sums of the heads are made right: what is packed is not unpacked behind a wrong one.
pub fn fuzz_rar(octets: &[u8]) {
    let mut archive = octets.to_vec();
    let kind = if octets.starts_with(b"Rar!\x1a\x07\x01\0") {
        right_sums5(&mut archive);
        Kind::Rar5
    } else {
        right_sums4(&mut archive);
        Kind::Rar4
    };
    read(&archive, kind);
}

fn right_sums4(archive: &mut [u8]) {
    let mut at = 7_usize;
    while let Some((sum, next)) = sum4(archive, at) {
        put(archive, at, sum.to_le_bytes().get(..2));
        at = next;
    }
}

/// The sum of the head that stands here, and where the next one does.
fn sum4(archive: &[u8], at: usize) -> Option<(u32, usize)> {
    let size = usize::from(u16le(archive, at.checked_add(5)?)?);
    let head = piece(archive, at, size.max(7))?;
    let packed = u16le(head, 3)? & 0x8000 != 0 || u8_at(head, 2)? == 0x74;
    let data = if packed { u32le(head, 7)? } else { 0 };
    let next = at.checked_add(head.len())?.checked_add(place(data))?;
    Some((sum(rest(head, 2)), next))
}

fn right_sums5(archive: &mut [u8]) {
    let mut at = 8_usize;
    while let Some((sum, next)) = sum5(archive, at) {
        put(archive, at, Some(&sum.to_le_bytes()));
        at = next;
    }
}

fn sum5(archive: &[u8], at: usize) -> Option<(u32, usize)> {
    let summed = archive.get(at.checked_add(4)?..)?;
    let mut input = Input(summed);
    let size = place64(input.number()?);
    let end = summed.len().checked_sub(input.0.len())?.checked_add(size)?;
    let mut input = Input(some(input.0, 0, size));
    let (_, flags) = (input.number()?, input.number()?);
    if flags & 1 != 0 {
        input.number()?;
    }
    let data = if flags & 2 != 0 { input.number()? } else { 0 };
    let next = at.checked_add(4)?.checked_add(end)?;
    let sum = sum(piece(summed, 0, end)?);
    Some((sum, next.checked_add(place64(data))?))
}

fn sum(octets: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(octets);
    sum.sum()
}

fn put(archive: &mut [u8], at: usize, sum: Option<&[u8]>) {
    let Some(sum) = sum else { return };
    if let Some(place) = archive.get_mut(at..at.saturating_add(sum.len())) {
        place.copy_from_slice(sum);
    }
}

/// Reads an archive, and holds what comes out of it to its limits.
fn read(octets: &[u8], kind: Kind) {
    let limits = Limits {
        octets: 8 << 20,
        member_octets: 4 << 20,
        parts: 200,
        members: 200,
        ..Limits::default()
    };
    let mut budget = Budget::new(&limits);
    let mut held = 0_u64;
    members(octets, kind, &mut budget, &mut |member, _| {
        held = held.saturating_add(count(&member.octets));
        assert!(
            count(&member.octets) <= limits.member_octets,
            "a member within its limit"
        );
        assert!(
            member.names.iter().all(|name| name.len() <= 4 * NAME_MAX),
            "a name within its limit"
        );
    });
    assert!(held <= limits.octets, "all members within their limit");
}
