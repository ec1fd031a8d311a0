//! Data of the shape and size of the real one, drawn from a seed: a tracker of 4,000 source packages
//! and some 58,000 pairs of CVE and package, and two hosts with the true answer for each pair.
//!
//! A version is `BASE+deb12uN`, a fix `BASE+deb12uK` or `BASE~oldK`: which of two is newer is known
//! without comparing them as the filter does.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::Outcome;
use crate::data::{Data, Host};
use crate::drawn::Draw;

const SOURCES: usize = 4000;
const PAIRS: usize = 58_000;
/// Installed packages of the two hosts.
const HOSTS: [(&str, usize); 2] = [("h0", 332), ("h1", 1161)];
/// Updates of a package in the archive.
const UPDATES: usize = 4;

struct Source {
    name: String,
    base: String,
    binaries: Vec<String>,
    /// Each with the update that has the fix; `None` is open, 0 is the release itself.
    holes: Vec<(String, Option<usize>)>,
}

pub(crate) fn draw(scratch: tempfile::TempDir) -> Outcome<Data> {
    let mut draw = Draw(12);
    let mut sources: Vec<Source> = (0..SOURCES).map(|n| source(&mut draw, n)).collect();
    for pair in 0..PAIRS {
        // Few have many, as `linux` has, and most have few.
        let spread = 1 + draw.below(SOURCES);
        let at = draw.below(spread);
        let fixed = match draw.below(10) {
            0..=5 => Some(0),
            6 => Some(1 + draw.below(UPDATES)),
            _ => None,
        };
        let id = format!("CVE-{}-{}", 2005 + pair % 20, 10_000 + pair);
        if let Some(source) = sources.get_mut(at) {
            source.holes.push((id, fixed));
        }
    }
    let at = |name: &str| scratch.path().join(name);
    fs::write(at("tracker.json"), tracker(&sources))?;
    fs::create_dir_all(at("debsecan"))?;
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    packed.write_all(debsecan(&sources).as_bytes())?;
    fs::write(at("debsecan/bookworm"), packed.finish()?)?;
    let mut hosts = Vec::new();
    for (name, packages) in HOSTS {
        let root = at(name);
        let (status, truth) = host(&mut draw, &sources, packages);
        fs::create_dir_all(root.join("etc"))?;
        fs::create_dir_all(root.join("var/lib/dpkg"))?;
        let os = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n\
                  VERSION_CODENAME=bookworm\n";
        fs::write(root.join("etc/os-release"), os)?;
        fs::write(root.join("var/lib/dpkg/status"), status)?;
        hosts.push(Host::of(name, root, truth)?);
    }
    Ok(Data {
        origin: "data drawn from a seed".to_owned(),
        tracker: at("tracker.json"),
        debsecan: Some(at("debsecan")),
        trivy: None,
        hosts,
        scratch,
    })
}

fn source(draw: &mut Draw, number: usize) -> Source {
    let name = format!("{}{number}", draw.word());
    let binaries = (0..=draw.below(3))
        .map(|n| match n {
            0 => name.clone(),
            n => format!("lib{name}-{n}"),
        })
        .collect();
    let base = format!("{}.{}-{}", draw.below(9), draw.below(40), 1 + draw.below(6));
    Source {
        name,
        base,
        binaries,
        holes: Vec::new(),
    }
}

impl Source {
    fn version(&self, update: usize) -> String {
        match update {
            0 => self.base.clone(),
            n => format!("{}+deb12u{n}", self.base),
        }
    }
}

fn tracker(sources: &[Source]) -> String {
    let mut text = String::from("{");
    for (n, source) in sources.iter().filter(|s| !s.holes.is_empty()).enumerate() {
        let comma = if n == 0 { "" } else { ", " };
        let _infallible = write!(text, "{comma}\"{}\": {{", source.name);
        for (k, (id, fixed)) in source.holes.iter().enumerate() {
            let comma = if k == 0 { "" } else { ", " };
            let (name, base) = (&source.name, &source.base);
            let state = match fixed {
                Some(0) => format!("\"resolved\", \"fixed_version\": \"{base}~old{k}\""),
                Some(update) => {
                    format!(
                        "\"resolved\", \"fixed_version\": \"{}\"",
                        source.version(*update)
                    )
                }
                None if k % 3 == 0 => {
                    "\"open\", \"nodsa\": \"Minor issue\", \"nodsa_reason\": \"\"".to_owned()
                }
                None => "\"open\"".to_owned(),
            };
            let _infallible = write!(
                text,
                "{comma}\"{id}\": {{\"description\": \"synthetic issue {k} in {name} allows something bad \
                 when something else is parsed.\", \"scope\": \"remote\", \"releases\": {{\"bookworm\": \
                 {{\"repositories\": {{\"bookworm\": \"{base}\"}}, \"urgency\": \"not yet assigned\", \
                 \"status\": {state}}}, \"sid\": {{\"repositories\": {{\"sid\": \"{base}+sid1\"}}, \
                 \"urgency\": \"not yet assigned\", \"status\": \"resolved\", \"fixed_version\": \
                 \"{base}+sid1\"}}}}}}"
            );
        }
        text.push('}');
    }
    text.push('}');
    text
}

/// What debsecan reads: it holds each version against a list of those that have the fix.
fn debsecan(sources: &[Source]) -> String {
    let mut text = String::from("VERSION 1\n");
    for (k, (id, _)) in sources.iter().flat_map(|s| &s.holes).enumerate() {
        let _infallible = writeln!(text, "{id},,synthetic issue {k}");
    }
    text.push('\n');
    let mut number = 0;
    for source in sources {
        for (_, fixed) in &source.holes {
            let from = fixed.unwrap_or(UPDATES + 1);
            let with: Vec<String> = (from..=UPDATES).map(|n| source.version(n)).collect();
            let (name, base) = (&source.name, &source.base);
            let has = if fixed.is_some() { 'F' } else { ' ' };
            let list = with.join(" ");
            let _infallible = writeln!(text, "{name},{number},S R{has},{base}+sid1,{list}");
            number += 1;
        }
    }
    text.push('\n');
    for source in sources {
        let list = source.binaries.join(" ");
        let _infallible = writeln!(text, "{},{list}", source.name);
    }
    text.push('\n');
    text
}

fn host(
    draw: &mut Draw,
    sources: &[Source],
    packages: usize,
) -> (String, BTreeSet<(String, String)>) {
    let (mut status, mut truth) = (String::new(), BTreeSet::new());
    let (mut at, mut installed) = (draw.below(SOURCES / 4), 0);
    while installed < packages {
        at += 1 + draw.below(3);
        let Some(source) = sources.get(at % SOURCES) else {
            continue;
        };
        let update = if draw.below(4) == 0 {
            draw.below(UPDATES)
        } else {
            UPDATES
        };
        let version = source.version(update);
        for binary in &source.binaries {
            if installed == packages {
                break;
            }
            installed += 1;
            let name = &source.name;
            let _infallible = write!(
                status,
                "Package: {binary}\nStatus: install ok installed\nPriority: optional\nSection: misc\n\
                 Installed-Size: 100\nMaintainer: X <x@example.org>\nArchitecture: amd64\n\
                 Source: {name}\nVersion: {version}\nDescription: synthetic\n\n"
            );
            for (id, fixed) in &source.holes {
                if fixed.is_none_or(|fixed| fixed > update) {
                    truth.insert((id.clone(), binary.clone()));
                }
            }
        }
    }
    (status, truth)
}
