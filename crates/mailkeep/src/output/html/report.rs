//! An answer, sorted the way the page tells it: by urgency, by team, by server.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::civil::Date;
use mailkeep_model::{
    FeedState, Finding, HostAnswer, HostName, HostStatus, Lane, Surface, TeamName,
};

use super::words;
use crate::answer::{Answer, FeedAnswer};
use crate::output::group::{Act, Row, rows};

/// What the page tells.
pub(super) struct Report<'a> {
    pub(super) answer: &'a Answer,
    /// The day of the check, in UTC.
    pub(super) today: Date,
    /// Rows listed, most urgent first: on mail software and what it depends on, and whatever is in
    /// the emergency lane.
    pub(super) rows: Vec<Row<'a>>,
    /// In the order of their most urgent row.
    pub(super) teams: Vec<Team<'a>>,
    /// Findings on other packages, counted only.
    pub(super) unlisted: usize,
}

/// A team, and the servers on which it has something to do.
pub(super) struct Team<'a> {
    pub(super) name: Option<&'a TeamName>,
    pub(super) servers: Vec<Server<'a>>,
}

/// A server with findings.
pub(super) struct Server<'a> {
    pub(super) name: &'a HostName,
    pub(super) answer: Option<&'a HostAnswer>,
    /// Places in [`Report::rows`].
    pub(super) rows: Vec<usize>,
    /// Packages that are not listed, with the number of their findings.
    pub(super) others: BTreeMap<&'a str, usize>,
}

impl<'a> Report<'a> {
    pub(super) fn of(answer: &'a Answer) -> Self {
        let findings = || {
            answer
                .findings
                .iter()
                .filter(|f| f.verdict.status.is_finding())
        };
        let is_listed =
            |f: &&Finding| f.verdict.surface != Surface::Other || f.lane == Some(Lane::Emergency);
        let rows = rows(findings().filter(is_listed));
        let hosts: HashMap<&HostName, &HostAnswer> =
            answer.hosts.iter().map(|h| (&h.name, h)).collect();
        let mut teams = Teams {
            hosts,
            places: HashMap::new(),
            found: Vec::new(),
        };
        for (at, row) in rows.iter().enumerate() {
            if let Some(server) = teams.server(row.first) {
                server.rows.push(at);
            }
        }
        let mut unlisted = 0;
        for finding in findings().filter(|f| !is_listed(f)) {
            unlisted += 1;
            if let Some(server) = teams.server(finding) {
                *server.others.entry(&finding.verdict.package).or_default() += 1;
            }
        }
        Self {
            answer,
            today: words::utc_day(answer.generated_at),
            teams: teams.found,
            rows,
            unlisted,
        }
    }

    /// Rows in the emergency lane.
    pub(super) fn urgent(&self) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter().filter(|row| is_urgent(row))
    }

    /// Rows in the regular lane that a fix closes.
    pub(super) fn regular_patches(&self) -> impl Iterator<Item = &Row<'a>> {
        self.rows
            .iter()
            .filter(|row| !is_urgent(row) && row.act.is_patch())
    }

    /// Rows that nobody has fixed.
    pub(super) fn without_fix(&self) -> usize {
        self.regular_count(|act| matches!(act, Act::Wait | Act::Live))
    }

    /// Rows that could not be decided.
    pub(super) fn undecided(&self) -> usize {
        self.regular_count(|act| act == Act::Ask)
    }

    fn regular_count(&self, wanted: impl Fn(Act) -> bool) -> usize {
        self.rows
            .iter()
            .filter(|row| !is_urgent(row) && wanted(row.act))
            .count()
    }

    /// Rows whose day is past.
    pub(super) fn overdue(&self) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter().filter(|row| self.is_overdue(row))
    }

    /// Whether its day is past. `fixed` and `not-affected` are not among the rows.
    pub(super) fn is_overdue(&self, row: &Row<'_>) -> bool {
        row.first.deadline.is_some_and(|due| due < self.today)
    }

    pub(super) fn hosts(&self, status: HostStatus) -> Vec<&'a HostAnswer> {
        let hosts = self.answer.hosts.iter();
        hosts.filter(|h| h.status == status).collect()
    }

    /// Hosts that were judged, with something to say against it.
    pub(super) fn remarks(&self) -> Vec<&'a HostAnswer> {
        self.answer
            .hosts
            .iter()
            .filter(|h| h.status != HostStatus::Unknown && !h.reasons.is_empty())
            .collect()
    }

    /// Hosts of which something could not be seen.
    pub(super) fn limited(&self) -> Vec<&'a HostAnswer> {
        self.answer
            .hosts
            .iter()
            .filter(|h| !h.limitations.is_empty())
            .collect()
    }

    pub(super) fn unfit_feeds(&self) -> Vec<&'a FeedAnswer> {
        self.answer
            .feeds
            .iter()
            .filter(|f| f.state != FeedState::Fresh)
            .collect()
    }
}

impl<'a> Team<'a> {
    pub(super) fn name(&self) -> &'a str {
        self.name.map_or(NO_TEAM, TeamName::as_str)
    }

    /// Its urgent rows.
    pub(super) fn urgent<'r>(&self, report: &'r Report<'a>) -> Vec<&'r Row<'a>> {
        let mut places: Vec<usize> = self.servers.iter().flat_map(|s| s.rows.clone()).collect();
        places.sort_unstable();
        places
            .into_iter()
            .filter_map(|at| report.rows.get(at))
            .filter(|row| is_urgent(row))
            .collect()
    }
}

/// What stands in place of a team where none is declared.
pub(super) const NO_TEAM: &str = "no team declared";

pub(super) fn is_urgent(row: &Row<'_>) -> bool {
    row.first.lane == Some(Lane::Emergency)
}

/// Names of the servers of rows, each once, in the order of the rows.
pub(super) fn servers_of<'r, 'a: 'r>(rows: impl Iterator<Item = &'r Row<'a>>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    rows.map(|row| row.first.host.as_str())
        .filter(|name| seen.insert(*name))
        .collect()
}

/// The first day by which something of these rows is due.
pub(super) fn first_due<'r, 'a: 'r>(rows: impl Iterator<Item = &'r Row<'a>>) -> Option<Date> {
    rows.filter_map(|row| row.first.deadline).min()
}

struct Teams<'a> {
    hosts: HashMap<&'a HostName, &'a HostAnswer>,
    places: HashMap<(Option<&'a TeamName>, &'a HostName), (usize, usize)>,
    found: Vec<Team<'a>>,
}

impl<'a> Teams<'a> {
    /// The server of a finding within the team that answers for it.
    fn server(&mut self, finding: &'a Finding) -> Option<&mut Server<'a>> {
        let owner = finding.owner.as_ref();
        let key = (owner, &finding.host);
        if let Some((team, server)) = self.places.get(&key) {
            return self.found.get_mut(*team)?.servers.get_mut(*server);
        }
        let team = self
            .found
            .iter()
            .position(|team| team.name == owner)
            .unwrap_or_else(|| {
                self.found.push(Team {
                    name: owner,
                    servers: Vec::new(),
                });
                self.found.len() - 1
            });
        let servers = &mut self.found.get_mut(team)?.servers;
        self.places.insert(key, (team, servers.len()));
        servers.push(Server {
            name: &finding.host,
            answer: self.hosts.get(&finding.host).copied(),
            rows: Vec::new(),
            others: BTreeMap::new(),
        });
        servers.last_mut()
    }
}
