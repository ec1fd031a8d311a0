//! Rules on how many: who is in service at every moment, and how many are out at a time.
//!
//! A host is out from the start of its step to before its end.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mailkeep_model::{HostName, PlannedService, RegionName, ServiceName, TeamName};

use super::clock::Stretch;
use super::{Breach, BreachKind as Kind, Findings, Look};

pub(super) fn check(look: &Look<'_>, findings: &mut Findings) {
    for (name, service) in &look.plan.services {
        in_service(look, name, service, findings);
    }
    in_parallel(look, findings);
}

fn in_service(
    look: &Look<'_>,
    name: &ServiceName,
    service: &PlannedService,
    findings: &mut Findings,
) {
    for (region, hosts) in &service.hosts {
        let minimum = service.minimum.get(region).copied().unwrap_or_default();
        for (from, level) in below(look, hosts.iter(), minimum) {
            findings.push(
                Breach::of(
                    Kind::MinimumInService,
                    format!("at least {minimum} in service"),
                    level.to_string(),
                )
                .service(name)
                .region(region)
                .at(from),
            );
        }
    }
    let Some(minimum) = service.minimum_total else {
        return;
    };
    for (from, level) in below(look, service.hosts.values().flatten(), minimum) {
        findings.push(
            Breach::of(
                Kind::MinimumTotal,
                format!("at least {minimum} in service over all regions"),
                level.to_string(),
            )
            .service(name)
            .at(from),
        );
    }
}

/// When fewer hosts than the minimum are in service and a step has a part in it: from when on, and how
/// few at worst. Where too few are in service before any step, the plan is not to blame until it takes
/// one more.
fn below<'a>(
    look: &Look<'_>,
    hosts: impl Iterator<Item = &'a HostName>,
    minimum: u32,
) -> Vec<(Timestamp, u32)> {
    let present: BTreeSet<&HostName> = hosts
        .filter(|host| !look.plan.out_of_service.contains(*host))
        .collect();
    let out: Vec<Stretch> = present
        .iter()
        .filter_map(|host| look.step_of.get(host))
        .map(|step| (step.start, step.end))
        .collect();
    let all = u32::try_from(present.len()).unwrap_or(u32::MAX);
    // A step is to blame where the number out exceeds what may be out.
    over(&out, all.saturating_sub(minimum))
        .into_iter()
        .map(|(from, out)| (from, all.saturating_sub(out)))
        .collect()
}

fn in_parallel(look: &Look<'_>, findings: &mut Findings) {
    let policy = &look.plan.policy;
    let mut fleet: Vec<Stretch> = Vec::new();
    let mut regions: BTreeMap<&RegionName, Vec<Stretch>> = BTreeMap::new();
    let mut teams: BTreeMap<&TeamName, Vec<Stretch>> = BTreeMap::new();
    for step in &look.plan.steps {
        let stretch = (step.start, step.end);
        fleet.push(stretch);
        regions.entry(&step.region).or_default().push(stretch);
        if let Some(team) = &step.owner {
            teams.entry(team).or_default().push(stretch);
        }
    }
    let excess = |kind, cap: u32, (from, out): (Timestamp, u32)| {
        let expected = format!("at most {cap} out at a time");
        Breach::of(kind, expected, out.to_string()).at(from)
    };
    if let Some(cap) = policy.parallel_fleet {
        for found in over(&fleet, cap) {
            findings.push(excess(Kind::ParallelFleet, cap, found));
        }
    }
    if let Some(cap) = policy.parallel_region {
        for (region, stretches) in &regions {
            for found in over(stretches, cap) {
                findings.push(excess(Kind::ParallelRegion, cap, found).region(region));
            }
        }
    }
    if let Some(cap) = policy.parallel_team {
        for (team, stretches) in &teams {
            for found in over(stretches, cap) {
                findings.push(excess(Kind::ParallelTeam, cap, found).team(team));
            }
        }
    }
}

/// Each stretch during which more than `cap` are out: from when on, and how many at worst.
fn over(out: &[Stretch], cap: u32) -> Vec<(Timestamp, u32)> {
    let mut found: Vec<(Timestamp, u32)> = Vec::new();
    let mut is_over = false;
    for (at, level) in levels(out) {
        if level <= cap {
            is_over = false;
        } else if let Some((_, worst)) = found.last_mut().filter(|_| is_over) {
            *worst = level.max(*worst);
        } else {
            found.push((at, level));
            is_over = true;
        }
    }
    found
}

/// How many are out from each moment on at which that changes.
pub(crate) fn levels(out: &[Stretch]) -> Vec<(Timestamp, u32)> {
    let mut changes: BTreeMap<Timestamp, i64> = BTreeMap::new();
    for (start, end) in out {
        if start < end {
            *changes.entry(*start).or_default() += 1;
            *changes.entry(*end).or_default() -= 1;
        }
    }
    let mut level = 0i64;
    changes
        .into_iter()
        .filter(|(_, change)| *change != 0)
        .map(|(at, change)| {
            level += change;
            (at, u32::try_from(level).unwrap_or_default())
        })
        .collect()
}
