//! `mailkeep feeds`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jiff::SignedDuration;
use mailkeep_facts::scan::ScanReport;
use mailkeep_model::{
    Ecosystem, Event, EventKind, FeedId, FeedKind, FeedState, FeedStatus, FetchState, Problem,
    Realm, Timestamp, text,
};
use mailkeep_reach::fetch::{FetchSettings, Fetcher};
use mailkeep_store::{Store, StoreError};

use super::Done;
use super::scan::{parse_platform, progress_bar};
use crate::app::{App, LoadedFleet};
use crate::cli::FeedsCommand;
use crate::feeds::import::{Import, import, import_released};
use crate::feeds::mirror::{self, Brought};
use crate::feeds::sources::{SOURCES, due_after, stale_after};
use crate::fleet::FeedLocation;

/// Runs it.
pub fn run(app: &App, command: &FeedsCommand) -> anyhow::Result<Done> {
    match command {
        FeedsCommand::Update { names, fleet, all } => {
            let fleet = app.fleet(fleet.as_deref())?;
            let mut store = app.store(fleet.as_ref())?;
            let choice = if !names.is_empty() {
                Choice::Named(names)
            } else if *all {
                Choice::All
            } else {
                Choice::Needed
            };
            let failed = update(app, &mut store, fleet.as_ref(), choice)?;
            Ok(if failed > 0 {
                Done::Findings
            } else {
                Done::Nothing
            })
        }
        FeedsCommand::Import {
            source,
            location,
            name,
            as_of,
            platform,
            whole,
        } => {
            let id = match name {
                Some(name) => name.clone(),
                None => FeedId::new(source.name())?,
            };
            let planned = Planned {
                id,
                kind: *source,
                location: if location.contains("://") {
                    FeedLocation::Url(location.clone())
                } else {
                    FeedLocation::Path(PathBuf::from(location))
                },
                stale_after: stale_after(*source),
                whole: whole.then_some(true),
                platform: platform.clone(),
                as_of: *as_of,
                ecosystem: None,
            };
            import_one(app, &planned)
        }
        FeedsCommand::Status { fleet, json } => status(app, fleet.as_deref(), *json),
        FeedsCommand::Problems { name, fleet } => problems(app, name.as_ref(), fleet.as_deref()),
        FeedsCommand::Remove { name } => {
            let mut store = app.store(app.fleet(None)?.as_ref())?;
            if store.remove_feed(name)? {
                app.say(&format!("{name} is forgotten."));
                Ok(Done::Nothing)
            } else {
                bail!("there is no feed {name}; `mailkeep feeds status` lists them");
            }
        }
        FeedsCommand::Sources => sources(),
    }
}

/// A feed to bring here.
#[derive(Debug, Clone)]
struct Planned {
    id: FeedId,
    kind: FeedKind,
    location: FeedLocation,
    stale_after: SignedDuration,
    whole: Option<bool>,
    platform: Option<String>,
    as_of: Option<Timestamp>,
    ecosystem: Option<&'static str>,
}

/// Which feeds to update.
#[derive(Debug, Clone, Copy)]
pub enum Choice<'a> {
    /// These, due or not.
    Named(&'a [FeedId]),
    /// Every enabled one.
    All,
    /// Those that speak for the hosts known, or for every CVE id.
    Needed,
    /// Of those, the ones whose time has come.
    Due,
}

/// The built-in sources, changed and added to by the fleet file.
fn planned(fleet: Option<&LoadedFleet>) -> anyhow::Result<BTreeMap<FeedId, Planned>> {
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
            ecosystem: None,
        };
        all.insert(id.clone(), planned);
    }
    Ok(all)
}

/// Updates feeds. How many failed; what was there before stays.
pub fn update(
    app: &App,
    store: &mut dyn Store,
    fleet: Option<&LoadedFleet>,
    choice: Choice<'_>,
) -> anyhow::Result<usize> {
    let all = planned(fleet)?;
    let present: BTreeMap<FeedId, FeedStatus> = store
        .feeds()?
        .into_iter()
        .map(|feed| (feed.id.clone(), feed))
        .collect();
    let ecosystems = ecosystems(store)?;
    let wanted: Vec<&Planned> = match choice {
        Choice::Named(names) => {
            let mut wanted = Vec::new();
            for name in names {
                match all.get(name) {
                    Some(planned) => wanted.push(planned),
                    None => bail!(
                        "there is no enabled source {name}; `mailkeep feeds sources` lists those built in"
                    ),
                }
            }
            wanted
        }
        Choice::All => all.values().collect(),
        Choice::Needed | Choice::Due => all
            .values()
            .filter(|p| {
                // Nothing scanned yet: the sources most need, rather than none.
                let usual = ecosystems.is_empty() && p.ecosystem == Some("Debian");
                usual
                    || p.ecosystem
                        .is_none_or(|name| ecosystems.iter().any(|e| e.name() == name))
            })
            .filter(|p| !matches!(choice, Choice::Due) || is_due(p, present.get(&p.id), app.now))
            .collect(),
    };
    let fetcher = fetcher()?;
    let mut failed = 0;
    for planned in wanted {
        match bring_and_import(app, store, fleet, &fetcher, planned) {
            Ok(line) => app.say(&line),
            Err(error) => {
                failed += 1;
                App::warn(&format!("{}: {error:#}", planned.id));
                let reason = text::printable_max(&format!("{error:#}"), 300);
                let kind = EventKind::FeedFailed {
                    feed: planned.id.clone(),
                    reason,
                };
                store.append_event(&Event {
                    at: app.now,
                    realm: Realm::Live,
                    kind,
                })?;
            }
        }
    }
    Ok(failed)
}

fn is_due(planned: &Planned, present: Option<&FeedStatus>, now: Timestamp) -> bool {
    present.is_none_or(|feed| now.duration_since(feed.imported_at) >= due_after(planned.kind))
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
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// A fetcher with the environment's proxies and certificates.
pub fn fetcher() -> anyhow::Result<Fetcher> {
    Ok(Fetcher::new(FetchSettings {
        user_agent: concat!("mailkeep/", env!("CARGO_PKG_VERSION")).to_owned(),
        proxies: crate::environment::proxies(),
        roots: crate::environment::roots(),
        ..FetchSettings::default()
    })?)
}

fn bring_and_import(
    app: &App,
    store: &mut dyn Store,
    fleet: Option<&LoadedFleet>,
    fetcher: &Fetcher,
    planned: &Planned,
) -> anyhow::Result<String> {
    let url = match &planned.location {
        FeedLocation::Path(path) => {
            let shown = path.display().to_string();
            let status = import_path(app, store, planned, path, &shown, None)?;
            return Ok(imported_line(&status));
        }
        FeedLocation::Url(url) => url,
    };
    let downloads = app.state_dir(fleet).join("downloads");
    let bar = progress_bar(app, 0, "");
    bar.set_message(planned.id.to_string());
    let mut progress = |done: u64, total: Option<u64>| {
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(done);
    };
    let brought = if mirror::is_provider(url) {
        mirror::fetch_provider(
            fetcher,
            url,
            &downloads.join(planned.id.as_str()),
            &mut progress,
        )?
    } else {
        let state = store
            .fetch_state(&planned.id)?
            .filter(|state| state.location == *url);
        let name = planned.id.as_str();
        mirror::fetch_file(
            fetcher,
            url,
            state.as_ref(),
            &downloads,
            name,
            &mut progress,
        )?
    };
    bar.finish_and_clear();
    match brought {
        Brought::NotModified => {
            store.confirm_feed(&planned.id, app.now)?;
            Ok(format!("{}: unchanged at its source", planned.id))
        }
        Brought::New {
            path,
            modified,
            state,
            problems,
        } => {
            // A mirror is as fresh as the listing it was made by.
            let modified = modified.or_else(|| path.is_dir().then_some(app.now));
            let status = import_path(app, store, planned, &path, url, modified)?;
            if path.is_file() {
                std::fs::remove_file(&path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
            if let Some(state) = state {
                let state = FetchState {
                    location: url.clone(),
                    ..state
                };
                store.record_fetch_state(&planned.id, &state)?;
            }
            for problem in problems.iter().take(5) {
                App::warn(&format!("{}: {problem}", planned.id));
            }
            if problems.len() > 5 {
                App::warn(&format!(
                    "{}: and {} documents more",
                    planned.id,
                    problems.len() - 5
                ));
            }
            Ok(imported_line(&status))
        }
    }
}

fn import_path(
    app: &App,
    store: &mut dyn Store,
    planned: &Planned,
    path: &Path,
    location: &str,
    modified: Option<Timestamp>,
) -> anyhow::Result<FeedStatus> {
    let what = Import {
        id: planned.id.clone(),
        kind: planned.kind,
        location: location.to_owned(),
        path: path.to_owned(),
        as_of: planned.as_of,
        modified,
        stale_after: planned.stale_after,
        whole: planned.whole,
        platform: planned.platform.as_deref().map(parse_platform),
    };
    let bar = progress_bar(app, 0, "");
    bar.set_message(format!("importing {}", planned.id));
    let status = import(store, &what, app.now, &mut |done, total| {
        // One line of progress for each tenth of a megabyte is enough for the eye.
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let kind = EventKind::FeedImported {
        feed: status.id.clone(),
        records: status.records,
        problems: status.problems,
    };
    store.append_event(&Event {
        at: app.now,
        realm: Realm::Live,
        kind,
    })?;
    Ok(status)
}

fn imported_line(status: &FeedStatus) -> String {
    let problems = match status.problems {
        0 => String::new(),
        n => format!(
            ", {n} could not be used (`mailkeep feeds problems {}`)",
            status.id
        ),
    };
    let partial = if status.partial {
        ", ENDED BEFORE ITS END"
    } else {
        ""
    };
    format!(
        "{}: {} records{problems}{partial}, as of {}",
        status.id, status.records, status.as_of
    )
}

fn import_one(app: &App, planned: &Planned) -> anyhow::Result<Done> {
    let fleet = app.fleet(None)?;
    let mut store = app.store(fleet.as_ref())?;
    let line = match &planned.location {
        FeedLocation::Path(path) => {
            let shown = path.display().to_string();
            imported_line(&import_path(app, &mut store, planned, path, &shown, None)?)
        }
        FeedLocation::Url(_) => {
            bring_and_import(app, &mut store, fleet.as_ref(), &fetcher()?, planned)?
        }
    };
    app.say(&line);
    Ok(Done::Nothing)
}

/// Imports the feeds that the fleet file has as files, where they changed since: an example or a
/// closed network needs no `feeds update`.
pub fn import_local(app: &App, store: &mut dyn Store, fleet: &LoadedFleet) -> anyhow::Result<()> {
    for planned in planned(Some(fleet))?.into_values() {
        let FeedLocation::Path(path) = &planned.location else {
            continue;
        };
        let stamp = path_stamp(path).with_context(|| {
            format!("cannot read the feed {} at {}", planned.id, path.display())
        })?;
        let location = path.display().to_string();
        let state = FetchState {
            location: location.clone(),
            etag: Some(stamp),
            last_modified: None,
        };
        if store.fetch_state(&planned.id)?.as_ref() == Some(&state) {
            continue;
        }
        let status = import_path(app, store, &planned, path, &location, None)
            .with_context(|| format!("cannot import the feed {}", planned.id))?;
        store.record_fetch_state(&planned.id, &state)?;
        app.say(&imported_line(&status));
    }
    Ok(())
}

/// Size and time of a file, or of every file of a directory.
fn path_stamp(path: &Path) -> io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    let mut parts = vec![stamp_of(&metadata)];
    if metadata.is_dir() {
        let mut entries: Vec<_> = std::fs::read_dir(path)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            parts.push(format!(
                "{}={}",
                entry.file_name().to_string_lossy(),
                stamp_of(&entry.metadata()?)
            ));
        }
    }
    Ok(parts.join(" "))
}

fn stamp_of(metadata: &std::fs::Metadata) -> String {
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| Timestamp::try_from(time).ok());
    format!(
        "{}@{}",
        metadata.len(),
        modified.map_or(0, Timestamp::as_nanosecond)
    )
}

/// Imports the changelogs a scan brought, as the feed `released`.
pub fn import_changelogs(
    app: &App,
    store: &mut dyn Store,
    report: &ScanReport,
) -> anyhow::Result<()> {
    let Some(platform) = &report.facts.platform else {
        return Ok(());
    };
    let id = FeedId::new(format!("released-{}", report.facts.host))?;
    let changelogs: Vec<(&str, &str)> = report
        .changelogs
        .iter()
        .map(|c| (&*c.source, &*c.text))
        .collect();
    let stale = stale_after(FeedKind::Released);
    let status = import_released(store, &id, platform, &changelogs, app.now, stale)
        .with_context(|| format!("cannot import {id}"))?;
    app.say(&imported_line(&status));
    Ok(())
}

fn status(app: &App, fleet: Option<&Path>, json: bool) -> anyhow::Result<Done> {
    let store = app.store(app.fleet(fleet)?.as_ref())?;
    let feeds = store.feeds()?;
    let mut out = io::stdout().lock();
    if json {
        let rows: Vec<serde_json::Value> = feeds
            .iter()
            .map(|feed| {
                Ok(serde_json::json!({
                    "source": feed.id,
                    "kind": feed.kind,
                    "location": feed.location,
                    "as_of": feed.as_of,
                    "imported_at": feed.imported_at,
                    "age_seconds": app.now.duration_since(feed.as_of).as_secs(),
                    "stale_after_seconds": feed.stale_after.as_secs(),
                    "state": feed.state(app.now),
                    "stale": feed.state(app.now) != FeedState::Fresh,
                    "whole": feed.whole,
                    "records": feed.records,
                    "problems": feed.problems,
                    "covers": feed.covers.iter().map(ToString::to_string).collect::<Vec<_>>(),
                }))
            })
            .collect::<anyhow::Result<_>>()?;
        serde_json::to_writer_pretty(&mut out, &rows)?;
        writeln!(out)?;
    } else if feeds.is_empty() {
        writeln!(
            out,
            "No feed is imported yet: `mailkeep feeds update` brings the public ones."
        )?;
    } else {
        writeln!(
            out,
            "{:<18} {:<14} {:<10} {:>9} {:>8} {:>12}  AS OF",
            "FEED", "KIND", "STATE", "RECORDS", "PROBLEMS", "AGE"
        )?;
        for feed in &feeds {
            let state = match feed.state(app.now) {
                FeedState::Fresh => "fresh",
                FeedState::Stale => "STALE",
                FeedState::Partial => "PARTIAL",
                FeedState::FromTheFuture => "FUTURE",
            };
            writeln!(
                out,
                "{:<18} {:<14} {state:<10} {:>9} {:>8} {:>12}  {:.0}",
                text::printable_max(feed.id.as_str(), 18),
                feed.kind,
                feed.records,
                feed.problems,
                age(app.now.duration_since(feed.as_of)),
                feed.as_of,
            )?;
        }
    }
    let bad = feeds.is_empty() || feeds.iter().any(|f| f.state(app.now) != FeedState::Fresh);
    Ok(if bad { Done::Findings } else { Done::Nothing })
}

/// An age in the two units a person would name.
fn age(age: SignedDuration) -> String {
    let minutes = age.as_mins();
    match minutes {
        m if m < 0 => "in the future".to_owned(),
        m if m < 60 => format!("{m} min"),
        m if m < 48 * 60 => format!("{} h {} min", m / 60, m % 60),
        m => format!("{} d {} h", m / 1440, m % 1440 / 60),
    }
}

fn problems(app: &App, name: Option<&FeedId>, fleet: Option<&Path>) -> anyhow::Result<Done> {
    let store = app.store(app.fleet(fleet)?.as_ref())?;
    let mut found = false;
    let mut out = io::stdout().lock();
    let feeds = store.feeds()?;
    if let Some(name) = name
        && !feeds.iter().any(|feed| feed.id == *name)
    {
        bail!("there is no feed {name}; `mailkeep feeds status` lists them");
    }
    for feed in feeds
        .iter()
        .filter(|feed| name.is_none_or(|name| feed.id == *name))
    {
        let problems: Vec<Problem> = store.feed_problems(&feed.id)?;
        for problem in &problems {
            found = true;
            writeln!(
                out,
                "{}: {}",
                feed.id,
                text::printable(&problem.to_string())
            )?;
        }
        let kept = problems.len() as u64;
        if feed.problems > kept {
            writeln!(
                out,
                "{}: and {} more that were not kept",
                feed.id,
                feed.problems - kept
            )?;
        }
    }
    Ok(if found { Done::Findings } else { Done::Nothing })
}

fn sources() -> anyhow::Result<Done> {
    let mut out = io::stdout().lock();
    for source in SOURCES {
        writeln!(
            out,
            "{:<15} {:<15} {}",
            source.name, source.kind, source.what
        )?;
        writeln!(out, "{:<15} {:<15} {}", "", "", source.url)?;
    }
    Ok(Done::Nothing)
}
