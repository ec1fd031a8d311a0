//! From a schedule to the plan as a document.

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_model::{
    HostName, NotPlanned, NotPlannedReason, Plan, PlanStep, PlannedRegion, Precheck, Proof,
    RegionName, ServiceName, Stage, Wave,
};

use super::draft::{Candidate, Draft, Task};
use super::puzzle::{HORIZON_DAYS, Puzzle};
use super::schedule::{Schedule, index};
use crate::windows::tzdb_version;

/// Mebibytes asked for where packages are unpacked: several times the largest mail server's packages,
/// so that saving the old ones fits too.
const FREE_MIB: u32 = 512;

/// The plan, and the hosts that found no place with the reason.
pub(crate) fn plan(
    draft: &Draft<'_>,
    puzzle: &Puzzle,
    tasks: &[Task],
    schedule: &Schedule,
) -> (Option<Plan>, Vec<NotPlanned>) {
    let placed = placed_hosts(puzzle, tasks, schedule);
    let waiting = without_place(draft, puzzle, tasks, schedule, &placed);
    if placed.is_empty() {
        return (None, waiting);
    }
    let (waves, wave_of) = waves(draft, puzzle, &placed);
    let variants: BTreeSet<usize> = placed
        .keys()
        .map(|host| draft.candidates[*host].variant)
        .collect();
    let variants: Vec<usize> = variants.into_iter().collect();
    let after = After::new(draft, &placed);
    let mut steps: Vec<PlanStep> = placed
        .iter()
        .map(|(host, place)| {
            let candidate = &draft.candidates[*host];
            let key = (candidate.region, place.wave);
            PlanStep {
                host: candidate.work.host.clone(),
                region: draft.regions[candidate.region].name.clone(),
                owner: candidate.owner.cloned(),
                wave: wave_of.get(&key).copied().unwrap_or(0),
                variant: number(variants.binary_search(&candidate.variant).unwrap_or(0)),
                start: puzzle.grid.at(place.start),
                end: puzzle.grid.at(place.end),
                services: candidate.host.services.clone(),
                drain: candidate.drain.clone(),
                precheck: Precheck {
                    facts_as_of: candidate.work.facts_as_of.min(draft.request.now),
                    free_mib: FREE_MIB,
                },
                proof: Proof {
                    ports: candidate.work.ports.clone(),
                    probes: probes(draft, candidate),
                },
                after: after.of(draft, candidate),
                risk: candidate.work.risk.max(1),
                deadline: candidate.work.deadline,
            }
        })
        .collect();
    steps.sort_by(|a, b| (a.start, &a.host).cmp(&(b.start, &b.host)));
    let request = draft.request;
    let carried: BTreeSet<&ServiceName> = steps.iter().flat_map(|s| &s.services).collect();
    let services = draft
        .services
        .iter()
        .filter(|(name, _)| carried.contains(name))
        .map(|(name, service)| ((*name).clone(), service.clone()))
        .collect();
    let touched: BTreeSet<&RegionName> = steps.iter().map(|s| &s.region).collect();
    let plan = Plan {
        format: Plan::FORMAT,
        realm: request.realm,
        generation: request
            .parent
            .map_or(1, |(_, parent)| parent.generation.saturating_add(1)),
        parent: request.parent.map(|(id, _)| id.clone()),
        made_at: request.now,
        tzdb: tzdb_version(),
        lane: request.lane,
        overriding: request.overriding.clone(),
        retries: variants
            .iter()
            .filter_map(|v| request.failed.get(&draft.variants[*v]))
            .cloned()
            .collect(),
        bulletin: request.bulletin.iter().cloned().collect(),
        title: request.title.clone(),
        policy: request.fleet.rollout.clone(),
        regions: planned_regions(draft, &touched),
        services,
        out_of_service: out_of_service(draft),
        variants: variants
            .iter()
            .map(|v| draft.variants[*v].clone())
            .collect(),
        waves,
        steps,
    };
    (Some(plan), waiting)
}

/// Hosts out of service that the plan's services know.
pub(crate) fn out_of_service(draft: &Draft<'_>) -> BTreeSet<HostName> {
    let known: BTreeSet<&HostName> = draft
        .services
        .iter()
        .flat_map(|(_, service)| service.hosts.values().flatten())
        .collect();
    let out = draft.request.out_of_service.iter();
    out.filter(|host| known.contains(host)).cloned().collect()
}

pub(crate) fn planned_regions(
    draft: &Draft<'_>,
    touched: &BTreeSet<&RegionName>,
) -> BTreeMap<RegionName, PlannedRegion> {
    let regions = draft.request.fleet.regions.iter();
    regions
        .filter(|(name, _)| touched.contains(name))
        .map(|(name, region)| {
            let planned = PlannedRegion {
                time_zone: region.time_zone.clone(),
                owner: region.owner.clone(),
                pilot: region.pilot,
                windows: region.windows.clone(),
            };
            (name.clone(), planned)
        })
        .collect()
}

/// Where a host went, times in minutes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) start: i32,
    pub(crate) end: i32,
    /// Number of the wave within its region.
    wave: u32,
    occurrence: u32,
}

/// Every placed host, by place in the draft's candidates.
pub(crate) fn placed_hosts(
    puzzle: &Puzzle,
    tasks: &[Task],
    schedule: &Schedule,
) -> BTreeMap<usize, Place> {
    let mut placed = BTreeMap::new();
    for (group, placements) in puzzle.groups.iter().zip(&schedule.placements) {
        let mut rest = group.tasks.iter();
        for placement in placements {
            let start = puzzle.grid.minute(index(placement.tick));
            for task in rest.by_ref().take(index(placement.count)) {
                for host in &tasks[*task].hosts {
                    let place = Place {
                        start,
                        end: start + group.minutes,
                        wave: placement.wave,
                        occurrence: placement.occurrence,
                    };
                    placed.insert(*host, place);
                }
            }
        }
    }
    placed
}

/// Hosts that found no place, each with the reason.
fn without_place(
    draft: &Draft<'_>,
    puzzle: &Puzzle,
    tasks: &[Task],
    schedule: &Schedule,
    placed: &BTreeMap<usize, Place>,
) -> Vec<NotPlanned> {
    let missing_of = |group: usize| {
        let hosts = puzzle.groups[group]
            .tasks
            .iter()
            .flat_map(|task| &tasks[*task].hosts);
        hosts.copied().find(|host| !placed.contains_key(host))
    };
    let mut waiting = Vec::new();
    for (number, group) in puzzle.groups.iter().enumerate() {
        if schedule.left[number] == 0 {
            continue;
        }
        // A group it waits for that has no place itself; else there was no room in any window.
        let blocker = group
            .waits
            .iter()
            .flat_map(|wait| &puzzle.barriers[wait.barrier].groups)
            .find_map(|group| missing_of(*group));
        for host in group.tasks.iter().flat_map(|task| &tasks[*task].hosts) {
            if placed.contains_key(host) {
                continue;
            }
            let reason = match blocker {
                Some(blocker) => NotPlannedReason::DependsOnUnplanned {
                    host: draft.candidates[blocker].work.host.clone(),
                },
                None => NotPlannedReason::NoWindow {
                    region: draft.regions[group.region].name.clone(),
                    days: HORIZON_DAYS,
                },
            };
            waiting.push(NotPlanned {
                host: draft.candidates[*host].work.host.clone(),
                reason,
            });
        }
    }
    waiting
}

/// Waves ordered by start, and the place of each by region and number within it.
fn waves(
    draft: &Draft<'_>,
    puzzle: &Puzzle,
    placed: &BTreeMap<usize, Place>,
) -> (Vec<Wave>, BTreeMap<(usize, u32), u32>) {
    struct Span {
        start: i32,
        end: i32,
        occurrence: u32,
        stage: Stage,
    }
    let mut spans: BTreeMap<(usize, u32), Span> = BTreeMap::new();
    for (host, place) in placed {
        let candidate = &draft.candidates[*host];
        let span = spans.entry((candidate.region, place.wave)).or_insert(Span {
            start: place.start,
            end: place.end,
            occurrence: place.occurrence,
            stage: candidate.stage,
        });
        span.start = span.start.min(place.start);
        span.end = span.end.max(place.end);
    }
    let mut ordered: Vec<_> = spans.into_iter().collect();
    ordered.sort_by_key(|((region, wave), span)| (span.start, *region, *wave));
    let mut numbers = BTreeMap::new();
    let mut waves = Vec::with_capacity(ordered.len());
    for ((region, wave), span) in ordered {
        numbers.insert((region, wave), number(waves.len()));
        let windows = &puzzle.regions[region].windows;
        waves.push(Wave {
            region: draft.regions[region].name.clone(),
            stage: span.stage,
            start: puzzle.grid.at(span.start),
            end: puzzle.grid.at(span.end),
            window: windows.get(index(span.occurrence)).copied().flatten(),
        });
    }
    (waves, numbers)
}

fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn probes(draft: &Draft<'_>, candidate: &Candidate<'_>) -> BTreeSet<ServiceName> {
    let has_probe = |name: &&ServiceName| {
        draft
            .services
            .iter()
            .any(|(known, service)| known == name && service.probe.is_some())
    };
    candidate
        .host
        .services
        .iter()
        .filter(has_probe)
        .cloned()
        .collect()
}

/// Who must be proven before whom.
///
/// A step names the test host of its variant and the hosts that the order of services puts before it.
/// That the pilot region comes before the rest is said by the stages of the waves: naming each of its
/// hosts in each step of the rest would make a plan grow with the square of the fleet, and a policy
/// that bears failures bears them there too.
struct After {
    test: BTreeMap<usize, BTreeSet<HostName>>,
    class: Vec<BTreeSet<HostName>>,
}

impl After {
    fn new(draft: &Draft<'_>, placed: &BTreeMap<usize, Place>) -> Self {
        let mut test: BTreeMap<usize, BTreeSet<HostName>> = BTreeMap::new();
        for host in placed.keys() {
            let candidate = &draft.candidates[*host];
            if candidate.stage == Stage::Test {
                test.entry(candidate.variant)
                    .or_default()
                    .insert(candidate.work.host.clone());
            }
        }
        let name = |host: &usize| draft.candidates[*host].work.host.clone();
        let class = draft
            .classes
            .iter()
            .map(|class| {
                let before = class
                    .after
                    .iter()
                    .flat_map(|other| &draft.classes[*other].hosts);
                before
                    .filter(|host| placed.contains_key(host))
                    .map(name)
                    .collect()
            })
            .collect();
        Self { test, class }
    }

    fn of(&self, draft: &Draft<'_>, candidate: &Candidate<'_>) -> BTreeSet<HostName> {
        let mut after = self.class.get(candidate.class).cloned().unwrap_or_default();
        if candidate.stage != Stage::Test
            && let Some(test) = self.test.get(&candidate.variant)
        {
            after.extend(test.iter().cloned());
        }
        debug_assert!(!after.contains(&candidate.work.host) || draft.candidates.is_empty());
        after
    }
}
