//! Microsoft Exchange Server: one package, its versions are builds.
//!
//! Ecosystem [`mailkeep_model::Ecosystem::Exchange`], package [`PACKAGE`], version
//! `major.minor.build.revision` as the server reports it (`15.2.1544.11`; Microsoft also writes
//! `15.02.1544.011`, which is the same). Major and minor tell the product (15.1 is 2016, 15.2 is 2019
//! and Subscription Edition), the third number its cumulative update, the fourth the security update.
//!
//! Microsoft names the first fixed build of each cumulative update it still supports. The ranges
//! made of that: of each product, everything is affected up to the lowest fixed build, and from the
//! end of each fixed cumulative update to the fixed build of the next. So a cumulative update that
//! Microsoft no longer speaks of counts as affected, never as clean: it got no fix. The cumulative
//! update is taken from the build, not from the product's name: in the records for CVE-2024-26198
//! Microsoft itself swapped two of them.

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_model::{RangeEnd, VersionRange};

/// The name of the package.
pub const PACKAGE: &str = "exchange-server";

/// A build of Exchange Server.
type Build = [u32; 4];

/// An affected product of one bulletin: what [`Fixes`] gathers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fixes {
    /// First fixed builds, by major and minor.
    fixed: BTreeMap<(u32, u32), BTreeSet<Build>>,
    /// The newest cumulative update with a fix, by major and minor.
    newest_fixed: BTreeMap<(u32, u32), u32>,
    /// Cumulative updates said to be affected without a fix, by major and minor.
    unfixed: BTreeMap<(u32, u32), BTreeSet<u32>>,
}

/// Whether a product is Exchange Server itself (and not something made for it).
pub fn is_exchange(product: &str) -> bool {
    product
        .trim()
        .get(..NAME.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(NAME))
}

const NAME: &str = "Microsoft Exchange Server";

impl Fixes {
    /// Notes the first fixed build of an affected product. False where it is no build.
    pub(crate) fn fixed(&mut self, product: &str, build: &str) -> bool {
        let Some(build) = parse_build(build) else {
            return false;
        };
        let [major, minor, ..] = build;
        self.fixed.entry((major, minor)).or_default().insert(build);
        if let Some((line, update)) = product_line(product) {
            let newest = self.newest_fixed.entry(line).or_default();
            *newest = update.max(*newest);
        }
        true
    }

    /// Notes an affected product for which no fixed build is named. False where its name tells no
    /// version of Exchange.
    pub(crate) fn unfixed(&mut self, product: &str) -> bool {
        let Some((line, update)) = product_line(product) else {
            return false;
        };
        self.unfixed.entry(line).or_default().insert(update);
        true
    }

    /// The affected ranges, in order.
    pub(crate) fn ranges(&self) -> Vec<VersionRange> {
        let lines: BTreeSet<_> = self.fixed.keys().chain(self.unfixed.keys()).collect();
        let mut ranges = Vec::new();
        for &(major, minor) in lines {
            let line = (major, minor);
            let mut introduced = [major, minor, 0, 0];
            let fixed = self.fixed.get(&line);
            for build in highest_of_each_update(fixed) {
                ranges.push(VersionRange {
                    introduced: Some(print(introduced)),
                    end: RangeEnd::Fixed(print(build)),
                });
                let [.., update, _] = build;
                introduced = [major, minor, update.saturating_add(1), 0];
            }
            // What has no fix lies between the fixes, where it is affected anyway, unless it is
            // newer than the newest of them, or the only one.
            let newest_fixed = self.newest_fixed.get(&line);
            let newest_unfixed = self.unfixed.get(&line).and_then(BTreeSet::last);
            if newest_unfixed.is_some() && (fixed.is_none() || newest_unfixed > newest_fixed) {
                ranges.push(VersionRange {
                    introduced: Some(print(introduced)),
                    end: RangeEnd::Limit(print([major, minor.saturating_add(1), 0, 0])),
                });
            }
        }
        ranges
    }

    /// Whether nothing was noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.unfixed.is_empty()
    }
}

/// Two fixed builds of one cumulative update: the second bulletin text supersedes the first.
fn highest_of_each_update(builds: Option<&BTreeSet<Build>>) -> Vec<Build> {
    let mut highest: BTreeMap<u32, Build> = BTreeMap::new();
    for build in builds.into_iter().flatten() {
        let [_, _, update, _] = *build;
        highest.insert(update, *build);
    }
    highest.into_values().collect()
}

fn parse_build(text: &str) -> Option<Build> {
    let mut numbers = text.trim().split('.').map(str::parse::<u32>);
    let build = [
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
    ];
    numbers.next().is_none().then_some(build)
}

fn print([major, minor, build, revision]: Build) -> Box<str> {
    format!("{major}.{minor}.{build}.{revision}").into()
}

/// Major and minor of the builds of a product, and its cumulative update, by its name
/// (learn.microsoft.com/exchange/new-features/build-numbers-and-release-dates).
fn product_line(product: &str) -> Option<((u32, u32), u32)> {
    let rest = product.trim().get(NAME.len()..)?.trim();
    let line = match rest.split_whitespace().next()? {
        "2007" => (8, 3),
        "2010" => (14, 3),
        "2013" => (15, 0),
        "2016" => (15, 1),
        "2019" | "Subscription" => (15, 2),
        _ => return None,
    };
    if rest.starts_with("Subscription") {
        // It follows upon the last cumulative update of 2019.
        return Some((line, u32::MAX));
    }
    let update = rest
        .rsplit_once("Cumulative Update ")
        .and_then(|(_, update)| update.trim().parse().ok())
        .unwrap_or(0);
    Some((line, update))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges(fixes: &Fixes) -> Vec<String> {
        fixes
            .ranges()
            .iter()
            .map(|range| {
                let from = range.introduced.as_deref().unwrap_or_default();
                match &range.end {
                    RangeEnd::Fixed(to) => format!("{from}..{to}"),
                    RangeEnd::Limit(to) => format!("{from}..limit {to}"),
                    other => format!("{from} {other:?}"),
                }
            })
            .collect()
    }

    #[test]
    fn each_cumulative_update_has_its_own_fixed_build() {
        let mut fixes = Fixes::default();
        for build in ["15.02.1544.011", "15.02.1258.034", "15.01.2507.039"] {
            assert!(fixes.fixed("Microsoft Exchange Server", build));
        }
        assert_eq!(
            ranges(&fixes),
            [
                "15.1.0.0..15.1.2507.39",
                "15.2.0.0..15.2.1258.34",
                "15.2.1259.0..15.2.1544.11"
            ]
        );
    }

    #[test]
    fn a_product_without_fix_is_affected_to_the_end_of_its_line() {
        let mut fixes = Fixes::default();
        assert!(fixes.unfixed("Microsoft Exchange Server 2016 Cumulative Update 23"));
        assert!(fixes.fixed(
            "Microsoft Exchange Server 2019 Cumulative Update 14",
            "15.2.1544.004"
        ));
        assert!(fixes.unfixed("Microsoft Exchange Server 2019 Cumulative Update 13"));
        assert_eq!(
            ranges(&fixes),
            ["15.1.0.0..limit 15.2.0.0", "15.2.0.0..15.2.1544.4"]
        );
        assert!(fixes.unfixed("Microsoft Exchange Server Subscription Edition RTM"));
        assert_eq!(ranges(&fixes)[2..], ["15.2.1545.0..limit 15.3.0.0"]);
    }

    #[test]
    fn only_the_server_itself_is_exchange() {
        assert!(is_exchange(
            "Microsoft Exchange Server 2019 Cumulative Update 14"
        ));
        assert!(is_exchange(
            "Microsoft Exchange Server Subscription Edition RTM"
        ));
        assert!(!is_exchange(
            "ESET Mail Security for Microsoft Exchange Server"
        ));
        let mut fixes = Fixes::default();
        assert!(!fixes.fixed("", "15.2.1544"));
        assert!(!fixes.fixed("", "15.2.1544.4.1"));
        assert!(!fixes.unfixed("Microsoft Exchange Server 3000"));
        assert!(fixes.is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_survived(build in "[0-9.]{0,30}", product in "(Microsoft Exchange Server)?.{0,30}") {
            let mut fixes = Fixes::default();
            let _ = (fixes.fixed(&product, &build), fixes.unfixed(&product), is_exchange(&product));
            let _ = fixes.ranges();
        }
    }
}
