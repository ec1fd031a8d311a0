//! YARA rules of the site (`[[yara]]`), on each message and each piece of content that is found in it. Entry: [`load`].
//!
//! Needs the build feature `yara`; without it a configuration that names rules is refused.

use std::path::PathBuf;
use std::sync::Arc;

use mailkeep_inspect::Scanner;
use serde::Deserialize;

/// What looks at content on threads of its own.
pub(crate) type Shared = Arc<dyn Scanner + Send + Sync>;

/// `[[yara]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(feature = "yara"),
    expect(dead_code, reason = "read, so that it can be refused with a reason")
)]
pub(crate) struct YaraFile {
    /// Files of rules, and folders of such (`*.yar`, `*.yara`).
    pub(crate) rules: Vec<PathBuf>,
    /// What is done with a message that matches: `refuse`, `quarantine`, `tempfail`, `accept`.
    #[serde(default = "refuse")]
    pub(crate) action: String,
}

fn refuse() -> String {
    "refuse".to_owned()
}

/// Reads and compiles the rules; none where none are named.
///
/// # Errors
///
/// A sentence that says what is wrong, and where.
pub(crate) fn load(files: &[YaraFile]) -> Result<Option<Shared>, String> {
    if files.is_empty() {
        return Ok(None);
    }
    #[cfg(feature = "yara")]
    {
        Ok(Some(Arc::new(rules::Yara::load(files)?)))
    }
    #[cfg(not(feature = "yara"))]
    {
        let text = "this mailkeep-shield was built without YARA, and [[yara]] names rules: \
                    build it with `--features yara`";
        Err(text.to_owned())
    }
}

#[cfg(feature = "yara")]
mod rules {
    use std::borrow::Cow;
    use std::path::{Path, PathBuf};

    use boreal::Compiler;
    use mailkeep_inspect::{Reason, Scanner, Verdict};
    use mailkeep_model::text::{printable, printable_max};

    use super::YaraFile;
    use crate::content::config::verdict;

    /// Rules that came together, and what a match of one asks for.
    #[derive(Debug)]
    pub(super) struct Yara(Vec<(Verdict, boreal::Scanner)>);

    impl Yara {
        pub(super) fn load(files: &[YaraFile]) -> Result<Self, String> {
            let mut sets = Vec::new();
            for file in files {
                let action = verdict(&file.action).map_err(|error| format!("[[yara]]: {error}"))?;
                let mut compiler = Compiler::new();
                for path in paths(&file.rules)? {
                    // Each file has its own names: two may call a rule alike.
                    compiler
                        .add_rules_file_in_namespace(&path, path.display().to_string())
                        .map_err(|error| {
                            let error = printable(&error.to_string()).into_owned();
                            format!("YARA rules do not compile: {error}")
                        })?;
                }
                sets.push((action, compiler.finalize()));
            }
            Ok(Self(sets))
        }
    }

    /// Files as they are named, and those of folders in the order of their names.
    fn paths(named: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
        let failed = |path: &Path, error: &std::io::Error| {
            format!("YARA rules cannot be read: {}: {error}", path.display())
        };
        let mut paths = Vec::new();
        for path in named {
            if !path.is_dir() {
                paths.push(path.clone());
                continue;
            }
            let entries = path.read_dir().map_err(|error| failed(path, &error))?;
            let mut within = Vec::new();
            for entry in entries {
                let entry = entry.map_err(|error| failed(path, &error))?.path();
                if entry
                    .extension()
                    .is_some_and(|ending| ending == "yar" || ending == "yara")
                {
                    within.push(entry);
                }
            }
            within.sort();
            paths.append(&mut within);
        }
        if paths.is_empty() {
            return Err("[[yara]] names no file of rules".to_owned());
        }
        Ok(paths)
    }

    impl Scanner for Yara {
        fn scan(&self, octets: &[u8]) -> Vec<Reason> {
            let mut reasons = Vec::new();
            for (action, scanner) in &self.0 {
                let result = match scanner.scan_mem(octets) {
                    Ok(result) => result,
                    Err((error, result)) => {
                        reasons.push(Reason {
                            rule: Cow::Borrowed("yara-failed"),
                            verdict: Verdict::Tempfail,
                            text: "it could not be looked through; try again later".to_owned(),
                            evidence: printable_max(&error.to_string(), 200),
                            place: String::new(),
                        });
                        result
                    }
                };
                for rule in result.rules {
                    let name = printable_max(rule.name, 100);
                    reasons.push(Reason {
                        rule: Cow::Borrowed("yara"),
                        verdict: *action,
                        text: format!("It matches the rule {name} of this site."),
                        evidence: printable_max(&format!("{name} in {}", rule.namespace), 200),
                        place: String::new(),
                    });
                }
            }
            reasons
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_never_passed_over_in_silence() {
        assert!(load(&[]).unwrap().is_none());
        let file = YaraFile {
            rules: vec![PathBuf::from("/nonexistent/rules.yar")],
            action: refuse(),
        };
        let error = load(&[file]).err().unwrap();
        let expected = if cfg!(feature = "yara") {
            "/nonexistent/rules.yar"
        } else {
            "built without YARA"
        };
        assert!(error.contains(expected), "{error}");
    }
}
