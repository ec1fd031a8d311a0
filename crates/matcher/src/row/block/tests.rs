//! What is written in blocks comes back, and what is no block is survived.

use mailkeep_model::{AdvisoryId, Claim, Ecosystem, VersionRange};
use proptest::prelude::*;

use super::*;
use crate::row::read_rows;

fn version() -> impl Strategy<Value = Box<str>> {
    // Some of them have no order.
    "([12]:)?[0-3]\\.[0-9](-1)?(\\+deb12u[1-3])?|garbage:1|".prop_map(Into::into)
}

fn range() -> impl Strategy<Value = VersionRange> {
    let end = prop_oneof![
        version().prop_map(RangeEnd::Fixed),
        version().prop_map(RangeEnd::LastAffected),
        version().prop_map(RangeEnd::Limit),
        Just(RangeEnd::Open),
    ];
    (prop::option::of(version()), end)
        .prop_map(|(introduced, end)| VersionRange { introduced, end })
}

fn kind() -> impl Strategy<Value = ClaimKind> {
    prop_oneof![
        version().prop_map(|version| ClaimKind::FixedIn { version }),
        prop::sample::select(&STATES[..]).prop_map(|state| ClaimKind::Open { state }),
        Just(ClaimKind::NotAffected),
        Just(ClaimKind::Undetermined),
        (
            prop::collection::vec(range(), 0..3),
            prop::collection::vec(version(), 0..4)
        )
            .prop_map(|(ranges, versions)| ClaimKind::Affected { ranges, versions }),
    ]
}

fn claim() -> impl Strategy<Value = Claim> {
    let text = |texts: &'static str| prop::option::of(texts.prop_map(Into::into));
    let urgency = prop::option::of(prop::sample::select(&URGENCIES[..]));
    let held = prop::option::of(version());
    (
        text("book|trixie|"),
        kind(),
        urgency,
        text("a note|\u{e4}|"),
        held,
    )
        .prop_map(|(release, kind, urgency, note, in_repository)| Claim {
            release,
            kind,
            urgency,
            note,
            in_repository,
        })
}

fn statement() -> impl Strategy<Value = Statement> {
    let id = || "(CVE-2026|DSA)-[1-9]".prop_map(|id| AdvisoryId::new(id).unwrap());
    let places = (
        prop::sample::select(&KINDS[..]),
        prop::sample::select(&VOICES[..]),
    );
    let texts = (
        prop::option::of("perl:5|"),
        // Lengths that take one byte and two.
        "x{0,3}|x{126,130}",
        prop::option::of("CVSS:3.1/AV:N|"),
    );
    let claims = prop::collection::vec(claim(), 0..6);
    (
        id(),
        prop::collection::vec(id(), 0..3),
        places,
        texts,
        claims,
    )
        .prop_map(
            |(advisory, aliases, (package_kind, voice), (module, title, cvss), claims)| Statement {
                advisory,
                aliases,
                ecosystem: Ecosystem::Debian,
                package: "exim4".into(),
                package_kind,
                module: module.map(Into::into),
                voice,
                title: title.into(),
                cvss: cvss.map(Into::into),
                claims,
            },
        )
}

/// The text of a version that has the key it should have.
fn text_of(version: RowVersion<'_>) -> Box<str> {
    let key = version::key(VersionScheme::Dpkg, version.text);
    let key = key.as_ref().map_or(&[][..], |key| key.as_bytes());
    assert_eq!(version.key, key, "{}", version.text);
    version.text.into()
}

fn statement_of(row: &DecodedRow<'_>) -> Statement {
    let id = |text: &str| AdvisoryId::new(text).unwrap();
    let range = |range: &RowRange<'_>| VersionRange {
        introduced: range.introduced.map(text_of),
        end: match range.end {
            RowEnd::Fixed(version) => RangeEnd::Fixed(text_of(version)),
            RowEnd::LastAffected(version) => RangeEnd::LastAffected(text_of(version)),
            RowEnd::Limit(version) => RangeEnd::Limit(text_of(version)),
            RowEnd::Open => RangeEnd::Open,
        },
    };
    let claim = |claim: &RowClaim<'_>| Claim {
        release: claim.release.map(Into::into),
        kind: match &claim.kind {
            RowKind::Affected { ranges, versions } => ClaimKind::Affected {
                ranges: ranges.iter().map(range).collect(),
                versions: versions.iter().map(|version| (*version).into()).collect(),
            },
            RowKind::FixedIn(version) => ClaimKind::FixedIn {
                version: text_of(*version),
            },
            RowKind::NotAffected => ClaimKind::NotAffected,
            RowKind::Open(state) => ClaimKind::Open { state: *state },
            RowKind::Undetermined => ClaimKind::Undetermined,
        },
        urgency: claim.urgency,
        note: claim.note.map(Into::into),
        in_repository: claim.in_repository.map(text_of),
    };
    Statement {
        advisory: id(row.advisory),
        aliases: row.aliases.iter().map(|name| id(name)).collect(),
        ecosystem: Ecosystem::Debian,
        package: "exim4".into(),
        package_kind: row.kind,
        module: row.module.map(Into::into),
        voice: row.voice,
        title: row.title.into(),
        cvss: row.cvss.map(Into::into),
        claims: row.claims.iter().map(claim).collect(),
    }
}

proptest! {
    #[test]
    fn statements_come_back_by_advisory_and_else_as_they_came(
        packages in prop::collection::vec(prop::collection::vec(statement(), 0..12), 0..3),
    ) {
        let mut builder = RowBuilder::new();
        let mut body = Vec::new();
        for statements in &packages {
            for statement in statements {
                builder.add(statement);
            }
            builder.finish(&mut body);
        }
        let mut read = Vec::new();
        read_rows(&body, |row| read.push(statement_of(&row))).unwrap();
        let mut expected = packages;
        for statements in &mut expected {
            statements.sort_by(|a, b| a.advisory.cmp(&b.advisory));
        }
        prop_assert_eq!(read, expected.concat());
    }

    #[test]
    fn damaged_blocks_are_survived(
        statements in prop::collection::vec(statement(), 1..6),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
    ) {
        let mut body = RowBuilder::body_of(&statements);
        for (place, byte) in places {
            let place = place.index(body.len());
            body[place] = byte;
        }
        body.truncate(end.index(body.len() + 1));
        let _survived = read_rows(&body, drop);
    }

    #[test]
    fn any_bytes_behind_the_mark_are_survived(bytes: Vec<u8>) {
        let _survived = read_rows(&[&MARK[..], &bytes].concat(), drop);
    }
}
