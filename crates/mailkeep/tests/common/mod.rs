//! What the tests of the command line share: a state directory of their own, small feeds, a host's
//! root, and servers on loopback.

#![allow(dead_code, reason = "each test file uses its part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at the first surprise"
)]

pub(crate) mod server;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::SystemTime;

/// "Now" of every run.
pub(crate) const NOW: &str = "2026-11-21T12:00:00Z";

/// When the files of a [`Bench`] were modified.
pub(crate) const WRITTEN: &str = "2026-11-21T06:00:00Z";

/// A directory with a state of its own, removed at its end.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
}

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// Asserts the exit status, and that both streams hold no sign a terminal would obey.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert_harmless(&self.out);
        assert_harmless(&self.err);
        self
    }

    /// Asserts that standard error holds a text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "no {text:?} in {}", self.err);
        self
    }

    /// Asserts that standard output holds a text.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert!(self.out.contains(text), "no {text:?} in {}", self.out);
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

#[track_caller]
pub(crate) fn assert_harmless(text: &str) {
    let bad = text
        .chars()
        .find(|c| *c != '\n' && *c != '\r' && mailkeep_model::text::is_unsafe(*c));
    assert_eq!(bad, None, "in {text:?}");
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Writes a file, last modified at [`WRITTEN`]. Its path.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        touch(&path, WRITTEN);
        path.display().to_string()
    }

    /// The program, with a bare environment and the state of this bench.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailkeep"));
        self.prepare(&mut command);
        command.args(["--at", NOW, "--state"]).arg(self.state());
        command.args(args);
        command
    }

    /// Gives any program the same surroundings.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.dir.path())
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).output().unwrap())
    }

    /// The same with these octets on standard input, by a pipe.
    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // More than a pipe holds would wait for its reader.
        assert!(input.len() < 32 << 10);
        child.stdin.take().unwrap().write_all(input).unwrap();
        Ran::of(&child.wait_with_output().unwrap())
    }

    /// `feeds import --source KIND PATH`.
    pub(crate) fn import(&self, kind: &str, path: &str) -> Ran {
        self.run(&["feeds", "import", "--source", kind, path])
    }

    /// `feeds status --json`.
    pub(crate) fn status(&self) -> serde_json::Value {
        let ran = self.run(&["feeds", "status", "--json"]);
        assert_harmless(&ran.out);
        ran.json()
    }

    /// A Debian 12 host with the given status paragraphs, as a root directory. Its path.
    pub(crate) fn root(&self, name: &str, status: &str) -> String {
        self.write(
            &format!("{name}/etc/os-release"),
            "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
        );
        self.write(&format!("{name}/var/lib/dpkg/status"), status);
        self.path(name).display().to_string()
    }

    /// A host with an Exim that [`TRACKER`] calls affected.
    pub(crate) fn exim_host(&self) -> String {
        self.root("host", &package("exim4", "4.96-15"))
    }
}

pub(crate) fn touch(path: &Path, time: &str) {
    let time: mailkeep_model::Timestamp = time.parse().unwrap();
    fs::File::open(path)
        .unwrap()
        .set_modified(SystemTime::from(time))
        .unwrap();
}

/// A paragraph of `var/lib/dpkg/status`.
pub(crate) fn package(name: &str, version: &str) -> String {
    format!(
        "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\nMaintainer: x\nDescription: x\n\n"
    )
}

/// A tracker that knows one hole in Exim, fixed in 4.96-15+deb12u2.
pub(crate) const TRACKER: &str = r#"{"exim4": {"CVE-2023-42115": {"description": "out-of-bounds write in AUTH",
    "scope": "remote", "releases": {"bookworm": {"status": "resolved",
    "repositories": {"bookworm": "4.96-15+deb12u2"}, "fixed_version": "4.96-15+deb12u2", "urgency": "high"}}}}}"#;

pub(crate) const KEV: &str = r#"{"title": "KEV", "catalogVersion": "2026.11.20",
    "dateReleased": "2026-11-20T12:00:00.0000Z", "count": 1, "vulnerabilities": [{"cveID": "CVE-2023-42115",
    "vendorProject": "Exim", "product": "Exim", "vulnerabilityName": "Exim out-of-bounds write",
    "dateAdded": "2026-11-01", "shortDescription": "d", "requiredAction": "a", "dueDate": "2026-11-22",
    "knownRansomwareCampaignUse": "Unknown", "notes": ""}]}"#;

pub(crate) const EPSS: &str = "#model_version:v2025.03.14,score_date:2026-11-21T00:00:00+0000\ncve,epss,percentile\nCVE-2023-42115,0.91,0.99\n";

pub(crate) const UPDATEINFO: &str = r#"<updates><update type="security"><id>ALSA-2026:1</id><title>dovecot</title>
    <severity>Important</severity><references><reference href="https://example.org/" id="CVE-2026-1111" type="cve"/></references>
    <pkglist><collection><package name="dovecot" version="2.3.16" release="11.el9" epoch="1" arch="x86_64"/></collection></pkglist>
    </update></updates>"#;

pub(crate) const CVE: &str = r#"{"dataType": "CVE_RECORD", "dataVersion": "5.1",
    "cveMetadata": {"cveId": "CVE-2023-42115", "state": "PUBLISHED", "dateUpdated": "2026-11-19T00:00:00Z"},
    "containers": {"cna": {"title": "Exim out-of-bounds write", "affected": [], "metrics": [{"cvssV3_1":
    {"vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}}]}}}"#;

/// One OSV record about a package of Debian 12.
pub(crate) fn osv(id: &str, cve: &str, package: &str, fixed: &str) -> String {
    serde_json::json!({
        "schema_version": "1.6.0", "id": id, "modified": "2026-11-20T00:00:00Z", "aliases": [cve],
        "summary": "a hole",
        "affected": [{"package": {"ecosystem": "Debian:12", "name": package},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]}],
    })
    .to_string()
}

/// One CSAF document about a product of its own.
pub(crate) fn csaf(id: &str, cve: &str) -> String {
    format!(
        r#"{{"document": {{"csaf_version": "2.0", "category": "csaf_vex", "title": "A bulletin",
        "publisher": {{"category": "vendor", "name": "Vendor", "namespace": "https://psirt.example.org"}},
        "tracking": {{"id": "{id}", "status": "final", "current_release_date": "2026-11-18T04:05:06Z"}}}},
        "product_tree": {{"branches": [{{"category": "vendor", "name": "Example", "branches": [{{"category": "product_name",
        "name": "Relay", "branches": [{{"category": "product_version", "name": "1.0", "product": {{"name": "Relay 1.0",
        "product_id": "P1"}}}}]}}]}}]}}, "vulnerabilities": [{{"cve": "{cve}", "title": "a hole",
        "scores": [{{"cvss_v3": {{"version": "3.1", "vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "baseScore": 9.8, "baseSeverity": "CRITICAL"}}, "products": ["P1"]}}],
        "product_status": {{"known_affected": ["P1"]}}}}]}}"#
    )
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, data) in entries {
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file(*name, options).unwrap();
        writer.write_all(data).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Whether a program of the system is there; where it is not, the test says that it is skipped.
pub(crate) fn has_program(test: &str, program: &str) -> bool {
    let there = ["/usr/bin", "/bin", "/usr/sbin"]
        .iter()
        .any(|dir| Path::new(dir).join(program).is_file());
    if !there {
        println!("skipped: {test}: no {program}");
    }
    there
}

/// Makes a named pipe.
pub(crate) fn fifo(path: &Path) {
    let status = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(status.success());
}

/// Two hosts' worth of nothing but a fleet: one team, one region, one host with facts in a file.
pub(crate) fn fleet(extra: &str) -> String {
    format!(
        "global_team = \"postmasters\"\n\
         [teams.postmasters]\nemail = [\"postmaster@harbour.example\"]\n\
         [regions.eu]\ntime_zone = \"Europe/Berlin\"\nowner = \"postmasters\"\npilot = true\n\
         windows = [{{ rrule = \"FREQ=WEEKLY;BYDAY=SU;BYHOUR=1\", duration = \"2h\" }}]\n\
         [services.inbound-mx]\nowner = \"postmasters\"\ncriticality = \"material\"\nmission_prevalence = \"essential\"\nminimum = 1\n\
         [hosts.mx1]\nregion = \"eu\"\nservices = [\"inbound-mx\"]\nfamily = \"exim\"\nfacts = \"host\"\n{extra}"
    )
}
