//! `mailkeep rollout status`.

use std::io::{self, Write as _};

use mailkeep_rollout::evidence::RolloutState;
use mailkeep_store::Store as _;

use super::{account, open, view};
use crate::app::App;
use crate::cli::rollout::StatusArgs;
use crate::commands::Done;
use crate::planning::kept::{self, short};

pub(super) fn run(app: &App, args: &StatusArgs) -> anyhow::Result<Done> {
    let (_fleet, store) = open(app, args.fleet.as_deref())?;
    let mut out = io::stdout().lock();
    let Some(named) = &args.plan else {
        return all(app, &store, args.json, &mut out);
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

/// 1 where something is left to do or to look at.
pub(super) fn done(state: RolloutState) -> Done {
    if state == RolloutState::Proven {
        Done::Nothing
    } else {
        Done::Findings
    }
}

/// One line for each plan that was ever started.
fn all(
    app: &App,
    store: &mailkeep_store::SqliteStore,
    json: bool,
    out: &mut impl io::Write,
) -> anyhow::Result<Done> {
    let mut rows = Vec::new();
    for plan in store.plans()? {
        let Some(kept) = kept::by_id(store, &plan.id)? else {
            continue;
        };
        let told = account(store, &kept, app.now)?;
        if told.state != RolloutState::NotStarted {
            rows.push(told);
        }
    }
    if json {
        serde_json::to_writer_pretty(&mut *out, &rows).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if rows.is_empty() {
        app.say("no plan was ever started; `mailkeep rollout start PLAN` does");
    } else {
        for told in &rows {
            let proven = told.count(mailkeep_model::HostState::Proven);
            writeln!(
                out,
                "{}  {:9}  {proven}/{} proven  {}  {}",
                short(&told.plan),
                told.state.name(),
                told.hosts.len(),
                view::moment(told.started_at),
                mailkeep_model::text::printable(&told.title)
            )?;
        }
    }
    let open = |told: &mailkeep_rollout::evidence::Evidence| {
        matches!(
            told.state,
            RolloutState::Running | RolloutState::Paused | RolloutState::Aborting
        )
    };
    Ok(if rows.iter().any(open) {
        Done::Findings
    } else {
        Done::Nothing
    })
}
