//! The program while it runs: a test waits for what it says, and for its end, never for a time.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Longest that anything here may take on a machine that does other things, too.
pub(crate) const LONGEST: Duration = Duration::from_mins(4);

/// The program at work, and what it says.
pub(crate) struct AtWork {
    pub(crate) child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl AtWork {
    pub(crate) fn new(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        listen(out, sender.clone());
        listen(err, sender);
        Self {
            child,
            lines,
            said: Vec::new(),
        }
    }

    /// The next line; `None` when it has closed both streams: it has ended.
    pub(crate) fn next_line(&mut self, until: Instant) -> Option<&str> {
        let left = until.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                self.said.push(line);
                self.said.last().map(String::as_str)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                self.child.kill().unwrap();
                panic!("too long:\n{}", self.said.join("\n"));
            }
        }
    }

    /// Waits until it says this.
    pub(crate) fn hears(&mut self, what: &str) {
        let until = Instant::now() + LONGEST;
        while let Some(line) = self.next_line(until) {
            if line.contains(what) {
                return;
            }
        }
        panic!("ended without {what:?}:\n{}", self.said.join("\n"));
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it ends by itself: its status, and all it said.
    pub(crate) fn ends(mut self) -> (Option<i32>, String) {
        let until = Instant::now() + LONGEST;
        while self.next_line(until).is_some() {}
        (self.child.wait().unwrap().code(), self.said.join("\n"))
    }
}

fn listen(stream: impl std::io::Read + Send + 'static, to: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            // Whoever listened has heard enough.
            if line.map(|line| to.send(line)).is_err() {
                return;
            }
        }
    });
}
