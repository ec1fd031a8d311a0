//! A plan as one page: what a region is asked to agree to.
//!
//! Self-contained and without a script; it forbids itself to load anything by its content security
//! policy. Regions fold away where there are many.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::tz::TimeZone;
use mailkeep_model::{Lane, Plan, PlanningReport, Realm};
use sha2::{Digest as _, Sha256};

use super::days::{Picture, Region};
use super::escape::{Esc, put};
use super::{PATTERNS, PICTURE_STYLE, legend, overview, strip, words};
use crate::check::{Breach, check};

const PAGE_STYLE: &str = include_str!("page.css");
/// Regions drawn open; with more than that each folds away.
const FEW_REGIONS: usize = 8;
/// Rows of any list; the rest is counted.
const MAX_ROWS: usize = 2_000;
/// Breaches listed.
const MAX_BREACHES: usize = 20;

/// A plan as a page, with what its planner reported where that is at hand. Whether it keeps the rules is
/// found out anew, by [`crate::check()`], and said.
pub fn html(plan: &Plan, report: Option<&PlanningReport>) -> String {
    let picture = Picture::new(plan);
    let mut out = String::with_capacity(64 * 1024);
    head(&mut out, plan);
    out.push_str("<body>\n");
    title(&mut out, plan);
    out.push_str("<main>\n");
    lead(&mut out, &picture);
    breaches(&mut out, &check(plan));
    figures(&mut out, &picture, report);
    put!(
        out,
        "<h2>When</h2>\n<svg class=\"picture defs\" width=\"0\" height=\"0\" aria-hidden=\"true\">{PATTERNS}</svg>\n"
    );
    drawing(&mut out, "Every region in UTC", |body| {
        overview::draw(body, &picture, 0)
    });
    drawing(&mut out, "What bars and lines mean", |body| {
        legend(body);
        22
    });
    regions(&mut out, &picture);
    if let Some(report) = report {
        not_planned(&mut out, report);
        deadlines(&mut out, report);
    }
    variants(&mut out, plan);
    rules(&mut out, plan);
    out.push_str("</main>\n");
    footer(&mut out, plan);
    out.push_str("</body>\n</html>\n");
    out
}

fn head(out: &mut String, plan: &Plan) {
    let style = format!("{PICTURE_STYLE}{PAGE_STYLE}");
    let digest = BASE64_STANDARD.encode(Sha256::digest(&style));
    put!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
         'sha256-{digest}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"robots\" content=\"noindex\">\n\
         <title>Plan: {}</title>\n<style>{style}</style>\n</head>\n",
        Esc(&plan.title)
    );
}

fn title(out: &mut String, plan: &Plan) {
    put!(
        out,
        "<header>\n<h1>{}</h1>\n<p class=\"soft\">",
        Esc(&plan.title)
    );
    if plan.realm == Realm::Drill {
        out.push_str("<strong class=\"badge\">drill: a rehearsal, no real host</strong> ");
    }
    if plan.lane == Lane::Emergency {
        out.push_str("<strong class=\"badge alarm\">emergency lane</strong> ");
    } else {
        out.push_str("Regular lane. ");
    }
    put!(
        out,
        "Made {} UTC, generation {}.</p>\n",
        words::moment(plan.made_at, &TimeZone::UTC),
        plan.generation
    );
    if let Some(order) = &plan.overriding {
        put!(
            out,
            "<p>The lane was ordered by <b>{}</b>: {}</p>\n",
            Esc(order.by.as_str()),
            Esc(&order.reason)
        );
    }
    if let Some(retries) = words::retries(plan) {
        put!(out, "<p><strong>{}</strong></p>\n", Esc(&retries));
    }
    if !plan.bulletin.is_empty() {
        let ids: Vec<String> = plan
            .bulletin
            .iter()
            .take(60)
            .map(|id| Esc(id.as_str()).to_string())
            .collect();
        put!(out, "<p class=\"small\">Answers {}", ids.join(", "));
        if plan.bulletin.len() > ids.len() {
            put!(out, " and {} more", plan.bulletin.len() - ids.len());
        }
        out.push_str(".</p>\n");
    }
    out.push_str("</header>\n");
}

fn lead(out: &mut String, picture: &Picture<'_>) {
    let Some((first, last)) = picture.span else {
        out.push_str("<div class=\"lead\"><p>This plan has no steps.</p></div>\n");
        return;
    };
    let utc = TimeZone::UTC;
    let minimums = picture.plan.services.values();
    let kept = minimums
        .flat_map(|service| service.minimum.values())
        .any(|minimum| *minimum > 0);
    put!(
        out,
        "<div class=\"lead\"><p>{} in {} are patched from {} to {} UTC, within {}.</p>\n",
        words::count(picture.plan.steps.len(), "host", "hosts"),
        words::count(picture.plan.regions.len(), "region", "regions"),
        words::moment(first, &utc),
        words::moment(last, &utc),
        words::duration(last.duration_since(first))
    );
    if kept {
        out.push_str(
            "<p>Each host is taken out of service only while enough others of its services stay in; \
             it comes back when a proof shows that it serves mail with the new version.</p>\n",
        );
    }
    out.push_str("</div>\n");
}

fn breaches(out: &mut String, breaches: &[Breach]) {
    if breaches.is_empty() {
        out.push_str("<p class=\"calm\">Checked against every rule: none is broken.</p>\n");
        return;
    }
    let broken = breaches.iter().filter(|breach| breach.is_broken()).count();
    let class = if broken > 0 { "lead alarm" } else { "warning" };
    let words = if broken > 0 {
        format!(
            "This plan must not run: rules are broken in {}.",
            words::count(broken, "place", "places")
        )
    } else {
        "No rule is broken. Worth a look:".to_owned()
    };
    put!(out, "<div class=\"{class}\"><p>{words}</p><ul>\n");
    for breach in breaches.iter().take(MAX_BREACHES) {
        put!(out, "<li>{}</li>\n", Esc(&breach.to_string()));
    }
    if breaches.len() > MAX_BREACHES {
        put!(out, "<li>and {} more</li>\n", breaches.len() - MAX_BREACHES);
    }
    out.push_str("</ul></div>\n");
}

fn figures(out: &mut String, picture: &Picture<'_>, report: Option<&PlanningReport>) {
    let plan = picture.plan;
    out.push_str("<dl class=\"figures\">\n");
    let mut figure = |class: &str, name: &str, value: String| {
        put!(
            out,
            "<div class=\"{class}\"><dt>{name}</dt><dd>{}</dd></div>\n",
            Esc(&value)
        );
    };
    figure("", "hosts", plan.steps.len().to_string());
    figure("", "waves", plan.waves.len().to_string());
    if let Some(report) = report {
        figure(
            "",
            "from its making to the end",
            minutes(report.end_minutes),
        );
        figure(
            "",
            &format!("the soonest any {} could end", words::as_timely(plan)),
            minutes(report.end_bound_minutes),
        );
        let least = report.exposure_bound.max(1);
        let percent = u128::from(report.exposure) * 1000 / u128::from(least);
        figure(
            "",
            "of the least possible exposure",
            format!("{}.{} %", percent / 10, percent % 10),
        );
        let counted = [
            (report.not_planned.len(), "doubt", "hosts not planned"),
            (
                report.missed_deadlines.len(),
                "alarm",
                "deadlines that cannot be met",
            ),
        ];
        for (n, class, name) in counted {
            figure(if n > 0 { class } else { "" }, name, n.to_string());
        }
    }
    out.push_str("</dl>\n");
}

fn minutes(n: u64) -> String {
    let seconds = i64::try_from(n.saturating_mul(60)).unwrap_or(i64::MAX);
    words::duration(jiff::SignedDuration::from_secs(seconds))
}

/// One picture with its own height.
fn drawing(out: &mut String, label: &str, draw: impl FnOnce(&mut String) -> i64) {
    let mut body = String::new();
    let height = draw(&mut body);
    put!(
        out,
        "<div class=\"wide\"><svg class=\"picture\" viewBox=\"0 0 {} {height}\" role=\"img\" \
         aria-label=\"{}\">\n{body}</svg></div>\n",
        strip::WIDTH,
        Esc(label)
    );
}

fn regions(out: &mut String, picture: &Picture<'_>) {
    let few = picture.regions.len() <= FEW_REGIONS;
    for region in &picture.regions {
        let heading = region.heading();
        if few {
            put!(out, "<section>\n<h2>{}</h2>\n", Esc(&heading));
        } else {
            put!(
                out,
                "<details class=\"region\"><summary><h2>{}</h2> <span class=\"soft\">{}</span></summary>\n",
                Esc(&heading),
                Esc(&span_of(region))
            );
        }
        windows(out, region);
        for day in &region.days {
            let label = format!("{}, {}", region.name, words::day(day.date));
            drawing(out, &label, |body| {
                strip::draw(body, picture, region, day, 0)
            });
        }
        let left_out = region.days_left_out();
        if !left_out.is_empty() {
            put!(out, "<p class=\"soft small\">{}</p>\n", Esc(&left_out));
        }
        steps(out, picture, region);
        out.push_str(if few { "</section>\n" } else { "</details>\n" });
    }
    if picture.regions_not_drawn > 0 {
        put!(
            out,
            "<p class=\"soft\">{}</p>\n",
            Esc(&picture.regions_left_out())
        );
    }
}

/// From the first step to the last, in local time.
fn span_of(region: &Region<'_>) -> String {
    let first = region.steps.iter().map(|step| step.start).min();
    let last = region.steps.iter().map(|step| step.end).max();
    let (Some(first), Some(last)) = (first, last) else {
        return String::new();
    };
    let (first, last) = (region.clock.civil(first), region.clock.civil(last));
    let end = if first.date() == last.date() {
        words::clock(last.time())
    } else {
        format!(
            "{}, {}",
            words::short_day(last.date()),
            words::clock(last.time())
        )
    };
    format!(
        "{}, {} to {end} local time",
        words::short_day(first.date()),
        words::clock(first.time())
    )
}

fn windows(out: &mut String, region: &Region<'_>) {
    let Some(planned) = region.planned else {
        out.push_str("<p class=\"warning\">The plan does not describe this region.</p>\n");
        return;
    };
    let windows: Vec<String> = planned
        .windows
        .iter()
        .map(|window| {
            let lasts = words::duration(window.duration);
            format!("<code>{}</code> for {lasts}", Esc(&window.rrule))
        })
        .collect();
    put!(out, "<p class=\"soft small\">{}.", Esc(&span_of(region)));
    if windows.is_empty() {
        out.push_str(" No windows.</p>\n");
    } else {
        put!(out, " Windows: {}.</p>\n", windows.join("; "));
    }
}

fn steps(out: &mut String, picture: &Picture<'_>, region: &Region<'_>) {
    put!(
        out,
        "<details class=\"steps\"><summary>Host by host: {}</summary>\n<table>\n<thead><tr><th>Local \
         time</th><th>UTC</th><th>Host</th><th>Wave</th><th>Services</th><th>Drained by</th>\
         <th>Change</th></tr></thead>\n<tbody>\n",
        words::count(region.steps.len(), "host", "hosts")
    );
    for step in region.steps.iter().take(MAX_ROWS) {
        let local = |at| region.clock.civil(at);
        let utc = |at| TimeZone::UTC.to_datetime(at);
        let (from, to) = (local(step.start), local(step.end));
        let services: Vec<String> = step
            .services
            .iter()
            .map(|name| Esc(name.as_str()).to_string())
            .collect();
        let place = usize::try_from(step.variant).unwrap_or(usize::MAX);
        let change = picture
            .plan
            .variants
            .get(place)
            .map_or_else(|| "no such variant".to_owned(), words::variant_short);
        put!(
            out,
            "<tr><td class=\"nowrap\">{} <b>{}</b> to {}</td><td class=\"nowrap\">{} to {}</td>\
             <th scope=\"row\">{}</th><td>{} ({})</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            words::short_day(from.date()),
            words::clock(from.time()),
            words::clock(to.time()),
            words::clock(utc(step.start).time()),
            words::clock(utc(step.end).time()),
            Esc(step.host.as_str()),
            step.wave,
            picture
                .stage(step)
                .map_or("none", mailkeep_model::Stage::name),
            services.join(", "),
            Esc(&words::drain(&step.drain)),
            Esc(&change)
        );
    }
    out.push_str("</tbody></table>\n");
    more(out, region.steps.len());
    out.push_str("</details>\n");
}

/// Says how many rows are left out, if any.
fn more(out: &mut String, rows: usize) {
    if rows > MAX_ROWS {
        put!(
            out,
            "<p class=\"soft\">{} more are not listed.</p>\n",
            rows - MAX_ROWS
        );
    }
}

fn not_planned(out: &mut String, report: &PlanningReport) {
    if report.not_planned.is_empty() {
        return;
    }
    put!(
        out,
        "<h2>Not planned</h2>\n<p>{} findings that this plan does not close, each for a reason.</p>\n\
         <table><thead><tr><th>Host</th><th>Reason</th></tr></thead>\n<tbody>\n",
        if report.not_planned.len() == 1 {
            "One host has"
        } else {
            "These hosts have"
        }
    );
    for host in report.not_planned.iter().take(MAX_ROWS) {
        put!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{} <code class=\"soft\">{}</code></td></tr>\n",
            Esc(host.host.as_str()),
            Esc(&words::not_planned(&host.reason)),
            host.reason.name()
        );
    }
    out.push_str("</tbody></table>\n");
    more(out, report.not_planned.len());
}

fn deadlines(out: &mut String, report: &PlanningReport) {
    if report.missed_deadlines.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Deadlines that cannot be met</h2>\n<table><thead><tr><th>Host</th><th>Deadline</th>\
         <th>Done</th><th>What would make it possible</th></tr></thead>\n<tbody>\n",
    );
    for missed in report.missed_deadlines.iter().take(MAX_ROWS) {
        let done = missed.planned_end.map_or_else(
            || "not planned".to_owned(),
            |at| format!("{} UTC", words::moment(at, &TimeZone::UTC)),
        );
        let remedies: Vec<String> = missed.remedies.iter().map(words::remedy).collect();
        let remedies = if remedies.is_empty() {
            "nothing the planner can try".to_owned()
        } else {
            remedies.join(", or ")
        };
        put!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            Esc(missed.host.as_str()),
            words::day(missed.deadline),
            Esc(&done),
            Esc(&remedies)
        );
    }
    out.push_str("</tbody></table>\n");
    more(out, report.missed_deadlines.len());
}

fn variants(out: &mut String, plan: &Plan) {
    out.push_str("<h2>What changes</h2>\n");
    for (number, variant) in plan.variants.iter().enumerate() {
        let place = u32::try_from(number).ok();
        let hosts = plan
            .steps
            .iter()
            .filter(|step| Some(step.variant) == place)
            .count();
        put!(
            out,
            "<h3>{} on {}, {}</h3>\n<table><thead><tr><th>Package</th><th>From</th><th>To</th></tr>\
             </thead>\n<tbody>\n",
            Esc(&variant.family),
            Esc(&variant.platform),
            words::count(hosts, "host", "hosts")
        );
        for package in &variant.packages {
            let to = if package.from == package.to {
                format!("{}, restart only", package.to)
            } else {
                package.to.clone()
            };
            put!(
                out,
                "<tr><th scope=\"row\">{}</th><td><code>{}</code></td><td><code>{}</code></td></tr>\n",
                Esc(&package.name),
                Esc(&package.from),
                Esc(&to)
            );
        }
        out.push_str("</tbody></table>\n");
        if let Some(recipe) = &variant.recipe {
            put!(
                out,
                "<p class=\"small\">Recipe <code>{}</code>, SHA-256 <code>{}</code></p>\n",
                Esc(&recipe.path),
                Esc(&recipe.sha256)
            );
        }
        if variant.whole_cluster {
            out.push_str("<p>All its hosts of a region are taken at once: a cluster.</p>\n");
        }
    }
}

fn rules(out: &mut String, plan: &Plan) {
    let policy = &plan.policy;
    let lane = policy.lane(plan.lane);
    let cap = |cap: Option<u32>| cap.map_or("no limit".to_owned(), |n| n.to_string());
    let soak = |n: u32| minutes(n.into());
    let asked = |yes: bool| {
        (if yes {
            "kept"
        } else {
            "not asked for in this lane"
        })
        .to_owned()
    };
    out.push_str("<h2>Rules it was made by</h2>\n<dl class=\"rules\">\n");
    for (name, value) in [
        ("Soak after the test host", soak(lane.soak_test_minutes)),
        ("Soak after the pilot region", soak(lane.soak_pilot_minutes)),
        ("Between waves of a region", soak(lane.soak_wave_minutes)),
        ("Windows", asked(lane.windows)),
        ("Blackouts", asked(lane.blackouts)),
        ("At a time in the fleet", cap(policy.parallel_fleet)),
        ("At a time in a region", cap(policy.parallel_region)),
        ("At a time for a team", cap(policy.parallel_team)),
        ("Failures a wave bears", policy.wave_failures.to_string()),
        (
            "A region may shift its waves by",
            soak(policy.shift_minutes),
        ),
    ] {
        put!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>\n");
    }
    out.push_str("</dl>\n");
}

fn footer(out: &mut String, plan: &Plan) {
    out.push_str("<footer class=\"soft small\">\n");
    let id = crate::canonical(plan).and_then(|bytes| crate::id_of(&bytes));
    if let Ok(id) = id {
        put!(out, "<p>Plan <code>{}</code></p>\n", Esc(id.as_str()));
    }
    if let Some(parent) = &plan.parent {
        put!(
            out,
            "<p>Replaces <code>{}</code></p>\n",
            Esc(parent.as_str())
        );
    }
    put!(
        out,
        "<p>Windows were resolved by time zone database {}.</p>\n</footer>\n",
        Esc(&plan.tzdb)
    );
}
