//! Tests that need a process of their own: to be killed, or to run where the disk is small, read
//! only, or somebody else's. The test binary starts itself again, and [`child`] does the work.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use mailkeep_model::Realm;
use mailkeep_store::{Space, SqliteStore, Store, StoreError};

use super::{assert_small_state, import_much, open, small_state};
use crate::conformance::{all, event};

const JOB: &str = "MAILKEEP_STORE_TEST_JOB";
const DIR: &str = "MAILKEEP_STORE_TEST_DIR";
const DONE: &str = "the child is done";
const MID_IMPORT: &str = "the child is in the middle of an import";

/// Not a test by itself: what the tests below start in another process.
#[test]
fn child() {
    let (Some(job), Some(dir)) = (std::env::var_os(JOB), std::env::var_os(DIR)) else {
        return;
    };
    let dir = Path::new(&dir);
    match job.to_str().unwrap() {
        "hang" => hang(dir),
        "fill" => fill(dir, false),
        "fill-limited" => fill(dir, true),
        "read-only" => read_only(dir),
        "stranger" => stranger(dir),
        other => panic!("no job {other}"),
    }
    println!("{DONE}");
}

fn hang(dir: &Path) {
    let mut store = open(dir).unwrap();
    import_much(&mut store, 12, &mut || {
        println!("{MID_IMPORT}");
        // The parent never writes: this ends with the kill, or with the parent.
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        std::process::abort();
    })
    .unwrap();
}

/// Runs into the end of the disk in an import.
fn fill(dir: &Path, limited: bool) {
    let state = dir.join("state");
    small_state(&state);
    for _ in 0..2 {
        let mut store = open(&state).unwrap();
        let error = import_much(&mut store, 12, &mut || {}).unwrap_err();
        // A limit on file sizes is not a full disk to SQLite; both are told apart from damage.
        let expected = if limited {
            ["disk-full", "io"]
        } else {
            ["disk-full", "disk-full"]
        };
        assert!(expected.contains(&error.kind()), "{error:?}");
        if let StoreError::DiskFull { dir } = &error {
            assert_eq!(*dir, state);
            let text = error.to_string();
            assert!(text.contains("is full; nothing was changed"), "{text}");
        }
        // The same connection goes on.
        assert_eq!(all(&store, Space::Package), ["a tracker old"]);
        drop(store);
        assert_small_state(&state);
    }
}

/// On a file system that cannot be written.
fn read_only(dir: &Path) {
    for state in ["with-log", "without-log"] {
        let state = dir.join(state);
        let mut store = SqliteStore::open_read_only(&state, Realm::Live).unwrap();
        assert_eq!(all(&store, Space::Package), ["a tracker old"]);
        store.check_integrity().unwrap();
        assert_eq!(
            store.append_event(&event(2)).unwrap_err().kind(),
            "read-only"
        );
        assert_eq!(open(&state).unwrap_err().kind(), "read-only");
    }
    let error = open(&dir.join("new")).unwrap_err();
    assert_eq!(error.kind(), "directory");
}

/// As a user who may read, and not write.
fn stranger(dir: &Path) {
    let state = dir.join("open");
    let store = SqliteStore::open_read_only(&state, Realm::Live).unwrap();
    assert_eq!(all(&store, Space::Package), ["a tracker old"]);
    assert_eq!(open(&state).unwrap_err().kind(), "read-only");
    let secret = dir.join("secret");
    for error in [
        SqliteStore::open_read_only(&secret, Realm::Live).unwrap_err(),
        open(&secret).unwrap_err(),
        open(&dir.join("new")).unwrap_err(),
    ] {
        assert_eq!(error.kind(), "directory", "{error:?}");
    }
}

#[test]
fn a_killed_import_leaves_the_state_as_before() {
    let dir = tempfile::tempdir().unwrap();
    small_state(dir.path());
    let mut child = job(&[], "hang", dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().contains(MID_IMPORT)),
        "the child never came to its import"
    );
    // Something of it did reach the disk.
    let log = std::fs::metadata(dir.path().join("mailkeep.db-wal")).unwrap();
    assert!(log.len() > 1_000_000);
    child.kill().unwrap();
    child.wait().unwrap();

    assert!(dir.path().join("mailkeep.writing").exists());
    assert_small_state(dir.path());
    assert!(!dir.path().join("mailkeep.writing").exists());
}

#[test]
fn a_full_disk_is_named_and_leaves_the_state_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let mount = r#"mount -t tmpfs -o size=3m,mode=0700 none "$1" && shift && exec "$@""#;
    let Some(wrapper) = mounting(mount, dir.path()) else {
        println!(
            "skipped: a_full_disk_is_named_and_leaves_the_state_as_before: no mount namespaces"
        );
        return;
    };
    run(&wrapper, "fill", dir.path());
}

#[test]
fn a_file_size_limit_leaves_the_state_as_before() {
    let dir = tempfile::tempdir().unwrap();
    // 3 MiB, in blocks of 512 bytes; ignored, the signal becomes an error of the write.
    let script = "trap '' XFSZ; ulimit -f 6144; exec \"$@\"";
    let wrapper = ["sh", "-c", script, "sh"].map(str::to_owned);
    run(&wrapper, "fill-limited", dir.path());
}

#[test]
fn a_read_only_file_system_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    for state in ["with-log", "without-log"] {
        small_state(&dir.path().join(state));
    }
    for file in ["mailkeep.db-wal", "mailkeep.db-shm"] {
        std::fs::remove_file(dir.path().join("without-log").join(file)).unwrap();
    }
    let mount = r#"mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@""#;
    let Some(wrapper) = mounting(mount, dir.path()) else {
        println!("skipped: a_read_only_file_system_can_be_read: no mount namespaces");
        return;
    };
    run(&wrapper, "read-only", dir.path());
}

#[test]
fn another_user_reads_what_the_files_allow() {
    let dir = tempfile::tempdir().unwrap();
    let wrapper: Vec<String> = "setpriv --reuid=65534 --regid=65534 --clear-groups"
        .split(' ')
        .map(str::to_owned)
        .collect();
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(dir.path(), 0o755);
    if !works(&wrapper, dir.path()) {
        println!("skipped: another_user_reads_what_the_files_allow: cannot become another user");
        return;
    }
    for state in ["open", "secret"] {
        small_state(&dir.path().join(state));
    }
    allow(&dir.path().join("open"), 0o755);
    for file in ["mailkeep.db", "mailkeep.db-wal", "mailkeep.db-shm"] {
        allow(&dir.path().join("open").join(file), 0o644);
    }
    run(&wrapper, "stranger", dir.path());
}

/// A command line that runs `script`, with the directory as its first argument, in a mount namespace
/// of its own; as root or, where the system permits it, as anybody.
fn mounting(script: &str, dir: &Path) -> Option<Vec<String>> {
    ["--mount", "--user --map-root-user --mount"]
        .into_iter()
        .map(|options| {
            let mut line = vec!["unshare".to_owned()];
            line.extend(options.split(' ').map(str::to_owned));
            line.extend(["sh", "-c", script, "sh"].map(str::to_owned));
            line.push(dir.to_str().unwrap().to_owned());
            line
        })
        .find(|line| works(line, dir))
}

/// Whether a wrapper can start this very binary: it lists its tests.
fn works(wrapper: &[String], dir: &Path) -> bool {
    command(wrapper)
        .arg("--list")
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn run(wrapper: &[String], name: &str, dir: &Path) {
    let output = job(wrapper, name, dir).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains(DONE),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn job(wrapper: &[String], name: &str, dir: &Path) -> Command {
    let mut command = command(wrapper);
    command
        .args(["--exact", "robustness::child::child", "--nocapture"])
        .env(JOB, name)
        .env(DIR, dir)
        .current_dir("/");
    command
}

fn command(wrapper: &[String]) -> Command {
    let exe = std::env::current_exe().unwrap();
    match wrapper.split_first() {
        None => Command::new(exe),
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(exe);
            command
        }
    }
}
