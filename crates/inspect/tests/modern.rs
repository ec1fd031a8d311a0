//! Honest mail of today passes: messages as mail programs write them, with the attachments people send.
//!
//! Every kind of attachment in the manner of every mail program, and what else honest mail is made of: invitations,
//! signatures, encryption, forwarded messages, mailing lists, reports, names in many alphabets. None is refused.
#![allow(
    clippy::cast_possible_truncation,
    clippy::format_collect,
    clippy::unwrap_used,
    reason = "lists of messages; a test stops at the first surprise"
)]

mod mail;

use std::collections::BTreeSet;

use mail::{TEXT, TOP, base64, based, crc32, lines, zip};
use mailkeep_inspect::{Pieces, Profile, Verdict, judge};

struct File {
    name: String,
    kind: &'static str,
    octets: Vec<u8>,
}

fn file(name: &str, kind: &'static str, octets: impl Into<Vec<u8>>) -> File {
    File {
        name: name.to_owned(),
        kind,
        octets: octets.into(),
    }
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    let size = u16::try_from(octets.len()).unwrap();
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    out.extend(size.to_le_bytes());
    out.extend((!size).to_le_bytes());
    out.extend(octets);
    out.extend(crc32(octets).to_le_bytes());
    out.extend(u32::from(size).to_le_bytes());
    out
}

fn tar(name: &str, octets: &[u8]) -> Vec<u8> {
    let mut head = vec![0_u8; 512];
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[100..108].copy_from_slice(b"0000644\0");
    head[108..116].copy_from_slice(b"0000000\0");
    head[116..124].copy_from_slice(b"0000000\0");
    head[124..136].copy_from_slice(format!("{:011o}\0", octets.len()).as_bytes());
    head[136..148].copy_from_slice(b"00000000000\0");
    head[148..156].copy_from_slice(b"        ");
    head[156] = b'0';
    head[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = head.iter().map(|octet| u32::from(*octet)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = head;
    out.extend(octets);
    out.resize(out.len().next_multiple_of(512) + 1024, 0);
    out
}

fn png() -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        out.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        let both = [kind, data].concat();
        out.extend(&both);
        out.extend(crc32(&both).to_be_bytes());
    };
    chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0]);
    chunk(
        b"IDAT",
        &[0x78, 1, 1, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 4, 0, 1],
    );
    chunk(b"IEND", &[]);
    out
}

fn jpeg() -> Vec<u8> {
    let mut out =
        b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xdb\0\x43\0".to_vec();
    out.extend((0..64).map(|n| n + 1));
    out.extend((0..600_u32).map(|n| (n * 7 % 251) as u8));
    out.extend(b"\xff\xd9");
    out
}

fn pdf() -> Vec<u8> {
    b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [3 0 R] \
/Count 1 >>\nendobj\n3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>\nendobj\nxref\n0 4\n0000000000 65535 f \n\
0000000015 00000 n \n0000000064 00000 n \n0000000121 00000 n \ntrailer\n<< /Size 4 /Root 1 0 R >>\nstartxref\n191\n%%EOF\n"
        .to_vec()
}

const TYPES: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"><Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/><Default Extension=\"xml\" ContentType=\"application/xml\"/></Types>";
const RELATIONS: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"rId1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument\" Target=\"word/document.xml\"/></Relationships>";
const LINKS: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"rId4\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/hyperlink\" Target=\"https://example.net/\" TargetMode=\"External\"/></Relationships>";

fn office(part: &str, xml: &[u8]) -> Vec<u8> {
    let folder = part.split('/').next().unwrap();
    let relations = format!("{folder}/_rels/document.xml.rels");
    zip(&[
        ("[Content_Types].xml", TYPES),
        ("_rels/.rels", RELATIONS),
        (part, xml),
        (&relations, LINKS),
        ("docProps/app.xml", b"<Properties/>"),
    ])
}

fn odf(kind: &str) -> Vec<u8> {
    zip(&[
        ("mimetype", kind.as_bytes()),
        (
            "content.xml",
            b"<?xml version=\"1.0\"?><office:document-content/>",
        ),
        (
            "META-INF/manifest.xml",
            b"<?xml version=\"1.0\"?><manifest:manifest/>",
        ),
    ])
}

/// A message of Outlook in its own format: a subject class, and one attachment.
fn tnef(name: &str, octets: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x9f, 0x3e, 0x22, 0x01, 0x00];
    let mut attribute = |level: u8, id: u32, data: &[u8]| {
        out.push(level);
        out.extend(id.to_le_bytes());
        out.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        out.extend(data);
        let sum = data
            .iter()
            .fold(0_u16, |sum, octet| sum.wrapping_add(u16::from(*octet)));
        out.extend(sum.to_le_bytes());
    };
    attribute(1, 0x0008_9006, &[0, 0, 1, 0]);
    attribute(1, 0x0006_9007, &[0xe4, 4, 0, 0, 0, 0, 0, 0]);
    attribute(1, 0x0007_8008, b"IPM.Microsoft Mail.Note\0");
    let mut rendering = vec![1, 0];
    rendering.extend([0xff; 4]);
    rendering.extend([0; 8]);
    attribute(2, 0x0006_9002, &rendering);
    attribute(2, 0x0001_8010, &[name.as_bytes(), b"\0"].concat());
    attribute(2, 0x0006_800f, octets);
    out
}

const CALENDAR: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1@example.net\r\n\
DTSTAMP:20261121T100000Z\r\nDTSTART:20261201T090000Z\r\nDTEND:20261201T100000Z\r\nSUMMARY:Review of the quarter\r\n\
ORGANIZER;CN=Ada:mailto:ada@example.net\r\nATTENDEE;RSVP=TRUE;CN=\"Grace\":mailto:grace@example.org\r\n\
X-MICROSOFT-CDO-BUSYSTATUS:TENTATIVE\r\nBEGIN:VALARM\r\nTRIGGER:-PT15M\r\nACTION:DISPLAY\r\nDESCRIPTION:Reminder\r\nEND:VALARM\r\n\
END:VEVENT\r\nEND:VCALENDAR\r\n";

const CARD: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Lovelace;Ada;;;\r\nFN:Ada Lovelace\r\nEMAIL:ada@example.net\r\nEND:VCARD\r\n";

const HTML: &str = "<!DOCTYPE html>\r\n<html><head><style>p { color: #333; }</style></head><body><p>Hello,</p><p>here it \
is: <a href=\"https://example.net/?a=1&amp;b=2\">link</a></p><img src=\"cid:logo@example.net\" width=\"10\"></body></html>\r\n";

fn files() -> Vec<File> {
    let docx = office("word/document.xml", b"<w:document/>");
    vec![
        file("Invoice 2026-11.pdf", "application/pdf", pdf()),
        file("report.2026.11.21.pdf", "application/pdf", pdf()),
        file("Contract v1.2 (final).docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", docx.clone()),
        file("minutes.v2.final.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", docx.clone()),
        file("Budget.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", office("xl/workbook.xml", b"<workbook/>")),
        file("Slides.pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation", office("ppt/presentation.xml", b"<p:presentation/>")),
        file("letter.odt", "application/vnd.oasis.opendocument.text", odf("application/vnd.oasis.opendocument.text")),
        file("table.ods", "application/vnd.oasis.opendocument.spreadsheet", odf("application/vnd.oasis.opendocument.spreadsheet")),
        file("book.epub", "application/epub+zip", odf("application/epub+zip")),
        file("logo.png", "image/png", png()),
        file("DSC_0001.JPG", "image/jpeg", jpeg()),
        file("photos from the summer.zip", "application/zip", zip(&[("a.jpg", &jpeg()), ("b.jpg", &jpeg()), ("notes.txt", b"two pictures\r\n")])),
        file("documents.zip", "application/x-zip-compressed", zip(&[("Folder/letter.docx", &docx), ("Folder/invoice.pdf", &pdf())])),
        file("export.csv", "text/csv", "name;amount\r\nAda;1,50\r\nGrace;2,75\r\n"),
        file("com.example.export.csv", "text/csv", "name,amount\r\nAda,1.50\r\n"),
        file("invite.ics", "text/calendar", CALENDAR),
        file("Ada Lovelace.vcf", "text/vcard", CARD),
        file("server.log.gz", "application/gzip", gzip(b"Nov 21 10:00:00 host postfix/smtpd[1]: connect from mail.example.net\n")),
        file("backup.tar.gz", "application/x-gzip", gzip(&tar("notes/readme.txt", b"some notes\n"))),
        file("notes.tar", "application/x-tar", tar("notes/readme.txt", b"some notes\n")),
        file("notes.txt", "text/plain", "Some notes.\r\n\r\nMore of them.\r\n"),
        file("README.md", "text/markdown", "# Notes\r\n\r\n```sh\r\nls\r\n```\r\n"),
        file("data.json", "application/json", "{\"a\": [1, 2, 3]}\n"),
        file("feed.xml", "application/xml", "<?xml version=\"1.0\"?>\n<feed><entry/></feed>\n"),
        file("fix.patch", "text/x-patch", "--- a/main.c\n+++ b/main.c\n@@ -1 +1 @@\n-int main(void);\n+int main(int argc, char **argv);\n"),
        file("statement.html", "text/html", HTML),
        file("drawing.svg", "image/svg+xml", "<svg xmlns=\"http://www.w3.org/2000/svg\"><rect width=\"1\" height=\"1\"/></svg>\n"),
        file("voice.mp3", "audio/mpeg", [&b"ID3\x04\0\0\0\0\0\x0a"[..], &[0; 10], &[0xff, 0xfb, 0x90, 0], &[0x55; 400]].concat()),
        file("clip.mp4", "video/mp4", [&b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\x08mdat"[..], &[0x11; 300]].concat()),
        file("voicemail.wav", "audio/wav", [&b"RIFF\x24\x01\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\0\x01\0\0"[..], &[0x80; 256]].concat()),
        file("letter.rtf", "application/rtf", "{\\rtf1\\ansi\\deff0{\\fonttbl{\\f0 Times;}}\\f0\\fs24 Dear Ada,\\par}\r\n"),
        file("original message.eml", "message/rfc822", format!("{TOP}Content-Type: text/plain\r\n\r\nThe original.\r\n")),
        file("key.asc", "application/pgp-keys", format!("-----BEGIN PGP PUBLIC KEY BLOCK-----\r\n\r\n{}=abcd\r\n-----END PGP PUBLIC KEY BLOCK-----\r\n", based(&noise(300)))),
        file("certificate.pem", "application/x-pem-file", format!("-----BEGIN CERTIFICATE-----\r\n{}-----END CERTIFICATE-----\r\n", lines(&base64(&[&[0x30, 0x82, 1, 0x20][..], &noise(288)].concat()), 64))),
        file("track.gpx", "application/gpx+xml", "<?xml version=\"1.0\"?>\n<gpx version=\"1.1\"><trk/></gpx>\n"),
        file("empty.txt", "text/plain", ""),
    ]
}

/// Octets without a pattern.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 11) as u8
        })
        .collect()
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|octet| match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
                char::from(octet).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// How mail programs write the headers of an attachment.
const MANNERS: [&str; 6] = ["outlook", "gmail", "apple", "thunderbird", "mutt", "octets"];

fn attached(file: &File, manner: &str) -> String {
    let File { name, kind, octets } = file;
    let body = based(octets);
    let word = format!("=?UTF-8?B?{}?=", base64(name.as_bytes()));
    let coded = percent(name);
    let headers = match manner {
        "outlook" => format!(
            "Content-Type: {kind}; name=\"{name}\"\r\nContent-Description: {name}\r\nContent-Disposition: attachment; filename=\"{name}\"; \
             size={};\r\n\tcreation-date=\"Sat, 21 Nov 2026 09:00:00 GMT\";\r\n\tmodification-date=\"Sat, 21 Nov 2026 09:00:01 GMT\"\r\n\
             Content-Transfer-Encoding: base64\r\n",
            octets.len()
        ),
        "gmail" => format!(
            "Content-Type: {kind}; name=\"{name}\"\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
             Content-Transfer-Encoding: base64\r\nContent-ID: <f_abc1>\r\nX-Attachment-Id: f_abc1\r\n"
        ),
        "apple" => format!(
            "Content-Disposition: attachment;\r\n\tfilename*=utf-8''{coded}\r\nContent-Type: {kind};\r\n\tx-unix-mode=0644;\r\n\
             \tname=\"{word}\"\r\nContent-Transfer-Encoding: base64\r\n"
        ),
        "thunderbird" => {
            let middle = coded
                .char_indices()
                .map(|(at, _)| at)
                .filter(|at| *at >= coded.len() / 2)
                .find(|at| !coded[..*at].ends_with('%') && !coded[..at - 1].ends_with('%'))
                .unwrap();
            format!(
                "Content-Type: {kind};\r\n name=\"{word}\"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n \
                 filename*0*=UTF-8''{};\r\n filename*1*={}\r\n",
                &coded[..middle],
                &coded[middle..]
            )
        }
        "mutt" => format!(
            "Content-Type: {kind}\r\nContent-Disposition: attachment; filename=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n"
        ),
        _ => format!(
            "Content-Type: application/octet-stream; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: \
             attachment; filename=\"{name}\"\r\n"
        ),
    };
    format!("{headers}\r\n{body}")
}

fn mixed(parts: &[&str]) -> String {
    let inner: String = parts
        .iter()
        .map(|part| format!("--=_Part_1_x.y\r\n{part}\r\n"))
        .collect();
    format!(
        "{TOP}Content-Type: multipart/mixed;\r\n\tboundary=\"=_Part_1_x.y\"\r\n\r\nThis is a message in parts.\r\n{inner}--=_Part_1_x.y--\r\n"
    )
}

fn names() -> Vec<String> {
    let kind = "Content-Type: application/pdf";
    let body = based(&pdf());
    let mut made: Vec<String> = [
        "R\u{e9}sum\u{e9}.pdf",
        "Rechnung f\u{fc}r M\u{e4}rz.pdf",
        "\u{8acb}\u{6c42}\u{66f8}.pdf",
        "\u{441}\u{447}\u{451}\u{442}.pdf",
        "\u{5d7}\u{5e9}\u{5d1}\u{5d5}\u{5e0}\u{5d9}\u{5ea}.pdf",
        "\u{641}\u{627}\u{62a}\u{648}\u{631}\u{629}.pdf",
        "\u{d55c}\u{ad6d}\u{c5b4}.pdf",
        "\u{3c4}\u{3b9}\u{3bc}\u{3bf}.pdf",
        "\u{1f600} party.pdf",
        "O'Brien & Sons.pdf",
        "50% off.pdf",
        "a;b.pdf",
        "100 % (neu) #1.pdf",
    ]
    .iter()
    .flat_map(|name| {
        let file = file(name, "application/pdf", pdf());
        ["apple", "thunderbird", "gmail"].map(|manner| mixed(&[TEXT, &attached(&file, manner)]))
    })
    .collect();
    for disposition in [
        "attachment; filename=\"=?iso-8859-1?Q?R=E9sum=E9=2Epdf?=\"",
        "attachment;\r\n filename=\"=?iso-2022-jp?B?GyRCQEE1YT1xGyhC?=.pdf\"",
        "attachment; filename==?windows-1251?B?8ffl8i5wZGY=?=",
        "attachment; filename=\"=?utf-8?Q?A_very_long_name_that_goes_on_and?=\r\n =?utf-8?Q?_on_and_on=2Epdf?=\"",
        "attachment; filename*=iso-8859-1'en'R%E9sum%E9.pdf",
        "attachment; filename=\"Resume.pdf\"; filename*=utf-8''R%C3%A9sum%C3%A9.pdf",
        "attachment; filename=\"a long name that is folded\r\n  in the middle.pdf\"",
        "attachment; filename=Invoice_2026.pdf;",
        "attachment; filename=my invoice.pdf",
        "attachment; filename=invoice(1).pdf",
        "inline; filename=\"a.b.c.pdf\"",
        "ATTACHMENT; FILENAME=\"INVOICE.PDF\"",
        "attachment; filename=\"\\\"quoted\\\" name.pdf\"",
        "attachment; filename=\"R\u{e9}sum\u{e9}.pdf\"",
        "attachment; filename*0=\"a name in \"; filename*1=\"two pieces.pdf\"",
    ] {
        made.push(mixed(&[
            TEXT,
            &format!("{kind}\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: {disposition}\r\n\r\n{body}"),
        ]));
    }
    made
}

fn structures() -> Vec<String> {
    let alternative = format!(
        "Content-Type: multipart/alternative; boundary=\"alt\"\r\n\r\n--alt\r\n{TEXT}\r\n--alt\r\nContent-Type: text/html; \
         charset=\"utf-8\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{HTML}\r\n--alt--\r\n"
    );
    let image = format!(
        "Content-Type: image/png; name=\"image001.png\"\r\nContent-ID: <logo@example.net>\r\nContent-Disposition: inline; \
         filename=\"image001.png\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        based(&png())
    );
    let related = format!(
        "Content-Type: multipart/related; boundary=\"rel\"; type=\"text/html\"; start=\"<1@x>\"\r\n\r\n--rel\r\nContent-Type: text/html\r\n\
         Content-ID: <1@x>\r\n\r\n{HTML}\r\n--rel\r\n{image}\r\n--rel--\r\n"
    );
    let attachment = attached(&file("Invoice.pdf", "application/pdf", pdf()), "gmail");
    let signature = based(
        &[
            &[
                0x30, 0x82, 1, 0x20, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2,
            ][..],
            &noise(280),
        ]
        .concat(),
    );
    let enveloped = based(
        &[
            &[
                0x30, 0x82, 1, 0x20, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 3,
            ][..],
            &noise(280),
        ]
        .concat(),
    );
    let forwarded = format!(
        "Content-Type: message/rfc822\r\n\r\n{}",
        mixed(&[TEXT, &attachment])
    );
    let report = |kind: &str, fields: &str| {
        format!(
            "{TOP}Content-Type: multipart/report; report-type={kind}; boundary=\"rep\"\r\n\r\n--rep\r\n{TEXT}\r\n--rep\r\nContent-Type: \
             message/{kind}\r\n\r\n{fields}\r\n--rep\r\nContent-Type: text/rfc822-headers\r\n\r\nFrom: ada@example.net\r\nSubject: x\r\n\
             Content-Type: multipart/mixed; boundary=\"gone\"\r\n\r\n--rep--\r\n"
        )
    };
    let footer = "_______________________________________________\r\nlist mailing list\r\nlist@example.org\r\nhttps://lists.example.org/\r\n";
    let quoted_message = mixed(&[TEXT, &attachment])
        .lines()
        .map(|line| format!("> {line}\r\n"))
        .collect::<String>();
    let mut made = vec![
        format!("{TOP}\r\nPlain.\r\n"),
        format!("{TOP}Content-Type: text/plain\r\n\r\n"),
        format!(
            "{TOP}Content-Type: text/plain; charset=us-ascii; format=flowed; delsp=yes\r\n\r\nA flowed \r\ntext. \r\n-- \r\nAda\r\n"
        ),
        format!(
            "{TOP}Content-Type: text/plain; charset=\"utf-8\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe =\r\nan alle=20\r\n=3D=3D\r\n"
        ),
        format!(
            "{TOP}Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nhttp://example.net/?a=b&c=d and 100=%\r\n"
        ),
        format!(
            "{TOP}Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
            based("Gr\u{fc}\u{df}e\r\n".as_bytes())
        ),
        format!(
            "{TOP}Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n{footer}",
            based(b"A text to a list\r\n")
        ),
        format!(
            "{TOP}Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\u{1b}$B@A5a=q\u{1b}(B\r\n"
        ),
        format!("{TOP}Content-Type: text/html; charset=utf-8\r\n\r\n{HTML}"),
        format!(
            "{TOP}Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
            based(HTML.as_bytes())
        ),
        format!("{TOP}{alternative}"),
        format!("{TOP}{related}"),
        mixed(&[&alternative, &attachment]),
        mixed(&[&related, &attachment, &image]),
        format!(
            "{TOP}Content-Type: multipart/alternative; boundary=\"a\"\r\n\r\n--a\r\n{TEXT}\r\n--a\r\n{related}\r\n--a--\r\n"
        ),
        // Invitations.
        format!(
            "{TOP}Content-Type: text/calendar; method=REQUEST; charset=utf-8\r\n\r\n{CALENDAR}"
        ),
        format!(
            "{TOP}Content-Type: multipart/alternative; boundary=\"a\"\r\n\r\n--a\r\n{TEXT}\r\n--a\r\nContent-Type: text/html\r\n\r\n{HTML}\r\n--a\r\nContent-Type: text/calendar; charset=\"utf-8\"; method=REQUEST\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n--a--\r\n",
            based(CALENDAR.as_bytes())
        ),
        mixed(&[
            &alternative,
            &attached(&file("invite.ics", "application/ics", CALENDAR), "gmail"),
        ]),
        format!(
            "{TOP}Content-Type: text/calendar; method=REPLY; name=\"meeting.ics\"\r\nContent-Transfer-Encoding: 8bit\r\nContent-Class: urn:content-classes:calendarmessage\r\n\r\n{}",
            CALENDAR.replace("REQUEST", "REPLY")
        ),
        // Signed, encrypted.
        format!(
            "{TOP}Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=\"----ABCDEF\"\r\n\r\nThis is an S/MIME signed message\r\n\r\n------ABCDEF\r\n{alternative}\r\n------ABCDEF\r\nContent-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"smime.p7s\"\r\n\r\n{signature}\r\n------ABCDEF--\r\n"
        ),
        format!(
            "{TOP}Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=\"smime.p7m\"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"smime.p7m\"\r\n\r\n{enveloped}"
        ),
        format!(
            "{TOP}Content-Type: application/x-pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\n{signature}"
        ),
        format!(
            "{TOP}Content-Type: multipart/signed; micalg=pgp-sha512; protocol=\"application/pgp-signature\"; boundary=\"sig\"\r\n\r\n--sig\r\n{TEXT}\r\n--sig\r\nContent-Type: application/pgp-signature; name=\"signature.asc\"\r\nContent-Description: OpenPGP digital signature\r\nContent-Disposition: attachment; filename=\"signature.asc\"\r\n\r\n-----BEGIN PGP SIGNATURE-----\r\n\r\n{}=abcd\r\n-----END PGP SIGNATURE-----\r\n\r\n--sig--\r\n",
            lines(&base64(&noise(200)), 64)
        ),
        format!(
            "{TOP}Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=\"enc\"\r\n\r\n--enc\r\nContent-Type: application/pgp-encrypted\r\nContent-Description: PGP/MIME version identification\r\n\r\nVersion: 1\r\n\r\n--enc\r\nContent-Type: application/octet-stream; name=\"encrypted.asc\"\r\nContent-Disposition: inline; filename=\"encrypted.asc\"\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n\r\n{}=abcd\r\n-----END PGP MESSAGE-----\r\n\r\n--enc--\r\n",
            lines(&base64(&noise(900)), 64)
        ),
        format!(
            "{TOP}\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA512\r\n\r\nHello\r\n-----BEGIN PGP SIGNATURE-----\r\n\r\n{}=abcd\r\n-----END PGP SIGNATURE-----\r\n",
            lines(&base64(&noise(200)), 64)
        ),
        format!(
            "{TOP}Content-Type: multipart/mixed; boundary=\"x\"; protected-headers=\"v1\"\r\n\r\n--x\r\nContent-Type: text/plain; protected-headers=\"v1\"\r\nSubject: Files\r\n\r\nHello\r\n--x--\r\n"
        ),
        // Forwarded.
        mixed(&[TEXT, &forwarded]),
        mixed(&[TEXT, &forwarded, &forwarded]),
        mixed(&[
            TEXT,
            &format!(
                "Content-Type: message/rfc822; name=\"Fwd.eml\"\r\nContent-Disposition: attachment; filename=\"Fwd.eml\"\r\n\r\n{}",
                mixed(&[&alternative])
            ),
        ]),
        format!("{TOP}Content-Type: message/rfc822\r\n\r\n{TOP}\r\nThe original.\r\n"),
        format!("{TOP}\r\nSee below.\r\n\r\n{quoted_message}"),
        format!(
            "{TOP}\r\n-------- Forwarded Message --------\r\nSubject: x\r\nDate: today\r\nFrom: Ada <ada@example.net>\r\n\r\nThe original.\r\n"
        ),
        format!(
            "{TOP}Content-Type: multipart/digest; boundary=\"dig\"\r\n\r\n--dig\r\n\r\n{TOP}\r\nOne.\r\n--dig\r\n\r\n{TOP}\r\nTwo.\r\n--dig--\r\n"
        ),
        // Lists.
        format!("{}\r\n{footer}", mixed(&[TEXT, &attachment])),
        mixed(&[
            TEXT,
            &attachment,
            &format!(
                "Content-Type: text/plain; charset=\"us-ascii\"\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 7bit\r\nContent-Disposition: inline\r\n\r\n{footer}"
            ),
        ]),
        mixed(&[
            &mixed(&[TEXT, &attachment]),
            &format!("Content-Type: text/plain\r\n\r\n{footer}"),
        ]),
        format!(
            "{TOP}List-Id: <list.example.org>\r\nContent-Type: text/plain\r\n\r\nHello\r\n{footer}"
        ),
        // Reports.
        report(
            "delivery-status",
            "Reporting-MTA: dns; mx.example.org\r\n\r\nFinal-Recipient: rfc822; grace@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n",
        ),
        report(
            "disposition-notification",
            "Reporting-UA: mail.example.org; Mailer\r\nFinal-Recipient: rfc822; grace@example.org\r\nDisposition: manual-action/MDN-sent-manually; displayed\r\n",
        ),
        report(
            "feedback-report",
            "Feedback-Type: abuse\r\nUser-Agent: SomeGenerator/1.0\r\nVersion: 1\r\n",
        ),
        format!(
            "{TOP}\r\nHi. This is the qmail-send program.\r\n\r\n--- Below this line is a copy of the message.\r\n\r\n{}",
            mixed(&[TEXT, &attachment])
        ),
        format!(
            "{TOP}Content-Type: multipart/report; report-type=delivery-status; boundary=\"rep\"\r\n\r\n--rep\r\n{TEXT}\r\n--rep\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\n--rep\r\nContent-Type: message/rfc822\r\n\r\n{}\r\n--rep--\r\n",
            mixed(&[TEXT, &attachment])
        ),
        mixed(&[
            TEXT,
            &attached(
                &file(
                    "example.org!example.net!1763683200!1763769599.xml.gz",
                    "application/gzip",
                    gzip(b"<?xml version=\"1.0\"?><feedback/>"),
                ),
                "mutt",
            ),
        ]),
        mixed(&[
            TEXT,
            &attached(
                &file(
                    "google.com!example.org!1763683200!1763769599.zip",
                    "application/zip",
                    zip(&[(
                        "google.com!example.org!1763683200!1763769599.xml",
                        b"<feedback/>",
                    )]),
                ),
                "mutt",
            ),
        ]),
        // Outlook and Apple.
        mixed(&[
            TEXT,
            &attached(
                &file(
                    "winmail.dat",
                    "application/ms-tnef",
                    tnef("Invoice.pdf", &pdf()),
                ),
                "outlook",
            ),
        ]),
        format!(
            "{TOP}Content-Type: application/ms-tnef; name=\"winmail.dat\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
            based(&tnef("photo.jpg", &jpeg()))
        ),
        mixed(&[
            TEXT,
            &format!(
                "Content-Type: multipart/appledouble; boundary=\"dbl\"\r\n\r\n--dbl\r\nContent-Type: application/applefile; name=\"photo.jpg\"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"photo.jpg\"\r\n\r\n{}\r\n--dbl\r\nContent-Type: image/jpeg; name=\"photo.jpg\"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: inline; filename=\"photo.jpg\"\r\n\r\n{}\r\n--dbl--\r\n",
                based(
                    &[
                        &[0, 5, 0x16, 7, 0, 2, 0, 0][..],
                        &[0; 16],
                        &[0, 1, 0, 0, 0, 9, 0, 0, 0, 38, 0, 0, 0, 32],
                        &[0; 32]
                    ]
                    .concat()
                ),
                based(&jpeg())
            ),
        ]),
        format!(
            "{TOP}Content-Type: multipart/alternative;\r\n\tboundary=\"Apple-Mail=_A1B2\"\r\n\r\n\r\n--Apple-Mail=_A1B2\r\nContent-Transfer-Encoding: 7bit\r\nContent-Type: text/plain;\r\n\tcharset=us-ascii\r\n\r\nHello\r\n\r\n--Apple-Mail=_A1B2\r\nContent-Type: multipart/mixed;\r\n\tboundary=\"Apple-Mail=_C3D4\"\r\n\r\n\r\n--Apple-Mail=_C3D4\r\nContent-Type: text/html\r\n\r\n{HTML}\r\n--Apple-Mail=_C3D4\r\n{attachment}\r\n--Apple-Mail=_C3D4--\r\n\r\n--Apple-Mail=_A1B2--\r\n"
        ),
        format!(
            "{TOP}Content-Type: multipart/mixed; boundary=\"_004_AM\"\r\nX-MS-Has-Attach: yes\r\n\r\n--_004_AM\r\nContent-Type: multipart/related; boundary=\"_003_AM\"; type=\"multipart/alternative\"\r\n\r\n--_003_AM\r\nContent-Type: multipart/alternative; boundary=\"_000_AM\"\r\n\r\n--_000_AM\r\n{TEXT}\r\n--_000_AM\r\nContent-Type: text/html; charset=\"iso-8859-1\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<html><body bgcolor=3D\"white\">Hello=20</body></html>\r\n\r\n--_000_AM--\r\n\r\n--_003_AM\r\n{image}\r\n--_003_AM--\r\n\r\n--_004_AM\r\n{attachment}\r\n--_004_AM--\r\n"
        ),
        // A boundary that begins as another does.
        format!(
            "{TOP}Content-Type: multipart/mixed; boundary=\"----=_Part_1\"\r\n\r\n------=_Part_1\r\nContent-Type: multipart/alternative; boundary=\"----=_Part_12\"\r\n\r\n------=_Part_12\r\n{TEXT}\r\n------=_Part_12\r\nContent-Type: text/html\r\n\r\n{HTML}\r\n------=_Part_12--\r\n\r\n------=_Part_1\r\n{attachment}\r\n------=_Part_1--\r\n"
        ),
        // What is not quite in order, and common.
        format!(
            "{TOP}Content-Type: multipart/mixed; boundary=\"x\"\r\n\r\n--x\r\n{TEXT}\r\n--x\r\n{attachment}\r\n"
        ),
        format!(
            "{TOP}Content-Type: multipart/mixed; boundary=\"x\";\r\n\r\n--x\r\n{TEXT}\r\n--x--\r\n\r\n\r\n"
        ),
        format!(
            "{TOP}Content-Type: multipart/alternative; boundary=x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n--x\r\n{TEXT}\r\n--x\r\nContent-Type: text/html\r\n\r\n{HTML}\r\n--x--\r\n"
        ),
        format!(
            "{TOP}Content-Type: multipart/mixed; boundary=x; charset=\r\n\r\n--x\r\n{TEXT}\r\n--x\r\n{attachment}\r\n--x--\r\n"
        ),
        format!(
            "{TOP}Content-Type: text/plain; charset=utf-8\r\nContent-Type: text/plain\r\n\r\nTwice.\r\n"
        ),
        format!(
            "{TOP}Content-Type: text/plain\r\nContent-Transfer-Encoding: 7-bit\r\n\r\nMisspelt.\r\n"
        ),
        format!("{TOP}Content-Type: text/html; charset=\"utf-8\r\n\r\n{HTML}"),
        format!("{TOP}Content-Type: text\r\n\r\nHello\r\n"),
        format!("{TOP}Content-Type: text/plain\r\n\r\n--\r\nAda\r\n--next line--\r\n"),
        format!("{TOP}\r\nWe begin 644 more of them\r\nand end\r\n"),
        mixed(&[&format!("\r\n{footer}"), &attachment]),
        // The same octets under several names.
        mixed(&[
            TEXT,
            &attached(&file("logo.png", "image/png", png()), "mutt"),
            &attached(&file("logo", "image/png", png()), "gmail"),
        ]),
        mixed(&[
            TEXT,
            &attached(&file("a.txt", "text/plain", ""), "mutt"),
            &attached(&file("b.csv", "text/csv", ""), "outlook"),
        ]),
        mixed(&["\r\n", &attachment, "Content-Type: text/plain\r\n\r\n\r\n"]),
    ];
    for depth in 1..6 {
        let mut part = attachment.clone();
        for level in 0..depth {
            part = format!(
                "Content-Type: multipart/mixed; boundary=\"b{level}\"\r\n\r\n--b{level}\r\n{TEXT}\r\n--b{level}\r\n{part}\r\n--b{level}--\r\n"
            );
        }
        made.push(format!("{TOP}{part}"));
    }
    made
}

#[test]
fn honest_mail_of_today_is_accepted() {
    let mut made: Vec<String> = Vec::new();
    for file in files() {
        for manner in MANNERS {
            made.push(mixed(&[TEXT, &attached(&file, manner)]));
        }
    }
    made.extend(names());
    made.extend(structures());
    let distinct: BTreeSet<&String> = made.iter().collect();
    assert!(distinct.len() >= 150);
    let mut refused = Vec::new();
    let mut handed_out = 0;
    let profile = Profile {
        pieces: Pieces::Unusual,
        ..Profile::default()
    };
    for message in &distinct {
        // As it is sent, and as it is stored.
        for message in [
            message.as_bytes().to_vec(),
            message.replace("\r\n", "\n").into_bytes(),
        ] {
            let judgement = judge(&message, &profile);
            handed_out += judgement.pieces.len();
            if judgement.verdict != Verdict::Accept {
                let reason = judgement.deciding().unwrap();
                let shown = String::from_utf8_lossy(&message);
                let from = shown.find("Content-").unwrap_or(0);
                refused.push(format!(
                    "{}: {} ({}) in {:?}",
                    reason.rule,
                    reason.text,
                    reason.evidence,
                    shown[from..].chars().take(500).collect::<String>()
                ));
            }
        }
    }
    println!(
        "{} of {} honest messages refused",
        refused.len(),
        distinct.len() * 2
    );
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    println!("{handed_out} pieces of them are found by no usual reading");
    assert!(handed_out <= distinct.len() * 2 / 10, "{handed_out}");
}
