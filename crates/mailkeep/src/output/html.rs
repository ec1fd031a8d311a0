//! `--format html`: one self-contained page that a postmaster sends to a manager. It reads on a
//! screen, on a phone, and on paper.
//!
//! Nothing in it is loaded from elsewhere and nothing runs: the page forbids both to itself by its
//! content security policy. Texts from hosts and feeds come in by `Page::text` alone. Findings on
//! packages apart from mail are counted, unless they are urgent.

mod lists;
pub(crate) mod page;
mod report;
mod summary;
mod tasks;
mod words;

use std::io::{self, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use self::page::{Page, put};
use self::report::Report;
use crate::answer::Answer;

/// Writes an answer as one HTML page.
pub fn write(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let report = Report::of(answer);
    let title = format!(
        "Mail server patches: {}, {}",
        report.answer.scope,
        words::moment(report.answer.generated_at)
    );
    write_page(&title, out, |page| body(page, &report))
}

/// Writes a page of this manner: `body` puts what stands between the body's tags.
pub(crate) fn write_page(
    title: &str,
    out: &mut dyn Write,
    body: impl FnOnce(&mut Page),
) -> io::Result<()> {
    let mut page = Page::default();
    head(&mut page, title);
    page.markup("<body>\n");
    body(&mut page);
    page.markup("</body>\n</html>\n");
    out.write_all(page.into_html().as_bytes())
}

const STYLE: &str = include_str!("html/style.css");

fn head(page: &mut Page, title: &str) {
    let digest = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    put!(page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-"
        (digest)
        "'; base-uri 'none'; form-action 'none'\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n"
        "<meta name=\"referrer\" content=\"no-referrer\">\n"
        "<meta name=\"robots\" content=\"noindex\">\n"
        "<title>" (title) "</title>\n<style>"
    );
    page.markup(STYLE);
    page.markup("</style>\n</head>\n");
}

fn body(page: &mut Page, report: &Report<'_>) {
    summary::header(page, report);
    page.markup("<main>\n");
    summary::lead(page, report);
    summary::doubts(page, report);
    summary::figures(page, report);
    summary::changes(page, report);
    tasks::urgent(page, report);
    tasks::teams(page, report);
    lists::unknown(page, report);
    lists::clean(page, report);
    lists::feeds(page, report);
    lists::legend(page);
    page.markup("</main>\n");
    lists::footer(page, report);
}
