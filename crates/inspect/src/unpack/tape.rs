//! Files one after another: tar, cpio, ar, and the cpio in an RPM package.

use std::borrow::Cow;

use super::inflate::{self, Packed};
use super::{Member, Sink, Trouble, Unread};
use crate::kind::{self, Kind};
use crate::octets::{
    find, name, piece, place, place64, rest, some, u16be, u16le, u32be, until_zero,
};

const BLOCK: usize = 512;

/// Whether the sum in a tar header is that of the header, by either way it was ever counted.
pub(crate) fn sum_holds(header: &[u8]) -> bool {
    let Some(stated) = piece(header, 148, 8).and_then(octal) else {
        return false;
    };
    let counted = |at: usize, octet: u8| {
        if (148..156).contains(&at) {
            b' '
        } else {
            octet
        }
    };
    let unsigned: u64 = header
        .iter()
        .enumerate()
        .map(|(at, octet)| u64::from(counted(at, *octet)))
        .sum();
    let signed: i64 = header
        .iter()
        .enumerate()
        .map(|(at, octet)| i64::from(counted(at, *octet).cast_signed()))
        .sum();
    stated == unsigned || i64::try_from(stated) == Ok(signed)
}

/// A number as tar keeps it: octal behind blanks and up to anything else, or in base 256.
fn octal(field: &[u8]) -> Option<u64> {
    if let Some((first, low)) = field.split_first()
        && first & 0x80 != 0
    {
        return Some(low.iter().fold(u64::from(first & 0x3f), |number, octet| {
            number.saturating_mul(256).saturating_add(u64::from(*octet))
        }));
    }
    // GNU tar passes over one zero, which an old tar left behind.
    let field = field.strip_prefix(b"\0").unwrap_or(field);
    let digits = until_zero(field).trim_ascii();
    let count = digits
        .iter()
        .take_while(|digit| matches!(digit, b'0'..=b'7'))
        .count();
    if count == 0 && !digits.is_empty() {
        return None;
    }
    some(digits, 0, count)
        .iter()
        .try_fold(0_u64, |number, digit| {
            number.checked_mul(8)?.checked_add(u64::from(digit - b'0'))
        })
}

/// What a header before a member says of it.
#[derive(Default)]
struct Said {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// tar (POSIX pax, GNU, and older): names of any length, links, sparse files as they lie.
pub(super) fn tar(octets: &[u8], sink: &mut Sink<'_>) {
    let mut at = 0;
    let mut gnu = Said::default();
    let mut pax = Said::default();
    // What is said of all that follow; GNU tar alone goes by more than a comment.
    let mut all = Said::default();
    while let Some(header) = piece(octets, at, BLOCK) {
        at = at.saturating_add(BLOCK);
        if header.iter().all(|octet| *octet == 0) {
            // Two end it. What follows is read nonetheless: `tar -i` does, and some programs know no end.
            continue;
        }
        if !sum_holds(header) {
            sink.trouble(Trouble::Damaged("a header's sum is wrong"));
            // A program may go on at the next header it can make sense of.
            continue;
        }
        let file_type = header.get(156).copied().unwrap_or(b'0');
        let stated = piece(header, 124, 12).and_then(octal).unwrap_or(0);
        let size = match (file_type, pax.size) {
            (b'x' | b'g' | b'L' | b'K', _) | (_, None) => stated,
            (_, Some(size)) => size,
        };
        let other = match file_type {
            b'x' | b'g' | b'L' | b'K' => None,
            _ if pax.size.is_some() => None,
            _ => all.size,
        };
        // Links, devices and directories have no content, whatever their size says; to some programs they have.
        let (length, most) = match file_type {
            b'3' | b'4' | b'6' => (0, size),
            b'1' if piece(octets, at, BLOCK).is_some_and(begins_content) => (0, size),
            b'1'..=b'6' => (0, 0),
            _ => (
                size.min(other.unwrap_or(size)),
                size.max(other.unwrap_or(size)),
            ),
        };
        if let Some(other) = other
            && other != size
        {
            sink.trouble(Trouble::Ambiguous(
                "a head before all says how long its members are".into(),
            ));
        }
        // What is not passed over is looked through for heads.
        let length = place64(length);
        let most = place64(most);
        let content = some(octets, at, most);
        let whole = content.len() == most;
        match file_type {
            b'L' => gnu.name = Some(until_zero(content).to_vec()),
            b'K' => gnu.link = Some(until_zero(content).to_vec()),
            b'x' => pax = pax_records(content),
            b'g' => {
                let said = pax_records(content);
                all.name = said.name.or(all.name);
                all.size = said.size.or(all.size);
            }
            _ => {
                let one = tar_member(header, content, whole, [&gnu, &pax, &all], sink);
                gnu = Said::default();
                pax = Said::default();
                // Directories of names are not members.
                if let Some(member) = one
                    && !sink.member(member)
                {
                    return;
                }
            }
        }
        at = at.saturating_add(length.div_ceil(BLOCK).saturating_mul(BLOCK));
        // An old GNU sparse header goes on in further blocks.
        if file_type == b'S' {
            let mut more = header.get(482) == Some(&1);
            while more && let Some(extension) = piece(octets, at, BLOCK) {
                at = at.saturating_add(BLOCK);
                more = extension.get(504) == Some(&1);
            }
        }
    }
    if octets.len() > at && rest(octets, at).iter().any(|octet| *octet != 0) && at == 0 {
        sink.trouble(Trouble::Damaged("it ends within a header"));
    }
}

/// Whether a block is neither a head nor the end of all: a link may say how long the file is that it leads to.
fn begins_content(block: &[u8]) -> bool {
    !sum_holds(block) && block.iter().any(|octet| *octet != 0)
}

fn tar_member<'a>(
    header: &[u8],
    content: &'a [u8],
    whole: bool,
    [gnu, pax, all]: [&Said; 3],
    sink: &mut Sink<'_>,
) -> Option<Member<'a>> {
    let file_type = header.get(156).copied().unwrap_or(b'0');
    let short = until_zero(some(header, 0, 100));
    let prefix = match piece(header, 257, 6) {
        Some(b"ustar\0") => until_zero(some(header, 345, 155)),
        _ => &[],
    };
    let mut plain = name(prefix);
    if !plain.is_empty() {
        plain.push('/');
    }
    plain.push_str(&name(short));
    let mut names: Vec<String> = Vec::new();
    for found in [&pax.name, &gnu.name].into_iter().flatten() {
        names.push(name(found));
    }
    // The short name may be cut off anywhere, and programs of today pass it over.
    if names.is_empty() {
        names.push(plain);
        names.extend(all.name.as_ref().map(|found| name(found)));
    }
    let link = match file_type {
        b'1' | b'2' => Some(match pax.link.as_ref().or(gnu.link.as_ref()) {
            Some(long) => name(long),
            None => name(until_zero(some(header, 157, 100))),
        }),
        _ => None,
    };
    if file_type == b'5' && !names.iter().any(|name| name.contains("..")) {
        return None;
    }
    let (octets, limited) = sink.stored(content);
    Some(Member {
        names,
        octets,
        unread: limited.or((!whole).then_some(Unread::Damaged)),
        link,
        ..Member::default()
    })
}

/// pax records: a length, a blank, `key=value`, a line end.
fn pax_records(mut content: &[u8]) -> Said {
    let mut said = Said::default();
    while let Some(blank) = memchr::memchr(b' ', some(content, 0, 24)) {
        let Some(length) = std::str::from_utf8(some(content, 0, blank))
            .ok()
            .and_then(|digits| digits.parse::<usize>().ok())
            .filter(|length| *length > blank.saturating_add(1))
        else {
            break;
        };
        let record = some(
            content,
            blank.saturating_add(1),
            length.saturating_sub(blank).saturating_sub(1),
        );
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        if let Some(equals) = memchr::memchr(b'=', record) {
            let value = rest(record, equals.saturating_add(1));
            match some(record, 0, equals) {
                b"path" | b"GNU.sparse.name" => said.name = Some(value.to_vec()),
                b"linkpath" => said.link = Some(value.to_vec()),
                b"size" => {
                    said.size = std::str::from_utf8(value)
                        .ok()
                        .and_then(|digits| digits.parse().ok());
                }
                _ => {}
            }
        }
        content = rest(content, length);
    }
    said
}

/// A member of a cpio archive, as every form of it has.
struct CpioHeader {
    mode: u64,
    name_size: usize,
    size: u64,
    head: usize,
    align: usize,
}

/// cpio: the new form with and without sums, the portable one, and the old one in both orders.
pub(super) fn cpio(octets: &[u8], sink: &mut Sink<'_>) {
    let mut at = 0;
    while at < octets.len() {
        let from = rest(octets, at);
        let Some(header) = cpio_header(from) else {
            if at == 0 || from.iter().any(|octet| *octet != 0) {
                sink.trouble(Trouble::Damaged("a header is none"));
            }
            return;
        };
        let padded = |count: usize| count.div_ceil(header.align).saturating_mul(header.align);
        let title = until_zero(some(from, header.head, header.name_size));
        if title == b"TRAILER!!!" {
            return;
        }
        let start = padded(header.head.saturating_add(header.name_size));
        let length = place64(header.size);
        let content = some(from, start, length);
        let whole = content.len() == length;
        let directory = header.mode & 0o170_000 == 0o040_000;
        let symbolic = header.mode & 0o170_000 == 0o120_000;
        if !directory || find(title, b"..").is_some() {
            let (kept, limited) = sink.stored(content);
            let more = sink.member(Member {
                names: vec![name(title)],
                octets: if symbolic { Cow::Borrowed(&[]) } else { kept },
                unread: limited.or((!whole).then_some(Unread::Damaged)),
                link: symbolic.then(|| name(content)),
                ..Member::default()
            });
            if !more {
                return;
            }
        }
        at = at.saturating_add(start).saturating_add(padded(length));
    }
}

fn cpio_header(from: &[u8]) -> Option<CpioHeader> {
    let number = |at: usize, count: usize, radix: u32| {
        std::str::from_utf8(piece(from, at, count)?)
            .ok()
            .and_then(|digits| u64::from_str_radix(digits, radix).ok())
    };
    if from.starts_with(b"070701") || from.starts_with(b"070702") {
        return Some(CpioHeader {
            mode: number(14, 8, 16)?,
            name_size: place64(number(94, 8, 16)?),
            size: number(54, 8, 16)?,
            head: 110,
            align: 4,
        });
    }
    if from.starts_with(b"070707") {
        return Some(CpioHeader {
            mode: number(18, 6, 8)?,
            name_size: place64(number(59, 6, 8)?),
            size: number(65, 11, 8)?,
            head: 76,
            align: 1,
        });
    }
    let word = |at: usize| match from.first() {
        Some(0xc7) => u16le(from, at),
        Some(0x71) => u16be(from, at),
        _ => None,
    };
    if u16le(from, 0) != Some(0o070_707) && u16be(from, 0) != Some(0o070_707) {
        return None;
    }
    Some(CpioHeader {
        mode: u64::from(word(6)?),
        name_size: usize::from(word(20)?),
        size: u64::from(word(22)?) << 16 | u64::from(word(24)?),
        head: 26,
        align: 2,
    })
}

/// ar: 60 octets of a head, with GNU's table of long names and BSD's names before the content.
pub(super) fn ar(octets: &[u8], sink: &mut Sink<'_>) {
    let mut at = 8;
    let mut table: &[u8] = &[];
    while let Some(header) = piece(octets, at, 60) {
        let Some(size) = piece(header, 48, 10).and_then(decimal) else {
            sink.trouble(Trouble::Damaged("a header is none"));
            return;
        };
        at = at.saturating_add(60);
        let content = some(octets, at, size);
        let whole = content.len() == size;
        let title = some(header, 0, 16).trim_ascii_end();
        let mut body = content;
        let full = if title == b"//" {
            table = content;
            None
        } else if title == b"/" || title == b"/SYM64/" || title.starts_with(b"__.SYMDEF") {
            None
        } else if let Some(length) = title.strip_prefix(b"#1/").and_then(decimal) {
            body = rest(content, length);
            Some(name(until_zero(some(content, 0, length))))
        } else if let Some(offset) = title.strip_prefix(b"/").and_then(decimal) {
            let long = rest(table, offset);
            let end = memchr::memchr(b'\n', long).unwrap_or(long.len());
            let long = some(long, 0, end);
            Some(name(long.strip_suffix(b"/").unwrap_or(long)))
        } else {
            Some(name(title.strip_suffix(b"/").unwrap_or(title)))
        };
        if let Some(full) = full {
            let (kept, limited) = sink.stored(body);
            let more = sink.member(Member {
                names: vec![full],
                octets: kept,
                unread: limited.or((!whole).then_some(Unread::Damaged)),
                ..Member::default()
            });
            if !more {
                return;
            }
        }
        at = at.saturating_add(size).saturating_add(size % 2);
    }
}

fn decimal(field: &[u8]) -> Option<usize> {
    std::str::from_utf8(field.trim_ascii()).ok()?.parse().ok()
}

/// An RPM package: a lead, two headers, and a packed cpio archive.
pub(super) fn rpm(octets: &[u8], sink: &mut Sink<'_>) {
    let mut at = 96;
    for round in 0..2 {
        if piece(octets, at, 3) != Some(b"\x8e\xad\xe8") {
            sink.trouble(Trouble::Damaged("a header is none"));
            return;
        }
        let entries = u32be(octets, at.saturating_add(8)).map_or(0, place);
        let size = u32be(octets, at.saturating_add(12)).map_or(0, place);
        at = at
            .saturating_add(16)
            .saturating_add(entries.saturating_mul(16))
            .saturating_add(size);
        if round == 0 {
            at = at.div_ceil(8).saturating_mul(8);
        }
    }
    let payload = rest(octets, at);
    let (most, _) = sink.allowance();
    let meter = sink.meter();
    let packed = Packed::new(payload, &meter);
    let decoder = match kind::of(payload) {
        Kind::Gzip => Some(inflate::gzip(packed)),
        Kind::Xz => Some(inflate::xz(packed)),
        Kind::Bzip2 => Some(inflate::bzip2(packed)),
        Kind::Zstd => Some(inflate::zstd(packed)),
        Kind::Lzma => inflate::lzma_alone(packed, most).ok(),
        Kind::Cpio => {
            cpio(payload, sink);
            return;
        }
        _ => None,
    };
    let Some(mut decoder) = decoder else {
        sink.trouble(Trouble::NotUnpacked);
        return;
    };
    let (unpacked, unread) = sink.unpack_metered(&mut decoder, None, &meter);
    drop(decoder);
    match unread {
        Some(Unread::Limit(reached)) => sink.trouble(Trouble::Limit(reached)),
        Some(_) => sink.trouble(Trouble::Damaged("it ends early")),
        None => {}
    }
    if !sink.stopped {
        cpio(&unpacked, sink);
    }
}
