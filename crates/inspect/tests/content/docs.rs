//! The documentation's table of rules is the program's.

use mailkeep_inspect::Level;
use mailkeep_inspect::danger::RULES;

#[test]
fn the_table_of_rules_on_attachments_is_what_holds() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/attachments.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let expected: Vec<String> = RULES
        .iter()
        .map(|rule| {
            let level = match rule.refuses_from {
                Some(Level::Default) => "default",
                Some(Level::Strict) => "strict",
                Some(Level::Paranoid) => "paranoid",
                None => "noticed only",
            };
            format!("| `{}` | {} | {level} |", rule.name, rule.text)
        })
        .collect();
    assert_eq!(rows, expected);
}
