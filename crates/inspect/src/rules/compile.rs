//! Rules made quick: one search for what their expressions must hold, and then only those that it finds.
//!
//! Entry: [`Compiled`]. Thousands of rules cost little more than twenty: an item is searched once for the literals of
//! all of them, and an expression runs only where one of its own was found.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::{AhoCorasick, MatchKind, Span, packed};
use mailkeep_model::text::printable_max;

use super::bundle::{Bundle, BundleError, PatchRule};
use super::condition::{AskedNames, Item, Ready, Subject, Test, is_type, literals};
use super::view::{self, CommandView};
use crate::{Content, Origin, Reason, Verdict};

/// Octets of what was seen that are shown as evidence.
const EVIDENCE: usize = 80;

/// The signatures in force of a bundle, ready to be used.
#[derive(Debug)]
pub struct Compiled {
    rules: Vec<Known>,
    conditions: Vec<Condition>,
    tests: Vec<Ready>,
    /// By [`Subject::index`].
    subjects: Vec<Index>,
}

/// Octets of a literal by which its beginning is looked for.
const BEGINNING: usize = 3;
/// Beginnings that are looked for at once; more of them take longer than all literals by an automaton.
const MOST_BEGINS: usize = 64;
/// Beginnings in one value that are looked at. Where there are more, an automaton takes over.
const MOST_BEGINNINGS: usize = 32;

/// What is told of a rule whose condition holds.
#[derive(Debug)]
struct Known {
    name: String,
    text: String,
    verdict: Verdict,
}

/// All of these have to hold.
#[derive(Debug)]
struct Condition {
    rule: u32,
    tests: Vec<u32>,
}

/// The tests that look at one subject.
#[derive(Debug, Default)]
struct Index {
    all: Group,
    /// The names of items and the types of content that some of them are for, and no other.
    names: AskedNames,
    types: BTreeSet<String>,
    /// Without these, where there are any.
    of_any: Option<Group>,
    /// The tags that any of them is for.
    tags: AskedNames,
}

impl Index {
    /// Those that may concern an item.
    fn group(&self, item: &Item<'_>) -> &Group {
        let is_asked_for = || {
            let mut types = self.types.iter();
            self.names.hold(item.name)
                || types.any(|own| item.types.iter().any(|found| is_type(own, found)))
        };
        match &self.of_any {
            Some(group) if !is_asked_for() => group,
            _ => &self.all,
        }
    }
}

/// Tests that look at the same items.
#[derive(Debug, Default)]
struct Group {
    search: Search,
    /// Those that have to be made in any case.
    always: Vec<u32>,
}

/// Literals of tests, for which an item is searched once.
#[derive(Debug, Default)]
struct Search {
    automaton: Option<AhoCorasick>,
    /// What they begin with, where they are few: most that is no text has hardly any of it, and that shows ten times as fast.
    begins: Option<packed::Searcher>,
    literals: Vec<Vec<u8>>,
    /// By the number of a literal.
    found: Vec<Vec<u32>>,
    /// How many tests are among these.
    tests: usize,
}

/// Tests that held of what is seen at a time: how often, and of what first.
#[derive(Debug, Default)]
struct Hits {
    tests: BTreeMap<u32, (u32, String)>,
    /// By test: the last item it was made of, so that a text that stands there a million times costs one test.
    made: Vec<u32>,
    item: u32,
}

impl Compiled {
    /// Makes the signatures in force ready.
    ///
    /// # Errors
    /// A condition that cannot be used.
    pub fn new(bundle: &Bundle) -> Result<Self, BundleError> {
        let signatures = bundle.in_force().filter(|rule| rule.is_signature());
        Self::of(signatures)
    }

    pub(super) fn of<'a>(
        rules: impl IntoIterator<Item = &'a PatchRule>,
    ) -> Result<Self, BundleError> {
        Self::made(rules, true)
    }

    /// With every test made of every item, so that the search can be compared with it.
    pub(super) fn without_search<'a>(
        rules: impl IntoIterator<Item = &'a PatchRule>,
    ) -> Result<Self, BundleError> {
        Self::made(rules, false)
    }

    fn made<'a>(
        rules: impl IntoIterator<Item = &'a PatchRule>,
        searched: bool,
    ) -> Result<Self, BundleError> {
        let mut compiled = Self {
            rules: Vec::new(),
            conditions: Vec::new(),
            tests: Vec::new(),
            subjects: Vec::new(),
        };
        let mut building: Vec<Building> = (0..Subject::COUNT)
            .map(|_| Building::new(searched))
            .collect();
        for rule in rules {
            let number = count(compiled.rules.len());
            for test in &rule.when {
                // All must hold of one content: none says anything of another type than the first asks for.
                let also = test.also.iter().cloned().map(|mut also| {
                    if searched && also.types.is_empty() {
                        also.types.clone_from(&test.types);
                    }
                    also
                });
                let tests = std::iter::once(test.clone())
                    .chain(also)
                    .map(|test| compiled.add(&test, &mut building))
                    .collect::<Result<_, _>>()
                    .map_err(|what| wrong(rule, what))?;
                compiled.conditions.push(Condition {
                    rule: number,
                    tests,
                });
            }
            compiled.rules.push(Known {
                name: rule.name.clone(),
                text: printable_max(&rule.text_for_sender(), 400),
                verdict: if rule.is_enforced() {
                    Verdict::Refuse
                } else {
                    Verdict::Accept
                },
            });
        }
        for building in building {
            let index = building
                .finish(&compiled.tests)
                .map_err(|what| BundleError::Rule {
                    place: "bundle".to_owned(),
                    what,
                })?;
            compiled.subjects.push(index);
        }
        Ok(compiled)
    }

    fn add(&mut self, test: &Test, building: &mut [Building]) -> Result<u32, String> {
        let number = count(self.tests.len());
        self.tests.push(Ready::new(test)?);
        let literals = literals(test);
        for subject in &test.subjects {
            if let Some(building) = building.get_mut(subject.index()) {
                building.add(number, literals.as_deref());
            }
        }
        Ok(number)
    }

    /// How many signatures are in force.
    pub fn count(&self) -> usize {
        self.rules.len()
    }

    /// The names of the signatures in force.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name.as_str())
    }

    /// What the rules have to say of a command line, with or without its CRLF.
    pub fn command(&self, line: &[u8]) -> Vec<Reason> {
        let mut hits = Hits::default();
        let view = CommandView::new(line);
        self.show(Subject::Verb, "", view.verb.as_bytes(), &mut hits);
        self.show(Subject::Argument, "", view.argument, &mut hits);
        if matches!(view.verb.as_str(), "EHLO" | "HELO" | "LHLO") {
            self.show(Subject::Hello, "", view.argument, &mut hits);
        }
        if let Some(path) = view.path {
            let (whole, local) = if view.verb == "MAIL" {
                (Subject::Sender, Subject::SenderLocal)
            } else {
                (Subject::Recipient, Subject::RecipientLocal)
            };
            self.show(whole, "", path, &mut hits);
            self.show(local, "", view.local, &mut hits);
        }
        for (name, value) in &view.parameters {
            self.show(Subject::Parameter, name, value, &mut hits);
        }
        let mut held = BTreeMap::new();
        self.conclude(&hits, "", &mut held);
        self.reasons(held)
    }

    /// Begins to look at a message.
    pub fn message(&self) -> MessageRun<'_> {
        MessageRun {
            compiled: self,
            held: BTreeMap::new(),
        }
    }

    /// Whether any rule looks at messages at all.
    pub fn looks_at_messages(&self) -> bool {
        use super::condition::Unit;
        ALL.iter()
            .any(|subject| subject.unit() != Unit::Command && self.looks_at(*subject))
    }

    fn looks_at(&self, subject: Subject) -> bool {
        self.subjects.get(subject.index()).is_some_and(|index| {
            index.all.search.automaton.is_some() || !index.all.always.is_empty()
        })
    }

    /// Whether any rule may hold of an address in a field.
    fn looks_at_addresses(&self, name: &str, value: &[u8]) -> bool {
        let Some(index) = self.subjects.get(Subject::HeaderAddress.index()) else {
            return false;
        };
        let item = Item {
            name,
            tag: "",
            types: &[],
            value,
        };
        let group = index.group(&item);
        // What has no comments and no quotes holds its addresses as they are written.
        let may_hold = || memchr::memchr2(b'(', b'"', value).is_some() || group.search.finds(value);
        !group.always.is_empty() || (group.search.automaton.is_some() && may_hold())
    }

    fn show(&self, subject: Subject, name: &str, value: &[u8], hits: &mut Hits) {
        let item = Item {
            name,
            tag: "",
            types: &[],
            value,
        };
        self.show_item(subject, &item, hits);
    }

    fn show_item(&self, subject: Subject, item: &Item<'_>, hits: &mut Hits) {
        let Some(index) = self.subjects.get(subject.index()) else {
            return;
        };
        let Group { search, always } = index.group(item);
        for test in always {
            self.make(*test, subject, item, hits);
        }
        let mut left = search.tests;
        hits.item += 1;
        search.each(item.value, |literal| {
            hits.made.resize(self.tests.len(), 0);
            let tests = search.found.get(literal);
            for test in tests.into_iter().flatten() {
                let now = hits.item;
                match hits.made.get_mut(*test as usize) {
                    Some(made) if *made != now => *made = now,
                    _ => continue,
                }
                left -= 1;
                self.make(*test, subject, item, hits);
            }
            left > 0
        });
    }

    fn make(&self, number: u32, subject: Subject, item: &Item<'_>, hits: &mut Hits) {
        let Some(test) = self.tests.get(number as usize) else {
            return;
        };
        if !test.concerns(item) || !test.holds(item.value) {
            return;
        }
        let hit = hits
            .tests
            .entry(number)
            .or_insert_with(|| (0, evidence(subject, item)));
        hit.0 = hit.0.saturating_add(1);
    }

    /// Which rules hold of what was seen at one time.
    fn conclude(&self, hits: &Hits, place: &str, held: &mut BTreeMap<u32, (String, String)>) {
        if hits.tests.is_empty() {
            return;
        }
        let enough = |number: &u32| {
            let least = self.tests.get(*number as usize).map(|test| test.at_least);
            hits.tests
                .get(number)
                .is_some_and(|(count, _)| least.is_some_and(|least| *count >= least))
        };
        for condition in &self.conditions {
            if condition.tests.iter().all(enough) {
                let first = condition
                    .tests
                    .first()
                    .and_then(|first| hits.tests.get(first));
                let evidence = first
                    .map(|(_, evidence)| evidence.clone())
                    .unwrap_or_default();
                held.entry(condition.rule)
                    .or_insert_with(|| (evidence, place.to_owned()));
            }
        }
    }

    fn reasons(&self, held: BTreeMap<u32, (String, String)>) -> Vec<Reason> {
        held.into_iter()
            .filter_map(|(number, (evidence, place))| {
                let rule = self.rules.get(number as usize)?;
                Some(Reason {
                    rule: Cow::Owned(rule.name.clone()),
                    verdict: rule.verdict,
                    text: rule.text.clone(),
                    evidence,
                    place,
                })
            })
            .collect()
    }
}

/// A message that is looked at piece by piece; nothing of it is kept. Show it every reading.
#[derive(Debug)]
pub struct MessageRun<'a> {
    compiled: &'a Compiled,
    held: BTreeMap<u32, (String, String)>,
}

impl MessageRun<'_> {
    /// The header block of the message itself, raw, without the empty line.
    pub fn header(&mut self, block: &[u8]) {
        let compiled = self.compiled;
        let mut hits = Hits::default();
        let tags = compiled.subjects.get(Subject::HeaderTag.index());
        let tags = tags.filter(|_| compiled.looks_at(Subject::HeaderTag));
        view::fields(block, |name, value| {
            compiled.show(Subject::Header, name, value, &mut hits);
            if compiled.looks_at_addresses(name, value) {
                view::addresses(value, |address| {
                    compiled.show(Subject::HeaderAddress, name, address, &mut hits);
                });
            }
            if let Some(index) = tags
                && (name == "dkim-signature" || name.starts_with("arc-"))
            {
                let wanted = |tag: &str| index.tags.hold(tag);
                view::tags(value, wanted, |tag, value| {
                    let item = Item {
                        name,
                        tag,
                        types: &[],
                        value,
                    };
                    compiled.show_item(Subject::HeaderTag, &item, &mut hits);
                });
            }
        });
        compiled.conclude(&hits, "", &mut self.held);
    }

    /// The header block of a part, raw; that of the message is one of its first part's.
    pub fn part_header(&mut self, block: &[u8], place: &str) {
        let compiled = self.compiled;
        let mut hits = Hits::default();
        view::fields(block, |name, value| {
            compiled.show(Subject::PartHeader, name, value, &mut hits);
            if matches!(name, "content-type" | "content-disposition") {
                view::parameters(value, |parameter, value| {
                    compiled.show(Subject::TypeParameter, parameter, value, &mut hits);
                });
            }
        });
        compiled.conclude(&hits, place, &mut self.held);
    }

    /// A part or a member, decoded.
    pub fn content(&mut self, content: &Content<'_>) {
        let compiled = self.compiled;
        let mut hits = Hits::default();
        let item = |value| Item {
            name: "",
            tag: "",
            types: &content.types,
            value,
        };
        for name in &content.names {
            let item = item(name.as_bytes());
            compiled.show_item(Subject::Name, &item, &mut hits);
            if content.origin == Origin::Member {
                compiled.show_item(Subject::MemberName, &item, &mut hits);
            }
        }
        compiled.show_item(Subject::Content, &item(&content.octets), &mut hits);
        let is_calendar = content.types.iter().any(|own| {
            matches!(
                own.as_str(),
                "text/calendar" | "text/x-vcalendar" | "application/ics"
            )
        });
        if is_calendar && compiled.looks_at(Subject::CalendarLine) {
            view::calendar_lines(&content.octets, |name, value| {
                let line = Item {
                    name,
                    tag: "",
                    types: &content.types,
                    value,
                };
                compiled.show_item(Subject::CalendarLine, &line, &mut hits);
            });
        }
        compiled.conclude(&hits, &content.place, &mut self.held);
    }

    /// What the rules have to say.
    pub fn finish(self) -> Vec<Reason> {
        self.compiled.reasons(self.held)
    }
}

/// An index that is being made.
#[derive(Debug, Default)]
struct Building {
    searched: bool,
    literals: BTreeMap<Vec<u8>, Vec<u32>>,
    always: Vec<u32>,
}

impl Building {
    fn new(searched: bool) -> Self {
        Self {
            searched,
            literals: BTreeMap::new(),
            always: Vec::new(),
        }
    }

    fn add(&mut self, test: u32, literals: Option<&[Vec<u8>]>) {
        match literals.filter(|_| self.searched) {
            Some(literals) => {
                for literal in literals {
                    self.literals.entry(literal.clone()).or_default().push(test);
                }
            }
            None => self.always.push(test),
        }
    }

    fn finish(self, tests: &[Ready]) -> Result<Index, String> {
        let ready = |test: &u32| tests.get(*test as usize);
        let is_of_any = |test: &u32| {
            ready(test).is_some_and(|test| test.names().is_empty() && test.types().is_empty())
        };
        let mut index = Index::default();
        let all = || self.literals.values().flatten().chain(&self.always);
        for test in all().filter_map(ready) {
            index.tags.add(test.tags());
            if !test.names().is_empty() {
                index.names.add(test.names());
            }
            index.types.extend(test.types().iter().cloned());
        }
        if self.searched && !all().all(is_of_any) {
            let mut literals = self.literals.clone();
            for tests in literals.values_mut() {
                tests.retain(is_of_any);
            }
            literals.retain(|_, tests| !tests.is_empty());
            index.of_any = Some(Group {
                search: Search::new(literals)?,
                always: self.always.iter().copied().filter(is_of_any).collect(),
            });
        }
        index.all = Group {
            search: Search::new(self.literals)?,
            always: self.always,
        };
        Ok(index)
    }
}

impl Search {
    fn new(literals: BTreeMap<Vec<u8>, Vec<u32>>) -> Result<Self, String> {
        let (literals, found): (Vec<_>, Vec<Vec<u32>>) = literals.into_iter().unzip();
        let tests: BTreeSet<&u32> = found.iter().flatten().collect();
        let tests = tests.len();
        let automaton = if literals.is_empty() {
            None
        } else {
            let built = AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .ascii_case_insensitive(true)
                .build(&literals)
                .map_err(|error| format!("its expressions are too many: {error}"))?;
            Some(built)
        };
        Ok(Self {
            automaton,
            begins: begins(&literals).and_then(packed::Searcher::new),
            literals,
            found,
            tests,
        })
    }

    /// Whether any literal is in a value.
    fn finds(&self, value: &[u8]) -> bool {
        let mut found = false;
        self.each(value, |_| {
            found = true;
            false
        });
        found
    }

    /// Tells of each literal in a value, however capitals are set, by its number and once or more, until it is told to stop.
    fn each(&self, value: &[u8], mut tell: impl FnMut(usize) -> bool) {
        let Some(automaton) = &self.automaton else {
            return;
        };
        let mut from = 0;
        if let Some(begins) = &self.begins {
            for _ in 0..MOST_BEGINNINGS {
                let rest = Span::from(from..value.len());
                let Some(begin) = begins.find_in(value, rest) else {
                    return;
                };
                let here = value.get(begin.start()..).unwrap_or_default();
                for (number, literal) in self.literals.iter().enumerate() {
                    let same = here.get(..literal.len());
                    if same.is_some_and(|same| same.eq_ignore_ascii_case(literal)) && !tell(number)
                    {
                        return;
                    }
                }
                from = begin.start() + 1;
            }
        }
        let rest = value.get(from..).unwrap_or_default();
        for found in automaton.find_overlapping_iter(rest) {
            if !tell(found.pattern().as_usize()) {
                return;
            }
        }
    }
}

/// The first octets of each literal, with capitals and without. None where they are too many for one search of that kind.
fn begins(literals: &[Vec<u8>]) -> Option<BTreeSet<Vec<u8>>> {
    let mut begins = BTreeSet::new();
    for literal in literals {
        let mut written = vec![Vec::new()];
        for octet in literal.iter().take(BEGINNING) {
            let more = |mut before: Vec<u8>, octet: u8| {
                before.push(octet);
                before
            };
            let both = BTreeSet::from([octet.to_ascii_lowercase(), octet.to_ascii_uppercase()]);
            written = written
                .into_iter()
                .flat_map(|before| both.iter().map(move |octet| more(before.clone(), *octet)))
                .collect();
        }
        begins.extend(written);
        if begins.len() > MOST_BEGINS {
            return None;
        }
    }
    (!begins.is_empty()).then_some(begins)
}

const ALL: [Subject; Subject::COUNT] = [
    Subject::Argument,
    Subject::CalendarLine,
    Subject::Content,
    Subject::Header,
    Subject::HeaderAddress,
    Subject::HeaderTag,
    Subject::Hello,
    Subject::MemberName,
    Subject::Name,
    Subject::Parameter,
    Subject::PartHeader,
    Subject::Recipient,
    Subject::RecipientLocal,
    Subject::Sender,
    Subject::SenderLocal,
    Subject::TypeParameter,
    Subject::Verb,
];

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn wrong(rule: &PatchRule, what: String) -> BundleError {
    BundleError::Rule {
        place: format!("rule {:?}", rule.name),
        what,
    }
}

/// What was seen. Of an envelope it says no more than where: local parts are nobody's business.
fn evidence(subject: Subject, item: &Item<'_>) -> String {
    let mut words = subject.name().to_owned();
    for name in [item.name, item.tag] {
        if !name.is_empty() {
            words.push(' ');
            words.push_str(&printable_max(name, EVIDENCE));
        }
    }
    if subject.stage() != super::Stage::Cmd {
        let shown = item.value.get(..EVIDENCE).unwrap_or(item.value);
        words.push_str(": ");
        words.push_str(&printable_max(&String::from_utf8_lossy(shown), EVIDENCE));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn every_literal_of_a_value_is_told_of_however_it_is_looked_for(
            literals in proptest::collection::btree_set("[a-c<\\[]{2,5}", 1..8),
            value in "[a-cA-C<\\[é]{0,400}") {
            let literals: Vec<Vec<u8>> = literals.into_iter().map(String::into_bytes).collect();
            let numbered = literals.iter().zip(0..).map(|(literal, nth)| (literal.clone(), vec![nth]));
            let mut search = Search::new(numbered.collect()).unwrap();
            let lower = value.to_ascii_lowercase();
            let held = |literal: &Vec<u8>| lower.contains(std::str::from_utf8(literal).unwrap());
            let expected: BTreeSet<usize> =
                (0..literals.len()).filter(|nth| held(&literals[*nth])).collect();
            for _ in 0..2 {
                let mut told = BTreeSet::new();
                search.each(value.as_bytes(), |number| { told.insert(number); true });
                proptest::prop_assert_eq!(&told, &expected);
                search.begins = None;
            }
        }
    }

    const BUNDLE: &str = r#"
format = 1
id = "test"
version = 1
made = "2026-01-01T00:00:00Z"
expires = "2027-01-01T00:00:00Z"

[[rule]]
name = "both"
title = "t"
product = "p"
affected = "all"
stages = ["CMD"]
closes = ["signature"]
confidence = "A"
state = "enforce"
when = [{ in = ["sender-local", "recipient-local"], regex = '\$\{' }]
refused = [{ commands = ["MAIL FROM:<${run}@x>"] }, { commands = ["RCPT TO:<${run}@x>"] }]
passes = [{ commands = ["MAIL FROM:<a$b{c@x>", "RCPT TO:<a@${run}>"] }]

[[rule]]
name = "twice"
title = "t"
product = "p"
affected = "all"
stages = ["HDR", "MIME"]
closes = ["signature"]
confidence = "B"
state = "monitor"
refused = [{ header = "X: abc\r\nX: ABC\r\nY: 1" }]
passes = [{ header = "X: abc\r\nX: abc" }, { header = "X: abc\r\nY: 1" }]
[[rule.when]]
in = ["header"]
names = ["x"]
regex = '(?i)abc'
at_least = 2
also = [{ in = ["header"], names = ["y"] }]
"#;

    #[test]
    fn a_condition_holds_where_all_its_tests_do_in_one_place() {
        let bundle = Bundle::read(BUNDLE.as_bytes()).unwrap();
        bundle.test().unwrap();
        let compiled = Compiled::new(&bundle).unwrap();
        let reasons = compiled.command(b"RCPT TO:<${x}@y>");
        assert_eq!(reasons.len(), 1);
        assert_eq!(reasons[0].verdict, Verdict::Refuse);
        assert_eq!(reasons[0].evidence, "recipient-local");
        assert!(compiled.looks_at_messages());
        let mut run = compiled.message();
        // Once in each of two readings is not twice in one.
        run.header(b"X: abc\r\nY: 1");
        run.header(b"X: abc\r\nY: 1");
        assert_eq!(run.finish(), []);
    }

    #[test]
    fn addresses_are_looked_at_wherever_a_rule_may_hold_of_one() {
        let of_addresses = r#"[[rule.when]]
in = ["header-address"]
regex = '\$\{run'
[[rule.when]]
in = ["header-address"]
names = ["to"]
not_regex = '@'
"#;
        let text = format!("{BUNDLE}{of_addresses}");
        let compiled = Compiled::new(&Bundle::read(text.as_bytes()).unwrap()).unwrap();
        let says = |block: &str| {
            let mut run = compiled.message();
            run.header(block.as_bytes());
            !run.finish().is_empty()
        };
        for block in ["Y: a, ${run", "Y: $(c){run", "Y: $\"q\"{run", "To: a@b, c"] {
            assert!(says(block), "{block}");
        }
        for block in ["Y: $,{run", "Y: \"${run\"", "Y: a@b, c", "To: a@b"] {
            assert!(!says(block), "{block}");
        }
    }

    #[test]
    fn a_test_beside_one_of_a_type_is_not_made_of_other_types() {
        let of_a_type = r#"[[rule.when]]
in = ["content"]
types = ["application/ms-tnef"]
regex = 'abc'
also = [{ in = ["content"], regex = 'def' }, { in = ["name"], types = ["image/*"], regex = 'x' }]
"#;
        let text = format!("{BUNDLE}{of_a_type}");
        let bundle = Bundle::read(text.as_bytes()).unwrap();
        let compiled = Compiled::new(&bundle).unwrap();
        let types: Vec<&[String]> = compiled
            .tests
            .iter()
            .rev()
            .take(3)
            .map(Ready::types)
            .collect();
        let tnef = ["application/ms-tnef".to_owned()];
        assert_eq!(types, [&["image/*".to_owned()][..], &tnef, &tnef]);
    }

    #[test]
    fn what_stands_beside_a_test_of_a_type_is_looked_for_in_content_of_that_type() {
        let of_a_type = r#"[[rule.when]]
in = ["content"]
types = ["application/ms-tnef"]
regex = 'abc'
also = [{ in = ["content"], regex = 'def' }]
"#;
        let text = format!("{BUNDLE}{of_a_type}");
        let bundle = Bundle::read(text.as_bytes()).unwrap();
        let compiled = Compiled::new(&bundle).unwrap();
        let finds = |kind: &str, octets: &[u8]| {
            let mut run = compiled.message();
            run.content(&Content {
                octets: octets.into(),
                names: Vec::new(),
                types: vec!["text/plain".to_owned(), kind.to_owned()],
                origin: Origin::Member,
                place: "1".to_owned(),
            });
            !run.finish().is_empty()
        };
        assert!(finds("application/ms-tnef", b"def abc"));
        assert!(!finds("application/ms-tnef", b"abc"));
        assert!(!finds("image/png", b"def abc"));
    }

    #[test]
    fn a_rule_that_is_not_selected_says_nothing() {
        let mut bundle = Bundle::read(BUNDLE.as_bytes()).unwrap();
        bundle.selected = Some(["twice".to_owned()].into());
        let compiled = Compiled::new(&bundle).unwrap();
        assert_eq!(compiled.names().collect::<Vec<_>>(), ["twice"]);
        assert_eq!(compiled.command(b"RCPT TO:<${x}@y>"), []);
    }

    #[test]
    fn a_bundle_that_was_written_is_read_as_equal() {
        let bundle = Bundle::read(BUNDLE.as_bytes()).unwrap();
        let text = bundle.to_text().unwrap();
        assert_eq!(Bundle::read(text.as_bytes()).unwrap(), bundle);
    }

    #[test]
    fn every_subject_has_a_place_of_its_own() {
        for (place, subject) in ALL.iter().enumerate() {
            assert_eq!(subject.index(), place, "{subject:?}");
        }
    }
}
