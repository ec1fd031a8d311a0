//! `updateinfo.xml` of an RPM repository (as `createrepo_c` and DNF know it): the advisories a
//! repository's packages fix.
//!
//! Entry: [`read`]. Streaming; only updates of type `security` become statements, one for each
//! vulnerability, binary package and module stream. The file does not say which release it is for:
//! the caller, who knows whose repository it is, does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read};

use mailkeep_model::{
    AdvisoryId, Ecosystem, PackageKind, Platform, Problem, RangeEnd, VersionRange, Voice,
};
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader as XmlReader, XmlVersion};

use crate::fixes::{Bulletin, Said, Subject, urgency};
use crate::window::read_error;
use crate::{ReadError, Sink, Summary, ids, sniff, text};

const EXPECTED: &str = "updateinfo.xml";

/// Deepest nesting; the format has six levels.
const DEPTH_MAX: usize = 64;

/// Largest single tag or text, in bytes; the longest real descriptions have 60 KB.
const EVENT_MAX: usize = 8 << 20;

/// Packages and references of one update; a kernel update of all architectures has some 2,000.
const ITEMS_MAX: usize = 100_000;

/// Longest text kept, in bytes.
const TEXT_MAX: usize = 4096;

/// Reads the updates of a repository that belongs to `platform`.
///
/// Retracted updates, and those that are not about security, are counted as records and make no
/// statement. An update whose packages or ids are unreadable is a problem; ill-formed XML ends the
/// reading there ([`Summary::cut_short`]), since nothing tells where the next update begins.
pub fn read(
    input: impl Read,
    platform: &Platform,
    sink: &mut dyn Sink,
) -> Result<Summary, ReadError> {
    let mut xml = XmlReader::from_reader(Utf8Input::open(input)?);
    let config = xml.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let mut reader = Reader {
        platform,
        sink,
        summary: Summary::default(),
        update: None,
        field: None,
        module: None,
    };
    let mut buffer = Vec::new();
    let mut depth = 0_usize;
    let mut root_seen = false;
    loop {
        buffer.clear();
        xml.get_mut().event = 0;
        let event = match xml.read_event_into(&mut buffer) {
            Ok(event) => event,
            Err(quick_xml::Error::Io(error)) => {
                let error = io::Error::new(error.kind(), error);
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    reader.cut("the compressed data ends before its end");
                    break;
                }
                if error.kind() == io::ErrorKind::QuotaExceeded {
                    return Err(ReadError::Limit {
                        limit: format!("a tag or text has more than {EVENT_MAX} bytes"),
                    });
                }
                return Err(read_error(error));
            }
            Err(error) => {
                if !root_seen {
                    return Err(not_updateinfo(&format!("no XML ({error})")));
                }
                let place = xml.error_position();
                reader.cut(&format!("ill-formed XML at byte {place}: {error}"));
                break;
            }
        };
        match event {
            Event::Start(tag) => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(ReadError::Limit {
                        limit: format!("it is nested more than {DEPTH_MAX} deep"),
                    });
                }
                check_root(&mut root_seen, &tag)?;
                reader.start(&tag);
            }
            Event::Empty(tag) => {
                check_root(&mut root_seen, &tag)?;
                reader.start(&tag);
                reader.end(tag.name().0)?;
            }
            Event::End(tag) => {
                depth = depth.saturating_sub(1);
                reader.end(tag.name().0)?;
            }
            Event::Text(text) => reader.text(&text),
            Event::CData(text) => reader.text(&text),
            Event::GeneralRef(reference) => {
                let resolved = reference.resolve_char_ref().ok().flatten();
                match quick_xml::escape::resolve_predefined_entity(&reference) {
                    Some(text) => reader.text(text),
                    // An entity the document itself declares is never expanded.
                    None => reader.text(resolved.unwrap_or('\u{fffd}').encode_utf8(&mut [0; 4])),
                }
            }
            Event::Comment(_) | Event::Decl(_) | Event::DocType(_) | Event::PI(_) => {}
            Event::Eof => {
                if !root_seen {
                    return Err(not_updateinfo("it holds no element"));
                }
                if depth > 0 {
                    let place = xml.buffer_position();
                    reader.cut(&format!(
                        "it ends at byte {place}, before its last element is closed"
                    ));
                }
                break;
            }
        }
    }
    let summary = reader.summary;
    sink.covers(platform.clone());
    Ok(summary)
}

/// Fuzz entry.
pub fn fuzz(data: &[u8]) {
    let platform = Platform::new(Ecosystem::AlmaLinux, "9");
    let _read = read(data, &platform, &mut crate::Collect::default());
}

fn not_updateinfo(found: &str) -> ReadError {
    ReadError::NotThisKind {
        expected: EXPECTED,
        found: found.to_owned(),
    }
}

fn check_root(seen: &mut bool, tag: &BytesStart<'_>) -> Result<(), ReadError> {
    let name = tag.local_name();
    if *seen || matches!(name.as_ref(), "updates" | "update") {
        *seen = true;
        return Ok(());
    }
    let name = text::line(name.as_ref(), 40);
    Err(not_updateinfo(&format!("XML whose root is <{name}>")))
}

/// Texts that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Severity,
    Title,
}

type PackageAndModule = (Box<str>, Option<Box<str>>);

#[derive(Debug, Default)]
struct Update {
    kind: Option<String>,
    retracted: bool,
    id: String,
    title: String,
    severity: String,
    cves: BTreeSet<AdvisoryId>,
    /// CVE ids in the titles of references, for repositories that give no others.
    mentioned: BTreeSet<AdvisoryId>,
    /// Versions by package and module.
    fixed: BTreeMap<PackageAndModule, BTreeSet<Box<str>>>,
    items: usize,
    odd: Vec<String>,
    /// How deep in child elements of the same names (`<id>` only counts right under `<update>`).
    within: usize,
}

struct Reader<'s> {
    platform: &'s Platform,
    sink: &'s mut dyn Sink,
    summary: Summary,
    update: Option<Update>,
    field: Option<Field>,
    module: Option<Box<str>>,
}

impl Reader<'_> {
    fn cut(&mut self, reason: &str) {
        let within = match &self.update {
            Some(update) if !update.id.is_empty() => {
                format!("within {}: ", text::line(&update.id, 100))
            }
            _ => String::new(),
        };
        self.summary.cut_short = Some(format!("{within}{reason}"));
    }

    fn start(&mut self, tag: &BytesStart<'_>) {
        let name = tag.local_name();
        let Some(update) = &mut self.update else {
            if name.as_ref() == "update" {
                self.update = Some(Update {
                    kind: attribute(tag, "type"),
                    retracted: attribute(tag, "status").as_deref() == Some("retracted"),
                    ..Update::default()
                });
            }
            return;
        };
        update.within += 1;
        match name.as_ref() {
            "id" if update.within == 1 => self.field = Some(Field::Id),
            "title" if update.within == 1 => self.field = Some(Field::Title),
            "severity" if update.within == 1 => self.field = Some(Field::Severity),
            "collection" => self.module = None,
            "module" => {
                self.module = attribute(tag, "name")
                    .zip(attribute(tag, "stream"))
                    .and_then(|(name, stream)| text::token(&format!("{name}:{stream}")));
            }
            "reference" => update.reference(tag),
            "package" => update.package(tag, self.module.as_deref()),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        let (Some(field), Some(update)) = (self.field, &mut self.update) else {
            return;
        };
        let into = match field {
            Field::Id => &mut update.id,
            Field::Severity => &mut update.severity,
            Field::Title => &mut update.title,
        };
        if into.len() + text.len() <= TEXT_MAX {
            into.push_str(text);
        }
    }

    fn end(&mut self, name: &str) -> Result<(), ReadError> {
        self.field = None;
        let name = name.rsplit(':').next().unwrap_or(name);
        if name == "collection" {
            self.module = None;
        }
        if name == "update"
            && let Some(update) = self.update.take()
        {
            self.module = None;
            return self.finish(update);
        }
        if let Some(update) = &mut self.update {
            update.within = update.within.saturating_sub(1);
        }
        Ok(())
    }

    fn finish(&mut self, update: Update) -> Result<(), ReadError> {
        self.summary.records += 1;
        let security = match update.kind.as_deref() {
            Some(kind) => kind == "security",
            None => !update.cves.is_empty(),
        };
        if !security || update.retracted {
            return Ok(());
        }
        let id = update.id.trim().to_owned();
        let record = if id.is_empty() {
            format!("update {}", self.summary.records)
        } else {
            id.clone()
        };
        for odd in &update.odd {
            self.problem(&record, odd)?;
        }
        let id = match AdvisoryId::new(&id) {
            Ok(id) => id,
            Err(error) => return self.problem(&record, &error.to_string()),
        };
        if update.items > ITEMS_MAX {
            let reason = format!("it has more than {ITEMS_MAX} packages and references");
            return self.problem(&record, &reason);
        }
        if update.fixed.is_empty() {
            return self.problem(&record, "it names no package");
        }
        let mut cves = update.cves;
        if cves.is_empty() {
            cves = update.mentioned;
            ids::cves_in(&update.title, |cve| {
                cves.insert(cve);
            });
        }
        let mut ids: Vec<_> = cves.into_iter().collect();
        ids.push(id);
        let release = Some(self.platform.release.clone()).filter(|release| !release.is_empty());
        let urgency = urgency(&update.severity);
        let said = update
            .fixed
            .into_iter()
            .map(|((package, module), versions)| {
                let subject = Subject {
                    ecosystem: self.platform.ecosystem.clone(),
                    package,
                    kind: PackageKind::Binary,
                    module,
                };
                let ranges = versions
                    .into_iter()
                    .map(|version| VersionRange {
                        introduced: None,
                        end: RangeEnd::Fixed(version),
                    })
                    .collect();
                let said = Said {
                    ranges,
                    urgency,
                    ..Said::default()
                };
                (subject, BTreeMap::from([(release.clone(), said)]))
            });
        let bulletin = Bulletin {
            title: text::line(&update.title, text::TITLE_MAX),
            cvss: None,
            said: said.collect(),
        };
        match bulletin.write(|_| Voice::Distributor, |_| ids.clone(), self.sink)? {
            Ok(_) => Ok(()),
            Err(reason) => self.problem(&record, &reason),
        }
    }

    fn problem(&mut self, record: &str, reason: &str) -> Result<(), ReadError> {
        self.summary.problems += 1;
        self.sink.problem(Problem::new(record, reason))?;
        Ok(())
    }
}

impl Update {
    fn reference(&mut self, tag: &BytesStart<'_>) {
        self.items += 1;
        if self.items > ITEMS_MAX {
            return;
        }
        if attribute(tag, "type").as_deref() == Some("cve") {
            match attribute(tag, "id").map(|id| AdvisoryId::new(id.trim())) {
                Some(Ok(id)) => {
                    self.cves.insert(id);
                }
                Some(Err(error)) => self.odd(&format!("a reference of type cve: {error}")),
                None => self.odd("a reference of type cve without id"),
            }
        }
        ids::cves_in(&attribute(tag, "title").unwrap_or_default(), |id| {
            self.mentioned.insert(id);
        });
    }

    fn package(&mut self, tag: &BytesStart<'_>, module: Option<&str>) {
        self.items += 1;
        if self.items > ITEMS_MAX {
            return;
        }
        let get = |name| attribute(tag, name).unwrap_or_default();
        // Nobody installs a source package.
        if matches!(get("arch").as_str(), "src" | "nosrc") {
            return;
        }
        let (name, version, release) = (get("name"), get("version"), get("release"));
        let epoch = get("epoch");
        let evr = match epoch.as_str() {
            "" | "0" => format!("{version}-{release}"),
            epoch => format!("{epoch}:{version}-{release}"),
        };
        match (text::token(&name), text::token(&evr)) {
            (Some(name), Some(evr))
                if !version.is_empty()
                    && !release.is_empty()
                    && epoch.bytes().all(|b| b.is_ascii_digit()) =>
            {
                let key = (name, module.map(Box::from));
                self.fixed.entry(key).or_default().insert(evr);
            }
            _ => self.odd(&format!("package {name:?} without usable version {evr:?}")),
        }
    }

    /// Notes what is odd; a few say enough of a hostile update.
    fn odd(&mut self, what: &str) {
        if self.odd.len() < 20 {
            self.odd.push(what.to_owned());
        }
    }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = tag.try_get_attribute(name).ok().flatten()?;
    let value = match attribute.normalized_value(XmlVersion::Implicit1_0) {
        Ok(value) => value,
        Err(_) => attribute.value,
    };
    Some(value.into_owned())
}

/// The input as UTF-8 text, whatever bytes it holds: what is none becomes a question mark, so that
/// one wrongly encoded description does not end the feed. Counts what one event takes.
struct Utf8Input<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    /// End of what is known to be UTF-8; behind it up to three bytes of an unfinished character.
    valid: usize,
    filled: usize,
    event: usize,
}

impl<R: Read> Utf8Input<R> {
    fn open(mut input: R) -> Result<Self, ReadError> {
        let mut head = Vec::new();
        (&mut input)
            .take(sniff::ENOUGH as u64)
            .read_to_end(&mut head)
            .map_err(read_error)?;
        let mark = sniff::refuse(EXPECTED, &head)?;
        let filled = head.len();
        head.resize(64 * 1024, 0);
        let mut this = Self {
            input,
            buffer: head,
            start: mark,
            valid: mark,
            filled,
            event: 0,
        };
        this.validate(false);
        Ok(this)
    }

    /// Moves `valid` forward over all that is or was made UTF-8.
    fn validate(&mut self, ended: bool) {
        loop {
            let fresh = self
                .buffer
                .get_mut(self.valid..self.filled)
                .unwrap_or_default();
            let (good, bad) = match std::str::from_utf8(fresh) {
                Ok(_) => (fresh.len(), 0),
                Err(error) => {
                    let good = error.valid_up_to();
                    let rest = fresh.len() - good;
                    (
                        good,
                        error.error_len().unwrap_or(if ended { rest } else { 0 }),
                    )
                }
            };
            if let Some(bad) = fresh.get_mut(good..good + bad) {
                bad.fill(b'?');
            }
            self.valid += good + bad;
            if bad == 0 {
                return;
            }
        }
    }
}

impl<R: Read> Read for Utf8Input<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let read = available.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(available) {
            *to = *from;
        }
        self.consume(read);
        Ok(read)
    }
}

impl<R: Read> BufRead for Utf8Input<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.event > EVENT_MAX {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        while self.start == self.valid {
            self.buffer.copy_within(self.valid..self.filled, 0);
            self.filled -= self.valid;
            self.start = 0;
            self.valid = 0;
            let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
            let read = match self.input.read(free) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            self.filled += read;
            self.validate(read == 0);
            if read == 0 {
                break;
            }
        }
        Ok(self.buffer.get(self.start..self.valid).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.valid);
        self.event += amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Collect;
    use mailkeep_model::{ClaimKind, Urgency};
    use proptest::prelude::*;

    const ONE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<updates>
  <update from="x" status="final" type="security" version="2.0">
    <id>ALSA-2024:6529</id>
    <title>dovecot &amp; pigeonhole <![CDATA[<update>]]></title>
    <severity>Moderate</severity>
    <issued date="2024-09-10 00:00:00"/>
    <references>
      <reference href="https://example.org/" id="CVE-2024-23184" type="cve" title="x"/>
      <reference href="https://example.org/" id="CVE-2024-23185" type="cve"></reference>
      <reference href="https://example.org/" id="230" type="bugzilla" title="CVE-2020-0001 other"/>
    </references>
    <pkglist><collection short="a"><name>a</name>
      <package name="dovecot" version="2.3.16" release="11.el9_4.1" epoch="1" arch="x86_64" src="dovecot.src.rpm"><filename>d.rpm</filename></package>
      <package name="dovecot" version="2.3.16" release="11.el9_4.1" epoch="1" arch="aarch64"/>
      <package name="dovecot" version="2.3.16" release="11.el9_4.1" epoch="1" arch="src"/>
      <package name="dovecot-pigeonhole" version="2.3.16" release="11.el9_4.1" epoch="0" arch="x86_64"/>
    </collection></pkglist>
  </update>
  <update type="bugfix"><id>ALBA-1</id><pkglist><collection><package name="x" version="1" release="1"/></collection></pkglist></update>
  <update type="security" status="retracted"><id>SUSE-1</id></update>
  <update type="security"><id>ALSA-2021:4826</id><title>mailman:2.1</title><severity>Important</severity>
    <references><reference id="1" type="bugzilla" title="CVE-2021-42096 mailman: x"/></references>
    <pkglist><collection><module name="mailman" stream="2.1" version="1" context="a" arch="x"/>
      <package name="mailman" version="2.1.29" release="12" epoch="3" arch="x86_64"/></collection>
      <collection><package name="lone" version="1" release="1" arch="noarch"/></collection></pkglist>
  </update>
</updates>"#;

    fn updateinfo(text: &[u8]) -> (Collect, Summary) {
        let mut sink = Collect::default();
        let platform = Platform::new(Ecosystem::AlmaLinux, "9");
        let summary = read(text, &platform, &mut sink).unwrap();
        assert_eq!(summary.problems, sink.problems.len() as u64);
        (sink, summary)
    }

    fn rows(sink: &Collect) -> Vec<String> {
        sink.statements
            .iter()
            .map(|s| {
                let ClaimKind::FixedIn { version } = &s.claims[0].kind else {
                    panic!("{:?}", s.claims)
                };
                let module = s.module.as_deref().unwrap_or("-");
                format!("{} {} {module} {version}", s.advisory, s.package)
            })
            .collect()
    }

    #[test]
    fn security_updates_become_statements_by_cve_package_and_module() {
        let (sink, summary) = updateinfo(ONE.as_bytes());
        assert_eq!((summary.records, summary.problems), (4, 0));
        assert_eq!(summary.cut_short, None);
        assert_eq!(
            rows(&sink),
            [
                "CVE-2024-23184 dovecot - 1:2.3.16-11.el9_4.1",
                "CVE-2024-23185 dovecot - 1:2.3.16-11.el9_4.1",
                "CVE-2024-23184 dovecot-pigeonhole - 2.3.16-11.el9_4.1",
                "CVE-2024-23185 dovecot-pigeonhole - 2.3.16-11.el9_4.1",
                "CVE-2021-42096 lone - 1-1",
                "CVE-2021-42096 mailman mailman:2.1 3:2.1.29-12",
            ]
        );
        let first = &sink.statements[0];
        assert_eq!(&*first.title, "dovecot & pigeonhole <update>");
        assert_eq!(first.aliases[0].as_str(), "ALSA-2024:6529");
        assert_eq!(first.package_kind, PackageKind::Binary);
        assert_eq!(first.claims[0].release.as_deref(), Some("9"));
        assert_eq!(first.claims[0].urgency, Some(Urgency::Medium));
        assert_eq!(sink.covers, [Platform::new(Ecosystem::AlmaLinux, "9")]);
    }

    #[test]
    fn a_bad_update_is_named_and_the_rest_goes_on() {
        let (sink, summary) = updateinfo(
            br#"<updates><update type="security"><title>no id</title></update>
                <update type="security"><id>A-1</id></update>
                <update type="security"><id>A-2</id><pkglist><collection>
                    <package name="x" version="1" epoch="one" release="1"/><package name="y" version="1" release="1"/>
                </collection></pkglist></update></updates>"#,
        );
        let records: Vec<_> = sink.problems.iter().map(|p| p.record.as_str()).collect();
        assert_eq!(records, ["update 1", "A-1", "A-2"]);
        assert_eq!(rows(&sink), ["A-2 y - 1-1"]);
        assert_eq!(summary.records, 3);
    }

    #[test]
    fn a_truncated_or_broken_file_gives_what_was_complete() {
        let at = ONE.find("ALSA-2021").unwrap();
        let (sink, summary) = updateinfo(&ONE.as_bytes()[..at + 20]);
        assert_eq!(sink.statements.len(), 4);
        assert!(summary.cut_short.unwrap().contains("ALSA-2021"));
        let (sink, summary) = updateinfo(&[&ONE.as_bytes()[..at], b"<!", b"!><<<"].concat());
        assert_eq!(sink.statements.len(), 4);
        assert!(summary.cut_short.is_some());
    }

    #[test]
    fn wrongly_encoded_text_costs_only_itself() {
        let latin = ONE.replace("pigeonhole <", "pigeonhol\u{1} <").into_bytes();
        let latin: Vec<u8> = latin
            .into_iter()
            .map(|b| if b == 1 { 0xe9 } else { b })
            .collect();
        let (sink, _) = updateinfo(&latin);
        assert_eq!(sink.statements.len(), 6);
        assert!(sink.statements[0].title.contains("pigeonhol?"));
    }

    #[test]
    fn hostile_xml_stays_within_limits() {
        let platform = Platform::new(Ecosystem::AlmaLinux, "9");
        let mut sink = Collect::default();
        let deep = "<updates>".to_owned() + &"<a>".repeat(1000);
        assert!(matches!(
            read(deep.as_bytes(), &platform, &mut sink),
            Err(ReadError::Limit { .. })
        ));
        let long = format!("<updates><update><id>{}", "x".repeat(EVENT_MAX + (1 << 20)));
        assert!(matches!(
            read(long.as_bytes(), &platform, &mut sink),
            Err(ReadError::Limit { .. })
        ));
        for text in ["<feed/>", "{}", "<!doctype html>", "", "plain"] {
            let error = read(text.as_bytes(), &platform, &mut sink).unwrap_err();
            assert!(
                matches!(error, ReadError::NotThisKind { .. }),
                "{text}: {error}"
            );
        }
        let entities = r#"<!DOCTYPE u [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><updates><update type="security"><id>A-1</id><title>&b;&b;</title>
            <pkglist><package name="y" version="1" release="1"/></pkglist></update></updates>"#;
        read(entities.as_bytes(), &platform, &mut sink).unwrap();
        assert_eq!(&*sink.statements[0].title, "\u{fffd}\u{fffd}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz(&data);
            fuzz(&[b"<updates><update type='security'>", &data[..]].concat());
        }

        #[test]
        fn damaged_files_are_read_without_panic(at in 0usize..2000, to: u8) {
            let mut data = ONE.as_bytes().to_vec();
            let at = at % data.len();
            data[at] = to;
            fuzz(&data);
        }
    }
}
