//! Prices of capacity: a bound on exposure, and a fractional schedule to round.

use std::collections::BTreeMap;

use super::start_prices;
use crate::planner::puzzle::Puzzle;
use crate::planner::schedule::index;

/// Rounds of the volume algorithm at most. Each costs about as much as placing everything once.
const MAX_ROUNDS: u32 = 600;

/// Near enough: a thousandth of the bound, a tenth of what the planner is measured by.
const NEAR: f64 = 0.000_2;

/// A bound on exposure, and a fractional schedule that goes with it.
#[derive(Debug, Clone)]
pub(crate) struct Guide {
    /// No plan has less exposure.
    pub(crate) bound: u64,
    /// By group, by tick: how many tasks have been started up to it, in part.
    pub(crate) started: Vec<Vec<f32>>,
}

/// A bound on the exposure of any plan, given one that has `reached`. Starts that would end after
/// `until` are left out where one is given: the fractional schedule then keeps to it, and the bound
/// holds only for plans that do.
pub(crate) fn exposure(
    puzzle: &Puzzle,
    releases: &[i32],
    reached: u64,
    last_end: i32,
    until: Option<i32>,
) -> Guide {
    let problem = Problem::new(puzzle, releases, last_end, until);
    let start = start_prices::of(puzzle, releases, problem.ticks);
    volume(&problem, start, as_float(reached))
}

#[expect(clippy::cast_precision_loss, reason = "exposures are far below 2^53")]
fn as_float(number: u64) -> f64 {
    number as f64
}

/// A list of starts, from when on it may be used, and the rows.
type Kind<'a> = (usize, i32, &'a [(usize, u32)]);

/// Groups that may start at the same ticks under the same rows, and differ in risk only.
struct Class {
    /// Rows, and how much of each one task takes.
    needs: Vec<(usize, f64)>,
    /// Ticks of a step.
    ticks: usize,
    /// Ticks at which it may start, each with the minutes from "now" to the end.
    starts: Vec<(usize, f64)>,
    /// Groups: place, risk, how many tasks.
    members: Vec<(usize, f64, f64)>,
}

struct Problem {
    classes: Vec<Class>,
    caps: Vec<f64>,
    /// Ticks that have prices; what runs later pays nothing.
    ticks: usize,
    groups: usize,
}

impl Problem {
    fn new(puzzle: &Puzzle, releases: &[i32], last_end: i32, until: Option<i32>) -> Self {
        let ticks = puzzle.grid.tick_from(last_end) + 1;
        let mut by_kind: BTreeMap<Kind<'_>, Vec<usize>> = BTreeMap::new();
        for (number, group) in puzzle.groups.iter().enumerate() {
            let key = (group.starts, releases[number], group.needs.as_slice());
            by_kind.entry(key).or_default().push(number);
        }
        let mut classes = Vec::with_capacity(by_kind.len());
        for ((list, release, needs), members) in by_kind {
            let group = &puzzle.groups[members[0]];
            let end_of = |tick: usize| puzzle.grid.minute(tick) + group.minutes;
            let list = &puzzle.starts[list];
            let from = list.partition_point(|s| puzzle.grid.minute(index(s.tick)) < release);
            let mut starts = Vec::new();
            for start in &list[from..] {
                let tick = index(start.tick);
                if until.is_some_and(|until| end_of(tick) > until) && !starts.is_empty() {
                    break;
                }
                starts.push((tick, as_float(puzzle.grid.elapsed(end_of(tick)))));
                // The first one that pays nothing is as good as all after it.
                if tick >= ticks {
                    break;
                }
            }
            if starts.is_empty() {
                continue;
            }
            classes.push(Class {
                needs: needs
                    .iter()
                    .map(|(row, need)| (*row, f64::from(*need)))
                    .collect(),
                ticks: group.ticks,
                starts,
                members: members
                    .iter()
                    .map(|g| {
                        let group = &puzzle.groups[*g];
                        (*g, as_float(group.weight), f64::from(group.count()))
                    })
                    .collect(),
            });
        }
        Self {
            classes,
            caps: puzzle.rows.iter().map(|row| f64::from(row.cap)).collect(),
            ticks,
            groups: puzzle.groups.len(),
        }
    }

    /// The cheapest start of every group at these prices: the bound, what they use of each row by tick,
    /// and which start each takes.
    fn cheapest(
        &self,
        prices: &[f64],
        usage: &mut [f64],
        taken: &mut Vec<(usize, usize, f64)>,
    ) -> f64 {
        usage.fill(0.0);
        taken.clear();
        let width = self.ticks;
        let mut sums = vec![0.0; (width + 1) * self.caps.len()];
        let mut bound = 0.0;
        for (row, cap) in self.caps.iter().enumerate() {
            let sums = &mut sums[row * (width + 1)..(row + 1) * (width + 1)];
            let mut sum = 0.0;
            for (tick, price) in prices[row * width..(row + 1) * width].iter().enumerate() {
                sum += price;
                sums[tick + 1] = sum;
            }
            bound -= cap * sum;
        }
        let mut paid = Vec::new();
        for class in &self.classes {
            paid.clear();
            for (tick, _) in &class.starts {
                let (from, to) = ((*tick).min(width), (tick + class.ticks).min(width));
                let price: f64 = class
                    .needs
                    .iter()
                    .map(|(row, need)| {
                        let sums = &sums[row * (width + 1)..];
                        need * (sums[to] - sums[from])
                    })
                    .sum();
                paid.push(price);
            }
            for (group, risk, count) in &class.members {
                let mut best = (0, f64::INFINITY);
                for (place, ((_, end), price)) in class.starts.iter().zip(&paid).enumerate() {
                    let cost = risk.mul_add(*end, *price);
                    if cost < best.1 {
                        best = (place, cost);
                    }
                }
                bound += count * best.1;
                let tick = class.starts[best.0].0;
                taken.push((*group, tick, *count));
                for (row, need) in &class.needs {
                    let usage = &mut usage[row * width..(row + 1) * width];
                    for used in &mut usage[tick.min(width)..(tick + class.ticks).min(width)] {
                        *used += need * count;
                    }
                }
            }
        }
        bound
    }
}

/// The volume algorithm: prices follow the average of past answers, not the last one, and that average
/// tends to a fractional schedule.
fn volume(problem: &Problem, start: Vec<f64>, reached: f64) -> Guide {
    let size = problem.ticks * problem.caps.len();
    let caps: Vec<f64> = problem
        .caps
        .iter()
        .flat_map(|cap| std::iter::repeat_n(*cap, problem.ticks))
        .collect();
    let mut usage = vec![0.0; size];
    let mut taken = Vec::new();
    let zero = vec![0.0; size];
    let at_start = problem.cheapest(&start, &mut usage, &mut taken);
    let free = problem.cheapest(&zero, &mut usage, &mut taken);
    let (mut centre, mut bound) = if at_start > free {
        (start, at_start)
    } else {
        (zero, free)
    };
    problem.cheapest(&centre, &mut usage, &mut taken);
    let mut mean = usage.clone();
    // The average of the answers, scaled: each round all of it would shrink by the same factor.
    let mut started = vec![vec![0.0f64; problem.ticks + 1]; problem.groups];
    let mut scale = 1.0;
    for (group, tick, count) in &taken {
        started[*group][(*tick).min(problem.ticks)] += count;
    }
    let (mut step, mut share, mut misses) = (0.5, 0.1, 0u32);
    let mut prices = centre.clone();
    let mut checked = bound;
    for round in 1..=MAX_ROUNDS {
        if reached - bound <= NEAR * reached {
            break;
        }
        let excess = |place: usize| {
            let over: f64 = mean[place] - caps[place];
            if over < 0.0 && centre[place] <= 0.0 {
                0.0
            } else {
                over
            }
        };
        let norm: f64 = (0..size).map(|place| excess(place) * excess(place)).sum();
        if norm <= 1e-9 {
            break;
        }
        let length = step * (reached * 1.001 - bound).max(reached * 1e-5) / norm;
        for place in 0..size {
            prices[place] = (centre[place] + length * excess(place)).max(0.0);
        }
        let value = problem.cheapest(&prices, &mut usage, &mut taken);
        let mut along = 0.0;
        for place in 0..size {
            along += (usage[place] - caps[place]) * (mean[place] - caps[place]);
            mean[place] += share * (usage[place] - mean[place]);
        }
        scale *= 1.0 - share;
        for (group, tick, count) in &taken {
            started[*group][(*tick).min(problem.ticks)] += count * share / scale;
        }
        if scale < 1e-100 {
            for tick in started.iter_mut().flatten() {
                *tick *= scale;
            }
            scale = 1.0;
        }
        if value > bound {
            std::mem::swap(&mut centre, &mut prices);
            bound = value;
            misses = 0;
            if along > 0.0 {
                step = f64::min(step * 1.1, 2.0);
            }
        } else {
            misses += 1;
            if misses >= 10 {
                step = f64::max(step * 0.66, 1e-4);
                misses = 0;
            }
        }
        if round % 50 == 0 {
            if bound - checked < 0.001 * bound {
                share = f64::max(share * 0.5, 0.005);
            }
            checked = bound;
        }
    }
    Guide {
        bound: as_whole(bound),
        started: started
            .into_iter()
            .map(|ticks| {
                let mut sum = 0.0;
                ticks
                    .into_iter()
                    .map(|tick| {
                        sum += tick * scale;
                        as_small(sum)
                    })
                    .collect()
            })
            .collect(),
    }
}

/// Down to a whole number, with room for what floating point left out.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and far below 2^53"
)]
fn as_whole(bound: f64) -> u64 {
    (bound - bound.abs() * 1e-9).max(0.0).floor() as u64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a count of tasks, for comparison only"
)]
fn as_small(number: f64) -> f32 {
    number as f32
}
