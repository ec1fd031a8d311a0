//! Planning again changes nothing: where a parent's steps are still what would be asked for and may
//! still be carried out, they keep their times.

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_model::{HostName, Plan, PlanStep, PlannedService, RegionName, ServiceName};

use super::assemble;
use super::build::Change;
use super::draft::{Draft, Task};
use super::puzzle::Puzzle;
use super::schedule::{Placement, Schedule, index, score};
use super::{Planned, report, search};
use crate::request::Request;
use crate::windows::tzdb_version;

/// The parent, or its remaining steps as a child plan, if all else is as it was.
pub(crate) fn parent_as_it_is(draft: &Draft<'_>) -> Option<Planned> {
    let request = draft.request;
    let (_, parent) = request.parent?;
    let remaining: BTreeMap<&HostName, &PlanStep> = parent
        .steps
        .iter()
        .filter(|step| !request.proven.contains(&step.host))
        .filter(|step| {
            let change = parent.variants.get(index(step.variant));
            change.is_none_or(|change| request.set_aside(change).is_none())
        })
        .map(|step| (&step.host, step))
        .collect();
    if remaining.is_empty() || !is_same_frame(draft, parent, &remaining) {
        return None;
    }
    let all_as_before = draft.candidates.len() == remaining.len()
        && draft.candidates.iter().all(|candidate| {
            remaining
                .get(&candidate.work.host)
                .is_some_and(|step| is_same_step(draft, parent, candidate, step))
        });
    if !all_as_before {
        return None;
    }
    if remaining.len() < parent.steps.len() {
        let (puzzle, tasks) = draft.puzzle(&Change::default());
        let (puzzle, schedule) = as_planned(puzzle, &tasks, draft, &remaining)?;
        let found = search::measured(&puzzle, schedule);
        let (plan, waiting) = assemble::plan(draft, &puzzle, &tasks, &found.schedule);
        let report = report(draft, &puzzle, &tasks, &found, waiting);
        return Some(Planned { plan, report });
    }
    // Nothing has come of it so far: the parent, reported as it was when it was made.
    let then = Request {
        now: parent.made_at,
        ..request.clone()
    };
    let draft = Draft::new(&then);
    let (puzzle, tasks) = draft.puzzle(&Change::default());
    let (puzzle, schedule) = as_planned(puzzle, &tasks, &draft, &remaining)?;
    let found = search::measured(&puzzle, schedule);
    Some(Planned {
        plan: Some(parent.clone()),
        report: report(&draft, &puzzle, &tasks, &found, Vec::new()),
    })
}

/// The parent where a new plan says nothing else: then there is nothing to approve again.
pub(crate) fn parent_if_equal(request: &Request<'_>, mut plan: Plan) -> Plan {
    let Some((_, parent)) = request.parent else {
        return plan;
    };
    let new = (plan.made_at, plan.generation, plan.parent.clone());
    (plan.made_at, plan.generation) = (parent.made_at, parent.generation);
    plan.parent.clone_from(&parent.parent);
    let seen: Vec<_> = plan
        .steps
        .iter()
        .map(|step| step.precheck.facts_as_of)
        .collect();
    for (step, before) in plan.steps.iter_mut().zip(&parent.steps) {
        step.precheck.facts_as_of = before.precheck.facts_as_of;
    }
    if plan == *parent {
        return plan;
    }
    (plan.made_at, plan.generation, plan.parent) = new;
    for (step, seen) in plan.steps.iter_mut().zip(seen) {
        step.precheck.facts_as_of = seen;
    }
    plan
}

/// Whether what surrounds the steps is as it was.
fn is_same_frame(
    draft: &Draft<'_>,
    parent: &Plan,
    remaining: &BTreeMap<&HostName, &PlanStep>,
) -> bool {
    let request = draft.request;
    let bulletin: Vec<_> = request.bulletin.iter().cloned().collect();
    let touched: BTreeSet<&RegionName> = remaining.values().map(|step| &step.region).collect();
    let regions = assemble::planned_regions(draft, &touched);
    let services: BTreeMap<&ServiceName, &PlannedService> = draft
        .services
        .iter()
        .map(|(name, service)| (*name, service))
        .collect();
    parent.realm == request.realm
        && parent.lane == request.lane
        && parent.overriding == request.overriding
        && parent.bulletin == bulletin
        && parent.policy == request.fleet.rollout
        && parent.tzdb == tzdb_version()
        && parent.out_of_service == assemble::out_of_service(draft)
        && regions
            .iter()
            .all(|(name, region)| parent.regions.get(name) == Some(region))
        && services
            .iter()
            .all(|(name, service)| parent.services.get(*name) == Some(*service))
}

/// Whether a host would get the same step, and it is not too late for it.
fn is_same_step(
    draft: &Draft<'_>,
    parent: &Plan,
    candidate: &super::draft::Candidate<'_>,
    step: &PlanStep,
) -> bool {
    let variant = parent.variants.get(index(step.variant));
    let wave = parent.waves.get(index(step.wave));
    step.start >= draft.request.now
        && variant == Some(&draft.variants[candidate.variant])
        && wave.is_some_and(|wave| wave.stage == candidate.stage)
        && step.region == *draft.regions[candidate.region].name
        && step.owner.as_ref() == candidate.owner
        && step.services == candidate.host.services
        && step.drain == candidate.drain
        && step.proof.ports == candidate.work.ports
        && step.risk == candidate.work.risk.max(1)
        && step.deadline == candidate.work.deadline
}

/// The steps of a plan as a schedule; `None` where they do not fit the puzzle. Tasks of the puzzle are
/// put in the order of their start.
fn as_planned(
    mut puzzle: Puzzle,
    tasks: &[Task],
    draft: &Draft<'_>,
    remaining: &BTreeMap<&HostName, &PlanStep>,
) -> Option<(Puzzle, Schedule)> {
    let step_of = |task: usize| {
        let host = *tasks[task].hosts.first()?;
        remaining.get(&draft.candidates[host].work.host).copied()
    };
    let grid = puzzle.grid;
    let mut placements = Vec::with_capacity(puzzle.groups.len());
    for group in &mut puzzle.groups {
        let mut placed = Vec::with_capacity(group.tasks.len());
        for task in &group.tasks {
            let step = step_of(*task)?;
            let minute = grid.minutes_up(step.start);
            let end = grid.minutes_up(step.end);
            let tick = u32::try_from(grid.tick_from(minute)).ok()?;
            let starts = &puzzle.starts[group.starts];
            let at = starts
                .binary_search_by(|start| start.tick.cmp(&tick))
                .ok()?;
            if grid.minute(index(tick)) != minute || end - minute != group.minutes {
                return None;
            }
            let placement = Placement {
                tick,
                count: 1,
                wave: step.wave,
                occurrence: starts[at].occurrence,
            };
            placed.push((placement, *task));
        }
        placed.sort_by_key(|(placement, task)| (placement.tick, *task));
        group.tasks = placed.iter().map(|(_, task)| *task).collect();
        placements.push(
            placed
                .into_iter()
                .map(|(placement, _)| placement)
                .collect::<Vec<_>>(),
        );
    }
    let left = vec![0; puzzle.groups.len()];
    let score = score(&puzzle, &placements, &left);
    let schedule = Schedule {
        placements,
        left,
        score,
    };
    Some((puzzle, schedule))
}
