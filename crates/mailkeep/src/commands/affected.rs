//! `mailkeep affected`: which of my hosts does an advisory concern.

use std::collections::BTreeMap;
use std::io::{self, Write};

use mailkeep_model::{AdvisoryId, Finding, HostAnswer, HostStatus, Lane, text};

use super::{Done, check};
use crate::answer::Answer;
use crate::app::App;
use crate::cli::{AffectedArgs, ShortFormat};
use crate::output;
use crate::output::table::WIDTH;

/// Runs it.
pub fn run(app: &App, args: &AffectedArgs) -> anyhow::Result<Done> {
    let asked = check::answer_about(app, &args.scope, &args.advisory)?;
    let known = asked.known;
    let mut answer = asked.answer;
    answer.fixed = 0;
    answer.not_affected = 0;
    let mut out = Vec::new();
    match args.format {
        ShortFormat::Json => {
            if !known {
                App::warn(&format!("no imported feed knows {}", args.advisory));
            }
            output::json::write(&answer, &mut out)?;
        }
        ShortFormat::Table => write(&answer, &args.advisory, known, &mut out)?,
    }
    io::stdout().lock().write_all(&out)?;
    let concerned = answer
        .findings
        .iter()
        .any(|f| f.verdict.status.is_finding());
    let doubtful = answer.hosts.iter().any(is_doubtful);
    Ok(if concerned || doubtful || !known {
        Done::Findings
    } else {
        Done::Nothing
    })
}

/// Whether silence about a host means nothing.
fn is_doubtful(host: &HostAnswer) -> bool {
    host.status == HostStatus::Unknown
        || (host.status == HostStatus::Affected && !host.reasons.is_empty())
}

fn write(
    answer: &Answer,
    advisory: &AdvisoryId,
    known: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    match common_title(answer) {
        Some(title) => writeln!(out, "{advisory}: {}", text::printable_max(title, 80))?,
        None => writeln!(out, "{advisory}")?,
    }
    if !known {
        return writeln!(
            out,
            "\nNo imported feed knows it, under this or another name: nothing can be said of any host.\n\
             Is it spelt as the feeds spell it (CVE-2023-42115)? `mailkeep feeds status` says what is\n\
             imported and how old it is."
        );
    }
    let (concerned, settled): (Vec<&Finding>, Vec<&Finding>) = answer
        .findings
        .iter()
        .partition(|f| f.verdict.status.is_finding());
    if !concerned.is_empty() {
        writeln!(out, "\nConcerned:")?;
    }
    for finding in &concerned {
        write_line(finding, out)?;
    }
    if !settled.is_empty() {
        writeln!(out, "\nNot concerned:")?;
    }
    for finding in &settled {
        write_line(finding, out)?;
    }
    let silent: Vec<&str> = answer
        .hosts
        .iter()
        .filter(|h| !is_doubtful(h) && h.status != HostStatus::Decommissioned)
        .filter(|h| !answer.findings.iter().any(|f| f.host == h.name))
        .map(|h| h.name.as_str())
        .collect();
    if !silent.is_empty() {
        writeln!(out, "\nNo package that it names is installed on:")?;
        write_folded(&silent.join(", "), 2, out)?;
    }
    let mut heading = false;
    for host in answer.hosts.iter().filter(|h| is_doubtful(h)) {
        if !heading {
            writeln!(out, "\nNot known:")?;
            heading = true;
        }
        for (kind, reason) in &host.reasons {
            writeln!(out, "  {:<18} {}", host.name, kind.name())?;
            write_folded(reason, 21, out)?;
        }
    }
    let decommissioned: Vec<&str> = answer
        .hosts
        .iter()
        .filter(|h| h.status == HostStatus::Decommissioned)
        .map(|h| h.name.as_str())
        .collect();
    if !decommissioned.is_empty() {
        writeln!(out, "\nDecommissioned, not judged:")?;
        write_folded(&decommissioned.join(", "), 2, out)?;
    }
    Ok(())
}

fn write_line(finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    let verdict = &finding.verdict;
    let owner = finding
        .owner
        .as_ref()
        .map(|o| format!(" [{o}]"))
        .unwrap_or_default();
    let urgency = match (finding.lane, finding.deadline) {
        (Some(Lane::Emergency), Some(day)) => format!(", emergency, due {day}"),
        (Some(Lane::Emergency), None) => ", emergency".to_owned(),
        (_, Some(day)) => format!(", due {day}"),
        (_, None) => String::new(),
    };
    writeln!(
        out,
        "  {:<18} {} {}: {}{urgency}{owner}",
        finding.host,
        text::printable(&verdict.package),
        text::printable(&verdict.installed),
        verdict.status,
    )?;
    write_folded(&verdict.evidence.reason, 21, out)
}

/// The title most verdicts bear: an erratum's heading says less than the words of the tracker, and
/// stands on fewer hosts. Between two as frequent, the longer.
fn common_title(answer: &Answer) -> Option<&str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in &answer.findings {
        if !finding.verdict.title.is_empty() {
            *counts.entry(&finding.verdict.title).or_default() += 1;
        }
    }
    counts
        .into_iter()
        .max_by_key(|(title, count)| (*count, title.len()))
        .map(|(title, _)| title)
}

/// Writes a text below an indentation, broken at spaces to fit [`WIDTH`].
fn write_folded(words: &str, indent: usize, out: &mut dyn Write) -> io::Result<()> {
    let words = text::printable(words);
    let room = WIDTH.saturating_sub(indent);
    let mut line = String::new();
    for word in words.split(' ') {
        let length = line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && length > room {
            writeln!(out, "{:indent$}{line}", "")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{:indent$}{line}", "")
}
