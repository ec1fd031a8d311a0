//! `mailkeep rehearse` by the built program.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and reads what the program wrote"
)]

mod common;

use common::{Bench, Ran};
use mailkeep_drill::fleets::Drawn;
use serde_json::Value;

fn run(bench: &Bench, args: &[&str]) -> Ran {
    Ran::of(&bench.command(args).output().unwrap())
}

#[test]
fn a_plan_from_a_file_is_rehearsed_and_its_journal_is_a_drill() {
    let bench = Bench::new();
    let mut plan = Drawn::new(1).unwrap().plan().unwrap();
    plan.realm = mailkeep_model::Realm::Live;
    let file = bench.write("plan.json", mailkeep_plan::canonical(&plan).unwrap());
    let journal = bench.path("journal.jsonl");

    let many = run(
        &bench,
        &[
            "rehearse",
            &file,
            "--faults",
            "many",
            "--seeds",
            "2",
            "--json",
            "--journal",
            journal.to_str().unwrap(),
        ],
    )
    .exits(0)
    .json();
    assert_eq!(many["realm"], "drill");
    assert_eq!(many["ledger"]["lost"], 0);
    assert_eq!(many["breaches"], Value::Array(Vec::new()));
    let lines = std::fs::read_to_string(journal).unwrap();
    let mut realms = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["realm"].clone());
    assert!(!lines.is_empty() && realms.all(|realm| realm == "drill"));

    let none = run(&bench, &["rehearse", &file, "--faults", "none"])
        .exits(0)
        .prints("Nothing real was touched.");
    let last = none.out.lines().last().unwrap();
    assert!(
        last.starts_with("ledger: sent ") && last.ends_with(", lost 0"),
        "{last}"
    );
}
