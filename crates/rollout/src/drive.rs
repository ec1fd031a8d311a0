//! The loop around the [`Executor`]: claim, replay, poll, journal, perform, journal.
//!
//! Entry types: [`claim`], [`Driver`].
//!
//! It is written so that the process may be killed between any two statements. What is known stands
//! in the journal; whoever goes on reads it, and looks at the hosts. Three things guard against a
//! second controller: the claim in the store, whose fencing number every line of the journal is
//! written under; the fencing number itself, which goes to the host with every act; and the lease on
//! the host.
//!
//! **Invariant:** decides nothing. The time, the threads' waiting and the wish to stop come in by
//! [`Clock`] and the wish to stop.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use jiff::SignedDuration;
use mailkeep_model::{
    Act, ActFailure, ActOutcome, Actor, Event, EventKind, HostName, HostState, Plan, PlanId, Realm,
    RecordedEvent, RolloutOutcome, Timestamp,
};
use mailkeep_store::{Claim, ClaimAnswer, Store, StoreError};

use crate::executor::{ApplyError, Do, Executor, WaitsFor};
use crate::hands::{Hands, Order};

/// How long a claim lasts unless renewed. After a crash another machine waits this long; a controller
/// that renews it at half time may be held up (a laptop's lid, a full disk) for the other half.
pub const CLAIM_LASTS: SignedDuration = SignedDuration::from_secs(60);

/// How often the log is looked at for what others wrote: `rollout pause` takes effect this late.
const BELL: Duration = Duration::from_secs(1);

/// How long the store may refuse a line of the journal (a full disk, a long import) before the
/// controller gives up. Nothing new is begun meanwhile.
const STORE_PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// How long an order may wait for a free hand. After that it is given back and asked for anew: what it
/// was given on, above all the look at its host, may hold no longer.
const ORDER_LASTS: SignedDuration = SignedDuration::from_mins(1);

/// Time, and waiting for it.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Waits for a message, at most for a while. Where nothing is under way, `idle_until` says when
    /// something is due next by itself: a clock that is not the real one may let the time pass at once.
    fn wait(
        &self,
        messages: &Receiver<Message>,
        at_most: Duration,
        idle_until: Option<Timestamp>,
    ) -> Option<Message>;

    /// Waits, in a thread of the hands.
    fn pause(&self, time: Duration);
}

/// What reaches the driver from other threads.
#[derive(Debug)]
pub enum Message {
    /// An act ended.
    Ended(Box<(Order, ActOutcome)>),
    /// Something to be journalled: what the ledger counts, a pause it asks for.
    Note(EventKind),
}

/// The wish of whoever runs this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// To go on.
    GoOn,
    /// To begin nothing new, wait for what is under way, and leave.
    Stop,
    /// To leave once the rollout is paused and every host in work is finished, its soak and the last
    /// look after it included: nobody is there to resume it.
    StopOncePaused,
}

/// How a driver is set up.
#[derive(Debug, Clone)]
pub struct DriveSettings {
    /// Live servers, or a rehearsal.
    pub realm: Realm,
    /// Who started it; goes into [`EventKind::RolloutStarted`].
    pub by: Actor,
    /// Acts at a time. What the plan allows at a time is the executor's matter; this bounds threads
    /// and `ssh` sessions.
    pub parallel: usize,
    /// How long a stop waits for acts under way.
    pub stop_within: SignedDuration,
}

/// How a drive ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriveEnd {
    /// Every host of the plan has come to an end.
    Ended(RolloutOutcome),
    /// Somebody wished it. The rollout goes on when it is started again.
    Stopped {
        /// Hosts on which an act was still under way.
        under_way: Vec<HostName>,
    },
    /// Another controller has taken over; this one has written nothing since.
    TakenOver,
}

/// Why a rollout cannot be driven.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// Another controller has it.
    #[error("the rollout of plan {plan} is carried out by {by} (its claim lasts until {until})")]
    Held {
        /// Which plan.
        plan: PlanId,
        /// By which controller.
        by: String,
        /// When its claim ends unless it renews it.
        until: Timestamp,
    },
    /// The journal could not be read or written.
    #[error("the journal of the rollout cannot be kept; it goes on when it is started again")]
    Store(#[source] StoreError),
}

/// Claims the right to carry a plan out.
pub fn claim(
    store: &mut dyn Store,
    plan: &PlanId,
    controller: &str,
    now: Timestamp,
) -> Result<Claim, DriveError> {
    let until = later(now, CLAIM_LASTS);
    match store
        .claim_rollout(plan, controller, now, until)
        .map_err(DriveError::Store)?
    {
        ClaimAnswer::Claimed(claim) => Ok(claim),
        ClaimAnswer::Held { by, until } => Err(DriveError::Held {
            plan: plan.clone(),
            by,
            until,
        }),
    }
}

/// An executor that has taken over everything the log says of its plan, and the place in the log up to
/// which it has. What it refuses is handed to `odd`.
pub fn replay(
    store: &dyn Store,
    plan_id: &PlanId,
    plan: &Arc<Plan>,
    fence: u64,
    odd: &mut dyn FnMut(&RecordedEvent, &ApplyError),
) -> Result<(Executor, u64), StoreError> {
    let mut executor = Executor::new(plan_id.clone(), Arc::clone(plan), fence);
    let mut last = 0;
    for recorded in events_after(store, plan_id, 0)? {
        last = recorded.seq;
        if let Err(error) = executor.apply(&recorded.event) {
            odd(&recorded, &error);
        }
    }
    Ok((executor, last))
}

/// The events of a plan, and those of hosts isolated by hand, in their order.
fn events_after(
    store: &dyn Store,
    plan: &PlanId,
    after: u64,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let mut events = store.events_of_plan(plan, after)?;
    let isolations = store.isolation_events()?;
    events.extend(isolations.into_iter().filter(|event| event.seq > after));
    events.sort_by_key(|event| event.seq);
    Ok(events)
}

/// What a [`Driver`] works with.
pub struct Parts<'a> {
    /// Where the journal is.
    pub store: &'a mut dyn Store,
    /// Who touches the hosts.
    pub hands: Arc<dyn Hands + Send + Sync>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Called with every event of the rollout from the journal's first on, in the order of the log,
    /// and whether it was there before this driver.
    pub tell: &'a mut dyn FnMut(&RecordedEvent, bool),
    /// Called with words for a person: what is odd and stands in no log.
    pub warn: &'a mut dyn FnMut(&str),
    /// Asked about once a second.
    pub stop: &'a dyn Fn() -> Wish,
}

/// Drives one rollout.
pub struct Driver<'a> {
    parts: Parts<'a>,
    settings: DriveSettings,
    executor: Executor,
    started: bool,
    /// Place in the log up to which the executor has taken it over.
    seen: u64,
    /// Ordered, and not begun.
    queue: VecDeque<Order>,
    /// When the first of them was given.
    queued_since: Option<Timestamp>,
    under_way: BTreeMap<HostName, Act>,
    /// Not yet in the journal.
    unwritten: VecDeque<Event>,
    /// Since when the store refuses to take it.
    refused_since: Option<Timestamp>,
    sender: Sender<Message>,
    messages: Receiver<Message>,
}

impl<'a> Driver<'a> {
    /// Reads the journal.
    pub fn new(
        parts: Parts<'a>,
        settings: DriveSettings,
        plan: &Arc<Plan>,
        claim: &Claim,
    ) -> Result<Self, DriveError> {
        let (sender, messages) = channel();
        let mut driver = Self {
            parts,
            settings,
            executor: Executor::new(claim.plan.clone(), Arc::clone(plan), claim.fence),
            started: false,
            seen: 0,
            queue: VecDeque::new(),
            queued_since: None,
            under_way: BTreeMap::new(),
            unwritten: VecDeque::new(),
            refused_since: None,
            sender,
            messages,
        };
        driver.take_over(true).map_err(DriveError::Store)?;
        Ok(driver)
    }

    /// Where other threads send what is to be journalled.
    pub fn notes(&self) -> Sender<Message> {
        self.sender.clone()
    }

    /// Notes hosts that other rollouts have left out of service; see [`Executor::keep_out`].
    pub fn keep_out<'h>(&mut self, hosts: impl IntoIterator<Item = &'h HostName>) {
        self.executor.keep_out(hosts, self.parts.clock.now());
    }

    /// What the journal says so far.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Runs until the rollout ends, somebody wishes a stop, or another controller takes over. The
    /// claim stays ours but for the last case: the caller gives it back when all is written.
    pub fn run(&mut self, claim: &mut Claim) -> Result<DriveEnd, DriveError> {
        match self.work(claim) {
            Ok(end) => Ok(end),
            Err(StoreError::ClaimLost { .. }) => Ok(DriveEnd::TakenOver),
            Err(error) => Err(DriveError::Store(error)),
        }
    }

    /// Journals what other threads have sent since, and more. For the last words of the ledger.
    pub fn note(
        &mut self,
        claim: &Claim,
        kinds: impl IntoIterator<Item = EventKind>,
    ) -> Result<(), DriveError> {
        while let Ok(message) = self.messages.try_recv() {
            self.receive(message);
        }
        for kind in kinds {
            self.keep(kind);
        }
        self.write(claim).map_err(DriveError::Store)
    }

    fn work(&mut self, claim: &mut Claim) -> Result<DriveEnd, StoreError> {
        if !self.started {
            self.keep(EventKind::RolloutStarted {
                plan: claim.plan.clone(),
                by: self.settings.by.clone(),
            });
        }
        let mut stop_at: Option<Timestamp> = None;
        loop {
            let now = self.parts.clock.now();
            self.renew(claim, now)?;
            self.write(claim)?;
            self.take_over(false)?;
            if self.executor.taken_over_by().is_some() {
                return Ok(DriveEnd::TakenOver);
            }
            let wish = (self.parts.stop)();
            if stop_at.is_none() && wish == Wish::Stop {
                stop_at = Some(later(now, self.settings.stop_within));
            }
            if stop_at.is_none() && self.unwritten.is_empty() {
                self.poll(claim, now)?;
                self.begin(claim)?;
            }
            let idle = self.under_way.is_empty() && self.unwritten.is_empty();
            if let Some(outcome) = self.executor.outcome()
                && idle
            {
                return Ok(DriveEnd::Ended(outcome));
            }
            if wish == Wish::StopOncePaused && idle && self.queue.is_empty() && self.rests(now) {
                return Ok(DriveEnd::Stopped {
                    under_way: Vec::new(),
                });
            }
            if let Some(limit) = stop_at
                && (idle || now >= limit)
            {
                return Ok(DriveEnd::Stopped {
                    under_way: self.under_way.keys().cloned().collect(),
                });
            }
            self.wait(now, idle);
        }
    }

    /// Whether it is paused, and every host has ended, was not begun, or waits for the pause to end. One
    /// that soaks is in work: nobody else looks whether its patch holds.
    fn rests(&self, now: Timestamp) -> bool {
        let is_at_rest = |state: HostState| {
            state.is_end()
                || matches!(
                    state,
                    HostState::Waiting | HostState::Prechecking | HostState::Ready
                )
        };
        self.executor.paused().is_some()
            && self.executor.states().all(|view| {
                is_at_rest(view.state)
                    || self.executor.waits_for(view.step, now) == Some(WaitsFor::Paused)
            })
    }

    fn renew(&mut self, claim: &mut Claim, now: Timestamp) -> Result<(), StoreError> {
        if now < later(claim.until, -(CLAIM_LASTS / 2)) {
            return Ok(());
        }
        match self.parts.store.renew_claim(claim, later(now, CLAIM_LASTS)) {
            // Ended or not, it stays ours until somebody takes it over; every write asks.
            Err(error) if !matches!(error, StoreError::ClaimLost { .. }) => Ok(()),
            done => done,
        }
    }

    /// Takes over what the log says beyond what is known: our own lines, and the intents of others.
    fn take_over(&mut self, before: bool) -> Result<(), StoreError> {
        let plan = self.executor.plan_id().clone();
        let mut halted = false;
        for recorded in events_after(self.parts.store, &plan, self.seen)? {
            self.seen = recorded.seq;
            if let Err(error) = self.executor.apply(&recorded.event) {
                (self.parts.warn)(&format!("event {} changes nothing: {error}", recorded.seq));
            }
            (self.parts.tell)(&recorded, before);
            let kind = &recorded.event.kind;
            self.started |= matches!(kind, EventKind::RolloutStarted { .. });
            halted |= matches!(
                kind,
                EventKind::RolloutPaused { .. } | EventKind::RolloutAborted { .. }
            );
        }
        if halted {
            self.give_orders_back();
        }
        Ok(())
    }

    /// Whatever of it is still due is ordered again by the next poll.
    fn give_orders_back(&mut self) {
        self.queue.clear();
        self.queued_since = None;
        self.executor.take_orders_back();
    }

    fn keep(&mut self, kind: EventKind) {
        self.unwritten.push_back(Event {
            at: self.parts.clock.now(),
            realm: self.settings.realm,
            kind,
        });
    }

    /// Writes what is to be journalled, and takes it over. What the store refuses is tried again
    /// later, as long as there is hope.
    fn write(&mut self, claim: &Claim) -> Result<(), StoreError> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        match self
            .parts
            .store
            .append_claimed(claim, self.unwritten.make_contiguous())
        {
            Ok(_) => {
                self.unwritten.clear();
                if self.refused_since.take().is_some() {
                    (self.parts.warn)("the journal can be written again");
                }
                self.take_over(false)
            }
            Err(error @ StoreError::ClaimLost { .. }) => Err(error),
            Err(error) => {
                let now = self.parts.clock.now();
                let since = *self.refused_since.get_or_insert_with(|| {
                    (self.parts.warn)(&format!(
                        "nothing new is begun until the journal can be written: {error}"
                    ));
                    now
                });
                if now > later(since, STORE_PATIENCE) {
                    return Err(error);
                }
                Ok(())
            }
        }
    }

    fn poll(&mut self, claim: &Claim, now: Timestamp) -> Result<(), StoreError> {
        if self.queue.is_empty() {
            self.queued_since = None;
        } else if self
            .queued_since
            .is_some_and(|since| now > later(since, ORDER_LASTS))
        {
            self.give_orders_back();
        }
        // Each record makes something else due; a chain of them is short. A longer one is an executor
        // that does not believe its own journal, and is asked again at the next round.
        for _ in 0..100 {
            let mut recorded = false;
            for due in self.executor.poll(now) {
                match due {
                    Do::Record(kind) => {
                        recorded = true;
                        self.keep(kind);
                    }
                    Do::Order(order) => {
                        self.queued_since.get_or_insert(now);
                        self.queue.push_back(order);
                    }
                }
            }
            self.write(claim)?;
            if !recorded || !self.unwritten.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Begins what is ordered, as far as there is room: first what brings hosts in work back, then what
    /// takes further ones out of service, last the looks at those to come.
    fn begin(&mut self, claim: &Claim) -> Result<(), StoreError> {
        let room = self
            .settings
            .parallel
            .max(1)
            .saturating_sub(self.under_way.len());
        if room == 0 || self.queue.is_empty() || !self.unwritten.is_empty() {
            return Ok(());
        }
        self.queue
            .make_contiguous()
            .sort_by_key(|order| match order.act {
                Act::Precheck => 2,
                Act::Lease => 1,
                _in_work => 0,
            });
        let orders: Vec<Order> = self.queue.drain(..room.min(self.queue.len())).collect();
        for kind in orders.iter().filter_map(Order::started) {
            self.keep(kind);
        }
        self.write(claim)?;
        if !self.unwritten.is_empty() {
            // Not one of them may begin; they stay ordered.
            self.unwritten.clear();
            for order in orders.into_iter().rev() {
                self.queue.push_front(order);
            }
            return Ok(());
        }
        for order in orders {
            self.perform(order);
        }
        Ok(())
    }

    fn perform(&mut self, order: Order) {
        let Some(host) = order.host().cloned() else {
            return;
        };
        self.under_way.insert(host, order.act);
        let (hands, sender) = (Arc::clone(&self.parts.hands), self.sender.clone());
        let spare = order.clone();
        let thread = move || {
            let work = std::panic::AssertUnwindSafe(|| hands.perform(&order));
            let outcome = std::panic::catch_unwind(work).unwrap_or_else(|_| ActOutcome::Failed {
                kind: ActFailure::Other,
                detail: "the controller's own code failed; see its standard error".to_owned(),
            });
            // Without a driver nobody wants to know.
            drop(sender.send(Message::Ended(Box::new((order, outcome)))));
        };
        if std::thread::Builder::new().spawn(thread).is_err() {
            let outcome = ActOutcome::NotYet {
                why: "the controller has no room for another thread".to_owned(),
            };
            self.receive(Message::Ended(Box::new((spare, outcome))));
        }
    }

    fn wait(&mut self, now: Timestamp, idle: bool) {
        let wake = if self.queue.is_empty() {
            self.executor.next_wake(now)
        } else {
            None
        };
        let mut at_most = BELL;
        if let Some(wake) = wake {
            let left = Duration::try_from(wake.duration_since(now)).unwrap_or_default();
            // A wake that is over and brought nothing must not make this a busy loop.
            at_most = at_most.min(left.max(Duration::from_millis(10)));
        }
        let soon = later(now, SignedDuration::try_from(at_most).unwrap_or_default());
        let idle_until = idle.then(|| wake.unwrap_or(soon).max(soon));
        let clock = Arc::clone(&self.parts.clock);
        if let Some(message) = clock.wait(&self.messages, at_most, idle_until) {
            self.receive(message);
            while let Ok(message) = self.messages.try_recv() {
                self.receive(message);
            }
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Ended(ended) => {
                let (order, outcome) = *ended;
                if let Some(host) = order.host() {
                    self.under_way.remove(host);
                }
                if let Some(kind) = order.ended(outcome) {
                    self.keep(kind);
                }
            }
            Message::Note(kind) => self.keep(kind),
        }
    }
}

/// Waits for a message on a real clock.
pub fn wait_for_message(messages: &Receiver<Message>, at_most: Duration) -> Option<Message> {
    messages.recv_timeout(at_most).ok()
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_add(by).unwrap_or(if by.is_negative() {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}
