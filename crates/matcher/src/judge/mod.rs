//! The filter's rules: from the rows about a package to one verdict for each advisory.
//!
//! - [`opinion`]: what one row says of the installed version; one function for each rule.
//! - [`choose`]: whose word decides where several feeds speak, and how aliases become one advisory.
//! - [`finish`]: whether the fix can be installed, whether it runs, and the sentence for a person.

mod choose;
mod finish;
mod opinion;

pub(crate) use finish::rank;

use mailkeep_model::{FeedId, FeedKind, FeedState, PackageKind, Verdict};

use crate::host::{HostView, SourcePackage};
use crate::row::{DecodedRow, PackageRows, RowError};

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
    let mut about: Vec<(usize, DecodedRow<'_>)> = Vec::new();
    for of_package in keys.chunk_by(|a, b| a.0 == b.0) {
        about.clear();
        for (package, number, key) in of_package {
            let Some(source) = view.packages.get(*package) else {
                continue;
            };
            about.extend(
                rows.of(*number)?
                    .into_iter()
                    .filter(|(_, row)| concerns(source, key, row)),
            );
        }
        let source = of_package
            .first()
            .and_then(|(package, _, _)| view.packages.get(*package));
        if let Some(source) = source {
            judge_package(source, &about, feeds, all, &mut judged)?;
        }
    }
    keep_one_version_each(&mut judged.verdicts);
    Ok(judged)
}

/// Judges one package by the rows about it.
pub fn judge_package(
    package: &SourcePackage<'_>,
    rows: &[(usize, DecodedRow<'_>)],
    feeds: &[FeedView<'_>],
    all: bool,
    judged: &mut Judged,
) -> Result<(), RowError> {
    let chosen = choose::choose(package, rows, feeds);
    finish::finish(package, rows, chosen, feeds, all, judged)
}

/// Whether a row found under `key` is about this package: a binary's row about an installed binary,
/// a source's row about the source, a module's row about that module stream only.
fn concerns(package: &SourcePackage<'_>, key: &str, row: &DecodedRow<'_>) -> bool {
    let name = key.split_once('/').map_or(key, |(_, name)| name);
    let names_it = match row.kind {
        PackageKind::Source => name == package.name,
        PackageKind::Binary => package.binaries.binary_search(&name).is_ok(),
    };
    names_it && same_module(package.module, row.module)
}

/// An advisory for a module stream is about packages of that stream, any other about packages of
/// none (Fedora modularity; label `name:stream:version:context`).
fn same_module(installed: Option<&str>, row: Option<&str>) -> bool {
    match (
        installed.filter(|label| !label.is_empty() && *label != "(none)"),
        row,
    ) {
        (None, None) => true,
        (Some(label), Some(stream)) => label
            .strip_prefix(stream)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(':')),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// Where one source package is installed in several versions (kernels, leftovers of another
/// architecture), the verdict that asks for more stays: each (source package, advisory) has exactly
/// one. Binaries of the other versions are named in it where they are affected, too.
fn keep_one_version_each(verdicts: &mut Vec<Verdict>) {
    verdicts.sort_by(|a, b| {
        (&a.platform, &a.package, &a.advisory, finish::rank(a.status)).cmp(&(
            &b.platform,
            &b.package,
            &b.advisory,
            finish::rank(b.status),
        ))
    });
    verdicts.dedup_by(|other, kept| {
        let same = (&other.platform, &other.package, &other.advisory)
            == (&kept.platform, &kept.package, &kept.advisory);
        if same && other.status.is_finding() == kept.status.is_finding() {
            kept.evidence.notes.push(format!(
                "also installed as {}: {}",
                other.installed, other.status
            ));
            kept.binaries.append(&mut other.binaries);
            kept.binaries.sort();
            kept.binaries.dedup();
        }
        same
    });
}
