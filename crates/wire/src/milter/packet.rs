//! Packets: a length of four octets, a letter, and what belongs to it.

use super::event::MilterError;

/// Octets of the longest packet that is read. A server sends bodies in pieces of 65,535; Postfix sends a header of any
/// length in one packet, 102,400 octets as it comes.
pub(super) const LONGEST: usize = 1 << 20;

/// Octets of the longest packet that is usual, with its head.
const USUAL: usize = 65_535 + 5;

/// Octets for which there is room in any case: most messages are smaller.
const SOME: usize = 16 << 10;

/// Takes packets out of a stream.
#[derive(Debug, Clone, Default)]
pub(super) struct PacketReader {
    held: Vec<u8>,
    /// Octets of `held` that were handed out.
    done: usize,
}

impl PacketReader {
    /// Where octets that come are appended. There is room for all of a packet that has begun, so that it comes with few
    /// reads and is not moved as it grows, and for some more.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        if self.done > 0 {
            self.held.drain(..self.done);
            self.done = 0;
        }
        let head = self.held.first_chunk::<4>();
        let length = head.map_or(0, |head| u32::from_be_bytes(*head) as usize);
        let whole = length.saturating_add(4).min(USUAL);
        self.held
            .reserve(whole.saturating_sub(self.held.len()).max(SOME));
        &mut self.held
    }

    /// Whether nothing is held that was not handed out.
    pub(super) fn is_empty(&self) -> bool {
        self.done == self.held.len()
    }

    /// Where it stands; valid until octets are added.
    pub(super) fn place(&self) -> usize {
        self.done
    }

    /// Gives what was taken since then once more.
    pub(super) fn back_to(&mut self, place: usize) {
        self.done = place;
    }

    /// The next packet that is whole: its letter and its data.
    pub(super) fn next_packet(&mut self) -> Result<Option<(u8, &[u8])>, MilterError> {
        let rest = self.held.get(self.done..).unwrap_or_default();
        let Some((head, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*head) as usize;
        if length == 0 || length > LONGEST {
            return Err(MilterError::Length(length));
        }
        let Some((letter, data)) = rest.get(..length).and_then(<[u8]>::split_first) else {
            return Ok(None);
        };
        self.done += 4 + length;
        Ok(Some((*letter, data)))
    }
}

/// Appends one packet.
pub(super) fn write(out: &mut Vec<u8>, letter: u8, data: &[u8]) {
    let length = u32::try_from(data.len() + 1).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(letter);
    out.extend_from_slice(data);
}

/// Takes one text that ends with NUL off the front.
pub(super) fn text<'a>(data: &mut &'a [u8]) -> Result<&'a [u8], MilterError> {
    let end = memchr::memchr(0, data).ok_or(MilterError::Unended)?;
    let (text, rest) = data.split_at_checked(end).ok_or(MilterError::Unended)?;
    *data = rest.get(1..).unwrap_or_default();
    Ok(text)
}
