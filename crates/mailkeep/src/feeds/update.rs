//! Keeping feeds up to date: what is due is brought here and imported; what fails leaves what was
//! there before, and does not stop the others.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mailkeep_facts::scan::ScanReport;
use mailkeep_model::{
    Event, EventKind, FeedId, FeedKind, FeedStatus, FetchState, Realm, Timestamp, text,
};
use mailkeep_reach::fetch::{FetchError, FetchSettings, Fetcher, without_secrets};
use mailkeep_store::Store;

use super::import::{Import, import, import_released};
use super::mirror::{self, Arrival, Brought, MirrorError};
pub use super::plan::Planned;
use super::plan::{chosen, planned};
use super::progress::Bar;
use super::sources::stale_after;
use crate::app::{App, LoadedFleet};
use crate::commands::scan::parse_platform;
use crate::fleet::FeedLocation;

/// Where `gpgv` lies, on every distribution we know. Not looked for elsewhere: it decides what is
/// believed.
const GPGV: &[&str] = &["/usr/bin/gpgv", "/bin/gpgv", "/usr/local/bin/gpgv"];

/// Problems of one feed that are said at once; `feeds problems` has them all.
const SAID: usize = 3;

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

/// Updates feeds. How many failed; what was there before stays.
pub fn update(
    app: &App,
    store: &mut dyn Store,
    fleet: Option<&LoadedFleet>,
    choice: Choice<'_>,
) -> anyhow::Result<usize> {
    let mut wanted = chosen(planned(fleet)?, choice, store, app.now)?;
    // Mirrors come document by document; what is quick, the list of what is exploited above all,
    // need not wait for them.
    wanted.sort_by_key(is_mirror);
    let patient = fetcher()?;
    let hasty = hasty()?;
    let mut failed = 0;
    let mut network_down = false;
    for planned in &wanted {
        // Once nothing answers, each further source is asked once, not four times with pauses.
        let fetcher = if network_down { &hasty } else { &patient };
        match bring_and_import(app, store, fleet, fetcher, planned) {
            Ok(line) => {
                network_down &= matches!(planned.location, FeedLocation::Path(_));
                app.say(&line);
            }
            Err(error) => {
                failed += 1;
                network_down |= is_unreachable(&error);
                let reason = format!("{error:#}");
                App::warn(&format!("{}: {reason}", planned.id));
                note_failure(app, store, &planned.id, &reason);
            }
        }
    }
    if failed > 0 {
        app.say(&format!(
            "{failed} of {} feeds could not be updated; what was imported before stays.",
            wanted.len()
        ));
    }
    Ok(failed)
}

fn is_mirror(planned: &Planned) -> bool {
    matches!(&planned.location, FeedLocation::Url(url)
        if planned.kind == FeedKind::Csaf && mirror::is_provider(url))
}

/// A failure belongs into the log of events; where that cannot be written, it was at least said.
fn note_failure(app: &App, store: &mut dyn Store, feed: &FeedId, reason: &str) {
    let kind = EventKind::FeedFailed {
        feed: feed.clone(),
        reason: text::printable_max(reason, 300),
    };
    let event = Event {
        at: app.now,
        realm: Realm::Live,
        kind,
    };
    if let Err(error) = store.append_event(&event) {
        let error = super::import::chain(&error);
        App::warn(&format!(
            "warning: that is not in the log of events: {error}"
        ));
    }
}

fn is_unreachable(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let fetch = match cause.downcast_ref::<MirrorError>() {
            Some(MirrorError::Fetch(fetch)) => Some(fetch),
            _ => cause.downcast_ref::<FetchError>(),
        };
        matches!(
            fetch,
            Some(FetchError::Unreachable { .. } | FetchError::TimedOut { .. })
        )
    })
}

/// A fetcher with the environment's proxies and certificates.
pub fn fetcher() -> anyhow::Result<Fetcher> {
    Ok(Fetcher::new(settings())?)
}

fn hasty() -> anyhow::Result<Fetcher> {
    Ok(Fetcher::new(FetchSettings {
        attempts: 1,
        ..settings()
    })?)
}

fn settings() -> FetchSettings {
    FetchSettings {
        user_agent: concat!("mailkeep/", env!("CARGO_PKG_VERSION")).to_owned(),
        proxies: crate::environment::proxies(),
        roots: crate::environment::roots(),
        ..FetchSettings::default()
    }
}

/// Brings one feed here and imports it. Gives a line that says what came of it.
pub fn bring_and_import(
    app: &App,
    store: &mut dyn Store,
    fleet: Option<&LoadedFleet>,
    fetcher: &Fetcher,
    planned: &Planned,
) -> anyhow::Result<String> {
    match &planned.location {
        FeedLocation::Path(path) => {
            let arrival = Arrival {
                path: path.clone(),
                modified: planned.file_as_of,
                state: None,
                problems: Vec::new(),
                partial: false,
                remarks: Vec::new(),
            };
            let status = import_path(app, store, planned, &path.display().to_string(), arrival)?;
            Ok(imported_line(&status))
        }
        FeedLocation::Url(url) => {
            // Checked before anything is fetched for nothing.
            platform_of(planned)?;
            let downloads = downloads(app, fleet);
            match bring(app, store, fetcher, planned, url, &downloads)? {
                Brought::NotModified => confirm(app, store, planned),
                Brought::New(arrival) => take_in(app, store, planned, url, arrival),
            }
        }
    }
}

/// Where downloads and mirrors lie.
pub fn downloads(app: &App, fleet: Option<&LoadedFleet>) -> PathBuf {
    app.state_dir(fleet).join("downloads")
}

fn bring(
    app: &App,
    store: &dyn Store,
    fetcher: &Fetcher,
    planned: &Planned,
    url: &str,
    downloads: &Path,
) -> anyhow::Result<Brought> {
    let mut bar = Bar::new(app, format!("fetching {}", planned.id));
    let mut progress = |step| bar.show(step);
    if planned.kind == FeedKind::Csaf && mirror::is_provider(url) {
        let directory = downloads.join(mirror::file_name(planned.id.as_str()));
        let gpgv = GPGV.iter().map(PathBuf::from).find(|path| path.is_file());
        return Ok(mirror::fetch_provider(
            fetcher,
            url,
            &directory,
            gpgv,
            &mut progress,
        )?);
    }
    // "Not modified" must mean what is imported, not what once was fetched from there.
    let same = present(store, &planned.id)?
        .is_some_and(|feed| feed.location == without_secrets(url) && is_as_planned(&feed, planned));
    let state = store.fetch_state(&planned.id)?.filter(|_| same);
    Ok(mirror::fetch_file(
        fetcher,
        url,
        state.as_ref(),
        downloads,
        planned.id.as_str(),
        &mut progress,
    )?)
}

fn present(store: &dyn Store, id: &FeedId) -> anyhow::Result<Option<FeedStatus>> {
    Ok(store.feeds()?.into_iter().find(|feed| feed.id == *id))
}

/// Whether a feed was imported under the terms that hold now.
fn is_as_planned(feed: &FeedStatus, planned: &Planned) -> bool {
    feed.kind == planned.kind
        && feed.stale_after == planned.stale_after
        && planned.whole.is_none_or(|whole| whole == feed.whole)
        && platform_of(planned)
            .ok()
            .flatten()
            .is_none_or(|platform| feed.covers.contains(&platform))
}

/// The source has nothing newer: what is here is as of now. A feed that dates itself keeps its
/// date, for a source that stands still must not look fresh.
fn confirm(app: &App, store: &mut dyn Store, planned: &Planned) -> anyhow::Result<String> {
    if !matches!(planned.kind, FeedKind::Epss | FeedKind::Kev) {
        store.confirm_feed(&planned.id, app.now)?;
    }
    Ok(format!("{}: unchanged at its source", planned.id))
}

/// Imports what came from an address.
fn take_in(
    app: &App,
    store: &mut dyn Store,
    planned: &Planned,
    url: &str,
    mut arrival: Arrival,
) -> anyhow::Result<String> {
    let state = arrival.state.take();
    let path = arrival.path.clone();
    let remarks = std::mem::take(&mut arrival.remarks);
    let problems: Vec<String> = arrival.problems.iter().map(ToString::to_string).collect();
    if path.is_dir() {
        // A mirror is as fresh as the listing it was made by.
        arrival.modified = Some(app.now);
    }
    for remark in &remarks {
        App::warn(&format!("{}: {remark}", planned.id));
    }
    for problem in problems.iter().take(SAID) {
        App::warn(&format!("{}: {problem}", planned.id));
    }
    let imported = import_path(app, store, planned, &without_secrets(url), arrival);
    if path.is_file() {
        // Imported or not, it is of no more use: the next fetch brings it whole.
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    let status = imported?;
    // After the import, and only after one of the whole: the next conditional request must not take
    // a part for all.
    if let Some(state) = state.filter(|_| !status.partial) {
        store.record_fetch_state(&planned.id, &state)?;
    }
    Ok(imported_line(&status))
}

fn platform_of(planned: &Planned) -> anyhow::Result<Option<mailkeep_model::Platform>> {
    planned.platform.as_deref().map(parse_platform).transpose()
}

fn import_path(
    app: &App,
    store: &mut dyn Store,
    planned: &Planned,
    location: &str,
    arrival: Arrival,
) -> anyhow::Result<FeedStatus> {
    let what = Import {
        id: planned.id.clone(),
        kind: planned.kind,
        location: location.to_owned(),
        path: arrival.path,
        as_of: planned.as_of,
        modified: arrival.modified,
        stale_after: planned.stale_after,
        whole: planned.whole,
        platform: platform_of(planned)?,
        problems: arrival.problems,
        partial: arrival.partial,
    };
    let mut bar = Bar::new(app, format!("importing {}", planned.id));
    let status = import(store, &what, app.now, &mut |step| bar.show(step))?;
    drop(bar);
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

/// Imports the feeds that the fleet file has as files, where they, or the date it gives them, changed
/// since: an example or a
/// closed network needs no `feeds update`. One that cannot be read is an error where there is
/// nothing older of it; else it is said, and the older goes on, with its own date.
pub fn import_local(app: &App, store: &mut dyn Store, fleet: &LoadedFleet) -> anyhow::Result<()> {
    for planned in planned(Some(fleet))?.into_values() {
        let FeedLocation::Path(path) = &planned.location else {
            continue;
        };
        let location = path.display().to_string();
        let earlier = present(store, &planned.id)?;
        let outcome = import_if_changed(app, store, &planned, path, &location, earlier.as_ref());
        match (outcome, earlier) {
            (Ok(Some(status)), _) => app.say(&imported_line(&status)),
            (Ok(None), _) => {}
            (Err(error), Some(earlier)) if earlier.location == location => {
                let reason = format!("{error:#}");
                App::warn(&format!(
                    "warning: {reason}; what was imported of it before is used, as of {}",
                    earlier.as_of
                ));
                note_failure(app, store, &planned.id, &reason);
            }
            (Err(error), _) => return Err(error),
        }
    }
    Ok(())
}

fn import_if_changed(
    app: &App,
    store: &mut dyn Store,
    planned: &Planned,
    path: &Path,
    location: &str,
    earlier: Option<&FeedStatus>,
) -> anyhow::Result<Option<FeedStatus>> {
    let id = &planned.id;
    let stamp = path_stamp(path)
        .with_context(|| format!("cannot read the feed {id} at {}", path.display()))?;
    let state = FetchState {
        location: location.to_owned(),
        etag: Some(stamp),
        last_modified: planned.file_as_of.map(|time| time.to_string()),
    };
    let same = earlier.is_some_and(|f| f.location == location && is_as_planned(f, planned));
    if same && store.fetch_state(id)?.as_ref() == Some(&state) {
        return Ok(None);
    }
    let arrival = Arrival {
        path: path.to_owned(),
        modified: planned.file_as_of,
        state: None,
        problems: Vec::new(),
        partial: false,
        remarks: Vec::new(),
    };
    let status = import_path(app, store, planned, location, arrival)
        .with_context(|| format!("cannot import the feed {id}"))?;
    store.record_fetch_state(id, &state)?;
    Ok(Some(status))
}

/// Size and time of a file, or of every file of a directory.
fn path_stamp(path: &Path) -> io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_dir() {
        return Ok(stamp_of(&metadata));
    }
    let mut files = Vec::new();
    super::read::list(path, &mut files, 0)?;
    files.sort();
    let mut parts = vec![stamp_of(&metadata)];
    for file in files {
        let name = file
            .strip_prefix(path)
            .unwrap_or(&file)
            .display()
            .to_string();
        parts.push(format!("{name}={}", stamp_of(&std::fs::metadata(&file)?)));
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

/// Imports the changelogs a scan brought, as the feed `released-HOST`.
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
