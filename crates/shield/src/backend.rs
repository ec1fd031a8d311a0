//! The servers behind the shield: which of them answer, and which may be asked.
//!
//! Entry: [`Backends`] chooses, [`Connection`](conversation::Connection) speaks.

mod conversation;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use mailkeep_wire::{Offer, Reply, ReplyError, ServerReply};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::sync::Notify;

pub(crate) use self::conversation::{Connection, Handed};
use crate::config::{BackendAddress, BackendFile, Tells};
use crate::resolver::ClientName;
use crate::tls::{self, TlsError};

/// How long a look at a backend may take.
const LOOK: Duration = Duration::from_secs(15);

/// Every backend, and what each offered when it was asked last.
#[derive(Debug)]
pub(crate) struct Backends {
    name: String,
    all: Vec<Arc<Backend>>,
    next: AtomicUsize,
}

/// How it is spoken to over TLS, and the name it must show.
type Secure = (Arc<ClientConfig>, ServerName<'static>);

#[derive(Debug)]
struct Backend {
    file: BackendFile,
    tls: RwLock<Option<Secure>>,
    /// `None` while it does not answer.
    offer: RwLock<Option<Offer>>,
    /// Whether it gets no new mail.
    draining: AtomicBool,
    /// Conversations with it for clients.
    conversations: AtomicU64,
    /// Whether it was last said to answer.
    said: Mutex<Option<bool>>,
    /// Something has changed that the one who looks after it should see.
    changed: Notify,
}

/// Whom a backend is told of.
#[derive(Debug, Clone)]
pub(crate) struct Stranger {
    pub(crate) address: SocketAddr,
    /// The address that it asked for.
    pub(crate) asked: SocketAddr,
    pub(crate) hello: String,
    pub(crate) name: ClientName,
    pub(crate) extended: bool,
}

/// Why a conversation failed.
#[derive(Debug, Error)]
pub(crate) enum BackendError {
    #[error("no backend answers")]
    NoneAnswers,
    #[error("cannot connect to {0}")]
    Connect(BackendAddress, #[source] std::io::Error),
    #[error("{0} did not answer in time")]
    Late(BackendAddress),
    #[error("the connection to {0} ended")]
    Closed(BackendAddress),
    #[error("the connection to {0} broke")]
    Broken(BackendAddress, #[source] std::io::Error),
    #[error("TLS with {0} failed")]
    Tls(BackendAddress, #[source] std::io::Error),
    #[error("what {0} answered is no reply")]
    Reply(BackendAddress, #[source] ReplyError),
    #[error("{0} answered {1} where it had to say yes")]
    No(BackendAddress, u16),
    #[error("{0} has no room for another connection now")]
    Busy(BackendAddress),
    #[error("{0} refuses this client")]
    Refuses(BackendAddress, Box<ServerReply>),
    #[error("{0} does not offer STARTTLS")]
    NoTls(BackendAddress),
    #[error("{0} does not offer XCLIENT, and would take every client for the shield")]
    NoXclient(BackendAddress),
    #[error("the message could not be read back")]
    Spool(#[source] std::io::Error),
}

impl BackendError {
    /// Its stable name.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Broken(..) => "backend-broken",
            Self::Busy(_) => "backend-busy",
            Self::Closed(_) => "backend-closed",
            Self::Connect(..) => "backend-unreachable",
            Self::Late(_) => "backend-late",
            Self::No(..) => "backend-says-no",
            Self::NoTls(_) => "backend-without-tls",
            Self::NoXclient(_) => "backend-without-xclient",
            Self::NoneAnswers => "no-backend",
            Self::Refuses(..) => "backend-refuses-client",
            Self::Reply(_, error) => error.kind(),
            Self::Spool(_) => "spool",
            Self::Tls(..) => "backend-tls",
        }
    }

    /// Whether it says something of the backend, and not of the one client who was named to it: what a stranger calls
    /// himself must not take it from the others.
    fn is_the_backends_own(&self, named: bool) -> bool {
        match self {
            Self::Connect(..) | Self::NoTls(_) | Self::NoXclient(_) => true,
            Self::Broken(..)
            | Self::Closed(_)
            | Self::Late(_)
            | Self::No(..)
            | Self::Reply(..)
            | Self::Tls(..) => !named,
            Self::Busy(_) | Self::NoneAnswers | Self::Refuses(..) | Self::Spool(_) => false,
        }
    }
}

/// What the others should know of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) address: BackendAddress,
    pub(crate) up: bool,
    pub(crate) draining: bool,
    pub(crate) conversations: u64,
}

impl Backends {
    pub(crate) fn new(name: &str, files: &[BackendFile]) -> Result<Self, TlsError> {
        let all = files.iter().map(|file| {
            Ok(Arc::new(Backend {
                tls: RwLock::new(tls::of_backend(file)?),
                offer: RwLock::new(None),
                draining: AtomicBool::new(file.drain),
                conversations: AtomicU64::new(0),
                said: Mutex::new(None),
                changed: Notify::new(),
                file: file.clone(),
            }))
        });
        Ok(Self {
            name: name.to_owned(),
            all: all.collect::<Result<_, TlsError>>()?,
            next: AtomicUsize::new(0),
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// What each of them does.
    pub(crate) fn states(&self) -> impl Iterator<Item = State> {
        self.all.iter().map(|backend| backend.state())
    }

    /// What that one does.
    pub(crate) fn state(&self, nth: usize) -> Option<State> {
        self.all.get(nth).map(|backend| backend.state())
    }

    /// Waits until one should be looked at again, at most so long.
    pub(crate) async fn changed(&self, nth: usize, patience: Duration) {
        if let Some(backend) = self.all.get(nth) {
            tokio::time::timeout(patience, backend.changed.notified())
                .await
                .ok();
        }
    }

    /// Takes over which of them are to get no new mail, and what certificates they must show.
    pub(crate) fn reload(&self, files: &[BackendFile]) {
        for file in files {
            // What went wrong since it was checked leaves what is in force.
            let secure = tls::of_backend(file).ok();
            let same = self.all.iter().filter(|backend| {
                backend.file.address == file.address && backend.file.listeners == file.listeners
            });
            for backend in same {
                if let Some(secure) = &secure {
                    let place = backend.tls.write();
                    secure.clone_into(&mut place.unwrap_or_else(PoisonError::into_inner));
                }
                if backend.draining.swap(file.drain, Ordering::Relaxed) != file.drain {
                    backend.changed.notify_one();
                }
            }
        }
    }

    /// What all that answer offer the clients of a listener; `None` where none does.
    pub(crate) fn offer(&self, listener: &str) -> Option<Offer> {
        let offers = self.all.iter().filter(|backend| backend.takes(listener));
        offers
            .filter_map(|backend| backend.offered())
            .reduce(|both, one| both.and(&one))
    }

    /// Asks one backend whether it answers, and what it offers. Tells whether that has changed, or is first known.
    pub(crate) async fn look(
        &self,
        nth: usize,
    ) -> Option<(BackendAddress, Result<(), BackendError>)> {
        let backend = self.all.get(nth)?;
        let address = backend.file.address.clone();
        let open = Connection::open(backend, &self.name, None);
        let answer = match tokio::time::timeout(LOOK, open).await {
            Ok(Ok(mut connection)) => {
                let offer = std::mem::take(&mut connection.offer);
                connection.quit().await;
                Ok(offer)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(BackendError::Late(address.clone())),
        };
        // One that is only full is well.
        if !matches!(answer, Err(BackendError::Busy(_))) {
            backend.remember(answer.as_ref().ok().cloned());
        }
        let now = backend.offered().is_some();
        let mut said = backend.said.lock().unwrap_or_else(PoisonError::into_inner);
        let before = said.replace(now);
        (before != Some(now)).then(|| (address, answer.map(drop)))
    }

    /// A connection to the next backend that answers and serves this listener, ready for MAIL.
    pub(crate) async fn connect(
        &self,
        listener: &str,
        stranger: &Stranger,
    ) -> Result<Connection, BackendError> {
        let begin = self.next.fetch_add(1, Ordering::Relaxed);
        let mut last = BackendError::NoneAnswers;
        for nth in 0..self.all.len() {
            let place = begin.wrapping_add(nth) % self.all.len();
            let Some(backend) = self.all.get(place) else {
                continue;
            };
            if !backend.takes(listener) || backend.offered().is_none() {
                continue;
            }
            // A PROXY header names the client before anything else is said.
            let mut named = backend.file.tells() == Tells::Proxy;
            let mut opened = Connection::open(backend, &self.name, Some(stranger)).await;
            if let Ok(connection) = &mut opened {
                named = true;
                if let Err(error) = connection.introduce(stranger).await {
                    opened = Err(error);
                }
            }
            match opened {
                Ok(connection) => return Ok(connection),
                Err(error @ BackendError::Refuses(..)) => return Err(error),
                Err(error) => {
                    if error.is_the_backends_own(named) {
                        backend.remember(None);
                        backend.changed.notify_one();
                    }
                    last = error;
                }
            }
        }
        Err(last)
    }
}

impl Backend {
    fn state(&self) -> State {
        State {
            address: self.file.address.clone(),
            up: self.offered().is_some(),
            draining: self.draining.load(Ordering::Relaxed),
            conversations: self.conversations.load(Ordering::Relaxed),
        }
    }

    /// Whether it may be asked for a client of this listener.
    fn takes(&self, listener: &str) -> bool {
        self.file.serves(listener) && !self.draining.load(Ordering::Relaxed)
    }

    fn offered(&self) -> Option<Offer> {
        let offer = self.offer.read().unwrap_or_else(PoisonError::into_inner);
        offer.clone()
    }

    fn secure(&self) -> Option<Secure> {
        let tls = self.tls.read().unwrap_or_else(PoisonError::into_inner);
        tls.clone()
    }

    fn remember(&self, offer: Option<Offer>) {
        *self.offer.write().unwrap_or_else(PoisonError::into_inner) = offer;
    }
}

/// What a client is told when the conversation behind failed: to try again.
pub(crate) fn try_again() -> Reply {
    let code = mailkeep_wire::EnhancedCode::new(4, 4, 1);
    Reply::new(
        451,
        code,
        "the mail server behind does not answer; try again later",
    )
}
