//! `mailkeep rollout status`.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use mailkeep_model::HostState;
use mailkeep_rollout::evidence::{Evidence, HostEvidence, RolloutState};
use mailkeep_store::SqliteStore;

use super::place::Place;
use super::{account, last_word, open, started, view};
use crate::app::{App, LoadedFleet};
use crate::cli::rollout::StatusArgs;
use crate::commands::Done;
use crate::planning::kept::{self, short};

pub(super) fn run(app: &App, args: &StatusArgs) -> anyhow::Result<Done> {
    let (fleet, store) = open(app, args.fleet.as_deref())?;
    let mut out = io::stdout().lock();
    let Some(named) = &args.plan else {
        return all(app, fleet.as_ref(), &store, args.json, &mut out);
    };
    let kept = kept::find(&store, named)?;
    let told = account(&store, &kept, app.now)?;
    if args.json {
        serde_json::to_writer_pretty(&mut out, &told).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        for line in view::head(&told) {
            writeln!(out, "{line}")?;
        }
        if let Some(line) = unattended(&told, &Place::of(app, fleet.as_ref(), &kept.id)) {
            writeln!(out, "{line}")?;
        }
        writeln!(out)?;
        for line in view::hosts(&told, view::Paint::new(app.colour), 100) {
            writeln!(out, "{line}")?;
        }
        if let Some(line) = view::ledger(&told) {
            writeln!(out, "\n{line}")?;
        }
    }
    Ok(done(told.state))
}

/// That nobody is at work on a rollout that has not ended, and how to go on.
pub(super) fn unattended(told: &Evidence, place: &Place) -> Option<String> {
    let runs = told.ended_at.is_none() && told.state != RolloutState::NotStarted;
    let id = short(&told.plan);
    (runs && !place.is_attended())
        .then(|| format!("nobody carries it out now; `mailkeep rollout start {id}` goes on"))
}

/// 1 where something is left to do or to look at.
pub(super) fn done(state: RolloutState) -> Done {
    if state == RolloutState::Proven {
        Done::Nothing
    } else {
        Done::Findings
    }
}

/// One line for each plan that was ever started. 1 where one has not ended, or has left a host behind
/// that nobody has seen to since.
fn all(
    app: &App,
    fleet: Option<&LoadedFleet>,
    store: &SqliteStore,
    json: bool,
    out: &mut impl io::Write,
) -> anyhow::Result<Done> {
    let rows = started(store, app.now)?;
    let last = last_word(&rows);
    let mut open = false;
    for told in &rows {
        // What a later rollout has touched since is its to tell.
        let behind = |host: &&HostEvidence| {
            host.is_out_of_service() && last.get(&host.host) == Some(&told.plan)
        };
        let behind: Vec<&HostEvidence> = told.hosts.iter().filter(behind).collect();
        let runs = told.ended_at.is_none();
        open |= runs || !behind.is_empty();
        if json {
            continue;
        }
        let mut line = format!(
            "{}  {:9}  {}/{} proven",
            short(&told.plan),
            told.state.name(),
            told.count(HostState::Proven),
            told.hosts.len()
        );
        for state in [HostState::Held, HostState::Unproven] {
            let count = behind.iter().filter(|host| host.state == state).count();
            if count > 0 {
                let _never_fails = write!(line, ", {count} {}", state.name());
            }
        }
        let in_work = behind.iter().filter(|host| !host.state.is_end()).count();
        if in_work > 0 {
            let _never_fails = write!(line, ", {in_work} out of service");
        }
        if unattended(told, &Place::of(app, fleet, &told.plan)).is_some() {
            line.push_str(", nobody carries it out");
        }
        writeln!(
            out,
            "{line}  {}  {}",
            view::moment(told.started_at),
            mailkeep_model::text::printable(&told.title)
        )?;
    }
    if json {
        serde_json::to_writer_pretty(&mut *out, &rows).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if rows.is_empty() {
        app.say("no plan was ever started; `mailkeep rollout start PLAN` does");
    }
    Ok(if open { Done::Findings } else { Done::Nothing })
}
