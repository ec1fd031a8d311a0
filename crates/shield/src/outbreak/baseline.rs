//! What was counted within an hour, and what is usual.

use serde::{Deserialize, Serialize};

/// Seconds in a bin; an hour is twelve of them.
const BIN: u64 = 300;
const BINS: usize = 12;

/// Days that teach.
const DAYS: u64 = 35;

/// How many within the last hour, give or take five minutes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    /// When the newest bin began, in bins of the Unix epoch.
    newest: u64,
    /// The newest last.
    bins: [u32; BINS],
}

impl Window {
    /// Counts `more`; the sum of the hour.
    pub(super) fn add(&mut self, at: u64, more: u32) -> u32 {
        self.advance(at);
        if let Some(bin) = self.bins.last_mut() {
            *bin = bin.saturating_add(more);
        }
        self.sum(at)
    }

    /// The sum of the hour.
    pub(super) fn sum(&mut self, at: u64) -> u32 {
        self.advance(at);
        self.bins
            .iter()
            .fold(0, |sum: u32, bin| sum.saturating_add(*bin))
    }

    /// A clock that goes back counts into the newest bin.
    fn advance(&mut self, at: u64) {
        let bin = at / BIN;
        let passed = bin.saturating_sub(self.newest);
        if passed == 0 {
            return;
        }
        let passed = usize::try_from(passed).unwrap_or(BINS).min(BINS);
        self.bins.rotate_left(passed);
        self.bins
            .iter_mut()
            .rev()
            .take(passed)
            .for_each(|bin| *bin = 0);
        self.newest = bin;
    }
}

/// The most of each of the last days. Today does not count yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Learnt {
    /// Day of the Unix epoch and its most; the newest last, never more than [`DAYS`] and today.
    days: Vec<(u64, u32)>,
}

impl Learnt {
    /// Notes what was counted.
    pub(super) fn note(&mut self, at: u64, value: u32) {
        let day = at / 86_400;
        match self.days.last_mut() {
            // A clock that goes back teaches the newest day.
            Some((newest, most)) if *newest >= day => *most = (*most).max(value),
            _ => {
                self.days.push((day, value));
                self.days
                    .retain(|(other, _)| day.saturating_sub(*other) <= DAYS);
            }
        }
    }

    /// The most of the days before.
    pub(super) fn most(&self, at: u64) -> u32 {
        self.before(at).map(|(_, most)| most).max().unwrap_or(0)
    }

    /// On how many of the days before something was noted; `None` on fewer than three.
    pub(super) fn days(&self, at: u64) -> Option<usize> {
        Some(self.before(at).count()).filter(|days| *days >= 3)
    }

    fn before(&self, at: u64) -> impl Iterator<Item = (u64, u32)> + '_ {
        let today = at / 86_400;
        self.days
            .iter()
            .copied()
            .filter(move |(day, _)| *day < today && today - *day <= DAYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_counted_and_no_more() {
        let mut window = Window::default();
        assert_eq!(window.add(1_000_000, 5), 5);
        assert_eq!(window.add(1_003_000, 2), 7);
        assert_eq!(window.sum(1_003_600), 2);
        assert_eq!(window.sum(1_010_000), 0);
    }

    #[test]
    fn a_clock_that_goes_back_counts_on() {
        let mut window = Window::default();
        window.add(1_000_000, 5);
        assert_eq!(window.add(900_000, 1), 6);
    }

    #[test]
    fn today_teaches_nothing_yet() {
        let mut learnt = Learnt::default();
        learnt.note(100 * 86_400, 50);
        assert_eq!(learnt.most(100 * 86_400 + 3600), 0);
        assert_eq!(learnt.most(101 * 86_400), 50);
        assert_eq!(learnt.most((100 + DAYS) * 86_400), 50);
        assert_eq!(learnt.most((101 + DAYS) * 86_400), 0);
    }
}
