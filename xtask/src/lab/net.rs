//! The lab's network: one namespace that holds a bridge, one for each host, joined by cable pairs.
//! Nothing leads from there to the machine's own network.

use std::net::Ipv4Addr;

use super::command::{output, program};
use super::error::LabError;

/// The benchmarking range (RFC 2544, RFC 6890): never routed, so a mistake reaches nobody.
const PREFIX: u8 = 15;

/// The bridge, which is also the controller's address and the hosts' name server.
pub(super) const CONTROLLER: Ipv4Addr = Ipv4Addr::new(198, 19, 255, 254);

/// The address of the nth host (from 1) of a region (from 1).
pub(super) fn address(region: u8, nth: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, region, nth)
}

/// Whether a namespace of that name exists.
pub(super) fn exists(namespace: &str) -> Result<bool, LabError> {
    Ok(all()?.iter().any(|name| name == namespace))
}

/// The names of all named network namespaces.
pub(super) fn all() -> Result<Vec<String>, LabError> {
    let list = output("listing namespaces", &mut program("ip", ["netns", "list"]))?;
    let names = list
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    Ok(names.map(str::to_owned).collect())
}

/// Lays the bridge, unless it is there.
pub(super) fn ensure_bridge(namespace: &str) -> Result<(), LabError> {
    if exists(namespace)? {
        return Ok(());
    }
    ip(&["netns", "add", namespace])?;
    let address = format!("{CONTROLLER}/{PREFIX}");
    ip(&["-n", namespace, "link", "set", "lo", "up"])?;
    ip(&["-n", namespace, "link", "add", "br0", "type", "bridge"])?;
    ip(&["-n", namespace, "addr", "add", &address, "dev", "br0"])?;
    ip(&["-n", namespace, "link", "set", "br0", "up"])
}

/// Makes a host's namespace and plugs it into the bridge; one left by a host that is gone is removed.
pub(super) fn plug(bridge: &str, namespace: &str, address: Ipv4Addr) -> Result<(), LabError> {
    remove(namespace)?;
    let [a, b, region, nth] = address.octets();
    // A network card keeps its address over a boot. With another one, whoever spoke to the host before
    // would go on calling the old one until the kernel asks anew, some ten seconds.
    let card = format!("02:00:{a:02x}:{b:02x}:{region:02x}:{nth:02x}");
    let cable = format!("v{region}-{nth}");
    let with_prefix = format!("{address}/{PREFIX}");
    let controller = CONTROLLER.to_string();
    ip(&["netns", "add", namespace])?;
    ip(&[
        "-n", bridge, "link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns",
        namespace,
    ])?;
    ip(&["-n", bridge, "link", "set", &cable, "master", "br0", "up"])?;
    ip(&["-n", namespace, "link", "set", "lo", "up"])?;
    ip(&["-n", namespace, "addr", "add", &with_prefix, "dev", "eth0"])?;
    ip(&[
        "-n", namespace, "link", "set", "eth0", "address", &card, "up",
    ])?;
    ip(&[
        "-n",
        namespace,
        "route",
        "add",
        "default",
        "via",
        &controller,
    ])
}

/// Removes a namespace, if it is there; its end of the cable goes with it.
pub(super) fn remove(namespace: &str) -> Result<(), LabError> {
    if exists(namespace)? {
        // The kernel clears a namespace some time after it was removed; a cable that is pulled first is
        // gone at once, and its name free for the next boot. It may be missing after a failed `plug`.
        ip(&["-n", namespace, "link", "del", "eth0"]).ok();
        ip(&["netns", "del", namespace])?;
    }
    Ok(())
}

fn ip(args: &[&str]) -> Result<(), LabError> {
    output("laying the lab's network", &mut program("ip", args)).map(drop)
}
