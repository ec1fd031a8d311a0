//! The rules as tables; the oracles are in `tests/version_oracles.rs`.

use std::cmp::Ordering;

use mailkeep_model::VersionScheme::{self, Dotted, Dpkg, Rpm, SemVer};
use proptest::prelude::*;

use super::{VersionError, compare, fuzz, key, upstream_part, write_key};

fn check(scheme: VersionScheme, rows: &[(&str, &str, &str)]) {
    for (a, relation, b) in rows {
        let expected = match *relation {
            "<" => Ordering::Less,
            "=" => Ordering::Equal,
            ">" => Ordering::Greater,
            other => panic!("no relation: {other}"),
        };
        assert_eq!(
            compare(scheme, a, b),
            Ok(expected),
            "{scheme:?}: {a} {relation} {b}"
        );
        assert_eq!(
            compare(scheme, b, a),
            Ok(expected.reverse()),
            "{scheme:?}: {b} and {a}"
        );
    }
}

/// Each text is older than the next.
fn check_ascending(scheme: VersionScheme, ascending: &[&str]) {
    for (i, a) in ascending.iter().enumerate() {
        for b in &ascending[i + 1..] {
            check(scheme, &[(a, "<", b)]);
        }
    }
}

fn kind(scheme: VersionScheme, text: &str) -> &'static str {
    key(scheme, text).map_or_else(|error| error.kind(), |_| "accepted")
}

#[test]
fn dpkg_sorts_tilde_end_letters_others() {
    // deb-version(7): "~~, ~~a, ~, the empty part, a".
    check_ascending(
        Dpkg,
        &[
            "1~~", "1~~a", "1~", "1", "1-1", "1a", "1ab", "1b", "1+", "1.b",
        ],
    );
    check_ascending(
        Dpkg,
        &[
            "1.0~beta1~svn1245",
            "1.0~beta1",
            "1.0",
            "1.0-1~bpo12+1",
            "1.0-1",
        ],
    );
    check_ascending(
        Dpkg,
        &["1A", "1Z", "1a", "1z", "1é", "1#", "1+", "1.a", "1_"],
    );
}

#[test]
fn dpkg_epochs_are_numbers() {
    check(
        Dpkg,
        &[
            ("9:1", "<", "10:0.1"),
            ("20081126:1", ">", "10:2"),
            ("20081127:1", ">", "20081126:1"),
            ("00010:1", "=", "10:1"),
            ("0:1", "=", "1"),
            ("1:0", ">", "999"),
            ("99999999999999999999:1", ">", "9999999999999999999:1"),
            ("1:1:2", ">", "1:1"),
        ],
    );
}

#[test]
fn dpkg_numbers_have_any_length_and_ignore_leading_zeros() {
    let long = format!("1.{}", "9".repeat(900));
    let longer = format!("1.1{}", "0".repeat(900));
    check(
        Dpkg,
        &[
            (&long, "<", &longer),
            ("1.9", "<", "1.10"),
            ("1.09", "=", "1.9"),
            ("18446744073709551616", ">", "18446744073709551615"),
            ("0~20171227", "<", "0"),
        ],
    );
    let a = format!("1.1{}", "0".repeat(125));
    let b = format!("1.1{}", "0".repeat(126));
    let c = format!("1.1{}", "0".repeat(127));
    check_ascending(Dpkg, &[&a, &b, &c]);
}

#[test]
fn dpkg_absent_parts_equal_zero() {
    check(
        Dpkg,
        &[
            ("1", "=", "1-0"),
            ("1", "=", "1-00"),
            ("1-a", "=", "1-a0"),
            ("1.", "=", "1.0"),
            ("1.a", "=", "1.a0"),
            ("1-0~", "<", "1"),
            ("1-0a", ">", "1"),
        ],
    );
}

#[test]
fn dpkg_revision_begins_after_the_last_dash() {
    check(
        Dpkg,
        &[
            ("2-3.1-20221030-2", ">", "2-3.1-20221030-1"),
            ("2-3.1-20221030-2", ">", "2-3.0-20230101-1"),
            ("1-1-1", ">", "1-2"),
            ("1.2-3+b1", ">", "1.2-3"),
        ],
    );
    assert_eq!(upstream_part(Dpkg, "1:2-3.1-20221030-2"), "2-3.1-20221030");
    assert_eq!(upstream_part(Rpm, "2:3.8.5-4.el9"), "3.8.5");
    assert_eq!(upstream_part(Dpkg, " 4.97 "), "4.97");
    assert_eq!(upstream_part(Dotted, "4.97-RC1"), "4.97-RC1");
}

#[test]
fn dpkg_refuses_what_dpkg_refuses_and_takes_the_odd_rest() {
    for (text, expected) in [
        ("", "version-empty"),
        (" \t", "version-empty"),
        (":1", "version-epoch-not-a-number"),
        ("a:1", "version-epoch-not-a-number"),
        ("-1:1", "version-epoch-not-a-number"),
        ("1.0:1", "version-epoch-not-a-number"),
        ("1:", "version-empty-part"),
        ("1.0-", "version-empty-part"),
        ("-1", "version-empty-part"),
        ("1 0", "version-illegal-character"),
        ("1\0", "version-illegal-character"),
        ("+1:1", "accepted"),
        ("-0:1", "accepted"),
        ("a1", "accepted"),
        ("1.0_1", "accepted"),
        ("1.0-1_1", "accepted"),
        (" 1.0 ", "accepted"),
    ] {
        assert_eq!(kind(Dpkg, text), expected, "{text:?}");
    }
}

#[test]
fn a_refused_version_is_named_but_not_at_length() {
    let huge = "é".repeat(600);
    let Err(VersionError::TooLong { version, length }) = key(Dpkg, &huge) else {
        panic!("a version of 1,200 bytes was accepted");
    };
    assert_eq!((version.len(), length), (80, 1200));
    assert!(key(Rpm, &"1".repeat(1024)).is_ok());

    let error = key(Dpkg, "a:1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the epoch of the version \"a:1\" is not a number"
    );
}

#[test]
fn a_refused_version_leaves_nothing_behind() {
    let mut out = vec![7];
    assert!(write_key(Dpkg, "1:2-", &mut out).is_err());
    assert!(write_key(SemVer, "1.x", &mut out).is_err());
    assert_eq!(out, [7]);
    write_key(Dpkg, "1:2-3", &mut out).unwrap();
    assert_eq!(out[1..], *key(Dpkg, "1:2-3").unwrap().as_bytes());
}

/// Facts stated by rpm's own test suite (`tests/rpmvercmp.at` in rpm 4.19; each pair there also
/// stands the other way round).
#[test]
fn rpm_keeps_the_facts_of_rpms_test_suite() {
    check(
        Rpm,
        &[
            ("1.0", "=", "1.0"),
            ("1.0", "<", "2.0"),
            ("2.0.1", "=", "2.0.1"),
            ("2.0", "<", "2.0.1"),
            ("2.0.1a", "=", "2.0.1a"),
            ("2.0.1a", ">", "2.0.1"),
            ("5.5p1", "<", "5.5p2"),
            ("5.5p10", "=", "5.5p10"),
            ("5.5p1", "<", "5.5p10"),
            ("10xyz", "<", "10.1xyz"),
            ("xyz10", "<", "xyz10.1"),
            ("xyz.4", "<", "8"),
            ("xyz.4", "<", "2"),
            ("5.5p2", "<", "5.6p1"),
            ("5.6p1", "<", "6.5p1"),
            ("6.0.rc1", ">", "6.0"),
            ("10b2", ">", "10a1"),
            ("10a2", "<", "10b2"),
            ("1.0a", "<", "1.0aa"),
            ("10.0001", "=", "10.1"),
            ("10.0001", "<", "10.0039"),
            ("4.999.9", "<", "5.0"),
            ("20101121", "<", "20101122"),
            ("2_0", "=", "2.0"),
            ("a+", "=", "a_"),
            ("+a", "=", "_a"),
            ("+_", "=", "_+"),
            ("+", "=", "_"),
            ("1.0~rc1", "<", "1.0"),
            ("1.0~rc1", "<", "1.0~rc2"),
            ("1.0~rc1~git123", "<", "1.0~rc1"),
            ("1.0^", ">", "1.0"),
            ("1.0^git1", ">", "1.0"),
            ("1.0^git1", "<", "1.0^git2"),
            ("1.0^git1", "<", "1.01"),
            ("1.0^20160101", "<", "1.0.1"),
            ("1.0^20160101^git1", "=", "1.0^20160101^git1"),
            ("1.0^20160102", ">", "1.0^20160101^git1"),
            ("1.0~rc1^git1", ">", "1.0~rc1"),
            ("1.0~rc1^git1", "<", "1.0~rc2"),
            ("1.0^git1~pre", "<", "1.0^git1"),
            ("1b.fc17", "<", "1.fc17"),
            ("1g.fc17", ">", "1.fc17"),
            ("1.1.α", "=", "1.1.β"),
        ],
    );
}

#[test]
fn rpm_equality_gives_equal_keys() {
    for (a, b) in [
        ("1.0", "1.00"),
        ("1.a", "1a"),
        ("1.0.", "1.0"),
        ("1..0", "1.0"),
        ("1.0-1.el9", "0:1_0-1el9"),
        ("(none):1-1", "1-1"),
        (":1-1", "1-1"),
    ] {
        assert_eq!(key(Rpm, a), key(Rpm, b), "{a} and {b}");
    }
}

#[test]
fn rpm_epoch_then_version_then_release() {
    check_ascending(
        Rpm,
        &[
            "1.9",
            "1.9-~1",
            "1.9-1",
            "1.9-1.el9",
            "1.9-1.el9_4.2",
            "1.9-1.2",
            "1.10-1",
            "9:0-1",
            "10:0-1",
        ],
    );
    assert_eq!(kind(Rpm, "a:1-1"), "version-epoch-not-a-number");
    assert_eq!(kind(Rpm, "1:-1"), "version-empty-part");
    assert_eq!(kind(Rpm, "1: 1"), "version-illegal-character");
}

#[test]
fn semver_precedence_is_that_of_section_11() {
    check_ascending(
        SemVer,
        &[
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1-0",
            "1.0.1",
            "1.1.0",
            "2.0.0",
        ],
    );
    check(
        SemVer,
        &[
            ("1.0.0+build.1", "=", "1.0.0+build.2"),
            ("v1.0.0+incompatible", "=", "1.0.0"),
            (
                "1.0.0-99999999999999999999",
                ">",
                "1.0.0-9999999999999999999",
            ),
            ("1.0.0-1", "<", "1.0.0-a"),
            ("1.0.0--", "<", "1.0.0-a"),
        ],
    );
}

#[test]
fn semver_is_lenient_where_feeds_are() {
    check(
        SemVer,
        &[
            ("1", "=", "1.0.0"),
            ("1.2", "<", "1.2.0.1"),
            ("1.2.3.4", ">", "1.2.3"),
            ("1.2.3.4", "<", "1.2.4"),
            ("0", "<", "0.0.1"),
            ("0-0", "<", "0"),
            ("1.2.3rc1", "<", "1.2.3"),
            ("1.2.3.Beta", "<", "1.2.3"),
            ("1.02", "=", "1.2"),
        ],
    );
    for (text, expected) in [
        ("master", "version-no-number"),
        ("v", "version-no-number"),
        ("1.2.x", "version-wildcard"),
        ("1.2.*", "version-illegal-character"),
        (">=1.2", "version-no-number"),
        ("1.0.0-alpha.x", "accepted"),
    ] {
        assert_eq!(kind(SemVer, text), expected, "{text:?}");
    }
}

#[test]
fn dotted_orders_exchange_builds() {
    check_ascending(
        Dotted,
        &[
            "15.1.2507.9",
            "15.1.2507.39",
            "15.2.1118.7",
            "15.2.1118.40",
            "15.2.1544",
            "15.2.1544.4",
        ],
    );
    check(
        Dotted,
        &[
            ("15.02.1118.007", "=", "15.2.1118.7"),
            ("15.2", "=", "15.2.0.0"),
        ],
    );
}

#[test]
fn dotted_orders_words_around_the_release() {
    check_ascending(
        Dotted,
        &[
            "4.98~1",
            "4.98.dev1",
            "4.98a1",
            "4.98-beta",
            "4.98-BETA2",
            "4.98-M1",
            "4.98_RC1",
            "4.98-rc2",
            "4.98-SNAPSHOT",
            "4.98",
            "4.98k",
            "4.98p1",
            "4.98p2",
            "4.98.post1",
            "4.98zg",
            "4.98.0.1",
            "4.98.1",
            "4.98-20221023",
        ],
    );
    check(
        Dotted,
        &[
            ("4.98-RC1", "=", "4.98.0rc1"),
            ("4.98-rc0", "=", "4.98-rc"),
            ("4.98.Final", "=", "4.98"),
            ("8.8.15_P40", "=", "8.8.15.p40"),
            ("v2.3.21", "=", "2.3.21"),
            ("1.0.2a", ">", "1.0.2"),
            ("1.0.0a", "=", "1.0a"),
        ],
    );
}

#[test]
fn dotted_refuses_what_names_no_version() {
    for (text, expected) in [
        ("master", "version-no-number"),
        ("< 4.97", "version-illegal-character"),
        ("<4.97", "version-no-number"),
        ("4.97 and earlier", "version-illegal-character"),
        ("4.97,4.98", "version-illegal-character"),
        ("4.x", "version-wildcard"),
        ("4.*", "version-illegal-character"),
        ("1!2.0", "version-illegal-character"),
        ("1.0.2x", "accepted"),
    ] {
        assert_eq!(kind(Dotted, text), expected, "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz(&data);
    }

    #[test]
    fn no_versions_panic(text in "[0-9a-zA-Z~^+.:_ \\n-]{0,40}") {
        fuzz(text.as_bytes());
    }

    /// So a key with a byte behind it stands right after that key: what a closed range ends with.
    #[test]
    fn no_key_is_a_prefix_of_another(
        a in "[0-2][0-2az.+~^_-]{0,6}", tail in "[0-2az.+~^_-]{0,3}",
    ) {
        for scheme in [Dotted, Dpkg, Rpm, SemVer] {
            if let (Ok(short), Ok(long)) = (key(scheme, &a), key(scheme, &format!("{a}{tail}"))) {
                let is_prefix = long.as_bytes().starts_with(short.as_bytes());
                prop_assert!(short == long || !is_prefix, "{:?}", scheme);
            }
        }
    }

    /// What follows an upstream part cannot change its place: the code of a part is no prefix of
    /// another's.
    #[test]
    fn the_upstream_part_decides_before_the_revision(
        a in "[0-9][0-9az.+~]{0,6}", b in "[0-9][0-9az.+~]{0,6}",
        x in "[0-9az.+~]{1,6}", y in "[0-9az.+~]{1,6}",
    ) {
        for scheme in [Dpkg, Rpm] {
            let bare = compare(scheme, &a, &b).unwrap();
            let full = compare(scheme, &format!("{a}-{x}"), &format!("{b}-{y}")).unwrap();
            prop_assert!(bare == Ordering::Equal || bare == full, "{:?}", scheme);
        }
    }
}
