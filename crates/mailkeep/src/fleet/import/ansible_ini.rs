//! An Ansible inventory in INI form (docs.ansible.com, `ansible.builtin.ini` inventory).

use mailkeep_model::Problem;

use super::ansible::{Inventory, split_words};
use super::{ImportedHost, Notes, too_large};

/// Which part of the file a line stands in.
enum Part {
    Hosts(String),
    Children(String),
    Vars(String),
    /// Under a heading that could not be read: named once, its lines passed over.
    Unknown,
}

/// Reads an Ansible inventory in INI form: groups, `:children`, `:vars`, ranges of hosts,
/// connection variables, `ProxyJump` among the SSH arguments. Whatever else it says is named.
pub fn ansible_ini(text: &str) -> (Vec<ImportedHost>, Vec<Problem>) {
    if let Some(refusal) = too_large(text) {
        return (Vec::new(), refusal);
    }
    let mut notes = Notes::default();
    let mut inventory = Inventory::default();
    let mut part = Part::Hosts("ungrouped".to_owned());
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(heading) = line.strip_prefix('[')
            && !matches!(part, Part::Hosts(_) if is_address(heading))
        {
            part = match read_heading(heading) {
                Ok(part) => part,
                Err(reason) => {
                    notes.problem(format!("line {number}"), reason);
                    Part::Unknown
                }
            };
            if let Part::Hosts(group) | Part::Children(group) | Part::Vars(group) = &part {
                inventory.group(group);
            }
            continue;
        }
        let read = match &part {
            Part::Hosts(group) => read_host(&mut inventory, group, line, &mut notes),
            Part::Children(group) => read_child(&mut inventory, group, line),
            Part::Vars(group) => read_var(&mut inventory, group, line),
            Part::Unknown => {
                Err("passed over: it stands under a heading that is not understood".into())
            }
        };
        if let Err(reason) = read {
            notes.problem(format!("line {number}"), reason);
        }
    }
    let hosts = inventory.into_hosts(&mut notes);
    (hosts, notes.finish())
}

/// Whether what follows a `[` is an IPv6 address of a host rather than a heading.
fn is_address(heading: &str) -> bool {
    heading
        .split_once(']')
        .is_some_and(|(inside, _)| inside.parse::<std::net::Ipv6Addr>().is_ok())
}

fn read_heading(heading: &str) -> Result<Part, String> {
    let Some((name, rest)) = heading.split_once(']') else {
        return Err("a heading is not closed".to_owned());
    };
    if !rest.trim().is_empty() && !rest.trim_start().starts_with(['#', ';']) {
        return Err("there is more after a heading".to_owned());
    }
    let name = name.trim();
    let (group, kind) = name.split_once(':').unwrap_or((name, ""));
    if group.is_empty() {
        return Err("a heading without a group".to_owned());
    }
    let group = group.to_owned();
    match kind {
        "" => Ok(Part::Hosts(group)),
        "children" => Ok(Part::Children(group)),
        "vars" => Ok(Part::Vars(group)),
        other => Err(format!(
            "a heading ends in :{other}; only :children and :vars are known"
        )),
    }
}

fn read_host(
    inventory: &mut Inventory,
    group: &str,
    line: &str,
    notes: &mut Notes,
) -> Result<(), String> {
    let mut words = split_words(line)?.into_iter();
    let Some(pattern) = words.next() else {
        return Ok(());
    };
    let mut vars = Vec::new();
    // `host:2222` names a port; a range has its colons inside brackets.
    let pattern = match pattern.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit())
                && !port.is_empty()
                && (!name.contains(':') || name.ends_with(']') || !name.contains("::"))
                && name.matches('[').count() == name.matches(']').count()
                && !is_bare_ipv6(&pattern) =>
        {
            vars.push(("ansible_port".to_owned(), port.to_owned()));
            name.to_owned()
        }
        _ => pattern,
    };
    for word in words {
        match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                vars.push((name.to_owned(), value.to_owned()));
            }
            _ => notes.problem(
                format!("host {pattern}"),
                format!("{word:?} is no variable: expected name=value"),
            ),
        }
    }
    inventory.add(group, &pattern, &vars, notes);
    Ok(())
}

fn is_bare_ipv6(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

fn read_child(inventory: &mut Inventory, group: &str, line: &str) -> Result<(), String> {
    let words = split_words(line)?;
    match words.as_slice() {
        [child] => {
            inventory.child(group, child);
            Ok(())
        }
        _ => Err("expected one group".to_owned()),
    }
}

fn read_var(inventory: &mut Inventory, group: &str, line: &str) -> Result<(), String> {
    let Some((name, value)) = line.split_once('=') else {
        return Err("expected name = value".to_owned());
    };
    let value = value.trim();
    let quoted = ['"', '\'']
        .into_iter()
        .find_map(|q| value.strip_prefix(q)?.strip_suffix(q));
    inventory.group_var(group, name.trim(), quoted.unwrap_or(value).to_owned());
    Ok(())
}
