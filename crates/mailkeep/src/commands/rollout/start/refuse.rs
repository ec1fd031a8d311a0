//! Why a plan is not begun, or not gone on with: each reason a typed fact with a stable name.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use anyhow::Context as _;
use mailkeep_model::{
    EventKind, HostName, Lifecycle, Plan, PlanStep, Realm, RecipeRef, RecordedEvent, RegionName,
    ServiceName, Timestamp, text,
};
use mailkeep_rollout::Recipe;
use mailkeep_rollout::evidence::{Evidence, RolloutState};
use mailkeep_store::{SqliteStore, Store as _};

use super::super::account;
use super::super::place::Place;
use super::super::post::chain;
use crate::app::LoadedFleet;
use crate::planning::kept::{self, Kept};
use crate::planning::{approval, drift};

/// Changed facts that are told one by one.
const MOST_TOLD: usize = 20;

/// A reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Refusal {
    /// Its stable name: `approvals-unreadable`, `facts-changed`, `hosts-elsewhere`, `not-approved`,
    /// `other-realm`, `plan-not-kept`, `recipe-changed`, `replaced`, `services-elsewhere`.
    pub(super) kind: &'static str,
    /// In words.
    pub(super) detail: String,
}

impl Refusal {
    /// Whether it says only that nobody can tell today: no word against the plan.
    pub(super) fn is_of_today(&self) -> bool {
        self.kind == UNREADABLE
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)
    }
}

const UNREADABLE: &str = "approvals-unreadable";

/// Every reason not to begin a plan, or to begin nothing more of one that was begun.
pub(super) fn refusals(
    store: &SqliteStore,
    fleet: &LoadedFleet,
    kept: &Kept,
    told: &Evidence,
) -> anyhow::Result<Vec<Refusal>> {
    let mut found = Vec::new();
    let mut refuse = |kind, detail: String| found.push(Refusal { kind, detail });
    if kept.plan.realm != Realm::Live {
        refuse(
            "other-realm",
            format!(
                "the plan is of the realm {}, the servers are live; `mailkeep rehearse` is for drills",
                kept.plan.realm.name()
            ),
        );
    }
    if store.plan(&kept.id)?.is_none() {
        refuse(
            "plan-not-kept",
            "it was never kept in this state, so nobody here can have approved it".to_owned(),
        );
        return Ok(found);
    }
    let has_begun = told.state != RolloutState::NotStarted;
    if let Some(Refusal { kind, detail }) = approval(store, fleet, kept) {
        refuse(kind, detail);
    }
    // What is begun is checked host by host, by looking at the host.
    if !has_begun {
        for detail in changed(store, fleet, kept)? {
            refuse("facts-changed", detail);
        }
        others(store, fleet, kept, told, &mut refuse)?;
    }
    Ok(found)
}

/// What approval lacks by now, or why nobody can tell.
pub(in super::super) fn approval(
    store: &SqliteStore,
    fleet: &LoadedFleet,
    kept: &Kept,
) -> Option<Refusal> {
    let signers = fleet.file.approvals.allowed_signers.as_deref();
    // To `ssh-keygen` a file that cannot be read is one that names nobody.
    let readable = signers.map_or(Ok(()), |path| {
        let path = fleet.resolve(path);
        let read = std::fs::read(&path).map(drop);
        read.with_context(|| format!("cannot read {}", path.display()))
    });
    let approved = match readable.and_then(|()| approval::state_of(store, fleet, kept)) {
        Ok(approved) => approved,
        Err(error) => {
            return Some(Refusal {
                kind: UNREADABLE,
                detail: format!("nobody can tell whether it is approved: {error:#}"),
            });
        }
    };
    for invalid in &approved.invalid {
        let part = invalid.region.as_ref().map_or_else(
            || "the whole".to_owned(),
            |region| format!("region {region}"),
        );
        crate::app::App::warn(&format!(
            "the approval of {part} by {} does not count: {}",
            invalid.team, invalid.why
        ));
    }
    (!approved.is_approved()).then(|| Refusal {
        kind: "not-approved",
        detail: format!(
            "approval is missing of {}; `mailkeep plan approve` gives it",
            approved.missing_in_words()
        ),
    })
}

/// Recipes, each with the files it was read from: their paths relative to the fleet file.
pub(super) type Loaded = Vec<(Recipe, Vec<(String, Vec<u8>)>)>;

/// The recipes that a plan names: as they were kept when it was begun, else as they lie beside the fleet
/// file. One that is not what was planned is a refusal; the others are there all the same.
pub(super) fn recipes(fleet: &LoadedFleet, kept: &Kept, place: &Place) -> (Loaded, Vec<Refusal>) {
    let wanted: BTreeSet<&RecipeRef> = kept
        .plan
        .variants
        .iter()
        .filter_map(|variant| variant.recipe.as_ref())
        .collect();
    let (mut recipes, mut refusals) = (Vec::new(), Vec::new());
    for reference in wanted {
        let load = |find: &dyn Fn(&str) -> PathBuf| {
            let mut files = Vec::new();
            let recipe = Recipe::load(&reference.path, |path| {
                let bytes = std::fs::read(find(path))?;
                files.push((path.to_owned(), bytes.clone()));
                Ok(bytes)
            });
            recipe.map(|recipe| (recipe, files))
        };
        let is_planned = |(recipe, _): &(Recipe, _)| recipe.reference() == *reference;
        let kept_then = load(&|path| place.recipe(path)).ok().filter(is_planned);
        let found = match kept_then {
            Some(found) => Ok(found),
            None => load(&|path| fleet.resolve(path)),
        };
        let detail = match found {
            Ok(found) if is_planned(&found) => {
                recipes.push(found);
                continue;
            }
            Ok(_) => format!(
                "the recipe {} is not what it was when the plan was made; make the plan again",
                reference.path
            ),
            Err(error) => format!("the recipe {}: {}", reference.path, chain(&error)),
        };
        refusals.push(Refusal {
            kind: "recipe-changed",
            detail: text::printable(&detail).into_owned(),
        });
    }
    (recipes, refusals)
}

/// Other plans that have the same hosts, or that replace this one.
fn others(
    store: &SqliteStore,
    fleet: &LoadedFleet,
    kept: &Kept,
    told: &Evidence,
    refuse: &mut dyn FnMut(&'static str, String),
) -> anyhow::Result<()> {
    let ours: BTreeSet<&HostName> = kept.plan.steps.iter().map(|step| &step.host).collect();
    for other in store.plans()? {
        if other.id == kept.id {
            continue;
        }
        let is_start = |e: &RecordedEvent| matches!(e.event.kind, EventKind::RolloutStarted { .. });
        let has_begun = store.events_of_plan(&other.id, 0)?.iter().any(is_start);
        // Most plans that were never begun nobody has signed: they need not be read.
        if !has_begun && store.approvals_of(&other.id)?.is_empty() {
            continue;
        }
        let Some(other) = kept::by_id(store, &other.id)? else {
            continue;
        };
        if !has_begun {
            match approval::state_of(store, fleet, &other) {
                Ok(state) if state.is_approved() => {}
                Ok(_) => continue,
                Err(error) => {
                    let id = other.id.short();
                    let detail =
                        format!("nobody can tell whether plan {id} is approved: {error:#}");
                    refuse(UNREADABLE, detail);
                    continue;
                }
            }
        }
        let mut ancestors = kept::ancestors(store, &other.plan)?.into_iter();
        let replaces_it = ancestors.any(|ancestor| ancestor.id == kept.id);
        if replaces_it {
            let how = if has_begun {
                "was begun"
            } else {
                "is approved"
            };
            refuse(
                "replaced",
                format!("plan {} replaces it and {how}", other.id.short()),
            );
        }
        if !has_begun {
            if !replaces_it {
                warn_of_rival(&other, &ours, told.as_of);
            }
            continue;
        }
        let state = account(store, &other, told.as_of)?;
        if state.ended_at.is_some() {
            continue;
        }
        let shared: Vec<&str> = state
            .hosts
            .iter()
            .filter(|host| !host.state.is_end() && ours.contains(&host.host))
            .map(|host| host.host.as_str())
            .take(5)
            .collect();
        if !shared.is_empty() {
            refuse(
                "hosts-elsewhere",
                format!(
                    "plan {} has not ended and has the same hosts: {}",
                    other.id.short(),
                    shared.join(", ")
                ),
            );
        }
        let to_come = state
            .hosts
            .iter()
            .filter(|host| !host.state.is_end())
            .filter_map(|host| other.plan.step_of(&host.host));
        let services = services_in_common(&kept.plan, &other.plan, to_come);
        if !services.is_empty() {
            refuse(
                "services-elsewhere",
                format!(
                    "plan {} has not ended and still takes servers out of {}; two rollouts cannot see \
                     to one minimum, so start this one when that one has ended, or abort it first",
                    other.id.short(),
                    services.into_iter().collect::<Vec<_>>().join(", ")
                ),
            );
        }
    }
    Ok(())
}

/// Says that teams have agreed to another plan for the same hosts, whose time is still to come: whichever
/// is begun first has them.
fn warn_of_rival(other: &Kept, ours: &BTreeSet<&HostName>, now: Timestamp) {
    let to_come = other.plan.steps.iter().filter(|step| now < step.end);
    let shared: Vec<&str> = to_come
        .filter(|step| ours.contains(&step.host))
        .map(|step| step.host.as_str())
        .take(5)
        .collect();
    if !shared.is_empty() {
        crate::app::App::warn(&format!(
            "plan {} is approved too, was not begun, and has the same hosts: {}",
            other.id.short(),
            shared.join(", ")
        ));
    }
}

/// Services of which both a plan and steps of another one take servers out: in one region, or in any
/// where a minimum is kept over all regions.
fn services_in_common<'p>(
    ours: &Plan,
    other: &Plan,
    to_come: impl Iterator<Item = &'p PlanStep>,
) -> BTreeSet<String> {
    let ours_at: BTreeSet<(&ServiceName, &RegionName)> = ours
        .steps
        .iter()
        .flat_map(|step| step.services.iter().map(|service| (service, &step.region)))
        .collect();
    let is_total = |service: &ServiceName| {
        [ours, other].iter().any(|plan| {
            let planned = plan.services.get(service);
            planned.is_some_and(|planned| planned.minimum_total.is_some())
        })
    };
    let mut found = BTreeSet::new();
    for step in to_come {
        for service in &step.services {
            if ours_at.contains(&(service, &step.region)) {
                found.insert(format!("{service} in {}", step.region));
            } else if ours_at.iter().any(|at| at.0 == service) && is_total(service) {
                found.insert(service.to_string());
            }
        }
    }
    found
}

/// What is not as it was when the plan was made, by the newest facts.
fn changed(store: &SqliteStore, fleet: &LoadedFleet, kept: &Kept) -> anyhow::Result<Vec<String>> {
    let mut told = Vec::new();
    let mut more = 0;
    let mut tell = |words: String| {
        if told.len() < MOST_TOLD {
            told.push(text::printable(&words).into_owned());
        } else {
            more += 1;
        }
    };
    let (owners, rules) = (drift::owners_changed, drift::rules_changed);
    let fleet_now = &fleet.file.fleet;
    for words in owners(&kept.plan, fleet_now)
        .into_iter()
        .chain(rules(&kept.plan, fleet_now))
    {
        tell(format!("{words}; make the plan again"));
    }
    for step in &kept.plan.steps {
        let host = &step.host;
        match fleet.file.fleet.hosts.get(host) {
            None => {
                tell(format!("{host} is no longer in {}", fleet.path.display()));
                continue;
            }
            Some(declared) if declared.lifecycle != Lifecycle::Running => {
                tell(format!("{host} is out of use by now"));
                continue;
            }
            Some(_) => {}
        }
        let Some(facts) = store.scan_of(host)?.facts else {
            // The plan was made from a file of facts, say; the look before the start decides.
            continue;
        };
        let changes = kept.plan.variants.get(step.variant as usize);
        for change in changes.map(|v| v.packages.as_slice()).unwrap_or_default() {
            let mut installed: Vec<&str> = facts
                .packages
                .iter()
                .filter(|package| *package.name == *change.name)
                .map(|package| &*package.version)
                .collect();
            installed.dedup();
            let as_planned = installed
                .iter()
                .any(|version| *version == change.from || *version == change.to);
            if !as_planned {
                let found = if installed.is_empty() {
                    "is not installed".to_owned()
                } else {
                    format!("is {}", installed.join(", "))
                };
                tell(format!(
                    "{host}: {} {found}, the plan was made for {}; make it again",
                    change.name, change.from
                ));
            }
        }
    }
    if more > 0 {
        told.push(format!("and {more} more changes"));
    }
    Ok(told)
}
