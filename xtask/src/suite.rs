//! `cargo xtask test`: every check and test of the repository, cheapest first, with its own set-up.
//!
//! Entry: [`run`]. It installs what is missing where it may (Debian packages as root, cargo-nextest)
//! and says so; what it cannot have is skipped by name in the last line, never silently. It stops at
//! the first failure. It changes nothing in the work tree.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// Programs the tests use, with the Debian package that holds each. Tests that miss one skip
/// themselves by name.
pub(crate) const PROGRAMS: &[(&str, &str)] = &[
    // A file by its whole path where a package holds no program.
    ("/usr/share/clamav-testfiles/clam.exe", "clamav-testfiles"),
    ("cc", "gcc"),
    ("clamd", "clamav-daemon"),
    ("dnsmasq", "dnsmasq-base"),
    ("dpkg-scanpackages", "dpkg-dev"),
    ("ip", "iproute2"),
    ("mmdebstrap", "mmdebstrap"),
    ("nsenter", "util-linux"),
    ("rpm", "rpm"),
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
    ("zip", "zip"),
    ("zstd", "zstd"),
];

/// Marks the line by which a test says that it did not run, and why: `skipped: NAME: REASON`.
const SKIP_MARK: &str = "skipped: ";

/// Where nextest leaves its report, below the target directory (see `.config/nextest.toml`).
const NEXTEST_REPORT: &str = "nextest/default/junit.xml";

/// What the caller asked for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Also install what takes minutes to compile.
    pub full: bool,
}

impl Options {
    /// Reads the arguments after `test`.
    pub fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        for arg in args {
            match arg.as_str() {
                "--full" => options.full = true,
                other => return Err(format!("test: unknown argument {other}")),
            }
        }
        Ok(options)
    }
}

/// Runs everything; the exit status is that of the first step that failed.
pub fn run(root: &Path, options: Options) -> ExitCode {
    let started = Instant::now();
    let mut suite = Suite {
        root,
        passed: 0,
        skipped: Vec::new(),
    };
    match suite.all(options) {
        Ok(()) => {
            let seconds = started.elapsed().as_secs();
            let skipped = if suite.skipped.is_empty() {
                "nothing skipped".to_owned()
            } else {
                format!("skipped: {}", suite.skipped.join("; "))
            };
            crate::say(format_args!(
                "test: {} steps passed in {seconds} s; {skipped}",
                suite.passed
            ));
            ExitCode::SUCCESS
        }
        Err(step) => {
            eprintln!("test: FAILED at `{step}`; the steps after it were not run");
            ExitCode::FAILURE
        }
    }
}

/// What a build leaves out unless it is asked for. The documentation is made without, so that both ways are compiled.
const OPTIONAL: &str = "mailkeep-shield/yara";

struct Suite<'a> {
    root: &'a Path,
    passed: usize,
    skipped: Vec<String>,
}

/// The name of the step that failed.
type Failed = String;

impl Suite<'_> {
    fn all(&mut self, options: Options) -> Result<(), Failed> {
        self.debian_packages();
        self.cargo_step("format", &["fmt", "--all", "--check"], &[])?;
        self.step("tidy", |suite| {
            super::tidy::run(suite.root) == ExitCode::SUCCESS
        })?;
        let lint = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--features",
            OPTIONAL,
            "--",
            "-D",
            "warnings",
        ];
        self.cargo_step("clippy", &lint, &[])?;
        self.nextest()?;
        #[cfg(target_os = "linux")]
        self.tour()?;
        self.cargo_step(
            "doctests",
            &[
                "test",
                "--doc",
                "--workspace",
                "--locked",
                "--features",
                OPTIONAL,
            ],
            &[],
        )?;
        self.cargo_step(
            "documentation",
            &["doc", "--workspace", "--no-deps", "--locked"],
            &[("RUSTDOCFLAGS", "-D warnings")],
        )?;
        self.deny(options)
    }

    /// Unit, integration and property tests. The report is read for tests that skipped themselves,
    /// because nextest shows nothing of a test that passes.
    fn nextest(&mut self) -> Result<(), Failed> {
        if !have_cargo_command("nextest") {
            crate::say(format_args!(
                "test: installing cargo-nextest (cargo install --locked cargo-nextest)"
            ));
            let install = ["install", "--locked", "cargo-nextest"];
            self.cargo_step("install cargo-nextest", &install, &[])?;
        }
        let threads = test_threads().to_string();
        let nextest = [
            "nextest",
            "run",
            "--workspace",
            "--locked",
            "--features",
            OPTIONAL,
            "--no-fail-fast",
            "--test-threads",
            &threads,
        ];
        self.cargo_step("tests", &nextest, &[])?;
        let report = target_directory(self.root).join(NEXTEST_REPORT);
        match std::fs::read_to_string(&report) {
            Ok(report) => self.skipped.extend(named_skips(&report)),
            Err(error) => self.skipped.push(format!(
                "list of skipped tests (cannot read {}: {error})",
                report.display()
            )),
        }
        self.skipped.extend(self.only_when_asked());
        Ok(())
    }

    /// Tests marked `#[ignore]`, of which nextest's report says nothing.
    fn only_when_asked(&self) -> Vec<String> {
        let mut list = super::cargo();
        list.args(["nextest", "list", "--workspace", "--locked"])
            .args(["--features", OPTIONAL])
            .args(["--run-ignored", "only", "--message-format", "oneline"])
            .current_dir(self.root)
            .stderr(Stdio::null());
        match list.output() {
            Ok(output) if output.status.success() => {
                ignored(&String::from_utf8_lossy(&output.stdout))
            }
            _ => vec!["tests that run only when asked (cannot be listed)".to_owned()],
        }
    }

    /// All parts together, on real hosts: the one step that fails when each works and the whole does not.
    #[cfg(target_os = "linux")]
    fn tour(&mut self) -> Result<(), Failed> {
        use crate::lab::tour;
        // The tests have just built it; building it by itself would turn other features on, and all anew.
        let options = tour::Options {
            binary: Some(target_directory(self.root).join("debug/mailkeep")),
        };
        let mut unavailable = None;
        self.step("tour of the lab", |_| match tour::run(&options) {
            Ok(code) => code == ExitCode::SUCCESS,
            Err(error) if error.is_unavailable() => {
                unavailable = Some(format!("tour of the lab: {error}"));
                true
            }
            Err(error) => {
                eprintln!("{error}");
                false
            }
        })?;
        self.passed -= usize::from(unavailable.is_some());
        self.skipped.extend(unavailable);
        Ok(())
    }

    fn deny(&mut self, options: Options) -> Result<(), Failed> {
        if !have_cargo_command("deny") {
            if !options.full {
                self.skipped.push(
                    "licences, bans and sources (cargo-deny is not installed; --full installs it)"
                        .to_owned(),
                );
                return Ok(());
            }
            crate::say(format_args!(
                "test: installing cargo-deny (cargo install --locked cargo-deny)"
            ));
            let install = ["install", "--locked", "cargo-deny"];
            self.cargo_step("install cargo-deny", &install, &[])?;
        }
        let deny = ["deny", "--offline", "check", "bans", "licenses", "sources"];
        self.cargo_step("licences, bans and sources", &deny, &[])
    }

    /// Installs missing programs from Debian where that is possible; else names them.
    fn debian_packages(&mut self) {
        let missing: Vec<_> = PROGRAMS
            .iter()
            .filter(|(program, _)| !have_program(program))
            .collect();
        if missing.is_empty() {
            return;
        }
        let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
        let list = packages.join(" ");
        if install_debian_packages(&packages, "the tests") {
            return;
        }
        self.skipped
            .push(format!("tests that need {list} (not installed)"));
    }

    fn cargo_step(
        &mut self,
        name: &str,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<(), Failed> {
        self.step(name, |suite| {
            let mut command = super::cargo();
            command
                .args(args)
                .envs(env.iter().copied())
                .current_dir(suite.root);
            match command.status() {
                Ok(status) => status.success(),
                Err(error) => {
                    eprintln!("cannot start cargo {}: {error}", args.join(" "));
                    false
                }
            }
        })
    }

    fn step(&mut self, name: &str, act: impl FnOnce(&Self) -> bool) -> Result<(), Failed> {
        crate::say(format_args!("\n== {name}"));
        let started = Instant::now();
        if !act(self) {
            return Err(name.to_owned());
        }
        crate::say(format_args!(
            "== {name}: ok, {:.1} s",
            started.elapsed().as_secs_f64()
        ));
        self.passed += 1;
        Ok(())
    }
}

/// Tests at a time: one a processor, and no fewer than there are tests on real hosts, which wait for those
/// most of their time.
fn test_threads() -> usize {
    const LABS: usize = 5;
    std::thread::available_parallelism().map_or(LABS, |cores| cores.get().max(LABS))
}

/// The lines of a `JUnit` report in which a test says that it skipped itself.
fn named_skips(report: &str) -> Vec<String> {
    let mut skips: Vec<String> = report
        .lines()
        .filter_map(|line| line.split_once(SKIP_MARK))
        .filter(|(before, _)| before.is_empty() || before.ends_with('>'))
        .map(|(_, skip)| {
            let text = skip.split("</").next().unwrap_or(skip).trim_end();
            text.replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&apos;", "'")
                .replace("&amp;", "&")
        })
        .collect();
    skips.sort();
    skips.dedup();
    skips
}

/// `BINARY TEST` in a line each.
fn ignored(list: &str) -> Vec<String> {
    list.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(binary, test)| format!("{binary} {test}: only when asked (--ignored)"))
        .collect()
}

/// Where cargo puts what it builds for this workspace.
pub(crate) fn target_directory(root: &Path) -> std::path::PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

/// Whether a program is on the path, or where Debian keeps those of the administrator.
pub(crate) fn have_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory| directory.join(name).is_file())
}

/// Installs Debian packages, saying so, where that is possible: as root, with apt. False where it is not
/// or fails.
pub(crate) fn install_debian_packages(packages: &[&str], for_whom: &str) -> bool {
    if !is_root() || !have_program("apt-get") {
        return false;
    }
    crate::say(format_args!(
        "installing Debian packages for {for_whom}: {}",
        packages.join(" ")
    ));
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(["-qq", "-y", "--no-install-recommends"])
            .args(args);
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    apt(&["update"]) && apt(&[&["install"], packages].concat())
}

fn have_cargo_command(name: &str) -> bool {
    let mut command = super::cargo();
    command
        .args([name, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Whether this process runs as root, by `/proc` (absent elsewhere than on Linux: no).
pub(crate) fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        uid.and_then(|uid| uid.split_whitespace().nth(1)) == Some("0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_skipped_itself_is_found_in_the_report() {
        let report = "<testcase><system-out>running 1 test\n\
            skipped: lab_e2e: lab-not-permitted: needs &lt;root&gt;\n\
            test x ... ok\n</system-out>\n\
            <system-out>skipped: bulk: no data</system-out>\n\
            <system-out>4 records skipped: none</system-out>";
        assert_eq!(
            named_skips(report),
            ["bulk: no data", "lab_e2e: lab-not-permitted: needs <root>"]
        );
    }

    #[test]
    fn a_test_that_runs_only_when_asked_is_named() {
        assert_eq!(
            ignored("mailkeep-drill::seeds ten_thousand_seeds\n"),
            ["mailkeep-drill::seeds ten_thousand_seeds: only when asked (--ignored)"]
        );
    }

    #[test]
    fn unknown_arguments_are_refused() {
        assert_eq!(
            Options::parse(&["--full".into()]),
            Ok(Options { full: true })
        );
        assert!(Options::parse(&["--fast".into()]).is_err());
    }
}
