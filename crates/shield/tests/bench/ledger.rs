//! Numbered messages through a shield that is killed at random moments.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Client, Shield, free_address};

/// How many senders there are at a time.
const SENDERS: u64 = 4;

/// What came of it.
pub struct Ledger {
    /// Numbers that were acknowledged to a sender.
    pub acknowledged: BTreeSet<u64>,
    /// How often a sender had to try again.
    pub tried_again: u64,
}

/// Sends until the shield has been killed so often, as real senders do: what was not acknowledged is sent again.
/// The moments follow from the seed.
pub fn run(directory: &Path, config: &str, recipient: &str, kills: u32, seed: u64) -> Ledger {
    let address = free_address();
    let config = config.replace("127.0.0.1:0", &address.to_string());
    let stop = AtomicBool::new(false);
    let next = AtomicU64::new(1);
    let tried_again = AtomicU64::new(0);
    let acknowledged = Mutex::new(BTreeSet::new());
    let mut random = Random(seed | 1);
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    while !send(address, recipient, number) {
                        tried_again.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    acknowledged.lock().unwrap().insert(number);
                }
            });
        }
        for _ in 0..kills {
            let shield = Shield::start(directory, &config);
            std::thread::sleep(Duration::from_millis(20 + random.below(300)));
            // Its Drop is a SIGKILL.
            drop(shield);
        }
        let shield = Shield::start(directory, &config);
        stop.store(true, Ordering::SeqCst);
        // The last messages need it until every sender has ended.
        let all_acknowledged = || {
            let acknowledged = acknowledged.lock().unwrap().len() as u64;
            acknowledged + 1 == next.load(Ordering::SeqCst)
        };
        super::until(all_acknowledged);
        drop(shield);
    });
    Ledger {
        acknowledged: acknowledged.into_inner().unwrap(),
        tried_again: tried_again.into_inner(),
    }
}

/// Whether this message was acknowledged.
fn send(address: SocketAddr, recipient: &str, number: u64) -> bool {
    let Ok(stream) = std::net::TcpStream::connect(address) else {
        return false;
    };
    stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
    let mut client = Client { stream };
    let message = format!(
        "X-Number: {number}.\r\nSubject: numbered\r\n\r\n{}\r\n.\r\n",
        "x".repeat(2000)
    );
    let rcpt = format!("RCPT TO:<{recipient}>\r\n");
    let said = [
        ("", "220 "),
        ("EHLO sender.example\r\n", "250-"),
        ("MAIL FROM:<>\r\n", "250 "),
        (&rcpt, "250 "),
        ("DATA\r\n", "354 "),
        (&message, "250 "),
    ];
    said.iter().all(|(line, expected)| {
        std::io::Write::write_all(&mut client.stream, line.as_bytes()).is_ok()
            && client.reply().starts_with(expected)
    })
}

/// The numbers in what a server has: each message once or more.
pub fn numbers(text: &str) -> Vec<u64> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("X-Number: "));
    lines
        .filter_map(|line| line.trim().strip_suffix('.')?.parse().ok())
        .collect()
}

/// xorshift64: the moments need no better one.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
