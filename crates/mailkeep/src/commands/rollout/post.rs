//! Probe messages on their way: handed in to servers of the fleet, looked for in mailboxes over ssh,
//! and the journal of what was sent.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::Context as _;
use mailkeep_model::{Fleet, HostName, ProbeSettings, ServiceName, Timestamp, text};
use mailkeep_reach::hosts::{RunLimits, SshOptions, SshTarget, for_each_bounded};
use mailkeep_reach::probe::{
    HandIn, Probe, ProbeLimits, ProbeServer, address_by_ssh, arrived, hand_in,
};
use mailkeep_rollout::ledger::flow::{Post, ProbeJournal};
use mailkeep_rollout::ledger::{ProbeLedger, ProbeRecord};

/// What one hand-in may take. A server that is being drained refuses at once; one that is dead must not
/// hold up the messages behind it.
const HAND_IN: ProbeLimits = ProbeLimits {
    connect: Duration::from_secs(3),
    total: Duration::from_secs(15),
};

/// What one look into a mailbox may take.
const LOOK: RunLimits = RunLimits {
    connect_timeout: Duration::from_secs(10),
    total_timeout: Duration::from_secs(30),
    max_output: 8 << 20,
};

/// Mailboxes looked into at a time, for a service whose mail ends on its own hosts.
const LOOKS_AT_A_TIME: usize = 8;

/// Hands probes to servers, and looks for them.
pub(super) struct FleetPost {
    targets: BTreeMap<HostName, SshTarget>,
    services: BTreeMap<ServiceName, ProbeSettings>,
    servers: BTreeMap<ServiceName, Vec<HostName>>,
    ssh: SshOptions,
    hello: String,
    clock: fn() -> Timestamp,
    addresses: Mutex<BTreeMap<HostName, String>>,
}

impl FleetPost {
    pub(super) fn new(
        fleet: &Fleet,
        services: BTreeMap<ServiceName, ProbeSettings>,
        servers: BTreeMap<ServiceName, Vec<HostName>>,
        ssh: SshOptions,
        hello: String,
    ) -> Self {
        Self {
            targets: fleet
                .hosts
                .iter()
                .map(|(name, host)| (name.clone(), SshTarget::of(name, host)))
                .collect(),
            services,
            servers,
            ssh,
            hello,
            clock: crate::now,
            addresses: Mutex::default(),
        }
    }

    /// Where a host takes connections: what ssh would connect to, since a fleet file may name a host as
    /// only `ssh_config` knows it.
    fn address(&self, host: &HostName) -> Option<String> {
        let known = |addresses: &BTreeMap<HostName, String>| addresses.get(host).cloned();
        let lock = || {
            self.addresses
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(address) = known(&lock()) {
            return Some(address);
        }
        let target = self.targets.get(host)?;
        let address =
            address_by_ssh(target, &self.ssh).unwrap_or_else(|| target.destination().to_owned());
        lock().insert(host.clone(), address.clone());
        Some(address)
    }
}

impl Post for FleetPost {
    fn hand_in(
        &self,
        server: &HostName,
        service: &ServiceName,
        prefix: &str,
        number: u64,
    ) -> HandIn {
        let refused = |why: &str| HandIn::Refused {
            why: why.to_owned(),
        };
        let Some(settings) = self.services.get(service) else {
            return refused("the service has no probe");
        };
        let Some(address) = self.address(server) else {
            return refused("the fleet file does not name the host");
        };
        let domain = settings
            .from
            .rsplit_once('@')
            .map_or("localhost", |(_, domain)| domain);
        let probe = Probe {
            from: settings.from.clone(),
            to: settings.to.clone(),
            id: format!("{prefix}{number}@{domain}"),
            subject: format!("mailkeep probe {number}"),
            date: (self.clock)(),
        };
        let server = ProbeServer {
            address,
            port: settings.port,
            hello: self.hello.clone(),
        };
        hand_in(&server, &probe, HAND_IN)
    }

    fn look(
        &self,
        service: &ServiceName,
        server: Option<&HostName>,
        prefix: &str,
        from: u64,
    ) -> Result<BTreeMap<u64, u64>, String> {
        let settings = self
            .services
            .get(service)
            .ok_or("the service has no probe")?;
        let on: Vec<HostName> = match (&settings.found_on, server) {
            (Some(host), _) => vec![host.clone()],
            (None, Some(server)) => vec![server.clone()],
            (None, None) => self.servers.get(service).cloned().unwrap_or_default(),
        };
        let mut all = BTreeMap::new();
        let mut trouble = None;
        for_each_bounded(
            &on,
            LOOKS_AT_A_TIME,
            |host| {
                let target = self
                    .targets
                    .get(host)
                    .ok_or_else(|| format!("the fleet file does not name {host}"))?;
                arrived(target, &settings.mailbox, prefix, from, LOOK, &self.ssh)
                    .map_err(|error| chain(&error))
            },
            |_, outcome| match outcome {
                Ok(arrivals) => {
                    for (number, copies) in arrivals.copies {
                        *all.entry(number).or_default() += copies;
                    }
                }
                Err(error) => trouble = Some(error),
            },
        );
        // One mailbox that cannot be looked into makes the whole look no look.
        trouble.map_or(Ok(all), Err)
    }
}

/// An error with its causes, in one printable line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        next = cause.source();
    }
    text::printable_max(&words, 400)
}

/// The journal of probes: one JSON object a line, only ever added to. A line that a killed process left
/// half written is ended by the next, and ignored.
#[derive(Debug)]
pub(super) struct FileJournal {
    file: File,
    path: PathBuf,
}

impl FileJournal {
    /// Opens the journal of a plan, makes it where it is not there, and reads it into a ledger.
    pub(super) fn open(
        path: &Path,
        mut ledger: ProbeLedger,
        now: Timestamp,
    ) -> anyhow::Result<(Self, ProbeLedger)> {
        let what = || format!("cannot use the journal of probes {}", path.display());
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).with_context(what)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .with_context(what)?;
        let bytes = std::fs::read(path).with_context(what)?;
        for line in bytes.split(|&b| b == b'\n') {
            if let Ok(record) = serde_json::from_slice::<ProbeRecord>(line) {
                ledger.apply(&record);
            }
        }
        let mut journal = Self {
            file,
            path: path.to_owned(),
        };
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            journal.file.write_all(b"\n").with_context(what)?;
        }
        if ledger.run().is_empty() {
            let opened = ProbeRecord::Opened {
                at: now,
                run: format!("{:x}", now.as_second()),
            };
            journal
                .keep(std::slice::from_ref(&opened))
                .map_err(anyhow::Error::msg)
                .with_context(what)?;
            ledger.apply(&opened);
        }
        Ok((journal, ledger))
    }
}

impl ProbeJournal for FileJournal {
    fn keep(&mut self, records: &[ProbeRecord]) -> Result<(), String> {
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record).map_err(|error| error.to_string())?;
            lines.push(b'\n');
        }
        // In one call: a killed process leaves a line whole or cut, never mixed.
        self.file
            .write_all(&lines)
            .map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mx() -> ServiceName {
        ServiceName::new("inbound-mx").unwrap()
    }

    fn ledger() -> ProbeLedger {
        ProbeLedger::new([(mx(), 10)])
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn offered(number: u64) -> ProbeRecord {
        ProbeRecord::Offered {
            service: mx(),
            number,
            at: at(1),
        }
    }

    #[test]
    fn a_journal_cut_at_any_byte_is_read_and_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan/probes.jsonl");
        let (mut journal, read) = FileJournal::open(&path, ledger(), at(0x5f)).unwrap();
        assert_eq!(read.run(), "5f");
        journal.keep(&[offered(1)]).unwrap();
        journal.keep(&[offered(2)]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let last = whole.len() - 2;
        for end in 0..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let (mut journal, read) = FileJournal::open(&path, ledger(), at(0x60)).unwrap();
            assert!(read.run() == "5f" || read.run() == "60");
            journal.keep(&[offered(3)]).unwrap();
            let (_, read) = FileJournal::open(&path, ledger(), at(0x61)).unwrap();
            let refused = read.figures(None, true).refused;
            // 1 and 2 where their lines were whole (else they are adrift), and 3.
            assert!((1..=3).contains(&refused), "{end}: {refused}");
            if end > last {
                assert_eq!(refused, 3, "{end}");
            }
        }
    }
}
