//! A plan for people: as a picture, a page, and a table for a terminal.
//!
//! Entry types: [`svg`], [`html`], [`text`].
//!
//! Nothing in a picture or page is loaded from elsewhere and nothing runs. Every text goes through
//! `escape::Esc`; coordinates are whole numbers, so that equal plans give equal bytes everywhere.
//!
//! **Invariant:** bounded size. A fleet's regions are drawn as they are, up to [`MAX_STRIPS`]
//! strips; hosts are drawn one by one where they are few, else as a count. What is left out is said.

mod days;
mod escape;
mod html;
mod overview;
mod strip;
mod text;
pub mod words;

use mailkeep_model::{Plan, Realm};

pub use html::html;
pub use text::text;

use days::Picture;
use escape::{Esc, put};

/// Days drawn, over all regions.
pub const MAX_STRIPS: usize = 600;

/// Colours and patterns of the picture, light and dark.
const PICTURE_STYLE: &str = include_str!("show/picture.css");

/// A plan as one picture: all regions over the whole time in UTC, then for each region and day with steps
/// a strip of 24 hours in local time and UTC, with windows shaded, waves and steps as bars, and
/// for each service how many hosts are in service, above the minimum that is never undercut.
pub fn svg(plan: &Plan) -> String {
    let picture = Picture::new(plan);
    let mut body = String::new();
    let mut y = 48;
    put!(
        body,
        "<text class=\"h1\" x=\"8\" y=\"22\">{}</text>\n",
        Esc(&plan.title)
    );
    put!(
        body,
        "<text class=\"soft\" x=\"8\" y=\"40\">{}, {} lane, {} in {}</text>\n",
        match plan.realm {
            Realm::Drill => "DRILL: a rehearsal, no real host",
            Realm::Live => "Live",
        },
        words::lane(plan.lane),
        words::count(plan.steps.len(), "host", "hosts"),
        words::count(plan.regions.len(), "region", "regions")
    );
    y += overview::draw(&mut body, &picture, y) + 14;
    put!(body, "<g transform=\"translate(0 {y})\">");
    legend(&mut body);
    put!(body, "</g>\n");
    y += 34;
    for region in &picture.regions {
        y += 22;
        put!(
            body,
            "<text class=\"h2\" x=\"8\" y=\"{y}\">{}</text>\n",
            Esc(&region.heading())
        );
        y += 10;
        for day in &region.days {
            y += strip::draw(&mut body, &picture, region, day, y) + 12;
        }
        let left_out = region.days_left_out();
        if !left_out.is_empty() {
            y += 8;
            put!(
                body,
                "<text class=\"soft\" x=\"8\" y=\"{y}\">{}</text>\n",
                Esc(&left_out)
            );
            y += 10;
        }
    }
    if picture.regions_not_drawn > 0 {
        y += 16;
        let left_out = picture.regions_left_out();
        put!(
            body,
            "<text class=\"soft\" x=\"8\" y=\"{y}\">{}</text>\n",
            Esc(&left_out)
        );
    }
    let mut out = String::with_capacity(body.len() + 4096);
    put!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" \
         height=\"{h}\" role=\"img\" class=\"picture\">\n<title>{}</title>\n<style>{PICTURE_STYLE}</style>\n",
        Esc(&plan.title),
        w = strip::WIDTH,
        h = y + 16
    );
    out.push_str(PATTERNS);
    put!(
        out,
        "<rect class=\"paper\" width=\"{}\" height=\"{}\"/>\n",
        strip::WIDTH,
        y + 16
    );
    out.push_str(&body);
    out.push_str("</svg>\n");
    out
}

/// Patterns by which bars and areas differ, without a look at their colour.
const PATTERNS: &str = "<defs>\
<pattern id=\"stripes\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect class=\"stripe-ground\" width=\"4\" height=\"4\"/><rect class=\"stripe\" width=\"2\" height=\"4\"/></pattern>\
<pattern id=\"forbidden\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(-45)\">\
<rect class=\"forbidden-ground\" width=\"5\" height=\"5\"/><rect class=\"forbidden-line\" width=\"1\" height=\"5\"/></pattern>\
<pattern id=\"blackout\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">\
<circle class=\"blackout-dot\" cx=\"2\" cy=\"2\" r=\"1\"/></pattern>\
</defs>\n";

/// What the bars and lines mean, in one row of 20 units' height.
fn legend(out: &mut String) {
    let mut x = 8;
    for (class, label, width) in [
        ("window", "maintenance window", 132),
        ("bar test", "test host", 74),
        ("bar pilot", "pilot region", 88),
        ("bar rest", "rest", 50),
    ] {
        put!(
            out,
            "<rect class=\"{class}\" x=\"{x}\" y=\"4\" width=\"22\" height=\"11\"/>\
             <text x=\"{}\" y=\"14\">{label}</text>",
            x + 28
        );
        x += 28 + width;
    }
    put!(
        out,
        "<path class=\"level\" d=\"M{x} 6h8v6h8v-6h8\"/><text x=\"{}\" y=\"14\">hosts in service</text>",
        x + 30
    );
    x += 30 + 104;
    put!(
        out,
        "<rect class=\"forbidden\" x=\"{x}\" y=\"6\" width=\"22\" height=\"9\"/>\
         <path class=\"minimum\" d=\"M{x} 6h22\"/><text x=\"{}\" y=\"14\">below the minimum: never entered</text>",
        x + 28
    );
}

#[cfg(test)]
mod tests;
