//! One host judged while the rows about it are read.

use mailkeep_model::Verdict;

use super::{FeedView, Judged, judge_keys, same_source};
use crate::host::HostView;
use crate::row::{PackageRows, RowError};

/// Bytes of rows gathered before they are judged: what stays in the processor's cache. Fresh memory
/// for the rows of all packages costs more than a third of judging them.
const GATHERED: usize = 64 * 1024;

/// [`super::judge_host`] that holds the rows of a few packages at a time.
#[derive(Debug)]
pub struct HostJudge<'v> {
    view: &'v HostView<'v>,
    /// Package, number, key.
    keys: Vec<(usize, usize, &'v str)>,
    feeds: &'v [FeedView<'v>],
    all: bool,
    rows: PackageRows,
    /// Keys before this one are judged.
    judged_to: usize,
    /// Where the keys about the source package end that the last row was about.
    source_end: usize,
    judged: Judged,
}

impl<'v> HostJudge<'v> {
    /// Begins. `keys` is [`HostView::keys`]; rows come by their places in it. `feeds` are the feeds
    /// by the numbers that come with the rows.
    pub fn new(
        view: &'v HostView<'v>,
        keys: &'v [(usize, String)],
        feeds: &'v [FeedView<'v>],
        all: bool,
    ) -> Self {
        Self {
            view,
            keys: keys
                .iter()
                .enumerate()
                .map(|(number, (package, key))| (*package, number, key.as_str()))
                .collect(),
            feeds,
            all,
            rows: PackageRows::with_room(GATHERED / 2048),
            judged_to: 0,
            source_end: 0,
            judged: Judged::default(),
        }
    }

    /// Takes a body found under key number `key` in feed number `feed`. Keys come in ascending order.
    ///
    /// # Errors
    ///
    /// A damaged row, of this package or of one before it.
    pub fn push(&mut self, key: usize, feed: usize, body: &[u8]) -> Result<(), RowError> {
        if key >= self.source_end {
            if self.rows.bytes() >= GATHERED {
                self.judge_to(self.source_end)?;
            }
            self.source_end = self.end_of_source(key);
        }
        self.rows.push(key, feed, body);
        Ok(())
    }

    /// Hands out the verdicts made so far; they are not handed out again.
    pub fn verdicts(&mut self) -> impl Iterator<Item = Verdict> {
        self.judged.verdicts.drain(..)
    }

    /// Judges what is left. The verdicts are those not handed out yet, the counts are of all.
    ///
    /// # Errors
    ///
    /// A damaged row.
    pub fn finish(mut self) -> Result<Judged, RowError> {
        self.judge_to(self.keys.len())?;
        Ok(self.judged)
    }

    fn judge_to(&mut self, end: usize) -> Result<(), RowError> {
        let keys = self.keys.get(self.judged_to..end).unwrap_or_default();
        judge_keys(
            self.view,
            keys,
            &self.rows,
            self.feeds,
            self.all,
            &mut self.judged,
        )?;
        self.rows.clear();
        self.judged_to = end;
        Ok(())
    }

    /// The number after the last key about the source package that key number `key` is about.
    fn end_of_source(&self, key: usize) -> usize {
        let after = self.keys.get(key..).unwrap_or_default();
        let of_source = after.first().map_or(0, |(package, ..)| {
            after
                .iter()
                .take_while(|(other, ..)| same_source(self.view, *package, *other))
                .count()
        });
        key + of_source
    }
}

#[cfg(test)]
mod tests {
    use mailkeep_model::{
        AdvisoryId, Claim, ClaimKind, Ecosystem, FactsSource, FeedId, FeedKind, FeedState,
        HostFacts, HostName, InstalledPackage, OsRelease, PackageKind, Platform, Seen, Statement,
        Voice,
    };

    use super::*;
    use crate::{RowBuilder, judge_host};

    fn facts() -> HostFacts {
        let package = |n: u32, version: &str| InstalledPackage {
            name: format!("p{n:03}").into(),
            version: version.into(),
            arch: "amd64".into(),
            source: format!("p{n:03}").into(),
            source_version: version.into(),
            ecosystem: None,
            module: None,
            vendor: None,
            depends: vec![],
            provides: vec![],
        };
        // Every tenth one in two versions.
        let both = |n| [package(n, "1.0-1"), package(n, "2.0-1")];
        HostFacts {
            host: HostName::new("mx1").unwrap(),
            seen_at: "2026-11-21T00:00:00Z".parse().unwrap(),
            source: FactsSource::Root,
            os: OsRelease::default(),
            platform: Some(Platform::new(Ecosystem::Debian, "bookworm")),
            packages: (0..200)
                .flat_map(|n| both(n).into_iter().skip(usize::from(n % 10 != 0)))
                .collect(),
            processes: Seen::No,
            listeners: Seen::No,
            candidates: Seen::No,
            limitations: vec![],
        }
    }

    /// About 100 KB: judged in more than one go.
    fn body(package: &str) -> Vec<u8> {
        let statement = |(fixed, n): (&str, u32)| Statement {
            advisory: AdvisoryId::new(format!("CVE-2026-{n:04}")).unwrap(),
            aliases: vec![],
            ecosystem: Ecosystem::Debian,
            package: package.into(),
            package_kind: PackageKind::Source,
            module: None,
            voice: Voice::Distributor,
            title: "x".repeat(400).into(),
            cvss: None,
            claims: vec![Claim {
                release: Some("bookworm".into()),
                kind: ClaimKind::FixedIn {
                    version: fixed.into(),
                },
                urgency: None,
                note: None,
                in_repository: None,
            }],
        };
        let statements: Vec<Statement> = [("1.5-1", 1), ("2.5-1", 2)].map(statement).to_vec();
        RowBuilder::body_of(&statements)
    }

    #[test]
    fn what_is_judged_in_pieces_is_what_is_judged_as_a_whole() {
        let facts = facts();
        let view = HostView::new(&facts);
        let keys = view.keys();
        let id = FeedId::new("tracker").unwrap();
        let feeds = [FeedView {
            id: &id,
            kind: FeedKind::DebianTracker,
            state: FeedState::Fresh,
        }];
        for all in [false, true] {
            let mut rows = PackageRows::new();
            let mut judge = HostJudge::new(&view, &keys, &feeds, all);
            let mut early = Vec::new();
            for (number, (package, _)) in keys.iter().enumerate() {
                // No feed knows every third one.
                if package % 3 == 0 {
                    continue;
                }
                let body = body(view.packages[*package].name);
                rows.push(number, 0, &body);
                judge.push(number, 0, &body).unwrap();
                early.extend(judge.verdicts());
            }
            assert!(!early.is_empty(), "judged in more than one go");
            let mut judged = judge.finish().unwrap();
            early.append(&mut judged.verdicts);
            judged.verdicts = early;
            let numbered: Vec<(usize, usize, &str)> = keys
                .iter()
                .enumerate()
                .map(|(number, (package, key))| (*package, number, key.as_str()))
                .collect();
            let whole = judge_host(&view, &numbered, &rows, &feeds, all).unwrap();
            assert_eq!(judged, whole);
        }
    }

    #[test]
    fn a_damaged_row_is_an_error_and_no_silence() {
        let facts = facts();
        let view = HostView::new(&facts);
        let keys = view.keys();
        let id = FeedId::new("tracker").unwrap();
        let feeds = [FeedView {
            id: &id,
            kind: FeedKind::DebianTracker,
            state: FeedState::Fresh,
        }];
        let mut judge = HostJudge::new(&view, &keys, &feeds, false);
        let body = body("p001");
        judge.push(1, 0, &body[..body.len() - 3]).unwrap();
        judge.finish().unwrap_err();
    }
}
