//! What is dangerous in an archive as such: names that lead out of it, encryption, contradictions.

use super::{Said, names, shown};
use crate::kind::{Class, Kind};
use crate::unpack::{TNEF_SUM, Trouble, Unread};

/// How a name leads out of where its archive is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escape {
    /// It goes up.
    Up,
    /// It begins at the root.
    Root,
}

/// Whether a member's name leads out.
pub(crate) fn escapes(name: &str) -> Option<Escape> {
    let mut depth = 0_i64;
    for part in name.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return Some(Escape::Up);
        }
    }
    let drive =
        matches!(name.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
    (name.starts_with(['/', '\\']) || drive).then_some(Escape::Root)
}

/// Whether a shell would take a name for a command. A single backtick is an honest letter in some languages; a line end
/// behind all else comes of a title that was pasted (macOS keeps icons of folders in `Icon\r`); in `$(EUR)` and
/// `${artifactId}` stands no command.
pub(crate) fn shell(name: &str) -> bool {
    let name = name.trim_end_matches(['\n', '\r']);
    let inner = |from: &'static str, to: char| {
        let pieces = name.split(from).skip(1);
        pieces.map(move |piece| piece.split(to).next().unwrap_or_default())
    };
    let is_amount = |text: &str| {
        let is_part = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit();
        text.chars()
            .all(|letter| is_part(letter) || " .,-".contains(letter))
    };
    let is_variable = |text: &str| {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
        text.chars().all(is_part) && !text.eq_ignore_ascii_case("ifs")
    };
    inner("$(", ')').any(|text| !is_amount(text))
        || inner("${", '}').any(|text| !is_variable(text))
        || name.contains(['\n', '\r'])
        || name.matches('`').count() > 1
}

/// What is said where a member is not wholly there; limits are said elsewhere.
pub(crate) fn of_unread(unread: &Unread, content_names: &[String], said: &mut Said<'_>) {
    match unread {
        Unread::Encrypted => {
            let program = content_names
                .iter()
                .flat_map(|name| names::readings(name))
                .find(names::Name::is_dangerous);
            match program {
                Some(program) => said.say(
                    "encrypted-program",
                    &format!(
                        "is encrypted, and a program by its name (.{})",
                        shown(&program.extension)
                    ),
                    shown(&program.base),
                ),
                None => said.say(
                    "encrypted-archive",
                    "is encrypted, so that it cannot be looked into",
                    "",
                ),
            }
        }
        Unread::Method(method) => said.say(
            "archive-not-unpacked",
            "is packed in a way that is not read here",
            method.clone(),
        ),
        Unread::Damaged => said.say("archive-damaged", "is damaged", ""),
        Unread::Split => said.say("archive-not-unpacked", "goes on in another file", ""),
        Unread::Limit(_) => {}
    }
}

/// What is said of an archive as a whole; limits are said elsewhere.
pub(crate) fn of_trouble(trouble: &Trouble, kind: Kind, said: &mut Said<'_>) {
    match trouble {
        // Programs that make such wrappings get sums wrong, and none that reads them minds.
        Trouble::Damaged(how) if kind == Kind::Tnef && *how == TNEF_SUM => {
            said.say("archive-damaged", "has wrong sums", *how);
        }
        Trouble::Damaged(how) if kind == Kind::Tnef => {
            said.say("tnef-malformed", "is not as Outlook makes it", *how);
        }
        Trouble::Damaged(how) if matches!(kind.class(), Class::Archive | Class::Disk) => {
            said.say("archive-damaged", "is damaged", *how);
        }
        // Documents are often odd, and what opens them does not mind.
        Trouble::Damaged(_) | Trouble::Limit(_) => {}
        Trouble::Ambiguous(how) => said.say(
            "archive-ambiguous",
            "holds different files for different programs",
            how.clone(),
        ),
        Trouble::EncryptedNames => {
            said.say(
                "encrypted-archive",
                "is encrypted, so that it cannot be looked into",
                "",
            );
        }
        Trouble::NotUnpacked => said.say(
            "archive-not-unpacked",
            &format!("is {}, which is not looked into", kind.title()),
            kind.name(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_are_told_from_those_that_come_back() {
        for (name, expected) in [
            ("../a", Some(Escape::Up)),
            ("a/../../b", Some(Escape::Up)),
            ("..\\a", Some(Escape::Up)),
            ("a/../b", None),
            ("./a..b/c", None),
            ("/etc/passwd", Some(Escape::Root)),
            ("C:\\Windows\\a", Some(Escape::Root)),
            ("\\\\host\\share\\a", Some(Escape::Root)),
            ("a:b", None),
        ] {
            assert_eq!(escapes(name), expected, "{name}");
        }
    }

    #[test]
    fn commands_in_names_are_told_from_honest_signs() {
        assert!(shell("`id`.pdf"));
        assert!(shell("a$(id).tar"));
        assert!(shell("a\nb"));
        for honest in [
            "Tom & Jerry (1).pdf",
            "5$ off.pdf",
            "Ke`ala.pdf",
            "a'b \"c\".txt",
            "{x}.txt",
        ] {
            assert!(!shell(honest), "{honest}");
        }
    }
}
