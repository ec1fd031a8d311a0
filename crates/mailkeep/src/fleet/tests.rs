//! Claims about the fleet file and its gaps.
#![expect(
    clippy::format_collect,
    reason = "a test builds its text in the shortest way"
)]

use jiff::{SignedDuration, Timestamp};
use mailkeep_model::{
    Exposure, FeedKind, HostName, Lifecycle, MissionPrevalence, RegionName, ServiceName,
    SsvcAutomatable, SsvcTechnicalImpact, WellBeingImpact,
};
use mailkeep_triage::{Policy, Within};
use proptest::prelude::*;

use super::*;

const SMALL: &str = r#"
global_team = "postmasters"
[teams.postmasters]
email = "postmaster@harbour.example"
[regions.eu]
time_zone = "Europe/Berlin"
owner = "postmasters"
pilot = true
windows = [{ rrule = "FREQ=WEEKLY;BYDAY=SU;BYHOUR=1;BYMINUTE=30", duration = "2h" }]
[zones.dmz]
exposed = true
[zones.internal]
exposed = false
[services.inbound-mx]
owner = "postmasters"
criticality = "material"
mission_prevalence = "essential"
minimum = 1
probe = { from = "probe@harbour.example", to = "probe@harbour.example", mailbox = "/var/mail/probe" }
[hosts."mx1.harbour.example"]
region = "eu"
zone = "dmz"
services = ["inbound-mx"]
family = "postfix"
[hosts.mx2]
region = "eu"
zone = "internal"
services = "inbound-mx"
family = "exim"
jump = ["bastion", "inner"]
port = 2222
"#;

fn mistakes(text: &str) -> Vec<Fault> {
    match parse(text).unwrap_err() {
        FleetError::Mistakes(faults) => faults.faults,
        other @ FleetError::TooLarge { .. } => panic!("{other}"),
    }
}

fn only_mistake(text: &str) -> Fault {
    let mut faults = mistakes(text);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults.remove(0)
}

fn with(extra: &str) -> String {
    format!("{SMALL}{extra}\n")
}

#[test]
fn a_small_fleet_is_read_whole() {
    let (file, problems) = parse(SMALL).unwrap();
    assert_eq!(problems, []);
    let fleet = &file.fleet;
    let mx1 = &fleet.hosts["mx1.harbour.example"];
    assert_eq!(fleet.exposure_of(mx1), Exposure::Exposed);
    let mx2 = &fleet.hosts["mx2"];
    assert_eq!(fleet.exposure_of(mx2), Exposure::Internal);
    assert_eq!(mx2.access.port, Some(2222));
    assert_eq!(mx2.access.jump, ["bastion", "inner"]);
    assert_eq!(mx2.lifecycle, Lifecycle::Running);
    let service = &fleet.services["inbound-mx"];
    assert_eq!(service.minimum_in(&RegionName::new("eu").unwrap()), Some(1));
    assert_eq!(service.criticality, Some(WellBeingImpact::Material));
    assert_eq!(
        service.mission_prevalence,
        Some(MissionPrevalence::Essential)
    );
    let window = &fleet.regions["eu"].windows[0];
    assert_eq!(window.duration, SignedDuration::from_hours(2));
    assert_eq!(file.policy, Policy::default());
    assert_eq!(file.scan, ScanSettings::default());
}

#[test]
fn an_empty_file_is_an_empty_fleet() {
    let (file, problems) = parse("").unwrap();
    assert!(file.fleet.hosts.is_empty());
    assert_eq!(problems, []);
}

#[test]
fn an_unknown_name_is_told_with_its_place_and_the_name_that_was_meant() {
    for (extra, place, hint) in [
        ("[hosts.a]\nregion = \"ue\"", "hosts.a.region", "\"eu\""),
        ("[hosts.a]\nzone = \"dnz\"", "hosts.a.zone", "\"dmz\""),
        (
            "[hosts.a]\nowner = \"postmaster\"",
            "hosts.a.owner",
            "\"postmasters\"",
        ),
        (
            "[hosts.a]\nservices = [\"inbound\", \"inbund-mx\"]",
            "hosts.a.services[0]",
            "declare it: [services.inbound]",
        ),
        (
            "[services.s]\nminimum = { EU = 1 }",
            "services.s.minimum.EU",
            "\"eu\"",
        ),
        (
            "[regions.r]\ntime_zone = \"UTC\"\nowner = \"x\"",
            "regions.r.owner",
            "declare it: [teams.x]",
        ),
    ] {
        let fault = &mistakes(&with(extra))[0];
        assert_eq!(fault.place, place);
        assert!(fault.hint.as_deref().unwrap().contains(hint), "{fault}");
        assert!(fault.line > SMALL.lines().count());
    }
}

#[test]
fn an_unknown_key_is_a_mistake_with_a_hint() {
    let fault = only_mistake(&with("[hosts.a]\nexpose = false"));
    assert_eq!(
        fault.to_string(),
        "line 33: hosts.a.expose: there is no key called \"expose\" here\n  33 | expose = false\n     | ^^^^^^\n  hint: did you mean \"exposed\"?"
    );
    let fault = only_mistake("[host.mx1]\n");
    assert_eq!(fault.hint.unwrap(), "did you mean \"hosts\"?");
    let fault = only_mistake(&with("[zones.z]\nexposed = true\ncolour = 1"));
    assert_eq!(fault.hint.unwrap(), "known here: exposed");
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let faults = mistakes(&with(
        "[hosts.b]\nport = 70000\n[hosts.a]\nlifecycle = \"runing\"\nexposed = \"yes\"\n[zones.z]",
    ));
    let places: Vec<_> = faults.iter().map(|f| f.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "hosts.b.port",
            "hosts.a.lifecycle",
            "hosts.a.exposed",
            "zones.z"
        ]
    );
    assert!(faults[0].message.contains("a whole number, 1 to 65535"));
    assert_eq!(faults[1].hint.as_deref(), Some("did you mean \"running\"?"));
    assert!(
        faults[2]
            .message
            .contains("expected true or false, found a text")
    );
}

#[test]
fn two_hosts_of_one_name_are_told_with_both_lines() {
    let fault = only_mistake("[hosts.mx1]\nport = 22\n\n[hosts.\"mx1\"]\nport = 25\n");
    assert!(
        fault.message.ends_with("is there twice, on lines 1 and 4"),
        "{fault}"
    );
    let fault = only_mistake("[hosts.mx1]\nport = 22\nport = 25\n");
    assert_eq!(fault.message, "port is there twice, on lines 2 and 3");
    let fault = only_mistake("[hosts.mx1]\n[hosts.MX1]\n");
    assert!(fault.message.contains("same host as"), "{fault}");
}

#[test]
fn what_ssh_would_take_for_an_option_is_refused() {
    for extra in [
        "[hosts.-oProxyCommand]",
        "[hosts.a]\naddress = \"-oProxyCommand=x\"",
        "[hosts.a]\nuser = \"-l\"",
        "[hosts.a]\njump = [\"ok\", \"-x\"]",
        "[hosts.a]\naddress = \"a b\"",
        "[hosts.a]\naddress = \"a\\u001b[31m\"",
    ] {
        let fault = only_mistake(&with(extra));
        assert!(fault.message.starts_with("must not"), "{fault}");
        assert!(!fault.to_string().contains('\u{1b}'));
    }
}

#[test]
fn windows_follow_rfc_5545_and_need_no_start_date() {
    let region = |rrule: &str, duration: &str| {
        format!(
            "[regions.eu]\ntime_zone = \"UTC\"\nwindows = [{{ rrule = \"{rrule}\", duration = \"{duration}\" }}]\n"
        )
    };
    for rrule in [
        "FREQ=WEEKLY;BYDAY=SU;BYHOUR=1;BYMINUTE=30",
        "RRULE:FREQ=MONTHLY;BYDAY=2TU;BYHOUR=22",
        "freq=daily;byhour=3",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYHOUR=4",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;BYHOUR=20",
    ] {
        assert!(parse(&region(rrule, "PT2H30M")).is_ok(), "{rrule}");
    }
    for (rrule, says) in [
        ("FREQ=WEEKLY;BYDAY=SO;BYHOUR=1", "not a valid weekday"),
        ("FREQ=WEEKLY;BYDAY=SU;BYHOUR=25", "BYHOUR"),
        ("FREQ=WEEKLY;BYHUOR=1", "BYHUOR"),
        ("FREQ=WEEKLY;BYDAY=SU", "BYHOUR is missing"),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=SU;BYHOUR=1", "INTERVAL"),
        ("FREQ=WEEKLY;COUNT=3;BYDAY=SU;BYHOUR=1", "COUNT"),
        ("FREQ=HOURLY;BYHOUR=1;BYMINUTE=1", "daily, weekly, monthly"),
        (
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;BYHOUR=1",
            "never comes",
        ),
        ("FREQ=WEEKLY;BYDAY=\u{e9}U;BYHOUR=1", "only ASCII"),
        ("FREQ=WEEKLY;BYDAY=MO,\u{fffd}U;BYHOUR=1", "only ASCII"),
        ("FREQ=MONTHLY;BYDAY=5.SU;BYHOUR=1", "not a valid weekday"),
        ("FREQ=MONTHLY;BYDAY=-+1SU;BYHOUR=1", "not a valid weekday"),
        ("FREQ=MONTHLY;BYDAY=0SU;BYHOUR=1", "not a valid weekday"),
        ("FREQ=MONTHLY;BYDAY=99999SU;BYHOUR=1", "not a valid weekday"),
        ("every sunday", "no usable recurrence rule"),
        ("", "no usable recurrence rule"),
    ] {
        let fault = only_mistake(&region(rrule, "2h"));
        assert!(fault.message.contains(says), "{rrule}: {fault}");
    }
    let fault = only_mistake(&region("FREQ=WEEKLY;BYDAY=SO;BYHOUR=1", "2h"));
    assert!(fault.to_string().contains("| "), "{fault}");
    for (duration, says) in [
        ("-2h", "more than nothing"),
        ("0s", "more than nothing"),
        ("8d", "longer than 7 days"),
        ("two hours", "no length of time"),
        ("1 month", "no length of time"),
    ] {
        let fault = only_mistake(&region("FREQ=DAILY;BYHOUR=1", duration));
        assert!(fault.message.contains(says), "{duration}: {fault}");
    }
}

#[test]
fn a_mistake_in_a_rule_is_pointed_at() {
    let fault = only_mistake(
        "[regions.eu]\ntime_zone = \"UTC\"\nwindows = [{ rrule = \"FREQ=WEEKLY;BYDAY=SO;BYHOUR=1\", duration = \"2h\" }]\n",
    );
    let shown = fault.to_string();
    let lines: Vec<_> = shown.lines().collect();
    let at = lines[1].find("BYDAY=SO").unwrap();
    assert_eq!(lines[2].find('^'), Some(at), "{shown}");
    assert!(lines[2].ends_with("^^^^^^^^"));
}

#[test]
fn a_time_zone_is_one_of_the_iana_database() {
    let fault = only_mistake("[regions.eu]\ntime_zone = \"Europe/Berlim\"\n");
    assert_eq!(fault.hint.unwrap(), "did you mean \"Europe/Berlin\"?");
    assert!(only_mistake("[regions.eu]\n").message.contains("time_zone"));
    assert!(parse("[regions.eu]\ntime_zone = \"Asia/Kolkata\"\n").is_ok());
}

#[test]
fn a_policy_changes_deadlines_and_its_mistakes_have_a_place() {
    let text = "[[policy.deadline]]\nkev = true\nwithin = 1\n";
    let (file, _) = parse(text).unwrap();
    let term = file.policy.term(
        true,
        false,
        false,
        SsvcAutomatable::No,
        SsvcTechnicalImpact::Partial,
    );
    assert_eq!(term.within, Within::Days(1));
    let fault = only_mistake("\n[[policy.deadline]]\nkev = true\nwithin = \"soon\"\n");
    assert!(fault.message.contains("next-upgrade"), "{fault}");
    let fault = only_mistake("[[policy.deadline]]\nkevv = true\nwithin = 1\n");
    assert!(fault.message.contains("kevv"), "{fault}");
    assert_eq!(fault.line, 2);
}

#[test]
fn feeds_are_pointed_elsewhere_or_turned_off() {
    let (file, problems) = parse(
        "[feeds.kev]\nlocation = \"mirror/kev.json\"\nstale_after = \"3d\"\n\
         [feeds.epss]\nenabled = false\n\
         [feeds.ours]\nkind = \"csaf\"\nlocation = \"http://mirror.example/csaf\"\nwhole = true\ncovers = \"Debian:12\"\n",
    )
    .unwrap();
    assert_eq!(file.feeds["kev"].kind, FeedKind::Kev);
    assert_eq!(
        file.feeds["kev"].location,
        Some(FeedLocation::Path("mirror/kev.json".into()))
    );
    assert!(!file.feeds["epss"].enabled);
    assert_eq!(file.feeds["ours"].covers.as_deref(), Some("Debian:12"));
    assert_eq!(problems.len(), 1, "http is named: {problems:?}");
    assert!(
        only_mistake("[feeds.ours]\n")
            .hint
            .unwrap()
            .contains("csaf")
    );
    assert!(
        only_mistake("[feeds.osv]\ncovers = \"Debian\"")
            .message
            .contains("release")
    );
    assert!(
        only_mistake("[feeds.osv]\nlocation = \"ftp://x\"")
            .message
            .contains("https")
    );
}

#[test]
fn a_file_that_bears_no_date_may_be_given_one() {
    let as_of = |value: &str| format!("[feeds.osv]\nlocation = \"osv\"\nas_of = {value}\n");
    for (value, expected) in [
        ("2026-11-20", "2026-11-20T00:00:00Z"),
        ("\"2026-11-20\"", "2026-11-20T00:00:00Z"),
        ("2026-11-20T08:00:00+02:00", "2026-11-20T06:00:00Z"),
        ("\"2026-11-20T06:00:00Z\"", "2026-11-20T06:00:00Z"),
    ] {
        let (file, _) = parse(&as_of(value)).unwrap();
        assert_eq!(file.feeds["osv"].as_of, Some(at(expected)), "{value}");
    }
    for value in [
        "2026-11-20T06:00:00",
        "\"2026-11-20T06:00\"",
        "06:00:00",
        "\"\"",
        "7",
        "[]",
    ] {
        let fault = only_mistake(&as_of(value));
        assert!(fault.message.contains("a date"), "{value}: {fault:?}");
        assert_eq!(fault.line, 3);
    }
    for location in ["", "location = \"https://mirror.example/osv.zip\"\n"] {
        let fault = only_mistake(&format!("[feeds.kev]\n{location}as_of = 2026-11-20\n"));
        assert!(fault.message.contains("address"), "{fault:?}");
    }
}

#[test]
fn what_the_example_shows_commented_out_can_be_read() {
    let example = include_str!("../../../../examples/harbour/mailkeep.toml");
    let shown: Vec<&str> = example
        .lines()
        .filter_map(|line| line.strip_prefix("#     "))
        .filter(|line| line.starts_with('[') || (!line.starts_with(' ') && line.contains(" = ")))
        .collect();
    let (file, _) = parse(&shown.join("\n")).unwrap();
    let notify = file.notify.unwrap();
    assert!(notify.command.is_some() && notify.webhook_secret_file.is_some());
    assert!(notify.mail.unwrap().password_file.is_some());
    assert!(file.feeds["osv"].as_of.is_some());
    assert_ne!(file.policy, Policy::default());
}

#[test]
fn the_controller_may_be_seen_as_somebody_else() {
    let (file, problems) =
        parse("[controller]\nseen_as = [\"203.0.113.7\", \"::ffff:192.0.2.1\"]").unwrap();
    assert_eq!(problems, []);
    let seen_as: Vec<String> = file.seen_as.iter().map(ToString::to_string).collect();
    assert_eq!(seen_as, ["192.0.2.1", "203.0.113.7"]);
    for wrong in [
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "192.0.2.0/24",
        "mx1.example.org",
    ] {
        let text = format!("[controller]\nseen_as = [\"{wrong}\"]");
        assert!(parse(&text).is_err(), "{wrong}");
    }
}

#[test]
fn an_organisation_has_a_name_and_an_address_of_its_own() {
    let (file, _) = parse(SMALL).unwrap();
    assert_eq!(file.organisation, None);
    let (file, _) = parse(
        "[organisation]\nname = \"Harbour Shipping\"\nurl = \"https://harbour.example/mail\"\n",
    )
    .unwrap();
    let organisation = file.organisation.unwrap();
    assert_eq!(organisation.name, "Harbour Shipping");
    assert_eq!(organisation.url, "https://harbour.example/mail");
    for (extra, said) in [
        ("name = \"Harbour\"", "a name and a url"),
        ("url = \"https://harbour.example\"", "a name and a url"),
        (
            "name = \" \"\nurl = \"https://harbour.example\"",
            "must be a name",
        ),
        ("name = \"Harbour\"\nurl = \"harbour.example\"", "https://"),
        ("name = \"Harbour\"\nurl = \"https:///mail\"", "https://"),
        (
            "name = \"Harbour\"\nurl = \"https://harbour.example/a b\"",
            "https://",
        ),
    ] {
        let fault = only_mistake(&format!("[organisation]\n{extra}\n"));
        assert!(fault.message.contains(said), "{extra}: {fault:?}");
    }
}

#[test]
fn a_password_never_crosses_the_network_in_clear() {
    let mail = |more: &str| {
        format!("[notify.mail]\nserver = \"smtp.example\"\nfrom = \"a@b.example\"\n{more}\n")
    };
    let (file, _) = parse(&mail("")).unwrap();
    let settings = file.notify.unwrap().mail.unwrap();
    assert_eq!((settings.port, settings.tls), (587, MailTls::Starttls));
    let fault = only_mistake(&mail(
        "tls = \"none\"\nusername = \"u\"\npassword_file = \"p\"",
    ));
    assert!(fault.message.contains("in clear"));
    assert!(
        only_mistake(&mail("username = \"u\""))
            .message
            .contains("go together")
    );
    assert!(
        only_mistake(&mail("password = \"x\""))
            .message
            .contains("password")
    );
    assert!(
        only_mistake("[notify]\nwebhook = \"http://x.example/\"")
            .message
            .contains("https")
    );
    assert!(parse("[notify]\nwebhook = \"http://localhost:8080/x\"").is_ok());
    let fault = only_mistake("[notify]\ncommand = \"page --now\"");
    assert_eq!(fault.hint.unwrap(), "command = [\"page\", \"--now\"]");
}

#[test]
fn what_is_declared_and_never_used_is_said() {
    let (_, problems) = parse(&with("[zones.lab]\nexposed = false\n[teams.idle]")).unwrap();
    let named: Vec<_> = problems.iter().map(|p| p.record.as_str()).collect();
    assert_eq!(named, ["zone lab", "team idle"]);
}

#[test]
fn broken_huge_and_deep_files_are_refused_in_bounded_time() {
    assert!(only_mistake("[hosts").message.starts_with("not TOML"));
    let deep = format!("x = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(!mistakes(&deep).is_empty());
    let deep = format!("[{}]", vec!["a"; 100_000].join("."));
    assert!(!mistakes(&deep).is_empty());
    let many = "[hosts.a]\n".to_owned()
        + &(0..5_000)
            .map(|n| format!("k{n} = 1\n"))
            .collect::<String>();
    let FleetError::Mistakes(faults) = parse(&many).unwrap_err() else {
        panic!("mistakes expected");
    };
    assert_eq!((faults.faults.len(), faults.more), (100, 4_900));
    assert!(faults.to_string().ends_with("and 4900 more"));
    let huge = " ".repeat(MAX_BYTES + 1);
    assert!(matches!(parse(&huge), Err(FleetError::TooLarge { .. })));
}

#[test]
fn a_file_from_another_system_is_read() {
    let text = format!("\u{feff}{}", SMALL.replace('\n', "\r\n"));
    assert_eq!(parse(&text).unwrap(), parse(SMALL).unwrap());
}

#[test]
fn a_large_fleet_is_read_without_delay() {
    let hosts: String = (0..5_000)
        .map(|n| {
            format!("[hosts.h{n}]\nregion = \"eu\"\nzone = \"dmz\"\nservices = [\"s{n}\"]\n[services.s{n}]\n")
        })
        .collect();
    let (file, _) = parse(&with(&hosts)).unwrap();
    let now = at("2026-11-21T12:00:00Z");
    assert!(lint(&file.fleet, &|_| Some(now), now).len() > 5_000);
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn gaps_of(text: &str) -> Vec<(&'static str, String)> {
    let (file, _) = parse(text).unwrap();
    let now = at("2026-11-21T12:00:00Z");
    lint(&file.fleet, &|_| Some(now), now)
        .into_iter()
        .map(|gap| (gap.kind.name(), gap.subject))
        .collect()
}

#[test]
fn a_window_that_names_no_day_is_named_with_the_day_that_is_taken() {
    let windows = |rule: &str| {
        format!(
            "[regions.r]\ntime_zone = \"UTC\"\n\
             windows = [{{ rrule = \"{rule};BYHOUR=1\", duration = \"2h\" }}]\n"
        )
    };
    let now = at("2026-11-21T12:00:00Z");
    for (rule, day) in [
        ("FREQ=WEEKLY", Some("Monday is taken")),
        ("FREQ=MONTHLY", Some("the first of the month is taken")),
        (
            "FREQ=YEARLY;BYMONTH=5",
            Some("the first of the month is taken"),
        ),
        ("FREQ=YEARLY", Some("the first of January is taken")),
        ("FREQ=YEARLY;BYWEEKNO=20", None),
        ("FREQ=DAILY", None),
        ("FREQ=WEEKLY;BYDAY=SU", None),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", None),
        ("FREQ=YEARLY;BYYEARDAY=100", None),
    ] {
        let (file, _) = parse(&windows(rule)).unwrap();
        let gaps = lint(&file.fleet, &|_| Some(now), now);
        let found = gaps
            .iter()
            .find(|gap| gap.kind.name() == "window-without-day");
        assert_eq!(found.is_some(), day.is_some(), "{rule}: {gaps:?}");
        if let (Some(gap), Some(day)) = (found, day) {
            assert!(gap.sentence.contains(day), "{gap}");
            // It is the day that plans are made with.
            let windows = &file.fleet.regions.values().next().unwrap().windows;
            let opens = mailkeep_plan::windows::openings(
                &jiff::tz::TimeZone::UTC,
                windows,
                now,
                at("2028-11-21T12:00:00Z"),
            )
            .unwrap();
            for opening in opens {
                let opens = opening.opens.to_zoned(jiff::tz::TimeZone::UTC);
                assert!(if day.starts_with("Monday") {
                    opens.weekday() == jiff::civil::Weekday::Monday
                } else {
                    opens.day() == 1 && (!day.contains("January") || opens.month() == 1)
                });
            }
        }
    }
}

#[test]
fn a_complete_fleet_has_no_gaps() {
    assert_eq!(gaps_of(SMALL), []);
}

#[test]
fn each_gap_is_named() {
    for (extra, name, subject) in [
        ("[teams.t]", "team-without-contact", "t"),
        ("[regions.r]\ntime_zone = \"UTC\"", "region-unowned", "r"),
        (
            "[regions.r]\ntime_zone = \"UTC\"",
            "region-without-window",
            "r",
        ),
        (
            "[regions.r]\ntime_zone = \"UTC\"\n\
             windows = [{ rrule = \"FREQ=WEEKLY;BYHOUR=1\", duration = \"2h\" }]",
            "window-without-day",
            "r",
        ),
        (
            "[regions.r]\ntime_zone = \"UTC\"\npilot = true",
            "several-pilot-regions",
            "eu, r",
        ),
        ("[services.s]", "service-unowned", "s"),
        ("[services.s]", "service-without-minimum", "s"),
        ("[services.s]", "service-without-mission", "s"),
        ("[services.s]", "service-without-criticality", "s"),
        (
            "[services.s]\n[hosts.h]\nregion = \"eu\"\nservices = \"s\"",
            "service-without-minimum",
            "s in eu",
        ),
        (
            "[services.s]\nminimum = 1\n[hosts.h]\nregion = \"eu\"\nservices = \"s\"",
            "minimum-leaves-none",
            "s in eu",
        ),
        (
            "[services.s]\nminimum = { eu = 2 }",
            "minimum-exceeds-hosts",
            "s in eu",
        ),
        (
            "[services.s]\n[hosts.h]\nservices = \"s\"",
            "service-without-probe",
            "s",
        ),
        (
            "[services.s]\nminimum_total = 1\n[hosts.h]\nregion = \"eu\"\nservices = \"s\"",
            "minimum-leaves-none",
            "s",
        ),
        (
            "[hosts.h]\nfamily = \"sendmail\"",
            "family-without-test-host",
            "sendmail",
        ),
        ("[hosts.h]", "host-without-region", "h"),
        ("[hosts.h]", "host-without-service", "h"),
        ("[hosts.h]", "host-without-zone", "h"),
        ("[hosts.h]", "host-without-family", "h"),
        ("[hosts.h]", "host-exposure-unknown", "h"),
        (
            "[hosts.h]\naddress = \"MX1.harbour.example\"",
            "address-on-two-hosts",
            "h, mx1.harbour.example",
        ),
    ] {
        let gaps = gaps_of(&with(extra));
        assert!(
            gaps.iter().any(|gap| *gap == (name, subject.to_owned())),
            "{extra}: {gaps:?}"
        );
    }
    assert!(gaps_of("[hosts.h]").contains(&("host-unowned", "h".to_owned())));
    assert!(
        gaps_of("[regions.r]\ntime_zone = \"UTC\"").contains(&("no-pilot-region", String::new()))
    );
}

#[test]
fn a_decommissioned_host_is_asked_for_nothing() {
    assert_eq!(
        gaps_of(&with("[hosts.h]\nlifecycle = \"decommissioned\"")),
        []
    );
}

#[test]
fn facts_are_a_gap_when_never_seen_too_old_or_from_the_future() {
    let (file, _) = parse(&format!("facts_max_age = \"2d\"\n{SMALL}")).unwrap();
    let now = at("2026-11-21T12:00:00Z");
    let lint_with = |seen: Option<Timestamp>| {
        let last_seen = |host: &HostName| match host.as_str() {
            "mx2" => seen,
            _ => Some(now),
        };
        lint(&file.fleet, &last_seen, now)
            .into_iter()
            .map(|gap| gap.to_string())
            .collect::<Vec<_>>()
    };
    assert!(lint_with(None)[0].starts_with("facts-never-seen: Nothing was ever seen of host mx2."));
    assert!(lint_with(Some(at("2026-11-19T12:00:00Z"))).is_empty());
    assert!(
        lint_with(Some(at("2026-11-16T12:00:00Z")))[0]
            .starts_with("facts-too-old: Facts of host mx2 are 5 days old, more than 2 days.")
    );
    assert!(
        lint_with(Some(at("2026-11-21T15:00:00Z")))[0]
            .starts_with("facts-from-the-future: Facts of host mx2 are dated 3 hours ahead.")
    );
}

#[test]
fn gap_names_are_kebab_case_and_in_order() {
    let names: Vec<_> = GapKind::ALL.iter().map(|kind| kind.name()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(names, sorted);
    for name in names {
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
    }
}

#[test]
fn a_minimum_may_be_said_for_one_region_and_for_the_rest() {
    let (file, _) =
        parse("[regions.eu]\ntime_zone = \"UTC\"\n[services.s]\nminimum = { eu = 2, \"*\" = 1 }\n")
            .unwrap();
    let service = &file.fleet.services[&ServiceName::new("s").unwrap()];
    assert_eq!(service.minimum_in(&RegionName::new("eu").unwrap()), Some(2));
    assert_eq!(service.minimum_in(&RegionName::new("us").unwrap()), Some(1));
}

const PATCHING: &str = r#"
[services.filter]
minimum_total = 2
after = []
[services.mailbox]
after = ["inbound-mx", "filter"]
probe = { port = 2525, from = "p@a.example", to = "q@b.example", found_on = "mx2", mailbox = "/srv/q/Maildir", late = "90s" }
[hosts.lb]
family = "haproxy"
[hosts.mx3]
family = "postfix"
drain = { by = "haproxy", front = "lb", backend = "mx", server = "mx3" }
[hosts.mx4]
drain = "none"
[families.postfix]
test_host = "mx3"
drain = "syn-refusal"
step = "1h"
whole_cluster = true
recipe = "recipes/postfix.toml"
[policy.rollout]
slot = "30m"
step = "45m"
parallel = { fleet = 10, region = 2 }
wave_failures = 1
shift = "2d"
[[policy.rollout.blackout]]
from = 2026-12-20
to = "2027-01-06"
regions = "eu"
reason = "year's end"
[policy.rollout.regular]
soak_test = "2d"
soak_wave = "0m"
[policy.rollout.emergency]
blackouts = true
[[policy.deadline]]
kev = true
within = 2
[approvals]
allowed_signers = "keys/allowed_signers"
"#;

#[test]
fn what_is_said_of_patching_is_read() {
    use mailkeep_model::{Drain, RolloutPolicy};
    let (file, problems) = parse(&with(PATCHING)).unwrap();
    let places: Vec<_> = problems.iter().map(|p| p.record.as_str()).collect();
    assert_eq!(places, ["service filter", "service mailbox"]);
    let fleet = &file.fleet;
    let mailbox = &fleet.services["mailbox"];
    assert_eq!(mailbox.after.len(), 2);
    assert_eq!(fleet.services["filter"].minimum_total, Some(2));
    let probe = mailbox.probe.as_ref().unwrap();
    assert_eq!((probe.port, probe.late_seconds), (2525, 90));
    assert_eq!(probe.found_on.as_ref().unwrap().as_str(), "mx2");
    let default = fleet.services["inbound-mx"].probe.as_ref().unwrap();
    assert_eq!((default.port, default.late_seconds), (25, 300));
    assert_eq!(
        fleet.hosts["mx3"].drain,
        Some(Drain::Haproxy {
            front: HostName::new("lb").unwrap(),
            socket: "/run/haproxy/admin.sock".to_owned(),
            backend: "mx".to_owned(),
            server: "mx3".to_owned(),
        })
    );
    assert_eq!(fleet.hosts["mx4"].drain, Some(Drain::None));
    let postfix = &fleet.families["postfix"];
    assert_eq!(postfix.drain, Some(Drain::SynRefusal));
    assert_eq!(postfix.step_minutes, Some(60));
    assert!(postfix.whole_cluster);
    assert!(postfix.test_hosts.contains("mx3"));
    let rules = &fleet.rollout;
    assert_eq!((rules.slot_minutes, rules.step_minutes), (30, 45));
    assert_eq!((rules.wave_failures, rules.shift_minutes), (1, 2 * 24 * 60));
    assert_eq!(
        (
            rules.parallel_fleet,
            rules.parallel_region,
            rules.parallel_team
        ),
        (Some(10), Some(2), None)
    );
    assert_eq!(rules.regular.soak_test_minutes, 2 * 24 * 60);
    assert_eq!(rules.regular.soak_wave_minutes, 0);
    let default = RolloutPolicy::default();
    assert_eq!(
        rules.regular.soak_pilot_minutes,
        default.regular.soak_pilot_minutes
    );
    assert!(rules.emergency.blackouts && !rules.emergency.windows);
    let blackout = &rules.blackouts[0];
    assert_eq!(blackout.to.to_string(), "2027-01-06");
    assert!(blackout.regions.contains("eu"));
    assert_ne!(file.policy, Policy::default());
    assert_eq!(
        file.approvals.allowed_signers.as_deref(),
        Some(std::path::Path::new("keys/allowed_signers"))
    );
}

#[test]
fn what_is_wrong_about_patching_is_told_with_its_place() {
    for (extra, place, said) in [
        (
            "[services.s]\nafter = [\"inbound\"]",
            "services.s.after[0]",
            "no service called",
        ),
        (
            "[services.a]\nafter = \"b\"\n[services.b]\nafter = \"c\"\n[services.c]\nafter = \"a\"",
            "services.a",
            "a after b after c after a",
        ),
        (
            "[services.s]\nafter = \"s\"",
            "services.s",
            "waits for itself",
        ),
        (
            "[services.s]\nprobe = { from = \"a@b\", to = \"c@d\", mailbox = \"/m\", found_on = \"mx9\" }",
            "services.s.probe.found_on",
            "no host called",
        ),
        (
            "[services.s]\nprobe = { from = \"<a@b>\", to = \"c@d\", mailbox = \"/m\" }",
            "services.s.probe.from",
            "bare mail address",
        ),
        (
            "[services.s]\nprobe = { from = \"a@b\", to = \"c@d\" }",
            "services.s.probe",
            "mailbox is missing",
        ),
        (
            "[families.postfix]\ntest_host = \"mx9\"",
            "families.postfix.test_host",
            "no host called",
        ),
        (
            "[families.postfix]\ntest_hosts = [\"mx2\"]",
            "families.postfix.test_hosts[0]",
            "of family exim",
        ),
        (
            "[families.postfix]\ndrain = { by = \"haproxy\" }",
            "families.postfix.drain.by",
            "with each host",
        ),
        ("[hosts.h]\ndrain = \"syn\"", "hosts.h.drain", "none of"),
        (
            "[hosts.h]\ndrain = \"haproxy\"",
            "hosts.h.drain",
            "where it runs",
        ),
        (
            "[hosts.h]\ndrain = { by = \"haproxy\", front = \"h\", backend = \"a; shutdown\", server = \"x\" }",
            "hosts.h.drain.backend",
            "letters, digits",
        ),
        (
            "[policy.rollout]\nslot = \"7m\"",
            "policy.rollout.slot",
            "divide an hour",
        ),
        (
            "[policy.rollout]\nstep = \"90s\"",
            "policy.rollout.step",
            "whole number of minutes",
        ),
        (
            "[policy.rollout]\nparallel = { fleet = 0 }",
            "policy.rollout.parallel.fleet",
            "1 to",
        ),
        (
            "[policy.rollout.emergency]\nminimum = 0",
            "policy.rollout.emergency.minimum",
            "no lane changes",
        ),
        (
            "[[policy.rollout.blackout]]\nfrom = 2026-12-24\nto = 2026-12-23",
            "policy.rollout.blackout[0]",
            "before it begins",
        ),
        (
            "[[policy.rollout.blackout]]\nfrom = 2026-12-24T10:00:00Z\nto = 2026-12-24",
            "policy.rollout.blackout[0].from",
            "is no day",
        ),
        ("[policy.rolout]\nstep = \"30m\"", "policy", "unknown field"),
        (
            "[approvals]\nallowed_signer = \"x\"",
            "approvals.allowed_signer",
            "no key called",
        ),
    ] {
        let fault = only_mistake(&with(extra));
        assert_eq!(fault.place, place, "{fault}");
        assert!(fault.message.contains(said), "{fault}");
    }
}

proptest! {
    #[test]
    fn parse_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok((file, _)) = parse_bytes(&bytes) {
            prop_assert!(file.fleet.hosts.len() <= bytes.len());
        }
    }

    /// Cuts and swaps lines of a good file: near misses reach deeper than noise.
    #[test]
    fn near_misses_never_panic_and_every_fault_has_a_line(
        cut in 0..SMALL.len(),
        from in 0usize..30,
        to in 0usize..30,
        junk in "[\\PC\n]{0,20}",
    ) {
        let mut lines: Vec<&str> = SMALL.lines().collect();
        let (from, to) = (from % lines.len(), to % lines.len());
        lines.swap(from, to);
        let mut text = lines.join("\n");
        text.truncate(cut);
        text.push_str(&junk);
        if let Err(error) = parse(&text) {
            let FleetError::Mistakes(faults) = &error else { panic!("{error}") };
            prop_assert!(!faults.faults.is_empty());
            for fault in &faults.faults {
                prop_assert!(fault.line >= 1 && fault.line <= text.lines().count() + 1);
                prop_assert!(!fault.to_string().chars().any(|c| c.is_control() && c != '\n'));
            }
        }
    }
}
