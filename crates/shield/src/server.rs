//! Listeners, reload, drain. Entry: [`run`].

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mailkeep_wire::{Action, Policy, Rule};
use rustls::ServerConfig;
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::backend::Backends;
use crate::client::{Client, Partly};
use crate::config::{Config, ConfigError, Kind, LimitsFile, ListenerFile, Origin};
use crate::content::{self, Content};
use crate::counters::Counters;
use crate::log::Log;
use crate::milter::Door;
use crate::patches::{self, Patches, Sees};
use crate::resolver::Reverse;
use crate::systemd::Sockets;
use crate::tls::{self, TlsError};
use crate::veto::{CommandLine, CommandVeto as _, Veto};
use crate::{metrics, systemd};

/// How often each backend is asked whether it answers.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often one is asked that does not.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long the first looks are waited for. One that hangs must not keep the others from being used.
const FIRST_LOOK: Duration = Duration::from_secs(3);
/// How long before its end a certificate is spoken of.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// How often it is.
const WARN_EVERY: Duration = Duration::from_hours(24);

/// Why the shield cannot run.
#[derive(Debug, Error)]
pub enum RunError {
    /// An address cannot be listened on.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// A socket that systemd handed over and that no listener names.
    #[error("systemd hands over a socket on {0}, which is the address of no listener")]
    Unnamed(SocketAddr),
    /// A milter's socket cannot be listened on.
    #[error("cannot listen on the socket of milter {0:?}")]
    Milter(String, #[source] io::Error),
    /// What the configuration says of content, which was well when it was read.
    #[error("cannot look into content: {0}")]
    Content(String),
    /// The runtime or its signals.
    #[error("cannot start")]
    Start(#[source] io::Error),
    /// The rules that come with the program.
    #[error("cannot use the built-in rules")]
    Rules(#[source] mailkeep_inspect::rules::BundleError),
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
    pub(crate) partly: Partly,
    reloadable: RwLock<Reloadable>,
    content: RwLock<Arc<Content>>,
    /// Rules for single holes.
    pub(crate) patches: Patches,
    stopping: AtomicBool,
    /// Whether it is a proxy, and no milter beside it.
    ends_smtp: bool,
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
    /// Until when each listener's certificate holds.
    ends: Vec<(String, Timestamp)>,
    reverse: Option<Arc<Reverse>>,
}

impl Reloadable {
    fn of(config: &Config, reverse: Option<Arc<Reverse>>) -> Result<Self, TlsError> {
        let mut tls = HashMap::new();
        let mut ends = Vec::new();
        for listener in &config.listeners {
            if let Some(config) = tls::of_listener(listener)? {
                tls.insert(listener.name.clone(), config);
            }
            if let Some(end) = tls::ends(listener) {
                ends.push((listener.name.clone(), end));
            }
        }
        Ok(Self {
            policy: Arc::new(config.policy.clone()),
            tls,
            ends,
            reverse,
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

    /// What is looked at in messages.
    pub(crate) fn content(&self) -> Arc<Content> {
        let content = self.content.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&content)
    }

    pub(crate) fn tls(&self, listener: &str) -> Option<Arc<ServerConfig>> {
        let reloadable = self
            .reloadable
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        reloadable.tls.get(listener).cloned()
    }

    /// Who asks for the names of clients, if anybody does.
    pub(crate) fn reverse(&self) -> Option<Arc<Reverse>> {
        let reloadable = self
            .reloadable
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        reloadable.reverse.clone()
    }

    /// Until when each listener's certificate holds.
    pub(crate) fn certificates(&self) -> Vec<(String, Timestamp)> {
        let reloadable = self
            .reloadable
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        reloadable.ends.clone()
    }

    /// Says of certificates that are about to end, or have. Mail still comes: whoever sends it to strangers takes
    /// any certificate; one's own people do not.
    fn warn_of_certificates(&self) {
        let now = Timestamp::now();
        for (listener, end) in self.certificates() {
            if end.duration_since(now) < SOON {
                let event = if end < now {
                    "certificate-expired"
                } else {
                    "certificate-expires"
                };
                let fields = [
                    ("listener", json!(listener)),
                    ("not_after", json!(end.to_string())),
                ];
                self.log.line(event, &fields);
            }
        }
    }

    /// What the rules for single holes say against a command.
    pub(crate) fn veto(&self, line: &CommandLine<'_>) -> Option<Veto> {
        self.patches.veto(line)
    }

    /// Whether a rule of the inspection of messages refuses, whoever the mail is from and for.
    pub(crate) fn refuses_content(&self, rule: &str) -> bool {
        self.content().refuses(rule)
    }

    /// What of the mail is seen here.
    pub(crate) fn sees(&self) -> Sees {
        Sees {
            wire: self.ends_smtp,
            content: self.content().looks_into_all(),
        }
    }

    /// Whether it is going out of service.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// A new trace id: unique among the runs of one machine.
    pub(crate) fn trace(&self) -> String {
        let nth = self.traces.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{nth:x}", self.run)
    }

    /// Counts a session in, if it may be; one that another proxy brings is counted for its client later.
    fn admit(self: &Arc<Self>, address: IpAddr, by_proxy: bool) -> Option<Admitted> {
        if self.counters.open.value() >= self.limits.sessions as u64 {
            return None;
        }
        self.counters.open.add(1);
        let mut admitted = Admitted {
            shared: Arc::clone(self),
            client: None,
            by_proxy,
        };
        (by_proxy || admitted.count(address)).then_some(admitted)
    }

    /// Reads the configuration again; what was in force stays so if it is wrong. What cannot change without a restart is
    /// named. Blocks.
    fn reload(&self, origin: &Origin, running: &Config) {
        let fresh = Config::of(origin).and_then(|config| {
            let reverse = config.reverse().map_err(ConfigError::Value)?;
            let reloadable = Reloadable::of(&config, reverse);
            let reloadable =
                reloadable.map_err(|error| ConfigError::Tls("any".to_owned(), error))?;
            let content = Content::new(&config.name, &config.content);
            let content = content.map_err(ConfigError::Value)?;
            Ok((config, reloadable, content))
        });
        match fresh {
            Ok((config, reloadable, mut content)) => {
                content.adopt(&self.content());
                let place = self.content.write();
                *place.unwrap_or_else(PoisonError::into_inner) = Arc::new(content);
                *self
                    .reloadable
                    .write()
                    .unwrap_or_else(PoisonError::into_inner) = reloadable;
                self.backends.reload(&config.backends);
                self.patches.set_source(config.patches.clone());
                patches::load(self, None);
                let waits = running.differs(&config);
                self.log
                    .line("reloaded", &[("waits_for_restart", json!(waits))]);
                self.content().tell(&self.log);
                self.warn_of_certificates();
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
    /// For whom it is counted.
    client: Option<IpAddr>,
    by_proxy: bool,
}

impl Admitted {
    /// Whether another proxy must say first who the client is.
    pub(crate) fn by_proxy(&self) -> bool {
        self.by_proxy
    }

    /// Counts it for this client, if it may have another.
    pub(crate) fn count(&mut self, address: IpAddr) -> bool {
        let client = client_key(address);
        let clients = self.shared.clients.lock();
        let mut clients = clients.unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(client).or_insert(0);
        if *count >= self.shared.limits.sessions_per_client {
            return false;
        }
        *count += 1;
        self.client = Some(client);
        true
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.shared.counters.open.less();
        let Some(client) = self.client else { return };
        let clients = self.shared.clients.lock();
        let mut clients = clients.unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                clients.remove(&client);
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
pub fn run(origin: &Origin, config: Config) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.limits.threads())
        .enable_all()
        .build()
        .map_err(RunError::Start)?;
    let (log, writer) = Log::open();
    let done = runtime.block_on(serve(origin, config, log));
    // Sessions that are out of time end here: nothing they hold was acknowledged.
    runtime.shutdown_timeout(Duration::from_secs(1));
    writer.join();
    done
}

async fn serve(origin: &Origin, config: Config, log: Log) -> Result<(), RunError> {
    let config = Arc::new(config);
    let started = Timestamp::now().as_microsecond();
    let content = Content::new(&config.name, &config.content).map_err(RunError::Content)?;
    let reverse = config.reverse().map_err(RunError::Content)?;
    let shared = Arc::new(Shared {
        name: config.name.clone(),
        spool: config.spool.clone(),
        limits: config.limits.clone(),
        backends: Backends::new(&config.name, &config.backends)?,
        counters: Counters::default(),
        log,
        partly: Partly::default(),
        reloadable: RwLock::new(Reloadable::of(&config, reverse)?),
        content: RwLock::new(Arc::new(content)),
        patches: Patches::new(&config.name, Timestamp::now()).map_err(RunError::Rules)?,
        stopping: AtomicBool::new(false),
        ends_smtp: !config.listeners.is_empty() && config.milters.is_empty(),
        clients: Mutex::new(HashMap::new()),
        run: started.unsigned_abs(),
        traces: AtomicU64::new(0),
    });
    shared.patches.set_source(config.patches.clone());
    if config.patches.is_none() {
        shared.log.line("bundle-loaded", &shared.patches.fields());
    }
    patches::load(&shared, None);
    tokio::spawn(patches::watch(Arc::clone(&shared)));
    shared.content().tell(&shared.log);
    let mut sockets = Sockets::from_environment().map_err(RunError::Start)?;
    let mut listeners = Vec::new();
    for file in &config.listeners {
        let file = Arc::new(file.clone());
        for address in &file.address {
            let listener = match sockets.take(*address) {
                Some(listener) => listener
                    .set_nonblocking(true)
                    .and_then(|()| TcpListener::from_std(listener)),
                None => listen(*address),
            };
            let listener = listener.map_err(|error| RunError::Listen(*address, error))?;
            listeners.push((Arc::clone(&file), listener));
        }
    }
    if let Some(address) = sockets.left() {
        return Err(RunError::Unnamed(address));
    }
    let mut doors = Vec::new();
    for socket in &config.milters {
        let door = Door::open(socket);
        doors.push(door.map_err(|error| RunError::Milter(socket.name.clone(), error))?);
    }
    if let Some(address) = config.metrics {
        let listener = listen(address).map_err(|error| RunError::Listen(address, error))?;
        tokio::spawn(metrics::serve(listener, Arc::clone(&shared)));
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Start)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Start)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(RunError::Start)?;

    // The first look, so that the first client can be told what is on offer.
    let mut first = tokio::task::JoinSet::new();
    for nth in 0..shared.backends.count() {
        let shared = Arc::clone(&shared);
        let (seen, looked) = oneshot::channel();
        tokio::spawn(keep_looking(shared, nth, seen));
        first.spawn(looked);
    }
    {
        let shared = Arc::clone(&shared);
        let (seen, looked) = oneshot::channel();
        tokio::spawn(keep_looking_at_scanners(shared, seen));
        first.spawn(looked);
    }
    tokio::time::timeout(FIRST_LOOK, first.join_all())
        .await
        .ok();
    let (stop, stopped) = watch::channel(false);
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let mut accepting = Vec::new();
    for (file, listener) in listeners {
        if let Ok(address) = listener.local_addr() {
            let fields = [
                ("listener", json!(file.name)),
                ("address", json!(address.to_string())),
            ];
            shared.log.line("listening", &fields);
        }
        let accept = accept(
            Arc::clone(&shared),
            file,
            listener,
            stopped.clone(),
            alive.clone(),
        );
        accepting.push(tokio::spawn(accept));
    }
    let room = Arc::new(Semaphore::new(shared.limits.sessions));
    for door in doors {
        let (shared, room) = (Arc::clone(&shared), Arc::clone(&room));
        let serve = door.serve(shared, room, stopped.clone(), alive.clone());
        accepting.push(tokio::spawn(serve));
    }
    drop(alive);
    drop(stopped);
    systemd::notify("READY=1");
    // That this is said shows that the runtime still does its work.
    let watchdog = systemd::watchdog();
    let mut alive_every = tokio::time::interval(watchdog.unwrap_or(Duration::from_hours(1)));
    let mut reloads = tokio::task::JoinSet::new();
    // Its first tick is now.
    let mut warn_every = tokio::time::interval(WARN_EVERY);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = warn_every.tick() => shared.warn_of_certificates(),
            _ = alive_every.tick() => if watchdog.is_some() {
                systemd::notify("WATCHDOG=1");
            },
            // Beside the runtime: certificates, a resolver, and the self-tests of thousands of rules may take longer than
            // the watchdog waits. A signal that comes meanwhile is seen afterwards.
            _ = hangup.recv(), if reloads.is_empty() => {
                systemd::notify("RELOADING=1");
                let (shared, origin) = (Arc::clone(&shared), origin.clone());
                let running = Arc::clone(&config);
                reloads.spawn_blocking(move || shared.reload(&origin, &running));
            }
            Some(_) = reloads.join_next() => systemd::notify("READY=1"),
        }
    }
    systemd::notify("STOPPING=1");
    shared.stopping.store(true, Ordering::Relaxed);
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
    shared.content().save(&shared.log).await;
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
    file: Arc<ListenerFile>,
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
        begin(&shared, &file, stream, address, &stopped, &alive);
    }
}

fn begin(
    shared: &Arc<Shared>,
    file: &Arc<ListenerFile>,
    stream: TcpStream,
    address: SocketAddr,
    stopped: &watch::Receiver<bool>,
    alive: &mpsc::Sender<()>,
) {
    shared.counters.sessions.one();
    let mut proxies = file.proxy_from.iter();
    let by_proxy = proxies.any(|network| network.contains(address.ip()));
    let Some(admitted) = shared.admit(address.ip(), by_proxy) else {
        let rule = Rule::TooManySessions;
        shared.counters.rule(rule, Action::Refuse);
        let trace = shared.trace();
        let fields = [
            ("listener", json!(file.name)),
            ("client", json!(address.ip().to_canonical().to_string())),
            ("rule", json!(rule.name())),
            ("family", json!(rule.family())),
            ("trace", json!(trace)),
        ];
        shared.log.line("refused", &fields);
        if file.kind != Kind::Submissions {
            let reply = rule.reply().with(&format!("(reference {trace})"));
            // A fresh connection has room for one line; if not, it is closed all the same.
            stream.try_write(reply.to_wire().as_bytes()).ok();
        }
        return;
    };
    stream.set_nodelay(true).ok();
    let client = Client::new(
        Arc::clone(shared),
        Arc::clone(file),
        shared.trace(),
        stream,
        address,
        stopped.clone(),
    );
    let alive = alive.clone();
    tokio::spawn(async move {
        client.run(admitted).await;
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

/// Asks the virus scanners for their versions, for as long as the program runs.
async fn keep_looking_at_scanners(shared: Arc<Shared>, seen: oneshot::Sender<()>) {
    shared.content().every_minute(0, &shared.log).await;
    // Nobody waits any more where it took too long.
    seen.send(()).ok();
    for nth in 1.. {
        tokio::time::sleep(content::LOOK_EVERY).await;
        shared.content().every_minute(nth, &shared.log).await;
    }
}

/// Looks after one backend; `seen` is told of the first look.
async fn keep_looking(shared: Arc<Shared>, nth: usize, seen: oneshot::Sender<()>) {
    let mut seen = Some(seen);
    let mut drained = false;
    loop {
        look(&shared, nth).await;
        if let Some(seen) = seen.take() {
            seen.send(()).ok();
        }
        let Some(state) = shared.backends.state(nth) else {
            return;
        };
        let empty = state.draining && state.conversations == 0;
        if empty != drained {
            drained = empty;
            let event = if empty {
                "backend-drained"
            } else {
                "backend-taken-back"
            };
            let fields = [("backend", json!(state.address.to_string()))];
            shared.log.line(event, &fields);
        }
        let patience = if state.up { LOOK_EVERY } else { LOOK_AGAIN };
        shared.backends.changed(nth, patience).await;
    }
}
