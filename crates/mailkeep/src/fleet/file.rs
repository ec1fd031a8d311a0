//! `mailkeep.toml`: what it may say, and how it becomes a [`Fleet`].
//!
//! ```
//! let text = r#"
//! global_team = "postmasters"              # sees all, answers where nobody else does
//! facts_max_age = "7d"                     # older facts of a running host are a gap
//! state = "state"                          # relative to this file
//!
//! [organisation]                           # the publisher of CSAF documents
//! name = "Harbour Shipping"
//! url = "https://harbour.example"
//!
//! [teams.postmasters]
//! email = ["postmaster@harbour.example"]
//! phone = "+49 40 5550100"
//!
//! [regions.eu]
//! time_zone = "Europe/Berlin"
//! owner = "postmasters"
//! pilot = true                             # goes first
//! windows = [{ rrule = "FREQ=WEEKLY;BYDAY=SU;BYHOUR=1;BYMINUTE=30", duration = "2h" }]
//!
//! [zones.dmz]
//! exposed = true                           # strangers reach its mail ports
//!
//! [services.inbound-mx]
//! owner = "postmasters"
//! criticality = "material"                 # minimal, material, irreversible
//! mission_prevalence = "essential"         # minimal, support, essential
//! minimum = { eu = 1, "*" = 2 }            # hosts that stay in service; a number is for every region
//! minimum_total = 3                        # the same over all regions
//! after = ["filter"]                       # whose hosts of the same region are patched first
//! probe = { port = 25, from = "probe@harbour.example", to = "probe@harbour.example", found_on = "mx1.harbour.example", mailbox = "/var/mail/probe", late = "5m" }
//!
//! [services.filter]
//! minimum = 0
//!
//! [hosts."mx1.harbour.example"]
//! region = "eu"
//! zone = "dmz"
//! services = ["inbound-mx"]
//! family = "postfix"
//! address = "192.0.2.25"                   # what ssh_config knows stays in ssh_config
//! user = "scan"
//! jump = "bastion.harbour.example"
//! drain = { by = "haproxy", front = "lb1", backend = "mx", server = "mx1" } # or "syn-refusal", "product", "none"
//!
//! [hosts.lb1]
//! region = "eu"
//! zone = "dmz"
//! services = ["filter"]
//!
//! [families.postfix]                       # what is said of all hosts of one product
//! test_hosts = ["mx1.harbour.example"]     # has every patch first
//! drain = "syn-refusal"                    # where a host does not say otherwise
//! step = "20m"                             # allotted to each host
//! whole_cluster = false                    # whether all hosts of a region are one step
//! recipe = "recipes/postfix.toml"          # relative to this file
//!
//! [policy.rollout]                         # how the fleet is patched; all of it has a default
//! slot = "15m"                             # steps start at these minutes of an hour
//! step = "30m"
//! parallel = { fleet = 10, region = 2, team = 4 } # hosts out of service at a time
//! wave_failures = 0                        # failed hosts a wave bears
//! shift = "7d"                             # how far a region may move its own waves
//! blackout = [{ from = 2026-12-20, to = 2027-01-06, regions = ["eu"], reason = "year's end" }]
//!
//! [policy.rollout.regular]
//! soak_test = "24h"                        # from a test host to the pilot region
//! soak_pilot = "24h"                       # from the pilot region to the rest
//! soak_wave = "30m"                        # from a region's wave to its next
//! windows = true                           # whether windows and blackouts hold
//! blackouts = true
//!
//! [policy.rollout.emergency]
//! soak_test = "15m"
//!
//! [[shield]]                               # stands before servers that cannot be patched yet
//! name = "shield.harbour.example"          # as its own configuration has it
//! guards = ["inbound-mx"]                  # hosts, or all hosts of services
//! status = "http://192.0.2.7:9425/status"  # or a file that is brought here
//! only_through_shield = true               # these hosts take mail from nobody else
//! must_not_answer = ["192.0.2.25:25"]      # each check tries that from here
//!
//! [approvals]
//! allowed_signers = "allowed_signers"      # the teams' public keys, as ssh-keygen takes them
//!
//! [feeds.kev]
//! location = "mirror/known_exploited_vulnerabilities.json"
//! stale_after = "3d"
//!
//! [feeds.debian-tracker]
//! location = "mirror/tracker.json"
//! as_of = 2026-11-20                       # of a file that does not say it; without: its own time
//!
//! [scan]
//! parallel = 8
//!
//! [controller]
//! seen_as = ["203.0.113.7"]                # where a gateway changes its address on the way to the hosts
//!
//! [notify.mail]
//! server = "submission.harbour.example"
//! from = "mailkeep@harbour.example"
//!
//! [[policy.deadline]]                      # the first row that fits; the rest is BOD 26-04
//! kev = true
//! within = 2
//!
//! [[policy.deadline]]
//! mitigated = true                         # by a shield's rule, or a recipe
//! within = 14
//! "#;
//! let (file, problems) = mailkeep::fleet::parse(text).unwrap();
//! assert_eq!(file.fleet.hosts.len(), 2);
//! assert!(problems.is_empty());
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use mailkeep_model::{
    Access, Ecosystem, FeedId, FeedKind, Fleet, Host, HostName, Lifecycle, MissionPrevalence,
    Problem, Region, RegionName, Service, ServiceName, Team, TeamName, WellBeingImpact, ZoneName,
};
use mailkeep_triage::Policy;
use serde::Deserialize as _;

use super::notify::{self, NotifySettings};
use super::organisation::{self, Organisation};
use super::read::{Faults, Item, Reader, Section, Text};
use super::rollout::{self, ServiceLater};
use super::shield::{self, ShieldSettings};
use super::window;
use crate::feeds::sources::SOURCES;

/// Largest fleet file read: some 200,000 hosts.
pub const MAX_BYTES: usize = 32 << 20;

/// A fleet file, checked: every name used is declared.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetFile {
    /// Teams, regions, services, hosts.
    pub fleet: Fleet,
    /// Who runs it; documents that are handed on name it.
    pub organisation: Option<Organisation>,
    /// Deadlines.
    pub policy: Policy,
    /// What the file says of feeds, beyond the built-in list.
    pub feeds: BTreeMap<FeedId, FeedSettings>,
    /// Where everything is kept, relative to the fleet file.
    pub state: Option<PathBuf>,
    /// Where changes are told to.
    pub notify: Option<NotifySettings>,
    /// How hosts are scanned.
    pub scan: ScanSettings,
    /// Addresses as which the hosts may see the controller, beside those it has: `[controller]`, `seen_as`.
    pub seen_as: BTreeSet<IpAddr>,
    /// Who may approve plans.
    pub approvals: ApprovalSettings,
    /// Which shield stands before which servers.
    pub shields: Vec<ShieldSettings>,
}

/// Who may approve plans, `[approvals]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApprovalSettings {
    /// File with the teams' public keys (ssh-keygen(1), ALLOWED SIGNERS), relative to the fleet file.
    /// Principals are the names of teams.
    pub allowed_signers: Option<PathBuf>,
}

/// What a fleet file says of one feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedSettings {
    /// Its format; where the file does not say, the feed's name is a kind's.
    pub kind: FeedKind,
    /// Whether it is used.
    pub enabled: bool,
    /// Where it comes from instead of its built-in address.
    pub location: Option<FeedLocation>,
    /// Age from which it is stale.
    pub stale_after: Option<SignedDuration>,
    /// Whether it is the whole of what its publisher says.
    pub whole: Option<bool>,
    /// The platform it speaks for, as OSV writes it: `Debian:12`.
    pub covers: Option<String>,
    /// The time a file speaks for that bears no date itself.
    pub as_of: Option<Timestamp>,
}

/// Where a feed comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedLocation {
    /// A file or directory, relative to the fleet file.
    Path(PathBuf),
    /// An `https://` or `http://` address.
    Url(String),
}

/// How hosts are scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanSettings {
    /// Hosts at a time.
    pub parallel: u16,
    /// Longest wait for a connection.
    pub connect_timeout: SignedDuration,
    /// Longest wait for a whole scan of one host.
    pub timeout: SignedDuration,
}

impl Default for ScanSettings {
    /// Sixteen hosts at a time keep a small controller and its jump host comfortable; ten seconds
    /// reach another continent, and a minute is ample for a slow host with many packages.
    fn default() -> Self {
        Self {
            parallel: 16,
            connect_timeout: SignedDuration::from_secs(10),
            timeout: SignedDuration::from_secs(60),
        }
    }
}

/// Why a fleet file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FleetError {
    /// Too large to be one.
    #[error("the fleet file has {bytes} bytes, more than the {MAX_BYTES} that are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It has mistakes: all of them, each with its place.
    #[error("the fleet file has mistakes")]
    Mistakes(#[source] Faults),
}

/// Reads a fleet file. All mistakes are told at once; what is odd but harmless becomes a
/// [`Problem`].
pub fn parse(text: &str) -> Result<(FleetFile, Vec<Problem>), FleetError> {
    if text.len() > MAX_BYTES {
        return Err(FleetError::TooLarge { bytes: text.len() });
    }
    let mut reader = Reader::new(text);
    let mut problems = Vec::new();
    let file = reader
        .document()
        .map(|root| read_root(&mut reader, root, &mut problems));
    match (file, reader.into_faults()) {
        (Some(file), None) => Ok((file, problems)),
        (_, faults) => Err(FleetError::Mistakes(faults.unwrap_or_default())),
    }
}

fn read_root(
    reader: &mut Reader<'_>,
    mut root: Section<'_>,
    problems: &mut Vec<Problem>,
) -> FleetFile {
    let mut fleet = Fleet::default();
    let reader = &mut *reader;

    for (name, section) in named(reader, root.take("teams")) {
        if let Some(name) = name.id::<TeamName>(reader) {
            fleet.teams.insert(name, read_team(reader, section));
        }
    }
    fleet.global_team = root
        .take("global_team")
        .and_then(|item| team(reader, item, &fleet));
    for (name, section) in named(reader, root.take("regions")) {
        let region = read_region(reader, section, &fleet);
        if let Some(name) = name.id::<RegionName>(reader) {
            fleet.regions.insert(name, region);
        }
    }
    let mut zones = BTreeMap::new();
    for (name, mut section) in named(reader, root.take("zones")) {
        let exposed = match section.take("exposed") {
            Some(item) => item.flag(reader),
            None => name.wrong(
                reader,
                "a zone says whether strangers reach its mail ports: exposed = true or false",
            ),
        };
        section.close(reader);
        if let Some(name) = name.id::<ZoneName>(reader) {
            if exposed == Some(true) {
                fleet.exposed_zones.insert(name.clone());
            }
            zones.insert(name, exposed.unwrap_or(true));
        }
    }
    let mut later = Vec::new();
    for (name, mut section) in named(reader, root.take("services")) {
        let rest = ServiceLater::take(&mut section);
        let service = read_service(reader, section, &fleet);
        if let Some(id) = name.id::<ServiceName>(reader) {
            fleet.services.insert(id, service);
            later.push((name, rest));
        }
    }
    let mut seen: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut drains = Vec::new();
    for (name, mut section) in named(reader, root.take("hosts")) {
        let line = reader.line_of(name.span.start);
        let lower = name.value.to_lowercase();
        if let Some((other, other_line)) = seen.insert(lower, (name.value.clone(), line)) {
            let message = format!(
                "is the same host as {other:?} on line {other_line}: names differ only in capitals"
            );
            name.wrong::<()>(reader, &message);
        }
        no_option(reader, &name);
        let drain = section.take("drain");
        let host = read_host(reader, section, &fleet, &zones);
        if let Some(id) = name.id::<HostName>(reader) {
            fleet.hosts.insert(id, host);
            drains.extend(drain.map(|drain| (name, drain)));
        }
    }
    rollout::link(reader, later, drains, &mut fleet);
    let families = named(reader, root.take("families"));
    rollout::families(reader, families, &mut fleet, problems);
    fleet.facts_max_age = root
        .take("facts_max_age")
        .and_then(|item| item.duration(reader));
    let organisation = root
        .take("organisation")
        .and_then(|item| organisation::read(reader, item));
    let feeds = read_feeds(reader, root.take("feeds"), problems);
    let policy = root
        .take("policy")
        .and_then(|item| read_policy(reader, item, &mut fleet))
        .unwrap_or_default();
    let state = root
        .take("state")
        .and_then(|item| item.text(reader))
        .map(|text| PathBuf::from(text.value));
    let notify = root
        .take("notify")
        .and_then(|item| notify::read(reader, item));
    let scan = root
        .take("scan")
        .and_then(|item| item.section(reader))
        .map(|section| read_scan(reader, section))
        .unwrap_or_default();
    let seen_as = root
        .take("controller")
        .and_then(|item| item.section(reader))
        .map(|section| read_controller(reader, section))
        .unwrap_or_default();
    let approvals = root
        .take("approvals")
        .and_then(|item| item.section(reader))
        .map(|section| read_approvals(reader, section))
        .unwrap_or_default();
    let shields = shield::read(reader, root.take("shield"), &fleet);
    root.close(reader);
    not_used(&fleet, &zones, problems);
    FleetFile {
        fleet,
        organisation,
        policy,
        feeds,
        state,
        notify,
        scan,
        seen_as,
        approvals,
        shields,
    }
}

/// The entries of a table of tables: `[hosts.NAME]`.
fn named<'i>(reader: &mut Reader<'_>, item: Option<Item<'i>>) -> Vec<(Text, Section<'i>)> {
    item.and_then(|item| item.section(reader))
        .into_iter()
        .flat_map(Section::entries)
        .filter_map(|(name, item)| Some((name, item.section(reader)?)))
        .collect()
}

fn team(reader: &mut Reader<'_>, item: Item<'_>, fleet: &Fleet) -> Option<TeamName> {
    item.text(reader)?.declared(reader, "team", &fleet.teams)
}

fn read_team(reader: &mut Reader<'_>, mut section: Section<'_>) -> Team {
    let email = section
        .take("email")
        .map(|item| item.texts(reader))
        .unwrap_or_default();
    for address in &email {
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ',');
        if !address.value.contains('@') || address.value.contains(odd) {
            let message = format!("{:?} is no mail address", address.value);
            let hint = Some("write the bare address: name@example.org".to_owned());
            reader.fault_hint(&address.path, address.span.clone(), message, hint);
        }
    }
    let phone = section.take("phone").and_then(|item| item.text(reader));
    section.close(reader);
    Team {
        email: email.into_iter().map(|text| text.value).collect(),
        phone: phone.map(|text| text.value),
    }
}

fn read_region(reader: &mut Reader<'_>, mut section: Section<'_>, fleet: &Fleet) -> Region {
    let time_zone = if let Some(item) = section.take("time_zone") {
        item.text(reader)
            .and_then(|text| window::time_zone(reader, text))
    } else {
        let hint = Some("time_zone = \"Europe/Berlin\"".to_owned());
        let span = section.span.clone();
        reader.fault_hint(&section.path, span, "a region needs a time_zone", hint);
        None
    };
    let owner = section
        .take("owner")
        .and_then(|item| team(reader, item, fleet));
    let windows = section
        .take("windows")
        .and_then(|item| item.list(reader))
        .unwrap_or_default()
        .into_iter()
        .filter_map(|item| window::window(reader, item))
        .collect();
    let pilot = section
        .take("pilot")
        .and_then(|item| item.flag(reader))
        .unwrap_or(false);
    section.close(reader);
    // A region with a mistake inside is still declared, so that its hosts add no further ones.
    Region {
        time_zone: time_zone.unwrap_or_default(),
        owner,
        windows,
        pilot,
    }
}

fn read_service(reader: &mut Reader<'_>, mut section: Section<'_>, fleet: &Fleet) -> Service {
    let mut service = Service {
        owner: section
            .take("owner")
            .and_then(|item| team(reader, item, fleet)),
        mission_prevalence: section.take("mission_prevalence").and_then(|item| {
            item.text(reader)?.one_of(
                reader,
                &[
                    ("minimal", MissionPrevalence::Minimal),
                    ("support", MissionPrevalence::Support),
                    ("essential", MissionPrevalence::Essential),
                ],
            )
        }),
        criticality: section.take("criticality").and_then(|item| {
            item.text(reader)?.one_of(
                reader,
                &[
                    ("minimal", WellBeingImpact::Minimal),
                    ("material", WellBeingImpact::Material),
                    ("irreversible", WellBeingImpact::Irreversible),
                ],
            )
        }),
        ..Service::default()
    };
    match section.take("minimum") {
        Some(item) if item.is_table() => {
            let entries = item.section(reader).into_iter().flat_map(Section::entries);
            for (name, item) in entries {
                let number = item.number(reader, 0, MAX_HOSTS);
                if name.value == "*" {
                    service.minimum_everywhere = number;
                } else if let (Some(region), Some(number)) =
                    (name.declared(reader, "region", &fleet.regions), number)
                {
                    service.minimum.insert(region, number);
                }
            }
        }
        Some(item) => service.minimum_everywhere = item.number(reader, 0, MAX_HOSTS),
        None => {}
    }
    service.minimum_total = section
        .take("minimum_total")
        .and_then(|item| item.number(reader, 0, MAX_HOSTS));
    section.close(reader);
    service
}

/// More hosts than a service of any fleet has.
const MAX_HOSTS: u32 = 1_000_000;

fn read_host(
    reader: &mut Reader<'_>,
    mut section: Section<'_>,
    fleet: &Fleet,
    zones: &BTreeMap<ZoneName, bool>,
) -> Host {
    let mut ssh = |section: &mut Section<'_>, key| {
        let text = section.take(key)?.text(reader)?;
        no_option(reader, &text);
        Some(text.value)
    };
    let address = ssh(&mut section, "address");
    let user = ssh(&mut section, "user");
    let jump = section
        .take("jump")
        .map(|item| item.texts(reader))
        .unwrap_or_default();
    for hop in &jump {
        no_option(reader, hop);
    }
    let mut services = BTreeSet::new();
    for text in section
        .take("services")
        .map(|item| item.texts(reader))
        .unwrap_or_default()
    {
        let Some(name) = text.declared(reader, "service", &fleet.services) else {
            continue;
        };
        if !services.insert(name) {
            text.wrong::<()>(reader, "this service is listed twice");
        }
    }
    let host = Host {
        address,
        region: section.take("region").and_then(|item| {
            item.text(reader)?
                .declared(reader, "region", &fleet.regions)
        }),
        zone: section
            .take("zone")
            .and_then(|item| item.text(reader)?.declared(reader, "zone", zones)),
        exposed: section.take("exposed").and_then(|item| item.flag(reader)),
        services,
        lifecycle: section
            .take("lifecycle")
            .and_then(|item| {
                item.text(reader)?.one_of(
                    reader,
                    &[
                        ("running", Lifecycle::Running),
                        ("decommissioned", Lifecycle::Decommissioned),
                    ],
                )
            })
            .unwrap_or_default(),
        family: section
            .take("family")
            .and_then(|item| item.text(reader))
            .map(|text| text.value),
        owner: section
            .take("owner")
            .and_then(|item| team(reader, item, fleet)),
        access: Access {
            user,
            port: section.take("port").and_then(|item| item.port(reader)),
            jump: jump.into_iter().map(|text| text.value).collect(),
        },
        facts: section
            .take("facts")
            .and_then(|item| item.text(reader))
            .map(|text| text.value),
        // Read when every host is known: it may name another one.
        drain: None,
    };
    section.close(reader);
    host
}

/// A name that ssh would take for an option, or that no name is.
fn no_option(reader: &mut Reader<'_>, text: &Text) {
    let odd = |c: char| c.is_whitespace() || mailkeep_model::text::is_unsafe(c);
    if text.value.is_empty() {
        text.wrong::<()>(reader, "must not be empty");
    } else if text.value.starts_with('-') {
        text.wrong::<()>(
            reader,
            "must not begin with a dash: ssh would take it for an option",
        );
    } else if text.value.contains(odd) {
        text.wrong::<()>(reader, "must not contain white space or control characters");
    }
}

fn read_feeds(
    reader: &mut Reader<'_>,
    item: Option<Item<'_>>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<FeedId, FeedSettings> {
    let kinds = FeedKind::ALL.map(|kind| (kind.name(), kind));
    let mut feeds = BTreeMap::new();
    for (name, mut section) in named(reader, item) {
        let kind = match section.take("kind") {
            Some(item) => item
                .text(reader)
                .and_then(|text| text.one_of(reader, &kinds)),
            None => built_in_kind(&name.value).or_else(|| {
                let names: Vec<_> = FeedKind::ALL.iter().map(|kind| kind.name()).collect();
                let hint = Some(format!("kind is one of {}", names.join(", ")));
                let message = "a feed that is not called by its kind needs kind = \"...\"";
                reader.fault_hint(&name.path, name.span.clone(), message, hint);
                None
            }),
        };
        let enabled = section
            .take("enabled")
            .and_then(|item| item.flag(reader))
            .unwrap_or(true);
        let location = section
            .take("location")
            .and_then(|item| item.text(reader))
            .and_then(|text| feed_location(reader, text, problems));
        let stale_after = section
            .take("stale_after")
            .and_then(|item| item.duration(reader));
        let whole = section.take("whole").and_then(|item| item.flag(reader));
        let covers = section
            .take("covers")
            .and_then(|item| item.text(reader))
            .and_then(|text| platform(reader, text));
        let as_of = section
            .take("as_of")
            .and_then(|item| feed_date(reader, item, location.as_ref()));
        section.close(reader);
        if let (Some(id), Some(kind)) = (name.id::<FeedId>(reader), kind) {
            let settings = FeedSettings {
                kind,
                enabled,
                location,
                stale_after,
                whole,
                covers,
                as_of,
            };
            feeds.insert(id, settings);
        }
    }
    feeds
}

/// The kind that a feed's name says by itself: a kind's own name, or that of a built-in source.
fn built_in_kind(name: &str) -> Option<FeedKind> {
    let of_source = || SOURCES.iter().find(|s| s.name == name).map(|s| s.kind);
    name.parse().ok().or_else(of_source)
}

fn feed_location(
    reader: &mut Reader<'_>,
    text: Text,
    problems: &mut Vec<Problem>,
) -> Option<FeedLocation> {
    match text.value.split_once("://") {
        None if text.value.trim().is_empty() => text.wrong(reader, "must not be empty"),
        None => Some(FeedLocation::Path(PathBuf::from(text.value))),
        Some(("https", _)) => Some(FeedLocation::Url(text.value)),
        Some(("http", _)) => {
            problems.push(Problem::new(
                &text.path,
                "http:// is not protected on its way: anybody between can change what the feed says",
            ));
            Some(FeedLocation::Url(text.value))
        }
        Some(_) => text.wrong(reader, "must be a path, or an https:// or http:// address"),
    }
}

/// When a feed's file was published. What comes from an address is dated by its server, and a date
/// written here would make it look old, or worse, new, for ever.
fn feed_date(
    reader: &mut Reader<'_>,
    item: Item<'_>,
    location: Option<&FeedLocation>,
) -> Option<Timestamp> {
    let (path, span) = (item.path.clone(), item.span.clone());
    let moment = item.moment(reader)?;
    if !matches!(location, Some(FeedLocation::Path(_))) {
        let message =
            "as_of is for a feed whose location is a file: an address dates what it serves";
        reader.fault(&path, span, message);
        return None;
    }
    Some(moment)
}

/// A platform as OSV writes it. Any ecosystem is accepted, as any feed may speak of it, but a
/// distribution without its release would cover nothing.
fn platform(reader: &mut Reader<'_>, text: Text) -> Option<String> {
    let (ecosystem, release) = text.value.split_once(':').unwrap_or((&text.value, ""));
    let ecosystem = Ecosystem::from(ecosystem.to_owned());
    if ecosystem.name().trim().is_empty() {
        return text.wrong(reader, "must not be empty");
    }
    if ecosystem.is_distribution() && release.trim().is_empty() {
        return text.wrong(reader, "a distribution needs its release: Debian:12");
    }
    Some(text.value)
}

fn read_policy(reader: &mut Reader<'_>, item: Item<'_>, fleet: &mut Fleet) -> Option<Policy> {
    let mut section = item.section(reader)?;
    if let Some(item) = section.take("rollout") {
        fleet.rollout = rollout::policy(reader, item, fleet);
    }
    let (path, raw) = section.rest().into_raw();
    let whole = raw.span();
    match Policy::deserialize(toml::de::ValueDeserializer::from(raw)) {
        Ok(policy) => Some(policy),
        Err(error) => {
            reader.fault(&path, error.span().unwrap_or(whole), error.message());
            None
        }
    }
}

fn read_approvals(reader: &mut Reader<'_>, mut section: Section<'_>) -> ApprovalSettings {
    let allowed_signers = section
        .take("allowed_signers")
        .and_then(|item| item.text(reader))
        .and_then(|text| {
            if text.value.trim().is_empty() {
                return text.wrong(reader, "must not be empty");
            }
            Some(PathBuf::from(text.value))
        });
    section.close(reader);
    ApprovalSettings { allowed_signers }
}

fn read_scan(reader: &mut Reader<'_>, mut section: Section<'_>) -> ScanSettings {
    let default = ScanSettings::default();
    let parallel = section
        .take("parallel")
        .and_then(|item| item.number(reader, 1, 1024))
        .and_then(|number| u16::try_from(number).ok());
    let mut wait = |key| section.take(key).and_then(|item| item.duration(reader));
    let connect_timeout = wait("connect_timeout");
    let timeout = wait("timeout");
    section.close(reader);
    ScanSettings {
        parallel: parallel.unwrap_or(default.parallel),
        connect_timeout: connect_timeout.unwrap_or(default.connect_timeout),
        timeout: timeout.unwrap_or(default.timeout),
    }
}

fn read_controller(reader: &mut Reader<'_>, mut section: Section<'_>) -> BTreeSet<IpAddr> {
    let texts = section
        .take("seen_as")
        .map(|item| item.texts(reader))
        .unwrap_or_default();
    section.close(reader);
    let mut addresses = BTreeSet::new();
    for text in texts {
        match text.value.parse::<IpAddr>() {
            Ok(address) if !address.is_unspecified() && !address.is_multicast() => {
                addresses.insert(address.to_canonical());
            }
            Ok(_) | Err(_) => {
                text.wrong::<()>(reader, "must be an address of one machine: 203.0.113.7");
            }
        }
    }
    addresses
}

/// Declared and never used: harmless, and often the other half of a slip.
fn not_used(fleet: &Fleet, zones: &BTreeMap<ZoneName, bool>, problems: &mut Vec<Problem>) {
    let hosts = || fleet.hosts.values();
    let mut say = |noun: &str, name: &dyn std::fmt::Display, why: &str| {
        problems.push(Problem::new(format!("{noun} {name}"), why));
    };
    let used: BTreeSet<_> = hosts().filter_map(|host| host.zone.as_ref()).collect();
    for zone in zones.keys().filter(|zone| !used.contains(zone)) {
        say("zone", zone, "no host is in it");
    }
    let used: BTreeSet<_> = hosts().filter_map(|host| host.region.as_ref()).collect();
    for region in fleet.regions.keys().filter(|name| !used.contains(name)) {
        say("region", region, "no host is in it");
    }
    let used: BTreeSet<_> = hosts().flat_map(|host| &host.services).collect();
    for service in fleet.services.keys().filter(|name| !used.contains(name)) {
        say("service", service, "no host carries it");
    }
    let owners = hosts()
        .map(|host| &host.owner)
        .chain(fleet.regions.values().map(|region| &region.owner))
        .chain(fleet.services.values().map(|service| &service.owner))
        .chain([&fleet.global_team]);
    let used: BTreeSet<_> = owners.flatten().collect();
    for team in fleet.teams.keys().filter(|name| !used.contains(name)) {
        say("team", team, "it answers for nothing");
    }
}
