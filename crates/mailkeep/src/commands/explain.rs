//! `mailkeep explain`: everything that led to one verdict.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::bail;
use mailkeep_model::{Finding, HostAnswer, HostName, HostStatus, text};

use super::{Done, check};
use crate::answer::Answer;
use crate::app::App;
use crate::cli::{ExplainArgs, Scope};

/// Runs it.
pub fn run(app: &App, args: &ExplainArgs) -> anyhow::Result<Done> {
    explain(app, args).map_err(|error| {
        let is_hole = args.on.as_str().to_ascii_uppercase().starts_with("CVE-");
        match &args.advisory {
            Some(second) if is_hole => error.context(format!(
                "the host comes first: mailkeep explain {second} {}",
                args.on
            )),
            _ => error,
        }
    })
}

fn explain(app: &App, args: &ExplainArgs) -> anyhow::Result<Done> {
    let mut scope = Scope {
        fleet: args.fleet.clone(),
        root: args.root.clone(),
        ..Scope::default()
    };
    if scope.root.is_none() {
        scope.hosts = vec![args.on.clone()];
    } else {
        scope.name = Some(args.on.clone());
    }
    let Some(advisory) = &args.advisory else {
        return explain_host(app, &scope, &args.on);
    };
    let asked = check::answer_about(app, &scope, advisory)?;
    let answer = asked.answer;
    let Some(host) = answer.hosts.iter().find(|h| h.name == args.on) else {
        bail!("there is no host {}", args.on);
    };
    let mut out = Vec::new();
    write_host(host, &mut out)?;
    for finding in &answer.findings {
        write_finding(finding, &answer, &mut out)?;
    }
    if !asked.known {
        writeln!(
            out,
            "\nNo imported feed knows {advisory}, under this or another name."
        )?;
    } else if answer.findings.is_empty() {
        writeln!(
            out,
            "\nNo imported feed names {advisory} for a package installed on {}.",
            args.on
        )?;
    }
    io::stdout().lock().write_all(&out)?;
    let open = answer
        .findings
        .iter()
        .any(|f| f.verdict.status.is_finding());
    // Where nothing is known of the host or the advisory, silence is no answer.
    let silent = host.status == HostStatus::Unknown
        || (answer.findings.is_empty() && !host.reasons.is_empty())
        || !asked.known;
    Ok(if open || silent {
        Done::Findings
    } else {
        Done::Nothing
    })
}

/// What is known of a host, and how many advisories concern each of its packages.
fn explain_host(app: &App, scope: &Scope, name: &HostName) -> anyhow::Result<Done> {
    let answer = check::answer_unrecorded(app, scope)?;
    let Some(host) = answer.hosts.iter().find(|h| h.name == *name) else {
        bail!("there is no host {name}");
    };
    let mut out = Vec::new();
    write_host(host, &mut out)?;
    let mut packages: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for finding in &answer.findings {
        let verdict = &finding.verdict;
        *packages
            .entry((&verdict.package, &verdict.installed))
            .or_default() += 1;
    }
    if !packages.is_empty() {
        writeln!(out)?;
    }
    for ((package, installed), count) in packages {
        let advisories = if count == 1 { "advisory" } else { "advisories" };
        let line = format!("{package} {installed}: {count} {advisories}");
        writeln!(out, "  {}", text::printable(&line))?;
    }
    io::stdout().lock().write_all(&out)?;
    Ok(match host.status {
        HostStatus::Clean | HostStatus::Decommissioned => Done::Nothing,
        HostStatus::Affected | HostStatus::Unknown => Done::Findings,
    })
}

fn write_host(host: &HostAnswer, out: &mut dyn Write) -> io::Result<()> {
    let system = host.system.as_deref().unwrap_or("an unknown system");
    write!(out, "{}: {}", host.name, text::printable(system))?;
    match host.facts_as_of {
        Some(at) => writeln!(out, ", facts of {at}")?,
        None => writeln!(out, ", never seen")?,
    }
    for (kind, reason) in &host.reasons {
        writeln!(out, "  {}: {}", kind.name(), text::printable(reason))?;
    }
    for limitation in &host.limitations {
        writeln!(out, "  not seen: {}", text::printable(limitation))?;
    }
    Ok(())
}

fn write_finding(finding: &Finding, answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let verdict = &finding.verdict;
    let evidence = &verdict.evidence;
    writeln!(
        out,
        "\n{} on {}: {}",
        verdict.advisory,
        text::printable(&verdict.package),
        verdict.status
    )?;
    let mut line = |name: &str, value: &str| -> io::Result<()> {
        writeln!(out, "  {name:<12} {}", text::printable(value))
    };
    if !verdict.title.is_empty() {
        line("title", &verdict.title)?;
    }
    if !verdict.aliases.is_empty() {
        let names: Vec<&str> = verdict
            .aliases
            .iter()
            .map(mailkeep_model::AdvisoryId::as_str)
            .collect();
        line("aliases", &names.join(", "))?;
    }
    line("because", &evidence.reason)?;
    line("rule", evidence.rule.name())?;
    let feed = answer.feeds.iter().find(|f| f.status.id == evidence.source);
    let as_of = feed
        .map(|f| format!(", as of {}", f.status.as_of))
        .unwrap_or_default();
    let stale = if evidence.source_stale {
        " (STALE OR PARTLY READ)"
    } else {
        ""
    };
    line("source", &format!("{}{as_of}{stale}", evidence.source))?;
    line(
        "installed",
        &format!("{} {}", verdict.platform, verdict.installed),
    )?;
    line("binaries", &verdict.binaries.join(", "))?;
    if let Some(compared) = &evidence.compared {
        let sign = match compared.ordering {
            Ordering::Less => "<",
            Ordering::Equal => "=",
            Ordering::Greater => ">",
        };
        line(
            "compared",
            &format!("{} {sign} {}", compared.installed, compared.with),
        )?;
    }
    if let Some(fixed) = &verdict.fixed {
        line("fixed in", fixed)?;
    }
    line("surface", verdict.surface.name())?;
    line("severity", finding.severity.name())?;
    if let Some(score) = finding.score {
        // The score may come from a record of the CVE id, where the deciding feed gives no vector.
        let vector = verdict.cvss.as_deref().unwrap_or("(of the CVE record)");
        line("CVSS", &format!("{score:.1} {vector}"))?;
    }
    line(
        "KEV",
        if finding.kev {
            "yes: known to be exploited"
        } else {
            "no"
        },
    )?;
    if let Some(epss) = finding.epss {
        line("EPSS", &format!("{epss:.5}"))?;
    }
    if let Some(decision) = finding.decision {
        line("SSVC", decision.name())?;
    }
    if let Some(lane) = finding.lane {
        line("lane", lane.name())?;
        let deadline = finding
            .deadline
            .map_or("next regular upgrade".to_owned(), |d| d.to_string());
        line("due", &deadline)?;
    }
    if let Some(owner) = &finding.owner {
        line("owner", owner.as_str())?;
    }
    for note in &evidence.notes {
        line("note", note)?;
    }
    for other in &evidence.others {
        line("also", &format!("{}: {}", other.source, other.says))?;
    }
    Ok(())
}
