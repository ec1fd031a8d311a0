//! Whether the feeds at hand can say anything at all about a host: silence is not safety.

use mailkeep_model::{
    FeedKind, FeedState, FeedStatus, HostFacts, Limitation, Platform, Timestamp, UnknownReason,
};

use crate::host::HostView;

/// What keeps the feeds from a full answer about this host; empty where every package's platform
/// is covered by a whole, fresh feed.
pub fn coverage_gaps(
    view: &HostView<'_>,
    feeds: &[FeedStatus],
    now: Timestamp,
) -> Vec<(UnknownReason, String)> {
    let mut gaps = Vec::new();
    let unjudged = view.facts.platform.is_none()
        && (view.facts.packages.is_empty()
            || view.facts.packages.iter().any(|p| p.ecosystem.is_none()));
    if unjudged {
        let system = view
            .facts
            .os
            .pretty_name
            .as_deref()
            .unwrap_or(&view.facts.os.id);
        let named = if system.is_empty() {
            "an unnamed system"
        } else {
            system
        };
        gaps.push((
            UnknownReason::PlatformNotKnown,
            format!(
                "no rule is known for {}",
                mailkeep_model::text::printable(named)
            ),
        ));
    }
    if view.facts.packages.is_empty() {
        gaps.push((
            UnknownReason::NoPackages,
            "not one installed package was seen; that is no mail server, or the wrong directory"
                .to_owned(),
        ));
    }
    gaps.extend(packages_gap(view.facts));
    for platform in view.platforms() {
        gaps.extend(platform_gap(platform, feeds, now));
    }
    gaps
}

/// A package whose record could not be read may be any package, of mail too.
fn packages_gap(facts: &HostFacts) -> Option<(UnknownReason, String)> {
    let whys: Vec<String> = facts
        .limitations
        .iter()
        .filter(|limitation| limitation.what == Limitation::PACKAGES)
        .map(|limitation| mailkeep_model::text::printable(&limitation.why).into_owned())
        .collect();
    (!whys.is_empty()).then(|| {
        let why = whys.join("; ");
        let sentence = format!("its package list was not wholly read ({why})");
        (UnknownReason::PackagesNotWhole, sentence)
    })
}

fn platform_gap(
    platform: &Platform,
    feeds: &[FeedStatus],
    now: Timestamp,
) -> Option<(UnknownReason, String)> {
    let covering: Vec<&FeedStatus> = feeds
        .iter()
        .filter(|feed| makes_statements(feed.kind) && feed.covers.contains(platform))
        .collect();
    if covering.is_empty() {
        return Some((
            UnknownReason::NoFeed,
            gap_sentence(UnknownReason::NoFeed, platform, ""),
        ));
    }
    // CVE records speak of every product somewhere, and of none wholly.
    let whole: Vec<&&FeedStatus> = covering
        .iter()
        .filter(|feed| feed.whole && feed.kind != FeedKind::Cve)
        .collect();
    if whole.is_empty() {
        let names: Vec<&str> = covering.iter().map(|feed| feed.id.as_str()).collect();
        let reason = UnknownReason::NoWholeFeed;
        return Some((reason, gap_sentence(reason, platform, &names.join(", "))));
    }
    // One fresh whole feed is enough; else the best of them tells why not.
    let best = whole.iter().min_by_key(|feed| feed.state(now))?;
    let reason = match best.state(now) {
        FeedState::Fresh => return None,
        FeedState::Stale => UnknownReason::FeedStale,
        FeedState::Partial => UnknownReason::FeedPartial,
        FeedState::FromTheFuture => UnknownReason::FeedFromTheFuture,
    };
    let detail = format!("{}, as of {}", best.id, best.as_of);
    Some((reason, gap_sentence(reason, platform, &detail)))
}

/// Feeds that speak of packages; the others only of vulnerability ids.
fn makes_statements(kind: FeedKind) -> bool {
    match kind {
        FeedKind::Csaf
        | FeedKind::Cve
        | FeedKind::DebianTracker
        | FeedKind::Osv
        | FeedKind::Released
        | FeedKind::Updateinfo => true,
        FeedKind::Epss | FeedKind::Kev => false,
    }
}

/// A gap in one sentence for a person.
pub fn gap_sentence(reason: UnknownReason, platform: &Platform, detail: &str) -> String {
    match reason {
        UnknownReason::NoFeed => format!(
            "no feed speaks for {platform}; `mailkeep feeds update` or `feeds import` brings one"
        ),
        UnknownReason::NoWholeFeed => format!(
            "only single documents speak for {platform} ({detail}); what they do not name is not known to be safe"
        ),
        UnknownReason::FeedStale => {
            format!("the feed for {platform} is stale ({detail}); run `mailkeep feeds update`")
        }
        UnknownReason::FeedPartial => format!(
            "the feed for {platform} was only partly read ({detail}); run `mailkeep feeds update`"
        ),
        UnknownReason::FeedFromTheFuture => format!(
            "the feed for {platform} bears a date in the future ({detail}); check this machine's clock"
        ),
        _ => format!("{} ({platform})", reason.name()),
    }
}
