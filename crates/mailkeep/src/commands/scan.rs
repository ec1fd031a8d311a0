//! `mailkeep scan`.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use mailkeep_facts::scan::{GarbageOutput, Made, SCRIPT, ScanReport, parse_report};
use mailkeep_facts::{facts_from_rpm_qa, facts_from_sbom};
use mailkeep_model::{
    Ecosystem, Event, EventKind, FactsSource, Host, HostFacts, HostName, Lifecycle, Platform,
    Problem, Realm, ScanFailure, ScanFailureKind, text,
};
use mailkeep_reach::hosts::{
    HostFailure, RunLimits, SshOptions, SshTarget, for_each_bounded, run_locally, run_over_ssh,
};
use mailkeep_store::Store;

use super::{Done, check, feeds};
use crate::app::{App, LoadedFleet};
use crate::check::Subject;
use crate::cli::ScanArgs;
use crate::fleet::ScanSettings;

/// Runs it.
pub fn run(app: &App, args: &ScanArgs) -> anyhow::Result<Done> {
    let fleet = app.fleet(args.fleet.as_deref())?;
    let mut store = app.store(fleet.as_ref())?;
    let single = args.from_root.is_some() || args.rpm_qa.is_some() || args.sbom.is_some();
    if single {
        let facts = read_single(app, args)?;
        let name = facts.host.clone();
        let report = ScanReport {
            facts,
            problems: Vec::new(),
            changelogs: Vec::new(),
        };
        let kept = keep(app, &mut store, &name, Ok(report))?;
        if !app.quiet {
            writeln!(io::stdout().lock(), "{}", kept.line)?;
        }
        return Ok(Done::Nothing);
    }
    let nothing_named = args.hosts.is_empty() && fleet.is_none();
    if args.local || nothing_named {
        let name = match &args.name {
            Some(name) => name.clone(),
            None => local_name()?,
        };
        let limits = match &fleet {
            Some(fleet) => limits(fleet.file.scan, args),
            None => limits_within(RunLimits::default(), args),
        };
        let kept = scan_local(app, &mut store, &name, args.released, limits)?;
        writeln!(io::stdout().lock(), "{}", kept.line)?;
        return Ok(if kept.failed {
            Done::Findings
        } else {
            Done::Nothing
        });
    }
    let targets = targets(args, fleet.as_ref())?;
    for name in &args.hosts {
        if let Some(why) = fleet.as_ref().and_then(|fleet| left_out(fleet, name)) {
            App::warn(&format!("{name} is not scanned: {why}"));
        }
    }
    if targets.is_empty() {
        match &fleet {
            // All of them are known without it.
            Some(fleet) if args.hosts.is_empty() && !fleet.file.fleet.hosts.is_empty() => {
                app.say(&format!(
                    "there is nothing to scan: every host of {} is decommissioned or has its facts from a file",
                    fleet.path.display()
                ));
                return Ok(Done::Nothing);
            }
            _ => bail!("there is nothing to scan"),
        }
    }
    let failed = scan_over_ssh(app, &mut store, fleet.as_ref(), args, &targets)?;
    Ok(if failed > 0 {
        Done::Findings
    } else {
        Done::Nothing
    })
}

/// The name of this machine.
pub fn local_name() -> anyhow::Result<HostName> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .context("cannot read this machine's name; give one with --name")?;
    Ok(HostName::new(name.trim())?)
}

/// What came of one scan.
#[derive(Debug)]
pub struct Kept {
    /// The whole of it in one line, printable.
    pub line: String,
    /// It brought no facts.
    pub failed: bool,
}

/// Scans this machine and keeps the facts.
pub fn scan_local(
    app: &App,
    store: &mut dyn Store,
    name: &HostName,
    released: bool,
    limits: RunLimits,
) -> anyhow::Result<Kept> {
    let output = run_locally(SCRIPT, &borrowed(&script_arguments(released)), limits);
    let outcome = read_report(app.now, name, FactsSource::Local, output);
    keep(app, store, name, outcome)
}

/// What one host may cost, where neither `--timeout` nor a longer time of the fleet file says so and
/// changelogs are downloaded: a minute for each of ten packages.
const RELEASED_TIMEOUT: Duration = Duration::from_mins(10);

fn limits(settings: ScanSettings, args: &ScanArgs) -> RunLimits {
    let limits = RunLimits {
        connect_timeout: settings.connect_timeout.unsigned_abs(),
        total_timeout: settings.timeout.unsigned_abs(),
        ..RunLimits::default()
    };
    limits_within(limits, args)
}

fn limits_within(mut limits: RunLimits, args: &ScanArgs) -> RunLimits {
    if let Some(seconds) = args.timeout {
        limits.total_timeout = Duration::from_secs(seconds.max(1));
        limits.connect_timeout = limits.connect_timeout.min(limits.total_timeout);
    } else if args.released {
        limits.total_timeout = limits.total_timeout.max(RELEASED_TIMEOUT);
    }
    limits
}

/// The arguments of [`SCRIPT`]: a word that no host can foresee, so that nothing it prints of its own
/// passes for a delimiter, and what is asked for beyond the usual.
pub fn script_arguments(released: bool) -> Vec<String> {
    use std::hash::{BuildHasher as _, RandomState};
    // The standard library seeds its hashers from the system's randomness; that is ample here.
    let nonce = format!(
        "{:016x}{:016x}",
        RandomState::new().hash_one(1),
        RandomState::new().hash_one(2)
    );
    let mut arguments = vec![nonce];
    if released {
        arguments.push("released".to_owned());
    }
    arguments
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn read_report(
    now: Timestamp,
    name: &HostName,
    source: FactsSource,
    output: Result<Vec<u8>, HostFailure>,
) -> Result<ScanReport, ScanFailure> {
    let bytes = output.map_err(|failure| failure.at(now))?;
    parse_report(name.clone(), source, Made::Now(now), &bytes).map_err(|garbage| ScanFailure {
        kind: ScanFailureKind::GarbageOutput,
        detail: text::printable(&garbage.to_string()).into_owned(),
        at: now,
    })
}

/// Keeps the outcome of one scan.
fn keep(
    app: &App,
    store: &mut dyn Store,
    name: &HostName,
    outcome: Result<ScanReport, ScanFailure>,
) -> anyhow::Result<Kept> {
    match outcome {
        Ok(report) => {
            for problem in &report.problems {
                App::warn(&format!("{name}: {problem}"));
            }
            store.record_facts(&report.facts)?;
            let packages = report.facts.packages.len() as u64;
            let kind = EventKind::HostScanned {
                host: name.clone(),
                packages,
            };
            store.append_event(&Event {
                at: app.now,
                realm: Realm::Live,
                kind,
            })?;
            if !report.changelogs.is_empty() {
                feeds::import_changelogs(app, store, &report)?;
            }
            Ok(Kept {
                line: summary_line(&report.facts),
                failed: false,
            })
        }
        Err(failure) => {
            store.record_scan_failure(name, &failure)?;
            let reason = failure.to_string();
            let kind = EventKind::ScanFailed {
                host: name.clone(),
                reason: reason.clone(),
            };
            store.append_event(&Event {
                at: app.now,
                realm: Realm::Live,
                kind,
            })?;
            Ok(Kept {
                line: format!("{name}: {}", text::printable(&reason)),
                failed: true,
            })
        }
    }
}

fn summary_line(facts: &HostFacts) -> String {
    let system = facts
        .os
        .pretty_name
        .as_deref()
        .unwrap_or("an unknown system");
    let processes = match facts.processes.items().len() {
        0 => String::new(),
        n => format!(", {n} mail processes"),
    };
    let stale = facts
        .processes
        .items()
        .iter()
        .filter(|p| !p.stale.items().is_empty())
        .count();
    let stale = if stale > 0 {
        format!(", {stale} RUNNING OLD CODE")
    } else {
        String::new()
    };
    let unseen = match facts.limitations.len() {
        0 => String::new(),
        1 => format!(
            " (1 thing not seen: `mailkeep explain {}` tells)",
            facts.host
        ),
        n => format!(
            " ({n} things not seen: `mailkeep explain {}` lists them)",
            facts.host
        ),
    };
    let line = format!(
        "{}: {system}, {} packages{processes}{stale}{unseen}",
        facts.host,
        facts.packages.len()
    );
    text::printable(&line).into_owned()
}

fn read_single(app: &App, args: &ScanArgs) -> anyhow::Result<HostFacts> {
    let name = |path: &Path| -> anyhow::Result<HostName> {
        if let Some(name) = &args.name {
            return Ok(name.clone());
        }
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned());
        HostName::new(stem.unwrap_or_default())
            .context("cannot make a host name of the file's name; give one with --name")
    };
    if let Some(root) = &args.from_root {
        let name = args
            .name
            .clone()
            .map_or_else(|| HostName::new("root"), Ok)?;
        return check::read_root(app, root, name);
    }
    if let Some(path) = &args.rpm_qa {
        let (bytes, made) = read_dated(app, path)?;
        let platform = args.platform.as_deref().map(parse_platform).transpose()?;
        let (facts, problems) = facts_from_rpm_qa(
            name(path)?,
            made,
            platform,
            &String::from_utf8_lossy(&bytes),
        );
        warn_all(path, &problems);
        return Ok(facts);
    }
    let Some(path) = &args.sbom else {
        bail!("nothing to read")
    };
    let (bytes, made) = read_dated(app, path)?;
    let (facts, problems) = facts_from_sbom(name(path)?, made, &bytes)
        .with_context(|| format!("cannot read {} as an SBOM", path.display()))?;
    warn_all(path, &problems);
    Ok(not_after_now(app, facts))
}

/// What a file holds, and when it was last written, but not later than now.
fn read_dated(app: &App, path: &Path) -> anyhow::Result<(Vec<u8>, Timestamp)> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let written = std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|time| Timestamp::try_from(time).ok())
        .unwrap_or(app.now);
    Ok((bytes, written.min(app.now)))
}

/// Facts that claim to be of the future would never grow old.
fn not_after_now(app: &App, mut facts: HostFacts) -> HostFacts {
    facts.seen_at = facts.seen_at.min(app.now);
    facts
}

fn warn_all(path: &Path, problems: &[Problem]) {
    for problem in problems {
        App::warn(&format!("{}: {problem}", path.display()));
    }
}

/// Ecosystems whose packages a feed or a list can be of; distributions first.
const ECOSYSTEMS: &[&str] = &[
    "AlmaLinux",
    "Debian",
    "Fedora",
    "openSUSE",
    "Oracle Linux",
    "Red Hat",
    "Rocky Linux",
    "SUSE",
    "Ubuntu",
    "Exchange",
    "crates.io",
    "Go",
    "Hex",
    "Maven",
    "npm",
    "NuGet",
    "Packagist",
    "PyPI",
    "RubyGems",
];

/// A platform as OSV writes it: `AlmaLinux:9`, `Debian:12`. Case does not matter.
pub fn parse_platform(text: &str) -> anyhow::Result<Platform> {
    let (name, release) = text.split_once(':').unwrap_or((text, ""));
    let Some(name) = ECOSYSTEMS
        .iter()
        .find(|known| known.eq_ignore_ascii_case(name.trim()))
    else {
        bail!(
            "there is no ecosystem {name:?}; known are {}",
            ECOSYSTEMS.join(", ")
        );
    };
    let ecosystem = Ecosystem::from((*name).to_owned());
    let release = release.trim();
    if ecosystem.is_distribution() && release.is_empty() {
        bail!("{name} needs its release: {name}:9, say");
    }
    Ok(Platform::new(ecosystem, release))
}

/// The facts of a host whose fleet file names a file or directory of them.
pub fn from_file<'f>(
    app: &App,
    fleet: &LoadedFleet,
    name: &HostName,
    host: &'f Host,
    facts: &str,
) -> Subject<'f> {
    let path = fleet.resolve(facts);
    let (facts, failure) = match read_facts(app, name, &path) {
        Ok(facts) => (Some(facts), None),
        Err(error) => {
            let detail = text::printable_max(&format!("{error:#}"), 300);
            (
                None,
                Some(ScanFailure {
                    kind: ScanFailureKind::Local,
                    detail,
                    at: app.now,
                }),
            )
        }
    };
    Subject {
        name: name.clone(),
        declared: Some(host),
        facts,
        failure,
    }
}

/// Reads facts from a root directory, a scan report, an SBOM, or `rpm -qa` output, told apart by
/// their form. A root directory is seen now; the others are of the time they bear, else of the file's
/// last change.
fn read_facts(app: &App, name: &HostName, path: &Path) -> anyhow::Result<HostFacts> {
    if path.is_dir() {
        return check::read_root(app, path, name.clone());
    }
    let (bytes, made) = read_dated(app, path)?;
    let start = String::from_utf8_lossy(bytes.get(..bytes.len().min(4096)).unwrap_or_default());
    if start.trim_start().starts_with('{') {
        let (facts, problems) = facts_from_sbom(name.clone(), made, &bytes)?;
        warn_all(path, &problems);
        return Ok(not_after_now(app, facts));
    }
    match parse_report(name.clone(), FactsSource::Ssh, Made::Before(made), &bytes) {
        Ok(report) => {
            warn_all(path, &report.problems);
            return Ok(not_after_now(app, report.facts));
        }
        Err(GarbageOutput::NoReport { .. }) => {}
        Err(garbage) => {
            return Err(garbage).with_context(|| format!("cannot read {}", path.display()));
        }
    }
    let (facts, problems) =
        facts_from_rpm_qa(name.clone(), made, None, &String::from_utf8_lossy(&bytes));
    warn_all(path, &problems);
    Ok(facts)
}

fn targets(args: &ScanArgs, fleet: Option<&LoadedFleet>) -> anyhow::Result<Vec<SshTarget>> {
    let Some(fleet) = fleet else {
        return Ok(args
            .hosts
            .iter()
            .map(|name| SshTarget::of(name, &Host::default()))
            .collect());
    };
    let hosts = &fleet.file.fleet.hosts;
    for name in &args.hosts {
        if !hosts.contains_key(name) {
            bail!("there is no host {name} in {}", fleet.path.display());
        }
    }
    Ok(hosts
        .iter()
        .filter(|(name, _)| args.hosts.is_empty() || args.hosts.contains(name))
        .filter(|(name, _)| left_out(fleet, name).is_none())
        .map(|(name, host)| SshTarget::of(name, host))
        .collect())
}

/// Why a host of the fleet is not scanned; `None` where it is.
fn left_out(fleet: &LoadedFleet, name: &HostName) -> Option<String> {
    let host = fleet.file.fleet.hosts.get(name)?;
    if host.lifecycle != Lifecycle::Running {
        return Some(format!("{} says it is out of use", fleet.path.display()));
    }
    let facts = host.facts.as_ref()?;
    let path = fleet.resolve(facts);
    Some(format!("its facts come from {}", path.display()))
}

/// Scans hosts over SSH, several at a time; each outcome is kept as it comes. How many failed.
fn scan_over_ssh(
    app: &App,
    store: &mut dyn Store,
    fleet: Option<&LoadedFleet>,
    args: &ScanArgs,
    targets: &[SshTarget],
) -> anyhow::Result<usize> {
    let settings = fleet.map(|f| f.file.scan).unwrap_or_default();
    let parallel = args
        .parallel
        .unwrap_or(usize::from(settings.parallel))
        .max(1);
    let limits = limits(settings, args);
    let mut options = SshOptions::default();
    if let Some(config) = &args.ssh_config {
        options.extra = vec!["-F".to_owned(), config.display().to_string()];
    }
    let bar = progress_bar(app, targets.len() as u64, "hosts");
    let mut failed = 0;
    let mut broken = None;
    let mut out = io::stdout();
    for_each_bounded(
        targets,
        parallel,
        |target| {
            let output = run_over_ssh(
                target,
                SCRIPT,
                &borrowed(&script_arguments(args.released)),
                limits,
                &options,
            );
            read_report(app.now, &target.host, FactsSource::Ssh, output)
        },
        |target, outcome| {
            if broken.is_some() {
                return;
            }
            let kept = bar.suspend(|| -> anyhow::Result<Kept> {
                let kept = keep(app, store, &target.host, outcome)?;
                writeln!(out, "{}", kept.line)?;
                Ok(kept)
            });
            match kept {
                Ok(kept) => failed += usize::from(kept.failed),
                Err(error) => broken = Some(error),
            }
            bar.inc(1);
        },
    );
    bar.finish_and_clear();
    if let Some(error) = broken {
        return Err(error);
    }
    if failed > 0 {
        app.say(&format!(
            "{failed} of {} hosts could not be scanned; they stay unknown.",
            targets.len()
        ));
    }
    Ok(failed)
}

/// Scans every running host of a fleet; for `watch`.
pub fn scan_fleet(app: &App, store: &mut dyn Store, fleet: &LoadedFleet) -> anyhow::Result<usize> {
    let args = ScanArgs {
        hosts: Vec::new(),
        fleet: None,
        local: false,
        from_root: None,
        rpm_qa: None,
        sbom: None,
        name: None,
        platform: None,
        released: false,
        ssh_config: None,
        parallel: None,
        timeout: None,
    };
    let targets = targets(&args, Some(fleet))?;
    scan_over_ssh(app, store, Some(fleet), &args, &targets)
}

/// A progress bar on a terminal; hidden elsewhere.
pub fn progress_bar(app: &App, total: u64, unit: &str) -> indicatif::ProgressBar {
    if app.quiet || !io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new(total);
    let template = format!("{{bar:40}} {{pos}}/{{len}} {unit} {{msg}}");
    if let Ok(style) = indicatif::ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::app::Environment;
    use crate::cli::{ColorWhen, Global};

    #[test]
    fn facts_from_a_file_are_of_the_time_they_bear_and_never_of_the_future() {
        let global = Global {
            state: None,
            at: None,
            color: ColorWhen::Never,
            quiet: true,
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let app = App::new(&global, Environment::default(), at(2000));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("facts");
        let name = HostName::new("mx1").unwrap();
        let report = "MAILKEEP-FACTS 1 n\n\n=n host\nnow 700\n\n=n end\n";
        let sbom = r#"{"bomFormat":"CycloneDX","metadata":{"timestamp":"1970-01-01T00:10:00Z"}}"#;
        for (text, written, seen) in [
            ("postfix-3.5.25-1.el9.x86_64\n", 1000, 1000),
            ("postfix-3.5.25-1.el9.x86_64\n", 3000, 2000),
            (sbom, 1000, 600),
            (r#"{"bomFormat":"CycloneDX"}"#, 1000, 1000),
            (&*sbom.replace("1970", "2970"), 1000, 2000),
            (report, 1000, 700),
            (&*report.replace("now 700", "now 7000"), 1000, 2000),
            (&*report.replace("now 700", ""), 1000, 1000),
        ] {
            std::fs::write(&path, text).unwrap();
            std::fs::File::options()
                .write(true)
                .open(&path)
                .and_then(|f| f.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(written)))
                .unwrap();
            let facts = read_facts(&app, &name, &path).unwrap();
            assert_eq!(facts.seen_at, at(seen), "{text}");
        }
    }
}
