//! Takes a large JSON text apart into the members of one object or array, without parsing it.
//!
//! Entry: [`Splitter`]. It follows only quotes, escapes and brackets, so it runs at memory speed
//! and survives what a parser would stop at: a member that is no valid JSON is still delimited,
//! and becomes a problem when somebody parses it. Memory is one member, whatever the feed's size.
//!
//! It must not know any feed's format.

use std::borrow::Cow;
use std::io::Read;

use crate::window::Window;
use crate::{ReadError, text};

/// Bounds on hostile input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest member, in bytes. The largest real one, `linux` in the Debian tracker, has 15 MB.
    pub member: usize,
    /// Deepest nesting within a member; `serde_json` itself stops at 128.
    pub depth: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            member: 64 * 1024 * 1024,
            depth: 128,
        }
    }
}

/// Longest key looked at when following a path.
const KEY_MAX: usize = 4096;

/// A JSON text, member by member.
#[derive(Debug)]
pub struct Splitter<R> {
    window: Window<R>,
    expected: &'static str,
    path: &'static [&'static str],
    limits: Limits,
    /// Brackets open around the next member: an object or not.
    open: Vec<Container>,
    state: State,
    index: u64,
    /// Bytes of the member handed out last.
    taken: usize,
    cut: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte.
    Start,
    /// Between members.
    Members,
    /// Between values that follow one another.
    Values,
    /// Through.
    Done,
}

/// One member of an object, one element of an array, or one of several values in a row.
#[derive(Debug)]
pub struct Member<'a> {
    /// Whether it lies in the container asked for; else it lies beside the way there.
    pub inside: bool,
    /// Its key as written, without the quotes; `None` for an element.
    pub raw_key: Option<Cow<'a, [u8]>>,
    /// Its place among its siblings, from 0.
    pub index: u64,
    /// Place of its first byte in the input.
    pub offset: u64,
    /// Its value as written, or why that is not to be had.
    pub value: Result<&'a [u8], Unusable>,
}

/// Why a member cannot be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// In an object, but without a key.
    #[error("it has no key")]
    NoKey,
    /// Nested deeper than [`Limits::depth`].
    #[error("it is nested more than {0} deep")]
    TooDeep(u32),
    /// Larger than [`Limits::member`].
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
}

impl Member<'_> {
    /// The key with its escapes resolved; empty where there is none.
    pub fn key(&self) -> Cow<'_, str> {
        let raw = self.raw_key.as_deref().unwrap_or_default();
        if memchr::memchr(b'\\', raw).is_some() {
            let quoted = [b"\"", raw, b"\""].concat();
            if let Ok(key) = serde_json::from_slice::<String>(&quoted) {
                return Cow::Owned(key);
            }
        }
        String::from_utf8_lossy(raw)
    }

    /// A name for problems: the key, else the place among its siblings, counted from 1.
    pub fn name(&self) -> String {
        match self.raw_key {
            Some(_) => text::line(&self.key(), text::TITLE_MAX).into(),
            None => format!("record {}", self.index + 1),
        }
    }
}

impl<R: Read> Splitter<R> {
    /// Opens a JSON text, whose root must be an object or an array. `expected` names the feed for
    /// error messages. Hands out the root's members unless told otherwise by [`Self::at`] or
    /// [`Self::values`].
    pub fn open(input: R, expected: &'static str) -> Result<Self, ReadError> {
        let mut splitter = Self {
            window: Window::open(input, expected)?,
            expected,
            path: &[],
            limits: Limits::default(),
            open: Vec::new(),
            state: State::Start,
            index: 0,
            taken: 0,
            cut: None,
        };
        match splitter.next_byte()? {
            Some(b'{' | b'[') => Ok(splitter),
            _ => Err(splitter.not_this_kind("it begins like no JSON object or array")),
        }
    }

    /// Descends by keys first: the members of the container there are [`Member::inside`]. What
    /// lies beside the way is handed out too, as it comes.
    #[must_use]
    pub fn at(mut self, path: &'static [&'static str]) -> Self {
        self.path = path;
        self
    }

    /// Hands out whole values that follow one another (one record, or one a line) instead of the
    /// members of the first.
    #[must_use]
    pub fn values(mut self) -> Self {
        self.state = State::Values;
        self
    }

    /// Changes the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether the root is an array, and else its first key, without moving. `None` as key where
    /// the root is empty or its first key is cut off.
    pub fn peek(&mut self) -> Result<(bool, Option<String>), ReadError> {
        let array = self.next_byte()? == Some(b'[');
        if array {
            return Ok((true, None));
        }
        while self.window.unread().len() < KEY_MAX && self.window.fill()? {}
        let unread = self.window.unread();
        let inner = unread.get(1..).unwrap_or_default().trim_ascii_start();
        let key = split_key(inner).map(|(key, _)| String::from_utf8_lossy(key).into_owned());
        Ok((false, key))
    }

    /// Where the input ended before its end or went on after it: a line for
    /// [`crate::Summary::cut_short`].
    pub fn cut_short(&self) -> Option<String> {
        self.cut.clone()
    }

    /// The next member; `None` once the text is through.
    #[expect(
        clippy::should_implement_trait,
        reason = "a member borrows from the splitter"
    )]
    pub fn next(&mut self) -> Result<Option<Member<'_>>, ReadError> {
        self.window.take(self.taken);
        self.taken = 0;
        loop {
            let byte = self.next_byte()?;
            match (self.state, byte) {
                (State::Done, _) => return Ok(None),
                (State::Values, None) => {
                    self.finish(false);
                    return Ok(None);
                }
                (State::Values, Some(_)) => return self.value(),
                (State::Start, _) => {
                    self.state = State::Members;
                    self.descend(byte);
                }
                (State::Members, None) => {
                    self.finish(true);
                    return Ok(None);
                }
                (State::Members, Some(b',')) => self.window.take(1),
                (State::Members, Some(b'}' | b']')) => {
                    self.window.take(1);
                    self.open.pop();
                    if self.open.is_empty() {
                        if self.next_byte()?.is_some() {
                            self.cut = Some(format!(
                                "the {} is closed at byte {}, but more follows",
                                self.expected,
                                self.window.offset()
                            ));
                        }
                        self.finish(false);
                        return Ok(None);
                    }
                }
                (State::Members, Some(_)) => {
                    let inside = self.open.len() > self.path.len();
                    if inside || !self.follow_path()? {
                        return self.member(inside);
                    }
                }
            }
        }
    }

    /// Offers the next members of a root object to a parser, as far as they are in view, without
    /// delimiting them first. `parse` gets the text from a key on and gives the bytes it took, up to
    /// the end of a member's value or 0, and the members in them. [`Self::next`] goes on behind.
    ///
    /// Saves the delimiting pass where a parser finds the ends anyway, and the check of each string
    /// where it takes a `str`.
    pub fn offer(
        &mut self,
        parse: impl FnOnce(&str) -> Result<(usize, u64), ReadError>,
    ) -> Result<(), ReadError> {
        self.window.take(self.taken);
        self.taken = 0;
        if self.state != State::Members
            || !self.path.is_empty()
            || self.open.as_slice() != [Container::Object]
        {
            return Ok(());
        }
        while self.next_byte()? == Some(b',') {
            self.window.take(1);
        }
        let unread = self.window.unread();
        let text = match std::str::from_utf8(unread) {
            Ok(text) => text,
            Err(error) => {
                let valid = unread.get(..error.valid_up_to()).unwrap_or_default();
                std::str::from_utf8(valid).unwrap_or_default()
            }
        };
        let (taken, members) = parse(text)?;
        self.window.take(taken);
        self.index += members;
        Ok(())
    }

    fn not_this_kind(&self, found: &str) -> ReadError {
        ReadError::NotThisKind {
            expected: self.expected,
            found: found.to_owned(),
        }
    }

    /// Ends; `early` where the text should have gone on.
    fn finish(&mut self, early: bool) {
        self.state = State::Done;
        let end = self.window.offset() + self.window.unread().len() as u64;
        if let Some(reason) = self.window.ended_early() {
            self.cut = Some(format!("at byte {end}: {reason}"));
        } else if early {
            self.cut = Some(format!(
                "it ends at byte {end}, before its last bracket is closed"
            ));
        }
    }

    /// Skips white space.
    fn next_byte(&mut self) -> Result<Option<u8>, ReadError> {
        loop {
            let unread = self.window.unread();
            if let Some(at) = unread.iter().position(|b| !b.is_ascii_whitespace()) {
                let byte = unread.get(at).copied();
                self.window.take(at);
                return Ok(byte);
            }
            let blank = unread.len();
            self.window.take(blank);
            if !self.window.fill()? {
                return Ok(None);
            }
        }
    }

    /// Enters the container whose first bracket is next.
    fn descend(&mut self, bracket: Option<u8>) {
        self.open.push(if bracket == Some(b'{') {
            Container::Object
        } else {
            Container::Array
        });
        self.index = 0;
        self.window.take(1);
    }

    /// Descends where the next member is the next step of the path and holds a container.
    fn follow_path(&mut self) -> Result<bool, ReadError> {
        if self.open.last() != Some(&Container::Object) {
            return Ok(false);
        }
        let Some(step) = self
            .open
            .len()
            .checked_sub(1)
            .and_then(|i| self.path.get(i))
        else {
            return Ok(false);
        };
        // The key, the colon and the bracket must all be in view.
        while self.window.unread().len() < KEY_MAX && self.window.fill()? {}
        let unread = self.window.unread();
        let Some((key, value)) = split_key(unread) else {
            return Ok(false);
        };
        let bracket = value.first().copied();
        if key != step.as_bytes() || !matches!(bracket, Some(b'{' | b'[')) {
            return Ok(false);
        }
        let before = unread.len() - value.len();
        self.window.take(before);
        self.descend(bracket);
        Ok(true)
    }

    /// Delimits and hands out the member that begins here.
    fn member(&mut self, inside: bool) -> Result<Option<Member<'_>>, ReadError> {
        let in_object = self.open.last() == Some(&Container::Object);
        let Some(found) = self.delimit(Scan::default())? else {
            self.finish(true);
            return Ok(None);
        };
        Ok(Some(self.hand_out(inside, in_object, found)))
    }

    /// Delimits and hands out the value that begins here, outside any container.
    fn value(&mut self) -> Result<Option<Member<'_>>, ReadError> {
        let found = if matches!(self.window.unread().first(), Some(b'{' | b'[')) {
            self.delimit(Scan {
                whole_value: true,
                ..Scan::default()
            })?
        } else {
            // No record begins so; up to the end of the line it is one bad record.
            Some(self.rest_of_line()?)
        };
        let Some(found) = found else {
            self.finish(true);
            return Ok(None);
        };
        Ok(Some(self.hand_out(true, false, found)))
    }

    /// Finds where the member ends that begins here; `None` where the input ends first. One that
    /// is too large is passed over, without being kept.
    fn delimit(&mut self, mut scan: Scan) -> Result<Option<Found>, ReadError> {
        let offset = self.window.offset();
        // The opening bracket of a whole value is no nesting.
        let mut at = usize::from(scan.whole_value);
        let mut passed_over = None;
        loop {
            let unread = self.window.unread();
            match scan.run(unread, at) {
                Step::End(end) => {
                    let length = end + usize::from(scan.whole_value);
                    let unusable = if passed_over.is_some() || length > self.limits.member {
                        Some(Unusable::TooLarge(self.limits.member))
                    } else if scan.deepest > self.limits.depth {
                        Some(Unusable::TooDeep(self.limits.depth))
                    } else {
                        None
                    };
                    return Ok(Some(Found {
                        length,
                        offset,
                        unusable,
                        passed_over,
                    }));
                }
                Step::More(reached) => {
                    at = reached;
                    if at > self.limits.member {
                        if passed_over.is_none() {
                            let head = unread.get(..KEY_MAX).unwrap_or(unread);
                            let key = split_key(head).map(|(key, _)| key.to_vec());
                            passed_over = Some(key.unwrap_or_default());
                        }
                        self.window.take(at);
                        at = 0;
                    }
                    if !self.window.fill()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn rest_of_line(&mut self) -> Result<Found, ReadError> {
        let offset = self.window.offset();
        loop {
            let unread = self.window.unread();
            let end = memchr::memchr(b'\n', unread);
            let enough = end.is_some() || unread.len() > self.limits.member;
            if enough || !self.window.fill()? {
                return Ok(Found {
                    length: end.unwrap_or(self.window.unread().len()),
                    offset,
                    unusable: None,
                    passed_over: None,
                });
            }
        }
    }

    fn hand_out(&mut self, inside: bool, in_object: bool, found: Found) -> Member<'_> {
        self.taken = found.length;
        let index = self.index;
        self.index += 1;
        let unread = self.window.unread();
        let text = unread.get(..found.length).unwrap_or_default();
        let split = if in_object { split_key(text) } else { None };
        let raw_key = match (found.passed_over, split) {
            (Some(key), _) => in_object.then_some(Cow::Owned(key)),
            (None, Some((key, _))) => Some(Cow::Borrowed(key)),
            (None, None) => None,
        };
        let value = match (found.unusable, split) {
            (Some(unusable), _) => Err(unusable),
            (None, Some((_, value))) => Ok(value.trim_ascii_end()),
            (None, None) if in_object => Err(Unusable::NoKey),
            (None, None) => Ok(text.trim_ascii_end()),
        };
        Member {
            inside,
            raw_key,
            index,
            offset: found.offset,
            value,
        }
    }
}

/// A member delimited.
#[derive(Debug)]
struct Found {
    /// Its bytes still in view.
    length: usize,
    offset: u64,
    unusable: Option<Unusable>,
    /// Its key, where it was too large to be kept.
    passed_over: Option<Vec<u8>>,
}

/// How far brackets and quotes have been followed.
#[derive(Debug, Default)]
struct Scan {
    depth: u32,
    deepest: u32,
    in_string: bool,
    /// A comma at depth 0 does not end it.
    whole_value: bool,
}

/// Where [`Scan::run`] came to.
enum Step {
    /// At what ends the member: the comma behind it, or the bracket that closes its container.
    End(usize),
    /// Out of bytes; go on from here.
    More(usize),
}

impl Scan {
    fn run(&mut self, bytes: &[u8], from: usize) -> Step {
        let mut at = from;
        loop {
            if self.in_string {
                let rest = bytes.get(at..).unwrap_or_default();
                match memchr::memchr2(b'"', b'\\', rest) {
                    None => return Step::More(bytes.len()),
                    Some(n) if rest.get(n) == Some(&b'"') => {
                        at += n + 1;
                        self.in_string = false;
                    }
                    // What is escaped is passed over with its backslash, and must be in view.
                    Some(n) if n + 2 > rest.len() => return Step::More(at + n),
                    Some(n) => {
                        at += n + 2;
                        continue;
                    }
                }
            }
            loop {
                let Some(&byte) = bytes.get(at) else {
                    return Step::More(at);
                };
                match byte {
                    b'"' => {
                        at += 1;
                        self.in_string = true;
                        break;
                    }
                    b'{' | b'[' => {
                        self.depth = self.depth.saturating_add(1);
                        self.deepest = self.deepest.max(self.depth);
                    }
                    b'}' | b']' => match self.depth.checked_sub(1) {
                        Some(depth) => self.depth = depth,
                        None => return Step::End(at),
                    },
                    b',' if self.depth == 0 && !self.whole_value => return Step::End(at),
                    _ => {}
                }
                at += 1;
            }
        }
    }
}

/// Splits `"key" : value` into the key without its quotes and the value; `None` where it is
/// nothing of that kind.
pub(crate) fn split_key(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"\"")?;
    let mut end = 0;
    loop {
        end += memchr::memchr2(b'"', b'\\', text.get(end..)?)?;
        if text.get(end) == Some(&b'"') {
            break;
        }
        end += 2;
    }
    let (key, rest) = text.split_at_checked(end)?;
    let value = rest
        .get(1..)?
        .trim_ascii_start()
        .strip_prefix(b":")?
        .trim_ascii_start();
    Some((key, value))
}

/// Fuzz entry: takes any bytes apart in every mode.
pub fn fuzz(data: &[u8]) {
    let limits = Limits {
        member: 256,
        depth: 8,
    };
    for mode in 0..3 {
        let Ok(splitter) = Splitter::open(data, "JSON") else {
            return;
        };
        let mut splitter = match mode {
            0 => splitter,
            1 => splitter.at(&["a", "b"]),
            _ => splitter.values(),
        }
        .limits(limits);
        while let Ok(Some(member)) = splitter.next() {
            let _name = member.name();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::tests::Trickle;
    use proptest::prelude::*;

    #[derive(Clone, Copy)]
    enum Mode {
        Root,
        Path(&'static [&'static str]),
        Values,
        Within(Limits),
    }

    type Plain = (bool, String, Result<String, Unusable>);

    fn split(text: &[u8], step: usize, mode: Mode) -> (Vec<Plain>, Option<String>) {
        let splitter = Splitter::open(Trickle(text, step), "JSON").unwrap();
        let mut splitter = match mode {
            Mode::Root => splitter,
            Mode::Path(path) => splitter.at(path),
            Mode::Values => splitter.values(),
            Mode::Within(limits) => splitter.limits(limits),
        };
        let mut all = Vec::new();
        while let Some(member) = splitter.next().unwrap() {
            all.push((
                member.inside,
                member.name(),
                member
                    .value
                    .map(|value| String::from_utf8_lossy(value).into_owned()),
            ));
        }
        (all, splitter.cut_short())
    }

    fn inside(text: &str) -> (Vec<(String, String)>, Option<String>) {
        let mut results = [1, 2, 3, 1000]
            .map(|step| split(text.as_bytes(), step, Mode::Root))
            .to_vec();
        let (all, cut) = results.pop().unwrap();
        for result in results {
            assert_eq!(result, (all.clone(), cut.clone()));
        }
        let all = all
            .into_iter()
            .map(|(_, key, value)| (key, value.unwrap()))
            .collect();
        (all, cut)
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn members_of_an_object_come_one_by_one() {
        let text =
            "\u{feff} {\"a\\\"\\u00e9\" : {\"x\": \"},]\\\\\"} , \"b\":[1,2] ,\n\"c\": 3 }\n";
        let expected = pairs(&[("a\"é", "{\"x\": \"},]\\\\\"}"), ("b", "[1,2]"), ("c", "3")]);
        assert_eq!(inside(text), (expected, None));
        assert_eq!(inside("{}"), (vec![], None));
        assert_eq!(inside("[]"), (vec![], None));
        assert_eq!(
            inside("[{}, [2] ,3]").0,
            pairs(&[("record 1", "{}"), ("record 2", "[2]"), ("record 3", "3")])
        );
    }

    #[test]
    fn a_member_that_is_no_json_leaves_its_siblings_alone() {
        let (all, cut) =
            inside(r#"{"a": nonsense here, "b": {"x":}, "c": {"y":1} trailing, "d": 4}"#);
        assert_eq!(
            all,
            pairs(&[
                ("a", "nonsense here"),
                ("b", r#"{"x":}"#),
                ("c", r#"{"y":1} trailing"#),
                ("d", "4")
            ])
        );
        assert_eq!(cut, None);
    }

    #[test]
    fn a_truncated_text_gives_what_was_complete_and_says_so() {
        for (text, complete) in [
            (r#"{"a": 1, "b": {"#, 1),
            (r#"{"a": 1, "b": "x\"#, 1),
            (r#"{"a": 1,"#, 1),
            ("{", 0),
            ("[", 0),
        ] {
            let (all, cut) = inside(text);
            assert_eq!(all.len(), complete, "{text}");
            assert!(cut.unwrap().contains("before its last bracket"), "{text}");
        }
    }

    #[test]
    fn what_follows_the_last_bracket_is_said() {
        let (all, cut) = inside(r#"{"a": [1]], "b": 2}"#);
        assert_eq!(all.len(), 1);
        assert!(cut.unwrap().contains("more follows"));
    }

    #[test]
    fn a_path_is_followed_and_what_lies_beside_it_is_handed_out_as_such() {
        let text = br#"{"date": "d", "list": {"skip": 0, "v": [1, 2]}, "count": 2}"#;
        for step in [1, 5, 1000] {
            let (all, cut) = split(text, step, Mode::Path(&["list", "v"]));
            let names: Vec<_> = all
                .iter()
                .map(|(inside, name, value)| (*inside, name.as_str(), value.as_deref().unwrap()))
                .collect();
            assert_eq!(
                names,
                [
                    (false, "date", "\"d\""),
                    (false, "skip", "0"),
                    (true, "record 1", "1"),
                    (true, "record 2", "2"),
                    (false, "count", "2"),
                ]
            );
            assert_eq!(cut, None);
        }
    }

    #[test]
    fn values_in_a_row_are_handed_out_whole() {
        let text = b"{\"a\": [1, 2], \"b\": 3}\n[4]\nrubbish\n{\"c\": ";
        for step in [1, 4, 1000] {
            let (all, cut) = split(text, step, Mode::Values);
            let values: Vec<_> = all.iter().map(|(_, _, v)| v.as_deref().unwrap()).collect();
            assert_eq!(values, ["{\"a\": [1, 2], \"b\": 3}", "[4]", "rubbish"]);
            assert!(cut.is_some());
        }
    }

    #[test]
    fn a_member_past_a_limit_is_named_and_the_rest_goes_on() {
        let text = format!(
            r#"{{"large": "{}", "deep": {}{}, "keyless", "fine": 1}}"#,
            "x".repeat(100_000),
            "[".repeat(20),
            "]".repeat(20)
        );
        let limits = Limits {
            member: 1000,
            depth: 10,
        };
        for step in [10, 1_000_000] {
            let (all, cut) = split(text.as_bytes(), step, Mode::Within(limits));
            assert_eq!(cut, None);
            assert_eq!(all[0].1, "large");
            assert_eq!(all[0].2, Err(Unusable::TooLarge(1000)));
            assert_eq!(
                (all[1].1.as_str(), &all[1].2),
                ("deep", &Err(Unusable::TooDeep(10)))
            );
            assert_eq!(all[2].2, Err(Unusable::NoKey));
            assert_eq!(all[3].2, Ok("1".to_owned()));
        }
    }

    #[test]
    fn memory_does_not_grow_with_the_feed() {
        let text = format!("[{}0]", format!("\"{}\",", "y".repeat(998)).repeat(20_000));
        let mut splitter = Splitter::open(text.as_bytes(), "JSON").unwrap();
        let mut members = 0;
        while splitter.next().unwrap().is_some() {
            members += 1;
        }
        assert_eq!(members, 20_001);
        assert!(splitter.window.capacity() < 2 << 20);
    }

    #[test]
    fn nesting_a_million_deep_is_just_another_problem() {
        let text = "[".repeat(1_000_000);
        let (all, cut) = split(text.as_bytes(), 100_000, Mode::Root);
        assert!(all.is_empty() && cut.is_some());
    }

    #[test]
    fn a_root_that_is_no_container_is_refused() {
        for text in ["3", "\"x\"", "hello", "<?xml version='1.0'?>"] {
            assert!(
                matches!(
                    Splitter::open(text.as_bytes(), "JSON"),
                    Err(ReadError::NotThisKind { .. })
                ),
                "{text}"
            );
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(Into::into),
            ".*".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(".*", inner, 0..6)
                    .prop_map(|map| { serde_json::Value::Object(map.into_iter().collect()) }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_apart_without_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz(&data);
        }

        #[test]
        fn anything_like_json_is_taken_apart_without_panic(data in r#"[\[{][\[\]{}",:a1\\ \n]{0,200}"#) {
            fuzz(data.as_bytes());
        }

        #[test]
        fn the_parts_are_the_whole(
            object in prop::collection::btree_map(".*", json(), 0..6),
            pretty: bool,
            step in 1usize..50,
        ) {
            let whole = serde_json::Value::Object(object.clone().into_iter().collect());
            let text = if pretty {
                serde_json::to_string_pretty(&whole).unwrap()
            } else {
                whole.to_string()
            };
            let mut splitter = Splitter::open(Trickle(text.as_bytes(), step), "JSON").unwrap();
            let mut parts = serde_json::Map::new();
            while let Some(member) = splitter.next().unwrap() {
                let value = serde_json::from_slice(member.value.unwrap()).unwrap();
                parts.insert(member.key().into_owned(), value);
            }
            prop_assert_eq!(splitter.cut_short(), None);
            prop_assert_eq!(serde_json::Value::Object(parts), whole);
        }
    }
}
