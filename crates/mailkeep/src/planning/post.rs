//! Sending notices of plans, once each.
//!
//! Entry: [`post`], [`withdraw`], [`remind`], [`tell_result`]. What was sent is [`Memory`]'s.

mod memory;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use mailkeep_model::{PlanId, TeamName, text};
use mailkeep_reach::notify::{Calendar, Mail, MailError, send_mail};

use super::calendar::{self, Entry};
use super::notices::Notice;
use crate::app::{App, LoadedFleet, write_whole};
use crate::commands::watch::mail_settings;
use crate::fleet::MailSettings;
use memory::Due;

pub use memory::Memory;

/// How notices leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road<'a> {
    /// Written into this directory.
    Directory(&'a Path),
    /// Said, and not sent.
    DryRun,
    /// By mail.
    Mail,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Posted {
    /// Messages sent, written or said.
    pub sent: usize,
    /// Notices that nobody got: the team has no address, or its mail was refused.
    pub unreached: usize,
}

impl std::ops::AddAssign for Posted {
    fn add_assign(&mut self, more: Self) {
        self.sent += more.sent;
        self.unreached += more.unreached;
    }
}

/// Lets a book's entries be these: sends what is new, changed, or no longer so.
pub fn post(
    app: &App,
    fleet: &LoadedFleet,
    memory: &mut Memory,
    book: &str,
    wanted: Vec<Notice>,
    road: Road<'_>,
) -> anyhow::Result<Posted> {
    let due = memory.due(book, wanted, app.now);
    send_all(app, fleet, memory, due, road)
}

/// Takes back what has not begun of a book whose rollout has ended: nobody has to be there any more.
/// What is under way or over stays, it was done.
pub fn withdraw(
    app: &App,
    fleet: &LoadedFleet,
    memory: &mut Memory,
    book: &str,
    road: Road<'_>,
) -> anyhow::Result<Posted> {
    let due = memory.to_withdraw(book, app.now);
    send_all(app, fleet, memory, due, road)
}

/// Sends the reminders that are due, except of books whose rollout has ended.
pub fn remind(
    app: &App,
    fleet: &LoadedFleet,
    memory: &mut Memory,
    ended: &BTreeSet<String>,
    road: Road<'_>,
) -> anyhow::Result<Posted> {
    let due = memory.reminders(ended, app.now);
    send_all(app, fleet, memory, due, road)
}

fn send_all(
    app: &App,
    fleet: &LoadedFleet,
    memory: &mut Memory,
    due: Vec<Due>,
    road: Road<'_>,
) -> anyhow::Result<Posted> {
    let mut posted = Posted::default();
    for item in due {
        // Who had the entry must have its change, too, though the team's address be another now.
        let to = recipients(fleet, memory, &item);
        if to.is_empty() {
            App::warn(&format!(
                "{} has no mail address and is not told of {}",
                item.notice.team, item.notice.summary
            ));
            posted.unreached += 1;
            continue;
        }
        let remember = match send(app, fleet, &item, &to, road) {
            Ok(remember) => remember,
            // One team's bad mailbox must not withhold what the others are to know.
            Err(error) if refused(&error) => {
                App::warn(&format!(
                    "{} is not told of {}: {error:#}",
                    item.notice.team, item.notice.summary
                ));
                posted.unreached += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        posted.sent += 1;
        if !remember {
            continue;
        }
        memory.keep(&item, to, app.now)?;
    }
    Ok(posted)
}

/// Whether this message was refused, and another may yet go: no server, or no settings, is the end of
/// all of them.
fn refused(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<MailError>()
        .is_some_and(of_this_message)
}

fn of_this_message(error: &MailError) -> bool {
    matches!(
        error,
        MailError::BadAddress { .. }
            | MailError::Compose { .. }
            | MailError::HeaderInjection { .. }
            | MailError::NoRecipient { .. }
            | MailError::Refused { .. }
    )
}

fn recipients(fleet: &LoadedFleet, memory: &Memory, due: &Due) -> Vec<String> {
    let mut to = addresses(fleet, &due.notice.team);
    for address in memory.sent_to(&due.book, &due.notice.uid) {
        if due.entry && !to.contains(address) {
            to.push(address.clone());
        }
    }
    to
}

fn addresses(fleet: &LoadedFleet, team: &TeamName) -> Vec<String> {
    let team = fleet.file.fleet.teams.get(team);
    team.map(|team| team.email.clone()).unwrap_or_default()
}

/// Sends one message. Whether it is to be remembered.
fn send(
    app: &App,
    fleet: &LoadedFleet,
    due: &Due,
    to: &[String],
    road: Road<'_>,
) -> anyhow::Result<bool> {
    let notice = &due.notice;
    let subject = if due.heading.is_empty() {
        notice.summary.clone()
    } else {
        format!("{}: {}", due.heading, notice.summary)
    };
    let subject = text::printable(&subject).into_owned();
    let told = text::printable(&to.join(", ")).into_owned();
    let mail = relay(fleet);
    let organizer = match &mail {
        Ok(mail) => mail.from.as_str(),
        Err(_) => "mailkeep@localhost",
    };
    let words = notice.text();
    let entry = Entry {
        method: due.method,
        uid: &notice.uid,
        sequence: due.sequence,
        stamp: app.now,
        start: notice.start,
        end: notice.end,
        summary: &notice.summary,
        description: &words,
        location: notice.region.as_str(),
        tentative: notice.tentative,
        organizer,
        attendees: (notice.team.as_str(), to),
    };
    match road {
        Road::DryRun => {
            app.say(&format!("would tell {told}: {subject}"));
            Ok(false)
        }
        Road::Directory(directory) => {
            let name = notice.uid.trim_end_matches("@mailkeep");
            let region = file_name(notice.region.as_str());
            let path = if due.entry {
                directory.join(format!("{region}-{}.ics", name.get(..12).unwrap_or(name)))
            } else {
                directory.join(format!("{region}-{}.txt", name.get(..12).unwrap_or(name)))
            };
            let content = if due.entry {
                calendar::write(&entry)
            } else {
                format!("{subject}\n\n{words}")
            };
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
            write_whole(&path, content.as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
            app.say(&format!("wrote {} for {told}: {subject}", path.display()));
            Ok(true)
        }
        Road::Mail => {
            let settings = mail_settings(fleet, mail?)?;
            let ics = calendar::write(&entry);
            send_mail(
                &settings,
                &Mail {
                    to,
                    subject: &subject,
                    text: &words,
                    html: None,
                    calendar: due.entry.then_some(Calendar {
                        method: due.method.name(),
                        text: &ics,
                    }),
                    date: app.now,
                },
            )?;
            app.say(&format!("told {told} by mail: {subject}"));
            Ok(true)
        }
    }
}

/// The result of a plan, and whom it is told to.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// Under which name the plan's notices are remembered.
    pub book: &'a str,
    /// Which plan.
    pub plan: &'a PlanId,
    /// To whom.
    pub teams: &'a BTreeSet<TeamName>,
    /// One line.
    pub subject: &'a str,
    /// The rest.
    pub words: &'a str,
}

/// Tells teams the result of a plan, by mail or into a file; each team once. One whose mail was refused
/// is told when this is asked again.
pub fn tell_result(
    app: &App,
    fleet: &LoadedFleet,
    memory: &mut Memory,
    told: &Told<'_>,
    road: Road<'_>,
) -> anyhow::Result<Posted> {
    let mut posted = Posted::default();
    let before = memory.told(told.book, told.plan);
    // Addresses that have it: two teams may share one.
    let mut reached: BTreeSet<String> = before
        .iter()
        .flat_map(|team| addresses(fleet, team))
        .collect();
    let mut is_whole = true;
    for team in told.teams.difference(&before) {
        let mut to = addresses(fleet, team);
        if to.is_empty() {
            App::warn(&format!(
                "{team} has no mail address and is not told the result"
            ));
            posted.unreached += 1;
            continue;
        }
        to.retain(|address| !reached.contains(address));
        if !to.is_empty() {
            match send_result(app, fleet, told, &to, road) {
                Ok(()) => posted.sent += 1,
                Err(error) if refused(&error) => {
                    App::warn(&format!("{team} is not told the result: {error:#}"));
                    posted.unreached += 1;
                    is_whole = false;
                    continue;
                }
                Err(error) => return Err(error),
            }
        }
        reached.extend(to);
        if road != Road::DryRun {
            memory.note_told(told.book, told.plan, team)?;
        }
    }
    if road != Road::DryRun && is_whole && !reached.is_empty() {
        memory.note_result(told.book, told.plan)?;
    }
    Ok(posted)
}

fn send_result(
    app: &App,
    fleet: &LoadedFleet,
    told: &Told<'_>,
    to: &[String],
    road: Road<'_>,
) -> anyhow::Result<()> {
    let (subject, words) = (told.subject, told.words);
    let names = text::printable(&to.join(", ")).into_owned();
    match road {
        Road::DryRun => app.say(&format!("would tell {names}: {subject}")),
        Road::Directory(directory) => {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
            let path = directory.join(format!("result-{}.txt", told.plan.short()));
            write_whole(&path, format!("{subject}\n\n{words}").as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
            app.say(&format!("wrote {} for {names}", path.display()));
        }
        Road::Mail => {
            let mail = Mail {
                to,
                subject,
                text: words,
                html: None,
                calendar: None,
                date: app.now,
            };
            send_mail(&mail_settings(fleet, relay(fleet)?)?, &mail)?;
            app.say(&format!("told {names} by mail: {subject}"));
        }
    }
    Ok(())
}

/// How mail is sent.
fn relay(fleet: &LoadedFleet) -> anyhow::Result<&MailSettings> {
    let notify = fleet.file.notify.as_ref();
    notify.and_then(|notify| notify.mail.as_ref()).context(
        "the fleet file says nothing of how mail is sent ([notify.mail]); --output DIR writes files \
         instead",
    )
}

/// A region's name as part of a file's name.
fn file_name(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .take(60)
        .collect()
}
