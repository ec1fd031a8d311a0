//! Since when each finding is known, so that its deadline does not move from check to check, whoever
//! asks: one hole on one host has one first day, in the check of its fleet, of the host alone, and in
//! the watch (docs/decisions/0006-deadlines-count-from-first-sight.md).

use std::collections::{BTreeSet, HashMap};

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
    own: HashMap<Named<'a>, Date>,
    /// By its aliases.
    alias: HashMap<Named<'a>, Date>,
}

impl<'a> FirstSeen<'a> {
    pub(super) fn of(terms: &'a Terms<'_>) -> Self {
        let snapshots = terms.last.iter().chain(&terms.earlier);
        let most = snapshots.clone().map(|s| s.findings.len()).max();
        let mut known = Self {
            own: HashMap::with_capacity(most.unwrap_or(0)),
            alias: HashMap::new(),
        };
        for finding in snapshots.flat_map(|snapshot| &snapshot.findings) {
            let verdict = &finding.verdict;
            let Some(day) = finding.first_seen.filter(|_| verdict.status.is_finding()) else {
                continue;
            };
            let mut note = |map: fn(&mut Self) -> &mut HashMap<Named<'a>, Date>, name| {
                map(&mut known)
                    .entry((&finding.host, &*verdict.package, name))
                    .and_modify(|first| *first = day.min(*first))
                    .or_insert(day);
            };
            note(|known| &mut known.own, &verdict.advisory);
            for name in &verdict.aliases {
                note(|known| &mut known.alias, name);
            }
        }
        known
    }

    /// The first day on which an earlier check had it on this host. It is the same hole if either is
    /// called by the other's own name, as in [`mailkeep_triage::delta_judged`].
    pub(super) fn day(&self, host: &HostName, verdict: &Verdict) -> Option<Date> {
        let named = |name| (host, &*verdict.package, name);
        let mine = named(&verdict.advisory);
        let by_my_name = [self.own.get(&mine), self.alias.get(&mine)];
        let by_my_aliases = verdict
            .aliases
            .iter()
            .map(|name| self.own.get(&named(name)));
        by_my_name
            .into_iter()
            .chain(by_my_aliases)
            .flatten()
            .min()
            .copied()
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
