//! Shows what is done: steps with the time, commands with what they say; and ends it on a signal.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::super::Lab;
use super::super::error::LabError;

/// Says in a line of a rollout that it has stopped to wait for somebody.
const PAUSED: &str = " rollout PAUSED by ";

/// A guide with a watch.
pub(super) struct Show<'a> {
    lab: &'a Lab,
    binary: PathBuf,
    began: Instant,
    /// What is running right now.
    child: Arc<Mutex<Option<Pid>>>,
}

impl<'a> Show<'a> {
    pub(super) fn new(lab: &'a Lab, binary: PathBuf) -> Self {
        Self {
            lab,
            binary,
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
    pub(super) fn run(&self, desk: &Path, args: &[&str]) -> Result<i32, LabError> {
        crate::say(format_args!("  $ mailkeep {}", args.join(" ")));
        // One pipe for both, so that the lines stay in their order.
        let mut command = self.lab.controller("sh");
        command
            .args(["-c", "exec \"$@\" 2>&1", "tour"])
            .arg(&self.binary)
            .args(args);
        self.read(desk, command, |output| {
            for line in BufReader::new(output).lines() {
                let line = line?;
                crate::say(format_args!("    {line}"));
                // A rollout that pauses itself waits for a person; on a tour there is none.
                if line.contains(PAUSED)
                    && let Some(child) = self.current()
                {
                    kill_process(child, Signal::TERM).ok();
                }
            }
            Ok(())
        })
    }

    /// Runs Mailkeep as the controller and gives its standard output.
    pub(super) fn answer(&self, desk: &Path, args: &[&str]) -> Result<String, LabError> {
        let mut command = self.lab.controller(&self.binary);
        command.args(args);
        let mut text = String::new();
        self.read(desk, command, |mut output| {
            output.read_to_string(&mut text).map(drop)
        })?;
        Ok(text)
    }

    fn read(
        &self,
        desk: &Path,
        mut command: Command,
        take: impl FnOnce(std::process::ChildStdout) -> std::io::Result<()>,
    ) -> Result<i32, LabError> {
        let failed = |outcome: String| LabError::CommandFailed {
            what: "calling mailkeep".to_owned(),
            command: self.binary.display().to_string(),
            outcome,
            tail: String::new(),
        };
        let mut child = command
            .current_dir(desk)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("could not be started: {error}")))?;
        self.running(i32::try_from(child.id()).ok().and_then(Pid::from_raw));
        let read = child.stdout.take().map_or(Ok(()), take);
        let status = child.wait();
        self.running(None);
        read.map_err(|error| failed(format!("could not be read: {error}")))?;
        let status = status.map_err(|error| failed(format!("was lost: {error}")))?;
        Ok(status.code().unwrap_or(-1))
    }

    fn current(&self) -> Option<Pid> {
        *self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self, child: Option<Pid>) {
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = child;
    }

    /// Takes the lab down on Ctrl-C and its like, and ends.
    pub(super) fn end_on_signals(&self) -> Result<(), LabError> {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])
            .map_err(|error| LabError::io("listen for signals in", self.lab.root(), error))?;
        let child = Arc::clone(&self.child);
        let root = self.lab.root().to_owned();
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
            if let Err(error) = Lab::open(&root).and_then(|lab| lab.down()) {
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
