//! What content is, told by its octets and never by its name.
//!
//! Entry: [`of`], and [`hidden`] for what lies in the middle or at the end of something else.
//! Nothing is unpacked here, and no more than the head, the end and a few landmarks are looked at;
//! `hidden` reads the whole of it once.

mod magic;
mod text;
mod within;

pub(crate) use magic::lists_manifest;
pub(crate) use text::{readable, root, uuencode_begin};
pub use within::{AllHidden, Hidden, hidden};

use serde::Serialize;

/// What content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// No octets.
    Empty,
    /// None of those below, and no text.
    Unknown,
    /// Text that is none of those below.
    Text,

    /// A program for Windows (PE), or a part of one.
    Pe,
    /// A program for DOS, or a damaged one for Windows: `MZ` and no text.
    Dos,
    /// A program for Unix (ELF).
    Elf,
    /// A program for macOS, for one processor or several.
    MachO,
    /// A class of Java.
    JavaClass,
    /// An archive of Java classes.
    Jar,
    /// A program for Android.
    Apk,
    /// Code for Android.
    Dex,
    /// A program for Symbian.
    Sis,
    /// An installer for Windows (OLE2 with the class of one).
    Msi,
    /// A package of Windows' store, its bundle, or a set of them.
    Appx,

    /// A script that names its interpreter (`#!`).
    UnixScript,
    /// A script for Windows Script Host (`VBScript`, `JScript`, WSF), or an HTML application.
    WindowsScript,
    /// A script that was encoded, as nobody writes one (`#@~^`).
    EncodedScript,
    /// A script for `PowerShell`.
    PowerShell,
    /// A batch file.
    Batch,

    /// A shortcut of Windows (.lnk).
    Shortcut,
    /// A shortcut to an address (.url).
    UrlShortcut,
    /// A command of the Windows shell (.scf), a library, a saved search, a settings file.
    ShellFile,

    /// An OLE2 file: Word, Excel and `PowerPoint` up to 2003, Outlook messages.
    Ole2,
    /// A workbook of Excel without a file around it, as up to version 4, and as some programs wrote later ones.
    Workbook,
    /// An Office document of today without macros.
    Ooxml,
    /// An Office document of today with a place for macros.
    OoxmlMacro,
    /// An `OpenDocument`, or an EPUB book.
    Odf,
    /// What Word keeps of macros and objects in a file of XML or a saved page.
    ActiveMime,
    /// Rich text.
    Rtf,
    /// PDF.
    Pdf,
    /// A `OneNote` section.
    OneNote,
    /// Compiled help for Windows.
    Chm,
    /// Outlook's wrapping (winmail.dat).
    Tnef,

    /// ZIP.
    Zip,
    /// 7z.
    SevenZip,
    /// RAR up to version 4.
    Rar4,
    /// RAR from version 5.
    Rar5,
    /// tar.
    Tar,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
    /// Zstandard.
    Zstd,
    /// LZMA as it stood alone before xz.
    Lzma,
    /// lzip.
    Lzip,
    /// LZ4.
    Lz4,
    /// compress (.Z).
    Compress,
    /// A cabinet of Windows.
    Cab,
    /// cpio.
    Cpio,
    /// An RPM package.
    Rpm,
    /// ar; a Debian package is one.
    Ar,
    /// ARJ.
    Arj,
    /// LHA and LZH.
    Lzh,
    /// ACE.
    Ace,
    /// ALZ.
    Alz,
    /// EGG.
    Egg,
    /// xar; an installer package of macOS is one.
    Xar,
    /// ZOO.
    Zoo,
    /// COMPRESS.EXE of DOS.
    Szdd,
    /// `BinHex` of the Macintosh.
    BinHex,
    /// uuencode.
    Uuencode,
    /// `MacBinary` and `AppleSingle` of the Macintosh.
    MacFile,
    /// WARC, which holds what was fetched from the web.
    Warc,

    /// An image of a CD or DVD (ISO 9660, UDF).
    Iso,
    /// A disk of a virtual machine (VHD, VHDX, VMDK, QCOW), or an image of Windows (WIM).
    VirtualDisk,
    /// A disk image of macOS (DMG, HFS+).
    Dmg,
    /// A file system of Linux (ext2 and later, squashfs).
    LinuxDisk,

    /// HTML.
    Html,
    /// SVG.
    Svg,
    /// XML that is none of these.
    Xml,
    /// A mail message.
    Message,
    /// A calendar.
    Calendar,
    /// A visiting card.
    Vcard,
    /// Opaque S/MIME: a message within a signature, or compressed.
    Pkcs7,

    /// A picture.
    Image,
    /// Sound.
    Audio,
    /// A film.
    Video,
    /// A font.
    Font,
}

/// What kinds have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Runs when opened.
    Program,
    /// Runs in an interpreter.
    Script,
    /// Opens something else.
    Shortcut,
    /// Holds other files, and is meant to.
    Archive,
    /// Holds a file system.
    Disk,
    /// A document.
    Document,
    /// Marked-up text.
    Markup,
    /// A message, a calendar, a card.
    Message,
    /// Picture, sound, film.
    Media,
    /// All else.
    Other,
}

impl Kind {
    /// One packed file and no archive, of a kind that is unpacked here: what it holds is judged by itself.
    pub(crate) const fn is_packed_data(self) -> bool {
        matches!(self, Self::Gzip | Self::Xz | Self::Zstd | Self::Bzip2)
    }

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Unknown => "unknown",
            Self::Text => "text",
            Self::Pe => "pe",
            Self::Dos => "dos",
            Self::Elf => "elf",
            Self::MachO => "mach-o",
            Self::JavaClass => "java-class",
            Self::Jar => "jar",
            Self::Apk => "apk",
            Self::Dex => "dex",
            Self::Sis => "sis",
            Self::Msi => "msi",
            Self::Appx => "appx",
            Self::UnixScript => "unix-script",
            Self::WindowsScript => "windows-script",
            Self::EncodedScript => "encoded-script",
            Self::PowerShell => "power-shell",
            Self::Batch => "batch",
            Self::Shortcut => "shortcut",
            Self::UrlShortcut => "url-shortcut",
            Self::ShellFile => "shell-file",
            Self::Ole2 => "ole2",
            Self::Workbook => "workbook",
            Self::Ooxml => "ooxml",
            Self::OoxmlMacro => "ooxml-macro",
            Self::Odf => "odf",
            Self::ActiveMime => "active-mime",
            Self::Rtf => "rtf",
            Self::Pdf => "pdf",
            Self::OneNote => "one-note",
            Self::Chm => "chm",
            Self::Tnef => "tnef",
            Self::Zip => "zip",
            Self::SevenZip => "7z",
            Self::Rar4 => "rar4",
            Self::Rar5 => "rar5",
            Self::Tar => "tar",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Zstd => "zstd",
            Self::Lzma => "lzma",
            Self::Lzip => "lzip",
            Self::Lz4 => "lz4",
            Self::Compress => "compress",
            Self::Cab => "cab",
            Self::Cpio => "cpio",
            Self::Rpm => "rpm",
            Self::Ar => "ar",
            Self::Arj => "arj",
            Self::Lzh => "lzh",
            Self::Ace => "ace",
            Self::Alz => "alz",
            Self::Egg => "egg",
            Self::Xar => "xar",
            Self::Zoo => "zoo",
            Self::Szdd => "szdd",
            Self::BinHex => "binhex",
            Self::Uuencode => "uuencode",
            Self::MacFile => "mac-file",
            Self::Warc => "warc",
            Self::Iso => "iso",
            Self::VirtualDisk => "virtual-disk",
            Self::Dmg => "dmg",
            Self::LinuxDisk => "linux-disk",
            Self::Html => "html",
            Self::Svg => "svg",
            Self::Xml => "xml",
            Self::Message => "message",
            Self::Calendar => "calendar",
            Self::Vcard => "vcard",
            Self::Pkcs7 => "pkcs7",
            Self::Image => "image",
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Font => "font",
        }
    }

    /// What a person calls it, with its article.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Empty => "nothing",
            Self::Unknown => "something unknown",
            Self::Text => "a text",
            Self::Pe => "a Windows program",
            Self::Dos => "a DOS or Windows program",
            Self::Elf => "a Unix program",
            Self::MachO => "a macOS program",
            Self::JavaClass | Self::Jar => "a Java program",
            Self::Apk | Self::Dex => "an Android program",
            Self::Sis => "a Symbian program",
            Self::Msi => "a Windows installer",
            Self::Appx => "a Windows app package",
            Self::UnixScript => "a script",
            Self::WindowsScript => "a Windows script",
            Self::EncodedScript => "an encoded script",
            Self::PowerShell => "a PowerShell script",
            Self::Batch => "a batch file",
            Self::Shortcut => "a Windows shortcut",
            Self::UrlShortcut => "an internet shortcut",
            Self::ShellFile => "a command file of the Windows shell",
            Self::Ole2 => "an OLE2 document",
            Self::Workbook => "a workbook of old Excel",
            Self::Ooxml => "an Office document",
            Self::OoxmlMacro => "an Office document with macros",
            Self::Odf => "an OpenDocument",
            Self::ActiveMime => "what Office packs macros in (ActiveMime)",
            Self::Rtf => "a rich text document",
            Self::Pdf => "a PDF document",
            Self::OneNote => "a OneNote section",
            Self::Chm => "a compiled help file",
            Self::Tnef => "an Outlook wrapping (winmail.dat)",
            Self::Zip => "a ZIP archive",
            Self::SevenZip => "a 7z archive",
            Self::Rar4 | Self::Rar5 => "a RAR archive",
            Self::Tar => "a tar archive",
            Self::Gzip => "gzip data",
            Self::Xz => "xz data",
            Self::Bzip2 => "bzip2 data",
            Self::Zstd => "Zstandard data",
            Self::Lzma => "LZMA data",
            Self::Lzip => "lzip data",
            Self::Lz4 => "LZ4 data",
            Self::Compress => "compress data",
            Self::Cab => "a cabinet",
            Self::Cpio => "a cpio archive",
            Self::Rpm => "an RPM package",
            Self::Ar => "an ar archive",
            Self::Arj => "an ARJ archive",
            Self::Lzh => "an LHA archive",
            Self::Ace => "an ACE archive",
            Self::Alz => "an ALZ archive",
            Self::Egg => "an EGG archive",
            Self::Xar => "a xar archive",
            Self::Zoo => "a ZOO archive",
            Self::Szdd => "a file compressed by COMPRESS.EXE",
            Self::BinHex => "a BinHex file",
            Self::Uuencode => "a uuencoded file",
            Self::MacFile => "a file of the Macintosh",
            Self::Warc => "a web archive",
            Self::Iso => "a CD image",
            Self::VirtualDisk => "a virtual disk",
            Self::Dmg => "a macOS disk image",
            Self::LinuxDisk => "an image of a Linux disk",
            Self::Html => "an HTML page",
            Self::Svg => "an SVG drawing",
            Self::Xml => "an XML file",
            Self::Message => "a mail message",
            Self::Calendar => "a calendar",
            Self::Vcard => "a visiting card",
            Self::Pkcs7 => "a signed message",
            Self::Image => "a picture",
            Self::Audio => "a sound",
            Self::Video => "a film",
            Self::Font => "a font",
        }
    }

    /// What it has in common with others.
    pub const fn class(self) -> Class {
        match self {
            Self::Pe
            | Self::Dos
            | Self::Elf
            | Self::MachO
            | Self::JavaClass
            | Self::Jar
            | Self::Apk
            | Self::Dex
            | Self::Sis
            | Self::Msi
            | Self::Appx => Class::Program,
            Self::UnixScript
            | Self::WindowsScript
            | Self::EncodedScript
            | Self::PowerShell
            | Self::Batch => Class::Script,
            Self::Shortcut | Self::UrlShortcut | Self::ShellFile => Class::Shortcut,
            Self::Zip
            | Self::SevenZip
            | Self::Rar4
            | Self::Rar5
            | Self::Tar
            | Self::Gzip
            | Self::Xz
            | Self::Bzip2
            | Self::Zstd
            | Self::Lzma
            | Self::Lzip
            | Self::Lz4
            | Self::Compress
            | Self::Cab
            | Self::Cpio
            | Self::Rpm
            | Self::Ar
            | Self::Arj
            | Self::Lzh
            | Self::Ace
            | Self::Alz
            | Self::Egg
            | Self::Xar
            | Self::Zoo
            | Self::Szdd
            | Self::BinHex
            | Self::Uuencode
            | Self::MacFile
            | Self::Warc => Class::Archive,
            Self::Iso | Self::VirtualDisk | Self::Dmg | Self::LinuxDisk => Class::Disk,
            Self::Ole2
            | Self::Workbook
            | Self::Ooxml
            | Self::OoxmlMacro
            | Self::Odf
            | Self::ActiveMime
            | Self::Rtf
            | Self::Pdf
            | Self::OneNote
            | Self::Chm
            | Self::Tnef => Class::Document,
            Self::Html | Self::Svg | Self::Xml => Class::Markup,
            Self::Message | Self::Calendar | Self::Vcard | Self::Pkcs7 => Class::Message,
            Self::Image | Self::Audio | Self::Video | Self::Font => Class::Media,
            Self::Empty | Self::Unknown | Self::Text => Class::Other,
        }
    }
}

/// What content is.
pub fn of(octets: &[u8]) -> Kind {
    if octets.is_empty() {
        return Kind::Empty;
    }
    magic::of(octets).unwrap_or_else(|| text::of(octets))
}

/// The entry for fuzzing.
#[doc(hidden)]
pub fn fuzz(octets: &[u8]) {
    let kind = of(octets);
    let _unused = (kind.name(), kind.title(), kind.class());
    for found in hidden(octets, kind).found {
        assert!(found.at < octets.len(), "it lies within");
    }
}

#[cfg(test)]
mod tests;
