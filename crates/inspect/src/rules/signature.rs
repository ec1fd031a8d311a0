//! Signatures of OpenSSH over bundles (PROTOCOL.sshsig), and who may make them (`ssh-keygen(1)`, ALLOWED SIGNERS).
//!
//! Entry: [`AllowedSigners`]. Here because the shield starts no program and has no key; what it verifies with is what
//! its TLS verifies with. Ed25519, ECDSA on P-256, RSA from 2048 bits on, and the first two on security keys, which have
//! to have been touched. What is not understood does not count.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use mailkeep_model::Timestamp;
use mailkeep_model::text::printable_max;
use ring::digest;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use thiserror::Error;

/// What a signature is for: one for a bundle can never serve as another kind, or another kind as one.
pub const NAMESPACE: &str = "mailkeep-bundle";

/// Octets of an armoured signature that are read; RSA with 8192 bits has some three thousand.
const MAX_SIGNATURE: usize = 16 << 10;
/// Lines of a list of signers.
const MAX_SIGNERS: usize = 1000;

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// No signature in armour.
    #[error("it is no SSH signature")]
    Syntax,
    /// For another purpose.
    #[error(
        "it was made for another purpose; sign with `mailkeep shield bundle sign`, or ssh-keygen -n {NAMESPACE}"
    )]
    Namespace,
    /// By an algorithm that is not taken.
    #[error(
        "its algorithm is not taken: use a key of type ed25519, ecdsa (256 bits), rsa (2048 bits or more), or a security key"
    )]
    Algorithm,
    /// By somebody who may not.
    #[error("its key is not among the allowed signers, or not at this time")]
    Signer,
    /// It is not over this text.
    #[error("it is not over this text")]
    Wrong,
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// As the list names them.
    pub principal: String,
    /// The key, as `ssh-keygen -l` shows it: `SHA256:...`.
    pub key: String,
}

/// Those who may sign bundles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedSigners(Vec<Allowed>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowed {
    principal: String,
    key: Vec<u8>,
    after: Option<i64>,
    before: Option<i64>,
}

impl AllowedSigners {
    /// Reads a list. Lines that are for other purposes are left out; those that are not understood are too, and told.
    pub fn read(text: &str) -> (Self, Vec<String>) {
        let mut allowed = Vec::new();
        let mut problems = Vec::new();
        for (nth, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if allowed.len() >= MAX_SIGNERS {
                problems.push(format!(
                    "more than {MAX_SIGNERS} lines; the rest is not read"
                ));
                break;
            }
            match signer(line) {
                Ok(Some(signer)) => allowed.push(signer),
                Ok(None) => {}
                Err(why) => problems.push(format!("line {nth}: {why}")),
            }
        }
        (Self(allowed), problems)
    }

    /// Whether nobody may.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an armoured signature over a text is by one of them.
    ///
    /// # Errors
    /// It does not count.
    pub fn verify(
        &self,
        text: &[u8],
        armoured: &[u8],
        now: Timestamp,
    ) -> Result<Signer, SignatureError> {
        let blob = unarmoured(armoured).ok_or(SignatureError::Syntax)?;
        let signature = Signature::read(&blob).ok_or(SignatureError::Syntax)?;
        if signature.namespace != NAMESPACE.as_bytes() {
            return Err(SignatureError::Namespace);
        }
        let now = now.as_second();
        let signer = self
            .0
            .iter()
            .filter(|allowed| allowed.key == signature.key)
            .find(|allowed| {
                allowed.after.is_none_or(|after| now >= after)
                    && allowed.before.is_none_or(|before| now < before)
            })
            .ok_or(SignatureError::Signer)?;
        signature.verify(text)?;
        let digest = digest::digest(&digest::SHA256, signature.key);
        Ok(Signer {
            principal: printable_max(&signer.principal, 100),
            key: format!("SHA256:{}", STANDARD_NO_PAD.encode(digest)),
        })
    }
}

/// A line of the list; `None` where it is for another purpose.
fn signer(line: &str) -> Result<Option<Allowed>, String> {
    let words = words(line);
    let mut words = words.iter().map(String::as_str);
    let principal = words.next().unwrap_or_default().to_owned();
    let second = words.next().ok_or("it has no key")?;
    let mut allowed = Allowed {
        principal,
        key: Vec::new(),
        after: None,
        before: None,
    };
    let algorithm = if is_algorithm(second) {
        second
    } else {
        if !options(second, &mut allowed)? {
            return Ok(None);
        }
        words.next().ok_or("it has no key")?
    };
    if !is_algorithm(algorithm) {
        return Err(format!(
            "keys of type {:?} are not taken",
            printable_max(algorithm, 60)
        ));
    }
    let key = words.next().ok_or("it has no key")?;
    allowed.key = STANDARD
        .decode(key)
        .map_err(|error| format!("its key is no base64: {error}"))?;
    Ok(Some(allowed))
}

/// Words between blanks, where quotes hold some together; the quotes stay.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        if letter == '"' {
            quoted = !quoted;
        }
        if letter.is_ascii_whitespace() && !quoted {
            if words.last().is_some_and(|word| !word.is_empty()) {
                words.push(String::new());
            }
        } else if let Some(word) = words.last_mut() {
            word.push(letter);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn is_algorithm(word: &str) -> bool {
    matches!(
        word,
        "ssh-ed25519"
            | "ecdsa-sha2-nistp256"
            | "sk-ssh-ed25519@openssh.com"
            | "sk-ecdsa-sha2-nistp256@openssh.com"
            | "ssh-rsa"
    )
}

/// Whether the options let a key sign bundles.
fn options(text: &str, allowed: &mut Allowed) -> Result<bool, String> {
    let mut ours = true;
    for option in split_options(text) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = value.trim_matches('"');
        match name.to_ascii_lowercase().as_str() {
            // Patterns (ssh_config(5)) could leave out what they seem to hold.
            "namespaces" if value != "*" && value.contains(['*', '?', '!']) => {
                return Err("namespaces are names, or * for all; patterns are not taken".to_owned());
            }
            "namespaces" => ours = value.split(',').any(|own| own == NAMESPACE || own == "*"),
            "valid-after" => allowed.after = Some(time(value).ok_or("valid-after is no time")?),
            "valid-before" => allowed.before = Some(time(value).ok_or("valid-before is no time")?),
            "cert-authority" => return Err("certificates are not taken; name keys".to_owned()),
            _ => {
                return Err(format!(
                    "the option {:?} is not known",
                    printable_max(name, 60)
                ));
            }
        }
    }
    Ok(ours)
}

fn split_options(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |letter| {
        if letter == '"' {
            quoted = !quoted;
        }
        letter == ',' && !quoted
    })
}

/// `YYYYMMDD[HHMM[SS]][Z]`; without `Z` it is UTC as well, since the shield has no other zone.
fn time(text: &str) -> Option<i64> {
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    if !matches!(text.len(), 8 | 12 | 14) || !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or("00");
    let second = if text.len() == 14 { part(12, 14) } else { "00" };
    let written = format!(
        "{}-{}-{}T{}:{}:{second}Z",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 12)
    );
    written.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

fn unarmoured(armoured: &[u8]) -> Option<Vec<u8>> {
    if armoured.len() > MAX_SIGNATURE {
        return None;
    }
    let text = std::str::from_utf8(armoured).ok()?.trim();
    let inner = text
        .strip_prefix("-----BEGIN SSH SIGNATURE-----")?
        .strip_suffix("-----END SSH SIGNATURE-----")?;
    let packed: String = inner
        .chars()
        .filter(|letter| !letter.is_ascii_whitespace())
        .collect();
    STANDARD.decode(packed).ok()
}

/// A signature, taken apart.
struct Signature<'a> {
    key: &'a [u8],
    namespace: &'a [u8],
    reserved: &'a [u8],
    hash: &'a [u8],
    made: &'a [u8],
}

const MAGIC: &[u8] = b"SSHSIG";

impl<'a> Signature<'a> {
    fn read(blob: &'a [u8]) -> Option<Self> {
        let mut wire = Wire(blob.strip_prefix(MAGIC)?);
        if wire.number()? != 1 {
            return None;
        }
        let read = Self {
            key: wire.string()?,
            namespace: wire.string()?,
            reserved: wire.string()?,
            hash: wire.string()?,
            made: wire.string()?,
        };
        wire.0.is_empty().then_some(read)
    }

    fn verify(&self, text: &[u8]) -> Result<(), SignatureError> {
        let hash = match self.hash {
            b"sha512" => &digest::SHA512,
            b"sha256" => &digest::SHA256,
            _ => return Err(SignatureError::Algorithm),
        };
        let mut signed = MAGIC.to_vec();
        let hashed = digest::digest(hash, text);
        for part in [self.namespace, self.reserved, self.hash, hashed.as_ref()] {
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            signed.extend_from_slice(&length.to_be_bytes());
            signed.extend_from_slice(part);
        }
        let mut key = Wire(self.key);
        let mut signature = Wire(self.made);
        let kind = key.string().ok_or(SignatureError::Syntax)?;
        let by = signature.string().ok_or(SignatureError::Syntax)?;
        let octets = signature.string().ok_or(SignatureError::Syntax)?;
        match kind {
            b"ssh-ed25519" if by == kind => ed25519(&mut key, &signed, octets),
            b"ecdsa-sha2-nistp256" if by == kind => ecdsa(&mut key, &signed, octets),
            b"sk-ssh-ed25519@openssh.com" if by == kind => {
                let point = Wire(key.string().ok_or(SignatureError::Syntax)?);
                let signed = touched(&mut key, &mut signature, &signed)?;
                verified(&UnparsedPublicKey::new(&ED25519, point.0), &signed, octets)
            }
            b"sk-ecdsa-sha2-nistp256@openssh.com" if by == kind => {
                let curve = key.string();
                let point = key.string().ok_or(SignatureError::Syntax)?;
                if curve != Some(b"nistp256") {
                    return Err(SignatureError::Algorithm);
                }
                let signed = touched(&mut key, &mut signature, &signed)?;
                on_curve(point, &signed, octets)
            }
            b"ssh-rsa" => rsa(&mut key, by, &signed, octets),
            _ => Err(SignatureError::Algorithm),
        }
    }
}

fn ed25519(key: &mut Wire<'_>, signed: &[u8], octets: &[u8]) -> Result<(), SignatureError> {
    let point = key.string().ok_or(SignatureError::Syntax)?;
    verified(&UnparsedPublicKey::new(&ED25519, point), signed, octets)
}

fn ecdsa(key: &mut Wire<'_>, signed: &[u8], octets: &[u8]) -> Result<(), SignatureError> {
    if key.string() != Some(b"nistp256") {
        return Err(SignatureError::Algorithm);
    }
    let point = key.string().ok_or(SignatureError::Syntax)?;
    on_curve(point, signed, octets)
}

/// RFC 5656 section 3.1.2: two numbers, each as long as it is.
fn on_curve(point: &[u8], signed: &[u8], octets: &[u8]) -> Result<(), SignatureError> {
    let mut numbers = Wire(octets);
    let mut fixed = [0_u8; 64];
    for half in fixed.chunks_exact_mut(32) {
        let number = numbers.magnitude().ok_or(SignatureError::Syntax)?;
        let start = half
            .len()
            .checked_sub(number.len())
            .ok_or(SignatureError::Syntax)?;
        if let Some(place) = half.get_mut(start..) {
            place.copy_from_slice(number);
        }
    }
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    verified(&key, signed, &fixed)
}

fn rsa(key: &mut Wire<'_>, by: &[u8], signed: &[u8], octets: &[u8]) -> Result<(), SignatureError> {
    let parameters = match by {
        b"rsa-sha2-512" => &RSA_PKCS1_2048_8192_SHA512,
        b"rsa-sha2-256" => &RSA_PKCS1_2048_8192_SHA256,
        _ => return Err(SignatureError::Algorithm),
    };
    let e = key.magnitude().ok_or(SignatureError::Syntax)?;
    let n = key.magnitude().ok_or(SignatureError::Syntax)?;
    RsaPublicKeyComponents { n, e }
        .verify(parameters, signed, octets)
        .map_err(|ring::error::Unspecified| SignatureError::Wrong)
}

/// What a security key signs (PROTOCOL.u2f): with whom, that it was touched, how often it signed.
fn touched(
    key: &mut Wire<'_>,
    signature: &mut Wire<'_>,
    signed: &[u8],
) -> Result<Vec<u8>, SignatureError> {
    const PRESENT: u8 = 1;
    let application = key.string().ok_or(SignatureError::Syntax)?;
    let flags = signature.octet().ok_or(SignatureError::Syntax)?;
    let counter = signature.number().ok_or(SignatureError::Syntax)?;
    if flags & PRESENT == 0 {
        return Err(SignatureError::Wrong);
    }
    let mut all = digest::digest(&digest::SHA256, application)
        .as_ref()
        .to_vec();
    all.push(flags);
    all.extend_from_slice(&counter.to_be_bytes());
    all.extend_from_slice(digest::digest(&digest::SHA256, signed).as_ref());
    Ok(all)
}

fn verified(
    key: &UnparsedPublicKey<&[u8]>,
    signed: &[u8],
    octets: &[u8],
) -> Result<(), SignatureError> {
    key.verify(signed, octets)
        .map_err(|ring::error::Unspecified| SignatureError::Wrong)
}

/// Data types of RFC 4251 section 5.
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn octet(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        let octets: [u8; 4] = self.take(4)?.try_into().ok()?;
        Some(u32::from_be_bytes(octets))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// A positive number without the octet that says so.
    fn magnitude(&mut self) -> Option<&'a [u8]> {
        let number = self.string()?;
        Some(number.strip_prefix(&[0]).unwrap_or(number))
    }
}

#[cfg(test)]
mod tests;
