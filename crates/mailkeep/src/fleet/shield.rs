//! Which shield stands before which servers, `[[shield]]`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use mailkeep_model::{Fleet, HostName, ServiceName};

use super::read::{Item, Reader, Section, Text};

/// A shield, and what is behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShieldSettings {
    /// Its name, as its own configuration has it.
    pub name: String,
    /// The servers behind it.
    pub guards: BTreeSet<HostName>,
    /// Where it tells its state.
    pub status: Option<StatusPlace>,
    /// Whether these servers take mail from nobody else. Only then does it cover them.
    pub only_through_shield: bool,
    /// `NAME:PORT` where these servers must not be reached from where Mailkeep runs. Each check tries it.
    pub must_not_answer: Vec<String>,
}

/// Where a shield tells its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusPlace {
    /// A file that is brought here, relative to the fleet file.
    Path(PathBuf),
    /// Its own address: `http://192.0.2.7:9425/status`.
    Url(String),
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    item: Option<Item<'_>>,
    fleet: &Fleet,
) -> Vec<ShieldSettings> {
    let Some(items) = item.and_then(|item| item.list(reader)) else {
        return Vec::new();
    };
    let mut shields: Vec<ShieldSettings> = Vec::new();
    for item in items {
        let Some(section) = item.section(reader) else {
            continue;
        };
        let Some((name, shield)) = one(reader, section, fleet) else {
            continue;
        };
        if shields.iter().any(|other| other.name == shield.name) {
            name.wrong::<()>(reader, "another shield has this name");
        }
        shields.push(shield);
    }
    shields
}

fn one(
    reader: &mut Reader<'_>,
    mut section: Section<'_>,
    fleet: &Fleet,
) -> Option<(Text, ShieldSettings)> {
    let name = section.take("name").and_then(|item| item.text(reader));
    if name.is_none() {
        let hint = Some("name = \"mx.example.org\"".to_owned());
        let message = "a shield needs the name that its own configuration has";
        reader.fault_hint(&section.path, section.span.clone(), message, hint);
    }
    let guards = section
        .take("guards")
        .map(|item| item.texts(reader))
        .unwrap_or_default();
    let mut hosts = BTreeSet::new();
    for guarded in &guards {
        let service: Option<ServiceName> = guarded.value.parse().ok();
        if let Some(service) = service.filter(|service| fleet.services.contains_key(service)) {
            let carriers = fleet
                .hosts
                .iter()
                .filter(|(_, host)| host.services.contains(&service))
                .map(|(name, _)| name.clone());
            hosts.extend(carriers);
        } else if let Some(host) = guarded.declared(reader, "host", &fleet.hosts) {
            hosts.insert(host);
        }
    }
    if guards.is_empty() {
        let hint = Some("guards = [\"inbound-mx\"]".to_owned());
        let message = "a shield guards hosts, or all hosts of services";
        reader.fault_hint(&section.path, section.span.clone(), message, hint);
    }
    let status = section
        .take("status")
        .and_then(|item| item.text(reader))
        .map(|text| {
            if text.value.starts_with("http://") || text.value.starts_with("https://") {
                StatusPlace::Url(text.value)
            } else {
                StatusPlace::Path(PathBuf::from(text.value))
            }
        });
    let only_through_shield = section
        .take("only_through_shield")
        .and_then(|item| item.flag(reader))
        .unwrap_or(false);
    let must_not_answer = section
        .take("must_not_answer")
        .map(|item| item.texts(reader))
        .unwrap_or_default();
    for place in &must_not_answer {
        let port = place.value.rsplit_once(':').map(|(_, port)| port.parse());
        if !matches!(port, Some(Ok(1_u16..))) {
            place.wrong::<()>(
                reader,
                "a name or address and a port, as in \"192.0.2.25:25\"",
            );
        }
    }
    section.close(reader);
    let name = name?;
    if name.value.is_empty() || name.value.contains(['/', '\0']) || name.value.starts_with('.') {
        return name.wrong(reader, "a shield's name is that of a host");
    }
    let shield = ShieldSettings {
        name: name.value.clone(),
        guards: hosts,
        status,
        only_through_shield,
        must_not_answer: must_not_answer.into_iter().map(|text| text.value).collect(),
    };
    Some((name, shield))
}
