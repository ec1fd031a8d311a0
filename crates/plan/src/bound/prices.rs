//! Prices of capacity: a bound on exposure, and a fractional schedule to round.

use std::collections::BTreeMap;

use super::{Together, start_prices};
use crate::planner::puzzle::Puzzle;
use crate::planner::schedule::index;

/// Rounds of the volume algorithm at most. Each costs about as much as placing everything once.
const MAX_ROUNDS: u32 = 600;

/// Near enough: a fiftieth of the hundredth that the planner is measured by.
const NEAR: f64 = 0.000_2;

/// Fifty rounds that raise the bound by less than this part of it are the last.
const STALLED: f64 = 0.000_05;

/// A bound on exposure, and a fractional schedule that goes with it.
#[derive(Debug, Clone)]
pub(crate) struct Guide {
    /// No plan has less exposure.
    pub(crate) bound: u64,
    /// By group, by tick: how many tasks have been started up to it, in part.
    pub(crate) started: Vec<Vec<f32>>,
    /// By group, by tick: how much dearer its cheapest start is than one at this tick, prices of
    /// capacity included; 0 where this is the cheapest, less than 0 elsewhere.
    pub(crate) gain: Vec<Vec<f32>>,
}

/// A bound on the exposure of any plan, given one that has `reached`, and when some plan ends.
pub(crate) fn exposure(puzzle: &Puzzle, releases: &[i32], reached: u64, last_end: i32) -> Guide {
    let problem = Problem::new(puzzle, releases, last_end);
    let start = start_prices::of(puzzle, releases, problem.ticks);
    volume(&problem, start, as_float(reached))
}

#[expect(clippy::cast_precision_loss, reason = "exposures are far below 2^53")]
fn as_float(number: u64) -> f64 {
    number as f64
}

/// A list of starts, from when on it may be used and by when it must be done, the rows, and what holds it
/// back.
type Kind<'a> = (
    usize,
    (i32, Option<i32>),
    &'a [(usize, u32)],
    Option<(usize, i32)>,
);

/// Groups that may start at the same ticks under the same rows, and differ in risk only.
struct Class {
    /// What they wait for of [`Together`]: which barrier, and the first start that may be used, by set
    /// of barriers done no later.
    held_back: Option<(usize, Vec<usize>)>,
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
    /// How many barriers are taken together.
    together: usize,
}

impl Problem {
    fn new(puzzle: &Puzzle, releases: &[i32], last_end: i32) -> Self {
        let ticks = puzzle.grid.tick_from(last_end) + 1;
        let together = Together::new(puzzle, releases);
        let mut by_kind: BTreeMap<Kind<'_>, Vec<usize>> = BTreeMap::new();
        for (number, group) in puzzle.groups.iter().enumerate() {
            let held_back = group.waits.iter().find_map(|wait| {
                let bit = together.barriers.iter().position(|b| *b == wait.barrier)?;
                Some((bit, wait.soak))
            });
            let needs = group.needs.as_slice();
            let times = (releases[number], group.deadline);
            let key = (group.starts, times, needs, held_back);
            by_kind.entry(key).or_default().push(number);
        }
        let mut classes = Vec::with_capacity(by_kind.len());
        for ((list, (release, deadline), needs, held_back), members) in by_kind {
            let group = &puzzle.groups[members[0]];
            let end_of = |tick: usize| puzzle.grid.minute(tick) + group.minutes;
            let list = &puzzle.starts[list];
            let from = list.partition_point(|s| puzzle.grid.minute(index(s.tick)) < release);
            let mut starts = Vec::new();
            for start in &list[from..] {
                let tick = index(start.tick);
                if deadline.is_some_and(|deadline| end_of(tick) > deadline) {
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
            let held_back = held_back.map(|(bit, soak)| {
                let first_after = |done: &i32| {
                    let ready = done.saturating_add(soak);
                    let place =
                        starts.partition_point(|(tick, _)| puzzle.grid.minute(*tick) < ready);
                    // One later than all that were looked at costs at least as much as the last; where a
                    // deadline has taken those away, no plan has this order.
                    place.min(starts.len() - 1)
                };
                (bit, together.done.iter().map(first_after).collect())
            });
            classes.push(Class {
                held_back,
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
            together: together.barriers.len(),
        }
    }

    /// See [`Guide::gain`].
    fn gains(&self, prices: &[f64]) -> Vec<Vec<f32>> {
        let width = self.ticks;
        let mut gains = vec![Vec::new(); self.groups];
        for class in &self.classes {
            let price = |tick: usize| -> f64 {
                let (from, to) = (tick.min(width), (tick + class.ticks).min(width));
                let of_row = |(row, need): &(usize, f64)| {
                    need * prices[row * width + from..row * width + to]
                        .iter()
                        .sum::<f64>()
                };
                class.needs.iter().map(of_row).sum()
            };
            let paid: Vec<f64> = class.starts.iter().map(|(tick, _)| price(*tick)).collect();
            for (group, risk, _) in &class.members {
                let cost = |place: usize| risk * class.starts[place].1 + paid[place];
                let least = (0..paid.len()).map(cost).fold(f64::INFINITY, f64::min);
                let mut gain = vec![f32::MIN; width + 1];
                for (place, (tick, _)) in class.starts.iter().enumerate() {
                    gain[(*tick).min(width)] = as_small(least - cost(place));
                }
                gains[*group] = gain;
            }
        }
        gains
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
        let price = |class: &Class, tick: usize| -> f64 {
            let (from, to) = (tick.min(width), (tick + class.ticks).min(width));
            let of_row = |(row, need): &(usize, f64)| {
                let sums = &sums[row * (width + 1)..];
                need * (sums[to] - sums[from])
            };
            class.needs.iter().map(of_row).sum()
        };
        // The cheapest start from each place on, by class and member, for those that are held back.
        let sets = 1usize << self.together;
        let mut costs = vec![0.0; self.together * sets];
        let mut later = Vec::new();
        let mut cheapest = Vec::new();
        let mut paid = Vec::new();
        for class in &self.classes {
            paid.clear();
            paid.extend(class.starts.iter().map(|(tick, _)| price(class, *tick)));
            let cost = |risk: f64, place: usize| risk * class.starts[place].1 + paid[place];
            let Some((bit, first)) = &class.held_back else {
                for (group, risk, count) in &class.members {
                    let mut best = (0, f64::INFINITY);
                    for place in 0..paid.len() {
                        let cost = cost(*risk, place);
                        if cost < best.1 {
                            best = (place, cost);
                        }
                    }
                    bound += count * best.1;
                    self.take(class, (*group, best.0, *count), usage, taken);
                }
                continue;
            };
            later.push((class, *bit, first, cheapest.len()));
            for (_, risk, count) in &class.members {
                let from = cheapest.len();
                cheapest.resize(from + paid.len(), paid.len() - 1);
                let best = &mut cheapest[from..];
                for place in (0..paid.len() - 1).rev() {
                    let next = best[place + 1];
                    best[place] = if cost(*risk, place) <= cost(*risk, next) {
                        place
                    } else {
                        next
                    };
                }
                for (set, first) in first.iter().enumerate() {
                    if set >> bit & 1 == 1 {
                        costs[bit * sets + set] += count * cost(*risk, best[*first]);
                    }
                }
            }
        }
        let (held_back, last_of) = self.best_order(&costs);
        bound += held_back;
        for (class, bit, first, from) in later {
            let cheapest = cheapest[from..].chunks(class.starts.len());
            for ((group, _, count), best) in class.members.iter().zip(cheapest) {
                let place = best[first[last_of[bit]]];
                self.take(class, (*group, place, *count), usage, taken);
            }
        }
        bound
    }

    /// The cheapest order in which barriers are done, given what each costs if it is the last of a set;
    /// and for each barrier the set of it and those before.
    fn best_order(&self, costs: &[f64]) -> (f64, Vec<usize>) {
        let sets = 1usize << self.together;
        let mut best = vec![(0.0, 0); sets];
        for set in 1..sets {
            best[set] = (0..self.together)
                .filter(|bit| set >> bit & 1 == 1)
                .map(|bit| (best[set & !(1 << bit)].0 + costs[bit * sets + set], bit))
                .fold(
                    (f64::INFINITY, 0),
                    |a: (f64, usize), b| if b.0 < a.0 { b } else { a },
                );
        }
        let mut last_of = vec![0; self.together];
        let mut set = sets - 1;
        while set != 0 {
            let bit = best[set].1;
            last_of[bit] = set;
            set &= !(1 << bit);
        }
        (best[sets - 1].0, last_of)
    }

    fn take(
        &self,
        class: &Class,
        (group, place, count): (usize, usize, f64),
        usage: &mut [f64],
        taken: &mut Vec<(usize, usize, f64)>,
    ) {
        let width = self.ticks;
        let tick = class.starts[place].0;
        taken.push((group, tick, count));
        for (row, need) in &class.needs {
            let usage = &mut usage[row * width..(row + 1) * width];
            for used in &mut usage[tick.min(width)..(tick + class.ticks).min(width)] {
                *used += need * count;
            }
        }
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
            let gained = bound - checked;
            if gained < 0.001 * bound {
                share = f64::max(share * 0.5, 0.005);
            }
            // Nothing more is to be had.
            if round >= 200 && gained < STALLED * bound {
                break;
            }
            checked = bound;
        }
    }
    Guide {
        gain: problem.gains(&centre),
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
