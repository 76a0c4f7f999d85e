//! Heads that are compared several at a time, against one by one.
//!
//! Attack: sorted-keys.

use crate::format::HEAD_LEN;
use crate::node::heads::{WINDOW, below_in, below_one_by_one, lower_bound};

/// Numbers at which comparisons with and without a sign differ, and their neighbours.
const EDGES: [u32; 8] = [0, 1, 0x7fff_fffe, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, !1, !0];

fn as_slots(heads: &[u32]) -> Vec<[u8; HEAD_LEN]> {
    heads.iter().map(|head| head.to_le_bytes()).collect()
}

#[test]
fn four_heads_at_a_time_compare_as_one_by_one() {
    for at in 0..WINDOW {
        for head in EDGES {
            for other in EDGES {
                let mut window = [[0; HEAD_LEN]; WINDOW];
                window[at] = other.to_le_bytes();
                window[(at + 7) % WINDOW] = head.to_le_bytes();
                let (found, wanted) = (below_in(&window, head), below_one_by_one(&window, head));
                assert_eq!(found, wanted, "{other:#x} at {at}, head {head:#x}");
            }
        }
    }
}

#[test]
fn a_lower_bound_is_the_first_head_not_below_whatever_lies_behind() {
    for count in 0..300 {
        let heads: Vec<u32> = (0..count).map(|at| (at / 2) * 0x0100_0007).collect();
        for behind in [0, !0] {
            let mut row = heads.clone();
            row.resize(heads.len() + 40, behind);
            let row = as_slots(&row);
            let wanted = heads.iter().copied().chain([1, !0]);
            for head in wanted.flat_map(|head| [head, head.wrapping_add(1)]) {
                let first = heads.partition_point(|&other| other < head);
                let found = lower_bound(&row, heads.len(), head);
                assert_eq!(found, first, "{head:#x} among {count}, before {behind:#x}");
                let found = lower_bound(&row[..heads.len()], heads.len(), head);
                assert_eq!(found, first, "{head:#x} among {count}");
            }
        }
    }
}
