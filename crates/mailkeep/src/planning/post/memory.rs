//! What was sent for each plan and each reservation, and what is due because of it: an entry in
//! somebody's calendar can only be changed or taken back by whoever knows its number.
//!
//! Entry type: [`Memory`]. Sends nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use mailkeep_model::{AdvisoryId, PlanId, TeamName};
use serde::{Deserialize, Serialize};

use crate::app::write_private;
use crate::planning::calendar::Method;
use crate::planning::notices::{Notice, Reservation};

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
    /// Plans of which the result was told to every team that can be told.
    #[serde(default)]
    results: Vec<PlanId>,
    /// Teams that were told the result of a plan while others were not yet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    told: BTreeMap<PlanId, BTreeSet<TeamName>>,
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

/// One message that is due.
pub(super) struct Due {
    pub(super) book: String,
    pub(super) method: Method,
    pub(super) sequence: u32,
    pub(super) notice: Notice,
    /// Words before the notice's own: what this message is.
    pub(super) heading: &'static str,
    /// Whether it goes into a calendar.
    pub(super) entry: bool,
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
        advisories: &'a [AdvisoryId],
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
    pub(super) fn to_withdraw(&self, book: &str, now: Timestamp) -> Vec<Due> {
        let mut due = self.due(book, Vec::new(), now);
        due.retain(|item| item.notice.start > now);
        due
    }

    /// Names under which something was sent.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.books.keys().map(String::as_str)
    }

    /// Whether the result of a plan was told to every team that can be told.
    pub fn told_result(&self, book: &str, plan: &PlanId) -> bool {
        self.books
            .get(book)
            .is_some_and(|book| book.results.contains(plan))
    }

    /// Teams that were told the result of a plan, where others were not.
    pub(super) fn told(&self, book: &str, plan: &PlanId) -> BTreeSet<TeamName> {
        let told = self.books.get(book).and_then(|book| book.told.get(plan));
        told.cloned().unwrap_or_default()
    }

    /// Keeps that a team was told the result of a plan.
    pub(super) fn note_told(
        &mut self,
        book: &str,
        plan: &PlanId,
        team: &TeamName,
    ) -> anyhow::Result<()> {
        let book = self.books.entry(book.to_owned()).or_default();
        let told = book.told.entry(plan.clone()).or_default();
        told.insert(team.clone());
        self.write()
    }

    /// Keeps that the result of a plan was told to whom it can be.
    pub(super) fn note_result(&mut self, book: &str, plan: &PlanId) -> anyhow::Result<()> {
        let book = self.books.entry(book.to_owned()).or_default();
        book.told.remove(plan);
        book.results.push(plan.clone());
        self.write()
    }

    /// To whom an entry was sent last.
    pub(super) fn sent_to(&self, book: &str, uid: &str) -> &[String] {
        let book = self.books.get(book);
        let sent = book.and_then(|book| book.entries.get(uid));
        sent.map_or(&[], |sent| &sent.to)
    }

    /// Keeps that a message was sent: at once, so that it is known though the next one fail.
    pub(super) fn keep(
        &mut self,
        due: &Due,
        to: Vec<String>,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        self.note(due, to, now);
        self.forget(now);
        self.write()
    }

    /// What must be sent so that a book's entries are these.
    pub(super) fn due(&self, name: &str, wanted: Vec<Notice>, now: Timestamp) -> Vec<Due> {
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
    pub(super) fn reminders(&self, ended: &BTreeSet<String>, now: Timestamp) -> Vec<Due> {
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
