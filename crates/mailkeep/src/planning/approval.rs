//! Who has agreed to a plan, and who still must.
//!
//! An approval is an SSH signature in the namespace [`NAMESPACE`] over a small text ([`text_to_sign`])
//! that names the realm, the plan's id, the part and that part's digest. The id is the digest of the
//! whole plan, so that nothing in it can change under an approval; the realm stands in the text itself,
//! so that what was signed in a drill is worth nothing elsewhere.
//!
//! The rules, decided by [`approval_state`] alone:
//!
//! 1. The global team approves the whole.
//! 2. Each region with a step is approved by the team that owns it, or by the global team for it. Where
//!    the owner is the global team, or there is none, rule 1 is enough.
//! 3. A plan that differs from an approved ancestor in nothing but the times of some regions' waves, each
//!    region in a child plan of its own and no host farther from the approved time than the policy lets
//!    a region move it by itself, needs the approval of those regions only.
//! 4. An override by the global team ([`Plan::overriding`]) needs a reason, and rule 1 only.
//!
//! **Invariant:** a signature counts only after `ssh-keygen` verified it against the text made here from
//! the plan itself; the store's word is never enough.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use mailkeep_model::{Plan, PlanId, Realm, RegionName, TeamName, Timestamp, text::printable_max};
use mailkeep_plan::{is_only_shift_of, part_digest};
use mailkeep_reach::sign::{SignError, verify};
use mailkeep_store::{Approval, Store};

use super::kept::{self, Kept};
use crate::app::LoadedFleet;

/// What a signature is for: one for a plan can never serve as another kind, or another kind as one.
pub const NAMESPACE: &str = "mailkeep-plan";

/// What a team signs: this text, byte for byte.
pub fn text_to_sign(
    realm: Realm,
    plan: &PlanId,
    region: Option<&RegionName>,
    digest: &str,
) -> String {
    let part = match region {
        // Names have no white space and no control characters, so that a line cannot be forged.
        Some(region) => format!("region {region}"),
        None => "whole".to_owned(),
    };
    let realm = realm.name();
    format!(
        "mailkeep plan approval 1\nrealm: {realm}\nplan: {plan}\npart: {part}\ndigest: {digest}\n"
    )
}

/// The digest of a part of a plan; of the whole it is the plan's id.
pub fn digest_of(plan: &Plan, id: &PlanId, region: Option<&RegionName>) -> String {
    match region {
        Some(region) => format!("sha256:{}", part_digest(plan, region)),
        None => id.to_string(),
    }
}

/// A signature that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Whose part; `None` is the whole.
    pub region: Option<RegionName>,
    /// Who signed.
    pub team: TeamName,
    /// With which key, as `ssh-keygen` names it.
    pub key: String,
    /// When it was recorded.
    pub at: Timestamp,
}

/// A signature that does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Whose part it was to be for.
    pub region: Option<RegionName>,
    /// Who was to have signed.
    pub team: TeamName,
    /// Why it does not count, in one printable line.
    pub why: String,
}

/// A plan and what was signed of it.
#[derive(Debug, Clone)]
pub struct SignedPlan {
    /// Its id.
    pub id: PlanId,
    /// The plan.
    pub plan: Plan,
    /// Signatures that were verified.
    pub signed: Vec<Signed>,
    /// Those that do not count.
    pub invalid: Vec<Invalid>,
}

/// An approval that is missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// Whose part; `None` is the whole.
    pub region: Option<RegionName>,
    /// Any of these would do; empty where nobody could: no team answers.
    pub teams: Vec<TeamName>,
}

/// How far a plan is approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalState {
    /// What is missing; empty where the plan may run. The whole comes first, then regions by name.
    pub missing: Vec<Missing>,
    /// Signatures that do not count.
    pub invalid: Vec<Invalid>,
    /// Signatures that were verified, whether or not they are needed.
    pub signed: Vec<Signed>,
    /// The parent whose approvals count here too, since this plan only moves one region's waves.
    pub inherited_from: Option<PlanId>,
}

impl ApprovalState {
    /// Whether the plan may run, as far as people are concerned.
    pub fn is_approved(&self) -> bool {
        self.missing.is_empty()
    }

    /// What is missing, in one line for a person.
    pub fn missing_in_words(&self) -> String {
        let words: Vec<String> = self
            .missing
            .iter()
            .map(|missing| {
                let part = match &missing.region {
                    Some(region) => format!("region {region}"),
                    None => "the whole".to_owned(),
                };
                let teams: Vec<&str> = missing.teams.iter().map(TeamName::as_str).collect();
                if teams.is_empty() {
                    format!("{part}, for which no team answers")
                } else {
                    format!("{part} by {}", teams.join(" or "))
                }
            })
            .collect();
        words.join("; ")
    }
}

/// How far a plan is approved, given signatures that were verified. `ancestors` are its parent, that
/// one's parent, and so on, as far as they are known.
pub fn approval_state(
    plan: &SignedPlan,
    ancestors: &[SignedPlan],
    global_team: Option<&TeamName>,
) -> ApprovalState {
    let mut state = ApprovalState {
        missing: missing_of(plan, global_team),
        invalid: plan.invalid.clone(),
        signed: plan.signed.clone(),
        inherited_from: None,
    };
    if state.missing.is_empty() {
        return state;
    }
    let approved = |ancestor: &SignedPlan| missing_of(ancestor, global_team).is_empty();
    let Some(base) = ancestors.iter().position(approved) else {
        return state;
    };
    let lineage: Vec<&SignedPlan> = std::iter::once(plan)
        .chain(ancestors.iter().take(base + 1))
        .collect();
    if let (Some(moved), Some(base)) = (moved_regions(&lineage), lineage.last()) {
        state.missing = moved
            .into_iter()
            .filter(|region| !agreed_since(&lineage, region, global_team))
            .map(|region| missing_region(plan, region, global_team))
            .collect();
        state.inherited_from = Some(base.id.clone());
    }
    state
}

/// The regions whose waves were moved from the last plan of a lineage to its first, if that is all that
/// was done, one region at a time, and none farther than a region may.
fn moved_regions(lineage: &[&SignedPlan]) -> Option<BTreeSet<RegionName>> {
    let mut moved = BTreeSet::new();
    for pair in lineage.windows(2) {
        let [child, parent] = pair else { return None };
        if child.plan.parent.as_ref() != Some(&parent.id) {
            return None;
        }
        moved.insert(is_only_shift_of(&child.plan, &parent.plan)?);
    }
    let (first, base) = (lineage.first()?, lineage.last()?);
    let allowed = i64::from(base.plan.policy.shift_minutes) * 60;
    // Each step of the way was short enough; all of them together must be, too.
    let near = first.plan.steps.iter().all(|step| {
        base.plan.step_of(&step.host).is_some_and(|before| {
            let way = step.start.as_second().abs_diff(before.start.as_second());
            i64::try_from(way).is_ok_and(|way| way <= allowed)
        })
    });
    near.then_some(moved)
}

/// Whether a region's team has agreed to the times that the first plan of a lineage has, there or in a
/// plan between it and the last.
fn agreed_since(
    lineage: &[&SignedPlan],
    region: &RegionName,
    global_team: Option<&TeamName>,
) -> bool {
    let Some((first, rest)) = lineage.split_first() else {
        return false;
    };
    let part = part_digest(&first.plan, region);
    let between = rest.split_last().map_or(&[][..], |(_, between)| between);
    std::iter::once(first)
        .chain(between)
        .filter(|plan| part_digest(&plan.plan, region) == part)
        .any(|plan| speaks_for(plan, region, global_team))
}

/// What rules 1, 2 and 4 ask for and nobody has signed.
fn missing_of(plan: &SignedPlan, global_team: Option<&TeamName>) -> Vec<Missing> {
    let mut missing = Vec::new();
    let whole = global_team.is_none_or(|team| has_signed(plan, None, team));
    if let Some(team) = global_team.filter(|_| !whole) {
        missing.push(Missing {
            region: None,
            teams: vec![team.clone()],
        });
    }
    if overridden_by_global(&plan.plan, global_team) {
        return missing;
    }
    let regions: BTreeSet<&RegionName> = plan.plan.steps.iter().map(|s| &s.region).collect();
    for region in regions {
        if !speaks_for(plan, region, global_team) {
            missing.push(missing_region(plan, region.clone(), global_team));
        }
    }
    // One word of the global team settles the whole and the regions it answers for.
    if let Some(team) = global_team.filter(|_| !whole) {
        missing.retain(|m| m.region.is_none() || m.teams.as_slice() != [team.clone()]);
    }
    missing
}

/// Whether somebody who may has agreed to a region's part.
fn speaks_for(plan: &SignedPlan, region: &RegionName, global_team: Option<&TeamName>) -> bool {
    let owner = plan
        .plan
        .regions
        .get(region)
        .and_then(|region| region.owner.as_ref());
    let teams = [owner, global_team];
    if teams
        .into_iter()
        .flatten()
        .any(|team| has_signed(plan, Some(region), team))
    {
        return true;
    }
    match (owner, global_team) {
        (None, Some(global)) => has_signed(plan, None, global),
        (Some(owner), Some(global)) if owner == global => has_signed(plan, None, global),
        _ => false,
    }
}

fn missing_region(
    plan: &SignedPlan,
    region: RegionName,
    global_team: Option<&TeamName>,
) -> Missing {
    let owner = plan
        .plan
        .regions
        .get(&region)
        .and_then(|region| region.owner.clone());
    let mut teams: Vec<TeamName> = owner.into_iter().collect();
    teams.extend(global_team.filter(|team| !teams.contains(team)).cloned());
    Missing {
        region: Some(region),
        teams,
    }
}

fn has_signed(plan: &SignedPlan, region: Option<&RegionName>, team: &TeamName) -> bool {
    plan.signed
        .iter()
        .any(|signed| signed.team == *team && signed.region.as_ref() == region)
}

fn overridden_by_global(plan: &Plan, global_team: Option<&TeamName>) -> bool {
    plan.overriding.as_ref().is_some_and(|overriding| {
        Some(&overriding.by) == global_team && !overriding.reason.trim().is_empty()
    })
}

/// Whether a team may approve a part at all; else why not.
pub fn may_approve(
    plan: &Plan,
    region: Option<&RegionName>,
    team: &TeamName,
    global_team: Option<&TeamName>,
) -> Result<(), String> {
    if global_team == Some(team) {
        return match region {
            Some(region) if !plan.regions.contains_key(region) => {
                Err(format!("the plan has nothing in region {region}"))
            }
            _ => Ok(()),
        };
    }
    let Some(region) = region else {
        return Err(match global_team {
            Some(global) => format!("the whole is approved by {global}"),
            None => "no team is the global one; approve region by region".to_owned(),
        });
    };
    match plan.regions.get(region).map(|region| &region.owner) {
        None => Err(format!("the plan has nothing in region {region}")),
        Some(Some(owner)) if owner == team => Ok(()),
        Some(Some(owner)) => Err(format!("region {region} is {owner}'s, not {team}'s")),
        Some(None) => Err(format!("region {region} is no team's")),
    }
}

/// How far a kept plan is approved: reads and verifies its approvals and those of its ancestors.
pub fn state_of(
    store: &dyn Store,
    fleet: &LoadedFleet,
    plan: &Kept,
) -> anyhow::Result<ApprovalState> {
    let allowed = fleet.file.approvals.allowed_signers.as_deref();
    let allowed = allowed.map(|path| fleet.resolve(path));
    let verified = |kept: &Kept| -> anyhow::Result<SignedPlan> {
        verified(kept, store.approvals_of(&kept.id)?, allowed.as_deref())
    };
    let ancestors: Vec<SignedPlan> = kept::ancestors(store, &plan.plan)?
        .iter()
        .map(&verified)
        .collect::<Result<_, _>>()?;
    let global = fleet.file.fleet.global_team.as_ref();
    Ok(approval_state(&verified(plan)?, &ancestors, global))
}

/// Verifies what is kept of a plan's approvals.
pub fn verified(
    plan: &Kept,
    approvals: Vec<Approval>,
    allowed_signers: Option<&Path>,
) -> anyhow::Result<SignedPlan> {
    let mut signed = Vec::new();
    let mut invalid = Vec::new();
    for approval in approvals {
        let verdict = match allowed_signers {
            Some(allowed) => verify_one(plan, &approval, allowed)?,
            None => Err("the fleet file names no allowed_signers to verify it by".to_owned()),
        };
        match verdict {
            Ok(key) => signed.push(Signed {
                region: approval.region,
                team: approval.team,
                key,
                at: approval.at,
            }),
            Err(why) => invalid.push(Invalid {
                region: approval.region,
                team: approval.team,
                why,
            }),
        }
    }
    Ok(SignedPlan {
        id: plan.id.clone(),
        plan: plan.plan.clone(),
        signed,
        invalid,
    })
}

/// Verifies one approval: the key it was made with, or why it does not count. An error means that it
/// could not be verified at all.
pub fn verify_one(
    plan: &Kept,
    approval: &Approval,
    allowed_signers: &Path,
) -> anyhow::Result<Result<String, String>> {
    if approval.plan != plan.id {
        return Ok(Err("it is for another plan".to_owned()));
    }
    let region = approval.region.as_ref();
    let digest = digest_of(&plan.plan, &plan.id, region);
    if approval.digest != digest {
        return Ok(Err("it is for another content of this part".to_owned()));
    }
    let text = text_to_sign(plan.plan.realm, &plan.id, region, &digest);
    let verdict = verify(
        allowed_signers,
        approval.team.as_str(),
        NAMESPACE,
        &approval.signature,
        text.as_bytes(),
    );
    match verdict {
        Ok(key) => Ok(Ok(key)),
        Err(error @ SignError::NotValid { .. }) => Ok(Err(printable_max(&error.to_string(), 300))),
        Err(error) => Err(error).context("a signature cannot be verified"),
    }
}

#[cfg(test)]
mod tests;
