//! An impact as one self-contained page, in the manner of the report of `check`.

use std::io::{self, Write};

use super::text::{caution, interruption};
use super::{ConfigurationOutcome, Impact, PackageImpact};
use crate::output::html::page::{Page, put};
use crate::output::html::write_page;

/// Writes it.
pub fn write(impact: &Impact, out: &mut dyn Write) -> io::Result<()> {
    let title = format!("What patching would change on {}", impact.host);
    write_page(&title, out, |page| body(page, impact))
}

fn body(page: &mut Page, impact: &Impact) {
    put!(page, "<header><h1>What patching would change on " (impact.host) "</h1>\n<p>Asked at "
        (impact.at) ".</p></header>\n<main>\n");
    sections(page, impact, Level::PAGE);
    page.markup("</main>\n");
}

/// The same folded away, within another page.
pub(crate) fn folded(page: &mut Page, impact: &Impact) {
    page.markup("<details><summary>What patching would change</summary>\n<div class=\"body\">\n");
    sections(page, impact, Level::FOLDED);
    page.markup("</div>\n</details>\n");
}

/// Tags of headings and of those below them.
#[derive(Debug, Clone, Copy)]
struct Level {
    head: (&'static str, &'static str),
    below: (&'static str, &'static str),
}

impl Level {
    const PAGE: Self = Self {
        head: ("<h2>", "</h2>\n"),
        below: ("<h3>", "</h3>\n"),
    };
    const FOLDED: Self = Self {
        head: ("<h5>", "</h5>\n"),
        below: ("<h6>", "</h6>\n"),
    };

    fn head(self, page: &mut Page, text: impl std::fmt::Display) {
        page.markup(self.head.0);
        page.text(text);
        page.markup(self.head.1);
    }
}

fn sections(page: &mut Page, impact: &Impact, level: Level) {
    page.markup("<section>\n");
    level.head(page, "Look at this first");
    if impact.cautions.is_empty() && impact.limitations.is_empty() {
        page.markup("<p>Nothing speaks against it.</p>\n");
    } else if impact.cautions.is_empty() {
        page.markup("<p>Nothing that was looked at speaks against it.</p>\n");
    } else {
        list(page, impact.cautions.iter().map(caution));
    }
    page.markup("</section>\n<section>\n");
    level.head(page, "Meanwhile");
    put!(page, "<p>Out of service " (interruption(impact)) ".</p>\n");
    if !impact.services.is_empty() {
        page.markup("<table>\n<thead><tr><th scope=\"col\">Service</th><th scope=\"col\">Region</th><th scope=\"col\">Left</th><th scope=\"col\">Minimum</th></tr></thead>\n<tbody>\n");
        for service in &impact.services {
            let region = service.region.as_ref().map(ToString::to_string);
            let minimum = service.minimum.map(|minimum| minimum.to_string());
            put!(page, "<tr><th scope=\"row\">" (service.service) "</th><td>"
                (region.unwrap_or_default()) "</td><td>" (service.left) " of " (service.in_service)
                "</td><td>" (minimum.unwrap_or("not declared".to_owned())) "</td></tr>\n");
        }
        page.markup("</tbody>\n</table>\n");
    }
    section(
        page,
        level,
        "Processes to restart",
        impact.processes.iter().map(|p| {
            format!(
                "{} ({}): code of {}",
                p.name,
                p.count,
                p.packages.join(", ")
            )
        }),
    );
    section(
        page,
        level,
        "Comes along",
        impact.pulled_in.iter().map(|p| match &p.from {
            Some(from) => format!("{} {from} -> {}", p.name, p.to),
            None => format!("{} {} (new)", p.name, p.to),
        }),
    );
    section(page, level, "Is removed", impact.removed.iter().cloned());
    section(page, level, "Not seen", impact.limitations.iter().cloned());
    page.markup("</section>\n");
    for package in &impact.packages {
        package_section(page, package, level);
    }
}

fn package_section(page: &mut Page, package: &PackageImpact, level: Level) {
    page.markup("<section>\n");
    let (name, from, to) = (&package.name, &package.from, &package.to);
    level.head(page, format_args!("{name} {from} to {to}"));
    section(
        page,
        level,
        "Closes",
        package.closes.iter().map(ToString::to_string),
    );
    section(
        page,
        level,
        "Configuration changed here",
        package.configuration.iter().map(|file| {
            let outcome = match file.outcome {
                ConfigurationOutcome::Conflict => {
                    "also changed by the update; the server's is kept"
                }
                ConfigurationOutcome::Kept => "not changed by the update; kept",
                ConfigurationOutcome::MayAsk => "kept by ucf, which may ask",
            };
            format!("{}: {outcome}", file.path)
        }),
    );
    section(
        page,
        level,
        "Its scripts act on services",
        package.service_actions.iter().cloned(),
    );
    for (title, entries) in [("News", &package.news), ("Changes", &package.changelog)] {
        for entry in entries {
            put!(page, "<details><summary>" (title) ": " (entry.version) "</summary>\n<pre>");
            for line in &entry.lines {
                put!(page, (line));
                page.markup("\n");
            }
            page.markup("</pre></details>\n");
        }
    }
    page.markup("</section>\n");
}

fn section(
    page: &mut Page,
    level: Level,
    title: &'static str,
    lines: impl Iterator<Item = String>,
) {
    let lines: Vec<String> = lines.collect();
    if !lines.is_empty() {
        page.markup(level.below.0);
        page.markup(title);
        page.markup(level.below.1);
        list(page, lines.into_iter());
    }
}

fn list(page: &mut Page, lines: impl Iterator<Item = String>) {
    page.markup("<ul>\n");
    for line in lines {
        put!(page, "<li>" (line) "</li>\n");
    }
    page.markup("</ul>\n");
}
