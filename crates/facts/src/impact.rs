//! What applying packages would change on a host: the script that simulates it there, and the reader
//! of what it reports.
//!
//! Entry: [`SCRIPT`], fed to `sh -s -- NONCE PACKAGE=VERSION...` on the host, and [`parse_impact`].
//! Debian and its kin only; elsewhere the report says what it lacks.

use mailkeep_model::Limitation;
use mailkeep_model::text::printable_max;

use crate::scan::{GarbageOutput, Lacks, Sections};

/// The script: POSIX sh, changes nothing, needs no root (without it a conffile that only root can
/// read counts as not seen). It downloads the candidates: some megabytes.
pub const SCRIPT: &str = include_str!("impact/impact.sh");

/// Most lines kept of any list a host sends; the largest upgrades of a release have some 2,000.
const MAX_LINES: usize = 2000;

/// What one report brought. Everything is printable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImpactReport {
    /// Packages that would be installed or upgraded.
    pub installs: Vec<SimulatedInstall>,
    /// Packages that would be removed, with their version.
    pub removes: Vec<(String, String)>,
    /// Why the package manager would refuse.
    pub refusals: Vec<String>,
    /// Packages an administrator has put on hold.
    pub held: Vec<String>,
    /// What was learnt of each candidate.
    pub packages: Vec<OfferedPackage>,
    /// What could not be seen.
    pub limitations: Vec<Limitation>,
}

/// A package in a simulated run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedInstall {
    /// Binary package.
    pub name: String,
    /// Installed version; `None` is a package that would be new.
    pub from: Option<String>,
    /// Version to be installed.
    pub to: String,
}

/// What was learnt of one candidate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OfferedPackage {
    /// Binary package.
    pub name: String,
    /// Installed version, where it is installed.
    pub installed: Option<String>,
    /// Version offered.
    pub offered: String,
    /// Changelog entries newer than the installed version.
    pub changelog: Vec<ChangeEntry>,
    /// The same of NEWS.Debian: what asks for somebody's attention.
    pub news: Vec<ChangeEntry>,
    /// Its configuration files.
    pub conffiles: Vec<Conffile>,
    /// Services its maintainer scripts start, stop or restart: script and service.
    pub service_actions: Vec<ServiceAction>,
}

/// One entry of a changelog (deb-changelog(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeEntry {
    /// Version of the source package.
    pub version: String,
    /// Its text, line by line, without the heading and the signature.
    pub lines: Vec<String>,
}

/// A configuration file of a package and its three states; a digest is `None` where the file is not
/// there or could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conffile {
    /// Path.
    pub path: String,
    /// MD5 of the candidate's.
    pub offered: Option<String>,
    /// MD5 of what lies on the disk.
    pub on_disk: Option<String>,
    /// MD5 of what the installed package came with.
    pub shipped: Option<String>,
    /// Kept by ucf(1): the candidate's version is not known before it is installed.
    pub by_ucf: bool,
}

impl Conffile {
    /// Whether somebody changed it here.
    pub fn is_changed_here(&self) -> bool {
        match (&self.on_disk, &self.shipped) {
            (Some(on_disk), Some(shipped)) => on_disk != shipped,
            // Deleted by hand: dpkg keeps it deleted, and asks where the new one differs.
            (None, Some(_)) => !self.by_ucf,
            (_, None) => false,
        }
    }

    /// Whether the package manager would ask which version to keep: changed here, and changed by the
    /// candidate, too, to something else. `None` where the candidate's version is not known.
    pub fn conflicts(&self) -> Option<bool> {
        if !self.is_changed_here() {
            return Some(false);
        }
        let offered = self.offered.as_ref()?;
        Some(Some(offered) != self.shipped.as_ref() && Some(offered) != self.on_disk.as_ref())
    }
}

/// A line of a maintainer script that acts on a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceAction {
    /// `postinst`, `prerm`...
    pub script: String,
    /// `start`, `stop`, `restart`, `reload`.
    pub action: String,
    /// Service or unit.
    pub service: String,
}

/// Reads a report; text before it is skipped.
pub fn parse_impact(report: &[u8]) -> Result<ImpactReport, GarbageOutput> {
    let sections = Sections::split(report)?;
    let mut found = ImpactReport {
        limitations: Lacks::from(&sections).sorted(),
        ..ImpactReport::default()
    };
    for line in sections.text("simulate").lines().take(MAX_LINES) {
        simulated(line, &mut found);
    }
    found.held = sections
        .text("held")
        .lines()
        .take(MAX_LINES)
        .filter(|line| !line.trim().is_empty())
        .map(|line| printable_max(line.trim(), 255))
        .collect();
    for (wanted, text) in sections.all("package").take(MAX_LINES) {
        let Some((name, offered)) = wanted.split_once('=') else {
            continue;
        };
        let installed = text.lines().find(|line| !line.trim().is_empty());
        found.packages.push(OfferedPackage {
            name: printable_max(name, 255),
            installed: installed.map(|version| printable_max(version.trim(), 255)),
            offered: printable_max(offered, 255),
            ..OfferedPackage::default()
        });
    }
    for package in &mut found.packages {
        let installed = package.installed.clone();
        let own = |arguments: &str| arguments.split(' ').next() == Some(&*package.name);
        for (_, text) in sections.all("changelog").filter(|(a, _)| own(a)) {
            package.changelog = entries_newer_than(&text, installed.as_deref());
        }
        for (_, text) in sections.all("news").filter(|(a, _)| own(a)) {
            package.news = entries_newer_than(&text, installed.as_deref());
        }
        for (_, text) in sections.all("conffiles").filter(|(a, _)| own(a)) {
            package
                .conffiles
                .extend(text.lines().take(MAX_LINES).filter_map(conffile));
        }
        let plain = package
            .name
            .split(':')
            .next()
            .unwrap_or_default()
            .to_owned();
        for line in sections.text("ucf").lines().take(MAX_LINES) {
            package.conffiles.extend(ucf_file(line, &plain));
        }
        for (arguments, text) in sections.all("script").filter(|(a, _)| own(a)) {
            let script = arguments.split(' ').nth(1).unwrap_or_default();
            service_actions(script, &text, &mut package.service_actions);
        }
        package.service_actions.sort();
        package.service_actions.dedup();
    }
    Ok(found)
}

/// Fuzz entry: any bytes.
pub fn fuzz(input: &[u8]) {
    if let Ok(report) = parse_impact(input) {
        for file in report.packages.iter().flat_map(|p| &p.conffiles) {
            debug_assert!(file.conflicts() != Some(true) || file.is_changed_here());
        }
    }
}

/// `Inst NAME [FROM] (TO ORIGIN...)`, `Remv NAME [VERSION]`, `E: ...` of `apt-get -s`.
fn simulated(line: &str, found: &mut ImpactReport) {
    if let Some(refusal) = line.strip_prefix("E:") {
        found.refusals.push(printable_max(refusal.trim(), 300));
        return;
    }
    let mut words = line.split_ascii_whitespace();
    let verb = words.next().unwrap_or_default();
    let Some(name) = words.next() else { return };
    let bracketed = |open: char, close: char| {
        let (_, rest) = line.split_once(open)?;
        let inside = rest.split(close).next()?;
        let first = inside.split_ascii_whitespace().next()?;
        Some(printable_max(first, 255))
    };
    match verb {
        "Inst" => {
            // `Inst a (1 Debian:12 [amd64])`: the bracket of the architecture is no version.
            let before = line.split('(').next().unwrap_or_default();
            let from = before
                .split_once('[')
                .and_then(|(_, rest)| rest.split(']').next())
                .map(|version| printable_max(version, 255));
            if let Some(to) = bracketed('(', ')') {
                found.installs.push(SimulatedInstall {
                    name: printable_max(name, 255),
                    from,
                    to,
                });
            }
        }
        "Remv" => {
            let version = bracketed('[', ']').unwrap_or_default();
            found.removes.push((printable_max(name, 255), version));
        }
        _ => {}
    }
}

/// `OFFERED|ON DISK|SHIPPED|PATH`.
fn conffile(line: &str) -> Option<Conffile> {
    let mut parts = line.splitn(4, '|');
    let (offered, on_disk, shipped) = (parts.next()?, parts.next()?, parts.next()?);
    let path = parts.next()?;
    Some(Conffile {
        path: printable_max(path, 1000),
        offered: digest(offered),
        on_disk: digest(on_disk),
        shipped: digest(shipped),
        by_ucf: false,
    })
}

/// `PACKAGE|ON DISK|SHIPPED|PATH`.
fn ucf_file(line: &str, package: &str) -> Option<Conffile> {
    let mut parts = line.splitn(4, '|');
    if parts.next()? != package {
        return None;
    }
    let (on_disk, shipped, path) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Conffile {
        path: printable_max(path, 1000),
        offered: None,
        on_disk: digest(on_disk),
        shipped: digest(shipped),
        by_ucf: true,
    })
}

fn digest(text: &str) -> Option<String> {
    let is_md5 = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_md5.then(|| text.to_ascii_lowercase())
}

/// Entries down to, and without, the one of the installed version; of a package that is not installed
/// only the newest. A binary rebuild (`+b1`) has its source's entries.
fn entries_newer_than(text: &str, installed: Option<&str>) -> Vec<ChangeEntry> {
    let rebuilt_from = installed.map(|version| match version.rsplit_once("+b") {
        Some((source, build)) if build.bytes().all(|b| b.is_ascii_digit()) => source,
        _ => version,
    });
    let mut entries: Vec<ChangeEntry> = Vec::new();
    for line in text.lines() {
        if let Some(version) = heading(line) {
            if Some(version) == rebuilt_from || (installed.is_none() && !entries.is_empty()) {
                break;
            }
            if entries.len() >= MAX_LINES {
                break;
            }
            entries.push(ChangeEntry {
                version: printable_max(version, 255),
                lines: Vec::new(),
            });
        } else if let Some(entry) = entries.last_mut()
            && !line.trim().is_empty()
            && !line.starts_with(" -- ")
            && entry.lines.len() < MAX_LINES
        {
            entry.lines.push(printable_max(line.trim_end(), 500));
        }
    }
    entries
}

/// The version in `NAME (VERSION) DISTRIBUTIONS; ...`.
fn heading(line: &str) -> Option<&str> {
    if line.starts_with(char::is_whitespace) {
        return None;
    }
    let (name, rest) = line.split_once(" (")?;
    let (version, rest) = rest.split_once(')')?;
    (!name.contains(' ') && rest.contains(';')).then_some(version)
}

/// Lines by which maintainer scripts act on services: `invoke-rc.d NAME ACTION`, `deb-systemd-invoke
/// ACTION UNIT...`, `systemctl ACTION UNIT...`, `service NAME ACTION`, `/etc/init.d/NAME ACTION`.
fn service_actions(script: &str, text: &str, found: &mut Vec<ServiceAction>) {
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line
            .split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '`'))
            .map(|word| word.trim_matches(['"', '\'']))
            .filter(|word| !word.is_empty() && !word.starts_with('-'))
            .collect();
        for (at, word) in words.iter().enumerate() {
            let rest = words.get(at + 1..).unwrap_or_default();
            let (action, services): (&str, &[&str]) = match (*word, rest) {
                ("invoke-rc.d" | "service", [name, action, ..]) => {
                    (action, std::slice::from_ref(name))
                }
                ("deb-systemd-invoke" | "systemctl", [action, units @ ..]) => (action, units),
                (path, [action, ..]) if path.starts_with("/etc/init.d/") => {
                    (action, std::slice::from_ref(word))
                }
                _ => continue,
            };
            // debhelper's snippets choose the action at run time: `$_dh_action`.
            let action = match action {
                "start" | "stop" | "restart" | "reload" | "try-restart" => action,
                "$_dh_action" | "${_dh_action}" => "restart",
                _ => continue,
            };
            for service in services.iter().filter(|s| is_service(s)).take(20) {
                let service = service.trim_start_matches("/etc/init.d/");
                found.push(ServiceAction {
                    script: printable_max(script, 40),
                    action: action.to_owned(),
                    service: printable_max(service.trim_end_matches(".service"), 100),
                });
            }
        }
    }
}

fn is_service(word: &str) -> bool {
    word.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.@/\\".contains(&b))
        && !matches!(word, "true" | "exit" | "then" | "fi" | "/dev/null")
        && !word.starts_with("/dev/")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REPORT: &str = "motd\nMAILKEEP-FACTS 1 n0\n\
\n=n0 simulate\n\
Inst exim4-base [4.96-15] (4.96-15+deb12u7 Debian-Security:12/stable [amd64])\n\
Inst libnew (1.0-1 Debian:12/stable [amd64])\n\
Remv oldthing [2.0-1]\n\
Conf exim4-base (4.96-15+deb12u7 Debian-Security:12/stable [amd64])\n\
\n=n0 held\nexim4-base\n\
\n=n0 ucf\nexim4-config|11111111111111111111111111111111|22222222222222222222222222222222|/etc/exim4/passwd.client\n\
\n=n0 package exim4-base=4.96-15+deb12u7\n4.96-15+b2\n\
\n=n0 conffiles exim4-base\n\
00000000000000000000000000000001|00000000000000000000000000000002|00000000000000000000000000000003|/etc/cron.daily/exim4-base\n\
00000000000000000000000000000001|00000000000000000000000000000003|00000000000000000000000000000003|/etc/logrotate.d/exim4-base\n\
00000000000000000000000000000003|00000000000000000000000000000002|00000000000000000000000000000003|/etc/logrotate.d/exim4-paniclog\n\
\n=n0 script exim4-base postinst\n\
#!/bin/sh\n# invoke-rc.d nothing restart\n\
if [ -x /etc/init.d/exim4 ]; then\n\tinvoke-rc.d exim4 restart || exit $?\nfi\n\
\tdeb-systemd-invoke $_dh_action 'exim4-base.timer' 'exim4.service' >/dev/null || true\n\
\n=n0 changelog exim4-base\n\
exim4 (4.96-15+deb12u7) bookworm-security; urgency=high\n\n  * Fix CVE-2025-30232.\n\n -- A <a@example.org>  Mon, 01 Jan 2025 00:00:00 +0000\n\n\
exim4 (4.96-15+deb12u1) bookworm; urgency=medium\n\n  * Fix CVE-2023-42115.\n\n -- A <a@example.org>  Mon, 01 Jan 2024 00:00:00 +0000\n\n\
exim4 (4.96-15) unstable; urgency=medium\n\n  * Old.\n\
\n=n0 end\n";

    #[test]
    fn a_report_tells_what_would_change() {
        let report = parse_impact(REPORT.as_bytes()).unwrap();
        assert_eq!(report.installs.len(), 2);
        assert_eq!(report.installs[0].from.as_deref(), Some("4.96-15"));
        assert_eq!(report.installs[0].to, "4.96-15+deb12u7");
        assert_eq!(report.installs[1].from, None);
        assert_eq!(
            report.removes,
            [("oldthing".to_owned(), "2.0-1".to_owned())]
        );
        assert_eq!(report.held, ["exim4-base"]);
        let package = &report.packages[0];
        assert_eq!(package.installed.as_deref(), Some("4.96-15+b2"));
        let versions: Vec<&str> = package.changelog.iter().map(|e| &*e.version).collect();
        assert_eq!(versions, ["4.96-15+deb12u7", "4.96-15+deb12u1"]);
        assert_eq!(package.changelog[0].lines, ["  * Fix CVE-2025-30232."]);
    }

    #[test]
    fn only_a_file_changed_on_both_sides_conflicts() {
        let report = parse_impact(REPORT.as_bytes()).unwrap();
        let conflicts: Vec<Option<bool>> = report.packages[0]
            .conffiles
            .iter()
            .map(Conffile::conflicts)
            .collect();
        assert_eq!(conflicts, [Some(true), Some(false), Some(false)]);
    }

    #[test]
    fn what_ucf_would_ask_is_not_known_beforehand() {
        let file = ucf_file(
            "p|11111111111111111111111111111111|22222222222222222222222222222222|/etc/p",
            "p",
        )
        .unwrap();
        assert!(file.is_changed_here());
        assert_eq!(file.conflicts(), None);
        assert_eq!(ucf_file("q|||/etc/p", "p"), None);
    }

    #[test]
    fn maintainer_scripts_tell_which_services_they_touch() {
        let report = parse_impact(REPORT.as_bytes()).unwrap();
        let actions: Vec<String> = report.packages[0]
            .service_actions
            .iter()
            .map(|a| format!("{} {} {}", a.script, a.action, a.service))
            .collect();
        assert_eq!(
            actions,
            [
                "postinst restart exim4",
                "postinst restart exim4-base.timer"
            ]
        );
    }

    #[test]
    fn a_report_that_breaks_off_is_none() {
        let cut = REPORT.split("\n=n0 end").next().unwrap();
        assert!(matches!(
            parse_impact(cut.as_bytes()),
            Err(GarbageOutput::Truncated { .. })
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            fuzz(&bytes);
            let mut framed = b"MAILKEEP-FACTS 1 n0\n\n=n0 package a=1\n\n=n0 simulate\n".to_vec();
            framed.extend(bytes);
            framed.extend(b"\n=n0 end\n");
            fuzz(&framed);
        }
    }
}
