//! Findings as they are kept until the next check: postcard, with names that recur written once.
//!
//! Every check reads its last one back, and JSON would be a fifth of its work. What a check usually
//! leaves out (title, evidence) is kept as JSON where it is there, so nothing is ever lost.

use std::collections::BTreeMap;

use jiff::civil::Date;
use mailkeep_model::{
    AdvisoryId, Decision, Evidence, Finding, HostName, Lane, Platform, Severity, Status, Surface,
    TeamName, Urgency, Verdict,
};
use rusqlite::Transaction;
use serde::{Deserialize, Serialize};

use super::fault::{Fault, decode, encode};
use super::{damaged, text};

/// The only format so far; the first byte. The order of the enums of the model is part of it.
const FORMAT: u8 = 1;

/// A day: year, month, day.
type Day = (i16, i8, i8);

#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    #[serde(borrow)]
    hosts: Vec<&'a str>,
    /// Ecosystem and release.
    #[serde(borrow)]
    platforms: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    owners: Vec<&'a str>,
    /// How many rows follow, one after the other.
    rows: usize,
}

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    /// Places in the lists of [`Kept`].
    host: u32,
    platform: u32,
    owner: Option<u32>,
    advisory: &'a str,
    #[serde(borrow)]
    aliases: Vec<&'a str>,
    package: &'a str,
    installed: &'a str,
    fixed: Option<&'a str>,
    status: Status,
    surface: Surface,
    urgency: Option<Urgency>,
    severity: Severity,
    score: Option<f64>,
    kev: bool,
    epss: Option<f32>,
    decision: Option<Decision>,
    lane: Option<Lane>,
    deadline: Option<Day>,
    first_seen: Option<Day>,
    /// The whole verdict as JSON, where it says more than the fields above.
    rest: Option<String>,
}

/// Writes findings.
pub(super) fn pack(findings: &[Finding]) -> Result<Vec<u8>, Fault> {
    let mut hosts = Places::default();
    let mut platforms = Places::default();
    let mut owners = Places::default();
    let mut rows = Vec::with_capacity(findings.len());
    for finding in findings {
        let verdict = &finding.verdict;
        let platform = &verdict.platform;
        rows.push(Row {
            host: hosts.of(finding.host.as_str()),
            platform: platforms.of((platform.ecosystem.name(), &*platform.release)),
            owner: finding.owner.as_ref().map(|team| owners.of(team.as_str())),
            advisory: verdict.advisory.as_str(),
            aliases: verdict.aliases.iter().map(AdvisoryId::as_str).collect(),
            package: &verdict.package,
            installed: &verdict.installed,
            fixed: verdict.fixed.as_deref(),
            status: verdict.status,
            surface: verdict.surface,
            urgency: verdict.urgency,
            severity: finding.severity,
            score: finding.score,
            kev: finding.kev,
            epss: finding.epss,
            decision: finding.decision,
            lane: finding.lane,
            deadline: finding.deadline.map(day),
            first_seen: finding.first_seen.map(day),
            rest: if says_no_more(verdict) {
                None
            } else {
                Some(encode(verdict)?)
            },
        });
    }
    let kept = Kept {
        hosts: hosts.list,
        platforms: platforms.list,
        owners: owners.list,
        rows: rows.len(),
    };
    let mut bytes = postcard::to_extend(&kept, vec![FORMAT]).map_err(damaged)?;
    for row in &rows {
        bytes = postcard::to_extend(row, bytes).map_err(damaged)?;
    }
    Ok(bytes)
}

/// Reads findings back.
pub(super) fn unpack(bytes: &[u8]) -> Result<Vec<Finding>, Fault> {
    let Some((&FORMAT, bytes)) = bytes.split_first() else {
        return Err(damaged(Unreadable));
    };
    let (kept, mut bytes) = postcard::take_from_bytes::<Kept<'_>>(bytes).map_err(damaged)?;
    let hosts = all(&kept.hosts, |name| HostName::new(name).map_err(damaged))?;
    let owners = all(&kept.owners, |name| TeamName::new(name).map_err(damaged))?;
    let platforms = all(&kept.platforms, |&(ecosystem, release)| {
        Ok(Platform {
            ecosystem: ecosystem.to_owned().into(),
            release: release.into(),
        })
    })?;
    let id = |name: &&str| AdvisoryId::new(name).map_err(damaged);
    // A row takes more than a byte, whatever damaged bytes promise.
    let mut findings = Vec::with_capacity(kept.rows.min(bytes.len()));
    for _ in 0..kept.rows {
        let (row, rest) = postcard::take_from_bytes::<Row<'_>>(bytes).map_err(damaged)?;
        bytes = rest;
        let verdict = match &row.rest {
            Some(verdict) => decode(verdict)?,
            None => Verdict {
                advisory: id(&row.advisory)?,
                aliases: all(&row.aliases, id)?,
                title: Box::default(),
                platform: at(&platforms, row.platform)?,
                package: row.package.into(),
                binaries: Vec::new(),
                installed: row.installed.into(),
                fixed: row.fixed.map(Into::into),
                status: row.status,
                surface: row.surface,
                urgency: row.urgency,
                cvss: None,
                evidence: Evidence::forgotten(),
            },
        };
        findings.push(Finding {
            host: at(&hosts, row.host)?,
            verdict,
            severity: row.severity,
            score: row.score,
            kev: row.kev,
            epss: row.epss,
            decision: row.decision,
            lane: row.lane,
            deadline: row.deadline.map(date).transpose()?,
            first_seen: row.first_seen.map(date).transpose()?,
            owner: row.owner.map(|place| at(&owners, place)).transpose()?,
        });
    }
    if bytes.is_empty() {
        Ok(findings)
    } else {
        Err(damaged(Unreadable))
    }
}

/// Takes over what an older schema kept as JSON in `check_findings_text`.
pub(super) fn convert(tx: &Transaction<'_>) -> Result<(), Fault> {
    let mut old = tx.prepare("SELECT scope, body FROM check_findings_text")?;
    let mut rows = old.query([])?;
    while let Some(row) = rows.next()? {
        let findings: Vec<Finding> = decode(text(row.get_ref(1)?)?)?;
        tx.execute(
            "INSERT INTO check_findings (scope, body) VALUES (?1, ?2)",
            (text(row.get_ref(0)?)?, pack(&findings)?),
        )?;
    }
    drop(rows);
    drop(old);
    tx.execute_batch("DROP TABLE check_findings_text")?;
    Ok(())
}

/// Bytes that [`pack`] never writes.
#[derive(Debug, thiserror::Error)]
#[error("they are of no known format")]
struct Unreadable;

/// Texts, each once, in the order of their first use.
struct Places<T> {
    list: Vec<T>,
    of: BTreeMap<T, u32>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            of: BTreeMap::new(),
        }
    }
}

impl<T: Copy + Ord> Places<T> {
    fn of(&mut self, value: T) -> u32 {
        *self.of.entry(value).or_insert_with(|| {
            self.list.push(value);
            u32::try_from(self.list.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

fn at<T: Clone>(list: &[T], place: u32) -> Result<T, Fault> {
    usize::try_from(place)
        .ok()
        .and_then(|place| list.get(place))
        .cloned()
        .ok_or_else(|| damaged(Unreadable))
}

fn all<T, U>(list: &[T], read: impl Fn(&T) -> Result<U, Fault>) -> Result<Vec<U>, Fault> {
    list.iter().map(read).collect()
}

fn day(date: Date) -> Day {
    (date.year(), date.month(), date.day())
}

fn date((year, month, day): Day) -> Result<Date, Fault> {
    Date::new(year, month, day).map_err(damaged)
}

/// Whether the fields of a [`Row`] are all of a verdict.
fn says_no_more(verdict: &Verdict) -> bool {
    verdict.title.is_empty()
        && verdict.binaries.is_empty()
        && verdict.cvss.is_none()
        && verdict.evidence.is_forgotten()
}

#[cfg(test)]
mod tests {
    use mailkeep_model::{Realm, Timestamp};
    use serde_json::json;

    use super::*;
    use crate::{Snapshot, SqliteStore, Store};

    fn findings() -> Vec<Finding> {
        let bare = json!({
            "host": "mx1",
            "verdict": {
                "advisory": "CVE-2026-1000", "aliases": ["DSA-6000-1"],
                "platform": { "ecosystem": "Debian", "release": "bookworm" },
                "package": "exim4", "installed": "4.96-15", "fixed": "4.96-15+deb12u2",
                "status": "restart-pending", "surface": "dependency", "urgency": "medium",
            },
            "severity": "high", "score": 9.8, "kev": true, "epss": 0.5,
            "decision": "Track*", "lane": "regular", "deadline": "2026-12-01",
            "first_seen": "2026-11-01", "owner": "mail"
        });
        let mut whole = bare.clone();
        whole["host"] = json!("mx2");
        whole["owner"] = json!(null);
        whole["deadline"] = json!(null);
        whole["verdict"]["title"] = json!("a hole");
        whole["verdict"]["binaries"] = json!(["exim4-base"]);
        [bare, whole]
            .map(|finding| serde_json::from_value(finding).unwrap())
            .to_vec()
    }

    #[test]
    fn findings_are_read_back_as_they_were() {
        assert_eq!(unpack(&pack(&findings()).unwrap()).unwrap(), findings());
        assert_eq!(unpack(&pack(&[]).unwrap()).unwrap(), []);
    }

    /// What other versions of Mailkeep wrote must stay readable: if this fails because an enum of the
    /// model has a new order, give the old order back, or count `FORMAT` up and read both.
    #[test]
    fn the_bytes_of_a_finding_are_those_of_format_one() {
        let bytes = pack(&findings()[..1]).unwrap();
        assert_eq!(
            bytes.escape_ascii().to_string(),
            "\\x01\\x01\\x03mx1\\x01\\x06Debian\\x08bookworm\\x01\\x04mail\\x01\\x00\\x00\\x01\\x00\\r\
             CVE-2026-1000\\x01\\nDSA-6000-1\\x05exim4\\x074.96-15\\x01\\x0f4.96-15+deb12u2\\x04\\x01\\x01\
             \\x03\\x04\\x01\\x9a\\x99\\x99\\x99\\x99\\x99#@\\x01\\x01\\x00\\x00\\x00?\\x01\\x01\\x01\
             \\x01\\x01\\xd4\\x1f\\x0c\\x01\\x01\\xd4\\x1f\\x0b\\x01\\x00"
        );
        let numbers = [0, 1, 2, 3, 4, 5, 6, 7, 8];
        let first = |count: usize| numbers[..count].to_vec();
        assert_eq!(packed(&Status::ALL), first(9));
        let surfaces = [Surface::Mail, Surface::Dependency, Surface::Other];
        assert_eq!(packed(&surfaces), first(3));
        let urgencies = [
            Urgency::Unimportant,
            Urgency::NotYetAssigned,
            Urgency::Low,
            Urgency::Medium,
            Urgency::High,
            Urgency::Critical,
        ];
        assert_eq!(packed(&urgencies), first(6));
        let severities = [
            Severity::Unknown,
            Severity::None,
            Severity::Low,
            Severity::Medium,
            Severity::High,
            Severity::Critical,
        ];
        assert_eq!(packed(&severities), first(6));
        let decisions = [
            Decision::Track,
            Decision::TrackStar,
            Decision::Attend,
            Decision::Act,
        ];
        assert_eq!(packed(&decisions), first(4));
        assert_eq!(packed(&[Lane::Emergency, Lane::Regular]), first(2));
    }

    fn packed<T: Serialize>(values: &[T]) -> Vec<u8> {
        let each = values
            .iter()
            .map(|value| postcard::to_allocvec(value).unwrap());
        each.flatten().collect()
    }

    #[test]
    fn what_an_older_schema_kept_as_json_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(dir.path(), Realm::Live).unwrap();
        let snapshot = Snapshot {
            at: Timestamp::UNIX_EPOCH,
            findings: findings(),
        };
        store.record_check("fleet", &snapshot, &[]).unwrap();
        // As the second schema had it.
        store
            .conn
            .execute_batch(
                "DROP TABLE check_findings;
                 CREATE TABLE check_findings (
                     scope TEXT NOT NULL PRIMARY KEY REFERENCES check_scope (scope),
                     body TEXT NOT NULL
                 ) STRICT;
                 PRAGMA user_version = 2;",
            )
            .unwrap();
        let body = encode(&snapshot.findings).unwrap();
        let insert = "INSERT INTO check_findings (scope, body) VALUES ('fleet', ?1)";
        store.conn.execute(insert, [body]).unwrap();
        drop(store);
        let store = SqliteStore::open(dir.path(), Realm::Live).unwrap();
        assert_eq!(store.findings_of("fleet").unwrap(), Some(snapshot));
        store.check_integrity().unwrap();
    }

    #[test]
    fn damaged_bytes_are_an_error_never_a_panic() {
        let bytes = pack(&findings()).unwrap();
        for end in 0..bytes.len() {
            assert!(unpack(&bytes[..end]).is_err(), "cut at {end}");
        }
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut wrong = bytes.clone();
                wrong[place] ^= 1 << bit;
                drop(unpack(&wrong));
            }
        }
    }
}
