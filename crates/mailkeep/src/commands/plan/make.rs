//! `mailkeep plan make`: findings in, a plan and a report out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use jiff::civil::Date;
use mailkeep_matcher::version;
use mailkeep_model::{
    AdvisoryId, Event, EventKind, Finding, Fleet, HostFacts, HostName, Lane, NotPlanned,
    NotPlannedReason, Override, Plan, PlanId, PlanningReport, Realm, Status, Surface, Variant,
    text,
};
use mailkeep_plan::{HostWork, Planned, Request, canonical, id_of, work_from};
use mailkeep_rollout::Recipe;
use mailkeep_store::{SqliteStore, Store};

use super::super::Done;
use super::{fleet_of, report};
use crate::app::{App, LoadedFleet, write_whole};
use crate::cli::plan::{MakeArgs, PlanReportFormat};
use crate::planning::approval;
use crate::planning::basis::{self, Basis};
use crate::planning::kept::{self, Kept};
use crate::planning::recipe::Recipes;

/// Runs it.
pub(super) fn run(app: &App, args: &MakeArgs) -> anyhow::Result<Done> {
    let fleet = fleet_of(app, args.fleet.as_deref())?;
    let mut store = app.store(Some(&fleet))?;
    let mut basis = basis::basis(app, &mut store, &fleet, &args.hosts)?;
    // Before anything is chosen: what a recipe closes can be done, and may be urgent.
    let offered = Offered::new(&fleet, &mut basis)?;
    let parent = match &args.parent {
        Some(named) => Some(kept::find(&store, named)?),
        None => None,
    };
    let chosen = choose(&basis.answer.findings, &offered.mitigable, args);
    let overriding = overriding(args, &fleet, &chosen)?;
    let asked = ask(
        app,
        &store,
        &fleet,
        &basis,
        &offered,
        &chosen,
        parent.as_ref(),
    )?;
    for host in &args.retry {
        anyhow::ensure!(
            asked.failed.values().any(|failed_on| failed_on == host),
            "no change is set aside because it failed on {host}"
        );
    }
    let request = Request {
        realm: Realm::Live,
        now: app.now,
        lane: chosen.lane,
        overriding,
        title: match &args.title {
            Some(title) => text::printable_max(title, 200),
            None => chosen.title(&asked.bulletin),
        },
        bulletin: asked.bulletin,
        fleet: &fleet.file.fleet,
        work: asked.work,
        left_out: asked.left_out,
        left_unpatched: asked.left_unpatched,
        deadlines: asked.deadlines,
        parent: parent.as_ref().map(|kept| (&kept.id, &kept.plan)),
        proven: asked.proven,
        failed: asked.failed,
        retries: args.retry.iter().cloned().collect(),
        out_of_service: asked.out_of_service,
        elsewhere: asked.elsewhere,
    };
    let Planned { plan, report } = mailkeep_plan::plan(&request);
    let kept = plan
        .map(|plan| {
            let report = Some(&report);
            let output = args.output.as_deref();
            record(app, &mut store, plan, report, !args.dry_run, output)
        })
        .transpose()?;
    tell(app, &store, &fleet, args, kept.as_ref(), &report)?;
    let open = !report.not_planned.is_empty() || !report.missed_deadlines.is_empty();
    Ok(if open { Done::Findings } else { Done::Nothing })
}

/// The findings that a plan is to answer.
struct Chosen {
    findings: Vec<Finding>,
    /// Source packages that a step can do something about.
    packages: BTreeSet<Box<str>>,
    lane: Lane,
    /// The lane that the findings have themselves.
    own: Lane,
}

impl Chosen {
    /// `exim4: CVE-2023-42115` or `exim4, postfix: 7 advisories`.
    fn title(&self, bulletin: &BTreeSet<AdvisoryId>) -> String {
        let many = self.packages.len() > 3;
        let mut named: Vec<&str> = self.packages.iter().map(|p| &**p).take(3).collect();
        if many {
            named.push("...");
        }
        let what = match bulletin.len() {
            0 => "nothing that can be patched".to_owned(),
            1 => bulletin.iter().map(ToString::to_string).collect(),
            count => format!("{count} advisories"),
        };
        if named.is_empty() {
            return what;
        }
        text::printable_max(&format!("{}: {what}", named.join(", ")), 200)
    }
}

/// What recipes offer.
struct Offered {
    recipes: Recipes,
    /// By host and source package, why a recipe is no fix.
    without_fix: BTreeMap<(HostName, String), NotPlannedReason>,
    mitigable: Mitigable,
}

impl Offered {
    /// Loads the recipes, and lets the packages they bring count as what hosts can install.
    fn new(fleet: &LoadedFleet, basis: &mut Basis) -> anyhow::Result<Self> {
        let recipes = Recipes::load(fleet)?;
        let fleet = &fleet.file.fleet;
        let without_fix = recipes.offer(fleet, &mut basis.facts, &mut basis.answer.findings);
        Ok(Self {
            without_fix,
            mitigable: mitigable(basis, &recipes, fleet),
            recipes,
        })
    }
}

/// Findings that a mitigation of a recipe covers, by host, advisory and source package, with the name by
/// which the recipe knows the advisory.
type Mitigable = BTreeMap<(HostName, AdvisoryId, Box<str>), AdvisoryId>;

fn key_of(finding: &Finding) -> (HostName, AdvisoryId, Box<str>) {
    let verdict = &finding.verdict;
    (
        finding.host.clone(),
        verdict.advisory.clone(),
        verdict.package.clone(),
    )
}

fn mitigable(basis: &Basis, recipes: &Recipes, fleet: &Fleet) -> Mitigable {
    let findings = basis.answer.findings.iter();
    findings
        .filter(|finding| finding.verdict.status.is_finding())
        .filter_map(|finding| {
            let host = fleet.hosts.get(&finding.host)?;
            let facts = basis.facts.get(&finding.host)?;
            let named = recipes.mitigates(host, facts, finding)?;
            Some((key_of(finding), named))
        })
        .collect()
}

/// Whether nobody has a fix, and nothing stands in for it so far.
fn is_bare(finding: &Finding) -> bool {
    matches!(finding.verdict.status, Status::NoFix | Status::WillNotFix)
}

/// What a package can do something about.
fn can_be_done(finding: &Finding) -> bool {
    matches!(
        finding.verdict.status,
        Status::FixAvailable | Status::RestartPending
    )
}

fn choose(findings: &[Finding], by_recipe: &Mitigable, args: &MakeArgs) -> Chosen {
    let can_be_done = |finding: &Finding| {
        can_be_done(finding) || is_bare(finding) && by_recipe.contains_key(&key_of(finding))
    };
    let named = |finding: &&Finding| {
        let mut names = finding.verdict.names();
        args.advisories.is_empty() || names.any(|name| args.advisories.contains(name))
    };
    let of_mail = |finding: &&Finding| {
        args.all_packages
            || !args.advisories.is_empty()
            || finding.verdict.surface != Surface::Other
    };
    let open: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.verdict.status.is_finding())
        .filter(named)
        .filter(of_mail)
        .collect();
    // What nobody can do anything about makes nothing urgent; an emergency is reported in either lane.
    let urgent = open
        .iter()
        .any(|f| f.lane == Some(Lane::Emergency) && can_be_done(f));
    let own = if urgent {
        Lane::Emergency
    } else {
        Lane::Regular
    };
    let lane = match (args.lane, &args.overriding) {
        (Some(lane), _) => lane.into(),
        (None, Some(_)) => Lane::Emergency,
        (None, None) => own,
    };
    // An order, or a name, asks for these findings whatever their lane.
    let every = args.all || !args.advisories.is_empty() || args.overriding.is_some();
    let in_lane = |finding: &Finding| match finding.lane.unwrap_or(Lane::Regular) {
        Lane::Emergency => lane == Lane::Emergency || !can_be_done(finding),
        Lane::Regular => lane == Lane::Regular,
    };
    let findings: Vec<Finding> = open
        .into_iter()
        .filter(|finding| every || in_lane(finding))
        .cloned()
        .collect();
    let done = findings.iter().filter(|finding| can_be_done(finding));
    Chosen {
        packages: done.map(|f| f.verdict.package.clone()).collect(),
        findings,
        lane,
        own,
    }
}

fn overriding(
    args: &MakeArgs,
    fleet: &LoadedFleet,
    chosen: &Chosen,
) -> anyhow::Result<Option<Override>> {
    let Some(reason) = &args.overriding else {
        let against = chosen.lane == Lane::Emergency && chosen.own == Lane::Regular;
        if against && !chosen.findings.is_empty() {
            bail!(
                "these findings are regular; to take the emergency lane all the same, the global \
                 team gives its reason: --override REASON"
            );
        }
        return Ok(None);
    };
    let Some(by) = fleet.file.fleet.global_team.clone() else {
        bail!("only the global team overrides, and the fleet file names none (global_team)");
    };
    let reason = text::printable_max(reason.trim(), 500);
    anyhow::ensure!(!reason.is_empty(), "an override needs a reason");
    Ok(Some(Override { by, reason }))
}

/// What the planner is asked.
struct Asked {
    /// What the work closes or mitigates. A plan does not claim to answer what no step of it can close.
    bulletin: BTreeSet<AdvisoryId>,
    work: Vec<HostWork>,
    left_out: Vec<NotPlanned>,
    left_unpatched: BTreeSet<HostName>,
    deadlines: BTreeMap<HostName, Date>,
    proven: BTreeSet<HostName>,
    failed: BTreeMap<Variant, HostName>,
    out_of_service: BTreeSet<HostName>,
    elsewhere: BTreeMap<HostName, PlanId>,
}

fn ask(
    app: &App,
    store: &SqliteStore,
    fleet: &LoadedFleet,
    basis: &Basis,
    offered: &Offered,
    chosen: &Chosen,
    parent: Option<&Kept>,
) -> anyhow::Result<Asked> {
    let plans = &basis::all_progress(store)?;
    let findings = &chosen.findings;
    let facts: BTreeMap<HostName, &HostFacts> = basis
        .facts
        .iter()
        .map(|(host, facts)| (host.clone(), facts))
        .collect();
    let order = |scheme, a: &str, b: &str| {
        version::compare(scheme, a, b).unwrap_or(std::cmp::Ordering::Equal)
    };
    let declared = &fleet.file.fleet;
    let (mut work, mut left_out) = work_from(declared, findings, &facts, app.now, &order);
    let interim = interim(declared, findings, &offered.mitigable, &facts, &work);
    let has_interim: BTreeSet<&HostName> = interim.iter().map(|item| &item.host).collect();
    left_out.retain(|item| !has_interim.contains(&item.host));
    // What nothing stands in for on those hosts has its reason still.
    let stays = |finding: &&Finding| {
        let is_covered = is_bare(finding) || finding.verdict.status == Status::Mitigated;
        has_interim.contains(&finding.host)
            && !(is_covered && offered.mitigable.contains_key(&key_of(finding)))
    };
    let rest: Vec<Finding> = findings.iter().filter(stays).cloned().collect();
    left_out.extend(work_from(declared, &rest, &facts, app.now, &order).1);
    work.extend(interim);
    for item in &mut left_out {
        if let NotPlannedReason::NoCandidate { package } = &item.reason
            && let Some(reason) = offered
                .without_fix
                .get(&(item.host.clone(), package.clone()))
        {
            item.reason = reason.clone();
        }
    }
    // What is not known of a host goes before what was once known of it.
    let unknown = basis::not_known(basis, fleet, app.now);
    let is_unknown: BTreeSet<&HostName> = unknown.iter().map(|n| &n.host).collect();
    work.retain(|item| !is_unknown.contains(&item.host));
    left_out.retain(|item| !is_unknown.contains(&item.host));
    left_out.extend(unknown);
    let allotted = declared.rollout.step_minutes;
    for item in &mut work {
        item.recipe = offered.recipes.of(&item.family).map(Recipe::reference);
        stay_mitigated(item, &basis.answer.findings, &offered.mitigable);
        let settings = declared.families.get(&item.family);
        // What the fleet file allots goes before what was seen.
        if settings.is_none_or(|settings| settings.step_minutes.is_none()) {
            item.minutes = basis::minutes_of(&item.family, plans, allotted);
        }
    }
    let mut lineage = BTreeSet::new();
    if let Some(parent) = parent {
        lineage.insert(parent.id.clone());
        lineage.extend(
            kept::ancestors(store, &parent.plan)?
                .into_iter()
                .map(|k| k.id),
        );
    }
    Ok(Asked {
        bulletin: work
            .iter()
            .flat_map(|item| item.closes.iter().chain(item.mitigates.keys()))
            .cloned()
            .collect(),
        proven: basis::proven(declared, &work, plans),
        failed: basis::failed(plans),
        out_of_service: basis::out_of_service(store, &basis.failures, plans)?,
        elsewhere: basis::elsewhere(plans, &lineage),
        left_unpatched: left_unpatched(&work, &left_out, findings),
        deadlines: deadlines(&left_out, findings),
        work,
        left_out,
    })
}

/// Work of hosts on which nothing can be installed, and a recipe's mitigation can stand in.
fn interim(
    fleet: &Fleet,
    findings: &[Finding],
    by_recipe: &Mitigable,
    facts: &BTreeMap<HostName, &HostFacts>,
    work: &[HostWork],
) -> Vec<HostWork> {
    let has_work: BTreeSet<&HostName> = work.iter().map(|item| &item.host).collect();
    let mut by_host: BTreeMap<&HostName, Vec<(&Finding, &AdvisoryId)>> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| is_bare(finding)) {
        if let Some(named) = by_recipe.get(&key_of(finding))
            && !has_work.contains(&finding.host)
        {
            by_host
                .entry(&finding.host)
                .or_default()
                .push((finding, named));
        }
    }
    by_host
        .into_iter()
        .filter_map(|(host, found)| mailkeep_plan::mitigation(fleet, facts.get(host)?, &found))
        .collect()
}

/// Lets everything that the recipe of a host mitigates, and this work does not close, be mitigated
/// afterwards, whatever lane it is in.
fn stay_mitigated(item: &mut HostWork, findings: &[Finding], by_recipe: &Mitigable) {
    for finding in findings.iter().filter(|finding| finding.host == item.host) {
        let verdict = &finding.verdict;
        let moves = |binary: &str| {
            let mut changes = item.packages.iter();
            changes.any(|change| change.name == binary && change.from != change.to)
        };
        let closed = item.closes.contains(&verdict.advisory)
            || verdict.status == Status::FixAvailable
                && verdict.binaries.iter().any(|binary| moves(binary));
        if let Some(named) = by_recipe.get(&key_of(finding))
            && !closed
        {
            item.mitigates
                .insert(named.clone(), verdict.package.to_string());
        }
    }
}

/// Hosts left out that have a finding with a fix: what comes after their services must not go first.
/// One without any fix holds nobody up, since nobody knows for how long.
fn left_unpatched(
    work: &[HostWork],
    left_out: &[NotPlanned],
    findings: &[Finding],
) -> BTreeSet<HostName> {
    let has_fix: BTreeSet<&HostName> = findings
        .iter()
        .filter(|f| can_be_done(f) || f.verdict.status == Status::FixPublished)
        .map(|finding| &finding.host)
        .collect();
    let has_work: BTreeSet<&HostName> = work.iter().map(|item| &item.host).collect();
    left_out
        .iter()
        .filter(|item| item.reason != NotPlannedReason::AlreadyProven)
        .map(|item| &item.host)
        .filter(|host| has_fix.contains(host) && !has_work.contains(host))
        .cloned()
        .collect()
}

/// The earliest deadline of what is open on each host left out. What a mitigation covers is not urgent.
fn deadlines(left_out: &[NotPlanned], findings: &[Finding]) -> BTreeMap<HostName, Date> {
    let left_out: BTreeSet<&HostName> = left_out.iter().map(|item| &item.host).collect();
    let mut earliest: BTreeMap<HostName, Date> = BTreeMap::new();
    for finding in findings {
        if let Some(deadline) = finding.deadline
            && left_out.contains(&finding.host)
            && finding.verdict.status != Status::Mitigated
        {
            let known = earliest.entry(finding.host.clone()).or_insert(deadline);
            *known = deadline.min(*known);
        }
    }
    earliest
}

/// Checks a plan by the other pair of eyes, keeps it with its report, and writes it where that was asked
/// for.
pub(super) fn record(
    app: &App,
    store: &mut SqliteStore,
    plan: Plan,
    report: Option<&PlanningReport>,
    keep: bool,
    output: Option<&Path>,
) -> anyhow::Result<Kept> {
    let broken = broken_rules(&plan);
    if !broken.is_empty() {
        bail!(
            "the plan does not keep the rules, and is not kept:\n{}",
            broken.join("\n")
        );
    }
    record_checked(app, store, plan, report, keep, output)
}

/// The first rules that a plan breaks, by the other pair of eyes.
pub(super) fn broken_rules(plan: &Plan) -> Vec<String> {
    mailkeep_plan::check(plan)
        .iter()
        .filter(|breach| breach.is_broken())
        .take(10)
        .map(ToString::to_string)
        .collect()
}

/// The rest of [`record`], of a plan that breaks none.
pub(super) fn record_checked(
    app: &App,
    store: &mut SqliteStore,
    plan: Plan,
    report: Option<&PlanningReport>,
    keep: bool,
    output: Option<&Path>,
) -> anyhow::Result<Kept> {
    let bytes = canonical(&plan)?;
    let id = id_of(&bytes)?;
    if keep {
        let event = Event {
            at: app.now,
            realm: plan.realm,
            kind: EventKind::PlanMade {
                plan: id.clone(),
                parent: plan.parent.clone(),
                lane: plan.lane,
                hosts: plan.steps.len().try_into().unwrap_or(u64::MAX),
                title: plan.title.clone(),
            },
        };
        // Before the plan, so that none is without it, whatever happens in between.
        if plan.variants.iter().any(|v| v.recipe.is_some()) && store.plan(&id)?.is_none() {
            store.append_event(&Event {
                kind: EventKind::RecipesPlanned { plan: id.clone() },
                ..event.clone()
            })?;
        }
        store.record_plan(&id, &bytes, &event)?;
        // A plan that was there already has the report of its making, unless that was cut short.
        if let Some(report) = report
            && kept::report(store, &id)?.is_none()
        {
            store.append_event(&Event {
                kind: EventKind::PlanReported {
                    plan: id.clone(),
                    report: Box::new(report.clone()),
                },
                ..event
            })?;
        }
    }
    if let Some(path) = output {
        write_whole(path, &bytes)
            .with_context(|| format!("cannot write the plan to {}", path.display()))?;
    }
    Ok(Kept { id, plan })
}

fn tell(
    app: &App,
    store: &SqliteStore,
    fleet: &LoadedFleet,
    args: &MakeArgs,
    kept: Option<&Kept>,
    found: &PlanningReport,
) -> anyhow::Result<()> {
    let state = match kept {
        Some(kept) if !args.dry_run => Some(approval::state_of(store, fleet, kept)?),
        _ => None,
    };
    let mut out = Vec::new();
    match args.format {
        PlanReportFormat::Json => {
            let answer = serde_json::json!({
                "schema": "mailkeep.plan-made/1",
                "id": kept.map(|kept| &kept.id),
                "plan": kept.map(|kept| &kept.plan),
                "report": found,
                "approvals_missing": state.as_ref().map(report::missing_json),
            });
            serde_json::to_writer_pretty(&mut out, &answer)?;
            writeln!(out)?;
        }
        PlanReportFormat::Text => {
            match kept {
                Some(kept) => report::plan(kept, Some(found), &mut out)?,
                None => writeln!(out, "Nothing to plan.")?,
            }
            report::left_open(found, kept.map(|kept| &kept.plan), &mut out)?;
            if let Some(state) = &state {
                report::approvals(state, &mut out)?;
            }
        }
    }
    io::stdout().lock().write_all(&out)?;
    if let (Some(kept), false) = (kept, args.dry_run) {
        app.say(&format!(
            "kept as {}; `mailkeep plan show {}` draws it",
            kept.id,
            kept.id.short()
        ));
    }
    Ok(())
}
