//! `mailkeep feeds`: every kind, from everywhere it may come.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, and plays the other side itself"
)]

mod common;

use std::path::Path;
use std::process::Command;

use common::server::{Site, certificate, closed_port, page};
use common::{
    Bench, CVE, EPSS, KEV, Ran, TRACKER, UPDATEINFO, WRITTEN, csaf, fleet, gzip, has_program, osv,
    touch, zip,
};

#[test]
fn each_kind_is_imported_from_a_file() {
    let bench = Bench::new();
    for (kind, text, as_of) in [
        ("debian-tracker", TRACKER.to_owned(), WRITTEN),
        ("kev", KEV.to_owned(), "2026-11-20T12:00:00Z"),
        ("epss", EPSS.to_owned(), "2026-11-21T00:00:00Z"),
        ("cve", CVE.to_owned(), "2026-11-19T00:00:00Z"),
        ("csaf", csaf("T-1", "CVE-2026-1"), "2026-11-18T04:05:06Z"),
        (
            "osv",
            osv("DSA-1-1", "CVE-2026-2222", "exim4", "4.97-1"),
            WRITTEN,
        ),
    ] {
        let file = bench.write(&format!("{kind}.feed"), text);
        bench
            .import(kind, &file)
            .exits(0)
            .says(": 1 records, as of");
        let status = bench.status();
        let feed = status
            .as_array()
            .unwrap()
            .iter()
            .find(|f| f["source"] == kind);
        assert_eq!(feed.unwrap()["as_of"], as_of, "{kind}");
        assert_eq!(feed.unwrap()["problems"], 0, "{kind}");
    }
    let all = bench.run(&["feeds", "status"]).exits(0);
    assert_eq!(all.out.lines().count(), 7, "{}", all.out);
    assert!(all.out.lines().all(|line| line.len() <= 100), "{}", all.out);
}

#[test]
fn updateinfo_and_released_want_to_know_whose_packages() {
    let bench = Bench::new();
    let file = bench.write("updateinfo.xml", UPDATEINFO);
    bench
        .import("updateinfo", &file)
        .exits(2)
        .says("does not say whose packages it speaks of; name them, as AlmaLinux:9");
    let import = |platform: &str| {
        bench.run(&[
            "feeds",
            "import",
            "--source",
            "updateinfo",
            "--platform",
            platform,
            &file,
        ])
    };
    import("AlmaLynx:9")
        .exits(2)
        .says("there is no ecosystem \"AlmaLynx\"; known are AlmaLinux, Debian,");
    import("AlmaLinux")
        .exits(2)
        .says("AlmaLinux needs its release");
    import("almalinux:9").exits(0);
    assert_eq!(bench.status()[0]["covers"][0], "AlmaLinux:9");
    let kev = bench.write("kev.json", KEV);
    bench
        .run(&[
            "feeds",
            "import",
            "--source",
            "kev",
            "--platform",
            "Debian:12",
            &kev,
        ])
        .exits(2)
        .says("the kind kev speaks of CVE ids, not of anybody's packages");
}

#[test]
fn compressed_and_many_are_told_by_what_they_are() {
    let bench = Bench::new();
    let file = bench.write("tracker", gzip(TRACKER.as_bytes()));
    bench
        .import("debian-tracker", &file)
        .exits(0)
        .says("1 records");
    if has_program("compressed_and_many_are_told_by_what_they_are: xz", "xz") {
        let plain = bench.write("epss.csv", EPSS);
        assert!(Command::new("xz").arg(&plain).status().unwrap().success());
        bench.import("epss", &format!("{plain}.xz")).exits(0);
    }
    let one = osv("DSA-1-1", "CVE-2026-1", "exim4", "4.97-1");
    let two = osv("DSA-2-1", "CVE-2026-2", "postfix", "3.9-1");
    let lines = bench.write("all.jsonl", format!("{one}\n{two}\n"));
    bench.import("osv", &lines).exits(0).says("osv: 2 records");
    let archive = zip(&[
        ("a/one.json", one.as_bytes()),
        ("a/README.md", b"x"),
        ("two.json", two.as_bytes()),
    ]);
    let archive = bench.write("all.zip", archive);
    bench
        .import("osv", &archive)
        .exits(0)
        .says("osv: 2 records");
    assert_eq!(bench.status()[0]["whole"], true);

    bench.write("dir/2026/one.json", &one);
    bench.write("dir/2026/one.json.asc", "x");
    bench.write("dir/2026/broken.json", "{");
    bench.write("dir/.git/config.json", "{");
    bench.write("dir/two.json", &two);
    touch(&bench.path("dir"), "2026-11-01T00:00:00Z");
    touch(&bench.path("dir/2026/one.json"), "2026-11-21T07:00:00Z");
    let directory = bench.path("dir").display().to_string();
    bench
        .run(&[
            "feeds", "import", "--source", "osv", "--name", "records", &directory,
        ])
        .exits(0)
        .says("3 records, 1 could not be used (`mailkeep feeds problems records`)");
    // The newest of its files, for a file rewritten in place leaves the directory's time alone.
    let status = bench.status();
    let feed = status
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["source"] == "records");
    assert_eq!(feed.unwrap()["as_of"], "2026-11-21T07:00:00Z");
    bench
        .run(&["feeds", "problems", "records"])
        .exits(1)
        .prints("records: 2026/broken.json: ");
    bench.run(&["feeds", "problems", "osv"]).exits(0);
    bench
        .run(&["feeds", "problems", "none"])
        .exits(2)
        .says("there is no feed none");
}

#[test]
fn an_empty_directory_never_replaces_a_feed() {
    let bench = Bench::new();
    let file = bench.write("one.json", osv("DSA-1-1", "CVE-2026-1", "exim4", "4.97-1"));
    bench.import("osv", &file).exits(0);
    std::fs::create_dir(bench.path("mount")).unwrap();
    let mount = bench.path("mount").display().to_string();
    bench
        .import("osv", &mount)
        .exits(2)
        .says("holds no usable osv record (0 could not be used, it is empty)");
    assert_eq!(bench.status()[0]["records"], 1);
}

fn ar_member(name: &str, content: &[u8]) -> Vec<u8> {
    let size = content.len();
    let mut bytes = format!(
        "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n",
        0, 0, 0, 100_644
    )
    .into_bytes();
    bytes.extend_from_slice(content);
    if size % 2 == 1 {
        bytes.push(b'\n');
    }
    bytes
}

fn deb(source: &str, cve: &str) -> Vec<u8> {
    let changelog = format!(
        "{source} (1.2-3) bookworm-security; urgency=high\n\n  * Fix {cve}\n\n -- A <a@example.org>  Mon, 05 Oct 2026 12:00:00 +0000\n"
    );
    let changelog = gzip(changelog.as_bytes());
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in [
        (format!("./usr/bin/{source}"), b"\x7fELF".to_vec()),
        (
            format!("./usr/share/doc/{source}/changelog.Debian.gz"),
            changelog,
        ),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, &*content).unwrap();
    }
    let data = gzip(&tar.into_inner().unwrap());
    let mut bytes = b"!<arch>\n".to_vec();
    bytes.extend(ar_member("debian-binary", b"2.0\n"));
    bytes.extend(ar_member("control.tar.gz", &gzip(b"")));
    bytes.extend(ar_member("data.tar.gz", &data));
    bytes
}

#[test]
fn packages_tell_by_their_changelogs_what_they_fix() {
    let bench = Bench::new();
    let import = |path: &str| {
        bench.run(&[
            "feeds",
            "import",
            "--source",
            "released",
            "--platform",
            "Debian:12",
            path,
        ])
    };
    let one = bench.write("pool/exim4_1.2-3_amd64.deb", deb("exim4", "CVE-2023-42115"));
    import(&one).exits(0).says("released: 1 records");
    bench.write(
        "pool/postfix_1.2-3_amd64.deb",
        deb("postfix", "CVE-2023-51764"),
    );
    bench.write("pool/damaged_1_amd64.deb", &deb("x", "CVE-2023-1")[..200]);
    bench.write("pool/exim4_1.2-3.dsc", "Format: 3.0");
    let pool = bench.path("pool").display().to_string();
    import(&pool)
        .exits(0)
        .says("3 records, 1 could not be used");
    bench
        .run(&["feeds", "problems"])
        .exits(1)
        .prints("released: damaged_1_amd64.deb: ");
    let root = bench.root("host", &common::package("exim4", "1.2-2"));
    let ran = bench
        .run(&["check", "--root", &root, "--format", "json"])
        .exits(1);
    assert_eq!(ran.json()["findings"][0]["fixed"], "1.2-3", "{}", ran.out);
}

#[test]
fn a_package_built_by_dpkg_is_read() {
    if !has_program("a_package_built_by_dpkg_is_read", "dpkg-deb") {
        return;
    }
    let bench = Bench::new();
    bench.write(
        "tree/DEBIAN/control",
        "Package: exim4\nVersion: 1.2-3\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n",
    );
    bench.write(
        "tree/usr/share/doc/exim4/changelog.Debian.gz",
        gzip(b"exim4 (1.2-3) bookworm-security; urgency=high\n\n  * Fix CVE-2023-42115\n\n -- A <a@example.org>  Mon, 05 Oct 2026 12:00:00 +0000\n"),
    );
    for compression in ["xz", "gzip", "zstd", "none"] {
        let file = bench
            .path(&format!("{compression}.deb"))
            .display()
            .to_string();
        let mut build = Command::new("dpkg-deb");
        build.args(["--build", &format!("-Z{compression}"), "--root-owner-group"]);
        let output = build.arg(bench.path("tree")).arg(&file).output().unwrap();
        if !output.status.success() {
            println!("skipped: a_package_built_by_dpkg_is_read: no {compression} in dpkg-deb");
            continue;
        }
        bench
            .run(&[
                "feeds",
                "import",
                "--source",
                "released",
                "--platform",
                "Debian:12",
                &file,
            ])
            .exits(0)
            .says("released: 1 records, as of");
    }
}

#[test]
fn a_second_import_replaces_the_first_and_a_name_keeps_its_kind() {
    let bench = Bench::new();
    let one = bench.write("one.json", osv("DSA-1-1", "CVE-2026-1", "exim4", "4.97-1"));
    let two = bench.write("two.json", osv("DSA-2-1", "CVE-2026-2", "postfix", "3.9-1"));
    bench.import("osv", &one).exits(0);
    bench.import("osv", &two).exits(0);
    assert_eq!(bench.status().as_array().unwrap().len(), 1);
    let kev = bench.write("kev.json", KEV);
    bench
        .run(&["feeds", "import", "--source", "kev", "--name", "osv", &kev])
        .exits(2)
        .says("the name osv belongs to a feed of kind osv; give another --name");
    let help = bench.run(&["feeds", "import", "--help"]).exits(0);
    assert!(
        help.out.contains("a second file of the same kind"),
        "{}",
        help.out
    );
    bench
        .run(&["feeds", "remove", "osv"])
        .exits(0)
        .says("osv is forgotten");
    bench
        .run(&["feeds", "remove", "osv"])
        .exits(2)
        .says("there is no feed osv");
    bench
        .run(&["feeds", "status"])
        .exits(1)
        .prints("No feed is imported yet");
}

#[test]
fn an_archive_over_http_is_asked_for_once_and_then_conditionally() {
    let bench = Bench::new();
    let site = Site::start();
    let record = osv("DSA-1-1", "CVE-2026-1", "exim4", "4.97-1");
    let all = zip(&[("one.json", record.as_bytes())]);
    let dated = "Last-Modified: Sat, 21 Nov 2026 08:00:00 GMT";
    site.put("/all.zip", page(&all).etag("a").header(dated));
    let url = site
        .url("/all.zip")
        .replace("http://", "http://user:hunter2@")
        + "?token=s3cret";
    bench
        .import("osv", &url)
        .exits(0)
        .says("osv: 1 records, as of 2026-11-21T08:00:00Z");
    bench
        .import("osv", &url)
        .exits(0)
        .says("osv: unchanged at its source");
    let requests = site.requests();
    assert!(
        requests[1].to_lowercase().contains("if-none-match: \"a\""),
        "{}",
        requests[1]
    );
    let status = bench.status();
    assert_eq!(status[0]["as_of"], common::NOW);
    let location = status[0]["location"].as_str().unwrap();
    assert!(
        !location.contains("hunter2") && !location.contains("s3cret"),
        "{location}"
    );

    // Something else was imported under that name meanwhile: "unchanged" would be a lie.
    let file = bench.write(
        "other.json",
        osv("DSA-9-1", "CVE-2026-9", "exim4", "4.97-1"),
    );
    bench.import("osv", &file).exits(0);
    bench.import("osv", &url).exits(0).says("osv: 1 records");
    assert!(!site.requests()[2].to_lowercase().contains("if-none-match"));
    let left: Vec<_> = std::fs::read_dir(bench.path("state/downloads"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_feed_that_dates_itself_does_not_look_fresh_by_standing_still() {
    let bench = Bench::new();
    let site = Site::start();
    site.put("/kev.json", page(KEV).etag("k"));
    bench.import("kev", &site.url("/kev.json")).exits(0);
    bench
        .import("kev", &site.url("/kev.json"))
        .exits(0)
        .says("unchanged");
    assert_eq!(bench.status()[0]["as_of"], "2026-11-20T12:00:00Z");
}

#[test]
fn a_download_that_was_cut_is_gone_on_with() {
    let bench = Bench::new();
    let site = Site::start();
    let text = format!("{TRACKER}{}", " ".repeat(100_000));
    site.put("/tracker", page(&text).etag("t").cut(50_000, 1));
    bench
        .import("debian-tracker", &site.url("/tracker"))
        .exits(0)
        .says("1 records");
    let requests = site.requests();
    assert_eq!(requests.len(), 2);
    assert!(
        requests[1].to_lowercase().contains("range: bytes=50000-"),
        "{}",
        requests[1]
    );
}

#[test]
fn redirects_are_followed_and_refusals_are_told_in_one_line() {
    let bench = Bench::new();
    let site = Site::start();
    site.put("/new", page(KEV));
    let to = format!("Location: {}", site.url("/new"));
    site.put("/old", page("").status(302).header(&to));
    bench.import("kev", &site.url("/old")).exits(0);
    let ran = bench
        .import("kev", &site.url("/none"))
        .exits(2)
        .says("answered with status 404");
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    site.put("/login", page("<!DOCTYPE html><title>Log in</title>"));
    bench
        .import("kev", &site.url("/login"))
        .exits(2)
        .says(&format!("cannot read {} as kev", site.url("/login")))
        .says("an HTML page; a proxy, a login page or a moved address");
    assert_eq!(bench.status()[0]["records"], 1);
}

fn metadata(site: &Site, distributions: &str, keys: &str, role: &str) -> String {
    let url = site.url("/provider-metadata.json");
    format!(
        r#"{{"metadata_version": "2.0", "canonical_url": "{url}", "publisher": {{"name": "Example"}}, "role": "{role}",
        "last_updated": "2026-01-02T03:04:05Z", "distributions": [{distributions}], "public_openpgp_keys": [{keys}]}}"#
    )
}

fn sha512(bench: &Bench, text: &str) -> String {
    let file = bench.write("to-be-summed", text);
    let output = Command::new("sha512sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..128].to_owned()
}

fn import_over_tls(bench: &Bench, ca: &Path, url: &str) -> Ran {
    let mut command = bench.command(&["feeds", "import", "--source", "csaf", url]);
    Ran::of(&command.env("SSL_CERT_FILE", ca).output().unwrap())
}

#[test]
fn a_providers_rolie_feed_is_mirrored_and_what_fails_its_checksum_is_not_used() {
    let bench = Bench::new();
    let ca = certificate();
    let site = Site::start_tls(&ca);
    let entry = |name: &str, updated: &str| {
        let url = site.url(&format!("/2026/{name}.json"));
        format!(
            r#"{{"id": "{name}", "updated": "{updated}", "content": {{"src": "{url}"}}, "link": [{{"rel": "hash", "href": "{url}.sha512"}}]}}"#
        )
    };
    let rolie = |second: &str| {
        format!(
            r#"{{"feed": {{"id": "f", "link": [], "entry": [{}, {}]}}}}"#,
            entry("one", "2026-11-20T00:00:00Z"),
            entry("two", second)
        )
    };
    let distribution = format!(
        r#"{{"rolie": {{"feeds": [{{"url": "{}", "tlp_label": "WHITE"}}]}}}}"#,
        site.url("/feed.json")
    );
    let (one, two) = (csaf("one", "CVE-2026-1"), csaf("two", "CVE-2026-2"));
    site.put(
        "/provider-metadata.json",
        page(metadata(&site, &distribution, "", "csaf_provider")),
    );
    site.put("/feed.json", page(rolie("2026-11-20T00:00:00Z")));
    site.put("/2026/one.json", page(&one));
    site.put(
        "/2026/one.json.sha512",
        page(format!("{}  one.json\n", sha512(&bench, &one))),
    );
    site.put("/2026/two.json", page(&two));
    site.put(
        "/2026/two.json.sha512",
        page(format!("{}  two.json\n", "0".repeat(128))),
    );
    let url = site.url("/provider-metadata.json");
    import_over_tls(&bench, &ca.file, &url)
        .exits(0)
        .says("is damaged or was replaced: its SHA-512 is")
        .says("csaf: 2 records, 1 could not be used");
    assert_eq!(bench.status()[0]["as_of"], common::NOW);
    bench
        .run(&["feeds", "problems", "csaf"])
        .exits(1)
        .prints("/2026/two.json: ");

    // The next round asks for what is missing or newer only.
    let before = site.requests().len();
    site.put("/feed.json", page(rolie("2026-11-21T00:00:00Z")));
    site.put(
        "/2026/two.json.sha512",
        page(format!("{}  two.json\n", sha512(&bench, &two))),
    );
    import_over_tls(&bench, &ca.file, &url)
        .exits(0)
        .says("csaf: 2 records, as of");
    let asked: Vec<String> = site.requests()[before..]
        .iter()
        .map(|r| r.split(' ').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(
        asked,
        [
            "/provider-metadata.json",
            "/feed.json",
            "/2026/two.json",
            "/2026/two.json.sha512"
        ]
    );
}

#[test]
fn a_providers_directory_is_mirrored_and_the_withdrawn_forgotten() {
    let bench = Bench::new();
    let ca = certificate();
    let site = Site::start_tls(&ca);
    let distribution = format!(r#"{{"directory_url": "{}"}}"#, site.url("/csaf/"));
    site.put(
        "/provider-metadata.json",
        page(metadata(&site, &distribution, "", "csaf_provider")),
    );
    let (one, two) = (csaf("one", "CVE-2026-1"), csaf("two", "CVE-2026-2"));
    site.put(
        "/csaf/index.txt",
        page("2026/one.json\n2026/two.json\n../climbs.json\n"),
    );
    site.put("/csaf/2026/one.json", page(&one));
    site.put("/csaf/2026/one.json.sha512", page(sha512(&bench, &one)));
    site.put("/csaf/2026/two.json", page(&two));
    let url = site.url("/provider-metadata.json");
    import_over_tls(&bench, &ca.file, &url)
        .exits(0)
        .says("csaf: 3 records, 1 could not be used");
    site.put(
        "/csaf/changes.csv",
        page("\"2026/two.json\",\"2026-11-01T00:00:00Z\"\n"),
    );
    import_over_tls(&bench, &ca.file, &url)
        .exits(0)
        .says("csaf: 1 records");
    // A server in trouble is not taken for an empty one.
    site.put("/csaf/changes.csv", page("busy").status(404));
    site.put("/csaf/index.txt", page("gone").status(410));
    import_over_tls(&bench, &ca.file, &url)
        .exits(2)
        .says("status 410");
    assert_eq!(bench.status()[0]["records"], 1);
    bench.run(&["feeds", "remove", "csaf"]).exits(0);
    assert!(!bench.path("state/downloads/csaf").exists());
}

const DOCUMENT: &[u8] = include_bytes!("../../reach/tests/fixtures/advisory.json");
const SIGNATURE: &[u8] = include_bytes!("../../reach/tests/fixtures/advisory.json.asc");
const KEY: &[u8] = include_bytes!("../../reach/tests/fixtures/provider_key.asc");

#[test]
fn a_document_whose_signature_is_not_its_providers_is_not_used() {
    if !has_program(
        "a_document_whose_signature_is_not_its_providers_is_not_used",
        "gpgv",
    ) {
        return;
    }
    let bench = Bench::new();
    let ca = certificate();
    let site = Site::start_tls(&ca);
    let distribution = format!(r#"{{"directory_url": "{}"}}"#, site.url("/csaf/"));
    let key = |fingerprint: &str| {
        format!(
            r#"{{"url": "{}", "fingerprint": "{fingerprint}"}}"#,
            site.url("/key.asc")
        )
    };
    let role = "csaf_trusted_provider";
    site.put(
        "/provider-metadata.json",
        page(metadata(&site, &distribution, &key(""), role)),
    );
    site.put("/key.asc", page(KEY));
    site.put(
        "/csaf/index.txt",
        page("2026/good.json\n2026/forged.json\n2026/bare.json\n2026/other.json\n"),
    );
    let changed = [DOCUMENT, b" "].concat();
    for (name, document) in [("good", DOCUMENT), ("forged", &changed), ("bare", DOCUMENT)] {
        site.put(&format!("/csaf/2026/{name}.json"), page(document));
    }
    site.put("/csaf/2026/other.json", page(csaf("other", "CVE-2026-3")));
    site.put("/csaf/2026/other.json.asc", page(SIGNATURE));
    site.put("/csaf/2026/good.json.asc", page(SIGNATURE));
    site.put("/csaf/2026/forged.json.asc", page(SIGNATURE));
    let url = site.url("/provider-metadata.json");
    let ran = import_over_tls(&bench, &ca.file, &url);
    let mirror = bench.path("state/downloads/csaf/2026");
    assert!(mirror.join("good.json").exists(), "{ran:#?}");
    for refused in ["forged", "bare", "other"] {
        assert!(
            !mirror.join(format!("{refused}.json")).exists(),
            "{refused}"
        );
    }
    let ran = ran
        .says("the file is not what was signed")
        .says("it has no signature");
    assert!(ran.err.contains("do not use the file"), "{}", ran.err);

    // The right key under a fingerprint that the metadata does not name.
    let other = "0".repeat(40);
    site.put(
        "/provider-metadata.json",
        page(metadata(&site, &distribution, &key(&other), role)),
    );
    site.put("/csaf/index.txt", page("2026/good.json\n"));
    import_over_tls(&bench, &ca.file, &url)
        .says("whose fingerprint the provider's metadata does not name");
}

#[test]
fn offline_each_source_fails_in_one_line_and_the_old_data_stays() {
    let bench = Bench::new();
    let file = bench.write("kev.json", KEV);
    bench.import("kev", &file).exits(0);
    let mut command = bench.command(&["feeds", "update", "kev", "epss"]);
    let proxy = format!("http://127.0.0.1:{}", closed_port());
    let ran = Ran::of(&command.env("HTTPS_PROXY", &proxy).output().unwrap()).exits(1);
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ran.err);
    assert!(
        lines[0].starts_with("kev: cannot reach https://www.cisa.gov/"),
        "{}",
        ran.err
    );
    assert!(lines[0].contains("by the proxy 127.0.0.1"), "{}", ran.err);
    assert!(
        lines[1].starts_with("epss: cannot reach") && lines[1].contains("1 attempt(s)"),
        "{}",
        ran.err
    );
    assert!(
        lines[2].contains("2 of 2 feeds could not be updated"),
        "{}",
        ran.err
    );
    assert_eq!(bench.status()[0]["records"], 1);
    bench
        .run(&["feeds", "update", "nonsense"])
        .exits(2)
        .says("there is no enabled source nonsense");
}

#[test]
fn a_proxy_of_the_environment_is_asked() {
    let bench = Bench::new();
    let proxy = Site::start();
    proxy.put("http://feeds.invalid/kev.json", page(KEV));
    let mut command = bench.command(&[
        "feeds",
        "import",
        "--source",
        "kev",
        "http://feeds.invalid/kev.json",
    ]);
    let address = format!("http://{}", proxy.address);
    let ran = Ran::of(&command.env("HTTP_PROXY", address).output().unwrap());
    if ran.code != Some(0) {
        // A proxy may be asked for a tunnel instead; then it heard of the host all the same.
        assert!(proxy.requests()[0].contains("feeds.invalid"), "{ran:#?}");
    }
}

#[test]
fn a_stale_or_partial_feed_is_told_in_every_format() {
    let bench = Bench::new();
    let root = bench.exim_host();
    let file = bench.write("tracker.json", TRACKER);
    touch(Path::new(&file), "2026-10-01T00:00:00Z");
    bench.import("debian-tracker", &file).exits(0);
    bench.run(&["feeds", "status"]).exits(1).prints("STALE");
    let cut = TRACKER.strip_suffix('}').unwrap().to_owned() + ", \"zzz\": {\"CVE-2026-1\": {\"rele";
    let partial = bench.write("cut.json", cut);
    let check = |format: &str| {
        bench
            .run(&["check", "--root", &root, "--format", format])
            .exits(1)
    };

    check("table")
        .prints("feed debian-tracker is stale: as of 2026-10-01")
        .prints("by a stale feed");
    let json = check("json").json();
    assert_eq!(json["feeds"][0]["stale"], true);
    assert_eq!(json["hosts"][0]["reasons"][0]["kind"], "feed-stale");
    assert_eq!(
        json["findings"][0]["evidence"]["source_stale"], true,
        "{json}"
    );
    let csv = check("csv");
    let mut lines = csv.out.lines();
    let column = lines
        .next()
        .unwrap()
        .split(',')
        .position(|name| name == "stale")
        .unwrap();
    assert_eq!(
        lines.next().unwrap().split(',').nth(column),
        Some("yes"),
        "{}",
        csv.out
    );
    for format in ["html", "csaf-vex", "openvex"] {
        check(format).prints("stale");
    }

    let ran = bench.import("debian-tracker", &partial);
    assert!(ran.err.contains("ENDED BEFORE ITS END"), "{ran:#?}");
    bench.run(&["feeds", "status"]).exits(1).prints("PARTIAL");
    check("table").prints("feed debian-tracker was only partly read");
    let json = check("json").json();
    assert_eq!(json["feeds"][0]["state"], "partial");
    assert_eq!(json["feeds"][0]["stale"], true);
}

#[test]
fn a_file_without_a_date_is_dated_by_the_fleet_file_unless_the_user_knows_better() {
    let bench = Bench::new();
    bench.exim_host();
    bench.write("tracker.json", TRACKER);
    bench.write("kev.json", KEV);
    let checked = |as_of: &str| {
        let feeds = format!(
            "[feeds.debian-tracker]\nlocation = \"tracker.json\"\n{as_of}\n\
             [feeds.kev]\nlocation = \"kev.json\"\n{as_of}\n"
        );
        bench.write("mailkeep.toml", fleet(&feeds));
        bench.run(&["check"]).exits(1);
        let dates = |status: serde_json::Value| -> Vec<String> {
            let feeds = status.as_array().unwrap();
            feeds
                .iter()
                .map(|f| f["as_of"].as_str().unwrap().to_owned())
                .collect()
        };
        dates(bench.status())
    };
    let own = "2026-11-20T12:00:00Z";
    assert_eq!(checked(""), [WRITTEN, own]);
    // The file is the same, and is dated anew; what dates itself is believed.
    let dated = "as_of = 2026-11-18";
    assert_eq!(checked(dated), ["2026-11-18T00:00:00Z", own]);
    bench
        .run(&["feeds", "update", "debian-tracker"])
        .exits(0)
        .says("as of 2026-11-18T00:00:00Z");
    assert_eq!(
        checked("as_of = 2026-11-19T05:00:00Z")[0],
        "2026-11-19T05:00:00Z"
    );
    assert_eq!(checked("")[0], WRITTEN);
    let named = [
        "feeds",
        "import",
        "--source",
        "debian-tracker",
        "--as-of",
        "2026-11-17T00:00:00Z",
        "tracker.json",
    ];
    bench
        .run(&named)
        .exits(0)
        .says("as of 2026-11-17T00:00:00Z");
}

#[test]
fn a_fleets_own_files_are_imported_when_they_change_and_their_loss_is_survived() {
    let bench = Bench::new();
    bench.exim_host();
    bench.write("tracker.json", TRACKER);
    bench.write(
        "mailkeep.toml",
        fleet("[feeds.debian-tracker]\nlocation = \"tracker.json\"\n"),
    );
    let check = || bench.run(&["check", "--fleet", "mailkeep.toml"]);
    check().exits(1).says("debian-tracker: 1 records");
    let again = check().exits(1);
    assert!(!again.err.contains("records"), "{}", again.err);
    // Imported by hand under the same name: the file's word counts again.
    let other = bench.write("other.json", TRACKER.replace("exim4", "postfix"));
    bench.import("debian-tracker", &other).exits(0);
    check().exits(1).says("debian-tracker: 1 records");
    bench.write("tracker.json", "<html>");
    check()
        .exits(1)
        .says("warning: cannot import the feed debian-tracker")
        .says("what was imported of it before is used, as of 2026-11-21T06:00:00Z")
        .prints("4.96-15 -> 4.96-15+deb12u2");
    bench.run(&["feeds", "remove", "debian-tracker"]).exits(0);
    check()
        .exits(2)
        .says("cannot import the feed debian-tracker")
        .says("an HTML page");
}

#[test]
fn a_platform_of_the_fleet_file_that_is_none_is_named() {
    let bench = Bench::new();
    bench.exim_host();
    bench.write("updateinfo.xml", UPDATEINFO);
    bench.write(
        "mailkeep.toml",
        fleet("[feeds.updateinfo]\nlocation = \"updateinfo.xml\"\ncovers = \"Almalynx:9\"\n"),
    );
    bench
        .run(&["check", "--fleet", "mailkeep.toml"])
        .exits(2)
        .says("there is no ecosystem \"Almalynx\"; known are AlmaLinux");
}

#[test]
fn a_files_time_is_told_to_the_second() {
    let bench = Bench::new();
    let file = bench.write("tracker.json", TRACKER);
    common::touch(
        std::path::Path::new(&file),
        "2026-11-21T06:00:00.265310129Z",
    );
    let ran = bench.import("debian-tracker", &file).exits(0);
    assert!(
        ran.err.contains("as of 2026-11-21T06:00:00Z"),
        "{}",
        ran.err
    );
}
