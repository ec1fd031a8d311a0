//! The data the filter is measured on: the bulk data where it is there, else drawn.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use mailkeep_advisory::container::{self, Limits};

use crate::{Options, Outcome, made};

/// What there is to measure on. Lives in a directory of its own, which goes with it.
#[derive(Debug)]
pub(crate) struct Data {
    /// Where it came from, for the title.
    pub(crate) origin: String,
    pub(crate) scratch: tempfile::TempDir,
    /// The tracker's JSON.
    pub(crate) tracker: PathBuf,
    pub(crate) hosts: Vec<Host>,
    /// Directory that debsecan takes for its server.
    pub(crate) debsecan: Option<PathBuf>,
    /// Cache directory of trivy, with its database.
    pub(crate) trivy: Option<PathBuf>,
}

/// One host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) root: PathBuf,
    /// Installed packages.
    pub(crate) packages: usize,
    /// Each (CVE, binary package) that affects it.
    pub(crate) truth: BTreeSet<(String, String)>,
}

impl Data {
    /// Unpacks the bulk data, or draws data where there is none.
    pub(crate) fn prepare(options: &Options) -> Outcome<Self> {
        let scratch = tempfile::tempdir()?;
        let bulk = options
            .data
            .clone()
            .or_else(|| std::env::var_os("MAILKEEP_DATA").map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from("../shared/data"))
            .join("synthetic-debian");
        if bulk.is_dir() {
            return Self::unpack(&bulk, scratch);
        }
        println!(
            "no bulk data at {}: drawing data of its shape",
            bulk.display()
        );
        made::draw(scratch)
    }

    fn unpack(bulk: &Path, scratch: tempfile::TempDir) -> Outcome<Self> {
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir_all(at("trivy/db"))?;
        fs::create_dir_all(at("debsecan"))?;
        unpack(&bulk.join("tracker.json.xz"), &at("tracker.json"))?;
        unpack(
            &bulk.join("debsecan-bookworm.zlib.xz"),
            &at("debsecan/bookworm"),
        )?;
        unpack(&bulk.join("trivy.db.xz"), &at("trivy/db/trivy.db"))?;
        fs::copy(
            bulk.join("trivy-metadata.json"),
            at("trivy/db/metadata.json"),
        )?;
        let mut hosts = Vec::new();
        for name in ["h0", "h1"] {
            let root = bulk.join(name);
            let mut text = String::new();
            open(&root.join("truth.tsv.xz"), &mut |content| {
                content.read_to_string(&mut text)
            })?;
            hosts.push(Host::of(name, root, truth(&text))?);
        }
        Ok(Self {
            origin: "the bulk data's synthetic-debian".to_owned(),
            tracker: at("tracker.json"),
            debsecan: Some(at("debsecan")),
            trivy: Some(at("trivy")),
            hosts,
            scratch,
        })
    }

    /// A path in the scratch directory.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

impl Host {
    pub(crate) fn of(
        name: &'static str,
        root: PathBuf,
        truth: BTreeSet<(String, String)>,
    ) -> io::Result<Self> {
        let status = fs::read(root.join("var/lib/dpkg/status"))?;
        let packages = mailkeep_facts::dpkg::parse_status(&status).0.len();
        Ok(Self {
            name,
            root,
            packages,
            truth,
        })
    }
}

/// `CVE <tab> binary package <tab> ...`.
fn truth(text: &str) -> BTreeSet<(String, String)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
        })
        .collect()
}

fn unpack(from: &Path, to: &Path) -> Outcome<()> {
    let mut file = File::create(to)?;
    open(from, &mut |content| io::copy(content, &mut file).map(|_| 0))
}

/// Opens a compressed file.
fn open(path: &Path, work: &mut dyn FnMut(&mut dyn Read) -> io::Result<usize>) -> Outcome<()> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut opened = container::open(BufReader::new(file), Limits::default())?;
    work(&mut opened.content)?;
    Ok(())
}
