//! A fleet of real Debian mail hosts in namespaces of one machine.
//!
//! Entry: [`Lab`]. Each host has its own address, package database, sshd, apt and mail software, on a disk
//! of its own above an image that all hosts of its [`Family`] share. They are joined by a bridge in
//! a namespace of its own, from which nothing leads to the machine's network; the controller works
//! inside that namespace ([`Lab::controller`]).
//!
//! # Security
//!
//! Runs as root. Writes below its own directory only; makes network namespaces whose names begin with
//! `mk-` and a digest of that directory, and mounts in private mount namespaces only. Ends no process but
//! those its own pid files name, by number and start time. Hosts hold no secret but keys made for
//! them here.

mod archive;
pub(crate) mod bench;
pub(crate) mod cli;
mod command;
mod desk;
mod error;
mod family;
mod fault;
mod host;
mod image;
mod inside;
mod inventory;
mod load;
mod net;
mod pair;
mod permit;
mod process;
mod stock;
pub(crate) mod tour;
mod turn;
mod unpacked;

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

pub use self::desk::{Desk, fleet};
pub use self::error::LabError;
pub use self::family::Family;
pub use self::fault::{DpkgAtWork, Fault};
pub use self::host::Host;
pub use self::load::{Account, Load, LoadSettings};
pub use self::pair::{Pair, Pairing};
pub use self::turn::Turn;
pub use self::unpacked::unpacked;

use self::command::{output, program};
use self::host::{Place, Starting};
use self::process::Process;
use self::turn::{default_root, lock_file};

/// The environment variable that names the lab's directory; those of tests, tour and benchmark lie beside it.
pub const LAB_VARIABLE: &str = "MAILKEEP_LAB";

/// The programs of a host, for whatever is run inside.
const HOST_PATH: &str = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";

/// Longest host name: the name of its namespace must stay readable in `ip netns list`.
const MAX_NAME: usize = 20;

/// Files that tell of the hosts; they go when the hosts go.
const INVENTORY: &[&str] = &[
    "inventory.ini",
    "known_hosts",
    "mailkeep.toml",
    "ssh_config",
];

/// Which hosts `up` shall see running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// How many: `h01`, `h02`...
    pub hosts: u8,
    /// Dealt out in turn.
    pub families: Vec<Family>,
    /// Dealt out in turn, at most four.
    pub regions: u8,
    /// Where the patches come from.
    pub pairing: Pairing,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            hosts: 6,
            families: Family::USUAL.to_vec(),
            regions: 3,
            pairing: Pairing::Archive,
        }
    }
}

/// A lab, by its directory.
#[derive(Debug, Clone)]
pub struct Lab {
    root: PathBuf,
    cache: PathBuf,
    /// Begins the names of its namespaces.
    tag: String,
    /// What its hosts have installed besides.
    extras: &'static [&'static str],
}

impl Lab {
    /// The lab in a directory, made if need be. Images are kept in `cache` below it.
    ///
    /// # Errors
    ///
    /// [`LabError::NotPermitted`] for anybody but root; [`LabError::BadArgument`] for a path that mount
    /// options or package sources could not carry.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, LabError> {
        permit::is_root()?;
        let root = root.as_ref();
        fs::create_dir_all(root).map_err(|error| LabError::io("create", root, error))?;
        let root = root
            .canonicalize()
            .map_err(|error| LabError::io("find", root, error))?;
        check_path(&root)?;
        Ok(Self {
            tag: format!("mk-{:08x}", digest(&root.display().to_string())),
            cache: root.join("cache"),
            extras: &[],
            root,
        })
    }

    /// The lab in `MAILKEEP_LAB`, else in `lab` below the workspace's target directory.
    pub fn open_default() -> Result<Self, LabError> {
        Self::open(default_root())
    }

    /// Keeps images elsewhere, so that labs which live side by side build them only once.
    pub fn with_cache(mut self, cache: impl AsRef<Path>) -> Result<Self, LabError> {
        let cache = cache.as_ref();
        fs::create_dir_all(cache).map_err(|error| LabError::io("create", cache, error))?;
        self.cache = cache
            .canonicalize()
            .map_err(|error| LabError::io("find", cache, error))?;
        check_path(&self.cache)?;
        Ok(self)
    }

    /// Installs further packages of the archive on every host, in images of their own.
    #[must_use]
    pub fn with_packages(mut self, extras: &'static [&'static str]) -> Self {
        self.extras = extras;
        self
    }

    /// Its directory, in which `ssh_config`, `known_hosts`, `inventory.ini` and `mailkeep.toml` lie.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Sees `h01`, `h02`... running, as many as wanted, and writes the inventory. What runs already is
    /// left alone.
    pub fn up(&self, wanted: &Wanted) -> Result<Vec<Host>, LabError> {
        let _lock = self.lock()?;
        let regions = wanted.regions;
        if wanted.families.is_empty()
            || regions == 0
            || usize::from(regions) > inventory::REGIONS.len()
        {
            let most = inventory::REGIONS.len();
            let what = format!("a lab needs a family, and one to {most} regions");
            return Err(LabError::BadArgument(what));
        }
        self.prepare(&wanted.families, wanted.pairing)?;
        let mut starting = Vec::new();
        for (index, family) in (0..wanted.hosts).zip(wanted.families.iter().cycle()) {
            let address = net::address(index % regions + 1, index / regions + 1);
            let name = format!("h{:02}", index + 1);
            starting.extend(self.begin(&name, *family, wanted.pairing, address)?);
        }
        self.finish(starting)
    }

    /// Adds one host, at the next free address of the first region.
    pub fn add(&self, name: &str, family: Family, pairing: Pairing) -> Result<Host, LabError> {
        check_name(name)?;
        let _lock = self.lock()?;
        self.prepare(&[family], pairing)?;
        let taken: Vec<Ipv4Addr> = self.hosts()?.iter().map(|host| host.address).collect();
        // From the top down, so that a later `up` with more hosts finds its own addresses free.
        let free = (1..=254).rev().map(|nth| net::address(1, nth));
        let Some(address) = free.into_iter().find(|address| !taken.contains(address)) else {
            return Err(LabError::BadArgument(
                "no address is left in the first region".to_owned(),
            ));
        };
        let starting = self.begin(name, family, pairing, address)?;
        self.finish(starting.into_iter().collect())?;
        self.host(name)
    }

    /// Every host, running or not, by name.
    pub fn hosts(&self) -> Result<Vec<Host>, LabError> {
        let mut hosts = Vec::new();
        for name in self.names()? {
            hosts.extend(self.place(&name).record()?);
        }
        Ok(hosts)
    }

    /// One host.
    pub fn host(&self, name: &str) -> Result<Host, LabError> {
        check_name(name)?;
        self.place(name)
            .record()?
            .ok_or_else(|| LabError::UnknownHost {
                name: name.to_owned(),
                root: self.root.display().to_string(),
            })
    }

    /// The first process of a host, as this machine counts; `None` when it is down.
    pub fn pid(&self, name: &str) -> Result<Option<i32>, LabError> {
        self.host(name)?;
        let launcher = self.place(name).launcher()?;
        Ok(launcher
            .and_then(|launcher| launcher.child())
            .map(|first| first.pid()))
    }

    /// Whether a host runs and has come up whole.
    pub fn is_up(&self, name: &str) -> Result<bool, LabError> {
        self.host(name)?;
        self.place(name).is_up()
    }

    /// The old and the new version of a family's mail software in this lab.
    pub fn pair(&self, family: Family) -> Result<Pair, LabError> {
        pair::read(&self.image(family, self.pairing()?).packages)
    }

    /// A command that will run as the controller: inside the bridge's namespace, where the hosts can be
    /// reached, with an `ssh` first on the path that reads this lab's `ssh_config`.
    pub fn controller(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.bridge()]).arg(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let ours = std::iter::once(self.root.join("bin")).chain(std::env::split_paths(&path));
        if let Ok(path) = std::env::join_paths(ours) {
            command.env("PATH", path);
        }
        command
    }

    /// Halts a host in order; its disk is kept.
    pub fn stop(&self, name: &str) -> Result<(), LabError> {
        self.halt(name, true)
    }

    /// Cuts a host's power; its disk is kept.
    pub fn kill(&self, name: &str) -> Result<(), LabError> {
        self.halt(name, false)
    }

    /// Starts a host again on the disk it had.
    pub fn boot(&self, name: &str) -> Result<(), LabError> {
        let host = self.host(name)?;
        let _lock = self.lock()?;
        let family = host.family.parse()?;
        let starting = self.begin(name, family, self.pairing()?, host.address)?;
        self.finish(starting.into_iter().collect()).map(drop)
    }

    /// Ends every host and removes all but the images.
    pub fn down(&self) -> Result<(), LabError> {
        let _lock = self.lock()?;
        let names = self.names()?;
        for name in &names {
            self.place(name).begin_halt()?;
        }
        for name in &names {
            let place = self.place(name);
            place.halt(name, true)?;
            place.clear()?;
        }
        self.stop_dns()?;
        for namespace in net::all()? {
            if namespace.starts_with(&format!("{}-", self.tag)) {
                net::remove(&namespace)?;
            }
        }
        for directory in ["bin", "hosts", "repository", "state"] {
            let path = self.root.join(directory);
            if path.exists() {
                fs::remove_dir_all(&path).map_err(|error| LabError::io("remove", &path, error))?;
            }
        }
        let others = ["dnsmasq.conf", "key", "key.pub", "pairing"];
        for file in INVENTORY.iter().chain(&others) {
            let path = self.root.join(file);
            if path.exists() {
                fs::remove_file(&path).map_err(|error| LabError::io("remove", &path, error))?;
            }
        }
        Ok(())
    }

    /// As [`Self::down`], and removes the images too.
    pub fn purge(&self) -> Result<(), LabError> {
        self.down()?;
        if self.cache.exists() {
            fs::remove_dir_all(&self.cache)
                .map_err(|error| LabError::io("remove", &self.cache, error))?;
        }
        Ok(())
    }

    /// Starts a host unless it runs, making it if it is new.
    fn begin(
        &self,
        name: &str,
        family: Family,
        pairing: Pairing,
        address: Ipv4Addr,
    ) -> Result<Option<Starting>, LabError> {
        let place = self.place(name);
        if place.is_up()? {
            return Ok(None);
        }
        // One that runs without being up is what an interrupted start or halt left.
        place.halt(name, false)?;
        let host = if let Some(host) = place.record()? {
            host
        } else {
            place.clear()?;
            let public = self.root.join("key.pub");
            let key = fs::read_to_string(&public)
                .map_err(|error| LabError::io("read", &public, error))?;
            place.create(name, family, address, &key)?
        };
        let image = self.image(host.family.parse()?, pairing);
        let repository = self.root.join("repository");
        place
            .start(&host, &image, &repository, &self.bridge())
            .map(Some)
    }

    /// Writes the inventory, gives the hosts their names, and waits until those started are up.
    fn finish(&self, starting: Vec<Starting>) -> Result<Vec<Host>, LabError> {
        let hosts = self.hosts()?;
        let write = |file: &str, text: String| write_whole(&self.root.join(file), &text, 0o644);
        write("inventory.ini", inventory::ansible(&hosts, &self.root))?;
        write("ssh_config", inventory::ssh_config(&hosts, &self.root))?;
        write("known_hosts", inventory::known_hosts(&hosts))?;
        write("mailkeep.toml", inventory::fleet(&hosts))?;
        write("dnsmasq.conf", inventory::dns(&hosts, net::CONTROLLER))?;
        self.write_ssh_wrapper()?;
        self.stop_dns()?;
        let pid_file = self.root.join("dnsmasq.pid");
        let mut dns = program("ip", ["netns", "exec", &self.bridge(), "dnsmasq"]);
        dns.arg(format!(
            "--conf-file={}",
            self.root.join("dnsmasq.conf").display()
        ));
        dns.arg(format!("--pid-file={}", pid_file.display()));
        output("starting the lab's name server", &mut dns)?;
        process::complete_pid_file(&pid_file)?;
        for host in starting {
            host.wait()?;
        }
        Ok(hosts)
    }

    /// `bin/ssh`: the user's `ssh` with the lab's configuration.
    fn write_ssh_wrapper(&self) -> Result<(), LabError> {
        let directory = self.root.join("bin");
        fs::create_dir_all(&directory)
            .map_err(|error| LabError::io("create", &directory, error))?;
        let path = directory.join("ssh");
        let path_variable = std::env::var_os("PATH").unwrap_or_default();
        let real = std::env::split_paths(&path_variable)
            .map(|directory| directory.join("ssh"))
            .find(|ssh| ssh.is_file() && *ssh != path)
            .unwrap_or_else(|| PathBuf::from("/usr/bin/ssh"));
        let config = self.root.join("ssh_config");
        let text = format!(
            "#!/bin/sh\nexec '{}' -F '{}' \"$@\"\n",
            real.display(),
            config.display()
        );
        write_whole(&path, &text, 0o755)
    }

    fn stop_dns(&self) -> Result<(), LabError> {
        let pid_file = self.root.join("dnsmasq.pid");
        if let Some(process) = Process::from_pid_file(&pid_file)? {
            process.signal(Signal::TERM);
            process.wait_end(Duration::from_secs(5));
        }
        match fs::remove_file(&pid_file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(LabError::io("remove", &pid_file, error))
            }
            _ => Ok(()),
        }
    }

    fn halt(&self, name: &str, orderly: bool) -> Result<(), LabError> {
        self.host(name)?;
        let _lock = self.lock()?;
        self.place(name).halt(name, orderly)
    }

    fn place(&self, name: &str) -> Place {
        Place::new(
            self.root.join("hosts").join(name),
            format!("{}-{name}", self.tag),
        )
    }

    /// The namespace of the bridge. No host can have its name: theirs hold no capital.
    fn bridge(&self) -> String {
        format!("{}-BRIDGE", self.tag)
    }

    /// The names of all host directories, even of hosts half made.
    fn names(&self) -> Result<Vec<String>, LabError> {
        let directory = self.root.join("hosts");
        if !directory.exists() {
            return Ok(Vec::new());
        }
        let entries =
            fs::read_dir(&directory).map_err(|error| LabError::io("read", &directory, error))?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| check_name(name).is_ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// One change at a time; a second waits.
    fn lock(&self) -> Result<File, LabError> {
        lock_file(&self.root.join("lock"))
    }
}

/// Writes a file whole or not at all: other threads' `ssh` may read it at this moment.
fn write_whole(path: &Path, text: &str, mode: u32) -> Result<(), LabError> {
    use std::os::unix::fs::PermissionsExt as _;
    let new = path.with_added_extension("new");
    fs::write(&new, text).map_err(|error| LabError::io("write", &new, error))?;
    fs::set_permissions(&new, fs::Permissions::from_mode(mode))
        .map_err(|error| LabError::io("open", &new, error))?;
    fs::rename(&new, path).map_err(|error| LabError::io("rename", &new, error))
}

/// Mount options, package sources and hooks carry the path unquoted.
fn check_path(path: &Path) -> Result<(), LabError> {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
    if text.chars().all(plain) {
        return Ok(());
    }
    Err(LabError::BadArgument(format!(
        "the lab's path must hold only letters, digits and /._+- (overlay mounts and package sources \
         allow no more), not {text:?}; {LAB_VARIABLE} names another"
    )))
}

/// Lower-case letters, digits and dashes, beginning with a letter: a host name, a path and a namespace
/// at once.
fn check_name(name: &str) -> Result<(), LabError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(plain)
    {
        return Ok(());
    }
    Err(LabError::BadArgument(format!(
        "{name:?} is no host name: a small letter, then small letters, digits and dashes, at most \
         {MAX_NAME} in all"
    )))
}

/// FNV-1a, 32 bits: tells the labs of one machine apart.
fn digest(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_that_could_mean_something_else_are_refused() {
        for good in ["h01", "mx-berlin", "a"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "../h01",
            "H01",
            "1h",
            "a b",
            "-n",
            "BRIDGE",
            "aaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(
                check_name(bad).unwrap_err().kind(),
                "lab-bad-argument",
                "{bad}"
            );
        }
        assert!(check_path(Path::new("/srv/lab_1.x+y-z")).is_ok());
        for bad in [
            "/srv/my lab",
            "/srv/a:b",
            "/srv/a,b",
            "/srv/$(x)",
            "/srv/a'b",
        ] {
            assert!(check_path(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_error_begins_with_its_stable_name() {
        let errors = [
            LabError::NotPermitted("needs root".to_owned()),
            LabError::BadArgument("x".to_owned()),
            LabError::HostDown("h01".to_owned()),
        ];
        for error in errors {
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("{}: ", error.kind()))
            );
        }
    }
}
