//! `mailkeep impact`: what would applying the candidate change on this server?

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use anyhow::{Context as _, bail};
use mailkeep_facts::impact::{ImpactReport, SCRIPT, parse_impact};
use mailkeep_model::{Finding, Fleet, Host, HostFacts, InstalledPackage, Lifecycle};
use mailkeep_reach::hosts::{RunLimits, SshOptions, SshTarget, run_locally, run_over_ssh};
use mailkeep_store::Store;

use super::{Done, check, scan};
use crate::app::App;
use crate::cli::{ImpactArgs, ImpactFormat, Scope};
use crate::impact::{self, Known, history};
use crate::output::escaped::write_json;
use crate::planning::basis;

/// Packages asked about at a time; a mail server has some dozens of mail packages.
const MAX_PACKAGES: usize = 100;

/// Runs it.
pub fn run(app: &App, args: &ImpactArgs) -> anyhow::Result<Done> {
    let loaded = app.fleet(args.fleet.as_deref())?;
    let store = app.store(loaded.as_ref())?;
    let scope = Scope {
        fleet: args.fleet.clone(),
        hosts: vec![args.on.clone()],
        ..Scope::default()
    };
    let none = Fleet::default();
    let fleet = loaded.as_ref().map_or(&none, |loaded| &loaded.file.fleet);
    let undeclared = Host::default();
    let host = fleet.hosts.get(&args.on).unwrap_or(&undeclared);
    if host.lifecycle == Lifecycle::Decommissioned {
        bail!("{} is out of use", args.on);
    }
    let Some(facts) = store.scan_of(&args.on)?.facts else {
        bail!(
            "nothing was ever seen of {}; `mailkeep scan {}` looks at it",
            args.on,
            args.on
        );
    };
    let answer = check::answer_unrecorded(app, &scope)?;
    let wanted = wanted(&facts, &answer.findings, args.package.as_deref())?;
    let report = if wanted.is_empty() {
        ImpactReport::default()
    } else {
        let is_here =
            scan::local_name().is_ok_and(|here| here == args.on) && host.address.is_none();
        ask(args, host, is_here, &wanted)?
    };
    let family = host
        .family
        .clone()
        .or_else(|| mailkeep_plan::family_seen(&facts))
        .unwrap_or_default();
    let plans = basis::all_progress(&store)?;
    let interruption = history::expect(&plans, &family);
    let mut failures = BTreeMap::new();
    basis::add_failures(&store, fleet, &mut failures)?;
    let out_of_service = basis::out_of_service(&store, &failures, &plans)?;
    let impact = impact::assess(Known {
        now: app.now,
        fleet,
        facts: &facts,
        findings: &answer.findings,
        report: &report,
        interruption: &interruption,
        out_of_service: &out_of_service,
    });
    let mut out = Vec::new();
    match args.format {
        ImpactFormat::Text => impact::text::write(&impact, &mut out)?,
        ImpactFormat::Json => write_json(&impact, &mut out)?,
        ImpactFormat::Html => impact::html::write(&impact, &mut out)?,
    }
    match &args.output {
        Some(path) => crate::app::write_whole(path, &out)
            .with_context(|| format!("cannot write {}", path.display()))?,
        None => io::stdout().lock().write_all(&out)?,
    }
    Ok(
        if impact.cautions.is_empty() && impact.limitations.is_empty() {
            Done::Nothing
        } else {
            Done::Findings
        },
    )
}

/// `PACKAGE=VERSION` for each package to ask about: the one named (binary or source), else those of mail
/// software with a finding that its candidate closes.
fn wanted(
    facts: &HostFacts,
    findings: &[Finding],
    named: Option<&str>,
) -> anyhow::Result<Vec<String>> {
    if facts.candidates.value().is_none() {
        bail!(
            "what {} could install was not seen: its package manager was not asked, or could not say",
            facts.host
        );
    }
    let fixable: BTreeSet<&str> = findings
        .iter()
        .filter(|finding| impact::is_fixable(finding))
        .map(|f| &*f.verdict.package)
        .collect();
    let is_wanted = |package: &InstalledPackage| match named {
        Some(named) => *package.name == *named || *package.source == *named,
        None => fixable.contains(&*package.source),
    };
    let is_installed = facts.packages.iter().any(is_wanted);
    let found: Vec<String> = impact::offers(facts, is_wanted)
        .into_iter()
        .map(|(name, version)| format!("{name}={version}"))
        .collect();
    if let Some(named) = named
        && !is_installed
    {
        bail!("{named} is not installed on {}", facts.host);
    }
    if found.len() > MAX_PACKAGES {
        bail!(
            "{} packages would change, more than {MAX_PACKAGES}; name one",
            found.len()
        );
    }
    // They stand on a command line at the host: nothing but what deb-version(7) and policy allow.
    let sound = |text: &String| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.:~=_^".contains(&b))
            && !text.starts_with('-')
    };
    if let Some(odd) = found.iter().find(|text| !sound(text)) {
        bail!(
            "{} reports a package of the impossible name {odd:?}",
            facts.host
        );
    }
    Ok(found)
}

fn ask(
    args: &ImpactArgs,
    host: &Host,
    is_here: bool,
    wanted: &[String],
) -> anyhow::Result<ImpactReport> {
    let limits = RunLimits {
        // A minute a package for a slow mirror, as with `scan --released`.
        total_timeout: std::time::Duration::from_secs(60 * (wanted.len() as u64 + 2)),
        ..RunLimits::default()
    };
    let mut arguments = scan::script_arguments(false);
    arguments.extend(wanted.iter().cloned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = if is_here {
        run_locally(SCRIPT, &arguments, limits)
    } else {
        let mut options = SshOptions::default();
        if let Some(config) = &args.ssh_config {
            options.extra = vec!["-F".to_owned(), config.display().to_string()];
        }
        run_over_ssh(
            &SshTarget::of(&args.on, host),
            SCRIPT,
            &arguments,
            limits,
            &options,
        )
    };
    let output = output.with_context(|| format!("cannot ask {}", args.on))?;
    parse_impact(&output).with_context(|| format!("cannot understand what {} says", args.on))
}
