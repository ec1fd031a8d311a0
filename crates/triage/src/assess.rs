//! One verdict on one host: decision, lane, deadline, and what was assumed on the way.

use std::borrow::Cow;
use std::fmt::Write as _;

use jiff::civil::Date;
use mailkeep_model::{
    Decision, Exposure, Finding, Fleet, Host, Lane, MissionPrevalence, Severity, Signal,
    SsvcAutomatable, SsvcExploitation, SsvcTechnicalImpact, Surface, TeamName, Urgency, Verdict,
    WellBeingImpact, text::day,
};

use crate::cvss::{CvssFacts, cvss_base_score};
use crate::policy::{Policy, Term, Within};
use crate::ssvc::{self, MissionWellBeing, technical_impact_name};

/// What triage must know of a host, and of the day.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// Whether strangers can reach its mail ports; `Unknown` is taken as exposed.
    pub exposure: Exposure,
    /// SSVC mission prevalence of what it carries; `None` is taken as essential.
    pub mission_prevalence: Option<MissionPrevalence>,
    /// SSVC public well-being impact of what it carries; `None` is taken as irreversible.
    pub well_being: Option<WellBeingImpact>,
    /// The team that answers for it.
    pub owner: Option<&'a TeamName>,
    /// Whether a mail process listens beyond loopback; `None` is not seen, and taken as open.
    pub mail_port_open: Option<bool>,
    /// The day from which the deadline counts.
    pub first_seen: Date,
    /// Whether a whole KEV feed is loaded, fresh or stale. Only then does it mean something that a
    /// CVE id is not in it: weeks can pass without a new entry, so that an old list still tells
    /// most. One partly read, or with a date in the future, tells nothing.
    pub kev_loaded: bool,
}

impl<'a> Context<'a> {
    /// The context of a declared host. It counts as much as the most critical of its services; a
    /// service that does not say how critical it is may be the most critical one.
    pub fn of_host(
        fleet: &'a Fleet,
        host: &'a Host,
        mail_port_open: Option<bool>,
        first_seen: Date,
        kev_loaded: bool,
    ) -> Self {
        let services = || host.services.iter().map(|name| fleet.services.get(name));
        Self {
            exposure: fleet.exposure_of(host),
            mission_prevalence: highest(
                services().map(|s| s?.mission_prevalence),
                MissionPrevalence::Essential,
            ),
            well_being: highest(
                services().map(|s| s?.criticality),
                WellBeingImpact::Irreversible,
            ),
            owner: fleet.owner_of(host),
            mail_port_open,
            first_seen,
            kev_loaded,
        }
    }
}

/// The highest of all; `None` where one is missing that could be higher, or there are none.
fn highest<T: Ord + Copy>(values: impl Iterator<Item = Option<T>>, top: T) -> Option<T> {
    let mut missing = false;
    let mut max = None;
    for value in values {
        missing |= value.is_none();
        max = max.max(value);
    }
    if missing && max != Some(top) {
        None
    } else {
        max
    }
}

/// How urgent a verdict is.
#[derive(Debug, Clone, PartialEq)]
pub struct Triaged {
    /// Qualitative severity: by the CVSS base score, else by the distributor's urgency.
    pub severity: Severity,
    /// CVSS base score, 0.0 to 10.0.
    pub score: Option<f64>,
    /// In CISA's catalogue of known exploited vulnerabilities.
    pub kev: bool,
    /// EPSS probability, 0 to 1.
    pub epss: Option<f32>,
    /// SSVC decision; `None` for `fixed` and `not-affected`.
    pub decision: Option<Decision>,
    /// Lane; `None` likewise.
    pub lane: Option<Lane>,
    /// Last day; `None` is the next regular upgrade.
    pub deadline: Option<Date>,
    /// The day from which the deadline counts.
    pub first_seen: Date,
    /// Whether the policy asks to search the host for traces of a break-in.
    pub forensics: bool,
    /// What decided, and every input that was assumed; each one printable line.
    pub notes: Vec<Cow<'static, str>>,
}

impl Triaged {
    /// Says it of the finding whose verdict was judged; the notes go to the end of the evidence.
    pub fn rate(mut self, finding: &mut Finding) {
        let notes = &mut finding.verdict.evidence.notes;
        if !self.notes.is_empty() {
            // These are most of them, and have the room.
            self.notes.splice(..0, notes.drain(..));
            *notes = self.notes;
        }
        finding.severity = self.severity;
        finding.score = self.score;
        finding.kev = self.kev;
        finding.epss = self.epss;
        finding.decision = self.decision;
        finding.lane = self.lane;
        finding.deadline = self.deadline;
        finding.first_seen = Some(self.first_seen);
    }
}

/// Judges one verdict.
///
/// `signals` are those of the advisory and all its aliases, in any order; where two contradict each
/// other the more urgent one counts. The lane is `emergency` for Act, and for an unauthenticated
/// network hole of total impact that is exploited, in mail software on an exposed mail port; else
/// `regular`. A finding that only waits for a restart, or is mitigated, is as urgent as the hole
/// itself, unless the policy has a term of its own for what is mitigated. The deadline policy's "in KEV" is met by known
/// exploitation, whoever knows it.
pub fn triage(
    verdict: &Verdict,
    signals: &[Signal],
    context: &Context<'_>,
    policy: &Policy,
) -> Triaged {
    let known = Known::gather(verdict, signals);
    let severity = severity(known.score, verdict.urgency);
    let mut triaged = Triaged {
        severity,
        score: known.score,
        kev: known.kev.is_some(),
        epss: known.epss,
        decision: None,
        lane: None,
        deadline: None,
        first_seen: context.first_seen,
        forensics: false,
        notes: Vec::new(),
    };
    if !verdict.status.is_finding() {
        return triaged;
    }
    let notes = &mut triaged.notes;
    // Rarely more: grown once, not four times.
    notes.reserve_exact(13);

    let exploitation = exploitation(&known, context.kev_loaded, notes);
    let automatable = automatable(&known, notes);
    let impact = technical_impact(&known, notes);
    let mission = context.mission_prevalence.unwrap_or_else(|| {
        notes.push(
            "mission prevalence not declared for what this host carries: taken as essential".into(),
        );
        MissionPrevalence::Essential
    });
    let well_being = context.well_being.unwrap_or_else(|| {
        notes.push(
            "criticality not declared for what this host carries: taken as irreversible".into(),
        );
        WellBeingImpact::Irreversible
    });
    let exposed = match context.exposure {
        Exposure::Exposed => true,
        Exposure::Internal => false,
        Exposure::Unknown => {
            notes.push("exposure not declared for this host or its zone: taken as exposed".into());
            true
        }
    };

    let mission_well_being = MissionWellBeing::combine(mission, well_being);
    let decision = ssvc::decide(exploitation, automatable, impact, mission_well_being);
    notes.push(
        ssvc::decision_sentence(exploitation, automatable, impact, mission_well_being).into(),
    );

    let exploited = exploitation == SsvcExploitation::Active;
    let open_to_all = exploited
        && exposed
        && verdict.surface == Surface::Mail
        && context.mail_port_open != Some(false)
        && impact == SsvcTechnicalImpact::Total
        && known
            .facts()
            .is_none_or(|facts| facts.network && facts.unauthenticated);
    if open_to_all {
        if known.vector.is_none() {
            notes.push(
                "no CVSS vector in any feed: taken as unauthenticated over the network".into(),
            );
        }
        if context.mail_port_open.is_none() {
            notes.push("listening ports not seen: a mail port is taken as open".into());
        }
        notes.push(
            "exploited, unauthenticated, over the network, on an exposed mail port: emergency"
                .into(),
        );
    }
    let lane = if decision == Decision::Act || open_to_all {
        Lane::Emergency
    } else {
        Lane::Regular
    };

    if exploited && known.kev.is_none() {
        notes.push("not in KEV, deadline as if it were: exploitation counts".into());
    }
    let mitigated = verdict.status == mailkeep_model::Status::Mitigated;
    let term_if = |mitigated| policy.term(exploited, exposed, mitigated, automatable, impact);
    let term = term_if(mitigated);
    let mut sentence = deadline_sentence(exploited, exposed, automatable, impact, term, context);
    if term != term_if(false) {
        sentence.push_str(", as the policy has it for what is mitigated");
    }
    notes.push(sentence.into());

    triaged.decision = Some(decision);
    triaged.lane = Some(lane);
    triaged.deadline = term.deadline(context.first_seen);
    triaged.forensics = term.forensics;
    triaged
}

/// What the policy was asked, and what it says. Every finding has this sentence: put together by hand it
/// takes a fifth of the time.
fn deadline_sentence(
    exploited: bool,
    exposed: bool,
    automatable: SsvcAutomatable,
    impact: SsvcTechnicalImpact,
    term: Term,
    context: &Context<'_>,
) -> String {
    let mut text = String::with_capacity(160);
    text.push_str(if exploited {
        "deadline policy: exploited"
    } else {
        "deadline policy: not exploited"
    });
    text.push_str(if exposed {
        ", exposed"
    } else {
        ", not exposed"
    });
    text.push_str(match automatable {
        SsvcAutomatable::No => ", not automatable, ",
        SsvcAutomatable::Yes => ", automatable, ",
    });
    text.push_str(technical_impact_name(impact));
    match term.within {
        Within::Days(days) => {
            let _infallible = write!(text, " impact: {days} days from ");
            match day(context.first_seen, &mut [0; 10]) {
                Some(day) => text.push_str(day),
                None => {
                    let _infallible = write!(text, "{}", context.first_seen);
                }
            }
        }
        Within::NextUpgrade => text.push_str(" impact: with the next upgrade"),
    }
    if term.forensics {
        text.push_str(", and search the host for traces of a break-in");
    }
    text
}

/// What the signals say, each at its most urgent.
#[derive(Debug, Default)]
struct Known<'a> {
    /// Since when in KEV, CISA's own due date, ransomware.
    kev: Option<(Date, Option<Date>, bool)>,
    epss: Option<f32>,
    exploitation: Option<SsvcExploitation>,
    automatable: Option<SsvcAutomatable>,
    technical_impact: Option<SsvcTechnicalImpact>,
    /// The vector that counts.
    vector: Option<&'a str>,
    /// Its base score.
    score: Option<f64>,
}

impl<'a> Known<'a> {
    fn gather(verdict: &'a Verdict, signals: &'a [Signal]) -> Self {
        let mut known = Self::default();
        let mut vectors = Vec::new();
        for signal in signals {
            match signal {
                Signal::Cvss { vector } => vectors.push(&**vector),
                Signal::Epss { score, .. } => {
                    if known.epss.is_none_or(|have| score.total_cmp(&have).is_gt()) {
                        known.epss = Some(*score);
                    }
                }
                Signal::Kev {
                    added,
                    due,
                    ransomware,
                } => {
                    let new = (*added, *due, *ransomware);
                    known.kev = Some(known.kev.map_or(new, |have| have.min(new)));
                }
                Signal::Ssvc {
                    exploitation,
                    automatable,
                    technical_impact,
                } => {
                    known.exploitation = known.exploitation.max(*exploitation);
                    known.automatable = known.automatable.max(*automatable);
                    known.technical_impact = known.technical_impact.max(*technical_impact);
                }
                Signal::Title { .. } | Signal::Weaknesses { .. } => {}
            }
        }
        known.choose_vector(verdict.cvss.as_deref(), &vectors);
        known
    }

    /// The verdict's own vector where it has a score; else, of the signals', the newest version of
    /// CVSS, and in it the highest score.
    fn choose_vector(&mut self, own: Option<&'a str>, others: &[&'a str]) {
        let scored = |vector: &'a str| cvss_base_score(vector).map(|score| (vector, score));
        let best = own.and_then(scored).or_else(|| {
            others.iter().copied().filter_map(scored).max_by(|a, b| {
                cvss_version(a.0)
                    .cmp(cvss_version(b.0))
                    .then(a.1.total_cmp(&b.1))
                    .then(b.0.cmp(a.0))
            })
        });
        if let Some((vector, score)) = best {
            self.vector = Some(vector);
            self.score = Some(score);
        }
    }

    /// What the vector says; `None` where there is none.
    fn facts(&self) -> Option<CvssFacts> {
        CvssFacts::read(self.vector?)
    }
}

/// The version a vector is written in; 2.0 has no prefix.
fn cvss_version(vector: &str) -> &str {
    vector
        .strip_prefix("CVSS:")
        .and_then(|rest| rest.split('/').next())
        .unwrap_or("2.0")
}

fn severity(score: Option<f64>, urgency: Option<Urgency>) -> Severity {
    match (score, urgency) {
        (Some(score), _) => Severity::from_score(score),
        (None, Some(Urgency::Unimportant)) => Severity::None,
        (None, Some(Urgency::Low)) => Severity::Low,
        (None, Some(Urgency::Medium)) => Severity::Medium,
        (None, Some(Urgency::High)) => Severity::High,
        (None, Some(Urgency::Critical)) => Severity::Critical,
        (None, Some(Urgency::NotYetAssigned) | None) => Severity::Unknown,
    }
}

fn exploitation(
    known: &Known<'_>,
    kev_loaded: bool,
    notes: &mut Vec<Cow<'static, str>>,
) -> SsvcExploitation {
    if let Some((added, due, ransomware)) = known.kev {
        let due = due.map_or_else(String::new, |due| format!(", CISA's own due date {due}"));
        let ransomware = if ransomware {
            ", used by ransomware"
        } else {
            ""
        };
        notes.push(
            format!(
                "in CISA's catalogue of known exploited vulnerabilities since \
                 {added}{due}{ransomware}"
            )
            .into(),
        );
        return SsvcExploitation::Active;
    }
    if let Some(given) = known.exploitation {
        return given;
    }
    if kev_loaded {
        notes.push("exploitation not given by any feed and not in KEV: taken as poc".into());
        SsvcExploitation::Poc
    } else {
        notes.push(
            "exploitation not given by any feed and no usable KEV feed: taken as active".into(),
        );
        SsvcExploitation::Active
    }
}

fn automatable(known: &Known<'_>, notes: &mut Vec<Cow<'static, str>>) -> SsvcAutomatable {
    if let Some(given) = known.automatable {
        return given;
    }
    let hindrance = match known.facts() {
        Some(facts) if !facts.network => Some("not over the network"),
        Some(facts) if !facts.unauthenticated => Some("needs an account"),
        Some(facts) if !facts.no_user_interaction => Some("needs a user to help"),
        Some(_) | None => None,
    };
    if let Some(hindrance) = hindrance {
        notes.push(
            format!("automatable not given by any feed: no, by the CVSS vector ({hindrance})")
                .into(),
        );
        return SsvcAutomatable::No;
    }
    notes.push("automatable not given by any feed: taken as yes".into());
    SsvcAutomatable::Yes
}

fn technical_impact(known: &Known<'_>, notes: &mut Vec<Cow<'static, str>>) -> SsvcTechnicalImpact {
    if let Some(given) = known.technical_impact {
        return given;
    }
    if known.facts().is_some_and(|facts| !facts.total_impact) {
        notes.push(
            "technical impact not given by any feed: partial, by the CVSS vector (neither \
             confidentiality nor integrity is wholly lost)"
                .into(),
        );
        return SsvcTechnicalImpact::Partial;
    }
    notes.push("technical impact not given by any feed: taken as total".into());
    SsvcTechnicalImpact::Total
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use jiff::civil::date;
    use mailkeep_model::{Service, ServiceName, Status};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{finding, quiet_context, verdict};

    const RCE: &str = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
    const LOCAL_DOS: &str = "CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:N/I:N/A:H";

    fn kev() -> Signal {
        Signal::Kev {
            added: date(2023, 10, 3),
            due: Some(date(2023, 10, 24)),
            ransomware: true,
        }
    }

    fn ssvc(
        exploitation: SsvcExploitation,
        automatable: SsvcAutomatable,
        technical_impact: SsvcTechnicalImpact,
    ) -> Signal {
        Signal::Ssvc {
            exploitation: Some(exploitation),
            automatable: Some(automatable),
            technical_impact: Some(technical_impact),
        }
    }

    fn quiet() -> Signal {
        ssvc(
            SsvcExploitation::None,
            SsvcAutomatable::No,
            SsvcTechnicalImpact::Partial,
        )
    }

    fn with_cvss(vector: &str) -> Verdict {
        let mut verdict = verdict("CVE-2023-42115", Status::FixAvailable);
        verdict.cvss = Some(vector.into());
        verdict
    }

    fn judge(verdict: &Verdict, signals: &[Signal], context: &Context<'_>) -> Triaged {
        triage(verdict, signals, context, &Policy::default())
    }

    fn says(triaged: &Triaged, text: &str) -> bool {
        triaged.notes.iter().any(|note| note.contains(text))
    }

    #[test]
    fn what_all_feeds_give_is_taken_as_given() {
        let triaged = judge(&with_cvss(RCE), &[quiet()], &quiet_context());
        assert_eq!(triaged.decision, Some(Decision::Track));
        assert_eq!(triaged.lane, Some(Lane::Regular));
        assert_eq!(triaged.deadline, None);
        assert!(!says(&triaged, "taken as"), "{:?}", triaged.notes);
        assert_eq!(triaged.severity, Severity::Critical);
        assert_eq!(triaged.score, Some(9.8));
    }

    #[test]
    fn kev_outweighs_a_vulnrichment_record_that_says_none() {
        let triaged = judge(&with_cvss(RCE), &[quiet(), kev()], &quiet_context());
        assert!(triaged.kev);
        assert!(says(&triaged, "exploitation active"));
        assert!(says(&triaged, "since 2023-10-03"));
        assert!(says(&triaged, "used by ransomware"));
    }

    #[test]
    fn absence_from_a_loaded_kev_is_evidence_and_absence_of_kev_is_none() {
        let mut context = quiet_context();
        let triaged = judge(&with_cvss(RCE), &[], &context);
        assert!(says(&triaged, "not in KEV: taken as poc"));
        context.kev_loaded = false;
        let triaged = judge(&with_cvss(RCE), &[], &context);
        assert!(says(&triaged, "no usable KEV feed: taken as active"));
        assert!(!triaged.kev, "an assumption is not a listing");
    }

    #[test]
    fn a_cve_nobody_wrote_about_does_not_become_act_where_kev_is_loaded() {
        let mut context = quiet_context();
        context.exposure = Exposure::Unknown;
        context.mission_prevalence = None;
        context.well_being = None;
        context.mail_port_open = None;
        let triaged = judge(&verdict("CVE-2026-1", Status::NoFix), &[], &context);
        assert_eq!(triaged.decision, Some(Decision::Attend));
        assert_eq!(triaged.lane, Some(Lane::Regular));
        for assumed in [
            "automatable not given by any feed: taken as yes",
            "technical impact not given by any feed: taken as total",
            "mission prevalence not declared",
            "criticality not declared",
            "exposure not declared",
        ] {
            assert!(says(&triaged, assumed), "{assumed}: {:?}", triaged.notes);
        }
    }

    #[test]
    fn a_cvss_vector_says_what_feeds_left_out() {
        let triaged = judge(&with_cvss(LOCAL_DOS), &[], &quiet_context());
        assert!(says(
            &triaged,
            "no, by the CVSS vector (not over the network)"
        ));
        assert!(says(&triaged, "partial, by the CVSS vector"));
    }

    #[test]
    fn an_exploited_remote_hole_on_an_exposed_mail_port_is_an_emergency_below_act() {
        let mut context = quiet_context();
        context.exposure = Exposure::Exposed;
        context.mail_port_open = Some(true);
        let triaged = judge(&with_cvss(RCE), &[kev()], &context);
        assert_eq!(
            triaged.decision,
            Some(Decision::Attend),
            "the host is of little weight"
        );
        assert_eq!(triaged.lane, Some(Lane::Emergency));
        assert!(triaged.forensics);
        assert_eq!(triaged.deadline, Some(date(2026, 11, 24)));
    }

    #[test]
    fn every_condition_of_that_emergency_is_needed() {
        let mut exposed = quiet_context();
        exposed.exposure = Exposure::Exposed;
        exposed.mail_port_open = None;
        let lane = |verdict: &Verdict, signals: &[Signal], context: &Context<'_>| {
            judge(verdict, signals, context).lane
        };
        let emergency = Some(Lane::Emergency);
        let regular = Some(Lane::Regular);
        assert_eq!(lane(&with_cvss(RCE), &[kev()], &exposed), emergency);

        assert_eq!(
            lane(&with_cvss(RCE), &[], &exposed),
            regular,
            "not exploited"
        );
        let mut closed = exposed.clone();
        closed.mail_port_open = Some(false);
        assert_eq!(lane(&with_cvss(RCE), &[kev()], &closed), regular, "no port");
        let mut internal = exposed.clone();
        internal.exposure = Exposure::Internal;
        assert_eq!(
            lane(&with_cvss(RCE), &[kev()], &internal),
            regular,
            "internal"
        );
        let mut other = with_cvss(RCE);
        other.surface = Surface::Dependency;
        assert_eq!(
            lane(&other, &[kev()], &exposed),
            regular,
            "no mail software"
        );
        let login = "CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H";
        assert_eq!(
            lane(&with_cvss(login), &[kev()], &exposed),
            regular,
            "login"
        );
        let partial = ssvc(
            SsvcExploitation::Active,
            SsvcAutomatable::Yes,
            SsvcTechnicalImpact::Partial,
        );
        assert_eq!(
            lane(&with_cvss(RCE), &[partial], &exposed),
            regular,
            "partial"
        );
    }

    #[test]
    fn a_restart_pending_hole_keeps_the_urgency_of_the_hole() {
        let mut context = quiet_context();
        context.mission_prevalence = Some(MissionPrevalence::Essential);
        let open = judge(&with_cvss(RCE), &[kev()], &context);
        for status in [Status::RestartPending, Status::Mitigated, Status::Unknown] {
            let mut verdict = with_cvss(RCE);
            verdict.status = status;
            assert_eq!(judge(&verdict, &[kev()], &context), open);
        }
        assert_eq!(open.lane, Some(Lane::Emergency));
    }

    #[test]
    fn what_is_fixed_gets_no_decision() {
        for status in [Status::Fixed, Status::NotAffected] {
            let triaged = judge(
                &verdict("CVE-2023-42115", status),
                &[kev()],
                &quiet_context(),
            );
            assert_eq!(
                (triaged.decision, triaged.lane, triaged.deadline),
                (None, None, None)
            );
            assert!(triaged.kev, "what is known stays known");
            assert!(triaged.notes.is_empty());
        }
    }

    #[test]
    fn exploitation_counts_for_the_deadline_whoever_knows_it() {
        let active = ssvc(
            SsvcExploitation::Active,
            SsvcAutomatable::No,
            SsvcTechnicalImpact::Total,
        );
        let triaged = judge(&with_cvss(RCE), &[active], &quiet_context());
        assert_eq!(triaged.deadline, Some(date(2026, 12, 5)));
        assert!(says(&triaged, "not in KEV"));
    }

    #[test]
    fn epss_is_no_input_of_the_decision() {
        let mut signals = vec![quiet()];
        let without = judge(&with_cvss(RCE), &signals, &quiet_context());
        signals.push(Signal::Epss {
            score: 0.97,
            percentile: 0.999,
        });
        let with = judge(&with_cvss(RCE), &signals, &quiet_context());
        assert_eq!(with.epss, Some(0.97));
        assert_eq!(Triaged { epss: None, ..with }, without);
    }

    #[test]
    fn urgency_stands_in_where_nobody_scored() {
        let mut verdict = verdict("CVE-2026-1000", Status::NoFix);
        verdict.urgency = Some(Urgency::Unimportant);
        assert_eq!(
            judge(&verdict, &[], &quiet_context()).severity,
            Severity::None
        );
        verdict.urgency = Some(Urgency::NotYetAssigned);
        assert_eq!(
            judge(&verdict, &[], &quiet_context()).severity,
            Severity::Unknown
        );
        verdict.cvss = Some("not a vector".into());
        let signal = Signal::Cvss { vector: RCE.into() };
        let triaged = judge(&verdict, &[signal], &quiet_context());
        assert_eq!(
            triaged.severity,
            Severity::Critical,
            "an unreadable vector is passed over"
        );
    }

    #[test]
    fn a_host_weighs_as_much_as_its_most_critical_service() {
        let name = |text| ServiceName::new(text).unwrap();
        let service = |mission_prevalence| Service {
            mission_prevalence,
            criticality: Some(WellBeingImpact::Minimal),
            ..Service::default()
        };
        let fleet = Fleet {
            services: BTreeMap::from([
                (name("mailbox"), service(Some(MissionPrevalence::Essential))),
                (name("relay"), service(Some(MissionPrevalence::Minimal))),
                (name("unsaid"), service(None)),
            ]),
            ..Fleet::default()
        };
        for (services, expected) in [
            (vec!["relay"], Some(MissionPrevalence::Minimal)),
            (vec!["relay", "mailbox"], Some(MissionPrevalence::Essential)),
            (vec!["relay", "unsaid"], None),
            (
                vec!["mailbox", "unsaid"],
                Some(MissionPrevalence::Essential),
            ),
            (vec![], None),
        ] {
            let host = Host {
                services: services.iter().map(|s| name(s)).collect::<BTreeSet<_>>(),
                ..Host::default()
            };
            let context = Context::of_host(&fleet, &host, None, date(2026, 11, 21), true);
            assert_eq!(context.mission_prevalence, expected, "{services:?}");
        }
    }

    #[test]
    fn notes_end_up_in_the_evidence() {
        let triaged = judge(&with_cvss(RCE), &[kev()], &quiet_context());
        let notes = triaged.notes.clone();
        let mut finding = finding("mx1", "CVE-2023-42115");
        finding.verdict.evidence.notes = vec!["seen before".into()];
        triaged.rate(&mut finding);
        let (before, after) = finding.verdict.evidence.notes.split_at(1);
        assert_eq!((before, after), (&["seen before".into()][..], &notes[..]));
        assert!(finding.kev);
    }

    fn any_signal() -> impl Strategy<Value = Signal> {
        let exploitation = prop_oneof![
            Just(None),
            Just(Some(SsvcExploitation::None)),
            Just(Some(SsvcExploitation::Poc)),
            Just(Some(SsvcExploitation::Active))
        ];
        let automatable = prop_oneof![
            Just(None),
            Just(Some(SsvcAutomatable::No)),
            Just(Some(SsvcAutomatable::Yes))
        ];
        let impact = prop_oneof![
            Just(None),
            Just(Some(SsvcTechnicalImpact::Partial)),
            Just(Some(SsvcTechnicalImpact::Total))
        ];
        prop_oneof![
            (exploitation, automatable, impact).prop_map(|(e, a, i)| Signal::Ssvc {
                exploitation: e,
                automatable: a,
                technical_impact: i
            }),
            "(CVSS:3.1/)?(AV:[NALP]/)?(PR:[NLH]/)?(C:[NLHPC]/)?.{0,20}"
                .prop_map(|v| Signal::Cvss { vector: v.into() }),
            Just(Signal::Cvss { vector: RCE.into() }),
            Just(kev()),
            (any::<f32>(), any::<f32>())
                .prop_map(|(score, percentile)| Signal::Epss { score, percentile }),
        ]
    }

    proptest! {
        #[test]
        fn the_order_of_signals_does_not_matter(
            signals in proptest::collection::vec(any_signal(), 0..6),
            vector in proptest::option::of("(CVSS:3.1/)?AV:[NL]/.{0,30}"),
        ) {
            let mut verdict = verdict("CVE-2026-1000", Status::FixAvailable);
            verdict.cvss = vector.map(Into::into);
            let forward = judge(&verdict, &signals, &quiet_context());
            let mut reversed = signals.clone();
            reversed.reverse();
            let backward = judge(&verdict, &reversed, &quiet_context());
            prop_assert_eq!(format!("{forward:?}"), format!("{backward:?}"));
        }

        #[test]
        fn knowing_less_of_a_host_never_makes_a_finding_less_urgent(
            signals in proptest::collection::vec(any_signal(), 0..4),
        ) {
            let verdict = verdict("CVE-2026-1000", Status::FixAvailable);
            let known = judge(&verdict, &signals, &quiet_context());
            let unknown = judge(&verdict, &signals, &Context {
                exposure: Exposure::Unknown,
                mission_prevalence: None,
                well_being: None,
                mail_port_open: None,
                kev_loaded: false,
                ..quiet_context()
            });
            prop_assert!(unknown.decision >= known.decision);
            prop_assert!(unknown.lane <= known.lane);
            prop_assert!(
                (unknown.deadline.is_none(), unknown.deadline)
                    <= (known.deadline.is_none(), known.deadline)
            );
        }
    }
}
