//! The ledger of numbered messages: was every one delivered, how often, and how late?
//!
//! Entry types: [`ProbeLedger`], a fold over [`ProbeRecord`]s; [`flow`], which sends and looks;
//! [`prove`], which adds a real message to the proof of a host.
//!
//! It keeps a message as a sending mail server does (RFC 5321 section 4.5.4.1): one that was not
//! accepted is offered again until it is, and one whose acceptance is not known, too. So a number is
//! lost only where a server said 250 and the message is nowhere.
//!
//! **Invariant:** this file is pure. A restarted controller that reads its records again knows what the
//! one before it knew.

#[cfg(test)]
mod bench;
pub mod flow;
pub mod prove;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use mailkeep_model::{HostName, Ledger, PlanId, ServiceName, Timestamp};
use serde::{Deserialize, Serialize};

/// How many times the service's limit for "late" a message may take before it is called missing.
const MISSING_AFTER: i32 = 3;

/// Messages that nobody accepts, or that were not found yet, are kept up to this many for each service;
/// beyond it no new ones are made, as a sender's queue is bounded, too.
const MOST_KEPT: u64 = 1000;

/// Numbers of a service whose records are lost, at a time. A power cut takes some seconds of the journal;
/// a mailbox that names more than that which nobody sent is not believed.
const MOST_ADRIFT: u64 = 1000;

/// The first pause before a refused message is offered again; each further one is twice as long.
const FIRST_RETRY: SignedDuration = SignedDuration::from_secs(1);

/// The longest such pause.
const LONGEST_RETRY: SignedDuration = SignedDuration::from_secs(30);

/// One line of the ledger's journal, written before it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ProbeRecord {
    /// The ledger was opened. Its token is in every message id, so that a ledger never takes the
    /// messages of another run of the same plan for its own.
    Opened {
        /// When.
        at: Timestamp,
        /// The token.
        run: String,
    },
    /// A message is about to be handed in, for the first time or again.
    Offered {
        /// Of which service.
        service: ServiceName,
        /// Its number, from 1.
        number: u64,
        /// When.
        at: Timestamp,
    },
    /// A server answers for it.
    Accepted {
        /// Of which service.
        service: ServiceName,
        /// Its number.
        number: u64,
        /// When.
        at: Timestamp,
        /// Which server.
        by: HostName,
    },
    /// It was found at its destination.
    Found {
        /// Of which service.
        service: ServiceName,
        /// Its number.
        number: u64,
        /// When.
        at: Timestamp,
        /// Copies so far.
        copies: u64,
    },
}

/// Where an open message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Not accepted, as far as is known.
    Offered {
        tries: u32,
        /// When it was offered last.
        last: Timestamp,
    },
    /// A server answers for it.
    Accepted { at: Timestamp },
    /// Its records are lost (a power cut); it may have been accepted, and is counted if it arrives.
    Adrift,
}

#[derive(Debug, Clone, Copy)]
struct Probe {
    since: Timestamp,
    standing: Standing,
}

/// The messages of one service.
#[derive(Debug, Clone, Default)]
struct Flow {
    late: SignedDuration,
    /// The next number.
    next: u64,
    /// Not found yet.
    open: BTreeMap<u64, Probe>,
    /// How many of them are adrift.
    adrift: u64,
    /// Extra copies of those found, where there are any.
    extra: BTreeMap<u64, u64>,
    sent: u64,
    delivered: u64,
    duplicated: u64,
    late_count: u64,
    /// Up to when its mailbox was looked into with success.
    looked: Option<Timestamp>,
    /// The longest way a message took.
    slowest: SignedDuration,
}

/// What was sent through every service, and what became of it.
#[derive(Debug, Clone, Default)]
pub struct ProbeLedger {
    run: String,
    flows: BTreeMap<ServiceName, Flow>,
}

impl ProbeLedger {
    /// An empty ledger of these services, each with the seconds after which a message is late.
    pub fn new(services: impl IntoIterator<Item = (ServiceName, u32)>) -> Self {
        let flow = |seconds: u32| Flow {
            late: SignedDuration::from_secs(i64::from(seconds.max(1))),
            next: 1,
            ..Flow::default()
        };
        Self {
            run: String::new(),
            flows: services
                .into_iter()
                .map(|(service, seconds)| (service, flow(seconds)))
                .collect(),
        }
    }

    /// The token of this run; empty before [`ProbeRecord::Opened`].
    pub fn run(&self) -> &str {
        &self.run
    }

    /// After how long a message of a service is late.
    pub fn late_after(&self, service: &ServiceName) -> Duration {
        self.flows
            .get(service)
            .and_then(|flow| Duration::try_from(flow.late).ok())
            .unwrap_or_default()
    }

    /// The services.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.flows.keys()
    }

    /// Takes a record over. One of a service that is not among this ledger's changes nothing.
    pub fn apply(&mut self, record: &ProbeRecord) {
        match record {
            ProbeRecord::Opened { run, .. } => {
                if self.run.is_empty() {
                    self.run.clone_from(run);
                }
            }
            ProbeRecord::Offered {
                service,
                number,
                at,
            } => {
                let Some(flow) = self.flows.get_mut(service) else {
                    return;
                };
                flow.make_room_for(*number, *at);
                if let Some(Probe {
                    standing: standing @ (Standing::Offered { .. } | Standing::Adrift),
                    ..
                }) = flow.open.get_mut(number)
                {
                    let tries = match *standing {
                        Standing::Offered { tries, .. } => tries.saturating_add(1),
                        Standing::Accepted { .. } | Standing::Adrift => 1,
                    };
                    flow.adrift -= u64::from(*standing == Standing::Adrift);
                    *standing = Standing::Offered { tries, last: *at };
                }
            }
            ProbeRecord::Accepted {
                service,
                number,
                at,
                ..
            } => {
                let Some(flow) = self.flows.get_mut(service) else {
                    return;
                };
                flow.make_room_for(*number, *at);
                if let Some(probe) = flow.open.get_mut(number)
                    && !matches!(probe.standing, Standing::Accepted { .. })
                {
                    flow.adrift -= u64::from(probe.standing == Standing::Adrift);
                    probe.standing = Standing::Accepted { at: *at };
                    flow.sent += 1;
                }
            }
            ProbeRecord::Found {
                service,
                number,
                at,
                copies,
            } => {
                if let Some(flow) = self.flows.get_mut(service) {
                    flow.found(*number, *at, *copies);
                }
            }
        }
    }

    /// Notes that a service's mailbox was looked into at a time, with success: only that can make a
    /// message missing.
    pub fn looked(&mut self, service: &ServiceName, at: Timestamp) {
        if let Some(flow) = self.flows.get_mut(service) {
            flow.looked = flow.looked.max(Some(at));
        }
    }

    /// What a look brought that is not known yet, as records.
    pub fn news(
        &self,
        service: &ServiceName,
        copies: &BTreeMap<u64, u64>,
        at: Timestamp,
    ) -> Vec<ProbeRecord> {
        let Some(flow) = self.flows.get(service) else {
            return Vec::new();
        };
        copies
            .iter()
            .filter(|&(number, copies)| {
                *copies > 0 && *copies > flow.copies_of(*number) && flow.may_be(*number)
            })
            .map(|(number, copies)| ProbeRecord::Found {
                service: service.clone(),
                number: *number,
                at,
                copies: *copies,
            })
            .collect()
    }

    /// The number to be handed in now: one that is due again, else a new one.
    pub fn due(&self, service: &ServiceName, now: Timestamp, new: bool) -> Option<u64> {
        let flow = self.flows.get(service)?;
        let again = flow.open.iter().find(|(_, probe)| match probe.standing {
            Standing::Offered { tries, last } => now.duration_since(last) >= retry_after(tries),
            Standing::Accepted { .. } | Standing::Adrift => false,
        });
        match again {
            Some((number, _)) => Some(*number),
            None if new && flow.has_room() => Some(flow.next),
            None => None,
        }
    }

    /// Whether no new messages of a service are made, because so many stand open.
    pub fn is_full(&self, service: &ServiceName) -> bool {
        self.flows.get(service).is_some_and(|flow| !flow.has_room())
    }

    /// The highest number that a look brought and that nobody can have sent. Such numbers are not news.
    pub fn unheard_of(&self, service: &ServiceName, copies: &BTreeMap<u64, u64>) -> Option<u64> {
        let flow = self.flows.get(service)?;
        let (highest, _) = copies.iter().next_back()?;
        (!flow.may_be(*highest)).then_some(*highest)
    }

    /// The lowest number of a service that is not found yet; below it only extra copies are news.
    pub fn lowest_open(&self, service: &ServiceName) -> u64 {
        self.flows.get(service).map_or(1, |flow| {
            flow.open
                .first_key_value()
                .map_or(flow.next, |(number, _)| *number)
        })
    }

    /// The numbers of a service that are not found yet, and when each was first offered.
    pub fn open(&self, service: &ServiceName) -> impl Iterator<Item = (u64, Timestamp)> {
        let flow = self.flows.get(service);
        let open = flow.into_iter().flat_map(|flow| &flow.open);
        open.map(|(number, probe)| (*number, probe.since))
    }

    /// Numbers that a server answers for and that a look did not find though they should be there.
    pub fn missing(&self) -> BTreeMap<ServiceName, Vec<u64>> {
        self.flows
            .iter()
            .map(|(service, flow)| (service.clone(), flow.missing().collect::<Vec<u64>>()))
            .filter(|(_, numbers)| !numbers.is_empty())
            .collect()
    }

    /// Whether there is anything left to wait for: a message accepted, not found, and not missing yet,
    /// or one not accepted yet.
    pub fn is_settled(&self) -> bool {
        self.flows.values().all(|flow| {
            let missing: Vec<u64> = flow.missing().collect();
            flow.open.iter().all(|(number, probe)| {
                probe.standing == Standing::Adrift || missing.binary_search(number).is_ok()
            })
        })
    }

    /// The figures of one service, or of all. `ended` counts as lost what was accepted and is not
    /// found; before the end that is only what is missing.
    pub fn figures(&self, service: Option<&ServiceName>, ended: bool) -> Ledger {
        let mut all = Ledger::default();
        for (name, flow) in &self.flows {
            if service.is_some_and(|wanted| wanted != name) {
                continue;
            }
            all.sent += flow.sent;
            all.delivered += flow.delivered;
            all.duplicated = all.duplicated.saturating_add(flow.duplicated);
            all.late += flow.late_count;
            all.lost += if ended {
                count(flow.open.values(), |standing| {
                    matches!(standing, Standing::Accepted { .. })
                })
            } else {
                flow.missing().count() as u64
            };
            all.refused += count(flow.open.values(), |standing| {
                matches!(standing, Standing::Offered { .. })
            });
        }
        all
    }

    /// The longest that a message took from its first offering until it was found.
    pub fn slowest(&self) -> SignedDuration {
        self.flows
            .values()
            .map(|flow| flow.slowest)
            .max()
            .unwrap_or_default()
    }
}

fn count<'a>(probes: impl Iterator<Item = &'a Probe>, is: impl Fn(Standing) -> bool) -> u64 {
    probes.filter(|probe| is(probe.standing)).count() as u64
}

fn retry_after(tries: u32) -> SignedDuration {
    let doublings = tries.saturating_sub(1).min(16);
    let seconds = FIRST_RETRY.as_secs() << doublings;
    SignedDuration::from_secs(seconds).min(LONGEST_RETRY)
}

impl Flow {
    fn has_room(&self) -> bool {
        (self.open.len() as u64).saturating_sub(self.adrift) < MOST_KEPT
    }

    /// Whether a number may have been sent, by this controller or by one whose last records are lost.
    fn may_be(&self, number: u64) -> bool {
        let more = number.saturating_add(1).saturating_sub(self.next);
        more == 0 || more.saturating_add(self.adrift) <= MOST_ADRIFT
    }

    /// Opens a number that was never seen, and those before it whose records are lost. Where that is not
    /// to be believed the journal itself is damaged, and what lies between is let go.
    fn make_room_for(&mut self, number: u64, at: Timestamp) {
        if !self.may_be(number) {
            self.next = number;
        }
        while self.next <= number && self.next < u64::MAX {
            let standing = if self.next == number {
                Standing::Offered { tries: 0, last: at }
            } else {
                self.adrift += 1;
                Standing::Adrift
            };
            self.open.insert(
                self.next,
                Probe {
                    since: at,
                    standing,
                },
            );
            self.next += 1;
        }
    }

    fn copies_of(&self, number: u64) -> u64 {
        if number >= self.next || number == 0 || self.open.contains_key(&number) {
            0
        } else {
            1 + self.extra.get(&number).copied().unwrap_or(0)
        }
    }

    fn found(&mut self, number: u64, at: Timestamp, copies: u64) {
        if copies == 0 || number == 0 || !self.may_be(number) {
            return;
        }
        self.make_room_for(number, at);
        if let Some(probe) = self.open.remove(&number) {
            self.adrift -= u64::from(probe.standing == Standing::Adrift);
            self.delivered += 1;
            if !matches!(probe.standing, Standing::Accepted { .. }) {
                // The answer was lost, the message was not.
                self.sent += 1;
            }
            let took = at.duration_since(probe.since);
            self.slowest = self.slowest.max(took);
            if took > self.late {
                self.late_count += 1;
            }
        }
        let known = self.extra.get(&number).copied().unwrap_or(0);
        if copies - 1 > known {
            // As many as a host says: they may be any number.
            self.duplicated = self.duplicated.saturating_add(copies - 1 - known);
            self.extra.insert(number, copies - 1);
        }
    }

    fn missing(&self) -> impl Iterator<Item = u64> + '_ {
        let limit = self.late * MISSING_AFTER;
        self.open
            .iter()
            .filter(move |(_, probe)| match probe.standing {
                Standing::Accepted { at } => self
                    .looked
                    .is_some_and(|looked| looked.duration_since(at) >= limit),
                Standing::Offered { .. } | Standing::Adrift => false,
            })
            .map(|(number, _)| *number)
    }
}

/// What the message ids of a flow begin with; the number and `@` follow.
pub fn prefix(plan: &PlanId, run: &str, service: &str) -> String {
    let digest = plan.as_str().rsplit(':').next().unwrap_or_default();
    let digest: String = digest.chars().take(8).collect();
    format!("mailkeep-{}-{run}-{}-", word(&digest), word(service))
}

/// A text as a word of a message id (RFC 5322 section 3.2.3), never ending with a digit run of its
/// own that could be read as a number: the dash after it sees to that. Two texts that differ stay
/// different: what is no letter, digit or dot becomes its number between underscores.
fn word(text: &str) -> String {
    use std::fmt::Write as _;
    let mut word = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || c == '.' || c == '-' {
            word.push(c);
        } else {
            let _never_fails = write!(word, "_{:x}_", u32::from(c));
        }
    }
    word.replace("..", "._2e_")
}

/// The line of figures that every report ends with.
pub fn line(ledger: &Ledger) -> String {
    format!(
        "ledger: sent {}, delivered {}, duplicated {}, lost {}",
        ledger.sent, ledger.delivered, ledger.duplicated, ledger.lost
    )
}

/// Fuzz entry: any bytes as a journal, read as the controller reads its own after a crash.
///
/// # Panics
///
/// Where a message was counted twice or vanished: that is what a fuzzer looks for.
pub fn fuzz(journal: &[u8]) {
    let services = ["inbound-mx", "mailbox"];
    let services = services
        .iter()
        .filter_map(|name| ServiceName::new(name).ok());
    let mut ledger = ProbeLedger::new(services.map(|service| (service, 10)));
    let mut last = Timestamp::UNIX_EPOCH;
    for line in journal.split(|&b| b == b'\n') {
        if let Ok(record) = serde_json::from_slice::<ProbeRecord>(line) {
            if let ProbeRecord::Found { at, .. } = &record {
                last = *at;
            }
            ledger.apply(&record);
        }
    }
    let names: Vec<ServiceName> = ledger.services().cloned().collect();
    for service in &names {
        ledger.looked(service, last);
        let next = ledger.due(service, last, true);
        let lowest = ledger.lowest_open(service);
        assert!(
            next.is_none_or(|next| next >= lowest),
            "a number came again"
        );
        let flow = ledger.figures(Some(service), true);
        assert_eq!(flow.sent, flow.delivered + flow.lost, "a message vanished");
        assert!(flow.late <= flow.delivered, "late, and never there");
    }
    let missing: usize = ledger.missing().values().map(Vec::len).sum();
    assert_eq!(ledger.figures(None, false).lost, missing as u64);
    ledger.is_settled();
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn mx() -> ServiceName {
        ServiceName::new("inbound-mx").unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000 + second).unwrap()
    }

    fn ledger() -> ProbeLedger {
        ProbeLedger::new([(mx(), 10)])
    }

    fn offered(number: u64, second: i64) -> ProbeRecord {
        ProbeRecord::Offered {
            service: mx(),
            number,
            at: at(second),
        }
    }

    fn accepted(number: u64, second: i64) -> ProbeRecord {
        ProbeRecord::Accepted {
            service: mx(),
            number,
            at: at(second),
            by: HostName::new("mx1").unwrap(),
        }
    }

    fn found(number: u64, second: i64, copies: u64) -> ProbeRecord {
        ProbeRecord::Found {
            service: mx(),
            number,
            at: at(second),
            copies,
        }
    }

    fn fold(records: &[ProbeRecord]) -> ProbeLedger {
        let mut ledger = ledger();
        for record in records {
            ledger.apply(record);
        }
        ledger
    }

    fn figures(records: &[ProbeRecord]) -> [u64; 6] {
        let of = fold(records).figures(None, true);
        [
            of.sent,
            of.delivered,
            of.duplicated,
            of.late,
            of.lost,
            of.refused,
        ]
    }

    #[test]
    fn each_number_is_accounted_for_once() {
        assert_eq!(figures(&[]), [0; 6]);
        let sent = [offered(1, 0), accepted(1, 0)];
        assert_eq!(figures(&sent), [1, 0, 0, 0, 1, 0]);
        let there = [offered(1, 0), accepted(1, 0), found(1, 2, 1)];
        assert_eq!(figures(&there), [1, 1, 0, 0, 0, 0]);
        let twice = [
            offered(1, 0),
            accepted(1, 0),
            found(1, 2, 1),
            found(1, 9, 3),
        ];
        assert_eq!(figures(&twice), [1, 1, 2, 0, 0, 0]);
        let late = [offered(1, 0), accepted(1, 5), found(1, 11, 1)];
        assert_eq!(figures(&late), [1, 1, 0, 1, 0, 0]);
        let nobody = [offered(1, 0), offered(1, 1), offered(2, 2)];
        assert_eq!(figures(&nobody), [0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn a_message_that_arrives_without_an_answer_was_sent() {
        assert_eq!(
            figures(&[offered(1, 0), found(1, 2, 1)]),
            [1, 1, 0, 0, 0, 0]
        );
        // And an answer that comes after changes nothing.
        assert_eq!(
            figures(&[offered(1, 0), found(1, 2, 1), accepted(1, 3)]),
            [1, 1, 0, 0, 0, 0]
        );
    }

    #[test]
    fn a_refused_message_is_offered_again_until_it_is_accepted() {
        let mut ledger = fold(&[offered(1, 0)]);
        assert_eq!(ledger.due(&mx(), at(0), false), None);
        assert_eq!(ledger.due(&mx(), at(0), true), Some(2));
        assert_eq!(ledger.due(&mx(), at(1), true), Some(1));
        ledger.apply(&offered(1, 1));
        assert_eq!(ledger.due(&mx(), at(2), false), None);
        assert_eq!(ledger.due(&mx(), at(3), false), Some(1));
        ledger.apply(&accepted(1, 3));
        assert_eq!(ledger.due(&mx(), at(99), false), None);
        assert_eq!(ledger.due(&mx(), at(99), true), Some(2));
    }

    #[test]
    fn nothing_is_missing_that_nobody_looked_for() {
        let mut ledger = fold(&[offered(1, 0), accepted(1, 0), offered(2, 1)]);
        assert!(ledger.missing().is_empty());
        ledger.looked(&mx(), at(29));
        assert!(ledger.missing().is_empty());
        assert!(!ledger.is_settled());
        ledger.looked(&mx(), at(30));
        assert_eq!(ledger.missing(), BTreeMap::from([(mx(), vec![1])]));
        assert_eq!(ledger.figures(None, false).lost, 1);
        // It arrives after all: late, not lost.
        ledger.apply(&found(1, 31, 1));
        assert!(ledger.missing().is_empty());
        assert_eq!(ledger.figures(None, true).late, 1);
    }

    #[test]
    fn only_news_is_recorded() {
        let ledger = fold(&[offered(1, 0), accepted(1, 0), found(1, 1, 1), offered(2, 1)]);
        let copies = BTreeMap::from([(1, 1), (2, 1)]);
        assert_eq!(ledger.news(&mx(), &copies, at(3)), [found(2, 3, 1)]);
        let copies = BTreeMap::from([(1, 2)]);
        assert_eq!(ledger.news(&mx(), &copies, at(3)), [found(1, 3, 2)]);
        assert_eq!(ledger.lowest_open(&mx()), 2);
    }

    #[test]
    fn messages_whose_records_are_lost_are_counted_when_they_arrive() {
        // The journal lost 1 to 3; they were sent.
        let mut ledger = fold(&[found(3, 5, 1)]);
        assert_eq!(ledger.due(&mx(), at(99), true), Some(4));
        ledger.apply(&found(1, 6, 2));
        let of = ledger.figures(None, true);
        assert_eq!(
            (of.sent, of.delivered, of.duplicated, of.lost),
            (2, 2, 1, 0)
        );
        assert!(ledger.is_settled());
    }

    #[test]
    fn a_host_that_lies_about_what_it_found_costs_no_more_than_its_answer() {
        let mut ledger = ledger();
        for number in 1..200 {
            ledger.apply(&found(number * 10_000, 5, u64::MAX));
        }
        ledger.apply(&found(u64::MAX, 5, 2));
        assert!(ledger.flows[&mx()].open.len() as u64 <= MOST_KEPT + MOST_ADRIFT);
        let of = ledger.figures(None, true);
        assert_eq!((of.delivered, of.duplicated), (0, 0));
    }

    #[test]
    fn a_host_that_lies_about_what_it_found_stops_no_probes() {
        let mut ledger = fold(&[offered(1, 0), accepted(1, 0)]);
        for number in (100..200_000).step_by(100) {
            let copies = BTreeMap::from([(1, 1), (number, 1)]);
            for record in ledger.news(&mx(), &copies, at(1)) {
                ledger.apply(&record);
            }
        }
        let copies = BTreeMap::from([(200_000, 1)]);
        assert_eq!(ledger.unheard_of(&mx(), &copies), Some(200_000));
        assert_eq!(ledger.news(&mx(), &copies, at(1)), []);
        // Sent, found and counted as ever.
        assert!(!ledger.is_full(&mx()));
        let before = ledger.figures(None, true);
        for second in 2..2_000 {
            let number = ledger.due(&mx(), at(second), true).unwrap();
            ledger.apply(&offered(number, second));
            ledger.apply(&accepted(number, second));
            assert_eq!(
                ledger.unheard_of(&mx(), &BTreeMap::from([(number, 1)])),
                None
            );
            ledger.apply(&found(number, second, 1));
        }
        let of = ledger.figures(None, true);
        assert_eq!(of.delivered - before.delivered, 1_998);
        assert_eq!(of.lost, 0);
    }

    #[test]
    fn so_many_messages_that_nobody_takes_are_kept_and_no_more() {
        let mut ledger = ledger();
        while let Some(number) = ledger.due(&mx(), at(0), true) {
            ledger.apply(&offered(number, 0));
        }
        assert!(ledger.is_full(&mx()));
        assert_eq!(ledger.figures(None, true).refused, MOST_KEPT);
        ledger.apply(&found(1, 1, 1));
        assert!(!ledger.is_full(&mx()));
    }

    #[test]
    fn ids_of_different_services_and_runs_never_begin_alike() {
        let plan = PlanId::new("sha256:0a1b2c3d4e5f").unwrap();
        assert_eq!(
            prefix(&plan, "k3", "inbound-mx"),
            "mailkeep-0a1b2c3d-k3-inbound-mx-"
        );
        let odd: Vec<String> = ["a@b", "a-b", "a_b", "a>b", "\u{e4}", "a"]
            .map(|service| prefix(&plan, "k3", service))
            .into();
        for (at, one) in odd.iter().enumerate() {
            assert!(one.bytes().all(|b| b.is_ascii_graphic() && b != b'@'));
            assert!(!one.contains(['<', '>', '@']));
            for other in odd.iter().skip(at + 1) {
                assert_ne!(one, other);
            }
        }
    }

    proptest::proptest! {
        // A lying record opens many numbers.
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(16))]

        #[test]
        fn any_numbers_are_survived_in_a_journal(
            records in proptest::collection::vec(
                ("found|offered|accepted", proptest::prelude::any::<u64>(), 0_u64..200_000), 0..20
            )
        ) {
            let mut journal = String::new();
            for (kind, large, number) in records {
                let copies = large;
                let by = if kind == "accepted" { ",\"by\":\"mx1\"" } else { "" };
                let of = if kind == "found" { format!(",\"copies\":{copies}") } else { String::new() };
                for number in [number, large] {
                    _ = writeln!(
                        journal,
                        "{{\"kind\":\"{kind}\",\"service\":\"mailbox\",\"number\":{number},\
                         \"at\":\"2026-11-22T01:00:00Z\"{of}{by}}}"
                    );
                }
            }
            fuzz(journal.as_bytes());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived_as_a_journal(bytes: Vec<u8>) {
            fuzz(&bytes);
        }

        /// Whatever the order of records, no message is counted twice and none vanishes.
        #[test]
        fn the_figures_add_up(
            records in proptest::collection::vec((0_u8..3, 0_u64..8, 0_i64..100, 0_u64..4), 0..200)
        ) {
            let records: Vec<ProbeRecord> = records
                .into_iter()
                .map(|(kind, number, second, copies)| match kind {
                    0 => offered(number, second),
                    1 => accepted(number, second),
                    _ => found(number, second, copies),
                })
                .collect();
            let ledger = fold(&records);
            let of = ledger.figures(None, true);
            proptest::prop_assert_eq!(of.sent, of.delivered + of.lost);
            proptest::prop_assert!(of.late <= of.delivered);
            proptest::prop_assert!(of.sent + of.refused <= 8);
            // Written and read again it is the same.
            let text: Vec<String> = records
                .iter()
                .map(|record| serde_json::to_string(record).unwrap())
                .collect();
            let read: Vec<ProbeRecord> = text
                .iter()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            proptest::prop_assert_eq!(fold(&read).figures(None, true), of);
        }
    }
}
