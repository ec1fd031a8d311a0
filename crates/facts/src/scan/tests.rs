use super::*;
use mailkeep_model::MailRole;
use proptest::prelude::*;

/// A host with Exim: upgraded, not restarted, one library gone as well. A shell profile prints first.
const REPORT: &str = "Welcome to mx1!\n\
\nMAILKEEP-FACTS 1 n0nce\n\
\n=n0nce host\nuid 0\nnow 1795297056\nzone +0100\nhertz 100\norder 0001\n\
\n=n0nce os-release\nID=debian\nVERSION_ID=\"12\"\
\n=n0nce dpkg-status\nPackage: exim4-daemon-light\nStatus: install ok installed\nArchitecture: amd64\n\
Source: exim4\nVersion: 4.96-15+deb12u4\n\nPackage: libpcre2-8-0\nStatus: install ok installed\n\
Architecture: amd64\nSource: pcre2\nVersion: 10.42-1\n\n\
\n=n0nce apt-lists\n1795296818 /var/lib/apt/lists/mirror.example_debian_dists_bookworm_InRelease\n\
\n=n0nce apt-policy\nexim4-daemon-light:\n  Installed: 4.96-15+deb12u4\n  Candidate: 4.96-15+deb12u6\n\
\n=n0nce tcp\n   0: 00000000:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 51296 1 0\n\
   1: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1161 1 0\n\
\n=n0nce holders\n2830 51296\n\
\n=n0nce processes\npid 2830\ncomm exim4\nexe /usr/sbin/exim4 (deleted)\n\
stat 2830 (exim4) S 1 2830 2830 0 -1 4194624 3153 0 2 0 12 0 0 0 20 0 1 0 222011 31109120 4618\n\
pid 7\ncomm bash\nexe /usr/bin/bash\nstat 7 (bash) S 1\nbtime 1795290000\n\
\n=n0nce maps\n\
/proc/2830/maps:55b926eae000-55b926f79000 r-xp 00026000 fe:00 9125945      /usr/sbin/exim4 (deleted)\n\
/proc/2830/maps:7f9bfdb00000-7f9bfdb6b000 r-xp 00002000 fe:00 326706       /usr/lib/x86_64-linux-gnu/libpcre2-8.so.0 (deleted)\n\
/proc/2830/maps:7f9bfdb00000-7f9bfdb6b000 r-xp 00002000 fe:00 326706       /memfd:jit (deleted)\n\
/proc/2830/maps:7f9bfd644000-7f9bfd79a000 r-xp 00026000 fe:00 326279       /usr/lib/x86_64-linux-gnu/libc.so.6\n\
\n=n0nce identity\n65024:9125945 /proc/2830/exe\n65024:9125920 /usr/sbin/exim4\n\
\n=n0nce owners dpkg\nexim4-daemon-light: /usr/sbin/exim4\nlibc6:amd64: /lib/x86_64-linux-gnu/libc.so.6\n\
diversion by dash from: /bin/sh\nlibpcre2-8-0:amd64: /usr/lib/x86_64-linux-gnu/libpcre2-8.so.0\n\
\n=n0nce offsets\n2830 +0100\n\
\n=n0nce dpkg-log\n2026-11-21 21:45:00 upgrade exim4-daemon-light:amd64 4.96-15 4.96-15+deb12u4\n\
\n=n0nce banners\n00000000:0019 220 mx1 ESMTP Exim 4.96\u{1b}[31m\r\n\
\n=n0nce changelog exim4 4.96-15+deb12u4 4.96-15+deb12u6\nexim4 (4.96-15+deb12u6) bookworm; urgency=high\n\
\n  * Fix CVE-2024-39929\n\nexim4 (4.96-15+deb12u4) bookworm; urgency=high\n\n  * Old\n\
\n=n0nce end\n";

const SEEN_AT: &str = "2026-11-21T21:37:00Z";

fn parse(report: &[u8]) -> Result<ScanReport, GarbageOutput> {
    parse_report(
        HostName::new("mx1").unwrap(),
        FactsSource::Ssh,
        Made::Now(SEEN_AT.parse().unwrap()),
        report,
    )
}

fn limitations(report: &ScanReport) -> Vec<String> {
    report
        .facts
        .limitations
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn a_server_upgraded_but_not_restarted_runs_stale_code() {
    let report = parse(REPORT.as_bytes()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let Seen::Yes(processes) = &report.facts.processes else {
        panic!("{:?}", report.facts.processes);
    };
    let [exim] = processes.as_slice() else {
        panic!("{processes:?}");
    };
    assert_eq!(exim.roles, [MailRole::Smtp]);
    assert_eq!(exim.executable, "/usr/sbin/exim4");
    assert_eq!(exim.package.as_deref(), Some("exim4-daemon-light"));
    assert_eq!(exim.package_version.as_deref(), Some("4.96-15+deb12u4"));
    let Seen::Yes(stale) = &exim.stale else {
        panic!("{:?}", exim.stale);
    };
    assert_eq!(stale.len(), 2);
    assert_eq!(stale[0].path, "/usr/lib/x86_64-linux-gnu/libpcre2-8.so.0");
    assert_eq!(stale[0].package.as_deref(), Some("libpcre2-8-0"));
    assert_eq!(stale[1].path, "/usr/sbin/exim4");
    assert_eq!(stale[1].ran_version.as_deref(), Some("4.96-15"));
    let maps: Vec<&str> = exim.maps.items().iter().map(AsRef::as_ref).collect();
    assert_eq!(maps, ["exim4-daemon-light", "libc6", "libpcre2-8-0"]);
}

#[test]
fn a_library_upgraded_to_another_file_name_still_has_its_package() {
    let text = REPORT
        .replace(
            "libpcre2-8.so.0 (deleted)",
            "libpcre2-8.so.0.11.1 (deleted)",
        )
        .replace(
            "\n=n0nce dpkg-log\n",
            "\n=n0nce dpkg-log\n2026-11-21 21:45:00 upgrade libpcre2-8-0:amd64 10.40-1 10.42-1\n",
        );
    let report = parse(text.as_bytes()).unwrap();
    let exim = &report.facts.processes.items()[0];
    let stale = &exim.stale.items()[0];
    assert_eq!(stale.path, "/usr/lib/x86_64-linux-gnu/libpcre2-8.so.0.11.1");
    assert_eq!(stale.package.as_deref(), Some("libpcre2-8-0"));
    assert_eq!(stale.ran_version.as_deref(), Some("10.40-1"));
    assert!(exim.maps.items().iter().any(|m| &**m == "libpcre2-8-0"));

    let unowned = text.replace("libpcre2-8-0:amd64: /usr", "libpcre2-8-0:amd64: /opt");
    let report = parse(unowned.as_bytes()).unwrap();
    let exim = &report.facts.processes.items()[0];
    assert_eq!(exim.stale.items().len(), 2);
    assert_eq!(exim.stale.items()[0].package, None);
}

#[test]
fn the_script_asks_rpm_for_every_column() {
    let columns = rpm::QUERY_FORMAT
        .strip_suffix("\\t%{MODULARITYLABEL}\\t%{VENDOR}\\n")
        .unwrap();
    assert!(SCRIPT.contains(&format!("columns='{columns}'")));
    assert!(SCRIPT.contains("\"$columns\\t%{MODULARITYLABEL}\\t%{VENDOR}\\n\""));
    assert!(SCRIPT.contains(&format!("--qf '{}'", rpm::needs::NEEDS_FORMAT)));
}

#[test]
fn what_rpm_packages_need_comes_along_and_a_part_of_it_is_said_to_be_one() {
    let report = |end: &str| {
        format!(
            "MAILKEEP-FACTS 1 n\n\n=n os-release\nID=almalinux\nVERSION_ID=\"9.4\"\n\n\
             =n rpm-qa\npostfix\t2\t3.5.25\t1.el9\tx86_64\tpostfix-3.5.25-1.el9.src.rpm\t(none)\tAlmaLinux\n\
             openssl-libs\t1\t3.0.7\t27.el9\tx86_64\topenssl-3.0.7-27.el9.src.rpm\t(none)\tAlmaLinux\n\n\
             =n rpm-needs\nN postfix\nR libssl.so.3()(64bit)\nP postfix\nN openssl-libs\nP libssl.so.3()(64bit)\n{end}\n\
             =n end\n"
        )
    };
    let whole = parse(report("E\n").as_bytes()).unwrap();
    let postfix = whole.facts.packages.iter().find(|p| &*p.name == "postfix");
    assert_eq!(postfix.unwrap().depends, ["openssl-libs".into()]);
    let said = |report: &ScanReport| {
        limitations(report)
            .concat()
            .contains("all that packages need")
    };
    assert!(!said(&whole));
    let cut = parse(report("").as_bytes()).unwrap();
    assert_eq!(cut.facts.packages[1].depends.len(), 1);
    assert!(said(&cut));
}

#[test]
fn listeners_have_their_process_and_a_printable_banner() {
    let report = parse(REPORT.as_bytes()).unwrap();
    let listeners = report.facts.listeners.items();
    assert_eq!(listeners.len(), 2);
    assert_eq!((listeners[0].port, listeners[0].pid), (25, Some(2830)));
    assert_eq!(
        listeners[0].banner.as_deref(),
        Some("220 mx1 ESMTP Exim 4.96\u{fffd}[31m")
    );
    assert_eq!((listeners[1].port, listeners[1].pid), (2024, None));
}

#[test]
fn packages_platform_candidates_and_changelogs_come_along() {
    let report = parse(REPORT.as_bytes()).unwrap();
    assert_eq!(report.facts.platform.unwrap().to_string(), "Debian:12");
    assert_eq!(report.facts.packages.len(), 2);
    assert_eq!(
        &*report.facts.candidates.items()[0].version,
        "4.96-15+deb12u6"
    );
    let [changelog] = report.changelogs.as_slice() else {
        panic!("{:?}", report.changelogs);
    };
    assert_eq!(changelog.source, "exim4");
    assert_eq!(changelog.installed, "4.96-15+deb12u4");
    assert!(changelog.text.contains("CVE-2024-39929"));
    assert!(!changelog.text.contains("Old"));
}

#[test]
fn without_root_the_rest_is_said_to_be_missing() {
    let text = REPORT
        .replace("uid 0", "uid 1000")
        .replace(
            "exe /usr/sbin/exim4 (deleted)",
            "exe \nargv0 /usr/sbin/exim4",
        )
        .replace("2830 51296", "")
        .replace("/proc/2830/maps", "/proc/x/maps");
    let report = parse(text.as_bytes()).unwrap();
    let Seen::Partly(processes) = &report.facts.processes else {
        panic!("{:?}", report.facts.processes);
    };
    assert_eq!(processes[0].roles, [MailRole::Smtp]);
    assert_eq!(processes[0].stale, Seen::No);
    assert_eq!(processes[0].executable, "");
    assert_eq!(
        limitations(&report),
        [
            "code run by 1 mail processes: needs root",
            "listening process: needs root"
        ]
    );
}

#[test]
fn a_process_that_ended_during_the_scan_is_neither_hidden_nor_there() {
    let text = REPORT
        .replace(
            "pid 7\n",
            "pid 2900\ncomm exim4\nexe /usr/sbin/exim4\nstat 2900 (exim4) S 2830\npid 7\n",
        )
        .replace(
            "\n=n0nce identity",
            "\n=n0nce ended\n2900\n\n=n0nce identity",
        );
    let report = parse(text.as_bytes()).unwrap();
    let Seen::Yes(processes) = &report.facts.processes else {
        panic!("{:?}", report.facts.processes);
    };
    assert_eq!(processes.len(), 1);
    assert!(limitations(&report).is_empty());
}

#[test]
fn a_process_of_a_container_is_not_given_the_hosts_package() {
    let text = REPORT.replace(" (deleted)", "");
    let report = parse(text.as_bytes()).unwrap();
    let exim = &report.facts.processes.items()[0];
    assert_eq!((&exim.package, &exim.maps), (&None, &Seen::No));
    assert!(limitations(&report)[0].contains("container"));
}

#[test]
fn a_host_clock_that_is_off_is_said_and_not_used() {
    let text = REPORT.replace("now 1795297056", "now 1795304256");
    let report = parse(text.as_bytes()).unwrap();
    assert_eq!(report.facts.seen_at, SEEN_AT.parse().unwrap());
    assert_eq!(
        limitations(&report),
        ["clock: the host's clock is 120 minutes ahead of ours"]
    );
    assert!(limitations(&parse(REPORT.as_bytes()).unwrap()).is_empty());
}

#[test]
fn a_report_kept_in_a_file_is_of_the_time_it_bears() {
    let read = |text: &str| {
        parse_report(
            HostName::new("mx1").unwrap(),
            FactsSource::Ssh,
            Made::Before(SEEN_AT.parse().unwrap()),
            text.as_bytes(),
        )
        .unwrap()
    };
    let old = read(&REPORT.replace("now 1795297056", "now 1790000000"));
    assert_eq!(old.facts.seen_at.as_second(), 1_790_000_000);
    assert!(limitations(&old).is_empty(), "{:?}", limitations(&old));
    for without in ["", "now x\n", "now 99999999999999999\n"] {
        let report = read(&REPORT.replace("now 1795297056\n", without));
        assert_eq!(report.facts.seen_at, SEEN_AT.parse().unwrap());
        assert!(limitations(&report).is_empty());
    }
}

#[test]
fn what_the_host_lacks_is_a_limitation() {
    let text = REPORT.replace(
        "\n=n0nce apt-lists",
        "\n=n0nce lack candidates|no apt-cache\u{1b}[2J on the host\n\n=n0nce lists",
    );
    let report = parse(text.as_bytes()).unwrap();
    assert_eq!(report.facts.candidates, Seen::No);
    assert!(limitations(&report)[0].starts_with("candidates: "));
    assert!(!limitations(&report).concat().contains('\u{1b}'));
}

#[test]
fn a_report_cut_anywhere_gives_no_facts() {
    let whole = REPORT.as_bytes();
    let end = REPORT.trim_end().len();
    for cut in 0..end {
        assert!(parse(&whole[..cut]).is_err(), "cut at {cut}");
    }
    let error = parse(&whole[..end - 200]).unwrap_err();
    assert!(matches!(error, GarbageOutput::Truncated { .. }), "{error}");
}

#[test]
fn garbage_is_named_with_at_most_eighty_printable_characters() {
    assert_eq!(parse(b" \r\n\n"), Err(GarbageOutput::Empty));
    let escapes = "\u{1b}[31mPlease change your password now\u{7}\r\n".repeat(50_000);
    let error = parse(escapes.as_bytes()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("the host sent no report, but \""));
    assert!(text.chars().count() < 120);
    assert!(!text.chars().any(char::is_control));
    assert!(matches!(
        parse(b"MAILKEEP-FACTS 9 abc\n"),
        Err(GarbageOutput::OtherFormat { .. })
    ));
    // An escape would make two of each.
    for text in [
        "\\".repeat(200),
        format!("MAILKEEP-FACTS 1{} n\n", "\\".repeat(200)),
        format!("MAILKEEP-FACTS 1 n\n\n=n {}\n", "\\".repeat(200)),
    ] {
        let error = parse(text.as_bytes()).unwrap_err().to_string();
        assert!((70..80).contains(&error.matches('\\').count()), "{error}");
    }
    let huge = vec![b'x'; MAX_REPORT_BYTES + 1];
    assert_eq!(parse(&huge), Err(GarbageOutput::TooLong));
}

#[test]
fn a_broken_status_paragraph_does_not_cost_the_scan() {
    let text = REPORT.replace("Source: pcre2\n", "<<<<\n");
    let report = parse(text.as_bytes()).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.facts.packages.len(), 2);
}

#[test]
fn the_script_and_the_model_agree_on_mail_ports() {
    let (_, from) = SCRIPT
        .split_once("The same as mail_roles_of_port.")
        .unwrap();
    let line = from.lines().nth(1).unwrap();
    let mut listed: Vec<u16> = Vec::new();
    for pattern in line.trim().trim_end_matches(')').split(" | ") {
        if let Some((stem, last)) = pattern.split_once('[') {
            for digit in last.trim_end_matches(']').chars() {
                listed.push(u16::from_str_radix(&format!("{stem}{digit}"), 16).unwrap());
            }
        } else {
            listed.push(u16::from_str_radix(pattern, 16).unwrap());
        }
    }
    listed.sort_unstable();
    let known: Vec<u16> = (0..=u16::MAX)
        .filter(|p| !mailkeep_model::mail_roles_of_port(*p).is_empty())
        .collect();
    assert_eq!(listed, known);
}

#[test]
fn the_script_looks_at_every_process_the_model_knows() {
    let (_, from) = SCRIPT.split_once("may_serve_mail() {").unwrap();
    let (patterns, _) = from.split_once(") return 0").unwrap();
    let words: Vec<String> = patterns
        .split('|')
        .filter_map(|p| p.split_whitespace().last())
        .map(|p| p.replace("[Hh]", "h").replace(['*', '/'], ""))
        .collect();
    for name in mailkeep_model::mail_process_names() {
        assert!(words.iter().any(|w| name.contains(w.as_str())), "{name}");
    }
}

#[test]
fn the_script_and_the_model_agree_on_mail_packages() {
    let (_, from) = SCRIPT
        .split_once("the same as is_mail_software.\n")
        .unwrap();
    let (_, from) = from.split_once("<<END\n").unwrap();
    let (list, _) = from.split_once("\nEND\n").unwrap();
    let list: String = list.split_whitespace().collect();
    let (families, names): (Vec<&str>, Vec<&str>) =
        list.split('|').partition(|word| word.ends_with(".*"));
    let families: Vec<&str> = families.iter().map(|f| f.trim_end_matches(".*")).collect();
    let listed = |name: &str| names.contains(&name) || families.iter().any(|f| name.starts_with(f));
    for name in mailkeep_model::mail_source_names() {
        assert!(listed(name), "{name}");
    }
    // No source package of Debian has a space in its name.
    for family in mailkeep_model::mail_source_families().filter(|f| !f.contains(' ')) {
        assert!(listed(&format!("{family}x")), "{family}");
    }
    for name in names {
        assert!(mailkeep_model::is_mail_software(name), "{name}");
        assert!(!name.contains(['.', '*', '(', '[', '\\', '+']), "{name}");
    }
    for family in families {
        let one = format!("{family}x");
        assert!(mailkeep_model::is_mail_software(&one), "{family}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(input in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz(&input);
    }

    #[test]
    fn any_section_is_read_without_panic(
        name in "(host|os-release|dpkg-status|rpm-qa|rpm-needs|apt-lists|apt-policy|dnf-updates|tcp|holders|processes|maps|identity|owners dpkg|offsets|dpkg-log|rpm-log 1795297056|rpm-lists|banners|changelog a b c|lack x)",
        body in "([ -~é\u{1b}]{0,40}\n?){0,8}",
    ) {
        fuzz(format!("MAILKEEP-FACTS 1 n\n\n=n {name}\n{body}\n=n tcp\n\n=n processes\n\n=n end\n").as_bytes());
    }

    #[test]
    fn a_damaged_report_is_read_without_panic(
        damage in prop::collection::vec((0..REPORT.len(), any::<u8>()), 1..20)
    ) {
        let mut bytes = REPORT.as_bytes().to_vec();
        for (at, byte) in damage {
            bytes[at] = byte;
        }
        fuzz(&bytes);
    }
}
