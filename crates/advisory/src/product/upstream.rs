//! What one bulletin says of one product of no distributor, gathered and made one claim.

use std::collections::BTreeSet;

use mailkeep_model::{Claim, ClaimKind, OpenState, RangeEnd, VersionRange};

use super::ranges::{Versions, natural, wildcard_range, without_wildcards};

/// What is said of one product, status by status (CSAF 2.0 section 3.2.3.9).
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a status of its own, said or not said"
)]
pub(crate) struct Said {
    /// Affected ranges.
    pub(crate) ranges: Vec<VersionRange>,
    /// Affected versions.
    pub(crate) versions: BTreeSet<Box<str>>,
    /// Every version is affected.
    pub(crate) all_affected: bool,
    /// First versions affected, of one line each.
    pub(crate) first_affected: BTreeSet<Box<str>>,
    /// Last versions affected, of one line each.
    pub(crate) last_affected: BTreeSet<Box<str>>,
    /// Fixed versions.
    pub(crate) fixed: BTreeSet<Box<str>>,
    /// No version is affected.
    pub(crate) none_affected: bool,
    /// Some versions, named, are not affected.
    pub(crate) some_not_affected: bool,
    /// Under investigation.
    pub(crate) undetermined: bool,
    /// The publisher has decided against a fix.
    pub(crate) will_not_fix: bool,
    /// Its own words.
    pub(crate) note: Option<Box<str>>,
}

/// Why nothing can be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NoClaim {
    /// Only single versions are named as not affected, and nothing is said of the others.
    OnlySomeNotAffected,
    /// Nothing was said.
    Nothing,
}

impl Said {
    /// Adds versions to the affected ones.
    pub(crate) fn affected(&mut self, versions: Versions) {
        self.all_affected |= versions.all;
        self.ranges
            .extend(versions.ranges.into_iter().map(without_wildcards));
        for version in versions.versions {
            match wildcard_range(&version) {
                Some(range) => self.ranges.push(range),
                None => {
                    self.versions.insert(version);
                }
            }
        }
    }

    /// One claim of all of it.
    ///
    /// A last affected version ends a range; the lowest fixed version above it is named as its fix.
    /// Where only fixed versions are named, everything below the highest of them is affected, apart
    /// from the others named.
    pub(crate) fn claim(mut self) -> Result<Claim, NoClaim> {
        let mut fixed: Vec<Box<str>> = std::mem::take(&mut self.fixed).into_iter().collect();
        fixed.sort_by(|a, b| natural(a, b));
        let mut firsts: Vec<Box<str>> = std::mem::take(&mut self.first_affected)
            .into_iter()
            .collect();
        firsts.sort_by(|a, b| natural(a, b));
        for first in &firsts {
            let last = self
                .last_affected
                .iter()
                .any(|last| natural(last, first).is_ge());
            if !last {
                self.ranges.push(VersionRange {
                    introduced: Some(first.clone()),
                    end: after(&fixed, first).map_or(RangeEnd::Open, RangeEnd::Fixed),
                });
            }
        }
        for last in std::mem::take(&mut self.last_affected) {
            let introduced = firsts
                .iter()
                .rfind(|first| natural(first, &last).is_le())
                .cloned();
            let end = match after(&fixed, &last) {
                Some(fix) => RangeEnd::Fixed(fix),
                None => RangeEnd::LastAffected(last),
            };
            self.ranges.push(VersionRange { introduced, end });
        }
        let affected = !self.ranges.is_empty() || !self.versions.is_empty();
        let mut notes: Vec<String> = self.note.take().into_iter().map(String::from).collect();
        let kind = if affected {
            let named: BTreeSet<&str> = self
                .ranges
                .iter()
                .filter_map(|range| match &range.end {
                    RangeEnd::Fixed(fix) => Some(&**fix),
                    RangeEnd::LastAffected(_) | RangeEnd::Limit(_) | RangeEnd::Open => None,
                })
                .collect();
            let unnamed: Vec<&str> = fixed
                .iter()
                .map(|fix| &**fix)
                .filter(|fix| !named.contains(fix))
                .collect();
            if !unnamed.is_empty() {
                notes.push(format!("fixed in {}", unnamed.join(", ")));
            }
            if self.all_affected {
                self.ranges.push(open_range());
            }
            ranges_claim(self.ranges, self.versions)
        } else if let Some(highest) = fixed.pop() {
            if fixed.is_empty() {
                ClaimKind::FixedIn { version: highest }
            } else {
                notes.push(format!("fixed also in {}", fixed.join(", ")));
                ClaimKind::FixedIn { version: highest }
            }
        } else if self.all_affected {
            if self.will_not_fix {
                ClaimKind::Open {
                    state: OpenState::Ignored,
                }
            } else {
                ClaimKind::Open {
                    state: OpenState::Open,
                }
            }
        } else if self.undetermined {
            ClaimKind::Undetermined
        } else if self.none_affected {
            ClaimKind::NotAffected
        } else if self.some_not_affected {
            return Err(NoClaim::OnlySomeNotAffected);
        } else {
            return Err(NoClaim::Nothing);
        };
        if self.undetermined && kind != ClaimKind::Undetermined {
            notes.push("nothing is decided yet of other versions".to_owned());
        }
        Ok(Claim {
            release: None,
            kind,
            urgency: None,
            note: (!notes.is_empty())
                .then(|| mailkeep_model::text::printable_max(&notes.join("; "), 300).into()),
            in_repository: None,
        })
    }
}

fn ranges_claim(mut ranges: Vec<VersionRange>, versions: BTreeSet<Box<str>>) -> ClaimKind {
    let mut kept: Vec<VersionRange> = Vec::with_capacity(ranges.len());
    ranges.sort_by(|a, b| {
        natural(
            a.introduced.as_deref().unwrap_or_default(),
            b.introduced.as_deref().unwrap_or_default(),
        )
        .then_with(|| natural(end_text(a), end_text(b)))
    });
    for range in ranges {
        if kept.last() != Some(&range) {
            kept.push(range);
        }
    }
    ClaimKind::Affected {
        ranges: kept,
        versions: versions.into_iter().collect(),
    }
}

fn end_text(range: &VersionRange) -> &str {
    match &range.end {
        RangeEnd::Fixed(end) | RangeEnd::LastAffected(end) | RangeEnd::Limit(end) => end,
        RangeEnd::Open => "",
    }
}

fn open_range() -> VersionRange {
    VersionRange {
        introduced: None,
        end: RangeEnd::Open,
    }
}

/// The lowest fixed version above another; `fixed` is sorted.
fn after(fixed: &[Box<str>], version: &str) -> Option<Box<str>> {
    fixed
        .iter()
        .find(|fix| natural(fix, version).is_gt())
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(versions: &[&str]) -> BTreeSet<Box<str>> {
        versions.iter().map(|v| Box::from(*v)).collect()
    }

    #[test]
    fn the_fix_of_a_line_is_the_lowest_above_its_last_affected_version() {
        let claim = Said {
            last_affected: set(&["2.3.21"]),
            fixed: set(&["2.3.21.1", "3.0.0"]),
            ..Said::default()
        }
        .claim()
        .unwrap();
        assert_eq!(
            claim.kind,
            ClaimKind::Affected {
                ranges: vec![VersionRange {
                    introduced: None,
                    end: RangeEnd::Fixed("2.3.21.1".into())
                }],
                versions: vec![]
            }
        );
        assert_eq!(claim.note.as_deref(), Some("fixed in 3.0.0"));
    }

    #[test]
    fn a_version_said_to_be_clean_says_nothing_of_the_others() {
        let said = Said {
            some_not_affected: true,
            ..Said::default()
        };
        assert_eq!(said.claim(), Err(NoClaim::OnlySomeNotAffected));
    }

    #[test]
    fn a_product_without_version_is_affected_whole() {
        let mut said = Said {
            all_affected: true,
            ..Said::default()
        };
        assert!(matches!(
            said.clone().claim().unwrap().kind,
            ClaimKind::Open {
                state: OpenState::Open
            }
        ));
        said.will_not_fix = true;
        assert!(matches!(
            said.claim().unwrap().kind,
            ClaimKind::Open {
                state: OpenState::Ignored
            }
        ));
    }
}
