//! How a client arrives: by a proxy before the shield, over TLS from the first octet, or by STARTTLS.

use std::net::SocketAddr;
use std::time::Duration;

use mailkeep_wire::{EnhancedCode, ProxyHeader, ProxyProgress, Refusal, Reply, Rule};
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use super::{Client, End};
use crate::config::Kind;
use crate::server::Admitted;
use crate::stream::Stream;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// How long a proxy may take to say who the client is. It does so at once.
const HEADER: Duration = Duration::from_secs(10);

impl Client {
    /// Everything before the banner.
    pub(super) async fn arrive(&mut self, admitted: &mut Admitted) -> Result<(), End> {
        if admitted.by_proxy() {
            let header = tokio::time::timeout(HEADER, self.proxy_header()).await;
            match header.unwrap_or(Err("late")) {
                Ok(Some((client, asked))) => {
                    (self.address, self.asked) = (client, asked);
                    self.session = Self::session(&self.shared, &self.listener, client);
                }
                // It speaks for itself, as when it looks whether the shield is there.
                Ok(None) => {}
                Err(why) => {
                    self.log("proxy-header-failed", &[("why", json!(why))]);
                    return Err(End::Header);
                }
            }
            if !admitted.count(self.address.ip()) {
                if self.listener.kind != Kind::Submissions {
                    let rule = Rule::TooManySessions;
                    self.refuse(Refusal { rule });
                }
                return Err(End::Closed);
            }
        }
        if self.listener.kind == Kind::Submissions {
            self.handshake().await?;
            self.session.secured(mailkeep_wire::Offer::default());
        }
        Ok(())
    }

    /// Reads the header and not an octet more: what follows is the client's.
    async fn proxy_header(&mut self) -> Result<Option<(SocketAddr, SocketAddr)>, &'static str> {
        let mut header = Vec::new();
        loop {
            match ProxyHeader::read(&header) {
                Ok(ProxyProgress::Whole(header)) => return Ok(header.addresses),
                Ok(ProxyProgress::Needs(more)) => {
                    let begin = header.len();
                    header.resize(begin + more, 0);
                    let fresh = header.get_mut(begin..).unwrap_or_default();
                    let read = self.stream.read_exact(fresh).await;
                    read.map_err(|_closed| "no-proxy-header")?;
                }
                Err(error) => return Err(error.kind()),
            }
        }
    }

    pub(super) async fn starttls(&mut self) -> Result<(), End> {
        if self.shared.tls(&self.listener.name).is_none() {
            let code = EnhancedCode::new(4, 7, 0);
            self.say(&Reply::new(454, code, "TLS is not available now"));
            self.session.answered(false);
            return Ok(());
        }
        self.forget().await;
        self.leave_backend().await;
        self.say(&Reply::new(220, EnhancedCode::new(2, 0, 0), "begin TLS"));
        self.flush().await?;
        self.handshake().await?;
        let offer = self.offer(true);
        self.session.secured(offer.unwrap_or_default());
        Ok(())
    }

    async fn handshake(&mut self) -> Result<(), End> {
        let config = self.shared.tls(&self.listener.name);
        let (Some(config), Some(plain)) = (config, self.stream.take_plain()) else {
            return Err(End::Gone);
        };
        let handshake = TlsAcceptor::from(config).accept(plain);
        match tokio::time::timeout(HANDSHAKE, handshake).await {
            Ok(Ok(stream)) => self.stream = Stream::Tls(Box::new(stream.into())),
            failed => {
                self.shared.counters.handshakes_failed.one();
                let why = match failed {
                    Ok(Err(error)) => error.to_string(),
                    Ok(Ok(_)) | Err(_) => "too slow".to_owned(),
                };
                self.log("handshake-failed", &[("why", json!(why))]);
                return Err(End::Handshake);
            }
        }
        self.shared.counters.secured.one();
        Ok(())
    }
}
