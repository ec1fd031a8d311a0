//! Sending notices of plans, once each, and remembering what was sent: an entry in somebody's calendar
//! can only be changed or taken back by whoever knows its number.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use mailkeep_model::{PlanId, TeamName, text};
use mailkeep_reach::notify::{Calendar, Mail, MailError, send_mail};
use serde::{Deserialize, Serialize};

use super::calendar::{self, Entry, Method};
use super::notices::{Notice, Reservation};
use crate::app::{App, LoadedFleet, write_private, write_whole};
use crate::commands::watch::mail_settings;

/// How long before its begin a wave is reminded of. A working day: whoever has to be there can be.
const REMIND_BEFORE: SignedDuration = SignedDuration::from_hours(24);

/// Entries whose end is this long past are forgotten.
const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(24 * 400);

/// A version of an entry, as it was sent last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sent {
    notice: Notice,
    sequence: u32,
    to: Vec<String>,
    cancelled: bool,
    reminded: bool,
}

/// What was sent for one lineage of plans, or one reservation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Book {
    entries: BTreeMap<String, Sent>,
    /// Plans of which the result was told.
    #[serde(default)]
    results: Vec<PlanId>,
    #[serde(default)]
    reservation: Option<Reservation>,
    /// The plan of the lineage whose entries these are.
    #[serde(default)]
    plan: Option<PlanId>,
}

/// Everything that was sent, in a file of the state directory.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    books: BTreeMap<String, Book>,
}

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

/// One message that is due.
struct Due {
    book: String,
    method: Method,
    sequence: u32,
    notice: Notice,
    /// Words before the notice's own: what this message is.
    heading: &'static str,
    /// Whether it goes into a calendar.
    entry: bool,
}

impl Memory {
    /// Reads it. Unlike other memories one that is damaged is an error: begun anew, it would enter
    /// everything a second time.
    pub fn read(state: &Path) -> anyhow::Result<Self> {
        let path = state.join("plan-notices.json");
        let books = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "{} is damaged; it says what was sent to whom",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        Ok(Self { path, books })
    }

    fn write(&self) -> anyhow::Result<()> {
        write_private(&self.path, &serde_json::to_vec(&self.books)?)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Reservations in force that name one of these advisories.
    pub fn reservations_for<'a>(
        &'a self,
        advisories: &'a [mailkeep_model::AdvisoryId],
    ) -> impl Iterator<Item = String> + 'a {
        self.books.iter().filter_map(move |(name, book)| {
            let named = &book.reservation.as_ref()?.advisories;
            let answered = advisories.iter().any(|id| named.contains(id));
            let open = book.entries.values().any(|sent| !sent.cancelled);
            (answered && open).then(|| name.clone())
        })
    }

    /// Keeps what a reservation is for.
    pub fn reserve(&mut self, name: &str, reservation: Reservation) {
        self.books.entry(name.to_owned()).or_default().reservation = Some(reservation);
    }

    /// Whether anything was sent under a name.
    pub fn knows(&self, name: &str) -> bool {
        self.books.contains_key(name)
    }

    /// Keeps which plan a book's entries are of now.
    ///
    /// # Errors
    ///
    /// The memory cannot be written.
    pub fn belongs_to(&mut self, book: &str, plan: &PlanId) -> anyhow::Result<()> {
        match self.books.get_mut(book) {
            Some(book) if book.plan.as_ref() != Some(plan) => book.plan = Some(plan.clone()),
            _ => return Ok(()),
        }
        self.write()
    }

    /// Whether a book's entries are those of one of these plans. A plan made of one that has ended
    /// shares its book, and keeps its own invitations.
    pub fn is_of(&self, book: &str, plans: &[PlanId]) -> bool {
        let plan = self.books.get(book).and_then(|book| book.plan.as_ref());
        plan.is_none_or(|plan| plans.contains(plan))
    }

    /// Whether a book has entries that are still to come.
    pub fn expects(&self, book: &str, now: Timestamp) -> bool {
        !self.to_withdraw(book, now).is_empty()
    }

    /// What takes back the entries that have not begun.
    fn to_withdraw(&self, book: &str, now: Timestamp) -> Vec<Due> {
        let mut due = self.due(book, Vec::new(), now);
        due.retain(|item| item.notice.start > now);
        due
    }

    /// Names under which something was sent.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.books.keys().map(String::as_str)
    }

    /// Whether the result of a plan was told.
    pub fn told_result(&self, book: &str, plan: &PlanId) -> bool {
        self.books
            .get(book)
            .is_some_and(|book| book.results.contains(plan))
    }

    /// What must be sent so that a book's entries are these.
    fn due(&self, name: &str, wanted: Vec<Notice>, now: Timestamp) -> Vec<Due> {
        let nothing = Book::default();
        let book = self.books.get(name).unwrap_or(&nothing);
        let mut due = Vec::new();
        let uids: Vec<String> = wanted.iter().map(|notice| notice.uid.clone()).collect();
        for notice in wanted {
            let (sequence, heading) = match book.entries.get(&notice.uid) {
                Some(sent)
                    if !sent.cancelled && sent.notice.fingerprint() == notice.fingerprint() =>
                {
                    continue;
                }
                Some(sent) => (sent.sequence.saturating_add(1), "Changed"),
                None => (0, ""),
            };
            due.push(Due {
                book: name.to_owned(),
                method: Method::Request,
                sequence,
                notice,
                heading,
                entry: true,
            });
        }
        for (uid, sent) in &book.entries {
            if !sent.cancelled && !uids.contains(uid) && sent.notice.end > now {
                due.push(Due {
                    book: name.to_owned(),
                    method: Method::Cancel,
                    sequence: sent.sequence.saturating_add(1),
                    notice: sent.notice.clone(),
                    heading: "Cancelled",
                    entry: true,
                });
            }
        }
        due
    }

    /// What is to be reminded of, except of books whose rollout has ended.
    fn reminders(&self, ended: &BTreeSet<String>, now: Timestamp) -> Vec<Due> {
        let mut due = Vec::new();
        for (name, book) in &self.books {
            if ended.contains(name) {
                continue;
            }
            for sent in book.entries.values() {
                let until = sent.notice.start.duration_since(now);
                let soon = until.is_positive() && until <= REMIND_BEFORE;
                if soon && !sent.cancelled && !sent.reminded && !sent.notice.tentative {
                    due.push(Due {
                        book: name.clone(),
                        method: Method::Request,
                        sequence: sent.sequence,
                        notice: sent.notice.clone(),
                        heading: "Reminder",
                        entry: false,
                    });
                }
            }
        }
        due
    }

    fn note(&mut self, due: &Due, to: Vec<String>, now: Timestamp) {
        let book = self.books.entry(due.book.clone()).or_default();
        if !due.entry {
            if let Some(sent) = book.entries.get_mut(&due.notice.uid) {
                sent.reminded = true;
            }
            return;
        }
        let soon = due.notice.start.duration_since(now) <= REMIND_BEFORE;
        book.entries.insert(
            due.notice.uid.clone(),
            Sent {
                notice: due.notice.clone(),
                sequence: due.sequence,
                to,
                cancelled: due.method == Method::Cancel,
                // Who was told an hour ago needs no reminder.
                reminded: soon,
            },
        );
    }

    fn forget(&mut self, now: Timestamp) {
        self.books.retain(|_, book| {
            book.entries.is_empty()
                || book
                    .entries
                    .values()
                    .any(|sent| now.duration_since(sent.notice.end) < FORGET_AFTER)
        });
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
        memory.note(&item, to, app.now);
        // After each: what was sent is known though the next one fail.
        memory.forget(app.now);
        memory.write()?;
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
    let before = memory
        .books
        .get(&due.book)
        .and_then(|book| book.entries.get(&due.notice.uid));
    for address in before.into_iter().flat_map(|sent| &sent.to) {
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
    let mail = fleet
        .file
        .notify
        .as_ref()
        .and_then(|notify| notify.mail.as_ref());
    let organizer = mail.map_or("mailkeep@localhost", |mail| mail.from.as_str());
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
            let Some(mail) = mail else {
                bail!(
                    "the fleet file says nothing of how mail is sent ([notify.mail]); --output DIR \
                     writes files instead"
                );
            };
            let settings = mail_settings(fleet, mail)?;
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

/// Tells teams the result of a plan, by mail or into a file; once.
pub fn tell_result(
    app: &App,
    fleet: &LoadedFleet,
    memory: &mut Memory,
    told: &Told<'_>,
    road: Road<'_>,
) -> anyhow::Result<Posted> {
    let Told {
        book,
        plan,
        teams,
        subject,
        words,
    } = *told;
    let mut posted = Posted::default();
    let mut to: Vec<String> = Vec::new();
    let mut by_team: Vec<(&TeamName, Vec<String>)> = Vec::new();
    for team in teams {
        let known = addresses(fleet, team);
        if known.is_empty() {
            App::warn(&format!(
                "{team} has no mail address and is not told the result"
            ));
            posted.unreached += 1;
        }
        let mut new = Vec::new();
        for address in known {
            if !to.contains(&address) {
                to.push(address.clone());
                new.push(address);
            }
        }
        if !new.is_empty() {
            by_team.push((team, new));
        }
    }
    if to.is_empty() {
        return Ok(posted);
    }
    let told = text::printable(&to.join(", ")).into_owned();
    match road {
        Road::DryRun => {
            app.say(&format!("would tell {told}: {subject}"));
            posted.sent += 1;
            return Ok(posted);
        }
        Road::Directory(directory) => {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
            let path = directory.join(format!("result-{}.txt", super::kept::short(plan)));
            write_whole(&path, format!("{subject}\n\n{words}").as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
            app.say(&format!("wrote {} for {told}", path.display()));
        }
        Road::Mail => {
            let mail = fleet
                .file
                .notify
                .as_ref()
                .and_then(|notify| notify.mail.as_ref());
            let Some(mail) = mail else {
                bail!("the fleet file says nothing of how mail is sent ([notify.mail])");
            };
            let settings = mail_settings(fleet, mail)?;
            let mut reached = false;
            for (team, to) in by_team {
                let sent = send_mail(
                    &settings,
                    &Mail {
                        to: &to,
                        subject,
                        text: words,
                        html: None,
                        calendar: None,
                        date: app.now,
                    },
                );
                match sent {
                    Ok(()) => reached = true,
                    // Who was told already is not told twice, though the server be gone since.
                    Err(error) if reached || of_this_message(&error) => {
                        let error = anyhow::Error::new(error);
                        App::warn(&format!("{team} is not told the result: {error:#}"));
                        posted.unreached += 1;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
                let told = text::printable(&to.join(", ")).into_owned();
                app.say(&format!("told {told} by mail: {subject}"));
            }
            if !reached {
                return Ok(posted);
            }
        }
    }
    posted.sent += 1;
    let kept = memory.books.entry(book.to_owned()).or_default();
    kept.results.push(plan.clone());
    memory.write()?;
    Ok(posted)
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

#[cfg(test)]
mod tests {
    use mailkeep_model::RegionName;

    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap()
    }

    fn notice(uid: &str, start: i64, body: &str) -> Notice {
        Notice {
            uid: uid.to_owned(),
            team: TeamName::new("asia").unwrap(),
            region: RegionName::new("sg").unwrap(),
            start: at(start),
            end: at(start + 2),
            summary: "Patching".to_owned(),
            body: body.to_owned(),
            reference: "Plan 1".to_owned(),
            tentative: false,
        }
    }

    /// Sends what is due, as `method sequence uid`.
    fn send(memory: &mut Memory, wanted: &[Notice], now: i64) -> Vec<String> {
        let due = memory.due("live:1", wanted.to_vec(), at(now));
        note(memory, &due, now)
    }

    fn remind(memory: &mut Memory, now: i64) -> Vec<String> {
        let due = memory.reminders(&BTreeSet::new(), at(now));
        note(memory, &due, now)
    }

    fn note(memory: &mut Memory, due: &[Due], now: i64) -> Vec<String> {
        due.iter()
            .map(|item| {
                memory.note(item, vec!["asia@harbour.example".to_owned()], at(now));
                let heading = item.heading;
                let uid = &item.notice.uid;
                format!("{heading} {} {} {uid}", item.method.name(), item.sequence)
            })
            .collect()
    }

    fn plan_id(digit: char) -> PlanId {
        PlanId::new(format!("sha256:{}", digit.to_string().repeat(64))).unwrap()
    }

    fn memory() -> Memory {
        Memory {
            path: PathBuf::new(),
            books: BTreeMap::new(),
        }
    }

    #[test]
    fn an_entry_is_sent_once_changed_with_a_higher_number_and_taken_back_with_a_higher_still() {
        let mut memory = memory();
        let (a, b) = (notice("a", 100, "x"), notice("b", 200, "x"));
        let both = [a.clone(), b.clone()];
        assert_eq!(
            send(&mut memory, &both, 0),
            [" REQUEST 0 a", " REQUEST 0 b"]
        );
        assert!(send(&mut memory, &both, 1).is_empty());
        // Another plan that changes nothing for this team is no news.
        let mut same = a.clone();
        same.reference = "Plan 2".to_owned();
        assert!(send(&mut memory, &[same, b.clone()], 2).is_empty());
        let later = notice("a", 110, "x");
        assert_eq!(
            send(&mut memory, &[later.clone(), b], 3),
            ["Changed REQUEST 1 a"]
        );
        assert_eq!(
            send(&mut memory, std::slice::from_ref(&later), 4),
            ["Cancelled CANCEL 1 b"]
        );
        assert!(send(&mut memory, &[later], 5).is_empty());
        // What is over is not taken back.
        assert!(send(&mut memory, &[], 113).is_empty());
        // One that comes again is a change of the one that was taken back.
        assert_eq!(
            send(&mut memory, &[notice("b", 300, "x")], 114),
            ["Changed REQUEST 2 b"]
        );
    }

    #[test]
    fn a_reminder_comes_once_a_day_ahead_and_not_of_what_was_taken_back() {
        let mut memory = memory();
        let (a, b) = (notice("a", 100, "x"), notice("b", 100, "x"));
        send(&mut memory, &[a.clone(), b], 0);
        send(&mut memory, &[a], 1);
        assert!(remind(&mut memory, 75).is_empty());
        assert_eq!(remind(&mut memory, 76), ["Reminder REQUEST 0 a"]);
        assert!(remind(&mut memory, 77).is_empty());
        // Moved, it is reminded of anew; told within the day, it is not.
        send(&mut memory, &[notice("a", 200, "x")], 78);
        assert_eq!(remind(&mut memory, 180), ["Reminder REQUEST 1 a"]);
        send(&mut memory, &[notice("c", 220, "x")], 199);
        assert!(remind(&mut memory, 200).is_empty());
        let mut reserved = notice("d", 400, "x");
        reserved.tentative = true;
        send(&mut memory, &[reserved], 201);
        assert!(remind(&mut memory, 390).is_empty());
    }

    #[test]
    fn of_a_rollout_that_ended_only_what_has_not_begun_is_taken_back_and_nothing_reminded_of() {
        let mut memory = memory();
        send(
            &mut memory,
            &[notice("a", 100, "x"), notice("b", 110, "x")],
            0,
        );
        let ended = BTreeSet::from(["live:1".to_owned()]);
        assert!(memory.reminders(&ended, at(101)).is_empty());
        let due = memory.to_withdraw("live:1", at(101));
        assert_eq!(note(&mut memory, &due, 101), ["Cancelled CANCEL 1 b"]);
        assert!(!memory.expects("live:1", at(101)));
    }

    #[test]
    fn a_later_plan_of_the_lineage_keeps_its_own_entries() {
        let mut memory = memory();
        let (first, second) = (plan_id('1'), plan_id('2'));
        send(&mut memory, &[notice("a", 100, "x")], 0);
        let only_first = [first.clone()];
        assert!(memory.is_of("live:1", &only_first));
        memory.books.get_mut("live:1").unwrap().plan = Some(second.clone());
        assert!(!memory.is_of("live:1", &only_first));
        assert!(memory.is_of("live:1", &[second, first]));
    }

    #[test]
    fn a_damaged_memory_is_not_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Memory::read(directory.path()).unwrap().books.is_empty());
        std::fs::write(directory.path().join("plan-notices.json"), "{").unwrap();
        let error = Memory::read(directory.path()).unwrap_err();
        assert!(error.to_string().contains("is damaged"));
    }
}
