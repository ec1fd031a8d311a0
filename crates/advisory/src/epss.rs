//! FIRST.org's EPSS scores, CSV: a comment line `#model_version:...,score_date:...`, a header row,
//! then `cve,epss,percentile`.
//!
//! Entry: [`read`].

use std::io::Read;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use mailkeep_model::{AdvisoryId, Problem, Signal, Timestamp};

use crate::window::{Line, Lines};
use crate::{ReadError, Sink, Summary};

const EXPECTED: &str = "EPSS CSV";

/// Longest line taken; real ones have 40 bytes, the comment 60.
const LINE_MAX: usize = 4096;

/// Reads the scores. [`Summary::as_of`] is `score_date` of the comment line.
///
/// A header row is required: without one, which column is which would be a guess.
pub fn read(input: impl Read, sink: &mut dyn Sink) -> Result<Summary, ReadError> {
    let mut lines = Lines::open(input, EXPECTED, LINE_MAX)?;
    let mut summary = Summary::default();
    let mut columns = None;
    while let Some(line) = lines.next()? {
        let reason = match (line, columns) {
            (Line::Whole([]), _) => continue,
            (Line::Whole([b'#', comment @ ..]), _) => {
                summary.as_of = summary.as_of.or_else(|| score_date(comment));
                continue;
            }
            (Line::Whole(line), None) => {
                columns = Some(Columns::of(line)?);
                continue;
            }
            (Line::Whole(line), Some(columns)) => match columns.row(line) {
                Ok((id, signal)) => {
                    summary.records += 1;
                    sink.signal(&id, signal)?;
                    continue;
                }
                Err(reason) => reason,
            },
            (Line::TooLong, None) => return Err(no_header("a very long line")),
            (Line::TooLong, Some(_)) => "the line is too long",
        };
        summary.records += 1;
        summary.problems += 1;
        sink.problem(Problem::new(format!("line {}", lines.number()), reason))?;
    }
    summary.cut_short = lines.ended_early().map(ToOwned::to_owned);
    if summary.records == summary.problems && summary.cut_short.is_none() {
        return Err(no_header("it holds no score that can be read"));
    }
    Ok(summary)
}

/// Fuzz entry.
pub fn fuzz(data: &[u8]) {
    let _read = read(data, &mut crate::Collect::default());
}

fn no_header(found: &str) -> ReadError {
    ReadError::NotThisKind {
        expected: EXPECTED,
        found: found.to_owned(),
    }
}

/// The date in `model_version:v2025.03.14,score_date:2026-08-16T00:00:00+0000`. Older files give
/// the day alone.
fn score_date(comment: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(comment).ok()?;
    let (_, date) = text.split_once("score_date:")?;
    let date = date.split(',').next()?.trim();
    date.parse::<Timestamp>()
        .or_else(|_| Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", date))
        .ok()
        .or_else(|| {
            let day = date.parse::<Date>().ok()?;
            Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
        })
}

/// Which column holds what.
#[derive(Clone, Copy)]
struct Columns {
    cve: usize,
    epss: usize,
    percentile: usize,
}

impl Columns {
    fn of(header: &[u8]) -> Result<Self, ReadError> {
        let find = |name: &[u8]| {
            header
                .split(|b| *b == b',')
                .position(|column| column.trim_ascii().eq_ignore_ascii_case(name))
        };
        match (find(b"cve"), find(b"epss"), find(b"percentile")) {
            (Some(cve), Some(epss), Some(percentile)) => Ok(Self {
                cve,
                epss,
                percentile,
            }),
            _ => Err(no_header(
                "its first row does not name cve, epss and percentile",
            )),
        }
    }

    fn row(self, line: &[u8]) -> Result<(AdvisoryId, Signal), &'static str> {
        let (mut id, mut score, mut percentile) = (None, None, None);
        for (at, column) in line.split(|b| *b == b',').enumerate() {
            let column = column.trim_ascii();
            if at == self.cve {
                id = std::str::from_utf8(column).ok();
            } else if at == self.epss {
                score = share(column);
            } else if at == self.percentile {
                percentile = share(column);
            }
        }
        let id = id
            .and_then(|id| AdvisoryId::new(id).ok())
            .filter(AdvisoryId::is_cve)
            .ok_or("its first column is no CVE id")?;
        Ok((
            id,
            Signal::Epss {
                score: score.ok_or("its score is no number from 0 to 1")?,
                percentile: percentile.ok_or("its percentile is no number from 0 to 1")?,
            },
        ))
    }
}

fn share(text: &[u8]) -> Option<f32> {
    let number = std::str::from_utf8(text).ok()?.parse().ok()?;
    (0.0..=1.0).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Collect;
    use proptest::prelude::*;

    fn epss(text: &str) -> (Collect, Summary) {
        let mut sink = Collect::default();
        let summary = read(text.as_bytes(), &mut sink).unwrap();
        (sink, summary)
    }

    #[test]
    fn rows_become_signals_and_the_comment_the_date() {
        let (sink, summary) = epss(
            "#model_version:v2025.03.14,score_date:2026-08-16T12:55:00Z\ncve,epss,percentile\nCVE-1999-0001,0.03351,0.87650\r\nCVE-2019-10149,0.9,1\n",
        );
        assert_eq!(summary.as_of, Some("2026-08-16T12:55:00Z".parse().unwrap()));
        assert_eq!((summary.records, summary.problems), (2, 0));
        assert_eq!(
            sink.signals[0].1,
            Signal::Epss {
                score: 0.03351,
                percentile: 0.8765
            }
        );
    }

    #[test]
    fn every_way_the_date_was_ever_written_is_read() {
        for date in [
            "2022-02-04",
            "2026-08-16T00:00:00+0000",
            "2026-08-16T00:00:00Z",
        ] {
            assert!(
                score_date(format!("model_version:x,score_date:{date}").as_bytes()).is_some(),
                "{date}"
            );
        }
        assert_eq!(score_date(b"model_version:x"), None);
    }

    #[test]
    fn a_bad_row_is_named_by_its_line_and_the_rest_goes_on() {
        let (sink, summary) = epss(
            "cve,epss,percentile\nCVE-1999-0001,2,0.1\nCVE-1999-0002,0.1\nx,0.1,0.1\nCVE-1999-0003,NaN,0\nCVE-1999-0004,0.1,0.1\n",
        );
        let records: Vec<_> = sink.problems.iter().map(|p| p.record.as_str()).collect();
        assert_eq!(records, ["line 2", "line 3", "line 4", "line 5"]);
        assert_eq!((summary.records, summary.problems), (5, 4));
    }

    #[test]
    fn a_file_without_header_or_rows_is_refused() {
        for text in [
            "CVE-1999-0001,0.1,0.1\n",
            "cve,epss,percentile\n",
            "# x\n",
            "<html>",
        ] {
            assert!(
                read(text.as_bytes(), &mut Collect::default()).is_err(),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz(&data);
            fuzz(&[b"cve,epss,percentile\n", &data[..]].concat());
        }
    }
}
