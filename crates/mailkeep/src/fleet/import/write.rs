//! Hosts as a fleet file.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use mailkeep_model::{Fleet, Lifecycle};

use super::super::read::{key, quoted};
use super::ImportedHost;

/// Writes hosts as a fleet file ready to be edited: what they name (teams, regions, zones,
/// services) is declared first, with the safe value where something must be said.
///
/// With an `existing` fleet it writes what is to be added at the end of its file: nothing that is
/// declared there already; a host that is, is left out with a comment.
pub fn to_toml(hosts: &[ImportedHost], existing: Option<&Fleet>) -> String {
    let none = Fleet::default();
    let fleet = existing.unwrap_or(&none);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let mut line = |text: std::fmt::Arguments<'_>| {
        out.write_fmt(text).unwrap_or_default();
        out.push('\n');
    };

    let declared: BTreeSet<String> = fleet
        .hosts
        .keys()
        .map(|name| name.as_str().to_lowercase())
        .collect();
    let (known, new): (Vec<_>, Vec<_>) = hosts
        .iter()
        .partition(|host| declared.contains(&host.name.to_lowercase()));
    let names = |of: fn(&ImportedHost) -> Option<&String>| -> BTreeSet<&str> {
        new.iter()
            .filter_map(|host| of(host))
            .map(String::as_str)
            .collect()
    };

    let teams = names(|host| host.owner.as_ref());
    for team in teams
        .iter()
        .filter(|team| !fleet.teams.contains_key(**team))
    {
        line(format_args!("[teams.{}]", key(team)));
        line(format_args!("email = []               # whom to write to"));
        line(format_args!(""));
    }
    let regions = names(|host| host.region.as_ref());
    for region in regions
        .iter()
        .filter(|region| !fleet.regions.contains_key(**region))
    {
        line(format_args!("[regions.{}]", key(region)));
        line(format_args!(
            "time_zone = \"UTC\"        # the region's own, such as Europe/Berlin"
        ));
        line(format_args!(""));
    }
    let zones = names(|host| host.zone.as_ref());
    let known_zones: BTreeSet<&str> = fleet
        .exposed_zones
        .iter()
        .chain(fleet.hosts.values().filter_map(|host| host.zone.as_ref()))
        .map(mailkeep_model::ZoneName::as_str)
        .collect();
    for zone in zones.iter().filter(|zone| !known_zones.contains(**zone)) {
        line(format_args!("[zones.{}]", key(zone)));
        line(format_args!(
            "exposed = true           # false where strangers do not reach its mail ports"
        ));
        line(format_args!(""));
    }
    let services: BTreeSet<&str> = new
        .iter()
        .flat_map(|host| &host.services)
        .map(String::as_str)
        .collect();
    for service in services
        .iter()
        .filter(|service| !fleet.services.contains_key(**service))
    {
        line(format_args!("[services.{}]", key(service)));
        line(format_args!(
            "# owner, criticality, mission_prevalence, minimum: mailkeep fleet lint says what is missing"
        ));
        line(format_args!(""));
    }
    for host in known {
        line(format_args!(
            "# {} is in the fleet file already",
            comment(&host.name)
        ));
    }
    for host in new {
        if !host.groups.is_empty() {
            let groups: Vec<_> = host.groups.iter().map(|group| comment(group)).collect();
            line(format_args!("# groups: {}", groups.join(", ")));
        }
        line(format_args!("[hosts.{}]", key(&host.name)));
        let texts = [
            ("address", &host.address),
            ("region", &host.region),
            ("zone", &host.zone),
            ("family", &host.family),
            ("owner", &host.owner),
            ("user", &host.user),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                line(format_args!("{name} = {}", quoted(value)));
            }
        }
        if let Some(exposed) = host.exposed {
            line(format_args!("exposed = {exposed}"));
        }
        if let Some(port) = host.port {
            line(format_args!("port = {port}"));
        }
        if !host.services.is_empty() {
            line(format_args!("services = {}", list(host.services.iter())));
        }
        if !host.jump.is_empty() {
            line(format_args!("jump = {}", list(host.jump.iter())));
        }
        if host.lifecycle == Lifecycle::Decommissioned {
            line(format_args!("lifecycle = \"decommissioned\""));
        }
        line(format_args!(""));
    }
    while out.ends_with("\n\n") {
        out.pop();
    }
    out
}

fn list<'a>(texts: impl Iterator<Item = &'a String>) -> String {
    let texts: Vec<_> = texts.map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// A text that stays on its line.
fn comment(text: &str) -> String {
    mailkeep_model::text::printable_max(text, 120)
}
