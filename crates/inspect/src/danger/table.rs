//! The table of rules on content. The documentation's is held to be the same by a test.

use crate::{ContentRule, Level};

const fn refused(name: &'static str, text: &'static str) -> ContentRule {
    ContentRule {
        name,
        refuses_from: Some(Level::Default),
        text,
    }
}

const fn strict(name: &'static str, text: &'static str) -> ContentRule {
    ContentRule {
        name,
        refuses_from: Some(Level::Strict),
        text,
    }
}

const fn paranoid(name: &'static str, text: &'static str) -> ContentRule {
    ContentRule {
        name,
        refuses_from: Some(Level::Paranoid),
        text,
    }
}

/// Every rule on content.
pub const RULES: &[ContentRule] = &[
    refused(
        "test-virus",
        "The EICAR test file, which stands for a virus.",
    ),
    refused(
        "executable",
        "A program: Windows, DOS, Unix, macOS, Java, Android or Symbian, an installer, or compiled help.",
    ),
    refused(
        "embedded-executable",
        "A Windows program within something that is none: behind a picture, in a document.",
    ),
    refused("script", "A script of Windows, which runs when opened."),
    refused("encoded-script", "An encoded script (.vbe, .jse)."),
    strict(
        "unix-script",
        "A script of Unix, which does not run when opened.",
    ),
    refused(
        "shortcut",
        "A shortcut of Windows (.lnk), one to a file or a program elsewhere (.url), or a command file of its shell (.scf, .library-ms).",
    ),
    strict("web-shortcut", "A shortcut to a page (.url)."),
    refused(
        "dangerous-name",
        "A name by which Windows runs the file when it is opened (.exe, .js, .hta, .msi, .chm and others).",
    ),
    strict(
        "risky-name",
        "A name of what can do harm, and honest mail has (.iso, .one, .mht, .sh, .py, databases, certificates).",
    ),
    strict(
        "script-in-archive",
        "A Windows script among many other files of an archive, as source code and saved pages have them.",
    ),
    refused(
        "double-extension",
        "A name that looks like a document's and is a program's (invoice.pdf.exe).",
    ),
    refused(
        "hidden-extension",
        "A name that hides its ending: behind blanks, a zero, a class, or by turning its order round.",
    ),
    refused(
        "names-disagree",
        "Two names for one file, of which one is a program's and the other is not.",
    ),
    refused(
        "type-mismatch",
        "Declared or named as a picture, sound, film, text or document, and a program or a script (CVE-2001-0154).",
    ),
    strict(
        "type-differs",
        "Declared or named as something else than it is, without being a program.",
    ),
    refused(
        "member-escapes",
        "An archive that would write outside of where it is unpacked: `..`, or a link and what lies below it (CVE-2022-41352, CVE-2022-30333).",
    ),
    strict(
        "member-absolute",
        "An archive whose members say where they are to be written, from the root on.",
    ),
    refused(
        "member-shell",
        "A name that a shell would take for a command: `$(`, backticks, a line end (CVE-2023-2868, CVE-2016-1000282).",
    ),
    refused(
        "encrypted-program",
        "An encrypted file whose name, which can be read, is a program's.",
    ),
    strict(
        "encrypted-archive",
        "An archive or a document that is encrypted, so that nobody but its reader can look into it.",
    ),
    refused(
        "archive-ambiguous",
        "An archive, or an object in rich text, in which two programs would find different files.",
    ),
    strict(
        "archive-damaged",
        "An archive that ends early or contradicts itself.",
    ),
    strict(
        "archive-not-unpacked",
        "An archive, or a member of one, that is packed in a way not read here.",
    ),
    strict(
        "polyglot",
        "An archive behind something else: a picture or a document that is an archive as well.",
    ),
    strict(
        "disk-image",
        "An image of a CD, a DVD, or a disk of macOS or Linux.",
    ),
    refused(
        "virtual-disk",
        "A disk of a virtual machine, which Windows opens and no filter looks into (.vhd, .vhdx, .wim).",
    ),
    strict("office-macro", "A document with macros."),
    refused(
        "office-macro-runs",
        "A document whose macros run by themselves and start programs, load files or hide what they do.",
    ),
    refused(
        "office-macro-hidden",
        "A document with macros and the name of one without (.docx, .xlsx, .pptx).",
    ),
    refused(
        "office-macro-sheet",
        "A workbook with macros of Excel 4, which nobody writes any more but attackers.",
    ),
    refused(
        "office-object-external",
        "A document that loads an object from elsewhere when it is opened (CVE-2021-40444, CVE-2022-30190).",
    ),
    strict(
        "office-template-external",
        "A document that loads its template from the web, with the macros in it.",
    ),
    refused(
        "office-dde",
        "A document or table that starts a program by DDE; a workbook may ask another for its figures.",
    ),
    refused(
        "office-program-link",
        "A presentation that starts a program where it is clicked or pointed at.",
    ),
    refused(
        "office-code-format",
        "A number format that holds code (CVE-2023-7101).",
    ),
    refused(
        "rtf-object",
        "Rich text with an object of the Equation Editor, which exists no more (CVE-2017-11882).",
    ),
    refused(
        "html-smuggling",
        "A page or drawing that carries an archive, a disk or a shortcut in itself and hands it out as a download.",
    ),
    strict("html-attachment-script", "An attached page with a script."),
    strict("svg-script", "A drawing with a script."),
    refused("pdf-launch", "A PDF that starts a program."),
    strict("pdf-script", "A PDF with a script."),
    refused(
        "reminder-unc",
        "A message or an appointment whose reminder plays a sound from a server (CVE-2023-23397).",
    ),
    refused(
        "moniker-link",
        "A link to a file on a server, with `!` behind it (CVE-2024-21413).",
    ),
    refused(
        "ntlm-leak",
        "A link that makes Windows log on to a stranger's server (search-ms:, wpa:).",
    ),
    refused(
        "tnef-malformed",
        "An Outlook wrapping whose lengths or sums are wrong (CVE-2006-0002, CVE-2009-0098, CVE-2017-6307).",
    ),
    refused(
        "calendar-modprops",
        "An appointment that lists changed properties twice (CVE-2007-0039).",
    ),
    refused(
        "calendar-organizer",
        "An appointment whose organizer is over 2,000 octets long (CVE-2010-3407).",
    ),
    refused(
        "calendar-active",
        "An appointment with a script in its text (CVE-2025-27915); the bare word `<script>` in a sentence is none.",
    ),
    refused(
        "limit-depth",
        "Messages and archives lie within one another more deeply than is looked into.",
    ),
    refused(
        "limit-parts",
        "The message has more parts and files than are looked at.",
    ),
    refused(
        "limit-octets",
        "The message unpacks to more than is looked at.",
    ),
    refused(
        "limit-member-octets",
        "A file in the message unpacks to more than is looked at.",
    ),
    refused(
        "limit-ratio",
        "An archive unpacks to so many times its size as only one does that was made to exhaust its reader.",
    ),
    refused(
        "limit-readings",
        "The message can be read in more ways than are tried.",
    ),
];

/// What is said where a rule is missing from the table; a test holds that none is.
static MISSING: ContentRule = paranoid("unknown-rule", "A rule that the table does not have.");

/// The rule of a name.
pub fn rule(name: &str) -> &'static ContentRule {
    RULES
        .iter()
        .find(|rule| rule.name == name)
        .unwrap_or(&MISSING)
}
