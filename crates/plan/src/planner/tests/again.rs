//! Planning again: what was proven, what failed, and what stays as it is.

use jiff::SignedDuration;
use mailkeep_model::{NotPlannedReason, Stage};

use super::{host, is_sound, reason, stage_of, two_regions};
use crate::document::{canonical, id_of};
use crate::planner::plan;

#[test]
fn a_change_that_was_taken_back_is_set_aside_for_its_whole_variant() {
    let mut bed = two_regions();
    bed.work("mx-3.us").packages[0].from = "1-0".to_owned();
    let change = bed.change("mx-1.eu");
    bed.failed.insert(change, host("mx-1.eu"));
    let planned = bed.plan();
    for name in ["mx-1.eu", "mx-2.eu", "mx-3.eu", "mx-1.us", "mx-2.us"] {
        assert_eq!(
            reason(&planned, name),
            &NotPlannedReason::ChangeQuarantined {
                failed_on: host("mx-1.eu")
            }
        );
    }
    assert_eq!(planned.plan.unwrap().steps.len(), 1);
}

#[test]
fn a_change_stays_set_aside_when_the_host_it_failed_on_has_no_work() {
    let mut bed = two_regions();
    let change = bed.change("mx-1.eu");
    bed.failed.insert(change, host("mx-1.eu"));
    bed.work.retain(|work| work.host != host("mx-1.eu"));
    let planned = bed.plan();
    assert_eq!(planned.plan, None);
    assert_eq!(planned.report.not_planned.len(), 5);
    assert_eq!(
        reason(&planned, "mx-3.us"),
        &NotPlannedReason::ChangeQuarantined {
            failed_on: host("mx-1.eu")
        }
    );
}

#[test]
fn a_change_that_a_person_wants_tried_again_begins_with_a_test_host() {
    let mut bed = two_regions();
    let change = bed.change("mx-1.eu");
    bed.failed.insert(change, host("mx-2.eu"));
    bed.proven.insert(host("mx-1.eu"));
    bed.retries.insert(host("mx-2.eu"));
    let plan = bed.plan().plan.unwrap();
    assert_eq!(plan.retries, [host("mx-2.eu")].into());
    assert_eq!(plan.steps.len(), 5);
    assert_eq!(stage_of(&plan, &plan.steps[0]), Stage::Test);
    // Another host's failure is not lifted by it.
    bed.retries = [host("mx-1.us")].into();
    assert_eq!(bed.plan().plan, None);
}

#[test]
fn a_change_set_aside_leaves_the_others_their_times() {
    let mut bed = two_regions();
    bed.work("mx-3.us").packages[0].from = "1-0".to_owned();
    let parent = bed.plan().plan.unwrap();
    let id = id_of(&canonical(&parent).unwrap()).unwrap();
    let change = bed.change("mx-1.eu");
    bed.failed.insert(change, host("mx-1.eu"));
    let mut request = bed.request();
    request.parent = Some((&id, &parent));
    let child = plan(&request);
    is_sound(&child);
    let child = child.plan.unwrap();
    let [step] = child.steps.as_slice() else {
        panic!("{:?}", child.steps);
    };
    assert_eq!(step.host, host("mx-3.us"));
    assert_eq!(step.start, parent.step_of(&step.host).unwrap().start);
}

#[test]
fn planning_again_changes_nothing() {
    let mut bed = two_regions();
    let first = bed.plan();
    let parent = first.plan.unwrap();
    let id = id_of(&canonical(&parent).unwrap()).unwrap();
    // An hour later, by facts seen since.
    bed.now += SignedDuration::from_hours(1);
    for work in &mut bed.work {
        work.facts_as_of = bed.now;
    }
    let mut request = bed.request();
    request.parent = Some((&id, &parent));
    let again = plan(&request);
    is_sound(&again);
    assert_eq!(again.plan.as_ref(), Some(&parent));
    assert_eq!(again.report, first.report);
}

#[test]
fn hosts_that_are_proven_leave_the_others_their_times() {
    let mut bed = two_regions();
    let parent = bed.plan().plan.unwrap();
    let id = id_of(&canonical(&parent).unwrap()).unwrap();
    let test = &parent.steps[0];
    bed.now = test.end + SignedDuration::from_mins(10);
    bed.proven.insert(test.host.clone());
    let mut request = bed.request();
    request.parent = Some((&id, &parent));
    let child = plan(&request);
    is_sound(&child);
    assert_eq!(
        reason(&child, test.host.as_str()),
        &NotPlannedReason::AlreadyProven
    );
    let child = child.plan.unwrap();
    assert_eq!((child.generation, child.parent), (2, Some(id)));
    assert_eq!(child.steps.len(), 5);
    for step in &child.steps {
        let before = parent.step_of(&step.host).unwrap();
        assert_eq!((step.start, step.end), (before.start, before.end));
    }
}

#[test]
fn when_all_is_proven_there_is_nothing_left_to_plan() {
    let mut bed = two_regions();
    let parent = bed.plan().plan.unwrap();
    let id = id_of(&canonical(&parent).unwrap()).unwrap();
    bed.now = parent.end().unwrap();
    bed.proven = parent.steps.iter().map(|s| s.host.clone()).collect();
    let mut request = bed.request();
    request.parent = Some((&id, &parent));
    let again = plan(&request);
    assert_eq!(again.plan, None);
    assert_eq!(again.report.not_planned.len(), 6);
    assert!(
        again
            .report
            .not_planned
            .iter()
            .all(|n| n.reason == NotPlannedReason::AlreadyProven)
    );
}

#[test]
fn a_parent_that_no_longer_holds_is_planned_anew() {
    let mut bed = two_regions();
    let parent = bed.plan().plan.unwrap();
    let id = id_of(&canonical(&parent).unwrap()).unwrap();
    bed.minimum("mx", 1);
    let mut request = bed.request();
    request.parent = Some((&id, &parent));
    let child = plan(&request);
    is_sound(&child);
    let child = child.plan.unwrap();
    assert_eq!(child.generation, 2);
    assert!(child.end() < parent.end());
}
