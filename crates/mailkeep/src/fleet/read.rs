//! A TOML document read key by key, so that every mistake is found in one go and told with its
//! place, its line and the nearest name that would be right.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use mailkeep_model::InvalidId;
use mailkeep_model::text::printable_max;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// One mistake in a fleet file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Table and key: `hosts.mx1.region`. Printable.
    pub place: String,
    /// What is wrong. Printable, one line.
    pub message: String,
    /// What to do about it, where there is a guess.
    pub hint: Option<String>,
    /// The line itself, cut where it is long. Printable.
    excerpt: String,
    /// Characters of the excerpt to point at.
    width: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        write!(f, "{}", self.message)?;
        if !self.excerpt.is_empty() && self.column <= MAX_EXCERPT {
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            write!(f, "\n  {number} | {}", self.excerpt)?;
            write!(
                f,
                "\n  {margin} | {}{}",
                " ".repeat(self.column - 1),
                "^".repeat(self.width)
            )?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Every mistake found, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// At most 100 of them.
    pub faults: Vec<Fault>,
    /// How many more there were.
    pub more: usize,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.faults.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Mistakes kept; a person mends a hundred before asking again.
const MAX_FAULTS: usize = 100;

/// Characters of a line that are shown.
const MAX_EXCERPT: usize = 160;

/// The document's text, and the mistakes found so far.
pub(super) struct Reader<'i> {
    text: &'i str,
    line_starts: Vec<usize>,
    faults: Vec<Fault>,
    more: usize,
}

impl<'i> Reader<'i> {
    pub(super) fn new(text: &'i str) -> Self {
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            text,
            line_starts,
            faults: Vec::new(),
            more: 0,
        }
    }

    /// The document as its root section; `None` where it is no TOML.
    pub(super) fn document(&mut self) -> Option<Section<'i>> {
        match DeTable::parse(self.text) {
            Ok(root) => Some(Section {
                path: String::new(),
                span: root.span(),
                table: root.into_inner(),
                known: Vec::new(),
            }),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let message = error.message();
                if message == "duplicate key" {
                    self.duplicate(span);
                } else {
                    self.fault("", span, format!("not TOML: {message}"));
                }
                None
            }
        }
    }

    pub(super) fn fault(&mut self, place: &str, span: Range<usize>, message: impl AsRef<str>) {
        self.fault_hint(place, span, message, None);
    }

    pub(super) fn fault_hint(
        &mut self,
        place: &str,
        span: Range<usize>,
        message: impl AsRef<str>,
        hint: Option<String>,
    ) {
        if self.full() {
            self.more += 1;
            return;
        }
        let line = self.line_of(span.start);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let whole = self.text.get(start..).unwrap_or("");
        let whole = whole.lines().next().unwrap_or("");
        let before = self.text.get(start..span.start).unwrap_or("");
        let inside = self.text.get(span.start..span.end).unwrap_or("");
        let column = before.chars().count() + 1;
        let width = inside.lines().next().unwrap_or("").chars().count();
        self.faults.push(Fault {
            line,
            column,
            place: printable_max(place, 200),
            message: printable_max(message.as_ref(), 500),
            hint: hint.map(|hint| printable_max(&hint, 300)),
            excerpt: printable_max(whole, MAX_EXCERPT),
            width: width.clamp(1, MAX_EXCERPT.saturating_sub(column).max(1)),
        });
    }

    /// Whether so many mistakes are kept that no more are looked at closely.
    pub(super) fn full(&self) -> bool {
        self.faults.len() >= MAX_FAULTS
    }

    pub(super) fn line_of(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }

    pub(super) fn into_faults(mut self) -> Option<Faults> {
        self.faults.sort_by_key(|fault| (fault.line, fault.column));
        (!self.faults.is_empty()).then_some(Faults {
            faults: self.faults,
            more: self.more,
        })
    }

    /// A key or table that is there twice: names both lines. The parser only tells the second; the
    /// first is looked for among the lines before it.
    fn duplicate(&mut self, span: Range<usize>) {
        let squeeze = |text: &str| -> String {
            text.chars()
                .filter(|c| !c.is_whitespace() && !matches!(c, '"' | '\''))
                .collect()
        };
        let line = self.line_of(span.start);
        let before: Vec<&str> = self.text.lines().take(line).collect();
        let Some((written, earlier)) = before.split_last() else {
            return self.fault("", span, "there is a key twice");
        };
        let header = |text: &str| text.trim_start().starts_with('[');
        let key = |text: &str| squeeze(text.split('=').next().unwrap_or(text));
        let first = if header(written) {
            earlier
                .iter()
                .rposition(|text| header(text) && squeeze(text) == squeeze(written))
        } else {
            let from = earlier
                .iter()
                .rposition(|text| header(text))
                .map_or(0, |at| at + 1);
            earlier
                .iter()
                .enumerate()
                .skip(from)
                .filter(|(_, text)| key(text) == key(written))
                .map(|(at, _)| at)
                .next_back()
        };
        let name = if header(written) {
            written.trim().trim_matches(['[', ']']).to_owned()
        } else {
            self.text.get(span.clone()).unwrap_or("").to_owned()
        };
        let message = match first {
            Some(at) => format!("{name} is there twice, on lines {} and {line}", at + 1),
            None => format!("{name} is there twice, the second time on line {line}"),
        };
        self.fault_hint(
            "",
            span,
            message,
            Some("keep one of the two, or give one another name".into()),
        );
    }
}

/// A table, of which keys are taken one by one; what is left at the end is not known.
pub(super) struct Section<'i> {
    pub(super) path: String,
    pub(super) span: Range<usize>,
    table: DeTable<'i>,
    known: Vec<&'static str>,
}

/// A value with its place.
pub(super) struct Item<'i> {
    pub(super) path: String,
    pub(super) span: Range<usize>,
    value: DeValue<'i>,
}

/// A string with its place.
pub(super) struct Text {
    pub(super) path: String,
    pub(super) span: Range<usize>,
    pub(super) value: String,
}

impl<'i> Section<'i> {
    /// Takes a key, where it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'i>> {
        self.known.push(key);
        let value = self.table.remove(key)?;
        Some(Item {
            path: join(&self.path, key),
            span: value.span(),
            value: value.into_inner(),
        })
    }

    /// All entries, for a table whose keys are names. Each with the place of its key.
    pub(super) fn entries(self) -> impl Iterator<Item = (Text, Item<'i>)> {
        let path = self.path;
        self.table.into_iter().map(move |(key, value)| {
            let span = key.span();
            let text = key.into_inner().into_owned();
            let item = Item {
                path: join(&path, &text),
                span: value.span(),
                value: value.into_inner(),
            };
            let key = Text {
                path: item.path.clone(),
                span,
                value: text,
            };
            (key, item)
        })
    }

    /// What was not taken, as one value again.
    pub(super) fn rest(self) -> Item<'i> {
        Item {
            path: self.path,
            span: self.span,
            value: DeValue::Table(self.table),
        }
    }

    /// Every key that was not taken is a mistake.
    pub(super) fn close(self, reader: &mut Reader<'_>) {
        for key in self.table.keys() {
            let known = self.known.iter().copied();
            let hint = nearest(key.get_ref(), known.clone(), reader).or_else(|| {
                let mut known: Vec<_> = known.collect();
                known.sort_unstable();
                Some(format!("known here: {}", known.join(", ")))
            });
            let place = join(&self.path, key.get_ref());
            let message = format!("there is no key called {:?} here", key.get_ref());
            reader.fault_hint(&place, key.span(), message, hint);
        }
    }
}

impl<'i> Item<'i> {
    fn wrong<T>(&self, reader: &mut Reader<'_>, wanted: &str) -> Option<T> {
        let message = format!("expected {wanted}, found {}", kind(&self.value));
        reader.fault(&self.path, self.span.clone(), message);
        None
    }

    pub(super) fn text(self, reader: &mut Reader<'_>) -> Option<Text> {
        match self.value {
            DeValue::String(text) => Some(Text {
                path: self.path,
                span: self.span,
                value: text.into_owned(),
            }),
            _ => self.wrong(reader, "a text"),
        }
    }

    pub(super) fn flag(self, reader: &mut Reader<'_>) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(value),
            _ => self.wrong(reader, "true or false"),
        }
    }

    /// A whole number within limits.
    pub(super) fn number(self, reader: &mut Reader<'_>, min: u32, max: u32) -> Option<u32> {
        if let DeValue::Integer(number) = &self.value
            && let Ok(value) = u32::from_str_radix(number.as_str(), number.radix())
            && (min..=max).contains(&value)
        {
            return Some(value);
        }
        self.wrong(reader, &format!("a whole number, {min} to {max}"))
    }

    pub(super) fn port(self, reader: &mut Reader<'_>) -> Option<u16> {
        self.number(reader, 1, u32::from(u16::MAX))
            .and_then(|port| u16::try_from(port).ok())
    }

    pub(super) fn section(self, reader: &mut Reader<'_>) -> Option<Section<'i>> {
        match self.value {
            DeValue::Table(table) => Some(Section {
                path: self.path,
                span: self.span,
                table,
                known: Vec::new(),
            }),
            _ => self.wrong(reader, "a table"),
        }
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    pub(super) fn list(self, reader: &mut Reader<'_>) -> Option<Vec<Self>> {
        let path = self.path.clone();
        let items = |array: DeArray<'i>| {
            array
                .into_iter()
                .enumerate()
                .map(|(at, value)| Item {
                    path: format!("{path}[{at}]"),
                    span: value.span(),
                    value: value.into_inner(),
                })
                .collect()
        };
        match self.value {
            DeValue::Array(array) => Some(items(array)),
            _ => self.wrong(reader, "a list"),
        }
    }

    /// A list of texts, or one text in place of a list of one.
    pub(super) fn texts(self, reader: &mut Reader<'_>) -> Vec<Text> {
        if self.is_text() {
            return self.text(reader).into_iter().collect();
        }
        self.list(reader)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|item| item.text(reader))
            .collect()
    }

    /// A length of time as ISO 8601 (`PT2H30M`) or `2h30m`, `7d`; a day is 24 hours.
    pub(super) fn duration(self, reader: &mut Reader<'_>) -> Option<SignedDuration> {
        let text = self.text(reader)?;
        let parsed = text
            .value
            .parse::<Span>()
            .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
        match parsed {
            Ok(duration) if duration.is_positive() => Some(duration),
            Ok(_) => text.wrong(reader, "a length of time must be more than nothing"),
            Err(error) => {
                let message = format!("{:?} is no length of time: {error}", text.value);
                let hint = "write 2h30m, 90m, 7d, or PT2H30M".to_owned();
                reader.fault_hint(&text.path, text.span, message, Some(hint));
                None
            }
        }
    }

    /// A length of time in whole minutes, as [`Self::duration`] takes it; nothing at all is one, where
    /// `min` is 0.
    pub(super) fn minutes(self, reader: &mut Reader<'_>, min: u32, max: u32) -> Option<u32> {
        self.whole(reader, 60, "minutes", min, max)
    }

    /// A length of time in whole seconds.
    pub(super) fn seconds(self, reader: &mut Reader<'_>, min: u32, max: u32) -> Option<u32> {
        self.whole(reader, 1, "seconds", min, max)
    }

    fn whole(
        self,
        reader: &mut Reader<'_>,
        unit: i64,
        units: &str,
        min: u32,
        max: u32,
    ) -> Option<u32> {
        let text = self.text(reader)?;
        let hint = || Some("write 2h30m, 90m, 7d, or PT2H30M".to_owned());
        let parsed = text
            .value
            .parse::<Span>()
            .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
        let duration = match parsed {
            Ok(duration) => duration,
            Err(error) => {
                let message = format!("{:?} is no length of time: {error}", text.value);
                reader.fault_hint(&text.path, text.span, message, hint());
                return None;
            }
        };
        let count = duration.as_secs() / unit;
        if duration.subsec_nanos() != 0 || duration.as_secs() % unit != 0 {
            let message = format!("must be a whole number of {units}");
            return text.wrong(reader, &message);
        }
        match u32::try_from(count) {
            Ok(count) if (min..=max).contains(&count) => Some(count),
            _ => {
                let message = format!("must be {min} to {max} {units}");
                reader.fault_hint(&text.path, text.span, message, hint());
                None
            }
        }
    }

    /// A day: a TOML date, or a text that is one.
    pub(super) fn date(self, reader: &mut Reader<'_>) -> Option<Date> {
        let written = match &self.value {
            DeValue::Datetime(date) => date.to_string(),
            DeValue::String(text) => text.to_string(),
            _ => return self.wrong(reader, "a day, as 2026-12-24"),
        };
        // A time of day would be dropped in silence.
        match written.parse::<Date>() {
            Ok(date) if written.len() == "2026-12-24".len() => Some(date),
            _ => {
                let message = format!("{written:?} is no day; write 2026-12-24");
                reader.fault(&self.path, self.span, message);
                None
            }
        }
    }

    /// Where it stands.
    pub(super) fn place(&self) -> (String, Range<usize>) {
        (self.path.clone(), self.span.clone())
    }

    /// A moment: a time with its offset (RFC 3339), or a date, which begins at midnight UTC. Either
    /// is TOML's own, or a string. A time without its offset could be hours off.
    pub(super) fn moment(self, reader: &mut Reader<'_>) -> Option<Timestamp> {
        let text = match self.value {
            DeValue::String(text) => text.into_owned(),
            DeValue::Datetime(moment) => moment.to_string(),
            _ => String::new(),
        };
        let moment = text.parse::<Timestamp>().ok().or_else(|| {
            // jiff takes a whole time for a date, and would forget its hours.
            let is_date = text.len() == "2026-11-20".len();
            let date = text.parse::<Date>().ok().filter(|_| is_date);
            Some(date?.to_zoned(TimeZone::UTC).ok()?.timestamp())
        });
        if moment.is_none() {
            let hint = Some("write 2026-11-20, or 2026-11-20T06:00:00Z".to_owned());
            let message = "a date, or a time with its offset, is wanted here";
            reader.fault_hint(&self.path, self.span, message, hint);
        }
        moment
    }

    /// The raw value, for serde.
    pub(super) fn into_raw(self) -> (String, Spanned<DeValue<'i>>) {
        (self.path, Spanned::new(self.span, self.value))
    }
}

impl Text {
    pub(super) fn wrong<T>(&self, reader: &mut Reader<'_>, message: &str) -> Option<T> {
        reader.fault(&self.path, self.span.clone(), message);
        None
    }

    /// The text as one of a few words.
    pub(super) fn one_of<T: Copy>(
        self,
        reader: &mut Reader<'_>,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == self.value) {
            return Some(*value);
        }
        let known = || words.iter().map(|(word, _)| *word);
        let hint = nearest(&self.value, known(), reader);
        let known: Vec<_> = known().collect();
        let message = format!("{:?} is none of {}", self.value, known.join(", "));
        reader.fault_hint(&self.path, self.span, message, hint);
        None
    }

    /// The text as an id.
    pub(super) fn id<T: std::str::FromStr<Err = InvalidId>>(
        &self,
        reader: &mut Reader<'_>,
    ) -> Option<T> {
        match self.value.parse() {
            Ok(id) => Some(id),
            Err(error) => self.wrong(reader, &error.to_string()),
        }
    }

    /// The text as the name of something declared elsewhere in the file.
    pub(super) fn declared<T, V>(
        &self,
        reader: &mut Reader<'_>,
        noun: &str,
        declared: &BTreeMap<T, V>,
    ) -> Option<T>
    where
        T: std::str::FromStr<Err = InvalidId> + Ord + std::borrow::Borrow<str>,
    {
        let id: T = self.id(reader)?;
        if declared.contains_key::<T>(&id) {
            return Some(id);
        }
        let names = declared.keys().map(std::borrow::Borrow::borrow);
        let hint = nearest(&self.value, names, reader)
            .unwrap_or_else(|| format!("declare it: [{noun}s.{}]", key(&self.value)));
        let message = format!("there is no {noun} called {:?}", self.value);
        reader.fault_hint(&self.path, self.span.clone(), message, Some(hint));
        None
    }
}

/// `did you mean "eu"?`, where a known name is near enough. Not looked for once many mistakes are
/// kept.
fn nearest<'k>(
    text: &str,
    known: impl Iterator<Item = &'k str>,
    reader: &Reader<'_>,
) -> Option<String> {
    let length = text.chars().count();
    if reader.full() || length > 64 {
        return None;
    }
    let within = (length / 3).clamp(1, 3);
    let lower = text.to_lowercase();
    known
        .filter(|name| name.len().abs_diff(text.len()) <= 8)
        .take(100_000)
        .map(|name| (strsim::osa_distance(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= within)
        .min()
        .map(|(_, name)| format!("did you mean {name:?}?"))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        key(name)
    } else {
        format!("{path}.{}", key(name))
    }
}

/// A name as a TOML key: bare where it may be.
pub(super) fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// A text as a TOML basic string (TOML 1.0, "String").
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if mailkeep_model::text::is_unsafe(c) => {
                out.push_str("\\u");
                out.push_str(&format_args!("{:04X}", u32::from(c)).to_string());
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
