//! What a picture, a page and a table must show, and what they must never carry.

use std::path::PathBuf;

use mailkeep_model::{
    MissedDeadline, NotPlanned, NotPlannedReason, PlanningReport, Realm, Remedy, Stage,
};
use proptest::prelude::*;

use super::*;
use crate::testing::{Draft, at, coast, host, region, service};

fn report() -> PlanningReport {
    PlanningReport {
        end_minutes: 5_700,
        end_bound_minutes: 5_700,
        exposure: 30_100,
        exposure_bound: 30_000,
        not_planned: vec![NotPlanned {
            host: host("mx9.oslo"),
            reason: NotPlannedReason::MinimumInService {
                service: service("inbound-mx"),
                region: Some(region("oslo")),
                in_service: 2,
                minimum: 2,
            },
        }],
        missed_deadlines: vec![MissedDeadline {
            host: host("box2.boston"),
            deadline: jiff::civil::date(2026, 11, 24),
            planned_end: Some(at("2026-11-25T07:00:00Z")),
            remedies: vec![
                Remedy::AnotherWindow {
                    region: region("boston"),
                    by: jiff::civil::date(2026, 11, 24),
                },
                Remedy::MoreHosts {
                    service: service("mailbox"),
                    region: Some(region("boston")),
                    count: 1,
                },
            ],
        }],
    }
}

/// Six regions around the world, thirty-six hosts.
fn world() -> Plan {
    many(
        &[
            ("auckland", "Pacific/Auckland"),
            ("mumbai", "Asia/Kolkata"),
            ("frankfurt", "Europe/Berlin"),
            ("dublin", "Europe/Dublin"),
            ("sao-paulo", "America/Sao_Paulo"),
            ("seattle", "America/Los_Angeles"),
        ],
        4,
        2,
        1,
    )
}

/// Regions with so many mail exchangers and mailbox hosts each, a few at a time. The first is the pilot.
fn many(regions: &[(&str, &str)], exchangers: u32, boxes: u32, at_a_time: u32) -> Plan {
    let mut draft = Draft::new("2026-11-20T12:00:00Z");
    let mut of_mx = Vec::new();
    let mut of_box = Vec::new();
    for (number, (name, zone)) in regions.iter().enumerate() {
        draft.region(name, zone, number == 0, &[("FREQ=DAILY;BYHOUR=1", 180)]);
        of_mx.push((*name, exchangers));
        of_box.push((*name, boxes));
    }
    draft.service("inbound-mx", "mx", &of_mx, exchangers - at_a_time);
    draft.service("mailbox", "box", &of_box, boxes.saturating_sub(at_a_time));
    let total = exchangers * u32::try_from(regions.len()).unwrap();
    let services = &mut draft.plan.services;
    services
        .get_mut(&service("inbound-mx"))
        .unwrap()
        .minimum_total = Some(total - at_a_time * u32::try_from(regions.len()).unwrap());
    draft.variant("postfix", "postfix", "3.7.9-0+deb12u1", "3.7.11-0+deb12u1");
    draft.variant(
        "dovecot",
        "dovecot-core",
        "1:2.3.19.1-2",
        "1:2.3.19.1-2+deb12u1",
    );
    let mut put = |night: i64, name: String, stage, variant, place: u32| {
        let date = jiff::civil::date(2026, 11, 21) + jiff::Span::new().days(night);
        let minutes = i64::from(place) * 30;
        let start = date.at(1, 0, 0, 0) + jiff::SignedDuration::from_mins(minutes);
        draft.step(&name, stage, variant, &start.to_string(), 1);
    };
    // Five starts of half an hour a night, with room for a wave's soak.
    let nights = |n: u32| i64::from(n / (at_a_time * 5));
    let place = |n: u32| n % (at_a_time * 5) / at_a_time;
    for (number, (name, _)) in regions.iter().enumerate() {
        let pilot = number == 0;
        for n in 0..exchangers {
            match (pilot, n) {
                (true, 0) => put(0, format!("mx1.{name}"), Stage::Test, 0, 0),
                (true, n) => put(
                    2 + nights(n),
                    format!("mx{}.{name}", n + 1),
                    Stage::Pilot,
                    0,
                    place(n),
                ),
                (false, n) => put(
                    4 + nights(n) + nights(exchangers),
                    format!("mx{}.{name}", n + 1),
                    Stage::Rest,
                    0,
                    place(n),
                ),
            }
        }
        let later = 8 + 2 * nights(exchangers);
        for n in 0..boxes {
            match (pilot, n) {
                (true, 0) => put(1, format!("box1.{name}"), Stage::Test, 1, 2),
                (true, n) => put(
                    later + nights(n),
                    format!("box{}.{name}", n + 1),
                    Stage::Pilot,
                    1,
                    place(n),
                ),
                (false, n) => put(
                    later + 3 + nights(n) + nights(boxes),
                    format!("box{}.{name}", n + 1),
                    Stage::Rest,
                    1,
                    place(n),
                ),
            }
        }
    }
    draft.into_plan()
}

/// Kept where `MAILKEEP_PICTURES` says, to be looked at.
#[expect(clippy::disallowed_methods, reason = "to look at pictures")]
fn keep(name: &str, content: &str) {
    if let Ok(directory) = std::env::var("MAILKEEP_PICTURES") {
        std::fs::write(PathBuf::from(directory).join(name), content).unwrap();
    }
}

/// Every element that opens closes, in order, and no text carries a bare `<` or `&`.
fn assert_well_formed(markup: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = markup;
    // The style has no markup in it.
    while let Some(at) = rest.find(['<', '&']) {
        let after = &rest[at..];
        if let Some(after_it) = after.strip_prefix('&') {
            let entity = &after[..=after.find(';').unwrap()];
            assert!(
                ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].contains(&entity),
                "{entity}"
            );
            rest = after_it;
            continue;
        }
        let end = after.find('>').unwrap();
        let tag = &after[1..end];
        rest = &after[end + 1..];
        if tag.starts_with('!') || tag.ends_with('/') || tag.starts_with("meta ") {
            continue;
        }
        let name = tag.split([' ', '\n']).next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "...{}", &after[..end.min(80)]),
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_picture_is_well_formed_and_loads_nothing() {
    for (name, plan) in [("coast", coast()), ("world", world())] {
        let picture = svg(&plan);
        keep(&format!("{name}.svg"), &picture);
        assert_well_formed(&picture);
        let page = html(&plan, Some(&report()));
        keep(&format!("{name}.html"), &page);
        assert_well_formed(&page);
        for document in [&picture, &page] {
            assert!(!document.contains("<script") && !document.contains("href="));
            let addresses =
                document.matches("http").count() - document.matches("http-equiv").count();
            assert!(addresses <= 1, "only the name space of SVG");
        }
        keep(&format!("{name}.txt"), &text(&plan));
    }
}

#[test]
fn the_plan_drawn_here_is_a_good_one() {
    assert_eq!(crate::check(&world()), []);
}

#[test]
fn a_page_says_whether_the_plan_keeps_the_rules() {
    let good = html(&coast(), None);
    assert!(good.contains("none is broken"));
    let mut bad = coast();
    bad.steps[14].start -= jiff::SignedDuration::from_mins(30);
    let bad = html(&bad, None);
    assert!(bad.contains("must not run") && bad.contains("minimum-in-service"));
}

#[test]
fn a_page_shows_what_the_planner_reported() {
    let page = html(&coast(), Some(&report()));
    for text in [
        "inbound-mx in oslo has 2 in service and must keep 2",
        "another window in boston on Tue 24 Nov 2026 at the latest, or 1 more mailbox host in boston",
        "100.3 %",
        "3 d 23 h",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn a_drill_is_never_taken_for_the_living() {
    let mut plan = coast();
    plan.realm = Realm::Drill;
    assert!(html(&plan, None).contains("drill: a rehearsal"));
    assert!(text(&plan).contains("drill realm"));
    assert!(svg(&plan).contains("DRILL"));
}

#[test]
fn a_blackout_that_the_lane_passes_over_is_shown() {
    let mut plan = coast();
    plan.lane = mailkeep_model::Lane::Emergency;
    let day = jiff::civil::date(2026, 11, 24);
    plan.policy.blackouts.push(mailkeep_model::Blackout {
        from: day,
        to: day,
        regions: std::collections::BTreeSet::new(),
        reason: "election day".to_owned(),
    });
    let page = html(&plan, None);
    keep("emergency.html", &page);
    assert!(page.contains("emergency lane") && page.contains("blackout: election day"));
}

#[test]
fn days_without_steps_are_left_out_and_said() {
    let picture = svg(&world());
    assert!(picture.contains("Not shown: "), "days between");
}

#[test]
fn the_day_clocks_change_has_its_25_hours() {
    let mut draft = Draft::new("2027-10-29T12:00:00Z");
    draft.region(
        "berlin",
        "Europe/Berlin",
        true,
        &[("FREQ=DAILY;BYHOUR=1", 180)],
    );
    draft.service("inbound-mx", "mx", &[("berlin", 2)], 1);
    draft.variant("postfix", "postfix", "1", "2");
    draft.step("mx1.berlin", Stage::Test, 0, "2027-10-31T01:00", 1);
    let plan = draft.into_plan();
    let picture = svg(&plan);
    keep("fold.svg", &picture);
    assert_eq!(crate::check(&plan), []);
    assert_eq!(
        picture.matches("\"tick\"").count() + picture.matches("\"tick leap\"").count(),
        26 + overview_ticks(&picture)
    );
    assert_eq!(picture.matches("tick leap").count(), 1);
    assert!(picture.contains(">02</text>") && picture.contains("GMT").eq(&false));
}

fn overview_ticks(picture: &str) -> usize {
    let overview = &picture[..picture.find("maintenance window").unwrap()];
    overview.matches("\"tick\"").count()
}

#[test]
fn a_table_lists_every_host_once_in_the_order_of_the_plan() {
    let table = text(&coast());
    let mut rest = table.as_str();
    let mut steps = coast().steps;
    steps.sort_by_key(|step| (step.wave, step.start));
    for step in &steps {
        let name = format!(" {} ", step.host);
        assert_eq!(table.matches(&name).count(), 1, "{name}");
        let at = rest
            .find(&name)
            .unwrap_or_else(|| panic!("{name} in order"));
        rest = &rest[at..];
    }
    assert!(
        table.contains("  01:30-02:00  06:30  box2.boston"),
        "{table}"
    );
}

#[test]
fn nothing_from_a_plan_becomes_markup_or_moves_a_cursor() {
    let mut plan = coast();
    let evil = "<script>\"x\"</script>&\u{1b}[2J";
    plan.title = evil.to_owned();
    plan.tzdb = evil.to_owned();
    plan.variants[0].family = evil.to_owned();
    plan.variants[0].packages[0].to = evil.to_owned();
    plan.regions.get_mut(&region("oslo")).unwrap().time_zone = evil.to_owned();
    plan.regions.get_mut(&region("oslo")).unwrap().windows[0].rrule = evil.to_owned();
    let name = host("<b>&'mx");
    plan.steps[0].host = name;
    let mut report = report();
    report.not_planned[0].reason = NotPlannedReason::Unreachable {
        why: evil.to_owned(),
    };
    for document in [svg(&plan), html(&plan, Some(&report))] {
        assert_well_formed(&document);
        assert!(
            !document.contains("<script") && !document.contains("<b>&"),
            "escaped"
        );
        assert!(!document.contains('\u{1b}'));
    }
    assert!(!text(&plan).contains('\u{1b}'));
}

#[test]
fn thousands_of_hosts_are_drawn_as_counts() {
    let zones = [
        "Pacific/Auckland",
        "Asia/Kolkata",
        "Europe/Berlin",
        "America/Sao_Paulo",
        "America/New_York",
    ];
    let names: Vec<String> = (0..25).map(|n| format!("region-{n:02}")).collect();
    let regions: Vec<(&str, &str)> = names
        .iter()
        .enumerate()
        .map(|(n, name)| (name.as_str(), zones[n % 5]))
        .collect();
    let plan = many(&regions, 160, 40, 10);
    assert_eq!(plan.steps.len(), 5_000);
    assert_eq!(crate::check(&plan), []);
    let (picture, page, table) = (svg(&plan), html(&plan, None), text(&plan));
    keep("large.svg", &picture);
    keep("large.html", &page);
    keep("large.txt", &table);
    assert_well_formed(&picture);
    assert!(picture.len() < 3_000_000, "{}", picture.len());
    assert!(page.len() < 6_000_000, "{}", page.len());
    assert!(picture.contains("at most 10 at a time"));
}

#[test]
fn what_the_planner_made_is_drawn_with_its_report() {
    use crate::instances::{Family, Instance};
    for (family, name) in [(Family::Small, "small"), (Family::Middle, "middle")] {
        let instance = Instance::draw(family, 7).unwrap();
        let planned = crate::plan(&instance.request());
        let plan = planned.plan.unwrap();
        let page = html(&plan, Some(&planned.report));
        keep(&format!("{name}.html"), &page);
        keep(&format!("{name}.svg"), &svg(&plan));
        keep(&format!("{name}.txt"), &text(&plan));
        assert_well_formed(&page);
        assert!(page.contains("none is broken") && page.contains("no real host"));
    }
}

#[test]
fn more_regions_than_a_picture_can_show_are_said() {
    let mut plan = coast();
    let step = plan.steps[0].clone();
    for n in 0..1_000 {
        let mut more = step.clone();
        more.region = region(&format!("r{n}"));
        more.host = host(&format!("h{n}"));
        plan.steps.push(more);
    }
    let picture = svg(&plan);
    assert_well_formed(&picture);
    assert!(picture.contains("803 more regions beyond"));
}

#[test]
fn an_empty_plan_is_drawn_as_such() {
    let mut plan = coast();
    plan.steps.clear();
    plan.waves.clear();
    assert_well_formed(&svg(&plan));
    assert!(html(&plan, None).contains("This plan has no steps."));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_plan_is_drawn_within_bounds(
        shifts in proptest::collection::vec((-400_000_000i64..400_000_000, 0i64..100_000_000, 0u32..12), 15),
        minimum in any::<u32>(),
    ) {
        let mut plan = coast();
        for (step, (shift, length, wave)) in plan.steps.iter_mut().zip(shifts) {
            step.start = step.start.saturating_add(jiff::SignedDuration::from_mins(shift)).unwrap();
            step.end = step.start.saturating_add(jiff::SignedDuration::from_mins(length)).unwrap();
            step.wave = wave;
        }
        let mailbox = plan.services.get_mut(&service("mailbox")).unwrap();
        mailbox.minimum.insert(region("oslo"), minimum);
        mailbox.minimum_total = Some(minimum);
        let picture = svg(&plan);
        assert_well_formed(&picture);
        assert!(picture.len() < 20_000_000);
        text(&plan);
    }
}
