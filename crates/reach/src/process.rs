//! One child process with bounded time and output, and its whole process group with it.
//!
//! Standard input, output and error each have a thread, so that neither side waits for the other;
//! a fourth waits for the end without reaping, so that the process id (and the group id with it)
//! stays ours until the group is killed.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// How long a process that was asked to end (SIGTERM) has before it is made to (SIGKILL). Enough
/// for `ssh` to restore what it changed; too short to be noticed among time-outs of seconds.
const TERM_GRACE: Duration = Duration::from_millis(300);

/// How long output is still read after the end of the process. Only something it left behind in
/// the background (a connection-sharing master of `ssh`) can hold the pipes open for longer.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// Bytes of standard error kept from its beginning, and as many from its end: the first complaint
/// names the cause, the last one the outcome.
const STDERR_HALF: usize = 32 * 1024;

/// What a process may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) time: Duration,
    pub(crate) output: usize,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// It was killed: it took too long.
    TimedOut,
    /// It was killed: it printed more than allowed.
    TooMuchOutput,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) end: End,
    /// At most the allowed number of bytes, also where the process was killed.
    pub(crate) stdout: Vec<u8>,
    /// Bounded: the beginning and the end.
    pub(crate) stderr: Vec<u8>,
}

enum Report {
    Closed,
    Exited,
    TooMuch,
}

/// Runs a command to its end or its bounds. An error means that it was not started.
pub(crate) fn run(mut command: Command, stdin: Vec<u8>, bounds: Bounds) -> io::Result<Outcome> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let deadline = Instant::now() + bounds.time;
    let (report, reports) = channel();

    feed(&mut child, stdin);
    let stdout = Arc::new(Mutex::new(Vec::new()));
    if let Some(pipe) = child.stdout.take() {
        let (stdout, report) = (Arc::clone(&stdout), report.clone());
        thread::spawn(move || read_bounded(pipe, bounds.output, &stdout, &report));
    }
    let stderr = Arc::new(Mutex::new(HeadAndTail::default()));
    if let Some(pipe) = child.stderr.take() {
        let (stderr, report) = (Arc::clone(&stderr), report.clone());
        thread::spawn(move || read_head_and_tail(pipe, &stderr, &report));
    }
    let group = Pid::from_child(&child);
    thread::spawn(move || {
        while waitid(
            WaitId::Pid(group),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        )
        .is_err_and(|error| error == rustix::io::Errno::INTR)
        {}
        send(&report, Report::Exited);
    });

    let (cut_short, exited) = watch(&reports, deadline);
    if !exited {
        kill_group(group, Signal::TERM);
        await_exit(&reports, Instant::now() + TERM_GRACE);
    }
    // Also after a good end: what it left running in its group ends with it.
    kill_group(group, Signal::KILL);
    let status = child.wait()?;
    Ok(Outcome {
        end: cut_short.unwrap_or(End::Exited(status)),
        stdout: std::mem::take(&mut *lock(&stdout)),
        stderr: lock(&stderr).take(),
    })
}

/// Waits until the process has ended and its output is read, or a bound is reached: that bound,
/// and whether the process has ended.
fn watch(reports: &Receiver<Report>, deadline: Instant) -> (Option<End>, bool) {
    let mut limit = deadline;
    let mut open = 2;
    let mut exited = false;
    while open > 0 || !exited {
        match reports.recv_timeout(limit.saturating_duration_since(Instant::now())) {
            Ok(Report::Closed) => open -= 1,
            Ok(Report::Exited) => {
                exited = true;
                limit = Instant::now() + DRAIN_GRACE;
            }
            Ok(Report::TooMuch) => return (Some(End::TooMuchOutput), exited),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) if exited => break,
            Err(_) => return (Some(End::TimedOut), false),
        }
    }
    (None, exited)
}

fn await_exit(reports: &Receiver<Report>, limit: Instant) {
    loop {
        match reports.recv_timeout(limit.saturating_duration_since(Instant::now())) {
            Ok(Report::Exited) | Err(_) => return,
            Ok(Report::Closed | Report::TooMuch) => {}
        }
    }
}

fn kill_group(group: Pid, signal: Signal) {
    // It may be gone already, which is what was wanted.
    kill_process_group(group, signal).ok();
}

fn feed(child: &mut Child, stdin: Vec<u8>) {
    if let Some(mut pipe) = child.stdin.take() {
        // A process that ends before it has read everything is judged by its status.
        thread::spawn(move || pipe.write_all(&stdin).ok());
    }
}

fn send(report: &Sender<Report>, what: Report) {
    // Nobody listens any more once the process is given up.
    report.send(what).ok();
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_bounded(mut pipe: impl Read, limit: usize, into: &Mutex<Vec<u8>>, report: &Sender<Report>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Some(read) = next_chunk(&mut pipe, &mut buffer) {
        let mut kept = lock(into);
        let room = limit.saturating_sub(kept.len());
        kept.extend_from_slice(read.get(..room).unwrap_or(read));
        if read.len() > room {
            drop(kept);
            send(report, Report::TooMuch);
            return;
        }
    }
    send(report, Report::Closed);
}

fn read_head_and_tail(mut pipe: impl Read, into: &Mutex<HeadAndTail>, report: &Sender<Report>) {
    let mut buffer = vec![0; 8 * 1024];
    while let Some(read) = next_chunk(&mut pipe, &mut buffer) {
        lock(into).push(read);
    }
    send(report, Report::Closed);
}

fn next_chunk<'a>(pipe: &mut impl Read, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    loop {
        match pipe.read(buffer) {
            Ok(0) => return None,
            Ok(read) => return buffer.get(..read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// The beginning and the end of a text.
#[derive(Default)]
pub(crate) struct HeadAndTail {
    head: Vec<u8>,
    tail: VecDeque<u8>,
}

impl HeadAndTail {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = STDERR_HALF.saturating_sub(self.head.len()).min(bytes.len());
        let (head, tail) = bytes.split_at(room);
        self.head.extend_from_slice(head);
        self.tail.extend(tail);
        let surplus = self.tail.len().saturating_sub(STDERR_HALF);
        self.tail.drain(..surplus);
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.head);
        all.extend(std::mem::take(&mut self.tail));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: Bounds = Bounds {
        time: Duration::from_secs(20),
        output: 1 << 20,
    };

    fn sh(script: &str, bounds: Bounds) -> Outcome {
        let mut command = Command::new("sh");
        command.arg("-s");
        run(command, script.as_bytes().to_vec(), bounds).unwrap()
    }

    #[test]
    fn output_and_status_come_back() {
        let outcome = sh("echo out; echo err >&2; exit 3", PLENTY);
        assert!(matches!(outcome.end, End::Exited(status) if status.code() == Some(3)));
        assert_eq!(outcome.stdout, b"out\n");
        assert_eq!(outcome.stderr, b"err\n");
    }

    #[test]
    fn a_process_that_hangs_is_killed_with_its_children() {
        let begun = Instant::now();
        let bounds = Bounds {
            time: Duration::from_millis(200),
            ..PLENTY
        };
        let outcome = sh("trap '' TERM; sleep 600 & echo $!; wait; sleep 600", bounds);
        assert_eq!(outcome.end, End::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(10));
        let child: i32 = String::from_utf8(outcome.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        // Gone, or a zombie that nobody of ours has to reap; the kernel may take a moment.
        let ended = || {
            std::fs::read_to_string(format!("/proc/{child}/stat"))
                .map_or(true, |state| state.contains(") Z "))
        };
        while !ended() {
            assert!(begun.elapsed() < Duration::from_secs(15), "still runs");
            thread::yield_now();
        }
    }

    #[test]
    fn what_escapes_into_the_background_does_not_hold_us_up() {
        let begun = Instant::now();
        // Like a connection-sharing master of ssh: its own session, our pipes.
        let outcome = sh("setsid sleep 30 & echo out", PLENTY);
        assert!(matches!(outcome.end, End::Exited(_)));
        assert_eq!(outcome.stdout, b"out\n");
        assert!(begun.elapsed() < PLENTY.time);
    }

    #[test]
    fn a_flood_is_cut_at_the_limit() {
        let outcome = sh("yes", PLENTY);
        assert_eq!(outcome.end, End::TooMuchOutput);
        assert_eq!(outcome.stdout.len(), PLENTY.output);
    }

    #[test]
    fn a_flood_of_complaints_keeps_the_first_and_the_last() {
        let outcome = sh(
            "echo first >&2; yes noise | head -c 300000 >&2; echo last >&2",
            PLENTY,
        );
        assert!(outcome.stderr.starts_with(b"first\n"));
        assert!(outcome.stderr.ends_with(b"last\n"));
        assert!(outcome.stderr.len() <= 2 * STDERR_HALF);
    }

    #[test]
    fn a_large_input_nobody_reads_does_not_block() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo done"]);
        let outcome = run(command, vec![b'x'; 4 << 20], PLENTY).unwrap();
        assert_eq!(outcome.stdout, b"done\n");
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let command = Command::new("/nonexistent/program");
        assert!(run(command, vec![], PLENTY).is_err());
    }
}
