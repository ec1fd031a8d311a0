//! Fleets drawn from a seed, to measure the planner on: the five families by which its nearness to the
//! optimum is judged, and as many of each as one likes.
//!
//! Entry types: [`Family`] and [`Instance`].
//!
//! Regions lie in real time zones round the world and have a window each night; every service has hosts
//! in every region and a minimum there; risks, versions and sizes differ. Maintenance slots are twelve
//! minutes, as in the measurements that the goals were set by, and soak is short, so that the end of a
//! plan depends on how it is packed and not on waiting.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use mailkeep_model::{
    AdvisoryId, Fleet, Host, HostName, InvalidId, LaneRules, Region, RegionName, RolloutPolicy,
    Service, ServiceName, TeamName, Timestamp, Window,
};

use crate::request::{HostWork, Request};

/// A kind of instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// 36 hosts in 6 regions.
    Small,
    /// 500 hosts in 12 regions, with limits for region and fleet.
    Middle,
    /// 5,000 hosts in 25 regions, likewise.
    Large,
    /// As `Middle`, and one service may have only a few hosts out over all regions.
    MiddleCapped,
    /// As `Large`, likewise.
    LargeCapped,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Small,
        Self::Middle,
        Self::Large,
        Self::MiddleCapped,
        Self::LargeCapped,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "36-hosts-6-regions",
            Self::Middle => "500-hosts-12-regions",
            Self::Large => "5000-hosts-25-regions",
            Self::MiddleCapped => "500-hosts-service-cap",
            Self::LargeCapped => "5000-hosts-service-cap",
        }
    }

    fn size(self) -> (u32, usize, bool) {
        match self {
            Self::Small => (36, 6, false),
            Self::Middle => (500, 12, false),
            Self::Large => (5_000, 25, false),
            Self::MiddleCapped => (500, 12, true),
            Self::LargeCapped => (5_000, 25, true),
        }
    }
}

/// A fleet with work to do.
#[derive(Debug, Clone)]
pub struct Instance {
    /// The declared fleet.
    pub fleet: Fleet,
    /// What is to be done.
    pub work: Vec<HostWork>,
    /// "Now".
    pub now: Timestamp,
}

impl Instance {
    /// Draws one. Equal seeds give equal instances.
    pub fn draw(family: Family, seed: u64) -> Result<Self, InvalidId> {
        Drawing::new(family, seed).draw()
    }

    /// The same with deadlines: a third of the hosts is due on the day of "now", a third on the next, more
    /// than the windows can keep where hosts are many.
    #[must_use]
    pub fn with_deadlines(mut self, seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let today = self.now.to_zoned(jiff::tz::TimeZone::UTC).date();
        for work in &mut self.work {
            let days = [None, Some(today), today.tomorrow().ok()];
            work.deadline = days[random.pick(days.len())];
        }
        self
    }

    /// The request for its plan.
    pub fn request(&self) -> Request<'_> {
        Request::drill("drawn", self.now, &self.fleet, self.work.clone())
    }
}

/// Time zones round the world, the larger populations first.
const ZONES: [&str; 25] = [
    "Europe/Berlin",
    "America/New_York",
    "Asia/Tokyo",
    "Australia/Sydney",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "America/Los_Angeles",
    "Europe/London",
    "Asia/Singapore",
    "Africa/Johannesburg",
    "Asia/Dubai",
    "America/Chicago",
    "Pacific/Auckland",
    "Africa/Lagos",
    "America/Mexico_City",
    "Asia/Kathmandu",
    "Europe/Moscow",
    "America/Denver",
    "Asia/Karachi",
    "Pacific/Honolulu",
    "America/Halifax",
    "Asia/Dhaka",
    "Africa/Nairobi",
    "America/Anchorage",
    "Atlantic/Azores",
];

/// Services, with the product family that carries them and their share of a region's hosts in percent.
const SERVICES: [(&str, &str, u32); 4] = [
    ("inbound-mx", "postfix", 30),
    ("filter", "rspamd", 20),
    ("mailbox", "dovecot", 30),
    ("submission", "exim", 20),
];

struct Drawing {
    family: Family,
    random: Random,
}

impl Drawing {
    fn new(family: Family, seed: u64) -> Self {
        Self {
            family,
            random: Random(
                seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .wrapping_add(family as u64),
            ),
        }
    }

    fn draw(mut self) -> Result<Instance, InvalidId> {
        let (hosts, regions, capped) = self.family.size();
        // Working hours where the pilot is, on a Monday.
        let now = jiff::civil::date(2026, 11, 23)
            .at(
                i8::try_from(8 + self.random.below(10)).unwrap_or(8),
                0,
                0,
                0,
            )
            .in_tz(ZONES[regions - 1])
            .map_or(Timestamp::UNIX_EPOCH, |zoned| zoned.timestamp());
        let mut fleet = Fleet::default();
        let mut work = Vec::new();
        let sizes = self.sizes(hosts, regions);
        for (zone, size) in ZONES.iter().zip(&sizes) {
            let name = zone.rsplit('/').next().unwrap_or(zone).to_lowercase();
            self.region(&mut fleet, &name, zone, zone == &ZONES[regions - 1])?;
            self.hosts(&mut fleet, &mut work, &name, *size)?;
        }
        for (name, _, _) in SERVICES {
            let service = self.service(
                &fleet,
                &ServiceName::new(name)?,
                capped && name == "inbound-mx",
            );
            fleet.services.insert(ServiceName::new(name)?, service);
        }
        let largest = sizes.iter().copied().max().unwrap_or(1);
        let limited = self.family != Family::Small;
        fleet.rollout = RolloutPolicy {
            slot_minutes: 12,
            step_minutes: 12,
            parallel_region: limited.then_some((largest / 10).max(8)),
            parallel_fleet: limited.then_some((hosts / 20).max(4)),
            regular: LaneRules {
                soak_test_minutes: 24,
                soak_pilot_minutes: 60,
                soak_wave_minutes: 24,
                windows: true,
                blackouts: true,
                early: false,
            },
            ..RolloutPolicy::default()
        };
        work.sort_by(|a, b| a.host.cmp(&b.host));
        for item in &mut work {
            item.facts_as_of = now;
        }
        Ok(Instance { fleet, work, now })
    }

    /// Hosts by region: sizes differ, the last is by far the smallest and the pilot.
    fn sizes(&mut self, hosts: u32, regions: usize) -> Vec<u32> {
        let pilot = (hosts / 250).max(4);
        let shares: Vec<u32> = (1..regions).map(|_| 8 + self.random.below(9)).collect();
        let all: u32 = shares.iter().sum();
        let mut sizes: Vec<u32> = shares
            .iter()
            .map(|share| ((hosts - pilot) * share / all).max(4))
            .collect();
        sizes.push(pilot);
        let given: u32 = sizes.iter().sum();
        sizes[0] = (sizes[0] + hosts).saturating_sub(given);
        sizes
    }

    fn region(
        &mut self,
        fleet: &mut Fleet,
        name: &str,
        zone: &str,
        pilot: bool,
    ) -> Result<(), InvalidId> {
        let hour = 20 + self.random.below(4);
        let minute = 15 * self.random.below(4);
        let region = Region {
            time_zone: zone.to_owned(),
            owner: Some(TeamName::new(format!("team-{name}"))?),
            windows: vec![Window {
                rrule: format!("FREQ=DAILY;BYHOUR={hour};BYMINUTE={minute}"),
                duration: SignedDuration::from_mins(i64::from(5 * 60 + 30 * self.random.below(5))),
            }],
            pilot,
        };
        fleet.regions.insert(RegionName::new(name)?, region);
        Ok(())
    }

    fn hosts(
        &mut self,
        fleet: &mut Fleet,
        work: &mut Vec<HostWork>,
        region: &str,
        size: u32,
    ) -> Result<(), InvalidId> {
        let mut number = 0;
        for (place, (service, family, share)) in SERVICES.iter().enumerate() {
            let last = place + 1 == SERVICES.len();
            let count = if last {
                size.saturating_sub(number)
            } else {
                (size * share / 100).max(1)
            };
            for _ in 0..count {
                number += 1;
                let name = HostName::new(format!("{service}-{number:03}.{region}"))?;
                let host = Host {
                    region: Some(RegionName::new(region)?),
                    services: BTreeSet::from([ServiceName::new(service)?]),
                    family: Some((*family).to_owned()),
                    ..Host::default()
                };
                fleet.hosts.insert(name.clone(), host);
                work.push(self.work(name, family, number % 4 == 0)?);
            }
        }
        Ok(())
    }

    /// Where there are hosts enough, a quarter start from an older version.
    fn work(
        &mut self,
        host: HostName,
        family: &str,
        is_older: bool,
    ) -> Result<HostWork, InvalidId> {
        let is_older = is_older && self.family != Family::Small;
        let from = if is_older { "1.0-1" } else { "1.0-2" };
        let versions = (from, "1.0-3");
        let seen = Timestamp::UNIX_EPOCH;
        Ok(HostWork {
            risk: [2, 4, 8, 16][self.random.pick(4)],
            ..HostWork::simulated(host, family, versions, advisory()?, seen)
        })
    }

    /// About a quarter of a service's hosts may be out at a time in a region, but one at least; two in the
    /// pilot region, which can bear more.
    fn service(&mut self, fleet: &Fleet, name: &ServiceName, capped: bool) -> Service {
        let mut members: BTreeMap<RegionName, u32> = BTreeMap::new();
        for host in fleet
            .hosts
            .values()
            .filter(|host| host.services.contains(name))
        {
            if let Some(region) = &host.region {
                *members.entry(region.clone()).or_default() += 1;
            }
        }
        let all: u32 = members.values().sum();
        let minimum = members
            .into_iter()
            .map(|(region, count)| {
                let pilot = fleet.regions.get(&region).is_some_and(|r| r.pilot);
                let share = count * (15 + self.random.below(15)) / 100;
                let out = share.max(if pilot { 2 } else { 1 });
                (region, count.saturating_sub(out))
            })
            .collect();
        Service {
            minimum,
            // So few that the nights of the whole world are just enough.
            minimum_total: capped.then(|| all - (all * 12).div_ceil(15 * 60).max(1)),
            ..Service::default()
        }
    }
}

fn advisory() -> Result<AdvisoryId, InvalidId> {
    AdvisoryId::new("CVE-2026-40001")
}

/// `SplitMix64` (Steele, Lea, Flood 2014): small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit.max(1))).unwrap_or(0)
    }

    fn pick(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).unwrap_or(0) % limit.max(1)
    }
}
