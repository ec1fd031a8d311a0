//! Recurrence rules of maintenance windows (RFC 5545 section 3.3.10), read strictly.
//!
//! Entry: [`Recurrence::parse`]. The crate that expands them leaves out what it does not know, as a
//! calendar must; here a part left out would open a window nobody meant, so each is looked at first.
//! Of the RFC this takes the part that needs no start date, because a fleet file gives none.
//!
//! The checker reads rules by a code of its own (`check::recurrence`), on purpose.

use ical::recur::expand::IcalRecurExpand;
use ical::recur::{IcalRecurDateTime, IcalRecurFreq, IcalRecurRule};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time, date};
use jiff::tz::TimeZone;

/// Why a text is no rule for a window. Names the part where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RecurrenceError(String);

/// A rule that a window can follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recurrence {
    rule: IcalRecurRule,
    until: Option<Until>,
}

/// The last moment at which a window may open (RFC 5545 section 3.3.10, `UNTIL`): UTC, or civil time.
/// A day alone is its midnight, the strictest reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// On the wall clock of the window.
    Civil(DateTime),
    /// UTC.
    Instant(Timestamp),
}

/// The longest rule, in bytes.
const LONGEST: usize = 500;

/// Times of day one rule may name: every five minutes. More is no window, and those of a year are made
/// at once.
const MOST_TIMES: usize = 288;

/// Where rules without a day start to count: a Monday, and the first of a year.
const START: Date = date(2024, 1, 1);

/// The calendar repeats itself after so many years.
const YEARS_OF_THE_CALENDAR: i32 = 400;

impl Recurrence {
    /// Reads a rule in capitals, without a leading `RRULE:`.
    pub fn parse(text: &str) -> Result<Self, RecurrenceError> {
        let wrong = |why: String| Err(RecurrenceError(why));
        if !text.is_ascii() {
            return wrong("only ASCII is allowed".to_owned());
        }
        if text.len() > LONGEST {
            return wrong(format!("more than {LONGEST} bytes"));
        }
        let mut until = None;
        let mut kept: Vec<&str> = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for part in text.split(';') {
            let Some((name, value)) = part.split_once('=') else {
                return wrong(format!("`{part}` is not of the form NAME=VALUE"));
            };
            if seen.contains(&name) {
                return wrong(format!("`{name}` stands twice"));
            }
            seen.push(name);
            check_part(name, value)?;
            if name == "UNTIL" {
                // Judged here: it is a moment, and the calendar below has none.
                until = Some(read_until(value)?);
            } else {
                kept.push(part);
            }
        }
        let rule = IcalRecurRule::parse(&kept.join(";"))
            .map_err(|error| RecurrenceError(error.to_string()))?;
        if matches!(
            rule.freq,
            IcalRecurFreq::Hourly | IcalRecurFreq::Minutely | IcalRecurFreq::Secondly
        ) {
            return wrong("`FREQ`: a window recurs daily, weekly, monthly or yearly".to_owned());
        }
        if rule.by_hour.is_empty() {
            return wrong("BYHOUR is missing: at what time does the window open?".to_owned());
        }
        let times = [&rule.by_hour, &rule.by_minute, &rule.by_second];
        if times
            .iter()
            .map(|list| list.len().max(1))
            .product::<usize>()
            > MOST_TIMES
        {
            return wrong(format!("it comes more than {MOST_TIMES} times a day"));
        }
        match rule.problems().first() {
            Some(problem) => wrong(problem.to_string()),
            None => Ok(Self { rule, until }),
        }
    }

    /// Whether there is any day on which it comes, `UNTIL` aside: there is no 30th of February.
    pub fn ever_comes(&self) -> bool {
        let mut rule = self.rule.clone();
        let last = i32::from(START.year()) + YEARS_OF_THE_CALENDAR;
        rule.until = Some(IcalRecurDateTime::date(last, 12, 31));
        let start = civil(START.to_datetime(Time::midnight()));
        IcalRecurExpand::new(rule, start).next().is_some()
    }

    /// The times on the wall clock at which it comes from `first` to `last`, both included, `UNTIL`
    /// aside.
    pub(crate) fn between(
        &self,
        first: DateTime,
        last: DateTime,
    ) -> impl Iterator<Item = DateTime> {
        let mut rule = self.rule.clone();
        rule.until = Some(civil(last));
        let start = civil(self.anchor(first.date()).to_datetime(Time::midnight()));
        IcalRecurExpand::new(rule, start)
            .filter_map(jiff)
            .skip_while(move |at| *at < first)
    }

    /// When it ends.
    pub(crate) fn until(&self) -> Option<Until> {
        self.until
    }

    /// Where it starts to count. A rule that names no day of the week or month would take it from the
    /// start: for those it is always the same one. The others may start near by, which saves counting
    /// through years.
    fn anchor(&self, first: Date) -> Date {
        let names_its_days = match self.rule.freq {
            IcalRecurFreq::Daily | IcalRecurFreq::Monthly => true,
            IcalRecurFreq::Weekly => !self.rule.by_day.is_empty(),
            _ => false,
        };
        if names_its_days || first < START {
            first.first_of_month()
        } else {
            START
        }
    }
}

/// Whether a part is one that a window may have, each of its values read for itself.
fn check_part(name: &str, value: &str) -> Result<(), RecurrenceError> {
    let wrong = |why: String| Err(RecurrenceError(why));
    match name {
        "COUNT" => {
            return wrong("COUNT counts from a start date, and a fleet file gives none".to_owned());
        }
        "INTERVAL" if value != "1" => {
            return wrong(
                "INTERVAL counts from a start date, and a fleet file gives none; every second week \
                 is said with BYDAY=1SU,3SU and FREQ=MONTHLY"
                    .to_owned(),
            );
        }
        "INTERVAL" | "UNTIL" => return Ok(()),
        "BYDAY" | "BYHOUR" | "BYMINUTE" | "BYMONTH" | "BYMONTHDAY" | "BYSECOND" | "BYSETPOS"
        | "BYWEEKNO" | "BYYEARDAY" | "FREQ" | "WKST" => {}
        other => return wrong(format!("`{other}` is no part of a recurrence rule")),
    }
    for one in value.split(',') {
        let plain = one.strip_prefix(['+', '-']).unwrap_or(one);
        if plain.is_empty() || !plain.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return wrong(format!("`{value}` is not a valid {}", kind_of(name)));
        }
        let read = if name == "FREQ" {
            IcalRecurRule::parse(&format!("FREQ={value}"))
        } else {
            IcalRecurRule::parse(&format!("FREQ=DAILY;{name}={one}"))
        };
        let sound = read.is_ok_and(|rule| {
            // A minute of 61 seconds is nothing to wait for.
            !rule.by_second.contains(&60)
                && rule.by_day.iter().all(|day| {
                    day.ordinal
                        .is_none_or(|nth| (1..=53).contains(&nth.unsigned_abs()))
                })
        });
        if !sound {
            return wrong(format!("`{value}` is not a valid {}", kind_of(name)));
        }
    }
    Ok(())
}

fn kind_of(name: &str) -> String {
    match name {
        "BYDAY" | "WKST" => "weekday".to_owned(),
        other => format!("value of {other}"),
    }
}

fn read_until(text: &str) -> Result<Until, RecurrenceError> {
    let wrong = |_| RecurrenceError(format!("`{text}` is no time until which it could last"));
    let civil = |text: &str| match text.len() {
        8 => Date::strptime("%Y%m%d", text).map(|day| day.to_datetime(Time::midnight())),
        _ => DateTime::strptime("%Y%m%dT%H%M%S", text),
    };
    Ok(match text.strip_suffix('Z') {
        None => Until::Civil(civil(text).map_err(wrong)?),
        Some(utc) => {
            let at = civil(utc)
                .map_err(wrong)?
                .to_zoned(TimeZone::UTC)
                .map_err(wrong)?;
            Until::Instant(at.timestamp())
        }
    })
}

fn civil(at: DateTime) -> IcalRecurDateTime {
    let small = |number: i8| u8::try_from(number).unwrap_or_default();
    IcalRecurDateTime {
        year: at.year().into(),
        month: small(at.month()),
        day: small(at.day()),
        hour: small(at.hour()),
        minute: small(at.minute()),
        second: small(at.second()),
    }
}

/// `None` only outside jiff's range of years, which no rule that is bounded by jiff's times reaches.
fn jiff(at: IcalRecurDateTime) -> Option<DateTime> {
    let small = |number: u8| i8::try_from(number).ok();
    DateTime::new(
        at.year.try_into().ok()?,
        small(at.month)?,
        small(at.day)?,
        small(at.hour)?,
        small(at.minute)?,
        small(at.second)?,
        0,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_open_another_window_than_was_meant_is_refused() {
        for (text, says) in [
            (
                "FREQ=WEEKLY;BYDAY=SO;BYHOUR=1",
                "`SO` is not a valid weekday",
            ),
            ("FREQ=MONTHLY;BYDAY=5.SU;BYHOUR=1", "not a valid weekday"),
            ("FREQ=MONTHLY;BYDAY=0SU;BYHOUR=1", "not a valid weekday"),
            ("FREQ=MONTHLY;BYDAY=1SU,;BYHOUR=1", "not a valid weekday"),
            ("FREQ=WEEKLY;BYDAYS=SU;BYHOUR=1", "`BYDAYS` is no part"),
            (
                "FREQ=WEEKLY;BYDAY=SU;BYHOUR=1;BYHOUR=2",
                "`BYHOUR` stands twice",
            ),
            ("FREQ=WEEKLY;BYDAY=SU;BYHOUR=", "value of BYHOUR"),
            ("FREQ=WEEKLY;BYDAY=SU;BYHOUR= 1", "value of BYHOUR"),
            ("FREQ=DAILY;BYHOUR=1;BYSECOND=60", "value of BYSECOND"),
            ("FREQ=DAILY;BYHOUR=1;", "`` is not of the form"),
            ("FREQ=WEEKLY;BYDAY=1SU;BYHOUR=1", "ordinal"),
            ("FREQ=WEEKLY;BYMONTHDAY=1;BYHOUR=1", "BYMONTHDAY"),
            ("FREQ=DAILY;BYHOUR=1;RSCALE=HEBREW", "`RSCALE` is no part"),
            ("FREQ=DAILY;BYHOUR=1;UNTIL=soon", "no time until"),
            (
                "FREQ=YEARLY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11;BYMINUTE=0,1,2,3,4,5;BYSECOND=0,1,2,3,4",
                "more than 288 times a day",
            ),
            ("BYHOUR=1", "Missing recurrence frequency"),
        ] {
            let error = Recurrence::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_day_that_never_comes_is_told_from_one_that_comes_rarely() {
        let comes = |text: &str| Recurrence::parse(text).unwrap().ever_comes();
        assert!(!comes("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;BYHOUR=1"));
        assert!(!comes("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30;BYHOUR=1"));
        assert!(comes(
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=SU;BYHOUR=1"
        ));
    }
}
