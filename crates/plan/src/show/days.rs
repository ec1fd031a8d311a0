//! A plan cut into regions and civil days.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use mailkeep_model::{
    HostName, Plan, PlanStep, PlannedRegion, RegionName, ServiceName, Stage, Wave,
};

use super::{MAX_STRIPS, words};
use crate::check::capacity::levels;
use crate::check::clock::{Clock, Stretch};

/// Days of one region drawn; a plan that has more is beyond a picture.
const MAX_DAYS: usize = 62;

/// Regions drawn.
const MAX_REGIONS: usize = 200;

/// What is drawn.
pub(super) struct Picture<'a> {
    pub(super) plan: &'a Plan,
    /// The pilot first, then by their first step.
    pub(super) regions: Vec<Region<'a>>,
    /// Regions beyond what a picture can show.
    pub(super) regions_not_drawn: usize,
    /// Start of the first step and end of the last, if there is one.
    pub(super) span: Option<Stretch>,
    /// Services with a minimum over all regions.
    pub(super) totals: Vec<Level<'a>>,
}

/// One region with its days.
pub(super) struct Region<'a> {
    pub(super) name: &'a RegionName,
    pub(super) planned: Option<&'a PlannedRegion>,
    pub(super) clock: Clock,
    pub(super) steps: Vec<&'a PlanStep>,
    /// Waves of the region, with their numbers.
    pub(super) waves: Vec<(usize, &'a Wave)>,
    pub(super) days: Vec<Day<'a>>,
    /// Days with steps that are not drawn.
    pub(super) not_drawn: usize,
    pub(super) levels: Vec<Level<'a>>,
}

/// A civil day of a region on which something is done.
pub(super) struct Day<'a> {
    pub(super) date: Date,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// In the order of the plan.
    pub(super) steps: Vec<&'a PlanStep>,
    pub(super) windows: Vec<Stretch>,
    /// Why there should be no maintenance, if there should be none.
    pub(super) blackout: Option<String>,
}

/// How many hosts of a service are in service, over time.
pub(super) struct Level<'a> {
    pub(super) service: &'a ServiceName,
    /// Hosts that carry it, in service or not.
    pub(super) hosts: usize,
    pub(super) minimum: u32,
    /// In service before the first step.
    before: u32,
    /// In service from each moment on.
    changes: Vec<(Timestamp, u32)>,
}

impl<'a> Picture<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        let step_of: BTreeMap<&HostName, &PlanStep> =
            plan.steps.iter().map(|step| (&step.host, step)).collect();
        let mut by_region: BTreeMap<&RegionName, Vec<&PlanStep>> = BTreeMap::new();
        for step in plan.steps.iter().filter(|step| step.start < step.end) {
            by_region.entry(&step.region).or_default().push(step);
        }
        let mut regions: Vec<Region<'a>> = by_region
            .into_iter()
            .map(|(name, steps)| Region::new(plan, name, steps, &step_of))
            .collect();
        regions.sort_by_key(|region| {
            let pilot = region.planned.is_some_and(|planned| planned.pilot);
            (
                !pilot,
                region.steps.iter().map(|step| step.start).min(),
                region.name,
            )
        });
        let regions_not_drawn = regions.len().saturating_sub(MAX_REGIONS);
        regions.truncate(MAX_REGIONS);
        let mut left = MAX_STRIPS;
        for region in &mut regions {
            let drawn = region.days.len().min(left);
            region.not_drawn += region.days.len() - drawn;
            region.days.truncate(drawn);
            left -= drawn;
        }
        let drawn = || plan.steps.iter().filter(|step| step.start < step.end);
        let first = drawn().map(|step| step.start).min();
        let last = drawn().map(|step| step.end).max();
        let totals = plan
            .services
            .iter()
            .filter_map(|(name, service)| {
                let minimum = service.minimum_total?;
                let hosts = service.hosts.values().flatten().collect();
                Some(Level::new(plan, name, &hosts, minimum, &step_of))
            })
            .collect();
        Self {
            plan,
            regions,
            regions_not_drawn,
            span: first.zip(last),
            totals,
        }
    }

    /// That there are more regions than are drawn; empty where there are none.
    pub(super) fn regions_left_out(&self) -> String {
        match self.regions_not_drawn {
            0 => String::new(),
            n => format!(
                "{} beyond what a picture can show; the table on a terminal has them.",
                words::count(n, "more region", "more regions")
            ),
        }
    }

    /// The stage of a step.
    pub(super) fn stage(&self, step: &PlanStep) -> Option<Stage> {
        let number = usize::try_from(step.wave).ok()?;
        self.plan.waves.get(number).map(|wave| wave.stage)
    }
}

impl<'a> Region<'a> {
    fn new(
        plan: &'a Plan,
        name: &'a RegionName,
        steps: Vec<&'a PlanStep>,
        step_of: &BTreeMap<&HostName, &PlanStep>,
    ) -> Self {
        let planned = plan.regions.get(name);
        let unknown = PlannedRegion {
            time_zone: "UTC".to_owned(),
            owner: None,
            pilot: false,
            windows: Vec::new(),
        };
        // What is wrong with a zone or window is the checker's to say.
        let (mut clock, _problems) = Clock::new(planned.unwrap_or(&unknown));
        let (days, not_drawn) = days(plan, name, &steps, &mut clock);
        let carried: BTreeSet<&ServiceName> = steps.iter().flat_map(|s| &s.services).collect();
        let levels = carried
            .into_iter()
            .filter_map(|service| plan.services.get_key_value(service))
            .filter_map(|(service, of)| {
                let hosts: BTreeSet<&HostName> = of.hosts.get(name)?.iter().collect();
                let minimum = of.minimum.get(name).copied().unwrap_or_default();
                Some(Level::new(plan, service, &hosts, minimum, step_of))
            })
            .collect();
        let of_region = |(_, wave): &(usize, &Wave)| wave.region == *name;
        Self {
            name,
            planned,
            clock,
            steps,
            waves: plan.waves.iter().enumerate().filter(of_region).collect(),
            days,
            not_drawn,
            levels,
        }
    }

    /// Name, time zone, team, number of hosts.
    pub(super) fn heading(&self) -> String {
        let mut text = self.name.to_string();
        if let Some(planned) = self.planned {
            if planned.pilot {
                text.push_str(" (pilot)");
            }
            text.push_str(", ");
            text.push_str(&planned.time_zone);
            if let Some(owner) = &planned.owner {
                text.push_str(", team ");
                text.push_str(owner.as_str());
            }
        }
        text.push_str(", ");
        text.push_str(&words::count(self.steps.len(), "host", "hosts"));
        text
    }

    /// Which days are not shown, and why; empty where none is left out.
    pub(super) fn days_left_out(&self) -> String {
        let mut text = String::new();
        if let (Some(first), Some(last)) = (self.days.first(), self.days.last()) {
            let between = last
                .date
                .since(first.date)
                .map_or(0, |span| span.get_days());
            let between = usize::try_from(between).unwrap_or(0) + 1;
            let without = between.saturating_sub(self.days.len() + self.not_drawn);
            if without > 0 {
                text.push_str("Not shown: ");
                text.push_str(&words::count(without, "day", "days"));
                text.push_str(" between these, on which nothing is done here. ");
            }
        }
        if self.not_drawn > 0 {
            text.push_str(&words::count(self.not_drawn, "more day", "more days"));
            text.push_str(" with steps, beyond what a picture can show; the table has them.");
        }
        text.trim_end().to_owned()
    }
}

fn days<'a>(
    plan: &Plan,
    region: &RegionName,
    steps: &[&'a PlanStep],
    clock: &mut Clock,
) -> (Vec<Day<'a>>, usize) {
    let mut by_date: BTreeMap<Date, Vec<&'a PlanStep>> = BTreeMap::new();
    for step in steps {
        let last = step.end.saturating_sub(SignedDuration::from_nanos(1));
        let last = clock.civil(last.unwrap_or(step.end)).date();
        let first = clock.civil(step.start).date();
        for date in first.series(jiff::Span::new().days(1)).take(MAX_DAYS) {
            if date > last {
                break;
            }
            by_date.entry(date).or_default().push(step);
        }
    }
    let all = by_date.len();
    let midnight = |clock: &Clock, date: Date| clock.reaches(date.at(0, 0, 0, 0));
    let drawn: Vec<Day<'a>> = by_date
        .into_iter()
        .take(MAX_DAYS)
        .filter_map(|(date, steps)| {
            let from = midnight(clock, date)?;
            let to = midnight(clock, date.tomorrow().ok()?)?;
            let blackout = plan.policy.blackouts.iter().find(|blackout| {
                let here = blackout.regions.is_empty() || blackout.regions.contains(region);
                here && (blackout.from..=blackout.to).contains(&date)
            });
            Some(Day {
                date,
                from,
                to,
                steps,
                windows: clock.open_between(from, to, 2),
                blackout: blackout.map(|blackout| blackout.reason.clone()),
            })
        })
        .collect();
    let left_out = all - drawn.len();
    (drawn, left_out)
}

impl<'a> Level<'a> {
    fn new(
        plan: &Plan,
        service: &'a ServiceName,
        hosts: &BTreeSet<&HostName>,
        minimum: u32,
        step_of: &BTreeMap<&HostName, &PlanStep>,
    ) -> Self {
        let present: Vec<&&HostName> = hosts
            .iter()
            .filter(|host| !plan.out_of_service.contains(**host))
            .collect();
        let out: Vec<Stretch> = present
            .iter()
            .filter_map(|host| step_of.get(**host))
            .map(|step| (step.start, step.end))
            .collect();
        let before = u32::try_from(present.len()).unwrap_or(u32::MAX);
        let changes = levels(&out)
            .into_iter()
            .map(|(at, out)| (at, before.saturating_sub(out)))
            .collect();
        Self {
            service,
            hosts: hosts.len(),
            minimum,
            before,
            changes,
        }
    }

    /// The level at the start of a stretch, and its changes within.
    pub(super) fn within(&self, from: Timestamp, to: Timestamp) -> (u32, &[(Timestamp, u32)]) {
        let first = self.changes.partition_point(|(at, _)| *at <= from);
        let last = self.changes.partition_point(|(at, _)| *at < to);
        let start = match first.checked_sub(1).and_then(|n| self.changes.get(n)) {
            Some((_, level)) => *level,
            None => self.before,
        };
        (start, self.changes.get(first..last).unwrap_or_default())
    }

    /// In service when nothing is being done.
    pub(super) fn full(&self) -> u32 {
        self.before
    }

    /// The lowest level of all.
    pub(super) fn lowest(&self) -> u32 {
        let levels = self.changes.iter().map(|(_, level)| *level);
        levels.min().unwrap_or(self.before).min(self.before)
    }
}
