//! A plan as bytes: canonical JSON, whose SHA-256 is the plan's id.
//!
//! Entry types: [`canonical`] and [`id_of`] to write, [`read`] to read. What is read must be canonical to
//! the byte: what a person approved is a digest, and one plan must not have two.

use mailkeep_model::{Plan, PlanId};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Largest plan file read: 64 MiB. A step is about 600 bytes, so this is twenty times the largest fleet
/// that was ever measured.
pub const MAX_PLAN_BYTES: usize = 64 << 20;

/// Why a plan has no canonical form, or a text is no plan.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It cannot be written as JSON.
    #[error("the plan cannot be written as JSON")]
    Write(#[source] serde_json::Error),
    /// Its digest has no form of an id.
    #[error("the digest of the plan is no id")]
    Id(#[source] mailkeep_model::InvalidId),
    /// More bytes than a plan has.
    #[error("a plan file of {found} bytes is larger than {limit} bytes")]
    TooLarge {
        /// Its size.
        found: usize,
        /// The limit, [`MAX_PLAN_BYTES`].
        limit: usize,
    },
    /// It says another format than the one this code knows.
    #[error("a plan of format {found} cannot be read; this version reads format {known}")]
    Format {
        /// What it says.
        found: u64,
        /// What this code knows.
        known: u32,
    },
    /// It is no JSON, or its members are not those of a plan.
    #[error("the file is no plan")]
    Read(#[source] serde_json::Error),
    /// It is a plan, but not written canonically, so that its digest is not the plan's.
    #[error(
        "the plan is not in its canonical form: at byte {at} it reads {found:?}, and should read \
         {expected:?}"
    )]
    NotCanonical {
        /// The first byte that differs, from 0.
        at: usize,
        /// What should stand there, at most some twenty characters.
        expected: String,
        /// What stands there.
        found: String,
    },
}

impl DocumentError {
    /// The stable name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Format { .. } => "plan-format-unknown",
            Self::Id(_) => "plan-id-invalid",
            Self::NotCanonical { .. } => "plan-not-canonical",
            Self::Read(_) => "plan-unreadable",
            Self::TooLarge { .. } => "plan-too-large",
            Self::Write(_) => "plan-unwritable",
        }
    }
}

/// The canonical JSON of a plan: keys in the order of their code points, no white space, integers only
/// (RFC 8785 without its rules for fractions, which a plan has none of).
pub fn canonical(plan: &Plan) -> Result<Vec<u8>, DocumentError> {
    canonical_of(plan)
}

/// [`canonical`], of anything without fractions.
pub(crate) fn canonical_of(value: &impl Serialize) -> Result<Vec<u8>, DocumentError> {
    // serde_json keeps the keys of a Value sorted as long as nobody turns on `preserve_order`.
    let value = serde_json::to_value(value).map_err(DocumentError::Write)?;
    serde_json::to_vec(&value).map_err(DocumentError::Write)
}

/// The id of the plan that these bytes are: `sha256sum` of the file.
pub fn id_of(canonical: &[u8]) -> Result<PlanId, DocumentError> {
    PlanId::new(format!("sha256:{}", digest(canonical))).map_err(DocumentError::Id)
}

/// SHA-256, in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        let _never_fails = write!(text, "{byte:02x}");
    }
    text
}

/// Reads a plan file: canonical JSON and nothing else, but for one line feed at its end, which editors
/// and shells add and which is no part of the digest.
///
/// It says whether the text is a plan, not whether the plan is good: that is [`crate::check()`].
pub fn read(bytes: &[u8]) -> Result<(PlanId, Plan), DocumentError> {
    if bytes.len() > MAX_PLAN_BYTES {
        return Err(DocumentError::TooLarge {
            found: bytes.len(),
            limit: MAX_PLAN_BYTES,
        });
    }
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let plan: Plan = match serde_json::from_slice(bytes) {
        Ok(plan) => plan,
        Err(error) => return Err(unreadable(bytes, error)),
    };
    known_format(plan.format.into())?;
    let expected = canonical(&plan)?;
    if expected != bytes {
        return Err(not_canonical(&expected, bytes));
    }
    Ok((id_of(bytes)?, plan))
}

/// A later format may well have other members: then the format is the reason to give.
fn unreadable(bytes: &[u8], error: serde_json::Error) -> DocumentError {
    #[derive(serde::Deserialize)]
    struct Head {
        format: u64,
    }
    match serde_json::from_slice::<Head>(bytes) {
        Ok(head) => known_format(head.format).err(),
        Err(_) => None,
    }
    .unwrap_or(DocumentError::Read(error))
}

fn known_format(found: u64) -> Result<(), DocumentError> {
    if found == u64::from(Plan::FORMAT) {
        return Ok(());
    }
    let known = Plan::FORMAT;
    Err(DocumentError::Format { found, known })
}

fn not_canonical(expected: &[u8], found: &[u8]) -> DocumentError {
    let differs = |(a, b): (&u8, &u8)| a != b;
    let at = expected
        .iter()
        .zip(found)
        .position(differs)
        .unwrap_or(expected.len().min(found.len()));
    let excerpt = |bytes: &[u8]| {
        let from = at.saturating_sub(8);
        let part = bytes
            .get(from..bytes.len().min(at + 16))
            .unwrap_or_default();
        mailkeep_model::text::printable(&String::from_utf8_lossy(part)).into_owned()
    };
    DocumentError::NotCanonical {
        at,
        expected: excerpt(expected),
        found: excerpt(found),
    }
}

/// What a fuzzer calls: a plan that can be read is written to the same bytes, and can be checked,
/// compared and drawn. One that is not written canonically is rewritten first.
///
/// # Panics
///
/// Where one of these does not hold: that is what a fuzzer looks for.
pub fn fuzz_read(bytes: &[u8]) {
    let refused = read(bytes).is_err();
    let rewritten = match serde_json::from_slice::<Plan>(bytes) {
        Ok(plan) if plan.format == Plan::FORMAT => canonical(&plan).unwrap_or_default(),
        Ok(_) | Err(_) => {
            assert!(refused, "what is no plan was read as one");
            return;
        }
    };
    let again = read(&rewritten);
    assert!(again.is_ok(), "canonical, and refused: {:?}", again.err());
    let Ok((id, plan)) = again else { return };
    let written = canonical(&plan).unwrap_or_default();
    assert_eq!(
        id_of(&written).ok(),
        Some(id),
        "read and written again, a plan has another id"
    );
    let _breaches = crate::check(&plan);
    assert!(
        crate::diff(&plan, &plan).is_empty(),
        "a plan differs from itself"
    );
    let _page = crate::show::html(&plan, None);
    let _table = crate::show::text(&plan);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::coast;

    fn written() -> String {
        String::from_utf8(canonical(&coast()).unwrap()).unwrap()
    }

    #[test]
    fn what_was_written_reads_as_the_same_plan() {
        let text = written();
        let (id, plan) = read(text.as_bytes()).unwrap();
        assert_eq!(plan, coast());
        assert_eq!(id, id_of(text.as_bytes()).unwrap());
        assert_eq!(read(format!("{text}\n").as_bytes()).unwrap().0, id);
    }

    #[test]
    fn the_canonical_form_has_sorted_keys_and_no_white_space() {
        let text = written();
        assert!(
            text.starts_with("{\"bulletin\":[\"CVE-2026-40001\",\"DSA-6001-1\"],\"format\":1,")
        );
        assert!(!text.contains(": ") && !text.contains('\n'));
    }

    #[test]
    fn any_other_writing_of_it_is_refused_with_the_place() {
        let text = written();
        for other in [
            text.replacen("\"format\":1", "\"format\": 1", 1),
            text.replacen("\"CVE-2026", "\"\\u0043VE-2026", 1),
            format!(" {text}"),
            format!("{text}\n\n"),
            text.replacen("\"generation\":1,", "", 1)
                .replacen('{', "{\"generation\":1,", 1),
            text.replacen("2026-11-21T12:00:00Z", "2026-11-21T12:00:00.000Z", 1),
            text.replacen("2026-11-21T12:00:00Z", "2026-11-21T13:00:00+01:00", 1),
        ] {
            let error = read(other.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), "plan-not-canonical", "{error}");
        }
        let other = text.replacen("\"format\":1", "\"format\": 1", 1);
        let place = text.find("\"format\":1").unwrap() + "\"format\":".len();
        let error = read(other.as_bytes()).unwrap_err();
        assert!(
            error.to_string().contains(&format!("at byte {place} ")),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_plan_is_refused_by_name() {
        let text = written();
        for (bytes, kind) in [
            (String::new(), "plan-unreadable"),
            ("{}".to_owned(), "plan-unreadable"),
            (
                text.replacen("\"format\":1", "\"format\":2", 1),
                "plan-format-unknown",
            ),
            (
                text.replacen("\"format\":1", "\"format\":2,\"colour\":\"red\"", 1),
                "plan-format-unknown",
            ),
            (
                text.replacen("\"format\":1", "\"colour\":\"red\",\"format\":1", 1),
                "plan-unreadable",
            ),
            (
                text.replacen("\"risk\":4", "\"colour\":\"red\",\"risk\":4", 1),
                "plan-unreadable",
            ),
            (
                text.replacen("\"slot_minutes\":15", "\"slot_minutes\":1.5", 1),
                "plan-unreadable",
            ),
            ("[".repeat(100_000), "plan-unreadable"),
            (" ".repeat(MAX_PLAN_BYTES + 1), "plan-too-large"),
        ] {
            assert_eq!(read(bytes.as_bytes()).unwrap_err().kind(), kind);
        }
    }

    #[test]
    fn a_member_that_is_missing_or_unknown_in_the_policy_cannot_hide() {
        // Members with a default are left out when they have it, so that there is one way to write it.
        let text = written();
        let more = text.replacen("\"slot_minutes\":15", "\"colour\":1,\"slot_minutes\":15", 1);
        assert!(read(more.as_bytes()).is_err());
    }

    proptest! {
        // Each is checked and drawn.
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_read(&bytes);
        }

        #[test]
        fn never_panics_on_a_plan_with_a_byte_changed(place in any::<prop::sample::Index>(), byte in 32u8..127) {
            let mut bytes = canonical(&coast()).unwrap();
            let place = place.index(bytes.len());
            bytes[place] = byte;
            fuzz_read(&bytes);
        }

        #[test]
        fn print_and_parse_are_the_same(
            title in "\\PC{0,20}",
            generation in 1u32..9,
            minutes in proptest::collection::vec(0i64..100_000, 15),
            risks in proptest::collection::vec(any::<u32>(), 15),
            nanos in 0i32..1_000_000_000,
        ) {
            let mut plan = coast();
            (plan.title, plan.generation) = (title, generation);
            for ((step, minutes), risk) in plan.steps.iter_mut().zip(minutes).zip(risks) {
                step.start += jiff::SignedDuration::new(minutes * 60, nanos);
                step.risk = risk;
            }
            let bytes = canonical(&plan).unwrap();
            let (id, again) = read(&bytes).unwrap();
            prop_assert_eq!(&again, &plan);
            prop_assert_eq!(id, id_of(&bytes).unwrap());
        }
    }
}
