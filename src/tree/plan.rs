//! Trees: what is to be done to a sealed leaf (layer L4).
//!
//! Owns: [`Plan`]: a sealed leaf, and an entry that it has room for or entries that it is to lose.
//! Must not know: which leaves get a plan, files.
//! Keeps: committed-pages-immutable (a plan only reads the leaf), same-calls-same-bytes (a plan
//! ends in the bytes that the same changes of a copy would have left).

use super::insert::Entry;
use crate::buffer::Buffer;
use crate::invariant::invariant;
use crate::node::{Node, NodeMut, Payload};
use crate::page::Page;
use crate::seeded::seeded;
use crate::sync::OnceLock;

/// A leaf of more entries is likely to meet the next one before its transaction ends. Then it is
/// copied after all, and the plan was made in vain.
pub(super) const PLANNED_ENTRIES_MAX: usize = 32;

/// What a search in a leaf returned.
type Slot = std::result::Result<usize, usize>;

/// A sealed leaf, and what is to be done to it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) leaf: Page,
    change: Change,
    /// What came of it, once somebody looked.
    pub(super) built: OnceLock<Buffer>,
}

#[derive(Clone, Debug)]
enum Change {
    Put {
        slot: Slot,
        tag: u16,
        key_len: usize,
        /// The entry's key, and its payload behind it.
        entry: Box<[u8]>,
    },
    Remove(Removals),
}

/// Slots of a leaf that are to be removed.
#[derive(Clone, Debug, Default)]
pub(super) struct Removals {
    /// In the order in which they were asked for: what a copy would look like depends on it.
    slots: [u8; PLANNED_ENTRIES_MAX],
    pub(super) count: usize,
    /// One bit for each.
    set: u32,
    /// Bytes that they use.
    pub(super) bytes: usize,
}

impl Removals {
    #[inline]
    pub(super) fn has(&self, slot: usize) -> bool {
        self.set >> slot & 1 == 1
    }

    fn push(&mut self, slot: usize, bytes: usize) {
        self.slots[self.count] = u8::try_from(slot).expect("a leaf with a plan has few slots");
        self.count += 1;
        self.set |= 1 << slot;
        self.bytes += bytes;
    }

    /// How many of them lie in front of a slot.
    pub(super) fn before(&self, slot: usize) -> usize {
        (self.set & ((1 << slot) - 1)).count_ones() as usize
    }

    /// Where each slot is when its turn comes.
    fn steps(&self) -> impl Iterator<Item = usize> + '_ {
        let mut gone = Removals::default();
        self.slots[..self.count].iter().map(move |&slot| {
            let slot = usize::from(slot);
            let at = slot - gone.before(slot);
            gone.push(slot, 0);
            at
        })
    }
}

impl Plan {
    fn new(leaf: &Page, change: Change) -> Plan {
        Plan { leaf: leaf.clone(), change, built: OnceLock::new() }
    }

    /// A plan for an entry, if the leaf has room for it as it lies.
    pub(super) fn put(leaf: &Page, slot: Slot, entry: &Entry<'_>) -> Option<Plan> {
        let node = Node::new(leaf.bytes());
        let Entry { key, payload, .. } = *entry;
        let fits = match slot {
            Ok(at) => node.payload(at).tag == payload.tag,
            Err(_) => node.has_room_for(key, payload),
        };
        fits.then(|| {
            let entry = [key, payload.bytes].concat().into_boxed_slice();
            Plan::new(leaf, Change::Put { slot, tag: payload.tag, key_len: key.len(), entry })
        })
    }

    /// A plan for entries to be removed, none so far.
    pub(super) fn remove(leaf: &Page) -> Plan {
        Plan::new(leaf, Change::Remove(Removals::default()))
    }

    /// The slots that are to be removed, where nothing else is planned.
    #[inline]
    pub(super) fn removals(&self) -> Option<&Removals> {
        match &self.change {
            Change::Remove(removals) => Some(removals),
            Change::Put { .. } => None,
        }
    }

    /// The plan with one removal more, of the leaf's slot `at`.
    pub(super) fn remove_too(&mut self, at: usize) {
        let bytes = Node::new(self.leaf.bytes()).cell_len(at);
        // A cursor in another thread may have looked, and have ended, since the caller asked.
        self.built = OnceLock::new();
        match &mut self.change {
            Change::Remove(removals) => removals.push(at, bytes),
            Change::Put { .. } => unreachable!("an entry is planned"),
        }
    }

    /// The same plan, for whoever is to change it.
    pub(super) fn copy(&self) -> Plan {
        Plan::new(&self.leaf, self.change.clone())
    }

    /// Changes a copy of the leaf.
    pub(super) fn carry_out(&self, bytes: &mut [u8]) {
        match &self.change {
            Change::Put { slot, tag, key_len, entry } => {
                let (key, payload) = entry.split_at(*key_len);
                let payload = Payload { tag: *tag, bytes: payload };
                let is_done = match *slot {
                    Ok(at) => NodeMut::new(bytes).overwrite_payload(at, payload),
                    Err(at) => NodeMut::new(bytes).insert_leaf(at, key, payload),
                };
                invariant!(EntryCount, is_done, "a planned entry has no room");
            }
            Change::Remove(removals) => {
                removals.steps().for_each(|at| NodeMut::new(bytes).remove_leaf(at));
            }
        }
    }

    #[cold]
    pub(super) fn look(&self) -> &Buffer {
        self.built.get_or_init(|| self.build())
    }

    /// The bytes, for whoever gives the plan up.
    #[cold]
    pub(super) fn take(&self) -> Buffer {
        if seeded!(PlanForgottenByTheNextChange) {
            return Buffer::from(self.leaf.bytes());
        }
        self.built.get().cloned().unwrap_or_else(|| self.build())
    }

    fn build(&self) -> Buffer {
        let mut bytes = Buffer::from(self.leaf.bytes());
        self.carry_out(&mut bytes);
        bytes
    }
}
