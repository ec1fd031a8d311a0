//! Whether the fleet file still says what a plan was made by: its rules, who answers, which servers
//! carry what. Versions on hosts are another matter.
//!
//! Entry: [`rules_changed`], [`owners_changed`]. A plan holds copies of what it was made by, and whoever
//! hands one over could have written others: what counts is the fleet file.

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_model::{Fleet, HostName, Lifecycle, Plan, RegionName, Service, ServiceName};

/// Regions that another team answers for than the plan says, each in a sentence.
pub fn owners_changed(plan: &Plan, fleet: &Fleet) -> Vec<String> {
    let mut told = Vec::new();
    for (name, planned) in &plan.regions {
        match fleet.regions.get(name) {
            None => told.push(format!("region {name} is no longer declared")),
            Some(region) if region.owner != planned.owner => {
                let team = |owner: &Option<_>| match owner {
                    Some(team) => format!("{team}"),
                    None => "nobody".to_owned(),
                };
                told.push(format!(
                    "region {name} is answered for by {}, the plan says {}",
                    team(&region.owner),
                    team(&planned.owner)
                ));
            }
            Some(_) => {}
        }
    }
    told
}

/// Everything else that the fleet file rules otherwise by now, each in a sentence.
pub fn rules_changed(plan: &Plan, fleet: &Fleet) -> Vec<String> {
    let mut told = Vec::new();
    if plan.policy != fleet.rollout {
        told.push("the rules of rolling out ([policy.rollout]) have changed".to_owned());
    }
    for (name, planned) in &plan.regions {
        if let Some(region) = fleet.regions.get(name)
            && (region.time_zone != planned.time_zone
                || region.windows != planned.windows
                || region.pilot != planned.pilot)
        {
            told.push(format!(
                "the windows, the time zone or the order of region {name} have changed"
            ));
        }
    }
    for step in &plan.steps {
        if !plan.regions.contains_key(&step.region) {
            told.push(format!("{}: the plan does not know its region", step.host));
        }
        let Some(host) = fleet.hosts.get(&step.host) else {
            continue; // Told with the facts.
        };
        if host.region.as_ref() != Some(&step.region) {
            told.push(format!("{} is in another region by now", step.host));
        }
        if host.services != step.services {
            told.push(format!("{} carries other services by now", step.host));
        }
        let family = host
            .family
            .as_ref()
            .and_then(|name| fleet.families.get(name));
        let drain = host.drain.as_ref();
        if let Some(drain) = drain.or_else(|| family?.drain.as_ref())
            && *drain != step.drain
        {
            told.push(format!(
                "{} leaves service in another way by now",
                step.host
            ));
        }
    }
    let carried: BTreeSet<&ServiceName> = plan.steps.iter().flat_map(|s| &s.services).collect();
    for name in carried {
        service_changed(name, plan, fleet, &mut told);
    }
    told
}

fn service_changed(name: &ServiceName, plan: &Plan, fleet: &Fleet, told: &mut Vec<String>) {
    let Some(planned) = plan.services.get(name) else {
        told.push(format!("{name}: the plan knows of no such service"));
        return;
    };
    // One that hosts carry and nobody declares has no minimum of its own, in a plan as here.
    let undeclared = Service::default();
    let service = fleet.services.get(name).unwrap_or(&undeclared);
    let mut hosts: BTreeMap<&RegionName, BTreeSet<&HostName>> = BTreeMap::new();
    for (host, declared) in &fleet.hosts {
        if let Some(region) = &declared.region
            && declared.lifecycle == Lifecycle::Running
            && declared.services.contains(name)
        {
            hosts.entry(region).or_default().insert(host);
        }
    }
    let as_planned: BTreeMap<&RegionName, BTreeSet<&HostName>> = planned
        .hosts
        .iter()
        .map(|(region, hosts)| (region, hosts.iter().collect()))
        .filter(|(_, hosts): &(_, BTreeSet<&HostName>)| !hosts.is_empty())
        .collect();
    if hosts != as_planned {
        told.push(format!("other servers carry {name} by now"));
    }
    for region in as_planned.keys() {
        if let Some(minimum) = service.minimum_in(region)
            && planned.minimum.get(*region) != Some(&minimum)
        {
            told.push(format!(
                "the minimum of {name} in {region} is {minimum} by now"
            ));
        }
    }
    if service.minimum_total.is_some() && service.minimum_total != planned.minimum_total {
        told.push(format!(
            "the minimum of {name} over all regions has changed"
        ));
    }
    if service.after != planned.after || service.probe != planned.probe {
        told.push(format!("the order or the probe of {name} has changed"));
    }
}

#[cfg(test)]
mod tests {
    use mailkeep_model::{
        Host, Lane, PlannedRegion, PlannedService, Realm, Region, RolloutPolicy, TeamName,
        Timestamp,
    };

    use super::*;

    fn fleet() -> Fleet {
        let region = RegionName::new("eu").unwrap();
        let service = ServiceName::new("inbound-mx").unwrap();
        let mut fleet = Fleet::default();
        fleet.regions.insert(
            region.clone(),
            Region {
                time_zone: "Europe/Berlin".to_owned(),
                owner: Some(TeamName::new("europe").unwrap()),
                windows: Vec::new(),
                pilot: true,
            },
        );
        for name in ["mx1", "mx2"] {
            let host = Host {
                region: Some(region.clone()),
                services: BTreeSet::from([service.clone()]),
                ..Host::default()
            };
            fleet.hosts.insert(HostName::new(name).unwrap(), host);
        }
        let minimum = BTreeMap::from([(region, 1)]);
        fleet.services.insert(
            service,
            Service {
                minimum,
                ..Service::default()
            },
        );
        fleet
    }

    /// A plan without steps on that fleet's region.
    fn plan(fleet: &Fleet) -> Plan {
        let (name, region) = fleet.regions.first_key_value().unwrap();
        Plan {
            format: Plan::FORMAT,
            realm: Realm::Live,
            generation: 1,
            parent: None,
            made_at: Timestamp::UNIX_EPOCH,
            tzdb: "2026b".to_owned(),
            lane: Lane::Regular,
            overriding: None,
            retries: BTreeSet::new(),
            bulletin: Vec::new(),
            title: String::new(),
            policy: fleet.rollout.clone(),
            regions: BTreeMap::from([(
                name.clone(),
                PlannedRegion {
                    time_zone: region.time_zone.clone(),
                    owner: region.owner.clone(),
                    pilot: region.pilot,
                    windows: region.windows.clone(),
                },
            )]),
            services: BTreeMap::new(),
            out_of_service: BTreeSet::new(),
            variants: Vec::new(),
            waves: Vec::new(),
            steps: Vec::new(),
        }
    }

    #[test]
    fn a_plan_that_names_another_owner_than_the_fleet_file_is_told() {
        let fleet = fleet();
        let mut forged = plan(&fleet);
        assert_eq!(rules_changed(&forged, &fleet), Vec::<String>::new());
        let region = forged.regions.values_mut().next().unwrap();
        region.owner = Some(TeamName::new("asia").unwrap());
        assert_eq!(
            owners_changed(&forged, &fleet),
            ["region eu is answered for by europe, the plan says asia"]
        );
    }

    #[test]
    fn new_rules_windows_members_and_minimums_are_told() {
        let before = fleet();
        let plan = plan(&before);
        let mut now = before.clone();
        now.rollout = RolloutPolicy {
            step_minutes: 31,
            ..RolloutPolicy::default()
        };
        now.regions.values_mut().next().unwrap().time_zone = "Europe/Rome".to_owned();
        assert_eq!(rules_changed(&plan, &now).len(), 2);

        let name = ServiceName::new("inbound-mx").unwrap();
        let region = RegionName::new("eu").unwrap();
        let mut with_service = plan.clone();
        with_service.services.insert(
            name.clone(),
            PlannedService {
                hosts: BTreeMap::from([(region.clone(), before.hosts.keys().cloned().collect())]),
                minimum: BTreeMap::from([(region.clone(), 1)]),
                minimum_total: None,
                after: BTreeSet::new(),
                probe: None,
            },
        );
        let told = |fleet: &Fleet| {
            let mut told = Vec::new();
            service_changed(&name, &with_service, fleet, &mut told);
            told
        };
        assert_eq!(told(&before), Vec::<String>::new());
        let mut raised = before.clone();
        let service = raised.services.get_mut(&name).unwrap();
        service.minimum.insert(region, 2);
        assert_eq!(
            told(&raised),
            ["the minimum of inbound-mx in eu is 2 by now"]
        );
        let mut smaller = before.clone();
        smaller.hosts.pop_last();
        assert_eq!(told(&smaller), ["other servers carry inbound-mx by now"]);
        let mut undeclared = before.clone();
        undeclared.services.clear();
        assert_eq!(told(&undeclared), Vec::<String>::new());
    }
}
