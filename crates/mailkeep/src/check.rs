//! A check: what was seen of each host, judged by what the feeds say, and ranked.
//!
//! Reads the store, decides by the pure rooms, writes nothing.

mod first_seen;
mod host;
mod judging;
mod keep;

use std::collections::{BTreeMap, HashMap};

use mailkeep_matcher::{FeedView, HostView, RowError};
use mailkeep_model::{
    AdvisoryId, FeedId, FeedKind, FeedState, FeedStatus, Finding, Fleet, Host, HostFacts, HostName,
    Lifecycle, ScanFailure, Seen, Signal, Timestamp, text,
};
use mailkeep_store::{Snapshot, Space, Store, StoreError};
use mailkeep_triage::{Context, Policy, RankKey, rank_of_equals, triage};

use crate::answer::{Answer, FeedAnswer};
use crate::index;
use crate::planning::mitigation;
use crate::shield::Cover;
use first_seen::FirstSeen;
pub(crate) use first_seen::SCANNED;
pub use first_seen::{earlier, ledger};
pub use keep::{is_kept, to_keep, wholly_judged};

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
    /// Only verdicts on the advisory of this name, all others are dropped host by host.
    pub only: Option<&'a AdvisoryId>,
    /// The last check of the same scope.
    pub last: Option<Snapshot>,
    /// The last checks of other scopes with the same hosts ([`earlier`]): a hole found by any of them
    /// is as old as that.
    pub earlier: Vec<Snapshot>,
    /// What the shields before the hosts cover. Empty where a plan is made: what is covered is patched all the same.
    pub cover: Cover,
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
    /// Plans, or their journals, could not be read.
    #[error("cannot tell which mitigations are in force")]
    Mitigations(#[source] anyhow::Error),
    /// A row of the index belongs to no feed: nobody could say how far it may be relied on.
    #[error("the store holds rows of {feed}, which is not among its feeds: import it again")]
    NoSuchFeed {
        /// Whose row.
        feed: FeedId,
    },
    /// What the feeds say of a vulnerability id is damaged.
    #[error("cannot rank {id}: what {feed} says of it is damaged, import that feed again")]
    Signals {
        /// Of which id.
        id: String,
        /// Which feed.
        feed: FeedId,
        /// What is damaged.
        #[source]
        source: postcard::Error,
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
    let hosts: Vec<Option<HostView<'_>>> = subjects
        .iter()
        .map(|subject| judged_facts(subject).map(HostView::new))
        .collect();
    let mut judged = judging::judge_all(store, subjects, &hosts, &feeds, &views, terms)?;
    let signals = signals_for(store, &feeds, &judged.findings)?;
    let kev = Kev::of(&feeds, &states);
    let first_seen = FirstSeen::of(terms);

    let mut answer = Answer {
        generated_at: terms.now,
        scope: terms.scope.clone(),
        organisation: None,
        feeds: Vec::new(),
        hosts: Vec::new(),
        findings: Vec::new(),
        fixed: 0,
        not_affected: 0,
        changes: None,
        impacts: BTreeMap::new(),
    };
    let mitigations = mitigation::in_force(store).map_err(CheckError::Mitigations)?;
    let undeclared = Host::default();
    let mut untriaged = judged.findings.iter_mut();
    for ((subject, view), of_host) in subjects.iter().zip(&hosts).zip(&judged.hosts) {
        let mut affected = false;
        if let Some(of_host) = of_host {
            let host = subject.declared.unwrap_or(&undeclared);
            let open = subject.facts.as_ref().and_then(mail_port_open);
            let today = first_seen::today(subject, terms);
            let loaded = kev != Kev::Unusable;
            let mut context = Context::of_host(terms.fleet, host, open, today, loaded);
            answer.fixed += of_host.fixed;
            answer.not_affected += of_host.not_affected;
            affected = of_host.affected;
            for finding in untriaged.by_ref().take(of_host.findings) {
                mitigations.apply(&subject.name, &mut finding.verdict);
                terms.cover.apply(&subject.name, &mut finding.verdict);
                let day = first_seen.day(&subject.name, &finding.verdict);
                context.first_seen = day.unwrap_or(today);
                rate(finding, &signals, kev, &context, terms);
            }
        }
        answer.hosts.push(host::answer(
            subject,
            view.as_ref(),
            affected,
            &feeds,
            terms,
        ));
    }
    answer.findings = judged.findings;
    put_in_order(&mut answer.findings);
    answer.feeds = feeds
        .into_iter()
        .zip(states)
        .map(|(status, state)| FeedAnswer { status, state })
        .collect();
    if let Some(last) = &terms.last {
        let judged = wholly_judged(&answer);
        let changes =
            mailkeep_triage::delta_judged(&last.findings, &answer.findings, |h| judged.contains(h));
        answer.changes = Some(changes);
    }
    Ok(answer)
}

/// Puts findings in the order of the table. Their places are sorted, and each finding is moved once:
/// it is large, and moved ten times it would cost more than to compare it.
fn put_in_order(findings: &mut [Finding]) {
    let mut order: Vec<(RankKey, usize)> = (0_usize..)
        .zip(&*findings)
        .map(|(at, f)| (RankKey::of(f), at))
        .collect();
    order.sort_by_key(|(key, _)| *key);
    // Those of equal rank mostly lie as they should by now: they come by host, package and advisory.
    for equals in order.chunk_by_mut(|a, b| a.0 == b.0) {
        let by_name = |a: &(RankKey, usize), b: &(RankKey, usize)| {
            rank_of_equals(&findings[a.1], &findings[b.1])
        };
        if !equals.is_sorted_by(|a, b| by_name(a, b).is_le()) {
            equals.sort_by(by_name);
        }
    }
    for start in 0..order.len() {
        let mut at = start;
        loop {
            let from = std::mem::replace(&mut order[at].1, at);
            if from == start {
                break;
            }
            findings.swap(at, from);
            at = from;
        }
    }
}

fn judged_facts<'s>(subject: &'s Subject<'_>) -> Option<&'s HostFacts> {
    let decommissioned = subject
        .declared
        .is_some_and(|host| host.lifecycle == Lifecycle::Decommissioned);
    subject.facts.as_ref().filter(|_| !decommissioned)
}

/// What the feeds say of the ids named in findings.
fn signals_for(
    store: &dyn Store,
    feeds: &[FeedStatus],
    findings: &[Finding],
) -> Result<HashMap<String, Vec<Signal>>, CheckError> {
    if !store.has_rows(Space::Vulnerability)? {
        return Ok(HashMap::new());
    }
    let mut ids: Vec<&str> = findings
        .iter()
        .flat_map(|finding| finding.verdict.names())
        .map(AdvisoryId::as_str)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let mut signals: HashMap<String, Vec<Signal>> = HashMap::new();
    let mut failed = None;
    store.rows(Space::Vulnerability, &ids, &mut |key, feed, body| {
        let Some(id) = ids.get(key) else {
            return;
        };
        if feeds.binary_search_by(|f| f.id.cmp(feed)).is_err() {
            failed = Some(CheckError::NoSuchFeed { feed: feed.clone() });
            return;
        }
        match index::signals(body) {
            Ok(read) => signals.entry((*id).to_owned()).or_default().extend(read),
            Err(source) => {
                failed = Some(CheckError::Signals {
                    id: (*id).to_owned(),
                    feed: feed.clone(),
                    source,
                });
            }
        }
    })?;
    match failed {
        Some(error) => Err(error),
        None => Ok(signals),
    }
}

/// How far CISA's list of known exploited vulnerabilities may be relied on. It only grows, and weeks
/// may pass without an entry: an old whole list still tells apart what was known to be exploited on
/// its date, and no list at all does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kev {
    Fresh,
    Stale(Timestamp),
    Unusable,
}

impl Kev {
    fn of(feeds: &[FeedStatus], states: &[FeedState]) -> Self {
        let newest = |wanted: FeedState| {
            feeds
                .iter()
                .zip(states)
                .filter(|(feed, state)| feed.kind == FeedKind::Kev && **state == wanted)
                .map(|(feed, _)| feed.as_of)
                .max()
        };
        if newest(FeedState::Fresh).is_some() {
            return Self::Fresh;
        }
        newest(FeedState::Stale).map_or(Self::Unusable, Self::Stale)
    }
}

/// Says of a finding how urgent it is.
fn rate(
    finding: &mut Finding,
    signals: &HashMap<String, Vec<Signal>>,
    kev: Kev,
    context: &Context<'_>,
    terms: &Terms<'_>,
) {
    let verdict = &mut finding.verdict;
    let signals: Vec<Signal> = verdict
        .names()
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
    triage(verdict, &signals, context, terms.policy).rate(finding);
    finding.owner = context.owner.cloned();
    if let Kev::Stale(as_of) = kev
        && !finding.kev
        && finding.verdict.status.is_finding()
    {
        let note = format!(
            "the list of known exploited vulnerabilities is of {} (stale)",
            day_of(as_of)
        );
        finding.verdict.evidence.notes.push(note.into());
    }
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

/// The day of a time, in UTC: a feed's age is told in days.
fn day_of(at: Timestamp) -> jiff::civil::Date {
    at.to_zoned(jiff::tz::TimeZone::UTC).date()
}
