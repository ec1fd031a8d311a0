//! Limits on a block of headers (family G10).

use super::rules;
use crate::ContentRule;

/// Headers that hold addresses (RFC 5322 section 3.6).
const WITH_ADDRESSES: [&[u8]; 13] = [
    b"bcc",
    b"cc",
    b"disposition-notification-to",
    b"errors-to",
    b"from",
    b"reply-to",
    b"resent-bcc",
    b"resent-cc",
    b"resent-from",
    b"resent-sender",
    b"resent-to",
    b"sender",
    b"to",
];

/// Which limits a block of headers is beyond, each with what was counted.
pub(super) fn beyond(block: &[u8]) -> Vec<(&'static ContentRule, usize)> {
    let mut found = Vec::new();
    if block.len() > rules::MAX_HEADERS {
        found.push((&rules::HEADERS_TOO_LARGE, block.len()));
    }
    let mut count = 0_usize;
    let mut longest = 0_usize;
    let mut most = 0_usize;
    let mut start = 0;
    let mut at = 0;
    // One header after another: a line that begins with a blank goes on.
    while at < block.len() {
        let rest = block.get(at..).unwrap_or_default();
        let next = memchr::memchr(b'\n', rest).map_or(block.len(), |end| at + end + 1);
        let goes_on = block
            .get(next)
            .is_some_and(|octet| matches!(octet, b' ' | b'\t'));
        if !goes_on {
            let header = block.get(start..next).unwrap_or_default();
            count += 1;
            longest = longest.max(header.len());
            let colon = memchr::memchr(b':', header).unwrap_or(0);
            let name = header.get(..colon).unwrap_or_default().trim_ascii();
            if header.len() > rules::MAX_ADDRESSES
                && WITH_ADDRESSES
                    .iter()
                    .any(|address| name.eq_ignore_ascii_case(address))
            {
                most = most.max(addresses(header));
            }
            start = next;
        }
        at = next;
    }
    if longest > rules::MAX_HEADER {
        found.push((&rules::HEADER_TOO_LONG, longest));
    }
    if count > rules::MAX_HEADER_COUNT {
        found.push((&rules::TOO_MANY_HEADERS, count));
    }
    if most > rules::MAX_ADDRESSES {
        found.push((&rules::TOO_MANY_ADDRESSES, most));
    }
    found
}

/// Commas that stand outside quotes, and one more.
fn addresses(header: &[u8]) -> usize {
    let mut quoted = false;
    let mut count = 1;
    for octet in header {
        match octet {
            b'"' => quoted = !quoted,
            b',' if !quoted => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(block: &[u8]) -> Vec<&'static str> {
        beyond(block).iter().map(|(rule, _)| rule.name).collect()
    }

    #[test]
    fn what_honest_mail_has_is_within_the_limits() {
        let to = "ada@example.org,\r\n ".repeat(400);
        assert!(names(format!("To: {to}\r\nSubject: x\r\n").as_bytes()).is_empty());
        assert!(names(b"").is_empty());
    }

    #[test]
    fn each_limit_has_its_name() {
        let to = "ada@example.org,\r\n ".repeat(501);
        assert_eq!(
            names(format!("To: {to}\r\n").as_bytes()),
            ["too-many-addresses"]
        );
        assert_eq!(
            names("A: b\r\n".repeat(1001).as_bytes()),
            ["too-many-headers"]
        );
        assert_eq!(
            names(format!("A: {}\r\n", "x".repeat(70_000)).as_bytes()),
            ["header-too-long"]
        );
        assert_eq!(
            names(
                format!("A: {}\r\n", "x".repeat(30_000))
                    .repeat(10)
                    .as_bytes()
            ),
            ["headers-too-large"]
        );
    }
}
