//! `mailkeep watch`: update, check, tell.
//!
//! What is to be told is written down before it is sent and struck out after, so that a notice is
//! never lost to a crash or a mail server that is down; it can come twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use mailkeep_model::{FeedState, HostStatus, Realm, TeamName, text};
use mailkeep_reach::notify::{self, Mail, run_command, send_mail};
use mailkeep_reach::{Secret, notify::MailCredentials};
use mailkeep_store::{Snapshot, Store};
use mailkeep_triage::Change;
use serde::{Deserialize, Serialize};

use super::feeds::{self, Choice};
use super::{Done, check as check_command, scan};
use crate::answer::Answer;
use crate::app::{App, LoadedFleet, write_whole};
use crate::check::{Terms, check};
use crate::cli::{Scope, WatchArgs};
use crate::fleet::{MailTls, NotifySettings};
use crate::output::table::change_line;

/// Longest a program may take to deal with a notice.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(1);

/// Notices kept for a receiver that is down, before the oldest are dropped with a warning.
const MAX_PENDING: usize = 1000;

/// Changes told to one owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Whose.
    pub owner: Option<TeamName>,
    /// When it was found.
    pub at: Timestamp,
    /// One line.
    pub subject: String,
    /// For a person.
    pub text: String,
    /// For a program: `{"schema": "mailkeep.notice/1", "realm": ..., "changes": [...]}`.
    pub json: String,
    /// Roads it still has to take.
    pub roads: Vec<Road>,
}

/// How a notice goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Road {
    /// A program.
    Command,
    /// By mail to the owner.
    Mail,
    /// Posted to an address.
    Webhook,
}

/// Runs it.
pub fn run(app: &App, args: &WatchArgs) -> anyhow::Result<Done> {
    let mut found = false;
    loop {
        let now = if app.fixed_time {
            app.now
        } else {
            crate::now()
        };
        let round = app.at(now);
        match self::round(&round, args) {
            Ok(changed) => found |= changed,
            // A round that fails must not end the watch; the next may do better.
            Err(error) if !args.once => App::warn(&format!("error: {error:#}")),
            Err(error) => return Err(error),
        }
        if args.once {
            return Ok(if found { Done::Findings } else { Done::Nothing });
        }
        std::thread::sleep(Duration::from_secs(args.every.max(1)));
    }
}

/// One round. Whether anything changed.
fn round(app: &App, args: &WatchArgs) -> anyhow::Result<bool> {
    let Some(fleet) = app.fleet(args.fleet.as_deref())? else {
        bail!("there is no fleet file to watch; name one with --fleet");
    };
    let mut store = app.store(Some(&fleet))?;
    feeds::import_local(app, &mut store, &fleet)?;
    if !args.offline {
        feeds::update(app, &mut store, Some(&fleet), Choice::Due)?;
    }
    if args.scan {
        scan::scan_fleet(app, &mut store, &fleet)?;
    }
    let scope = Scope::default();
    let subjects = check_command::subjects(app, &mut store, &scope, Some(&fleet))?;
    // A scope of its own: a check made by hand must not take news away from the watch.
    let key = format!("watch:{}", fleet.scope());
    let last = store.findings_of(&key)?;
    let terms = Terms {
        now: app.now,
        scope: fleet.path.display().to_string(),
        fleet: &fleet.file.fleet,
        policy: &fleet.file.policy,
        all: false,
        last,
    };
    let answer = check(&store, &subjects, &terms)?;
    let changes = match &answer.changes {
        Some(changes) => changes.clone(),
        None => mailkeep_triage::delta(&[], &answer.findings),
    };
    let spool = Spool::in_dir(&app.state_dir(Some(&fleet)));
    let settings = fleet.file.notify.clone().unwrap_or_default();
    let news = notices(app, &changes, &settings);
    // First the spool, then the snapshot: a crash between the two tells the news again.
    spool.add(news.clone())?;
    let snapshot = Snapshot {
        at: app.now,
        findings: answer.findings.clone(),
    };
    let events: Vec<_> = changes
        .iter()
        .cloned()
        .map(|c| c.into_event(app.now, Realm::Live))
        .collect();
    store.record_check(&key, &snapshot, &events)?;
    for notice in &news {
        for line in notice.text.lines() {
            app.say(line);
        }
    }
    say_state(app, &answer);
    spool.send(app, &fleet, &settings)?;
    Ok(!changes.is_empty())
}

fn say_state(app: &App, answer: &Answer) {
    for feed in answer.feeds.iter().filter(|f| f.state != FeedState::Fresh) {
        App::warn(&format!(
            "feed {} is not fresh: as of {}",
            feed.status.id, feed.status.as_of
        ));
    }
    let unknown: Vec<&str> = answer
        .hosts
        .iter()
        .filter(|h| h.status == HostStatus::Unknown)
        .map(|h| h.name.as_str())
        .collect();
    if !unknown.is_empty() {
        app.say(&format!("not known to be safe: {}", unknown.join(", ")));
    }
}

/// One notice for each owner concerned.
fn notices(app: &App, changes: &[Change], settings: &NotifySettings) -> Vec<Notice> {
    let mut roads = Vec::new();
    if settings.command.is_some() {
        roads.push(Road::Command);
    }
    if settings.mail.is_some() {
        roads.push(Road::Mail);
    }
    if settings.webhook.is_some() {
        roads.push(Road::Webhook);
    }
    let mut by_owner: BTreeMap<Option<&TeamName>, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        by_owner
            .entry(change.owner.as_ref())
            .or_default()
            .push(change);
    }
    by_owner
        .into_iter()
        .map(|(owner, changes)| {
            let lines: Vec<String> = changes.iter().map(|c| change_line(c)).collect();
            let events: Vec<_> = changes
                .iter()
                .map(|c| (*c).clone().into_event(app.now, Realm::Live))
                .collect();
            let json = serde_json::json!({
                "schema": "mailkeep.notice/1",
                "realm": Realm::Live,
                "at": app.now,
                "owner": owner,
                "changes": events,
            });
            Notice {
                owner: owner.cloned(),
                at: app.now,
                subject: format!(
                    "mailkeep: {} {} on your mail servers",
                    changes.len(),
                    if changes.len() == 1 {
                        "change"
                    } else {
                        "changes"
                    }
                ),
                text: format!("{}\n", lines.join("\n")),
                json: json.to_string(),
                roads: roads.clone(),
            }
        })
        .collect()
}

/// Notices not yet sent, in a file of the state directory.
struct Spool {
    path: PathBuf,
}

impl Spool {
    fn in_dir(directory: &Path) -> Self {
        Self {
            path: directory.join("notices.json"),
        }
    }

    fn read(&self) -> anyhow::Result<Vec<Notice>> {
        match std::fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "{} is damaged; move it aside, its notices are lost",
                    self.path.display()
                )
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => {
                Err(error).with_context(|| format!("cannot read {}", self.path.display()))
            }
        }
    }

    fn write(&self, notices: &[Notice]) -> anyhow::Result<()> {
        write_whole(&self.path, &serde_json::to_vec(notices)?)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn add(&self, news: Vec<Notice>) -> anyhow::Result<()> {
        let mut pending = self.read()?;
        pending.extend(news.into_iter().filter(|notice| !notice.roads.is_empty()));
        if pending.len() > MAX_PENDING {
            let dropped = pending.len() - MAX_PENDING;
            App::warn(&format!(
                "{dropped} notices that could not be sent for long are dropped"
            ));
            pending.drain(..dropped);
        }
        if pending.is_empty() && !self.path.exists() {
            return Ok(());
        }
        self.write(&pending)
    }

    /// Sends what is pending; what fails stays.
    fn send(
        &self,
        app: &App,
        fleet: &LoadedFleet,
        settings: &NotifySettings,
    ) -> anyhow::Result<()> {
        let mut pending = self.read()?;
        for at in 0..pending.len() {
            let Some(notice) = pending.get(at).cloned() else {
                break;
            };
            let mut left = Vec::new();
            for road in &notice.roads {
                if let Err(error) = send(app, fleet, settings, &notice, *road) {
                    App::warn(&format!(
                        "a notice could not be sent, the next round tries again: {error:#}"
                    ));
                    left.push(*road);
                }
            }
            if left != notice.roads {
                if let Some(notice) = pending.get_mut(at) {
                    notice.roads = left;
                }
                self.write(&pending)?;
            }
        }
        let before = pending.len();
        pending.retain(|notice| !notice.roads.is_empty());
        if pending.len() != before {
            self.write(&pending)?;
        }
        Ok(())
    }
}

/// Sends a notice by one road. A road that is no longer configured is done.
fn send(
    app: &App,
    fleet: &LoadedFleet,
    settings: &NotifySettings,
    notice: &Notice,
    road: Road,
) -> anyhow::Result<()> {
    match road {
        Road::Command => {
            let Some((program, arguments)) = settings
                .command
                .as_deref()
                .and_then(<[String]>::split_first)
            else {
                return Ok(());
            };
            run_command(
                Path::new(program),
                arguments,
                notice.json.as_bytes(),
                COMMAND_TIMEOUT,
            )?;
        }
        Road::Webhook => {
            let Some(url) = &settings.webhook else {
                return Ok(());
            };
            notify::post_webhook(&feeds::fetcher()?, url, notice.json.as_bytes(), None)?;
        }
        Road::Mail => {
            let Some(mail) = &settings.mail else {
                return Ok(());
            };
            let team = notice
                .owner
                .as_ref()
                .or(fleet.file.fleet.global_team.as_ref());
            let to = team
                .and_then(|team| fleet.file.fleet.teams.get(team))
                .map(|team| team.email.clone())
                .unwrap_or_default();
            if to.is_empty() {
                let owner = notice
                    .owner
                    .as_ref()
                    .map_or("nobody".to_owned(), ToString::to_string);
                App::warn(&format!(
                    "{owner} has no mail address; a notice was not mailed"
                ));
                return Ok(());
            }
            let settings = mail_settings(fleet, mail)?;
            let mail = Mail {
                to: &to,
                subject: &notice.subject,
                text: &notice.text,
                html: None,
                date: notice.at,
            };
            send_mail(&settings, &mail)?;
            app.say(&format!("told {} by mail", text::printable(&to.join(", "))));
        }
    }
    Ok(())
}

fn mail_settings(
    fleet: &LoadedFleet,
    mail: &crate::fleet::MailSettings,
) -> anyhow::Result<notify::MailSettings> {
    let credentials = match (&mail.username, &mail.password_file) {
        (Some(user), Some(file)) => {
            let path = fleet.resolve(file);
            let password = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read the password file {}", path.display()))?;
            Some(MailCredentials {
                user: user.clone(),
                password: Secret::new(password.trim_end_matches(['\r', '\n'])),
            })
        }
        _ => None,
    };
    Ok(notify::MailSettings {
        server: mail.server.clone(),
        port: mail.port,
        tls: match mail.tls {
            MailTls::Implicit => notify::MailTls::Implicit,
            MailTls::None => notify::MailTls::None,
            MailTls::Starttls => notify::MailTls::Starttls,
        },
        credentials,
        from: mail.from.clone(),
        hello_name: None,
        timeout: Duration::from_secs(30),
        roots: crate::environment::roots(),
    })
}
