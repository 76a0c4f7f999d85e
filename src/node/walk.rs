//! Tree pages: walking over the entries of a leaf (part of node, layer L3).
//!
//! Owns: [`Walk`], a leaf's layout, decoded once; [`KeyBuffer`], in which keys are made whole.
//! Must not know: trees.

use super::{Layout, Node, payload_len};
use crate::format::{
    HEAD_LEN, HEADER_LEN, HEADER_PREFIX, LEAF_CELL_HEADER, OFFSET_LEN, VALUE_UNPLACED, key_len_max,
};
use crate::page::{get_u16, get_u32};

/// A key's rest is copied in one step of this many bytes, where the page has them: what is too
/// much is overwritten later. A copy of a length that is not known costs three times as much.
const STEP: usize = 32;

/// A key that is made whole, in a buffer that is used again for each.
#[derive(Debug, Default)]
pub(crate) struct KeyBuffer {
    /// The key, and bytes of no meaning behind it.
    bytes: Vec<u8>,
    len: usize,
}

impl KeyBuffer {
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Where the parts of a leaf's entries begin.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walk {
    prefix: usize,
    heads: usize,
    offsets: usize,
}

/// Where a leaf holds a value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ValueAt {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// The value is not in the leaf; these bytes refer to it.
    pub(crate) is_reference: bool,
}

impl Walk {
    /// The layout of a leaf, whose prefix is put into the buffer. Call it again after each change
    /// of the leaf or of the buffer.
    pub(crate) fn begin(leaf: Node<'_>, key: &mut KeyBuffer) -> Walk {
        let layout = Layout::of(leaf.bytes);
        let prefix = usize::from(get_u16(leaf.bytes, HEADER_PREFIX));
        let room = key_len_max(leaf.bytes.len()) + HEAD_LEN + STEP;
        if key.bytes.len() < room {
            key.bytes.resize(room, 0);
        }
        key.bytes[..prefix].copy_from_slice(&leaf.bytes[HEADER_LEN..HEADER_LEN + prefix]);
        Walk { prefix, heads: layout.heads, offsets: layout.offsets }
    }

    /// Puts the key of slot `at` into the buffer, which holds the leaf's prefix. Says where the
    /// value is.
    #[inline]
    pub(crate) fn entry(self, bytes: &[u8], at: usize, key: &mut KeyBuffer) -> ValueAt {
        let cell = usize::from(get_u16(bytes, self.offsets + at * OFFSET_LEN));
        let (len, tag) = (usize::from(get_u16(bytes, cell)), get_u16(bytes, cell + 2));
        let head = get_u32(bytes, self.heads + at * HEAD_LEN).to_be_bytes();
        let rest = len.saturating_sub(HEAD_LEN);
        let from = cell + LEAF_CELL_HEADER;
        let out = &mut key.bytes[self.prefix..];
        out[..HEAD_LEN].copy_from_slice(&head);
        match bytes[from..].first_chunk::<STEP>() {
            Some(step) if rest <= STEP => {
                out[HEAD_LEN..HEAD_LEN + STEP].copy_from_slice(step);
            }
            _ => out[HEAD_LEN..HEAD_LEN + rest].copy_from_slice(&bytes[from..from + rest]),
        }
        key.len = self.prefix + len;
        let from = from + rest;
        let is_reference = tag >= VALUE_UNPLACED;
        ValueAt { from, to: from + payload_len(tag), is_reference }
    }
}
