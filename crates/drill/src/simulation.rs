//! The run: a calendar of what happens when, the controller with its journal, and the watch over what
//! must never happen.

mod account;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use jiff::SignedDuration;
use mailkeep_model::{
    Act, ActFailure, ActOutcome, Actor, Event, EventKind, Plan, PlanId, Realm, Timestamp,
};
use mailkeep_rollout::{Do, Executor, Order};

use crate::draw::{About, Draw};
use crate::faults::Faults;
use crate::host::{Code, Effects, Lease};
use crate::rehearsal::{Breach, Figures, Rehearsal, RehearseError, Settings};
use crate::world::{Next, World, index};

/// Seconds of the run before the first step starts.
const EARLY: i64 = 20 * 60;

/// A rollout that has not ended this long after its plan's last step never will: half a day for the
/// waits of a host in trouble, a day for steps that windows do not bound, soaks besides.
const GIVE_UP: i64 = 5 * 24 * 3600;

/// Seconds after which a line that is cut is given up.
const KEEP_ALIVES: i64 = 30;

/// Seconds between two messages of a region's senders while hosts are in work nearby, and in between.
const BUSY_MAIL: i64 = 45;
const IDLE_MAIL: i64 = 1800;

/// What the calendar holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    World(Next),
    /// An act's hands have come to its end: number of the job.
    ActEnds(u32),
    /// Its answer is there, or none is: number of the job.
    Answer(u32),
    /// Power is lost in mid-patch: host.
    Reboot(u32),
    /// Power is back: host.
    PowerBack(u32),
    /// Somebody else takes a lease: host.
    TakeLease(u32),
    /// Another plan of this controller does, where it may: host.
    OtherPlan(u32),
    /// The controller is started again.
    Restart,
    /// The executor wants to be asked.
    Wake,
}

/// An act under way.
#[derive(Debug)]
struct Job {
    order: Order,
    host: usize,
    /// Which life of the controller gave it.
    life: u32,
    /// It comes to nothing: the host was not reached, or the line went.
    void: bool,
    /// What the controller will be told.
    answer: Option<ActOutcome>,
    /// The answer does not come.
    silent: bool,
}

pub(crate) struct Simulation<'a> {
    plan_id: PlanId,
    plan: Arc<Plan>,
    faults: &'a Faults,
    settings: &'a Settings,
    draw: Draw,
    world: World,
    calendar: BinaryHeap<Reverse<(i64, u64, Entry)>>,
    /// Breaks ties in the calendar: first in, first out.
    counter: u64,
    now: i64,
    zero: Timestamp,
    executor: Option<Executor>,
    life: u32,
    journal: Vec<Event>,
    jobs: Vec<Job>,
    /// Jobs under way by host, of this life.
    under_way: BTreeMap<usize, u32>,
    points: u64,
    performed: BTreeMap<usize, u64>,
    woken_at: Option<i64>,
    /// Since when a host does not serve, and for how long it did not before.
    out_since: Vec<Option<i64>>,
    out_for: Vec<i64>,
    ended: bool,
    figures: Figures,
    breaches: Vec<Breach>,
}

impl<'a> Simulation<'a> {
    pub(crate) fn new(
        plan: &Plan,
        seed: u64,
        faults: &'a Faults,
        settings: &'a Settings,
    ) -> Result<Self, RehearseError> {
        let bytes = mailkeep_plan::canonical(plan).map_err(RehearseError::Id)?;
        let plan_id = mailkeep_plan::id_of(&bytes).map_err(RehearseError::Id)?;
        let first = plan
            .steps
            .iter()
            .map(|step| step.start)
            .min()
            .ok_or(RehearseError::NoStep)?;
        let zero = first
            .checked_sub(SignedDuration::from_secs(EARLY))
            .unwrap_or(first);
        let mut drilled = plan.clone();
        drilled.realm = Realm::Drill;
        let draw = Draw::new(seed);
        let mut world = World::new(&drilled, draw);
        let seconds = |time: Timestamp| time.duration_since(zero).as_secs();
        world.draw_flaws(&drilled, faults, |step| {
            plan.steps.get(step).map_or(0, |step| seconds(step.start))
        });
        let hosts = world.hosts.len();
        let mut simulation = Self {
            plan_id,
            plan: Arc::new(drilled),
            faults,
            settings,
            draw,
            world,
            calendar: BinaryHeap::new(),
            counter: 0,
            now: 0,
            zero,
            executor: None,
            life: 0,
            journal: Vec::new(),
            jobs: Vec::new(),
            under_way: BTreeMap::new(),
            points: 0,
            performed: BTreeMap::new(),
            woken_at: None,
            out_since: vec![None; hosts],
            out_for: vec![0; hosts],
            ended: false,
            figures: Figures::default(),
            breaches: Vec::new(),
        };
        simulation.prepare(seconds);
        Ok(simulation)
    }

    fn prepare(&mut self, seconds: impl Fn(Timestamp) -> i64) {
        let plan = Arc::clone(&self.plan);
        for (number, step) in plan.steps.iter().enumerate() {
            let Some(&host) = self.world.by_name.get(&step.host) else {
                continue;
            };
            let who = [host as u64];
            if self
                .draw
                .happens(About::LeaseTaken, &who, self.faults.lease_taken)
            {
                let start = plan.steps.get(number).map_or(0, |step| seconds(step.start));
                let at = start
                    + self
                        .draw
                        .between(About::LeaseTaken, &[who[0], 1], -900, 1800);
                self.put(at.max(0), Entry::TakeLease(index(host)));
            }
            if self
                .draw
                .happens(About::OtherPlan, &who, self.faults.other_plan)
            {
                let from = seconds(step.start);
                let at = from
                    + self
                        .draw
                        .between(About::OtherPlan, &[who[0], 1], -900, 3600);
                self.put(at.max(0), Entry::OtherPlan(index(host)));
            }
        }
        for service in 0..self.world.services.len() {
            for place in 0..self.world.services[service].places.len() {
                let first =
                    self.draw
                        .between(About::Sender, &[service as u64, place as u64], 0, BUSY_MAIL);
                self.put(
                    first,
                    Entry::World(Next::Born(index(service), index(place))),
                );
            }
        }
        self.take_over_news();
        self.put(0, Entry::Restart);
    }

    fn put(&mut self, at: i64, entry: Entry) {
        self.counter += 1;
        self.calendar
            .push(Reverse((at.max(self.now), self.counter, entry)));
    }

    fn time(&self, second: i64) -> Timestamp {
        self.zero
            .checked_add(SignedDuration::from_secs(second))
            .unwrap_or(Timestamp::MAX)
    }

    pub(crate) fn run(mut self) -> Rehearsal {
        let last = self
            .plan
            .end()
            .map_or(0, |end| end.duration_since(self.zero).as_secs());
        while let Some(Reverse((at, _, entry))) = self.calendar.pop() {
            self.now = at;
            if !self.ended && at > last.saturating_add(GIVE_UP) {
                let at = self.time(at);
                self.breaches.push(Breach::NoEnd { at });
                break;
            }
            self.happen(entry);
            self.take_over_news();
        }
        self.close()
    }

    fn happen(&mut self, entry: Entry) {
        match entry {
            Entry::World(Next::Born(service, place)) => {
                if self.ended {
                    return;
                }
                self.world.happen(Next::Born(service, place), self.now);
                let busy = !self.under_way.is_empty();
                let pause = if busy { BUSY_MAIL } else { IDLE_MAIL };
                self.put(self.now + pause, Entry::World(Next::Born(service, place)));
            }
            Entry::World(next) => self.world.happen(next, self.now),
            Entry::ActEnds(job) => self.act_ends(job as usize),
            Entry::Answer(job) => self.answer(job as usize),
            Entry::Reboot(host) => self.reboot(host as usize),
            Entry::PowerBack(host) => {
                let at = host as usize;
                // What the power cut left whole comes up by itself.
                if self.world.hosts[at].installed == Code::Old {
                    self.world.hosts[at].running = Some(Code::Old);
                }
                self.look(at);
                self.put(self.now, Entry::World(Next::Flush(host)));
            }
            Entry::TakeLease(host) => self.world.hosts[host as usize].lease = Lease::Another,
            Entry::OtherPlan(host) => self.world.hosts[host as usize].taken_by_other_plan(),
            Entry::Restart => self.restart(),
            Entry::Wake => {
                self.woken_at = None;
                self.control();
            }
        }
    }

    /// Moves what the world says will happen into the calendar.
    fn take_over_news(&mut self) {
        for (at, next) in std::mem::take(&mut self.world.next) {
            self.put(at, Entry::World(next));
        }
    }

    // The controller.

    fn restart(&mut self) {
        self.life += 1;
        let fence = u64::from(self.life);
        let mut executor = Executor::new(self.plan_id.clone(), Arc::clone(&self.plan), fence);
        for event in &self.journal {
            // What a journal refuses was refused when it was written.
            if let Err(error) = executor.apply(event) {
                self.breaches.push(Breach::Executor {
                    what: error.to_string(),
                });
            }
        }
        self.executor = Some(executor);
        if self.journal.is_empty() {
            let kind = EventKind::RolloutStarted {
                plan: self.plan_id.clone(),
                by: Actor {
                    name: "drill".to_owned(),
                    team: None,
                },
            };
            if !self.write(kind) {
                return;
            }
        }
        self.control();
    }

    /// Appends to the journal and applies. False where the controller died over it.
    fn write(&mut self, kind: EventKind) -> bool {
        if self.dies() {
            return false;
        }
        if let EventKind::RolloutEnded { outcome, .. } = &kind {
            self.ended = true;
            self.figures.outcome = Some(*outcome);
            self.figures.ended_at = Some(self.time(self.now));
        }
        let event = Event {
            at: self.time(self.now),
            realm: Realm::Drill,
            kind,
        };
        let applied = match &mut self.executor {
            Some(executor) => executor.apply(&event),
            None => Ok(()),
        };
        if let Err(error) = applied {
            self.breaches.push(Breach::Executor {
                what: error.to_string(),
            });
        }
        self.journal.push(event);
        !self.dies()
    }

    /// Passes a point at which the controller may die.
    fn dies(&mut self) -> bool {
        self.points += 1;
        let chosen = self.settings.crash_at.contains(&self.points)
            || self
                .draw
                .happens(About::Crash, &[self.points], self.faults.controller_crash);
        if chosen {
            self.crash();
        }
        chosen
    }

    fn crash(&mut self) {
        self.executor = None;
        self.figures.crashes += 1;
        self.woken_at = None;
        for (host, job) in std::mem::take(&mut self.under_way) {
            let what = [u64::from(job), 1];
            let Some(job) = self.jobs.get_mut(job as usize) else {
                continue;
            };
            // Some hands go on without anybody listening; others go down with the line.
            if !job.void && job.answer.is_none() && self.draw.happens(About::Cut, &what, 500) {
                job.void = true;
                self.world.hosts[host].busy_until = self.now;
                if matches!(job.order.act, Act::Patch) {
                    let mut effects = Effects::default();
                    self.world.hosts[host].leave_half_done(&mut effects);
                    self.world.take_in(host, effects, self.now);
                    self.look(host);
                }
            }
        }
        let downtime = self.draw.between(About::Downtime, &[self.points], 30, 900);
        self.put(self.now + downtime, Entry::Restart);
    }

    /// Asks the executor, and does what it says.
    fn control(&mut self) {
        loop {
            let now = self.time(self.now);
            let Some(executor) = &mut self.executor else {
                return;
            };
            let due = executor.poll(now);
            // To look at every host at every event is what the executor is spared: of large plans one
            // time in many is enough.
            let looks = self.plan.steps.len() <= 100 || self.points.is_multiple_of(4999);
            if looks && let Some(host) = executor.overlooked(&due, now) {
                let what = format!("{host} was overlooked at {now}");
                self.breaches.push(Breach::Executor { what });
            }
            let mut again = false;
            for what in due {
                match what {
                    Do::Record(kind) => {
                        again = true;
                        if !self.write(kind) {
                            return;
                        }
                    }
                    Do::Order(order) => {
                        let Some(started) = order.started() else {
                            continue;
                        };
                        if !self.write(started) {
                            return;
                        }
                        self.begin(order);
                        if self.dies() {
                            return;
                        }
                    }
                }
            }
            if !again {
                break;
            }
        }
        let wake = self
            .executor
            .as_ref()
            .and_then(|executor| executor.next_wake(self.time(self.now)));
        if let Some(wake) = wake {
            let at = wake.duration_since(self.zero).as_secs();
            if self
                .woken_at
                .is_none_or(|known| at < known || known <= self.now)
            {
                self.woken_at = Some(at);
                self.put(at, Entry::Wake);
            }
        }
    }

    // Hands.

    fn begin(&mut self, order: Order) {
        let Some(&host) = order.host().and_then(|name| self.world.by_name.get(name)) else {
            return;
        };
        self.figures.acts += 1;
        self.figures.again += u64::from(order.attempt > 1);
        let number = index(self.jobs.len());
        if self.under_way.insert(host, number).is_some() {
            let what = format!("two orders at once for {}", self.world.names[host]);
            self.breaches.push(Breach::Executor { what });
        }
        let turn = self.performed.entry(host).or_default();
        *turn += 1;
        let what = [host as u64, *turn];
        let limit = order.limit.as_secs();
        let (shortest, longest) = seconds_of(order.act);
        let lasts = self.draw.between(About::Duration, &what, shortest, longest);
        let act = order.act;
        let reached = self.world.hosts[host].reached(self.now)
            && !self
                .draw
                .happens(About::Unreachable, &what, self.faults.unreachable);
        let mut job = Job {
            order,
            host,
            life: self.life,
            void: !reached,
            answer: None,
            silent: false,
        };
        let mut answers = self.now + lasts;
        if !reached {
            job.answer = Some(unreachable("no answer"));
            answers = self.now + limit.min(20);
        } else if self.world.hosts[host].busy_until > self.now {
            job.void = true;
            job.answer = Some(ActOutcome::NotYet {
                why: "an earlier act is at work".to_owned(),
            });
            answers = self.now + 2;
        } else if self.draw.happens(About::Hang, &what, self.faults.hang) {
            job.silent = true;
            answers = self.now + limit;
        } else if self
            .draw
            .happens(About::LongCut, &what, self.faults.long_cut)
        {
            job.silent = true;
            answers = self.now + KEEP_ALIVES;
            let cut = self.draw.between(About::LongCut, &what, 60, 20 * 60);
            self.world.hosts[host].cut_until = self.now + cut;
        } else if self
            .draw
            .happens(About::LosesReply, &what, self.faults.reply_lost)
        {
            job.silent = true;
            answers = self.now + lasts + 30;
        }
        let works = !job.void;
        self.jobs.push(job);
        if works {
            self.world.hosts[host].busy_until = self.now + lasts;
            self.put(self.now + lasts, Entry::ActEnds(number));
            if act == Act::Patch
                && self.world.hosts[host].flaws.reboots
                && !self.world.hosts[host].rebooted
            {
                self.put(self.now + lasts / 2, Entry::Reboot(index(host)));
            }
        }
        // After the act's own end, which is in the calendar already where both fall on one second.
        self.put(answers, Entry::Answer(number));
    }

    fn act_ends(&mut self, number: usize) {
        let Some(job) = self.jobs.get_mut(number) else {
            return;
        };
        if job.void {
            return;
        }
        let (host, act, fence, last) = (job.host, job.order.act, job.order.fence, job.order.last);
        if self.world.hosts[host].down_until > self.now {
            job.void = true;
            job.answer = Some(unreachable("it went down"));
            return;
        }
        let serving = self.world.hosts[host].serving;
        let before = (
            self.world.hosts[host].installed,
            self.world.hosts[host].running,
        );
        let mut effects = Effects::default();
        let sim = &mut self.world.hosts[host];
        let mut outcome = sim.perform(act, fence, last, self.now, &mut effects);
        if self.settings.twice {
            outcome = sim.perform(act, fence, last, self.now, &mut effects);
        }
        if serving && before != (sim.installed, sim.running) {
            let breach = Breach::ChangedInService {
                at: self.time(self.now),
                host: self.world.names[host].clone(),
            };
            self.breaches.push(breach);
        }
        self.world.take_in(host, effects, self.now);
        self.look(host);
        if let Some(job) = self.jobs.get_mut(number) {
            job.answer = Some(if job.silent {
                unreachable("no answer in time")
            } else {
                outcome
            });
        }
    }

    fn answer(&mut self, number: usize) {
        let Some(job) = self.jobs.get(number) else {
            return;
        };
        if job.life != self.life || self.executor.is_none() {
            return;
        }
        self.under_way.remove(&job.host);
        let answer = job.answer.clone();
        let answer = answer.unwrap_or_else(|| unreachable("no answer in time"));
        let Some(ended) = job.order.ended(answer) else {
            return;
        };
        if self.write(ended) {
            self.control();
        }
    }

    fn reboot(&mut self, host: usize) {
        if self.world.hosts[host].busy_until <= self.now {
            return;
        }
        let lasts = self.draw.between(About::Reboot, &[host as u64, 1], 60, 900);
        let back = (!self.world.hosts[host].flaws.never_back).then_some(self.now + lasts);
        let mut effects = Effects::default();
        self.world.hosts[host].reboot(back.unwrap_or(i64::MAX), &mut effects);
        self.world.take_in(host, effects, self.now);
        self.look(host);
        if let Some(back) = back {
            self.put(back, Entry::PowerBack(index(host)));
        }
    }

    // The watch.

    /// Looks whether a host serves after something was done to it.
    fn look(&mut self, host: usize) {
        let before = self.world.hosts[host].serving;
        let below = self.world.see(host, self.now);
        let serves = self.world.hosts[host].serving;
        if before && !serves {
            self.out_since[host] = Some(self.now);
        } else if serves && let Some(since) = self.out_since[host].take() {
            self.out_for[host] += self.now - since;
        }
        if let Some(below) = below {
            let breach = Breach::BelowMinimum {
                at: self.time(self.now),
                host: self.world.names[host].clone(),
                service: below.service,
                region: below.region,
                serving: below.serving,
                minimum: below.minimum,
            };
            self.breaches.push(breach);
        }
    }
}

fn unreachable(detail: &str) -> ActOutcome {
    ActOutcome::Failed {
        kind: ActFailure::Unreachable,
        detail: detail.to_owned(),
    }
}

/// How many seconds an act takes: the shortest, and one more than the longest.
fn seconds_of(act: Act) -> (i64, i64) {
    match act {
        Act::Precheck => (2, 11),
        Act::Lease | Act::Release => (1, 4),
        Act::Drain | Act::Return => (1, 6),
        Act::AwaitEmpty => (1, 10),
        Act::Save => (5, 61),
        Act::Patch => (30, 241),
        Act::Prove | Act::ProveOld => (10, 91),
        Act::Recheck => (10, 61),
        Act::RollBack => (20, 181),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleets::Drawn;
    use crate::host::Lease;
    use crate::mail;

    /// A watch that sees nothing would pass every other test.
    #[test]
    fn the_watch_sees_a_service_below_its_minimum() {
        let plan = Drawn::new(1).unwrap().plan().unwrap();
        let settings = Settings::default();
        let mut simulation = Simulation::new(&plan, 1, &Faults::NONE, &settings).unwrap();
        // The executor believes the plan; the world wants one host more.
        for service in &mut simulation.world.services {
            for place in &mut service.places {
                place.minimum += 1;
            }
        }
        let breaches = simulation.run().breaches;
        assert!(
            breaches
                .iter()
                .any(|breach| matches!(breach, Breach::BelowMinimum { .. })),
            "{breaches:?}"
        );
    }

    #[test]
    fn the_watch_sees_a_lost_message() {
        let plan = Drawn::new(1).unwrap().plan().unwrap();
        let settings = Settings::default();
        let mut simulation = Simulation::new(&plan, 1, &Faults::NONE, &settings).unwrap();
        // Taken, and then nowhere.
        let mut gone = mail::Message::new(0, 0, 0);
        gone.sent = true;
        gone.acknowledged = true;
        simulation.world.messages.push(gone);
        let rehearsal = simulation.run();
        assert_eq!(rehearsal.breaches, [Breach::Lost { messages: 1 }]);
        assert_eq!(rehearsal.figures.ledger.lost, 1);
    }

    #[test]
    fn the_watch_sees_a_roll_back_of_what_was_never_patched() {
        let plan = Drawn::new(1).unwrap().plan().unwrap();
        let settings = Settings::default();
        let mut simulation = Simulation::new(&plan, 1, &Faults::NONE, &settings).unwrap();
        let begun = EventKind::ActStarted {
            plan: simulation.plan_id.clone(),
            host: plan.steps[0].host.clone(),
            act: Act::RollBack,
            attempt: 1,
            fence: 1,
        };
        simulation.write(begun);
        let breaches = simulation.run().breaches;
        assert!(
            breaches
                .iter()
                .any(|breach| breach.to_string().contains("no patch was begun")),
            "{breaches:?}"
        );
    }

    #[test]
    fn the_watch_sees_a_host_that_is_not_what_its_end_says() {
        let plan = Drawn::new(1).unwrap().plan().unwrap();
        let settings = Settings::default();
        let mut simulation = Simulation::new(&plan, 1, &Faults::NONE, &settings).unwrap();
        // Its hands say "already done" of what they find.
        let host = simulation.world.by_name[&plan.steps[0].host];
        simulation.world.hosts[host].lease = Lease::Another;
        simulation.world.hosts[host].drained = true;
        let breaches = simulation.run().breaches;
        assert!(
            breaches
                .iter()
                .any(|breach| matches!(breach, Breach::NotAsSaid { .. })),
            "{breaches:?}"
        );
    }
}
