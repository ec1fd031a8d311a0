//! `mailkeep watch`: update, check, tell.
//!
//! What is to be told is written down before it is sent and struck out after, so that a notice is
//! never lost to a crash or a mail server that is down; it can come twice.

mod news;
mod spool;

use std::time::{Duration, Instant};

use anyhow::bail;
use mailkeep_model::{FeedState, HostStatus, Realm};
use mailkeep_store::{Snapshot, SqliteStore, Store as _};

use super::check::at_one_moment;
use super::feeds::{self, Choice};
use super::{Done, check as check_command, plan, scan};
use crate::answer::Answer;
use crate::app::{App, LoadedFleet};
use crate::check::{self, Terms, check, to_keep};
use crate::cli::{Scope, WatchArgs};
use crate::shield::{Cover, outbreaks};
use news::{Memory, News, Standing};
pub use news::{Notice, Road};
use spool::Spool;
pub(crate) use spool::mail_settings;

/// How long between two looks at what shields tell of outbreaks.
const OUTBREAKS_EVERY: Duration = Duration::from_mins(1);

/// Runs it.
pub fn run(app: &App, args: &WatchArgs) -> anyhow::Result<Done> {
    let mut found = false;
    // What is wrong with the fleet file at the start, nobody mends who is not told.
    let mut at_start = Some(load(app, args)?);
    loop {
        let now = if app.fixed_time {
            app.now
        } else {
            crate::now()
        };
        let round = app.at(now);
        let fleet = at_start.take().map_or_else(|| load(app, args), Ok);
        match fleet.and_then(|fleet| self::round(&round, args, &fleet)) {
            Ok(changed) => found |= changed,
            // A round that fails must not end the watch; the next may do better.
            Err(error) if !args.once => App::complain(&error),
            Err(error) => return Err(error),
        }
        if args.once {
            return Ok(if found { Done::Findings } else { Done::Nothing });
        }
        wait(app, args);
    }
}

/// Waits for the next round. An outbreak is told of meanwhile: it does not wait.
fn wait(app: &App, args: &WatchArgs) {
    let begun = Instant::now();
    let whole = Duration::from_secs(args.every.max(1));
    loop {
        let left = whole.saturating_sub(begun.elapsed());
        std::thread::sleep(left.min(OUTBREAKS_EVERY));
        if left <= OUTBREAKS_EVERY {
            return;
        }
        let told = load(app, args).and_then(|fleet| {
            let now = if app.fixed_time {
                app.now
            } else {
                crate::now()
            };
            tell_outbreaks(&app.at(now), &fleet)
        });
        if let Err(error) = told {
            App::complain(&error);
        }
    }
}

/// Tells teams of outbreaks that shields told of since. Whether there were any.
fn tell_outbreaks(app: &App, fleet: &LoadedFleet) -> anyhow::Result<bool> {
    if fleet.file.shields.is_empty() {
        return Ok(false);
    }
    let state = app.state_dir(Some(fleet));
    let mut memory = outbreaks::Memory::read(&state);
    let fresh = outbreaks::fresh(fleet, &mut memory);
    let settings = fleet.file.notify.clone().unwrap_or_default();
    let notices = outbreaks::notices(&fleet.file.fleet, &fresh, app.now, &settings);
    let spool = Spool::in_dir(&state);
    if !notices.is_empty() {
        // First the spool, as with everything that is told: a crash before the memory tells it again.
        spool.add(notices.clone())?;
    }
    memory.keep()?;
    for notice in &notices {
        for line in notice.text.lines() {
            app.say(line);
        }
    }
    if !notices.is_empty() {
        spool.send(app, fleet, &settings)?;
    }
    Ok(!notices.is_empty())
}

fn load(app: &App, args: &WatchArgs) -> anyhow::Result<LoadedFleet> {
    match app.fleet(args.fleet.as_deref())? {
        Some(fleet) => Ok(fleet),
        None => bail!("there is no fleet file to watch; name one with --fleet"),
    }
}

/// One round. Whether anything changed.
fn round(app: &App, args: &WatchArgs, fleet: &LoadedFleet) -> anyhow::Result<bool> {
    let mut store = app.store(Some(fleet))?;
    let outbreaks = tell_outbreaks(app, fleet);
    let looked = look(app, args, fleet, &mut store);
    let looked = match (outbreaks, looked) {
        (Ok(any), looked) => looked.map(|changed| changed | any),
        (Err(error), Ok(_)) => Err(error),
        (Err(first), Err(second)) => {
            App::complain(&first);
            Err(second)
        }
    };
    // What teams are told of their plans does not hang on what a check finds, or whether it is told.
    let told = plan::in_watch(app, &store, fleet);
    match (looked, told) {
        (looked, Ok(())) => looked,
        (Ok(_), Err(error)) => Err(error),
        (Err(first), Err(second)) => {
            App::complain(&first);
            Err(second)
        }
    }
}

/// Updates, checks, and tells of findings. Whether anything changed.
fn look(
    app: &App,
    args: &WatchArgs,
    fleet: &LoadedFleet,
    store: &mut SqliteStore,
) -> anyhow::Result<bool> {
    feeds::import_local(app, store, fleet)?;
    if !args.offline {
        feeds::update(app, store, Some(fleet), Choice::Due)?;
    }
    if args.scan {
        scan::scan_fleet(app, store, fleet)?;
    }
    // A scope of its own: a check made by hand must not take news away from the watch.
    let base = fleet.scope();
    let key = format!("watch:{base}");
    // Asked again: an update and a scan take minutes, and a shield that fell meanwhile covers nothing.
    let cover = Cover::ask(app, Some(fleet));
    for problem in cover.problems() {
        App::warn(&format!("warning: {problem}"));
    }
    let (answer, last) = at_one_moment(store, || {
        let subjects = check_command::subjects(app, store, &Scope::default(), Some(fleet))?;
        let hosts = subjects.iter().map(|subject| &subject.name).collect();
        let terms = Terms {
            now: app.now,
            scope: fleet.path.display().to_string(),
            fleet: &fleet.file.fleet,
            policy: &fleet.file.policy,
            all: false,
            only: None,
            last: store.findings_of(&key)?,
            earlier: check::earlier(store, &base, &key, &hosts)?,
            cover,
        };
        Ok((check(store, &subjects, &terms)?, terms.last))
    })?;
    let changes = match &answer.changes {
        Some(changes) => changes.clone(),
        None => mailkeep_triage::delta(&[], &answer.findings),
    };
    let state = app.state_dir(Some(fleet));
    let spool = Spool::in_dir(&state);
    let mut memory = Memory::read(&state);
    let standing = Standing::of(&answer);
    let news = News {
        answer: &answer,
        last: last.as_ref(),
        changes: &changes,
        standing: standing.changes(memory.of(&key), &answer),
        fleet: &fleet.file.fleet,
    };
    let settings = fleet.file.notify.clone().unwrap_or_default();
    let any_news = news.any();
    let news = news.notices(app.now, &settings);
    // First the spool, then the snapshot: a crash between the two tells the news again.
    spool.add(news.clone())?;
    memory.keep(&key, standing)?;
    let snapshot = Snapshot {
        at: app.now,
        findings: to_keep(&answer, last.as_ref()),
    };
    let events: Vec<_> = changes
        .iter()
        .cloned()
        .map(|c| c.into_event(app.now, Realm::Live))
        .collect();
    store.record_check(&key, &snapshot, &events)?;
    for notice in &news {
        for line in notice.text.lines() {
            app.say(line);
        }
    }
    say_state(app, &answer);
    spool.send(app, fleet, &settings)?;
    Ok(any_news)
}

fn say_state(app: &App, answer: &Answer) {
    for feed in answer.feeds.iter().filter(|f| f.state != FeedState::Fresh) {
        App::warn(&format!(
            "feed {} is not fresh: as of {}",
            feed.status.id, feed.status.as_of
        ));
    }
    let unknown: Vec<&str> = answer
        .hosts
        .iter()
        .filter(|h| h.status == HostStatus::Unknown)
        .map(|h| h.name.as_str())
        .collect();
    if !unknown.is_empty() {
        app.say(&format!("not known to be safe: {}", unknown.join(", ")));
    }
}
