//! A plan, and what the planner says beside it, for a terminal.

use std::collections::BTreeSet;
use std::io::{self, Write};

use jiff::tz::TimeZone;
use mailkeep_model::{Plan, PlanningReport, RegionName, Timestamp, text};
use mailkeep_plan::show;
use serde_json::{Value, json};

use crate::planning::approval::ApprovalState;
use crate::planning::kept::Kept;
use crate::planning::words::{self, count, length, local, utc};

/// Its head and its waves; end and exposure beside their bounds, where the report is at hand.
pub(super) fn plan(
    kept: &Kept,
    report: Option<&PlanningReport>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let plan = &kept.plan;
    head(kept, out)?;
    writeln!(out)?;
    let regions = width(plan.waves.iter().map(|wave| wave.region.as_str()));
    for (at, wave) in plan.waves.iter().enumerate() {
        let steps = plan.steps.iter().filter(|step| place(step.wave) == at);
        let region = plan.regions.get(&wave.region);
        writeln!(
            out,
            "{at:>4}  {:<5}  {:<regions$}  {:>9}  {} to {}  ({})",
            wave.stage.name(),
            wave.region,
            count(steps.count(), "host"),
            local(wave.start, region),
            until(plan, wave.region.as_str(), wave.start, wave.end),
            utc(wave.start),
        )?;
    }
    match report {
        Some(report) => bounds(report, plan, out),
        None => Ok(()),
    }
}

/// End and exposure beside what no plan could beat.
pub(super) fn bounds(report: &PlanningReport, plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    writeln!(
        out,
        "End       {} from its making; no {} could end before {} ({})",
        length(report.end_minutes),
        show::words::as_timely(plan),
        length(report.end_bound_minutes),
        ratio(report.end_minutes, report.end_bound_minutes),
    )?;
    writeln!(
        out,
        "Exposure  {} risk minutes; none could have less than {} ({})",
        report.exposure,
        report.exposure_bound,
        ratio(report.exposure, report.exposure_bound),
    )
}

fn head(kept: &Kept, out: &mut dyn Write) -> io::Result<()> {
    let plan = &kept.plan;
    let title = text::printable_max(&plan.title, 200);
    let drill = match plan.realm {
        mailkeep_model::Realm::Drill => ", a drill",
        mailkeep_model::Realm::Live => "",
    };
    writeln!(
        out,
        "Plan {}, {} lane{drill}: {title}",
        kept.id.short(),
        plan.lane.name()
    )?;
    let regions: BTreeSet<_> = plan.steps.iter().map(|step| &step.region).collect();
    let advisories = match plan.bulletin.len() {
        1 => "1 advisory".to_owned(),
        many => format!("{many} advisories"),
    };
    let parent = match &plan.parent {
        Some(parent) => format!(", in place of {}", parent.short()),
        None => String::new(),
    };
    writeln!(
        out,
        "{advisories}, {} in {}, {}; made {}{parent}",
        count(plan.steps.len(), "host"),
        count(regions.len(), "region"),
        count(plan.variants.len(), "variant"),
        utc(plan.made_at),
    )?;
    if let Some(overriding) = &plan.overriding {
        let reason = text::printable_max(&overriding.reason, 500);
        writeln!(
            out,
            "Ordered by {} against the lane: {reason}",
            overriding.by
        )?;
    }
    if let Some(retries) = show::words::retries(plan) {
        writeln!(out, "It {retries}")?;
    }
    Ok(())
}

/// What is not planned, and which deadlines are not met. Never silent: where there is nothing to say,
/// that is said.
pub(super) fn left_open(
    report: &PlanningReport,
    plan: Option<&Plan>,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out)?;
    if report.not_planned.is_empty() {
        writeln!(out, "Every host with something to do is planned.")?;
    } else {
        writeln!(out, "Not planned ({}):", report.not_planned.len())?;
        let hosts = width(report.not_planned.iter().map(|n| n.host.as_str()));
        for item in &report.not_planned {
            writeln!(
                out,
                "  {:<hosts$}  {}: {}",
                item.host,
                item.reason.name(),
                words::reason(&item.reason)
            )?;
        }
    }
    if report.missed_deadlines.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\nDeadlines that cannot be met ({}):",
        report.missed_deadlines.len()
    )?;
    let hosts = width(report.missed_deadlines.iter().map(|m| m.host.as_str()));
    for missed in &report.missed_deadlines {
        let done = if let Some(end) = missed.planned_end {
            let region = plan
                .and_then(|plan| plan.step_of(&missed.host).map(|step| (plan, step)))
                .and_then(|(plan, step)| plan.regions.get(&step.region));
            format!("done {}", local(end, region))
        } else {
            let mut reasons = report.not_planned.iter();
            let reason = reasons.find(|item| item.host == missed.host);
            let reason = reason.map(|item| format!(" ({})", item.reason.name()));
            format!("not planned{}", reason.unwrap_or_default())
        };
        let remedies: Vec<String> = missed.remedies.iter().map(show::words::remedy).collect();
        let remedies = match (remedies.is_empty(), missed.planned_end) {
            (false, _) => format!("; possible with {}", remedies.join(", or ")),
            (true, Some(_)) => {
                "; nothing that the planner can try would make it possible".to_owned()
            }
            // What keeps it from having a step at all keeps it from being in time.
            (true, None) => String::new(),
        };
        writeln!(
            out,
            "  {:<hosts$}  due {}, {done}{remedies}",
            missed.host, missed.deadline
        )?;
    }
    Ok(())
}

/// Who has agreed, and who still must.
pub(super) fn approvals(state: &ApprovalState, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    for signed in &state.signed {
        let part = part(signed.region.as_ref());
        writeln!(
            out,
            "Approved: {part} by {} on {}, {}",
            signed.team,
            utc(signed.at),
            text::printable(&signed.key)
        )?;
    }
    for invalid in &state.invalid {
        let part = part(invalid.region.as_ref());
        writeln!(
            out,
            "Does not count: {part} by {}: {}",
            invalid.team,
            text::printable(&invalid.why)
        )?;
    }
    if let Some(parent) = &state.inherited_from {
        writeln!(
            out,
            "It moves waves only; the approvals of {} count for all else.",
            parent.short()
        )?;
    }
    if state.is_approved() {
        return writeln!(out, "Approved: it may run.");
    }
    writeln!(out, "Waits for approval: {}", state.missing_in_words())
}

/// Approvals that are missing, for a program.
pub(super) fn missing_json(state: &ApprovalState) -> Value {
    state
        .missing
        .iter()
        .map(|missing| json!({"region": missing.region, "teams": missing.teams}))
        .collect()
}

/// `the whole`, `region sin`.
pub(super) fn part(region: Option<&RegionName>) -> String {
    match region {
        Some(region) => format!("region {region}"),
        None => "the whole".to_owned(),
    }
}

fn place(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn width<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0)
}

fn zone(plan: &Plan, region: &str) -> TimeZone {
    plan.regions
        .get(region)
        .and_then(|region| mailkeep_plan::windows::time_zone(&region.time_zone).ok())
        .unwrap_or(TimeZone::UTC)
}

/// The end of something, with its day where that is another one.
fn until(plan: &Plan, region: &str, start: Timestamp, end: Timestamp) -> String {
    let zone = zone(plan, region);
    let (start, end) = (start.to_zoned(zone.clone()), end.to_zoned(zone));
    let form = if start.date() == end.date() {
        "%H:%M"
    } else {
        "%a %Y-%m-%d %H:%M"
    };
    end.strftime(form).to_string()
}

/// How far something is from what cannot be beaten: `1.000` is the optimum.
fn ratio(found: u64, bound: u64) -> String {
    if found == bound {
        return "the optimum".to_owned();
    }
    if bound == 0 {
        return "-".to_owned();
    }
    // In whole thousandths; the bound is rarely so large that this overflows, and then it is a lot.
    let thousandths = u128::from(found) * 1000 / u128::from(bound);
    format!(
        "{}.{:03} times that",
        thousandths / 1000,
        thousandths % 1000
    )
}
