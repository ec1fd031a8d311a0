//! `mailkeep shield scan`: judges messages that lie in files.
//!
//! All cores judge, and what they say is written in the order of the finding.

use std::io::{self, BufWriter, Write};

use anyhow::{Context as _, bail};
use mailkeep_inspect::rules::Compiled;
use mailkeep_inspect::{Judgement, Level, Profile, Reason, Verdict, judge_by};
use mailkeep_model::text::printable;
use serde::Serialize;

use crate::cli::shield::{ScanFormat, ScanLevel, ScanMessagesArgs};
use crate::commands::Done;
use crate::commands::shield::find::{Message, Source, find};
use crate::commands::shield::pool;

/// Runs it.
pub(super) fn run(args: &ScanMessagesArgs) -> anyhow::Result<Done> {
    let bundle = super::load(args.bundle.as_deref())?;
    let patches = Compiled::new(&bundle).context("the virtual patches cannot be used")?;
    let profile = Profile {
        level: level(args.level),
        ..Profile::default()
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut count = Count::default();
    pool::in_order(
        |found| {
            for path in &args.paths {
                if !find(path, |_| false, found) {
                    break;
                }
            }
        },
        |message: Result<Message, String>| {
            let mut message = message?;
            let octets = message.octets()?;
            let judgement = judge_by(&octets, &profile, Some(&patches));
            Ok(Verdicts {
                judgement,
                source: message.source,
            })
        },
        |verdict| write(args, &verdict, &mut count, &mut out),
    )?;
    finish(args, &count, &mut out)?;
    if count.unreadable > 0 {
        bail!("{} could not be read", files(count.unreadable));
    }
    Ok(if count.accepted < count.messages {
        Done::Findings
    } else {
        Done::Nothing
    })
}

/// How strict to be.
pub(super) const fn level(level: ScanLevel) -> Level {
    match level {
        ScanLevel::Default => Level::Default,
        ScanLevel::Strict => Level::Strict,
        ScanLevel::Paranoid => Level::Paranoid,
    }
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

/// Writes a verdict, or why there is none.
fn write(
    args: &ScanMessagesArgs,
    verdict: &Result<Verdicts, String>,
    count: &mut Count,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    match verdict {
        Ok(verdict) => {
            count.messages += 1;
            count.accepted += usize::from(verdict.judgement.verdict == Verdict::Accept);
            one(args, verdict, out).context("cannot write the verdicts")?;
        }
        Err(problem) => {
            count.unreadable += 1;
            writeln!(io::stderr().lock(), "warning: {}", printable(problem))?;
        }
    }
    Ok(())
}

fn finish(args: &ScanMessagesArgs, count: &Count, out: &mut dyn Write) -> anyhow::Result<()> {
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
    out.flush().context("cannot write the verdicts")
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
