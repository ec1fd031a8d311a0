//! `OpenPGP` signatures beside files (CSAF 2.0 section 7.1.19), checked by the system's `gpgv`.
//!
//! `gpgv` is a package of 1 MiB that nearly every system has; linking an implementation of `OpenPGP`
//! would more than double the crates of this room. The keys are handed to it alone: no keyring of
//! the user's is read, nothing is asked, no key is fetched.
//!
//! Its exit status is not its verdict: it is 0 for a signature by an expired key as well. What
//! counts is its status lines, of which every one must be good.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mailkeep_model::Timestamp;
use mailkeep_model::text::printable_max;

use crate::process::{self, Bounds, End};

/// Bytes of keys taken; a provider has a handful of some kilobytes each.
const MAX_KEYS: usize = 4 << 20;

/// What `gpgv` may use: it reads one file once.
const BOUNDS: Bounds = Bounds {
    time: Duration::from_mins(2),
    output: 256 * 1024,
};

/// Who signed a file, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy {
    /// Fingerprint of the primary key, upper-case hexadecimal.
    pub fingerprint: String,
    /// When, as the signature says.
    pub signed_at: Timestamp,
}

/// A file whose signature proves nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The file is not what was signed, or the signature is by nobody we know.
    #[error("the signature of {} is not accepted: {reason}; do not use the file", file.display())]
    NotAccepted {
        /// The file.
        file: PathBuf,
        /// What is wrong with the signature.
        reason: Rejection,
    },
    /// No key to check with.
    #[error("no OpenPGP public key to check {} with; the provider's metadata names where its keys are", file.display())]
    NoKeys {
        /// The file.
        file: PathBuf,
    },
    /// `gpgv` could not be run to its end.
    #[error("cannot check the signature of {} with {}: {}; install the package gpgv", file.display(), program.display(), reason)]
    Program {
        /// The file.
        file: PathBuf,
        /// The program.
        program: PathBuf,
        /// What went wrong, printable.
        reason: String,
    },
    /// The keys could not be written down for it.
    #[error("cannot write the keys for checking signatures into {}", scratch.display())]
    Scratch {
        /// The directory.
        scratch: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl SignatureError {
    /// The stable name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotAccepted { .. } => "signature-not-accepted",
            Self::NoKeys { .. } => "no-keys",
            Self::Program { .. } => "gpgv",
            Self::Scratch { .. } => "file",
        }
    }
}

/// What is wrong with a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The file was changed.
    #[error("the file is not what was signed")]
    Bad,
    /// Signature or key has expired.
    #[error("the signature, or the key it was made with, has expired")]
    Expired,
    /// Nothing in it that could be understood.
    #[error("it is no OpenPGP signature")]
    NoSignature,
    /// The key was revoked.
    #[error("the key it was made with has been revoked")]
    Revoked,
    /// By none of the provider's keys.
    #[error("it was made with a key that is not among the provider's")]
    UnknownKey,
    /// An algorithm that is not or no longer accepted.
    #[error("its algorithm is not supported")]
    Unsupported,
}

/// Checks a file against its detached signature (armoured or binary). `keys` are the provider's
/// public keys, each armoured or binary; `scratch` is a directory of ours, in which they are
/// written down for `gpgv` for the time of the call; `gpgv` names the program.
pub fn verify_openpgp(
    file: &Path,
    signature: &Path,
    keys: &[&[u8]],
    scratch: &Path,
    gpgv: &Path,
) -> Result<SignedBy, SignatureError> {
    let mut ring = Vec::new();
    for key in keys {
        ring.extend(dearmor_key(key).unwrap_or_default());
    }
    if ring.is_empty() || ring.len() > MAX_KEYS {
        return Err(SignatureError::NoKeys {
            file: file.to_owned(),
        });
    }
    let ring = Keyring::write(scratch, &ring).map_err(|source| SignatureError::Scratch {
        scratch: scratch.to_owned(),
        source,
    })?;
    let program = |reason: &str| SignatureError::Program {
        file: file.to_owned(),
        program: gpgv.to_owned(),
        reason: printable_max(reason, 300),
    };
    let mut command = Command::new(gpgv);
    command
        .args(["--status-fd", "1", "--weak-digest", "SHA1", "--homedir"])
        .arg(scratch)
        .arg("--keyring")
        .arg(&ring.0)
        .arg("--")
        .args([signature, file].map(absolute))
        .env("LC_ALL", "C");
    let outcome =
        process::run(command, Vec::new(), BOUNDS).map_err(|error| program(&error.to_string()))?;
    let End::Exited(status) = outcome.end else {
        return Err(program("it did not end"));
    };
    match read_status(&outcome.stdout) {
        Ok(signed) if status.success() => Ok(signed),
        Ok(_) => Err(program("it failed after it had accepted the signature")),
        // A file that cannot be read is no verdict about it.
        Err(Rejection::NoSignature) if outcome.stdout.is_empty() => {
            Err(program(&String::from_utf8_lossy(&outcome.stderr)))
        }
        Err(reason) => Err(SignatureError::NotAccepted {
            file: file.to_owned(),
            reason,
        }),
    }
}

/// The verdict in `gpgv`'s status lines (`doc/DETAILS` of `GnuPG`): of all signatures there, at least
/// one must be good and valid, and none may be anything else.
pub fn read_status(bytes: &[u8]) -> Result<SignedBy, Rejection> {
    let text = String::from_utf8_lossy(bytes);
    let mut good = false;
    let mut signed = None;
    for line in text.lines() {
        let Some(status) = line.strip_prefix("[GNUPG:] ") else {
            continue;
        };
        let mut words = status.split_ascii_whitespace();
        match words.next().unwrap_or_default() {
            "GOODSIG" => good = true,
            "BADSIG" => return Err(Rejection::Bad),
            "EXPSIG" | "EXPKEYSIG" => return Err(Rejection::Expired),
            "REVKEYSIG" => return Err(Rejection::Revoked),
            "NO_PUBKEY" => return Err(Rejection::UnknownKey),
            // The sixth word is the reason; 9 is a missing key.
            "ERRSIG" => {
                return Err(if words.nth(5) == Some("9") {
                    Rejection::UnknownKey
                } else {
                    Rejection::Unsupported
                });
            }
            "VALIDSIG" => signed = read_valid(words),
            _ => {}
        }
    }
    signed.filter(|_| good).ok_or(Rejection::NoSignature)
}

/// `VALIDSIG FINGERPRINT DATE SECONDS EXPIRES VERSION - ALGORITHM DIGEST CLASS PRIMARY`.
fn read_valid<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<SignedBy> {
    let fingerprint = words.next()?;
    let seconds: i64 = words.nth(1)?.parse().ok()?;
    let primary = words.nth(6).unwrap_or(fingerprint);
    let is_fingerprint =
        (40..=64).contains(&primary.len()) && primary.bytes().all(|b| b.is_ascii_hexdigit());
    Some(SignedBy {
        fingerprint: is_fingerprint.then(|| primary.to_ascii_uppercase())?,
        signed_at: Timestamp::from_second(seconds).ok()?,
    })
}

/// The packets in a public key file: binary as it is, or every armoured block in it (RFC 9580
/// section 6.2). `None` where there is no key.
pub fn dearmor_key(bytes: &[u8]) -> Option<Vec<u8>> {
    // The first octet of a packet has its highest bit set (RFC 9580 section 4.2); text has not.
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        return (bytes.len() <= MAX_KEYS).then(|| bytes.to_vec());
    }
    let text = std::str::from_utf8(bytes.get(..bytes.len().min(2 * MAX_KEYS))?).ok()?;
    let mut packets = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while lines
        .by_ref()
        .any(|line| line == "-----BEGIN PGP PUBLIC KEY BLOCK-----")
    {
        let mut base64 = String::new();
        for line in lines
            .by_ref()
            // Armour headers, up to the empty line.
            .skip_while(|line| line.contains(": "))
            .take_while(|line| !line.starts_with("-----END"))
        {
            // `=ABCD` is the optional checksum, which readers are free to ignore.
            if !line.starts_with('=') {
                base64.push_str(line.trim());
            }
        }
        packets.extend(STANDARD.decode(base64).ok()?);
    }
    (!packets.is_empty()).then_some(packets)
}

/// A file of keys that is removed with this value.
struct Keyring(PathBuf);

impl Keyring {
    fn write(scratch: &Path, packets: &[u8]) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("keyring-{}-{number}.gpg", std::process::id());
        // With a slash in it `gpgv` takes it as it is.
        let path = absolute(scratch.join(name));
        // One that a killed process of the same number left is worth nothing.
        fs::remove_file(&path).ok();
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?
            .write_all(packets)?;
        Ok(Self(path))
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// `gpgv` takes `-` for standard input and looks for bare names elsewhere.
fn absolute(path: impl AsRef<OsStr>) -> PathBuf {
    let path = Path::new(path.as_ref());
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FINGERPRINT: &str = "0123456789ABCDEF0123456789ABCDEF01234567";

    fn verdict(lines: &[&str]) -> Result<SignedBy, Rejection> {
        let text = format!("[GNUPG:] {}\n", lines.join("\n[GNUPG:] "));
        read_status(text.as_bytes())
    }

    #[test]
    fn only_a_good_and_valid_signature_counts() {
        let valid = format!("VALIDSIG {FINGERPRINT} 2024-01-01 1704067200 0 4 0 22 8 00");
        let signed = verdict(&["NEWSIG", "GOODSIG 01 x", &valid]).unwrap();
        assert_eq!(signed.fingerprint, FINGERPRINT);
        assert_eq!(signed.signed_at.to_string(), "2024-01-01T00:00:00Z");
        for (lines, rejection) in [
            (&["GOODSIG 01 x"][..], Rejection::NoSignature),
            (&[valid.as_str()][..], Rejection::NoSignature),
            (&["EXPKEYSIG 01 x", &valid], Rejection::Expired),
            (&["EXPSIG 01 x", &valid], Rejection::Expired),
            (&["REVKEYSIG 01 x", &valid], Rejection::Revoked),
            (&["GOODSIG 01 x", &valid, "BADSIG 02 y"], Rejection::Bad),
            (&["ERRSIG 01 22 8 00 17 9 00"], Rejection::UnknownKey),
            (&["ERRSIG 01 22 8 00 17 5 00"], Rejection::Unsupported),
            (&[], Rejection::NoSignature),
        ] {
            assert_eq!(verdict(lines), Err(rejection), "{lines:?}");
        }
    }

    #[test]
    fn a_name_cannot_pass_for_a_status_line() {
        let text = "gpgv: [GNUPG:] GOODSIG 01 x\n [GNUPG:] GOODSIG 01 x\n";
        assert_eq!(read_status(text.as_bytes()), Err(Rejection::NoSignature));
    }

    #[test]
    fn armoured_keys_are_unwrapped() {
        let armoured = "words\n-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: x\n\nAQID\nBAUG\n=ABCD\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(
            dearmor_key(armoured.as_bytes()).unwrap(),
            [1, 2, 3, 4, 5, 6]
        );
        let two = armoured.repeat(2);
        assert_eq!(dearmor_key(two.as_bytes()).unwrap().len(), 12);
        assert_eq!(dearmor_key(&[0x98, 1]).unwrap(), [0x98, 1]);
        assert_eq!(dearmor_key(b"<html>not found</html>"), None);
        assert_eq!(dearmor_key(b""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            read_status(&bytes).ok();
            dearmor_key(&bytes);
        }
    }
}
