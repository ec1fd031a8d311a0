//! Short lessons: how to recognise the next one of its kind.

/// One lesson.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lesson {
    /// The stable name, as the log of events has it.
    pub(super) name: &'static str,
    /// A heading.
    pub(super) title: &'static str,
    /// What to look at, in a few sentences, without words of the trade.
    pub(super) text: &'static str,
    /// Rules that teach it: a rule belongs to the first lesson that has its name, or a beginning of it.
    rules: &'static [&'static str],
}

/// All of them.
pub(super) const LESSONS: &[Lesson] = &[
    Lesson {
        name: "look-alike-domain",
        title: "An address that only looks like one you know",
        text: "Read the part behind the @ letter by letter: rn for m, a one for an l, .co for .com, a hyphen too many. A \
               program that fills in names shows you the name, so open the details and look at the address itself. If you \
               expected something from that person, call a number you already had.",
        rules: &["look-alike", "lookalike", "confusable"],
    },
    Lesson {
        name: "spoofed-sender",
        title: "A sender who is somebody else",
        text: "The name and the address that a message shows are written by whoever sent it. This one claimed a sender who \
               did not send it. Ask yourself what the message wants: money, a password, haste, silence. Answer by another \
               way than by replying, to an address or a number you had before.",
        rules: &[
            "dmarc",
            "spf",
            "dkim",
            "spoof",
            "own-domain",
            "own-name",
            "display-name",
            "envelope",
            "from-",
        ],
    },
    Lesson {
        name: "macro",
        title: "A document that contains a program",
        text: "A document is for reading; one that asks you to 'enable content', 'enable editing' or 'enable macros' wants \
               to run a program on your computer. No invoice, order or application needs that. Close it, and ask the \
               sender for a PDF.",
        rules: &["office-", "macro", "excel4", "vba"],
    },
    Lesson {
        name: "disguised-attachment",
        title: "An attachment that is not what its name says",
        text: "Programs dress up: invoice.pdf.exe, a picture that is a program, a long row of blanks before the true ending, \
               an archive within an archive. Look at the very end of the name, and at whether you asked for the file. If in \
               doubt, do not open it to find out.",
        rules: &[
            "double-extension",
            "hidden-extension",
            "type-mismatch",
            "names-disagree",
            "name-",
            "dangerous-name",
            "risky-name",
            "executable",
            "embedded-executable",
            "script",
            "encoded-script",
            "shortcut",
            "mime-",
            "encrypted-",
            "member-",
            "test-virus",
            "virus",
        ],
    },
];

/// The lesson that a rule teaches, if any.
pub(super) fn of_rule(rule: &str) -> Option<&'static Lesson> {
    LESSONS.iter().find(|lesson| {
        lesson
            .rules
            .iter()
            .any(|beginning| rule.starts_with(beginning))
    })
}

/// A lesson by its name.
pub(super) fn named(name: &str) -> Option<&'static Lesson> {
    LESSONS.iter().find(|lesson| lesson.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_deceit_has_its_lesson() {
        for (rule, lesson) in [
            ("double-extension", "disguised-attachment"),
            ("type-mismatch", "disguised-attachment"),
            ("office-macro", "macro"),
        ] {
            assert_eq!(of_rule(rule).unwrap().name, lesson, "{rule}");
        }
        assert_eq!(of_rule("too-many-headers"), None);
    }
}
