//! Signatures of a CSAF provider's documents (CSAF 2.0 sections 7.1.19 and 7.1.20): its keys are
//! fetched once a run, each document is checked by the system's `gpgv`.

use std::path::{Path, PathBuf};

use mailkeep_advisory::csaf::Provider;
use mailkeep_model::Problem;
use mailkeep_reach::fetch::{FetchError, Fetched, Fetcher, SignatureError, verify_openpgp};

use super::import::chain;
use super::mirror::{MirrorError, fetch_bytes, make};

/// Most keys fetched; providers have one or two.
const MAX_KEYS: usize = 16;

/// A provider's keys, and what they are checked with.
#[derive(Debug)]
pub(super) struct Signatures {
    keys: Vec<Vec<u8>>,
    /// Fingerprints that the metadata names; empty where it leaves one out, and any of its keys
    /// will do.
    fingerprints: Vec<String>,
    gpgv: Option<PathBuf>,
    /// The provider must sign (section 7.2.3, trusted provider).
    required: bool,
    scratch: PathBuf,
}

/// A document whose signature proves nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignedError {
    #[error("its signature could not be fetched")]
    Fetch(#[source] FetchError),
    #[error(
        "it is signed with the key {found}, whose fingerprint the provider's metadata does not name"
    )]
    OtherKey { found: String },
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("it has no signature, and its provider says that it signs everything")]
    Unsigned,
}

impl Signatures {
    /// Fetches the keys that the metadata names. `remarks` are said once to the user.
    pub(super) fn of(
        fetcher: &Fetcher,
        provider: &Provider,
        directory: &Path,
        gpgv: Option<PathBuf>,
        problems: &mut Vec<Problem>,
        remarks: &mut Vec<String>,
    ) -> Result<Self, MirrorError> {
        let scratch = directory.join(".keys");
        let mut signatures = Self {
            keys: Vec::new(),
            fingerprints: Vec::new(),
            gpgv,
            required: provider.role == "csaf_trusted_provider",
            scratch,
        };
        if provider.keys.is_empty() {
            return Ok(signatures);
        }
        if signatures.gpgv.is_none() {
            remarks.push(
                "signatures are not checked, only checksums: the program gpgv is not installed"
                    .to_owned(),
            );
            return Ok(signatures);
        }
        make(&signatures.scratch)?;
        for key in provider.keys.iter().take(MAX_KEYS) {
            match fetch_bytes(fetcher, &key.url, &signatures.scratch.join("key.download")) {
                Ok(bytes) => signatures.keys.push(bytes),
                Err(error) => problems.push(Problem::new(&key.url, chain(&error))),
            }
        }
        if signatures.keys.is_empty() {
            remarks.push(
                "signatures are not checked, only checksums: none of the provider's keys could be \
                 fetched"
                    .to_owned(),
            );
        }
        let named = provider.keys.iter().map(|key| key.fingerprint.clone());
        signatures.fingerprints = named.collect::<Option<Vec<_>>>().unwrap_or_default();
        Ok(signatures)
    }

    /// Checks a document against its signature. `guessed`: the address follows from the document's,
    /// nobody says that there is one.
    pub(super) fn check(
        &self,
        fetcher: &Fetcher,
        document: &Path,
        url: Option<&str>,
        guessed: bool,
    ) -> Result<(), SignedError> {
        let Some(gpgv) = self.gpgv.as_deref().filter(|_| !self.keys.is_empty()) else {
            return Ok(());
        };
        let unsigned = || {
            if self.required {
                Err(SignedError::Unsigned)
            } else {
                Ok(())
            }
        };
        let Some(url) = url else { return unsigned() };
        let mut file = document.as_os_str().to_owned();
        file.push(".asc.part");
        let file = PathBuf::from(file);
        match fetcher.fetch(url, None, &file, &mut |_, _| {}) {
            Ok(Fetched::Downloaded(_) | Fetched::NotModified) => {}
            Err(FetchError::Status {
                code: 403 | 404 | 410,
                ..
            }) if guessed => return unsigned(),
            Err(error) => return Err(SignedError::Fetch(error)),
        }
        let keys: Vec<&[u8]> = self.keys.iter().map(Vec::as_slice).collect();
        let verdict = verify_openpgp(document, &file, &keys, &self.scratch, gpgv);
        // Of no use once it is checked; what stays is dropped by the next fetch.
        std::fs::remove_file(&file).ok();
        let signed = verdict?;
        if self.fingerprints.is_empty() || self.fingerprints.contains(&signed.fingerprint) {
            Ok(())
        } else {
            Err(SignedError::OtherKey {
                found: signed.fingerprint,
            })
        }
    }
}
