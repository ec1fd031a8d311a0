//! The whole plan in UTC: a row for each region, and the services with a minimum over all regions.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::days::Picture;
use super::escape::{Esc, put};
use super::strip::{LEFT, WIDTH, draw_level, shortened};
use super::words;

const ROW: i64 = 20;
const TOTAL_ROW: i64 = 50;
const RIGHT: i64 = WIDTH - 18;

/// Draws it below `top`; gives its height. A plan without steps has none.
pub(super) fn draw(out: &mut String, picture: &Picture<'_>, top: i64) -> i64 {
    let Some((first, last)) = picture.span else {
        put!(
            out,
            "<text class=\"soft\" x=\"8\" y=\"{}\">The plan has no steps.</text>\n",
            top + 14
        );
        return 20;
    };
    let (from, to) = (first_hour(first), last_hour(last));
    let seconds = to.duration_since(from).as_secs().max(1);
    let x = |at: Timestamp| {
        let since = at.clamp(from, to).duration_since(from).as_secs();
        // Seconds of some thousand years times a thousand units fit many times.
        LEFT + since.saturating_mul(RIGHT - LEFT) / seconds
    };
    let rows = |n: usize, height: i64| i64::try_from(n).unwrap_or(0) * height;
    let ground = top + 32;
    let below = ground + 4 + rows(picture.regions.len(), ROW);
    let floor = below + rows(picture.totals.len(), TOTAL_ROW);
    put!(
        out,
        "<text class=\"day\" x=\"8\" y=\"{}\">All regions</text>\
         <text class=\"axis\" x=\"{}\" y=\"{}\">UTC</text>\
         <rect class=\"field\" x=\"{LEFT}\" y=\"{ground}\" width=\"{}\" height=\"{}\"/>\n",
        ground - 6,
        LEFT - 36,
        ground - 6,
        RIGHT - LEFT,
        floor - ground
    );
    ticks(out, (from, to), (ground, floor), &x);
    for (row, region) in picture.regions.iter().enumerate() {
        let y = ground + 4 + rows(row, ROW);
        put!(
            out,
            "<text class=\"name\" x=\"{}\" y=\"{}\">{}</text><path class=\"row\" d=\"M{LEFT} {}H{RIGHT}\"/>",
            LEFT - 8,
            y + 12,
            Esc(&shortened(region.name.as_str(), 27)),
            y + 8
        );
        for (number, wave) in &region.waves {
            let (left, right) = (x(wave.start), x(wave.end).max(x(wave.start) + 4));
            put!(
                out,
                "<rect class=\"bar {}\" x=\"{left}\" y=\"{y}\" width=\"{}\" height=\"15\" rx=\"2\">\
                 <title>{}, wave {}: {} to {} UTC</title></rect>",
                wave.stage.name(),
                right - left,
                Esc(region.name.as_str()),
                number,
                words::moment(wave.start, &TimeZone::UTC),
                words::moment(wave.end, &TimeZone::UTC)
            );
        }
        put!(out, "\n");
    }
    for (row, level) in picture.totals.iter().enumerate() {
        draw_level(
            out,
            level,
            (from, to),
            below + rows(row, TOTAL_ROW),
            TOTAL_ROW - 8,
            &x,
        );
        put!(out, "\n");
    }
    floor + 4 - top
}

/// Days where the plan takes days, hours where it takes hours.
fn ticks(
    out: &mut String,
    (from, to): (Timestamp, Timestamp),
    (ground, floor): (i64, i64),
    x: &impl Fn(Timestamp) -> i64,
) {
    let hours = to.duration_since(from).as_hours();
    let every = match hours {
        0..=14 => 1,
        15..=28 => 2,
        29..=48 => 4,
        49..=120 => 12,
        121..=400 => 24,
        _ => (hours / 16 / 24 + 1) * 24,
    };
    let step = SignedDuration::from_hours(every);
    let mut at = from;
    // Whole multiples since the epoch are whole multiples since midnight.
    let past = at.as_second().rem_euclid(step.as_secs());
    at = at
        .saturating_sub(SignedDuration::from_secs(past))
        .unwrap_or(at);
    while at <= to {
        if at >= from {
            let civil = TimeZone::UTC.to_datetime(at);
            let here = x(at);
            let midnight = civil.hour() == 0;
            let class = if midnight { "hour midnight" } else { "hour" };
            put!(
                out,
                "<path class=\"{class}\" d=\"M{here} {ground}V{floor}\"/>"
            );
            let label = if midnight {
                words::short_day(civil.date())
            } else {
                words::clock(civil.time())
            };
            put!(
                out,
                "<text class=\"tick\" x=\"{here}\" y=\"{}\">{label}</text>",
                ground - 5
            );
        }
        let Ok(next) = at.checked_add(step) else {
            break;
        };
        at = next;
    }
    put!(out, "\n");
}

fn first_hour(at: Timestamp) -> Timestamp {
    let past = at.as_second().rem_euclid(3600) + 1800;
    at.saturating_sub(SignedDuration::from_secs(past))
        .unwrap_or(at)
}

fn last_hour(at: Timestamp) -> Timestamp {
    let left = 3600 - at.as_second().rem_euclid(3600) + 1800;
    at.saturating_add(SignedDuration::from_secs(left))
        .unwrap_or(at)
}
