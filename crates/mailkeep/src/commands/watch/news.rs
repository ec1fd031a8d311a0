//! What is told to whom: changes of findings, hosts that became unknown or known again, feeds that
//! became stale or fresh again.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use mailkeep_model::{
    AdvisoryId, FeedId, FeedState, Finding, Fleet, HostName, HostStatus, Lane, Realm, Surface,
    TeamName, UnknownReason, Urgency, text,
};
use mailkeep_store::Snapshot;
use mailkeep_triage::Change;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::app::{App, write_private};
use crate::fleet::NotifySettings;
use crate::output::table::change_line;

/// Changes told to one owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Whose.
    pub owner: Option<TeamName>,
    /// When it was found.
    pub at: Timestamp,
    /// One line.
    pub subject: String,
    /// For a person.
    pub text: String,
    /// For a program: `{"schema": "mailkeep.notice/1", "realm": ..., "changes": [...], "hosts": [...],
    /// "feeds": [...]}`. It has every change, those left out of the text, too.
    pub json: String,
    /// Roads it still has to take.
    pub roads: Vec<Road>,
}

/// How a notice goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Road {
    /// A program.
    Command,
    /// By mail to the owner.
    Mail,
    /// Posted to an address.
    Webhook,
}

/// Which hosts are not known to be safe and which feeds are not fresh: what a change of it is told
/// against.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    /// Unknown hosts, and why.
    #[serde(default)]
    hosts: BTreeMap<HostName, Vec<UnknownReason>>,
    /// Feeds that are not fresh.
    #[serde(default)]
    feeds: BTreeMap<FeedId, FeedState>,
}

/// One change of the standing, for a person and for a program.
pub(super) enum StandingChange {
    Host {
        host: HostName,
        line: String,
        json: Value,
    },
    Feed {
        line: String,
        json: Value,
    },
}

impl Standing {
    pub(super) fn of(answer: &Answer) -> Self {
        let unknown = answer
            .hosts
            .iter()
            .filter(|host| host.status == HostStatus::Unknown);
        Self {
            hosts: unknown
                .map(|host| {
                    let reasons = host.reasons.iter().map(|(kind, _)| *kind).collect();
                    (host.name.clone(), reasons)
                })
                .collect(),
            feeds: answer
                .feeds
                .iter()
                .filter(|feed| feed.state != FeedState::Fresh)
                .map(|feed| (feed.status.id.clone(), feed.state))
                .collect(),
        }
    }

    /// What differs from the last round. A host or feed that is there no more is not told.
    pub(super) fn changes(&self, was: &Self, answer: &Answer) -> Vec<StandingChange> {
        let hosts = answer.hosts.iter().filter_map(|host| {
            let name = &host.name;
            if self.hosts.get(name) == was.hosts.get(name) {
                return None;
            }
            let line = if host.status == HostStatus::Unknown {
                let reasons: Vec<String> = host
                    .reasons
                    .iter()
                    .map(|(kind, sentence)| format!("{}: {sentence}", kind.name()))
                    .collect();
                format!("{name} is not known to be safe: {}", reasons.join("; "))
            } else {
                format!("{name} is known again: {}", host.status.name())
            };
            Some(StandingChange::Host {
                host: name.clone(),
                line: text::printable(&line).into_owned(),
                json: json!({
                    "host": name,
                    "status": host.status.name(),
                    "reasons": host
                        .reasons
                        .iter()
                        .map(|(kind, text)| json!({"kind": kind.name(), "text": text}))
                        .collect::<Vec<_>>(),
                }),
            })
        });
        let feeds = answer.feeds.iter().filter_map(|feed| {
            let id = &feed.status.id;
            if self.feeds.get(id) == was.feeds.get(id) {
                return None;
            }
            let as_of = feed.status.as_of;
            let what = match feed.state {
                FeedState::Fresh => "is fresh again",
                FeedState::Stale => "is stale",
                FeedState::Partial => "was only partly read",
                FeedState::FromTheFuture => "bears a date in the future",
            };
            Some(StandingChange::Feed {
                line: format!("feed {id} {what}: as of {as_of}"),
                json: json!({"feed": id, "state": feed.state, "as_of": as_of}),
            })
        });
        hosts.chain(feeds).collect()
    }
}

/// All that is new in a round.
pub(super) struct News<'a> {
    pub(super) answer: &'a Answer,
    pub(super) last: Option<&'a Snapshot>,
    pub(super) changes: &'a [Change],
    pub(super) standing: Vec<StandingChange>,
    pub(super) fleet: &'a Fleet,
}

/// What one owner is told.
#[derive(Default)]
struct Told<'a> {
    lines: Vec<String>,
    changes: Vec<&'a Change>,
    left_out: usize,
    hosts: Vec<&'a Value>,
    feeds: Vec<&'a Value>,
}

impl News<'_> {
    pub(super) fn any(&self) -> bool {
        !self.changes.is_empty() || !self.standing.is_empty()
    }

    /// One notice for each owner concerned. Its text tells what a table shows: mail software and what
    /// that depends on, apart from what the distributor calls unimportant; the rest is counted.
    pub(super) fn notices(&self, now: Timestamp, settings: &NotifySettings) -> Vec<Notice> {
        let worth = self.worth();
        let mut by_owner: BTreeMap<Option<&TeamName>, Told<'_>> = BTreeMap::new();
        for change in self.changes {
            let told = by_owner.entry(change.owner.as_ref()).or_default();
            let key = (&change.host, &*change.package, &change.advisory);
            if worth.get(&key).copied().unwrap_or(true) {
                told.lines.push(change_line(change));
            } else {
                told.left_out += 1;
            }
            told.changes.push(change);
        }
        for change in &self.standing {
            match change {
                StandingChange::Host { host, line, json } => {
                    let declared = self.fleet.hosts.get(host);
                    let owner = declared.and_then(|host| self.fleet.owner_of(host));
                    let told = by_owner.entry(owner).or_default();
                    told.lines.push(line.clone());
                    told.hosts.push(json);
                }
                StandingChange::Feed { line, json } => {
                    let owner = self.fleet.global_team.as_ref();
                    let told = by_owner.entry(owner).or_default();
                    told.lines.push(line.clone());
                    told.feeds.push(json);
                }
            }
        }
        by_owner
            .into_iter()
            .map(|(owner, told)| told.notice(owner, now, settings))
            .collect()
    }

    /// Of each finding now or before, whether a person is told of it line by line.
    fn worth(&self) -> HashMap<(&HostName, &str, &AdvisoryId), bool> {
        let is_worth = |finding: &Finding| {
            let verdict = &finding.verdict;
            finding.lane == Some(Lane::Emergency)
                || (verdict.surface != Surface::Other
                    && verdict.urgency != Some(Urgency::Unimportant))
        };
        let before = self.last.iter().flat_map(|last| &last.findings);
        let mut worth = HashMap::new();
        for finding in before.chain(&self.answer.findings) {
            let verdict = &finding.verdict;
            *worth
                .entry((&finding.host, &*verdict.package, &verdict.advisory))
                .or_default() |= is_worth(finding);
        }
        worth
    }
}

impl Told<'_> {
    fn notice(self, owner: Option<&TeamName>, now: Timestamp, settings: &NotifySettings) -> Notice {
        let mut roads = Vec::new();
        if settings.command.is_some() {
            roads.push(Road::Command);
        }
        // Nobody is sent a mail for what its text would not even name.
        if settings.mail.is_some() && !self.lines.is_empty() {
            roads.push(Road::Mail);
        }
        if settings.webhook.is_some() {
            roads.push(Road::Webhook);
        }
        let events: Vec<_> = self
            .changes
            .iter()
            .map(|c| (*c).clone().into_event(now, Realm::Live))
            .collect();
        let json = json!({
            "schema": "mailkeep.notice/1",
            "realm": Realm::Live,
            "at": now,
            "owner": owner,
            "changes": events,
            "hosts": self.hosts,
            "feeds": self.feeds,
        });
        let count = self.lines.len();
        let changes = if count == 1 { "change" } else { "changes" };
        let mut lines = self.lines;
        if self.left_out > 0 {
            lines.push(format!(
                "{} more on packages apart from mail or called unimportant by their distributor: \
                 `mailkeep check --all-packages` lists what is open",
                self.left_out
            ));
        }
        Notice {
            owner: owner.cloned(),
            at: now,
            subject: format!("mailkeep: {count} {changes} on your mail servers"),
            text: format!("{}\n", lines.join("\n")),
            json: json.to_string(),
            roads,
        }
    }
}

/// The standing at the end of the last round of each watch, in a file of the state directory.
pub(super) struct Memory {
    path: PathBuf,
    scopes: BTreeMap<String, Standing>,
}

impl Memory {
    /// Reads it. One that is damaged is taken as empty: what it would have kept quiet is told again.
    pub(super) fn read(directory: &Path) -> Self {
        let path = directory.join("standing.json");
        let scopes = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                App::warn(&format!(
                    "{} is damaged and begun anew: {error}",
                    path.display()
                ));
                BTreeMap::new()
            }),
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    App::warn(&format!("cannot read {}: {error}", path.display()));
                }
                BTreeMap::new()
            }
        };
        Self { path, scopes }
    }

    pub(super) fn of(&mut self, key: &str) -> &Standing {
        self.scopes.entry(key.to_owned()).or_default()
    }

    pub(super) fn keep(&mut self, key: &str, standing: Standing) -> anyhow::Result<()> {
        if self.scopes.get(key) == Some(&standing)
            && (self.path.exists() || standing == Standing::default())
        {
            return Ok(());
        }
        self.scopes.insert(key.to_owned(), standing);
        write_private(&self.path, &serde_json::to_vec(&self.scopes)?)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}
