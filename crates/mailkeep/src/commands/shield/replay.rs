//! `mailkeep shield replay`: holds a site's own mail against the rules before they refuse anything.
//!
//! Messages of files and captures are judged by all cores, and told of in the order in which they were found.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::Path;

use anyhow::{Context as _, bail};
use mailkeep_inspect::rules::Compiled;
use mailkeep_inspect::{Profile, judge_by};
use mailkeep_model::text::printable;
use serde::Serialize;
use serde_json::json;

use crate::cli::shield::{ReplayArgs, ReplayGroup, ScanFormat};
use crate::commands::Done;
use crate::commands::shield::find::{self, find};
use crate::commands::shield::{pool, scan};
use crate::shield::replay::capture::{Skipped, is_capture};
use crate::shield::replay::dialogue::Piece;
use crate::shield::replay::exceptions::Exceptions;
use crate::shield::replay::streams::{Limits, Pair};
use crate::shield::replay::{Acts, Group, Hit, of_message, sessions};

/// Octets of a shield's configuration.
const LARGEST_CONFIG: usize = 1 << 20;

/// Runs it.
pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<Done> {
    let bundle = super::load(args.bundle.as_deref())?;
    let patches = Compiled::new(&bundle).context("the virtual patches cannot be used")?;
    let exceptions = match &args.config {
        Some(path) => exceptions(path)?,
        None => Exceptions::default(),
    };
    let rules = Rules {
        patches,
        exceptions,
        groups: groups(&args.only),
        profile: Profile {
            level: scan::level(args.level),
            ..Profile::default()
        },
        ports: args.port.clone(),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut tally = Tally::default();
    pool::in_order(
        |found| {
            for path in &args.paths {
                if !below(path, &rules, found) {
                    break;
                }
            }
        },
        |found| rules.judge(found),
        |judged| tally.take(args, judged, &mut out),
    )?;
    tally
        .write(args, &mut out)
        .and_then(|()| out.flush())
        .context("cannot write what was found")?;
    match tally.problems {
        0 => {}
        1 => bail!("one file or message could not be read whole"),
        many => bail!("{many} files or messages could not be read whole"),
    }
    Ok(if tally.refused > 0 || tally.refused_sessions > 0 {
        Done::Findings
    } else {
        Done::Nothing
    })
}

/// Those of a shield's configuration.
fn exceptions(path: &Path) -> anyhow::Result<Exceptions> {
    let octets = super::read(path, LARGEST_CONFIG)?;
    let name = path.display();
    anyhow::ensure!(octets.len() <= LARGEST_CONFIG, "{name} is too large");
    let text = String::from_utf8(octets).with_context(|| format!("{name} is no text"))?;
    Exceptions::read(&text).with_context(|| format!("{name} is no configuration of a shield"))
}

fn groups(only: &[ReplayGroup]) -> Vec<Group> {
    if only.is_empty() {
        return vec![Group::Generic, Group::Patch, Group::Content];
    }
    let group = |only: &ReplayGroup| match only {
        ReplayGroup::Content => Group::Content,
        ReplayGroup::Generic => Group::Generic,
        ReplayGroup::Patch => Group::Patch,
    };
    only.iter().map(group).collect()
}

/// What is held against the mail.
struct Rules {
    patches: Compiled,
    exceptions: Exceptions,
    groups: Vec<Group>,
    profile: Profile,
    ports: Vec<u16>,
}

/// What was found, to be judged.
enum Found {
    /// In a file.
    Message(find::Message),
    /// In a capture.
    Piece(String, Piece),
    /// A capture is at its end: packets that were not followed.
    Packets(Skipped),
    /// Something could not be read.
    Problem(String),
}

/// What is said of one message or session.
struct Judged {
    place: Place,
    hits: Vec<Hit>,
    is_message: bool,
    /// Of a session: why not all of it was judged.
    unjudged: Option<&'static str>,
}

enum Told {
    Judged(Judged),
    Packets(Skipped),
    Problem(String),
}

/// Where something was found.
#[derive(Debug, Clone, Default, Serialize)]
struct Place {
    file: String,
    /// Which message of a mailbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// Client and server.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// Which message of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<usize>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&printable(&self.file))?;
        if let Some(session) = &self.session {
            write!(f, ", {session}")?;
        }
        if let Some(number) = self.index.or(self.message) {
            write!(f, ", message {number}")?;
        }
        Ok(())
    }
}

/// Finds all mail below a path that somebody named. Whether more is wanted.
fn below(path: &Path, rules: &Rules, found: &mut dyn FnMut(Found) -> bool) -> bool {
    find(path, is_capture, &mut |message| match message {
        Err(problem) => found(Found::Problem(problem)),
        Ok(mut message) if message.source.index.is_none() => {
            let path = message.source.path.clone();
            if let Some(stream) = message.stream() {
                return capture(&path, stream, rules, found);
            }
            if !message.is_file() {
                return found(Found::Message(message));
            }
            match opened(&path) {
                Ok(Some(file)) => capture(&path, file, rules, found),
                Ok(None) => found(Found::Message(message)),
                Err(error) => found(Found::Problem(format!(
                    "cannot read {}: {error}",
                    path.display()
                ))),
            }
        }
        Ok(message) => found(Found::Message(message)),
    })
}

/// The file, if it is a capture.
fn opened(path: &Path) -> io::Result<Option<impl io::Read + Send>> {
    let mut begin = Vec::new();
    let file = File::open(path)?;
    (&file).take(4).read_to_end(&mut begin)?;
    Ok(is_capture(&begin).then(|| io::Cursor::new(begin).chain(file)))
}

fn capture(
    path: &Path,
    file: impl io::Read + Send,
    rules: &Rules,
    found: &mut dyn FnMut(Found) -> bool,
) -> bool {
    let name = path.to_string_lossy().into_owned();
    let mut skipped = Skipped::new();
    let mut wanted = true;
    let patches = rules.has(Group::Patch).then_some(&rules.patches);
    let read = sessions(
        file,
        &rules.ports,
        patches,
        &rules.exceptions,
        Limits::default(),
        &mut skipped,
        &mut |piece| {
            wanted = found(Found::Piece(name.clone(), piece));
            wanted
        },
    );
    if let Err(error) = read {
        let problem = format!("cannot read all of the capture {}: {error}", path.display());
        wanted = wanted && found(Found::Problem(problem));
    }
    wanted && found(Found::Packets(skipped))
}

impl Rules {
    fn has(&self, group: Group) -> bool {
        self.groups.contains(&group)
    }

    fn judge(&self, found: Found) -> Told {
        let patches = self.has(Group::Patch).then_some(&self.patches);
        let (place, mut hits, content, unjudged) = match found {
            Found::Problem(problem) => return Told::Problem(problem),
            Found::Packets(skipped) => return Told::Packets(skipped),
            Found::Message(mut message) => {
                let octets = match message.octets() {
                    Ok(octets) => octets,
                    Err(problem) => return Told::Problem(problem),
                };
                let (hits, content) = of_message(&octets, patches, &self.exceptions);
                let place = Place {
                    file: message.source.path.to_string_lossy().into_owned(),
                    index: message.source.index,
                    ..Place::default()
                };
                (place, hits, Some(Some(content)), None)
            }
            Found::Piece(
                file,
                Piece::Message {
                    pair,
                    number,
                    hits,
                    content,
                },
            ) => {
                let place = Place {
                    file,
                    session: Some(session(pair)),
                    message: Some(number),
                    ..Place::default()
                };
                (place, hits, Some(content), None)
            }
            Found::Piece(
                file,
                Piece::Session {
                    pair,
                    hits,
                    ended,
                    whole,
                },
            ) => {
                let place = Place {
                    file,
                    session: Some(session(pair)),
                    ..Place::default()
                };
                (place, hits, None, (!whole).then_some(ended))
            }
        };
        let is_message = content.is_some();
        if let Some(Some(content)) = content
            && (self.has(Group::Content) || patches.is_some())
        {
            let judgement = judge_by(&content, &self.profile, patches);
            for reason in judgement.reasons {
                let of_patch = self.patches.names().any(|name| name == reason.rule);
                let group = if of_patch {
                    Group::Patch
                } else {
                    Group::Content
                };
                hits.push(Hit::of(reason, group));
            }
        }
        hits.retain(|hit| self.has(hit.group));
        Told::Judged(Judged {
            place,
            hits,
            is_message,
            unjudged,
        })
    }
}

fn session((client, server): Pair) -> String {
    format!("{client} to {server}")
}

/// What was said of all.
#[derive(Default)]
struct Tally {
    messages: u64,
    /// Messages that something refuses.
    refused: u64,
    /// Messages that something refuses or would.
    monitored: u64,
    sessions: u64,
    /// Sessions in which something is refused that belongs to no message.
    refused_sessions: u64,
    unjudged: BTreeMap<&'static str, u64>,
    packets: Skipped,
    problems: u64,
    rules: BTreeMap<String, Row>,
}

/// What was said by one rule.
struct Row {
    group: Group,
    acts: Acts,
    text: String,
    times: u64,
    messages: u64,
    examples: Vec<Example>,
}

#[derive(Serialize)]
struct Example {
    #[serde(flatten)]
    at: Place,
    #[serde(skip_serializing_if = "String::is_empty")]
    place: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    evidence: String,
}

impl Tally {
    fn take(&mut self, args: &ReplayArgs, told: Told, out: &mut dyn Write) -> anyhow::Result<()> {
        let judged = match told {
            Told::Judged(judged) => judged,
            Told::Packets(skipped) => {
                for (why, count) in skipped {
                    *self.packets.entry(why).or_default() += count;
                }
                return Ok(());
            }
            Told::Problem(problem) => {
                self.problems += 1;
                writeln!(io::stderr().lock(), "warning: {}", printable(&problem))?;
                if args.format == ScanFormat::Jsonl {
                    line(
                        &json!({ "type": "problem", "text": printable(&problem) }),
                        out,
                    )?;
                }
                return Ok(());
            }
        };
        let refuses = judged.hits.iter().any(|hit| hit.acts == Acts::Refuse);
        if judged.is_message {
            self.messages += 1;
            self.refused += u64::from(refuses);
            let acts = |hit: &Hit| hit.acts != Acts::Notice;
            self.monitored += u64::from(judged.hits.iter().any(acts));
        } else {
            self.sessions += 1;
            self.refused_sessions += u64::from(refuses);
            if let Some(why) = judged.unjudged {
                *self.unjudged.entry(why).or_default() += 1;
            }
        }
        if args.format == ScanFormat::Jsonl
            && (!judged.hits.is_empty() || judged.unjudged.is_some())
        {
            let kind = if judged.is_message {
                "message"
            } else {
                "session"
            };
            let mut object = json!({ "type": kind, "hits": judged.hits });
            if let (Some(fields), Ok(serde_json::Value::Object(place))) =
                (object.as_object_mut(), serde_json::to_value(&judged.place))
            {
                fields.extend(place);
                if let Some(why) = judged.unjudged {
                    fields.insert("unjudged".to_owned(), why.into());
                }
            }
            line(&object, out)?;
        }
        let mut counted: Vec<&str> = Vec::new();
        for hit in &judged.hits {
            let row = self.rules.entry(hit.rule.clone()).or_insert_with(|| Row {
                group: hit.group,
                acts: hit.acts,
                text: hit.text.clone(),
                times: 0,
                messages: 0,
                examples: Vec::new(),
            });
            row.acts = row.acts.min(hit.acts);
            row.times += 1;
            if counted.contains(&hit.rule.as_str()) {
                continue;
            }
            counted.push(&hit.rule);
            row.messages += u64::from(judged.is_message);
            if row.examples.len() < args.examples {
                row.examples.push(Example {
                    at: judged.place.clone(),
                    place: hit.place.clone(),
                    evidence: hit.evidence.clone(),
                });
            }
        }
        Ok(())
    }

    fn write(&self, args: &ReplayArgs, out: &mut dyn Write) -> io::Result<()> {
        match args.format {
            ScanFormat::Jsonl => self.write_jsonl(out),
            ScanFormat::Text => self.write_text(out),
        }
    }

    fn write_jsonl(&self, out: &mut dyn Write) -> io::Result<()> {
        for (rule, row) in &self.rules {
            let object = json!({
                "type": "rule",
                "rule": rule,
                "group": row.group,
                "acts": row.acts,
                "text": row.text,
                "times": row.times,
                "messages": row.messages,
                "examples": row.examples,
            });
            line(&object, out)?;
        }
        let object = json!({
            "type": "total",
            "messages": self.messages,
            "refused": self.refused,
            "refused_if_enforced": self.monitored,
            "sessions": self.sessions,
            "refused_sessions": self.refused_sessions,
            "sessions_not_judged_whole": self.unjudged,
            "packets_not_followed": self.packets,
            "problems": self.problems,
        });
        line(&object, out)
    }

    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut rows: Vec<_> = self.rules.iter().collect();
        rows.sort_by_key(|(_, row)| (row.acts, std::cmp::Reverse(row.messages)));
        if !rows.is_empty() {
            writeln!(
                out,
                "{:<34} {:<8} {:<8} {:>9} {:>9}",
                "RULE", "GROUP", "ACTS", "MESSAGES", "TIMES"
            )?;
        }
        for (rule, row) in rows {
            writeln!(
                out,
                "{:<34} {:<8} {:<8} {:>9} {:>9}",
                printable(rule),
                row.group.name(),
                row.acts.name(),
                row.messages,
                row.times
            )?;
            writeln!(out, "  {}", printable(&row.text))?;
            for example in &row.examples {
                write!(out, "    {}", example.at)?;
                for more in [&example.place, &example.evidence] {
                    if !more.is_empty() {
                        write!(out, ": {}", printable(more))?;
                    }
                }
                writeln!(out)?;
            }
        }
        if !self.rules.is_empty() {
            writeln!(out)?;
        }
        writeln!(
            out,
            "{}: {} would be refused, {} if all that is monitored refused",
            many(self.messages, "message"),
            self.refused,
            self.monitored
        )?;
        if self.sessions > 0 {
            writeln!(
                out,
                "{}: in {} something is refused that belongs to no message",
                many(self.sessions, "session"),
                self.refused_sessions
            )?;
        }
        for (why, count) in &self.unjudged {
            writeln!(out, "not judged whole: {}: {why}", many(*count, "session"))?;
        }
        for (why, count) in &self.packets {
            writeln!(out, "not followed whole: {}: {why}", many(*count, "packet"))?;
        }
        Ok(())
    }
}

fn line(object: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    writeln!(out)
}

fn many(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        many => format!("{many} {what}s"),
    }
}
