//! What both forms of an Ansible inventory share: groups and their members, variables and their
//! precedence, host name patterns.
//!
//! Precedence (docs.ansible.com, "How variables are merged"): `all`, then parent groups, then child
//! groups, those of one depth by name, the host last.

use std::collections::{BTreeMap, BTreeSet};

use super::{Field, ImportedHost, MAX_HOSTS, Notes};

/// Deepest nesting of groups.
const MAX_DEPTH: usize = 64;

/// Steps spent on one inventory: each host of each group and each variable is one. A hundred thousand
/// hosts, each in twenty groups and with fifty variables, take seven million.
const MAX_STEPS: usize = 10_000_000;

/// An inventory as read, before variables are merged.
#[derive(Debug)]
pub(super) struct Inventory {
    hosts: BTreeMap<String, Entry>,
    groups: BTreeMap<String, Group>,
    steps_left: usize,
}

impl Default for Inventory {
    fn default() -> Self {
        Self {
            hosts: BTreeMap::new(),
            groups: BTreeMap::new(),
            steps_left: MAX_STEPS,
        }
    }
}

#[derive(Debug, Default)]
struct Entry {
    vars: BTreeMap<String, String>,
    groups: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Group {
    vars: BTreeMap<String, String>,
    parents: BTreeSet<String>,
}

impl Inventory {
    /// Declares a group.
    pub(super) fn group(&mut self, name: &str) {
        self.groups.entry(name.to_owned()).or_default();
    }

    /// Makes one group the child of another.
    pub(super) fn child(&mut self, parent: &str, child: &str) {
        self.group(parent);
        let entry = self.groups.entry(child.to_owned()).or_default();
        entry.parents.insert(parent.to_owned());
    }

    /// Gives a group a variable.
    pub(super) fn group_var(&mut self, group: &str, name: &str, value: String) {
        let entry = self.groups.entry(group.to_owned()).or_default();
        entry.vars.insert(name.to_owned(), value);
    }

    /// Adds the hosts a pattern stands for to a group, with variables.
    pub(super) fn add(
        &mut self,
        group: &str,
        pattern: &str,
        vars: &[(String, String)],
        notes: &mut Notes,
    ) {
        let room = MAX_HOSTS.saturating_sub(self.hosts.len());
        let names = match expand(pattern, room) {
            Ok(names) => names,
            Err(reason) => return notes.problem(pattern, reason),
        };
        for name in names {
            if !self.spend(1 + vars.len()) {
                return notes.problem(pattern, TOO_MUCH);
            }
            let entry = self.hosts.entry(name).or_default();
            if !matches!(group, "all" | "ungrouped") {
                entry.groups.insert(group.to_owned());
            }
            for (name, value) in vars {
                entry.vars.insert(name.clone(), value.clone());
            }
        }
    }

    fn spend(&mut self, steps: usize) -> bool {
        let left = self.steps_left.checked_sub(steps);
        self.steps_left = left.unwrap_or(0);
        left.is_some()
    }

    /// The hosts, each with the variables that hold for it.
    pub(super) fn into_hosts(mut self, notes: &mut Notes) -> Vec<ImportedHost> {
        let depths = self.depths(notes);
        let mut ancestors: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut hosts = Vec::new();
        let mut lower = BTreeMap::new();
        for (name, entry) in std::mem::take(&mut self.hosts) {
            let mut host = match ImportedHost::named(&name) {
                Ok(host) => host,
                Err(reason) => {
                    notes.problem(format!("host {name}"), reason);
                    continue;
                }
            };
            if let Some(other) = lower.insert(name.to_lowercase(), name.clone()) {
                let reason = format!("left out: {other} is the same name but for capitals");
                notes.problem(format!("host {name}"), reason);
                lower.insert(name.to_lowercase(), other);
                continue;
            }
            let mut groups = BTreeSet::new();
            for group in &entry.groups {
                if !ancestors.contains_key(group) {
                    ancestors.insert(group.clone(), self.with_ancestors(group));
                }
                groups.extend(ancestors.get(group).into_iter().flatten().cloned());
            }
            groups.remove("all");
            // Deeper groups speak later, and the host last.
            let depth = |name: &String| depths.get(name).copied().unwrap_or(0);
            let mut order: Vec<_> = groups.iter().map(|name| (depth(name), name)).collect();
            order.sort_unstable();
            let all = self.groups.get("all").into_iter();
            let tables: Vec<_> = all
                .chain(order.iter().filter_map(|(_, name)| self.groups.get(*name)))
                .map(|group| &group.vars)
                .chain([&entry.vars])
                .collect();
            let steps: usize = tables.iter().map(|vars| 1 + vars.len()).sum();
            let vars: BTreeMap<&str, &str> = tables
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            for (variable, value) in vars {
                host.take_variable(variable, value, notes);
            }
            host.groups = groups;
            if host.address.as_deref() == Some(&name) {
                host.address = None;
            }
            hosts.push(host);
            if !self.spend(steps) {
                notes.problem("inventory", TOO_MUCH);
                break;
            }
        }
        hosts
    }

    /// A group and all above it.
    fn with_ancestors(&self, name: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::from([name.to_owned()]);
        let mut waiting = vec![name.to_owned()];
        while let Some(next) = waiting.pop() {
            for parent in self.groups.get(&next).into_iter().flat_map(|g| &g.parents) {
                if found.insert(parent.clone()) {
                    waiting.push(parent.clone());
                }
            }
        }
        found
    }

    /// Every group's longest distance from the top, by repeated relaxation; what still grows after
    /// so many rounds is a ring.
    fn depths(&self, notes: &mut Notes) -> BTreeMap<String, usize> {
        let mut depths: BTreeMap<String, usize> = BTreeMap::new();
        for round in 0..=MAX_DEPTH {
            let mut grown = None;
            for (name, group) in &self.groups {
                let above = |parent| depths.get(parent).copied().unwrap_or(0) + 1;
                let depth = group.parents.iter().map(above).max().unwrap_or(0);
                if depths.get(name).is_none_or(|have| depth > *have) {
                    depths.insert(name.clone(), depth);
                    if depth > 0 {
                        grown = Some(name);
                    }
                }
            }
            match grown {
                None => break,
                Some(name) if round == MAX_DEPTH => notes.problem(
                    format!("group {name}"),
                    "groups contain each other, or are nested too deeply",
                ),
                Some(_) => {}
            }
        }
        depths
    }
}

impl ImportedHost {
    fn take_variable(&mut self, variable: &str, value: &str, notes: &mut Notes) {
        let field = match variable {
            "ansible_host" | "ansible_ssh_host" => Some(Field::Address),
            "ansible_port" | "ansible_ssh_port" => Some(Field::Port),
            "ansible_user" | "ansible_ssh_user" => Some(Field::User),
            "ansible_ssh_common_args" | "ansible_ssh_extra_args" => {
                return self.take_ssh_args(variable, value, notes);
            }
            _ => variable.strip_prefix("mailkeep_").and_then(Field::named),
        };
        match field {
            None => notes.unused(&format!("variable {variable}"), &self.name),
            Some(_) if value.contains("{{") => notes.problem(
                format!("host {}", self.name),
                format!("{variable} is a template, which only Ansible can fill in"),
            ),
            Some(field) => {
                if let Err(reason) = self.set(field, value) {
                    notes.problem(format!("host {}", self.name), reason);
                }
            }
        }
    }

    /// `-J HOPS` and `-o ProxyJump=HOPS` are used; any other option is named.
    fn take_ssh_args(&mut self, variable: &str, value: &str, notes: &mut Notes) {
        let words = match split_words(value) {
            Ok(words) => words,
            Err(reason) => {
                return notes.problem(
                    format!("host {}", self.name),
                    format!("{variable}: {reason}"),
                );
            }
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let option = match word.as_str() {
                "-J" => words.next().map(|hops| format!("ProxyJump={hops}")),
                "-o" => words.next(),
                _ => word
                    .strip_prefix("-o")
                    .map(str::to_owned)
                    .or_else(|| Some(format!("ProxyJump={}", word.strip_prefix("-J")?))),
            };
            let hops = option.as_deref().and_then(|option| {
                let (name, value) = option.split_once(['=', ' '])?;
                name.eq_ignore_ascii_case("ProxyJump").then_some(value)
            });
            match hops {
                Some(hops) => {
                    if let Err(reason) = self.set(Field::Jump, hops) {
                        notes.problem(format!("host {}", self.name), reason);
                    }
                }
                None => notes.unused(
                    &format!("ssh option {}", option.as_deref().unwrap_or(&word)),
                    &self.name,
                ),
            }
        }
    }
}

/// The refusal of an inventory whose hosts, groups and variables multiply.
const TOO_MUCH: &str = "hosts, groups and variables multiply to more than is read";

/// Splits a line into words as a shell does: white space, quotes, backslashes, and `#` at the
/// beginning of a word, from which on it is a comment.
pub(super) fn split_words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                let next = chars.next().unwrap_or('\\');
                word.get_or_insert_default().push(next);
            }
            (c, Some(end)) if c == end => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => break,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quotation mark is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

/// The names a pattern stands for: `mx[01:03].example.org`, `db-[a:c]`, `n[0:10:5]`. Numbers keep the
/// width of the first (docs.ansible.com, "Adding ranges of hosts").
fn expand(pattern: &str, room: usize) -> Result<Vec<String>, String> {
    let mut names = vec![String::new()];
    let mut rest = pattern;
    let fits = |count: usize| {
        if count > room {
            Err(format!(
                "stands for more than the {MAX_HOSTS} hosts that are read"
            ))
        } else {
            Ok(())
        }
    };
    fits(1)?;
    while let Some((before, after)) = rest.split_once('[') {
        let Some((range, after)) = after.split_once(']') else {
            return Err("a [ is not closed".to_owned());
        };
        // An IPv6 address in brackets is no range.
        if range.matches(':').count() > 2 || range.contains("::") {
            push_all(&mut names, &format!("{before}{range}"));
            rest = after;
            continue;
        }
        push_all(&mut names, before);
        let values = range_values(range, room)?;
        fits(names.len().saturating_mul(values.len()))?;
        names = names
            .iter()
            .flat_map(|name| values.iter().map(move |value| format!("{name}{value}")))
            .collect();
        rest = after;
    }
    push_all(&mut names, rest);
    Ok(names)
}

fn push_all(names: &mut [String], text: &str) {
    for name in names {
        name.push_str(text);
    }
}

fn range_values(range: &str, room: usize) -> Result<Vec<String>, String> {
    let wrong = || format!("[{range}] is no range: write [01:12], [a:f] or [0:10:5]");
    let mut parts = range.split(':');
    let (Some(first), Some(last)) = (parts.next(), parts.next()) else {
        return Err(wrong());
    };
    let step: usize = match parts.next().map(str::parse) {
        None => 1,
        Some(Ok(step)) if step > 0 => step,
        Some(_) => return Err(wrong()),
    };
    let letter = |text: &str| {
        let mut chars = text.chars();
        let c = chars.next().filter(char::is_ascii_alphabetic)?;
        chars.next().is_none().then_some(c)
    };
    if let (Some(first), Some(last)) = (letter(first), letter(last)) {
        if first > last {
            return Err(wrong());
        }
        return Ok((first..=last).step_by(step).map(String::from).collect());
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return Err(wrong());
    }
    let width = if first.starts_with('0') {
        first.len()
    } else {
        0
    };
    let (Ok(from), Ok(to)) = (first.parse::<u64>(), last.parse::<u64>()) else {
        return Err(wrong());
    };
    if from > to || width > 20 {
        return Err(wrong());
    }
    let count = (to - from) / u64::try_from(step).unwrap_or(u64::MAX);
    if count >= u64::try_from(room).unwrap_or(u64::MAX) {
        return Err(format!(
            "stands for more than the {MAX_HOSTS} hosts that are read"
        ));
    }
    Ok((from..=to)
        .step_by(step)
        .map(|number| format!("{number:0width$}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_groups_and_variables_do_not_multiply_without_end() {
        let mut inventory = Inventory {
            steps_left: 1_000,
            ..Inventory::default()
        };
        let mut notes = Notes::default();
        for parent in 0..50 {
            inventory.child(&format!("p{parent}"), "g");
        }
        inventory.add("g", "mx[1:100]", &[], &mut notes);
        let hosts = inventory.into_hosts(&mut notes);
        assert!((10..30).contains(&hosts.len()), "{}", hosts.len());
        assert_eq!(hosts[0].groups.len(), 51);
        assert_eq!(notes.finish()[0].reason, TOO_MUCH);
    }
}
