//! Who counts as in service, by service and region: the minimum, held at run time.
//!
//! Two counts, because two questions are asked. *Taken*: out of service, or spoken for, or not known
//! to serve; nobody new may leave unless the minimum holds without all of these. *Out*: may really be
//! out; a host that must leave service again is weighed against these alone, lest two such hosts wait
//! for each other.

use std::collections::BTreeMap;

use mailkeep_model::{HostName, Plan, RegionName, ServiceName, Timestamp};

/// What a minimum lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortfall {
    /// Place of the service.
    pub(super) service: usize,
    /// Place of the region within it; `None` is over all regions.
    pub(super) region: Option<usize>,
    /// Hosts that want to leave and do not count as gone.
    pub(super) leaving: u32,
    /// Hosts that would stay in service.
    pub(super) stay: u32,
    /// Hosts that must.
    pub(super) minimum: u32,
}

/// Which count a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// Spoken for.
    Taken,
    /// Really out.
    Out,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    hosts: u32,
    taken: u32,
    out: u32,
    minimum: u32,
}

impl Tally {
    fn stay(&self, count: Count, further: u32) -> u32 {
        let gone = match count {
            Count::Out => self.out,
            Count::Taken => self.taken,
        };
        self.hosts.saturating_sub(gone).saturating_sub(further)
    }

    fn add(&mut self, taken: (bool, bool), out: (bool, bool)) {
        for (counter, (before, after)) in [(&mut self.taken, taken), (&mut self.out, out)] {
            match (before, after) {
                (false, true) => *counter = counter.saturating_add(1),
                (true, false) => *counter = counter.saturating_sub(1),
                (true, true) | (false, false) => {}
            }
        }
    }
}

#[derive(Debug, Clone)]
struct ServiceTally {
    name: ServiceName,
    total: Tally,
    regions: Vec<(RegionName, Tally)>,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    /// Place of a service, and of a region within it.
    places: Vec<(usize, usize)>,
    taken: bool,
    out: bool,
    /// Out of service when the plan was made, or left so by another rollout: known at this time.
    out_since: Option<Timestamp>,
    /// Isolated by hand.
    isolated: bool,
}

impl Entry {
    /// Out of service by somebody else's doing.
    fn kept_out(&self) -> bool {
        self.isolated || self.out_since.is_some()
    }
}

/// Every host of every planned service, planned or not.
#[derive(Debug, Clone)]
pub(super) struct Roster {
    names: BTreeMap<HostName, usize>,
    entries: Vec<Entry>,
    services: Vec<ServiceTally>,
}

impl Roster {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut roster = Self {
            names: BTreeMap::new(),
            entries: Vec::new(),
            services: Vec::new(),
        };
        for (name, service) in &plan.services {
            let at = roster.services.len();
            let mut tally = ServiceTally {
                name: name.clone(),
                total: Tally {
                    minimum: service.minimum_total.unwrap_or(0),
                    ..Tally::default()
                },
                regions: Vec::new(),
            };
            for (region, hosts) in &service.hosts {
                let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
                tally.total.hosts = tally.total.hosts.saturating_add(count);
                let place = (at, tally.regions.len());
                tally.regions.push((
                    region.clone(),
                    Tally {
                        hosts: count,
                        minimum: service.minimum.get(region).copied().unwrap_or(0),
                        ..Tally::default()
                    },
                ));
                for host in hosts {
                    let entry = roster.entry(host);
                    if let Some(entry) = roster.entries.get_mut(entry) {
                        entry.places.push(place);
                    }
                }
            }
            roster.services.push(tally);
        }
        for step in &plan.steps {
            roster.entry(&step.host);
        }
        for host in &plan.out_of_service {
            roster.keep_out(host, plan.made_at);
        }
        roster
    }

    /// The place of a host; it is added where it is not there.
    pub(super) fn entry(&mut self, host: &HostName) -> usize {
        if let Some(&at) = self.names.get(host) {
            return at;
        }
        let at = self.entries.len();
        self.entries.push(Entry::default());
        self.names.insert(host.clone(), at);
        at
    }

    /// Notes where a host stands in this rollout.
    pub(super) fn set(&mut self, at: usize, taken: bool, out: bool) {
        self.change(at, |entry| {
            entry.taken = taken;
            entry.out = out;
        });
    }

    /// Notes that a host was out of service at a time, by somebody else's doing.
    pub(super) fn keep_out(&mut self, host: &HostName, since: Timestamp) {
        if let Some(&at) = self.names.get(host) {
            self.change(at, |entry| {
                entry.out_since = entry.out_since.max(Some(since));
            });
        }
    }

    /// Notes that a host was isolated by hand.
    pub(super) fn isolate(&mut self, host: &HostName) {
        if let Some(&at) = self.names.get(host) {
            self.change(at, |entry| entry.isolated = true);
        }
    }

    /// Notes that a host was let in again by hand. What was found out of service after that is another
    /// matter: the log is read from its beginning.
    pub(super) fn let_in(&mut self, host: &HostName, time: Timestamp) {
        if let Some(&at) = self.names.get(host) {
            self.change(at, |entry| {
                entry.isolated = false;
                entry.out_since = entry.out_since.filter(|&since| time <= since);
            });
        }
    }

    /// The first minimum that would not hold if these hosts left service too.
    pub(super) fn shortfall(
        &self,
        leaving: impl Iterator<Item = usize>,
        count: Count,
    ) -> Option<Shortfall> {
        // How many leave each place. Hosts that count already leave nothing behind.
        let mut places: Vec<((usize, usize), u32)> = Vec::new();
        for entry in leaving.filter_map(|at| self.entries.get(at)) {
            let counted = entry.kept_out()
                || match count {
                    Count::Out => entry.out,
                    Count::Taken => entry.taken,
                };
            for &place in &entry.places {
                let more = u32::from(!counted);
                match places.iter_mut().find(|known| known.0 == place) {
                    Some(known) => known.1 += more,
                    None => places.push((place, more)),
                }
            }
        }
        for &((service_at, region_at), more) in &places {
            let Some(service) = self.services.get(service_at) else {
                continue;
            };
            if let Some((_, tally)) = service.regions.get(region_at) {
                let stay = tally.stay(count, more);
                if stay < tally.minimum {
                    return Some(Shortfall {
                        service: service_at,
                        region: Some(region_at),
                        leaving: more,
                        stay,
                        minimum: tally.minimum,
                    });
                }
            }
            let everywhere = places
                .iter()
                .filter(|known| known.0.0 == service_at)
                .fold(0, |sum: u32, known| sum.saturating_add(known.1));
            let stay = service.total.stay(count, everywhere);
            if stay < service.total.minimum {
                return Some(Shortfall {
                    service: service_at,
                    region: None,
                    leaving: everywhere,
                    stay,
                    minimum: service.total.minimum,
                });
            }
        }
        None
    }

    /// Whether a minimum holds if so many hosts more leave that are not spoken for.
    pub(super) fn has_room(&self, service: usize, region: Option<usize>, leaving: u32) -> bool {
        let Some(service) = self.services.get(service) else {
            return true;
        };
        let tally = match region {
            Some(region) => service.regions.get(region).map(|known| &known.1),
            None => Some(&service.total),
        };
        tally.is_none_or(|tally| tally.stay(Count::Taken, leaving) >= tally.minimum)
    }

    /// Of which service, and where, a minimum lacks something.
    pub(super) fn named(&self, lacks: Shortfall) -> Option<(&ServiceName, Option<&RegionName>)> {
        let service = self.services.get(lacks.service)?;
        let region = match lacks.region {
            Some(region) => Some(&service.regions.get(region)?.0),
            None => None,
        };
        Some((&service.name, region))
    }

    /// Whether two hosts carry a service in common.
    pub(super) fn share_a_service(&self, a: usize, b: usize) -> bool {
        let (Some(a), Some(b)) = (self.entries.get(a), self.entries.get(b)) else {
            return false;
        };
        a.places
            .iter()
            .any(|place| b.places.iter().any(|other| other.0 == place.0))
    }

    fn change(&mut self, at: usize, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(at) else {
            return;
        };
        let before = (
            entry.taken || entry.kept_out(),
            entry.out || entry.kept_out(),
        );
        change(entry);
        let after = (
            entry.taken || entry.kept_out(),
            entry.out || entry.kept_out(),
        );
        if before == after {
            return;
        }
        for &(service, region) in &entry.places {
            let Some(service) = self.services.get_mut(service) else {
                continue;
            };
            let region = service.regions.get_mut(region).map(|known| &mut known.1);
            for tally in region.into_iter().chain([&mut service.total]) {
                tally.add((before.0, after.0), (before.1, after.1));
            }
        }
    }
}
