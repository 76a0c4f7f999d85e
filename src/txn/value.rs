//! Values that are lent (part of txn, layer L6).
//!
//! Owns: [`ValueRef`]. Must not know: how a value was found. Keeps: snapshot-stable (the page
//! that holds the value stays what it is until the reference is dropped).

use crate::arena::Pinned;
use crate::page::Page;
use std::ops::{Deref, Range};

/// A value of a bucket, as long as its transaction: the bytes themselves, in a page of the cache
/// that stays there meanwhile, or a copy of a value that is larger than a page.
///
/// ```
/// # let db = btree_store::Options::new().open_in_memory()?;
/// db.exec("b", |txn| txn.put("k", "value"))?;
/// let len = db.view("b", |txn| Ok(txn.get_ref("k")?.len()))?;
/// assert_eq!(len, 5);
/// # Ok::<(), btree_store::Error>(())
/// ```
// In this order for the reason of `Pinned`.
#[repr(C)]
pub struct ValueRef<'t> {
    frame: Pinned<'t>,
    /// A value that does not lie in a frame that was looked at.
    other: Option<Box<Kept<'t>>>,
}

/// What a lookup had to read, or to hold otherwise.
pub(super) enum Kept<'t> {
    Frame(Pinned<'t>),
    Page(Page, Range<usize>),
    Own(Vec<u8>),
}

impl Kept<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Kept::Frame(frame) => frame.bytes(),
            Kept::Page(page, range) => &page.bytes()[range.clone()],
            Kept::Own(bytes) => bytes,
        }
    }

    /// A copy, or what is one already.
    pub(super) fn into_vec(self) -> Vec<u8> {
        match self {
            Kept::Own(bytes) => bytes,
            kept => kept.bytes().to_vec(),
        }
    }
}

impl<'t> ValueRef<'t> {
    #[inline(always)]
    pub(super) fn in_frame(frame: Pinned<'t>) -> ValueRef<'t> {
        ValueRef { frame, other: None }
    }

    pub(super) fn kept(kept: Box<Kept<'t>>) -> ValueRef<'t> {
        ValueRef { frame: Pinned::none(), other: Some(kept) }
    }
}

impl Deref for ValueRef<'_> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        match &self.other {
            None => self.frame.bytes(),
            Some(kept) => kept.bytes(),
        }
    }
}

impl AsRef<[u8]> for ValueRef<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for ValueRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ValueRef").field(&&**self).finish()
    }
}
