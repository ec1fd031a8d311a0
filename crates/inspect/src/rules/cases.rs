//! Self-tests: what a rule must refuse, and what it must let pass.

use std::borrow::Cow;

use super::bundle::{Bundle, BundleError, Case, PatchRule};
use super::compile::Compiled;
use super::view;
use crate::{Content, Origin};

impl Bundle {
    /// Holds every signature to its own self-tests.
    ///
    /// # Errors
    /// One does not refuse what it must, or refuses what it must not.
    pub fn test(&self) -> Result<(), BundleError> {
        for rule in self.rules.iter().filter(|rule| rule.is_signature()) {
            test(rule)?;
        }
        Ok(())
    }
}

fn test(rule: &PatchRule) -> Result<(), BundleError> {
    let compiled = Compiled::of([rule])?;
    for (cases, refuses) in [(&rule.refused, true), (&rule.passes, false)] {
        for (nth, case) in (1..).zip(cases) {
            let failed = |what: &str| BundleError::SelfTest {
                rule: rule.name.clone(),
                what: what.to_owned(),
            };
            let holds = holds(&compiled, case)
                .ok_or_else(|| failed(&format!("case {nth} says that it is base64, and is not")))?;
            if holds != refuses {
                return Err(failed(&if refuses {
                    format!("the {nth}. case of refused passes")
                } else {
                    format!("the {nth}. case of passes is refused")
                }));
            }
        }
    }
    Ok(())
}

fn holds(compiled: &Compiled, case: &Case) -> Option<bool> {
    let octets = |text: &str| {
        if case.base64 {
            view::base64(text.as_bytes())
        } else {
            Some(text.as_bytes().to_vec())
        }
    };
    for line in &case.commands {
        if !compiled.command(&octets(line)?).is_empty() {
            return Some(true);
        }
    }
    let mut run = compiled.message();
    if let Some(header) = &case.header {
        let block = octets(header)?;
        run.header(&block);
        run.part_header(&block, "");
    }
    if case.content.is_some() || !case.name.is_empty() {
        let text = octets(case.content.as_deref().unwrap_or_default())?;
        run.content(&Content {
            octets: Cow::Owned(text),
            names: [&case.name]
                .into_iter()
                .filter(|name| !name.is_empty())
                .cloned()
                .collect(),
            types: [&case.media_type]
                .into_iter()
                .filter(|name| !name.is_empty())
                .cloned()
                .collect(),
            origin: if case.member {
                Origin::Member
            } else {
                Origin::Attachment
            },
            place: String::new(),
        });
    }
    Some(!run.finish().is_empty())
}
