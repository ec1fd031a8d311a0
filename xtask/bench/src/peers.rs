//! The peers that may be installed, and their command lines. Each runs offline.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Options;
use crate::data::Host;

/// A peer ready to run, or why it is not.
pub(crate) type Peer = Result<Vec<OsString>, String>;

/// trivy on a root directory, cut off from the network.
pub(crate) fn trivy(options: &Options, cache: Option<&Path>, host: &Host) -> Peer {
    let program = options
        .trivy
        .clone()
        .or_else(|| on_path("trivy"))
        .ok_or("not installed: trivy")?;
    let cache = cache.ok_or("no database for trivy")?;
    let mut command = offline().ok_or("no namespace for trivy")?;
    command.push(program.into());
    command.push("rootfs".into());
    command.push("--cache-dir".into());
    command.push(cache.into());
    let flags = "--skip-db-update --skip-java-db-update --offline-scan --skip-version-check \
                 --disable-telemetry --scanners vuln --pkg-types os -f json -q";
    command.extend(flags.split_whitespace().map(OsString::from));
    command.push(host.root.clone().into());
    Ok(command)
}

/// debsecan on a status file.
pub(crate) fn debsecan(source: Option<&Path>, host: &Host) -> Peer {
    let program = on_path("debsecan").ok_or("not installed: debsecan")?;
    let source = source.ok_or("no data for debsecan")?;
    let mut url = OsString::from("file://");
    url.push(source);
    let status = host.root.join("var/lib/dpkg/status");
    Ok(vec![
        program.into(),
        "--suite".into(),
        "bookworm".into(),
        "--source".into(),
        url,
        "--status".into(),
        status.into(),
        "--format".into(),
        "simple".into(),
    ])
}

/// A program of somebody else's build gets no network.
fn offline() -> Option<Vec<OsString>> {
    let works = |flags: &str| {
        Command::new("unshare")
            .args([flags, "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    ["-n", "-rn"]
        .into_iter()
        .find(|flags| works(flags))
        .map(|flags| vec!["unshare".into(), flags.into()])
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}
