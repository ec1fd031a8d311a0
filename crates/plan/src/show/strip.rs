//! One civil day of one region: 24 hours of local time, with UTC below.

use jiff::Timestamp;
use mailkeep_model::{PlanStep, Stage};

use super::days::{Day, Level, Picture, Region};
use super::escape::{Esc, put};
use super::words;
use crate::check::capacity::levels;

/// Width of everything, in units of about a pixel: room for a day of 25 hours.
pub(super) const WIDTH: i64 = 1104;
/// Where time begins: left of it stand names.
pub(super) const LEFT: i64 = 186;
/// Seconds a unit: 36 units are an hour.
const SECONDS: i64 = 100;
/// Hosts drawn one by one; more are drawn as a count.
const FEW_HOSTS: usize = 18;

const WAVE_ROW: i64 = 17;
const HOST_ROW: i64 = 13;
const COUNT_ROW: i64 = 46;
const LEVEL_ROW: i64 = 46;

/// Draws a day below `top`; gives its height.
pub(super) fn draw(
    out: &mut String,
    picture: &Picture<'_>,
    region: &Region<'_>,
    day: &Day<'_>,
    top: i64,
) -> i64 {
    let x = |at: Timestamp| {
        LEFT + at
            .clamp(day.from, day.to)
            .duration_since(day.from)
            .as_secs()
            / SECONDS
    };
    let right = x(day.to);
    let waves: Vec<_> = region
        .waves
        .iter()
        .filter(|(_, wave)| wave.start < day.to && day.from < wave.end)
        .collect();
    let few = day.steps.len() <= FEW_HOSTS;
    let affected: Vec<&Level<'_>> = region
        .levels
        .iter()
        .filter(|level| {
            let (start, changes) = level.within(day.from, day.to);
            !changes.is_empty() || start != level.full()
        })
        .collect();
    let rows = |n: usize, height: i64| i64::try_from(n).unwrap_or(0) * height;
    let ground = top + 32;
    let below_waves = ground + 4 + rows(waves.len(), WAVE_ROW);
    let below_hosts = below_waves
        + if few {
            rows(day.steps.len(), HOST_ROW) + 4
        } else {
            COUNT_ROW
        };
    let floor = below_hosts + rows(affected.len(), LEVEL_ROW);

    ground_of(out, region, day, (ground, floor, right), &x);
    for (row, (number, wave)) in waves.iter().enumerate() {
        let y = ground + 4 + rows(row, WAVE_ROW);
        let hosts = region
            .steps
            .iter()
            .filter(|step| step.wave == wave_number(*number))
            .count();
        let time = |at| words::clock(region.clock.civil(at).time());
        let label = format!(
            "wave {}: {}, {}, {} to {}",
            number,
            wave.stage.name(),
            words::count(hosts, "host", "hosts"),
            time(wave.start),
            time(wave.end)
        );
        let (from, to) = (x(wave.start), x(wave.end).max(x(wave.start) + 2));
        put!(
            out,
            "<rect class=\"bar {}\" x=\"{from}\" y=\"{y}\" width=\"{}\" height=\"12\" rx=\"2\"/>",
            wave.stage.name(),
            to - from
        );
        label_beside(out, &label, from, to, right, y + 10);
    }
    if few {
        for (row, step) in day.steps.iter().enumerate() {
            host(
                out,
                picture,
                region,
                step,
                (x(step.start), x(step.end)),
                below_waves + rows(row, HOST_ROW),
            );
        }
    } else {
        count(out, day, below_waves, &x, right);
    }
    for (row, level) in affected.iter().enumerate() {
        draw_level(
            out,
            level,
            (day.from, day.to),
            below_hosts + rows(row, LEVEL_ROW),
            LEVEL_ROW - 8,
            &x,
        );
    }
    put!(out, "\n");
    floor + 18 - top
}

fn wave_number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Axes, hours, windows, blackout.
fn ground_of(
    out: &mut String,
    region: &Region<'_>,
    day: &Day<'_>,
    (ground, floor, right): (i64, i64, i64),
    x: &impl Fn(Timestamp) -> i64,
) {
    let (width, height) = (right - LEFT, floor - ground);
    put!(
        out,
        "<text class=\"day\" x=\"8\" y=\"{}\">{}</text>",
        ground - 6,
        words::short_day(day.date)
    );
    put!(
        out,
        "<rect class=\"field\" x=\"{LEFT}\" y=\"{ground}\" width=\"{width}\" height=\"{height}\"/>"
    );
    if day.blackout.is_some() {
        put!(
            out,
            "<rect class=\"blackout\" x=\"{LEFT}\" y=\"{ground}\" width=\"{width}\" height=\"{height}\"/>"
        );
    }
    for (opens, closes) in &day.windows {
        let (from, to) = (x(*opens), x(*closes));
        put!(
            out,
            "<rect class=\"window\" x=\"{from}\" y=\"{ground}\" width=\"{}\" height=\"{height}\"/>",
            to - from
        );
    }
    let hour = jiff::SignedDuration::from_hours(1);
    let mut at = day.from;
    let mut shown = None;
    while at <= day.to {
        let here = x(at);
        let local = region.clock.civil(at);
        let utc = jiff::tz::TimeZone::UTC.to_datetime(at);
        put!(out, "<path class=\"hour\" d=\"M{here} {ground}V{floor}\"/>");
        // At the end of the day its midnight is 24, not 0 of a day that is not shown.
        let label = if at == day.to {
            24
        } else {
            i64::from(local.hour())
        };
        // Where clocks change, the hours of the axis do not follow each other.
        let leaps = shown.is_some_and(|before: i64| label != before + 1);
        let class = if leaps { "tick leap" } else { "tick" };
        put!(
            out,
            "<text class=\"{class}\" x=\"{here}\" y=\"{}\">{label:02}</text>",
            ground - 5
        );
        put!(
            out,
            "<text class=\"tick utc\" x=\"{here}\" y=\"{}\">{}</text>",
            floor + 12,
            short_utc(utc.hour(), utc.minute())
        );
        shown = Some(label);
        let Ok(next) = at.checked_add(hour) else {
            break;
        };
        if at == day.to {
            break;
        }
        at = next.min(day.to);
    }
    put!(
        out,
        "<text class=\"axis\" x=\"{}\" y=\"{}\">local</text><text class=\"axis\" x=\"{}\" y=\"{}\">UTC</text>",
        LEFT - 20,
        ground - 5,
        LEFT - 20,
        floor + 12
    );
    if let Some(reason) = &day.blackout {
        let text = if reason.is_empty() {
            "blackout".to_owned()
        } else {
            format!("blackout: {reason}")
        };
        put!(
            out,
            "<text class=\"soft end\" x=\"{right}\" y=\"{}\">{}</text>",
            ground - 18,
            Esc(&text)
        );
    }
}

/// `07`, and `05:30` where a zone is not whole hours from UTC.
fn short_utc(hour: i8, minute: i8) -> String {
    if minute == 0 {
        format!("{hour:02}")
    } else {
        format!("{hour:02}:{minute:02}")
    }
}

/// A label right of its bar, or left of it where there is no room.
fn label_beside(out: &mut String, label: &str, from: i64, to: i64, right: i64, y: i64) {
    let length = i64::try_from(label.chars().count()).unwrap_or(0) * 6;
    if to + 6 + length <= right {
        put!(
            out,
            "<text class=\"wave\" x=\"{}\" y=\"{y}\">{}</text>",
            to + 6,
            Esc(label)
        );
    } else {
        put!(
            out,
            "<text class=\"wave end\" x=\"{}\" y=\"{y}\">{}</text>",
            from - 6,
            Esc(label)
        );
    }
}

fn host(
    out: &mut String,
    picture: &Picture<'_>,
    region: &Region<'_>,
    step: &PlanStep,
    (from, to): (i64, i64),
    y: i64,
) {
    let stage = picture.stage(step).map_or("rest", Stage::name);
    let time = |at| words::clock(region.clock.civil(at).time());
    put!(
        out,
        "<text class=\"name\" x=\"{}\" y=\"{}\">{}</text>\
         <path class=\"row\" d=\"M{LEFT} {}H{from}\"/>\
         <rect class=\"bar {stage}\" x=\"{from}\" y=\"{}\" width=\"{}\" height=\"9\"><title>{}, {} to {}</title></rect>",
        LEFT - 8,
        y + 10,
        Esc(&shortened(step.host.as_str(), 27)),
        y + 6,
        y + 2,
        (to - from).max(2),
        Esc(step.host.as_str()),
        time(step.start),
        time(step.end)
    );
}

/// The beginning of a long name, and that it goes on.
pub(super) fn shortened(text: &str, max: usize) -> String {
    mailkeep_model::text::printable_max(text, max)
}

/// How many hosts are out at a time, where they are too many for a row each.
fn count(out: &mut String, day: &Day<'_>, top: i64, x: &impl Fn(Timestamp) -> i64, right: i64) {
    let stretches: Vec<_> = day
        .steps
        .iter()
        .map(|step| (step.start, step.end))
        .collect();
    let changes = levels(&stretches);
    let most = changes
        .iter()
        .map(|(_, level)| i64::from(*level))
        .max()
        .unwrap_or(1)
        .max(1);
    let floor = top + COUNT_ROW - 6;
    let height = COUNT_ROW - 14;
    let mut path = format!("M{LEFT} {floor}");
    for (at, level) in &changes {
        let y = floor - i64::from(*level) * height / most;
        put!(path, "H{}V{y}", x(*at));
    }
    put!(path, "H{right}V{floor}Z");
    put!(out, "<path class=\"count\" d=\"{path}\"/>");
    names(
        out,
        top + 20,
        &words::count(day.steps.len(), "host", "hosts"),
        &format!("at most {most} at a time"),
    );
}

fn names(out: &mut String, y: i64, first: &str, second: &str) {
    let x = LEFT - 8;
    put!(
        out,
        "<text class=\"name\" x=\"{x}\" y=\"{y}\">{}</text><text class=\"name soft\" x=\"{x}\" y=\"{}\">{}</text>",
        Esc(&shortened(first, 27)),
        y + 12,
        Esc(second)
    );
}

/// Hosts of a service in service, as a line above the zone it must not enter. Levels are whole numbers:
/// the zone's edge lies half a host below the minimum, so that a line at the minimum is clear of it.
pub(super) fn draw_level(
    out: &mut String,
    level: &Level<'_>,
    (from, to): (Timestamp, Timestamp),
    top: i64,
    height: i64,
    x: &impl Fn(Timestamp) -> i64,
) {
    let full = i64::from(level.full());
    let minimum = i64::from(level.minimum);
    // In half hosts. Many hosts: only the upper part, or a dip would not be seen.
    let lowest = i64::from(level.lowest()).min(minimum);
    let high = full * 2 + 1;
    let low = if full <= 4 {
        0
    } else {
        ((lowest * 2) - (high - lowest * 2).max(4) / 2).max(0)
    };
    let range = (high - low).max(1);
    let y = |halves: i64| top + 6 + (high - halves.clamp(low, high)) * height / range;
    let (left, right) = (x(from), x(to));
    let floor = y(low);
    if minimum > 0 {
        let edge = y(minimum * 2 - 1);
        put!(
            out,
            "<rect class=\"forbidden\" x=\"{left}\" y=\"{edge}\" width=\"{}\" height=\"{}\"/>\
             <path class=\"minimum\" d=\"M{left} {edge}H{right}\"/>",
            right - left,
            floor - edge
        );
    }
    let (start, changes) = level.within(from, to);
    let mut path = format!("M{left} {}", y(i64::from(start) * 2));
    for (at, now) in changes {
        put!(path, "H{}V{}", x(*at), y(i64::from(*now) * 2));
    }
    put!(path, "H{right}");
    put!(
        out,
        "<path class=\"level\" d=\"{path}\"><title>{}</title></path>",
        Esc(level.service.as_str())
    );
    let out_before = i64::try_from(level.hosts).unwrap_or(full) - full;
    let down = if out_before > 0 {
        format!(" ({out_before} down)")
    } else {
        String::new()
    };
    names(
        out,
        top + 19,
        level.service.as_str(),
        &if minimum > 0 {
            format!("{full} in service{down}, minimum {minimum}")
        } else {
            format!("{full} in service{down}, no minimum")
        },
    );
}
