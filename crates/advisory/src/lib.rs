//! Feed bytes to advisories.
//!
//! Every reader takes a [`std::io::Read`], works in memory that does not grow with the feed, and
//! hands [`Statement`]s, [`Signal`]s and [`Problem`]s to a [`Sink`] as it goes. A bad record is a
//! problem with a name, never the end of the feed.
//!
//! **Invariant:** no files, no network, no clock: the caller opens, this crate reads.

#![warn(clippy::indexing_slicing, clippy::string_slice)]

pub mod container;
pub mod csaf;
pub mod cve;
pub mod debian_tracker;
pub mod epss;
mod fixes;
pub mod ids;
pub mod json_stream;
pub mod kev;
mod lenient;
pub mod osv;
pub mod product;
pub mod released;
pub mod sniff;
mod text;
pub mod updateinfo;
mod window;

use std::error::Error;

use mailkeep_model::{AdvisoryId, Platform, Problem, Signal, Statement, Timestamp};

/// Where a reader puts what it read.
pub trait Sink {
    /// Takes one statement about a package.
    fn statement(&mut self, statement: Statement) -> Result<(), Stop>;

    /// Takes one signal about a vulnerability id.
    fn signal(&mut self, advisory: &AdvisoryId, signal: Signal) -> Result<(), Stop>;

    /// Takes a record that could not be used.
    fn problem(&mut self, problem: Problem) -> Result<(), Stop>;

    /// Takes note that the feed speaks for a platform, even where it says nothing is wrong there.
    fn covers(&mut self, platform: Platform);
}

/// The sink cannot take more: its disk is full, say.
#[derive(Debug, thiserror::Error)]
#[error("the import was stopped")]
pub struct Stop(#[source] pub Box<dyn Error + Send + Sync>);

/// What a reader says when it is through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Records read, the unusable ones included.
    pub records: u64,
    /// Unusable records.
    pub problems: u64,
    /// The date the feed itself gives for its content.
    pub as_of: Option<Timestamp>,
    /// Set where the feed ended before its end: where and why, in one line.
    pub cut_short: Option<String>,
}

/// Why a feed could not be read at all. A feed that merely ends early is no error: see
/// [`Summary::cut_short`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Reading failed.
    #[error("cannot read the feed")]
    Io(#[from] std::io::Error),
    /// It is not what it should be.
    #[error("this is no {expected}: {found}")]
    NotThisKind {
        /// The format expected.
        expected: &'static str,
        /// What was found instead, in a few words.
        found: String,
    },
    /// A limit against hostile input was reached.
    #[error("the feed passes a limit: {limit}")]
    Limit {
        /// Which limit, with its figure.
        limit: String,
    },
    /// The sink stopped.
    #[error(transparent)]
    Stopped(#[from] Stop),
}

/// A sink that keeps everything in memory, in the order it came; for small inputs and tests.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Collect {
    /// Statements.
    pub statements: Vec<Statement>,
    /// Signals, each with the id it is about.
    pub signals: Vec<(AdvisoryId, Signal)>,
    /// Problems.
    pub problems: Vec<Problem>,
    /// Platforms covered, each once.
    pub covers: Vec<Platform>,
}

impl Sink for Collect {
    fn statement(&mut self, statement: Statement) -> Result<(), Stop> {
        self.statements.push(statement);
        Ok(())
    }

    fn signal(&mut self, advisory: &AdvisoryId, signal: Signal) -> Result<(), Stop> {
        self.signals.push((advisory.clone(), signal));
        Ok(())
    }

    fn problem(&mut self, problem: Problem) -> Result<(), Stop> {
        self.problems.push(problem);
        Ok(())
    }

    fn covers(&mut self, platform: Platform) {
        if !self.covers.contains(&platform) {
            self.covers.push(platform);
        }
    }
}
