//! The rules of a bundle as rules of Suricata, for sites that watch their wires with it.
//!
//! Entry: [`export`]. Suricata 7 sees the octets of a session, and the names and decoded octets of attachments; it has no
//! word for the rest (text of a message, media types, members of archives), and what it cannot say is named with the
//! reason, never approximated by something wider. Numbers ([`number_of`]) never change their meaning.

use std::borrow::Cow;
use std::fmt::Write as _;

use mailkeep_model::text::printable_max;

use super::bundle::{Bundle, PatchRule};
use super::condition::{Decode, Subject, Test, Unit, literals};
use super::pcre::{Item, pattern};

/// The first number (`sid`) of these rules; they lie in the range that is left to sites (1,000,000 to 1,999,999).
pub const FIRST_SID: u32 = 1_980_000;
/// The last.
pub const LAST_SID: u32 = 1_999_999;
/// Numbers of each rule: its conditions, and behind them what the shield's own rules look for.
const EACH: u32 = 64;
const CONDITIONS: u32 = 48;
/// From here on rules that are not of the catalogue.
const FIRST_OWN: u32 = 1_990_000;

/// A line for each row of the catalogue, in an order that never changes.
const CATALOGUE: &str = include_str!("../../bundle/catalogue.txt");

/// What some of the shield's own rules look for, as far as a wire shows it: names, what to search for first, and the
/// expression.
const GENERIC: [(&[&str], &str, &str); 5] = [
    (
        // An end of a message that only one of two servers takes for one (RFC 5321 section 2.3.8).
        &["bare-lf-in-content", "bare-cr-in-content"],
        r#"content:"."; "#,
        r"(?:[^\r]\n\.\r?\n|\r\n\.\n|\r\.\r)",
    ),
    (
        // Letters; TLS begins otherwise.
        &["starttls-injection"],
        r#"content:"STARTTLS"; nocase; "#,
        r"^(?i:STARTTLS)[ \t]*\r?\n[A-Za-z]",
    ),
    (
        &["chunking"],
        r#"content:"BDAT"; nocase; "#,
        r"^(?i:BDAT)[ \t]",
    ),
    (
        &["foreign-protocol"],
        r#"content:"HTTP/"; "#,
        r"^(?:GET|POST|PUT|HEAD|CONNECT|OPTIONS|DELETE) [^\r\n]* HTTP\x2f",
    ),
    (&["proxy-command"], "", r"^(?i:XCLIENT|XFORWARD|PROXY)[ \t]"),
];

/// A bundle's rules for Suricata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The file.
    pub text: String,
    /// Rules of Suricata in it.
    pub written: usize,
    /// Rules of the bundle that are in it, if only in part.
    pub expressed: usize,
    /// Those that are not, each with the reason.
    pub left_out: Vec<(String, String)>,
}

/// Writes the rules in force of a bundle for Suricata 7, for mail on these ports.
pub fn export(bundle: &Bundle, ports: &[u16]) -> Export {
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let ports = ports.join(",");
    let mut export = Export {
        text: String::new(),
        written: 0,
        expressed: 0,
        left_out: Vec::new(),
    };
    let mut rules = String::new();
    let mut taken = std::collections::BTreeSet::new();
    for rule in bundle.in_force() {
        let number = number_of(&rule.name);
        let (lines, mut reasons) = if taken.insert(number) {
            lines_of(rule, number, bundle.version, &ports)
        } else {
            let why = "another rule has its number: give it another name";
            (Vec::new(), vec![why.to_owned()])
        };
        reasons.dedup();
        if lines.is_empty() {
            export
                .left_out
                .push((rule.name.clone(), reasons.join("; ")));
            continue;
        }
        for reason in &reasons {
            writeln!(
                rules,
                "# {} in part only: {}",
                rule.name,
                printable_max(reason, 200)
            )
            .ok();
        }
        export.expressed += 1;
        export.written += lines.len();
        for line in lines {
            rules.push_str(&line);
            rules.push('\n');
        }
    }
    write!(
        export.text,
        "# Virtual patches of Mailkeep for Suricata 7: bundle {} version {}, made {}.\n\
         # {} rules for {} of {} conditions of the catalogue; what is not here, and why, stands at the end.\n\
         # They see mail in clear only: before or behind where TLS ends. They tell; the shield refuses.\n",
        bundle.id,
        bundle.version,
        bundle.made,
        export.written,
        export.expressed,
        export.expressed + export.left_out.len(),
    )
    .ok();
    export.text.push_str(&rules);
    writeln!(export.text, "# Not expressed: {}", export.left_out.len()).ok();
    for (rule, why) in &export.left_out {
        writeln!(export.text, "# {rule}: {}", printable_max(why, 300)).ok();
    }
    export
}

/// The first number of a rule: by its row in the catalogue, else by its name.
pub fn number_of(rule: &str) -> u32 {
    let row = (0..).zip(rows()).find(|(_, name)| *name == rule);
    if let Some((row, _)) = row {
        return FIRST_SID + row * EACH;
    }
    // FNV-1a, since it has to stay the same.
    let hash = rule.bytes().fold(0x811c_9dc5_u32, |hash, octet| {
        (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193)
    });
    FIRST_OWN + hash % ((LAST_SID - FIRST_OWN) / EACH) * EACH
}

/// The rule of the catalogue that a number belongs to.
pub fn rule_of(sid: u32) -> Option<&'static str> {
    let row = sid.checked_sub(FIRST_SID)? / EACH;
    rows().nth(row as usize).filter(|_| sid < FIRST_OWN)
}

fn rows() -> impl Iterator<Item = &'static str> {
    let lines = CATALOGUE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(' ').next())
}

fn lines_of(
    rule: &PatchRule,
    number: u32,
    version: u64,
    ports: &str,
) -> (Vec<String>, Vec<String>) {
    let (mut lines, mut reasons) = (Vec::new(), Vec::new());
    let line = |nth: u32, body: &Body| {
        let to = match body.protocol {
            "smtp" => "any any -> any any".to_owned(),
            _ => format!("any any -> any [{ports}]"),
        };
        let cves: String = rule
            .cves
            .iter()
            .take(8)
            .fold(String::new(), |mut text, cve| {
                write!(text, "reference:cve,{}; ", cve.trim_start_matches("CVE-")).ok();
                text
            });
        let holes: String = rule.cves.iter().fold(String::new(), |mut text, cve| {
            write!(text, ", cve {}", cve.replace('-', "_")).ok();
            text
        });
        format!(
            "alert {} {to} (msg:\"Mailkeep {}: {}\"; flow:established,to_server; {}{cves}metadata:mailkeep_rule {}{holes}, \
             confidence {}, state {}; sid:{}; rev:{};)",
            body.protocol,
            rule.name,
            plain(&rule.title),
            body.options,
            rule.name,
            rule.confidence.name(),
            rule.state.map_or("monitor", super::State::name),
            number + nth,
            u32::try_from(version).unwrap_or(u32::MAX),
        )
    };
    for (nth, test) in (0..).zip(&rule.when) {
        match condition(test) {
            Ok(_) if nth >= CONDITIONS => reasons.push("it has too many conditions".to_owned()),
            Ok(body) => lines.push(line(nth, &body)),
            Err(why) => reasons.push(why.into_owned()),
        }
    }
    for (nth, (names, first, expression)) in (CONDITIONS..).zip(GENERIC) {
        if rule.by.iter().any(|own| names.contains(&own.as_str())) {
            let options = format!("{first}pcre:\"/{expression}/m\"; ");
            lines.push(line(
                nth,
                &Body {
                    protocol: "tcp",
                    options,
                },
            ));
        }
    }
    if lines.is_empty() && reasons.is_empty() {
        reasons.push(if rule.is_patch_only() {
            "nothing on the wire shows it".to_owned()
        } else if rule.by.is_empty() {
            "the shield closes it by what it is; no octets on the wire tell".to_owned()
        } else {
            format!("Suricata 7 has no word for {}", rule.by.join(", "))
        });
    }
    (lines, reasons)
}

/// What stands between the head and the number of a rule.
struct Body {
    protocol: &'static str,
    options: String,
}

type Why = Cow<'static, str>;

fn condition(test: &Test) -> Result<Body, Why> {
    if test.at_least.is_some_and(|least| least > 1) {
        return Err("Suricata 7 does not count items of a message".into());
    }
    let unit = test.subjects.first().map(|subject| subject.unit());
    if unit == Some(Unit::Content) {
        return attachment(test);
    }
    let patterns = match (test.subjects.as_slice(), test.also.as_slice()) {
        ([Subject::Argument], [verb]) if verb.subjects == [Subject::Verb] => {
            let verb = pattern(&Item::line(Subject::Verb, verb, ""), verb)?;
            vec![pattern(&Item::line(Subject::Argument, test, &verb), test)?]
        }
        (subjects, []) => subjects
            .iter()
            .map(|subject| pattern(&Item::line(*subject, test, ""), test))
            .collect::<Result<_, _>>()?,
        _ => return Err("it needs two things of one command or header at once".into()),
    };
    let all = match patterns.as_slice() {
        [one] => one.clone(),
        several => format!("(?:{})", several.join("|")),
    };
    let first = match literals(test).as_deref() {
        // A blank may be where a header is folded.
        Some([only]) if unit == Some(Unit::Command) || !only.contains(&b' ') => content(only),
        _ => match test.names.as_slice() {
            [name] => content(name.strip_suffix('*').unwrap_or(name).as_bytes()),
            _ => String::new(),
        },
    };
    Ok(Body {
        protocol: "tcp",
        options: format!("{first}pcre:\"/{all}/m\"; "),
    })
}

fn attachment(test: &Test) -> Result<Body, Why> {
    if !test.types.is_empty() {
        return Err(
            "Suricata 7 tells no media types, and decodes attachments, not the text of a message"
                .into(),
        );
    }
    let [subject] = test.subjects.as_slice() else {
        return Err("it needs several buffers at once".into());
    };
    let buffer = match subject {
        Subject::Content => "file.data",
        Subject::Name => "file.name",
        Subject::MemberName => return Err("Suricata 7 opens no archives in mail".into()),
        _ => return Err("Suricata 7 does not take calendars apart".into()),
    };
    if test.also.iter().any(|also| also.subjects != test.subjects) {
        return Err("it needs several buffers at once".into());
    }
    let mut options = format!("{buffer}; ");
    for test in std::iter::once(test).chain(&test.also) {
        if test.count.is_some() || test.unbalanced.is_some() || test.not_regex.is_some() {
            return Err("it counts within an attachment".into());
        }
        if test.decode == Some(Decode::Base64) || test.regex.is_none() {
            return Err("it decodes an attachment further".into());
        }
        if let Some([only]) = literals(test).as_deref() {
            options.push_str(&content(only));
        }
        write!(options, "pcre:\"/{}/s\"; ", pattern(&Item::whole(), test)?).ok();
    }
    Ok(Body {
        protocol: "smtp",
        options,
    })
}

/// A text that must be there, however capitals are set. Suricata takes none that is empty.
fn content(text: &[u8]) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut words = "content:\"".to_owned();
    for octet in text {
        if octet.is_ascii_alphanumeric() {
            words.push(char::from(*octet));
        } else {
            write!(words, "|{octet:02x}|").ok();
        }
    }
    words + "\"; nocase; "
}

/// A title without what ends an option.
fn plain(text: &str) -> String {
    let kept = printable_max(text, 150);
    kept.chars()
        .filter(|letter| letter.is_ascii() && !matches!(letter, '"' | ';' | '\\'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::builtin;

    #[test]
    fn numbers_never_change_their_meaning() {
        for (rule, number) in [
            ("sendmail-crackaddr", 1_980_000),
            ("sendmail-prescan-0xff", 1_980_064),
            (
                "exim-recipient-expansion",
                number_of("exim-recipient-expansion"),
            ),
        ] {
            assert_eq!(number_of(rule), number, "{rule}");
            assert_eq!(rule_of(number), Some(rule));
            assert_eq!(rule_of(number + 63), Some(rule));
        }
        let last = rows().last().unwrap();
        assert!(
            number_of(last) + 63 < FIRST_OWN,
            "the catalogue has outgrown its numbers"
        );
        assert_eq!(number_of("a-sites-own"), 1_999_728);
        assert_eq!(rule_of(1_999_728), None);
    }

    fn of_test(text: &str) -> String {
        condition(&toml::from_str(text).unwrap()).unwrap().options
    }

    #[test]
    fn what_a_bundle_names_is_looked_for_as_itself() {
        for (test, expected) in [
            (
                r#"names = ["X.Foo"]"#,
                r#"content:"X|2e|Foo"; nocase; pcre:"/^(?i:X\x2eFoo)[ \t]*:"#,
            ),
            (
                r#"names = ["X-*"]"#,
                r#"content:"X|2d|"; nocase; pcre:"/^(?i:X-[^:\r\n]*)[ \t]*:"#,
            ),
            (r#"names = ["*"]"#, r#"pcre:"/^(?i:[^:\r\n]*)[ \t]*:"#),
            (
                r#"names = ["**"]"#,
                r#"content:"|2a|"; nocase; pcre:"/^(?i:\x2a[^:\r\n]*)[ \t]*:"#,
            ),
        ] {
            let options = of_test(&format!("in = [\"header\"]\n{test}"));
            assert!(options.starts_with(expected), "{options}");
        }
        let tags =
            of_test("in = [\"header-tag\"]\nnames = [\"dkim-signature\"]\ntags = [\"x*\", \"d\"]");
        assert!(
            tags.contains(r"(?i:x[A-Za-z0-9_]*|d)[ \t]*=[ \t]*+"),
            "{tags}"
        );
    }

    #[test]
    fn what_a_bundle_leaves_out_is_left_out_by_what_stands_behind_it() {
        let parameters = of_test("in = [\"parameter\"]\nexcept = [\"size\"]\nregex = \"abc\"");
        assert!(
            parameters.contains("(?!(?i:size)=)[A-Za-z0-9-]+="),
            "{parameters}"
        );
        let of_types = of_test("in = [\"type-parameter\"]\nexcept = [\"x*\"]\nregex = \"abc\"");
        let expected = r"(?!(?i:x[A-Za-z0-9*-]*)[ \t]*=)[A-Za-z0-9*-]+[ \t]*=";
        assert!(of_types.contains(expected), "{of_types}");
    }

    #[test]
    fn an_expression_leads_no_further_than_its_item() {
        for (subject, expected) in [
            ("header-tag", r"a(?:[\x00-\x09\x0b-\x0c\x0e-\x3a\x3c-\xff]|"),
            (
                "type-parameter",
                r"a(?:[\x00-\x09\x0b-\x0c\x0e-\x21\x23-\x3a\x3c-\xff]|",
            ),
            ("parameter", r"a[\x00-\x08\x0b-\x0c\x0e-\x1f\x21-\xff]"),
            ("recipient", r"a[\x00-\x09\x0b-\x0c\x0e-\x3d\x3f-\xff]"),
        ] {
            let options = of_test(&format!("in = [\"{subject}\"]\nregex = 'a[^\\n]'"));
            assert!(options.contains(expected), "{options}");
        }
    }

    #[test]
    fn what_may_be_folded_is_not_searched_for_in_one_line() {
        let folded = of_test("in = [\"header\"]\nnames = [\"subject\"]\nregex = \"two words\"");
        assert!(
            folded.starts_with("content:\"subject\"; nocase; "),
            "{folded}"
        );
    }

    #[test]
    fn every_rule_is_written_or_named_with_the_reason() {
        let bundle = builtin().unwrap();
        let export = export(&bundle, &[25, 587]);
        assert_eq!(export.expressed + export.left_out.len(), bundle.rules.len());
        assert!(export.left_out.iter().all(|(_, why)| !why.is_empty()));
        let written = export
            .text
            .lines()
            .filter(|line| line.starts_with("alert "));
        assert_eq!(written.count(), export.written);
        for line in export.text.lines() {
            assert!(
                line.starts_with("alert ") || line.starts_with("# "),
                "{line}"
            );
            assert!(line.is_ascii(), "{line}");
        }
        let comments = export
            .text
            .lines()
            .filter(|line| line.contains(": ") && line.starts_with("# "));
        assert!(comments.count() >= export.left_out.len());
    }
}
