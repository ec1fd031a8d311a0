//! `bench shield`, second part: the shield as a milter beside rspamd at equal checks, and what it adds to a virus scanner.
//!
//! A mail server whose processes ask their filter, each for one message after another in connections of their own over a Unix
//! socket, as Postfix does for sessions of one message: ten at once, as beside haproxy, and one alone, which waits for each answer.
//! Both filters read MIME, check types of attachments, and hold the sender to SPF, DKIM and
//! DMARC, against one name server on loopback; before anything is measured each must have said that all three pass. Of
//! rspamd nothing else runs: no statistics, no fuzzy hashes, no network lists, no regular expressions, no Redis; it has one
//! worker, which does everything itself. The shield has a bundle that selects no virtual patch, as for servers without open
//! holes, and beside that all that come with it, for which rspamd has nothing. Processor time is what the kernel counts for
//! all processes of each.

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
/// Connections at once, as many as beside haproxy.
const AT_ONCE: usize = 10;
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
    let auth = format!("[authentication]\nnameservers = [\"{dns}\"]\n");
    let ours = shield(
        options,
        directory,
        "auth",
        &format!("{}{auth}", no_patches(directory)?),
    )?;
    let patches = shield(options, directory, "patches", &auth)?;
    let theirs = start_rspamd(&rspamd, directory, dns)?;
    let (mut all_ours, mut all_theirs) = (Vec::new(), Vec::new());
    for kind in kinds {
        for filter in [&ours, &patches, &theirs] {
            for mail in &kind.mails {
                filter.proves(mail)?;
            }
        }
        let mut turns: [Vec<Duration>; 5] = Default::default();
        for _ in 0..options.runs {
            let filters = [
                (&ours, AT_ONCE),
                (&patches, AT_ONCE),
                (&theirs, AT_ONCE),
                (&ours, 1),
                (&theirs, 1),
            ];
            for (turns, (filter, at_once)) in turns.iter_mut().zip(filters) {
                turns.push(filter.turn(&kind.mails, at_once)?);
            }
        }
        let [ours, patches, theirs, alone, theirs_alone] = turns;
        row_turns(kind.name, &ours, ("rspamd", &theirs), Some(RSPAMD));
        let peer = ("rspamd", &*theirs);
        row_turns("  with all virtual patches besides", &patches, peer, None);
        let peer = ("rspamd", &*theirs_alone);
        row_turns(
            "  without them, one connection at a time",
            &alone,
            peer,
            None,
        );
        all_ours.push(ours);
        all_theirs.push(theirs);
    }
    let peer = ("rspamd", &*together(&all_theirs));
    row_turns(TOGETHER, &together(&all_ours), peer, Some(RSPAMD));
    Ok(())
}

/// The lines of a configuration whose bundle selects no rule, and is signed.
fn no_patches(directory: &Path) -> Outcome<String> {
    let at = |name: &str| directory.join(name);
    let now = jiff::Timestamp::now();
    let bundle = format!(
        "format = 1\nid = \"bench\"\nversion = {}\nmade = \"{now}\"\nexpires = \"{}\"\nselected = []\n",
        now.as_second(),
        now + jiff::SignedDuration::from_hours(24),
    );
    fs::write(at("bundle.toml"), bundle)?;
    let make = ["-q", "-t", "ed25519", "-N", "", "-f"];
    let sign = ["-q", "-Y", "sign", "-n", "mailkeep-bundle", "-f"];
    for (arguments, file) in [(&make[..], None), (&sign[..], Some(at("bundle.toml")))] {
        let mut command = Command::new("ssh-keygen");
        command.args(arguments).arg(at("bundle.key")).args(file);
        if !command.stderr(Stdio::null()).status()?.success() {
            return Err(format!("{command:?} failed").into());
        }
    }
    let key = fs::read_to_string(at("bundle.key.pub"))?;
    fs::write(at("signers"), format!("bench {key}"))?;
    let at = directory.display();
    Ok(format!(
        "bundle = \"{at}/bundle.toml\"\nbundle_signers = \"{at}/signers\"\nbundle_state = \"{at}/state.json\"\n"
    ))
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
            at_once(AT_ONCE, |nth| {
                let mut session = Session::open(&socket)?;
                let octets = octets.iter().cycle().skip(nth);
                for octets in octets.take(MESSAGES / AT_ONCE) {
                    session.scan(octets)?;
                }
                Ok(())
            })?;
            let own = (cpu(&clamd)?.saturating_sub(before)) / u32::try_from(MESSAGES)?;
            let both = |filter: &Filter| -> Outcome<Duration> {
                let before = cpu(&clamd)?;
                let filter = filter.turn(&kind.mails, AT_ONCE)?;
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
    fn turn(&self, mails: &[Mail], connections: usize) -> Outcome<Duration> {
        let before = cpu(&self.process)?;
        at_once(connections, |nth| {
            for mail in mails.iter().cycle().skip(nth).take(MESSAGES / connections) {
                if !ask(&self.socket, mail)?.accepted {
                    return Err(format!("{} does not accept an honest message", self.name).into());
                }
            }
            Ok(())
        })?;
        Ok(cpu(&self.process)?.saturating_sub(before) / u32::try_from(MESSAGES)?)
    }
}

/// Does something so many times at once, each with its number.
fn at_once(count: usize, act: impl Fn(usize) -> Outcome<()> + Sync) -> Outcome<()> {
    let act = &act;
    std::thread::scope(|scope| {
        let each = |nth| scope.spawn(move || act(nth).map_err(|error| error.to_string()));
        let all: Vec<_> = (0..count).map(each).collect();
        for one in all {
            one.join()
                .unwrap_or_else(|_| Err("a sender panicked".to_owned()))?;
        }
        Ok(())
    })
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
