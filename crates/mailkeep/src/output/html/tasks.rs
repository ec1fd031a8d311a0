//! What is to be done: the urgent first, then by team and server.

use jiff::civil::Date;
use mailkeep_model::{Finding, HostStatus, Severity, Status, Surface, Urgency, text};

use super::page::{Page, put};
use super::report::{NO_TEAM, Report, Server, Team, is_urgent};
use super::words::{self, some};
use crate::output::group::{Act, Row, epss_percent};

/// Advisories named in a row before the rest is folded.
const NAMED: usize = 4;
/// So few servers have their tables open even where nothing on them is urgent.
const OPEN_SERVERS: usize = 6;

pub(super) fn urgent(page: &mut Page, report: &Report<'_>) {
    page.markup("<section aria-labelledby=\"urgent\">\n<h2 id=\"urgent\">Urgent</h2>\n");
    let rows: Vec<&Row<'_>> = report.urgent().collect();
    if rows.is_empty() {
        page.markup("<p>Nothing is in the emergency lane.</p>\n</section>\n");
        return;
    }
    page.markup("<table>\n<thead><tr><th scope=\"col\" class=\"server\">Server</th><th scope=\"col\" class=\"due\">Due</th><th scope=\"col\" class=\"package\">Package</th><th scope=\"col\" class=\"what\">What to do</th><th scope=\"col\">Why</th><th scope=\"col\" class=\"team\">Team</th></tr></thead>\n<tbody>\n");
    for row in rows {
        put!(page, "<tr><th scope=\"row\">" (row.first.host) "</th>");
        due_cell(page, report, row);
        put!(page, "<td data-label=\"Package\">" (row.first.verdict.package) "</td>");
        act_cell(page, row);
        why_cell(page, row);
        put!(page, "<td data-label=\"Team\">"
            (row.first.owner.as_ref().map_or(NO_TEAM, |o| o.as_str())) "</td></tr>\n");
    }
    page.markup("</tbody>\n</table>\n</section>\n");
}

pub(super) fn teams(page: &mut Page, report: &Report<'_>) {
    page.markup("<section aria-labelledby=\"teams\">\n<h2 id=\"teams\">By team and server</h2>\n");
    if report.teams.is_empty() {
        page.markup("<p>No team has anything to do.</p>\n");
    }
    let servers: usize = report.teams.iter().map(|t| t.servers.len()).sum();
    for team in &report.teams {
        team_section(page, report, team, servers <= OPEN_SERVERS);
    }
    page.markup("</section>\n");
}

fn team_section(page: &mut Page, report: &Report<'_>, team: &Team<'_>, open: bool) {
    let rows = || {
        team.servers
            .iter()
            .flat_map(|s| &s.rows)
            .filter_map(|at| report.rows.get(*at))
    };
    put!(page, "<h3>" (match team.name {
        Some(name) => format!("Team {name}"),
        None => "No team declared".to_owned(),
    }) "</h3>\n<p>" (tally(rows())) ", on " (some(team.servers.len(), "server", "servers")) ".");
    if team.name.is_none() {
        page.markup(" Nobody answers for these servers: declare an owner in the fleet file.");
    }
    page.markup("</p>\n");
    for server in &team.servers {
        server_block(page, report, server, open);
    }
}

fn server_block(page: &mut Page, report: &Report<'_>, server: &Server<'_>, open: bool) {
    let rows = || server.rows.iter().filter_map(|at| report.rows.get(*at));
    let urgent = rows().any(is_urgent);
    let overdue = rows().any(|row| report.is_overdue(row));
    page.markup(if open || urgent || overdue {
        "<details class=\"server-block\" open><summary>"
    } else {
        "<details class=\"server-block\"><summary>"
    });
    put!(page, "<h4>" (server.name) "</h4> ");
    if urgent {
        page.markup("<span class=\"tag alarm\">URGENT</span> ");
    }
    if overdue {
        page.markup("<span class=\"tag kev\">OVERDUE</span> ");
    }
    if server
        .answer
        .is_some_and(|a| a.status == HostStatus::Unknown)
    {
        page.markup("<span class=\"tag doubt\">NOT WHOLLY JUDGED</span> ");
    }
    put!(page, "<span class=\"soft small\">"(tally(rows())));
    if let Some(system) = server.answer.and_then(|a| a.system.as_deref()) {
        put!(page, " · "(system));
    }
    if let Some(at) = server.answer.and_then(|a| a.facts_as_of) {
        put!(page, " · seen "(words::moment(at)));
    }
    page.markup("</span></summary>\n<div class=\"body\">\n");
    if !server.rows.is_empty() {
        page.markup("<table>\n<thead><tr><th scope=\"col\" class=\"package\">Package</th><th scope=\"col\" class=\"due\">Due</th><th scope=\"col\" class=\"what\">What to do</th><th scope=\"col\">Why</th></tr></thead>\n<tbody>\n");
        for row in rows() {
            put!(page, "<tr><th scope=\"row\">" (row.first.verdict.package) "</th>");
            due_cell(page, report, row);
            act_cell(page, row);
            why_cell(page, row);
            page.markup("</tr>\n");
        }
        page.markup("</tbody>\n</table>\n");
    }
    if let Some(impact) = report.answer.impacts.get(server.name) {
        crate::impact::html::folded(page, impact);
    }
    if !server.others.is_empty() {
        let findings: usize = server.others.values().sum();
        put!(page, "<p class=\"soft small\">" (some(findings, "finding", "findings"))
            " on packages apart from mail: " (words::list(server.others.keys().copied(), 12)) ".</p>\n");
    }
    page.markup("</div>\n</details>\n");
}

fn due_cell(page: &mut Page, report: &Report<'_>, row: &Row<'_>) {
    page.markup("<td data-label=\"Due\">");
    if is_urgent(row) {
        page.markup("<span class=\"tag alarm\">URGENT</span> ");
    }
    match row.first.deadline {
        Some(due) => due_words(page, report, due),
        None if row.act.is_patch() => page.markup("next regular upgrade"),
        None => page.markup("no date"),
    }
    page.markup("</td>");
}

fn act_cell(page: &mut Page, row: &Row<'_>) {
    let installed = &row.first.verdict.installed;
    page.markup("<td data-label=\"What to do\">");
    match row.act {
        Act::Upgrade => {
            put!(page, "<p>Upgrade to <code>" (row.highest_fix().unwrap_or("a fixed version")) "</code></p>");
        }
        Act::NotHere => {
            put!(page, "<p>Get <code>" (row.highest_fix().unwrap_or("a fixed version"))
                "</code>: it is published, but not in this server’s repositories</p>");
        }
        Act::Restart => {
            page.markup("<p>Restart: the fix is installed, older code still runs</p>");
        }
        Act::Wait => page.markup("<p>Nothing to install yet: no fix</p>"),
        Act::Live if row.first.verdict.status == Status::Mitigated => {
            page.markup("<p>Mitigated; patch when a fix comes</p>");
        }
        Act::Live => page.markup("<p>Will not be fixed for this release</p>"),
        Act::Ask => page.markup("<p>Find out: could not be decided</p>"),
        Act::Nothing => page.text(status_words(row.first.verdict.status)),
    }
    put!(page, "<p class=\"soft small\">has <code>" (installed) "</code></p></td>");
}

fn why_cell(page: &mut Page, row: &Row<'_>) {
    page.markup("<td data-label=\"Why\">");
    let (shown, rest) = if row.findings.len() > NAMED + 1 {
        row.findings.split_at(NAMED)
    } else {
        (row.findings.as_slice(), [].as_slice())
    };
    let title = &row.first.verdict.title;
    if !title.trim().is_empty() {
        put!(page, "<p>" (text::printable_max(title, 140)) "</p>");
    }
    page.markup("<p>");
    names(page, shown);
    page.markup("</p>");
    if !rest.is_empty() {
        put!(page, "<details class=\"small\"><summary>and " (words::grouped(rest.len())) " more</summary><p>");
        names(page, rest);
        page.markup("</p></details>");
    }
    put!(page, "<p class=\"soft small\">" (ranking(row)) "</p>");
    put!(page, "<p class=\"soft small\">" (row.first.verdict.evidence.reason) "</p>");
    if row.by_stale_feed() {
        page.markup("<p><span class=\"tag doubt\">STALE SOURCE</span></p>");
    }
    page.markup("</td>");
}

fn names(page: &mut Page, findings: &[&Finding]) {
    for (at, finding) in findings.iter().enumerate() {
        if at > 0 {
            page.markup(", ");
        }
        put!(page, "<span class=\"nowrap\">" (finding.verdict.advisory) "</span>");
        if finding.kev {
            page.markup(" <span class=\"tag kev\">EXPLOITED</span>");
        }
        if finding.verdict.urgency == Some(Urgency::Unimportant) {
            page.markup(" <span class=\"tag plain\">unimportant</span>");
        }
    }
}

fn ranking(row: &Row<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    let severity = row.findings.iter().map(|f| f.severity).max();
    match (
        severity.filter(|s| *s != Severity::Unknown),
        row.highest_score(),
    ) {
        (Some(severity), Some(score)) => {
            parts.push(format!("severity {}, CVSS {score:.1}", severity.name()));
        }
        (Some(severity), None) => parts.push(format!("severity {}", severity.name())),
        (None, _) => parts.push("severity not ranked".to_owned()),
    }
    if let Some(decision) = row.first.decision {
        parts.push(format!("SSVC {}", decision.name()));
    }
    if let Some(epss) = row.highest_epss() {
        parts.push(epss_percent(epss));
    }
    match row.first.verdict.surface {
        Surface::Mail => {}
        Surface::Dependency => parts.push("dependency of mail software".to_owned()),
        Surface::Other => parts.push("not mail software".to_owned()),
    }
    parts.join(" · ")
}

fn tally<'r, 'a: 'r>(rows: impl Iterator<Item = &'r Row<'a>>) -> String {
    let (mut urgent, mut patches, mut open, mut ask) = (0, 0, 0, 0);
    for row in rows {
        match row.act {
            _ if is_urgent(row) => urgent += 1,
            Act::Upgrade | Act::Restart | Act::NotHere => patches += 1,
            Act::Wait | Act::Live => open += 1,
            Act::Ask | Act::Nothing => ask += 1,
        }
    }
    let parts: Vec<String> = [
        (urgent, "urgent task", "urgent tasks"),
        (patches, "regular patch", "regular patches"),
        (open, "package without a fix", "packages without a fix"),
        (ask, "package not decided", "packages not decided"),
    ]
    .into_iter()
    .filter(|(count, _, _)| *count > 0)
    .map(|(count, one, many)| some(count, one, many))
    .collect();
    if parts.is_empty() {
        "nothing on mail software".to_owned()
    } else {
        parts.join(", ")
    }
}

pub(super) fn due_words(page: &mut Page, report: &Report<'_>, due: Date) {
    let (distance, overdue) = words::distance(report.today, due);
    put!(page, "<span class=\"nowrap\">" (words::day(due)) "</span> ");
    if overdue {
        put!(page, "<span class=\"late\">(" (distance) ")</span>");
    } else {
        put!(page, "(" (distance) ")");
    }
}

pub(super) fn status_words(status: Status) -> &'static str {
    match status {
        Status::FixAvailable => "a fix can be installed",
        Status::FixPublished => "a fix is published elsewhere",
        Status::NoFix => "no fix yet",
        Status::WillNotFix => "will not be fixed",
        Status::RestartPending => "restart pending",
        Status::Mitigated => "mitigated",
        Status::Unknown => "not decided",
        Status::Fixed => "fixed",
        Status::NotAffected => "not affected",
    }
}
