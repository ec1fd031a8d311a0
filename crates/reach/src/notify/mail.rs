//! Mail out: one message to a relay, under TLS.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use lettre::address::{Address, Envelope};
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Message, SmtpTransport, Transport};
use mailkeep_model::Timestamp;
use mailkeep_model::text::printable_max;
use ring::digest;

use crate::fetch::to_hex;
use crate::{Roots, RootsError, Secret};

/// The relay that takes our mail.
#[derive(Debug, Clone)]
pub struct MailSettings {
    /// Its name, as its certificate has it.
    pub server: String,
    /// Its port: 587 or 25 with [`MailTls::Starttls`], 465 with [`MailTls::Implicit`].
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// User and password.
    pub credentials: Option<MailCredentials>,
    /// `From`, and the envelope's sender: `Mailkeep <mailkeep@example.org>`.
    pub from: String,
    /// What this machine calls itself (`EHLO`); `None` is an address literal.
    pub hello_name: Option<String>,
    /// For the connection, and for each answer.
    pub timeout: Duration,
    /// Certificate authorities.
    pub roots: Roots,
}

/// How the connection to the relay is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// Not at all: only to this same machine, refused for any other.
    None,
    /// STARTTLS (RFC 3207), or no mail: a relay that does not offer it gets nothing.
    Starttls,
}

/// User and password.
#[derive(Debug, Clone)]
pub struct MailCredentials {
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// One message.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// To whom: `Name <address>` or `address`; at least one.
    pub to: &'a [String],
    /// Subject, one line.
    pub subject: &'a str,
    /// The message as plain text.
    pub text: &'a str,
    /// The same as HTML.
    pub html: Option<&'a str>,
    /// The same as something for a calendar.
    pub calendar: Option<Calendar<'a>>,
    /// `Date`. It goes into the `Message-ID` together with the rest, so that a message sent again
    /// has the same one.
    pub date: Timestamp,
}

/// An iCalendar object that a message carries (iMIP, RFC 6047).
#[derive(Debug, Clone, Copy)]
pub struct Calendar<'a> {
    /// Its `METHOD`, as it stands in `text` too: `REQUEST`, `CANCEL`.
    pub method: &'a str,
    /// The object, in UTF-8.
    pub text: &'a str,
}

/// A message that was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// No mail address.
    #[error("{address:?} in {field} is no mail address")]
    BadAddress {
        /// `From` or `To`.
        field: &'static str,
        /// What was given, printable.
        address: String,
    },
    /// The message could not be written down.
    #[error("cannot compose the message {subject:?}")]
    Compose {
        /// Its subject, printable.
        subject: String,
        /// Why.
        #[source]
        source: lettre::error::Error,
    },
    /// A line break or another control character where one line belongs: somebody tries to write
    /// headers of his own.
    #[error("{field} of the message holds a line break or control character; it was not sent")]
    HeaderInjection {
        /// Which.
        field: &'static str,
    },
    /// Nobody to send to.
    #[error("the message {subject:?} has no recipient")]
    NoRecipient {
        /// Its subject, printable.
        subject: String,
    },
    /// Unprotected mail to another machine.
    #[error(
        "no TLS is only for a relay on this machine, and {server} is not; use starttls or implicit"
    )]
    PlainRefused {
        /// The relay.
        server: String,
    },
    /// The relay said no.
    #[error("{server} refused the message with {code}; check sender, recipients and credentials")]
    Refused {
        /// The relay.
        server: String,
        /// SMTP reply code (RFC 5321 section 4.2.1): 4yz for now, 5yz for good.
        code: String,
        /// Its words.
        #[source]
        source: lettre::transport::smtp::Error,
    },
    /// The certificates of the authorities could not be read.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The relay offers no STARTTLS, or somebody between removes the offer.
    #[error(
        "{server} does not offer STARTTLS, so nothing was sent; try implicit TLS on port 465, or another relay"
    )]
    StarttlsNotOffered {
        /// The relay.
        server: String,
    },
    /// No answer in time.
    #[error("{server} gave no answer within {} s", timeout.as_secs_f64())]
    TimedOut {
        /// The relay.
        server: String,
        /// The time it had.
        timeout: Duration,
    },
    /// TLS failed.
    #[error(
        "no trusted TLS connection to {server}; its certificate must name it, and come from a known authority (SSL_CERT_FILE adds one)"
    )]
    Tls {
        /// The relay.
        server: String,
        /// What TLS said.
        #[source]
        source: lettre::transport::smtp::Error,
    },
    /// No connection, or it broke.
    #[error("cannot deliver to {server}; check name, port, and whether it is up")]
    Unreachable {
        /// The relay.
        server: String,
        /// What went wrong.
        #[source]
        source: lettre::transport::smtp::Error,
    },
}

impl MailError {
    /// The stable name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BadAddress { .. } => "bad-address",
            Self::Compose { .. } => "compose",
            Self::HeaderInjection { .. } => "header-injection",
            Self::NoRecipient { .. } => "no-recipient",
            Self::PlainRefused { .. } => "plain-refused",
            Self::Refused { .. } => "refused",
            Self::Roots(_) => "roots",
            Self::StarttlsNotOffered { .. } => "starttls-not-offered",
            Self::TimedOut { .. } => "timed-out",
            Self::Tls { .. } => "tls",
            Self::Unreachable { .. } => "unreachable",
        }
    }
}

/// Sends one message to all its recipients in one transaction. Once; whether to try again is the
/// caller's to decide (a [`MailError::Refused`] with 4yz, [`MailError::TimedOut`] and
/// [`MailError::Unreachable`] are worth it).
pub fn send_mail(settings: &MailSettings, mail: &Mail<'_>) -> Result<(), MailError> {
    let message = compose(settings, mail)?;
    transport(settings)?
        .send(&message)
        .map(drop)
        .map_err(|error| name_error(settings, error))
}

/// Hands on a message that somebody else has written, as it is, to these recipients in one transaction. An empty
/// `sender` is the null reverse-path (RFC 5321 section 4.5.5).
///
/// # Errors
/// As [`send_mail`]; an address that lettre does not take is [`MailError::BadAddress`].
pub fn pass_on(
    settings: &MailSettings,
    sender: &str,
    recipients: &[String],
    message: &[u8],
) -> Result<(), MailError> {
    let address = |field, text: &str| {
        one_line(field, text)?;
        text.parse::<Address>()
            .ok()
            .ok_or_else(|| MailError::BadAddress {
                field,
                address: printable_max(text, 200),
            })
    };
    let from = match sender {
        "" => None,
        sender => Some(address("the envelope's sender", sender)?),
    };
    let to = recipients
        .iter()
        .map(|recipient| address("the envelope's recipients", recipient))
        .collect::<Result<Vec<_>, _>>()?;
    let envelope = Envelope::new(from, to)
        .ok()
        .ok_or_else(|| MailError::NoRecipient {
            subject: "passed on".to_owned(),
        })?;
    transport(settings)?
        .send_raw(&envelope, message)
        .map(drop)
        .map_err(|error| name_error(settings, error))
}

fn transport(settings: &MailSettings) -> Result<SmtpTransport, MailError> {
    let server = &settings.server;
    one_line("the server's name", server)?;
    let tls = match settings.tls {
        MailTls::None if is_loopback(server) => Tls::None,
        MailTls::None => {
            return Err(MailError::PlainRefused {
                server: server.clone(),
            });
        }
        MailTls::Starttls => Tls::Required(tls_parameters(settings)?),
        MailTls::Implicit => Tls::Wrapper(tls_parameters(settings)?),
    };
    let mut transport = SmtpTransport::builder_dangerous(server)
        .port(settings.port)
        .tls(tls)
        .timeout(Some(settings.timeout));
    if let Some(name) = &settings.hello_name {
        one_line("the EHLO name", name)?;
        transport = transport.hello_name(ClientId::Domain(name.clone()));
    }
    if let Some(MailCredentials { user, password }) = &settings.credentials {
        transport =
            transport.credentials(Credentials::new(user.clone(), password.reveal().to_owned()));
    }
    Ok(transport.build())
}

/// The message, checked. `Auto-Submitted` (RFC 3834) keeps vacation programs from answering it.
fn compose(settings: &MailSettings, mail: &Mail<'_>) -> Result<Message, MailError> {
    one_line("the subject", mail.subject)?;
    let from = mailbox("From", &settings.from)?;
    let subject = || printable_max(mail.subject, 100);
    if mail.to.is_empty() {
        return Err(MailError::NoRecipient { subject: subject() });
    }
    let mut builder = Message::builder()
        .message_id(Some(message_id(&from, mail)))
        .date(mail.date.into())
        .from(from)
        .subject(mail.subject)
        .header(AutoSubmitted);
    for to in mail.to {
        builder = builder.to(mailbox("To", to)?);
    }
    let plain = || SinglePart::plain(mail.text.to_owned());
    match (mail.html, mail.calendar) {
        (None, None) => builder.singlepart(plain()),
        (html, calendar) => {
            // The last alternative is the one a reader prefers that understands it.
            let mut parts = MultiPart::alternative().singlepart(plain());
            if let Some(html) = html {
                parts = parts.singlepart(SinglePart::html(html.to_owned()));
            }
            if let Some(calendar) = calendar {
                parts = parts.singlepart(calendar_part(calendar)?);
            }
            builder.multipart(parts)
        }
    }
    .map_err(|source| MailError::Compose {
        subject: subject(),
        source,
    })
}

/// RFC 6047 section 2.4: the part names the method, and it is that of the object.
fn calendar_part(calendar: Calendar<'_>) -> Result<SinglePart, MailError> {
    let sound = |c: char| c.is_ascii_uppercase();
    let kind = if calendar.method.chars().all(sound) {
        let text = format!("text/calendar; charset=utf-8; method={}", calendar.method);
        ContentType::parse(&text).ok()
    } else {
        None
    };
    let Some(kind) = kind else {
        return Err(MailError::HeaderInjection {
            field: "the calendar's method",
        });
    };
    Ok(SinglePart::builder()
        .header(kind)
        .body(calendar.text.to_owned()))
}

fn message_id(from: &Mailbox, mail: &Mail<'_>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let date = mail.date.to_string();
    let to = mail.to.join(",");
    for part in [&date, to.as_str(), mail.subject, mail.text] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let hex = to_hex(context.finish().as_ref());
    format!(
        "<{}@{}>",
        hex.get(..32).unwrap_or(&hex),
        from.email.domain()
    )
}

#[derive(Debug, Clone, Copy)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

fn mailbox(field: &'static str, text: &str) -> Result<Mailbox, MailError> {
    one_line(field, text)?;
    text.parse().ok().ok_or_else(|| MailError::BadAddress {
        field,
        address: printable_max(text, 200),
    })
}

fn one_line(field: &'static str, text: &str) -> Result<(), MailError> {
    if text.chars().any(char::is_control) {
        return Err(MailError::HeaderInjection { field });
    }
    Ok(())
}

fn is_loopback(server: &str) -> bool {
    server.eq_ignore_ascii_case("localhost")
        || server
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn tls_parameters(settings: &MailSettings) -> Result<TlsParameters, MailError> {
    let name = |source| MailError::Tls {
        server: settings.server.clone(),
        source,
    };
    let mut builder =
        TlsParameters::builder(settings.server.clone()).certificate_store(CertificateStore::None);
    for root in settings.roots.load()? {
        builder = builder.add_root_certificate(Certificate::from_der(root.to_vec()).map_err(name)?);
    }
    builder.build().map_err(name)
}

fn name_error(settings: &MailSettings, source: lettre::transport::smtp::Error) -> MailError {
    let server = settings.server.clone();
    if let Some(code) = source.status() {
        return MailError::Refused {
            server,
            code: code.to_string(),
            source,
        };
    }
    if source.is_client() && source_text(&source).contains("STARTTLS is not supported") {
        return MailError::StarttlsNotOffered { server };
    }
    if source.is_tls() || has_source(&source, |e| e.is::<rustls::Error>() || is_tls_io(e)) {
        return MailError::Tls { server, source };
    }
    let timed_out = |e: &(dyn std::error::Error + 'static)| {
        e.downcast_ref::<io::Error>().is_some_and(|e| {
            matches!(
                e.kind(),
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
            )
        })
    };
    if has_source(&source, timed_out) {
        return MailError::TimedOut {
            server,
            timeout: settings.timeout,
        };
    }
    MailError::Unreachable { server, source }
}

fn is_tls_io(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

fn source_text(error: &lettre::transport::smtp::Error) -> String {
    std::error::Error::source(error).map_or_else(String::new, ToString::to_string)
}

fn has_source(
    error: &lettre::transport::smtp::Error,
    what: impl Fn(&(dyn std::error::Error + 'static)) -> bool,
) -> bool {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if what(cause) {
            return true;
        }
        next = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> MailSettings {
        MailSettings {
            server: "mail.example.org".into(),
            port: 587,
            tls: MailTls::Starttls,
            credentials: Some(MailCredentials {
                user: "u".into(),
                password: Secret::new("hunter2"),
            }),
            from: "Mailkeep <mailkeep@example.org>".into(),
            hello_name: None,
            timeout: Duration::from_secs(5),
            roots: Roots::default(),
        }
    }

    fn mail<'a>(to: &'a [String], subject: &'a str) -> Mail<'a> {
        Mail {
            to,
            subject,
            text: "Grüße\n.\nend",
            html: None,
            calendar: None,
            date: "2026-11-21T10:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_line_break_never_makes_a_header() {
        let good = ["ops@example.org".to_owned()];
        for subject in ["a\r\nBcc: x@y", "a\nb", "a\rb", "a\0b"] {
            let error = compose(&settings(), &mail(&good, subject)).unwrap_err();
            assert_eq!(error.kind(), "header-injection", "{subject:?}");
        }
        let bad = ["ops@example.org\r\nBcc: x@y".to_owned()];
        let error = compose(&settings(), &mail(&bad, "a")).unwrap_err();
        assert_eq!(error.kind(), "header-injection");
        let mut from = settings();
        from.from = "x@y\nBcc: z@y".into();
        assert!(compose(&from, &mail(&good, "a")).is_err());
    }

    #[test]
    fn a_message_sent_again_has_the_same_id_and_asks_for_no_answer() {
        let to = ["Ops <ops@example.org>".to_owned()];
        let text = |subject| {
            let message = compose(&settings(), &mail(&to, subject)).unwrap();
            String::from_utf8(message.formatted()).unwrap()
        };
        let message = text("Grüße: 3 patches due");
        assert_eq!(message, text("Grüße: 3 patches due"));
        assert_ne!(message, text("Grüße: 4 patches due"));
        assert!(
            message.contains("Auto-Submitted: auto-generated\r\n"),
            "{message}"
        );
        assert!(
            message.contains("Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n"),
            "{message}"
        );
        assert!(message.contains("@example.org>\r\n"), "{message}");
    }

    #[test]
    fn an_invitation_is_the_last_alternative_and_names_its_method() {
        let to = ["ops@example.org".to_owned()];
        let mut invitation = mail(&to, "a");
        let ics = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n";
        invitation.calendar = Some(Calendar {
            method: "REQUEST",
            text: ics,
        });
        let message = compose(&settings(), &invitation).unwrap();
        let message = String::from_utf8(message.formatted()).unwrap();
        let kind = "Content-Type: text/calendar; charset=utf-8; method=REQUEST";
        let plain = message.find("Content-Type: text/plain").unwrap();
        let calendar = message.find(kind).unwrap_or_else(|| panic!("{message}"));
        assert!(message.contains("Content-Type: multipart/alternative"));
        assert!(plain < calendar, "{message}");
        assert!(message.contains(ics), "{message}");
        invitation.calendar = Some(Calendar {
            method: "REQUEST\r\nBcc: x@y",
            text: ics,
        });
        let error = compose(&settings(), &invitation).unwrap_err();
        assert_eq!(error.kind(), "header-injection");
    }

    #[test]
    fn nothing_goes_unprotected_to_another_machine() {
        let mut plain = settings();
        plain.tls = MailTls::None;
        let to = ["ops@example.org".to_owned()];
        let error = send_mail(&plain, &mail(&to, "a")).unwrap_err();
        assert_eq!(error.kind(), "plain-refused");
        for (server, here) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("localhost.example.org", false),
            ("192.0.2.1", false),
        ] {
            assert_eq!(is_loopback(server), here, "{server}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        assert!(!format!("{:?}", settings()).contains("hunter2"));
    }

    #[test]
    fn addresses_are_checked() {
        let error = compose(&settings(), &mail(&["nobody".to_owned()], "a")).unwrap_err();
        assert_eq!(error.kind(), "bad-address");
        assert_eq!(
            compose(&settings(), &mail(&[], "a")).unwrap_err().kind(),
            "no-recipient"
        );
    }
}
