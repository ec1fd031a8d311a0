//! The default store: one SQLite database in the state directory.

mod fault;
mod import;
mod kept;
mod marker;
mod open;
mod plans;
mod schema;

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use mailkeep_model::{
    Event, FeedId, FeedStatus, FetchState, HostFacts, HostName, PlanId, Problem, Realm,
    RecordedEvent, ScanFailure, Timestamp,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, FileControl, OptionalExtension, Transaction, TransactionBehavior};

use self::fault::{Fault, Place, decode, encode};
use self::import::Import;
use self::marker::Marker;
use crate::{
    Approval, Claim, ClaimAnswer, ImportWork, KeptPlan, ScanState, Snapshot, Space, Store,
    StoreError,
};

/// What Mailkeep remembers, in a SQLite database.
///
/// # What survives
///
/// A killed process loses nothing that was committed and leaves nothing half done. After a power
/// cut the database is whole, and everything up to the last durable commit is there: imports,
/// removed feeds, events, and checks that brought events. Facts, failed scans, confirmed feeds,
/// fetch states, and checks that found nothing new are not synced one by one, for they can be had
/// again; the newest of them may be lost, always from the end backwards, never one from the middle.
///
/// # Files
///
/// `mailkeep.db`, mode 0600, and beside it `mailkeep.db-wal`, `mailkeep.db-shm` (SQLite's, they stay)
/// and, while somebody writes, `mailkeep.writing`. A copy for a backup is `sqlite3 mailkeep.db
/// ".backup FILE"`. The state directory must not lie on a network file system.
///
/// # Ending well
///
/// Drop the store before the process ends. `std::process::exit` skips that, and the next process
/// then looks at every page of the database once.
#[derive(Debug)]
pub struct SqliteStore {
    conn: Connection,
    place: Place,
    realm: Realm,
    on_disk: bool,
    busy_timeout: Duration,
    /// Held from the first write on.
    marker: Option<Marker>,
    /// The log is long, or has room to give back.
    unsettled: bool,
    /// Something was wrong with the file: the mark stays, so that the next process looks.
    suspect: Cell<bool>,
}

/// Write-ahead log in bytes that a closing writer leaves behind rather than sync it. Whoever opens the
/// database next reads it again, until somebody writes: the findings of a first check, some 400 KB, would
/// cost each later one 2 % of its time.
const WAL_LEFT: u64 = 256 * 1024;

/// How a write is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commit {
    /// On the disk before it counts as done.
    Durable,
    /// Whole or not at all, and perhaps lost by a power cut.
    Quick,
}

impl SqliteStore {
    /// Opens the state directory `dir`, and creates it (mode 0700) and the database (mode 0600)
    /// where they are missing.
    ///
    /// The header, the schema and the length of the file are checked always; all of it only where
    /// the last writer did not end well.
    ///
    /// # Errors
    ///
    /// The database is of another realm, of a newer mailkeep, of another program, damaged, or may
    /// not be written by this user.
    pub fn open(dir: &Path, realm: Realm) -> Result<Self, StoreError> {
        let place = Place::new(dir);
        let conn = open::read_write(&place, realm)?;
        Ok(Self::new(conn, place, realm, true))
    }

    /// Opens the state directory `dir` for reading only: also another user's, as far as the files
    /// allow it, and one on a read-only file system. Every method that writes gives
    /// [`StoreError::ReadOnly`].
    ///
    /// Where SQLite's `-wal` and `-shm` files are missing and cannot be created, the file is taken
    /// as immutable, without locks: that is a copy somebody made, for a mailkeep that writes leaves
    /// them in place. Do not copy a database into place over one that is being read so.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`]; also where there is nothing yet, or an older schema.
    pub fn open_read_only(dir: &Path, realm: Realm) -> Result<Self, StoreError> {
        let place = Place::new(dir);
        let conn = open::read_only(&place, realm)?;
        Ok(Self::new(conn, place, realm, true))
    }

    /// Makes an empty store that is gone when dropped.
    pub fn open_in_memory(realm: Realm) -> Result<Self, StoreError> {
        let place = Place::in_memory();
        let conn = open::in_memory(&place, realm)?;
        Ok(Self::new(conn, place, realm, false))
    }

    /// Looks at every page of the database: tens of milliseconds for a usual one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], with what was found.
    pub fn check_integrity(&self) -> Result<(), StoreError> {
        open::quick_check(&self.conn).map_err(|fault| self.fail("check the database", fault))
    }

    /// Sets how long to wait for another writer before [`StoreError::Busy`]; five seconds unless
    /// told.
    pub fn set_busy_timeout(&mut self, timeout: Duration) -> Result<(), StoreError> {
        self.busy_timeout = timeout;
        self.conn
            .busy_timeout(timeout)
            .map_err(|error| self.fail("set its patience", error.into()))
    }

    fn new(conn: Connection, place: Place, realm: Realm, on_disk: bool) -> Self {
        Self {
            conn,
            place,
            realm,
            on_disk,
            busy_timeout: open::BUSY_TIMEOUT,
            marker: None,
            unsettled: false,
            suspect: Cell::new(false),
        }
    }

    fn fail(&self, doing: &'static str, fault: Fault) -> StoreError {
        let error = self.place.explain(doing, fault);
        if matches!(error, StoreError::Corrupt { .. } | StoreError::Io { .. }) {
            self.suspect.set(true);
        }
        error
    }

    /// Reads, all of it at one moment.
    fn read<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        (|| {
            // Within a callback of `rows` or `at_one_moment` that moment goes on.
            let _tx = if self.conn.is_autocommit() {
                Some(self.conn.unchecked_transaction()?)
            } else {
                None
            };
            work(&self.conn)
        })()
        .map_err(|fault| self.fail(doing, fault))
    }

    /// Writes, all of it or nothing.
    fn write<T>(
        &mut self,
        doing: &'static str,
        commit: Commit,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.mark()?;
        self.stay()?;
        let result = (|| {
            if commit == Commit::Durable {
                self.conn.execute_batch("PRAGMA synchronous = FULL")?;
            }
            let tx = self
                .conn
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&tx)?;
            tx.commit()?;
            Ok(value)
        })();
        if commit == Commit::Durable {
            // Fails only where the connection is beyond use, which the next call will tell.
            drop(self.conn.execute_batch("PRAGMA synchronous = NORMAL"));
        }
        result.map_err(|fault| self.fail(doing, fault))
    }

    /// Refuses to write into a file that was moved aside: SQLite would go on, unseen by everybody
    /// else.
    fn stay(&self) -> Result<(), StoreError> {
        let mut moved = 0;
        let asked = self
            .conn
            .file_control(None::<&str>, FileControl::HasMoved(&mut moved));
        if self.on_disk && asked.is_ok() && moved != 0 {
            return Err(StoreError::Moved {
                path: self.place.database.clone(),
            });
        }
        Ok(())
    }

    /// Says that this process writes, once.
    fn mark(&mut self) -> Result<(), StoreError> {
        if !self.on_disk || self.marker.is_some() {
            return Ok(());
        }
        if self.conn.is_readonly("main").unwrap_or(false) {
            return Err(StoreError::ReadOnly {
                dir: self.place.dir.clone(),
            });
        }
        match Marker::set(&self.place.dir) {
            Ok(marker) => {
                self.marker = Some(marker);
                Ok(())
            }
            Err(error) => {
                let dir = self.place.dir.clone();
                Err(match error.kind() {
                    std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                        StoreError::DiskFull { dir }
                    }
                    std::io::ErrorKind::PermissionDenied
                    | std::io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { dir },
                    _ => StoreError::Directory { dir, source: error },
                })
            }
        }
    }

    /// Carries the log into the database and gives its room back, as far as nobody is in the way.
    /// Nothing depends on it: the next writer does what is left.
    fn settle(&mut self) {
        drop(self.conn.busy_timeout(Duration::ZERO));
        drop(
            self.conn
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())),
        );
        drop(self.conn.busy_timeout(self.busy_timeout));
        self.unsettled = false;
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        if self.marker.is_some() && (self.unsettled || self.place.wal_bytes() > WAL_LEFT) {
            self.settle();
        }
        if let Some(marker) = self.marker.take()
            && !self.suspect.get()
        {
            marker.clear();
        }
    }
}

impl Store for SqliteStore {
    fn feeds(&self) -> Result<Vec<FeedStatus>, StoreError> {
        self.read("read the feeds", |conn| {
            let mut statement = conn.prepare("SELECT status FROM feed ORDER BY name")?;
            let mut rows = statement.query([])?;
            let mut feeds = Vec::new();
            while let Some(row) = rows.next()? {
                feeds.push(decode(text(row.get_ref(0)?)?)?);
            }
            Ok(feeds)
        })
    }

    fn feed_problems(&self, feed: &FeedId) -> Result<Vec<Problem>, StoreError> {
        self.read("read the problems of a feed", |conn| {
            let mut statement = conn
                .prepare("SELECT record, reason FROM feed_problem WHERE feed = ?1 ORDER BY nth")?;
            let problems = statement.query_map([feed.as_str()], |row| {
                Ok(Problem {
                    record: row.get(0)?,
                    reason: row.get(1)?,
                })
            })?;
            Ok(problems.collect::<Result<_, _>>()?)
        })
    }

    fn import_feed(
        &mut self,
        feed: &FeedId,
        work: &mut ImportWork<'_>,
    ) -> Result<FeedStatus, StoreError> {
        let place = self.place.clone();
        self.unsettled = true;
        let result = self.write("import a feed", Commit::Durable, |tx| {
            open::for_importing(tx)?;
            import::forget_rows(tx, feed)?;
            let mut writer = Import::new(tx, &place, feed)?;
            match work(&mut writer) {
                // The work may have taken the store's own failure for its own.
                Err(error) => match writer.failure() {
                    Some(failure) => Err(Fault::Sqlite(failure)),
                    None => Err(Fault::Store(StoreError::Import(error))),
                },
                Ok(status) => writer.finish(status),
            }
        });
        if result.is_err() && !self.suspect.get() && self.marker.is_some() {
            // What the failed import wrote ahead may be all that fills the disk.
            self.settle();
        }
        result
    }

    fn remove_feed(&mut self, feed: &FeedId) -> Result<bool, StoreError> {
        self.unsettled = true;
        self.write("remove a feed", Commit::Durable, |tx| {
            import::forget_rows(tx, feed)?;
            tx.execute("DELETE FROM feed_fetch WHERE feed = ?1", [feed.as_str()])?;
            let gone = tx.execute("DELETE FROM feed WHERE name = ?1", [feed.as_str()])?;
            Ok(gone > 0)
        })
    }

    fn confirm_feed(&mut self, feed: &FeedId, as_of: Timestamp) -> Result<(), StoreError> {
        self.write("confirm a feed", Commit::Quick, |tx| {
            let status: Option<String> = tx
                .query_row(
                    "SELECT status FROM feed WHERE name = ?1",
                    [feed.as_str()],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(status) = status else {
                return Err(Fault::Store(StoreError::NoSuchFeed { feed: feed.clone() }));
            };
            let mut status: FeedStatus = decode(&status)?;
            status.as_of = as_of;
            tx.execute(
                "UPDATE feed SET status = ?2 WHERE name = ?1",
                (feed.as_str(), encode(&status)?),
            )?;
            Ok(())
        })
    }

    fn fetch_state(&self, feed: &FeedId) -> Result<Option<FetchState>, StoreError> {
        self.read("read a fetch state", |conn| {
            let state: Option<String> = conn
                .query_row(
                    "SELECT state FROM feed_fetch WHERE feed = ?1",
                    [feed.as_str()],
                    |row| row.get(0),
                )
                .optional()?;
            state.map(|state| decode(&state)).transpose()
        })
    }

    fn record_fetch_state(&mut self, feed: &FeedId, state: &FetchState) -> Result<(), StoreError> {
        self.write("keep a fetch state", Commit::Quick, |tx| {
            tx.execute(
                "INSERT INTO feed_fetch (feed, state) VALUES (?1, ?2)
                 ON CONFLICT (feed) DO UPDATE SET state = excluded.state",
                (feed.as_str(), encode(state)?),
            )?;
            Ok(())
        })
    }

    fn rows(
        &self,
        space: Space,
        keys: &[&str],
        each: &mut dyn FnMut(usize, &FeedId, &[u8]),
    ) -> Result<(), StoreError> {
        self.read("read advisories", |conn| {
            let mut feeds = FeedIds::default();
            // In the order of the index or table: the clauses cost nothing.
            let mut statement = conn.prepare(match space {
                Space::Package => {
                    "SELECT feed, body FROM package_row WHERE key = ?1 ORDER BY feed, id"
                }
                Space::Vulnerability => {
                    "SELECT feed, body FROM vulnerability_row WHERE key = ?1 ORDER BY feed, arrival"
                }
            })?;
            for (index, key) in keys.iter().enumerate() {
                let mut rows = statement.query([key])?;
                while let Some(row) = rows.next()? {
                    let feed = feeds.id(text(row.get_ref(0)?)?)?;
                    each(index, feed, blob(row.get_ref(1)?)?);
                }
            }
            Ok(())
        })
    }

    fn has_rows(&self, space: Space) -> Result<bool, StoreError> {
        self.read("read advisories", |conn| {
            let sql = match space {
                Space::Package => "SELECT EXISTS (SELECT 1 FROM package_row)",
                Space::Vulnerability => "SELECT EXISTS (SELECT 1 FROM vulnerability_row)",
            };
            Ok(conn.query_row(sql, [], |row| row.get(0))?)
        })
    }

    fn all_rows(
        &self,
        space: Space,
        each: &mut dyn FnMut(&str, &FeedId, &[u8]),
    ) -> Result<(), StoreError> {
        self.read("read advisories", |conn| {
            let mut feeds = FeedIds::default();
            let mut statement = conn.prepare(match space {
                Space::Package => "SELECT key, feed, body FROM package_row ORDER BY key, feed, id",
                Space::Vulnerability => {
                    "SELECT key, feed, body FROM vulnerability_row ORDER BY key, feed, arrival"
                }
            })?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let feed = feeds.id(text(row.get_ref(1)?)?)?;
                each(text(row.get_ref(0)?)?, feed, blob(row.get_ref(2)?)?);
            }
            Ok(())
        })
    }

    fn record_facts(&mut self, facts: &HostFacts) -> Result<(), StoreError> {
        self.write("keep facts", Commit::Quick, |tx| {
            let host = facts.host.as_str();
            tx.execute(
                "INSERT INTO host (name, failure) VALUES (?1, NULL)
                 ON CONFLICT (name) DO UPDATE SET failure = NULL",
                [host],
            )?;
            // The newest so far stays as the previous one.
            tx.execute(
                "DELETE FROM facts WHERE host = ?1
                 AND recorded < (SELECT max(recorded) FROM facts WHERE host = ?1)",
                [host],
            )?;
            tx.execute(
                "INSERT INTO facts (host, seen_at, body) VALUES (?1, ?2, ?3)",
                (host, facts.seen_at.as_microsecond(), encode(facts)?),
            )?;
            Ok(())
        })
    }

    fn record_scan_failure(
        &mut self,
        host: &HostName,
        failure: &ScanFailure,
    ) -> Result<(), StoreError> {
        self.write("keep a failed scan", Commit::Quick, |tx| {
            tx.execute(
                "INSERT INTO host (name, failure) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET failure = excluded.failure",
                (host.as_str(), encode(failure)?),
            )?;
            Ok(())
        })
    }

    fn scan_of(&self, host: &HostName) -> Result<ScanState, StoreError> {
        self.read("read facts", |conn| {
            let failure: Option<Option<String>> = conn
                .query_row(
                    "SELECT failure FROM host WHERE name = ?1",
                    [host.as_str()],
                    |row| row.get(0),
                )
                .optional()?;
            let mut statement = conn
                .prepare("SELECT body FROM facts WHERE host = ?1 ORDER BY recorded DESC LIMIT 1")?;
            let mut rows = statement.query([host.as_str()])?;
            let facts = match rows.next()? {
                Some(row) => Some(decode(text(row.get_ref(0)?)?)?),
                None => None,
            };
            Ok(ScanState {
                facts,
                failure: failure.flatten().map(|text| decode(&text)).transpose()?,
            })
        })
    }

    fn scanned_hosts(&self) -> Result<Vec<HostName>, StoreError> {
        self.read("list the hosts", |conn| {
            let mut statement = conn.prepare("SELECT name FROM host ORDER BY name")?;
            let mut rows = statement.query([])?;
            let mut hosts = Vec::new();
            while let Some(row) = rows.next()? {
                hosts.push(HostName::new(text(row.get_ref(0)?)?).map_err(damaged)?);
            }
            Ok(hosts)
        })
    }

    fn findings_of(&self, scope: &str) -> Result<Option<Snapshot>, StoreError> {
        self.read("read findings", |conn| {
            let mut statement = conn.prepare(
                "SELECT at, body FROM check_scope JOIN check_findings USING (scope)
                 WHERE scope = ?1",
            )?;
            let mut rows = statement.query([scope])?;
            let Some(row) = rows.next()? else {
                return Ok(None);
            };
            Ok(Some(Snapshot {
                at: Timestamp::from_microsecond(row.get(0)?).map_err(damaged)?,
                findings: kept::unpack(blob(row.get_ref(1)?)?)?,
            }))
        })
    }

    fn record_check(
        &mut self,
        scope: &str,
        snapshot: &Snapshot,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let commit = if events.is_empty() {
            Commit::Quick
        } else {
            Commit::Durable
        };
        let realm = self.realm;
        self.write("keep a check", commit, |tx| {
            tx.execute(
                "INSERT INTO check_scope (scope, at) VALUES (?1, ?2)
                 ON CONFLICT (scope) DO UPDATE SET at = excluded.at",
                (scope, snapshot.at.as_microsecond()),
            )?;
            // Without the condition equal bytes would be written again, however many.
            tx.execute(
                "INSERT INTO check_findings (scope, body) VALUES (?1, ?2)
                 ON CONFLICT (scope) DO UPDATE SET body = excluded.body
                 WHERE body <> excluded.body",
                (scope, kept::pack(&snapshot.findings)?),
            )?;
            for event in events {
                append(tx, realm, event)?;
            }
            Ok(())
        })
    }

    fn at_one_moment(&self, work: &mut dyn FnMut()) -> Result<(), StoreError> {
        self.read("read", |_| {
            work();
            Ok(())
        })
    }

    fn append_event(&mut self, event: &Event) -> Result<u64, StoreError> {
        let realm = self.realm;
        self.write("append an event", Commit::Durable, |tx| {
            append(tx, realm, event)
        })
    }

    fn append_events(&mut self, events: &[Event]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let realm = self.realm;
        self.write("append events", Commit::Durable, |tx| {
            events
                .iter()
                .try_for_each(|event| append(tx, realm, event).map(drop))
        })
    }

    fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        let after = i64::try_from(seq).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read("read events", |conn| {
            let mut statement =
                conn.prepare("SELECT seq, body FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
            recorded(statement.query([after, limit])?)
        })
    }

    fn record_plan(
        &mut self,
        id: &PlanId,
        canonical: &[u8],
        event: &Event,
    ) -> Result<bool, StoreError> {
        self.keep_plan(id, canonical, event)
    }

    fn plan(&self, id: &PlanId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_plan(id)
    }

    fn plans(&self) -> Result<Vec<KeptPlan>, StoreError> {
        self.list_plans()
    }

    fn plans_with_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<PlanId>, StoreError> {
        self.find_plans(prefix, limit)
    }

    fn record_approval(&mut self, approval: &Approval, event: &Event) -> Result<(), StoreError> {
        self.keep_approval(approval, event)
    }

    fn approvals_of(&self, plan: &PlanId) -> Result<Vec<Approval>, StoreError> {
        self.read_approvals(plan)
    }

    fn events_of_plan(&self, plan: &PlanId, after: u64) -> Result<Vec<RecordedEvent>, StoreError> {
        self.read_topic(plan.as_str(), after)
    }

    fn isolation_events(&self) -> Result<Vec<RecordedEvent>, StoreError> {
        self.read_topic(plans::ISOLATION, 0)
    }

    fn recipe_events(&self) -> Result<Vec<RecordedEvent>, StoreError> {
        self.read_topic(plans::RECIPES, 0)
    }

    fn attack_events(&self) -> Result<Vec<RecordedEvent>, StoreError> {
        self.read_topic(plans::ATTACKS, 0)
    }

    fn held_mail_events(&self) -> Result<Vec<RecordedEvent>, StoreError> {
        self.read_topic(plans::HELD_MAIL, 0)
    }

    fn claim_rollout(
        &mut self,
        plan: &PlanId,
        controller: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<ClaimAnswer, StoreError> {
        self.claim(plan, controller, now, until)
    }

    fn renew_claim(&mut self, claim: &mut Claim, until: Timestamp) -> Result<(), StoreError> {
        self.renew(claim, until)
    }

    fn give_back_claim(&mut self, claim: &Claim) -> Result<(), StoreError> {
        self.give_back(claim)
    }

    fn append_claimed(&mut self, claim: &Claim, events: &[Event]) -> Result<u64, StoreError> {
        self.append_under(claim, events)
    }
}

fn recorded(mut rows: rusqlite::Rows<'_>) -> Result<Vec<RecordedEvent>, Fault> {
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(RecordedEvent {
            seq: u64::try_from(row.get::<_, i64>(0)?).map_err(damaged)?,
            event: decode(text(row.get_ref(1)?)?)?,
        });
    }
    Ok(events)
}

fn append(tx: &Transaction<'_>, realm: Realm, event: &Event) -> Result<u64, Fault> {
    if event.realm != realm {
        return Err(Fault::Store(StoreError::EventOfOtherRealm {
            found: event.realm,
            wanted: realm,
        }));
    }
    let mut statement = tx.prepare(
        "INSERT INTO event (seq, at, topic, body)
         VALUES ((SELECT coalesce(max(seq), 0) + 1 FROM event), ?1, ?2, ?3)",
    )?;
    let at = event.at.as_microsecond();
    let seq = statement.insert((at, plans::topic_of(&event.kind), encode(event)?))?;
    u64::try_from(seq).map_err(damaged)
}

/// The few feed names that rows repeat, each checked once.
#[derive(Default)]
struct FeedIds {
    known: Vec<FeedId>,
    last: usize,
}

impl FeedIds {
    fn id(&mut self, name: &str) -> Result<&FeedId, Fault> {
        let is = |id: &FeedId| id.as_str() == name;
        if !self.known.get(self.last).is_some_and(is) {
            self.last = if let Some(at) = self.known.iter().position(is) {
                at
            } else {
                self.known.push(FeedId::new(name).map_err(damaged)?);
                self.known.len() - 1
            };
        }
        Ok(&self.known[self.last])
    }
}

fn text(value: ValueRef<'_>) -> Result<&str, Fault> {
    value.as_str().map_err(damaged)
}

fn blob(value: ValueRef<'_>) -> Result<&[u8], Fault> {
    value.as_blob().map_err(damaged)
}

fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::Damaged(Box::new(error))
}
