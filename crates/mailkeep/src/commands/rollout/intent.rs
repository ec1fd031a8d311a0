//! `mailkeep rollout pause`, `resume`, `abort`: intents, written into the log for whoever carries the
//! plan out.

use anyhow::bail;
use mailkeep_model::{Actor, Event, EventKind, PlanId, TeamName, text};
use mailkeep_rollout::evidence::RolloutState;
use mailkeep_store::Store as _;

use super::place::Place;
use super::start::refuse::approval;
use super::{account, actor, only_now, open};
use crate::app::{App, LoadedFleet};
use crate::cli::rollout::{IntentArgs, ResumeArgs};
use crate::commands::Done;
use crate::planning::kept;

/// Characters of a reason that are kept.
pub(super) const MAX_REASON: usize = 500;

pub(super) fn pause(app: &App, args: &IntentArgs) -> anyhow::Result<Done> {
    with_reason(app, args, "pause", |plan, by, reason| {
        EventKind::RolloutPaused { plan, by, reason }
    })
}

pub(super) fn resume(app: &App, args: &ResumeArgs) -> anyhow::Result<Done> {
    let (fleet, team) = (args.fleet.as_deref(), args.team.as_ref());
    file(app, &args.plan, fleet, team, |plan, by, state| {
        if state == RolloutState::Paused {
            Ok(EventKind::RolloutResumed { plan, by })
        } else {
            Err("there is nothing to resume".to_owned())
        }
    })
}

pub(super) fn abort(app: &App, args: &IntentArgs) -> anyhow::Result<Done> {
    with_reason(app, args, "abort", |plan, by, reason| {
        EventKind::RolloutAborted { plan, by, reason }
    })
}

/// Files an intent that stops a rollout which may still begin something.
fn with_reason(
    app: &App,
    args: &IntentArgs,
    what: &str,
    intent: impl FnOnce(PlanId, Actor, String) -> EventKind,
) -> anyhow::Result<Done> {
    let reason = reason(&args.reason)?;
    let (fleet, team) = (args.fleet.as_deref(), args.team.as_ref());
    file(
        app,
        &args.plan,
        fleet,
        team,
        |plan, by, state| match state {
            RolloutState::Running | RolloutState::Paused => Ok(intent(plan, by, reason)),
            RolloutState::NotStarted
            | RolloutState::Aborting
            | RolloutState::Proven
            | RolloutState::Partly
            | RolloutState::Aborted => Err(format!("there is nothing to {what}")),
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
    intent: impl FnOnce(PlanId, Actor, RolloutState) -> Result<EventKind, String>,
) -> anyhow::Result<Done> {
    only_now(app)?;
    let (fleet, mut store) = open(app, fleet)?;
    team_is_declared(fleet.as_ref(), team)?;
    let kept = kept::find(&store, named)?;
    let state = account(&store, &kept, app.now)?.state;
    match intent(kept.id.clone(), actor(app, team), state) {
        Ok(kind) => {
            // To resume lets hosts begin, as a start does: the pause may be there because nobody could
            // read the approvals.
            if let EventKind::RolloutResumed { .. } = kind {
                let Some(fleet) = &fleet else {
                    bail!(
                        "there is no fleet file, and without it nobody can tell whether the plan is \
                         approved; name it with --fleet"
                    );
                };
                if let Some(refusal) = approval(&store, fleet, &kept) {
                    App::warn(&format!("refused: {refusal}"));
                    return Ok(Done::Findings);
                }
            }
            let at = app.now;
            let realm = kept.plan.realm;
            store.append_event(&Event { at, realm, kind })?;
            let id = kept.id.short();
            if Place::of(app, fleet.as_ref(), &kept.id).is_attended() {
                app.say(&format!(
                    "recorded; whoever carries plan {id} out sees it within a second or two"
                ));
            } else {
                App::warn(&format!(
                    "recorded, but nobody carries plan {id} out now: hosts stay as they are until \
                     `mailkeep rollout start {id}` goes on"
                ));
            }
            Ok(Done::Nothing)
        }
        Err(why) => {
            App::warn(&format!(
                "the rollout of plan {} is {}: {why}",
                kept.id.short(),
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
