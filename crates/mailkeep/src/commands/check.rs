//! `mailkeep check`.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context as _;
use mailkeep_facts::facts_from_root;
use mailkeep_model::{Event, Fleet, HostFacts, HostName, Realm};
use mailkeep_store::{Snapshot, Store};
use mailkeep_triage::{Change, Policy};

use super::{Done, feeds, scan};
use crate::answer::Answer;
use crate::app::{App, LoadedFleet, write_whole};
use crate::check::{Subject, Terms, check};
use crate::cli::{CheckArgs, Format, Scope};
use crate::output;
use crate::output::table::Style;

/// Runs it.
pub fn run(app: &App, args: &CheckArgs) -> anyhow::Result<Done> {
    let answer = answer(app, &args.scope, args.all, true)?;
    let mut bytes = Vec::new();
    let style = Style {
        colour: app.colour && args.output.is_none(),
        all_packages: args.all_packages,
        all_verdicts: args.all,
        only_changes: args.since.is_some(),
    };
    write_answer(&answer, args.format, style, &mut bytes)?;
    match &args.output {
        Some(path) => write_whole(path, &bytes)
            .with_context(|| format!("cannot write the answer to {}", path.display()))?,
        None => io::stdout()
            .lock()
            .write_all(&bytes)
            .context("cannot write the answer")?,
    }
    let nothing = match (args.since, &answer.changes) {
        (Some(_), Some(changes)) => changes.is_empty(),
        _ => !answer.asks_for_action(),
    };
    Ok(if nothing {
        Done::Nothing
    } else {
        Done::Findings
    })
}

/// Writes an answer in a format.
pub fn write_answer(
    answer: &Answer,
    format: Format,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let only_changed;
    let answer = if style.only_changes && format != Format::Table {
        only_changed = only_changes(answer);
        &only_changed
    } else {
        answer
    };
    match format {
        Format::Table => output::table::write(answer, style, out),
        Format::Json => output::json::write(answer, out),
        Format::Csv => output::csv::write(answer, out),
    }
}

/// The answer with only those findings that are new or changed; `changes` tells what is gone.
fn only_changes(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    let changed: std::collections::BTreeSet<(HostName, Box<str>, mailkeep_model::AdvisoryId)> =
        answer
            .changes
            .iter()
            .flatten()
            .map(|c: &Change| (c.host.clone(), c.package.clone(), c.advisory.clone()))
            .collect();
    answer.findings.retain(|f| {
        changed.contains(&(
            f.host.clone(),
            f.verdict.package.clone(),
            f.verdict.advisory.clone(),
        ))
    });
    answer
}

/// Makes the answer for a scope, and records it as the last check of that scope.
pub fn answer(app: &App, scope: &Scope, all: bool, record: bool) -> anyhow::Result<Answer> {
    let fleet = app.fleet(scope.fleet.as_deref())?;
    let mut store = app.store(fleet.as_ref())?;
    if let Some(fleet) = &fleet {
        feeds::import_local(app, &mut store, fleet)?;
    }
    let (key, title) = scope_name(scope, fleet.as_ref());
    let nothing_declared = Fleet::default();
    let default_policy = Policy::default();
    let declared = fleet.as_ref().map_or(&nothing_declared, |f| &f.file.fleet);
    let policy = fleet.as_ref().map_or(&default_policy, |f| &f.file.policy);
    let subjects = subjects(app, &mut store, scope, fleet.as_ref())?;
    let last = store.findings_of(&key)?;
    let terms = Terms {
        now: app.now,
        scope: title,
        fleet: declared,
        policy,
        all,
        last,
    };
    let answer = check(&store, &subjects, &terms)?;
    if record {
        self::record(app, &mut store, &key, &answer, terms.last.as_ref());
    }
    Ok(answer)
}

/// Keeps the findings for `--since last`, with the events that tell the difference. A state that
/// cannot be written does not take the answer away; it is said.
fn record(app: &App, store: &mut dyn Store, key: &str, answer: &Answer, last: Option<&Snapshot>) {
    let findings: Vec<_> = answer
        .findings
        .iter()
        .filter(|f| f.verdict.status.is_finding())
        .cloned()
        .collect();
    if last.is_some_and(|last| last.findings == findings) {
        return;
    }
    let changes = match &answer.changes {
        Some(changes) => changes.clone(),
        None => mailkeep_triage::delta(&[], &findings),
    };
    let events: Vec<Event> = changes
        .into_iter()
        .map(|c| c.into_event(app.now, Realm::Live))
        .collect();
    let snapshot = Snapshot {
        at: app.now,
        findings,
    };
    if let Err(error) = store.record_check(key, &snapshot, &events) {
        App::warn(&format!(
            "warning: this check is not kept for --since last: {}",
            crate::feeds::import::chain(&error)
        ));
    }
}

/// The key and the title of a scope.
fn scope_name(scope: &Scope, fleet: Option<&LoadedFleet>) -> (String, String) {
    if let Some(root) = &scope.root {
        let path = std::fs::canonicalize(root).unwrap_or_else(|_| root.clone());
        return (
            format!("root:{}", path.display()),
            root.display().to_string(),
        );
    }
    let (mut key, mut title) = match fleet {
        Some(fleet) => (fleet.scope(), fleet.path.display().to_string()),
        None => ("scanned".to_owned(), "the hosts scanned so far".to_owned()),
    };
    if !scope.hosts.is_empty() {
        let mut names: Vec<&str> = scope.hosts.iter().map(HostName::as_str).collect();
        names.sort_unstable();
        names.dedup();
        key = format!("{key}#{}", names.join(","));
        title = names.join(", ");
    }
    (key, title)
}

/// The hosts of a scope, with what is known of them.
pub fn subjects<'f>(
    app: &App,
    store: &mut dyn Store,
    scope: &Scope,
    fleet: Option<&'f LoadedFleet>,
) -> anyhow::Result<Vec<Subject<'f>>> {
    if let Some(root) = &scope.root {
        let name = match &scope.name {
            Some(name) => name.clone(),
            None => HostName::new("root")?,
        };
        let declared = fleet.and_then(|f| f.file.fleet.hosts.get(&name));
        let facts = read_root(app, root, name.clone())?;
        return Ok(vec![Subject {
            name,
            declared,
            facts: Some(facts),
            failure: None,
        }]);
    }
    let Some(fleet) = fleet else {
        return scanned(app, store, scope);
    };
    let hosts = &fleet.file.fleet.hosts;
    for name in &scope.hosts {
        anyhow::ensure!(
            hosts.contains_key(name),
            "there is no host {name} in {}",
            fleet.path.display()
        );
    }
    let mut subjects = Vec::new();
    for (name, host) in hosts {
        if !scope.hosts.is_empty() && !scope.hosts.contains(name) {
            continue;
        }
        let subject = if let Some(path) = &host.facts {
            scan::from_file(app, fleet, name, host, path)
        } else {
            let state = store.scan_of(name)?;
            Subject {
                name: name.clone(),
                declared: Some(host),
                facts: state.facts,
                failure: state.failure,
            }
        };
        subjects.push(subject);
    }
    Ok(subjects)
}

/// Without a fleet file: the hosts scanned before; where there are none, this machine.
fn scanned(
    app: &App,
    store: &mut dyn Store,
    scope: &Scope,
) -> anyhow::Result<Vec<Subject<'static>>> {
    let mut names = store.scanned_hosts()?;
    if !scope.hosts.is_empty() {
        for name in &scope.hosts {
            anyhow::ensure!(
                names.contains(name),
                "{name} was never scanned; run `mailkeep scan {name}` first, or name a fleet file with --fleet"
            );
        }
        names.retain(|name| scope.hosts.contains(name));
    }
    if names.is_empty() {
        app.say("No fleet file and nothing scanned so far: looking at this machine.");
        let name = scan::local_name()?;
        scan::scan_local(app, store, &name, false)?;
        names.push(name);
    }
    names
        .into_iter()
        .map(|name| {
            let state = store.scan_of(&name)?;
            Ok(Subject {
                name,
                declared: None,
                facts: state.facts,
                failure: state.failure,
            })
        })
        .collect()
}

/// Reads `etc/os-release` and `var/lib/dpkg/status` below a directory.
pub fn read_root(app: &App, root: &Path, name: HostName) -> anyhow::Result<HostFacts> {
    let os_release = ["etc/os-release", "usr/lib/os-release"]
        .iter()
        .map(|path| root.join(path))
        .find(|path| path.is_file())
        .with_context(|| format!("there is no etc/os-release below {}", root.display()))?;
    let text = std::fs::read(&os_release)
        .with_context(|| format!("cannot read {}", os_release.display()))?;
    let status = root.join("var/lib/dpkg/status");
    let packages = std::fs::read(&status).with_context(|| {
        format!(
            "cannot read {}: only Debian's package database is read from a root",
            status.display()
        )
    })?;
    let (facts, problems) =
        facts_from_root(name, app.now, &String::from_utf8_lossy(&text), &packages);
    for problem in problems {
        App::warn(&format!("{}: {problem}", root.display()));
    }
    Ok(facts)
}
