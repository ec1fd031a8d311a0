//! The first line a service says.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mailkeep_model::text::printable_max;

/// Longest first line read, in bytes: an SMTP reply line with its end (RFC 5321 section 4.5.3.1.5).
const MAX_LINE: usize = 512;

/// Connects and reads the first line the service says: printable, without its line end, at most
/// 512 bytes of it. The time-out covers the connection and the line together. A service that
/// waits for the client (HTTP, TLS) ends as [`io::ErrorKind::TimedOut`].
pub fn read_banner(address: SocketAddr, timeout: Duration) -> io::Result<String> {
    let deadline = Instant::now() + timeout;
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    let mut line = Vec::with_capacity(MAX_LINE);
    let mut buffer = [0; MAX_LINE];
    while line.len() < MAX_LINE && !line.contains(&b'\n') {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(0) => break,
            Ok(read) => line.extend(buffer.iter().take(read)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(printable_banner(&line))
}

/// The first line of what a service said, made printable.
pub fn printable_banner(bytes: &[u8]) -> String {
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.get(..MAX_LINE).unwrap_or(line);
    printable_max(String::from_utf8_lossy(line).trim_end(), MAX_LINE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::thread;

    fn said(parts: &'static [&'static [u8]]) -> io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for part in parts {
                stream.write_all(part).ok();
                stream.flush().ok();
            }
        });
        let answer = read_banner(address, Duration::from_secs(10));
        server.join().unwrap();
        answer
    }

    #[test]
    fn the_first_line_is_read_whole_though_it_comes_in_pieces() {
        assert_eq!(
            said(&[b"220 mx1.example", b".org ESMTP\r\n250 more\r\n"]).unwrap(),
            "220 mx1.example.org ESMTP"
        );
    }

    #[test]
    fn a_banner_is_bounded_and_printable() {
        static LONG: [&[u8]; 1] = [&[b'x'; 5000]];
        assert_eq!(said(&LONG).unwrap().len(), MAX_LINE);
        assert_eq!(said(&[b"220 \x1b[2Jmx\n"]).unwrap(), "220 \u{fffd}[2Jmx");
    }

    #[test]
    fn silence_is_a_time_out() {
        // The listener's queue takes the connection; nobody ever accepts it.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = read_banner(listener.local_addr().unwrap(), Duration::from_millis(200));
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_service_that_hangs_up_says_so() {
        assert!(said(&[]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_become_one_printable_line(bytes: Vec<u8>) {
            let line = printable_banner(&bytes);
            prop_assert!(!line.chars().any(mailkeep_model::text::is_unsafe));
        }
    }
}
