//! What a correct fleet file leaves open. A gap is no mistake: the fleet can be checked, but
//! something is assumed, or nobody will be called.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use mailkeep_model::{Fleet, HostName, Lifecycle, RegionName, ServiceName};

/// One gap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// Which.
    pub kind: GapKind,
    /// What it is about, by name: a host, service, region, team; empty where it is the fleet.
    pub subject: String,
    /// What is missing, in one sentence.
    pub sentence: String,
    /// What to do about it.
    pub advice: String,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.kind, self.sentence, self.advice)
    }
}

macro_rules! gap_kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The kinds of gap, with their stable names; alphabetical.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum GapKind {
            $($(#[$doc])* $variant,)*
        }

        impl GapKind {
            /// Every kind, alphabetical.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable name, in kebab case.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

gap_kinds! {
    /// Two running hosts are reached by one address.
    AddressOnTwoHosts = "address-on-two-hosts",
    /// A running host's facts lie in the future: a clock is wrong.
    FactsFromTheFuture = "facts-from-the-future",
    /// Nothing was ever seen of a running host.
    FactsNeverSeen = "facts-never-seen",
    /// A running host's facts are older than the fleet allows.
    FactsTooOld = "facts-too-old",
    /// A product family has hosts, and none that a patch could be tried on first.
    FamilyWithoutTestHost = "family-without-test-host",
    /// Nothing says whether strangers reach a host: neither it nor a zone.
    HostExposureUnknown = "host-exposure-unknown",
    /// Nobody answers for a host.
    HostUnowned = "host-unowned",
    /// A host has no product family, so it has no test host of its kind.
    HostWithoutFamily = "host-without-family",
    /// A host has no region, so no window and no time zone.
    HostWithoutRegion = "host-without-region",
    /// A host carries no service.
    HostWithoutService = "host-without-service",
    /// A host is in no zone.
    HostWithoutZone = "host-without-zone",
    /// A service must keep more hosts than it has.
    MinimumExceedsHosts = "minimum-exceeds-hosts",
    /// A service must keep every host it has: none could ever leave service to be patched.
    MinimumLeavesNone = "minimum-leaves-none",
    /// There are regions, and none goes first.
    NoPilotRegion = "no-pilot-region",
    /// Nobody answers for a region.
    RegionUnowned = "region-unowned",
    /// A region has no maintenance window.
    RegionWithoutWindow = "region-without-window",
    /// Nobody answers for a service.
    ServiceUnowned = "service-unowned",
    /// A service does not say how much harm its loss does.
    ServiceWithoutCriticality = "service-without-criticality",
    /// A service has no minimum in a region that carries it.
    ServiceWithoutMinimum = "service-without-minimum",
    /// A service does not say how much the mission rests on it.
    ServiceWithoutMission = "service-without-mission",
    /// No message proves that mail goes through a service.
    ServiceWithoutProbe = "service-without-probe",
    /// More than one region goes first.
    SeveralPilotRegions = "several-pilot-regions",
    /// A team can be reached neither by mail nor by telephone.
    TeamWithoutContact = "team-without-contact",
    /// A window's rule names no day, so that one is taken for it.
    WindowWithoutDay = "window-without-day",
}

impl fmt::Display for GapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Every gap of a fleet, by kind and subject. `last_seen` says when facts of a host were last seen.
/// Decommissioned hosts are asked for nothing.
pub fn lint(
    fleet: &Fleet,
    last_seen: &dyn Fn(&HostName) -> Option<Timestamp>,
    now: Timestamp,
) -> Vec<Gap> {
    let mut gaps = Gaps(Vec::new());
    teams(fleet, &mut gaps);
    regions(fleet, &mut gaps);
    services(fleet, &mut gaps);
    hosts(fleet, &mut gaps);
    families(fleet, &mut gaps);
    facts(fleet, last_seen, now, &mut gaps);
    gaps.0.sort();
    gaps.0
}

struct Gaps(Vec<Gap>);

impl Gaps {
    fn add(&mut self, kind: GapKind, subject: impl fmt::Display, sentence: String, advice: &str) {
        self.0.push(Gap {
            kind,
            subject: subject.to_string(),
            sentence,
            advice: advice.to_owned(),
        });
    }
}

fn running(fleet: &Fleet) -> impl Iterator<Item = (&HostName, &mailkeep_model::Host)> {
    fleet
        .hosts
        .iter()
        .filter(|(_, host)| host.lifecycle == Lifecycle::Running)
}

fn teams(fleet: &Fleet, gaps: &mut Gaps) {
    for (name, team) in &fleet.teams {
        if team.email.is_empty() && team.phone.is_none() {
            gaps.add(
                GapKind::TeamWithoutContact,
                name,
                format!("Team {name} can be reached neither by mail nor by telephone."),
                "Give it email or phone.",
            );
        }
    }
}

fn regions(fleet: &Fleet, gaps: &mut Gaps) {
    let mut pilots = Vec::new();
    for (name, region) in &fleet.regions {
        if region.pilot {
            pilots.push(name.as_str());
        }
        if region.owner.is_none() {
            let stands_in = match &fleet.global_team {
                Some(team) => format!("; team {team} stands in"),
                None => String::new(),
            };
            gaps.add(
                GapKind::RegionUnowned,
                name,
                format!("No team answers for region {name}{stands_in}."),
                "Give it an owner.",
            );
        }
        if region.windows.is_empty() {
            gaps.add(
                GapKind::RegionWithoutWindow,
                name,
                format!("Region {name} has no maintenance window: nothing can be planned in it."),
                "Give it windows, agreed with the people who use its mail.",
            );
        }
    }
    windows_without_day(fleet, gaps);
    if !fleet.regions.is_empty() && pilots.is_empty() {
        gaps.add(
            GapKind::NoPilotRegion,
            "",
            "No region goes first.".to_owned(),
            "Give the region with the fewest users pilot = true.",
        );
    }
    if pilots.len() > 1 {
        gaps.add(
            GapKind::SeveralPilotRegions,
            pilots.join(", "),
            format!("{} regions go first: {}.", pilots.len(), pilots.join(", ")),
            "Leave pilot = true with one of them.",
        );
    }
}

fn windows_without_day(fleet: &Fleet, gaps: &mut Gaps) {
    for (name, region) in &fleet.regions {
        for window in &region.windows {
            if let Some(day) = day_taken(&window.rrule) {
                gaps.add(
                    GapKind::WindowWithoutDay,
                    name,
                    format!(
                        "Region {name} has a window {} that names no day; {day} is taken.",
                        window.rrule
                    ),
                    "Name the day: BYDAY=SU, say.",
                );
            }
        }
    }
}

/// The day that a rule falls on though it names none: a rule without a start date counts from a Monday,
/// the first of a month.
fn day_taken(rule: &str) -> Option<&'static str> {
    let has = |part: &str| rule.split(';').any(|found| found.starts_with(part));
    // A rule with numbers of weeks is taken for every day of them.
    let names = [
        "BYDAY=",
        "BYMONTHDAY=",
        "BYYEARDAY=",
        "BYWEEKNO=",
        "FREQ=DAILY",
    ];
    if names.into_iter().any(has) {
        return None;
    }
    Some(if has("FREQ=WEEKLY") {
        "Monday"
    } else if has("FREQ=MONTHLY") || has("BYMONTH=") {
        "the first of the month"
    } else {
        "the first of January"
    })
}

fn services(fleet: &Fleet, gaps: &mut Gaps) {
    let mut carried: BTreeMap<&ServiceName, BTreeMap<&RegionName, u32>> = BTreeMap::new();
    let mut takes_mail: BTreeSet<&ServiceName> = BTreeSet::new();
    for (_, host) in running(fleet) {
        let family = host.family.as_deref().unwrap_or_default();
        if !WITHOUT_SMTP.contains(&family) {
            takes_mail.extend(&host.services);
        }
        if let Some(region) = &host.region {
            for service in &host.services {
                *carried
                    .entry(service)
                    .or_default()
                    .entry(region)
                    .or_default() += 1;
            }
        }
    }
    for (name, service) in &fleet.services {
        if service.owner.is_none() {
            gaps.add(
                GapKind::ServiceUnowned,
                name,
                format!("No team answers for service {name}."),
                "Give it an owner.",
            );
        }
        if service.mission_prevalence.is_none() {
            gaps.add(
                GapKind::ServiceWithoutMission,
                name,
                format!("Service {name} has no mission_prevalence and is taken as essential."),
                "Say minimal, support or essential.",
            );
        }
        if service.criticality.is_none() {
            gaps.add(
                GapKind::ServiceWithoutCriticality,
                name,
                format!("Service {name} has no criticality; its loss is taken as irreversible."),
                "Say minimal, material or irreversible.",
            );
        }
        let carried = carried.get(name);
        let mut regions: BTreeSet<&RegionName> = service.minimum.keys().collect();
        regions.extend(carried.into_iter().flat_map(BTreeMap::keys));
        for region in regions {
            let hosts = carried.and_then(|by| by.get(region)).copied().unwrap_or(0);
            let subject = format!("{name} in {region}");
            match service.minimum_in(region) {
                None => gaps.add(
                    GapKind::ServiceWithoutMinimum,
                    subject,
                    format!(
                        "Service {name} has no minimum in region {region}, which carries it on \
                         {hosts} host{}.",
                        plural(hosts)
                    ),
                    "Say how many must stay in service while others are patched.",
                ),
                Some(minimum) if minimum > hosts => gaps.add(
                    GapKind::MinimumExceedsHosts,
                    subject,
                    format!(
                        "Service {name} must keep {minimum} host{} in region {region} and has \
                         {hosts}.",
                        plural(minimum)
                    ),
                    "Correct the minimum, or declare the hosts that are missing.",
                ),
                Some(minimum) if minimum > 0 && minimum == hosts => gaps.add(
                    GapKind::MinimumLeavesNone,
                    subject,
                    format!(
                        "Service {name} must keep all {hosts} host{} it has in region {region}: \
                         none can leave service to be patched.",
                        plural(hosts)
                    ),
                    "Lower the minimum, or add a host.",
                ),
                Some(_) => {}
            }
        }
        let all: u32 = carried.into_iter().flat_map(BTreeMap::values).sum();
        if let Some(minimum) = service.minimum_total
            && minimum > 0
            && minimum >= all
        {
            let kind = if minimum > all {
                GapKind::MinimumExceedsHosts
            } else {
                GapKind::MinimumLeavesNone
            };
            gaps.add(
                kind,
                name,
                format!(
                    "Service {name} must keep {minimum} host{} over all regions and has {all}.",
                    plural(minimum)
                ),
                "Lower minimum_total, or add a host.",
            );
        }
        if service.probe.is_none() && takes_mail.contains(name) {
            gaps.add(
                GapKind::ServiceWithoutProbe,
                name,
                format!(
                    "Service {name} has no probe: after a patch no message proves that mail goes \
                     through it."
                ),
                "Give it a probe: a mailbox of its own, and where it lies.",
            );
        }
        if service.minimum_everywhere.is_none() && service.minimum.is_empty() && carried.is_none() {
            gaps.add(
                GapKind::ServiceWithoutMinimum,
                name,
                format!("Service {name} has no minimum."),
                "Say how many hosts must stay in service while others are patched.",
            );
        }
    }
}

/// Families that take no mail by SMTP, so that no message can be handed to them to prove anything.
const WITHOUT_SMTP: [&str; 6] = [
    "clamav",
    "horde",
    "rainloop",
    "roundcube",
    "rspamd",
    "spamassassin",
];

/// Of each family a host must be first: one named, else one of the pilot region.
fn families(fleet: &Fleet, gaps: &mut Gaps) {
    let pilot = |host: &mailkeep_model::Host| {
        let region = host.region.as_ref().and_then(|r| fleet.regions.get(r));
        region.is_some_and(|region| region.pilot)
    };
    let mut stands: BTreeMap<&str, bool> = BTreeMap::new();
    for (_, host) in running(fleet) {
        if let Some(family) = host.family.as_deref() {
            *stands.entry(family).or_default() |= pilot(host);
        }
    }
    let named = |family: &str| {
        let settings = fleet.families.get(family);
        settings.is_some_and(|settings| !settings.test_hosts.is_empty())
    };
    for (family, _) in stands.into_iter().filter(|(f, pilot)| !pilot && !named(f)) {
        gaps.add(
            GapKind::FamilyWithoutTestHost,
            family,
            format!(
                "Family {family} has no test host and no host in the pilot region: nothing has its \
                 patches first."
            ),
            &format!(
                "Name one: [families.{}] test_host = \"...\".",
                super::read::key(family)
            ),
        );
    }
}

fn hosts(fleet: &Fleet, gaps: &mut Gaps) {
    let mut addresses: BTreeMap<(String, u16), Vec<&HostName>> = BTreeMap::new();
    for (name, host) in running(fleet) {
        let address = host.address.as_deref().unwrap_or(name.as_str());
        let port = host.access.port.unwrap_or(22);
        addresses
            .entry((address.to_ascii_lowercase(), port))
            .or_default()
            .push(name);
        let missing = [
            (
                fleet.owner_of(host).is_none(),
                GapKind::HostUnowned,
                "is owned by no team: nobody will be told of its findings.",
                "Give it, its service, its region or the fleet (global_team) an owner.",
            ),
            (
                host.region.is_none(),
                GapKind::HostWithoutRegion,
                "is in no region: it has no window and no time zone.",
                "Give it a region.",
            ),
            (
                host.services.is_empty(),
                GapKind::HostWithoutService,
                "carries no service: it is taken as essential, and nothing keeps its users served.",
                "Give it services.",
            ),
            (
                host.zone.is_none(),
                GapKind::HostWithoutZone,
                "is in no zone.",
                "Give it a zone.",
            ),
            (
                host.zone.is_none() && host.exposed.is_none(),
                GapKind::HostExposureUnknown,
                "does not say whether strangers reach its mail ports: it is taken as exposed.",
                "Give it a zone, or exposed = true or false.",
            ),
            (
                host.family.is_none(),
                GapKind::HostWithoutFamily,
                "has no product family: no test host can stand for it.",
                "Give it a family, such as postfix or exim.",
            ),
        ];
        for (_, kind, what, advice) in missing.into_iter().filter(|gap| gap.0) {
            gaps.add(kind, name, format!("Host {name} {what}"), advice);
        }
    }
    for ((address, port), names) in addresses {
        if names.len() > 1 {
            let names: Vec<_> = names.into_iter().map(HostName::as_str).collect();
            let subject = names.join(", ");
            let jumps = "Correct one address; different ports or jump hosts tell two hosts apart.";
            if different_jumps(fleet, &names) {
                continue;
            }
            gaps.add(
                GapKind::AddressOnTwoHosts,
                &subject,
                format!("Hosts {subject} are all reached by {address} port {port}."),
                jumps,
            );
        }
    }
}

/// One private address behind different jump hosts is not one host.
fn different_jumps(fleet: &Fleet, names: &[&str]) -> bool {
    let jumps: BTreeSet<_> = names
        .iter()
        .filter_map(|name| fleet.hosts.get(*name))
        .map(|host| &host.access.jump)
        .collect();
    jumps.len() == names.len()
}

fn facts(
    fleet: &Fleet,
    last_seen: &dyn Fn(&HostName) -> Option<Timestamp>,
    now: Timestamp,
    gaps: &mut Gaps,
) {
    let limit = fleet.facts_max_age.unwrap_or(Fleet::DEFAULT_FACTS_MAX_AGE);
    let advice = "Run mailkeep scan; if the host is gone, give it lifecycle = \"decommissioned\".";
    for (name, _) in running(fleet) {
        let Some(seen) = last_seen(name) else {
            gaps.add(
                GapKind::FactsNeverSeen,
                name,
                format!("Nothing was ever seen of host {name}."),
                advice,
            );
            continue;
        };
        let age = now.duration_since(seen);
        if age > limit {
            gaps.add(
                GapKind::FactsTooOld,
                name,
                format!(
                    "Facts of host {name} are {} old, more than {}.",
                    in_words(age),
                    in_words(limit)
                ),
                advice,
            );
        } else if age < -FUTURE_GRACE {
            gaps.add(
                GapKind::FactsFromTheFuture,
                name,
                format!("Facts of host {name} are dated {} ahead.", in_words(-age)),
                "Set the clock right, here or where they were collected, and scan again.",
            );
        }
    }
}

/// Clocks of well-kept machines differ by less.
const FUTURE_GRACE: SignedDuration = SignedDuration::from_hours(1);

/// `9 days`, `5 hours`.
fn in_words(duration: SignedDuration) -> String {
    let hours = duration.as_hours();
    let say =
        |count: i64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    if hours >= 48 {
        say(hours / 24, "day")
    } else if hours >= 1 {
        say(hours, "hour")
    } else {
        say(duration.as_mins(), "minute")
    }
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}
