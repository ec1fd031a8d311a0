//! Tries rules of placing and keeps the best schedule, beside what no schedule can beat.

mod timely;

use super::puzzle::Puzzle;
use super::schedule::{Lead, Rule, Schedule, run, run_led};
use crate::bound;
use timely::Timely;

/// The best schedule found, and the bounds: over all schedules of the same tasks that keep as many
/// deadlines of each group.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) schedule: Schedule,
    /// None ends earlier, in minutes.
    pub(crate) end_bound: i32,
    /// None has less exposure.
    pub(crate) exposure_bound: u64,
}

/// Steps' worth below which prices make no difference, as tried.
const STEPS: [f64; 4] = [0.5, 1.0, 2.0, 4.0];

/// The best schedule found: no deadline is missed that another one keeps; then neither its end nor its
/// exposure is further above the least possible than need be.
pub(crate) fn best(puzzle: &Puzzle) -> Found {
    let has_deadlines = puzzle.groups.iter().any(|group| group.deadline.is_some());
    let mut first = vec![Rule::Risk, Rule::Closing];
    if has_deadlines {
        first.push(Rule::Deadline);
    }
    // Where several variants share the pilot region, it matters which of them is done first.
    let pilots = puzzle
        .barriers
        .iter()
        .filter(|barrier| barrier.is_pilot())
        .count();
    let leads = if pilots > 1 {
        &[Lead::Ratio, Lead::Shortest][..]
    } else {
        &[Lead::Ratio][..]
    };
    let by_all = |leads: &[Lead]| -> Vec<Schedule> {
        pairs(&first, leads)
            .map(|(rule, lead)| run_led(puzzle, rule, lead))
            .collect()
    };
    let mut tried = by_all(leads);
    let by_rule = by_all(&[Lead::ByRule]);
    let mut leads = leads.to_vec();
    if most_timely(&by_rule).score < most_timely(&tried).score {
        leads.push(Lead::ByRule);
    }
    let leads = leads.as_slice();
    tried.extend(by_rule);
    let timely = Timely::new(puzzle, most_timely(&tried));
    let releases = bound::releases(&timely.puzzle);
    let end_bound = bound::end(&timely.puzzle, &releases, timely.earliest(puzzle, &tried));
    let mut second = vec![Rule::Laxity { until: end_bound }];
    if has_deadlines {
        second.extend([Rule::Risk, Rule::Closing]);
    }
    tried.extend(timely.by_all(puzzle, &second, leads));
    let as_timely = tried.iter().filter(|s| timely.allows(puzzle, s));
    let least = as_timely
        .map(|s| (s.score.exposure, s.score.end))
        .min()
        .unwrap_or_default();
    let guide = bound::exposure(&timely.puzzle, &releases, least.0, least.1);
    let mut guided = vec![Rule::Following(&guide.started)];
    guided.extend(STEPS.map(|steps| Rule::Priced {
        gain: &guide.gain,
        steps,
    }));
    tried.extend(timely.by_all(puzzle, &guided, leads));
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
    // It keeps other deadlines, or has a place for others, than the bounds are for.
    if !timely.allows(puzzle, &schedule) {
        return measured(puzzle, schedule);
    }
    Found {
        end_bound: end_bound.min(schedule.score.end),
        exposure_bound: exposure_bound.min(schedule.score.exposure),
        schedule,
    }
}

fn pairs<'r>(rules: &'r [Rule<'r>], leads: &'r [Lead]) -> impl Iterator<Item = (Rule<'r>, Lead)> {
    leads
        .iter()
        .flat_map(move |lead| rules.iter().map(move |rule| (*rule, *lead)))
}

/// A schedule that is given, beside the bounds.
pub(crate) fn measured(puzzle: &Puzzle, schedule: Schedule) -> Found {
    let timely = Timely::new(puzzle, &schedule);
    let releases = bound::releases(&timely.puzzle);
    let score = schedule.score;
    let guide = bound::exposure(&timely.puzzle, &releases, score.exposure, score.end);
    Found {
        end_bound: bound::end(&timely.puzzle, &releases, score.end),
        exposure_bound: guide.bound.min(score.exposure),
        schedule,
    }
}

/// The one that leaves the fewest tasks without a place, and then the fewest deadlines missed.
fn most_timely(tried: &[Schedule]) -> &Schedule {
    // There is always one: the caller has tried something.
    tried.iter().min_by_key(|s| s.score).unwrap_or(&tried[0])
}
