//! `--format csv`: one line for each finding, RFC 4180, with a header line.
//!
//! A cell that a spreadsheet would take for a formula is preceded by an apostrophe: versions and
//! titles come from strangers.

use std::io::{self, Write};

use mailkeep_model::{AdvisoryId, Finding, text};

use crate::answer::Answer;

/// The columns, in order; named as in `docs/check.schema.json`.
const COLUMNS: [&str; 21] = [
    "host",
    "advisory",
    "aliases",
    "ecosystem",
    "package",
    "binaries",
    "installed",
    "fixed",
    "status",
    "surface",
    "severity",
    "cvss",
    "kev",
    "epss",
    "decision",
    "lane",
    "deadline",
    "owner",
    "source",
    "stale",
    "reason",
];

/// Writes an answer.
pub fn write(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let mut csv = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    csv.write_record(COLUMNS)?;
    for finding in &answer.findings {
        csv.write_record(row(finding).iter().map(|cell| safe(cell)))?;
    }
    csv.flush()
}

fn row(finding: &Finding) -> [String; 21] {
    let verdict = &finding.verdict;
    let text = |value: Option<String>| value.unwrap_or_default();
    let aliases: Vec<&str> = verdict.aliases.iter().map(AdvisoryId::as_str).collect();
    [
        finding.host.to_string(),
        verdict.advisory.to_string(),
        aliases.join(" "),
        verdict.platform.to_string(),
        verdict.package.to_string(),
        verdict.binaries.join(" "),
        verdict.installed.to_string(),
        text(verdict.fixed.as_ref().map(ToString::to_string)),
        verdict.status.name().to_owned(),
        verdict.surface.name().to_owned(),
        finding.severity.name().to_owned(),
        text(finding.score.map(|score| format!("{score:.1}"))),
        if finding.kev { "yes" } else { "no" }.to_owned(),
        text(finding.epss.map(|score| format!("{score:.5}"))),
        text(finding.decision.map(|d| d.name().to_owned())),
        text(finding.lane.map(|l| l.name().to_owned())),
        text(finding.deadline.map(|d| d.to_string())),
        text(finding.owner.as_ref().map(ToString::to_string)),
        verdict.evidence.source.to_string(),
        if verdict.evidence.source_stale {
            "yes"
        } else {
            "no"
        }
        .to_owned(),
        verdict.evidence.reason.clone(),
    ]
}

fn safe(cell: &str) -> String {
    let cell = text::printable(cell);
    if cell.starts_with(['=', '+', '-', '@']) {
        format!("'{cell}")
    } else {
        cell.into_owned()
    }
}
