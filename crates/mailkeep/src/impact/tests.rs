use mailkeep_facts::impact::parse_impact;
use mailkeep_model::{
    FactsSource, Host, InstalledPackage, MailProcess, MailRole, OsRelease, Seen, Service,
};

use super::*;

const REPORT: &str = "MAILKEEP-FACTS 1 n0\n\
\n=n0 simulate\n\
Inst exim4-base [4.96-15] (4.96-15+deb12u7 Debian-Security:12/stable [amd64])\n\
Inst exim4-config [4.96-15] (4.96-15+deb12u7 Debian-Security:12/stable [all])\n\
Remv exim4-daemon-heavy [4.96-15]\n\
\n=n0 held\nexim4-base\n\
\n=n0 package exim4-base=4.96-15+deb12u7\n4.96-15\n\
\n=n0 conffiles exim4-base\n\
00000000000000000000000000000001|00000000000000000000000000000002|00000000000000000000000000000003|/etc/cron.daily/exim4-base\n\
\n=n0 changelog exim4-base\n\
exim4 (4.96-15+deb12u7) bookworm-security; urgency=high\n\n  * Fix CVE-2025-30232.\n\
\n=n0 news exim4-base\n\
exim4 (4.96-15+deb12u5) bookworm; urgency=low\n\n  Look at tainted data.\n\n\
exim4 (4.94-1) unstable; urgency=low\n\n  Old news.\n\
\n=n0 end\n";

fn facts() -> HostFacts {
    let package = |name: &str| InstalledPackage {
        name: name.into(),
        version: "4.96-15".into(),
        arch: "amd64".into(),
        source: "exim4".into(),
        source_version: "4.96-15".into(),
        ecosystem: None,
        module: None,
        vendor: None,
        depends: Vec::new(),
        provides: Vec::new(),
    };
    let process = |pid: u32, name: &str, maps: &[&str]| MailProcess {
        pid,
        name: name.to_owned(),
        roles: vec![MailRole::Smtp],
        executable: format!("/usr/sbin/{name}"),
        package: None,
        package_version: None,
        stale: Seen::Yes(Vec::new()),
        maps: Seen::Yes(maps.iter().map(|m| (*m).into()).collect()),
        started_at: None,
    };
    HostFacts {
        host: HostName::new("mx1").unwrap(),
        seen_at: Timestamp::UNIX_EPOCH,
        source: FactsSource::Ssh,
        os: OsRelease::default(),
        platform: None,
        packages: vec![package("exim4-base"), package("exim4-config")],
        processes: Seen::Yes(vec![
            process(10, "exim4", &["exim4-base", "libc6"]),
            process(11, "exim4", &["exim4-base"]),
            process(12, "dovecot", &["dovecot-core"]),
        ]),
        listeners: Seen::No,
        candidates: Seen::No,
        limitations: Vec::new(),
    }
}

fn fleet(minimum: u32) -> Fleet {
    let mut fleet = Fleet::default();
    let service = ServiceName::new("inbound-mx").unwrap();
    let region = RegionName::new("eu").unwrap();
    for name in ["mx1", "mx2"] {
        fleet.hosts.insert(
            HostName::new(name).unwrap(),
            Host {
                region: Some(region.clone()),
                services: BTreeSet::from([service.clone()]),
                ..Host::default()
            },
        );
    }
    fleet.services.insert(
        service,
        Service {
            minimum: BTreeMap::from([(region, minimum)]),
            ..Service::default()
        },
    );
    fleet
}

fn impact(minimum: u32) -> Impact {
    impact_while(minimum, &BTreeSet::new())
}

fn impact_while(minimum: u32, out_of_service: &BTreeSet<HostName>) -> Impact {
    let report = parse_impact(REPORT.as_bytes()).unwrap();
    let interruption = history::expect(&[], "exim");
    assess(Known {
        now: Timestamp::UNIX_EPOCH,
        out_of_service,
        fleet: &fleet(minimum),
        facts: &facts(),
        findings: &[],
        report: &report,
        interruption: &interruption,
    })
}

#[test]
fn everything_that_needs_a_look_is_named_once() {
    let kinds: Vec<String> = impact(2)
        .cautions
        .iter()
        .map(|caution| {
            let value = serde_json::to_value(caution).unwrap();
            value["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "below-minimum",
            "removes",
            "held",
            "news",
            "configuration-conflict"
        ]
    );
}

#[test]
fn only_news_newer_than_the_installed_version_count() {
    let impact = impact(1);
    let news: Vec<&str> = impact.packages[0]
        .news
        .iter()
        .map(|e| &*e.version)
        .collect();
    assert_eq!(news, ["4.96-15+deb12u5"]);
    assert!(
        impact.packages[0]
            .closes
            .contains(&AdvisoryId::new("CVE-2025-30232").unwrap())
    );
}

#[test]
fn what_comes_along_is_told_apart_from_what_was_asked_for() {
    let impact = impact(1);
    assert_eq!(impact.pulled_in.len(), 1);
    assert_eq!(impact.pulled_in[0].name, "exim4-config");
}

#[test]
fn only_processes_that_run_changed_code_are_restarted() {
    let impact = impact(1);
    assert_eq!(impact.processes.len(), 1);
    assert_eq!(
        (&*impact.processes[0].name, impact.processes[0].count),
        ("exim4", 2)
    );
}

#[test]
fn one_server_of_two_leaves_one() {
    let service = &impact(1).services[0];
    assert_eq!((service.in_service, service.left), (2, 1));
    assert!(!service.is_below_minimum());
    assert!(impact(2).services[0].is_below_minimum());
}

#[test]
fn a_server_that_is_down_carries_nothing_meanwhile() {
    let out = |name| BTreeSet::from([HostName::new(name).unwrap()]);
    let service = &impact_while(1, &out("mx2")).services[0];
    assert_eq!((service.in_service, service.left), (1, 0));
    assert!(service.is_below_minimum());
    // What is out already takes nothing away.
    let service = &impact_while(1, &out("mx1")).services[0];
    assert_eq!((service.in_service, service.left), (1, 1));
}

#[test]
fn what_was_not_asked_is_never_called_harmless() {
    let mut impact = impact(1);
    impact.cautions.clear();
    let page = |impact: &Impact| {
        let mut page = Vec::new();
        super::html::write(impact, &mut page).unwrap();
        String::from_utf8(page).unwrap()
    };
    assert!(page(&impact).contains("Nothing speaks against it."));
    impact.limitations.push("the news".to_owned());
    assert!(!page(&impact).contains("Nothing speaks against it."));
}

#[test]
fn the_text_and_the_page_name_what_matters() {
    let impact = impact(2);
    let mut text = Vec::new();
    super::text::write(&impact, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let mut page = Vec::new();
    super::html::write(&impact, &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    for word in [
        "CVE-2025-30232",
        "exim4-daemon-heavy",
        "/etc/cron.daily/exim4-base",
        "4.96-15+deb12u7",
    ] {
        assert!(text.contains(word), "{word}: {text}");
        assert!(page.contains(word), "{word}: {page}");
    }
    assert!(text.contains("BELOW its minimum of 2"), "{text}");
}
