//! Processor time of a command with all it starts, in the background or not: what the kernel counts for a
//! control group of its own (cgroup version 2).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::command::{output, program};
use super::super::error::LabError;

/// A control group; what is left in it is ended, and it is removed, when it is dropped.
#[derive(Debug)]
pub(super) struct Group(PathBuf);

impl Group {
    /// `None` where this machine has no such groups: then nothing is measured.
    pub(super) fn new() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let root = root_of(&mounts)?;
        let group = root.join(format!("mailkeep-bench-{}", std::process::id()));
        fs::create_dir(&group).ok()?;
        Some(Self(group))
    }

    /// Into this file a process writes its number to be counted.
    pub(super) fn members(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    /// The time used so far.
    pub(super) fn used(&self) -> Option<Duration> {
        used_in(&fs::read_to_string(self.0.join("cpu.stat")).ok()?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Connections that `ssh` keeps open would hold it.
        fs::write(self.0.join("cgroup.kill"), "1").ok();
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("{} could not be removed", self.0.display());
    }
}

/// How long the machine may take to come to rest.
const REST_LIMIT: Duration = Duration::from_mins(2);

/// Waits until the machine has hardly anything to do for two seconds: hosts that were taken down and set up are still
/// being cleared and written for a while, and whoever is measured then would pay for it.
pub(super) fn rest() -> Result<(), LabError> {
    output(
        "writing what is not written yet",
        &mut program::<&str>("sync", []),
    )?;
    let began = Instant::now();
    let now = || {
        fs::read_to_string("/proc/stat")
            .ok()
            .as_deref()
            .and_then(spent)
    };
    while began.elapsed() < REST_LIMIT {
        let before = now();
        std::thread::sleep(Duration::from_secs(2));
        let Some((before, after)) = before.zip(now()) else {
            return Ok(());
        };
        if is_rest(before, after) {
            return Ok(());
        }
    }
    eprintln!(
        "the machine does not come to rest: the figures are of one that has something else to do"
    );
    Ok(())
}

/// At most a tenth of the time was spent on something: hosts look into their queues, too.
fn is_rest(before: Spent, after: Spent) -> bool {
    let all = after.all.saturating_sub(before.all);
    let idle = after.idle.saturating_sub(before.idle);
    idle.saturating_mul(10) >= all.saturating_mul(9)
}

/// Ticks of all processors since the start of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spent {
    all: u64,
    idle: u64,
}

/// The first line of `/proc/stat` (proc(5)): the fourth figure is idle time, the fifth that of waiting for disks.
fn spent(statistics: &str) -> Option<Spent> {
    let line = statistics.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Option<Vec<u64>> = line
        .split_whitespace()
        .map(|word| word.parse().ok())
        .collect();
    let ticks = ticks?;
    // Guests' time, from the ninth on, is counted in the first two as well.
    Some(Spent {
        all: ticks.iter().take(8).sum(),
        idle: *ticks.get(3)?,
    })
}

fn root_of(mounts: &str) -> Option<&Path> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let place = words.next()?;
        (words.next() == Some("cgroup2")).then_some(Path::new(place))
    })
}

fn used_in(statistics: &str) -> Option<Duration> {
    let used = statistics
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "))?;
    used.trim().parse().ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_is_read() {
        let statistics = "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n";
        assert_eq!(used_in(statistics), Some(Duration::from_millis(2500)));
        assert_eq!(used_in("user_usec 1\n"), None);
    }

    #[test]
    fn the_groups_of_version_2_are_found_beside_those_of_version_1() {
        let mounts = "proc /proc proc rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(root_of(mounts), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(root_of("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn a_machine_at_rest_is_told_from_one_at_work() {
        let statistics = "cpu  100 5 50 800 30 1 4 10 60 0\ncpu0 1 2 3\n";
        let before = spent(statistics).unwrap();
        assert_eq!(
            before,
            Spent {
                all: 1000,
                idle: 800
            }
        );
        let later = |all, idle| Spent {
            all: before.all + all,
            idle: before.idle + idle,
        };
        assert!(is_rest(before, later(400, 360)));
        assert!(!is_rest(before, later(400, 359)));
        assert_eq!(spent("intr 1 2"), None);
        assert_eq!(spent("cpu  1 x 3 4"), None);
    }
}
