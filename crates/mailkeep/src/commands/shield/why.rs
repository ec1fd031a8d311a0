//! `mailkeep shield why`: what a shield's log says of one decision.
//!
//! Reads the log as the shield writes it, or as `journalctl` gives it: one line is one JSON object, the same within
//! `MESSAGE`, or the same behind a date and a host. What is not the shield's is passed over.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read as _, Write};

use anyhow::{Context as _, bail};
use mailkeep_inspect::kept::is_id;
use mailkeep_model::text::{printable, printable_max};
use serde_json::{Map, Value};

use crate::cli::shield::{WhyArgs, WhyFormat};
use crate::commands::Done;

/// Octets of a line that is read. The shield writes less than a tenth of it.
const LONGEST: u64 = 1 << 20;
/// Lines about one decision that are shown. A session has at most 10,000 commands.
const MOST: usize = 20_000;
/// Characters of a value that are shown.
const SHOWN: usize = 500;

/// Runs it.
pub(super) fn run(args: &WhyArgs) -> anyhow::Result<Done> {
    let id = id_of(&args.id)?;
    let mut log = Log::default();
    if args.logs.is_empty() {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            bail!(
                "which log? Name it with --log FILE, or hand it over: \
                 journalctl -u mailkeep-shield -o cat | mailkeep shield why {id}"
            );
        }
        log.read(stdin.lock(), id)
            .context("cannot read the log on standard input")?;
    }
    for path in &args.logs {
        let file = File::open(path).and_then(|file| log.read(BufReader::new(file), id));
        file.with_context(|| format!("cannot read {}", path.display()))?;
    }
    let mut out = Vec::new();
    match args.format {
        WhyFormat::Text => log.tell(id, &mut out)?,
        WhyFormat::Jsonl => {
            for line in &log.about {
                writeln!(out, "{}", Value::Object(line.clone()))?;
            }
        }
    }
    io::stdout().lock().write_all(&out)?;
    if !log.about.is_empty() {
        return Ok(Done::Nothing);
    }
    if log.lines == 0 {
        bail!(
            "none of the {} lines of this log is a shield's{}",
            log.others,
            if log.cut > 0 {
                "; journalctl left some out: ask it with -o cat, or with --all"
            } else {
                ""
            }
        );
    }
    Ok(Done::Findings)
}

/// An id, also as it stands in a refusal: `(reference 18f3a-2-1)`.
fn id_of(text: &str) -> anyhow::Result<&str> {
    let bare = text.trim().trim_start_matches('(').trim_end_matches(')');
    let bare = bare.strip_prefix("reference").unwrap_or(bare).trim();
    if !is_id(bare) || !bare.contains('-') {
        bail!(
            "{:?} is no id of a shield: these look like 18f3a2c4-1f-1, and stand in refusals as (reference ID)",
            printable_max(text, 100)
        );
    }
    Ok(bare)
}

/// Whether a line with this trace belongs to what this id names: the message and its session, or the session and all
/// its messages.
fn belongs(trace: &str, id: &str) -> bool {
    let below = |long: &str, short: &str| {
        long.strip_prefix(short)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    below(trace, id) || below(id, trace)
}

/// What was found in a log.
#[derive(Default)]
struct Log {
    about: Vec<Map<String, Value>>,
    /// Lines of a shield.
    lines: u64,
    /// Other lines.
    others: u64,
    /// Lines that `journalctl` gave without their text.
    cut: u64,
    /// When its first and its last line were written.
    span: Option<(String, String)>,
}

impl Log {
    fn read(&mut self, mut reader: impl BufRead, id: &str) -> io::Result<()> {
        let mut octets = Vec::new();
        loop {
            octets.clear();
            let count = reader
                .by_ref()
                .take(LONGEST)
                .read_until(b'\n', &mut octets)?;
            if count == 0 {
                return Ok(());
            }
            if count as u64 == LONGEST && octets.last() != Some(&b'\n') {
                reader.skip_until(b'\n')?;
                self.others += 1;
                continue;
            }
            self.line(&octets, id);
        }
    }

    fn line(&mut self, octets: &[u8], id: &str) {
        let Some(line) = self.shields(octets) else {
            self.others += u64::from(!octets.trim_ascii().is_empty());
            return;
        };
        self.lines += 1;
        if let Some(time) = text(&line, "time") {
            let first = self.span.take().map_or_else(|| time.clone(), |span| span.0);
            self.span = Some((first, time));
        }
        let trace = text(&line, "trace").unwrap_or_default();
        if belongs(&trace, id) && !trace.is_empty() && self.about.len() < MOST {
            self.about.push(line);
        }
    }

    /// The line of a shield that these octets hold.
    fn shields(&mut self, octets: &[u8]) -> Option<Map<String, Value>> {
        let begin = octets.iter().position(|octet| *octet == b'{')?;
        let Ok(Value::Object(line)) = serde_json::from_slice(octets.get(begin..)?) else {
            return None;
        };
        if line.contains_key("event") && line.contains_key("time") {
            return Some(line);
        }
        // As `journalctl -o json` has it: octets that are not all text come as numbers, long texts as null.
        let message = match line.get("MESSAGE")? {
            Value::String(text) => text.clone().into_bytes(),
            Value::Array(numbers) => {
                let octets = numbers.iter().map(|one| one.as_u64()?.try_into().ok());
                octets.collect::<Option<Vec<u8>>>()?
            }
            Value::Null => {
                self.cut += 1;
                return None;
            }
            _ => return None,
        };
        match serde_json::from_slice(&message) {
            Ok(Value::Object(line)) if line.contains_key("event") => Some(line),
            _ => None,
        }
    }

    fn tell(&self, id: &str, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(first) = self.about.first() else {
            if let Some((from, to)) = &self.span {
                writeln!(
                    out,
                    "No line of this log is about {id}. It goes from {} to {}: the id may be of another time, or of \
                     another shield.",
                    printable(from),
                    printable(to)
                )?;
            }
            return Ok(());
        };
        let by = ["listener", "milter"]
            .iter()
            .find_map(|key| text(first, key));
        writeln!(
            out,
            "{id}: client {} by {}",
            printable_max(
                &text(first, "client").unwrap_or_else(|| "unknown".to_owned()),
                SHOWN
            ),
            printable_max(&by.unwrap_or_else(|| "nobody".to_owned()), SHOWN)
        )?;
        for line in &self.about {
            tell_line(id, line, out)?;
        }
        Ok(())
    }
}

/// A value without quotes around it.
fn text(line: &Map<String, Value>, key: &str) -> Option<String> {
    match line.get(key)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// One line, and below it each check of a message with its evidence, in the order in which they were made.
fn tell_line(id: &str, line: &Map<String, Value>, out: &mut dyn Write) -> io::Result<()> {
    let of = |key: &str| text(line, key).map(|text| printable_max(&text, SHOWN));
    let mut head = of("event").unwrap_or_default();
    for key in ["verdict", "rule", "end", "why"] {
        if let Some(value) = of(key) {
            head.push_str(if key == "verdict" { ": " } else { " " });
            head.push_str(&value);
        }
    }
    if let Some(family) = of("family") {
        head = format!("{head} ({family})");
    }
    writeln!(out, "{}  {head}", of("time").unwrap_or_default())?;
    if let Some(trace) = of("trace").filter(|trace| trace != id) {
        writeln!(out, "    trace        {trace}")?;
    }
    if let Some(Value::Array(checks)) = line.get("checks") {
        for check in checks.iter().filter_map(Value::as_object) {
            tell_check(check, out)?;
        }
    }
    let told = [
        "checks", "client", "content", "event", "family", "listener", "milter", "rule", "rules",
        "time", "trace", "verdict", "end", "why",
    ];
    // What a check has said already.
    let said = |value: &str| {
        let checks = line.get("checks").and_then(Value::as_array);
        let mut checks = checks.into_iter().flatten().filter_map(Value::as_object);
        checks.any(|check| {
            let evidence = text(check, "evidence").unwrap_or_default();
            !evidence.is_empty() && value.contains(&evidence)
        })
    };
    for key in line.keys().filter(|key| !told.contains(&key.as_str())) {
        if let Some(value) = of(key).filter(|value| key != "evidence" || !said(value)) {
            writeln!(out, "    {:<12} {value}", printable(key))?;
        }
    }
    Ok(())
}

fn tell_check(check: &Map<String, Value>, out: &mut dyn Write) -> io::Result<()> {
    let of = |key: &str| text(check, key).map(|text| printable_max(&text, SHOWN));
    let mut said = Vec::new();
    for key in ["verdict", "rule", "place", "evidence"] {
        if let Some(value) = of(key).filter(|value| !value.is_empty()) {
            said.push(value);
        }
    }
    let name = of("check").unwrap_or_default();
    let said = said.join("  ");
    writeln!(out, "    {:<12} {said}", format!("[{name}]"))
}

#[cfg(test)]
mod tests {
    use mailkeep_model::text::is_unsafe;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_log_holds_is_survived_and_shown_without_harm(
            octets in proptest::collection::vec(any::<u8>(), 0..200),
            value in ".{0,40}",
        ) {
            let line = json!({
                "event": value, "time": value, "trace": "1-2-3", "client": value, "rule": value, &value: value,
                "checks": [{"check": value, "evidence": value}, value],
            });
            let text = [&octets[..], b"\n", line.to_string().as_bytes(), b"\n", &octets].concat();
            let mut log = Log::default();
            log.read(&text[..], "1-2-3").unwrap();
            let mut out = Vec::new();
            log.tell("1-2-3", &mut out).unwrap();
            let out = String::from_utf8(out).unwrap();
            prop_assert!(!out.chars().any(|c| c != '\n' && is_unsafe(c)), "{:?}", out);
            prop_assert!(log.about.len() <= 1);
        }
    }

    #[test]
    fn an_id_is_taken_as_it_stands_in_a_refusal() {
        assert_eq!(id_of("(reference 18f-2-1)").unwrap(), "18f-2-1");
        assert_eq!(id_of(" 18f-2 ").unwrap(), "18f-2");
        for wrong in ["", "18f", "a/b-c", "x y-1"] {
            assert!(id_of(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_message_belongs_to_its_session_and_to_no_other() {
        assert!(belongs("1-2-3", "1-2-3") && belongs("1-2", "1-2-3") && belongs("1-2-3", "1-2"));
        assert!(!belongs("1-2-3", "1-2-4") && !belongs("1-22", "1-2") && !belongs("1-2", "1-22-1"));
    }
}
