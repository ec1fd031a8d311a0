//! `mailkeep plan shift`: a region moves its own waves.

use std::io::{self, Write as _};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Span, SpanRelativeTo};
use mailkeep_model::{Plan, PlannedWindow, RegionName, Timestamp};

use super::super::Done;
use super::{fleet_of, make, report};
use crate::app::App;
use crate::cli::plan::ShiftArgs;
use crate::planning::approval::state_of;
use crate::planning::basis;
use crate::planning::kept::{self, Kept};

/// Runs it.
pub(super) fn run(app: &App, args: &ShiftArgs) -> anyhow::Result<Done> {
    let fleet = fleet_of(app, args.fleet.as_deref())?;
    let mut store = app.store(Some(&fleet))?;
    let kept = kept::find(&store, &args.plan)?;
    let progress = basis::progress(&store, &kept.id, kept.plan.clone())?;
    if progress.started {
        App::warn("refused: the plan was started; pause or abort its rollout, and plan anew");
        return Ok(Done::Findings);
    }
    let first = kept
        .plan
        .steps
        .iter()
        .filter(|step| step.region == args.region)
        .map(|step| step.start)
        .min()
        .with_context(|| format!("the plan has no step in region {}", args.region))?;
    let by = match (&args.by, args.to) {
        (Some(text), _) => length(text)?,
        (None, Some(to)) => to.duration_since(first),
        (None, None) => bail!("by how much? --by 30m, or --to TIME"),
    };
    if by.is_zero() {
        app.say("Nothing is moved.");
        return Ok(Done::Nothing);
    }
    let child = shifted(&kept, &args.region, by, app.now)?;
    if mailkeep_plan::is_only_shift_of(&child, &kept.plan).is_none() {
        let allowed = kept.plan.policy.shift_minutes;
        App::warn(&format!(
            "refused: a region moves its own waves by at most {allowed} minutes, all of them alike; \
             for more, the global team plans anew (mailkeep plan --parent {})",
            kept.id.short()
        ));
        return Ok(Done::Findings);
    }
    let broken = make::broken_rules(&child);
    if !broken.is_empty() {
        for breach in broken {
            App::warn(&format!("refused: {breach}"));
        }
        return Ok(Done::Findings);
    }
    let output = args.output.as_deref();
    let child = make::record_checked(app, &mut store, child, None, true, output)?;
    let mut out = Vec::new();
    report::plan(&child, None, &mut out)?;
    report::approvals(&state_of(&store, &fleet, &child)?, &mut out)?;
    io::stdout().lock().write_all(&out)?;
    app.say(&format!("kept as {}", child.id));
    Ok(Done::Nothing)
}

fn length(text: &str) -> anyhow::Result<SignedDuration> {
    text.parse::<Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .with_context(|| format!("{text:?} is no length of time; write 30m, -2h, or 1d"))
}

/// The child plan. It proposes only; whether it keeps the rules is the checker's to say.
fn shifted(
    kept: &Kept,
    region: &RegionName,
    by: SignedDuration,
    now: Timestamp,
) -> anyhow::Result<Plan> {
    let moved = |at: Timestamp| at.checked_add(by).context("too far");
    let mut child = kept.plan.clone();
    child.parent = Some(kept.id.clone());
    child.generation = kept.plan.generation.saturating_add(1);
    child.made_at = now;
    for step in child.steps.iter_mut().filter(|s| s.region == *region) {
        step.start = moved(step.start)?;
        step.end = moved(step.end)?;
    }
    for wave in child.waves.iter_mut().filter(|w| w.region == *region) {
        wave.start = moved(wave.start)?;
        wave.end = moved(wave.end)?;
        if let Some(window) = wave.window {
            wave.window = Some(window_around(
                &kept.plan, region, window, wave.start, wave.end,
            )?);
        }
    }
    // Steps and waves stand in the order of their times, and steps name waves by place.
    let mut order: Vec<usize> = (0..child.waves.len()).collect();
    order.sort_by_key(|at| {
        child
            .waves
            .get(*at)
            .map(|wave| (wave.start, wave.region.clone()))
    });
    let mut places = vec![0; order.len()];
    for (new, old) in order.iter().enumerate() {
        if let Some(place) = places.get_mut(*old) {
            *place = u32::try_from(new)?;
        }
    }
    child.waves = order
        .iter()
        .filter_map(|at| child.waves.get(*at).cloned())
        .collect();
    for step in &mut child.steps {
        let old = usize::try_from(step.wave)?;
        step.wave = *places
            .get(old)
            .context("a step names no wave of the plan")?;
    }
    child
        .steps
        .sort_by(|a, b| (a.start, &a.host).cmp(&(b.start, &b.host)));
    Ok(child)
}

/// The window that holds a moved wave, else the one it had, so that the checker tells what is wrong.
fn window_around(
    plan: &Plan,
    region: &RegionName,
    had: PlannedWindow,
    start: Timestamp,
    end: Timestamp,
) -> anyhow::Result<PlannedWindow> {
    let Some(region) = plan.regions.get(region) else {
        return Ok(had);
    };
    let zone = mailkeep_plan::windows::time_zone(&region.time_zone)?;
    let openings = mailkeep_plan::windows::openings(&zone, &region.windows, start, end)?;
    Ok(openings
        .into_iter()
        .find(|window| window.opens <= start && window.closes >= end)
        .unwrap_or(had))
}
