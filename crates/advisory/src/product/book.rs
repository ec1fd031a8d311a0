//! Gathers what one bulletin says of one vulnerability, product by product, and makes statements of
//! it: one for each (ecosystem, package, kind, module), its claims release by release.

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_model::text::printable_max;
use mailkeep_model::{
    AdvisoryId, Claim, ClaimKind, Ecosystem, OpenState, PackageKind, Platform, RangeEnd, Statement,
    Urgency, VersionRange, Voice,
};
use rpm_version::rpm_evr_compare;

use super::distribution::{Release, RpmKind, RpmPackage};
use super::exchange;
use super::upstream::{NoClaim, Said};
use crate::{Sink, Stop};

/// What a distributor says of one package in one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// Fixed in this version.
    Fixed(Box<str>),
    /// Affected, with what it means to do and its own words.
    Open(OpenState, Option<Box<str>>),
    /// Under investigation.
    Undetermined,
    /// Not affected, with its own words.
    NotAffected(Option<Box<str>>),
}

/// The words on one package in one release.
#[derive(Debug, Default)]
struct Words {
    fixed: BTreeSet<Box<str>>,
    open: Option<(OpenState, Option<Box<str>>)>,
    undetermined: bool,
    not_affected: bool,
    /// Why not.
    justification: Option<Box<str>>,
    urgency: Option<Urgency>,
}

/// Ecosystem, package, kind, module.
type Key = (Ecosystem, Box<str>, PackageKind, Option<Box<str>>);

/// Everything one bulletin says of one vulnerability.
#[derive(Debug, Default)]
pub(crate) struct Book {
    distributor: BTreeMap<Key, BTreeMap<Box<str>, Words>>,
    upstream: BTreeMap<(Ecosystem, Box<str>), Said>,
    exchange: exchange::Fixes,
    platforms: BTreeSet<(Ecosystem, Box<str>)>,
}

/// What every statement of one vulnerability has in common.
#[derive(Debug, Clone)]
pub(crate) struct Heading {
    /// Id and aliases.
    pub(crate) id: (AdvisoryId, Vec<AdvisoryId>),
    /// Who speaks of the packages of a distribution.
    pub(crate) distributor_voice: Voice,
    /// One line.
    pub(crate) title: Box<str>,
    /// CVSS vector.
    pub(crate) cvss: Option<Box<str>>,
    /// Urgency of the whole.
    pub(crate) urgency: Option<Urgency>,
}

impl Book {
    /// Notes a word of a distributor.
    pub(crate) fn distributor(
        &mut self,
        release: &Release,
        package: &RpmPackage,
        urgency: Option<Urgency>,
        word: &Word,
    ) {
        if !release.layered {
            self.platforms
                .insert((release.ecosystem.clone(), release.release.clone()));
        }
        if package.is_debug() {
            return;
        }
        let kinds: &[PackageKind] = match package.kind {
            RpmKind::Binary => &[PackageKind::Binary],
            RpmKind::Source => &[PackageKind::Source],
            RpmKind::Either => &[PackageKind::Binary, PackageKind::Source],
        };
        for kind in kinds {
            let key = (
                release.ecosystem.clone(),
                package.name.clone(),
                *kind,
                package.module.clone(),
            );
            let words = self
                .distributor
                .entry(key)
                .or_default()
                .entry(release.release.clone())
                .or_default();
            words.urgency = words.urgency.max(urgency);
            match word {
                Word::Fixed(version) => {
                    words.fixed.insert(version.clone());
                }
                Word::Open(state, note) => {
                    let keep = words
                        .open
                        .as_ref()
                        .is_some_and(|(known, _)| rank(*known) >= rank(*state));
                    if !keep {
                        words.open = Some((*state, note.clone()));
                    }
                }
                Word::Undetermined => words.undetermined = true,
                Word::NotAffected(note) => {
                    words.not_affected = true;
                    words.justification = note.clone().or(words.justification.take());
                }
            }
        }
    }

    /// What is said of a product of no distributor, to be added to.
    pub(crate) fn upstream(&mut self, ecosystem: Ecosystem, package: &str) -> &mut Said {
        self.upstream
            .entry((ecosystem, package.into()))
            .or_default()
    }

    /// What is said of Exchange Server, to be added to.
    pub(crate) fn exchange(&mut self) -> &mut exchange::Fixes {
        &mut self.exchange
    }

    /// Whether anything is said of a product of no distributor.
    pub(crate) fn has_upstream(&self, key: &(Ecosystem, Box<str>)) -> bool {
        self.upstream.contains_key(key)
    }

    /// Hands over all statements. Products nothing could be claimed for go to `unclaimed`.
    pub(crate) fn write(
        self,
        heading: &Heading,
        sink: &mut dyn Sink,
        unclaimed: &mut dyn FnMut(&str, NoClaim),
    ) -> Result<(), Stop> {
        for (ecosystem, release) in self.platforms {
            sink.covers(Platform { ecosystem, release });
        }
        for ((ecosystem, package, kind, module), releases) in self.distributor {
            let claims = releases
                .into_iter()
                .filter_map(|(release, words)| words.claim(&ecosystem, release, heading.urgency))
                .collect();
            sink.statement(Statement {
                package_kind: kind,
                module,
                ..heading.statement(ecosystem, package, heading.distributor_voice, claims)
            })?;
        }
        for ((ecosystem, package), said) in self.upstream {
            match said.claim() {
                Ok(claim) => {
                    let claim = Claim {
                        urgency: heading.urgency,
                        ..claim
                    };
                    sink.statement(heading.statement(
                        ecosystem,
                        package,
                        Voice::Upstream,
                        vec![claim],
                    ))?;
                }
                Err(why) => unclaimed(&package, why),
            }
        }
        if !self.exchange.is_empty() {
            let claim = Claim {
                release: None,
                kind: ClaimKind::Affected {
                    ranges: self.exchange.ranges(),
                    versions: Vec::new(),
                },
                urgency: heading.urgency,
                note: None,
                in_repository: None,
            };
            sink.statement(heading.statement(
                Ecosystem::Exchange,
                exchange::PACKAGE.into(),
                Voice::Upstream,
                vec![claim],
            ))?;
            sink.covers(Platform::new(Ecosystem::Exchange, ""));
        }
        Ok(())
    }
}

impl Heading {
    fn statement(
        &self,
        ecosystem: Ecosystem,
        package: Box<str>,
        voice: Voice,
        claims: Vec<Claim>,
    ) -> Statement {
        Statement {
            advisory: self.id.0.clone(),
            aliases: self.id.1.clone(),
            ecosystem,
            package,
            package_kind: PackageKind::Source,
            module: None,
            voice,
            title: self.title.clone(),
            cvss: self.cvss.clone(),
            claims,
        }
    }
}

/// Of two states said of one release, the one that leaves more open decides.
fn rank(state: OpenState) -> u8 {
    match state {
        OpenState::EndOfLife => 0,
        OpenState::Ignored => 1,
        OpenState::Minor => 2,
        OpenState::Postponed => 3,
        OpenState::Open => 4,
    }
}

impl Words {
    /// One claim. A fix outweighs an open hole in the same release (a repository of it that gets
    /// none), both outweigh an open question, and any of them outweighs "not affected".
    fn claim(
        self,
        ecosystem: &Ecosystem,
        release: Box<str>,
        urgency: Option<Urgency>,
    ) -> Option<Claim> {
        let open = self.open.is_some();
        let mut note = None;
        let kind = if !self.fixed.is_empty() {
            if open {
                note = Some("also listed as affected without a fix".into());
            }
            fixed_claim(self.fixed, ecosystem)
        } else if let Some((state, words)) = self.open {
            note = words;
            ClaimKind::Open { state }
        } else if self.undetermined {
            ClaimKind::Undetermined
        } else if self.not_affected {
            note = self.justification;
            ClaimKind::NotAffected
        } else {
            return None;
        };
        Some(Claim {
            release: Some(release),
            kind,
            urgency: self.urgency.or(urgency),
            note: note.map(|note| printable_max(&note, 300).into()),
            in_repository: None,
        })
    }
}

/// The claim of one or more fixed versions in one release.
///
/// Red Hat fixes one release in the lines of several of its minor releases (8.9:
/// `2.28-236.el8_9.13`, 8.10: `2.28-251.el8_10.1`). A version of the older line that has its fix is
/// fixed, though it is below the other: the affected ranges leave out the older line from its fix up
/// to the next minor release. Where a version does not tell its line, the highest decides.
fn fixed_claim(fixed: BTreeSet<Box<str>>, ecosystem: &Ecosystem) -> ClaimKind {
    let mut fixed: Vec<Box<str>> = fixed.into_iter().collect();
    fixed.sort_by(|a, b| rpm_evr_compare(a, b));
    let Some(highest) = fixed.pop() else {
        return ClaimKind::Undetermined;
    };
    // (minor release, fixed version, first version of the next minor release), ascending in each.
    let mut lines: Vec<(u32, Box<str>, Box<str>)> = Vec::new();
    if *ecosystem == Ecosystem::RedHat
        && let Some((own, _)) = minor_line(&highest)
    {
        for version in fixed {
            let Some((minor, next)) = minor_line(&version) else {
                continue;
            };
            // Of two fixes of one line the later one counts.
            lines.pop_if(|(last, ..)| *last == minor);
            let follows = lines.last().is_none_or(|(last, _, last_next)| {
                *last < minor && rpm_evr_compare(last_next, &version).is_lt()
            });
            if minor < own
                && follows
                && rpm_evr_compare(&version, &next).is_lt()
                && rpm_evr_compare(&next, &highest).is_lt()
            {
                lines.push((minor, version, next.into()));
            }
        }
    }
    if lines.is_empty() {
        return ClaimKind::FixedIn { version: highest };
    }
    let mut ranges = Vec::with_capacity(lines.len() + 1);
    let mut introduced = None;
    for (_, version, next) in lines {
        ranges.push(VersionRange {
            introduced: introduced.replace(next),
            end: RangeEnd::Fixed(version),
        });
    }
    ranges.push(VersionRange {
        introduced,
        end: RangeEnd::Fixed(highest),
    });
    ClaimKind::Affected {
        ranges,
        versions: Vec::new(),
    }
}

/// The minor release a version was built for (`.el8_9` is 9), and the lowest version of the next
/// one with the same upstream version: `2.28-236.el8_9.13` gives `2.28-236.el8_10`.
fn minor_line(version: &str) -> Option<(u32, String)> {
    let at = version.rfind(".el")?;
    let (front, tag) = version.split_at(at);
    let (major, rest) = tag.split_once('_')?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    let minor: u32 = digits.parse().ok()?;
    Some((minor, format!("{front}{major}_{}", minor.checked_add(1)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(versions: &[&str]) -> ClaimKind {
        let fixed = versions.iter().map(|v| Box::from(*v)).collect();
        fixed_claim(fixed, &Ecosystem::RedHat)
    }

    #[test]
    fn a_fixed_older_minor_release_is_not_called_affected() {
        assert_eq!(
            claim(&["2.28-251.el8_10.1", "2.28-236.el8_9.13"]),
            ClaimKind::Affected {
                ranges: vec![
                    VersionRange {
                        introduced: None,
                        end: RangeEnd::Fixed("2.28-236.el8_9.13".into())
                    },
                    VersionRange {
                        introduced: Some("2.28-236.el8_10".into()),
                        end: RangeEnd::Fixed("2.28-251.el8_10.1".into())
                    }
                ],
                versions: vec![]
            }
        );
    }

    #[test]
    fn one_fixed_version_or_lines_that_cannot_be_told_make_the_highest_decide() {
        for versions in [
            &["1:3.0.7-27.el9"][..],
            &["1:3.0.7-25.el9", "1:3.0.7-27.el9"],
            &["9:1-1.el8_9", "1:3.0.7-27.el9", "10:1-1.el8"],
        ] {
            let highest = *versions.last().unwrap();
            assert_eq!(
                claim(versions),
                ClaimKind::FixedIn {
                    version: highest.into()
                }
            );
        }
    }

    proptest! {
        #[test]
        fn ranges_of_fixes_are_in_order(versions in proptest::collection::btree_set("[0-9]-[0-9]{1,3}\\.el8_[0-9]{1,2}\\.[0-9]", 1..6)) {
            let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
            if let ClaimKind::Affected { ranges, .. } = claim(&versions) {
                let mut last: Option<Box<str>> = None;
                for range in ranges {
                    let RangeEnd::Fixed(end) = range.end else { panic!("every range ends with a fix") };
                    if let Some(introduced) = range.introduced {
                        prop_assert!(rpm_evr_compare(&introduced, &end).is_lt());
                        prop_assert!(rpm_evr_compare(last.as_deref().unwrap_or_default(), &introduced).is_lt());
                    }
                    last = Some(end);
                }
            }
        }
    }
}
