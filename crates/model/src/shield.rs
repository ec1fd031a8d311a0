//! What a shield tells of itself, written by the shield and read by `mailkeep`: one type, so that both mean the same.
//!
//! Entry: [`ShieldState`]. What `mailkeep` counts on must be there; the rest may be missing, so that a shield and a
//! `mailkeep` of neighbouring releases understand each other.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Verdict;

/// The state of a shield: `/status` of its metrics address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShieldState {
    /// Its name.
    pub name: String,
    /// The version of its program.
    #[serde(default)]
    pub program: String,
    /// When it said so.
    pub time: Timestamp,
    /// Whether it is going out of service.
    #[serde(default)]
    pub draining: bool,
    /// Sessions now.
    #[serde(default)]
    pub sessions: u64,
    /// The servers behind it.
    #[serde(default)]
    pub backends: Vec<BackendState>,
    /// Its virus scanners.
    #[serde(default)]
    pub antivirus: Vec<ScannerState>,
    /// What it holds because it spreads.
    #[serde(default)]
    pub held: Vec<HeldMail>,
    /// Outbreaks that it told of lately, the newest last.
    #[serde(default)]
    pub alerts: Vec<OutbreakAlert>,
    /// Its virtual patches.
    pub bundle: BundleState,
}

/// A server behind a shield.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendState {
    /// Where it listens.
    pub address: String,
    /// Whether it answers.
    pub up: bool,
    /// Whether it is being taken out: it gets no new mail.
    #[serde(default)]
    pub draining: bool,
}

/// A virus scanner of a shield.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScannerState {
    /// Its name.
    pub name: String,
    /// Where it listens.
    #[serde(default)]
    pub socket: String,
    /// Whether it answers.
    pub up: bool,
    /// Why it does not.
    #[serde(default)]
    pub why: Option<String>,
    /// Its program.
    #[serde(default)]
    pub version: Option<String>,
    /// The number of its definitions.
    #[serde(default)]
    pub definitions: Option<String>,
    /// When they were made.
    #[serde(default)]
    pub definitions_date: Option<Timestamp>,
    /// Seconds since.
    #[serde(default)]
    pub definitions_age_seconds: Option<i64>,
    /// How old they are by the shield's own measure.
    pub freshness: Freshness,
}

/// How old a scanner's definitions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Freshness {
    /// Not older than the shield allows.
    Fresh,
    /// Older.
    Stale,
    /// The engine does not say, or does not answer: never fresh.
    #[serde(other)]
    Unknown,
}

impl Freshness {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Fresh, Self::Stale, Self::Unknown];

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Unknown => "unknown",
        }
    }
}

/// Mail that a shield holds back because it spreads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldMail {
    /// What noticed it.
    pub detector: String,
    /// When it was noticed.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// How many messages were held since.
    pub messages: u64,
}

/// A limit that was passed: messages that are each well by themselves, and together are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutbreakAlert {
    /// The trace id of the message that passed it.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// What noticed it.
    pub detector: String,
    /// What was counted, of whom, what had been expected, and what is done, in sentences.
    pub text: String,
    /// What was counted within an hour.
    pub counted: u32,
    /// From when on that is too much.
    pub limit: u32,
    /// The baseline: the most in the weeks before. None where the place was not seen for long enough, or where
    /// there is none.
    #[serde(default)]
    pub usual: Option<u32>,
    /// Of what these are so many.
    pub unit: String,
    /// Whether mail is held for it.
    pub held: bool,
    /// The address of a host of the site's own that stands out.
    #[serde(default)]
    pub isolate: Option<IpAddr>,
    /// Some of the messages, the newest first.
    #[serde(default)]
    pub examples: Vec<OutbreakExample>,
}

/// A message that an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutbreakExample {
    /// Its trace id.
    pub trace: String,
    /// Who handed it over.
    pub host: IpAddr,
    /// The envelope's sender.
    pub sender: String,
}

/// The virtual patches that are in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleState {
    /// The bundle's name.
    pub id: String,
    /// Its version.
    pub version: u64,
    /// When it was made.
    #[serde(default)]
    pub made: Option<Timestamp>,
    /// Until when it may be relied on.
    pub expires: Timestamp,
    /// When it came into force.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Whether it is the one that comes with the program.
    #[serde(default)]
    pub built_in: bool,
    /// Who signed it.
    #[serde(default)]
    pub signer: Option<String>,
    /// With which key.
    #[serde(default)]
    pub key: Option<String>,
    /// The rules that refuse, for everybody, what they are about.
    pub enforced: Vec<Covering>,
    /// The names of those that only tell.
    #[serde(default)]
    pub monitored: Vec<String>,
    /// A bundle that was not taken since.
    #[serde(default)]
    pub refused: Option<BundleRefusal>,
}

/// A rule that refuses, and what it covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covering {
    /// Its name.
    pub rule: String,
    /// The holes, by all their names.
    pub holes: Vec<String>,
    /// The source packages that have them.
    pub packages: Vec<String>,
}

impl Covering {
    /// Whether it covers what a verdict is about: the hole, by any name, in the package it is in.
    pub fn covers(&self, verdict: &Verdict) -> bool {
        let package = &*verdict.package;
        self.packages.iter().any(|own| own == package)
            && verdict.names().any(|name| {
                self.holes
                    .iter()
                    .any(|hole| hole.eq_ignore_ascii_case(name.as_str()))
            })
    }
}

/// A bundle that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleRefusal {
    /// When.
    pub at: Timestamp,
    /// Why, as a stable name.
    pub kind: String,
    /// Why, in words.
    pub why: String,
}
