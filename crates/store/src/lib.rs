//! What Mailkeep remembers: feeds, facts, findings, plans, events.
//!
//! [`Store`] speaks in domain words and is narrow on purpose: a second implementation passes the
//! same conformance suite. [`SqliteStore`] is the default.
//!
//! **Invariant:** knows no feed format and no verdict rule; advisory rows are opaque bytes under a
//! key.

#![expect(
    clippy::disallowed_methods,
    reason = "the state directory is the store's own"
)]

mod error;
mod sqlite;

use std::error::Error;

use mailkeep_model::{
    Event, FeedId, FeedStatus, FetchState, Finding, HostFacts, HostName, PlanId, Problem,
    RecordedEvent, RegionName, ScanFailure, TeamName, Timestamp,
};

pub use error::{Source, StoreError};
pub use sqlite::SqliteStore;

/// Which rows: those about packages (key `Debian/exim4`) or those about vulnerability ids (key
/// `CVE-2023-42115`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Rows about packages.
    Package,
    /// Rows about vulnerability ids.
    Vulnerability,
}

/// Takes the rows of one feed while it is imported.
pub trait FeedWriter {
    /// Adds a row. The same key may come again: its rows are kept in order.
    fn put(&mut self, space: Space, key: &str, body: &[u8]) -> Result<(), StoreError>;

    /// Keeps a problem for `feeds problems`. A store may keep only the first ten thousand of an
    /// import, so that a hostile feed cannot fill it; [`FeedStatus::problems`] counts them all.
    fn problem(&mut self, problem: &Problem) -> Result<(), StoreError>;
}

/// The newest outcome of scanning a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanState {
    /// The newest facts ever seen.
    pub facts: Option<HostFacts>,
    /// The last scan's failure, where it failed: newer than `facts`.
    pub failure: Option<ScanFailure>,
}

/// The findings of the last check of a scope.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// When that check was made; kept to the microsecond.
    pub at: Timestamp,
    /// Its findings.
    pub findings: Vec<Finding>,
}

/// A plan in the list of all plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPlan {
    /// Its id.
    pub id: PlanId,
    /// When it was kept; to the microsecond.
    pub made_at: Timestamp,
}

/// A team's signature over a plan. The store does not verify it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Which plan.
    pub plan: PlanId,
    /// Whose part; `None` is the whole.
    pub region: Option<RegionName>,
    /// The team, which is the signature's principal.
    pub team: TeamName,
    /// The digest that was signed.
    pub digest: String,
    /// The signature in its armour.
    pub signature: String,
    /// When it was recorded; kept to the microsecond.
    pub at: Timestamp,
}

/// The right of one controller to carry a plan out, until it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Which plan.
    pub plan: PlanId,
    /// Grows with every claim of this plan. The highest one counts: what is written under a lower
    /// one is refused.
    pub fence: u64,
    /// When it ends unless renewed.
    pub until: Timestamp,
}

/// What came of asking for a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// It is ours.
    Claimed(Claim),
    /// Another controller has it.
    Held {
        /// Which.
        by: String,
        /// When its claim ends unless it renews it.
        until: Timestamp,
    },
}

/// The fallible work of an import, see [`Store::import_feed`].
pub type ImportWork<'a> =
    dyn FnMut(&mut dyn FeedWriter) -> Result<FeedStatus, Box<dyn Error + Send + Sync>> + 'a;

/// What Mailkeep remembers.
pub trait Store {
    /// Every imported feed, by name.
    fn feeds(&self) -> Result<Vec<FeedStatus>, StoreError>;

    /// The problems of a feed's last import.
    fn feed_problems(&self, feed: &FeedId) -> Result<Vec<Problem>, StoreError>;

    /// Replaces everything a feed said by what `work` writes: wholly or, on any error, not at all.
    /// Readers see the old rows until the end. An error of `work` comes back as
    /// [`StoreError::Import`]; where the cause is the store itself (a full disk), as that.
    fn import_feed(
        &mut self,
        feed: &FeedId,
        work: &mut ImportWork<'_>,
    ) -> Result<FeedStatus, StoreError>;

    /// Forgets a feed, its problems and its fetch state. Whether it was ever imported.
    fn remove_feed(&mut self, feed: &FeedId) -> Result<bool, StoreError>;

    /// Notes that a feed was found unchanged at its source: its `as_of` moves to `as_of`.
    /// [`StoreError::NoSuchFeed`] where it was never imported.
    fn confirm_feed(&mut self, feed: &FeedId, as_of: Timestamp) -> Result<(), StoreError>;

    /// What the source said of the copy last fetched.
    fn fetch_state(&self, feed: &FeedId) -> Result<Option<FetchState>, StoreError>;

    /// Keeps what the source said of the copy just fetched. To be called after that copy was
    /// imported: noted before, a failed import would be taken for done by the next conditional
    /// request.
    fn record_fetch_state(&mut self, feed: &FeedId, state: &FetchState) -> Result<(), StoreError>;

    /// Hands every row under each key, in the order of `keys`, then of feed name, then of arrival,
    /// to `each` as (index of the key, feed, body).
    fn rows(
        &self,
        space: Space,
        keys: &[&str],
        each: &mut dyn FnMut(usize, &FeedId, &[u8]),
    ) -> Result<(), StoreError>;

    /// Whether any feed has rows in a space.
    fn has_rows(&self, space: Space) -> Result<bool, StoreError>;

    /// Hands every row of a space to `each` as (key, feed, body), ordered by key, then feed name,
    /// then arrival.
    fn all_rows(
        &self,
        space: Space,
        each: &mut dyn FnMut(&str, &FeedId, &[u8]),
    ) -> Result<(), StoreError>;

    /// Keeps new facts of a host, and clears a failure noted before. What is recorded last counts
    /// as the newest, whatever the clocks say.
    fn record_facts(&mut self, facts: &HostFacts) -> Result<(), StoreError>;

    /// Keeps a failed scan; facts seen before stay.
    fn record_scan_failure(
        &mut self,
        host: &HostName,
        failure: &ScanFailure,
    ) -> Result<(), StoreError>;

    /// The newest outcome of scanning a host.
    fn scan_of(&self, host: &HostName) -> Result<ScanState, StoreError>;

    /// Every host ever scanned, by name.
    fn scanned_hosts(&self) -> Result<Vec<HostName>, StoreError>;

    /// The findings of the last check of a scope (a fleet, a root directory).
    fn findings_of(&self, scope: &str) -> Result<Option<Snapshot>, StoreError>;

    /// Replaces the findings of a scope and appends the events that tell the difference, both or
    /// neither.
    fn record_check(
        &mut self,
        scope: &str,
        snapshot: &Snapshot,
        events: &[Event],
    ) -> Result<(), StoreError>;

    /// Runs `work`, and lets everything it reads from this store be as it was at its first read,
    /// whatever others commit meanwhile: the feeds, their rows and the facts of one answer belong
    /// together.
    fn at_one_moment(&self, work: &mut dyn FnMut()) -> Result<(), StoreError>;

    /// Appends an event; returns its place in the log.
    fn append_event(&mut self, event: &Event) -> Result<u64, StoreError>;

    /// Appends events, all or none.
    fn append_events(&mut self, events: &[Event]) -> Result<(), StoreError>;

    /// At most `limit` events after a place in the log, oldest first.
    fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<RecordedEvent>, StoreError>;

    /// Keeps a plan as its canonical bytes, and appends the event that tells of it, both or neither.
    /// Whether it is new: a plan that is there already stays as it is, without another event.
    fn record_plan(
        &mut self,
        id: &PlanId,
        canonical: &[u8],
        event: &Event,
    ) -> Result<bool, StoreError>;

    /// The canonical bytes of a plan.
    fn plan(&self, id: &PlanId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Every plan ever kept, newest first.
    fn plans(&self) -> Result<Vec<KeptPlan>, StoreError>;

    /// At most `limit` plans whose id begins with `prefix`, with or without its `sha256:`, newest
    /// first.
    fn plans_with_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<PlanId>, StoreError>;

    /// Keeps an approval, and appends the event that tells of it, both or neither.
    /// [`StoreError::NoSuchPlan`] where the plan was never kept.
    fn record_approval(&mut self, approval: &Approval, event: &Event) -> Result<(), StoreError>;

    /// The approvals of a plan, in the order they were recorded.
    fn approvals_of(&self, plan: &PlanId) -> Result<Vec<Approval>, StoreError>;

    /// Every event of a plan after a place in the log, oldest first.
    fn events_of_plan(&self, plan: &PlanId, after: u64) -> Result<Vec<RecordedEvent>, StoreError>;

    /// Every event that tells of a host isolated or released by hand, oldest first.
    fn isolation_events(&self) -> Result<Vec<RecordedEvent>, StoreError>;

    /// Events that name plans with recipes, oldest first.
    fn recipe_events(&self) -> Result<Vec<RecordedEvent>, StoreError>;

    /// Every event that tells of an attack that was seen, oldest first.
    fn attack_events(&self) -> Result<Vec<RecordedEvent>, StoreError>;

    /// Every event that tells what was done with mail that a shield held, oldest first.
    fn held_mail_events(&self) -> Result<Vec<RecordedEvent>, StoreError>;

    /// Claims the right to carry a plan out until `until`. Refused while another controller's claim
    /// lasts at `now`. A controller that asks again gets a new claim at once, and its old one is
    /// void: it must see to it itself that it runs once.
    /// [`StoreError::NoSuchPlan`] where the plan was never kept.
    fn claim_rollout(
        &mut self,
        plan: &PlanId,
        controller: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<ClaimAnswer, StoreError>;

    /// Lets a claim last until `until`, also one that has ended and that nobody has taken over.
    /// [`StoreError::ClaimLost`] where somebody has.
    fn renew_claim(&mut self, claim: &mut Claim, until: Timestamp) -> Result<(), StoreError>;

    /// Gives a claim back, so that anybody may claim at once. Nothing happens where it was taken
    /// over.
    fn give_back_claim(&mut self, claim: &Claim) -> Result<(), StoreError>;

    /// Appends events under a claim, all or none; returns the place of the last one in the log.
    /// [`StoreError::ClaimLost`] where somebody has taken it over, whatever the clocks say.
    fn append_claimed(&mut self, claim: &Claim, events: &[Event]) -> Result<u64, StoreError>;
}
