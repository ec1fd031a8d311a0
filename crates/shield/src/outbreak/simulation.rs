//! A site of 1,000 mailboxes: a month of honest mail, and then an outbreak.
//!
//! Honest mail is drawn so that it comes near what the detectors look for: a paper that goes round the house, a form that
//! many send back, a newsletter, a run of invoices, a scanner and an invoice server that attach to everything, a new
//! logo in every signature, two people who build programs and mail them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr};

use super::*;

const PEOPLE: u64 = 1_000;
const DAY: u64 = 86_400;
/// A Monday.
const START: u64 = 20_783 * DAY;

/// `SplitMix64`.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

fn digest(of: u64) -> [u8; 32] {
    let mut draw = Draw(of);
    let mut digest = [0; 32];
    for eight in digest.chunks_mut(8) {
        eight.copy_from_slice(&draw.next().to_le_bytes());
    }
    digest
}

fn attachment(of: u64, kind: &'static str, weight: Weight, octets: u64) -> Attachment {
    Attachment {
        digest: digest(of),
        kind,
        weight,
        octets,
    }
}

#[derive(Debug, Clone)]
struct Mail {
    at: u64,
    host: u8,
    sender: String,
    recipients: u32,
    attachments: Vec<Attachment>,
}

fn person(number: u64) -> String {
    format!("p{number}@example.org")
}

/// Two servers that take submissions.
fn server_of(number: u64) -> u8 {
    u8::try_from(number % 2).unwrap() + 1
}

const INVOICES: u8 = 10;
const SCANNER: u8 = 11;

/// The honest mail of one day, in order.
fn honest_day(day: u64, draw: &mut Draw) -> Vec<Mail> {
    let mut mails = Vec::new();
    let weekend = day % 7 >= 5;
    let midnight = START + day * DAY;
    let office = |draw: &mut Draw| midnight + 7 * 3600 + draw.below(11 * 3600);
    let logo = attachment(if day < 12 { 1 } else { 2 }, "png", Weight::Passive, 9_000);
    for number in 0..PEOPLE {
        let count = if weekend {
            draw.below(3)
        } else {
            draw.below(20)
        };
        for _ in 0..count {
            let mut attachments = Vec::new();
            if draw.chance(50) {
                attachments.push(logo);
            }
            if draw.chance(20) {
                let (kind, weight) = match draw.below(10) {
                    0 => ("zip", Weight::Openable),
                    1..4 => ("docx", Weight::Openable),
                    4..8 => ("pdf", Weight::Openable),
                    _ => ("jpeg", Weight::Passive),
                };
                // One in five is what a colleague sent lately.
                let of = if draw.chance(20) {
                    day * 1_000 + draw.below(400)
                } else {
                    draw.next()
                };
                attachments.push(attachment(of, kind, weight, 20_000 + of % 300_000));
            }
            if number < 2 && draw.chance(30) {
                attachments.push(attachment(draw.next(), "pe", Weight::Active, 1_000_000));
            }
            let recipients = if draw.chance(3) {
                40
            } else {
                1 + u32::try_from(draw.below(3)).unwrap()
            };
            mails.push(Mail {
                at: office(draw),
                host: server_of(number),
                sender: person(number),
                recipients,
                attachments,
            });
        }
    }
    if !weekend {
        // A paper goes round: to all, and twenty send it on within the day.
        let paper = attachment(7_000_000 + day, "pdf", Weight::Openable, 150_000);
        for nth in 0..21 {
            let number = draw.below(PEOPLE);
            mails.push(Mail {
                at: midnight + 9 * 3600 + nth * draw.below(1_500),
                host: server_of(number),
                sender: person(number),
                recipients: if nth == 0 { 190 } else { 2 },
                attachments: vec![paper],
            });
        }
        for _ in 0..60 {
            let of = draw.next();
            mails.push(Mail {
                at: office(draw),
                host: SCANNER,
                sender: "scanner@example.org".to_owned(),
                recipients: 1,
                attachments: vec![attachment(
                    of,
                    "pdf",
                    Weight::Openable,
                    80_000 + of % 400_000,
                )],
            });
        }
    }
    // A form everybody sends back, filled in: each other octets.
    if day == 15 {
        for number in 0..300 {
            let of = draw.next();
            mails.push(Mail {
                at: office(draw),
                host: server_of(number),
                sender: person(number),
                recipients: 1,
                attachments: vec![attachment(of, "docx", Weight::Openable, 40_000 + of % 900)],
            });
        }
    }
    // Invoices leave in the night, each its own, from three addresses of one server.
    for nth in 0..400 {
        let of = draw.next();
        mails.push(Mail {
            at: midnight + 2 * 3600 + nth * 9,
            host: INVOICES,
            sender: format!("billing{}@example.org", nth % 3),
            recipients: 1,
            attachments: vec![attachment(of, "pdf", Weight::Openable, 60_000 + of % 900)],
        });
    }
    // A newsletter, twice in the month, with a paper.
    if day == 3 || day == 24 {
        for nth in 0..40 {
            mails.push(Mail {
                at: midnight + 10 * 3600 + nth * 20,
                host: 1,
                sender: "news@example.org".to_owned(),
                recipients: 100,
                attachments: vec![attachment(
                    8_000_000 + day,
                    "pdf",
                    Weight::Openable,
                    700_000,
                )],
            });
        }
    }
    mails.sort_by_key(|mail| mail.at);
    mails
}

fn observe(outbreaks: &mut Outbreaks, mail: &Mail, expected: &Expected) -> Outcome {
    outbreaks.observe(
        &Observation {
            at: mail.at,
            host: IpAddr::V4(Ipv4Addr::new(10, 0, 0, mail.host)),
            sender: &mail.sender,
            account: &mail.sender,
            own: true,
            recipients: mail.recipients,
            attachments: &mail.attachments,
            trace: "1-1",
        },
        expected,
    )
}

/// The newsletter and the invoices are announced; all else is not.
fn expected() -> Expected {
    Expected {
        senders: vec!["news@example.org".to_owned()],
        hosts: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, INVOICES))],
        attachments: Vec::new(),
    }
}

/// What was learnt from so many days, in none of which anything was held or alerted.
fn after(days: u64, seed: u64) -> (Outbreaks, Draw, u64) {
    let mut outbreaks = Outbreaks::default();
    let mut draw = Draw(seed);
    let mut count = 0;
    for day in 0..days {
        for mail in honest_day(day, &mut draw) {
            count += 1;
            let outcome = observe(&mut outbreaks, &mail, &expected());
            assert_eq!(
                outcome,
                Outcome::default(),
                "day {day}, seed {seed}: {mail:?}"
            );
        }
    }
    (outbreaks, draw, count)
}

#[test]
fn a_month_of_honest_mail_holds_nothing() {
    // More months by `MAILKEEP_MONTHS`: each has its own draws.
    let months = std::env::var("MAILKEEP_MONTHS")
        .ok()
        .and_then(|months| months.parse().ok());
    for seed in 1..=months.unwrap_or(1) {
        let (_, _, count) = after(30, seed);
        assert!(count > 150_000, "{count}");
    }
}

/// What a worm does.
#[derive(Debug, Clone, Copy)]
struct Worm {
    /// Each copy has other octets.
    changes: bool,
    /// Each copy says it is from somebody else.
    forges: bool,
    weight: Weight,
    kind: &'static str,
}

/// Sent before the first was held, sent in all, got through in all, machines that fell ill.
struct Course {
    before_held: u64,
    sent: u64,
    passed: u64,
    ill: usize,
}

/// Who opens it sends it to 30 others within minutes; one of ten who get it opens it, within two hours. Honest mail
/// goes on beside it, and is counted if it is held.
fn outbreak(worm: Worm, learnt: &[u8], expected: &Expected) -> (Course, u64) {
    let mut outbreaks: Outbreaks = serde_json::from_slice(learnt).unwrap();
    let mut draw = Draw(3);
    let noon = START + 9 * DAY + 12 * 3600;
    let mut ill = BTreeSet::new();
    let mut due: BinaryHeap<Reverse<(u64, u64, u64)>> = BinaryHeap::new();
    let falls_ill = |at: u64, who: u64, due: &mut BinaryHeap<_>, draw: &mut Draw| {
        for nth in 0..30 {
            due.push(Reverse((at + nth * 10, who, draw.below(PEOPLE))));
        }
    };
    ill.insert(5);
    falls_ill(noon, 5, &mut due, &mut draw);
    let mut honest = honest_day(9, &mut draw).into_iter().peekable();
    let (mut course, mut honest_held) = (
        Course {
            before_held: 0,
            sent: 0,
            passed: 0,
            ill: 0,
        },
        0,
    );
    let mut first_hold = false;
    while let Some(Reverse((at, who, to))) = due.pop() {
        while let Some(mail) = honest.next_if(|mail| mail.at <= at) {
            honest_held += u64::from(observe(&mut outbreaks, &mail, expected).held.is_some());
        }
        if at > noon + 12 * 3600 {
            break;
        }
        let of = if worm.changes { draw.next() } else { 99 };
        let sender = if worm.forges { draw.below(PEOPLE) } else { who };
        let mail = Mail {
            at,
            host: server_of(who),
            sender: person(sender),
            recipients: 1,
            attachments: vec![attachment(of, worm.kind, worm.weight, 90_000 + of % 700)],
        };
        course.sent += 1;
        if observe(&mut outbreaks, &mail, expected).held.is_some() {
            first_hold = true;
            continue;
        }
        course.passed += 1;
        course.before_held += u64::from(!first_hold);
        if draw.chance(10) && ill.insert(to) {
            let opened = at + 60 + draw.below(7_200);
            falls_ill(opened, to, &mut due, &mut draw);
        }
    }
    course.ill = ill.len();
    (course, honest_held)
}

const KLEZ: Worm = Worm {
    changes: false,
    forges: true,
    weight: Weight::Active,
    kind: "pe",
};

#[test]
fn an_outbreak_like_klez_is_held_after_a_handful_of_messages() {
    let learnt = serde_json::to_vec(&after(9, 3).0).unwrap();
    for (name, worm, within, spread) in [
        ("the same program, forged senders", KLEZ, 3, 3),
        (
            "a program that changes",
            Worm {
                changes: true,
                ..KLEZ
            },
            12,
            12,
        ),
        (
            "the same program, true senders",
            Worm {
                forges: false,
                ..KLEZ
            },
            120,
            12,
        ),
        (
            "the same document, forged senders",
            Worm {
                weight: Weight::Openable,
                kind: "docm",
                ..KLEZ
            },
            60,
            30,
        ),
    ] {
        let (course, honest_held) = outbreak(worm, &learnt, &expected());
        let Course {
            before_held,
            sent,
            passed,
            ill,
        } = course;
        println!(
            "{name}: held after {before_held} messages; {passed} of {sent} passed, {ill} of {PEOPLE} mailboxes fell ill, \
             {honest_held} honest messages held"
        );
        assert!(before_held <= within, "{name}: {before_held}");
        assert!(ill <= spread, "{name}: {ill} ill");
        // What somebody attaches whose machine is ill is held with the worm.
        assert!(
            honest_held <= 3,
            "{name}: {honest_held} honest messages held"
        );
    }
    // What the simulation is worth: where all of it is expected, it goes wrong.
    let everything = Expected {
        hosts: (0..=20)
            .map(|last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)))
            .collect(),
        ..Expected::default()
    };
    let (course, _) = outbreak(KLEZ, &learnt, &everything);
    assert_eq!(course.before_held, course.sent);
    assert!(course.ill > 700, "{}", course.ill);
}

#[test]
fn a_server_that_attaches_to_everything_is_named() {
    let (mut outbreaks, mut draw, _) = after(9, 4);
    let at = START + 9 * DAY + 12 * 3600;
    let mut named = None;
    for nth in 0..60 {
        let mail = Mail {
            at: at + nth * 20,
            host: 2,
            sender: person(draw.below(PEOPLE)),
            recipients: 1,
            // Other octets and sizes each time, a web page: nothing else would notice.
            attachments: vec![attachment(
                draw.next(),
                "html",
                Weight::Openable,
                900 + draw.below(90_000),
            )],
        };
        let outcome = observe(&mut outbreaks, &mail, &expected());
        if let Some(alert) = outcome.alerts.first() {
            named = Some((nth, alert.clone(), outcome.held));
            break;
        }
    }
    let (after, alert, held) = named.unwrap();
    assert!(after < 25, "{after}");
    assert_eq!(alert.detector, Detector::AttachingServer);
    assert_eq!(alert.isolate, Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2))));
    assert_eq!(held, Some(Detector::AttachingServer), "{}", alert.text);
    assert!(alert.counted >= alert.limit && alert.usual.is_some_and(|usual| usual < alert.limit));
    assert_eq!(alert.examples.len(), seen::EXAMPLES);
}

#[test]
fn a_sender_who_was_taken_over_is_noticed_and_what_he_attaches_is_held() {
    let (mut outbreaks, mut draw, _) = after(9, 5);
    let at = START + 9 * DAY + 12 * 3600;
    let mut alerts = Vec::new();
    let mut held = 0;
    for nth in 0..400 {
        let with = attachment(
            draw.next(),
            "html",
            Weight::Openable,
            900 + draw.below(90_000),
        );
        let mail = Mail {
            at: at + nth * 5,
            host: 1,
            sender: person(77),
            recipients: 3,
            attachments: if nth % 2 == 0 { vec![with] } else { Vec::new() },
        };
        let outcome = observe(&mut outbreaks, &mail, &expected());
        held += u32::from(outcome.held.is_some());
        alerts.extend(outcome.alerts);
    }
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0].detector, Detector::SuddenSender);
    assert!(
        alerts[0].text.contains("p77@example.org"),
        "{}",
        alerts[0].text
    );
    assert!((100..200).contains(&held), "{held}");
}

#[test]
fn what_was_learnt_outlives_a_restart() {
    let (outbreaks, _, _) = after(9, 6);
    let kept = serde_json::to_vec(&outbreaks).unwrap();
    let back: Outbreaks = serde_json::from_slice(&kept).unwrap();
    assert_eq!(serde_json::to_vec(&back).unwrap(), kept);
    assert!(back.spread.most(START + 9 * DAY) > 0);
}

#[test]
fn a_hold_ends_two_hours_after_the_last_message_that_matched() {
    let mut outbreaks = Outbreaks::default();
    let program = attachment(1, "pe", Weight::Active, 50_000);
    let mail = |at: u64, who: u64| Mail {
        at: START + at,
        host: 1,
        sender: person(who),
        recipients: 1,
        attachments: vec![program],
    };
    let none = Expected::default();
    for who in 0..2 {
        assert_eq!(observe(&mut outbreaks, &mail(who, who), &none).held, None);
    }
    let held = Some(Detector::SameAttachment);
    assert_eq!(observe(&mut outbreaks, &mail(2, 2), &none).held, held);
    assert_eq!(observe(&mut outbreaks, &mail(7_000, 3), &none).held, held);
    assert_eq!(
        observe(&mut outbreaks, &mail(7_000 + 7_199, 4), &none).held,
        held
    );
    let held = |at: u64| outbreaks.held(START + at).map(|(_, _, count)| count);
    assert_eq!(held(7_000 + 7_199 + 7_199).sum::<u64>(), 3);
    assert_eq!(
        held(7_000 + 7_199 + 7_200).count(),
        0,
        "it is over, though nobody sent anything since"
    );
    assert_eq!(
        observe(&mut outbreaks, &mail(7_000 + 7_199 + 7_200, 5), &none).held,
        None
    );
}

#[test]
fn what_is_expected_is_not_held_but_nothing_rides_along() {
    let mut outbreaks = Outbreaks::default();
    let form = attachment(1, "pdf", Weight::Openable, 50_000);
    let worm = attachment(2, "pe", Weight::Active, 50_000);
    let expected = Expected {
        attachments: vec![hexadecimal(&form.digest)],
        ..Expected::default()
    };
    let mut send = |who: u64, attachments: Vec<Attachment>| {
        let mail = Mail {
            at: START + who,
            host: 1,
            sender: person(who),
            recipients: 1,
            attachments,
        };
        observe(&mut outbreaks, &mail, &expected).held
    };
    for who in 0..30 {
        assert_eq!(send(who, vec![form]), None);
    }
    for who in 30..32 {
        assert_eq!(send(who, vec![form, worm]), None);
    }
    assert_eq!(send(32, vec![form, worm]), Some(Detector::SameAttachment));
    assert_eq!(send(33, vec![form]), None);
}

#[test]
fn memory_is_bounded_whatever_is_sent() {
    let mut outbreaks = Outbreaks::default();
    for nth in 0..30_000_u64 {
        let mail = Mail {
            at: START + nth / 100,
            host: 1,
            sender: format!("{nth}@example.net"),
            recipients: 1,
            attachments: vec![attachment(nth, "pdf", Weight::Openable, nth)],
        };
        observe(&mut outbreaks, &mail, &Expected::default());
    }
    assert!(outbreaks.attachments.len() <= KEYS);
    assert!(outbreaks.senders.len() <= KEYS);
    assert!(outbreaks.attachments.len() > KEYS / 2);
}

#[test]
fn a_hold_ends_after_five_days_however_often_a_sender_tries() {
    let mut outbreaks = Outbreaks::default();
    let program = attachment(1, "pe", Weight::Active, 50_000);
    let mut held = Vec::new();
    for hour in 0..(6 * 24) {
        for who in 0..4 {
            let mail = Mail {
                at: START + hour * 3600 + who,
                host: 1,
                sender: person(who),
                recipients: 1,
                attachments: vec![program],
            };
            let outcome = observe(&mut outbreaks, &mail, &Expected::default());
            if outcome.held.is_some() {
                held.push(hour);
            }
        }
    }
    assert!((119..=120).contains(held.last().unwrap()), "{held:?}");
}

#[test]
fn honest_mail_teaches_on_while_something_else_is_held() {
    let mut outbreaks = Outbreaks::default();
    let worm = attachment(1, "pe", Weight::Active, 50_000);
    let mail = |at: u64, who: u64, attachments: Vec<Attachment>| Mail {
        at: START + at,
        host: 1,
        sender: person(who),
        recipients: 1,
        attachments,
    };
    let none = Expected::default();
    for who in 0..3 {
        observe(&mut outbreaks, &mail(who, who, vec![worm]), &none);
    }
    assert_eq!(outbreaks.held(START + 2).count(), 1);
    let paper = attachment(2, "pdf", Weight::Openable, 50_000);
    for who in 0..7 {
        observe(&mut outbreaks, &mail(10 + who, who, vec![paper]), &none);
    }
    assert_eq!(outbreaks.spread.most(START + DAY), 7);
}

#[test]
fn a_new_host_that_attaches_to_everything_is_told_of_once_and_not_held() {
    let mut outbreaks = Outbreaks::default();
    let mut alerts = Vec::new();
    for nth in 0..60 {
        let mail = Mail {
            at: START + nth * 20,
            host: 9,
            sender: person(nth % 5),
            recipients: 1,
            attachments: vec![attachment(nth, "pdf", Weight::Openable, 900 * nth)],
        };
        let outcome = observe(&mut outbreaks, &mail, &Expected::default());
        assert_eq!(outcome.held, None);
        alerts.extend(outcome.alerts);
    }
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0].detector, Detector::AttachingServer);
}

/// The alert that copies of one program bring, each from somebody else, by these hosts in turn; between them so much
/// other mail goes by, and the program is started anew before the last.
fn alert_of(hosts: &[u8], between: u64, restarts: bool) -> Alert {
    let mut outbreaks = Outbreaks::default();
    let mut at = START;
    let worm = attachment(1, "pe", Weight::Active, 50_000);
    for (who, host) in (0..).zip(hosts) {
        if restarts && usize::try_from(who).unwrap() + 1 == hosts.len() {
            let kept = serde_json::to_vec(&outbreaks).unwrap();
            outbreaks = serde_json::from_slice(&kept).unwrap();
        }
        let mut observe = |who: u64, host: u8, attachments: &[Attachment]| {
            at += 1;
            outbreaks.observe(
                &Observation {
                    at,
                    host: IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)),
                    sender: &person(who),
                    account: &person(who),
                    own: host < 100,
                    recipients: 1,
                    attachments,
                    trace: "1-1",
                },
                &Expected::default(),
            )
        };
        if let Some(alert) = observe(who, *host, &[worm]).alerts.pop() {
            return alert;
        }
        for nth in 0..between {
            observe(1_000 + nth, 200, &[]);
        }
    }
    unreachable!("three senders of one program are an outbreak");
}

#[test]
fn only_who_handed_over_all_of_it_is_named() {
    let two = Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)));
    for (hosts, named) in [
        (&[2, 2, 2], two),
        (&[2, 1, 2], None),
        // The first copies came from strangers.
        (&[150, 151, 2], None),
        (&[150, 2, 2], None),
    ] {
        for (between, restarts) in [(0, false), (600, false), (0, true), (600, true)] {
            let alert = alert_of(hosts, between, restarts);
            assert_eq!(alert.isolate, named, "{hosts:?} {between} {restarts}");
        }
    }
}

#[test]
fn of_more_senders_than_are_told_apart_it_is_still_known_that_another_host_is_among_them() {
    let mut senders = Vec::new();
    let mut sends = |host: u8, who: u64| {
        let seen = Observation {
            at: START + who,
            host: Ipv4Addr::new(10, 0, 0, host).into(),
            sender: "",
            account: "",
            own: true,
            recipients: 1,
            attachments: &[],
            trace: "",
        };
        remember(&mut senders, &seen, who);
        (senders.len(), alone(&senders))
    };
    let two = Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)));
    for who in 0..200 {
        assert_eq!(sends(2, who).1, two);
    }
    assert_eq!(sends(3, 200), (SENDERS, None));
    assert_eq!(sends(2, 201), (SENDERS, None));
}

#[test]
fn holds_are_bounded() {
    let mut outbreaks = Outbreaks::default();
    for nth in 0..1_000_u64 {
        for who in 0..3 {
            let mail = Mail {
                at: START + nth,
                host: 1,
                sender: person(who),
                recipients: 1,
                attachments: vec![attachment(nth, "pe", Weight::Active, 1 << (nth % 20))],
            };
            observe(&mut outbreaks, &mail, &Expected::default());
        }
    }
    assert_eq!(outbreaks.held(START + 999).count(), HOLDS);
}
