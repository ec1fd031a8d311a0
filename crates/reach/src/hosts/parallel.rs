//! Much waiting at once, within bounds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

/// Does `work` on every item, on at most `parallel` (at least 1) threads, and hands each result to
/// `done` in the caller's thread as it comes, in no order. At most as many results wait for `done`
/// as there are threads.
///
/// A panic in `work` is passed on once the others have ended.
pub fn for_each_bounded<T: Sync, R: Send>(
    items: &[T],
    parallel: usize,
    work: impl Fn(&T) -> R + Sync,
    mut done: impl FnMut(&T, R),
) {
    let threads = parallel.clamp(1, items.len().max(1));
    let next = AtomicUsize::new(0);
    let (results, received) = sync_channel(threads);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (results, next, work) = (results.clone(), &next, &work);
            scope.spawn(move || {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if results.send((item, work(item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        for (item, result) in received {
            done(item, result);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Barrier, Mutex};

    #[test]
    fn every_item_is_done_once_and_in_the_callers_thread() {
        let items: Vec<usize> = (0..1000).collect();
        let me = thread::current().id();
        let mut seen = vec![0; items.len()];
        for_each_bounded(
            &items,
            7,
            |n| n * 2,
            |n, doubled| {
                assert_eq!(doubled, n * 2);
                assert_eq!(thread::current().id(), me);
                seen[*n] += 1;
            },
        );
        assert!(seen.iter().all(|n| *n == 1));
    }

    #[test]
    fn never_more_at_once_than_allowed_and_as_many_as_allowed() {
        let running = Mutex::new((0, 0));
        // Each waits for two others: it only ends if three really run at once.
        let together = Barrier::new(3);
        for_each_bounded(
            &[(); 30],
            3,
            |()| {
                let mut now = running.lock().unwrap();
                now.0 += 1;
                now.1 = now.1.max(now.0);
                drop(now);
                together.wait();
                running.lock().unwrap().0 -= 1;
            },
            |(), ()| {},
        );
        assert_eq!(running.lock().unwrap().1, 3);
    }

    #[test]
    fn nothing_to_do_and_no_threads_allowed_are_no_trouble() {
        for_each_bounded::<u8, ()>(&[], 0, |_| (), |_, ()| {});
        let mut sum = 0;
        for_each_bounded(&[1, 2, 3], 0, |n| *n, |_, n| sum += n);
        assert_eq!(sum, 6);
    }
}
