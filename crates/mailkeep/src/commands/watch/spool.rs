//! What is still to be told, and the roads it takes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use mailkeep_model::text;
use mailkeep_reach::notify::{self, Mail, run_command, send_mail};
use mailkeep_reach::{Secret, notify::MailCredentials};

use super::news::{Notice, Road};
use crate::app::{App, LoadedFleet, write_private};
use crate::commands::feeds;
use crate::fleet::{MailTls, NotifySettings};

/// Longest a program may take to deal with a notice.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(1);

/// Notices kept for a receiver that is down, before the oldest are dropped with a warning.
const MAX_PENDING: usize = 1000;

/// Notices not yet sent, in a file of the state directory.
pub(super) struct Spool {
    path: PathBuf,
}

impl Spool {
    pub(super) fn in_dir(directory: &Path) -> Self {
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
        write_private(&self.path, &serde_json::to_vec(notices)?)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    pub(super) fn add(&self, news: Vec<Notice>) -> anyhow::Result<()> {
        let mut pending = self.read()?;
        pending.extend(news.into_iter().filter(|notice| !notice.roads.is_empty()));
        if pending.len() > MAX_PENDING {
            let dropped = pending.len() - MAX_PENDING;
            pending.sort_by_key(|notice| notice.at);
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

    /// Sends what is pending; what fails stays. A receiver that failed is not tried again in the same
    /// round, for each try can take a minute. What failed goes behind the rest, so that a notice its
    /// receiver will never take does not keep the others from it.
    pub(super) fn send(
        &self,
        app: &App,
        fleet: &LoadedFleet,
        settings: &NotifySettings,
    ) -> anyhow::Result<()> {
        let mut pending = self.read()?;
        let mut down: BTreeSet<(Road, &[String])> = BTreeSet::new();
        let mut failed = vec![false; pending.len()];
        let mut put_off = 0_usize;
        for (at, has_failed) in failed.iter_mut().enumerate() {
            let Some(notice) = pending.get(at).cloned() else {
                break;
            };
            let mut left = Vec::new();
            for road in &notice.roads {
                let receiver = (*road, recipients(fleet, &notice, *road));
                if down.contains(&receiver) {
                    put_off += 1;
                    left.push(*road);
                } else if let Err(error) = send(app, fleet, settings, &notice, *road) {
                    App::warn(&format!(
                        "a notice could not be sent, the next round tries again: {error:#}"
                    ));
                    left.push(*road);
                    down.insert(receiver);
                    *has_failed = true;
                }
            }
            if left != notice.roads {
                if let Some(notice) = pending.get_mut(at) {
                    notice.roads = left;
                }
                self.write(&pending)?;
            }
        }
        if put_off > 0 {
            App::warn(&format!(
                "what else there was for receivers that failed waits for the next round: {put_off} more"
            ));
        }
        let (behind, mut left): (Vec<_>, Vec<_>) = pending
            .iter()
            .zip(failed)
            .filter(|(notice, _)| !notice.roads.is_empty())
            .partition(|(_, failed)| *failed);
        left.extend(behind);
        let left: Vec<Notice> = left.into_iter().map(|(notice, _)| notice.clone()).collect();
        if left != pending {
            self.write(&left)?;
        }
        Ok(())
    }
}

/// To whom a notice goes by a road, as far as the road has more than one receiver.
fn recipients<'f>(fleet: &'f LoadedFleet, notice: &Notice, road: Road) -> &'f [String] {
    if road != Road::Mail {
        return &[];
    }
    let fleet = &fleet.file.fleet;
    let team = notice.owner.as_ref().or(fleet.global_team.as_ref());
    team.and_then(|team| fleet.teams.get(team))
        .map_or(&[], |team| &team.email)
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
            let secret = match &settings.webhook_secret_file {
                Some(file) => Some(secret(fleet, file, "webhook secret")?),
                None => None,
            };
            let json = notice.json.as_bytes();
            notify::post_webhook(&feeds::fetcher()?, url, json, secret.as_ref())?;
        }
        Road::Mail => {
            let Some(mail) = &settings.mail else {
                return Ok(());
            };
            let to = recipients(fleet, notice, road);
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
                to,
                subject: &notice.subject,
                text: &notice.text,
                html: None,
                calendar: None,
                date: notice.at,
            };
            send_mail(&settings, &mail)?;
            app.say(&format!("told {} by mail", text::printable(&to.join(", "))));
        }
    }
    Ok(())
}

/// What a file named in the fleet file holds, without its last line's end.
fn secret(fleet: &LoadedFleet, file: &Path, what: &str) -> anyhow::Result<Secret> {
    let path = fleet.resolve(file);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read the {what} file {}", path.display()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(
        !text.is_empty(),
        "the {what} file {} is empty",
        path.display()
    );
    Ok(Secret::new(text))
}

/// How mail is handed in, with the password read from its file.
pub(crate) fn mail_settings(
    fleet: &LoadedFleet,
    mail: &crate::fleet::MailSettings,
) -> anyhow::Result<notify::MailSettings> {
    let credentials = match (&mail.username, &mail.password_file) {
        (Some(user), Some(file)) => Some(MailCredentials {
            user: user.clone(),
            password: secret(fleet, file, "password")?,
        }),
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
