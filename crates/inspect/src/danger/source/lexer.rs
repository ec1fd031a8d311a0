//! Tokens of `JavaScript` (ECMA-262 section 12), as far as is needed to tell names, strings and comments apart.
//!
//! Not more than one octet a character is read; what it is written in besides letters of ASCII does not matter here, and is passed
//! over as blanks are, of which Unicode has many. Whether a slash divides, what stands before it tells; behind `}` it needs a
//! grammar, and what may be read both ways is told ([`Lexer::is_twofold`]).

use crate::octets::{find, rest, some};

/// A token. Comments and blanks are none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// A name, a word of the language or a number, as it is written.
    Word(&'t [u8]),
    /// A string, without its quotes, and its escapes read.
    Text(Vec<u8>),
    /// A string in backticks.
    Template,
    Regex,
    Mark(u8),
}

/// Strings in backticks within one another that are followed.
const TEMPLATES_MAX: usize = 16;

/// Reads tokens, each octet once.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing that was seen or not"
)]
pub(super) struct Lexer<'t> {
    left: &'t [u8],
    /// A slash that comes now divides; behind `}`, it may.
    divides: bool,
    may_divide: bool,
    /// The token before, and whether it is of the kind that an expression follows.
    last: u8,
    /// For each bracket that is open, whether it belongs to a word such as `if`.
    brackets: Vec<bool>,
    after_if: bool,
    /// Something was read as a regular expression that may be something else, and would change what follows.
    pub(super) is_twofold: bool,
    /// What is left from where on regular expressions are looked for again: before it, one did not end.
    regex_from: usize,
    /// Strings in backticks are looked for: none did not end.
    templates: bool,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t [u8]) -> Self {
        Self {
            left: text,
            divides: false,
            may_divide: false,
            last: b';',
            brackets: Vec::new(),
            after_if: false,
            is_twofold: false,
            regex_from: usize::MAX,
            templates: true,
        }
    }

    /// Passes over blanks and comments, which end with their line however lines end (section 12.3).
    fn blanks(&mut self) {
        loop {
            let is_blank =
                |octet: &u8| octet.is_ascii_whitespace() || *octet == 0x0b || *octet >= 0x80;
            let end = self.left.iter().position(|octet| !is_blank(octet));
            let blanks = some(self.left, 0, end.unwrap_or(self.left.len()));
            // A letter that is none of ASCII may be a name.
            self.divides |= !blanks.is_ascii();
            self.left = rest(self.left, blanks.len());
            match self.left {
                [b'/', b'/', ..] => {
                    // U+2028 and U+2029 end a line, too; what else begins with their first octet does not.
                    loop {
                        let end = memchr::memchr3(b'\n', b'\r', 0xe2, self.left);
                        self.left = rest(self.left, end.unwrap_or(self.left.len()));
                        match self.left {
                            [0xe2, 0x80, 0xa8 | 0xa9, ..] => break,
                            [0xe2, behind @ ..] => self.left = behind,
                            _ => break,
                        }
                    }
                }
                [b'/', b'*', ..] => {
                    let inner = rest(self.left, 2);
                    let behind = find(inner, b"*/").map_or(inner.len(), |at| at + 2);
                    self.left = rest(inner, behind);
                }
                _ => return,
            }
        }
    }

    /// Takes what is to be a string, behind its quote. A line that ends in it ends it.
    fn text(&mut self, quote: u8) -> Vec<u8> {
        let mut text = Vec::new();
        loop {
            let end = self
                .left
                .iter()
                .position(|octet| *octet == quote || matches!(octet, b'\\' | b'\n' | b'\r'));
            let end = end.unwrap_or(self.left.len());
            text.extend_from_slice(some(self.left, 0, end));
            self.left = rest(self.left, end);
            match self.left.first() {
                Some(b'\\') => {
                    let (octet, length) = escape(rest(self.left, 1));
                    text.extend(octet);
                    self.left = rest(self.left, length + 1);
                }
                Some(b'\n' | b'\r') | None => return text,
                Some(_) => {
                    self.left = rest(self.left, 1);
                    return text;
                }
            }
        }
    }

    /// The length of a string in backticks behind the first, with what is computed in it. None where it does not end, or others
    /// lie in it too deeply.
    fn template(inner: &[u8], depth: usize) -> Option<usize> {
        let (mut at, mut braces) = (0, 0_usize);
        loop {
            let octet = inner.get(at)?;
            at += 1;
            match (octet, braces) {
                (b'\\', _) => at += 1,
                (b'`', 0) => return Some(at),
                (b'`', _) if depth < TEMPLATES_MAX => {
                    at += Self::template(rest(inner, at), depth + 1)?;
                }
                (b'`', _) => return None,
                (b'$', 0) if inner.get(at) == Some(&b'{') => {
                    braces = 1;
                    at += 1;
                }
                (b'{', 1..) => braces += 1,
                (b'}', 1..) => braces -= 1,
                (b'"' | b'\'', 1..) => {
                    // To its end, if that is on this line.
                    let line = rest(inner, at);
                    let end = memchr::memchr3(*octet, b'\n', b'\\', line);
                    if let Some(end) = end
                        && line.get(end) == Some(octet)
                    {
                        at += end + 1;
                    }
                }
                _ => {}
            }
        }
    }

    /// The length of a regular expression behind its first slash; where its line ends before it does, that of the line.
    fn regex(inner: &[u8]) -> Result<usize, usize> {
        let (mut at, mut in_class) = (0, false);
        while let Some(octet) = inner.get(at) {
            match octet {
                b'\n' | b'\r' => return Err(at),
                // Not a line end.
                b'\\' if !matches!(inner.get(at + 1), Some(b'\n' | b'\r')) => at += 1,
                b'[' => in_class = true,
                b']' => in_class = false,
                b'/' if !in_class => return Ok(at + 1),
                _ => {}
            }
            at += 1;
        }
        Err(inner.len())
    }
}

impl<'t> Iterator for Lexer<'t> {
    type Item = Token<'t>;

    fn next(&mut self) -> Option<Token<'t>> {
        self.blanks();
        let first = *self.left.first()?;
        let length = self.left.iter().position(|octet| !is_of_word(*octet));
        let length = length.unwrap_or(self.left.len());
        if length > 0 {
            let word = some(self.left, 0, length);
            self.left = rest(self.left, length);
            // A member may be called as words of the language are.
            let is_member = self.last == b'.';
            self.divides = is_member || !is_control(word);
            self.may_divide = false;
            self.after_if = !is_member && matches!(word, b"if" | b"for" | b"while" | b"with");
            self.last = b'a';
            return Some(Token::Word(word));
        }
        let inner = rest(self.left, 1);
        let last = std::mem::replace(&mut self.last, first);
        let may_divide = std::mem::replace(&mut self.may_divide, first == b'}');
        let after_if = std::mem::take(&mut self.after_if);
        // Behind `a++` something divides.
        let mut divides = first == b']' || (matches!(first, b'+' | b'-') && first == last);
        match first {
            b'(' => self.brackets.push(after_if),
            b')' => divides = !self.brackets.pop().unwrap_or(false),
            _ => {}
        }
        let divides = std::mem::replace(&mut self.divides, divides);
        self.left = inner;
        match first {
            b'"' | b'\'' => {
                self.divides = true;
                Some(Token::Text(self.text(first)))
            }
            b'`' if self.templates => {
                let Some(length) = Self::template(inner, 0) else {
                    self.templates = false;
                    return Some(Token::Mark(first));
                };
                self.divides = true;
                self.left = rest(inner, length);
                Some(Token::Template)
            }
            b'/' if !divides && inner.len() <= self.regex_from => match Self::regex(inner) {
                Ok(length) => {
                    let is_string = |octet: &u8| matches!(octet, b'"' | b'\'' | b'`' | b'*');
                    self.is_twofold |= may_divide && some(inner, 0, length).iter().any(is_string);
                    self.divides = true;
                    self.left = rest(inner, length);
                    Some(Token::Regex)
                }
                Err(length) => {
                    self.regex_from = inner.len().saturating_sub(length);
                    Some(Token::Mark(first))
                }
            },
            _ => Some(Token::Mark(first)),
        }
    }
}

/// Whether a name may have it. A backslash begins an escape in one (section 12.7).
fn is_of_word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'$' | b'\\')
}

/// Words behind which an expression begins.
fn is_control(word: &[u8]) -> bool {
    matches!(
        word,
        b"if"
            | b"for"
            | b"while"
            | b"switch"
            | b"catch"
            | b"with"
            | b"return"
            | b"typeof"
            | b"function"
            | b"case"
            | b"do"
            | b"else"
            | b"in"
            | b"of"
            | b"new"
            | b"throw"
            | b"delete"
            | b"void"
            | b"instanceof"
    )
}

/// What stands behind a backslash in a string, and its length there (section 12.9.4).
fn escape(behind: &[u8]) -> (Option<u8>, usize) {
    let number = |digits: &[u8], radix| {
        let digits = std::str::from_utf8(digits).ok()?;
        u32::from_str_radix(digits, radix).ok()
    };
    // One octet a character.
    let octet = |number: Option<u32>| number.map(|number| u8::try_from(number).unwrap_or(b'?'));
    match behind.first() {
        Some(b'x') => (octet(number(some(behind, 1, 2), 16)), 3),
        Some(b'u') if behind.get(1) == Some(&b'{') => {
            let end = some(behind, 0, 16).iter().position(|octet| *octet == b'}');
            let end = end.unwrap_or(1);
            let digits = some(behind, 2, end.saturating_sub(2));
            (octet(number(digits, 16)), end + 1)
        }
        Some(b'u') => (octet(number(some(behind, 1, 4), 16)), 5),
        Some(b'0'..=b'7') => {
            let digits = some(behind, 0, 3);
            let is_digit = |octet: &u8| matches!(octet, b'0'..=b'7');
            let count = digits.iter().take_while(|octet| is_digit(octet)).count();
            (octet(number(some(digits, 0, count), 8)), count)
        }
        // A line that goes on.
        Some(b'\r') => (None, if behind.get(1) == Some(&b'\n') { 2 } else { 1 }),
        Some(b'\n') => (None, 1),
        Some(b'n') => (Some(b'\n'), 1),
        Some(other) => (Some(*other), 1),
        None => (None, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let shown = Lexer::new(text.as_bytes()).map(|token| match token {
            Token::Word(word) => String::from_utf8_lossy(word).into_owned(),
            Token::Text(text) => format!("{:?}", String::from_utf8_lossy(&text)),
            Token::Template => "T".to_owned(),
            Token::Regex => "R".to_owned(),
            Token::Mark(mark) => char::from(mark).to_string(),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn strings_comments_and_expressions_are_told_apart() {
        for (text, tokens) in [
            ("a // b\n/* c */ d", "a d"),
            (
                "a = 'b\\x41\\u0042\\103\\u{44}\\\n' + \"'\"",
                "a = \"bABCD\" + \"'\"",
            ),
            ("a = /[/'\"]/.b; c / d / e", "a = R . b ; c / d / e"),
            ("(a) / b; '/'", "( a ) / b ; \"/\""),
            ("return /'/g", "return R g"),
            ("`a\\`${b}` + `", "T + `"),
            ("`a${f(`b${'}'}`)}\n` c", "T c"),
            ("// b\rc // d\u{2028}e // \u{2014}f\ng", "c e g"),
            (
                "if (a) /'/.b; (c) / d / e",
                "if ( a ) R . b ; ( c ) / d / e",
            ),
            (
                "{} /'/.a; a++ / b / c; a.in / d / e",
                "{ } R . a ; a + + / b / c ; a . in / d / e",
            ),
            ("a\u{a0}\u{b}b \u{444} / c / d", "a b / c / d"),
            ("'open\nnext", "\"open\" next"),
            ("a /* open", "a"),
            ("'\\", "\"\""),
            ("\\u0061bc", "\\u0061bc"),
        ] {
            assert_eq!(shown(text), tokens, "{text}");
        }
    }
}
