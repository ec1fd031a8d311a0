//! An Ansible inventory in YAML form (docs.ansible.com, `ansible.builtin.yaml` inventory).

use std::collections::BTreeMap;
use std::fmt;

use mailkeep_model::Problem;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::ansible::Inventory;
use super::{ImportedHost, MAX_BYTES, Notes, too_large};

/// Deepest nesting read. Ten levels of groups, each three deep, with lists inside.
const MAX_DEPTH: usize = 64;

/// Reads an Ansible inventory in YAML form: `hosts`, `children`, `vars`, ranges of hosts, anchors and
/// merge keys. Aliases that multiply themselves are refused. Whatever else it says is named.
pub fn ansible_yaml(text: &str) -> (Vec<ImportedHost>, Vec<Problem>) {
    if let Some(refusal) = too_large(text) {
        return (Vec::new(), refusal);
    }
    let mut notes = Notes::default();
    let mut inventory = Inventory::default();
    match serde_saphyr::from_str_with_options::<Node>(text, options()) {
        Ok(Node::Map(groups)) => {
            for (name, group) in groups {
                read_group(&mut inventory, &name, group, &mut notes);
            }
        }
        Ok(Node::Null) => {}
        Ok(Node::Text(_) | Node::List(_)) => {
            notes.problem("inventory", "expected groups: a mapping, at its top");
        }
        Err(error) => notes.problem("inventory", format!("not YAML that is read: {error}")),
    }
    let hosts = inventory.into_hosts(&mut notes);
    (hosts, notes.finish())
}

fn options() -> serde_saphyr::Options {
    let budget = serde_saphyr::budget! {
        max_reader_input_bytes: Some(MAX_BYTES),
        max_depth: MAX_DEPTH,
        max_events: 4_000_000,
        max_nodes: 2_000_000,
        max_documents: 1,
        max_recorded_anchor_events: 100_000,
        // Hundreds of hosts that share one anchor are usual; what they may add up to is limited below.
        enforce_alias_anchor_ratio: false,
    };
    let mut options = serde_saphyr::options! { budget: budget };
    // Ten thousand hosts that share twenty variables replay 420,000.
    options.alias_limits.max_total_replayed_events = 500_000;
    options
}

fn read_group(inventory: &mut Inventory, name: &str, group: Node, notes: &mut Notes) {
    inventory.group(name);
    let parts = match group {
        Node::Null => return,
        Node::Map(parts) => parts,
        Node::Text(_) | Node::List(_) => {
            return notes.problem(format!("group {name}"), "expected a mapping");
        }
    };
    for (part, value) in parts {
        match (part.as_str(), value) {
            (_, Node::Null) => {}
            ("hosts", Node::Text(pattern)) => inventory.add(name, &pattern, &[], notes),
            ("hosts", Node::Map(hosts)) => {
                for (pattern, vars) in hosts {
                    read_host(inventory, name, &pattern, vars, notes);
                }
            }
            ("children", Node::Map(children)) => {
                for (child, group) in children {
                    inventory.child(name, &child);
                    read_group(inventory, &child, group, notes);
                }
            }
            ("vars", Node::Map(vars)) => {
                for (variable, value) in vars {
                    match value.into_text() {
                        Some(value) => inventory.group_var(name, &variable, value),
                        None => notes.unused(&format!("variable {variable}"), name),
                    }
                }
            }
            ("hosts" | "children" | "vars", Node::Text(_) | Node::List(_)) => {
                notes.problem(
                    format!("group {name}"),
                    format!("{part}: expected a mapping"),
                );
            }
            (other, _) => notes.unused(&format!("key {other}"), &format!("group {name}")),
        }
    }
}

fn read_host(inventory: &mut Inventory, group: &str, pattern: &str, vars: Node, notes: &mut Notes) {
    let mut texts = Vec::new();
    match vars {
        Node::Null => {}
        Node::Map(vars) => {
            for (variable, value) in vars {
                match value.into_text() {
                    Some(value) => texts.push((variable, value)),
                    None => notes.unused(&format!("variable {variable}"), pattern),
                }
            }
        }
        Node::Text(_) | Node::List(_) => {
            notes.problem(format!("host {pattern}"), "expected variables: a mapping");
        }
    }
    inventory.add(group, pattern, &texts, notes);
}

/// YAML as far as an inventory needs it.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Null,
    Text(String),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
}

impl Node {
    /// As the value of a variable: a text, or a list of texts with commas between.
    fn into_text(self) -> Option<String> {
        match self {
            Self::Null => Some(String::new()),
            Self::Text(text) => Some(text),
            Self::List(nodes) => {
                let texts = nodes.into_iter().map(Self::into_text);
                Some(texts.collect::<Option<Vec<_>>>()?.join(","))
            }
            Self::Map(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping, a list or a text")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = access.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut map = BTreeMap::new();
        while let Some(key) = access.next_key::<Node>()? {
            let Some(key) = key.into_text() else {
                return Err(A::Error::custom("a key must be a text"));
            };
            map.insert(key, access.next_value()?);
        }
        Ok(Node::Map(map))
    }
}
