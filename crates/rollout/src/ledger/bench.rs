//! What the tests of the ledger share.

use std::sync::Mutex;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use jiff::SignedDuration;
use mailkeep_model::Timestamp;

use crate::drive::{Clock, Message, wait_for_message};

/// A clock whose time stands where a test sets it, and passes in pauses alone.
#[derive(Default)]
pub(super) struct Hand(Mutex<Timestamp>);

impl Hand {
    pub(super) fn set(&self, second: i64) {
        *self.0.lock().unwrap() = Timestamp::from_second(second).unwrap();
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn wait(
        &self,
        messages: &Receiver<Message>,
        at_most: Duration,
        _: Option<Timestamp>,
    ) -> Option<Message> {
        wait_for_message(messages, at_most)
    }

    fn pause(&self, time: Duration) {
        *self.0.lock().unwrap() += SignedDuration::try_from(time).unwrap();
    }
}
