//! Texts on their way into markup.

use std::fmt;

use mailkeep_model::text::printable;

/// A text as the content of an element or of an attribute in double quotes, in HTML and XML.
/// Characters that no page should carry are replaced before.
pub(super) struct Esc<'a>(pub(super) &'a str);

impl fmt::Display for Esc<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = printable(self.0);
        let mut rest: &str = &text;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            let (before, after) = rest.split_at(at);
            f.write_str(before)?;
            let mut chars = after.chars();
            f.write_str(match chars.next() {
                Some('&') => "&amp;",
                Some('<') => "&lt;",
                Some('>') => "&gt;",
                Some('"') => "&quot;",
                Some(_) | None => "&#39;",
            })?;
            rest = chars.as_str();
        }
        f.write_str(rest)
    }
}

/// Writes into a `String`, which cannot fail.
macro_rules! put {
    ($out:expr, $($format:tt)*) => {{
        use std::fmt::Write as _;
        let _never_fails = write!($out, $($format)*);
    }};
}
pub(super) use put;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_terminal_escapes_do_not_survive() {
        let text = Esc("<b onclick='x'>\"a\" & \u{1b}[2J</b>").to_string();
        assert_eq!(
            text,
            "&lt;b onclick=&#39;x&#39;&gt;&quot;a&quot; &amp; \u{fffd}[2J&lt;/b&gt;"
        );
        assert_eq!(Esc("Größe").to_string(), "Größe");
    }
}
