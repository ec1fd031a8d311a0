//! Room that is kept for tasks whose deadlines are kept, so that rules that know no deadline may place the
//! others.
//!
//! A schedule that keeps deadlines says where its tasks fit. Each of them is moved as late as its deadline and
//! the others leave room for; that is its reservation. Whatever else is placed leaves all reservations their
//! room, and a task that has not started by its reservation starts then. So every rule keeps these deadlines,
//! or nearly: what a region's waves or a barrier that opens late ask for is left aside, and whoever compares
//! schedules counts what was missed.

use super::puzzle::{Group, Puzzle};
use super::schedule::{Schedule, add_to, index, most_in};

/// See the head of this file.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    /// By group: when so many of its tasks start at the latest. Ordered by tick.
    latest: Vec<Vec<(usize, u32)>>,
    /// What these take of each row, by tick.
    reserved: Vec<Vec<u32>>,
}

impl Guard {
    /// Reservations for the tasks of groups with a deadline, which are the first of those that a schedule of
    /// the same groups has in time.
    pub(super) fn new(puzzle: &Puzzle, schedule: &Schedule) -> Self {
        let mut guard = Self {
            latest: vec![Vec::new(); puzzle.groups.len()],
            reserved: vec![Vec::new(); puzzle.rows.len()],
        };
        // As the schedule has them.
        let mut placed: Vec<(usize, usize, u32)> = Vec::new();
        for (number, (group, placements)) in
            puzzle.groups.iter().zip(&schedule.placements).enumerate()
        {
            let mut left = group.deadline.map_or(0, |_| group.count());
            for placement in placements {
                let count = left.min(placement.count);
                if count > 0 {
                    let tick = index(placement.tick);
                    add_to(&mut guard.reserved, group, tick, count);
                    placed.push((tick, number, count));
                    left -= count;
                }
            }
        }
        // The latest ones make room first.
        placed.sort_unstable_by(|a, b| b.cmp(a));
        for (tick, number, count) in placed {
            guard.move_late(puzzle, number, tick, count);
        }
        for latest in &mut guard.latest {
            latest.sort_unstable();
        }
        guard
    }

    fn move_late(&mut self, puzzle: &Puzzle, number: usize, tick: usize, count: u32) {
        let group = &puzzle.groups[number];
        let until = group.deadline.unwrap_or(i32::MAX);
        let starts = &puzzle.starts[group.starts];
        let end = starts.partition_point(|start| {
            puzzle.grid.minute(index(start.tick)) + group.minutes <= until
        });
        self.free(group, tick, count);
        let mut left = count;
        for start in starts[..end].iter().rev() {
            let later = index(start.tick);
            if left == 0 || later <= tick {
                break;
            }
            let more = self.room(puzzle, group, later).min(left);
            if more > 0 {
                add_to(&mut self.reserved, group, later, more);
                self.latest[number].push((later, more));
                left -= more;
            }
        }
        if left > 0 {
            add_to(&mut self.reserved, group, tick, left);
            self.latest[number].push((tick, left));
        }
    }

    fn room(&self, puzzle: &Puzzle, group: &Group, tick: usize) -> u32 {
        let of_rows = group.needs.iter().map(|(row, need)| {
            let used = most_in(&self.reserved[*row], tick, group.ticks);
            puzzle.rows[*row].cap.saturating_sub(used) / need
        });
        of_rows.min().unwrap_or(u32::MAX)
    }

    fn free(&mut self, group: &Group, tick: usize, count: u32) {
        for (row, need) in &group.needs {
            for used in &mut self.reserved[*row][tick..tick + group.ticks] {
                *used -= need * count;
            }
        }
    }

    /// How many tasks of a group start at a tick at the latest.
    pub(super) fn due(&self, number: usize, tick: usize) -> u32 {
        let latest = self.latest[number].iter();
        let due = latest.take_while(|(latest, _)| *latest <= tick);
        due.map(|(_, count)| count).sum()
    }

    /// What is reserved of a row, by tick.
    pub(super) fn reserved(&self, row: usize) -> &[u32] {
        &self.reserved[row]
    }

    /// Notes that so many tasks of a group have been placed: their reservations are free.
    pub(super) fn place(&mut self, number: usize, group: &Group, count: u32) {
        let mut left = count;
        while let Some((tick, reserved)) = self.latest[number].first_mut() {
            let (tick, freed) = (*tick, left.min(*reserved));
            *reserved -= freed;
            left -= freed;
            let is_empty = *reserved == 0;
            self.free(group, tick, freed);
            if !is_empty {
                break;
            }
            self.latest[number].remove(0);
        }
    }
}
