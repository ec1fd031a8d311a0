//! The report as one self-contained page. Texts come in by `Page::text` alone.

use std::io::{self, Write};

use mailkeep_model::HostState;
use mailkeep_rollout::evidence::{Evidence, HostEvidence};

use super::report::exposure;
use super::view;
use super::view::{moment, span};
use crate::output::html::page::{Page, put};
use crate::output::html::write_page;

pub(super) fn write(told: &Evidence, out: &mut dyn Write) -> io::Result<()> {
    let title = format!("Rollout {}: {}", told.plan.short(), told.state.name());
    write_page(&title, out, |page| body(page, told))
}

fn body(page: &mut Page, told: &Evidence) {
    put!(page, "<header>\n<h1>Rollout report</h1>\n<p class=\"soft\">" (&told.title) "</p>\n</header>\n<main>\n");
    lead(page, told);
    figures(page, told);
    plan(page, told);
    approvals(page, told);
    orders(page, told);
    overview(page, told);
    page.markup("<h2 id=\"hosts\">Evidence, host by host</h2>\n");
    for host in &told.hosts {
        one_host(page, host);
    }
    ledger(page, told);
    if !told.oddities.is_empty() {
        page.markup("<h2>Events that fit no state</h2>\n<ul>\n");
        for oddity in &told.oddities {
            put!(page, "<li>" (oddity) "</li>\n");
        }
        page.markup("</ul>\n");
    }
    put!(page, "</main>\n<footer>\n<p class=\"small soft\">Read from the log on " (moment(Some(told.as_of)))
        " by mailkeep " (env!("CARGO_PKG_VERSION")) ". All times are UTC.</p>\n<p><code>" (told.ledger_line())
        "</code></p>\n</footer>\n");
}

fn is_good(told: &Evidence) -> bool {
    told.hosts
        .iter()
        .all(|host| host.state == HostState::Proven)
        && told.ledger.is_none_or(|ledger| ledger.lost == 0)
}

fn lead(page: &mut Page, told: &Evidence) {
    page.markup(if is_good(told) {
        "<div class=\"lead calm\">\n"
    } else {
        "<div class=\"lead alarm\">\n"
    });
    for line in view::head(told).iter().skip(1) {
        put!(page, "<p>" (line) "</p>\n");
    }
    page.markup("</div>\n");
}

fn figures(page: &mut Page, told: &Evidence) {
    let proven = told.count(HostState::Proven);
    let all = told.hosts.len();
    let stuck = told.count(HostState::Held) + told.count(HostState::Unproven);
    let out: i64 = told
        .hosts
        .iter()
        .map(|host| host.seconds_out_of_service)
        .sum();
    let ledger = told.ledger.unwrap_or_default();
    let calm_if = |good, else_class| if good { "calm" } else { else_class };
    page.markup("<dl class=\"figures\">\n");
    for (class, name, value) in [
        (
            calm_if(proven == all, "doubt"),
            "hosts proven",
            format!("{proven} of {all}"),
        ),
        (
            calm_if(stuck == 0, "alarm"),
            "hosts that need a person",
            stuck.to_string(),
        ),
        ("", "out of service, hosts together", span(out)),
        ("", "messages sent", ledger.sent.to_string()),
        (
            calm_if(ledger.lost == 0, "alarm"),
            "messages lost",
            ledger.lost.to_string(),
        ),
    ] {
        put!(page, "<div class=\"" (class) "\"><dt>" (name) "</dt><dd>" (value) "</dd></div>\n");
    }
    page.markup("</dl>\n");
}

fn plan(page: &mut Page, told: &Evidence) {
    put!(page, "<h2>What was decided</h2>\n<p>Plan <code>" (&told.plan) "</code>, made " (moment(Some(told.made_at))));
    if let Some(parent) = &told.parent {
        put!(page, ", replaces <code>" (parent) "</code>");
    }
    page.markup(".</p>\n<p>It answers: ");
    for (at, advisory) in told.bulletin.iter().enumerate() {
        if at > 0 {
            page.markup(", ");
        }
        put!(page, (advisory));
    }
    page.markup("</p>\n");
}

fn approvals(page: &mut Page, told: &Evidence) {
    page.markup("<h2>Who approved</h2>\n");
    if told.approvals.is_empty() {
        page.markup("<p>Nobody.</p>\n");
        return;
    }
    page.markup("<table>\n<thead><tr><th>Team</th><th>Part</th><th>When</th><th>Signature</th></tr></thead>\n<tbody>\n");
    for approval in &told.approvals {
        let part = approval
            .region
            .as_ref()
            .map_or("the whole", mailkeep_model::RegionName::as_str);
        put!(page, "<tr><th>" (approval.team) "</th><td>" (part) "</td><td>" (moment(Some(approval.at)))
            "</td><td>" (approval.verified.as_deref().unwrap_or("not looked at")) "<br><code class=\"small\">"
            (approval.digest) "</code></td></tr>\n");
    }
    page.markup("</tbody>\n</table>\n");
}

fn orders(page: &mut Page, told: &Evidence) {
    page.markup("<h2>What was ordered</h2>\n<table>\n<thead><tr><th>When</th><th>What</th><th>Who</th><th>Why</th></tr></thead>\n<tbody>\n");
    for order in &told.orders {
        put!(page, "<tr><td>" (moment(Some(order.at))) "</td><td>" (order.what) "</td><td>"
            (order.by.as_deref().unwrap_or("")) "</td><td>" (order.why.as_deref().unwrap_or("")) "</td></tr>\n");
    }
    page.markup("</tbody>\n</table>\n");
}

fn overview(page: &mut Page, told: &Evidence) {
    page.markup(
        "<h2>When each host was exposed, drained, patched, proven</h2>\n<table>\n<thead><tr><th>Host</th>\
         <th>End</th><th>Exposed</th><th>Drained</th><th>Patched</th><th>Proven</th><th>Back</th>\
         <th>Out of service</th></tr></thead>\n<tbody>\n",
    );
    for host in &told.hosts {
        put!(page, "<tr><th>" (host.host) "</th><td>" (host.state.name()) "</td><td>" (exposure(host))
            "</td><td>" (moment(host.drained_at)) "</td><td>" (moment(host.patched_at)) "</td><td>"
            (moment(host.proven_at)) "</td><td>" (moment(host.returned_at)) "</td><td>"
            (span(host.seconds_out_of_service)) "</td></tr>\n");
    }
    page.markup("</tbody>\n</table>\n");
}

fn one_host(page: &mut Page, host: &HostEvidence) {
    put!(page, "<h3>" (host.host) " <span class=\"soft small\">" (host.region) ", " (host.family));
    if let Some(owner) = &host.owner {
        put!(page, ", "(owner));
    }
    put!(page, "</span>: " (host.state.name()) "</h3>\n");
    if let Some(trouble) = &host.trouble
        && host.state != HostState::Proven
    {
        put!(page, "<div class=\"warning\"><p>" (trouble) "</p></div>\n");
    }
    page.markup("<ul>\n");
    for change in &host.packages {
        put!(page, "<li>" (change.name) " <code>" (change.from) "</code> to <code>" (change.to) "</code></li>\n");
    }
    page.markup("</ul>\n<table>\n<thead><tr><th>Begun</th><th>Act</th><th>Result</th><th>Seen</th></tr></thead>\n<tbody>\n");
    for act in &host.acts {
        put!(page, "<tr><td>" (moment(Some(act.begun))) "</td><td>" (act.act.name()) "</td><td>"
            (act.outcome.as_deref().unwrap_or("no end recorded")));
        if act.tries > 1 {
            put!(page, " after " (act.tries) " tries");
        }
        if let Some(detail) = &act.detail {
            put!(page, "<br>"(detail));
        }
        page.markup("</td><td class=\"small\">");
        for seen in &act.seen {
            put!(page, (seen) "<br>");
        }
        page.markup("</td></tr>\n");
    }
    page.markup("</tbody>\n</table>\n");
}

fn ledger(page: &mut Page, told: &Evidence) {
    page.markup("<h2>Messages</h2>\n");
    if told.ledger.is_none() {
        page.markup("<p>No numbered messages flowed during this rollout.</p>\n");
        return;
    }
    page.markup(
        "<table>\n<thead><tr><th>Service</th><th>Sent</th><th>Delivered</th><th>Duplicated</th><th>Late</th>\
         <th>Still with the sender</th><th>Lost</th></tr></thead>\n<tbody>\n",
    );
    let mut row = |name: &str, of: &mailkeep_model::Ledger| {
        put!(page, "<tr><th>" (name) "</th><td>" (of.sent) "</td><td>" (of.delivered) "</td><td>" (of.duplicated)
            "</td><td>" (of.late) "</td><td>" (of.refused) "</td><td>" (of.lost) "</td></tr>\n");
    };
    for (service, of) in &told.ledger_by_service {
        row(service.as_str(), of);
    }
    if let Some(of) = &told.ledger {
        row("all", of);
    }
    page.markup("</tbody>\n</table>\n");
}
