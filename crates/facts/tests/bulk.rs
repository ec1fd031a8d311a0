//! Package lists of real size, where the bulk data is at hand (`MAILKEEP_DATA`).

#![expect(clippy::disallowed_methods, reason = "a test reads its data")]

use std::path::PathBuf;
use std::time::Instant;

use mailkeep_facts::facts_from_root;
use mailkeep_model::{HostName, Timestamp};

fn data() -> PathBuf {
    std::env::var_os("MAILKEEP_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    )
}

#[test]
fn roots_of_real_size_are_read_whole_and_without_a_problem() {
    for (name, installed) in [("h0", 332), ("h1", 1161)] {
        let root = data().join("synthetic-debian").join(name);
        let Ok(status) = std::fs::read(root.join("var/lib/dpkg/status")) else {
            println!("skipped: {name}: no data");
            continue;
        };
        let os = std::fs::read_to_string(root.join("etc/os-release")).unwrap();
        let read = || {
            facts_from_root(
                HostName::new(name).unwrap(),
                Timestamp::UNIX_EPOCH,
                &os,
                &status,
            )
        };
        let (facts, problems) = read();
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(facts.platform.unwrap().to_string(), "Debian:12");
        assert_eq!(facts.packages.len(), installed, "{name}");
        let best = (0..20)
            .map(|_| {
                let start = Instant::now();
                let facts = read();
                let elapsed = start.elapsed();
                drop(facts);
                elapsed
            })
            .min();
        println!("{name}: {} bytes, best {best:?}", status.len());
    }
}
