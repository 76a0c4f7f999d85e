//! Two leaves that share their entries, beside the entries that they had.
//!
//! Attack: sorted-keys, cells-disjoint, separators-bound-children, same-calls-same-bytes (bytes
//! that nothing uses are zero).

use super::anatomy::dissect;
use super::keys::{Rng, Shape};
use crate::buffer::Buffer;
use crate::node::{Encoded, Node, NodeMut, Value, share, single_leaf};
use std::collections::BTreeSet;

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn entries(page: &[u8]) -> Entries {
    let node = Node::new(page);
    let value = |at| match node.value(at) {
        Value::Inline(value) => value.to_vec(),
        other => panic!("{other:?} was not put"),
    };
    (0..node.count()).map(|at| (node.key(at), value(at))).collect()
}

/// A leaf of some of the keys, put in no order, and a few removed again.
fn leaf(rng: &mut Rng, page_size: usize, mut keys: Vec<Vec<u8>>, value_max: usize) -> Buffer {
    let mut page: Option<Buffer> = None;
    while !keys.is_empty() {
        let key = keys.swap_remove(rng.below(keys.len()));
        let len = rng.below(value_max);
        let value = rng.bytes(len);
        let encoded = Encoded::new(Value::Inline(&value));
        let Some(page) = &mut page else {
            page = Some(single_leaf(page_size, &key, encoded.payload()));
            continue;
        };
        let slot = Node::new(page).search(&key).expect_err("each key is put once");
        if !NodeMut::new(page).insert_leaf(slot, &key, encoded.payload()) {
            break;
        }
        if rng.percent(10) {
            let count = Node::new(page).count();
            NodeMut::new(page).remove_leaf(rng.below(count));
        }
    }
    page.expect("there is a key")
}

/// Two neighbours, one of which is likely to be fuller.
fn neighbours(rng: &mut Rng, shape: Shape, page_size: usize) -> Option<[Buffer; 2]> {
    let value_max = *rng.pick(&[8, 60, page_size / 20]);
    let keys: BTreeSet<_> =
        (0..rng.below(page_size / 8) + 4).map(|_| shape.key(rng, page_size)).collect();
    let mut left: Vec<_> = keys.into_iter().collect();
    if left.len() < 2 {
        return None;
    }
    let right = left.split_off(rng.below(left.len() - 1) + 1);
    Some([left, right].map(|keys| leaf(rng, page_size, keys, value_max)))
}

#[test]
fn leaves_that_share_keep_their_entries() {
    let mut moved = 0;
    for seed in 0..4_000 {
        let mut rng = Rng(seed);
        let (shape, page_size) = (*rng.pick(Shape::ALL), *rng.pick(&[512, 4096]));
        let Some([mut left, mut right]) = neighbours(&mut rng, shape, page_size) else { continue };
        let before = [&left, &right].map(|page| entries(page));
        let old = [left.clone(), right.clone()];
        let is_refused = rng.percent(10);
        let mut separator = Vec::new();
        let is_shared = share(&mut left, &mut right, |new| {
            separator = new.to_vec();
            Ok::<bool, ()>(!is_refused)
        });
        if is_shared != Ok(true) {
            assert!([left, right] == old, "seed {seed}: changed, though nothing was shared");
            continue;
        }
        dissect(&left);
        dissect(&right);
        let after = [&left, &right].map(|page| entries(page));
        assert_eq!(after.concat(), before.concat(), "seed {seed}");
        let [last, first] =
            [after[0].last(), after[1].first()].map(|entry| &entry.expect("kept").0);
        assert!(*last < separator && separator <= *first, "seed {seed}");
        moved += usize::from(after != before);
    }
    assert!(moved > 500, "{moved} pairs moved entries");
}
