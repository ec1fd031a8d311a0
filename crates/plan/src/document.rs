//! A plan as bytes: canonical JSON, whose SHA-256 is the plan's id.

use mailkeep_model::{Plan, PlanId};
use sha2::{Digest as _, Sha256};

/// Why a plan has no canonical form, or a text is no plan.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It cannot be written as JSON.
    #[error("the plan cannot be written as JSON")]
    Write(#[source] serde_json::Error),
    /// Its digest has no form of an id.
    #[error("the digest of the plan is no id")]
    Id(#[source] mailkeep_model::InvalidId),
}

/// The canonical JSON of a plan: keys in the order of their code points, no white space, integers only
/// (RFC 8785 without its rules for fractions, which a plan has none of).
pub fn canonical(plan: &Plan) -> Result<Vec<u8>, DocumentError> {
    // serde_json keeps the keys of a Value sorted as long as nobody turns on `preserve_order`.
    let value = serde_json::to_value(plan).map_err(DocumentError::Write)?;
    serde_json::to_vec(&value).map_err(DocumentError::Write)
}

/// The id of the plan that these bytes are: `sha256sum` of the file.
pub fn id_of(canonical: &[u8]) -> Result<PlanId, DocumentError> {
    use std::fmt::Write as _;
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(canonical) {
        let _never_fails = write!(text, "{byte:02x}");
    }
    PlanId::new(text).map_err(DocumentError::Id)
}
