//! From an opinion to a verdict: can the host install the fix, does it run it, and the sentence.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write as _;

use mailkeep_model::{
    AdvisoryId, Comparison, Evidence, FeedState, OtherWord, Rule, Status, Verdict, text,
};

use super::choose::{Chosen, says};
use super::opinion::Opinion;
use super::{FeedView, Judged};
use crate::host::{SourcePackage, StaleRun};
use crate::row::{DecodedRow, RowError, RowVersion};

/// Longest title kept in a verdict, in characters: two lines of a table.
const MAX_TITLE: usize = 160;

/// Which status asks for more, first the one that asks for most. Between several words of one feed,
/// or several installed versions, it decides.
pub(crate) fn rank(status: Status) -> u8 {
    match status {
        Status::FixAvailable => 0,
        Status::RestartPending => 1,
        Status::FixPublished => 2,
        Status::NoFix => 3,
        Status::WillNotFix => 4,
        Status::Mitigated => 5,
        Status::Unknown => 6,
        Status::Fixed => 7,
        Status::NotAffected => 8,
    }
}

/// Turns what was chosen into a verdict, or counts it where it is none of the user's concern.
pub(super) fn finish(
    package: &SourcePackage<'_>,
    rows: &[(usize, DecodedRow<'_>)],
    chosen: &Chosen<'_, '_>,
    feeds: &[FeedView<'_>],
    all: bool,
    judged: &mut Judged,
) -> Result<(), RowError> {
    let stale = stale_run(package, &chosen.deciding);
    let outcome = outcome(package, chosen, rows, stale);
    match outcome.status {
        Status::Fixed => judged.fixed += 1,
        Status::NotAffected => judged.not_affected += 1,
        _ => {}
    }
    if all || outcome.status.is_finding() {
        judged
            .verdicts
            .push(verdict(package, rows, chosen, feeds, outcome)?);
    }
    Ok(())
}

/// What becomes of an opinion on this host.
struct Outcome<'p, 'h> {
    status: Status,
    rule: Rule,
    /// The process that runs the old code, where that decided.
    stale: Option<&'p StaleRun<'h>>,
    notes: Vec<Cow<'static, str>>,
}

/// The process, if any, that still runs code from before this fix. Where the version it runs is not
/// known, it may lack any fix the installed version has: all of them wait for the restart.
fn stale_run<'p, 'h>(
    package: &'p SourcePackage<'h>,
    opinion: &Opinion<'_>,
) -> Option<&'p StaleRun<'h>> {
    if opinion.status != Status::Fixed {
        return None;
    }
    let fixed = opinion.fixed?;
    package.stale.iter().find(
        |run| match run.ran.and_then(|ran| package.comparable_key(ran)) {
            Some(ran) => ran.as_slice() < fixed.key,
            None => true,
        },
    )
}

fn outcome<'p, 'h>(
    package: &SourcePackage<'_>,
    chosen: &Chosen<'_, '_>,
    rows: &[(usize, DecodedRow<'_>)],
    stale: Option<&'p StaleRun<'h>>,
) -> Outcome<'p, 'h> {
    let opinion = &chosen.deciding;
    let mut notes = Vec::new();
    if stale.is_some() {
        return Outcome {
            status: Status::RestartPending,
            rule: Rule::StaleProcess,
            stale,
            notes,
        };
    }
    let mut status = opinion.status;
    if status == Status::FixAvailable {
        status = installable(
            package,
            opinion,
            from_extended_support(chosen, rows),
            &mut notes,
        );
    }
    if let (Some(run), true) = (package.stale.first(), status.is_finding()) {
        notes.push(said(format!(
            "{} (pid {}) runs a build of it that is no longer on disk",
            run.process, run.pid
        )));
    }
    Outcome {
        status,
        rule: opinion.rule,
        stale: None,
        notes,
    }
}

/// Whether the fixed version is one the host can install.
fn installable(
    package: &SourcePackage<'_>,
    opinion: &Opinion<'_>,
    extended_support: bool,
    notes: &mut Vec<Cow<'static, str>>,
) -> Status {
    let Some(fixed) = opinion.fixed else {
        return Status::NoFix;
    };
    let Some(offered) = &package.offered else {
        if !package.platform.ecosystem.is_distribution() {
            return Status::FixPublished;
        }
        if package.is_backport() {
            notes.push(
                "the fix is in the release this backport was built from; what backports offer was not seen"
                    .into(),
            );
            return Status::FixPublished;
        }
        if extended_support {
            notes.push(
                "the fix comes from extended support, whose repository was not seen on this host"
                    .into(),
            );
            return Status::FixPublished;
        }
        notes.push(not_seen(opinion, fixed));
        return Status::FixAvailable;
    };
    let origin = offered
        .origin
        .map(|o| format!(" ({o})"))
        .unwrap_or_default();
    if offered.key.as_slice() >= fixed.key {
        notes.push(said(format!(
            "the host's own repositories offer {}{origin}",
            offered.version
        )));
        Status::FixAvailable
    } else {
        notes.push(said(format!(
            "the host's own repositories offer only {}{origin}",
            offered.version
        )));
        Status::FixPublished
    }
}

/// A note with words of a host or a feed in it.
fn said(note: String) -> Cow<'static, str> {
    text::printable_owned(note).into()
}

/// What is said where the host's own repositories were not seen: the distributor names the fix for
/// this release, and a release's repositories are taken to be the host's.
fn not_seen(opinion: &Opinion<'_>, fixed: RowVersion<'_>) -> Cow<'static, str> {
    match opinion.in_repository {
        Some(held) if !held.key.is_empty() && held.key >= fixed.key => said(
            [
                "what the host's own repositories offer was not seen; the distributor's hold ",
                held.text,
            ]
            .concat(),
        ),
        Some(held) => said(
            [
                "what the host's own repositories offer was not seen; the distributor names the \
                 fix, its feed still lists ",
                held.text,
                " in the repository",
            ]
            .concat(),
        ),
        None => "what the host's own repositories offer was not seen; the distributor names the fix for this release".into(),
    }
}

/// Extended LTS (ELA) lies in a repository that no Debian host has by itself.
fn from_extended_support(chosen: &Chosen<'_, '_>, rows: &[(usize, DecodedRow<'_>)]) -> bool {
    rows.get(chosen.deciding.row).is_some_and(|(_, row)| {
        row.advisory.starts_with("ELA-") || row.aliases.iter().any(|a| a.starts_with("ELA-"))
    })
}

fn stale_reason(package: &SourcePackage<'_>, opinion: &Opinion<'_>, run: &StaleRun<'_>) -> String {
    let fixed = opinion.fixed.map_or("", |v| v.text);
    let mut reason = format!(
        "{} {} has the fix of {fixed}, but {} (pid {}) still runs {} from before it",
        package.name, package.version, run.process, run.pid, run.path
    );
    if let Some(ran) = run.ran {
        let _infallible = write!(reason, " (version {ran})");
    }
    reason.push_str("; restart it");
    reason
}

fn reason(package: &SourcePackage<'_>, opinion: &Opinion<'_>) -> String {
    let name = package.name;
    let installed = package.version;
    let (within, release) = opinion.release.map_or(("", ""), |name| (" in ", name));
    let fixed = opinion.fixed.map_or("", |v| v.text);
    let (colon, said) = opinion.note.map_or(("", ""), |note| (": ", note));
    // The pieces are joined, not formatted: most findings have one of these sentences.
    let fixed_there = |installed_is: &str, with: &str| {
        let place = ", where the distributor fixed it";
        [
            "installed ",
            installed,
            installed_is,
            with,
            place,
            within,
            release,
        ]
        .concat()
    };
    let affected = |words: &str| {
        let says = "the distributor says ";
        [says, name, within, release, words, colon, said].concat()
    };
    match opinion.rule {
        Rule::DistributorNotAffected => {
            format!(
                "the distributor says no version of {name}{within}{release} is affected{colon}{said}"
            )
        }
        Rule::DistributorFixedVersion | Rule::NewerReleaseFixedVersion => match opinion.compared {
            Some((with, Ordering::Less)) => fixed_there(" is older than ", with),
            Some((with, _)) => fixed_there(" is not older than ", with),
            None => format!("fixed in {fixed}{within}{release}"),
        },
        Rule::ChangelogFixedVersion => match opinion.compared {
            Some((with, Ordering::Less)) => {
                format!("installed {installed} is older than {with}, whose changelog names the fix")
            }
            _ => format!(
                "the changelog of {fixed} names the fix, and installed {installed} is not older"
            ),
        },
        Rule::DistributorOpen => affected(" is affected and names no fix"),
        Rule::DistributorMinor => affected(" is affected and too minor for an advisory of its own"),
        Rule::DistributorPostponed => {
            affected(" is affected and postpones the fix to a later update")
        }
        Rule::DistributorIgnored => affected(" is affected and will not be fixed"),
        Rule::DistributorEndOfLife => {
            format!(
                "{name}{within}{release} is affected and no longer has security support{colon}{said}"
            )
        }
        Rule::DistributorUndetermined => {
            format!(
                "the distributor has not decided whether {name}{within}{release} is affected{colon}{said}"
            )
        }
        Rule::ModuleNotSeen => format!(
            "installed {installed} was built for a module stream; which one was not seen, and the advisory is for one"
        ),
        Rule::NotTheDistributorsPackage => format!(
            "installed {installed} bears the mark of another packager than {}: whoever built it must say",
            package.platform
        ),
        Rule::PackageNotInRelease => format!(
            "the distributor has no entry for {name} in {}: it was left behind by an upgrade or comes from elsewhere",
            package.platform
        ),
        Rule::RangeAffected => match opinion.compared {
            Some((with, Ordering::Less)) => {
                format!("installed {installed} lies in an affected range that ends before {with}")
            }
            Some((with, Ordering::Equal)) => {
                format!("installed {installed} is listed as affected ({with})")
            }
            _ => format!("installed {installed} lies in an affected range that names no fix"),
        },
        Rule::RangeNotAffected => format!("installed {installed} lies in no affected range"),
        Rule::VersionNotComparable => {
            let with = opinion
                .fixed
                .map(|v| format!(" with {}", v.text))
                .unwrap_or_default();
            format!("installed {installed} cannot be compared{with}")
        }
        Rule::StaleProcess => format!("a process still runs an older build of {name}"),
    }
}

fn verdict(
    package: &SourcePackage<'_>,
    rows: &[(usize, DecodedRow<'_>)],
    chosen: &Chosen<'_, '_>,
    feeds: &[FeedView<'_>],
    outcome: Outcome<'_, '_>,
) -> Result<Verdict, RowError> {
    let opinion = &chosen.deciding;
    // Only here, because most outcomes are no verdict to show, and a sentence costs more than a
    // decision.
    let reason = match outcome.stale {
        Some(run) => stale_reason(package, opinion, run),
        None => reason(package, opinion),
    };
    let about = chosen.rows.iter().filter_map(|&n| Some(&rows.get(n)?.1));
    let deciding = rows.get(opinion.row).map(|(_, row)| row);
    let first = |pick: &dyn Fn(&DecodedRow<'_>) -> Option<String>| {
        deciding
            .and_then(pick)
            .or_else(|| about.clone().find_map(pick))
    };
    let title =
        first(&|row| (!row.title.is_empty()).then(|| text::printable_max(row.title, MAX_TITLE)));
    let cvss = first(&|row| row.cvss.map(|vector| text::printable(vector).into_owned()));
    let feed = feeds.get(opinion.feed);
    let source = match feed {
        Some(feed) => feed.id.clone(),
        None => mailkeep_model::FeedId::new("unknown")?,
    };
    let source_stale = feed.is_none_or(|f| f.state != FeedState::Fresh);
    Ok(Verdict {
        advisory: AdvisoryId::new(chosen.advisory)?,
        aliases: aliases(chosen, rows)?,
        title: title.unwrap_or_default().into(),
        platform: package.platform.clone(),
        package: package.name.into(),
        binaries: package.binaries.iter().map(|b| (*b).into()).collect(),
        installed: package.version.into(),
        fixed: opinion.fixed.map(|v| v.text.into()),
        status: outcome.status,
        surface: package.surface,
        urgency: opinion.urgency,
        cvss: cvss.map(Into::into),
        evidence: Evidence {
            source,
            rule: outcome.rule,
            compared: opinion.compared.map(|(with, ordering)| Comparison {
                installed: package.version.into(),
                with: with.into(),
                ordering,
            }),
            reason: text::printable_owned(reason),
            unknown: opinion
                .unknown
                .filter(|_| outcome.status == Status::Unknown),
            source_stale,
            others: other_words(chosen, rows, feeds),
            notes: outcome.notes,
        },
    })
}

/// The other names of what was judged. A bulletin that speaks only of other releases is none of them:
/// rows without an opinion do not count.
fn aliases(
    chosen: &Chosen<'_, '_>,
    rows: &[(usize, DecodedRow<'_>)],
) -> Result<Vec<AdvisoryId>, RowError> {
    let mut names: Vec<&str> = std::iter::once(&chosen.deciding)
        .chain(&chosen.others)
        .filter_map(|opinion| rows.get(opinion.row))
        .flat_map(|(_, row)| row.aliases.iter().copied().chain([row.advisory]))
        .filter(|name| *name != chosen.advisory)
        .collect();
    names.sort_unstable();
    names.dedup();
    Ok(names
        .into_iter()
        .map(AdvisoryId::new)
        .collect::<Result<_, _>>()?)
}

fn other_words(
    chosen: &Chosen<'_, '_>,
    rows: &[(usize, DecodedRow<'_>)],
    feeds: &[FeedView<'_>],
) -> Vec<OtherWord> {
    let mut words: Vec<OtherWord> = chosen
        .others
        .iter()
        .filter_map(|opinion| {
            let source = feeds.get(opinion.feed)?.id.clone();
            let row = rows.get(opinion.row).map(|(_, row)| row);
            Some(OtherWord {
                source,
                says: text::printable(&says(opinion, row)).into_owned(),
            })
        })
        .collect();
    words.dedup();
    words
}
