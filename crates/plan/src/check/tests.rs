//! Each rule is broken once, and nothing else with it.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use jiff::civil::date;
use mailkeep_model::{
    Blackout, Drain, HostName, Lane, Override, PackageChange, Plan, PlanStep, PlannedWindow,
    RecipeRef, Stage, Window,
};
use proptest::prelude::*;

use super::{Breach, BreachKind as Kind, MAX_BREACHES, check};
use crate::testing::{at, coast, host, region, service};

fn kinds(plan: &Plan) -> Vec<&'static str> {
    let found = check(plan);
    let kinds: BTreeSet<&str> = found.iter().map(|breach| breach.kind.name()).collect();
    kinds.into_iter().collect()
}

/// Breaks a good plan by hand and compares the names of what is found.
#[track_caller]
fn broken_by(kinds_expected: &[Kind], break_it: impl FnOnce(&mut Plan)) -> Vec<Breach> {
    let mut plan = coast();
    break_it(&mut plan);
    let expected: Vec<&str> = kinds_expected.iter().map(|kind| kind.name()).collect();
    assert_eq!(kinds(&plan), expected, "{:#?}", check(&plan));
    check(&plan)
}

fn step<'a>(plan: &'a mut Plan, name: &str) -> &'a mut PlanStep {
    let found = plan
        .steps
        .iter_mut()
        .find(|step| step.host.as_str() == name);
    found.unwrap()
}

fn shift(plan: &mut Plan, name: &str, minutes: i64) {
    let by = SignedDuration::from_mins(minutes);
    let step = step(plan, name);
    (step.start, step.end) = (step.start + by, step.end + by);
}

/// Sorts steps and lets waves begin and end with them again, so that only what was meant is broken.
fn tidy(plan: &mut Plan) {
    plan.steps
        .sort_by(|a, b| (a.start, &a.host).cmp(&(b.start, &b.host)));
    for (number, wave) in plan.waves.iter_mut().enumerate() {
        let of_wave = |step: &&PlanStep| step.wave as usize == number;
        if let Some(start) = plan.steps.iter().filter(of_wave).map(|s| s.start).min() {
            wave.start = start;
        }
        if let Some(end) = plan.steps.iter().filter(of_wave).map(|s| s.end).max() {
            wave.end = end;
        }
    }
}

fn shift_tidily(plan: &mut Plan, name: &str, minutes: i64) {
    shift(plan, name, minutes);
    tidy(plan);
}

#[test]
fn a_good_plan_breaks_nothing() {
    assert_eq!(check(&coast()), []);
}

#[test]
fn every_rule_has_one_name_in_alphabetical_order() {
    let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    assert!(names.is_sorted());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    let json = serde_json::to_string(&Kind::MinimumInService).unwrap();
    assert_eq!(json, "\"minimum-in-service\"");
}

#[test]
fn the_head_of_a_plan_is_sound() {
    broken_by(&[Kind::FormatUnknown], |plan| plan.format = 2);
    broken_by(&[Kind::GenerationMismatch], |plan| plan.generation = 2);
    broken_by(&[Kind::GenerationMismatch], |plan| plan.generation = 0);
    broken_by(&[Kind::BulletinUnsorted], |plan| plan.bulletin.reverse());
    broken_by(&[Kind::BulletinUnsorted], |plan| {
        plan.bulletin.push(plan.bulletin[1].clone());
    });
    broken_by(&[Kind::TzdbDiffers], |plan| plan.tzdb = "2019c".to_owned());
    broken_by(&[Kind::OverrideWithoutReason], |plan| {
        let by = "global".parse().unwrap();
        plan.overriding = Some(Override {
            by,
            reason: " ".to_owned(),
        });
    });
}

#[test]
fn a_child_has_a_parent() {
    let id = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    broken_by(&[], |plan| (plan.generation, plan.parent) = (2, Some(id)));
}

#[test]
fn a_policy_that_allows_nothing_is_unusable() {
    broken_by(&[Kind::PolicyUnusable], |plan| plan.policy.slot_minutes = 0);
    broken_by(&[Kind::BlackoutBackwards], |plan| {
        plan.policy
            .blackouts
            .push(blackout(date(2026, 11, 25), date(2026, 11, 23)));
    });
}

fn blackout(from: jiff::civil::Date, to: jiff::civil::Date) -> Blackout {
    Blackout {
        from,
        to,
        regions: BTreeSet::new(),
        reason: "freeze".to_owned(),
    }
}

#[test]
fn a_variant_is_sound_and_stands_once() {
    let change = |name: &str, to: &str| PackageChange {
        name: name.to_owned(),
        from: "1".to_owned(),
        to: to.to_owned(),
    };
    broken_by(&[Kind::PackageChange], |plan| {
        plan.variants[0].packages.push(change("aa", "2"));
    });
    broken_by(&[Kind::PackageChange], |plan| {
        plan.variants[0].packages.push(change("zz", ""));
    });
    broken_by(&[Kind::PackageChange], |plan| {
        plan.variants[0].packages.push(change("z z", "2"));
    });
    broken_by(&[Kind::MitigationWithoutRecipe], |plan| {
        let advisory = plan.bulletin[0].clone();
        plan.variants[0]
            .mitigates
            .insert(advisory, "postfix".to_owned());
    });
    broken_by(&[Kind::VariantEmpty], |plan| {
        plan.variants[0].packages.clear();
    });
    broken_by(&[Kind::VariantUnused], |plan| {
        let mut more = plan.variants[0].clone();
        more.platform = "Debian:11".to_owned();
        plan.variants.push(more);
    });
    broken_by(&[Kind::VariantTwice], |plan| {
        plan.variants[1] = plan.variants[0].clone();
    });
    let recipe = |path: &str, digits: usize| RecipeRef {
        path: path.to_owned(),
        sha256: "a".repeat(digits),
    };
    broken_by(&[], |plan| {
        plan.variants[0].recipe = Some(recipe("recipes/postfix.toml", 64));
    });
    for bad in [
        recipe("recipes/postfix.toml", 63),
        recipe("../postfix.toml", 64),
        recipe("/etc/postfix.toml", 64),
    ] {
        broken_by(&[Kind::RecipeUnpinned], |plan| {
            plan.variants[0].recipe = Some(bad);
        });
    }
}

#[test]
fn waves_and_steps_fit_together() {
    broken_by(&[Kind::WaveBounds], |plan| {
        plan.waves[5].end = at("2026-11-24T08:00:00Z");
    });
    broken_by(&[Kind::WaveBounds], |plan| {
        let mut empty = plan.waves[7].clone();
        empty.window = Some(PlannedWindow {
            opens: at("2026-11-26T06:00:00Z"),
            closes: at("2026-11-26T09:00:00Z"),
        });
        (empty.start, empty.end) = (at("2026-11-26T06:00:00Z"), at("2026-11-26T07:00:00Z"));
        plan.waves.push(empty);
    });
    broken_by(&[Kind::WaveOrder], |plan| {
        plan.waves.swap(6, 7);
        for step in &mut plan.steps {
            step.wave = match step.wave {
                6 => 7,
                7 => 6,
                other => other,
            };
        }
    });
    broken_by(&[Kind::SoakWave, Kind::WaveTwice], |plan| {
        let again = plan.waves[7].clone();
        step(plan, "box2.boston").wave = 8;
        plan.waves.push(again);
        tidy(plan);
    });
    broken_by(&[Kind::WaveUnknown], |plan| {
        step(plan, "mx2.boston").wave = 99;
    });
    broken_by(&[Kind::VariantUnknown], |plan| {
        step(plan, "mx2.boston").variant = 99;
    });
    broken_by(&[Kind::StepOrder], |plan| plan.steps.swap(13, 14));
}

#[test]
fn a_step_is_sound_in_itself() {
    broken_by(&[Kind::StepEmpty], |plan| {
        let step = step(plan, "mx2.boston");
        step.end = step.start;
    });
    broken_by(&[Kind::OffGrid], |plan| {
        // Between two others, so that only the grid is hurt.
        plan.policy.slot_minutes = 10;
        for step in &mut plan.steps {
            step.end -= SignedDuration::from_mins(10);
        }
        shift(plan, "mx2.boston", 5);
        tidy(plan);
    });
    broken_by(&[Kind::FactsFromFuture], |plan| {
        step(plan, "mx2.boston").precheck.facts_as_of = at("2026-11-21T12:00:01Z");
    });
    broken_by(&[Kind::FactsFromFuture, Kind::StepBeforePlan], |plan| {
        plan.made_at = at("2026-11-22T00:00:01Z");
        for step in &mut plan.steps {
            step.precheck.facts_as_of = at("2026-11-22T00:00:02Z");
        }
    });
    broken_by(&[Kind::RiskZero], |plan| step(plan, "mx2.boston").risk = 0);
    broken_by(&[Kind::HostTwice], |plan| {
        let mut again = plan.steps[14].clone();
        again.start = again.end;
        again.end += SignedDuration::from_mins(30);
        plan.steps.push(again);
        tidy(plan);
    });
    broken_by(&[Kind::ProbeMismatch], |plan| {
        step(plan, "mx2.boston").proof.probes.clear();
    });
    broken_by(&[Kind::ProbeMismatch], |plan| {
        step(plan, "box1.boston")
            .proof
            .probes
            .insert(service("inbound-mx"));
    });
    broken_by(&[Kind::DrainMissing], |plan| {
        step(plan, "mx2.boston").drain = Drain::None;
    });
    broken_by(&[Kind::PlannedOutOfService], |plan| {
        plan.services
            .get_mut("mailbox")
            .unwrap()
            .minimum
            .insert(region("boston"), 0);
        plan.out_of_service.insert(host("box1.boston"));
    });
}

#[test]
fn a_front_end_in_work_drains_nobody() {
    let behind = |plan: &mut Plan, front: &str| {
        step(plan, "mx2.boston").drain = Drain::Haproxy {
            front: host(front),
            socket: "/run/haproxy/admin.sock".to_owned(),
            backend: "smtp".to_owned(),
            server: "mx2".to_owned(),
        };
    };
    broken_by(&[], |plan| behind(plan, "mx1.boston"));
    broken_by(&[Kind::DrainFrontOut], |plan| behind(plan, "mx2.boston"));
}

#[test]
fn regions_and_services_exist() {
    broken_by(&[Kind::RegionUnknown], |plan| {
        plan.regions.remove("boston").unwrap();
    });
    broken_by(&[Kind::RegionIdle], |plan| {
        let more = plan.regions["boston"].clone();
        plan.regions.insert(region("lima"), more);
    });
    broken_by(&[Kind::WaveRegion], |plan| {
        // Steps of Lisbon that say their wave is Boston's have no wave of their own.
        let wave = plan
            .waves
            .iter()
            .position(|wave| wave.region.as_str() == "lisbon")
            .unwrap();
        plan.waves[wave].region = region("boston");
        plan.waves[wave].window = Some(PlannedWindow {
            opens: at("2026-11-24T06:00:00Z"),
            closes: at("2026-11-24T09:00:00Z"),
        });
        plan.policy.regular.windows = false;
        plan.waves[wave].window = None;
    });
    broken_by(&[Kind::ServiceIdle], |plan| {
        let mut more = plan.services["mailbox"].clone();
        more.hosts.retain(|home, _| home.as_str() == "boston");
        more.minimum.retain(|home, _| home.as_str() == "boston");
        more.hosts
            .insert(region("boston"), BTreeSet::from([host("elsewhere")]));
        plan.services.insert(service("webmail"), more);
    });
    broken_by(&[Kind::ServiceUnknown], |plan| {
        step(plan, "mx2.boston").services.insert(service("lists"));
        let mailbox = plan.services.get_mut("mailbox").unwrap();
        mailbox.after.clear();
    });
    broken_by(&[Kind::ServiceMembership], |plan| {
        step(plan, "box2.boston").services.clear();
        step(plan, "box2.boston").drain = Drain::None;
    });
    broken_by(&[Kind::MinimumInService, Kind::ServiceMembership], |plan| {
        let hosts = &mut plan.services.get_mut("mailbox").unwrap().hosts;
        hosts.get_mut("boston").unwrap().remove("box2.boston");
    });
    broken_by(&[Kind::ServiceMembership], |plan| {
        let hosts = &mut plan.services.get_mut("mailbox").unwrap().hosts;
        hosts.get_mut("lisbon").unwrap().insert(host("box2.boston"));
    });
    broken_by(&[Kind::MinimumMissing], |plan| {
        let minimum = &mut plan.services.get_mut("mailbox").unwrap().minimum;
        minimum.remove("boston");
    });
    broken_by(&[Kind::MinimumMissing], |plan| {
        let minimum = &mut plan.services.get_mut("mailbox").unwrap().minimum;
        minimum.insert(region("lima"), 1);
    });
}

#[test]
fn a_step_keeps_to_a_window_of_its_region() {
    let found = broken_by(&[Kind::StepOutsideWindow, Kind::WaveWindow], |plan| {
        shift_tidily(plan, "box2.boston", 150);
    });
    assert_eq!(found[0].host, Some(host("box2.boston")));
    broken_by(&[Kind::StepOutsideWindow, Kind::WaveWindow], |plan| {
        let boston = plan.regions.get_mut("boston").unwrap();
        boston.windows[0].rrule = "FREQ=WEEKLY;BYDAY=SU;BYHOUR=1".to_owned();
    });
    broken_by(&[Kind::WaveWindow], |plan| plan.waves[7].window = None);
    broken_by(&[Kind::WaveWindow], |plan| {
        let window = plan.waves[7].window.as_mut().unwrap();
        window.closes += SignedDuration::from_mins(15);
    });
    broken_by(&[Kind::WaveWindow], |plan| {
        let end = plan.waves[7].end;
        plan.waves[7].window.as_mut().unwrap().closes = end - SignedDuration::from_mins(1);
    });
    broken_by(
        &[
            Kind::StepOutsideWindow,
            Kind::TimeZoneUnknown,
            Kind::WaveWindow,
        ],
        |plan| {
            plan.regions.get_mut("boston").unwrap().time_zone = "America/Atlantis".to_owned();
        },
    );
    broken_by(&[Kind::WindowUnreadable], |plan| {
        plan.regions
            .get_mut("boston")
            .unwrap()
            .windows
            .push(Window {
                rrule: "FREQ=WEEKLY;BYDAY=SU".to_owned(),
                duration: SignedDuration::from_hours(1),
            });
    });
}

#[test]
fn the_emergency_lane_asks_for_no_window_by_default() {
    let mut plan = coast();
    plan.lane = Lane::Emergency;
    for region in plan.regions.values_mut() {
        region.windows.clear();
    }
    for wave in &mut plan.waves {
        wave.window = None;
    }
    // One wave for a stage and region, then.
    assert_eq!(kinds(&plan), ["wave-twice"]);
}

#[test]
fn a_window_is_resolved_anew_when_clocks_change() {
    // The same UTC time is an hour later on the wall clock after 1 November in Boston.
    broken_by(&[Kind::StepOutsideWindow, Kind::WaveWindow], |plan| {
        for step in &mut plan.steps {
            step.start -= SignedDuration::from_hours(24 * 56);
            step.end -= SignedDuration::from_hours(24 * 56);
        }
        for wave in &mut plan.waves {
            let window = wave.window.as_mut().unwrap();
            window.opens -= SignedDuration::from_hours(24 * 56);
            window.closes -= SignedDuration::from_hours(24 * 56);
        }
        plan.made_at -= SignedDuration::from_hours(24 * 60);
        for step in &mut plan.steps {
            step.precheck.facts_as_of = plan.made_at;
        }
        tidy(plan);
    });
}

#[test]
fn a_step_keeps_out_of_blackouts() {
    let night = date(2026, 11, 25);
    broken_by(&[Kind::StepInBlackout], |plan| {
        plan.policy.blackouts.push(blackout(night, night));
    });
    broken_by(&[], |plan| {
        let mut elsewhere = blackout(night, night);
        elsewhere.regions.insert(region("oslo"));
        plan.policy.blackouts.push(elsewhere);
    });
    broken_by(&[], |plan| {
        plan.policy.regular.blackouts = false;
        plan.policy.blackouts.push(blackout(night, night));
    });
}

#[test]
fn a_step_that_ends_at_midnight_does_not_touch_the_next_day() {
    let day = |end: &str| {
        let mut plan = coast();
        for region in plan.regions.values_mut() {
            region.windows[0].rrule = "FREQ=DAILY;BYHOUR=0".to_owned();
            region.windows[0].duration = SignedDuration::from_hours(24);
        }
        plan.policy
            .blackouts
            .push(blackout(date(2026, 11, 26), date(2026, 11, 26)));
        let step = step(&mut plan, "box2.boston");
        step.start = at("2026-11-26T04:30:00Z");
        step.end = at(end);
        let wave = step.wave as usize;
        plan.waves[wave].window = Some(PlannedWindow {
            opens: at("2026-11-25T05:00:00Z"),
            closes: at("2026-11-27T05:00:00Z"),
        });
        tidy(&mut plan);
        kinds(&plan)
    };
    assert_eq!(day("2026-11-26T05:00:00Z"), Vec::<&str>::new());
    assert_eq!(day("2026-11-26T05:00:01Z"), ["step-in-blackout"]);
}

#[test]
fn a_missed_deadline_is_a_warning() {
    let found = broken_by(&[Kind::DeadlineMissed], |plan| {
        step(plan, "box2.boston").deadline = Some(date(2026, 11, 24));
        step(plan, "box1.boston").deadline = Some(date(2026, 11, 25));
    });
    assert!(found.len() == 1 && !found[0].is_broken());
}

#[test]
fn no_service_falls_below_its_minimum() {
    let found = broken_by(&[Kind::MinimumInService], |plan| {
        shift_tidily(plan, "box2.boston", -15);
    });
    let expected = "broken: minimum-in-service, service mailbox, region boston, at 2026-11-25T06:15:00Z: expected at least 1 in service, found 0";
    assert_eq!(found[0].to_string(), expected);
    // Hosts out of service do not count, hosts without a step do.
    broken_by(&[Kind::MinimumInService], |plan| {
        plan.services.get_mut("inbound-mx").unwrap().minimum_total = None;
        let hosts = &mut plan.services.get_mut("inbound-mx").unwrap().hosts;
        hosts.get_mut("boston").unwrap().insert(host("mx4.boston"));
        plan.out_of_service.insert(host("mx4.boston"));
        plan.services
            .get_mut("inbound-mx")
            .unwrap()
            .minimum
            .insert(region("boston"), 3);
    });
    broken_by(&[], |plan| {
        let hosts = &mut plan.services.get_mut("inbound-mx").unwrap().hosts;
        hosts.get_mut("boston").unwrap().insert(host("mx4.boston"));
        plan.services
            .get_mut("inbound-mx")
            .unwrap()
            .minimum
            .insert(region("boston"), 3);
    });
}

#[test]
fn no_service_falls_below_its_minimum_over_all_regions() {
    broken_by(&[Kind::MinimumTotal], |plan| {
        plan.services.get_mut("mailbox").unwrap().minimum_total = Some(6);
    });
}

#[test]
fn a_service_short_before_the_plan_is_not_the_plans_fault() {
    broken_by(&[], |plan| {
        // Lima has no step, and lacks one.
        let mx = plan.services.get_mut("inbound-mx").unwrap();
        mx.hosts
            .insert(region("lima"), BTreeSet::from([host("mx1.lima")]));
        mx.minimum.insert(region("lima"), 1);
        plan.out_of_service.insert(host("mx1.lima"));
    });
}

#[test]
fn no_more_are_out_at_a_time_than_the_policy_allows() {
    let together = |plan: &mut Plan| {
        plan.services
            .get_mut("mailbox")
            .unwrap()
            .minimum
            .insert(region("boston"), 0);
        shift_tidily(plan, "box2.boston", -15);
    };
    broken_by(&[], together);
    broken_by(&[Kind::ParallelFleet], |plan| {
        together(plan);
        plan.policy.parallel_fleet = Some(1);
    });
    broken_by(&[Kind::ParallelRegion], |plan| {
        together(plan);
        plan.policy.parallel_region = Some(1);
    });
    broken_by(&[Kind::ParallelTeam], |plan| {
        together(plan);
        plan.policy.parallel_team = Some(1);
    });
}

#[test]
fn each_variant_has_one_test_host_first() {
    broken_by(&[Kind::TestMissing], |plan| {
        plan.steps.retain(|step| step.host.as_str() != "mx1.oslo");
        plan.waves.remove(0);
        for step in &mut plan.steps {
            step.wave -= 1;
            step.after.remove("mx1.oslo");
        }
        plan.services.get_mut("mailbox").unwrap().after.clear();
    });
    broken_by(&[Kind::SoakTest], |plan| shift_tidily(plan, "mx1.oslo", 30));
    broken_by(&[Kind::TestNotAlone], |plan| {
        // Both in the one wave of the night before.
        step(plan, "mx3.oslo").wave = 0;
        shift(plan, "mx3.oslo", -24 * 60 - 30);
        shift_tidily(plan, "mx2.oslo", 30);
    });
}

#[test]
fn in_a_child_plan_a_test_host_may_be_proven_already() {
    let mut plan = coast();
    let id = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    (plan.generation, plan.parent) = (2, Some(id));
    plan.steps.retain(|step| step.host.as_str() != "mx1.oslo");
    plan.waves.remove(0);
    for step in &mut plan.steps {
        step.wave -= 1;
        step.after.remove("mx1.oslo");
    }
    let found = check(&plan);
    assert_eq!(kinds(&plan), ["test-missing"]);
    assert!(!found[0].is_broken());
}

#[test]
fn the_pilot_region_goes_first_and_soaks() {
    broken_by(&[Kind::SoakPilot], |plan| {
        plan.policy.regular.soak_pilot_minutes += 1;
    });
    broken_by(&[Kind::SoakPilot, Kind::StageRegion], |plan| {
        plan.waves[7].stage = Stage::Pilot;
        plan.policy.regular.soak_pilot_minutes = 0;
    });
    broken_by(&[Kind::StageRegion], |plan| {
        plan.regions.get_mut("boston").unwrap().pilot = true;
    });
    broken_by(&[Kind::SoakWave], |plan| {
        plan.policy.regular.soak_wave_minutes += 1;
    });
}

#[test]
fn hosts_wait_for_those_they_depend_on() {
    broken_by(&[Kind::AfterUnknown], |plan| {
        step(plan, "mx2.boston").after.insert(host("mx9.boston"));
    });
    broken_by(&[Kind::AfterUnknown], |plan| {
        step(plan, "mx2.boston").after.insert(host("mx2.boston"));
    });
    broken_by(&[Kind::DependencyOrder], |plan| {
        step(plan, "mx1.boston").after.insert(host("mx2.boston"));
    });
    broken_by(&[Kind::DependencyUnlisted], |plan| {
        step(plan, "box1.boston").after.remove("mx2.boston");
    });
    broken_by(&[Kind::DependencyOrder, Kind::DependencyUnlisted], |plan| {
        let mx = plan.services.get_mut("inbound-mx").unwrap();
        mx.after.insert(service("mailbox"));
        plan.services.get_mut("mailbox").unwrap().after.clear();
    });
    // Who would have to come before each other need not.
    broken_by(&[], |plan| {
        let mx = plan.services.get_mut("inbound-mx").unwrap();
        mx.after.insert(service("mailbox"));
    });
}

#[test]
fn a_cluster_goes_together() {
    broken_by(&[Kind::WholeClusterSplit], |plan| {
        plan.variants[1].whole_cluster = true;
    });
}

#[test]
fn a_hostile_plan_is_answered_within_the_limit() {
    let mut plan = coast();
    let bad = plan.steps[0].clone();
    plan.steps = vec![
        PlanStep {
            risk: 0,
            wave: 77,
            ..bad
        };
        MAX_BREACHES
    ];
    let found = check(&plan);
    assert_eq!(found.len(), MAX_BREACHES + 1);
    assert_eq!(found[MAX_BREACHES].kind, Kind::TooManyBreaches);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever shifts steps about: the checker says that a minimum is undercut exactly when a count of
    /// every minute says so.
    #[test]
    fn minimums_are_checked_as_by_counting_minutes(
        shifts in proptest::collection::vec(-40i64..40, 15),
        out in proptest::collection::vec(any::<bool>(), 3),
    ) {
        let mut plan = coast();
        for (step, slots) in plan.steps.iter_mut().zip(&shifts) {
            let by = SignedDuration::from_mins(slots * 15);
            (step.start, step.end) = (step.start + by, step.end + by);
        }
        for (number, out) in out.iter().enumerate() {
            if *out {
                plan.out_of_service.insert(host(&format!("mx{}.lisbon", number + 1)));
            }
        }
        tidy(&mut plan);
        let found = check(&plan);
        for (name, service) in &plan.services {
            for (home, hosts) in &service.hosts {
                let minimum = service.minimum[home];
                let counted = undercut(&plan, hosts, minimum);
                let said = found.iter().any(|breach| {
                    breach.kind == Kind::MinimumInService
                        && breach.service.as_ref() == Some(name)
                        && breach.region.as_ref() == Some(home)
                });
                prop_assert_eq!(counted, said, "{} in {}", name, home);
            }
        }
    }

    /// Whatever is changed, the checker ends without a panic, and says the same twice.
    #[test]
    fn any_shift_is_answered(
        shifts in proptest::collection::vec((0usize..15, -5000i64..5000, 0u32..12, 0u32..4), 0..6),
        generation in 0u32..3,
        slot in 0u32..2000,
    ) {
        let mut plan = coast();
        plan.generation = generation;
        plan.policy.slot_minutes = slot;
        for (at, minutes, wave, variant) in shifts {
            let step = &mut plan.steps[at];
            let by = SignedDuration::from_mins(minutes);
            step.start += by;
            step.end += by + by;
            (step.wave, step.variant) = (wave, variant);
        }
        prop_assert_eq!(check(&plan), check(&plan));
    }
}

fn undercut(plan: &Plan, hosts: &BTreeSet<HostName>, minimum: u32) -> bool {
    let is_present = |host: &HostName| hosts.contains(host) && !plan.out_of_service.contains(host);
    let present = hosts.iter().filter(|host| is_present(host)).count();
    let steps: Vec<&PlanStep> = plan
        .steps
        .iter()
        .filter(|step| is_present(&step.host))
        .collect();
    let mut minute = at("2026-11-20T00:00:00Z");
    while minute < at("2026-11-28T00:00:00Z") {
        let is_out = |step: &&&PlanStep| step.start <= minute && minute < step.end;
        let out = steps.iter().filter(is_out).count();
        if out > 0 && present - out < minimum as usize {
            return true;
        }
        minute += SignedDuration::from_mins(1);
    }
    false
}
