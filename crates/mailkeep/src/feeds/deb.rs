//! The changelog inside a Debian package file: deb(5), an `ar` archive whose `data.tar.*` holds
//! `usr/share/doc/PACKAGE/changelog.Debian.gz`.

use std::io::{self, Read};

use mailkeep_advisory::container::{self, Limits};

/// First bytes of an `ar` archive.
pub const MAGIC: &[u8] = b"!<arch>\n";

/// Length of a member's header in an `ar` archive (deb(5)).
const HEADER: usize = 60;

/// Largest changelog read, unpacked: the kernel's has about 5 MiB.
const MAX_CHANGELOG: u64 = 64 << 20;

/// A package file whose changelog could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DebError {
    /// Reading failed, or what was read is damaged.
    #[error("cannot read the package file")]
    Io(#[from] io::Error),
    /// It has no `data.tar` member.
    #[error("the package file has no data.tar")]
    NoData,
    /// Its data could not be unpacked.
    #[error("cannot unpack the package's data")]
    Unpack(#[from] mailkeep_advisory::ReadError),
    /// There is no Debian changelog in it: some packages link to another's.
    #[error("the package has no changelog.Debian.gz of its own")]
    NoChangelog,
}

/// The text of the Debian changelog.
pub fn changelog(mut input: impl Read) -> Result<String, DebError> {
    let mut magic = [0u8; 8];
    input.read_exact(&mut magic)?;
    loop {
        let mut header = [0u8; HEADER];
        match input.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(DebError::NoData);
            }
            Err(error) => return Err(error.into()),
        }
        let header = String::from_utf8_lossy(&header);
        let field = |from: usize, to: usize| header.get(from..to).unwrap_or_default().trim();
        let size: u64 = field(48, 58)
            .parse()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if field(0, 16).starts_with("data.tar") {
            return in_data((&mut input).take(size));
        }
        // Members start at even offsets.
        io::copy(&mut (&mut input).take(size + size % 2), &mut io::sink())?;
    }
}

fn in_data(data: impl Read) -> Result<String, DebError> {
    let unpacked = container::open(data, Limits::default())?.content;
    let mut archive = tar::Archive::new(unpacked);
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path_bytes();
        let is_changelog =
            path.ends_with(b"/changelog.Debian.gz") || path.ends_with(b"/changelog.gz");
        let of_documentation = path
            .strip_prefix(b"./")
            .unwrap_or(&path)
            .starts_with(b"usr/share/doc/");
        if is_changelog && of_documentation && entry.header().entry_type().is_file() {
            let mut text = Vec::new();
            container::open(entry, Limits::default())?
                .content
                .take(MAX_CHANGELOG)
                .read_to_end(&mut text)?;
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
    }
    Err(DebError::NoChangelog)
}
