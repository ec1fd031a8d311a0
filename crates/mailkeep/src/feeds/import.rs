//! One feed from a file, a directory or an archive into the store: streaming, whole or not at all.

use std::error::Error;
use std::path::PathBuf;

use jiff::SignedDuration;
use mailkeep_advisory::{ReadError, Sink as _, Summary, released};
use mailkeep_model::{FeedId, FeedKind, FeedStatus, Platform, Problem, Timestamp};
use mailkeep_store::{FeedWriter, Store, StoreError};

use super::progress::Progress;
use super::read::{Account, Reader, add};
use crate::index::IndexSink;
use crate::to_the_second;

/// What is to be imported.
#[derive(Debug, Clone)]
pub struct Import {
    /// Name to keep it under.
    pub id: FeedId,
    /// Its format.
    pub kind: FeedKind,
    /// Where it came from, as the user knows it, without credentials.
    pub location: String,
    /// The file or directory it is in.
    pub path: PathBuf,
    /// The time its content speaks for, where the caller knows better than the feed.
    pub as_of: Option<Timestamp>,
    /// The time it speaks for where neither the caller nor the feed says: HTTP `Last-Modified`, when
    /// the listing of a mirror was read, or what the fleet file says of a file.
    pub modified: Option<Timestamp>,
    /// Age from which it is stale.
    pub stale_after: SignedDuration,
    /// Whether it is all its publisher says; `None` to tell by its kind and form.
    pub whole: Option<bool>,
    /// Whose packages: needed for kinds that do not say, spoken for besides what the records name
    /// for the others.
    pub platform: Option<Platform>,
    /// Records that were lost on their way here; they are kept with those found now.
    pub problems: Vec<Problem>,
    /// More than single records were lost on their way here.
    pub partial: bool,
}

/// Why an import could not be done. What was there before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The kind needs to know whose packages.
    #[error("the kind {kind} does not say whose packages it speaks of; name them, as AlmaLinux:9")]
    NoPlatform {
        /// Which kind.
        kind: FeedKind,
    },
    /// Not one usable record.
    #[error("{place} holds no usable {kind} record ({problems} could not be used, {first})")]
    Nothing {
        /// Which.
        place: String,
        /// As what.
        kind: FeedKind,
        /// How many records could not be used.
        problems: u64,
        /// The first of them, in a few words.
        first: String,
    },
    /// The file is not there, or not readable.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A kind that speaks of no packages was given a platform.
    #[error("the kind {kind} speaks of CVE ids, not of anybody's packages; leave the platform out")]
    PlatformOfNone {
        /// Which kind.
        kind: FeedKind,
    },
    /// It is not of that kind.
    #[error("cannot read {place} as {kind}")]
    Read {
        /// Which.
        place: String,
        /// As what.
        kind: FeedKind,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Imports a feed.
///
/// The time it speaks for ([`FeedStatus::as_of`]) is the first of these that is known:
///
/// 1. what the caller says (`--as-of`);
/// 2. the date that a feed of one file gives itself: EPSS' `score_date`, KEV's `dateReleased`, a
///    single CSAF document's `current_release_date`, a single CVE record's `dateUpdated`;
/// 3. HTTP `Last-Modified`; for a provider's mirror, when its listing was read; for a file or
///    directory, what the fleet file says (`as_of`);
/// 4. when the file was modified, but no later than now: it says when the file was put there, not
///    what it speaks for; of a directory, the newest of its own time and its files';
/// 5. now, for a pipe.
///
/// Dates of records in a directory, an archive or lines do not count: they say when a record
/// changed, and one of them that is wrong must not date the whole. Fractions of a second are dropped,
/// for files have them and nobody wants to read them. A date in the future that the
/// feed or its server gives is kept; [`FeedStatus::state`] says what it is worth.
pub fn import(
    store: &mut dyn Store,
    what: &Import,
    now: Timestamp,
    progress: &mut Progress<'_>,
) -> Result<FeedStatus, ImportError> {
    check_platform(what)?;
    whole_or_nothing(store, &what.id, |writer| {
        let mut sink = IndexSink::new(writer, what.kind);
        if let Some(platform) = &what.platform {
            sink.covers(platform.clone());
        }
        let account = Reader::new(what, &mut sink, progress).read()?;
        let (covers, noted) = sink.finish().map_err(|stop| ImportError::Read {
            place: what.location.clone(),
            kind: what.kind,
            source: stop.into(),
        })?;
        status(what, account, covers, noted, now)
    })
}

/// Imports changelogs that hosts showed of what their repositories offer.
pub fn import_released(
    store: &mut dyn Store,
    id: &FeedId,
    platform: &Platform,
    changelogs: &[(&str, &str)],
    now: Timestamp,
    stale_after: SignedDuration,
) -> Result<FeedStatus, ImportError> {
    let location = "the hosts' own repositories";
    whole_or_nothing(store, id, |writer| {
        let mut sink = IndexSink::new(writer, FeedKind::Released);
        sink.covers(platform.clone());
        let mut summary = Summary::default();
        let failed = |source| ImportError::Read {
            place: location.to_owned(),
            kind: FeedKind::Released,
            source,
        };
        for (source, text) in changelogs {
            match released::read_changelog(source, text, platform, &mut sink) {
                Ok(part) => add(&mut summary, part),
                Err(ReadError::Stopped(stop)) => return Err(failed(stop.into())),
                // One host's odd package must not cost the others.
                Err(other) => {
                    summary.records += 1;
                    sink.problem(Problem::new(source, chain(&other)))
                        .map_err(|stop| failed(stop.into()))?;
                }
            }
        }
        let (covers, problems) = sink.finish().map_err(|stop| failed(stop.into()))?;
        Ok(FeedStatus {
            id: id.clone(),
            kind: FeedKind::Released,
            location: location.to_owned(),
            as_of: now,
            imported_at: now,
            stale_after,
            records: summary.records,
            problems,
            partial: false,
            whole: false,
            covers,
        })
    })
}

/// An error with its sources, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line.push_str(": ");
        line.push_str(&error.to_string());
        source = error.source();
    }
    line
}

/// What the store is told when our own work failed; the error itself is kept beside.
#[derive(Debug, thiserror::Error)]
#[error("the import failed")]
struct Failed;

/// Runs an import in the store's transaction. The work's own error comes back as it is; where the
/// store failed under it, the store's.
fn whole_or_nothing(
    store: &mut dyn Store,
    id: &FeedId,
    mut work: impl FnMut(&mut dyn FeedWriter) -> Result<FeedStatus, ImportError>,
) -> Result<FeedStatus, ImportError> {
    let mut own = None;
    let result = store.import_feed(id, &mut |writer| {
        work(writer).map_err(|error| {
            own = Some(error);
            Failed.into()
        })
    });
    result.map_err(|error| match (error, own) {
        (StoreError::Import(_), Some(own)) => own,
        (store, _) => ImportError::Store(store),
    })
}

fn check_platform(what: &Import) -> Result<(), ImportError> {
    let kind = what.kind;
    match kind {
        FeedKind::Released | FeedKind::Updateinfo if what.platform.is_none() => {
            Err(ImportError::NoPlatform { kind })
        }
        FeedKind::Epss | FeedKind::Kev if what.platform.is_some() => {
            Err(ImportError::PlatformOfNone { kind })
        }
        _ => Ok(()),
    }
}

fn status(
    what: &Import,
    account: Account,
    covers: Vec<Platform>,
    noted: u64,
    now: Timestamp,
) -> Result<FeedStatus, ImportError> {
    let Account {
        summary,
        usable,
        first_problem,
        many,
        modified,
    } = account;
    let problems = noted.max(summary.problems);
    // A directory that is empty, for a disk not mounted, say, must not replace what there was.
    if usable == 0 && (problems > 0 || summary.records == 0) {
        return Err(ImportError::Nothing {
            place: what.location.clone(),
            kind: what.kind,
            problems,
            first: first_problem
                .or(summary.cut_short)
                .unwrap_or_else(|| "it is empty".to_owned()),
        });
    }
    Ok(FeedStatus {
        id: what.id.clone(),
        kind: what.kind,
        location: what.location.clone(),
        as_of: what
            .as_of
            .or(summary.as_of.filter(|_| !many))
            .or(what.modified)
            .or(modified.map(|time| time.min(now)))
            .map_or(now, to_the_second),
        imported_at: now,
        stale_after: what.stale_after,
        records: summary.records,
        problems,
        partial: what.partial || summary.cut_short.is_some(),
        whole: what.whole.unwrap_or_else(|| is_whole(what.kind, many)),
        covers,
    })
}

/// A tracker or a repository's index is all there is; records are so only in their hundreds.
fn is_whole(kind: FeedKind, many: bool) -> bool {
    match kind {
        FeedKind::DebianTracker | FeedKind::Epss | FeedKind::Kev | FeedKind::Updateinfo => true,
        FeedKind::Csaf | FeedKind::Cve | FeedKind::Osv => many,
        FeedKind::Released => false,
    }
}
