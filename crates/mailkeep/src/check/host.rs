//! What is known of one host, in one word and with every reason against it.

use mailkeep_matcher::{HostView, coverage_gaps};
use mailkeep_model::{
    FactsSource, FeedStatus, Fleet, HostAnswer, HostFacts, HostStatus, Lifecycle, Seen, Timestamp,
    UnknownReason, text,
};

use super::{Subject, Terms};

/// Unowned files named in one reason; the rest is counted.
const MAX_FILES: usize = 3;

/// A host's answer. `view` is missing where it was not judged.
pub(super) fn answer(
    subject: &Subject<'_>,
    view: Option<&HostView<'_>>,
    affected: bool,
    feeds: &[FeedStatus],
    terms: &Terms<'_>,
) -> HostAnswer {
    let facts = subject.facts.as_ref();
    let mut answer = HostAnswer {
        name: subject.name.clone(),
        status: HostStatus::Unknown,
        reasons: Vec::new(),
        facts_as_of: facts.map(|f| f.seen_at),
        system: facts.and_then(system_name),
        limitations: facts
            .map(|f| {
                f.limitations
                    .iter()
                    .map(|l| text::printable(&l.to_string()).into_owned())
                    .collect()
            })
            .unwrap_or_default(),
    };
    if subject
        .declared
        .is_some_and(|host| host.lifecycle == Lifecycle::Decommissioned)
    {
        answer.status = HostStatus::Decommissioned;
        return answer;
    }
    if let Some(failure) = &subject.failure {
        answer.reasons.push((
            UnknownReason::ScanFailed,
            text::printable(&failure.to_string()).into_owned(),
        ));
    }
    let Some(facts) = facts else {
        if answer.reasons.is_empty() {
            let sentence = "nothing was ever seen of it; run `mailkeep scan`".to_owned();
            answer.reasons.push((UnknownReason::NoFacts, sentence));
        }
        return answer;
    };
    answer.reasons.extend(facts_age_gap(facts, terms));
    let unseen = !answer.reasons.is_empty();
    let seen = answer.reasons.len();
    if let Some(view) = view {
        answer.reasons.extend(coverage_gaps(view, feeds, terms.now));
    }
    answer.reasons.extend(running_code_gap(facts));
    answer.reasons.extend(stale_code_unowned(facts));
    let gap = answer.reasons.len() > seen;
    answer.status = match (unseen, affected, gap) {
        (true, _, _) | (false, false, true) => HostStatus::Unknown,
        (false, true, _) => HostStatus::Affected,
        (false, false, false) => HostStatus::Clean,
    };
    answer
}

fn facts_age_gap(facts: &HostFacts, terms: &Terms<'_>) -> Option<(UnknownReason, String)> {
    // What is read at this moment from a directory or a file is as old as whoever made it says.
    if matches!(facts.source, FactsSource::Root) {
        return None;
    }
    let limit = terms
        .fleet
        .facts_max_age
        .unwrap_or(Fleet::DEFAULT_FACTS_MAX_AGE);
    let age = terms.now.duration_since(facts.seen_at);
    if age > limit {
        let sentence = format!(
            "its facts are of {}, {} days old; run `mailkeep scan`",
            to_the_second(facts.seen_at),
            age.as_hours() / 24
        );
        return Some((UnknownReason::FactsTooOld, sentence));
    }
    if age.as_hours() < -24 {
        let sentence = format!(
            "its facts bear a date in the future ({}); check this machine's clock",
            to_the_second(facts.seen_at)
        );
        return Some((UnknownReason::FactsTooOld, sentence));
    }
    None
}

fn system_name(facts: &HostFacts) -> Option<String> {
    let name = facts
        .os
        .pretty_name
        .as_deref()
        .or_else(|| Some(&*facts.os.id).filter(|id| !id.is_empty()))?;
    Some(text::printable_max(name, 80))
}

/// Without the fraction that a file's time or a database may have.
fn to_the_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// A host is patched when the process that serves mail runs the fixed code; where a live host did not
/// show what runs, it is not known to be. A mounted root or an SBOM shows no processes by its nature:
/// its limitations say so.
fn running_code_gap(facts: &HostFacts) -> Option<(UnknownReason, String)> {
    if !matches!(facts.source, FactsSource::Local | FactsSource::Ssh) {
        return None;
    }
    let whole = matches!(&facts.processes, Seen::Yes(processes)
        if processes.iter().all(|p| matches!(p.stale, Seen::Yes(_))));
    if whole {
        return None;
    }
    let mut why: Vec<String> = facts
        .limitations
        .iter()
        .filter(|l| l.what.starts_with("processes") || l.what.starts_with("code run by"))
        .map(|l| text::printable(&l.to_string()).into_owned())
        .collect();
    why.truncate(MAX_FILES);
    let why = if why.is_empty() {
        String::new()
    } else {
        format!(" ({})", why.join("; "))
    };
    Some((
        UnknownReason::RunningCodeNotSeen,
        format!(
            "whether its mail processes run the installed code was not seen{why}; scan as root or \
             with sudo"
        ),
    ))
}

/// Old code of a package is judged with that package; old code of none would be passed over.
fn stale_code_unowned(facts: &HostFacts) -> Option<(UnknownReason, String)> {
    let mut files: Vec<String> = facts
        .processes
        .items()
        .iter()
        .flat_map(|process| {
            process
                .stale
                .items()
                .iter()
                .filter(|file| file.package.is_none())
                .map(move |file| {
                    let line = format!("{} (pid {}) runs {}", process.name, process.pid, file.path);
                    text::printable_max(&line, 200)
                })
        })
        .collect();
    if files.is_empty() {
        return None;
    }
    let more = files.len().saturating_sub(MAX_FILES);
    files.truncate(MAX_FILES);
    if more > 0 {
        files.push(format!("and {more} more"));
    }
    Some((
        UnknownReason::StaleCodeUnowned,
        format!(
            "{}: no longer on disk and of no package, so no feed can speak of it; restart it",
            files.join(", ")
        ),
    ))
}
