//! Shows what is done: steps with the time, commands with what they say; and ends it on a signal, or when
//! it takes too long.

use std::io::{BufRead as _, BufReader};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::super::error::LabError;
use super::super::{Desk, Lab};

/// No command of a tour takes so long; the rollout, the longest, takes less than a minute.
const LONGEST: Duration = Duration::from_mins(10);
/// What is under way on a host is waited for so long when a command is ended.
const LAST_WORDS: Duration = Duration::from_mins(1);

/// A guide with a watch.
pub(super) struct Show {
    began: Instant,
    /// What is running right now.
    child: Arc<Mutex<Option<Pid>>>,
}

impl Show {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            child: Arc::default(),
        }
    }

    /// Says what comes next.
    pub(super) fn step(&self, claim: &str) {
        crate::say(format_args!(
            "\n[{:6.1} s] {claim}",
            self.began.elapsed().as_secs_f64()
        ));
    }

    /// Runs Mailkeep as the controller, shows all it says as it says it, and gives its exit status.
    pub(super) fn run(&self, desk: &Desk<'_>, args: &[&str]) -> Result<i32, LabError> {
        crate::say(format_args!("  $ mailkeep {}", args.join(" ")));
        self.show(desk.mailkeep(args), LONGEST, |line| {
            crate::say(format_args!("    {line}"));
        })
    }

    fn show(
        &self,
        mut command: Command,
        longest: Duration,
        mut say: impl FnMut(&str),
    ) -> Result<i32, LabError> {
        let failed = |what: &str, error: std::io::Error| LabError::CommandFailed {
            what: "calling mailkeep".to_owned(),
            command: "mailkeep".to_owned(),
            outcome: format!("{what}: {error}"),
            tail: String::new(),
        };
        let not_started = |error| failed("could not be started", error);
        // One pipe for both, so that the lines stay in their order.
        let (output, input) = std::io::pipe().map_err(not_started)?;
        command.stdout(input.try_clone().map_err(not_started)?);
        let mut child = command.stderr(input).spawn().map_err(not_started)?;
        // Else our own end of the pipe would stay open.
        drop(command);
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        self.running(pid);
        let (ended, at_its_end) = mpsc::channel::<()>();
        let (read, status, too_long) = std::thread::scope(|scope| {
            let watch = scope.spawn(move || {
                let is_over =
                    |time| at_its_end.recv_timeout(time) != Err(RecvTimeoutError::Timeout);
                if is_over(longest) {
                    return false;
                }
                for (signal, time) in [(Signal::TERM, LAST_WORDS), (Signal::KILL, Duration::ZERO)] {
                    if let Some(pid) = pid {
                        kill_process(pid, signal).ok();
                    }
                    if is_over(time) {
                        break;
                    }
                }
                true
            });
            let read = BufReader::new(output)
                .lines()
                .try_for_each(|line| line.map(|line| say(&line)));
            let status = child.wait();
            drop(ended);
            (read, status, watch.join().unwrap_or(true))
        });
        self.running(None);
        read.map_err(|error| failed("could not be read", error))?;
        let status = status.map_err(|error| failed("was lost", error))?;
        if too_long {
            let why = format!("no end after {} s", longest.as_secs());
            return Err(failed("was ended", std::io::Error::other(why)));
        }
        Ok(status.code().unwrap_or(-1))
    }

    fn running(&self, child: Option<Pid>) {
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = child;
    }

    /// Takes the lab down on Ctrl-C and its like, and ends.
    pub(super) fn end_on_signals(&self, lab: &Lab) -> Result<(), LabError> {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])
            .map_err(|error| LabError::io("listen for signals in", lab.root(), error))?;
        let child = Arc::clone(&self.child);
        let lab = lab.clone();
        std::thread::spawn(move || {
            let Some(signal) = signals.forever().next() else {
                return;
            };
            eprintln!("tour: interrupted; taking the lab down");
            // From a terminal it has the signal already, and is asking its hosts to finish; there is no
            // need to wait for them, for they are about to go.
            if let Some(child) = *child.lock().unwrap_or_else(PoisonError::into_inner) {
                kill_process(child, Signal::KILL).ok();
            }
            if let Err(error) = lab.down() {
                eprintln!("tour: {error}");
            }
            std::process::exit(128 + signal);
        });
        Ok(())
    }
}

/// Says something about a step.
pub(super) fn note(words: &str) {
    crate::say(format_args!("    {words}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        super::super::super::command::program("sh", ["-c", script])
    }

    #[test]
    fn both_outputs_are_shown_in_their_order_with_the_exit_status() {
        let mut lines = Vec::new();
        let status = Show::new().show(
            shell("echo one; echo two >&2; echo three; exit 3"),
            LONGEST,
            |line| lines.push(line.to_owned()),
        );
        assert_eq!(status.unwrap(), 3);
        assert_eq!(lines, ["one", "two", "three"]);
    }

    #[test]
    fn a_command_without_end_is_ended_and_that_is_said() {
        let error = Show::new()
            .show(
                shell("trap 'exit 0' TERM; echo waiting; while :; do sleep 0.05; done"),
                Duration::from_millis(300),
                |_| {},
            )
            .unwrap_err();
        assert!(error.to_string().contains("no end after"), "{error}");
    }
}
