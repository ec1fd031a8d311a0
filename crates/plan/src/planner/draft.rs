//! From a request to what can be planned at all: who is left out and why, what kinds of host there
//! are, which host goes first, what must come before what.

mod service;

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use mailkeep_model::{
    Drain, Exposure, Fleet, Host, HostName, Lifecycle, NotPlanned, NotPlannedReason, PlanStep,
    PlannedService, PlannedWindow, RegionName, ServiceName, Stage, TeamName, Timestamp, Variant,
};

use super::build::region_times;
use super::puzzle::{Grid, HORIZON_DAYS, starts_of};
use crate::request::{HostWork, Request, variant_of};
use crate::windows;
use service::services;
pub(crate) use service::{Counts, in_service};

/// A host that may get a step.
#[derive(Debug, Clone)]
pub(crate) struct Candidate<'a> {
    pub(crate) work: &'a HostWork,
    pub(crate) host: &'a Host,
    pub(crate) region: usize,
    pub(crate) variant: usize,
    pub(crate) minutes: i32,
    pub(crate) owner: Option<&'a TeamName>,
    pub(crate) drain: Drain,
    pub(crate) stage: Stage,
    /// Hosts of its region that the order of services puts before it.
    pub(crate) class: usize,
}

/// One host, or a cluster that goes together.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// Places in [`Draft::candidates`].
    pub(crate) hosts: Vec<usize>,
}

/// What earlier plans did with a variant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before {
    /// When the last of its hosts was proven.
    pub(crate) proven: Option<Timestamp>,
    /// The same in pilot regions.
    pub(crate) proven_pilot: Option<Timestamp>,
}

/// A region with its times.
#[derive(Debug, Clone)]
pub(crate) struct DraftRegion<'a> {
    pub(crate) name: &'a RegionName,
    pub(crate) pilot: bool,
    pub(crate) zone: TimeZone,
    /// When its windows are open.
    pub(crate) open: Vec<PlannedWindow>,
    /// When it must not be touched.
    pub(crate) blackouts: Vec<PlannedWindow>,
}

/// Hosts of a region that carry the same services: the order of services knows no more.
#[derive(Debug, Clone)]
pub(crate) struct Class {
    /// Classes that come first, all of the same region.
    pub(crate) after: Vec<usize>,
    /// Places in [`Draft::candidates`].
    pub(crate) hosts: Vec<usize>,
}

/// Everything that can be planned, before it has times.
#[derive(Debug, Clone)]
pub(crate) struct Draft<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) regions: Vec<DraftRegion<'a>>,
    pub(crate) services: Vec<(&'a ServiceName, PlannedService)>,
    pub(crate) candidates: Vec<Candidate<'a>>,
    pub(crate) variants: Vec<Variant>,
    pub(crate) before: Vec<Before>,
    pub(crate) classes: Vec<Class>,
    pub(crate) not_planned: Vec<NotPlanned>,
}

impl<'a> Draft<'a> {
    /// Sorts out who can be planned.
    pub(crate) fn new(request: &'a Request<'a>) -> Self {
        let fleet = request.fleet;
        let names: BTreeSet<&RegionName> = request
            .work
            .iter()
            .filter_map(|work| fleet.hosts.get(&work.host)?.region.as_ref())
            .collect();
        let regions = names
            .iter()
            .filter_map(|name| draft_region(request, name))
            .collect();
        let mut draft = Self {
            request,
            regions,
            services: services(request),
            candidates: Vec::new(),
            variants: Vec::new(),
            before: Vec::new(),
            classes: Vec::new(),
            not_planned: request.left_out.clone(),
        };
        let mut dropped = draft.sieve();
        dropped.extend(&request.left_unpatched);
        draft.drop_dependents(dropped);
        draft.forget_unused_services();
        draft.classes();
        draft.choose_stages();
        draft
    }

    /// Whether a task of this candidate is its whole cluster.
    fn is_cluster(&self, candidate: &Candidate<'_>) -> bool {
        self.variants[candidate.variant].whole_cluster
    }

    /// Tasks, ordered by region and host.
    pub(crate) fn tasks(&self) -> Vec<Task> {
        let mut tasks = Vec::new();
        let mut clusters: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for (place, candidate) in self.candidates.iter().enumerate() {
            if self.is_cluster(candidate) {
                let key = (candidate.region, candidate.variant);
                clusters.entry(key).or_default().push(place);
            } else {
                tasks.push(Task { hosts: vec![place] });
            }
        }
        tasks.extend(clusters.into_values().map(|hosts| Task { hosts }));
        tasks
    }

    // ----- who can be planned -----

    /// Fills candidates and variants; gives the hosts with work that did not get through, and that
    /// others may wait for.
    fn sieve(&mut self) -> Vec<&'a HostName> {
        let request = self.request;
        let mut dropped = Vec::new();
        let mut seen = BTreeSet::new();
        let mut through = Vec::new();
        let before = self.earlier_plans();
        let mut open = BTreeMap::new();
        let counts = in_service(&self.services, request);
        for work in &request.work {
            if !seen.insert(&work.host) {
                continue;
            }
            match self.look_at(work, &counts, &mut open) {
                Ok(found) => through.push(found),
                Err(reason) => {
                    if reason != NotPlannedReason::AlreadyProven {
                        dropped.push(&work.host);
                    }
                    self.leave_out(&work.host, reason);
                }
            }
        }
        through.sort_by(|(a, _), (b, _)| a.work.host.cmp(&b.work.host));
        let kinds: BTreeSet<Variant> = through.iter().map(|(_, variant)| variant.clone()).collect();
        self.variants = kinds.into_iter().collect();
        self.before = self
            .variants
            .iter()
            .map(|variant| before.get(variant).cloned().unwrap_or_default())
            .collect();
        for (mut candidate, variant) in through {
            candidate.variant = self.variants.binary_search(&variant).unwrap_or(0);
            self.candidates.push(candidate);
        }
        self.clusters_that_fit(&counts, &mut dropped);
        dropped
    }

    fn leave_out(&mut self, host: &HostName, reason: NotPlannedReason) {
        self.not_planned.push(NotPlanned {
            host: host.clone(),
            reason,
        });
    }

    /// When each variant was proven by earlier plans. One that failed as well begins anew, with a test
    /// host.
    fn earlier_plans(&self) -> BTreeMap<Variant, Before> {
        let request = self.request;
        let mut before: BTreeMap<Variant, Before> = BTreeMap::new();
        let steps: BTreeMap<&HostName, &PlanStep> = request
            .parent
            .iter()
            .flat_map(|(_, plan)| plan.steps.iter().map(|step| (&step.host, step)))
            .collect();
        for host in &request.proven {
            let step = request
                .parent
                .and_then(|(_, plan)| Some((plan, *steps.get(host)?)));
            let planned = step.and_then(|(plan, step)| {
                plan.variants
                    .get(super::schedule::index(step.variant))
                    .cloned()
            });
            let works = || {
                let work = request.work.iter().find(|work| work.host == *host)?;
                Some(variant_of(request.fleet, work))
            };
            let Some(variant) = planned.or_else(works) else {
                continue;
            };
            if request.failed.contains_key(&variant) {
                continue;
            }
            // It is proven now, so it was not after now.
            let at = step.map_or(request.now, |(_, step)| step.end.min(request.now));
            let region = request
                .fleet
                .hosts
                .get(host)
                .and_then(|h| h.region.as_ref());
            let region = region.and_then(|name| request.fleet.regions.get(name));
            let entry = before.entry(variant).or_default();
            entry.proven = entry.proven.max(Some(at));
            if region.is_some_and(|r| r.pilot) {
                entry.proven_pilot = entry.proven_pilot.max(Some(at));
            }
        }
        before
    }

    fn look_at(
        &self,
        work: &'a HostWork,
        counts: &Counts,
        open: &mut BTreeMap<(usize, i32), bool>,
    ) -> Result<(Candidate<'a>, Variant), NotPlannedReason> {
        let request = self.request;
        let fleet = request.fleet;
        if request.proven.contains(&work.host) {
            return Err(NotPlannedReason::AlreadyProven);
        }
        let variant = variant_of(fleet, work);
        if let Some(failed_on) = request.set_aside(&variant) {
            let failed_on = failed_on.clone();
            return Err(NotPlannedReason::ChangeQuarantined { failed_on });
        }
        if let Some(plan) = request.elsewhere.get(&work.host) {
            return Err(NotPlannedReason::PlannedElsewhere { plan: plan.clone() });
        }
        let Some(host) = fleet.hosts.get(&work.host) else {
            let why = "the fleet file does not name it".to_owned();
            return Err(NotPlannedReason::Unreachable { why });
        };
        if host.lifecycle != Lifecycle::Running {
            let why = "it is out of use".to_owned();
            return Err(NotPlannedReason::Unreachable { why });
        }
        if request.out_of_service.contains(&work.host) {
            let why = "it is out of service".to_owned();
            return Err(NotPlannedReason::Unreachable { why });
        }
        let region = host
            .region
            .as_ref()
            .and_then(|name| self.regions.iter().position(|r| r.name == name))
            .ok_or(NotPlannedReason::NoRegion)?;
        let family = fleet.families.get(&work.family);
        let minutes = work
            .minutes
            .or_else(|| family.and_then(|f| f.step_minutes))
            .unwrap_or(fleet.rollout.step_minutes)
            .clamp(1, HORIZON_DAYS * 24 * 60);
        let minutes = i32::try_from(minutes).unwrap_or(i32::MAX);
        for service in &host.services {
            if let Some(short) = self.shortage(service, region, 1, counts) {
                return Err(short);
            }
        }
        let drain = host
            .drain
            .clone()
            .or_else(|| family.and_then(|f| f.drain.clone()))
            .unwrap_or(if host.services.is_empty() {
                Drain::None
            } else {
                Drain::SynRefusal
            });
        let policy = &fleet.rollout;
        if [
            policy.parallel_fleet,
            policy.parallel_region,
            policy.parallel_team,
        ]
        .contains(&Some(0))
        {
            let why = "the policy allows no host to be out of service".to_owned();
            return Err(NotPlannedReason::NeedsPerson { why });
        }
        if !*open
            .entry((region, minutes))
            .or_insert_with(|| self.ever_open(region, minutes))
        {
            return Err(NotPlannedReason::NoWindow {
                region: self.regions[region].name.clone(),
                days: HORIZON_DAYS,
            });
        }
        let candidate = Candidate {
            work,
            host,
            region,
            variant: 0,
            minutes,
            owner: fleet.owner_of(host),
            drain,
            stage: Stage::Rest,
            class: 0,
        };
        Ok((candidate, variant))
    }

    /// Whether a step of some length can start at all in a region.
    fn ever_open(&self, region: usize, minutes: i32) -> bool {
        let policy = &self.request.fleet.rollout;
        let grid = Grid::new(self.request.now, policy.slot_minutes);
        let rules = policy.lane(self.request.lane);
        let times = region_times(&grid, &self.regions[region], rules, None);
        !starts_of(&grid, &times, minutes).is_empty()
    }

    /// The reason why so many hosts of a service cannot be out at once in a region.
    fn shortage(
        &self,
        service: &ServiceName,
        region: usize,
        wanted: u32,
        counts: &Counts,
    ) -> Option<NotPlannedReason> {
        let place = self
            .services
            .iter()
            .position(|(name, _)| *name == service)?;
        let planned = &self.services[place].1;
        let name = self.regions[region].name;
        let minimum = planned.minimum.get(name).copied().unwrap_or(0);
        let here = counts.by_region[place].get(name).copied().unwrap_or(0);
        let short = |region, in_service, minimum| {
            Some(NotPlannedReason::MinimumInService {
                service: service.clone(),
                region,
                in_service,
                minimum,
            })
        };
        if here.saturating_sub(minimum) < wanted {
            return short(Some(name.clone()), here, minimum);
        }
        let all = counts.total[place];
        match planned.minimum_total {
            Some(minimum) if all.saturating_sub(minimum) < wanted => short(None, all, minimum),
            Some(_) | None => None,
        }
    }

    /// Clusters that cannot go at once cannot go.
    fn clusters_that_fit(&mut self, counts: &Counts, dropped: &mut Vec<&'a HostName>) {
        let policy = &self.request.fleet.rollout;
        let mut reasons: BTreeMap<usize, NotPlannedReason> = BTreeMap::new();
        for task in self.tasks().iter().filter(|task| task.hosts.len() > 1) {
            let first = &self.candidates[task.hosts[0]];
            let count = |wanted: &dyn Fn(&Candidate<'_>) -> bool| {
                let hosts = task.hosts.iter().filter(|h| wanted(&self.candidates[**h]));
                u32::try_from(hosts.count()).unwrap_or(u32::MAX)
            };
            let all = count(&|_| true);
            let services: BTreeSet<&ServiceName> = task
                .hosts
                .iter()
                .flat_map(|h| &self.candidates[*h].host.services)
                .collect();
            let short = services.into_iter().find_map(|service| {
                let carrying = count(&|c| c.host.services.contains(service));
                self.shortage(service, first.region, carrying, counts)
            });
            let teams: BTreeSet<_> = task
                .hosts
                .iter()
                .filter_map(|h| self.candidates[*h].owner)
                .collect();
            let team = teams
                .into_iter()
                .map(|team| count(&|c| c.owner == Some(team)))
                .max();
            let cap = [
                (policy.parallel_fleet, all),
                (policy.parallel_region, all),
                (policy.parallel_team, team.unwrap_or(0)),
            ]
            .into_iter()
            .find_map(|(cap, at_once)| cap.filter(|cap| *cap < at_once));
            let reason = short.or_else(|| {
                cap.map(|cap| NotPlannedReason::NeedsPerson {
                    why: format!(
                        "its {all} hosts must be patched together, and the policy allows {cap} at a time"
                    ),
                })
            });
            if let Some(reason) = reason {
                reasons.extend(task.hosts.iter().map(|host| (*host, reason.clone())));
            }
        }
        for (host, reason) in &reasons {
            let name = &self.candidates[*host].work.host;
            dropped.push(name);
            self.leave_out(name, reason.clone());
        }
        self.keep(|place| !reasons.contains_key(&place));
    }

    fn keep(&mut self, keep: impl Fn(usize) -> bool) {
        let mut place = 0;
        self.candidates.retain(|_| {
            place += 1;
            keep(place - 1)
        });
    }

    /// Hosts whose services come after those of a host that is not planned are not planned either.
    fn drop_dependents(&mut self, mut dropped: Vec<&'a HostName>) {
        let fleet = self.request.fleet;
        while !dropped.is_empty() {
            let mut waiting: BTreeMap<usize, &HostName> = BTreeMap::new();
            for name in &dropped {
                let Some(host) = fleet.hosts.get(*name) else {
                    continue;
                };
                for (place, candidate) in self.candidates.iter().enumerate() {
                    if candidate.host.region == host.region
                        && comes_after(fleet, &candidate.host.services, &host.services)
                        && !comes_after(fleet, &host.services, &candidate.host.services)
                    {
                        waiting.entry(place).or_insert(name);
                    }
                }
            }
            dropped = waiting
                .keys()
                .map(|place| &self.candidates[*place].work.host)
                .collect();
            for (place, host) in &waiting {
                let name = &self.candidates[*place].work.host;
                let host = (*host).clone();
                self.leave_out(name, NotPlannedReason::DependsOnUnplanned { host });
            }
            self.keep(|place| !waiting.contains_key(&place));
        }
    }

    fn forget_unused_services(&mut self) {
        let used: BTreeSet<&ServiceName> = self
            .candidates
            .iter()
            .flat_map(|c| &c.host.services)
            .collect();
        self.services.retain(|(name, _)| used.contains(name));
    }

    // ----- what comes first -----

    fn classes(&mut self) {
        let mut classes: BTreeMap<(usize, &BTreeSet<ServiceName>), Vec<usize>> = BTreeMap::new();
        for (place, candidate) in self.candidates.iter().enumerate() {
            let key = (candidate.region, &candidate.host.services);
            classes.entry(key).or_default().push(place);
        }
        let fleet = self.request.fleet;
        let keys: Vec<_> = classes.keys().copied().collect();
        let after = |(region, services): (usize, &BTreeSet<ServiceName>)| {
            let first = |(_, (other, earlier)): &(usize, &(usize, &BTreeSet<ServiceName>))| {
                *other == region
                    && comes_after(fleet, services, earlier)
                    && !comes_after(fleet, earlier, services)
            };
            let numbered = keys.iter().enumerate();
            numbered
                .filter(first)
                .map(|(number, _)| number)
                .collect::<Vec<_>>()
        };
        let built: Vec<Class> = classes
            .iter()
            .map(|(key, hosts)| Class {
                after: after(*key),
                hosts: hosts.clone(),
            })
            .collect();
        for (number, class) in built.iter().enumerate() {
            for host in &class.hosts {
                self.candidates[*host].class = number;
            }
        }
        self.classes = built;
    }

    /// Which host of each variant goes first, and what stage the others are.
    fn choose_stages(&mut self) {
        for candidate in &mut self.candidates {
            candidate.stage = if self.regions[candidate.region].pilot {
                Stage::Pilot
            } else {
                Stage::Rest
            };
        }
        let mut best: BTreeMap<usize, (TestRank<'_>, usize)> = BTreeMap::new();
        let counts = in_service(&self.services, self.request);
        for (place, candidate) in self.candidates.iter().enumerate() {
            if self.before[candidate.variant].proven.is_some() {
                continue;
            }
            let rank = self.test_rank(candidate, &counts);
            match best.get(&candidate.variant) {
                Some((other, _)) if *other <= rank => {}
                Some(_) | None => {
                    best.insert(candidate.variant, (rank, place));
                }
            }
        }
        let chosen: Vec<usize> = best.into_values().map(|(_, place)| place).collect();
        for place in chosen {
            let (variant, region) = (
                self.candidates[place].variant,
                self.candidates[place].region,
            );
            if self.variants[variant].whole_cluster {
                for candidate in &mut self.candidates {
                    if (candidate.variant, candidate.region) == (variant, region) {
                        candidate.stage = Stage::Test;
                    }
                }
            } else {
                self.candidates[place].stage = Stage::Test;
            }
        }
    }

    /// The lowest goes first: a declared test host; else one of the pilot region; of those one that
    /// waits for nobody, is in the least critical service, the least exposed, with the most other hosts
    /// to take its load, the least at risk.
    fn test_rank(&self, candidate: &Candidate<'a>, counts: &Counts) -> TestRank<'a> {
        let fleet = self.request.fleet;
        let family = fleet.families.get(&candidate.work.family);
        let declared = family.is_some_and(|f| f.test_hosts.contains(&candidate.work.host));
        let region = &self.regions[candidate.region];
        let critical = candidate
            .host
            .services
            .iter()
            .filter_map(|name| fleet.services.get(name))
            .map(|s| (s.criticality, s.mission_prevalence))
            .max();
        let exposure = match fleet.exposure_of(candidate.host) {
            Exposure::Internal => 0,
            Exposure::Unknown => 1,
            Exposure::Exposed => 2,
        };
        let slack = candidate
            .host
            .services
            .iter()
            .filter_map(|name| {
                let place = self.services.iter().position(|(known, _)| *known == name)?;
                let here = counts.by_region[place]
                    .get(region.name)
                    .copied()
                    .unwrap_or(0);
                let minimum = self.services[place].1.minimum.get(region.name).copied();
                Some(here.saturating_sub(minimum.unwrap_or(0)))
            })
            .min()
            .unwrap_or(u32::MAX);
        let waits = !self.classes[candidate.class].after.is_empty();
        let critical = critical.map_or((0, 0), |(being, mission)| {
            (
                being.map_or(0, |b| 1 + b as u8),
                mission.map_or(0, |m| 1 + m as u8),
            )
        });
        TestRank {
            order: (!declared, !region.pilot, waits),
            critical,
            exposure,
            slack: u32::MAX - slack,
            risk: candidate.work.risk,
            host: &candidate.work.host,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct TestRank<'a> {
    order: (bool, bool, bool),
    critical: (u8, u8),
    exposure: u8,
    slack: u32,
    risk: u32,
    host: &'a HostName,
}

/// Whether hosts with these services come after hosts with those, by one service at least.
fn comes_after(
    fleet: &Fleet,
    later: &BTreeSet<ServiceName>,
    earlier: &BTreeSet<ServiceName>,
) -> bool {
    later.iter().any(|name| {
        let service = fleet.services.get(name);
        service.is_some_and(|service| !service.after.is_disjoint(earlier))
    })
}

fn draft_region<'a>(request: &Request<'a>, name: &'a RegionName) -> Option<DraftRegion<'a>> {
    let region = request.fleet.regions.get(name)?;
    let zone = windows::time_zone(&region.time_zone).ok()?;
    let to = request
        .now
        .saturating_add(jiff::SignedDuration::from_hours(
            i64::from(HORIZON_DAYS) * 24,
        ))
        .unwrap_or(Timestamp::MAX);
    let open = windows::openings(&zone, &region.windows, request.now, to).unwrap_or_default();
    let blackouts = windows::blackout_spans(&zone, name, &request.fleet.rollout.blackouts);
    Some(DraftRegion {
        name,
        pilot: region.pilot,
        zone,
        open,
        blackouts,
    })
}
