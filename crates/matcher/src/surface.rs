//! How near a package is to the mail: mail software itself, its dependency closure, anything else.

use std::collections::{HashMap, HashSet};

use mailkeep_model::{HostFacts, InstalledPackage, Surface, is_mail_software};

/// The surface of each installed binary package, in the order of `facts.packages`.
///
/// `mail`: its source is mail software by name, or a process that serves mail runs its executable.
/// `dependency`: a mail package needs it, directly or through others (`Depends`, `Pre-Depends`, every
/// alternative, and whoever provides a virtual name), or a mail process maps a file of it.
pub(crate) fn surfaces(facts: &HostFacts) -> Vec<Surface> {
    let packages = &facts.packages;
    let served: HashSet<&str> = facts
        .processes
        .items()
        .iter()
        .filter_map(|p| p.package.as_deref())
        .collect();
    let mut surfaces = vec![Surface::Other; packages.len()];
    let mut queue = Vec::new();
    for (at, package) in packages.iter().enumerate() {
        if is_mail_software(&package.source) || served.contains(&*package.name) {
            surfaces[at] = Surface::Mail;
            queue.push(at);
        }
    }
    if queue.is_empty() {
        return surfaces;
    }
    let by_name = names(packages);
    let mapped = facts.processes.items().iter().flat_map(|p| p.maps.items());
    for at in mapped.filter_map(|name| by_name.get(&**name)).flatten() {
        reach(*at, &mut surfaces, &mut queue);
    }
    while let Some(at) = queue.pop() {
        for needed in packages[at]
            .depends
            .iter()
            .filter_map(|name| by_name.get(&**name))
            .flatten()
        {
            reach(*needed, &mut surfaces, &mut queue);
        }
    }
    surfaces
}

fn reach(at: usize, surfaces: &mut [Surface], queue: &mut Vec<usize>) {
    if surfaces[at] == Surface::Other {
        surfaces[at] = Surface::Dependency;
        queue.push(at);
    }
}

/// Packages by their own name and by every name they provide.
fn names(packages: &[InstalledPackage]) -> HashMap<&str, Vec<usize>> {
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::with_capacity(packages.len());
    for (at, package) in packages.iter().enumerate() {
        by_name.entry(&package.name).or_default().push(at);
        for provided in &package.provides {
            by_name.entry(provided).or_default().push(at);
        }
    }
    by_name
}
