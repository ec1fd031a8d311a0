//! Feeds: their kinds, how fresh they are, what was wrong with them.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{FeedId, Platform};

/// The format of a feed, and by it what it speaks of. Text form in kebab case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedKind {
    /// CSAF 2.0 advisories and VEX.
    Csaf,
    /// CVE JSON 5 records, with CISA's SSVC container.
    Cve,
    /// The Debian security tracker's JSON.
    DebianTracker,
    /// EPSS scores, CSV.
    Epss,
    /// CISA's known exploited vulnerabilities, JSON.
    Kev,
    /// OSV records.
    Osv,
    /// What the hosts' own repositories offer, by the changelogs inside the packages.
    Released,
    /// An RPM repository's updateinfo.xml.
    Updateinfo,
}

impl FeedKind {
    /// Every kind, alphabetical.
    pub const ALL: [Self; 8] = [
        Self::Csaf,
        Self::Cve,
        Self::DebianTracker,
        Self::Epss,
        Self::Kev,
        Self::Osv,
        Self::Released,
        Self::Updateinfo,
    ];

    /// The stable name: `debian-tracker`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csaf => "csaf",
            Self::Cve => "cve",
            Self::DebianTracker => "debian-tracker",
            Self::Epss => "epss",
            Self::Kev => "kev",
            Self::Osv => "osv",
            Self::Released => "released",
            Self::Updateinfo => "updateinfo",
        }
    }
}

impl fmt::Display for FeedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no kind of feed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no kind of feed called {0:?}")]
pub struct UnknownFeedKind(String);

impl FromStr for FeedKind {
    type Err = UnknownFeedKind;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| UnknownFeedKind(text.to_owned()))
    }
}

/// One imported feed, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedStatus {
    /// Its name.
    pub id: FeedId,
    /// Its format.
    pub kind: FeedKind,
    /// Path or URL it came from.
    pub location: String,
    /// The time its content speaks for: the source's own date where it gives one, else the
    /// HTTP `Last-Modified`, else the file's modification time.
    pub as_of: Timestamp,
    /// When it was imported.
    pub imported_at: Timestamp,
    /// Age of `as_of` from which it is stale.
    pub stale_after: SignedDuration,
    /// Records read.
    pub records: u64,
    /// Records that could not be read.
    pub problems: u64,
    /// It ended before its end: what was read is used, and every answer from it says so.
    pub partial: bool,
    /// It is the whole of what its publisher says (a tracker, a repository), not single documents
    /// picked from it. Only a whole feed's silence means anything.
    pub whole: bool,
    /// Platforms it makes statements for.
    pub covers: Vec<Platform>,
}

/// How far a feed may be relied on at a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedState {
    /// Fresh and wholly read.
    Fresh,
    /// Older than its limit.
    Stale,
    /// Only partly read.
    Partial,
    /// Its date lies more than a day in the future: a clock is wrong, and its age unknown.
    FromTheFuture,
}

impl FeedStatus {
    /// Its state at `now`.
    pub fn state(&self, now: Timestamp) -> FeedState {
        let age = now.duration_since(self.as_of);
        if age < SignedDuration::from_hours(-24) {
            FeedState::FromTheFuture
        } else if self.partial {
            FeedState::Partial
        } else if age > self.stale_after {
            FeedState::Stale
        } else {
            FeedState::Fresh
        }
    }
}

/// What an HTTP source said of the copy last fetched, for the next conditional request (RFC 9110
/// section 13).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchState {
    /// Location it was fetched from; a changed location makes the rest worthless.
    pub location: String,
    /// `ETag`, with its quotes.
    pub etag: Option<String>,
    /// `Last-Modified`, as written.
    pub last_modified: Option<String>,
}

/// A record that could not be used: counted, named and kept, while the rest goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which record: its id, else its place (`line 12`, `member 3`). Printable.
    pub record: String,
    /// What was wrong with it. Printable, one line.
    pub reason: String,
}

impl Problem {
    /// Makes both texts printable and bounded; a hostile record must not fill the state.
    pub fn new(record: impl AsRef<str>, reason: impl AsRef<str>) -> Self {
        Self {
            record: crate::text::printable_max(record.as_ref(), 200),
            reason: crate::text::printable_max(reason.as_ref(), 500),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.record, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(as_of: &str) -> FeedStatus {
        FeedStatus {
            id: FeedId::new("t").unwrap(),
            kind: FeedKind::DebianTracker,
            location: "t.json".into(),
            as_of: as_of.parse().unwrap(),
            imported_at: as_of.parse().unwrap(),
            stale_after: SignedDuration::from_hours(48),
            records: 1,
            problems: 0,
            partial: false,
            whole: true,
            covers: vec![],
        }
    }

    #[test]
    fn a_feed_is_stale_once_older_than_its_limit() {
        let feed = feed("2026-11-20T00:00:00Z");
        assert_eq!(
            feed.state("2026-11-21T23:59:59Z".parse().unwrap()),
            FeedState::Fresh
        );
        assert_eq!(
            feed.state("2026-11-22T00:00:01Z".parse().unwrap()),
            FeedState::Stale
        );
    }

    #[test]
    fn a_feed_from_the_future_is_not_fresh() {
        let feed = feed("2026-11-25T00:00:00Z");
        assert_eq!(
            feed.state("2026-11-21T00:00:00Z".parse().unwrap()),
            FeedState::FromTheFuture
        );
    }

    #[test]
    fn kinds_parse_by_their_own_names() {
        for kind in FeedKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert!("debian".parse::<FeedKind>().is_err());
    }
}
