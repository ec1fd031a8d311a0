//! What one row says of one installed version. One function for each rule.

use std::cmp::Ordering;

use mailkeep_model::{
    Ecosystem, FeedKind, OpenState, Platform, Rule, Status, UnknownReason, Urgency, VersionScheme,
    Voice, debian_codename, debian_number, next_debian_release,
};

use crate::host::{SourcePackage, key_of};
use crate::row::{DecodedRow, RowClaim, RowEnd, RowKind, RowRange, RowVersion};
use crate::version;

/// What one row says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opinion<'a> {
    /// Number of the row.
    pub row: usize,
    /// Number of the feed.
    pub feed: usize,
    /// `FixAvailable` stands for "affected, and a fix is named" until [`super::finish`] looks at
    /// what the host can install.
    pub status: Status,
    pub rule: Rule,
    pub unknown: Option<UnknownReason>,
    /// The version that has the fix.
    pub fixed: Option<RowVersion<'a>>,
    /// The version compared with, and how the installed one stands to it.
    pub compared: Option<(&'a str, Ordering)>,
    /// Release whose data was used.
    pub release: Option<&'a str>,
    pub urgency: Option<Urgency>,
    pub note: Option<&'a str>,
    pub in_repository: Option<RowVersion<'a>>,
}

/// What is to be known of an installed package before any row about it is judged.
pub(super) struct Installed<'p, 'h> {
    package: &'p SourcePackage<'h>,
    backport: Option<(Platform, Vec<u8>)>,
    another_packagers: bool,
}

impl<'p, 'h> Installed<'p, 'h> {
    pub(super) fn new(package: &'p SourcePackage<'h>) -> Self {
        Self {
            package,
            backport: backport_key(package),
            another_packagers: is_another_packagers(package),
        }
    }
}

/// What the row says of the package; `None` where it says nothing about its release.
pub(super) fn opinion<'a>(
    installed: &Installed<'_, '_>,
    row: &DecodedRow<'a>,
    row_number: usize,
    feed: usize,
    kind: FeedKind,
) -> Option<Opinion<'a>> {
    let package = installed.package;
    let blank = Opinion {
        row: row_number,
        feed,
        status: Status::Unknown,
        rule: Rule::VersionNotComparable,
        unknown: Some(UnknownReason::VersionNotComparable),
        fixed: None,
        compared: None,
        release: None,
        urgency: None,
        note: None,
        in_repository: None,
    };
    let scheme = package.platform.ecosystem.version_scheme();
    let Some(own_key) = package.key.as_deref() else {
        let claim = claim_for(row, &package.platform.release)?;
        return Some(without_order(blank, claim));
    };
    let backport = installed.backport.as_ref();
    let home = home(package, row, own_key, backport);
    let Some((claim, newer)) = home else {
        return speaks_of_every_release(kind)
            .then(|| not_in_release(blank, row, own_key))
            .flatten();
    };
    if row.voice == Voice::Distributor && installed.another_packagers {
        return Some(another_packager(blank, claim));
    }
    let key = backport.map_or(own_key, |(_, key)| key);
    let mut opinion = judge_claim(blank, claim, scheme, key);
    if newer && opinion.rule == Rule::DistributorFixedVersion {
        opinion.rule = Rule::NewerReleaseFixedVersion;
    }
    if kind == FeedKind::Released && opinion.rule == Rule::DistributorFixedVersion {
        opinion.rule = Rule::ChangelogFixedVersion;
    }
    if row.module.is_some() && package.label().is_none() && opinion.status.is_finding() {
        opinion = Opinion {
            status: Status::Unknown,
            rule: Rule::ModuleNotSeen,
            unknown: Some(UnknownReason::ModuleNotSeen),
            ..opinion
        };
    }
    let open = matches!(claim.kind, RowKind::Open(_) | RowKind::Undetermined);
    if open
        && package.platform.ecosystem == Ecosystem::Debian
        && let Some(newer) = fixed_by_newer_release(blank, row, claim, own_key)
    {
        return Some(newer);
    }
    Some(opinion)
}

/// The claim for the release a version belongs to, and whether that is a newer release than the
/// host's: the one a backport was built from, or the one a package was pinned from. A version above
/// all that a release ever held, and not an update made for it, came from a newer one.
fn home<'r, 'a>(
    package: &SourcePackage<'_>,
    row: &'r DecodedRow<'a>,
    own_key: &[u8],
    backport: Option<&(Platform, Vec<u8>)>,
) -> Option<(&'r RowClaim<'a>, bool)> {
    let (mut release, key) = match backport {
        Some((platform, key)) => (&*platform.release, key.as_slice()),
        None => (&*package.platform.release, own_key),
    };
    let mut newer = backport.is_some();
    let mut found = claim_for(row, release);
    if package.platform.ecosystem != Ecosystem::Debian || (found.is_none() && !newer) {
        return found.map(|claim| (claim, newer));
    }
    loop {
        let outgrown = match found {
            // A backport from a release that no longer carries it: a newer one may.
            None => true,
            Some(claim) => claim.in_repository.is_some_and(|held| {
                !held.key.is_empty()
                    && held.key < key
                    && !is_update_for(package.version, held.text, release)
            }),
        };
        let Some(next) = next_debian_release(release).filter(|_| outgrown) else {
            break;
        };
        release = next;
        if let Some(claim) = claim_for(row, release) {
            found = Some(claim);
            newer = true;
        }
    }
    found.map(|claim| (claim, newer))
}

/// Whether a version above what a release holds is still that release's: an update whose number
/// names it (`+deb12u4`, `~deb12u1`), or a rebuild of the same upstream version. A tracker that is a
/// day old must not push a security update into the next release.
fn is_update_for(version: &str, held: &str, release: &str) -> bool {
    let scheme = VersionScheme::Dpkg;
    let names_release = debian_number(release).is_some_and(|number| {
        let mut after = version.split(['+', '~']).skip(1);
        after.any(|part| {
            part.strip_prefix("deb")
                .and_then(|rest| rest.strip_prefix(number))
                .is_some_and(|rest| rest.starts_with('u'))
        })
    });
    names_release || version::upstream_part(scheme, version) == version::upstream_part(scheme, held)
}

/// The claim for a release, else the one for every release.
fn claim_for<'r, 'a>(row: &'r DecodedRow<'a>, release: &str) -> Option<&'r RowClaim<'a>> {
    row.claims
        .iter()
        .find(|claim| claim.release == Some(release))
        .or_else(|| row.claims.iter().find(|claim| claim.release.is_none()))
}

/// The Debian tracker has an entry for every release that carries the package; other feeds list
/// only the releases that are affected.
fn speaks_of_every_release(kind: FeedKind) -> bool {
    kind == FeedKind::DebianTracker
}

/// Whether a version bears the mark of a packager that is not Debian, by whose numbering it may sort
/// above every fix of Debian's: `2:2.3.21-1+debian12` (dovecot.org), `3.8.4-1~bookworm` (rspamd.com),
/// `17.2-1.pgdg120+1`, `...-1ubuntu2`. None of the 50,000 versions of Debian's own archive has one.
fn is_another_packagers(package: &SourcePackage<'_>) -> bool {
    if package.platform.ecosystem != Ecosystem::Debian {
        return false;
    }
    let Some((_, revision)) = package.version.rsplit_once('-') else {
        return false;
    };
    revision.contains("ubuntu")
        || revision.contains("pgdg")
        || revision.split(['~', '+']).skip(1).any(|part| {
            let release = part.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit());
            match part.strip_prefix("debian") {
                Some(number) => debian_codename(number).is_some(),
                None => debian_number(release).is_some(),
            }
        })
}

fn another_packager<'a>(blank: Opinion<'a>, claim: &RowClaim<'a>) -> Opinion<'a> {
    Opinion {
        rule: Rule::NotTheDistributorsPackage,
        unknown: Some(UnknownReason::NotTheDistributorsPackage),
        release: claim.release,
        urgency: claim.urgency,
        ..blank
    }
}

/// Trap 4: a backport is judged by the release it was built from, as if it had that release's
/// version number: `2.4.1-5~bpo12+1` on bookworm is trixie's `2.4.1-5` (backports.debian.org,
/// version numbers).
fn backport_key(package: &SourcePackage<'_>) -> Option<(Platform, Vec<u8>)> {
    if package.platform.ecosystem != Ecosystem::Debian {
        return None;
    }
    let (base, suffix) = package.version.split_once("~bpo")?;
    let digits: String = suffix.chars().take_while(char::is_ascii_digit).collect();
    // Up to wheezy the suffix had a zero more: `~bpo70+1`.
    let number = match digits.as_str() {
        "60" | "70" => digits.get(..1)?,
        _ => digits.as_str(),
    };
    let built_for = Platform::new(Ecosystem::Debian, number);
    let platform = built_for
        .next_debian()
        .or_else(|| package.platform.next_debian())?;
    Some((platform, key_of(VersionScheme::Dpkg, base)?))
}

fn judge_claim<'a>(
    blank: Opinion<'a>,
    claim: &RowClaim<'a>,
    scheme: VersionScheme,
    installed: &[u8],
) -> Opinion<'a> {
    let said = Opinion {
        unknown: None,
        release: claim.release,
        urgency: claim.urgency,
        note: claim.note,
        in_repository: claim.in_repository,
        ..blank
    };
    match &claim.kind {
        RowKind::NotAffected => not_affected(said),
        RowKind::FixedIn(version) => fixed_version(said, *version, installed),
        RowKind::Open(state) => open(said, *state),
        RowKind::Undetermined => undetermined(said),
        RowKind::Affected { ranges, versions } => {
            in_ranges(said, ranges, versions, scheme, installed)
        }
    }
}

/// The distributor says that no version of this release is affected. Trap 1: this is a statement,
/// never a comparison with version `0`.
fn not_affected(said: Opinion<'_>) -> Opinion<'_> {
    Opinion {
        status: Status::NotAffected,
        rule: Rule::DistributorNotAffected,
        ..said
    }
}

/// Trap 2: versions are compared; whether a version is one the archive knows does not matter.
fn fixed_version<'a>(said: Opinion<'a>, version: RowVersion<'a>, installed: &[u8]) -> Opinion<'a> {
    if version.key.is_empty() {
        return incomparable(said, version);
    }
    let ordering = installed.cmp(version.key);
    Opinion {
        status: if ordering == Ordering::Less {
            Status::FixAvailable
        } else {
            Status::Fixed
        },
        rule: Rule::DistributorFixedVersion,
        fixed: Some(version),
        compared: Some((version.text, ordering)),
        ..said
    }
}

/// Trap 7: open, too minor, postponed, ignored and end of life are different things.
fn open(said: Opinion<'_>, state: OpenState) -> Opinion<'_> {
    let (status, rule) = match state {
        OpenState::EndOfLife => (Status::WillNotFix, Rule::DistributorEndOfLife),
        OpenState::Ignored => (Status::WillNotFix, Rule::DistributorIgnored),
        OpenState::Minor => (Status::NoFix, Rule::DistributorMinor),
        OpenState::Open => (Status::NoFix, Rule::DistributorOpen),
        OpenState::Postponed => (Status::NoFix, Rule::DistributorPostponed),
    };
    Opinion {
        status,
        rule,
        ..said
    }
}

fn undetermined(said: Opinion<'_>) -> Opinion<'_> {
    Opinion {
        status: Status::Unknown,
        rule: Rule::DistributorUndetermined,
        unknown: Some(UnknownReason::DistributorUndetermined),
        ..said
    }
}

fn incomparable<'a>(said: Opinion<'a>, version: RowVersion<'a>) -> Opinion<'a> {
    Opinion {
        status: Status::Unknown,
        rule: Rule::VersionNotComparable,
        unknown: Some(UnknownReason::VersionNotComparable),
        fixed: Some(version),
        ..said
    }
}

/// The installed version cannot be ordered: only a word about every version decides.
fn without_order<'a>(blank: Opinion<'a>, claim: &RowClaim<'a>) -> Opinion<'a> {
    match &claim.kind {
        RowKind::FixedIn(version) => incomparable(blank, *version),
        RowKind::Affected { .. } => blank,
        RowKind::NotAffected | RowKind::Open(_) | RowKind::Undetermined => {
            judge_claim(blank, claim, VersionScheme::Dotted, &[])
        }
    }
}

/// The tracker has no entry for the package in the host's release: it was left behind by an
/// upgrade, or comes from elsewhere. Only what holds for every release that carries it is certain.
fn not_in_release<'a>(
    blank: Opinion<'a>,
    row: &DecodedRow<'a>,
    installed: &[u8],
) -> Option<Opinion<'a>> {
    let mut highest: Option<RowVersion<'a>> = None;
    let mut all_named = true;
    let mut none_affected = true;
    for claim in &row.claims {
        match &claim.kind {
            RowKind::NotAffected => {}
            RowKind::FixedIn(version) if !version.key.is_empty() => {
                none_affected = false;
                if highest.is_none_or(|h| h.key < version.key) {
                    highest = Some(*version);
                }
            }
            RowKind::FixedIn(_)
            | RowKind::Affected { .. }
            | RowKind::Open(_)
            | RowKind::Undetermined => {
                none_affected = false;
                all_named = false;
            }
        }
    }
    let urgency = row.claims.first()?.urgency;
    let said = Opinion { urgency, ..blank };
    Some(match highest {
        None if none_affected => Opinion {
            status: Status::NotAffected,
            rule: Rule::DistributorNotAffected,
            unknown: None,
            ..said
        },
        Some(version) if all_named && installed >= version.key => Opinion {
            status: Status::Fixed,
            rule: Rule::NewerReleaseFixedVersion,
            unknown: None,
            fixed: Some(version),
            compared: Some((version.text, installed.cmp(version.key))),
            ..said
        },
        other => Opinion {
            status: Status::Unknown,
            rule: Rule::PackageNotInRelease,
            unknown: Some(UnknownReason::PackageNotInRelease),
            fixed: other,
            ..said
        },
    })
}

/// A version newer than the release's own (pinned from a newer release) has the newer release's
/// fix, though the host's release is open.
fn fixed_by_newer_release<'a>(
    blank: Opinion<'a>,
    row: &DecodedRow<'a>,
    own: &RowClaim<'a>,
    installed: &[u8],
) -> Option<Opinion<'a>> {
    let in_release = own.in_repository?.key;
    if in_release.is_empty() || installed <= in_release {
        return None;
    }
    row.claims.iter().find_map(|claim| {
        let RowKind::FixedIn(version) = &claim.kind else {
            return None;
        };
        if version.key.is_empty() || version.key <= in_release || installed < version.key {
            return None;
        }
        Some(Opinion {
            status: Status::Fixed,
            rule: Rule::NewerReleaseFixedVersion,
            unknown: None,
            fixed: Some(*version),
            compared: Some((version.text, installed.cmp(version.key))),
            release: claim.release,
            urgency: claim.urgency,
            note: claim.note,
            in_repository: own.in_repository,
            ..blank
        })
    })
}

/// OSV schema 1.7, evaluation of ranges; CSAF version ranges and CVE 5 `affected` likewise.
fn in_ranges<'a>(
    said: Opinion<'a>,
    ranges: &[RowRange<'a>],
    versions: &[&'a str],
    scheme: VersionScheme,
    installed: &[u8],
) -> Opinion<'a> {
    let mut newest_fix_had: Option<RowVersion<'a>> = None;
    for range in ranges {
        let bounds = [range.introduced, end_version(&range.end)];
        if let Some(bad) = bounds
            .into_iter()
            .flatten()
            .find(|v| v.key.is_empty() && v.text != "0")
        {
            return incomparable(said, bad);
        }
        let after_start = range
            .introduced
            .is_none_or(|v| v.text == "0" || v.key <= installed);
        if !after_start {
            continue;
        }
        match &range.end {
            RowEnd::Fixed(v) if installed < v.key => {
                return Opinion {
                    status: Status::FixAvailable,
                    rule: Rule::RangeAffected,
                    fixed: Some(*v),
                    compared: Some((v.text, Ordering::Less)),
                    ..said
                };
            }
            RowEnd::Fixed(v) => {
                if newest_fix_had.is_none_or(|had| had.key < v.key) {
                    newest_fix_had = Some(*v);
                }
            }
            RowEnd::LastAffected(v) if installed <= v.key => {
                return Opinion {
                    status: Status::NoFix,
                    rule: Rule::RangeAffected,
                    compared: Some((v.text, installed.cmp(v.key))),
                    ..said
                };
            }
            RowEnd::Limit(v) if installed < v.key => {
                return Opinion {
                    status: Status::NoFix,
                    rule: Rule::RangeAffected,
                    compared: Some((v.text, Ordering::Less)),
                    ..said
                };
            }
            RowEnd::LastAffected(_) | RowEnd::Limit(_) => {}
            RowEnd::Open => {
                return Opinion {
                    status: Status::NoFix,
                    rule: Rule::RangeAffected,
                    ..said
                };
            }
        }
    }
    listed(said, versions, newest_fix_had, scheme, installed)
}

/// Versions listed one by one are equal by order, not by text.
fn listed<'a>(
    said: Opinion<'a>,
    versions: &[&'a str],
    newest_fix_had: Option<RowVersion<'a>>,
    scheme: VersionScheme,
    installed: &[u8],
) -> Opinion<'a> {
    let equal = versions
        .iter()
        .find(|v| key_of(scheme, v).is_some_and(|key| key == installed));
    if let Some(version) = equal {
        return Opinion {
            status: Status::NoFix,
            rule: Rule::RangeAffected,
            compared: Some((version, Ordering::Equal)),
            ..said
        };
    }
    match newest_fix_had {
        Some(fix) => Opinion {
            status: Status::Fixed,
            rule: Rule::RangeNotAffected,
            fixed: Some(fix),
            compared: Some((fix.text, installed.cmp(fix.key))),
            ..said
        },
        None => Opinion {
            status: Status::NotAffected,
            rule: Rule::RangeNotAffected,
            ..said
        },
    }
}

fn end_version<'a>(end: &RowEnd<'a>) -> Option<RowVersion<'a>> {
    match end {
        RowEnd::Fixed(v) | RowEnd::LastAffected(v) | RowEnd::Limit(v) => Some(*v),
        RowEnd::Open => None,
    }
}
