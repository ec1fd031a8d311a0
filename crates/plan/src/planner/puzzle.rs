//! The planner's problem in whole numbers: what must be placed, what limits it, when it may start.
//!
//! Hosts that nothing tells apart (region, variant, stage, services, length, risk, deadline) are one
//! [`Group`]; times are minutes from "now" and places on the grid of starts ("ticks").

use jiff::Timestamp;
use mailkeep_model::{PlannedWindow, Stage};

/// Days that the planner looks ahead. Rules that recur monthly come at least once.
pub(crate) const HORIZON_DAYS: u32 = 60;

/// The grid of starts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    /// Minute 0: "now", seconds cut off, as minutes from the epoch.
    origin: i64,
    /// Whether "now" lies after minute 0, so that minute 0 is past.
    past: bool,
    /// First tick, in minutes.
    first: i32,
    /// Minutes from one tick to the next.
    step: i32,
    /// Minutes from one start to the next.
    slot: i32,
}

impl Grid {
    pub(crate) fn new(now: Timestamp, slot_minutes: u32) -> Self {
        let origin = now.as_second().div_euclid(60);
        let past = now.as_second().rem_euclid(60) != 0 || now.subsec_nanosecond() != 0;
        let slot = slot_minutes.clamp(1, 24 * 60);
        let slot = i32::try_from(slot).unwrap_or(15);
        let cycle = if slot <= 60 { 60 } else { 24 * 60 };
        let step = gcd(slot, cycle);
        let earliest = origin + i64::from(past);
        let into = i32::try_from(earliest.rem_euclid(i64::from(step))).unwrap_or(0);
        let first = i32::from(past) + if into == 0 { 0 } else { step - into };
        Self {
            origin,
            past,
            first,
            step,
            slot,
        }
    }

    /// The minute of a tick.
    pub(crate) fn minute(&self, tick: usize) -> i32 {
        let tick = i32::try_from(tick).unwrap_or(i32::MAX / 64);
        self.first + tick.saturating_mul(self.step)
    }

    /// The first tick not before a minute.
    pub(crate) fn tick_from(&self, minute: i32) -> usize {
        let ahead = (minute - self.first).max(0);
        usize::try_from((ahead + self.step - 1) / self.step).unwrap_or(0)
    }

    /// Whether a step may start at this tick: starts are counted from the hour, those more than an hour
    /// apart from midnight, in UTC.
    pub(crate) fn is_start(&self, tick: usize) -> bool {
        let cycle = if self.slot <= 60 { 60 } else { 24 * 60 };
        let minute = self.origin + i64::from(self.minute(tick));
        minute.rem_euclid(cycle) % i64::from(self.slot) == 0
    }

    /// Ticks of the whole time looked at.
    pub(crate) fn horizon(&self) -> usize {
        usize::try_from(i64::from(HORIZON_DAYS) * 24 * 60 / i64::from(self.step)).unwrap_or(0)
    }

    /// Ticks that a step of some minutes covers.
    pub(crate) fn ticks(&self, minutes: i32) -> usize {
        usize::try_from((minutes.max(1) + self.step - 1) / self.step).unwrap_or(1)
    }

    /// Minutes from "now" to a moment, upwards for what must not be earlier.
    pub(crate) fn minutes_up(&self, at: Timestamp) -> i32 {
        let seconds = at.as_second() - self.origin * 60 + i64::from(at.subsec_nanosecond() > 0);
        clamp(seconds.div_euclid(60) + i64::from(seconds.rem_euclid(60) > 0))
    }

    /// The same downwards, for what must not be later.
    pub(crate) fn minutes_down(&self, at: Timestamp) -> i32 {
        clamp((at.as_second() - self.origin * 60).div_euclid(60))
    }

    /// The moment of a minute.
    pub(crate) fn at(&self, minute: i32) -> Timestamp {
        Timestamp::from_second((self.origin + i64::from(minute)) * 60).unwrap_or(Timestamp::MAX)
    }

    /// Whole minutes from "now" to a minute, as the report counts them.
    pub(crate) fn elapsed(&self, minute: i32) -> u64 {
        u64::try_from(minute.saturating_sub(i32::from(self.past))).unwrap_or(0)
    }
}

fn clamp(minutes: i64) -> i32 {
    // Far enough from the ends that soak can be added.
    const FAR: i64 = 1 << 28;
    i32::try_from(minutes.clamp(-FAR, FAR)).unwrap_or(0)
}

fn gcd(a: i32, b: i32) -> i32 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// A stretch of a region's window without blackout, in minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) opens: i32,
    pub(crate) closes: i32,
    /// Which window it is part of.
    pub(crate) occurrence: u32,
}

/// When a region may be worked on.
#[derive(Debug, Clone, Default)]
pub(crate) struct RegionTimes {
    pub(crate) openings: Vec<Opening>,
    /// The windows, by `occurrence`; `None` where windows do not hold.
    pub(crate) windows: Vec<Option<PlannedWindow>>,
}

/// A start that a step of some length may have in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) tick: u32,
    pub(crate) occurrence: u32,
    /// When the opening ends.
    pub(crate) closes: i32,
}

/// What a limit limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// A service in a region.
    Service { service: usize, region: usize },
    /// A service over all regions.
    ServiceTotal { service: usize },
    /// A front end and the hosts that are drained by it.
    Front { host: usize },
    /// A region.
    Region { region: usize },
    /// A team.
    Team { team: usize },
    /// Everything.
    Fleet,
}

impl Scope {
    /// Whether everything it limits lies in one region.
    pub(crate) fn is_of_one_region(self) -> bool {
        match self {
            Self::Service { .. } | Self::Region { .. } => true,
            Self::Fleet | Self::Front { .. } | Self::ServiceTotal { .. } | Self::Team { .. } => {
                false
            }
        }
    }
}

/// At most so many out of service at a time.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) scope: Scope,
    pub(crate) cap: u32,
}

/// Something that must be done before something else starts.
#[derive(Debug, Clone)]
pub(crate) struct Barrier {
    pub(crate) kind: BarrierKind,
    /// When the part of it that is past or fixed was done, in minutes.
    pub(crate) done: i32,
    /// How many tasks are still to be done.
    pub(crate) tasks: u32,
    /// Groups these are in.
    pub(crate) groups: Vec<usize>,
}

/// What a barrier stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BarrierKind {
    /// Hosts of a region that carry the same services.
    Class,
    /// A variant in the pilot region.
    Pilot,
    /// A variant's test host.
    Test,
}

impl Barrier {
    /// Whether it is a variant in the pilot region, with hosts to be done.
    pub(crate) fn is_pilot(&self) -> bool {
        self.kind == BarrierKind::Pilot && !self.groups.is_empty()
    }
}

/// Waiting for a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wait {
    pub(crate) barrier: usize,
    /// Minutes after it.
    pub(crate) soak: i32,
}

/// Tasks that nothing tells apart. A task is one host, or a cluster that goes together.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) region: usize,
    pub(crate) stage: Stage,
    /// Rows, and how much of each one task takes.
    pub(crate) needs: Vec<(usize, u32)>,
    pub(crate) minutes: i32,
    pub(crate) ticks: usize,
    /// Risk of one task.
    pub(crate) weight: u64,
    /// Latest end in time, in minutes.
    pub(crate) deadline: Option<i32>,
    pub(crate) waits: Vec<Wait>,
    pub(crate) feeds: Vec<usize>,
    /// Place of its list in [`Puzzle::starts`].
    pub(crate) starts: usize,
    /// Places in the draft's tasks, by name.
    pub(crate) tasks: Vec<usize>,
}

impl Group {
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.tasks.len()).unwrap_or(u32::MAX)
    }
}

/// All of it.
#[derive(Debug, Clone)]
pub(crate) struct Puzzle {
    pub(crate) grid: Grid,
    pub(crate) regions: Vec<RegionTimes>,
    pub(crate) rows: Vec<Row>,
    pub(crate) barriers: Vec<Barrier>,
    pub(crate) groups: Vec<Group>,
    /// Starts for each pair of region and length in use, ordered by tick.
    pub(crate) starts: Vec<Vec<Start>>,
    /// Minutes between waves of a region.
    pub(crate) soak_wave: i32,
    /// Whether a region may go back to a stage in the same window. Only without windows: there it would
    /// never come to an end otherwise.
    pub(crate) reopen: bool,
}

/// Every start of a step of some length in a region.
pub(crate) fn starts_of(grid: &Grid, times: &RegionTimes, minutes: i32) -> Vec<Start> {
    let mut starts = Vec::new();
    let horizon = grid.horizon();
    for opening in &times.openings {
        let mut tick = grid.tick_from(opening.opens);
        while tick < horizon && grid.minute(tick) + minutes <= opening.closes {
            if grid.is_start(tick) {
                starts.push(Start {
                    tick: u32::try_from(tick).unwrap_or(u32::MAX),
                    occurrence: opening.occurrence,
                    closes: opening.closes,
                });
            }
            tick += 1;
        }
    }
    starts
}
