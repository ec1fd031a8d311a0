//! Mail for the lab: a stranger who sends numbered messages to every region's hosts, and a watcher who
//! asks every host again and again whether it takes mail.
//!
//! Entry: [`Lab::begin_load`]. The stranger has an address of its own on the lab's bridge: a drained host
//! still talks to the controller, so only a stranger sees what other senders see. It keeps a message that
//! nobody takes and tries again, as any mail server does; one whose fate it does not know it sends again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::command::{logged, output};
use super::error::LabError;
use super::host::Host;
use super::{Lab, net};

/// The stranger's address, apart from all regions.
const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
/// Where each host's messages are found; on a host with Maildirs this is a link to one.
const MAILBOX: &str = "/var/mail/probe";
/// How long a connection may take to stand; in the lab it stands at once or never.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a server may think about one command.
const ANSWER: Duration = Duration::from_secs(20);
/// A host that has not greeted after this long takes no mail, for the watcher.
const GREETING: Duration = Duration::from_secs(2);
/// From one look at a host to the next.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The same at a host that takes no mail: whoever refuses has no work with it, and when it comes back is told
/// the better.
const LOOK_AWAY_EVERY: Duration = Duration::from_millis(25);
/// All hosts share one machine: from one look at any host to the next at any, where there are many.
const LOOKS_APART: Duration = Duration::from_millis(20);
/// How long messages still under way are waited for at the end.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the stranger sends.
#[derive(Debug, Clone)]
pub struct LoadSettings {
    /// Sender and recipient; every host must take mail for it ([`Lab::take_mail_for`]).
    pub address: String,
    /// From one message of a region to its next.
    pub every: Duration,
    /// For each region, hosts that must take mail.
    pub minimum: BTreeMap<u8, usize>,
}

/// Mail that is being sent.
#[derive(Debug)]
pub struct Load<'a> {
    lab: &'a Lab,
    hosts: Vec<Host>,
    minimum: BTreeMap<u8, usize>,
    run: String,
    began: Instant,
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<Sent>>,
    watchers: Vec<(u8, String, JoinHandle<Seen>)>,
}

/// What became of the mail.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Account {
    /// Messages that a server took.
    pub sent: u64,
    /// Of those, how many were found in a mailbox.
    pub delivered: u64,
    /// Copies beyond the first.
    pub duplicated: u64,
    /// Taken and found nowhere.
    pub lost: Vec<u64>,
    /// Never taken by anybody: still with the sender, who would go on trying.
    pub kept: u64,
    /// Tries that a server refused, and that went to another one or were repeated.
    pub refused: u64,
    /// For each region, how long fewer than the minimum of its hosts took mail.
    pub short: BTreeMap<u8, Between>,
    /// For each host, how long it took no mail.
    pub out: BTreeMap<String, Between>,
}

/// A time that was seen by looking again and again: what happened between two looks is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Between {
    /// So long it lasted for certain.
    pub at_least: Duration,
    /// It cannot have been longer.
    pub at_most: Duration,
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (self.at_least.as_secs_f64(), self.at_most.as_secs_f64());
        write!(f, "{least:.1} to {most:.1} s")
    }
}

/// What one sender did.
#[derive(Debug, Default)]
struct Sent {
    taken: BTreeSet<u64>,
    kept: u64,
    refused: u64,
}

/// A time in which a host took no mail, counted from the beginning.
type Gap = (Duration, Duration);

/// The times in which a host took no mail.
#[derive(Debug, Default)]
struct Seen {
    /// From the first look that met nobody to the last.
    certain: Vec<Gap>,
    /// From the look before the first of these to the one after the last.
    possible: Vec<Gap>,
}

impl Lab {
    /// Makes every host take mail for a domain, into the mailbox of the user `probe`.
    pub fn take_mail_for(&self, domain: &str) -> Result<(), LabError> {
        for host in self.hosts()? {
            let script = include_str!("scripts/take-mail-for.sh");
            let words = ["sh", "-c", script, "take-mail-for", &host.family, domain];
            let mut command = self.inside(&host.name, &words)?;
            let log = self.root().join("hosts").join(&host.name).join("mail.log");
            let what = format!("letting {} take mail for {domain}", host.name);
            logged(&what, command.stdin(Stdio::null()), &log)?;
        }
        Ok(())
    }

    /// Lets a stranger send, and somebody watch, until [`Load::end`].
    pub fn begin_load(&self, settings: &LoadSettings) -> Result<Load<'_>, LabError> {
        let hosts = self.hosts()?;
        let namespace = format!("{}-STRANGER", self.tag);
        net::plug(&self.bridge(), &namespace, STRANGER)?;
        let namespace = Path::new("/run/netns").join(namespace);
        let run = format!("{}-{}", std::process::id(), unix_seconds());
        let stop = Arc::new(AtomicBool::new(false));
        let numbers = Arc::new(AtomicU64::new(1));
        let began = Instant::now();
        let regions: BTreeSet<u8> = hosts.iter().map(|host| host.region).collect();
        let mut load = Load {
            lab: self,
            hosts,
            minimum: settings.minimum.clone(),
            run,
            began,
            stop: Arc::clone(&stop),
            senders: Vec::new(),
            watchers: Vec::new(),
        };
        for region in regions {
            let of_region = load.hosts.iter().filter(|host| host.region == region);
            let sender = Sender {
                namespace: namespace.clone(),
                servers: of_region.map(|host| host.address).collect(),
                address: settings.address.clone(),
                every: settings.every,
                run: load.run.clone(),
                numbers: Arc::clone(&numbers),
                stop: Arc::clone(&stop),
                sent: Sent::default(),
            };
            load.senders.push(std::thread::spawn(|| sender.run()));
        }
        let every = looks_every(load.hosts.len());
        for host in &load.hosts {
            let (namespace, stop, address) = (namespace.clone(), Arc::clone(&stop), host.address);
            let thread =
                std::thread::spawn(move || watch(&namespace, address, every, began, &stop));
            load.watchers.push((host.region, host.name.clone(), thread));
        }
        Ok(load)
    }
}

impl Load<'_> {
    /// Stops sending, waits for what is under way, and counts.
    pub fn end(mut self) -> Result<Account, LabError> {
        self.stop.store(true, Ordering::SeqCst);
        let lasted = self.began.elapsed();
        let mut account = Account::default();
        let mut gaps: BTreeMap<u8, Vec<Seen>> = BTreeMap::new();
        let sum = |gaps: &[Gap]| gaps.iter().map(|gap| gap.1.saturating_sub(gap.0)).sum();
        for (region, name, thread) in std::mem::take(&mut self.watchers) {
            let of_host = joined(thread);
            let out = Between {
                at_least: sum(&of_host.certain),
                at_most: sum(&of_host.possible),
            };
            account.out.insert(name, out);
            gaps.entry(region).or_default().push(of_host);
        }
        for (region, hosts) in gaps {
            let minimum = self.minimum.get(&region).copied().unwrap_or(0);
            let short = |gaps: fn(&Seen) -> &[Gap]| {
                let hosts: Vec<&[Gap]> = hosts.iter().map(gaps).collect();
                short_of(&hosts, minimum, lasted)
            };
            let short = Between {
                at_least: short(|seen| &seen.certain),
                at_most: short(|seen| &seen.possible),
            };
            account.short.insert(region, short);
        }
        let mut taken = BTreeSet::new();
        for thread in std::mem::take(&mut self.senders) {
            let sent = joined(thread);
            taken.extend(sent.taken);
            account.kept += sent.kept;
            account.refused += sent.refused;
        }
        account.sent = count(taken.len());
        let limit = Instant::now() + PATIENCE;
        loop {
            let found = self.found()?;
            let lost: Vec<u64> = taken
                .iter()
                .filter(|number| !found.contains_key(number))
                .copied()
                .collect();
            if lost.is_empty() || Instant::now() > limit {
                account.delivered = account.sent - count(lost.len());
                account.duplicated = found.values().map(|copies| copies - 1).sum();
                account.lost = lost;
                return Ok(account);
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// How often each message lies in a mailbox.
    fn found(&self) -> Result<BTreeMap<u64, u64>, LabError> {
        let mark = format!("X-Load: {} ", self.run);
        let mut found = BTreeMap::new();
        for host in &self.hosts {
            let script = r#"grep -rha -- "^$1" "$2" 2>/dev/null; :"#;
            let words = ["sh", "-c", script, "found", &mark, MAILBOX];
            let mut command = self.lab.inside(&host.name, &words)?;
            let what = format!("reading the mail of {}", host.name);
            let text = output(&what, command.stdin(Stdio::null()))?;
            for number in text.lines().filter_map(|line| line.strip_prefix(&mark)) {
                if let Ok(number) = number.trim().parse() {
                    *found.entry(number).or_insert(0) += 1;
                }
            }
        }
        Ok(found)
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// How long fewer than `minimum` of the hosts took mail.
fn short_of(hosts: &[&[Gap]], minimum: usize, lasted: Duration) -> Duration {
    // At each beginning of a gap one host less, at each end one more.
    let mut changes: BTreeMap<Duration, i64> = BTreeMap::new();
    for (from, until) in hosts.iter().copied().flatten() {
        *changes.entry(*from).or_default() += 1;
        *changes.entry(*until).or_default() -= 1;
    }
    let all = i64::try_from(hosts.len()).unwrap_or(i64::MAX);
    let minimum = i64::try_from(minimum).unwrap_or(i64::MAX);
    let (mut short, mut out, mut since) = (Duration::ZERO, 0, Duration::ZERO);
    for (at, change) in changes.into_iter().chain([(lasted, 0)]) {
        if all - out < minimum {
            short += at.saturating_sub(since);
        }
        out += change;
        since = at;
    }
    short
}

/// How often each of so many hosts is asked.
fn looks_every(hosts: usize) -> Duration {
    let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
    LOOK_EVERY.max(LOOKS_APART.saturating_mul(hosts))
}

/// Asks a host again and again; gives the times in which it took no mail.
fn watch(
    namespace: &Path,
    address: Ipv4Addr,
    every: Duration,
    began: Instant,
    stop: &AtomicBool,
) -> Seen {
    if enter(namespace).is_err() {
        // Whoever sees nothing says so: out for longer than anything lasts.
        let always = vec![(Duration::ZERO, Duration::from_secs(u64::from(u32::MAX)))];
        return Seen {
            certain: always.clone(),
            possible: always,
        };
    }
    let mut looks = Looks::default();
    while !stop.load(Ordering::SeqCst) {
        let asked = began.elapsed();
        let takes_mail = greets(address);
        looks.add(asked, began.elapsed(), takes_mail);
        let every = if takes_mail { every } else { LOOK_AWAY_EVERY };
        std::thread::sleep(every.saturating_sub(began.elapsed().saturating_sub(asked)));
    }
    looks.seen(began.elapsed())
}

/// Puts looks together. Where two looks in a row met nobody, nobody was there between them: no host comes and
/// goes in so short a time.
#[derive(Debug, Default)]
struct Looks {
    seen: Seen,
    /// When the last look began that met somebody.
    greeted: Duration,
    /// The first look that met nobody and the last one after it: when they began.
    away: Option<Gap>,
}

impl Looks {
    fn add(&mut self, asked: Duration, answered: Duration, takes_mail: bool) {
        match (takes_mail, &mut self.away) {
            (true, _) => {
                self.close(answered);
                self.greeted = asked;
            }
            (false, Some((_, last))) => *last = asked,
            (false, away @ None) => *away = Some((asked, asked)),
        }
    }

    fn close(&mut self, at: Duration) {
        if let Some(away) = self.away.take() {
            self.seen.certain.push(away);
            self.seen.possible.push((self.greeted, at));
        }
    }

    fn seen(mut self, end: Duration) -> Seen {
        self.close(end);
        self.seen
    }
}

fn greets(address: Ipv4Addr) -> bool {
    let ask = || -> io::Result<bool> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from((address, 25)), CONNECT)?;
        stream.set_read_timeout(Some(GREETING))?;
        stream.set_write_timeout(Some(GREETING))?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        (&stream).write_all(b"QUIT\r\n")?;
        // A server that has said goodbye logs no lost connection.
        BufReader::new(&stream).read_line(&mut String::new())?;
        Ok(line.starts_with("220"))
    };
    ask().unwrap_or(false)
}

/// Moves this thread to where the stranger is.
fn enter(namespace: &Path) -> io::Result<()> {
    let file = File::open(namespace)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// Sends the messages of one region.
struct Sender {
    namespace: PathBuf,
    servers: Vec<Ipv4Addr>,
    address: String,
    every: Duration,
    run: String,
    numbers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    sent: Sent,
}

impl Sender {
    fn run(mut self) -> Sent {
        if enter(&self.namespace).is_err() {
            return self.sent;
        }
        let mut waiting = VecDeque::new();
        let mut next = Instant::now();
        let mut last = None;
        loop {
            let stopped = self.stop.load(Ordering::SeqCst);
            if stopped {
                let limit = *last.get_or_insert_with(|| Instant::now() + PATIENCE);
                if waiting.is_empty() || Instant::now() > limit {
                    break;
                }
            } else {
                waiting.push_back(self.numbers.fetch_add(1, Ordering::SeqCst));
            }
            // One of those waiting and the new one: a backlog shrinks, and nobody is flooded.
            for _ in 0..2 {
                if let Some(number) = waiting.pop_front()
                    && !self.send(number)
                {
                    waiting.push_back(number);
                }
            }
            next += self.every;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            // Late ones are not made up for: the rate is at most as asked.
            next = next.max(Instant::now());
        }
        self.sent.kept = count(waiting.len());
        self.sent
    }

    /// Tries every server once, each message beginning with another one; true when one took it.
    fn send(&mut self, number: u64) -> bool {
        let turn = usize::try_from(number).unwrap_or(0) % self.servers.len().max(1);
        let (last, first) = self.servers.split_at(turn);
        let order: Vec<Ipv4Addr> = first.iter().chain(last).copied().collect();
        for server in order {
            if self.hand_over(server, number).unwrap_or(false) {
                self.sent.taken.insert(number);
                return true;
            }
            self.sent.refused += 1;
        }
        false
    }

    fn hand_over(&self, server: Ipv4Addr, number: u64) -> io::Result<bool> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from((server, 25)), CONNECT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let mut replies = BufReader::new(&stream);
        let mut code = || -> io::Result<u8> {
            loop {
                let mut line = String::new();
                if replies.read_line(&mut line)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if line.as_bytes().get(3) != Some(&b'-') {
                    return Ok(line.as_bytes().first().copied().unwrap_or(0));
                }
            }
        };
        if code()? != b'2' {
            return Ok(false);
        }
        let Self { address, run, .. } = self;
        let domain = address.rsplit_once('@').map_or("lab.test", |(_, d)| d);
        for (command, wanted) in [
            (format!("EHLO stranger.{domain}\r\n"), b'2'),
            (format!("MAIL FROM:<{address}>\r\n"), b'2'),
            (format!("RCPT TO:<{address}>\r\n"), b'2'),
            ("DATA\r\n".to_owned(), b'3'),
            (
                format!(
                    "From: <{address}>\r\nTo: <{address}>\r\nSubject: load {number}\r\n\
                     Message-ID: <load.{run}.{number}@{domain}>\r\nX-Load: {run} {number}\r\n\r\n\
                     Message {number}.\r\n.\r\n"
                ),
                b'2',
            ),
        ] {
            (&stream).write_all(command.as_bytes())?;
            if code()? != wanted {
                return Ok(false);
            }
        }
        (&stream).write_all(b"QUIT\r\n").ok();
        code().ok();
        Ok(true)
    }
}

fn joined<T>(thread: JoinHandle<T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn unix_seconds() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_ten_hosts_are_asked_five_times_a_second_and_more_of_them_more_rarely() {
        for hosts in [1, 6, 10] {
            assert_eq!(looks_every(hosts), LOOK_EVERY);
        }
        assert_eq!(looks_every(36), Duration::from_millis(720));
    }

    #[test]
    fn a_region_is_short_while_fewer_than_its_minimum_take_mail() {
        let s = Duration::from_secs;
        let one_after_the_other: [&[Gap]; 2] = [&[(s(1), s(3))], &[(s(3), s(5))]];
        assert_eq!(short_of(&one_after_the_other, 1, s(10)), s(0));
        assert_eq!(short_of(&one_after_the_other, 2, s(10)), s(4));
        let both: [&[Gap]; 2] = [&[(s(1), s(4))], &[(s(2), s(5)), (s(9), s(10))]];
        assert_eq!(short_of(&both, 1, s(10)), s(2));
        assert_eq!(short_of(&both, 2, s(10)), s(5));
        assert_eq!(short_of(&[], 1, s(10)), s(10));
    }

    #[test]
    fn a_host_that_leaves_right_after_another_came_back_is_no_shortage_that_is_certain() {
        let ms = Duration::from_millis;
        let looks = |told: &[(u64, u64, bool)]| {
            let mut looks = Looks::default();
            for (asked, answered, takes_mail) in told {
                looks.add(ms(*asked), ms(*answered), *takes_mail);
            }
            looks.seen(ms(1500))
        };
        // Back at 700; the next one left at 720, after it was last greeted at 600.
        let first = looks(&[
            (0, 9, true),
            (200, 201, false),
            (690, 691, false),
            (715, 730, true),
            (1400, 1409, true),
        ]);
        let second = looks(&[
            (0, 9, true),
            (600, 609, true),
            (800, 801, false),
            (1490, 1491, false),
        ]);
        assert_eq!(first.certain, [(ms(200), ms(690))]);
        assert_eq!(first.possible, [(ms(0), ms(730))]);
        assert_eq!(second.certain, [(ms(800), ms(1490))]);
        assert_eq!(second.possible, [(ms(600), ms(1500))]);
        let short = |of: fn(&Seen) -> &[Gap]| short_of(&[of(&first), of(&second)], 1, ms(1500));
        assert_eq!(short(|seen| &seen.certain), ms(0));
        assert_eq!(short(|seen| &seen.possible), ms(130));
    }
}
