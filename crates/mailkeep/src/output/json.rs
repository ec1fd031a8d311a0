//! `--format json`: schema `mailkeep.check/1`, published as `docs/check.schema.json`.
//!
//! Names in it are stable; fields may be added, never renamed or removed within `/1`.

use std::io::{self, Write};

use jiff::civil::Date;
use mailkeep_model::{
    AdvisoryId, Evidence, FeedState, Finding, HostAnswer, HostName, Severity, Status, Surface,
    TeamName, Timestamp, Urgency, text::day,
};
use mailkeep_triage::{Change, ChangeKind};
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

use super::escaped;
use crate::answer::{Answer, Counts, FeedAnswer};

/// Name and version of the schema.
pub const SCHEMA: &str = "mailkeep.check/1";

/// Writes an answer as one JSON document.
pub fn write(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    write_counted(answer, answer.counts(), out)
}

/// Writes part of an answer, with the counts of the whole.
pub fn write_counted(answer: &Answer, counts: Counts, out: &mut dyn Write) -> io::Result<()> {
    // Straight from the answer: one about a fleet should not stand in memory a second time, as text.
    escaped::write_json(&Document::of(answer, counts), out)
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    generated_at: Timestamp,
    scope: &'a str,
    feeds: Vec<Feed<'a>>,
    hosts: Vec<Host<'a>>,
    findings: Findings<'a>,
    counts: Counts,
    changes: Option<Vec<ChangeItem<'a>>>,
}

#[derive(Serialize)]
struct Feed<'a> {
    source: &'a str,
    kind: &'static str,
    as_of: Timestamp,
    stale: bool,
    state: FeedState,
    whole: bool,
    records: u64,
    problems: u64,
}

#[derive(Serialize)]
struct Host<'a> {
    name: &'a HostName,
    status: &'static str,
    facts_as_of: Option<Timestamp>,
    system: Option<&'a str>,
    reasons: Vec<Reason<'a>>,
    limitations: &'a [String],
}

#[derive(Serialize)]
struct Reason<'a> {
    kind: &'static str,
    text: &'a str,
}

/// Made one by one while they are written.
struct Findings<'a>(&'a [Finding]);

impl Serialize for Findings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        // Findings of one host lie side by side, or nearly: its platform is shown once for many.
        let mut shown = String::new();
        let mut of = None;
        for finding in self.0 {
            let platform = &finding.verdict.platform;
            if of != Some(platform) {
                shown = platform.to_string();
                of = Some(platform);
            }
            list.serialize_element(&item(finding, &shown))?;
        }
        list.end()
    }
}

/// A day, as it serializes itself.
struct Day(Date);

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match day(self.0, &mut [0; 10]) {
            Some(text) => serializer.serialize_str(text),
            None => self.0.serialize(serializer),
        }
    }
}

#[derive(Serialize)]
struct Item<'a> {
    host: &'a HostName,
    advisory: &'a AdvisoryId,
    aliases: &'a [AdvisoryId],
    title: &'a str,
    /// As it is shown, not as it is kept.
    ecosystem: &'a str,
    package: &'a str,
    binaries: &'a [Box<str>],
    installed: &'a str,
    fixed: Option<&'a str>,
    status: Status,
    surface: Surface,
    severity: Severity,
    urgency: Option<Urgency>,
    cvss: Option<f64>,
    cvss_vector: Option<&'a str>,
    kev: bool,
    epss: Option<f64>,
    decision: Option<&'static str>,
    lane: Option<&'static str>,
    deadline: Option<Day>,
    first_seen: Option<Day>,
    owner: Option<&'a TeamName>,
    evidence: &'a Evidence,
}

#[derive(Serialize)]
struct ChangeItem<'a> {
    change: &'static str,
    host: &'a HostName,
    advisory: &'a AdvisoryId,
    package: &'a str,
    status: Option<Status>,
    was: Option<Status>,
    detail: Option<&'a str>,
    owner: Option<&'a TeamName>,
}

impl<'a> Document<'a> {
    fn of(answer: &'a Answer, counts: Counts) -> Self {
        Self {
            schema: SCHEMA,
            generated_at: answer.generated_at,
            scope: &answer.scope,
            feeds: answer.feeds.iter().map(feed).collect(),
            hosts: answer.hosts.iter().map(host).collect(),
            findings: Findings(&answer.findings),
            counts,
            changes: answer
                .changes
                .as_ref()
                .map(|changes| changes.iter().map(change).collect()),
        }
    }
}

fn feed(feed: &FeedAnswer) -> Feed<'_> {
    Feed {
        source: feed.status.id.as_str(),
        kind: feed.status.kind.name(),
        as_of: feed.status.as_of,
        stale: feed.state != FeedState::Fresh,
        state: feed.state,
        whole: feed.status.whole,
        records: feed.status.records,
        problems: feed.status.problems,
    }
}

fn host(host: &HostAnswer) -> Host<'_> {
    Host {
        name: &host.name,
        status: host.status.name(),
        facts_as_of: host.facts_as_of,
        system: host.system.as_deref(),
        reasons: host
            .reasons
            .iter()
            .map(|(kind, text)| Reason {
                kind: kind.name(),
                text,
            })
            .collect(),
        limitations: &host.limitations,
    }
}

fn item<'a>(finding: &'a Finding, platform: &'a str) -> Item<'a> {
    let verdict = &finding.verdict;
    Item {
        host: &finding.host,
        advisory: &verdict.advisory,
        aliases: &verdict.aliases,
        title: &verdict.title,
        ecosystem: platform,
        package: &verdict.package,
        binaries: &verdict.binaries,
        installed: &verdict.installed,
        fixed: verdict.fixed.as_deref(),
        status: verdict.status,
        surface: verdict.surface,
        severity: finding.severity,
        urgency: verdict.urgency,
        cvss: finding.score,
        cvss_vector: verdict.cvss.as_deref(),
        kev: finding.kev,
        epss: finding.epss.map(five_digits),
        decision: finding.decision.map(mailkeep_model::Decision::name),
        lane: finding.lane.map(mailkeep_model::Lane::name),
        deadline: finding.deadline.map(Day),
        first_seen: finding.first_seen.map(Day),
        owner: finding.owner.as_ref(),
        evidence: &verdict.evidence,
    }
}

/// EPSS is published with five decimals; a single-precision number printed as a double would show
/// more than was said.
fn five_digits(score: f32) -> f64 {
    (f64::from(score) * 1e5).round() / 1e5
}

fn change(change: &Change) -> ChangeItem<'_> {
    let (name, status, was, detail) = match &change.kind {
        ChangeKind::New { status } => ("new", Some(*status), None, None),
        ChangeKind::Gone { was, now } => ("gone", *now, Some(*was), None),
        ChangeKind::Changed { status, change } => {
            ("changed", Some(*status), None, Some(change.as_str()))
        }
    };
    ChangeItem {
        change: name,
        host: &change.host,
        advisory: &change.advisory,
        package: &change.package,
        status,
        was,
        detail,
        owner: change.owner.as_ref(),
    }
}
