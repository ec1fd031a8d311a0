//! A message to a virus scanner on this machine, by clamd(8)'s `INSTREAM`.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mailkeep_model::text::printable_max;

/// Octets in one chunk.
const CHUNK: usize = 64 * 1024;

/// For each read and write; a scan of a large archive takes a while.
const LIMIT: Duration = Duration::from_mins(2);

/// The scanner could not say.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClamdError {
    /// No connection, or it broke.
    #[error("cannot ask the virus scanner at {}; is clamd running, and may you use its socket?", .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// It answered something else than a verdict.
    #[error("the virus scanner at {} answered {:?} and no verdict", .0.display(), .1)]
    Answer(PathBuf, String),
}

/// What the scanner found in these octets: the name of a virus, or nothing.
///
/// # Errors
/// It cannot be asked, or gives no verdict: then nothing is known of the octets.
pub fn scan(socket: &Path, octets: &[u8]) -> Result<Option<String>, ClamdError> {
    let answer = ask(socket, octets).map_err(|error| ClamdError::Io(socket.to_owned(), error))?;
    let text = answer.trim_end_matches(['\0', '\n']);
    match text.strip_prefix("stream: ") {
        Some("OK") => Ok(None),
        Some(found) if found.ends_with(" FOUND") => {
            Ok(Some(printable_max(found.trim_end_matches(" FOUND"), 100)))
        }
        _ => Err(ClamdError::Answer(
            socket.to_owned(),
            printable_max(text, 200),
        )),
    }
}

fn ask(socket: &Path, octets: &[u8]) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(b"zINSTREAM\0")?;
    for chunk in octets.chunks(CHUNK) {
        // A chunk is far below 4 GiB.
        let length = u32::try_from(chunk.len()).unwrap_or(0);
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(chunk)?;
    }
    stream.write_all(&0_u32.to_be_bytes())?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A scanner that reads one stream and says this; what it was given.
    fn scanner(
        answer: &'static str,
    ) -> (tempfile::TempDir, PathBuf, std::thread::JoinHandle<Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clamd.ctl");
        let listener = UnixListener::bind(&path).unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut command = [0; 10];
            stream.read_exact(&mut command).unwrap();
            assert_eq!(&command, b"zINSTREAM\0");
            let mut given = Vec::new();
            loop {
                let mut length = [0; 4];
                stream.read_exact(&mut length).unwrap();
                let length = u32::from_be_bytes(length) as usize;
                if length == 0 {
                    break;
                }
                let mut chunk = vec![0; length];
                stream.read_exact(&mut chunk).unwrap();
                given.extend(chunk);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            given
        });
        (folder, path, thread)
    }

    #[test]
    fn a_virus_is_named_and_the_scanner_gets_every_octet() {
        let (_folder, path, thread) = scanner("stream: Win.Test.EICAR_HDB-1 FOUND\0");
        let octets: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let found = scan(&path, &octets).unwrap();
        assert_eq!(found.as_deref(), Some("Win.Test.EICAR_HDB-1"));
        assert_eq!(thread.join().unwrap(), octets);
    }

    #[test]
    fn an_answer_that_is_no_verdict_is_an_error() {
        for answer in [
            "INSTREAM size limit exceeded. ERROR\0",
            "",
            "stream: maybe\0",
        ] {
            let (_folder, path, thread) = scanner(answer);
            assert!(
                matches!(scan(&path, b"x"), Err(ClamdError::Answer(..))),
                "{answer}"
            );
            thread.join().unwrap();
        }
        let (_folder, path, thread) = scanner("stream: OK\0");
        assert_eq!(scan(&path, b"").unwrap(), None);
        thread.join().unwrap();
    }
}
