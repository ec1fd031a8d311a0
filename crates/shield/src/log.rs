//! The log: one JSON object a line on standard output. Entry: [`Log::line`].
//!
//! Lines go to a thread of their own, so that a reader who stops reading stops no session. What finds no room is
//! dropped and counted.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use jiff::Timestamp;
use mailkeep_model::text::printable_max;
use serde_json::{Map, Value};

/// Lines that may wait.
const WAITING: usize = 4096;

/// How long lines are gathered before they are written together. A thread that sleeps need not be woken for each.
const GATHER: Duration = Duration::from_millis(10);

/// Longest text in a line, in characters.
const LONGEST: usize = 400;

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Log {
    sender: SyncSender<String>,
    dropped: AtomicU64,
}

/// The thread that writes; to be waited for once the log is gone.
pub(crate) struct Writer(Receiver<()>);

impl Log {
    /// A log, and its thread.
    pub(crate) fn open() -> (Self, Writer) {
        let (sender, receiver) = sync_channel(WAITING);
        let (done, ended) = sync_channel(1);
        std::thread::spawn(move || {
            write(&receiver);
            done.send(()).ok();
        });
        let log = Self {
            sender,
            dropped: AtomicU64::new(0),
        };
        (log, Writer(ended))
    }

    /// One line: when, what, and its fields.
    pub(crate) fn line(&self, event: &'static str, fields: &[(&'static str, Value)]) {
        let mut map = Map::new();
        map.insert("time".to_owned(), Timestamp::now().to_string().into());
        map.insert("event".to_owned(), event.into());
        for (key, value) in fields {
            let value = match value {
                Value::String(text) => printable_max(text, LONGEST).into(),
                other => other.clone(),
            };
            map.insert((*key).to_owned(), value);
        }
        let mut line = Value::Object(map).to_string();
        line.push('\n');
        if self.sender.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that found no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Writer {
    /// Waits until every line is written, or nobody reads them.
    pub(crate) fn join(self) {
        self.0.recv_timeout(Duration::from_secs(2)).ok();
    }
}

fn write(receiver: &Receiver<String>) {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    while let Ok(line) = receiver.recv() {
        // Nobody is left to tell that nobody reads.
        out.write_all(line.as_bytes()).ok();
        std::thread::sleep(GATHER);
        while let Ok(line) = receiver.try_recv() {
            out.write_all(line.as_bytes()).ok();
        }
        out.flush().ok();
    }
}
