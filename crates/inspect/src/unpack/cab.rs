//! Cabinets of Windows: folders of blocks, packed by MSZIP or LZX, or not at all. (MS-CAB.)

use std::borrow::Cow;

use flate2::{Decompress, FlushDecompress};

use super::{Member, Sink, Trouble, Unread};
use crate::octets::{count, name, place, rest, some, u16le, u32le, until_zero};
use crate::{Limit, LimitReached};

/// MSZIP looks back into the 32 KiB of the block before.
const HISTORY: usize = 32 << 10;

/// The same, as it is paid.
const HISTORY_PRICE: u64 = 32 << 10;

struct Folder {
    data: usize,
    blocks: u16,
    method: u16,
}

struct File {
    name: String,
    size: usize,
    start: usize,
    folder: u16,
}

pub(super) fn read(octets: &[u8], sink: &mut Sink<'_>) {
    let Some((folders, files, reserved)) = heads(octets) else {
        sink.trouble(Trouble::Damaged("its head is none"));
        return;
    };
    let mut unpacked: Option<(u16, Vec<u8>, Option<Unread>)> = None;
    let mut files: Vec<&File> = files
        .iter()
        .take(sink.budget.limits().members.saturating_add(1))
        .collect();
    // So that none is unpacked twice.
    files.sort_by_key(|file| file.folder);
    for file in files {
        let split = file.folder >= 0xfffd;
        if !split
            && unpacked
                .as_ref()
                .is_none_or(|(folder, ..)| *folder != file.folder)
        {
            let (content, unread) = match folders.get(usize::from(file.folder)) {
                Some(folder) => unpack(octets, folder, reserved, sink),
                None => (Vec::new(), Some(Unread::Damaged)),
            };
            unpacked = Some((file.folder, content, unread));
        }
        let (content, unread): (&[u8], Option<Unread>) = match &unpacked {
            Some((folder, content, unread)) if *folder == file.folder => {
                let content = some(content, file.start, file.size);
                let missing = content.len() < file.size;
                (
                    content,
                    missing.then(|| unread.clone().unwrap_or(Unread::Damaged)),
                )
            }
            _ => (&[], Some(Unread::Split)),
        };
        let more = sink.member(Member {
            names: vec![file.name.clone()],
            octets: Cow::Borrowed(content),
            unread,
            ..Member::default()
        });
        if !more {
            return;
        }
    }
}

/// The folders, the files, and how many octets are reserved in each block's head.
fn heads(octets: &[u8]) -> Option<(Vec<Folder>, Vec<File>, usize)> {
    let files_at = place(u32le(octets, 16)?);
    let folder_count = u16le(octets, 26)?;
    let file_count = u16le(octets, 28)?;
    let flags = u16le(octets, 30)?;
    let mut at = 36_usize;
    let (mut folder_reserved, mut block_reserved) = (0, 0);
    if flags & 4 != 0 {
        let head_reserved = usize::from(u16le(octets, at)?);
        folder_reserved = usize::from(*octets.get(at + 2)?);
        block_reserved = usize::from(*octets.get(at + 3)?);
        at += 4 + head_reserved;
    }
    // The names of the cabinets before and after, and of their disks.
    for flag in [1, 2] {
        if flags & flag != 0 {
            for _ in 0..2 {
                at += until_zero(rest(octets, at)).len() + 1;
            }
        }
    }
    let mut folders = Vec::new();
    for _ in 0..folder_count {
        folders.push(Folder {
            data: place(u32le(octets, at)?),
            blocks: u16le(octets, at + 4)?,
            method: u16le(octets, at + 6)?,
        });
        at += 8 + folder_reserved;
    }
    let mut files = Vec::new();
    let mut at = files_at;
    for _ in 0..file_count {
        let Some(size) = u32le(octets, at).map(place) else {
            break;
        };
        let start = u32le(octets, at.checked_add(4)?).map(place);
        let folder = u16le(octets, at.checked_add(8)?);
        let (Some(start), Some(folder)) = (start, folder) else {
            break;
        };
        let title = until_zero(some(octets, at.checked_add(16)?, 4096));
        files.push(File {
            name: name(title),
            size,
            start,
            folder,
        });
        at = at.checked_add(17)?.checked_add(title.len())?;
    }
    Some((folders, files, block_reserved))
}

/// All of a folder, as far as it goes.
fn unpack(
    octets: &[u8],
    folder: &Folder,
    reserved: usize,
    sink: &mut Sink<'_>,
) -> (Vec<u8>, Option<Unread>) {
    let (most, limit) = sink.allowance();
    let mut unpacked: Vec<u8> = Vec::new();
    let mut unread = None;
    let mut at = folder.data;
    let method = folder.method & 0x0f;
    let window = match (folder.method >> 8) & 0x1f {
        15 => lzxd::WindowSize::KB32,
        16 => lzxd::WindowSize::KB64,
        17 => lzxd::WindowSize::KB128,
        18 => lzxd::WindowSize::KB256,
        19 => lzxd::WindowSize::KB512,
        20 => lzxd::WindowSize::MB1,
        _ => lzxd::WindowSize::MB2,
    };
    let mut lzx = (method == 3).then(|| lzxd::Lzxd::new(window));
    if method == 2 || method > 3 {
        return (unpacked, Some(Unread::Method("quantum".to_owned())));
    }
    for _ in 0..folder.blocks {
        let (Some(packed_size), Some(size)) = (
            u16le(octets, at.saturating_add(4)),
            u16le(octets, at.saturating_add(6)),
        ) else {
            unread = Some(Unread::Damaged);
            break;
        };
        let start = at.saturating_add(8).saturating_add(reserved);
        let packed = some(octets, start, usize::from(packed_size));
        let size = usize::from(size);
        // Folders may share their blocks; a block of LZX costs its tables, whatever comes of it.
        if !sink.read(u64::from(packed_size).saturating_add(8)) {
            unread = Some(Unread::Limit(LimitReached(Limit::Octets)));
            break;
        }
        let whole = match (method, &mut lzx) {
            (0, _) => {
                unpacked.extend_from_slice(packed);
                true
            }
            (1, _) => {
                // What is looked back into is unpacked again, and paid for.
                if let Err(reached) = sink
                    .budget
                    .octets(count(packed).saturating_add(HISTORY_PRICE))
                {
                    sink.limit(reached);
                    unread = Some(Unread::Limit(reached));
                    break;
                }
                mszip(packed, size, &mut unpacked)
            }
            (_, Some(lzx)) => match lzx.decompress_next(packed, size) {
                Ok(block) => {
                    unpacked.extend_from_slice(block);
                    true
                }
                Err(_) => false,
            },
            _ => false,
        };
        if !whole {
            unread = Some(Unread::Damaged);
            break;
        }
        if count(&unpacked) > most {
            unpacked.truncate(crate::octets::place64(most));
            unread = Some(sink.reached(limit));
            break;
        }
        at = start.saturating_add(usize::from(packed_size));
    }
    sink.produced(&unpacked);
    (unpacked, unread)
}

/// A block of MSZIP: two letters, and deflate that looks back into the block before.
fn mszip(packed: &[u8], size: usize, unpacked: &mut Vec<u8>) -> bool {
    let Some(packed) = packed.strip_prefix(b"CK") else {
        return false;
    };
    // No dictionary can be set for raw deflate with every backend: a stored block does the same.
    let history = rest(unpacked, unpacked.len().saturating_sub(HISTORY));
    let mut input = Vec::with_capacity(
        packed
            .len()
            .saturating_add(history.len())
            .saturating_add(10),
    );
    for piece in history.chunks(0x8000) {
        let length = u16::try_from(piece.len()).unwrap_or(0);
        input.push(0);
        input.extend_from_slice(&length.to_le_bytes());
        input.extend_from_slice(&(!length).to_le_bytes());
        input.extend_from_slice(piece);
    }
    input.extend_from_slice(packed);
    let mut output = Vec::with_capacity(history.len().saturating_add(size));
    let skip = history.len();
    let done = Decompress::new(false).decompress_vec(&input, &mut output, FlushDecompress::Finish);
    unpacked.extend_from_slice(rest(&output, skip));
    done.is_ok() && output.len() >= skip.saturating_add(size)
}
