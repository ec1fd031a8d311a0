//! Work on many things at once, told of in the order in which they were found.
//!
//! Entry: [`in_order`]. One thread finds, one for each core works, and the caller's own takes what they say. No more
//! than a few things are held at a time: the finder waits while the workers or the caller are busy, and while what
//! is due is still worked on.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;

/// Things for each core that were found and not taken.
const HELD: usize = 4;

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
    let (found, waiting) = sync_channel::<(T, SyncSender<U>)>(threads);
    let (in_turn, due) = sync_channel::<Receiver<U>>(threads * HELD);
    let waiting = Arc::new(Mutex::new(waiting));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (waiting, work) = (Arc::clone(&waiting), &work);
            scope.spawn(move || {
                while let Some((thing, answer)) = next(&waiting) {
                    // Nobody hears it where taking has ended.
                    answer.send(work(thing)).ok();
                }
            });
        }
        // It is theirs: where they are gone, nothing waits.
        drop(waiting);
        scope.spawn(move || {
            find(&mut |thing| {
                let (answer, result) = sync_channel(1);
                in_turn.send(result).is_ok() && found.send((thing, answer)).is_ok()
            });
        });
        due.into_iter().try_for_each(|result| {
            let result = result.recv().context("a thread broke down at its work")?;
            take(result)
        })
    })
}

fn next<T>(waiting: &Mutex<Receiver<T>>) -> Option<T> {
    waiting.lock().ok()?.recv().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::{HELD, in_order};

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

    #[test]
    fn a_slow_one_lets_the_finder_wait() {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        // The one that is due, those behind it, and one that is about to be handed over.
        let most = threads * HELD + 2;
        let (too_many, wait) = channel();
        let wait = Mutex::new(wait);
        let mut taken = 0;
        let done = in_order(
            |find| {
                for number in 0..1000 {
                    if number >= most {
                        too_many.send(()).unwrap();
                    }
                    assert!(find(number));
                }
            },
            |number| {
                let patience = Duration::from_millis(200);
                number == 0 && wait.lock().unwrap().recv_timeout(patience).is_ok()
            },
            |were_too_many| {
                assert!(!were_too_many);
                taken += 1;
                Ok(())
            },
        );
        assert!(done.is_ok());
        assert_eq!(taken, 1000);
    }

    #[test]
    fn work_that_breaks_down_keeps_nobody_waiting() {
        let broken = std::panic::catch_unwind(|| {
            in_order(
                |find| while find(()) {},
                |()| panic!("on purpose"),
                |()| Ok(()),
            )
        });
        assert!(broken.is_err());
    }
}
