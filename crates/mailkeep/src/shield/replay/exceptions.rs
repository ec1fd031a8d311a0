//! The exceptions that a shield's configuration makes.
//!
//! Entry: [`Exceptions::read`]. Of the configuration `[[exception]]` is read and, to tell at which listener a session
//! arrived, `[[listener]]`. Whether all of it is right, `mailkeep-shield --check` says.

use std::net::{IpAddr, SocketAddr};

use mailkeep_wire::{Actions, Exception, Policy};
use serde::Deserialize;

/// What rules do for whom, as a shield's configuration says it; without one as they ship.
#[derive(Debug, Clone, Default)]
pub struct Exceptions {
    policy: Policy,
    listeners: Vec<Listener>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    exception: Vec<Exception>,
    #[serde(default)]
    listener: Vec<Listener>,
    #[serde(default)]
    milter: Vec<toml::Table>,
}

#[derive(Debug, Clone, Deserialize)]
struct Listener {
    name: String,
    address: Vec<SocketAddr>,
}

impl Exceptions {
    /// Takes them out of a configuration.
    ///
    /// # Errors
    /// It is not TOML, has neither listener nor milter, as another file has, or an exception cannot be.
    pub fn read(text: &str) -> Result<Self, toml::de::Error> {
        let File {
            exception,
            listener,
            milter,
        } = toml::from_str(text)?;
        if listener.is_empty() && milter.is_empty() {
            let missing = "it has neither a [[listener]] nor a [[milter]]";
            return Err(serde::de::Error::custom(missing));
        }
        Ok(Self {
            policy: Policy {
                exceptions: exception,
            },
            listeners: listener,
        })
    }

    /// What follows for a client, as far as it is known, at a server's address. The one a capture shows need not be
    /// the shield's: then its port tells the listener, where only one has it.
    pub fn of_session(&self, client: Option<IpAddr>, server: SocketAddr) -> Actions {
        let only = |fits: &dyn Fn(&SocketAddr) -> bool| {
            let is_here = |listener: &&Listener| listener.address.iter().any(fits);
            let mut here = self.listeners.iter().filter(is_here);
            here.next().filter(|_| here.next().is_none())
        };
        let listener =
            only(&|own| *own == server).or_else(|| only(&|own| own.port() == server.port()));
        let listener = listener.map(|listener| listener.name.as_str());
        self.policy.strictest(listener, client)
    }

    /// What follows for a message of which nobody knows who brought it, and where.
    pub fn of_anybody(&self) -> Actions {
        self.policy.strictest(None, None)
    }
}

#[cfg(test)]
mod tests {
    use mailkeep_wire::{Action, Rule};

    use super::*;

    const SHIELD: &str = r#"
name = "mx.example.org"
[limits]
sessions = 100
[[listener]]
name = "mx"
address = ["0.0.0.0:25", "[::]:25"]
certificate = "mx.pem"
[[listener]]
name = "inside"
address = ["10.0.0.1:25", "10.0.0.1:587"]
[[exception]]
rule = "bare-lf-in-content"
action = "monitor"
listener = "inside"
"#;

    #[test]
    fn the_listener_is_told_by_its_address_or_by_a_port_that_only_it_has() {
        let exceptions = Exceptions::read(SHIELD).unwrap();
        let at = |server: &str| {
            let client = "192.0.2.7".parse().unwrap();
            exceptions
                .of_session(Some(client), server.parse().unwrap())
                .of(Rule::BareLfInContent)
        };
        assert_eq!(at("10.0.0.1:25"), Action::Monitor);
        assert_eq!(at("198.51.100.1:587"), Action::Monitor);
        // Either of them could have it.
        assert_eq!(at("198.51.100.1:25"), Action::Refuse);
        assert_eq!(at("198.51.100.1:2525"), Action::Refuse);
        assert_eq!(
            exceptions.of_anybody().of(Rule::BareLfInContent),
            Action::Refuse
        );
    }

    #[test]
    fn an_exception_that_cannot_be_is_an_error_with_its_place() {
        let wrong = SHIELD.replace("bare-lf-in-content", "bare-lf");
        let error = Exceptions::read(&wrong).unwrap_err().to_string();
        assert!(error.contains("there is no rule \"bare-lf\""), "{error}");
        assert!(error.contains("line 12"), "{error}");
    }
}
