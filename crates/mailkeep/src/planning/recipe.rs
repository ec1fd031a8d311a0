//! Recipes in plans: which one a family has, pinned by what it is now, and the packages it brings.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use anyhow::Context as _;
use mailkeep_matcher::version;
use mailkeep_model::{Candidate, Finding, HostFacts, HostName, Seen, Status};
use mailkeep_rollout::Recipe;

use crate::app::LoadedFleet;

/// Recipes by product family.
#[derive(Debug, Default)]
pub struct Recipes(BTreeMap<String, Recipe>);

impl Recipes {
    /// Loads every recipe that the fleet file names. One that cannot be read is an error: a plan without
    /// it would be another plan.
    pub fn load(fleet: &LoadedFleet) -> anyhow::Result<Self> {
        let mut recipes = BTreeMap::new();
        for (family, settings) in &fleet.file.fleet.families {
            let Some(path) = &settings.recipe else {
                continue;
            };
            let recipe = Recipe::load(path, |path| std::fs::read(fleet.resolve(path)))
                .with_context(|| format!("the recipe of family {family} cannot be used"))?;
            recipes.insert(family.clone(), recipe);
        }
        Ok(Self(recipes))
    }

    /// The recipe of a family.
    pub fn of(&self, family: &str) -> Option<&Recipe> {
        self.0.get(family)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets the packages that recipes bring count as what a host can install: before the candidates of
    /// its own repositories, and as a fix where they are at least the fixed version that the distributor
    /// names. Where nobody names one, no claim is made.
    pub fn offer(
        &self,
        fleet: &LoadedFleet,
        facts: &mut BTreeMap<HostName, HostFacts>,
        findings: &mut [Finding],
    ) {
        for (name, host) in &fleet.file.fleet.hosts {
            let recipe = host.family.as_deref().and_then(|family| self.of(family));
            let (Some(recipe), Some(facts)) = (recipe, facts.get_mut(name)) else {
                continue;
            };
            let given: BTreeMap<&str, &str> = recipe.packages().collect();
            if given.is_empty() {
                continue;
            }
            let mut candidates: Vec<Candidate> = facts
                .candidates
                .items()
                .iter()
                .filter(|candidate| !given.contains_key(&*candidate.package))
                .cloned()
                .collect();
            for (package, version) in &given {
                candidates.push(Candidate {
                    package: (*package).into(),
                    version: (*version).into(),
                    origin: Some("recipe".into()),
                    index_as_of: None,
                });
            }
            candidates.sort_by(|a, b| a.package.cmp(&b.package));
            facts.candidates = match facts.candidates {
                Seen::Yes(_) => Seen::Yes(candidates),
                Seen::Partly(_) | Seen::No => Seen::Partly(candidates),
            };
            for finding in findings.iter_mut().filter(|f| f.host == *name) {
                if is_closed_by(finding, &given) {
                    finding.verdict.status = Status::FixAvailable;
                }
            }
        }
    }
}

/// Whether every installed package of a finding comes from the recipe in a version that has the fix.
fn is_closed_by(finding: &Finding, given: &BTreeMap<&str, &str>) -> bool {
    let verdict = &finding.verdict;
    if verdict.status != Status::FixPublished || verdict.binaries.is_empty() {
        return false;
    }
    let Some(fixed) = &verdict.fixed else {
        return false;
    };
    let scheme = verdict.platform.ecosystem.version_scheme();
    verdict.binaries.iter().all(|binary| {
        given.get(&**binary).is_some_and(|version| {
            version::compare(scheme, version, fixed).is_ok_and(|order| order != Ordering::Less)
        })
    })
}
