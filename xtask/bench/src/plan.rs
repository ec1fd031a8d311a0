//! `bench plan`: plans for drawn fleets, beside what no plan can beat.

use std::time::Instant;

use mailkeep_plan::instances::{Family, Instance};
use mailkeep_plan::{check, plan};

use crate::{Options, Outcome};

/// A plan may end this much later than the bound, and have this much more exposure.
const GOAL: f64 = 1.01;

/// A plan of the largest fleets takes no longer, with its bounds and its report, in seconds.
const GOAL_SECONDS: f64 = 2.0;

/// One row an instance.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    println!(
        "{:<26} {:>4} {:>6} {:>5} {:>8} {:>8} {:>7} {:>14} {:>14} {:>7} {:>8}",
        "instance",
        "seed",
        "hosts",
        "late",
        "end",
        "bound",
        "ratio",
        "exposure",
        "bound",
        "ratio",
        "seconds"
    );
    let mut missed = 0;
    for family in Family::ALL {
        for seed in 1..=options.seeds {
            let drawn = Instance::draw(family, seed)?;
            let due = drawn.clone().with_deadlines(seed);
            missed += u32::from(!row(family.name(), seed, &drawn)?);
            missed += u32::from(!row(&format!("{}-due", family.name()), seed, &due)?);
        }
    }
    println!(
        "\nratio: goal {GOAL}; seconds: goal {GOAL_SECONDS}, plan, bounds and report; {missed} missed"
    );
    Ok(())
}

/// Whether the goals are met.
fn row(name: &str, seed: u64, instance: &Instance) -> Outcome<bool> {
    let request = instance.request();
    let begun = Instant::now();
    let planned = plan(&request);
    let seconds = begun.elapsed().as_secs_f64();
    let report = &planned.report;
    let made = planned.plan.as_ref().ok_or("there is no plan")?;
    if let Some(breach) = check(made).iter().find(|breach| breach.is_broken()) {
        return Err(format!("{name} {seed}: {breach}").into());
    }
    if !report.not_planned.is_empty() {
        return Err(format!("{name} {seed}: hosts without a step").into());
    }
    let end = ratio(report.end_minutes, report.end_bound_minutes);
    let exposure = ratio(report.exposure, report.exposure_bound);
    let met = end <= GOAL && exposure <= GOAL && seconds <= GOAL_SECONDS;
    println!(
        "{:<26} {:>4} {:>6} {:>5} {:>6.1} h {:>6.1} h {:>7.4} {:>14} {:>14} {:>7.4} {:>8.3}{}",
        name,
        seed,
        made.steps.len(),
        report.missed_deadlines.len(),
        hours(report.end_minutes),
        hours(report.end_bound_minutes),
        end,
        report.exposure,
        report.exposure_bound,
        exposure,
        seconds,
        if met { "" } else { "  MISSED" },
    );
    Ok(met)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn ratio(reached: u64, bound: u64) -> f64 {
    reached as f64 / bound.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn hours(minutes: u64) -> f64 {
    minutes as f64 / 60.0
}
