//! What a lab's fleet is declared to be, and what is published about it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::command::{output, program};
use super::super::error::LabError;
use super::super::family::Family;
use super::super::host::Host;
use super::super::inventory::{REGIONS, region};
use super::super::pair::Pair;

/// The domain that every host takes mail for.
pub const DOMAIN: &str = "lab.test";
/// Who sends and gets all mail.
pub const ADDRESS: &str = "probe@lab.test";
/// What every host carries.
pub const SERVICE: &str = "inbound-mx";
/// The team that answers for all.
pub(super) const GLOBAL_TEAM: &str = "postmasters";

/// A line of `allowed_signers`: the team may sign plans, and nothing else.
pub(super) fn signer(team: &str, public_key: &str) -> String {
    let key: Vec<&str> = public_key.split_whitespace().take(2).collect();
    format!("{team} namespaces=\"mailkeep-plan\" {}\n", key.join(" "))
}

/// The fleet file: every host takes mail of the internet, and `minimum` of them must (a number for every
/// region, or a table of regions).
pub(super) fn file(hosts: &[Host], minimum: &str) -> String {
    let mut text = format!(
        "global_team = \"{GLOBAL_TEAM}\"\nstate = \"mailkeep\"\n\n\
         [teams.{GLOBAL_TEAM}]\nemail = [\"postmaster@{DOMAIN}\"]\nphone = \"+49 40 5550100\"\n\n\
         [zones.dmz]\nexposed = true\n\n\
         [services.{SERVICE}]\nowner = \"{GLOBAL_TEAM}\"\ncriticality = \"material\"\n\
         mission_prevalence = \"essential\"\nminimum = {minimum}\n\
         probe = {{ from = \"{ADDRESS}\", to = \"{ADDRESS}\", mailbox = \"/var/mail/probe\", late = \"1m\" }}\n\n\
         # Nothing is waited for that no clock in a lab need wait for.\n\
         [policy.rollout.emergency]\nsoak_test = \"0m\"\nsoak_pilot = \"0m\"\nsoak_wave = \"0m\"\n\n\
         [approvals]\nallowed_signers = \"allowed_signers\"\n"
    );
    for (index, (name, zone)) in REGIONS.iter().enumerate() {
        if !hosts.iter().any(|host| region(host) == *name) {
            continue;
        }
        let pilot = if index == 0 { "pilot = true\n" } else { "" };
        _ = write!(
            text,
            "\n[teams.{name}-mail]\nemail = [\"{name}@{DOMAIN}\"]\nphone = \"+49 40 5550101\"\n\n\
             [regions.{name}]\ntime_zone = \"{zone}\"\nowner = \"{name}-mail\"\n{pilot}\
             windows = [{{ rrule = \"FREQ=WEEKLY;BYDAY=SU;BYHOUR=2\", duration = \"3h\" }}]\n"
        );
    }
    for host in hosts {
        _ = write!(
            text,
            "\n[hosts.{}]\naddress = \"{}\"\nregion = \"{}\"\nzone = \"dmz\"\n\
             services = [\"{SERVICE}\"]\nfamily = \"{}\"\n",
            host.name,
            host.address,
            region(host),
            host.family
        );
    }
    // Where the pilot region has no host of a kind, somebody must say which one is first.
    for family in Family::ALL {
        let mut of_family = hosts.iter().filter(|host| host.family == family.name());
        let in_pilot = of_family.clone().any(|host| host.region == 1);
        if let Some(first) = of_family.next().filter(|_| !in_pilot) {
            _ = write!(
                text,
                "\n[families.{family}]\ntest_host = \"{}\"\n",
                first.name
            );
        }
    }
    text
}

/// A Debian tracker of the families' made-up CVEs, before and after they are known.
pub(super) fn tracker(pairs: &[(Family, Pair)], known: bool) -> String {
    let fixed =
        |version: &str| json!({"status": "resolved", "fixed_version": version, "urgency": "high"});
    let mut tracker = json!({});
    for (family, pair) in pairs {
        let suites = ["bullseye", "bookworm", "trixie"];
        let claims = |version: &str| -> Value {
            suites
                .iter()
                .map(|suite| {
                    // Other releases were never affected; `0` says that.
                    let here = *suite == family.suite();
                    ((*suite).to_owned(), fixed(if here { version } else { "0" }))
                })
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let mut of_package = json!({
            "CVE-2011-90011": {"description": "Made up, and fixed long ago", "releases": claims("0.1")},
        });
        if known {
            of_package[family.made_up_cve()] = json!({
                "description": "Made up: fixed by the lab's patch",
                "releases": claims(&pair.new),
            });
        }
        tracker[&pair.source] = of_package;
    }
    tracker.to_string()
}

/// The catalogue of exploited holes, before and after.
pub(super) fn kev(pairs: &[(Family, Pair)], known: bool) -> Result<String, LabError> {
    let now = output("asking the time", &mut program("date", ["-u", "+%FT%TZ"]))?;
    let now = now.trim();
    let today = now.split('T').next().unwrap_or(now);
    let mut vulnerabilities = vec![json!({
        "cveID": "CVE-2011-90011", "vendorProject": "Lab", "product": "Mail",
        "vulnerabilityName": "Made up, and fixed long ago", "dateAdded": "2021-11-03",
        "dueDate": "2022-05-03", "knownRansomwareCampaignUse": "Unknown",
    })];
    if known {
        vulnerabilities.extend(pairs.iter().map(|(family, pair)| {
            json!({
                "cveID": family.made_up_cve(), "vendorProject": "Lab", "product": pair.source,
                "vulnerabilityName": "Made up, and exploited", "dateAdded": today,
                "dueDate": today, "knownRansomwareCampaignUse": "Unknown",
            })
        }));
    }
    Ok(json!({
        "title": "Known exploited vulnerabilities, made up", "catalogVersion": "1",
        "dateReleased": now, "count": vulnerabilities.len(), "vulnerabilities": vulnerabilities,
    })
    .to_string())
}
