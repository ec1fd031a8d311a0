//! Tries rules of placing and keeps the best schedule, beside what no schedule can beat.

use std::borrow::Cow;

use super::puzzle::Puzzle;
use super::schedule::{Rule, Schedule, index, run};
use crate::bound;

/// The best schedule found, and the bounds.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) schedule: Schedule,
    /// No schedule of the same tasks ends earlier, in minutes.
    pub(crate) end_bound: i32,
    /// None has less exposure.
    pub(crate) exposure_bound: u64,
}

/// The best schedule found: no deadline is missed that another one keeps; then neither its end nor its
/// exposure is further above the least possible than need be.
pub(crate) fn best(puzzle: &Puzzle) -> Found {
    let mut tried = vec![
        run(puzzle, Rule::Risk, None),
        run(puzzle, Rule::Closing, None),
    ];
    let placed = placed_only(puzzle, earliest(&tried));
    let releases = bound::releases(&placed);
    if puzzle.groups.iter().any(|group| group.deadline.is_some()) {
        tried.push(run(puzzle, Rule::Deadline, None));
    }
    let until = earliest(&tried).score.end;
    let end_bound = bound::end(&placed, &releases, until);
    tried.push(run(puzzle, Rule::Laxity { until: end_bound }, None));
    let seen = tried
        .iter()
        .map(|s| (s.score.exposure, s.score.end))
        .min()
        .unwrap_or_default();
    let guide = bound::exposure(&placed, &releases, seen.0, seen.1, None);
    tried.push(run(puzzle, Rule::Following(&guide.started), None));
    if earliest(&tried).score.end > end_bound {
        let within = bound::exposure(&placed, &releases, seen.0, seen.1, Some(end_bound));
        tried.push(run(puzzle, Rule::Following(&within.started), None));
    }
    let exposure_bound = guide.bound;
    let above = |schedule: &Schedule| {
        let ratio = |reached: u64, bound: u64| reached.saturating_mul(1_000_000) / bound.max(1);
        let score = schedule.score;
        let end = ratio(
            puzzle.grid.elapsed(score.end),
            puzzle.grid.elapsed(end_bound),
        );
        let exposure = ratio(score.exposure, exposure_bound);
        (
            score.unplaced,
            score.missed,
            end.max(exposure),
            end + exposure,
        )
    };
    let schedule = tried
        .into_iter()
        .min_by_key(above)
        .unwrap_or_else(|| run(puzzle, Rule::Risk, None));
    Found {
        end_bound: end_bound.min(schedule.score.end),
        exposure_bound: exposure_bound.min(schedule.score.exposure),
        schedule,
    }
}

/// A schedule that is given, beside the bounds.
pub(crate) fn measured(puzzle: &Puzzle, schedule: Schedule) -> Found {
    let placed = placed_only(puzzle, &schedule);
    let releases = bound::releases(&placed);
    let score = schedule.score;
    let guide = bound::exposure(&placed, &releases, score.exposure, score.end, None);
    Found {
        end_bound: bound::end(&placed, &releases, score.end),
        exposure_bound: guide.bound.min(score.exposure),
        schedule,
    }
}

/// The puzzle without the tasks that a schedule found no place for: bounds are for the others.
fn placed_only<'a>(puzzle: &'a Puzzle, schedule: &Schedule) -> Cow<'a, Puzzle> {
    if schedule.score.unplaced == 0 {
        return Cow::Borrowed(puzzle);
    }
    let mut placed = puzzle.clone();
    for (group, left) in placed.groups.iter_mut().zip(&schedule.left) {
        let count = group.tasks.len().saturating_sub(index(*left));
        group.tasks.truncate(count);
    }
    // Groups without tasks hold nobody back.
    for number in 0..placed.groups.len() {
        if placed.groups[number].tasks.is_empty() {
            for barrier in &mut placed.barriers {
                barrier.groups.retain(|group| *group != number);
            }
        }
    }
    Cow::Owned(placed)
}

fn earliest(tried: &[Schedule]) -> &Schedule {
    // There is always one: the caller has tried something.
    tried
        .iter()
        .min_by_key(|s| (s.score.unplaced, s.score.end))
        .unwrap_or(&tried[0])
}
