//! Trees: the bytes of a dirty page (layer L4).
//!
//! Owns: [`Draft`], bytes that are built, or a [`Plan`]: a sealed leaf, and an entry that it has
//! room for; which leaves get a plan. Must not know: files.
//! Keeps: committed-pages-immutable (a plan only reads the leaf), same-calls-same-bytes (a plan
//! ends in the bytes that the same change of a copy would have left).

use super::insert::{Entry, Inserted};
use super::way::Place;
use super::{Dirty, Edit, Expected};
use crate::buffer::Buffer;
use crate::error::Result;
use crate::invariant::invariant;
use crate::node::{Node, NodeMut, Payload};
use crate::page::Page;
use crate::seeded::seeded;
use crate::sync::{Arc, OnceLock};
use std::ops::{Deref, DerefMut};

/// A leaf of more entries is likely to meet the next one before its transaction ends. Then it is
/// copied after all, and the plan was made in vain.
const PLANNED_ENTRIES_MAX: usize = 32;

/// The bytes of a dirty page.
#[derive(Clone, Debug)]
pub(crate) enum Draft {
    /// In memory of their own.
    Built(Buffer),
    /// Where the sealed leaf lies, until somebody looks at them or they are sealed: most leaves
    /// that a transaction meets it meets once, and so they are copied once, not twice.
    Planned(Arc<Plan>),
}

/// What a search in a leaf returned.
type Slot = std::result::Result<usize, usize>;

/// A sealed leaf, and the entry that it gets.
#[derive(Debug)]
pub(crate) struct Plan {
    leaf: Page,
    slot: Slot,
    tag: u16,
    key_len: usize,
    /// The entry's key, and its payload behind it.
    entry: Box<[u8]>,
    /// What came of it, once somebody looked.
    built: OnceLock<Buffer>,
}

impl Plan {
    /// A plan for an entry, if the leaf has room for it as it lies.
    fn new(leaf: &Page, slot: Slot, entry: &Entry<'_>) -> Option<Plan> {
        let node = Node::new(leaf.bytes());
        let Entry { key, payload, .. } = *entry;
        let fits = match slot {
            Ok(at) => node.payload(at).tag == payload.tag,
            Err(_) => node.has_room_for(key, payload),
        };
        fits.then(|| Plan {
            leaf: leaf.clone(),
            slot,
            tag: payload.tag,
            key_len: key.len(),
            entry: [key, payload.bytes].concat().into_boxed_slice(),
            built: OnceLock::new(),
        })
    }

    /// Changes a copy of the leaf.
    fn carry_out(&self, bytes: &mut [u8]) {
        let (key, payload) = self.entry.split_at(self.key_len);
        let payload = Payload { tag: self.tag, bytes: payload };
        let is_done = match self.slot {
            Ok(at) => NodeMut::new(bytes).overwrite_payload(at, payload),
            Err(at) => NodeMut::new(bytes).insert_leaf(at, key, payload),
        };
        invariant!(EntryCount, is_done, "a planned entry has no room");
    }

    #[cold]
    fn look(&self) -> &Buffer {
        self.built.get_or_init(|| self.build())
    }

    /// The bytes, for whoever gives the plan up.
    #[cold]
    fn take(&self) -> Buffer {
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

impl Draft {
    /// Memory that is looked at when the bytes are built or sealed, to be asked for ahead. Kind and
    /// level are those of the bytes.
    #[inline]
    pub(crate) fn source(&self) -> &[u8] {
        match self {
            Draft::Built(bytes) => bytes,
            Draft::Planned(plan) => plan.leaf.bytes(),
        }
    }

    /// The bytes, which are built if they are not yet.
    #[inline]
    pub(super) fn buffer(&self) -> &Buffer {
        match self {
            Draft::Built(bytes) => bytes,
            Draft::Planned(plan) => plan.look(),
        }
    }

    /// The bytes to be changed, in memory of their own.
    #[inline]
    pub(super) fn built(&mut self) -> &mut Buffer {
        if let Draft::Planned(plan) = self {
            *self = Draft::Built(plan.take());
        }
        match self {
            Draft::Built(bytes) => bytes,
            Draft::Planned(_) => unreachable!("it was built just now"),
        }
    }

    pub(crate) fn into_buffer(self) -> Buffer {
        match self {
            Draft::Built(bytes) => bytes,
            Draft::Planned(plan) => plan.take(),
        }
    }

    /// Writes the bytes to memory of the same length.
    pub(crate) fn write_to(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(self.source());
        if let Draft::Planned(plan) = self {
            if let Some(built) = plan.built.get().filter(|_| seeded!(PlanCarriedOutTwice)) {
                bytes.copy_from_slice(built);
            }
            plan.carry_out(bytes);
        }
    }
}

impl From<Buffer> for Draft {
    fn from(bytes: Buffer) -> Draft {
        Draft::Built(bytes)
    }
}

impl Deref for Draft {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        self.buffer()
    }
}

impl DerefMut for Draft {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.built()
    }
}

impl Edit<'_> {
    /// Makes a sealed leaf dirty, which a branch has as this child: with a plan for an entry, if it
    /// has room for it, or else as a copy, into which the entry is still to be put.
    pub(super) fn plan_entry(
        &mut self,
        (branch, at): (&mut Dirty, usize),
        place: Place,
        entry: &Entry<'_>,
    ) -> Result<Option<Inserted>> {
        let expected = Expected { level: 0, txn_max: self.base };
        let leaf = self.pages.read_node(branch.node().child(at), expected)?;
        let may_hold = self.freed.len() < self.pages.held_max();
        if !seeded!(PlannedLeafNotFreed, may_hold) {
            self.free_page(&leaf);
        }
        let node = Node::new(leaf.bytes());
        let is_kept_here = !entry.is_large() || seeded!(PlanKeepsNoLargeValue);
        if may_hold && is_kept_here && node.count() <= PLANNED_ENTRIES_MAX {
            let slot = place.search(node, entry.key);
            if let Some(plan) = Plan::new(&leaf, slot, entry) {
                let is_last = place.rightmost && slot == Err(node.count());
                branch.kids_mut()[at] = Some(Dirty::planned(plan));
                let was_there = slot.is_ok();
                return Ok(Some(Inserted { was_there, is_last, ..Inserted::default() }));
            }
        }
        branch.kids_mut()[at] = Some(Dirty::copy_of(&leaf));
        Ok(None)
    }
}
