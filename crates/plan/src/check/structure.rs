//! Rules on the plan as a document: what it names exists, once, in order, and is sound in itself.

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_model::{
    Drain, HostName, Plan, PlanStep, PlannedService, RegionName, ServiceName, Variant,
};

use super::{Breach, BreachKind as Kind, Findings, Look};

/// Blackouts looked at: each is held against each step. A century of public holidays is fewer.
pub(super) const MAX_BLACKOUTS: usize = 1_000;

pub(super) fn check(look: &Look<'_>, findings: &mut Findings) {
    head(look.plan, findings);
    policy(look.plan, findings);
    variants(look.plan, findings);
    waves(look.plan, findings);
    for step in &look.plan.steps {
        one_step(look, step, findings);
    }
    all_steps(look.plan, findings);
    regions(look.plan, findings);
    for (name, service) in &look.plan.services {
        one_service(look, name, service, findings);
    }
}

fn head(plan: &Plan, findings: &mut Findings) {
    if plan.format != Plan::FORMAT {
        findings.push(Breach::of(
            Kind::FormatUnknown,
            Plan::FORMAT.to_string(),
            plan.format.to_string(),
        ));
    }
    let is_first = plan.generation == 1;
    if plan.generation == 0 || is_first != plan.parent.is_none() {
        findings.push(Breach::of(
            Kind::GenerationMismatch,
            "generation 1 without a parent, or a higher one with a parent",
            format!(
                "generation {} with {}",
                plan.generation,
                plan.parent.as_ref().map_or("no parent", |id| id.as_str())
            ),
        ));
    }
    for (one, next) in plan.bulletin.iter().zip(plan.bulletin.iter().skip(1)) {
        if one >= next {
            findings.push(Breach::of(
                Kind::BulletinUnsorted,
                "advisories sorted, each once",
                format!("{one} before {next}"),
            ));
        }
    }
    if let Some(order) = &plan.overriding
        && order.reason.trim().is_empty()
    {
        let expected = "a reason for taking the lane against the findings' own";
        findings.push(Breach::of(Kind::OverrideWithoutReason, expected, "none").team(&order.by));
    }
}

fn policy(plan: &Plan, findings: &mut Findings) {
    let unusable = |what: &str| Breach::of(Kind::PolicyUnusable, "1 or more", format!("{what} 0"));
    let policy = &plan.policy;
    if policy.slot_minutes == 0 {
        findings.push(unusable("slot_minutes"));
    }
    for (cap, name) in [
        (policy.parallel_fleet, "parallel_fleet"),
        (policy.parallel_region, "parallel_region"),
        (policy.parallel_team, "parallel_team"),
    ] {
        if cap == Some(0) && !plan.steps.is_empty() {
            findings.push(unusable(name));
        }
    }
    if policy.blackouts.len() > MAX_BLACKOUTS {
        findings.push(Breach::of(
            Kind::PolicyUnusable,
            format!("at most {MAX_BLACKOUTS} blackouts"),
            policy.blackouts.len().to_string(),
        ));
    }
    for blackout in &policy.blackouts {
        if blackout.from > blackout.to {
            findings.push(Breach::of(
                Kind::BlackoutBackwards,
                format!("an end not before {}", blackout.from),
                blackout.to.to_string(),
            ));
        }
    }
}

fn variants(plan: &Plan, findings: &mut Findings) {
    let used: BTreeSet<u32> = plan.steps.iter().map(|step| step.variant).collect();
    let mut seen: BTreeSet<&Variant> = BTreeSet::new();
    for (number, variant) in plan.variants.iter().enumerate() {
        if !seen.insert(variant) {
            let found = format!("{} on {} again", variant.family, variant.platform);
            findings
                .push(Breach::of(Kind::VariantTwice, "each variant once", found).variant(number));
        }
        if !u32::try_from(number).is_ok_and(|number| used.contains(&number)) {
            findings.push(Breach::of(Kind::VariantUnused, "a step", "none").variant(number));
        }
        if variant.packages.is_empty() && variant.recipe.is_none() {
            let expected = "a package to change, or a recipe";
            findings.push(Breach::of(Kind::VariantEmpty, expected, "neither").variant(number));
        }
        if !variant.mitigates.is_empty() && variant.recipe.is_none() {
            let kind = Kind::MitigationWithoutRecipe;
            findings.push(Breach::of(kind, "a recipe", "none").variant(number));
        }
        packages(number, variant, findings);
        if let Some(recipe) = &variant.recipe {
            let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            let pinned = recipe.sha256.len() == 64 && recipe.sha256.bytes().all(hex);
            let inside = !recipe.path.is_empty()
                && !recipe.path.starts_with('/')
                && recipe.path.split('/').all(|part| part != "..");
            if !pinned || !inside {
                findings.push(
                    Breach::of(
                        Kind::RecipeUnpinned,
                        "a path below the fleet file, and 64 hexadecimal digits",
                        format!("{:?} with {:?}", recipe.path, recipe.sha256),
                    )
                    .variant(number),
                );
            }
        }
    }
}

fn packages(number: usize, variant: &Variant, findings: &mut Findings) {
    let mut push = |expected: &str, found: String| {
        findings.push(Breach::of(Kind::PackageChange, expected, found).variant(number));
    };
    for change in &variant.packages {
        let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if ![&change.name, &change.from, &change.to]
            .iter()
            .all(|text| word(text))
        {
            push(
                "a name and two versions, printable and without white space",
                format!(
                    "{:?} from {:?} to {:?}",
                    change.name, change.from, change.to
                ),
            );
        }
    }
    for (one, next) in variant.packages.iter().zip(variant.packages.iter().skip(1)) {
        if one.name >= next.name {
            push(
                "packages sorted, each once",
                format!("{} before {}", one.name, next.name),
            );
        }
    }
}

fn waves(plan: &Plan, findings: &mut Findings) {
    let mut bounds = BTreeMap::new();
    for step in &plan.steps {
        let bound = bounds.entry(step.wave).or_insert((step.start, step.end));
        bound.0 = bound.0.min(step.start);
        bound.1 = bound.1.max(step.end);
    }
    let mut seen = BTreeSet::new();
    let mut before = BTreeMap::new();
    for (number, wave) in plan.waves.iter().enumerate() {
        let found = format!("{} to {}", wave.start, wave.end);
        let bound = u32::try_from(number).ok().and_then(|n| bounds.get(&n));
        let expected = match bound {
            None => Some("a step in it".to_owned()),
            Some(bound) if *bound != (wave.start, wave.end) => {
                Some(format!("{} to {} as its steps", bound.0, bound.1))
            }
            Some(_) => None,
        };
        if let Some(expected) = expected {
            findings.push(
                Breach::of(Kind::WaveBounds, expected, found)
                    .wave(number)
                    .region(&wave.region),
            );
        }
        // Without windows a stage may come back after another: a mailbox's test host waits for filters.
        let goes_on = before.insert(&wave.region, wave.stage) == Some(wave.stage);
        let is_second = !seen.insert((&wave.region, wave.stage, wave.window));
        if is_second && (goes_on || plan.policy.lane(plan.lane).windows) {
            let expected = "one wave for a region, stage and window";
            findings.push(
                Breach::of(
                    Kind::WaveTwice,
                    expected,
                    format!("a second {} wave", wave.stage.name()),
                )
                .wave(number)
                .region(&wave.region),
            );
        }
    }
    for (number, (one, next)) in plan.waves.iter().zip(plan.waves.iter().skip(1)).enumerate() {
        if one.start > next.start {
            findings.push(
                Breach::of(
                    Kind::WaveOrder,
                    format!("a start not before {}", one.start),
                    next.start.to_string(),
                )
                .wave(number + 1),
            );
        }
    }
}

fn one_step(look: &Look<'_>, step: &PlanStep, findings: &mut Findings) {
    let plan = look.plan;
    let mut push = |kind, expected: String, found: String| {
        findings.push(Breach::of(kind, expected, found).host(&step.host));
    };
    if step.end <= step.start {
        push(
            Kind::StepEmpty,
            format!("an end after {}", step.start),
            step.end.to_string(),
        );
    }
    if step.start < plan.made_at {
        push(
            Kind::StepBeforePlan,
            format!("a start not before {}", plan.made_at),
            step.start.to_string(),
        );
    }
    let slot = i64::from(plan.policy.slot_minutes) * 60;
    if slot > 0 && !is_on_grid(step.start, slot) {
        let minutes = plan.policy.slot_minutes;
        push(
            Kind::OffGrid,
            format!("a start on the grid of {minutes} minutes"),
            step.start.to_string(),
        );
    }
    if step.precheck.facts_as_of > plan.made_at {
        push(
            Kind::FactsFromFuture,
            format!("facts not younger than the plan, {}", plan.made_at),
            step.precheck.facts_as_of.to_string(),
        );
    }
    if step.risk == 0 {
        push(Kind::RiskZero, "1 or more".to_owned(), "0".to_owned());
    }
    if plan.out_of_service.contains(&step.host) {
        push(
            Kind::PlannedOutOfService,
            "a host in service".to_owned(),
            "one that was not when the plan was made".to_owned(),
        );
    }
    match plan.waves.get(index(step.wave)) {
        None => push(
            Kind::WaveUnknown,
            format!("one of {} waves", plan.waves.len()),
            step.wave.to_string(),
        ),
        Some(wave) if wave.region != step.region => push(
            Kind::WaveRegion,
            format!("region {} as its wave", wave.region),
            step.region.to_string(),
        ),
        Some(_) => {}
    }
    if plan.variants.get(index(step.variant)).is_none() {
        push(
            Kind::VariantUnknown,
            format!("one of {} variants", plan.variants.len()),
            step.variant.to_string(),
        );
    }
    proof(plan, step, &mut push);
    drain(look, step, &mut push);
    services_of(plan, step, findings);
}

/// Starts are counted from the hour; slots longer than an hour from midnight, UTC.
fn is_on_grid(start: mailkeep_model::Timestamp, slot: i64) -> bool {
    let from = if slot <= 3600 { 3600 } else { 24 * 3600 };
    start.subsec_nanosecond() == 0 && start.as_second().rem_euclid(from) % slot == 0
}

/// The place in a list that a number of the plan names.
pub(super) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn proof(plan: &Plan, step: &PlanStep, push: &mut impl FnMut(Kind, String, String)) {
    let has_probe = |name: &&ServiceName| {
        plan.services
            .get(*name)
            .is_some_and(|service| service.probe.is_some())
    };
    let expected: BTreeSet<&ServiceName> = step.services.iter().filter(has_probe).collect();
    let found: BTreeSet<&ServiceName> = step.proof.probes.iter().collect();
    if expected != found {
        push(
            Kind::ProbeMismatch,
            listed("a probe through", &expected),
            listed("a probe through", &found),
        );
    }
}

fn listed(what: &str, names: &BTreeSet<&ServiceName>) -> String {
    if names.is_empty() {
        return format!("{what} no service");
    }
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    format!("{what} {}", names.join(", "))
}

fn drain(look: &Look<'_>, step: &PlanStep, push: &mut impl FnMut(Kind, String, String)) {
    match &step.drain {
        Drain::None if !step.services.is_empty() => push(
            Kind::DrainMissing,
            "a way out of service for a host that carries services".to_owned(),
            "none".to_owned(),
        ),
        Drain::Haproxy { front, .. } => {
            let overlaps = |other: &&&PlanStep| other.start < step.end && step.start < other.end;
            if let Some(other) = look.step_of.get(front).filter(overlaps) {
                push(
                    Kind::DrainFrontOut,
                    format!("{front} in service while it drains this host"),
                    format!("its own step from {} to {}", other.start, other.end),
                );
            }
        }
        Drain::None | Drain::Product | Drain::SynRefusal => {}
    }
}

fn services_of(plan: &Plan, step: &PlanStep, findings: &mut Findings) {
    for name in &step.services {
        let Some(service) = plan.services.get(name) else {
            findings.push(
                Breach::of(
                    Kind::ServiceUnknown,
                    "a service the plan describes",
                    name.as_str(),
                )
                .host(&step.host)
                .service(name),
            );
            continue;
        };
        let listed = |hosts: &BTreeSet<HostName>| hosts.contains(&step.host);
        if !service.hosts.get(&step.region).is_some_and(listed) {
            findings.push(
                Breach::of(
                    Kind::ServiceMembership,
                    "the host among those of its service and region",
                    "it is not",
                )
                .host(&step.host)
                .service(name)
                .region(&step.region),
            );
        }
    }
}

fn all_steps(plan: &Plan, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for step in &plan.steps {
        if !seen.insert(&step.host) {
            let found = format!("another at {}", step.start);
            findings.push(Breach::of(Kind::HostTwice, "one step", found).host(&step.host));
        }
    }
    for (one, next) in plan.steps.iter().zip(plan.steps.iter().skip(1)) {
        if (one.start, &one.host) > (next.start, &next.host) {
            findings.push(
                Breach::of(
                    Kind::StepOrder,
                    "steps by start, then host",
                    format!(
                        "{} at {} before {} at {}",
                        one.host, one.start, next.host, next.start
                    ),
                )
                .host(&next.host),
            );
        }
    }
}

fn regions(plan: &Plan, findings: &mut Findings) {
    let used: BTreeSet<&RegionName> = plan.steps.iter().map(|step| &step.region).collect();
    let waves = plan.waves.iter().map(|wave| &wave.region);
    for region in waves.chain(used.iter().copied()).collect::<BTreeSet<_>>() {
        if !plan.regions.contains_key(region) {
            let expected = "a region the plan describes";
            findings
                .push(Breach::of(Kind::RegionUnknown, expected, region.as_str()).region(region));
        }
    }
    for region in plan.regions.keys().filter(|region| !used.contains(region)) {
        findings.push(Breach::of(Kind::RegionIdle, "a step in it", "none").region(region));
    }
}

fn one_service(
    look: &Look<'_>,
    name: &ServiceName,
    service: &PlannedService,
    findings: &mut Findings,
) {
    let push = |findings: &mut Findings, kind, region: &RegionName, expected: &str, found: &str| {
        findings.push(
            Breach::of(kind, expected, found)
                .service(name)
                .region(region),
        );
    };
    for region in service.hosts.keys() {
        if !service.minimum.contains_key(region) {
            let expected = "a minimum, be it 0";
            push(findings, Kind::MinimumMissing, region, expected, "none");
        }
    }
    for region in service.minimum.keys() {
        if !service.hosts.contains_key(region) {
            let expected = "hosts in a region with a minimum";
            push(findings, Kind::MinimumMissing, region, expected, "none");
        }
    }
    let mut planned = false;
    let mut home: BTreeMap<&HostName, &RegionName> = BTreeMap::new();
    for (region, hosts) in &service.hosts {
        for host in hosts {
            if let Some(other) = home.insert(host, region) {
                findings.push(
                    Breach::of(
                        Kind::ServiceMembership,
                        format!("in {other} only"),
                        "here too",
                    )
                    .host(host)
                    .service(name)
                    .region(region),
                );
            }
            let Some(step) = look.step_of.get(host) else {
                continue;
            };
            planned = true;
            if !step.services.contains(name) || step.region != *region {
                findings.push(
                    Breach::of(
                        Kind::ServiceMembership,
                        format!("a step that carries it in {region}"),
                        format!("a step in {} that carries {:?}", step.region, step.services),
                    )
                    .host(host)
                    .service(name)
                    .region(region),
                );
            }
        }
    }
    if !planned {
        findings.push(Breach::of(Kind::ServiceIdle, "a planned host", "none").service(name));
    }
}
