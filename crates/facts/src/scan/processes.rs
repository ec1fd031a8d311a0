//! Processes that serve mail: who owns what they run, and whether it is still on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use mailkeep_model::text::printable_max;
use mailkeep_model::{
    InstalledPackage, MailProcess, MailRole, Seen, StaleFile, mail_roles_of_port,
    mail_roles_of_process,
};

use super::sockets::Sockets;
use super::{HostSection, Lacks, Sections, parse_offset};
use crate::rpm;

pub(super) fn read(
    sections: &Sections<'_>,
    about: &HostSection,
    packages: &[InstalledPackage],
    sockets: &Sockets,
    lacks: &mut Lacks,
) -> Seen<Vec<MailProcess>> {
    if lacks.has("processes") || !sections.has("processes") {
        return Seen::No;
    }
    let text = sections.text("processes");
    let boot = text
        .lines()
        .find_map(|l| l.strip_prefix("btime "))
        .and_then(|b| b.trim().parse::<i64>().ok());
    let maps = sections.text("maps");
    let maps = mapped_files(&maps);
    let ended = sections.text("ended");
    let ended: BTreeSet<u32> = ended
        .lines()
        .filter_map(|l| l.trim().parse().ok())
        .collect();
    let world = World {
        packages,
        owners: owners(sections),
        identity: identities(&sections.text("identity")),
        log: package_log(sections, about),
        offsets: offsets(&sections.text("offsets")),
        here: about.offset,
    };

    let mut processes = Vec::new();
    let mut hidden = 0_usize;
    let mut elsewhere = BTreeSet::new();
    for raw in raw_processes(&text) {
        let (executable, replaced) = clean(raw.exe);
        let path = if executable.is_empty() {
            raw.argv0
        } else {
            executable
        };
        let roles = roles(raw.pid, raw.comm, path, sockets);
        // What ended during the scan serves no mail any more, and its code could not be read.
        if roles.is_empty() || ended.contains(&raw.pid) {
            continue;
        }
        let started_at = started(raw.stat, boot, about.hertz);
        let files = maps.get(&raw.pid);
        if executable.is_empty() || files.is_none() {
            hidden += 1;
        }
        let contained = world.is_elsewhere(raw.pid, executable, replaced);
        if contained {
            elsewhere.insert(raw.comm);
        }
        let owner = |path: &str| {
            if contained { None } else { world.owner(path) }
        };
        // Of a file that is gone, an upgrade may have changed the name.
        let former_owner = |path: &str| {
            owner(path).or_else(|| {
                if contained {
                    None
                } else {
                    world.soname_owner(path)
                }
            })
        };

        let mut stale = BTreeSet::new();
        let mut used = BTreeSet::new();
        if replaced {
            stale.insert(executable);
        }
        for (path, deleted) in files.into_iter().flatten() {
            if *deleted && (*path == executable || may_be_code(path)) {
                stale.insert(path);
            }
            let of = if *deleted {
                former_owner(path)
            } else {
                owner(path)
            };
            used.extend(of.map(|(package, _)| package));
        }
        let own = owner(executable);
        used.extend(own.map(|(name, _)| name));
        let stale: Vec<StaleFile> = stale
            .into_iter()
            .map(|path| StaleFile {
                path: printable_max(path, MAX_PATH),
                package: former_owner(path).map(|(name, _)| name.into()),
                ran_version: former_owner(path)
                    .and_then(|o| world.version_at(o, raw.pid, started_at)),
            })
            .collect();
        processes.push(MailProcess {
            pid: raw.pid,
            name: printable_max(raw.comm, 64),
            roles,
            executable: printable_max(executable, MAX_PATH),
            package: own.map(|(name, _)| name.into()),
            package_version: own
                .and_then(|o| world.installed(o))
                .map(|p| p.version.clone()),
            stale: match (files, replaced) {
                (Some(_), _) => Seen::Yes(stale),
                (None, true) => Seen::Partly(stale),
                (None, false) => Seen::No,
            },
            maps: match files {
                Some(_) if !contained => Seen::Yes(used.into_iter().map(Into::into).collect()),
                _ => Seen::No,
            },
            started_at,
        });
    }
    if !elsewhere.is_empty() {
        let names = Vec::from_iter(elsewhere).join(", ");
        lacks.add(
            &format!("packages of {names}"),
            "they run in a container, whose packages are not the host's",
        );
    }
    processes.sort_by_key(|p| p.pid);
    processes.dedup_by_key(|p| p.pid);
    if hidden > 0 {
        let why = if about.root {
            "the host's kernel hides it from this root (a container?)"
        } else {
            "needs root"
        };
        lacks.add(&format!("code run by {hidden} mail processes"), why);
    }
    if about.root && hidden == 0 {
        Seen::Yes(processes)
    } else {
        if hidden == 0 {
            lacks.add("processes of other users", "needs root");
        }
        Seen::Partly(processes)
    }
}

/// Longest path kept: Linux's `PATH_MAX`.
const MAX_PATH: usize = 4096;
/// Processes read at most: a busy Dovecot has a few thousand.
const MAX_PROCESSES: usize = 20_000;

/// One block of section `processes`.
#[derive(Debug, Default, Clone, Copy)]
struct RawProcess<'a> {
    pid: u32,
    comm: &'a str,
    exe: &'a str,
    argv0: &'a str,
    stat: &'a str,
}

fn raw_processes(text: &str) -> Vec<RawProcess<'_>> {
    let mut all: Vec<RawProcess<'_>> = Vec::new();
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        if key == "pid" {
            if all.len() >= MAX_PROCESSES {
                break;
            }
            // No process has id 0: what follows an odd line is dropped below.
            all.push(RawProcess {
                pid: value.trim().parse().unwrap_or(0),
                ..RawProcess::default()
            });
            continue;
        }
        match (key, all.last_mut()) {
            ("comm", Some(last)) => last.comm = value,
            ("exe", Some(last)) => last.exe = value,
            ("argv0", Some(last)) => last.argv0 = value,
            ("stat", Some(last)) => last.stat = value,
            _ => {}
        }
    }
    all.retain(|p| p.pid != 0);
    all
}

/// What it does by its name and by the mail ports it holds. Process 1 holds sockets for others.
fn roles(pid: u32, comm: &str, path: &str, sockets: &Sockets) -> Vec<MailRole> {
    let mut roles: BTreeSet<MailRole> = mail_roles_of_process(comm, path).iter().copied().collect();
    if pid != 1 {
        for port in sockets.ports_of.get(&pid).into_iter().flatten() {
            roles.extend(mail_roles_of_port(*port));
        }
    }
    roles.into_iter().collect()
}

/// When a process started: field 22 of `/proc/PID/stat`, in ticks since boot.
fn started(stat: &str, boot: Option<i64>, hertz: i64) -> Option<Timestamp> {
    // The second field may hold anything, but ends with the last `)`.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: i64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let seconds = boot?.checked_add(ticks / hertz)?;
    Timestamp::from_second(seconds).ok()
}

/// Path, and whether it is gone. Takes off what the kernel adds to a deleted file's name, and the
/// names that dpkg and rpm give a file while they replace it.
fn clean(path: &str) -> (&str, bool) {
    let (path, deleted) = match path.strip_suffix(" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let mut plain = path;
    for suffix in [".dpkg-new", ".dpkg-tmp"] {
        plain = plain.strip_suffix(suffix).unwrap_or(plain);
    }
    if let Some((before, hash)) = plain.rsplit_once(';')
        && hash.len() == 8
        && hash.bytes().all(|b| b.is_ascii_hexdigit())
    {
        plain = before;
    }
    (plain, deleted)
}

/// Deleted mappings of these are no replaced code: memory files, shared memory, just-in-time
/// compilers' scratch files.
fn may_be_code(path: &str) -> bool {
    ![
        "/memfd:",
        "/dev/",
        "/SYSV",
        "/tmp/",
        "/var/tmp/",
        "/run/",
        "/anon_hugepage",
        "/[",
    ]
    .iter()
    .any(|p| path.starts_with(p))
}

/// Files mapped for execution by each process, from lines `/proc/PID/maps:RANGE PERMS OFFSET DEVICE
/// INODE PATH`.
fn mapped_files(text: &str) -> BTreeMap<u32, BTreeSet<(&str, bool)>> {
    let mut maps: BTreeMap<u32, BTreeSet<(&str, bool)>> = BTreeMap::new();
    for line in text.lines() {
        let Some((pid, mapping)) = line
            .strip_prefix("/proc/")
            .and_then(|l| l.split_once("/maps:"))
        else {
            continue;
        };
        let Ok(pid) = pid.parse() else { continue };
        let mut rest = mapping;
        for _ in 0..5 {
            rest = rest
                .split_once(' ')
                .map_or("", |(_, tail)| tail.trim_start());
        }
        if rest.starts_with('/') {
            maps.entry(pid).or_default().insert(clean(rest));
        }
    }
    maps
}

/// What is known besides the processes themselves.
struct World<'a> {
    packages: &'a [InstalledPackage],
    owners: BTreeMap<String, (String, String)>,
    identity: BTreeMap<String, String>,
    log: Vec<LogEntry>,
    offsets: BTreeMap<u32, i32>,
    here: Option<i32>,
}

/// A package: name and architecture; the latter empty where not said.
type Owner<'a> = (&'a str, &'a str);

impl World<'_> {
    /// The package that owns a path, under either of its names where `/lib` is `/usr/lib`.
    fn owner(&self, path: &str) -> Option<Owner<'_>> {
        let other = match path.strip_prefix("/usr/") {
            Some(rest) => format!("/{rest}"),
            None => format!("/usr{path}"),
        };
        self.owners
            .get(path)
            .or_else(|| self.owners.get(&other))
            .map(|(name, arch)| (name.as_str(), arch.as_str()))
    }

    /// The package of what lies there under a library's soname now, where an upgrade changed the name
    /// of the file itself: `libx.so.3.1` is gone, the package has `libx.so.3` and `libx.so.3.2`. The
    /// longest common beginning decides; where packages share it, none.
    fn soname_owner(&self, path: &str) -> Option<Owner<'_>> {
        let (library, versions) = path.rsplit_once(".so.")?;
        let bare = library.strip_prefix("/usr").unwrap_or(library);
        let mut versions = versions;
        loop {
            let mut found = None;
            for stem in [
                format!("{bare}.so.{versions}"),
                format!("/usr{bare}.so.{versions}"),
            ] {
                let same = self
                    .owners
                    .range::<str, _>((Bound::Included(stem.as_str()), Bound::Unbounded))
                    .map_while(|(path, owner)| Some((path.strip_prefix(&stem)?, owner)))
                    .filter(|(rest, _)| rest.is_empty() || rest.starts_with('.'));
                for (_, (name, arch)) in same {
                    let owner = (name.as_str(), arch.as_str());
                    if found.is_some_and(|f| f != owner) {
                        return None;
                    }
                    found = Some(owner);
                }
            }
            if found.is_some() {
                return found;
            }
            (versions, _) = versions.rsplit_once('.')?;
        }
    }

    fn installed(&self, (name, arch): Owner<'_>) -> Option<&InstalledPackage> {
        let from = self.packages.partition_point(|p| *p.name < *name);
        let same = || {
            self.packages
                .iter()
                .skip(from)
                .take_while(|p| *p.name == *name)
        };
        same().find(|p| *p.arch == *arch).or_else(|| same().next())
    }

    /// Whether the process's executable is not the host's file of that path: it lives in a container,
    /// or behind another mount.
    fn is_elsewhere(&self, pid: u32, executable: &str, replaced: bool) -> bool {
        let runs = self.identity.get(&format!("/proc/{pid}/exe"));
        !replaced
            && !executable.is_empty()
            && runs.is_some()
            && runs != self.identity.get(executable)
    }

    /// The version of a package when a process started, by the package manager's log: the one that was
    /// replaced after that, else the one installed last before.
    fn version_at(
        &self,
        (name, arch): Owner<'_>,
        pid: u32,
        started_at: Option<Timestamp>,
    ) -> Option<Box<str>> {
        let started_at = started_at?;
        let offset = self.offsets.get(&pid).copied().or(self.here);
        let local = offset
            .and_then(|o| Offset::from_seconds(o).ok())
            .map(|o| o.to_datetime(started_at));
        let mut before = None;
        for entry in &self.log {
            if entry.name != name || !(arch.is_empty() || entry.arch == arch || entry.arch == "all")
            {
                continue;
            }
            let earlier = match entry.at {
                At::Local(at) => at <= local?,
                At::Absolute(at) => at <= started_at,
            };
            match &entry.change {
                Change::Came(new) | Change::Replaced { new, .. } | Change::Updated(new)
                    if earlier =>
                {
                    before = Some(new);
                }
                Change::Went(_) if earlier => {}
                // Logged in two lines, or without the version before: the next may tell it.
                Change::Updated(_) => {}
                Change::Came(_) => break,
                Change::Went(old) | Change::Replaced { old, .. } => {
                    return Some(old.as_str().into());
                }
            }
        }
        before.map(|version| version.as_str().into())
    }
}

/// One package in a package manager's log.
struct LogEntry {
    at: At,
    name: String,
    arch: String,
    change: Change,
}

/// When: a log has local time, or an offset from UTC.
#[derive(Clone, Copy)]
enum At {
    Local(DateTime),
    Absolute(Timestamp),
}

/// What happened to a package, with its versions.
enum Change {
    /// It was not there before.
    Came(String),
    /// One version took the place of another.
    Replaced { old: String, new: String },
    /// One version took the place of another that this line does not name.
    Updated(String),
    /// This version left, for another or for good.
    Went(String),
}

/// A name or version fit to be kept and shown.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The logs of dpkg, dnf and yum, oldest entry first.
fn package_log(sections: &Sections<'_>, about: &HostSection) -> Vec<LogEntry> {
    let mut log: Vec<LogEntry> = sections
        .text("dpkg-log")
        .lines()
        .filter_map(dpkg_log_entry)
        .collect();
    let here = Offset::from_seconds(about.offset.unwrap_or(0)).unwrap_or(Offset::UTC);
    for (changed, text) in sections.all("rpm-log") {
        let changed = changed.trim().parse().ok().or(about.now);
        // The clock may have been put back an hour since.
        let limit = changed
            .and_then(|second| Timestamp::from_second(second.saturating_add(7200)).ok())
            .map(|at| here.to_datetime(at));
        rpm_log_entries(&text, limit, &mut log);
    }
    log.sort_by_key(|e| match e.at {
        At::Local(at) => at,
        At::Absolute(at) => here.to_datetime(at),
    });
    log
}

/// An `install` or `upgrade` line of dpkg.log: `DATE TIME ACTION PACKAGE:ARCH OLD NEW`, in local time.
fn dpkg_log_entry(line: &str) -> Option<LogEntry> {
    let mut words = line.split_ascii_whitespace();
    let at = format!("{}T{}", words.next()?, words.next()?);
    if !matches!(words.next()?, "install" | "upgrade") {
        return None;
    }
    let (name, arch) = words.next()?.split_once(':')?;
    let (old, new) = (words.next()?, words.next()?);
    if ![name, old, new].into_iter().all(is_word) {
        return None;
    }
    let (old, new) = (old.to_owned(), new.to_owned());
    Some(LogEntry {
        at: At::Local(at.parse().ok()?),
        name: name.to_owned(),
        arch: arch.to_owned(),
        change: if old == "<none>" {
            Change::Came(new)
        } else {
            Change::Replaced { old, new }
        },
    })
}

/// Lines of dnf.rpm.log, `TIME LEVEL ACTION: NAME-[EPOCH:]VERSION-RELEASE.ARCH`, and of yum.log,
/// `MONTH DAY TIME ACTION: [EPOCH:]NAME-VERSION-RELEASE.ARCH`, in local time. The latter has no year:
/// its lines are in order, and none is later than `limit`.
fn rpm_log_entries(text: &str, limit: Option<DateTime>, log: &mut Vec<LogEntry>) {
    let mut limit = limit;
    for line in text.lines().rev() {
        let Some((head, package)) = line.trim_end().rsplit_once(": ") else {
            continue;
        };
        let Some((when, action)) = head.rsplit_once(' ') else {
            continue;
        };
        let first = when.split_ascii_whitespace().next().unwrap_or_default();
        let at = if let Ok(at) = first.parse() {
            At::Absolute(at)
        } else if let Some(at) = limit.and_then(|limit| last_before(when, limit)) {
            limit = Some(at);
            At::Local(at)
        } else {
            continue;
        };
        let Some((name, version, arch)) = logged_package(package.trim()) else {
            continue;
        };
        let change = match action {
            "Installed" | "Install" => Change::Came(version),
            "Upgrade" | "Update" | "Updated" | "Downgrade" | "Reinstall" => {
                Change::Updated(version)
            }
            "Upgraded" | "Downgraded" | "Reinstalled" | "Obsoleted" | "Erase" | "Erased" => {
                Change::Went(version)
            }
            _ => continue,
        };
        log.push(LogEntry {
            at,
            name,
            arch,
            change,
        });
    }
}

/// The last time not after `limit` that reads `Nov  1 10:15:01`.
fn last_before(text: &str, limit: DateTime) -> Option<DateTime> {
    // Eight: so far apart two 29ths of February may be.
    (0..=8).find_map(|back| {
        let text = format!("{} {text}", limit.year().checked_sub(back)?);
        let at = DateTime::strptime("%Y %b %d %H:%M:%S", text).ok()?;
        (at <= limit).then_some(at)
    })
}

/// Name, `[epoch:]version-release` and architecture.
fn logged_package(text: &str) -> Option<(String, String, String)> {
    let is_epoch = |e: &str| !e.is_empty() && e.bytes().all(|b| b.is_ascii_digit());
    let (epoch, nevra) = text
        .split_once(':')
        .filter(|(epoch, _)| is_epoch(epoch))
        .unwrap_or(("", text));
    let package = rpm::from_nevra(nevra).ok().flatten()?;
    let version = rpm::with_epoch(epoch, &package.version);
    is_word(&version).then(|| (package.name.into(), version, package.arch.into()))
}

fn offsets(text: &str) -> BTreeMap<u32, i32> {
    text.lines()
        .filter_map(|l| l.split_once(' '))
        .filter_map(|(pid, offset)| Some((pid.parse().ok()?, parse_offset(offset.trim())?)))
        .collect()
}

/// Lines `DEVICE:INODE PATH`.
fn identities(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|l| l.split_once(' '))
        .map(|(id, path)| (path.to_owned(), id.to_owned()))
        .collect()
}

/// Path to package: `PACKAGE[:ARCH][, PACKAGE...]: PATH` of dpkg-query(1), or `PACKAGE<tab>PATH`.
fn owners(sections: &Sections<'_>) -> BTreeMap<String, (String, String)> {
    let mut owners = BTreeMap::new();
    for (_, text) in sections.all("owners") {
        for line in text.lines() {
            let (package, path) = if let Some((package, path)) = line.split_once('\t') {
                (package, path)
            } else if let Some((packages, path)) = line.split_once(": /") {
                // `diversion by dash from: /bin/sh`: whoever diverts owns nothing by it.
                if packages.contains(' ') && !packages.contains(", ") {
                    continue;
                }
                let path = line.get(line.len() - path.len() - 1..).unwrap_or_default();
                (packages.split(", ").next().unwrap_or_default(), path)
            } else {
                continue;
            };
            let (name, arch) = package.split_once(':').unwrap_or((package, ""));
            if is_word(name) {
                owners.insert(path.to_owned(), (name.to_owned(), arch.to_owned()));
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(log: &str, owners: BTreeMap<String, (String, String)>) -> World<'static> {
        let report = format!("MAILKEEP-FACTS 1 n\n\n{log}\n=n end\n");
        let about = HostSection {
            offset: Some(7200),
            ..HostSection::default()
        };
        World {
            packages: &[],
            owners,
            identity: BTreeMap::new(),
            log: package_log(&Sections::split(report.as_bytes()).unwrap(), &about),
            offsets: BTreeMap::from([(7, 3600)]),
            here: about.offset,
        }
    }

    /// The version that a process ran which started then, by a log.
    fn ran(log: &str, package: &str, started: &str) -> Option<String> {
        world(log, BTreeMap::new())
            .version_at((package, ""), 7, Some(started.parse().unwrap()))
            .map(String::from)
    }

    #[test]
    fn dnf_logs_the_version_that_left_in_a_line_of_its_own() {
        let log = "=n rpm-log 1795297056\n\
            2026-02-01T09:00:00+0000 SUBDEBUG Installed: openssl-libs-1:3.0.7-24.el9.x86_64\n\
            2026-03-01T10:15:00+0100 SUBDEBUG Upgrade: openssl-libs-1:3.0.7-27.el9.x86_64\n\
            2026-03-01T10:15:01+0100 SUBDEBUG Upgraded: openssl-libs-1:3.0.7-24.el9.x86_64\n\
            2026-03-01T10:15:01+0100 INFO --- logging initialized ---\n\
            2026-05-01T10:15:00Z SUBDEBUG Upgrade: openssl-libs-1:3.0.7-28.el9.x86_64\n\
            2026-05-01T10:15:02Z SUBDEBUG Upgraded: openssl-libs-1:3.0.7-27.el9.x86_64\n";
        let at = |time| ran(log, "openssl-libs", time);
        for (time, version) in [
            ("2026-01-01T00:00:00Z", None),
            ("2026-02-20T00:00:00Z", Some("1:3.0.7-24.el9")),
            ("2026-03-01T09:14:59Z", Some("1:3.0.7-24.el9")),
            ("2026-03-01T09:16:00Z", Some("1:3.0.7-27.el9")),
            ("2026-06-01T00:00:00Z", Some("1:3.0.7-28.el9")),
        ] {
            assert_eq!(at(time).as_deref(), version, "{time}");
        }
        assert_eq!(ran(log, "openssl", "2026-02-20T00:00:00Z"), None);
        let cut = log.split_once("Installed").map_or("", |(_, rest)| rest);
        let cut = format!("=n rpm-log 1795297056\n{cut}");
        assert_eq!(
            ran(&cut, "openssl-libs", "2026-01-01T00:00:00Z").as_deref(),
            Some("1:3.0.7-24.el9"),
            "a log that begins later still tells what was replaced"
        );
    }

    #[test]
    fn yum_logs_no_year_and_what_came_only() {
        // Last changed on 2026-02-01; the first lines are of the year before.
        let log = "=n rpm-log 1769940000\n\
            Oct 03 10:00:00 Installed: postfix-2.10.1-7.el7.x86_64\n\
            Dec 24 10:00:00 Updated: 2:postfix-2.10.1-9.el7.x86_64\n\
            Feb  1 10:00:00 Updated: 2:postfix-2.10.1-10.el7.x86_64\n";
        for (time, version) in [
            ("2025-11-01T00:00:00Z", Some("2.10.1-7.el7")),
            ("2026-01-01T00:00:00Z", Some("2:2.10.1-9.el7")),
            ("2026-02-02T00:00:00Z", Some("2:2.10.1-10.el7")),
            ("2025-10-01T00:00:00Z", None),
        ] {
            assert_eq!(ran(log, "postfix", time).as_deref(), version, "{time}");
        }
    }

    #[test]
    fn a_library_whose_file_name_changed_belongs_to_the_owner_of_its_soname() {
        let lib = "/usr/lib/x86_64-linux-gnu";
        let owners = [
            ("/lib/x86_64-linux-gnu/libgnutls.so.30", "libgnutls30t64"),
            (
                "/usr/lib/x86_64-linux-gnu/libgnutls.so.30.34.4",
                "libgnutls30t64",
            ),
            ("/usr/lib/x86_64-linux-gnu/libgnutls.so.300", "other"),
            ("/usr/lib64/libcrypto.so.1.1", "openssl-libs"),
            ("/usr/lib64/libcrypto.so.1.1.1w", "openssl-libs"),
            ("/usr/lib64/libcrypto.so.1.0.2o", "compat-openssl10"),
            ("/usr/lib64/libz.so.1.2", "zlib"),
            ("/usr/lib64/libz.so.1.3", "zlib-ng-compat"),
        ]
        .map(|(path, name)| (path.to_owned(), (name.to_owned(), String::new())));
        let world = world("", BTreeMap::from(owners));
        for (path, owner) in [
            (
                format!("{lib}/libgnutls.so.30.34.3"),
                Some("libgnutls30t64"),
            ),
            (format!("{lib}/libgnutls.so.3"), None),
            (
                "/usr/lib64/libcrypto.so.1.1.1k".to_owned(),
                Some("openssl-libs"),
            ),
            // Several have it: none is guessed.
            ("/usr/lib64/libcrypto.so.1.2".to_owned(), None),
            ("/lib64/libz.so.1.1".to_owned(), None),
            ("/usr/lib/dovecot/libdovecot.so".to_owned(), None),
            (format!("{lib}/libnone.so.1.2"), None),
        ] {
            let found = world.soname_owner(&path).map(|(name, _)| name);
            assert_eq!(found, owner, "{path}");
        }
    }

    #[test]
    fn a_deleted_file_loses_what_kernel_and_package_managers_add() {
        for (raw, path, deleted) in [
            ("/usr/sbin/exim4", "/usr/sbin/exim4", false),
            ("/usr/sbin/exim4 (deleted)", "/usr/sbin/exim4", true),
            ("/usr/lib/x.so.dpkg-new (deleted)", "/usr/lib/x.so", true),
            (
                "/usr/lib64/x.so;6a1b2c3d (deleted)",
                "/usr/lib64/x.so",
                true,
            ),
            ("/opt/a b", "/opt/a b", false),
        ] {
            assert_eq!(clean(raw), (path, deleted));
        }
    }

    #[test]
    fn a_process_starts_where_its_stat_says_whatever_its_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194624 3153 0 2 0 12 0 0 0 20 0 1 0 222011 3 4";
        assert_eq!(
            started(stat, Some(1000), 100).map(Timestamp::as_second),
            Some(1000 + 2220)
        );
        assert_eq!(started("", Some(1), 100), None);
        assert_eq!(started("1 (x) S", Some(i64::MAX), 100), None);
    }

    #[test]
    fn the_log_tells_what_was_installed_when_a_process_started() {
        let world = world(
            "=n dpkg-log\n\
             2026-03-01 10:00:00 upgrade exim4-daemon-light:amd64 4.96-1 4.96-2\n\
             2026-05-01 10:00:00 upgrade exim4-daemon-light:amd64 4.96-2 4.96-3\n\
             2026-05-01 10:00:00 status installed exim4-daemon-light:amd64 4.96-3\n",
            BTreeMap::new(),
        );
        let at = |time: &str| {
            world
                .version_at(("exim4-daemon-light", ""), 7, Some(time.parse().unwrap()))
                .map(String::from)
        };
        assert_eq!(at("2026-02-01T00:00:00Z").as_deref(), Some("4.96-1"));
        assert_eq!(at("2026-03-01T08:59:59Z").as_deref(), Some("4.96-1"));
        assert_eq!(at("2026-03-01T09:00:02Z").as_deref(), Some("4.96-2"));
        assert_eq!(at("2026-06-01T00:00:00Z").as_deref(), Some("4.96-3"));
        assert_eq!(
            world.version_at(("dovecot-core", ""), 7, "2026-02-01T00:00:00Z".parse().ok()),
            None
        );
    }
}
