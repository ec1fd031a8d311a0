//! `mailkeep rollout start`: everything a rollout needs is put together here, and the driver let go.

mod last_words;
pub(super) mod refuse;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::SignedDuration;
use mailkeep_model::{
    Actor, Event, EventKind, HostName, HostState, ProbeSettings, RecordedEvent, ServiceName, text,
};
use mailkeep_reach::probe::Addresses;
use mailkeep_rollout::drive::{
    Clock, DriveEnd, DriveError, DriveSettings, Driver, Parts, Wish, claim,
};
use mailkeep_rollout::evidence::{Evidence, RolloutState};
use mailkeep_rollout::ledger::ProbeLedger;
use mailkeep_rollout::ledger::flow::{Drained, FlowParts, FlowSettings, Flows, Post};
use mailkeep_rollout::ledger::prove::ProvingHands;
use mailkeep_rollout::{Recipe, SshHands};
use mailkeep_store::{SqliteStore, Store as _};
use sha2::{Digest as _, Sha256};

use super::clock::RealClock;
use super::connections::SharedConnections;
use super::intent::MAX_REASON;
use super::place::Place;
use super::post::{FileJournal, FleetPost};
use super::{account, actor, left_out_by_others, machine, only_now, ssh_options, view};
use crate::app::{App, LoadedFleet};
use crate::cli::rollout::StartArgs;
use crate::commands::Done;
use crate::commands::scan::local_name;
use crate::planning::kept::{self, Kept};
use last_words::last_words;
use refuse::{Loaded, Refusal};

/// How long messages under way are waited for after the last host: three times what a service calls
/// late, and a minute for the looks.
fn patience(late_seconds: u32) -> SignedDuration {
    SignedDuration::from_secs(i64::from(late_seconds) * 3 + 60)
}

pub(super) fn run(app: &App, args: &StartArgs) -> anyhow::Result<Done> {
    if !args.dry_run {
        only_now(app)?;
    }
    let Some(fleet) = app.fleet(args.fleet.as_deref())? else {
        bail!(
            "there is no fleet file, and without it no host can be reached; name it with --fleet"
        );
    };
    if !(0.01..=3600.0).contains(&args.probe_every) {
        bail!("--probe-every is from 0.01 to 3600 seconds");
    }
    let mut store = app.store(Some(&fleet))?;
    let kept = kept::find(&store, &args.plan)?;
    let work = Work {
        app,
        args,
        fleet: &fleet,
        kept: &kept,
        place: Place::of(app, Some(&fleet), &kept.id),
    };
    if args.dry_run {
        return work.dry_run(&store);
    }
    // Where it stands is looked at by one alone.
    let Some(_alone) = work.place.lock()? else {
        work.tell_held();
        return Ok(Done::Findings);
    };
    let told = account(&store, &kept, app.now)?;
    // A controller that was killed between the last host and the last message left the ledger open.
    let open = !args.no_probes && told.ledger_by_service.is_empty() && work.place.probes().exists();
    if told.ended_at.is_some() && !open {
        return Ok(work.tell_ended(&told));
    }
    let beginning = match told.state {
        RolloutState::NotStarted => Some(work.place.begin()?),
        _ => None,
    };
    let (recipes, refusals) = work.refusals(&store, &told)?;
    if !refusals.is_empty() {
        let in_hand = in_hand(&told);
        if in_hand.is_empty() {
            tell_refusals(&refusals);
            return Ok(Done::Findings);
        }
        work.begin_no_more(&mut store, &told, &refusals, &in_hand)?;
    }
    work.place
        .keep_recipes(recipes.iter().flat_map(|(_, files)| files))?;
    let recipes = recipes.into_iter().map(|(recipe, _)| recipe);
    let outcome = work.carry_out(&mut store, recipes.collect(), beginning);
    if let Err(error) = &outcome
        && let Some(DriveError::Held { .. }) = error.downcast_ref()
    {
        App::warn(&format!("refused: held: {error}"));
        return Ok(Done::Findings);
    }
    outcome
}

/// A plan to be carried out, with what that takes.
struct Work<'a> {
    app: &'a App,
    args: &'a StartArgs,
    fleet: &'a LoadedFleet,
    kept: &'a Kept,
    place: Place,
}

/// Hosts that were begun, and have not come to an end.
fn in_hand(told: &Evidence) -> Vec<&str> {
    let begun = |state: HostState| {
        !state.is_end()
            && !matches!(
                state,
                HostState::Waiting | HostState::Prechecking | HostState::Ready
            )
    };
    let hosts = told.hosts.iter().filter(|host| begun(host.state));
    hosts.map(|host| host.host.as_str()).collect()
}

fn tell_refusals(refusals: &[Refusal]) {
    for refusal in refusals {
        App::warn(&format!("refused: {refusal}"));
    }
}

impl Work<'_> {
    fn tell_held(&self) {
        App::warn(&format!(
            "refused: held: another mailkeep on this machine carries plan {} out",
            self.kept.id.short()
        ));
    }

    fn tell_ended(&self, told: &Evidence) -> Done {
        self.app.say(&format!(
            "the rollout of plan {} has ended: {}",
            self.kept.id.short(),
            told.state.name()
        ));
        super::status::done(told.state)
    }

    /// The plan's recipes, and every reason not to begin it, or to begin nothing more of it.
    fn refusals(
        &self,
        store: &SqliteStore,
        told: &Evidence,
    ) -> anyhow::Result<(Loaded, Vec<Refusal>)> {
        let (recipes, changed) = refuse::recipes(self.fleet, self.kept, &self.place);
        let mut refusals = match told.state {
            RolloutState::NotStarted | RolloutState::Running | RolloutState::Paused => {
                refuse::refusals(store, self.fleet, self.kept, told)?
            }
            // Nothing begins any more; to bring what was begun to its end takes nobody's leave.
            RolloutState::Aborting
            | RolloutState::Proven
            | RolloutState::Partly
            | RolloutState::Aborted => {
                for refusal in changed {
                    App::warn(&format!("warning: {refusal}"));
                }
                return Ok((recipes, Vec::new()));
            }
        };
        refusals.extend(changed);
        Ok((recipes, refusals))
    }

    fn dry_run(&self, store: &SqliteStore) -> anyhow::Result<Done> {
        let told = account(store, self.kept, self.app.now)?;
        if told.ended_at.is_some() {
            return Ok(self.tell_ended(&told));
        }
        show(self.kept)?;
        let (_, refusals) = self.refusals(store, &told)?;
        tell_refusals(&refusals);
        let is_held = self.place.is_attended();
        if is_held {
            self.tell_held();
        }
        if is_held || !refusals.is_empty() {
            return Ok(Done::Findings);
        }
        self.app.say("nothing was done: --dry-run");
        Ok(Done::Nothing)
    }

    /// Lets a rollout begin nothing more: until somebody resumes it where nobody can tell today whether
    /// it may, else for good. To leave it alone would leave hosts out of service.
    fn begin_no_more(
        &self,
        store: &mut SqliteStore,
        told: &Evidence,
        refusals: &[Refusal],
        in_hand: &[&str],
    ) -> anyhow::Result<()> {
        let why: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
        let reason = text::printable_max(&why.join("; "), MAX_REASON);
        let pauses = refusals.iter().all(Refusal::is_of_today);
        App::warn(&format!(
            "{}: {reason}; what was begun is brought to its end, and nothing else begins: {}",
            if pauses { "paused" } else { "aborted" },
            in_hand.join(", ")
        ));
        if pauses && told.reason.as_ref() == Some(&reason) {
            return Ok(());
        }
        let plan = self.kept.id.clone();
        let by = Actor {
            name: "mailkeep".to_owned(),
            team: None,
        };
        store.append_event(&Event {
            at: crate::now_precisely(),
            realm: self.kept.plan.realm,
            kind: if pauses {
                EventKind::RolloutPaused { plan, by, reason }
            } else {
                EventKind::RolloutAborted { plan, by, reason }
            },
        })?;
        Ok(())
    }

    /// Carries it out. `beginning` is kept until the rollout has begun.
    fn carry_out(
        &self,
        store: &mut SqliteStore,
        recipes: Vec<Recipe>,
        mut beginning: Option<File>,
    ) -> anyhow::Result<Done> {
        let Self {
            app,
            args,
            fleet,
            kept,
            ref place,
        } = *self;
        let controller = controller(place.state())?;
        let clock = Arc::new(RealClock);
        let stop = on_signals()?;
        let mut ssh = ssh_options(&args.ssh);
        let shared = SharedConnections::new(&mut ssh)?;
        let plan = Arc::new(kept.plan.clone());
        let services: BTreeMap<ServiceName, ProbeSettings> = kept
            .plan
            .services
            .iter()
            .filter_map(|(name, service)| Some((name.clone(), service.probe.clone()?)))
            .collect();
        let servers: BTreeMap<ServiceName, Vec<HostName>> = services
            .keys()
            .filter_map(|name| {
                let hosts = &kept.plan.services.get(name)?.hosts;
                let hosts = hosts.values().flatten();
                let running = hosts.filter(|host| !kept.plan.out_of_service.contains(*host));
                Some((name.clone(), running.cloned().collect()))
            })
            .collect();
        let late = services.values().map(|probe| probe.late_seconds).max();
        let ledger = ProbeLedger::new(
            services
                .iter()
                .map(|(name, probe)| (name.clone(), probe.late_seconds)),
        );
        let (journal, ledger) = FileJournal::open(&place.probes(), ledger, clock.now())?;
        let hello = local_name()?.to_string();
        let addresses = Addresses::new(&fleet.file.fleet, ssh.clone());
        let addresses = Arc::new(addresses.seen_as(fleet.file.seen_as.clone()));
        let post: Arc<dyn Post> = Arc::new(FleetPost::new(
            Arc::clone(&addresses),
            services,
            servers.clone(),
            ssh.clone(),
            hello,
        ));
        let hands = SshHands::new(&controller, &fleet.file.fleet)?
            .with_ssh(ssh)
            .with_probes_to(addresses)
            .with_recipes(recipes);
        let hands = ProvingHands::new(
            hands,
            Arc::clone(&post),
            Arc::clone(&clock) as Arc<dyn Clock>,
            ledger.run().to_owned(),
        );

        let mut right = claim(store, &kept.id, &controller, clock.now())?;
        let left_out = left_out_by_others(store, &kept.id, clock.now())?;
        let warn_lock = |words: &str| App::warn(&format!("warning: {words}"));
        let drained = Drained::default();
        let mut tell = |recorded: &RecordedEvent, before: bool| {
            let kind = &recorded.event.kind;
            drained.apply(kind);
            if before {
                return;
            }
            if let EventKind::RolloutStarted { .. } = kind {
                // From here on every other start sees that this one was begun.
                beginning = None;
            }
            if !app.quiet {
                let line = view::event(recorded);
                // Whoever reads may go away; the rollout does not.
                let _closed = writeln!(io::stdout().lock(), "{line}");
            }
            if let EventKind::RolloutPaused { .. } = kind {
                self.tell_paused();
            }
        };
        let mut warn = warn_lock;
        let wish = || {
            if stop.load(Ordering::SeqCst) {
                Wish::Stop
            } else if args.stop_when_paused {
                Wish::StopOncePaused
            } else {
                Wish::GoOn
            }
        };
        let parts = Parts {
            store,
            hands: Arc::new(hands),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            tell: &mut tell,
            warn: &mut warn,
            stop: &wish,
        };
        let settings = DriveSettings {
            realm: kept.plan.realm,
            by: actor(app, None),
            parallel: args.parallel.max(1),
            stop_within: SignedDuration::from_secs(i64::from(args.stop_within)),
        };
        let mut driver = Driver::new(parts, settings, &plan, &right)?;
        driver.keep_out(left_out.keys());
        if driver.executor().paused().is_some() {
            self.tell_paused();
        }
        // Such a host takes mail of the controller and of nobody else; what it took would lie there.
        let mut servers = servers;
        for hosts in servers.values_mut() {
            hosts.retain(|host| !left_out.contains_key(host));
        }
        let flows = (!args.no_probes && !servers.is_empty()).then(|| {
            let parts = FlowParts {
                plan: kept.id.clone(),
                servers,
                post,
                drained: drained.clone(),
                clock: Arc::clone(&clock) as Arc<dyn Clock>,
                notes: driver.notes(),
                warn: Arc::new(move |words: &str| warn_lock(words)),
            };
            let every = FlowSettings {
                send_every: Duration::from_secs_f64(args.probe_every),
                ..FlowSettings::default()
            };
            Flows::start(ledger, Box::new(journal), parts, every)
        });
        let end = driver.run(&mut right);
        let figures = match (flows, &end) {
            (Some(flows), Ok(DriveEnd::Ended(_))) => {
                app.say("every host has come to its end; waiting for the last messages");
                let ledger = flows.finish(patience(late.unwrap_or(0)));
                let plan = &kept.id;
                let count = |service: Option<&ServiceName>| EventKind::ProbesCounted {
                    plan: plan.clone(),
                    service: service.cloned(),
                    ledger: ledger.figures(service, true),
                };
                let by_service: Vec<EventKind> = ledger
                    .services()
                    .map(|service| count(Some(service)))
                    .collect();
                driver.note(&right, by_service.into_iter().chain([count(None)]))?;
                Some(ledger.figures(None, true))
            }
            (flows, _) => {
                drop(flows);
                None
            }
        };
        drop(driver);
        drop(shared);
        if !matches!(end, Ok(DriveEnd::TakenOver)) {
            // In vain it ends by itself.
            store.give_back_claim(&right).ok();
        }
        let end = end?;
        let told = account(store, kept, clock.now())?;
        Ok(last_words(app, &told, &end, figures))
    }

    /// Says what a pause means for whoever waits here.
    fn tell_paused(&self) {
        let id = self.kept.id.short();
        App::warn(&if self.args.stop_when_paused {
            format!("plan {id} is paused: hosts in work are finished, then this ends")
        } else {
            format!(
                "plan {id} is paused: hosts in work are finished, and nothing new begins until \
             `mailkeep rollout resume {id}`"
            )
        });
    }
}

/// The name by which claims and leases know this controller: the same after a restart, another one for
/// every other state, for two controllers with one name would take each other's leases for their own.
fn controller(state: &Path) -> anyhow::Result<String> {
    use std::fmt::Write as _;
    let mut name = machine()?;
    name.push(':');
    for byte in Sha256::digest(state.as_os_str().as_encoded_bytes())
        .iter()
        .take(4)
    {
        let _never_fails = write!(name, "{byte:02x}");
    }
    Ok(name)
}

/// The first SIGINT or SIGTERM is a wish; the second one ends the process. A terminal that goes away
/// (SIGHUP) is the same wish, and never more: its shell and the kernel may both tell of it.
fn on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first one finds the flag unset, and sets it.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("cannot listen for signals")?;
    }
    if !hangup_is_ignored() {
        signal_hook::flag::register(SIGHUP, Arc::clone(&stop))
            .context("cannot listen for signals")?;
    }
    Ok(stop)
}

/// Whether whoever started this process had it ignore hangups, as nohup(1) does: the lowest bit of
/// `SigIgn` in proc(5). Where that cannot be read a hangup is a wish, which leaves no act half done.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

/// What a plan would do, in the order it would.
fn show(kept: &Kept) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "plan {}: {}",
        kept.id.short(),
        text::printable(&kept.plan.title)
    )?;
    for step in &kept.plan.steps {
        let packages: Vec<String> = kept
            .plan
            .variants
            .get(step.variant as usize)
            .map(|variant| {
                variant
                    .packages
                    .iter()
                    .map(|change| format!("{} {} to {}", change.name, change.from, change.to))
                    .collect()
            })
            .unwrap_or_default();
        let line = format!(
            "{}  {}  wave {}  drain {}  {}",
            view::moment(Some(step.start)),
            step.host,
            step.wave,
            drain_name(&step.drain),
            packages.join(", ")
        );
        writeln!(out, "{}", text::printable(&line))?;
    }
    Ok(())
}

fn drain_name(drain: &mailkeep_model::Drain) -> &'static str {
    match drain {
        mailkeep_model::Drain::Haproxy { .. } => "haproxy",
        mailkeep_model::Drain::None => "none",
        mailkeep_model::Drain::Product => "product",
        mailkeep_model::Drain::SynRefusal => "syn-refusal",
    }
}
