//! Tree pages: built whole (layer L3).
//!
//! Owns: building a page from entries, splitting one in two, merging and rebalancing two.
//! Must not know: trees; the caller replaces the pages in their parent.
//! Keeps: sorted-keys, separators-bound-children (a new separator lies between the two halves,
//! and is as short as it can be), cells-disjoint.

use super::{Node, Payload, head_of};
use crate::format::{
    BRANCH_CELL_HEADER, CHILD_LEN, HEAD_LEN, HEADER_COUNT, HEADER_HEAP, HEADER_KIND, HEADER_LEN,
    HEADER_LEVEL, HEADER_PREFIX, HEADER_RUN, KIND_BRANCH, KIND_LEAF, LEAF_CELL_HEADER, OFFSET_LEN,
};
use crate::invariant::invariant;
use crate::page::{ChildRef, put_u16, put_u32};
use crate::seeded::seeded;

/// What a slot holds beside its key.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    Leaf(Payload<'a>),
    /// The child on the separator's right.
    Branch(ChildRef),
}

/// A slot: its whole key, and what it holds.
#[derive(Clone, Copy)]
pub(super) struct Slot<'a> {
    key: &'a [u8],
    content: Content<'a>,
}

impl Slot<'_> {
    /// Bytes of the cell and of its place in the arrays, with a prefix of `prefix_len` bytes.
    fn len(&self, prefix_len: usize) -> usize {
        let rest = (self.key.len() - prefix_len).saturating_sub(HEAD_LEN);
        match self.content {
            Content::Leaf(payload) => {
                HEAD_LEN + OFFSET_LEN + LEAF_CELL_HEADER + rest + payload.bytes.len()
            }
            Content::Branch(_) => HEAD_LEN + OFFSET_LEN + CHILD_LEN + BRANCH_CELL_HEADER + rest,
        }
    }
}

/// What a page is, beside its slots.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    level: u8,
    /// The first child of a branch.
    first: Option<ChildRef>,
}

impl Shape {
    fn fixed(self) -> usize {
        HEADER_LEN + if self.first.is_some() { CHILD_LEN } else { 0 }
    }
}

/// The slots of one or two pages, with their keys made whole.
pub(super) struct Entries<'a> {
    keys: Vec<u8>,
    list: Vec<(usize, Content<'a>)>,
    shape: Shape,
}

impl<'a> Entries<'a> {
    pub(super) fn of(node: Node<'a>) -> Entries<'a> {
        let first = if node.is_leaf() { None } else { Some(node.child(0)) };
        let mut entries = Entries {
            keys: Vec::with_capacity(node.count() * 32),
            list: Vec::with_capacity(node.count() + 1),
            shape: Shape { level: node.level(), first },
        };
        entries.append(node);
        entries
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    fn append(&mut self, node: Node<'a>) {
        for at in 0..node.count() {
            node.append_key(at, &mut self.keys);
            let content = if node.is_leaf() {
                Content::Leaf(node.payload(at))
            } else {
                Content::Branch(node.child(at + 1))
            };
            self.list.push((self.keys.len(), content));
        }
    }

    fn push(&mut self, key: &[u8], content: Content<'a>) {
        self.keys.extend_from_slice(key);
        self.list.push((self.keys.len(), content));
    }

    pub(super) fn slots(&self) -> Vec<Slot<'_>> {
        let mut from = 0;
        let slot = |&(to, content): &(usize, Content<'a>)| {
            let key = &self.keys[from..to];
            from = to;
            Slot { key, content }
        };
        self.list.iter().map(slot).collect()
    }
}

/// Bytes that two keys share at their beginning.
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The prefix that ascending slots share.
fn shared_prefix(slots: &[Slot<'_>]) -> usize {
    match (slots.first(), slots.last()) {
        (Some(first), Some(last)) if seeded!(PrefixCutOneTooLong) => {
            (common_prefix(first.key, last.key) + 1).min(first.key.len())
        }
        (Some(first), Some(last)) => common_prefix(first.key, last.key),
        _ => 0,
    }
}

fn small(value: usize) -> u16 {
    u16::try_from(value).expect("offsets within a page fit 16 bits")
}

/// How a page is written.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) shape: Shape,
    /// All keys share that many bytes; no key, no prefix.
    pub(super) prefix_len: usize,
}

impl Form {
    /// Bytes that a page of these slots takes.
    pub(super) fn len(self, slots: &[Slot<'_>]) -> usize {
        let prefix_len = if slots.is_empty() { 0 } else { self.prefix_len };
        let cells: usize = slots.iter().map(|slot| slot.len(prefix_len)).sum();
        self.shape.fixed() + prefix_len.next_multiple_of(4) + cells
    }
}

/// Writes a page of these slots, for which it has room. All its bytes are zero.
pub(super) fn write_node(out: &mut [u8], slots: &[Slot<'_>], form: Form) {
    let shape = form.shape;
    let prefix_len = if slots.is_empty() { 0 } else { form.prefix_len };
    out[HEADER_KIND] = if shape.first.is_some() { KIND_BRANCH } else { KIND_LEAF };
    out[HEADER_LEVEL] = shape.level;
    put_u16(out, HEADER_COUNT, small(slots.len()));
    put_u16(out, HEADER_PREFIX, small(prefix_len));
    if let Some(slot) = slots.first() {
        out[HEADER_LEN..HEADER_LEN + prefix_len].copy_from_slice(&slot.key[..prefix_len]);
    }
    let children = HEADER_LEN + prefix_len.next_multiple_of(4);
    let mut heads = children;
    if let Some(first) = shape.first {
        put_child(out, children, first);
        heads += (slots.len() + 1) * CHILD_LEN;
    }
    let offsets = heads + slots.len() * HEAD_LEN;
    let mut heap = out.len();
    for (at, slot) in slots.iter().enumerate() {
        let suffix = &slot.key[prefix_len..];
        heap = write_cell(out, heap, suffix, slot.content);
        if let Content::Branch(child) = slot.content {
            put_child(out, children + (at + 1) * CHILD_LEN, child);
        }
        put_u32(out, heads + at * HEAD_LEN, head_of(suffix));
        put_u16(out, offsets + at * OFFSET_LEN, small(heap));
    }
    put_u16(out, HEADER_HEAP, small(heap));
}

fn put_child(out: &mut [u8], at: usize, child: ChildRef) {
    put_u32(out, at, child.id.0);
    put_u32(out, at + 4, child.checksum);
}

/// Writes a cell that ends at `end`. Returns where it begins.
fn write_cell(out: &mut [u8], end: usize, suffix: &[u8], content: Content<'_>) -> usize {
    let rest = suffix.get(HEAD_LEN..).unwrap_or_default();
    match content {
        Content::Leaf(payload) => {
            let at_payload = end - payload.bytes.len();
            out[at_payload..end].copy_from_slice(payload.bytes);
            let at_rest = at_payload - rest.len();
            out[at_rest..at_payload].copy_from_slice(rest);
            put_u16(out, at_rest - 4, small(suffix.len()));
            put_u16(out, at_rest - 2, payload.tag);
            at_rest - LEAF_CELL_HEADER
        }
        Content::Branch(_) => {
            out[end - rest.len()..end].copy_from_slice(rest);
            let cell = end - rest.len() - BRANCH_CELL_HEADER;
            put_u16(out, cell, small(suffix.len()));
            cell
        }
    }
}

/// A page of these slots, if it holds them all.
fn built(page_size: usize, slots: &[Slot<'_>], shape: Shape) -> Option<Box<[u8]>> {
    let form = Form { shape, prefix_len: shared_prefix(slots) };
    if form.len(slots) > page_size {
        return None;
    }
    let mut page = vec![0; page_size].into_boxed_slice();
    write_node(&mut page, slots, form);
    Some(page)
}

/// A leaf of one entry.
pub(crate) fn single_leaf(page_size: usize, key: &[u8], payload: Payload<'_>) -> Box<[u8]> {
    let slot = Slot { key, content: Content::Leaf(payload) };
    built(page_size, &[slot], Shape { level: 0, first: None })
        .expect("the largest cell takes half a page")
}

/// A branch of two children.
pub(crate) fn single_branch(
    page_size: usize,
    level: u8,
    children: [ChildRef; 2],
    separator: &[u8],
) -> Box<[u8]> {
    let slot = Slot { key: separator, content: Content::Branch(children[1]) };
    built(page_size, &[slot], Shape { level, first: Some(children[0]) })
        .expect("the longest separator takes a quarter of a page")
}

/// A page split in two.
pub(crate) struct Split {
    pub(crate) left: Box<[u8]>,
    /// Bounds the two: at most the first key of the right, above the last key of the left.
    pub(crate) separator: Vec<u8>,
    pub(crate) right: Box<[u8]>,
    /// Slots (of a leaf) or children (of a branch) that went to the left.
    pub(crate) left_len: usize,
}

/// Where a leaf is inserted into while it is split.
#[derive(Clone, Copy)]
pub(crate) struct Insertion<'a> {
    pub(crate) at: usize,
    pub(crate) key: &'a [u8],
    pub(crate) payload: Payload<'a>,
    /// Nothing lies behind this leaf in its tree, or the keys come in ascending order.
    pub(crate) ascending: bool,
}

/// Splits a full leaf while inserting an entry.
pub(crate) fn split_leaf(page: &[u8], insertion: Insertion<'_>) -> Split {
    let node = Node::new(page);
    let entries = Entries::of(node);
    let mut slots = entries.slots();
    let content = Content::Leaf(insertion.payload);
    slots.insert(insertion.at, Slot { key: insertion.key, content });
    let shape = entries.shape();
    let mut wanted = Vec::new();
    // Keys come in ascending order: what lies before them is full for good. A run that is still
    // in the first half of the page goes on after a split in the middle.
    let is_run = insertion.ascending || node.continues_run(insertion.at);
    if is_run && insertion.at >= slots.len() / 2 {
        if insertion.at + 1 < slots.len() {
            wanted.push(insertion.at + 1);
        }
        wanted.push(insertion.at);
    }
    let mut split = split_slots(page.len(), &slots, shape, &wanted)
        .expect("a leaf of cells of at most half a page can be split");
    let (side, at) = if insertion.at < split.left_len {
        (&mut split.left, insertion.at)
    } else {
        (&mut split.right, insertion.at - split.left_len)
    };
    put_u16(side, HEADER_RUN, small(at + 1));
    split
}

/// Splits leaf slots at the first of `wanted` that fits, or near the middle.
fn split_slots(
    page_size: usize,
    slots: &[Slot<'_>],
    shape: Shape,
    wanted: &[usize],
) -> Option<Split> {
    let try_at = |at: usize| {
        if at == 0 || at >= slots.len() {
            return None;
        }
        let (mut left, right) = slots.split_at(at);
        if seeded!(SplitDropsMiddleEntry) && left.len() > 1 {
            left = &left[..at - 1];
        }
        let at = left.len();
        let separator = shortest_separator(left[at - 1].key, right[0].key);
        let left = built(page_size, left, shape)?;
        let right = built(page_size, right, shape)?;
        Some(Split { left, separator, right, left_len: at })
    };
    wanted
        .iter()
        .find_map(|&at| try_at(at))
        .or_else(|| from_the_middle(slots, slots.len()).into_iter().find_map(try_at))
}

/// The slots in the order in which a split tries them: near the middle of the bytes first.
fn from_the_middle(slots: &[Slot<'_>], count: usize) -> Vec<usize> {
    let prefix_len = shared_prefix(slots);
    let total: usize = slots.iter().map(|slot| slot.len(prefix_len)).sum();
    let mut left: usize = 0;
    let mut order: Vec<(usize, usize)> = Vec::with_capacity(count);
    for (at, slot) in slots.iter().enumerate() {
        order.push((left.abs_diff(total - left), at));
        left += slot.len(prefix_len);
    }
    order.sort_unstable();
    order.into_iter().map(|(_, at)| at).collect()
}

/// The shortest key above `left` and at most `right`.
fn shortest_separator(left: &[u8], right: &[u8]) -> Vec<u8> {
    invariant!(SortedKeys, left < right);
    if seeded!(SeparatorIsLeftMaximum) {
        return left.to_vec();
    }
    right[..=common_prefix(left, right)].to_vec()
}

/// Splits a full branch while inserting a separator with the child on its right.
pub(crate) fn split_branch(page: &[u8], at: usize, separator: &[u8], right: ChildRef) -> Split {
    let node = Node::new(page);
    let entries = Entries::of(node);
    let mut slots = entries.slots();
    slots.insert(at, Slot { key: separator, content: Content::Branch(right) });
    // As in a leaf.
    let wanted = match slots.len() - at {
        _ if !node.continues_run(at) || at < slots.len() / 2 => vec![],
        1 => vec![at - 1],
        _ => vec![at + 1],
    };
    let mut split = split_branch_slots(page.len(), &slots, entries.shape(), &wanted)
        .expect("a branch of separators of at most a quarter of a page can be split");
    if at >= split.left_len {
        put_u16(&mut split.right, HEADER_RUN, small(at - split.left_len + 1));
    } else if at + 1 < split.left_len {
        put_u16(&mut split.left, HEADER_RUN, small(at + 1));
    }
    split
}

fn split_branch_slots(
    page_size: usize,
    slots: &[Slot<'_>],
    shape: Shape,
    wanted: &[usize],
) -> Option<Split> {
    let try_at = |at: usize| {
        if at == 0 || at + 1 >= slots.len() {
            return None;
        }
        let Content::Branch(first) = slots[at].content else { return None };
        let left = built(page_size, &slots[..at], shape)?;
        let right =
            built(page_size, &slots[at + 1..], Shape { level: shape.level, first: Some(first) })?;
        Some(Split { left, separator: slots[at].key.to_vec(), right, left_len: at + 1 })
    };
    wanted
        .iter()
        .find_map(|&at| try_at(at))
        .or_else(|| from_the_middle(slots, slots.len()).into_iter().find_map(try_at))
}

fn joined<'a>(left: Node<'a>, separator: &[u8], right: Node<'a>) -> Entries<'a> {
    let mut entries = Entries::of(left);
    if !left.is_leaf() && !seeded!(MergeDropsSeparator) {
        entries.push(separator, Content::Branch(right.child(0)));
    }
    entries.append(right);
    entries
}

/// Merges two neighbours, with the separator between them. `None` when one page cannot hold both.
pub(crate) fn merge(left: &[u8], separator: &[u8], right: &[u8]) -> Option<Box<[u8]>> {
    let entries = joined(Node::new(left), separator, Node::new(right));
    built(left.len(), &entries.slots(), entries.shape())
}

/// Shares the slots of two neighbours evenly. `None` when that does not fit.
pub(crate) fn rebalance(left: &[u8], separator: &[u8], right: &[u8]) -> Option<Split> {
    let left_node = Node::new(left);
    let entries = joined(left_node, separator, Node::new(right));
    let (slots, shape) = (entries.slots(), entries.shape());
    if left_node.is_leaf() {
        split_slots(left.len(), &slots, shape, &[])
    } else {
        split_branch_slots(left.len(), &slots, shape, &[])
    }
}
