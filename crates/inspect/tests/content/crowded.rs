//! What hid behind limits, and behind what is harmless.

use mailkeep_inspect::Level;

use crate::build;
use crate::office::{BASE, WORD};
use crate::refusing;

const BINARY: &str = "application/octet-stream";

/// What is refused at the default level.
fn refused(name: &str, octets: &[u8]) -> Vec<String> {
    refusing(name, BINARY, octets, Level::Default)
}

fn relation(kind: &str, target: &str) -> String {
    format!("<Relationship Type=\"{BASE}/{kind}\" Target=\"{target}\" TargetMode=\"External\"/>")
}

fn relations(all: &str) -> Vec<u8> {
    let part = format!("<Relationships>{all}</Relationships>");
    build::ooxml(&[("word/_rels/a.rels", part.as_bytes())])
}

#[test]
fn what_is_noticed_only_crowds_out_nothing_that_is_refused() {
    let template = relation("attachedTemplate", "http://a.example/b").repeat(9);
    let object = relation(
        "oleObject",
        "mhtml:http://a.example/b!x-usc:http://a.example",
    );
    let all = format!("{template}{object}");
    assert_eq!(
        refused("a.docx", &relations(&all)),
        ["office-object-external"]
    );
    let broken = format!("{all}<a <");
    assert_eq!(
        refused("a.docx", &relations(&broken)),
        ["office-object-external"]
    );
    let mut others = template;
    others.push_str(
        "<hlinkClick action='ppaction://program'/><ddeLink ddeService='cmd' ddeTopic='/c'/>",
    );
    assert_eq!(
        refused("a.docx", &relations(&others)),
        ["office-dde", "office-program-link"]
    );
}

/// A record of a workbook.
fn record(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    let head = [kind.to_le_bytes(), length.to_le_bytes()].concat();
    [&head, body].concat()
}

/// Records FORMAT (MS-XLS 2.4.126), one for each text.
fn workbook<'t>(formats: impl Iterator<Item = &'t str>) -> Vec<u8> {
    let mut stream = record(0x809, b"\0\x06\x05\0\0\0\0\0");
    for format in formats {
        let length = u16::try_from(format.len()).unwrap().to_le_bytes();
        let body = [&[0xa4, 0], &length[..], &[0], format.as_bytes()];
        stream.extend(record(0x41e, &body.concat()));
    }
    build::compound(&[("Workbook", &stream)])
}

#[test]
fn code_in_a_number_format_is_found_in_every_form_of_a_record() {
    const CODE: &str = "[>123;system('id')]0";
    let wide: Vec<u8> = CODE.bytes().flat_map(|octet| [octet, 0]).collect();
    let plain = CODE.as_bytes();
    let begin = |version: &[u8]| record(0x809, &[version, b"\x05\0\0\0\0\0"].concat());
    let (later, old) = (begin(b"\0\x06"), begin(b"\0\x05"));
    let format = |head: &[u8], text: &[u8]| record(0x41e, &[&[0xa4, 0], head, text].concat());
    let sheet = [record(0x0a, b""), later.clone()].concat();
    for (case, stream) in [
        ("Excel 5", [old.clone(), format(&[20], plain)].concat()),
        ("wide", [later.clone(), format(&[20, 0, 1], &wide)].concat()),
        (
            "a reserved flag",
            [later.clone(), format(&[20, 0, 3], &wide)].concat(),
        ),
        (
            "rich",
            [later.clone(), format(&[20, 0, 9, 1, 0], &wide)].concat(),
        ),
        (
            "in a sheet",
            [later.clone(), sheet, format(&[20, 0, 0], plain)].concat(),
        ),
        (
            "old, later on",
            [later, record(0x0a, b""), old, format(&[20], plain)].concat(),
        ),
    ] {
        let all = build::compound(&[("Workbook", &stream)]);
        assert_eq!(refused("a.xls", &all), ["office-code-format"], "{case}");
    }
}

#[test]
fn a_workbook_without_a_file_around_it_is_judged_as_one() {
    let begin = |kind: u16, body: &[u8]| record(kind, body);
    let end = record(0x0a, &[]);
    let check =
        |records: &[&[u8]]| refused("a.xls", &[&records.concat(), &end[..], &[0; 64]].concat());
    let sheet = "office-macro-sheet";
    // Of Excel 2, 3, 4, 5 and 97: a sheet of macros, and one of numbers.
    for (kind, length) in [(0x009, 4), (0x209, 6), (0x409, 6), (0x809, 8), (0x809, 16)] {
        let body = |what: u8| [&[0, 5, what, 0][..], &[0; 12]].concat()[..length].to_vec();
        assert_eq!(check(&[&begin(kind, &body(0x40))]), [sheet], "{kind:x}");
        assert_eq!(check(&[&begin(kind, &body(0x10))]), [""; 0], "{kind:x}");
        let link = [&[9][..], b"cmd\x03/c ca"].concat();
        let link = begin(0x17, &link);
        assert_eq!(
            check(&[&begin(kind, &body(0x10)), &link]),
            ["office-dde"],
            "{kind:x}"
        );
    }
    let book = begin(0x409, &[0, 4, 0, 1, 0, 0]);
    let format = begin(0x41e, b"\0\0\x14[>123;system('id')]0");
    assert_eq!(check(&[&book, &format]), ["office-code-format"]);
    let macros = begin(0x409, &[0, 4, 0x40, 0, 0, 0]);
    assert_eq!(check(&[&book, &macros]), [sheet]);
    // Octets that only begin so.
    assert_eq!(refused("a.xls", b"\x09\x08\x08\0 a\tb\tc\r\n"), [""; 0]);
}

#[test]
fn code_behind_a_long_number_is_no_number() {
    for blanks in [10, 300, 5000] {
        let format = format!("[>1{};system('id')]0", " ".repeat(blanks));
        let old = workbook([format.as_str()].into_iter());
        assert_eq!(refused("a.xls", &old), ["office-code-format"], "{blanks}");
        let styles = format!("<numFmt formatCode=\"{}\"/>", format.replace('>', "&gt;"));
        let new = build::ooxml(&[("xl/styles.xml", styles.as_bytes())]);
        assert_eq!(refused("a.xlsx", &new), ["office-code-format"], "{blanks}");
    }
}

#[test]
fn code_in_a_number_format_is_found_however_many_stand_before_it() {
    let honest = format!("[>100]{}", "0".repeat(2000));
    for before in [0, 1, 520, 1100] {
        let others = std::iter::repeat_n(honest.as_str(), before);
        let all = workbook(others.chain(["[>123;system('id')]0"]));
        assert_eq!(
            refused("a.xls", &all),
            ["office-code-format"],
            "{before} before it"
        );
    }
    let honest = workbook(std::iter::repeat_n(honest.as_str(), 1100));
    assert_eq!(refused("a.xls", &honest), Vec::<String>::new());
}

#[test]
fn a_formula_that_asks_by_dde_is_found_however_many_stand_before_it() {
    let check = |formula: &str| {
        let cell = format!(
            "<office:document-content><a table:formula='of:={formula}'/></office:document-content>"
        );
        refused("a.ods", &build::odf(&[("content.xml", &cell)]))
    };
    let honest = "DDE(\"soffice\";\"b\";\"c\")+".repeat(9);
    assert_eq!(check(&format!("{honest}1")), [""; 0]);
    assert_eq!(
        check("DDE(\"soffice\" ; \"b\"; \"c\") + ADDER(1)+DDES"),
        [""; 0]
    );
    for honest in [
        "[.A1]&amp;\" dde (old)\"",
        "\"a \"\"dde(b)\"\"\"",
        "my_dde([.A1])",
        "COM.X.DDE(1)",
    ] {
        assert_eq!(check(honest), [""; 0], "{honest}");
    }
    assert_eq!(check("\"a\"&amp;DDE([.A1])"), ["office-dde"]);
    for call in [
        "DDE(\"cmd\";\"/C calc\";\"a\")",
        "DDE (\"cmd\";\"/C calc\";\"a\")",
        "DDE( \"cmd\" ;\"/C calc\";\"a\")",
        "DDE(\"c\"&amp;\"md\";\"/C calc\";\"a\")",
        "DDE([.A1];\"/C calc\";\"a\")",
    ] {
        assert_eq!(check(&format!("{honest}{call}")), ["office-dde"], "{call}");
    }
}

fn rich(text: &str) -> Vec<u8> {
    format!("{{\\rtf1\\ansi\\uc1 Hello {text}}}").into_bytes()
}

#[test]
fn templates_of_rich_text_are_looked_at_however_many_there_are() {
    let mut text = "{\\*\\template C:\\\\a.dotx}".repeat(9);
    assert_eq!(refused("a.rtf", &rich(&text)), [""; 0]);
    text.push_str("{\\*\\template mhtml:http://a.example/b!x-usc:http://a}");
    assert_eq!(refused("a.rtf", &rich(&text)), ["office-object-external"]);
}

#[test]
fn of_two_texts_in_rich_text_each_is_read() {
    for text in [
        "{\\field{\\*\\fldinst {\\upr{XE }{\\*\\ud{DDEAUTO }}} c:\\\\a}}",
        "{\\field{\\*\\fldinst {\\upr{DDEAUTO }{\\*\\ud{XE }}} c:\\\\a}}",
        "{\\field{\\*\\fldinst IF 1=1 {\\shp{\\*\\shpinst{\\shptxt {\\field{\\*\\fldinst DDEAUTO c:\\\\a}}}}} }}",
    ] {
        assert_eq!(refused("a.rtf", &rich(text)), ["office-dde"], "{text}");
    }
    let honest = "{\\field{\\*\\fldinst {\\upr{PAGE }{\\*\\ud{PAGE }}}}}";
    assert_eq!(refused("a.rtf", &rich(honest)), [""; 0]);
}

#[test]
fn fields_that_lie_too_deep_in_rich_text_are_a_limit() {
    let nested = |count: usize| {
        let mut text = "{\\field{\\*\\fldinst XE ".repeat(count);
        text.push_str("{\\field{\\*\\fldinst DDEAUTO c:\\\\a}}");
        refused("a.rtf", &rich(&text))
    };
    assert_eq!(nested(98), ["office-dde"]);
    assert_eq!(nested(150), ["limit-readings"]);
}

#[test]
fn a_simple_field_within_an_instruction_is_part_of_it() {
    let mark = |kind: &str| format!("<w:fldChar w:fldCharType=\"{kind}\"/>");
    let (begin, end) = (mark("begin"), mark("end"));
    let text = |text: &str| format!("<w:instrText>{text}</w:instrText>");
    let simple = |text: &str| format!("<w:fldSimple w:instr=\"{text}\"/>");
    let quoted = format!("{begin}{}{end}", text("QUOTE 0x44 0x44 0x45"));
    for inner in [
        format!("{}{}{}", text("DDE "), simple("REF a"), text(" a")),
        format!("{}{}", simple("QUOTE 68 68 69"), text("AUTO a")),
        format!("{quoted}{}", text("AUTO a")),
    ] {
        let part = format!("<w:document {WORD}>{begin}{inner}{end}</w:document>");
        let document = build::ooxml(&[("word/document.xml", part.as_bytes())]);
        assert_eq!(refused("a.docx", &document), ["office-dde"], "{inner}");
    }
    let honest = format!("{begin}{}{}{end}", text("IF "), simple("REF a"));
    let part = format!("<w:document {WORD}>{honest}</w:document>");
    assert_eq!(
        refused(
            "a.docx",
            &build::ooxml(&[("word/document.xml", part.as_bytes())])
        ),
        [""; 0]
    );
}

#[test]
fn a_page_that_speaks_of_instructions_reaches_no_limit() {
    let page = format!(
        "<html><body>Formula <br>{}</body>",
        "instructions ".repeat(20_001)
    );
    let archive = build::zip(&[build::Entry::new("a.html", page.as_bytes())]);
    assert_eq!(refused("a.zip", &archive), [""; 0]);
}
