//! The test suite of RFC 7208 (`tests/data/rfc7208-tests.yml`, its licence beside it), against a name server on
//! loopback.

use serde_json::Value;

use std::net::IpAddr;

use mail_auth::SpfResult;
use mail_auth::hickory_resolver::TokioResolver;
use mail_auth::hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts,
};
use mail_auth::hickory_resolver::net::runtime::TokioRuntimeProvider;

use super::{Known, Spf};
use dns::{Dns, Zone};

#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the tests of the program, which use the rest"
)]
#[path = "../../../tests/bench/dns.rs"]
mod dns;

fn name_of(result: SpfResult) -> &'static str {
    match result {
        SpfResult::Fail => "fail",
        SpfResult::Neutral => "neutral",
        SpfResult::None => "none",
        SpfResult::Pass => "pass",
        SpfResult::PermError => "permerror",
        SpfResult::SoftFail => "softfail",
        SpfResult::TempError => "temperror",
    }
}

fn resolver(dns: &Dns) -> TokioResolver {
    let mut connection = ConnectionConfig::udp();
    connection.port = dns.address.port();
    let server = NameServerConfig::new(dns.address.ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut options = ResolverOpts::default();
    options.attempts = 0;
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .unwrap()
}

/// Loads what the suite says of one name. Records of type SPF stand for TXT, unless the name says that it has none.
fn load(zone: &mut Zone, name: &str, records: &[Value]) {
    let of = |kind: &'static str| {
        let all = records.iter().filter_map(move |record| record.get(kind));
        all.collect::<Vec<&Value>>()
    };
    let given = of("TXT");
    let texts = if given.is_empty() { of("SPF") } else { given };
    let mut known = Vec::new();
    for text in texts {
        let texts: Vec<String> = match text {
            Value::String(text) if text == "NONE" => continue,
            Value::String(text) if text == "TIMEOUT" => {
                zone.broken(name, Some("TXT"));
                continue;
            }
            Value::String(text) => vec![text.clone()],
            Value::Array(texts) => texts
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            other => vec![other.to_string()],
        };
        known.push("TXT");
        zone.strings(name, &texts);
    }
    for record in records {
        let Value::Object(record) = record else {
            continue;
        };
        for (kind, value) in record {
            match (kind.as_str(), value) {
                ("A" | "AAAA", Value::String(address)) if address == "TIMEOUT" => {
                    zone.broken(name, Some(kind));
                }
                ("A" | "AAAA", Value::String(address)) => {
                    known.push(if kind == "A" { "A" } else { "AAAA" });
                    zone.address(name, address.parse().unwrap());
                }
                ("MX", Value::Array(both)) => {
                    known.push("MX");
                    let preference = u16::try_from(both[0].as_u64().unwrap()).unwrap();
                    zone.mx(name, preference, both[1].as_str().unwrap());
                }
                ("PTR", Value::String(target)) => {
                    known.push("PTR");
                    zone.ptr(name, target);
                }
                ("CNAME", Value::String(target)) => zone.alias(name, target),
                ("TXT" | "SPF", _) => {}
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    if records.iter().any(|record| record == "TIMEOUT") {
        for kind in ["A", "AAAA", "MX", "PTR", "TXT"] {
            if !known.contains(&kind) {
                zone.broken(name, Some(kind));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_test_of_the_suite_gives_what_it_says() {
    let text = include_str!("../../../tests/data/rfc7208-tests.yml");
    let suite: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let mut count = 0;
    let mut wrong = Vec::new();
    for part in suite {
        let mut zone = Zone::default();
        for (name, records) in part["zonedata"].as_object().unwrap() {
            load(&mut zone, name, records.as_array().unwrap());
        }
        let dns = Dns::start(zone);
        let (resolver, known) = (resolver(&dns), Known::default());
        for (name, test) in part["tests"].as_object().unwrap() {
            let text = |key: &str| test[key].as_str().unwrap_or_default().to_owned();
            let (hello, sender) = (text("helo"), text("mailfrom"));
            let client: IpAddr = text("host").parse().unwrap();
            let (found, _) = Spf::check((&resolver, &known), client, &hello, &sender).await;
            let found = name_of(found);
            let expected: Vec<&str> = match &test["result"] {
                Value::String(one) => vec![one],
                Value::Array(some) => some.iter().filter_map(Value::as_str).collect(),
                other => panic!("{name}: {other}"),
            };
            count += 1;
            if !expected.contains(&found) {
                wrong.push(format!("{name}: {found} instead of {expected:?}"));
            }
        }
    }
    println!("{} of {count} tests of the SPF suite", count - wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(count, 203);
}
