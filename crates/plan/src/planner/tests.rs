//! Plan tests: a fleet, a plan, the checker's word on it, and what the plan must say.

mod again;
mod bounds;
mod deadlines;
mod properties;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, date};
use jiff::{SignedDuration, Timestamp};
use mailkeep_model::{
    AdvisoryId, Blackout, Drain, FamilySettings, Fleet, Host, HostName, Lane, NotPlanned,
    NotPlannedReason, Plan, PlanStep, Region, RegionName, Service, ServiceName, Stage, Variant,
    Window,
};

use super::{Planned, plan};
use crate::request::{HostWork, Request, variant_of};

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub(super) fn region(name: &str) -> RegionName {
    RegionName::new(name).unwrap()
}

pub(super) fn service(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

/// A fleet in the making, and what is asked of the planner.
#[derive(Debug, Clone)]
pub(super) struct Bed {
    pub(super) fleet: Fleet,
    pub(super) work: Vec<HostWork>,
    pub(super) now: Timestamp,
    pub(super) lane: Lane,
    pub(super) proven: BTreeSet<HostName>,
    pub(super) failed: BTreeMap<Variant, HostName>,
    pub(super) retries: BTreeSet<HostName>,
    pub(super) out_of_service: BTreeSet<HostName>,
    pub(super) left_out: Vec<NotPlanned>,
    pub(super) left_unpatched: BTreeSet<HostName>,
    pub(super) deadlines: BTreeMap<HostName, Date>,
}

impl Bed {
    pub(super) fn new(now: &str) -> Self {
        Self {
            fleet: Fleet::default(),
            work: Vec::new(),
            now: at(now),
            lane: Lane::Regular,
            proven: BTreeSet::new(),
            failed: BTreeMap::new(),
            retries: BTreeSet::new(),
            out_of_service: BTreeSet::new(),
            left_out: Vec::new(),
            left_unpatched: BTreeSet::new(),
            deadlines: BTreeMap::new(),
        }
    }

    pub(super) fn region(&mut self, name: &str, zone: &str, rule: &str, minutes: i64) {
        let declared = Region {
            time_zone: zone.to_owned(),
            owner: None,
            windows: vec![Window {
                rrule: rule.to_owned(),
                duration: SignedDuration::from_mins(minutes),
            }],
            pilot: false,
        };
        self.fleet.regions.insert(region(name), declared);
    }

    pub(super) fn pilot(&mut self, name: &str) {
        self.fleet.regions.get_mut(&region(name)).unwrap().pilot = true;
    }

    pub(super) fn minimum(&mut self, name: &str, everywhere: u32) {
        let declared = self.fleet.services.entry(service(name)).or_default();
        declared.minimum_everywhere = Some(everywhere);
    }

    /// Hosts `SERVICE-N.REGION`, each with work.
    pub(super) fn hosts(&mut self, home: &str, carries: &str, family: &str, count: u32) {
        self.fleet.services.entry(service(carries)).or_default();
        for n in 1..=count {
            let name = host(&format!("{carries}-{n}.{home}"));
            let declared = Host {
                region: Some(region(home)),
                services: [service(carries)].into(),
                family: Some(family.to_owned()),
                ..Host::default()
            };
            self.fleet.hosts.insert(name.clone(), declared);
            let closes = AdvisoryId::new("CVE-2026-40001").unwrap();
            let versions = ("1-1", "1-2");
            let work = HostWork::simulated(name, family, versions, closes, self.now);
            self.work.push(work);
        }
        self.work.sort_by(|a, b| a.host.cmp(&b.host));
    }

    pub(super) fn work(&mut self, name: &str) -> &mut HostWork {
        let place = self.work.iter().position(|w| w.host == host(name)).unwrap();
        &mut self.work[place]
    }

    /// What kind of change its work is.
    fn change(&mut self, name: &str) -> Variant {
        let work = self.work(name).clone();
        variant_of(&self.fleet, &work)
    }

    pub(super) fn request(&self) -> Request<'_> {
        Request {
            lane: self.lane,
            bulletin: [AdvisoryId::new("CVE-2026-40001").unwrap()].into(),
            left_out: self.left_out.clone(),
            left_unpatched: self.left_unpatched.clone(),
            deadlines: self.deadlines.clone(),
            proven: self.proven.clone(),
            failed: self.failed.clone(),
            retries: self.retries.clone(),
            out_of_service: self.out_of_service.clone(),
            ..Request::drill("a test", self.now, &self.fleet, self.work.clone())
        }
    }

    /// Plans, and asks the checker.
    pub(super) fn plan(&self) -> Planned {
        let planned = plan(&self.request());
        is_sound(&planned);
        planned
    }
}

/// The checker finds nothing broken, and no bound is above what was reached.
pub(super) fn is_sound(planned: &Planned) {
    let report = &planned.report;
    assert!(report.end_bound_minutes <= report.end_minutes, "{report:?}");
    assert!(report.exposure_bound <= report.exposure, "{report:?}");
    if let Some(plan) = &planned.plan {
        let broken: Vec<String> = crate::check(plan)
            .iter()
            .filter(|breach| breach.is_broken())
            .map(ToString::to_string)
            .collect();
        assert!(broken.is_empty(), "{broken:#?}\n{plan:#?}");
        let end = plan.end().unwrap().duration_since(plan.made_at);
        assert_eq!(u64::try_from(end.as_mins()).unwrap(), report.end_minutes);
    }
}

fn step<'a>(planned: &'a Planned, name: &str) -> &'a PlanStep {
    let plan = planned.plan.as_ref().unwrap();
    plan.step_of(&host(name))
        .unwrap_or_else(|| panic!("{name} has no step"))
}

fn stage_of(plan: &Plan, step: &PlanStep) -> Stage {
    plan.waves[usize::try_from(step.wave).unwrap()].stage
}

fn reason<'a>(planned: &'a Planned, name: &str) -> &'a NotPlannedReason {
    let found = planned
        .report
        .not_planned
        .iter()
        .find(|n| n.host == host(name));
    &found
        .unwrap_or_else(|| panic!("{name} is in no report"))
        .reason
}

const NIGHTLY: &str = "FREQ=DAILY;BYHOUR=1";

/// Two regions, three servers of one service in each, two must stay.
fn two_regions() -> Bed {
    let mut bed = Bed::new("2026-11-22T12:00:00Z");
    bed.region("eu", "Europe/Berlin", NIGHTLY, 180);
    bed.region("us", "America/New_York", NIGHTLY, 180);
    bed.pilot("eu");
    bed.hosts("eu", "mx", "postfix", 3);
    bed.hosts("us", "mx", "postfix", 3);
    bed.minimum("mx", 2);
    bed
}

#[test]
fn minimum_in_service_is_never_undercut() {
    let mut bed = two_regions();
    bed.lane = Lane::Emergency;
    for lane in [Lane::Emergency, Lane::Regular] {
        bed.lane = lane;
        let planned = bed.plan();
        let plan = planned.plan.as_ref().unwrap();
        assert_eq!(plan.steps.len(), 6);
        for one in &plan.steps {
            for other in plan
                .steps
                .iter()
                .filter(|s| s.region == one.region && s.host != one.host)
            {
                assert!(
                    one.end <= other.start || other.end <= one.start,
                    "{one:?} {other:?}"
                );
            }
        }
    }
}

#[test]
fn last_server_of_a_service_is_never_drained() {
    let mut bed = Bed::new("2026-11-22T12:00:00Z");
    bed.region("eu", "Europe/Berlin", NIGHTLY, 180);
    bed.hosts("eu", "mx", "postfix", 1);
    let planned = bed.plan();
    assert!(planned.plan.is_none());
    assert_eq!(
        reason(&planned, "mx-1.eu"),
        &NotPlannedReason::MinimumInService {
            service: service("mx"),
            region: None,
            in_service: 1,
            minimum: 1,
        }
    );
}

#[test]
fn a_declared_minimum_of_none_lets_the_last_server_go() {
    let mut bed = Bed::new("2026-11-22T12:00:00Z");
    bed.region("eu", "Europe/Berlin", NIGHTLY, 180);
    bed.hosts("eu", "mx", "postfix", 1);
    bed.minimum("mx", 0);
    assert_eq!(bed.plan().plan.unwrap().steps.len(), 1);
}

#[test]
fn a_server_already_out_of_service_counts_for_no_minimum() {
    let mut bed = two_regions();
    bed.out_of_service.insert(host("mx-3.us"));
    let planned = bed.plan();
    for name in ["mx-1.us", "mx-2.us"] {
        assert_eq!(reason(&planned, name).name(), "minimum-in-service");
    }
    assert_eq!(reason(&planned, "mx-3.us").name(), "unreachable");
    assert_eq!(planned.plan.unwrap().steps.len(), 3);
}

#[test]
fn the_minimum_over_all_regions_holds_across_them() {
    let mut bed = two_regions();
    bed.lane = Lane::Emergency;
    bed.fleet
        .services
        .get_mut(&service("mx"))
        .unwrap()
        .minimum_total = Some(5);
    let plan = bed.plan().plan.unwrap();
    for pair in plan.steps.windows(2) {
        assert!(pair[0].end <= pair[1].start);
    }
}

#[test]
fn pilot_region_waits_for_the_test_host() {
    let planned = two_regions().plan();
    let plan = planned.plan.as_ref().unwrap();
    let tests: Vec<&PlanStep> = plan
        .steps
        .iter()
        .filter(|s| stage_of(plan, s) == Stage::Test)
        .collect();
    assert_eq!(tests.len(), 1);
    assert_eq!(tests[0].region, region("eu"));
    let pilots: Vec<&PlanStep> = plan
        .steps
        .iter()
        .filter(|s| stage_of(plan, s) == Stage::Pilot)
        .collect();
    assert_eq!(pilots.len(), 2);
    for pilot in &pilots {
        assert!(pilot.start >= tests[0].end + SignedDuration::from_hours(24));
        assert!(pilot.after.contains(&tests[0].host));
    }
    let last = pilots.iter().map(|s| s.end).max().unwrap();
    for rest in plan
        .steps
        .iter()
        .filter(|s| stage_of(plan, s) == Stage::Rest)
    {
        assert!(rest.start >= last + SignedDuration::from_hours(24));
    }
}

#[test]
fn a_declared_test_host_goes_first() {
    let mut bed = two_regions();
    let settings = FamilySettings {
        test_hosts: [host("mx-2.us")].into(),
        ..FamilySettings::default()
    };
    bed.fleet.families.insert("postfix".to_owned(), settings);
    let plan = bed.plan().plan.unwrap();
    assert_eq!(plan.steps[0].host, host("mx-2.us"));
    assert_eq!(stage_of(&plan, &plan.steps[0]), Stage::Test);
}

#[test]
fn each_version_a_host_may_start_from_is_a_variant_with_its_own_test_host() {
    let mut bed = two_regions();
    bed.work("mx-1.us").packages[0].from = "1-0".to_owned();
    bed.work("mx-2.eu").platform = "Debian:13".to_owned();
    let plan = bed.plan().plan.unwrap();
    assert_eq!(plan.variants.len(), 3);
    let tests: BTreeSet<u32> = plan
        .steps
        .iter()
        .filter(|s| stage_of(&plan, s) == Stage::Test)
        .map(|s| s.variant)
        .collect();
    assert_eq!(tests.len(), 3);
}

#[test]
fn filters_are_patched_before_mailboxes() {
    let mut bed = two_regions();
    for home in ["eu", "us"] {
        bed.hosts(home, "filter", "rspamd", 2);
        bed.hosts(home, "mailbox", "dovecot", 2);
    }
    bed.fleet
        .services
        .get_mut(&service("mailbox"))
        .unwrap()
        .after = [service("filter")].into();
    for lane in [Lane::Regular, Lane::Emergency] {
        bed.lane = lane;
        let planned = bed.plan();
        assert_eq!(planned.report.not_planned, []);
        for home in ["eu", "us"] {
            for n in 1..=2 {
                let mailbox = step(&planned, &format!("mailbox-{n}.{home}"));
                for m in 1..=2 {
                    let filter = step(&planned, &format!("filter-{m}.{home}"));
                    assert!(filter.end <= mailbox.start);
                    assert!(mailbox.after.contains(&filter.host));
                }
            }
        }
    }
}

#[test]
fn who_comes_after_a_host_that_is_not_planned_is_not_planned_either() {
    let mut bed = two_regions();
    bed.hosts("us", "filter", "rspamd", 1);
    bed.minimum("filter", 1);
    bed.fleet.services.get_mut(&service("mx")).unwrap().after = [service("filter")].into();
    let planned = bed.plan();
    assert_eq!(reason(&planned, "filter-1.us").name(), "minimum-in-service");
    for n in 1..=3 {
        assert_eq!(
            reason(&planned, &format!("mx-{n}.us")),
            &NotPlannedReason::DependsOnUnplanned {
                host: host("filter-1.us")
            }
        );
    }
}

#[test]
fn who_comes_after_a_host_that_stays_unpatched_waits_for_it() {
    let mut bed = two_regions();
    bed.hosts("us", "filter", "rspamd", 2);
    bed.fleet.services.get_mut(&service("mx")).unwrap().after = [service("filter")].into();
    // Nothing is to be done on the second one, so nobody waits for it.
    for n in 1..=2 {
        let name = host(&format!("filter-{n}.us"));
        bed.work.retain(|work| work.host != name);
        bed.left_out.push(NotPlanned {
            host: name,
            reason: NotPlannedReason::Unreachable {
                why: "no answer".to_owned(),
            },
        });
    }
    bed.left_unpatched.insert(host("filter-1.us"));
    let planned = bed.plan();
    for n in 1..=3 {
        assert_eq!(
            reason(&planned, &format!("mx-{n}.us")),
            &NotPlannedReason::DependsOnUnplanned {
                host: host("filter-1.us")
            }
        );
    }
    bed.left_unpatched.clear();
    let planned = bed.plan();
    assert!(
        planned
            .plan
            .unwrap()
            .steps
            .iter()
            .any(|s| s.host == host("mx-1.us"))
    );
}

/// Six servers, one at a time, on Sundays 01:30 to 03:30 in Berlin.
fn sundays(now: &str) -> Plan {
    let mut bed = Bed::new(now);
    bed.region(
        "eu",
        "Europe/Berlin",
        "FREQ=WEEKLY;BYDAY=SU;BYHOUR=1;BYMINUTE=30",
        120,
    );
    bed.hosts("eu", "mx", "postfix", 7);
    bed.minimum("mx", 6);
    bed.fleet.rollout.regular.soak_test_minutes = 0;
    bed.fleet.rollout.regular.soak_wave_minutes = 0;
    bed.fleet.rollout.step_minutes = 30;
    bed.plan().plan.unwrap()
}

fn on_day(plan: &Plan, day: Date) -> usize {
    let starts = plan
        .steps
        .iter()
        .map(|s| s.start.in_tz("Europe/Berlin").unwrap().date());
    starts.filter(|d| *d == day).count()
}

#[test]
fn a_window_that_clocks_cut_short_holds_fewer_steps() {
    let plan = sundays("2027-03-22T00:00:00Z");
    assert_eq!(on_day(&plan, date(2027, 3, 28)), 2);
    assert_eq!(on_day(&plan, date(2027, 4, 4)), 4);
    assert_eq!(on_day(&plan, date(2027, 4, 11)), 1);
}

#[test]
fn a_window_that_clocks_draw_out_holds_more_steps() {
    let plan = sundays("2027-10-25T00:00:00Z");
    assert_eq!(on_day(&plan, date(2027, 10, 31)), 6);
    assert_eq!(on_day(&plan, date(2027, 11, 7)), 1);
}

#[test]
fn a_window_over_the_end_of_the_week_is_used_on_both_sides() {
    let mut bed = Bed::new("2026-11-22T00:00:00Z");
    bed.region("eu", "Europe/Berlin", "FREQ=WEEKLY;BYDAY=SU;BYHOUR=23", 120);
    bed.hosts("eu", "mx", "postfix", 3);
    bed.minimum("mx", 2);
    bed.fleet.rollout.regular.soak_test_minutes = 0;
    bed.fleet.rollout.regular.soak_wave_minutes = 0;
    let plan = bed.plan().plan.unwrap();
    assert_eq!(plan.steps[0].start, at("2026-11-22T22:00:00Z"));
    assert_eq!(plan.end(), Some(at("2026-11-22T23:30:00Z")));
    assert_eq!(
        plan.waves.len(),
        2,
        "a test wave and the rest, in one window"
    );
}

#[test]
fn nothing_happens_in_a_blackout() {
    let mut bed = two_regions();
    bed.fleet.rollout.blackouts = vec![Blackout {
        from: date(2026, 11, 23),
        to: date(2026, 12, 24),
        regions: [region("eu")].into(),
        reason: "the big sale".to_owned(),
    }];
    let planned = bed.plan();
    let plan = planned.plan.as_ref().unwrap();
    for step in plan.steps.iter().filter(|s| s.region == region("eu")) {
        let day = step.start.in_tz("Europe/Berlin").unwrap().date();
        assert!(day > date(2026, 12, 24), "{day}");
    }
    // The test host is in the blackout's region, and all else waits for it.
    assert!(
        plan.steps
            .iter()
            .all(|s| s.start > at("2026-12-24T23:00:00Z"))
    );
}

#[test]
fn an_emergency_shrinks_windows_and_soak_but_not_the_minimum() {
    let mut bed = two_regions();
    let regular = bed.plan().report.end_minutes;
    bed.lane = Lane::Emergency;
    let planned = bed.plan();
    let plan = planned.plan.as_ref().unwrap();
    // Test, soak, two in turn, soak, three in turn.
    assert_eq!(planned.report.end_minutes, 30 + 15 + 60 + 60 + 90);
    assert!(planned.report.end_minutes < regular);
    assert!(plan.waves.iter().all(|wave| wave.window.is_none()));
    assert_eq!(plan.services[&service("mx")].minimum[&region("us")], 2);
}

#[test]
fn a_step_that_fits_no_window_is_reported() {
    let mut bed = two_regions();
    bed.work("mx-1.us").minutes = Some(181);
    let planned = bed.plan();
    assert_eq!(
        reason(&planned, "mx-1.us"),
        &NotPlannedReason::NoWindow {
            region: region("us"),
            days: 60
        }
    );
    assert_eq!(planned.plan.unwrap().steps.len(), 5);
}

#[test]
fn a_cluster_goes_together_or_not_at_all() {
    let mut bed = two_regions();
    bed.hosts("us", "mailbox", "stalwart", 2);
    let settings = FamilySettings {
        whole_cluster: true,
        ..FamilySettings::default()
    };
    bed.fleet.families.insert("stalwart".to_owned(), settings);
    bed.minimum("mailbox", 0);
    let planned = bed.plan();
    let (one, two) = (
        step(&planned, "mailbox-1.us"),
        step(&planned, "mailbox-2.us"),
    );
    assert_eq!((one.start, one.end), (two.start, two.end));
    bed.minimum("mailbox", 1);
    let planned = bed.plan();
    for name in ["mailbox-1.us", "mailbox-2.us"] {
        assert_eq!(
            reason(&planned, name),
            &NotPlannedReason::MinimumInService {
                service: service("mailbox"),
                region: Some(region("us")),
                in_service: 2,
                minimum: 1,
            }
        );
    }
}

#[test]
fn limits_on_how_many_at_a_time_hold_for_region_team_and_fleet() {
    let mut bed = two_regions();
    bed.lane = Lane::Emergency;
    bed.minimum("mx", 0);
    let unlimited = bed.plan().report.end_minutes;
    assert_eq!(unlimited, 30 + 15 + 30 + 60 + 30);
    bed.fleet.rollout.parallel_region = Some(2);
    assert_eq!(bed.plan().report.end_minutes, unlimited + 30);
    bed.fleet.rollout.parallel_region = None;
    bed.fleet.rollout.parallel_fleet = Some(1);
    assert_eq!(bed.plan().report.end_minutes, unlimited + 90);
    bed.fleet.rollout.parallel_fleet = None;
    bed.fleet.rollout.parallel_team = Some(1);
    assert_eq!(
        bed.plan().report.end_minutes,
        unlimited,
        "no host has a team"
    );
    bed.fleet.global_team = Some(mailkeep_model::TeamName::new("all").unwrap());
    assert_eq!(bed.plan().report.end_minutes, unlimited + 90);
    bed.fleet.rollout.parallel_team = Some(0);
    let planned = bed.plan();
    assert!(planned.plan.is_none());
    assert_eq!(planned.report.not_planned.len(), 6);
}

#[test]
fn a_front_end_goes_while_nobody_is_drained_by_it() {
    let mut bed = two_regions();
    bed.lane = Lane::Emergency;
    bed.hosts("us", "front", "haproxy", 1);
    bed.minimum("front", 0);
    bed.minimum("mx", 0);
    for n in 1..=3 {
        let declared = bed
            .fleet
            .hosts
            .get_mut(&host(&format!("mx-{n}.us")))
            .unwrap();
        declared.drain = Some(Drain::Haproxy {
            front: host("front-1.us"),
            socket: "/run/haproxy/admin.sock".to_owned(),
            backend: "mx".to_owned(),
            server: format!("mx-{n}"),
        });
    }
    let planned = bed.plan();
    let front = step(&planned, "front-1.us");
    for n in 1..=3 {
        let back = step(&planned, &format!("mx-{n}.us"));
        assert!(front.end <= back.start || back.end <= front.start);
    }
}

#[test]
fn the_order_of_the_request_does_not_matter() {
    let mut bed = two_regions();
    let plan = bed.plan().plan;
    bed.work.reverse();
    assert_eq!(bed.plan().plan, plan);
}

#[test]
fn a_host_without_region_and_one_planned_elsewhere_are_reported() {
    let mut bed = two_regions();
    bed.fleet.hosts.get_mut(&host("mx-1.us")).unwrap().region = None;
    let id = mailkeep_model::PlanId::new(format!("sha256:{}", "0".repeat(64))).unwrap();
    bed.minimum("mx", 1);
    let mut request = bed.request();
    request.elsewhere.insert(host("mx-2.us"), id.clone());
    let planned = plan(&request);
    is_sound(&planned);
    assert_eq!(reason(&planned, "mx-1.us"), &NotPlannedReason::NoRegion);
    assert_eq!(
        reason(&planned, "mx-2.us"),
        &NotPlannedReason::PlannedElsewhere { plan: id }
    );
}

#[test]
fn nothing_to_do_is_no_plan_and_no_complaint() {
    let mut bed = two_regions();
    bed.work.clear();
    let planned = bed.plan();
    assert_eq!(planned.plan, None);
    assert_eq!(planned.report, mailkeep_model::PlanningReport::default());
}

#[test]
fn a_second_of_now_does_not_move_the_grid() {
    let mut bed = two_regions();
    bed.lane = Lane::Emergency;
    bed.now = at("2026-11-22T12:00:00.5Z");
    let plan = bed.plan().plan.unwrap();
    assert_eq!(plan.steps[0].start, at("2026-11-22T12:15:00Z"));
    assert_eq!(Service::default().minimum_total, None);
}
