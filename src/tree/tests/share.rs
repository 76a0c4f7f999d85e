//! The separator between two leaves that share their entries.

use crate::node::{Node, NodeMut, single_branch};
use crate::tree::UNSEALED;
use crate::tree::share::replace_separator;

fn keys(branch: &[u8]) -> Vec<Vec<u8>> {
    let node = Node::new(branch);
    (0..node.count()).map(|at| node.key(at)).collect()
}

#[test]
fn a_separator_for_which_there_is_no_room_leaves_the_old_one() {
    let mut branch = single_branch(512, 1, [UNSEALED, UNSEALED], b"b");
    for at in 1.. {
        let separator = format!("c{at:02}{}", "x".repeat(at % 20));
        if !NodeMut::new(&mut branch).insert_branch(at, separator.as_bytes(), UNSEALED) {
            break;
        }
    }
    let before = keys(&branch);
    let long = [b"b".as_slice(), &[b'y'; 100]].concat();
    assert!(!replace_separator(&mut branch, 0, [b"b", &long]).unwrap());
    assert_eq!(keys(&branch), before);
    assert!(replace_separator(&mut branch, 0, [b"b", b"bb"]).unwrap());
    assert_eq!(keys(&branch)[0], b"bb");
    assert_eq!(keys(&branch)[1..], before[1..]);
}

#[test]
fn the_only_separator_gives_way_to_one_with_another_beginning() {
    let mut branch = single_branch(512, 1, [UNSEALED, UNSEALED], b"key_0001");
    assert!(replace_separator(&mut branch, 0, [b"key_0001", b"jay"]).unwrap());
    assert_eq!(keys(&branch), [b"jay"]);
}

#[test]
fn a_separator_beyond_its_neighbour_is_an_error() {
    let mut branch = single_branch(512, 1, [UNSEALED, UNSEALED], b"b");
    assert!(NodeMut::new(&mut branch).insert_branch(1, b"d", UNSEALED));
    assert!(replace_separator(&mut branch, 0, [b"b", b"e"]).is_err());
}
