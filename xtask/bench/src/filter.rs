//! `bench filter`: one host checked, one feed imported.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use debversion::Version;
use mailkeep_advisory::{Sink, Stop, debian_tracker};
use mailkeep_matcher::{FeedView, HostView, PackageRows, judge_host, version};
use mailkeep_model::{
    AdvisoryId, FeedState, HostName, Platform, Problem, Realm, Signal, Statement, VersionScheme,
};
use mailkeep_store::{Space, SqliteStore, Store};
use serde_json::Value;

use crate::data::{Data, Host};
use crate::measure::{Goal, Runs, head, median, row, row_memory, row_time, run as measure, timed};
use crate::{Options, Outcome, floor, peers};

/// Memory that a check must stay below: 40 MiB.
const MEMORY: Goal = Goal::Kib(40 * 1024);

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let data = Data::prepare(options)?;
    let text = fs::read(&data.tracker)?;
    println!(
        "{}: tracker of {:.1} MB; medians of {} runs that take turns",
        data.origin,
        crate::measure::to_f64(text.len() as u64) / 1e6,
        options.runs
    );
    import(options, &data, &text)?;
    let state = data.at("state");
    measure(&import_command(options, &data, &state), &data.at("out"))?;
    for host in &data.hosts {
        check(options, &data, host, &state)?;
    }
    in_process(options, &data, &text, &state)
}

fn mailkeep(options: &Options, state: &Path) -> Vec<OsString> {
    let program = options.mailkeep.clone().into_os_string();
    vec![program, "--state".into(), state.into(), "--quiet".into()]
}

fn import_command(options: &Options, data: &Data, state: &Path) -> Vec<OsString> {
    let mut command = mailkeep(options, state);
    command.extend(["feeds", "import", "--source", "debian-tracker"].map(OsString::from));
    command.push(data.tracker.clone().into());
    command
}

fn import(options: &Options, data: &Data, text: &[u8]) -> Outcome<()> {
    let state = data.at("import");
    let command = import_command(options, data, &state);
    let (mut whole, mut reading, mut typed, mut value) =
        (Runs::default(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.runs {
        fs::remove_dir_all(&state).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        whole.push(measure(&command, &data.at("out"))?);
        reading.push(once(|| {
            debian_tracker::read(text, &mut Counted::default()).is_ok()
        }));
        typed.push(once(|| {
            let tracker: Result<floor::Tracker<'_>, _> = serde_json::from_slice(text);
            tracker.map_or(0, |tracker| tracker.weight())
        }));
        value.push(once(|| serde_json::from_slice::<Value>(text).is_ok()));
    }
    let (typed, value) = (median(typed), median(value));
    head("import of the tracker");
    let case = "feeds import, whole process";
    row_time(
        case,
        whole.time(),
        Some(("serde_json, typed", typed)),
        Goal::Ratio(4.0),
    );
    row_time(
        case,
        whole.time(),
        Some(("serde_json::Value", value)),
        Goal::None,
    );
    row_memory("  its peak memory", whole.kib(), None, Goal::None);
    let case = "reading it in process, nothing stored";
    row_time(
        case,
        median(reading),
        Some(("serde_json, typed", typed)),
        Goal::None,
    );
    Ok(())
}

fn check(options: &Options, data: &Data, host: &Host, state: &Path) -> Outcome<()> {
    let mut ours = mailkeep(options, state);
    ours.extend(["check", "--format", "json", "--root"].map(OsString::from));
    ours.push(host.root.clone().into());
    let others = [
        ("trivy", peers::trivy(options, data.trivy.as_deref(), host)),
        ("debsecan", peers::debsecan(data.debsecan.as_deref(), host)),
    ];
    let out = |name: &str| data.at(&format!("{name}.out"));

    // The first check keeps its findings, the next compare with them.
    let fresh = data.at("fresh");
    let (mut first, mut again) = (Runs::default(), Runs::default());
    let mut theirs = [Runs::default(), Runs::default()];
    measure(&ours, &out("ours"))?;
    for _ in 0..options.runs {
        copy_state(state, &fresh)?;
        let mut command = ours.clone();
        if let Some(place) = command.get_mut(2) {
            *place = fresh.clone().into();
        }
        first.push(measure(&command, &out("ours"))?);
        again.push(measure(&ours, &out("ours"))?);
        for ((name, peer), runs) in others.iter().zip(&mut theirs) {
            if let Ok(command) = peer {
                runs.push(measure(command, &out(name))?);
            }
        }
    }

    head(&format!("{}: {} packages", host.name, host.packages));
    let goals = [0.1, 0.025];
    // Demanded of a host of this size; on a larger one there is only more to say.
    let demanded = host.packages < 400;
    let memory = if demanded { MEMORY } else { Goal::None };
    for (((name, peer), runs), goal) in others.iter().zip(&theirs).zip(goals) {
        let goal = if demanded {
            Goal::Ratio(goal)
        } else {
            Goal::None
        };
        match peer {
            Ok(_) => {
                row_time(
                    "check --root",
                    again.time(),
                    Some((name, runs.time())),
                    goal,
                );
                row_time(
                    "check --root, first time",
                    first.time(),
                    Some((name, runs.time())),
                    Goal::None,
                );
                row_memory(
                    "  peak memory",
                    again.kib(),
                    Some((name, runs.kib())),
                    memory,
                );
            }
            Err(why) => {
                row_time("check --root", again.time(), None, Goal::None);
                row_memory("  peak memory", again.kib(), None, memory);
                row("", "", Some(why), None, "");
            }
        }
    }
    let ours = wrong_and_missed(&host.truth, &ours_found(&out("ours"))?);
    for ((name, peer), found) in others.iter().zip([trivy_found, debsecan_found]) {
        if peer.is_ok() {
            let theirs = wrong_and_missed(&host.truth, &found(&out(name))?);
            let told = format!("{theirs} {name}");
            row("wrong / missed pairs", &ours, Some(&told), None, "");
        } else {
            row("wrong / missed pairs", &ours, None, None, "");
        }
    }
    Ok(())
}

type Pairs = BTreeSet<(String, String)>;

fn wrong_and_missed(truth: &Pairs, found: &Pairs) -> String {
    let wrong = found.difference(truth).count();
    let missed = truth.difference(found).count();
    format!("{wrong} / {missed}")
}

fn text_of(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value[key].as_array().into_iter().flatten()
}

fn ours_found(path: &Path) -> Outcome<Pairs> {
    let answer: Value = serde_json::from_slice(&fs::read(path)?)?;
    let mut pairs = Pairs::new();
    for finding in list(&answer, "findings") {
        let advisory = text_of(finding, "advisory");
        for binary in list(finding, "binaries") {
            pairs.insert((
                advisory.clone(),
                binary.as_str().unwrap_or_default().to_owned(),
            ));
        }
    }
    Ok(pairs)
}

fn trivy_found(path: &Path) -> Outcome<Pairs> {
    let answer: Value = serde_json::from_slice(&fs::read(path)?)?;
    Ok(list(&answer, "Results")
        .flat_map(|result| list(result, "Vulnerabilities"))
        .map(|found| (text_of(found, "VulnerabilityID"), text_of(found, "PkgName")))
        .collect())
}

fn debsecan_found(path: &Path) -> Outcome<Pairs> {
    let text = fs::read_to_string(path)?;
    Ok(text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        })
        .collect())
}

/// A state as it is right after the import: without the findings of any check.
fn copy_state(state: &Path, to: &Path) -> Outcome<()> {
    let pristine: PathBuf = state.with_extension("pristine");
    if !pristine.exists() {
        copy_directory(state, &pristine)?;
    }
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    copy_directory(&pristine, to)
}

fn copy_directory(from: &Path, to: &Path) -> Outcome<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// The parts of a check, beside a bare loop that does the same and says nothing.
fn in_process(options: &Options, data: &Data, text: &[u8], state: &Path) -> Outcome<()> {
    let tracker: floor::Tracker<'_> = serde_json::from_slice(text)?;
    let table = floor::table(&tracker, "bookworm");
    let store = SqliteStore::open(state, Realm::Live)?;
    let status = store.feeds()?;
    let feeds: Vec<FeedView<'_>> = status
        .iter()
        .map(|feed| FeedView {
            id: &feed.id,
            kind: feed.kind,
            state: FeedState::Fresh,
        })
        .collect();
    head("parts of a check, in process");
    for host in &data.hosts {
        let os = fs::read_to_string(host.root.join("etc/os-release"))?;
        let dpkg = fs::read_to_string(host.root.join("var/lib/dpkg/status"))?;
        let now = jiff::Timestamp::UNIX_EPOCH;
        let name = HostName::new("root")?;
        let facts = || mailkeep_facts::facts_from_root(name.clone(), now, &os, dpkg.as_bytes()).0;
        let runs = options.runs.max(31);
        row_time(
            &format!("{}: reading the packages", host.name),
            timed(runs, facts),
            Some(("a bare loop", timed(runs, || floor::packages(&dpkg)))),
            Goal::None,
        );
        let facts = facts();
        let view = HostView::new(&facts);
        let keys = view.keys();
        let numbered: Vec<(usize, usize, &str)> = keys
            .iter()
            .enumerate()
            .map(|(n, (package, key))| (*package, n, key.as_str()))
            .collect();
        let asked: Vec<&str> = keys.iter().map(|(_, key)| key.as_str()).collect();
        let fetch = || {
            let mut rows = PackageRows::new();
            let read = store.rows(Space::Package, &asked, &mut |key, _, body| {
                rows.push(key, 0, body);
            });
            read.map(|()| rows)
        };
        row_time(
            &format!("{}: fetching its rows", host.name),
            timed(runs, || fetch().is_ok()),
            None,
            Goal::None,
        );
        let rows = fetch()?;
        let packages = floor::packages(&dpkg);
        row_time(
            &format!("{}: judging, with evidence", host.name),
            timed(runs, || {
                judge_host(&view, &numbered, &rows, &feeds, false).is_ok()
            }),
            Some((
                "a bare loop",
                timed(runs, || floor::affected(&table, &packages)),
            )),
            Goal::None,
        );
    }
    compare_versions(options, &tracker);
    Ok(())
}

fn compare_versions(options: &Options, tracker: &floor::Tracker<'_>) {
    let issues = tracker.packages.0.iter().flat_map(|(_, issues)| &issues.0);
    let texts: Vec<&str> = issues
        .flat_map(|(_, issue)| &issue.releases.0)
        .filter_map(|(_, release)| release.fixed_version)
        .collect();
    let keys: Vec<_> = texts
        .iter()
        .filter_map(|text| version::key(VersionScheme::Dpkg, text).ok())
        .collect();
    let parsed: Vec<Version> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    let each = |time: Duration| time / u32::try_from(texts.len()).unwrap_or(u32::MAX).max(1);
    let by_key = timed(options.runs, || {
        keys.windows(2).filter(|w| w[0] < w[1]).count()
    });
    let by_rule = timed(options.runs, || {
        parsed.windows(2).filter(|w| w[0] < w[1]).count()
    });
    let told = Some(("debversion", each(by_rule)));
    row_time(
        "comparing two versions, by key",
        each(by_key),
        told,
        Goal::None,
    );
}

fn once<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

/// Takes what a reader says, and keeps only how much it was.
#[derive(Default)]
struct Counted {
    statements: u64,
}

impl Sink for Counted {
    fn statement(&mut self, statement: Statement) -> Result<(), Stop> {
        black_box(&statement);
        self.statements += 1;
        Ok(())
    }

    fn signal(&mut self, _: &AdvisoryId, _: Signal) -> Result<(), Stop> {
        Ok(())
    }

    fn problem(&mut self, _: Problem) -> Result<(), Stop> {
        Ok(())
    }

    fn covers(&mut self, _: Platform) {}
}
