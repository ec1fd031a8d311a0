//! Prices to begin with: exact where each service and region is for itself.
//!
//! Where hosts of one row, all steps equally long, are the only ones that compete, the best schedule is
//! the riskiest first, as many at a time as the row allows. The worth of one more place at a tick is
//! then what the least risky host in it would gain at every later turn.

use crate::planner::puzzle::Puzzle;
use crate::planner::schedule::index;

/// Prices by row, then tick. Of the rows that hosts of a region share, either its services' or the
/// region's own have prices: whichever are worth more.
pub(crate) fn of(puzzle: &Puzzle, releases: &[i32], ticks: usize) -> Vec<f64> {
    use crate::planner::puzzle::Scope;
    let mut prices = vec![0.0; ticks * puzzle.rows.len()];
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); puzzle.rows.len()];
    for (number, group) in puzzle.groups.iter().enumerate() {
        for (row, _) in &group.needs {
            members[*row].push(number);
        }
    }
    for region in 0..puzzle.regions.len() {
        let price_rows = |wanted: &dyn Fn(Scope) -> bool| -> Vec<(usize, Vec<f64>)> {
            let rows = puzzle
                .rows
                .iter()
                .enumerate()
                .filter(|(_, row)| wanted(row.scope));
            rows.map(|(row, _)| (row, of_row(puzzle, releases, row, &members[row], ticks)))
                .collect()
        };
        let services =
            price_rows(&|scope| matches!(scope, Scope::Service { region: r, .. } if r == region));
        let whole = price_rows(&|scope| scope == Scope::Region { region });
        let worth = |rows: &[(usize, Vec<f64>)]| -> f64 {
            rows.iter()
                .map(|(row, prices)| f64::from(puzzle.rows[*row].cap) * prices.iter().sum::<f64>())
                .sum()
        };
        let chosen = if worth(&services) >= worth(&whole) {
            services
        } else {
            whole
        };
        for (row, of_row) in chosen {
            prices[row * ticks..(row + 1) * ticks].copy_from_slice(&of_row);
        }
    }
    prices
}

fn of_row(
    puzzle: &Puzzle,
    releases: &[i32],
    row: usize,
    members: &[usize],
    ticks: usize,
) -> Vec<f64> {
    let mut prices = vec![0.0; ticks];
    let Some(longest) = members.iter().max_by_key(|m| puzzle.groups[**m].minutes) else {
        return prices;
    };
    let step = puzzle.groups[*longest].ticks;
    let mut waiting: Vec<(usize, u32)> = members
        .iter()
        .map(|m| (*m, puzzle.groups[*m].count()))
        .collect();
    waiting.sort_by_key(|(m, _)| std::cmp::Reverse(puzzle.groups[*m].weight));
    let cap = puzzle.rows[row].cap;
    // Each turn: when it begins, and the least risk in it if it is full and somebody has to wait.
    let mut turns: Vec<(usize, Option<u64>)> = Vec::new();
    let mut free_from = 0;
    for start in &puzzle.starts[puzzle.groups[*longest].starts] {
        let tick = index(start.tick);
        if tick >= ticks || waiting.is_empty() {
            break;
        }
        if tick < free_from {
            continue;
        }
        let (mut room, mut least) = (cap, None);
        for (group, count) in &mut waiting {
            if releases[*group] > puzzle.grid.minute(tick) {
                continue;
            }
            let taken = room.min(*count);
            if taken > 0 {
                least = Some(puzzle.groups[*group].weight);
            }
            room -= taken;
            *count -= taken;
        }
        waiting.retain(|(_, count)| *count > 0);
        if least.is_some() {
            let full = room == 0 && !waiting.is_empty();
            turns.push((tick, least.filter(|_| full)));
            free_from = tick + step;
        }
    }
    // Backwards: a place in a turn is worth one in the next, and the risk of waiting until then.
    let mut worth = 0.0;
    for (place, (tick, least)) in turns.iter().enumerate().rev() {
        let until = turns.get(place + 1).map_or(*tick, |(next, _)| *next);
        let Some(least) = least else {
            worth = 0.0;
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "risks are far below 2^53")]
        let a_minute = *least as f64;
        worth += a_minute * f64::from(puzzle.grid.minute(until) - puzzle.grid.minute(*tick));
        prices[*tick] = worth;
    }
    prices
}
