//! Processor time of a command with all it starts, in the background or not: what the kernel counts for a
//! control group of its own (cgroup version 2).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
}
