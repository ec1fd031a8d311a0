//! Bringing a feed here: one file over HTTPS, or all documents of a CSAF provider.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use mailkeep_advisory::ReadError;
use mailkeep_advisory::csaf::{
    Distribution, Provider, read_changes_csv, read_index_txt, read_provider_metadata, read_rolie,
};
use mailkeep_model::{FetchState, Problem, Timestamp};
use mailkeep_reach::fetch::{
    Algorithm, FetchError, Fetched, Fetcher, VerifyError, expected_for, parse_checksums,
    verify_sha256, verify_sha512, without_secrets,
};
use mailkeep_reach::hosts::for_each_bounded;

use super::import::chain;
use super::progress::{Progress, Step};
use super::read;
use super::signed::{Signatures, SignedError};

/// Largest metadata, feed or listing read into memory: Red Hat's `changes.csv` has about 4 MiB.
const MAX_LISTING: u64 = 64 << 20;

/// Documents fetched at a time: enough to hide the way there and back, few enough to be polite.
const PARALLEL: usize = 6;

/// Documents in a row that the network loses, before the rest is not tried: it is down.
const MAX_LOST: u32 = 12;

/// A feed that could not be brought here. What was imported before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// Writing into the state directory failed.
    #[error("cannot write {}", path.display())]
    Disk {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Fetching failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The network went down in between.
    #[error("gave up after {MAX_LOST} documents in a row could not be fetched")]
    GaveUp {
        /// Why not the last of them.
        #[source]
        source: FetchError,
    },
    /// A listing that is none.
    #[error("{url} is larger than {MAX_LISTING} bytes, which no listing or key is")]
    Large {
        /// What was fetched.
        url: String,
    },
    /// The provider names no distribution that is for everybody.
    #[error("{url} names no public distribution of documents")]
    NoDistribution {
        /// The metadata.
        url: String,
    },
    /// What came is not what it should be.
    #[error("{url} is not what it should be")]
    Read {
        /// What was fetched.
        url: String,
        /// What is wrong with it.
        #[source]
        source: ReadError,
    },
}

/// What came.
#[derive(Debug)]
pub enum Brought {
    /// The source has nothing newer.
    NotModified,
    /// A file or directory to import.
    New(Arrival),
}

/// A file or directory to import.
#[derive(Debug)]
pub struct Arrival {
    /// Where it is.
    pub path: PathBuf,
    /// HTTP `Last-Modified`.
    pub modified: Option<Timestamp>,
    /// For the next conditional request, once it is imported.
    pub state: Option<FetchState>,
    /// Documents that could not be brought, or not be believed.
    pub problems: Vec<Problem>,
    /// The network lost some of them.
    pub partial: bool,
    /// What the user should know, each said once.
    pub remarks: Vec<String>,
}

/// Whether an address is that of a CSAF provider, not of documents.
pub fn is_provider(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next() == Some("provider-metadata.json")
}

/// A name for a file or directory made of the name of a feed, which may hold any sign.
pub fn file_name(feed: &str) -> String {
    feed.char_indices()
        .map(|(at, c)| {
            if c.is_ascii_alphanumeric() || "-_".contains(c) || (c == '.' && at > 0) {
                c.to_string()
            } else {
                format!("%{:x}", u32::from(c))
            }
        })
        .collect()
}

/// Fetches one file into `directory`, under a name made of the feed's.
pub fn fetch_file(
    fetcher: &Fetcher,
    url: &str,
    state: Option<&FetchState>,
    directory: &Path,
    feed: &str,
    progress: &mut Progress<'_>,
) -> Result<Brought, MirrorError> {
    make(directory)?;
    // The end of the address says whether records come one a line.
    let end = url.split(['?', '#']).next().unwrap_or_default();
    let end = end.rsplit('/').next().unwrap_or_default();
    let end: String = end
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c))
        .take(80)
        .collect();
    let path = directory.join(format!("{}-{end}.download", file_name(feed)));
    let mut bytes = |done, total| progress(Step::bytes(done, total));
    Ok(match fetcher.fetch(url, state, &path, &mut bytes)? {
        Fetched::NotModified => Brought::NotModified,
        Fetched::Downloaded(download) => Brought::New(Arrival {
            path: download.file,
            modified: download.last_modified,
            state: Some(download.state),
            problems: Vec::new(),
            partial: false,
            remarks: Vec::new(),
        }),
    })
}

/// Brings a provider's documents into a directory that mirrors them: only those that are new or
/// changed since are fetched, each checked against the checksum the provider gives, and against its
/// signature where the provider names keys and `gpgv` is there. A document that fails is a problem;
/// the rest goes on.
pub fn fetch_provider(
    fetcher: &Fetcher,
    url: &str,
    directory: &Path,
    gpgv: Option<PathBuf>,
    progress: &mut Progress<'_>,
) -> Result<Brought, MirrorError> {
    make(directory)?;
    let listing = directory.join(".listing.download");
    let bytes = fetch_bytes(fetcher, url, &listing)?;
    let (provider, mut problems) =
        read_provider_metadata(&bytes).map_err(|source| MirrorError::Read {
            url: without_secrets(url),
            source,
        })?;
    let mut remarks = Vec::new();
    let offers = offers(fetcher, url, &provider, &listing, &mut problems)?;
    let kept: BTreeSet<PathBuf> = offers.iter().map(|o| directory.join(&o.path)).collect();
    let wanted: Vec<&Offer> = offers
        .iter()
        .filter(|offer| !is_current(&directory.join(&offer.path), offer.updated))
        .collect();
    let signatures = if wanted.is_empty() {
        None
    } else {
        let signatures = Signatures::of(
            fetcher,
            &provider,
            directory,
            gpgv,
            &mut problems,
            &mut remarks,
        )?;
        Some(signatures)
    };
    let mut fetching = Fetching::default();
    let down = AtomicBool::new(false);
    let total = offers.len() as u64;
    let mut done = total - wanted.len() as u64;
    for_each_bounded(
        &wanted,
        PARALLEL,
        |offer| {
            let signatures = signatures
                .as_ref()
                .filter(|_| !down.load(Ordering::Relaxed))?;
            Some(fetch_document(fetcher, offer, directory, signatures))
        },
        |offer, outcome| {
            done += 1;
            progress(Step::documents(done, Some(total)));
            if let Some(outcome) = outcome {
                fetching.note(offer, outcome, &mut problems);
            }
            down.store(fetching.is_down(), Ordering::Relaxed);
        },
    );
    let partial = fetching.lost > 0;
    if let Some(error) = fetching.fatal {
        return Err(error);
    }
    forget_withdrawn(directory, &kept)?;
    Ok(Brought::New(Arrival {
        path: directory.to_owned(),
        modified: None,
        state: None,
        problems,
        partial,
        remarks,
    }))
}

/// Account of the documents fetched.
#[derive(Default)]
struct Fetching {
    lost: u32,
    lost_in_a_row: u32,
    fatal: Option<MirrorError>,
}

impl Fetching {
    fn is_down(&self) -> bool {
        self.fatal.is_some()
    }

    fn note(
        &mut self,
        offer: &Offer,
        outcome: Result<(), DocumentError>,
        problems: &mut Vec<Problem>,
    ) {
        match outcome {
            Ok(()) => self.lost_in_a_row = 0,
            Err(DocumentError::Mirror(error @ MirrorError::Disk { .. })) => {
                self.fatal.get_or_insert(error);
            }
            Err(DocumentError::Fetch(error @ FetchError::DiskFull { .. })) => {
                self.fatal.get_or_insert(error.into());
            }
            Err(error) => {
                problems.push(Problem::new(&offer.url, chain(&error)));
                match error {
                    DocumentError::Fetch(source)
                    | DocumentError::Mirror(MirrorError::Fetch(source))
                    | DocumentError::Signed(SignedError::Fetch(source))
                        if is_lost(&source) =>
                    {
                        self.lost += 1;
                        self.lost_in_a_row += 1;
                        if self.lost_in_a_row >= MAX_LOST {
                            self.fatal.get_or_insert(MirrorError::GaveUp { source });
                        }
                    }
                    _ => self.lost_in_a_row = 0,
                }
            }
        }
    }
}

/// Whether the network lost it, or a server in trouble: not a fault of the document.
fn is_lost(error: &FetchError) -> bool {
    match error {
        FetchError::Status { code, .. } => matches!(code, 408 | 429 | 500..=599),
        FetchError::TimedOut { .. }
        | FetchError::Tls { .. }
        | FetchError::Truncated { .. }
        | FetchError::Unreachable { .. } => true,
        _ => false,
    }
}

/// Fetches a URL whole into memory, by way of a file.
pub(super) fn fetch_bytes(
    fetcher: &Fetcher,
    url: &str,
    file: &Path,
) -> Result<Vec<u8>, MirrorError> {
    let disk = |source| MirrorError::Disk {
        path: file.to_owned(),
        source,
    };
    match fetcher.fetch(url, None, file, &mut |_, _| {})? {
        Fetched::NotModified => Ok(Vec::new()),
        Fetched::Downloaded(download) => {
            let bytes = (download.length <= MAX_LISTING).then(|| fs::read(&download.file));
            fs::remove_file(&download.file).map_err(disk)?;
            let bytes = bytes.ok_or_else(|| MirrorError::Large {
                url: without_secrets(url),
            })?;
            bytes.map_err(disk)
        }
    }
}

pub(super) fn make(directory: &Path) -> Result<(), MirrorError> {
    fs::create_dir_all(directory).map_err(|source| MirrorError::Disk {
        path: directory.to_owned(),
        source,
    })
}

/// One document a provider offers.
#[derive(Debug)]
struct Offer {
    url: String,
    /// Path below the mirror.
    path: PathBuf,
    updated: Option<Timestamp>,
    checksum_url: Option<String>,
    signature_url: Option<String>,
    /// These two follow from the document's address; nobody says that they are there.
    guessed: bool,
}

/// A document failed.
#[derive(Debug, thiserror::Error)]
enum DocumentError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    #[error("the checksum file {0} holds no checksum for it")]
    NoChecksum(String),
    #[error(transparent)]
    Signed(#[from] SignedError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

fn fetch_document(
    fetcher: &Fetcher,
    offer: &Offer,
    directory: &Path,
    signatures: &Signatures,
) -> Result<(), DocumentError> {
    let path = directory.join(&offer.path);
    if let Some(parent) = path.parent() {
        make(parent)?;
    }
    let partial = beside(&path, ".part");
    let Fetched::Downloaded(download) =
        fetcher.fetch(&offer.url, None, &partial, &mut |_, _| {})?
    else {
        return Ok(());
    };
    let sound = believe(fetcher, offer, &download.file, signatures);
    if let Err(error) = sound {
        // What is not believed must not lie about.
        fs::remove_file(&download.file).ok();
        return Err(error);
    }
    fs::rename(&download.file, &path).map_err(|source| MirrorError::Disk {
        path: path.clone(),
        source,
    })?;
    if let Some(updated) = offer.updated {
        stamp(&path, updated)?;
    }
    Ok(())
}

fn believe(
    fetcher: &Fetcher,
    offer: &Offer,
    file: &Path,
    signatures: &Signatures,
) -> Result<(), DocumentError> {
    if let Some(url) = &offer.checksum_url {
        verify(fetcher, url, file, offer.guessed)?;
    }
    signatures.check(fetcher, file, offer.signature_url.as_deref(), offer.guessed)?;
    Ok(())
}

fn verify(fetcher: &Fetcher, url: &str, file: &Path, guessed: bool) -> Result<(), DocumentError> {
    let text = match fetch_bytes(fetcher, url, &beside(file, ".sum.part")) {
        Ok(text) => text,
        // A provider need not offer both digests, and one that offers none is no worse than a
        // server of files.
        Err(MirrorError::Fetch(FetchError::Status {
            code: 403 | 404 | 410,
            ..
        })) if guessed => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let (sums, _) = parse_checksums(&text);
    let name = url.rsplit('/').next().unwrap_or_default();
    let name = name.rsplit_once('.').map_or(name, |(document, _)| document);
    let sum =
        expected_for(&sums, name).ok_or_else(|| DocumentError::NoChecksum(without_secrets(url)))?;
    match sum.algorithm {
        Algorithm::Sha256 => verify_sha256(file, &sum.hex)?,
        Algorithm::Sha512 => verify_sha512(file, &sum.hex)?,
    }
    Ok(())
}

/// The documents of the first distribution that is for everybody; all ROLIE feeds together are one.
fn offers(
    fetcher: &Fetcher,
    metadata: &str,
    provider: &Provider,
    listing: &Path,
    problems: &mut Vec<Problem>,
) -> Result<Vec<Offer>, MirrorError> {
    let mut offers = Vec::new();
    let mut rolie = false;
    for distribution in &provider.distributions {
        if let Distribution::Rolie { url, tlp } = distribution
            && matches!(tlp.as_str(), "WHITE" | "CLEAR")
        {
            rolie = true;
            rolie_offers(fetcher, url, listing, &mut offers, problems)?;
        }
    }
    if rolie {
        return Ok(offers);
    }
    for distribution in &provider.distributions {
        if let Distribution::Directory { url } = distribution {
            return directory_offers(fetcher, url, listing, problems);
        }
    }
    Err(MirrorError::NoDistribution {
        url: without_secrets(metadata),
    })
}

fn rolie_offers(
    fetcher: &Fetcher,
    url: &str,
    listing: &Path,
    offers: &mut Vec<Offer>,
    problems: &mut Vec<Problem>,
) -> Result<(), MirrorError> {
    let bytes = fetch_bytes(fetcher, url, listing)?;
    let (entries, noted) = read_rolie(&bytes).map_err(|source| MirrorError::Read {
        url: without_secrets(url),
        source,
    })?;
    problems.extend(noted);
    for entry in entries {
        let Some(path) = document_path(&entry.url) else {
            problems.push(Problem::new(
                &entry.id,
                format!("its address is not that of a document: {}", entry.url),
            ));
            continue;
        };
        offers.push(Offer {
            path,
            checksum_url: entry.sha512_url.or(entry.sha256_url),
            signature_url: entry.signature_url,
            guessed: false,
            url: entry.url,
            updated: entry.updated,
        });
    }
    Ok(())
}

/// CSAF 2.0 sections 7.1.12 and 7.1.13: `changes.csv` says what and when; `index.txt` only what.
fn directory_offers(
    fetcher: &Fetcher,
    url: &str,
    listing: &Path,
    problems: &mut Vec<Problem>,
) -> Result<Vec<Offer>, MirrorError> {
    let (entries, noted) = match fetch_bytes(fetcher, &format!("{url}changes.csv"), listing) {
        Ok(bytes) => read_changes_csv(&String::from_utf8_lossy(&bytes)),
        Err(MirrorError::Fetch(FetchError::Status {
            code: 400..=499, ..
        })) => {
            let bytes = fetch_bytes(fetcher, &format!("{url}index.txt"), listing)?;
            read_index_txt(&String::from_utf8_lossy(&bytes))
        }
        Err(other) => return Err(other),
    };
    problems.extend(noted);
    Ok(entries
        .into_iter()
        .map(|entry| Offer {
            url: format!("{url}{}", entry.path),
            checksum_url: Some(format!("{url}{}.sha512", entry.path)),
            signature_url: Some(format!("{url}{}.asc", entry.path)),
            guessed: true,
            path: PathBuf::from(entry.path),
            updated: entry.updated,
        })
        .collect())
}

/// Removes documents that the provider no longer offers. An empty offer is taken for a fault of the
/// provider, and removes nothing.
fn forget_withdrawn(directory: &Path, kept: &BTreeSet<PathBuf>) -> Result<(), MirrorError> {
    if kept.is_empty() {
        return Ok(());
    }
    let disk = |source| MirrorError::Disk {
        path: directory.to_owned(),
        source,
    };
    let mut files = Vec::new();
    read::list(directory, &mut files, 0).map_err(disk)?;
    for file in files {
        if !kept.contains(&file) {
            fs::remove_file(&file).map_err(disk)?;
        }
    }
    Ok(())
}

/// The last two parts of a document's address: its year and its name, as section 7.1.11 has them.
fn document_path(url: &str) -> Option<PathBuf> {
    let path = url.split_once("://")?.1;
    let path = path.split(['?', '#']).next()?;
    let mut parts = path.rsplit('/').filter(|p| !p.is_empty());
    let plain = |part: &&str| !part.starts_with('.') && !part.contains(['\\', '\0']);
    let name = parts
        .next()
        .filter(plain)
        .filter(|n| Path::new(n).extension() == Some("json".as_ref()))?;
    let folder = parts.next().filter(plain)?;
    Some(Path::new(folder).join(name))
}

fn is_current(path: &Path, updated: Option<Timestamp>) -> bool {
    let (Ok(metadata), Some(updated)) = (fs::metadata(path), updated) else {
        return false;
    };
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| Timestamp::try_from(time).ok());
    modified.is_some_and(|modified| modified >= updated)
}

/// Gives a mirrored document the time its provider says it changed.
fn stamp(path: &Path, updated: Timestamp) -> Result<(), MirrorError> {
    let disk = |source| MirrorError::Disk {
        path: path.to_owned(),
        source,
    };
    let file = fs::File::options().write(true).open(path).map_err(disk)?;
    file.set_modified(std::time::SystemTime::from(updated))
        .map_err(disk)
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_documents_path_keeps_its_year_and_never_climbs() {
        let path = |url| document_path(url);
        assert_eq!(
            path("https://example.org/csaf/2024/rhsa-2024_1.json"),
            Some(PathBuf::from("2024/rhsa-2024_1.json"))
        );
        assert_eq!(path("https://example.org/../../etc/passwd"), None);
        assert_eq!(path("https://example.org/csaf/../x.json"), None);
        assert_eq!(path("https://example.org/csaf/2024/.x.json"), None);
        assert_eq!(path("https://example.org/csaf/..\\x/y.json"), None);
    }

    #[test]
    fn a_feeds_name_never_leads_out_of_the_downloads() {
        assert_eq!(file_name("osv-rocky"), "osv-rocky");
        assert_eq!(file_name("../../etc/x"), "%2e.%2f..%2fetc%2fx");
        assert_eq!(file_name("a/b"), "a%2fb");
        assert_ne!(file_name("é"), file_name("e"));
    }
}
