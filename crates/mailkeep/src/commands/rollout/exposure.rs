//! Since when hosts are exposed to what a plan answers.

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_model::{AdvisoryId, EventKind, HostName, Plan, Timestamp};
use mailkeep_store::{SqliteStore, Store as _, StoreError};

/// Events read at a time.
const PAGE: usize = 10_000;

/// When each planned host was first found to have one of the plan's advisories, and still had it when
/// the plan was made. Hosts that no check has recorded are left out.
pub(super) fn since(
    store: &SqliteStore,
    plan: &Plan,
) -> Result<BTreeMap<HostName, Timestamp>, StoreError> {
    let hosts: BTreeSet<&HostName> = plan.steps.iter().map(|step| &step.host).collect();
    let bulletin: BTreeSet<&AdvisoryId> = plan.bulletin.iter().collect();
    let mut open: BTreeMap<HostName, BTreeMap<(AdvisoryId, String), Timestamp>> = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = store.events_after(after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for recorded in page {
            let at = recorded.event.at;
            match recorded.event.kind {
                EventKind::FindingNew {
                    host,
                    advisory,
                    package,
                    ..
                } if hosts.contains(&host) && bulletin.contains(&advisory) => {
                    open.entry(host)
                        .or_default()
                        .entry((advisory, package))
                        .or_insert(at);
                }
                EventKind::FindingGone {
                    host,
                    advisory,
                    package,
                    ..
                } if at < plan.made_at => {
                    if let Some(findings) = open.get_mut(&host) {
                        findings.remove(&(advisory, package));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(open
        .into_iter()
        .filter_map(|(host, findings)| Some((host, findings.into_values().min()?)))
        .collect())
}
