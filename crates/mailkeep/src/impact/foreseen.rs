//! What patching would change as far as facts tell, for many servers at once: no server is asked.

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_facts::impact::{ImpactReport, OfferedPackage};
use mailkeep_model::{Finding, Fleet, HostFacts, HostName, ScanFailure, Timestamp};
use mailkeep_store::Store;

use super::{Impact, Known, assess, history, is_fixable, offers};
use crate::planning::basis;

/// Said of each: what only its package manager knows.
const NOT_ASKED: &str = "what comes along or goes, which configuration conflicts, and what changelog and \
                         news say: `mailkeep impact` asks the server";

/// The impact of what closes findings on mail software, on each of these servers that has any.
pub fn foreseen<'a>(
    store: &dyn Store,
    fleet: &Fleet,
    seen: impl Iterator<Item = &'a HostFacts>,
    findings: &[Finding],
    mut failures: BTreeMap<HostName, ScanFailure>,
    now: Timestamp,
) -> anyhow::Result<BTreeMap<HostName, Impact>> {
    let mut by_host: BTreeMap<&HostName, Vec<Finding>> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| is_fixable(finding)) {
        let of_host = by_host.entry(&finding.host).or_default();
        of_host.push(finding.clone());
    }
    let mut found = BTreeMap::new();
    if by_host.is_empty() {
        return Ok(found);
    }
    let plans = basis::all_progress(store)?;
    basis::add_failures(store, fleet, &mut failures)?;
    let out_of_service = basis::out_of_service(store, &failures, &plans)?;
    for facts in seen {
        let Some(findings) = by_host.get(&facts.host) else {
            continue;
        };
        let sources: BTreeSet<&str> = findings.iter().map(|f| &*f.verdict.package).collect();
        let packages = offers(facts, |package| sources.contains(&*package.source));
        if packages.is_empty() {
            continue;
        }
        let report = ImpactReport {
            packages: packages
                .into_iter()
                .map(|(name, offered)| OfferedPackage {
                    name,
                    offered,
                    ..OfferedPackage::default()
                })
                .collect(),
            ..ImpactReport::default()
        };
        let declared = fleet.hosts.get(&facts.host);
        let family = declared
            .and_then(|host| host.family.clone())
            .or_else(|| mailkeep_plan::family_seen(facts))
            .unwrap_or_default();
        let mut impact = assess(Known {
            now,
            fleet,
            facts,
            findings,
            report: &report,
            interruption: &history::expect(&plans, &family),
            out_of_service: &out_of_service,
        });
        impact.limitations.push(NOT_ASKED.to_owned());
        found.insert(facts.host.clone(), impact);
    }
    Ok(found)
}
