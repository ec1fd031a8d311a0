//! iCalendar objects that a mail program shows as an invitation (RFC 5545, RFC 5546, RFC 6047).
//!
//! Written here and not by a crate: the ones there are ask the clock and a random number generator where
//! a part has no `DTSTAMP` or `UID` of its own, as an alarm has none, and equal input must give equal
//! bytes. A test has them read by another's parser.
//!
//! Times are in UTC, which every calendar shows in its reader's own time; a `TZID` would have to carry
//! the rules of its zone along, and programs differ in whether they heed those. What the region's clocks
//! show stands in the description.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Longest line in octets, without its end (RFC 5545 section 3.1).
const MAX_LINE: usize = 75;

/// What is done to an entry in the receiver's calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// It is taken out.
    Cancel,
    /// It is entered, or replaces one of the same UID and a lower sequence number.
    Request,
}

impl Method {
    /// The name as RFC 5546 has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cancel => "CANCEL",
            Self::Request => "REQUEST",
        }
    }
}

/// One entry for a calendar.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// What is done to it.
    pub method: Method,
    /// The same for all versions of it.
    pub uid: &'a str,
    /// Higher with every version.
    pub sequence: u32,
    /// When this version was made.
    pub stamp: Timestamp,
    /// Begin.
    pub start: Timestamp,
    /// End.
    pub end: Timestamp,
    /// One line.
    pub summary: &'a str,
    /// The rest, in lines.
    pub description: &'a str,
    /// Where.
    pub location: &'a str,
    /// Whether it may still change or fall away.
    pub tentative: bool,
    /// Who invites: a bare address.
    pub organizer: &'a str,
    /// Who is invited: name and bare addresses.
    pub attendees: (&'a str, &'a [String]),
}

/// Writes it.
pub fn write(entry: &Entry<'_>) -> String {
    let mut out = String::new();
    let mut line = |text: &str| fold(text, &mut out);
    line("BEGIN:VCALENDAR");
    line("VERSION:2.0");
    line("PRODID:-//Mailkeep//Mailkeep//EN");
    line("CALSCALE:GREGORIAN");
    line(&format!("METHOD:{}", entry.method.name()));
    line("BEGIN:VEVENT");
    line(&format!("UID:{}", escaped(entry.uid)));
    line(&format!("SEQUENCE:{}", entry.sequence));
    line(&format!("DTSTAMP:{}", utc(entry.stamp)));
    line(&format!("DTSTART:{}", utc(entry.start)));
    line(&format!("DTEND:{}", utc(entry.end)));
    line(&format!("SUMMARY:{}", escaped(entry.summary)));
    line(&format!("DESCRIPTION:{}", escaped(entry.description)));
    line(&format!("LOCATION:{}", escaped(entry.location)));
    line(&format!(
        "ORGANIZER;CN=Mailkeep:mailto:{}",
        bare(entry.organizer)
    ));
    let (name, addresses) = entry.attendees;
    for address in addresses {
        line(&format!(
            "ATTENDEE;CN={};ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=FALSE:mailto:{}",
            parameter(name),
            bare(address)
        ));
    }
    let status = match (entry.method, entry.tentative) {
        (Method::Cancel, _) => "CANCELLED",
        (Method::Request, true) => "TENTATIVE",
        (Method::Request, false) => "CONFIRMED",
    };
    line(&format!("STATUS:{status}"));
    line("TRANSP:OPAQUE");
    line("CATEGORIES:MAINTENANCE");
    if entry.method == Method::Request {
        line("BEGIN:VALARM");
        line("ACTION:DISPLAY");
        line(&format!("DESCRIPTION:{}", escaped(entry.summary)));
        line("TRIGGER:-PT1H");
        line("END:VALARM");
    }
    line("END:VEVENT");
    line("END:VCALENDAR");
    out
}

/// RFC 5545 section 3.3.5, form 2.
fn utc(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC)
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string()
}

/// A text value (RFC 5545 section 3.3.11), without what no text may hold.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | ';' | ',' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            c if mailkeep_model::text::is_unsafe(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// A parameter's value in quotes, which it cannot contain itself (RFC 5545 section 3.2).
fn parameter(text: &str) -> String {
    let inside: String = text
        .chars()
        .filter(|c| *c != '"' && !mailkeep_model::text::is_unsafe(*c))
        .collect();
    format!("\"{inside}\"")
}

/// The address out of `Name <address>`, or the text itself, without what would end the line.
fn bare(address: &str) -> String {
    let inside = address
        .rsplit_once('<')
        .map_or(address, |(_, rest)| rest.trim_end().trim_end_matches('>'));
    inside
        .chars()
        .filter(|c| !c.is_whitespace() && !mailkeep_model::text::is_unsafe(*c))
        .collect()
}

/// Appends a line, folded: no more than 75 octets each, never inside a character.
fn fold(text: &str, out: &mut String) {
    let mut room = MAX_LINE;
    for c in text.chars() {
        if c.len_utf8() > room {
            out.push_str("\r\n ");
            // The space counts.
            room = MAX_LINE - 1;
        }
        room -= c.len_utf8();
        out.push(c);
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use icalendar::{Calendar, CalendarComponent, Component as _};
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn entry<'a>(summary: &'a str, description: &'a str, to: &'a [String]) -> Entry<'a> {
        Entry {
            method: Method::Request,
            uid: "0123456789ab-sin-rest-0@mailkeep",
            sequence: 3,
            stamp: at("2026-11-21T12:00:00Z"),
            start: at("2026-11-21T19:00:00Z"),
            end: at("2026-11-21T21:30:00Z"),
            summary,
            description,
            location: "sin",
            tentative: false,
            organizer: "Mailkeep <mailkeep@harbour.example>",
            attendees: ("asia", to),
        }
    }

    /// A value as it was before it was written, read by another's parser.
    fn read(text: &str, property: &str) -> String {
        let calendar: Calendar = text.parse().unwrap();
        let CalendarComponent::Event(event) = calendar.components.into_iter().next().unwrap()
        else {
            panic!("no event in {text}");
        };
        event.property_value(property).unwrap().to_owned()
    }

    #[test]
    fn an_invitation_has_what_mail_programs_ask_for() {
        let to = ["mail-asia@harbour.example".to_owned()];
        let text = write(&entry("Patching, 2 hosts", "mx1; mx2\nCall +65", &to));
        let expected = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Mailkeep//Mailkeep//EN\r\n\
            CALSCALE:GREGORIAN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\n\
            UID:0123456789ab-sin-rest-0@mailkeep\r\nSEQUENCE:3\r\nDTSTAMP:20261121T120000Z\r\n\
            DTSTART:20261121T190000Z\r\nDTEND:20261121T213000Z\r\nSUMMARY:Patching\\, 2 hosts\r\n\
            DESCRIPTION:mx1\\; mx2\\nCall +65\r\nLOCATION:sin\r\n\
            ORGANIZER;CN=Mailkeep:mailto:mailkeep@harbour.example\r\n\
            ATTENDEE;CN=\"asia\";ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=FALSE:ma\r\n\x20\
            ilto:mail-asia@harbour.example\r\nSTATUS:CONFIRMED\r\nTRANSP:OPAQUE\r\n\
            CATEGORIES:MAINTENANCE\r\nBEGIN:VALARM\r\nACTION:DISPLAY\r\n\
            DESCRIPTION:Patching\\, 2 hosts\r\nTRIGGER:-PT1H\r\nEND:VALARM\r\nEND:VEVENT\r\n\
            END:VCALENDAR\r\n";
        assert_eq!(text, expected);
        assert_eq!(read(&text, "SUMMARY"), "Patching, 2 hosts");
        assert_eq!(read(&text, "DESCRIPTION"), "mx1; mx2\nCall +65");
    }

    #[test]
    fn a_cancellation_rings_no_alarm_and_says_that_it_is_one() {
        let to = ["mail-asia@harbour.example".to_owned()];
        let mut entry = entry("Patching", "", &to);
        entry.method = Method::Cancel;
        let text = write(&entry);
        assert!(text.contains("METHOD:CANCEL\r\n") && text.contains("STATUS:CANCELLED\r\n"));
        assert!(!text.contains("VALARM"));
        entry.method = Method::Request;
        entry.tentative = true;
        assert!(write(&entry).contains("STATUS:TENTATIVE\r\n"));
    }

    #[test]
    fn nobody_writes_lines_of_his_own() {
        let to = ["x@y.example\r\nATTENDEE:mailto:z@y.example".to_owned()];
        let mut entry = entry("a\r\nMETHOD:CANCEL", "b\rEND:VEVENT", &to);
        entry.attendees.0 = "a\":mailto:z@y.example\r\nX";
        let text = write(&entry);
        let starts = |with: &str| text.lines().filter(|line| line.starts_with(with)).count();
        assert_eq!(starts("METHOD:"), 1, "{text}");
        assert_eq!(starts("ATTENDEE"), 1, "{text}");
        assert_eq!(starts("END:VEVENT"), 1, "{text}");
    }

    proptest! {
        #[test]
        fn whatever_the_words_lines_are_short_and_another_parser_reads_them_back(
            summary in "[\\PC]{0,200}",
            description in "[\\PC\n]{0,400}",
        ) {
            let to = ["a@b.example".to_owned()];
            let text = write(&entry(&summary, &description, &to));
            for line in text.split("\r\n") {
                prop_assert!(line.len() <= MAX_LINE, "{} octets: {line}", line.len());
                prop_assert!(!line.contains(['\r', '\n']));
            }
            prop_assert!(text.ends_with("END:VCALENDAR\r\n"));
            let kept = |text: &str| -> String {
                text.chars()
                    .filter(|c| *c == '\n' || !mailkeep_model::text::is_unsafe(*c))
                    .collect()
            };
            prop_assert_eq!(read(&text, "SUMMARY"), kept(&summary));
            prop_assert_eq!(read(&text, "DESCRIPTION"), kept(&description));
        }
    }
}
