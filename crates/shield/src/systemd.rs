//! What is said to systemd (`sd_notify(3)`), and the sockets that it hands over (`sd_listen_fds(3)`).
//!
//! Entry: [`notify`], [`watchdog`], [`Sockets`]. Where there is no systemd nothing is said, and nothing is there.

use std::io;
use std::net::{SocketAddr as Address, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::Duration;

use listenfd::ListenFd;

/// Sends one state, as `READY=1`.
pub(crate) fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let path = path.as_encoded_bytes();
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => match std::str::from_utf8(path) {
            Ok(path) => SocketAddr::from_pathname(path),
            Err(_) => return,
        },
    };
    // Not being heard is no reason to stop.
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        socket.send_to_addr(state.as_bytes(), &address).ok();
    }
}

/// How often `WATCHDOG=1` is to be said: twice in the time after which systemd takes the program for dead.
pub(crate) fn watchdog() -> Option<Duration> {
    let micros: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    let ours = match std::env::var("WATCHDOG_PID") {
        Ok(pid) => pid.parse() == Ok(std::process::id()),
        Err(_) => true,
    };
    (ours && micros > 0).then(|| Duration::from_micros(micros / 2))
}

/// Where the service keeps its state: the first of `StateDirectory=` (systemd.exec(5)).
pub(crate) fn state_directory() -> Option<PathBuf> {
    let all = std::env::var_os("STATE_DIRECTORY")?;
    std::env::split_paths(&all).next()
}

/// Listening sockets that were open before the program began: with them no client is turned away while it restarts.
pub(crate) struct Sockets(Vec<(Address, TcpListener)>);

impl Sockets {
    /// Takes all that were handed over.
    pub(crate) fn from_environment() -> io::Result<Self> {
        let mut handed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for nth in 0..handed.len() {
            if let Some(listener) = handed.take_tcp_listener(nth)? {
                sockets.push((listener.local_addr()?, listener));
            }
        }
        Ok(Self(sockets))
    }

    /// The one that listens on this address.
    pub(crate) fn take(&mut self, address: Address) -> Option<TcpListener> {
        let place = self.0.iter().position(|(its, _)| *its == address)?;
        Some(self.0.swap_remove(place).1)
    }

    /// An address that nobody took.
    pub(crate) fn left(&self) -> Option<Address> {
        self.0.first().map(|(address, _)| *address)
    }
}
