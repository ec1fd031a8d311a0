//! Whether a bundle that somebody sends may come into force. Entry: [`admit`].

use mailkeep_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::bundle::{Bundle, BundleError};
use super::compile::Compiled;
use super::signature::{AllowedSigners, Signer};
use crate::kept::digest_of;

/// How far clocks may differ.
const SKEW_SECONDS: i64 = 3600;

/// The bundle that was taken last, as far as a newer one has to be newer than it. To be remembered over restarts: else
/// whoever has an old bundle could bring it into force again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: u64,
    /// When it was made.
    pub made: Timestamp,
    /// SHA-256 of its text, in hexadecimal.
    pub digest: String,
}

impl Held {
    fn of(bundle: &Bundle, text: &[u8]) -> Self {
        Self {
            id: bundle.id.clone(),
            version: bundle.version,
            made: bundle.made,
            digest: digest_of(text),
        }
    }

    /// Reads what [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// A line of JSON.
    pub fn to_text(&self) -> String {
        serde_json::json!(self).to_string() + "\n"
    }
}

/// A bundle that may come into force.
#[derive(Debug)]
pub struct Admitted {
    /// It.
    pub bundle: Bundle,
    /// To be remembered of it.
    pub held: Held,
    /// Its signatures.
    pub compiled: Compiled,
    /// Who signed it.
    pub signer: Signer,
}

/// Takes a bundle that is signed by one of those who may, is of its time, made for this shield (where it has a
/// name), newer than what was taken last, and does what it says of itself. The signature comes first: nothing else of it is
/// looked at before.
///
/// # Errors
/// What is in force stays so, for this reason.
pub fn admit(
    text: &[u8],
    signature: &[u8],
    signers: &AllowedSigners,
    shield: Option<&str>,
    held: Option<&Held>,
    now: Timestamp,
) -> Result<Admitted, BundleError> {
    if text.len() > super::MAX_BYTES {
        return Err(BundleError::TooLarge(text.len()));
    }
    let signer = signers.verify(text, signature, now)?;
    let bundle = Bundle::read(text)?;
    in_time(&bundle, now)?;
    if let Some(wanted) = &bundle.shield
        && shield.is_some_and(|shield| shield != wanted)
    {
        return Err(BundleError::OtherShield(wanted.clone()));
    }
    let fresh = Held::of(&bundle, text);
    if let Some(held) = held {
        newer(&fresh, held)?;
    }
    bundle.test()?;
    let compiled = Compiled::new(&bundle)?;
    Ok(Admitted {
        bundle,
        held: fresh,
        compiled,
        signer,
    })
}

fn in_time(bundle: &Bundle, now: Timestamp) -> Result<(), BundleError> {
    if bundle.made.as_second() > now.as_second().saturating_add(SKEW_SECONDS) {
        return Err(BundleError::NotYet(bundle.made));
    }
    if bundle.expires <= now {
        return Err(BundleError::Expired(bundle.expires));
    }
    Ok(())
}

/// The same again is no news, and no harm.
fn newer(bundle: &Held, held: &Held) -> Result<(), BundleError> {
    if held.digest == bundle.digest {
        return Ok(());
    }
    let not = |what: String| Err(BundleError::NotNewer(what));
    if bundle.id == held.id && bundle.version <= held.version {
        return not(format!(
            "it is version {}, and version {} was taken before",
            bundle.version, held.version
        ));
    }
    if bundle.made < held.made {
        return not(format!(
            "it was made at {}, and that one at {}",
            bundle.made, held.made
        ));
    }
    Ok(())
}
