//! `mailkeep rollout status`.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use mailkeep_model::{HostName, HostState};
use mailkeep_rollout::evidence::{Evidence, HostEvidence, RolloutState};
use mailkeep_store::SqliteStore;
use serde::Serialize;

use super::place::Place;
use super::{account, last_word, open, started, view};
use crate::app::{App, LoadedFleet};
use crate::cli::rollout::StatusArgs;
use crate::commands::Done;
use crate::planning::kept;

pub(super) fn run(app: &App, args: &StatusArgs) -> anyhow::Result<Done> {
    let (fleet, store) = open(app, args.fleet.as_deref())?;
    let mut out = io::stdout().lock();
    let Some(named) = &args.plan else {
        return all(app, fleet.as_ref(), &store, args.json, &mut out);
    };
    let kept = kept::find(&store, named)?;
    let told = account(&store, &kept, app.now)?;
    let unattended = unattended(&told, &Place::of(app, fleet.as_ref(), &kept.id));
    if args.json {
        let row = Row {
            told: &told,
            unattended: unattended.is_some(),
            left_behind: None,
        };
        serde_json::to_writer_pretty(&mut out, &row).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        for line in view::head(&told) {
            writeln!(out, "{line}")?;
        }
        if let Some(line) = unattended {
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

/// A rollout as JSON, with what the text says beside its account.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    told: &'a Evidence,
    /// It has not ended, and nobody carries it out.
    unattended: bool,
    /// Hosts that it has out of service, or left so, and no later rollout has touched; only where all
    /// rollouts are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_behind: Option<Vec<&'a HostName>>,
}

/// That nobody is at work on a rollout that has not ended, and how to go on.
pub(super) fn unattended(told: &Evidence, place: &Place) -> Option<String> {
    let runs = told.ended_at.is_none() && told.state != RolloutState::NotStarted;
    let id = told.plan.short();
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
    let mut told_in_json = Vec::new();
    for told in &rows {
        // What a later rollout has touched since is its to tell.
        let behind = |host: &&HostEvidence| {
            host.is_out_of_service() && last.get(&host.host) == Some(&told.plan)
        };
        let behind: Vec<&HostEvidence> = told.hosts.iter().filter(behind).collect();
        let runs = told.ended_at.is_none();
        open |= runs || !behind.is_empty();
        let unattended = unattended(told, &Place::of(app, fleet, &told.plan)).is_some();
        if json {
            told_in_json.push(Row {
                told,
                unattended,
                left_behind: Some(behind.iter().map(|host| &host.host).collect()),
            });
            continue;
        }
        let mut line = format!(
            "{}  {:9}  {}/{} proven",
            told.plan.short(),
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
        if unattended {
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
        serde_json::to_writer_pretty(&mut *out, &told_in_json).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if rows.is_empty() {
        app.say("no plan was ever started; `mailkeep rollout start PLAN` does");
    }
    Ok(if open { Done::Findings } else { Done::Nothing })
}
