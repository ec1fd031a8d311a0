//! Deadlines that a schedule cannot meet, and what would make them possible, found by trying.
//!
//! Hosts that share region, services and deadline share their fate; for each such set every remedy is
//! tried by placing the region's hosts anew among all others, and counts only if the whole set is in
//! time then. The emergency lane is tried once, for all.
//!
//! **Invariant:** bounded effort, counted in tries and not in time, so that the same request has the
//! same answer everywhere.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use mailkeep_model::{
    HostName, Lane, MissedDeadline, NotPlannedReason, PlannedWindow, Remedy, ServiceName,
};

use super::assemble::placed_hosts;
use super::build::Change;
use super::draft::{Draft, Task};
use super::puzzle::{Puzzle, Scope, starts_of};
use super::schedule::{Given, Rule, Schedule, run, usage_of};
use crate::windows::end_of_day;

/// Placings of one region that are tried. Each costs well under a millisecond.
const MAX_LOCAL_TRIES: u32 = 1_500;

/// Placings of the whole fleet that are tried.
const MAX_WIDE_TRIES: u32 = 8;

/// How many more hosts, or hosts at a time, are tried.
const MORE: [u32; 5] = [1, 2, 3, 4, 8];

/// Every deadline that is missed, sorted by host.
pub(crate) fn missed(
    draft: &Draft<'_>,
    puzzle: &Puzzle,
    tasks: &[Task],
    schedule: &Schedule,
) -> Vec<MissedDeadline> {
    let sets = late_sets(draft, puzzle, tasks, schedule);
    let mut missed = without_step(draft);
    if sets.is_empty() {
        missed.sort();
        return missed;
    }
    let mut trial = Trial::new(draft, puzzle, schedule);
    for (set, hosts) in &sets {
        let remedies = trial.remedies(set);
        for (host, end) in hosts {
            missed.push(MissedDeadline {
                host: (*host).clone(),
                deadline: set.deadline,
                planned_end: *end,
                remedies: remedies.clone(),
            });
        }
    }
    missed.sort();
    missed
}

/// Hosts that are late for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct LateSet<'a> {
    region: usize,
    /// Which services they carry, as a class of the draft.
    class: usize,
    services: &'a BTreeSet<ServiceName>,
    deadline: Date,
    /// The same as minutes.
    until: i32,
}

type Late<'a> = Vec<(&'a HostName, Option<Timestamp>)>;

fn late_sets<'a>(
    draft: &'a Draft<'_>,
    puzzle: &Puzzle,
    tasks: &[Task],
    schedule: &Schedule,
) -> BTreeMap<LateSet<'a>, Late<'a>> {
    let placed = placed_hosts(puzzle, tasks, schedule);
    let mut sets: BTreeMap<LateSet<'_>, Late<'_>> = BTreeMap::new();
    for (place, candidate) in draft.candidates.iter().enumerate() {
        let Some(deadline) = candidate.work.deadline else {
            continue;
        };
        let until = deadline_minute(draft, puzzle, candidate.region, deadline);
        let end = placed.get(&place).map(|place| place.end);
        if end.is_some_and(|end| end <= until) {
            continue;
        }
        let set = LateSet {
            region: candidate.region,
            class: candidate.class,
            services: &candidate.host.services,
            deadline,
            until,
        };
        let end = end.map(|end| puzzle.grid.at(end));
        sets.entry(set)
            .or_default()
            .push((&candidate.work.host, end));
    }
    sets
}

fn deadline_minute(draft: &Draft<'_>, puzzle: &Puzzle, region: usize, deadline: Date) -> i32 {
    let end = end_of_day(&draft.regions[region].zone, deadline);
    end.map_or(i32::MAX / 4, |end| puzzle.grid.minutes_down(end))
}

/// Hosts that were left out before anything was placed. Where a minimum is in the way, that many more
/// hosts are what it takes; nothing else is known to help.
fn without_step(draft: &Draft<'_>) -> Vec<MissedDeadline> {
    let request = draft.request;
    let of_work = request.work.iter();
    let of_work = of_work.filter_map(|work| Some((&work.host, work.deadline?)));
    let mut deadlines: BTreeMap<&HostName, Date> = of_work.collect();
    for (host, deadline) in &request.deadlines {
        deadlines.entry(host).or_insert(*deadline);
    }
    // What a step cannot do on a host that has one says nothing of the time of that step.
    let placed = draft.candidates.iter().map(|other| &other.work.host);
    let placed: BTreeSet<&HostName> = placed.collect();
    let mut missed: BTreeMap<&HostName, MissedDeadline> = BTreeMap::new();
    for left_out in &draft.not_planned {
        let Some(deadline) = deadlines.get(&left_out.host) else {
            continue;
        };
        if placed.contains(&left_out.host) {
            continue;
        }
        let remedies = match &left_out.reason {
            NotPlannedReason::AlreadyProven
            | NotPlannedReason::Mitigated { .. }
            | NotPlannedReason::PlannedElsewhere { .. } => continue,
            NotPlannedReason::MinimumInService {
                service,
                region,
                in_service,
                minimum,
            } => vec![Remedy::MoreHosts {
                service: service.clone(),
                region: region.clone(),
                count: (minimum + 1).saturating_sub(*in_service).max(1),
            }],
            NotPlannedReason::ChangeQuarantined { .. }
            | NotPlannedReason::DependsOnUnplanned { .. }
            | NotPlannedReason::FactsMissing
            | NotPlannedReason::FactsTooOld { .. }
            | NotPlannedReason::NeedsPerson { .. }
            | NotPlannedReason::NoCandidate { .. }
            | NotPlannedReason::NoFix { .. }
            | NotPlannedReason::NoRegion
            | NotPlannedReason::NoWindow { .. }
            | NotPlannedReason::RecipeWithoutFix { .. }
            | NotPlannedReason::Unreachable { .. } => Vec::new(),
        };
        // A host may be left out for several reasons.
        let of_host = missed.entry(&left_out.host);
        let of_host = of_host.or_insert_with(|| MissedDeadline {
            host: left_out.host.clone(),
            deadline: *deadline,
            planned_end: None,
            remedies: Vec::new(),
        });
        of_host.remedies.extend(remedies);
    }
    missed.into_values().collect()
}

/// Trying things out.
struct Trial<'a> {
    draft: &'a Draft<'a>,
    puzzle: &'a Puzzle,
    schedule: &'a Schedule,
    local_tries: u32,
    wide_tries: u32,
    /// The region whose hosts may move, and the puzzle in which all others stay.
    local: Option<(usize, Puzzle, Given)>,
    /// What came of the emergency lane.
    emergency: Option<(Puzzle, Schedule)>,
    /// What came of a further window in a pilot region.
    pilot: BTreeMap<(usize, Date), Option<(Puzzle, Schedule)>>,
}

impl<'a> Trial<'a> {
    fn new(draft: &'a Draft<'a>, puzzle: &'a Puzzle, schedule: &'a Schedule) -> Self {
        Self {
            draft,
            puzzle,
            schedule,
            local_tries: 0,
            wide_tries: 0,
            local: None,
            emergency: None,
            pilot: BTreeMap::new(),
        }
    }

    fn remedies(&mut self, set: &LateSet<'_>) -> Vec<Remedy> {
        // Nothing helps against a deadline that is past.
        if set.until <= 0 {
            return Vec::new();
        }
        let mut remedies = Vec::new();
        remedies.extend(self.another_window(set));
        remedies.extend(self.emergency_lane(set));
        remedies.extend(self.more_hosts(set));
        remedies.extend(self.more_in_parallel(set));
        remedies
    }

    fn more_hosts(&mut self, set: &LateSet<'_>) -> Vec<Remedy> {
        let mut remedies = Vec::new();
        for name in set.services {
            let Some(service) = self
                .draft
                .services
                .iter()
                .position(|(known, _)| *known == name)
            else {
                continue;
            };
            let region = set.region;
            let scopes = [
                Scope::Service { service, region },
                Scope::ServiceTotal { service },
            ];
            let helps = MORE
                .into_iter()
                .find(|more| self.widened(set, &scopes, *more));
            if let Some(count) = helps {
                remedies.push(Remedy::MoreHosts {
                    service: name.clone(),
                    region: Some(self.draft.regions[region].name.clone()),
                    count,
                });
            }
        }
        remedies
    }

    fn more_in_parallel(&mut self, set: &LateSet<'_>) -> Vec<Remedy> {
        let policy = &self.draft.request.fleet.rollout;
        let teams = 0..self.draft.teams().len();
        let scopes = [
            ("fleet", policy.parallel_fleet, vec![Scope::Fleet]),
            (
                "region",
                policy.parallel_region,
                vec![Scope::Region { region: set.region }],
            ),
            (
                "team",
                policy.parallel_team,
                teams.map(|team| Scope::Team { team }).collect(),
            ),
        ];
        let mut remedies = Vec::new();
        for (scope, cap, rows) in scopes {
            let Some(cap) = cap else {
                continue;
            };
            if let Some(more) = MORE
                .into_iter()
                .find(|more| self.widened(set, &rows, *more))
            {
                remedies.push(Remedy::MoreInParallel {
                    scope: scope.to_owned(),
                    limit: cap + more,
                });
            }
        }
        remedies
    }

    /// Whether a set is in time when some rows allow more.
    fn widened(&mut self, set: &LateSet<'_>, scopes: &[Scope], more: u32) -> bool {
        let mut rows = self.puzzle.rows.clone();
        for row in &mut rows {
            if scopes.contains(&row.scope) {
                row.cap += more;
            }
        }
        self.try_local(set, |puzzle| std::mem::swap(&mut puzzle.rows, &mut rows))
    }

    /// A further window: as late as will do, in the region or else in the pilot region it waits for.
    fn another_window(&mut self, set: &LateSet<'_>) -> Option<Remedy> {
        let draft = self.draft;
        let request = draft.request;
        if !request.fleet.rollout.lane(request.lane).windows {
            return None;
        }
        let mut day = set.deadline;
        for _earlier in 0..4 {
            let window = further_window(draft, set.region, day)?;
            if window.closes <= request.now {
                break;
            }
            let opens = self.puzzle.grid.minutes_up(window.opens.max(request.now));
            let closes = self.puzzle.grid.minutes_down(window.closes).min(set.until);
            let blackouts = &draft.regions[set.region].blackouts;
            let is_black = request.fleet.rollout.lane(request.lane).blackouts
                && blackouts
                    .iter()
                    .any(|b| b.opens < window.closes && window.opens < b.closes);
            if !is_black && self.try_window(set, window, opens < closes) {
                return Some(Remedy::AnotherWindow {
                    region: draft.regions[set.region].name.clone(),
                    by: day,
                });
            }
            day = day.yesterday().ok()?;
        }
        self.another_pilot_window(set)
    }

    fn try_window(&mut self, set: &LateSet<'_>, window: PlannedWindow, is_open: bool) -> bool {
        if !is_open {
            return false;
        }
        let region = set.region;
        let grid = &self.puzzle.grid;
        let mut times = self.draft.times_with(grid, region, window);
        let of_region = self.puzzle.groups.iter().filter(|g| g.region == region);
        let lists: BTreeMap<usize, i32> = of_region.map(|g| (g.starts, g.minutes)).collect();
        let starts = lists.into_iter();
        let mut starts: Vec<_> = starts
            .map(|(list, minutes)| (list, starts_of(grid, &times, minutes)))
            .collect();
        self.try_local(set, |puzzle| {
            std::mem::swap(&mut puzzle.regions[region], &mut times);
            for (list, starts) in &mut starts {
                std::mem::swap(&mut puzzle.starts[*list], starts);
            }
        })
    }

    /// A further window in a pilot region, before which nobody else may start.
    fn another_pilot_window(&mut self, set: &LateSet<'_>) -> Option<Remedy> {
        let draft = self.draft;
        for (region, drafted) in draft.regions.iter().enumerate() {
            if !drafted.pilot || region == set.region {
                continue;
            }
            for days in [1, 2] {
                let by = set
                    .deadline
                    .checked_sub(jiff::Span::new().days(days))
                    .ok()?;
                let window = further_window(draft, region, by)?;
                if window.closes <= draft.request.now
                    || self.puzzle.grid.minutes_down(window.opens) < 0
                {
                    continue;
                }
                if !self.pilot.contains_key(&(region, by)) {
                    let tried = self.try_wide(&Change {
                        rules: None,
                        window: Some((region, window)),
                    });
                    self.pilot.insert((region, by), tried);
                }
                if let Some(Some((puzzle, schedule))) = self.pilot.get(&(region, by))
                    && in_time(self.draft, puzzle, schedule, set)
                {
                    return Some(Remedy::AnotherWindow {
                        region: drafted.name.clone(),
                        by,
                    });
                }
            }
        }
        None
    }

    fn emergency_lane(&mut self, set: &LateSet<'_>) -> Option<Remedy> {
        if self.draft.request.lane == Lane::Emergency {
            return None;
        }
        if self.emergency.is_none() {
            self.emergency = self.try_wide(&Change {
                rules: Some(self.draft.request.fleet.rollout.emergency),
                window: None,
            });
        }
        let (puzzle, schedule) = self.emergency.as_ref()?;
        in_time(self.draft, puzzle, schedule, set).then_some(Remedy::EmergencyLane)
    }

    fn try_wide(&mut self, change: &Change) -> Option<(Puzzle, Schedule)> {
        if self.wide_tries >= MAX_WIDE_TRIES {
            return None;
        }
        self.wide_tries += 1;
        let (puzzle, _) = self.draft.puzzle(change);
        let schedule = run(&puzzle, Rule::Deadline, None);
        Some((puzzle, schedule))
    }

    /// Places the hosts of a set's region anew, in a puzzle changed somehow, and asks whether the set
    /// is in time. The change is swapped in, and out again: there are more tries than a puzzle should be copied for.
    fn try_local(&mut self, set: &LateSet<'_>, mut swap: impl FnMut(&mut Puzzle)) -> bool {
        if self.local_tries >= MAX_LOCAL_TRIES {
            return false;
        }
        self.local_tries += 1;
        if self
            .local
            .as_ref()
            .is_none_or(|(region, _, _)| *region != set.region)
        {
            self.local = Some(self.only_region(set.region));
        }
        let Some((_, puzzle, given)) = &mut self.local else {
            return false;
        };
        swap(puzzle);
        let schedule = run(puzzle, Rule::Deadline, Some(given));
        let is_in_time = in_time(self.draft, puzzle, &schedule, set);
        swap(puzzle);
        is_in_time
    }

    /// The puzzle with everything but one region's hosts where it is.
    fn only_region(&self, region: usize) -> (usize, Puzzle, Given) {
        let mut puzzle = self.puzzle.clone();
        let active: Vec<bool> = puzzle
            .groups
            .iter()
            .map(|group| group.region == region)
            .collect();
        let usage = usage_of(&puzzle, self.schedule, |group| !active[group]);
        for barrier in &mut puzzle.barriers {
            barrier.tasks = 0;
            for number in &barrier.groups {
                let group = &puzzle.groups[*number];
                if active[*number] {
                    barrier.tasks += group.count();
                    continue;
                }
                if self.schedule.left[*number] > 0 {
                    barrier.done = i32::MAX / 2;
                }
                for placed in &self.schedule.placements[*number] {
                    let start = puzzle.grid.minute(super::schedule::index(placed.tick));
                    barrier.done = barrier.done.max(start + group.minutes);
                }
            }
        }
        (region, puzzle, Given { active, usage })
    }
}

/// Whether everybody of a set is placed in time.
fn in_time(draft: &Draft<'_>, puzzle: &Puzzle, schedule: &Schedule, set: &LateSet<'_>) -> bool {
    let barrier = draft.class_barrier(set.class);
    let of_set = puzzle
        .groups
        .iter()
        .enumerate()
        .filter(|(_, g)| g.feeds.contains(&barrier));
    of_set.into_iter().all(|(number, group)| {
        if group.deadline.is_none_or(|deadline| deadline != set.until) {
            return true;
        }
        schedule.left[number] == 0
            && schedule.placements[number].iter().all(|placed| {
                let start = puzzle.grid.minute(super::schedule::index(placed.tick));
                start + group.minutes <= set.until
            })
    })
}

/// A window as the region usually has it, on some day: at the hour of its next one, as long as that.
fn further_window(draft: &Draft<'_>, region: usize, day: Date) -> Option<PlannedWindow> {
    let drafted = &draft.regions[region];
    let usual = drafted.open.first()?;
    let opens = usual.opens.to_zoned(drafted.zone.clone());
    let length = usual
        .closes
        .duration_since(usual.opens)
        .min(SignedDuration::from_hours(24));
    let opens = day
        .to_datetime(opens.time())
        .to_zoned(drafted.zone.clone())
        .ok()?
        .timestamp();
    let closes = opens.checked_add(length).ok()?;
    Some(PlannedWindow { opens, closes })
}
