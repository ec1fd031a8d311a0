//! AUTH, passed to the backend word by word.
//!
//! # Security
//!
//! The shield checks no password, keeps none, and logs neither it nor the name it belongs to. Each attempt has a
//! conversation with the backend of its own: what one that failed left behind there, nobody finds (CVE-2011-1720).
//! The one that succeeded carries the messages of the session, since only it is authenticated.

use mailkeep_wire::{AuthData, EnhancedCode, Mechanism, Reply, ServerReply};
use serde_json::json;

use super::{Client, End, relayed};

/// Words of the server in one exchange. SCRAM has two.
const MOST_CHALLENGES: u32 = 8;

/// An AUTH that goes on.
pub(super) struct Exchange {
    mechanism: Mechanism,
    challenges: u32,
}

impl Client {
    /// Begins one.
    pub(super) async fn authenticate(
        &mut self,
        mechanism: Mechanism,
        line: &str,
    ) -> Result<(), End> {
        self.leave_backend().await;
        self.exchange = Some(Exchange {
            mechanism,
            challenges: 0,
        });
        let answer = match self.connect().await {
            Ok(mut backend) if backend.offer.auth.contains(mechanism) => {
                let answer = backend.command(line).await;
                self.backend = Some(backend);
                answer.map(Some)
            }
            // It offered more when the client was greeted.
            Ok(backend) => {
                self.backend = Some(backend);
                Ok(None)
            }
            Err(error) => Err(error),
        };
        let answer = answer.unwrap_or_else(|error| {
            self.backend_failed(&error);
            None
        });
        self.auth_answer(answer).await
    }

    /// Goes on with what the client said; `None` where it gave up.
    pub(super) async fn credentials(&mut self, data: Option<AuthData>) -> Result<(), End> {
        let line = match &data {
            Some(data) => format!("{}\r\n", data.as_str()),
            None => "*\r\n".to_owned(),
        };
        let answer = match &mut self.backend {
            Some(backend) => backend.command(&line).await.map(Some),
            None => Ok(None),
        };
        let answer = answer.unwrap_or_else(|error| {
            self.backend_failed(&error);
            None
        });
        // Whatever is answered to one who gave up, it is no success.
        let answer = answer.filter(|answer| data.is_some() || answer.code() >= 400);
        self.auth_answer(answer).await
    }

    /// A rule spoke against what the client said in an exchange.
    pub(super) async fn give_up_exchange(&mut self, why: &'static str) {
        if let Some(exchange) = self.exchange.take() {
            self.auth_failed(&exchange, why, None);
            self.leave_backend().await;
        }
    }

    async fn auth_answer(&mut self, answer: Option<ServerReply>) -> Result<(), End> {
        let Some(mut exchange) = self.exchange.take() else {
            return Ok(());
        };
        let challenge = answer.as_ref().and_then(Reply::challenge);
        if let Some(challenge) = challenge
            && exchange.challenges < MOST_CHALLENGES
        {
            exchange.challenges += 1;
            self.exchange = Some(exchange);
            self.say(&challenge);
            self.session.challenged();
            return Ok(());
        }
        match answer {
            Some(reply) if reply.code() == 235 => {
                self.shared.counters.authenticated.one();
                let fields = [("mechanism", json!(exchange.mechanism.name()))];
                self.log("authenticated", &fields);
                self.say(&relayed(&reply));
                self.session.answered(true);
                return Ok(());
            }
            Some(reply) if reply.code() >= 400 && reply.code() != 421 => {
                self.auth_failed(&exchange, "backend", Some(reply.code()));
                self.say(&relayed(&reply));
            }
            Some(_) | None => {
                self.auth_failed(&exchange, "no-backend", None);
                let code = EnhancedCode::new(4, 7, 0);
                let text = "the mail server behind cannot authenticate you now; try again later";
                self.say(&Reply::new(454, code, text));
            }
        }
        self.session.answered(false);
        self.leave_backend().await;
        Ok(())
    }

    fn auth_failed(&self, exchange: &Exchange, why: &'static str, code: Option<u16>) {
        self.shared.counters.auth_failed.one();
        let fields = [
            ("mechanism", json!(exchange.mechanism.name())),
            ("why", json!(why)),
            ("code", json!(code)),
        ];
        self.log("auth-failed", &fields);
    }
}
