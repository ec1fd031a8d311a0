//! From what was seen of hosts, and what the feeds say of their packages, to findings that nobody has
//! triaged yet.

use mailkeep_matcher::{FeedView, HostJudge, HostView, PackageRows, RowError, judge_host};
use mailkeep_model::{FeedId, FeedStatus, Finding, HostName, Verdict};
use mailkeep_store::{Space, Store};

use super::{CheckError, Subject, Terms};

/// What came of judging all hosts.
pub(super) struct Judged {
    /// Host by host.
    pub findings: Vec<Finding>,
    /// In the order of the subjects; `None` is a host that no facts are known of.
    pub hosts: Vec<Option<OfHost>>,
}

/// What came of judging one host.
#[derive(Default)]
pub(super) struct OfHost {
    /// How many of the findings are its own.
    pub findings: usize,
    /// Whether it has any finding, wanted or not.
    pub affected: bool,
    /// Advisories whose fix it has.
    pub fixed: u64,
    /// Advisories that do not concern it.
    pub not_affected: u64,
}

/// Judges every host that facts are known of. The store is asked once for the packages of all.
pub(super) fn judge_all(
    store: &dyn Store,
    subjects: &[Subject<'_>],
    hosts: &[Option<HostView<'_>>],
    feeds: &[FeedStatus],
    views: &[FeedView<'_>],
    terms: &Terms<'_>,
) -> Result<Judged, CheckError> {
    let likely = terms.last.as_ref().map_or(0, |last| last.findings.len());
    let mut work = Work {
        feeds,
        views,
        terms,
        findings: Vec::with_capacity(likely),
    };
    let mut known = subjects
        .iter()
        .zip(hosts)
        .filter_map(|(subject, view)| Some((&subject.name, view.as_ref()?)));
    let judged = match (known.next(), known.next()) {
        (Some((name, view)), None) => vec![work.judge_alone(store, name, view)?],
        _ => work.judge_several(store, subjects, hosts)?,
    };
    let mut judged = judged.into_iter();
    Ok(Judged {
        hosts: hosts
            .iter()
            .map(|view| view.as_ref().and_then(|_| judged.next()))
            .collect(),
        findings: work.findings,
    })
}

struct Work<'a> {
    feeds: &'a [FeedStatus],
    views: &'a [FeedView<'a>],
    terms: &'a Terms<'a>,
    findings: Vec<Finding>,
}

impl Work<'_> {
    /// Judges a host while its rows are read: they are many, and in fresh memory they cost more than
    /// what is done with them.
    fn judge_alone(
        &mut self,
        store: &dyn Store,
        host: &HostName,
        view: &HostView<'_>,
    ) -> Result<OfHost, CheckError> {
        let keys = view.keys();
        let asked: Vec<&str> = keys.iter().map(|(_, key)| key.as_str()).collect();
        let mut judge = HostJudge::new(view, &keys, self.views, self.terms.all);
        let mut of_host = OfHost::default();
        let mut failed = None;
        store.rows(Space::Package, &asked, &mut |key, feed, body| {
            if failed.is_some() {
                return;
            }
            let judged = self.number_of(feed).and_then(|feed| {
                judge
                    .push(key, feed, body)
                    .map_err(|source| damaged(host, source))
            });
            failed = judged.err();
            for verdict in judge.verdicts() {
                self.take(host, verdict, &mut of_host);
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let judged = judge.finish().map_err(|source| damaged(host, source))?;
        of_host.fixed = judged.fixed;
        of_host.not_affected = judged.not_affected;
        for verdict in judged.verdicts {
            self.take(host, verdict, &mut of_host);
        }
        Ok(of_host)
    }

    /// Judges hosts that share most of their packages: the rows about each are read once.
    fn judge_several(
        &mut self,
        store: &dyn Store,
        subjects: &[Subject<'_>],
        hosts: &[Option<HostView<'_>>],
    ) -> Result<Vec<OfHost>, CheckError> {
        let keys: Vec<Vec<(usize, String)>> = hosts
            .iter()
            .map(|view| view.as_ref().map(HostView::keys).unwrap_or_default())
            .collect();
        let mut asked: Vec<&str> = keys.iter().flatten().map(|(_, key)| key.as_str()).collect();
        asked.sort_unstable();
        asked.dedup();
        let mut rows = PackageRows::with_room(asked.len());
        let mut stray = None;
        store.rows(
            Space::Package,
            &asked,
            &mut |key, feed, body| match self.number_of(feed) {
                Ok(feed) => rows.push(key, feed, body),
                Err(error) => stray = Some(error),
            },
        )?;
        if let Some(error) = stray {
            return Err(error);
        }
        let mut judged = Vec::new();
        for ((view, keys), subject) in hosts.iter().zip(&keys).zip(subjects) {
            let Some(view) = view else {
                continue;
            };
            let numbered: Vec<(usize, usize, &str)> = keys
                .iter()
                .filter_map(|(package, key)| {
                    let number = asked.binary_search(&key.as_str()).ok()?;
                    Some((*package, number, key.as_str()))
                })
                .collect();
            let found = judge_host(view, &numbered, &rows, self.views, self.terms.all)
                .map_err(|source| damaged(&subject.name, source))?;
            let mut of_host = OfHost {
                fixed: found.fixed,
                not_affected: found.not_affected,
                ..OfHost::default()
            };
            for verdict in found.verdicts {
                self.take(&subject.name, verdict, &mut of_host);
            }
            judged.push(of_host);
        }
        Ok(judged)
    }

    /// The number of a feed, by which the matcher knows it.
    fn number_of(&self, feed: &FeedId) -> Result<usize, CheckError> {
        self.feeds
            .binary_search_by(|f| f.id.cmp(feed))
            .map_err(|_place| CheckError::NoSuchFeed { feed: feed.clone() })
    }

    /// Makes a finding of a verdict, where it is wanted.
    fn take(&mut self, host: &HostName, verdict: Verdict, of_host: &mut OfHost) {
        of_host.affected |= verdict.status.is_finding();
        let wanted = self
            .terms
            .only
            .is_none_or(|only| verdict.names().any(|name| name == only));
        if wanted {
            of_host.findings += 1;
            self.findings
                .push(Finding::untriaged(host.clone(), verdict));
        }
    }
}

fn damaged(host: &HostName, source: RowError) -> CheckError {
    CheckError::Row {
        host: host.clone(),
        source,
    }
}
