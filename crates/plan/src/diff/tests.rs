//! What is told of two plans, and what is not.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::testing::{coast, region, service};

fn told(change: impl FnOnce(&mut Plan)) -> String {
    let mut plan = coast();
    change(&mut plan);
    diff(&coast(), &plan).to_string()
}

#[test]
fn a_plan_does_not_differ_from_itself_nor_from_its_copy_made_later() {
    assert!(diff(&coast(), &coast()).is_empty());
    let told = told(|plan| {
        plan.generation = 2;
        plan.made_at += SignedDuration::from_mins(1);
        plan.parent = "sha256:00".parse().ok();
    });
    assert_eq!(told, "no difference\n");
}

#[test]
fn the_number_of_a_variant_or_wave_is_no_difference() {
    let told = told(|plan| {
        plan.variants.swap(0, 1);
        for step in &mut plan.steps {
            step.variant = 1 - step.variant;
        }
    });
    assert_eq!(told, "no difference\n");
}

#[test]
fn a_moved_step_is_told_with_both_times() {
    let told = told(|plan| {
        plan.steps[14].start += SignedDuration::from_mins(30);
        plan.steps[14].end += SignedDuration::from_mins(45);
    });
    assert_eq!(
        told,
        "steps: 0 added, 0 removed, 1 moved, 0 with other versions\n\nmoved\n  ~ box2.boston \
         2026-11-25 06:30Z to 2026-11-25 07:00Z (+30 minutes), lasts 45 minutes, not 30\n"
    );
}

#[test]
fn steps_policy_minimums_and_versions_are_told() {
    let told = told(|plan| {
        plan.steps.remove(0);
        plan.policy.regular.soak_test_minutes = 60;
        let mx = plan.services.get_mut("inbound-mx").unwrap();
        mx.minimum.insert(region("oslo"), 1);
        mx.minimum_total = None;
        let name = |name: &str| name.parse().unwrap();
        mx.hosts.get_mut("oslo").unwrap().insert(name("mx9.oslo"));
        plan.regions.get_mut("oslo").unwrap().windows.clear();
        plan.variants[1].packages[0].to = "9".to_owned();
        plan.bulletin.remove(0);
        plan.steps[3].risk = 9;
        plan.steps[3].services.insert(service("lists"));
    });
    for line in [
        "steps: 0 added, 1 removed, 0 moved, 6 with other versions",
        "  - CVE-2026-40001",
        "  ~ regular.soak_test_minutes: 1440 to 60",
        "  ~ inbound-mx.minimum.oslo: 2 to 1",
        "  ~ inbound-mx.minimum_total: - 8",
        "  ~ inbound-mx.hosts.oslo: + mx9.oslo",
        "  - dovecot on Debian:12: dovecot-core 1:2.3.19.1-2 to 1:2.3.19.1-2+deb12u1",
        "  + dovecot on Debian:12: dovecot-core 1:2.3.19.1-2 to 9",
        "  - mx1.oslo 2026-11-22 00:00Z to 2026-11-22 00:30Z (oslo, test)",
        "  ~ mx1.lisbon risk: 4 to 9",
        "  ~ mx1.lisbon services: + lists",
    ] {
        assert!(told.lines().any(|found| found == line), "{line}\n\n{told}");
    }
}

#[test]
fn nothing_from_a_plan_reaches_a_terminal_unchecked() {
    let told = told(|plan| {
        plan.title = "\u{1b}[2J".to_owned();
        plan.variants[0].family = "\u{9b}2J".to_owned();
        plan.variants[0].packages[0].to = "\u{1b}]0;".to_owned();
    });
    assert!(!told.contains(['\u{1b}', '\u{9b}']), "{told:?}");
}

proptest! {
    #[test]
    fn no_difference_is_told_only_of_equal_plans(
        shifts in proptest::collection::vec(0i64..2, 15),
        risks in proptest::collection::vec(4u32..6, 15),
        minimum in 1u32..3,
        soak in 1439u32..1441,
    ) {
        let mut plan = coast();
        for ((step, slots), risk) in plan.steps.iter_mut().zip(shifts).zip(risks) {
            step.start += SignedDuration::from_mins(15 * slots);
            step.risk = risk;
        }
        plan.policy.regular.soak_test_minutes = soak;
        let mailbox = plan.services.get_mut("mailbox").unwrap();
        mailbox.minimum.insert(region("oslo"), minimum);
        prop_assert_eq!(diff(&coast(), &plan).is_empty(), plan == coast());
    }
}
