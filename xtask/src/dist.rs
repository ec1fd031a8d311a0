//! `cargo xtask dist`: what a Debian package holds besides the program, and the package.
//!
//! Leaves man pages and completions under `target/dist/`, and the package where `cargo deb` puts it
//! (`target/debian/`). Without cargo-deb it stops after the first part and says so.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Shells that completions are made for, and the file name each expects.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "mailkeep"),
    ("zsh", "_mailkeep"),
    ("fish", "mailkeep.fish"),
];

/// Runs it.
pub fn run(root: &Path) -> ExitCode {
    match dist(root) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("dist: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn dist(root: &Path) -> Result<(), String> {
    cargo(
        root,
        &["build", "--release", "--locked", "--package", "mailkeep"],
    )?;
    let target = root.join("target");
    let program = target.join("release/mailkeep");
    let dist = target.join("dist");
    let man = dist.join("man");
    fs::create_dir_all(&man).map_err(|error| format!("cannot make {}: {error}", man.display()))?;
    let made = Command::new(&program).arg("man").arg(&man).status();
    if !made.as_ref().is_ok_and(std::process::ExitStatus::success) {
        return Err(format!("{} man failed: {made:?}", program.display()));
    }
    for (shell, name) in SHELLS {
        let output = Command::new(&program)
            .args(["completions", shell])
            .output()
            .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        let file = dist.join(name);
        fs::write(&file, output.stdout)
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    crate::say(format_args!(
        "man pages and completions: {}",
        dist.display()
    ));
    let has_cargo_deb = Command::new("cargo")
        .args(["deb", "--version"])
        .output()
        .is_ok_and(|o| o.status.success());
    if !has_cargo_deb {
        return Err(
            "cargo-deb is not installed: `cargo install --locked cargo-deb`, then again".into(),
        );
    }
    cargo(
        root,
        &["deb", "--no-build", "--no-strip", "--package", "mailkeep"],
    )
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let status = Command::new("cargo")
        .args(arguments)
        .current_dir(root)
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("cargo {} failed: {other:?}", arguments.join(" "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOC: &str = "usr/share/doc/mailkeep/";

    /// Files below the documentation directory that the package's assets put at the place they have
    /// in the repository; of a pattern, the directory.
    fn shipped(manifest: &str) -> Vec<String> {
        manifest
            .lines()
            .filter_map(|line| line.trim().strip_prefix("[\"../../"))
            .filter_map(|asset| asset.split_once("\", \""))
            .filter_map(|(from, rest)| {
                let to = rest.split('"').next()?.strip_prefix(DOC)?;
                let from = from.split('*').next()?;
                (from == to).then(|| from.to_owned())
            })
            .collect()
    }

    #[test]
    fn what_the_readme_links_to_is_in_the_package() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let manifest = fs::read_to_string(root.join("crates/mailkeep/Cargo.toml")).unwrap();
        let shipped = shipped(&manifest);
        let mut links = 0;
        for page in ["README.md", "ARCHITECTURE.md"] {
            assert!(shipped.iter().any(|file| file == page), "{page}");
            let text = fs::read_to_string(root.join(page)).unwrap();
            for link in text.split("](").skip(1) {
                let link = link.split(')').next().unwrap();
                if link.contains("://") {
                    continue;
                }
                links += 1;
                assert!(root.join(link).exists(), "{page} links to {link}");
                let there = |file: &String| {
                    file == link || (file.ends_with('/') && format!("{link}/").starts_with(file))
                };
                assert!(
                    shipped.iter().any(there),
                    "{page} links to {link}: {shipped:?}"
                );
            }
        }
        assert!(links > 10, "{links}");
        // Without the state that a developer's run left beside them.
        for part in ["mailkeep.toml", "facts/", "feeds/"] {
            let part = format!("examples/harbour/{part}");
            assert!(shipped.contains(&part), "{part}: {shipped:?}");
        }
    }
}
