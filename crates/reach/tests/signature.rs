//! `OpenPGP` signatures, with the system's `gpgv`.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise"
)]

use std::fs;
use std::path::{Path, PathBuf};

use mailkeep_reach::fetch::{Rejection, SignatureError, SignedBy, verify_openpgp};

const GPGV: &str = "/usr/bin/gpgv";

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(name)
}

fn check(file: &Path, signature: &str, keys: &[&str]) -> Result<SignedBy, SignatureError> {
    let scratch = tempfile::tempdir().unwrap();
    let keys: Vec<Vec<u8>> = keys.iter().map(|k| fs::read(fixture(k)).unwrap()).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let answer = verify_openpgp(
        file,
        &fixture(signature),
        &keys,
        scratch.path(),
        Path::new(GPGV),
    );
    let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    answer
}

fn rejection(answer: Result<SignedBy, SignatureError>) -> Rejection {
    match answer.unwrap_err() {
        SignatureError::NotAccepted { reason, .. } => reason,
        other => unreachable!("{other}"),
    }
}

#[test]
fn a_file_signed_by_its_provider_is_accepted_and_no_other() {
    if !Path::new(GPGV).exists() {
        eprintln!("skipped: a_file_signed_by_its_provider_is_accepted_and_no_other: no {GPGV}");
        return;
    }
    let file = fixture("advisory.json");
    let signed = check(
        &file,
        "advisory.json.asc",
        &["other_key.asc", "provider_key.asc"],
    )
    .unwrap();
    assert_eq!(signed.fingerprint.len(), 40);
    assert_eq!(signed.signed_at.to_string(), "2024-01-01T00:00:00Z");

    let stranger = check(&file, "advisory.json.asc", &["other_key.asc"]);
    assert_eq!(rejection(stranger), Rejection::UnknownKey);
    let expired = check(&file, "expired.asc", &["expired_key.asc"]);
    assert_eq!(rejection(expired), Rejection::Expired);
    let no_signature = check(&file, "provider_key.asc", &["provider_key.asc"]);
    assert_eq!(rejection(no_signature), Rejection::NoSignature);

    let dir = tempfile::tempdir().unwrap();
    let changed = dir.path().join("-changed.json");
    fs::write(&changed, "{}").unwrap();
    let changed = check(&changed, "advisory.json.asc", &["provider_key.asc"]);
    assert_eq!(rejection(changed), Rejection::Bad);
}

#[test]
fn what_is_missing_is_named() {
    let file = fixture("advisory.json");
    let error = check(&file, "advisory.json.asc", &["advisory.json"]).unwrap_err();
    assert_eq!(error.kind(), "no-keys");

    let scratch = tempfile::tempdir().unwrap();
    let key = fs::read(fixture("provider_key.asc")).unwrap();
    let error = verify_openpgp(
        &file,
        &fixture("advisory.json.asc"),
        &[&key],
        scratch.path(),
        Path::new("/nonexistent/gpgv"),
    )
    .unwrap_err();
    assert_eq!(error.kind(), "gpgv");
    assert!(error.to_string().contains("install"), "{error}");
}
