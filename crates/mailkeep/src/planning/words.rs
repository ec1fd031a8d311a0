//! What a planner's facts say to a person.

use jiff::tz::TimeZone;
use mailkeep_model::{NotPlannedReason, PlannedRegion, Timestamp, text};
use mailkeep_plan::show;

/// A time in a region's own time: `Tue 2026-11-24 21:00 WET`.
pub fn local(at: Timestamp, region: Option<&PlannedRegion>) -> String {
    let zone = region
        .and_then(|region| mailkeep_plan::windows::time_zone(&region.time_zone).ok())
        .unwrap_or(TimeZone::UTC);
    at.to_zoned(zone)
        .strftime("%a %Y-%m-%d %H:%M %Z")
        .to_string()
}

/// A time in UTC, to the minute: `2026-11-24 21:00Z`.
pub fn utc(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%d %H:%MZ")
        .to_string()
}

/// A length of time: `14 d 3 h`, `2 h 30 min`, `45 min`.
pub fn length(minutes: u64) -> String {
    let (days, hours, rest) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    let mut parts = Vec::new();
    if days > 0 {
        parts.push(format!("{days} d"));
    }
    if hours > 0 {
        parts.push(format!("{hours} h"));
    }
    // Nobody counts the minutes of a fortnight.
    if (rest > 0 && days == 0) || parts.is_empty() {
        parts.push(format!("{rest} min"));
    }
    parts.join(" ")
}

/// A count and its noun: `1 host`, `2 hosts`.
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Why a host is not planned, in a sentence without its end.
pub fn reason(reason: &NotPlannedReason) -> String {
    text::printable(&show::words::not_planned(reason)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_as_people_tell_them() {
        for (minutes, said) in [
            (0, "0 min"),
            (45, "45 min"),
            (60, "1 h"),
            (150, "2 h 30 min"),
            (1440, "1 d"),
            (1441, "1 d"),
            (20_340, "14 d 3 h"),
        ] {
            assert_eq!(length(minutes), said);
        }
    }

    #[test]
    fn a_local_time_names_its_zone_on_both_sides_of_a_clock_change() {
        let region = PlannedRegion {
            time_zone: "Europe/Berlin".to_owned(),
            owner: None,
            pilot: false,
            windows: Vec::new(),
        };
        for (at, said) in [
            ("2027-03-28T00:30:00Z", "Sun 2027-03-28 01:30 CET"),
            ("2027-03-28T01:30:00Z", "Sun 2027-03-28 03:30 CEST"),
        ] {
            assert_eq!(local(at.parse().unwrap(), Some(&region)), said);
        }
    }
}
