//! Signed messages, and the name server that knows their senders.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::dns::{Dns, Zone};
use crate::Outcome;
use crate::inspect::attachment;

/// Domains that send.
const DOMAINS: usize = 10;

/// One message.
#[derive(Debug, Clone)]
pub(super) struct Mail {
    pub(super) sender: String,
    /// Names, and values with the blank in front.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Mail {
    pub(super) fn octets(&self) -> Vec<u8> {
        let mut out = String::new();
        for (name, value) in &self.headers {
            write!(out, "{name}:{value}\r\n").ok();
        }
        out.push_str("\r\n");
        out.push_str(&self.body);
        out.into_bytes()
    }
}

/// Messages of one kind.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) mails: Vec<Mail>,
}

/// Every kind, from each domain, signed by RSA with 2048 bits; and the name server that says so.
pub(super) fn draw(directory: &Path) -> Outcome<(Vec<Kind>, Dns)> {
    let key = Key::make(directory)?;
    let mut zone = Zone::lasting();
    for nth in 0..DOMAINS {
        let domain = domain(nth);
        zone.txt(&domain, "v=spf1 a:other.example ip4:192.0.2.0/24 -all");
        zone.txt(&format!("2026._domainkey.{domain}"), &key.record);
        zone.txt(&format!("_dmarc.{domain}"), "v=DMARC1; p=reject");
    }
    zone.address("other.example", [198, 51, 100, 1].into());
    let mut kinds = Vec::new();
    for (name, kind, body) in [
        ("4 KiB: a text", "text/plain; charset=utf-8", words(3000)),
        (
            "4 KiB: a text and the same as HTML",
            "multipart/alternative; boundary=\"b\"",
            both(1300),
        ),
        (
            "64 KiB: a text and a picture",
            "multipart/mixed; boundary=\"b\"",
            picture(44_000),
        ),
    ] {
        let mut mails = Vec::new();
        for nth in 0..DOMAINS {
            mails.push(key.signed(&domain(nth), kind, &body)?);
        }
        kinds.push(Kind { name, mails });
    }
    Ok((kinds, Dns::start(zone)))
}

fn domain(nth: usize) -> String {
    format!("sender{nth}.example")
}

/// Lines that relaxed canonicalization (RFC 6376 section 3.4) leaves as they are.
fn words(octets: usize) -> String {
    let line = "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.\r\n";
    line.repeat(octets / line.len())
}

fn both(octets: usize) -> String {
    format!(
        "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
         <html><body><p>{}</p></body></html>\r\n--b--\r\n",
        words(octets),
        words(octets)
    )
}

fn picture(octets: usize) -> String {
    format!(
        "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}\r\n{}--b--\r\n",
        words(800),
        attachment(octets)
    )
}

/// A key of this run.
struct Key {
    file: PathBuf,
    record: String,
}

impl Key {
    fn make(directory: &Path) -> Outcome<Self> {
        let file = directory.join("dkim.pem");
        let path = file.to_str().ok_or("a path that is no text")?;
        openssl(&["genrsa", "-out", path, "2048"], b"")?;
        let public = openssl(&["rsa", "-in", path, "-pubout", "-outform", "DER"], b"")?;
        Ok(Self {
            record: format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(public)),
            file,
        })
    }

    fn signed(&self, domain: &str, kind: &str, body: &str) -> Outcome<Mail> {
        let header = |name: &str, value: &str| (name.to_owned(), format!(" {value}"));
        let mut headers = vec![
            header(
                "Received",
                "from mail.example.net (mail.example.net [192.0.2.7])\r\n\tby mx.example.net with ESMTPS id 4abc;\r\n\t\
                 Sat, 21 Nov 2026 10:00:00 +0000",
            ),
            header("From", &format!("Ada Lovelace <ada@{domain}>")),
            header("To", "Grace Hopper <grace@example.org>"),
            header("Subject", "Files for Monday"),
            header("Date", "Sat, 21 Nov 2026 10:00:00 +0000"),
            header("Message-ID", &format!("<20261121100000.1@{domain}>")),
            header("MIME-Version", "1.0"),
            header("Content-Type", kind),
        ];
        let signed = ["from", "to", "subject", "date", "message-id"];
        let body_hash = STANDARD.encode(openssl(&["dgst", "-sha256", "-binary"], body.as_bytes())?);
        let value = format!(
            "v=1; a=rsa-sha256; c=relaxed/relaxed; d={domain}; s=2026; h={}; bh={body_hash}; b=",
            signed.join(":")
        );
        let mut text = String::new();
        for name in signed {
            let found = headers
                .iter()
                .find(|(own, _)| own.eq_ignore_ascii_case(name));
            let (_, value) = found.ok_or("a header that is not there is signed")?;
            write!(text, "{name}:{}\r\n", value.trim())?;
        }
        write!(text, "dkim-signature:{value}")?;
        let file = self.file.to_str().ok_or("a path that is no text")?;
        let signature = openssl(&["dgst", "-sha256", "-sign", file], text.as_bytes())?;
        headers.insert(
            1,
            header(
                "DKIM-Signature",
                &format!("{value}{}", STANDARD.encode(signature)),
            ),
        );
        Ok(Mail {
            sender: format!("ada@{domain}"),
            headers,
            body: body.to_owned(),
        })
    }
}

fn openssl(arguments: &[&str], input: &[u8]) -> Outcome<Vec<u8>> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("openssl signs the messages, and cannot be started: {error}"))?;
    child.stdin.take().ok_or("no input")?.write_all(input)?;
    let output = child.wait_with_output()?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("openssl {} failed", arguments.join(" ")).into())
    }
}
