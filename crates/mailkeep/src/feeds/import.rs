//! One feed from a file, a directory or an archive into the store: streaming, whole or not at all.

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use mailkeep_advisory::container::{self, Entry, Limits};
use mailkeep_advisory::{
    ReadError, Sink, Stop, Summary, csaf, cve, debian_tracker, epss, kev, osv, released, updateinfo,
};
use mailkeep_model::{
    AdvisoryId, FeedId, FeedKind, FeedStatus, Platform, Problem, Signal, Statement, Timestamp,
};
use mailkeep_store::{Store, StoreError};

use super::deb;
use crate::index::IndexSink;

/// Largest changelog read.
const MAX_CHANGELOG: u64 = 64 << 20;

/// What is to be imported.
#[derive(Debug, Clone)]
pub struct Import {
    /// Name to keep it under.
    pub id: FeedId,
    /// Its format.
    pub kind: FeedKind,
    /// Where it came from, as the user knows it.
    pub location: String,
    /// The file or directory it is in.
    pub path: PathBuf,
    /// The time its content speaks for, where the caller knows better than the feed.
    pub as_of: Option<Timestamp>,
    /// The time it speaks for where neither the caller nor the feed says: HTTP `Last-Modified`.
    pub modified: Option<Timestamp>,
    /// Age from which it is stale.
    pub stale_after: SignedDuration,
    /// Whether it is all its publisher says; `None` to tell by its kind and form.
    pub whole: Option<bool>,
    /// Whose packages, for kinds that do not say.
    pub platform: Option<Platform>,
}

/// Why an import could not be done. What was there before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file is not there, or not readable.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not of that kind.
    #[error("cannot read {} as {kind}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// As what.
        kind: FeedKind,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// Not one usable record.
    #[error("{} holds no usable {kind} record ({problems} could not be used, {first})", path.display())]
    Nothing {
        /// Which.
        path: PathBuf,
        /// As what.
        kind: FeedKind,
        /// How many records could not be used.
        problems: u64,
        /// The first of them, in a few words.
        first: String,
    },
    /// The kind needs to know whose packages.
    #[error(
        "the kind {kind} does not say whose packages it speaks of; give --platform, as AlmaLinux:9"
    )]
    NoPlatform {
        /// Which kind.
        kind: FeedKind,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far an import is, for a progress bar: bytes read, bytes in all where known.
pub type Progress<'p> = dyn FnMut(u64, Option<u64>) + 'p;

/// Imports a feed.
pub fn import(
    store: &mut dyn Store,
    what: &Import,
    now: Timestamp,
    progress: &mut Progress<'_>,
) -> Result<FeedStatus, ImportError> {
    let needs_platform = matches!(what.kind, FeedKind::Updateinfo | FeedKind::Released);
    if needs_platform && what.platform.is_none() {
        return Err(ImportError::NoPlatform { kind: what.kind });
    }
    let metadata = std::fs::metadata(&what.path).map_err(|source| ImportError::Open {
        path: what.path.clone(),
        source,
    })?;
    let modified = what.modified.or_else(|| {
        metadata
            .modified()
            .ok()
            .and_then(|time| Timestamp::try_from(time).ok())
    });
    let result = store.import_feed(&what.id, &mut |writer| {
        let mut sink = IndexSink::new(writer, what.kind);
        let mut gathered = Gathered::default();
        {
            let mut noting = Noting {
                sink: &mut sink,
                first: &mut gathered.first_problem,
                usable: &mut gathered.usable,
            };
            read_path(
                what,
                metadata.is_dir(),
                &mut noting,
                &mut gathered.summary,
                &mut gathered.many,
                progress,
            )?;
        }
        let (covers, noted) = sink.finish().map_err(boxed)?;
        let Gathered {
            summary,
            first_problem,
            usable,
            many,
        } = gathered;
        let problems = noted.max(summary.problems);
        if usable == 0 && !(problems == 0 && many) {
            let first = first_problem.unwrap_or_else(|| "it is empty".to_owned());
            let (path, kind) = (what.path.clone(), what.kind);
            return Err(boxed(ImportError::Nothing {
                path,
                kind,
                problems,
                first,
            }));
        }
        Ok(FeedStatus {
            id: what.id.clone(),
            kind: what.kind,
            location: what.location.clone(),
            as_of: what
                .as_of
                .or(summary.as_of.filter(|_| !many))
                .or(modified)
                .unwrap_or(now),
            imported_at: now,
            stale_after: what.stale_after,
            records: summary.records,
            problems,
            partial: summary.cut_short.is_some(),
            whole: what.whole.unwrap_or_else(|| is_whole(what.kind, many)),
            covers,
        })
    });
    result.map_err(unwrap_import)
}

/// What gathered while reading.
#[derive(Default)]
struct Gathered {
    summary: Summary,
    first_problem: Option<String>,
    usable: u64,
    many: bool,
}

fn boxed(error: impl Error + Send + Sync + 'static) -> Box<dyn Error + Send + Sync> {
    Box::new(error)
}

/// An import's own error comes back through the store; it is shown as it was.
fn unwrap_import(error: StoreError) -> ImportError {
    match error {
        StoreError::Import(source) => match source.downcast::<ImportError>() {
            Ok(own) => *own,
            Err(other) => match other.downcast::<StoreError>() {
                Ok(store) => ImportError::Store(*store),
                Err(other) => match other.downcast::<Stop>() {
                    Ok(stop) => match stop.0.downcast::<StoreError>() {
                        Ok(store) => ImportError::Store(*store),
                        Err(other) => ImportError::Open {
                            path: PathBuf::new(),
                            source: std::io::Error::other(other),
                        },
                    },
                    Err(other) => ImportError::Open {
                        path: PathBuf::new(),
                        source: std::io::Error::other(other),
                    },
                },
            },
        },
        other => ImportError::Store(other),
    }
}

/// A tracker or a repository's index is all there is; records are so only in their hundreds.
fn is_whole(kind: FeedKind, many: bool) -> bool {
    match kind {
        FeedKind::DebianTracker | FeedKind::Epss | FeedKind::Kev | FeedKind::Updateinfo => true,
        FeedKind::Csaf | FeedKind::Cve | FeedKind::Osv => many,
        FeedKind::Released => false,
    }
}

/// Hands everything on, and keeps the first problem for the case that nothing else came.
struct Noting<'s, 'w> {
    sink: &'s mut IndexSink<'w>,
    first: &'s mut Option<String>,
    usable: &'s mut u64,
}

impl Sink for Noting<'_, '_> {
    fn statement(&mut self, statement: Statement) -> Result<(), Stop> {
        *self.usable += 1;
        self.sink.statement(statement)
    }

    fn signal(&mut self, advisory: &AdvisoryId, signal: Signal) -> Result<(), Stop> {
        *self.usable += 1;
        self.sink.signal(advisory, signal)
    }

    fn problem(&mut self, problem: Problem) -> Result<(), Stop> {
        self.first.get_or_insert_with(|| problem.to_string());
        self.sink.problem(problem)
    }

    fn covers(&mut self, platform: Platform) {
        self.sink.covers(platform);
    }
}

fn read_path(
    what: &Import,
    is_dir: bool,
    sink: &mut dyn Sink,
    summary: &mut Summary,
    many: &mut bool,
    progress: &mut Progress<'_>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    if !is_dir {
        return read_file(what, &what.path, sink, summary, many, progress).map_err(boxed);
    }
    *many = true;
    let mut files = Vec::new();
    list(&what.path, &mut files, 0).map_err(|source| ImportError::Open {
        path: what.path.clone(),
        source,
    })?;
    files.sort();
    let total = files.len() as u64;
    for (done, file) in files.iter().enumerate() {
        progress(done as u64, Some(total));
        match read_file(what, file, sink, summary, &mut false, &mut |_, _| {}) {
            Ok(()) => {}
            Err(ImportError::Read { source, .. }) if !matches!(source, ReadError::Stopped(_)) => {
                let name = file
                    .strip_prefix(&what.path)
                    .unwrap_or(file)
                    .display()
                    .to_string();
                note_file(summary, sink, &name, &chain(&source))?;
            }
            Err(other) => return Err(boxed(other)),
        }
    }
    Ok(())
}

fn note_file(
    summary: &mut Summary,
    sink: &mut dyn Sink,
    name: &str,
    reason: &str,
) -> Result<(), Stop> {
    summary.records += 1;
    summary.problems += 1;
    sink.problem(Problem::new(name, reason))
}

/// Deepest folder followed in a directory of records.
const MAX_DEPTH: usize = 16;

/// Every regular file below a directory; links are not followed, so that no loop is.
fn list(directory: &Path, files: &mut Vec<PathBuf>, depth: usize) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let kind = entry.file_type()?;
        if kind.is_dir() && !hidden && depth < MAX_DEPTH {
            list(&entry.path(), files, depth + 1)?;
        } else if kind.is_file() && !hidden && is_record_name(&entry.path()) {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Files of a directory that are no records: signatures, checksums, indexes, pages.
fn is_record_name(path: &Path) -> bool {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default();
    let beside = [
        ".asc", ".sig", ".sha256", ".sha512", ".txt", ".html", ".md", ".tsv", ".part", ".state",
    ];
    !beside.iter().any(|end| name.ends_with(end))
        && name != "provider-metadata.json"
        && name != "changes.csv"
}

fn read_file(
    what: &Import,
    path: &Path,
    sink: &mut dyn Sink,
    summary: &mut Summary,
    many: &mut bool,
    progress: &mut Progress<'_>,
) -> Result<(), ImportError> {
    let open_error = |source| ImportError::Open {
        path: path.to_owned(),
        source,
    };
    let read_error = |source| ImportError::Read {
        path: path.to_owned(),
        kind: what.kind,
        source,
    };
    let mut file = File::open(path).map_err(open_error)?;
    let length = file.metadata().map_err(open_error)?.len();
    let mut magic = [0u8; 4];
    let got = read_up_to(&mut file, &mut magic).map_err(open_error)?;
    file.rewind().map_err(open_error)?;
    if magic.get(..got).is_some_and(|m| m.starts_with(b"PK")) {
        *many = true;
        return read_zip(what, file, sink, summary, progress).map_err(read_error);
    }
    let counted = Counted {
        inner: BufReader::with_capacity(1 << 16, file),
        read: 0,
        total: length,
        progress,
    };
    let opened = container::open(counted, Limits::default()).map_err(read_error)?;
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let part = read_stream(what, &name, opened.content, sink, many).map_err(read_error)?;
    add(summary, part);
    Ok(())
}

fn read_zip(
    what: &Import,
    file: File,
    sink: &mut dyn Sink,
    summary: &mut Summary,
    progress: &mut Progress<'_>,
) -> Result<(), ReadError> {
    let mut done = 0;
    container::zip_entries(BufReader::new(file), Limits::default(), &mut |entry| {
        done += 1;
        progress(done, None);
        match entry {
            Entry::File { name, content } if is_record_name(Path::new(name)) => {
                match read_stream(what, name, content, sink, &mut false) {
                    Ok(part) => add(summary, part),
                    Err(ReadError::Stopped(stop)) => return Err(stop.into()),
                    Err(other) => note_file(summary, sink, name, &chain(&other))?,
                }
            }
            Entry::File { .. } => {}
            Entry::Unusable(problem) => {
                summary.records += 1;
                summary.problems += 1;
                sink.problem(problem)?;
            }
        }
        Ok(())
    })
}

fn read_stream(
    what: &Import,
    name: &str,
    input: impl Read,
    sink: &mut dyn Sink,
    many: &mut bool,
) -> Result<Summary, ReadError> {
    let platform = || {
        what.platform
            .clone()
            .unwrap_or_else(|| Platform::new(String::new().into(), ""))
    };
    match what.kind {
        FeedKind::Csaf => csaf::read_document(input, sink),
        FeedKind::Cve => cve::read_record(input, sink),
        FeedKind::DebianTracker => debian_tracker::read(input, sink),
        FeedKind::Epss => epss::read(input, sink),
        FeedKind::Kev => kev::read(input, sink),
        FeedKind::Osv if name.contains(".jsonl") || name.contains(".ndjson") => {
            *many = true;
            osv::read_lines(input, sink)
        }
        FeedKind::Osv => osv::read(input, sink),
        FeedKind::Released => read_released(input, &platform(), sink),
        FeedKind::Updateinfo => updateinfo::read(input, &platform(), sink),
    }
}

/// A Debian changelog, or a package file that has one inside.
fn read_released(
    mut input: impl Read,
    platform: &Platform,
    sink: &mut dyn Sink,
) -> Result<Summary, ReadError> {
    let mut head = [0u8; 8];
    let got = read_up_to(&mut input, &mut head)?;
    let head = head.get(..got).unwrap_or_default();
    let whole = std::io::Cursor::new(head.to_vec()).chain(input);
    let text = if head == deb::MAGIC {
        deb::changelog(whole).map_err(|error| ReadError::Io(std::io::Error::other(error)))?
    } else {
        let mut bytes = Vec::new();
        whole.take(MAX_CHANGELOG).read_to_end(&mut bytes)?;
        String::from_utf8_lossy(&bytes).into_owned()
    };
    // deb-changelog(5): the first word of the title line is the source package.
    let source = text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned();
    released::read_changelog(&source, &text, platform, sink)
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
    let result = store.import_feed(id, &mut |writer| {
        let mut sink = IndexSink::new(writer, FeedKind::Released);
        let mut summary = Summary::default();
        for (source, text) in changelogs {
            add(
                &mut summary,
                released::read_changelog(source, text, platform, &mut sink).map_err(boxed)?,
            );
        }
        let (mut covers, problems) = sink.finish().map_err(boxed)?;
        if !covers.contains(platform) {
            covers.push(platform.clone());
        }
        Ok(FeedStatus {
            id: id.clone(),
            kind: FeedKind::Released,
            location: "the hosts' own repositories".to_owned(),
            as_of: now,
            imported_at: now,
            stale_after,
            records: summary.records,
            problems,
            partial: false,
            whole: false,
            covers,
        })
    });
    result.map_err(unwrap_import)
}

/// Adds the summary of one part. The newest date counts.
fn add(sum: &mut Summary, part: Summary) {
    sum.records += part.records;
    sum.problems += part.problems;
    sum.as_of = sum.as_of.max(part.as_of);
    if sum.cut_short.is_none() {
        sum.cut_short = part.cut_short;
    }
}

fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut got = 0;
    while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match input.read(rest)? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

/// Tells how much was read.
struct Counted<'p, 'q, R> {
    inner: R,
    read: u64,
    total: u64,
    progress: &'p mut Progress<'q>,
}

impl<R: Read> Read for Counted<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.read += got as u64;
        (self.progress)(self.read, Some(self.total));
        Ok(got)
    }
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
