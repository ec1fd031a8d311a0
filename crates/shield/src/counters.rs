//! What is counted. Entry: [`Counters`]; `render` writes the Prometheus text form.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use mailkeep_wire::{Action, Rule};

use crate::backend::State;

/// One number that only grows, or a level.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn less(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Sessions that began.
    pub(crate) sessions: Count,
    /// Sessions now.
    pub(crate) open: Count,
    /// Sessions over TLS.
    pub(crate) secured: Count,
    /// TLS handshakes that failed.
    pub(crate) handshakes_failed: Count,
    /// AUTH that the backend accepted.
    pub(crate) authenticated: Count,
    /// AUTH that failed.
    pub(crate) auth_failed: Count,
    /// Messages that the backend took.
    pub(crate) accepted: Count,
    /// Messages refused for good, by a rule or by the backend.
    pub(crate) refused: Count,
    /// Messages refused for now.
    pub(crate) tempfailed: Count,
    /// Octets of accepted messages.
    pub(crate) octets: Count,
    /// Conversations with a backend that failed.
    pub(crate) backend_failures: Count,
    /// For each rule, how often it refused and how often it was only monitored.
    rules: Vec<(Count, Count)>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            sessions: Count::default(),
            open: Count::default(),
            secured: Count::default(),
            handshakes_failed: Count::default(),
            authenticated: Count::default(),
            auth_failed: Count::default(),
            accepted: Count::default(),
            refused: Count::default(),
            tempfailed: Count::default(),
            octets: Count::default(),
            backend_failures: Count::default(),
            rules: Rule::ALL
                .iter()
                .map(|_| <(Count, Count)>::default())
                .collect(),
        }
    }
}

impl Counters {
    /// Counts that a rule applied.
    pub(crate) fn rule(&self, rule: Rule, action: Action) {
        let place = Rule::ALL.iter().position(|other| *other == rule);
        if let Some((refused, monitored)) = place.and_then(|place| self.rules.get(place)) {
            match action {
                Action::Refuse => refused.one(),
                Action::Monitor => monitored.one(),
            }
        }
    }

    /// The Prometheus text form, with the backends that answer, when certificates end, and lines of the log that were
    /// dropped.
    pub(crate) fn render(
        &self,
        backends: &[State],
        certificates: &[(String, Timestamp)],
        dropped: u64,
    ) -> String {
        let mut text = String::new();
        if !certificates.is_empty() {
            let name = "mailkeep_shield_certificate_not_after_seconds";
            text.push_str("# HELP mailkeep_shield_certificate_not_after_seconds When a listener's certificate ends, in seconds since 1970.\n");
            writeln!(text, "# TYPE {name} gauge").ok();
            for (listener, end) in certificates {
                let (listener, end) = (label(listener), end.as_second());
                writeln!(text, "{name}{{listener=\"{listener}\"}} {end}").ok();
            }
        }
        for (name, kind, help, value) in [
            (
                "sessions_total",
                "counter",
                "Sessions that began.",
                self.sessions.value(),
            ),
            ("sessions", "gauge", "Sessions now.", self.open.value()),
            (
                "tls_sessions_total",
                "counter",
                "Sessions over TLS.",
                self.secured.value(),
            ),
            (
                "tls_failures_total",
                "counter",
                "TLS handshakes that failed.",
                self.handshakes_failed.value(),
            ),
            (
                "auth_total",
                "counter",
                "AUTH that the server behind accepted.",
                self.authenticated.value(),
            ),
            (
                "auth_failures_total",
                "counter",
                "AUTH that failed.",
                self.auth_failed.value(),
            ),
            (
                "message_octets_total",
                "counter",
                "Octets of accepted messages.",
                self.octets.value(),
            ),
            (
                "backend_failures_total",
                "counter",
                "Conversations with a backend that failed.",
                self.backend_failures.value(),
            ),
            (
                "log_lines_dropped_total",
                "counter",
                "Lines of the log that found no room.",
                dropped,
            ),
        ] {
            writeln!(text, "# HELP mailkeep_shield_{name} {help}").ok();
            writeln!(text, "# TYPE mailkeep_shield_{name} {kind}").ok();
            writeln!(text, "mailkeep_shield_{name} {value}").ok();
        }
        text.push_str("# HELP mailkeep_shield_messages_total Messages, by verdict.\n# TYPE mailkeep_shield_messages_total counter\n");
        for (verdict, count) in [
            ("accept", &self.accepted),
            ("refuse", &self.refused),
            ("tempfail", &self.tempfailed),
        ] {
            let value = count.value();
            writeln!(
                text,
                "mailkeep_shield_messages_total{{verdict=\"{verdict}\"}} {value}"
            )
            .ok();
        }
        for (name, help, value) in [
            (
                "up",
                "Whether a backend answers.",
                (|state| u64::from(state.up)) as fn(&State) -> u64,
            ),
            ("draining", "Whether a backend gets no new mail.", |state| {
                u64::from(state.draining)
            }),
            (
                "conversations",
                "Conversations with a backend for clients, now.",
                |state| state.conversations,
            ),
        ] {
            writeln!(text, "# HELP mailkeep_shield_backend_{name} {help}").ok();
            writeln!(text, "# TYPE mailkeep_shield_backend_{name} gauge").ok();
            for state in backends {
                let (address, value) = (label(&state.address.to_string()), value(state));
                writeln!(
                    text,
                    "mailkeep_shield_backend_{name}{{backend=\"{address}\"}} {value}"
                )
                .ok();
            }
        }
        let name = Rule::COUNTER;
        writeln!(
            text,
            "# HELP {name} How often each generic rule applied.\n# TYPE {name} counter"
        )
        .ok();
        for (rule, (refused, monitored)) in Rule::ALL.iter().zip(&self.rules) {
            let (rule, family) = (rule.name(), rule.family());
            for (action, count) in [(Action::Refuse, refused), (Action::Monitor, monitored)] {
                let (action, value) = (action.name(), count.value());
                writeln!(
                    text,
                    "{name}{{rule=\"{rule}\",family=\"{family}\",action=\"{action}\"}} {value}"
                )
                .ok();
            }
        }
        text
    }
}

/// A label's value, as the Prometheus text form has it.
pub(crate) fn label(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}
