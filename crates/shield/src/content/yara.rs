//! YARA rules of the site (`[[yara]]`), on each message and each piece of content that is found in it. Entry: [`load`].
//!
//! Needs the build feature `yara`; without it a configuration that names rules is refused.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use mailkeep_inspect::{Reason, Scanner};
use ring::digest::{SHA256, digest};
use serde::Deserialize;

/// Rules that look at content, on threads of its own.
pub(crate) trait Rules: std::fmt::Debug + Send + Sync {
    /// What they say of these octets; an error where they are not done by then, or break off.
    fn scan(&self, octets: &[u8], deadline: Instant) -> Vec<Reason>;
}

pub(crate) type Shared = Arc<dyn Rules>;

/// The rules, for one message: all that is found in it is looked at by one deadline.
#[derive(Debug)]
pub(crate) struct OneMessage {
    rules: Shared,
    deadline: Instant,
    /// By SHA-256, what was said, where the message is judged by several profiles.
    said: Option<RefCell<BTreeMap<Vec<u8>, Vec<Reason>>>>,
}

impl OneMessage {
    pub(crate) fn new(rules: Shared, deadline: Instant, profiles: usize) -> Self {
        Self {
            rules,
            deadline,
            said: (profiles > 1).then(RefCell::default),
        }
    }
}

impl Scanner for OneMessage {
    fn scan(&self, octets: &[u8]) -> Vec<Reason> {
        let scan = || self.rules.scan(octets, self.deadline);
        let Some(said) = &self.said else {
            return scan();
        };
        let digest = digest(&SHA256, octets).as_ref().to_vec();
        said.borrow_mut().entry(digest).or_insert_with(scan).clone()
    }
}

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
    use std::time::Instant;

    use boreal::Compiler;
    use boreal::scanner::ScanParams;
    use mailkeep_inspect::{Reason, Verdict};
    use mailkeep_model::text::{printable, printable_max};

    use super::{Rules, YaraFile};
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

    impl Rules for Yara {
        fn scan(&self, octets: &[u8], deadline: Instant) -> Vec<Reason> {
            let mut reasons = Vec::new();
            for (action, scanner) in &self.0 {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    reasons.push(failed("it takes too long"));
                    break;
                }
                // The rules themselves are shared.
                let mut scanner = scanner.clone();
                scanner.set_scan_params(ScanParams::default().timeout_duration(Some(left)));
                let result = match scanner.scan_mem(octets) {
                    Ok(result) => result,
                    Err((error, result)) => {
                        reasons.push(failed(&error.to_string()));
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

    fn failed(why: &str) -> Reason {
        Reason {
            rule: Cow::Borrowed("yara-failed"),
            verdict: Verdict::Tempfail,
            text: "it could not be looked through; try again later".to_owned(),
            evidence: printable_max(why, 200),
            place: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// How often each octets were looked at.
    #[derive(Debug, Default)]
    struct Counted(Mutex<BTreeMap<Vec<u8>, usize>>);

    impl Rules for Counted {
        fn scan(&self, octets: &[u8], _: Instant) -> Vec<Reason> {
            *self.0.lock().unwrap().entry(octets.to_vec()).or_default() += 1;
            vec![Reason {
                rule: "yara".into(),
                verdict: mailkeep_inspect::Verdict::Accept,
                text: String::new(),
                evidence: String::from_utf8_lossy(octets).into_owned(),
                place: String::new(),
            }]
        }
    }

    #[test]
    fn by_however_many_profiles_a_message_is_judged_rules_look_once_and_are_heard_each_time() {
        let counted = Arc::new(Counted::default());
        let message = OneMessage::new(Arc::<Counted>::clone(&counted), Instant::now(), 3);
        for _ in 0..3 {
            for piece in ["one", "another"] {
                let said = message.scan(piece.as_bytes());
                assert_eq!(said[0].evidence, piece);
            }
        }
        let counted = counted.0.lock().unwrap();
        assert!(counted.len() == 2 && counted.values().all(|count| *count == 1));
    }

    #[cfg(feature = "yara")]
    #[test]
    fn a_rule_that_takes_too_long_is_broken_off_and_so_is_all_that_is_left() {
        use std::time::Duration;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slow.yar");
        let slow = "rule slow { condition: for all a in (1..100000) : (for all b in (1..100000) : (a + b > 0)) }";
        std::fs::write(&path, slow).unwrap();
        let file = YaraFile {
            rules: vec![path],
            action: refuse(),
        };
        let rules = load(&[file]).unwrap().unwrap();
        let began = Instant::now();
        let message = OneMessage::new(rules, began + Duration::from_millis(100), 1);
        for piece in [&b"the first"[..], b"the second", b"the third"] {
            let said = message.scan(piece);
            let names: Vec<&str> = said.iter().map(|one| &*one.rule).collect();
            assert_eq!(names, ["yara-failed"]);
        }
        assert!(began.elapsed() < Duration::from_secs(5));
    }

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
