//! `mailkeep shield eve`: what Suricata saw by the rules of `shield export`, beside what was found on the servers.
//!
//! What is new of it goes into the log of events.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use mailkeep_inspect::rules::{Attack, PatchRule, read_alerts};
use mailkeep_model::text::printable;
use mailkeep_model::{Event, EventKind, Finding, Fleet, HostName, Realm, Timestamp};
use mailkeep_store::{SqliteStore, Store as _};
use serde_json::json;

use super::is_for;
use crate::app::App;
use crate::cli::Scope;
use crate::cli::shield::EveArgs;
use crate::commands::{Done, check};

/// Lines that cannot be read and are named one by one.
const NAMED: u64 = 20;
/// Sources of one kind of attack on one server that are told one by one, and that the log takes up in a day:
/// strangers decide how many there are.
const SOURCES: usize = 256;
/// For how long what the log took up counts.
const A_DAY: Duration = Duration::from_hours(24);

/// What was tried on whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    rule: String,
    target: IpAddr,
}

/// By source; none stands for all beyond those that are told one by one.
type Groups = BTreeMap<Kind, BTreeMap<Option<IpAddr>, Seen>>;

/// How often, and when.
#[derive(Debug, Clone)]
struct Seen {
    first: Timestamp,
    last: Timestamp,
    alerts: u64,
    dropped: u64,
    port: u16,
}

/// What the log has of one kind of attack.
#[derive(Debug, Default)]
struct Known {
    /// When each source was seen last.
    last: BTreeMap<Option<IpAddr>, Timestamp>,
    /// Sources told one by one of late, each as often as it was.
    of_late: usize,
}

impl Known {
    fn has(&self, attack: &Attack) -> bool {
        // A source may have been told of by itself one day, and among the others the next.
        [Some(attack.source), None]
            .iter()
            .filter_map(|source| self.last.get(source))
            .any(|last| attack.at <= *last)
    }
}

/// Runs it.
pub(super) fn run(app: &App, args: &EveArgs) -> anyhow::Result<Done> {
    let bundle = super::load(args.bundle.as_deref())?;
    let name = args.file.display();
    let file = File::open(&args.file).with_context(|| format!("cannot read {name}"))?;
    let fleet = app.fleet(args.fleet.as_deref())?;
    let mut store = app.store(fleet.as_ref())?;
    let known = recorded(&store, app.now)?;
    let (mut all, mut fresh) = (Groups::new(), Groups::new());
    let mut unread = 0;
    let tally = read_alerts(file, &mut |nth, read| match read {
        Ok(attack) => {
            let kind = Kind {
                rule: attack.rule.clone(),
                target: attack.target,
            };
            let known = known.get(&kind);
            if known.is_none_or(|known| !known.has(&attack)) {
                let room = SOURCES.saturating_sub(known.map_or(0, |known| known.of_late));
                add(&mut fresh, kind.clone(), &attack, room);
            }
            add(&mut all, kind, &attack, SOURCES);
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
    let fleet = fleet.as_ref().map(|fleet| &fleet.file.fleet);
    let mut out = BufWriter::new(io::stdout().lock());
    for (kind, sources) in &all {
        let about = About::of(kind, &bundle.rules, fleet, &findings);
        if args.jsonl {
            about.lines(sources, &mut out)?;
        } else {
            about.tell(sources, &mut out)?;
        }
    }
    out.flush()?;
    if !args.dry_run {
        store.append_events(&events(app.now, fleet, &fresh))?;
    }
    let new = fresh.values().flat_map(BTreeMap::values);
    app.say(&format!(
        "{} alerts by rules of Mailkeep, {} new; {} other records; {} lines could not be read",
        tally.taken,
        new.map(|seen| seen.alerts).sum::<u64>(),
        tally.others,
        tally.unread
    ));
    Ok(if tally.taken + tally.unread > 0 {
        Done::Findings
    } else {
        Done::Nothing
    })
}

/// Counts an attack, by its source where there is room for so many.
fn add(groups: &mut Groups, kind: Kind, attack: &Attack, room: usize) {
    let sources = groups.entry(kind).or_default();
    let alone = Some(attack.source);
    let told = sources.len() - usize::from(sources.contains_key(&None));
    let source = alone.filter(|_| told < room || sources.contains_key(&alone));
    let seen = sources.entry(source).or_insert_with(|| Seen {
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

/// A kind of attack beside what is known of its target.
struct About<'a> {
    kind: &'a Kind,
    /// What the rule is about.
    holes: Vec<&'a str>,
    /// Whose address the target is.
    host: Option<&'a HostName>,
    /// What was found that the rule is about: on the host, or where that is not known, on any.
    open: Vec<&'a Finding>,
}

impl<'a> About<'a> {
    fn of(
        kind: &'a Kind,
        rules: &'a [PatchRule],
        fleet: Option<&'a Fleet>,
        findings: &'a [Finding],
    ) -> Self {
        let host = fleet.and_then(|fleet| fleet.host_at(kind.target));
        let rule = rules.iter().find(|rule| rule.name == kind.rule);
        let (mut holes, mut open) = (Vec::new(), Vec::new());
        if let Some(rule) = rule {
            holes.extend(rule.cves.iter().chain(&rule.aliases).map(String::as_str));
            let there = findings
                .iter()
                .filter(|finding| host.is_none_or(|host| finding.host == *host));
            open.extend(there.filter(|finding| is_for(rule, finding)));
        }
        Self {
            kind,
            holes,
            host,
            open,
        }
    }

    fn tell(
        &self,
        sources: &BTreeMap<Option<IpAddr>, Seen>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let about = if self.holes.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.holes.join(", "))
        };
        writeln!(out, "{}{}", self.kind.rule, printable(&about))?;
        let host = self
            .host
            .map_or_else(String::new, |host| format!(" ({host})"));
        for (source, seen) in sources {
            writeln!(
                out,
                "  {} to {}:{}{host}, {} times from {} to {}{}",
                source.map_or_else(|| "other addresses".to_owned(), |source| source.to_string()),
                self.kind.target,
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
        }
        for finding in &self.open {
            writeln!(
                out,
                "  {} has it: {} in {}, {}",
                finding.host,
                finding.verdict.advisory,
                printable(&finding.verdict.package),
                finding.verdict.status
            )?;
        }
        if self.open.is_empty() {
            writeln!(
                out,
                "  no server that was looked at is known to have the hole"
            )?;
        }
        Ok(())
    }

    fn lines(
        &self,
        sources: &BTreeMap<Option<IpAddr>, Seen>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let finding = |finding: &&Finding| {
            json!({
                "host": finding.host,
                "advisory": finding.verdict.advisory,
                "package": finding.verdict.package,
                "status": finding.verdict.status,
            })
        };
        let findings: Vec<_> = self.open.iter().map(finding).collect();
        for (source, seen) in sources {
            let line = json!({
                "rule": self.kind.rule,
                "holes": self.holes,
                "source": source,
                "target": self.kind.target,
                "port": seen.port,
                "host": self.host,
                "first": seen.first,
                "last": seen.last,
                "alerts": seen.alerts,
                "dropped": seen.dropped,
                "findings": findings,
            });
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

/// What the log has of each kind of attack.
fn recorded(store: &SqliteStore, now: Timestamp) -> anyhow::Result<BTreeMap<Kind, Known>> {
    let mut all: BTreeMap<Kind, Known> = BTreeMap::new();
    for recorded in store.attack_events()? {
        let EventKind::AttackSeen {
            rule,
            source,
            target,
            last,
            ..
        } = recorded.event.kind
        else {
            continue;
        };
        let known = all.entry(Kind { rule, target }).or_default();
        let before = known.last.entry(source).or_insert(last);
        *before = last.max(*before);
        let is_late = now.duration_since(recorded.event.at).unsigned_abs() < A_DAY;
        known.of_late += usize::from(is_late && source.is_some());
    }
    Ok(all)
}

/// What is new, as the log tells it.
fn events(now: Timestamp, fleet: Option<&Fleet>, fresh: &Groups) -> Vec<Event> {
    let mut events = Vec::new();
    for (kind, sources) in fresh {
        let host = fleet.and_then(|fleet| fleet.host_at(kind.target));
        events.extend(sources.iter().map(|(source, seen)| Event {
            at: now,
            realm: Realm::Live,
            kind: EventKind::AttackSeen {
                rule: kind.rule.clone(),
                source: *source,
                target: kind.target,
                host: host.cloned(),
                first: seen.first,
                last: seen.last,
                alerts: seen.alerts,
            },
        }));
    }
    events
}
