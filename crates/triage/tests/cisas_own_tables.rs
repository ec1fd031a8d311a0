//! The two tables beside CISA's own, as certcc/SSVC publishes them, where that data is at hand.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test reads its data, and fails by panicking"
)]

use mailkeep_model::{Decision, SsvcAutomatable, SsvcExploitation, SsvcTechnicalImpact};
use mailkeep_triage::ssvc::{MissionWellBeing, decide};
use mailkeep_triage::{Policy, Within};
use serde_json::Value;

fn table(test: &str, name: &str) -> Option<Vec<Value>> {
    let data = std::env::var("MAILKEEP_DATA").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned()
    });
    let path = format!("{data}/ssvc/certcc/json/decision_tables/cisa/{name}");
    let Ok(bytes) = std::fs::read(path) else {
        println!("skipped: {test}: no data");
        return None;
    };
    let json: Value = serde_json::from_slice(&bytes).unwrap();
    Some(json["mapping"].as_array().unwrap().clone())
}

fn automatable(row: &Value) -> SsvcAutomatable {
    match row["ssvc:A:2.0.0"].as_str().unwrap() {
        "N" => SsvcAutomatable::No,
        "Y" => SsvcAutomatable::Yes,
        other => panic!("automatable {other}"),
    }
}

fn impact(row: &Value) -> SsvcTechnicalImpact {
    match row["ssvc:TI:1.0.0"].as_str().unwrap() {
        "P" => SsvcTechnicalImpact::Partial,
        "T" => SsvcTechnicalImpact::Total,
        other => panic!("technical impact {other}"),
    }
}

#[test]
fn the_decision_table_is_cisas() {
    let Some(rows) = table("the_decision_table_is_cisas", "cisa_coordinator_2_0_3.json") else {
        return;
    };
    assert_eq!(rows.len(), 36);
    for row in rows {
        let exploitation = match row["ssvc:E:1.1.0"].as_str().unwrap() {
            "N" => SsvcExploitation::None,
            "P" => SsvcExploitation::Poc,
            "A" => SsvcExploitation::Active,
            other => panic!("exploitation {other}"),
        };
        let mission_well_being = match row["ssvc:MWI:1.0.0"].as_str().unwrap() {
            "L" => MissionWellBeing::Low,
            "M" => MissionWellBeing::Medium,
            "H" => MissionWellBeing::High,
            other => panic!("mission and well-being {other}"),
        };
        let decision = match row["cisa:CISA:1.1.0"].as_str().unwrap() {
            "T" => Decision::Track,
            "T*" => Decision::TrackStar,
            "AT" => Decision::Attend,
            "AC" => Decision::Act,
            other => panic!("decision {other}"),
        };
        assert_eq!(
            decide(
                exploitation,
                automatable(&row),
                impact(&row),
                mission_well_being
            ),
            decision,
            "{row}"
        );
    }
}

#[test]
fn the_default_deadlines_are_cisas() {
    let Some(rows) = table(
        "the_default_deadlines_are_cisas",
        "cisa_bod_26_04_1_0_0.json",
    ) else {
        return;
    };
    assert_eq!(rows.len(), 16);
    for row in rows {
        let term = Policy::default().term(
            row["cisa:KEV:1.0.0"] == "Y",
            row["cisa:PE:1.0.0"] == "Y",
            false,
            automatable(&row),
            impact(&row),
        );
        let (within, forensics) = match row["cisa:BOD2604:1.0.0"].as_str().unwrap() {
            "FSU" => (Within::NextUpgrade, false),
            "60D" => (Within::Days(60), false),
            "14D" => (Within::Days(14), false),
            "3D" => (Within::Days(3), false),
            "3DF" => (Within::Days(3), true),
            other => panic!("timeline {other}"),
        };
        assert_eq!((term.within, term.forensics), (within, forensics), "{row}");
    }
}
