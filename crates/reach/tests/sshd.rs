//! The same with OpenSSH itself: an sshd of the test's own on a loopback port, as this user, with
//! its own host key, configuration and authorized keys. Nothing of the user's `~/.ssh` is read.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and plays the other side itself"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mailkeep_model::{Access, HostName, ScanFailureKind};
use mailkeep_reach::hosts::{HostFailure, RunLimits, SshOptions, SshTarget, run_over_ssh};

const SSHD: &str = "/usr/sbin/sshd";

const LIMITS: RunLimits = RunLimits {
    connect_timeout: Duration::from_secs(10),
    total_timeout: Duration::from_secs(30),
    max_output: 1 << 20,
};

struct Sshd {
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Sshd {
    /// `None`, with a word on standard error, where this machine cannot run one.
    fn start(test: &str) -> Option<Self> {
        for program in [SSHD, "/usr/bin/ssh", "/usr/bin/ssh-keygen"] {
            if !Path::new(program).exists() {
                eprintln!("skipped: {test}: no {program}");
                return None;
            }
        }
        // The directory sshd confines its unprivileged half to; a machine whose sshd never ran
        // lacks it, and only root can make it.
        if !Path::new("/run/sshd").exists() && fs::create_dir("/run/sshd").is_err() && is_root() {
            eprintln!("skipped: {test}: no /run/sshd");
            return None;
        }
        if !may_log_in() {
            eprintln!("skipped: {test}: this user may not log in");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        for key in ["host_key", "other_host_key", "user_key", "other_user_key"] {
            keygen(&dir.path().join(key));
        }
        fs::copy(
            dir.path().join("user_key.pub"),
            dir.path().join("authorized_keys"),
        )
        .unwrap();
        // A port nobody holds; should somebody take it in between, sshd says so and we go on.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            if let Some(child) = launch(dir.path(), port) {
                return Some(Self { dir, port, child });
            }
        }
        panic!("sshd does not start");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Declares in `known_hosts` that the server has the given host key.
    fn know(&self, key: &str) {
        let public = fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
        let line = format!("[127.0.0.1]:{} {public}", self.port);
        fs::write(self.path("known_hosts"), line).unwrap();
    }

    fn run(&self, user_key: &str, script: &str) -> Result<Vec<u8>, HostFailure> {
        run_on(self.port, self.dir.path(), user_key, script, LIMITS)
    }
}

fn target(port: u16) -> SshTarget {
    SshTarget {
        host: HostName::new("mx1").unwrap(),
        address: Some("127.0.0.1".into()),
        access: Access {
            port: Some(port),
            ..Access::default()
        },
    }
}

fn options(dir: &Path, user_key: &str) -> SshOptions {
    SshOptions {
        extra: ["-F", "none"]
            .into_iter()
            .map(str::to_owned)
            .chain(
                [
                    format!("IdentityFile={}", dir.join(user_key).display()),
                    format!("UserKnownHostsFile={}", dir.join("known_hosts").display()),
                    "GlobalKnownHostsFile=none".to_owned(),
                    "IdentitiesOnly=yes".to_owned(),
                    "IdentityAgent=none".to_owned(),
                ]
                .into_iter()
                .flat_map(|option| ["-o".to_owned(), option]),
            )
            .collect(),
        ..SshOptions::default()
    }
}

fn run_on(
    port: u16,
    dir: &Path,
    user_key: &str,
    script: &str,
    limits: RunLimits,
) -> Result<Vec<u8>, HostFailure> {
    let target = target(port);
    let options = options(dir, user_key);
    run_over_ssh(&target, script, &["it's", "$HOME"], limits, &options)
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

/// Accounts of services have no shell, and sshd takes none of them.
fn may_log_in() -> bool {
    let uid = Command::new("id").arg("-u").output().unwrap().stdout;
    let uid = String::from_utf8(uid).unwrap();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut accounts = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    // An account that is not in the file comes from a directory: a person's.
    accounts
        .find(|account| account.get(2) == Some(&uid.trim()))
        .is_none_or(|account| {
            account
                .last()
                .is_some_and(|shell| !shell.ends_with("nologin") && !shell.ends_with("false"))
        })
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Starts sshd in the foreground and waits for its word that it listens.
fn launch(dir: &Path, port: u16) -> Option<Child> {
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host_key\nPidFile none\n\
         AuthorizedKeysFile {0}/authorized_keys\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\nLogLevel INFO\n",
        dir.display()
    );
    fs::write(dir.join("sshd_config"), config).unwrap();
    let mut child = Command::new(SSHD)
        .arg("-D")
        .arg("-e")
        .arg("-f")
        .arg(dir.join("sshd_config"))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while log.read_line(&mut line).unwrap() > 0 {
        if line.contains("Server listening") {
            // Its later words have nowhere to go, but must not stop it.
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return Some(child);
        }
        eprint!("sshd: {line}");
        line.clear();
    }
    child.wait().unwrap();
    None
}

#[test]
fn a_script_runs_on_a_real_host() {
    let Some(sshd) = Sshd::start("a_script_runs_on_a_real_host") else {
        return;
    };
    sshd.know("host_key");
    let out = sshd.run("user_key", "printf '%s|' \"$@\"; id -un");
    let out = String::from_utf8(out.unwrap()).unwrap();
    assert!(out.starts_with("it's|$HOME|"), "{out}");
    assert!(out.trim().len() > "it's|$HOME|".len(), "{out}");
}

#[test]
fn a_large_answer_of_a_real_host_is_whole_or_refused() {
    let Some(sshd) = Sshd::start("a_large_answer_of_a_real_host_is_whole_or_refused") else {
        return;
    };
    sshd.know("host_key");
    let out = sshd.run("user_key", "yes x | head -c 1000000").unwrap();
    assert_eq!(out.len(), 1_000_000);
    let failure = sshd.run("user_key", "yes x").unwrap_err();
    assert_eq!(failure.kind, ScanFailureKind::GarbageOutput);
}

#[test]
fn a_key_the_host_does_not_know_is_refused() {
    let Some(sshd) = Sshd::start("a_key_the_host_does_not_know_is_refused") else {
        return;
    };
    sshd.know("host_key");
    let failure = sshd.run("other_user_key", "true").unwrap_err();
    assert_eq!(failure.kind, ScanFailureKind::RefusedKey, "{failure}");
}

#[test]
fn an_unknown_host_key_is_never_accepted_unseen() {
    let Some(sshd) = Sshd::start("an_unknown_host_key_is_never_accepted_unseen") else {
        return;
    };
    fs::write(sshd.path("known_hosts"), "").unwrap();
    let failure = sshd.run("user_key", "true").unwrap_err();
    assert_eq!(failure.kind, ScanFailureKind::UnknownHostKey, "{failure}");
    let hint = format!("ssh-keyscan -p {} 127.0.0.1", sshd.port);
    assert!(failure.detail.contains(&hint), "{failure}");
    assert_eq!(fs::read(sshd.path("known_hosts")).unwrap(), b"");
}

#[test]
fn a_changed_host_key_is_named_with_its_place() {
    let Some(sshd) = Sshd::start("a_changed_host_key_is_named_with_its_place") else {
        return;
    };
    sshd.know("other_host_key");
    let failure = sshd.run("user_key", "true").unwrap_err();
    assert_eq!(failure.kind, ScanFailureKind::ChangedHostKey, "{failure}");
    for part in [
        "known_hosts:1".to_owned(),
        format!("ssh-keygen -R '[127.0.0.1]:{}'", sshd.port),
    ] {
        assert!(failure.detail.contains(&part), "{failure}");
    }
}

#[test]
fn a_real_session_that_hangs_is_cut_off() {
    let Some(sshd) = Sshd::start("a_real_session_that_hangs_is_cut_off") else {
        return;
    };
    sshd.know("host_key");
    let limits = RunLimits {
        total_timeout: Duration::from_secs(2),
        ..LIMITS
    };
    let failure = run_on(
        sshd.port,
        sshd.dir.path(),
        "user_key",
        "exec sleep 20",
        limits,
    );
    assert_eq!(failure.unwrap_err().kind, ScanFailureKind::TimedOut);
}

#[test]
fn a_port_that_takes_connections_and_says_nothing_times_out() {
    if !Path::new("/usr/bin/ssh").exists() {
        eprintln!(
            "skipped: a_port_that_takes_connections_and_says_nothing_times_out: no /usr/bin/ssh"
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // The kernel takes the connection into the queue; nobody ever accepts it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let limits = RunLimits {
        connect_timeout: Duration::from_secs(1),
        ..LIMITS
    };
    let failure = run_on(port, dir.path(), "user_key", "true", limits).unwrap_err();
    assert_eq!(failure.kind, ScanFailureKind::TimedOut, "{failure}");

    drop(listener);
    let failure = run_on(port, dir.path(), "user_key", "true", limits).unwrap_err();
    assert_eq!(failure.kind, ScanFailureKind::Unreachable, "{failure}");
}

/// An `ssh` whose connection is shared, and that keeps count of how often it was started.
struct Shared<'a> {
    sshd: &'a Sshd,
    options: SshOptions,
    sockets: tempfile::TempDir,
}

impl<'a> Shared<'a> {
    fn on(sshd: &'a Sshd) -> Self {
        let program = sshd.path("counted-ssh");
        let log = sshd.path("started");
        let text = format!("#!/bin/sh\necho >> {}\nexec ssh \"$@\"\n", log.display());
        fs::write(&log, "").unwrap();
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        // A short path, with what ssh takes for more than itself.
        let mut sockets = tempfile::Builder::new();
        let sockets = sockets.prefix("a %h ").tempdir_in("/tmp").unwrap();
        let options = SshOptions {
            program,
            shared: Some(sockets.path().to_owned()),
            ..options(sshd.dir.path(), "user_key")
        };
        Self {
            sshd,
            options,
            sockets,
        }
    }

    fn run(&self, script: &str, limits: RunLimits) -> Result<Vec<u8>, HostFailure> {
        let target = target(self.sshd.port);
        run_over_ssh(&target, script, &["it's", "$HOME"], limits, &self.options)
    }

    fn started(&self) -> usize {
        fs::read_to_string(self.sshd.path("started")).unwrap().len()
    }

    fn socket(&self) -> PathBuf {
        let mut sockets = fs::read_dir(self.sockets.path()).unwrap();
        sockets.next().unwrap().unwrap().path()
    }

    fn ask(&self, request: &str) {
        let asked = Command::new("ssh")
            .args(["-F", "none", "-O", request, "-S"])
            .arg(self.socket().display().to_string().replace('%', "%%"))
            .arg("127.0.0.1")
            .output()
            .unwrap();
        assert!(asked.status.success(), "{asked:?}");
    }

    /// Ends the connection, and waits until its socket is gone: it says that it ends before it does.
    fn end(&self) {
        let socket = self.socket();
        self.ask("exit");
        let began = Instant::now();
        while socket.exists() {
            assert!(began.elapsed() < LIMITS.total_timeout, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        if fs::read_dir(self.sockets.path()).unwrap().next().is_some() {
            self.ask("exit");
        }
    }
}

#[test]
fn further_commands_go_over_the_connection_that_stands() {
    let Some(sshd) = Sshd::start("further_commands_go_over_the_connection_that_stands") else {
        return;
    };
    sshd.know("host_key");
    let shared = Shared::on(&sshd);
    for _ in 0..3 {
        let out = shared.run("printf '%s|' \"$@\"", LIMITS).unwrap();
        assert_eq!(out, b"it's|$HOME|");
    }
    // More than a pipe holds, both ways.
    let padding = "# padding\n".repeat(30_000);
    let script = format!("yes x | head -c 1000000\n{padding}exit 0\n");
    assert_eq!(shared.run(&script, LIMITS).unwrap().len(), 1_000_000);
    // What is not read by its end is no fault.
    let unread = format!("exec 0</dev/null; echo out; exit 0\n{padding}");
    assert_eq!(shared.run(&unread, LIMITS).unwrap(), b"out\n");
    assert_eq!(shared.started(), 1);
}

#[test]
fn a_command_over_a_shared_connection_fails_as_over_one_of_its_own() {
    let test = "a_command_over_a_shared_connection_fails_as_over_one_of_its_own";
    let Some(sshd) = Sshd::start(test) else {
        return;
    };
    sshd.know("host_key");
    let shared = Shared::on(&sshd);
    shared.run("true", LIMITS).unwrap();
    let short = RunLimits {
        total_timeout: Duration::from_secs(2),
        ..LIMITS
    };
    for (script, limits, kind, said) in [
        (
            "echo no >&2; exit 4",
            LIMITS,
            ScanFailureKind::GarbageOutput,
            "status 4: no",
        ),
        (
            "yes x",
            LIMITS,
            ScanFailureKind::GarbageOutput,
            "more than 1048576 bytes",
        ),
        (
            "exec sleep 20",
            short,
            ScanFailureKind::TimedOut,
            "no end within 2 s",
        ),
        // The parent of the session's shell is the sshd that has the connection.
        (
            "kill $PPID; sleep 20",
            LIMITS,
            ScanFailureKind::Unreachable,
            "Connection closed",
        ),
    ] {
        let failure = shared.run(script, limits).unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.detail.contains(said), "{failure}");
        let own = sshd_failure(&sshd, script, limits);
        assert_eq!(own.kind, kind, "{own}");
    }
    assert_eq!(shared.started(), 1);
}

fn sshd_failure(sshd: &Sshd, script: &str, limits: RunLimits) -> HostFailure {
    run_on(sshd.port, sshd.dir.path(), "user_key", script, limits).unwrap_err()
}

#[test]
fn a_connection_that_is_gone_is_made_anew() {
    let Some(sshd) = Sshd::start("a_connection_that_is_gone_is_made_anew") else {
        return;
    };
    sshd.know("host_key");
    let shared = Shared::on(&sshd);
    shared.run("true", LIMITS).unwrap();
    shared.end();
    assert_eq!(shared.run("echo out", LIMITS).unwrap(), b"out\n");
    assert_eq!(shared.started(), 2);
    // A socket that nobody listens at.
    let socket = shared.socket();
    shared.end();
    drop(std::os::unix::net::UnixListener::bind(socket).unwrap());
    assert_eq!(shared.run("echo out", LIMITS).unwrap(), b"out\n");
    assert_eq!(shared.started(), 3);
}

#[test]
fn commands_that_the_connection_has_no_room_for_get_their_own() {
    let test = "commands_that_the_connection_has_no_room_for_get_their_own";
    let Some(sshd) = Sshd::start(test) else {
        return;
    };
    sshd.know("host_key");
    let shared = Shared::on(&sshd);
    shared.run("true", LIMITS).unwrap();
    // `MaxSessions` of sshd is 10. Each waits until all have begun.
    let dir = sshd.path("begun");
    fs::create_dir(&dir).unwrap();
    let wait = format!(
        "cd {}; : > $$; until [ $(ls | wc -l) -ge 12 ]; do sleep 0.02; done; echo out",
        dir.display()
    );
    std::thread::scope(|scope| {
        let all = [(); 12].map(|()| scope.spawn(|| shared.run(&wait, LIMITS)));
        for one in all {
            assert_eq!(one.join().unwrap().unwrap(), b"out\n");
        }
    });
    // Two had no room; three where the server had not yet cleared away the first command's session.
    assert!((3..=4).contains(&shared.started()), "{}", shared.started());
}
