//! What every [`Store`] does, whatever is under it. `conforms!(name, factory)` makes one test of
//! each case; the factory gives a [`Bench`] with an empty store of realm `live`.

mod checks;
mod feeds;
mod hosts;
mod plans;

use std::any::Any;

use mailkeep_model::{
    Event, EventKind, FeedId, FeedKind, FeedStatus, HostName, Problem, Realm, Timestamp,
};
use mailkeep_store::{FeedWriter, Space, Store, StoreError};

pub(crate) use checks::*;
pub(crate) use feeds::*;
pub(crate) use hosts::*;
pub(crate) use plans::*;

/// An empty store under test.
pub(crate) struct Bench {
    /// The store.
    pub(crate) store: Box<dyn Store>,
    /// Opens another on the same state, where the implementation can.
    pub(crate) second: Option<Box<dyn Fn() -> Box<dyn Store>>>,
    /// Dropped last.
    #[expect(dead_code, reason = "held for its drop: a temporary directory")]
    pub(crate) keep: Box<dyn Any>,
}

macro_rules! conforms {
    ($name:ident, $factory:expr) => {
        $crate::conformance::conforms!(@cases $name, $factory,
            a_new_store_is_empty
            rows_come_by_key_then_feed_then_arrival
            all_rows_come_ordered
            spaces_are_apart
            a_replaced_import_leaves_nothing_of_the_old
            a_failed_import_leaves_everything_of_the_old
            a_first_import_that_fails_leaves_nothing
            an_import_does_not_touch_other_feeds
            readers_see_the_old_rows_until_an_import_ends
            a_status_of_another_feed_is_refused
            a_large_body_comes_back_whole
            a_callback_may_ask_the_store
            hostile_problems_do_not_fill_the_store
            a_removed_feed_is_gone
            a_confirmed_feed_is_as_of_then
            a_feed_never_imported_cannot_be_confirmed
            fetch_states_are_kept_for_each_feed
            facts_come_back_as_they_were
            a_failed_scan_keeps_the_facts
            new_facts_clear_a_failure
            a_host_that_never_answered_is_known
            hosts_are_listed_by_name
            findings_are_kept_by_scope
            a_check_is_recorded_wholly_or_not_at_all
            events_are_numbered_without_gaps
            events_are_read_in_pages
            an_event_of_another_realm_is_refused
            a_plan_is_kept_once
            plans_come_newest_first
            a_plan_is_found_by_the_beginning_of_its_id
            an_approval_needs_its_plan
            approvals_come_in_order
            the_events_of_a_plan_come_alone
            events_of_a_topic_come_alone
            a_claim_is_exclusive_until_it_ends
            an_expired_claim_can_be_taken_over_and_then_counts_no_more
            a_controller_that_asks_again_gets_a_higher_fence
            a_claim_given_back_is_free
            an_ended_claim_that_nobody_took_can_be_renewed
            a_second_store_sees_what_the_first_wrote
            one_moment_does_not_move
        );
    };
    (@cases $name:ident, $factory:expr, $($case:ident)*) => {
        mod $name {
            #[allow(unused_imports, reason = "factories name what they need")]
            use super::*;
            $(
                #[test]
                fn $case() {
                    let mut bench: $crate::conformance::Bench = ($factory)();
                    $crate::conformance::$case(&mut bench);
                }
            )*
        }
    };
}
pub(crate) use conforms;

/// A case that needs a second store says so where there is none.
pub(crate) fn second(bench: &Bench, case: &str) -> Option<Box<dyn Store>> {
    if bench.second.is_none() {
        println!("skipped: {case}: this store has one user only");
    }
    bench.second.as_ref().map(|open| open())
}

pub(crate) fn a_new_store_is_empty(bench: &mut Bench) {
    let store = &*bench.store;
    assert_eq!(store.feeds().unwrap(), []);
    assert_eq!(store.scanned_hosts().unwrap(), []);
    assert_eq!(store.events_after(0, 10).unwrap(), []);
    assert_eq!(store.findings_of("fleet").unwrap(), None);
    assert_eq!(store.plans().unwrap(), []);
    assert_eq!(store.isolation_events().unwrap(), []);
    assert_eq!(store.fetch_state(&feed("kev")).unwrap(), None);
    assert_eq!(store.feed_problems(&feed("kev")).unwrap(), []);
    assert_eq!(all(store, Space::Package), Vec::<String>::new());
    let scan = store.scan_of(&host("mx1")).unwrap();
    assert_eq!((scan.facts, scan.failure), (None, None));
}

pub(crate) fn a_second_store_sees_what_the_first_wrote(bench: &mut Bench) {
    let Some(second) = second(bench, "a_second_store_sees_what_the_first_wrote") else {
        return;
    };
    import(&mut *bench.store, "tracker", &[("Debian/exim4", "a")]).unwrap();
    bench.store.append_event(&event(1)).unwrap();
    assert_eq!(
        all(&*second, Space::Package),
        all(&*bench.store, Space::Package)
    );
    assert_eq!(second.events_after(0, 10).unwrap().len(), 1);
}

pub(crate) fn one_moment_does_not_move(bench: &mut Bench) {
    import(&mut *bench.store, "tracker", &[("a", "1")]).unwrap();
    let seen = |store: &dyn Store| (store.feeds().unwrap().len(), all(store, Space::Package));
    let before = seen(&*bench.store);
    let Some(mut second) = second(bench, "one_moment_does_not_move") else {
        bench
            .store
            .at_one_moment(&mut || assert_eq!(seen(&*bench.store), before))
            .unwrap();
        return;
    };
    bench
        .store
        .at_one_moment(&mut || {
            assert_eq!(seen(&*bench.store), before);
            import(&mut *second, "osv", &[("b", "2")]).unwrap();
            assert_eq!(seen(&*bench.store), before);
        })
        .unwrap();
    assert_eq!(seen(&*bench.store).0, 2);
}

pub(crate) fn feed(name: &str) -> FeedId {
    FeedId::new(name).unwrap()
}

pub(crate) fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(crate) fn status(name: &str, records: u64) -> FeedStatus {
    FeedStatus {
        id: feed(name),
        kind: FeedKind::DebianTracker,
        location: "https://security-tracker.debian.org/tracker/data/json".to_owned(),
        as_of: "2026-11-20T10:00:00.123456Z".parse().unwrap(),
        imported_at: "2026-11-21T10:00:00Z".parse().unwrap(),
        stale_after: jiff::SignedDuration::from_hours(48),
        records,
        problems: 0,
        partial: false,
        whole: true,
        covers: vec![mailkeep_model::Platform::new(
            mailkeep_model::Ecosystem::Debian,
            "12",
        )],
    }
}

pub(crate) fn event(second: i64) -> Event {
    Event {
        at: at(second),
        realm: Realm::Live,
        kind: EventKind::FeedImported {
            feed: feed("kev"),
            records: 7,
            problems: 0,
        },
    }
}

/// Imports package rows as (key, body).
pub(crate) fn import(
    store: &mut dyn Store,
    name: &str,
    rows: &[(&str, &str)],
) -> Result<FeedStatus, StoreError> {
    store.import_feed(&feed(name), &mut |writer: &mut dyn FeedWriter| {
        for (key, body) in rows {
            writer.put(Space::Package, key, body.as_bytes())?;
        }
        writer.problem(&Problem::new("line 1", "no version"))?;
        Ok(status(name, rows.len() as u64))
    })
}

/// Every row of a space as `key feed body`.
pub(crate) fn all(store: &dyn Store, space: Space) -> Vec<String> {
    let mut rows = Vec::new();
    store
        .all_rows(space, &mut |key, feed, body| {
            rows.push(format!("{key} {feed} {}", String::from_utf8_lossy(body)));
        })
        .unwrap();
    rows
}
