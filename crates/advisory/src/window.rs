//! A bounded window onto a feed: what has been read and not yet taken.
//!
//! Entry: [`Window`]; [`Lines`] hands out lines. Memory is what the caller leaves untaken.

use std::io::{self, ErrorKind, Read};

use crate::container::LimitPassed;
use crate::{ReadError, sniff};

/// Bytes asked of the input at a time: large enough that system calls do not show, small enough
/// for a cache.
const CHUNK: usize = 256 * 1024;

/// What has been read of an input and not yet taken.
#[derive(Debug)]
pub(crate) struct Window<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
    /// Place of `start` in the input.
    offset: u64,
    ended: bool,
    /// Why the input ended, where that was before its end.
    early: Option<String>,
}

impl<R: Read> Window<R> {
    /// Reads the first bytes, refuses what is no text feed, and skips a byte order mark.
    pub(crate) fn open(input: R, expected: &'static str) -> Result<Self, ReadError> {
        let mut window = Self {
            input,
            buffer: Vec::new(),
            start: 0,
            filled: 0,
            offset: 0,
            ended: false,
            early: None,
        };
        while window.unread().len() < sniff::ENOUGH && window.fill()? {}
        let mark = sniff::refuse(expected, window.unread())?;
        window.take(mark);
        Ok(window)
    }

    /// What can be looked at now.
    pub(crate) fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.filled).unwrap_or_default()
    }

    /// Takes bytes off the front.
    pub(crate) fn take(&mut self, bytes: usize) {
        let bytes = bytes.min(self.filled - self.start);
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Place of the front in the input, in bytes from its beginning.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Why the input ended early, where it did.
    pub(crate) fn ended_early(&self) -> Option<&str> {
        self.early.as_deref()
    }

    /// Bytes held.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// Reads more behind what is there. `false`: the input has ended.
    pub(crate) fn fill(&mut self) -> Result<bool, ReadError> {
        if self.ended {
            return Ok(false);
        }
        if self.buffer.len() - self.filled < CHUNK {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.start = 0;
            if self.buffer.len() - self.filled < CHUNK {
                let size = (self.buffer.len() * 2).max(self.filled + 2 * CHUNK);
                self.buffer.resize(size, 0);
            }
        }
        loop {
            let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match self.input.read(free) {
                Ok(0) => self.ended = true,
                Ok(read) => self.filled += read.min(free.len()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // What a decoder says of compressed data that was cut: the same as a cut file.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    self.ended = true;
                    self.early = Some("the compressed data ends before its end".to_owned());
                }
                Err(error) => return Err(read_error(error)),
            }
            return Ok(!self.ended);
        }
    }
}

/// A failed read; one that passed a limit of [`crate::container`] says so.
pub(crate) fn read_error(error: io::Error) -> ReadError {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<LimitPassed>())
    {
        Some(limit) => ReadError::Limit {
            limit: limit.to_string(),
        },
        None => ReadError::Io(error),
    }
}

/// The lines of a feed.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    window: Window<R>,
    limit: usize,
    number: u64,
    taken: usize,
}

/// One line, without its line feed or carriage return.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// The line.
    Whole(&'a [u8]),
    /// It was longer than the limit, and is left out.
    TooLong,
}

impl<R: Read> Lines<R> {
    /// Opens a feed of lines, each at most `limit` bytes.
    pub(crate) fn open(input: R, expected: &'static str, limit: usize) -> Result<Self, ReadError> {
        Ok(Self {
            window: Window::open(input, expected)?,
            limit,
            number: 0,
            taken: 0,
        })
    }

    /// Number of the line last handed out, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Why the input ended early, where it did.
    pub(crate) fn ended_early(&self) -> Option<&str> {
        self.window.ended_early()
    }

    /// The next line; `None` at the end. The last line needs no line feed.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'_>>, ReadError> {
        self.window.take(self.taken);
        self.taken = 0;
        let mut searched = 0;
        let mut too_long = false;
        let end = loop {
            let unread = self.window.unread();
            let fresh = unread.get(searched..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', fresh) {
                self.taken = searched + at + 1;
                break searched + at;
            }
            searched = unread.len();
            if searched > self.limit {
                too_long = true;
                self.window.take(searched);
                searched = 0;
            }
            if !self.window.fill()? {
                let rest = self.window.unread().len();
                if rest == 0 && !too_long {
                    return Ok(None);
                }
                self.taken = rest;
                break rest;
            }
        };
        self.number += 1;
        if too_long || end > self.limit {
            return Ok(Some(Line::TooLong));
        }
        let line = self.window.unread().get(..end).unwrap_or_default();
        Ok(Some(Line::Whole(line.strip_suffix(b"\r").unwrap_or(line))))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Hands out a few bytes at a time.
    pub(crate) struct Trickle<'a>(pub(crate) &'a [u8], pub(crate) usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(buf.len()).min(self.0.len());
            let (head, tail) = self.0.split_at(n);
            buf[..n].copy_from_slice(head);
            self.0 = tail;
            Ok(n)
        }
    }

    fn lines(text: &[u8], step: usize, limit: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::open(Trickle(text, step), "CSV", limit).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(match line {
                Line::Whole(line) => Some(line.to_vec()),
                Line::TooLong => None,
            });
        }
        assert_eq!(lines.number(), all.len() as u64);
        all
    }

    #[test]
    fn lines_come_whole_however_they_trickle_in() {
        for step in [1, 2, 3, 7, 1000] {
            assert_eq!(
                lines(b"one\r\n\ntwo longer than that\nlast", step, 8),
                [
                    Some(b"one".to_vec()),
                    Some(vec![]),
                    None,
                    Some(b"last".to_vec())
                ],
                "{step}"
            );
        }
    }
}
