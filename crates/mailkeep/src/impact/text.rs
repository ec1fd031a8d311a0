//! An impact, for a person at a terminal.

use std::io::{self, Write};

use mailkeep_model::text::printable;

use super::history::Basis;
use super::{Caution, ConfigurationOutcome, Impact, PackageImpact};

/// Changelog lines shown of one package; the rest is in the JSON.
const SHOWN_LINES: usize = 40;

/// Writes it.
pub fn write(impact: &Impact, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}: what applying would change", impact.host)?;
    if impact.packages.is_empty() {
        writeln!(out, "  nothing: no newer version is on offer")?;
    }
    for package in &impact.packages {
        write_package(package, out)?;
    }
    let mut list = |title: &str, lines: Vec<String>| -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{title}")?;
        for line in lines {
            writeln!(out, "  {}", printable(&line))?;
        }
        Ok(())
    };
    list(
        "Comes along",
        impact.pulled_in.iter().map(pulled_in).collect(),
    )?;
    list("Is removed", impact.removed.clone())?;
    list("Processes to restart", process_lines(impact))?;
    list("Services", service_lines(impact))?;
    if !impact.packages.is_empty() {
        list("Out of service", vec![interruption(impact)])?;
    }
    list("Not seen", impact.limitations.clone())?;
    if impact.cautions.is_empty() {
        if !impact.packages.is_empty() && impact.limitations.is_empty() {
            writeln!(out, "\nNothing speaks against it.")?;
        }
    } else {
        list(
            "Look at this first",
            impact.cautions.iter().map(caution).collect(),
        )?;
    }
    Ok(())
}

fn write_package(package: &PackageImpact, out: &mut dyn Write) -> io::Result<()> {
    let held = if package.held { "  ON HOLD" } else { "" };
    let heading = format!("{}  {} -> {}{held}", package.name, package.from, package.to);
    writeln!(out, "\n{}", printable(&heading))?;
    if !package.closes.is_empty() {
        let ids: Vec<&str> = package
            .closes
            .iter()
            .map(mailkeep_model::AdvisoryId::as_str)
            .collect();
        writeln!(out, "  closes {}", ids.join(", "))?;
    }
    for action in &package.service_actions {
        writeln!(out, "  its {}", printable(action))?;
    }
    for file in &package.configuration {
        let outcome = match file.outcome {
            ConfigurationOutcome::Conflict => {
                "changed here AND by the update; the server's is kept"
            }
            ConfigurationOutcome::Kept => "changed here, not by the update; kept",
            ConfigurationOutcome::MayAsk => "changed here; kept by ucf, which may ask",
        };
        writeln!(out, "  {}: {outcome}", printable(&file.path))?;
    }
    for (title, entries) in [("news", &package.news), ("changes", &package.changelog)] {
        let mut left = SHOWN_LINES;
        for entry in entries {
            if left == 0 {
                break;
            }
            writeln!(out, "  {title} {}", printable(&entry.version))?;
            for line in entry.lines.iter().take(left) {
                writeln!(out, "    {}", printable(line.trim_end()))?;
            }
            left = left.saturating_sub(entry.lines.len());
        }
        let all: usize = entries.iter().map(|entry| entry.lines.len()).sum();
        if all > SHOWN_LINES {
            writeln!(out, "    ... ({all} lines in all; --format json has them)")?;
        }
    }
    Ok(())
}

fn pulled_in(package: &super::PulledIn) -> String {
    match &package.from {
        Some(from) => format!("{}  {from} -> {}", package.name, package.to),
        None => format!("{}  {} (new on this server)", package.name, package.to),
    }
}

fn process_lines(impact: &Impact) -> Vec<String> {
    let line = |process: &super::ProcessImpact| {
        let count = match process.count {
            1 => String::new(),
            n => format!(" ({n})"),
        };
        format!(
            "{}{count}: runs code of {}",
            process.name,
            process.packages.join(", ")
        )
    };
    impact.processes.iter().map(line).collect()
}

fn service_lines(impact: &Impact) -> Vec<String> {
    let line = |service: &super::ServiceImpact| {
        let region = service
            .region
            .as_ref()
            .map(|region| format!(" in {region}"))
            .unwrap_or_default();
        let minimum = match service.minimum {
            Some(minimum) if service.is_below_minimum() => {
                format!(", BELOW its minimum of {minimum}")
            }
            Some(minimum) => format!(", minimum {minimum}"),
            None => ", no minimum is declared".to_owned(),
        };
        format!(
            "{}{region}: {} of {} left meanwhile{minimum}",
            service.service, service.left, service.in_service
        )
    };
    impact.services.iter().map(line).collect()
}

/// `about 40 s (median of 12 steps of this fleet)`.
pub fn interruption(impact: &Impact) -> String {
    let basis = match impact.interruption.basis {
        Basis::History { steps } => format!("median of {steps} steps of this fleet"),
        Basis::Measured => {
            "measured on this package, restart only; a drain comes on top".to_owned()
        }
        Basis::Guess => "nothing is known of this product; a guess".to_owned(),
    };
    format!("about {:.1} s ({basis})", impact.interruption.seconds)
}

/// One line for a caution.
pub fn caution(caution: &Caution) -> String {
    match caution {
        Caution::BelowMinimum { service } => {
            format!("{service} would fall below its minimum; no plan will do that")
        }
        Caution::ConfigurationConflict { path } => {
            format!("{path} was changed here and by the update: compare before, merge after")
        }
        Caution::Held { package } => {
            format!("{package} is on hold: somebody wanted it to stay as it is")
        }
        Caution::NeedsPerson { why } => why.clone(),
        Caution::News { package } => format!("{package} has news: read them"),
        Caution::Refused { says } => format!("the package manager would refuse: {says}"),
        Caution::Removes { package } => format!("{package} would be removed"),
    }
}
