//! Days, ages and numbers as a person reads them.

use std::fmt::Display;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// `Tue 24 Nov 2026`.
pub(super) fn day(date: Date) -> String {
    date.strftime("%a %-d %b %Y").to_string()
}

/// `21 Nov 2026, 22:04 UTC`.
pub(super) fn moment(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC)
        .strftime("%-d %b %Y, %H:%M UTC")
        .to_string()
}

/// The day it is, in UTC.
pub(super) fn utc_day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// `in 3 days`, `today`, `overdue by 2 days`; the last one with `true`.
pub(super) fn distance(today: Date, due: Date) -> (String, bool) {
    let days = today.duration_until(due).as_hours() / 24;
    match days {
        0 => ("today".to_owned(), false),
        1 => ("tomorrow".to_owned(), false),
        2.. => (format!("in {days} days"), false),
        -1 => ("overdue since yesterday".to_owned(), true),
        _ => (format!("overdue by {} days", -days), true),
    }
}

/// `under an hour`, `7 hours`, `12 days`.
pub(super) fn age(now: Timestamp, then: Timestamp) -> String {
    let hours = now.duration_since(then).as_hours();
    match hours {
        ..=-1 => "in the future".to_owned(),
        0 => "under an hour".to_owned(),
        1 => "1 hour".to_owned(),
        2..=47 => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    }
}

/// `1 server`, `12 servers`.
pub(super) fn some(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// `58 201`, with narrow spaces that do not break.
pub(super) fn grouped(count: impl Display) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `mx1, mx2 and 3 more`; `mx1 and mx2`.
pub(super) fn list<'a>(names: impl Iterator<Item = &'a str>, at_most: usize) -> String {
    let names: Vec<&str> = names.collect();
    let shown = if names.len() > at_most + 1 {
        at_most
    } else {
        names.len()
    };
    let (head, rest) = names.split_at(shown);
    if !rest.is_empty() {
        return format!("{} and {} more", head.join(", "), rest.len());
    }
    match head.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_due_day_is_told_by_its_distance() {
        let today = "2026-11-21".parse().unwrap();
        for (due, words, overdue) in [
            ("2026-11-21", "today", false),
            ("2026-11-22", "tomorrow", false),
            ("2026-12-01", "in 10 days", false),
            ("2026-11-20", "overdue since yesterday", true),
            ("2026-11-01", "overdue by 20 days", true),
        ] {
            let due = due.parse().unwrap();
            assert_eq!(distance(today, due), (words.to_owned(), overdue));
        }
    }

    #[test]
    fn a_list_is_cut_only_where_that_saves_a_name() {
        let list = |names: &[&'static str]| super::list(names.iter().copied(), 2);
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b"]), "a and b");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(list(&["a", "b", "c", "d"]), "a, b and 2 more");
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(58_201), "58\u{202f}201");
    }
}
