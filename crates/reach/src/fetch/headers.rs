//! What the headers of an answer say: validators, ranges, dates.

use std::time::{Duration, SystemTime};

use mailkeep_model::Timestamp;
use ureq::http::header::{DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, RETRY_AFTER};

use super::partial::Origin;

/// Longest validator kept, in bytes; real ones have below a hundred.
const MAX_VALIDATOR: usize = 512;

/// A `Last-Modified` is strong where the answer was dated at least so much later (RFC 9110 section
/// 8.8.2.2 asks for a second, RFC 7232 asked for a minute): the file cannot have changed again
/// within the second it names.
const STRONG_DATE_AGE: Duration = Duration::from_mins(1);

/// A header's value, where it is text of a sensible length.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers
        .get(name)?
        .to_str()
        .ok()
        .map(str::trim)
        .filter(|value| !value.is_empty() && value.len() <= MAX_VALIDATOR)
}

/// Whose bytes an answer holds, where it says so in a way that allows to resume.
pub(super) fn origin_of(headers: &HeaderMap, location: &str, gzip: bool) -> Option<Origin> {
    let strong_tag = header(headers, &ETAG).filter(|tag| is_strong_tag(tag));
    let strong_date = || {
        let modified = header(headers, &LAST_MODIFIED)?;
        let answered = httpdate::parse_http_date(header(headers, &DATE)?).ok()?;
        let age = answered
            .duration_since(httpdate::parse_http_date(modified).ok()?)
            .ok()?;
        (age >= STRONG_DATE_AGE).then_some(modified)
    };
    Some(Origin {
        location: location.to_owned(),
        validator: strong_tag.or_else(strong_date)?.to_owned(),
        last_modified: header(headers, &LAST_MODIFIED).map(str::to_owned),
        gzip,
    })
}

/// RFC 9110 section 8.8.3.
fn is_strong_tag(tag: &str) -> bool {
    tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"')
}

pub(super) fn is_entity_tag(tag: &str) -> bool {
    is_strong_tag(tag.strip_prefix("W/").unwrap_or(tag))
}

/// First byte and whole length of `bytes 5-9/10` (RFC 9110 section 14.4); the length may be `*`.
pub(super) fn parse_content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (begin, end) = range.split_once('-')?;
    let begin: u64 = begin.parse().ok()?;
    let end: u64 = end.parse().ok()?;
    let total = match total {
        "*" => None,
        total => Some(total.parse::<u64>().ok()?),
    };
    // Only all of the rest is what was asked for.
    (begin <= end && total.is_none_or(|total| end.checked_add(1) == Some(total)))
        .then_some((begin, total))
}

/// Seconds, or a date measured against the answer's own (RFC 9110 section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = header(headers, &RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = httpdate::parse_http_date(header(headers, &DATE)?).ok()?;
    let then = httpdate::parse_http_date(value).ok()?;
    Some(then.duration_since(now).unwrap_or_default())
}

/// RFC 9110 section 5.6.7, the obsolete forms included.
pub(super) fn parse_http_date(value: &str) -> Option<Timestamp> {
    let since = httpdate::parse_http_date(value)
        .ok()?
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?;
    Timestamp::from_second(i64::try_from(since.as_secs()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_whole_rest_counts_as_resumption() {
        for (value, expected) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes 5-8/10", None),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("items 5-9/10", None),
            ("bytes 5-18446744073709551615/*", Some((5, None))),
            ("bytes 5-18446744073709551615/10", None),
            ("", None),
        ] {
            assert_eq!(parse_content_range(value), expected, "{value}");
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_a_strong_validator_allows_to_resume() {
        let validator = |pairs: &[(&'static str, &str)]| {
            origin_of(&headers(pairs), "x", false).map(|origin| origin.validator)
        };
        assert_eq!(validator(&[("etag", "\"a\"")]).as_deref(), Some("\"a\""));
        assert_eq!(validator(&[("etag", "W/\"a\"")]), None);
        assert_eq!(validator(&[("etag", "a")]), None);
        let modified = "Sat, 21 Nov 2026 10:00:00 GMT";
        assert_eq!(validator(&[("last-modified", modified)]), None);
        assert_eq!(
            validator(&[
                ("last-modified", modified),
                ("date", "Sat, 21 Nov 2026 10:00:30 GMT"),
            ]),
            None
        );
        assert_eq!(
            validator(&[
                ("etag", "W/\"a\""),
                ("last-modified", modified),
                ("date", "Sat, 21 Nov 2026 10:01:00 GMT"),
            ])
            .as_deref(),
            Some(modified)
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let asked = |pairs: &[(&'static str, &str)]| retry_after(&headers(pairs));
        assert_eq!(asked(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(
            asked(&[
                ("retry-after", "Sat, 21 Nov 2026 10:01:00 GMT"),
                ("date", "Sat, 21 Nov 2026 10:00:00 GMT"),
            ]),
            Some(Duration::from_mins(1))
        );
        assert_eq!(asked(&[("retry-after", "soon")]), None);
    }

    #[test]
    fn http_dates_become_timestamps() {
        let wanted: Timestamp = "1994-11-06T08:49:37Z".parse().unwrap();
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse_http_date(date), Some(wanted), "{date}");
        }
        assert_eq!(parse_http_date("yesterday"), None);
    }

    proptest! {
        #[test]
        fn any_header_value_is_read_without_panic(value in "\\PC{0,40}") {
            parse_content_range(&value);
            parse_http_date(&value);
        }
    }
}
