//! What lies in archives and documents for which there is no program at hand, and in such as none would write.

use mailkeep_inspect::kind::{self, Kind};
use mailkeep_inspect::unpack::{self, Trouble, Unread};
use mailkeep_inspect::{Budget, Level, Limit, Limits};

use crate::build::{self, Entry};
use crate::refusing;

/// A member: its names, its content, and why that is not all.
type Found = (String, Vec<u8>, Option<Unread>);

/// Names, contents and reasons of members, and what is wrong with the whole.
fn members(octets: &[u8]) -> (Vec<Found>, Vec<Trouble>) {
    let mut budget = Budget::new(&Limits::default());
    let mut found = Vec::new();
    let troubles = unpack::members(octets, kind::of(octets), &mut budget, &mut |member, _| {
        found.push((
            member.names.join(" | "),
            member.octets.to_vec(),
            member.unread.clone(),
        ));
    });
    (found, troubles)
}

fn one(octets: &[u8]) -> (String, Vec<u8>) {
    let (found, _) = members(octets);
    assert_eq!(found.len(), 1, "{found:?}");
    let (name, content, unread) = found.into_iter().next().unwrap();
    assert_eq!(unread, None, "{name}");
    (name, content)
}

const HELLO: &[u8] = b"Hello.";

#[test]
fn stored_members_of_rar_archives_are_read_and_packed_ones_listed() {
    assert_eq!(
        one(&build::rar4(&[("a.txt", HELLO)], 0x30, false)),
        ("a.txt".into(), HELLO.to_vec())
    );
    assert_eq!(
        one(&build::rar5(&[("a.txt", HELLO, None)])),
        ("a.txt".into(), HELLO.to_vec())
    );
    let (packed, _) = members(&build::rar4(
        &[("a.exe", HELLO), ("b.txt", HELLO)],
        0x33,
        false,
    ));
    assert_eq!(packed.len(), 2);
    assert!(packed[0].2.is_some());
    let (encrypted, _) = members(&build::rar4(&[("a.txt", HELLO)], 0x30, true));
    assert_eq!(encrypted[0].2, Some(Unread::Encrypted));
}

#[test]
fn blocks_of_a_cabinet_look_back_into_the_one_before() {
    let content: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
    let twice = [&content[..30_000], &content[..30_000], &content[..30_000]].concat();
    assert_eq!(
        one(&build::cabinet("a.bin", &twice)),
        ("a.bin".into(), twice)
    );
}

#[test]
fn attachments_in_the_wrapping_of_outlook_are_found() {
    let wrapped = build::wrapped("a.txt", HELLO);
    assert_eq!(one(&wrapped), ("a.txt".into(), HELLO.to_vec()));
    assert_eq!(members(&wrapped).1, []);
    // A message within is wrapped itself, behind the number of its interface.
    let inner = build::wrapped("b.txt", HELLO);
    let mut property = 1_u32.to_le_bytes().to_vec();
    property.extend([0x0d, 0, 0x01, 0x37, 1, 0, 0, 0]);
    property.extend(u32::try_from(inner.len() + 16).unwrap().to_le_bytes());
    property.extend([7; 16]);
    property.extend(&inner);
    let outer = build::tnef(&[(2, 0x0006_9002, &[0; 14]), (2, 0x0006_9005, &property)]);
    assert_eq!(one(&outer).1, inner);
}

#[test]
fn a_wrapping_whose_lengths_are_wrong_is_said_to_be_so() {
    let good = build::wrapped("a.txt", HELLO);
    for cut in 7..good.len() {
        let (_, troubles) = members(&good[..cut]);
        assert_eq!(troubles.is_empty(), ends_between(&good, cut), "{cut}");
    }
    let mut long = good.clone();
    long[6 + 5..6 + 9].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(members(&long).1.as_slice(), [Trouble::Damaged(_)]));
}

/// Whether an attribute ends at this octet.
fn ends_between(octets: &[u8], cut: usize) -> bool {
    let mut at = 6;
    while at < cut {
        let length = u32::from_le_bytes(octets[at + 5..at + 9].try_into().unwrap());
        at += 11 + usize::try_from(length).unwrap();
    }
    at == cut
}

#[test]
fn objects_in_documents_are_found() {
    let package = build::package("a.txt", HELLO);
    let native = [
        &u32::try_from(package.len()).unwrap().to_le_bytes()[..],
        &package,
    ]
    .concat();
    let names = "a.txt | C:\\Temp\\a.txt";
    assert_eq!(
        one(&build::compound(&[(
            "ObjectPool/\u{1}Ole10Native",
            &native
        )])),
        (names.into(), HELLO.to_vec())
    );
    assert_eq!(
        one(&build::rich_text("Package", &package)),
        (names.into(), HELLO.to_vec())
    );
    assert_eq!(
        one(&build::pdf("a.txt", HELLO, true)),
        ("a.txt".into(), HELLO.to_vec())
    );
    assert_eq!(
        one(&build::pdf("a.txt", HELLO, false)),
        ("a.txt".into(), HELLO.to_vec())
    );
    assert_eq!(one(&build::onenote(HELLO)).1, HELLO);
}

#[test]
fn embedded_files_of_a_pdf_are_unpacked_by_all_their_filters_in_order() {
    let content = "Hello, hello, hello. ".repeat(200).into_bytes();
    let flat = build::zlib(&content);
    let digits = |octets: &[u8]| {
        let digits: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("{}>", digits.concat()).into_bytes()
    };
    let runs: Vec<u8> = content
        .chunks(100)
        .flat_map(|piece| [&[99], piece].concat())
        .chain([128])
        .collect();
    // Each row less the one above, and the same less what stands before.
    let rows = |kind: u8| -> Vec<u8> {
        let before = |at: usize| match kind {
            2 => at.checked_sub(60),
            1 => (at % 60).checked_sub(1).map(|_| at - 1),
            _ => None,
        };
        let row = |(nth, row): (usize, &[u8])| {
            let octets = row.iter().enumerate().map(|(column, octet)| {
                octet.wrapping_sub(before(nth * 60 + column).map_or(0, |at| content[at]))
            });
            [kind].into_iter().chain(octets).collect::<Vec<u8>>()
        };
        content.chunks(60).enumerate().flat_map(row).collect()
    };
    let without_kinds: Vec<u8> = rows(1)
        .chunks(61)
        .flat_map(|row| row[1..].to_vec())
        .collect();
    let parameters = "/Filter/FlateDecode/DecodeParms<</Predictor 12/Columns 60>>";
    for (entries, body) in [
        ("/Filter/#46late#44ecode".to_owned(), flat.clone()),
        ("/Filter[/Fl\n]".to_owned(), flat.clone()),
        ("/Filter %x\n/FlateDecode".to_owned(), flat.clone()),
        ("/X(endobj 1 0 obj)/Filter/Fl".to_owned(), flat.clone()),
        (format!("/X({})/Filter/Fl", " ".repeat(9000)), flat.clone()),
        ("/Filter[/FlateDecode/FlateDecode]".to_owned(), build::zlib(&flat)),
        ("/Filter[/FlateDecode/ASCIIHexDecode]".to_owned(), build::zlib(&digits(&content))),
        ("/Filter[/ASCIIHexDecode/FlateDecode]".to_owned(), digits(&flat)),
        ("/Filter[/AHx/AHx/FlateDecode]".to_owned(), digits(&digits(&flat))),
        ("/Filter/RunLengthDecode".to_owned(), runs.clone()),
        ("/Filter[/Fl/RL]".to_owned(), build::zlib(&runs)),
        ("/Filter/LZWDecode".to_owned(), build::lzw(&content)),
        (parameters.to_owned(), build::zlib(&rows(2))),
        (parameters.to_owned(), build::zlib(&rows(1))),
        (parameters.to_owned(), build::zlib(&rows(0))),
        (parameters.replace("12", "2"), build::zlib(&without_kinds)),
        ("/Filter 6 0 R>>stream\nendstream endobj 6 0 obj/FlateDecode endobj 3 0 obj<</Filter 6 0 R".to_owned(), flat.clone()),
        ("/Length 7 0 R/Filter[6 0 R]>>endobj 7 0 obj 9 endobj 6 0 obj/FlateDecode endobj 3 0 obj<</Filter[6 0 R]".to_owned(), flat.clone()),
    ] {
        let (found, _) = members(&build::pdf_with(&entries, &body));
        let found: Vec<_> = found.iter().map(|(name, octets, _)| (&**name, octets)).collect();
        assert!(found.contains(&("a.txt", &content)), "{entries}: {found:?}");
    }
    // The word that ends a stream in the middle of it.
    let packed = [b"endstream".as_slice(), &content].concat();
    let entries = format!("/Length {}", packed.len());
    assert_eq!(one(&build::pdf_with(&entries, &packed)).1, packed);
}

#[test]
fn of_two_filters_that_readers_may_take_both_are_tried() {
    let flat = build::zlib(HELLO);
    for entries in [
        "/Filter/FlateDecode/Filter/ASCIIHexDecode",
        "/Filter/ASCIIHexDecode/Filter/FlateDecode",
        "/Filter 6 0 R>>endobj 6 0 obj/Fl endobj 6 0 obj/AHx endobj 3 0 obj<</Filter 6 0 R",
    ] {
        let (found, _) = members(&build::pdf_with(entries, &flat));
        assert!(
            found.iter().any(|(_, octets, _)| octets == HELLO),
            "{entries}"
        );
    }
}

#[test]
fn files_of_a_pdf_have_their_names_wherever_those_are_written() {
    let spec = b"7 0 <</Type/Filespec/UF(b\\056js)/EF<</UF 3 0 R>>>>";
    for pdf in [
        [
            b"%PDF-1.7\n3 0 obj<<>>stream\nHello.\nendstream endobj\n1 0 obj<</Type/ObjStm/Filter/Fl>>stream\n",
            &build::zlib(spec)[..],
            b"\nendstream endobj",
        ]
        .concat(),
        b"%PDF-1.7\n1 0 obj<</F 8 0 R/#45F 9 0 R>>endobj 9 0 obj<</F\n3 0 R>>endobj 8 0\nobj(b.js)endobj\n3 0\nobj<<>>stream\nHello.\nendstream endobj".to_vec(),
        b"%PDF-1.7\n1 0 obj<</#46(b.js)/#45#46<</F\n3 0 R>>>>endobj 3 0 obj<<>>stream\nHello.\nendstream endobj".to_vec(),
    ] {
        let (found, _) = members(&pdf);
        let shown = String::from_utf8_lossy(&pdf);
        assert!(found.iter().any(|(name, octets, _)| name == "b.js" && octets.starts_with(HELLO)), "{shown}: {found:?}");
    }
}

#[test]
fn the_text_of_macros_is_read() {
    let text = "Sub AutoOpen()\r\n  MsgBox \"Hello\"\r\nEnd Sub\r\n".repeat(200);
    let (name, found) = one(&build::compound(&[("VBA/Module1", &build::module(&text))]));
    assert_eq!(name, "macros.bas");
    assert!(String::from_utf8(found).unwrap().contains(&text));
}

#[test]
fn a_message_within_a_signature_is_found() {
    let entity = format!("Content-Type: text/plain\r\n\r\n{}", "Hello. ".repeat(50));
    for how in ["signed", "pieces", "compressed"] {
        let (_, found) = one(&build::smime(entity.as_bytes(), how));
        assert_eq!(
            String::from_utf8(found.clone()).unwrap(),
            format!("MIME-Version: 1.0\r\n{entity}"),
            "{how}"
        );
        assert_eq!(kind::of(&found), Kind::Message);
    }
    assert_eq!(members(&build::smime(b"", "detached")), (vec![], vec![]));
}

#[test]
fn a_file_in_openpgp_that_is_not_encrypted_is_found() {
    use base64::Engine;
    let literal = [b"\xcb\x11b\x05a.txt\0\0\0\0", HELLO].concat();
    let flat = build::zlib(&literal);
    let deflated = &flat[2..flat.len() - 4];
    let signed = build::zlib(
        &[
            b"\x90\x0d\x03\0\x08\x01\0\0\0\0\0\0\0\0\x01",
            &literal[..],
            b"\x88\x01x",
        ]
        .concat(),
    );
    let parts = [
        b"\xc8\xe2\x02",
        &flat[..3],
        &[u8::try_from(flat.len() - 3).unwrap()],
        &flat[3..],
    ]
    .concat();
    let armored =
        base64::engine::general_purpose::STANDARD.encode([b"\xa3\x02", &flat[..]].concat());
    let armored = format!(
        "-----BEGIN PGP MESSAGE-----\r\nComment: x\r\n\r\n{armored}\r\n=abcd\r\n-----END PGP MESSAGE-----\r\n"
    );
    for octets in [
        [b"\xa3\x02", &flat[..]].concat(),
        [b"\xa3\x01", deflated].concat(),
        [b"\xa3\x02", &signed[..]].concat(),
        [
            b"\xa3\x02",
            &build::zlib(&[b"\xa3\x01", deflated].concat())[..],
        ]
        .concat(),
        parts,
        literal.clone(),
        armored.into_bytes(),
    ] {
        assert_eq!(kind::of(&octets), Kind::Pkcs7, "{octets:?}");
        assert_eq!(one(&octets), ("a.txt".into(), HELLO.to_vec()));
        for cut in 0..octets.len() {
            members(&octets[..cut]);
        }
    }
    for other in [
        "-----BEGIN PGP MESSAGE-----\n\nhQEMA1234567890ABCDEF\n-----END PGP MESSAGE-----\n".as_bytes(),
        "\u{2c8}brief words in letters of phonetics, and so on, for as long as it takes to be a name".as_bytes(),
        "\u{c8}\u{10c}\u{10d}".as_bytes(),
        b"\xa3\x02 and no file",
    ] {
        assert_ne!(kind::of(other), Kind::Pkcs7, "{other:?}");
    }
}

#[test]
fn a_signed_message_is_found_however_its_lengths_are_written() {
    let entity = format!("Content-Type: text/plain\r\n\r\n{}", "Hello. ".repeat(50));
    let shapes = build::signed_shapes(entity.as_bytes());
    for (shape, octets) in &shapes {
        let (_, found) = one(octets);
        assert_eq!(
            String::from_utf8(found).unwrap(),
            format!("MIME-Version: 1.0\r\n{entity}"),
            "{shape}"
        );
    }
    for (shape, octets) in shapes {
        for cut in 0..octets.len() {
            members(&octets[..cut]);
        }
        assert!(
            !members(&octets[..octets.len() - 9]).0.is_empty(),
            "{shape}"
        );
    }
    // A time stamp is no message.
    let stamp = build::signed_of(
        b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x04",
        b"\x30\x03\x02\x01\x01",
    );
    assert_eq!(members(&stamp), (vec![], vec![]));
}

#[test]
fn what_is_signed_is_a_message_though_a_line_of_its_head_is_no_field_and_a_file_where_it_is_one() {
    let entity = b"Content-Type: text/plain\r\nno field\r\n\r\nHello";
    let (_, found) = one(&build::smime(entity, "signed"));
    assert_eq!(kind::of(&found), Kind::Message);
    assert!(found.ends_with(entity));
    let archive = build::gzip(HELLO);
    let (found, _) = members(&build::smime(&archive, "signed"));
    assert!(found.iter().any(|(_, octets, _)| *octets == archive));
}

#[test]
fn a_file_in_binhex_is_found_wherever_it_stands_in_a_text() {
    const MARK: &str = "(This file must be converted with BinHex 4.0)";
    let file = build::binhex("a.txt", HELLO);
    let other = build::binhex("b.txt", b"\x90\x90 others");
    let words = "Words and words.\r\n";
    for text in [
        format!("{MARK}\r\n\r\n{file}"),
        format!("{MARK}\r\nNote: this is nice\r\n{file}"),
        format!("{MARK}\r\n: this is nice, and is a line that begins so\r\n{file}"),
        format!("About BinHex: see below.\r\n{MARK}\r\n{file}"),
        format!("{}{MARK}\r\n{file}", words.repeat(10_000)),
        format!("(This file\r\nmust be converted with BinHex)\r\n{file}"),
        format!("{words}{file}{words}"),
        file.replace("\r\n", "\n"),
    ] {
        let start: String = text.chars().take(100).collect();
        assert_eq!(kind::of(text.as_bytes()), Kind::BinHex, "{start}");
        assert_eq!(
            one(text.as_bytes()),
            ("a.txt".into(), HELLO.to_vec()),
            "{start}"
        );
    }
    let both = format!("{MARK}\r\n{file}\r\n{MARK}\r\n{other}");
    let names: Vec<_> = members(both.as_bytes())
        .0
        .into_iter()
        .map(|found| found.0)
        .collect();
    assert_eq!(names, ["a.txt", "b.txt"]);
    for text in [
        format!("{words}:-)\r\n: a\r\n:\r\n"),
        format!(":{}\r\n", "-".repeat(70)),
        format!("Hello\n:{}\n", "(AbC\"8de".repeat(9)),
    ] {
        assert_eq!(kind::of(text.as_bytes()), Kind::Text, "{text}");
    }
}

#[test]
fn what_old_encodings_hold_is_found() {
    let uu = b"Some text.\n\nbegin 644 a.txt\n&2&5L;&\\N\n`\nend\n";
    assert_eq!(
        kind::of(b"begin 644 a.txt\n&2&5L;&\\N\n`\nend\n"),
        Kind::Uuencode
    );
    assert_eq!(one(&uu[12..]), ("a.txt".into(), HELLO.to_vec()));
    assert!(
        kind::hidden(uu, Kind::Text)
            .found
            .iter()
            .any(|found| found.kind == Kind::Uuencode)
    );
    let szdd = [b"SZDD\x88\xf0\x27\x33A\0\x06\0\0\0\xff".as_slice(), HELLO].concat();
    assert_eq!(one(&szdd).1, HELLO);
    // A place in the window: the two letters before, over and over.
    let run = [
        b"SZDD\x88\xf0\x27\x33A\0\x08\0\0\0\x03ab".as_slice(),
        b"\xf0\xf3",
    ]
    .concat();
    assert_eq!(one(&run).1, b"abababab");
}

#[test]
fn a_zip_that_two_programs_would_read_differently_gives_what_both_would() {
    let program = build::program();
    let renamed = build::zip(&[Entry {
        local: "a.exe",
        ..Entry::new("a.txt", &program)
    }]);
    let (found, troubles) = members(&renamed);
    assert_eq!(found[0].0, "a.txt | a.exe");
    assert!(matches!(troubles.as_slice(), [Trouble::Ambiguous(_)]));
    let hidden = build::zip(&[
        Entry::new("a.txt", HELLO),
        Entry {
            hidden: true,
            ..Entry::new("b.exe", &program)
        },
    ]);
    let (found, troubles) = members(&hidden);
    assert_eq!(found.len(), 2);
    assert!(matches!(troubles.as_slice(), [Trouble::Ambiguous(_)]));
    // One archive behind another: the directory of the second is what most programs read.
    let behind = [
        build::zip(&[Entry::new("b.exe", &program)]),
        build::zip(&[Entry::new("a.txt", HELLO)]),
    ]
    .concat();
    assert_eq!(members(&behind).0.len(), 2);
    assert!(
        refusing("a.zip", "application/zip", &behind, Level::Default)
            .contains(&"executable".to_owned())
    );
}

#[test]
fn an_archive_behind_a_program_or_a_picture_is_read() {
    let picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR0000000000000".as_slice();
    for archive in [
        build::zip(&[Entry::new("a.exe", HELLO)]),
        build::rar5(&[("a.exe", HELLO, None)]),
        crate::archives::fixture("lzma2.7z"),
    ] {
        let both = [picture, &archive].concat();
        assert_eq!(kind::of(&both), Kind::Image);
        let rules: Vec<_> = crate::attachment("a.png", "image/png", &both, Level::Strict)
            .into_iter()
            .map(|reason| reason.rule)
            .collect();
        assert!(rules.iter().any(|rule| rule == "polyglot"), "{rules:?}");
    }
    let zip = [picture, &build::zip(&[Entry::new("a.exe", HELLO)])].concat();
    assert_eq!(
        refusing("a.png", "image/png", &zip, Level::Default),
        ["dangerous-name"]
    );
}

#[test]
fn bombs_end_at_a_limit_and_are_refused() {
    let zeros = vec![0_u8; 30 << 20];
    let packed = build::gzip(&zeros);
    assert_eq!(
        refusing("a.gz", "application/gzip", &packed, Level::Default),
        ["limit-ratio"]
    );
    // Many names for one member.
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let names: Vec<String> = (0..5200).map(|nth| format!("{nth}.txt")).collect();
    for name in &names {
        entries.push(Entry::new(name, HELLO));
    }
    let many = build::zip(&entries);
    assert_eq!(
        refusing("a.zip", "application/zip", &many, Level::Default),
        ["limit-parts"]
    );
    let mut deep = b"Hello.".to_vec();
    for _ in 0..30 {
        deep = build::gzip(&deep);
    }
    assert_eq!(
        refusing("a.gz", "application/gzip", &deep, Level::Default),
        ["limit-depth"]
    );
    // Directory entries that all name one large member.
    let large = vec![b'a'; 4 << 20];
    let one = build::zip(&[Entry {
        deflated: true,
        ..Entry::new("a", &large)
    }]);
    let directory = one
        .windows(4)
        .position(|four| four == b"PK\x01\x02")
        .unwrap();
    let end = one.len() - 22;
    let mut bomb = one[..directory].to_vec();
    for _ in 0..200 {
        bomb.extend(&one[directory..end]);
    }
    let size = u32::try_from(bomb.len() - directory).unwrap();
    bomb.extend(&one[end..end + 8]);
    bomb.extend([200, 0, 200, 0]);
    bomb.extend(size.to_le_bytes());
    bomb.extend(&one[one.len() - 6..]);
    let rules = refusing("a.zip", "application/zip", &bomb, Level::Default);
    assert!(
        rules.iter().any(|rule| rule.starts_with("limit-")),
        "{rules:?}"
    );
}

#[test]
fn what_stands_behind_more_than_is_looked_at_is_not_passed_over() {
    let program = build::program();
    let folders: Vec<String> = (0..20_100).map(|nth| format!("{nth}/")).collect();
    let mut entries: Vec<Entry<'_>> = folders.iter().map(|name| Entry::new(name, b"")).collect();
    entries.push(Entry::new("readme", &program));
    let rules = refusing(
        "a.zip",
        "application/zip",
        &build::zip(&entries),
        Level::Default,
    );
    assert!(!rules.is_empty());
    let folders = crate::archives::fixture("folders.7z");
    let few = Limits {
        members: 1000,
        ..Limits::default()
    };
    let (_, reached) = crate::bounds::looked(&folders, &few);
    assert_eq!(reached, [Limit::Parts]);
    // One begins within another, which has no end.
    let uu = b"begin 644 a.txt\n&2&5L;&\\N\nbegin 644 b.txt\n&2&5L;&\\N\n`\nend\n";
    assert_eq!(members(uu).0.len(), 2);
    // Sixteen names are more than any attachment has.
    let titles: Vec<String> = (0..40_000).map(|nth| format!("{nth}.txt\0")).collect();
    let many: Vec<(u8, u32, &[u8])> = titles
        .iter()
        .map(|title| (2, 0x0001_8010, title.as_bytes()))
        .collect();
    assert_eq!(
        refusing(
            "winmail.dat",
            "application/ms-tnef",
            &build::tnef(&many),
            Level::Default
        ),
        ["tnef-malformed"]
    );
    // Two modules of comments before the one that runs.
    let comments = format!("' {}\r\n", "a".repeat(70)).repeat(60_000);
    let runs = "Sub AutoOpen()\r\nShell \"calc\"\r\nEnd Sub\r\n";
    let (first, second, last) = (
        build::module(&comments),
        build::module(&comments),
        build::module(runs),
    );
    let document = build::compound(&[("VBA/A", &first), ("VBA/B", &second), ("VBA/C", &last)]);
    let rules = refusing("a.doc", "application/msword", &document, Level::Default);
    assert!(!rules.is_empty());
}

#[test]
fn a_message_in_an_archive_is_read_though_it_is_larger_than_the_whole() {
    use base64::Engine;
    let encode = |octets: &[u8]| base64::engine::general_purpose::STANDARD.encode(octets);
    let with = |file: &[u8], text: &str| {
        format!(
            "From: a@example.org\r\nSubject: b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=f\r\n\r\n\
             --f\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--f\r\nContent-Type: application/octet-stream\r\n\
             Content-Disposition: attachment; filename=a.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n--f--\r\n",
            encode(file)
        )
    };
    let inner = with(&build::program(), &"Hello. \r\n".repeat(20_000));
    let zip = build::zip(&[Entry {
        deflated: true,
        ..Entry::new("a.eml", inner.as_bytes())
    }]);
    let outer = with(&zip, "Hello.");
    assert!(outer.len() < inner.len());
    let judgement =
        mailkeep_inspect::judge(outer.as_bytes(), &mailkeep_inspect::Profile::default());
    assert!(
        judgement
            .reasons
            .iter()
            .any(|reason| reason.rule == "executable"),
        "{:?}",
        judgement.reasons
    );
}
