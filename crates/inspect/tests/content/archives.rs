//! What lies in archives that real programs wrote is found, with its names (`fixtures/README.md`).
use std::path::Path;

use mailkeep_inspect::kind::{self, Kind};
use mailkeep_inspect::unpack::{self, Trouble, Unread};
use mailkeep_inspect::{Budget, Limits};

const GREETING: &str = "Hello from Mailkeep.\n";

fn story() -> String {
    (1..=40).fold(String::new(), |text, line| {
        text + &format!("The quick brown fox jumps over the lazy dog, line {line}.\n")
    })
}

pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(folder.join(name)).unwrap()
}

/// What is found in content, and in what one stream in it holds: a line for each member.
fn found(octets: &[u8]) -> (Vec<String>, Vec<Trouble>) {
    let mut budget = Budget::new(&Limits::default());
    let mut lines = Vec::new();
    let mut inner = Vec::new();
    let troubles = unpack::members(octets, kind::of(octets), &mut budget, &mut |member, _| {
        let what = match (&member.unread, &member.link) {
            (None, Some(link)) => format!("link to {link}"),
            (None, None) if *member.octets == *GREETING.as_bytes() => "greeting".to_owned(),
            (None, None) if *member.octets == *story().as_bytes() => "story".to_owned(),
            (None, None) => format!("{} octets", member.octets.len()),
            (Some(Unread::Encrypted), _) => "encrypted".to_owned(),
            (Some(Unread::Method(method)), _) => method.clone(),
            (Some(other), _) => format!("{other:?}"),
        };
        lines.push(format!("{}: {what}", member.names.join(" | ")));
        if matches!(kind::of(&member.octets), Kind::Tar | Kind::Cpio | Kind::Iso) {
            inner = member.octets.to_vec();
        }
    });
    if inner.is_empty() {
        (lines, troubles)
    } else {
        found(&inner)
    }
}

fn check(name: &str, expected: &[&str]) {
    let (lines, troubles) = found(&fixture(name));
    assert_eq!(lines, expected, "{name}");
    assert_eq!(troubles, [], "{name}");
}

const BOTH: &[&str] = &["greeting.txt: greeting", "folder/story.txt: story"];
const STORY: &[&str] = &["folder/story.txt: story"];

#[test]
fn members_of_zips_are_found_in_any_packing() {
    check("deflate.zip", BOTH);
    check("stored.zip", &["greeting.txt: greeting"]);
    check("streamed.zip", &["-: 2172 octets"]);
    check("bzip2.zip", STORY);
    check("lzma.zip", STORY);
    check("deflate64.zip", STORY);
    check("ppmd.zip", STORY);
    check("encrypted.zip", &["greeting.txt: encrypted"]);
}

#[test]
fn members_of_7z_archives_are_found_in_any_packing() {
    let both = &["folder/story.txt: story", "greeting.txt: greeting"];
    check("lzma2.7z", both);
    check("lzma.7z", both);
    check("bcj2.7z", STORY);
    check("deflate.7z", STORY);
    check("bzip2.7z", STORY);
    check("delta.7z", STORY);
    check("ppmd.7z", STORY);
    check("encrypted.7z", &["greeting.txt: encrypted"]);
    let (lines, troubles) = found(&fixture("encrypted-names.7z"));
    assert_eq!((lines.len(), troubles), (0, vec![Trouble::EncryptedNames]));
}

#[test]
fn members_of_tars_are_found_with_long_names_and_links() {
    let long = format!("{}.txt: greeting", "long-".repeat(40));
    check("gnu.tar.gz", BOTH);
    check("v7.tar.gz", &["greeting.txt: greeting"]);
    check("gnu-long.tar.xz", &[&long, "link: link to ../elsewhere"]);
    check("pax-long.tar.bz2", &[&long, "link: link to ../elsewhere"]);
}

#[test]
fn members_of_cpio_and_ar_archives_are_found_in_any_form() {
    for name in ["bin", "odc", "newc", "crc"] {
        check(
            &format!("{name}.cpio.gz"),
            &["greeting.txt: greeting", "link: link to ../elsewhere"],
        );
    }
    check("two.ar", &["greeting.txt: greeting", "story.txt: story"]);
}

#[test]
fn one_packed_file_is_unpacked() {
    check("greeting.txt.gz", &["greeting.txt: greeting"]);
    check("twice.gz", &[": 42 octets"]);
    for ending in ["xz", "zst", "lzma"] {
        check(&format!("story.txt.{ending}"), &[": story"]);
    }
}

#[test]
fn files_of_a_cd_have_the_names_of_every_reader() {
    check(
        "joliet-rock.iso.gz",
        &[
            "A longer name than eight letters.txt | A_LONGER.TXT: greeting",
            "folder/story.txt | folder/STORY.TXT: story",
        ],
    );
}

#[test]
fn members_of_arj_archives_are_found_in_any_packing() {
    check("stored.arj", &["greeting.txt: greeting"]);
    check("packed.arj", STORY);
    check(
        "fastest.arj",
        &["folder/story.txt: story", "greeting.txt: greeting"],
    );
}

#[test]
fn members_of_lha_archives_are_found_in_any_packing() {
    check(
        "lh5-0.lzh",
        &["folder\\story.txt: story", "greeting.txt: greeting"],
    );
    for name in ["lh5-1", "lh6", "lh7"] {
        check(
            &format!("{name}.lzh"),
            &["folder/story.txt: story", "greeting.txt: greeting"],
        );
    }
}

#[test]
fn files_of_udf_are_found_beside_others_and_alone() {
    check(
        "joliet-udf.iso.gz",
        &[
            "A longer name than eight letters.txt | A_LONGER.TXT: greeting",
            "folder/story.txt | FOLDER/STORY.TXT: story",
        ],
    );
    check(
        "udf.iso.gz",
        &[
            "A longer name than eight letters.txt: greeting",
            "folder/story.txt: story",
        ],
    );
    // What only UDF lists is found though the other side looks whole.
    let mut image = unpacked("joliet-udf.iso.gz");
    for sector in [16, 17] {
        let root = sector * 2048 + 156;
        image[root + 10..root + 18].fill(0);
    }
    let (lines, _) = found(&image);
    assert_eq!(
        lines,
        [
            "A longer name than eight letters.txt: greeting",
            "folder/story.txt: story"
        ]
    );
}

/// What one packed file holds.
pub(crate) fn unpacked(name: &str) -> Vec<u8> {
    let octets = fixture(name);
    let mut budget = Budget::new(&Limits::default());
    let mut inner = Vec::new();
    let _troubles = unpack::members(&octets, kind::of(&octets), &mut budget, &mut |member, _| {
        inner = member.octets.to_vec();
    });
    inner
}

#[test]
fn members_of_rar_archives_are_unpacked() {
    for name in ["rar20", "rar29", "rar29-solid", "rar50", "rar50-solid"] {
        check(
            &format!("{name}.rar"),
            &[
                "folder/story.txt: story",
                "empty.txt: 0 octets",
                "again.txt: story",
                "greeting.txt: greeting",
            ],
        );
    }
}

#[test]
fn a_cut_archive_gives_what_is_left_of_it() {
    for name in [
        "deflate.zip",
        "gnu.tar.gz",
        "newc.cpio.gz",
        "story.txt.xz",
        "lzma2.7z",
        "joliet-rock.iso.gz",
    ] {
        let whole = fixture(name);
        for cut in 0..whole.len() {
            found(&whole[..cut]);
        }
    }
    // Without its directory a zip is read by the heads before its members.
    let zip = fixture("deflate.zip");
    let (lines, _) = found(&zip[..zip.len() - 30]);
    assert_eq!(lines, BOTH);
}
