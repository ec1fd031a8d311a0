//! Properties of every plan, over fleets drawn at random.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use jiff::civil::date;
use mailkeep_model::{Blackout, HostName, Lane};
use proptest::prelude::*;

use super::{Bed, host, is_sound, service};
use crate::document::{canonical, id_of};
use crate::plan;

const ZONES: [&str; 6] = [
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "UTC",
];

const RULES: [(&str, i64); 5] = [
    ("FREQ=DAILY;BYHOUR=1", 180),
    ("FREQ=DAILY;BYHOUR=22;BYMINUTE=30", 240),
    ("FREQ=WEEKLY;BYDAY=SU;BYHOUR=1;BYMINUTE=30", 120),
    ("FREQ=WEEKLY;BYDAY=SA,SU;BYHOUR=23", 300),
    ("FREQ=MONTHLY;BYDAY=2TU;BYHOUR=2", 90),
];

/// Times round clock changes, and one in peace.
const NOWS: [&str; 4] = [
    "2026-11-22T12:07:13Z",
    "2027-03-26T00:00:00Z",
    "2027-10-30T20:00:00Z",
    "2026-12-30T23:59:59Z",
];

prop_compose! {
    fn region_of()(zone in 0usize..ZONES.len(), rule in 0usize..RULES.len(), mx in 0u32..6, filter in 0u32..4, mailbox in 0u32..4, pilot in proptest::bool::weighted(0.4))
        -> (usize, usize, [u32; 3], bool) {
        (zone, rule, [mx, filter, mailbox], pilot)
    }
}

prop_compose! {
    fn bed_of()(
        regions in prop::collection::vec(region_of(), 1..4),
        now in 0usize..NOWS.len(),
        emergency in any::<bool>(),
        minimums in prop::array::uniform3(0u32..3),
        total in prop::option::of(1u32..6),
        limits in prop::array::uniform3(prop::option::of(1u32..4)),
        slot in prop::sample::select(vec![10u32, 15, 20, 30, 45, 60]),
        step in 5u32..75,
        soaks in prop::array::uniform3(0u32..200),
        after in any::<bool>(),
        blackout in any::<bool>(),
        cluster in any::<bool>(),
        risks in prop::collection::vec((1u32..9, 0u8..3, prop::option::of(0i8..20)), 60),
        out in prop::collection::btree_set(0usize..40, 0..3),
    ) -> Bed {
        let mut bed = Bed::new(NOWS[now]);
        bed.lane = if emergency { Lane::Emergency } else { Lane::Regular };
        for (number, (zone, rule, counts, pilot)) in regions.iter().enumerate() {
            let name = format!("r{number}");
            bed.region(&name, ZONES[*zone], RULES[*rule].0, RULES[*rule].1);
            if *pilot {
                bed.pilot(&name);
            }
            for ((carries, family), count) in
                [("mx", "postfix"), ("filter", "rspamd"), ("mailbox", "dovecot")].iter().zip(counts)
            {
                bed.hosts(&name, carries, family, *count);
            }
        }
        for (name, minimum) in ["mx", "filter", "mailbox"].iter().zip(minimums) {
            bed.minimum(name, minimum);
        }
        bed.fleet.services.get_mut(&service("mx")).unwrap().minimum_total = total;
        if after {
            bed.fleet.services.get_mut(&service("mailbox")).unwrap().after = [service("filter")].into();
        }
        let policy = &mut bed.fleet.rollout;
        (policy.parallel_fleet, policy.parallel_region, policy.parallel_team) =
            (limits[0], limits[1], limits[2]);
        (policy.slot_minutes, policy.step_minutes) = (slot, step);
        for rules in [&mut policy.regular, &mut policy.emergency] {
            (rules.soak_test_minutes, rules.soak_pilot_minutes, rules.soak_wave_minutes) =
                (soaks[0], soaks[1], soaks[2]);
        }
        if blackout {
            policy.blackouts.push(Blackout {
                from: date(2027, 3, 28),
                to: date(2027, 3, 30),
                regions: BTreeSet::new(),
                reason: "closing of the books".to_owned(),
            });
        }
        bed.fleet.global_team = Some(mailkeep_model::TeamName::new("all").unwrap());
        if cluster {
            let settings = mailkeep_model::FamilySettings {
                whole_cluster: true,
                ..mailkeep_model::FamilySettings::default()
            };
            bed.fleet.families.insert("dovecot".to_owned(), settings);
        }
        let today = bed.now.in_tz("UTC").unwrap().date();
        for (work, (risk, version, deadline)) in bed.work.iter_mut().zip(&risks) {
            work.risk = *risk;
            if *version == 0 {
                work.packages[0].from = "1-0".to_owned();
            }
            work.deadline =
                deadline.and_then(|days| today.checked_add(jiff::Span::new().days(days)).ok());
        }
        let names: Vec<HostName> = bed.work.iter().map(|w| w.host.clone()).collect();
        bed.out_of_service = out.iter().filter_map(|place| names.get(*place).cloned()).collect();
        bed
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// No rule is broken, no bound is above what was reached, and no host is forgotten.
    #[test]
    fn every_plan_is_sound_and_leaves_nobody_out(bed in bed_of()) {
        let planned = plan(&bed.request());
        is_sound(&planned);
        let planned_hosts: BTreeSet<HostName> =
            planned.plan.iter().flat_map(|plan| plan.steps.iter().map(|s| s.host.clone())).collect();
        let named: BTreeSet<HostName> =
            planned.report.not_planned.iter().map(|n| n.host.clone()).collect();
        prop_assert!(planned_hosts.is_disjoint(&named));
        let with_work: BTreeSet<HostName> = bed.work.iter().map(|w| w.host.clone()).collect();
        let answered: BTreeSet<HostName> = planned_hosts.union(&named).cloned().collect();
        prop_assert_eq!(answered, with_work);
        if let Some(plan) = &planned.plan {
            for step in &plan.steps {
                prop_assert!(step.end.duration_since(step.start) >= SignedDuration::from_mins(1));
            }
        }
    }

    /// Planning again from a plan gives that plan.
    #[test]
    fn every_plan_is_a_fixed_point(bed in bed_of()) {
        let first = plan(&bed.request());
        if let Some(parent) = &first.plan {
            let id = id_of(&canonical(parent).unwrap()).unwrap();
            let mut request = bed.request();
            request.parent = Some((&id, parent));
            let again = plan(&request);
            prop_assert_eq!(again.plan.as_ref(), Some(parent));
            prop_assert_eq!(again.report.end_minutes, first.report.end_minutes);
            prop_assert_eq!(again.report.exposure, first.report.exposure);
            prop_assert_eq!(again.report.not_planned, first.report.not_planned);
        }
        prop_assert!(host("x") == host("x"));
    }
}
