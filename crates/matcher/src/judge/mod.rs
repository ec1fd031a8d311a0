//! The filter's rules: from the rows about a package to one verdict for each advisory.
//!
//! - [`as_read`]: one host, while its rows are read.
//! - [`opinion`]: what one row says of the installed version; one function for each rule.
//! - [`choose`]: whose word decides where several feeds speak, and how aliases become one advisory.
//! - [`finish`]: whether the fix can be installed, whether it runs, and the sentence for a person.

mod as_read;
mod choose;
mod finish;
mod opinion;

pub use as_read::HostJudge;
pub(crate) use finish::rank;
use opinion::Installed;

use mailkeep_model::{FeedId, FeedKind, FeedState, PackageKind, Status, Verdict};

use crate::host::{HostView, SourcePackage};
use crate::row::{DecodedRow, PackageRows, RowError, RowKind};

/// A feed as the filter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedView<'a> {
    /// Its name.
    pub id: &'a FeedId,
    /// Its kind, by which its word is ranked.
    pub kind: FeedKind,
    /// How far it may be relied on.
    pub state: FeedState,
}

/// The verdicts on one host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judged {
    /// Findings; with `all`, also `fixed` and `not-affected`.
    pub verdicts: Vec<Verdict>,
    /// Advisories whose fix the host has.
    pub fixed: u64,
    /// Advisories that name an installed package but do not concern its version or release.
    pub not_affected: u64,
}

/// Judges every package of a host. `keys` is [`HostView::keys`] with the number under which
/// `rows` holds what the store has: (package, number, key), by package. `feeds` are the feeds by
/// their numbers in `rows`.
pub fn judge_host(
    view: &HostView<'_>,
    keys: &[(usize, usize, &str)],
    rows: &PackageRows,
    feeds: &[FeedView<'_>],
    all: bool,
) -> Result<Judged, RowError> {
    let mut judged = Judged::default();
    judge_keys(view, keys, rows, feeds, all, &mut judged)?;
    Ok(judged)
}

/// [`judge_host`] of some of its packages: all versions of a source package, or none.
fn judge_keys(
    view: &HostView<'_>,
    keys: &[(usize, usize, &str)],
    rows: &PackageRows,
    feeds: &[FeedView<'_>],
    all: bool,
    judged: &mut Judged,
) -> Result<(), RowError> {
    // One after another: the room of one package's rows is used for the next.
    let mut about: Vec<(usize, DecodedRow<'_>)> = Vec::new();
    // Versions of one source package lie side by side: packages are sorted.
    for of_source in keys.chunk_by(|a, b| same_source(view, a.0, b.0)) {
        let versions = of_source.chunk_by(|a, b| a.0 == b.0).count();
        let mut several = Judged::default();
        let into = if versions > 1 {
            &mut several
        } else {
            &mut *judged
        };
        for of_package in of_source.chunk_by(|a, b| a.0 == b.0) {
            let Some((package, ..)) = of_package.first() else {
                continue;
            };
            let Some(package) = view.packages.get(*package) else {
                continue;
            };
            about.clear();
            for (_, number, key) in of_package {
                let name = name_in(package, key);
                rows.add_to(&mut about, *number, |row| concerns(package, name, row))?;
            }
            if !about.is_empty() {
                judge_package(package, &about, feeds, all || versions > 1, into)?;
            }
        }
        if versions > 1 {
            let mut one = one_version_each(several, all);
            judged.fixed += one.fixed;
            judged.not_affected += one.not_affected;
            judged.verdicts.append(&mut one.verdicts);
        }
    }
    Ok(())
}

/// Whether two packages of a host are versions of one source package, by their numbers.
fn same_source(view: &HostView<'_>, a: usize, b: usize) -> bool {
    let source = |package: usize| view.packages.get(package).map(|p| (&p.platform, p.name));
    a == b || source(a) == source(b)
}

/// Judges one package by the rows about it.
pub fn judge_package(
    package: &SourcePackage<'_>,
    rows: &[(usize, DecodedRow<'_>)],
    feeds: &[FeedView<'_>],
    all: bool,
    judged: &mut Judged,
) -> Result<(), RowError> {
    let installed = Installed::new(package);
    for (advisory, numbers) in choose::by_advisory(rows).iter() {
        if let Some(chosen) = choose::choose(&installed, advisory, numbers, rows, feeds) {
            finish::finish(package, rows, &chosen, feeds, all, judged)?;
        }
    }
    Ok(())
}

/// The name that a key is about.
fn name_in<'k>(package: &SourcePackage<'_>, key: &'k str) -> &'k str {
    // An ecosystem's own name can have a slash: `openbsd/opensmtpd`.
    key.strip_prefix(package.platform.ecosystem.name())
        .and_then(|rest| rest.strip_prefix('/'))
        .unwrap_or(key)
}

/// Whether a row found under the key of `name` is about this package: a binary's row about an installed
/// binary, a source's row about the source, a module's row about that module stream only.
fn concerns(package: &SourcePackage<'_>, name: &str, row: &DecodedRow<'_>) -> bool {
    let names_it = match row.kind {
        PackageKind::Source => name == package.name,
        PackageKind::Binary => package.binaries.binary_search(&name).is_ok(),
    };
    names_it && same_module(package, row)
}

/// An advisory for a module stream is about packages of that stream, any other about packages of
/// none (Fedora modularity; label `name:stream:version:context`). Where one side does not say and its
/// version shows that it was built for a stream, it may be the same: [`opinion`] says `unknown`.
fn same_module(package: &SourcePackage<'_>, row: &DecodedRow<'_>) -> bool {
    match (package.label(), row.module) {
        (None, None) => true,
        (Some(label), Some(stream)) => label
            .strip_prefix(stream)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(':')),
        (None, Some(_)) => is_module_build(package.version),
        (Some(_), None) => row.claims.iter().any(|claim| {
            matches!(&claim.kind, RowKind::FixedIn(version) if is_module_build(version.text))
        }),
    }
}

/// Releases of packages built for a module stream have `.module_el8...` or `.module+el8...` in them.
fn is_module_build(version: &str) -> bool {
    version.contains(".module_") || version.contains(".module+")
}

/// Where one source package is installed in several versions (kernels, leftovers of another
/// architecture), the verdict that asks for more stays: each (source package, advisory) has exactly
/// one. Binaries of the other versions are named in it where they are affected, too.
fn one_version_each(mut judged: Judged, all: bool) -> Judged {
    judged.verdicts.sort_by(|a, b| {
        (&a.advisory, finish::rank(a.status)).cmp(&(&b.advisory, finish::rank(b.status)))
    });
    judged.verdicts.dedup_by(|other, kept| {
        let same = other.advisory == kept.advisory;
        if same && other.status.is_finding() == kept.status.is_finding() {
            let note = format!("also installed as {}: {}", other.installed, other.status);
            kept.evidence.notes.push(note.into());
            kept.binaries.append(&mut other.binaries);
            kept.binaries.sort();
            kept.binaries.dedup();
        }
        same
    });
    let count = |status| {
        judged
            .verdicts
            .iter()
            .filter(|v| v.status == status)
            .count() as u64
    };
    judged.fixed = count(Status::Fixed);
    judged.not_affected = count(Status::NotAffected);
    if !all {
        judged.verdicts.retain(|v| v.status.is_finding());
    }
    judged
}
