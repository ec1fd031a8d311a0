//! The record of a message that is kept from its recipients: written by the shield, read by whoever lists, releases or
//! judges it anew. Entry: [`Kept`].
//!
//! The message itself lies beside it, encrypted; the record holds what a digest to the recipients needs, and no
//! more of the message than its subject. It never changes: what was done with a message is in the log of events.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Folder of the records within a quarantine, one file `ID.json` each.
pub const RECORDS: &str = "records";

/// Folder of the encrypted messages within a quarantine, one file `DIGEST.age` each. Equal messages are one file.
pub const MESSAGES: &str = "messages";

/// Octets a record may have.
const LONGEST: usize = 1 << 20;

/// A message that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kept {
    /// Version of this format: 1.
    pub format: u32,
    /// Its id: the trace id under which the shield has logged it.
    pub id: String,
    /// When it was taken, in seconds of the Unix epoch.
    pub at: u64,
    /// When it is deleted, in seconds of the Unix epoch.
    pub until: u64,
    /// SHA-256 of the message, in hexadecimal: the name of the file that holds it.
    pub digest: String,
    /// Its size in octets, before it was encrypted.
    pub octets: u64,
    /// The listener it came by.
    pub listener: String,
    /// The client's address; empty where there is none.
    pub client: String,
    /// The envelope's sender; empty for a bounce.
    pub sender: String,
    /// The envelope's recipients.
    pub recipients: Vec<String>,
    /// Its subject, decoded, one printable line.
    pub subject: String,
    /// Its From header, one printable line.
    pub from: String,
    /// The rule that decided.
    pub rule: String,
    /// What that rule says, for a person.
    pub text: String,
    /// All rules that had something to say.
    pub rules: Vec<String>,
}

/// Why a record cannot be read.
#[derive(Debug, Error)]
pub enum KeptError {
    /// More than a record has.
    #[error("it has more than {LONGEST} octets")]
    TooLong,
    /// Not the JSON of a record.
    #[error("it is no record of a kept message")]
    Json(#[from] serde_json::Error),
    /// Of a later version.
    #[error("its format is {0}; this program knows 1")]
    Format(u32),
    /// An id or a digest that could lead out of the folder.
    #[error("its {0} is not made of the letters and digits that one has")]
    Name(&'static str),
}

impl Kept {
    /// Reads a record.
    ///
    /// # Errors
    /// It is none, or its names are not such as the shield gives.
    pub fn read(octets: &[u8]) -> Result<Self, KeptError> {
        if octets.len() > LONGEST {
            return Err(KeptError::TooLong);
        }
        let kept: Self = serde_json::from_slice(octets)?;
        if kept.format != 1 {
            return Err(KeptError::Format(kept.format));
        }
        if !is_id(&kept.id) {
            return Err(KeptError::Name("id"));
        }
        if kept.digest.len() != 64 || !kept.digest.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            return Err(KeptError::Name("digest"));
        }
        Ok(kept)
    }

    /// The record as it is written: one JSON object and a line end.
    pub fn write(&self) -> String {
        // A struct of texts and numbers has a JSON form.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// The digest by which a message is known: SHA-256 in hexadecimal.
pub fn digest_of(message: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, message)
        .as_ref()
        .iter()
        .fold(String::with_capacity(64), |mut text, octet| {
            write!(text, "{octet:02x}").ok();
            text
        })
}

/// Whether a text can be the id of a kept message, and so the name of a file: letters, digits and hyphens.
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
}

/// For fuzzing: reading never panics, and what was read is written and read again the same.
///
/// # Panics
/// Where that does not hold.
pub fn fuzz(octets: &[u8]) {
    if let Ok(kept) = Kept::read(octets) {
        let again = Kept::read(kept.write().as_bytes());
        assert!(again.is_ok_and(|again| again == kept));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept() -> Kept {
        Kept {
            format: 1,
            id: "65f1c-2a".to_owned(),
            at: 1_700_000_000,
            until: 1_702_592_000,
            digest: "ab".repeat(32),
            octets: 4_000,
            listener: "mx".to_owned(),
            client: "192.0.2.7".to_owned(),
            sender: "news@example.net".to_owned(),
            recipients: vec!["ada@example.org".to_owned()],
            subject: "Your invoice".to_owned(),
            from: "Billing <billing@example.net>".to_owned(),
            rule: "office-macro".to_owned(),
            text: "The attachment invoice.docm holds macros.".to_owned(),
            rules: vec!["office-macro".to_owned()],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let kept = kept();
        assert_eq!(Kept::read(kept.write().as_bytes()).unwrap(), kept);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for id in ["../x", "", "a/b", "a.b", &"a".repeat(65)] {
            let mut kept = kept();
            kept.id = (*id).to_owned();
            assert!(matches!(
                Kept::read(kept.write().as_bytes()),
                Err(KeptError::Name("id"))
            ));
        }
        let mut kept = kept();
        kept.digest = "../../etc/passwd".to_owned();
        assert!(matches!(
            Kept::read(kept.write().as_bytes()),
            Err(KeptError::Name("digest"))
        ));
    }

    #[test]
    fn a_later_format_is_refused() {
        let mut kept = kept();
        kept.format = 2;
        assert!(matches!(
            Kept::read(kept.write().as_bytes()),
            Err(KeptError::Format(2))
        ));
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(octets in prop::collection::vec(any::<u8>(), 0..400)) {
            fuzz(&octets);
        }

        #[test]
        fn any_texts_are_read_as_written(subject in ".*", sender in ".*", rule in ".*") {
            let kept = Kept { sender, subject, rule, ..kept() };
            prop_assert_eq!(Kept::read(kept.write().as_bytes()).unwrap(), kept);
        }
    }
}
