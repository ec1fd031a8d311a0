//! From a path to a reader: directories, archives, compression, pipes; told by what is there.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read, Seek as _};
use std::path::{Path, PathBuf};

use mailkeep_advisory::container::{self, Entry, Format, Limits};
use mailkeep_advisory::{
    ReadError, Sink, Stop, Summary, csaf, cve, debian_tracker, epss, kev, osv, released, updateinfo,
};
use mailkeep_model::{AdvisoryId, FeedKind, Platform, Problem, Signal, Statement, Timestamp};

use super::deb;
use super::import::{Import, ImportError, chain};
use super::progress::{Progress, Step};

/// Largest changelog read.
const MAX_CHANGELOG: u64 = 64 << 20;

/// Deepest folder followed in a directory of records.
const MAX_DEPTH: usize = 16;

/// First bytes that tell an archive ([`Format::of`]).
const HEAD: usize = 6;

/// Reads what is to be imported, and keeps account of it.
pub(super) struct Reader<'a> {
    what: &'a Import,
    sink: Noting<'a>,
    progress: &'a mut Progress<'a>,
    summary: Summary,
    many: bool,
    modified: Option<Timestamp>,
}

/// What reading came to.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Records, problems, and where it ended early.
    pub(super) summary: Summary,
    /// Statements and signals handed on.
    pub(super) usable: u64,
    /// The first problem.
    pub(super) first_problem: Option<String>,
    /// It was records in their number: a directory, an archive, lines.
    pub(super) many: bool,
    /// When the file, or the newest file of the directory, was last modified.
    pub(super) modified: Option<Timestamp>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        what: &'a Import,
        sink: &'a mut (dyn Sink + 'a),
        progress: &'a mut Progress<'a>,
    ) -> Self {
        Self {
            what,
            sink: Noting {
                sink,
                first: None,
                usable: 0,
            },
            progress,
            summary: Summary::default(),
            many: false,
            modified: None,
        }
    }

    /// Reads everything.
    pub(super) fn read(mut self) -> Result<Account, ImportError> {
        let what = self.what;
        for problem in &what.problems {
            self.note(problem.clone())
                .map_err(|stop| self.stopped(stop))?;
        }
        let metadata = fs::metadata(&what.path).map_err(|error| open_error(&what.path, error))?;
        if metadata.is_dir() {
            self.read_directory()?;
        } else {
            let mut many = false;
            let part = self.read_file(&what.path, true, &mut many)?;
            add(&mut self.summary, part);
            self.many = many;
        }
        Ok(Account {
            summary: self.summary,
            usable: self.sink.usable,
            first_problem: self.sink.first,
            many: self.many,
            modified: self.modified,
        })
    }

    fn stopped(&self, stop: Stop) -> ImportError {
        self.read_error(&self.what.location, stop.into())
    }

    fn read_error(&self, place: &str, source: ReadError) -> ImportError {
        ImportError::Read {
            place: place.to_owned(),
            kind: self.what.kind,
            source,
        }
    }

    fn note(&mut self, problem: Problem) -> Result<(), Stop> {
        self.summary.records += 1;
        self.summary.problems += 1;
        self.sink.problem(problem)
    }

    fn read_directory(&mut self) -> Result<(), ImportError> {
        let directory = &self.what.path;
        self.many = true;
        self.modified = fs::metadata(directory).ok().and_then(|m| modified(&m));
        let mut files = Vec::new();
        list(directory, &mut files, 0).map_err(|error| open_error(directory, error))?;
        if self.what.kind == FeedKind::Released && files.iter().any(|file| is_package(file)) {
            files.retain(|file| is_package(file));
        }
        files.sort();
        let total = files.len() as u64;
        for (done, file) in files.iter().enumerate() {
            (self.progress)(Step::documents(done as u64, Some(total)));
            let name = file.strip_prefix(directory).unwrap_or(file);
            let name = name.display().to_string();
            match self.read_file(file, false, &mut false) {
                Ok(part) => self.add_part(&name, part).map_err(|s| self.stopped(s))?,
                Err(ImportError::Read { source, .. })
                    if !matches!(source, ReadError::Stopped(_)) =>
                {
                    self.note(Problem::new(&name, chain(&source)))
                        .map_err(|stop| self.stopped(stop))?;
                }
                Err(ImportError::Open { source, .. }) => {
                    self.note(Problem::new(&name, format!("cannot open it: {source}")))
                        .map_err(|stop| self.stopped(stop))?;
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// Adds one of many. A single record that ends early is a bad record; a file of many that does
    /// makes the feed a partial one.
    fn add_part(&mut self, name: &str, mut part: Summary) -> Result<(), Stop> {
        if part.records <= 1
            && let Some(reason) = part.cut_short.take()
        {
            if part.problems == 0 {
                part.problems = 1;
                self.sink.problem(Problem::new(name, reason))?;
            }
            part.records = 1;
        }
        add(&mut self.summary, part);
        Ok(())
    }

    fn read_file(
        &mut self,
        path: &Path,
        alone: bool,
        many: &mut bool,
    ) -> Result<Summary, ImportError> {
        let shown = if alone {
            self.what.location.clone()
        } else {
            path.display().to_string()
        };
        let mut file = File::open(path).map_err(|error| open_error(path, error))?;
        let metadata = file.metadata().map_err(|error| open_error(path, error))?;
        if metadata.is_file() {
            self.modified = self.modified.max(modified(&metadata));
        }
        let mut head = [0u8; HEAD];
        let got = read_up_to(&mut file, &mut head).map_err(|error| open_error(path, error))?;
        let head = head.get(..got).unwrap_or_default();
        if Format::of(head) == Format::Zip {
            *many = true;
            if !metadata.is_file() {
                let source = ReadError::NotThisKind {
                    expected: "feed",
                    found: "a zip archive from a pipe; save it to a file first".to_owned(),
                };
                return Err(self.read_error(&shown, source));
            }
            file.rewind().map_err(|error| open_error(path, error))?;
            return self
                .read_zip(file)
                .map_err(|source| self.read_error(&shown, source));
        }
        let what = self.what;
        let progress: &mut Progress<'_> = if alone {
            &mut *self.progress
        } else {
            &mut |_| {}
        };
        // A pipe cannot be rewound, so nothing is.
        let counted = Counted {
            inner: Cursor::new(head.to_vec()).chain(BufReader::with_capacity(1 << 16, file)),
            read: 0,
            total: metadata.is_file().then_some(metadata.len()),
            progress,
        };
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let opened = if what.kind == FeedKind::Released {
            container::open_archive(counted, Limits::default())
        } else {
            container::open(counted, Limits::default())
        };
        opened
            .and_then(|opened| read_stream(what, &name, opened.content, &mut self.sink, many))
            .map_err(|source| ImportError::Read {
                place: shown,
                kind: what.kind,
                source,
            })
    }

    /// Reads each record of an archive. Their sum is already in the account; what is returned adds
    /// nothing.
    fn read_zip(&mut self, file: File) -> Result<Summary, ReadError> {
        let mut done = 0;
        container::zip_entries(BufReader::new(file), Limits::default(), &mut |entry| {
            done += 1;
            (self.progress)(Step::documents(done, None));
            match entry {
                Entry::File { name, content } if is_record_name(Path::new(name)) => {
                    match read_stream(self.what, name, content, &mut self.sink, &mut false) {
                        Ok(part) => self.add_part(name, part)?,
                        Err(ReadError::Stopped(stop)) => return Err(stop.into()),
                        Err(other) => self.note(Problem::new(name, chain(&other)))?,
                    }
                }
                Entry::File { .. } => {}
                Entry::Unusable(problem) => self.note(problem)?,
            }
            Ok(())
        })?;
        Ok(Summary::default())
    }
}

fn open_error(path: &Path, source: io::Error) -> ImportError {
    ImportError::Open {
        path: path.to_owned(),
        source,
    }
}

fn modified(metadata: &fs::Metadata) -> Option<Timestamp> {
    Timestamp::try_from(metadata.modified().ok()?).ok()
}

/// Hands everything on, and keeps the first problem for the case that nothing else came.
struct Noting<'a> {
    sink: &'a mut (dyn Sink + 'a),
    first: Option<String>,
    usable: u64,
}

impl Sink for Noting<'_> {
    fn statement(&mut self, statement: Statement) -> Result<(), Stop> {
        self.usable += 1;
        self.sink.statement(statement)
    }

    fn signal(&mut self, advisory: &AdvisoryId, signal: Signal) -> Result<(), Stop> {
        self.usable += 1;
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

/// Every file below a directory that may be a record; links are not followed, so that no loop is.
pub(super) fn list(directory: &Path, files: &mut Vec<PathBuf>, depth: usize) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
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

/// Files beside records that are none: signatures, checksums, indexes, pages.
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

fn is_package(path: &Path) -> bool {
    path.extension() == Some("deb".as_ref())
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
    let mut head = [0u8; deb::MAGIC.len()];
    let got = read_up_to(&mut input, &mut head)?;
    let head = head.get(..got).unwrap_or_default();
    let whole = Cursor::new(head.to_vec()).chain(input);
    let text = if head == deb::MAGIC {
        deb::changelog(whole).map_err(|error| ReadError::Io(io::Error::other(error)))?
    } else {
        let mut bytes = Vec::new();
        whole.take(MAX_CHANGELOG).read_to_end(&mut bytes)?;
        mailkeep_advisory::sniff::refuse("Debian changelog", &bytes)?;
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

/// Adds the summary of one part. The newest date counts.
pub(super) fn add(sum: &mut Summary, part: Summary) {
    sum.records += part.records;
    sum.problems += part.problems;
    sum.as_of = sum.as_of.max(part.as_of);
    if sum.cut_short.is_none() {
        sum.cut_short = part.cut_short;
    }
}

fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Tells how much was read.
struct Counted<'p, 'q, R> {
    inner: R,
    read: u64,
    total: Option<u64>,
    progress: &'p mut Progress<'q>,
}

impl<R: Read> Read for Counted<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.read += got as u64;
        (self.progress)(Step::bytes(self.read, self.total));
        Ok(got)
    }
}
