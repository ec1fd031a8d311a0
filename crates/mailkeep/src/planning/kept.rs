//! Plans in the store and in files, found by what a person types.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use mailkeep_model::{EventKind, Plan, PlanId, PlanningReport};
use mailkeep_plan::document::MAX_PLAN_BYTES;
use mailkeep_store::Store;

/// Ancestors looked at; a lineage longer than that is no lineage but a mistake.
const MAX_ANCESTORS: usize = 1_000;

/// A plan with its id.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its id: the digest of its canonical form.
    pub id: PlanId,
    /// The plan.
    pub plan: Plan,
}

/// A plan by its id or the beginning of one, else from a file of that name.
pub fn find(store: &dyn Store, named: &str) -> anyhow::Result<Kept> {
    if looks_like_an_id(named) {
        let found = store.plans_with_prefix(&named.to_ascii_lowercase(), 2)?;
        match found.as_slice() {
            [id] => return by_id(store, id)?.context("the plan went away"),
            [_, _, ..] => bail!("several plans begin with {named}; give more of the id"),
            [] => {}
        }
    }
    let path = Path::new(named);
    if path.exists() {
        return read(path);
    }
    if looks_like_an_id(named) {
        bail!("no plan {named} is kept here; `mailkeep plan list` shows those that are");
    }
    bail!("there is no file {named}, and it is no id of a plan");
}

fn looks_like_an_id(named: &str) -> bool {
    let digits = named.strip_prefix("sha256:").unwrap_or(named);
    (4..=64).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A plan from a file.
pub fn read(path: &Path) -> anyhow::Result<Kept> {
    let file = || format!("cannot read the plan {}", path.display());
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_PLAN_BYTES).unwrap_or(u64::MAX);
    File::open(path)
        .with_context(file)?
        // One more than allowed, so that it is told.
        .take(limit.saturating_add(2))
        .read_to_end(&mut bytes)
        .with_context(file)?;
    let (id, plan) = mailkeep_plan::read(&bytes).with_context(file)?;
    Ok(Kept { id, plan })
}

/// A kept plan.
pub fn by_id(store: &dyn Store, id: &PlanId) -> anyhow::Result<Option<Kept>> {
    let Some(bytes) = store.plan(id)? else {
        return Ok(None);
    };
    let (found, plan) =
        mailkeep_plan::read(&bytes).with_context(|| format!("the plan {id} is damaged"))?;
    anyhow::ensure!(
        found == *id,
        "the plan {id} is damaged: its content is {found}"
    );
    Ok(Some(Kept { id: found, plan }))
}

/// What the planner reported beside a plan, where it was kept. A plan that a region shifted has none, nor
/// has one from a file.
pub fn report(store: &dyn Store, id: &PlanId) -> anyhow::Result<Option<PlanningReport>> {
    let mut events = store.events_of_plan(id, 0)?.into_iter();
    Ok(events.find_map(|recorded| match recorded.event.kind {
        EventKind::PlanReported { report, .. } => Some(*report),
        _ => None,
    }))
}

/// The plans that a plan replaces, nearest first, as far as they are kept.
pub fn ancestors(store: &dyn Store, plan: &Plan) -> anyhow::Result<Vec<Kept>> {
    let mut found: Vec<Kept> = Vec::new();
    let mut next = plan.parent.clone();
    while let Some(id) = next.take() {
        if found.len() >= MAX_ANCESTORS {
            bail!("the plan has more than {MAX_ANCESTORS} ancestors");
        }
        let Some(kept) = by_id(store, &id)? else {
            break;
        };
        next.clone_from(&kept.plan.parent);
        found.push(kept);
    }
    Ok(found)
}

/// The id of the first plan of a lineage, as far as it is kept.
pub fn root(id: &PlanId, ancestors: &[Kept]) -> PlanId {
    ancestors.last().map_or(id, |first| &first.id).clone()
}
