//! Checksums: files of them, and files against them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mailkeep_model::Problem;
use mailkeep_model::text::printable_max;
use ring::digest::{self, SHA256, SHA512};

/// Lines of a checksum file that are read; the largest real ones (an archive's `SHA256SUMS`) have
/// some ten thousand.
const MAX_LINES: usize = 200_000;

/// A digest algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-512 (FIPS 180-4).
    Sha512,
}

impl Algorithm {
    fn of_hex(hex: &str) -> Option<Self> {
        let all_hex = hex.bytes().all(|b| b.is_ascii_hexdigit());
        match hex.len() {
            64 if all_hex => Some(Self::Sha256),
            128 if all_hex => Some(Self::Sha512),
            _ => None,
        }
    }

    fn ring(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &SHA256,
            Self::Sha512 => &SHA512,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
        })
    }
}

/// One line of a checksum file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// By the digest's length, or by name (BSD form).
    pub algorithm: Algorithm,
    /// Lower-case hexadecimal.
    pub hex: String,
    /// The file it names, as written; `None` where the line is a digest and nothing else.
    pub file: Option<String>,
}

impl fmt::Display for Checksum {
    /// As `sha256sum` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            None => f.write_str(&self.hex),
            Some(file) if file.contains(['\\', '\n', '\r']) => {
                let file = file
                    .replace('\\', "\\\\")
                    .replace('\n', "\\n")
                    .replace('\r', "\\r");
                write!(f, "\\{}  {file}", self.hex)
            }
            Some(file) => write!(f, "{}  {file}", self.hex),
        }
    }
}

/// A file that is not the one its checksum was made of, or could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// What was expected is no digest.
    #[error("{expected:?} is no {algorithm} digest to check {} against", file.display())]
    BadDigest {
        /// The file.
        file: PathBuf,
        /// The algorithm.
        algorithm: Algorithm,
        /// What was given, printable.
        expected: String,
    },
    /// The digests differ.
    #[error("{} is damaged or was replaced: its {algorithm} is {found}, expected {expected}; fetch it again", file.display())]
    Mismatch {
        /// The file.
        file: PathBuf,
        /// The algorithm.
        algorithm: Algorithm,
        /// Lower-case hexadecimal.
        expected: String,
        /// Lower-case hexadecimal.
        found: String,
    },
    /// It could not be read.
    #[error("cannot read {} to check its {algorithm}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The algorithm.
        algorithm: Algorithm,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl VerifyError {
    /// The stable name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BadDigest { .. } => "bad-digest",
            Self::Mismatch { .. } => "checksum-mismatch",
            Self::Read { .. } => "file",
        }
    }
}

/// Checks a file against a hexadecimal SHA-256.
pub fn verify_sha256(file: &Path, expected: &str) -> Result<(), VerifyError> {
    verify(file, Algorithm::Sha256, expected)
}

/// Checks a file against a hexadecimal SHA-512.
pub fn verify_sha512(file: &Path, expected: &str) -> Result<(), VerifyError> {
    verify(file, Algorithm::Sha512, expected)
}

/// Reads a checksum file: the form of `sha256sum` and `sha512sum` (with its `\` escapes), their
/// BSD form (`SHA256 (name) = hex`), and a bare digest, as CSAF 2.0 section 7.1.18 allows beside
/// each advisory. Comments (`#`) and empty lines are skipped; any other line is a problem.
pub fn parse_checksums(bytes: &[u8]) -> (Vec<Checksum>, Vec<Problem>) {
    let mut checksums = Vec::new();
    let mut problems = Vec::new();
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (index, line) in text.split(|b| *b == b'\n').enumerate() {
        let place = || format!("line {}", index + 1);
        if index >= MAX_LINES {
            problems.push(Problem::new(place(), "the rest of the file is not read"));
            break;
        }
        let Ok(line) = std::str::from_utf8(line) else {
            problems.push(Problem::new(place(), "not UTF-8"));
            continue;
        };
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match parse_line(line) {
            Some(checksum) => checksums.push(checksum),
            None => problems.push(Problem::new(place(), format!("no checksum: {line}"))),
        }
    }
    (checksums, problems)
}

/// The checksum meant for a file: the one naming it (by its last path component), else the only
/// one there is where that names none.
pub fn expected_for<'a>(checksums: &'a [Checksum], file_name: &str) -> Option<&'a Checksum> {
    let last = |path: &'a str| path.rsplit('/').next().unwrap_or(path);
    checksums
        .iter()
        .find(|checksum| {
            checksum
                .file
                .as_deref()
                .is_some_and(|file| last(file) == file_name)
        })
        .or_else(|| match checksums {
            [only] if only.file.is_none() => Some(only),
            _ => None,
        })
}

fn parse_line(line: &str) -> Option<Checksum> {
    if let Some(bsd) = parse_bsd(line) {
        return Some(bsd);
    }
    let (escaped, line) = match line.strip_prefix('\\') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let line = line.trim_start();
    let (hex, rest) = line
        .split_once([' ', '\t'])
        .map_or((line, None), |(hex, rest)| (hex, Some(rest)));
    let algorithm = Algorithm::of_hex(hex)?;
    let file = match rest {
        None => None,
        // One separator is left: a second blank (text mode) or a star (binary mode).
        Some(rest) => {
            let name = rest
                .strip_prefix([' ', '*'])
                .unwrap_or(rest)
                .trim_start_matches('\t');
            let name = if escaped {
                unescape(name)?
            } else {
                name.to_owned()
            };
            (!name.trim().is_empty()).then_some(name)
        }
    };
    Some(Checksum {
        algorithm,
        hex: hex.to_ascii_lowercase(),
        file,
    })
}

fn parse_bsd(line: &str) -> Option<Checksum> {
    let (name, rest) = line.split_once(" (")?;
    let algorithm = match name {
        "SHA256" | "SHA2-256" => Algorithm::Sha256,
        "SHA512" | "SHA2-512" => Algorithm::Sha512,
        _ => return None,
    };
    let (file, hex) = rest.rsplit_once(") = ")?;
    let hex = hex.trim();
    (Algorithm::of_hex(hex)? == algorithm && !file.is_empty()).then(|| Checksum {
        algorithm,
        hex: hex.to_ascii_lowercase(),
        file: Some(file.to_owned()),
    })
}

fn unescape(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}

fn verify(file: &Path, algorithm: Algorithm, expected: &str) -> Result<(), VerifyError> {
    let expected = expected.trim();
    if Algorithm::of_hex(expected) != Some(algorithm) {
        return Err(VerifyError::BadDigest {
            file: file.to_owned(),
            algorithm,
            expected: printable_max(expected, 140),
        });
    }
    let found = digest_of(file, algorithm).map_err(|source| VerifyError::Read {
        file: file.to_owned(),
        algorithm,
        source,
    })?;
    if found.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    Err(VerifyError::Mismatch {
        file: file.to_owned(),
        algorithm,
        expected: expected.to_ascii_lowercase(),
        found,
    })
}

fn digest_of(file: &Path, algorithm: Algorithm) -> io::Result<String> {
    let mut file = File::open(file)?;
    let mut context = digest::Context::new(algorithm.ring());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(to_hex(context.finish().as_ref())),
            Ok(read) => context.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// SHA-256 and SHA-512 of "abc" (FIPS 180-4, examples).
    const ABC_256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const ABC_512: &str = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                           2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

    #[test]
    fn a_file_is_checked_against_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("abc");
        std::fs::write(&file, "abc").unwrap();
        verify_sha256(&file, ABC_256).unwrap();
        verify_sha256(&file, &ABC_256.to_uppercase()).unwrap();
        verify_sha512(&file, ABC_512).unwrap();
        std::fs::write(&file, "abd").unwrap();
        assert_eq!(
            verify_sha256(&file, ABC_256).unwrap_err().kind(),
            "checksum-mismatch"
        );
        assert_eq!(
            verify_sha512(&file, ABC_256).unwrap_err().kind(),
            "bad-digest"
        );
        let missing = dir.path().join("missing");
        assert_eq!(verify_sha256(&missing, ABC_256).unwrap_err().kind(), "file");
    }

    #[test]
    fn every_common_form_is_read() {
        let text = format!(
            "# comment\r\n{ABC_256}  text.json\n{ABC_512} *binary.json\r\n{} deep/er.json\n\
             SHA256 (bsd (1).json) = {ABC_256}\n\\{ABC_256}  odd\\nname\\\\\n\n{ABC_256}\nnonsense\n",
            ABC_256.to_uppercase()
        );
        let (checksums, problems) = parse_checksums(text.as_bytes());
        let names: Vec<_> = checksums.iter().map(|c| c.file.as_deref()).collect();
        assert_eq!(
            names,
            [
                Some("text.json"),
                Some("binary.json"),
                Some("deep/er.json"),
                Some("bsd (1).json"),
                Some("odd\nname\\"),
                None
            ]
        );
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].record, "line 9");
        let found = expected_for(&checksums, "er.json").unwrap();
        assert_eq!(found.hex, ABC_256);
        assert_eq!(expected_for(&checksums, "other.json"), None);
        assert!(expected_for(&checksums[5..], "other.json").is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            parse_checksums(&bytes);
        }

        #[test]
        fn what_is_printed_is_read_back(
            digest in "[0-9a-f]{64}|[0-9a-f]{128}",
            file in proptest::option::of("[^ \t*\0\u{85}\u{a0}][^\0]{0,20}")
        ) {
            let file = file.filter(|f| !f.trim().is_empty());
            let checksum = Checksum {
                algorithm: Algorithm::of_hex(&digest).unwrap(),
                hex: digest,
                file,
            };
            let (read, problems) = parse_checksums(checksum.to_string().as_bytes());
            prop_assert_eq!(problems.len(), 0);
            prop_assert_eq!(read, vec![checksum]);
        }
    }
}
