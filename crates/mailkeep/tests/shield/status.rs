//! `mailkeep shield status`.

use crate::common::Bench;

const FLEET: &str = r#"
[regions.eu]
time_zone = "UTC"
[hosts.mx1]
region = "eu"
[[shield]]
name = "mx"
guards = ["mx1"]
status = "mx.json"
"#;

fn state(antivirus: &str, up: bool) -> String {
    format!(
        r#"{{"name":"mx","time":"2026-11-21T11:59:00Z","sessions":3,
        "backends":[{{"address":"10.0.0.7:25","up":{up},"draining":false}}],
        "antivirus":[{antivirus}],"held":[],
        "bundle":{{"id":"b","version":2,"expires":"2026-12-21T00:00:00Z","enforced":[]}}}}"#
    )
}

#[test]
fn a_shield_that_is_well_exits_0_and_one_to_look_at_exits_1() {
    let bench = Bench::new();
    bench.write("mailkeep.toml", FLEET);
    bench
        .run(&["shield", "status"])
        .exits(1)
        .prints("mx: look")
        .prints("its state cannot be read");
    let fresh = r#"{"name":"clamd","up":true,"version":"ClamAV 1.4.6","freshness":"fresh"}"#;
    bench.write("mx.json", state(fresh, true));
    bench
        .run(&["shield", "status"])
        .exits(0)
        .prints("mx: well")
        .prints("server 10.0.0.7:25 answers");
    let stale = r#"{"name":"clamd","up":true,"freshness":"unknown"}"#;
    bench.write("mx.json", state(stale, false));
    bench
        .run(&["shield", "status", "mx"])
        .exits(1)
        .prints("! the server 10.0.0.7:25 does not answer")
        .prints("! the definitions of clamd are unknown");
    let alert = |at: &str| {
        format!(
            r#""alerts":[{{"id":"1","at":"{at}","detector":"spread","text":"too many of these","counted":9,"limit":3,
            "unit":"senders","held":true}}],"bundle""#
        )
    };
    let told = |at: &str| state(fresh, true).replace("\"bundle\"", &alert(at));
    bench.write("mx.json", told("2026-11-21T11:00:00Z"));
    bench
        .run(&["shield", "status"])
        .exits(1)
        .prints("! 2026-11-21T11:00:00Z: too many of these");
    bench.write("mx.json", told("2026-11-19T11:00:00Z"));
    bench.run(&["shield", "status"]).exits(0);
    bench
        .run(&["shield", "status", "my"])
        .exits(2)
        .says("no [[shield]] \"my\"");
}
