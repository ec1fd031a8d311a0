//! A sink that keeps everything, and the way to bulk data that is not part of the repository.

#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "each test file uses its part; test data is read from files of known names"
)]

use std::path::{Path, PathBuf};

use mailkeep_advisory::{Sink, Stop};
use mailkeep_model::{
    AdvisoryId, Claim, ClaimKind, Ecosystem, PackageKind, Platform, Problem, RangeEnd, Signal,
    Statement,
};

#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) statements: Vec<Statement>,
    pub(crate) signals: Vec<(AdvisoryId, Signal)>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) covers: Vec<Platform>,
}

impl Sink for Collected {
    fn statement(&mut self, statement: Statement) -> Result<(), Stop> {
        self.statements.push(statement);
        Ok(())
    }
    fn signal(&mut self, advisory: &AdvisoryId, signal: Signal) -> Result<(), Stop> {
        self.signals.push((advisory.clone(), signal));
        Ok(())
    }
    fn problem(&mut self, problem: Problem) -> Result<(), Stop> {
        self.problems.push(problem);
        Ok(())
    }
    fn covers(&mut self, platform: Platform) {
        self.covers.push(platform);
    }
}

impl Collected {
    /// The one statement about a package of a kind.
    pub(crate) fn about(&self, cve: &str, package: &str, kind: PackageKind) -> Option<&Statement> {
        let mut found = self.statements.iter().filter(|statement| {
            statement.advisory.as_str() == cve
                && &*statement.package == package
                && statement.package_kind == kind
        });
        let first = found.next();
        assert!(found.next().is_none(), "two statements of {package}");
        first
    }

    /// What is said of a package, as [`print_claims`] writes it.
    pub(crate) fn said(&self, cve: &str, package: &str, kind: PackageKind) -> String {
        self.about(cve, package, kind)
            .map(|statement| print_claims(&statement.claims))
            .unwrap_or_default()
    }

    /// What is said of a product of an ecosystem.
    pub(crate) fn said_of(&self, cve: &str, ecosystem: &str) -> String {
        let ecosystem = Ecosystem::from(ecosystem.to_owned());
        let said: Vec<_> = self
            .statements
            .iter()
            .filter(|s| s.advisory.as_str() == cve && s.ecosystem == ecosystem)
            .map(|s| print_claims(&s.claims))
            .collect();
        said.join("; ")
    }

    pub(crate) fn problem_texts(&self) -> Vec<String> {
        self.problems.iter().map(ToString::to_string).collect()
    }
}

/// `9 fixed 1:2-3, 8 ignored`.
pub(crate) fn print_claims(claims: &[Claim]) -> String {
    let print = |claim: &Claim| {
        let mut words: Vec<String> = claim.release.iter().map(ToString::to_string).collect();
        match &claim.kind {
            ClaimKind::FixedIn { version } => words.push(format!("fixed {version}")),
            ClaimKind::NotAffected => words.push("not-affected".into()),
            ClaimKind::Open { state } => words.push(format!("{state:?}").to_lowercase()),
            ClaimKind::Undetermined => words.push("undetermined".into()),
            ClaimKind::Affected { ranges, versions } => {
                for range in ranges {
                    let from = range.introduced.as_deref().unwrap_or_default();
                    words.push(match &range.end {
                        RangeEnd::Fixed(to) => format!("{from}..{to}"),
                        RangeEnd::LastAffected(to) => format!("{from}..={to}"),
                        RangeEnd::Limit(to) => format!("{from}..limit {to}"),
                        RangeEnd::Open => format!("{from}.."),
                    });
                }
                words.extend(versions.iter().map(ToString::to_string));
            }
        }
        words.join(" ")
    };
    claims.iter().map(print).collect::<Vec<_>>().join(", ")
}

/// A folder of the bulk data, `None` (and said so) where it is absent.
pub(crate) fn data(test: &str, folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MAILKEEP_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join(folder);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: {test}: no data");
    None
}

/// Every JSON file below a folder, sorted, those in `.xz` unpacked by the program of that name.
pub(crate) fn json_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".json") {
                found.push((name, std::fs::read(&path).unwrap()));
            } else if name.ends_with(".json.xz") {
                match std::process::Command::new("xz")
                    .arg("-dc")
                    .arg(&path)
                    .output()
                {
                    Ok(output) => found.push((name, output.stdout)),
                    Err(_) => println!("skipped: {name}: no xz"),
                }
            }
        }
    }
    found.sort();
    found
}

/// Every JSON file of a `.tar.xz`, one after the other, unpacked by the program tar.
pub(crate) fn tar_xz_json(test: &str, archive: &Path) -> Option<Vec<u8>> {
    let output = std::process::Command::new("tar")
        .args(["-xJO", "--wildcards", "*.json", "-f"])
        .arg(archive)
        .output();
    match output {
        Ok(output) if output.status.success() => Some(output.stdout),
        _ => {
            println!("skipped: {test}: no tar with xz");
            None
        }
    }
}
