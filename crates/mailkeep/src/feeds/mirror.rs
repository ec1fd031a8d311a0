//! Bringing a feed here: one file over HTTPS, or all documents of a CSAF provider.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mailkeep_advisory::ReadError;
use mailkeep_advisory::csaf::{
    Distribution, Provider, read_changes_csv, read_index_txt, read_provider_metadata, read_rolie,
};
use mailkeep_model::{FetchState, Problem, Timestamp};
use mailkeep_reach::fetch::{
    FetchError, Fetched, Fetcher, VerifyError, expected_for, parse_checksums, verify_sha256,
    verify_sha512,
};

use super::import::Progress;

/// Largest metadata, feed or listing read into memory: Red Hat's `changes.csv` has about 4 MiB.
const MAX_LISTING: u64 = 64 << 20;

/// A feed that could not be brought here. What was imported before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// Fetching failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What came is not what it should be.
    #[error("{url} is not what it should be")]
    Read {
        /// What was fetched.
        url: String,
        /// What is wrong with it.
        #[source]
        source: ReadError,
    },
    /// The provider names no distribution that is for everybody.
    #[error("{url} names no public distribution of documents")]
    NoDistribution {
        /// The metadata.
        url: String,
    },
    /// Writing into the state directory failed.
    #[error("cannot write {}", path.display())]
    Disk {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What came.
#[derive(Debug)]
pub enum Brought {
    /// The source has nothing newer.
    NotModified,
    /// A file or directory to import.
    New {
        /// Where it is.
        path: PathBuf,
        /// HTTP `Last-Modified`.
        modified: Option<Timestamp>,
        /// For the next conditional request, once it is imported.
        state: Option<FetchState>,
        /// Documents that could not be brought.
        problems: Vec<Problem>,
    },
}

/// Whether an address is that of a CSAF provider, not of documents.
pub fn is_provider(url: &str) -> bool {
    url.rsplit('/').next() == Some("provider-metadata.json")
}

/// Fetches one file into `directory`, under a name made of `name`.
pub fn fetch_file(
    fetcher: &Fetcher,
    url: &str,
    state: Option<&FetchState>,
    directory: &Path,
    name: &str,
    progress: &mut Progress<'_>,
) -> Result<Brought, MirrorError> {
    make(directory)?;
    // The end of the address says whether records come one a line.
    let end = url.rsplit('/').next().unwrap_or_default();
    let end: String = end
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c))
        .collect();
    let path = directory.join(format!("{name}-{end}.download"));
    Ok(match fetcher.fetch(url, state, &path, progress)? {
        Fetched::NotModified => Brought::NotModified,
        Fetched::Downloaded(download) => Brought::New {
            path: download.file,
            modified: download.last_modified,
            state: Some(download.state),
            problems: Vec::new(),
        },
    })
}

/// One document a provider offers.
struct Offer {
    url: String,
    /// Path below the mirror.
    path: PathBuf,
    updated: Option<Timestamp>,
    checksum_url: Option<String>,
}

/// Brings a provider's documents into a directory that mirrors them: only those that are new or
/// changed since are fetched, each checked against the checksum the provider gives. A document that
/// fails is a problem; the rest goes on.
pub fn fetch_provider(
    fetcher: &Fetcher,
    url: &str,
    directory: &Path,
    progress: &mut Progress<'_>,
) -> Result<Brought, MirrorError> {
    make(directory)?;
    let listing = directory.join(".listing.download");
    let bytes = fetch_bytes(fetcher, url, &listing)?;
    let (provider, mut problems) =
        read_provider_metadata(&bytes).map_err(|source| MirrorError::Read {
            url: url.to_owned(),
            source,
        })?;
    let offers = offers(fetcher, url, &provider, &listing, &mut problems)?;
    let total = offers.len() as u64;
    let mut kept = BTreeSet::new();
    for (done, offer) in offers.iter().enumerate() {
        progress(done as u64, Some(total));
        let path = directory.join(&offer.path);
        kept.insert(path.clone());
        if is_current(&path, offer.updated) {
            continue;
        }
        if let Err(error) = fetch_document(fetcher, offer, &path) {
            problems.push(Problem::new(&offer.url, super::import::chain(&error)));
        }
    }
    forget_withdrawn(directory, &kept)?;
    Ok(Brought::New {
        path: directory.to_owned(),
        modified: None,
        state: None,
        problems,
    })
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
    for folder in fs::read_dir(directory).map_err(disk)? {
        let folder = folder.map_err(disk)?.path();
        if !folder.is_dir() {
            continue;
        }
        for file in fs::read_dir(&folder).map_err(disk)? {
            let file = file.map_err(disk)?.path();
            if file.extension() == Some("json".as_ref()) && !kept.contains(&file) {
                fs::remove_file(&file).map_err(disk)?;
            }
        }
    }
    Ok(())
}

/// A document failed.
#[derive(Debug, thiserror::Error)]
enum DocumentError {
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error("the checksum file {0} holds no checksum")]
    NoChecksum(String),
}

fn fetch_document(fetcher: &Fetcher, offer: &Offer, path: &Path) -> Result<(), DocumentError> {
    if let Some(parent) = path.parent() {
        make(parent)?;
    }
    let partial = beside(path, ".part");
    if let Fetched::Downloaded(download) =
        fetcher.fetch(&offer.url, None, &partial, &mut |_, _| {})?
    {
        if let Some(url) = &offer.checksum_url {
            verify(fetcher, url, &download.file)?;
        }
        fs::rename(&download.file, path).map_err(|source| MirrorError::Disk {
            path: path.to_owned(),
            source,
        })?;
        if let Some(updated) = offer.updated {
            stamp(path, updated)?;
        }
    }
    Ok(())
}

fn verify(fetcher: &Fetcher, url: &str, file: &Path) -> Result<(), DocumentError> {
    let text = fetch_bytes(fetcher, url, &beside(file, ".sum.part"))?;
    let (sums, _) = parse_checksums(&text);
    let name = url.rsplit('/').next().unwrap_or_default();
    let name = name.rsplit_once('.').map_or(name, |(document, _)| document);
    let sum = expected_for(&sums, name).ok_or_else(|| DocumentError::NoChecksum(url.to_owned()))?;
    match sum.algorithm {
        mailkeep_reach::fetch::Algorithm::Sha256 => verify_sha256(file, &sum.hex)?,
        mailkeep_reach::fetch::Algorithm::Sha512 => verify_sha512(file, &sum.hex)?,
    }
    Ok(())
}

/// The documents of the first distribution that is for everybody.
fn offers(
    fetcher: &Fetcher,
    metadata: &str,
    provider: &Provider,
    listing: &Path,
    problems: &mut Vec<Problem>,
) -> Result<Vec<Offer>, MirrorError> {
    let mut offers = Vec::new();
    let mut found = false;
    for distribution in &provider.distributions {
        match distribution {
            Distribution::Rolie { url, tlp } if matches!(tlp.as_str(), "WHITE" | "CLEAR") => {
                found = true;
                let bytes = fetch_bytes(fetcher, url, listing)?;
                let (entries, noted) = read_rolie(&bytes).map_err(|source| MirrorError::Read {
                    url: url.clone(),
                    source,
                })?;
                problems.extend(noted);
                offers.extend(entries.into_iter().filter_map(|entry| {
                    Some(Offer {
                        path: document_path(&entry.url)?,
                        checksum_url: entry.sha512_url.or(entry.sha256_url),
                        url: entry.url,
                        updated: entry.updated,
                    })
                }));
            }
            Distribution::Rolie { .. } => {}
            Distribution::Directory { .. } if found => {}
            Distribution::Directory { url } => {
                found = true;
                offers.extend(directory_offers(fetcher, url, listing, problems)?);
            }
        }
    }
    if found {
        Ok(offers)
    } else {
        Err(MirrorError::NoDistribution {
            url: metadata.to_owned(),
        })
    }
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
        Err(_no_changes_csv) => {
            let bytes = fetch_bytes(fetcher, &format!("{url}index.txt"), listing)?;
            read_index_txt(&String::from_utf8_lossy(&bytes))
        }
    };
    problems.extend(noted);
    Ok(entries
        .into_iter()
        .map(|entry| Offer {
            url: format!("{url}{}", entry.path),
            checksum_url: Some(format!("{url}{}.sha512", entry.path)),
            path: PathBuf::from(entry.path),
            updated: entry.updated,
        })
        .collect())
}

/// The last two parts of a document's address: its year and its name, as section 7.1.11 has them.
fn document_path(url: &str) -> Option<PathBuf> {
    let path = url.split_once("://")?.1;
    let path = path.split(['?', '#']).next()?;
    let mut parts = path.rsplit('/').filter(|p| !p.is_empty());
    let name = parts
        .next()
        .filter(|n| Path::new(n).extension() == Some("json".as_ref()) && !n.starts_with('.'))?;
    let folder = parts.next().filter(|f| !f.starts_with('.'))?;
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

fn fetch_bytes(fetcher: &Fetcher, url: &str, file: &Path) -> Result<Vec<u8>, MirrorError> {
    let disk = |source| MirrorError::Disk {
        path: file.to_owned(),
        source,
    };
    match fetcher.fetch(url, None, file, &mut |_, _| {})? {
        Fetched::NotModified => Ok(Vec::new()),
        Fetched::Downloaded(download) => {
            if download.length > MAX_LISTING {
                return Err(disk(io::Error::other("it is larger than 64 MiB")));
            }
            let bytes = fs::read(&download.file).map_err(disk)?;
            fs::remove_file(&download.file).map_err(disk)?;
            Ok(bytes)
        }
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn make(directory: &Path) -> Result<(), MirrorError> {
    fs::create_dir_all(directory).map_err(|source| MirrorError::Disk {
        path: directory.to_owned(),
        source,
    })
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
    }
}
