//! The ranked table: for each server its patches, most urgent first, in at most 100 columns.
//!
//! A row is what a person does: one package on one host. Findings that one act closes together
//! share a row.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};

use mailkeep_model::{
    FeedKind, FeedState, Finding, HostAnswer, HostName, HostStatus, Lane, Status, Surface,
    UnknownReason, Urgency, text,
};
use mailkeep_triage::{Change, ChangeKind};

use super::group::{Act, Row, rows};
use crate::answer::Answer;

/// Widest line written, in columns.
pub const WIDTH: usize = 100;

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct Style {
    /// Escape sequences for colour; only for a terminal.
    pub colour: bool,
    /// Packages that have nothing to do with mail, too.
    pub all_packages: bool,
    /// `fixed` and `not-affected`, too.
    pub all_verdicts: bool,
    /// Only what changed since the last check.
    pub only_changes: bool,
}

/// Writes an answer as a table.
pub fn write(answer: &Answer, style: Style, out: &mut dyn Write) -> io::Result<()> {
    if style.only_changes {
        write_changes(answer, style, out)?;
    } else {
        write_rows(answer, style, out)?;
    }
    write_hosts(answer, style, out)?;
    write_unseen(answer, out)?;
    write_feeds(answer, style, out)?;
    write_sum(answer, style, out)
}

fn write_rows(answer: &Answer, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let shown = answer.findings.iter().filter(|f| {
        (style.all_packages || f.verdict.surface != Surface::Other)
            && (style.all_verdicts || f.verdict.status.is_finding())
    });
    let rows = side_by_side(&rows(shown));
    if rows.is_empty() {
        return Ok(());
    }
    let host_width = column(rows.iter().map(|r| r.first.host.as_str()), 20);
    let package_width = column(rows.iter().map(|r| &*r.first.verdict.package), 18);
    writeln!(
        out,
        "{}",
        dim(
            style,
            &format!(
                "{:<9} {:<10} {:<host_width$} {:<package_width$} PATCH",
                "LANE", "DUE", "HOST", "PACKAGE"
            )
        )
    )?;
    for row in &rows {
        write_row(row, host_width, package_width, style, out)?;
    }
    Ok(())
}

fn write_row(
    row: &Row<'_>,
    host_width: usize,
    package_width: usize,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let first = row.first;
    let lane = first.lane.map_or("-", Lane::name);
    let lane = paint(style, lane_colour(first), &format!("{lane:<9}"));
    let due = first
        .deadline
        .map_or_else(|| next_upgrade(first).to_owned(), |d| d.to_string());
    let host = cut(first.host.as_str(), host_width);
    let package = cut(&first.verdict.package, package_width);
    let left = 9 + 1 + 10 + 1 + host_width + 1 + package_width + 1;
    let patch = patch(row, first, WIDTH.saturating_sub(left).max(20));
    writeln!(
        out,
        "{lane} {due:<10} {host:<host_width$} {package:<package_width$} {patch}"
    )?;
    let indent = " ".repeat(10);
    let room = WIDTH - indent.len();
    for line in [names(row, room), why(row, first, room)] {
        writeln!(out, "{indent}{}", dim(style, &line))?;
    }
    Ok(())
}

fn next_upgrade(finding: &Finding) -> &'static str {
    if finding.lane.is_some() { "next" } else { "-" }
}

fn patch(row: &Row<'_>, first: &Finding, room: usize) -> String {
    let installed = &first.verdict.installed;
    let line = match row.act {
        Act::Upgrade | Act::NotHere => {
            let fixed = row.highest_fix().unwrap_or("?");
            let line = format!("{installed} -> {fixed}");
            if row.act == Act::NotHere {
                // Long versions give way to it: the version alone would send somebody to apt in vain.
                let elsewhere = " (not offered)";
                return cut(&line, room.saturating_sub(elsewhere.len())) + elsewhere;
            }
            line
        }
        Act::Restart => format!("restart: {installed} is installed, older code runs"),
        Act::Wait => format!("{installed}: no fix yet"),
        Act::Live => match first.verdict.status {
            Status::Mitigated => format!("{installed}: mitigated"),
            _ => format!("{installed}: will not be fixed"),
        },
        // One line for a package of another packager, however many advisories name it.
        Act::Ask => match row.findings.len() {
            1 => format!("{installed}: unknown"),
            count => format!("{installed}: unknown, {count} advisories"),
        },
        Act::Nothing => format!("{installed}: {}", first.verdict.status),
    };
    cut(&line, room)
}

/// `CVE-2023-42115 KEV, CVE-2023-42116 and 4 more`.
fn names(row: &Row<'_>, room: usize) -> String {
    let mut line = String::new();
    let total = row.findings.len();
    for (at, finding) in row.findings.iter().enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        let kev = if finding.kev { " KEV" } else { "" };
        let unimportant = if finding.verdict.urgency == Some(Urgency::Unimportant) {
            " (unimportant)"
        } else {
            ""
        };
        let name = format!("{separator}{}{kev}{unimportant}", finding.verdict.advisory);
        let rest = total - at - 1;
        let tail = if rest == 0 {
            String::new()
        } else {
            format!(" and {rest} more")
        };
        if at > 0 && (at == 4 || line.chars().count() + name.chars().count() + tail.len() > room) {
            line.push_str(" and ");
            line.push_str(&(total - at).to_string());
            line.push_str(" more");
            return line;
        }
        line.push_str(&name);
    }
    cut(&line, room)
}

/// Why it stands where it stands, and whose it is.
fn why(row: &Row<'_>, first: &Finding, room: usize) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(owner) = &first.owner {
        parts.push(owner.to_string());
    }
    if let Some(decision) = first.decision {
        parts.push(decision.name().to_owned());
    }
    if let Some(score) = row.highest_score() {
        parts.push(format!("CVSS {score:.1}"));
    }
    if let Some(epss) = row.highest_epss() {
        parts.push(super::group::epss_percent(epss));
    }
    if first.verdict.surface == Surface::Dependency {
        parts.push("dependency of mail software".to_owned());
    }
    if row.by_stale_feed() {
        parts.push("by a stale feed".to_owned());
    }
    parts.push(text::printable(&first.verdict.evidence.reason).into_owned());
    cut(&parts.join(" · "), room)
}

fn write_changes(answer: &Answer, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let Some(changes) = &answer.changes else {
        return writeln!(
            out,
            "There was no check of {} before this one.",
            text::printable(&answer.scope)
        );
    };
    if changes.is_empty() {
        return writeln!(out, "Nothing changed since the last check.");
    }
    for change in changes {
        let line = cut(&change_line(change), WIDTH);
        let colour = match change.kind {
            ChangeKind::New { .. } => Colour::Red,
            ChangeKind::Gone { .. } => Colour::Green,
            ChangeKind::Changed { .. } => Colour::Yellow,
        };
        writeln!(out, "{}", paint(style, colour, &line))?;
    }
    Ok(())
}

/// One line for one change.
pub fn change_line(change: &Change) -> String {
    let owner = change
        .owner
        .as_ref()
        .map(|o| format!(" [{o}]"))
        .unwrap_or_default();
    let what = match &change.kind {
        ChangeKind::New { status } => format!("new      {status}"),
        ChangeKind::Gone {
            was,
            now: Some(now),
        } => format!("gone     {was} -> {now}"),
        ChangeKind::Gone { was, now: None } => format!("gone     {was}"),
        ChangeKind::Changed { change, .. } => format!("changed  {}", text::printable(change)),
    };
    format!(
        "{} {} {}{owner}: {what}",
        change.host,
        text::printable(&change.package),
        change.advisory
    )
}

fn write_hosts(answer: &Answer, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let unknown: Vec<&HostAnswer> = answer
        .hosts
        .iter()
        .filter(|h| h.status == HostStatus::Unknown)
        .collect();
    let remarks = answer
        .hosts
        .iter()
        .filter(|h| h.status == HostStatus::Affected && !h.reasons.is_empty());
    if !unknown.is_empty() {
        writeln!(
            out,
            "\n{}",
            paint(style, Colour::Yellow, "Not known to be safe:")
        )?;
        for host in unknown {
            write_host(host, out)?;
        }
    }
    for (at, host) in remarks.enumerate() {
        if at == 0 {
            writeln!(out, "\nJudged, but not wholly:")?;
        }
        write_host(host, out)?;
    }
    Ok(())
}

fn write_host(host: &HostAnswer, out: &mut dyn Write) -> io::Result<()> {
    for (at, (kind, text)) in host.reasons.iter().enumerate() {
        let name = if at == 0 { host.name.as_str() } else { "" };
        let line = format!("  {name:<18} {}: {}", kind.name(), text::printable(text));
        for (number, part) in wrap(&line, WIDTH, 21).enumerate() {
            writeln!(
                out,
                "{}{part}",
                if number == 0 {
                    ""
                } else {
                    "                     "
                }
            )?;
        }
    }
    Ok(())
}

fn write_feeds(answer: &Answer, style: Style, out: &mut dyn Write) -> io::Result<()> {
    for feed in answer.feeds.iter().filter(|f| f.state != FeedState::Fresh) {
        let what = match feed.state {
            FeedState::Fresh => continue,
            FeedState::Stale => "is stale",
            FeedState::Partial => "was only partly read",
            FeedState::FromTheFuture => "bears a date in the future",
        };
        let line = format!(
            "feed {} {what}: as of {}",
            feed.status.id, feed.status.as_of
        );
        writeln!(out, "{}", paint(style, Colour::Yellow, &line))?;
    }
    Ok(())
}

fn write_sum(answer: &Answer, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let counts = answer.counts();
    let of = |map: &BTreeMap<&'static str, u64>, name: &str| map.get(name).copied().unwrap_or(0);
    let findings: u64 = counts.surface.values().sum();
    let hidden = if style.all_packages {
        0
    } else {
        of(&counts.surface, Surface::Other.name())
    };
    let sum = format!(
        "{}: {} affected, {} clean, {} unknown. {}: {} emergency, {} regular.",
        number_of(answer.hosts.len() as u64, "host"),
        of(&counts.hosts, "affected"),
        of(&counts.hosts, "clean"),
        of(&counts.hosts, "unknown"),
        number_of(findings, "finding"),
        of(&counts.lane, "emergency"),
        of(&counts.lane, "regular"),
    );
    writeln!(out)?;
    write_folded(&sum, out)?;
    if hidden > 0 && !style.only_changes {
        let are = if hidden == 1 { "is" } else { "are" };
        let line = format!(
            "{hidden} of them {are} on packages apart from mail and {are} not shown (--all-packages)."
        );
        write_folded(&line, out)?;
    }
    if findings > 0 {
        write_kev(answer, out)?;
    }
    let settled = answer.fixed + answer.not_affected;
    if settled > 0 {
        let (advisories, name, are) = if settled == 1 {
            ("advisory", "names", "is")
        } else {
            ("advisories", "name", "are")
        };
        let line = format!(
            "{settled} other {advisories} {name} installed packages and {are} not your concern: \
             {} fixed, {} not affected.",
            answer.fixed, answer.not_affected
        );
        write_folded(&line, out)?;
    }
    Ok(())
}

/// `1 host`, `2 hosts`.
fn number_of(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn write_folded(line: &str, out: &mut dyn Write) -> io::Result<()> {
    wrap(line, WIDTH, 0).try_for_each(|part| writeln!(out, "{part}"))
}

/// What the silence of CISA's list is worth.
fn write_kev(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let newest = |state: FeedState| {
        answer
            .feeds
            .iter()
            .filter(|f| f.status.kind == FeedKind::Kev && f.state == state)
            .map(|f| f.status.as_of)
            .max()
    };
    match (newest(FeedState::Fresh), newest(FeedState::Stale)) {
        (Some(_), _) => Ok(()),
        (None, Some(as_of)) => {
            let line = format!(
                "The list of known exploited vulnerabilities is of {} (stale); what was exploited since \
                 then is not told apart: `mailkeep feeds update kev` brings it.",
                as_of.strftime("%Y-%m-%d")
            );
            write_folded(&line, out)
        }
        (None, None) => write_folded(
            "No whole list of known exploited vulnerabilities is imported, so every hole is taken as \
             exploited: `mailkeep feeds update kev` brings it.",
            out,
        ),
    }
}

/// Hosts named in one line of what was not seen; the rest is counted.
const MAX_NAMED: usize = 12;

/// What a road does not show by its nature, or did not this time. What keeps a host from an answer
/// stands among its reasons.
fn write_unseen(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let mut by_what: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for host in &answer.hosts {
        if host.status == HostStatus::Decommissioned {
            continue;
        }
        for limitation in &host.limitations {
            let what = limitation.split(": ").next().unwrap_or(limitation);
            let told = host
                .reasons
                .iter()
                .any(|(kind, _)| *kind == UnknownReason::RunningCodeNotSeen);
            let runs = what.starts_with("processes") || what.starts_with("code run by");
            if !(runs && told) {
                by_what.entry(what).or_default().insert(host.name.as_str());
            }
        }
    }
    if by_what.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    if let Some(hosts) = by_what.remove("processes") {
        let mut names: Vec<&str> = hosts.iter().copied().take(MAX_NAMED).collect();
        let more =
            (hosts.len() > MAX_NAMED).then(|| format!("and {} more", hosts.len() - MAX_NAMED));
        names.extend(more.as_deref());
        let line = format!("What runs was not seen on: {}", names.join(", "));
        write_folded(&line, out)?;
    }
    if !by_what.is_empty() {
        let rest: Vec<String> = by_what
            .iter()
            .take(MAX_NAMED)
            .map(|(what, hosts)| {
                let hosts: Vec<&str> = hosts.iter().copied().collect();
                match hosts.as_slice() {
                    [one] => format!("{} on {one}", text::printable(what)),
                    more => format!("{} on {} hosts", text::printable(what), more.len()),
                }
            })
            .collect();
        let line = format!(
            "Not seen, either (`--format json` tells why): {}",
            rest.join(", ")
        );
        write_folded(&line, out)?;
    }
    Ok(())
}

/// Rows of one host and package side by side, as far as their order says nothing else: within those
/// of one lane, kind of act, importance, decision, day and surface.
fn side_by_side<'a>(rows: &[Row<'a>]) -> Vec<Row<'a>> {
    let weight = |row: &Row<'_>| {
        let first = row.first;
        (
            first.lane,
            row.act.is_patch(),
            row.act == Act::Nothing,
            first.verdict.urgency == Some(Urgency::Unimportant),
            first.decision,
            first.deadline,
            first.verdict.surface,
        )
    };
    let mut ordered = Vec::with_capacity(rows.len());
    for level in rows.chunk_by(|a, b| weight(a) == weight(b)) {
        let mut places: HashMap<(&HostName, &str), usize> = HashMap::new();
        let mut level: Vec<(usize, &Row<'a>)> = level
            .iter()
            .enumerate()
            .map(|(at, row)| {
                let package = (&row.first.host, &*row.first.verdict.package);
                (*places.entry(package).or_insert(at), row)
            })
            .collect();
        level.sort_by_key(|(place, _)| *place);
        ordered.extend(level.into_iter().map(|(_, row)| row.clone()));
    }
    ordered
}

#[derive(Debug, Clone, Copy)]
enum Colour {
    Red,
    Yellow,
    Green,
    Plain,
}

fn lane_colour(finding: &Finding) -> Colour {
    match finding.lane {
        Some(Lane::Emergency) => Colour::Red,
        Some(Lane::Regular) if finding.deadline.is_some() => Colour::Yellow,
        Some(Lane::Regular) | None => Colour::Plain,
    }
}

fn paint(style: Style, colour: Colour, line: &str) -> String {
    let code = match colour {
        Colour::Red => "1;31",
        Colour::Yellow => "33",
        Colour::Green => "32",
        Colour::Plain => return line.to_owned(),
    };
    if style.colour {
        format!("\x1b[{code}m{line}\x1b[0m")
    } else {
        line.to_owned()
    }
}

fn dim(style: Style, line: &str) -> String {
    if style.colour {
        format!("\x1b[2m{line}\x1b[0m")
    } else {
        line.to_owned()
    }
}

fn cut(line: &str, width: usize) -> String {
    text::printable_max(line, width)
}

/// As wide as its widest entry, within `max`.
fn column<'a>(entries: impl Iterator<Item = &'a str>, max: usize) -> usize {
    entries
        .map(|e| e.chars().count())
        .max()
        .unwrap_or(0)
        .clamp(7, max)
}

/// Breaks at spaces so that the first part has at most `width` columns, each other one `indent`
/// fewer.
fn wrap(line: &str, width: usize, indent: usize) -> impl Iterator<Item = String> {
    let mut parts: Vec<String> = vec![String::new()];
    for (at, word) in line.split(' ').enumerate() {
        let first = parts.len() == 1;
        let room = if first { width } else { width - indent };
        let Some(part) = parts.last_mut() else { break };
        if at > 0 && part.chars().count() + 1 + word.chars().count() > room {
            parts.push(word.to_owned());
        } else {
            if at > 0 {
                part.push(' ');
            }
            part.push_str(word);
        }
    }
    parts.into_iter()
}
