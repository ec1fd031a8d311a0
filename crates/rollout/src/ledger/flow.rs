//! Numbered messages through every service while a rollout runs.
//!
//! Entry type: [`Flows`]. Two threads for each service: one hands in about a message a second, the way
//! a sender does (one server, on refusal the next, and what nobody takes again later); one looks into
//! the mailbox where they end. What is missing pauses the rollout.
//!
//! **Invariant:** nothing is handed in that does not stand in the journal before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::SignedDuration;
use mailkeep_model::{
    Act, ActOutcome, Actor, EventKind, HostName, Ledger, PlanId, ServiceName, Timestamp,
};
use mailkeep_reach::probe::HandIn;

use super::{ProbeLedger, ProbeRecord, prefix};
use crate::drive::{Clock, Message};

/// What a rollout is paused with when a message is missing.
pub const MISSING: &str = "probe-missing";

/// Refused messages offered again in one turn, beside a new one: a backlog is worked off faster than
/// it grew.
const AGAIN_A_TURN: u32 = 5;

/// A server that took longer over an answer is asked last for a while.
const SLOW: SignedDuration = SignedDuration::from_secs(2);

/// That while.
const SLOW_LASTS: SignedDuration = SignedDuration::from_secs(30);

/// Nothing is out of service for so long: a rollout that waits for its next window.
const QUIET_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// Then messages and looks are this many times rarer: a probe a second for days would fill the mailbox
/// and tell nothing.
const QUIET_FACTOR: u32 = 10;

/// A look into one mailbox is a session with its host. With many of them no more than one a second is begun, on
/// average: all hosts are needed for something else.
const SESSIONS_EVERY: Duration = Duration::from_secs(1);

/// One look in so many is into all mailboxes, also where what is under way can only be in a few.
const ALL_EVERY: u32 = 6;

/// A message that was found, and that two servers may have, has a second copy looked for until so many others were
/// sent: each look into all mailboxes lists them.
const SECOND_COPY_FOR: u64 = 1000;

/// How soon a thread notices that its flow has ended, or is quiet no more.
const NOTICE: Duration = Duration::from_millis(500);

/// From one look, and one offer of what nobody took yet, to the next while the end of a rollout waits
/// for them.
const AT_THE_END: Duration = Duration::from_millis(300);

/// How often the figures are journalled, where they have changed.
const COUNT_EVERY: SignedDuration = SignedDuration::from_secs(30);

/// Hands messages in, and looks for them.
pub trait Post: Send + Sync {
    /// Hands message `number` to one server of a service. Its id is `prefix`, the number, `@`, and
    /// a domain.
    fn hand_in(
        &self,
        server: &HostName,
        service: &ServiceName,
        prefix: &str,
        number: u64,
    ) -> HandIn;

    /// Whether a server greets whoever would hand a message of a service in. An error says why not,
    /// printable.
    fn greets(&self, server: &HostName, service: &ServiceName) -> Result<(), String>;

    /// In how many mailboxes the messages of a service end.
    fn mailboxes(&self, service: &ServiceName) -> usize;

    /// Copies by number of the messages whose id begins with `prefix`, where they end; numbers below
    /// `from` only where there is more than one copy in one mailbox. `servers` are who took them, for a service
    /// whose mail ends there; `None` looks at all. An error is printable.
    fn look(
        &self,
        service: &ServiceName,
        servers: Option<&BTreeSet<HostName>>,
        prefix: &str,
        from: u64,
    ) -> Result<BTreeMap<u64, u64>, String>;
}

/// Where records are kept.
pub trait ProbeJournal: Send {
    /// Keeps records so that a killed process has them. An error is printable.
    fn keep(&mut self, records: &[ProbeRecord]) -> Result<(), String>;
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowSettings {
    /// From one new message of a service to the next.
    pub send_every: Duration,
    /// From one look into a service's mailboxes to the next, at least; where there are many it is longer.
    pub look_every: Duration,
}

impl Default for FlowSettings {
    /// A message a second, a look every three: a look over `ssh` costs the controller as much as some
    /// hundred messages.
    fn default() -> Self {
        Self {
            send_every: Duration::from_secs(1),
            look_every: Duration::from_secs(3),
        }
    }
}

/// Which hosts a rollout keeps out of service, by its journal.
#[derive(Debug, Clone, Default)]
pub struct Drained(Arc<Mutex<BTreeSet<HostName>>>);

impl Drained {
    /// Takes an event of the rollout over.
    pub fn apply(&self, kind: &EventKind) {
        match kind {
            EventKind::ActStarted {
                host,
                act: Act::Drain,
                ..
            } => {
                self.hosts().insert(host.clone());
            }
            EventKind::ActEnded {
                host,
                act: Act::Return,
                result: ActOutcome::Done { .. } | ActOutcome::AlreadyDone { .. },
                ..
            } => {
                self.hosts().remove(host);
            }
            _other => {}
        }
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeSet<HostName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a flow works with.
#[derive(Clone)]
pub struct FlowParts {
    /// The plan, for the ids.
    pub plan: PlanId,
    /// The servers of each service.
    pub servers: BTreeMap<ServiceName, Vec<HostName>>,
    /// Hands in, and looks.
    pub post: Arc<dyn Post>,
    /// Servers that are being kept out of service now. They refuse everybody else's mail and take that
    /// of the controller, for their proof; a message of the flow must not go where no sender's could.
    pub drained: Drained,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where pauses and figures go.
    pub notes: Sender<Message>,
    /// Words for a person.
    pub warn: Arc<dyn Fn(&str) + Send + Sync>,
}

const RUN: u8 = 0;
const NOTHING_NEW: u8 = 1;
const END: u8 = 2;

struct Shared {
    parts: FlowParts,
    book: Mutex<Book>,
    phase: AtomicU8,
    /// Since when no host is out of service.
    quiet_since: Mutex<Timestamp>,
}

struct Book {
    ledger: ProbeLedger,
    journal: Box<dyn ProbeJournal>,
    /// Missing numbers that a pause was asked for.
    alarmed: BTreeSet<(ServiceName, u64)>,
    counted: Option<(Timestamp, Ledger)>,
    /// Services whose mailbox cannot be looked into, told already.
    blind: BTreeSet<ServiceName>,
    /// Those whose mailbox names what nobody sent, told already.
    lied_to: BTreeSet<ServiceName>,
    /// Those of which no new messages are made, told already.
    full: BTreeSet<ServiceName>,
    unwritable: bool,
    /// By service and number, the servers that have a message or may have it; of this controller's own.
    taken_by: BTreeMap<ServiceName, BTreeMap<u64, BTreeSet<HostName>>>,
    looks: BTreeMap<ServiceName, u32>,
    /// Services of which the last look, begun after the last new message, was into all mailboxes.
    looked_through: BTreeSet<ServiceName>,
}

impl Book {
    /// The servers that may have a message; a number that is asked for is known from then on.
    fn servers_of(&mut self, service: &ServiceName, number: u64) -> &mut BTreeSet<HostName> {
        let of_service = self.taken_by.entry(service.clone()).or_default();
        of_service.entry(number).or_default()
    }
}

/// From one look to the next, where so many mailboxes are looked into: as asked for, or as rarely as there are
/// mailboxes, but not for that beyond `at_most`.
fn looks_every(asked: Duration, mailboxes: usize, at_most: Duration) -> Duration {
    let mailboxes = u32::try_from(mailboxes).unwrap_or(u32::MAX);
    asked.max(SESSIONS_EVERY.saturating_mul(mailboxes).min(at_most))
}

/// Messages flowing through the services of a rollout. Dropping it ends the threads without waiting.
pub struct Flows {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Flows {
    /// Starts them.
    pub fn start(
        ledger: ProbeLedger,
        journal: Box<dyn ProbeJournal>,
        parts: FlowParts,
        settings: FlowSettings,
    ) -> Self {
        let services: Vec<ServiceName> = parts.servers.keys().cloned().collect();
        let shared = Arc::new(Shared::new(ledger, journal, parts));
        let mut threads = Vec::new();
        let mut spawn =
            |work: Box<dyn FnOnce() + Send>| match std::thread::Builder::new().spawn(work) {
                Ok(thread) => threads.push(thread),
                Err(error) => (shared.parts.warn)(&format!("no probes flow: {error}")),
            };
        for service in services {
            let (sender, name) = (Arc::clone(&shared), service.clone());
            spawn(Box::new(move || {
                let mut slow = BTreeMap::new();
                while sender.phase() < END {
                    sender.send(&name, &mut slow);
                    sender.rest(settings.send_every, Duration::MAX);
                }
            }));
            let looker = Arc::clone(&shared);
            spawn(Box::new(move || {
                // A message must not be late for want of a look.
                let at_most = looker.book().ledger.late_after(&service) / 3;
                let mailboxes = looker.parts.post.mailboxes(&service);
                let every = looks_every(settings.look_every, mailboxes, at_most);
                // First of all what a controller before this one has sent.
                while looker.phase() < END {
                    looker.look(&service);
                    looker.rest(every, at_most);
                }
            }));
        }
        Self { shared, threads }
    }

    /// The figures of one service, or of all.
    pub fn figures(&self, service: Option<&ServiceName>) -> Ledger {
        self.shared.book().ledger.figures(service, false)
    }

    /// Sends nothing new, waits until every message is found or missing and a look into all mailboxes after that
    /// has told second copies, at most for a while, and gives the ledger back.
    pub fn finish(mut self, at_most: SignedDuration) -> ProbeLedger {
        self.shared.phase.store(NOTHING_NEW, Ordering::SeqCst);
        let clock = Arc::clone(&self.shared.parts.clock);
        let begun = clock.now();
        // Without one of the threads nobody would look.
        let threads = 2 * self.shared.parts.servers.len();
        let watched = |flows: &Self| {
            flows.threads.len() == threads && !flows.threads.iter().any(JoinHandle::is_finished)
        };
        while !self.shared.is_through(watched(&self)) && clock.now().duration_since(begun) < at_most
        {
            clock.pause(Duration::from_millis(50));
        }
        self.shared.phase.store(END, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so itself.
            drop(thread.join());
        }
        self.shared.book().ledger.clone()
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        self.shared.phase.store(END, Ordering::SeqCst);
    }
}

impl Shared {
    fn new(ledger: ProbeLedger, journal: Box<dyn ProbeJournal>, parts: FlowParts) -> Self {
        Self {
            quiet_since: Mutex::new(parts.clock.now()),
            parts,
            book: Mutex::new(Book {
                ledger,
                journal,
                alarmed: BTreeSet::new(),
                counted: None,
                blind: BTreeSet::new(),
                lied_to: BTreeSet::new(),
                full: BTreeSet::new(),
                unwritable: false,
                taken_by: BTreeMap::new(),
                looks: BTreeMap::new(),
                looked_through: BTreeSet::new(),
            }),
            phase: AtomicU8::new(RUN),
        }
    }

    fn phase(&self) -> u8 {
        self.phase.load(Ordering::SeqCst)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Whether there is nothing left to wait for at the end, nor to look for where somebody looks.
    fn is_through(&self, watched: bool) -> bool {
        let book = self.book();
        let looked_through = |service| book.looked_through.contains(service);
        book.ledger.is_settled() && (!watched || self.parts.servers.keys().all(looked_through))
    }

    /// Waits for the next turn: a while, and longer while the rollout is quiet, but never beyond
    /// `at_most` for that.
    fn rest(&self, every: Duration, at_most: Duration) {
        let quiet = every.saturating_mul(QUIET_FACTOR).min(at_most).max(every);
        let mut rested = Duration::ZERO;
        while self.phase() < END {
            let wanted = match self.phase() {
                // Somebody waits for the last message.
                NOTHING_NEW => every.min(AT_THE_END),
                _ if self.is_quiet() => quiet,
                _ => every,
            };
            let left = wanted.saturating_sub(rested);
            if left.is_zero() {
                return;
            }
            let turn = left.min(NOTICE);
            self.parts.clock.pause(turn);
            rested += turn;
        }
    }

    /// Whether nothing has left service for a while, and nobody waits for the end.
    fn is_quiet(&self) -> bool {
        let mut since = self
            .quiet_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        if self.phase() != RUN || !self.parts.drained.hosts().is_empty() {
            *since = now;
        }
        now.duration_since(*since) > QUIET_AFTER
    }

    /// Keeps records and takes them over; whether that worked.
    fn keep(&self, book: &mut Book, records: &[ProbeRecord]) -> bool {
        if let Err(error) = book.journal.keep(records) {
            if !book.unwritable {
                (self.parts.warn)(&format!(
                    "the journal of probes cannot be written, none are sent: {error}"
                ));
            }
            book.unwritable = true;
            return false;
        }
        book.unwritable = false;
        for record in records {
            book.ledger.apply(record);
        }
        true
    }

    /// One turn of the sender: what is due again, and a new message.
    fn send(&self, service: &ServiceName, slow: &mut BTreeMap<HostName, Timestamp>) {
        for turn in 0..=AGAIN_A_TURN {
            let new = turn == AGAIN_A_TURN && self.phase() == RUN;
            let (number, prefix) = {
                let mut book = self.book();
                let now = self.now();
                if new {
                    self.tell_where_full(&mut book, service);
                }
                let Some(number) = book.ledger.due(service, now, new) else {
                    continue;
                };
                let offered = ProbeRecord::Offered {
                    service: service.clone(),
                    number,
                    at: now,
                };
                if !self.keep(&mut book, &[offered]) {
                    return;
                }
                book.servers_of(service, number);
                let run = book.ledger.run();
                (number, prefix(&self.parts.plan, run, service.as_str()))
            };
            self.offer(service, &prefix, number, slow);
        }
    }

    fn offer(
        &self,
        service: &ServiceName,
        prefix: &str,
        number: u64,
        slow: &mut BTreeMap<HostName, Timestamp>,
    ) {
        let begun = self.now();
        slow.retain(|_, until| *until > begun);
        for server in self.in_turn(service, number, slow) {
            let asked = self.now();
            let outcome = self.parts.post.hand_in(&server, service, prefix, number);
            let now = self.now();
            if now.duration_since(asked) > SLOW {
                slow.insert(server.clone(), now.checked_add(SLOW_LASTS).unwrap_or(now));
            }
            match outcome {
                HandIn::Accepted { .. } => {
                    let accepted = ProbeRecord::Accepted {
                        service: service.clone(),
                        number,
                        at: now,
                        by: server,
                    };
                    let mut book = self.book();
                    if let ProbeRecord::Accepted { by, .. } = &accepted {
                        book.servers_of(service, number).insert(by.clone());
                    }
                    // Not written, it is offered again: a duplicate, not a loss.
                    self.keep(&mut book, &[accepted]);
                    return;
                }
                // It may have it. A sender does not run to the next one with that, but waits.
                HandIn::Unknown { .. } => {
                    self.book().servers_of(service, number).insert(server);
                    return;
                }
                HandIn::Refused { .. } => {}
            }
        }
    }

    /// The servers of a service, each message beginning with another one; slow ones last.
    fn in_turn(
        &self,
        service: &ServiceName,
        number: u64,
        slow: &BTreeMap<HostName, Timestamp>,
    ) -> Vec<HostName> {
        let mut servers = self.parts.servers.get(service).cloned().unwrap_or_default();
        if !servers.is_empty() {
            let first = usize::try_from(number).unwrap_or(0) % servers.len();
            servers.rotate_left(first);
        }
        let drained = self.parts.drained.hosts();
        servers.retain(|server| !drained.contains(server));
        servers.sort_by_key(|server| slow.contains_key(server));
        servers
    }

    /// The servers in whose mailboxes a message of a service can be that is under way at a time, and the lowest
    /// number that is looked for. `None` where all are to be looked into: now and then, when all were found at the
    /// end, and where one is late, or nobody knows who took it.
    fn where_to_look(
        &self,
        book: &mut Book,
        service: &ServiceName,
        now: Timestamp,
    ) -> (Option<BTreeSet<HostName>>, u64) {
        let from = book.ledger.lowest_open(service);
        let taken_by = book.taken_by.entry(service.clone()).or_default();
        let second = from.saturating_sub(SECOND_COPY_FOR);
        taken_by.retain(|number, of| *number >= from || (of.len() > 1 && *number >= second));
        let turn = book.looks.entry(service.clone()).or_default();
        *turn = turn.wrapping_add(1);
        let everywhere = taken_by
            .keys()
            .next()
            .map_or(from, |first| from.min(*first));
        let all_found = self.phase() != RUN && book.ledger.open(service).next().is_none();
        if all_found || *turn % ALL_EVERY == 1 || self.parts.post.mailboxes(service) <= 1 {
            return (None, everywhere);
        }
        let late = book.ledger.late_after(service);
        let mut servers = BTreeSet::new();
        for (number, since) in book.ledger.open(service) {
            let on_time = now.duration_since(since).unsigned_abs() <= late;
            match taken_by.get(&number) {
                Some(of_number) if on_time || of_number.is_empty() => {
                    servers.extend(of_number.iter().cloned());
                }
                _ => return (None, everywhere),
            }
        }
        (Some(servers), from)
    }

    /// One look into a service's mailboxes.
    fn look(&self, service: &ServiceName) {
        let asked = self.now();
        let at_the_end = self.phase() != RUN;
        let (prefix, servers, from) = {
            let mut book = self.book();
            let (servers, from) = self.where_to_look(&mut book, service, asked);
            let prefix = prefix(&self.parts.plan, book.ledger.run(), service.as_str());
            (prefix, servers, from)
        };
        let seen = match &servers {
            Some(servers) if servers.is_empty() => Ok(BTreeMap::new()),
            servers => self
                .parts
                .post
                .look(service, servers.as_ref(), &prefix, from),
        };
        let mut book = self.book();
        match seen {
            Ok(copies) => {
                // Of others nothing is known.
                if servers.is_none() {
                    book.blind.remove(service);
                }
                if let Some(number) = book.ledger.unheard_of(service, &copies)
                    && book.lied_to.insert(service.clone())
                {
                    (self.parts.warn)(&format!(
                        "the mailbox of {service} names probes that were never sent, up to {number}; \
                         they are not counted"
                    ));
                }
                let news = book.ledger.news(service, &copies, self.now());
                if news.is_empty() || self.keep(&mut book, &news) {
                    book.ledger.looked(service, asked);
                }
            }
            Err(error) => {
                if book.blind.insert(service.clone()) {
                    (self.parts.warn)(&format!(
                        "probes of {service} cannot be looked for: {error}"
                    ));
                }
            }
        }
        // Also where it was in vain: nothing would come of the next, either.
        if at_the_end && servers.is_none() {
            book.looked_through.insert(service.clone());
        } else {
            book.looked_through.remove(service);
        }
        self.alarm(&mut book);
        self.count(&mut book);
    }

    /// A service of which no new messages are made is not watched: said once, and again after it was.
    fn tell_where_full(&self, book: &mut Book, service: &ServiceName) {
        if !book.ledger.is_full(service) {
            book.full.remove(service);
        } else if book.full.insert(service.clone()) {
            let of = book.ledger.figures(Some(service), false);
            (self.parts.warn)(&format!(
                "no new probes of {service} are sent: {} are accepted by no server, {} not found",
                of.refused,
                of.sent.saturating_sub(of.delivered)
            ));
        }
    }

    /// Asks for a pause where a number is missing that none was asked for.
    fn alarm(&self, book: &mut Book) {
        let mut words = Vec::new();
        for (service, numbers) in book.ledger.missing() {
            let new: Vec<u64> = numbers
                .into_iter()
                .filter(|number| book.alarmed.insert((service.clone(), *number)))
                .collect();
            let named: Vec<String> = new.iter().take(5).map(u64::to_string).collect();
            let more = match new.len().saturating_sub(named.len()) {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            if !named.is_empty() {
                words.push(format!("{service} {}{more}", named.join(", ")));
            }
        }
        if words.is_empty() {
            return;
        }
        self.note(EventKind::RolloutPaused {
            plan: self.parts.plan.clone(),
            by: Actor {
                name: "mailkeep".to_owned(),
                team: None,
            },
            reason: format!(
                "{MISSING}: accepted and not found at their destination: {}",
                words.join("; ")
            ),
        });
        self.note(EventKind::ProbesCounted {
            plan: self.parts.plan.clone(),
            service: None,
            ledger: book.ledger.figures(None, false),
        });
    }

    fn count(&self, book: &mut Book) {
        let now = self.now();
        let figures = book.ledger.figures(None, false);
        let is_news = book
            .counted
            .is_none_or(|(at, last)| last != figures && now.duration_since(at) >= COUNT_EVERY);
        if is_news && self.phase() == RUN {
            book.counted = Some((now, figures));
            self.note(EventKind::ProbesCounted {
                plan: self.parts.plan.clone(),
                service: None,
                ledger: figures,
            });
        }
    }

    fn note(&self, kind: EventKind) {
        // Without a driver nobody journals it.
        drop(self.parts.notes.send(Message::Note(kind)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::super::bench::Hand;
    use super::*;

    /// Answers of servers by name; a mailbox.
    #[derive(Default)]
    struct Town {
        answers: Mutex<BTreeMap<String, HandIn>>,
        mailbox: Mutex<BTreeMap<u64, u64>>,
        asked: Mutex<Vec<(String, u64)>>,
        unseen: Mutex<bool>,
        /// More than one mailbox, and into whose was looked: `all` for all.
        many: Mutex<bool>,
        looked: Mutex<Vec<String>>,
        /// From which number the last look was.
        from: Mutex<u64>,
    }

    impl Post for Town {
        fn hand_in(&self, server: &HostName, _: &ServiceName, _: &str, number: u64) -> HandIn {
            self.asked
                .lock()
                .unwrap()
                .push((server.to_string(), number));
            self.answers.lock().unwrap()[server.as_str()].clone()
        }

        fn greets(&self, _: &HostName, _: &ServiceName) -> Result<(), String> {
            Ok(())
        }

        fn mailboxes(&self, _: &ServiceName) -> usize {
            if *self.many.lock().unwrap() { 2 } else { 1 }
        }

        fn look(
            &self,
            _: &ServiceName,
            servers: Option<&BTreeSet<HostName>>,
            _: &str,
            from: u64,
        ) -> Result<BTreeMap<u64, u64>, String> {
            let mut looked = self.looked.lock().unwrap();
            match servers {
                Some(servers) => looked.extend(servers.iter().map(ToString::to_string)),
                None => looked.push("all".to_owned()),
            }
            *self.from.lock().unwrap() = from;
            if *self.unseen.lock().unwrap() {
                return Err("no route to it".to_owned());
            }
            Ok(self.mailbox.lock().unwrap().clone())
        }
    }

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<ProbeRecord>>>);

    impl ProbeJournal for Paper {
        fn keep(&mut self, records: &[ProbeRecord]) -> Result<(), String> {
            self.0.lock().unwrap().extend_from_slice(records);
            Ok(())
        }
    }

    struct Bench {
        shared: Shared,
        clock: Arc<Hand>,
        town: Arc<Town>,
        paper: Paper,
        notes: Receiver<Message>,
        said: Arc<Mutex<Vec<String>>>,
        slow: BTreeMap<HostName, Timestamp>,
    }

    fn mx() -> ServiceName {
        ServiceName::new("inbound-mx").unwrap()
    }

    fn yes() -> HandIn {
        HandIn::Accepted {
            reply: "250".to_owned(),
            cover: mailkeep_reach::probe::Cover::Plain,
        }
    }

    fn no() -> HandIn {
        HandIn::Refused {
            why: "connect: reset".to_owned(),
            for_good: false,
        }
    }

    impl Bench {
        fn new(answers: [(&str, HandIn); 2]) -> Self {
            let (notes, inbox) = channel();
            let (clock, town) = (Arc::new(Hand::default()), Arc::new(Town::default()));
            let servers = answers
                .iter()
                .map(|(name, _)| HostName::new(name).unwrap())
                .collect();
            *town.answers.lock().unwrap() = answers
                .into_iter()
                .map(|(name, answer)| (name.to_owned(), answer))
                .collect();
            let (paper, said) = (Paper::default(), Arc::<Mutex<Vec<String>>>::default());
            let told = Arc::clone(&said);
            let parts = FlowParts {
                plan: PlanId::new("sha256:0a1b2c3d").unwrap(),
                servers: BTreeMap::from([(mx(), servers)]),
                post: Arc::clone(&town) as Arc<dyn Post>,
                drained: Drained::default(),
                clock: Arc::clone(&clock) as Arc<dyn Clock>,
                notes,
                warn: Arc::new(move |words| told.lock().unwrap().push(words.to_owned())),
            };
            let ledger = ProbeLedger::new([(mx(), 10)]);
            Self {
                shared: Shared::new(ledger, Box::new(paper.clone()), parts),
                clock,
                town,
                paper,
                notes: inbox,
                said,
                slow: BTreeMap::new(),
            }
        }

        fn send(&mut self, second: i64) {
            self.clock.set(second);
            self.shared.send(&mx(), &mut self.slow);
        }

        fn look(&mut self, second: i64) {
            self.clock.set(second);
            self.shared.look(&mx());
        }

        fn asked(&self) -> Vec<(String, u64)> {
            std::mem::take(&mut *self.town.asked.lock().unwrap())
        }

        fn pauses(&self) -> Vec<String> {
            self.notes
                .try_iter()
                .filter_map(|message| match message {
                    Message::Note(EventKind::RolloutPaused { reason, .. }) => Some(reason),
                    _ => None,
                })
                .collect()
        }

        fn figures(&self) -> Ledger {
            self.shared.book().ledger.figures(None, true)
        }
    }

    #[test]
    fn many_mailboxes_are_looked_into_more_rarely_and_no_message_is_late_for_that() {
        let seconds = Duration::from_secs;
        let every = |mailboxes, at_most| looks_every(seconds(3), mailboxes, seconds(at_most));
        assert_eq!(every(1, 20), seconds(3));
        assert_eq!(every(10, 20), seconds(10));
        assert_eq!(every(500, 20), seconds(20));
        assert_eq!(every(500, 1), seconds(3));
    }

    #[test]
    fn of_many_mailboxes_those_are_looked_into_where_a_message_can_be() {
        let mut bench = Bench::new([("mx1", yes()), ("mx2", yes())]);
        *bench.town.many.lock().unwrap() = true;
        let looked = |bench: &Bench| std::mem::take(&mut *bench.town.looked.lock().unwrap());
        bench.look(0);
        assert_eq!(looked(&bench), ["all"]);
        bench.look(1);
        assert!(looked(&bench).is_empty(), "nothing is under way");
        // Number 1 to mx2, 2 to mx1.
        bench.send(1);
        bench.look(2);
        assert_eq!(looked(&bench), ["mx2"]);
        bench.send(2);
        bench.town.mailbox.lock().unwrap().insert(1, 1);
        bench.look(3);
        assert_eq!(looked(&bench), ["mx1", "mx2"]);
        bench.look(4);
        assert_eq!(looked(&bench), ["mx1"]);
        // One that is late may be anywhere.
        bench.look(15);
        assert_eq!(looked(&bench), ["all"]);
        bench.town.mailbox.lock().unwrap().insert(2, 1);
        bench.look(16);
        bench.look(17);
        assert_eq!(looked(&bench), ["all"], "the seventh is into all");
        // So may one of a controller before this one.
        let offered = ProbeRecord::Offered {
            service: mx(),
            number: 3,
            at: bench.clock.now(),
        };
        bench.shared.book().ledger.apply(&offered);
        bench.look(18);
        assert_eq!(looked(&bench), ["all"]);
        bench.shared.phase.store(NOTHING_NEW, Ordering::SeqCst);
        bench.look(19);
        assert_eq!(looked(&bench), ["all"]);
        assert_eq!(bench.figures().delivered, 2);
    }

    #[test]
    fn the_end_waits_for_a_look_into_all_mailboxes_after_the_last_message() {
        let mut bench = Bench::new([("mx1", yes()), ("mx2", yes())]);
        *bench.town.many.lock().unwrap() = true;
        let looked = |bench: &Bench| std::mem::take(&mut *bench.town.looked.lock().unwrap());
        bench.look(0);
        bench.send(1);
        bench.town.mailbox.lock().unwrap().insert(1, 1);
        bench.look(2);
        assert_eq!(looked(&bench), ["all", "mx2"]);
        bench.send(2);
        bench.shared.phase.store(NOTHING_NEW, Ordering::SeqCst);
        bench.look(3);
        assert_eq!(looked(&bench), ["mx1"], "it can be nowhere else");
        // A second copy of it may be, and of any before it.
        bench.town.mailbox.lock().unwrap().extend([(1, 2), (2, 1)]);
        bench.look(4);
        assert_eq!(looked(&bench), ["mx1"]);
        assert!(bench.shared.book().ledger.is_settled() && !bench.shared.is_through(true));
        bench.look(5);
        assert_eq!(looked(&bench), ["all"]);
        assert!(bench.shared.is_through(true));
        assert_eq!(bench.figures().duplicated, 1);
    }

    #[test]
    fn the_end_does_not_wait_for_mailboxes_that_cannot_be_looked_into() {
        let mut bench = Bench::new([("mx1", yes()), ("mx2", yes())]);
        *bench.town.unseen.lock().unwrap() = true;
        bench.shared.phase.store(NOTHING_NEW, Ordering::SeqCst);
        assert!(!bench.shared.is_through(true) && bench.shared.is_through(false));
        bench.look(0);
        assert!(bench.shared.is_through(true));
    }

    #[test]
    fn a_second_copy_is_looked_for_where_two_servers_may_have_the_message() {
        let unknown = HandIn::Unknown {
            why: "cut".to_owned(),
        };
        // Number 1 begins with mx2.
        let mut bench = Bench::new([("mx1", yes()), ("mx2", unknown)]);
        *bench.town.many.lock().unwrap() = true;
        bench.send(0);
        let drained = |bench: &Bench| bench.shared.parts.drained.clone();
        drained(&bench)
            .hosts()
            .insert(HostName::new("mx2").unwrap());
        bench.send(1);
        let asked: Vec<(String, u64)> = bench.asked().into_iter().filter(|a| a.1 == 1).collect();
        assert_eq!(asked, [("mx2".to_owned(), 1), ("mx1".to_owned(), 1)]);
        bench.town.mailbox.lock().unwrap().extend([(1, 1), (2, 1)]);
        let from = |bench: &Bench| *bench.town.from.lock().unwrap();
        bench.look(2);
        assert_eq!(
            (bench.figures().delivered, bench.figures().duplicated),
            (2, 0)
        );
        bench.send(3);
        bench.look(3);
        assert_eq!(from(&bench), 3, "a look for what is under way");
        // Each mailbox tells its own single copy only of numbers that are asked for.
        bench.town.mailbox.lock().unwrap().insert(1, 2);
        for second in 4..9 {
            bench.look(second);
        }
        assert_eq!(from(&bench), 1, "a look into all");
        assert_eq!(bench.figures().duplicated, 1);
    }

    #[test]
    fn a_mailbox_that_cannot_be_looked_into_is_named_once_though_others_can() {
        let mut bench = Bench::new([("mx1", yes()), ("mx2", yes())]);
        *bench.town.many.lock().unwrap() = true;
        for second in 0..12 {
            *bench.town.unseen.lock().unwrap() = second % 6 == 0;
            bench.look(second);
        }
        let said = bench.said.lock().unwrap().clone();
        assert_eq!(said.len(), 1, "{said:?}");
    }

    #[test]
    fn a_refused_message_goes_to_the_next_server_and_then_waits() {
        let mut bench = Bench::new([("mx1", no()), ("mx2", yes())]);
        bench.send(0);
        bench.send(1);
        let asked = bench.asked();
        // Each begins with another one; one of the two asked mx1 first.
        assert_eq!(asked.len(), 3, "{asked:?}");
        assert_eq!(bench.figures().sent, 2);
        bench
            .town
            .answers
            .lock()
            .unwrap()
            .insert("mx2".to_owned(), no());
        bench.send(2);
        assert_eq!(bench.asked().len(), 2);
        assert_eq!((bench.figures().sent, bench.figures().refused), (2, 1));
        // Again after a second, and it is accepted then.
        bench
            .town
            .answers
            .lock()
            .unwrap()
            .insert("mx2".to_owned(), yes());
        bench.send(3);
        assert!(bench.asked().iter().any(|(_, number)| *number == 3));
        assert_eq!((bench.figures().sent, bench.figures().refused), (4, 0));
    }

    #[test]
    fn what_is_not_known_to_be_accepted_is_offered_again_and_not_to_another() {
        let unknown = HandIn::Unknown {
            why: "cut".to_owned(),
        };
        let mut bench = Bench::new([("mx1", unknown.clone()), ("mx2", unknown)]);
        bench.send(0);
        assert_eq!(bench.asked().len(), 1);
        assert_eq!((bench.figures().sent, bench.figures().refused), (0, 1));
        // It had taken it.
        bench.town.mailbox.lock().unwrap().insert(1, 1);
        bench.look(1);
        assert_eq!((bench.figures().sent, bench.figures().delivered), (1, 1));
        bench.send(5);
        assert!(!bench.asked().iter().any(|(_, number)| *number == 1));
    }

    #[test]
    fn no_message_goes_to_a_host_that_is_being_drained() {
        let mut bench = Bench::new([("mx1", yes()), ("mx2", yes())]);
        let plan = PlanId::new("sha256:0a1b2c3d").unwrap();
        let host = HostName::new("mx1").unwrap();
        bench.shared.parts.drained.apply(&EventKind::ActStarted {
            plan: plan.clone(),
            host: host.clone(),
            act: Act::Drain,
            attempt: 1,
            fence: 1,
        });
        for second in 0..4 {
            bench.send(second);
        }
        assert!(bench.asked().iter().all(|(server, _)| server == "mx2"));
        bench.shared.parts.drained.apply(&EventKind::ActEnded {
            plan,
            host,
            act: Act::Return,
            attempt: 1,
            fence: 1,
            result: ActOutcome::Done { seen: Vec::new() },
        });
        for second in 4..8 {
            bench.send(second);
        }
        assert!(bench.asked().iter().any(|(server, _)| server == "mx1"));
    }

    #[test]
    fn a_rollout_that_waits_for_its_window_is_quiet_and_one_at_work_is_not() {
        let bench = Bench::new([("mx1", yes()), ("mx2", yes())]);
        let at = |minute: i64| {
            bench.clock.set(minute * 60);
            bench.shared.is_quiet()
        };
        assert!(!at(0) && !at(5));
        assert!(at(6));
        let mx1 = HostName::new("mx1").unwrap();
        bench.shared.parts.drained.hosts().insert(mx1.clone());
        assert!(!at(600));
        bench.shared.parts.drained.hosts().remove(&mx1);
        assert!(!at(605) && at(606));
    }

    #[test]
    fn a_missing_message_pauses_once() {
        let mut bench = Bench::new([("mx1", yes()), ("mx2", yes())]);
        bench.send(0);
        bench.look(29);
        assert_eq!(bench.pauses(), Vec::<String>::new());
        bench.look(30);
        assert_eq!(
            bench.pauses(),
            ["probe-missing: accepted and not found at their destination: inbound-mx 1"]
        );
        bench.look(33);
        assert_eq!(bench.pauses(), Vec::<String>::new());
    }

    #[test]
    fn a_mailbox_that_lies_is_named_once_and_probes_flow_on() {
        let mut bench = Bench::new([("mx1", yes()), ("mx2", yes())]);
        bench.send(0);
        bench.town.mailbox.lock().unwrap().insert(50_000, 1);
        bench.look(1);
        bench.look(2);
        let said = bench.said.lock().unwrap().clone();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("never sent, up to 50000"), "{said:?}");
        bench.send(3);
        assert_eq!(bench.asked().last().unwrap().1, 2);
    }

    #[test]
    fn a_service_that_takes_nothing_any_more_is_named_once() {
        let mut bench = Bench::new([("mx1", no()), ("mx2", no())]);
        // Nothing is due again yet.
        for _ in 0..1_100 {
            bench.send(0);
        }
        let said = bench.said.lock().unwrap().clone();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].contains("1000 are accepted by no server"),
            "{said:?}"
        );
    }

    #[test]
    fn who_cannot_look_calls_nothing_missing() {
        let mut bench = Bench::new([("mx1", yes()), ("mx2", yes())]);
        bench.send(0);
        *bench.town.unseen.lock().unwrap() = true;
        bench.look(500);
        assert_eq!(bench.pauses(), Vec::<String>::new());
        assert_eq!(bench.figures().lost, 1, "but at the end it is");
    }

    #[test]
    fn a_restarted_controller_knows_what_the_first_one_knew() {
        let mut bench = Bench::new([("mx1", yes()), ("mx2", no())]);
        for second in 0..5 {
            bench.send(second);
        }
        bench.town.mailbox.lock().unwrap().extend([(1, 1), (2, 3)]);
        bench.look(6);
        let mut again = ProbeLedger::new([(mx(), 10)]);
        for record in bench.paper.0.lock().unwrap().iter() {
            again.apply(record);
        }
        assert_eq!(again.figures(None, true), bench.figures());
        assert_eq!(bench.figures().duplicated, 2);
        assert_eq!(again.lowest_open(&mx()), 3);
    }
}
