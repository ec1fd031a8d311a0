//! A JSON body posted to somebody's URL.

use ring::{digest, hmac};

use crate::Secret;
use crate::fetch::{FetchError, Fetcher, to_hex};

/// The header that carries the signature: `sha256=` and the hexadecimal HMAC-SHA256 (RFC 2104) of
/// the body under the shared secret.
pub const SIGNATURE_HEADER: &str = "Mailkeep-Signature-256";

/// Posts JSON. With a secret the receiver can check [`SIGNATURE_HEADER`]. A repetition carries the
/// same `Idempotency-Key` (a digest of the body), so that the receiver can tell it from news.
///
/// Statuses 2xx are success. Errors show only the host of the URL: the rest is often a secret.
pub fn post_webhook(
    fetcher: &Fetcher,
    url: &str,
    json: &[u8],
    secret: Option<&Secret>,
) -> Result<(), FetchError> {
    let key = format!(
        "\"{}\"",
        to_hex(digest::digest(&digest::SHA256, json).as_ref())
    );
    let signed = secret.map(|secret| signature(secret, json));
    let mut headers = vec![("Idempotency-Key", key.as_str())];
    if let Some(signed) = &signed {
        headers.push((SIGNATURE_HEADER, signed));
    }
    fetcher.post(url, "application/json", &headers, json)
}

/// The value of [`SIGNATURE_HEADER`] for a body.
pub fn signature(secret: &Secret, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
    format!("sha256={}", to_hex(hmac::sign(&key, body).as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_hmac_sha256() {
        // RFC 4231, test case 2.
        assert_eq!(
            signature(&Secret::new("Jefe"), b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
