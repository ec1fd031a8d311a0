//! What bounds are for: every schedule that places what a given one places, and is as timely.

use std::borrow::Cow;

use crate::bound::Guide;
use crate::planner::puzzle::{Group, Puzzle};
use crate::planner::schedule::{Schedule, index};

/// A puzzle for bounds, in which a group's deadline is one that all of its tasks keep.
///
/// Every schedule that places as many tasks of each group as a given one, and as many of these by their
/// deadline, solves it: a group some of whose tasks are late there is two here, those that are in time
/// with the deadline and the others without. Tasks of a group are alike, so it does not matter which are
/// which. Whatever is below all solutions of this puzzle is below all these schedules.
pub(super) struct Timely<'a> {
    pub(super) puzzle: Cow<'a, Puzzle>,
    /// Of each group behind those of the whole puzzle, the one that it was parted from.
    parts: Vec<usize>,
    /// Tasks without a place, by group of the whole puzzle.
    left: Vec<u32>,
    /// Tasks done by their deadline, by group of the whole puzzle.
    kept: Vec<u32>,
}

impl<'a> Timely<'a> {
    pub(super) fn new(puzzle: &'a Puzzle, schedule: &Schedule) -> Self {
        let mut timely = Self {
            puzzle: Cow::Borrowed(puzzle),
            parts: Vec::new(),
            left: schedule.left.clone(),
            kept: kept(puzzle, schedule),
        };
        timely.leave_out();
        timely.part(schedule.score.end);
        timely
    }

    /// Whether a schedule of the whole puzzle is one that this is for.
    pub(super) fn allows(&self, puzzle: &Puzzle, schedule: &Schedule) -> bool {
        let places_all = self.left.iter().zip(&schedule.left).all(|(l, r)| l >= r);
        let in_time = kept(puzzle, schedule);
        places_all && self.kept.iter().zip(&in_time).all(|(l, r)| l <= r)
    }

    /// The earliest end of those that this is for.
    pub(super) fn earliest(&self, puzzle: &Puzzle, tried: &[Schedule]) -> i32 {
        let ends = tried.iter().filter(|s| self.allows(puzzle, s));
        ends.map(|s| s.score.end).min().unwrap_or_default()
    }

    /// A guide for the whole puzzle: what it says of both parts of a group, together.
    pub(super) fn of_the_whole(&self, mut guide: Guide) -> Guide {
        let whole = guide.started.len() - self.parts.len();
        let (started, gain) = (guide.started.split_off(whole), guide.gain.split_off(whole));
        for ((of, started), gain) in self.parts.iter().zip(started).zip(gain) {
            for (sum, more) in guide.started[*of].iter_mut().zip(started) {
                *sum += more;
            }
            for (best, other) in guide.gain[*of].iter_mut().zip(gain) {
                *best = best.max(other);
            }
        }
        guide
    }

    /// Leaves the tasks out that have no place.
    fn leave_out(&mut self) {
        if self.left.iter().all(|left| *left == 0) {
            return;
        }
        let puzzle = self.puzzle.to_mut();
        for (group, left) in puzzle.groups.iter_mut().zip(&self.left) {
            let count = group.tasks.len().saturating_sub(index(*left));
            group.tasks.truncate(count);
        }
        // Groups without tasks hold nobody back.
        let groups = &puzzle.groups;
        for barrier in &mut puzzle.barriers {
            barrier
                .groups
                .retain(|group| !groups[*group].tasks.is_empty());
        }
    }

    /// Leaves deadlines only where they are kept. One that is no earlier than the last end asks nothing
    /// of a schedule that is better than this one, and is left out, too: groups with fewer differences
    /// are bounded sooner.
    fn part(&mut self, end: i32) {
        if self.puzzle.groups.iter().all(|g| g.deadline.is_none()) {
            return;
        }
        let puzzle = self.puzzle.to_mut();
        for (number, kept) in self.kept.iter().enumerate() {
            let group = &mut puzzle.groups[number];
            if *kept == 0 || group.deadline.is_none_or(|deadline| deadline >= end) {
                group.deadline = None;
                continue;
            }
            let late = group.tasks.split_off(index(*kept).min(group.tasks.len()));
            if late.is_empty() {
                continue;
            }
            let late = Group {
                deadline: None,
                tasks: late,
                ..group.clone()
            };
            let place = puzzle.groups.len();
            puzzle.groups.push(late);
            for barrier in &mut puzzle.barriers {
                if barrier.groups.contains(&number) {
                    barrier.groups.push(place);
                }
            }
            self.parts.push(number);
        }
    }
}

/// Tasks done by their deadline, by group.
fn kept(puzzle: &Puzzle, schedule: &Schedule) -> Vec<u32> {
    let groups = puzzle.groups.iter().zip(&schedule.placements);
    groups
        .map(|(group, placements)| {
            let Some(deadline) = group.deadline else {
                return 0;
            };
            let end = |tick: u32| puzzle.grid.minute(index(tick)) + group.minutes;
            let in_time = placements.iter().filter(|p| end(p.tick) <= deadline);
            in_time.map(|placed| placed.count).sum()
        })
        .collect()
}
