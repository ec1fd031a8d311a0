//! A check: what was seen of each host, judged by what the feeds say, and ranked.
//!
//! Reads the store, decides by the pure rooms, writes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use mailkeep_matcher::{
    FeedView, HostView, Judged, PackageRows, RowError, coverage_gaps, judge_host,
};
use mailkeep_model::{
    AdvisoryId, FactsSource, FeedKind, FeedState, FeedStatus, Finding, Fleet, Host, HostAnswer,
    HostFacts, HostName, HostStatus, Lifecycle, ScanFailure, Seen, Signal, Timestamp,
    UnknownReason, Verdict, text,
};
use mailkeep_store::{Snapshot, Space, Store, StoreError};
use mailkeep_triage::{Context, Policy, rank, triage};

use crate::answer::{Answer, FeedAnswer};
use crate::index;

/// TCP ports on which mail is taken in or handed out: SMTP, POP3, IMAP, submissions, submission,
/// IMAPS, POP3S, `ManageSieve` (IANA service names).
const MAIL_PORTS: [u16; 8] = [25, 110, 143, 465, 587, 993, 995, 4190];

/// One host to judge.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// Its name.
    pub name: HostName,
    /// What the fleet file declares of it.
    pub declared: Option<&'a Host>,
    /// The newest facts, however old.
    pub facts: Option<HostFacts>,
    /// Why the last attempt to see it failed, where it did.
    pub failure: Option<ScanFailure>,
}

/// What a check goes by.
#[derive(Debug, Clone)]
pub struct Terms<'a> {
    /// "Now".
    pub now: Timestamp,
    /// What is checked, for a title.
    pub scope: String,
    /// The fleet; an empty one where there is none.
    pub fleet: &'a Fleet,
    /// Deadlines.
    pub policy: &'a Policy,
    /// `fixed` and `not-affected`, too.
    pub all: bool,
    /// The last check of the same scope.
    pub last: Option<Snapshot>,
}

/// Why a check could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The store failed.
    #[error("cannot read the advisories")]
    Store(#[from] StoreError),
    /// The index is damaged.
    #[error("cannot judge {host}: import the feeds again")]
    Row {
        /// On which host it was found.
        host: HostName,
        /// What is damaged.
        #[source]
        source: RowError,
    },
}

/// Judges the hosts.
pub fn check(
    store: &dyn Store,
    subjects: &[Subject<'_>],
    terms: &Terms<'_>,
) -> Result<Answer, CheckError> {
    let feeds = store.feeds()?;
    let states: Vec<FeedState> = feeds.iter().map(|feed| feed.state(terms.now)).collect();
    let views: Vec<FeedView<'_>> = feeds
        .iter()
        .zip(&states)
        .map(|(feed, state)| FeedView {
            id: &feed.id,
            kind: feed.kind,
            state: *state,
        })
        .collect();
    let judged = judge_all(store, subjects, &feeds, &views, terms.all)?;
    let signals = signals_for(store, judged.iter().flatten().flat_map(|j| &j.verdicts))?;
    let kev_loaded = feeds
        .iter()
        .zip(&states)
        .any(|(feed, state)| feed.kind == FeedKind::Kev && *state == FeedState::Fresh);
    let first_seen = FirstSeen::of(terms);

    let mut answer = Answer {
        generated_at: terms.now,
        scope: terms.scope.clone(),
        feeds: Vec::new(),
        hosts: Vec::new(),
        findings: Vec::new(),
        fixed: 0,
        not_affected: 0,
        changes: None,
    };
    for (subject, judged) in subjects.iter().zip(judged) {
        let mut affected = false;
        if let Some(judged) = judged {
            answer.fixed += judged.fixed;
            answer.not_affected += judged.not_affected;
            for verdict in judged.verdicts {
                affected |= verdict.status.is_finding();
                answer.findings.push(finding(
                    subject,
                    verdict,
                    &signals,
                    kev_loaded,
                    &first_seen,
                    terms,
                ));
            }
        }
        answer
            .hosts
            .push(host_answer(subject, affected, &feeds, terms));
    }
    answer.findings.sort_by(rank);
    answer.feeds = feeds
        .into_iter()
        .zip(states)
        .map(|(status, state)| FeedAnswer { status, state })
        .collect();
    if let Some(last) = &terms.last {
        let judged: BTreeSet<&HostName> = answer
            .hosts
            .iter()
            .filter(|h| {
                matches!(
                    h.status,
                    HostStatus::Affected | HostStatus::Clean | HostStatus::Decommissioned
                )
            })
            .map(|h| &h.name)
            .collect();
        answer.changes = Some(mailkeep_triage::delta_judged(
            &last.findings,
            &answer.findings,
            |h| judged.contains(h),
        ));
    }
    Ok(answer)
}

/// A host's view, and the keys of its packages ([`HostView::keys`]).
type ViewAndKeys<'a> = (HostView<'a>, Vec<(usize, String)>);

/// Judges every host that facts are known of. The store is asked once for the packages of all.
fn judge_all(
    store: &dyn Store,
    subjects: &[Subject<'_>],
    feeds: &[FeedStatus],
    views: &[FeedView<'_>],
    all: bool,
) -> Result<Vec<Option<Judged>>, CheckError> {
    let hosts: Vec<Option<ViewAndKeys<'_>>> = subjects
        .iter()
        .map(|subject| {
            let facts = judged_facts(subject)?;
            let view = HostView::new(facts);
            let keys = view.keys();
            Some((view, keys))
        })
        .collect();
    let asked: BTreeSet<&str> = hosts
        .iter()
        .flatten()
        .flat_map(|(_, keys)| keys)
        .map(|(_, key)| key.as_str())
        .collect();
    let asked: Vec<&str> = asked.into_iter().collect();
    let mut rows = PackageRows::new();
    store.rows(Space::Package, &asked, &mut |key, feed, body| {
        if let Ok(feed) = feeds.binary_search_by(|f| f.id.cmp(feed)) {
            rows.push(key, feed, body);
        }
    })?;
    hosts
        .iter()
        .zip(subjects)
        .map(|(host, subject)| {
            let Some((view, keys)) = host else {
                return Ok(None);
            };
            let numbered: Vec<(usize, usize, &str)> = keys
                .iter()
                .filter_map(|(package, key)| {
                    let number = asked.binary_search(&key.as_str()).ok()?;
                    Some((*package, number, key.as_str()))
                })
                .collect();
            judge_host(view, &numbered, &rows, views, all)
                .map(Some)
                .map_err(|source| CheckError::Row {
                    host: subject.name.clone(),
                    source,
                })
        })
        .collect()
}

fn judged_facts<'s>(subject: &'s Subject<'_>) -> Option<&'s HostFacts> {
    let decommissioned = subject
        .declared
        .is_some_and(|host| host.lifecycle == Lifecycle::Decommissioned);
    subject.facts.as_ref().filter(|_| !decommissioned)
}

/// What the feeds say of the ids named in verdicts.
fn signals_for<'v>(
    store: &dyn Store,
    verdicts: impl Iterator<Item = &'v Verdict>,
) -> Result<HashMap<String, Vec<Signal>>, StoreError> {
    let mut ids: BTreeSet<&str> = BTreeSet::new();
    for verdict in verdicts {
        ids.insert(verdict.advisory.as_str());
        ids.extend(verdict.aliases.iter().map(AdvisoryId::as_str));
    }
    let ids: Vec<&str> = ids.into_iter().collect();
    let mut signals: HashMap<String, Vec<Signal>> = HashMap::new();
    store.rows(Space::Vulnerability, &ids, &mut |key, _feed, body| {
        if let (Some(id), Ok(read)) = (ids.get(key), index::signals(body)) {
            signals.entry((*id).to_owned()).or_default().extend(read);
        }
    })?;
    Ok(signals)
}

fn finding(
    subject: &Subject<'_>,
    mut verdict: Verdict,
    signals: &HashMap<String, Vec<Signal>>,
    kev_loaded: bool,
    first_seen: &FirstSeen<'_>,
    terms: &Terms<'_>,
) -> Finding {
    let names = std::iter::once(&verdict.advisory).chain(&verdict.aliases);
    let signals: Vec<Signal> = names
        .filter_map(|id| signals.get(id.as_str()))
        .flatten()
        .cloned()
        .collect();
    if verdict.title.is_empty()
        && let Some(Signal::Title { text }) =
            signals.iter().find(|s| matches!(s, Signal::Title { .. }))
    {
        verdict.title = text::printable_max(text, 160).into();
    }
    let undeclared = Host::default();
    let host = subject.declared.unwrap_or(&undeclared);
    let day = first_seen.day(subject, &verdict, terms);
    let open = subject.facts.as_ref().and_then(mail_port_open);
    let context = Context::of_host(terms.fleet, host, open, day, kev_loaded);
    let owner = context.owner.cloned();
    triage(&verdict, &signals, &context, terms.policy).into_finding(
        subject.name.clone(),
        verdict,
        owner,
    )
}

/// Whether a mail port is open beyond loopback; `None` where the listeners were not wholly seen.
fn mail_port_open(facts: &HostFacts) -> Option<bool> {
    let open = facts
        .listeners
        .items()
        .iter()
        .any(|listener| !listener.is_loopback() && MAIL_PORTS.contains(&listener.port));
    match facts.listeners {
        Seen::Yes(_) => Some(open),
        Seen::Partly(_) => open.then_some(true),
        Seen::No => None,
    }
}

/// Since when each finding is known, so that its deadline does not move from check to check.
struct FirstSeen<'a> {
    last: BTreeMap<(&'a HostName, &'a str, &'a AdvisoryId), Date>,
}

impl<'a> FirstSeen<'a> {
    fn of(terms: &'a Terms<'_>) -> Self {
        let mut last = BTreeMap::new();
        for finding in terms.last.iter().flat_map(|snapshot| &snapshot.findings) {
            let Some(day) = finding
                .first_seen
                .filter(|_| finding.verdict.status.is_finding())
            else {
                continue;
            };
            for name in std::iter::once(&finding.verdict.advisory).chain(&finding.verdict.aliases) {
                last.entry((&finding.host, &*finding.verdict.package, name))
                    .or_insert(day);
            }
        }
        Self { last }
    }

    /// The day of an earlier check that had it under this name, else today in the host's region.
    fn day(&self, subject: &Subject<'_>, verdict: &Verdict, terms: &Terms<'_>) -> Date {
        self.last
            .get(&(&subject.name, &*verdict.package, &verdict.advisory))
            .copied()
            .unwrap_or_else(|| today(subject, terms))
    }
}

fn today(subject: &Subject<'_>, terms: &Terms<'_>) -> Date {
    let zone = subject
        .declared
        .and_then(|host| terms.fleet.regions.get(host.region.as_ref()?))
        .and_then(|region| TimeZone::get(&region.time_zone).ok())
        .unwrap_or(TimeZone::UTC);
    terms.now.to_zoned(zone).date()
}

fn host_answer(
    subject: &Subject<'_>,
    affected: bool,
    feeds: &[FeedStatus],
    terms: &Terms<'_>,
) -> HostAnswer {
    let facts = subject.facts.as_ref();
    let mut answer = HostAnswer {
        name: subject.name.clone(),
        status: HostStatus::Unknown,
        reasons: Vec::new(),
        facts_as_of: facts.map(|f| f.seen_at),
        system: facts.and_then(system_name),
        limitations: facts
            .map(|f| {
                f.limitations
                    .iter()
                    .map(|l| text::printable(&l.to_string()).into_owned())
                    .collect()
            })
            .unwrap_or_default(),
    };
    if subject
        .declared
        .is_some_and(|host| host.lifecycle == Lifecycle::Decommissioned)
    {
        answer.status = HostStatus::Decommissioned;
        return answer;
    }
    if let Some(failure) = &subject.failure {
        answer.reasons.push((
            UnknownReason::ScanFailed,
            text::printable(&failure.to_string()).into_owned(),
        ));
    }
    let Some(facts) = facts else {
        if answer.reasons.is_empty() {
            let sentence = "nothing was ever seen of it; run `mailkeep scan`".to_owned();
            answer.reasons.push((UnknownReason::NoFacts, sentence));
        }
        return answer;
    };
    answer.reasons.extend(facts_age_gap(facts, terms));
    let unseen = !answer.reasons.is_empty();
    let gaps = coverage_gaps(&HostView::new(facts), feeds, terms.now);
    let gap = !gaps.is_empty();
    answer.reasons.extend(gaps);
    answer.status = match (unseen, affected, gap) {
        (true, _, _) | (false, false, true) => HostStatus::Unknown,
        (false, true, _) => HostStatus::Affected,
        (false, false, false) => HostStatus::Clean,
    };
    answer
}

fn facts_age_gap(facts: &HostFacts, terms: &Terms<'_>) -> Option<(UnknownReason, String)> {
    // What is read at this moment from a directory or a file is as old as whoever made it says.
    if matches!(facts.source, FactsSource::Root) {
        return None;
    }
    let limit = terms
        .fleet
        .facts_max_age
        .unwrap_or(Fleet::DEFAULT_FACTS_MAX_AGE);
    let age = terms.now.duration_since(facts.seen_at);
    if age > limit {
        let sentence = format!(
            "its facts are of {}, {} days old; run `mailkeep scan`",
            facts.seen_at,
            age.as_hours() / 24
        );
        return Some((UnknownReason::FactsTooOld, sentence));
    }
    if age.as_hours() < -24 {
        let sentence = format!(
            "its facts bear a date in the future ({}); check this machine's clock",
            facts.seen_at
        );
        return Some((UnknownReason::FactsTooOld, sentence));
    }
    None
}

fn system_name(facts: &HostFacts) -> Option<String> {
    let name = facts
        .os
        .pretty_name
        .as_deref()
        .or_else(|| Some(&*facts.os.id).filter(|id| !id.is_empty()))?;
    Some(text::printable_max(name, 80))
}
