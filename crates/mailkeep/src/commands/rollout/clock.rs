//! The clock of a real rollout.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use mailkeep_model::Timestamp;
use mailkeep_rollout::drive::{Clock, Message, wait_for_message};

use crate::app::App;

/// Real time; where `--at` was given, real time from there on.
#[derive(Debug, Clone, Copy)]
pub(super) struct RealClock {
    from: Option<(Timestamp, Instant)>,
}

impl RealClock {
    pub(super) fn of(app: &App) -> Self {
        Self {
            from: app.fixed_time.then(|| (app.now, Instant::now())),
        }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        match self.from {
            None => crate::now_precisely(),
            Some((at, since)) => {
                let passed = SignedDuration::try_from(since.elapsed()).unwrap_or_default();
                at.checked_add(passed).unwrap_or(at)
            }
        }
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
