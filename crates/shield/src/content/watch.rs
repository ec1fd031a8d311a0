//! Counts what passes, so that an outbreak is noticed. Entry: [`Watch`]. What is counted is [`crate::outbreak`]'s.

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use mailkeep_inspect::kind::Class;
use mailkeep_inspect::{Origin, Reason, Seen, Verdict};
use mailkeep_model::{HeldMail, OutbreakAlert};
use mailkeep_wire::Network;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Subject;
use crate::outbreak::{Alert, Attachment, Expected, Observation, Outbreaks, Weight};

/// Alerts that are remembered.
const TOLD: usize = 64;
/// How long an alert is shown at `/status`.
const TOLD_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// `[outbreak]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OutbreakFile {
    /// Whether mail is held, or only spoken of.
    enforce: bool,
    /// Addresses of the site: what comes from there is its own mail.
    own_networks: Vec<String>,
    /// What much is expected of.
    expected: Expected,
    /// Where what was learnt is kept over a restart.
    state: Option<PathBuf>,
}

impl Default for OutbreakFile {
    fn default() -> Self {
        Self {
            enforce: true,
            own_networks: Vec::new(),
            expected: Expected::default(),
            state: None,
        }
    }
}

impl OutbreakFile {
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(super) fn own_networks(&self) -> Result<Vec<Network>, String> {
        let networks = self.own_networks.iter().map(|text| {
            let network: Result<Network, _> = text.parse();
            network.map_err(|error| error.to_string())
        });
        networks.collect()
    }
}

/// Counts what passes.
#[derive(Debug)]
pub(super) struct Watch {
    seen: Arc<Mutex<Outbreaks>>,
    /// What was told lately, the newest last.
    told: Arc<Mutex<VecDeque<OutbreakAlert>>>,
    file: OutbreakFile,
    own: Vec<Network>,
    /// Why what was learnt could not be read, until that has been said.
    unread: Mutex<Option<String>>,
    /// Something was told since it was written down.
    unsaved: AtomicBool,
}

impl Watch {
    /// # Errors
    ///
    /// A sentence that says what is wrong in the configuration. A state that cannot be read is begun anew.
    pub(super) fn new(file: &OutbreakFile) -> Result<Self, String> {
        let (mut seen, mut told, mut unread) = (Outbreaks::default(), VecDeque::new(), None);
        if let Some(path) = &file.state {
            // One that cannot be read says nothing against the other.
            seen = read(path).unwrap_or_else(|why| begun_anew(&mut unread, why));
            told = read(&told_beside(path)).unwrap_or_else(|why| begun_anew(&mut unread, why));
        }
        Ok(Self {
            seen: Arc::new(Mutex::new(seen)),
            told: Arc::new(Mutex::new(told)),
            own: file.own_networks()?,
            file: file.clone(),
            unread: Mutex::new(unread),
            unsaved: AtomicBool::new(false),
        })
    }

    /// Goes on with what another has counted.
    pub(super) fn adopt(&mut self, other: &Self) {
        self.seen = Arc::clone(&other.seen);
        self.told = Arc::clone(&other.told);
        self.unsaved = AtomicBool::new(other.is_unsaved());
        self.unread = Mutex::default();
    }

    /// Once, why what was learnt could not be read.
    pub(super) fn take_unread(&self) -> Option<String> {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread.take()
    }

    /// Notes a message that would otherwise go on: why it does not, and what is to be told.
    pub(super) fn observe(
        &self,
        subject: &Subject,
        contents: &[Seen],
    ) -> (Option<Reason>, Vec<OutbreakAlert>) {
        let Some(host) = subject.client else {
            return (None, Vec::new());
        };
        let host = host.to_canonical();
        let attachments: Vec<Attachment> = contents
            .iter()
            .filter(|seen| seen.origin != Origin::Body)
            .map(attachment)
            .collect();
        let sender = subject.sender.to_lowercase();
        let login = subject.login.as_ref().map(|login| login.to_lowercase());
        let observation = Observation {
            at: u64::try_from(Timestamp::now().as_second()).unwrap_or(0),
            host,
            sender: &sender,
            account: login.as_ref().unwrap_or(&sender),
            own: subject.authenticated || self.own.iter().any(|own| own.contains(host)),
            recipients: u32::try_from(subject.recipients.len()).unwrap_or(u32::MAX),
            attachments: &attachments,
            trace: &subject.trace,
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = seen.observe(&observation, &self.file.expected);
        drop(seen);
        let alerts = outcome.alerts.into_iter();
        let alerts: Vec<OutbreakAlert> = alerts
            .map(|alert| self.alert(alert, &subject.trace))
            .collect();
        if !alerts.is_empty() {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.extend(alerts.iter().cloned());
            let over = told.len().saturating_sub(TOLD);
            told.drain(..over);
            self.unsaved.store(true, Ordering::Relaxed);
        }
        let reason = outcome.held.map(|detector| Reason {
            rule: detector.name().into(),
            verdict: if self.file.enforce {
                Verdict::Tempfail
            } else {
                Verdict::Accept
            },
            text: "mail like this comes in unusual numbers and is held back; try again later"
                .to_owned(),
            evidence: String::new(),
            place: String::new(),
        });
        (reason, alerts)
    }

    fn alert(&self, alert: Alert, trace: &str) -> OutbreakAlert {
        let holds = alert.holds.filter(|_| self.file.enforce);
        OutbreakAlert {
            id: trace.to_owned(),
            at: Timestamp::now(),
            detector: alert.detector.name().to_owned(),
            text: format!("{} {}", alert.text, holds.unwrap_or("Nothing is held.")),
            counted: alert.counted,
            limit: alert.limit,
            usual: alert.usual,
            unit: alert.unit.to_owned(),
            held: holds.is_some(),
            isolate: alert.isolate,
            examples: alert.examples,
        }
    }

    /// The alerts of the last days, the newest last.
    pub(super) fn alerts(&self, now: Timestamp) -> Vec<OutbreakAlert> {
        let since = now.checked_sub(TOLD_FOR).unwrap_or(Timestamp::MIN);
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter()
            .filter(|alert| alert.at >= since)
            .cloned()
            .collect()
    }

    /// Whether something was told that is not written down yet.
    pub(super) fn is_unsaved(&self) -> bool {
        self.unsaved.load(Ordering::Relaxed)
    }

    /// What is held now.
    pub(super) fn status(&self, now: Timestamp) -> Vec<HeldMail> {
        let now = u64::try_from(now.as_second()).unwrap_or(0);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let held = seen.held(now).map(|(detector, since, messages)| HeldMail {
            detector: detector.name().to_owned(),
            since: i64::try_from(since)
                .ok()
                .and_then(|since| Timestamp::from_second(since).ok()),
            messages,
        });
        held.collect()
    }

    /// Writes what was told, whole or not at all. Blocks.
    pub(super) fn save_told(&self) -> Result<(), String> {
        self.unsaved.store(false, Ordering::Relaxed);
        let Some(path) = &self.file.state else {
            return Ok(());
        };
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = told.clone();
        drop(told);
        write(&told_beside(path), &copy)
    }

    /// Writes what was learnt and what was told where the configuration says: each whole, or not at all. Blocks.
    pub(super) fn save(&self) -> Result<(), String> {
        self.save_told()?;
        let Some(path) = &self.file.state else {
            return Ok(());
        };
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Mail waits for the lock: it is copied under it, and written down afterwards.
        let copy = seen.clone();
        drop(seen);
        write(path, &copy)
    }
}

/// Where that lies which was told: what was learnt is larger, and is written more rarely.
fn told_beside(state: &Path) -> PathBuf {
    state.with_extension("alerts.json")
}

fn write(path: &Path, what: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_vec(what).map_err(|error| error.to_string())?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        std::io::Result::Ok(())
    };
    write().map_err(|error| format!("{}: {error}", path.display()))
}

fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, String> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(T::default());
        }
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Notes why.
fn begun_anew<T: Default>(unread: &mut Option<String>, why: String) -> T {
    *unread = Some(match unread.take() {
        Some(other) => format!("{other}; {why}"),
        None => why,
    });
    T::default()
}

fn attachment(seen: &Seen) -> Attachment {
    use mailkeep_inspect::kind::Kind;
    let weight = match (seen.kind, seen.kind.class()) {
        (Kind::OoxmlMacro, _) | (_, Class::Program | Class::Script | Class::Shortcut) => {
            Weight::Active
        }
        (_, Class::Archive | Class::Disk | Class::Document | Class::Markup) => Weight::Openable,
        (_, Class::Message | Class::Media | Class::Other) => Weight::Passive,
    };
    Attachment {
        digest: seen.digest,
        kind: seen.kind.name(),
        weight,
        octets: seen.octets as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert() -> OutbreakAlert {
        OutbreakAlert {
            id: "a-1".to_owned(),
            at: Timestamp::now(),
            detector: "same-attachment".to_owned(),
            text: String::new(),
            counted: 3,
            limit: 3,
            usual: None,
            unit: "senders".to_owned(),
            held: true,
            isolate: None,
            examples: Vec::new(),
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_takes_nothing_else_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("outbreak.json");
        let file = OutbreakFile {
            state: Some(state.clone()),
            ..OutbreakFile::default()
        };
        let learnt = |watch: &Watch| serde_json::to_string(&*watch.seen.lock().unwrap()).unwrap();
        let watch = Watch::new(&file).unwrap();
        assert_eq!(watch.take_unread(), None);
        let subject = Subject {
            client: Some([10, 0, 0, 2].into()),
            sender: "ada@example.org".to_owned(),
            ..Subject::default()
        };
        watch.observe(&subject, &[]);
        watch.told.lock().unwrap().push_back(alert());
        watch.save().unwrap();
        let before = learnt(&watch);
        assert!(before.contains("ada@example.org") || before.contains("10.0.0.2"));

        let told = std::fs::read(told_beside(&state)).unwrap();
        std::fs::write(told_beside(&state), "[").unwrap();
        let watch = Watch::new(&file).unwrap();
        assert_eq!(learnt(&watch), before);
        assert!(
            watch
                .take_unread()
                .unwrap()
                .contains("outbreak.alerts.json")
        );

        std::fs::write(told_beside(&state), told).unwrap();
        std::fs::write(&state, "{").unwrap();
        let watch = Watch::new(&file).unwrap();
        assert_eq!(watch.alerts(Timestamp::now()).len(), 1);
        assert!(watch.take_unread().unwrap().contains("outbreak.json"));
    }
}
