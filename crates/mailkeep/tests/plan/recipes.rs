//! What recipes bring into plans: packages of their own, and what stands in for a fix.

use crate::{Fleet, UNTIL_HELD, WHOLE_WAY, common, reasons};

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_recipe_is_pinned_by_every_file_it_names_and_its_packages_are_what_is_planned() {
    let fleet = Fleet::new(true, "[families.exim]\nrecipe = \"recipes/exim.toml\"\n");
    let package = b"not much of a package";
    let sum = sha256(package);
    let recipe = format!(
        "format = 1\n[[package]]\nname = \"exim4\"\nversion = \"4.96-15+deb12u9\"\n\
         file = \"exim4.deb\"\nsha256 = \"{sum}\"\n"
    );
    fleet
        .plan(&[])
        .exits(2)
        .says("the recipe of family exim cannot be used");
    fleet.0.write("recipes/exim.toml", &recipe);
    fleet.0.write("recipes/exim4.deb", package);
    let json = fleet.plan(&["--format", "json"]).exits(0).json();
    let variant = &json["plan"]["variants"][0];
    assert_eq!(variant["packages"][0]["to"], "4.96-15+deb12u9", "{variant}");
    assert_eq!(variant["recipe"]["path"], "recipes/exim.toml");

    // Another word in the recipe is another plan; another package is none.
    fleet.0.write(
        "recipes/exim.toml",
        format!("{recipe}\n# approved by nobody\n"),
    );
    let other = fleet.plan(&["--format", "json"]).exits(0).json();
    assert_ne!(other["id"], json["id"]);
    fleet.0.write("recipes/exim4.deb", b"swapped");
    fleet.plan(&[]).exits(2).says("exim4.deb: its SHA-256 is");
}

#[test]
fn a_recipe_that_brings_a_version_without_the_fix_is_no_fix() {
    let fleet = Fleet::new(true, "[families.exim]\nrecipe = \"exim.toml\"\n");
    let sum = sha256(b"deb");
    fleet.0.write("exim4.deb", b"deb");
    let bring = |version: &str| {
        fleet.0.write(
            "exim.toml",
            format!(
                "format = 1\n[[package]]\nname = \"exim4\"\nversion = \"{version}\"\n\
                 file = \"exim4.deb\"\nsha256 = \"{sum}\"\n"
            ),
        );
    };
    // Newer than what is installed, and still with the hole.
    bring("4.96-15+deb12u1");
    let json = fleet.plan(&["--format", "json"]).exits(1).json();
    assert_eq!(json["plan"], serde_json::Value::Null);
    let reason = &json["report"]["not_planned"][0]["reason"];
    assert_eq!(reason["kind"], "recipe-without-fix");
    assert_eq!(reason["brings"], "4.96-15+deb12u1");
    assert_eq!(reason["fixed"], "4.96-15+deb12u2");
    // Four servers will not be patched in time, and that is said.
    let missed = json["report"]["missed_deadlines"].as_array().unwrap();
    assert_eq!(missed.len(), 4);
    assert_eq!(missed[0]["host"], "mx1.eu");
    assert!(missed[0]["planned_end"].is_null(), "{missed:?}");
    fleet
        .plan(&[])
        .exits(1)
        .prints("mx1.eu  due 2026-11-24, not planned (recipe-without-fix)\n");
    bring("4.96-15+deb12u2");
    let json = fleet.plan(&["--format", "json"]).exits(0).json();
    assert_eq!(json["plan"]["bulletin"][0], "CVE-2023-42115");
    assert_eq!(json["plan"]["lane"], "emergency");
}

/// A tracker that knows two holes in Exim; the first is fixed in this version, where it is given.
fn two_holes(fixed: Option<&str>) -> String {
    let first = match fixed {
        Some(version) => format!(r#""status": "resolved", "fixed_version": "{version}""#),
        None => r#""status": "open""#.to_owned(),
    };
    let repositories = format!(
        r#""repositories": {{"bookworm": "{}"}}"#,
        fixed.unwrap_or("4.96-15")
    );
    format!(
        r#"{{"exim4": {{
            "CVE-2026-7777": {{"description": "one", "scope": "remote", "releases": {{"bookworm":
                {{{first}, {repositories}, "urgency": "high"}}}}}},
            "CVE-2026-8888": {{"description": "two", "scope": "remote", "releases": {{"bookworm":
                {{"status": "open", {repositories}, "urgency": "high"}}}}}}}}}}"#
    )
}

/// What stands in for a fix in a recipe.
fn mitigation(name: &str, advisory: &str) -> String {
    format!(
        "[[mitigation]]\nname = \"{name}\"\nadvisories = [\"{advisory}\"]\n\
         assert = \"touch /etc/{name}\"\ncheck = \"test -e /etc/{name}\"\n\
         remove = \"rm /etc/{name}\"\n"
    )
}

#[test]
fn a_workaround_on_a_host_hides_nothing_else_that_is_left_open_there() {
    let fleet = Fleet::new(false, "[families.exim]\nrecipe = \"exim.toml\"\n");
    let installed = [("exim4", "4.96-15"), ("dovecot", "1:2.3.19")];
    let installed = installed.map(|(name, version)| common::package(name, version));
    fleet.0.root("host", &installed.concat());
    let mut tracker: serde_json::Value = serde_json::from_str(&two_holes(None)).unwrap();
    tracker["dovecot"] = serde_json::json!({"CVE-2026-9999": {
        "description": "three", "scope": "remote", "releases": {"bookworm": {
            "status": "resolved", "fixed_version": "1:2.3.19+deb12u2", "urgency": "high",
            "repositories": {"bookworm": "1:2.3.19+deb12u2"}}}}});
    let tracker = fleet.0.write("tracker.json", tracker.to_string());
    fleet.0.import("debian-tracker", &tracker).exits(0);
    // It stands in for holes in Exim, and brings a Dovecot that still has one.
    let sum = sha256(b"deb");
    fleet.0.write("dovecot.deb", b"deb");
    let (one, two) = (
        mitigation("one", "CVE-2026-7777"),
        mitigation("two", "CVE-2026-8888"),
    );
    let brings = format!(
        "format = 1\n[[package]]\nname = \"dovecot\"\nversion = \"1:2.3.19+deb12u1\"\n\
         file = \"dovecot.deb\"\nsha256 = \"{sum}\"\n"
    );
    for (recipe, reason) in [
        (format!("{brings}{one}{two}"), "recipe-without-fix"),
        (format!("format = 1\n{one}"), "no-fix"),
    ] {
        fleet.0.write("exim.toml", recipe);
        let mut make = vec!["make", "--all", "--format", "json"];
        if reason == "no-fix" {
            make.extend(["--advisory", "CVE-2026-7777", "--advisory", "CVE-2026-8888"]);
        }
        let json = fleet.plan(&make).exits(1).json();
        assert_eq!(json["plan"]["steps"].as_array().unwrap().len(), 4);
        let hosts = ["mx1.eu", "mx1.sg", "mx2.eu", "mx2.sg"];
        assert_eq!(reasons(&json), hosts.map(|host| (host, reason)));
        // Its step is not taken for none.
        let missed = json["report"]["missed_deadlines"].as_array().unwrap();
        assert!(missed.iter().all(|m| !m["planned_end"].is_null()), "{json}");
    }
}

#[test]
fn a_workaround_for_a_hole_without_fix_is_planned_recorded_kept_and_ended_by_the_fix() {
    let fleet = Fleet::new(false, "[families.exim]\nrecipe = \"exim.toml\"\n");
    let import = |text: String| {
        let tracker = fleet.0.write("tracker.json", text);
        fleet.0.import("debian-tracker", &tracker).exits(0);
    };
    import(two_holes(None));
    let (one, two) = (
        mitigation("one", "CVE-2026-7777"),
        mitigation("two", "CVE-2026-8888"),
    );
    fleet.0.write("exim.toml", "format = 1\n");
    let make = ["make", "--all", "--format", "json"];
    let without = fleet.plan(&make).exits(1).json();
    assert_eq!(without["plan"], serde_json::Value::Null);
    assert_eq!(
        without["report"]["not_planned"][0]["reason"]["kind"],
        "no-fix"
    );

    fleet
        .0
        .write("exim.toml", format!("format = 1\n{one}{two}"));
    let json = fleet.plan(&make).json();
    assert_eq!(json["plan"]["steps"].as_array().unwrap().len(), 4);
    let variant = &json["plan"]["variants"][0];
    assert_eq!(variant["packages"][0]["from"], variant["packages"][0]["to"]);
    let both = serde_json::json!({"CVE-2026-7777": "exim4", "CVE-2026-8888": "exim4"});
    assert_eq!(variant["mitigates"], both);
    assert_eq!(
        json["plan"]["bulletin"],
        serde_json::json!(["CVE-2026-7777", "CVE-2026-8888"])
    );
    assert_eq!(json["report"]["not_planned"], serde_json::json!([]));
    let id = json["id"].as_str().unwrap();
    fleet
        .plan(&["show", id])
        .exits(0)
        .prints("mitigates CVE-2026-7777 until exim4 is fixed");
    fleet
        .plan(&["mitigations"])
        .exits(0)
        .prints("No mitigation");

    let statuses = || {
        let answer = fleet
            .0
            .run(&["check", "--fleet", "mailkeep.toml", "--format", "json"])
            .json();
        let findings = answer["findings"].as_array().unwrap().iter();
        let mut found: Vec<String> = findings
            .map(|f| format!("{} {}", f["host"], f["status"]).replace('"', ""))
            .collect();
        found.sort();
        found.dedup();
        found
    };
    for host in ["mx1.eu", "mx2.eu", "mx1.sg"] {
        fleet.roll_out(id, host, &WHOLE_WAY);
    }
    fleet.roll_out(id, "mx2.sg", &UNTIL_HELD);
    assert_eq!(
        statuses(),
        [
            "mx1.eu mitigated",
            "mx1.sg mitigated",
            "mx2.eu mitigated",
            "mx2.sg no-fix"
        ]
    );
    let listed = fleet.plan(&["mitigations"]).exits(0);
    assert_eq!(listed.out.lines().count(), 6, "{}", listed.out);
    listed.prints("ends with a fix of exim4");
    let again = fleet.plan(&["make", "--all", "--parent", id, "--format", "json"]);
    let again = again.exits(1).json();
    assert_eq!(again["plan"], serde_json::Value::Null, "{again}");
    assert_eq!(
        again["report"]["not_planned"][0]["reason"]["kind"],
        "mitigated"
    );

    // The fix of one ends one, and the other stays.
    import(two_holes(Some("4.96-15+deb12u3")));
    let json = fleet
        .plan(&["make", "--all", "--parent", id, "--format", "json"])
        .json();
    let variant = &json["plan"]["variants"][0];
    assert_eq!(variant["packages"][0]["to"], "4.96-15+deb12u3", "{json}");
    assert_eq!(
        variant["mitigates"],
        serde_json::json!({"CVE-2026-8888": "exim4"})
    );
}
