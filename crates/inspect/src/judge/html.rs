//! Active content in HTML.

/// What in a text is active, if it is HTML; none, if nothing is.
pub(super) fn active(octets: &[u8]) -> Option<&'static str> {
    const TAGS: [(&[u8], &str); 7] = [
        (b"script", "<script>"),
        (b"iframe", "<iframe>"),
        (b"object", "<object>"),
        (b"embed", "<embed>"),
        (b"applet", "<applet>"),
        (b"svg", "<svg>"),
        (b"form", "<form>"),
    ];
    // Tags may begin within tags. No page has so many that this is not enough; what lies behind them is not known.
    let mut left = octets.len().saturating_mul(4).saturating_add(1 << 20);
    for open in memchr::memchr_iter(b'<', octets) {
        let tag = octets.get(open + 1..).unwrap_or_default();
        if !tag.first().is_some_and(u8::is_ascii_alphabetic) {
            continue;
        }
        for (name, shown) in TAGS {
            if tag
                .get(..name.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(name))
                && !tag.get(name.len()).is_some_and(u8::is_ascii_alphanumeric)
            {
                return Some(shown);
            }
        }
        let tag = tag.get(..4096).unwrap_or(tag);
        let end = memchr::memchr(b'>', tag).unwrap_or(tag.len());
        left = match left.checked_sub(end) {
            Some(left) => left,
            None => return Some("more tags within tags than are looked into"),
        };
        if let Some(found) = tag.get(..end).and_then(in_tag) {
            return Some(found);
        }
    }
    None
}

fn in_tag(tag: &[u8]) -> Option<&'static str> {
    for equals in memchr::memchr_iter(b'=', tag) {
        let name = tag.get(..equals).unwrap_or_default().trim_ascii_end();
        let begin = name
            .iter()
            .rposition(|octet| !octet.is_ascii_alphabetic())
            .map_or(0, |at| at + 1);
        let attribute = name.get(begin..).unwrap_or_default();
        let apart = begin
            .checked_sub(1)
            .and_then(|before| name.get(before))
            .is_some_and(|octet| octet.is_ascii_whitespace() || b"/\"'".contains(octet));
        if apart
            && attribute.len() > 4
            && attribute
                .get(..2)
                .is_some_and(|on| on.eq_ignore_ascii_case(b"on"))
        {
            return Some("an event handler");
        }
        let value = tag.get(equals + 1..).unwrap_or_default().trim_ascii_start();
        let value = value
            .strip_prefix(b"\"")
            .or_else(|| value.strip_prefix(b"'"))
            .unwrap_or(value)
            .trim_ascii_start();
        for scheme in [&b"javascript:"[..], b"vbscript:"] {
            if value
                .get(..scheme.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
            {
                return Some("a script in an address");
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::active;

    #[test]
    fn active_content_is_seen() {
        for html in [
            "<p><SCRIPT>x</SCRIPT>",
            "<img src=x onerror=alert(1)>",
            "<a href=\"javascript:alert(1)\">",
            "<iframe src=cid:1>",
        ] {
            assert!(active(html.as_bytes()).is_some(), "{html}");
        }
    }

    #[test]
    fn what_stands_behind_more_tags_than_are_looked_into_does_not_pass_for_plain() {
        for padding in ["<a=", "<a "] {
            let html = format!("{}<p onload=a()>", padding.repeat(40_000));
            assert!(active(html.as_bytes()).is_some(), "{padding}");
        }
    }

    #[test]
    fn plain_html_is_not() {
        for html in [
            "<p>on=1 and script</p>",
            "<a href=\"https://example.org/?onload=1\">x</a>",
            "a < b > c",
            "<format>",
        ] {
            assert_eq!(active(html.as_bytes()), None, "{html}");
        }
    }
}
