//! What a manager reads first: what is urgent, what is doubtful, the figures, what changed.

use mailkeep_model::HostStatus;
use mailkeep_triage::{Change, ChangeKind};

use super::lists::feed_words;
use super::page::{Page, put};
use super::report::{NO_TEAM, Report, first_due, servers_of};
use super::tasks::{due_words, status_words};
use super::words::{self, some};
use crate::output::group::Row;

/// Longer lists of changes are folded.
const FOLD: usize = 15;

pub(super) fn header(page: &mut Page, report: &Report<'_>) {
    let at = report.answer.generated_at;
    put!(page,
        "<header>\n<h1>Mail servers: which patches they need</h1>\n<p class=\"soft\">"
        (report.answer.scope) " · as of <time datetime=\"" (at) "\">" (words::moment(at))
        "</time></p>\n<nav aria-label=\"Sections\"><ul>"
    );
    if report.answer.changes.is_some() {
        page.markup("<li><a href=\"#changes\">What changed</a></li>");
    }
    page.markup("<li><a href=\"#urgent\">Urgent</a></li><li><a href=\"#teams\">By team</a></li>");
    if !report.hosts(HostStatus::Unknown).is_empty() {
        page.markup("<li><a href=\"#unknown\">Not known to be safe</a></li>");
    }
    page.markup(
        "<li><a href=\"#feeds\">Sources</a></li><li><a href=\"#legend\">How to read this</a></li></ul></nav>\n</header>\n",
    );
}

pub(super) fn lead(page: &mut Page, report: &Report<'_>) {
    let urgent: Vec<&Row<'_>> = report.urgent().collect();
    let clean = report.hosts(HostStatus::Clean).len();
    let judged = clean + report.hosts(HostStatus::Affected).len() + report.teams.len() > 0;
    let calm = clean > 0
        && report.teams.is_empty()
        && report.hosts(HostStatus::Unknown).is_empty()
        && report.unfit_feeds().is_empty();
    page.markup(match (urgent.is_empty(), calm) {
        (false, _) => "<section class=\"lead alarm\" aria-label=\"In short\">\n",
        (true, true) => "<section class=\"lead calm\" aria-label=\"In short\">\n",
        (true, false) => "<section class=\"lead\" aria-label=\"In short\">\n",
    });
    if !urgent.is_empty() {
        lead_urgent(page, report, &urgent);
    } else if judged {
        page.markup("<p><strong>Nothing is urgent.</strong></p>\n");
    } else {
        page.markup("<p><strong>No server could be judged.</strong></p>\n");
    }
    let overdue = report.overdue().count();
    if overdue > 0 {
        put!(page, "<p class=\"late\">" (some(overdue, "task is", "tasks are")) " overdue, on "
            (words::list(servers_of(report.overdue()).into_iter(), 4)) ".</p>\n");
    }
    let regular: Vec<&Row<'_>> = report.regular_patches().collect();
    if !regular.is_empty() {
        put!(page, "<p>" (some(regular.len(), "further patch goes", "further patches go"))
            " with the regular windows, on " (some(servers_of(regular.iter().copied()).len(), "server", "servers")));
        let dated = regular
            .iter()
            .filter(|r| r.first.deadline.is_some())
            .count();
        if let Some(due) = first_due(regular.iter().copied()) {
            put!(page, "; " (words::grouped(dated)) " of them by a fixed day, the first by "
                (words::day(due)));
        }
        page.markup(".</p>\n");
    }
    let open = [
        (
            report.without_fix(),
            "package has holes nobody has fixed yet",
            "packages have holes nobody has fixed yet",
        ),
        (
            report.undecided(),
            "package could not be judged",
            "packages could not be judged",
        ),
    ];
    for (count, one, many) in open {
        if count > 0 {
            put!(page, "<p>" (some(count, one, many)) ".</p>\n");
        }
    }
    if report.unlisted > 0 {
        put!(page, "<p>" (some(report.unlisted, "finding is", "findings are"))
            " on packages that have nothing to do with mail; they are only counted here.</p>\n");
    }
    if calm {
        put!(page, "<p>" (some(clean, "server was", "servers were"))
            " judged by fresh sources, and nothing was found.</p>\n");
    }
    let settled = report.answer.fixed + report.answer.not_affected;
    if settled > 0 {
        put!(page, "<p class=\"soft\">" (words::grouped(settled))
            " other advisories name installed packages and need nothing: "
            (words::grouped(report.answer.fixed)) " fixed, "
            (words::grouped(report.answer.not_affected)) " not affected.</p>\n");
    }
    page.markup("</section>\n");
}

fn lead_urgent(page: &mut Page, report: &Report<'_>, urgent: &[&Row<'_>]) {
    put!(page, "<p><strong>" (some(urgent.len(), "task is", "tasks are")) " urgent, on "
        (some(servers_of(urgent.iter().copied()).len(), "server", "servers")) ".</strong>");
    let exploited = urgent
        .iter()
        .filter(|row| row.findings.iter().any(|f| f.kev))
        .count();
    if exploited > 0 {
        put!(page, " " (words::grouped(exploited)) " of them "
            (if exploited == 1 { "closes a hole" } else { "close holes" })
            " that attackers are known to use.");
    }
    page.markup("</p>\n<ul>\n");
    for team in &report.teams {
        let rows = team.urgent(report);
        if rows.is_empty() {
            continue;
        }
        put!(page, "<li><strong>" (team.name()) "</strong>: " (words::list(packages(&rows).into_iter(), 3))
            " on " (words::list(servers_of(rows.iter().copied()).into_iter(), 3)));
        if let Some(due) = first_due(rows.iter().copied()) {
            page.markup(", due ");
            due_words(page, report, due);
        }
        page.markup("</li>\n");
    }
    page.markup("</ul>\n");
}

fn packages<'a>(rows: &[&Row<'a>]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        let name: &str = &row.first.verdict.package;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

pub(super) fn doubts(page: &mut Page, report: &Report<'_>) {
    let unknown = report.hosts(HostStatus::Unknown);
    let unfit = report.unfit_feeds();
    if unknown.is_empty() && unfit.is_empty() {
        return;
    }
    page.markup("<section class=\"warning\" aria-label=\"Not certain\">\n");
    if !unknown.is_empty() {
        put!(page, "<p><strong>" (some(unknown.len(), "server is", "servers are"))
            " not known to be safe</strong>: "
            (words::list(unknown.iter().map(|h| h.name.as_str()), 6))
            ". <a class=\"screen\" href=\"#unknown\">Why</a></p>\n");
    }
    for feed in unfit {
        put!(page, "<p><strong>Source " (feed.status.id) " " (feed_words(feed.state)) "</strong>: it speaks for "
            (words::moment(feed.status.as_of)) ", "
            (words::age(report.answer.generated_at, feed.status.as_of))
            ". What rests on it may miss newer advisories.</p>\n");
    }
    page.markup("</section>\n");
}

pub(super) fn figures(page: &mut Page, report: &Report<'_>) {
    let counts = [
        ("urgent tasks", report.urgent().count(), "alarm"),
        ("regular patches", report.regular_patches().count(), "plain"),
        (
            "servers affected",
            report.hosts(HostStatus::Affected).len(),
            "plain",
        ),
        (
            "servers clean",
            report.hosts(HostStatus::Clean).len(),
            "calm",
        ),
        (
            "servers not known to be safe",
            report.hosts(HostStatus::Unknown).len(),
            "doubt",
        ),
        ("tasks overdue", report.overdue().count(), "alarm"),
    ];
    page.markup("<dl class=\"figures\">\n");
    for (name, count, kind) in counts {
        page.markup(match kind {
            "alarm" if count > 0 => "<div class=\"alarm\">",
            "doubt" if count > 0 => "<div class=\"doubt\">",
            "calm" if count > 0 => "<div class=\"calm\">",
            _ => "<div>",
        });
        put!(page, "<dt>" (name) "</dt><dd>" (words::grouped(count)) "</dd></div>\n");
    }
    page.markup("</dl>\n");
}

pub(super) fn changes(page: &mut Page, report: &Report<'_>) {
    let Some(changes) = &report.answer.changes else {
        return;
    };
    page.markup("<section aria-labelledby=\"changes\">\n<h2 id=\"changes\">What changed since the last check</h2>\n");
    if changes.is_empty() {
        page.markup("<p>Nothing.</p>\n</section>\n");
        return;
    }
    let of = |wanted: fn(&ChangeKind) -> bool| -> Vec<&Change> {
        changes.iter().filter(|c| wanted(&c.kind)).collect()
    };
    let [new, altered, gone] = [
        of(|kind| matches!(kind, ChangeKind::New { .. })),
        of(|kind| matches!(kind, ChangeKind::Changed { .. })),
        of(|kind| matches!(kind, ChangeKind::Gone { .. })),
    ];
    put!(page, "<p>" (words::grouped(new.len())) " new, " (words::grouped(altered.len()))
        " changed, " (words::grouped(gone.len())) " gone.</p>\n");
    let folded = changes.len() > FOLD;
    if folded {
        page.markup("<details><summary>All of them</summary>\n");
    }
    page.markup("<table>\n<thead><tr><th scope=\"col\" class=\"change\">Change</th><th scope=\"col\" class=\"server\">Server</th><th scope=\"col\" class=\"package\">Package</th><th scope=\"col\" class=\"advisory\">Advisory</th><th scope=\"col\">What</th><th scope=\"col\" class=\"team\">Team</th></tr></thead>\n<tbody>\n");
    for change in new.into_iter().chain(altered).chain(gone) {
        change_row(page, change);
    }
    page.markup("</tbody>\n</table>\n");
    if folded {
        page.markup("</details>\n");
    }
    page.markup("</section>\n");
}

fn change_row(page: &mut Page, change: &Change) {
    page.markup(match change.kind {
        ChangeKind::New { .. } => "<tr><td><span class=\"tag kev\">new</span></td>",
        ChangeKind::Changed { .. } => "<tr><td><span class=\"tag doubt\">changed</span></td>",
        ChangeKind::Gone { .. } => "<tr><td><span class=\"tag calm\">gone</span></td>",
    });
    put!(page, "<th scope=\"row\">" (change.host) "</th><td data-label=\"Package\">" (change.package)
        "</td><td data-label=\"Advisory\">" (change.advisory) "</td><td data-label=\"What\">");
    match &change.kind {
        ChangeKind::New { status } => page.text(status_words(*status)),
        ChangeKind::Changed { change, .. } => page.text(change),
        ChangeKind::Gone {
            was,
            now: Some(now),
        } => {
            put!(page, "was: " (status_words(*was)) "; now: " (status_words(*now)));
        }
        ChangeKind::Gone { was, now: None } => put!(page, "was: "(status_words(*was))),
    }
    put!(page, "</td><td data-label=\"Team\">" (change.owner.as_ref().map_or(NO_TEAM, |o| o.as_str())) "</td></tr>\n");
}
