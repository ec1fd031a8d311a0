//! Bounds hold: on small fleets no plan at all is below them.

use jiff::SignedDuration;
use jiff::civil::Date;
use mailkeep_model::{Lane, PlanningReport, Stage};
use proptest::prelude::*;

use super::{Bed, Planned, is_sound};
use crate::instances::{Family, Instance};
use crate::planner::build::Change;
use crate::planner::draft::Draft;
use crate::planner::puzzle::Puzzle;
use crate::planner::schedule::index;
use crate::{bound, plan};

/// Every schedule of a small puzzle by brute force: the earliest end and the least exposure of all.
struct Brute<'a> {
    puzzle: &'a Puzzle,
    /// Group of each task; tasks of one group in a row.
    tasks: Vec<usize>,
    starts: Vec<Vec<usize>>,
    chosen: Vec<usize>,
    /// By group: so many of its tasks must be done by its deadline.
    in_time: Vec<usize>,
    best: Option<(i32, u64)>,
    /// Of those that keep a region's waves apart, too.
    best_in_waves: Option<(i32, u64)>,
}

impl<'a> Brute<'a> {
    /// Of those that have so many tasks of each group in time. Starts beyond `ticks` are left out: they are
    /// worse in every way.
    fn best(puzzle: &'a Puzzle, ticks: usize, in_time: Vec<usize>) -> [(i32, u64); 2] {
        let tasks: Vec<usize> = puzzle
            .groups
            .iter()
            .enumerate()
            .flat_map(|(number, group)| std::iter::repeat_n(number, group.tasks.len()))
            .collect();
        let starts = tasks
            .iter()
            .map(|group| {
                let list = &puzzle.starts[puzzle.groups[*group].starts];
                list.iter()
                    .map(|s| index(s.tick))
                    .filter(|tick| *tick < ticks)
                    .collect()
            })
            .collect();
        let mut brute = Self {
            puzzle,
            tasks,
            starts,
            chosen: Vec::new(),
            in_time,
            best: None,
            best_in_waves: None,
        };
        brute.choose();
        [brute.best, brute.best_in_waves].map(|best| best.expect("a schedule"))
    }

    fn choose(&mut self) {
        let next = self.chosen.len();
        let Some(group) = self.tasks.get(next) else {
            return self.judge();
        };
        // Tasks of one group are alike: in order of start.
        let least = match next.checked_sub(1) {
            Some(last) if self.tasks[last] == *group => self.chosen[last],
            Some(_) | None => 0,
        };
        for tick in self.starts[next].clone() {
            if tick >= least {
                self.chosen.push(tick);
                if self.fits() {
                    self.choose();
                }
                self.chosen.pop();
            }
        }
    }

    /// Whether the last task chosen has room among those before it.
    fn fits(&self) -> bool {
        let last = self.chosen.len() - 1;
        let group = &self.puzzle.groups[self.tasks[last]];
        let from = self.chosen[last];
        group.needs.iter().all(|(row, need)| {
            (from..from + group.ticks).all(|tick| {
                let used: u32 = (0..last)
                    .filter_map(|task| {
                        let other = &self.puzzle.groups[self.tasks[task]];
                        let began = self.chosen[task];
                        let runs = began <= tick && tick < began + other.ticks;
                        let needs = other.needs.iter().find(|(r, _)| r == row);
                        needs.filter(|_| runs).map(|(_, need)| *need)
                    })
                    .sum();
                used + need <= self.puzzle.rows[*row].cap
            })
        })
    }

    fn judge(&mut self) {
        let end = |task: usize| {
            let minutes = self.puzzle.groups[self.tasks[task]].minutes;
            self.puzzle.grid.minute(self.chosen[task]) + minutes
        };
        let done = |barrier: usize| {
            let of_barrier = (0..self.tasks.len()).filter(|task| {
                self.puzzle.groups[self.tasks[*task]]
                    .feeds
                    .contains(&barrier)
            });
            of_barrier
                .map(end)
                .max()
                .unwrap_or(i32::MIN / 2)
                .max(self.puzzle.barriers[barrier].done)
        };
        for (task, group) in self.tasks.iter().enumerate() {
            for wait in &self.puzzle.groups[*group].waits {
                let ready = done(wait.barrier) + wait.soak;
                if self.puzzle.grid.minute(self.chosen[task]) < ready {
                    return;
                }
            }
        }
        for (number, group) in self.puzzle.groups.iter().enumerate() {
            let in_time = (0..self.tasks.len())
                .filter(|task| self.tasks[*task] == number)
                .filter(|task| {
                    group
                        .deadline
                        .is_some_and(|deadline| end(*task) <= deadline)
                });
            if in_time.count() < self.in_time[number] {
                return;
            }
        }
        let last = (0..self.tasks.len()).map(end).max().unwrap_or(0);
        let exposure = (0..self.tasks.len())
            .map(|task| {
                let weight = self.puzzle.groups[self.tasks[task]].weight;
                self.puzzle.grid.elapsed(end(task)) * weight
            })
            .sum();
        let better = |best: Option<(i32, u64)>| {
            let (earliest, exposed) = best.unwrap_or((i32::MAX, u64::MAX));
            Some((earliest.min(last), exposed.min(exposure)))
        };
        self.best = better(self.best);
        if self.keeps_waves_apart() {
            self.best_in_waves = better(self.best_in_waves);
        }
    }
}

impl Brute<'_> {
    /// Hosts of one region, stage and window are a wave, and a region has one wave at a time.
    fn keeps_waves_apart(&self) -> bool {
        let mut waves = std::collections::BTreeMap::new();
        for (task, number) in self.tasks.iter().enumerate() {
            let group = &self.puzzle.groups[*number];
            let starts = &self.puzzle.starts[group.starts];
            let start = starts.iter().find(|s| index(s.tick) == self.chosen[task]);
            let from = self.puzzle.grid.minute(self.chosen[task]);
            let to = from + group.minutes;
            let key = (group.region, group.stage, start.unwrap().occurrence);
            let wave = waves.entry(key).or_insert((from, to));
            *wave = (wave.0.min(from), wave.1.max(to));
        }
        let waves: Vec<_> = waves.into_iter().collect();
        waves.iter().enumerate().all(|(place, (key, wave))| {
            waves[..place].iter().all(|(other_key, other)| {
                let soak = self.puzzle.soak_wave;
                let apart = wave.0 >= other.1 + soak || other.0 >= wave.1 + soak;
                key.0 != other_key.0 || apart
            })
        })
    }
}

/// Two or three regions, one slot a step, hours for windows.
fn small(seed: u64) -> Bed {
    let pick = |from: &[u32], place: u64| {
        let mixed = (seed * 31 + place).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        from[usize::try_from(mixed).unwrap() % from.len()]
    };
    let mut bed = Bed::new("2026-11-22T12:00:00Z");
    bed.region("a", "UTC", "FREQ=DAILY;BYHOUR=12", 90);
    bed.region("b", "UTC", "FREQ=DAILY;BYHOUR=13", 60);
    bed.pilot("a");
    bed.hosts("a", "mx", "postfix", pick(&[1, 2, 3], 1));
    bed.hosts("b", "mx", "postfix", pick(&[1, 2, 3], 2));
    bed.hosts("b", "filter", "rspamd", pick(&[1, 2], 3));
    bed.minimum("mx", 0);
    bed.minimum("filter", 0);
    let services = &mut bed.fleet.services;
    services
        .get_mut(&super::service("mx"))
        .unwrap()
        .minimum_total = Some(pick(&[0, 1], 4));
    if pick(&[0, 1], 5) == 1 {
        services.get_mut(&super::service("mx")).unwrap().after = [super::service("filter")].into();
    }
    bed.fleet.rollout.parallel_fleet =
        [None, Some(1), Some(2)][usize::try_from(pick(&[0, 1, 2], 6)).unwrap()];
    bed.fleet.rollout.slot_minutes = 30;
    bed.fleet.rollout.step_minutes = pick(&[30, 45], 7);
    let rules = &mut bed.fleet.rollout.regular;
    (
        rules.soak_test_minutes,
        rules.soak_pilot_minutes,
        rules.soak_wave_minutes,
    ) = (0, 0, 0);
    for (place, work) in (10..).zip(&mut bed.work) {
        work.risk = pick(&[1, 2, 5], place);
    }
    if pick(&[0, 1], 8) == 1 {
        bed.work("mx-1.b").packages[0].from = "1-0".to_owned();
    }
    bed
}

/// Hosts of one region, one of them out at a time for half an hour, in so many minutes each day; the first one is
/// the test host.
fn one_at_a_time(hosts: u32, minutes: i64) -> Bed {
    let mut bed = Bed::new("2026-11-22T12:00:00Z");
    bed.region("a", "UTC", "FREQ=DAILY;BYHOUR=12", minutes);
    bed.hosts("a", "mx", "postfix", hosts);
    bed.minimum("mx", hosts - 1);
    bed.fleet.rollout.step_minutes = 30;
    let rules = &mut bed.fleet.rollout.regular;
    (rules.soak_test_minutes, rules.soak_wave_minutes) = (0, 0);
    let settings = mailkeep_model::FamilySettings {
        test_hosts: [super::host("mx-1.a")].into(),
        ..mailkeep_model::FamilySettings::default()
    };
    bed.fleet.families.insert("postfix".to_owned(), settings);
    bed
}

/// The bounds of a bed's plan are not above any schedule that is as timely, and its figures not below.
#[track_caller]
fn nothing_is_below(bed: &Bed) -> PlanningReport {
    beside_the_best(bed).report
}

/// The earliest end and the least exposure of some schedules.
type Best = (u64, u64);

struct Beside {
    report: PlanningReport,
    /// Of those that are as timely as the plan.
    all: Best,
    /// Of these, of those that keep waves apart.
    in_waves: Best,
}

/// The same, beside the best. Only where deadlines are kept do the bounds know of waves.
#[track_caller]
fn beside_the_best(bed: &Bed) -> Beside {
    let request = bed.request();
    let draft = Draft::new(&request);
    let (puzzle, tasks) = draft.puzzle(&Change::default());
    let Planned { plan, report } = bed.plan();
    let plan = plan.unwrap();
    let in_time = puzzle.groups.iter().map(|group| {
        let hosts = group.tasks.iter().flat_map(|task| &tasks[*task].hosts);
        let is_in_time = |place: &&usize| {
            let work = draft.candidates[**place].work;
            let end = plan.step_of(&work.host).unwrap().end;
            let until = |day: Date| day.tomorrow().unwrap().in_tz("UTC").unwrap().timestamp();
            work.deadline.is_some_and(|day| end <= until(day))
        };
        hosts.filter(is_in_time).count()
    });
    let in_time: Vec<usize> = in_time.collect();
    let has_kept = in_time.iter().any(|count| *count > 0);
    let last_end = puzzle.grid.minutes_up(plan.end().unwrap());
    let ticks = puzzle.grid.tick_from(last_end) + 1;
    let best = Brute::best(&puzzle, ticks, in_time);
    let [all, in_waves] = best.map(|(end, exposure)| (puzzle.grid.elapsed(end), exposure));
    let (earliest, least) = if has_kept { in_waves } else { all };
    assert!(
        report.end_bound_minutes <= earliest,
        "{report:?}, {earliest}"
    );
    assert!(report.end_minutes >= in_waves.0, "{report:?}, {in_waves:?}");
    assert!(report.exposure_bound <= least, "{report:?}, {least}");
    assert!(report.exposure >= in_waves.1, "{report:?}, {in_waves:?}");
    Beside {
        report,
        all,
        in_waves,
    }
}

#[test]
fn no_schedule_is_below_the_bounds_and_few_are_below_the_plan() {
    let mut best = 0;
    for seed in 0..24u64 {
        let mut bed = small(seed);
        for due in [false, true] {
            let today = bed.now.in_tz("UTC").unwrap().date();
            for (work, days) in bed
                .work
                .iter_mut()
                .zip([None, Some(0), Some(1)].iter().cycle())
            {
                work.deadline = days
                    .filter(|_| due)
                    .map(|days| today + jiff::Span::new().days(days));
            }
            let Beside {
                report, in_waves, ..
            } = beside_the_best(&bed);
            let (earliest, least) = in_waves;
            assert_eq!(report.end_minutes, earliest, "{seed}, {due}: {report:?}");
            best += u32::from(report.exposure == least);
            assert!(
                report.exposure * 10 <= least * 12,
                "{seed}, {due}: {report:?}, {least}"
            );
        }
    }
    assert!(best >= 46, "{best} of 48");
}

#[test]
fn who_waits_for_a_test_behind_a_wave_that_a_deadline_begins_is_bounded_by_the_next_window() {
    // Four starts a night in "b", one of them in time: whoever is due goes before the test of the filters.
    for (filters, soak) in [(2, 0), (2, 15), (3, 0)] {
        let mut bed = Bed::new("2026-11-22T12:00:00Z");
        bed.region("a", "UTC", "FREQ=DAILY;BYHOUR=12", 90);
        bed.region("b", "UTC", "FREQ=DAILY;BYHOUR=23;BYMINUTE=30", 120);
        bed.pilot("a");
        bed.hosts("a", "mx", "postfix", 1);
        bed.hosts("b", "mx", "postfix", 1);
        bed.hosts("b", "filter", "rspamd", filters);
        bed.minimum("mx", 0);
        bed.minimum("filter", 0);
        (
            bed.fleet.rollout.slot_minutes,
            bed.fleet.rollout.step_minutes,
        ) = (30, 30);
        let rules = &mut bed.fleet.rollout.regular;
        (rules.soak_test_minutes, rules.soak_pilot_minutes) = (0, 0);
        rules.soak_wave_minutes = soak;
        for (family, test) in [("postfix", "mx-1.a"), ("rspamd", "filter-1.b")] {
            let settings = mailkeep_model::FamilySettings {
                test_hosts: [super::host(test)].into(),
                ..mailkeep_model::FamilySettings::default()
            };
            bed.fleet.families.insert(family.to_owned(), settings);
        }
        let free = beside_the_best(&bed);
        assert!(free.report.end_minutes < 1440, "in the first night");
        bed.work("mx-1.b").deadline = Some(jiff::civil::date(2026, 11, 22));
        let Beside {
            report,
            all,
            in_waves,
        } = beside_the_best(&bed);
        assert_eq!(report.missed_deadlines, []);
        assert!(all.0 < in_waves.0, "the same night, but for waves");
        assert_eq!(report.end_minutes, in_waves.0, "{report:?}");
        assert_eq!(report.end_bound_minutes, in_waves.0, "{report:?}");
        assert!(
            report.exposure * 1000 <= report.exposure_bound * 1001,
            "{report:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_schedule_that_is_as_timely_is_below_the_bounds(
        seed in 0u64..1_000,
        days in prop::collection::vec(prop::option::of(0i8..3), 8),
    ) {
        let mut bed = small(seed);
        let today = bed.now.in_tz("UTC").unwrap().date();
        for (work, days) in bed.work.iter_mut().zip(days) {
            work.deadline = days.map(|days| today + jiff::Span::new().days(days));
        }
        nothing_is_below(&bed);
    }
}

#[test]
fn what_a_deadline_costs_is_in_the_bound() {
    // One at a time, and one a day: whoever has a deadline goes before who has more risk.
    let mut bed = one_at_a_time(4, 30);
    for (work, risk) in bed.work.iter_mut().zip([1, 1, 5, 5]) {
        work.risk = risk;
    }
    let free = nothing_is_below(&bed);
    let is_near = |report: &PlanningReport| report.exposure_bound * 1000 >= report.exposure * 999;
    assert!(is_near(&free), "{free:?}");
    bed.work("mx-2.a").deadline = Some(jiff::civil::date(2026, 11, 23));
    let bound = nothing_is_below(&bed);
    assert_eq!(bound.missed_deadlines, []);
    // Two of risk 5 a day later, and one of risk 1 two days sooner.
    let day = 24 * 60;
    assert_eq!(bound.exposure, free.exposure + 2 * 5 * day - 2 * day);
    assert!(is_near(&bound), "{bound:?}");
    // Nobody can keep this one, so that it costs nothing.
    bed.work("mx-2.a").deadline = Some(jiff::civil::date(2026, 11, 21));
    assert_eq!(nothing_is_below(&bed).exposure, free.exposure);
}

#[test]
fn bounds_do_not_fall_when_rules_get_stricter() {
    let mut bed = small(3);
    bed.fleet.rollout.parallel_fleet = None;
    let free = bed.plan().report;
    bed.fleet.rollout.parallel_fleet = Some(1);
    let strict = bed.plan().report;
    assert!(free.end_bound_minutes <= strict.end_bound_minutes);
    assert!(free.exposure_bound <= strict.exposure + strict.exposure / 1000);
}

#[test]
fn a_limit_over_all_regions_is_met_by_who_closes_first() {
    // Whoever's window closes first must go first, or it waits for tomorrow.
    let mut bed = Bed::new("2026-11-22T12:00:00Z");
    bed.region("a", "UTC", "FREQ=DAILY;BYHOUR=12", 360);
    bed.region("b", "UTC", "FREQ=DAILY;BYHOUR=12", 150);
    bed.hosts("a", "mx", "postfix", 6);
    bed.hosts("b", "mx", "postfix", 5);
    bed.minimum("mx", 0);
    bed.fleet
        .services
        .get_mut(&super::service("mx"))
        .unwrap()
        .minimum_total = Some(10);
    let rules = &mut bed.fleet.rollout.regular;
    (
        rules.soak_test_minutes,
        rules.soak_pilot_minutes,
        rules.soak_wave_minutes,
    ) = (0, 0, 0);
    for work in bed
        .work
        .iter_mut()
        .filter(|w| w.host.as_str().contains(".a"))
    {
        work.risk = 5;
    }
    // The riskier hosts of `a` would all go first by risk alone.
    let settings = mailkeep_model::FamilySettings {
        test_hosts: [super::host("mx-1.b")].into(),
        ..mailkeep_model::FamilySettings::default()
    };
    bed.fleet.families.insert("postfix".to_owned(), settings);
    let report = bed.plan().report;
    assert_eq!((report.end_minutes, report.end_bound_minutes), (330, 330));
}

#[test]
fn a_drawn_fleet_is_planned_near_the_optimum() {
    for seed in [1, 2] {
        let instance = Instance::draw(Family::Small, seed).unwrap();
        let planned = plan(&instance.request());
        is_sound(&planned);
        let report = &planned.report;
        assert_eq!(report.not_planned, []);
        assert!(
            report.end_minutes * 100 <= report.end_bound_minutes * 101,
            "{report:?}"
        );
        assert!(
            report.exposure * 100 <= report.exposure_bound * 101,
            "{report:?}"
        );
    }
}

#[test]
fn a_plan_made_at_any_hour_is_near_the_optimum() {
    // Windows that are open already, or half over, among them the pilot region's.
    for seed in [1, 2, 3] {
        for hours in (0..24).step_by(3) {
            let mut instance = Instance::draw(Family::Small, seed).unwrap();
            instance.now += SignedDuration::from_hours(hours);
            for work in &mut instance.work {
                work.facts_as_of = instance.now;
            }
            let report = plan(&instance.request()).report;
            assert_eq!(report.not_planned, []);
            assert_eq!(
                report.end_minutes, report.end_bound_minutes,
                "{seed}, {hours}"
            );
            assert!(
                report.exposure * 100 <= report.exposure_bound * 101,
                "{seed}, {hours}: {report:?}"
            );
        }
    }
}

#[test]
fn what_waits_cannot_start_before_the_shortest_way_to_it() {
    let mut bed = super::two_regions();
    bed.lane = Lane::Emergency;
    let request = bed.request();
    let draft = Draft::new(&request);
    let (puzzle, _) = draft.puzzle(&Change::default());
    let releases = bound::releases(&puzzle);
    for (group, release) in puzzle.groups.iter().zip(releases) {
        let expected = match group.stage {
            Stage::Test => i32::MIN / 2,
            Stage::Pilot => 30 + 15,
            // Two hosts of the pilot region, one at a time, and an hour.
            Stage::Rest => 30 + 15 + 60 + 60,
        };
        assert_eq!(release, expected);
    }
}

#[test]
fn whoever_has_a_deadline_waits_for_those_of_more_risk_as_long_as_it_can() {
    // One at a time, four a day: the two that are due tomorrow, and the test host first.
    let mut bed = one_at_a_time(10, 120);
    for work in &mut bed.work {
        work.risk = 5;
    }
    for name in ["mx-2.a", "mx-3.a"] {
        let work = bed.work(name);
        (work.risk, work.deadline) = (1, Some(jiff::civil::date(2026, 11, 23)));
    }
    let Planned { plan, report } = bed.plan();
    assert_eq!(report.missed_deadlines, []);
    assert!(
        report.exposure * 1000 <= report.exposure_bound * 1001,
        "{report:?}"
    );
    let second_day: Vec<String> = plan.unwrap().steps[6..8]
        .iter()
        .map(|step| step.host.to_string())
        .collect();
    assert_eq!(second_day, ["mx-2.a", "mx-3.a"]);
}

#[test]
fn deadlines_that_windows_let_down_leave_a_plan_near_the_optimum() {
    for (family, seed) in [
        (Family::Small, 1),
        (Family::MiddleCapped, 2),
        (Family::MiddleCapped, 3),
    ] {
        let instance = Instance::draw(family, seed).unwrap().with_deadlines(seed);
        let report = plan(&instance.request()).report;
        assert_ne!(report.missed_deadlines, []);
        assert_eq!(
            report.end_minutes,
            report.end_bound_minutes,
            "{}",
            family.name()
        );
        assert!(
            report.exposure * 100 <= report.exposure_bound * 101,
            "{}: {report:?}",
            family.name()
        );
    }
}

#[test]
fn a_plan_that_keeps_deadlines_is_near_the_optimum() {
    for seed in [1, 2, 3] {
        for share in [2, 3, 5] {
            let mut instance = Instance::draw(Family::Small, seed).unwrap();
            let today = instance.now.in_tz("UTC").unwrap().date();
            for (number, work) in (0usize..).zip(&mut instance.work) {
                work.deadline = number.is_multiple_of(share).then_some(today);
            }
            let report = plan(&instance.request()).report;
            assert_eq!(
                report.end_minutes, report.end_bound_minutes,
                "{seed}, {share}"
            );
            assert!(
                report.exposure * 100 <= report.exposure_bound * 101,
                "{seed}, {share}: {report:?}"
            );
        }
    }
}
