//! What would be said to servers that no script of ours reaches: Exchange (PowerShell over SSH) and
//! Stalwart, by their documented interfaces.
//!
//! Entry: [`commands`], [`read_queues`], [`read_components`]. **Tested against answers written by hand after
//! the documentation only, never against a real server**, and therefore not wired into
//! [`SshHands`](super::SshHands): a host of these families is refused before it is touched, with what
//! a person would type.

use mailkeep_model::Act;
use mailkeep_model::text::printable_max;

/// A product that is spoken to by a dialogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// Exchange Server 2016 and later, in a database availability group or alone.
    Exchange,
    /// Stalwart, with `stalwart-cli` on the host.
    Stalwart,
}

impl Product {
    /// By the name of a family.
    pub fn of(family: &str) -> Option<Self> {
        match family {
            "exchange" => Some(Self::Exchange),
            "stalwart" => Some(Self::Stalwart),
            _ => None,
        }
    }
}

/// The commands of an act, in order; `None` where the documented interface has nothing for it and a
/// person must do it. `server` is its name, `redirect` takes the queue over (Exchange). Both must be
/// plain host names; `None` for anything else.
pub fn commands(
    product: Product,
    act: Act,
    server: &str,
    redirect: Option<&str>,
) -> Option<Vec<String>> {
    let plain = |name: &str| {
        !name.is_empty()
            && !name.starts_with('-')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
    };
    if !plain(server) || !redirect.is_none_or(plain) {
        return None;
    }
    match product {
        Product::Exchange => exchange(act, server, redirect),
        Product::Stalwart => stalwart(act),
    }
}

fn exchange(act: Act, server: &str, redirect: Option<&str>) -> Option<Vec<String>> {
    let component = |component: &str, state: &str| {
        format!(
            "Set-ServerComponentState -Identity {server} -Component {component} -State {state} -Requester Maintenance"
        )
    };
    let csv = "ConvertTo-Csv -NoTypeInformation";
    let look = vec![
        format!(
            "Get-ServerComponentState -Identity {server} | Select-Object Component,State | {csv}"
        ),
        format!(
            "Get-Queue -Server {server} | Select-Object Identity,DeliveryType,Status,MessageCount | {csv}"
        ),
    ];
    match act {
        Act::Drain => {
            let mut said = vec![
                component("HubTransport", "Draining"),
                "Restart-Service MSExchangeTransport".to_owned(),
                format!(
                    "& \"$env:ExchangeInstallPath\\Scripts\\StartDagServerMaintenance.ps1\" -ServerName {server} -MoveComment Maintenance -PauseClusterNode"
                ),
            ];
            if let Some(target) = redirect {
                said.push(format!(
                    "Redirect-Message -Server {server} -Target {target} -Confirm:$false"
                ));
            }
            said.push(component("ServerWideOffline", "Inactive"));
            Some(said)
        }
        Act::Precheck | Act::AwaitEmpty | Act::Recheck => Some(look),
        Act::Return => Some(vec![
            component("ServerWideOffline", "Active"),
            format!(
                "& \"$env:ExchangeInstallPath\\Scripts\\StopDagServerMaintenance.ps1\" -ServerName {server}"
            ),
            component("HubTransport", "Active"),
            "Restart-Service MSExchangeTransport".to_owned(),
        ]),
        // A cumulative update needs a person and a reboot, and has no way back.
        Act::Lease
        | Act::Save
        | Act::Patch
        | Act::Prove
        | Act::RollBack
        | Act::ProveOld
        | Act::Release => None,
    }
}

fn stalwart(act: Act) -> Option<Vec<String>> {
    match act {
        Act::Precheck | Act::AwaitEmpty | Act::Recheck => {
            Some(vec!["stalwart-cli queue list".to_owned()])
        }
        // Pausing its queue stops outbound mail only; new mail is kept away by the packet filter. An
        // upgrade across 0.13 to 0.16 changes data for good, and asks for the whole cluster.
        Act::Drain
        | Act::Lease
        | Act::Save
        | Act::Patch
        | Act::Prove
        | Act::Return
        | Act::RollBack
        | Act::ProveOld
        | Act::Release => None,
    }
}

/// An answer that is not as documented.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not as documented: \"{line}\"")]
pub struct OtherAnswer {
    /// The line that is not.
    pub line: String,
}

impl OtherAnswer {
    fn at(line: &str) -> Self {
        Self {
            line: printable_max(line, 80),
        }
    }
}

/// Messages that a server still has in hand. Exchange's shadow copies do not count: they are another
/// server's messages, kept until that one has delivered them.
pub fn read_queues(product: Product, answer: &str) -> Result<u64, OtherAnswer> {
    match product {
        Product::Exchange => {
            let rows = rows(
                answer,
                &["Identity", "DeliveryType", "Status", "MessageCount"],
            )?;
            let mut messages = 0_u64;
            for row in rows {
                let [_, delivery, _, count] = row.as_slice() else {
                    return Err(OtherAnswer::at(&row.join(",")));
                };
                let count: u64 = count
                    .parse()
                    .map_err(|_not_a_number| OtherAnswer::at(&row.join(",")))?;
                if delivery != "ShadowRedundancy" {
                    messages = messages.saturating_add(count);
                }
            }
            Ok(messages)
        }
        Product::Stalwart => {
            // A table of `| ID | Delivery Due | Sender | Recipients | Size |`, one message a row; a
            // message with several recipients goes on in rows without an id.
            let (mut seen_head, mut ended) = (false, false);
            let mut messages = 0;
            for line in answer.lines().map(str::trim).filter(|l| !l.is_empty()) {
                if line.starts_with('+') {
                    continue;
                }
                let first = line
                    .strip_prefix('|')
                    .and_then(|rest| rest.split('|').next())
                    .map(str::trim);
                match first {
                    Some("ID") => seen_head = true,
                    Some("") if seen_head => {}
                    Some(_) if seen_head => messages += 1,
                    _ if line.ends_with("found.") || line.ends_with("total)") => ended = true,
                    _ => return Err(OtherAnswer::at(line)),
                }
            }
            // Cut short it would look like a shorter queue.
            if !ended {
                let line = answer.trim().lines().last().unwrap_or_default();
                return Err(OtherAnswer::at(line));
            }
            Ok(messages)
        }
    }
}

/// Exchange's components, with whether each is active.
pub fn read_components(answer: &str) -> Result<Vec<(String, bool)>, OtherAnswer> {
    rows(answer, &["Component", "State"])?
        .into_iter()
        .map(|row| match row.as_slice() {
            [component, state] => Ok((component.clone(), state == "Active")),
            _ => Err(OtherAnswer::at(&row.join(","))),
        })
        .collect()
}

/// Whether a server is in maintenance: only these two stay active.
pub fn is_in_maintenance(components: &[(String, bool)]) -> bool {
    !components.is_empty()
        && components
            .iter()
            .filter(|(_, active)| *active)
            .all(|(name, _)| name == "Monitoring" || name == "RecoveryActionsEnabled")
}

/// Most rows read of one answer; a longer one is refused, for a part of it would look like all.
const MAX_ROWS: usize = 10_000;

/// `ConvertTo-Csv`: a head, then rows, every field between double quotes, `""` for one within.
fn rows(answer: &str, head: &[&str]) -> Result<Vec<Vec<String>>, OtherAnswer> {
    let mut lines = answer.lines().map(str::trim).filter(|l| !l.is_empty());
    let Some(first) = lines.next() else {
        return Err(OtherAnswer::at(""));
    };
    if fields(first).as_deref() != Some(&head.iter().map(ToString::to_string).collect::<Vec<_>>()) {
        return Err(OtherAnswer::at(first));
    }
    lines
        .enumerate()
        .map(|(row, line)| {
            fields(line)
                .filter(|_| row < MAX_ROWS)
                .filter(|fields| fields.len() == head.len())
                .ok_or_else(|| OtherAnswer::at(line))
        })
        .collect()
}

fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.strip_prefix('"')?;
        let mut field = String::new();
        loop {
            let (text, after) = rest.split_once('"')?;
            field.push_str(text);
            if let Some(more) = after.strip_prefix('"') {
                field.push('"');
                rest = more;
            } else {
                rest = after;
                break;
            }
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return rest.is_empty().then_some(fields),
        }
    }
}

/// Fuzz entry: any bytes as the answer to each question.
pub fn fuzz(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for product in [Product::Exchange, Product::Stalwart] {
        if let Err(other) = read_queues(product, &text) {
            // What is quoted, and the words around it.
            debug_assert!(other.to_string().chars().count() < 80 + 40);
        }
    }
    if let Ok(components) = read_components(&text) {
        is_in_maintenance(&components);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Written by hand after the documentation; no such server was asked.
    const QUEUES: &str = "\"Identity\",\"DeliveryType\",\"Status\",\"MessageCount\"\r\n\
        \"MBX1\\3\",\"SmtpDeliveryToMailbox\",\"Ready\",\"2\"\r\n\
        \"MBX1\\Submission\",\"Undefined\",\"Ready\",\"0\"\r\n\
        \"MBX1\\Shadow\\4\",\"ShadowRedundancy\",\"Ready\",\"7\"\r\n";
    const COMPONENTS: &str = "\"Component\",\"State\"\n\"ServerWideOffline\",\"Inactive\"\n\
        \"HubTransport\",\"Inactive\"\n\"Monitoring\",\"Active\"\n\"RecoveryActionsEnabled\",\"Active\"\n";
    const TABLE: &str = "+----+---------+---------+--------------+--------+\n\
        | ID | Delivery Due | Sender | Recipients | Size |\n+----+\n\
        | 32B91F716 | Wed, 1 Mar 2023 11:51:01 +0000 | a@example.net | b@example.org (scheduled) | 1142 B |\n\
        | | | | c@example.org (scheduled) | |\n+----+\n1 queued message(s) found.\n";

    #[test]
    fn shadow_copies_are_not_in_hand() {
        assert_eq!(read_queues(Product::Exchange, QUEUES), Ok(2));
    }

    #[test]
    fn maintenance_is_when_only_two_components_are_active() {
        let components = read_components(COMPONENTS).unwrap();
        assert!(is_in_maintenance(&components));
        let again = COMPONENTS.replacen("Inactive", "Active", 1);
        assert!(!is_in_maintenance(&read_components(&again).unwrap()));
        assert!(!is_in_maintenance(&[]));
    }

    #[test]
    fn a_message_with_two_recipients_is_one() {
        assert_eq!(read_queues(Product::Stalwart, TABLE), Ok(1));
        assert_eq!(
            read_queues(Product::Stalwart, "0 queued message(s) found."),
            Ok(0)
        );
    }

    #[test]
    fn another_answer_is_never_an_empty_queue() {
        for answer in [
            "Get-Queue : The term is not recognized",
            "\"Identity\"\n",
            "error: 401",
        ] {
            assert!(read_queues(Product::Exchange, answer).is_err(), "{answer}");
            assert!(read_queues(Product::Stalwart, answer).is_err(), "{answer}");
        }
        let head = TABLE.split_once("| 32B").unwrap().0;
        for cut in ["", head, TABLE.rsplit_once("1 queued").unwrap().0] {
            assert!(read_queues(Product::Stalwart, cut).is_err(), "{cut}");
        }
        let row = "\"q\",\"Undefined\",\"Ready\",\"0\"\n".repeat(MAX_ROWS);
        let long = format!(
            "{}\n{row}\"q\",\"x\",\"Ready\",\"1\"\n",
            QUEUES.lines().next().unwrap()
        );
        assert!(read_queues(Product::Exchange, &long).is_err());
        let cut = QUEUES.replace("\"2\"", "\"two\"");
        assert!(read_queues(Product::Exchange, &cut).is_err());
    }

    #[test]
    fn an_answer_is_quoted_with_at_most_eighty_characters() {
        // An escape would make two of each.
        let error = read_queues(Product::Exchange, &"\\".repeat(200)).unwrap_err();
        let count = error.to_string().matches('\\').count();
        assert!((70..80).contains(&count), "{error}");
    }

    #[test]
    fn exchange_leaves_and_comes_back_in_the_documented_order() {
        let said =
            |act| commands(Product::Exchange, act, "MBX1", Some("mbx2.example.org")).unwrap();
        let drain = said(Act::Drain);
        assert!(drain[0].contains("HubTransport -State Draining"));
        assert!(drain[3].starts_with("Redirect-Message -Server MBX1 -Target mbx2.example.org"));
        assert!(drain[4].contains("ServerWideOffline -State Inactive"));
        let back = said(Act::Return);
        assert!(back[0].contains("ServerWideOffline -State Active"));
        assert!(back[2].contains("HubTransport -State Active"));
        assert_eq!(commands(Product::Exchange, Act::Patch, "MBX1", None), None);
    }

    #[test]
    fn no_name_becomes_a_command() {
        for bad in ["", "-x", "MBX1; Remove-Mailbox", "a b", "$(x)"] {
            assert_eq!(commands(Product::Exchange, Act::Drain, bad, None), None);
            assert_eq!(
                commands(Product::Exchange, Act::Drain, "MBX1", Some(bad)),
                None
            );
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz(&input);
        }

        #[test]
        fn quoted_fields_come_out_as_they_went_in(
            fields in prop::collection::vec("[ -~]{0,10}", 1..5)
        ) {
            let line: Vec<String> = fields
                .iter()
                .map(|field| format!("\"{}\"", field.replace('"', "\"\"")))
                .collect();
            prop_assert_eq!(super::fields(&line.join(",")), Some(fields));
        }
    }
}
