//! Fleets drawn from a seed, each with work to do and a plan for it by the real planner.
//!
//! They are small and awkward on purpose: services with no host to spare but one, hosts that carry two
//! services, a service in two regions with a minimum over both, clusters, dependencies, either lane.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use mailkeep_model::{
    AdvisoryId, FamilySettings, Fleet, Host, HostName, InvalidId, Lane, LaneRules, Plan, Region,
    RegionName, RolloutPolicy, Service, ServiceName, Timestamp, Window,
};
use mailkeep_plan::{HostWork, Planned, Request};

use crate::draw::{About, Draw};

/// A fleet with work to do.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// The declared fleet.
    pub fleet: Fleet,
    /// What is to be done.
    pub work: Vec<HostWork>,
    /// The lane.
    pub lane: Lane,
    /// "Now".
    pub now: Timestamp,
}

/// Time zones far apart.
const ZONES: [&str; 4] = [
    "Europe/Berlin",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Pacific/Auckland",
];

/// Services that a drawn fleet has the first few of, with the family of their hosts.
const SERVICES: [(&str, &str); 3] = [
    ("inbound-mx", "postfix"),
    ("filter", "rspamd"),
    ("mailbox", "dovecot"),
];

impl Drawn {
    /// Draws one of some dozen hosts. Equal seeds give equal fleets.
    pub fn new(seed: u64) -> Result<Self, InvalidId> {
        let draw = Draw::new(seed);
        let number = |what: u64, of: u64| {
            usize::try_from(draw.bits(About::Fleet, &[what]) % of.max(1)).unwrap_or(0)
        };
        // 2026-11-21 12:00 UTC, and up to a day later.
        let now = Timestamp::from_second(1_795_262_400 + 3600 * as_i64(number(1, 24)))
            .unwrap_or(Timestamp::UNIX_EPOCH);
        let mut fleet = Fleet::default();
        let mut work = Vec::new();
        let regions = 1 + number(2, 3);
        let services = 1 + number(3, 3);
        for (at, zone) in ZONES.iter().enumerate().take(regions) {
            let region = RegionName::new(format!("region-{at}"))?;
            fleet.regions.insert(
                region.clone(),
                Region {
                    time_zone: (*zone).to_owned(),
                    owner: None,
                    windows: vec![Window {
                        rrule: format!("FREQ=DAILY;BYHOUR={};BYMINUTE=0", 20 + number(4, 4)),
                        duration: SignedDuration::from_hours(5),
                    }],
                    pilot: at == 0,
                },
            );
            for (service, (_, family)) in SERVICES.iter().enumerate().take(services) {
                let key = (at * 10 + service) as u64;
                for host in 0..2 + number(100 + key, 4) {
                    let name = HostName::new(format!("{family}-{host}.{region}"))?;
                    let mut carries = BTreeSet::from([ServiceName::new(SERVICES[service].0)?]);
                    if services > 1 && number(200 + key * 10 + host as u64, 8) == 0 {
                        carries.insert(ServiceName::new(SERVICES[(service + 1) % services].0)?);
                    }
                    fleet.hosts.insert(
                        name.clone(),
                        Host {
                            region: Some(region.clone()),
                            services: carries,
                            family: Some((*family).to_owned()),
                            ..Host::default()
                        },
                    );
                    // One host in twelve has nothing to do, and still counts.
                    if number(3_000 + key * 10 + host as u64, 12) != 0 {
                        // Of its own in one fleet of two: a change that fails there is kept from no other.
                        let from = if number(95, 2) == 0 {
                            format!("1.0-2.{}", work.len())
                        } else if number(900 + key, 4) == 0 {
                            "1.0-1".to_owned()
                        } else {
                            "1.0-2".to_owned()
                        };
                        let closes = AdvisoryId::new("CVE-2026-0001")?;
                        let versions = (from.as_str(), "1.0-3");
                        work.push(HostWork::simulated(name, family, versions, closes, now));
                    }
                }
            }
        }
        for (at, (name, family)) in SERVICES.iter().enumerate().take(services) {
            let name = ServiceName::new(name)?;
            let mut service = service_of(&fleet, &name, |what| number(50_000 + what, 100));
            if at > 0 && number(60 + at as u64, 3) == 0 {
                service.after = BTreeSet::from([ServiceName::new(SERVICES[at - 1].0)?]);
            }
            fleet.services.insert(name, service);
            if number(70 + at as u64, 8) == 0 {
                fleet.families.insert(
                    (*family).to_owned(),
                    FamilySettings {
                        whole_cluster: true,
                        ..FamilySettings::default()
                    },
                );
            }
        }
        fleet.rollout = RolloutPolicy {
            slot_minutes: 15,
            step_minutes: 30,
            parallel_fleet: (number(80, 4) == 0).then(|| 1 + small(number(81, 3))),
            parallel_region: (number(82, 4) == 0).then(|| 1 + small(number(83, 2))),
            // One fleet of two bears any number, so that what many faults do is seen to the end.
            wave_failures: if number(96, 2) == 0 {
                1000
            } else {
                small(number(84, 3))
            },
            regular: LaneRules {
                soak_test_minutes: 60,
                soak_pilot_minutes: 120,
                soak_wave_minutes: 30,
                windows: true,
                blackouts: true,
                early: false,
            },
            ..RolloutPolicy::default()
        };
        work.sort_by(|a, b| a.host.cmp(&b.host));
        Ok(Self {
            fleet,
            work,
            lane: if number(90, 2) == 0 {
                Lane::Emergency
            } else {
                Lane::Regular
            },
            now,
        })
    }

    /// What the planner is asked.
    pub fn request(&self) -> Request<'_> {
        let title = "drawn for a rehearsal";
        Request {
            lane: self.lane,
            ..Request::drill(title, self.now, &self.fleet, self.work.clone())
        }
    }

    /// What the planner answers.
    pub fn planned(&self) -> Planned {
        mailkeep_plan::plan(&self.request())
    }

    /// The plan, where any host gets a step.
    pub fn plan(&self) -> Option<Plan> {
        self.planned().plan
    }
}

fn as_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(0)
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// Nearly every host must stay, or one, or all but one over all regions.
fn service_of(fleet: &Fleet, name: &ServiceName, number: impl Fn(u64) -> usize) -> Service {
    let mut members: BTreeMap<RegionName, u32> = BTreeMap::new();
    for host in fleet.hosts.values() {
        if let Some(region) = host
            .region
            .as_ref()
            .filter(|_| host.services.contains(name))
        {
            *members.entry(region.clone()).or_default() += 1;
        }
    }
    let all: u32 = members.values().sum();
    let kind = name.as_str().len() as u64;
    let spare = 1 + u32::from(number(kind) < 40);
    Service {
        minimum: members
            .into_iter()
            .map(|(region, count)| (region, count.saturating_sub(spare)))
            .collect(),
        minimum_total: (number(kind + 100) < 40).then(|| all.saturating_sub(spare)),
        ..Service::default()
    }
}
