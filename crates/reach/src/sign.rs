//! Signatures by the keys people have: `ssh-keygen -Y sign` and `ssh-keygen -Y verify` (OpenSSH,
//! PROTOCOL.sshsig).
//!
//! Entry points: [`sign`], [`verify`].
//!
//! # Security
//!
//! Private keys are read by `ssh-keygen` and the user's agent only, never by this program. Of a
//! signature only what `ssh-keygen` says counts; neither side's text is looked at for it.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use mailkeep_model::text::printable_max;

use crate::process::{self, Bounds, End};

/// The program, found by `PATH`.
const PROGRAM: &str = "ssh-keygen";

/// Time for a verification: no person and no network is asked.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of output kept; both ways to call it print a few lines.
const MAX_OUTPUT: usize = 1 << 16;

/// Why something was not signed, or a signature not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// Its files could not be written or read.
    #[error("cannot hand {what} to {PROGRAM}")]
    Files {
        /// What was to be handed over.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The signature is not one of this principal, for this purpose, over this text.
    #[error("the signature is not {principal}'s{}", said(why))]
    NotValid {
        /// Who should have signed.
        principal: String,
        /// What `ssh-keygen` said, printable.
        why: String,
    },
    /// `ssh-keygen` did not sign; it told the person at the terminal why.
    #[error("{PROGRAM} did not sign with {} and ended with {status}", key.display())]
    NotSigned {
        /// The key.
        key: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// It was not started.
    #[error("cannot start {PROGRAM}; it comes with OpenSSH (Debian: openssh-client)")]
    Start(#[source] io::Error),
    /// It did not end.
    #[error("{PROGRAM} had not ended within {} s and was killed", VERIFY_TIMEOUT.as_secs())]
    TimedOut,
}

impl SignError {
    /// The stable name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Files { .. } => "files",
            Self::NotSigned { .. } => "not-signed",
            Self::NotValid { .. } => "not-valid",
            Self::Start(_) => "start",
            Self::TimedOut => "timed-out",
        }
    }
}

fn said(why: &str) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!(": {why}")
    }
}

/// Signs a text with a key file (a private key, or a public one whose private half the agent has) and
/// gives back the signature in its armour.
///
/// It runs in the foreground and without a time limit: it may ask the person at the terminal for a
/// passphrase, or to touch a security key.
pub fn sign(key: &Path, namespace: &str, text: &[u8]) -> Result<String, SignError> {
    let files = |source| SignError::Files {
        what: "the text",
        source,
    };
    // In a directory of its own: the signature is written beside the text.
    let directory = tempfile::tempdir().map_err(files)?;
    let path = directory.path().join("text");
    fs::write(&path, text).map_err(files)?;
    let status = Command::new(PROGRAM)
        .args(["-Y", "sign", "-q", "-n", namespace, "-f"])
        .arg(key)
        .arg(&path)
        .stdout(Stdio::null())
        .status()
        .map_err(SignError::Start)?;
    let signature = directory.path().join("text.sig");
    if !status.success() || !signature.exists() {
        return Err(SignError::NotSigned {
            key: key.to_owned(),
            status,
        });
    }
    let mut armoured = String::new();
    fs::File::open(&signature)
        .and_then(|file| file.take(MAX_OUTPUT as u64).read_to_string(&mut armoured))
        .map_err(|source| SignError::Files {
            what: "the signature",
            source,
        })?;
    Ok(armoured)
}

/// Whether a signature is a principal's over this text, for this purpose, by the keys in an
/// `allowed_signers` file (`ssh-keygen(1)`, ALLOWED SIGNERS). Gives the key, as `ssh-keygen` names it:
/// `ED25519 key SHA256:...`.
pub fn verify(
    allowed_signers: &Path,
    principal: &str,
    namespace: &str,
    signature: &str,
    text: &[u8],
) -> Result<String, SignError> {
    let mut file = tempfile::NamedTempFile::new().map_err(|source| SignError::Files {
        what: "the signature",
        source,
    })?;
    file.write_all(signature.as_bytes())
        .and_then(|()| file.flush())
        .map_err(|source| SignError::Files {
            what: "the signature",
            source,
        })?;
    let mut command = Command::new(PROGRAM);
    command
        .args(["-Y", "verify", "-n", namespace, "-I", principal, "-f"])
        .arg(allowed_signers)
        .arg("-s")
        .arg(file.path());
    let bounds = Bounds {
        time: VERIFY_TIMEOUT,
        output: MAX_OUTPUT,
    };
    let outcome = process::run(command, text.to_vec(), bounds).map_err(SignError::Start)?;
    let not_valid = |words: &[u8]| {
        let words = String::from_utf8_lossy(words);
        let line = words.lines().map(str::trim).find(|line| !line.is_empty());
        SignError::NotValid {
            principal: printable_max(principal, 100),
            why: printable_max(line.unwrap_or_default(), 300),
        }
    };
    match outcome.end {
        End::Exited(status) if status.success() => {
            // Good "mailkeep-plan" signature for europe with ED25519 key SHA256:...
            let line = String::from_utf8_lossy(&outcome.stdout);
            let key = line.trim().rsplit_once(" with ").map_or("", |(_, key)| key);
            Ok(printable_max(key, 200))
        }
        End::Exited(_) if outcome.stderr.is_empty() => Err(not_valid(&outcome.stdout)),
        End::Exited(_) => Err(not_valid(&outcome.stderr)),
        End::TimedOut => Err(SignError::TimedOut),
        End::TooMuchOutput => Err(not_valid(b"it printed more than expected")),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const NAMESPACE: &str = "mailkeep-plan";

    /// Keys of two teams, and who they are.
    struct Keys {
        directory: tempfile::TempDir,
    }

    impl Keys {
        fn new(test: &str) -> Option<Self> {
            let directory = tempfile::tempdir().unwrap();
            let mut allowed = String::new();
            for team in ["europe", "asia"] {
                let made = Command::new(PROGRAM)
                    .args(["-q", "-t", "ed25519", "-N", "", "-C", team, "-f"])
                    .arg(directory.path().join(team))
                    .status();
                if made.is_err() {
                    eprintln!("skipped: {test}: no {PROGRAM}");
                    return None;
                }
                let public = fs::read_to_string(directory.path().join(format!("{team}.pub")));
                let public = public.unwrap();
                writeln!(
                    allowed,
                    "{team} namespaces=\"{NAMESPACE}\" {}",
                    public.trim()
                )
                .unwrap();
            }
            fs::write(directory.path().join("allowed"), allowed).unwrap();
            Some(Self { directory })
        }

        fn sign(&self, team: &str, namespace: &str, text: &[u8]) -> String {
            sign(&self.directory.path().join(team), namespace, text).unwrap()
        }

        fn verify(&self, team: &str, signature: &str, text: &[u8]) -> Result<String, SignError> {
            let allowed = self.directory.path().join("allowed");
            verify(&allowed, team, NAMESPACE, signature, text)
        }
    }

    #[test]
    fn a_signature_is_good_for_its_signer_and_its_text_and_nothing_else() {
        let Some(keys) = Keys::new("a_signature_is_good_for_its_signer") else {
            return;
        };
        let text = b"plan: x\n";
        let signature = keys.sign("europe", NAMESPACE, text);
        let key = keys.verify("europe", &signature, text).unwrap();
        assert!(key.contains("key SHA256:"), "{key}");
        for (team, signature, text) in [
            ("asia", signature.clone(), &text[..]),
            ("nobody", signature.clone(), text),
            ("europe", signature.clone(), b"plan: y\n"),
            ("europe", signature.clone(), b"plan: x\r\n"),
            ("europe", keys.sign("europe", "file", text), text),
            ("europe", keys.sign("asia", NAMESPACE, text), text),
            ("europe", String::new(), text),
            ("europe", "-----BEGIN SSH SIGNATURE-----\n".repeat(3), text),
            ("europe", "\0\u{1b}[2J".to_owned(), text),
        ] {
            let error = keys.verify(team, &signature, text).unwrap_err();
            assert_eq!(error.kind(), "not-valid", "{error}");
            assert!(!error.to_string().contains('\u{1b}'));
        }
    }

    #[test]
    fn a_key_that_is_not_there_signs_nothing() {
        let Some(keys) = Keys::new("a_key_that_is_not_there_signs_nothing") else {
            return;
        };
        let error = sign(&keys.directory.path().join("none"), NAMESPACE, b"x").unwrap_err();
        assert_eq!(error.kind(), "not-signed");
        let allowed = keys.directory.path().join("missing");
        let signature = keys.sign("europe", NAMESPACE, b"x");
        let error = verify(&allowed, "europe", NAMESPACE, &signature, b"x").unwrap_err();
        assert_eq!(error.kind(), "not-valid");
    }
}
