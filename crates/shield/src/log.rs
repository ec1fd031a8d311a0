//! The log: one JSON object a line on standard output. Entry: [`Log::line`].
//!
//! Where standard output is systemd's journal, each line goes there by its own protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>), with the fields by which it is looked for.
//!
//! Lines go to a thread of their own, so that a reader who stops reading stops no session. What finds no room is
//! dropped and counted.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
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

/// Where the journal listens.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Fields of the journal, and what of a line they hold.
const FIELDS: [(&str, &str); 8] = [
    ("MAILKEEP_EVENT", "event"),
    ("MAILKEEP_TRACE", "trace"),
    ("MAILKEEP_LISTENER", "listener"),
    ("MAILKEEP_MILTER", "milter"),
    ("MAILKEEP_CLIENT", "client"),
    ("MAILKEEP_VERDICT", "verdict"),
    ("MAILKEEP_RULE", "rule"),
    ("MAILKEEP_BACKEND", "backend"),
];

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Log {
    sender: SyncSender<Line>,
    /// Whether it goes to the journal.
    journal: bool,
    dropped: AtomicU64,
}

/// One line, and the fields of the journal for it.
struct Line {
    json: String,
    fields: String,
}

/// The thread that writes; to be waited for once the log is gone.
pub(crate) struct Writer(Receiver<()>);

impl Log {
    /// A log, and its thread.
    pub(crate) fn open() -> (Self, Writer) {
        let (sender, receiver) = sync_channel(WAITING);
        let (done, ended) = sync_channel(1);
        let journal = journal();
        let log_journal = journal.is_some();
        std::thread::spawn(move || {
            write(&receiver, journal.as_ref());
            done.send(()).ok();
        });
        let log = Self {
            sender,
            journal: log_journal,
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
        let fields = if self.journal {
            fields_of(&map)
        } else {
            String::new()
        };
        let json = Value::Object(map).to_string();
        if self.sender.try_send(Line { json, fields }).is_err() {
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

/// The journal, where standard output goes there (systemd.exec(5), `$JOURNAL_STREAM`).
fn journal() -> Option<UnixDatagram> {
    let stream = std::env::var("JOURNAL_STREAM").ok()?;
    let output = std::fs::metadata("/proc/self/fd/1").ok()?;
    if stream != format!("{}:{}", output.dev(), output.ino()) {
        return None;
    }
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(JOURNAL).ok()?;
    Some(socket)
}

/// What a line is looked for by. No value holds a line end: they are names, numbers, and printable text.
fn fields_of(map: &Map<String, Value>) -> String {
    let alert = map.get("alert") == Some(&Value::Bool(true));
    // Warning, or information (syslog(3)).
    let mut text = format!("PRIORITY={}\n", if alert { 4 } else { 6 });
    for (field, key) in FIELDS {
        if let Some(Value::String(value)) = map.get(key) {
            writeln!(text, "{field}={value}").ok();
        }
    }
    // The message's session, which `journalctl` cannot find by the beginning of an id.
    if let Some(Value::String(trace)) = map.get("trace") {
        let session: Vec<&str> = trace.splitn(3, '-').take(2).collect();
        writeln!(text, "MAILKEEP_SESSION={}", session.join("-")).ok();
    }
    text
}

fn write(receiver: &Receiver<Line>, journal: Option<&UnixDatagram>) {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    while let Ok(line) = receiver.recv() {
        put(&line, journal, &mut out);
        std::thread::sleep(GATHER);
        while let Ok(line) = receiver.try_recv() {
            put(&line, journal, &mut out);
        }
        out.flush().ok();
    }
}

fn put(line: &Line, journal: Option<&UnixDatagram>, out: &mut dyn std::io::Write) {
    if let Some(journal) = journal {
        let record = format!(
            "MESSAGE={}\nSYSLOG_IDENTIFIER=mailkeep-shield\n{}",
            line.json, line.fields
        );
        if journal.send(record.as_bytes()).is_ok() {
            return;
        }
        // Too long for it, or it restarts: standard output leads there, too.
    }
    // Nobody is left to tell that nobody reads.
    writeln!(out, "{}", line.json).ok();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(fields: &Value) -> Line {
        let map = fields.as_object().unwrap();
        Line {
            json: fields.to_string(),
            fields: fields_of(map),
        }
    }

    #[test]
    fn the_journal_gets_the_line_and_what_it_is_looked_for_by() {
        let (here, there) = UnixDatagram::pair().unwrap();
        let mut out = Vec::new();
        let message =
            json!({"event": "message", "trace": "18f-2-1", "rule": "infected", "size": 7});
        put(&line(&message), Some(&here), &mut out);
        let mut record = vec![0; 4096];
        let count = there.recv(&mut record).unwrap();
        let record = String::from_utf8(record[..count].to_vec()).unwrap();
        let expected = format!(
            "MESSAGE={message}\nSYSLOG_IDENTIFIER=mailkeep-shield\nPRIORITY=6\nMAILKEEP_EVENT=message\n\
             MAILKEEP_TRACE=18f-2-1\nMAILKEEP_RULE=infected\nMAILKEEP_SESSION=18f-2\n"
        );
        assert_eq!(record, expected);
        assert_eq!(out, b"");
        let alert = json!({"event": "antivirus-down", "alert": true});
        assert!(line(&alert).fields.starts_with("PRIORITY=4\n"));
    }

    #[test]
    fn what_the_journal_does_not_take_goes_to_standard_output() {
        let (here, there) = UnixDatagram::pair().unwrap();
        drop(there);
        let mut out = Vec::new();
        put(&line(&json!({"event": "x"})), Some(&here), &mut out);
        put(&line(&json!({"event": "y"})), None, &mut out);
        assert_eq!(out, b"{\"event\":\"x\"}\n{\"event\":\"y\"}\n");
    }
}
