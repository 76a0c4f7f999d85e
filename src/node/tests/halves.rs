//! Splits that leave the page as it was, for tests that compare before and after.
//!
//! Attack: sorted-keys, separators-bound-children.

use crate::buffer::Buffer;
use crate::node::{self, Insertion};
use crate::page::ChildRef;

/// Two pages where there was one, or two others.
pub(super) struct Halves {
    pub(super) left: Buffer,
    pub(super) separator: Vec<u8>,
    pub(super) right: Buffer,
    pub(super) left_len: usize,
}

impl Halves {
    fn new(left: Buffer, split: node::build::Split) -> Halves {
        let node::build::Split { separator, right, left_len } = split;
        Halves { left, separator, right, left_len }
    }
}

pub(super) fn split_leaf(page: &[u8], insertion: Insertion<'_>) -> Halves {
    let mut left: Buffer = page.into();
    let split = node::split_leaf(&mut left, insertion);
    Halves::new(left, split)
}

pub(super) fn split_branch(page: &[u8], at: usize, separator: &[u8], right: ChildRef) -> Halves {
    let mut left: Buffer = page.into();
    let split = node::split_branch(&mut left, at, separator, right);
    Halves::new(left, split)
}

pub(super) fn rebalance(left: &[u8], separator: &[u8], right: &[u8]) -> Option<Halves> {
    let halves = node::rebalance(left, separator, right)?;
    Some(Halves::new(halves.left, halves.split))
}
