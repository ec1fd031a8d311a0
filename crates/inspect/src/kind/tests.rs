//! Kinds by their octets.

use super::{Kind, hidden, of};

#[test]
fn kinds_are_told_by_their_octets() {
    let cases: &[(&[u8], Kind)] = &[
        (b"", Kind::Empty),
        (b"Hello.\n", Kind::Text),
        (b"\0\x01\x02\x03\x04", Kind::Unknown),
        (b"MZ\x90\0\x03\0\0\0", Kind::Dos),
        (b"MZ is how programs begin.", Kind::Text),
        (b"\x7fELF\x02\x01", Kind::Elf),
        (b"\xca\xfe\xba\xbe\0\0\0\x02", Kind::MachO),
        (b"\xca\xfe\xba\xbe\0\0\0\x34", Kind::JavaClass),
        (b"#!/bin/sh\n", Kind::UnixScript),
        (b"#! /usr/bin/perl\n", Kind::UnixScript),
        (b"#!AMR\n", Kind::Audio),
        (b"#hashtag\n", Kind::Text),
        (b"{\\rtf1 a}", Kind::Rtf),
        (b"%PDF-1.4", Kind::Pdf),
        (b"junk\n%PDF-1.4", Kind::Pdf),
        (b"7z\xbc\xaf\x27\x1c", Kind::SevenZip),
        (b"Rar!\x1a\x07\x01\0", Kind::Rar5),
        (b"Rar!\x1a\x07\0", Kind::Rar4),
        (b"BZh91AY&SY", Kind::Bzip2),
        (b"BZh is a word", Kind::Text),
        (b"\x1f\x8b\x08", Kind::Gzip),
        (b"PK\x03\x04", Kind::Zip),
        (b"<!DOCTYPE html><html>", Kind::Html),
        (b"  <html>", Kind::Html),
        (b"\xef\xbb\xbf<html>", Kind::Html),
        (b"\xff\xfe<\0h\0t\0m\0l\0>\0", Kind::Html),
        (b"<?xml version=\"1.0\"?><svg xmlns=\"a\">", Kind::Svg),
        (b"<?xml version=\"1.0\"?><a/>", Kind::Xml),
        (b"<html><hta:application></html>", Kind::WindowsScript),
        (
            b"<job><script language=\"VBScript\"></script></job>",
            Kind::WindowsScript,
        ),
        (b"BEGIN:VCALENDAR\r\n", Kind::Calendar),
        (b"BEGIN:VCARD\r\n", Kind::Vcard),
        (b"From: a@example.org\r\nSubject: b\r\n\r\nc", Kind::Message),
        (
            b"From a@example.org Mon\nReceived: by b\nTo: c\n\nd",
            Kind::Message,
        ),
        (b"Subject: a text about a subject", Kind::Text),
        (b"[InternetShortcut]\r\nURL=a", Kind::UrlShortcut),
        (b"RIFF\0\0\0\0WAVE", Kind::Audio),
        (b"\x89PNG\r\n\x1a\n", Kind::Image),
        (b"\0\0\0\x18ftypmp42", Kind::Video),
        (b"begin 644 a.exe\n", Kind::Uuencode),
        (b"begin the day\n", Kind::Text),
    ];
    for (octets, kind) in cases {
        assert_eq!(of(octets), *kind, "{:?}", String::from_utf8_lossy(octets));
    }
}

#[test]
fn a_program_is_found_wherever_it_begins() {
    let mut program = vec![0_u8; 0x100];
    program[..2].copy_from_slice(b"MZ");
    program[0x3c] = 0x80;
    program[0x80..0x84].copy_from_slice(b"PE\0\0");
    program[0x84..0x88].copy_from_slice(&[0x64, 0x86, 1, 0]);
    assert_eq!(of(&program), Kind::Pe);
    for before in [&b"\xef\xbb\xbf"[..], b"\r\n\r\n", b"GIF89a", b"some text"] {
        let octets = [before, &program].concat();
        let found = hidden(&octets, of(&octets)).found;
        assert_eq!(
            found.first().map(|found| (found.at, found.kind)),
            Some((before.len(), Kind::Pe))
        );
    }
    assert_eq!(
        hidden(&[b"MZ".as_slice(), &[b'x'; 300]].concat(), Kind::Text).found,
        []
    );
}

#[test]
fn names_of_kinds_are_all_different() {
    let kinds = [
        Kind::Pe,
        Kind::Dos,
        Kind::Zip,
        Kind::SevenZip,
        Kind::Rar4,
        Kind::Rar5,
        Kind::Iso,
    ];
    let names: std::collections::BTreeSet<_> = kinds.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), kinds.len());
}
