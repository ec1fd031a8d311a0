//! `cargo xtask tidy`: the rules of the repository that no compiler checks.
//!
//! Entry: [`run`] for the command, [`edges::check`] and [`files::check`] for the rules. Each breach
//! is a [`Breach`] with a stable rule name; all are printed, then the command fails. Nothing here
//! changes a file.

pub mod edges;
pub mod files;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use self::edges::Metadata;

/// One rule broken, in one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Breach {
    /// The stable name of the rule: `edge`, `impure`, `file-length`.
    pub rule: &'static str,
    /// A package, or a path relative to the workspace.
    pub place: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.rule, self.place, self.what)
    }
}

/// Checks the workspace and prints what is wrong.
pub fn run(root: &Path) -> ExitCode {
    match check(root) {
        Ok(report) => {
            for note in &report.notes {
                crate::say(format_args!("note: {note}"));
            }
            for breach in &report.breaches {
                eprintln!("{breach}");
            }
            if report.breaches.is_empty() {
                crate::say(format_args!("tidy: {}", report.summary));
                ExitCode::SUCCESS
            } else {
                eprintln!("tidy: {} broken rules", report.breaches.len());
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("tidy: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a run found.
#[derive(Debug, Default)]
pub struct Report {
    /// Broken rules, in order of rule and place.
    pub breaches: Vec<Breach>,
    /// What is allowed but worth a look.
    pub notes: Vec<String>,
    /// How much was looked at.
    pub summary: String,
}

/// Why tidy could not look.
#[derive(Debug, thiserror::Error)]
pub enum TidyError {
    /// `cargo metadata` failed or could not be started.
    #[error("`cargo metadata` failed: {0}")]
    Metadata(String),
    /// Its output is not what cargo documents.
    #[error("`cargo metadata` printed something unexpected: {0}")]
    Unexpected(#[source] serde_json::Error),
    /// A file or directory of the workspace could not be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
}

fn check(root: &Path) -> Result<Report, TidyError> {
    let metadata = Metadata::of_workspace(root)?;
    let mut report = files::check(root, &metadata)?;
    report.breaches.extend(edges::check(&metadata));
    report.breaches.sort();
    report.summary = format!(
        "{} packages, {} files, {} notes",
        metadata.workspace_members.len(),
        report.summary,
        report.notes.len()
    );
    Ok(report)
}
