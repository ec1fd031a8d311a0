//! From a draft to the puzzle: rows, barriers, groups, times.

use std::collections::{BTreeMap, BTreeSet};

use mailkeep_model::{Drain, LaneRules, PlannedWindow, Stage, TeamName, Timestamp};

use super::draft::{Candidate, Draft, DraftRegion, Task, in_service};
use super::puzzle::{
    Barrier, BarrierKind, Grid, Group, HORIZON_DAYS, Opening, Puzzle, RegionTimes, Row, Scope,
    Wait, starts_of,
};
use crate::windows;

/// What is tried out: how a puzzle differs from what was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    /// Other rules than those of the lane.
    pub(crate) rules: Option<LaneRules>,
    /// A further window in a region.
    pub(crate) window: Option<(usize, PlannedWindow)>,
}

impl Draft<'_> {
    /// When a region may be worked on if it has a further window.
    pub(crate) fn times_with(
        &self,
        grid: &Grid,
        region: usize,
        window: PlannedWindow,
    ) -> RegionTimes {
        let rules = self.request.fleet.rollout.lane(self.request.lane);
        region_times(grid, &self.regions[region], rules, Some(window))
    }

    /// The barrier that a class of hosts feeds, in every puzzle of this draft.
    pub(crate) fn class_barrier(&self, class: usize) -> usize {
        2 * self.variants.len() + class
    }

    /// The puzzle, and the tasks that its groups name.
    pub(crate) fn puzzle(&self, change: &Change) -> (Puzzle, Vec<Task>) {
        let policy = &self.request.fleet.rollout;
        let rules = change
            .rules
            .unwrap_or_else(|| policy.lane(self.request.lane));
        let grid = Grid::new(self.request.now, policy.slot_minutes);
        let soak = |minutes: u32| i32::try_from(minutes).unwrap_or(i32::MAX / 4);
        let mut puzzle = Puzzle {
            grid,
            regions: self
                .regions
                .iter()
                .enumerate()
                .map(|(number, region)| {
                    let extra = change.window.filter(|(r, _)| *r == number).map(|(_, w)| w);
                    region_times(&grid, region, rules, extra)
                })
                .collect(),
            rows: Vec::new(),
            barriers: Vec::new(),
            groups: Vec::new(),
            starts: Vec::new(),
            soak_wave: soak(rules.soak_wave_minutes),
            reopen: !rules.windows,
        };
        let tasks = self.tasks();
        let context = Context {
            backends: self.backends(),
            rows: self.rows(&mut puzzle),
            barriers: self.barriers(&mut puzzle),
            teams: self
                .teams()
                .into_iter()
                .enumerate()
                .map(|(n, team)| (team, n))
                .collect(),
        };
        let mut keys: BTreeMap<GroupKey, usize> = BTreeMap::new();
        let mut lists: BTreeMap<(usize, i32), usize> = BTreeMap::new();
        for (place, task) in tasks.iter().enumerate() {
            let key = self.group_key(task, &context, &grid, rules);
            let group = *keys.entry(key).or_insert_with_key(|key| {
                let list = lists.entry((key.region, key.minutes)).or_insert_with(|| {
                    let starts = starts_of(&grid, &puzzle.regions[key.region], key.minutes);
                    puzzle.starts.push(starts);
                    puzzle.starts.len() - 1
                });
                puzzle.groups.push(key.group(*list, &grid));
                puzzle.groups.len() - 1
            });
            puzzle.groups[group].tasks.push(place);
        }
        for (number, group) in puzzle.groups.iter().enumerate() {
            for feed in &group.feeds {
                puzzle.barriers[*feed].tasks += group.count();
                puzzle.barriers[*feed].groups.push(number);
            }
        }
        (puzzle, tasks)
    }

    fn rows(&self, puzzle: &mut Puzzle) -> BTreeMap<Scope, usize> {
        let policy = &self.request.fleet.rollout;
        let mut rows: Vec<Row> = Vec::new();
        let counts = in_service(&self.services, self.request);
        for (service, (_, planned)) in self.services.iter().enumerate() {
            for (region, drafted) in self.regions.iter().enumerate() {
                if let Some(minimum) = planned.minimum.get(drafted.name) {
                    let here = counts.by_region[service].get(drafted.name).copied();
                    rows.push(Row {
                        scope: Scope::Service { service, region },
                        cap: here.unwrap_or(0).saturating_sub(*minimum),
                    });
                }
            }
            if let Some(minimum) = planned.minimum_total {
                rows.push(Row {
                    scope: Scope::ServiceTotal { service },
                    cap: counts.total[service].saturating_sub(minimum),
                });
            }
        }
        rows.extend(self.backends().into_iter().map(|(host, cap)| Row {
            scope: Scope::Front { host },
            cap,
        }));
        if let Some(cap) = policy.parallel_fleet {
            rows.push(Row {
                scope: Scope::Fleet,
                cap,
            });
        }
        if let Some(cap) = policy.parallel_region {
            rows.extend((0..self.regions.len()).map(|region| Row {
                scope: Scope::Region { region },
                cap,
            }));
        }
        if let Some(cap) = policy.parallel_team {
            rows.extend((0..self.teams().len()).map(|team| Row {
                scope: Scope::Team { team },
                cap,
            }));
        }
        let by_scope = rows
            .iter()
            .enumerate()
            .map(|(number, row)| (row.scope, number))
            .collect();
        puzzle.rows = rows;
        by_scope
    }

    /// Teams with a candidate, sorted.
    pub(crate) fn teams(&self) -> Vec<&TeamName> {
        let teams: BTreeSet<_> = self.candidates.iter().filter_map(|c| c.owner).collect();
        teams.into_iter().collect()
    }

    /// The candidate at whose front end another is drained.
    fn front_of(&self, candidate: &Candidate<'_>) -> Option<usize> {
        let Drain::Haproxy { front, .. } = &candidate.drain else {
            return None;
        };
        let place = self
            .candidates
            .binary_search_by(|c| c.work.host.cmp(front))
            .ok()?;
        (self.candidates[place].work.host != candidate.work.host).then_some(place)
    }

    fn barriers(&self, puzzle: &mut Puzzle) -> Barriers {
        let grid = puzzle.grid;
        let mut push = |kind, done: Option<Timestamp>| {
            puzzle.barriers.push(Barrier {
                kind,
                done: done.map_or(i32::MIN / 2, |at| grid.minutes_up(at)),
                tasks: 0,
                groups: Vec::new(),
            });
            puzzle.barriers.len() - 1
        };
        Barriers {
            test: self
                .before
                .iter()
                .map(|b| push(BarrierKind::Test, b.proven))
                .collect(),
            pilot: self
                .before
                .iter()
                .map(|b| push(BarrierKind::Pilot, b.proven_pilot))
                .collect(),
            class: self
                .classes
                .iter()
                .map(|_| push(BarrierKind::Class, None))
                .collect(),
        }
    }

    fn group_key(
        &self,
        task: &Task,
        context: &Context<'_>,
        grid: &Grid,
        rules: LaneRules,
    ) -> GroupKey {
        let hosts: Vec<&Candidate<'_>> = task.hosts.iter().map(|h| &self.candidates[*h]).collect();
        let first = hosts[0];
        let barriers = &context.barriers;
        let mut needs: BTreeMap<usize, u32> = BTreeMap::new();
        let mut need = |scope: Scope, amount: u32| {
            if let Some(row) = context.rows.get(&scope) {
                *needs.entry(*row).or_default() += amount;
            }
        };
        for (candidate, place) in hosts.iter().zip(&task.hosts) {
            let region = candidate.region;
            for name in &candidate.host.services {
                if let Some(service) = self.services.iter().position(|(known, _)| *known == name) {
                    need(Scope::Service { service, region }, 1);
                    need(Scope::ServiceTotal { service }, 1);
                }
            }
            if let Some(team) = candidate.owner.and_then(|owner| context.teams.get(owner)) {
                need(Scope::Team { team: *team }, 1);
            }
            need(Scope::Region { region }, 1);
            need(Scope::Fleet, 1);
            if let Some(front) = self.front_of(candidate) {
                need(Scope::Front { host: front }, 1);
            }
            // The front end itself goes when nobody is drained by it.
            need(
                Scope::Front { host: *place },
                context.backends.get(place).copied().unwrap_or(0),
            );
        }
        let mut waits = BTreeSet::new();
        let mut feeds = BTreeSet::new();
        let soak = |minutes: u32| i32::try_from(minutes).unwrap_or(i32::MAX / 4);
        for candidate in &hosts {
            let class = &self.classes[candidate.class];
            waits.extend(class.after.iter().map(|class| Wait {
                barrier: barriers.class[*class],
                soak: 0,
            }));
            feeds.insert(barriers.class[candidate.class]);
            let (test, pilot) = (
                barriers.test[candidate.variant],
                barriers.pilot[candidate.variant],
            );
            let after_test = Wait {
                barrier: test,
                soak: soak(rules.soak_test_minutes),
            };
            match candidate.stage {
                Stage::Test => {
                    feeds.insert(test);
                }
                Stage::Pilot => {
                    waits.insert(after_test);
                }
                Stage::Rest => {
                    waits.insert(after_test);
                    waits.insert(Wait {
                        barrier: pilot,
                        soak: soak(rules.soak_pilot_minutes),
                    });
                }
            }
            if self.regions[candidate.region].pilot {
                feeds.insert(pilot);
            }
        }
        // What a task is part of it cannot wait for.
        waits.retain(|wait| !feeds.contains(&wait.barrier));
        let deadline = hosts
            .iter()
            .filter_map(|c| {
                let day = c.work.deadline?;
                let end = windows::end_of_day(&self.regions[c.region].zone, day)?;
                Some(grid.minutes_down(end))
            })
            .min();
        GroupKey {
            stage: first.stage,
            region: first.region,
            variant: first.variant,
            weight: hosts.iter().map(|c| u64::from(c.work.risk.max(1))).sum(),
            minutes: hosts.iter().map(|c| c.minutes).max().unwrap_or(1),
            deadline,
            needs: needs.into_iter().collect(),
            waits: waits.into_iter().collect(),
            feeds: feeds.into_iter().collect(),
        }
    }

    /// How many candidates are drained at each candidate that is a front end.
    fn backends(&self) -> BTreeMap<usize, u32> {
        let mut backends = BTreeMap::new();
        for candidate in &self.candidates {
            if let Some(front) = self.front_of(candidate) {
                *backends.entry(front).or_default() += 1;
            }
        }
        backends
    }
}

/// What the groups of a puzzle refer to.
struct Context<'a> {
    rows: BTreeMap<Scope, usize>,
    barriers: Barriers,
    teams: BTreeMap<&'a TeamName, usize>,
    backends: BTreeMap<usize, u32>,
}

/// Barriers by what they hold back: what waits for a variant's test host, for its pilot region, for a
/// class of hosts.
struct Barriers {
    test: Vec<usize>,
    pilot: Vec<usize>,
    class: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey {
    stage: Stage,
    region: usize,
    variant: usize,
    weight: u64,
    minutes: i32,
    deadline: Option<i32>,
    needs: Vec<(usize, u32)>,
    waits: Vec<Wait>,
    feeds: Vec<usize>,
}

impl GroupKey {
    fn group(&self, starts: usize, grid: &Grid) -> Group {
        Group {
            region: self.region,
            stage: self.stage,
            needs: self.needs.clone(),
            minutes: self.minutes,
            ticks: grid.ticks(self.minutes),
            weight: self.weight,
            deadline: self.deadline,
            waits: self.waits.clone(),
            feeds: self.feeds.clone(),
            starts,
            tasks: Vec::new(),
        }
    }
}

pub(crate) fn region_times(
    grid: &Grid,
    region: &DraftRegion<'_>,
    rules: LaneRules,
    extra: Option<PlannedWindow>,
) -> RegionTimes {
    let mut times = RegionTimes::default();
    let windows: Vec<Option<PlannedWindow>> = if rules.windows {
        let open = region.open.iter().copied().chain(extra).collect();
        windows::joined(open).into_iter().map(Some).collect()
    } else {
        vec![None]
    };
    for (number, window) in windows.iter().enumerate() {
        let occurrence = u32::try_from(number).unwrap_or(u32::MAX);
        let far = i32::try_from(HORIZON_DAYS * 24 * 60).unwrap_or(i32::MAX / 4);
        let (mut opens, closes) = window.map_or((0, far), |w| {
            (grid.minutes_up(w.opens), grid.minutes_down(w.closes))
        });
        let blackouts = if rules.blackouts {
            &region.blackouts[..]
        } else {
            &[]
        };
        let mut push = |opens, closes| {
            if opens < closes {
                times.openings.push(Opening {
                    opens,
                    closes,
                    occurrence,
                });
            }
        };
        for blackout in blackouts {
            let (from, to) = (
                grid.minutes_down(blackout.opens),
                grid.minutes_up(blackout.closes),
            );
            if to > opens && from < closes {
                push(opens, from);
                opens = to;
            }
        }
        push(opens, closes);
    }
    times.windows = windows;
    times
}
