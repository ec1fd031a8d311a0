//! How a fleet wants to be patched: what a plan must honour besides windows and minimums.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{HostName, Lane, RegionName};

/// Rules of planning and rolling out, `[policy.rollout]` in the fleet file. A plan carries the rules
/// as they held when it was made, so that it can be checked later without the fleet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutPolicy {
    /// Minutes of the grid on which steps start. Starts are counted from the hour in UTC.
    pub slot_minutes: u32,
    /// Minutes allotted to a host from drain to proof, where neither its family nor this fleet's own
    /// history says otherwise.
    pub step_minutes: u32,
    /// Hosts out of service at a time in the whole fleet; `None` is no limit but the minimums.
    pub parallel_fleet: Option<u32>,
    /// The same for each region.
    pub parallel_region: Option<u32>,
    /// The same for each team's hosts.
    pub parallel_team: Option<u32>,
    /// Failed hosts a wave bears; one more stops everything not yet started.
    pub wave_failures: u32,
    /// Days without maintenance.
    pub blackouts: Vec<Blackout>,
    /// How far, in minutes, a region may shift its own waves without the global team.
    pub shift_minutes: u32,
    /// The regular lane.
    pub regular: LaneRules,
    /// The emergency lane.
    pub emergency: LaneRules,
}

/// What differs between the lanes. The minimum in service is not among it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneRules {
    /// Minutes from a variant's proven test host to its pilot region.
    pub soak_test_minutes: u32,
    /// Minutes from a variant's last proven host of the pilot region to the rest.
    pub soak_pilot_minutes: u32,
    /// Minutes from one wave of a region to its next; also how long a host is watched after its
    /// return.
    pub soak_wave_minutes: u32,
    /// Whether steps keep to the windows of their region.
    pub windows: bool,
    /// Whether steps keep out of blackouts.
    pub blackouts: bool,
    /// Whether a step may begin before its time, once all it waits for is done: never before its window
    /// opens, nor before the stages, waves and hosts before it, and only while every minimum holds. The
    /// plan's times are then the latest at which things are expected.
    #[serde(default)]
    pub early: bool,
}

/// Days on which nothing is patched, in civil time of each region it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blackout {
    /// First day.
    pub from: Date,
    /// Last day, included.
    pub to: Date,
    /// Regions it concerns; empty is all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub regions: BTreeSet<RegionName>,
    /// Why, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Default for RolloutPolicy {
    /// A quarter-hour grid and half an hour a host: an upgrade with drain and proof takes minutes, and
    /// a mail session caught by the drain may take up to ten (RFC 5321 section 4.5.3.2.6). No failure
    /// is borne. A day of soak after the test host and after the pilot region; in an emergency a
    /// quarter of an hour and one hour, windows and blackouts do not hold, and nothing waits for the clock
    /// alone.
    fn default() -> Self {
        Self {
            slot_minutes: 15,
            step_minutes: 30,
            parallel_fleet: None,
            parallel_region: None,
            parallel_team: None,
            wave_failures: 0,
            blackouts: Vec::new(),
            shift_minutes: 7 * 24 * 60,
            regular: LaneRules {
                soak_test_minutes: 24 * 60,
                soak_pilot_minutes: 24 * 60,
                soak_wave_minutes: 30,
                windows: true,
                blackouts: true,
                early: false,
            },
            emergency: LaneRules {
                soak_test_minutes: 15,
                soak_pilot_minutes: 60,
                soak_wave_minutes: 15,
                windows: false,
                blackouts: false,
                early: true,
            },
        }
    }
}

impl RolloutPolicy {
    /// The rules of a lane.
    pub fn lane(&self, lane: Lane) -> LaneRules {
        match lane {
            Lane::Emergency => self.emergency,
            Lane::Regular => self.regular,
        }
    }
}

/// What a fleet file says of one product family, `[families.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilySettings {
    /// The host that has a patch first; without one the planner takes a host of the pilot region that
    /// is the least exposed.
    pub test_hosts: BTreeSet<HostName>,
    /// How its hosts leave service, where the host itself does not say.
    pub drain: Option<Drain>,
    /// Minutes allotted to a host.
    pub step_minutes: Option<u32>,
    /// Whether all its hosts of a region must be patched in one step (a cluster whose nodes cannot run
    /// two versions side by side).
    pub whole_cluster: bool,
    /// A recipe file, relative to the fleet file.
    pub recipe: Option<String>,
    /// Further settings of the recipe, by name; reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
}

/// How a host leaves service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Drain {
    /// An `HAProxy` in front of it stops sending it sessions.
    Haproxy {
        /// The host on which `HAProxy` runs.
        front: HostName,
        /// Path of its admin socket there.
        socket: String,
        /// Backend.
        backend: String,
        /// This host's name in that backend.
        server: String,
    },
    /// Nothing is done: it carries no service, or nobody would notice.
    None,
    /// By the product's own means: a 421 for new sessions, `smtpctl pause smtp`.
    Product,
    /// New TCP connections to the mail ports are refused by the host's packet filter, so that open
    /// sessions end by themselves and senders go to the next server.
    SynRefusal,
}

/// How a message is proven to go through a service, `[services.NAME.probe]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSettings {
    /// Port that probes are handed to.
    pub port: u16,
    /// Envelope sender.
    pub from: String,
    /// Recipient.
    pub to: String,
    /// The host on which the recipient's mailbox lies; `None` is the host that took the probe.
    pub found_on: Option<HostName>,
    /// The mailbox there: an mbox file or a Maildir directory.
    pub mailbox: String,
    /// Seconds after which an undelivered probe is late.
    pub late_seconds: u32,
}
