//! Which hosts are looked at next: those on which something happened, those whose time has come, and
//! those for which there is room again. An executor that looked at every host at every event would be
//! slower by as many times as there are hosts.
//!
//! Entry type: [`Agenda`].
//!
//! **Invariant:** a host that is not marked, whose wake has not come and that waits for a [`Key`] which
//! nobody has let go is due for nothing; [`Executor::overlooked`](super::Executor::overlooked) looks.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use mailkeep_model::Timestamp;

/// What holds a host, beside the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// The state of another host.
    Host(usize),
    /// The pause.
    Pause,
    /// The test or pilot hosts of a variant.
    Stages(usize),
    /// The hosts of a wave.
    Wave(usize),
    /// Room, which others make by returning.
    Room(Room),
}

/// Room for so many hosts that want to leave service together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Room {
    /// By the policy, in the whole fleet.
    Fleet(usize),
    /// By the policy, in a region, by its place.
    Region(usize, usize),
    /// By the policy, among a team's hosts, by its place.
    Team(usize, usize),
    /// By the minimum of a service, by its place: in a region of it, or over all.
    Service(usize, Option<usize>, u32),
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    wake: Option<Timestamp>,
    key: Option<Key>,
}

/// When each host, by the place of its step, is to be looked at.
#[derive(Debug, Clone)]
pub(super) struct Agenda {
    entries: Vec<Entry>,
    marked: BTreeSet<usize>,
    wakes: BTreeSet<(Timestamp, usize)>,
    waiting: BTreeMap<Key, BTreeSet<usize>>,
}

impl Agenda {
    /// Every host sleeps until its time.
    pub(super) fn new(wakes: impl Iterator<Item = Timestamp>) -> Self {
        let mut agenda = Self {
            entries: Vec::new(),
            marked: BTreeSet::new(),
            wakes: BTreeSet::new(),
            waiting: BTreeMap::new(),
        };
        for (at, wake) in wakes.enumerate() {
            agenda.entries.push(Entry::default());
            agenda.put(at, Some(wake), None);
        }
        agenda
    }

    /// Marks a host to be looked at.
    pub(super) fn mark(&mut self, at: usize) {
        self.marked.insert(at);
    }

    /// Marks hosts whose time has come.
    pub(super) fn wake(&mut self, now: Timestamp) {
        while let Some((time, at)) = self.wakes.pop_first() {
            if time > now {
                self.wakes.insert((time, at));
                return;
            }
            if let Some(entry) = self.entries.get_mut(at) {
                entry.wake = None;
            }
            self.marked.insert(at);
        }
    }

    /// Marks hosts that wait for something that has changed.
    pub(super) fn let_go(&mut self, key: Key) {
        for at in self.waiting.remove(&key).unwrap_or_default() {
            if let Some(entry) = self.entries.get_mut(at) {
                entry.key = None;
            }
            self.marked.insert(at);
        }
    }

    /// Notes what a host that was looked at waits for; nothing where an event of its own comes next.
    pub(super) fn put(&mut self, at: usize, wake: Option<Timestamp>, key: Option<Key>) {
        let Some(entry) = self.entries.get_mut(at) else {
            return;
        };
        let before = mem::replace(entry, Entry { wake, key });
        if before.wake != wake {
            if let Some(time) = before.wake {
                self.wakes.remove(&(time, at));
            }
            self.wakes.extend(wake.map(|time| (time, at)));
        }
        if before.key != key {
            if let Some(old) = before.key
                && let Some(others) = self.waiting.get_mut(&old)
            {
                others.remove(&at);
                if others.is_empty() {
                    self.waiting.remove(&old);
                }
            }
            if let Some(key) = key {
                self.waiting.entry(key).or_default().insert(at);
            }
        }
    }

    /// Never looks at a host again unless it is marked.
    pub(super) fn forget(&mut self, at: usize) {
        self.put(at, None, None);
        self.marked.remove(&at);
    }

    /// The hosts that are marked.
    pub(super) fn marked(&self) -> impl Iterator<Item = usize> {
        self.marked.iter().copied()
    }

    /// The same; none is marked after it.
    pub(super) fn take_marked(&mut self) -> BTreeSet<usize> {
        mem::take(&mut self.marked)
    }

    /// The first host from a place on that waits for room of which `is_there` says that it is there.
    pub(super) fn next_with_room(
        &self,
        from: usize,
        is_there: impl Fn(Room) -> bool,
    ) -> Option<usize> {
        let rooms = self.waiting.iter().rev().map_while(|(key, hosts)| {
            // The last keys in their order.
            let Key::Room(room) = key else { return None };
            Some((*room, hosts))
        });
        rooms
            .filter(|(room, _)| is_there(*room))
            .filter_map(|(_, hosts)| hosts.range(from..).next().copied())
            .min()
    }

    /// The first wake after a time.
    pub(super) fn next_wake(&self, after: Timestamp) -> Option<Timestamp> {
        self.wakes
            .range((after, usize::MAX)..)
            .map(|wake| wake.0)
            .find(|&time| time > after)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::at;
    use super::*;

    #[test]
    fn a_host_is_marked_by_its_time_by_what_it_waits_for_and_by_room() {
        let mut agenda = Agenda::new([at(5), at(1), at(9)].into_iter());
        assert_eq!(agenda.next_wake(at(0)), Some(at(1)));
        agenda.wake(at(5));
        assert_eq!(agenda.take_marked(), BTreeSet::from([0, 1]));
        assert_eq!(agenda.next_wake(at(5)), Some(at(9)));

        agenda.put(0, Some(at(20)), Some(Key::Wave(3)));
        agenda.put(1, None, Some(Key::Room(Room::Fleet(1))));
        agenda.let_go(Key::Wave(2));
        assert_eq!(agenda.marked().count(), 0);
        agenda.let_go(Key::Wave(3));
        assert_eq!(agenda.take_marked(), BTreeSet::from([0]));

        let one = |room| room == Room::Fleet(1);
        assert_eq!(agenda.next_with_room(0, one), Some(1));
        assert_eq!(agenda.next_with_room(2, one), None);
        assert_eq!(agenda.next_with_room(0, |_| false), None);
        agenda.forget(1);
        assert_eq!(agenda.next_with_room(0, one), None);
        agenda.forget(0);
        agenda.forget(2);
        assert_eq!(agenda.next_wake(at(0)), None);
    }
}
