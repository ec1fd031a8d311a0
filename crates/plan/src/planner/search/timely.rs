//! What bounds are for: every schedule that places what a given one places, and is as timely.

use std::borrow::Cow;

use super::pairs;
use crate::planner::guard::Guard;
use crate::planner::puzzle::{Group, Puzzle};
use crate::planner::schedule::{Lead, Rule, Schedule, add, index, run_guarded, score};

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
    /// Keeps room for these; `None` where there are no deadlines to be kept.
    guard: Option<Guard>,
}

impl<'a> Timely<'a> {
    pub(super) fn new(puzzle: &'a Puzzle, schedule: &Schedule) -> Self {
        let mut timely = Self {
            puzzle: Cow::Borrowed(puzzle),
            parts: Vec::new(),
            left: schedule.left.clone(),
            kept: kept(puzzle, schedule),
            guard: None,
        };
        timely.leave_out();
        timely.part(schedule.score.end);
        if timely.puzzle.groups.iter().any(|g| g.deadline.is_some()) {
            timely.guard = Some(Guard::new(&timely.puzzle, schedule));
        }
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

    /// Schedules of the whole puzzle by rules and guides of this one, kept deadlines first.
    pub(super) fn by_all(
        &self,
        whole: &Puzzle,
        rules: &[Rule<'_>],
        leads: &[Lead],
    ) -> Vec<Schedule> {
        let pairs = pairs(rules, leads);
        pairs
            .map(|(rule, lead)| {
                let schedule = run_guarded(&self.puzzle, rule, lead, self.guard.as_ref());
                self.of_the_whole(whole, schedule)
            })
            .collect()
    }

    /// A schedule of this puzzle as one of the whole.
    fn of_the_whole(&self, whole: &Puzzle, schedule: Schedule) -> Schedule {
        let (mut placements, mut left) = (schedule.placements, schedule.left);
        let parted = placements.split_off(whole.groups.len());
        let left_of_parted = left.split_off(whole.groups.len());
        for ((of, late), not_placed) in self.parts.iter().zip(parted).zip(left_of_parted) {
            left[*of] += not_placed;
            if late.is_empty() {
                continue;
            }
            let mut both = std::mem::take(&mut placements[*of]);
            both.extend(late);
            both.sort_by_key(|placed| placed.tick);
            for placed in both {
                add(&mut placements[*of], placed);
            }
        }
        for (left, left_out) in left.iter_mut().zip(&self.left) {
            *left += left_out;
        }
        Schedule {
            score: score(whole, &placements, &left),
            placements,
            left,
        }
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
