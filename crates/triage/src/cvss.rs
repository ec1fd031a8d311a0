//! CVSS vectors: the base score, and the few facts a decision turns on.
//!
//! Entry: [`cvss_base_score`], [`CvssFacts`]. Knows versions 2.0, 3.0, 3.1 and 4.0.

use std::str::FromStr as _;

/// No vector of any version comes near this; a longer text is no vector.
const MAX_VECTOR: usize = 512;

/// The base metrics of each version, all of them mandatory (CVSS 2.0 section 2.1, 3.1 section 2,
/// 4.0 section 2).
const BASE_2: &[&str] = &["AV", "AC", "Au", "C", "I", "A"];
const BASE_3: &[&str] = &["AV", "AC", "PR", "UI", "S", "C", "I", "A"];
const BASE_4: &[&str] = &[
    "AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA",
];

/// The base score of a vector, 0.0 to 10.0. Temporal, threat and environmental metrics are left out
/// of the reckoning: they are another's view, of another day. `None` where the text is no vector,
/// or lacks a base metric.
pub fn cvss_base_score(vector: &str) -> Option<f64> {
    let (version, metrics) = parts(vector)?;
    let (prefix, names) = match version {
        "2.0" => ("", BASE_2),
        "3.0" => ("CVSS:3.0/", BASE_3),
        "3.1" => ("CVSS:3.1/", BASE_3),
        "4.0" => ("CVSS:4.0/", BASE_4),
        _ => return None,
    };
    let mut base = String::with_capacity(vector.len());
    for name in names {
        let value = metric(metrics, name)?;
        base.push(if base.is_empty() { ' ' } else { '/' });
        base.push_str(name);
        base.push(':');
        base.push_str(value);
    }
    let base = format!("{prefix}{}", base.trim_start());
    let score = if prefix.is_empty() {
        cvss::v2::Vector::from_str(&base).ok()?.score().value()
    } else {
        cvss::Cvss::from_str(&base).ok()?.score()
    };
    (0.0..=10.0).contains(&score).then_some(score)
}

/// What a vector says of the way in and of the loss. What it does not say is false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent facts, each asked for by name"
)]
pub struct CvssFacts {
    /// It can be attacked over the network (`AV:N`).
    pub network: bool,
    /// No account is needed (`PR:N`, in version 2 `Au:N`).
    pub unauthenticated: bool,
    /// Nobody has to be talked into anything (`UI:N`; version 2 knows no such metric, and counts as
    /// needing none).
    pub no_user_interaction: bool,
    /// Confidentiality or integrity is lost wholly, of the component or of what stands behind it.
    pub total_impact: bool,
}

impl CvssFacts {
    /// Reads the metrics of a vector of any version; `None` where the text is no vector.
    pub fn read(vector: &str) -> Option<Self> {
        let (version, metrics) = parts(vector)?;
        let is = |name, value| metric(metrics, name) == Some(value);
        let complete = if version == "2.0" { "C" } else { "H" };
        metric(metrics, "AV")?;
        Some(Self {
            network: is("AV", "N"),
            unauthenticated: is("PR", "N") || is("Au", "N"),
            no_user_interaction: is("UI", "N") || version == "2.0",
            total_impact: ["C", "I", "VC", "VI", "SC", "SI"]
                .into_iter()
                .any(|name| is(name, complete)),
        })
    }
}

/// Version and metrics. Version 2 vectors carry no version, and some are written in brackets.
fn parts(vector: &str) -> Option<(&str, &str)> {
    let vector = vector.trim();
    if vector.len() > MAX_VECTOR {
        return None;
    }
    if let Some(rest) = vector.strip_prefix("CVSS:") {
        return rest.split_once('/');
    }
    let bare = vector
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .unwrap_or(vector);
    bare.starts_with("AV:").then_some(("2.0", bare))
}

fn metric<'a>(metrics: &'a str, name: &str) -> Option<&'a str> {
    metrics
        .split('/')
        .filter_map(|metric| metric.split_once(':'))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scores_of_all_versions_agree_with_the_published_ones() {
        // Published by the vendors or in the calculators of first.org.
        for (vector, expected) in [
            ("AV:N/AC:L/Au:N/C:C/I:C/A:C", 10.0),
            ("(AV:N/AC:L/Au:N/C:P/I:P/A:P)", 7.5),
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", 7.5),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:L/I:H/A:H", 10.0),
            (
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
                9.3,
            ),
        ] {
            let score = cvss_base_score(vector).unwrap();
            assert!((score - expected).abs() < 0.01, "{vector}: {score}");
        }
    }

    #[test]
    fn temporal_and_threat_metrics_do_not_lower_the_base_score() {
        let full = "CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H/E:U/RL:O/RC:C";
        assert!((cvss_base_score(full).unwrap() - 7.8).abs() < 0.01);
        let threat = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N/E:U";
        assert!((cvss_base_score(threat).unwrap() - 9.3).abs() < 0.01);
    }

    #[test]
    fn an_incomplete_or_foreign_text_has_no_score() {
        for text in [
            "",
            "9.8",
            "CVSS:3.1/AV:N",
            "CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
            "CVSS:9.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
        ] {
            assert_eq!(cvss_base_score(text), None, "{text}");
        }
        assert_eq!(cvss_base_score(&"AV:N/".repeat(1000)), None);
    }

    #[test]
    fn facts_are_read_from_every_version() {
        let all = CvssFacts {
            network: true,
            unauthenticated: true,
            no_user_interaction: true,
            total_impact: true,
        };
        for vector in [
            "AV:N/AC:L/Au:N/C:C/I:P/A:P",
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
            "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
        ] {
            assert_eq!(CvssFacts::read(vector), Some(all), "{vector}");
        }
        assert_eq!(
            CvssFacts::read("CVSS:3.1/AV:L/AC:L/PR:L/UI:R/S:U/C:L/I:L/A:H"),
            Some(CvssFacts::default())
        );
        assert_eq!(CvssFacts::read("high"), None);
    }

    proptest! {
        #[test]
        fn reading_never_panics(vector in "(CVSS:[234]\\.[01]/)?(([A-Z]{1,2}|Au):[A-Z]/?){0,14}", any in ".{0,80}") {
            for text in [&vector, &any] {
                if let Some(score) = cvss_base_score(text) {
                    prop_assert!((0.0..=10.0).contains(&score));
                }
                let _ = CvssFacts::read(text);
            }
        }
    }
}
