//! Rules on what comes before what: the test host, the pilot region, soak, dependencies, clusters.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use mailkeep_model::{PlanStep, RegionName, ServiceName, Stage};

use super::structure::index;
use super::{Breach, BreachKind as Kind, Findings, Look};

pub(super) fn check(look: &Look<'_>, findings: &mut Findings) {
    stages(look, findings);
    for (number, steps) in by_variant(look) {
        test_host(look, number, &steps, findings);
        soak(look, number, &steps, findings);
        clusters(look, number, &steps, findings);
    }
    soak_between_waves(look, findings);
    named_dependencies(look, findings);
    service_dependencies(look, findings);
}

/// The steps of one variant by stage.
#[derive(Default)]
struct ByStage<'a> {
    test: Vec<&'a PlanStep>,
    pilot: Vec<&'a PlanStep>,
    rest: Vec<&'a PlanStep>,
}

fn by_variant<'a>(look: &Look<'a>) -> BTreeMap<u32, ByStage<'a>> {
    let mut variants: BTreeMap<u32, ByStage<'a>> = BTreeMap::new();
    for step in &look.plan.steps {
        // What does not exist is said elsewhere.
        let Some(wave) = look.plan.waves.get(index(step.wave)) else {
            continue;
        };
        if look.plan.variants.get(index(step.variant)).is_none() {
            continue;
        }
        let stages = variants.entry(step.variant).or_default();
        match wave.stage {
            Stage::Test => stages.test.push(step),
            Stage::Pilot => stages.pilot.push(step),
            Stage::Rest => stages.rest.push(step),
        }
    }
    variants
}

fn stages(look: &Look<'_>, findings: &mut Findings) {
    for (number, wave) in look.plan.waves.iter().enumerate() {
        let Some(region) = look.plan.regions.get(&wave.region) else {
            continue;
        };
        let expected = match (wave.stage, region.pilot) {
            (Stage::Pilot, false) => "a pilot region",
            (Stage::Rest, true) => "a region that is not the pilot",
            (Stage::Pilot, true) | (Stage::Rest, false) | (Stage::Test, _) => continue,
        };
        findings.push(
            Breach::of(
                Kind::StageRegion,
                expected,
                format!("a {} wave", wave.stage.name()),
            )
            .wave(number)
            .region(&wave.region),
        );
    }
}

fn test_host(look: &Look<'_>, number: u32, steps: &ByStage<'_>, findings: &mut Findings) {
    let cluster = look
        .plan
        .variants
        .get(index(number))
        .is_some_and(|variant| variant.whole_cluster);
    if steps.test.is_empty() {
        let breach = Breach::of(Kind::TestMissing, "a test host before all others", "none")
            .variant(index(number));
        // What an earlier plan has proven has no step in this one.
        let seen_before = look.plan.parent.is_some();
        findings.push(if seen_before {
            breach.softened()
        } else {
            breach
        });
    }
    let regions: BTreeSet<&RegionName> = steps.test.iter().map(|step| &step.region).collect();
    let too_many = if cluster {
        regions.len() > 1
    } else {
        steps.test.len() > 1
    };
    if too_many {
        findings.push(
            Breach::of(
                Kind::TestNotAlone,
                if cluster {
                    "one cluster"
                } else {
                    "one test host"
                },
                format!("{} hosts in {} regions", steps.test.len(), regions.len()),
            )
            .variant(index(number)),
        );
    }
}

fn soak(look: &Look<'_>, number: u32, steps: &ByStage<'_>, findings: &mut Findings) {
    let rules = look.rules;
    let mut require =
        |kind, before: &[&PlanStep], minutes: u32, after: &[&PlanStep], what: &str| {
            let Some(last) = before.iter().map(|step| step.end).max() else {
                return;
            };
            let earliest = later(last, minutes);
            for step in after.iter().filter(|step| step.start < earliest) {
                findings.push(
                    Breach::of(
                        kind,
                        format!("a start not before {earliest}, {minutes} minutes after {what}"),
                        step.start.to_string(),
                    )
                    .host(&step.host)
                    .variant(index(number)),
                );
            }
        };
    let test = "its variant's test host";
    require(
        Kind::SoakTest,
        &steps.test,
        rules.soak_test_minutes,
        &steps.pilot,
        test,
    );
    require(
        Kind::SoakTest,
        &steps.test,
        rules.soak_test_minutes,
        &steps.rest,
        test,
    );
    let pilot = "its variant's last host of the pilot region";
    require(
        Kind::SoakPilot,
        &steps.pilot,
        rules.soak_pilot_minutes,
        &steps.rest,
        pilot,
    );
}

fn later(at: Timestamp, minutes: u32) -> Timestamp {
    at.saturating_add(SignedDuration::from_mins(i64::from(minutes)))
        .unwrap_or(Timestamp::MAX)
}

/// A cluster that must go together has one start and one end in each region.
fn clusters(look: &Look<'_>, number: u32, steps: &ByStage<'_>, findings: &mut Findings) {
    let whole = look
        .plan
        .variants
        .get(index(number))
        .is_some_and(|v| v.whole_cluster);
    if !whole {
        return;
    }
    let mut first: BTreeMap<&RegionName, &PlanStep> = BTreeMap::new();
    for step in steps.test.iter().chain(&steps.pilot).chain(&steps.rest) {
        let leader = first.entry(&step.region).or_insert(step);
        if (leader.start, leader.end) != (step.start, step.end) {
            findings.push(
                Breach::of(
                    Kind::WholeClusterSplit,
                    format!("{} to {}, as {}", leader.start, leader.end, leader.host),
                    format!("{} to {}", step.start, step.end),
                )
                .host(&step.host)
                .region(&step.region)
                .variant(index(number)),
            );
        }
    }
}

fn soak_between_waves(look: &Look<'_>, findings: &mut Findings) {
    let mut waves: BTreeMap<&RegionName, Vec<(Timestamp, Timestamp, usize)>> = BTreeMap::new();
    for (number, wave) in look.plan.waves.iter().enumerate() {
        let of_region = waves.entry(&wave.region).or_default();
        of_region.push((wave.start, wave.end, number));
    }
    let minutes = look.rules.soak_wave_minutes;
    for (region, mut waves) in waves {
        waves.sort_unstable();
        let mut ended: Option<Timestamp> = None;
        for (start, end, number) in waves {
            if let Some(earliest) = ended.map(|ended| later(ended, minutes))
                && start < earliest
            {
                findings.push(
                    Breach::of(
                        Kind::SoakWave,
                        format!(
                            "a start not before {earliest}, {minutes} minutes after the wave before"
                        ),
                        start.to_string(),
                    )
                    .wave(number)
                    .region(region),
                );
            }
            ended = ended.max(Some(end));
        }
    }
}

fn named_dependencies(look: &Look<'_>, findings: &mut Findings) {
    for step in &look.plan.steps {
        for host in &step.after {
            let Some(first) = look
                .step_of
                .get(host)
                .filter(|first| first.host != step.host)
            else {
                let expected = "another host of the plan to wait for";
                findings
                    .push(Breach::of(Kind::AfterUnknown, expected, host.as_str()).host(&step.host));
                continue;
            };
            if first.end > step.start {
                findings.push(waits(step, first));
            }
        }
    }
}

fn waits(step: &PlanStep, first: &PlanStep) -> Breach {
    Breach::of(
        Kind::DependencyOrder,
        format!(
            "a start not before {}, when {} is done",
            first.end, first.host
        ),
        step.start.to_string(),
    )
    .host(&step.host)
}

/// Hosts of a region that carry the same services.
type Class<'a> = (&'a RegionName, &'a BTreeSet<ServiceName>);

/// The services of a class, and its steps.
type Members<'a> = (&'a BTreeSet<ServiceName>, Vec<&'a PlanStep>);

/// `after` of services: in a region, the hosts of the services named come first. Where two hosts would
/// each have to come before the other, because both carry both services, neither must.
fn service_dependencies(look: &Look<'_>, findings: &mut Findings) {
    let mut classes: BTreeMap<Class<'_>, Vec<&PlanStep>> = BTreeMap::new();
    for step in &look.plan.steps {
        let class = (&step.region, &step.services);
        classes.entry(class).or_default().push(step);
    }
    let mut by_region: BTreeMap<&RegionName, Vec<Members<'_>>> = BTreeMap::new();
    for ((region, services), steps) in classes {
        by_region.entry(region).or_default().push((services, steps));
    }
    for classes in by_region.values() {
        let mut carriers: BTreeMap<&ServiceName, Vec<usize>> = BTreeMap::new();
        for (place, (services, _)) in classes.iter().enumerate() {
            for service in *services {
                carriers.entry(service).or_default().push(place);
            }
        }
        for (services, steps) in classes {
            let asked = services
                .iter()
                .filter_map(|name| look.plan.services.get(name));
            let named = asked.flat_map(|service| &service.after);
            let earlier: BTreeSet<usize> = named
                .filter_map(|name| carriers.get(name))
                .flatten()
                .copied()
                .collect();
            for (of_first, first) in earlier.iter().filter_map(|place| classes.get(*place)) {
                if !must_follow(look, of_first, services) {
                    follows(steps, first, findings);
                }
                if findings.is_full() {
                    return;
                }
            }
        }
    }
}

fn must_follow(
    look: &Look<'_>,
    later: &BTreeSet<ServiceName>,
    earlier: &BTreeSet<ServiceName>,
) -> bool {
    later.iter().any(|name| {
        let service = look.plan.services.get(name);
        service.is_some_and(|service| !service.after.is_disjoint(earlier))
    })
}

fn follows(steps: &[&PlanStep], first: &[&PlanStep], findings: &mut Findings) {
    let Some(last) = first.iter().max_by_key(|step| step.end) else {
        return;
    };
    for step in steps {
        // Where it is named, the order was looked at already.
        if last.end > step.start && !step.after.contains(&last.host) {
            findings.push(waits(step, last));
        }
        if let Some(missing) = first.iter().find(|first| !step.after.contains(&first.host)) {
            findings.push(
                Breach::of(
                    Kind::DependencyUnlisted,
                    format!("{} among the hosts to wait for", missing.host),
                    "it is not",
                )
                .host(&step.host)
                .region(&step.region),
            );
        }
    }
}
