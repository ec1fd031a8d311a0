//! Whose word decides, and how the names of one vulnerability become one advisory.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use mailkeep_model::{FeedKind, FeedState, OpenState, Rule, Status, Voice};

use super::FeedView;
use super::finish::rank;
use super::opinion::{Installed, Opinion, opinion};
use crate::row::{DecodedRow, RowKind};

/// One advisory about one package: the word that decides, and the others.
#[derive(Debug)]
pub(super) struct Chosen<'g, 'a> {
    /// The best-known name.
    pub advisory: &'a str,
    /// Numbers of every row about it, whatever the release.
    pub rows: &'g [usize],
    /// The opinion that decides.
    pub deciding: Opinion<'a>,
    /// Opinions of other feeds.
    pub others: Vec<Opinion<'a>>,
}

/// Lets one word decide about one advisory. `None` where no row of it speaks about the package's
/// release: it does not concern this host.
pub(super) fn choose<'g, 'a>(
    installed: &Installed<'_, '_>,
    advisory: &'a str,
    numbers: &'g [usize],
    rows: &[(usize, DecodedRow<'a>)],
    feeds: &[FeedView<'_>],
) -> Option<Chosen<'g, 'a>> {
    let mut opinions = numbers.iter().filter_map(|&number| {
        let (feed, row) = rows.get(number)?;
        opinion(installed, row, number, *feed, feeds.get(*feed)?.kind)
    });
    let mut deciding = opinions.next()?;
    let mut others: Vec<Opinion<'a>> = opinions.collect();
    if !others.is_empty() {
        others.insert(0, deciding);
        others.sort_by(|a, b| trust(a, b, rows, feeds));
        deciding = others.remove(published_fix(&others, rows).unwrap_or(0));
    }
    Some(Chosen {
        advisory,
        rows: numbers,
        deciding,
        others,
    })
}

/// The rows of a package by advisory.
pub(super) struct Groups<'a> {
    /// Numbers of rows; those of one advisory side by side.
    numbers: Vec<usize>,
    /// Each advisory, and where the numbers of its rows end.
    ends: Vec<(&'a str, usize)>,
}

impl<'a> Groups<'a> {
    /// Each advisory with the numbers of its rows, in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a str, &[usize])> {
        let mut start = 0;
        self.ends.iter().map(move |&(advisory, end)| {
            let numbers = self.numbers.get(start..end).unwrap_or_default();
            start = end;
            (advisory, numbers)
        })
    }
}

/// Groups rows by advisory. A row under a name that other rows list as an alias joins those: a GHSA
/// or a bulletin never makes a second finding beside its CVE.
pub(super) fn by_advisory<'a>(rows: &[(usize, DecodedRow<'a>)]) -> Groups<'a> {
    let named = |number: usize| rows.get(number).map_or("", |(_, row)| row.advisory);
    let mut numbers: Vec<usize> = (0..rows.len()).collect();
    numbers.sort_by_key(|&number| named(number));
    if !rows.iter().all(|(_, row)| row.advisory.starts_with("CVE-")) {
        return with_lesser(rows, &numbers);
    }
    let mut ends = Vec::with_capacity(numbers.len());
    let mut end = 0;
    for group in numbers.chunk_by(|a, b| named(*a) == named(*b)) {
        end += group.len();
        ends.extend(group.first().map(|&number| (named(number), end)));
    }
    Groups { numbers, ends }
}

/// [`by_advisory`] where some names are not the best there can be.
fn with_lesser<'a>(rows: &[(usize, DecodedRow<'a>)], sorted: &[usize]) -> Groups<'a> {
    let mut groups: BTreeMap<&'a str, Vec<usize>> = BTreeMap::new();
    for &number in sorted {
        if let Some((_, row)) = rows.get(number) {
            groups.entry(row.advisory).or_default().push(number);
        }
    }
    let lesser: Vec<&'a str> = groups
        .keys()
        .copied()
        .filter(|name| !name.starts_with("CVE-"))
        .collect();
    let mut moved_to: BTreeMap<&'a str, Vec<&'a str>> = BTreeMap::new();
    for name in lesser {
        let mut better: Vec<&'a str> = rows
            .iter()
            .filter(|(_, row)| row.advisory != name && row.aliases.contains(&name))
            .map(|(_, row)| row.advisory)
            .filter(|advisory| preference(advisory) < preference(name))
            // A better name that has itself moved stands for where it went.
            .flat_map(|advisory| {
                moved_to
                    .get(advisory)
                    .cloned()
                    .unwrap_or_else(|| vec![advisory])
            })
            .collect();
        better.sort_unstable();
        better.dedup();
        if better.is_empty() {
            continue;
        }
        let moved = groups.remove(name).unwrap_or_default();
        for advisory in &better {
            let group = groups.entry(advisory).or_default();
            for number in &moved {
                if !group.contains(number) {
                    group.push(*number);
                }
            }
        }
        moved_to.insert(name, better);
    }
    let mut flat = Groups {
        numbers: Vec::with_capacity(rows.len()),
        ends: Vec::with_capacity(groups.len()),
    };
    for (advisory, numbers) in groups {
        flat.numbers.extend(numbers);
        flat.ends.push((advisory, flat.numbers.len()));
    }
    flat
}

/// [`mailkeep_model::AdvisoryId::preference`] on bare text.
fn preference(id: &str) -> (u8, &str) {
    let class = if id.starts_with("CVE-") {
        0
    } else if id.starts_with("GHSA-") {
        1
    } else {
        2
    };
    (class, id)
}

/// Whose word comes first: the distributor's before its changelogs before upstream's (DESIGN.md,
/// what must always be true, 2); among one distributor's feeds a fresh one before a stale one, then the
/// one that speaks of every release; within one kind the word that asks for more.
fn trust(
    a: &Opinion<'_>,
    b: &Opinion<'_>,
    rows: &[(usize, DecodedRow<'_>)],
    feeds: &[FeedView<'_>],
) -> Ordering {
    let place = |o: &Opinion<'_>| {
        // That a tracker has no entry for the release is no word about it: whoever has one (extended
        // support, say) is heard first.
        let silent = o.rule == Rule::PackageNotInRelease;
        let voice = rows
            .get(o.row)
            .map_or(Voice::Upstream, |(_, row)| row.voice);
        let feed = feeds.get(o.feed);
        let old = feed.is_none_or(|f| f.state != FeedState::Fresh);
        (
            silent,
            voice,
            old,
            feed.map_or(u8::MAX, |f| feed_rank(f.kind)),
            rank(o.status),
            feed.map(|f| f.id),
        )
    };
    place(a).cmp(&place(b))
}

fn feed_rank(kind: FeedKind) -> u8 {
    match kind {
        FeedKind::DebianTracker => 0,
        FeedKind::Csaf => 1,
        FeedKind::Updateinfo => 2,
        FeedKind::Osv => 3,
        FeedKind::Released => 4,
        FeedKind::Cve => 5,
        FeedKind::Epss | FeedKind::Kev => 6,
    }
}

/// Where the deciding word is merely "open" and a package on offer closes the hole by its own
/// changelog, that newer word of the same distributor decides.
fn published_fix(opinions: &[Opinion<'_>], rows: &[(usize, DecodedRow<'_>)]) -> Option<usize> {
    let first = opinions.first()?;
    if !matches!(
        first.rule,
        Rule::DistributorOpen | Rule::DistributorMinor | Rule::DistributorPostponed
    ) {
        return None;
    }
    opinions.iter().position(|o| {
        let voice = rows.get(o.row).map(|(_, row)| row.voice);
        voice == Some(Voice::Changelog) && o.status == Status::FixAvailable
    })
}

/// What an opinion says, in a few words, for the evidence beside the one that decided.
pub(super) fn says(opinion: &Opinion<'_>, row: Option<&DecodedRow<'_>>) -> String {
    let bulletin = row
        .map(|row| row.aliases.join(", "))
        .filter(|names| !names.is_empty());
    let words = match (&opinion.fixed, opinion.status) {
        (Some(version), _) => format!("fixed in {}", version.text),
        (None, Status::NotAffected) => "not affected".to_owned(),
        (None, _) if is_ignored(row, opinion) => "will not be fixed".to_owned(),
        (None, Status::Unknown) => "undetermined".to_owned(),
        (None, _) => "affected, no fix named".to_owned(),
    };
    match bulletin {
        Some(names) => format!("{words} ({names})"),
        None => words,
    }
}

fn is_ignored(row: Option<&DecodedRow<'_>>, opinion: &Opinion<'_>) -> bool {
    opinion.status == Status::WillNotFix
        || row.is_some_and(|row| {
            row.claims.iter().any(|claim| {
                claim.release == opinion.release
                    && matches!(
                        claim.kind,
                        RowKind::Open(OpenState::Ignored | OpenState::EndOfLife)
                    )
            })
        })
}
