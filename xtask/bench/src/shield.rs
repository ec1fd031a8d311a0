//! `bench shield`: what the proxy costs beside haproxy, which forwards TCP and reads nothing of it.
//!
//! One `smtp-sink` takes the mail, one `smtp-source` sends it, straight, through haproxy and through the shield in
//! turn, so that whatever else the machine does meets all alike. Processor time is what the kernel counts for the
//! process in the middle. Latency is that of whole sessions of one client, one after the other.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::measure::{Goal, head, median, row, row_time, to_f64};
use crate::{Options, Outcome};

/// Octets of a message.
const LENGTH: &str = "4096";
/// Sessions at a time.
const SESSIONS: &str = "10";
/// Messages of one turn.
const MESSAGES: u64 = 3000;
/// Sessions of one turn whose latency is measured.
const TIMED: usize = 300;

/// One that stands between source and sink, or the sink itself.
struct Middle {
    name: &'static str,
    address: SocketAddr,
    /// `None` where nothing stands between.
    process: Option<Running>,
    /// Processor time a message, one message a session.
    single: Vec<Duration>,
    /// The same, many messages a session.
    kept: Vec<Duration>,
    /// Messages a second, one message a session.
    rate: Vec<f64>,
    latency: Vec<Duration>,
}

/// A program that ends with this.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Asked to, it ends its children, too.
        let asked = Command::new("kill").arg(self.0.id().to_string()).status();
        let begun = Instant::now();
        while asked.is_ok()
            && begun.elapsed() < Duration::from_secs(5)
            && matches!(self.0.try_wait(), Ok(None))
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The rows: the proxy, the milter, the virtual patches.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    proxy(options)?;
    crate::milter::run(options)?;
    crate::rules::run(options)
}

fn proxy(options: &Options) -> Outcome<()> {
    let source =
        on_path("smtp-source").ok_or("smtp-source is not on PATH; Debian's postfix has it")?;
    let sink = on_path("smtp-sink").ok_or("smtp-sink is not on PATH; Debian's postfix has it")?;
    let haproxy = on_path("haproxy").ok_or("haproxy is not on PATH")?;
    let directory = tempfile::tempdir()?;
    let [behind, by_haproxy, by_shield] = [free()?, free()?, free()?];
    let _sink = start(
        Command::new(sink)
            .args(["-c", "-u", "nobody", &behind.to_string(), "1000"])
            .stdout(Stdio::null()),
        behind,
    )?;
    let haproxy = start(
        Command::new(haproxy)
            .arg("-f")
            .arg(haproxy_file(directory.path(), by_haproxy, behind)?),
        by_haproxy,
    )?;
    let shield = start(
        Command::new(&options.shield)
            .arg("--config")
            .arg(shield_file(directory.path(), by_shield, behind)?)
            .stdout(fs::File::create(directory.path().join("shield.log"))?),
        by_shield,
    )?;
    let mut all = [
        Middle::new("straight", behind, None),
        Middle::new("haproxy", by_haproxy, Some(haproxy)),
        Middle::new("shield", by_shield, Some(shield)),
    ];
    // The first turn warms everything up, and is not counted.
    for turn in 0..=options.runs {
        for middle in &mut all {
            middle.turn(&source)?;
            if turn == 0 {
                middle.forget();
            }
        }
    }
    print(&all);
    Ok(())
}

impl Middle {
    fn new(name: &'static str, address: SocketAddr, process: Option<Running>) -> Self {
        Self {
            name,
            address,
            process,
            single: Vec::new(),
            kept: Vec::new(),
            rate: Vec::new(),
            latency: Vec::new(),
        }
    }

    fn forget(&mut self) {
        self.single.clear();
        self.kept.clear();
        self.rate.clear();
        self.latency.clear();
    }

    fn turn(&mut self, source: &Path) -> Outcome<()> {
        let (time, cpu) = self.send(source, &[])?;
        self.rate.push(to_f64(MESSAGES) / time.as_secs_f64());
        self.single.push(cpu);
        let (_, cpu) = self.send(source, &["-d"])?;
        self.kept.push(cpu);
        let mut latencies = Vec::new();
        for _ in 0..TIMED {
            latencies.push(session(self.address)?);
        }
        self.latency.push(median(latencies));
        Ok(())
    }

    /// Time for all messages, and processor time of this process for one.
    fn send(&self, source: &Path, more: &[&str]) -> Outcome<(Duration, Duration)> {
        let before = self.cpu()?;
        let begun = Instant::now();
        let status = Command::new(source)
            .args(["-s", SESSIONS, "-l", LENGTH, "-m", &MESSAGES.to_string()])
            .args(more)
            .arg(self.address.to_string())
            .status()?;
        if !status.success() {
            return Err(format!("smtp-source through {} failed", self.name).into());
        }
        let time = begun.elapsed();
        let cpu = self.cpu()?.saturating_sub(before) / u32::try_from(MESSAGES)?;
        Ok((time, cpu))
    }

    fn cpu(&self) -> Outcome<Duration> {
        self.process.as_ref().map_or(Ok(Duration::ZERO), cpu)
    }
}

/// Processor time so far, of user and system, its children's too, those that live and those that have ended.
pub(crate) fn cpu(Running(child): &Running) -> Outcome<Duration> {
    let mut all = used(child.id())?;
    for entry in fs::read_dir(format!("/proc/{}/task", child.id()))? {
        let children = fs::read_to_string(entry?.path().join("children")).unwrap_or_default();
        let children = children.split_whitespace();
        for child in children.filter_map(|one| one.parse::<u32>().ok()) {
            // One that has just ended is in its parent's count, which is read afterwards.
            all += used(child).unwrap_or_default();
        }
    }
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("no such process")?;
    // Of children that have ended: proc_pid_stat(5), 16 and 17, counted from the third, in hundredths.
    let ended = fields.split(' ').skip(13).take(2).map(str::parse::<u64>);
    Ok(all + Duration::from_millis(ended.sum::<Result<u64, _>>()? * 10))
}

/// What a process that lives has used, with its threads that have ended, in nanoseconds (`clock_getcpuclockid`).
fn used(process: u32) -> Outcome<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(process)?))?;
    Ok(clock_gettime(clock)?.into())
}

/// One session with one message: how long it took.
fn session(address: SocketAddr) -> Outcome<Duration> {
    let body = format!("{}\r\n", "x".repeat(70)).repeat(57);
    let message = format!("Subject: timed\r\n\r\n{body}.\r\n");
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    for (line, expected) in [
        ("", "220"),
        ("EHLO client.example\r\n", "250"),
        ("MAIL FROM:<a@client.example>\r\n", "250"),
        ("RCPT TO:<b@site.example>\r\n", "250"),
        ("DATA\r\n", "354"),
        (message.as_str(), "250"),
    ] {
        stream.write_all(line.as_bytes())?;
        let mut reply = String::new();
        loop {
            reply.clear();
            reader.read_line(&mut reply)?;
            if reply.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
        if !reply.starts_with(expected) {
            return Err(format!("{line:?}: {reply}").into());
        }
    }
    Ok(begun.elapsed())
}

fn print(all: &[Middle; 3]) {
    let [straight, haproxy, shield] = all;
    head("The proxy with its generic rules and no look at content, beside haproxy forwarding TCP");
    for (case, of) in [
        (
            "processor time a message, one a session",
            (|middle| median(middle.single.clone())) as fn(&Middle) -> Duration,
        ),
        ("processor time a message, sessions kept", |middle| {
            median(middle.kept.clone())
        }),
    ] {
        let peer = Some(("haproxy", of(haproxy)));
        row_time(case, of(shield), peer, Goal::Ratio(2.0));
    }
    let added = |middle: &Middle| {
        let latency = median(middle.latency.clone());
        latency.saturating_sub(median(straight.latency.clone()))
    };
    row_time(
        "added latency of a session, median",
        added(shield),
        Some(("haproxy", added(haproxy))),
        Goal::Time(Duration::from_millis(1)),
    );
    for middle in all {
        let mut rates = middle.rate.clone();
        rates.sort_by(f64::total_cmp);
        let rate = rates.get(rates.len() / 2).copied().unwrap_or_default();
        let case = format!("messages a second, {}", middle.name);
        row(&case, &format!("{rate:.0}"), None, None, "");
    }
}

fn haproxy_file(directory: &Path, listen: SocketAddr, behind: SocketAddr) -> Outcome<PathBuf> {
    let file = directory.join("haproxy.cfg");
    let text = format!(
        "global\n  maxconn 2000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\nlisten smtp\n  bind {listen}\n  server sink {behind}\n"
    );
    fs::write(&file, text)?;
    Ok(file)
}

fn shield_file(directory: &Path, listen: SocketAddr, behind: SocketAddr) -> Outcome<PathBuf> {
    let file = directory.join("shield.toml");
    let text = format!(
        "name = \"shield.example\"\n[content]\nlevel = \"off\"\n[[listener]]\nname = \"mx\"\naddress = [\"{listen}\"]\n\
         [[backend]]\naddress = \"{behind}\"\nxclient = false\n"
    );
    fs::write(&file, text)?;
    Ok(file)
}

/// An address that was free just now.
fn free() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Starts a program, and waits until it listens.
fn start(command: &mut Command, address: SocketAddr) -> Outcome<Running> {
    let mut running = Running(command.stdin(Stdio::null()).spawn()?);
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        if let Some(status) = running.0.try_wait()? {
            return Err(format!("{command:?} ended: {status}").into());
        }
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(format!("{command:?} does not listen").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(running)
}

pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin".into(), "/usr/bin".into()];
    std::env::split_paths(&path)
        .chain(usual)
        .map(|directory: PathBuf| directory.join(name))
        .find(|path| path.is_file())
}
