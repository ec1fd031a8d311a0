//! Outbreaks that shields told of: who is told, in which words, and that each is told once.
//!
//! Entry: [`fresh`], then [`notices`]; [`Memory`] remembers what was told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mailkeep_model::text::{printable, printable_max};
use mailkeep_model::{Fleet, HostName, OutbreakAlert, Realm, TeamName, Timestamp};
use serde_json::{Value, json};

use super::{all_at_once, status};
use crate::app::{App, LoadedFleet, write_private};
use crate::commands::watch::{Notice, Road};
use crate::fleet::{NotifySettings, ShieldSettings};

/// Alerts of one shield that are told of in one mail; the rest is counted.
const MOST: usize = 20;

/// What one shield told of that nobody was told yet.
pub struct Fresh<'f> {
    shield: &'f ShieldSettings,
    alerts: Vec<OutbreakAlert>,
}

/// Asks each shield for what it told of lately, and leaves out what was told already. A shield that does not answer
/// tells nothing; that it does not, a check says.
pub fn fresh<'f>(fleet: &'f LoadedFleet, memory: &mut Memory) -> Vec<Fresh<'f>> {
    let mut all = Vec::new();
    let shields = &fleet.file.shields;
    let states = all_at_once(shields, |shield| {
        let place = shield.status.as_ref()?;
        status::read(fleet, place).ok()
    });
    for (shield, state) in shields.iter().zip(states) {
        let Some(state) = state.flatten().filter(|state| state.name == shield.name) else {
            continue;
        };
        let alerts = memory.fresh(&shield.name, state.alerts);
        if !alerts.is_empty() {
            all.push(Fresh { shield, alerts });
        }
    }
    all
}

/// One notice for each team concerned: whoever answers for the servers behind the shield, and for the host that
/// stands out.
pub fn notices(
    fleet: &Fleet,
    fresh: &[Fresh<'_>],
    now: Timestamp,
    settings: &NotifySettings,
) -> Vec<Notice> {
    let mut by_owner: BTreeMap<Option<&TeamName>, Vec<(&str, &OutbreakAlert)>> = BTreeMap::new();
    for Fresh { shield, alerts } in fresh {
        let owner_of =
            |host: &HostName| fleet.hosts.get(host).and_then(|host| fleet.owner_of(host));
        let guards: BTreeSet<Option<&TeamName>> = shield.guards.iter().map(owner_of).collect();
        for alert in alerts {
            let mut owners = guards.clone();
            if let Some(host) = alert.isolate.and_then(|address| fleet.host_at(address)) {
                owners.insert(owner_of(host));
            }
            if owners.len() > 1 {
                owners.remove(&None);
            }
            if owners.is_empty() {
                owners.insert(fleet.global_team.as_ref());
            }
            for owner in owners {
                let told = by_owner.entry(owner).or_default();
                told.push((&shield.name, alert));
            }
        }
    }
    let mut roads = Vec::new();
    if settings.command.is_some() {
        roads.push(Road::Command);
    }
    if settings.mail.is_some() {
        roads.push(Road::Mail);
    }
    if settings.webhook.is_some() {
        roads.push(Road::Webhook);
    }
    let notice = |(owner, alerts): (Option<&TeamName>, Vec<(&str, &OutbreakAlert)>)| Notice {
        owner: owner.cloned(),
        at: now,
        subject: subject(&alerts),
        text: text(fleet, &alerts),
        json: json!({
            "schema": "mailkeep.notice/1",
            "realm": Realm::Live,
            "at": now,
            "owner": owner,
            "changes": [],
            "hosts": [],
            "feeds": [],
            "outbreaks": alerts
                .iter()
                .map(|(shield, alert)| for_program(fleet, shield, alert))
                .collect::<Vec<_>>(),
        })
        .to_string(),
        roads: roads.clone(),
    };
    by_owner.into_iter().map(notice).collect()
}

fn subject(alerts: &[(&str, &OutbreakAlert)]) -> String {
    let subject = match alerts {
        [(shield, alert)] => format!("mailkeep: outbreak at {shield}: {}", alert.detector),
        all => format!("mailkeep: {} signs of an outbreak", all.len()),
    };
    printable_max(&subject, 150)
}

fn text(fleet: &Fleet, alerts: &[(&str, &OutbreakAlert)]) -> String {
    let mut out = String::new();
    for (shield, alert) in alerts.iter().take(MOST) {
        if !out.is_empty() {
            out.push('\n');
        }
        let detector = printable(&alert.detector);
        writeln!(out, "{} at {}, {detector}:", printable(shield), alert.at).ok();
        writeln!(out, "{}", printable_max(&alert.text, 1000)).ok();
        let unit = printable(&alert.unit);
        let usual = alert
            .usual
            .map_or_else(|| "not known".to_owned(), |usual| usual.to_string());
        writeln!(
            out,
            "Counted within an hour: {} {unit}. Limit: {}. Most in the weeks before: {usual}.",
            alert.counted, alert.limit
        )
        .ok();
        if !alert.examples.is_empty() {
            out.push_str("For example:\n");
        }
        for example in alert.examples.iter().take(5) {
            let sender = if example.sender.is_empty() {
                "nobody (a bounce)".to_owned()
            } else {
                printable_max(&example.sender, 100)
            };
            let trace = printable_max(&example.trace, 40);
            writeln!(out, "  {trace}: from {sender}, by {}", example.host).ok();
        }
        match alert.isolate {
            None => {}
            Some(address) => match fleet.host_at(address) {
                Some(host) => {
                    let command = isolate(host, alert);
                    writeln!(
                        out,
                        "Only {host} ({address}) hands it over. If it should not, take it out of reach; its queue and your \
                         access to it stay:\n  {command}\n`mailkeep release {host}` lets it take mail again."
                    )
                    .ok();
                }
                None => {
                    writeln!(
                        out,
                        "Only {address} hands it over. No host of the fleet file has this `address`, so `mailkeep isolate` \
                         cannot be told its name."
                    )
                    .ok();
                }
            },
        }
        if alert.held {
            out.push_str(
                "What is held is let through by a line in [outbreak.expected] of the shield, and a SIGHUP.\n",
            );
        }
    }
    if alerts.len() > MOST {
        writeln!(out, "\nand {} more", alerts.len() - MOST).ok();
    }
    out
}

fn for_program(fleet: &Fleet, shield: &str, alert: &OutbreakAlert) -> Value {
    let host = alert.isolate.and_then(|address| fleet.host_at(address));
    json!({
        "shield": shield,
        "alert": alert,
        "isolate_host": host,
        "isolate_command": host.map(|host| isolate(host, alert)),
    })
}

/// A line for a shell. What the shield says comes from strangers: of it nothing stands here but plain words.
fn isolate(host: &HostName, alert: &OutbreakAlert) -> String {
    let plain = |text: &str| -> String {
        let plain = text
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-');
        plain.take(60).collect()
    };
    format!(
        "mailkeep isolate '{}' --reason 'outbreak: {}, reference {}'",
        host.as_str().replace('\'', ""),
        plain(&alert.detector),
        plain(&alert.id)
    )
}

/// Which alerts were told, in a file of the state directory.
pub struct Memory {
    path: PathBuf,
    /// By shield: those that it still tells of.
    told: BTreeMap<String, BTreeSet<String>>,
    changed: bool,
}

impl Memory {
    /// Reads it. One that is damaged is taken as empty: what was told is told again.
    pub fn read(directory: &Path) -> Self {
        let path = directory.join("outbreaks.json");
        let told = match std::fs::read(&path) {
            Ok(octets) => serde_json::from_slice(&octets).unwrap_or_else(|error| {
                let path = path.display();
                App::warn(&format!("{path} is damaged and begun anew: {error}"));
                BTreeMap::new()
            }),
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    App::warn(&format!("cannot read {}: {error}", path.display()));
                }
                BTreeMap::new()
            }
        };
        Self {
            path,
            told,
            changed: false,
        }
    }

    /// Of what a shield tells, what was not told yet; from now on it was.
    fn fresh(&mut self, shield: &str, alerts: Vec<OutbreakAlert>) -> Vec<OutbreakAlert> {
        // One message can pass several limits.
        let key = |alert: &OutbreakAlert| format!("{} {} {}", alert.id, alert.detector, alert.at);
        let now: BTreeSet<String> = alerts.iter().map(key).collect();
        let before = self.told.entry(shield.to_owned()).or_default();
        let fresh = alerts
            .into_iter()
            .filter(|alert| !before.contains(&key(alert)));
        let fresh: Vec<OutbreakAlert> = fresh.collect();
        if *before != now {
            *before = now;
            self.changed = true;
        }
        fresh
    }

    /// Writes it down, once what was fresh is on its way.
    pub fn keep(&self) -> anyhow::Result<()> {
        if !self.changed {
            return Ok(());
        }
        write_private(&self.path, &serde_json::to_vec(&self.told)?)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}
