//! Which room may use which: the table of DESIGN.md, "The rooms", held against `cargo metadata`.
//!
//! Entry: [`check`]. A direct edge must be in the table; a pure room must not reach an async runtime,
//! an HTTP client or a database over any number of edges; `shield` must not reach `store` or `reach`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use serde::Deserialize;

use super::{Breach, TidyError};

/// What a room may use besides the crates of others.
#[derive(Debug, Clone, Copy)]
enum MayUse {
    /// These rooms.
    Rooms(&'static [&'static str]),
    /// The pure rooms and these.
    PureAnd(&'static [&'static str]),
    /// Every room but these.
    AllBut(&'static [&'static str]),
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
struct Room {
    name: &'static str,
    pure: bool,
    may_use: MayUse,
}

const fn pure(name: &'static str, may_use: &'static [&'static str]) -> Room {
    Room {
        name,
        pure: true,
        may_use: MayUse::Rooms(may_use),
    }
}

const fn room(name: &'static str, may_use: MayUse) -> Room {
    Room {
        name,
        pure: false,
        may_use,
    }
}

/// The table of DESIGN.md, "The rooms", in its order. `xtask` and its benchmarks are no rooms; they
/// stand last because the benchmarks measure the rooms.
const ROOMS: &[Room] = &[
    pure("model", &[]),
    pure("facts", &["model"]),
    pure("advisory", &["model"]),
    pure("matcher", &["model"]),
    pure("triage", &["model"]),
    pure("plan", &["model"]),
    pure("audit", &["model"]),
    pure("wire", &["model"]),
    pure("inspect", &["model"]),
    room("store", MayUse::Rooms(&["model"])),
    room("reach", MayUse::Rooms(&["model"])),
    room("rollout", MayUse::Rooms(&["model", "store", "reach"])),
    room("shield", MayUse::Rooms(&["model", "wire", "inspect"])),
    room("drill", MayUse::PureAnd(&["store", "reach", "rollout"])),
    room("web", MayUse::Rooms(&["model", "store"])),
    room("mailkeep", MayUse::AllBut(&["shield", "xtask"])),
    room("xtask", MayUse::AllBut(&["shield", "mailkeep"])),
    room(
        "xtask-bench",
        MayUse::AllBut(&["shield", "mailkeep", "xtask"]),
    ),
];

/// Crates by which a pure room would gain a runtime, a network or a database.
const IMPURE: &[&str] = &[
    "async-std",
    "hyper",
    "openssl",
    "reqwest",
    "rusqlite",
    "smol",
    "tokio",
    "ureq",
];

/// Rooms that `shield` must not reach over any number of edges: it faces strangers, so it holds no
/// key and no database.
const KEPT_FROM_SHIELD: &[&str] = &["mailkeep-reach", "mailkeep-store"];

/// The part of `cargo metadata --format-version 1` that the rules need.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// Every package of the graph.
    pub packages: Vec<Package>,
    /// Ids of those that live in the workspace.
    pub workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

/// One package.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Cargo's opaque id.
    pub id: String,
    /// Where its `Cargo.toml` lies.
    pub manifest_path: String,
    /// Its libraries and programs.
    #[serde(default)]
    pub targets: Vec<Target>,
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

/// One library, program or test of a package.
#[derive(Debug, Deserialize)]
pub struct Target {
    /// `lib`, `bin`, `test`, `proc-macro`...
    pub kind: Vec<String>,
    /// Its root file.
    pub src_path: String,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `null` is an ordinary dependency; else `dev` or `build`.
    kind: Option<String>,
    /// Set for a dependency inside the workspace.
    path: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<NodeDependency>,
}

#[derive(Debug, Deserialize)]
struct NodeDependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Debug, Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Metadata {
    /// Asks cargo.
    pub fn of_workspace(root: &Path) -> Result<Self, TidyError> {
        let output = crate::cargo()
            .args(["metadata", "--format-version", "1"])
            .current_dir(root)
            .output()
            .map_err(|error| TidyError::Metadata(error.to_string()))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(TidyError::Metadata(text.trim().to_owned()));
        }
        serde_json::from_slice(&output.stdout).map_err(TidyError::Unexpected)
    }

    /// The workspace's own packages, by name.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
    }
}

/// Every forbidden edge, direct and over others.
pub fn check(metadata: &Metadata) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let reached = Reach::new(metadata);
    for package in metadata.members() {
        let Some(room) = room_of(&package.name) else {
            breaches.push(Breach {
                rule: "room",
                place: package.name.clone(),
                what: "is no room of DESIGN.md's table; a new room needs a decision record and a \
                       line in xtask/src/tidy/edges.rs"
                    .to_owned(),
            });
            continue;
        };
        for dependency in &package.dependencies {
            breaches.extend(check_edge(room, package, dependency));
        }
        if room.pure {
            for forbidden in IMPURE {
                breaches.extend(reached.path(&package.id, forbidden).map(|path| Breach {
                    rule: "impure",
                    place: package.name.clone(),
                    what: format!("a pure room must not link {forbidden}: {path}"),
                }));
            }
        }
        if room.name == "shield" {
            for forbidden in KEPT_FROM_SHIELD {
                breaches.extend(reached.path(&package.id, forbidden).map(|path| Breach {
                    rule: "shield",
                    place: package.name.clone(),
                    what: format!("shield must hold no key and no database: {path}"),
                }));
            }
        }
    }
    breaches
}

fn check_edge(from: &Room, package: &Package, dependency: &Dependency) -> Option<Breach> {
    dependency.path.as_ref()?;
    let kind = dependency.kind.as_deref();
    let why = match room_of(&dependency.name) {
        None => "which is no room of DESIGN.md's table",
        Some(to) if allows(from, to) => return None,
        Some(to) if kind == Some("dev") && allows_in_tests(from, to) => return None,
        Some(_) => "which DESIGN.md's table of rooms does not allow",
    };
    let by = match kind {
        None => "depends on".to_owned(),
        Some(kind) => format!("{kind}-depends on"),
    };
    Some(Breach {
        rule: "edge",
        place: package.name.clone(),
        what: format!("{by} {}, {why}", dependency.name),
    })
}

fn allows(from: &Room, to: &Room) -> bool {
    match from.may_use {
        MayUse::Rooms(rooms) => rooms.contains(&to.name),
        MayUse::PureAnd(rooms) => to.pure || rooms.contains(&to.name),
        MayUse::AllBut(rooms) => !rooms.contains(&to.name),
    }
}

/// Tests may use more: any room the simulated fleet, a pure room any other pure one, and the two
/// programs the lab that lives in `xtask`.
fn allows_in_tests(from: &Room, to: &Room) -> bool {
    let is_program = matches!(from.name, "mailkeep" | "shield");
    to.name == "drill" || (from.pure && to.pure) || (is_program && to.name == "xtask")
}

/// The room of a workspace package: `mailkeep-facts` is `facts`.
fn room_of(package: &str) -> Option<&'static Room> {
    let name = match package {
        "mailkeep" | "xtask" | "xtask-bench" => package,
        other => other.strip_prefix("mailkeep-")?,
    };
    ROOMS.iter().find(|room| room.name == name)
}

/// The resolved graph without the edges that only tests take.
struct Reach<'a> {
    names: BTreeMap<&'a str, &'a str>,
    edges: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Reach<'a> {
    fn new(metadata: &'a Metadata) -> Self {
        let names = metadata
            .packages
            .iter()
            .map(|package| (package.id.as_str(), package.name.as_str()))
            .collect();
        let edges = metadata
            .resolve
            .nodes
            .iter()
            .map(|node| {
                let linked = node.deps.iter().filter(|dependency| {
                    dependency
                        .dep_kinds
                        .iter()
                        .any(|kind| kind.kind.as_deref() != Some("dev"))
                });
                let to = linked.map(|dependency| dependency.pkg.as_str()).collect();
                (node.id.as_str(), to)
            })
            .collect();
        Self { names, edges }
    }

    /// The shortest chain from a package to one of that name, for the message.
    fn path(&self, from: &'a str, name: &str) -> Option<String> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            if at != from && self.names.get(at) == Some(&name) {
                let mut chain = vec![name];
                let mut step = at;
                while let Some(previous) = came_from.get(step) {
                    chain.push(self.names.get(previous).copied().unwrap_or(previous));
                    if *previous == from {
                        break;
                    }
                    step = previous;
                }
                chain.reverse();
                return Some(chain.join(" -> "));
            }
            for next in self.edges.get(at).into_iter().flatten() {
                if *next != from && !came_from.contains_key(next) {
                    came_from.insert(next, at);
                    queue.push_back(next);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Metadata of a workspace with these edges: `(from, to, kind)`. Names that start with `mailkeep`
    /// and `xtask` are in the workspace, all others are crates of others.
    fn workspace(edges: &[(&str, &str, Option<&str>)]) -> Metadata {
        let ours = |name: &str| name.starts_with("mailkeep") || name == "xtask";
        let names: BTreeSet<&str> = edges.iter().flat_map(|edge| [edge.0, edge.1]).collect();
        let packages: Vec<_> = names
            .iter()
            .map(|name| {
                let dependencies: Vec<_> = edges
                    .iter()
                    .filter(|edge| edge.0 == *name)
                    .map(|(_, to, kind)| json!({"name": to, "kind": kind, "path": ours(to).then_some("x")}))
                    .collect();
                json!({"name": name, "id": name, "manifest_path": "", "dependencies": dependencies})
            })
            .collect();
        let nodes: Vec<_> = names
            .iter()
            .map(|name| {
                let deps: Vec<_> = edges
                    .iter()
                    .filter(|edge| edge.0 == *name)
                    .map(|(_, to, kind)| json!({"pkg": to, "dep_kinds": [{"kind": kind}]}))
                    .collect();
                json!({"id": name, "deps": deps})
            })
            .collect();
        let members: Vec<_> = names.iter().filter(|name| ours(name)).collect();
        serde_json::from_value(json!({
            "packages": packages, "workspace_members": members, "resolve": {"nodes": nodes},
        }))
        .unwrap()
    }

    fn check_edges(edges: &[(&str, &str, Option<&str>)], expected: &[&str]) {
        let found: Vec<String> = check(&workspace(edges))
            .iter()
            .map(Breach::to_string)
            .collect();
        assert_eq!(found, expected, "{edges:?}");
    }

    #[test]
    fn the_edges_of_the_table_are_allowed() {
        check_edges(
            &[
                ("mailkeep", "mailkeep-store", None),
                ("mailkeep", "mailkeep-drill", None),
                ("mailkeep-facts", "mailkeep-model", None),
                ("mailkeep-rollout", "mailkeep-reach", None),
                ("mailkeep-drill", "mailkeep-plan", None),
                ("mailkeep-shield", "mailkeep-wire", None),
                ("mailkeep-store", "rusqlite", None),
                ("xtask", "mailkeep-matcher", None),
            ],
            &[],
        );
    }

    #[test]
    fn a_forbidden_edge_is_refused() {
        let refused = "which DESIGN.md's table of rooms does not allow";
        for (from, to) in [
            ("mailkeep-facts", "mailkeep-advisory"),
            ("mailkeep-store", "mailkeep-reach"),
            ("mailkeep", "mailkeep-shield"),
            ("mailkeep", "xtask"),
            ("mailkeep-web", "mailkeep-reach"),
        ] {
            let expected = format!("edge: {from}: depends on {to}, {refused}");
            check_edges(&[(from, to, None)], &[&expected]);
            let expected = format!("edge: {from}: build-depends on {to}, {refused}");
            check_edges(&[(from, to, Some("build"))], &[&expected]);
        }
    }

    #[test]
    fn tests_may_use_the_drill_and_the_lab() {
        check_edges(
            &[
                ("mailkeep-rollout", "mailkeep-drill", Some("dev")),
                ("mailkeep", "xtask", Some("dev")),
                ("mailkeep-shield", "xtask", Some("dev")),
                ("mailkeep-triage", "mailkeep-advisory", Some("dev")),
                ("mailkeep-facts", "tokio", Some("dev")),
            ],
            &[],
        );
        check_edges(
            &[("mailkeep-store", "mailkeep-reach", Some("dev"))],
            &[
                "edge: mailkeep-store: dev-depends on mailkeep-reach, which DESIGN.md's table of \
               rooms does not allow",
            ],
        );
    }

    #[test]
    fn a_package_outside_the_table_is_refused() {
        check_edges(
            &[("mailkeep", "mailkeep-attic", None)],
            &[
                "edge: mailkeep: depends on mailkeep-attic, which is no room of DESIGN.md's table",
                "room: mailkeep-attic: is no room of DESIGN.md's table; a new room needs a decision \
             record and a line in xtask/src/tidy/edges.rs",
            ],
        );
    }

    #[test]
    fn a_pure_room_reaches_no_runtime_over_any_number_of_edges() {
        check_edges(
            &[
                ("mailkeep-advisory", "feedlib", None),
                ("feedlib", "netlib", None),
                ("netlib", "tokio", None),
                ("mailkeep-matcher", "testlib", Some("dev")),
                ("testlib", "tokio", None),
            ],
            &[
                "impure: mailkeep-advisory: a pure room must not link tokio: \
               mailkeep-advisory -> feedlib -> netlib -> tokio",
            ],
        );
    }

    #[test]
    fn shield_links_neither_store_nor_reach_even_through_another() {
        check_edges(
            &[
                ("mailkeep-shield", "somelib", None),
                ("somelib", "mailkeep-store", None),
            ],
            &[
                "shield: mailkeep-shield: shield must hold no key and no database: \
               mailkeep-shield -> somelib -> mailkeep-store",
            ],
        );
    }
}
