//! What is done inside hosts, by their namespaces and not by SSH.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{HOST_PATH, Host, Lab, LabError, command};

impl Lab {
    /// A command that will run inside a host, entered by its namespaces and not by SSH.
    pub fn inside(
        &self,
        name: &str,
        argv: &[impl AsRef<std::ffi::OsStr>],
    ) -> Result<Command, LabError> {
        let pid = self
            .pid(name)?
            .ok_or_else(|| LabError::HostDown(name.to_owned()))?;
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &pid.to_string(),
            "--mount",
            "--net",
            "--pid",
            "--uts",
            "--ipc",
        ]);
        command.args([
            "--root",
            "--wd",
            "--",
            "env",
            "-i",
            HOST_PATH,
            "HOME=/root",
            "TERM=dumb",
        ]);
        command.args(argv);
        Ok(command)
    }

    /// Runs a script inside every running host at once, with what it prints in a file beside the host.
    pub fn on_every_host(&self, script: &str) -> Result<(), LabError> {
        let hosts = self.hosts()?;
        let run = |host: &Host| {
            let mut command = self.inside(&host.name, &["sh", "-c", script])?;
            let log = self.root.join("hosts").join(&host.name).join("script.log");
            let what = format!("`{script}` on {}", host.name);
            command::logged(&what, command.stdin(Stdio::null()), &log)
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = hosts
                .iter()
                .map(|host| scope.spawn(move || run(host)))
                .collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }

    /// What a script prints on a host; it must end well.
    pub fn says(&self, name: &str, script: &str) -> Result<String, LabError> {
        let mut command = self.inside(name, &["sh", "-ec", script])?;
        let what = format!("`{script}` on {name}");
        command::output(&what, command.stdin(Stdio::null()))
    }

    /// Writes a file on a host, with the directories it lies in.
    pub fn write(&self, name: &str, path: &str, content: &[u8]) -> Result<(), LabError> {
        let script = r#"mkdir -p "$(dirname "$1")" && cat >"$1""#;
        let mut command = self.inside(name, &["sh", "-ec", script, "write", path])?;
        let file = std::path::Path::new(path);
        let failed = |error| LabError::io("write", file, error);
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(failed)?;
        let sent = child.stdin.take().map(|mut pipe| pipe.write_all(content));
        let status = child.wait().map_err(failed)?;
        if !status.success() {
            return Err(failed(std::io::Error::other(format!("{name}: {status}"))));
        }
        sent.transpose().map_err(failed).map(drop)
    }
}
