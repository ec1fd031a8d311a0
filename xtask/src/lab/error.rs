//! Why the lab did not do as asked.

use std::path::{Path, PathBuf};

/// A refusal or failure of the lab. Its name ([`Self::kind`]) is stable; [`Self::is_unavailable`] tells
/// a test to skip itself by name instead of failing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The machine does not let us make namespaces or overlay mounts.
    #[error("lab-not-permitted: {0}")]
    NotPermitted(String),
    /// A program is missing and could not be installed.
    #[error("lab-missing-program: needs {programs} (Debian: {packages})")]
    MissingProgram {
        /// The programs.
        programs: String,
        /// The Debian packages that hold them.
        packages: String,
    },
    /// The machine's package sources name no Debian archive, and the public one cannot be read.
    #[error("lab-no-archive: no Debian archive among the package sources in {directory}, {why}")]
    NoArchive {
        /// Where was looked.
        directory: String,
        /// Why the public one does not do.
        why: String,
    },
    /// A name, address or path was refused.
    #[error("lab-bad-argument: {0}")]
    BadArgument(String),
    /// There is no such host in this lab.
    #[error("lab-unknown-host: no host {name} in {root}")]
    UnknownHost {
        /// The host asked for.
        name: String,
        /// The lab's directory.
        root: String,
    },
    /// The host exists but does not run.
    #[error("lab-host-down: {0} is not running; `cargo xtask lab boot {0}` starts it")]
    HostDown(String),
    /// A host did not come up, or did not go down.
    #[error("lab-host-failed: {name}: {what}; its console is in {log}{tail}")]
    HostFailed {
        /// The host.
        name: String,
        /// What happened.
        what: String,
        /// Its console log.
        log: String,
        /// The last lines of the log, indented, or nothing.
        tail: String,
    },
    /// A program failed.
    #[error("lab-command-failed: {what}: `{command}` {outcome}{tail}")]
    CommandFailed {
        /// What it was for.
        what: String,
        /// The command line.
        command: String,
        /// How it ended.
        outcome: String,
        /// The last lines it printed, indented, and where the whole lies.
        tail: String,
    },
    /// A file of the lab could not be read or written.
    #[error("lab-io: cannot {what} {path}")]
    Io {
        /// `read`, `write`, `create`...
        what: &'static str,
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of the lab is not what the lab wrote.
    #[error("lab-damaged: {path}: {why}; remove it to go on")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

impl LabError {
    /// The stable name, with which the text of the error begins.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotPermitted(_) => "lab-not-permitted",
            Self::MissingProgram { .. } => "lab-missing-program",
            Self::NoArchive { .. } => "lab-no-archive",
            Self::BadArgument(_) => "lab-bad-argument",
            Self::UnknownHost { .. } => "lab-unknown-host",
            Self::HostDown(_) => "lab-host-down",
            Self::HostFailed { .. } => "lab-host-failed",
            Self::CommandFailed { .. } => "lab-command-failed",
            Self::Io { .. } => "lab-io",
            Self::Damaged { .. } => "lab-damaged",
        }
    }

    /// Whether this machine cannot hold a lab at all: a test skips itself, saying so.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::NotPermitted(_) | Self::MissingProgram { .. } | Self::NoArchive { .. }
        )
    }

    pub(super) fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            what,
            path: PathBuf::from(path).display().to_string(),
            source,
        }
    }
}

/// The last lines of a text, each on a line of its own and indented, for the end of a message.
pub(super) fn tail_of(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let mut tail = String::new();
    for line in lines.iter().skip(lines.len().saturating_sub(8)) {
        tail.push_str("\n    ");
        tail.push_str(line);
    }
    tail
}
