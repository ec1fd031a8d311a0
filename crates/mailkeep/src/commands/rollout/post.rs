//! Probe messages on their way: handed in to servers of the fleet, looked for in mailboxes over ssh,
//! and the journal of what was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use mailkeep_model::{HostName, ProbeSettings, ServiceName, Timestamp, text};
use mailkeep_reach::hosts::{RunLimits, SshOptions, for_each_bounded};
use mailkeep_reach::probe::{
    Addresses, HandIn, Probe, ProbeLimits, ProbeServer, arrived, greets, hand_in,
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
    addresses: Arc<Addresses>,
    services: BTreeMap<ServiceName, ProbeSettings>,
    servers: BTreeMap<ServiceName, Vec<HostName>>,
    ssh: SshOptions,
    hello: String,
    clock: fn() -> Timestamp,
}

impl FleetPost {
    pub(super) fn new(
        addresses: Arc<Addresses>,
        services: BTreeMap<ServiceName, ProbeSettings>,
        servers: BTreeMap<ServiceName, Vec<HostName>>,
        ssh: SshOptions,
        hello: String,
    ) -> Self {
        Self {
            addresses,
            services,
            servers,
            ssh,
            hello,
            clock: crate::now,
        }
    }

    /// Where messages of a service are handed in to a host.
    fn server(
        &self,
        host: &HostName,
        service: &ServiceName,
    ) -> Result<(&ProbeSettings, ProbeServer), &'static str> {
        let settings = self
            .services
            .get(service)
            .ok_or("the service has no probe")?;
        let address = self
            .addresses
            .of(host)
            .ok_or("the fleet file does not name the host")?;
        let server = ProbeServer {
            address,
            port: settings.port,
            hello: self.hello.clone(),
        };
        Ok((settings, server))
    }

    /// The hosts in whose mailboxes messages of a service end that these servers took, or any server.
    fn places(&self, service: &ServiceName, servers: Option<&BTreeSet<HostName>>) -> Vec<HostName> {
        let found_on = self
            .services
            .get(service)
            .and_then(|it| it.found_on.clone());
        match (found_on, servers) {
            (Some(host), _) => vec![host],
            (None, Some(servers)) => servers.iter().cloned().collect(),
            (None, None) => self.servers.get(service).cloned().unwrap_or_default(),
        }
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
        let (settings, server) = match self.server(server, service) {
            Ok(known) => known,
            Err(why) => {
                return HandIn::Refused {
                    why: why.to_owned(),
                    for_good: true,
                };
            }
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
        hand_in(&server, &probe, HAND_IN)
    }

    fn greets(&self, server: &HostName, service: &ServiceName) -> Result<(), String> {
        let (_, server) = self.server(server, service)?;
        greets(&server, HAND_IN)
    }

    fn mailboxes(&self, service: &ServiceName) -> usize {
        self.places(service, None).len()
    }

    fn look(
        &self,
        service: &ServiceName,
        servers: Option<&BTreeSet<HostName>>,
        prefix: &str,
        from: u64,
    ) -> Result<BTreeMap<u64, u64>, String> {
        let settings = self
            .services
            .get(service)
            .ok_or("the service has no probe")?;
        let on = self.places(service, servers);
        let mut all = BTreeMap::new();
        let mut trouble = None;
        for_each_bounded(
            &on,
            LOOKS_AT_A_TIME,
            |host| {
                let target = self
                    .addresses
                    .target(host)
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
        // In one call: a killed process leaves a line whole or cut, never mixed. And to the disk, before
        // anything is handed in: after a power cut no number may be given a second time.
        self.file
            .write_all(&lines)
            .and_then(|()| self.file.sync_data())
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
        let ends = |&(_, byte): &(usize, &u8)| *byte == b'\n';
        let line_ends: Vec<usize> = whole
            .iter()
            .enumerate()
            .filter(ends)
            .map(|at| at.0)
            .collect();
        for end in 0..=whole.len() {
            // A record counts as soon as all of it is there, though not the end of its line.
            let records = line_ends.iter().filter(|&&at| at <= end).count() as u64;
            let offered_before = records.saturating_sub(1);
            std::fs::write(&path, &whole[..end]).unwrap();
            let (mut journal, read) = FileJournal::open(&path, ledger(), at(0x60)).unwrap();
            assert_eq!(read.run(), if records > 0 { "5f" } else { "60" }, "{end}");
            journal.keep(&[offered(3)]).unwrap();
            let (_, read) = FileJournal::open(&path, ledger(), at(0x61)).unwrap();
            // Those before whose records were whole, and 3; the others are adrift, and count as nothing.
            let refused = read.figures(None, true).refused;
            assert_eq!(refused, offered_before + 1, "{end}");
        }
    }
}
