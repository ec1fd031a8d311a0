//! Replacing what a feed said, within one transaction.

use mailkeep_model::{FeedId, FeedStatus, Problem};
use rusqlite::{OptionalExtension, Statement, Transaction};

use super::fault::{Fault, Place, again, encode};
use crate::{FeedWriter, Space, StoreError};

/// Problems kept of one import; the status counts the others. Ten thousand of at most 700
/// characters are a few MB, and more than anybody reads.
const MAX_PROBLEMS: i64 = 10_000;

/// Takes the rows of one feed.
pub(super) struct Import<'tx> {
    tx: &'tx Transaction<'tx>,
    place: &'tx Place,
    feed: &'tx FeedId,
    put_package: Statement<'tx>,
    put_vulnerability: Statement<'tx>,
    put_problem: Statement<'tx>,
    first_package_row: i64,
    package_rows: i64,
    vulnerability_rows: i64,
    problems: i64,
    /// The first failure: the import is lost then, whatever its work makes of it.
    failure: Option<rusqlite::Error>,
}

impl<'tx> Import<'tx> {
    pub(super) fn new(
        tx: &'tx Transaction<'tx>,
        place: &'tx Place,
        feed: &'tx FeedId,
    ) -> Result<Self, Fault> {
        Ok(Self {
            tx,
            place,
            feed,
            put_package: tx
                .prepare("INSERT INTO package_row (key, feed, id, body) VALUES (?1, ?2, ?3, ?4)")?,
            put_vulnerability: tx.prepare(
                "INSERT INTO vulnerability_row (key, feed, arrival, body) VALUES (?1, ?2, ?3, ?4)",
            )?,
            put_problem: tx.prepare(
                "INSERT INTO feed_problem (feed, nth, record, reason) VALUES (?1, ?2, ?3, ?4)",
            )?,
            first_package_row: tx.query_row(
                "SELECT coalesce(max(id), 0) + 1 FROM package_row",
                [],
                |row| row.get(0),
            )?,
            package_rows: 0,
            vulnerability_rows: 0,
            problems: 0,
            failure: None,
        })
    }

    /// The store's own failure during the work, if there was one.
    pub(super) fn failure(&mut self) -> Option<rusqlite::Error> {
        self.failure.take()
    }

    /// Writes what the feed is now.
    pub(super) fn finish(mut self, status: FeedStatus) -> Result<FeedStatus, Fault> {
        if let Some(failure) = self.failure() {
            return Err(Fault::Sqlite(failure));
        }
        if status.id != *self.feed {
            return Err(Fault::Store(StoreError::ImportOfOtherFeed {
                found: status.id,
                wanted: self.feed.clone(),
            }));
        }
        self.tx.execute(
            "INSERT INTO feed (name, status, first_package_row, package_rows, vulnerability_rows)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (name) DO UPDATE SET
                 status = excluded.status,
                 first_package_row = excluded.first_package_row,
                 package_rows = excluded.package_rows,
                 vulnerability_rows = excluded.vulnerability_rows",
            (
                self.feed.as_str(),
                encode(&status)?,
                self.first_package_row,
                self.package_rows,
                self.vulnerability_rows,
            ),
        )?;
        Ok(status)
    }

    fn guard(&mut self, result: rusqlite::Result<usize>) -> Result<(), StoreError> {
        match result {
            Ok(_) => Ok(()),
            Err(error) => {
                self.failure = Some(again(&error));
                Err(self.place.explain("import a feed", Fault::Sqlite(error)))
            }
        }
    }

    /// After a failure SQLite may have ended the transaction: nothing more may be written.
    fn check(&self) -> Result<(), StoreError> {
        match &self.failure {
            None => Ok(()),
            Some(failure) => Err(self
                .place
                .explain("import a feed", Fault::Sqlite(again(failure)))),
        }
    }
}

impl FeedWriter for Import<'_> {
    fn put(&mut self, space: Space, key: &str, body: &[u8]) -> Result<(), StoreError> {
        self.check()?;
        let (statement, place) = match space {
            Space::Package => {
                let id = self.first_package_row + self.package_rows;
                self.package_rows += 1;
                (&mut self.put_package, id)
            }
            Space::Vulnerability => {
                self.vulnerability_rows += 1;
                (&mut self.put_vulnerability, self.vulnerability_rows)
            }
        };
        let result = statement.execute((key, self.feed.as_str(), place, body));
        self.guard(result)
    }

    fn problem(&mut self, problem: &Problem) -> Result<(), StoreError> {
        self.check()?;
        if self.problems == MAX_PROBLEMS {
            return Ok(());
        }
        self.problems += 1;
        let result = self.put_problem.execute((
            self.feed.as_str(),
            self.problems,
            &problem.record,
            &problem.reason,
        ));
        self.guard(result)
    }
}

/// Deletes the rows and problems of a feed, if it has any; its status stays.
pub(super) fn forget_rows(tx: &Transaction<'_>, feed: &FeedId) -> Result<(), Fault> {
    let feed = feed.as_str();
    let had: Option<(i64, i64, i64)> = tx
        .query_row(
            "SELECT first_package_row, package_rows, vulnerability_rows FROM feed WHERE name = ?1",
            [feed],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    let Some((first_package_row, package_rows, vulnerability_rows)) = had else {
        return Ok(());
    };
    tx.execute("DELETE FROM feed_problem WHERE feed = ?1", [feed])?;
    let others: (i64, i64) = tx.query_row(
        "SELECT coalesce(sum(package_rows), 0), coalesce(sum(vulnerability_rows), 0)
         FROM feed WHERE name <> ?1",
        [feed],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    // A feed that is alone in its space goes faster: SQLite empties a table without looking at its
    // rows.
    if package_rows > 0 && others.0 == 0 {
        tx.execute("DELETE FROM package_row", [])?;
    } else if package_rows > 0 {
        tx.execute(
            "DELETE FROM package_row WHERE id >= ?1 AND id < ?1 + ?2",
            [first_package_row, package_rows],
        )?;
    }
    if vulnerability_rows > 0 && others.1 == 0 {
        tx.execute("DELETE FROM vulnerability_row", [])?;
    } else if vulnerability_rows > 0 {
        // They lie by key, not by feed, so this looks at every key of the space.
        tx.execute("DELETE FROM vulnerability_row WHERE feed = ?1", [feed])?;
    }
    Ok(())
}
