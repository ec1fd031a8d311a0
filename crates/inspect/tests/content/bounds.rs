//! What no program writes and a stranger may: archives that cost much and hold little.

use std::borrow::Cow;

use mailkeep_inspect::kind;
use mailkeep_inspect::unpack::{self, Trouble, Unread};
use mailkeep_inspect::{Budget, Content, Limit, LimitReached, Limits, Origin, Profile, examine};

use crate::build::{self, Entry};

const EMPTY_BZIP2: &[u8] = b"BZh9\x17\x72\x45\x38\x50\x90\0\0\0\0";

/// A block of deflate that holds nothing, and is not the last.
const EMPTY_BLOCK: &[u8] = b"\0\0\0\xff\xff";

/// The members' contents, and the limits that were reached.
pub(crate) fn looked(octets: &[u8], limits: &Limits) -> (Vec<Vec<u8>>, Vec<Limit>) {
    let mut budget = Budget::new(limits);
    let mut found = Vec::new();
    let mut reached = Vec::new();
    let troubles = unpack::members(octets, kind::of(octets), &mut budget, &mut |member, _| {
        if let Some(Unread::Limit(LimitReached(limit))) = &member.unread {
            reached.push(*limit);
        }
        found.push(member.octets.to_vec());
    });
    for trouble in troubles {
        if let Trouble::Limit(LimitReached(limit)) = trouble {
            reached.push(limit);
        }
    }
    (found, reached)
}

fn small() -> Limits {
    Limits {
        octets: 1 << 20,
        ..Limits::default()
    }
}

/// A zip of one member that is packed already.
fn packed_zip(method: u16, packed: &[u8]) -> Vec<u8> {
    let mut zip = build::zip(&[Entry::new("a", packed)]);
    let directory = zip.windows(4).rposition(|four| four == b"PK\x01\x02");
    for at in [8, directory.unwrap() + 10] {
        zip[at..at + 2].copy_from_slice(&method.to_le_bytes());
    }
    zip
}

/// A 7z of one file in one folder, of these coders, and what each brings forth.
fn seven_zip(folder: &[u8], sizes: &[usize], packed: &[u8]) -> Vec<u8> {
    let number = |value: usize| [&[0xff][..], &(value as u64).to_le_bytes()].concat();
    let mut header = vec![1, 4, 6, 0, 1, 9];
    header.extend(number(packed.len()));
    header.extend([0, 7, 0x0b, 1, 0]);
    header.extend(folder);
    header.push(0x0c);
    header.extend(sizes.iter().copied().flat_map(number));
    header.extend([0, 8, 0, 0, 5, 1, 0x11, 5, 0, b'a', 0, 0, 0, 0, 0]);
    let mut octets = b"7z\xbc\xaf\x27\x1c\0\x04\0\0\0\0".to_vec();
    octets.extend((packed.len() as u64).to_le_bytes());
    octets.extend((header.len() as u64).to_le_bytes());
    octets.extend([0; 4]);
    octets.extend(packed);
    octets.extend(header);
    octets
}

/// A 7z of six octets, in which the second coder unpacks what deflate brings forth.
fn chained_7z(second: &[u8], between: usize, packed: &[u8]) -> Vec<u8> {
    let folder = [&[2, 3, 4, 1, 8, 3], second, &[1, 0]].concat();
    seven_zip(&folder, &[between, 6], packed)
}

fn deflated(octets: &[u8]) -> Vec<u8> {
    // A gzip file less its head and its sums.
    let packed = build::gzip(octets);
    packed[10..packed.len() - 8].to_vec()
}

#[test]
fn a_7z_may_be_packed_by_zstandard_in_frames_of_which_some_are_skipped() {
    let packed = crate::archives::fixture("story.txt.zst");
    let (story, _) = looked(&packed, &Limits::default());
    let story = &story[0];
    let skipped = b"\x50\x2a\x4d\x18\x04\0\0\0abcd";
    let frames = [skipped, packed.as_slice(), skipped, &packed].concat();
    // As what 7-Zip became for Zstandard writes it, with five octets of properties.
    let folder = [1, 0x24, 4, 0xf7, 0x11, 1, 5, 1, 5, 3, 0, 0];
    let archive = seven_zip(&folder, &[2 * story.len()], &frames);
    let expected = story.repeat(2);
    assert_eq!(looked(&archive, &small()), (vec![expected], vec![]));
    let cut = seven_zip(&folder, &[2 * story.len()], &frames[..frames.len() - 9]);
    assert!(looked(&cut, &small()).0[0].starts_with(story));
}

/// A model of `PPMd` takes as much memory as it says, up to 256 MiB, whatever it brings forth; 16 here.
#[test]
fn archives_within_archives_hold_the_memory_of_one_decoder() {
    use std::io::Write as _;
    let memory = 16_u32 << 20;
    let folder = [&[1, 0x23, 3, 4, 1, 5, 6][..], &memory.to_le_bytes()].concat();
    let mut octets = build::program();
    for _ in 0..8 {
        let mut encoder = ppmd_rust::Ppmd7Encoder::new(Vec::new(), 6, memory).unwrap();
        encoder.write_all(&octets).unwrap();
        let packed = encoder.finish(false).unwrap();
        octets = seven_zip(&folder, &[octets.len()], &packed);
    }
    let rules = crate::refusing("a.7z", "", &octets, mailkeep_inspect::Level::Default);
    assert_eq!(rules, ["executable"]);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    let peak: u32 = peak.unwrap().parse().unwrap();
    assert!(peak < 96 << 10, "{peak} KiB");
}

#[test]
fn what_one_coder_of_a_7z_hands_to_the_next_is_paid() {
    let ending = b"\x01\x06\0\xf9\xffHello.";
    for (count, expected) in [(10, vec![]), (1 << 20, vec![Limit::Octets])] {
        let between = [EMPTY_BLOCK.repeat(count).as_slice(), ending].concat();
        let archive = chained_7z(&[4, 1, 8], between.len(), &deflated(&between));
        let (found, mut reached) = looked(&archive, &small());
        reached.dedup();
        assert_eq!(reached, expected, "{count}");
        assert_eq!(found == [b"Hello."], reached.is_empty());
    }
}

#[test]
fn streams_that_hold_nothing_are_counted_wherever_they_lie() {
    let empty_zstd = b"\x28\xb5\x2f\xfd\x20\0\x01\0\0";
    let many = EMPTY_BZIP2.repeat(2001);
    let chained = chained_7z(&[4, 2, 2], many.len(), &deflated(&many));
    for archive in [
        many.clone(),
        packed_zip(12, &many),
        chained,
        packed_zip(93, &empty_zstd.repeat(10_002)),
        empty_zstd.repeat(10_002),
        packed_zip(93, &b"\x50\x2a\x4d\x18\0\0\0\0".repeat(10_002)),
    ] {
        let (_, mut reached) = looked(&archive, &Limits::default());
        reached.dedup();
        assert_eq!(reached, [Limit::Parts]);
    }
}

#[test]
fn packed_octets_that_are_read_again_and_again_are_paid() {
    let mut one = EMPTY_BLOCK.repeat(20_000);
    one.extend(b"\x01\x06\0\xf9\xffHello.");
    let zip = packed_zip(8, &one);
    assert_eq!(looked(&zip, &small()), (vec![b"Hello.".to_vec()], vec![]));
    let directory = zip.windows(4).rposition(|four| four == b"PK\x01\x02");
    let (directory, end) = (directory.unwrap(), zip.len() - 22);
    let mut bomb = zip[..directory].to_vec();
    for _ in 0..100 {
        bomb.extend(&zip[directory..end]);
    }
    let size = u32::try_from(bomb.len() - directory).unwrap();
    bomb.extend(&zip[end..end + 8]);
    bomb.extend([100, 0, 100, 0]);
    bomb.extend(size.to_le_bytes());
    bomb.extend(&zip[zip.len() - 6..]);
    let (found, reached) = looked(&bomb, &small());
    assert!(found.len() < 20, "{}", found.len());
    assert!(reached.contains(&Limit::Octets));
}

#[test]
fn a_folder_of_a_cabinet_is_unpacked_once_though_its_files_alternate() {
    let content = vec![b'a'; 30_000];
    let one = build::cabinet("a", &content);
    let (folder, data) = (&one[36..44], &one[44 + 18..]);
    let mut files = Vec::new();
    for nth in 0..40_u16 {
        files.extend(10_u32.to_le_bytes());
        files.extend(0_u32.to_le_bytes());
        files.extend((nth % 2).to_le_bytes());
        files.extend([0; 6]);
        files.extend(b"a\0");
    }
    let start = u32::try_from(36 + 16 + files.len()).unwrap();
    let mut cabinet = one[..16].to_vec();
    cabinet.extend(52_u32.to_le_bytes());
    cabinet.extend([0, 0, 0, 0, 3, 1, 2, 0, 40, 0, 0, 0, 0, 0, 0, 0]);
    for _ in 0..2 {
        cabinet.extend(start.to_le_bytes());
        cabinet.extend(&folder[4..]);
    }
    cabinet.extend(files);
    cabinet.extend(data);
    let limits = Limits {
        octets: 200_000,
        ..Limits::default()
    };
    let (found, reached) = looked(&cabinet, &limits);
    assert_eq!((found.len(), reached), (40, vec![]));
}

#[test]
fn a_place_on_a_disk_may_have_any_number_of_names() {
    let mut image = vec![0_u8; 20 * 2048];
    let both = |value: u32| [value.to_le_bytes(), value.to_be_bytes()].concat();
    let record = |extent: u32, size: u32, flags: u8, name: &[u8]| {
        let length = 33 + name.len() + (name.len() + 1) % 2;
        let mut record = vec![u8::try_from(length).unwrap(), 0];
        record.extend(both(extent));
        record.extend(both(size));
        record.extend([0; 7]);
        record.push(flags);
        record.extend([0; 6]);
        record.push(u8::try_from(name.len()).unwrap());
        record.extend(name);
        record.resize(length, 0);
        record
    };
    let mut listing = Vec::new();
    for nth in 0..100_000 {
        let entry = record(18, 6, 0, format!("{nth:08}.TXT").as_bytes());
        if listing.len() % 2048 + entry.len() > 2048 {
            listing.resize(listing.len().next_multiple_of(2048), 0);
        }
        listing.extend(entry);
    }
    image[16 * 2048..16 * 2048 + 6].copy_from_slice(b"\x01CD001");
    image[16 * 2048 + 128..16 * 2048 + 130].copy_from_slice(&2048_u16.to_le_bytes());
    let root = record(20, u32::try_from(listing.len()).unwrap(), 2, b"\0");
    image[16 * 2048 + 156..16 * 2048 + 156 + root.len()].copy_from_slice(&root);
    image[17 * 2048..17 * 2048 + 6].copy_from_slice(b"\xffCD001");
    image[18 * 2048..18 * 2048 + 6].copy_from_slice(b"Hello.");
    image.extend(listing);
    let (found, reached) = looked(&image, &Limits::default());
    assert_eq!(found.first().map(Vec::as_slice), Some(&b"Hello."[..]));
    assert_eq!(reached, [Limit::Parts]);
}

#[test]
fn packed_objects_of_a_pdf_beyond_a_limit_are_not_passed_over() {
    let object = build::zlib(&vec![b' '; 300_000]);
    let mut pdf = b"%PDF-1.5\n1 0 obj <</Type/ObjStm/Filter/FlateDecode>> stream\n".to_vec();
    pdf.extend(object);
    pdf.extend(b"\nendstream endobj\n");
    let limits = Limits {
        member_octets: 100_000,
        ..Limits::default()
    };
    assert_eq!(looked(&pdf, &limits).1, [Limit::MemberOctets]);
    let other =
        b"%PDF-1.5\n1 0 obj <</Type/ObjStm/Filter/JPXDecode>> stream\nab\nendstream endobj\n";
    let profile = Profile {
        level: mailkeep_inspect::Level::Strict,
        ..Profile::default()
    };
    let mut budget = Budget::new(&profile.limits);
    let content = Content {
        octets: Cow::Borrowed(other),
        names: vec!["a.pdf".to_owned()],
        types: Vec::new(),
        origin: Origin::Attachment,
        place: "1".to_owned(),
    };
    let said = examine::content(&content, &profile, &mut budget, &mut |_, _, _| Vec::new());
    assert!(said.iter().any(|one| one.rule == "archive-not-unpacked"));
}

#[test]
fn what_a_rar_archive_brings_forth_is_bounded() {
    for name in ["rar29-solid.rar", "rar50.rar"] {
        let archive = crate::archives::fixture(name);
        for (octets, member_octets, expected) in [
            (5000, 5000, vec![]),
            (3000, 5000, vec![Limit::Octets]),
            (5000, 1000, vec![Limit::MemberOctets]),
        ] {
            let limits = Limits {
                octets,
                member_octets,
                ..Limits::default()
            };
            let (found, mut reached) = looked(&archive, &limits);
            reached.dedup();
            assert_eq!(reached, expected, "{name} {octets} {member_octets}");
            let held: usize = found.iter().map(Vec::len).sum();
            assert!(held <= usize::try_from(octets).unwrap());
        }
    }
}

/// The shield inspects on threads of two MiB, and what overflows a stack ends the whole process.
#[test]
fn as_deep_as_may_be_looked_needs_little_stack() {
    type Wrap = Box<dyn Fn(&[u8]) -> Vec<u8> + Send>;
    let stored = |octets: &[u8]| {
        let length = u16::try_from(octets.len()).unwrap();
        [
            &[1][..],
            &length.to_le_bytes(),
            &(!length).to_le_bytes(),
            octets,
        ]
        .concat()
    };
    let raw_zstd = |octets: &[u8]| {
        let length = u32::try_from(octets.len()).unwrap();
        let head = (length << 3 | 1).to_le_bytes();
        [
            b"\x28\xb5\x2f\xfd\xa0",
            &length.to_le_bytes()[..],
            &head[..3],
            octets,
        ]
        .concat()
    };
    let raw_lzma2 = |octets: &[u8]| {
        let length = u16::try_from(octets.len() - 1).unwrap();
        [&[1][..], &length.to_be_bytes(), octets, &[0]].concat()
    };
    let wraps: [(&str, Wrap); 9] = [
        ("gzip", Box::new(build::gzip)),
        (
            "deflate",
            Box::new(move |octets| packed_zip(8, &stored(octets))),
        ),
        (
            "deflate64",
            Box::new(move |octets| packed_zip(9, &stored(octets))),
        ),
        ("zstd", Box::new(raw_zstd)),
        (
            "zstd in zip",
            Box::new(move |octets| packed_zip(93, &raw_zstd(octets))),
        ),
        (
            "7z",
            Box::new(move |octets| {
                seven_zip(&[1, 0x21, 0x21, 1, 20], &[octets.len()], &raw_lzma2(octets))
            }),
        ),
        ("cab", Box::new(|octets| build::cabinet("a", octets))),
        ("tnef", Box::new(|octets| build::wrapped("a", octets))),
        (
            "ole",
            Box::new(|octets| build::compound(&[("Package", octets)])),
        ),
    ];
    let inspect = std::thread::Builder::new().stack_size(2 << 20);
    let done = inspect.spawn(move || {
        for (name, wrap) in wraps {
            let mut octets = build::program();
            for _ in 0..18 {
                octets = wrap(&octets);
            }
            let rules = crate::refusing("a", "", &octets, mailkeep_inspect::Level::Default);
            assert!(
                rules.iter().any(|rule| rule == "executable"),
                "{name}: {rules:?}"
            );
        }
    });
    done.unwrap().join().unwrap();
}

#[test]
fn an_object_in_rich_text_that_is_cut_off_is_a_limit() {
    let text = build::rich_text("Package", &[7; 2000]);
    let limits = Limits {
        octets: 1000,
        ..Limits::default()
    };
    assert_eq!(looked(&text, &limits).1, [Limit::Octets]);
}

#[test]
fn what_a_pdf_names_behind_what_is_looked_at_is_a_limit() {
    let named = b"9 0 obj <</F(a.exe)/EF<</F 8 0 R>>>> endobj\n\
        8 0 obj <<>> stream\nHello\nendstream endobj\n";
    let padded = |padding: &[u8]| [b"%PDF-1.4\n", padding, &named[..]].concat();
    let (found, limits) = looked(&padded(b""), &small());
    assert_eq!((found.len(), limits), (1, vec![]));
    for padding in ["/EF /F 1 ", "/EF/F 1 /F(/F(/F(/F(/F(/F(/F(/F("] {
        let (_, limits) = looked(&padded(&padding.as_bytes().repeat(5000)), &small());
        assert_eq!(limits, [Limit::Parts], "{padding}");
    }
}

#[test]
fn references_without_end_in_a_pdf_are_a_limit() {
    let objects = b"9 0 obj<</F 9 0 R/UF 9 0 R/EF 9 0 R>>".repeat(4000);
    let (_, limits) = looked(&[b"%PDF-1.4\n", &objects[..]].concat(), &small());
    assert_eq!(limits, [Limit::Parts]);
    let filters = b"/FlateDecode ".repeat(10_000);
    let filtered = [
        b"%PDF-1.4\n9 0 obj<</Type/EmbeddedFile/Filter[",
        &filters[..],
        b"]>>stream\n\nendstream",
    ];
    assert_eq!(looked(&filtered.concat(), &small()).1, []);
    let heads = b"(obj".repeat(100_000);
    looked(&[b"%PDF-1.4\n", &heads[..], b"stream"].concat(), &small());
}

#[test]
fn what_filters_of_a_pdf_bring_forth_is_bounded() {
    let runs = [0x81, b' '].repeat(3000);
    for (name, body) in [
        ("RunLengthDecode", runs),
        ("LZWDecode", build::lzw(&b" ".repeat(300_000))),
    ] {
        let pdf = build::pdf_with(&format!("/Filter/{name}"), &body);
        let limits = Limits {
            member_octets: 100_000,
            ..Limits::default()
        };
        let (found, reached) = looked(&pdf, &limits);
        assert_eq!(reached, [Limit::MemberOctets], "{name}");
        assert_eq!(found.first().map(Vec::len), Some(100_000));
    }
}

#[test]
fn other_keys_do_not_hide_the_name_of_a_file_in_a_pdf() {
    let pdf = format!(
        "%PDF-1.4\n9 0 obj <<{}/F(a.exe)/EF<</F 8 0 R>>>> endobj\n\
         8 0 obj <<>> stream\nHello\nendstream endobj\n",
        "/Fa(b)".repeat(100)
    );
    let mut names = Vec::new();
    let mut budget = Budget::new(&Limits::default());
    unpack::members(
        pdf.as_bytes(),
        kind::Kind::Pdf,
        &mut budget,
        &mut |member, _| {
            names.extend(member.names);
        },
    );
    assert!(names.contains(&"a.exe".to_owned()), "{names:?}");
}
