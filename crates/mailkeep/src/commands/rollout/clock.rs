//! The clock of a real rollout.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use mailkeep_model::Timestamp;
use mailkeep_rollout::drive::{Clock, Message, wait_for_message};

/// Real time, and no other: by it windows open, and claims of other controllers run out.
#[derive(Debug, Clone, Copy)]
pub(super) struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        crate::now_precisely()
    }

    fn wait(
        &self,
        messages: &Receiver<Message>,
        at_most: Duration,
        _idle_until: Option<Timestamp>,
    ) -> Option<Message> {
        wait_for_message(messages, at_most)
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
