//! The tables, and how an older database is brought up to date.
//!
//! A migration is never edited once released: a change is a new one at the end of [`MIGRATIONS`].

/// `application_id` of the file (SQLite file format, section 1.3.14): "MKEP".
pub(super) const APPLICATION_ID: i64 = 0x4d4b_4550;

/// The schema this program writes: `user_version` of the file.
pub(super) const VERSION: i64 = 4;

/// Tables the current schema has; a file without them is damaged.
pub(super) const TABLES: [&str; 13] = [
    "approval",
    "check_findings",
    "check_scope",
    "event",
    "facts",
    "feed",
    "feed_fetch",
    "feed_problem",
    "host",
    "package_row",
    "plan",
    "rollout_claim",
    "vulnerability_row",
];

/// Migration `n` (from 1) leads from schema `n - 1` to `n`; each runs in one transaction. The third is
/// ended by [`super::kept::convert`].
pub(super) const MIGRATIONS: [&str; 4] = [V1, V2, V3, V4];

// Rows about packages are 1 to 5 KB each. They lie in the order of their import, each feed's side by
// side (`first_package_row` and `package_rows` say where), so that an import appends, and replacing
// it deletes one range; the index finds a key. Clustered by key instead, half of them would not fit
// into a page of the index tree and take a page of their own: three times the file, half the speed.
//
// Rows about vulnerabilities are small and many. They are clustered by key, which saves the index;
// `arrival` counts a feed's rows, so that rows of one key keep their order.
//
// There is no foreign key from the rows to `feed`: it would cost a search for every row of an import,
// and the import writes both in one transaction anyway.
//
// `check_findings` is apart from `check_scope` so that a check that found the same as the last
// writes one small row, not all findings again.
const V1: &str = "
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    realm TEXT NOT NULL
) STRICT;

CREATE TABLE feed (
    name TEXT NOT NULL PRIMARY KEY,
    status TEXT NOT NULL,
    first_package_row INTEGER NOT NULL,
    package_rows INTEGER NOT NULL,
    vulnerability_rows INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE feed_problem (
    feed TEXT NOT NULL REFERENCES feed (name) DEFERRABLE INITIALLY DEFERRED,
    nth INTEGER NOT NULL,
    record TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (feed, nth)
) STRICT, WITHOUT ROWID;

CREATE TABLE feed_fetch (
    feed TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE package_row (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    feed TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX package_row_by_key ON package_row (key, feed);

CREATE TABLE vulnerability_row (
    key TEXT NOT NULL,
    feed TEXT NOT NULL,
    arrival INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (key, feed, arrival)
) STRICT, WITHOUT ROWID;

CREATE TABLE host (
    name TEXT NOT NULL PRIMARY KEY,
    failure TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE facts (
    recorded INTEGER PRIMARY KEY,
    host TEXT NOT NULL REFERENCES host (name),
    seen_at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX facts_of_host ON facts (host, recorded);

CREATE TABLE check_scope (
    scope TEXT NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE check_findings (
    scope TEXT NOT NULL PRIMARY KEY REFERENCES check_scope (scope),
    body TEXT NOT NULL
) STRICT;

CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE TRIGGER event_is_never_changed BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER event_is_never_deleted BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER event_follows_the_last BEFORE INSERT ON event
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM event)
BEGIN SELECT RAISE(ABORT, 'events are numbered without gaps'); END;
";

// A plan is kept for good: what people approved must be there to be read. Its bytes may be
// megabytes, hence a table with row numbers.
//
// `topic` says which few events of a long log belong together: the id of a plan, or a word such as
// `isolation`. The body says it too; the column is there for the index.
//
// `rollout_claim` has no more than a row for each plan, and keeps it after the end: its fencing number
// must never come down.
const V2: &str = "
CREATE TABLE plan (
    kept INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TRIGGER plan_is_never_changed BEFORE UPDATE ON plan
BEGIN SELECT RAISE(ABORT, 'plans are immutable'); END;

CREATE TABLE approval (
    nth INTEGER PRIMARY KEY,
    plan TEXT NOT NULL REFERENCES plan (id),
    region TEXT,
    team TEXT NOT NULL,
    digest TEXT NOT NULL,
    signature TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX approval_of_plan ON approval (plan, nth);

CREATE TABLE rollout_claim (
    plan TEXT NOT NULL PRIMARY KEY REFERENCES plan (id),
    controller TEXT NOT NULL,
    fence INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE event ADD COLUMN topic TEXT;
CREATE INDEX event_of_topic ON event (topic, seq) WHERE topic IS NOT NULL;
";

// Findings as `kept` packs them, no longer as JSON.
const V3: &str = "
ALTER TABLE check_findings RENAME TO check_findings_text;
CREATE TABLE check_findings (
    scope TEXT NOT NULL PRIMARY KEY REFERENCES check_scope (scope),
    body BLOB NOT NULL
) STRICT;
";

// Topics for events that had none: those of `plans::topic_of`. What the events say stays as it was.
const V4: &str = "
DROP TRIGGER event_is_never_changed;
UPDATE event SET topic = 'attacks' WHERE body ->> 'kind' = 'attack-seen';
UPDATE event SET topic = 'held-mail' WHERE body ->> 'kind' IN ('message-released', 'held-mail-told');
CREATE TRIGGER event_is_never_changed BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_counts_the_migrations() {
        assert_eq!(usize::try_from(VERSION), Ok(MIGRATIONS.len()));
    }
}
