//! `mailkeep rollout start`: everything a rollout needs is put together here, and the driver let go.

mod refuse;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::SignedDuration;
use mailkeep_model::{
    EventKind, HostName, Ledger, ProbeSettings, RecordedEvent, RolloutOutcome, ServiceName, text,
};
use mailkeep_reach::probe::Addresses;
use mailkeep_rollout::drive::{
    Clock, DriveEnd, DriveError, DriveSettings, Driver, Parts, Wish, claim,
};
use mailkeep_rollout::ledger::flow::{Drained, FlowParts, FlowSettings, Flows, Post};
use mailkeep_rollout::ledger::prove::ProvingHands;
use mailkeep_rollout::ledger::{ProbeLedger, line};
use mailkeep_rollout::{Recipe, SshHands};
use mailkeep_store::{SqliteStore, Store as _};
use sha2::{Digest as _, Sha256};

use super::clock::RealClock;
use super::connections::SharedConnections;
use super::post::{FileJournal, FleetPost};
use super::{account, actor, left_out_by_others, only_now, ssh_options, view};
use crate::app::{App, LoadedFleet};
use crate::cli::rollout::StartArgs;
use crate::commands::Done;
use crate::commands::scan::local_name;
use crate::planning::kept::{self, Kept, short};

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
    let told = account(&store, &kept, app.now)?;
    let place = Place::of(app, &fleet, &kept)?;
    let has_ended = told.ended_at.is_some();
    // A controller that was killed between the last host and the last message left the ledger open.
    let open = !args.no_probes && told.ledger_by_service.is_empty() && place.probes().exists();
    if has_ended && (!open || args.dry_run) {
        app.say(&format!(
            "the rollout of plan {} has ended: {}",
            short(&kept.id),
            told.state.name()
        ));
        return Ok(super::status::done(told.state));
    }
    let mut refusals = if has_ended {
        Vec::new()
    } else {
        refuse::refusals(&store, &fleet, &kept, &told)?
    };
    let recipes = refuse::recipes(&fleet, &kept).unwrap_or_else(|more| {
        refusals.extend(more);
        Vec::new()
    });
    if args.dry_run {
        show(&kept)?;
    }
    for refusal in &refusals {
        App::warn(&format!("refused: {}: {}", refusal.kind, refusal.detail));
    }
    if !refusals.is_empty() {
        return Ok(Done::Findings);
    }
    if args.dry_run {
        app.say("nothing was done: --dry-run");
        return Ok(Done::Nothing);
    }
    let Some(_alone) = place.lock()? else {
        App::warn(&format!(
            "refused: held: another mailkeep on this machine carries plan {} out",
            short(&kept.id)
        ));
        return Ok(Done::Findings);
    };
    let outcome = carry_out(app, args, &fleet, &mut store, &kept, &place, recipes);
    if let Err(error) = &outcome
        && let Some(DriveError::Held { .. }) = error.downcast_ref()
    {
        App::warn(&format!("refused: held: {error}"));
        return Ok(Done::Findings);
    }
    outcome
}

/// Where a rollout keeps what is no event.
struct Place {
    directory: PathBuf,
    controller: String,
}

impl Place {
    fn of(app: &App, fleet: &LoadedFleet, kept: &Kept) -> anyhow::Result<Self> {
        let state = app.state_dir(Some(fleet));
        let state = std::fs::canonicalize(&state).unwrap_or(state);
        // The same after a restart, another one for every other state: two controllers with one name
        // would take each other's leases for their own.
        let digest = Sha256::digest(state.as_os_str().as_encoded_bytes());
        let mut name: String = local_name()?
            .as_str()
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || ".-_".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .take(60)
            .collect();
        name.push(':');
        for byte in digest.iter().take(4) {
            use std::fmt::Write as _;
            let _never_fails = write!(name, "{byte:02x}");
        }
        Ok(Self {
            directory: state.join("rollouts").join(short(&kept.id)),
            controller: name,
        })
    }

    /// The lock that ends with this process, however it ends; `None` where another one has it. All
    /// controllers that share a state directory run on one machine.
    fn lock(&self) -> anyhow::Result<Option<File>> {
        let what = || format!("cannot lock {}", self.directory.display());
        std::fs::create_dir_all(&self.directory).with_context(what)?;
        let file = File::create(self.directory.join("lock")).with_context(what)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(what),
        }
    }

    fn probes(&self) -> PathBuf {
        self.directory.join("probes.jsonl")
    }
}

fn carry_out(
    app: &App,
    args: &StartArgs,
    fleet: &LoadedFleet,
    store: &mut SqliteStore,
    kept: &Kept,
    place: &Place,
    recipes: Vec<Recipe>,
) -> anyhow::Result<Done> {
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
    let addresses = Arc::new(Addresses::new(&fleet.file.fleet, ssh.clone()));
    let post: Arc<dyn Post> = Arc::new(FleetPost::new(
        Arc::clone(&addresses),
        services,
        servers.clone(),
        ssh.clone(),
        hello,
    ));
    let hands = SshHands::new(&place.controller, &fleet.file.fleet)?
        .with_ssh(ssh)
        .with_probes_to(addresses)
        .with_recipes(recipes);
    let hands = ProvingHands::new(
        hands,
        Arc::clone(&post),
        Arc::clone(&clock) as Arc<dyn Clock>,
        ledger.run().to_owned(),
    );

    let mut right = claim(store, &kept.id, &place.controller, clock.now())?;
    let left_out = left_out_by_others(store, &kept.id, clock.now())?;
    let warn_lock = |words: &str| App::warn(&format!("warning: {words}"));
    let drained = Drained::default();
    let mut tell = |recorded: &RecordedEvent, before: bool| {
        drained.apply(&recorded.event.kind);
        if !before && !app.quiet {
            let line = view::event(recorded);
            // Whoever reads may go away; the rollout does not.
            let _closed = writeln!(io::stdout().lock(), "{line}");
        }
    };
    let mut warn = warn_lock;
    let wish = || {
        if stop.load(Ordering::SeqCst) {
            Wish::Stop
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
    Ok(last_words(app, args, kept, &end?, figures)?)
}

fn last_words(
    app: &App,
    args: &StartArgs,
    kept: &Kept,
    end: &DriveEnd,
    figures: Option<Ledger>,
) -> io::Result<Done> {
    let id = short(&kept.id);
    match end {
        DriveEnd::Ended(outcome) => {
            let words = match outcome {
                RolloutOutcome::Proven => "every host is proven",
                RolloutOutcome::Partly => "not every host is proven",
                RolloutOutcome::Aborted => "it was aborted",
            };
            app.say(&format!(
                "plan {id}: {words}; `mailkeep rollout report {id}` tells all"
            ));
            let figures = figures.unwrap_or_default();
            writeln!(io::stdout().lock(), "{}", line(&figures))?;
            let good = *outcome == RolloutOutcome::Proven && figures.lost == 0;
            Ok(if good { Done::Nothing } else { Done::Findings })
        }
        DriveEnd::Stopped { under_way } => {
            if !under_way.is_empty() {
                let hosts: Vec<&str> = under_way.iter().map(HostName::as_str).collect();
                App::warn(&format!(
                    "left while something was still being done on: {}",
                    hosts.join(", ")
                ));
            }
            App::warn(&format!(
                "stopped; hosts stay as they are, and `mailkeep rollout start {}` goes on",
                text::printable(&args.plan)
            ));
            Ok(Done::Findings)
        }
        DriveEnd::TakenOver => {
            App::warn(&format!(
                "another controller has taken plan {id} over; this one has ended"
            ));
            Ok(Done::Findings)
        }
    }
}

/// The first SIGINT or SIGTERM is a wish; the second one ends the process.
fn on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first one finds the flag unset, and sets it.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("cannot listen for signals")?;
    }
    Ok(stop)
}

/// What a plan would do, in the order it would.
fn show(kept: &Kept) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "plan {}: {}",
        short(&kept.id),
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
