//! What Suricata saw by our rules: alerts of its log of events (EVE, one JSON object a line).
//!
//! Entry: [`read_alerts`]. Other records, and alerts by rules of others, are counted and left out. What cannot be read is
//! counted and told, and the rest goes on. A line of more than 1 MiB is not held.

use std::io::{self, BufRead, Read as _};
use std::net::IpAddr;

use mailkeep_model::Timestamp;
use serde::Deserialize;

use super::suricata::{FIRST_SID, LAST_SID, rule_of};

/// Octets of the longest line that is read; Suricata's own lines end at some ten thousand.
const MAX_LINE: usize = 1 << 20;

/// An alert by one of our rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attack {
    /// When.
    pub at: Timestamp,
    /// Which rule.
    pub rule: String,
    /// Who sent it.
    pub source: IpAddr,
    /// To which server.
    pub target: IpAddr,
    /// At which port of it.
    pub port: u16,
    /// Whether Suricata dropped it; it does only where it stands in the way and the rule says so.
    pub dropped: bool,
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Lines, but empty ones.
    pub lines: u64,
    /// Alerts by our rules.
    pub taken: u64,
    /// Other records.
    pub others: u64,
    /// What could not be read.
    pub unread: u64,
}

/// Reads a log of events; shows each alert by our rules, or why a line cannot be read, with the line's number.
///
/// # Errors
/// The log cannot be read on.
pub fn read_alerts(
    log: impl io::Read,
    show: &mut dyn FnMut(u64, Result<Attack, String>),
) -> io::Result<Tally> {
    let mut log = io::BufReader::with_capacity(64 << 10, log);
    let mut tally = Tally::default();
    let mut line = Vec::new();
    for nth in 1.. {
        line.clear();
        let most = MAX_LINE as u64 + 1;
        if log.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let too_long = line.len() > MAX_LINE && line.last() != Some(&b'\n');
        if too_long {
            log.skip_until(b'\n')?;
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        tally.lines += 1;
        let read = if too_long {
            Err(format!("it has more than {MAX_LINE} octets"))
        } else {
            attack(text)
        };
        match read {
            Ok(Some(attack)) => {
                tally.taken += 1;
                show(nth, Ok(attack));
            }
            Ok(None) => tally.others += 1,
            Err(why) => {
                tally.unread += 1;
                show(nth, Err(why));
            }
        }
    }
    Ok(tally)
}

#[derive(Deserialize)]
struct Record {
    event_type: String,
    #[serde(default)]
    timestamp: Option<Timestamp>,
    #[serde(default)]
    src_ip: Option<IpAddr>,
    #[serde(default)]
    dest_ip: Option<IpAddr>,
    #[serde(default)]
    dest_port: Option<u16>,
    #[serde(default)]
    alert: Option<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    #[serde(default)]
    gid: Option<u64>,
    signature_id: u64,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    mailkeep_rule: Vec<String>,
}

fn attack(text: &[u8]) -> Result<Option<Attack>, String> {
    let record: Record = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if record.event_type != "alert" {
        return Ok(None);
    }
    let alert = record
        .alert
        .ok_or("it is an alert, and says nothing of it")?;
    let ours = u32::try_from(alert.signature_id).ok();
    let ours = ours.filter(|sid| (FIRST_SID..=LAST_SID).contains(sid));
    let Some(sid) = ours.filter(|_| alert.gid.is_none_or(|gid| gid == 1)) else {
        return Ok(None);
    };
    // The range is everybody's: a number alone is ours only where it says so, or nothing is said of rules.
    let named = alert.metadata.map(|metadata| metadata.mailkeep_rule);
    let rule = match named.as_deref() {
        Some([name]) if is_rule(name) => name.clone(),
        Some([]) | None => match rule_of(sid) {
            Some(name) => name.to_owned(),
            None => return Ok(None),
        },
        Some(_) => return Err("the name of its rule cannot be one".to_owned()),
    };
    let missing = |what: &str| format!("it does not say {what}");
    Ok(Some(Attack {
        at: record.timestamp.ok_or_else(|| missing("when"))?,
        rule,
        source: record.src_ip.ok_or_else(|| missing("from where"))?,
        target: record.dest_ip.ok_or_else(|| missing("to where"))?,
        port: record.dest_port.ok_or_else(|| missing("to which port"))?,
        dropped: alert.action.as_deref() == Some("blocked"),
    }))
}

fn is_rule(name: &str) -> bool {
    (1..=80).contains(&name.len())
        && name
            .bytes()
            .all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Suricata 7.0.10 wrote it, with less in it.
    const ALERT: &str = r#"{"timestamp":"2026-11-22T10:31:03.021000+0000","flow_id":1,"event_type":"alert","src_ip":"192.0.2.7","src_port":20001,"dest_ip":"198.51.100.1","dest_port":25,"proto":"TCP","alert":{"action":"allowed","gid":1,"signature_id":1981856,"rev":1,"signature":"Mailkeep exim-recipient-expansion: x","category":"","severity":3,"metadata":{"cve":["CVE_2019_10149"],"mailkeep_rule":["exim-recipient-expansion"]}},"app_proto":"smtp"}"#;

    fn read(log: &str) -> (Vec<Attack>, Vec<(u64, String)>, Tally) {
        let (mut taken, mut told) = (Vec::new(), Vec::new());
        let tally = read_alerts(log.as_bytes(), &mut |nth, read| match read {
            Ok(attack) => taken.push(attack),
            Err(why) => told.push((nth, why)),
        });
        (taken, told, tally.unwrap())
    }

    #[test]
    fn an_alert_of_ours_is_taken_and_others_are_counted() {
        let foreign = ALERT.replace("1981856", "2012054");
        let stats =
            r#"{"timestamp":"2026-11-22T10:31:03.021000+0000","event_type":"stats","stats":{}}"#;
        let (taken, told, tally) = read(&format!("{ALERT}\n\n{foreign}\n{stats}\n"));
        assert_eq!(told, []);
        assert_eq!((tally.lines, tally.taken, tally.others), (3, 1, 2));
        let expected = Attack {
            at: "2026-11-22T10:31:03.021Z".parse().unwrap(),
            rule: "exim-recipient-expansion".to_owned(),
            source: [192, 0, 2, 7].into(),
            target: [198, 51, 100, 1].into(),
            port: 25,
            dropped: false,
        };
        assert_eq!(taken, [expected]);
        // Without metadata the number tells.
        let bare = ALERT.replace("metadata", "other");
        assert_eq!(read(&bare).0[0].rule, rule_of(1_981_856).unwrap());
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_line_and_the_rest_goes_on() {
        let longest = format!("{{\"event_type\":\"{}\"}}", "a".repeat(MAX_LINE));
        let nameless = ALERT.replace(r#"["exim-recipient-expansion"]"#, r#"["A B"]"#);
        let from_nowhere = ALERT.replace("src_ip", "from");
        let log = format!("{{\n{longest}\n{nameless}\n{from_nowhere}\n{ALERT}");
        let (taken, unread, tally) = read(&log);
        assert_eq!(taken.len(), 1);
        assert_eq!(
            unread.iter().map(|(nth, _)| *nth).collect::<Vec<_>>(),
            [1, 2, 3, 4]
        );
        assert_eq!((tally.unread, tally.lines), (4, 5));
    }

    proptest! {
        #[test]
        fn any_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            crate::rules::fuzz_eve(&octets);
        }

        #[test]
        fn a_log_that_is_cut_or_changed_loses_no_record(at in any::<prop::sample::Index>(), octet in any::<u8>()) {
            let mut log = format!("{ALERT}\n{ALERT}\n").into_bytes();
            let place = at.index(log.len());
            log[place] = octet;
            crate::rules::fuzz_eve(&log);
        }
    }
}
