//! The planner: from a request to a plan, and to a report that leaves nothing out.
//!
//! Entry type: [`plan`]. It sorts out who can be planned (`draft`), writes the rest down as whole
//! numbers (`build`, `puzzle`), places it by several rules (`schedule`), measures the best against bounds that
//! no plan can beat (`bound.rs`), and looks for what would make missed deadlines
//! possible (`remedies`).
//!
//! What is honoured always, in either lane: the minimum in service of each service, in each region and
//! over all; limits on how many are out at a time; the order of services in a region; clusters that go
//! together; the test host of a variant first, then its pilot region, then the rest. What the lane
//! decides: windows, blackouts, how long each stage soaks.
//!
//! **Invariant:** pure and deterministic. It proposes and never acts.

mod assemble;
mod build;
mod draft;
mod guard;
mod keep;
pub(crate) mod puzzle;
mod remedies;
pub(crate) mod schedule;
mod search;
#[cfg(test)]
mod tests;

use mailkeep_model::{NotPlanned, Plan, PlanningReport};

use crate::request::Request;
use build::Change;
use draft::{Draft, Task};
use puzzle::Puzzle;
use search::Found;

/// A plan, or none where there is nothing to do or nothing can be done, and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The plan; `None` where no host gets a step.
    pub plan: Option<Plan>,
    /// What it waits for, what it leaves out, and how near it is to the best possible.
    pub report: PlanningReport,
}

/// Makes a plan.
///
/// Where the request names a parent, nothing has come of it so far, and the parent's steps are still what
/// would be asked for and may still be carried out, the answer is the parent itself: planning again
/// changes nothing. Where hosts are proven, or a change is set aside, and all else is as it was, the others keep their
/// times.
pub fn plan(request: &Request<'_>) -> Planned {
    let draft = Draft::new(request);
    if let Some(kept) = keep::parent_as_it_is(&draft) {
        return kept;
    }
    let (puzzle, tasks) = draft.puzzle(&Change::default());
    let found = search::best(&puzzle);
    let (plan, waiting) = assemble::plan(&draft, &puzzle, &tasks, &found.schedule);
    let report = report(&draft, &puzzle, &tasks, &found, waiting);
    let plan = plan.map(|plan| keep::parent_if_equal(request, plan));
    Planned { plan, report }
}

fn report(
    draft: &Draft<'_>,
    puzzle: &Puzzle,
    tasks: &[Task],
    found: &Found,
    waiting: Vec<NotPlanned>,
) -> PlanningReport {
    let mut not_planned = draft.not_planned.clone();
    not_planned.extend(waiting);
    not_planned.sort();
    not_planned.dedup();
    let missed_deadlines = remedies::missed(draft, puzzle, tasks, &found.schedule);
    let planned = found
        .schedule
        .placements
        .iter()
        .any(|placed| !placed.is_empty());
    if !planned {
        return PlanningReport {
            not_planned,
            missed_deadlines,
            ..PlanningReport::default()
        };
    }
    PlanningReport {
        end_minutes: puzzle.grid.elapsed(found.schedule.score.end),
        end_bound_minutes: puzzle.grid.elapsed(found.end_bound),
        exposure: found.schedule.score.exposure,
        exposure_bound: found.exposure_bound,
        not_planned,
        missed_deadlines,
    }
}
