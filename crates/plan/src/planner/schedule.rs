//! Places tasks in the order of time: at each tick, everything that may start and fits, the most
//! pressing first. What is pressing is a [`Rule`]; the caller tries several and keeps the best.
//!
//! **Invariant:** whatever the rule, no row is ever above its cap, nothing starts outside a window or
//! before what it waits for, and waves of a region keep their distance.

use mailkeep_model::Stage;

use super::guard::Guard;
use super::puzzle::{Group, Puzzle, Start};

/// What goes first among tasks that could start at the same time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule<'a> {
    /// Whose window closes first.
    Closing,
    /// Whose deadline comes first, of those that can still be kept: with steps of one length and hosts that
    /// may all start, nothing keeps more of them.
    Deadline,
    /// Who has the least time to spare until a minute, given what its region can do at a time.
    Laxity { until: i32 },
    /// Who is furthest behind a fractional schedule: tasks started, by group, then by tick.
    Following(&'a [Vec<f32>]),
    /// Whose start at this tick costs least more than its cheapest, by the prices of a relaxation: by
    /// group, then by tick. Prices are not exact: less than some steps' worth is no difference.
    Priced { gain: &'a [Vec<f32>], steps: f64 },
    /// Whose risk is the highest.
    Risk,
}

/// Tasks of one group that start together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) tick: u32,
    pub(crate) count: u32,
    /// Number of the wave within its region.
    pub(crate) wave: u32,
    pub(crate) occurrence: u32,
}

/// How good a schedule is; less is better, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Score {
    /// Tasks without a place.
    pub(crate) unplaced: u64,
    /// Tasks done after their deadline.
    pub(crate) missed: u64,
    /// The last end, in minutes.
    pub(crate) end: i32,
    /// Sum of risk times minutes until the end.
    pub(crate) exposure: u64,
}

/// Where everything went.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// By group, ordered by tick.
    pub(crate) placements: Vec<Vec<Placement>>,
    /// Tasks without a place, by group.
    pub(crate) left: Vec<u32>,
    pub(crate) score: Score,
}

/// What is placed already and stays, when only part of the groups are placed anew.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    /// Which groups are to be placed.
    pub(crate) active: Vec<bool>,
    /// What the others take of each row, by tick.
    pub(crate) usage: Vec<Vec<u32>>,
}

/// What goes first in a region: tests, then pilots, and of these which variant, as everything else waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lead {
    /// The one with the most risk waiting, for each minute of work that it waits for (Smith, 1956).
    Ratio,
    /// The one with the least work.
    Shortest,
    /// None: tests and pilots go by the rule as well. Where a region has one wave a night, a test may be worth
    /// less than those that it keeps waiting.
    ByRule,
}

/// Places everything by one rule.
pub(crate) fn run(puzzle: &Puzzle, rule: Rule<'_>, given: Option<&Given>) -> Schedule {
    Run::new(puzzle, given, Lead::Ratio).place_all(rule)
}

/// The same with a choice of what leads in the pilot region.
pub(crate) fn run_led(puzzle: &Puzzle, rule: Rule<'_>, lead: Lead) -> Schedule {
    Run::new(puzzle, None, lead).place_all(rule)
}

/// The same, with room kept for those whose deadlines are kept.
pub(super) fn run_guarded(
    puzzle: &Puzzle,
    rule: Rule<'_>,
    lead: Lead,
    guard: Option<&Guard>,
) -> Schedule {
    let mut run = Run::new(puzzle, None, lead);
    run.guard = guard.cloned();
    run.place_all(rule)
}

/// What a schedule takes of each row, by tick, for some of the groups.
pub(crate) fn usage_of(
    puzzle: &Puzzle,
    schedule: &Schedule,
    counts: impl Fn(usize) -> bool,
) -> Vec<Vec<u32>> {
    let mut usage = vec![Vec::new(); puzzle.rows.len()];
    for (number, placements) in schedule.placements.iter().enumerate() {
        if counts(number) {
            for placed in placements {
                add_to(
                    &mut usage,
                    &puzzle.groups[number],
                    index(placed.tick),
                    placed.count,
                );
            }
        }
    }
    usage
}

pub(crate) fn score(puzzle: &Puzzle, placements: &[Vec<Placement>], left: &[u32]) -> Score {
    let mut score = Score::default();
    for (group, (placed, left)) in puzzle.groups.iter().zip(placements.iter().zip(left)) {
        score.unplaced += u64::from(*left);
        for placed in placed {
            let end = puzzle.grid.minute(index(placed.tick)) + group.minutes;
            score.end = score.end.max(end);
            score.exposure += puzzle.grid.elapsed(end) * group.weight * u64::from(placed.count);
            if group.deadline.is_some_and(|deadline| end > deadline) {
                score.missed += u64::from(placed.count);
            }
        }
        if group.deadline.is_some() {
            score.missed += u64::from(*left);
        }
    }
    score
}

pub(crate) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Adds tasks of a group that start at a tick to what is used of each row, by tick.
pub(super) fn add_to(usage: &mut [Vec<u32>], group: &Group, tick: usize, count: u32) {
    for (row, need) in &group.needs {
        let row = &mut usage[*row];
        if row.len() < tick + group.ticks {
            row.resize(tick + group.ticks, 0);
        }
        for used in &mut row[tick..tick + group.ticks] {
            *used += need * count;
        }
    }
}

/// Where a region stands with its waves.
#[derive(Debug, Clone, Default)]
struct RegionState {
    /// Stage and window of the wave under way.
    wave: Option<(Stage, u32)>,
    /// Its number within the region.
    number: u32,
    /// The last end in it, in minutes.
    ended: i32,
    /// Waves that are over.
    closed: Vec<(Stage, u32)>,
    /// Groups with tasks to place.
    pending: Vec<usize>,
    /// The first opening that is not yet over.
    opening: usize,
    /// At this tick, later stages make way for this one.
    hold: Option<Stage>,
}

struct Candidate {
    group: usize,
    start: Start,
    /// Lest its deadline be missed.
    must: bool,
    score: f64,
}

struct Run<'a> {
    puzzle: &'a Puzzle,
    usage: Vec<Vec<u32>>,
    left: Vec<u32>,
    regions: Vec<RegionState>,
    /// By barrier: tasks to come, and the last end so far.
    barriers: Vec<(u32, i32)>,
    /// By list of starts: the first that is not yet past.
    next_start: Vec<usize>,
    /// By row: minutes of work to be placed, for [`Rule::Laxity`].
    work: Vec<u64>,
    /// By group of the pilot region: how much its variant leads there. Variants done one after another
    /// let the rest begin sooner than all done side by side. `None` where the rule says that, too.
    lead: Option<Vec<f64>>,
    guard: Option<Guard>,
    placements: Vec<Vec<Placement>>,
}

impl<'a> Run<'a> {
    fn new(puzzle: &'a Puzzle, given: Option<&Given>, lead: Lead) -> Self {
        let active = |group: usize| given.is_none_or(|g| g.active[group]);
        let mut regions = vec![RegionState::default(); puzzle.regions.len()];
        let mut work = vec![0; puzzle.rows.len()];
        let mut left = vec![0; puzzle.groups.len()];
        for (number, group) in puzzle.groups.iter().enumerate() {
            if active(number) && group.count() > 0 {
                left[number] = group.count();
                regions[group.region].pending.push(number);
                for (row, need) in &group.needs {
                    work[*row] += minutes(group) * u64::from(need * group.count());
                }
            }
        }
        Self {
            usage: given.map_or_else(|| vec![Vec::new(); puzzle.rows.len()], |g| g.usage.clone()),
            left,
            regions,
            barriers: puzzle.barriers.iter().map(|b| (b.tasks, b.done)).collect(),
            next_start: vec![0; puzzle.starts.len()],
            work,
            lead: (lead != Lead::ByRule).then(|| leads(puzzle, lead)),
            guard: None,
            placements: vec![Vec::new(); puzzle.groups.len()],
            puzzle,
        }
    }

    fn place_all(mut self, rule: Rule<'_>) -> Schedule {
        let mut to_place: u64 = self.left.iter().copied().map(u64::from).sum();
        let mut candidates = Vec::new();
        let mut tick = 0;
        while to_place > 0 {
            let Some(next) = self.next_tick(tick) else {
                break;
            };
            tick = next;
            self.collect(tick, rule, &mut candidates);
            candidates.sort_by(|a, b| {
                let stage = |c: &Candidate| match self.lead {
                    None => Stage::Rest,
                    Some(_) => self.puzzle.groups[c.group].stage,
                };
                stage(a)
                    .cmp(&stage(b))
                    .then(b.must.cmp(&a.must))
                    .then(b.score.total_cmp(&a.score))
                    .then(a.group.cmp(&b.group))
            });
            let mut placed = false;
            for candidate in candidates.drain(..) {
                let count = self.place(tick, &candidate);
                to_place -= u64::from(count);
                placed |= self.left[candidate.group] == 0;
            }
            for region in &mut self.regions {
                region.hold = None;
                if placed {
                    let left = &self.left;
                    region.pending.retain(|group| left[*group] > 0);
                }
            }
            tick += 1;
        }
        // Past the horizon nothing was looked at.
        let score = score(self.puzzle, &self.placements, &self.left);
        Schedule {
            placements: self.placements,
            left: self.left,
            score,
        }
    }

    /// The first tick from here on at which a region with work is open.
    fn next_tick(&mut self, tick: usize) -> Option<usize> {
        let grid = &self.puzzle.grid;
        let now = grid.minute(tick);
        let mut next: Option<usize> = None;
        for (state, times) in self.regions.iter_mut().zip(&self.puzzle.regions) {
            if state.pending.is_empty() {
                continue;
            }
            while times
                .openings
                .get(state.opening)
                .is_some_and(|o| o.closes <= now)
            {
                state.opening += 1;
            }
            if let Some(opening) = times.openings.get(state.opening) {
                let open = tick.max(grid.tick_from(opening.opens));
                next = Some(next.map_or(open, |n| n.min(open)));
            }
        }
        next.filter(|tick| *tick < grid.horizon())
    }

    /// Everything that could start at a tick, were there room.
    fn collect(&mut self, tick: usize, rule: Rule<'_>, candidates: &mut Vec<Candidate>) {
        let now = self.puzzle.grid.minute(tick);
        for region in 0..self.regions.len() {
            let opening = self.puzzle.regions[region]
                .openings
                .get(self.regions[region].opening);
            if opening.is_none_or(|o| o.opens > now) {
                continue;
            }
            for place in 0..self.regions[region].pending.len() {
                let group = self.regions[region].pending[place];
                if self.left[group] == 0 || self.ready(group).is_none_or(|ready| ready > now) {
                    continue;
                }
                let Some(start) = self.start_at(self.puzzle.groups[group].starts, tick) else {
                    continue;
                };
                let score = self.value(rule, group, tick, start);
                let must = self.due(group, tick) > 0;
                // Once as one that must, and once for those of its tasks that need not.
                for must in [must, false].into_iter().take(1 + usize::from(must)) {
                    candidates.push(Candidate {
                        group,
                        start,
                        must,
                        score,
                    });
                }
            }
        }
    }

    /// The start in a list at a tick, if there is one. Ticks are asked for in order.
    fn start_at(&mut self, list: usize, tick: usize) -> Option<Start> {
        let starts = &self.puzzle.starts[list];
        let next = &mut self.next_start[list];
        while starts.get(*next).is_some_and(|s| index(s.tick) < tick) {
            *next += 1;
        }
        starts.get(*next).copied().filter(|s| index(s.tick) == tick)
    }

    /// When everything a group waits for is done; `None` while that is not known.
    fn ready(&self, group: usize) -> Option<i32> {
        self.puzzle.groups[group]
            .waits
            .iter()
            .map(|wait| {
                let (tasks, done) = self.barriers[wait.barrier];
                (tasks == 0).then(|| done.saturating_add(wait.soak))
            })
            .try_fold(i32::MIN, |latest, ready| Some(latest.max(ready?)))
    }

    fn value(&self, rule: Rule<'_>, number: usize, tick: usize, start: Start) -> f64 {
        let group = &self.puzzle.groups[number];
        #[expect(clippy::cast_precision_loss, reason = "risks are far below 2^53")]
        let risk = group.weight as f64;
        if let Some(lead) = self.lead.as_ref().filter(|_| group.stage == Stage::Pilot) {
            return risk.mul_add(1e-9, lead[number]);
        }
        match rule {
            Rule::Closing => -f64::from(start.closes) + risk * 1e-9,
            Rule::Deadline => {
                let end = self.puzzle.grid.minute(tick) + group.minutes;
                let kept = group.deadline.filter(|deadline| end <= *deadline);
                risk.mul_add(1e-9, kept.map_or(-1e12, |deadline| -f64::from(deadline)))
            }
            Rule::Following(started) => {
                let ticks = &started[number];
                let due = f64::from(
                    ticks
                        .get(tick)
                        .or(ticks.last())
                        .copied()
                        .unwrap_or_default(),
                );
                let behind = due - f64::from(group.count() - self.left[number]);
                risk.mul_add(1e-9, behind)
            }
            Rule::Laxity { until } => risk.mul_add(1e-9, -self.laxity(group, tick, until)),
            Rule::Priced { gain, steps } => {
                let ticks = &gain[number];
                let loss = ticks.get(tick).or(ticks.last());
                let loss = f64::from(loss.copied().unwrap_or_default());
                let unit = steps * risk * f64::from(group.minutes);
                (loss / unit).ceil().mul_add(1e9, risk)
            }
            Rule::Risk => risk,
        }
    }

    /// Minutes that a group's most loaded row has to spare.
    fn laxity(&self, group: &Group, tick: usize, until: i32) -> f64 {
        let now = self.puzzle.grid.minute(tick);
        let open: i32 = self.puzzle.regions[group.region]
            .openings
            .iter()
            .skip(self.regions[group.region].opening)
            .take_while(|o| o.opens < until)
            .map(|o| o.closes.min(until) - o.opens.max(now))
            .sum();
        let worst = group
            .needs
            .iter()
            .filter(|(row, _)| self.puzzle.rows[*row].scope.is_of_one_region())
            .map(|(row, _)| {
                #[expect(clippy::cast_precision_loss, reason = "minutes of 60 days")]
                let work = self.work[*row] as f64;
                work / f64::from(self.puzzle.rows[*row].cap.max(1))
            })
            .fold(f64::from(group.minutes), f64::max);
        f64::from(open) - worst
    }

    /// Places as many tasks of a candidate as there is room for.
    fn place(&mut self, tick: usize, candidate: &Candidate) -> u32 {
        let puzzle = self.puzzle;
        let group = &puzzle.groups[candidate.group];
        let mut count = self.room(group, tick, candidate.must);
        count = count.min(self.left[candidate.group]);
        if candidate.must {
            count = count.min(self.due(candidate.group, tick));
        }
        if count == 0 || !self.enter_wave(tick, group, candidate.start) {
            return 0;
        }
        add_to(&mut self.usage, group, tick, count);
        self.left[candidate.group] -= count;
        if let Some(guard) = &mut self.guard {
            guard.place(candidate.group, group, count);
        }
        let end = puzzle.grid.minute(tick) + group.minutes;
        for feed in &group.feeds {
            let (tasks, done) = &mut self.barriers[*feed];
            *tasks -= count;
            *done = (*done).max(end);
        }
        for (row, need) in &group.needs {
            self.work[*row] -= minutes(group) * u64::from(need * count);
        }
        let state = &mut self.regions[group.region];
        state.ended = state.ended.max(end);
        let placed = Placement {
            tick: candidate.start.tick,
            count,
            wave: state.number,
            occurrence: candidate.start.occurrence,
        };
        add(&mut self.placements[candidate.group], placed);
        count
    }

    /// How many tasks of a group start now lest a deadline be missed.
    fn due(&self, group: usize, tick: usize) -> u32 {
        self.guard
            .as_ref()
            .map_or(0, |guard| guard.due(group, tick))
    }

    /// How many tasks of a group there is room for; reservations leave room for those that they are for.
    fn room(&self, group: &Group, tick: usize, reserved: bool) -> u32 {
        let of_row = |(row, need): &(usize, u32)| {
            let used = match self.guard.as_ref().filter(|_| !reserved) {
                Some(guard) => {
                    most_of_both(&self.usage[*row], guard.reserved(*row), tick, group.ticks)
                }
                None => most_in(&self.usage[*row], tick, group.ticks),
            };
            self.puzzle.rows[*row].cap.saturating_sub(used) / need
        };
        group.needs.iter().map(of_row).min().unwrap_or(u32::MAX)
    }

    /// Whether a step may start in its region now, given the waves before it; if so its wave is the one
    /// under way.
    fn enter_wave(&mut self, tick: usize, group: &Group, start: Start) -> bool {
        let now = self.puzzle.grid.minute(tick);
        let soak = self.puzzle.soak_wave;
        let reopen = self.puzzle.reopen;
        let state = &mut self.regions[group.region];
        if state.hold.is_some_and(|stage| stage < group.stage) {
            return false;
        }
        let wave = (group.stage, start.occurrence);
        match state.wave {
            Some(under_way) if under_way == wave => return true,
            Some(_) if !reopen && state.closed.contains(&wave) => return false,
            Some(_) if now < state.ended.saturating_add(soak) => {
                // A test must not wait until there is nothing else left to do.
                if reopen {
                    state.hold = Some(state.hold.map_or(group.stage, |s| s.min(group.stage)));
                }
                return false;
            }
            Some(under_way) => {
                state.closed.push(under_way);
                state.number += 1;
            }
            None => {}
        }
        state.wave = Some(wave);
        true
    }
}

/// The most that is used at any of some ticks.
pub(super) fn most_in(used: &[u32], tick: usize, ticks: usize) -> u32 {
    let until = used.len().min(tick + ticks);
    let used = used.get(tick..until);
    used.and_then(|used| used.iter().copied().max())
        .unwrap_or(0)
}

/// The same of what is used and what is reserved.
fn most_of_both(used: &[u32], reserved: &[u32], tick: usize, ticks: usize) -> u32 {
    let at = |list: &[u32], tick: usize| list.get(tick).copied().unwrap_or(0);
    let sums = (tick..tick + ticks).map(|tick| at(used, tick) + at(reserved, tick));
    sums.max().unwrap_or(0)
}

/// Adds a placement to those of its group, which are ordered by tick.
pub(super) fn add(placements: &mut Vec<Placement>, placed: Placement) {
    match placements.last_mut() {
        Some(last) if last.tick == placed.tick => last.count += placed.count,
        _ => placements.push(placed),
    }
}

/// See [`Run::lead`].
fn leads(puzzle: &Puzzle, lead: Lead) -> Vec<f64> {
    let mut waiting = vec![0.0; puzzle.barriers.len()];
    let mut work = vec![0.0; puzzle.barriers.len()];
    for group in &puzzle.groups {
        #[expect(clippy::cast_precision_loss, reason = "risks are far below 2^53")]
        let risk = group.weight as f64 * f64::from(group.count());
        for wait in &group.waits {
            waiting[wait.barrier] += risk;
        }
        for feed in &group.feeds {
            work[*feed] += f64::from(group.minutes) * f64::from(group.count());
        }
    }
    if lead == Lead::Shortest {
        waiting
            .iter_mut()
            .filter(|risk| **risk > 0.0)
            .for_each(|risk| *risk = 1.0);
    }
    let lead = |group: &Group| {
        let feeds = group.feeds.iter().filter(|feed| work[**feed] > 0.0);
        feeds
            .map(|feed| waiting[*feed] / work[*feed])
            .fold(0.0, f64::max)
    };
    puzzle.groups.iter().map(lead).collect()
}

fn minutes(group: &Group) -> u64 {
    u64::try_from(group.minutes).unwrap_or(1)
}
