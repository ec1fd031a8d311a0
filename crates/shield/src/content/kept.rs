//! What is written of a message that goes into quarantine. Entry: [`keep`].

use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use mail_parser::HeaderValue;
use mail_parser::parsers::MessageStream;
use mailkeep_inspect::Reason;
use mailkeep_inspect::kept::{Kept, digest_of};
use mailkeep_model::text::printable_max;
use tokio::task::spawn_blocking;

use super::Subject;
use super::auth::Senders;
use super::headers::fields;
use crate::quarantine::Quarantine;

/// Keeps a message, durably, beside the runtime.
pub(super) async fn keep(
    quarantine: Arc<Quarantine>,
    subject: Subject,
    message: Arc<Vec<u8>>,
    reasons: Vec<Reason>,
) -> io::Result<()> {
    let work = spawn_blocking(move || {
        let kept = record(&quarantine, &subject, &message, &reasons);
        quarantine.keep(&kept, &message)
    });
    work.await.map_err(io::Error::other)?
}

fn record(quarantine: &Quarantine, subject: &Subject, message: &[u8], reasons: &[Reason]) -> Kept {
    let at = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
    let header = |name: &str| {
        let found = fields(message).find(|field| field.is(name));
        found.map(|field| field.value).unwrap_or_default()
    };
    let decoded = match MessageStream::new(header("Subject")).parse_unstructured() {
        HeaderValue::Text(text) => text.into_owned(),
        _ => String::new(),
    };
    let from = Senders::of(message).mailboxes;
    // Part of a name that a comma cuts has no address.
    let from = from
        .iter()
        .find(|one| !one.address.is_empty())
        .or(from.first());
    let from = from.map_or_else(String::new, ToString::to_string);
    let first = reasons.first();
    Kept {
        format: 1,
        id: subject.trace.clone(),
        at,
        until: quarantine.until(at),
        digest: digest_of(message),
        octets: message.len() as u64,
        listener: subject.listener.clone(),
        client: subject
            .client
            .map_or_else(String::new, |client| client.to_canonical().to_string()),
        sender: printable_max(&subject.sender, 320),
        recipients: subject.recipients.clone(),
        subject: printable_max(decoded.trim(), 300),
        from: printable_max(&from, 300),
        rule: first.map_or_else(String::new, |reason| reason.rule.to_string()),
        text: first.map_or_else(String::new, |reason| printable_max(&reason.text, 300)),
        rules: reasons
            .iter()
            .map(|reason| reason.rule.to_string())
            .collect(),
    }
}
