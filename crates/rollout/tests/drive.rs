//! The loop around the executor, with hands, hosts and a clock that are not real.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mailkeep_model::{
    Act, ActFailure, ActOutcome, Actor, Drain, Event, EventKind, HostName, HostState, Lane, Plan,
    PlanId, PlanStep, PlannedRegion, PlannedService, Precheck, Proof, Realm, RecordedEvent,
    RegionName, RolloutOutcome, RolloutPolicy, ServiceName, Stage, Variant, Wave,
};
use mailkeep_rollout::drive::{
    Clock, DriveEnd, DriveError, DriveSettings, Driver, Message, Parts, Wish, claim,
};
use mailkeep_rollout::executor::LOOK_LASTS;
use mailkeep_rollout::{Hands, Order};
use mailkeep_store::{Claim, SqliteStore, Store};

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
}

fn plan_id() -> PlanId {
    PlanId::new("sha256:0a1b2c3d").unwrap()
}

/// Hosts of one service in one region, one after the other.
fn plan(hosts: &[&str]) -> Arc<Plan> {
    let region = RegionName::new("eu").unwrap();
    let service = ServiceName::new("inbound-mx").unwrap();
    let names: BTreeSet<HostName> = hosts.iter().map(|h| HostName::new(h).unwrap()).collect();
    let mut policy = RolloutPolicy::default();
    policy.emergency.early = false;
    policy.emergency.soak_test_minutes = 1;
    policy.emergency.soak_pilot_minutes = 1;
    policy.emergency.soak_wave_minutes = 1;
    let step = |place: usize, host: &&str| {
        let start = at(i64::try_from(place).unwrap() * 30);
        PlanStep {
            host: HostName::new(host).unwrap(),
            region: region.clone(),
            owner: None,
            wave: 0,
            variant: 0,
            start,
            end: start + SignedDuration::from_mins(30),
            services: BTreeSet::from([service.clone()]),
            drain: Drain::SynRefusal,
            precheck: Precheck {
                facts_as_of: at(-60),
                free_mib: 100,
            },
            proof: Proof {
                ports: BTreeSet::from([25]),
                probes: BTreeSet::new(),
            },
            after: BTreeSet::new(),
            risk: 1,
            deadline: None,
        }
    };
    let steps: Vec<PlanStep> = hosts.iter().enumerate().map(|(n, h)| step(n, h)).collect();
    Arc::new(Plan {
        format: Plan::FORMAT,
        realm: Realm::Live,
        generation: 1,
        parent: None,
        made_at: at(-10),
        tzdb: "2026b".to_owned(),
        lane: Lane::Emergency,
        overriding: None,
        retries: BTreeSet::new(),
        bulletin: Vec::new(),
        title: "postfix".to_owned(),
        policy,
        regions: BTreeMap::from([(
            region.clone(),
            PlannedRegion {
                time_zone: "Europe/Berlin".to_owned(),
                owner: None,
                pilot: true,
                windows: Vec::new(),
            },
        )]),
        services: BTreeMap::from([(
            service,
            PlannedService {
                hosts: BTreeMap::from([(region.clone(), names)]),
                minimum: BTreeMap::from([(region.clone(), 1)]),
                minimum_total: None,
                after: BTreeSet::new(),
                probe: None,
            },
        )]),
        out_of_service: BTreeSet::new(),
        variants: vec![Variant {
            family: "postfix".to_owned(),
            platform: "Debian:12".to_owned(),
            packages: Vec::new(),
            recipe: None,
            whole_cluster: false,
            mitigates: BTreeMap::new(),
        }],
        waves: vec![Wave {
            region,
            stage: Stage::Test,
            start: steps.first().unwrap().start,
            end: steps.last().unwrap().end,
            window: None,
        }],
        steps,
    })
}

/// Time passes only while nobody works.
struct FakeClock {
    now: Mutex<Timestamp>,
    waits: Mutex<u32>,
    /// Panics at this wait: the process is killed there.
    killed_at: Option<u32>,
}

impl FakeClock {
    fn new(killed_at: Option<u32>, now: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            now: Mutex::new(now),
            waits: Mutex::new(0),
            killed_at,
        })
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    fn wait(
        &self,
        messages: &Receiver<Message>,
        _: Duration,
        idle_until: Option<Timestamp>,
    ) -> Option<Message> {
        let waits = {
            let mut waits = self.waits.lock().unwrap();
            *waits += 1;
            *waits
        };
        assert!(self.killed_at != Some(waits), "killed");
        assert!(waits < 100_000, "no end");
        if let Some(until) = idle_until {
            *self.now.lock().unwrap() = until;
            return messages.try_recv().ok();
        }
        messages.recv_timeout(Duration::from_secs(20)).ok()
    }

    fn pause(&self, _: Duration) {}
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent facts of a host"
)]
struct FakeHost {
    leased: bool,
    drained: bool,
    saved: bool,
    patched: bool,
    fence: u64,
}

/// Hosts that keep the rules themselves.
#[derive(Default)]
struct World {
    hosts: Mutex<BTreeMap<HostName, FakeHost>>,
    /// What acts on a host answer instead, once each.
    answers: Mutex<Vec<(String, Act, ActOutcome)>>,
    broken_rules: Mutex<Vec<String>>,
    acts: Mutex<Vec<(String, Act)>>,
}

impl Hands for World {
    fn perform(&self, order: &Order) -> ActOutcome {
        let host = order.host().unwrap().clone();
        let name = host.to_string();
        self.acts.lock().unwrap().push((name.clone(), order.act));
        let mut hosts = self.hosts.lock().unwrap();
        let all = hosts.len();
        let state = hosts.entry(host).or_default();
        if order.fence < state.fence {
            return ActOutcome::Failed {
                kind: ActFailure::LeaseHeld,
                detail: "an older controller".to_owned(),
            };
        }
        state.fence = order.fence;
        let mut answers = self.answers.lock().unwrap();
        if let Some(place) = answers
            .iter()
            .position(|(on, act, _)| *on == name && *act == order.act)
        {
            return answers.remove(place).2;
        }
        let needs = |rule: bool, words: &str| {
            if !rule {
                let mut broken = self.broken_rules.lock().unwrap();
                broken.push(format!("{} on {name}: {words}", order.act.name()));
            }
        };
        let before = state.clone();
        match order.act {
            Act::Lease => state.leased = true,
            Act::Drain => {
                needs(state.leased, "not leased");
                state.drained = true;
            }
            Act::Save => {
                needs(state.drained, "not drained");
                state.saved = true;
            }
            Act::Patch => {
                needs(state.drained && state.saved, "not drained and saved");
                state.patched = true;
            }
            Act::RollBack => {
                needs(state.drained && state.saved, "not drained and saved");
                state.patched = false;
            }
            Act::Prove => needs(state.patched, "not patched"),
            Act::Return => state.drained = false,
            Act::Release => {
                needs(!state.drained, "still drained");
                state.leased = false;
            }
            Act::Precheck | Act::AwaitEmpty | Act::Recheck | Act::ProveOld => {}
        }
        let changed = before != *state;
        let out = hosts.values().filter(|host| host.drained).count();
        if all > 1 && out > 1 {
            let mut broken = self.broken_rules.lock().unwrap();
            broken.push(format!("{out} of {all} hosts out of service"));
        }
        let seen = vec![format!("host {name}")];
        if changed {
            ActOutcome::Done { seen }
        } else {
            match order.act {
                // A look has nothing to find done already.
                Act::Precheck | Act::AwaitEmpty | Act::Prove | Act::ProveOld | Act::Recheck => {
                    ActOutcome::Done { seen }
                }
                _ => ActOutcome::AlreadyDone { seen },
            }
        }
    }
}

struct Bench {
    store: SqliteStore,
    plan: Arc<Plan>,
    world: Arc<World>,
    now: Timestamp,
}

impl Bench {
    fn new(hosts: &[&str]) -> Self {
        let mut store = SqliteStore::open_in_memory(Realm::Live).unwrap();
        let made = Event {
            at: at(-10),
            realm: Realm::Live,
            kind: EventKind::PlanMade {
                plan: plan_id(),
                parent: None,
                lane: Lane::Emergency,
                hosts: hosts.len() as u64,
                title: "postfix".to_owned(),
            },
        };
        store.record_plan(&plan_id(), b"{}", &made).unwrap();
        let world = Arc::new(World::default());
        for host in hosts {
            let mut all = world.hosts.lock().unwrap();
            all.insert(HostName::new(host).unwrap(), FakeHost::default());
        }
        Self {
            store,
            plan: plan(hosts),
            world,
            now: at(-5),
        }
    }

    fn claim(&mut self) -> Claim {
        claim(&mut self.store, &plan_id(), "bench", self.now).unwrap()
    }

    /// Runs one controller until it ends or is killed.
    fn run(
        &mut self,
        clock: &Arc<FakeClock>,
        tell: &mut dyn FnMut(&RecordedEvent, bool),
        stop: &dyn Fn() -> Wish,
    ) -> Option<Result<DriveEnd, DriveError>> {
        let mut claim = self.claim();
        let end = catch_unwind(AssertUnwindSafe(|| {
            let how = How {
                tell: Some(tell),
                stop,
                ..How::usual()
            };
            self.drive(clock, &claim.clone(), how, |driver| driver.run(&mut claim))
        }));
        self.now = clock.now();
        end.ok()
    }

    /// Sets one controller up, and lets it be used.
    fn drive<R>(
        &mut self,
        clock: &Arc<FakeClock>,
        claim: &Claim,
        how: How<'_>,
        work: impl FnOnce(&mut Driver<'_>) -> R,
    ) -> R {
        let (mut tell, mut warn) = (|_: &RecordedEvent, _: bool| {}, |_: &str| {});
        let parts = Parts {
            store: &mut self.store,
            hands: how.hands.unwrap_or_else(|| Arc::clone(&self.world) as _),
            clock: Arc::clone(clock) as Arc<dyn Clock>,
            tell: how.tell.unwrap_or(&mut tell),
            warn: &mut warn,
            stop: how.stop,
        };
        let settings = DriveSettings {
            realm: Realm::Live,
            by: ada(),
            parallel: how.parallel,
            stop_within: SignedDuration::from_mins(2),
        };
        work(&mut Driver::new(parts, settings, &self.plan, claim).unwrap())
    }

    fn run_to_the_end(&mut self) -> DriveEnd {
        let clock = FakeClock::new(None, self.now);
        self.run(&clock, &mut |_, _| {}, &|| Wish::GoOn)
            .unwrap()
            .unwrap()
    }

    fn states(&self) -> Vec<HostState> {
        let mut odd = |event: &RecordedEvent, error: &_| {
            // Late answers of a killed controller's threads never reach the journal.
            panic!("{event:?}: {error}");
        };
        let (executor, _) = mailkeep_rollout::drive::replay(
            &self.store,
            &plan_id(),
            &self.plan,
            u64::MAX,
            &mut odd,
        )
        .unwrap();
        executor.states().map(|view| view.state).collect()
    }

    fn check_rules(&self) {
        let broken = self.world.broken_rules.lock().unwrap();
        assert!(broken.is_empty(), "{broken:?}");
    }

    fn append(&mut self, kind: EventKind) {
        let event = Event {
            at: self.now,
            realm: Realm::Live,
            kind,
        };
        self.store.append_event(&event).unwrap();
    }
}

fn ada() -> Actor {
    Actor {
        name: "ada".to_owned(),
        team: None,
    }
}

type Tell<'a> = &'a mut dyn FnMut(&RecordedEvent, bool);

/// How a controller is set up.
struct How<'a> {
    /// Instead of the world's own.
    hands: Option<Arc<dyn Hands + Send + Sync>>,
    parallel: usize,
    tell: Option<Tell<'a>>,
    stop: &'a dyn Fn() -> Wish,
}

impl How<'_> {
    fn usual() -> Self {
        Self {
            hands: None,
            parallel: 4,
            tell: None,
            stop: &|| Wish::GoOn,
        }
    }

    /// One thread does all.
    fn one_by_one() -> Self {
        Self {
            parallel: 1,
            ..Self::usual()
        }
    }
}

#[test]
fn a_plan_is_carried_out_and_every_act_is_journalled_before_and_after() {
    let mut bench = Bench::new(&["mx1", "mx2"]);
    assert_eq!(
        bench.run_to_the_end(),
        DriveEnd::Ended(RolloutOutcome::Proven)
    );
    bench.check_rules();
    assert_eq!(bench.states(), [HostState::Proven; 2]);
    let mut open: Option<(HostName, Act)> = None;
    let mut started = BTreeMap::<HostName, Vec<Act>>::new();
    for recorded in bench.store.events_of_plan(&plan_id(), 0).unwrap() {
        match recorded.event.kind {
            EventKind::ActStarted { host, act, .. } => {
                started.entry(host.clone()).or_default().push(act);
                open = Some((host, act));
            }
            EventKind::ActEnded { host, act, .. } => {
                let wanted = started.get(&host).and_then(|acts| acts.last());
                assert_eq!(wanted, Some(&act));
                if open == Some((host, act)) {
                    open = None;
                }
            }
            _ => {}
        }
    }
    assert_eq!(open, None);
    for host in bench.world.hosts.lock().unwrap().values() {
        assert!(host.patched && !host.drained && !host.leased);
    }
    // Started again there is nothing left to do.
    let acts = bench.world.acts.lock().unwrap().len();
    assert_eq!(
        bench.run_to_the_end(),
        DriveEnd::Ended(RolloutOutcome::Proven)
    );
    assert_eq!(bench.world.acts.lock().unwrap().len(), acts);
}

#[test]
fn killed_after_any_line_of_the_journal_the_next_controller_goes_on() {
    let lines = {
        let mut bench = Bench::new(&["mx1", "mx2"]);
        bench.run_to_the_end();
        bench.store.events_of_plan(&plan_id(), 0).unwrap().len()
    };
    assert!(lines > 40, "{lines}");
    for killed_after in 1..lines {
        let mut bench = Bench::new(&["mx1", "mx2"]);
        let clock = FakeClock::new(None, bench.now);
        let mut told = 0;
        let end = bench.run(
            &clock,
            &mut |_, _| {
                told += 1;
                assert!(told <= killed_after, "killed");
            },
            &|| Wish::GoOn,
        );
        assert!(end.is_none(), "killed after line {killed_after}");
        assert_eq!(
            bench.run_to_the_end(),
            DriveEnd::Ended(RolloutOutcome::Proven),
            "killed after line {killed_after}"
        );
        bench.check_rules();
    }
}

#[test]
fn killed_while_hosts_are_worked_on_the_next_controller_goes_on() {
    let mut finished = false;
    for killed_at in 1..1_000 {
        let mut bench = Bench::new(&["mx1", "mx2"]);
        let clock = FakeClock::new(Some(killed_at), bench.now);
        if bench.run(&clock, &mut |_, _| {}, &|| Wish::GoOn).is_some() {
            finished = true;
            break;
        }
        bench.run_to_the_end();
        assert_eq!(bench.states(), [HostState::Proven; 2], "wait {killed_at}");
        bench.check_rules();
    }
    assert!(finished, "every wait of a whole run was cut");
}

#[test]
fn a_failed_proof_takes_the_host_back_and_stops_the_rest() {
    let mut bench = Bench::new(&["mx1", "mx2"]);
    bench.world.answers.lock().unwrap().push((
        "mx1".to_owned(),
        Act::Prove,
        ActOutcome::Failed {
            kind: ActFailure::RunsOldCode,
            detail: "master".to_owned(),
        },
    ));
    let end = bench.run_to_the_end();
    assert_eq!(end, DriveEnd::Ended(RolloutOutcome::Partly));
    assert_eq!(
        bench.states(),
        [HostState::RolledBack, HostState::Untouched]
    );
    bench.check_rules();
}

#[test]
fn a_host_out_of_service_is_brought_back_before_another_one_leaves() {
    // Both may be out, but one thread does all.
    let mut bench = Bench::new(&["mx1", "mx2", "mx3"]);
    for step in &mut Arc::make_mut(&mut bench.plan).steps {
        (step.start, step.end) = (at(0), at(30));
    }
    let mut claim = bench.claim();
    let clock = FakeClock::new(None, bench.now);
    let end = bench.drive(&clock, &claim.clone(), How::one_by_one(), |driver| {
        driver.run(&mut claim).unwrap()
    });
    assert_eq!(end, DriveEnd::Ended(RolloutOutcome::Proven));
    let mut out = 0;
    for (host, act) in bench.world.acts.lock().unwrap().iter() {
        match act {
            Act::Lease => {
                out += 1;
                assert_eq!(out, 1, "{host} is leased while another one waits its turn");
            }
            Act::Return => out -= 1,
            _ => {}
        }
    }
}

/// Hands with which every patch takes longer than a look lasts.
struct Slow(Arc<World>, Arc<FakeClock>);

impl Hands for Slow {
    fn perform(&self, order: &Order) -> ActOutcome {
        if order.act == Act::Patch {
            *self.1.now.lock().unwrap() += LOOK_LASTS + SignedDuration::from_mins(1);
        }
        self.0.perform(order)
    }
}

#[test]
fn a_host_whose_turn_came_late_is_looked_at_again_before_it_is_leased() {
    // Both may be out, but one thread does all.
    let mut bench = Bench::new(&["mx1", "mx2", "mx3"]);
    for step in &mut Arc::make_mut(&mut bench.plan).steps {
        (step.start, step.end) = (at(0), at(30));
    }
    let mut claim = bench.claim();
    let clock = FakeClock::new(None, bench.now);
    let how = How {
        hands: Some(Arc::new(Slow(Arc::clone(&bench.world), Arc::clone(&clock)))),
        ..How::one_by_one()
    };
    let end = bench.drive(&clock, &claim.clone(), how, |driver| {
        driver.run(&mut claim).unwrap()
    });
    assert_eq!(end, DriveEnd::Ended(RolloutOutcome::Proven));
    let mut looked = BTreeMap::new();
    for recorded in bench.store.events_of_plan(&plan_id(), 0).unwrap() {
        let at = recorded.event.at;
        if let EventKind::ActStarted { host, act, .. } = recorded.event.kind {
            if act == Act::Precheck {
                looked.insert(host, at);
            } else if act == Act::Lease {
                let age = at.duration_since(looked[&host]);
                assert!(age <= LOOK_LASTS, "{host} was looked at {age:#} before");
            }
        }
    }
    assert_eq!(looked.len(), 3);
    bench.check_rules();
}

#[test]
fn an_intent_of_another_process_is_seen() {
    let mut bench = Bench::new(&["mx1", "mx2"]);
    // Paused before anything is done.
    bench.append(EventKind::RolloutStarted {
        plan: plan_id(),
        by: ada(),
    });
    bench.append(EventKind::RolloutPaused {
        plan: plan_id(),
        by: ada(),
        reason: "tea".to_owned(),
    });
    let clock = FakeClock::new(None, bench.now);
    let stop_at = at(120);
    let end = bench.run(&clock, &mut |_, _| {}, &|| {
        if clock.now() > stop_at {
            Wish::Stop
        } else {
            Wish::GoOn
        }
    });
    assert!(
        matches!(end, Some(Ok(DriveEnd::Stopped { ref under_way })) if under_way.is_empty()),
        "{end:?}"
    );
    let drained = |(_, act): &(String, Act)| *act == Act::Drain;
    assert!(!bench.world.acts.lock().unwrap().iter().any(drained));
    bench.append(EventKind::RolloutAborted {
        plan: plan_id(),
        by: ada(),
        reason: "enough".to_owned(),
    });
    assert_eq!(
        bench.run_to_the_end(),
        DriveEnd::Ended(RolloutOutcome::Aborted)
    );
    assert_eq!(bench.states(), [HostState::Untouched; 2]);
}

#[test]
fn a_pause_that_ends_it_leaves_no_host_between_its_return_and_its_last_look() {
    let mut bench = Bench::new(&["mx1", "mx2"]);
    let clock = FakeClock::new(None, bench.now);
    // Paused while mx1 is let in again, as somebody would from elsewhere.
    let mut claim = bench.claim();
    let notes = std::cell::OnceCell::new();
    let mut tell = |recorded: &RecordedEvent, _: bool| {
        let returns = matches!(
            recorded.event.kind,
            EventKind::ActStarted {
                act: Act::Return,
                ..
            }
        );
        if returns {
            let notes: &std::sync::mpsc::Sender<Message> = notes.get().unwrap();
            let kind = EventKind::RolloutPaused {
                plan: plan_id(),
                by: ada(),
                reason: "tea".to_owned(),
            };
            notes.send(Message::Note(kind)).unwrap();
        }
    };
    let how = How {
        tell: Some(&mut tell),
        stop: &|| Wish::StopOncePaused,
        ..How::usual()
    };
    let end = bench.drive(&clock, &claim.clone(), how, |driver| {
        notes.set(driver.notes()).unwrap();
        driver.run(&mut claim).unwrap()
    });
    assert!(matches!(end, DriveEnd::Stopped { .. }), "{end:?}");
    let [mx1, mx2] = bench.states()[..] else {
        panic!("two hosts");
    };
    assert_eq!(mx1, HostState::Proven);
    assert!(matches!(mx2, HostState::Waiting | HostState::Ready));
    let hosts = bench.world.hosts.lock().unwrap();
    assert!(hosts.values().all(|host| !host.leased));
}

#[test]
fn hosts_that_other_rollouts_left_out_stay_so_when_a_pause_takes_orders_back() {
    let mut bench = Bench::new(&["mx1", "mx3"]);
    let left_out = HostName::new("mx2").unwrap();
    for service in Arc::make_mut(&mut bench.plan).services.values_mut() {
        for hosts in service.hosts.values_mut() {
            hosts.insert(left_out.clone());
        }
        for minimum in service.minimum.values_mut() {
            *minimum = 2;
        }
    }
    // Both are due to be looked at, and only one may be at a time: the other order waits.
    bench.now = at(25);
    let mut claim = bench.claim();
    let clock = FakeClock::new(None, bench.now);
    let (plan, by) = (plan_id(), ada());
    let paused = EventKind::RolloutPaused {
        plan: plan.clone(),
        by: by.clone(),
        reason: "tea".to_owned(),
    };
    let end = bench.drive(&clock, &claim.clone(), How::one_by_one(), |driver| {
        driver.keep_out([&left_out]);
        for kind in [paused, EventKind::RolloutResumed { plan, by }] {
            driver.notes().send(Message::Note(kind)).unwrap();
        }
        driver.run(&mut claim).unwrap()
    });
    assert_eq!(end, DriveEnd::Ended(RolloutOutcome::Partly));
    let acts = bench.world.acts.lock().unwrap();
    let looked = acts.iter().filter(|(_, act)| *act == Act::Precheck).count();
    assert!(looked >= 2, "the order taken back was given again");
    assert!(
        acts.iter().all(|(_, act)| *act == Act::Precheck),
        "two of three must stay, and one is out: {acts:?}"
    );
}

#[test]
fn a_second_controller_is_refused_while_the_first_one_lives() {
    let mut bench = Bench::new(&["mx1"]);
    let first = bench.claim();
    let error = claim(&mut bench.store, &plan_id(), "other", bench.now).unwrap_err();
    assert!(
        matches!(error, DriveError::Held { ref by, .. } if by == "bench"),
        "{error}"
    );
    // It has died: after its claim has ended, another one goes on, and the first one is told so.
    let later = first.until;
    let mut second = claim(&mut bench.store, &plan_id(), "other", later).unwrap();
    let clock = FakeClock::new(None, later);
    let mut stale = first;
    let end = bench.drive(&clock, &stale.clone(), How::usual(), |driver| {
        driver.run(&mut stale).unwrap()
    });
    assert_eq!(end, DriveEnd::TakenOver);
    assert!(bench.world.acts.lock().unwrap().is_empty());
    bench
        .store
        .renew_claim(&mut second, later + SignedDuration::from_mins(1))
        .unwrap();
}

#[test]
fn what_other_threads_note_is_journalled() {
    let mut bench = Bench::new(&["mx1"]);
    let mut claim = bench.claim();
    let clock = FakeClock::new(None, bench.now);
    let counted = EventKind::ProbesCounted {
        plan: plan_id(),
        service: None,
        ledger: mailkeep_model::Ledger::default(),
    };
    bench.drive(&clock, &claim.clone(), How::usual(), |driver| {
        driver.notes().send(Message::Note(counted.clone())).unwrap();
        driver.run(&mut claim).unwrap();
        driver.note(&claim, [counted.clone()]).unwrap();
    });
    let events = bench.store.events_of_plan(&plan_id(), 0).unwrap();
    let noted = events.iter().filter(|e| e.event.kind == counted).count();
    assert_eq!(noted, 2);
}

#[test]
fn the_evidence_tells_when_each_host_was_drained_patched_and_proven() {
    use mailkeep_rollout::evidence::{Beside, RolloutState, evidence};
    let mut bench = Bench::new(&["mx1", "mx2"]);
    bench.world.answers.lock().unwrap().push((
        "mx2".to_owned(),
        Act::Prove,
        ActOutcome::Failed {
            kind: ActFailure::RunsOldCode,
            detail: "master".to_owned(),
        },
    ));
    let told = |bench: &Bench| {
        let journal = bench.store.events_of_plan(&plan_id(), 0).unwrap();
        let beside = Beside::default();
        evidence(&plan_id(), &bench.plan, &journal, beside, bench.now)
    };
    assert_eq!(told(&bench).state, RolloutState::NotStarted);
    bench.run_to_the_end();
    let told = told(&bench);
    assert_eq!(told.state, RolloutState::Partly);
    assert_eq!(told.oddities, Vec::<String>::new());
    let [good, bad] = &told.hosts[..] else {
        panic!("{:?}", told.hosts);
    };
    assert_eq!(good.state, HostState::Proven);
    assert!(good.drained_at <= good.patched_at);
    assert!(good.proven_at.is_some() && good.returned_at >= good.proven_at);
    assert_eq!(good.exposure_closed_at, good.proven_at);
    let prove = good.acts.iter().find(|act| act.act == Act::Prove).unwrap();
    assert_eq!(
        (prove.tries, &prove.seen[..]),
        (1, &["host mx1".to_owned()][..])
    );
    assert_eq!(bad.state, HostState::RolledBack);
    assert_eq!((bad.proven_at, bad.exposure_closed_at), (None, None));
    assert!(
        bad.trouble.as_deref().unwrap().contains("runs-old-code"),
        "{:?}",
        bad.trouble
    );
    assert!(bad.returned_at.is_some());
    assert_eq!(
        told.ledger_line(),
        "ledger: sent 0, delivered 0, duplicated 0, lost 0"
    );
    let orders: Vec<&str> = told.orders.iter().map(|order| order.what).collect();
    assert_eq!(orders.first(), Some(&"started"));
    assert_eq!(orders.last(), Some(&"ended"));
}

#[test]
fn the_late_answer_of_an_act_begun_anew_is_no_evidence() {
    use mailkeep_rollout::evidence::{Beside, evidence};
    let plan = plan(&["mx1"]);
    let host = HostName::new("mx1").unwrap();
    let begun = |attempt, fence| EventKind::ActStarted {
        plan: plan_id(),
        host: host.clone(),
        act: Act::Precheck,
        attempt,
        fence,
    };
    let late = EventKind::ActEnded {
        plan: plan_id(),
        host: host.clone(),
        act: Act::Precheck,
        attempt: 1,
        fence: 1,
        result: ActOutcome::AlreadyDone { seen: Vec::new() },
    };
    let started = EventKind::RolloutStarted {
        plan: plan_id(),
        by: ada(),
    };
    let journal: Vec<RecordedEvent> = [started, begun(1, 1), begun(2, 2), late]
        .into_iter()
        .zip(1..)
        .map(|(kind, seq)| RecordedEvent {
            seq,
            event: Event {
                at: at(0),
                realm: Realm::Live,
                kind,
            },
        })
        .collect();
    let told = evidence(&plan_id(), &plan, &journal, Beside::default(), at(1));
    assert_eq!(told.oddities.len(), 1, "{:?}", told.oddities);
    let [act] = &told.hosts[0].acts[..] else {
        panic!("{:?}", told.hosts[0].acts);
    };
    assert_eq!((act.tries, &act.outcome, act.ended), (2, &None, None));
}
