//! `mailkeep check`.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context as _;
use mailkeep_facts::facts_from_root;
use mailkeep_model::{AdvisoryId, Event, Fleet, HostFacts, HostName, HostStatus, Realm};
use mailkeep_reach::hosts::RunLimits;
use mailkeep_store::{Snapshot, Store};
use mailkeep_triage::{Change, Policy};

use super::{Done, feeds, scan};
use crate::answer::Answer;
use crate::app::{App, LoadedFleet, write_whole};
use crate::check::{self, SCANNED, Subject, Terms, check, is_kept, to_keep};
use crate::cli::{CheckArgs, Format, Scope};
use crate::impact::foreseen::foreseen;
use crate::index;
use crate::output;
use crate::output::table::Style;
use crate::shield::Cover;

/// Runs it.
pub fn run(app: &App, args: &CheckArgs) -> anyhow::Result<Done> {
    let mut answer = answer(app, &args.scope, args.all, args.format == Format::Html)?;
    let since_last = args.since.is_some();
    let first = answer.changes.is_none();
    if since_last && first {
        app.say(&format!(
            "There was no check of {} before this one: all of it is new.",
            answer.scope
        ));
        answer.changes = Some(mailkeep_triage::delta(&[], &answer.findings));
    }
    let style = Style {
        colour: app.colour && args.output.is_none(),
        all_packages: args.all_packages,
        all_verdicts: args.all,
        only_changes: since_last && !first,
    };
    if args.format == Format::CsafVex && answer.organisation.is_none() {
        App::warn(
            "warning: the document's publisher is a placeholder; the fleet file's [organisation] \
             with name and url says who publishes it",
        );
    }
    if let Some(path) = &args.output {
        let mut bytes = Vec::new();
        write_answer(&answer, args.format, style, &mut bytes)?;
        write_whole(path, &bytes)
            .with_context(|| format!("cannot write the answer to {}", path.display()))?;
    } else {
        let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        write_answer(&answer, args.format, style, &mut out)
            .and_then(|()| out.flush())
            .context("cannot write the answer")?;
    }
    let nothing = match &answer.changes {
        Some(changes) if since_last => {
            changes.is_empty() && answer.hosts.iter().all(|h| h.status != HostStatus::Unknown)
        }
        _ => !answer.asks_for_action(),
    };
    // The process is about to end, and taking a fleet's findings apart one by one takes longer than
    // writing some formats of them.
    std::mem::forget(answer);
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
    let counts = answer.counts();
    let only_changed;
    let answer = if style.only_changes && format != Format::Table {
        only_changed = only_changes(answer);
        &only_changed
    } else {
        answer
    };
    match format {
        Format::Table => output::table::write(answer, style, out),
        Format::Json => output::json::write_counted(answer, counts, out),
        Format::Csv => output::csv::write(answer, out),
        Format::CsafVex => output::csaf_vex::write(answer, out),
        Format::Openvex => output::openvex::write(answer, out),
        Format::Html => output::html::write(answer, out),
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

/// Makes the answer for a scope, with what patching would change where that is wanted, and records it as
/// the last check of that scope.
fn answer(app: &App, scope: &Scope, all: bool, impacts: bool) -> anyhow::Result<Answer> {
    let (mut store, fleet) = prepare(app, scope)?;
    let asked = ask(app, &store, scope, fleet.as_ref(), all, None, impacts)?;
    record(app, &mut store, &asked);
    // As with the answer itself, see `run`.
    std::mem::forget(asked.last);
    Ok(asked.answer)
}

/// Makes the answer for a scope. Nothing is recorded.
pub fn answer_unrecorded(app: &App, scope: &Scope) -> anyhow::Result<Answer> {
    let (store, fleet) = prepare(app, scope)?;
    Ok(ask(app, &store, scope, fleet.as_ref(), false, None, false)?.answer)
}

/// Makes the answer about one advisory, with every verdict. Nothing is recorded.
pub fn answer_about(app: &App, scope: &Scope, advisory: &AdvisoryId) -> anyhow::Result<Asked> {
    let (store, fleet) = prepare(app, scope)?;
    let mut asked = ask(
        app,
        &store,
        scope,
        fleet.as_ref(),
        true,
        Some(advisory),
        false,
    )?;
    asked.answer.changes = None;
    Ok(asked)
}

/// Opens the store and brings in what can be had without asking anybody else: the fleet file's own
/// feeds and, where nothing was ever scanned, this machine.
fn prepare(
    app: &App,
    scope: &Scope,
) -> anyhow::Result<(mailkeep_store::SqliteStore, Option<LoadedFleet>)> {
    let fleet = app.fleet(scope.fleet.as_deref())?;
    let mut store = app.store(fleet.as_ref())?;
    if let Some(fleet) = &fleet {
        feeds::import_local(app, &mut store, fleet)?;
    } else if scope.root.is_none() && scope.hosts.is_empty() && store.scanned_hosts()?.is_empty() {
        app.say("No fleet file and nothing scanned so far: looking at this machine.");
        let name = scan::local_name()?;
        let limits = RunLimits::default();
        let kept = scan::scan_local(app, &mut store, &name, false, limits)?;
        // Standard output is for the answer.
        app.say(&kept.line);
    }
    Ok((store, fleet))
}

/// An answer, and what it was made from.
#[derive(Debug)]
pub struct Asked {
    /// The answer.
    pub answer: Answer,
    /// Whether any feed knows the advisory asked about, whatever is installed; true where none was
    /// asked about.
    pub known: bool,
    key: Key,
    last: Option<Snapshot>,
}

/// Makes an answer. All that it takes from the store belongs to one moment.
fn ask(
    app: &App,
    store: &dyn Store,
    scope: &Scope,
    fleet: Option<&LoadedFleet>,
    all: bool,
    only: Option<&AdvisoryId>,
    impacts: bool,
) -> anyhow::Result<Asked> {
    let key = Key::of(scope, fleet);
    let nothing_declared = Fleet::default();
    let default_policy = Policy::default();
    let cover = Cover::ask(app, fleet);
    for problem in cover.problems() {
        App::warn(&format!("warning: {problem}"));
    }
    at_one_moment(store, || {
        let subjects = subjects(app, store, scope, fleet)?;
        let last = store.findings_of(&key.name)?;
        let hosts = subjects.iter().map(|subject| &subject.name).collect();
        let earlier = match &key.base {
            Some(base) => check::earlier(store, base, &key.name, &hosts)?,
            None => Vec::new(),
        };
        let terms = Terms {
            now: app.now,
            scope: key.title.clone(),
            fleet: fleet.map_or(&nothing_declared, |f| &f.file.fleet),
            policy: fleet.map_or(&default_policy, |f| &f.file.policy),
            all,
            only,
            last,
            earlier,
            cover,
        };
        let mut answer = check(store, &subjects, &terms)?;
        answer.organisation = fleet.and_then(|f| f.file.organisation.clone());
        if impacts {
            let seen = subjects.iter().filter_map(|subject| subject.facts.as_ref());
            let failures = subjects
                .iter()
                .filter_map(|s| Some((s.name.clone(), s.failure.clone()?)))
                .collect();
            let findings = &answer.findings;
            answer.impacts = foreseen(store, terms.fleet, seen, findings, failures, app.now)?;
        }
        let known = match only {
            Some(advisory) if answer.findings.is_empty() => index::knows(store, advisory)?,
            _ => true,
        };
        Ok(Asked {
            answer,
            known,
            last: terms.last,
            key: key.clone(),
        })
    })
}

/// Runs what reads the store so that all of it belongs to one moment.
pub fn at_one_moment<T>(
    store: &dyn Store,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut work = Some(work);
    let mut done = None;
    store.at_one_moment(&mut || done = work.take().map(|work| work()))?;
    done.context("the state was not read")?
}

/// Keeps the findings for `--since last`, with the events that tell the difference. A state that
/// cannot be written does not take the answer away; it is said.
fn record(app: &App, store: &mut dyn Store, asked: &Asked) {
    let last = asked.last.as_ref();
    if last.is_some_and(|last| is_kept(&asked.answer, last)) {
        return;
    }
    let findings = to_keep(&asked.answer, last);
    if asked
        .last
        .as_ref()
        .is_some_and(|last| last.findings == findings)
    {
        return;
    }
    let changes = match &asked.answer.changes {
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
    let kept = store
        .record_check(&asked.key.name, &snapshot, &events)
        .and_then(|()| record_ledgers(store, &asked.key, &snapshot));
    if let Err(error) = kept {
        App::warn(&format!(
            "warning: this check is not kept for --since last: {}",
            crate::feeds::import::chain(&error)
        ));
    }
}

/// Of hosts asked about together by name, each one's findings again under its own, so that their
/// first days are found by whoever asks next.
fn record_ledgers(
    store: &mut dyn Store,
    key: &Key,
    snapshot: &Snapshot,
) -> Result<(), mailkeep_store::StoreError> {
    let Some(base) = key.base.as_deref().filter(|_| key.hosts.len() > 1) else {
        return Ok(());
    };
    for host in &key.hosts {
        let of_host = snapshot.findings.iter().filter(|f| f.host == *host);
        let of_host = Snapshot {
            at: snapshot.at,
            findings: of_host.cloned().collect(),
        };
        store.record_check(&check::ledger(base, host), &of_host, &[])?;
    }
    Ok(())
}

/// Under which name a scope's last check is kept.
#[derive(Debug, Clone)]
struct Key {
    name: String,
    /// For a person.
    title: String,
    /// The scope of all hosts, of which this one is a part or the whole; `None` for a root
    /// directory, which is nobody's part.
    base: Option<String>,
    /// Hosts asked about by name, sorted.
    hosts: Vec<HostName>,
}

impl Key {
    fn of(scope: &Scope, fleet: Option<&LoadedFleet>) -> Self {
        if let Some(root) = &scope.root {
            let path = std::fs::canonicalize(root).unwrap_or_else(|_| root.clone());
            return Self {
                name: format!("root:{}", path.display()),
                title: root.display().to_string(),
                base: None,
                hosts: Vec::new(),
            };
        }
        let (base, title) = match fleet {
            Some(fleet) => (fleet.scope(), fleet.path.display().to_string()),
            None => (SCANNED.to_owned(), "the hosts scanned so far".to_owned()),
        };
        let mut hosts = scope.hosts.clone();
        hosts.sort_unstable();
        hosts.dedup();
        let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
        Self {
            name: if hosts.is_empty() {
                base.clone()
            } else {
                format!("{base}#{}", names.join(","))
            },
            title: if hosts.is_empty() {
                title
            } else {
                names.join(", ")
            },
            base: Some(base),
            hosts,
        }
    }
}

/// The hosts of a scope, with what is known of them.
pub fn subjects<'f>(
    app: &App,
    store: &dyn Store,
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
        return scanned(store, scope);
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

/// Without a fleet file: the hosts scanned before.
fn scanned(store: &dyn Store, scope: &Scope) -> anyhow::Result<Vec<Subject<'static>>> {
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
