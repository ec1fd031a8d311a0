//! What a region's waves ask of whoever waits for a step of the same region.
//!
//! Steps of one region, stage and window are one wave, and waves of a region do not overlap. So where a kept
//! deadline makes a wave begin before a test of the same window could be over, the test comes after that whole wave;
//! and who is of the wave's stage and waits for the test starts in a later window.

use std::collections::BTreeMap;

use mailkeep_model::Stage;

use super::first_start;
use crate::planner::puzzle::{Puzzle, Start};
use crate::planner::schedule::index;

/// Raises the earliest starts of groups that waves keep waiting; whether there were any. Without windows a region may
/// come back to a stage, and nothing is known.
pub(super) fn raise(puzzle: &Puzzle, releases: &mut [i32]) -> bool {
    if puzzle.reopen {
        return false;
    }
    let early = begin_early(puzzle, releases);
    if early.is_empty() {
        return false;
    }
    let done: Vec<Done> = puzzle
        .barriers
        .iter()
        .map(|barrier| done(puzzle, releases, &barrier.groups))
        .collect();
    let mut changed = false;
    for (number, group) in puzzle.groups.iter().enumerate() {
        let of_region = (group.region, Stage::Test, 0)..=(group.region, Stage::Rest, u32::MAX);
        for (&(_, stage, window), wave) in early.range(of_region) {
            // Who is of another stage and cannot be over before it begins.
            let is_behind = |end: i32, of: u32| {
                of >= window && end.saturating_add(puzzle.soak_wave) > wave.begins
            };
            let not_before = if stage == group.stage {
                let waits = group.waits.iter().flat_map(|wait| &done[wait.barrier]);
                let mut waits =
                    waits.filter(|((region, other), _)| *region == group.region && *other != stage);
                let starts = &puzzle.starts[group.starts];
                let later = starts.partition_point(|start| start.occurrence <= window);
                let later = starts.get(later);
                waits.any(|(_, (end, of))| is_behind(*end, *of)).then(|| {
                    later.map_or(i32::MAX / 4, |start| puzzle.grid.minute(index(start.tick)))
                })
            } else {
                earliest(puzzle, number, releases)
                    .filter(|(end, of)| is_behind(*end, *of))
                    .map(|_| wave.ends.saturating_add(puzzle.soak_wave))
            };
            let release = &mut releases[number];
            changed |= not_before.is_some_and(|minute| minute > *release);
            *release = not_before.map_or(*release, |minute| minute.max(*release));
        }
    }
    changed
}

/// A wave of which is known by when it begins.
#[derive(Debug, Clone, Copy)]
struct Early {
    /// In no plan later, in minutes.
    begins: i32,
    /// In no plan earlier.
    ends: i32,
}

/// By region, stage and window.
fn begin_early(puzzle: &Puzzle, releases: &[i32]) -> BTreeMap<(usize, Stage, u32), Early> {
    let mut early = BTreeMap::new();
    for (number, group) in puzzle.groups.iter().enumerate() {
        let (Some(deadline), Some((end, window))) =
            (group.deadline, earliest(puzzle, number, releases))
        else {
            continue;
        };
        let minute = |start: &Start| puzzle.grid.minute(index(start.tick));
        let starts = &puzzle.starts[group.starts];
        let in_time = starts.partition_point(|start| minute(start) + group.minutes <= deadline);
        let last = in_time.checked_sub(1).map(|last| starts[last]);
        if let Some(last) = last.filter(|last| last.occurrence == window) {
            let wave = early.entry((group.region, group.stage, window));
            let wave = wave.or_insert(Early {
                begins: i32::MAX,
                ends: i32::MIN,
            });
            wave.begins = minute(&last).min(wave.begins);
            wave.ends = end.max(wave.ends);
        }
    }
    early
}

/// The earliest end of a group's tasks, and its window; `None` for one without tasks.
fn earliest(puzzle: &Puzzle, number: usize, releases: &[i32]) -> Option<(i32, u32)> {
    let group = &puzzle.groups[number];
    let first = first_start(puzzle, number, releases[number]).filter(|_| group.count() > 0)?;
    let end = puzzle.grid.minute(index(first.tick)) + group.minutes;
    Some((end, first.occurrence))
}

/// By region and stage, of what a barrier is done by: the earliest end of the last of them, and its window.
type Done = BTreeMap<(usize, Stage), (i32, u32)>;

fn done(puzzle: &Puzzle, releases: &[i32], groups: &[usize]) -> Done {
    let mut done = Done::new();
    for number in groups {
        if let Some(end) = earliest(puzzle, *number, releases) {
            let group = &puzzle.groups[*number];
            let last = done.entry((group.region, group.stage)).or_insert(end);
            *last = end.max(*last);
        }
    }
    done
}
