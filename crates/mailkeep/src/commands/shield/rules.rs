//! `mailkeep shield rules`.

use std::io::{self, Write};

use mailkeep_inspect::rules::{Bundle, PatchRule, Stage};
use mailkeep_model::text::printable;
use serde_json::json;

use crate::cli::shield::{RulesArgs, RulesFormat};
use crate::commands::Done;

/// Runs it.
pub(super) fn run(args: &RulesArgs) -> anyhow::Result<Done> {
    let bundle = super::load(args.bundle.as_deref())?;
    let about = args.about.as_deref().map(str::to_lowercase);
    let rules: Vec<&PatchRule> = bundle
        .rules
        .iter()
        .filter(|rule| about.as_deref().is_none_or(|text| holds(rule, text)))
        .collect();
    let mut out = Vec::new();
    match args.format {
        RulesFormat::Table => table(&bundle, &rules, &mut out)?,
        RulesFormat::Json => {
            let rules: Vec<_> = rules
                .iter()
                .map(|rule| {
                    let mut value = json!(rule);
                    if let Some(fields) = value.as_object_mut() {
                        fields.insert("selected".to_owned(), bundle.selects(rule).into());
                    }
                    value
                })
                .collect();
            let value = json!({
                "id": bundle.id,
                "version": bundle.version,
                "made": bundle.made,
                "expires": bundle.expires,
                "rules": rules,
            });
            serde_json::to_writer_pretty(&mut out, &value)?;
            out.push(b'\n');
        }
    }
    io::stdout().lock().write_all(&out)?;
    Ok(Done::Nothing)
}

fn holds(rule: &PatchRule, text: &str) -> bool {
    [&rule.name, &rule.product]
        .into_iter()
        .chain(&rule.cves)
        .chain(&rule.aliases)
        .chain(&rule.packages)
        .any(|own| own.to_lowercase().contains(text))
}

fn table(bundle: &Bundle, rules: &[&PatchRule], out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "bundle {} version {}, made {}\n",
        bundle.id, bundle.version, bundle.made
    )?;
    writeln!(
        out,
        "{:<34} {:<18} {:<9} {:<10} SURE CLOSED BY",
        "RULE", "HOLE", "STAGE", "STATE"
    )?;
    for rule in rules {
        let holes: Vec<&String> = rule.cves.iter().chain(&rule.aliases).collect();
        let hole = match holes.as_slice() {
            [] => String::new(),
            [only] if rule.cves.is_empty() && **only == rule.name => "-".to_owned(),
            [first] => (*first).clone(),
            [first, rest @ ..] => format!("{first} +{}", rest.len()),
        };
        let stages: Vec<&str> = rule.stages.iter().map(|stage| stage_name(*stage)).collect();
        writeln!(
            out,
            "{:<34} {hole:<18} {:<9} {:<10} {:<4} {}",
            rule.name,
            stages.join(","),
            state(bundle, rule),
            rule.confidence.name(),
            printable(&closed_by(rule)),
        )?;
    }
    let count = |wanted: &str| {
        rules
            .iter()
            .filter(|rule| state(bundle, rule) == wanted)
            .count()
    };
    writeln!(
        out,
        "\n{} rules: {} enforce, {} monitor, {} patch only, {} not selected",
        rules.len(),
        count("enforce"),
        count("monitor"),
        count("patch-only"),
        count("-")
    )
}

/// What a rule does in a bundle, in a word.
pub(super) fn state(bundle: &Bundle, rule: &PatchRule) -> &'static str {
    match rule.state {
        None => "patch-only",
        Some(_) if !bundle.selects(rule) => "-",
        Some(state) => state.name(),
    }
}

/// What closes a hole, in a line.
pub(super) fn closed_by(rule: &PatchRule) -> String {
    let closes: Vec<String> = rule.closes.iter().map(ToString::to_string).collect();
    closes.join(", ")
}

pub(super) const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Auth => "AUTH",
        Stage::Bdat => "BDAT",
        Stage::Cmd => "CMD",
        Stage::Conn => "CONN",
        Stage::Data => "DATA",
        Stage::Dns => "DNS",
        Stage::Hdr => "HDR",
        Stage::Local => "LOCAL",
        Stage::Mime => "MIME",
        Stage::Resp => "RESP",
        Stage::Tls => "TLS",
    }
}
