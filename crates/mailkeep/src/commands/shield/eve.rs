//! `mailkeep shield eve`: what Suricata saw by the rules of `shield export`, beside what was found on the servers.
//!
//! What is new of it goes into the log of events.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::net::IpAddr;

use anyhow::Context as _;
use mailkeep_inspect::rules::{Attack, PatchRule, read_alerts};
use mailkeep_model::text::printable;
use mailkeep_model::{Event, EventKind, Finding, HostName, Realm, Timestamp};
use mailkeep_store::Store as _;
use serde_json::json;

use super::is_for;
use crate::app::{App, LoadedFleet};
use crate::cli::Scope;
use crate::cli::shield::EveArgs;
use crate::commands::{Done, check};

/// Lines that cannot be read and are named one by one.
const NAMED: u64 = 20;
/// Sources of one kind of attack on one server that are told one by one: strangers decide how many there are.
const SOURCES: usize = 256;
/// Events read at a time.
const PAGE: usize = 10_000;

/// Who was attacked by what, and from where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    rule: String,
    target: IpAddr,
    /// None: all beyond [`SOURCES`].
    source: Option<IpAddr>,
}

/// How often, and when.
#[derive(Debug, Clone)]
struct Seen {
    first: Timestamp,
    last: Timestamp,
    alerts: u64,
    dropped: u64,
    port: u16,
}

/// Runs it.
pub(super) fn run(app: &App, args: &EveArgs) -> anyhow::Result<Done> {
    let bundle = super::load(args.bundle.as_deref())?;
    let name = args.file.display();
    let file = File::open(&args.file).with_context(|| format!("cannot read {name}"))?;
    let known = if args.dry_run {
        BTreeMap::new()
    } else {
        recorded(app)?
    };
    let (mut all, mut fresh) = (BTreeMap::new(), BTreeMap::new());
    let mut sources: BTreeMap<(String, IpAddr), BTreeSet<IpAddr>> = BTreeMap::new();
    let mut unread = 0;
    let tally = read_alerts(file, &mut |nth, read| match read {
        Ok(attack) => {
            let told = sources
                .entry((attack.rule.clone(), attack.target))
                .or_default();
            let is_told =
                told.contains(&attack.source) || told.len() < SOURCES && told.insert(attack.source);
            let group = Group {
                rule: attack.rule.clone(),
                target: attack.target,
                source: is_told.then_some(attack.source),
            };
            if known.get(&group).is_none_or(|last| attack.at > *last) {
                add(&mut fresh, group.clone(), &attack);
            }
            add(&mut all, group, &attack);
        }
        Err(why) => {
            unread += 1;
            if unread <= NAMED {
                App::warn(&format!("{name}, line {nth}: {}", printable(&why)));
            }
        }
    })
    .with_context(|| format!("cannot read {name}"))?;
    if tally.unread > NAMED {
        App::warn(&format!("and {} lines more", tally.unread - NAMED));
    }
    let fleet = app.fleet(args.fleet.as_deref())?;
    let findings = match &fleet {
        Some(fleet) if !all.is_empty() => {
            let scope = Scope {
                fleet: Some(fleet.path.clone()),
                ..Scope::default()
            };
            check::answer_unrecorded(app, &scope)?.findings
        }
        _ => Vec::new(),
    };
    let mut out = Vec::new();
    for (group, seen) in &all {
        let host = fleet
            .as_ref()
            .and_then(|fleet| fleet.file.fleet.host_at(group.target));
        let rule = bundle.rules.iter().find(|rule| rule.name == group.rule);
        let open = open(rule, host, &findings);
        if args.jsonl {
            let line = line(group, seen, rule, host, &open);
            writeln!(out, "{line}")?;
        } else {
            tell(group, seen, rule, host, &open, &mut out)?;
        }
    }
    io::stdout().lock().write_all(&out)?;
    if !args.dry_run {
        record(app, fleet.as_ref(), &fresh)?;
    }
    app.say(&format!(
        "{} alerts by rules of Mailkeep, {} new; {} other records; {} lines could not be read",
        tally.taken,
        fresh.values().map(|seen| seen.alerts).sum::<u64>(),
        tally.others,
        tally.unread
    ));
    Ok(if tally.taken + tally.unread > 0 {
        Done::Findings
    } else {
        Done::Nothing
    })
}

fn add(groups: &mut BTreeMap<Group, Seen>, group: Group, attack: &Attack) {
    let seen = groups.entry(group).or_insert_with(|| Seen {
        first: attack.at,
        last: attack.at,
        alerts: 0,
        dropped: 0,
        port: attack.port,
    });
    seen.first = seen.first.min(attack.at);
    seen.last = seen.last.max(attack.at);
    seen.alerts += 1;
    seen.dropped += u64::from(attack.dropped);
}

/// What was found that the rule is about: on the host, or where that is not known, on any.
fn open<'a>(
    rule: Option<&PatchRule>,
    host: Option<&HostName>,
    findings: &'a [Finding],
) -> Vec<&'a Finding> {
    let Some(rule) = rule else { return Vec::new() };
    findings
        .iter()
        .filter(|finding| host.is_none_or(|host| finding.host == *host))
        .filter(|finding| is_for(rule, finding))
        .collect()
}

fn holes(rule: Option<&PatchRule>) -> Vec<&str> {
    let holes = rule
        .iter()
        .flat_map(|rule| rule.cves.iter().chain(&rule.aliases));
    holes.map(String::as_str).collect()
}

fn tell(
    group: &Group,
    seen: &Seen,
    rule: Option<&PatchRule>,
    host: Option<&HostName>,
    open: &[&Finding],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let holes = holes(rule);
    let about = if holes.is_empty() {
        String::new()
    } else {
        format!(" ({})", holes.join(", "))
    };
    let host = host.map_or_else(String::new, |host| format!(" ({host})"));
    writeln!(out, "{}{}", group.rule, printable(&about))?;
    writeln!(
        out,
        "  {} to {}:{}{host}, {} times from {} to {}{}",
        group
            .source
            .map_or_else(|| "other addresses".to_owned(), |source| source.to_string()),
        group.target,
        seen.port,
        seen.alerts,
        seen.first,
        seen.last,
        if seen.dropped == seen.alerts {
            ", dropped"
        } else {
            ""
        }
    )?;
    for finding in open {
        writeln!(
            out,
            "  {} has it: {} in {}, {}",
            finding.host,
            finding.verdict.advisory,
            printable(&finding.verdict.package),
            finding.verdict.status
        )?;
    }
    if open.is_empty() {
        writeln!(
            out,
            "  no server that was looked at is known to have the hole"
        )?;
    }
    Ok(())
}

fn line(
    group: &Group,
    seen: &Seen,
    rule: Option<&PatchRule>,
    host: Option<&HostName>,
    open: &[&Finding],
) -> serde_json::Value {
    let findings: Vec<_> = open
        .iter()
        .map(|finding| {
            json!({
                "host": finding.host,
                "advisory": finding.verdict.advisory,
                "package": finding.verdict.package,
                "status": finding.verdict.status,
            })
        })
        .collect();
    json!({
        "rule": group.rule,
        "holes": holes(rule),
        "source": group.source,
        "target": group.target,
        "port": seen.port,
        "host": host,
        "first": seen.first,
        "last": seen.last,
        "alerts": seen.alerts,
        "dropped": seen.dropped,
        "findings": findings,
    })
}

/// When each kind of attack was seen last, by the log.
fn recorded(app: &App) -> anyhow::Result<BTreeMap<Group, Timestamp>> {
    let store = app.store(None)?;
    let mut known: BTreeMap<Group, Timestamp> = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = store.events_after(after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for recorded in page {
            if let EventKind::AttackSeen {
                rule,
                source,
                target,
                last,
                ..
            } = recorded.event.kind
            {
                let group = Group {
                    rule,
                    target,
                    source,
                };
                let known = known.entry(group).or_insert(last);
                *known = last.max(*known);
            }
        }
    }
    Ok(known)
}

/// Writes down what is new.
fn record(
    app: &App,
    fleet: Option<&LoadedFleet>,
    fresh: &BTreeMap<Group, Seen>,
) -> anyhow::Result<()> {
    if fresh.is_empty() {
        return Ok(());
    }
    let mut store = app.store(None)?;
    for (group, seen) in fresh {
        store.append_event(&Event {
            at: app.now,
            realm: Realm::Live,
            kind: EventKind::AttackSeen {
                rule: group.rule.clone(),
                source: group.source,
                target: group.target,
                host: fleet
                    .and_then(|fleet| fleet.file.fleet.host_at(group.target))
                    .cloned(),
                first: seen.first,
                last: seen.last,
                alerts: seen.alerts,
            },
        })?;
    }
    Ok(())
}
