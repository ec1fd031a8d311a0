//! Since when each finding is known, so that its deadline does not move from check to check, whoever
//! asks: one hole on one host has one first day, in the check of its fleet, of the host alone, and in
//! the watch (docs/decisions/0006-deadlines-count-from-first-sight.md).

use std::cell::Cell;
use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use mailkeep_model::{AdvisoryId, HostName, Verdict};
use mailkeep_store::{Snapshot, Store, StoreError};

use super::{Subject, Terms};

/// The scope under which the findings of one host are kept when several are asked about by name,
/// beside their common scope: nobody asks for the same names again.
pub fn ledger(base: &str, host: &HostName) -> String {
    format!("seen:{base}#{host}")
}

/// The last checks of every other scope that has these hosts in it: the fleet (`base`), each host
/// alone, the watch, and what was checked before there was a fleet file. Findings on other hosts are
/// left out.
pub fn earlier(
    store: &dyn Store,
    base: &str,
    key: &str,
    hosts: &BTreeSet<&HostName>,
) -> Result<Vec<Snapshot>, StoreError> {
    let mut keys = BTreeSet::from([base.to_owned(), format!("watch:{base}"), SCANNED.to_owned()]);
    for host in hosts {
        keys.insert(format!("{base}#{host}"));
        keys.insert(ledger(base, host));
    }
    keys.remove(key);
    let mut found = Vec::new();
    for key in keys {
        if let Some(mut snapshot) = store.findings_of(&key)? {
            snapshot.findings.retain(|f| hosts.contains(&f.host));
            found.push(snapshot);
        }
    }
    Ok(found)
}

/// The scope of the hosts scanned without a fleet file.
pub(crate) const SCANNED: &str = "scanned";

/// Host, package and one name of a finding.
type Named<'a> = (&'a HostName, &'a str, &'a AdvisoryId);

/// The first day of each finding known before.
pub(super) struct FirstSeen<'a> {
    /// By its own name.
    own: Days<'a>,
    /// By its aliases.
    alias: Days<'a>,
}

/// Days by name, each name once.
struct Days<'a> {
    sorted: Vec<(Named<'a>, Date)>,
    /// Behind the last one found: findings are asked for nearly in the order of their names.
    next: Cell<usize>,
}

impl<'a> Days<'a> {
    fn of(mut known: Vec<(Named<'a>, Date)>) -> Self {
        known.sort();
        // The first of those with one name is the earliest.
        known.dedup_by_key(|(name, _)| *name);
        Self {
            sorted: known,
            next: Cell::new(0),
        }
    }

    fn of_name(&self, name: Named<'_>) -> Option<Date> {
        let is = |at: &usize| {
            self.sorted
                .get(*at)
                .is_some_and(|(known, _)| *known == name)
        };
        let at = Some(self.next.get()).filter(is).or_else(|| {
            self.sorted
                .binary_search_by(|(known, _)| known.cmp(&name))
                .ok()
        })?;
        self.next.set(at + 1);
        self.sorted.get(at).map(|(_, day)| *day)
    }
}

impl<'a> FirstSeen<'a> {
    pub(super) fn of(terms: &'a Terms<'_>) -> Self {
        let snapshots = terms.last.iter().chain(&terms.earlier);
        let most = snapshots.clone().map(|s| s.findings.len()).sum();
        let mut own = Vec::with_capacity(most);
        let mut alias = Vec::new();
        for finding in snapshots.flat_map(|snapshot| &snapshot.findings) {
            let verdict = &finding.verdict;
            let Some(day) = finding.first_seen.filter(|_| verdict.status.is_finding()) else {
                continue;
            };
            let named = |name| ((&finding.host, &*verdict.package, name), day);
            own.push(named(&verdict.advisory));
            alias.extend(verdict.aliases.iter().map(named));
        }
        Self {
            own: Days::of(own),
            alias: Days::of(alias),
        }
    }

    /// The first day on which an earlier check had it on this host. It is the same hole if either is
    /// called by the other's own name, as in [`mailkeep_triage::delta_judged`].
    pub(super) fn day(&self, host: &HostName, verdict: &Verdict) -> Option<Date> {
        let named = |name| (host, &*verdict.package, name);
        let mine = named(&verdict.advisory);
        let by_my_name = [self.own.of_name(mine), self.alias.of_name(mine)];
        let by_my_aliases = verdict
            .aliases
            .iter()
            .map(|name| self.own.of_name(named(name)));
        by_my_name.into_iter().chain(by_my_aliases).flatten().min()
    }
}

/// Today in the host's region: the first day of what no check had before.
pub(super) fn today(subject: &Subject<'_>, terms: &Terms<'_>) -> Date {
    let zone = subject
        .declared
        .and_then(|host| terms.fleet.regions.get(host.region.as_ref()?))
        .and_then(|region| TimeZone::get(&region.time_zone).ok())
        .unwrap_or(TimeZone::UTC);
    terms.now.to_zoned(zone).date()
}
