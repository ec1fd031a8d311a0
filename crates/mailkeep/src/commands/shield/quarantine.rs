//! `mailkeep shield quarantine`: the messages that a shield keeps from their recipients.
//!
//! The folder belongs to the shield and is only read here. What was done with a message, who was told and which lesson
//! he had is in the log of events.

mod digest;
mod lessons;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use mailkeep_inspect::kept::{Kept, MESSAGES, RECORDS, digest_of, is_id};
use mailkeep_inspect::{Profile, Verdict, judge};
use mailkeep_model::text::{printable, printable_max};
use mailkeep_model::{Event, EventKind, Realm, Timestamp};
use mailkeep_reach::notify::{self, MailTls};
use mailkeep_store::{SqliteStore, Store as _};

use crate::app::App;
use crate::cli::shield::{
    ListArgs, QuarantineCommand, RelayTls, ReleaseMailArgs, RescanArgs, ShowArgs,
};
use crate::commands::Done;
use crate::commands::rollout::{actor, only_now};

/// Octets of one encrypted message that are read at most.
const LARGEST: u64 = 1 << 30;

/// Runs it.
pub(super) fn run(app: &App, command: &QuarantineCommand) -> anyhow::Result<Done> {
    match command {
        QuarantineCommand::List(args) => list(app, args),
        QuarantineCommand::Show(args) => show(args),
        QuarantineCommand::ReleaseMail(args) => release(app, args),
        QuarantineCommand::Rescan(args) => rescan(app, args),
        QuarantineCommand::Digest(args) => digest::run(app, args),
        QuarantineCommand::Figures(args) => digest::figures(app, args),
    }
}

/// The log, where every other command of this fleet has it.
fn store(app: &App, fleet: Option<&Path>) -> anyhow::Result<SqliteStore> {
    let fleet = app.fleet(fleet)?;
    Ok(app.store(fleet.as_ref())?)
}

/// What was done with kept messages, by the log.
#[derive(Debug, Default)]
struct Past {
    /// Messages that were let out, to whom, and when first.
    released: BTreeMap<(String, String), Timestamp>,
    /// Who was told of which message.
    told: BTreeSet<(String, String)>,
    /// Which lessons each person had, and when first.
    lessons: BTreeMap<(String, String), Timestamp>,
}

impl Past {
    fn of(store: &SqliteStore) -> anyhow::Result<Self> {
        let mut past = Self::default();
        for recorded in store.held_mail_events()? {
            let at = recorded.event.at;
            match recorded.event.kind {
                EventKind::MessageReleased {
                    message,
                    recipients,
                    ..
                } => past.release(&message, recipients, at),
                EventKind::HeldMailTold {
                    person,
                    messages,
                    lessons,
                } => {
                    for message in messages {
                        past.told.insert((person.clone(), message));
                    }
                    for lesson in lessons {
                        past.lessons.entry((person.clone(), lesson)).or_insert(at);
                    }
                }
                _ => {}
            }
        }
        Ok(past)
    }

    fn release(&mut self, message: &str, recipients: Vec<String>, at: Timestamp) {
        for recipient in recipients {
            let key = (message.to_owned(), recipient);
            self.released.entry(key).or_insert(at);
        }
    }

    /// When a message was let out to one of its recipients.
    fn released_to(&self, kept: &Kept, recipient: &str) -> Option<Timestamp> {
        let key = (kept.id.clone(), recipient.to_owned());
        self.released.get(&key).copied()
    }

    /// Those from whom a message is kept still.
    fn waiting<'a>(&self, kept: &'a Kept) -> impl Iterator<Item = &'a String> {
        let waits = |recipient: &&String| self.released_to(kept, recipient).is_none();
        kept.recipients.iter().filter(waits)
    }

    /// Whether it is kept from somebody still; a message to nobody is.
    fn is_kept(&self, kept: &Kept) -> bool {
        kept.recipients.is_empty() || self.waiting(kept).next().is_some()
    }
}

/// All records, the oldest first. What cannot be read is named on standard error and counted.
fn records(folder: &Path) -> anyhow::Result<(Vec<Kept>, usize)> {
    let records = folder.join(RECORDS);
    let files = fs::read_dir(&records).with_context(|| {
        format!(
            "cannot read {}; --folder is the `folder` of [quarantine] in the shield's configuration",
            records.display()
        )
    })?;
    let (mut kept, mut unreadable) = (Vec::new(), 0);
    for file in files {
        let path = file
            .with_context(|| format!("cannot read {}", records.display()))?
            .path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match record(&path) {
            Ok(record) => kept.push(record),
            Err(error) => {
                unreadable += 1;
                App::warn(&format!("left out: {error:#}"));
            }
        }
    }
    kept.sort_by(|one, other| (one.at, &one.id).cmp(&(other.at, &other.id)));
    Ok((kept, unreadable))
}

fn record(path: &Path) -> anyhow::Result<Kept> {
    let octets = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Kept::read(&octets).with_context(|| format!("cannot use {}", path.display()))
}

/// The record of one message.
fn named(folder: &Path, id: &str) -> anyhow::Result<Kept> {
    if !is_id(id) {
        bail!(
            "{} is no id of a kept message; `list` shows them",
            printable(id)
        );
    }
    let path = folder.join(RECORDS).join(format!("{id}.json"));
    if !path.try_exists().unwrap_or(true) {
        bail!(
            "no message {id} is kept in {}; `list` shows those that are",
            folder.display()
        );
    }
    record(&path)
}

/// Whoever may read the messages.
struct Keys(Vec<Box<dyn age::Identity + Send + Sync>>);

impl Keys {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let file = age::IdentityFile::from_file(shown.clone())
            .with_context(|| format!("cannot read the key file {shown}"))?;
        let keys = file
            .into_identities()
            .ok()
            .with_context(|| format!("{shown} holds a key that cannot be used"))?;
        if keys.is_empty() {
            bail!("{shown} holds no key; `age-keygen -o FILE` makes one");
        }
        Ok(Self(keys))
    }

    /// The message of a record, decrypted, and what the record says it is.
    fn open(&self, folder: &Path, kept: &Kept) -> anyhow::Result<Vec<u8>> {
        let path = folder.join(MESSAGES).join(format!("{}.age", kept.digest));
        let what = || format!("cannot read the message {} in {}", kept.id, path.display());
        let size = fs::metadata(&path).with_context(what)?.len();
        if size > LARGEST {
            bail!(
                "{} has {size} octets: no shield has written that",
                path.display()
            );
        }
        let file = io::BufReader::new(fs::File::open(&path).with_context(what)?);
        let decryptor = age::Decryptor::new_buffered(file).with_context(what)?;
        let keys = self.0.iter().map(|key| &**key as &dyn age::Identity);
        let mut reader = decryptor.decrypt(keys).with_context(|| {
            format!(
                "none of the keys opens the message {}; its readers are those that the shield's \
                 configuration named when it was taken",
                kept.id
            )
        })?;
        let mut message = Vec::new();
        io::Read::read_to_end(&mut reader, &mut message).with_context(what)?;
        let found = digest_of(&message);
        if found != kept.digest {
            bail!(
                "the message {} in {} is not the one that was kept: its digest is {found}",
                kept.id,
                path.display()
            );
        }
        Ok(message)
    }
}

/// A moment of a record.
fn moment(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(|| seconds.to_string(), |moment| moment.to_string())
}

fn list(app: &App, args: &ListArgs) -> anyhow::Result<Done> {
    let (all, unreadable) = records(&args.folder)?;
    let past = Past::of(&store(app, args.fleet.as_deref())?)?;
    let about = args.about.as_deref().map(str::to_lowercase);
    let shown: Vec<&Kept> = all
        .iter()
        .filter(|kept| args.all || past.is_kept(kept))
        .filter(|kept| about.as_deref().is_none_or(|about| is_about(kept, about)))
        .collect();
    let mut out = Vec::new();
    for kept in &shown {
        if args.jsonl {
            let mut value = serde_json::to_value(kept)?;
            let released: serde_json::Map<_, _> = kept
                .recipients
                .iter()
                .filter_map(|one| Some((one.clone(), past.released_to(kept, one)?.to_string())))
                .map(|(one, at)| (one, at.into()))
                .collect();
            if let Some(fields) = value.as_object_mut()
                && !released.is_empty()
            {
                fields.insert("released".to_owned(), released.into());
            }
            writeln!(out, "{value}")?;
            continue;
        }
        let text = |text: &str| printable_max(text, 60);
        writeln!(
            out,
            "{}  {}  {}  <{}> to {}\n    {}\n    {}",
            kept.id,
            moment(kept.at),
            text(&kept.rule),
            text(&kept.sender),
            text(&kept.recipients.join(", ")),
            printable_max(&kept.subject, 100),
            printable_max(&kept.text, 200),
        )?;
        for one in &kept.recipients {
            if let Some(at) = past.released_to(kept, one) {
                writeln!(out, "    released to {} {at}", text(one))?;
            }
        }
    }
    io::stdout().lock().write_all(&out)?;
    let hidden = all.len() - shown.len();
    app.say(&format!(
        "{} kept, {hidden} not shown, {unreadable} unreadable",
        shown.len()
    ));
    Ok(if unreadable > 0 {
        Done::Findings
    } else {
        Done::Nothing
    })
}

fn is_about(kept: &Kept, about: &str) -> bool {
    [
        &kept.rule,
        &kept.sender,
        &kept.subject,
        &kept.from,
        &kept.id,
        &kept.digest,
    ]
    .into_iter()
    .chain(&kept.recipients)
    .any(|text| text.to_lowercase().contains(about))
}

fn show(args: &ShowArgs) -> anyhow::Result<Done> {
    let kept = named(&args.folder, &args.id)?;
    let mut out = Vec::new();
    if args.raw {
        let Some(key) = &args.key else {
            bail!("--raw needs --key FILE: the message is encrypted");
        };
        out = Keys::read(key)?.open(&args.folder, &kept)?;
    } else {
        let text = |text: &str| printable_max(text, 300);
        writeln!(out, "id          {}", kept.id)?;
        writeln!(
            out,
            "taken       {} by {}",
            moment(kept.at),
            text(&kept.listener)
        )?;
        writeln!(out, "deleted     {}", moment(kept.until))?;
        writeln!(out, "client      {}", text(&kept.client))?;
        writeln!(out, "sender      <{}>", text(&kept.sender))?;
        writeln!(out, "recipients  {}", text(&kept.recipients.join(", ")))?;
        writeln!(out, "From        {}", text(&kept.from))?;
        writeln!(out, "Subject     {}", text(&kept.subject))?;
        writeln!(out, "octets      {}, SHA-256 {}", kept.octets, kept.digest)?;
        writeln!(
            out,
            "rule        {}: {}",
            text(&kept.rule),
            text(&kept.text)
        )?;
        writeln!(out, "all rules   {}", text(&kept.rules.join(", ")))?;
        if let Some(key) = &args.key {
            let message = Keys::read(key)?.open(&args.folder, &kept)?;
            let judgement = judge(&message, &Profile::default());
            writeln!(out, "today       {}", judgement.verdict.name())?;
            for reason in &judgement.reasons {
                writeln!(
                    out,
                    "            {} {} {}",
                    text(&reason.rule),
                    text(&reason.place),
                    text(&reason.text)
                )?;
            }
        }
    }
    io::stdout().lock().write_all(&out)?;
    Ok(Done::Nothing)
}

fn release(app: &App, args: &ReleaseMailArgs) -> anyhow::Result<Done> {
    only_now(app)?;
    let keys = Keys::read(&args.key)?;
    let settings = relay(&args.to, args.tls)?;
    let mut store = store(app, args.fleet.as_deref())?;
    let mut past = Past::of(&store)?;
    let mut failed = 0;
    for id in &args.ids {
        match release_one(app, args, id, &keys, &settings, &mut past, &mut store) {
            Ok(()) => {}
            Err(error) => {
                failed += 1;
                App::complain(&error);
            }
        }
    }
    Ok(if failed == 0 {
        Done::Nothing
    } else {
        Done::Findings
    })
}

fn release_one(
    app: &App,
    args: &ReleaseMailArgs,
    id: &str,
    keys: &Keys,
    settings: &notify::MailSettings,
    past: &mut Past,
    store: &mut SqliteStore,
) -> anyhow::Result<()> {
    let kept = named(&args.folder, id)?;
    let mut recipients: Vec<String> = kept
        .recipients
        .iter()
        .filter(|recipient| args.recipient.is_empty() || args.recipient.contains(recipient))
        .cloned()
        .collect();
    if recipients.is_empty() {
        bail!(
            "{id} was for {}, and for none that you name",
            printable(&kept.recipients.join(", "))
        );
    }
    if !args.again {
        let before = recipients.iter();
        let before = before.filter_map(|recipient| past.released_to(&kept, recipient));
        let before = before.max();
        recipients.retain(|recipient| past.released_to(&kept, recipient).is_none());
        if let (true, Some(at)) = (recipients.is_empty(), before) {
            bail!("{id} was released {at}; --again sends it once more");
        }
    }
    let message = keys.open(&args.folder, &kept)?;
    notify::pass_on(settings, &kept.sender, &recipients, &message)
        .with_context(|| format!("{id} stays where it is"))?;
    store.append_event(&Event {
        at: app.now,
        realm: Realm::Live,
        kind: EventKind::MessageReleased {
            message: id.to_owned(),
            recipients: recipients.clone(),
            by: actor(app, None),
        },
    })?;
    app.say(&format!(
        "{id} went to {} for {}",
        settings.server,
        printable(&recipients.join(", "))
    ));
    past.release(id, recipients, app.now);
    Ok(())
}

/// Where released mail goes.
fn relay(to: &str, tls: RelayTls) -> anyhow::Result<notify::MailSettings> {
    let (server, port) = match to.rsplit_once(':') {
        Some((server, port)) => (
            server.trim_start_matches('[').trim_end_matches(']'),
            port.parse()
                .with_context(|| format!("{} in --to is no port", printable(port)))?,
        ),
        None => (to, 25),
    };
    Ok(notify::MailSettings {
        server: server.to_owned(),
        port,
        tls: match tls {
            RelayTls::Starttls => MailTls::Starttls,
            RelayTls::Implicit => MailTls::Implicit,
            RelayTls::None => MailTls::None,
        },
        credentials: None,
        // Says nothing here: the envelope and the headers are those of the message.
        from: String::new(),
        hello_name: None,
        timeout: Duration::from_mins(1),
        roots: crate::environment::roots(),
    })
}

fn rescan(app: &App, args: &RescanArgs) -> anyhow::Result<Done> {
    let keys = Keys::read(&args.key)?;
    let (all, unreadable) = records(&args.folder)?;
    let past = Past::of(&store(app, args.fleet.as_deref())?)?;
    let mut verdicts: BTreeMap<&str, (Verdict, String)> = BTreeMap::new();
    let (mut clean, mut failed) = (0, unreadable);
    let mut out = io::stdout().lock();
    for kept in all.iter().filter(|kept| past.is_kept(kept)) {
        // Equal messages are judged once.
        let (verdict, why) = match verdicts.get(kept.digest.as_str()) {
            Some(known) => known.clone(),
            None => match keys
                .open(&args.folder, kept)
                .and_then(|message| judge_again(&message, args))
            {
                Ok(found) => {
                    verdicts.insert(&kept.digest, found.clone());
                    found
                }
                Err(error) => {
                    failed += 1;
                    App::complain(&error);
                    continue;
                }
            },
        };
        clean += usize::from(verdict == Verdict::Accept);
        writeln!(
            out,
            "{}  {}  was {}: {}",
            kept.id,
            verdict.name(),
            printable_max(&kept.rule, 60),
            printable_max(&why, 200)
        )?;
    }
    app.say(&format!(
        "{clean} would be accepted now; {failed} could not be judged"
    ));
    Ok(if clean > 0 || failed > 0 {
        Done::Findings
    } else {
        Done::Nothing
    })
}

/// What today's rules and definitions say.
fn judge_again(message: &[u8], args: &RescanArgs) -> anyhow::Result<(Verdict, String)> {
    let judgement = judge(message, &Profile::default());
    let why = judgement.deciding().map_or_else(
        || "nothing found".to_owned(),
        |reason| format!("{} {}", reason.rule, reason.text),
    );
    if judgement.verdict == Verdict::Refuse {
        return Ok((judgement.verdict, why));
    }
    for socket in &args.clamd {
        if let Some(name) = mailkeep_reach::clamd::scan(socket, message)? {
            return Ok((
                Verdict::Refuse,
                format!("virus {name}, by {}", socket.display()),
            ));
        }
    }
    Ok((judgement.verdict, why))
}

/// The folder of a shield, as every command here takes it.
pub(crate) fn folder(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.join(RECORDS).is_dir() {
        Ok(path)
    } else {
        Err(format!(
            "there is no folder {RECORDS} in it: it is no quarantine of a shield, or you may not look into it"
        ))
    }
}
