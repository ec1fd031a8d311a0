//! From a reader's words to the store's rows: statements are packed by the matcher, signals as they
//! are.

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_advisory::{Sink, Stop};
use mailkeep_matcher::{RowBuilder, read_rows, statement_key};
use mailkeep_model::{AdvisoryId, Ecosystem, FeedKind, Platform, Problem, Signal, Statement};
use mailkeep_store::{FeedWriter, Space, Store, StoreError};

/// Bytes of rows held back to gather those of one package, before they are written: it bounds the
/// memory of an import, whatever the size of the feed.
const MAX_PENDING: usize = 16 << 20;

/// Bytes of one key's rows gathered before they are written: no package has as many, but a hostile
/// feed may repeat itself.
const MAX_BODY: usize = 4 << 20;

/// Platforms kept. All of OSV names some 300; a record can name any.
const MAX_COVERS: usize = 4096;

/// Packs what a reader says into the rows of one feed.
pub struct IndexSink<'w> {
    writer: &'w mut dyn FeedWriter,
    /// The rows of the package at hand.
    builder: RowBuilder,
    /// The feed hands all statements of a package at once.
    grouped: bool,
    package: Option<(Ecosystem, Box<str>)>,
    key: String,
    body: Vec<u8>,
    pending: BTreeMap<String, Vec<u8>>,
    pending_len: usize,
    signal_key: String,
    signal_body: Vec<u8>,
    covers: BTreeMap<Ecosystem, BTreeSet<Box<str>>>,
    covered: usize,
    problems: u64,
}

impl<'w> IndexSink<'w> {
    /// A sink that writes into the rows of a feed of this kind.
    pub fn new(writer: &'w mut dyn FeedWriter, kind: FeedKind) -> Self {
        Self {
            writer,
            builder: RowBuilder::new(),
            grouped: kind == FeedKind::DebianTracker,
            package: None,
            key: String::new(),
            body: Vec::new(),
            pending: BTreeMap::new(),
            pending_len: 0,
            signal_key: String::new(),
            signal_body: Vec::new(),
            covers: BTreeMap::new(),
            covered: 0,
            problems: 0,
        }
    }

    /// Writes what is held back. Returns the platforms spoken for, sorted, and how many problems
    /// were noted.
    pub fn finish(mut self) -> Result<(Vec<Platform>, u64), Stop> {
        self.flush_package()?;
        self.flush_pending()?;
        self.flush_signal()?;
        if self.covered > MAX_COVERS {
            let reason =
                format!("it speaks for more than {MAX_COVERS} of them; the rest is not noted");
            self.problem(Problem::new("platforms", reason))?;
        }
        let covers = self
            .covers
            .into_iter()
            .flat_map(|(ecosystem, releases)| {
                releases.into_iter().map(move |release| Platform {
                    ecosystem: ecosystem.clone(),
                    release,
                })
            })
            .collect();
        Ok((covers, self.problems))
    }

    fn note_cover(&mut self, ecosystem: &Ecosystem, release: &str) {
        let known = self
            .covers
            .get(ecosystem)
            .is_some_and(|releases| releases.contains(release));
        if known || self.covered > MAX_COVERS {
            return;
        }
        self.covered += 1;
        if self.covered <= MAX_COVERS {
            self.covers
                .entry(ecosystem.clone())
                .or_default()
                .insert(release.into());
        }
    }

    fn flush_package(&mut self) -> Result<(), Stop> {
        self.body.clear();
        self.builder.finish(&mut self.body);
        if self.body.is_empty() {
            return Ok(());
        }
        if self.grouped {
            self.writer
                .put(Space::Package, &self.key, &self.body)
                .map_err(stop)?;
        } else {
            self.pending_len += self.body.len();
            if let Some(rows) = self.pending.get_mut(&self.key) {
                rows.extend_from_slice(&self.body);
            } else {
                self.pending_len += self.key.len() + 64;
                self.pending.insert(self.key.clone(), self.body.clone());
            }
        }
        if self.pending_len > MAX_PENDING {
            self.flush_pending()?;
        }
        Ok(())
    }

    fn flush_pending(&mut self) -> Result<(), Stop> {
        for (key, body) in std::mem::take(&mut self.pending) {
            self.writer.put(Space::Package, &key, &body).map_err(stop)?;
        }
        self.pending_len = 0;
        Ok(())
    }

    fn flush_signal(&mut self) -> Result<(), Stop> {
        if !self.signal_body.is_empty() {
            self.writer
                .put(Space::Vulnerability, &self.signal_key, &self.signal_body)
                .map_err(stop)?;
            self.signal_body.clear();
        }
        Ok(())
    }
}

impl Sink for IndexSink<'_> {
    fn statement(&mut self, statement: Statement) -> Result<(), Stop> {
        for claim in &statement.claims {
            self.note_cover(
                &statement.ecosystem,
                claim.release.as_deref().unwrap_or_default(),
            );
        }
        let same = self
            .package
            .as_ref()
            .is_some_and(|(e, name)| *e == statement.ecosystem && *name == statement.package);
        if !same {
            self.flush_package()?;
            self.key = statement_key(&statement);
            self.package = Some((statement.ecosystem.clone(), statement.package.clone()));
        }
        self.builder.add(&statement);
        if self.builder.bytes() > MAX_BODY {
            self.flush_package()?;
        }
        Ok(())
    }

    fn signal(&mut self, advisory: &AdvisoryId, signal: Signal) -> Result<(), Stop> {
        if self.signal_key != advisory.as_str() {
            self.flush_signal()?;
            self.signal_key.clear();
            self.signal_key.push_str(advisory.as_str());
        }
        let body = std::mem::take(&mut self.signal_body);
        self.signal_body = postcard::to_extend(&signal, body).map_err(stop)?;
        if self.signal_body.len() > MAX_BODY {
            self.flush_signal()?;
        }
        Ok(())
    }

    fn problem(&mut self, problem: Problem) -> Result<(), Stop> {
        self.problems += 1;
        self.writer.problem(&problem).map_err(stop)
    }

    fn covers(&mut self, platform: Platform) {
        self.note_cover(&platform.ecosystem, &platform.release);
    }
}

fn stop(error: impl std::error::Error + Send + Sync + 'static) -> Stop {
    Stop(Box::new(error))
}

/// Whether any feed knows an advisory by this name or alias, whatever package it is about.
pub fn knows(store: &dyn Store, advisory: &AdvisoryId) -> Result<bool, StoreError> {
    let mut known = false;
    store.rows(
        Space::Vulnerability,
        &[advisory.as_str()],
        &mut |_, _, _| {
            known = true;
        },
    )?;
    if known {
        return Ok(true);
    }
    let finder = memchr::memmem::Finder::new(advisory.as_str());
    store.all_rows(Space::Package, &mut |_key, _feed, body| {
        // Few bodies hold its letters at all; only those are taken apart.
        if !known && finder.find(body).is_some() {
            known = names(body, advisory);
        }
    })?;
    Ok(known)
}

/// Whether a row of this body is about an advisory. A damaged row names nothing here: where it
/// matters, judging says that it is damaged.
fn names(body: &[u8], advisory: &AdvisoryId) -> bool {
    let id = advisory.as_str();
    let mut named = false;
    let _damaged = read_rows(body, |row| {
        named |= row.advisory == id || row.aliases.contains(&id);
    });
    named
}

/// Reads the signals of one row.
pub fn signals(mut body: &[u8]) -> Result<Vec<Signal>, postcard::Error> {
    let mut signals = Vec::new();
    while !body.is_empty() {
        let (signal, rest) = postcard::take_from_bytes(body)?;
        signals.push(signal);
        body = rest;
    }
    Ok(signals)
}
