//! Archives that are something else as well, lie behind something else, or say two things of one member; and such as few
//! programs make and many unpack.

use mailkeep_inspect::Level;
use mailkeep_inspect::kind::{self, Kind};

use crate::build::{self, Entry};
use crate::refusing;

/// The rules that refuse something by default.
fn refused(name: &str, octets: &[u8]) -> Vec<String> {
    refusing(name, "application/octet-stream", octets, Level::Default)
}

#[test]
fn a_tar_whose_first_name_is_a_signature_is_read_as_a_tar_too() {
    for name in [
        "GIF89a",
        "II*",
        "PK\u{3}\u{4}",
        "{\\rtf",
        "ID3",
        "xar!",
        "070701",
        "BZh91AY&SY",
        "OTTO",
        "dex\n0",
    ] {
        let tar = build::tar(&[(name, b"Hello.", None), ("b.exe", &build::program(), None)]);
        assert_ne!(kind::of(&tar), Kind::Tar, "{name}");
        assert!(
            refused("a.tar", &tar).contains(&"executable".to_owned()),
            "{name}"
        );
        let packed = build::gzip(&tar);
        assert!(
            refused("a.tar.gz", &packed).contains(&"executable".to_owned()),
            "{name}"
        );
        let honest = build::tar(&[(name, b"Hello.", None), ("b.txt", b"Hello.", None)]);
        if name != "dex\n0" {
            assert_eq!(refused("a.tar", &honest), [""; 0], "{name}");
        }
    }
}

#[test]
fn a_cd_whose_first_sector_is_something_else_is_read_as_a_cd_too() {
    let image = crate::archives::unpacked("joliet-rock.iso.gz");
    for start in [
        &b"GIF89a"[..],
        b"PK\x03\x04",
        b"{\\rtf1",
        b"\x1f\x8b\x08",
        b"%PDF-1.4",
    ] {
        let mut image = image.clone();
        image[..start.len()].copy_from_slice(start);
        assert_ne!(kind::of(&image), Kind::Iso);
        let strict: Vec<_> = crate::attachment("a.img", "", &image, Level::Strict)
            .into_iter()
            .map(|reason| reason.rule)
            .collect();
        assert!(strict.iter().any(|rule| rule == "disk-image"), "{strict:?}");
        let mut names = Vec::new();
        for hidden in kind::hidden(&image, kind::of(&image)).found {
            names.push(hidden.kind);
        }
        assert_eq!(names, [Kind::Iso]);
    }
}

/// Writes a number into every head of a member, or into every entry of the directory, of a zip.
fn patched(zip: &[u8], mark: &[u8], at: usize, number: &[u8]) -> Vec<u8> {
    let mut zip = zip.to_vec();
    for found in 0..zip.len() - at - number.len() {
        if zip[found..].starts_with(mark) {
            zip[found + at..found + at + number.len()].copy_from_slice(number);
        }
    }
    zip
}

const HEAD: &[u8] = b"PK\x03\x04";
const LISTED: &[u8] = b"PK\x01\x02";

#[test]
fn a_member_is_read_as_its_head_says_where_the_directory_says_otherwise() {
    let program = build::program();
    let plain = build::zip(&[Entry {
        deflated: true,
        ..Entry::new("a.txt", &program)
    }]);
    let early = patched(&plain, HEAD, 6, &[8, 0]);
    for (what, zip) in [
        ("encrypted", patched(&plain, LISTED, 8, &[1, 0])),
        ("encrypted strongly", patched(&plain, LISTED, 8, &[0x41, 0])),
        ("encrypted, early", patched(&early, LISTED, 8, &[9, 0])),
        ("stored", patched(&plain, LISTED, 10, &[0, 0])),
        ("stored, early", patched(&early, LISTED, 10, &[0, 0])),
        ("by AES, early", patched(&early, LISTED, 10, &[99, 0])),
        ("imploded, early", patched(&early, LISTED, 10, &[6, 0])),
        ("short", patched(&plain, LISTED, 20, &[10, 0, 0, 0])),
        ("empty", patched(&plain, LISTED, 20, &[0; 4])),
        ("short, early", patched(&early, LISTED, 20, &[10, 0, 0, 0])),
        ("empty, early", patched(&early, LISTED, 20, &[0; 4])),
        (
            "endless",
            patched(&patched(&early, LISTED, 20, &[0; 4]), HEAD, 18, &[0; 4]),
        ),
    ] {
        assert!(
            refused("a.zip", &zip).contains(&"executable".to_owned()),
            "{what}: {:?}",
            refused("a.zip", &zip)
        );
    }
}

#[test]
fn a_member_behind_one_that_the_directory_makes_longer_is_found() {
    let two = build::zip(&[
        Entry::new("a.txt", b"Hello."),
        Entry {
            hidden: true,
            ..Entry::new("b.txt", &build::program())
        },
    ]);
    let longer = patched(&two, LISTED, 20, &[0, 1, 0, 0]);
    assert!(refused("a.zip", &longer).contains(&"executable".to_owned()));
}

#[test]
fn a_zip_that_says_to_list_nothing_is_read_behind_something_else() {
    let zip = build::zip(&[Entry::new("a.txt", &build::program())]);
    let none = patched(&zip, b"PK\x05\x06", 8, &[0; 4]);
    for before in [&b"junk ".repeat(20)[..], b"GIF89a\0\0"] {
        let behind = [before, &none].concat();
        assert!(refused("a.zip", &behind).contains(&"executable".to_owned()));
    }
}

#[test]
fn a_member_without_a_directory_is_found_whatever_its_name_is() {
    let zip = build::zip(&[Entry::new("\u{1}a.txt", &build::program())]);
    let end = zip.windows(4).position(|four| four == LISTED).unwrap();
    assert!(refused("a.zip", &zip[..end]).contains(&"executable".to_owned()));
}

#[test]
fn a_head_that_was_written_before_its_member_was_packed_contradicts_nothing() {
    let honest = build::zip(&[
        Entry {
            deflated: true,
            ..Entry::new("a.txt", b"Hello.")
        },
        Entry::new("empty.txt", b""),
        Entry::new("folder/", b""),
    ]);
    let early = patched(&honest, HEAD, 6, &[8, 0]);
    let early = patched(&early, LISTED, 8, &[8, 0]);
    let early = patched(&early, HEAD, 14, &[0; 12]);
    for zip in [&honest, &early] {
        let strict = refusing("a.zip", "application/zip", zip, Level::Strict);
        assert_eq!(strict, [""; 0]);
    }
}

#[test]
fn an_archive_behind_anything_is_read() {
    let program = build::program();
    let archives = [
        (
            "a.rar",
            Kind::Rar4,
            build::rar4(&[("a.txt", &program)], 0x30, false),
        ),
        (
            "a.rar",
            Kind::Rar5,
            build::rar5(&[("a.txt", &program, None)]),
        ),
        ("a.cab", Kind::Cab, build::cabinet("a.txt", &program)),
        ("a.arj", Kind::Arj, build::arj("a.txt", &program)),
        ("a.lzh", Kind::Lzh, build::lzh("a.txt", &program, 0)),
        ("a.lzh", Kind::Lzh, build::lzh("a.txt", &program, 2)),
    ];
    let message = [
        b"From: a@b\r\nTo: c@d\r\nSubject: x\r\n\r\n".to_vec(),
        b"words ".repeat(800),
    ]
    .concat();
    let compound = [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec(), vec![0; 600]].concat();
    let calendar = [
        b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n".to_vec(),
        b"words ".repeat(800),
    ]
    .concat();
    for (name, kind, archive) in &archives {
        assert_eq!(kind::of(archive), *kind);
        assert!(
            refused(name, archive).contains(&"executable".to_owned()),
            "{name}"
        );
        for before in [
            b"{\\rtf1 x}".to_vec(),
            build::gzip(b"Hello."),
            message.clone(),
            compound.clone(),
            calendar.clone(),
            b"GIF89a\0\0\0".to_vec(),
            b"Hello. ".repeat(20),
            b"7z\xbc\xaf\x27\x1c".to_vec(),
            b"xar!\0\0\0\0".to_vec(),
            b"[InternetShortcut]\r\nURL=http://example.org/\r\n".to_vec(),
            b"%PDF-1.4\n".to_vec(),
            b"PK\x03\x04".to_vec(),
            // Signatures with nothing behind.
            b"GIF89aRar!\x1a\x07\0Rar!\x1a\x07\x01\0MSCF\0\0\0\0\x60\xea\x20\0-lh0--lh5-".to_vec(),
        ] {
            let behind = [&before, &archive[..]].concat();
            assert!(
                refused(name, &behind).contains(&"executable".to_owned()),
                "{name} behind {}",
                String::from_utf8_lossy(&before[..8.min(before.len())])
            );
        }
    }
}

#[test]
fn a_zip_far_before_the_end_is_read() {
    let zip = build::zip(&[Entry::new("a.txt", &build::program())]);
    for before in [&b"junk ".repeat(20)[..], b"GIF89a\0\0"] {
        let between = [before, &zip, &b"x".repeat(70_000)].concat();
        assert!(refused("a.zip", &between).contains(&"executable".to_owned()));
    }
}

#[test]
fn more_archives_behind_something_than_are_looked_into_are_a_limit() {
    let rules = |archive: &[u8], count: usize| {
        let octets = [b"junk ".repeat(20), archive.repeat(count)].concat();
        refused("a.bin", &octets)
    };
    let member = b"Hello.";
    for archive in [
        build::rar4(&[("a.txt", member)], 0x30, false),
        build::rar5(&[("a.txt", member, None)]),
        build::cabinet("a.txt", member),
    ] {
        assert_eq!(rules(&archive, 8), [""; 0]);
        assert_eq!(rules(&archive, 9), ["limit-parts"]);
    }
    // Each member begins as the archive does.
    for archive in [build::arj("a.txt", member), build::lzh("a.txt", member, 0)] {
        assert_eq!(rules(&archive, 20), [""; 0]);
    }
    let many = build::rar4(&[("a.txt", member)], 0x30, false).repeat(20);
    assert_eq!(refused("a.rar", &many), [""; 0]);
}

#[test]
fn signatures_alone_are_no_archives() {
    let signatures =
        b"MSCF MSCF\0\0\0\0 \x60\xea\x20\0 -lh5- -lz4- -pm0- PK\x05\x06 1-lhd-2 \x60\xea "
            .repeat(300);
    for before in [
        &b"Words. "[..],
        b"GIF89a",
        b"{\\rtf1 ",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    ] {
        let octets = [before, &signatures].concat();
        assert_eq!(kind::hidden(&octets, kind::of(&octets)).found, []);
    }
}

#[test]
fn heads_that_lie_over_each_other_are_not_summed_up_again_and_again() {
    // Each says that it is as large as may be.
    let mut octets = b"GIF89a".to_vec();
    octets.extend(b"\x60\xea\x28\x0a".repeat(1 << 20));
    let started = std::time::Instant::now();
    assert!(kind::hidden(&octets, Kind::Image).found.len() <= 16);
    assert!(started.elapsed().as_secs() < 5);
}

/// The head of a member of a tar.
fn head(name: &str, size: &str, file_type: u8) -> Vec<u8> {
    let mut head = build::tar(&[(name, b"", None)])[..512].to_vec();
    head[124..136].fill(0);
    head[124..124 + size.len()].copy_from_slice(size.as_bytes());
    head[156] = file_type;
    head[148..156].fill(b' ');
    let sum: u32 = head.iter().copied().map(u32::from).sum();
    head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    head
}

fn padded(octets: &[u8]) -> Vec<u8> {
    let mut octets = octets.to_vec();
    octets.resize(octets.len().next_multiple_of(512), 0);
    octets
}

/// A record of pax for all members.
fn for_all(record: &str) -> Vec<u8> {
    let length = record.len() + 4;
    let record = format!("{length} {record}\n");
    assert_eq!(record.len(), length);
    [
        head("g", &format!("{length:o}"), b'g'),
        padded(record.as_bytes()),
    ]
    .concat()
}

#[test]
fn a_device_or_a_link_with_content_is_read() {
    let program = build::gzip(&build::program());
    for file_type in *b"1346" {
        let tar = [
            head("a.txt", "5", b'0'),
            padded(b"Hello"),
            head("b.gz", &format!("{:o}", program.len()), file_type),
            padded(&program),
            head("c.txt", "5", b'0'),
            padded(b"Hello"),
            vec![0; 1024],
        ]
        .concat();
        assert!(
            refused("a.tar", &tar).contains(&"executable".to_owned()),
            "{}",
            char::from(file_type)
        );
    }
    // A link says how long the other is, and the next head follows.
    let honest = [
        head("a.txt", "5", b'0'),
        padded(b"Hello"),
        head("b.txt", "5", b'1'),
        head("c.txt", "5", b'0'),
        padded(b"Hello"),
        head("d.txt", "5", b'1'),
        vec![0; 1024],
    ]
    .concat();
    assert_eq!(
        refusing("a.tar", "application/x-tar", &honest, Level::Strict),
        [""; 0]
    );
}

#[test]
fn what_a_tar_says_of_all_its_members_is_taken_for_one_reading() {
    let tar = [
        for_all("path=invoice.js"),
        head("a.txt", "5", b'0'),
        padded(b"Hello"),
    ]
    .concat();
    assert!(refused("a.tar", &tar).contains(&"dangerous-name".to_owned()));
    let program = build::gzip(&build::program());
    let tar = [
        for_all(&format!("size={}", program.len())),
        head("a.gz", "0", b'0'),
        padded(&program),
    ]
    .concat();
    let rules = refused("a.tar", &tar);
    assert!(rules.contains(&"executable".to_owned()), "{rules:?}");
    assert!(rules.contains(&"archive-ambiguous".to_owned()), "{rules:?}");
    // What `git archive` writes.
    let honest = [
        for_all("comment=0123456789abcdef"),
        head("a.txt", "5", b'0'),
        padded(b"Hello"),
        vec![0; 1024],
    ]
    .concat();
    assert_eq!(
        refusing("a.tar", "application/x-tar", &honest, Level::Strict),
        [""; 0]
    );
}

#[test]
fn a_size_in_a_tar_ends_where_its_digits_do() {
    let program = build::gzip(&build::program());
    for size in [
        format!("{:o} x", program.len()),
        format!("  {:o} 999", program.len()),
        format!("{:o}x", program.len()),
        format!("\0{:o}", program.len()),
    ] {
        let tar = [head("a.gz", &size, b'0'), padded(&program)].concat();
        assert!(
            refused("a.tar", &tar).contains(&"executable".to_owned()),
            "{size:?}"
        );
    }
}

#[test]
fn lzma_of_any_properties_is_unpacked() {
    let mut largest = build::LZMA.to_vec();
    largest[1..5].fill(0xff);
    for octets in [build::LZMA, &largest] {
        assert_eq!(kind::of(octets), Kind::Lzma);
        assert_eq!(refused("a.lzma", octets), ["executable"]);
    }
    for other in [
        &b"\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0"[..],
        &[0; 64],
        &[&b"\0\0\0\x01\0\x10\0\0\0\0\0\0\0\0"[..], &[7; 500]].concat(),
    ] {
        assert_ne!(kind::of(other), Kind::Lzma);
    }
}

#[test]
fn lzip_of_before_its_first_version_is_unpacked() {
    let head = &b"LZIP\0\x10"[..];
    let sums = &[0; 12][..];
    let one = [head, build::USUAL_LZMA, sums].concat();
    assert_eq!(refused("a.lz", &one), ["executable"]);
    // One that is none before it.
    let second = [b"LZIP\0\x10\0", &[0; 30][..], &one].concat();
    assert_eq!(refused("a.lz", &second), ["executable"]);
}

#[test]
fn filters_of_7z_that_turn_words_round_are_undone() {
    let program = [build::program(), b"end".to_vec()].concat();
    for (method, width) in [(&[2, 3, 2][..], 2), (&[2, 3, 4], 4), (&[0x0b], 1)] {
        let mut turned = program.clone();
        for word in turned.chunks_exact_mut(width) {
            word.reverse();
        }
        let archive = build::seven_zip("a.dat", method, &turned);
        assert_eq!(refused("a.7z", &archive), ["executable"], "{method:?}");
    }
}

#[test]
fn files_of_the_macintosh_are_judged_by_name_and_content() {
    for octets in [
        build::mac_binary("invoice.js", b"Hello.", true),
        build::mac_binary("invoice.js", b"Hello.", false),
        build::apple_single("invoice.js", b"Hello."),
    ] {
        assert_eq!(kind::of(&octets), Kind::MacFile);
        assert_eq!(refused("a.bin", &octets), ["dangerous-name"]);
    }
    let octets = build::mac_binary("a", &build::program(), true);
    assert!(refused("a.bin", &octets).contains(&"executable".to_owned()));
    let octets = build::apple_single("a", &build::program());
    assert!(refused("a.bin", &octets).contains(&"executable".to_owned()));
    // It keeps the name of what it holds.
    for (name, declared) in [
        ("a.bin", ""),
        ("a.pdf", "application/pdf"),
        ("a.png", "image/png"),
    ] {
        let octets = build::apple_single(name, b"Hello.");
        assert_eq!(refusing(name, declared, &octets, Level::Strict), [""; 0]);
    }
}

#[test]
fn archives_and_disks_that_are_not_read_are_told() {
    let mut squashed = vec![0; 96];
    squashed[..4].copy_from_slice(b"hsqs");
    squashed[28] = 4;
    let mut extended = vec![0; 2048];
    extended[1024] = 16;
    extended[1024 + 20] = 1;
    extended[1024 + 56..1024 + 58].copy_from_slice(&[0x53, 0xef]);
    for (octets, kind, rule) in [
        (
            &b"WARC/1.0\r\nWARC-Type: warcinfo\r\n\r\n"[..],
            Kind::Warc,
            "archive-not-unpacked",
        ),
        (&squashed, Kind::LinuxDisk, "disk-image"),
        (&extended, Kind::LinuxDisk, "disk-image"),
        (
            b"\x02\x21\x4c\x18\0\0\0\0",
            Kind::Lz4,
            "archive-not-unpacked",
        ),
    ] {
        assert_eq!(kind::of(octets), kind);
        let rules = refusing("a", "", octets, Level::Strict);
        assert!(rules.contains(&rule.to_owned()), "{rules:?}");
    }
}
