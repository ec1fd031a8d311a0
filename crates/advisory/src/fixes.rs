//! What bulletins say of one package in one release, gathered into a single claim, and the
//! statements a bulletin of several ids and packages becomes.
//!
//! Entry: [`Said`], [`Bulletin`]. For feeds that list fixes: OSV, updateinfo. Must know no format.

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_model::{
    AdvisoryId, Claim, ClaimKind, Ecosystem, OpenState, PackageKind, RangeEnd, Statement, Urgency,
    VersionRange, VersionScheme, Voice,
};

use crate::{ReadError, Sink, ids};

/// Statements one bulletin may become. Kernel updates reach some 60,000 (ids times packages).
const STATEMENTS_MAX: usize = 1_000_000;

/// What is said of one package in one release.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) ranges: Vec<VersionRange>,
    pub(crate) versions: Vec<Box<str>>,
    pub(crate) urgency: Option<Urgency>,
    pub(crate) end_of_life: bool,
}

impl Said {
    /// The claim; `None` where nothing was said.
    ///
    /// A distributor's list of fixes is its own word on its own package: one fix is "fixed in", no
    /// fix is "open". Where several fixes are given for one release (regressions of an update,
    /// modules built twice), a version is fixed once none of them is missing: the highest decides.
    pub(crate) fn claim(mut self, ecosystem: &Ecosystem) -> Option<ClaimKind> {
        if self.ranges.is_empty() && self.versions.is_empty() {
            return None;
        }
        let from_the_start = !self.ranges.is_empty()
            && self.ranges.iter().all(|range| {
                range.introduced.is_none()
                    && matches!(range.end, RangeEnd::Fixed(_) | RangeEnd::Open)
            });
        if !ecosystem.is_distribution() || !from_the_start {
            return Some(ClaimKind::Affected {
                ranges: self.ranges,
                versions: self.versions,
            });
        }
        if self.ranges.iter().any(|range| range.end == RangeEnd::Open) {
            let state = if self.end_of_life {
                OpenState::EndOfLife
            } else {
                OpenState::Open
            };
            return Some(ClaimKind::Open { state });
        }
        let mut fixed: BTreeSet<Box<str>> = self
            .ranges
            .drain(..)
            .filter_map(|range| match range.end {
                RangeEnd::Fixed(version) => Some(version),
                RangeEnd::LastAffected(_) | RangeEnd::Limit(_) | RangeEnd::Open => None,
            })
            .collect();
        // From the beginning to "0" there is nothing: Debian's way to say "never affected".
        if fixed.remove("0") && fixed.is_empty() {
            return Some(ClaimKind::NotAffected);
        }
        if ecosystem.version_scheme() == VersionScheme::Rpm {
            return fixed
                .into_iter()
                .max_by(|a, b| rpm_version::rpm_evr_compare(a, b))
                .map(|version| ClaimKind::FixedIn { version });
        }
        if fixed.len() == 1 {
            return fixed
                .pop_first()
                .map(|version| ClaimKind::FixedIn { version });
        }
        // Which is the highest is the matcher's to say; below any of them is affected.
        let ranges = fixed
            .into_iter()
            .map(|version| VersionRange {
                introduced: None,
                end: RangeEnd::Fixed(version),
            })
            .collect();
        Some(ClaimKind::Affected {
            ranges,
            versions: Vec::new(),
        })
    }
}

/// What is spoken of: whose package, its name, whose name that is, its module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subject {
    pub(crate) ecosystem: Ecosystem,
    pub(crate) package: Box<str>,
    pub(crate) kind: PackageKind,
    pub(crate) module: Option<Box<str>>,
}

/// One bulletin, gathered.
#[derive(Debug, Default)]
pub(crate) struct Bulletin {
    pub(crate) title: Box<str>,
    pub(crate) cvss: Option<Box<str>>,
    /// What it says, by package and release.
    pub(crate) said: BTreeMap<Subject, BTreeMap<Option<Box<str>>, Said>>,
}

impl Bulletin {
    /// Writes a statement for each vulnerability and package. `ids_for` gives the bulletin's ids as
    /// they hold for an ecosystem. Gives the number written, or a reason why none was.
    pub(crate) fn write(
        self,
        voice: impl Fn(&Ecosystem) -> Voice,
        ids_for: impl Fn(&Ecosystem) -> Vec<AdvisoryId>,
        sink: &mut dyn Sink,
    ) -> Result<Result<usize, String>, ReadError> {
        let mut written = 0;
        let subjects = self.said.len();
        let mut named: Option<Named> = None;
        for (subject, releases) in self.said {
            // Subjects come sorted by ecosystem, and ids differ by nothing else.
            let same = named
                .take()
                .filter(|named| named.ecosystem == subject.ecosystem);
            let found = same.map_or_else(
                || Named::of(subject.ecosystem.clone(), &ids_for, subjects),
                Ok,
            );
            let pairs = match found {
                Ok(found) => &named.insert(found).pairs,
                Err(reason) => return Ok(Err(reason)),
            };
            let claims: Vec<Claim> = releases
                .into_iter()
                .filter_map(|(release, said)| {
                    Some(Claim {
                        release,
                        urgency: said.urgency,
                        kind: said.claim(&subject.ecosystem)?,
                        note: None,
                        in_repository: None,
                    })
                })
                .collect();
            if claims.is_empty() {
                continue;
            }
            for (advisory, aliases) in pairs {
                sink.statement(Statement {
                    advisory: advisory.clone(),
                    aliases: aliases.clone(),
                    ecosystem: subject.ecosystem.clone(),
                    package: subject.package.clone(),
                    package_kind: subject.kind,
                    module: subject.module.clone(),
                    voice: voice(&subject.ecosystem),
                    title: self.title.clone(),
                    cvss: self.cvss.clone(),
                    claims: claims.clone(),
                })?;
                written += 1;
            }
        }
        Ok(Ok(written))
    }
}

/// The ids of a bulletin as they hold for an ecosystem, taken apart.
struct Named {
    ecosystem: Ecosystem,
    pairs: Vec<(AdvisoryId, Vec<AdvisoryId>)>,
}

impl Named {
    fn of(
        ecosystem: Ecosystem,
        ids_for: impl Fn(&Ecosystem) -> Vec<AdvisoryId>,
        subjects: usize,
    ) -> Result<Self, String> {
        let ids = ids_for(&ecosystem);
        let cves = ids.iter().filter(|id| id.is_cve()).count();
        let each = subjects.max(ids.len() - cves);
        if cves.max(1).saturating_mul(each) > STATEMENTS_MAX {
            return Err(format!(
                "its ids and packages make more than {STATEMENTS_MAX} statements"
            ));
        }
        let pairs = ids::canonical(ids);
        Ok(Self { ecosystem, pairs })
    }
}

/// A distributor's word for how urgent it is: Red Hat's and AlmaLinux's severities, Ubuntu's
/// priorities, Debian's urgencies.
pub(crate) fn urgency(word: &str) -> Option<Urgency> {
    Some(match word.trim().to_ascii_lowercase().as_str() {
        "critical" => Urgency::Critical,
        "high" | "important" => Urgency::High,
        "medium" | "moderate" => Urgency::Medium,
        "low" => Urgency::Low,
        "unimportant" | "negligible" => Urgency::Unimportant,
        "not yet assigned" | "untriaged" => Urgency::NotYetAssigned,
        _ => return None,
    })
}

/// Whether an RPM version was built for a module stream: `.module_el8.5.0+26+48d4c9ee` (AlmaLinux),
/// `.module+el8.4.0+9577+0b56c8de` (Red Hat, Rocky Linux).
pub(crate) fn is_module_build(version: &str) -> bool {
    version.contains(".module_") || version.contains(".module+")
}

/// The module streams a title names: `Important: mailman:2.1 security update`.
pub(crate) fn modules_in(title: &str) -> Vec<Box<str>> {
    let mut modules: Vec<Box<str>> = title
        .split([' ', ',', '(', ')'])
        .filter(|word| {
            word.split_once(':').is_some_and(|(name, stream)| {
                let plain = |text: &str| {
                    !text.is_empty()
                        && text
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
                };
                plain(name) && plain(stream) && !stream.contains(':')
            })
        })
        .map(Box::from)
        .collect();
    modules.dedup();
    modules.truncate(8);
    modules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(versions: &[&str]) -> Said {
        Said {
            ranges: versions
                .iter()
                .map(|version| VersionRange {
                    introduced: None,
                    end: RangeEnd::Fixed((*version).into()),
                })
                .collect(),
            ..Said::default()
        }
    }

    #[test]
    fn of_several_fixes_for_one_release_the_highest_decides() {
        assert_eq!(
            fixed(&["1:9-1.el9", "1:10-1.el9"]).claim(&Ecosystem::AlmaLinux),
            Some(ClaimKind::FixedIn {
                version: "1:10-1.el9".into()
            })
        );
        let claim = fixed(&["1.0-1+deb8u1", "1.0-1+deb8u2"]).claim(&Ecosystem::Debian);
        assert!(
            matches!(claim, Some(ClaimKind::Affected { ranges, .. }) if ranges.len() == 2),
            "below any of them is affected"
        );
    }

    #[test]
    fn fixed_in_zero_is_not_affected() {
        assert_eq!(
            fixed(&["0"]).claim(&Ecosystem::Debian),
            Some(ClaimKind::NotAffected)
        );
    }

    #[test]
    fn module_streams_are_read_out_of_a_title() {
        let modules = |title| modules_in(title).join(" ");
        assert_eq!(
            modules("Important: mailman:2.1 security update"),
            "mailman:2.1"
        );
        assert_eq!(
            modules("Moderate: virt:rhel and virt-devel:rhel security, bug fix update"),
            "virt:rhel virt-devel:rhel"
        );
        assert_eq!(modules("Low: dovecot security update"), "");
    }
}
