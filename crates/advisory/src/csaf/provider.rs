//! What leads to CSAF documents: provider metadata, ROLIE feeds, directory listings (CSAF 2.0
//! section 7.1).
//!
//! Addresses are taken only where they are `https`, relative paths only where they stay below the
//! directory they are read from; what is refused is a [`Problem`]. Must not fetch anything.

use mailkeep_model::{Problem, Timestamp};
use serde::Deserialize;

use crate::ReadError;
use crate::csaf::parse_json;
use crate::lenient::{List, Object, Text, timestamp};

/// Where a provider's documents are, and its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provider {
    /// Where the metadata itself belongs.
    pub canonical_url: Option<String>,
    /// Name of the publisher.
    pub publisher: String,
    /// `csaf_publisher`, `csaf_provider` or `csaf_trusted_provider`.
    pub role: String,
    /// When the metadata last changed.
    pub last_updated: Option<Timestamp>,
    /// Where documents are, in the order given. Each is a whole distribution; one is enough.
    pub distributions: Vec<Distribution>,
    /// The keys its signatures are made with.
    pub keys: Vec<OpenPgpKey>,
}

/// One way to a provider's documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distribution {
    /// A directory with `index.txt` and `changes.csv`.
    Directory {
        /// Its address, ending in a slash.
        url: String,
    },
    /// A ROLIE feed.
    Rolie {
        /// Its address.
        url: String,
        /// Traffic light label: `WHITE`, `GREEN`, ... Only `WHITE` (`CLEAR`) is for everybody.
        tlp: String,
    },
}

/// A key for signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPgpKey {
    /// Fingerprint in upper-case hexadecimal, where one is given.
    pub fingerprint: Option<String>,
    /// Where the key is.
    pub url: String,
}

/// A document in a ROLIE feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolieEntry {
    /// Id of the document.
    pub id: String,
    /// Its address.
    pub url: String,
    /// Address of its SHA-256 checksum.
    pub sha256_url: Option<String>,
    /// Address of its SHA-512 checksum.
    pub sha512_url: Option<String>,
    /// Address of its detached `OpenPGP` signature.
    pub signature_url: Option<String>,
    /// When it last changed.
    pub updated: Option<Timestamp>,
}

/// A document in a directory listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Path relative to the directory, `/` between components; it never leaves the directory.
    pub path: String,
    /// When it last changed, where the listing says so.
    pub updated: Option<Timestamp>,
}

/// Reads `provider-metadata.json` (section 7.1.7).
///
/// # Errors
///
/// [`ReadError::NotThisKind`] where it is no such JSON.
pub fn read_provider_metadata(bytes: &[u8]) -> Result<(Provider, Vec<Problem>), ReadError> {
    const EXPECTED: &str = "CSAF provider metadata";
    let metadata: Metadata<'_> = parse_json(bytes, EXPECTED)?;
    if !metadata.metadata_version.get().starts_with("2.") {
        return Err(ReadError::NotThisKind {
            expected: EXPECTED,
            found: "`metadata_version` is not 2.0".to_owned(),
        });
    }
    let mut problems = Vec::new();
    let mut provider = Provider {
        canonical_url: metadata.canonical_url.some().map(str::to_owned),
        publisher: metadata
            .publisher
            .get()
            .map(|publisher| crate::text::line(publisher.name.get(), 200).into())
            .unwrap_or_default(),
        role: metadata.role.get().to_owned(),
        last_updated: timestamp(metadata.last_updated.get()),
        ..Provider::default()
    };
    for distribution in metadata.distributions.objects() {
        if let Some(url) = distribution.directory_url.some()
            && let Some(mut url) = https(url, "distribution", &mut problems)
        {
            if !url.ends_with('/') {
                url.push('/');
            }
            provider.distributions.push(Distribution::Directory { url });
        }
        let feeds = distribution.rolie.get().map(|rolie| &rolie.feeds);
        for feed in feeds.into_iter().flat_map(List::objects) {
            if let Some(url) = https(feed.url.get(), "ROLIE feed", &mut problems) {
                provider.distributions.push(Distribution::Rolie {
                    url,
                    tlp: feed.tlp_label.get().to_owned(),
                });
            }
        }
    }
    for key in metadata.public_openpgp_keys.objects() {
        if let Some(url) = https(key.url.get(), "OpenPGP key", &mut problems) {
            let fingerprint = key.fingerprint.get().to_ascii_uppercase();
            let known =
                fingerprint.len() >= 40 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit());
            provider.keys.push(OpenPgpKey {
                fingerprint: known.then_some(fingerprint),
                url,
            });
        }
    }
    if provider.distributions.is_empty() {
        problems.push(Problem::new(
            "distributions",
            "no place for documents is named",
        ));
    }
    Ok((provider, problems))
}

/// Reads a ROLIE feed (section 7.1.15, RFC 8322).
///
/// # Errors
///
/// [`ReadError::NotThisKind`] where it is no such JSON.
pub fn read_rolie(bytes: &[u8]) -> Result<(Vec<RolieEntry>, Vec<Problem>), ReadError> {
    const EXPECTED: &str = "ROLIE feed";
    let rolie: Rolie<'_> = parse_json(bytes, EXPECTED)?;
    let Some(feed) = rolie.feed.get() else {
        return Err(ReadError::NotThisKind {
            expected: EXPECTED,
            found: "it has no `feed`".to_owned(),
        });
    };
    let mut problems = Vec::new();
    let mut entries = Vec::new();
    if feed.link.objects().any(|link| link.rel.get() == "next") {
        problems.push(Problem::new(
            feed.id.get(),
            "it has further pages, which are not read",
        ));
    }
    for (number, entry) in feed.entry.iter().enumerate() {
        let Some(entry) = entry.get() else {
            problems.push(Problem::new(
                format!("entry {}", number + 1),
                "it is no object",
            ));
            continue;
        };
        let id = match entry.id.some() {
            Some(id) => crate::text::line(id, 200).into(),
            None => format!("entry {}", number + 1),
        };
        let link = |rel: &str, tail: &str| {
            entry
                .link
                .objects()
                .find(|link| link.rel.get() == rel && link.href.get().ends_with(tail))
                .map(|link| link.href.get())
        };
        let url = entry
            .content
            .get()
            .and_then(|content| content.src.some())
            .or_else(|| link("self", ".json"))
            .unwrap_or_default();
        let Some(url) = https(url, &id, &mut problems) else {
            continue;
        };
        let mut side = |rel, tail| link(rel, tail).and_then(|url| https(url, &id, &mut problems));
        entries.push(RolieEntry {
            sha256_url: side("hash", ".sha256"),
            sha512_url: side("hash", ".sha512"),
            signature_url: side("signature", ""),
            updated: timestamp(entry.updated.get()),
            id,
            url,
        });
    }
    Ok((entries, problems))
}

/// Reads `changes.csv` (section 7.1.13): path and date of each document, newest first.
pub fn read_changes_csv(text: &str) -> (Vec<DirectoryEntry>, Vec<Problem>) {
    listing(text, |line| {
        let (path, date) = match line.strip_prefix('"') {
            Some(rest) => rest.split_once("\",")?,
            None => line.split_once(',')?,
        };
        let date = date.trim().trim_matches('"');
        Some((path, Some(date.parse().ok()?)))
    })
}

/// Reads `index.txt` (section 7.1.12): the path of each document.
pub fn read_index_txt(text: &str) -> (Vec<DirectoryEntry>, Vec<Problem>) {
    listing(text, |line| Some((line, None)))
}

/// Reads arbitrary bytes as each of these: the entry for fuzzing.
pub fn fuzz(data: &[u8]) {
    drop(read_provider_metadata(data));
    drop(read_rolie(data));
    if let Ok(text) = std::str::from_utf8(data) {
        for entry in read_changes_csv(text)
            .0
            .into_iter()
            .chain(read_index_txt(text).0)
        {
            debug_assert!(safe_path(&entry.path));
        }
    }
}

fn listing<'a>(
    text: &'a str,
    read: impl Fn(&'a str) -> Option<(&'a str, Option<Timestamp>)>,
) -> (Vec<DirectoryEntry>, Vec<Problem>) {
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let record = || format!("line {}", number + 1);
        match read(line) {
            None => problems.push(Problem::new(record(), "it is no path with a date")),
            Some((path, updated)) => {
                let path = path.strip_prefix("./").unwrap_or(path);
                if safe_path(path) {
                    entries.push(DirectoryEntry {
                        path: path.to_owned(),
                        updated,
                    });
                } else {
                    problems.push(Problem::new(
                        record(),
                        format!("{path:?} is no path of a JSON file below the directory"),
                    ));
                }
            }
        }
    }
    (entries, problems)
}

/// Whether a path stays below its directory, both as a file's and as part of an address.
fn safe_path(path: &str) -> bool {
    path.len() <= 1024
        && path.to_ascii_lowercase().ends_with(".json")
        && !path.contains(['\\', '%', '?', '#', ':'])
        && !path
            .chars()
            .any(|c| c.is_whitespace() || mailkeep_model::text::is_unsafe(c))
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn https(url: &str, record: &str, problems: &mut Vec<Problem>) -> Option<String> {
    let good = url.len() <= 2048
        && url
            .strip_prefix("https://")
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains('@'))
        && !url
            .chars()
            .any(|c| c.is_whitespace() || mailkeep_model::text::is_unsafe(c));
    if !good {
        problems.push(Problem::new(record, format!("{url:?} is no https address")));
    }
    good.then(|| url.to_owned())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the standard's own names")]
struct Metadata<'a> {
    #[serde(borrow)]
    canonical_url: Text<'a>,
    #[serde(borrow)]
    distributions: List<Object<MetadataDistribution<'a>>>,
    #[serde(borrow)]
    last_updated: Text<'a>,
    #[serde(borrow)]
    metadata_version: Text<'a>,
    #[serde(borrow)]
    public_openpgp_keys: List<Object<MetadataKey<'a>>>,
    #[serde(borrow)]
    publisher: Object<MetadataPublisher<'a>>,
    #[serde(borrow)]
    role: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MetadataPublisher<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MetadataDistribution<'a> {
    #[serde(borrow)]
    directory_url: Text<'a>,
    #[serde(borrow)]
    rolie: Object<MetadataRolie<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MetadataRolie<'a> {
    #[serde(borrow)]
    feeds: List<Object<MetadataFeed<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MetadataFeed<'a> {
    #[serde(borrow)]
    tlp_label: Text<'a>,
    #[serde(borrow)]
    url: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MetadataKey<'a> {
    #[serde(borrow)]
    fingerprint: Text<'a>,
    #[serde(borrow)]
    url: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rolie<'a> {
    #[serde(borrow)]
    feed: Object<RolieFeed<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RolieFeed<'a> {
    #[serde(borrow)]
    entry: List<Object<Entry<'a>>>,
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    link: List<Object<Link<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry<'a> {
    #[serde(borrow)]
    content: Object<Content<'a>>,
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    link: List<Object<Link<'a>>>,
    #[serde(borrow)]
    updated: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Content<'a> {
    #[serde(borrow)]
    src: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Link<'a> {
    #[serde(borrow)]
    href: Text<'a>,
    #[serde(borrow)]
    rel: Text<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn provider_metadata_gives_every_way_to_the_documents() {
        let (provider, problems) = read_provider_metadata(
            br#"{"metadata_version": "2.0", "canonical_url": "https://example.org/.well-known/csaf/provider-metadata.json",
                "publisher": {"name": "Example PSIRT"}, "role": "csaf_trusted_provider", "last_updated": "2026-01-02T03:04:05Z",
                "distributions": [
                    {"rolie": {"feeds": [{"url": "https://example.org/feed.json", "tlp_label": "WHITE"}, {"url": "http://example.org/plain.json"}]}},
                    {"directory_url": "https://example.org/csaf"}, 7],
                "public_openpgp_keys": [{"fingerprint": "8f5f267907b2c4559db360db2294ba7d2b2298b1", "url": "https://example.org/key.asc"}]}"#,
        )
        .unwrap();
        assert_eq!(
            provider.distributions,
            [
                Distribution::Rolie {
                    url: "https://example.org/feed.json".into(),
                    tlp: "WHITE".into()
                },
                Distribution::Directory {
                    url: "https://example.org/csaf/".into()
                }
            ]
        );
        assert!(
            provider.keys[0]
                .fingerprint
                .as_deref()
                .unwrap()
                .starts_with("8F5F")
        );
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(read_provider_metadata(b"{}").is_err());
        assert!(read_provider_metadata(b"<html>").is_err());
    }

    #[test]
    fn a_rolie_feed_gives_documents_with_their_checksums() {
        let (entries, problems) = read_rolie(
            br#"{"feed": {"id": "f", "link": [{"rel": "next", "href": "https://example.org/2.json"}], "entry": [
                {"id": "A-1", "updated": "2026-01-02T03:04:05Z", "content": {"src": "https://example.org/a-1.json"}, "link": [
                    {"rel": "hash", "href": "https://example.org/a-1.json.sha512"},
                    {"rel": "signature", "href": "https://example.org/a-1.json.asc"}]},
                {"id": "A-2", "content": {"src": "file:///etc/passwd"}}, null]}}"#,
        )
        .unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].url, "https://example.org/a-1.json");
        assert_eq!(entries[0].sha256_url, None);
        assert!(entries[0].sha512_url.is_some() && entries[0].signature_url.is_some());
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn listings_never_lead_out_of_their_directory() {
        let (entries, problems) = read_changes_csv(
            "\"2026/a-1.json\",\"2026-01-02T03:04:05Z\"\r\n2026/a-2.json,2026-01-01T00:00:00.000Z\n\"x.json\",\"yesterday\"\nnothing\n",
        );
        let paths: Vec<_> = entries.iter().map(|entry| &*entry.path).collect();
        assert_eq!(paths, ["2026/a-1.json", "2026/a-2.json"]);
        assert_eq!(problems.len(), 2);
        let hostile = "../a.json\n/etc/a.json\n2026/../../a.json\na\\b.json\n%2e%2e/a.json\nhttps://x/a.json\n./a.json\na.exe\na//b.json";
        let (entries, problems) = read_index_txt(hostile);
        assert_eq!(entries.len(), 1, "{entries:?}");
        assert_eq!(problems.len(), 8);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(\\PC|[./,\"\n]){0,200}", json in "[\\[\\]{}\":,a-z]{0,100}") {
            fuzz(text.as_bytes());
            fuzz(json.as_bytes());
        }
    }
}
