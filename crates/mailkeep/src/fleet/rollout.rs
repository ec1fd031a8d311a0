//! What a fleet file says of patching: `[policy.rollout]`, `[families.NAME]`, and what services and
//! hosts add to it (`after`, `probe`, `drain`).

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_model::{
    Blackout, Drain, FamilySettings, Fleet, HostName, LaneRules, ProbeSettings, Problem,
    RolloutPolicy, ServiceName,
};

use super::read::{Item, Reader, Section, Text};

/// A leap year: whoever waits longer than that is not waiting for a patch.
const MAX_MINUTES: u32 = 366 * 24 * 60;

/// Longest step: a day. A host that takes longer is not being patched but rebuilt.
const MAX_STEP_MINUTES: u32 = 24 * 60;

/// Most hosts at a time, or failures borne.
const MAX_COUNT: u32 = 1_000_000;

/// Where Debian's `HAProxy` has its admin socket.
const HAPROXY_SOCKET: &str = "/run/haproxy/admin.sock";

/// Time after which a probe is late, where the file does not say: mail within one fleet arrives in
/// seconds, and a queue that was just flushed may take a few minutes.
const LATE_SECONDS: u32 = 300;

/// Keys of a service that name what is declared further down in the file.
pub(super) struct ServiceLater<'i> {
    after: Option<Item<'i>>,
    probe: Option<Item<'i>>,
}

impl<'i> ServiceLater<'i> {
    /// Takes them out of the section, to be read when every host is known.
    pub(super) fn take(section: &mut Section<'i>) -> Self {
        Self {
            after: section.take("after"),
            probe: section.take("probe"),
        }
    }
}

/// What was kept for later of each service and host, with the place of its name.
pub(super) type Later<'i, T> = Vec<(Text, T)>;

/// Reads what services and hosts say of others.
pub(super) fn link<'i>(
    reader: &mut Reader<'_>,
    services: Later<'i, ServiceLater<'i>>,
    drains: Later<'i, Item<'i>>,
    fleet: &mut Fleet,
) {
    let mut orders = Vec::new();
    for (name, later) in services {
        let mut after = BTreeSet::new();
        for text in later
            .after
            .map(|item| item.texts(reader))
            .unwrap_or_default()
        {
            after.extend(text.declared(reader, "service", &fleet.services));
        }
        let probe = later.probe.and_then(|item| probe(reader, item, fleet));
        let Ok(id) = ServiceName::new(&name.value) else {
            continue;
        };
        if let Some(service) = fleet.services.get_mut(&id) {
            service.after = after;
            service.probe = probe;
        }
        orders.push((name, id));
    }
    for (name, id) in orders {
        if let Some(circle) = circle_from(&id, fleet) {
            let circle: Vec<&str> = circle.iter().map(ServiceName::as_str).collect();
            let message = format!(
                "waits for itself, so that no host of it could ever be patched: {}",
                circle.join(" after ")
            );
            name.wrong::<()>(reader, &message);
        }
    }
    for (name, item) in drains {
        let drain = drain(reader, item, fleet, Whose::Host);
        if let Some(host) = fleet.hosts.get_mut(name.value.as_str()) {
            host.drain = drain;
        }
    }
}

/// The way from a service over `after` back to itself, where there is one; only that of its smallest
/// member, so that a circle is told once.
fn circle_from(start: &ServiceName, fleet: &Fleet) -> Option<Vec<ServiceName>> {
    let mut came_from: BTreeMap<&ServiceName, &ServiceName> = BTreeMap::new();
    let mut next = vec![start];
    while let Some(at) = next.pop() {
        for before in fleet.services.get(at).into_iter().flat_map(|s| &s.after) {
            if before == start {
                let mut way = vec![start.clone()];
                let mut back = at;
                while back != start {
                    way.push(back.clone());
                    back = came_from.get(back)?;
                }
                way.push(start.clone());
                way.reverse();
                let smallest = way.iter().min() == Some(start);
                return smallest.then_some(way);
            }
            if let Some((before, _)) = fleet.services.get_key_value(before)
                && !came_from.contains_key(before)
            {
                came_from.insert(before, at);
                next.push(before);
            }
        }
    }
    None
}

fn probe(reader: &mut Reader<'_>, item: Item<'_>, fleet: &Fleet) -> Option<ProbeSettings> {
    let mut section = item.section(reader)?;
    let port = section.take("port").and_then(|item| item.port(reader));
    let from = required(reader, &mut section, "from").and_then(|text| address(reader, text));
    let to = required(reader, &mut section, "to").and_then(|text| address(reader, text));
    let found_on = section
        .take("found_on")
        .and_then(|item| item.text(reader)?.declared(reader, "host", &fleet.hosts));
    let mailbox = required(reader, &mut section, "mailbox").and_then(|text| path(reader, text));
    let late_seconds = section
        .take("late")
        .and_then(|item| item.seconds(reader, 1, 24 * 60 * 60));
    section.close(reader);
    Some(ProbeSettings {
        port: port.unwrap_or(25),
        from: from?,
        to: to?,
        found_on,
        mailbox: mailbox?,
        late_seconds: late_seconds.unwrap_or(LATE_SECONDS),
    })
}

fn required(reader: &mut Reader<'_>, section: &mut Section<'_>, key: &'static str) -> Option<Text> {
    let Some(item) = section.take(key) else {
        let message = format!("{key} is missing");
        reader.fault(&section.path, section.span.clone(), message);
        return None;
    };
    item.text(reader)
}

/// A bare address, as it goes into an SMTP envelope.
fn address(reader: &mut Reader<'_>, text: Text) -> Option<String> {
    let odd = |c: char| !c.is_ascii_graphic() || matches!(c, '<' | '>' | ',' | '"' | '\\');
    let sound = text
        .value
        .rsplit_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if !sound || text.value.contains(odd) || text.value.len() > 254 {
        return text.wrong(reader, "must be a bare mail address: probe@example.org");
    }
    Some(text.value)
}

/// An absolute path on a host.
fn path(reader: &mut Reader<'_>, text: Text) -> Option<String> {
    let odd = |c: char| mailkeep_model::text::is_unsafe(c);
    if !text.value.starts_with('/') || text.value.contains(odd) {
        return text.wrong(reader, "must be an absolute path");
    }
    Some(text.value)
}

/// Who is drained: only a host can be one server behind a front end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Family,
    Host,
}

fn drain(reader: &mut Reader<'_>, item: Item<'_>, fleet: &Fleet, whose: Whose) -> Option<Drain> {
    if item.is_text() {
        let text = item.text(reader)?;
        if text.value == "haproxy" {
            let hint =
                "drain = { by = \"haproxy\", front = \"lb1\", backend = \"mx\", server = \"mx1\" }";
            let message = "HAProxy must be told where it runs, and what this host is called there";
            reader.fault_hint(&text.path, text.span, message, Some(hint.to_owned()));
            return None;
        }
        return text.one_of(reader, &PLAIN_DRAINS)?.into();
    }
    let mut section = item.section(reader)?;
    let by = required(reader, &mut section, "by")?;
    if by.value != "haproxy" {
        let drain = by.one_of(
            reader,
            &[
                ("haproxy", PlainDrain::None),
                PLAIN_DRAINS[0],
                PLAIN_DRAINS[1],
                PLAIN_DRAINS[2],
            ],
        );
        section.close(reader);
        return drain?.into();
    }
    if whose == Whose::Family {
        let message = "a family is no server behind HAProxy: say this with each host";
        reader.fault(&by.path, by.span, message);
        return None;
    }
    let front = required(reader, &mut section, "front")
        .and_then(|text| text.declared(reader, "host", &fleet.hosts));
    let socket = section
        .take("socket")
        .map_or(Some(HAPROXY_SOCKET.to_owned()), |item| {
            item.text(reader).and_then(|text| path(reader, text))
        });
    let backend = required(reader, &mut section, "backend").and_then(|t| proxy_name(reader, t));
    let server = required(reader, &mut section, "server").and_then(|t| proxy_name(reader, t));
    section.close(reader);
    Some(Drain::Haproxy {
        front: front?,
        socket: socket?,
        backend: backend?,
        server: server?,
    })
}

#[derive(Clone, Copy)]
enum PlainDrain {
    None,
    Product,
    SynRefusal,
}

const PLAIN_DRAINS: [(&str, PlainDrain); 3] = [
    ("syn-refusal", PlainDrain::SynRefusal),
    ("product", PlainDrain::Product),
    ("none", PlainDrain::None),
];

impl From<PlainDrain> for Option<Drain> {
    fn from(plain: PlainDrain) -> Self {
        Some(match plain {
            PlainDrain::None => Drain::None,
            PlainDrain::Product => Drain::Product,
            PlainDrain::SynRefusal => Drain::SynRefusal,
        })
    }
}

/// A name as `HAProxy` allows it (configuration manual, section 2.2): it becomes part of a command.
fn proxy_name(reader: &mut Reader<'_>, text: Text) -> Option<String> {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if text.value.is_empty() || !text.value.chars().all(sound) {
        return text.wrong(reader, "must be letters, digits, and any of - _ . :");
    }
    Some(text.value)
}

/// `[policy.rollout]`. What it does not say is as in [`RolloutPolicy::default`].
pub(super) fn policy(reader: &mut Reader<'_>, item: Item<'_>, fleet: &Fleet) -> RolloutPolicy {
    let mut policy = RolloutPolicy::default();
    let Some(mut section) = item.section(reader) else {
        return policy;
    };
    if let Some(item) = section.take("slot") {
        let place = item.place();
        if let Some(minutes) = item.minutes(reader, 1, 60) {
            if 60 % minutes == 0 {
                policy.slot_minutes = minutes;
            } else {
                let message = "must divide an hour: steps start at the same minutes of each hour";
                reader.fault(&place.0, place.1, message);
            }
        }
    }
    if let Some(item) = section.take("step") {
        set(
            &mut policy.step_minutes,
            item.minutes(reader, 1, MAX_STEP_MINUTES),
        );
    }
    if let Some(item) = section.take("shift") {
        set(
            &mut policy.shift_minutes,
            item.minutes(reader, 0, MAX_MINUTES),
        );
    }
    if let Some(item) = section.take("wave_failures") {
        set(&mut policy.wave_failures, item.number(reader, 0, MAX_COUNT));
    }
    if let Some(mut parallel) = section
        .take("parallel")
        .and_then(|item| item.section(reader))
    {
        let mut limit = |key| {
            parallel
                .take(key)
                .and_then(|item| item.number(reader, 1, MAX_COUNT))
        };
        policy.parallel_fleet = limit("fleet");
        policy.parallel_region = limit("region");
        policy.parallel_team = limit("team");
        parallel.close(reader);
    }
    for item in section
        .take("blackout")
        .and_then(|item| item.list(reader))
        .unwrap_or_default()
    {
        policy.blackouts.extend(blackout(reader, item, fleet));
    }
    for (key, rules) in [
        ("regular", &mut policy.regular),
        ("emergency", &mut policy.emergency),
    ] {
        if let Some(item) = section.take(key) {
            lane(reader, item, rules);
        }
    }
    section.close(reader);
    policy
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn lane(reader: &mut Reader<'_>, item: Item<'_>, rules: &mut LaneRules) {
    let Some(mut section) = item.section(reader) else {
        return;
    };
    for (key, minutes) in [
        ("soak_test", &mut rules.soak_test_minutes),
        ("soak_pilot", &mut rules.soak_pilot_minutes),
        ("soak_wave", &mut rules.soak_wave_minutes),
    ] {
        if let Some(item) = section.take(key) {
            set(minutes, item.minutes(reader, 0, MAX_MINUTES));
        }
    }
    for (key, flag) in [
        ("windows", &mut rules.windows),
        ("blackouts", &mut rules.blackouts),
        ("early", &mut rules.early),
    ] {
        if let Some(item) = section.take(key) {
            set(flag, item.flag(reader));
        }
    }
    if let Some(item) = section.take("minimum") {
        let place = item.place();
        let message = "no lane changes how many hosts must stay in service";
        let hint = Some("the minimum is said with the service".to_owned());
        reader.fault_hint(&place.0, place.1, message, hint);
    }
    section.close(reader);
}

fn blackout(reader: &mut Reader<'_>, item: Item<'_>, fleet: &Fleet) -> Option<Blackout> {
    let place = item.place();
    let mut section = item.section(reader)?;
    let mut day = |reader: &mut Reader<'_>, key| {
        let Some(item) = section.take(key) else {
            let message = format!("a blackout needs {key}: the day, as 2026-12-24");
            reader.fault(&place.0, place.1.clone(), message);
            return None;
        };
        item.date(reader)
    };
    let from = day(reader, "from");
    let to = day(reader, "to");
    let mut regions = BTreeSet::new();
    for text in section
        .take("regions")
        .map(|item| item.texts(reader))
        .unwrap_or_default()
    {
        regions.extend(text.declared(reader, "region", &fleet.regions));
    }
    let reason = section
        .take("reason")
        .and_then(|item| item.text(reader))
        .map(|text| text.value)
        .unwrap_or_default();
    section.close(reader);
    let (from, to) = (from?, to?);
    if to < from {
        let message = format!("ends on {to}, before it begins on {from}");
        reader.fault(&place.0, place.1, message);
        return None;
    }
    Some(Blackout {
        from,
        to,
        regions,
        reason,
    })
}

/// `[families.NAME]`.
pub(super) fn families<'i>(
    reader: &mut Reader<'_>,
    entries: Later<'i, Section<'i>>,
    fleet: &mut Fleet,
    problems: &mut Vec<Problem>,
) {
    for (name, mut section) in entries {
        let settings = family(reader, &name, &mut section, fleet);
        section.close(reader);
        let used = |family: &String| *family == name.value;
        if !fleet.hosts.values().any(|h| h.family.iter().any(used)) {
            let place = format!("family {}", name.value);
            problems.push(Problem::new(place, "no host is of it"));
        }
        fleet.families.insert(name.value, settings);
    }
}

fn family(
    reader: &mut Reader<'_>,
    name: &Text,
    section: &mut Section<'_>,
    fleet: &Fleet,
) -> FamilySettings {
    let mut test_hosts = BTreeSet::new();
    let one = section.take("test_host");
    let many = section.take("test_hosts");
    if let (Some(one), Some(_)) = (&one, &many) {
        let place = one.place();
        let message = "test_host and test_hosts say the same: keep one of them";
        reader.fault(&place.0, place.1, message);
    }
    for item in [one, many].into_iter().flatten() {
        for text in item.texts(reader) {
            let Some(host) = text.declared::<HostName, _>(reader, "host", &fleet.hosts) else {
                continue;
            };
            match fleet.hosts.get(&host).and_then(|h| h.family.as_deref()) {
                Some(other) if other != name.value => {
                    let message = format!("{host} is of family {other}, and cannot stand for this");
                    text.wrong::<()>(reader, &message);
                }
                _ => {
                    test_hosts.insert(host);
                }
            }
        }
    }
    let drain = section
        .take("drain")
        .and_then(|item| drain(reader, item, fleet, Whose::Family));
    let step_minutes = section
        .take("step")
        .and_then(|item| item.minutes(reader, 1, MAX_STEP_MINUTES));
    let whole_cluster = section
        .take("whole_cluster")
        .and_then(|item| item.flag(reader))
        .unwrap_or(false);
    let recipe = section
        .take("recipe")
        .and_then(|item| item.text(reader))
        .and_then(|text| {
            if text.value.trim().is_empty() {
                return text.wrong(reader, "must not be empty");
            }
            Some(text.value)
        });
    FamilySettings {
        test_hosts,
        drain,
        step_minutes,
        whole_cluster,
        recipe,
        settings: BTreeMap::new(),
    }
}
