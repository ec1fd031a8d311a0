//! What a file's name promises, and what it hides.

/// Opened with a click on Windows, these run or open something that runs. What Outlook and Gmail block, less what
/// honest mail carries (certificates, databases, Unix scripts): for those see [`RISKY`].
pub(crate) const DANGEROUS: &[&str] = &[
    "ade",
    "adp",
    "apk",
    "appcontent-ms",
    "application",
    "appref-ms",
    "appx",
    "appxbundle",
    "bat",
    "chm",
    "cmd",
    "cnt",
    "com",
    "cpl",
    "diagcab",
    "diagcfg",
    "diagpkg",
    "dll",
    "drv",
    "exe",
    "gadget",
    "grp",
    "hlp",
    "hpj",
    "hta",
    "ins",
    "isp",
    "jar",
    "jnlp",
    "js",
    "jse",
    "library-ms",
    "lnk",
    "mde",
    "mjs",
    "msc",
    "msh",
    "msh1",
    "msh1xml",
    "msh2",
    "msh2xml",
    "mshxml",
    "msi",
    "msix",
    "msixbundle",
    "msp",
    "mst",
    "ocx",
    "ops",
    "pcd",
    "pif",
    "ppkg",
    "ps1",
    "ps1xml",
    "ps2",
    "ps2xml",
    "psc1",
    "psc2",
    "psd1",
    "psdm1",
    "psm1",
    "pyz",
    "pyzw",
    "reg",
    "scf",
    "scr",
    "sct",
    "search-ms",
    "searchconnector-ms",
    "settingcontent-ms",
    "shb",
    "shs",
    "sys",
    "theme",
    "themepack",
    "udl",
    "url",
    "vb",
    "vbe",
    "vbp",
    "vbs",
    "vhd",
    "vhdx",
    "vxd",
    "webpnp",
    "website",
    "wll",
    "ws",
    "wsb",
    "wsc",
    "wsf",
    "wsh",
    "xbap",
    "xll",
    "xnk",
];

/// Of those, the ones that source code and saved pages consist of: among many other files in an archive they are
/// noticed only.
pub(crate) const SOURCES: &[&str] = &[
    "bat", "cmd", "js", "mjs", "ps1", "psd1", "psm1", "reg", "vb",
];

/// What a text editor opens, or nothing does: texts about scripts, and sources that hold them.
pub(crate) const SHOWN_AS_TEXT: &[&str] = &[
    "adoc",
    "asc",
    "asciidoc",
    "asm",
    "bas",
    "c",
    "cc",
    "cfg",
    "clj",
    "cls",
    "cmake",
    "conf",
    "cpp",
    "cs",
    "csproj",
    "css",
    "csv",
    "cxx",
    "dart",
    "diff",
    "dockerfile",
    "el",
    "env",
    "erb",
    "erl",
    "err",
    "ex",
    "exs",
    "f",
    "f90",
    "frm",
    "fs",
    "go",
    "gradle",
    "groovy",
    "h",
    "hpp",
    "hs",
    "htm",
    "html",
    "http",
    "ini",
    "ipynb",
    "iss",
    "j2",
    "java",
    "jl",
    "json",
    "jsonl",
    "jsp",
    "jsx",
    "kjb",
    "kt",
    "ktr",
    "kts",
    "less",
    "lisp",
    "list",
    "log",
    "lst",
    "lua",
    "m",
    "mak",
    "markdown",
    "md",
    "mdx",
    "mk",
    "ml",
    "ndjson",
    "nfo",
    "nim",
    "nix",
    "nsi",
    "org",
    "out",
    "pas",
    "patch",
    "php",
    "pl",
    "pm",
    "po",
    "pot",
    "properties",
    "py",
    "qmd",
    "r",
    "rake",
    "rb",
    "rmd",
    "rs",
    "rst",
    "sass",
    "scala",
    "scss",
    "sed",
    "sln",
    "sql",
    "srt",
    "sub",
    "svelte",
    "swift",
    "tcl",
    "tex",
    "text",
    "textile",
    "tf",
    "toml",
    "trace",
    "tsv",
    "tsx",
    "txt",
    "vbproj",
    "vim",
    "vtt",
    "vue",
    "wiki",
    "wxs",
    "xml",
    "yaml",
    "yml",
    "zig",
];

/// Texts that have no ending by custom.
pub(crate) const TEXTS: &[&str] = &[
    "changelog",
    "containerfile",
    "dockerfile",
    "jenkinsfile",
    "license",
    "makefile",
    "news",
    "rakefile",
    "readme",
    "todo",
    "vagrantfile",
];

/// What may do harm, and what honest mail carries nonetheless.
pub(crate) const RISKY: &[&str] = &[
    "accda", "accdb", "accde", "accdr", "ace", "app", "arj", "asx", "bas", "bash", "cab", "cer",
    "crt", "csh", "daa", "der", "dmg", "fxp", "img", "inf", "iqy", "iso", "ksh", "lzh", "mad",
    "maf", "mag", "mam", "maq", "mar", "mas", "mat", "mau", "mav", "maw", "mcf", "mda", "mdb",
    "mdt", "mdw", "mdz", "mht", "mhtml", "one", "onepkg", "osd", "pkg", "pl", "plg", "prf", "prg",
    "pst", "pub", "py", "pyc", "pyo", "pyw", "rb", "rdp", "run", "sh", "slk", "tmp", "uue", "vmdk",
    "vsmacros", "vsw", "wim", "xla", "xlam", "zsh",
];

/// Names that end so are those of documents, pictures and sounds: what a disguise shows.
pub(crate) const HARMLESS: &[&str] = &[
    "7z", "avi", "bmp", "csv", "doc", "docx", "eml", "gif", "gz", "heic", "htm", "html", "ics",
    "jfif", "jpeg", "jpg", "log", "m4a", "mkv", "mov", "mp3", "mp4", "mpeg", "mpg", "msg", "odp",
    "ods", "odt", "ogg", "pdf", "png", "pps", "ppsx", "ppt", "pptx", "rar", "rtf", "svg", "tif",
    "tiff", "txt", "vcf", "wav", "webp", "wma", "wmv", "wpd", "xls", "xlsx", "xml", "zip",
];

/// Blanks in a row that push an ending out of sight. A folded header leaves a few.
const BLANKS: usize = 10;

/// One way to read a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Name {
    /// What follows the last separator, without what is not seen at its end.
    pub(crate) base: String,
    /// What follows the last dot, in small letters; empty where there is none.
    pub(crate) extension: String,
    /// What stands between the last two dots, in small letters, if that is an ending, too.
    pub(crate) before: String,
}

impl Name {
    /// Whether it would run when opened.
    pub(crate) fn is_dangerous(&self) -> bool {
        DANGEROUS.contains(&self.extension.as_str())
    }
}

/// What a name hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hides {
    /// Its ending, behind many blanks.
    Blanks,
    /// Its order: it is shown from right to left.
    Order,
    /// That Windows opens it by a class, `.{...}`.
    Class,
    /// Its ending, behind a zero.
    Zero,
}

/// The ways a name is read: as it is, and up to a zero.
pub(crate) fn readings(name: &str) -> Vec<Name> {
    let mut found = vec![reading(name)];
    if let Some((before, _)) = name.split_once('\0') {
        let cut = reading(before);
        if !found.contains(&cut) {
            found.push(cut);
        }
    }
    // A stream of a file: what is before the colon is what opens.
    if let Some((before, stream)) = name.rsplit_once(':')
        && before.contains('.')
        && !stream.contains(['/', '\\'])
    {
        let cut = reading(before);
        if !found.contains(&cut) {
            found.push(cut);
        }
    }
    found
}

fn reading(name: &str) -> Name {
    let base: String = name
        .rsplit(['/', '\\'])
        .find(|part| !part.trim().is_empty())
        .unwrap_or_default()
        .chars()
        .filter(|letter| !is_invisible(*letter))
        .collect();
    // Windows takes dots and blanks off the end.
    let base = base.trim_end_matches(|letter: char| {
        letter == '.' || is_blank(letter) || letter == '"' || letter == '\''
    });
    let base = base.trim_start_matches(is_blank);
    let mut parts = base.rsplit('.');
    let last = parts.next().unwrap_or_default();
    let (extension, before) = match parts.next() {
        // A name that begins with a dot has no ending, but `.exe` has.
        Some(before) => (last, before),
        None => ("", ""),
    };
    let has_second = base.matches('.').count() > 1;
    Name {
        base: base.to_owned(),
        extension: extension.trim_matches(is_blank).to_lowercase(),
        before: if has_second {
            before.trim_matches(is_blank).to_lowercase()
        } else {
            String::new()
        },
    }
}

/// What a name hides, if anything.
pub(crate) fn hides(name: &str) -> Option<Hides> {
    if name.contains('\u{202e}') || name.split('\u{202d}').skip(1).any(|rest| !is_number(rest)) {
        return Some(Hides::Order);
    }
    if let Some((before, after)) = name.split_once('\0')
        && !before.is_empty()
        && after.chars().any(|letter| letter != '\0')
    {
        return Some(Hides::Zero);
    }
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    if let Some((_, class)) = base.trim_end().rsplit_once(".{")
        && let Some(class) = class.strip_suffix('}')
        && class.len() == 36
        && class
            .chars()
            .all(|letter| letter.is_ascii_hexdigit() || letter == '-')
    {
        return Some(Hides::Class);
    }
    if let Some((before, after)) = base.rsplit_once('.') {
        let blanks = before
            .chars()
            .rev()
            .take_while(|letter| is_blank(*letter))
            .count();
        // Programs with fields of a fixed width fill them with blanks.
        let is_ending = |text: &str| {
            let text = text.trim_matches(is_blank).to_lowercase();
            let text = text.as_str();
            DANGEROUS.contains(&text) || RISKY.contains(&text) || HARMLESS.contains(&text)
        };
        let plain = HARMLESS.contains(&after.to_lowercase().as_str())
            && !before
                .rsplit_once('.')
                .is_some_and(|(_, ending)| is_ending(ending));
        if blanks >= BLANKS && !plain && before.chars().any(|letter| !is_blank(letter)) {
            return Some(Hides::Blanks);
        }
    }
    None
}

/// Whether what is shown from left to right is a telephone number: so address books copy them.
fn is_number(after: &str) -> bool {
    let shown = after.split('\u{202c}').next().unwrap_or_default();
    let is_part = |letter: char| letter.is_ascii_digit() || " +-()/\u{a0}".contains(letter);
    shown.chars().all(is_part)
}

/// Letters that show as nothing and take room.
fn is_blank(letter: char) -> bool {
    letter.is_whitespace()
        || letter.is_control()
        || matches!(
            letter,
            '\u{2800}' | '\u{3164}' | '\u{115f}' | '\u{1160}' | '\u{ffa0}'
        )
}

/// Letters that show as nothing and take no room.
fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}'
    )
}

/// A name as a sentence may hold it: one line, printable, and not long.
pub(crate) fn shown(name: &str) -> String {
    let mut text = String::new();
    for (count, letter) in name.chars().enumerate() {
        if count == 80 {
            text.push_str("...");
            break;
        }
        if letter.is_control() || is_invisible(letter) || (letter.is_whitespace() && letter != ' ')
        {
            text.extend(letter.escape_unicode());
        } else {
            text.push(letter);
        }
    }
    text
}

/// Endings of documents that are archives inside, by which a program for documents opens them.
const DOCUMENTS: &[&str] = &[
    "docm", "docx", "dotm", "dotx", "epub", "ibooks", "odb", "odc", "odf", "odg", "odi", "odm",
    "odp", "ods", "odt", "otg", "oth", "otp", "ots", "ott", "potm", "potx", "ppsm", "ppsx", "pptm",
    "pptx", "sldm", "sldx", "sxc", "sxd", "sxi", "sxw", "thmx", "vsdm", "vsdx", "vssx", "vstx",
    "xlam", "xlsb", "xlsm", "xlsx", "xltm", "xltx",
];

/// Whether a file is opened as a document by each of its names. Whoever calls an archive `.zip` has its members shown as
/// files, whatever else lies in it.
pub(crate) fn opens_as_document(names: &[String]) -> bool {
    let is_document = |name: &String| {
        name.trim_end()
            .rsplit_once('.')
            .is_some_and(|(_, ending)| DOCUMENTS.contains(&ending.to_lowercase().as_str()))
    };
    !names.is_empty() && names.iter().all(is_document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(name: &str) -> String {
        reading(name).extension
    }

    #[test]
    fn the_ending_that_windows_would_see_is_seen() {
        for name in [
            "a.exe",
            "A.EXE",
            "a.exe.",
            "a.exe . .",
            "dir/a.exe",
            "C:\\dir\\a.exe",
            "a.exe\u{200b}",
            "a.e\u{200b}xe",
            "a.exe\u{a0}",
            ".exe",
            "\"a.exe\"",
        ] {
            assert_eq!(last(name), "exe", "{name:?}");
        }
        assert!(readings("a.exe\0.jpg").iter().any(Name::is_dangerous));
        assert!(
            readings("a.exe:harmless.txt")
                .iter()
                .any(Name::is_dangerous)
        );
    }

    #[test]
    fn what_is_hidden_is_said() {
        assert_eq!(hides("invoice\u{202e}fdp.exe"), Some(Hides::Order));
        assert_eq!(
            hides("invoice.pdf                    .exe"),
            Some(Hides::Blanks)
        );
        assert_eq!(
            hides("invoice.{3050f4d8-98b5-11cf-bb82-00aa00bdce0b}"),
            Some(Hides::Class)
        );
        assert_eq!(hides("a.exe\0.jpg"), Some(Hides::Zero));
    }

    #[test]
    fn honest_names_hide_nothing() {
        for name in [
            "report.2026.11.pdf",
            "a.tar.gz",
            "Résumé (final)  v2.docx",
            "\u{200f}דוח.pdf",
            "{draft}.txt",
            "minutes {3}.odt",
            "...",
            "",
        ] {
            assert_eq!(hides(name), None, "{name:?}");
            assert!(!readings(name).iter().any(Name::is_dangerous), "{name:?}");
        }
    }

    #[test]
    fn a_shown_name_is_one_short_line() {
        let shown = shown(&"a\r\n\u{202e}b".repeat(100));
        assert!(!shown.contains(['\r', '\n', '\u{202e}']));
        assert!(shown.len() < 1000);
    }
}
