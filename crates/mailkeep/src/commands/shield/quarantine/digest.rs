//! Tells people which mail is kept from them, and teaches them to recognise the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use mailkeep_inspect::kept::Kept;
use mailkeep_model::text::printable_max;
use mailkeep_model::{Event, EventKind, Realm};
use mailkeep_reach::notify::{Mail, send_mail};
use mailkeep_store::Store as _;

use super::lessons::{self, LESSONS};
use super::{Past, moment, records};
use crate::app::{App, write_whole};
use crate::cli::shield::{DigestArgs, FiguresArgs};
use crate::commands::Done;
use crate::commands::rollout::only_now;
use crate::commands::watch::mail_settings;

/// Messages that one digest lists; more are counted.
const LISTED: usize = 50;

/// Runs `shield quarantine digest`.
pub(super) fn run(app: &App, args: &DigestArgs) -> anyhow::Result<Done> {
    if !args.dry_run {
        only_now(app)?;
    }
    let fleet = app
        .fleet(args.fleet.as_deref())?
        .context("no fleet file: it says how mail is sent; name one with --fleet")?;
    let (all, unreadable) = records(&args.folder)?;
    let mut store = app.store(Some(&fleet))?;
    let past = Past::of(&store)?;
    let settings = if args.dry_run || args.into.is_some() {
        None
    } else {
        let mail = fleet
            .file
            .notify
            .as_ref()
            .and_then(|notify| notify.mail.as_ref())
            .context(
                "the fleet file says nothing of how mail is sent ([notify.mail]); --into DIR writes files instead",
            )?;
        Some(mail_settings(&fleet, mail)?)
    };
    let (mut told, mut failed) = (0, unreadable);
    for (person, messages) in due(&all, &past) {
        let digest = write(&person, &messages, &past);
        if args.dry_run {
            println(&format!(
                "To: {person}\nSubject: {}\n\n{}",
                digest.subject, digest.text
            ))?;
            continue;
        }
        let sent = match (&args.into, &settings) {
            (Some(folder), _) => write_to(folder, &person, &digest),
            (None, Some(settings)) => send_mail(
                settings,
                &Mail {
                    to: std::slice::from_ref(&person),
                    subject: &digest.subject,
                    text: &digest.text,
                    html: None,
                    calendar: None,
                    date: app.now,
                },
            )
            .map_err(anyhow::Error::from),
            (None, None) => Ok(()),
        };
        if let Err(error) = sent {
            failed += 1;
            App::complain(&error.context(format!("{} was not told", printable_max(&person, 100))));
            continue;
        }
        told += 1;
        store.append_event(&Event {
            at: app.now,
            realm: Realm::Live,
            kind: EventKind::HeldMailTold {
                person,
                messages: messages.iter().map(|kept| kept.id.clone()).collect(),
                lessons: digest
                    .lessons
                    .iter()
                    .map(|name| (*name).to_owned())
                    .collect(),
            },
        })?;
    }
    app.say(&format!("{told} told, {failed} not"));
    Ok(if failed > 0 {
        Done::Findings
    } else {
        Done::Nothing
    })
}

fn println(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

fn write_to(folder: &Path, person: &str, digest: &Digest) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let name: String = person
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "@.-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .take(100)
        .collect();
    let path = folder.join(format!("{}.txt", name.trim_start_matches('.')));
    write_whole(
        &path,
        format!("{}\n\n{}", digest.subject, digest.text).as_bytes(),
    )
    .with_context(|| format!("cannot write {}", path.display()))
}

/// Who is to be told of what: recipients, as their addresses are without regard to case.
fn due<'a>(all: &'a [Kept], past: &Past) -> BTreeMap<String, Vec<&'a Kept>> {
    let mut due: BTreeMap<String, Vec<&Kept>> = BTreeMap::new();
    for kept in all {
        let people: BTreeSet<String> = past.waiting(kept).map(|one| one.to_lowercase()).collect();
        for person in people {
            if !past.told.contains(&(person.clone(), kept.id.clone())) {
                due.entry(person).or_default().push(kept);
            }
        }
    }
    due
}

#[derive(Debug)]
struct Digest {
    subject: String,
    text: String,
    /// Lessons in it that this person has not had.
    lessons: Vec<&'static str>,
}

fn write(person: &str, messages: &[&Kept], past: &Past) -> Digest {
    let count = messages.len();
    let subject = match count {
        1 => "1 message to you was held back".to_owned(),
        count => format!("{count} messages to you were held back"),
    };
    let mut text = String::from(
        "These messages were sent to you and look dangerous, so they were not delivered. You need not do anything. If one \
         of them is honest and you expect it, ask your postmaster to release it, and name its number.\n",
    );
    for kept in messages.iter().take(LISTED) {
        write!(
            text,
            "\n  {}\n  from     {}\n  subject  {}\n  because  {}\n  number   {}, deleted {}\n",
            moment(kept.at),
            printable_max(
                if kept.from.is_empty() {
                    &kept.sender
                } else {
                    &kept.from
                },
                120
            ),
            printable_max(&kept.subject, 120),
            printable_max(&kept.text, 300),
            kept.id,
            moment(kept.until),
        )
        .ok();
    }
    if count > LISTED {
        write!(text, "\n  and {} more.\n", count - LISTED).ok();
    }
    let taught: BTreeSet<&str> = messages
        .iter()
        .filter_map(|kept| lessons::of_rule(&kept.rule))
        .map(|lesson| lesson.name)
        .collect();
    let mut new = Vec::new();
    for lesson in LESSONS.iter().filter(|lesson| taught.contains(lesson.name)) {
        // The whole lesson once; after that a reminder.
        if past
            .lessons
            .contains_key(&(person.to_owned(), lesson.name.to_owned()))
        {
            write!(text, "\nYou know this one: {}.\n", lesson.title).ok();
        } else {
            new.push(lesson.name);
            write!(text, "\n{}\n{}\n", lesson.title, lesson.text).ok();
        }
    }
    Digest {
        subject,
        text,
        lessons: new,
    }
}

/// Runs `shield quarantine figures`: what each team was held back from, and which lessons it had.
pub(super) fn figures(app: &App, args: &FiguresArgs) -> anyhow::Result<Done> {
    let teams = match &args.people {
        Some(path) => Some(people(path)?),
        None => None,
    };
    let past = Past::of(&super::store(app, args.fleet.as_deref())?)?;
    let (all, _) = match &args.folder {
        Some(folder) => records(folder)?,
        None => (Vec::new(), 0),
    };
    let mut figures: BTreeMap<String, Figures> = BTreeMap::new();
    for kept in &all {
        let lesson = lessons::of_rule(&kept.rule).map(|lesson| lesson.name);
        for person in kept.recipients.iter().map(|one| one.to_lowercase()) {
            let team = figures.entry(team_of(&person, teams.as_ref())).or_default();
            team.held += 1;
            if let Some(lesson) = lesson {
                *team.kinds.entry(lesson).or_default() += 1;
            }
            team.people.insert(person);
        }
    }
    for (person, lesson) in past.lessons.keys() {
        let Some(lesson) = lessons::named(lesson) else {
            continue;
        };
        let team = figures.entry(team_of(person, teams.as_ref())).or_default();
        *team.had.entry(lesson.name).or_default() += 1;
        team.people.insert(person.clone());
    }
    let mut out = io::stdout().lock();
    for (team, figures) in &figures {
        writeln!(
            out,
            "{}: {} people, {} messages held back",
            printable_max(team, 60),
            figures.people.len(),
            figures.held
        )?;
        for lesson in LESSONS {
            let count = |of: &BTreeMap<&str, usize>| of.get(lesson.name).copied().unwrap_or(0);
            let (held, had) = (count(&figures.kinds), count(&figures.had));
            if held + had > 0 {
                writeln!(
                    out,
                    "  {:<22} {held:>5} held  {had:>5} have had the lesson",
                    lesson.name
                )?;
            }
        }
    }
    Ok(Done::Nothing)
}

#[derive(Debug, Default)]
struct Figures {
    people: BTreeSet<String>,
    held: usize,
    kinds: BTreeMap<&'static str, usize>,
    had: BTreeMap<&'static str, usize>,
}

/// The team of an address: as the file says, else its domain.
fn team_of(person: &str, teams: Option<&BTreeMap<String, String>>) -> String {
    let listed = teams.and_then(|teams| teams.get(person));
    listed.cloned().unwrap_or_else(|| {
        let domain = person.rsplit_once('@').map(|(_, domain)| domain);
        domain.unwrap_or("nobody knows").to_owned()
    })
}

/// Lines of `address,team`.
fn people(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut teams = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (address, team) = line.split_once(',').with_context(|| {
            format!(
                "{}, line {}: not an address, a comma and a team",
                path.display(),
                number + 1
            )
        })?;
        teams.insert(address.trim().to_lowercase(), team.trim().to_owned());
    }
    Ok(teams)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mailkeep_model::Timestamp;

    fn kept(id: &str, rule: &str, to: &[&str]) -> Kept {
        Kept {
            format: 1,
            id: id.to_owned(),
            at: 1_795_000_000,
            until: 1_797_592_000,
            digest: "0".repeat(64),
            octets: 10,
            listener: "mx".to_owned(),
            client: String::new(),
            sender: "a@example.net".to_owned(),
            recipients: to.iter().map(|one| (*one).to_owned()).collect(),
            subject: "Invoice\u{202e}".to_owned(),
            from: "A <a@example.net>".to_owned(),
            rule: rule.to_owned(),
            text: "The attachment holds macros.".to_owned(),
            rules: Vec::new(),
        }
    }

    #[test]
    fn a_lesson_is_given_once_and_then_only_recalled() {
        let one = kept("a-1", "office-macro", &["ada@example.org"]);
        let mut past = Past::default();
        let first = write("ada@example.org", &[&one], &past);
        assert_eq!(first.lessons, ["macro"]);
        assert!(first.text.contains("enable content"), "{}", first.text);
        past.lessons.insert(
            ("ada@example.org".to_owned(), "macro".to_owned()),
            Timestamp::UNIX_EPOCH,
        );
        let second = write("ada@example.org", &[&one], &past);
        assert_eq!(second.lessons, Vec::<&str>::new());
        assert!(!second.text.contains("enable content"));
        assert!(second.text.contains("You know this one"));
    }

    #[test]
    fn nobody_is_told_twice_nor_of_what_was_released() {
        let all = [
            kept(
                "a-1",
                "office-macro",
                &["Ada@example.org", "ada@example.org", "bob@example.org"],
            ),
            kept("a-2", "script", &["ada@example.org"]),
            kept("a-3", "script", &["bob@example.org"]),
            kept("a-4", "script", &["ada@example.org", "carol@example.org"]),
        ];
        let mut past = Past::default();
        past.told
            .insert(("ada@example.org".to_owned(), "a-1".to_owned()));
        past.release(
            "a-3",
            vec!["bob@example.org".to_owned()],
            Timestamp::UNIX_EPOCH,
        );
        // To one of two: the other one waits.
        past.release(
            "a-4",
            vec!["ada@example.org".to_owned()],
            Timestamp::UNIX_EPOCH,
        );
        let due = due(&all, &past);
        let ids = |person: &str| -> Vec<&str> {
            due[person].iter().map(|kept| kept.id.as_str()).collect()
        };
        assert_eq!(ids("ada@example.org"), ["a-2"]);
        assert_eq!(ids("bob@example.org"), ["a-1"]);
        assert_eq!(ids("carol@example.org"), ["a-4"]);
    }

    #[test]
    fn what_a_stranger_wrote_is_made_printable() {
        let one = kept("a-1", "office-macro", &["ada@example.org"]);
        let digest = write("ada@example.org", &[&one], &Past::default());
        assert!(!digest.text.contains('\u{202e}'));
    }
}
