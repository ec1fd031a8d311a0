//! What the tasks rest on: servers not judged, clean servers, sources; how to read the page.

use mailkeep_model::{FeedState, HostAnswer, HostStatus};

use super::page::{Page, put};
use super::report::Report;
use super::words::{self, some};
use crate::answer::FeedAnswer;

/// More clean servers than these are folded.
const FOLD: usize = 30;

pub(super) fn unknown(page: &mut Page, report: &Report<'_>) {
    let unknown = report.hosts(HostStatus::Unknown);
    let remarks = report.remarks();
    if !unknown.is_empty() {
        page.markup("<section aria-labelledby=\"unknown\">\n<h2 id=\"unknown\">Servers not known to be safe</h2>\n<p>They could not be judged, or not wholly. That nothing is listed for them says nothing about them.</p>\n");
        reasons(page, &unknown);
        page.markup("</section>\n");
    }
    if !remarks.is_empty() {
        page.markup("<section aria-labelledby=\"remarks\">\n<h2 id=\"remarks\">Judged, but not wholly</h2>\n");
        reasons(page, &remarks);
        page.markup("</section>\n");
    }
    let limited = report.limited();
    if !limited.is_empty() {
        put!(page, "<section aria-labelledby=\"limits\">\n<h2 id=\"limits\">What could not be seen</h2>\n<details><summary>"
            (some(limited.len(), "server", "servers")) "</summary>\n<table>\n<thead><tr><th scope=\"col\" class=\"server\">Server</th><th scope=\"col\">Not seen</th></tr></thead>\n<tbody>\n");
        for host in limited {
            put!(page, "<tr><th scope=\"row\">" (host.name) "</th><td data-label=\"Not seen\">");
            for limitation in &host.limitations {
                put!(page, "<p>" (limitation) "</p>");
            }
            page.markup("</td></tr>\n");
        }
        page.markup("</tbody>\n</table>\n</details>\n</section>\n");
    }
}

fn reasons(page: &mut Page, hosts: &[&HostAnswer]) {
    page.markup("<table>\n<thead><tr><th scope=\"col\" class=\"server\">Server</th><th scope=\"col\">Why</th><th scope=\"col\" class=\"what\">Last seen</th></tr></thead>\n<tbody>\n");
    for host in hosts {
        put!(page, "<tr><th scope=\"row\">" (host.name) "</th><td data-label=\"Why\">");
        for (kind, text) in &host.reasons {
            put!(page, "<p><span class=\"tag doubt\">" (kind.name()) "</span> " (text) "</p>");
        }
        page.markup("</td><td data-label=\"Last seen\">");
        match host.facts_as_of {
            Some(at) => put!(page, (words::moment(at))),
            None => page.markup("never"),
        }
        page.markup("</td></tr>\n");
    }
    page.markup("</tbody>\n</table>\n");
}

pub(super) fn clean(page: &mut Page, report: &Report<'_>) {
    let groups = [
        (
            "Clean servers",
            "Judged on fresh facts and fresh sources, without findings.",
            report.hosts(HostStatus::Clean),
        ),
        (
            "Servers out of use",
            "Declared as decommissioned; not judged.",
            report.hosts(HostStatus::Decommissioned),
        ),
    ];
    for (title, meaning, hosts) in groups {
        if hosts.is_empty() {
            continue;
        }
        put!(page, "<section>\n<h2>" (title) "</h2>\n<p>" (meaning) "</p>\n");
        let folded = hosts.len() > FOLD;
        if folded {
            put!(page, "<details><summary>" (some(hosts.len(), "server", "servers")) "</summary>\n");
        }
        put!(page, "<p>" (words::list(hosts.iter().map(|h| h.name.as_str()), hosts.len())) ".</p>\n");
        if folded {
            page.markup("</details>\n");
        }
        page.markup("</section>\n");
    }
}

pub(super) fn feeds(page: &mut Page, report: &Report<'_>) {
    page.markup("<section aria-labelledby=\"feeds\">\n<h2 id=\"feeds\">Sources</h2>\n");
    if report.answer.feeds.is_empty() {
        page.markup("<p><span class=\"tag alarm\">NONE</span> No source of advisories was imported: nothing could be judged.</p>\n</section>\n");
        return;
    }
    page.markup("<table>\n<thead><tr><th scope=\"col\">Source</th><th scope=\"col\">State</th><th scope=\"col\">Speaks for</th><th scope=\"col\">Age</th><th scope=\"col\">Records</th><th scope=\"col\">Unusable</th></tr></thead>\n<tbody>\n");
    for feed in &report.answer.feeds {
        feed_row(page, report, feed);
    }
    page.markup("</tbody>\n</table>\n</section>\n");
}

fn feed_row(page: &mut Page, report: &Report<'_>, feed: &FeedAnswer) {
    let status = &feed.status;
    put!(page, "<tr><th scope=\"row\">" (status.id) "</th><td data-label=\"State\">");
    page.markup(match feed.state {
        FeedState::Fresh => "<span class=\"tag calm\">fresh</span>",
        FeedState::Stale => "<span class=\"tag alarm\">STALE</span>",
        FeedState::Partial => "<span class=\"tag alarm\">ONLY PARTLY READ</span>",
        FeedState::FromTheFuture => "<span class=\"tag alarm\">DATE IN THE FUTURE</span>",
    });
    if !status.whole {
        page.markup(" <span class=\"tag plain\">single documents</span>");
    }
    put!(page, "</td><td data-label=\"Speaks for\">" (words::moment(status.as_of))
        "</td><td data-label=\"Age\">" (words::age(report.answer.generated_at, status.as_of))
        "</td><td data-label=\"Records\">" (words::grouped(status.records))
        "</td><td data-label=\"Unusable\">" (words::grouped(status.problems)) "</td></tr>\n");
}

pub(super) fn feed_words(state: FeedState) -> &'static str {
    match state {
        FeedState::Fresh => "is fresh",
        FeedState::Stale => "is stale",
        FeedState::Partial => "was only partly read",
        FeedState::FromTheFuture => "bears a date in the future",
    }
}

pub(super) fn legend(page: &mut Page) {
    page.markup(concat!(
        "<section aria-labelledby=\"legend\">\n<h2 id=\"legend\">How to read this</h2>\n<dl class=\"legend\">\n",
        "<dt>Task, patch</dt><dd>What one person does once: one package on one server, however many advisories that closes.</dd>\n",
        "<dt>Urgent</dt><dd>The emergency lane: shortened windows, at once. Everything else goes by the agreed maintenance windows, the regular lane.</dd>\n",
        "<dt>Due</dt><dd>The last day, as counted where the server stands. Distances (“in 3 days”) are from the day of this check in UTC; all times here are UTC.</dd>\n",
        "<dt>EXPLOITED</dt><dd>In the catalogue of known exploited vulnerabilities (KEV) of CISA, the cyber security agency of the United States: attackers use it.</dd>\n",
        "<dt>SSVC</dt><dd>CISA’s decision scheme, from least to most urgent: Track, Track*, Attend, Act. It weighs exploitation, exposure and what the server is for.</dd>\n",
        "<dt>CVSS, severity</dt><dd>How bad it is by itself, 0 to 10: low, medium from 4, high from 7, critical from 9.</dd>\n",
        "<dt>EPSS</dt><dd>Estimated chance that somebody attacks it within 30 days.</dd>\n",
        "<dt>Restart</dt><dd>The fix is on the disk, but the program in memory is older. A server is patched when what serves mail runs the fixed code.</dd>\n",
        "<dt>Not in its repositories</dt><dd>A fixed version is published, but not where this server gets its packages.</dd>\n",
        "<dt>Not known to be safe</dt><dd>A server that could not be reached, or for which no fresh source speaks. It is never counted as clean.</dd>\n",
        "<dt>STALE</dt><dd>The source is older than its limit: an advisory published since then is missing here.</dd>\n",
        "</dl>\n</section>\n",
    ));
}

pub(super) fn footer(page: &mut Page, report: &Report<'_>) {
    put!(page, "<footer class=\"soft small\"><p>Made by mailkeep " (env!("CARGO_PKG_VERSION"))
        " for " (report.answer.scope) ", as of " (words::moment(report.answer.generated_at))
        ". This page tells which servers are open to attack: pass it on with care.</p></footer>\n");
}
