//! One look at a live host: the script that looks, and the reader of what it reports.
//!
//! Entry: [`SCRIPT`], fed to `sh -s -- NONCE [released]` on the host, and [`parse_report`].
//!
//! The nonce guards against accidents, text that happens to look like a section; a host that lies can
//! lie in better ways. What it says is data, never an instruction, and is made printable here.
//!
//! The script sends raw text (`/proc/net/tcp`, `apt-cache policy`, ...) in sections marked by a
//! nonce; all parsing is here, where it is tested. Whatever the host lacks is a [`Limitation`], not a
//! failure. A report that is cut, or is none, gives [`GarbageOutput`] and no facts: half a package
//! list would look like a host without findings.

mod candidates;
mod processes;
mod sockets;

use std::borrow::Cow;

use jiff::Timestamp;
use mailkeep_model::text::printable_max;
use mailkeep_model::{FactsSource, HostFacts, HostName, Limitation, Problem, Seen};
use memchr::memmem;

use crate::{dpkg, os_release, rpm, unread};

/// The script: POSIX sh, read-only, for dash, busybox and bash. It needs no root, and takes about a
/// second, of which apt has the most; banners that do not come add up to two.
pub const SCRIPT: &str = include_str!("scan/scan.sh");

/// Longest report read, in bytes. A host with 5,000 packages sends about 5 MB.
pub const MAX_REPORT_BYTES: usize = 64 << 20;

/// What one report brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanReport {
    /// What was seen.
    pub facts: HostFacts,
    /// Records that could not be read.
    pub problems: Vec<Problem>,
    /// Changelogs of newer mail packages, where they were asked for.
    pub changelogs: Vec<OfferedChangelog>,
}

/// What a newer mail package says has changed since the installed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedChangelog {
    /// Source package.
    pub source: String,
    /// Installed version of the source package.
    pub installed: String,
    /// Version of the binary package the host's package manager would install.
    pub offered: String,
    /// Entries of its Debian changelog down to, and without, the installed version's; at most
    /// 64 KiB of the file were read.
    pub text: String,
}

/// Why an answer is no report. Quotes at most 80 printable characters of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GarbageOutput {
    /// Nothing but white space.
    #[error("the host sent nothing")]
    Empty,
    /// No line of it begins a report.
    #[error("the host sent no report, but \"{begins}\"")]
    NoReport {
        /// How it begins.
        begins: String,
    },
    /// A report of a format this version does not know.
    #[error("the host sent a report of the unknown format \"{version}\"")]
    OtherFormat {
        /// The format it names.
        version: String,
    },
    /// Longer than [`MAX_REPORT_BYTES`].
    #[error("the host sent more than {} MiB", MAX_REPORT_BYTES >> 20)]
    TooLong,
    /// It has no end.
    #[error("the report breaks off in section \"{section}\"")]
    Truncated {
        /// The last section begun.
        section: String,
    },
}

/// When a report was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// Just now, by our clock; the host's own yields a limitation where it differs by more than five
    /// minutes.
    Now(Timestamp),
    /// Some time ago: it was kept in a file. The time that it bears itself counts; this one where it
    /// bears none.
    Before(Timestamp),
}

/// Reads a report. Text before the report (a message of the day, a shell profile that prints) is
/// skipped.
pub fn parse_report(
    host: HostName,
    source: FactsSource,
    made: Made,
    report: &[u8],
) -> Result<ScanReport, GarbageOutput> {
    let sections = Sections::split(report)?;
    let mut lacks = Lacks::from(&sections);
    let about = HostSection::parse(&sections.text("host"));
    let seen_at = match made {
        Made::Now(at) => {
            about.check_clock(at, &mut lacks);
            at
        }
        Made::Before(otherwise) => about
            .now
            .and_then(|second| Timestamp::from_second(second).ok())
            .unwrap_or(otherwise),
    };

    let (os, mut problems) = os_release::parse(&sections.text("os-release"));
    let (packages, bad, remark) = if let Some(status) = sections.body("dpkg-status") {
        let (packages, bad) = dpkg::parse_status(status);
        (packages, bad, None)
    } else {
        let mut list = rpm::read_qa(&sections.text("rpm-qa"));
        if sections.has("rpm-needs")
            && !rpm::needs::fill(&mut list.packages, &sections.text("rpm-needs"))
        {
            let why = "rpm did not name all that packages need; dependencies of mail software may be missed";
            lacks.add("dependencies", why);
        }
        (list.packages, list.unread, list.remark)
    };
    let unread = unread(&bad);
    problems.extend(bad);
    problems.extend(remark);
    if packages.is_empty() && !lacks.has("packages") {
        lacks.add("packages", "the host's package manager named none");
    }
    let platform = if os.id.is_empty() {
        rpm::platform_hint(&packages)
    } else {
        os_release::platform_of(&os)
    };

    let sockets = sockets::read(&sections, &about, &mut lacks);
    let processes = processes::read(&sections, &about, &packages, &sockets, &mut lacks);
    let listeners = if lacks.has("listeners") || !sections.has("tcp") {
        Seen::No
    } else {
        Seen::Yes(sockets.listeners)
    };
    let candidates = candidates::read(&sections, &packages, &mut lacks);
    let changelogs = candidates::changelogs(&sections);
    // However much else the host says that it could not show, this must not be crowded out.
    lacks.0.extend(unread);
    Ok(ScanReport {
        facts: HostFacts {
            host,
            seen_at,
            source,
            os,
            platform,
            packages,
            processes,
            listeners,
            candidates,
            limitations: lacks.sorted(),
        },
        problems,
        changelogs,
    })
}

/// Fuzz entry: any bytes.
pub fn fuzz(input: &[u8]) {
    let Ok(host) = HostName::new("fuzz") else {
        return;
    };
    let made = Made::Before(Timestamp::UNIX_EPOCH);
    if let Err(garbage) = parse_report(host, FactsSource::Ssh, made, input) {
        debug_assert!(garbage.to_string().chars().count() < 200);
    }
}

/// The first word of a report; the format and the nonce follow.
const MAGIC: &[u8] = b"MAILKEEP-FACTS ";
const FORMAT: &str = "1";
/// Characters of a host's text that an error quotes.
const QUOTED: usize = 80;
/// Sections and limitations kept at most: a report has some thirty.
const MAX_SECTIONS: usize = 2000;
const MAX_LACKS: usize = 200;
/// How far a host's clock may be off before it is worth a word, in seconds.
const CLOCK_TOLERANCE: i64 = 300;

/// A report, taken apart.
pub(crate) struct Sections<'a> {
    /// Name, arguments, body.
    list: Vec<(Cow<'a, str>, Cow<'a, str>, &'a [u8])>,
}

impl<'a> Sections<'a> {
    pub(crate) fn split(report: &'a [u8]) -> Result<Self, GarbageOutput> {
        if report.len() > MAX_REPORT_BYTES {
            return Err(GarbageOutput::TooLong);
        }
        let begin = memmem::find_iter(report, MAGIC)
            .find(|at| *at == 0 || report.get(at - 1) == Some(&b'\n'))
            .ok_or_else(|| no_report(report))?;
        let rest = report.get(begin + MAGIC.len()..).unwrap_or_default();
        let (head, mut rest) = split_line(rest);
        let head = String::from_utf8_lossy(head);
        let mut words = head.split_ascii_whitespace();
        let version = words.next().unwrap_or_default();
        if version != FORMAT {
            return Err(GarbageOutput::OtherFormat {
                version: printable_max(version, QUOTED),
            });
        }
        let nonce = words.next().unwrap_or_default();
        if nonce.is_empty() {
            return Err(no_report(report));
        }
        let mark = format!("\n={nonce} ");
        let finder = memmem::Finder::new(mark.as_bytes());
        let mut parts: Vec<(Cow<'_, str>, Cow<'_, str>, &[u8])> = Vec::new();
        while let Some(at) = finder.find(rest) {
            if let Some(last) = parts.last_mut() {
                last.2 = rest.get(..at).unwrap_or_default();
            }
            let (head, body) = split_line(rest.get(at + mark.len()..).unwrap_or_default());
            let (name, arguments) = match memchr::memchr(b' ', head) {
                Some(space) => (
                    head.get(..space).unwrap_or_default(),
                    head.get(space + 1..).unwrap_or_default(),
                ),
                None => (head, &[][..]),
            };
            parts.push((
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(arguments),
                &[],
            ));
            rest = body;
            if name == b"end" || parts.len() >= MAX_SECTIONS {
                break;
            }
        }
        match parts.last() {
            Some((name, ..)) if name == "end" => Ok(Self { list: parts }),
            last => Err(GarbageOutput::Truncated {
                section: last.map_or_else(String::new, |(name, ..)| printable_max(name, QUOTED)),
            }),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.list.iter().any(|(n, ..)| n == name)
    }

    fn body(&self, name: &str) -> Option<&'a [u8]> {
        let (.., body) = self.list.iter().find(|(n, ..)| n == name)?;
        Some(body)
    }

    pub(crate) fn text(&self, name: &str) -> Cow<'a, str> {
        String::from_utf8_lossy(self.body(name).unwrap_or_default())
    }

    /// Arguments and text of every section of a name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = (&str, Cow<'a, str>)> {
        self.list
            .iter()
            .filter(move |(n, ..)| n == name)
            .map(|(_, arguments, body)| (&**arguments, String::from_utf8_lossy(body)))
    }
}

fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', bytes) {
        Some(at) => (
            bytes.get(..at).unwrap_or_default().trim_ascii_end(),
            bytes.get(at + 1..).unwrap_or_default(),
        ),
        None => (bytes, &[]),
    }
}

fn no_report(report: &[u8]) -> GarbageOutput {
    let begins = report.trim_ascii_start();
    // Four bytes a character at most.
    let begins = begins.get(..QUOTED * 4 + 4).unwrap_or(begins);
    if begins.is_empty() {
        GarbageOutput::Empty
    } else {
        GarbageOutput::NoReport {
            begins: printable_max(&String::from_utf8_lossy(begins), QUOTED),
        }
    }
}

/// Limitations, collected.
pub(crate) struct Lacks(Vec<Limitation>);

impl Lacks {
    pub(crate) fn from(sections: &Sections<'_>) -> Self {
        let mut lacks = Self(Vec::new());
        for (arguments, _) in sections.all("lack") {
            let (what, why) = arguments.split_once('|').unwrap_or((arguments, ""));
            lacks.add(what, why);
        }
        lacks
    }

    fn add(&mut self, what: &str, why: &str) {
        if self.0.len() < MAX_LACKS {
            self.0.push(Limitation {
                what: printable_max(what, 100),
                why: printable_max(why, 200),
            });
        }
    }

    fn has(&self, what: &str) -> bool {
        self.0.iter().any(|l| l.what == what)
    }

    pub(crate) fn sorted(mut self) -> Vec<Limitation> {
        self.0.sort();
        self.0.dedup();
        self.0
    }
}

/// Section `host`: what is needed to read the rest.
#[derive(Debug, Default)]
struct HostSection {
    root: bool,
    now: Option<i64>,
    /// Clock ticks a second, for `/proc/PID/stat`.
    hertz: i64,
    /// `/proc/net/tcp` prints addresses in the machine's byte order.
    big_endian: bool,
    /// Seconds east of UTC, now.
    offset: Option<i32>,
}

impl HostSection {
    fn parse(text: &str) -> Self {
        let mut about = Self {
            hertz: 100,
            ..Self::default()
        };
        for (key, value) in text.lines().filter_map(|l| l.split_once(' ')) {
            let value = value.trim();
            match key {
                "uid" => about.root = value == "0",
                "now" => about.now = value.parse().ok(),
                "hertz" => about.hertz = value.parse().ok().filter(|h| *h > 0).unwrap_or(100),
                "order" => about.big_endian = value == "0100",
                "zone" => about.offset = parse_offset(value),
                _ => {}
            }
        }
        about
    }

    fn check_clock(&self, seen_at: Timestamp, lacks: &mut Lacks) {
        let Some(now) = self.now else {
            lacks.add("clock", "the host's own time could not be read");
            return;
        };
        let ahead = now.saturating_sub(seen_at.as_second());
        if ahead.saturating_abs() > CLOCK_TOLERANCE {
            let minutes = ahead.saturating_abs() / 60;
            let side = if ahead > 0 { "ahead of" } else { "behind" };
            lacks.add(
                "clock",
                &format!("the host's clock is {minutes} minutes {side} ours"),
            );
        }
    }
}

/// `+0130` as seconds.
fn parse_offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    if minutes.len() != 2 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let hours: i32 = hours.parse().ok()?;
    let minutes: i32 = minutes.parse().ok()?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests;
