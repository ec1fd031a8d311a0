//! Small builders for this crate's tests.

use jiff::civil::date;
use mailkeep_model::{
    AdvisoryId, Ecosystem, Evidence, Exposure, FeedId, Finding, HostName, MissionPrevalence,
    Platform, Rule, Status, Surface, Verdict, WellBeingImpact,
};

use crate::Context;

pub(crate) fn id(text: &str) -> AdvisoryId {
    AdvisoryId::new(text).unwrap()
}

pub(crate) fn host(text: &str) -> HostName {
    HostName::new(text).unwrap()
}

pub(crate) fn verdict(advisory: &str, status: Status) -> Verdict {
    Verdict {
        advisory: id(advisory),
        aliases: vec![],
        title: "".into(),
        platform: Platform::new(Ecosystem::Debian, "bookworm"),
        package: "exim4".into(),
        binaries: vec!["exim4-daemon-light".into()],
        installed: "4.96-15+deb12u1".into(),
        fixed: Some("4.96-15+deb12u2".into()),
        status,
        surface: Surface::Mail,
        urgency: None,
        cvss: None,
        evidence: Evidence {
            source: FeedId::new("debian-tracker").unwrap(),
            rule: Rule::DistributorFixedVersion,
            compared: None,
            reason: "installed is older than the fix".into(),
            unknown: None,
            source_stale: false,
            others: vec![],
            notes: vec![],
        },
    }
}

pub(crate) fn finding(on: &str, advisory: &str) -> Finding {
    Finding::untriaged(host(on), verdict(advisory, Status::FixAvailable))
}

/// An internal host of little weight, everything declared and seen.
pub(crate) fn quiet_context() -> Context<'static> {
    Context {
        exposure: Exposure::Internal,
        mission_prevalence: Some(MissionPrevalence::Minimal),
        well_being: Some(WellBeingImpact::Minimal),
        owner: None,
        mail_port_open: Some(false),
        first_seen: date(2026, 11, 21),
        kev_loaded: true,
    }
}
