//! `mailkeep shield scan`: judges messages that lie in files.
//!
//! One thread finds messages, some judge them, one writes what they say in the order of the finding. No more
//! messages than a few for each thread are held at a time.

mod find;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::{Context as _, bail};
use mailkeep_inspect::rules::Compiled;
use mailkeep_inspect::{Judgement, Level, Profile, Reason, Verdict, judge_by};
use mailkeep_model::text::printable;
use serde::Serialize;

use self::find::{Message, Source, find};
use crate::cli::shield::{ScanFormat, ScanLevel, ScanMessagesArgs};
use crate::commands::Done;

/// Runs it.
pub(super) fn run(args: &ScanMessagesArgs) -> anyhow::Result<Done> {
    let bundle = super::load(args.bundle.as_deref())?;
    let patches = Compiled::new(&bundle).context("the virtual patches cannot be used")?;
    let profile = Profile {
        level: match args.level {
            ScanLevel::Default => Level::Default,
            ScanLevel::Strict => Level::Strict,
            ScanLevel::Paranoid => Level::Paranoid,
        },
        ..Profile::default()
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    // The finder waits while the judges are busy, and the judges while the writer is.
    let (found, waiting) = sync_channel::<(usize, Result<Message, String>)>(threads);
    let (judged, written) = sync_channel::<(usize, Result<Verdicts, String>)>(threads * 4);
    let waiting = Mutex::new(waiting);
    let count = std::thread::scope(|scope| {
        for _ in 0..threads {
            let judged = judged.clone();
            let (waiting, profile, patches) = (&waiting, &profile, &patches);
            scope.spawn(move || {
                while let Some((number, message)) = next(waiting) {
                    let verdict = message.and_then(|mut message| {
                        let octets = message.octets()?;
                        let mut judgement = judge_by(&octets, profile, Some(patches));
                        // Nobody asks for them, and verdicts may have to wait for a slow one before them.
                        judgement.contents = Vec::new();
                        Ok(Verdicts {
                            judgement,
                            source: message.source,
                        })
                    });
                    if judged.send((number, verdict)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(judged);
        let paths = &args.paths;
        scope.spawn(move || {
            let mut number = 0;
            for path in paths {
                find(path, &mut |message| {
                    number += 1;
                    found.send((number, message)).is_ok()
                });
            }
        });
        let counted = write(args, &written);
        // Where writing ended early, the others must learn of it.
        drop(written);
        while next(&waiting).is_some() {}
        counted
    })?;
    if count.unreadable > 0 {
        bail!("{} could not be read", files(count.unreadable));
    }
    Ok(if count.accepted < count.messages {
        Done::Findings
    } else {
        Done::Nothing
    })
}

/// The judgement on one message.
struct Verdicts {
    source: Source,
    judgement: Judgement,
}

#[derive(Default)]
struct Count {
    messages: usize,
    accepted: usize,
    unreadable: usize,
}

fn next<T>(waiting: &Mutex<Receiver<T>>) -> Option<T> {
    waiting.lock().ok()?.recv().ok()
}

fn files(count: usize) -> String {
    match count {
        1 => "one file or message".to_owned(),
        many => format!("{many} files or messages"),
    }
}

#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    verdict: Verdict,
    reasons: &'a [Reason],
}

/// Writes verdicts in the order in which their messages were found.
fn write(
    args: &ScanMessagesArgs,
    written: &Receiver<(usize, Result<Verdicts, String>)>,
) -> anyhow::Result<Count> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut count = Count::default();
    let mut early = BTreeMap::new();
    let mut due = 1;
    while let Ok((number, verdict)) = written.recv() {
        early.insert(number, verdict);
        while let Some(verdict) = early.remove(&due) {
            due += 1;
            match verdict {
                Ok(verdict) => {
                    count.messages += 1;
                    count.accepted += usize::from(verdict.judgement.verdict == Verdict::Accept);
                    one(args, &verdict, &mut out).context("cannot write the verdicts")?;
                }
                Err(problem) => {
                    count.unreadable += 1;
                    writeln!(io::stderr().lock(), "warning: {}", printable(&problem))?;
                }
            }
        }
    }
    if args.format == ScanFormat::Text {
        let refused = count.messages - count.accepted;
        writeln!(
            out,
            "{} judged, {} accepted, {refused} not",
            if count.messages == 1 {
                "1 message".to_owned()
            } else {
                format!("{} messages", count.messages)
            },
            count.accepted,
        )?;
    }
    out.flush().context("cannot write the verdicts")?;
    Ok(count)
}

fn one(args: &ScanMessagesArgs, verdict: &Verdicts, out: &mut dyn Write) -> io::Result<()> {
    let Verdicts { source, judgement } = verdict;
    let file = source.path.to_string_lossy();
    match args.format {
        ScanFormat::Jsonl => {
            serde_json::to_writer(
                &mut *out,
                &Line {
                    file: &file,
                    index: source.index,
                    verdict: judgement.verdict,
                    reasons: &judgement.reasons,
                },
            )?;
            writeln!(out)
        }
        ScanFormat::Text => {
            if judgement.verdict == Verdict::Accept && !args.all {
                return Ok(());
            }
            let index = source
                .index
                .map_or_else(String::new, |index| format!(", message {index}"));
            writeln!(
                out,
                "{}{index}: {}",
                printable(&file),
                judgement.verdict.name()
            )?;
            for reason in &judgement.reasons {
                if reason.verdict == Verdict::Accept && !args.all {
                    continue;
                }
                let noticed = if reason.verdict == Verdict::Accept {
                    " (noticed)"
                } else {
                    ""
                };
                writeln!(
                    out,
                    "  {}{noticed}: {}",
                    reason.rule,
                    printable(&reason.text)
                )?;
                if !reason.evidence.is_empty() || !reason.place.is_empty() {
                    let place = if reason.place.is_empty() {
                        "the message"
                    } else {
                        &reason.place
                    };
                    writeln!(
                        out,
                        "    in {}: {}",
                        printable(place),
                        printable(&reason.evidence)
                    )?;
                }
            }
            Ok(())
        }
    }
}
