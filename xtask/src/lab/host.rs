//! One host: its disk, its start, its end.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::command::{output, program, read_lossy};
use super::error::{LabError, tail_of};
use super::family::Family;
use super::image::Image;
use super::net;
use super::process::{Process, wait_readable};

/// How long a host may take to come up; alone it takes about a second.
const START_LIMIT: Duration = Duration::from_secs(90);
/// How long an orderly halt may take before the power is cut.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long the kernel may take to end what was killed.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// What the lab knows of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name, also in the lab's DNS below `lab.test`.
    pub name: String,
    /// Its family, by name.
    pub family: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its region, counted from 1.
    pub region: u8,
    /// Its public host key as it was when it was added.
    pub host_key: String,
}

/// Where a host's files lie.
#[derive(Debug)]
pub(super) struct Place {
    directory: PathBuf,
    /// The name of its network namespace.
    pub(super) namespace: String,
}

/// A host that was started and has not yet said that it is ready.
#[derive(Debug)]
pub(super) struct Starting {
    name: String,
    console: PathBuf,
    ready: ChildStdout,
}

impl Place {
    pub(super) fn new(directory: PathBuf, namespace: String) -> Self {
        Self {
            directory,
            namespace,
        }
    }

    /// The launcher of the host, if it runs. Its only child is the host's first process.
    pub(super) fn launcher(&self) -> Result<Option<Process>, LabError> {
        Process::from_pid_file(&self.directory.join("pid"))
    }

    /// Whether the host is up: its first process runs, and has said that all else does.
    pub(super) fn is_up(&self) -> Result<bool, LabError> {
        let first = self.launcher()?.and_then(|launcher| launcher.child());
        let said_so = |pid| Path::new(&format!("/proc/{pid}/root/run/lab-ready")).exists();
        Ok(first.is_some_and(|first| said_so(first.pid())))
    }

    /// The host's record, if it was added.
    pub(super) fn record(&self) -> Result<Option<Host>, LabError> {
        let path = self.directory.join("host.json");
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| LabError::Damaged {
                    path: path.display().to_string(),
                    why: error.to_string(),
                }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LabError::io("read", &path, error)),
        }
    }

    /// Gives a new host its disk: keys, names, and nothing else of its own.
    pub(super) fn create(
        &self,
        name: &str,
        family: Family,
        address: Ipv4Addr,
        login_key: &str,
    ) -> Result<Host, LabError> {
        let upper = self.directory.join("upper");
        for part in ["upper/etc/ssh", "upper/lab", "work", "root"] {
            let path = self.directory.join(part);
            fs::create_dir_all(&path).map_err(|error| LabError::io("create", &path, error))?;
        }
        // Whatever our umask is: the host's own daemons must be able to read these.
        for open in ["", "etc", "etc/ssh", "lab"] {
            let path = upper.join(open);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .map_err(|error| LabError::io("open", &path, error))?;
        }
        let key = upper.join("etc/ssh/ssh_host_ed25519_key");
        let mut keygen = program(
            "ssh-keygen",
            ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"],
        );
        output("making a host key", keygen.arg(&key))?;
        let public = key.with_extension("pub");
        let host_key =
            fs::read_to_string(&public).map_err(|error| LabError::io("read", &public, error))?;

        let hosts = format!("127.0.0.1 localhost\n{address} {name}.lab.test {name}\n");
        let resolver = format!("nameserver {}\n", net::CONTROLLER);
        for (file, text) in [
            ("etc/hosts", hosts.as_str()),
            ("etc/resolv.conf", &resolver),
            ("etc/ssh/lab_keys", login_key),
            ("lab/init", include_str!("scripts/init.sh")),
            ("lab/init-systemd", include_str!("scripts/init-systemd.sh")),
            ("lab/listening", include_str!("scripts/listening.sh")),
            ("lab/family", family.script()),
        ] {
            let path = upper.join(file);
            fs::write(&path, text).map_err(|error| LabError::io("write", &path, error))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
                .map_err(|error| LabError::io("open", &path, error))?;
        }
        let [_, _, region, _] = address.octets();
        let host = Host {
            name: name.to_owned(),
            family: family.name().to_owned(),
            address,
            region,
            host_key: host_key
                .split_whitespace()
                .take(2)
                .collect::<Vec<_>>()
                .join(" "),
        };
        // The record comes last: without it there is no host, only leftovers.
        let record = self.directory.join("host.json");
        let text = serde_json::to_string_pretty(&host).unwrap_or_default();
        fs::write(&record, text).map_err(|error| LabError::io("write", &record, error))?;
        Ok(host)
    }

    /// Removes what an interrupted `create` left.
    pub(super) fn clear(&self) -> Result<(), LabError> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(LabError::io("remove", &self.directory, error))
            }
            _ => Ok(()),
        }
    }

    /// Switches the host on; [`Starting::wait`] tells when it is up.
    pub(super) fn start(
        &self,
        host: &Host,
        image: &Image,
        repository: &Path,
        bridge: &str,
    ) -> Result<Starting, LabError> {
        net::plug(bridge, &self.namespace, host.address)?;
        // A volatile overlay marks itself unclean after a power cut. Its files are still in this
        // machine's page cache, so nothing was lost.
        let unclean = self.directory.join("work/work/incompat");
        if unclean.exists() {
            fs::remove_dir_all(&unclean).map_err(|error| LabError::io("clear", &unclean, error))?;
        }
        let console = self.directory.join("console.log");
        let log =
            fs::File::create(&console).map_err(|error| LabError::io("create", &console, error))?;
        let launch = [
            "--fork",
            "sh",
            "-c",
            include_str!("scripts/launch.sh"),
            "launch",
        ];
        let mut command = program("setsid", launch);
        command.arg(self.directory.join("pid"));
        command.args(["ip", "netns", "exec", &self.namespace]);
        command.args([
            "unshare",
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--fork",
            "--kill-child",
        ]);
        command.args([
            "sh",
            "-c",
            include_str!("scripts/host-start.sh"),
            "host-start",
            &host.name,
        ]);
        command.arg(self.directory.join("root")).arg(&image.root);
        command
            .arg(self.directory.join("upper"))
            .arg(self.directory.join("work"))
            .arg(repository)
            .arg(&self.namespace);
        let failed = |what: String| self.failed(&host.name, what);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| failed(format!("setsid could not be started: {error}")))?;
        let ready = child.stdout.take();
        // setsid forks and ends at once; the host belongs to the machine's init from here on.
        let status = child
            .wait()
            .map_err(|error| failed(format!("setsid was lost: {error}")))?;
        match ready {
            Some(ready) if status.success() => Ok(Starting {
                name: host.name.clone(),
                console,
                ready,
            }),
            _ => Err(failed(format!("setsid failed ({status})"))),
        }
    }

    /// Halts the host: in order, or at once as by a power cut. Does nothing to one that is down.
    pub(super) fn halt(&self, name: &str, orderly: bool) -> Result<(), LabError> {
        let Some(launcher) = self.launcher()? else {
            return self.unplug();
        };
        // Without a first process it is still starting, or stuck: then the launcher is ended, and what
        // it started goes with it (unshare --kill-child).
        let child = launcher.child();
        let first = child.as_ref().unwrap_or(&launcher);
        let ended = orderly && child.is_some() && {
            ask_to_halt(first);
            launcher.wait_end(STOP_LIMIT)
        };
        if !ended {
            first.signal(Signal::KILL);
            if !launcher.wait_end(KILL_LIMIT) {
                let what = format!("process {} does not end", launcher.pid());
                return Err(self.failed(name, what));
            }
        }
        self.unplug()
    }

    /// Asks for an orderly halt without waiting for it.
    pub(super) fn begin_halt(&self) -> Result<(), LabError> {
        if let Some(first) = self.launcher()?.and_then(|launcher| launcher.child()) {
            ask_to_halt(&first);
        }
        Ok(())
    }

    fn unplug(&self) -> Result<(), LabError> {
        let pid = self.directory.join("pid");
        if pid.exists() {
            fs::remove_file(&pid).map_err(|error| LabError::io("remove", &pid, error))?;
        }
        remove_groups(&self.namespace)?;
        net::remove(&self.namespace)
    }

    fn failed(&self, name: &str, what: String) -> LabError {
        host_failed(name, what, &self.directory.join("console.log"))
    }
}

impl Starting {
    /// Waits until the host says that it is up.
    pub(super) fn wait(self) -> Result<(), LabError> {
        if !wait_readable(&self.ready, START_LIMIT) {
            let what = format!("not up after {} s", START_LIMIT.as_secs());
            return Err(host_failed(&self.name, what, &self.console));
        }
        let mut word = String::new();
        let read = BufReader::new(self.ready).read_line(&mut word);
        match (read, word.trim()) {
            (Ok(_), "ready") => Ok(()),
            (Ok(0), _) => {
                let what = "ended before it was up".to_owned();
                Err(host_failed(&self.name, what, &self.console))
            }
            (Ok(_), other) => Err(host_failed(&self.name, other.to_owned(), &self.console)),
            (Err(error), _) => {
                let what = format!("its start could not be watched: {error}");
                Err(host_failed(&self.name, what, &self.console))
            }
        }
    }
}

/// Begins an orderly halt. To systemd, TERM would mean to start itself anew, and INT that the host is to end
/// (systemd(1), SIGNALS).
fn ask_to_halt(first: &Process) {
    let name = read_lossy(Path::new(&format!("/proc/{}/comm", first.pid())));
    let is_systemd = name.trim_end() == "systemd";
    first.signal(if is_systemd {
        Signal::INT
    } else {
        Signal::TERM
    });
}

/// Removes the control groups that the systemd of a host left: they outlive their processes.
fn remove_groups(name: &str) -> Result<(), LabError> {
    let mounts = read_lossy(Path::new("/proc/self/mounts"));
    let of_groups = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let place = words.nth(1)?;
        (words.next() == Some("cgroup2")).then_some(place)
    });
    for place in of_groups {
        remove_directories(&Path::new(place).join(name))?;
    }
    Ok(())
}

/// The files in them are the kernel's, and go with them.
fn remove_directories(path: &Path) -> Result<(), LabError> {
    let Ok(entries) = fs::read_dir(path) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_directories(&entry.path())?;
        }
    }
    fs::remove_dir(path).map_err(|error| LabError::io("remove", path, error))
}

fn host_failed(name: &str, what: String, console: &Path) -> LabError {
    LabError::HostFailed {
        name: name.to_owned(),
        what,
        log: console.display().to_string(),
        tail: tail_of(&read_lossy(console)),
    }
}
