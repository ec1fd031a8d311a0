//! Within how many days: the deadline policy, a table of thirty-two cells.

use jiff::civil::Date;
use mailkeep_model::{SsvcAutomatable, SsvcTechnicalImpact};
use serde::Deserialize;

/// How long a hole may stay open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Within {
    /// Calendar days from the first day.
    Days(u32),
    /// Until the next regular upgrade; no date.
    NextUpgrade,
}

/// One cell of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// How long.
    pub within: Within,
    /// Whether the host must be searched for traces of a break-in as well.
    pub forensics: bool,
}

impl Term {
    /// The last day, counted from `first_seen`; `None` is the next regular upgrade.
    pub fn deadline(self, first_seen: Date) -> Option<Date> {
        match self.within {
            Within::NextUpgrade => None,
            Within::Days(days) => Some(
                first_seen
                    .checked_add(jiff::Span::new().days(i64::from(days.min(MAX_DAYS))))
                    .unwrap_or(Date::MAX),
            ),
        }
    }
}

/// The deadline for every combination of inputs. Total by construction; the default is CISA's BOD
/// 26-04 of 10 June 2026 (`cisa:DT_BOD2604:1.0.0`), which knows no mitigation: a mitigated hole has the hole's own
/// deadline until a row says otherwise.
///
/// In a fleet file it is a list of rows, of which the first that fits counts; what fits none keeps
/// the default. A column left out fits every value:
///
/// ```
/// # let text = r#"
/// [[policy.deadline]]            # exploited and in reach of strangers: two days, whatever else
/// kev = true
/// exposed = true
/// within = 2
/// forensics = true
///
/// [[policy.deadline]]            # nothing waits for the next upgrade longer than a quarter
/// exposed = false
/// automatable = "no"
/// within = 90
///
/// [[policy.deadline]]            # what a shield's rule or a recipe covers gets a fortnight
/// mitigated = true
/// within = 14
/// # "#;
/// # #[derive(serde::Deserialize)]
/// # struct File { policy: mailkeep_triage::Policy }
/// # let file: File = toml::from_str(text).unwrap();
/// # assert_ne!(file.policy, mailkeep_triage::Policy::default());
/// ```
///
/// `within` is a number of days, 0 to 3650, or `"next-upgrade"`. A row that can never count, because
/// rows before it fit all it fits, is refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PolicyFile")]
pub struct Policy {
    cells: [Term; CELLS],
}

/// Why a policy cannot be used. Rows are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// More days than anybody means.
    #[error(
        "deadline row {row}: within = {days} is more than {MAX_DAYS} days; write \"next-upgrade\" for no date"
    )]
    TooManyDays {
        /// Which row.
        row: usize,
        /// What it says.
        days: u32,
    },
    /// Every case it fits is decided by rows before it.
    #[error("deadline row {row} never counts: the rows before it fit everything it fits")]
    NeverCounts {
        /// Which row.
        row: usize,
    },
    /// A word that is neither a number nor `next-upgrade`.
    #[error(
        "deadline row {row}: within = {word:?} is neither a number of days nor \"next-upgrade\""
    )]
    UnknownWord {
        /// Which row.
        row: usize,
        /// The word, at most 40 characters.
        word: String,
    },
}

impl Policy {
    /// The cell for a set of inputs. `known_exploited` is BOD 26-04's "in KEV".
    pub fn term(
        &self,
        known_exploited: bool,
        exposed: bool,
        mitigated: bool,
        automatable: SsvcAutomatable,
        technical_impact: SsvcTechnicalImpact,
    ) -> Term {
        let at = Case {
            known_exploited,
            exposed,
            automatable: automatable == SsvcAutomatable::Yes,
            total: technical_impact == SsvcTechnicalImpact::Total,
            mitigated,
        }
        .index();
        self.cells.get(at).copied().unwrap_or(STRICTEST)
    }
}

impl Default for Policy {
    /// BOD 26-04.
    fn default() -> Self {
        const UPGRADE: Term = Term {
            within: Within::NextUpgrade,
            forensics: false,
        };
        const fn days(days: u32) -> Term {
            Term {
                within: Within::Days(days),
                forensics: false,
            }
        }
        let of_the_hole: [Term; CELLS / 2] =
            // Columns: not automatable and partial, not and total, automatable and partial, and total.
            [
                [UPGRADE, UPGRADE, days(60), days(60)], // not in KEV, not exposed
                [days(60), days(14), days(14), days(3)], // not in KEV, exposed
                [days(14), days(14), days(14), STRICTEST], // in KEV, not exposed
                [days(14), STRICTEST, days(3), STRICTEST], // in KEV, exposed
            ]
            .as_flattened()
            .try_into()
            .unwrap_or([STRICTEST; CELLS / 2]);
        Self {
            cells: [of_the_hole, of_the_hole]
                .as_flattened()
                .try_into()
                .unwrap_or([STRICTEST; CELLS]),
        }
    }
}

/// 2 (mitigated) by 2 (in KEV) by 2 (exposed) by 2 (automatable) by 2 (technical impact).
const CELLS: usize = 32;

/// Ten years: more is a slip of the finger.
const MAX_DAYS: u32 = 3650;

/// BOD 26-04's strictest cell.
const STRICTEST: Term = Term {
    within: Within::Days(3),
    forensics: true,
};

/// The place of a cell.
#[derive(Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "columns of two values each: those of the directive, and ours"
)]
struct Case {
    mitigated: bool,
    known_exploited: bool,
    exposed: bool,
    automatable: bool,
    total: bool,
}

impl Case {
    fn index(self) -> usize {
        usize::from(self.mitigated) << 4
            | usize::from(self.known_exploited) << 3
            | usize::from(self.exposed) << 2
            | usize::from(self.automatable) << 1
            | usize::from(self.total)
    }

    fn at(index: usize) -> Self {
        Self {
            known_exploited: index & 8 != 0,
            exposed: index & 4 != 0,
            automatable: index & 2 != 0,
            total: index & 1 != 0,
            mitigated: index & 16 != 0,
        }
    }
}

/// The policy as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    #[serde(default)]
    deadline: Vec<Row>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    kev: Option<bool>,
    exposed: Option<bool>,
    automatable: Option<SsvcAutomatable>,
    technical_impact: Option<SsvcTechnicalImpact>,
    mitigated: Option<bool>,
    within: WithinFile,
    #[serde(default)]
    forensics: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "a number of days, 0 to 3650, or \"next-upgrade\""
)]
enum WithinFile {
    Days(u32),
    Word(String),
}

impl Row {
    fn fits(&self, case: Case) -> bool {
        self.kev.is_none_or(|kev| kev == case.known_exploited)
            && self.exposed.is_none_or(|exposed| exposed == case.exposed)
            && self
                .automatable
                .is_none_or(|a| (a == SsvcAutomatable::Yes) == case.automatable)
            && self
                .technical_impact
                .is_none_or(|i| (i == SsvcTechnicalImpact::Total) == case.total)
            && self
                .mitigated
                .is_none_or(|mitigated| mitigated == case.mitigated)
    }

    fn term(&self, row: usize) -> Result<Term, InvalidPolicy> {
        let within = match &self.within {
            WithinFile::Days(days) if *days <= MAX_DAYS => Within::Days(*days),
            WithinFile::Days(days) => return Err(InvalidPolicy::TooManyDays { row, days: *days }),
            WithinFile::Word(word) if word == "next-upgrade" => Within::NextUpgrade,
            WithinFile::Word(word) => {
                return Err(InvalidPolicy::UnknownWord {
                    row,
                    word: mailkeep_model::text::printable_max(word, 40),
                });
            }
        };
        Ok(Term {
            within,
            forensics: self.forensics,
        })
    }
}

impl TryFrom<PolicyFile> for Policy {
    type Error = InvalidPolicy;
    fn try_from(file: PolicyFile) -> Result<Self, InvalidPolicy> {
        let mut policy = Self::default();
        let mut decided = [false; CELLS];
        for (row, written) in (1..).zip(&file.deadline) {
            let term = written.term(row)?;
            let mut counts = false;
            for (index, (cell, done)) in policy.cells.iter_mut().zip(&mut decided).enumerate() {
                if !*done && written.fits(Case::at(index)) {
                    *cell = term;
                    *done = true;
                    counts = true;
                }
            }
            if !counts {
                return Err(InvalidPolicy::NeverCounts { row });
            }
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn parse(text: &str) -> Result<Policy, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn the_default_is_bod_26_04() {
        let policy = Policy::default();
        let mut table = String::new();
        for index in 0..CELLS {
            let case = Case::at(index);
            assert_eq!(case.index(), index);
            let automatable = if case.automatable {
                SsvcAutomatable::Yes
            } else {
                SsvcAutomatable::No
            };
            let impact = if case.total {
                SsvcTechnicalImpact::Total
            } else {
                SsvcTechnicalImpact::Partial
            };
            let term = policy.term(
                case.known_exploited,
                case.exposed,
                case.mitigated,
                automatable,
                impact,
            );
            match term.within {
                Within::Days(days) => table.push_str(&days.to_string()),
                Within::NextUpgrade => table.push('u'),
            }
            table.push_str(if term.forensics { "f " } else { " " });
        }
        let of_the_hole = "u u 60 60 60 14 14 3 14 14 14 3f 14 3f 3 3f ";
        assert_eq!(table, of_the_hole.repeat(2), "mitigated or not");
    }

    #[test]
    fn a_row_for_mitigated_holes_leaves_the_others_alone() {
        let policy = parse(
            "[[deadline]]\nmitigated = true\nwithin = 30\n[[deadline]]\nkev = true\nwithin = 1\n",
        )
        .unwrap();
        let within = |mitigated| {
            let (automatable, impact) = (SsvcAutomatable::Yes, SsvcTechnicalImpact::Total);
            let term = policy.term(true, true, mitigated, automatable, impact);
            term.within
        };
        assert_eq!(within(true), Within::Days(30));
        assert_eq!(within(false), Within::Days(1));
    }

    #[test]
    fn the_first_row_that_fits_counts_and_the_rest_keeps_the_default() {
        let policy = parse(
            "[[deadline]]\nkev = true\nwithin = 1\n[[deadline]]\nexposed = true\nwithin = \"next-upgrade\"\n",
        )
        .unwrap();
        let term = |kev, exposed| {
            policy.term(
                kev,
                exposed,
                false,
                SsvcAutomatable::Yes,
                SsvcTechnicalImpact::Total,
            )
        };
        assert_eq!(term(true, true).within, Within::Days(1));
        assert!(!term(true, true).forensics);
        assert_eq!(term(false, true).within, Within::NextUpgrade);
        assert_eq!(term(false, false).within, Within::Days(60));
    }

    #[test]
    fn an_empty_policy_is_the_default() {
        assert_eq!(parse("").unwrap(), Policy::default());
    }

    #[test]
    fn a_row_that_never_counts_is_refused() {
        let error = parse("[[deadline]]\nwithin = 9\n[[deadline]]\nkev = true\nwithin = 1\n");
        assert!(error.unwrap_err().contains("deadline row 2 never counts"));
    }

    #[test]
    fn errors_say_what_was_expected() {
        for (text, says) in [
            ("[[deadline]]\nwithin = \"soon\"\n", "next-upgrade"),
            ("[[deadline]]\nwithin = 99999\n", "more than 3650 days"),
            ("[[deadline]]\nwithin = -1\n", "a number of days, 0 to 3650"),
            ("[[deadline]]\nkev = true\n", "missing field `within`"),
            ("[[deadline]]\nexpose = true\nwithin = 1\n", "expose"),
            (
                "[[deadline]]\nautomatable = true\nwithin = 1\n",
                "automatable",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn days_are_calendar_days_and_never_overflow() {
        let term = Term {
            within: Within::Days(3),
            forensics: false,
        };
        assert_eq!(
            term.deadline(date(2026, 12, 30)),
            Some(date(2027, 1, 2)),
            "over the end of the year"
        );
        assert_eq!(term.deadline(Date::MAX), Some(Date::MAX));
    }
}
