//! What the worst that is known costs, by reader. Printed when asked, with optimisation:
//! `cargo test --release -p mailkeep-inspect --test content -- --ignored --nocapture worst`; `MAILKEEP_OCTETS` says how
//! large each is.

use std::time::{Duration, Instant};

use crate::build::{self, Entry};

#[test]
#[ignore = "it measures"]
fn the_worst_that_is_known_ends() {
    let size: usize = std::env::var("MAILKEEP_OCTETS")
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(8 << 20);
    let fill = |piece: &[u8]| piece.repeat(size / piece.len());
    let section = build::onenote(b"x");
    let mark = [&section[80..96], &[0xff; 20]].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("one-note, marks", [&section[..80], &fill(&mark)].concat()),
        (
            "html, base64",
            [
                b"<html>",
                fill(format!("{}<", "TVqQ".repeat(300)).as_bytes()).as_slice(),
            ]
            .concat(),
        ),
        (
            "html, short runs",
            [
                b"<html>",
                fill(b"TVqQAAMAAAAEAAAA//8AALgAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA <")
                    .as_slice(),
            ]
            .concat(),
        ),
        ("script, open", site(&fill(b"=/[ "))),
        ("script, backticks", site(&fill(b"`\\"))),
        ("script, comments", site(&fill(b"/*"))),
        ("script, strings", site(&fill(b"'a'+"))),
        (
            "html, equals",
            [b"<html>", fill(b"<a=").as_slice()].concat(),
        ),
        (
            "pdf, names",
            [
                b"%PDF-1.4 ",
                fill(b"/EF/F 1 /F(/F(/F(/F(/F(/F(/F(/F(").as_slice(),
            ]
            .concat(),
        ),
        (
            "html, tags",
            [b"<html>", fill(b"<a onx ").as_slice()].concat(),
        ),
        (
            "svg, tags",
            [b"<svg>", fill(b"<a on= ").as_slice()].concat(),
        ),
        (
            "calendar",
            [b"BEGIN:VCALENDAR\n", fill(b"<a on \n ").as_slice()].concat(),
        ),
        (
            "text, links",
            [b"<html>", fill(b"file://x").as_slice()].concat(),
        ),
        (
            "text, uuencode",
            [b"begin 644 a\n", fill(b"begin 644 a\nM\n").as_slice()].concat(),
        ),
        (
            "pdf, streams",
            [
                b"%PDF-1.4",
                fill(b"1 0 obj /ObjStm stream\nendstream\n").as_slice(),
            ]
            .concat(),
        ),
        (
            "pdf, files",
            [b"%PDF-1.4", fill(b" obj /EF /F 1 0 stream").as_slice()].concat(),
        ),
        (
            "rtf",
            [b"{\\rtf1", fill(b"\\objdata 01}").as_slice()].concat(),
        ),
        (
            "rtf, one",
            [b"{\\rtf1\\objdata ", fill(b"\\a0").as_slice()].concat(),
        ),
        (
            "rtf, read twice",
            [b"{\\rtf1", fill(b"\\objdata 01\\'01}").as_slice()].concat(),
        ),
        (
            "rtf, fields",
            [b"{\\rtf1", fill(b"{\\fldinst\\u1 a").as_slice()].concat(),
        ),
        (
            "office, fields",
            part(&fill(b"<w:fldChar w:fldCharType='begin'/><w:t>&#65;</w:t>")),
        ),
        (
            "office, relations",
            part(&fill(
                b"<Relationship Type='/frame' Target='http://a' TargetMode='External'/>",
            )),
        ),
        (
            "office, one attribute",
            part(&[b"<Relationship Target='", fill(b"&").as_slice(), b"'/>"].concat()),
        ),
        (
            "office, not well-formed, names",
            part(&[fill(b"instr=").as_slice(), b"<!"].concat()),
        ),
        (
            "office, not well-formed",
            part(&[fill(b"<w:instrText>a<").as_slice(), b"<!"].concat()),
        ),
        (
            "zip, heads",
            fill(b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0a "),
        ),
        (
            "zip, heads without length",
            fill(b"PK\x03\x04\x14\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0a "),
        ),
        (
            "zip, deflate",
            build::zip(&[Entry {
                deflated: true,
                ..Entry::new("a", &vec![0; 64 << 20])
            }]),
        ),
        ("gzip, empty", fill(&build::gzip(b""))),
        (
            "gzip, tables",
            [&build::gzip(b"")[..10], &fill(&dynamic())].concat(),
        ),
        (
            "bzip2, empty",
            b"BZh9\x17\x72\x45\x38\x50\x90\0\0\0\0".repeat(2000),
        ),
        (
            "zstd, empty",
            b"\x28\xb5\x2f\xfd\x20\0\x01\0\0".repeat(10_000),
        ),
        ("xz, empty", fill(&xz_empty())),
        ("tar", fill(&build::tar(&[("a", b"", None)])[..512])),
        ("cabinet, lzx", lzx(size)),
        (
            "tnef",
            build::tnef(&vec![(2_u8, 0x0006_9005_u32, &[0, 1, 0, 0][..]); size / 15]),
        ),
        (
            "ole",
            build::compound(&[("VBA/a", &fill(b"\x01\0\xb0\0Attribut"))]),
        ),
        (
            "ole, fields",
            build::compound(&[("WordDocument", &fill(b"\x13\0d\x13\0"))]),
        ),
        ("iso", fill(&[b'x'; 2048])),
        ("mz", fill(b"MZ")),
        (
            "binhex",
            [
                b"(This file must be converted with BinHex\n:",
                fill(b"!").as_slice(),
            ]
            .concat(),
        ),
    ];
    let mut worst = Duration::ZERO;
    for (name, octets) in cases {
        let begun = Instant::now();
        let rules = crate::refusing("a", "", &octets, mailkeep_inspect::Level::Default);
        let took = begun.elapsed();
        worst = worst.max(took);
        println!("{name}: {took:.2?} for {} octets: {rules:?}", octets.len());
    }
    println!("the worst: {worst:.2?}");
    assert!(worst < Duration::from_mins(1));
}

/// A script beside a page, stored.
fn site(script: &[u8]) -> Vec<u8> {
    // Larger ones are not looked into.
    let script = &script[..script.len().min(8 << 20)];
    build::zip(&[
        Entry::new("a.html", b"<html>"),
        Entry::new("a/a.js", script),
    ])
}

/// A document of one part.
fn part(xml: &[u8]) -> Vec<u8> {
    build::zip(&[
        Entry::new("[Content_Types].xml", b"<Types/>"),
        Entry::new("_rels/.rels", b"<Relationships/>"),
        Entry::new("word/document.xml", xml),
    ])
}

/// Bits, the first one highest or lowest in its octet or word.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn high_first(&mut self, value: u32, count: u32) {
        self.0
            .extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    fn low_first(&mut self, value: u32, count: u32) {
        self.0.extend((0..count).map(|bit| value >> bit & 1 == 1));
    }
}

/// Blocks of deflate with tables of their own, that hold nothing; they end with an octet.
fn dynamic() -> Vec<u8> {
    let mut bits = Bits::default();
    while bits.0.is_empty() || !bits.0.len().is_multiple_of(8) {
        bits.low_first(0b100, 3);
        // 257 and 1 codes; of the codes for lengths 18, 0, 1.
        bits.low_first(0, 5);
        bits.low_first(0, 5);
        bits.low_first(14, 4);
        for order in 0..18 {
            // 16, 17, 18, 0, 8 ... 1: two bits for 18 and 0, one for 1.
            bits.low_first(
                match order {
                    2 | 3 => 2,
                    17 => 1,
                    _ => 0,
                },
                3,
            );
        }
        // 256 times 0, then 1, and one distance.
        for count in [138, 118] {
            bits.low_first(0b11, 2);
            bits.low_first(count - 11, 7);
        }
        bits.low_first(0, 1);
        bits.low_first(0, 1);
        bits.low_first(0, 1);
    }
    let octet = |eight: &[bool]| {
        eight
            .iter()
            .rev()
            .fold(0, |octet, bit| octet << 1 | u8::from(*bit))
    };
    bits.0.chunks(8).map(octet).collect()
}

fn crc32(octets: &[u8]) -> [u8; 4] {
    let step = |sum: u32, octet: &u8| {
        (0..8).fold(sum ^ u32::from(*octet), |sum, _| {
            sum >> 1 ^ (0xedb8_8320 & 0_u32.wrapping_sub(sum & 1))
        })
    };
    (!octets.iter().fold(!0, step)).to_le_bytes()
}

/// A stream of xz of a thousand blocks that hold nothing.
fn xz_empty() -> Vec<u8> {
    let header = [2, 0, 0x21, 1, 22, 0, 0, 0];
    let block = [&header[..], &crc32(&header), &[0, 0, 0, 0]].concat();
    let mut index = vec![0, 0xe8, 0x07];
    index.extend([13, 0].repeat(1000));
    index.resize(index.len().next_multiple_of(4), 0);
    let size = u32::try_from(index.len() / 4).unwrap();
    let tail = [&size.to_le_bytes()[..], &[0, 0]].concat();
    [
        b"\xfd7zXZ\0\0\0",
        &crc32(&[0, 0])[..],
        &block.repeat(1000),
        &index,
        &crc32(&index),
        &crc32(&tail),
        &tail,
        b"YZ",
    ]
    .concat()
}

/// A cabinet of blocks of LZX with tables of their own, of one octet each.
fn lzx(size: usize) -> Vec<u8> {
    let part = |bits: &mut Bits, count: u32, lengths: bool| {
        for code in 0..20 {
            bits.high_first(
                match code {
                    0 => 1,
                    1..=16 => 5,
                    _ => 0,
                },
                4,
            );
        }
        for element in 0..count {
            match (lengths, element) {
                // Lengths 1 to 16, and 16 once more, are codes 16 down to 1.
                (true, 0..=16) => bits.high_first(0b10000 | (16 - (element + 1).min(16)), 5),
                _ => bits.high_first(0, 1),
            }
        }
    };
    let mut chunks = Vec::new();
    let mut total = 0;
    while total < size {
        let mut bits = Bits::default();
        if chunks.is_empty() {
            bits.high_first(0, 1);
        }
        let blocks = 200_u16;
        for nth in 0..blocks {
            bits.high_first(0b001, 3);
            bits.high_first(1, 24);
            part(&mut bits, 256, chunks.is_empty() && nth == 0);
            part(&mut bits, 240, false);
            part(&mut bits, 249, false);
            bits.high_first(0, 1);
        }
        let word = |bits: &[bool]| {
            let word = (0..16).fold(0_u16, |word, bit| {
                word << 1 | u16::from(bits.get(bit) == Some(&true))
            });
            word.to_le_bytes()
        };
        let packed: Vec<u8> = bits.0.chunks(16).flat_map(word).collect();
        total += packed.len();
        chunks.push((blocks, packed));
    }
    let mut octets =
        b"MSCF\0\0\0\0\0\0\0\0\0\0\0\0\x2c\0\0\0\0\0\0\0\x03\x01\x01\0\x01\0\0\0\0\0\0\0".to_vec();
    octets.extend(62_u32.to_le_bytes());
    octets.extend(
        u16::try_from(chunks.len())
            .unwrap_or(u16::MAX)
            .to_le_bytes(),
    );
    octets.extend([3, 15]);
    octets.extend([10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'a', 0]);
    for (blocks, packed) in chunks {
        octets.extend([0; 4]);
        octets.extend(u16::try_from(packed.len()).unwrap().to_le_bytes());
        octets.extend(blocks.to_le_bytes());
        octets.extend(packed);
    }
    octets
}
