//! Why the store could not do what was asked, each with what to do about it.

use std::error::Error;
use std::path::PathBuf;

use mailkeep_model::{FeedId, PlanId, Realm};

/// What lies under a [`StoreError`].
pub type Source = Box<dyn Error + Send + Sync>;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else held the write lock for longer than the store waits.
    #[error(
        "another mailkeep is writing to {}; wait for it to end, or choose another state directory",
        dir.display()
    )]
    Busy {
        /// The state directory.
        dir: PathBuf,
    },
    /// A controller wrote for a rollout that another one has taken over since; nothing was changed.
    #[error("the rollout of plan {plan} was taken over by another controller; this one must stop")]
    ClaimLost {
        /// Which plan.
        plan: PlanId,
    },
    /// The file is there and cannot be opened.
    #[error(
        "cannot open {}; this user needs leave to read it, and to write in its directory or read \
         the -wal and -shm files beside it",
        path.display()
    )]
    CannotOpen {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Source,
    },
    /// The database is damaged.
    #[error(
        "{path} is damaged; move it aside (mv {path} {path}.damaged, and the same for {path}-wal and \
         {path}-shm where they exist), then import the feeds and scan the hosts again",
        path = path.display()
    )]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Source,
    },
    /// The state directory cannot be created or used.
    #[error(
        "cannot use {} as state directory; make it writable for this user, or choose another one",
        dir.display()
    )]
    Directory {
        /// The state directory.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No space left; what was there before is unchanged.
    #[error(
        "the disk that holds {} is full; nothing was changed: free some space and try again",
        dir.display()
    )]
    DiskFull {
        /// The state directory.
        dir: PathBuf,
    },
    /// An event of one realm was to be written into the log of another.
    #[error("an event of realm {} does not belong into the log of realm {}", found.name(), wanted.name())]
    EventOfOtherRealm {
        /// The event's.
        found: Realm,
        /// The store's.
        wanted: Realm,
    },
    /// The work inside an import failed; nothing was changed.
    #[error("the import failed, the feed stays as it was")]
    Import(#[source] Source),
    /// The work of an import gave the status of another feed than the one being imported; nothing
    /// was changed.
    #[error(
        "the import of feed {wanted} ended with the status of feed {found}; nothing was changed"
    )]
    ImportOfOtherFeed {
        /// Named by the status.
        found: FeedId,
        /// Being imported.
        wanted: FeedId,
    },
    /// The disk refused a read or a write; what was there before is unchanged.
    #[error(
        "the disk that holds {} refused a read or write; look at its health, quota and file size limits \
         before trying again",
        dir.display()
    )]
    Io {
        /// The state directory.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: Source,
    },
    /// The database file was moved or removed while it was open.
    #[error(
        "{} was moved or removed while this mailkeep had it open; nothing was changed: start it again",
        path.display()
    )]
    Moved {
        /// The database file, where it was.
        path: PathBuf,
    },
    /// The database was written by a newer mailkeep.
    #[error(
        "{} was written by a newer mailkeep (schema {found}, this one knows up to {known}); use that \
         newer one, or choose another state directory",
        path.display()
    )]
    NewerSchema {
        /// The database file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema this program knows.
        known: i64,
    },
    /// A feed that was never imported.
    #[error("feed {feed} was never imported")]
    NoSuchFeed {
        /// Which.
        feed: FeedId,
    },
    /// A plan that was never kept.
    #[error("plan {plan} was never kept here")]
    NoSuchPlan {
        /// Which.
        plan: PlanId,
    },
    /// Opened for reading only, and there is nothing.
    #[error("{} holds no mailkeep state yet; import feeds first", dir.display())]
    NoState {
        /// The state directory.
        dir: PathBuf,
    },
    /// The file is a database, but of another program.
    #[error("{} is not a mailkeep database; choose another state directory", path.display())]
    NotMailkeep {
        /// The database file.
        path: PathBuf,
    },
    /// Opened for reading only, and the schema is an older one that would have to be brought up
    /// first.
    #[error(
        "{} was written by an older mailkeep (schema {found}, this one reads {known}); run any \
         command that may write there once",
        path.display()
    )]
    OlderSchema {
        /// The database file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The schema this program reads.
        known: i64,
    },
    /// The state is of the other realm: a drill never touches the living.
    #[error(
        "{} belongs to the realm {}, not {}; choose another state directory",
        path.display(), found.name(), wanted.name()
    )]
    OtherRealm {
        /// The database file.
        path: PathBuf,
        /// Its realm.
        found: Realm,
        /// The one asked for.
        wanted: Realm,
    },
    /// A write was asked of a state that may only be read.
    #[error("{} may only be read by this user; nothing was changed", dir.display())]
    ReadOnly {
        /// The state directory.
        dir: PathBuf,
    },
    /// Anything else the database said.
    #[error("the database in {} could not {doing}", dir.display())]
    Database {
        /// The state directory.
        dir: PathBuf,
        /// What was being done: `read events`.
        doing: &'static str,
        /// What it said.
        #[source]
        source: Source,
    },
}

impl StoreError {
    /// The stable name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "busy",
            Self::CannotOpen { .. } => "cannot-open",
            Self::ClaimLost { .. } => "claim-lost",
            Self::Corrupt { .. } => "corrupt",
            Self::Database { .. } => "database",
            Self::Directory { .. } => "directory",
            Self::DiskFull { .. } => "disk-full",
            Self::EventOfOtherRealm { .. } => "event-of-other-realm",
            Self::Import(_) => "import",
            Self::ImportOfOtherFeed { .. } => "import-of-other-feed",
            Self::Io { .. } => "io",
            Self::Moved { .. } => "moved",
            Self::NewerSchema { .. } => "newer-schema",
            Self::NoState { .. } => "no-state",
            Self::NoSuchFeed { .. } => "no-such-feed",
            Self::NoSuchPlan { .. } => "no-such-plan",
            Self::NotMailkeep { .. } => "not-mailkeep",
            Self::OlderSchema { .. } => "older-schema",
            Self::OtherRealm { .. } => "other-realm",
            Self::ReadOnly { .. } => "read-only",
        }
    }
}
