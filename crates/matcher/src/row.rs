//! Statements as compact rows: packed once at import, read without copying at a check.
//!
//! A row is a [`Statement`] without its package name (that is the key), with every version beside
//! its order-preserving key. Rows of one key lie one after another, in blocks ([`block`]); a store
//! filled by an older Mailkeep has them one by one in postcard's wire format.

mod block;

use std::ops::Range;

use mailkeep_model::{Ecosystem, OpenState, PackageKind, Statement, Urgency, Voice};
use serde::{Deserialize, Serialize};

pub use self::block::RowBuilder;
use self::block::Tables;

/// The key under which a package's rows are kept: `Debian/exim4`.
pub fn package_key(ecosystem: &Ecosystem, package: &str) -> String {
    let ecosystem = ecosystem.name();
    let mut key = String::with_capacity(ecosystem.len() + 1 + package.len());
    key.push_str(ecosystem);
    key.push('/');
    key.push_str(package);
    key
}

/// The key of a statement's rows.
pub fn statement_key(statement: &Statement) -> String {
    package_key(&statement.ecosystem, &statement.package)
}

/// A version as the source wrote it, and its key; the key is empty where the version cannot be
/// ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowVersion<'a> {
    /// As written.
    pub text: &'a str,
    /// Order-preserving key, [`crate::version`].
    #[serde(borrow)]
    pub key: &'a [u8],
}

/// A statement as read from its row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecodedRow<'a> {
    /// See [`Statement::advisory`].
    pub advisory: &'a str,
    /// See [`Statement::aliases`].
    #[serde(borrow)]
    pub aliases: Vec<&'a str>,
    /// See [`Statement::package_kind`].
    pub kind: PackageKind,
    /// See [`Statement::module`].
    pub module: Option<&'a str>,
    /// See [`Statement::voice`].
    pub voice: Voice,
    /// See [`Statement::title`].
    pub title: &'a str,
    /// See [`Statement::cvss`].
    pub cvss: Option<&'a str>,
    /// See [`Statement::claims`].
    #[serde(borrow)]
    pub claims: Vec<RowClaim<'a>>,
}

/// See [`Claim`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowClaim<'a> {
    /// See [`Claim::release`].
    pub release: Option<&'a str>,
    /// See [`Claim::kind`].
    #[serde(borrow)]
    pub kind: RowKind<'a>,
    /// See [`Claim::urgency`].
    pub urgency: Option<Urgency>,
    /// See [`Claim::note`].
    pub note: Option<&'a str>,
    /// See [`Claim::in_repository`].
    #[serde(borrow)]
    pub in_repository: Option<RowVersion<'a>>,
}

/// See [`ClaimKind`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowKind<'a> {
    /// See [`ClaimKind::Affected`].
    Affected {
        /// Ranges.
        #[serde(borrow)]
        ranges: Vec<RowRange<'a>>,
        /// Versions listed one by one.
        versions: Vec<&'a str>,
    },
    /// See [`ClaimKind::FixedIn`].
    #[serde(borrow)]
    FixedIn(RowVersion<'a>),
    /// See [`ClaimKind::NotAffected`].
    NotAffected,
    /// See [`ClaimKind::Open`].
    Open(OpenState),
    /// See [`ClaimKind::Undetermined`].
    Undetermined,
}

/// See [`VersionRange`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowRange<'a> {
    /// First affected version; `None` is from the beginning.
    #[serde(borrow)]
    pub introduced: Option<RowVersion<'a>>,
    /// Where it ends.
    #[serde(borrow)]
    pub end: RowEnd<'a>,
}

/// See [`RangeEnd`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowEnd<'a> {
    /// See [`RangeEnd::Fixed`].
    #[serde(borrow)]
    Fixed(RowVersion<'a>),
    /// See [`RangeEnd::LastAffected`].
    LastAffected(RowVersion<'a>),
    /// See [`RangeEnd::Limit`].
    Limit(RowVersion<'a>),
    /// See [`RangeEnd::Open`].
    Open,
}

/// A row that cannot be packed or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// Its bytes are no row.
    #[error("a row of the advisory index is damaged")]
    Damaged(#[from] postcard::Error),
    /// It names its advisory by a text that is no id.
    #[error("a row of the advisory index is damaged")]
    Id(#[from] mailkeep_model::InvalidId),
}

/// What the rows of a key take, generously; memory that is not used is never touched.
const BYTES_OF_A_KEY: usize = 6 * 1024;

/// Asked for at the start, at most: some systems count memory that is not touched.
const MOST_ROOM: usize = 8 * 1024 * 1024;

/// Rows fetched for a set of keys, kept in one buffer.
#[derive(Debug, Default)]
pub struct PackageRows {
    bytes: Vec<u8>,
    /// For each body: the key's number, the feed's number, where it lies. Sorted by key as pushed.
    bodies: Vec<(usize, usize, Range<usize>)>,
}

impl PackageRows {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// No rows yet, with room for those of so many keys as feeds have them: grown step by step, all of
    /// them would be copied again and again.
    pub fn with_room(keys: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(keys.saturating_mul(BYTES_OF_A_KEY).min(MOST_ROOM)),
            bodies: Vec::with_capacity(keys),
        }
    }

    /// Adds a body found under key number `key` in feed number `feed`. Keys come in ascending order.
    pub fn push(&mut self, key: usize, feed: usize, body: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(body);
        self.bodies.push((key, feed, start..self.bytes.len()));
    }

    /// Forgets all rows; their room is used again.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bodies.clear();
    }

    /// How many bytes the rows take.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Decodes the rows of one key, each with its feed's number. A damaged row is an error: the
    /// store is checked, so this is a bug or a broken disk, and silence would be a wrong answer.
    pub fn of(&self, key: usize) -> Result<Vec<(usize, DecodedRow<'_>)>, RowError> {
        let mut rows = Vec::new();
        self.add_to(&mut rows, key, |_| true)?;
        Ok(rows)
    }

    /// Adds those rows of one key that are `wanted`, as [`PackageRows::of`] decodes them.
    pub(crate) fn add_to<'a>(
        &'a self,
        rows: &mut Vec<(usize, DecodedRow<'a>)>,
        key: usize,
        wanted: impl Fn(&DecodedRow<'a>) -> bool,
    ) -> Result<(), RowError> {
        let first = self.bodies.partition_point(|(k, _, _)| *k < key);
        for (_, feed, span) in self.bodies[first..]
            .iter()
            .take_while(|(k, _, _)| *k == key)
        {
            read_rows(&self.bytes[span.clone()], |row| {
                if wanted(&row) {
                    rows.push((*feed, row));
                }
            })?;
        }
        Ok(())
    }
}

/// Reads the rows of a body, one after the other, until the first damaged one.
///
/// # Errors
///
/// A damaged row.
pub fn read_rows<'a>(
    mut body: &'a [u8],
    mut each: impl FnMut(DecodedRow<'a>),
) -> Result<(), RowError> {
    let mut tables = Tables::default();
    while !body.is_empty() {
        body = if let Some(block) = body.strip_prefix(&block::MARK) {
            tables.read_block(block, &mut each)?
        } else {
            let (row, rest) = postcard::take_from_bytes(body)?;
            each(row);
            rest
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mailkeep_model::{AdvisoryId, Claim, ClaimKind, RangeEnd, VersionRange, VersionScheme};

    use super::*;
    use crate::version;

    fn statement() -> Statement {
        Statement {
            advisory: AdvisoryId::new("CVE-2023-42115").unwrap(),
            aliases: vec![AdvisoryId::new("DSA-5512-1").unwrap()],
            ecosystem: Ecosystem::Debian,
            package: "exim4".into(),
            package_kind: PackageKind::Source,
            module: None,
            voice: Voice::Distributor,
            title: "AUTH out-of-bounds write".into(),
            cvss: None,
            claims: vec![
                Claim {
                    release: Some("bookworm".into()),
                    kind: ClaimKind::FixedIn {
                        version: "4.96-15+deb12u2".into(),
                    },
                    urgency: Some(Urgency::High),
                    note: None,
                    in_repository: None,
                },
                Claim {
                    release: None,
                    kind: ClaimKind::Affected {
                        ranges: vec![VersionRange {
                            introduced: Some("4.0".into()),
                            end: RangeEnd::Fixed("4.97~RC1-2".into()),
                        }],
                        versions: vec!["4.1".into()],
                    },
                    urgency: None,
                    note: Some("n".into()),
                    in_repository: Some("4.96-15".into()),
                },
            ],
        }
    }

    #[test]
    fn a_statement_survives_its_row_and_carries_its_version_keys() {
        let mut body = RowBuilder::body_of([&statement()]);
        body.extend(RowBuilder::body_of([&statement(), &statement()]));
        let mut rows = PackageRows::new();
        rows.push(0, 7, &body);
        let read = rows.of(0).unwrap();
        assert_eq!(read.len(), 3);
        let (feed, row) = &read[1];
        assert_eq!(
            (*feed, row.advisory, row.aliases.as_slice()),
            (7, "CVE-2023-42115", &["DSA-5512-1"][..])
        );
        let RowKind::FixedIn(fixed) = &row.claims[0].kind else {
            panic!("{row:?}")
        };
        assert_eq!(fixed.text, "4.96-15+deb12u2");
        let key = version::key(VersionScheme::Dpkg, "4.96-15+deb12u2").unwrap();
        assert_eq!(fixed.key, key.as_bytes());
        assert!(rows.of(1).unwrap().is_empty());
    }

    #[test]
    fn rows_of_an_older_mailkeep_are_read_between_those_of_a_newer_one() {
        let block = RowBuilder::body_of([&statement()]);
        let mut only = PackageRows::new();
        only.push(0, 7, &block);
        let [(_, row)] = only.of(0).unwrap().try_into().unwrap();
        let mut body = postcard::to_allocvec(&row).unwrap();
        body.extend_from_slice(&block);
        let body = postcard::to_extend(&row, body).unwrap();
        let mut rows = PackageRows::new();
        rows.push(0, 7, &body);
        let read = rows.of(0).unwrap();
        assert_eq!(read.len(), 3);
        assert!(read.iter().all(|(_, read)| *read == row));
    }

    /// A silent misreading would be a wrong answer; "import the feeds again" is a right one.
    #[test]
    fn an_older_mailkeep_calls_a_block_damaged() {
        let body = RowBuilder::body_of([&statement()]);
        postcard::take_from_bytes::<DecodedRow<'_>>(&body).unwrap_err();
        let long = body.repeat(100);
        postcard::take_from_bytes::<DecodedRow<'_>>(&long).unwrap_err();
    }

    #[test]
    fn a_damaged_row_is_an_error_and_no_silence() {
        let body = RowBuilder::body_of([&statement()]);
        let mut rows = PackageRows::new();
        rows.push(0, 0, &body[..body.len() - 3]);
        assert!(rows.of(0).is_err());
    }
}
