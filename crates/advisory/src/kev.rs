//! CISA's catalogue of known exploited vulnerabilities, JSON.
//!
//! Entry: [`read`]. It gives signals about CVE ids and no statement about any package: the
//! catalogue's vendor and product are names for people.

use std::io::Read;

use jiff::civil::Date;
use mailkeep_model::{AdvisoryId, Problem, Signal, Timestamp};
use serde::Deserialize;

use crate::json_stream::Splitter;
use crate::{ReadError, Sink, Summary, text};

const EXPECTED: &str = "KEV catalogue";

/// Reads the catalogue. [`Summary::as_of`] is its `dateReleased`.
pub fn read(input: impl Read, sink: &mut dyn Sink) -> Result<Summary, ReadError> {
    let mut splitter = Splitter::open(input, EXPECTED)?.at(&["vulnerabilities"]);
    let mut summary = Summary::default();
    let mut found = false;
    while let Some(member) = splitter.next()? {
        if !member.inside {
            match (&*member.key(), member.value) {
                ("dateReleased", Ok(value)) => summary.as_of = date_released(value),
                ("vulnerabilities", Ok(value)) => {
                    return Err(not_the_catalogue(&format!(
                        "its vulnerabilities are no list: {}",
                        text::line(&String::from_utf8_lossy(value), 40)
                    )));
                }
                _ => {}
            }
            continue;
        }
        summary.records += 1;
        let name = member.name();
        let entry = match member.value {
            Ok(value) => serde_json::from_slice::<Entry>(value).map_err(|error| error.to_string()),
            Err(unusable) => Err(unusable.to_string()),
        };
        match entry.and_then(Entry::signals) {
            Ok((id, signals)) => {
                found = true;
                for signal in signals {
                    sink.signal(&id, signal)?;
                }
            }
            Err(reason) => {
                summary.problems += 1;
                sink.problem(Problem::new(name, reason))?;
            }
        }
    }
    summary.cut_short = splitter.cut_short();
    if !found && summary.cut_short.is_none() {
        return Err(not_the_catalogue(
            "it lists no vulnerability that can be read",
        ));
    }
    Ok(summary)
}

/// Fuzz entry.
pub fn fuzz(data: &[u8]) {
    let _read = read(data, &mut crate::Collect::default());
}

fn not_the_catalogue(found: &str) -> ReadError {
    ReadError::NotThisKind {
        expected: EXPECTED,
        found: found.to_owned(),
    }
}

fn date_released(value: &[u8]) -> Option<Timestamp> {
    serde_json::from_slice::<String>(value).ok()?.parse().ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(rename = "cveID")]
    cve_id: String,
    date_added: String,
    #[serde(default)]
    due_date: Option<String>,
    #[serde(default)]
    known_ransomware_campaign_use: Option<String>,
    #[serde(default)]
    vulnerability_name: Option<String>,
    #[serde(default)]
    cwes: Vec<String>,
}

impl Entry {
    fn signals(self) -> Result<(AdvisoryId, Vec<Signal>), String> {
        let id = AdvisoryId::new(self.cve_id.trim()).map_err(|error| error.to_string())?;
        let date = |text: &str| {
            text.parse::<Date>()
                .map_err(|error| format!("{id}: {text:?} is no date ({error})"))
        };
        let mut signals = vec![Signal::Kev {
            added: date(&self.date_added)?,
            // A due date is CISA's own affair; without one it is as exploited as with one.
            due: self.due_date.as_deref().and_then(|text| date(text).ok()),
            ransomware: self.known_ransomware_campaign_use.as_deref() == Some("Known"),
        }];
        if let Some(name) = self
            .vulnerability_name
            .filter(|name| !name.trim().is_empty())
        {
            signals.push(Signal::Title {
                text: text::line(&name, text::TITLE_MAX),
            });
        }
        let mut cwes: Vec<_> = self
            .cwes
            .iter()
            .filter_map(|cwe| text::token(cwe))
            .collect();
        cwes.sort();
        cwes.dedup();
        if !cwes.is_empty() {
            signals.push(Signal::Weaknesses { cwes });
        }
        Ok((id, signals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Collect;
    use jiff::civil::date;
    use proptest::prelude::*;

    #[test]
    fn an_entry_becomes_signals() {
        let mut sink = Collect::default();
        let summary = read(
            &br#"{"title": "t", "dateReleased": "2026-08-07T16:45:47.0648Z", "count": 2, "vulnerabilities": [
                {"cveID": "CVE-2019-10149", "dateAdded": "2022-01-10", "dueDate": "2022-07-10",
                 "vulnerabilityName": "Exim MTA Improper Input Validation", "knownRansomwareCampaignUse": "Known", "cwes": ["CWE-78", "CWE-20"]},
                {"cveID": "CVE-2020-7247", "dateAdded": "soon"},
                {"cveID": "CVE-2020-28017", "dateAdded": "2022-01-10", "dueDate": "", "knownRansomwareCampaignUse": "Unknown"}]}"#[..],
            &mut sink,
        )
        .unwrap();
        assert_eq!((summary.records, summary.problems), (3, 1));
        assert_eq!(
            summary.as_of,
            Some("2026-08-07T16:45:47.0648Z".parse().unwrap())
        );
        assert_eq!(
            sink.signals[0].1,
            Signal::Kev {
                added: date(2022, 1, 10),
                due: Some(date(2022, 7, 10)),
                ransomware: true
            }
        );
        assert_eq!(
            sink.signals[2].1,
            Signal::Weaknesses {
                cwes: vec!["CWE-20".into(), "CWE-78".into()]
            }
        );
        assert_eq!(
            sink.signals[3].1,
            Signal::Kev {
                added: date(2022, 1, 10),
                due: None,
                ransomware: false
            }
        );
        assert!(sink.problems[0].reason.contains("CVE-2020-7247: \"soon\""));
    }

    #[test]
    fn an_empty_or_foreign_catalogue_is_refused_and_never_read_as_nothing_exploited() {
        for text in [
            "{}",
            r#"{"vulnerabilities": []}"#,
            r#"{"vulnerabilities": "x"}"#,
            "[]",
        ] {
            let error = read(text.as_bytes(), &mut Collect::default()).unwrap_err();
            assert!(matches!(error, ReadError::NotThisKind { .. }), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz(&data);
        }
    }
}
