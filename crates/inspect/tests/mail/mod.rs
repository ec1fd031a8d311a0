//! Messages made for tests: payloads, encodings, and the parts of a message.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::format_collect,
    clippy::unwrap_used,
    reason = "each test uses some of it, and what it makes is small"
)]

/// What scanners find by agreement, put together here so that no file of the repository is found by them.
pub fn test_virus() -> Vec<u8> {
    let halves = [
        r"X5O!P%@AP[4\PZX54(P^)7CC)7}$",
        "EICAR-STANDARD-",
        "ANTIVIRUS-TEST-FILE",
        "!$H+H*",
    ];
    halves.concat().into_bytes()
}

/// A program for Windows that does nothing, and cannot run.
pub fn program() -> Vec<u8> {
    let mut octets = vec![0_u8; 512];
    octets[..2].copy_from_slice(b"MZ");
    octets[2..4].copy_from_slice(&[0x90, 0]);
    octets[0x3c] = 0x80;
    octets[0x4e..0x4e + 38].copy_from_slice(b"This program cannot be run in DOS mode");
    octets[0x80..0x84].copy_from_slice(b"PE\0\0");
    octets[0x84..0x86].copy_from_slice(&[0x4c, 0x01]);
    octets[0x86] = 1;
    octets[0x94] = 0xe0;
    octets[0x96..0x98].copy_from_slice(&[0x02, 0x01]);
    octets[0x98..0x9a].copy_from_slice(&[0x0b, 0x01]);
    octets
}

/// A script that does nothing.
pub fn script() -> Vec<u8> {
    b"' nothing\r\nSet shell = CreateObject(\"WScript.Shell\")\r\nWScript.Echo \"hello\"\r\n"
        .to_vec()
}

/// An archive with members that are stored as they are.
pub fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, octets) in members {
        let offset = u32::try_from(out.len()).unwrap();
        let mut common = Vec::new();
        common.extend([20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x5a]);
        common.extend(crc32(octets).to_le_bytes());
        let size = u32::try_from(octets.len()).unwrap();
        common.extend(size.to_le_bytes());
        common.extend(size.to_le_bytes());
        common.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        common.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(*octets);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let offset = u32::try_from(out.len()).unwrap();
    let count = u16::try_from(members.len()).unwrap();
    let size = u32::try_from(directory.len()).unwrap();
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out.extend([0, 0]);
    out
}

/// A tar.
pub fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, octets) in members {
        let mut head = [0_u8; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[100..107].copy_from_slice(b"0000644");
        head[124..135].copy_from_slice(format!("{:011o}", octets.len()).as_bytes());
        head[148..156].fill(b' ');
        head[156] = b'0';
        head[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = head.iter().copied().map(u32::from).sum();
        head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend(head);
        out.extend(*octets);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// CRC-32 as archives have it.
pub fn crc32(octets: &[u8]) -> u32 {
    !octets.iter().fold(u32::MAX, |mut crc, octet| {
        crc ^= u32::from(*octet);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
        crc
    })
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 without line ends.
pub fn base64(octets: &[u8]) -> String {
    let mut out = String::new();
    for group in octets.chunks(3) {
        let mut bits = 0_u32;
        for place in 0..3 {
            bits = bits << 8 | u32::from(group.get(place).copied().unwrap_or(0));
        }
        for place in 0..4 {
            if place <= group.len() {
                out.push(char::from(
                    LETTERS[(bits >> (18 - 6 * place)) as usize & 63],
                ));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// Text in lines of a length, each with its end.
pub fn lines(text: &str, length: usize) -> String {
    text.as_bytes()
        .chunks(length)
        .map(|line| format!("{}\r\n", String::from_utf8_lossy(line)))
        .collect()
}

/// Base64 as mail has it.
pub fn based(octets: &[u8]) -> String {
    lines(&base64(octets), 76)
}

/// Quoted-printable, with every octet written as `=XX`.
pub fn quoted(octets: &[u8]) -> String {
    octets
        .chunks(24)
        .map(|line| {
            let text: String = line.iter().map(|octet| format!("={octet:02X}")).collect();
            format!("{text}=\r\n")
        })
        .collect()
}

/// A file as `uuencode` writes it.
pub fn unix(name: &str, octets: &[u8]) -> String {
    let mut out = format!("begin 644 {name}\r\n");
    let letter = |bits: u32| char::from(if bits == 0 { b'`' } else { b' ' + bits as u8 });
    for line in octets.chunks(45) {
        out.push(letter(u32::try_from(line.len()).unwrap()));
        for group in line.chunks(3) {
            let mut bits = 0_u32;
            for place in 0..3 {
                bits = bits << 8 | u32::from(group.get(place).copied().unwrap_or(0));
            }
            for place in 0..4 {
                out.push(letter(bits >> (18 - 6 * place) & 63));
            }
        }
        out.push_str("\r\n");
    }
    out.push_str("`\r\nend\r\n");
    out
}

/// A file in yEnc.
pub fn yenc(name: &str, octets: &[u8]) -> Vec<u8> {
    let mut out = format!("=ybegin line=128 size={} name={name}\r\n", octets.len()).into_bytes();
    for line in octets.chunks(100) {
        for octet in line {
            let coded = octet.wrapping_add(42);
            if matches!(coded, 0 | b'\n' | b'\r' | b'=' | b'.') {
                out.extend([b'=', coded.wrapping_add(64)]);
            } else {
                out.push(coded);
            }
        }
        out.extend(b"\r\n");
    }
    out.extend(format!("=yend size={}\r\n", octets.len()).bytes());
    out
}

/// The headers every message has.
pub const TOP: &str = "Received: from mail.example.net (mail.example.net [192.0.2.7])\r\n\
    \tby mx.example.org with ESMTPS id 4abc for <postmaster@example.org>;\r\n\
    \tSat, 21 Nov 2026 10:00:00 +0000\r\n\
    From: Ada <ada@example.net>\r\n\
    To: postmaster@example.org\r\n\
    Subject: Files\r\n\
    Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n\
    Message-ID: <1@example.net>\r\n\
    MIME-Version: 1.0\r\n";

/// The text part most messages begin with.
pub const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n\r\nHello, here it is.\r\n";
