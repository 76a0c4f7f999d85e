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

/// Where others want the processor, letting them run once may take as long as many flushes. The
/// rests that follow take sixteen times as long as what was waited in vain.
#[test]
fn a_wait_that_takes_longer_than_some_flushes_ends_and_is_not_tried_again_soon() {
    let mut queue = one_is_missing(1_000);
    for back in [0, 1] {
        let mut gathering = Gathering::default();
        assert!(queue.is_awaiting(&mut gathering), "it does not wait");
        // Also when all are back behind it.
        queue.here += back;
        let watch = gathering.watch.expect("it waits");
        while watch.nanos() < 5_000 {}
        assert!(!queue.is_awaiting(&mut gathering), "it goes on waiting");
        let longest = watch.nanos();
        queue.here -= back;
        let mut rests = 0;
        while !queue.is_awaiting(&mut Gathering::default()) {
            rests += 1;
        }
        assert!((80..=longest * 16 / 1_000).contains(&rests), "{rests} in {longest} ns");
    }
}

/// A wait that takes no longer is repeated.
#[test]
fn a_short_wait_is_followed_by_another() {
    let mut queue = one_is_missing(u64::MAX);
    for _ in 0..3 {
        let mut gathering = Gathering::default();
        assert!(queue.is_awaiting(&mut gathering));
        queue.here += 1;
        assert!(!queue.is_awaiting(&mut gathering));
        queue.here -= 1;
        assert_eq!(queue.worth.rests, 0);
    }
}

#[test]
fn what_a_flush_takes_is_an_average() {
    let mut worth = Worth::default();
    let taken: Vec<u64> = [8_000, 8_000, 16_000, 0, 0]
        .into_iter()
        .map(|nanos| {
            worth.note_flush(nanos);
            worth.flush_nanos
        })
        .collect();
    assert_eq!(taken, [8_000, 8_000, 9_000, 7_875, 6_891]);
    for _ in 0..1_000 {
        worth.note_flush(0);
    }
    // Before the first one nothing is known of it, and nothing divided by it.
    assert!(!Worth::default().is_exceeded(u64::MAX));
    // A rest is a number.
    assert!(worth.is_exceeded(u64::MAX) && worth.flush_nanos > 0);
    worth.note_flush(u64::MAX);
    worth.note_flush(u64::MAX);
    assert!(worth.flush_nanos > u64::MAX / 8, "it came round");
}

/// A lone committer waits for nobody, and looks at no clock.
#[test]
fn nobody_is_waited_for_who_was_not_here() {
    let mut queue = one_is_missing(1);
    queue.expected = 1;
    let mut gathering = Gathering::default();
    assert!(!queue.is_awaiting(&mut gathering) && gathering.watch.is_none());
}

/// Who is counted too long is waited for though nobody comes.
#[test]
fn whoever_was_told_or_leads_is_here_no_more() {
    let mut queue = Queue::default();
    assert_eq!([1, 1, 2].map(|batch| queue.join(batch).leads), [true, false, false]);
    assert!(!queue.join_to_lead().leads);
    assert_eq!(queue.here, 4);
    let told: Vec<usize> = queue.take_until(1).iter().map(|round| round.waiters).collect();
    assert_eq!((told, queue.here), (vec![2], 2));
    assert_eq!((queue.take_until(2).len(), queue.here), (1, 1));
    // Who waits for the lead has it when it passes on, and waits no more.
    assert!(queue.hand_over(3).is_some() && queue.is_led());
    assert_eq!((queue.here, queue.expected), (0, 4));
    assert!(queue.hand_over(0).is_none() && !queue.is_led());
}
