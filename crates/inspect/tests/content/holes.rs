//! What once passed by a hole in a reader, and the honest files that look like it.

use mailkeep_inspect::Level;

use crate::build;
use crate::refusing;

const BINARY: &str = "application/octet-stream";
const DDE: &str = "office-dde";
const OBJECT: &str = "office-object-external";
const RUNS: &str = "office-macro-runs";

fn refused(name: &str, octets: &[u8]) -> Vec<String> {
    refusing(name, BINARY, octets, Level::Default)
}

#[test]
fn messages_and_notes_with_many_archives_pass() {
    let rar = build::rar4(&[("a.txt", b"Hello.")], 0x30, false);
    let streams: Vec<(String, Vec<u8>)> = (0..9)
        .map(|number| {
            let octets = [&rar[..], &[b'x'; 5000]].concat();
            (format!("s{number}"), octets)
        })
        .collect();
    let streams: Vec<(&str, &[u8])> = streams
        .iter()
        .map(|(name, octets)| (name.as_str(), octets.as_slice()))
        .collect();
    assert_eq!(refused("a.msg", &build::compound(&streams)), [""; 0]);
    let one = build::onenote(&rar);
    let mut notes = one.clone();
    for _ in 1..9 {
        notes.extend_from_slice(&one[80..]);
    }
    assert_eq!(refused("a.one", &notes), [""; 0]);
}

const MODULE: (&str, &str) = (
    "Basic/Standard/Module1.xml",
    "<script:module script:name=\"Module1\">Sub Main\nShell(&quot;calc&quot;)\nEnd Sub</script:module>",
);

fn event(attributes: &str) -> String {
    format!(
        "<office:document-content><script:event-listener {attributes}/></office:document-content>"
    )
}

const MAIN: &str =
    "xlink:href=\"vnd.sun.star.script:Standard.Module1.Main?language=Basic&amp;location=document\"";

#[test]
fn an_event_that_only_seems_to_be_a_click_runs_a_macro() {
    let check = |attributes: &str, rules: &[&str]| {
        let file = build::odf(&[("content.xml", &event(attributes)), MODULE]);
        assert_eq!(refused("a.odt", &file), rules, "{attributes}");
    };
    for running in [
        format!("script:event-name=\"dom:load\" {MAIN}"),
        format!("x:event-name=\"click\" script:event-name=\"dom:load\" {MAIN}"),
        format!("script:event-name=\"click:load\" {MAIN}"),
        MAIN.to_owned(),
        "script:event-name=\"dom:load\" script:macro-name=\"document:Standard.Module1.Main\""
            .to_owned(),
    ] {
        check(&running, &[RUNS]);
    }
    for pressed in [
        format!("script:event-name=\"dom:click\" {MAIN}"),
        format!("script:event-name=\"dom:dblclick\" {MAIN}"),
        "script:event-name=\"on-click\" script:macro-name=\"document:Standard.Module1.Main\""
            .to_owned(),
    ] {
        check(&pressed, &[]);
    }
}

#[test]
fn a_macro_of_the_program_is_known_in_percent_signs() {
    for place in [
        "LibreLogo|LibreLogo.py$run?language=Python&amp;location=share",
        "Libre%4cogo|Libre%4Cogo.py$run?language=Python&amp;location=share",
        "../../program/pydoc.py$tempfilepager(1, calc.exe )?language=Python",
        "%2e%2e/%2E%2e/program/pydoc.py$tempfilepager(1, calc.exe )?language=Python",
    ] {
        let href = format!(
            "script:event-name=\"dom:mouseover\" xlink:href=\"vnd.sun.star.script:{place}\""
        );
        let file = build::odf(&[("content.xml", &event(&href))]);
        assert_eq!(refused("a.odt", &file), [RUNS], "{place}");
    }
}

#[test]
fn macros_of_opendocument_are_read_beside_members_of_other_documents() {
    let load = event(&format!("script:event-name=\"dom:load\" {MAIN}"));
    let check = |others: &[(&str, &str)]| {
        let own = [("content.xml", load.as_str()), MODULE];
        let file = build::odf(&[&own[..], others].concat());
        let rules = refused("a.odt", &file);
        assert!(rules.contains(&RUNS.to_owned()), "{others:?}: {rules:?}");
    };
    check(&[]);
    check(&[("[Content_Types].xml", "<a/>"), ("_rels/.rels", "<a/>")]);
    check(&[("[Content_Types].xml", "<a/>"), ("word/", "")]);
    check(&[
        ("[Content_Types].xml", "<a/>"),
        ("AppxManifest.xml", "<a/>"),
    ]);
    check(&[
        ("META-INF/MANIFEST.MF", "Manifest-Version: 1.0"),
        ("a.class", "a"),
    ]);
}

#[test]
fn a_formula_that_names_a_program_is_found_anywhere_in_its_cell() {
    let check = |table: &str| {
        let rules = refusing("a.csv", "text/csv", table.as_bytes(), Level::Default);
        assert_eq!(rules, [DDE], "{table:.60?}");
    };
    for table in [
        "a,b\r\n=cmd|'/C calc'!A0",
        "a,b\r\n\"=SUM(1,cmd|'/C calc'!A0)\"",
        "a;b\r\n=SUM(1;cmd|'/C calc'!A0)",
        "a,b\r\n=IF(1=1, cmd|'/C calc'!A0)",
        "a,b\r\n=1<cmd|'/C calc'!A0",
        "a,b\r\n=1>cmd|'/C calc'!A0",
        "a,b\r\n=1* cmd|'/C calc'!A0",
        "a,b\r=  cmd|'/C calc'!A0",
        "a,b\r\n\"=1+\r\ncmd|'/C calc'!A0\"",
        "a,\"b\"\"c\",\"=\"\"a\"\"& cmd|'/C calc'!A0\"",
        "a,\" -1+{cmd|'/C calc'!A0\"",
        "a\t+1, cmd|'/C calc'!A0",
        "ID;PWXL\r\nC;Y1;X1;K0;E1< cmd|'/C calc'!A0\r\n",
    ] {
        check(table);
    }
    check(&format!("a,b\r\n={}cmd|'/C calc'!A0", " ".repeat(40)));
    check(&format!(
        "a,b\r\n=cmd|'/C powershell {}'!A0",
        "a".repeat(600)
    ));
}

#[test]
fn a_table_that_names_programs_in_words_passes() {
    for table in [
        "a,b\r\ncmd|'hello'!,2",
        "a,b\r\n\"pipe it to cmd|'hello'!\",2",
        "=A1,\"x\"\r\n\"use cmd|'hello'!\"",
        "a|b!|'c'!\r\n=1+2,d|'e'!f",
        "=1+2\r\nxcmd|'hello'!",
        "-1,\"a\r\nb\",c|'!'\r\n",
    ] {
        let rules = refusing("a.csv", "text/csv", table.as_bytes(), Level::Default);
        assert_eq!(rules, [""; 0], "{table:?}");
    }
}

#[test]
fn every_moniker_of_a_linked_object_is_read() {
    let address = |link: &str| {
        let link: Vec<u8> = link
            .encode_utf16()
            .chain([0])
            .flat_map(u16::to_le_bytes)
            .collect();
        let class = b"\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\0\xaa\0\x4b\xa9\x0b";
        let length = u32::try_from(link.len()).unwrap().to_le_bytes();
        [class.as_slice(), &length, &link].concat()
    };
    // MS-OSHARED 2.3.7.8: a path in letters of one octet, and again in UTF-16.
    let file = |narrow: &str, wide: &str| {
        let class = b"\x03\x03\0\0\0\0\0\0\xc0\0\0\0\0\0\0\x46";
        let wide: Vec<u8> = wide.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let number = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
        [
            class.as_slice(),
            b"\0\0",
            &number(narrow.len() + 1),
            narrow.as_bytes(),
            b"\0\xff\xff\xad\xde",
            &[0; 20],
            &number(wide.len() + 6),
            &number(wide.len()),
            b"\x03\0",
            &wide,
        ]
        .concat()
    };
    let check = |monikers: &[Vec<u8>], rules: &[&str]| {
        let stream = [&[0; 24][..], &monikers.concat()].concat();
        let octets = build::compound(&[("\u{1}Ole", &stream), ("\u{3}ObjInfo", b"abc")]);
        assert_eq!(refused("a.doc", &octets), rules, "{monikers:?}");
    };
    let web = "http://a.example/b.hta";
    let shared = "https://acme.sharepoint.com/sites/a/a.xlsx";
    let share = "\\\\a.example@SSL\\DavWWWRoot\\b.hta";
    let own = "\\\\acme.sharepoint.com@SSL\\DavWWWRoot\\sites\\a\\a.xlsx";
    check(&[address(web)], &[OBJECT]);
    check(&[address(shared), address(web)], &[OBJECT]);
    check(&[address(""), address(web)], &[OBJECT]);
    check(&[file(share, "")], &[OBJECT]);
    check(&[file("a.xlsx", share)], &[OBJECT]);
    check(&[file("C:\\a\\b.xlsx", ""), file(share, "")], &[OBJECT]);
    check(&[address(shared), address(shared)], &[]);
    check(
        &[file(own, own), file("C:\\a\\b.xlsx", "C:\\a\\b.xlsx")],
        &[],
    );
    check(&[file("\\\\srv01\\a\\b.xlsx", "\\\\srv01\\a\\b.xlsx")], &[]);
}

#[test]
fn a_field_of_dde_is_found_however_long_it_is() {
    let word = |text: &[u8]| {
        let head = b"\xec\xa5\xc1\0".as_slice();
        build::compound(&[("WordDocument", &[head, text].concat())])
    };
    let check = |text: &str, rules: &[&str]| {
        let narrow: Vec<u8> = text.chars().map(|letter| letter as u8).collect();
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(refused("a.doc", &word(&narrow)), rules, "{text:?}");
        assert_eq!(refused("a.doc", &word(&wide)), rules, "{text:?}");
    };
    let blanks = " ".repeat(600);
    let start = "DDEAUTO c:\\a\\cmd.exe \"/k calc\"";
    check(&format!("\u{13} {start} \u{14}x\u{15}"), &[DDE]);
    check(&format!("\u{13} {start} {blanks}\u{14}x\u{15}"), &[DDE]);
    check(&format!("\u{13}{blanks}{start} \u{14}x\u{15}"), &[DDE]);
    check(
        &format!("\u{13} DDE {blanks} cmd \"/k calc\" \u{14}x\u{15}"),
        &[DDE],
    );
    check(&format!("\u{13} TOC {blanks}\u{14}x\u{15}"), &[]);
    check(
        &format!("\u{13} DDE {blanks} Excel \"a.xlsx\" \u{14}x\u{15}"),
        &[],
    );
}

#[test]
fn an_alarm_is_known_by_its_depth_and_whatever_its_parameters() {
    let check = |lines: &str, rules: &[&str]| {
        let file =
            format!("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n{lines}END:VEVENT\r\nEND:VCALENDAR\r\n");
        let found = refusing("a.ics", "text/calendar", file.as_bytes(), Level::Default);
        assert_eq!(found, rules, "{lines:?}");
    };
    let attach = "ATTACH:\\\\203.0.113.1\\a.pdf\r\n";
    let end = "END:VALARM\r\n";
    for begin in [
        "BEGIN:VALARM\r\n",
        "BEGIN;X-A=B:VALARM\r\n",
        "BEGIN;X-A=\"B:C\":valarm \r\n",
        "BEGIN:VALARM\r\nBEGIN:VALARM\r\nEND:VALARM\r\n",
        "BEGIN:VALARM\r\nEND:VALARMS\r\n",
    ] {
        check(&format!("{begin}{attach}{end}"), &["reminder-unc"]);
    }
    check(
        "BEGIN:VALARM\r\nATTACH;X-A=\"B:C\":\\\\203.0.113.1\\a.wav\r\nEND:VALARM\r\n",
        &["reminder-unc"],
    );
    check(attach, &[]);
    check(&format!("BEGIN:VALARM\r\n{end}{attach}"), &[]);
    check(
        "BEGIN:VALARM\r\nATTACH;VALUE=URI:https://example.org/a.wav\r\nEND:VALARM\r\n",
        &[],
    );
}

#[test]
fn a_file_in_base64_goes_on_behind_its_padding() {
    use base64::Engine;
    let encode = |octets: &[u8]| base64::engine::general_purpose::STANDARD.encode(octets);
    let check = |letters: &str| {
        let document = format!(
            "<office:document><office:binary-data>{letters}</office:binary-data></office:document>"
        );
        let rules = refused("a.fodt", document.as_bytes());
        assert!(rules.contains(&"executable".to_owned()), "{rules:?}");
    };
    let program = build::program();
    check(&encode(&program));
    for split in [1, 2, 3] {
        let (head, tail) = program.split_at(split);
        check(&format!("{}{}", encode(head), encode(tail)));
        check(&format!("{}\r\n{}", encode(head), encode(tail)));
    }
}

#[test]
fn a_relation_with_more_attributes_than_any_is_read() {
    let type_of =
        "Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/oleObject\"";
    for count in [100, 10_000] {
        let many = |one: fn(usize) -> String| (0..count).map(one).collect::<String>();
        for padding in [
            " xmlns:a=\"\"".repeat(count),
            " a:Target=\"b\"".repeat(count),
            " x=''".repeat(count),
            many(|nth| format!(" a{nth}:Target='{nth}'")),
            many(|nth| format!(" a{nth}:Type='{nth}' a{nth}:TargetMode='{nth}'")),
        ] {
            let relation = format!(
                "<Relationships><Relationship{padding} {type_of} Target=\"mhtml:http://a.example/b!x-usc:http://a.example\" TargetMode=\"External\"/></Relationships>"
            );
            let file = build::ooxml(&[("word/_rels/a.rels", relation.as_bytes())]);
            let rules = refused("a.docx", &file);
            assert_eq!(rules, [OBJECT], "{count} {padding:.30}");
        }
    }
}

#[test]
fn a_part_is_read_in_whatever_encoding_it_says() {
    let relations = |scheme: &str| {
        format!(
            "<Relationships><Relationship Type=\"a/oleObject\" Target=\"{scheme}:http://a.example/b!x-usc:http://a.example\" TargetMode=\"External\"/></Relationships>"
        )
    };
    let check = |part: &[u8], rules: &[&str]| {
        let file = build::ooxml(&[("word/_rels/a.rels", part)]);
        let shown = String::from_utf8_lossy(part).into_owned();
        assert_eq!(refused("a.docx", &file), rules, "{shown:.80?}");
    };
    for blanks in [1, 600, 20_000] {
        let declared = |encoding: &str| {
            let blanks = " ".repeat(blanks);
            format!("<?xml version='1.0'{blanks}encoding='{encoding}'?>")
        };
        let japanese = declared("iso-2022-jp")
            + &relations("sc\u{1b}(Bript").replace("!x-usc", "!x-u\u{1b}(Bsc");
        check(japanese.as_bytes(), &[OBJECT]);
        let seven =
            declared("UTF-7") + &relations("+AHMAYwByAGkAcAB0-").replace("!x-usc", "+ACE-x");
        check(seven.as_bytes(), &[OBJECT]);
        check((declared("UTF-8") + "<Relationships/>").as_bytes(), &[]);
    }
    for mark in ["", "\u{feff}"] {
        let text = format!("{mark}<?xml version='1.0'?>{}", relations("script"));
        let letters = || text.chars().map(u32::from);
        check(
            &letters().flat_map(u32::to_le_bytes).collect::<Vec<u8>>(),
            &[OBJECT],
        );
        check(
            &letters().flat_map(u32::to_be_bytes).collect::<Vec<u8>>(),
            &[OBJECT],
        );
    }
}

#[test]
fn a_document_of_one_file_is_found_behind_any_comments() {
    let relation = "<Relationship Type=\"a/oleObject\" Target=\"script:http://a.example\" TargetMode=\"External\"/>";
    let package = |before: &str| {
        format!(
            "{before}<pkg:package xmlns:pkg=\"http://schemas.microsoft.com/office/2006/xmlPackage\"><pkg:part><pkg:xmlData>{relation}</pkg:xmlData></pkg:part></pkg:package>"
        )
    };
    for before in [
        String::new(),
        "<!-- a -->\n".repeat(17),
        "<!-- a -->".repeat(1000),
        format!("<!-- {} -->", "x".repeat(9000)),
        format!(" <?a {}?>", "x".repeat(9000)),
    ] {
        let document = package(&before);
        let rules = refused("a.doc", document.as_bytes());
        assert_eq!(rules, [OBJECT], "{before:.40}");
    }
}

#[test]
fn relations_kept_in_base64_are_read() {
    use base64::Engine;
    let relations = "<Relationships xmlns=\"x\"><Relationship Type=\"a/oleObject\" Target=\"script:http://a.example\" TargetMode=\"External\"/></Relationships>";
    let letters = base64::engine::general_purpose::STANDARD.encode(relations);
    let document = format!(
        "<?xml version='1.0'?><pkg:package><pkg:part pkg:name='/word/_rels/settings.xml.rels'><pkg:binaryData>{letters}</pkg:binaryData></pkg:part></pkg:package>"
    );
    assert_eq!(refused("a.doc", document.as_bytes()), [OBJECT]);
}

#[test]
fn links_of_workbooks_of_before_97_start_no_program() {
    // Excel 5 and 95: a link is one record in the book or in a sheet, its length in an octet.
    let link = |text: &str| {
        let length = u8::try_from(text.len()).unwrap();
        let body = [&[length], text.as_bytes()].concat();
        let size = u16::try_from(body.len()).unwrap().to_le_bytes();
        [b"\x17\0".as_slice(), &size, &body].concat()
    };
    let begin = b"\x09\x08\x08\0\0\x05\x05\0\0\0\0\0".as_slice();
    let end = b"\x0a\0\0\0".as_slice();
    let check = |text: &str, rules: &[&str]| {
        let in_book = [begin, &link(text), end].concat();
        let in_sheet = [begin, end, begin, &link(text), end].concat();
        for stream in [in_book, in_sheet] {
            let file = build::compound(&[("Book", &stream)]);
            assert_eq!(refused("a.xls", &file), rules, "{text:?}");
        }
    };
    check("cmd\u{3}/c calc", &[DDE]);
    check(
        "MSEXCEL\u{3}\\..\\..\\Windows\\System32\\cmd.exe /c calc",
        &[DDE],
    );
    check("Excel\u{3}C:\\a\\[Book2.xls]Sheet1", &[]);
    check("\u{3}Sheet2", &[]);
    check("\u{1}[Book2.xls]Sheet1", &[]);
}
