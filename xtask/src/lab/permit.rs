//! Whether this machine lets us build a lab, tried before anything is begun.

use std::path::Path;

use super::command::{output, program};
use super::error::LabError;
use crate::suite::{have_program, install_debian_packages};

/// Programs the lab runs, with the Debian package that holds each.
const PROGRAMS: &[(&str, &str)] = &[
    ("apt-get", "apt"),
    ("dnsmasq", "dnsmasq-base"),
    ("dpkg-deb", "dpkg"),
    ("dpkg-scanpackages", "dpkg-dev"),
    ("ip", "iproute2"),
    ("mmdebstrap", "mmdebstrap"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("setsid", "util-linux"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("unshare", "util-linux"),
];

/// Root, by the effective user.
pub(super) fn is_root() -> Result<(), LabError> {
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err(LabError::NotPermitted("needs root".to_owned()))
    }
}

/// Installs what is missing, saying so, or names it.
pub(super) fn programs() -> Result<(), LabError> {
    let missing = || {
        PROGRAMS
            .iter()
            .filter(|(program, _)| !have_program(program))
    };
    let mut packages: Vec<&str> = missing().map(|(_, package)| *package).collect();
    packages.dedup();
    if packages.is_empty() || install_debian_packages(&packages, "the lab") {
        return Ok(());
    }
    Err(LabError::MissingProgram {
        programs: missing()
            .map(|(program, _)| *program)
            .collect::<Vec<_>>()
            .join(", "),
        packages: packages.join(", "),
    })
}

/// Tries namespaces, a bridge, device nodes and an overlay mount where the lab will have them.
pub(super) fn kernel(root: &Path, namespace: &str) -> Result<(), LabError> {
    let mut probe = program("sh", ["-c", include_str!("scripts/permit.sh"), "permit"]);
    probe.arg(root.join("probe")).arg(namespace);
    output("trying namespaces and overlay mounts", &mut probe)
        .map(drop)
        .map_err(|error| match error {
            LabError::CommandFailed { tail, .. } => LabError::NotPermitted(format!(
                "this machine does not let us make network, process and mount namespaces with an \
                 overlay in {} (MAILKEEP_LAB names another directory):{tail}",
                root.display()
            )),
            other => other,
        })
}
