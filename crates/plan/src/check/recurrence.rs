//! Recurrence rules (RFC 5545 section 3.3.10), read a second time: on which days, and when on them,
//! does a window open?
//!
//! The checker's own evaluation, day by day over the civil calendar, on purpose not the one the
//! planner resolves windows by: a mistake in one shows in the other. It takes what a fleet file may
//! say, which is the part of the RFC that needs no start date; anything else is refused by name.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time, Weekday};

/// Times of day one rule may name: every five minutes. More is no window, and would make a `BYSETPOS`
/// over a year slow.
const MAX_TIMES: usize = 288;

/// Why a rule cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecurrenceError {
    /// A part that is not of the form `NAME=VALUE`, stands twice, or has a value out of its range.
    #[error("{0:?} is no part of a recurrence rule")]
    Part(String),
    /// `FREQ` is missing or finer than a day.
    #[error("it recurs neither daily, weekly, monthly nor yearly")]
    Frequency,
    /// It counts from a start date, and a window has none.
    #[error("{0} needs a start date, and a window has none")]
    NeedsStart(&'static str),
    /// Sound, and beyond what a window needs.
    #[error("{0}")]
    Unsupported(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Civil(DateTime),
    Utc(Timestamp),
}

/// A rule, ready to be asked about days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recurrence {
    frequency: Frequency,
    months: Vec<i16>,
    weeks: Vec<i16>,
    year_days: Vec<i16>,
    month_days: Vec<i16>,
    /// Which one of the period (0 is every one; -1 the last), and the day of the week.
    days: Vec<(i16, Weekday)>,
    positions: Vec<i16>,
    /// Sorted, at least one.
    times: Vec<Time>,
    until: Option<Until>,
    week_start: Weekday,
}

impl Recurrence {
    /// Reads a rule, without a leading `RRULE:`.
    pub(crate) fn parse(rule: &str) -> Result<Self, RecurrenceError> {
        let mut frequency = None;
        let (mut hours, mut minutes, mut seconds) = (Vec::new(), vec![0], vec![0]);
        let mut this = Self {
            frequency: Frequency::Daily,
            months: Vec::new(),
            weeks: Vec::new(),
            year_days: Vec::new(),
            month_days: Vec::new(),
            days: Vec::new(),
            positions: Vec::new(),
            times: Vec::new(),
            until: None,
            week_start: Weekday::Monday,
        };
        let mut seen: Vec<&str> = Vec::new();
        for part in rule.split(';') {
            let bad = || RecurrenceError::Part(part.chars().take(80).collect());
            let (name, value) = part.split_once('=').ok_or_else(bad)?;
            if seen.contains(&name) {
                return Err(bad());
            }
            seen.push(name);
            let list = |lowest: i16, highest: i16| numbers(value, lowest, highest).ok_or_else(bad);
            let signed = |highest: i16| {
                list(-highest, highest).and_then(|all| {
                    if all.contains(&0) {
                        Err(bad())
                    } else {
                        Ok(all)
                    }
                })
            };
            match name {
                "FREQ" => {
                    frequency = Some(match value {
                        "DAILY" => Frequency::Daily,
                        "WEEKLY" => Frequency::Weekly,
                        "MONTHLY" => Frequency::Monthly,
                        "YEARLY" => Frequency::Yearly,
                        _ => return Err(RecurrenceError::Frequency),
                    });
                }
                "INTERVAL" if value == "1" => {}
                "INTERVAL" => return Err(RecurrenceError::NeedsStart("INTERVAL")),
                "COUNT" => return Err(RecurrenceError::NeedsStart("COUNT")),
                "BYMONTH" => this.months = list(1, 12)?,
                "BYWEEKNO" => this.weeks = signed(53)?,
                "BYYEARDAY" => this.year_days = signed(366)?,
                "BYMONTHDAY" => this.month_days = signed(31)?,
                "BYSETPOS" => this.positions = signed(366)?,
                "BYHOUR" => hours = list(0, 23)?,
                "BYMINUTE" => minutes = list(0, 59)?,
                "BYSECOND" => seconds = list(0, 59)?,
                "BYDAY" => {
                    this.days = value
                        .split(',')
                        .map(|day| numbered_day(day).ok_or_else(bad))
                        .collect::<Result<_, _>>()?;
                }
                "WKST" => this.week_start = weekday(value).ok_or_else(bad)?,
                "UNTIL" => this.until = Some(until(value).ok_or_else(bad)?),
                _ => return Err(bad()),
            }
        }
        this.frequency = frequency.ok_or(RecurrenceError::Frequency)?;
        if hours.len() * minutes.len() * seconds.len() > MAX_TIMES {
            return Err(RecurrenceError::Unsupported("too many times a day"));
        }
        for hour in &hours {
            for minute in &minutes {
                for second in &seconds {
                    // In range: the lists were read with the ranges of a clock.
                    let small = |n: &i16| i8::try_from(*n).unwrap_or_default();
                    let time = Time::new(small(hour), small(minute), small(second), 0);
                    this.times.extend(time.ok());
                }
            }
        }
        this.times.sort_unstable();
        this.times.dedup();
        this.fill_from_start()?;
        Ok(this)
    }

    /// What RFC 5545 would take from the start date: a fleet file gives none, and it is taken as
    /// midnight of a Monday that is the first of a year. An hour must stand in the rule.
    fn fill_from_start(&mut self) -> Result<(), RecurrenceError> {
        if self.times.is_empty() {
            return Err(RecurrenceError::NeedsStart("a rule without BYHOUR"));
        }
        let numbered = self.days.iter().any(|(nth, _)| *nth != 0);
        let dated =
            !self.days.is_empty() || !self.month_days.is_empty() || !self.year_days.is_empty();
        match self.frequency {
            Frequency::Weekly if self.days.is_empty() => self.days.push((0, Weekday::Monday)),
            Frequency::Daily | Frequency::Weekly => {}
            Frequency::Monthly | Frequency::Yearly if dated || !self.weeks.is_empty() => {}
            Frequency::Monthly => self.month_days.push(1),
            Frequency::Yearly => {
                self.month_days.push(1);
                if self.months.is_empty() {
                    self.months.push(1);
                }
            }
        }
        let fine = matches!(self.frequency, Frequency::Daily | Frequency::Weekly);
        if fine && numbered {
            return Err(RecurrenceError::Unsupported(
                "a numbered day needs FREQ=MONTHLY or FREQ=YEARLY",
            ));
        }
        if self.weeks.is_empty() {
            return Ok(());
        }
        let plain = self.frequency == Frequency::Yearly
            && self.week_start == Weekday::Monday
            && self.positions.is_empty()
            && !numbered
            && !self.days.is_empty();
        if plain {
            Ok(())
        } else {
            Err(RecurrenceError::Unsupported(
                "BYWEEKNO needs FREQ=YEARLY with plain days, and nothing else",
            ))
        }
    }

    /// The times at which it comes on a day, `UNTIL` aside.
    pub(crate) fn on(&self, date: Date) -> Vec<Time> {
        if !self.has_day(date) {
            return Vec::new();
        }
        if self.positions.is_empty() {
            return self.times.clone();
        }
        let all: Vec<DateTime> = self
            .period(date)
            .filter(|day| self.has_day(*day))
            .flat_map(|day| self.times.iter().map(move |time| day.to_datetime(*time)))
            .collect();
        let mut chosen: Vec<Time> = self
            .positions
            .iter()
            .filter_map(|position| nth(&all, *position))
            .filter(|at| at.date() == date)
            .map(DateTime::time)
            .collect();
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    /// Whether a coming at this moment is not after `UNTIL`.
    pub(crate) fn lasts_until(&self, civil: DateTime, instant: Timestamp) -> bool {
        match self.until {
            None => true,
            Some(Until::Civil(until)) => civil <= until,
            Some(Until::Utc(until)) => instant <= until,
        }
    }

    /// The days of the period that a day lies in.
    fn period(&self, date: Date) -> impl Iterator<Item = Date> + use<> {
        let (first, last) = match self.frequency {
            Frequency::Daily => (date, date),
            Frequency::Weekly => {
                let back = date.weekday().since(self.week_start);
                let first = days_later(date, -i64::from(back));
                (first, days_later(first, 6))
            }
            Frequency::Monthly => (date.first_of_month(), date.last_of_month()),
            Frequency::Yearly => (date.first_of_year(), date.last_of_year()),
        };
        first
            .series(jiff::Span::new().days(1))
            .take_while(move |day| *day <= last)
    }

    fn has_day(&self, date: Date) -> bool {
        let month = i16::from(date.month());
        let from_end = |n: i16, length: i16| n - length - 1;
        let either = |list: &[i16], n: i16, length: i16| {
            list.is_empty() || list.contains(&n) || list.contains(&from_end(n, length))
        };
        let (day, month_length) = (i16::from(date.day()), i16::from(date.days_in_month()));
        let week = date.iso_week_date();
        (self.months.is_empty() || self.months.contains(&month))
            && either(&self.month_days, day, month_length)
            && either(&self.year_days, date.day_of_year(), date.days_in_year())
            && either(
                &self.weeks,
                i16::from(week.week()),
                i16::from(week.weeks_in_year()),
            )
            && (self.days.is_empty() || self.days.iter().any(|day| self.is_nth(date, *day)))
    }

    fn is_nth(&self, date: Date, (number, weekday): (i16, Weekday)) -> bool {
        if date.weekday() != weekday {
            return false;
        }
        if number == 0 {
            return true;
        }
        // Within the month, but for a yearly rule that names no month: within the year.
        let in_year = self.frequency == Frequency::Yearly && self.months.is_empty();
        let (day, length) = if in_year {
            (date.day_of_year(), date.days_in_year())
        } else {
            (i16::from(date.day()), i16::from(date.days_in_month()))
        };
        let from_start = (day - 1) / 7 + 1;
        let from_end = -((length - day) / 7 + 1);
        number == from_start || number == from_end
    }
}

fn nth(all: &[DateTime], position: i16) -> Option<DateTime> {
    let place = usize::from(position.unsigned_abs());
    let index = if position > 0 {
        place.checked_sub(1)?
    } else {
        all.len().checked_sub(place)?
    };
    all.get(index).copied()
}

fn days_later(date: Date, days: i64) -> Date {
    date.saturating_add(jiff::Span::new().days(days))
}

fn numbers(value: &str, lowest: i16, highest: i16) -> Option<Vec<i16>> {
    let mut all = value
        .split(',')
        .map(|number| {
            let number: i16 = number.parse().ok()?;
            (lowest..=highest).contains(&number).then_some(number)
        })
        .collect::<Option<Vec<i16>>>()?;
    all.sort_unstable();
    all.dedup();
    Some(all)
}

fn numbered_day(text: &str) -> Option<(i16, Weekday)> {
    let at = text.len().checked_sub(2)?;
    let (number, day) = (text.get(..at)?, text.get(at..)?);
    let number = if number.is_empty() {
        0
    } else {
        let number: i16 = number.parse().ok()?;
        if number == 0 || number.abs() > 53 {
            return None;
        }
        number
    };
    Some((number, weekday(day)?))
}

fn weekday(text: &str) -> Option<Weekday> {
    Some(match text {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return None,
    })
}

/// A date is taken as its midnight, the strictest reading.
fn until(text: &str) -> Option<Until> {
    let (civil, utc) = match text.strip_suffix('Z') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let number = |from: usize, to: usize| -> Option<i16> {
        let digits = civil.get(from..to)?;
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let small = |from: usize, to: usize| i8::try_from(number(from, to)?).ok();
    let date = Date::new(number(0, 4)?, small(4, 6)?, small(6, 8)?).ok()?;
    let time = match civil.get(8..)? {
        "" => Time::midnight(),
        _ if civil.len() == 15 && civil.get(8..9) == Some("T") => {
            Time::new(small(9, 11)?, small(11, 13)?, small(13, 15)?, 0).ok()?
        }
        _ => return None,
    };
    let at = date.to_datetime(time);
    if utc {
        let zoned = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(Until::Utc(zoned.timestamp()))
    } else {
        Some(Until::Civil(at))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    /// The days of October 2026 (it begins on a Thursday) on which a rule comes.
    fn days_of_october(rule: &str) -> Vec<i8> {
        let rule = Recurrence::parse(rule).unwrap();
        (1..=31)
            .filter(|day| !rule.on(date(2026, 10, *day)).is_empty())
            .collect()
    }

    #[test]
    fn the_usual_windows_come_on_their_days() {
        for (rule, days) in [
            (
                "FREQ=WEEKLY;BYDAY=SU;BYHOUR=1;BYMINUTE=30",
                vec![4, 11, 18, 25],
            ),
            ("FREQ=MONTHLY;BYDAY=2TU;BYHOUR=22", vec![13]),
            ("FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=22", vec![30]),
            ("FREQ=MONTHLY;BYDAY=1SU,3SU;BYHOUR=2", vec![4, 18]),
            ("FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=2", vec![31]),
            ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=9,10;BYHOUR=2", vec![9]),
            (
                "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;BYHOUR=2",
                vec![30],
            ),
            ("FREQ=YEARLY;BYMONTH=10;BYDAY=2SA;BYHOUR=2", vec![10]),
            ("FREQ=YEARLY;BYDAY=40MO;BYHOUR=2", vec![5]),
            ("FREQ=YEARLY;BYWEEKNO=42;BYDAY=TU;BYHOUR=2", vec![13]),
            ("FREQ=YEARLY;BYYEARDAY=-92;BYHOUR=2", vec![1]),
            ("FREQ=DAILY;BYMONTH=11;BYHOUR=2", vec![]),
            // No day named: that of a Monday which is the first of a year.
            ("FREQ=WEEKLY;BYHOUR=2", vec![5, 12, 19, 26]),
            ("FREQ=MONTHLY;BYHOUR=2", vec![1]),
            ("FREQ=YEARLY;BYMONTH=10;BYHOUR=2", vec![1]),
            ("FREQ=YEARLY;BYHOUR=2", vec![]),
        ] {
            assert_eq!(days_of_october(rule), days, "{rule}");
        }
    }

    #[test]
    fn several_times_a_day_come_in_order() {
        let rule = Recurrence::parse("FREQ=DAILY;BYHOUR=22,1;BYMINUTE=30,0").unwrap();
        let times: Vec<String> = rule
            .on(date(2026, 10, 1))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(times, ["01:00:00", "01:30:00", "22:00:00", "22:30:00"]);
    }

    #[test]
    fn what_needs_a_start_date_is_refused() {
        for rule in [
            "FREQ=WEEKLY;BYDAY=SU",
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU;BYHOUR=1",
            "FREQ=DAILY;COUNT=3;BYHOUR=1",
        ] {
            let error = Recurrence::parse(rule).unwrap_err();
            assert!(
                matches!(error, RecurrenceError::NeedsStart(_)),
                "{rule}: {error}"
            );
        }
        for rule in [
            "",
            "FREQ=HOURLY;BYHOUR=1",
            "FREQ=WEEKLY;BYDAY=2SU;BYHOUR=1",
            "BYHOUR=24",
            "FREQ=DAILY;BYHOUR=1;BYHOUR=2",
        ] {
            assert!(Recurrence::parse(rule).is_err(), "{rule}");
        }
    }

    #[test]
    fn a_rule_ends_with_its_until() {
        let midnight = date(2026, 10, 4).at(0, 0, 0, 0);
        let utc = midnight
            .to_zoned(jiff::tz::TimeZone::UTC)
            .unwrap()
            .timestamp();
        let lasts = |until: &str| {
            let rule = format!("FREQ=DAILY;BYHOUR=0;UNTIL={until}");
            Recurrence::parse(&rule).unwrap().lasts_until(midnight, utc)
        };
        assert!(lasts("20261004"));
        assert!(lasts("20261004T000000Z"));
        assert!(!lasts("20261003"));
        assert!(!lasts("20261003T235959Z"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*", day in 0i64..4000) {
            if let Ok(rule) = Recurrence::parse(&text) {
                rule.on(days_later(date(2024, 1, 1), day));
            }
        }

        #[test]
        fn never_panics_on_what_looks_like_a_rule(
            freq in "DAILY|WEEKLY|MONTHLY|YEARLY",
            parts in "(;(BYDAY|BYMONTH|BYSETPOS|UNTIL|BYWEEKNO|BYMONTHDAY|WKST)=(-?[0-9]{1,8}(SU|MO|T|Z)?,?){1,3}){0,4}",
            day in 0i64..4000,
        ) {
            if let Ok(rule) = Recurrence::parse(&format!("FREQ={freq};BYHOUR=3{parts}")) {
                rule.on(days_later(date(2024, 1, 1), day));
            }
        }
    }
}
