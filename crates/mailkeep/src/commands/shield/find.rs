//! Finds messages in files, mailboxes and directories.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// A larger message is not read: no server takes one.
const LARGEST: u64 = 256 << 20;

/// Where a message lies.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// The file.
    pub(super) path: PathBuf,
    /// Which message of a mailbox, from 1 on.
    pub(super) index: Option<usize>,
}

/// What can be read only once: a pipe, a terminal.
pub(super) type Stream = Begun<Box<dyn Read + Send>>;

/// A message that was found.
pub(super) struct Message {
    pub(super) source: Source,
    held: Held,
}

/// What the finder has of a message.
enum Held {
    /// Nothing: it lies in its file.
    File,
    Octets(Vec<u8>),
    Stream(Stream),
}

impl Message {
    /// Its octets; to be asked for once.
    pub(super) fn octets(&mut self) -> Result<Vec<u8>, String> {
        let read = match std::mem::replace(&mut self.held, Held::File) {
            Held::Octets(octets) => Ok(octets),
            Held::Stream(stream) => whole(stream),
            Held::File => File::open(&self.source.path).and_then(whole),
        };
        read.map_err(|error| problem(&self.source.path, &error))
    }

    /// What can be read only once, and was asked for unread.
    pub(super) fn stream(&mut self) -> Option<Stream> {
        match std::mem::replace(&mut self.held, Held::File) {
            Held::Stream(stream) => Some(stream),
            other => {
                self.held = other;
                None
            }
        }
    }

    /// Whether it lies in a file of its own, and can be read again.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.held, Held::File)
    }
}

fn problem(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

fn too_large() -> io::Error {
    io::Error::new(
        io::ErrorKind::FileTooLarge,
        format!("a message of more than {} MiB", LARGEST >> 20),
    )
}

fn whole(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    reader.take(LARGEST + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > LARGEST {
        return Err(too_large());
    }
    Ok(octets)
}

/// Takes what was found; `false`: nobody wants more.
type Take<'t> = dyn FnMut(Result<Message, String>) -> bool + 't;

/// Finds all messages below a path that somebody named; `-` is the standard input. What can be read only once and begins as
/// `unread` says comes unread. Whether more is wanted.
pub(super) fn find(path: &Path, unread: fn(&[u8]) -> bool, take: &mut Take<'_>) -> bool {
    if path == Path::new("-") {
        return once(path, Ok(io::stdin()), unread, take);
    }
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => directory(path, take),
        Ok(meta) if !meta.is_file() => once(path, File::open(path), unread, take),
        Ok(_) => file(path, take),
        Err(error) => take(Err(problem(path, &error))),
    }
}

fn directory(path: &Path, take: &mut Take<'_>) -> bool {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return take(Err(problem(path, &error))),
    };
    // Names only, so that a directory of a million messages does no harm.
    let mut names = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => names.push(entry.file_name()),
            Err(error) => {
                if !take(Err(problem(path, &error))) {
                    return false;
                }
            }
        }
    }
    names.sort_unstable();
    let is_maildir = ["cur", "new"]
        .iter()
        .all(|own| names.iter().any(|name| name == own));
    for name in names {
        let inner = path.join(&name);
        let meta = match fs::symlink_metadata(&inner) {
            Ok(meta) => meta,
            // Mail readers move messages while somebody looks.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                if !take(Err(problem(&inner, &error))) {
                    return false;
                }
                continue;
            }
        };
        let more = if meta.is_dir() {
            // What lies in `tmp` is not whole yet.
            (is_maildir && name == "tmp") || directory(&inner, take)
        } else if meta.is_file() && !is_maildir {
            file(&inner, take)
        } else {
            true
        };
        if !more {
            return false;
        }
    }
    true
}

/// What begins so, with what was read of it.
type Begun<R> = BufReader<io::Chain<io::Cursor<Vec<u8>>, R>>;

/// Whether it is a mailbox. A pipe may bring its first octets one by one.
fn begun<R: Read>(mut reader: R) -> io::Result<(Begun<R>, bool)> {
    const MARK: &[u8] = b"From ";
    let mut head = Vec::new();
    reader
        .by_ref()
        .take(MARK.len() as u64)
        .read_to_end(&mut head)?;
    let is_mailbox = head == MARK;
    let whole = io::Cursor::new(head).chain(reader);
    Ok((BufReader::with_capacity(64 << 10, whole), is_mailbox))
}

/// Reads what can be read only once.
fn once(
    path: &Path,
    opened: io::Result<impl Read + Send + 'static>,
    unread: fn(&[u8]) -> bool,
    take: &mut Take<'_>,
) -> bool {
    let opened = opened.map(|reader| -> Box<dyn Read + Send> { Box::new(reader) });
    let held = match opened.and_then(begun) {
        Ok((stream, true)) => return mailbox(path, stream, take),
        Ok((mut stream, false)) => {
            if stream.fill_buf().is_ok_and(unread) {
                Ok(Held::Stream(stream))
            } else {
                whole(stream).map(Held::Octets)
            }
        }
        Err(error) => Err(error),
    };
    take(match held {
        // A command that failed in front of a pipe leaves nothing, and that is no message without faults.
        Ok(Held::Octets(octets)) if octets.is_empty() => {
            let none = io::Error::new(io::ErrorKind::UnexpectedEof, "nothing came");
            Err(problem(path, &none))
        }
        Ok(held) => Ok(Message {
            source: Source {
                path: path.to_owned(),
                index: None,
            },
            held,
        }),
        Err(error) => Err(problem(path, &error)),
    })
}

fn file(path: &Path, take: &mut Take<'_>) -> bool {
    match File::open(path).and_then(begun) {
        Ok((reader, true)) => mailbox(path, reader, take),
        Ok((_, false)) => take(Ok(Message {
            source: Source {
                path: path.to_owned(),
                index: None,
            },
            held: Held::File,
        })),
        Err(error) => take(Err(problem(path, &error))),
    }
}

/// The messages of a mailbox: each begins behind a line `From ` that stands first or behind an empty line. Not all programs
/// quote such a line in a text (`mboxo`, `mboxcl`): it counts only with a time of day in it, or before a header.
fn mailbox(path: &Path, mut reader: impl BufRead, take: &mut Take<'_>) -> bool {
    let mut index = 0;
    let mut message: Vec<u8> = Vec::new();
    let mut large = false;
    let mut behind_empty = true;
    let mut line = Vec::new();
    let mut next = Vec::new();
    if let Err(error) = piece(&mut reader, &mut next) {
        return take(Err(problem(path, &error)));
    }
    loop {
        std::mem::swap(&mut line, &mut next);
        if !line.is_empty()
            && let Err(error) = piece(&mut reader, &mut next)
        {
            return take(Err(problem(path, &error)));
        }
        let begins = behind_empty
            && line.starts_with(b"From ")
            && (index == 0 || has_time(&line) || next.is_empty() || is_header(&next));
        if line.is_empty() || begins {
            if index > 0 {
                let found = if large {
                    Err(format!(
                        "cannot read message {index} of {}: {}",
                        path.display(),
                        too_large()
                    ))
                } else {
                    Ok(Message {
                        source: Source {
                            path: path.to_owned(),
                            index: Some(index),
                        },
                        held: Held::Octets(std::mem::take(&mut message)),
                    })
                };
                if !take(found) {
                    return false;
                }
            }
            if line.is_empty() {
                return true;
            }
            index += 1;
            message.clear();
            large = false;
            behind_empty = false;
            continue;
        }
        behind_empty = line.iter().all(|octet| matches!(octet, b'\r' | b'\n'));
        if message.len() as u64 + line.len() as u64 > LARGEST {
            large = true;
            message = Vec::new();
        }
        if !large {
            message.extend_from_slice(unquoted(&line));
        }
    }
}

/// The next line, with its end; a line without one comes in pieces, and nothing at the end of the file.
fn piece(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    reader.by_ref().take(1 << 20).read_until(b'\n', line)?;
    Ok(())
}

/// Whether a line holds a time of day, as those do that begin a message: `From ada@example.org Sat Nov 21 10:07:52 2026`.
fn has_time(line: &[u8]) -> bool {
    line.windows(5).any(|five| {
        matches!(five, [a, b, b':', c, d] if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()))
    })
}

/// Whether a line is a header, or the `>From ` that some programs put before the first.
fn is_header(line: &[u8]) -> bool {
    let name = line.iter().position(|octet| *octet == b':');
    let is_name = |end| {
        line.get(..end)
            .is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic))
    };
    name.is_some_and(is_name) || line.starts_with(b">From ")
}

/// A line `>From ` was `From ` before it came into the mailbox.
fn unquoted(line: &[u8]) -> &[u8] {
    let quotes = line.iter().take_while(|octet| **octet == b'>').count();
    match line.get(quotes..) {
        Some(rest) if quotes > 0 && rest.starts_with(b"From ") => line.get(1..).unwrap_or(line),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(mailbox_text: &str) -> Vec<String> {
        let mut found = Vec::new();
        mailbox(Path::new("box"), mailbox_text.as_bytes(), &mut |message| {
            found.push(String::from_utf8(message.unwrap().octets().unwrap()).unwrap());
            true
        });
        found
    }

    #[test]
    fn a_mailbox_is_cut_at_its_from_lines() {
        assert_eq!(
            messages("From a\nA: 1\n\nx\nFrom here on\n>From there\n\nFrom b\nB: 2\n\nx\n"),
            ["A: 1\n\nx\nFrom here on\nFrom there\n\n", "B: 2\n\nx\n"]
        );
    }

    #[test]
    fn a_text_that_goes_on_with_from_is_not_cut() {
        let text = "From a\nA: 1\n\nx\n\nFrom here on: nothing\nof note\n\nFrom\n\n";
        assert_eq!(messages(text).len(), 1);
        let next = "From b Sat Nov 21 10:07:52 2026\n\nno headers\n";
        assert_eq!(messages(&format!("{text}{next}")).len(), 2);
        assert_eq!(
            messages(&format!("{text}From b\n>From c\nB: 2\n\n")).len(),
            2
        );
    }

    #[test]
    fn only_an_empty_line_makes_a_from_line() {
        assert_eq!(messages("From a\nA: 1\n\nx\nFrom y\n").len(), 1);
        assert_eq!(
            messages("From a\r\nA: 1\r\n\r\nx\r\n\r\nFrom b\r\n").len(),
            2
        );
    }
}
