//! States whose pages have no owner or two, and space logs that contradict themselves.
//!
//! Attacks: page-owned-once, no-reuse-while-reachable, space-log-replays.

use crate::build::{extents, snapshot, transaction};
use crate::cases::{Case, case, check, child, tail};
use crate::samples::{large, pair, single};
use btree_store::Invariant::{NoReuseWhileReachable, PageOwnedOnce, SpaceLogReplays};

const OWNERS: &[Case] = &[
    case("a child outside the file", single, PageOwnedOnce, |s| {
        let (root, pages) = (s.a.root, s.file().pages());
        let at = child(s, root, 2);
        s.file().set_u32(root, at, pages);
        pages
    }),
    case("a child that is a slot", single, PageOwnedOnce, |s| {
        let root = s.a.root;
        let at = child(s, root, 2);
        s.file().set_u32(root, at, 1);
        1
    }),
    case("a child twice", single, PageOwnedOnce, |s| {
        let (root, leaf) = (s.a.root, s.a.leaves[1]);
        let at = child(s, root, 2);
        s.file().set_u32(root, at, leaf);
        leaf
    }),
    case("a circle", large, PageOwnedOnce, |s| {
        let (branch, root) = (s.deep.branches[1], s.deep.root);
        let at = child(s, branch, 2);
        s.file().set_u32(branch, at, root);
        root
    }),
    case("a page of another tree", single, PageOwnedOnce, |s| {
        let at = s.file().record(0, 1);
        let leaf = s.a.leaves[4];
        s.file().set_u32(0, at, leaf);
        leaf
    }),
    case("a run over the file's end", single, PageOwnedOnce, |s| {
        let (leaf, pages) = (s.o.root, s.file().pages());
        let at = s.file().value(leaf, 6);
        s.file().set_u32(leaf, at + 4, pages - 1);
        pages - 1
    }),
    case("a run over another", single, PageOwnedOnce, |s| {
        let (leaf, first) = (s.o.root, s.o.runs[0].0);
        let at = s.file().value(leaf, 7);
        s.file().set_u32(leaf, at + 4, first + 1);
        first + 1
    }),
    case("lost pages", single, PageOwnedOnce, |s| {
        let unused = [s.spare[0], s.spare[3]];
        tail(s, |words| *words = snapshot(2, u32::MAX, &unused));
        s.spare[1]
    }),
    case("a page both reachable and free", single, PageOwnedOnce, |s| {
        let unused = [s.spare.as_slice(), &[s.a.leaves[2]]].concat();
        tail(s, |words| *words = snapshot(2, u32::MAX, &unused));
        s.a.leaves[2]
    }),
    case("a page both of the log and free", large, PageOwnedOnce, |s| {
        let page = s.log[0];
        tail(s, |words| words.extend(transaction(10, &[], &[page])));
        page
    }),
    case("a page that the state before needs is free", pair, NoReuseWhileReachable, |s| {
        // Freed by a transaction before the state's own, so that it may be written next.
        let (freed, unused) = (s.deep.leaves[2], extents(&s.spare));
        let written = &s.state.items;
        let written: Vec<u32> = written.iter().flat_map(|i| i.0..i.0 + (i.1 & 0xFF)).collect();
        let pending = s.deep.root;
        assert!(!unused.is_empty());
        tail(s, |words| {
            let start = words[..6].to_vec();
            let early = transaction(6, &[], &[freed]);
            *words = [start, early, transaction(7, &written, &[pending])].concat();
        });
        freed
    }),
];

#[test]
fn pages_without_an_owner_or_with_two_are_found() {
    check(OWNERS);
}

const LOG: &[Case] = &[
    case("an unknown record", single, SpaceLogReplays, |s| tail(s, |words| words[0] = 4)),
    case("half a record", single, SpaceLogReplays, |s| tail(s, |words| words.push(3))),
    case("more extents than words", single, SpaceLogReplays, |s| {
        tail(s, |words| words[3] = u32::MAX)
    }),
    case("an extent without pages", single, SpaceLogReplays, |s| tail(s, |words| words[5] = 0)),
    case("an extent that ends nowhere", single, SpaceLogReplays, |s| {
        tail(s, |words| *words.last_mut().expect("a word") = u32::MAX)
    }),
    case("extents that touch", single, SpaceLogReplays, |s| {
        tail(s, |words| words[5] = words[6] - words[4])
    }),
    case("a used page allocated", single, SpaceLogReplays, |s| {
        let page = s.a.leaves[0];
        tail(s, |words| words.extend(transaction(6, &[page], &[])))
    }),
    case("an unused page freed", single, SpaceLogReplays, |s| {
        let page = s.spare[0];
        tail(s, |words| words.extend(transaction(6, &[], &[page])))
    }),
    case("a transaction that is to come", single, SpaceLogReplays, |s| {
        tail(s, |words| words.extend(transaction(8, &[], &[])))
    }),
    case("transactions that descend", single, SpaceLogReplays, |s| {
        tail(s, |words| {
            words.extend(transaction(6, &[], &[]));
            words.extend(transaction(5, &[], &[]));
        })
    }),
    case("a transaction after the page that tells of it", large, SpaceLogReplays, |s| {
        let page = s.log[0];
        // The last record of the oldest page.
        let at = 40 + 4 * (s.file().u16(page, 18) - 7);
        assert_eq!(s.file().u32(page, at), 1);
        s.file().set_u32(page, at + 4, 9);
        page
    }),
    case("pages that no record tells of", single, SpaceLogReplays, |s| {
        let (first, unused) = (s.spare[1], s.spare.clone());
        tail(s, |words| *words = snapshot(first, u32::MAX, &unused[1..]))
    }),
    case("a snapshot that contradicts", single, SpaceLogReplays, |s| {
        let unused = s.spare[..2].to_vec();
        tail(s, |words| words.extend(snapshot(2, u32::MAX, &unused)))
    }),
    case("a snapshot that does not go on", single, SpaceLogReplays, |s| {
        let unused = s.spare[1..].to_vec();
        tail(s, |words| words.extend(snapshot(3, u32::MAX, &unused)))
    }),
    case("a page outside the file", single, SpaceLogReplays, |s| {
        let pages = s.file().pages();
        tail(s, |words| words.extend(transaction(6, &[], &[pages])))
    }),
    case("a file that had another length", single, SpaceLogReplays, |s| {
        let pages = s.file().pages();
        tail(s, |words| words.extend([3, pages, pages + 1]))
    }),
    case("used pages cut off", single, SpaceLogReplays, |s| {
        let (pages, used) = (s.file().pages(), s.a.leaves[0]);
        tail(s, |words| words.extend([3, pages, used, 3, used, pages]))
    }),
    case("a page freed and taken again in one commit", single, SpaceLogReplays, |s| {
        let page = s.a.leaves[0];
        tail(s, |words| {
            words.extend(transaction(7, &[], &[page]));
            words.extend(transaction(7, &[page], &[]));
        })
    }),
    case("a page of another kind", large, SpaceLogReplays, |s| {
        let page = s.log[0];
        s.file().set_u8(page, 16, 2);
        page
    }),
    case("more words than a page holds", large, SpaceLogReplays, |s| {
        let page = s.log[0];
        s.file().set_u16(page, 18, 119);
        page
    }),
    case("a log shorter than the slot says", large, SpaceLogReplays, |s| {
        s.file().set_u32(0, 64, 3);
        0
    }),
    case("a pending page that the state before does not have", pair, SpaceLogReplays, |s| {
        let (page, a, b) = (s.spare[1], s.deep.leaves[2], s.deep.root);
        tail(s, |words| {
            let at = words.len() - transaction(7, &[], &[a, b]).len() - 2;
            let taken = transaction(6, &[page], &[]);
            let own = [&words[at..at + 7], &extents(&[a, b, page])].concat();
            words.splice(at.., taken.into_iter().chain(own));
            let own = words.len() - 6 - 7;
            words[own + 4] = 3;
        });
        page
    }),
];

#[test]
fn a_space_log_that_does_not_replay_is_found() {
    check(LOG);
}
