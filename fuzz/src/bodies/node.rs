//! Leaves and branches: bytes from outside, and pages built by operations beside a `BTreeMap`.

use super::input::Input;
use btree_store::Error;
use btree_store::ErrorDetail;
use btree_store::format::{
    HEADER_COUNT, HEADER_DEAD, HEADER_HEAP, HEADER_KIND, HEADER_LEVEL, HEADER_PREFIX, key_len_max,
    leaf_cell_max,
};
use btree_store::fuzzing::{Ascending, Child, Halves, TreePage, Value};
use std::collections::BTreeMap;

const SIZE: usize = 512;
const ID: u32 = 7;
const PAGES: u32 = 1 << 20;
/// Operations of one input at most.
const OPS_MAX: usize = 200;

/// Bytes that were read from page 7.
pub fn arbitrary(bytes: &[u8]) {
    judge(bytes, &mut Input::new(bytes));
}

/// A page that was whole, with a few bytes changed.
pub fn damaged(input: &mut Input<'_>) {
    let mut twin = Twin::new(input);
    for _ in 0..input.below(24) {
        twin.change(input);
    }
    let mut page = twin.page.bytes().to_vec();
    for _ in 0..=input.below(4) {
        let field = input.pick(&[
            HEADER_COUNT,
            HEADER_HEAP,
            HEADER_DEAD,
            HEADER_PREFIX,
            HEADER_KIND,
            HEADER_LEVEL,
        ]);
        let at = if input.below(2) == 0 { field } else { input.below(SIZE) };
        page[at] = match input.below(3) {
            0 => page[at] ^ (1 << input.below(8)),
            1 => page[at].wrapping_add(input.pick(&[1, 2, 4, 8, 255, 252])),
            _ => input.byte(),
        };
    }
    judge(&page, input);
}

fn judge(bytes: &[u8], input: &mut Input<'_>) {
    match TreePage::decode(bytes, ID, PAGES) {
        Ok(page) => {
            read_all(&page);
            change_all(&page, input);
        }
        Err(error) => {
            assert_eq!(error, Error::Corruption);
            let detail = error.detail();
            assert!(matches!(&detail, Some(ErrorDetail::Corruption(c)) if c.page == Some(ID)));
        }
    }
}

/// Asks everything of a page that was accepted.
fn read_all(page: &TreePage) {
    assert!(page.used() <= SIZE && page.level() < 32);
    let mut before = None;
    for at in 0..page.count() {
        let key = page.key(at);
        assert!(
            key.starts_with(page.prefix()) && !key.is_empty() && key.len() <= key_len_max(SIZE)
        );
        assert!(before.is_none_or(|before| before < key), "keys ascend");
        assert_eq!(page.search(&key), Ok(at));
        look(page, &key);
        let mut near = key.clone();
        near.push(0);
        assert!(matches!(page.search(&near), Ok(found) | Err(found) if found == at + 1));
        look(page, &near);
        near.truncate(key.len() - 1);
        assert!(matches!(page.search(&near), Ok(found) | Err(found) if found <= at));
        look(page, &near);
        assert!(!page.continues_run(0));
        if page.is_leaf() {
            match page.value(at).expect("values of files are placed") {
                Value::Inline(bytes) => assert!(bytes.len() < SIZE),
                Value::Run { len, first, .. } => {
                    let pages = u64::from(len).div_ceil(SIZE as u64);
                    assert!(
                        pages > 0 && first >= 2 && u64::from(first) + pages <= u64::from(PAGES)
                    );
                }
            }
        } else {
            assert_eq!(page.child_for(&key), at + 1);
        }
        before = Some(key);
    }
    if !page.is_leaf() {
        assert!((0..=page.count()).all(|at| (2..PAGES).contains(&page.child(at).0)));
        assert!((0..=page.count()).all(|at| page.child(at).0 != ID));
    }
}

/// A lookup finds what a search does.
fn look(page: &TreePage, key: &[u8]) {
    if page.is_leaf() {
        assert_eq!(page.find(key), page.search(key).ok().and_then(|at| page.value(at)));
    } else {
        assert_eq!(page.step_down(key), Some(page.child(page.child_for(key))));
    }
}

/// Makes every change of a page that was accepted; its twin is what it says of itself.
fn change_all(page: &TreePage, input: &mut Input<'_>) {
    let mut twin = Twin::of(page.clone());
    twin.check();
    for _ in 0..input.below(16) {
        twin.change(input);
    }
    while twin.slots.len() > usize::from(!twin.is_leaf()) {
        let at = input.below(twin.slots.len());
        twin.remove(at);
        twin.check();
    }
}

/// Operations on a page that is built from nothing.
pub fn twin(input: &mut Input<'_>) {
    let mut twin = Twin::new(input);
    for _ in 0..OPS_MAX {
        if input.is_empty() {
            return;
        }
        twin.change(input);
    }
}

/// What a slot holds beside its key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Value(Value),
    /// The child on the separator's right.
    Right(Child),
}

type Slots = BTreeMap<Vec<u8>, Content>;

/// A page, and what it must hold.
struct Twin {
    page: TreePage,
    /// The first child of a branch.
    first: Option<Child>,
    slots: Slots,
}

/// Keys that are short, long, prefixes of each other, or share much.
fn key(input: &mut Input<'_>) -> Vec<u8> {
    let len = input.pick(&[0, 0, 4, 20, 3, 90, 119]);
    let mut key = vec![input.pick(b"pp\0\xFF"); len];
    let own = input.below(9);
    key.extend_from_slice(input.bytes(own));
    if key.is_empty() {
        key.push(input.byte());
    }
    key
}

fn child(input: &mut Input<'_>) -> Child {
    let id = u32::from(input.byte()) + 8;
    (id, id * 3)
}

/// A value that fits beside the key, or a reference.
fn value(input: &mut Input<'_>, key_len: usize) -> Value {
    if input.once_in(5) {
        let (len, first) = (u32::from(input.byte()) * 100, u32::from(input.byte()) + 2);
        // An empty value has no run.
        let len = len.max(1);
        return Value::Run { len, first, checksum: len ^ first };
    }
    let most = leaf_cell_max(SIZE) - 10 - key_len.saturating_sub(4);
    let len = match input.byte() {
        254 => most,
        255 => most - 1,
        len => usize::from(len).min(most) / 2,
    };
    Value::Inline(vec![b'v'; len])
}

impl Twin {
    fn new(input: &mut Input<'_>) -> Twin {
        let is_leaf = input.below(2) == 0;
        let key = key(input);
        let page = if is_leaf {
            TreePage::leaf(SIZE, &key, &value(input, key.len()))
        } else {
            let children = [child(input), child(input)];
            TreePage::branch(SIZE, 1 + input.byte() % 31, children, &key)
        };
        let twin = Twin::of(page);
        assert!(twin.slots.contains_key(&key) && twin.slots.len() == 1);
        twin
    }

    /// Believes what a page says.
    fn of(page: TreePage) -> Twin {
        let content = |at| {
            if page.is_leaf() {
                Content::Value(page.value(at).expect("values of files are placed"))
            } else {
                Content::Right(page.child(at + 1))
            }
        };
        let slots = (0..page.count()).map(|at| (page.key(at), content(at))).collect();
        let first = (!page.is_leaf()).then(|| page.child(0));
        Twin { page, first, slots }
    }

    fn is_leaf(&self) -> bool {
        self.first.is_none()
    }

    /// The page says what the twin says, and its bytes would be accepted.
    fn check(&self) {
        assert_eq!(self.page.count(), self.slots.len());
        let found = Twin::of(self.page.clone());
        assert_eq!((found.first, &found.slots), (self.first, &self.slots));
        assert!(self.page.used() <= SIZE);
        if !self.slots.is_empty() {
            let decoded = TreePage::decode(self.page.bytes(), ID, PAGES);
            assert_eq!(decoded.as_ref(), Ok(&self.page));
            read_all(&self.page);
        }
    }

    fn change(&mut self, input: &mut Input<'_>) {
        match input.below(8) {
            0 if self.slots.len() > 1 => {
                let at = input.below(self.slots.len());
                self.remove(at);
            }
            1 => self.overwrite(input),
            2 => self.share(input),
            _ => self.insert(input),
        }
        self.check();
    }

    fn insert(&mut self, input: &mut Input<'_>) {
        let key = key(input);
        let content = if self.is_leaf() {
            Content::Value(value(input, key.len()))
        } else {
            Content::Right(child(input))
        };
        let rank = self.slots.range(..key.clone()).count();
        let Err(at) = self.page.search(&key) else {
            assert!(self.slots.contains_key(&key));
            return;
        };
        assert_eq!(at, rank);
        let before = self.page.clone();
        let fits = match &content {
            Content::Value(value) => self.page.insert_leaf(at, &key, value),
            Content::Right(child) => self.page.insert_branch(at, &key, *child),
        };
        if fits {
            self.slots.insert(key, content);
            return;
        }
        assert!(self.page == before, "what does not fit changes nothing");
        self.split(at, &key, content, input);
    }

    /// Splits the page, checks the halves, and goes on with one of them.
    fn split(&mut self, at: usize, key: &[u8], content: Content, input: &mut Input<'_>) {
        let ascending = input.pick(&[Ascending::No, Ascending::Yes]);
        let halves = match &content {
            Content::Value(value) => self.page.split_leaf(at, key, value, ascending),
            Content::Right(child) => self.page.split_branch(at, key, *child),
        };
        let mut all = self.slots.clone();
        all.insert(key.to_vec(), content);
        let (left, right) = check_halves(&halves, self.first, &all);
        if let Some(whole) = halves.left.merge(&halves.separator, &halves.right) {
            assert_eq!(Twin::of(whole).slots, all);
        }
        let shared = halves.left.rebalance(&halves.separator, &halves.right);
        check_halves(&shared.expect("what was split can be shared"), self.first, &all);
        *self = if input.below(2) == 0 { left } else { right };
    }

    fn remove(&mut self, at: usize) {
        let key = self.slots.keys().nth(at).cloned().expect("it is there");
        if self.is_leaf() {
            self.page.remove_leaf(at);
            self.slots.remove(&key);
            return;
        }
        // The first child goes with the separator on its right.
        self.page.remove_child(if at == 0 { 0 } else { at + 1 });
        let Some(Content::Right(right)) = self.slots.remove(&key) else { panic!("a branch") };
        if at == 0 {
            self.first = Some(right);
        }
    }

    fn overwrite(&mut self, input: &mut Input<'_>) {
        let at = input.below(self.slots.len() + usize::from(!self.is_leaf()));
        if !self.is_leaf() {
            let child = child(input);
            self.page.set_child(at, child);
            match at.checked_sub(1) {
                None => self.first = Some(child),
                Some(at) => *self.content(at) = Content::Right(child),
            }
            return;
        }
        let key_len = self.page.key(at).len();
        let value = match self.content(at) {
            Content::Value(Value::Inline(bytes)) if input.below(2) == 0 => {
                Value::Inline(vec![b'o'; bytes.len()])
            }
            _ => value(input, key_len),
        };
        let old = self.content(at).clone();
        let fits = match (&old, &value) {
            (Content::Value(Value::Inline(old)), Value::Inline(new)) => old.len() == new.len(),
            (Content::Value(Value::Run { .. }), Value::Run { .. }) => true,
            _ => false,
        };
        assert_eq!(self.page.overwrite(at, &value), fits);
        if fits {
            *self.content(at) = Content::Value(value);
        }
    }

    fn content(&mut self, at: usize) -> &mut Content {
        self.slots.values_mut().nth(at).expect("it is there")
    }

    /// Merges the page with a neighbour of its own kind, or shares slots with it.
    fn share(&mut self, input: &mut Input<'_>) {
        let Some(last) = self.slots.keys().next_back().cloned() else { return };
        let mut separator = last;
        separator.push(input.byte());
        if separator.len() + 8 > key_len_max(SIZE) {
            return;
        }
        let (page, right) = self.neighbour(&separator, input);
        let mut all = self.slots.clone();
        if let Some(first) = right.first {
            all.insert(separator.clone(), Content::Right(first));
        }
        all.extend(right.slots.clone());
        let shared = self.page.rebalance(&separator, &page);
        if let Some(halves) = &shared {
            check_halves(halves, self.first, &all);
        }
        if let Some(whole) = self.page.merge(&separator, &page) {
            let whole = Twin::of(whole);
            assert_eq!((whole.first, &whole.slots), (self.first, &all));
            *self = whole;
        }
    }

    /// A page whose keys lie behind a separator.
    fn neighbour(&self, separator: &[u8], input: &mut Input<'_>) -> (TreePage, Twin) {
        let key = |n: u8| {
            let mut key = separator.to_vec();
            key.extend_from_slice(&[b'r', n]);
            key
        };
        let mut page = if self.is_leaf() {
            TreePage::leaf(SIZE, &key(0), &value(input, separator.len() + 2))
        } else {
            TreePage::branch(SIZE, self.page.level(), [child(input), child(input)], &key(0))
        };
        for n in 1..=input.byte() % 8 {
            let at = page.count();
            let fits = if self.is_leaf() {
                page.insert_leaf(at, &key(n), &value(input, separator.len() + 2))
            } else {
                page.insert_branch(at, &key(n), child(input))
            };
            if !fits {
                break;
            }
        }
        let twin = Twin::of(page.clone());
        twin.check();
        (page, twin)
    }
}

/// Checks that two halves hold these slots between them; returns them with their twins.
fn check_halves(halves: &Halves, first: Option<Child>, all: &Slots) -> (Twin, Twin) {
    let (left, right) = (Twin::of(halves.left.clone()), Twin::of(halves.right.clone()));
    left.check();
    right.check();
    let mut joined = left.slots.clone();
    if let Some(first) = right.first {
        joined.insert(halves.separator.clone(), Content::Right(first));
    }
    joined.extend(right.slots.clone());
    assert_eq!(joined, *all, "the halves hold what the whole held");
    assert_eq!(left.first, first);
    let separator = &halves.separator;
    assert!(left.slots.keys().next_back().is_none_or(|last| last < separator));
    assert!(right.slots.keys().next().is_none_or(|first| separator <= first));
    let children = usize::from(first.is_some());
    assert_eq!(halves.left_len, left.slots.len() + children);
    (left, right)
}
