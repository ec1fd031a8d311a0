//! Virus scanners: one that does as it is told, and the real one of Debian with signatures of our own.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What the scripted one does with a scan. Whatever it does, it knows a message for infected that holds [`INFECTED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Says what is so.
    Scans,
    /// Takes the message and says nothing.
    Hangs,
    /// Hangs up in the middle of the message.
    Dies,
    /// Hangs up behind the message.
    Leaves,
    /// Says that another scan was clean.
    Confuses,
    /// Says something that is no answer.
    Babbles,
    /// Takes no more than a few octets.
    TooSmall,
}

pub const INFECTED: &str = "X-THIS-IS-THE-VIRUS-X";

pub struct Clamd {
    pub address: SocketAddr,
    pub does: Arc<Mutex<Does>>,
    pub version: Arc<Mutex<String>>,
    /// Scans it took and says nothing of.
    pub hung: Arc<AtomicUsize>,
}

impl Clamd {
    pub fn start(version: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let does = Arc::new(Mutex::new(Does::Scans));
        let version = Arc::new(Mutex::new(version.to_owned()));
        let hung = Arc::new(AtomicUsize::new(0));
        let shared = (Arc::clone(&does), Arc::clone(&version), Arc::clone(&hung));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (does, version, hung) = shared.clone();
                std::thread::spawn(move || {
                    drop(converse(stream.unwrap(), &does, &version, &hung));
                });
            }
        });
        Self {
            address,
            does,
            version,
            hung,
        }
    }

    pub fn now(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    /// As the configuration has it.
    pub fn engine(&self, name: &str, more: &str) -> String {
        format!(
            "[[antivirus.engine]]\nname = \"{name}\"\nsocket = \"inet:{}\"\nseconds = 1\n{more}\n",
            self.address
        )
    }
}

fn converse(
    stream: TcpStream,
    does: &Mutex<Does>,
    version: &Mutex<String>,
    hung: &AtomicUsize,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let (mut session, mut number) = (false, 0);
    loop {
        let mut command = Vec::new();
        if reader.read_until(0, &mut command)? == 0 {
            return Ok(());
        }
        match command.as_slice() {
            b"zVERSION\0" => {
                let text = format!("{}\0", version.lock().unwrap());
                return writer.write_all(text.as_bytes());
            }
            b"zIDSESSION\0" => session = true,
            b"zINSTREAM\0" => {
                number += 1;
                let prefix = if session {
                    format!("{number}: ")
                } else {
                    String::new()
                };
                let does = *does.lock().unwrap();
                if does == Does::Dies {
                    reader.read_exact(&mut [0; 8])?;
                    return Ok(());
                }
                if does == Does::TooSmall {
                    reader.read_exact(&mut [0; 8])?;
                    return writer.write_all(b"INSTREAM size limit exceeded. ERROR\0");
                }
                let message = stream_of(&mut reader)?;
                let infected = String::from_utf8_lossy(&message).contains(INFECTED);
                let answer = match does {
                    Does::Hangs => {
                        hung.fetch_add(1, Ordering::SeqCst);
                        // Until the shield has enough of it.
                        reader.read_to_end(&mut Vec::new())?;
                        return Ok(());
                    }
                    Does::Leaves => return Ok(()),
                    Does::Babbles => format!("{prefix}stream: fine\0"),
                    Does::Confuses => format!("{}: stream: OK\0", number + 1),
                    _ if infected => format!("{prefix}stream: Test.100%-Virus FOUND\0"),
                    _ => format!("{prefix}stream: OK\0"),
                };
                writer.write_all(answer.as_bytes())?;
            }
            _ => return Ok(()),
        }
    }
}

fn stream_of(reader: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        let mut head = [0; 4];
        reader.read_exact(&mut head)?;
        let length = u32::from_be_bytes(head) as usize;
        if length == 0 {
            return Ok(message);
        }
        let mut piece = vec![0; length];
        reader.read_exact(&mut piece)?;
        message.extend(piece);
    }
}

/// Debian's own files that every scanner should find.
pub const TEST_FILES: &str = "/usr/share/clamav-testfiles";

/// The real one, in the foreground.
pub struct RealClamd {
    child: Child,
    directory: PathBuf,
}

impl RealClamd {
    /// None where it is not installed.
    pub fn start(directory: &Path) -> Option<Self> {
        let program = Path::new("/usr/sbin/clamd");
        if !program.is_file() || !Path::new(TEST_FILES).is_dir() {
            return None;
        }
        let database = directory.join("database");
        std::fs::create_dir_all(&database).unwrap();
        // Digest and size of the one program that lies in all of those files, and of the EICAR test file.
        let signatures = "aa15bcf478d165efd2065190eb473bcb:544:Test.File\n\
                          44d88612fea8a8f36de82e1278abb02f:68:Test.Eicar\n";
        std::fs::write(database.join("local.hdb"), signatures).unwrap();
        let config = directory.join("clamd.conf");
        let at = directory.display();
        let text = format!(
            "LocalSocket {at}/clamd.sock\nDatabaseDirectory {at}/database\nTemporaryDirectory {at}\nForeground yes\nAlertExceedsMax yes\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut clamd = Self {
            child: Self::spawn(directory),
            directory: directory.to_owned(),
        };
        clamd.wait();
        Some(clamd)
    }

    fn spawn(directory: &Path) -> Child {
        Command::new("/usr/sbin/clamd")
            .arg("-c")
            .arg(directory.join("clamd.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn wait(&mut self) {
        let socket = self.directory.join("clamd.sock");
        super::until(|| std::os::unix::net::UnixStream::connect(&socket).is_ok());
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.child = Self::spawn(&self.directory);
        self.wait();
    }

    pub fn engine(&self) -> String {
        format!(
            "[[antivirus.engine]]\nname = \"clamav\"\nsocket = \"unix:{}/clamd.sock\"\nown_definitions = true\n",
            self.directory.display()
        )
    }
}

impl Drop for RealClamd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A message with one file.
pub fn with_file(name: &str, octets: &[u8]) -> Vec<u8> {
    let mut text = format!(
        "From: a@client.example\r\nSubject: a file\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\r\nsee the file\r\n--b\r\n\
         Content-Type: application/octet-stream; name=\"{name}\"\r\n\
         Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\r\n"
    );
    text.push_str(&base64(octets));
    text.push_str("--b--\r\n");
    text.into_bytes()
}

fn base64(octets: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for line in octets.chunks(57) {
        for three in line.chunks(3) {
            let mut bits = 0_u32;
            for nth in 0..3 {
                bits = bits << 8 | u32::from(three.get(nth).copied().unwrap_or(0));
            }
            for nth in 0..4 {
                let letter = LETTERS[(bits >> (18 - 6 * nth) & 63) as usize];
                let there = nth <= three.len();
                out.push(if there { char::from(letter) } else { '=' });
            }
        }
        out.push_str("\r\n");
    }
    out
}
