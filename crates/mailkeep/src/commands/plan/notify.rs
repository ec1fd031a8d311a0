//! `mailkeep plan notify` and `reserve`: what regions are told.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use mailkeep_model::{
    Event, EventKind, Fleet, HostName, HostState, Lane, Ledger, Lifecycle, PlanId, PlannedWindow,
    Realm, RegionName, RolloutOutcome, TeamName, text,
};
use mailkeep_plan::windows;
use mailkeep_store::{SqliteStore, Store};

use super::super::Done;
use super::fleet_of;
use crate::app::{App, LoadedFleet};
use crate::cli::plan::{NotifyArgs, ReserveArgs};
use crate::planning::kept::{self, Kept};
use crate::planning::notices::{self, Reservation, result};
use crate::planning::post::{Memory, Posted, Road, Told, post, remind, tell_result, withdraw};
use crate::planning::words;

/// How far ahead a window is looked for.
const LOOK_AHEAD: SignedDuration = SignedDuration::from_hours(24 * 92);

/// Longest stretch reserved where windows do not hold: a working day.
const LONGEST: SignedDuration = SignedDuration::from_hours(8);

/// `plan notify`.
pub(super) fn run(app: &App, args: &NotifyArgs) -> anyhow::Result<Done> {
    let fleet = fleet_of(app, args.fleet.as_deref())?;
    let mut store = app.store(Some(&fleet))?;
    let kept = kept::find(&store, &args.plan)?;
    let mut memory = Memory::read(&app.state_dir(Some(&fleet)))?;
    let road = road(args.output.as_deref(), args.dry_run);
    let book = book_of(&store, &kept)?;
    if args.cancel {
        let posted = post(app, &fleet, &mut memory, &book, Vec::new(), road)?;
        return Ok(done(app, posted));
    }
    if let Some(told) = result_of(&store, &kept)? {
        let mut posted = Posted::default();
        if memory.is_of(&book, &line_of(&store, &kept)?) {
            posted += withdraw(app, &fleet, &mut memory, &book, road)?;
        }
        if !memory.told_result(&book, &kept.id) {
            posted += tell(app, &fleet, &mut memory, &book, &kept, &told, road)?;
        } else if posted == Posted::default() {
            app.say("The result was told already.");
            return Ok(Done::Nothing);
        }
        return Ok(done(app, posted));
    }
    let root = root_of(&store, &kept)?;
    let (wanted, unanswered) = notices::of_plan(&kept, &root, &fleet.file.fleet, app.now);
    for region in &unanswered {
        App::warn(&format!(
            "no team answers for region {region}: nobody is told"
        ));
    }
    let mut posted = post(app, &fleet, &mut memory, &book, wanted, road)?;
    if road != Road::DryRun {
        memory.belongs_to(&book, &kept.id)?;
    }
    let answered: Vec<String> = memory.reservations_for(&kept.plan.bulletin).collect();
    for name in answered {
        posted += post(app, &fleet, &mut memory, &name, Vec::new(), road)?;
        if road != Road::DryRun {
            end_reservation(app, &mut store, &name, Some(&kept))?;
        }
    }
    posted.unreached += unanswered.len();
    Ok(done(app, posted))
}

fn done(app: &App, posted: Posted) -> Done {
    if posted == Posted::default() {
        app.say("Nothing is new for anybody.");
    }
    if posted.unreached > 0 {
        Done::Findings
    } else {
        Done::Nothing
    }
}

fn road(output: Option<&std::path::Path>, dry_run: bool) -> Road<'_> {
    match (dry_run, output) {
        (true, _) => Road::DryRun,
        (false, Some(directory)) => Road::Directory(directory),
        (false, None) => Road::Mail,
    }
}

fn root_of(store: &dyn Store, kept: &Kept) -> anyhow::Result<PlanId> {
    let ancestors = kept::ancestors(store, &kept.plan)?;
    Ok(kept::root(&kept.id, &ancestors))
}

/// Under which name a plan's notices are remembered: its lineage's, so that a child's change its
/// parent's.
fn book_of(store: &dyn Store, kept: &Kept) -> anyhow::Result<String> {
    let root = root_of(store, kept)?;
    Ok(format!("{}:{root}", kept.plan.realm.name()))
}

/// A plan and those it was made of.
fn line_of(store: &dyn Store, kept: &Kept) -> anyhow::Result<Vec<PlanId>> {
    let mut line = vec![kept.id.clone()];
    line.extend(
        kept::ancestors(store, &kept.plan)?
            .into_iter()
            .map(|k| k.id),
    );
    Ok(line)
}

/// The result of a plan that has ended: subject and words.
fn result_of(store: &dyn Store, kept: &Kept) -> anyhow::Result<Option<(String, String)>> {
    let events = store.events_of_plan(&kept.id, 0)?;
    let mut executor = mailkeep_rollout::Executor::new(
        kept.id.clone(),
        std::sync::Arc::new(kept.plan.clone()),
        u64::MAX,
    );
    let mut ledger: Option<Ledger> = None;
    for recorded in &events {
        let _told_by_the_rollout = executor.apply(&recorded.event);
        if let EventKind::ProbesCounted {
            service: None,
            ledger: counted,
            ..
        } = &recorded.event.kind
        {
            ledger = Some(*counted);
        }
    }
    let Some(outcome) = executor.outcome() else {
        return Ok(None);
    };
    let outcome = match outcome {
        RolloutOutcome::Aborted => "aborted",
        RolloutOutcome::Partly => "partly done",
        RolloutOutcome::Proven => "patched and proven",
    };
    let hosts: BTreeMap<HostName, (HostState, Option<String>)> = executor
        .states()
        .map(|view| {
            let why = view.why.or(view.trouble).map(str::to_owned);
            (view.host.clone(), (view.state, why))
        })
        .collect();
    Ok(Some(result(kept, outcome, &hosts, ledger.as_ref())))
}

/// Tells every team concerned, and the one that sees all.
fn tell(
    app: &App,
    fleet: &LoadedFleet,
    memory: &mut Memory,
    book: &str,
    kept: &Kept,
    (subject, words): &(String, String),
    road: Road<'_>,
) -> anyhow::Result<Posted> {
    let regions = kept.plan.regions.values();
    let mut teams: BTreeSet<TeamName> = regions.filter_map(|r| r.owner.clone()).collect();
    teams.extend(fleet.file.fleet.global_team.clone());
    let told = Told {
        book,
        plan: &kept.id,
        teams: &teams,
        subject,
        words,
    };
    tell_result(app, fleet, memory, &told, road)
}

/// What `mailkeep watch` does of this by itself: results of plans whose regions
/// were invited, with what they no longer have to come for, and reminders that are due. Nothing where nothing was ever sent, or mail is not set up.
pub(crate) fn in_watch(app: &App, store: &SqliteStore, fleet: &LoadedFleet) -> anyhow::Result<()> {
    let notify = fleet.file.notify.as_ref();
    if notify.is_none_or(|notify| notify.mail.is_none()) {
        return Ok(());
    }
    let mut memory = Memory::read(&app.state_dir(Some(fleet)))?;
    if memory.names().next().is_none() {
        return Ok(());
    }
    // What has ended is taken back first: it is not to be reminded of.
    let mut ended = BTreeSet::new();
    for entry in store.plans()? {
        let Some(kept) = kept::by_id(store, &entry.id)? else {
            continue;
        };
        let book = book_of(store, &kept)?;
        let told_before = memory.told_result(&book, &kept.id);
        if !memory.knows(&book) || (told_before && !memory.expects(&book, app.now)) {
            continue;
        }
        let Some(told) = result_of(store, &kept)? else {
            continue;
        };
        if memory.is_of(&book, &line_of(store, &kept)?) {
            ended.insert(book.clone());
            withdraw(app, fleet, &mut memory, &book, Road::Mail)?;
        }
        if !told_before {
            tell(app, fleet, &mut memory, &book, &kept, &told, Road::Mail)?;
        }
    }
    remind(app, fleet, &mut memory, &ended, Road::Mail)?;
    Ok(())
}

/// `plan reserve`.
pub(super) fn reserve(app: &App, args: &ReserveArgs) -> anyhow::Result<Done> {
    let fleet = fleet_of(app, args.fleet.as_deref())?;
    let mut store = app.store(Some(&fleet))?;
    let mut memory = Memory::read(&app.state_dir(Some(&fleet)))?;
    let road = road(args.output.as_deref(), args.dry_run);
    if let Some(name) = &args.cancel {
        let book = format!("reservation:{name}");
        if !memory.knows(&book) {
            let names: Vec<&str> = memory
                .names()
                .filter_map(|book| book.strip_prefix("reservation:"))
                .collect();
            bail!(
                "there is no reservation {name}; there are: {}",
                names.join(", ")
            );
        }
        let posted = post(app, &fleet, &mut memory, &book, Vec::new(), road)?;
        if road != Road::DryRun {
            end_reservation(app, &mut store, &book, None)?;
        }
        return Ok(done(app, posted));
    }
    let (Some(title), Some(from)) = (&args.title, args.from) else {
        bail!("a reservation needs a title, and --from when a fix is expected");
    };
    let reservation = Reservation {
        title: text::printable_max(title, 200),
        advisories: args.advisories.iter().cloned().collect(),
        lane: args.lane.into(),
    };
    let name = notices::name_of(&reservation, from);
    let book = format!("reservation:{name}");
    let declared = &fleet.file.fleet;
    let concerned = concerned(declared, &args.families);
    anyhow::ensure!(
        !concerned.is_empty(),
        "no running host of these families is in a region; `mailkeep fleet lint` says what is missing"
    );
    let chosen = choose(declared, &concerned, reservation.lane, from)?;
    let mut wanted = Vec::new();
    let mut out = io::stdout().lock();
    writeln!(out, "Reservation {name}: {}", reservation.title)?;
    let mut open = false;
    for (region, hosts) in &concerned {
        let Some(window) = chosen.get(region) else {
            writeln!(out, "  {region}: no window in the next three months")?;
            open = true;
            continue;
        };
        let zone = declared.regions.get(region).map(|r| r.time_zone.as_str());
        let zone = windows::time_zone(zone.unwrap_or("UTC"))?;
        writeln!(
            out,
            "  {region}: {} to {} ({}), {}",
            window
                .opens
                .to_zoned(zone.clone())
                .strftime("%a %Y-%m-%d %H:%M %Z"),
            window.closes.to_zoned(zone).strftime("%a %H:%M"),
            words::utc(window.opens),
            words::count(hosts.len(), "host")
        )?;
        let notice = notices::of_reservation(&name, &reservation, region, *window, hosts, declared);
        if notice.is_none() {
            App::warn(&format!(
                "no team answers for region {region}: nobody is told"
            ));
            open = true;
        }
        wanted.extend(notice);
    }
    drop(out);
    let event = Event {
        at: app.now,
        realm: Realm::Live,
        kind: EventKind::WindowsReserved {
            name: name.clone(),
            title: reservation.title.clone(),
            lane: reservation.lane,
            advisories: args.advisories.clone(),
            windows: chosen,
        },
    };
    let new = !memory.knows(&book);
    memory.reserve(&book, reservation);
    let posted = post(app, &fleet, &mut memory, &book, wanted, road)?;
    if new && road != Road::DryRun {
        store.append_event(&event)?;
        app.say(&format!(
            "`mailkeep plan reserve --cancel {name}` takes it back"
        ));
    }
    let told = done(app, posted);
    Ok(if open { Done::Findings } else { told })
}

fn end_reservation(
    app: &App,
    store: &mut SqliteStore,
    book: &str,
    plan: Option<&Kept>,
) -> anyhow::Result<()> {
    let name = book.strip_prefix("reservation:").unwrap_or(book);
    store.append_event(&Event {
        at: app.now,
        realm: Realm::Live,
        kind: EventKind::ReservationEnded {
            name: name.to_owned(),
            plan: plan.map(|kept| kept.id.clone()),
        },
    })?;
    let why = plan.map_or("it was cancelled".to_owned(), |kept| {
        format!("plan {} takes its place", kept.id.short())
    });
    app.say(&format!("Reservation {name} has ended: {why}"));
    Ok(())
}

/// Running hosts by region, of these families where any are named.
fn concerned(fleet: &Fleet, families: &[String]) -> BTreeMap<RegionName, Vec<HostName>> {
    let mut concerned: BTreeMap<RegionName, Vec<HostName>> = BTreeMap::new();
    for (name, host) in &fleet.hosts {
        let named = families.is_empty() || host.family.iter().any(|f| families.contains(f));
        if let (Some(region), true, Lifecycle::Running) = (&host.region, named, host.lifecycle) {
            concerned
                .entry(region.clone())
                .or_default()
                .push(name.clone());
        }
    }
    concerned
}

/// For each region the first window it could be patched in: the pilot regions first, the rest after
/// them, with the soaks of the lane between.
fn choose(
    fleet: &Fleet,
    concerned: &BTreeMap<RegionName, Vec<HostName>>,
    lane: Lane,
    from: Timestamp,
) -> anyhow::Result<BTreeMap<RegionName, PlannedWindow>> {
    let rules = fleet.rollout.lane(lane);
    let minutes = |minutes: u32| SignedDuration::from_mins(i64::from(minutes));
    let is_pilot = |region: &RegionName| fleet.regions.get(region).is_some_and(|r| r.pilot);
    let after_test = from
        .checked_add(minutes(rules.soak_test_minutes))
        .context("the time is too far in the future")?;
    let mut chosen = BTreeMap::new();
    let mut pilot_ends = after_test;
    for pilots in [true, false] {
        let earliest = if pilots {
            after_test
        } else {
            pilot_ends.checked_add(minutes(rules.soak_pilot_minutes))?
        };
        for (region, hosts) in concerned.iter().filter(|(r, _)| is_pilot(r) == pilots) {
            let window = if rules.windows {
                first_window(fleet, region, earliest, rules.blackouts)?
            } else {
                let steps = i64::try_from(hosts.len()).unwrap_or(i64::MAX);
                let each = i64::from(fleet.rollout.step_minutes);
                let whole = SignedDuration::from_mins(steps.saturating_mul(each).min(1 << 20));
                Some(PlannedWindow {
                    opens: earliest,
                    closes: earliest.checked_add(whole.min(LONGEST))?,
                })
            };
            if let Some(window) = window {
                if pilots {
                    pilot_ends = pilot_ends.max(window.closes);
                }
                chosen.insert(region.clone(), window);
            }
        }
    }
    Ok(chosen)
}

fn first_window(
    fleet: &Fleet,
    region: &RegionName,
    earliest: Timestamp,
    blackouts: bool,
) -> anyhow::Result<Option<PlannedWindow>> {
    let Some(declared) = fleet.regions.get(region) else {
        return Ok(None);
    };
    let zone = windows::time_zone(&declared.time_zone)?;
    let until = earliest.checked_add(LOOK_AHEAD)?;
    let closed = if blackouts {
        windows::blackout_spans(&zone, region, &fleet.rollout.blackouts)
    } else {
        Vec::new()
    };
    let openings = windows::openings(&zone, &declared.windows, earliest, until)?;
    Ok(openings.into_iter().find(|window| {
        window.opens >= earliest
            && closed
                .iter()
                .all(|span| span.closes <= window.opens || span.opens >= window.closes)
    }))
}
