//! `mailkeep isolate` and `mailkeep release`: emergency takedown by hand, outside any plan.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::bail;
use mailkeep_model::{
    ActFailure, ActOutcome, Event, EventKind, Fleet, HostName, Lifecycle, Realm, RegionName,
    ServiceName, text,
};
use mailkeep_reach::hosts::for_each_bounded;
use mailkeep_rollout::SshHands;
use mailkeep_store::{SqliteStore, Store as _};

use super::Done;
use super::rollout::{
    actor, hosts_out_of_service, machine, only_now, reason, ssh_options, team_is_declared,
};
use crate::app::{App, LoadedFleet};
use crate::cli::rollout::{IsolateArgs, ReleaseArgs};
use crate::planning::basis::isolated;

/// What one host may take. The script does one thing.
const LIMIT: Duration = Duration::from_mins(1);

/// Hosts at a time.
const PARALLEL: usize = 16;

/// Runs `isolate`.
pub fn isolate(app: &App, args: &IsolateArgs) -> anyhow::Result<Done> {
    only_now(app)?;
    let fleet = fleet_of(app, args.fleet.as_deref())?;
    let reason = reason(&args.reason)?;
    team_is_declared(Some(&fleet), args.team.as_ref())?;
    let mut store = app.store(Some(&fleet))?;
    let hosts = named(&fleet.file.fleet, &args.what)?;
    let isolated = isolated(&store.isolation_events()?);
    let by_rollouts = hosts_out_of_service(&store, app.now)?;
    let mut out: BTreeSet<HostName> = by_rollouts.keys().cloned().collect();
    out.extend(isolated.iter().cloned());
    let short_of = broken_minimums(&fleet.file.fleet, &out, &hosts);
    for line in &short_of {
        if args.even_if_mail_stops {
            App::warn(&format!("warning: {line}"));
        } else {
            App::warn(&format!("refused: minimum-in-service: {line}"));
        }
    }
    if !short_of.is_empty() && !args.even_if_mail_stops {
        App::warn("--even-if-mail-stops does it all the same");
        return Ok(Done::Findings);
    }
    // The word is kept before the act: a host counts as out of service from here on, whatever becomes
    // of this process.
    let by = actor(app, args.team.as_ref());
    for host in &hosts {
        append(
            app,
            &mut store,
            EventKind::HostIsolated {
                host: host.clone(),
                by: by.clone(),
                reason: reason.clone(),
                below_minimum: !short_of.is_empty(),
            },
        )?;
    }
    let hands = hands(&fleet, &args.ssh)?;
    let mut failed = Vec::new();
    let told = at_each(
        &hosts,
        |host| hands.isolate(host, LIMIT),
        |host, outcome| {
            match outcome {
                ActOutcome::Done { .. } => say(&format!(
                    "{host} is isolated: no new mail sessions, queue and management access kept"
                )),
                ActOutcome::AlreadyDone { .. } => say(&format!("{host} was isolated already")),
                ActOutcome::NotYet { why } => {
                    failed.push((host.clone(), false));
                    App::warn(&format!("{host} is NOT isolated: {why}"));
                    Ok(())
                }
                ActOutcome::Failed { kind, detail } => {
                    // Nobody knows whether the script ran.
                    let unknown =
                        matches!(kind, ActFailure::Unreachable | ActFailure::GarbageOutput);
                    failed.push((host.clone(), unknown));
                    App::warn(&format!(
                        "{host} {}: {}: {detail}",
                        if unknown {
                            "may not be isolated"
                        } else {
                            "is NOT isolated"
                        },
                        kind.name()
                    ));
                    Ok(())
                }
            }
        },
    );
    for (host, unknown) in &failed {
        // A release would end the hold of a host that a rollout has left out of service.
        if !unknown && !isolated.contains(host) && !by_rollouts.contains_key(host) {
            append(
                app,
                &mut store,
                EventKind::HostReleased {
                    host: host.clone(),
                    by: by.clone(),
                },
            )?;
        }
    }
    told?;
    Ok(if failed.is_empty() {
        Done::Nothing
    } else {
        Done::Findings
    })
}

/// Runs `release`.
pub fn release(app: &App, args: &ReleaseArgs) -> anyhow::Result<Done> {
    only_now(app)?;
    let fleet = fleet_of(app, args.fleet.as_deref())?;
    team_is_declared(Some(&fleet), args.team.as_ref())?;
    let mut store = app.store(Some(&fleet))?;
    let isolated = isolated(&store.isolation_events()?);
    let is_host = fleet
        .file
        .fleet
        .hosts
        .keys()
        .any(|host| host.as_str() == args.what);
    let mut hosts = named(&fleet.file.fleet, &args.what)?;
    let mut held = hosts_out_of_service(&store, app.now)?;
    held.retain(|_, state| state.is_end());
    if !is_host {
        hosts.retain(|host| isolated.contains(host));
        for host in hosts.extract_if(.., |host| held.contains_key(host)) {
            App::warn(&format!(
                "{host} stays isolated: a rollout left it out of service; once it is repaired, release \
                 it by its own name"
            ));
        }
        if hosts.is_empty() {
            app.say(&format!(
                "no host of {} is isolated",
                text::printable(&args.what)
            ));
            return Ok(Done::Nothing);
        }
    }
    let hands = hands(&fleet, &args.ssh)?;
    let mut released = BTreeSet::new();
    let mut failed = false;
    let told = at_each(
        &hosts,
        |host| hands.end_isolation(host, LIMIT),
        |host, outcome| match outcome {
            ActOutcome::Done { .. } | ActOutcome::AlreadyDone { .. } => {
                released.insert(host.clone());
                match held.get(host) {
                    None => say(&format!("{host} takes mail again")),
                    Some(state) => say(&format!(
                        "{host} counts as in service again, and plans may take it; it was {}, and \
                         nothing was repaired on it by this",
                        state.name()
                    )),
                }
            }
            ActOutcome::NotYet { why } => {
                failed = true;
                App::warn(&format!("{host} is still isolated: {why}"));
                Ok(())
            }
            ActOutcome::Failed { kind, detail } => {
                failed = true;
                App::warn(&format!(
                    "{host} may still be isolated: {}: {detail}",
                    kind.name()
                ));
                Ok(())
            }
        },
    );
    let by = actor(app, args.team.as_ref());
    for host in released {
        if isolated.contains(&host) || held.contains_key(&host) {
            append(
                app,
                &mut store,
                EventKind::HostReleased {
                    host,
                    by: by.clone(),
                },
            )?;
        }
    }
    told?;
    Ok(if failed {
        Done::Findings
    } else {
        Done::Nothing
    })
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", text::printable(line))
}

fn fleet_of(app: &App, named: Option<&std::path::Path>) -> anyhow::Result<LoadedFleet> {
    match app.fleet(named)? {
        Some(fleet) => Ok(fleet),
        None => bail!(
            "there is no fleet file, and without it no host can be reached; name it with --fleet"
        ),
    }
}

fn hands(fleet: &LoadedFleet, ssh: &crate::cli::rollout::SshArgs) -> anyhow::Result<SshHands> {
    Ok(SshHands::new(&machine()?, &fleet.file.fleet)?.with_ssh(ssh_options(ssh)))
}

fn append(app: &App, store: &mut SqliteStore, kind: EventKind) -> anyhow::Result<()> {
    store.append_event(&Event {
        at: app.now,
        realm: Realm::Live,
        kind,
    })?;
    Ok(())
}

/// One act on each host, several at a time. An error is that of telling it: every host is acted upon all
/// the same, and what was done is for the caller to record before he passes the error on.
fn at_each(
    hosts: &[HostName],
    act: impl Fn(&HostName) -> ActOutcome + Sync,
    mut told: impl FnMut(&HostName, ActOutcome) -> io::Result<()>,
) -> io::Result<()> {
    let mut broken = Ok(());
    for_each_bounded(hosts, PARALLEL, act, |host, outcome| {
        let result = told(host, outcome);
        // The reader went away; the hosts are done all the same.
        if broken.is_ok() {
            broken = result;
        }
    });
    broken
}

/// The host of a name, else every running host that carries the service of that name.
fn named(fleet: &Fleet, what: &str) -> anyhow::Result<Vec<HostName>> {
    if let Some((host, _)) = fleet.hosts.iter().find(|(name, _)| name.as_str() == what) {
        return Ok(vec![host.clone()]);
    }
    let Some((service, _)) = fleet
        .services
        .iter()
        .find(|(name, _)| name.as_str() == what)
    else {
        bail!("there is no host and no service of that name in the fleet file: {what:?}");
    };
    let hosts: Vec<HostName> = fleet
        .hosts
        .iter()
        .filter(|(_, host)| host.lifecycle == Lifecycle::Running && host.services.contains(service))
        .map(|(name, _)| name.clone())
        .collect();
    if hosts.is_empty() {
        bail!("no running host carries {service}");
    }
    Ok(hosts)
}

/// Which minimums would not be kept if these hosts left service, beside those that are out already. A
/// service without a minimum must keep one host: with none, its mail stops.
fn broken_minimums(fleet: &Fleet, out: &BTreeSet<HostName>, leaving: &[HostName]) -> Vec<String> {
    let leaving: BTreeSet<&HostName> = leaving.iter().filter(|host| !out.contains(*host)).collect();
    let mut concerned: BTreeSet<(&ServiceName, Option<&RegionName>)> = BTreeSet::new();
    for host in &leaving {
        if let Some(declared) = fleet.hosts.get(*host) {
            for service in &declared.services {
                concerned.insert((service, declared.region.as_ref()));
                concerned.insert((service, None));
            }
        }
    }
    let mut broken = Vec::new();
    for (service, region) in concerned {
        let Some(declared) = fleet.services.get(service) else {
            continue;
        };
        let minimum = match region {
            Some(region) => declared.minimum_in(region).unwrap_or(0),
            None => declared.minimum_total.unwrap_or(0).max(1),
        };
        let staying = fleet
            .hosts
            .iter()
            .filter(|(name, host)| {
                host.lifecycle == Lifecycle::Running
                    && host.services.contains(service)
                    && (region.is_none() || host.region.as_ref() == region)
                    && !out.contains(*name)
                    && !leaving.contains(name)
            })
            .count();
        if u32::try_from(staying).unwrap_or(u32::MAX) < minimum {
            broken.push(match region {
                Some(region) => format!(
                    "{service} would have {staying} in service in {region} and must keep {minimum}"
                ),
                None => {
                    format!("{service} would have {staying} in service and must keep {minimum}")
                }
            });
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mailkeep_model::{Host, Service};

    use super::*;

    fn fleet() -> Fleet {
        let region = RegionName::new("eu").unwrap();
        let mx = ServiceName::new("inbound-mx").unwrap();
        let imap = ServiceName::new("mailbox").unwrap();
        let host = |services: &[&ServiceName]| Host {
            region: Some(region.clone()),
            services: services.iter().map(|s| (*s).clone()).collect(),
            ..Host::default()
        };
        let name = |name: &str| HostName::new(name).unwrap();
        Fleet {
            services: BTreeMap::from([
                (
                    mx.clone(),
                    Service {
                        minimum: BTreeMap::from([(region.clone(), 1)]),
                        ..Service::default()
                    },
                ),
                (imap.clone(), Service::default()),
            ]),
            hosts: BTreeMap::from([
                (name("mx1"), host(&[&mx])),
                (name("mx2"), host(&[&mx])),
                (name("box"), host(&[&imap])),
            ]),
            ..Fleet::default()
        }
    }

    fn broken(out: &[&str], leaving: &[&str]) -> Vec<String> {
        let names = |names: &[&str]| -> Vec<HostName> {
            names.iter().map(|n| HostName::new(n).unwrap()).collect()
        };
        let out: BTreeSet<HostName> = names(out).into_iter().collect();
        broken_minimums(&fleet(), &out, &names(leaving))
    }

    #[test]
    fn a_host_whose_service_keeps_its_minimum_may_leave() {
        assert!(broken(&[], &["mx1"]).is_empty());
        assert_eq!(broken(&["mx2"], &["mx1"]).len(), 2);
        assert_eq!(broken(&[], &["mx1", "mx2"]).len(), 2);
    }

    #[test]
    fn the_last_host_of_a_service_without_a_minimum_may_not() {
        assert_eq!(
            broken(&[], &["box"]),
            ["mailbox would have 0 in service and must keep 1"]
        );
    }

    #[test]
    fn a_host_that_is_out_already_changes_nothing() {
        assert!(broken(&["mx1", "mx2"], &["mx1"]).is_empty());
    }

    #[test]
    fn a_service_is_all_its_running_hosts() {
        let hosts = named(&fleet(), "inbound-mx").unwrap();
        assert_eq!(hosts.len(), 2);
        assert_eq!(named(&fleet(), "mx1").unwrap().len(), 1);
        named(&fleet(), "nobody").unwrap_err();
    }
}
