//! Recipes in plans: which one a family has, pinned by what it is now, and the packages it brings.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use anyhow::Context as _;
use mailkeep_matcher::version;
use mailkeep_model::{
    AdvisoryId, Candidate, Finding, Fleet, Host, HostFacts, HostName, NotPlannedReason, Seen,
    Status, Verdict,
};
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

    /// The recipe of a host: of the family that the fleet file names, else of the one that was seen.
    pub fn of_host(&self, host: &Host, facts: &HostFacts) -> Option<&Recipe> {
        let seen = || mailkeep_plan::family_seen(facts);
        self.of(&host.family.clone().or_else(seen)?)
    }

    /// The name by which the recipe of a host knows the advisory of a finding, where a mitigation in it
    /// stands in for the fix.
    pub fn mitigates(
        &self,
        host: &Host,
        facts: &HostFacts,
        finding: &Finding,
    ) -> Option<AdvisoryId> {
        let recipe = self.of_host(host, facts)?;
        let verdict = &finding.verdict;
        let mut named = recipe.mitigates();
        named
            .find(|name| verdict.names().any(|own| own == *name))
            .cloned()
    }

    /// Lets the packages that recipes bring count as what a host can install, before the candidates of
    /// its own repositories: as a fix where they are at least the fixed version that the distributor
    /// names, and as none where they are not, or where nobody can tell. Gives, by host and source
    /// package, why a recipe stands in the way of a fix.
    pub fn offer(
        &self,
        fleet: &Fleet,
        facts: &mut BTreeMap<HostName, HostFacts>,
        findings: &mut [Finding],
    ) -> BTreeMap<(HostName, String), NotPlannedReason> {
        let mut without_fix = BTreeMap::new();
        for (name, host) in &fleet.hosts {
            let Some(facts) = facts.get_mut(name) else {
                continue;
            };
            let Some(recipe) = self.of_host(host, facts) else {
                continue;
            };
            let given: BTreeMap<&str, &str> = recipe.packages().collect();
            if given.is_empty() {
                continue;
            }
            replace_candidates(facts, &given);
            for finding in findings.iter_mut().filter(|f| f.host == *name) {
                let verdict = &mut finding.verdict;
                match (verdict.status, brought(verdict, facts, &given)) {
                    (Status::FixPublished, Brought::All) => verdict.status = Status::FixAvailable,
                    (Status::FixAvailable | Status::FixPublished, Brought::TooOld { version }) => {
                        verdict.status = Status::FixPublished;
                        let package = verdict.package.to_string();
                        let reason = NotPlannedReason::RecipeWithoutFix {
                            package: package.clone(),
                            brings: version.to_owned(),
                            fixed: verdict.fixed.as_deref().map(str::to_owned),
                        };
                        without_fix.insert((name.clone(), package), reason);
                    }
                    _ => {}
                }
            }
        }
        without_fix
    }
}

fn replace_candidates(facts: &mut HostFacts, given: &BTreeMap<&str, &str>) {
    let mut candidates: Vec<Candidate> = facts
        .candidates
        .items()
        .iter()
        .filter(|candidate| !given.contains_key(&*candidate.package))
        .cloned()
        .collect();
    for (package, version) in given {
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
}

/// What a recipe brings of the packages that a finding is about.
enum Brought<'r> {
    /// All of them, with the fix.
    All,
    /// Some, and these with the fix; or none.
    Some,
    /// One in a version that lacks the fix, or of which nobody can tell.
    TooOld { version: &'r str },
}

fn brought<'r>(
    verdict: &Verdict,
    facts: &HostFacts,
    given: &BTreeMap<&str, &'r str>,
) -> Brought<'r> {
    let scheme = verdict.platform.ecosystem.version_scheme();
    let mut all = !verdict.binaries.is_empty();
    for binary in &verdict.binaries {
        let Some(version) = given.get(&**binary) else {
            all = false;
            continue;
        };
        // The fixed version is the source package's. It says something of a binary package where the two
        // go in step; a rebuild of the binary alone counts on.
        let installed = facts.packages.iter().find(|p| p.name == *binary);
        let in_step = installed.is_some_and(|package| {
            let rebuilt = package.version.strip_prefix(&*package.source_version);
            rebuilt.is_some_and(|more| more.is_empty() || more.starts_with("+b"))
        });
        let has_fix = verdict.fixed.as_deref().is_some_and(|fixed| {
            version::compare(scheme, version, fixed).is_ok_and(|order| order != Ordering::Less)
        });
        if !in_step || !has_fix {
            return Brought::TooOld { version };
        }
    }
    if all { Brought::All } else { Brought::Some }
}
