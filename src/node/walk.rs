//! Tree pages: walking over the entries of a leaf (part of node, layer L3).
//!
//! Owns: [`Walk`], a leaf's layout, decoded once; [`KeyBuffer`], in which keys are made whole.
//! Must not know: trees.

use super::{Layout, Node};
use crate::format::{
    HEAD_LEN, HEADER_LEN, HEADER_PREFIX, LEAF_CELL_HEADER, OFFSET_LEN, VALUE_UNPLACED,
};
use crate::page::{get_u16, get_u32};

/// A key's rest is copied in one step of this many bytes, where the page has them: what is too
/// much is overwritten later. A copy of a length that is not known costs three times as much.
const STEP: usize = 32;
/// What such a step fills behind the prefix.
const ROOM: usize = HEAD_LEN + STEP;

/// A key that is made whole, in a buffer that is used again for each.
#[derive(Debug, Default)]
pub(crate) struct KeyBuffer {
    /// The key, and bytes of no meaning behind it.
    bytes: Vec<u8>,
    len: usize,
}

impl KeyBuffer {
    #[inline(always)]
    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Makes room for a prefix and most of the keys that have it.
    fn make_room(&mut self, prefix: usize) {
        if self.bytes.len() < prefix + ROOM {
            self.bytes.resize(prefix + ROOM, 0);
        }
    }

    /// Puts the rest of a key behind the prefix, however long it is.
    #[cold]
    fn copy_rest(&mut self, prefix: usize, head: [u8; HEAD_LEN], rest: &[u8]) {
        self.make_room(prefix + rest.len());
        let (to, behind) = self.bytes[prefix..].split_at_mut(HEAD_LEN);
        to.copy_from_slice(&head);
        behind[..rest.len()].copy_from_slice(rest);
    }
}

/// Where the parts of a leaf's entries begin.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walk {
    prefix: usize,
    heads: usize,
    offsets: usize,
}

impl Walk {
    /// The layout of a leaf, whose prefix is put into the buffer. Call it again after each change
    /// of the leaf or of the buffer.
    pub(crate) fn begin(leaf: Node<'_>, key: &mut KeyBuffer) -> Walk {
        let layout = Layout::of(leaf.bytes);
        let prefix = usize::from(get_u16(leaf.bytes, HEADER_PREFIX));
        key.make_room(prefix);
        key.bytes[..prefix].copy_from_slice(&leaf.bytes[HEADER_LEN..HEADER_LEN + prefix]);
        Walk { prefix, heads: layout.heads, offsets: layout.offsets }
    }

    /// Puts the key of slot `at` into the buffer, which holds the leaf's prefix. Returns the value,
    /// or `None` where the leaf refers to it.
    #[inline(always)]
    pub(crate) fn entry<'a>(
        self,
        bytes: &'a [u8],
        at: usize,
        key: &mut KeyBuffer,
    ) -> Option<&'a [u8]> {
        let cell = usize::from(get_u16(bytes, self.offsets + at * OFFSET_LEN));
        let head = get_u32(bytes, self.heads + at * HEAD_LEN).to_be_bytes();
        // Both lengths in one read.
        let [low, high, tag @ ..] = get_u32(bytes, cell).to_le_bytes();
        let (len, tag) = (usize::from(u16::from_le_bytes([low, high])), u16::from_le_bytes(tag));
        let rest = len.saturating_sub(HEAD_LEN);
        let behind = &bytes[cell + LEAF_CELL_HEADER..];
        match (behind.first_chunk::<STEP>(), key.bytes[self.prefix..].first_chunk_mut::<ROOM>()) {
            (Some(step), Some(out)) if rest <= STEP => {
                out[..HEAD_LEN].copy_from_slice(&head);
                out[HEAD_LEN..].copy_from_slice(step);
            }
            _ => key.copy_rest(self.prefix, head, &behind[..rest]),
        }
        key.len = self.prefix + len;
        (tag < VALUE_UNPLACED).then(|| &behind[rest..rest + usize::from(tag)])
    }
}
