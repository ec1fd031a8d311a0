//! What no plan can beat: the earliest end, and the least exposure.
//!
//! Both come from relaxations, so that they hold for every plan by the same rules and test hosts. A plan
//! that gives deadlines up may well end sooner, so these are bounds of a puzzle in which a group's
//! deadline holds for all of its tasks; whoever asks sees to it that it does in the plans he means
//! (`search/timely.rs`). A deadline only takes starts away, those from which a step ends after it: in the
//! flow below, and among the starts that a group chooses from at given prices. What a relaxation
//! allows stays more than what a plan may do, so each bound stays below all these plans.
//!
//! - **When each group may start.** What it waits for takes at least as long as its longest step, and
//!   as long as its hosts need where no more of them may be out at a time than one row allows; then
//!   soak ([`releases`]). Where a kept deadline makes a wave begin before what its region waits for, that is not
//!   in the same window (`waves.rs`); else waves are left aside.
//! - **End.** For each row, how long its hosts take if nothing else limited them; and for rows over
//!   several regions, whether all work fits before a time at all, as a flow from hosts through the
//!   ticks of their service and region into the ticks of the row, each as wide as its cap
//!   ([`end`]). A step may be cut into ticks there, which can only make the bound lower.
//! - **Exposure.** The linear programme of DESIGN's model, hosts of a group at starts, with its rows
//!   priced (Lagrange): for any prices of capacity that are not negative, the sum over groups of their
//!   cheapest start, less what all capacity is worth, is below every plan ([`exposure`]). Prices come
//!   from the volume algorithm (Barahona and Anbil, 2000), which also gives a fractional schedule that
//!   the planner rounds.

mod flow;
mod prices;
mod start_prices;
mod waves;

use std::collections::BTreeMap;

use mailkeep_model::Stage;

use crate::planner::puzzle::{Puzzle, Scope, Start};
use crate::planner::schedule::index;
use flow::Flow;
pub(crate) use prices::exposure;

/// The earliest minute at which each group could start in any plan.
pub(crate) fn releases(puzzle: &Puzzle) -> Vec<i32> {
    let mut releases = vec![i32::MIN / 2; puzzle.groups.len()];
    // Each round only raises them, so that any number of rounds gives a bound. Chains are short: test,
    // pilot, rest, and services one after another in each.
    for _round in 0..8 {
        let done: Vec<i32> = puzzle
            .barriers
            .iter()
            .map(|barrier| {
                let packed = packed(puzzle, &releases, &barrier.groups).unwrap_or(i32::MIN / 2);
                barrier.done.max(packed)
            })
            .collect();
        let mut changed = false;
        for (group, release) in puzzle.groups.iter().zip(&mut releases) {
            for wait in &group.waits {
                let ready = done[wait.barrier].saturating_add(wait.soak);
                changed |= ready > *release;
                *release = ready.max(*release);
            }
        }
        changed |= waves::raise(puzzle, &mut releases);
        if !changed {
            break;
        }
    }
    releases
}

/// A minute before which these groups cannot all be done.
fn packed(puzzle: &Puzzle, releases: &[i32], groups: &[usize]) -> Option<i32> {
    let mut by_row: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut latest: Option<i32> = None;
    for number in groups {
        let group = &puzzle.groups[*number];
        let first = first_start(puzzle, *number, releases[*number]);
        let end = first.map_or(i32::MAX / 4, |s| {
            puzzle.grid.minute(index(s.tick)) + group.minutes
        });
        latest = latest.max(Some(end));
        for (row, _) in &group.needs {
            if puzzle.rows[*row].scope.is_of_one_region() {
                by_row.entry(*row).or_default().push(*number);
            }
        }
    }
    for (row, members) in by_row {
        latest = latest.max(row_packed(puzzle, releases, row, &members));
    }
    latest
}

/// Variants whose pilot region holds the rest back, taken together: they share its rows, so that not
/// all of them can be done as early as each of them alone.
///
/// In any plan they are done in some order, and when one is done, so are those before it: it was done
/// no earlier than all of these could be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Together {
    /// The barriers, at most [`Together::MOST`].
    pub(crate) barriers: Vec<usize>,
    /// By set of barriers, as bits: a minute before which they cannot all be done.
    pub(crate) done: Vec<i32>,
}

impl Together {
    /// Sets double with each one more.
    const MOST: usize = 8;

    /// The barriers with the most risk waiting behind them.
    pub(crate) fn new(puzzle: &Puzzle, releases: &[i32]) -> Self {
        let mut waiting: BTreeMap<usize, u64> = BTreeMap::new();
        for group in puzzle
            .groups
            .iter()
            .filter(|group| group.stage == Stage::Rest)
        {
            for wait in &group.waits {
                if puzzle.barriers[wait.barrier].is_pilot() {
                    let risk = group.weight * u64::from(group.count());
                    *waiting.entry(wait.barrier).or_default() += risk;
                }
            }
        }
        let mut barriers: Vec<usize> = waiting.keys().copied().collect();
        barriers.sort_by_key(|barrier| std::cmp::Reverse(waiting[barrier]));
        barriers.truncate(Self::MOST);
        let done = (0..1usize << barriers.len())
            .map(|set| {
                let members = barriers
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| set >> bit & 1 == 1);
                let mut done = i32::MIN / 2;
                let mut groups = Vec::new();
                for (_, barrier) in members {
                    done = done.max(puzzle.barriers[*barrier].done);
                    groups.extend(&puzzle.barriers[*barrier].groups);
                }
                done.max(packed(puzzle, releases, &groups).unwrap_or(i32::MIN / 2))
            })
            .collect();
        Self { barriers, done }
    }
}

fn first_start(puzzle: &Puzzle, group: usize, release: i32) -> Option<Start> {
    let starts = &puzzle.starts[puzzle.groups[group].starts];
    let from = starts.partition_point(|s| puzzle.grid.minute(index(s.tick)) < release);
    starts.get(from).copied()
}

/// A minute before which the groups of one row, all of one region, cannot all be done: as many at a
/// time as the row allows, each as short as the shortest. For steps of equal length, starting each as
/// early as possible is the best there is.
fn row_packed(puzzle: &Puzzle, releases: &[i32], row: usize, members: &[usize]) -> Option<i32> {
    let shortest = members.iter().min_by_key(|m| puzzle.groups[**m].minutes)?;
    let (minutes, ticks) = (
        puzzle.groups[*shortest].minutes,
        puzzle.groups[*shortest].ticks,
    );
    let needed = |group: &usize| {
        let needs = &puzzle.groups[*group].needs;
        needs
            .iter()
            .find(|(r, _)| *r == row)
            .map_or(1, |(_, need)| *need)
    };
    let at_once = puzzle.rows[row].cap / members.iter().map(needed).min()?.max(1);
    if at_once == 0 {
        return None;
    }
    let mut waiting: Vec<(i32, u32)> = members
        .iter()
        .map(|m| (releases[*m], puzzle.groups[*m].count()))
        .collect();
    waiting.sort_unstable();
    let mut next = 0;
    let (mut ready, mut to_start): (u32, u32) = (0, waiting.iter().map(|(_, count)| count).sum());
    let mut running: Vec<(usize, u32)> = Vec::new();
    let mut last = None;
    for start in &puzzle.starts[puzzle.groups[*shortest].starts] {
        let tick = index(start.tick);
        let minute = puzzle.grid.minute(tick);
        while waiting
            .get(next)
            .is_some_and(|(release, _)| *release <= minute)
        {
            ready += waiting[next].1;
            next += 1;
        }
        running.retain(|(began, _)| began + ticks > tick);
        let busy: u32 = running.iter().map(|(_, count)| count).sum();
        let count = ready.min(at_once.saturating_sub(busy));
        if count > 0 {
            running.push((tick, count));
            ready -= count;
            to_start -= count;
            last = Some(minute + minutes);
        }
        if to_start == 0 {
            return last;
        }
    }
    Some(i32::MAX / 4)
}

/// A minute before which no plan of all groups ends, given one that does at `reached`.
pub(crate) fn end(puzzle: &Puzzle, releases: &[i32], reached: i32) -> i32 {
    let counts = |group: &usize| puzzle.groups[*group].count() > 0;
    let all: Vec<usize> = (0..puzzle.groups.len()).filter(counts).collect();
    let bound = packed(puzzle, releases, &all).unwrap_or(0).min(reached);
    let mut bound = bound;
    for (row, limit) in puzzle.rows.iter().enumerate() {
        if !limit.scope.is_of_one_region() && bound < reached {
            bound = bound.max(row_end(puzzle, releases, row, bound, reached));
        }
    }
    bound
}

/// The earliest end, no earlier than `from`, by which everything under a row fits.
fn row_end(puzzle: &Puzzle, releases: &[i32], row: usize, from: i32, reached: i32) -> i32 {
    let members: Vec<usize> = (0..puzzle.groups.len())
        .filter(|g| puzzle.groups[*g].count() > 0)
        .filter(|g| puzzle.groups[*g].needs.iter().any(|(r, _)| *r == row))
        .collect();
    if members.is_empty() || fits(puzzle, releases, row, &members, from) {
        return from;
    }
    // It does not fit by `low`, it does by `high`.
    let mut ends: Vec<i32> = members
        .iter()
        .flat_map(|g| {
            let group = &puzzle.groups[*g];
            let starts = puzzle.starts[group.starts].iter();
            starts.map(|s| puzzle.grid.minute(index(s.tick)) + group.minutes)
        })
        .filter(|end| *end > from && *end < reached)
        .collect();
    ends.sort_unstable();
    ends.dedup();
    // The plan usually is the best there is: then one look is enough.
    if ends
        .last()
        .is_none_or(|last| !fits(puzzle, releases, row, &members, *last))
    {
        return reached;
    }
    let first = ends.partition_point(|end| !fits(puzzle, releases, row, &members, *end));
    ends.get(first).copied().unwrap_or(reached)
}

/// Whether all work under a row fits before a minute, if steps could be cut into ticks.
fn fits(puzzle: &Puzzle, releases: &[i32], row: usize, members: &[usize], until: i32) -> bool {
    const SOURCE: usize = 0;
    const SINK: usize = 1;
    let mut flow = Flow::new(2);
    let mut tick_nodes: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    // Groups that may run at the same ticks under the same rows are one.
    let mut demands: BTreeMap<Demand, (u64, u64)> = BTreeMap::new();
    for number in members {
        let group = &puzzle.groups[*number];
        let need = group
            .needs
            .iter()
            .find(|(r, _)| *r == row)
            .map_or(1, |(_, n)| *n);
        let demand = Demand {
            chain: chain(puzzle, *number, row),
            starts: group.starts,
            release: releases[*number],
            until: group.deadline.map_or(until, |deadline| deadline.min(until)),
            minutes: group.minutes,
            ticks: group.ticks,
        };
        let count = u64::from(group.count()) * u64::from(need);
        let (work, width) = demands.entry(demand).or_default();
        *work += count * wide(group.ticks);
        *width += count;
    }
    let mut wanted = 0;
    for (demand, (work, width)) in demands {
        wanted += work;
        let node = flow.node();
        flow.edge(SOURCE, node, work);
        let mut covered = 0;
        let list = &puzzle.starts[demand.starts];
        let from = list.partition_point(|s| puzzle.grid.minute(index(s.tick)) < demand.release);
        for start in &list[from..] {
            let tick = index(start.tick);
            if puzzle.grid.minute(tick) + demand.minutes > demand.until {
                break;
            }
            for tick in tick.max(covered)..tick + demand.ticks {
                let mut inner = SINK;
                for part in std::iter::once(&row).chain(demand.chain.iter().rev()) {
                    inner = *tick_nodes.entry((*part, tick)).or_insert_with(|| {
                        let node = flow.node();
                        flow.edge(node, inner, u64::from(puzzle.rows[*part].cap));
                        node
                    });
                }
                flow.edge(node, inner, width);
            }
            covered = tick + demand.ticks;
        }
    }
    flow.fits(SOURCE, SINK, wanted)
}

/// What groups have in common that may run at the same ticks under the same rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Demand {
    chain: Vec<usize>,
    starts: usize,
    release: i32,
    until: i32,
    minutes: i32,
    ticks: usize,
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Rows of one region that a group is under, inside a wider row: its service's, then its region's.
/// Groups of a region share the second, so that the rows form a tree.
fn chain(puzzle: &Puzzle, group: usize, wider: usize) -> Vec<usize> {
    let needs = &puzzle.groups[group].needs;
    let plain = |r: &&(usize, u32)| r.1 == 1 && r.0 != wider;
    let service = needs
        .iter()
        .filter(plain)
        .filter(|(r, _)| matches!(puzzle.rows[*r].scope, Scope::Service { .. }))
        .min_by_key(|(r, _)| puzzle.rows[*r].cap);
    let region = needs
        .iter()
        .filter(plain)
        .find(|(r, _)| matches!(puzzle.rows[*r].scope, Scope::Region { .. }));
    service.into_iter().chain(region).map(|(r, _)| *r).collect()
}
