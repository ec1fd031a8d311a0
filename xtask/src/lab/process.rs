//! Processes that outlive the program that started them, and are ended only when they are surely ours.
//!
//! A pid file holds `PID START BOOT`. Before a signal is sent, the process is pinned by a pidfd and then
//! its start time compared: a later process that was given the same number is never touched.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::error::LabError;

/// A live process of ours.
#[derive(Debug)]
pub(super) struct Process {
    pid: i32,
    pidfd: OwnedFd,
}

impl Process {
    /// The process a pid file tells of; `None` when there is no file or that process is gone.
    pub(super) fn from_pid_file(path: &Path) -> Result<Option<Self>, LabError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LabError::io("read", path, error)),
        };
        let damaged = || LabError::Damaged {
            path: path.display().to_string(),
            why: format!("{text:?} is not `PID START BOOT`"),
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let &[pid, start, boot] = words.as_slice() else {
            return Err(damaged());
        };
        let (Ok(pid), Ok(start)) = (pid.parse(), start.parse()) else {
            return Err(damaged());
        };
        Ok(if boot == boot_id() {
            Self::open(pid, Some(start))
        } else {
            None
        })
    }

    /// Pins a process; `None` when it is gone, or started at another time than expected.
    fn open(pid: i32, start: Option<u64>) -> Option<Self> {
        let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let found = Stat::of(pid)?;
        let ours = start.is_none_or(|start| start == found.start);
        (ours && found.state != 'Z').then_some(Self { pid, pidfd })
    }

    /// Its number, as this machine counts.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// The first of its children.
    pub(super) fn child(&self) -> Option<Self> {
        let entries = fs::read_dir("/proc").ok()?;
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .find(|pid| Stat::of(*pid).is_some_and(|stat| stat.parent == self.pid))
            .and_then(|pid| Self::open(pid, None))
    }

    /// Sends a signal; a process that is gone already is no error.
    pub(super) fn signal(&self, signal: Signal) {
        // The only failure left is ESRCH: the pidfd is ours and we are root.
        pidfd_send_signal(&self.pidfd, signal).ok();
    }

    /// Waits for its end; false when the time is over first.
    pub(super) fn wait_end(&self, limit: Duration) -> bool {
        wait_readable(&self.pidfd, limit)
    }
}

/// Waits until a descriptor can be read or is at its end; false when the time is over first.
pub(super) fn wait_readable(descriptor: &impl AsFd, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else {
            return false;
        };
        match poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// What tells one run of this machine from the next.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

/// Leaves word of a process that wrote only its number, such as dnsmasq.
pub(super) fn complete_pid_file(path: &Path) -> Result<(), LabError> {
    let text = fs::read_to_string(path).map_err(|error| LabError::io("read", path, error))?;
    let pid = text.trim().parse().ok();
    let Some(stat) = pid.and_then(Stat::of) else {
        return Err(LabError::Damaged {
            path: path.display().to_string(),
            why: "names no running process".to_owned(),
        });
    };
    let line = format!("{} {} {}\n", text.trim(), stat.start, boot_id());
    fs::write(path, line).map_err(|error| LabError::io("write", path, error))
}

/// The fields of `/proc/PID/stat` that matter here (proc(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: i32,
    /// Clock ticks since boot.
    start: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name in field 2 may hold spaces and brackets, so fields are counted from its last one.
    fn parse(text: &str) -> Option<Self> {
        let (_, after_name) = text.rsplit_once(") ")?;
        let mut fields = after_name.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let start = fields.nth(17)?.parse().ok()?;
        Some(Self {
            state,
            parent,
            start,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_brackets_does_not_shift_the_fields() {
        let line = "42 (evil) 1 (x) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 0 0";
        assert_eq!(
            Stat::parse(line),
            Some(Stat {
                state: 'S',
                parent: 7,
                start: 98765
            })
        );
        assert_eq!(Stat::parse("42 (short) S 7"), None);
    }

    #[test]
    fn a_process_with_another_start_time_is_not_ours() {
        let own = i32::try_from(std::process::id()).unwrap();
        let start = Stat::of(own).unwrap().start;
        assert!(Process::open(own, Some(start)).is_some());
        assert!(Process::open(own, Some(start + 1)).is_none());
    }

    #[test]
    fn a_pid_file_from_before_the_last_boot_names_nobody() {
        let path = std::env::temp_dir().join(format!("lab-pid-{}", std::process::id()));
        let own = i32::try_from(std::process::id()).unwrap();
        let start = Stat::of(own).unwrap().start;
        fs::write(&path, format!("{own} {start} {}\n", boot_id())).unwrap();
        assert!(Process::from_pid_file(&path).unwrap().is_some());
        fs::write(&path, format!("{own} {start} another-boot\n")).unwrap();
        assert!(Process::from_pid_file(&path).unwrap().is_none());
        fs::write(&path, format!("{own}\n")).unwrap();
        assert_eq!(
            Process::from_pid_file(&path).unwrap_err().kind(),
            "lab-damaged"
        );
        fs::remove_file(&path).unwrap();
        assert!(Process::from_pid_file(&path).unwrap().is_none());
    }
}
