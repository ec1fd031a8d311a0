//! A name server that says what it is told, on loopback.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

const A: u16 = 1;
const CNAME: u16 = 5;
const PTR: u16 = 12;
const MX: u16 = 15;
const TXT: u16 = 16;
const AAAA: u16 = 28;

/// What it knows of one name.
#[derive(Debug, Clone, Default)]
struct Name {
    records: Vec<(u16, Vec<u8>)>,
    /// Questions of these types are left unanswered; 0: of any.
    silent: Vec<u16>,
    /// Questions of these types are answered with a failure; 0: of any.
    broken: Vec<u16>,
}

/// Names and what is answered to them.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    names: BTreeMap<String, Name>,
    /// While set, nothing is answered.
    pub dead: bool,
    /// That there is nothing may be remembered for a minute, as name servers say it (RFC 2308).
    lasting: bool,
}

impl Zone {
    /// An empty one whose silence lasts.
    pub fn lasting() -> Self {
        Self {
            lasting: true,
            ..Self::default()
        }
    }

    fn name(&mut self, name: &str) -> &mut Name {
        self.names.entry(name.to_ascii_lowercase()).or_default()
    }

    pub fn txt(&mut self, name: &str, text: &str) {
        self.strings(name, &[text.to_owned()]);
    }

    /// One record of several strings.
    pub fn strings(&mut self, name: &str, texts: &[String]) {
        // A record without a string cannot be written; one empty string is nearest.
        let mut data = if texts.is_empty() {
            vec![0]
        } else {
            Vec::new()
        };
        for text in texts {
            let octets: Vec<u8> = text
                .chars()
                .map(|c| u8::try_from(c).unwrap_or(b'?'))
                .collect();
            if octets.is_empty() {
                data.push(0);
            }
            for piece in octets.chunks(255) {
                data.push(u8::try_from(piece.len()).unwrap());
                data.extend_from_slice(piece);
            }
        }
        self.name(name).records.push((TXT, data));
    }

    pub fn address(&mut self, name: &str, address: IpAddr) {
        let record = match address {
            IpAddr::V4(address) => (A, address.octets().to_vec()),
            IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
        };
        self.name(name).records.push(record);
    }

    pub fn mx(&mut self, name: &str, preference: u16, exchange: &str) {
        let mut data = preference.to_be_bytes().to_vec();
        data.extend(wire(exchange));
        self.name(name).records.push((MX, data));
    }

    pub fn ptr(&mut self, name: &str, target: &str) {
        self.name(name).records.push((PTR, wire(target)));
    }

    pub fn alias(&mut self, name: &str, target: &str) {
        self.name(name).records.push((CNAME, wire(target)));
    }

    /// Questions of this type are left unanswered; `None`: of any.
    pub fn silent(&mut self, name: &str, kind: Option<&str>) {
        let kind = number(kind);
        self.name(name).silent.push(kind);
    }

    /// Questions of this type are answered with a failure of the server.
    pub fn broken(&mut self, name: &str, kind: Option<&str>) {
        let kind = number(kind);
        self.name(name).broken.push(kind);
    }

    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        if self.dead {
            return None;
        }
        let (name, end) = read_name(question, 12)?;
        let kind = u16::from_be_bytes([*question.get(end)?, *question.get(end + 1)?]);
        let mut records = Vec::new();
        let mut code = 0;
        let mut asked = name.clone();
        for _ in 0..8 {
            let Some(found) = self.names.get(&asked) else {
                let below = format!(".{asked}");
                if records.is_empty() && !self.names.keys().any(|other| other.ends_with(&below)) {
                    code = 3;
                }
                break;
            };
            if found.silent.contains(&0) || found.silent.contains(&kind) {
                return None;
            }
            if found.broken.contains(&0) || found.broken.contains(&kind) {
                code = 2;
                break;
            }
            let alias = found.records.iter().find(|(of, _)| *of == CNAME);
            if let Some((_, target)) = alias.filter(|_| kind != CNAME) {
                records.push((asked.clone(), CNAME, target.clone()));
                asked = read_name(target, 0)?.0;
                continue;
            }
            let all = found.records.iter().filter(|(of, _)| *of == kind);
            records.extend(all.map(|(of, data)| (asked.clone(), *of, data.clone())));
            break;
        }
        let nothing = self.lasting && records.is_empty() && code != 2;
        let mut out = question.get(..2)?.to_vec();
        out.extend_from_slice(&[0x85, 0x80 | code, 0, 1]);
        out.extend_from_slice(&u16::try_from(records.len()).ok()?.to_be_bytes());
        out.extend_from_slice(&[0, u8::from(nothing), 0, 0]);
        out.extend_from_slice(question.get(12..end + 4)?);
        for (name, of, data) in records {
            out.extend(wire(&name));
            out.extend_from_slice(&of.to_be_bytes());
            out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            out.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
            out.extend(data);
        }
        if nothing {
            // A SOA of the root: names, then five numbers, of which the last says for how long.
            out.extend_from_slice(&[0, 0, 6, 0, 1, 0, 0, 0, 60, 0, 22, 0, 0]);
            for number in [1_u32, 60, 60, 60, 60] {
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        Some(out)
    }
}

fn number(kind: Option<&str>) -> u16 {
    match kind {
        Some("A") => A,
        Some("AAAA") => AAAA,
        Some("MX") => MX,
        Some("TXT") => TXT,
        Some("PTR") => PTR,
        _ => 0,
    }
}

fn wire(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.trim_end_matches('.').split('.') {
        let label = label.as_bytes().get(..label.len().min(63)).unwrap();
        if !label.is_empty() {
            out.push(u8::try_from(label.len()).unwrap());
            out.extend_from_slice(label);
        }
    }
    out.push(0);
    out
}

/// A name without compression, and where it ends.
fn read_name(data: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*data.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = data.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}

/// A name server of its own thread, which ends with the test.
pub struct Dns {
    pub address: SocketAddr,
    pub zone: Arc<Mutex<Zone>>,
}

impl Dns {
    pub fn start(zone: Zone) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(zone));
        let shared = Arc::clone(&zone);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((count, from)) = socket.recv_from(&mut buffer) {
                let answer = shared.lock().unwrap().answer(&buffer[..count]);
                if let Some(answer) = answer {
                    socket.send_to(&answer, from).ok();
                }
            }
        });
        Self { address, zone }
    }
}
