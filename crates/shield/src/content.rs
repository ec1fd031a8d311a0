//! What is looked at in a message, for the proxy and for the milter alike: its content by `mailkeep-inspect`, virus
//! scanners, and whether its sender is who he says.
//!
//! Entry: [`Content::judge`]. Fails closed: what could not be looked at, or not in time, is a temporary failure, and the
//! sender keeps the message.

mod auth;
mod checks;
mod clamd;
mod config;
mod headers;
mod kept;
mod names;
mod spf;
mod watch;
mod yara;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use mail_auth::SpfResult;
use mailkeep_inspect::rules::Compiled;
use mailkeep_inspect::{Judgement, Profile, Reason, Scanner, Seen, Verdict, judge_quickly};
use mailkeep_model::text::printable_max;
use mailkeep_model::{Freshness, HeldMail, OutbreakAlert, ScannerState};
use mailkeep_wire::milter::HeaderEdit;
use mailkeep_wire::{EnhancedCode, Reply};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use self::auth::{Authenticator, Authenticity};
use self::checks::Checks;
use self::clamd::{Engine, Known, Scan};
pub(crate) use self::config::{
    AntivirusFile, AuthenticationFile, ContentFile, ContentFiles, MilterFile, MilterSocket, Socket,
};
use self::config::{Profiles, Unscanned};
pub(crate) use self::watch::OutbreakFile;
use self::watch::Watch;
pub(crate) use self::yara::YaraFile;
use crate::counters::label;
use crate::log::Log;
use crate::outbreak::Detector;
use crate::patches::Patches;
use crate::quarantine::Quarantine;

/// Names and verdicts that are counted.
const MOST_COUNTS: usize = 16_384;
/// Profiles by which a message is judged at once.
const QUICK_PROFILES: usize = 2;
/// Virtual patches by which that is done: each may make a test of the whole.
const QUICK_RULES: usize = 500;
/// How often each virus scanner is asked for its version.
pub(crate) const LOOK_EVERY: Duration = Duration::from_mins(1);

/// A place in memory for one message.
pub(crate) type Room = Arc<OwnedSemaphorePermit>;

/// Whose message it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    /// The listener or milter it came by.
    pub(crate) listener: String,
    pub(crate) trace: String,
    /// None: it was made on the machine.
    pub(crate) client: Option<IpAddr>,
    pub(crate) hello: String,
    /// Without brackets; empty for a bounce.
    pub(crate) sender: String,
    pub(crate) recipients: Vec<String>,
    /// The client proved who it is: it is one of ours.
    pub(crate) authenticated: bool,
    /// Who that is, where it is known. The proxy looks into no credentials.
    pub(crate) login: Option<String>,
    /// What SPF said, where it was asked already, and of which domain.
    pub(crate) spf: Option<(SpfResult, String)>,
}

/// What becomes of a message, and of its headers if it goes on.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// The strongest first.
    pub(crate) reasons: Vec<Reason>,
    /// It is in the shield's own quarantine, and the sender is told that it was taken.
    pub(crate) kept: bool,
    /// What is to be said where it does not go on; for [`Verdict::Quarantine`] without a quarantine, that it is refused.
    pub(crate) reply: Option<Reply>,
    /// A value of Authentication-Results that stands in front, with CRLF where it is folded.
    results: Option<String>,
    /// What each check said, in their order.
    checks: Value,
    /// Forged ones, by their number and place.
    forged: Vec<(u32, Range<usize>)>,
}

impl Outcome {
    /// What becomes of a message that was not looked at.
    pub(crate) fn unseen(verdict: Verdict) -> Self {
        Self {
            verdict,
            ..Self::default()
        }
    }

    /// As a milter says it.
    pub(crate) fn edits(&self) -> Vec<HeaderEdit> {
        let name = || "Authentication-Results".to_owned();
        let removals = self.forged.iter().map(|(nth, _)| HeaderEdit::Remove {
            name: name(),
            nth: *nth,
        });
        let insert = self.results.iter().map(|value| HeaderEdit::Insert {
            name: name(),
            value: value.replace("\r\n", "\n"),
        });
        removals.chain(insert).collect()
    }

    /// Header lines that stand in front of the message.
    pub(crate) fn before(&self) -> String {
        let results = self.results.as_ref();
        results.map_or_else(String::new, |value| {
            format!("Authentication-Results: {value}\r\n")
        })
    }

    /// Octets of the message that do not go on, in order.
    pub(crate) fn omit(&self) -> Vec<Range<usize>> {
        self.forged.iter().map(|(_, place)| place.clone()).collect()
    }

    /// For the log.
    pub(crate) fn fields(&self) -> Vec<(&'static str, Value)> {
        let mut fields = vec![("content", json!(self.verdict.name()))];
        if let Some(first) = self.reasons.first() {
            let rules: Vec<&str> = self.reasons.iter().map(|reason| &*reason.rule).collect();
            fields.push(("rules", json!(rules)));
            fields.push(("rule", json!(first.rule)));
            let evidence = printable_max(&format!("{} {}", first.place, first.evidence), 300);
            fields.push(("evidence", json!(evidence.trim())));
        }
        if !self.checks.is_null() {
            fields.push(("checks", self.checks.clone()));
        }
        fields
    }
}

/// What the configuration says of content, checked; virus scanners with what is known of them.
#[derive(Debug)]
pub(crate) struct Content {
    profiles: Profiles,
    turns: Arc<Semaphore>,
    /// What messages may take of memory, in KiB.
    memory: Arc<Semaphore>,
    engines: Vec<Engine>,
    antivirus: AntivirusFile,
    authenticator: Option<Authenticator>,
    quarantine: Option<Arc<Quarantine>>,
    watch: Option<Watch>,
    yara: Option<yara::Shared>,
    counts: Arc<Mutex<BTreeMap<(String, &'static str), u64>>>,
}

impl Content {
    /// # Errors
    ///
    /// A sentence that says what is wrong in the configuration.
    pub(crate) fn new(name: &str, files: &ContentFiles) -> Result<Self, String> {
        let engines = files.antivirus.engines()?;
        let profiles = files.content.check(&files.asked())?;
        let authenticator = match &files.authentication {
            Some(file) => Some(Authenticator::new(file, name)?),
            None => None,
        };
        let quarantine = match &files.quarantine {
            Some(file) => Some(Quarantine::new(file).map_err(|error| error.to_string())?),
            None => None,
        };
        let watch = files.outbreak.as_ref().map(Watch::new).transpose()?;
        let yara = yara::load(&files.yara)?;
        Ok(Self {
            yara,
            quarantine: quarantine.map(Arc::new),
            watch,
            turns: Arc::new(Semaphore::new(profiles.at_a_time)),
            memory: Arc::new(Semaphore::new(profiles.memory as usize)),
            profiles,
            engines: engines.into_iter().map(Engine::new).collect(),
            antivirus: files.antivirus.clone(),
            authenticator,
            counts: Arc::default(),
        })
    }

    /// Says of what mail the site's own rules see nothing: nobody should learn that from an outbreak.
    pub(crate) fn tell(&self, log: &Log) {
        let not_looked_into = self.profiles.not_looked_into();
        if self.yara.is_some() && !not_looked_into.is_empty() {
            let fields = [("level_off", json!(not_looked_into))];
            log.line("yara-left-out", &fields);
        }
    }

    /// Takes over what another one has counted, and what it knows of the virus scanners that are the same.
    pub(crate) fn adopt(&mut self, other: &Self) {
        if let (Some(ours), Some(theirs)) = (&mut self.watch, &other.watch) {
            ours.adopt(theirs);
        }
        // Both count on together: of messages under way the other one will still count.
        self.counts = Arc::clone(&other.counts);
        for engine in &self.engines {
            let mut others = other.engines.iter();
            if let Some(same) = others.find(|other| other.config.is_same(&engine.config)) {
                engine.remember(same.known());
            }
        }
    }

    /// Whether anything is looked at in a message of this listener to these recipients; if not, it need not be read
    /// back.
    pub(crate) fn looks(&self, listener: &str, recipients: &[String]) -> bool {
        self.authenticator.is_some()
            || self.watch.is_some()
            || !self.engines.is_empty()
            || !self.profiles.of(listener, recipients).is_empty()
    }

    /// Waits until there is room in memory for a message of this size; none in time. To be held for as long as the
    /// message lies there.
    pub(crate) async fn room(&self, size: u64) -> Option<Room> {
        let kib = u32::try_from(size.div_ceil(1024)).unwrap_or(u32::MAX);
        // One that is larger than all there is takes all there is.
        let kib = kib.clamp(1, self.profiles.memory);
        let room = Arc::clone(&self.memory).acquire_many_owned(kib);
        let room = tokio::time::timeout(self.profiles.patience, room).await;
        room.ok()?.ok().map(Arc::new)
    }

    /// Whether every message is looked into.
    pub(crate) fn looks_into_all(&self) -> bool {
        self.profiles.all_look()
    }

    /// Whether a rule of the inspection refuses, whoever the mail is from and for.
    pub(crate) fn refuses(&self, rule: &str) -> bool {
        self.profiles.refuse(rule)
    }

    /// What is known of a sender before there is any content, where policy asks for that: what SPF says, and what is
    /// answered where that does not go on.
    pub(crate) async fn before_content(
        &self,
        subject: &Subject,
    ) -> Option<((SpfResult, String), Option<(Reason, Reply)>)> {
        let authenticator = self.authenticator.as_ref()?;
        let sender = authenticator.before_content(subject).await?;
        // What is to be kept for a person to look at has content; so has what is only noticed.
        let reason = sender
            .reason
            .filter(|reason| reason.verdict >= Verdict::Tempfail);
        if let Some(reason) = &reason {
            self.count(std::slice::from_ref(reason), reason.verdict);
        }
        let answered = reason.and_then(|reason| {
            let reply = reply(Some(&reason), &subject.trace)?;
            Some((reason, reply))
        });
        Some((sender.spf, answered))
    }

    /// What becomes of a message.
    pub(crate) async fn judge(
        &self,
        subject: &Subject,
        message: Arc<Vec<u8>>,
        room: Option<Room>,
        patches: &Patches,
        log: &Log,
    ) -> Outcome {
        let profiles = self.profiles.of(&subject.listener, &subject.recipients);
        let looked = !profiles.is_empty();
        let inspected = async {
            let (judgement, parts_room) = self
                .inspect(profiles, &message, room.clone(), patches)
                .await;
            // What is refused anyway costs the scanners nothing.
            let scanned = if judgement.verdict == Verdict::Refuse {
                Vec::new()
            } else {
                let files = if looked {
                    judgement.files
                } else {
                    may_hold_files(&message)
                };
                self.scan(&message, &judgement, parts_room, files).await
            };
            (judgement, scanned)
        };
        let authenticated = async {
            match &self.authenticator {
                Some(authenticator) => {
                    let mut found = authenticator.judge(subject, &message).await;
                    let (forged, too_many) = authenticator.forged_results(&message);
                    found.reasons.extend(too_many);
                    (found, forged)
                }
                None => (Authenticity::default(), Vec::new()),
            }
        };
        // Name servers are asked first: they answer while the message is looked into.
        let ((authentic, forged), (judgement, scanned)) = tokio::join!(authenticated, inspected);
        let mut checks = Checks::default();
        if looked {
            checks.add("content", &judgement.reasons);
        }
        if judgement.verdict != Verdict::Refuse {
            let names = self.engines.iter().map(|one| one.config.name.as_str());
            checks.scanners(names, &scanned);
        }
        checks.sender(authentic.results.as_deref(), &authentic.reasons);
        let mut reasons = judgement.reasons;
        reasons.extend(scanned);
        reasons.extend(authentic.reasons);
        // What is refused is counted, too: a server that spreads what everybody refuses is one to look at. What
        // is to come again is counted when it does.
        if reasons.iter().all(|one| one.verdict != Verdict::Tempfail) {
            let held = self.observe(subject, &judgement.contents, log);
            if self.watch.is_some() {
                checks.add("outbreak", held.as_slice());
            }
            if reasons.iter().all(|one| one.verdict == Verdict::Accept) {
                reasons.extend(held);
            }
        }
        let strongest = |reasons: &mut Vec<Reason>| {
            reasons.sort_by_key(|reason| std::cmp::Reverse(reason.verdict));
            reasons.first().map_or(Verdict::Accept, |one| one.verdict)
        };
        let mut verdict = strongest(&mut reasons);
        let mut kept = false;
        if let (Verdict::Quarantine, Some(quarantine)) = (verdict, &self.quarantine) {
            let quarantine = Arc::clone(quarantine);
            let work = kept::keep(quarantine, subject.clone(), message, reasons.clone());
            match work.await {
                Ok(()) => kept = true,
                Err(error) => {
                    let evidence = error.to_string();
                    let failed = tempfail("quarantine-failed", &evidence);
                    checks.add("quarantine", std::slice::from_ref(&failed));
                    reasons.push(failed);
                    verdict = strongest(&mut reasons);
                }
            }
        }
        self.count(&reasons, verdict);
        let mut reply = reply(reasons.first(), &subject.trace);
        if kept {
            let text = format!("kept for a person to look at (reference {})", subject.trace);
            reply = Some(Reply::new(250, EnhancedCode::new(2, 0, 0), &text));
            let rule = reasons.first().map(|reason| reason.rule.to_string());
            let fields = [
                ("id", json!(subject.trace)),
                ("listener", json!(subject.listener)),
                ("rule", json!(rule)),
            ];
            log.line("quarantined", &fields);
        }
        Outcome {
            verdict,
            kept,
            reply,
            reasons,
            checks: checks.value(),
            results: authentic.results,
            forged,
        }
    }

    /// Counts a message that would go on; why it does not after all.
    fn observe(&self, subject: &Subject, contents: &[Seen], log: &Log) -> Option<Reason> {
        let (reason, alerts) = self.watch.as_ref()?.observe(subject, contents);
        for alert in alerts {
            self.one(&alert.detector, "outbreak");
            // Who sent them is told at /status; the log names nobody it need not.
            let examples = alert.examples.iter().map(|one| &one.trace);
            let fields = [
                ("alert", json!(true)),
                ("detector", json!(alert.detector)),
                ("text", json!(alert.text)),
                ("counted", json!(alert.counted)),
                ("limit", json!(alert.limit)),
                ("usual", json!(alert.usual)),
                ("unit", json!(alert.unit)),
                ("held", json!(alert.held)),
                ("isolate", json!(alert.isolate)),
                ("examples", json!(examples.collect::<Vec<_>>())),
                ("trace", json!(subject.trace)),
            ];
            log.line("outbreak-alert", &fields);
        }
        reason
    }

    /// What is to be done from time to time, beside mail: `nth` counts the minutes since the beginning.
    pub(crate) async fn every_minute(self: Arc<Self>, nth: u64, log: &Log) {
        self.look(log).await;
        if nth % 10 == 9 {
            Arc::clone(&self).save(log).await;
        } else if self.watch.as_ref().is_some_and(Watch::is_unsaved) {
            // Whoever asks each minute must find it after a restart, too.
            Arc::clone(&self).write(Watch::save_told, log).await;
        }
        if nth.is_multiple_of(60)
            && let Some(quarantine) = self.quarantine.clone()
        {
            let now = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
            let work = spawn_blocking(move || quarantine.expire(now));
            let expired = work.await.map_err(std::io::Error::other).flatten();
            match expired {
                Ok(expired) if expired.unreadable > 0 => {
                    let fields = [("unreadable", json!(expired.unreadable))];
                    log.line("quarantine-unreadable", &fields);
                }
                Ok(_) => {}
                Err(error) => log.line("quarantine-failed", &[("why", json!(error.to_string()))]),
            }
        }
    }

    /// Writes down what was learnt.
    pub(crate) async fn save(self: Arc<Self>, log: &Log) {
        self.write(Watch::save, log).await;
    }

    async fn write(self: Arc<Self>, what: fn(&Watch) -> Result<(), String>, log: &Log) {
        let work = spawn_blocking(move || self.watch.as_ref().map_or(Ok(()), what));
        let saved = work.await.map_err(|error| error.to_string()).flatten();
        if let Err(why) = saved {
            log.line("outbreak-state-failed", &[("why", json!(why))]);
        }
    }

    /// By `mailkeep-inspect`: at once where that takes no time to speak of, as of most messages; else beside the
    /// runtime, as many at a time as configured, each with a time-out.
    async fn inspect(
        &self,
        profiles: Vec<Arc<Profile>>,
        message: &Arc<Vec<u8>>,
        room: Option<Room>,
        patches: &Patches,
    ) -> (Judgement, PartsRoom) {
        if profiles.is_empty() {
            return (Judgement::default(), PartsRoom::NotNeeded);
        }
        let held = patches.in_force();
        // One that is larger than all that is left beside the message takes all of that.
        let own = room.as_ref().map_or(0, |room| room.num_permits());
        let own = u32::try_from(own).unwrap_or(u32::MAX);
        let most = self.profiles.memory.saturating_sub(own);
        let turn = self.turns.try_acquire();
        let is_quick = profiles.len() <= QUICK_PROFILES && held.compiled.count() <= QUICK_RULES;
        if turn.is_ok() && is_quick && self.yara.is_none() {
            let quick = profiles
                .iter()
                .map(|profile| judge_quickly(message, profile, Some(&held.compiled)));
            let quick: Option<Vec<Judgement>> = quick.collect();
            let strictest = quick.and_then(|all| all.into_iter().max_by_key(|one| one.verdict));
            if let Some(mut judgement) = strictest {
                count_patches(&judgement, &held.compiled, patches);
                let room = PartsRoom::of(&mut judgement, Arc::clone(&self.memory), most);
                return (judgement, room);
            }
        }
        drop(turn);
        let deadline = Instant::now() + self.profiles.patience;
        let work = async {
            let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else {
                return None;
            };
            let message = Arc::clone(message);
            let yara = self.yara.clone();
            let yara = yara.map(|rules| yara::OneMessage::new(rules, deadline, profiles.len()));
            let memory = Arc::clone(&self.memory);
            let work = spawn_blocking(move || {
                // Its turn and its room last until the work is over, not until nobody waits for it any more.
                let (_turn, _room) = (turn, room);
                let all = profiles.iter().map(|profile| {
                    let yara = yara.as_ref().map(|yara| yara as &dyn Scanner);
                    mailkeep_inspect::judge_with(&message, profile, Some(&held.compiled), yara)
                });
                let mut judgement = all.max_by_key(|judgement| judgement.verdict);
                // Before the next one has its turn: what waits for a scanner is counted, like messages themselves.
                let room = match &mut judgement {
                    Some(judgement) => PartsRoom::of(judgement, memory, most),
                    None => PartsRoom::NotNeeded,
                };
                (judgement, held, room)
            });
            work.await.ok()
        };
        match tokio::time::timeout_at(deadline.into(), work).await {
            Ok(Some((Some(judgement), held, room))) => {
                count_patches(&judgement, &held.compiled, patches);
                (judgement, room)
            }
            Ok(_) => (failed("inspection-failed"), PartsRoom::NotNeeded),
            Err(_) => (failed("inspection-late"), PartsRoom::NotNeeded),
        }
    }

    /// By every virus scanner at once: the message as it came, and what scanners do not find in it themselves.
    async fn scan(
        &self,
        message: &[u8],
        judgement: &Judgement,
        room: PartsRoom,
        files: bool,
    ) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let mut answered = 0;
        let now = Timestamp::now();
        let pieces = &judgement.pieces;
        let scans = self
            .engines
            .iter()
            .map(|engine| engine.scan(message, pieces));
        let scans = join_all(scans).await;
        for (engine, scan) in self.engines.iter().zip(scans) {
            let name = &engine.config.name;
            match scan {
                Ok(Scan::Clean) => {
                    answered += 1;
                    self.one(name, "scan-clean");
                }
                Ok(Scan::Found(signature)) => {
                    answered += 1;
                    self.one(name, "scan-found");
                    reasons.push(Reason {
                        rule: "infected".into(),
                        verdict: Verdict::Refuse,
                        text: format!("a virus was found: {}", printable_max(&signature, 100)),
                        evidence: format!("{name}: {signature}"),
                        place: String::new(),
                    });
                }
                Err(error) => {
                    self.one(name, "scan-failed");
                    reasons.push(Reason {
                        rule: error.kind().into(),
                        verdict: unscanned(self.antivirus.when_dead, files),
                        text: "it could not be scanned for viruses; try again later".to_owned(),
                        evidence: format!("{name}: {error}"),
                        place: String::new(),
                    });
                }
            }
            let freshness = engine.known().freshness(now, self.antivirus.stale_hours);
            let dateless = freshness == Freshness::Unknown && engine.config.own_definitions;
            if freshness != Freshness::Fresh && !dateless {
                reasons.push(Reason {
                    rule: format!("definitions-{}", freshness.name()).into(),
                    verdict: unscanned(self.antivirus.when_stale, files),
                    text: "it could not be scanned with definitions of today; try again later"
                        .to_owned(),
                    evidence: name.clone(),
                    place: String::new(),
                });
            }
        }
        if answered > 0 && self.antivirus.one_is_enough {
            for reason in &mut reasons {
                if reason.verdict == Verdict::Tempfail && reason.rule.starts_with("antivirus-") {
                    reason.verdict = Verdict::Accept;
                }
            }
        }
        // What no scanner was given is none's word.
        if judgement.pieces_left && !self.engines.is_empty() {
            reasons.push(Reason {
                rule: "antivirus-too-many-parts".into(),
                // Another try would change nothing.
                verdict: match unscanned(self.antivirus.when_dead, files) {
                    Verdict::Tempfail => Verdict::Refuse,
                    other => other,
                },
                text: "it holds more than can be scanned for viruses".to_owned(),
                evidence: format!("{} parts are scanned", pieces.len()),
                place: String::new(),
            });
        }
        if matches!(room, PartsRoom::None) {
            reasons.push(Reason {
                rule: "antivirus-late".into(),
                verdict: unscanned(self.antivirus.when_dead, files),
                text: "it could not be scanned for viruses; try again later".to_owned(),
                evidence: "no room for its parts".to_owned(),
                place: String::new(),
            });
        }
        reasons
    }

    /// Asks every virus scanner for its version, and says what has changed.
    async fn look(&self, log: &Log) {
        if let Some(why) = self.watch.as_ref().and_then(Watch::take_unread) {
            log.line("outbreak-state-failed", &[("why", json!(why))]);
        }
        let hours = self.antivirus.stale_hours;
        let looks = join_all(self.engines.iter().map(Engine::look)).await;
        for (engine, (before, now)) in self.engines.iter().zip(looks) {
            let time = Timestamp::now();
            let state = |known: &Known| (known.up, known.freshness(time, hours));
            if state(&before) == state(&now) && before != Known::default() {
                continue;
            }
            let freshness = now.freshness(time, hours);
            let mut fields = vec![
                ("engine", json!(engine.config.name)),
                ("version", json!(now.version)),
                ("freshness", json!(freshness.name())),
            ];
            if let Some((number, date)) = &now.definitions {
                fields.push(("definitions", json!(number)));
                fields.push(("definitions_date", json!(date.to_string())));
            }
            if let Some(why) = now.why {
                fields.push(("why", json!(why)));
            }
            let event = if !now.up {
                "antivirus-down"
            } else if freshness == Freshness::Fresh {
                "antivirus-up"
            } else {
                "definitions-not-fresh"
            };
            fields.push(("alert", json!(event != "antivirus-up")));
            log.line(event, &fields);
        }
    }

    fn count(&self, reasons: &[Reason], verdict: Verdict) {
        self.one("", verdict.name());
        for reason in reasons {
            self.one(&reason.rule, reason.verdict.name());
        }
    }

    fn one(&self, what: &str, how: &'static str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // Names come from rules, which are few; should one ever be made of a message, memory stays bounded.
        let is_full = counts.len() >= MOST_COUNTS;
        match counts.entry((what.to_owned(), how)) {
            Entry::Occupied(mut known) => *known.get_mut() += 1,
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(fresh) => {
                fresh.insert(1);
            }
        }
    }

    /// The Prometheus text form.
    pub(crate) fn render(&self) -> String {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counts.clone();
        let mut text = String::new();
        let head = |text: &mut String, name: &str, kind: &str, help: &str| {
            writeln!(text, "# HELP mailkeep_shield_{name} {help}").ok();
            writeln!(text, "# TYPE mailkeep_shield_{name} {kind}").ok();
        };
        head(
            &mut text,
            "content_total",
            "counter",
            "Messages that were looked into, by verdict.",
        );
        for ((what, how), count) in &counts {
            if what.is_empty() {
                writeln!(
                    text,
                    "mailkeep_shield_content_total{{verdict=\"{how}\"}} {count}"
                )
                .ok();
            }
        }
        head(
            &mut text,
            "content_rule_total",
            "counter",
            "How often each rule on content applied, by what it asked for.",
        );
        for ((rule, how), count) in &counts {
            if !rule.is_empty() && *how != "outbreak" && !how.starts_with("scan-") {
                writeln!(
                    text,
                    "mailkeep_shield_content_rule_total{{rule=\"{rule}\",verdict=\"{how}\"}} {count}"
                )
                .ok();
            }
        }
        head(
            &mut text,
            "outbreak_total",
            "counter",
            "Limits of outbreaks that were passed, by detector.",
        );
        for detector in Detector::ALL {
            let detector = detector.name();
            let count = counts.get(&(detector.to_owned(), "outbreak")).unwrap_or(&0);
            writeln!(
                text,
                "mailkeep_shield_outbreak_total{{detector=\"{detector}\"}} {count}"
            )
            .ok();
        }
        if self.engines.is_empty() {
            return text;
        }
        head(
            &mut text,
            "antivirus_scans_total",
            "counter",
            "Scans by each virus scanner, by result.",
        );
        for ((engine, how), count) in &counts {
            if let Some(result) = how.strip_prefix("scan-") {
                let engine = label(engine);
                writeln!(
                    text,
                    "mailkeep_shield_antivirus_scans_total{{engine=\"{engine}\",result=\"{result}\"}} {count}"
                )
                .ok();
            }
        }
        let now = Timestamp::now();
        head(
            &mut text,
            "antivirus_up",
            "gauge",
            "Whether a virus scanner answers.",
        );
        for engine in &self.engines {
            let (name, up) = (label(&engine.config.name), u8::from(engine.known().up));
            writeln!(
                text,
                "mailkeep_shield_antivirus_up{{engine=\"{name}\"}} {up}"
            )
            .ok();
        }
        head(
            &mut text,
            "antivirus_definitions",
            "gauge",
            "1 for what is known of the age of its definitions.",
        );
        for engine in &self.engines {
            let name = label(&engine.config.name);
            let is = engine.known().freshness(now, self.antivirus.stale_hours);
            for state in Freshness::ALL {
                let (state, value) = (state.name(), u8::from(state == is));
                writeln!(text, "mailkeep_shield_antivirus_definitions{{engine=\"{name}\",state=\"{state}\"}} {value}").ok();
            }
        }
        head(
            &mut text,
            "antivirus_definitions_age_seconds",
            "gauge",
            "Age of its definitions; absent where it is unknown.",
        );
        for engine in &self.engines {
            let name = label(&engine.config.name);
            if let Some(age) = engine.known().age_seconds(now) {
                writeln!(
                    text,
                    "mailkeep_shield_antivirus_definitions_age_seconds{{engine=\"{name}\"}} {age}"
                )
                .ok();
            }
        }
        text
    }

    /// What is held back, as `/status` shows it: nothing where nobody watches for it.
    pub(crate) fn held(&self, now: Timestamp) -> Vec<HeldMail> {
        let watch = self.watch.as_ref();
        watch.map(|watch| watch.status(now)).unwrap_or_default()
    }

    /// The outbreaks that were told of lately, as `/status` shows them.
    pub(crate) fn alerts(&self, now: Timestamp) -> Vec<OutbreakAlert> {
        let watch = self.watch.as_ref();
        watch.map(|watch| watch.alerts(now)).unwrap_or_default()
    }

    /// What is known of the virus scanners, as `/status` shows it.
    pub(crate) fn status(&self, now: Timestamp) -> Vec<ScannerState> {
        let engines = self.engines.iter().map(|engine| {
            let known = engine.known();
            let definitions = known.definitions.as_ref();
            ScannerState {
                name: engine.config.name.clone(),
                socket: engine.config.socket.to_string(),
                up: known.up,
                why: known.why.map(str::to_owned),
                version: Some(known.version.clone()).filter(|version| !version.is_empty()),
                definitions: definitions.map(|(number, _)| number.clone()),
                definitions_date: definitions.map(|(_, date)| *date),
                definitions_age_seconds: known.age_seconds(now),
                freshness: known.freshness(now, self.antivirus.stale_hours),
            }
        });
        engines.collect()
    }
}

/// Room in memory for what is handed to virus scanners beside the message.
enum PartsRoom {
    NotNeeded,
    #[expect(dead_code, reason = "it is held while they scan")]
    Held(OwnedSemaphorePermit),
    /// There is none, and nothing is handed out.
    None,
}

impl PartsRoom {
    /// `most` is all there can be, in KiB.
    fn of(judgement: &mut Judgement, memory: Arc<Semaphore>, most: u32) -> Self {
        let octets: usize = judgement.pieces.iter().map(Vec::len).sum();
        if octets == 0 {
            return Self::NotNeeded;
        }
        let kib = u32::try_from(octets.div_ceil(1024)).unwrap_or(u32::MAX);
        if let Ok(permit) = memory.try_acquire_many_owned(kib.min(most)) {
            return Self::Held(permit);
        }
        judgement.pieces.clear();
        Self::None
    }
}

/// What becomes of a message that was not soundly scanned.
fn unscanned(policy: Unscanned, files: bool) -> Verdict {
    match policy {
        Unscanned::Tempfail => Verdict::Tempfail,
        Unscanned::TempfailAttachments if files => Verdict::Tempfail,
        Unscanned::Accept | Unscanned::TempfailAttachments => Verdict::Accept,
    }
}

/// Counts what the virtual patches have to say of a message.
fn count_patches(judgement: &Judgement, compiled: &Compiled, patches: &Patches) {
    for reason in &judgement.reasons {
        if compiled.names().any(|name| *name == reason.rule) {
            patches.count(reason);
        }
    }
}

fn failed(rule: &'static str) -> Judgement {
    let mut judgement = Judgement::default();
    judgement.add(tempfail(rule, ""));
    judgement
}

fn tempfail(rule: &'static str, evidence: &str) -> Reason {
    Reason {
        rule: rule.into(),
        verdict: Verdict::Tempfail,
        text: "it could not be looked into; try again later".to_owned(),
        evidence: printable_max(evidence, 200),
        place: String::new(),
    }
}

/// What the sender is told.
fn reply(reason: Option<&Reason>, trace: &str) -> Option<Reply> {
    let reason = reason?;
    let text = format!("{} (reference {trace})", printable_max(&reason.text, 300));
    match reason.verdict {
        Verdict::Accept => None,
        Verdict::Tempfail => Some(Reply::new(451, EnhancedCode::new(4, 7, 1), &text)),
        Verdict::Quarantine | Verdict::Refuse => {
            Some(Reply::new(550, EnhancedCode::new(5, 7, 1), &text))
        }
    }
}

/// Whether a message is more than one plain text: of what is not, nobody knows what it holds without looking.
fn may_hold_files(message: &[u8]) -> bool {
    let mut types = 0;
    for field in headers::fields(message) {
        let tells = if field.is("Content-Type") {
            types += 1;
            let value = String::from_utf8_lossy(field.value).to_ascii_lowercase();
            types > 1 || !value.trim().starts_with("text/plain") || value.contains("name")
        } else if field.is("Content-Transfer-Encoding") {
            let value = field.value.to_ascii_lowercase();
            memchr::memmem::find(&value, b"base64").is_some()
        } else {
            field.is("Content-Disposition")
        };
        if tells {
            return true;
        }
    }
    // Where headers end readers do not agree.
    holds_encoded(message)
}

/// Whether a text may hold a file in letters.
fn holds_encoded(text: &[u8]) -> bool {
    let begin = |mark: &[u8]| text.starts_with(mark);
    let mut marks = [
        &b"\nbegin "[..],
        b"\n=ybegin ",
        b"\n(This file must be converted",
    ]
    .into_iter();
    marks.any(|mark| {
        mark.strip_prefix(b"\n").is_some_and(begin) || memchr::memmem::find(text, mark).is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_counted_on_however_many_names_there_are() {
        let content = Content::new("shield.example", &ContentFiles::default()).unwrap();
        content.one("rule", "refuse");
        for nth in 0..2 * MOST_COUNTS {
            content.one(&nth.to_string(), "accept");
        }
        content.one("rule", "refuse");
        let counts = content.counts.lock().unwrap();
        assert_eq!(counts[&("rule".to_owned(), "refuse")], 2);
        assert_eq!(counts.len(), MOST_COUNTS);
    }

    #[test]
    fn pieces_have_room_beside_a_message_that_takes_nearly_all() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let file = toml::from_str("memory = 102400\nseconds = 1").unwrap();
        let files = ContentFiles {
            content: file,
            ..ContentFiles::default()
        };
        let content = Content::new("shield.example", &files).unwrap();
        for size in [90 << 10, 100 << 10] {
            runtime.block_on(async {
                let room = content.room(size).await.unwrap();
                let own = u32::try_from(room.num_permits()).unwrap();
                let mut judgement = Judgement {
                    pieces: vec![vec![0; 50 << 10]],
                    ..Judgement::default()
                };
                let memory = Arc::clone(&content.memory);
                let parts = PartsRoom::of(&mut judgement, memory, content.profiles.memory - own);
                assert!(matches!(parts, PartsRoom::Held(_)));
                assert_eq!(content.memory.available_permits(), 0);
            });
        }
    }

    #[test]
    fn only_one_plain_text_holds_no_files() {
        for plain in [
            "Subject: x\r\n\r\nhello\r\n",
            "Content-Type: text/plain; charset=utf-8\r\n\r\nhello, let us begin now\r\n",
        ] {
            assert!(!may_hold_files(plain.as_bytes()), "{plain}");
        }
        for other in [
            "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a--\r\n",
            "Content-Type: text/plain; name=a.exe\r\n\r\nx\r\n",
            "Content-Type: text/plain\r\nContent-Type: application/zip\r\n\r\nx\r\n",
            "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nTVo=\r\n",
            "Content-Disposition: attachment\r\n\r\nx\r\n",
            "Subject: x\r\n\r\nhello\r\nbegin 644 a.exe\r\nend\r\n",
            "Content-Type: text/html\r\n\r\n<p>\r\n",
            "Subject: x\r\nhello\r\nbegin 644 a.exe\r\nM38:0M38:0\r\nend\r\n\r\nx",
            "Subject: x\r\nbegin 644 a.exe\r\nM38:0\r\nend\r\n",
            "begin 644 a.exe\r\nM38:0\r\nend\r\n",
        ] {
            assert!(may_hold_files(other.as_bytes()), "{other}");
        }
    }
}
