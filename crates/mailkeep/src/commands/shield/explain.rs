//! `mailkeep shield explain`.

use std::io::{self, Write};

use mailkeep_inspect::rules::{Bundle, Confidence, PatchRule, State, Test};
use mailkeep_model::text::printable;

use super::rules::{closed_by, stage_name};
use crate::cli::shield::ExplainRuleArgs;
use crate::commands::Done;

/// Runs it.
pub(super) fn run(args: &ExplainRuleArgs) -> anyhow::Result<Done> {
    let bundle = super::load(args.bundle.as_deref())?;
    let rules: Vec<&PatchRule> = bundle
        .rules
        .iter()
        .filter(|rule| rule.is_about(&args.name) || rule.name == args.name)
        .collect();
    let mut out = Vec::new();
    if rules.is_empty() {
        writeln!(
            out,
            "No rule is about {}: the shield does not stand in for its patch.",
            printable(&args.name)
        )?;
    }
    for (nth, rule) in rules.iter().enumerate() {
        if nth > 0 {
            writeln!(out)?;
        }
        write_rule(&bundle, rule, &mut out)?;
    }
    io::stdout().lock().write_all(&out)?;
    let covered = rules
        .iter()
        .any(|rule| rule.is_enforced() && bundle.selects(rule));
    Ok(if covered {
        Done::Nothing
    } else {
        Done::Findings
    })
}

fn write_rule(bundle: &Bundle, rule: &PatchRule, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}: {}", rule.name, printable(&rule.title))?;
    let mut line = |name: &str, value: &str| -> io::Result<()> {
        if value.is_empty() {
            return Ok(());
        }
        writeln!(out, "  {name:<10} {}", printable(value))
    };
    line("holes", &rule.cves.join(", "))?;
    let aliases = rule.aliases.iter().filter(|alias| **alias != rule.name);
    line("also", &aliases.cloned().collect::<Vec<_>>().join(", "))?;
    line("affects", &format!("{}, {}", rule.product, rule.affected))?;
    line("packages", &rule.packages.join(", "))?;
    let stages: Vec<&str> = rule.stages.iter().map(|stage| stage_name(*stage)).collect();
    line("shows at", &stages.join(", "))?;
    line("closed by", &closed_by(rule))?;
    line("rules", &rule.by.join(", "))?;
    line(
        "state",
        match rule.state {
            None => "patch only: nothing on the wire closes it",
            Some(_) if !bundle.selects(rule) => {
                "not selected: no server behind the shield needs it"
            }
            Some(State::Enforce) => "enforce: what has this form is refused",
            Some(State::Monitor) => "monitor: it is counted and logged, and covers nobody",
        },
    )?;
    line(
        "sure",
        match rule.confidence {
            Confidence::A => "A: read in a vendor's or distributor's text, or measured",
            Confidence::B => "B: from a well-known advisory that was not read again",
            Confidence::C => "C: unsure",
        },
    )?;
    for (nth, test) in rule.when.iter().enumerate() {
        line(if nth == 0 { "when" } else { "or" }, &words_of(test))?;
        for test in &test.also {
            line("and", &words_of(test))?;
        }
    }
    line("note", &rule.note)?;
    for reference in &rule.references {
        line("see", reference)?;
    }
    if rule.is_signature() {
        line(
            "tested",
            &format!(
                "{} refused, {} look-alikes that pass",
                rule.refused.len(),
                rule.passes.len()
            ),
        )?;
    }
    Ok(())
}

/// A test, for a person.
fn words_of(test: &Test) -> String {
    let subjects: Vec<&str> = test.subjects.iter().map(|subject| subject.name()).collect();
    let mut words = subjects.join(" or ");
    for (what, names) in [
        ("", &test.names),
        ("except ", &test.except),
        ("tag ", &test.tags),
        ("of type ", &test.types),
    ] {
        if !names.is_empty() {
            words.extend([" ", what, &names.join("|")]);
        }
    }
    let mut holds: Vec<String> = Vec::new();
    if let Some(regex) = &test.regex {
        holds.push(format!("matches /{regex}/"));
    }
    if let Some(regex) = &test.not_regex {
        holds.push(format!("does not match /{regex}/"));
    }
    if let Some(most) = test.longer_than {
        holds.push(format!("has more than {most} octets"));
    }
    if !test.length_not.is_empty() {
        holds.push(format!("has none of the lengths {:?}", test.length_not));
    }
    if let Some(count) = &test.count {
        holds.push(format!(
            "holds more than {} of {:?}",
            count.more_than, count.of
        ));
    }
    if let Some(pair) = &test.unbalanced {
        holds.push(format!("has {pair:?} that do not pair"));
    }
    if let Some(least) = test.at_least {
        holds.push(format!("{least} times at least"));
    }
    if holds.is_empty() {
        holds.push("is there".to_owned());
    }
    format!("{words} {}", holds.join(", "))
}
