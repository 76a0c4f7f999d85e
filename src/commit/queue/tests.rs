//! How long does a leader wait for those who were here before?

use super::*;

/// A queue in which two were here, of whom one is back, and a flush takes so long.
fn one_is_missing(flush_nanos: u64) -> Queue {
    let mut queue = Queue::default();
    queue.note_flush(flush_nanos);
    drop(queue.join(1));
    queue.expected = 2;
    queue
}

/// Where others want the processor, letting them run once may take as long as many flushes.
#[test]
fn a_wait_that_takes_longer_than_a_flush_ends_and_is_not_tried_again_soon() {
    let mut queue = one_is_missing(1);
    let mut rests = 0;
    for wanted in [0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 4096] {
        let mut gathering = Gathering::default();
        while !queue.is_awaiting(&mut gathering) {
            rests += 1;
        }
        assert_eq!(std::mem::take(&mut rests), wanted, "flushes for which nobody is waited");
        // Somebody has run, for longer than a flush.
        while gathering.watch.expect("it waits").nanos() < 2 {}
        assert!(!queue.is_awaiting(&mut gathering), "it goes on waiting");
    }
}

/// Also when all are back after it: it was dearer than what it was to spare.
#[test]
fn a_long_wait_is_no_success() {
    let mut queue = one_is_missing(1);
    let mut gathering = Gathering::default();
    assert!(queue.is_awaiting(&mut gathering));
    drop(queue.join(1));
    while gathering.watch.expect("it waits").nanos() < 2 {}
    assert!(!queue.is_awaiting(&mut gathering));
    assert_eq!((queue.worth.rests, queue.worth.rests_next), (16, 32));
    // A short one is, and the next that fails counts for less.
    queue.worth = Worth { flush_nanos: u64::MAX, rests: 0, rests_next: 64 };
    queue.expected = 3;
    let mut gathering = Gathering::default();
    assert!(queue.is_awaiting(&mut gathering));
    drop(queue.join(1));
    assert!(!queue.is_awaiting(&mut gathering));
    assert_eq!((queue.worth.rests, queue.worth.rests_next), (0, 32));
}

/// A flush that was interrupted does not count as what a flush takes.
#[test]
fn what_a_flush_takes_falls_at_once_and_grows_slowly() {
    let mut worth = Worth::default();
    let taken: Vec<u64> = [1_000, 800, 1_000_000, 1_000_000, 500, 500]
        .into_iter()
        .map(|nanos| {
            worth.note_flush(nanos);
            worth.flush_nanos
        })
        .collect();
    assert_eq!(taken, [1_000, 800, 900, 1_012, 500, 500]);
    worth.flush_nanos = u64::MAX - 1;
    worth.note_flush(u64::MAX);
    assert_eq!(worth.flush_nanos, u64::MAX, "nothing comes round");
}

/// A lone committer waits for nobody, and looks at no clock.
#[test]
fn nobody_is_waited_for_who_was_not_here() {
    let mut queue = one_is_missing(1);
    queue.expected = 1;
    let mut gathering = Gathering::default();
    assert!(!queue.is_awaiting(&mut gathering) && gathering.watch.is_none());
}
