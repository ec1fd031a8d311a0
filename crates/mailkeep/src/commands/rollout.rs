//! `mailkeep rollout`.

mod clock;
mod connections;
mod exposure;
mod html;
mod intent;
mod place;
mod post;
mod report;
mod start;
mod status;
mod view;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mailkeep_model::{Act, Actor, HostName, HostState, PlanId, RecordedEvent, TeamName, Timestamp};
use mailkeep_rollout::evidence::{ApprovalEvidence, Beside, Evidence, RolloutState, evidence};
use mailkeep_store::{SqliteStore, Store, StoreError};

use super::Done;
use super::scan::local_name;
use crate::app::{App, LoadedFleet};
use crate::cli::rollout::{RolloutArgs, RolloutCommand, SshArgs};
use crate::planning::approval;
use crate::planning::kept::{self, Kept};
use crate::planning::whereabouts::{Told, last_told};

pub(super) use intent::{reason, team_is_declared};

/// Runs it.
pub fn run(app: &App, args: &RolloutArgs) -> anyhow::Result<Done> {
    match &args.command {
        RolloutCommand::Start(args) => start::run(app, args),
        RolloutCommand::Status(args) => status::run(app, args),
        RolloutCommand::Watch(args) => watch::run(app, args),
        RolloutCommand::Pause(args) => intent::pause(app, args),
        RolloutCommand::Resume(args) => intent::resume(app, args),
        RolloutCommand::Abort(args) => intent::abort(app, args),
        RolloutCommand::Report(args) => report::run(app, args),
    }
}

/// Who runs this command.
pub(super) fn actor(app: &App, team: Option<&TeamName>) -> Actor {
    let name = app
        .environment
        .login
        .clone()
        .or_else(|| app.environment.user.map(|id| format!("uid {id}")));
    Actor {
        name: mailkeep_model::text::printable_max(&name.unwrap_or_default(), 64),
        team: team.cloned(),
    }
}

/// Refuses `--at` where something is done to hosts or to a running rollout.
pub(super) fn only_now(app: &App) -> anyhow::Result<()> {
    if app.fixed_time {
        anyhow::bail!(
            "--at cannot be given here: this acts on hosts now, and by another time closed windows \
             would look open and the claim of a controller at work expired"
        );
    }
    Ok(())
}

/// This machine's name, as leases on hosts have it.
pub(super) fn machine() -> anyhow::Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    Ok(local_name()?
        .as_str()
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .take(60)
        .collect())
}

/// How `ssh` is called.
pub(super) fn ssh_options(args: &SshArgs) -> mailkeep_reach::hosts::SshOptions {
    let mut options = mailkeep_reach::hosts::SshOptions::default();
    if let Some(config) = &args.ssh_config {
        options.extra = vec!["-F".to_owned(), config.display().to_string()];
    }
    options
}

/// The events that a rollout is read from: its own, and those of hosts isolated by hand.
fn journal(store: &dyn Store, plan: &PlanId, after: u64) -> Result<Vec<RecordedEvent>, StoreError> {
    let mut events = store.events_of_plan(plan, after)?;
    events.extend(
        store
            .isolation_events()?
            .into_iter()
            .filter(|recorded| recorded.seq > after),
    );
    events.sort_by_key(|recorded| recorded.seq);
    Ok(events)
}

/// Accounts for a rollout as the store has it, without what only a report asks for.
fn account(store: &SqliteStore, kept: &Kept, now: Timestamp) -> anyhow::Result<Evidence> {
    account_with(store, kept, Beside::default(), now)
}

fn account_with(
    store: &SqliteStore,
    kept: &Kept,
    mut beside: Beside,
    now: Timestamp,
) -> anyhow::Result<Evidence> {
    if beside.approvals.is_empty() {
        beside.approvals = store
            .approvals_of(&kept.id)?
            .into_iter()
            .map(|approval| ApprovalEvidence {
                region: approval.region,
                team: approval.team,
                digest: approval.digest,
                at: approval.at,
                verified: None,
            })
            .collect();
    }
    let plan = Arc::new(kept.plan.clone());
    let journal = journal(store, &kept.id, 0)?;
    Ok(evidence(&kept.id, &plan, &journal, beside, now))
}

/// What a report asks for beside the journal: verified approvals, and since when hosts are exposed.
fn beside(store: &SqliteStore, fleet: Option<&LoadedFleet>, kept: &Kept) -> anyhow::Result<Beside> {
    let exposed_since: BTreeMap<HostName, Timestamp> = exposure::since(store, &kept.plan)?;
    let Some(fleet) = fleet else {
        return Ok(Beside {
            approvals: Vec::new(),
            exposed_since,
        });
    };
    let state = approval::state_of(store, fleet, kept)?;
    let verdict = |approval: &mailkeep_store::Approval| {
        let same = |region: &Option<_>, team: &TeamName| {
            *region == approval.region && *team == approval.team
        };
        if let Some(signed) = state
            .signed
            .iter()
            .find(|signed| same(&signed.region, &signed.team))
        {
            return Some(format!("signature good, key {}", signed.key));
        }
        state
            .invalid
            .iter()
            .find(|invalid| same(&invalid.region, &invalid.team))
            .map(|invalid| format!("DOES NOT COUNT: {}", invalid.why))
    };
    let approvals = store
        .approvals_of(&kept.id)?
        .into_iter()
        .map(|approval| ApprovalEvidence {
            verified: verdict(&approval),
            region: approval.region,
            team: approval.team,
            digest: approval.digest,
            at: approval.at,
        })
        .collect();
    Ok(Beside {
        approvals,
        exposed_since,
    })
}

/// Opens what every one of these commands reads: the fleet, where there is one, and the store.
fn open(app: &App, named: Option<&Path>) -> anyhow::Result<(Option<LoadedFleet>, SqliteStore)> {
    let fleet = app.fleet(named)?;
    let store = app.store(fleet.as_ref())?;
    Ok((fleet, store))
}

/// Hosts that other rollouts than this one have out of service, or left so.
fn left_out_by_others(
    store: &SqliteStore,
    plan: &PlanId,
    now: Timestamp,
) -> anyhow::Result<BTreeMap<HostName, HostState>> {
    out_of_service_but(store, Some(plan), now)
}

/// Hosts that a rollout has out of service now: of rollouts that have not ended, and those that were
/// left out by one that has and were not released since. With the state in which it has them.
pub(super) fn hosts_out_of_service(
    store: &SqliteStore,
    now: Timestamp,
) -> anyhow::Result<BTreeMap<HostName, HostState>> {
    out_of_service_but(store, None, now)
}

fn out_of_service_but(
    store: &SqliteStore,
    but: Option<&PlanId>,
    now: Timestamp,
) -> anyhow::Result<BTreeMap<HostName, HostState>> {
    let started = started(store, now)?;
    let last = last_word(&started);
    let mut out = BTreeMap::new();
    for told in started {
        for host in told.hosts {
            let speaks = last.get(&host.host) == Some(&told.plan);
            if speaks && host.is_out_of_service() && but != Some(&told.plan) {
                out.insert(host.host, host.state);
            }
        }
    }
    Ok(out)
}

/// Every rollout that was started, accounted for; that of the newest plan first.
fn started(store: &SqliteStore, now: Timestamp) -> anyhow::Result<Vec<Evidence>> {
    let mut all = Vec::new();
    for plan in store.plans()? {
        let Some(kept) = kept::by_id(store, &plan.id)? else {
            continue;
        };
        let told = account(store, &kept, now)?;
        if told.state != RolloutState::NotStarted {
            all.push(told);
        }
    }
    Ok(all)
}

/// Of each host the rollout that knows where it is.
fn last_word(rollouts: &[Evidence]) -> BTreeMap<HostName, PlanId> {
    let told = rollouts.iter().flat_map(|rollout| {
        rollout.hosts.iter().filter_map(|host| {
            let times = host
                .acts
                .iter()
                .map(|done| done.ended.unwrap_or(done.begun));
            Some(Told {
                host: &host.host,
                plan: &rollout.plan,
                drained: host.acts.iter().any(|done| done.act == Act::Drain),
                state: host.state,
                at: times.max()?,
            })
        })
    });
    last_told(told)
        .into_values()
        .map(|told| (told.host.clone(), told.plan.clone()))
        .collect()
}
