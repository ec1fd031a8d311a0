//! Messages on their way, each with a number, and the account of them.

use mailkeep_model::Ledger;

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// Place of its service.
    pub(crate) service: u32,
    /// Place of the region it is sent from, within the service.
    pub(crate) region: u32,
    /// When it was first sent, in seconds of the run.
    pub(crate) born: i64,
    /// How often it was tried.
    pub(crate) tries: u32,
    /// A server took it.
    pub(crate) sent: bool,
    /// The sender knows that.
    pub(crate) acknowledged: bool,
    /// Copies that arrived.
    pub(crate) arrived: u32,
    pub(crate) late: bool,
}

impl Message {
    pub(crate) fn new(service: u32, region: u32, born: i64) -> Self {
        Self {
            service,
            region,
            born,
            tries: 0,
            sent: false,
            acknowledged: false,
            arrived: 0,
            late: false,
        }
    }
}

/// Minutes after which a message that arrives is late.
pub(crate) const LATE_MINUTES: i64 = 15;

/// The pause before a sender tries again: RFC 5321 section 4.5.4.1 wants half an hour at least for a host
/// that failed; common servers begin with five minutes and double up to an hour.
pub(crate) fn retry_pause(tries: u32) -> i64 {
    (300_i64 << tries.saturating_sub(1).min(4)).min(3600)
}

/// Counts all messages; `kept(number)` is how many copies lie in a queue.
pub(crate) fn count(messages: &[Message], kept: &[u32]) -> (Ledger, u64) {
    let mut ledger = Ledger::default();
    let mut in_queues = 0;
    for (number, message) in messages.iter().enumerate() {
        if !message.sent {
            ledger.refused += 1;
            continue;
        }
        ledger.sent += 1;
        if message.arrived > 0 {
            ledger.delivered += 1;
            ledger.duplicated += u64::from(message.arrived - 1);
            ledger.late += u64::from(message.late);
        } else if kept.get(number).is_some_and(|&copies| copies > 0) {
            in_queues += 1;
        } else {
            ledger.lost += 1;
        }
    }
    (ledger, in_queues)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_tries_again_after_five_minutes_and_doubles_up_to_an_hour() {
        let pauses: Vec<i64> = (1..=6).map(retry_pause).collect();
        assert_eq!(pauses, [300, 600, 1200, 2400, 3600, 3600]);
    }

    #[test]
    fn a_message_in_a_queue_is_kept_and_one_that_is_nowhere_is_lost() {
        let sent = |arrived| Message {
            sent: true,
            arrived,
            ..Message::new(0, 0, 0)
        };
        let messages = [sent(1), sent(3), sent(0), sent(0), Message::new(0, 0, 0)];
        let (ledger, in_queues) = count(&messages, &[0, 0, 1, 0, 0]);
        assert_eq!(
            (ledger.sent, ledger.delivered, ledger.duplicated),
            (4, 2, 2)
        );
        assert_eq!((ledger.lost, ledger.refused, in_queues), (1, 1, 1));
    }
}
