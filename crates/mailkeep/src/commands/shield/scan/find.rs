//! Finds messages in files, mailboxes and directories.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// A larger message is not read: no server takes one.
const LARGEST: u64 = 256 << 20;

/// Where a message lies.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// Which message of a mailbox, from 1 on.
    pub(super) index: Option<usize>,
}

/// A message that was found.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) source: Source,
    /// Its octets, if the finder had to read them.
    read: Option<Vec<u8>>,
}

impl Message {
    /// Its octets; to be asked for once.
    pub(super) fn octets(&mut self) -> Result<Vec<u8>, String> {
        match self.read.take() {
            Some(octets) => Ok(octets),
            None => whole(&self.source.path).map_err(|error| problem(&self.source.path, &error)),
        }
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

fn whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(path)?
        .take(LARGEST + 1)
        .read_to_end(&mut octets)?;
    if octets.len() as u64 > LARGEST {
        return Err(too_large());
    }
    Ok(octets)
}

/// Takes what was found; `false`: nobody wants more.
type Take<'t> = dyn FnMut(Result<Message, String>) -> bool + 't;

/// Finds all messages below a path that somebody named. Whether more is wanted.
pub(super) fn find(path: &Path, take: &mut Take<'_>) -> bool {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => directory(path, take),
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

fn file(path: &Path, take: &mut Take<'_>) -> bool {
    let opened = File::open(path).and_then(|file| {
        let mut reader = BufReader::with_capacity(64 << 10, file);
        let mailbox = reader.fill_buf()?.starts_with(b"From ");
        Ok((reader, mailbox))
    });
    match opened {
        Ok((reader, true)) => mailbox(path, reader, take),
        Ok((_, false)) => take(Ok(Message {
            source: Source {
                path: path.to_owned(),
                index: None,
            },
            read: None,
        })),
        Err(error) => take(Err(problem(path, &error))),
    }
}

/// The messages of a mailbox: each begins behind a line `From ` that stands first or behind an empty line.
fn mailbox(path: &Path, mut reader: impl BufRead, take: &mut Take<'_>) -> bool {
    let mut index = 0;
    let mut message: Vec<u8> = Vec::new();
    let mut large = false;
    let mut behind_empty = true;
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without an end is read in pieces.
        let read = match reader.by_ref().take(1 << 20).read_until(b'\n', &mut line) {
            Ok(read) => read,
            Err(error) => return take(Err(problem(path, &error))),
        };
        let begins = behind_empty && line.starts_with(b"From ");
        if read == 0 || begins {
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
                        read: Some(std::mem::take(&mut message)),
                    })
                };
                if !take(found) {
                    return false;
                }
            }
            if read == 0 {
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
    fn only_an_empty_line_makes_a_from_line() {
        assert_eq!(messages("From a\nA: 1\n\nx\nFrom y\n").len(), 1);
        assert_eq!(
            messages("From a\r\nA: 1\r\n\r\nx\r\n\r\nFrom b\r\n").len(),
            2
        );
    }
}
