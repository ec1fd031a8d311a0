use std::fmt::Write as _;

use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;

const TEXT: &[u8] = b"format = 1\n";

/// Made by `ssh-keygen` of OpenSSH 9.2 over [`TEXT`].
const MADE: [(&str, &str, &str); 3] = [
    (
        "ed25519",
        include_str!("../../../tests/data/signatures/ed25519.pub"),
        include_str!("../../../tests/data/signatures/ed25519.sig"),
    ),
    (
        "ecdsa",
        include_str!("../../../tests/data/signatures/ecdsa.pub"),
        include_str!("../../../tests/data/signatures/ecdsa.sig"),
    ),
    (
        "rsa",
        include_str!("../../../tests/data/signatures/rsa.pub"),
        include_str!("../../../tests/data/signatures/rsa.sig"),
    ),
];
const OTHER_NAMESPACE: &str = include_str!("../../../tests/data/signatures/other-namespace.sig");

fn now() -> Timestamp {
    "2026-11-22T08:00:00Z".parse().unwrap()
}

fn signers(options: &str) -> AllowedSigners {
    let mut text = "# who may\n\n".to_owned();
    for (name, key, _) in MADE {
        writeln!(text, "{name}@example.org {options} {key}").unwrap();
    }
    let (signers, problems) = AllowedSigners::read(&text);
    assert_eq!(problems, Vec::<String>::new());
    signers
}

#[test]
fn what_ssh_keygen_signed_counts_for_its_text_and_nothing_else() {
    let signers = signers("");
    for (name, _, signature) in MADE {
        let signer = signers.verify(TEXT, signature.as_bytes(), now()).unwrap();
        assert_eq!(signer.principal, format!("{name}@example.org"));
        assert!(signer.key.starts_with("SHA256:") && signer.key.len() == 50);
        assert_eq!(
            signers.verify(b"format = 1", signature.as_bytes(), now()),
            Err(SignatureError::Wrong),
            "{name}"
        );
        assert_eq!(
            AllowedSigners::default().verify(TEXT, signature.as_bytes(), now()),
            Err(SignatureError::Signer),
            "{name}"
        );
    }
    assert_eq!(
        signers.verify(TEXT, OTHER_NAMESPACE.as_bytes(), now()),
        Err(SignatureError::Namespace)
    );
    for nothing in [
        "",
        "-----BEGIN SSH SIGNATURE-----",
        "-----BEGIN SSH SIGNATURE----------END SSH SIGNATURE-----",
    ] {
        let verdict = signers.verify(TEXT, nothing.as_bytes(), now());
        assert_eq!(verdict, Err(SignatureError::Syntax), "{nothing:?}");
    }
}

#[test]
fn options_of_a_signer_hold() {
    let verdict = |options: &str| {
        let signers = signers(options);
        signers
            .verify(TEXT, MADE[0].2.as_bytes(), now())
            .map(|signer| signer.principal)
    };
    for options in [
        "namespaces=\"mailkeep-bundle\"",
        "namespaces=\"file,mailkeep-bundle\",valid-after=\"20260101\"",
        "valid-before=20261123000000Z",
    ] {
        assert!(verdict(options).is_ok(), "{options}");
    }
    for options in [
        "namespaces=\"file\"",
        "valid-before=\"202611220759Z\"",
        "valid-after=\"20261123\"",
    ] {
        assert_eq!(verdict(options), Err(SignatureError::Signer), "{options}");
    }
}

#[test]
fn a_line_that_is_not_understood_lets_nobody_sign_and_is_told() {
    for line in [
        "nobody",
        "a cert-authority ssh-ed25519 AAAA",
        "a colour=red ssh-ed25519 AAAA",
        "a valid-after=soon ssh-ed25519 AAAA",
        "a namespaces=\"mailkeep-*\" ssh-ed25519 AAAA",
        "a namespaces=\"!mailkeep-bundle,*\" ssh-ed25519 AAAA",
        "a ssh-dss AAAA",
        "a ssh-ed25519",
        "a ssh-ed25519 ?",
    ] {
        let (signers, problems) = AllowedSigners::read(line);
        assert!(signers.is_empty(), "{line}");
        assert_eq!(problems.len(), 1, "{line}");
    }
}

/// As a security key signs: the application, whether it was touched, how often it signed.
fn by_security_key(flags: u8) -> (String, String) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let kind = b"sk-ssh-ed25519@openssh.com";
    let string = |octets: &[u8]| {
        let mut wire = u32::try_from(octets.len()).unwrap().to_be_bytes().to_vec();
        wire.extend_from_slice(octets);
        wire
    };
    let strings = |all: &[&[u8]]| all.iter().flat_map(|one| string(one)).collect::<Vec<u8>>();
    let key = strings(&[kind, pair.public_key().as_ref(), b"ssh:"]);
    let hashed = digest::digest(&digest::SHA512, TEXT);
    let mut inner = MAGIC.to_vec();
    inner.extend(strings(&[
        NAMESPACE.as_bytes(),
        b"",
        b"sha512",
        hashed.as_ref(),
    ]));
    let mut signed = digest::digest(&digest::SHA256, b"ssh:").as_ref().to_vec();
    signed.push(flags);
    signed.extend([0, 0, 0, 9]);
    signed.extend(digest::digest(&digest::SHA256, &inner).as_ref());
    let mut signature = strings(&[kind, pair.sign(&signed).as_ref()]);
    signature.push(flags);
    signature.extend([0, 0, 0, 9]);
    let mut blob = MAGIC.to_vec();
    blob.extend([0, 0, 0, 1]);
    blob.extend(strings(&[
        &key,
        NAMESPACE.as_bytes(),
        b"",
        b"sha512",
        &signature,
    ]));
    (
        format!("a sk-ssh-ed25519@openssh.com {}", STANDARD.encode(key)),
        format!(
            "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
            STANDARD.encode(blob)
        ),
    )
}

#[test]
fn a_security_key_counts_where_it_was_touched() {
    for (flags, expected) in [(1, true), (5, true), (0, false)] {
        let (line, signature) = by_security_key(flags);
        let (signers, _) = AllowedSigners::read(&line);
        let verdict = signers.verify(TEXT, signature.as_bytes(), now());
        assert_eq!(verdict.is_ok(), expected, "{verdict:?}");
    }
}

proptest! {
    #[test]
    fn a_signature_with_one_bit_turned_never_counts(which in 0..3_usize, at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let signers = signers("");
        let mut blob = unarmoured(MADE[which].2.as_bytes()).unwrap();
        let place = at.index(blob.len());
        blob[place] ^= 1 << bit;
        let armoured = format!(
            "-----BEGIN SSH SIGNATURE-----{}-----END SSH SIGNATURE-----",
            STANDARD.encode(&blob)
        );
        prop_assert!(signers.verify(TEXT, armoured.as_bytes(), now()).is_err());
    }

    #[test]
    fn any_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        super::super::fuzz_signature(&octets);
    }
}
