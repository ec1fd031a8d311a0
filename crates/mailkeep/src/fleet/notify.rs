//! Where changes are told to.

use std::path::PathBuf;

use super::read::{Item, Reader, Section, Text};

/// Where `mailkeep watch` tells changes to; each that is given is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotifySettings {
    /// A program and its arguments.
    pub command: Option<Vec<String>>,
    /// An HTTPS address.
    pub webhook: Option<String>,
    /// File with the secret that what is posted there is signed with, relative to the fleet file. The
    /// secret itself is never in it.
    pub webhook_secret_file: Option<PathBuf>,
    /// By mail, to the owners' addresses.
    pub mail: Option<MailSettings>,
}

/// How mail is handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailSettings {
    /// Host name of the submission server.
    pub server: String,
    /// Its port; by default 587 for STARTTLS, 465 for implicit TLS, 25 without.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// Sender address.
    pub from: String,
    /// User, where the server wants one.
    pub username: Option<String>,
    /// File with the password, relative to the fleet file. The password itself is never in it.
    pub password_file: Option<PathBuf>,
}

/// How a submission connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// Not at all; never with a password, unless the server is this host.
    None,
    /// STARTTLS, required (RFC 3207).
    Starttls,
}

pub(super) fn read(reader: &mut Reader<'_>, item: Item<'_>) -> Option<NotifySettings> {
    let mut section = item.section(reader)?;
    let command = section.take("command").map(|item| item.texts(reader));
    if let Some([only]) = command.as_deref()
        && only.value.contains(char::is_whitespace)
    {
        let message = "a program with arguments is written as a list";
        let words: Vec<_> = only.value.split_whitespace().collect();
        let hint = Some(format!("command = {words:?}"));
        reader.fault_hint(&only.path, only.span.clone(), message, hint);
    }
    let webhook = section.take("webhook");
    let has_webhook = webhook.is_some();
    let webhook = webhook.and_then(|item| item.text(reader)).and_then(|text| {
        if text.value.starts_with("https://") || local_http(&text.value) {
            Some(text.value)
        } else {
            text.wrong(reader, "a webhook must be an https:// address")
        }
    });
    let webhook_secret_file = section
        .take("webhook_secret_file")
        .and_then(|item| item.text(reader));
    if let Some(file) = &webhook_secret_file
        && !has_webhook
    {
        let message = "there is no webhook that the secret is for";
        reader.fault(&file.path, file.span.clone(), message);
    }
    let mail = section
        .take("mail")
        .and_then(|item| item.section(reader))
        .and_then(|section| mail(reader, section));
    section.close(reader);
    Some(NotifySettings {
        command: command
            .map(|words| words.into_iter().map(|word| word.value).collect::<Vec<_>>())
            .filter(|words| !words.is_empty()),
        webhook,
        webhook_secret_file: webhook_secret_file.map(|text| PathBuf::from(text.value)),
        mail,
    })
}

fn mail(reader: &mut Reader<'_>, mut section: Section<'_>) -> Option<MailSettings> {
    let server = required(reader, &mut section, "server");
    let from = required(reader, &mut section, "from");
    let tls = section
        .take("tls")
        .and_then(|item| item.text(reader))
        .map_or(Some(MailTls::Starttls), |text| {
            text.one_of(
                reader,
                &[
                    ("starttls", MailTls::Starttls),
                    ("implicit", MailTls::Implicit),
                    ("none", MailTls::None),
                ],
            )
        });
    let port = section.take("port").and_then(|item| item.port(reader));
    let username = section.take("username").and_then(|item| item.text(reader));
    let password_file = section
        .take("password_file")
        .and_then(|item| item.text(reader));
    let place = (section.path.clone(), section.span.clone());
    section.close(reader);

    if let Some(from) = &from
        && !from.value.contains('@')
    {
        reader.fault(&from.path, from.span.clone(), "a sender address has an @");
    }
    if username.is_some() != password_file.is_some() {
        let message = "username and password_file go together";
        reader.fault(&place.0, place.1.clone(), message);
    }
    let (server, from, tls) = (server?, from?, tls?);
    if tls == MailTls::None && username.is_some() && !is_this_host(&server.value) {
        let message = "a password would cross the network in clear";
        let hint = Some("use tls = \"starttls\" or tls = \"implicit\"".to_owned());
        reader.fault_hint(&place.0, place.1, message, hint);
    }
    Some(MailSettings {
        server: server.value,
        port: port.unwrap_or(match tls {
            MailTls::Implicit => 465,
            MailTls::None => 25,
            MailTls::Starttls => 587,
        }),
        tls,
        from: from.value,
        username: username.map(|text| text.value),
        password_file: password_file.map(|text| PathBuf::from(text.value)),
    })
}

fn required(reader: &mut Reader<'_>, section: &mut Section<'_>, key: &'static str) -> Option<Text> {
    let Some(item) = section.take(key) else {
        let message = format!("{key} is missing");
        reader.fault(&section.path, section.span.clone(), message);
        return None;
    };
    item.text(reader)
}

fn is_this_host(server: &str) -> bool {
    matches!(server, "localhost" | "127.0.0.1" | "::1" | "[::1]")
}

fn local_http(url: &str) -> bool {
    url.strip_prefix("http://").is_some_and(|rest| {
        let authority = rest.split('/').next().unwrap_or(rest);
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        };
        is_this_host(host)
    })
}
