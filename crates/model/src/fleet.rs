//! The declared fleet: teams, regions, services, hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::{
    Drain, FamilySettings, HostName, ProbeSettings, RegionName, RolloutPolicy, ServiceName,
    TeamName, ZoneName,
};

/// What the fleet file declares, checked and linked: every name used is declared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// Teams by name.
    pub teams: BTreeMap<TeamName, Team>,
    /// Regions by name.
    pub regions: BTreeMap<RegionName, Region>,
    /// Services by name.
    pub services: BTreeMap<ServiceName, Service>,
    /// Hosts by name.
    pub hosts: BTreeMap<HostName, Host>,
    /// Zones that strangers can reach.
    pub exposed_zones: BTreeSet<ZoneName>,
    /// Age of a running host's facts from which they are a gap; `None` is the default, 7 days.
    pub facts_max_age: Option<SignedDuration>,
    /// The team that sees all.
    pub global_team: Option<TeamName>,
    /// What is said of product families, by name.
    #[serde(default)]
    pub families: BTreeMap<String, FamilySettings>,
    /// How it wants to be patched.
    #[serde(default)]
    pub rollout: RolloutPolicy,
}

/// A team that answers for something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Team {
    /// Mail addresses.
    pub email: Vec<String>,
    /// Telephone, as a person would dial it.
    pub phone: Option<String>,
}

/// Hosts that share a time zone and a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// IANA time zone name.
    pub time_zone: String,
    /// Who answers for it.
    pub owner: Option<TeamName>,
    /// When maintenance is allowed.
    pub windows: Vec<Window>,
    /// Whether it goes first.
    pub pilot: bool,
}

/// A recurring maintenance window, in civil time of its region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// RFC 5545 recurrence rule: `FREQ=WEEKLY;BYDAY=SU;BYHOUR=1;BYMINUTE=30`.
    pub rrule: String,
    /// How long each lasts.
    pub duration: SignedDuration,
}

/// What users depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Who answers for it.
    pub owner: Option<TeamName>,
    /// SSVC mission prevalence.
    pub mission_prevalence: Option<MissionPrevalence>,
    /// SSVC public well-being impact: the service's criticality.
    pub criticality: Option<WellBeingImpact>,
    /// Hosts that must stay in service, by region.
    pub minimum: BTreeMap<RegionName, u32>,
    /// The same for every region not named in `minimum`.
    pub minimum_everywhere: Option<u32>,
    /// Hosts that must stay in service over all regions.
    #[serde(default)]
    pub minimum_total: Option<u32>,
    /// Services whose hosts in the same region are patched before its own.
    #[serde(default)]
    pub after: BTreeSet<ServiceName>,
    /// How a message is proven to go through it.
    #[serde(default)]
    pub probe: Option<ProbeSettings>,
}

impl Service {
    /// Hosts that must stay in service in a region; `None` where none is declared.
    pub fn minimum_in(&self, region: &RegionName) -> Option<u32> {
        self.minimum
            .get(region)
            .copied()
            .or(self.minimum_everywhere)
    }
}

/// SSVC 2.0.3, mission prevalence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissionPrevalence {
    /// Neither supports nor provides an essential function.
    Minimal,
    /// Supports one.
    Support,
    /// Is one.
    Essential,
}

/// SSVC 2.0.3, public well-being impact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WellBeingImpact {
    /// Little or none.
    Minimal,
    /// Harm that can be made good.
    Material,
    /// Harm that cannot.
    Irreversible,
}

/// One declared server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Name or address to reach it by; `None` is the host's own name.
    pub address: Option<String>,
    /// Its region.
    pub region: Option<RegionName>,
    /// Its network zone.
    pub zone: Option<ZoneName>,
    /// Whether strangers can reach its mail ports, where the file says so; else its zone decides.
    pub exposed: Option<bool>,
    /// What it carries.
    pub services: BTreeSet<ServiceName>,
    /// Whether it runs.
    pub lifecycle: Lifecycle,
    /// Product family: `postfix`, `exim`, `exchange`.
    pub family: Option<String>,
    /// Who answers for it, where not its service's or region's owner.
    pub owner: Option<TeamName>,
    /// How to reach it, beyond what `ssh_config` knows.
    pub access: Access,
    /// A file or directory with its facts, relative to the fleet file, instead of a scan.
    pub facts: Option<String>,
    /// How it leaves service, where not as its family does.
    #[serde(default)]
    pub drain: Option<Drain>,
}

/// Whether a declared host is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifecycle {
    /// In use.
    #[default]
    Running,
    /// Out of use; scanned and judged no more.
    Decommissioned,
}

/// SSH access, where `ssh_config` does not say it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// User.
    pub user: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Jump hosts, nearest first.
    pub jump: Vec<String>,
}

/// Whether strangers can reach a host's mail ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exposure {
    /// They can.
    Exposed,
    /// They cannot.
    Internal,
    /// Nobody said.
    Unknown,
}

impl Exposure {
    fn from_bool(exposed: bool) -> Self {
        if exposed {
            Self::Exposed
        } else {
            Self::Internal
        }
    }
}

impl Fleet {
    /// The default for [`Self::facts_max_age`].
    pub const DEFAULT_FACTS_MAX_AGE: SignedDuration = SignedDuration::from_hours(7 * 24);

    /// Who answers for a host: its own owner, else the owner of its services (the first by name
    /// that has one), else its region's, else the global team.
    pub fn owner_of<'a>(&'a self, host: &'a Host) -> Option<&'a TeamName> {
        host.owner
            .as_ref()
            .or_else(|| {
                host.services
                    .iter()
                    .find_map(|s| self.services.get(s)?.owner.as_ref())
            })
            .or_else(|| self.regions.get(host.region.as_ref()?)?.owner.as_ref())
            .or(self.global_team.as_ref())
    }

    /// The host whose `address`, or where it has none whose name, is this address.
    pub fn host_at(&self, address: IpAddr) -> Option<&HostName> {
        let address = address.to_canonical();
        let is_at = |text: &str| {
            text.parse::<IpAddr>()
                .is_ok_and(|own| own.to_canonical() == address)
        };
        let mut hosts = self.hosts.iter();
        let found =
            hosts.find(|(name, host)| is_at(host.address.as_deref().unwrap_or(name.as_str())));
        found.map(|(name, _)| name)
    }

    /// Whether strangers can reach a host: what it says itself, else its zone.
    pub fn exposure_of(&self, host: &Host) -> Exposure {
        match (host.exposed, &host.zone) {
            (Some(exposed), _) => Exposure::from_bool(exposed),
            (None, Some(zone)) => Exposure::from_bool(self.exposed_zones.contains(zone)),
            (None, None) => Exposure::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_by_its_address_or_by_a_name_that_is_one() {
        let mut fleet = Fleet::default();
        let mut host = |name: &str, address: Option<&str>| {
            let name = HostName::new(name).unwrap();
            let host = Host {
                address: address.map(str::to_owned),
                ..Host::default()
            };
            fleet.hosts.insert(name, host);
        };
        host("mx1", Some("192.0.2.1"));
        host("mx2", Some("::ffff:192.0.2.2"));
        host("mx3", Some("mx3.example.org"));
        host("192.0.2.4", None);
        host("192.0.2.5", Some("192.0.2.6"));
        let at = |address: &str| Some(fleet.host_at(address.parse().unwrap())?.as_str());
        assert_eq!(at("192.0.2.1"), Some("mx1"));
        assert_eq!(at("::ffff:192.0.2.1"), Some("mx1"));
        assert_eq!(at("192.0.2.2"), Some("mx2"));
        assert_eq!(at("192.0.2.4"), Some("192.0.2.4"));
        assert_eq!(at("192.0.2.5"), None, "it is somewhere else");
        assert_eq!(at("192.0.2.6"), Some("192.0.2.5"));
    }
}
