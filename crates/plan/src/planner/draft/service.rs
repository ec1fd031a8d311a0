//! The services that planned hosts carry: who carries them, how many must stay, how many are there.

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_model::{HostName, Lifecycle, PlannedService, RegionName, Service, ServiceName};

use crate::request::Request;

/// Every service that a host with work carries, with its minimums made explicit.
///
/// Where nothing is declared, the last server of a service is never taken: one must stay in each region
/// with more than one, and one over all regions. Who wants it otherwise declares a minimum of 0.
pub(super) fn services<'a>(request: &Request<'a>) -> Vec<(&'a ServiceName, PlannedService)> {
    let fleet = request.fleet;
    let used: BTreeSet<&'a ServiceName> = request
        .work
        .iter()
        .filter_map(|work| fleet.hosts.get(&work.host))
        .flat_map(|host| &host.services)
        .collect();
    let mut members: BTreeMap<&ServiceName, BTreeMap<RegionName, BTreeSet<HostName>>> =
        BTreeMap::new();
    for (name, host) in &fleet.hosts {
        let (Lifecycle::Running, Some(region)) = (host.lifecycle, &host.region) else {
            continue;
        };
        for service in host
            .services
            .iter()
            .filter(|service| used.contains(service))
        {
            let regions = members.entry(service).or_default();
            regions
                .entry(region.clone())
                .or_default()
                .insert(name.clone());
        }
    }
    let undeclared = Service::default();
    used.into_iter()
        .map(|name| {
            let service = fleet.services.get(name).unwrap_or(&undeclared);
            let hosts = members.remove(name).unwrap_or_default();
            let minimum = hosts
                .iter()
                .map(|(region, hosts)| {
                    let default = u32::from(hosts.len() > 1);
                    (
                        region.clone(),
                        service.minimum_in(region).unwrap_or(default),
                    )
                })
                .collect();
            let declared = hosts
                .keys()
                .all(|region| service.minimum_in(region).is_some());
            let planned = PlannedService {
                minimum,
                minimum_total: service.minimum_total.or((!declared).then_some(1)),
                after: service.after.clone(),
                probe: service.probe.clone(),
                hosts,
            };
            (name, planned)
        })
        .collect()
}

/// Hosts in service, by service.
pub(crate) struct Counts {
    pub(crate) by_region: Vec<BTreeMap<RegionName, u32>>,
    pub(crate) total: Vec<u32>,
}

pub(crate) fn in_service(
    services: &[(&ServiceName, PlannedService)],
    request: &Request<'_>,
) -> Counts {
    let by_region: Vec<BTreeMap<RegionName, u32>> = services
        .iter()
        .map(|(_, service)| {
            let count = |hosts: &BTreeSet<HostName>| {
                let present = hosts
                    .iter()
                    .filter(|h| !request.out_of_service.contains(*h));
                u32::try_from(present.count()).unwrap_or(u32::MAX)
            };
            let regions = service.hosts.iter();
            regions
                .map(|(region, hosts)| (region.clone(), count(hosts)))
                .collect()
        })
        .collect();
    let total = by_region
        .iter()
        .map(|regions| regions.values().sum())
        .collect();
    Counts { by_region, total }
}
