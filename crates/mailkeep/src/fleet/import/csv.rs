//! Hosts from a table: comma- or semicolon-separated values with a header line (RFC 4180).

use std::collections::BTreeMap;

use mailkeep_model::Problem;

use super::{Field, ImportedHost, MAX_HOSTS, Notes, too_large};

/// Reads a table of hosts. The header names the columns: `name` is needed; `address`, `region`,
/// `zone`, `exposed`, `services`, `lifecycle`, `family`, `owner`, `user`, `port` and `jump` are
/// used; any other is named. Columns are separated by comma, semicolon or tab, whichever the header
/// has most of. Several services stand in one cell, with spaces or any other separator between.
pub fn csv(text: &str) -> (Vec<ImportedHost>, Vec<Problem>) {
    if let Some(refusal) = too_large(text) {
        return (Vec::new(), refusal);
    }
    let mut notes = Notes::default();
    let hosts = read(text, &mut notes);
    (hosts, notes.finish())
}

fn read(text: &str, notes: &mut Notes) -> Vec<ImportedHost> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let header = text.lines().next().unwrap_or("");
    let delimiter = [b',', b';', b'\t']
        .into_iter()
        .rev()
        .max_by_key(|d| header.bytes().filter(|b| b == d).count())
        .unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let columns = match reader.headers() {
        Ok(header) => columns(header, notes),
        Err(error) => {
            notes.problem("header", error.to_string());
            return Vec::new();
        }
    };
    if !columns.contains(&Column::Name) {
        notes.problem("header", "there is no column called name");
        return Vec::new();
    }

    let mut hosts: Vec<ImportedHost> = Vec::new();
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                notes.problem(format!("line {line}"), error.to_string());
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().all(str::is_empty) {
            continue;
        }
        if hosts.len() >= MAX_HOSTS {
            let reason = format!("more than the {MAX_HOSTS} hosts that are read");
            notes.problem(format!("line {line}"), reason);
            break;
        }
        if record.len() > columns.len() {
            let reason = format!("{} cells for {} columns", record.len(), columns.len());
            notes.problem(format!("line {line}"), reason);
        }
        let cells = || columns.iter().zip(&record);
        let name = cells().find(|(column, _)| **column == Column::Name);
        let mut host = match ImportedHost::named(name.map_or("", |(_, cell)| cell)) {
            Ok(host) => host,
            Err(reason) => {
                notes.problem(format!("line {line}"), format!("name: {reason}"));
                continue;
            }
        };
        if let Some(first) = lines.get(&host.name.to_lowercase()) {
            let reason = format!("left out: host {} is on line {first} already", host.name);
            notes.problem(format!("line {line}"), reason);
            continue;
        }
        lines.insert(host.name.to_lowercase(), line);
        for (column, cell) in cells() {
            if let Column::Field(field) = column
                && let Err(reason) = host.set(*field, cell)
            {
                notes.problem(format!("line {line}"), reason);
            }
        }
        hosts.push(host);
    }
    hosts
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    Field(Field),
    Unused,
}

fn columns(header: &csv::StringRecord, notes: &mut Notes) -> Vec<Column> {
    let mut columns = Vec::new();
    for title in header {
        let lower = title.to_ascii_lowercase();
        let column = match lower.as_str() {
            "name" | "host" | "hostname" => Column::Name,
            "service" => Column::Field(Field::Services),
            other => Field::named(other).map_or(Column::Unused, Column::Field),
        };
        if column == Column::Unused {
            notes.unused(&format!("column {title:?}"), "every line");
        }
        if column != Column::Unused && columns.contains(&column) {
            notes.problem(
                "header",
                format!("column {title:?} says again what another says"),
            );
            columns.push(Column::Unused);
        } else {
            columns.push(column);
        }
    }
    columns
}
