//! What must be true of the files themselves: heads, lengths, lists that must be complete, and what
//! must never be committed.
//!
//! Entry: [`check`].

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::edges::Metadata;
use super::{Breach, Report, TidyError};

/// Longer Rust files are refused.
const MAX_LINES: usize = 1200;
/// Longer Rust files are named, because they are usually two files.
const SOFT_MAX_LINES: usize = 600;

/// Directories that hold nothing we wrote.
const SKIPPED_DIRECTORIES: &[&str] = &[".git", "artifacts", "corpus", "node_modules", "target"];

/// Files above this size are data, not text worth searching, in bytes.
const MAX_SEARCHED: u64 = 4 << 20;

/// Beginnings of paths that exist on one machine only. Split, so that this file does not break its
/// own rule.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tmp/", "bg"),
];

/// Checks every file of the workspace. The summary of the report is the number of files.
pub fn check(root: &Path, metadata: &Metadata) -> Result<Report, TidyError> {
    let mut report = Report::default();
    let mut files = Vec::new();
    collect(root, root, &mut files)?;
    report.summary = files.len().to_string();

    for package in metadata.members() {
        let manifest = read(Path::new(&package.manifest_path))?;
        if !inherits_lints(&manifest) {
            report.breaches.push(Breach {
                rule: "lints",
                place: relative(root, Path::new(&package.manifest_path)),
                what: "needs `[lints]` with `workspace = true`".to_owned(),
            });
        }
        for target in &package.targets {
            let linked = |kind: &String| matches!(kind.as_str(), "lib" | "bin" | "proc-macro");
            if target.kind.iter().any(linked) {
                let path = Path::new(&target.src_path);
                if !read(path)?.starts_with("//!") {
                    report.breaches.push(Breach {
                        rule: "head",
                        place: relative(root, path),
                        what: "must open with `//!` lines: duty, entry type, what it must not do"
                            .to_owned(),
                    });
                }
            }
        }
    }

    for file in &files {
        let path = root.join(file);
        if path.extension().is_some_and(|extension| extension == "rs") {
            let lines = read(&path)?.lines().count();
            if lines > MAX_LINES {
                report.breaches.push(Breach {
                    rule: "file-length",
                    place: file.clone(),
                    what: format!("has {lines} lines; {MAX_LINES} is the limit"),
                });
            } else if lines > SOFT_MAX_LINES {
                report.notes.push(format!(
                    "{file} has {lines} lines; beyond {SOFT_MAX_LINES} it is usually two files"
                ));
            }
        }
        report.breaches.extend(machine_paths(root, file)?);
    }

    report.breaches.extend(unlisted_decisions(root, &files)?);
    report.breaches.extend(empty_corpora(root, &files));
    Ok(report)
}

/// `[lints]` followed by `workspace = true` before the next table.
fn inherits_lints(manifest: &str) -> bool {
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[lints]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .any(|line| line.replace(' ', "") == "workspace=true")
}

fn machine_paths(root: &Path, file: &str) -> Result<Option<Breach>, TidyError> {
    let path = root.join(file);
    let size = fs::metadata(&path).map_err(|error| unreadable(&path, error))?;
    if size.len() > MAX_SEARCHED {
        return Ok(None);
    }
    let bytes = fs::read(&path).map_err(|error| unreadable(&path, error))?;
    let Ok(text) = String::from_utf8(bytes) else {
        return Ok(None); // A picture or a compressed fixture.
    };
    let checkout = format!("{}/", root.display());
    for (number, line) in text.lines().enumerate() {
        let literal = MACHINE_PATHS.iter().copied().chain([checkout.as_str()]);
        if let Some(found) = literal.into_iter().find(|path| names_path(line, path)) {
            return Ok(Some(Breach {
                rule: "machine-path",
                place: format!("{file}:{}", number + 1),
                what: format!("names {found}, a path of one machine"),
            }));
        }
    }
    Ok(None)
}

/// Whether a line holds a path that begins so; the tail of a longer path (`crates/x`) does not count.
fn names_path(line: &str, beginning: &str) -> bool {
    line.match_indices(beginning).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "_-./$}*".contains(c))
    })
}

/// Every decision record is listed in ARCHITECTURE.md, once that exists.
fn unlisted_decisions(root: &Path, files: &[String]) -> Result<Vec<Breach>, TidyError> {
    let map = root.join("ARCHITECTURE.md");
    if !map.exists() {
        return Ok(Vec::new());
    }
    let map = read(&map)?;
    Ok(files
        .iter()
        .filter(|file| file.starts_with("docs/decisions/"))
        .filter(|file| !map.contains(file.rsplit('/').next().unwrap_or(file)))
        .map(|file| Breach {
            rule: "unlisted-decision",
            place: file.clone(),
            what: "is not listed in ARCHITECTURE.md".to_owned(),
        })
        .collect())
}

/// Every fuzz target keeps the inputs it has found, once there are targets.
fn empty_corpora(root: &Path, files: &[String]) -> Vec<Breach> {
    files
        .iter()
        .filter_map(|file| {
            let target = file
                .strip_prefix("fuzz/fuzz_targets/")?
                .strip_suffix(".rs")?;
            let corpus = root.join("fuzz/corpus").join(target);
            let kept = fs::read_dir(&corpus).is_ok_and(|mut entries| entries.next().is_some());
            (!kept).then(|| Breach {
                rule: "empty-corpus",
                place: file.clone(),
                what: format!("fuzz/corpus/{target} holds no inputs"),
            })
        })
        .collect()
}

/// All files below a directory, relative to the root, sorted; nothing behind symbolic links. In a
/// worktree `.git` is a file, which git wrote and which names the machine's own path.
fn collect(root: &Path, directory: &Path, files: &mut Vec<String>) -> Result<(), TidyError> {
    let entries = fs::read_dir(directory).map_err(|error| unreadable(directory, error))?;
    let mut paths = BTreeSet::new();
    for entry in entries {
        paths.insert(entry.map_err(|error| unreadable(directory, error))?.path());
    }
    for path in paths {
        let kind = fs::symlink_metadata(&path).map_err(|error| unreadable(&path, error))?;
        if kind.is_dir() {
            let name = path.file_name().and_then(|name| name.to_str());
            if !name.is_some_and(|name| SKIPPED_DIRECTORIES.contains(&name)) {
                collect(root, &path, files)?;
            }
        } else if kind.is_file() && path.file_name() != Some(OsStr::new(".git")) {
            files.push(relative(root, &path));
        }
    }
    Ok(())
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

fn read(path: &Path) -> Result<String, TidyError> {
    fs::read_to_string(path).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, error: std::io::Error) -> TidyError {
    TidyError::Read {
        path: PathBuf::from(path).display().to_string(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lints_are_inherited_only_by_their_own_table() {
        for (manifest, expected) in [
            ("[package]\n\n[lints]\nworkspace = true\n", true),
            ("[lints]\nworkspace=true", true),
            ("[lints]\n\n[dependencies]\nworkspace = true\n", false),
            ("[package]\nlints.workspace = true\n", false),
            ("", false),
        ] {
            assert_eq!(inherits_lints(manifest), expected, "{manifest:?}");
        }
    }

    #[test]
    fn a_path_counts_only_from_its_beginning() {
        for (line, expected) in [
            ("see /here/now", true),
            ("\"/here/now\"", true),
            ("/here/now", true),
            ("fuzz/here/now", false),
            ("$DIR/here/now", false),
            ("/there/now", false),
        ] {
            assert_eq!(names_path(line, "/here/"), expected, "{line:?}");
        }
    }

    #[test]
    fn lists_that_must_be_complete_are_checked() {
        let root = tempdir("lists");
        let files = [
            "docs/decisions/0001-listed.md".to_owned(),
            "docs/decisions/0002-forgotten.md".to_owned(),
            "fuzz/fuzz_targets/full.rs".to_owned(),
            "fuzz/fuzz_targets/hollow.rs".to_owned(),
        ];
        assert_eq!(unlisted_decisions(&root, &files).unwrap(), []);
        fs::write(
            root.join("ARCHITECTURE.md"),
            "[one](docs/decisions/0001-listed.md)",
        )
        .unwrap();
        fs::create_dir_all(root.join("fuzz/corpus/full")).unwrap();
        fs::create_dir_all(root.join("fuzz/corpus/hollow")).unwrap();
        fs::write(root.join("fuzz/corpus/full/seed"), "x").unwrap();
        let places = |breaches: Vec<Breach>| -> Vec<String> {
            breaches.into_iter().map(|breach| breach.place).collect()
        };
        assert_eq!(
            places(unlisted_decisions(&root, &files).unwrap()),
            ["docs/decisions/0002-forgotten.md"]
        );
        assert_eq!(
            places(empty_corpora(&root, &files)),
            ["fuzz/fuzz_targets/hollow.rs"]
        );
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_git_keeps_is_not_searched_in_a_checkout_or_a_worktree() {
        let checkout = tempdir("checkout");
        fs::create_dir_all(checkout.join(".git")).unwrap();
        fs::write(checkout.join(".git/config"), "x").unwrap();
        let worktree = tempdir("worktree");
        fs::write(worktree.join(".git"), "gitdir: /somewhere/else\n").unwrap();
        for root in [checkout, worktree] {
            fs::write(root.join(".gitignore"), "target\n").unwrap();
            let mut files = Vec::new();
            collect(&root, &root, &mut files).unwrap();
            assert_eq!(files, [".gitignore"], "{}", root.display());
            fs::remove_dir_all(root).unwrap();
        }
    }

    fn tempdir(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("xtask-tidy-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }
}
