//! What the formats of `mailkeep check` promise, on one believable answer.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may unwrap")]

use std::cmp::Ordering;
use std::io::{self, Write};
use std::path::Path;

use jiff::SignedDuration;
use jiff::civil::Date;
use mailkeep::answer::{Answer, FeedAnswer};
use mailkeep::fleet::Organisation;
use mailkeep::output::{csaf_vex, csv, html, json, openvex, table};
use mailkeep_model::{
    AdvisoryId, Comparison, Decision, Ecosystem, Evidence, FeedId, FeedKind, FeedState, FeedStatus,
    Finding, HostAnswer, HostName, HostStatus, Lane, OtherWord, Platform, Rule, Severity, Status,
    Surface, TeamName, Timestamp, UnknownReason, Urgency, Verdict, text,
};
use mailkeep_triage::{Change, ChangeKind};
use serde_json::Value;

const NOW: &str = "2026-11-21T22:04:00Z";

type Writer = fn(&Answer, &mut dyn Write) -> io::Result<()>;

fn as_table(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    table::write(answer, table::Style::default(), out)
}

const FORMATS: [(&str, Writer); 6] = [
    ("sample.csaf.json", csaf_vex::write),
    ("sample.openvex.json", openvex::write),
    ("sample.html", html::write),
    ("sample.json", json::write),
    ("sample.csv", csv::write),
    ("sample.txt", as_table),
];

fn written(writer: Writer, answer: &Answer) -> String {
    let mut bytes = Vec::new();
    writer(answer, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

// ---- a believable answer ---------------------------------------------------------------------

fn advisory(id: &str) -> AdvisoryId {
    AdvisoryId::new(id).unwrap()
}

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn debian() -> Platform {
    Platform::new(Ecosystem::Debian, "12")
}

/// A finding of the regular lane; the sample changes what is different.
fn finding(on: &str, team: &str, package: &str, versions: [&str; 2], id: &str) -> Finding {
    let [installed, fixed] = versions;
    Finding {
        host: host(on),
        verdict: Verdict {
            advisory: advisory(id),
            aliases: vec![],
            title: "".into(),
            platform: debian(),
            package: package.into(),
            binaries: vec![package.into()],
            installed: installed.into(),
            fixed: Some(fixed.into()),
            status: Status::FixAvailable,
            surface: Surface::Mail,
            urgency: None,
            cvss: None,
            evidence: Evidence {
                source: FeedId::new("debian-tracker").unwrap(),
                rule: Rule::DistributorFixedVersion,
                compared: Some(Comparison {
                    installed: installed.into(),
                    with: fixed.into(),
                    ordering: Ordering::Less,
                }),
                reason: format!("Debian fixed it in {fixed}; {installed} is older"),
                unknown: None,
                source_stale: false,
                others: vec![],
                notes: vec![],
            },
        },
        severity: Severity::Unknown,
        score: None,
        kev: false,
        epss: None,
        decision: Some(Decision::Track),
        lane: Some(Lane::Regular),
        deadline: None,
        first_seen: Some(day("2026-11-20")),
        owner: Some(TeamName::new(team).unwrap()),
    }
}

fn scored(mut finding: Finding, score: f64, vector: &str, epss: f32) -> Finding {
    finding.score = Some(score);
    finding.severity = Severity::from_score(score);
    finding.verdict.cvss = Some(vector.into());
    finding.epss = Some(epss);
    finding
}

fn urgent(mut finding: Finding, due: &str) -> Finding {
    finding.lane = Some(Lane::Emergency);
    finding.decision = Some(Decision::Act);
    finding.deadline = Some(day(due));
    finding
}

fn titled(mut finding: Finding, title: &str) -> Finding {
    finding.verdict.title = title.into();
    finding
}

fn with_status(mut finding: Finding, status: Status, reason: &str) -> Finding {
    finding.verdict.status = status;
    finding.verdict.evidence.reason = reason.into();
    match status {
        Status::NoFix | Status::WillNotFix | Status::Unknown | Status::NotAffected => {
            finding.verdict.fixed = None;
            finding.verdict.evidence.compared = None;
        }
        Status::FixAvailable
        | Status::FixPublished
        | Status::RestartPending
        | Status::Mitigated
        | Status::Fixed => {}
    }
    if !status.is_finding() {
        finding.lane = None;
        finding.decision = None;
        finding.deadline = None;
    }
    finding
}

fn network(score: f64) -> (f64, &'static str) {
    (score, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H")
}

const TEAMS: [(&str, &[&str]); 4] = [
    (
        "emea-mail",
        &[
            "mx1.ham.example",
            "mx2.ham.example",
            "out1.ham.example",
            "imap1.mrs.example",
        ],
    ),
    (
        "apac-mail",
        &["mx1.sin.example", "mx2.sin.example", "imap1.syd.example"],
    ),
    (
        "amer-mail",
        &["mx1.nyc.example", "mx2.nyc.example", "imap1.gru.example"],
    ),
    ("platform", &["relay1.core.example", "relay2.core.example"]),
];

fn exim(on: &str, team: &str) -> Vec<Finding> {
    let versions = ["4.96-15", "4.96-15+deb12u7"];
    let (score, vector) = network(9.8);
    let mut list = vec![titled(
        urgent(
            scored(
                finding(on, team, "exim4", versions, "CVE-2023-42115"),
                score,
                vector,
                0.93,
            ),
            "2026-11-24",
        ),
        "Exim: out-of-bounds write in the external authenticator lets anybody on the network run code",
    )];
    list[0].kev = true;
    list[0].verdict.aliases = vec![advisory("DSA-5512-1"), advisory("GHSA-xxxx-yyyy-zzzz")];
    list[0].verdict.binaries = vec!["exim4-base".into(), "exim4-daemon-heavy".into()];
    list[0].verdict.evidence.others = vec![OtherWord {
        source: FeedId::new("osv").unwrap(),
        says: "fixed in 4.96.1".to_owned(),
    }];
    list[0].verdict.evidence.notes = vec!["assumed: exposure is open".into()];
    for (id, epss) in [
        ("CVE-2023-42116", 0.41),
        ("CVE-2023-42117", 0.2),
        ("CVE-2023-42119", 0.004),
        ("CVE-2023-51766", 0.11),
        ("CVE-2024-39929", 0.07),
        ("CVE-2025-30232", 0.02),
    ] {
        list.push(scored(
            finding(on, team, "exim4", versions, id),
            7.5,
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H",
            epss,
        ));
    }
    list
}

fn dovecot(on: &str, team: &str) -> Vec<Finding> {
    let versions = ["1:2.3.19.1+dfsg1-2.1", "1:2.3.19.1+dfsg1-2.1+deb12u1"];
    let mut list = vec![titled(
        scored(
            finding(on, team, "dovecot", versions, "CVE-2024-23184"),
            5.0,
            "CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:N/I:N/A:L",
            0.002,
        ),
        "Dovecot: a very large number of address headers slows it down",
    )];
    list[0].deadline = Some(day("2026-12-05"));
    list.push(finding(on, team, "dovecot", versions, "CVE-2024-23185"));
    list
}

fn openssl(on: &str, team: &str) -> Finding {
    let mut finding = with_status(
        scored(
            finding(
                on,
                team,
                "openssl",
                ["3.0.15-1~deb12u1", "3.0.17-1~deb12u2"],
                "CVE-2025-9230",
            ),
            7.5,
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H",
            0.01,
        ),
        Status::RestartPending,
        "3.0.17-1~deb12u2 is installed; exim4 (pid 812) still maps libssl.so.3 (deleted)",
    );
    finding.verdict.surface = Surface::Dependency;
    finding.verdict.installed = "3.0.17-1~deb12u2".into();
    finding.verdict.evidence.rule = Rule::StaleProcess;
    finding.deadline = Some(day("2026-11-19"));
    finding
}

fn other(on: &str, team: &str, package: &str, id: &str) -> Finding {
    let mut finding = finding(on, team, package, ["1.0-1", "1.0-1+deb12u1"], id);
    finding.verdict.surface = Surface::Other;
    finding
}

fn sample() -> Answer {
    let mut findings = Vec::new();
    for (number, (team, hosts)) in TEAMS.iter().enumerate() {
        for (at, name) in hosts.iter().enumerate() {
            if name.starts_with("mx1") {
                findings.extend(exim(name, team));
            }
            if name.starts_with("imap") {
                findings.extend(dovecot(name, team));
            }
            if at == 1 {
                findings.push(openssl(name, team));
            }
            let mut postfix = with_status(
                titled(
                    finding(
                        name,
                        team,
                        "postfix",
                        ["3.7.11-0+deb12u1", ""],
                        "CVE-2023-51764",
                    ),
                    "Postfix: SMTP smuggling",
                ),
                if number % 2 == 0 {
                    Status::NoFix
                } else {
                    Status::WillNotFix
                },
                "Debian calls it too minor for an advisory of its own",
            );
            postfix.verdict.urgency = Some(Urgency::Unimportant);
            postfix.verdict.evidence.rule = Rule::DistributorMinor;
            findings.push(postfix);
            for (package, id) in [("curl", "CVE-2025-9086"), ("vim", "CVE-2024-22667")] {
                findings.push(other(name, team, package, id));
            }
        }
    }
    let mut published = with_status(
        finding(
            "relay1.core.example",
            "platform",
            "rspamd",
            ["3.4-1", "3.13.2-1"],
            "CVE-2025-61684",
        ),
        Status::FixPublished,
        "trixie has 3.13.2-1; bookworm's repositories do not",
    );
    published.verdict.evidence.source_stale = true;
    published.verdict.cvss =
        Some("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N".into());
    let mut undecided = with_status(
        finding(
            "relay2.core.example",
            "platform",
            "opendkim",
            ["2.11.0~beta2-8", ""],
            "TEMP-0000000-F7A20F",
        ),
        Status::Unknown,
        "Debian has not decided",
    );
    undecided.verdict.evidence.unknown = Some(UnknownReason::DistributorUndetermined);
    undecided.verdict.evidence.rule = Rule::DistributorUndetermined;
    let mut nobody = scored(
        finding(
            "mx9.lab.example",
            "platform",
            "sendmail",
            ["8.17.1.9-2", "8.17.1.9-2+deb12u2"],
            "CVE-2023-51765",
        ),
        5.3,
        "AV:N/AC:L/Au:N/C:N/I:P/A:N",
        0.03,
    );
    nobody.owner = None;
    findings.extend([published, undecided, nobody]);
    findings.sort_by(mailkeep_triage::rank);
    let mut hosts: Vec<HostAnswer> = TEAMS
        .iter()
        .flat_map(|(_, hosts)| hosts.iter())
        .chain(&["mx9.lab.example"])
        .map(|name| host_answer(name, HostStatus::Affected))
        .collect();
    hosts.extend(
        ["out2.ham.example", "out1.sin.example", "out1.nyc.example"]
            .map(|name| host_answer(name, HostStatus::Clean)),
    );
    hosts[0].limitations =
        vec!["not root: executables of other users' processes were not seen".to_owned()];
    let mut silent = host_answer("mx3.jnb.example", HostStatus::Unknown);
    silent.facts_as_of = None;
    silent.system = None;
    silent.reasons = vec![(
        UnknownReason::ScanFailed,
        "unreachable: connection timed out after 10 s".to_owned(),
    )];
    let mut old = host_answer("imap2.syd.example", HostStatus::Unknown);
    old.facts_as_of = Some(at("2026-10-02T03:00:00Z"));
    old.reasons = vec![
        (
            UnknownReason::FactsTooOld,
            "its facts are of 2026-10-02, 50 days old; run `mailkeep scan`".to_owned(),
        ),
        (
            UnknownReason::FeedStale,
            "debian-tracker is stale".to_owned(),
        ),
    ];
    hosts.extend([
        silent,
        old,
        host_answer("mx0.ham.example", HostStatus::Decommissioned),
    ]);
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    Answer {
        generated_at: at(NOW),
        scope: "harbour/mailkeep.toml".to_owned(),
        organisation: None,
        feeds: vec![
            feed(
                "debian-tracker",
                FeedKind::DebianTracker,
                "2026-11-21T18:40:00Z",
                FeedState::Fresh,
            ),
            feed(
                "epss",
                FeedKind::Epss,
                "2026-11-21T00:00:00Z",
                FeedState::Fresh,
            ),
            feed(
                "kev",
                FeedKind::Kev,
                "2026-11-12T15:00:00Z",
                FeedState::Stale,
            ),
        ],
        hosts,
        findings,
        fixed: 1_204,
        not_affected: 317,
        impacts: std::collections::BTreeMap::new(),
        changes: Some(changes()),
    }
}

fn host_answer(name: &str, status: HostStatus) -> HostAnswer {
    HostAnswer {
        name: host(name),
        status,
        reasons: vec![],
        facts_as_of: Some(at("2026-11-21T20:15:00Z")),
        system: Some("Debian GNU/Linux 12 (bookworm)".to_owned()),
        limitations: vec![],
    }
}

fn feed(name: &str, kind: FeedKind, as_of: &str, state: FeedState) -> FeedAnswer {
    FeedAnswer {
        status: FeedStatus {
            id: FeedId::new(name).unwrap(),
            kind,
            location: String::new(),
            as_of: at(as_of),
            imported_at: at(NOW),
            stale_after: SignedDuration::from_hours(48),
            records: 58_201,
            problems: 3,
            partial: false,
            whole: true,
            covers: vec![],
        },
        state,
    }
}

fn changes() -> Vec<Change> {
    let change = |on: &str, package: &str, id: &str, kind| Change {
        host: host(on),
        package: package.into(),
        advisory: advisory(id),
        owner: Some(TeamName::new("emea-mail").unwrap()),
        kind,
    };
    vec![
        change(
            "mx1.ham.example",
            "exim4",
            "CVE-2025-30232",
            ChangeKind::New {
                status: Status::FixAvailable,
            },
        ),
        change(
            "mx1.ham.example",
            "exim4",
            "CVE-2023-42115",
            ChangeKind::Changed {
                status: Status::FixAvailable,
                change: "lane regular to emergency; decision Attend to Act".to_owned(),
            },
        ),
        change(
            "out2.ham.example",
            "postfix",
            "CVE-2023-51764",
            ChangeKind::Gone {
                was: Status::FixAvailable,
                now: Some(Status::Fixed),
            },
        ),
        change(
            "out2.ham.example",
            "openssl",
            "CVE-2025-9230",
            ChangeKind::Gone {
                was: Status::RestartPending,
                now: None,
            },
        ),
    ]
}

/// With `--all`: what is fixed and what is not affected, too.
fn sample_with_all() -> Answer {
    let mut answer = sample();
    let mut fixed = with_status(
        finding(
            "mx1.ham.example",
            "emea-mail",
            "mutt",
            ["2.2.12-0.1~deb12u1", "2.2.9-1"],
            "CVE-2022-1328",
        ),
        Status::Fixed,
        "2.2.12-0.1~deb12u1 is not older than the fix 2.2.9-1",
    );
    fixed.verdict.evidence.compared = Some(Comparison {
        installed: "2.2.12-0.1~deb12u1".into(),
        with: "2.2.9-1".into(),
        ordering: Ordering::Greater,
    });
    let mut not_affected = with_status(
        finding(
            "mx1.ham.example",
            "emea-mail",
            "exim4",
            ["4.96-15", ""],
            "CVE-2019-10149",
        ),
        Status::NotAffected,
        "Debian says that no version of this release is affected",
    );
    not_affected.verdict.evidence.rule = Rule::DistributorNotAffected;
    let mut registry = finding(
        "mx1.ham.example",
        "emea-mail",
        "@scope/mail+er",
        ["1.2.0", "1.2.1"],
        "GHSA-aaaa-bbbb-cccc",
    );
    registry.verdict.platform = Platform::new(Ecosystem::Other("npm".into()), "");
    let mut rpm = finding(
        "mx9.lab.example",
        "platform",
        "dovecot",
        ["1:2.3.16-11.el9", "1:2.3.16-15.el9_5"],
        "CVE-2024-23184",
    );
    rpm.verdict.platform = Platform::new(Ecosystem::AlmaLinux, "9");
    let mut mitigated = with_status(
        finding(
            "mx2.ham.example",
            "emea-mail",
            "exim4",
            ["4.96-15+really4.95", "4.97"],
            "CVE-2023-42118",
        ),
        Status::Mitigated,
        "shield rule 12 holds it off",
    );
    mitigated.verdict.evidence.rule = Rule::RangeAffected;
    answer
        .findings
        .extend([fixed, not_affected, registry, rpm, mitigated]);
    answer
}

/// Nothing was imported, nothing is known.
fn minimal() -> Answer {
    Answer {
        generated_at: at(NOW),
        scope: "root".to_owned(),
        organisation: None,
        feeds: vec![],
        hosts: vec![],
        findings: vec![],
        fixed: 0,
        not_affected: 0,
        impacts: std::collections::BTreeMap::new(),
        changes: None,
    }
}

const HOSTILE: &str = "<script>alert(1)</script>\"'\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}gpj.exe\u{2066}\u{2028}\r\n&amp;";

/// A host and a feed that put hostile text wherever they can.
fn hostile() -> Answer {
    let mut answer = sample_with_all();
    answer.scope = HOSTILE.into();
    for finding in &mut answer.findings {
        let verdict = &mut finding.verdict;
        verdict.title = HOSTILE.into();
        verdict.package = HOSTILE.into();
        verdict.installed = HOSTILE.into();
        verdict.fixed = verdict.fixed.as_ref().map(|_| HOSTILE.into());
        verdict.binaries = vec![HOSTILE.into()];
        verdict.cvss = Some(HOSTILE.into());
        verdict.platform = Platform::new(Ecosystem::Other(HOSTILE.into()), HOSTILE);
        verdict.advisory = advisory(&format!("<b>{}\"'&", verdict.advisory));
        verdict.evidence.reason = HOSTILE.into();
        verdict.evidence.notes = vec![HOSTILE.into()];
        finding.owner = Some(TeamName::new("<i>'\"").unwrap());
    }
    for host in &mut answer.hosts {
        host.name = HostName::new(format!("<u>{}\"", host.name)).unwrap();
        host.system = Some(HOSTILE.to_owned());
        host.limitations = vec![HOSTILE.to_owned()];
        for reason in &mut host.reasons {
            reason.1 = HOSTILE.into();
        }
    }
    for change in answer.changes.iter_mut().flatten() {
        change.package = HOSTILE.into();
        if let ChangeKind::Changed { change, .. } = &mut change.kind {
            *change = HOSTILE.into();
        }
    }
    answer
}

// ---- every format ----------------------------------------------------------------------------

#[test]
fn equal_answers_give_equal_bytes() {
    for (name, writer) in FORMATS {
        let text = written(writer, &sample_with_all());
        assert!(!text.is_empty(), "{name}");
        assert_eq!(text, written(writer, &sample_with_all()), "{name}");
        let shown = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // For people to look at; `sample.html` above all.
        write_file(&shown, &text);
        write_file(
            &shown.with_file_name(format!("minimal-{name}")),
            &written(writer, &minimal()),
        );
    }
}

#[expect(clippy::disallowed_methods, reason = "a test writes its samples")]
fn write_file(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[test]
fn no_format_passes_on_what_a_terminal_obeys() {
    for (name, writer) in FORMATS {
        let text = written(writer, &hostile());
        let line_ends = ['\n', '\r'];
        let found = text
            .chars()
            .find(|c| text::is_unsafe(*c) && !line_ends.contains(c));
        assert_eq!(found, None, "{name}");
    }
}

#[test]
fn an_empty_answer_is_written_in_every_format() {
    for (_, writer) in FORMATS {
        assert!(!written(writer, &minimal()).is_empty());
    }
}

#[test]
fn hostile_text_stays_text_in_the_page() {
    let page = written(html::write, &hostile());
    for markup in ["<script", "<b>", "<i>", "<u>", "onerror"] {
        assert!(!page.contains(markup), "{markup}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)"));
}

// ---- the page --------------------------------------------------------------------------------

#[test]
fn the_page_loads_nothing_and_runs_nothing() {
    for answer in [sample(), hostile(), minimal()] {
        let page = written(html::write, &answer);
        for loader in [
            " src=",
            "srcset=",
            "href=\"http",
            "href=\"//",
            "url(",
            "@import",
            "<link",
            "<script",
            "<iframe",
            "<img",
            "<object",
            " style=",
            " onclick",
            "http-equiv=\"refresh",
        ] {
            assert!(!page.contains(loader), "{loader}");
        }
        assert!(page.contains("default-src 'none'; style-src 'sha256-"));
    }
}

#[test]
fn every_link_in_the_page_has_its_target() {
    let page = written(html::write, &sample());
    let targets = page
        .split("href=\"#")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap());
    for target in targets {
        assert!(page.contains(&format!("id=\"{target}\"")), "{target}");
    }
}

#[test]
fn the_page_says_what_is_urgent_where_whose_and_by_when() {
    let page = written(html::write, &sample());
    for words in [
        "3 tasks are urgent, on 3 servers.",
        "<strong>emea-mail</strong>: exim4 on mx1.ham.example, due",
        "Tue 24 Nov 2026",
        "4 tasks are overdue",
        ">OVERDUE</span>",
        "2 servers are not known to be safe",
        "Source kev is stale",
        "1 new, 1 changed, 2 gone",
        "No team declared",
        "Upgrade to <code>4.96-15+deb12u7</code>",
        "21 Nov 2026, 22:04 UTC",
    ] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn an_answer_that_knows_nothing_does_not_call_anything_clean() {
    let page = written(html::write, &minimal());
    assert!(page.contains("nothing could be judged"));
    assert!(!page.contains("lead calm"));
}

#[test]
fn an_urgent_finding_is_on_the_page_whatever_its_package() {
    let mut answer = minimal();
    answer.findings = vec![urgent(
        other("mx1.ham.example", "emea-mail", "sudo", "CVE-2025-32463"),
        "2026-11-22",
    )];
    let page = written(html::write, &answer);
    assert!(page.contains("CVE-2025-32463"));
    assert!(page.contains("not mail software"));
}

// ---- CSAF and OpenVEX ------------------------------------------------------------------------

fn parsed(writer: Writer, answer: &Answer) -> Value {
    serde_json::from_str(&written(writer, answer)).unwrap()
}

fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn texts(values: &[Value]) -> Vec<&str> {
    values.iter().filter_map(Value::as_str).collect()
}

/// Products of a CSAF tree with the path of categories that leads to each.
fn products<'v>(branch: &'v Value, path: &str, found: &mut Vec<(String, &'v Value)>) {
    for child in list(branch, "/branches") {
        let path = format!("{path}/{}", child["category"].as_str().unwrap());
        if let Some(product) = child.get("product") {
            found.push((path.clone(), product));
        }
        products(child, &path, found);
    }
}

#[test]
fn every_product_of_the_csaf_document_is_defined_once_and_has_one_status() {
    for answer in [sample_with_all(), hostile()] {
        let document = parsed(csaf_vex::write, &answer);
        let mut found = Vec::new();
        products(&document["product_tree"], "", &mut found);
        let mut defined: Vec<&str> = found
            .iter()
            .map(|(_, product)| product["product_id"].as_str().unwrap())
            .collect();
        defined.sort_unstable();
        let count = defined.len();
        defined.dedup();
        assert_eq!(defined.len(), count, "defined twice (6.1.2)");
        for vulnerability in list(&document, "/vulnerabilities") {
            let mut stated: Vec<&str> = vulnerability["product_status"]
                .as_object()
                .unwrap()
                .values()
                .flat_map(|ids| texts(ids.as_array().unwrap()))
                .collect();
            let count = stated.len();
            stated.sort_unstable();
            stated.dedup();
            assert_eq!(stated.len(), count, "contradicting status (6.1.6)");
            for id in stated {
                assert!(defined.contains(&id), "{id} is not defined (6.1.1)");
            }
        }
    }
}

#[test]
fn csaf_gives_an_action_or_an_impact_for_each_product() {
    let document = parsed(csaf_vex::write, &sample_with_all());
    for vulnerability in list(&document, "/vulnerabilities") {
        let covered = |of: &str| -> Vec<&str> {
            list(vulnerability, of)
                .iter()
                .flat_map(|item| texts(list(item, "/product_ids")))
                .collect()
        };
        let (actions, impacts) = (covered("/remediations"), covered("/threats"));
        for id in texts(list(vulnerability, "/product_status/known_affected")) {
            assert!(actions.contains(&id), "6.1.27.10: {id}");
        }
        for id in texts(list(vulnerability, "/product_status/known_not_affected")) {
            assert!(impacts.contains(&id), "6.1.27.9: {id}");
        }
        assert!(
            vulnerability.get("cve").is_some() || vulnerability.get("ids").is_some(),
            "6.1.27.8"
        );
    }
}

#[test]
fn csaf_statuses_and_remedies_follow_ours() {
    let document = parsed(csaf_vex::write, &sample_with_all());
    let of = |cve: &str| {
        list(&document, "/vulnerabilities")
            .iter()
            .find(|v| v["cve"] == cve)
            .unwrap()
    };
    let category = |cve: &str| {
        of(cve)["remediations"][0]["category"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(category("CVE-2023-42115"), "vendor_fix");
    assert_eq!(category("CVE-2025-9230"), "vendor_fix");
    assert_eq!(
        of("CVE-2025-9230")["remediations"][0]["restart_required"]["category"],
        "service"
    );
    assert_eq!(category("CVE-2023-42118"), "mitigation");
    assert_eq!(
        of("CVE-2019-10149")["flags"][0]["label"],
        "vulnerable_code_not_present"
    );
    assert_eq!(
        of("CVE-2023-42115")["threats"][0]["category"],
        "exploit_status"
    );
    let score = &of("CVE-2023-42115")["scores"][0]["cvss_v3"];
    assert_eq!(score["baseScore"], 9.8);
    assert_eq!(score["baseSeverity"], "CRITICAL");
    assert_eq!(
        of("CVE-2023-51765")["scores"][0]["cvss_v2"]["version"],
        "2.0"
    );
    // CSAF 2.0 has no field for CVSS 4.0; a note carries it.
    assert!(of("CVE-2025-61684").get("scores").is_none());
    let temporary = list(&document, "/vulnerabilities")
        .iter()
        .find(|v| v["ids"][0]["text"] == "TEMP-0000000-F7A20F")
        .unwrap();
    assert!(
        temporary["product_status"]
            .get("under_investigation")
            .is_some()
    );
}

#[test]
fn a_version_with_a_word_of_ranges_is_no_product_version() {
    // CSAF 2.0 section 6.1.31 finds "all" in "really".
    let document = parsed(csaf_vex::write, &sample_with_all());
    let mut found = Vec::new();
    products(&document["product_tree"], "", &mut found);
    let path = |id: &str| {
        let (path, _) = found.iter().find(|(_, p)| p["product_id"] == id).unwrap();
        path.rsplit('/').next().unwrap().to_owned()
    };
    assert_eq!(
        path("mx2.ham.example Debian:12 exim4 4.96-15+really4.95"),
        "patch_level"
    );
    assert_eq!(
        path("mx1.ham.example Debian:12 exim4 4.96-15"),
        "product_version"
    );
}

#[test]
fn packages_have_canonical_package_urls() {
    let document = parsed(csaf_vex::write, &sample_with_all());
    let mut found = Vec::new();
    products(&document["product_tree"], "", &mut found);
    let purls: Vec<&str> = found
        .iter()
        .map(|(_, p)| p["product_identification_helper"]["purl"].as_str().unwrap())
        .collect();
    for purl in [
        "pkg:deb/debian/exim4@4.96-15?arch=source&distro=debian-12",
        "pkg:deb/debian/openssl@3.0.17-1~deb12u2?arch=source&distro=debian-12",
        "pkg:deb/debian/postfix@3.7.11-0%2Bdeb12u1?arch=source&distro=debian-12",
        "pkg:rpm/almalinux/dovecot@2.3.16-11.el9?arch=src&distro=almalinux-9&epoch=1",
        "pkg:npm/%40scope/mail%2Ber@1.2.0",
    ] {
        assert!(purls.contains(&purl), "{purl}: {purls:#?}");
    }
}

#[test]
fn a_csaf_document_is_published_by_the_organisation_the_fleet_file_names() {
    let mut answer = minimal();
    let publisher =
        |answer: &Answer| parsed(csaf_vex::write, answer)["document"]["publisher"].clone();
    assert_eq!(publisher(&answer)["namespace"], "https://operator.invalid");
    answer.organisation = Some(Organisation {
        name: "Harbour Shipping".to_owned(),
        url: "https://harbour.example".to_owned(),
    });
    let expected = serde_json::json!({
        "category": "user", "name": "Harbour Shipping", "namespace": "https://harbour.example",
    });
    assert_eq!(publisher(&answer), expected);
}

#[test]
fn without_a_verdict_csaf_is_no_vex_and_says_what_is_not_known() {
    let mut answer = minimal();
    answer.hosts = sample().hosts;
    let document = parsed(csaf_vex::write, &answer);
    assert_eq!(document["document"]["category"], "csaf_base");
    assert!(document.get("vulnerabilities").is_none());
    let notes = written(csaf_vex::write, &answer);
    assert!(notes.contains("mx3.jnb.example is not known to be safe"));
}

#[test]
fn openvex_statements_carry_what_their_status_demands() {
    let document = parsed(openvex::write, &sample_with_all());
    assert_eq!(document["@context"], "https://openvex.dev/ns/v0.2.0");
    assert!(document["@id"].as_str().unwrap().starts_with("urn:uuid:"));
    assert!(
        document["tooling"]
            .as_str()
            .unwrap()
            .contains("mx3.jnb.example is not known to be safe")
    );
    let mut seen = std::collections::BTreeSet::new();
    for statement in list(&document, "/statements") {
        let status = statement["status"].as_str().unwrap();
        seen.insert(status);
        assert_eq!(
            statement.get("action_statement").is_some(),
            status == "affected"
        );
        assert_eq!(
            statement.get("justification").is_some(),
            status == "not_affected"
        );
        for product in list(statement, "/products") {
            assert!(product["@id"].as_str().unwrap().starts_with("pkg:generic/"));
            assert!(!list(product, "/subcomponents").is_empty());
        }
    }
    let all = ["affected", "fixed", "not_affected", "under_investigation"];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}

// ---- the JSON schema -------------------------------------------------------------------------

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../docs/check.schema.json")).unwrap()
}

#[test]
fn the_json_is_as_its_schema_says() {
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema())
        .unwrap();
    let mut first = sample();
    first.changes = None;
    for answer in [sample_with_all(), minimal(), hostile(), first] {
        let document = parsed(json::write, &answer);
        let errors: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert_eq!(errors, Vec::<String>::new());
    }
    let mut wrong = parsed(json::write, &sample());
    wrong["findings"][0]["status"] = "clean".into();
    assert!(!validator.is_valid(&wrong));
}

/// Every field written is described: the schema allows others only for readers of tomorrow's
/// answers.
#[test]
fn every_field_of_the_json_is_in_the_schema() {
    fn check(value: &Value, schema: &Value, root: &Value, place: &str) {
        let schema = match schema["$ref"].as_str() {
            Some(name) => root.pointer(name.trim_start_matches('#')).unwrap(),
            None => schema,
        };
        let alternatives = list(schema, "/anyOf");
        if let Some(other) = alternatives.iter().find(|s| s["type"] != "null") {
            if !value.is_null() {
                check(value, other, root, place);
            }
            return;
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let place = format!("{place}/{name}");
                    let described = schema["properties"].get(name);
                    check(
                        value,
                        described.unwrap_or_else(|| panic!("{place}")),
                        root,
                        &place,
                    );
                }
            }
            Value::Array(items) => {
                for item in items {
                    check(item, &schema["items"], root, place);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let schema = schema();
    check(
        &parsed(json::write, &sample_with_all()),
        &schema,
        &schema,
        "",
    );
}

#[test]
fn the_names_in_the_schema_are_the_models() {
    let schema = schema();
    let in_schema = |name: &str| texts(list(&schema, &format!("/$defs/{name}/enum"))).join(" ");
    let joined = |names: &[&str]| names.join(" ");
    assert_eq!(in_schema("status"), joined(&Status::ALL.map(Status::name)));
    assert_eq!(
        in_schema("feed_kind"),
        joined(&FeedKind::ALL.map(FeedKind::name))
    );
    let hosts = [
        HostStatus::Affected,
        HostStatus::Clean,
        HostStatus::Decommissioned,
        HostStatus::Unknown,
    ];
    assert_eq!(
        in_schema("host_status"),
        joined(&hosts.map(HostStatus::name))
    );
    let surfaces = [Surface::Mail, Surface::Dependency, Surface::Other];
    assert_eq!(in_schema("surface"), joined(&surfaces.map(Surface::name)));
    let severities = [
        Severity::Unknown,
        Severity::None,
        Severity::Low,
        Severity::Medium,
        Severity::High,
        Severity::Critical,
    ];
    assert_eq!(
        in_schema("severity"),
        joined(&severities.map(Severity::name))
    );
    let decisions = [
        Decision::Track,
        Decision::TrackStar,
        Decision::Attend,
        Decision::Act,
    ];
    assert_eq!(
        in_schema("decision"),
        joined(&decisions.map(Decision::name))
    );
    assert_eq!(
        in_schema("lane"),
        joined(&[Lane::Emergency, Lane::Regular].map(Lane::name))
    );
    assert_eq!(in_schema("rule"), variants::<Rule>());
    assert_eq!(in_schema("unknown_reason"), variants::<UnknownReason>());
    assert_eq!(in_schema("urgency"), variants::<Urgency>());
    assert_eq!(in_schema("feed_state"), variants::<FeedState>());
}

/// The names serde takes for an enum, as its own complaint about a wrong one lists them: a variant
/// added to the model shows up here by itself.
fn variants<T: serde::de::DeserializeOwned + std::fmt::Debug>() -> String {
    let complaint = serde_json::from_str::<T>("\"-\"").unwrap_err().to_string();
    let names: Vec<&str> = complaint.split('`').skip(3).step_by(2).collect();
    names.join(" ")
}
