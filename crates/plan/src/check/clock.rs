//! The wall clock of a region, and the windows it shows.
//!
//! A window is open from the moment the wall clock first reaches its beginning to the moment it first
//! reaches its end, beginning plus duration on that clock: through a change of clocks it is shorter or
//! longer in real time. A time that clocks leap over is reached when they leap; one they show twice is
//! reached the first time.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Span, Timestamp};
use mailkeep_model::{PlannedRegion, Window};

use super::recurrence::Recurrence;

/// Longest window looked for. The fleet file allows a week.
pub(crate) const MAX_WINDOW: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Windows a region may have. A fleet file with more than a handful is a mistake, and a plan from a
/// stranger must not cost more than its size.
const MAX_WINDOWS: usize = 64;

/// Longest chain of windows without a gap that is followed, in days: where maintenance is always
/// allowed, windows join as far as a planner looks.
const MAX_DAYS: i64 = 366;

/// A stretch of time: from the first moment to before the second.
pub(crate) type Stretch = (Timestamp, Timestamp);

/// A region's clock, with its windows as far as they were asked for.
#[derive(Debug)]
pub(crate) struct Clock {
    zone: TimeZone,
    windows: Vec<(Recurrence, SignedDuration)>,
    /// Windows that open on a day, by day.
    opened: BTreeMap<Date, Vec<Stretch>>,
}

/// Why a region has no clock, or lacks a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClockProblem {
    /// The time zone is not in the database.
    Zone,
    /// This window is left out.
    Window {
        /// Its rule.
        rrule: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Clock {
    /// The clock of a region. A window that cannot be read is left out, and said; without a time zone
    /// the clock shows UTC and has no window.
    pub(crate) fn new(region: &PlannedRegion) -> (Self, Vec<ClockProblem>) {
        let mut problems = Vec::new();
        let Ok(zone) = TimeZoneDatabase::bundled().get(&region.time_zone) else {
            let clock = Self {
                zone: TimeZone::UTC,
                windows: Vec::new(),
                opened: BTreeMap::new(),
            };
            return (clock, vec![ClockProblem::Zone]);
        };
        let mut windows = Vec::new();
        for window in &region.windows {
            match readable(window, windows.len()) {
                Ok(window) => windows.push(window),
                Err(why) => problems.push(ClockProblem::Window {
                    rrule: window.rrule.clone(),
                    why,
                }),
            }
        }
        let clock = Self {
            zone,
            windows,
            opened: BTreeMap::new(),
        };
        (clock, problems)
    }

    /// What the wall clock shows.
    pub(crate) fn civil(&self, at: Timestamp) -> DateTime {
        self.zone.to_datetime(at)
    }

    /// The first moment at which the wall clock shows this, or has leapt over it.
    pub(crate) fn reaches(&self, civil: DateTime) -> Option<Timestamp> {
        // No offset is as large as 26 hours: here the clock does not show it yet, and there it does.
        let day = SignedDuration::from_hours(26);
        let as_utc = TimeZone::UTC.to_timestamp(civil).ok()?;
        let from = as_utc.checked_sub(day).ok()?;
        let to = as_utc.checked_add(day).ok()?;
        let mut begin = from;
        let mut offset = self.zone.to_offset(from);
        let changes = self
            .zone
            .following(from)
            .take_while(|change| change.timestamp() < to)
            .map(|change| (change.timestamp(), change.offset()));
        for (end, next) in changes.chain(std::iter::once((to, offset))) {
            let shown = offset.to_timestamp(civil).ok()?.max(begin);
            if shown < end {
                return Some(shown);
            }
            (begin, offset) = (end, next);
        }
        None
    }

    /// When its windows are open between two moments, joined where they touch, in order. Looks at no
    /// more than the given number of days.
    pub(crate) fn open_between(
        &mut self,
        from: Timestamp,
        to: Timestamp,
        max_days: usize,
    ) -> Vec<Stretch> {
        let last = self.civil(to).date();
        let week = Span::new().days(MAX_WINDOW.as_hours() / 24 + 1);
        let first = self.civil(from).date().saturating_sub(week);
        let mut all: Vec<Stretch> = Vec::new();
        for date in first
            .series(Span::new().days(1))
            .take(max_days.saturating_add(9))
            .take_while(|date| *date <= last)
        {
            all.extend(
                self.opening_on(date)
                    .iter()
                    .filter(|(opens, closes)| *closes > from && *opens < to),
            );
        }
        joined(all)
    }

    /// Whether a stretch lies wholly in its windows.
    pub(crate) fn is_open_throughout(&mut self, (from, to): Stretch) -> bool {
        // Longer than a year is no maintenance, whatever the windows.
        if to.duration_since(from) > SignedDuration::from_hours(MAX_DAYS * 24) {
            return false;
        }
        let days = usize::try_from(MAX_DAYS).unwrap_or(usize::MAX);
        self.open_between(from, to, days + 2)
            .iter()
            .any(|(opens, closes)| *opens <= from && to <= *closes)
    }

    fn opening_on(&mut self, date: Date) -> &[Stretch] {
        if !self.opened.contains_key(&date) {
            let mut stretches = Vec::new();
            for (rule, duration) in &self.windows {
                for time in rule.on(date) {
                    let begins = date.to_datetime(time);
                    let Ok(ends) = begins.checked_add(*duration) else {
                        continue;
                    };
                    if let (Some(opens), Some(closes)) = (self.reaches(begins), self.reaches(ends))
                        && opens < closes
                        && rule.lasts_until(begins, opens)
                    {
                        stretches.push((opens, closes));
                    }
                }
            }
            self.opened.insert(date, stretches);
        }
        self.opened.get(&date).map_or(&[], Vec::as_slice)
    }
}

/// Overlapping and touching stretches made one, in order.
pub(crate) fn joined(mut all: Vec<Stretch>) -> Vec<Stretch> {
    all.sort_unstable();
    let mut joined: Vec<Stretch> = Vec::new();
    for (opens, closes) in all {
        match joined.last_mut() {
            Some((_, end)) if opens <= *end => *end = closes.max(*end),
            Some(_) | None => joined.push((opens, closes)),
        }
    }
    joined
}

fn readable(window: &Window, have: usize) -> Result<(Recurrence, SignedDuration), String> {
    if have >= MAX_WINDOWS {
        return Err(format!("a region may have {MAX_WINDOWS} windows"));
    }
    if window.duration <= SignedDuration::ZERO || window.duration > MAX_WINDOW {
        return Err(format!(
            "a window lasts up to {} hours, not {} seconds",
            MAX_WINDOW.as_hours(),
            window.duration.as_secs()
        ));
    }
    Recurrence::parse(&window.rrule)
        .map(|rule| (rule, window.duration))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn clock(zone: &str, windows: &[(&str, i64)]) -> Clock {
        let region = PlannedRegion {
            time_zone: zone.to_owned(),
            owner: None,
            pilot: false,
            windows: windows
                .iter()
                .map(|(rrule, minutes)| Window {
                    rrule: (*rrule).to_owned(),
                    duration: SignedDuration::from_mins(*minutes),
                })
                .collect(),
        };
        let (clock, problems) = Clock::new(&region);
        assert_eq!(problems, []);
        clock
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn open_on(zone: &str, rule: &str, minutes: i64, day: Date) -> Vec<(String, i64)> {
        let mut clock = clock(zone, &[(rule, minutes)]);
        let from = clock.reaches(day.at(0, 0, 0, 0)).unwrap();
        let to = clock
            .reaches(day.tomorrow().unwrap().at(0, 0, 0, 0))
            .unwrap();
        clock
            .open_between(from, to, 3)
            .iter()
            .map(|(opens, closes)| (opens.to_string(), closes.duration_since(*opens).as_mins()))
            .collect()
    }

    #[test]
    fn a_window_is_shorter_when_clocks_leap_and_longer_when_they_fall_back() {
        let open = |day| {
            let rule = "FREQ=WEEKLY;BYDAY=SU;BYHOUR=1;BYMINUTE=30";
            open_on("Europe/Berlin", rule, 120, day)
        };
        assert_eq!(
            open(date(2027, 3, 21)),
            [("2027-03-21T00:30:00Z".to_owned(), 120)]
        );
        assert_eq!(
            open(date(2027, 3, 28)),
            [("2027-03-28T00:30:00Z".to_owned(), 60)]
        );
        assert_eq!(
            open(date(2027, 10, 31)),
            [("2027-10-30T23:30:00Z".to_owned(), 180)]
        );
    }

    #[test]
    fn a_beginning_or_end_that_clocks_leap_over_is_where_they_leap() {
        // 02:00 becomes 03:00 on 28 March 2027, at 01:00 UTC.
        let open = |rule, minutes| open_on("Europe/Berlin", rule, minutes, date(2027, 3, 28));
        let leap = "2027-03-28T01:00:00Z";
        assert_eq!(
            open("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", 90),
            [(leap.to_owned(), 60)]
        );
        assert_eq!(
            open("FREQ=DAILY;BYHOUR=1;BYMINUTE=0", 90),
            [("2027-03-28T00:00:00Z".to_owned(), 60)]
        );
        assert_eq!(open("FREQ=DAILY;BYHOUR=2;BYMINUTE=10", 30), []);
    }

    #[test]
    fn a_time_shown_twice_is_reached_the_first_time() {
        // 03:00 becomes 02:00 on 31 October 2027, at 01:00 UTC.
        let open = |rule, minutes| open_on("Europe/Berlin", rule, minutes, date(2027, 10, 31));
        let first = "2027-10-31T00:30:00Z";
        assert_eq!(
            open("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", 60),
            [(first.to_owned(), 120)]
        );
        assert_eq!(
            open("FREQ=DAILY;BYHOUR=2;BYMINUTE=0", 30),
            [("2027-10-31T00:00:00Z".to_owned(), 30)]
        );
    }

    #[test]
    fn windows_that_touch_are_one() {
        let mut clock = clock(
            "UTC",
            &[
                ("FREQ=WEEKLY;BYDAY=SA;BYHOUR=22", 120),
                ("FREQ=WEEKLY;BYDAY=SU;BYHOUR=0", 60),
            ],
        );
        assert!(clock.is_open_throughout((at("2026-11-21T23:30:00Z"), at("2026-11-22T00:30:00Z"))));
        assert!(clock.is_open_throughout((at("2026-11-21T22:00:00Z"), at("2026-11-22T01:00:00Z"))));
        assert!(
            !clock.is_open_throughout((at("2026-11-21T22:00:00Z"), at("2026-11-22T01:00:01Z")))
        );
        assert!(
            !clock.is_open_throughout((at("2026-11-21T21:59:59Z"), at("2026-11-21T22:30:00Z")))
        );
    }

    #[test]
    fn a_whole_day_that_clocks_leap_over_is_reached_when_they_leap() {
        // Samoa had no 30 December 2011.
        let clock = clock("Pacific/Apia", &[]);
        assert_eq!(
            clock.reaches(date(2011, 12, 30).at(12, 0, 0, 0)),
            Some(at("2011-12-30T10:00:00Z"))
        );
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let region = |zone: &str, rrule: &str, hours| PlannedRegion {
            time_zone: zone.to_owned(),
            owner: None,
            pilot: false,
            windows: vec![Window {
                rrule: rrule.to_owned(),
                duration: SignedDuration::from_hours(hours),
            }],
        };
        let good = "FREQ=DAILY;BYHOUR=1";
        assert_eq!(
            Clock::new(&region("Mars/Base", good, 1)).1,
            [ClockProblem::Zone]
        );
        for region in [
            region("UTC", "FREQ=WEEKLY;BYDAY=SU", 1),
            region("UTC", good, 0),
            region("UTC", good, 169),
        ] {
            assert!(matches!(
                &Clock::new(&region).1[..],
                [ClockProblem::Window { .. }]
            ));
        }
    }

    #[test]
    fn where_maintenance_is_always_allowed_windows_have_no_end() {
        let mut clock = clock("Europe/Berlin", &[("FREQ=DAILY;BYHOUR=0", 24 * 60)]);
        let (from, to) = (at("2026-11-21T12:00:00Z"), at("2027-05-21T12:00:00Z"));
        assert!(clock.is_open_throughout((from, to)));
        assert!(!clock.is_open_throughout((from, at("2028-05-21T12:00:00Z"))));
    }

    fn rules() -> impl Strategy<Value = String> {
        let day = "MO|TU|WE|TH|FR|SA|SU";
        let time = "BYHOUR=(0|1|2|3|12|23)(;BYMINUTE=(0|30|45|0,30))?";
        let patterns = [
            format!("FREQ=DAILY;{time}(;BYMONTH=(3|10|11)|;BYDAY=({day})(,SU)?)?"),
            format!("FREQ=WEEKLY;BYDAY=({day})(,SA)?;{time}(;WKST=SU|;UNTIL=20271031T023000Z)?"),
            format!("FREQ=MONTHLY;BYDAY=(1|2|-1|5)?({day});{time}"),
            format!("FREQ=MONTHLY;BYMONTHDAY=(1|13|31|-1);{time}"),
            format!("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=(1|-1|2);{time}"),
            format!("FREQ=YEARLY;BYMONTH=(3|10);BYDAY=(-1|1)?SU;{time}"),
            format!("FREQ=YEARLY;BYWEEKNO=(1|13|43|53);BYDAY=({day});{time}"),
            format!("FREQ=YEARLY;BYYEARDAY=(1|87|304|-1);{time}"),
            format!("FREQ=(WEEKLY|MONTHLY|YEARLY);{time}"),
        ];
        proptest::strategy::Union::new(
            patterns.map(|pattern| proptest::string::string_regex(&pattern).unwrap()),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// The planner's windows and the checker's, by two ways of reading the calendar.
        #[test]
        fn planner_and_checker_agree_when_windows_are_open(
            rule in rules(),
            other in rules(),
            minutes in prop_oneof![Just(30i64), Just(60), Just(90), Just(120), Just(1440), 15i64..3000],
            zone in prop_oneof![
                Just("Europe/Berlin"), Just("America/New_York"), Just("Australia/Lord_Howe"),
                Just("Asia/Kolkata"), Just("Pacific/Apia"), Just("Africa/Casablanca"),
                Just("Pacific/Auckland"), Just("America/St_Johns"), Just("UTC"),
            ],
            start in 0i64..700,
            days in 1i64..60,
        ) {
            let mut clock = clock(zone, &[(&rule, minutes), (&other, 60)]);
            let windows = [(rule.as_str(), minutes), (other.as_str(), 60)].map(|(rrule, minutes)| Window {
                rrule: rrule.to_owned(),
                duration: SignedDuration::from_mins(minutes),
            });
            let from = at("2026-06-01T00:00:00Z") + SignedDuration::from_hours(24 * start);
            let to = from + SignedDuration::from_hours(24 * days);
            let of_zone = crate::windows::time_zone(zone).unwrap();
            let planned: Vec<Stretch> = crate::windows::openings(&of_zone, &windows, from, to)
                .unwrap()
                .iter()
                .map(|window| (window.opens, window.closes))
                .collect();
            prop_assert_eq!(clock.open_between(from, to, 100), planned, "{} and {}", rule, other);
        }
    }
}
