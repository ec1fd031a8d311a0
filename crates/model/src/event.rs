//! What happened: the payload of the append-only log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{AdvisoryId, FeedId, HostName, Status, TeamName};

/// Whether something concerns real servers or a rehearsal. Part of every event, so that a drill can
/// never be taken for the living.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Realm {
    /// A rehearsal.
    Drill,
    /// Real servers.
    Live,
}

impl Realm {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drill => "drill",
            Self::Live => "live",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Where it counts.
    pub realm: Realm,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EventKind {
    /// A feed was imported whole.
    FeedImported {
        /// Which.
        feed: FeedId,
        /// Records read.
        records: u64,
        /// Records that could not be read.
        problems: u64,
    },
    /// A feed could not be imported; what was there before stays.
    FeedFailed {
        /// Which.
        feed: FeedId,
        /// Why.
        reason: String,
    },
    /// A host was scanned.
    HostScanned {
        /// Which.
        host: HostName,
        /// Packages seen.
        packages: u64,
    },
    /// A host could not be scanned.
    ScanFailed {
        /// Which.
        host: HostName,
        /// Why, with its stable name first.
        reason: String,
    },
    /// A finding appeared.
    FindingNew {
        /// On which host.
        host: HostName,
        /// Which advisory.
        advisory: AdvisoryId,
        /// On which source package.
        package: String,
        /// As what.
        status: Status,
        /// Whose it is.
        owner: Option<TeamName>,
    },
    /// A finding is gone.
    FindingGone {
        /// On which host.
        host: HostName,
        /// Which advisory.
        advisory: AdvisoryId,
        /// On which source package.
        package: String,
        /// What it was last.
        was: Status,
        /// Whose it was.
        owner: Option<TeamName>,
    },
    /// A finding changed in status or urgency.
    FindingChanged {
        /// On which host.
        host: HostName,
        /// Which advisory.
        advisory: AdvisoryId,
        /// On which source package.
        package: String,
        /// What it is now.
        status: Status,
        /// What changed, in one line: `lane regular to emergency`.
        change: String,
        /// Whose it is.
        owner: Option<TeamName>,
    },
}

/// An event as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedEvent {
    /// Its place in the log, from 1, without gaps within one store.
    pub seq: u64,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}
