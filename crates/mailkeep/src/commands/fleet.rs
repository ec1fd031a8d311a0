//! `mailkeep fleet`.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, bail};
use mailkeep_model::{HostName, Timestamp, text};
use mailkeep_store::Store;

use super::Done;
use crate::app::App;
use crate::cli::{FleetCommand, InventoryFormat};
use crate::fleet;

/// Runs it.
pub fn run(app: &App, command: &FleetCommand) -> anyhow::Result<Done> {
    match command {
        FleetCommand::Lint { fleet, json } => lint(app, fleet.as_deref(), *json),
        FleetCommand::Import {
            file,
            from,
            group_as,
            fleet,
        } => import(app, file, *from, group_as, fleet.as_deref()),
    }
}

fn lint(app: &App, path: Option<&Path>, json: bool) -> anyhow::Result<Done> {
    let Some(fleet) = app.fleet(path)? else {
        bail!(
            "there is no fleet file; name one with --fleet, or start one with `mailkeep fleet import`"
        );
    };
    let store = app.store(Some(&fleet))?;
    let mut seen: std::collections::BTreeMap<HostName, Timestamp> =
        std::collections::BTreeMap::new();
    for (name, host) in &fleet.file.fleet.hosts {
        // Facts in a file are read anew at every check.
        let at = match &host.facts {
            Some(path) => fleet.resolve(path).exists().then_some(app.now),
            None => store.scan_of(name)?.facts.map(|facts| facts.seen_at),
        };
        if let Some(at) = at {
            seen.insert(name.clone(), at);
        }
    }
    let gaps = fleet::lint(&fleet.file.fleet, &|name| seen.get(name).copied(), app.now);
    let mut out = io::stdout().lock();
    if json {
        let rows: Vec<serde_json::Value> = gaps
            .iter()
            .map(|gap| {
                serde_json::json!({
                    "gap": gap.kind.name(),
                    "subject": gap.subject,
                    "text": gap.sentence,
                    "advice": gap.advice,
                })
            })
            .collect();
        serde_json::to_writer_pretty(&mut out, &rows)?;
        writeln!(out)?;
    } else {
        for gap in &gaps {
            writeln!(out, "{}", text::printable(&gap.to_string()))?;
        }
        if gaps.is_empty() {
            writeln!(out, "{}: no gaps", fleet.path.display())?;
        }
    }
    Ok(if gaps.is_empty() {
        Done::Nothing
    } else {
        Done::Findings
    })
}

fn import(
    app: &App,
    file: &Path,
    from: Option<InventoryFormat>,
    group_as: &[fleet::import::GroupRule],
    existing: Option<&Path>,
) -> anyhow::Result<Done> {
    // Only a fleet file that is named: one that merely lies here must not mix into a new one.
    let existing = match existing {
        Some(path) => app.fleet(Some(path))?,
        None => None,
    };
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let format = from.unwrap_or_else(|| {
        match file
            .extension()
            .and_then(|e| e.to_str())
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            Some("yml" | "yaml") => InventoryFormat::AnsibleYaml,
            Some("csv" | "tsv") => InventoryFormat::Csv,
            _ => InventoryFormat::AnsibleIni,
        }
    });
    let (mut hosts, mut problems) = match format {
        InventoryFormat::AnsibleIni => fleet::import::ansible_ini(&text),
        InventoryFormat::AnsibleYaml => fleet::import::ansible_yaml(&text),
        InventoryFormat::Csv => fleet::import::csv(&text),
    };
    problems.extend(fleet::import::apply_groups(&mut hosts, group_as));
    for problem in &problems {
        App::warn(&format!("{}: {problem}", file.display()));
    }
    if hosts.is_empty() {
        bail!("{} names no host", file.display());
    }
    let toml = fleet::import::to_toml(&hosts, existing.as_ref().map(|f| &f.file.fleet));
    io::stdout().lock().write_all(toml.as_bytes())?;
    Ok(Done::Nothing)
}
