//! Maintenance windows and time zones, checked when the file is read, so that no plan meets one it
//! cannot resolve.

use jiff::SignedDuration;
use jiff::tz::TimeZoneDatabase;
use mailkeep_model::Window;
use mailkeep_plan::recurrence::Recurrence;

use super::read::{Item, Reader, Text};

/// A week: more is no window but the normal state of things.
const MAX_WINDOW: SignedDuration = SignedDuration::from_hours(7 * 24);

/// An IANA time zone name of the bundled database.
pub(super) fn time_zone(reader: &mut Reader<'_>, text: Text) -> Option<String> {
    let database = TimeZoneDatabase::bundled();
    if database.get(&text.value).is_ok() {
        return Some(text.value);
    }
    let message = format!("{:?} is no time zone of the IANA database", text.value);
    let hint = database
        .available()
        .map(|name| name.to_string())
        .filter(|_| text.value.len() < 64 && !reader.full())
        .map(|name| (strsim::osa_distance(&text.value, &name), name))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map_or_else(
            || "names look like Europe/Berlin or America/New_York".to_owned(),
            |(_, name)| format!("did you mean {name:?}?"),
        );
    reader.fault_hint(&text.path, text.span, message, Some(hint));
    None
}

/// One window.
///
/// Of RFC 5545 this takes the part that needs no start date, because a fleet file gives none: no
/// `COUNT`, no `INTERVAL` above 1, and a time of day in `BYHOUR`. It must recur daily or less
/// often, and happen at all.
pub(super) fn window(reader: &mut Reader<'_>, item: Item<'_>) -> Option<Window> {
    let mut section = item.section(reader)?;
    let rrule = section.take("rrule").and_then(|item| item.text(reader));
    let duration = section.take("duration");
    if rrule.is_none() || duration.is_none() {
        let missing = if rrule.is_none() { "rrule" } else { "duration" };
        let message = format!("a window needs {missing}");
        let hint = "{ rrule = \"FREQ=WEEKLY;BYDAY=SU;BYHOUR=1;BYMINUTE=30\", duration = \"2h\" }";
        reader.fault_hint(
            &section.path,
            section.span.clone(),
            message,
            Some(hint.to_owned()),
        );
    }
    let length_place = duration.as_ref().map(|d| (d.path.clone(), d.span.clone()));
    let duration = duration.and_then(|item| item.duration(reader));
    section.close(reader);
    if let (Some((path, span)), Some(length)) = (length_place, duration)
        && length > MAX_WINDOW
    {
        reader.fault(&path, span, "a window must not be longer than 7 days");
    }
    let rrule = check_rule(reader, &rrule?)?;
    Some(Window {
        rrule,
        duration: duration?,
    })
}

/// The rule in its normal form: without the `RRULE:` it may carry, in capitals.
fn check_rule(reader: &mut Reader<'_>, text: &Text) -> Option<String> {
    if reader.full() {
        return None;
    }
    let upper = text.value.trim().to_ascii_uppercase();
    let rule = upper.strip_prefix("RRULE:").unwrap_or(&upper);
    match Recurrence::parse(rule) {
        Err(error) => wrong_rule(reader, text, &upper, &error.to_string()),
        Ok(recurrence) if !recurrence.ever_comes() => {
            wrong_rule(reader, text, &upper, "a window that never comes")
        }
        Ok(_) => Some(rule.to_owned()),
    }
}

/// Points at the part of the rule an error speaks of, where that part is named in it.
fn wrong_rule<T>(reader: &mut Reader<'_>, text: &Text, upper: &str, why: &str) -> Option<T> {
    let named = |part: &&str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        why.contains(&format!("`{value}`")) && !value.is_empty()
            || why.contains(&format!("`{name}`"))
            || why.starts_with(name)
    };
    let part = upper
        .strip_prefix("RRULE:")
        .unwrap_or(upper)
        .split(';')
        .find(named);
    let mut span = text.span.clone();
    // Only where the text stands in the file as it reads: between quotes, without escapes.
    if let Some(part) = part
        && span.len() == text.value.len() + 2
        && text.value.is_ascii()
        && let Some(at) = text.value.to_ascii_uppercase().find(part)
    {
        span = span.start + 1 + at..span.start + 1 + at + part.len();
    }
    let message = format!("no usable recurrence rule (RFC 5545): {why}");
    let hint = "for example FREQ=WEEKLY;BYDAY=SU;BYHOUR=1;BYMINUTE=30".to_owned();
    reader.fault_hint(&text.path, span, message, Some(hint));
    None
}
