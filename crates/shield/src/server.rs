//! Listeners, reload, drain. Entry: [`run`].

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use mailkeep_wire::{Action, Policy, Rule};
use rustls::ServerConfig;
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::backend::Backends;
use crate::client::Client;
use crate::config::{Config, ConfigError, LimitsFile};
use crate::counters::Counters;
use crate::log::Log;
use crate::tls::{self, TlsError};
use crate::{metrics, systemd};

/// How often each backend is asked whether it answers.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often one is asked that does not.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why the shield cannot run.
#[derive(Debug, Error)]
pub enum RunError {
    /// An address cannot be listened on.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The runtime or its signals.
    #[error("cannot start")]
    Start(#[source] io::Error),
    /// Certificates, which were well when the configuration was read.
    #[error("cannot use the certificates")]
    Tls(#[from] TlsError),
}

/// What every session shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) spool: PathBuf,
    pub(crate) limits: LimitsFile,
    pub(crate) backends: Backends,
    pub(crate) counters: Counters,
    pub(crate) log: Log,
    reloadable: RwLock<Reloadable>,
    /// How many sessions each client has.
    clients: Mutex<HashMap<IpAddr, u32>>,
    /// Begins every trace id of this run.
    run: u64,
    traces: AtomicU64,
}

#[derive(Debug)]
struct Reloadable {
    policy: Arc<Policy>,
    /// By name of listener.
    tls: HashMap<String, Arc<ServerConfig>>,
}

impl Reloadable {
    fn of(config: &Config) -> Result<Self, TlsError> {
        let mut tls = HashMap::new();
        for listener in &config.listeners {
            if let Some(config) = tls::of_listener(listener)? {
                tls.insert(listener.name.clone(), config);
            }
        }
        Ok(Self {
            policy: Arc::new(config.policy.clone()),
            tls,
        })
    }
}

impl Shared {
    pub(crate) fn policy(&self) -> Arc<Policy> {
        let reloadable = self
            .reloadable
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&reloadable.policy)
    }

    pub(crate) fn tls(&self, listener: &str) -> Option<Arc<ServerConfig>> {
        let reloadable = self
            .reloadable
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        reloadable.tls.get(listener).cloned()
    }

    /// A new trace id: unique among the runs of one machine.
    fn trace(&self) -> String {
        let nth = self.traces.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{nth:x}", self.run)
    }

    /// Counts a session in, if it may be.
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admitted> {
        if self.counters.open.value() >= self.limits.sessions as u64 {
            return None;
        }
        let client = client_key(address);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(client).or_insert(0);
        if *count >= self.limits.sessions_per_client {
            return None;
        }
        *count += 1;
        self.counters.open.add(1);
        Some(Admitted {
            shared: Arc::clone(self),
            client,
        })
    }

    /// Reads the file again; what was in force stays so if it is wrong.
    fn reload(&self, path: &Path) {
        let fresh = Config::read(path).and_then(|config| {
            Reloadable::of(&config).map_err(|error| ConfigError::Tls("any".to_owned(), error))
        });
        match fresh {
            Ok(fresh) => {
                *self
                    .reloadable
                    .write()
                    .unwrap_or_else(PoisonError::into_inner) = fresh;
                self.log.line("reloaded", &[]);
            }
            Err(error) => {
                let mut why = error.to_string();
                if let Some(source) = std::error::Error::source(&error) {
                    why = format!("{why}: {source}");
                }
                self.log.line("reload-refused", &[("why", why.into())]);
            }
        }
    }
}

/// A session that is counted; no more when this is dropped.
pub(crate) struct Admitted {
    shared: Arc<Shared>,
    client: IpAddr,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.shared.counters.open.less();
        let clients = self.shared.clients.lock();
        let mut clients = clients.unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&self.client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

/// Whom sessions are counted for: an IPv4 address, or the 64 bits that one IPv6 customer has at least.
fn client_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            Ipv6Addr::from_bits(network).into()
        }
    }
}

/// Runs until SIGTERM or SIGINT, and until the last session is over or out of time. SIGHUP reads certificates and
/// exceptions again.
///
/// # Errors
///
/// Where it cannot begin; once it runs, nothing ends it but a signal.
pub fn run(path: &Path, config: Config) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(RunError::Start)?;
    let (log, writer) = Log::open();
    let done = runtime.block_on(serve(path, config, log));
    // Sessions that are out of time end here: nothing they hold was acknowledged.
    runtime.shutdown_timeout(Duration::from_secs(1));
    writer.join();
    done
}

async fn serve(path: &Path, config: Config, log: Log) -> Result<(), RunError> {
    let started = Timestamp::now().as_microsecond();
    let shared = Arc::new(Shared {
        name: config.name.clone(),
        spool: config.spool.clone(),
        limits: config.limits.clone(),
        backends: Backends::new(&config.name, &config.backends)?,
        counters: Counters::default(),
        log,
        reloadable: RwLock::new(Reloadable::of(&config)?),
        clients: Mutex::new(HashMap::new()),
        run: started.unsigned_abs(),
        traces: AtomicU64::new(0),
    });
    let mut listeners = Vec::new();
    for file in &config.listeners {
        let name: Arc<str> = Arc::from(file.name.as_str());
        for address in &file.address {
            let listener = listen(*address).map_err(|error| RunError::Listen(*address, error))?;
            listeners.push((Arc::clone(&name), listener));
        }
    }
    if let Some(address) = config.metrics {
        let listener = listen(address).map_err(|error| RunError::Listen(address, error))?;
        tokio::spawn(metrics::serve(listener, Arc::clone(&shared)));
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Start)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(RunError::Start)?;

    // The first look, so that the first client can be told what is on offer.
    for nth in 0..shared.backends.count() {
        look(&shared, nth).await;
        tokio::spawn(keep_looking(Arc::clone(&shared), nth));
    }
    let (stop, stopped) = watch::channel(false);
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let mut accepting = Vec::new();
    for (name, listener) in listeners {
        if let Ok(address) = listener.local_addr() {
            let fields = [
                ("listener", json!(&*name)),
                ("address", json!(address.to_string())),
            ];
            shared.log.line("listening", &fields);
        }
        let accept = accept(
            Arc::clone(&shared),
            name,
            listener,
            stopped.clone(),
            alive.clone(),
        );
        accepting.push(tokio::spawn(accept));
    }
    drop(alive);
    drop(stopped);
    systemd::notify("READY=1");
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                systemd::notify("RELOADING=1");
                shared.reload(path);
                systemd::notify("READY=1");
            }
        }
    }
    systemd::notify("STOPPING=1");
    shared.log.line(
        "draining",
        &[("sessions", json!(shared.counters.open.value()))],
    );
    stop.send_replace(true);
    for task in accepting {
        // One that panicked accepts no more either.
        task.await.ok();
    }
    let drained = tokio::time::timeout(shared.limits.drain(), all_gone.recv()).await;
    let left = if drained.is_ok() {
        0
    } else {
        shared.counters.open.value()
    };
    shared.log.line("stopped", &[("sessions_cut", json!(left))]);
    Ok(())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // IPv4 has listeners of its own.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

async fn accept(
    shared: Arc<Shared>,
    name: Arc<str>,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let Ok((stream, address)) = accepted else {
            // Out of descriptors, most likely: others end soon.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        begin(&shared, &name, stream, address, &stopped, &alive);
    }
}

fn begin(
    shared: &Arc<Shared>,
    name: &Arc<str>,
    stream: TcpStream,
    address: SocketAddr,
    stopped: &watch::Receiver<bool>,
    alive: &mpsc::Sender<()>,
) {
    shared.counters.sessions.one();
    let Some(admitted) = shared.admit(address.ip()) else {
        let rule = Rule::TooManySessions;
        shared.counters.rule(rule, Action::Refuse);
        let fields = [
            ("listener", json!(&**name)),
            ("client", json!(address.ip().to_canonical().to_string())),
            ("rule", json!(rule.name())),
            ("trace", json!(shared.trace())),
        ];
        shared.log.line("refused", &fields);
        // A fresh connection has room for one line; if not, it is closed all the same.
        stream.try_write(rule.reply().to_wire().as_bytes()).ok();
        return;
    };
    stream.set_nodelay(true).ok();
    let client = Client::new(
        Arc::clone(shared),
        Arc::clone(name),
        shared.trace(),
        stream,
        address,
        stopped.clone(),
    );
    let alive = alive.clone();
    tokio::spawn(async move {
        client.run().await;
        drop(admitted);
        drop(alive);
    });
}

async fn look(shared: &Shared, nth: usize) {
    if let Some((address, state)) = shared.backends.look(nth).await {
        let mut fields = vec![("backend", json!(address.to_string()))];
        match state {
            Ok(()) => shared.log.line("backend-up", &fields),
            Err(error) => {
                fields.push(("why", json!(error.kind())));
                shared.log.line("backend-down", &fields);
            }
        }
    }
}

async fn keep_looking(shared: Arc<Shared>, nth: usize) {
    loop {
        let up = shared.backends.state().get(nth).is_some_and(|(_, up)| *up);
        tokio::time::sleep(if up { LOOK_EVERY } else { LOOK_AGAIN }).await;
        look(&shared, nth).await;
    }
}
