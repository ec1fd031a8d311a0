//! The machine's own package sources, seen through the eyes of another Debian release.
//!
//! Entry: [`View`]. On Debian the entries of `/etc/apt` for its archive are taken as they are, with the
//! release's name exchanged: whoever has a mirror of his own is served by that. On Ubuntu and other
//! machines, whose sources hold no Debian, Debian's public archive is read. The machine's own apt state
//! is read, never changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::{logged, output, program};
use super::error::LabError;
use super::turn::lock_file;
use crate::suite::install_debian_packages;

/// Where the machine's package sources are.
const DIRECTORY: &str = "/etc/apt";

/// Debian's keys, for every release.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The package that holds it, on Ubuntu as well.
const KEYRING_PACKAGE: &str = "debian-archive-keyring";

/// Debian's public archive, for machines that are not Debian: address, and what follows the release's
/// name.
const PUBLIC: [(&str, &str); 3] = [
    ("http://deb.debian.org/debian", ""),
    ("http://deb.debian.org/debian", "-updates"),
    ("http://deb.debian.org/debian-security", "-security"),
];

/// What may follow the release's name in a suite that belongs to the release itself.
const SUITE_ENDINGS: &[&str] = &["", "-updates", "-security", "/updates"];

/// Settings of the machine's apt that a foreign root needs too, or it could fetch nothing.
const CARRIED_SETTINGS: &[&str] = &[
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::Retries",
];

/// One archive and suite.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    uri: String,
    suite: String,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// An apt of our own, looking at one Debian release.
#[derive(Debug)]
pub(super) struct View {
    directory: PathBuf,
    suite: String,
    lines: Vec<String>,
}

impl View {
    /// Opens the view of a release, fetching its lists the first time.
    pub(super) fn open(directory: PathBuf, suite: &str) -> Result<Self, LabError> {
        let (lines, are_own) = lines_for(suite)?;
        Self::of(directory, suite, lines, are_own, "")
    }

    /// Opens the view of the Debian that this machine runs, with its backports and with what is installed here. `None`:
    /// it runs no Debian, or has no source of it.
    pub(super) fn with_backports(directory: PathBuf) -> Result<Option<Self>, LabError> {
        let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let Some(suite) = codename(&os_release) else {
            return Ok(None);
        };
        let (mut lines, true) = lines_for(suite)? else {
            return Ok(None);
        };
        let own = format!(" {suite} main");
        let release = lines.iter().find(|line| line.ends_with(&own));
        let Some(backports) =
            release.map(|line| line.replace(&own, &format!(" {suite}-backports main")))
        else {
            return Ok(None);
        };
        lines.push(backports);
        let status = Path::new("/var/lib/dpkg/status");
        let installed =
            fs::read_to_string(status).map_err(|error| LabError::io("read", status, error))?;
        Self::of(
            directory,
            &format!("{suite}-backports"),
            lines,
            true,
            &installed,
        )
        .map(Some)
    }

    fn of(
        directory: PathBuf,
        suite: &str,
        lines: Vec<String>,
        are_own: bool,
        status: &str,
    ) -> Result<Self, LabError> {
        let view = Self {
            lines,
            suite: suite.to_owned(),
            directory,
        };
        let stamp = view.directory.join("complete");
        let wanted = view.lines.join("\n");
        if fs::read_to_string(&stamp).is_ok_and(|had| had == wanted) {
            return Ok(view);
        }
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let path = view.directory.join(part);
            fs::create_dir_all(&path).map_err(|error| LabError::io("create", &path, error))?;
        }
        // Families of one release are built side by side, and apt does not wait for another apt's lists.
        let _lock = lock_file(&view.directory.join("lock"))?;
        if fs::read_to_string(&stamp).is_ok_and(|had| had == wanted) {
            return Ok(view);
        }
        for (name, text) in [("status", status), ("sources.list", wanted.as_str())] {
            let path = view.directory.join(name);
            fs::write(&path, text).map_err(|error| LabError::io("write", &path, error))?;
        }
        let log = view.directory.join("update.log");
        let what = format!("fetching the package lists of {suite}");
        let update = logged(&what, view.apt("apt-get").args(["-q", "update"]), &log);
        // A machine without Debian and without a way to it can hold no lab; one whose own sources fail
        // is at fault.
        update.map_err(|error| {
            if are_own {
                error
            } else {
                no_archive(format!("and Debian's public one cannot be read: {error}"))
            }
        })?;
        fs::write(&stamp, wanted).map_err(|error| LabError::io("write", &stamp, error))?;
        Ok(view)
    }

    /// The `sources.list` line of the release itself, without what came later: that part of the
    /// archive is complete, while the others may list packages a mirror no longer holds.
    pub(super) fn release_line(&self) -> Option<&str> {
        let own = format!(" {} main", self.suite);
        self.lines
            .iter()
            .map(String::as_str)
            .find(|line| line.ends_with(&own))
    }

    /// The versions of a package the archive's lists name, newest first.
    pub(super) fn versions(&self, package: &str) -> Result<Vec<String>, LabError> {
        let what = format!("asking for the versions of {package}");
        let table = output(&what, self.apt("apt-cache").args(["madison", package]))?;
        let mut versions: Vec<String> = Vec::new();
        for line in table.lines().filter(|line| line.ends_with("Packages")) {
            if let Some(version) = line.split('|').nth(1).map(str::trim)
                && !versions.iter().any(|had| had == version)
            {
                // An insertion sort by dpkg's own order: there are two or three.
                let mut at = versions.len();
                while at > 0
                    && versions
                        .get(at - 1)
                        .is_some_and(|other| newer(version, other))
                {
                    at -= 1;
                }
                versions.insert(at, version.to_owned());
            }
        }
        Ok(versions)
    }

    /// Downloads one version of some packages into a directory.
    pub(super) fn download(
        &self,
        packages: &[&str],
        version: &str,
        into: &Path,
        log: &Path,
    ) -> Result<(), LabError> {
        let wanted = packages
            .iter()
            .map(|package| format!("{package}={version}"));
        let mut command = self.apt("apt-get");
        command
            .args(["-q", "download"])
            .args(wanted)
            .current_dir(into);
        logged(
            &format!("downloading {version} of {}", packages.join(", ")),
            &mut command,
            log,
        )
    }

    /// Downloads a package and what it needs beyond what is installed; where the files lie.
    pub(super) fn download_all(&self, package: &str, log: &Path) -> Result<Vec<PathBuf>, LabError> {
        let mut command = self.apt("apt-get");
        command.args(["-q", "-y", "--download-only", "--no-install-recommends"]);
        command.args(["-t", &self.suite, "install", package]);
        logged(&format!("downloading {package}"), &mut command, log)?;
        let folder = self.directory.join("cache/archives");
        let entries =
            fs::read_dir(&folder).map_err(|error| LabError::io("read", &folder, error))?;
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
        files.sort();
        Ok(files)
    }

    fn apt(&self, name: &str) -> Command {
        let at = |part: &str| self.directory.join(part).display().to_string();
        program(
            name,
            [
                format!("-oDir::Etc::sourcelist={}", at("sources.list")),
                "-oDir::Etc::sourceparts=/dev/null".to_owned(),
                "-oDir::Etc::preferences=/dev/null".to_owned(),
                "-oDir::Etc::preferencesparts=/dev/null".to_owned(),
                format!("-oDir::State={}", at("state")),
                format!("-oDir::State::status={}", at("status")),
                format!("-oDir::Cache={}", at("cache")),
                "-oAPT::Sandbox::User=root".to_owned(),
                "-oAcquire::Languages=none".to_owned(),
            ],
        )
    }
}

/// Whether a version is newer than another, by dpkg itself.
fn newer(version: &str, than: &str) -> bool {
    let args = ["--compare-versions", version, "gt", than];
    program("dpkg", args)
        .status()
        .is_ok_and(|status| status.success())
}

/// The settings of the machine's apt that a foreign root needs, as `apt.conf` lines.
pub(super) fn carried_settings() -> Result<Vec<String>, LabError> {
    let dump = output(
        "reading apt's settings",
        &mut program("apt-config", ["dump"]),
    )?;
    Ok(dump
        .lines()
        .filter(|line| {
            let name = line.split_whitespace().next().unwrap_or_default();
            let same = |carried: &&str| carried.eq_ignore_ascii_case(name);
            CARRIED_SETTINGS.iter().any(same) && !line.ends_with(" \"\";")
        })
        .map(str::to_owned)
        .collect())
}

/// The machine's sources of the Debian archive, turned to another release; else Debian's public ones, and
/// false.
fn lines_for(suite: &str) -> Result<(Vec<String>, bool), LabError> {
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let mut sources = Vec::new();
    for path in source_files(Path::new(DIRECTORY)) {
        let text = fs::read_to_string(&path).map_err(|error| LabError::io("read", &path, error))?;
        if path
            .extension()
            .is_some_and(|extension| extension == "sources")
        {
            sources.extend(parse_deb822(&text));
        } else {
            sources.extend(text.lines().filter_map(parse_line));
        }
    }
    let keyring = Path::new(KEYRING);
    let lines = own_lines(&os_release, &sources, suite, keyring.exists());
    if !lines.is_empty() {
        return Ok((lines, true));
    }
    if keyring.exists() || install_debian_packages(&[KEYRING_PACKAGE], "the lab") {
        eprintln!("lab: no package source of this machine is Debian's: reading its public archive");
        return Ok((public_lines(suite), false));
    }
    Err(no_archive(format!(
        "and {KEYRING_PACKAGE}, with which Debian's public one could be trusted, is not installed"
    )))
}

fn no_archive(why: String) -> LabError {
    LabError::NoArchive {
        directory: DIRECTORY.to_owned(),
        why,
    }
}

/// Nothing on a machine that is not Debian: its suites have other names, and its archive no Debian.
fn own_lines(os_release: &str, sources: &[Source], suite: &str, keyring: bool) -> Vec<String> {
    match codename(os_release) {
        Some(codename) => turn_to(sources, codename, suite, keyring),
        None => Vec::new(),
    }
}

/// The release of Debian that os-release(5) tells; nothing for anything else.
fn codename(os_release: &str) -> Option<&str> {
    let value = |name: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"'))
    };
    value("VERSION_CODENAME").filter(|_| value("ID") == Some("debian"))
}

fn public_lines(suite: &str) -> Vec<String> {
    PUBLIC
        .iter()
        .map(|(uri, ending)| format!("deb [signed-by={KEYRING}] {uri} {suite}{ending} main"))
        .collect()
}

fn source_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = vec![directory.join("sources.list")];
    if let Ok(entries) = fs::read_dir(directory.join("sources.list.d")) {
        files.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    files.retain(|path| {
        let kind = path.extension().and_then(|extension| extension.to_str());
        path.is_file() && matches!(kind, Some("list" | "sources"))
    });
    files.sort();
    files
}

fn turn_to(sources: &[Source], codename: &str, suite: &str, keyring: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for source in sources {
        let Some(ending) = source.suite.strip_prefix(codename) else {
            continue;
        };
        // Others publish suites of the same name; Debian's are signed by Debian's keys.
        let debians = source
            .signed_by
            .as_ref()
            .is_none_or(|by| by.contains("debian-archive"));
        let has_main = source
            .components
            .iter()
            .any(|component| component == "main");
        if SUITE_ENDINGS.contains(&ending) && debians && has_main {
            let by = if keyring {
                Some(KEYRING)
            } else {
                source.signed_by.as_deref()
            };
            let options = by.map_or_else(String::new, |by| format!("[signed-by={by}] "));
            let line = format!("deb {options}{} {suite}{ending} main", source.uri);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines
}

/// One line of sources.list(5), "one-line-style format".
fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let mut rest = line
        .strip_prefix("deb")?
        .strip_prefix([' ', '\t'])?
        .trim_start();
    let mut signed_by = None;
    if let Some(options) = rest.strip_prefix('[') {
        let (options, after) = options.split_once(']')?;
        signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(str::to_owned);
        rest = after.trim_start();
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        uri: words.next()?,
        suite: words.next()?,
        components: words.collect(),
        signed_by,
    })
}

/// A file in sources.list(5), "deb822-style format".
fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for stanza in text.split("\n\n") {
        let field = |wanted: &str| -> Vec<String> {
            let mut inside = false;
            let mut values = Vec::new();
            for line in stanza.lines().filter(|line| !line.starts_with('#')) {
                let value = if line.starts_with([' ', '\t']) {
                    line
                } else {
                    let (name, value) = line.split_once(':').unwrap_or((line, ""));
                    inside = name.eq_ignore_ascii_case(wanted);
                    value
                };
                if inside {
                    values.extend(value.split_whitespace().map(str::to_owned));
                }
            }
            values
        };
        let disabled = field("Enabled").first().is_some_and(|value| value == "no");
        if disabled || !field("Types").iter().any(|kind| kind == "deb") {
            continue;
        }
        for uri in field("URIs") {
            for suite in field("Suites") {
                sources.push(Source {
                    uri: uri.clone(),
                    suite,
                    components: field("Components"),
                    signed_by: field("Signed-By").first().cloned(),
                });
            }
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "Types: deb deb-src\n# a comment\nURIs: http://archive.example/debian\n\
        Suites: bookworm bookworm-updates bookworm-backports\nComponents: main contrib\n\
        Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
        Types: deb\nURIs: http://archive.example/debian-security\nSuites:\n bookworm-security\n\
        Components: main\n\nEnabled: no\nTypes: deb\nURIs: http://off.example\nSuites: bookworm\n\
        Components: main\n";

    #[test]
    fn both_source_formats_are_turned_to_another_release() {
        let one_line = "deb http://archive.example/debian bookworm main # trailing\n\
            deb [arch=amd64 signed-by=/k/debian-archive-x.gpg] http://archive.example/debian bookworm-updates main\n\
            deb-src http://archive.example/debian bookworm main\n\
            deb http://archive.example/debian-security bookworm-security main contrib\n";
        let expected = [
            "deb http://archive.example/debian trixie main",
            "deb [signed-by=/k/debian-archive-x.gpg] http://archive.example/debian trixie-updates main",
            "deb http://archive.example/debian-security trixie-security main",
        ];
        let sources: Vec<_> = one_line.lines().filter_map(parse_line).collect();
        assert_eq!(turn_to(&sources, "bookworm", "trixie", false), expected);

        let lines = turn_to(&parse_deb822(DEB822), "bookworm", "trixie", true);
        let suites: Vec<_> = lines
            .iter()
            .filter_map(|line| line.split(' ').nth(3))
            .collect();
        assert_eq!(suites, ["trixie", "trixie-updates", "trixie-security"]);
        assert!(lines.iter().all(|line| line.contains(KEYRING)), "{lines:?}");
    }

    #[test]
    fn archives_of_others_are_left_out() {
        let others = "deb [signed-by=/k/vendor.gpg] https://vendor.example/debian bookworm main\n\
            deb https://vendor.example/apt cloud-bookworm main\n\
            deb https://vendor.example/debian bookworm stable\n\
            deb https://vendor.example/pg bookworm-pgdg main\n";
        let sources: Vec<_> = others.lines().filter_map(parse_line).collect();
        assert_eq!(sources.len(), 4);
        assert!(turn_to(&sources, "bookworm", "trixie", true).is_empty());
    }

    #[test]
    fn ubuntus_archive_is_not_taken_for_debians() {
        let jammy = "deb http://archive.example/ubuntu jammy main restricted\n\
            deb http://archive.example/ubuntu jammy-security main restricted\n";
        let sources: Vec<_> = jammy.lines().filter_map(parse_line).collect();
        assert_eq!(sources.len(), 2);
        let ubuntu = "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=jammy\n";
        assert!(own_lines(ubuntu, &sources, "trixie", true).is_empty());
        let noble = "Types: deb\nURIs: http://archive.example/ubuntu/\nSuites: noble noble-security\n\
            Components: main universe\nSigned-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n";
        let ubuntu = "ID=ubuntu\nVERSION_CODENAME=noble\n";
        assert!(own_lines(ubuntu, &parse_deb822(noble), "trixie", true).is_empty());
        let debian = "ID=debian\nVERSION_CODENAME=\"bookworm\"\n";
        let lines = own_lines(debian, &parse_deb822(DEB822), "trixie", true);
        assert_eq!(lines.len(), 3, "{lines:?}");
    }

    #[test]
    fn the_public_archive_is_read_with_debians_keys_only() {
        let lines = public_lines("bookworm");
        assert!(lines.iter().all(|line| line.contains(KEYRING)), "{lines:?}");
        let view = View {
            directory: PathBuf::new(),
            suite: "bookworm".to_owned(),
            lines,
        };
        let line = view.release_line().unwrap();
        assert!(line.ends_with("/debian bookworm main"), "{line}");
    }
}
