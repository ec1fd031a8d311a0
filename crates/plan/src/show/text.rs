//! A plan as a table for a terminal.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use mailkeep_model::text::printable;
use mailkeep_model::{AdvisoryId, Plan, PlanStep, RegionName, ServiceName, Wave};

use super::escape::put;
use super::words;
use crate::check::clock::Clock;

/// A plan for a terminal: what it is, what it changes, then wave by wave in order, host by host, with
/// local time and UTC. Plain text without colour; names are made printable.
pub fn text(plan: &Plan) -> String {
    let mut out = String::new();
    head(&mut out, plan);
    put!(out, "\nWhat changes\n");
    for (number, variant) in plan.variants.iter().enumerate() {
        put!(
            out,
            "  [{}] {} on {}: {}\n",
            number,
            printable(&variant.family),
            printable(&variant.platform),
            printable(&words::variant(variant))
        );
    }
    let clocks: BTreeMap<&RegionName, Clock> = plan
        .regions
        .iter()
        .map(|(name, region)| (name, Clock::new(region).0))
        .collect();
    let mut by_wave: BTreeMap<u32, Vec<&PlanStep>> = BTreeMap::new();
    for step in &plan.steps {
        by_wave.entry(step.wave).or_default().push(step);
    }
    for (number, wave) in plan.waves.iter().enumerate() {
        let steps = u32::try_from(number).ok().and_then(|n| by_wave.remove(&n));
        one_wave(
            &mut out,
            plan,
            number,
            wave,
            &steps.unwrap_or_default(),
            &clocks,
        );
    }
    for (number, steps) in by_wave {
        put!(out, "\nNo wave {}, which these name\n", number);
        table(&mut out, plan, &steps, &clocks);
    }
    out
}

fn head(out: &mut String, plan: &Plan) {
    put!(out, "{}\n", printable(&plan.title));
    put!(
        out,
        "{} realm, {} lane, generation {}, made {} UTC\n",
        plan.realm.name(),
        words::lane(plan.lane),
        plan.generation,
        words::moment(plan.made_at, &TimeZone::UTC)
    );
    if let Some(order) = &plan.overriding {
        put!(
            out,
            "lane ordered by {}: {}\n",
            order.by,
            printable(&order.reason)
        );
    }
    if let Some(retries) = words::retries(plan) {
        put!(out, "{retries}\n");
    }
    let bulletin: Vec<&str> = plan.bulletin.iter().map(AdvisoryId::as_str).collect();
    if !bulletin.is_empty() {
        put!(out, "answers {}\n", bulletin.join(", "));
    }
    put!(
        out,
        "{} in {}, {}",
        words::count(plan.steps.len(), "host", "hosts"),
        words::count(plan.regions.len(), "region", "regions"),
        words::count(plan.waves.len(), "wave", "waves")
    );
    let first = plan.steps.iter().map(|step| step.start).min();
    if let (Some(first), Some(last)) = (first, plan.end()) {
        put!(
            out,
            ", {} to {} UTC ({})",
            words::moment(first, &TimeZone::UTC),
            words::moment(last, &TimeZone::UTC),
            words::duration(last.duration_since(first))
        );
    }
    put!(out, "\n");
}

fn one_wave(
    out: &mut String,
    plan: &Plan,
    number: usize,
    wave: &Wave,
    steps: &[&PlanStep],
    clocks: &BTreeMap<&RegionName, Clock>,
) {
    put!(
        out,
        "\nWave {}: {} in {}, {}\n",
        number,
        wave.stage.name(),
        wave.region,
        words::count(steps.len(), "host", "hosts")
    );
    let span = |clock: &dyn Fn(jiff::Timestamp) -> jiff::civil::DateTime, from, to| {
        let (from, to) = (clock(from), clock(to));
        let end = if from.date() == to.date() {
            words::clock(to.time())
        } else {
            format!("{}, {}", words::day(to.date()), words::clock(to.time()))
        };
        format!(
            "{}, {} to {end}",
            words::day(from.date()),
            words::clock(from.time())
        )
    };
    let utc = |at| TimeZone::UTC.to_datetime(at);
    if let (Some(clock), Some(region)) = (clocks.get(&wave.region), plan.regions.get(&wave.region))
    {
        let local = |at| clock.civil(at);
        put!(
            out,
            "  {} local ({})\n",
            span(&local, wave.start, wave.end),
            printable(&region.time_zone)
        );
        put!(out, "  {} UTC\n", span(&utc, wave.start, wave.end));
        if let Some(window) = wave.window {
            put!(
                out,
                "  window {} local\n",
                span(&local, window.opens, window.closes)
            );
        }
    } else {
        put!(out, "  {} UTC\n", span(&utc, wave.start, wave.end));
    }
    table(out, plan, steps, clocks);
}

fn table(
    out: &mut String,
    plan: &Plan,
    steps: &[&PlanStep],
    clocks: &BTreeMap<&RegionName, Clock>,
) {
    let mut rows = vec![[
        "LOCAL".to_owned(),
        "UTC".to_owned(),
        "HOST".to_owned(),
        "SERVICES".to_owned(),
        "DRAIN".to_owned(),
        "CHANGE".to_owned(),
    ]];
    for step in steps {
        let utc = TimeZone::UTC.to_datetime(step.start);
        let local = clocks.get(&step.region).map(|clock| {
            let (from, to) = (clock.civil(step.start), clock.civil(step.end));
            format!("{}-{}", words::clock(from.time()), words::clock(to.time()))
        });
        let services: Vec<&str> = step.services.iter().map(ServiceName::as_str).collect();
        let place = usize::try_from(step.variant).unwrap_or(usize::MAX);
        let change = plan.variants.get(place).map_or_else(
            || "no such variant".to_owned(),
            |variant| format!("[{}] {}", place, printable(&words::variant_short(variant))),
        );
        rows.push([
            local.unwrap_or_else(|| "-".to_owned()),
            words::clock(utc.time()),
            step.host.to_string(),
            if services.is_empty() {
                "-".to_owned()
            } else {
                services.join(",")
            },
            printable(&words::drain(&step.drain)).into_owned(),
            change,
        ]);
    }
    let mut widths = [0usize; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in &rows {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(widths) {
            put!(line, " {cell:width$} ");
        }
        put!(out, "{}\n", line.trim_end());
    }
}
