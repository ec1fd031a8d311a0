//! Which feeds there are to bring: the built-in sources, changed and added to by the fleet file.

use std::collections::BTreeMap;

use anyhow::bail;
use jiff::SignedDuration;
use mailkeep_model::{Ecosystem, FeedId, FeedKind, FeedStatus, Timestamp};
use mailkeep_store::{Store, StoreError};

use super::sources::{SOURCES, due_after, stale_after};
use super::update::Choice;
use crate::app::LoadedFleet;
use crate::fleet::FeedLocation;

/// A feed to bring here.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Name to keep it under.
    pub id: FeedId,
    /// Its format.
    pub kind: FeedKind,
    /// Where it is.
    pub location: FeedLocation,
    /// Age from which it is stale.
    pub stale_after: SignedDuration,
    /// Whether it is all its publisher says; `None` to tell by its kind and form.
    pub whole: Option<bool>,
    /// Whose packages, as `AlmaLinux:9`.
    pub platform: Option<String>,
    /// The time its content speaks for, where the user knows.
    pub as_of: Option<Timestamp>,
    /// The time a file speaks for that does not say so itself, by the fleet file.
    pub file_as_of: Option<Timestamp>,
    /// For whose packages it is needed; `None` for all.
    pub ecosystem: Option<&'static str>,
}

/// Every enabled feed, by name.
pub(super) fn planned(fleet: Option<&LoadedFleet>) -> anyhow::Result<BTreeMap<FeedId, Planned>> {
    let mut all = BTreeMap::new();
    for source in SOURCES {
        let id = FeedId::new(source.name)?;
        all.insert(
            id.clone(),
            Planned {
                id,
                kind: source.kind,
                location: FeedLocation::Url(source.url.to_owned()),
                stale_after: stale_after(source.kind),
                whole: Some(true),
                platform: None,
                as_of: None,
                file_as_of: None,
                ecosystem: source.ecosystem,
            },
        );
    }
    let Some(fleet) = fleet else { return Ok(all) };
    for (id, settings) in &fleet.file.feeds {
        if !settings.enabled {
            all.remove(id);
            continue;
        }
        let location = match (&settings.location, all.get(id)) {
            (Some(FeedLocation::Path(path)), _) => FeedLocation::Path(fleet.resolve(path)),
            (Some(url), _) => url.clone(),
            (None, Some(built_in)) => built_in.location.clone(),
            (None, None) => bail!(
                "{}: the feed {id} is not built in and has no location",
                fleet.path.display()
            ),
        };
        let planned = Planned {
            id: id.clone(),
            kind: settings.kind,
            location,
            stale_after: settings
                .stale_after
                .unwrap_or_else(|| stale_after(settings.kind)),
            whole: settings.whole.or_else(|| all.get(id).and_then(|b| b.whole)),
            platform: settings.covers.clone(),
            as_of: None,
            file_as_of: settings.as_of,
            ecosystem: None,
        };
        all.insert(id.clone(), planned);
    }
    Ok(all)
}

/// Those of them that were chosen.
pub(super) fn chosen(
    all: BTreeMap<FeedId, Planned>,
    choice: Choice<'_>,
    store: &dyn Store,
    now: Timestamp,
) -> anyhow::Result<Vec<Planned>> {
    if let Choice::Named(names) = choice {
        let mut wanted = Vec::new();
        for name in names {
            match all.get(name) {
                Some(planned) => wanted.push(planned.clone()),
                None => bail!(
                    "there is no enabled source {name}; `mailkeep feeds sources` lists those built in"
                ),
            }
        }
        return Ok(wanted);
    }
    if matches!(choice, Choice::All) {
        return Ok(all.into_values().collect());
    }
    let ecosystems = ecosystems(store)?;
    let present = store.feeds()?;
    Ok(all
        .into_values()
        .filter(|p| {
            // Nothing scanned yet: the sources most need, rather than none.
            let usual = ecosystems.is_empty() && p.ecosystem == Some("Debian");
            usual
                || p.ecosystem
                    .is_none_or(|name| ecosystems.iter().any(|e| e.name() == name))
        })
        .filter(|p| {
            let present = present.iter().find(|feed| feed.id == p.id);
            !matches!(choice, Choice::Due) || is_due(p.kind, present, now)
        })
        .collect())
}

/// A feed never imported is due; any other some time after it was last imported, or confirmed.
fn is_due(kind: FeedKind, present: Option<&FeedStatus>, now: Timestamp) -> bool {
    present.is_none_or(|feed| {
        // A date in the future says nothing of when we last asked.
        let asked = [feed.imported_at, feed.as_of];
        let asked = asked.into_iter().filter(|at| *at <= now).max();
        asked.is_none_or(|at| now.duration_since(at) >= due_after(kind))
    })
}

/// Whose packages the hosts scanned so far have.
fn ecosystems(store: &dyn Store) -> Result<Vec<Ecosystem>, StoreError> {
    let mut found = Vec::new();
    for host in store.scanned_hosts()? {
        let Some(facts) = store.scan_of(&host)?.facts else {
            continue;
        };
        let of_packages = facts.packages.iter().filter_map(|p| p.ecosystem.clone());
        found.extend(
            facts
                .platform
                .map(|p| p.ecosystem)
                .into_iter()
                .chain(of_packages),
        );
        found.sort();
        found.dedup();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(imported_at: &str, as_of: &str) -> FeedStatus {
        FeedStatus {
            id: FeedId::new("t").unwrap(),
            kind: FeedKind::DebianTracker,
            location: "t".into(),
            as_of: as_of.parse().unwrap(),
            imported_at: imported_at.parse().unwrap(),
            stale_after: SignedDuration::from_hours(48),
            records: 1,
            problems: 0,
            partial: false,
            whole: true,
            covers: vec![],
        }
    }

    #[test]
    fn a_feed_is_due_by_when_it_was_last_asked_for() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let due = |feed: &FeedStatus| is_due(feed.kind, Some(feed), now);
        assert!(is_due(FeedKind::Kev, None, now));
        let old = feed("2026-11-20T00:00:00Z", "2026-11-19T00:00:00Z");
        assert!(due(&old));
        let confirmed = feed("2026-11-20T00:00:00Z", "2026-11-21T11:00:00Z");
        assert!(!due(&confirmed));
        let mistimed = feed("2026-11-20T00:00:00Z", "2027-01-01T00:00:00Z");
        assert!(due(&mistimed));
    }
}
