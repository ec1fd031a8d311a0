//! `mailkeep rollout report`: for an auditor.

use std::io::{self, Write};

use anyhow::Context as _;
use mailkeep_model::{HostState, text};
use mailkeep_rollout::evidence::{Evidence, HostEvidence};

use super::view::{moment, span};
use super::{account_with, beside, html, open, status, view};
use crate::app::{App, write_whole};
use crate::cli::rollout::{ReportArgs, ReportFormat};
use crate::commands::Done;
use crate::planning::kept;

pub(super) fn run(app: &App, args: &ReportArgs) -> anyhow::Result<Done> {
    let (fleet, store) = open(app, args.fleet.as_deref())?;
    let kept = kept::find(&store, &args.plan)?;
    let beside = beside(&store, fleet.as_ref(), &kept)?;
    let told = account_with(&store, &kept, beside, app.now)?;
    let mut bytes = Vec::new();
    match args.format {
        ReportFormat::Html => html::write(&told, &mut bytes)?,
        ReportFormat::Json => {
            serde_json::to_writer_pretty(&mut bytes, &told)?;
            bytes.push(b'\n');
        }
        ReportFormat::Text => write_text(&told, &mut bytes)?,
    }
    match &args.output {
        Some(path) => write_whole(path, &bytes)
            .with_context(|| format!("cannot write the report {}", path.display()))?,
        None => io::stdout().lock().write_all(&bytes)?,
    }
    Ok(status::done(told.state))
}

/// Since when a host was exposed, until when, and for how long.
pub(super) fn exposure(host: &HostEvidence) -> String {
    match (host.exposed_since, host.exposure_closed_at) {
        (Some(since), Some(until)) => format!(
            "{} to {} ({})",
            moment(Some(since)),
            moment(Some(until)),
            span(until.duration_since(since).as_secs().max(0))
        ),
        (Some(since), None) => format!("since {}, NOT CLOSED", moment(Some(since))),
        (None, Some(until)) => format!(
            "closed {} (no check recorded its beginning)",
            moment(Some(until))
        ),
        (None, None) => "NOT CLOSED (no check recorded its beginning)".to_owned(),
    }
}

/// The evidence in plain text. Every text from outside is made printable here.
fn write_text(told: &Evidence, out: &mut Vec<u8>) -> io::Result<()> {
    let mut line = |words: &str| -> io::Result<()> { writeln!(out, "{}", text::printable(words)) };
    line("ROLLOUT REPORT")?;
    for words in view::head(told) {
        line(&words)?;
    }
    line(&format!(
        "as of {}; plan id {}",
        moment(Some(told.as_of)),
        told.plan
    ))?;
    if let Some(parent) = &told.parent {
        line(&format!("replaces {parent}"))?;
    }
    let bulletin: Vec<&str> = told
        .bulletin
        .iter()
        .map(mailkeep_model::AdvisoryId::as_str)
        .collect();
    line(&format!("answers {}", bulletin.join(", ")))?;
    line("")?;
    line("APPROVED BY")?;
    for approval in &told.approvals {
        let part = approval.region.as_ref().map_or_else(
            || "the whole".to_owned(),
            |region| format!("region {region}"),
        );
        line(&format!(
            "  {} for {part}, {}: {}",
            approval.team,
            moment(Some(approval.at)),
            approval
                .verified
                .as_deref()
                .unwrap_or("signature not looked at")
        ))?;
    }
    if told.approvals.is_empty() {
        line("  nobody")?;
    }
    line("")?;
    line("ORDERS")?;
    for order in &told.orders {
        let mut words = format!("  {} {}", moment(Some(order.at)), order.what);
        if let Some(by) = &order.by {
            words.push_str(" by ");
            words.push_str(by);
        }
        if let Some(why) = &order.why {
            words.push_str(": ");
            words.push_str(why);
        }
        line(&words)?;
    }
    for host in &told.hosts {
        line("")?;
        line(&format!(
            "{} ({}, {}{}): {}",
            host.host,
            host.region,
            host.family,
            host.owner
                .as_ref()
                .map(|owner| format!(", {owner}"))
                .unwrap_or_default(),
            host.state.name().to_uppercase()
        ))?;
        if let Some(trouble) = &host.trouble
            && host.state != HostState::Proven
        {
            line(&format!("  why       {trouble}"))?;
        }
        for change in &host.packages {
            line(&format!(
                "  package   {} {} to {}",
                change.name, change.from, change.to
            ))?;
        }
        line(&format!("  exposed   {}", exposure(host)))?;
        line(&format!(
            "  drained {}, patched {}, proven {}, back {}; out of service {}",
            moment(host.drained_at),
            moment(host.patched_at),
            moment(host.proven_at),
            moment(host.returned_at),
            span(host.seconds_out_of_service)
        ))?;
        for act in &host.acts {
            line(&format!(
                "  {} {:12} {}{}{}",
                moment(Some(act.begun)),
                act.act.name(),
                act.outcome.as_deref().unwrap_or("no end recorded"),
                if act.tries > 1 {
                    format!(" after {} tries", act.tries)
                } else {
                    String::new()
                },
                act.detail
                    .as_ref()
                    .map(|detail| format!(": {detail}"))
                    .unwrap_or_default()
            ))?;
            for seen in &act.seen {
                line(&format!("      {seen}"))?;
            }
        }
    }
    if !told.oddities.is_empty() {
        line("")?;
        line("EVENTS THAT FIT NO STATE")?;
        for oddity in &told.oddities {
            line(&format!("  {oddity}"))?;
        }
    }
    line("")?;
    for (service, ledger) in &told.ledger_by_service {
        line(&format!(
            "{service}: {}",
            mailkeep_rollout::ledger::line(ledger)
        ))?;
    }
    line(&view::ledger(told).unwrap_or_else(|| "no messages were counted".to_owned()))?;
    line(&told.ledger_line())
}
