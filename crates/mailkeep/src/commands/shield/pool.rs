//! Work on many things at once, told of in the order in which they were found.
//!
//! Entry: [`in_order`]. One thread finds, one for each core works, and the caller's own takes what they say. No more
//! than a few things are held at a time: the finder waits while the workers are busy, and they while the caller is.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

/// Hands each thing that `find` gives to `work`, and what that says to `take`. `find` is told whether more is wanted.
///
/// # Errors
/// The first of `take`; nothing more is found then.
pub(super) fn in_order<T: Send, U: Send>(
    find: impl FnOnce(&mut dyn FnMut(T) -> bool) + Send,
    work: impl Fn(T) -> U + Sync,
    mut take: impl FnMut(U) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let (found, waiting) = sync_channel::<(usize, T)>(threads);
    let (done, results) = sync_channel::<(usize, U)>(threads * 4);
    let waiting = Mutex::new(waiting);
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let done = done.clone();
            let (waiting, work) = (&waiting, &work);
            scope.spawn(move || {
                while let Some((number, thing)) = next(waiting) {
                    if done.send((number, work(thing))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        let stop = &enough;
        scope.spawn(move || {
            let mut number = 0;
            find(&mut |thing| {
                number += 1;
                !stop.load(Ordering::Relaxed) && found.send((number, thing)).is_ok()
            });
        });
        let mut early = BTreeMap::new();
        let mut due = 1;
        let mut taken = Ok(());
        while taken.is_ok()
            && let Ok((number, result)) = results.recv()
        {
            early.insert(number, result);
            while taken.is_ok()
                && let Some(result) = early.remove(&due)
            {
                due += 1;
                taken = take(result);
            }
        }
        // Where taking ended early, the others must learn of it.
        drop(results);
        enough.store(true, Ordering::Relaxed);
        while next(&waiting).is_some() {}
        taken
    })
}

fn next<T>(waiting: &Mutex<Receiver<T>>) -> Option<T> {
    waiting.lock().ok()?.recv().ok()
}

#[cfg(test)]
mod tests {
    use super::in_order;

    #[test]
    fn results_come_in_the_order_of_the_finding() {
        let mut taken = Vec::new();
        let done = in_order(
            |find| assert!((0..1000).all(find)),
            |number| number * 2,
            |number| {
                taken.push(number);
                Ok(())
            },
        );
        assert!(done.is_ok());
        assert_eq!(
            taken,
            (0..1000).map(|number| number * 2).collect::<Vec<_>>()
        );
    }

    #[test]
    fn nothing_more_is_found_once_taking_fails() {
        let mut found = 0;
        let mut taken = 0;
        let done = in_order(
            |find| {
                while find(()) {
                    found += 1;
                }
            },
            |()| (),
            |()| {
                taken += 1;
                anyhow::ensure!(taken < 3, "enough");
                Ok(())
            },
        );
        assert!(done.is_err());
        assert_eq!(taken, 3);
        assert!(found < 1000);
    }
}
