//! What a host answered to an act: lines between a beginning and an end, each marked by the order's
//! nonce.
//!
//! Entry: [`read`]. The nonce guards against accidents (a login shell that prints, a log line that looks
//! like ours); what a host says is data, never an instruction, and is made printable here.

use std::fmt::Write as _;

use mailkeep_model::text::printable_max;
use mailkeep_model::{Act, ActFailure, ActOutcome};

/// Longest answer read, in bytes. A busy host sends about 4 KiB.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Facts kept of one answer; the rest is counted.
const MAX_SEEN: usize = 200;
/// Characters kept of one fact, and of a detail.
const MAX_TEXT: usize = 1000;
/// Characters of a host's text that an error quotes.
const QUOTED: usize = 80;

/// Why an answer could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GarbageAnswer {
    /// No line of it begins an answer to this act.
    #[error("the host sent no answer, but \"{begins}\"")]
    NoAnswer {
        /// How it begins.
        begins: String,
    },
    /// It breaks off.
    #[error("the answer breaks off after {lines} lines")]
    Truncated {
        /// Lines read of it.
        lines: usize,
    },
    /// A line that does not belong there.
    #[error("the answer has a line that does not belong there: \"{line}\"")]
    UnexpectedLine {
        /// The line.
        line: String,
    },
    /// Longer than [`MAX_ANSWER_BYTES`].
    #[error("the answer is longer than {} KiB", MAX_ANSWER_BYTES >> 10)]
    TooLong,
}

/// Reads the answer to an act, by its name in the script (`precheck`, `front-drain`). Text before the
/// answer (a message of the day) and after it is skipped; within it every line must be one of ours.
pub fn read(answer: &[u8], nonce: &str, act: &str) -> Result<ActOutcome, GarbageAnswer> {
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(GarbageAnswer::TooLong);
    }
    let text = String::from_utf8_lossy(answer);
    let mark = format!("={nonce} ");
    let begin = format!("begin 1 {act}");
    let mut lines = text.lines().map(str::trim_end);
    let found = lines
        .by_ref()
        .any(|line| line.strip_prefix(mark.as_str()) == Some(begin.as_str()));
    if nonce.is_empty() || !found {
        return Err(GarbageAnswer::NoAnswer {
            begins: printable_max(text.trim_start(), QUOTED),
        });
    }
    let mut seen: Vec<String> = Vec::new();
    let mut more = 0_usize;
    let mut read = 1_usize;
    let mut end = None;
    for line in lines.by_ref() {
        read += 1;
        let unexpected = || GarbageAnswer::UnexpectedLine {
            line: printable_max(line, QUOTED),
        };
        if line.is_empty() {
            continue;
        }
        let ours = line.strip_prefix(mark.as_str()).ok_or_else(unexpected)?;
        if let Some(fact) = ours.strip_prefix("seen ") {
            if seen.len() < MAX_SEEN {
                seen.push(printable_max(fact.trim(), MAX_TEXT));
            } else {
                more += 1;
            }
        } else {
            let how = ours.strip_prefix("end ").ok_or_else(unexpected)?;
            end = Some(how.to_owned());
            break;
        }
    }
    let Some(how) = end else {
        return Err(GarbageAnswer::Truncated { lines: read });
    };
    if let Some(line) = lines.find(|line| line.starts_with(mark.as_str())) {
        return Err(GarbageAnswer::UnexpectedLine {
            line: printable_max(line, QUOTED),
        });
    }
    if more > 0 {
        // In the place of the last one: no more are kept than promised.
        seen.pop();
        seen.push(format!("and {} more", more + 1));
    }
    outcome(&how, seen).ok_or_else(|| GarbageAnswer::UnexpectedLine {
        line: printable_max(&how, QUOTED),
    })
}

fn outcome(how: &str, seen: Vec<String>) -> Option<ActOutcome> {
    let (word, rest) = how.split_once(' ').unwrap_or((how, ""));
    let rest = rest.trim();
    match word {
        "done" if rest.is_empty() => Some(ActOutcome::Done { seen }),
        "already" if rest.is_empty() => Some(ActOutcome::AlreadyDone { seen }),
        "not-yet" => Some(ActOutcome::NotYet {
            why: printable_max(rest, MAX_TEXT),
        }),
        "failed" => {
            let (kind, detail) = rest.split_once(' ').unwrap_or((rest, ""));
            Some(ActOutcome::Failed {
                kind: failure(kind)?,
                detail: printable_max(detail.trim(), MAX_TEXT),
            })
        }
        _ => None,
    }
}

/// The failures a host can name of itself; that it is unreachable, or talks garbage, is for us to say.
const FAILURES: [ActFailure; 13] = [
    ActFailure::ConfigurationChanged,
    ActFailure::DiskFull,
    ActFailure::LeaseHeld,
    ActFailure::LeaseLost,
    ActFailure::MailServiceChanged,
    ActFailure::MitigationGone,
    ActFailure::Other,
    ActFailure::PackageManager,
    ActFailure::PackageUnavailable,
    ActFailure::ProbeLost,
    ActFailure::RunsOldCode,
    ActFailure::ServiceDown,
    ActFailure::UnexpectedVersion,
];

fn failure(name: &str) -> Option<ActFailure> {
    FAILURES.into_iter().find(|kind| kind.name() == name)
}

/// An answer as the scripts print it; for simulations and tests.
pub fn print(outcome: &ActOutcome, nonce: &str, act: &str) -> String {
    let mut text = format!("\n={nonce} begin 1 {act}\n");
    let mut facts = |seen: &[String]| {
        for fact in seen {
            _ = writeln!(text, "={nonce} seen {fact}");
        }
    };
    let how = match outcome {
        ActOutcome::Done { seen } => {
            facts(seen);
            "done".to_owned()
        }
        ActOutcome::AlreadyDone { seen } => {
            facts(seen);
            "already".to_owned()
        }
        ActOutcome::NotYet { why } => format!("not-yet {why}"),
        ActOutcome::Failed { kind, detail } => format!("failed {} {detail}", kind.name()),
    };
    _ = writeln!(text, "={nonce} end {how}");
    text
}

/// Fuzz entry: any bytes, as the answer to any act. The first byte chooses the act.
pub fn fuzz(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else {
        return;
    };
    let act = Act::ALL
        .get(usize::from(*first) % Act::ALL.len())
        .map_or("precheck", |act| act.name());
    let whole = [
        format!("\n=n begin 1 {act}\n").as_bytes(),
        rest,
        b"\n=n end done\n",
    ]
    .concat();
    for answer in [rest, &whole] {
        match read(answer, "n", act) {
            Ok(outcome) => {
                let again = read(print(&outcome, "n", act).as_bytes(), "n", act);
                debug_assert_eq!(again, Ok(outcome));
            }
            // What is quoted, and the words around it.
            Err(garbage) => debug_assert!(garbage.to_string().chars().count() < QUOTED + 80),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "Welcome!\n=n seen not ours yet\n\n=n begin 1 patch\n=n seen installed postfix=1\n=n seen restarted postfix\n=n end done\nlogout\n";

    #[test]
    fn an_answer_is_read_and_what_surrounds_it_is_not() {
        let outcome = read(GOOD.as_bytes(), "n", "patch").unwrap();
        let seen = vec!["installed postfix=1".into(), "restarted postfix".into()];
        assert_eq!(outcome, ActOutcome::Done { seen });
    }

    #[test]
    fn every_failure_of_a_host_has_its_name() {
        for kind in FAILURES {
            let text = format!("=n begin 1 lease\n=n end failed {} why not\n", kind.name());
            let detail = "why not".to_owned();
            assert_eq!(
                read(text.as_bytes(), "n", "lease"),
                Ok(ActOutcome::Failed { kind, detail })
            );
        }
    }

    #[test]
    fn a_host_does_not_call_itself_unreachable() {
        let text = "=n begin 1 lease\n=n end failed unreachable\n";
        assert!(read(text.as_bytes(), "n", "lease").is_err());
    }

    #[test]
    fn anothers_nonce_or_act_is_no_answer() {
        for (nonce, act) in [("m", "patch"), ("n", "prove"), ("", "patch")] {
            let garbage = read(GOOD.as_bytes(), nonce, act).unwrap_err();
            assert!(
                matches!(garbage, GarbageAnswer::NoAnswer { .. }),
                "{garbage}"
            );
        }
    }

    #[test]
    fn an_answer_that_breaks_off_is_no_success() {
        let cut = GOOD.split_once("=n end").unwrap().0;
        assert_eq!(
            read(cut.as_bytes(), "n", "patch"),
            Err(GarbageAnswer::Truncated { lines: 3 })
        );
    }

    #[test]
    fn lines_of_others_within_an_answer_spoil_it() {
        for bad in [
            GOOD.replace("=n seen restarted", "restarted"),
            GOOD.replace("=n seen restarted", "=n told restarted"),
            GOOD.replace("end done", "end done twice"),
            GOOD.replace("logout", "=n end already"),
            GOOD.replace("end done", "end finished"),
        ] {
            assert!(read(bad.as_bytes(), "n", "patch").is_err(), "{bad}");
        }
    }

    #[test]
    fn garbage_is_quoted_with_at_most_eighty_printable_characters() {
        // An escape would make two of each.
        for text in [
            "\\".repeat(200),
            format!("=n begin 1 patch\n{}", "\\".repeat(200)),
        ] {
            let error = read(text.as_bytes(), "n", "patch").unwrap_err().to_string();
            assert!((70..80).contains(&error.matches('\\').count()), "{error}");
        }
        let error = read(b"\x1b[2Jcommand not found", "n", "patch").unwrap_err();
        assert!(!error.to_string().contains(['\u{1b}', '\\']), "{error}");
    }

    #[test]
    fn a_flood_of_facts_is_counted_not_kept() {
        let mut text = String::from("=n begin 1 prove\n");
        for n in 0..1000 {
            _ = writeln!(text, "=n seen fact {n} \u{1b}[31m");
        }
        text.push_str("=n end done\n");
        let Ok(ActOutcome::Done { seen }) = read(text.as_bytes(), "n", "prove") else {
            panic!("it is done");
        };
        assert_eq!(seen.len(), MAX_SEEN);
        assert_eq!(seen.last().unwrap(), "and 801 more");
        assert!(!seen[0].contains('\u{1b}'));
    }

    fn a_line() -> impl Strategy<Value = String> {
        "[a-z0-9=.:/-]{1,20}( [a-z0-9=.:/-]{1,10}){0,4}"
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..400)) {
            fuzz(&input);
        }

        #[test]
        fn lines_that_look_like_ours_never_panic(
            lines in prop::collection::vec("(=n )?(seen|end|begin 1|end failed)( [ -~]{0,20})?", 0..20)
        ) {
            fuzz(lines.join("\n").as_bytes());
        }

        #[test]
        fn reading_what_was_printed_gives_it_back(
            seen in prop::collection::vec(a_line(), 0..10), why in a_line(), which in 0_usize..12
        ) {
            let kind = FAILURES[which];
            for outcome in [
                ActOutcome::Done { seen: seen.clone() },
                ActOutcome::AlreadyDone { seen },
                ActOutcome::NotYet { why: why.clone() },
                ActOutcome::Failed { kind, detail: why },
            ] {
                let text = print(&outcome, "n0n", "save");
                prop_assert_eq!(read(text.as_bytes(), "n0n", "save"), Ok(outcome));
            }
        }
    }
}
