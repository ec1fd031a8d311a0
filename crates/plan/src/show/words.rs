//! What a plan and its report say, in words for people.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use mailkeep_model::{
    Drain, HostName, Lane, NotPlannedReason, PackageChange, Plan, Remedy, Variant,
};

/// `1 host`, `2 hosts`.
pub fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// `emergency`, `regular`.
pub fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Emergency => "emergency",
        Lane::Regular => "regular",
    }
}

/// `3 d 4 h 30 min`, to the minute.
pub fn duration(duration: SignedDuration) -> String {
    let minutes = duration.as_mins();
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    let parts = [(days, "d"), (hours, "h"), (minutes, "min")];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(n, _)| *n != 0)
        .map(|(n, unit)| format!("{n} {unit}"))
        .collect();
    if parts.is_empty() {
        "0 min".to_owned()
    } else {
        parts.join(" ")
    }
}

/// `Sun 22 Nov 2026, 00:30` in a time zone.
pub fn moment(at: Timestamp, zone: &TimeZone) -> String {
    let civil = zone.to_datetime(at);
    format!("{}, {}", day(civil.date()), clock(civil.time()))
}

/// `Sun 22 Nov 2026`.
pub fn day(date: jiff::civil::Date) -> String {
    date.strftime("%a %-d %b %Y").to_string()
}

/// `Sun 22 Nov`.
pub fn short_day(date: jiff::civil::Date) -> String {
    date.strftime("%a %-d %b").to_string()
}

/// `00:30`; seconds only where there are some.
pub fn clock(time: jiff::civil::Time) -> String {
    if time.second() == 0 {
        format!("{:02}:{:02}", time.hour(), time.minute())
    } else {
        format!(
            "{:02}:{:02}:{:02}",
            time.hour(),
            time.minute(),
            time.second()
        )
    }
}

/// How a host leaves service: `packet filter`, `HAProxy on lb1`.
pub fn drain(drain: &Drain) -> String {
    match drain {
        Drain::Haproxy { front, server, .. } => format!("HAProxy on {front}, {server}"),
        Drain::None => "none".to_owned(),
        Drain::Product => "by the product".to_owned(),
        Drain::SynRefusal => "packet filter".to_owned(),
    }
}

/// `postfix 3.7.9 to 3.7.11`; where nothing is installed, `postfix 3.7.11, restart`.
pub fn package(change: &PackageChange) -> String {
    if change.from == change.to {
        format!("{} {}, restart", change.name, change.to)
    } else {
        format!("{} {} to {}", change.name, change.from, change.to)
    }
}

/// What is done to a kind of host, all of it.
pub fn variant(variant: &Variant) -> String {
    let mut parts: Vec<String> = variant.packages.iter().map(package).collect();
    if let Some(recipe) = &variant.recipe {
        parts.push(format!("recipe {}", recipe.path));
    }
    for (advisory, package) in &variant.mitigates {
        parts.push(format!("mitigates {advisory} until {package} is fixed"));
    }
    if variant.whole_cluster {
        parts.push("the whole cluster at once".to_owned());
    }
    parts.join("; ")
}

/// The same in short: its first package, and how many more.
pub fn variant_short(variant: &Variant) -> String {
    match (variant.packages.split_first(), &variant.recipe) {
        (Some((first, [])), _) => package(first),
        (Some((first, more)), _) => format!("{} +{}", package(first), more.len()),
        (None, Some(recipe)) => format!("recipe {}", recipe.path),
        (None, None) => "nothing".to_owned(),
    }
}

/// What a plan tries again by order of a person.
pub fn retries(plan: &Plan) -> Option<String> {
    let hosts: Vec<&str> = plan.retries.iter().map(HostName::as_str).collect();
    (!hosts.is_empty()).then(|| format!("tries again what failed on {}", hosts.join(", ")))
}

/// Whom the bounds of a plan are for.
pub fn as_timely(plan: &Plan) -> &'static str {
    if plan.steps.iter().any(|step| step.deadline.is_some()) {
        "plan that keeps the same deadlines"
    } else {
        "plan"
    }
}

/// Why a host has no step.
pub fn not_planned(reason: &NotPlannedReason) -> String {
    use NotPlannedReason as Reason;
    match reason {
        Reason::AlreadyProven => "it was patched and proven before".to_owned(),
        Reason::ChangeQuarantined { failed_on } => {
            format!(
                "the same change failed on {failed_on} and is set aside; `mailkeep plan --retry \
                 {failed_on}` tries it again"
            )
        }
        Reason::DependsOnUnplanned { host } => {
            format!("it waits for {host}, which is not planned")
        }
        Reason::FactsMissing => "nothing was ever seen of it; run `mailkeep scan`".to_owned(),
        Reason::FactsTooOld { seen_at } => {
            format!(
                "it was last seen on {} UTC; run `mailkeep scan`",
                moment(*seen_at, &TimeZone::UTC)
            )
        }
        Reason::MinimumInService {
            service,
            region,
            in_service,
            minimum,
        } => {
            let place = match region {
                Some(region) => format!("in {region}"),
                None => "over all regions".to_owned(),
            };
            format!(
                "{service} {place} has {in_service} in service and must keep {minimum}, whatever the \
                 time"
            )
        }
        Reason::Mitigated { package } => {
            format!("a mitigation is in force, and there is no fix of {package} yet")
        }
        Reason::NeedsPerson { why } => format!("a person must do it: {why}"),
        Reason::NoCandidate { package } => {
            format!("a fix of {package} is published, but its repositories do not offer it")
        }
        Reason::NoFix { package } => format!("there is no fix of {package}"),
        Reason::NoRegion => "the fleet file names no region for it".to_owned(),
        Reason::NoWindow { region, days } => {
            format!("{region} has no window long enough within {days} days")
        }
        Reason::PlannedElsewhere { plan } => {
            format!("plan {} has it and has not ended", plan.short())
        }
        Reason::RecipeWithoutFix {
            package,
            brings,
            fixed: Some(fixed),
        } => format!("its recipe brings {brings}, and the fix of {package} is in {fixed}"),
        Reason::RecipeWithoutFix {
            package, brings, ..
        } => {
            format!("its recipe brings {brings}, and nobody says whether {package} is fixed in it")
        }
        Reason::Unreachable { why } => format!("it cannot be reached: {why}"),
    }
}

/// What would make a deadline possible.
pub fn remedy(remedy: &Remedy) -> String {
    match remedy {
        Remedy::AnotherWindow { region, by } => {
            format!("another window in {region} on {} at the latest", day(*by))
        }
        Remedy::EmergencyLane => "the emergency lane".to_owned(),
        Remedy::MoreHosts {
            service,
            region,
            count,
        } => {
            let place = match region {
                Some(region) => format!(" in {region}"),
                None => String::new(),
            };
            format!(
                "{count} more {service} {}{place}",
                if *count == 1 { "host" } else { "hosts" }
            )
        }
        Remedy::MoreInParallel { scope, limit } => {
            format!("{limit} hosts at a time for the {scope}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        let text = |minutes| duration(SignedDuration::from_mins(minutes));
        assert_eq!(text(0), "0 min");
        assert_eq!(text(75), "1 h 15 min");
        assert_eq!(text(24 * 60), "1 d");
        assert_eq!(text(3 * 1440 + 61), "3 d 1 h 1 min");
    }

    #[test]
    fn moments_are_told_with_their_day() {
        let at = "2026-11-22T23:30:00Z".parse().unwrap();
        assert_eq!(moment(at, &TimeZone::UTC), "Sun 22 Nov 2026, 23:30");
        let oslo = jiff::tz::TimeZoneDatabase::bundled()
            .get("Europe/Oslo")
            .unwrap();
        assert_eq!(moment(at, &oslo), "Mon 23 Nov 2026, 00:30");
    }
}
