//! Whatever the octets: no reader panics, none brings forth more than its budget, and what lies in an archive is found.

use mailkeep_inspect::{danger, examine, kind, unpack};
use proptest::prelude::*;

use crate::archives::fixture;
use crate::build::{self, Entry};

const FIXTURES: &[&str] = &[
    "bcj2.7z",
    "fastest.arj",
    "lh5-0.lzh",
    "lh7.lzh",
    "ppmd.7z",
    "ppmd.zip",
    "rar20.rar",
    "rar29-solid.rar",
    "rar50-solid.rar",
    "deflate.zip",
    "encrypted.7z",
    "gnu-long.tar.xz",
    "joliet-rock.iso.gz",
    "lzma2.7z",
    "packed.arj",
    "story.txt.zst",
];

fn built() -> Vec<Vec<u8>> {
    let program = build::program();
    let package = build::package("a.txt", b"Hello.");
    vec![
        build::rar4(&[("a.txt", b"Hello.")], 0x30, false),
        build::rar5(&[("a.txt", b"Hello.", Some("b"))]),
        build::cabinet("a.txt", b"Hello."),
        build::wrapped("a.txt", b"Hello."),
        build::compound(&[
            ("VBA/Module1", &build::module("Sub AutoOpen()")),
            ("\u{1}Ole10Native", &package),
        ]),
        build::rich_text("Package", &package),
        build::pdf("a.txt", &program, true),
        build::onenote(&program),
        build::tar(&[("a", b"x", None), ("b", b"", Some("a"))]),
        build::zip(&[Entry::new("a", b"x")]),
        b"{\\rtf1{\\field{\\*\\fldinst D\\u68?{\\b E}AUTO \\'41}}{\\*\\template h}{\\*\\objdata 01\\bin2 ab{\\*\\a 1}\\'41 02}}".to_vec(),
        b"<?xml version='1.0'?><p><part name='a'><binaryData>TVqQ</binaryData></part><source-code>a&#65;</source-code></p>".to_vec(),
        [b"ActiveMime\0\0\x01\xf0".as_slice(), &build::zlib(&build::compound(&[("a", b"x")]))].concat(),
        build::zip(&[
            Entry::new("[Content_Types].xml", b"<Types/>"),
            Entry::new("_rels/.rels", b"<Relationship Type='/frame' Target='http:%2f' TargetMode=\"&#69;\"/>"),
            Entry::new("word/a.xml", b"<w:fldChar w:fldCharType='begin'/><w:instrText>D&#68;E<![CDATA[ cmd]]></w:instrText><a ddeLink='' formula='=cmd|a'/>"),
        ]),
        build::zip(&[
            Entry::new("mimetype", b"application/vnd.oasis.opendocument.text"),
            Entry::new("content.xml", b"<a><event-listener event-name='x' href='y'/><module>Shell(a)</module></a>"),
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..2048)) {
        kind::fuzz(&octets);
        examine::fuzz(&octets);
        unpack::fuzz_disk(&octets);
        unpack::fuzz_rar(&octets);
        for reader in b'A'..b'A' + 33 {
            unpack::fuzz(&[&[reader], octets.as_slice()].concat());
        }
    }

    #[test]
    fn any_text_is_survived_as_a_script(text in "[a-z'\"`/\\\\*\\[\\](){}=>+^%:~ \n]{0,400}") {
        danger::fuzz_script(text.as_bytes());
    }

    #[test]
    fn broken_archives_are_survived(
        nth in 0..31_usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut octets = match nth.checked_sub(FIXTURES.len()) {
            None => fixture(FIXTURES[nth]),
            Some(nth) => built().swap_remove(nth),
        };
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        examine::fuzz(&octets);
    }

    #[test]
    fn what_is_put_into_an_archive_is_found_in_it(content in proptest::collection::vec(any::<u8>(), 0..5000)) {
        for archive in [
            build::zip(&[Entry { deflated: true, ..Entry::new("a", &content) }]),
            build::gzip(&content),
            build::rar4(&[("a", &content)], 0x30, false),
            build::cabinet("a", &content),
            build::wrapped("a", &content),
        ] {
            let mut found = Vec::new();
            let mut budget = mailkeep_inspect::Budget::new(&mailkeep_inspect::Limits::default());
            let kind = kind::of(&archive);
            unpack::members(&archive, kind, &mut budget, &mut |member, _| found = member.octets.to_vec());
            prop_assert_eq!(&found, &content, "{:?}", kind);
        }
    }
}
