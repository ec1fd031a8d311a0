//! `mailkeep rollout pause`, `resume`, `abort`: intents, written into the log for whoever carries the
//! plan out.

use anyhow::bail;
use mailkeep_model::{Event, EventKind, PlanId, TeamName, text};
use mailkeep_rollout::evidence::RolloutState;
use mailkeep_store::Store as _;

use super::{account, actor, only_now, open};
use crate::app::{App, LoadedFleet};
use crate::cli::rollout::{IntentArgs, ResumeArgs};
use crate::commands::Done;
use crate::planning::kept::{self, short};

/// Characters of a reason that are kept.
const MAX_REASON: usize = 500;

pub(super) fn pause(app: &App, args: &IntentArgs) -> anyhow::Result<Done> {
    let reason = reason(&args.reason)?;
    file(
        app,
        &args.plan,
        args.fleet.as_deref(),
        args.team.as_ref(),
        |plan, by, state| match state {
            RolloutState::Running | RolloutState::Paused => {
                Ok(EventKind::RolloutPaused { plan, by, reason })
            }
            RolloutState::NotStarted
            | RolloutState::Aborting
            | RolloutState::Proven
            | RolloutState::Partly
            | RolloutState::Aborted => Err("there is nothing to pause"),
        },
    )
}

pub(super) fn resume(app: &App, args: &ResumeArgs) -> anyhow::Result<Done> {
    file(
        app,
        &args.plan,
        args.fleet.as_deref(),
        args.team.as_ref(),
        |plan, by, state| match state {
            RolloutState::Paused => Ok(EventKind::RolloutResumed { plan, by }),
            RolloutState::Running
            | RolloutState::NotStarted
            | RolloutState::Aborting
            | RolloutState::Proven
            | RolloutState::Partly
            | RolloutState::Aborted => Err("there is nothing to resume"),
        },
    )
}

pub(super) fn abort(app: &App, args: &IntentArgs) -> anyhow::Result<Done> {
    let reason = reason(&args.reason)?;
    file(
        app,
        &args.plan,
        args.fleet.as_deref(),
        args.team.as_ref(),
        |plan, by, state| match state {
            RolloutState::Running | RolloutState::Paused => {
                Ok(EventKind::RolloutAborted { plan, by, reason })
            }
            RolloutState::NotStarted
            | RolloutState::Aborting
            | RolloutState::Proven
            | RolloutState::Partly
            | RolloutState::Aborted => Err("there is nothing to abort"),
        },
    )
}

/// A reason as it is kept: printable, and there.
pub(crate) fn reason(given: &str) -> anyhow::Result<String> {
    let reason = text::printable_max(given.trim(), MAX_REASON);
    if reason.is_empty() {
        bail!("a reason must be given: it is what others will read");
    }
    Ok(reason)
}

fn file(
    app: &App,
    named: &str,
    fleet: Option<&std::path::Path>,
    team: Option<&TeamName>,
    intent: impl FnOnce(PlanId, mailkeep_model::Actor, RolloutState) -> Result<EventKind, &'static str>,
) -> anyhow::Result<Done> {
    only_now(app)?;
    let (fleet, mut store) = open(app, fleet)?;
    team_is_declared(fleet.as_ref(), team)?;
    let kept = kept::find(&store, named)?;
    let state = account(&store, &kept, app.now)?.state;
    match intent(kept.id.clone(), actor(app, team), state) {
        Ok(kind) => {
            let at = app.now;
            let realm = kept.plan.realm;
            store.append_event(&Event { at, realm, kind })?;
            app.say(&format!(
                "recorded; whoever carries plan {} out sees it within a second or two",
                short(&kept.id)
            ));
            Ok(Done::Nothing)
        }
        Err(why) => {
            App::warn(&format!(
                "the rollout of plan {} is {}: {why}",
                short(&kept.id),
                state.name()
            ));
            Ok(Done::Findings)
        }
    }
}

/// That a team somebody says he acts for is one of the fleet's.
pub(crate) fn team_is_declared(
    fleet: Option<&LoadedFleet>,
    team: Option<&TeamName>,
) -> anyhow::Result<()> {
    if let (Some(fleet), Some(team)) = (fleet, team)
        && !fleet.file.fleet.teams.contains_key(team)
    {
        bail!("there is no team {team} in {}", fleet.path.display());
    }
    Ok(())
}
