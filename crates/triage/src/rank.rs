//! The order of the table: what to do first stands first.

use std::cmp::{Ordering, Reverse};

use mailkeep_model::{Decision, Finding, Lane, Severity, Status, Surface, Urgency};

/// Which of two findings comes first. Keys, the first that differs decides:
///
/// 1. open findings, then mitigated ones, then `fixed` and `not-affected`;
/// 2. lane, emergency first;
/// 3. what can be patched or restarted today or soon, before what has no fix;
/// 4. what the distributor calls `unimportant` last;
/// 5. decision, Act first;
/// 6. deadline, earliest first, none last;
/// 7. surface, mail first;
/// 8. in KEV;
/// 9. severity, then score, highest first;
/// 10. EPSS, highest first;
/// 11. host, package, advisory by name; then release, installed version and status.
///
/// A total order on findings; equal only where all of these are.
pub fn rank(a: &Finding, b: &Finding) -> Ordering {
    RankKey::of(a)
        .cmp(&RankKey::of(b))
        .then_with(|| rank_of_equals(a, b))
}

/// Keys 1 to 8 of [`rank`] and the severity, for whoever sorts many: computed once for each finding.
/// The least comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RankKey {
    class: u8,
    lane: u8,
    unfixable: bool,
    unimportant: bool,
    decision: Reverse<Option<Decision>>,
    /// One that has none comes last.
    deadline: (bool, Option<jiff::civil::Date>),
    surface: Surface,
    unlisted: bool,
    severity: Reverse<Severity>,
}

impl RankKey {
    /// Of one finding.
    pub fn of(finding: &Finding) -> Self {
        let verdict = &finding.verdict;
        Self {
            class: class(verdict.status),
            lane: lane(finding),
            unfixable: !fixable(finding),
            unimportant: verdict.urgency == Some(Urgency::Unimportant),
            decision: Reverse(finding.decision),
            deadline: (finding.deadline.is_none(), finding.deadline),
            surface: verdict.surface,
            unlisted: !finding.kev,
            severity: Reverse(finding.severity),
        }
    }
}

/// Which of two findings of equal [`RankKey`] comes first: the keys of [`rank`] after it.
pub fn rank_of_equals(a: &Finding, b: &Finding) -> Ordering {
    descending(a.score, b.score)
        .then_with(|| descending(a.epss.map(f64::from), b.epss.map(f64::from)))
        .then_with(|| a.host.cmp(&b.host))
        .then_with(|| a.verdict.package.cmp(&b.verdict.package))
        .then_with(|| a.verdict.advisory.cmp(&b.verdict.advisory))
        .then_with(|| a.verdict.platform.cmp(&b.verdict.platform))
        .then_with(|| a.verdict.installed.cmp(&b.verdict.installed))
        .then_with(|| a.verdict.status.cmp(&b.verdict.status))
}

fn class(status: Status) -> u8 {
    match status {
        Status::FixAvailable
        | Status::FixPublished
        | Status::NoFix
        | Status::WillNotFix
        | Status::RestartPending
        | Status::Unknown => 0,
        Status::Mitigated => 1,
        Status::Fixed | Status::NotAffected => 2,
    }
}

fn lane(finding: &Finding) -> u8 {
    match finding.lane {
        Some(Lane::Emergency) => 0,
        Some(Lane::Regular) => 1,
        None => 2,
    }
}

fn fixable(finding: &Finding) -> bool {
    matches!(
        finding.verdict.status,
        Status::FixAvailable | Status::FixPublished | Status::RestartPending
    )
}

/// Highest first, none last.
fn descending(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use mailkeep_model::{Decision, Severity, Surface};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::finding;

    type Edit = fn(&mut Finding);

    /// Each finding differs from a plain one in what is named, and is expected before the next.
    #[test]
    fn the_keys_decide_in_their_order() {
        let edits: [(&str, Edit); 10] = [
            ("act", |f| {
                f.lane = Some(Lane::Emergency);
                f.decision = Some(Decision::Act);
            }),
            ("emergency without a fix", |f| {
                f.lane = Some(Lane::Emergency);
                f.verdict.status = Status::NoFix;
            }),
            ("sooner", |f| {
                f.decision = Some(Decision::Attend);
                f.deadline = Some(date(2026, 11, 24));
            }),
            ("later", |f| {
                f.decision = Some(Decision::Attend);
                f.deadline = Some(date(2026, 12, 24));
            }),
            ("likely exploited", |f| f.epss = Some(0.9)),
            ("plain", |_| {}),
            ("dependency", |f| {
                f.verdict.surface = Surface::Dependency;
                f.severity = Severity::Critical;
            }),
            ("unimportant", |f| {
                f.verdict.urgency = Some(Urgency::Unimportant);
                f.decision = Some(Decision::Attend);
            }),
            ("no fix", |f| {
                f.verdict.status = Status::NoFix;
                f.decision = Some(Decision::Attend);
            }),
            ("mitigated", |f| {
                f.verdict.status = Status::Mitigated;
                f.lane = Some(Lane::Emergency);
            }),
        ];
        let built: Vec<_> = edits
            .iter()
            .map(|(name, edit)| {
                let mut f = finding("mx1", "CVE-2026-1000");
                f.lane = Some(Lane::Regular);
                f.decision = Some(Decision::Track);
                f.verdict.title = (*name).into();
                edit(&mut f);
                f
            })
            .collect();
        let mut sorted = built.clone();
        sorted.reverse();
        sorted.sort_by(rank);
        let names = |findings: &[Finding]| {
            findings
                .iter()
                .map(|f| f.verdict.title.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&sorted), names(&built));
    }

    fn any_finding() -> impl Strategy<Value = Finding> {
        let keys = (
            0usize..9,
            0u8..3,
            0u8..5,
            proptest::option::of(0i8..4),
            any::<bool>(),
            0u8..3,
        );
        let ties = (
            proptest::option::of(prop_oneof![Just(9.8), Just(5.0), any::<f64>()]),
            proptest::option::of(prop_oneof![Just(0.5f32), any::<f32>()]),
            any::<bool>(),
            0u8..2,
            0u8..2,
        );
        (keys, ties).prop_map(
            |((status, lane, decision, deadline, kev, surface), (score, epss, low, on, cve))| {
                let mut f = finding(&format!("mx{on}"), &format!("CVE-2026-100{cve}"));
                f.verdict.status = Status::ALL[status];
                f.lane = [None, Some(Lane::Regular), Some(Lane::Emergency)][usize::from(lane)];
                f.decision = [
                    None,
                    Some(Decision::Track),
                    Some(Decision::TrackStar),
                    Some(Decision::Attend),
                    Some(Decision::Act),
                ][usize::from(decision)];
                f.deadline = deadline.map(|d| date(2026, 11, d + 1));
                f.kev = kev;
                f.verdict.surface =
                    [Surface::Mail, Surface::Dependency, Surface::Other][usize::from(surface)];
                f.score = score;
                f.epss = epss;
                f.verdict.urgency = low.then_some(Urgency::Unimportant);
                f
            },
        )
    }

    proptest! {
        #[test]
        fn rank_is_a_total_order(a in any_finding(), b in any_finding(), c in any_finding()) {
            prop_assert_eq!(rank(&a, &a), Ordering::Equal);
            prop_assert_eq!(rank(&a, &b), rank(&b, &a).reverse());
            if rank(&a, &b).is_le() && rank(&b, &c).is_le() {
                prop_assert!(rank(&a, &c).is_le());
            }
            if rank(&a, &b).is_eq() {
                prop_assert_eq!(format!("{a:?}"), format!("{b:?}"));
            }
        }
    }
}
