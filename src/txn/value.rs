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
pub struct ValueRef<'t> {
    place: Place<'t>,
}

enum Place<'t> {
    Frame(Pinned<'t>, Range<usize>),
    Page(Page, Range<usize>),
    Own(Vec<u8>),
}

impl<'t> ValueRef<'t> {
    #[inline]
    pub(super) fn in_frame(frame: Pinned<'t>, range: Range<usize>) -> ValueRef<'t> {
        ValueRef { place: Place::Frame(frame, range) }
    }

    pub(super) fn in_page(page: Page, range: Range<usize>) -> ValueRef<'t> {
        ValueRef { place: Place::Page(page, range) }
    }

    pub(super) fn own(bytes: Vec<u8>) -> ValueRef<'t> {
        ValueRef { place: Place::Own(bytes) }
    }
}

impl Deref for ValueRef<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.place {
            Place::Frame(frame, range) => &frame.bytes()[range.clone()],
            Place::Page(page, range) => &page.bytes()[range.clone()],
            Place::Own(bytes) => bytes,
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
