//! `bench shield`, second part: the shield as a milter beside rspamd at equal checks, and what it adds to a virus scanner.
//!
//! A mail server that asks its filter for one message after another, each in a connection of its own over a Unix socket,
//! as Postfix does for sessions of one message. Both filters read MIME, check types of attachments, and hold the sender to SPF, DKIM and
//! DMARC, against one name server on loopback; before anything is measured each must have said that all three pass. Of
//! rspamd nothing else runs: no statistics, no fuzzy hashes, no network lists, no regular expressions, no Redis; it has one
//! worker, which does everything itself. Processor time is what the kernel counts for all processes of each.

mod client;
#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "the name server of the shield's tests, which use all of it"
)]
#[path = "../../../crates/shield/tests/bench/dns.rs"]
mod dns;
mod mail;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use self::client::ask;
use self::mail::{Kind, Mail};
use crate::measure::{head, row, row_turns, together};
use crate::shield::{Running, cpu, on_path};
use crate::{Options, Outcome};

/// Messages of one turn.
const MESSAGES: usize = 600;
/// Three times rspamd's messages for each second of processor time.
const RSPAMD: f64 = 1.0 / 3.0;
/// The row of one message of each kind.
const TOGETHER: &str = "one of each";
/// What scanner and shield may cost together, by what the scanner costs alone.
const CLAMD: f64 = 1.2;

/// The rows.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let (kinds, dns) = mail::draw(directory.path())?;
    beside_rspamd(options, directory.path(), &kinds, dns.address)?;
    with_clamd(options, directory.path(), &kinds)
}

fn beside_rspamd(
    options: &Options,
    directory: &Path,
    kinds: &[Kind],
    dns: SocketAddr,
) -> Outcome<()> {
    head("The milter with MIME, types, SPF, DKIM and DMARC, beside rspamd at equal checks");
    let Some(rspamd) = on_path("rspamd") else {
        row(
            "processor time a message",
            "-",
            Some("rspamd is not on PATH"),
            None,
            "",
        );
        return Ok(());
    };
    let ours = shield(
        options,
        directory,
        "auth",
        &format!("[authentication]\nnameservers = [\"{dns}\"]\n"),
    )?;
    let theirs = start_rspamd(&rspamd, directory, dns)?;
    let (mut all_ours, mut all_theirs) = (Vec::new(), Vec::new());
    for kind in kinds {
        for filter in [&ours, &theirs] {
            for mail in &kind.mails {
                filter.proves(mail)?;
            }
        }
        let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
        for _ in 0..options.runs {
            our_times.push(ours.turn(&kind.mails)?);
            their_times.push(theirs.turn(&kind.mails)?);
        }
        row_turns(
            kind.name,
            &our_times,
            ("rspamd", &their_times),
            Some(RSPAMD),
        );
        all_ours.push(our_times);
        all_theirs.push(their_times);
    }
    let peer = ("rspamd", &*together(&all_theirs));
    row_turns(TOGETHER, &together(&all_ours), peer, Some(RSPAMD));
    Ok(())
}

fn with_clamd(options: &Options, directory: &Path, kinds: &[Kind]) -> Outcome<()> {
    head("Scanned by clamd through the milter (shield and clamd), beside clamd alone");
    let Some(program) = on_path("clamd") else {
        row(
            "processor time a message",
            "-",
            Some("clamd is not on PATH"),
            None,
            "",
        );
        return Ok(());
    };
    let clamd = start_clamd(&program, directory)?;
    let socket = directory.join("clamd.sock");
    let engine = format!(
        "[[antivirus.engine]]\nname = \"clamav\"\nsocket = \"unix:{}\"\nown_definitions = true\n",
        socket.display()
    );
    let ours = shield(options, directory, "scan", &engine)?;
    let bare = shield(
        options,
        directory,
        "bare",
        &format!("[content]\nlevel = \"off\"\n{engine}"),
    )?;
    let (mut all_alone, mut all_scanned) = (Vec::new(), Vec::new());
    for kind in kinds {
        let octets: Vec<Vec<u8>> = kind.mails.iter().map(Mail::octets).collect();
        let (mut alone, mut through, mut scanned) = (Vec::new(), Vec::new(), Vec::new());
        // The first turn warms everything up, and is not counted.
        for turn in 0..=options.runs {
            let before = cpu(&clamd)?;
            let mut session = Session::open(&socket)?;
            for octets in octets.iter().cycle().take(MESSAGES) {
                session.scan(octets)?;
            }
            drop(session);
            let own = (cpu(&clamd)?.saturating_sub(before)) / u32::try_from(MESSAGES)?;
            let both = |filter: &Filter| -> Outcome<Duration> {
                let before = cpu(&clamd)?;
                let filter = filter.turn(&kind.mails)?;
                Ok(filter + cpu(&clamd)?.saturating_sub(before) / u32::try_from(MESSAGES)?)
            };
            let (bare, whole) = (both(&bare)?, both(&ours)?);
            if turn > 0 {
                alone.push(own);
                scanned.push(bare);
                through.push(whole);
            }
        }
        row_turns(kind.name, &scanned, ("clamd", &alone), Some(CLAMD));
        let case = format!(
            "  the same, and looked into: {}",
            kind.name.split(':').next().unwrap_or("")
        );
        row_turns(&case, &through, ("clamd", &alone), None);
        all_alone.push(alone);
        all_scanned.push(scanned);
    }
    let peer = ("clamd", &*together(&all_alone));
    row_turns(TOGETHER, &together(&all_scanned), peer, Some(CLAMD));
    Ok(())
}

/// A filter that runs.
struct Filter {
    name: &'static str,
    socket: PathBuf,
    process: Running,
}

impl Filter {
    /// Whether it says of this sender that he is who he says, by each check.
    fn proves(&self, mail: &Mail) -> Outcome<()> {
        let answer = ask(&self.socket, mail)?;
        let added = &answer.added;
        let all = ["dkim=pass", "spf=pass", "dmarc=pass"];
        if !answer.accepted || !all.iter().all(|one| added.contains(one)) {
            return Err(format!("{} does not prove the sender: {answer:?}", self.name).into());
        }
        Ok(())
    }

    /// Processor time a message.
    fn turn(&self, mails: &[Mail]) -> Outcome<Duration> {
        let before = cpu(&self.process)?;
        for mail in mails.iter().cycle().take(MESSAGES) {
            if !ask(&self.socket, mail)?.accepted {
                return Err(format!("{} does not accept an honest message", self.name).into());
            }
        }
        Ok(cpu(&self.process)?.saturating_sub(before) / u32::try_from(MESSAGES)?)
    }
}

fn shield(options: &Options, directory: &Path, name: &str, more: &str) -> Outcome<Filter> {
    let socket = directory.join(format!("{name}.sock"));
    let file = directory.join(format!("{name}.toml"));
    let text = format!(
        "name = \"shield.example\"\n{more}\n[[milter]]\nname = \"filter\"\nsocket = \"unix:{}\"\n",
        socket.display()
    );
    fs::write(&file, text)?;
    let mut command = Command::new(&options.shield);
    command
        .arg("--config")
        .arg(&file)
        .stdout(fs::File::create(directory.join(format!("{name}.log")))?);
    Ok(Filter {
        name: "the shield",
        process: start(&mut command, &socket)?,
        socket,
    })
}

fn start_rspamd(program: &Path, directory: &Path, dns: SocketAddr) -> Outcome<Filter> {
    let at = directory.display();
    let socket = directory.join("rspamd.sock");
    let modules: String = ["spf", "dkim", "dmarc", "mime_types"]
        .map(|name| format!(".include \"/etc/rspamd/modules.d/{name}.conf\"\n"))
        .concat();
    let text = format!(
        "options {{ pidfile = \"{at}/rspamd.pid\"; filters = \"dkim\"; tempdir = \"{at}\"; \
         url_tld = \"/usr/share/rspamd/effective_tld_names.dat\"; cache_file = \"{at}/symbols.cache\"; \
         hs_cache_dir = \"{at}\"; dns {{ nameserver = [\"{}:{}\"]; timeout = 1s; }} }}\n\
         logging {{ type = \"file\"; filename = \"{at}/rspamd.log\"; level = \"error\"; }}\n\
         worker \"rspamd_proxy\" {{ bind_socket = \"{at}/rspamd.sock mode=0666\"; milter = yes; timeout = 60s; count = 1; \
         upstream \"local\" {{ default = yes; self_scan = yes; }} }}\n\
         modules {{ path = \"/usr/share/rspamd/plugins/\"; }}\n{modules}\
         milter_headers {{ use = [\"authentication-results\"]; }}\nactions {{ reject = 1000; }}\n",
        dns.ip(),
        dns.port()
    );
    let file = directory.join("rspamd.conf");
    fs::write(&file, text)?;
    let mut command = Command::new(program);
    command
        .args(["-f", "-i", "-c"])
        .arg(&file)
        .arg("--var=CONFDIR=/etc/rspamd")
        .arg(format!("--var=LOCAL_CONFDIR={at}/none"))
        .arg(format!("--var=DBDIR={at}"))
        .arg(format!("--var=RUNDIR={at}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(Filter {
        name: "rspamd",
        process: start(&mut command, &socket)?,
        socket,
    })
}

/// With signatures of Debian's test files, and nothing remembered of what it has scanned.
fn start_clamd(program: &Path, directory: &Path) -> Outcome<Running> {
    let at = directory.display();
    fs::create_dir_all(directory.join("database"))?;
    fs::write(
        directory.join("database/local.hdb"),
        "aa15bcf478d165efd2065190eb473bcb:544:Test.File\n44d88612fea8a8f36de82e1278abb02f:68:Test.Eicar\n",
    )?;
    let file = directory.join("clamd.conf");
    fs::write(
        &file,
        format!(
            "LocalSocket {at}/clamd.sock\nDatabaseDirectory {at}/database\nTemporaryDirectory {at}\nForeground yes\n\
             AlertExceedsMax yes\nDisableCache yes\n"
        ),
    )?;
    let mut command = Command::new(program);
    command
        .arg("-c")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    start(&mut command, &directory.join("clamd.sock"))
}

/// A session with clamd that is kept, as the shield keeps its own.
struct Session(UnixStream);

impl Session {
    fn open(socket: &Path) -> Outcome<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(b"zIDSESSION\0")?;
        Ok(Self(stream))
    }

    fn scan(&mut self, octets: &[u8]) -> Outcome<()> {
        let mut out = b"zINSTREAM\0".to_vec();
        for piece in octets.chunks(64 << 10) {
            out.extend_from_slice(&u32::try_from(piece.len())?.to_be_bytes());
            out.extend_from_slice(piece);
        }
        out.extend_from_slice(&[0; 4]);
        self.0.write_all(&out)?;
        let mut answer = Vec::new();
        while answer.last() != Some(&0) {
            let mut octets = [0; 128];
            let count = self.0.read(&mut octets)?;
            if count == 0 {
                return Err("clamd hung up".into());
            }
            answer.extend_from_slice(octets.get(..count).unwrap_or_default());
        }
        let answer = String::from_utf8_lossy(&answer);
        if answer.contains("stream: OK") {
            Ok(())
        } else {
            Err(format!("clamd says {answer}").into())
        }
    }
}

/// Starts a program, and waits until it takes connections.
fn start(command: &mut Command, socket: &Path) -> Outcome<Running> {
    let mut running = Running(command.stdin(Stdio::null()).spawn()?);
    let begun = Instant::now();
    while UnixStream::connect(socket).is_err() {
        if let Some(status) = running.0.try_wait()? {
            return Err(format!("{command:?} ended: {status}").into());
        }
        // rspamd compiles its tables first.
        if begun.elapsed() > Duration::from_mins(5) {
            return Err(format!("{command:?} does not listen").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(running)
}
