//! Files put together after the descriptions of their formats.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

/// A program for Windows, in as few octets as show it to be one.
pub(crate) fn program() -> Vec<u8> {
    let mut octets = vec![0_u8; 0x100];
    octets[..2].copy_from_slice(b"MZ");
    octets[0x3c] = 0x80;
    octets[0x80..0x84].copy_from_slice(b"PE\0\0");
    octets[0x84..0x86].copy_from_slice(&0x8664_u16.to_le_bytes());
    octets[0x86] = 1;
    octets
}

/// The EICAR test file, in pieces so that no scanner stops at this one.
pub(crate) fn test_virus() -> Vec<u8> {
    [
        "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR",
        "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*",
    ]
    .concat()
    .into_bytes()
}

pub(crate) fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(octets).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zlib(octets: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(octets).unwrap();
    encoder.finish().unwrap()
}

/// A member of a zip that is built: what the directory calls it, what the head before it calls it.
pub(crate) struct Entry<'a> {
    pub(crate) listed: &'a str,
    pub(crate) local: &'a str,
    pub(crate) content: &'a [u8],
    pub(crate) encrypted: bool,
    pub(crate) deflated: bool,
    pub(crate) hidden: bool,
}

impl<'a> Entry<'a> {
    pub(crate) fn new(name: &'a str, content: &'a [u8]) -> Self {
        Self {
            listed: name,
            local: name,
            content,
            encrypted: false,
            deflated: false,
            hidden: false,
        }
    }
}

pub(crate) fn zip(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut directory = Vec::new();
    let mut listed = 0_u16;
    for entry in entries {
        let packed = if entry.deflated {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(entry.content).unwrap();
            encoder.finish().unwrap()
        } else {
            entry.content.to_vec()
        };
        let head = u32::try_from(octets.len()).unwrap();
        let mut common = Vec::new();
        common.extend(20_u16.to_le_bytes());
        common.extend(u16::from(entry.encrypted).to_le_bytes());
        common.extend(if entry.deflated { 8_u16 } else { 0 }.to_le_bytes());
        common.extend([0; 8]);
        common.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
        common.extend(u32::try_from(entry.content.len()).unwrap().to_le_bytes());
        octets.extend(b"PK\x03\x04");
        octets.extend(&common);
        octets.extend(u16::try_from(entry.local.len()).unwrap().to_le_bytes());
        octets.extend([0; 2]);
        octets.extend(entry.local.as_bytes());
        octets.extend(&packed);
        if entry.hidden {
            continue;
        }
        listed += 1;
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&common);
        directory.extend(u16::try_from(entry.listed.len()).unwrap().to_le_bytes());
        directory.extend([0; 12]);
        directory.extend(head.to_le_bytes());
        directory.extend(entry.listed.as_bytes());
    }
    let start = u32::try_from(octets.len()).unwrap();
    octets.extend(&directory);
    octets.extend(b"PK\x05\x06\0\0\0\0");
    octets.extend(listed.to_le_bytes());
    octets.extend(listed.to_le_bytes());
    octets.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    octets.extend(start.to_le_bytes());
    octets.extend([0; 2]);
    octets
}

/// A tar of files and symbolic links.
pub(crate) fn tar(members: &[(&str, &[u8], Option<&str>)]) -> Vec<u8> {
    let mut octets = Vec::new();
    for (name, content, link) in members {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        let size = format!("{:011o}", content.len());
        header[124..135].copy_from_slice(size.as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[148..156].copy_from_slice(b"        ");
        header[156] = if link.is_some() { b'2' } else { b'0' };
        if let Some(link) = link {
            header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        }
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|octet| u32::from(*octet)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        octets.extend(header);
        octets.extend(*content);
        octets.resize(octets.len().div_ceil(512) * 512, 0);
    }
    octets.extend([0; 1024]);
    octets
}

/// A RAR of before version 5; the method is that of all members.
pub(crate) fn rar4(members: &[(&str, &[u8])], method: u8, encrypted: bool) -> Vec<u8> {
    let mut octets = b"Rar!\x1a\x07\0".to_vec();
    let head = [0x73, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0];
    octets.extend(&crc32(&head).to_le_bytes()[..2]);
    octets.extend(head);
    for (name, content) in members {
        let size = u32::try_from(content.len()).unwrap().to_le_bytes();
        let flags = if encrypted { 0x8004_u16 } else { 0x8000 };
        octets.extend([0, 0, 0x74]);
        octets.extend(flags.to_le_bytes());
        octets.extend(u16::try_from(32 + name.len()).unwrap().to_le_bytes());
        octets.extend(size);
        octets.extend(size);
        octets.push(2);
        octets.extend([0; 8]);
        octets.extend([29, method]);
        octets.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        octets.extend([0x20, 0, 0, 0]);
        octets.extend(name.as_bytes());
        octets.extend(*content);
    }
    octets.extend([0, 0, 0x7b, 0, 0x40, 7, 0]);
    octets
}

/// A RAR since version 5: stored, or a link.
pub(crate) fn rar5(members: &[(&str, &[u8], Option<&str>)]) -> Vec<u8> {
    let mut octets = b"Rar!\x1a\x07\x01\0".to_vec();
    // All numbers here are below 128, or take two octets.
    let number = |value: usize| -> Vec<u8> {
        if value < 128 {
            vec![u8::try_from(value).unwrap()]
        } else {
            vec![
                u8::try_from(value & 0x7f).unwrap() | 0x80,
                u8::try_from(value >> 7).unwrap(),
            ]
        }
    };
    octets.extend(crc32(&[3, 1, 0, 0]).to_le_bytes());
    octets.extend([3, 1, 0, 0]);
    for (name, content, link) in members {
        let mut extra = Vec::new();
        if let Some(link) = link {
            let mut record = vec![5, 1, 0];
            record.extend(number(link.len()));
            record.extend(link.as_bytes());
            extra.extend(number(record.len()));
            extra.extend(record);
        }
        let mut block = vec![2, 3];
        block.extend(number(extra.len()));
        block.extend(number(content.len()));
        block.push(0);
        block.extend(number(content.len()));
        block.extend([0, 0, 1]);
        block.extend(number(name.len()));
        block.extend(name.as_bytes());
        block.extend(extra);
        octets.extend([0; 4]);
        octets.extend(number(block.len()));
        octets.extend(block);
        octets.extend(*content);
    }
    octets.extend([0, 0, 0, 0, 3, 5, 0, 0]);
    octets
}

/// A cabinet of one folder, packed by MSZIP in blocks of 32 KiB that look back into one another.
pub(crate) fn cabinet(name: &str, content: &[u8]) -> Vec<u8> {
    let mut compress = flate2::Compress::new(Compression::best(), false);
    let mut blocks = Vec::new();
    for piece in content.chunks(32 << 10) {
        let mut packed = Vec::with_capacity(40 << 10);
        compress
            .compress_vec(piece, &mut packed, flate2::FlushCompress::Sync)
            .unwrap();
        blocks.push((piece.len(), packed));
    }
    let files_at = 36 + 8;
    let data_at = files_at + 16 + name.len() + 1;
    let mut octets = b"MSCF\0\0\0\0".to_vec();
    octets.extend([0; 8]);
    octets.extend(u32::try_from(files_at).unwrap().to_le_bytes());
    octets.extend([0, 0, 0, 0, 3, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    octets.extend(u32::try_from(data_at).unwrap().to_le_bytes());
    octets.extend(u16::try_from(blocks.len()).unwrap().to_le_bytes());
    octets.extend(1_u16.to_le_bytes());
    octets.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
    octets.extend([0; 12]);
    octets.extend(name.as_bytes());
    octets.push(0);
    for (size, packed) in blocks {
        octets.extend([0; 4]);
        octets.extend(u16::try_from(packed.len() + 2).unwrap().to_le_bytes());
        octets.extend(u16::try_from(size).unwrap().to_le_bytes());
        octets.extend(b"CK");
        octets.extend(packed);
    }
    let size = u32::try_from(octets.len()).unwrap();
    octets[8..12].copy_from_slice(&size.to_le_bytes());
    octets
}

pub(crate) fn crc32(octets: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(octets);
    sum.sum()
}

/// An ARJ archive of one file, stored.
pub(crate) fn arj(name: &str, content: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    let size = u32::try_from(content.len()).unwrap().to_le_bytes();
    for (name, file_type, size) in [("a.arj", 2, [0; 4]), (name, 0, size)] {
        let mut head = vec![30, 11, 1, 0, 0, 0, file_type, 0, 0, 0, 0, 0];
        head.extend([size, size].concat());
        head.resize(30, 0);
        head.extend(name.as_bytes());
        head.extend([0, 0]);
        octets.extend(b"\x60\xea");
        octets.extend(u16::try_from(head.len()).unwrap().to_le_bytes());
        octets.extend(&head);
        octets.extend(crc32(&head).to_le_bytes());
        octets.extend([0, 0]);
    }
    octets.extend(content);
    octets.extend(b"\x60\xea\0\0");
    octets
}

/// An LHA archive of one file, stored, with a head of the first level or the third.
pub(crate) fn lzh(name: &str, content: &[u8], level: u8) -> Vec<u8> {
    let mut head = b"-lh0-".to_vec();
    let size = u32::try_from(content.len()).unwrap().to_le_bytes();
    head.extend([size, size, [0, 0, 0x21, 0x5a]].concat());
    head.extend([0x20, level]);
    let mut octets = Vec::new();
    if level == 0 {
        head.push(u8::try_from(name.len()).unwrap());
        head.extend(name.as_bytes());
        head.extend([0, 0]);
        octets.push(u8::try_from(head.len()).unwrap());
        octets.push(head.iter().fold(0, |sum, octet| sum.wrapping_add(*octet)));
    } else {
        head.extend([0, 0, b'U']);
        head.extend(u16::try_from(name.len() + 3).unwrap().to_le_bytes());
        head.push(1);
        head.extend(name.as_bytes());
        head.extend([0, 0]);
        octets.extend(u16::try_from(head.len() + 2).unwrap().to_le_bytes());
    }
    octets.extend(head);
    octets.extend(content);
    octets.push(0);
    octets
}

/// Outlook's wrapping of attributes, each a level, a number and a content, with right sums.
pub(crate) fn tnef(attributes: &[(u8, u32, &[u8])]) -> Vec<u8> {
    let mut octets = b"\x78\x9f\x3e\x22\x01\0".to_vec();
    for (level, id, content) in attributes {
        octets.push(*level);
        octets.extend(id.to_le_bytes());
        octets.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        octets.extend(*content);
        let sum = content
            .iter()
            .fold(0_u16, |sum, octet| sum.wrapping_add(u16::from(*octet)));
        octets.extend(sum.to_le_bytes());
    }
    octets
}

/// One attachment in Outlook's wrapping.
pub(crate) fn wrapped(name: &str, content: &[u8]) -> Vec<u8> {
    let title = format!("{name}\0");
    tnef(&[
        (1, 0x0008_9006, b"\0\0\x01\0"),
        (
            2,
            0x0006_9002,
            &[1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
        (2, 0x0001_8010, title.as_bytes()),
        (2, 0x0006_800f, content),
    ])
}

/// An OLE2 file of streams with their paths (one storage deep at most), all in sectors of 512 octets.
pub(crate) fn compound(streams: &[(&str, &[u8])]) -> Vec<u8> {
    const END: u32 = 0xffff_fffe;
    const FREE: u32 = 0xffff_ffff;
    const NONE: u32 = 0xffff_ffff;
    let mut folders: Vec<&str> = streams
        .iter()
        .filter_map(|(path, _)| path.split_once('/').map(|(folder, _)| folder))
        .collect();
    folders.dedup();
    // The root, the storages, the streams; siblings follow one another to the right.
    let mut entries: Vec<(String, u8, u32, u32, u32, usize)> =
        vec![("Root Entry".into(), 5, NONE, NONE, END, 0)];
    for folder in &folders {
        entries.push(((*folder).to_owned(), 1, NONE, NONE, 0, 0));
    }
    let mut fat: Vec<u32> = Vec::new();
    let mut data: Vec<u8> = Vec::new();
    for (path, content) in streams {
        // Small ones would lie in the small sectors: they are filled up.
        let size = content.len().max(4096);
        let start = u32::try_from(fat.len()).unwrap();
        let sectors = size.div_ceil(512);
        for nth in 1..=sectors {
            let next = u32::try_from(fat.len() + 1).unwrap();
            fat.push(if nth == sectors { END } else { next });
        }
        data.extend(*content);
        data.resize(fat.len() * 512, 0);
        let name = path.rsplit('/').next().unwrap().to_owned();
        entries.push((name, 2, NONE, NONE, start, size));
    }
    let link = |entries: &mut Vec<(String, u8, u32, u32, u32, usize)>,
                parent: usize,
                children: &[usize]| {
        for (nth, child) in children.iter().enumerate() {
            let number = u32::try_from(*child).unwrap();
            if nth == 0 {
                entries[parent].3 = number;
            } else {
                entries[children[nth - 1]].2 = number;
            }
        }
    };
    let first_stream = 1 + folders.len();
    let top: Vec<usize> = (1..first_stream)
        .chain(
            streams
                .iter()
                .enumerate()
                .filter(|(_, (path, _))| !path.contains('/'))
                .map(|(nth, _)| first_stream + nth),
        )
        .collect();
    link(&mut entries, 0, &top);
    for (nth, folder) in folders.iter().enumerate() {
        let below: Vec<usize> = streams
            .iter()
            .enumerate()
            .filter(|(_, (path, _))| {
                path.split_once('/')
                    .is_some_and(|(found, _)| found == *folder)
            })
            .map(|(stream, _)| first_stream + stream)
            .collect();
        link(&mut entries, 1 + nth, &below);
    }
    let mut directory = Vec::new();
    for (name, kind, right, child, start, size) in &entries {
        let mut entry = [0_u8; 128];
        for (nth, unit) in name.encode_utf16().enumerate() {
            entry[nth * 2..nth * 2 + 2].copy_from_slice(&unit.to_le_bytes());
        }
        entry[64..66].copy_from_slice(&u16::try_from(name.len() * 2 + 2).unwrap().to_le_bytes());
        entry[66] = *kind;
        entry[68..72].copy_from_slice(&NONE.to_le_bytes());
        entry[72..76].copy_from_slice(&right.to_le_bytes());
        entry[76..80].copy_from_slice(&child.to_le_bytes());
        entry[116..120].copy_from_slice(&start.to_le_bytes());
        entry[120..124].copy_from_slice(&u32::try_from(*size).unwrap().to_le_bytes());
        directory.extend(entry);
    }
    directory.resize(directory.len().div_ceil(512) * 512, 0);
    let directory_at = u32::try_from(fat.len()).unwrap();
    let sectors = directory.len() / 512;
    for nth in 1..=sectors {
        let next = u32::try_from(fat.len() + 1).unwrap();
        fat.push(if nth == sectors { END } else { next });
    }
    let fat_at = fat.len();
    let fat_sectors = (fat.len() + 1).div_ceil(127);
    fat.resize(fat_at + fat_sectors, 0xffff_fffd);
    fat.resize(fat_sectors * 128, FREE);
    let mut octets = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
    octets.resize(512, 0);
    octets[24..34].copy_from_slice(&[0x3e, 0, 3, 0, 0xfe, 0xff, 9, 0, 6, 0]);
    octets[44..48].copy_from_slice(&u32::try_from(fat_sectors).unwrap().to_le_bytes());
    octets[48..52].copy_from_slice(&directory_at.to_le_bytes());
    octets[56..60].copy_from_slice(&4096_u32.to_le_bytes());
    octets[60..64].copy_from_slice(&END.to_le_bytes());
    octets[68..72].copy_from_slice(&END.to_le_bytes());
    for nth in 0..109 {
        let sector = if nth < fat_sectors {
            u32::try_from(fat_at + nth).unwrap()
        } else {
            FREE
        };
        octets[76 + nth * 4..80 + nth * 4].copy_from_slice(&sector.to_le_bytes());
    }
    octets.extend(data);
    octets.extend(directory);
    octets.extend(fat.iter().flat_map(|word| word.to_le_bytes()));
    octets
}

/// The text of a macro as a module keeps it, without anything shortened (MS-OVBA 2.4.1).
pub(crate) fn module(text: &str) -> Vec<u8> {
    let text = format!("Attribute VB_Name = \"Module1\"\r\n{text}");
    let mut octets = b"compiled form\x01".to_vec();
    for piece in text.as_bytes().chunks(3600) {
        let mut chunk = Vec::new();
        for letters in piece.chunks(8) {
            chunk.push(0);
            chunk.extend(letters);
        }
        let header = 0xb000_u16 | u16::try_from(chunk.len() - 1).unwrap();
        octets.extend(header.to_le_bytes());
        octets.extend(chunk);
    }
    octets
}

/// What the packager of Windows makes of a file.
pub(crate) fn package(name: &str, content: &[u8]) -> Vec<u8> {
    let mut octets = vec![2, 0];
    octets.extend(name.as_bytes());
    octets.push(0);
    octets.extend(format!("C:\\Temp\\{name}").as_bytes());
    octets.extend([0, 0, 0, 3, 0]);
    let second = format!("C:\\Temp\\{name}\0");
    octets.extend(u32::try_from(second.len()).unwrap().to_le_bytes());
    octets.extend(second.as_bytes());
    octets.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
    octets.extend(content);
    octets
}

/// An object as rich text holds it, in digits.
pub(crate) fn rich_text(class: &str, data: &[u8]) -> Vec<u8> {
    let mut object = vec![1, 5, 0, 0, 2, 0, 0, 0];
    object.extend(u32::try_from(class.len() + 1).unwrap().to_le_bytes());
    object.extend(class.as_bytes());
    object.push(0);
    object.extend([0; 8]);
    object.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    object.extend(data);
    let digits: Vec<String> = object.iter().map(|octet| format!("{octet:02x}")).collect();
    let digits = digits.concat();
    // Scattered as writers of exploits do.
    let (first, rest) = digits.split_at(9);
    format!("{{\\rtf1 Hello{{\\object\\objemb{{\\*\\objdata {first}\r\n{{\\*\\nothing12 }}\\par {rest}}}}}}}").into_bytes()
}

/// An entity in opaque S/MIME: signed in one piece, signed in several without lengths, or compressed.
pub(crate) fn smime(entity: &[u8], how: &str) -> Vec<u8> {
    const DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
    const SIGNED: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
    const COMPRESSED: &[u8] = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x09";
    let wrap = |tag: u8, content: &[u8]| -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], length.as_slice(), content].concat()
    };
    match how {
        "signed" => {
            let inner = [DATA, &wrap(0xa0, &wrap(0x04, entity))].concat();
            let signed = [
                b"\x02\x01\x01\x31\0".to_vec(),
                wrap(0x30, &inner),
                wrap(0xa0, b"\x30\0"),
            ]
            .concat();
            wrap(0x30, &[SIGNED, &wrap(0xa0, &wrap(0x30, &signed))].concat())
        }
        "compressed" => {
            let inner = [DATA, &wrap(0xa0, &wrap(0x04, &zlib(entity)))].concat();
            wrap(
                0x30,
                &[COMPRESSED, &wrap(0xa0, &wrap(0x30, &wrap(0x30, &inner)))].concat(),
            )
        }
        "detached" => {
            let signed = [
                b"\x02\x01\x01\x31\0".to_vec(),
                [b"\x30\x0b", DATA].concat(),
                wrap(0xa0, b"\x30\0"),
            ]
            .concat();
            wrap(0x30, &[SIGNED, &wrap(0xa0, &wrap(0x30, &signed))].concat())
        }
        _ => {
            let pieces: Vec<u8> = entity
                .chunks(100)
                .flat_map(|piece| wrap(0x04, piece))
                .collect();
            let end = [0_u8; 4];
            let start = b"\x30\x80".as_slice();
            [
                start,
                SIGNED,
                b"\xa0\x80\x30\x80\x02\x01\x01\x31\0\x30\x80",
                DATA,
                b"\xa0\x80\x24\x80",
                &pieces,
                &end,
            ]
            .concat()
        }
    }
}

/// An element of BER: its length in as few octets as it takes, in so many, or marked by its end.
fn element(tag: u8, content: &[u8], how: Length) -> Vec<u8> {
    let length = u64::try_from(content.len()).unwrap().to_be_bytes();
    match how {
        Length::Short if content.len() < 128 => [&[tag, length[7]], content].concat(),
        Length::Short => [&[tag, 0x82], &length[6..], content].concat(),
        Length::Octets(count) => {
            let zeros = vec![0; usize::from(count.saturating_sub(8))];
            let length = &length[8 - usize::from(count.min(8))..];
            [&[tag, 0x80 | count], zeros.as_slice(), length, content].concat()
        }
        Length::Marked => [&[tag, 0x80], content, &[0, 0]].concat(),
    }
}

#[derive(Clone, Copy)]
enum Length {
    Short,
    Octets(u8),
    Marked,
}

/// Something signed, of a type that is given with its tag.
pub(crate) fn signed_of(kind: &[u8], content: &[u8]) -> Vec<u8> {
    let content = element(0x04, content, Length::Short);
    let content = element(0xa0, &content, Length::Short);
    signed_shape(&[kind, &content].concat(), b"", Length::Short)
}

fn signed_shape(inner: &[u8], parameters: &[u8], outer: Length) -> Vec<u8> {
    let sha = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01";
    let algorithm = element(0x30, &[sha, parameters].concat(), outer);
    let data = [
        b"\x02\x01\x01".to_vec(),
        element(0x31, &algorithm, outer),
        element(0x30, inner, outer),
        element(0x31, b"", Length::Short),
    ]
    .concat();
    let data = element(0xa0, &element(0x30, &data, outer), outer);
    let signed = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
    element(0x30, &[signed.as_slice(), &data].concat(), outer)
}

/// A signed message as X.690 lets one write it: each shape with its name.
pub(crate) fn signed_shapes(entity: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    const DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
    const LONG: &[u8] = b"\x06\x81\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
    use Length::{Marked, Octets, Short};
    let shape = |kind: &[u8], string: Vec<u8>, parameters: &[u8], how: Length| {
        let content = element(0xa0, &string, how);
        signed_shape(&[kind, &content].concat(), parameters, how)
    };
    let whole = element(0x04, entity, Short);
    let pieces = |how: Length| {
        let (head, tail) = entity.split_at(30);
        let tail: Vec<u8> = tail
            .chunks(40)
            .flat_map(|piece| element(0x04, piece, Short))
            .collect();
        let nested = [
            element(0x24, b"", how),
            element(0x24, &element(0x04, head, Short), how),
            element(0x24, &tail, how),
        ];
        element(0x24, &nested.concat(), how)
    };
    // What is searched for, where it says nothing.
    let decoy = element(0x30, DATA, Short);
    vec![
        ("long number", shape(LONG, whole.clone(), b"", Short)),
        ("number before", shape(DATA, whole.clone(), &decoy, Short)),
        (
            "number before, marked ends",
            shape(DATA, whole.clone(), &decoy, Marked),
        ),
        (
            "a tag of two octets before",
            shape(DATA, whole.clone(), b"\xbf\x81\x01\x80\x05\x00\0\0", Marked),
        ),
        (
            "six octets",
            shape(DATA, element(0x04, entity, Octets(6)), b"", Octets(6)),
        ),
        (
            "eight octets",
            shape(DATA, element(0x04, entity, Octets(8)), b"", Octets(4)),
        ),
        (
            "twenty octets",
            shape(DATA, element(0x04, entity, Octets(20)), b"", Octets(2)),
        ),
        ("pieces of pieces", shape(DATA, pieces(Short), b"", Short)),
        (
            "pieces of pieces, marked ends",
            shape(DATA, pieces(Marked), b"", Marked),
        ),
        (
            "pieces of pieces, some marked ends",
            shape(DATA, pieces(Marked), b"", Short),
        ),
        (
            "of another type",
            signed_of(b"\x06\x03\x2a\x03\x04", entity),
        ),
    ]
}

/// A PDF that embeds one file.
pub(crate) fn pdf(name: &str, content: &[u8], packed: bool) -> Vec<u8> {
    let mut octets = b"%PDF-1.7\n1 0 obj\n<</Type/Catalog/Names<</EmbeddedFiles<</Names[(a) 2 0 R]>>>>>>\nendobj\n".to_vec();
    octets.extend(
        format!("2 0 obj\n<</Type/Filespec/F({name})/UF({name})/EF<</F 3 0 R>>>>\nendobj\n")
            .as_bytes(),
    );
    let (filter, body) = if packed {
        ("/Filter/FlateDecode", zlib(content))
    } else {
        ("", content.to_vec())
    };
    octets.extend(
        format!(
            "3 0 obj\n<</Type/EmbeddedFile{filter}/Length {}>>\nstream\r\n",
            body.len()
        )
        .as_bytes(),
    );
    octets.extend(body);
    octets.extend(b"\nendstream\nendobj\ntrailer<</Root 1 0 R>>\n%%EOF\n");
    octets
}

/// A PDF whose embedded file has these entries in its dictionary, and this body. Its object says nothing else.
pub(crate) fn pdf_with(entries: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "%PDF-1.7\n2 0 obj\n<</Type/Filespec/F(a.txt)/EF<</F 3 0 R>>>>\nendobj\n\
         3 0 obj\n<<{entries}>>\nstream\n"
    );
    [head.as_bytes(), body, b"\nendstream\nendobj\n"].concat()
}

/// LZW as PDF has it. Codes of strings are never used twice, which is poor but valid.
pub(crate) fn lzw(octets: &[u8]) -> Vec<u8> {
    let mut table = std::collections::HashMap::new();
    let (mut packed, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    let mut put = |code: usize, width: u32| {
        bits = bits << width | u32::try_from(code).unwrap();
        held += width;
        while held >= 8 {
            held -= 8;
            packed.push((bits >> held & 0xff) as u8);
        }
    };
    let width = |next: usize| match next + 1 {
        ..=511 => 9,
        512..=1023 => 10,
        1024..=2047 => 11,
        _ => 12,
    };
    put(256, 9);
    let mut next = 258;
    let mut code = None;
    let mut string = Vec::new();
    for octet in octets {
        string.push(*octet);
        let known = if string.len() == 1 {
            Some(usize::from(*octet))
        } else {
            table.get(&string).copied()
        };
        if known.is_some() {
            code = known;
            continue;
        }
        // The reader knows one string less.
        put(code.unwrap(), width(next - usize::from(next > 258)));
        if next < 4095 {
            table.insert(string.clone(), next);
            next += 1;
        } else {
            put(256, 12);
            table.clear();
            next = 258;
        }
        string = vec![*octet];
        code = Some(usize::from(*octet));
    }
    let last = width(next - usize::from(next > 258));
    put(code.unwrap_or(257), last);
    put(257, last);
    put(0, 7);
    packed
}

/// A file in `BinHex` 4.0, without the words before it. Sums are left out: no reader minds.
pub(crate) fn binhex(name: &str, content: &[u8]) -> String {
    const ALPHABET: &[u8; 64] =
        b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr";
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let plain = [
        &[u8::try_from(name.len()).unwrap()],
        name.as_bytes(),
        b"\0TEXTttxt\0\0",
        &length,
        b"\0\0\0\0??",
        content,
        b"??\0\0",
    ]
    .concat();
    let mut packed = Vec::new();
    for octet in plain {
        packed.push(octet);
        if octet == 0x90 {
            packed.push(0);
        }
    }
    let mut text = ":".to_owned();
    for group in packed.chunks(3) {
        let at = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for shift in [18, 12, 6, 0] {
            text.push(char::from(ALPHABET[(bits >> shift & 63) as usize]));
            if text.len() % 66 == 64 {
                text.push_str("\r\n");
            }
        }
    }
    text + ":\r\n"
}

/// A `OneNote` section that embeds one file.
pub(crate) fn onenote(content: &[u8]) -> Vec<u8> {
    let mut octets = b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3".to_vec();
    octets.extend([0; 64]);
    octets.extend(b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac");
    octets.extend(u64::try_from(content.len()).unwrap().to_le_bytes());
    octets.extend([0; 12]);
    octets.extend(content);
    octets
}

/// A 7z archive of one file that went through a filter and was stored.
pub(crate) fn seven_zip(name: &str, filter: &[u8], content: &[u8]) -> Vec<u8> {
    let number = |value: usize| {
        let value = u32::try_from(value).unwrap().to_le_bytes();
        [&[0xf0][..], &value].concat()
    };
    let size = number(content.len());
    let name: Vec<u8> = name
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    let header = [
        &[1, 4, 6, 0, 1, 9][..],
        &size,
        &[0, 7, 0x0b, 1, 0, 2, u8::try_from(filter.len()).unwrap()],
        filter,
        &[1, 0, 0, 1, 0x0c],
        &size,
        &size,
        &[0, 0, 5, 1, 0x11, u8::try_from(name.len() + 1).unwrap(), 0],
        &name,
        &[0, 0],
    ]
    .concat();
    let place = [
        u64::try_from(content.len()).unwrap().to_le_bytes(),
        u64::try_from(header.len()).unwrap().to_le_bytes(),
    ]
    .concat();
    let place = [&place[..], &crc32(&header).to_le_bytes()].concat();
    [
        b"7z\xbc\xaf\x27\x1c\0\x04",
        &crc32(&place).to_le_bytes()[..],
        &place,
        content,
        &header,
    ]
    .concat()
}

/// The program, packed as LZMA with no properties at all and in a dictionary of 64 KiB, up to its end mark.
pub(crate) const LZMA: &[u8] = b"\x00\x00\x00\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x26\x97\xdf\x81\x6b\x11\x1e\x24\xfe\x44\xde\x02\x7a\x86\x05\x3e\x67\x10\xb3\x4f\x36\xff\xff\xf4\xcc\xc0\x00";

/// The same with the usual properties, and without what says them.
pub(crate) const USUAL_LZMA: &[u8] = b"\x00\x26\x96\x7c\x1b\x8c\xbb\x18\x1b\x8c\x36\xce\xda\xba\x3f\x17\x4d\xe0\x0a\x9e\x44\xd5\xff\xff\xf8\xf3\xd0\x00";

/// `MacBinary` of its first version or its second, with a data fork alone.
pub(crate) fn mac_binary(name: &str, content: &[u8], summed: bool) -> Vec<u8> {
    let mut octets = vec![0; 128];
    octets[1] = u8::try_from(name.len()).unwrap();
    octets[2..2 + name.len()].copy_from_slice(name.as_bytes());
    octets[83..87].copy_from_slice(&u32::try_from(content.len()).unwrap().to_be_bytes());
    if summed {
        octets[122..124].copy_from_slice(&[0x81, 0x81]);
        let mut sum = 0_u16;
        for octet in &octets[..124] {
            sum ^= u16::from(*octet) << 8;
            for _ in 0..8 {
                sum = sum << 1 ^ if sum & 0x8000 == 0 { 0 } else { 0x1021 };
            }
        }
        octets[124..126].copy_from_slice(&sum.to_be_bytes());
    }
    octets.extend(content);
    octets.resize(octets.len().next_multiple_of(128), 0);
    octets
}

/// `AppleSingle`: a name and a data fork.
pub(crate) fn apple_single(name: &str, content: &[u8]) -> Vec<u8> {
    let mut octets = b"\0\x05\x16\0\0\x02\0\0".to_vec();
    octets.extend([0; 16]);
    octets.extend([0, 2]);
    let mut at = 50;
    for (number, part) in [(3_u32, name.as_bytes()), (1, content)] {
        octets.extend(number.to_be_bytes());
        octets.extend(u32::try_from(at).unwrap().to_be_bytes());
        octets.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        at += part.len();
    }
    octets.extend(name.as_bytes());
    octets.extend(content);
    octets
}

/// A document of Office, with these parts besides those that each has.
pub(crate) fn ooxml(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut entries = vec![
        Entry::new("[Content_Types].xml", b"<Types/>"),
        Entry::new("_rels/.rels", b"<Relationships/>"),
    ];
    entries.extend(
        parts
            .iter()
            .map(|(name, content)| Entry::new(name, content)),
    );
    zip(&entries)
}

/// A document of `OpenDocument`, with these members besides those that each has.
pub(crate) fn odf(members: &[(&str, &str)]) -> Vec<u8> {
    let kind = "application/vnd.oasis.opendocument.text";
    let mut entries = vec![
        Entry::new("mimetype", kind.as_bytes()),
        Entry::new("META-INF/manifest.xml", b"<manifest/>"),
    ];
    entries.extend(
        members
            .iter()
            .map(|(name, text)| Entry::new(name, text.as_bytes())),
    );
    zip(&entries)
}
