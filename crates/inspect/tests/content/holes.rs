//! What once passed by a hole in a reader, and the honest files that look like it.

use mailkeep_inspect::Level;

use crate::build;
use crate::refusing;

const BINARY: &str = "application/octet-stream";

fn refused(name: &str, octets: &[u8]) -> Vec<String> {
    refusing(name, BINARY, octets, Level::Default)
}

#[test]
fn messages_and_notes_with_many_archives_pass() {
    let rar = build::rar4(&[("a.txt", b"Hello.")], 0x30, false);
    let streams: Vec<(String, Vec<u8>)> = (0..9)
        .map(|number| {
            let octets = [&rar[..], &[b'x'; 5000]].concat();
            (format!("s{number}"), octets)
        })
        .collect();
    let streams: Vec<(&str, &[u8])> = streams
        .iter()
        .map(|(name, octets)| (name.as_str(), octets.as_slice()))
        .collect();
    assert_eq!(refused("a.msg", &build::compound(&streams)), [""; 0]);
    let one = build::onenote(&rar);
    let mut notes = one.clone();
    for _ in 1..9 {
        notes.extend_from_slice(&one[80..]);
    }
    assert_eq!(refused("a.one", &notes), [""; 0]);
}
