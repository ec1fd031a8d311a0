//! A rollout in words: a table of hosts, a line for each event. All of it printable.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use mailkeep_model::{Act, ActOutcome, EventKind, HostState, RecordedEvent, Timestamp, text};
use mailkeep_rollout::evidence::{Evidence, HostEvidence};

use crate::planning::words::count;

/// Colours, as a terminal's escape codes; empty where there are none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    on: bool,
}

impl Paint {
    pub(super) fn new(on: bool) -> Self {
        Self { on }
    }

    fn code(self, code: &'static str) -> &'static str {
        if self.on { code } else { "" }
    }

    fn of(self, state: HostState) -> &'static str {
        match state {
            HostState::Proven => self.code("\x1b[32m"),
            HostState::Held | HostState::Unproven => self.code("\x1b[1;31m"),
            HostState::RolledBack
            | HostState::RollingBack
            | HostState::ProvingOld
            | HostState::ReturningOld
            | HostState::ReleasingOld
            | HostState::DrainingAgain
            | HostState::EmptyingAgain
            | HostState::BackingOut
            | HostState::ReleasingUntouched
            | HostState::Untouched => self.code("\x1b[33m"),
            HostState::Waiting | HostState::Ready => self.code("\x1b[2m"),
            HostState::Prechecking
            | HostState::Leasing
            | HostState::Draining
            | HostState::Emptying
            | HostState::Saving
            | HostState::Patching
            | HostState::Proving
            | HostState::Returning
            | HostState::Soaking
            | HostState::Releasing => self.code("\x1b[36m"),
        }
    }
}

/// A time to the second, in UTC; a dash where there is none.
pub(super) fn clock(at: Option<Timestamp>) -> String {
    at.map_or_else(
        || "-".to_owned(),
        |at| at.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string(),
    )
}

/// A time with its day, in UTC; a dash where there is none.
pub(super) fn moment(at: Option<Timestamp>) -> String {
    at.map_or_else(
        || "-".to_owned(),
        |at| {
            at.to_zoned(TimeZone::UTC)
                .strftime("%Y-%m-%d %H:%M:%SZ")
                .to_string()
        },
    )
}

/// `3 h 12 min`, `4 min 10 s`, `8 s`.
pub(super) fn span(seconds: i64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours >= 48 {
        format!("{} d {} h", hours / 24, hours % 24)
    } else if hours > 0 {
        format!("{hours} h {minutes} min")
    } else if minutes > 0 {
        format!("{minutes} min {rest} s")
    } else {
        format!("{rest} s")
    }
}

/// The lines above the hosts: what, where it stands, how far.
pub(super) fn head(evidence: &Evidence) -> Vec<String> {
    let mut lines = vec![
        format!(
            "plan {} ({} lane): {}",
            evidence.plan.short(),
            match evidence.lane {
                mailkeep_model::Lane::Emergency => "emergency",
                mailkeep_model::Lane::Regular => "regular",
            },
            text::printable(&evidence.title)
        ),
        state_line(evidence),
    ];
    let count = |state| evidence.count(state);
    let ended = evidence.hosts.iter().filter(|h| h.state.is_end()).count();
    let out = evidence
        .hosts
        .iter()
        .filter(|host| host.is_out_of_service())
        .count();
    let mut line = format!(
        "{} of {} hosts at their end: {} proven",
        ended,
        evidence.hosts.len(),
        count(HostState::Proven)
    );
    for state in [
        HostState::RolledBack,
        HostState::Untouched,
        HostState::Held,
        HostState::Unproven,
    ] {
        if count(state) > 0 {
            let _never_fails = write!(line, ", {} {}", count(state), state.name());
        }
    }
    let _never_fails = write!(line, "; {out} out of service now");
    lines.push(line);
    lines
}

fn state_line(evidence: &Evidence) -> String {
    let mut line = evidence.state.name().to_owned();
    if let Some(reason) = &evidence.reason {
        let _never_fails = write!(line, ": {}", text::printable(reason));
    }
    match (evidence.started_at, evidence.ended_at) {
        (Some(began), Some(ended)) => {
            let took = ended.duration_since(began).as_secs();
            let _never_fails = write!(
                line,
                "; {} to {} ({})",
                moment(Some(began)),
                moment(Some(ended)),
                span(took)
            );
        }
        (Some(began), None) => {
            let _never_fails = write!(line, "; since {}", moment(Some(began)));
        }
        (None, _) => {}
    }
    line
}

/// One line for each host, and what is wrong with it below. `width` is how many columns there are.
pub(super) fn hosts(evidence: &Evidence, paint: Paint, width: usize) -> Vec<String> {
    let widest = |of: &dyn Fn(&HostEvidence) -> usize, at_least: usize| {
        evidence
            .hosts
            .iter()
            .map(of)
            .max()
            .unwrap_or(0)
            .max(at_least)
    };
    let host = widest(&|h| h.host.as_str().chars().count(), 4).min(32);
    let region = widest(&|h| h.region.as_str().chars().count(), 6).min(16);
    let state = widest(&|h| h.state.name().len(), 5);
    let mut lines = vec![format!(
        "{:host$}  {:region$}  {:>4}  {:state$}  {:>8}  {:>8}  {:>8}  {:>8}  {:>10}",
        "host", "region", "wave", "state", "drained", "patched", "proven", "back", "out"
    )];
    for row in &evidence.hosts {
        let out = if row.seconds_out_of_service > 0 {
            span(row.seconds_out_of_service)
        } else {
            "-".to_owned()
        };
        lines.push(format!(
            "{:host$}  {:region$}  {:>4}  {}{:state$}{}  {:>8}  {:>8}  {:>8}  {:>8}  {:>10}",
            text::printable_max(row.host.as_str(), host),
            text::printable_max(row.region.as_str(), region),
            row.wave,
            paint.of(row.state),
            row.state.name(),
            if paint.of(row.state).is_empty() {
                ""
            } else {
                "\x1b[0m"
            },
            clock(row.drained_at),
            clock(row.patched_at),
            clock(row.proven_at),
            clock(row.returned_at),
            out,
        ));
        if let Some(trouble) = &row.trouble
            && row.state != HostState::Proven
        {
            let room = width.saturating_sub(4).max(40);
            lines.push(format!("    {}", text::printable_max(trouble, room)));
        }
    }
    lines
}

/// Hosts that a person must see to, or that are left in mid-work, each in a line: what it is, and why.
/// Those that were released by hand are not among them.
pub(super) fn left_behind(evidence: &Evidence) -> Vec<String> {
    let of = |host: &HostEvidence| {
        let was_drained = host.acts.iter().any(|done| done.act == Act::Drain);
        // One that waits with a lease to be drained still serves.
        if !host.is_out_of_service() || !(was_drained || host.state.is_end()) {
            return None;
        }
        let what = match host.state {
            HostState::Held => {
                "is held: out of service, its queue kept, and a person must repair it"
            }
            HostState::Unproven => "is unproven, and a person must look at it",
            _ => "is left in mid-work and may be out of service",
        };
        let why = host.trouble.as_deref().map(|why| format!(": {why}"));
        let line = format!(
            "{} {what} ({}){}",
            host.host,
            host.state.name(),
            why.unwrap_or_default()
        );
        Some(text::printable_max(&line, 400))
    };
    evidence.hosts.iter().filter_map(of).collect()
}

/// What the ledger says, where messages flowed.
pub(super) fn ledger(evidence: &Evidence) -> Option<String> {
    let figures = evidence.ledger?;
    let mut line = evidence.ledger_line();
    if figures.late > 0 {
        let _never_fails = write!(line, " ({} late)", figures.late);
    }
    if figures.refused > 0 {
        let _never_fails = write!(line, " ({} still with the sender)", figures.refused);
    }
    Some(line)
}

/// One event in one line: what happened, to whom, with what outcome.
pub(super) fn event(recorded: &RecordedEvent) -> String {
    let what = match &recorded.event.kind {
        EventKind::PlanMade { hosts, title, .. } => format!("plan made for {hosts} hosts: {title}"),
        EventKind::PlanReported { report, .. } => format!(
            "planned with {} left out, {} missed",
            count(report.not_planned.len(), "host"),
            count(report.missed_deadlines.len(), "deadline")
        ),
        EventKind::PlanApproved { region, team, .. } => match region {
            Some(region) => format!("{team} approved the part of {region}"),
            None => format!("{team} approved the whole"),
        },
        EventKind::RolloutStarted { by, .. } => format!("rollout started by {}", by.name),
        EventKind::RolloutPaused { by, reason, .. } => {
            format!("rollout PAUSED by {}: {reason}", by.name)
        }
        EventKind::RolloutResumed { by, .. } => format!("rollout resumed by {}", by.name),
        EventKind::RolloutAborted { by, reason, .. } => {
            format!("rollout ABORTED by {}: {reason}", by.name)
        }
        EventKind::RolloutEnded { outcome, .. } => format!(
            "rollout ended: {}",
            match outcome {
                mailkeep_model::RolloutOutcome::Proven => "every host is proven",
                mailkeep_model::RolloutOutcome::Partly => "not every host is proven",
                mailkeep_model::RolloutOutcome::Aborted => "aborted",
            }
        ),
        EventKind::HostCalledOff {
            host,
            reason,
            detail,
            ..
        } => format!("{host}: called off: {}: {detail}", reason.name()),
        EventKind::ActStarted {
            host, act, attempt, ..
        } => {
            let again = if *attempt > 1 {
                format!(" (try {attempt})")
            } else {
                String::new()
            };
            format!("{host}: {}{again} ...", act.name())
        }
        EventKind::ActEnded {
            host, act, result, ..
        } => format!("{host}: {} {}", act.name(), outcome(result)),
        EventKind::ProbesCounted {
            service, ledger, ..
        } => {
            let line = mailkeep_rollout::ledger::line(ledger);
            match service {
                Some(service) => format!("{line} ({service})"),
                None => line,
            }
        }
        EventKind::HostIsolated { host, reason, .. } => {
            format!("{host} was isolated by hand: {reason}")
        }
        EventKind::HostReleased { host, .. } => format!("{host} was released by hand"),
        EventKind::FeedImported { .. }
        | EventKind::FeedFailed { .. }
        | EventKind::HostScanned { .. }
        | EventKind::ScanFailed { .. }
        | EventKind::FindingNew { .. }
        | EventKind::FindingGone { .. }
        | EventKind::FindingChanged { .. }
        | EventKind::RecipesPlanned { .. }
        | EventKind::MessageReleased { .. }
        | EventKind::HeldMailTold { .. }
        | EventKind::AttackSeen { .. }
        | EventKind::WindowsReserved { .. }
        | EventKind::ReservationEnded { .. } => "something else".to_owned(),
    };
    let line = format!("{} {what}", moment(Some(recorded.event.at)));
    text::printable(&line).into_owned()
}

fn outcome(result: &ActOutcome) -> String {
    match result {
        ActOutcome::Done { .. } => "done".to_owned(),
        ActOutcome::AlreadyDone { .. } => "was so already".to_owned(),
        ActOutcome::NotYet { why } => format!("not yet: {why}"),
        ActOutcome::Failed { kind, detail } => format!("FAILED: {}: {detail}", kind.name()),
    }
}
