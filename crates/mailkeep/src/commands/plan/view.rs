//! `mailkeep plan list`, `check`, `diff` and `show`: they change nothing.

use std::io::{self, Write as _};

use anyhow::Context as _;
use mailkeep_model::{Status, text};
use mailkeep_plan::DocumentError;
use mailkeep_store::Store;
use serde_json::json;

use super::super::Done;
use super::{fleet_of, report};
use crate::app::{App, LoadedFleet, write_whole};
use crate::cli::plan::{PlanCheckArgs, PlanDiffArgs, PlanListArgs, PlanShowArgs, ShowFormat};
use crate::planning::basis::{self, Progress};
use crate::planning::kept::{self, Kept};
use crate::planning::{approval, mitigation, words};

/// `plan list`.
pub(super) fn list(app: &App, args: &PlanListArgs) -> anyhow::Result<Done> {
    let fleet = app.fleet(args.fleet.as_deref())?;
    let store = app.store(fleet.as_ref())?;
    let mut rows = Vec::new();
    for entry in store.plans()? {
        let kept = kept::by_id(&store, &entry.id)?.context("a plan went away")?;
        let progress = basis::progress(&store, &kept.id, kept.plan.clone())?;
        let stands = stands(app, &store, fleet.as_ref(), &kept, &progress)?;
        rows.push((kept, stands));
    }
    let mut out = Vec::new();
    if args.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(kept, stands)| {
                json!({
                    "id": kept.id,
                    "title": kept.plan.title,
                    "lane": kept.plan.lane,
                    "made_at": kept.plan.made_at,
                    "end": kept.plan.end(),
                    "hosts": kept.plan.steps.len(),
                    "parent": kept.plan.parent,
                    "generation": kept.plan.generation,
                    "state": stands,
                })
            })
            .collect();
        serde_json::to_writer_pretty(&mut out, &rows)?;
        writeln!(out)?;
    } else {
        for (kept, stands) in &rows {
            let plan = &kept.plan;
            let end = plan.end().map_or("-".to_owned(), words::utc);
            writeln!(
                out,
                "{}  {:<9}  {:>10}  made {}  ends {end}  {stands}\n              {}",
                kept.id.short(),
                plan.lane.name(),
                words::count(plan.steps.len(), "host"),
                words::utc(plan.made_at),
                text::printable_max(&plan.title, 80),
            )?;
        }
        if rows.is_empty() {
            writeln!(out, "No plan is kept here; `mailkeep plan` makes one.")?;
        }
    }
    io::stdout().lock().write_all(&out)?;
    Ok(Done::Nothing)
}

/// `plan mitigations`.
pub(super) fn mitigations(app: &App, args: &PlanListArgs) -> anyhow::Result<Done> {
    let fleet = fleet_of(app, args.fleet.as_deref())?;
    let mut store = app.store(Some(&fleet))?;
    let findings = basis::basis(app, &mut store, &fleet, &[])?.answer.findings;
    let in_force = mitigation::in_force(&store)?;
    let found: Vec<_> = findings
        .iter()
        .filter(|finding| finding.verdict.status == Status::Mitigated)
        .filter_map(|finding| {
            let (_, found) = in_force.of(&finding.host, &finding.verdict)?;
            Some((finding, found))
        })
        .collect();
    let mut out = Vec::new();
    if args.json {
        let rows = found.iter().map(|(finding, found)| {
            json!({
                "host": finding.host,
                "advisory": finding.verdict.advisory,
                "package": found.package,
                "since": found.since,
                "plan": found.plan,
                "ends_with": format!("a fix of {}", found.package),
            })
        });
        serde_json::to_writer_pretty(&mut out, &rows.collect::<Vec<_>>())?;
        writeln!(out)?;
    } else {
        for (finding, found) in &found {
            let line = format!(
                "{}  {}  since {} by plan {}; ends with a fix of {}",
                finding.host,
                finding.verdict.advisory,
                words::utc(found.since),
                found.plan.short(),
                found.package
            );
            writeln!(out, "{}", text::printable(&line))?;
        }
        if found.is_empty() {
            writeln!(out, "No mitigation is known to be in force.")?;
        }
    }
    io::stdout().lock().write_all(&out)?;
    Ok(Done::Nothing)
}

/// How a plan stands, in a word or two.
fn stands(
    app: &App,
    store: &dyn Store,
    fleet: Option<&LoadedFleet>,
    kept: &Kept,
    progress: &Progress,
) -> anyhow::Result<String> {
    if progress.ended {
        return Ok("ended".to_owned());
    }
    if progress.started {
        return Ok("started".to_owned());
    }
    if kept.plan.end().is_none_or(|end| end < app.now) {
        return Ok("not started, and its time is over".to_owned());
    }
    let Some(fleet) = fleet else {
        return Ok("not started".to_owned());
    };
    let state = approval::state_of(store, fleet, kept)?;
    Ok(match state.missing.len() {
        0 => "approved".to_owned(),
        missing => format!("{} missing", words::count(missing, "approval")),
    })
}

/// `plan check`.
pub(super) fn check(app: &App, args: &PlanCheckArgs) -> anyhow::Result<Done> {
    let fleet = app.fleet(args.fleet.as_deref())?;
    let store = app.store(fleet.as_ref())?;
    let kept = match kept::find(&store, &args.plan) {
        Ok(kept) => kept,
        Err(error) => match error.downcast_ref::<DocumentError>() {
            // A file that is no plan, or not to the letter, is what this command is asked about.
            Some(fault) => {
                if args.json {
                    let line = json!([{"kind": fault.kind(), "weight": "broken", "found": fault.to_string()}]);
                    serde_json::to_writer_pretty(io::stdout().lock(), &line)?;
                } else {
                    let line = format!("broken: {}: {fault}", fault.kind());
                    writeln!(io::stdout().lock(), "{}", text::printable(&line))?;
                }
                return Ok(Done::Findings);
            }
            None => return Err(error),
        },
    };
    let breaches = mailkeep_plan::check(&kept.plan);
    let mut out = Vec::new();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &breaches)?;
        writeln!(out)?;
    } else {
        for breach in &breaches {
            writeln!(out, "{}", text::printable(&breach.to_string()))?;
        }
        let broken = breaches.iter().filter(|breach| breach.is_broken()).count();
        if broken == 0 {
            writeln!(out, "{}: keeps every rule", kept.id)?;
        } else {
            writeln!(out, "{}: breaks {}", kept.id, words::count(broken, "rule"))?;
        }
    }
    io::stdout().lock().write_all(&out)?;
    Ok(if breaches.iter().any(mailkeep_plan::Breach::is_broken) {
        Done::Findings
    } else {
        Done::Nothing
    })
}

/// `plan diff`.
pub(super) fn diff(app: &App, args: &PlanDiffArgs) -> anyhow::Result<Done> {
    let fleet = app.fleet(args.fleet.as_deref())?;
    let store = app.store(fleet.as_ref())?;
    let before = kept::find(&store, &args.before)?;
    let after = kept::find(&store, &args.after)?;
    let diff = mailkeep_plan::diff(&before.plan, &after.plan);
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &diff)?;
        writeln!(out)?;
    } else {
        write!(out, "{diff}")?;
    }
    Ok(if diff.is_empty() {
        Done::Nothing
    } else {
        Done::Findings
    })
}

/// `plan show`.
pub(super) fn show(app: &App, args: &PlanShowArgs) -> anyhow::Result<Done> {
    let fleet = app.fleet(args.fleet.as_deref())?;
    let store = app.store(fleet.as_ref())?;
    let kept = kept::find(&store, &args.plan)?;
    let found = kept::report(&store, &kept.id)?;
    let mut bytes = Vec::new();
    match args.format {
        ShowFormat::Text => {
            writeln!(bytes, "{}", kept.id)?;
            bytes.extend_from_slice(mailkeep_plan::show::text(&kept.plan).as_bytes());
            if let Some(found) = &found {
                report::bounds(found, &kept.plan, &mut bytes)?;
                report::left_open(found, Some(&kept.plan), &mut bytes)?;
            }
            if let Some(fleet) = &fleet
                && store.plan(&kept.id)?.is_some()
            {
                let state = approval::state_of(&store, fleet, &kept)?;
                report::approvals(&state, &mut bytes)?;
            }
        }
        ShowFormat::Json => bytes = mailkeep_plan::canonical(&kept.plan)?,
        ShowFormat::Html => {
            bytes = mailkeep_plan::show::html(&kept.plan, found.as_ref()).into_bytes();
        }
        ShowFormat::Svg => bytes = mailkeep_plan::show::svg(&kept.plan).into_bytes(),
    }
    match &args.output {
        Some(path) => write_whole(path, &bytes)
            .with_context(|| format!("cannot write the plan to {}", path.display()))?,
        None => io::stdout().lock().write_all(&bytes)?,
    }
    Ok(Done::Nothing)
}
