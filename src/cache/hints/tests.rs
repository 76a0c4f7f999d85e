//! What hints say of keys, and how much memory they take.

use super::*;
use crate::arena::Arena;
use crate::slots::Slots;
use crate::sync::Arc;

const SIZE: usize = 4096;
const FRAMES: u32 = 100;

/// A place that no other number has.
fn place(number: u32) -> (u32, usize) {
    (number % FRAMES, number as usize % (frame_bytes(SIZE) / LINE_BYTES))
}

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

fn found(hints: &Hints, words: &[AtomicU64], key: &[u8]) -> (Recalled, (u32, usize)) {
    let cue = hints.ask(words, key).expect("there are hints");
    let (recalled, hinted) = hints.recall(words, cue).expect("there are hints");
    (recalled, (hinted.frame, hinted.line))
}

#[test]
fn a_key_is_hinted_where_it_was_found_last() {
    let (hints, words) = (Hints::new(FRAMES, SIZE), words(1 << 16));
    if hints.words(1) == 0 {
        return;
    }
    for round in 0..3 {
        for number in 0..1000_u32 {
            let (frame, line) = place(number + round);
            let (recalled, _) = found(&hints, &words, &number.to_be_bytes());
            hints.note(&words, recalled, frame, line);
            let (_, hinted) = found(&hints, &words, &number.to_be_bytes());
            assert_eq!(hinted, (frame, line), "key {number} in round {round}");
        }
    }
    let is_kept =
        |number: &u32| found(&hints, &words, &number.to_be_bytes()).1 == place(*number + 2);
    let kept = (0..1000).filter(is_kept).count();
    assert!(kept > 980, "of 1,000 keys in 131,072 places {kept} are hinted");
}

#[test]
fn two_keys_of_one_word_are_both_hinted() {
    let (hints, words) = (Hints::new(FRAMES, SIZE), words(1));
    if hints.words(1) == 0 {
        return;
    }
    let keys = [b"a".as_slice(), b"b", b"a longer key than one word"];
    let note = |at: usize| {
        let (recalled, _) = found(&hints, &words, keys[at]);
        let frame = u32::try_from(at + 1).unwrap();
        hints.note(&words, recalled, frame, at + 1);
    };
    let hinted = || [0, 1, 2].map(|at| found(&hints, &words, keys[at]).1);
    note(0);
    note(1);
    assert_eq!(hinted(), [(1, 1), (2, 2), (0, 0)]);
    note(2);
    assert_eq!(hinted(), [(0, 0), (2, 2), (3, 3)], "the older one gives way");
}

#[test]
fn hints_are_some_for_a_page_and_none_without_pages_or_bits() {
    let hints = Hints::new(FRAMES, SIZE);
    let is_useful = usize::from(CAN_ASK);
    assert_eq!(hints.words(0), 0);
    assert_eq!(hints.words(1), 8 * is_useful);
    assert_eq!(hints.words(3), 32 * is_useful);
    assert!(hints.ask(&[], b"key").is_none());
    // A frame of 64 KiB has 1,025 lines, so that 11 bits of 32 are theirs.
    assert_eq!(Hints::new((1 << 20) - 1, 1 << 16).words(1), 128 * is_useful);
    assert_eq!(Hints::new(1 << 20, 1 << 16).words(1), 0);
}

#[test]
fn hints_name_frames_of_the_arena() {
    let made = Arena::new(FRAMES, 64, SIZE, Arc::new(Slots::new()));
    let (arena, _) = made.expect("there is memory for a few frames");
    let hints = Hints::new(FRAMES, SIZE);
    if hints.words(1) == 0 {
        return;
    }
    for number in 0..10_000_u32 {
        let key = number.to_le_bytes();
        let (recalled, (frame, line)) = found(&hints, arena.words(), &key);
        assert!(frame < FRAMES && line < frame_bytes(SIZE) / LINE_BYTES);
        let (frame, line) = place(number);
        hints.note(arena.words(), recalled, frame, line);
    }
}
