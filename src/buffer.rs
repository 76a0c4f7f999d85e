//! Memory for pages that are built here (layer L2).
//!
//! Owns: [`Buffer`], the bytes of one page. Must not know: what they mean.
//! Keeps: committed-pages-immutable (who writes to a buffer that others share gets a copy).

use crate::sync::Arc;
use std::ops::{Deref, DerefMut};

/// The bytes of a page. Clones share them until one of them is written to.
///
/// The count of the clones lies in front of the bytes: whoever asks for the memory of the one
/// gets the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Buffer(Arc<[u8]>);

impl Buffer {
    /// So many zeros.
    pub(crate) fn zeroed(len: usize) -> Buffer {
        Buffer(std::iter::repeat_n(0, len).collect())
    }
}

impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Buffer {
        Buffer(Arc::from(bytes))
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        Arc::make_mut(&mut self.0)
    }
}
