//! The text of macros, as a module keeps it: compressed, behind what the compiler made of it (MS-OVBA 2.4.1).

use memchr::memmem;

use crate::octets::{rest, u16le};

/// How every module's text begins, as its compressed form shows it: a flag octet, then letters as they are.
const BEGINNING: &[u8] = b"\0Attribut";

/// More modules in one stream than any has.
const TEXTS_MAX: usize = 16;

/// What one module may say.
const TEXT_MAX: usize = 4 << 20;

/// The texts in a stream, and whether there is more than was read. Where they begin is said elsewhere, and may be said
/// wrongly: each is found by how it begins.
pub(super) fn texts(stream: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut found = Vec::new();
    let mut cut = false;
    for at in memmem::find_iter(stream, BEGINNING) {
        let Some(at) = at.checked_sub(3).filter(|at| stream.get(*at) == Some(&1)) else {
            continue;
        };
        if found.len() >= TEXTS_MAX {
            cut = true;
            break;
        }
        let text = decompressed(rest(stream, at.saturating_add(1)));
        cut |= text.len() > TEXT_MAX;
        if !text.is_empty() {
            found.push(text);
        }
    }
    (found, cut)
}

/// Chunks of 4 KiB: eight flags, then a letter or a place further back each.
fn decompressed(mut packed: &[u8]) -> Vec<u8> {
    let mut text: Vec<u8> = Vec::new();
    while let Some(header) = u16le(packed, 0) {
        if (header >> 12) & 7 != 3 || text.len() > TEXT_MAX {
            break;
        }
        let size = usize::from(header & 0x0fff) + 1;
        let chunk = crate::octets::some(packed, 2, size);
        packed = rest(packed, size.saturating_add(2));
        if header & 0x8000 == 0 {
            text.extend_from_slice(chunk);
            continue;
        }
        unpack_chunk(chunk, &mut text);
    }
    text
}

fn unpack_chunk(chunk: &[u8], text: &mut Vec<u8>) {
    let start = text.len();
    let mut at = 0;
    while let Some(flags) = chunk.get(at) {
        at += 1;
        for bit in 0..8 {
            if flags & (1 << bit) == 0 {
                let Some(letter) = chunk.get(at) else {
                    return;
                };
                text.push(*letter);
                at += 1;
                continue;
            }
            let Some(token) = u16le(chunk, at) else {
                return;
            };
            at += 2;
            // How the token is divided depends on how much of the chunk is there already.
            let done = text.len() - start;
            let bits = (4..=12).find(|bits| 1 << bits >= done).unwrap_or(12);
            let length = usize::from(token & (0xffff >> bits)) + 3;
            let back = usize::from(token >> (16 - bits)) + 1;
            if back > text.len() - start || text.len() - start > 4096 {
                return;
            }
            for _ in 0..length {
                let Some(letter) = text.len().checked_sub(back).and_then(|from| text.get(from))
                else {
                    return;
                };
                text.push(*letter);
            }
        }
    }
}
