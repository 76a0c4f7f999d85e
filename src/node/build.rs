//! Tree pages: built whole (layer L3).
//!
//! Owns: building a page from entries, splitting one in two, merging and rebalancing two.
//! Must not know: trees; the caller replaces the pages in their parent.
//! Keeps: sorted-keys, separators-bound-children (a new separator lies between the two halves,
//! and is as short as it can be), cells-disjoint.

use super::parts::{Content, Key, Parts, Shape, Slot};
use super::{Node, NodeMut, Payload};
use crate::buffer::Buffer;
use crate::format::{
    BRANCH_CELL_HEADER, CHILD_LEN, HEAD_LEN, HEADER_COUNT, HEADER_HEAP, HEADER_KIND, HEADER_LEN,
    HEADER_LEVEL, HEADER_PREFIX, HEADER_RUN, KIND_BRANCH, KIND_LEAF, LEAF_CELL_HEADER, OFFSET_LEN,
    PAGE_SIZE_DEFAULT,
};
use crate::invariant::invariant;
use crate::page::{ChildRef, put_u16, put_u32};
use crate::seeded::seeded;
use std::ops::Range;

/// Bytes that two keys share at their beginning.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The prefix that ascending slots share.
pub(super) fn shared_prefix(parts: &Parts<'_>, range: &Range<usize>) -> usize {
    if range.is_empty() {
        return 0;
    }
    let first = parts.get(range.start).key;
    let shared = first.common_prefix(&parts.get(range.end - 1).key);
    if seeded!(PrefixCutOneTooLong) { (shared + 1).min(first.len()) } else { shared }
}

fn small(value: usize) -> u16 {
    u16::try_from(value).expect("offsets within a page fit 16 bits")
}

/// A page that is to be written: slots of a sequence.
pub(super) struct Form<'p, 'a> {
    pub(super) parts: &'p Parts<'a>,
    pub(super) range: Range<usize>,
    pub(super) shape: Shape,
    /// All keys share that many bytes; no key, no prefix.
    pub(super) prefix_len: usize,
}

impl<'p, 'a> Form<'p, 'a> {
    /// The page of these slots, if they fit: with the longest prefix, or with the one that takes
    /// the fewest bytes when the longest takes too many.
    pub(super) fn fitting(
        parts: &'p Parts<'a>,
        range: Range<usize>,
        shape: Shape,
        page_size: usize,
    ) -> Option<Form<'p, 'a>> {
        let prefix_len = shared_prefix(parts, &range);
        let form = Form { parts, range, shape, prefix_len };
        if form.len() <= page_size {
            return Some(form);
        }
        Some(form.smallest()).filter(|form| form.len() <= page_size)
    }

    /// The same with the prefix that takes the fewest bytes.
    ///
    /// Four bytes of prefix save up to four in each key that is longer than prefix and head, and
    /// nothing in the others: a prefix longer than that costs more than it saves.
    #[cold]
    fn smallest(self) -> Form<'p, 'a> {
        let longest = self.range.clone().map(|at| self.parts.get(at).key.len()).max().unwrap_or(0);
        let useful = longest.saturating_sub(HEAD_LEN);
        let longer = Form { prefix_len: useful.next_multiple_of(4).min(self.prefix_len), ..self };
        let shorter_len = useful.min(longer.prefix_len) & !3;
        let shorter = Form { prefix_len: shorter_len, range: longer.range.clone(), ..longer };
        if shorter.len() < longer.len() { shorter } else { longer }
    }

    /// Bytes that the page takes.
    pub(super) fn len(&self) -> usize {
        let cells: usize =
            self.range.clone().map(|at| self.parts.slot_len(at, self.prefix_len)).sum();
        let first = if self.shape.first.is_some() { CHILD_LEN } else { 0 };
        HEADER_LEN + first + self.prefix_len.next_multiple_of(4) + cells
    }

    /// Writes the page where there is room for it and all bytes are zero.
    pub(super) fn write(&self, out: &mut [u8]) {
        let (shape, prefix_len, count) = (self.shape, self.prefix_len, self.range.len());
        out[HEADER_KIND] = if shape.first.is_some() { KIND_BRANCH } else { KIND_LEAF };
        out[HEADER_LEVEL] = shape.level;
        put_u16(out, HEADER_COUNT, small(count));
        put_u16(out, HEADER_PREFIX, small(prefix_len));
        if count > 0 {
            let first = self.parts.get(self.range.start).key;
            first.copy_to(0, &mut out[HEADER_LEN..HEADER_LEN + prefix_len]);
        }
        let children = HEADER_LEN + prefix_len.next_multiple_of(4);
        let mut heads = children;
        if let Some(first) = shape.first {
            put_child(out, children, first);
            heads += (count + 1) * CHILD_LEN;
        }
        let offsets = heads + count * HEAD_LEN;
        let mut heap = out.len();
        for (at, from) in self.range.clone().enumerate() {
            let (cell, head) = write_slot(out, heap, self.parts, from, prefix_len);
            heap = cell;
            if let Some(child) = head.child {
                put_child(out, children + (at + 1) * CHILD_LEN, child);
            }
            out[heads + at * HEAD_LEN..][..HEAD_LEN].copy_from_slice(&head.bytes);
            put_u16(out, offsets + at * OFFSET_LEN, small(heap));
        }
        put_u16(out, HEADER_HEAP, small(heap));
    }

    /// A page of its own, which has room for all the slots.
    pub(super) fn build(&self, page_size: usize) -> Buffer {
        let mut page = Buffer::zeroed(page_size);
        self.write(&mut page);
        page
    }
}

fn put_child(out: &mut [u8], at: usize, child: ChildRef) {
    put_u32(out, at, child.id.0);
    put_u32(out, at + 4, child.checksum);
}

/// What a slot has in the arrays of a page.
pub(super) struct Headed {
    pub(super) bytes: [u8; HEAD_LEN],
    child: Option<ChildRef>,
}

/// Writes the cell of slot `from` of a sequence, which ends at `end`, into a page with a prefix of
/// so many bytes. Returns where it begins.
#[inline]
pub(super) fn write_slot(
    out: &mut [u8],
    end: usize,
    parts: &Parts<'_>,
    from: usize,
    prefix_len: usize,
) -> (usize, Headed) {
    if let Some(cell) = parts.cell(from, prefix_len) {
        let begin = end - cell.bytes.len();
        out[begin..end].copy_from_slice(cell.bytes);
        return (begin, Headed { bytes: cell.head, child: cell.child });
    }
    let slot = parts.get(from);
    let mut head = slot.key.head;
    if slot.key.prefix.len() != prefix_len {
        let len = (slot.key.len() - prefix_len).min(HEAD_LEN);
        head = [0; HEAD_LEN];
        slot.key.copy_to(prefix_len, &mut head[..len]);
    }
    let child = if let Content::Branch(child) = slot.content { Some(child) } else { None };
    let bytes = u32::from_be_bytes(head).to_le_bytes();
    (write_cell(out, end, &slot, prefix_len), Headed { bytes, child })
}

/// Writes a cell that ends at `end`. Returns where it begins.
#[inline]
fn write_cell(out: &mut [u8], end: usize, slot: &Slot<'_>, prefix_len: usize) -> usize {
    let key = &slot.key;
    let suffix_len = key.len() - prefix_len;
    let rest_len = suffix_len.saturating_sub(HEAD_LEN);
    let (cell, at_rest) = match slot.content {
        Content::Leaf(payload) => {
            let at_payload = end - payload.bytes.len();
            out[at_payload..end].copy_from_slice(payload.bytes);
            let cell = at_payload - rest_len - LEAF_CELL_HEADER;
            put_u16(out, cell + 2, payload.tag);
            (cell, cell + LEAF_CELL_HEADER)
        }
        Content::Branch(_) => {
            let at_rest = end - rest_len;
            (at_rest - BRANCH_CELL_HEADER, at_rest)
        }
    };
    put_u16(out, cell, small(suffix_len));
    let rest = &mut out[at_rest..at_rest + rest_len];
    if key.prefix.len() == prefix_len {
        rest.copy_from_slice(key.rest);
    } else {
        key.copy_to(prefix_len + HEAD_LEN, rest);
    }
    cell
}

/// A leaf of one entry.
pub(crate) fn single_leaf(page_size: usize, key: &[u8], payload: Payload<'_>) -> Buffer {
    single(page_size, key, Content::Leaf(payload), Shape { level: 0, first: None })
}

/// A branch of two children.
pub(crate) fn single_branch(
    page_size: usize,
    level: u8,
    children: [ChildRef; 2],
    separator: &[u8],
) -> Buffer {
    let shape = Shape { level, first: Some(children[0]) };
    single(page_size, separator, Content::Branch(children[1]), shape)
}

/// A page without slots.
const EMPTY: [u8; HEADER_LEN] = [0; HEADER_LEN];

fn single(page_size: usize, key: &[u8], content: Content<'_>, shape: Shape) -> Buffer {
    let slot = Slot { key: Key::whole(key), content };
    let parts = Parts::with(Node::new(&EMPTY), 0, slot);
    Form::fitting(&parts, 0..1, shape, page_size)
        .expect("the largest cell takes half a page, the longest separator a quarter")
        .build(page_size)
}

/// What a page that was split in two gave away.
pub(crate) struct Split {
    /// Bounds the two: at most the first key of the right, above the last key of the left.
    pub(crate) separator: Vec<u8>,
    pub(crate) right: Buffer,
    /// Slots (of a leaf) or children (of a branch) that stayed on the left.
    pub(crate) left_len: usize,
}

/// Two new pages.
pub(crate) struct Halves {
    pub(crate) left: Buffer,
    pub(crate) split: Split,
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

/// Splits a full leaf while inserting an entry; the left half stays in `page`.
pub(crate) fn split_leaf(page: &mut [u8], insertion: Insertion<'_>) -> Split {
    let Insertion { at, key, payload, ascending } = insertion;
    let count = Node::new(page).count();
    if at == count && count > 0 && (ascending || Node::new(page).continues_run(at)) {
        return split_off_last(page, key, payload);
    }
    let old = PageCopy::of(page);
    let node = Node::new(old.bytes());
    let slot = Slot { key: Key::whole(key), content: Content::Leaf(payload) };
    let parts = Parts::with(node, at, slot);
    let mut wanted = [None; 2];
    // Keys come in ascending order: what lies before them is full for good. A run that is still
    // in the first half of the page goes on after a split in the middle.
    let is_run = ascending || node.continues_run(at);
    if is_run && at >= parts.len / 2 {
        wanted = [Some(at + 1).filter(|&behind| behind < parts.len), Some(at)];
    }
    let halving = Halving { parts: &parts, shape: Shape::of(node), page_size: page.len() };
    let cut = halving.cut(&wanted).expect("a leaf of cells of at most half a page can be split");
    let mut split = halving.split(&cut, page);
    let (side, at) =
        if at < split.left_len { (page, at) } else { (&mut *split.right, at - split.left_len) };
    put_u16(side, HEADER_RUN, small(at + 1));
    split
}

/// Leaves a full page as it is, and puts the key behind it into a page of its own.
///
/// That one begins with the prefix that the keys here share with it, not with the whole key: it
/// would shrink with each of the next keys, and the page be written anew each time.
fn split_off_last(page: &mut [u8], key: &[u8], payload: Payload<'_>) -> Split {
    let node = Node::new(page);
    let count = node.count();
    let full = Parts::of(node);
    let separator = shortest_separator(&full.get(count - 1).key, &Key::whole(key));
    let prefix_len = full.get(0).key.common_prefix(&Key::whole(key));
    let slot = Slot { key: Key::whole(key), content: Content::Leaf(payload) };
    let parts = Parts::with(Node::new(&EMPTY), 0, slot);
    let form =
        Form { parts: &parts, range: 0..1, shape: Shape { level: 0, first: None }, prefix_len };
    let mut right = form.build(page.len());
    put_u16(page, HEADER_RUN, 0);
    put_u16(&mut right, HEADER_RUN, 1);
    let is_lost = seeded!(SplitDropsMiddleEntry) && count > 1;
    if is_lost {
        NodeMut::new(page).remove_leaf(count - 1);
    }
    Split { separator, right, left_len: count - usize::from(is_lost) }
}

/// Splits a full branch while inserting a separator with the child on its right; the left half
/// stays in `page`.
pub(crate) fn split_branch(page: &mut [u8], at: usize, separator: &[u8], right: ChildRef) -> Split {
    let old = PageCopy::of(page);
    let node = Node::new(old.bytes());
    let slot = Slot { key: Key::whole(separator), content: Content::Branch(right) };
    let parts = Parts::with(node, at, slot);
    // As in a leaf.
    let wanted = match parts.len - at {
        _ if !node.continues_run(at) || at < parts.len / 2 => [None],
        1 => [Some(at - 1)],
        _ => [Some(at + 1)],
    };
    let halving = Halving { parts: &parts, shape: Shape::of(node), page_size: page.len() };
    let cut = halving
        .cut(&wanted)
        .expect("a branch of separators of at most a quarter of a page can be split");
    let mut split = halving.split(&cut, page);
    if at >= split.left_len {
        put_u16(&mut split.right, HEADER_RUN, small(at - split.left_len + 1));
    } else if at + 1 < split.left_len {
        put_u16(page, HEADER_RUN, small(at + 1));
    }
    split
}

/// The bytes of a page while the page itself is written anew; of the usual size without an
/// allocation.
#[expect(clippy::large_enum_variant, reason = "the usual copy is to take no allocation")]
pub(super) enum PageCopy {
    Usual([u8; PAGE_SIZE_DEFAULT as usize]),
    Other(Box<[u8]>),
}

impl PageCopy {
    #[inline]
    pub(super) fn of(page: &[u8]) -> PageCopy {
        page.try_into().map_or_else(|_| PageCopy::Other(Box::from(page)), PageCopy::Usual)
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            PageCopy::Usual(bytes) => bytes,
            PageCopy::Other(bytes) => bytes,
        }
    }
}

/// A sequence of slots that is to become two pages.
pub(super) struct Halving<'p, 'a> {
    pub(super) parts: &'p Parts<'a>,
    pub(super) shape: Shape,
    pub(super) page_size: usize,
}

impl<'p, 'a> Halving<'p, 'a> {
    /// The two pages of a cut before slot `at`, if the slots fit; of a branch, the slot itself
    /// moves up.
    fn forms(&self, at: usize) -> Option<[Form<'p, 'a>; 2]> {
        let (parts, len) = (self.parts, self.parts.len);
        let right = match self.shape.first {
            _ if at == 0 || at >= len => return None,
            None => self.form(at..len, self.shape)?,
            Some(_) if at + 1 >= len => return None,
            Some(_) => {
                let Content::Branch(first) = parts.get(at).content else { return None };
                self.form(at + 1..len, Shape { first: Some(first), ..self.shape })?
            }
        };
        let is_lost = seeded!(SplitDropsMiddleEntry) && self.shape.first.is_none() && at > 1;
        let left = self.form(0..at - usize::from(is_lost), self.shape)?;
        Some([left, right])
    }

    pub(super) fn form(&self, range: Range<usize>, shape: Shape) -> Option<Form<'p, 'a>> {
        Form::fitting(self.parts, range, shape, self.page_size)
    }

    pub(super) fn cut_at(&self, at: usize) -> Option<Cut<'p, 'a>> {
        Some(Cut { at, forms: self.forms(at)? })
    }

    /// The first of `wanted` whose halves fit, or the place near the middle of the bytes.
    pub(super) fn cut(&self, wanted: &[Option<usize>]) -> Option<Cut<'p, 'a>> {
        let wanted = wanted.iter().flatten().find_map(|&at| self.cut_at(at));
        wanted.or_else(|| {
            let (_, middle) = self.distances().into_iter().min()?;
            self.cut_at(middle).or_else(|| self.cut_beside(middle))
        })
    }

    /// The nearest cut that fits to one that does not. A half of more slots takes no fewer bytes,
    /// so that it is found by halving: where the least prefix of a page is long, and one key does
    /// not have it, looking at each cut is looking at the whole page as often as it has slots.
    #[cold]
    fn cut_beside(&self, middle: usize) -> Option<Cut<'p, 'a>> {
        let moves_up = usize::from(self.shape.first.is_some());
        let last = self.parts.len.checked_sub(1 + moves_up).filter(|&last| last > 0)?;
        let middle = middle.clamp(1, last);
        let left_fits = |at: usize| self.form(0..at, self.shape).is_some();
        let right_fits = |at| self.form(at + moves_up..self.parts.len, self.shape).is_some();
        let at = if left_fits(middle) {
            first_of(middle..last, right_fits)
        } else {
            first_of(1..middle, |at| !left_fits(at)).saturating_sub(1)
        };
        self.cut_at(at)
    }

    /// How far from the middle of the bytes each slot begins, and the slot.
    pub(super) fn distances(&self) -> Vec<(usize, usize)> {
        let prefix_len = shared_prefix(self.parts, &(0..self.parts.len));
        let mut total: usize = 0;
        let begin = |at| {
            let begin = total;
            total += self.parts.slot_len(at, prefix_len);
            (begin, at)
        };
        let mut slots: Vec<(usize, usize)> = (0..self.parts.len).map(begin).collect();
        for (begin, _) in &mut slots {
            *begin = begin.abs_diff(total - *begin);
        }
        slots
    }

    /// The separator of a cut, and how many slots or children it leaves on the left.
    pub(super) fn separator(&self, cut: &Cut<'_, '_>) -> (Vec<u8>, usize) {
        let (after, key) = (cut.forms[0].range.end, self.parts.get(cut.at).key);
        if self.shape.first.is_some() {
            (key.first_bytes(key.len()), cut.at + 1)
        } else {
            (shortest_separator(&self.parts.get(after - 1).key, &key), after)
        }
    }

    /// Writes the left page over `left`, the right one as a page of its own.
    fn split(&self, cut: &Cut<'_, '_>, left: &mut [u8]) -> Split {
        let (separator, left_len) = self.separator(cut);
        left.fill(0);
        cut.forms[0].write(left);
        let right = cut.forms[1].build(self.page_size);
        Split { separator, right, left_len }
    }

    /// Both pages as pages of their own.
    pub(super) fn halves(&self, cut: &Cut<'_, '_>) -> Halves {
        let mut left = Buffer::zeroed(self.page_size);
        let split = self.split(cut, &mut left);
        Halves { left, split }
    }
}

/// The first number of a range that is as wanted, if all behind it are; or its end.
fn first_of(range: Range<usize>, is_wanted: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let at = low.midpoint(high);
        if is_wanted(at) { high = at } else { low = at + 1 }
    }
    low
}

/// Where a sequence of slots becomes two pages, and the pages.
pub(super) struct Cut<'p, 'a> {
    pub(super) at: usize,
    pub(super) forms: [Form<'p, 'a>; 2],
}

/// The shortest key above `left` and at most `right`.
pub(super) fn shortest_separator(left: &Key<'_>, right: &Key<'_>) -> Vec<u8> {
    let shared = left.common_prefix(right);
    let separator = right.first_bytes((shared + 1).min(right.len()));
    let bound = left.first_bytes((shared + 1).min(left.len()));
    invariant!(SortedKeys, bound < separator);
    if seeded!(SeparatorIsLeftMaximum) {
        return left.first_bytes(left.len());
    }
    separator
}

pub(super) fn joined<'a>(left: Node<'a>, separator: &'a [u8], right: Node<'a>) -> Parts<'a> {
    let moves_down = !left.is_leaf() && !seeded!(MergeDropsSeparator);
    let middle = moves_down
        .then(|| Slot { key: Key::whole(separator), content: Content::Branch(right.child(0)) });
    Parts::joined(left, middle, right)
}

/// Merges two neighbours, with the separator between them. `None` when one page cannot hold both.
pub(crate) fn merge(left: &[u8], separator: &[u8], right: &[u8]) -> Option<Buffer> {
    let node = Node::new(left);
    let parts = joined(node, separator, Node::new(right));
    let form = Form::fitting(&parts, 0..parts.len, Shape::of(node), left.len())?;
    Some(form.build(left.len()))
}

/// Shares the slots of two neighbours evenly. `None` when that does not fit.
pub(crate) fn rebalance(left: &[u8], separator: &[u8], right: &[u8]) -> Option<Halves> {
    let node = Node::new(left);
    let parts = joined(node, separator, Node::new(right));
    let halving = Halving { parts: &parts, shape: Shape::of(node), page_size: left.len() };
    Some(halving.halves(&halving.cut(&[])?))
}
