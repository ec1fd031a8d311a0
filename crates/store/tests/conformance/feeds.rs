//! Imports, and what is read of them.

use mailkeep_model::{FetchState, Problem};
use mailkeep_store::{FeedWriter, Space, StoreError};

use super::{Bench, all, at, feed, import, second, status};

pub(crate) fn rows_come_by_key_then_feed_then_arrival(bench: &mut Bench) {
    let store = &mut *bench.store;
    // Imported in neither order.
    import(
        store,
        "tracker",
        &[("b", "t2"), ("a", "t1"), ("b", "t1"), ("b", "t3")],
    )
    .unwrap();
    import(store, "osv", &[("b", "o1"), ("c", "o2")]).unwrap();
    let mut rows = Vec::new();
    store
        .rows(
            Space::Package,
            &["b", "none", "a", "b"],
            &mut |key, feed, body| {
                rows.push(format!("{key} {feed} {}", String::from_utf8_lossy(body)));
            },
        )
        .unwrap();
    let b = |n: usize| {
        ["osv o1", "tracker t2", "tracker t1", "tracker t3"].map(|row| format!("{n} {row}"))
    };
    let mut expected = b(0).to_vec();
    expected.push("2 tracker t1".to_owned());
    expected.extend(b(3));
    assert_eq!(rows, expected);
}

pub(crate) fn all_rows_come_ordered(bench: &mut Bench) {
    let store = &mut *bench.store;
    import(
        store,
        "tracker",
        &[("b", "2"), ("a", "1"), ("b", "1"), ("B", "0")],
    )
    .unwrap();
    import(store, "osv", &[("b", "3"), ("a/x", "4")]).unwrap();
    assert_eq!(
        all(store, Space::Package),
        [
            "B tracker 0",
            "a tracker 1",
            "a/x osv 4",
            "b osv 3",
            "b tracker 2",
            "b tracker 1"
        ]
    );
}

pub(crate) fn spaces_are_apart(bench: &mut Bench) {
    let store = &mut *bench.store;
    let both = [Space::Package, Space::Vulnerability];
    assert_eq!(both.map(|space| store.has_rows(space).unwrap()), [false; 2]);
    store
        .import_feed(&feed("epss"), &mut |writer: &mut dyn FeedWriter| {
            writer.put(Space::Vulnerability, "another", b"row")?;
            Ok(status("epss", 1))
        })
        .unwrap();
    assert_eq!(
        both.map(|space| store.has_rows(space).unwrap()),
        [false, true]
    );
    store.remove_feed(&feed("epss")).unwrap();
    store
        .import_feed(&feed("cve"), &mut |writer: &mut dyn FeedWriter| {
            writer.put(Space::Package, "same", b"package")?;
            writer.put(Space::Vulnerability, "same", b"second to none")?;
            writer.put(Space::Vulnerability, "same", b"first")?;
            Ok(status("cve", 3))
        })
        .unwrap();
    assert_eq!(all(store, Space::Package), ["same cve package"]);
    assert_eq!(
        all(store, Space::Vulnerability),
        ["same cve second to none", "same cve first"]
    );
    let mut seen = 0;
    store
        .rows(Space::Vulnerability, &["same"], &mut |_, _, _| seen += 1)
        .unwrap();
    assert_eq!(seen, 2);
}

pub(crate) fn a_replaced_import_leaves_nothing_of_the_old(bench: &mut Bench) {
    let store = &mut *bench.store;
    let scored = |store: &mut dyn mailkeep_store::Store, n: u64| {
        store
            .import_feed(&feed("tracker"), &mut |writer: &mut dyn FeedWriter| {
                writer.put(Space::Package, &format!("p{n}"), b"row")?;
                writer.put(Space::Vulnerability, &format!("v{n}"), b"row")?;
                writer.problem(&Problem::new(format!("record {n}"), "bad"))?;
                Ok(status("tracker", n))
            })
            .unwrap()
    };
    // Alone, and beside another feed: an implementation may go different ways.
    for others in [false, true] {
        if others {
            import(store, "osv", &[("p1", "osv")]).unwrap();
            store
                .import_feed(&feed("kev"), &mut |writer: &mut dyn FeedWriter| {
                    writer.put(Space::Vulnerability, "v1", b"kev")?;
                    Ok(status("kev", 1))
                })
                .unwrap();
        }
        scored(store, 1);
        assert_eq!(scored(store, 2), status("tracker", 2));
        let mine = |space| {
            let mut rows = all(store, space);
            rows.retain(|row| row.contains(" tracker "));
            rows
        };
        assert_eq!(mine(Space::Package), ["p2 tracker row"]);
        assert_eq!(mine(Space::Vulnerability), ["v2 tracker row"]);
        assert_eq!(
            store.feed_problems(&feed("tracker")).unwrap(),
            [Problem::new("record 2", "bad")]
        );
        let feeds = store.feeds().unwrap();
        assert_eq!(feeds.last(), Some(&status("tracker", 2)));
    }
    // Nothing at all is a content like any other.
    import(store, "tracker", &[]).unwrap();
    assert_eq!(all(store, Space::Package), ["p1 osv osv"]);
    assert_eq!(all(store, Space::Vulnerability), ["v1 kev kev"]);
}

pub(crate) fn a_failed_import_leaves_everything_of_the_old(bench: &mut Bench) {
    let store = &mut *bench.store;
    import(store, "tracker", &[("a", "old"), ("b", "old")]).unwrap();
    let error = store
        .import_feed(&feed("tracker"), &mut |writer: &mut dyn FeedWriter| {
            for n in 0..500 {
                writer.put(Space::Package, &format!("k{n}"), &[0; 3000])?;
                writer.put(Space::Vulnerability, &format!("v{n}"), b"new")?;
                writer.problem(&Problem::new("x", "y"))?;
            }
            Err("line 501: unexpected end".into())
        })
        .unwrap_err();
    let StoreError::Import(source) = error else {
        panic!("{error:?}");
    };
    assert_eq!(source.to_string(), "line 501: unexpected end");
    assert_eq!(
        all(store, Space::Package),
        ["a tracker old", "b tracker old"]
    );
    assert_eq!(all(store, Space::Vulnerability), Vec::<String>::new());
    assert_eq!(store.feeds().unwrap(), [status("tracker", 2)]);
    assert_eq!(store.feed_problems(&feed("tracker")).unwrap().len(), 1);
    import(store, "tracker", &[("c", "new")]).unwrap();
    assert_eq!(all(store, Space::Package), ["c tracker new"]);
}

pub(crate) fn a_first_import_that_fails_leaves_nothing(bench: &mut Bench) {
    let store = &mut *bench.store;
    store
        .import_feed(&feed("tracker"), &mut |writer: &mut dyn FeedWriter| {
            writer.put(Space::Package, "a", b"new")?;
            Err("no".into())
        })
        .unwrap_err();
    assert_eq!(all(store, Space::Package), Vec::<String>::new());
    assert_eq!(store.feeds().unwrap(), []);
}

pub(crate) fn an_import_does_not_touch_other_feeds(bench: &mut Bench) {
    let store = &mut *bench.store;
    import(store, "b", &[("k", "b1"), ("k", "b2")]).unwrap();
    import(store, "a", &[("k", "a1")]).unwrap();
    import(store, "c", &[("k", "c1")]).unwrap();
    import(store, "b", &[("k", "b3")]).unwrap();
    assert_eq!(all(store, Space::Package), ["k a a1", "k b b3", "k c c1"]);
    import(store, "c", &[]).unwrap();
    import(store, "a", &[("k", "a2"), ("k", "a3")]).unwrap();
    assert_eq!(all(store, Space::Package), ["k a a2", "k a a3", "k b b3"]);
    let names: Vec<_> = store.feeds().unwrap().into_iter().map(|s| s.id).collect();
    assert_eq!(names, [feed("a"), feed("b"), feed("c")]);
}

pub(crate) fn readers_see_the_old_rows_until_an_import_ends(bench: &mut Bench) {
    let store = &mut *bench.store;
    import(store, "tracker", &[("a", "old")]).unwrap();
    let Some(reader) = second(bench, "readers_see_the_old_rows_until_an_import_ends") else {
        return;
    };
    let store = &mut *bench.store;
    store
        .import_feed(&feed("tracker"), &mut |writer: &mut dyn FeedWriter| {
            for n in 0..500 {
                writer.put(Space::Package, &format!("k{n:03}"), &[b'x'; 3000])?;
            }
            assert_eq!(all(&*reader, Space::Package), ["a tracker old"]);
            assert_eq!(reader.feeds().unwrap(), [status("tracker", 1)]);
            Ok(status("tracker", 500))
        })
        .unwrap();
    assert_eq!(all(&*reader, Space::Package).len(), 500);
    assert_eq!(reader.feeds().unwrap(), [status("tracker", 500)]);
}

pub(crate) fn a_status_of_another_feed_is_refused(bench: &mut Bench) {
    let store = &mut *bench.store;
    let error = store
        .import_feed(&feed("tracker"), &mut |writer: &mut dyn FeedWriter| {
            writer.put(Space::Package, "a", b"x")?;
            Ok(status("osv", 1))
        })
        .unwrap_err();
    assert_eq!(error.kind(), "import-of-other-feed");
    assert_eq!(all(store, Space::Package), Vec::<String>::new());
}

pub(crate) fn a_large_body_comes_back_whole(bench: &mut Bench) {
    let store = &mut *bench.store;
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    store
        .import_feed(&feed("osv"), &mut |writer: &mut dyn FeedWriter| {
            writer.put(Space::Package, "large", &body)?;
            writer.put(Space::Package, "empty", b"")?;
            Ok(status("osv", 2))
        })
        .unwrap();
    let mut seen = Vec::new();
    store
        .rows(Space::Package, &["empty", "large"], &mut |key, _, body| {
            seen.push((key, body.to_vec()));
        })
        .unwrap();
    assert!(seen == [(0, vec![]), (1, body)]);
}

pub(crate) fn a_callback_may_ask_the_store(bench: &mut Bench) {
    import(&mut *bench.store, "tracker", &[("a", "1"), ("a", "2")]).unwrap();
    let store = &*bench.store;
    let mut seen = 0;
    store
        .rows(Space::Package, &["a"], &mut |_, feed, _| {
            assert_eq!(store.feeds().unwrap()[0].id, *feed);
            seen += 1;
        })
        .unwrap();
    assert_eq!(seen, 2);
}

pub(crate) fn hostile_problems_do_not_fill_the_store(bench: &mut Bench) {
    let store = &mut *bench.store;
    let problem = Problem::new("record", "x".repeat(500));
    store
        .import_feed(&feed("osv"), &mut |writer: &mut dyn FeedWriter| {
            for _ in 0..12_000 {
                writer.problem(&problem)?;
            }
            Ok(status("osv", 0))
        })
        .unwrap();
    assert_eq!(store.feed_problems(&feed("osv")).unwrap().len(), 10_000);
}

pub(crate) fn a_removed_feed_is_gone(bench: &mut Bench) {
    let store = &mut *bench.store;
    import(store, "tracker", &[("a", "1")]).unwrap();
    import(store, "osv", &[("a", "2")]).unwrap();
    store
        .record_fetch_state(&feed("tracker"), &FetchState::default())
        .unwrap();
    assert!(store.remove_feed(&feed("tracker")).unwrap());
    assert!(!store.remove_feed(&feed("tracker")).unwrap());
    assert_eq!(all(store, Space::Package), ["a osv 2"]);
    assert_eq!(store.feeds().unwrap(), [status("osv", 1)]);
    assert_eq!(store.feed_problems(&feed("tracker")).unwrap(), []);
    assert_eq!(store.fetch_state(&feed("tracker")).unwrap(), None);
}

pub(crate) fn a_confirmed_feed_is_as_of_then(bench: &mut Bench) {
    let store = &mut *bench.store;
    import(store, "tracker", &[("a", "1")]).unwrap();
    store
        .confirm_feed(&feed("tracker"), at(2_000_000_000))
        .unwrap();
    let mut expected = status("tracker", 1);
    expected.as_of = at(2_000_000_000);
    assert_eq!(store.feeds().unwrap(), [expected]);
    assert_eq!(all(store, Space::Package), ["a tracker 1"]);
}

pub(crate) fn a_feed_never_imported_cannot_be_confirmed(bench: &mut Bench) {
    let error = bench
        .store
        .confirm_feed(&feed("tracker"), at(1))
        .unwrap_err();
    assert_eq!(error.kind(), "no-such-feed");
    assert_eq!(bench.store.feeds().unwrap(), []);
}

pub(crate) fn fetch_states_are_kept_for_each_feed(bench: &mut Bench) {
    let store = &mut *bench.store;
    let state = |etag: &str| FetchState {
        location: "https://www.cisa.gov/kev.json".to_owned(),
        etag: Some(etag.to_owned()),
        last_modified: None,
    };
    // Before any import, too.
    store
        .record_fetch_state(&feed("kev"), &state("\"1\""))
        .unwrap();
    store
        .record_fetch_state(&feed("osv"), &state("\"2\""))
        .unwrap();
    store
        .record_fetch_state(&feed("kev"), &state("\"3\""))
        .unwrap();
    assert_eq!(
        store.fetch_state(&feed("kev")).unwrap(),
        Some(state("\"3\""))
    );
    assert_eq!(
        store.fetch_state(&feed("osv")).unwrap(),
        Some(state("\"2\""))
    );
    assert_eq!(store.feeds().unwrap(), []);
}
