//! The changelog inside a Debian package file: deb(5), an `ar` archive whose `data.tar.*` holds
//! `usr/share/doc/PACKAGE/changelog.Debian.gz`.
//!
//! Entry: [`changelog`]. Nothing is written: the package is read through once, in the memory its
//! changelog takes.

use std::io::{self, Read};

use mailkeep_advisory::container::{self, Limits};

/// First bytes of an `ar` archive.
pub const MAGIC: &[u8] = b"!<arch>\n";

/// Length of a member's header in an `ar` archive (deb(5)).
const HEADER: usize = 60;

/// Largest changelog read, unpacked: the kernel's has about 5 MiB.
const MAX_CHANGELOG: u64 = 32 << 20;

/// Longest name of a file read, in bytes: Linux's `PATH_MAX`.
const MAX_NAME: u64 = 4096;

/// Bounds on unpacking a package's data. The largest packages of Debian unpack to some 2 GiB.
const LIMITS: Limits = Limits {
    output: 8 << 30,
    ratio: 1_000,
    ratio_from: 256 << 20,
    entries: usize::MAX,
};

/// A package file whose changelog could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DebError {
    /// An `ar` member's header is none.
    #[error("the package file is damaged: member {number} has no sound header")]
    Header {
        /// Which member, from 1.
        number: u32,
    },
    /// Reading failed, or what was read is damaged.
    #[error("cannot read the package file")]
    Io(#[from] io::Error),
    /// There is no Debian changelog in it: some packages link to another's.
    #[error("the package has no changelog.Debian.gz of its own")]
    NoChangelog,
    /// It has no `data.tar` member.
    #[error("the package file has no data.tar, or ends before it")]
    NoData,
    /// A changelog of such a size is none.
    #[error("its changelog has more than {MAX_CHANGELOG} bytes")]
    TooLong,
    /// Its data could not be unpacked.
    #[error("cannot unpack the package's data")]
    Unpack(#[from] mailkeep_advisory::ReadError),
}

/// The text of the Debian changelog. Takes the file from its first byte.
pub fn changelog(mut input: impl Read) -> Result<String, DebError> {
    let mut magic = [0u8; 8];
    input.read_exact(&mut magic)?;
    let mut number = 0;
    loop {
        number += 1;
        let mut header = [0u8; HEADER];
        match input.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(DebError::NoData);
            }
            Err(error) => return Err(error.into()),
        }
        let size = size_of(&header).ok_or(DebError::Header { number })?;
        if header.starts_with(b"data.tar") {
            return in_data((&mut input).take(size));
        }
        // Members start at even offsets.
        io::copy(&mut (&mut input).take(size + size % 2), &mut io::sink())?;
    }
}

/// Reads any bytes as a package file: the entry for fuzzing.
pub fn fuzz(data: &[u8]) {
    drop(changelog(data));
}

/// The size in a member's header: ten digits at most, at offset 48. The header's last two bytes are
/// fixed (deb(5)).
fn size_of(header: &[u8; HEADER]) -> Option<u64> {
    let digits = std::str::from_utf8(header.get(48..58)?).ok()?;
    header
        .ends_with(b"`\n")
        .then(|| digits.trim_end().parse().ok())?
}

fn in_data(data: impl Read) -> Result<String, DebError> {
    let unpacked = container::open_archive(data, LIMITS)?.content;
    let mut archive = tar::Archive::new(unpacked);
    // A native package has `changelog.gz`; in any other that is the upstream author's own.
    let mut native = None;
    let mut long_name = None;
    // Raw: in any other way a long name is read whole, and it may be as long as all data.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            let mut name = Vec::new();
            (&mut entry).take(MAX_NAME).read_to_end(&mut name)?;
            name.truncate(name.iter().position(|b| *b == 0).unwrap_or(name.len()));
            long_name = Some(name);
            continue;
        }
        if kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions()
        {
            continue;
        }
        let path = long_name
            .take()
            .unwrap_or_else(|| entry.path_bytes().into_owned());
        let path = path.strip_prefix(b"./").unwrap_or(&path);
        if !path.starts_with(b"usr/share/doc/") || !kind.is_file() {
            continue;
        }
        if path.ends_with(b"/changelog.Debian.gz") {
            return text_of(entry);
        }
        if path.ends_with(b"/changelog.gz") && native.is_none() {
            native = Some(text_of(entry)?);
        }
    }
    native.ok_or(DebError::NoChangelog)
}

fn text_of(entry: impl Read) -> Result<String, DebError> {
    let mut text = Vec::new();
    container::open(entry, Limits::default())?
        .content
        .take(MAX_CHANGELOG + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > MAX_CHANGELOG {
        return Err(DebError::TooLong);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(name: &str, content: &[u8]) -> Vec<u8> {
        let size = content.len();
        let mut bytes = format!(
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n",
            0, 0, 0, 100_644
        )
        .into_bytes();
        bytes.extend_from_slice(content);
        if size % 2 == 1 {
            bytes.push(b'\n');
        }
        bytes
    }

    fn tar(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn deb(files: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(member("debian-binary", b"2.0\n"));
        bytes.extend(member("control.tar.xz", b"odd"));
        bytes.extend(member("data.tar", &tar(files)));
        bytes
    }

    #[test]
    fn the_distributions_changelog_goes_before_the_upstream_authors() {
        let upstream = ("./usr/share/doc/x/changelog.gz", "upstream");
        let debian = ("./usr/share/doc/x/changelog.Debian.gz", "debian");
        assert_eq!(changelog(&*deb(&[upstream, debian])).unwrap(), "debian");
        assert_eq!(changelog(&*deb(&[debian, upstream])).unwrap(), "debian");
        assert_eq!(changelog(&*deb(&[upstream])).unwrap(), "upstream");
        let elsewhere = ("./usr/lib/changelog.Debian.gz", "x");
        assert!(matches!(
            changelog(&*deb(&[elsewhere])),
            Err(DebError::NoChangelog)
        ));
    }

    #[test]
    fn long_names_are_read_and_endless_ones_are_not_kept() {
        let long = |length| format!("usr/share/doc/{}/changelog.Debian.gz", "x".repeat(length));
        assert_eq!(
            changelog(&*deb(&[(&long(150), "debian")])).unwrap(),
            "debian"
        );
        // tar(5) sets no bound to a name; 3 MB of gzip would become one of 3 GB.
        assert!(matches!(
            changelog(&*deb(&[(&long(5000), "debian")])),
            Err(DebError::NoChangelog)
        ));
    }

    #[test]
    fn a_damaged_package_is_an_error_with_its_place() {
        let whole = deb(&[("usr/share/doc/x/changelog.Debian.gz", "debian")]);
        assert!(matches!(changelog(&whole[..70]), Err(DebError::NoData)));
        let mut odd = whole.clone();
        odd[8 + 48] = b'x';
        assert!(matches!(
            changelog(&*odd),
            Err(DebError::Header { number: 1 })
        ));
        assert!(changelog(&whole[..whole.len() - 1900]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, at in 0usize..2000, to: u8) {
            fuzz(&bytes);
            fuzz(&[MAGIC, &bytes].concat());
            let mut package = deb(&[("usr/share/doc/x/changelog.Debian.gz", "debian")]);
            let at = at % package.len();
            package[at] = to;
            fuzz(&package);
        }
    }
}
