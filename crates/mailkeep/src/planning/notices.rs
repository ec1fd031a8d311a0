//! What a region's team is told of a plan: an invitation for each of its waves, in its own time, with
//! what, why, how long, and whom to call.
//!
//! **Invariant:** pure. A notice is made from the plan and the fleet alone; what was sent before, and
//! sending, is [`post`](super::post)'s.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mailkeep_model::{
    AdvisoryId, Fleet, HostName, HostState, Lane, Ledger, Plan, PlanId, PlanStep, PlannedWindow,
    Realm, RegionName, ServiceName, TeamName, text,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::kept::Kept;
use super::words::{count, length, local, utc};

/// Hosts and packages named in one line; the rest is counted.
const MAX_NAMED: usize = 12;

/// Something for a team's calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The same as long as it is about the same wave of the same lineage.
    pub uid: String,
    /// Who is told.
    pub team: TeamName,
    /// Where it happens.
    pub region: RegionName,
    /// Begin.
    pub start: Timestamp,
    /// End.
    pub end: Timestamp,
    /// One line.
    pub summary: String,
    /// What does not change where nothing changes for this team.
    pub body: String,
    /// What may change with every plan: which one it is.
    pub reference: String,
    /// Whether it is a reservation only.
    pub tentative: bool,
}

impl Notice {
    /// All of it, for a person.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.body, self.reference)
    }

    /// Equal if and only if a receiver would see no difference worth a message.
    pub fn fingerprint(&self) -> String {
        let parts = (
            &self.start,
            &self.end,
            &self.summary,
            &self.body,
            &self.team,
        );
        let text = format!("{parts:?} {}", self.tentative);
        hex(text.as_bytes())
    }
}

/// An invitation for every wave of a plan that is not over, and regions for which nobody answers.
pub fn of_plan(
    kept: &Kept,
    root: &PlanId,
    fleet: &Fleet,
    now: Timestamp,
) -> (Vec<Notice>, Vec<RegionName>) {
    let plan = &kept.plan;
    let mut notices = Vec::new();
    let mut unanswered = BTreeSet::new();
    let mut numbers: BTreeMap<(&RegionName, &str), u32> = BTreeMap::new();
    for (at, wave) in plan.waves.iter().enumerate() {
        let stage = wave.stage.name();
        let number = numbers.entry((&wave.region, stage)).or_default();
        let ordinal = *number;
        *number += 1;
        // An emergency may begin at once, and is told of all the same.
        if wave.end <= now {
            continue;
        }
        let Some(team) = team_of(plan, &wave.region, fleet) else {
            unanswered.insert(wave.region.clone());
            continue;
        };
        let steps: Vec<&PlanStep> = plan
            .steps
            .iter()
            .filter(|step| usize::try_from(step.wave) == Ok(at))
            .collect();
        let key = format!(
            "{}/{root}/{}/{stage}/{ordinal}",
            plan.realm.name(),
            wave.region
        );
        notices.push(Notice {
            uid: format!("{}@mailkeep", hex(key.as_bytes()).get(..32).unwrap_or(&key)),
            team: team.clone(),
            region: wave.region.clone(),
            start: wave.start,
            end: wave.end,
            summary: summary(plan, &wave.region, steps.len()),
            body: body(
                plan,
                &wave.region,
                wave.start,
                wave.end,
                &steps,
                fleet,
                team,
            ),
            reference: reference(kept, &wave.region, team),
            tentative: false,
        });
    }
    (notices, unanswered.into_iter().collect())
}

/// The team that owns a region, else the one that sees all.
fn team_of<'a>(plan: &'a Plan, region: &RegionName, fleet: &'a Fleet) -> Option<&'a TeamName> {
    let owner = plan.regions.get(region).and_then(|r| r.owner.as_ref());
    owner.or(fleet.global_team.as_ref())
}

fn summary(plan: &Plan, region: &RegionName, hosts: usize) -> String {
    let what = text::printable_max(&plan.title, 80);
    let urgent = match plan.lane {
        Lane::Emergency => "Emergency patching",
        Lane::Regular => "Patching",
    };
    format!(
        "{}{urgent} of {} in {region}: {what}",
        rehearsal(plan.realm),
        count(hosts, "mail server")
    )
}

fn rehearsal(realm: Realm) -> &'static str {
    match realm {
        Realm::Drill => "[DRILL] ",
        Realm::Live => "",
    }
}

fn body(
    plan: &Plan,
    region: &RegionName,
    start: Timestamp,
    end: Timestamp,
    steps: &[&PlanStep],
    fleet: &Fleet,
    team: &TeamName,
) -> String {
    let mut lines = Vec::new();
    if plan.realm == Realm::Drill {
        lines.push("This is a drill. No real server is touched.".to_owned());
        lines.push(String::new());
    }
    let planned = plan.regions.get(region);
    let zone = planned.map_or("UTC", |region| region.time_zone.as_str());
    lines.push(format!(
        "When:  {} to {} ({zone})",
        local(start, planned),
        local(end, planned)
    ));
    lines.push(format!("       {} to {}", utc(start), utc(end)));
    lines.push(format!("Why:   {}", why(plan, steps)));
    lines.push("What:".to_owned());
    lines.extend(
        changes(plan, steps)
            .into_iter()
            .map(|line| format!("  {line}")),
    );
    lines.push("Which servers, and how long each is out of service at most:".to_owned());
    for step in steps {
        let minutes = step.end.duration_since(step.start).as_mins();
        lines.push(format!(
            "  {}  from {}, {}",
            step.host,
            local(step.start, planned),
            length(minutes.unsigned_abs())
        ));
    }
    lines.push("Mail goes on meanwhile:".to_owned());
    lines.extend(levels(plan, region, steps));
    lines.push("Whom to call:".to_owned());
    lines.extend(contact(fleet, team).map(|contact| format!("  {contact}")));
    if let Some(global) = fleet.global_team.as_ref().filter(|global| *global != team) {
        let contact = contact(fleet, global).map(|contact| format!("  {contact} (sees all)"));
        lines.extend(contact);
    }
    text_of(&lines)
}

fn text_of(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&text::printable(line));
        text.push('\n');
    }
    text
}

fn why(plan: &Plan, steps: &[&PlanStep]) -> String {
    let deadline = steps.iter().filter_map(|step| step.deadline).min();
    let due = deadline.map_or(String::new(), |day| format!("; due {day}"));
    let mut advisories: Vec<&str> = plan.bulletin.iter().map(AdvisoryId::as_str).collect();
    let more = advisories.len().saturating_sub(MAX_NAMED);
    advisories.truncate(MAX_NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let ordered = match &plan.overriding {
        Some(order) => format!("; ordered by {}: {}", order.by, order.reason),
        None => String::new(),
    };
    format!(
        "{} lane, {}{more}{due}{ordered}",
        plan.lane.name(),
        advisories.join(", ")
    )
}

/// What changes, once for each variant.
fn changes(plan: &Plan, steps: &[&PlanStep]) -> Vec<String> {
    let variants: BTreeSet<u32> = steps.iter().map(|step| step.variant).collect();
    let mut lines = Vec::new();
    for number in variants {
        let Some(variant) = usize::try_from(number)
            .ok()
            .and_then(|n| plan.variants.get(n))
        else {
            continue;
        };
        for change in variant.packages.iter().take(MAX_NAMED) {
            lines.push(if change.from == change.to {
                format!("{} {}: restarted", change.name, change.from)
            } else {
                format!("{} {} to {}", change.name, change.from, change.to)
            });
        }
        let more = variant.packages.len().saturating_sub(MAX_NAMED);
        if more > 0 {
            lines.push(format!("and {} more", count(more, "package")));
        }
        if variant.whole_cluster {
            lines.push(format!(
                "all {} hosts of the region at once",
                variant.family
            ));
        }
    }
    lines
}

/// What stays in service in the region.
fn levels(plan: &Plan, region: &RegionName, steps: &[&PlanStep]) -> Vec<String> {
    let services: BTreeSet<&ServiceName> = steps.iter().flat_map(|step| &step.services).collect();
    let mut lines = Vec::new();
    for name in services {
        let Some(service) = plan.services.get(name) else {
            continue;
        };
        let all = service.hosts.get(region).map_or(0, BTreeSet::len);
        let minimum = service.minimum.get(region).copied().unwrap_or(0);
        lines.push(format!(
            "  {name}: at least {minimum} of {all} in service in {region}"
        ));
    }
    if lines.is_empty() {
        lines.push("  these servers carry no service".to_owned());
    }
    lines
}

fn contact(fleet: &Fleet, team: &TeamName) -> Option<String> {
    let known = fleet.teams.get(team)?;
    let mut ways: Vec<&str> = known.phone.iter().map(String::as_str).collect();
    ways.extend(known.email.iter().map(String::as_str));
    Some(format!("{team}: {}", ways.join(", ")))
}

fn reference(kept: &Kept, region: &RegionName, team: &TeamName) -> String {
    let id = kept.id.short();
    format!(
        "Plan {id} ({}).\nTo look at it: mailkeep plan show {id}\nTo agree: mailkeep plan approve {id} \
         --team {team} --region {region}\nTo move it: mailkeep plan shift {id} --region {region} --by 1h\n",
        kept.id
    )
}

/// A reservation, one region's part of it.
pub fn of_reservation(
    name: &str,
    reservation: &Reservation,
    region: &RegionName,
    window: PlannedWindow,
    hosts: &[HostName],
    fleet: &Fleet,
) -> Option<Notice> {
    let declared = fleet.regions.get(region)?;
    let team = declared.owner.as_ref().or(fleet.global_team.as_ref())?;
    let planned = mailkeep_model::PlannedRegion {
        time_zone: declared.time_zone.clone(),
        owner: declared.owner.clone(),
        pilot: declared.pilot,
        windows: declared.windows.clone(),
    };
    let mut named: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
    let more = named.len().saturating_sub(MAX_NAMED);
    named.truncate(MAX_NAMED);
    let mut lines = vec![
        "Reserved: a fix is announced and not yet published. Nothing is decided; the plan that comes \
         takes this entry's place."
            .to_owned(),
        format!(
            "When:  {} to {} ({})",
            local(window.opens, Some(&planned)),
            local(window.closes, Some(&planned)),
            declared.time_zone
        ),
        format!("       {} to {}", utc(window.opens), utc(window.closes)),
        format!("Why:   {}", reservation.title),
    ];
    if !reservation.advisories.is_empty() {
        let ids: Vec<&str> = reservation
            .advisories
            .iter()
            .map(AdvisoryId::as_str)
            .collect();
        lines.push(format!("       {}", ids.join(", ")));
    }
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    lines.push(format!(
        "What:  {} may be concerned: {}{more}",
        count(hosts.len(), "mail server"),
        named.join(", ")
    ));
    lines.push("Whom to call:".to_owned());
    lines.extend(contact(fleet, team).map(|contact| format!("  {contact}")));
    let key = format!("reservation/{name}/{region}");
    Some(Notice {
        uid: format!("{}@mailkeep", hex(key.as_bytes()).get(..32).unwrap_or(&key)),
        team: team.clone(),
        region: region.clone(),
        start: window.opens,
        end: window.closes,
        summary: format!(
            "Reserved for patching in {region}: {}",
            text::printable_max(&reservation.title, 80)
        ),
        body: text_of(&lines),
        reference: format!("Reservation {name}.\n"),
        tentative: true,
    })
}

/// What was announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// In one line.
    pub title: String,
    /// Names it will have, where they are known.
    pub advisories: BTreeSet<AdvisoryId>,
    /// The lane that is expected.
    pub lane: Lane,
}

/// A reservation's name: short, and the same whenever the same is reserved.
pub fn name_of(reservation: &Reservation, from: Timestamp) -> String {
    let text = format!("{reservation:?} {from}");
    hex(text.as_bytes()).get(..8).unwrap_or_default().to_owned()
}

/// The result of a plan, for a person.
pub fn result(
    kept: &Kept,
    outcome: &str,
    hosts: &BTreeMap<HostName, (HostState, Option<String>)>,
    ledger: Option<&Ledger>,
) -> (String, String) {
    let mut lines = Vec::new();
    if kept.plan.realm == Realm::Drill {
        lines.push("This was a drill. No real server was touched.".to_owned());
    }
    let mut by_state: BTreeMap<&str, usize> = BTreeMap::new();
    for (state, _) in hosts.values() {
        *by_state.entry(state.name()).or_default() += 1;
    }
    let counts: Vec<String> = by_state
        .iter()
        .map(|(state, number)| format!("{number} {state}"))
        .collect();
    lines.push(format!("Outcome: {outcome}; hosts: {}", counts.join(", ")));
    for (host, (state, why)) in hosts {
        if *state != HostState::Proven {
            let why = why.as_deref().unwrap_or("no reason is known");
            lines.push(format!("  {host} is {}: {why}", state.name()));
        }
    }
    if let Some(ledger) = ledger {
        lines.push(format!(
            "Messages sent to prove it: sent {}, delivered {}, duplicated {}, late {}, lost {}",
            ledger.sent, ledger.delivered, ledger.duplicated, ledger.late, ledger.lost
        ));
    }
    let id = kept.id.short();
    lines.push(format!(
        "Plan {id}: mailkeep plan show {id}; mailkeep rollout status {id}"
    ));
    let subject = format!(
        "{}Result: {} ({outcome})",
        rehearsal(kept.plan.realm),
        text::printable_max(&kept.plan.title, 80)
    );
    (subject, text_of(&lines))
}

/// SHA-256, in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        let _never_fails = write!(text, "{byte:02x}");
    }
    text
}
