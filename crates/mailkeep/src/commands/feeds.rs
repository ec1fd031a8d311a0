//! `mailkeep feeds`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::bail;
use jiff::SignedDuration;
use mailkeep_model::{FeedId, FeedState, FeedStatus, Problem, text};
use mailkeep_store::Store;

use super::Done;
use crate::app::App;
use crate::cli::FeedsCommand;
use crate::feeds::mirror;
use crate::feeds::sources::{SOURCES, stale_after};
pub use crate::feeds::update::{Choice, fetcher, import_changelogs, import_local, update};
use crate::feeds::update::{Planned, bring_and_import, downloads};
use crate::fleet::FeedLocation;
use crate::output::escaped;

/// Columns for the names of feeds in `feeds status`, at most.
const NAME_WIDTH: usize = 32;

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
                file_as_of: None,
                ecosystem: None,
            };
            import_one(app, &planned)
        }
        FeedsCommand::Status { fleet, json } => status(app, fleet.as_deref(), *json),
        FeedsCommand::Problems { name, fleet } => problems(app, name.as_ref(), fleet.as_deref()),
        FeedsCommand::Remove { name } => remove(app, name),
        FeedsCommand::Sources => sources(),
    }
}

fn import_one(app: &App, planned: &Planned) -> anyhow::Result<Done> {
    let fleet = app.fleet(None)?;
    let mut store = app.store(fleet.as_ref())?;
    let id = &planned.id;
    if let Some(other) = store.feeds()?.iter().find(|feed| feed.id == *id)
        && other.kind != planned.kind
    {
        bail!(
            "the name {id} belongs to a feed of kind {}; give another --name, or `mailkeep feeds \
             remove {id}` first",
            other.kind
        );
    }
    let line = bring_and_import(app, &mut store, fleet.as_ref(), &fetcher()?, planned)?;
    app.say(&line);
    Ok(Done::Nothing)
}

fn remove(app: &App, name: &FeedId) -> anyhow::Result<Done> {
    let fleet = app.fleet(None)?;
    let mut store = app.store(fleet.as_ref())?;
    if !store.remove_feed(name)? {
        bail!("there is no feed {name}; `mailkeep feeds status` lists them");
    }
    let mirror = downloads(app, fleet.as_ref()).join(mirror::file_name(name.as_str()));
    if mirror.is_dir()
        && let Err(error) = std::fs::remove_dir_all(&mirror)
    {
        App::warn(&format!(
            "warning: its documents stay in {}: {error}",
            mirror.display()
        ));
    }
    app.say(&format!("{name} is forgotten."));
    Ok(Done::Nothing)
}

fn status(app: &App, fleet: Option<&Path>, json: bool) -> anyhow::Result<Done> {
    let store = app.store(app.fleet(fleet)?.as_ref())?;
    let feeds = store.feeds()?;
    let mut out = io::stdout().lock();
    if json {
        let rows: Vec<_> = feeds.iter().map(|feed| as_json(app, feed)).collect();
        escaped::write_json(&rows, &mut out)?;
    } else if feeds.is_empty() {
        writeln!(
            out,
            "No feed is imported yet: `mailkeep feeds update` brings the public ones."
        )?;
    } else {
        write_status(app, &feeds, &mut out)?;
    }
    let bad = feeds.is_empty() || feeds.iter().any(|f| f.state(app.now) != FeedState::Fresh);
    Ok(if bad { Done::Findings } else { Done::Nothing })
}

fn as_json(app: &App, feed: &FeedStatus) -> serde_json::Value {
    let state = feed.state(app.now);
    let covers: Vec<String> = feed.covers.iter().map(ToString::to_string).collect();
    serde_json::json!({
        "source": feed.id,
        "kind": feed.kind,
        "location": feed.location,
        "as_of": feed.as_of,
        "imported_at": feed.imported_at,
        "age_seconds": app.now.duration_since(feed.as_of).as_secs(),
        "stale_after_seconds": feed.stale_after.as_secs(),
        "state": state,
        "stale": state != FeedState::Fresh,
        "partial": feed.partial,
        "whole": feed.whole,
        "records": feed.records,
        "problems": feed.problems,
        "covers": covers,
    })
}

fn write_status(app: &App, feeds: &[FeedStatus], out: &mut dyn Write) -> io::Result<()> {
    let names = feeds.iter().map(|feed| feed.id.as_str().chars().count());
    let width = names.max().unwrap_or(0).clamp(4, NAME_WIDTH);
    writeln!(
        out,
        "{:<width$} {:<14} {:<8} {:>8} {:>8} {:>12}  AS OF",
        "FEED", "KIND", "STATE", "RECORDS", "PROBLEMS", "AGE"
    )?;
    for feed in feeds {
        let state = match feed.state(app.now) {
            FeedState::Fresh => "fresh",
            FeedState::Stale => "STALE",
            FeedState::Partial => "PARTIAL",
            FeedState::FromTheFuture => "FUTURE",
        };
        writeln!(
            out,
            "{:<width$} {:<14} {state:<8} {:>8} {:>8} {:>12}  {:.0}",
            text::printable_max(feed.id.as_str(), width),
            feed.kind,
            feed.records,
            feed.problems,
            age(app.now.duration_since(feed.as_of)),
            feed.as_of,
        )?;
    }
    Ok(())
}

/// An age in the two units a person would name.
fn age(age: SignedDuration) -> String {
    let minutes = age.as_mins();
    match minutes {
        _ if age.is_negative() => "in the future".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_the_units_a_person_would_name() {
        let age = |seconds| super::age(SignedDuration::from_secs(seconds));
        assert_eq!(age(59), "0 min");
        assert_eq!(age(3600), "1 h 0 min");
        assert_eq!(age(50 * 3600), "2 d 2 h");
        assert_eq!(age(-1), "in the future");
    }
}
