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
    page.markup("<section>\n<h2>Look at this first</h2>\n");
    if impact.cautions.is_empty() {
        page.markup("<p>Nothing speaks against it.</p>\n");
    } else {
        list(page, impact.cautions.iter().map(caution));
    }
    page.markup("</section>\n<section>\n<h2>Meanwhile</h2>\n");
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
        "Comes along",
        impact.pulled_in.iter().map(|p| match &p.from {
            Some(from) => format!("{} {from} -> {}", p.name, p.to),
            None => format!("{} {} (new)", p.name, p.to),
        }),
    );
    section(page, "Is removed", impact.removed.iter().cloned());
    section(page, "Not seen", impact.limitations.iter().cloned());
    page.markup("</section>\n");
    for package in &impact.packages {
        package_section(page, package);
    }
    page.markup("</main>\n");
}

fn package_section(page: &mut Page, package: &PackageImpact) {
    put!(page, "<section>\n<h2>" (package.name) " " (package.from) " to " (package.to) "</h2>\n");
    section(
        page,
        "Closes",
        package.closes.iter().map(ToString::to_string),
    );
    section(
        page,
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

fn section(page: &mut Page, title: &'static str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    if !lines.is_empty() {
        put!(page, "<h3>" (title) "</h3>\n");
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
