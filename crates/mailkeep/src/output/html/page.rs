//! A page under construction: markup is constant, text is escaped. There is no third way in.

use std::fmt::{self, Display, Write as _};

use mailkeep_model::text::is_unsafe;

/// HTML so far.
#[derive(Debug, Default)]
pub(crate) struct Page {
    html: String,
}

impl Page {
    /// Adds markup. It is part of this program: nothing from a host or a feed is `'static`.
    pub(crate) fn markup(&mut self, markup: &'static str) {
        self.html.push_str(markup);
    }

    /// Adds text: printable, and escaped for an element's content and a quoted attribute alike.
    pub(crate) fn text(&mut self, text: impl Display) {
        // Writing to a String does not fail.
        write!(Escape(&mut self.html), "{text}").unwrap_or_default();
    }

    /// The whole.
    pub(crate) fn into_html(self) -> String {
        self.html
    }
}

struct Escape<'a>(&'a mut String);

impl fmt::Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // As `mailkeep_model::text::printable`, without a copy for each text.
                '\t' | '\n' | '\r' => self.0.push(' '),
                c if is_unsafe(c) => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// `put!(page, "<td>" (host) "</td>")`: literals are markup, what stands in brackets is text.
macro_rules! put {
    (@ $page:ident $markup:literal) => { $page.markup($markup) };
    (@ $page:ident ($text:expr)) => { $page.text(&$text) };
    ($page:ident, $($part:tt)+) => {{ $(put!(@ $page $part);)+ }};
}
pub(crate) use put;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_never_becomes_markup() {
        let mut page = Page::default();
        put!(page, "<td title=\"" ("\" onload='x'") "\">" ("<script>&\u{1b}[2J\u{202e}\n") "</td>");
        assert_eq!(
            page.into_html(),
            "<td title=\"&quot; onload=&#39;x&#39;\">&lt;script&gt;&amp;\u{fffd}[2J\u{fffd} </td>"
        );
    }
}
