//! Deadlines that cannot be met, and what would make them possible.

use jiff::civil::date;
use mailkeep_model::{Lane, MissedDeadline, NotPlanned, NotPlannedReason, Remedy};

use super::{Bed, NIGHTLY, host, region, service, two_regions};

fn missed_by(bed: &Bed, name: &str) -> Option<MissedDeadline> {
    let planned = bed.plan();
    planned
        .report
        .missed_deadlines
        .into_iter()
        .find(|missed| missed.host == host(name))
}

/// Eight servers, one may be out; one window a week, long enough for four.
fn weekly() -> Bed {
    let mut bed = Bed::new("2026-11-22T12:00:00Z");
    bed.region("eu", "Europe/Berlin", "FREQ=WEEKLY;BYDAY=MO;BYHOUR=1", 150);
    bed.hosts("eu", "mx", "postfix", 8);
    bed.minimum("mx", 7);
    bed.fleet.rollout.regular.soak_test_minutes = 0;
    bed.fleet.rollout.regular.soak_wave_minutes = 0;
    for n in 1..=8 {
        bed.work(&format!("mx-{n}.eu")).deadline = Some(date(2026, 11, 26));
    }
    bed
}

#[test]
fn a_deadline_that_is_met_is_not_reported() {
    let mut bed = two_regions();
    for work in &mut bed.work {
        work.deadline = Some(date(2026, 12, 24));
    }
    assert_eq!(bed.plan().report.missed_deadlines, []);
}

#[test]
fn what_a_step_cannot_do_on_its_host_makes_it_miss_no_deadline() {
    let mut bed = two_regions();
    for work in &mut bed.work {
        work.deadline = Some(date(2026, 12, 24));
    }
    let other = NotPlanned {
        host: bed.work[0].host.clone(),
        reason: NotPlannedReason::NoCandidate {
            package: "dovecot".to_owned(),
        },
    };
    bed.left_out.push(other.clone());
    let report = bed.plan().report;
    assert_eq!(report.not_planned, [other]);
    assert_eq!(report.missed_deadlines, []);
}

#[test]
fn a_host_that_nothing_can_be_done_on_misses_its_deadline() {
    let mut bed = two_regions();
    let name = bed.work.remove(0).host;
    let left_out = |reason| NotPlanned {
        host: name.clone(),
        reason,
    };
    let no_candidate = left_out(NotPlannedReason::NoCandidate {
        package: "dovecot".to_owned(),
    });
    let no_fix = left_out(NotPlannedReason::NoFix {
        package: "postfix".to_owned(),
    });
    bed.left_out = vec![no_candidate, no_fix];
    bed.deadlines.insert(name.clone(), date(2026, 12, 24));
    let missed = MissedDeadline {
        host: name.clone(),
        deadline: date(2026, 12, 24),
        planned_end: None,
        remedies: Vec::new(),
    };
    assert_eq!(bed.plan().report.missed_deadlines, [missed]);
    // What stands in for a fix is what can be done until there is one.
    bed.left_out = vec![left_out(NotPlannedReason::Mitigated {
        package: "postfix".to_owned(),
    })];
    assert_eq!(bed.plan().report.missed_deadlines, []);
}

#[test]
fn a_missed_deadline_comes_with_what_would_make_it_possible() {
    let bed = weekly();
    let planned = bed.plan();
    // Five fit on Monday, three wait for a week.
    assert_eq!(planned.report.missed_deadlines.len(), 3);
    let missed = &planned.report.missed_deadlines[0];
    assert_eq!(missed.deadline, date(2026, 11, 26));
    assert!(missed.planned_end.is_some());
    assert!(missed.remedies.contains(&Remedy::AnotherWindow {
        region: region("eu"),
        by: date(2026, 11, 26),
    }));
    assert!(missed.remedies.contains(&Remedy::EmergencyLane));
    assert!(missed.remedies.contains(&Remedy::MoreHosts {
        service: service("mx"),
        region: Some(region("eu")),
        count: 1,
    }));
}

#[test]
fn a_remedy_works() {
    let mut bed = weekly();
    bed.minimum("mx", 6);
    assert_eq!(
        bed.plan().report.missed_deadlines,
        [],
        "as one more host would"
    );
    let mut bed = weekly();
    bed.lane = Lane::Emergency;
    assert_eq!(bed.plan().report.missed_deadlines, []);
}

#[test]
fn a_limit_in_the_way_is_named() {
    let mut bed = weekly();
    bed.minimum("mx", 0);
    bed.fleet.rollout.parallel_region = Some(1);
    let missed = missed_by(&bed, bed.plan().report.missed_deadlines[0].host.as_str()).unwrap();
    assert!(missed.remedies.contains(&Remedy::MoreInParallel {
        scope: "region".to_owned(),
        limit: 2,
    }));
    assert!(
        !missed
            .remedies
            .iter()
            .any(|r| matches!(r, Remedy::MoreHosts { .. }))
    );
}

#[test]
fn nothing_helps_against_a_deadline_that_is_past() {
    let mut bed = two_regions();
    bed.work("mx-1.us").deadline = Some(date(2026, 11, 20));
    let missed = missed_by(&bed, "mx-1.us").unwrap();
    assert_eq!(missed.remedies, []);
}

#[test]
fn where_the_minimum_forbids_it_more_hosts_are_asked_for() {
    let mut bed = two_regions();
    bed.hosts("us", "filter", "rspamd", 1);
    bed.minimum("filter", 1);
    bed.work("filter-1.us").deadline = Some(date(2026, 12, 24));
    let missed = missed_by(&bed, "filter-1.us").unwrap();
    assert_eq!(missed.planned_end, None);
    assert_eq!(
        missed.remedies,
        [Remedy::MoreHosts {
            service: service("filter"),
            region: Some(region("us")),
            count: 1,
        }]
    );
}

#[test]
fn hosts_with_a_deadline_go_before_riskier_ones_without() {
    let mut bed = Bed::new("2026-11-22T12:00:00Z");
    bed.region("eu", "Europe/Berlin", NIGHTLY, 90);
    bed.hosts("eu", "mx", "postfix", 6);
    bed.minimum("mx", 5);
    bed.fleet.rollout.regular.soak_test_minutes = 0;
    bed.fleet.rollout.regular.soak_wave_minutes = 0;
    for n in 1..=4 {
        bed.work(&format!("mx-{n}.eu")).risk = 100;
    }
    for n in 5..=6 {
        bed.work(&format!("mx-{n}.eu")).deadline = Some(date(2026, 11, 23));
    }
    assert_eq!(bed.plan().report.missed_deadlines, []);
}
