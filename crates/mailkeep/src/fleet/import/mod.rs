//! Other inventories, read and written as a fleet file.
//!
//! [`ansible_ini`], [`ansible_yaml`] and [`csv()`] give hosts and name everything they did not use.
//! [`to_toml`] writes hosts as a fleet file, or as what is to be added to one.
//!
//! An Ansible group says nothing by itself of what it means here. It is kept as a comment beside
//! its hosts, unless a [`GroupRule`] says what it is: `region=emea:eu` makes every host of group
//! `emea` a host of region `eu`. Variables that begin with `mailkeep_` and end in a field of the fleet
//! file (`mailkeep_region`, `mailkeep_services`, ...) are taken as that field.

mod ansible;
mod ansible_ini;
mod ansible_yaml;
mod csv;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use mailkeep_model::{HostName, Lifecycle, Problem};

pub use ansible_ini::ansible_ini;
pub use ansible_yaml::ansible_yaml;
pub use csv::csv;
pub use write::to_toml;

/// Largest inventory read, in bytes.
pub const MAX_BYTES: usize = 32 << 20;

/// Most hosts read from one inventory; a range such as `mx[1:99999999]` must not fill the memory.
pub const MAX_HOSTS: usize = 200_000;

/// Problems kept of one inventory; the last says how many more there were.
const MAX_PROBLEMS: usize = 1_000;

/// A host of another inventory. Its names are as written there and fit for a fleet file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportedHost {
    /// Its name.
    pub name: String,
    /// Name or address to reach it by, where not its name.
    pub address: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Network zone.
    pub zone: Option<String>,
    /// Whether strangers reach its mail ports.
    pub exposed: Option<bool>,
    /// Services.
    pub services: BTreeSet<String>,
    /// Whether it runs.
    pub lifecycle: Lifecycle,
    /// Product family.
    pub family: Option<String>,
    /// Owning team.
    pub owner: Option<String>,
    /// SSH user.
    pub user: Option<String>,
    /// SSH port.
    pub port: Option<u16>,
    /// Jump hosts, nearest first.
    pub jump: Vec<String>,
    /// Groups it is in, by whatever path.
    pub groups: BTreeSet<String>,
}

/// What a group of the other inventory is in the fleet file: `service=mx_servers:inbound-mx`.
/// Without the second name the group's own is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRule {
    /// What it is.
    pub field: GroupField,
    /// The group's name.
    pub group: String,
    /// The name it gets.
    pub name: String,
}

/// What a group can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupField {
    /// A product family.
    Family,
    /// A region.
    Region,
    /// A service.
    Service,
    /// A zone.
    Zone,
}

impl GroupField {
    fn field(self) -> Field {
        match self {
            Self::Family => Field::Family,
            Self::Region => Field::Region,
            Self::Service => Field::Services,
            Self::Zone => Field::Zone,
        }
    }
}

/// A text that is no [`GroupRule`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} does not say what a group is: write family, region, service or zone, then =GROUP or =GROUP:NAME"
)]
pub struct InvalidGroupRule(String);

impl FromStr for GroupRule {
    type Err = InvalidGroupRule;
    fn from_str(text: &str) -> Result<Self, InvalidGroupRule> {
        let invalid = || InvalidGroupRule(text.to_owned());
        let (field, names) = text.split_once('=').ok_or_else(invalid)?;
        let field = match field.trim() {
            "family" => GroupField::Family,
            "region" => GroupField::Region,
            "service" => GroupField::Service,
            "zone" => GroupField::Zone,
            _ => return Err(invalid()),
        };
        let (group, name) = names.split_once(':').unwrap_or((names, names));
        let (group, name) = (group.trim(), name.trim());
        if group.is_empty() || name.is_empty() {
            return Err(invalid());
        }
        Ok(Self {
            field,
            group: group.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// Gives hosts the fields their groups stand for. A rule whose group no host is in, and a host that
/// two rules give different values, become a [`Problem`]; the first rule counts.
pub fn apply_groups(hosts: &mut [ImportedHost], rules: &[GroupRule]) -> Vec<Problem> {
    let mut notes = Notes::default();
    for rule in rules {
        let mut used = false;
        for host in hosts.iter_mut().filter(|h| h.groups.contains(&rule.group)) {
            used = true;
            let field = rule.field.field();
            let have = match rule.field {
                GroupField::Family => &host.family,
                GroupField::Region => &host.region,
                GroupField::Zone => &host.zone,
                GroupField::Service => &None,
            };
            match have {
                Some(have) if *have != rule.name => {
                    let reason = format!(
                        "group {} says {} {}, but it already has {have}",
                        rule.group,
                        field.name(),
                        rule.name
                    );
                    notes.problem(&host.name, reason);
                }
                Some(_) => {}
                None => {
                    if let Err(reason) = host.set(field, &rule.name) {
                        notes.problem(&host.name, reason);
                    }
                }
            }
        }
        if !used {
            notes.problem(&rule.group, "no host is in this group");
        }
    }
    notes.finish()
}

/// Entry point for fuzzing: any bytes under every reader. Checks that what was read is written as a
/// fleet file of the same hosts.
///
/// # Panics
///
/// Where that does not hold: it is what the fuzzer looks for.
pub fn fuzz(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Long ranges only take time: `x[1:99999]` is one thing to read and 99,999 to write.
    let digits_before = |part: &str| part.bytes().rev().take_while(u8::is_ascii_digit).count();
    if text.split(']').any(|part| digits_before(part) > 2) {
        return;
    }
    for read in [ansible_ini, ansible_yaml, csv] {
        let (hosts, _) = read(&text);
        if hosts.len() <= 300 {
            let written = to_toml(&hosts, None);
            let again = super::parse(&written).map(|(file, _)| file.fleet.hosts.len());
            assert!(
                again.as_ref().is_ok_and(|found| *found == hosts.len()),
                "{again:?} of {hosts:?}"
            );
        }
    }
}

/// The fields of a host, as CSV columns and `mailkeep_` variables name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Address,
    Exposed,
    Family,
    Jump,
    Lifecycle,
    Owner,
    Port,
    Region,
    Services,
    User,
    Zone,
}

impl Field {
    const ALL: [Self; 11] = [
        Self::Address,
        Self::Exposed,
        Self::Family,
        Self::Jump,
        Self::Lifecycle,
        Self::Owner,
        Self::Port,
        Self::Region,
        Self::Services,
        Self::User,
        Self::Zone,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Exposed => "exposed",
            Self::Family => "family",
            Self::Jump => "jump",
            Self::Lifecycle => "lifecycle",
            Self::Owner => "owner",
            Self::Port => "port",
            Self::Region => "region",
            Self::Services => "services",
            Self::User => "user",
            Self::Zone => "zone",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

impl ImportedHost {
    /// A host by its name; the reason where it cannot be one.
    fn named(name: &str) -> Result<Self, String> {
        one_word(name)?;
        HostName::new(name).map_err(|error| error.to_string())?;
        Ok(Self {
            name: name.to_owned(),
            ..Self::default()
        })
    }

    /// Sets a field from a text; an empty text is no value. The reason where the text is no value
    /// of that field.
    fn set(&mut self, field: Field, value: &str) -> Result<(), String> {
        let value = value.trim();
        if value.is_empty() {
            return Ok(());
        }
        let words = || {
            value
                .split([',', ';', '|', '+', ' ', '\t'])
                .filter(|word| !word.is_empty())
        };
        let said = |reason: String| format!("{} {value:?}: {reason}", field.name());
        let word = || {
            one_word(value).map_err(said)?;
            if value.len() > 255 {
                return Err(said("longer than 255 bytes".to_owned()));
            }
            Ok(Some(value.to_owned()))
        };
        match field {
            Field::Address => self.address = word()?,
            Field::Exposed => {
                self.exposed = Some(match value.to_ascii_lowercase().as_str() {
                    "true" | "yes" | "1" => true,
                    "false" | "no" | "0" => false,
                    _ => return Err(said("is neither true nor false".to_owned())),
                });
            }
            Field::Family => self.family = word()?,
            Field::Jump => {
                for hop in words() {
                    one_word(hop).map_err(said)?;
                }
                self.jump = words().map(str::to_owned).collect();
            }
            Field::Lifecycle => {
                self.lifecycle = match value.to_ascii_lowercase().as_str() {
                    "running" => Lifecycle::Running,
                    "decommissioned" => Lifecycle::Decommissioned,
                    _ => return Err(said("is neither running nor decommissioned".to_owned())),
                };
            }
            Field::Owner => self.owner = word()?,
            Field::Port => match value.parse() {
                Ok(port) if port > 0 => self.port = Some(port),
                Ok(_) | Err(_) => return Err(said("is no port, 1 to 65535".to_owned())),
            },
            Field::Region => self.region = word()?,
            Field::Services => {
                for service in words() {
                    one_word(service).map_err(said)?;
                    if service.len() > 255 {
                        return Err(said("longer than 255 bytes".to_owned()));
                    }
                }
                self.services.extend(words().map(str::to_owned));
            }
            Field::User => self.user = word()?,
            Field::Zone => self.zone = word()?,
        }
        Ok(())
    }
}

/// Refuses what a fleet file refuses: nothing, white space, control characters, a leading dash.
fn one_word(text: &str) -> Result<(), String> {
    let odd = |c: char| c.is_whitespace() || mailkeep_model::text::is_unsafe(c);
    if text.is_empty() {
        Err("must not be empty".to_owned())
    } else if text.starts_with('-') {
        Err("must not begin with a dash: ssh would take it for an option".to_owned())
    } else if text.contains(odd) {
        Err("must not contain white space or control characters".to_owned())
    } else {
        Ok(())
    }
}

/// What is to be told of an inventory: problems one by one, unused variables once each.
#[derive(Debug, Default)]
struct Notes {
    problems: Vec<Problem>,
    more: usize,
    unused: BTreeMap<String, (usize, String)>,
}

impl Notes {
    fn problem(&mut self, record: impl fmt::Display, reason: impl AsRef<str>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem::new(record.to_string(), reason));
        } else {
            self.more += 1;
        }
    }

    /// A field or variable that is not used, on a host or group.
    fn unused(&mut self, what: &str, on: &str) {
        if let Some((count, _)) = self.unused.get_mut(what) {
            *count += 1;
        } else if self.unused.len() < MAX_PROBLEMS {
            self.unused.insert(what.to_owned(), (1, on.to_owned()));
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<Problem> {
        for (what, (count, first)) in self.unused {
            let reason = match count {
                1 => format!("not used ({first})"),
                _ => format!("not used ({count} times, first {first})"),
            };
            self.problems.push(Problem::new(what, reason));
        }
        if self.more > 0 {
            let reason = format!("{} more problems are not listed", self.more);
            self.problems.push(Problem::new("inventory", reason));
        }
        self.problems
    }
}

/// The refusal of an inventory too large to read.
fn too_large(text: &str) -> Option<Vec<Problem>> {
    (text.len() > MAX_BYTES).then(|| {
        let reason = format!(
            "{} bytes, more than the {MAX_BYTES} that are read",
            text.len()
        );
        vec![Problem::new("inventory", reason)]
    })
}

#[cfg(test)]
mod tests;
