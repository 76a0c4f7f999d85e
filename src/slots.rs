//! Slots of running readers (layer L2).
//!
//! Owns: [`Slots`], a line of memory for each running reader, and [`Published`], a value whose
//! newest version readers hold without a lock and without a counter that they share.
//! Must not know: what is published, pages, files.
//! Keeps: snapshot-stable, no-reuse-while-reachable (a version that a slot names is not given
//! up), publish-after-durable (readers adopt the version before or after, never backwards).
//!
//! A reader writes into its slot which version it is about to use, and then looks whether that
//! is the newest still. A publisher makes a version the newest, and then looks through the slots.
//! Full fences stand between the two steps of each, so that at least one sees the other: either
//! the reader finds that it was late and tries again, or the publisher finds the reader.
//!
//! A slot also holds an epoch while its reader looks at frames without pinning them; see `arena`.

use crate::fence::{heavy_fence, light_fence, prepare_fences};
use crate::seeded::seeded;
use crate::sync::{
    Arc, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Mutex, Ordering, fence, fence_after_rmw,
    thread_number,
};
use std::cell::Cell;

/// Readers at the same time; those beyond it take a lock.
#[cfg(not(loom))]
const SLOTS: usize = 128;
#[cfg(loom)]
const SLOTS: usize = 3;

/// Frames that a reader holds without touching the frame itself.
#[cfg(not(loom))]
const HELD_FRAMES: usize = 16;
#[cfg(loom)]
const HELD_FRAMES: usize = 1;

/// Looks of a round.
pub(crate) const LOOKS_PER_ROUND: u32 = 256;

/// Bits of a slot's count of rounds.
const ROUND_BITS: u32 = 32;

/// One reader's line. Two lines wide, since processors fetch lines in pairs.
#[repr(align(128))]
struct Slot {
    /// The address of the version in use; 0 when the slot is free.
    version: AtomicUsize,
    /// The epoch in which the reader began to look at frames; 0 when it does not.
    epoch: AtomicU64,
    /// Frames that the reader holds, plus one; 0 where a place is free.
    frames: [AtomicU32; HELD_FRAMES],
    /// How often something was looked up.
    looks: AtomicU32,
    /// Rounds of looks in a state, whose number stands above that.
    rounds: AtomicU64,
}

/// The slots of a store.
pub(crate) struct Slots {
    slots: Box<[Slot]>,
    /// Slots from here on were never used.
    used: AtomicUsize,
}

impl Slots {
    pub(crate) fn new() -> Slots {
        prepare_fences();
        let slot = |_| Slot {
            version: AtomicUsize::new(0),
            epoch: AtomicU64::new(0),
            frames: std::array::from_fn(|_| AtomicU32::new(0)),
            looks: AtomicU32::new(0),
            rounds: AtomicU64::new(0),
        };
        Slots { slots: (0..SLOTS).map(slot).collect(), used: AtomicUsize::new(0) }
    }

    /// Takes a free slot and names a version in it. `None` when all are taken.
    fn claim(&self, version: usize) -> Option<&Slot> {
        let start = thread_number() % SLOTS;
        for step in 0..SLOTS {
            let at = (start + step) % SLOTS;
            let slot = &self.slots[at];
            if slot.version.load(Ordering::Relaxed) != 0 {
                continue;
            }
            if at >= self.used.load(Ordering::Relaxed) {
                self.used.fetch_max(at + 1, Ordering::SeqCst);
            }
            let swap =
                slot.version.compare_exchange(0, version, Ordering::SeqCst, Ordering::Relaxed);
            if swap.is_ok() || seeded!(SlotTakenTwice) {
                fence_after_rmw();
                return Some(slot);
            }
        }
        None
    }

    /// A reader that names no version. `None` when all slots are taken.
    pub(crate) fn visit(self: &Arc<Self>) -> Option<Seat<'_>> {
        // No version lies where the slots do.
        let slot = self.claim(Arc::as_ptr(self).addr())?;
        Some(Seat { slots: self, slot })
    }

    fn in_use(&self) -> &[Slot] {
        &self.slots[..self.used.load(Ordering::SeqCst).min(SLOTS)]
    }

    /// Whether a slot names this version. The caller's fence stands before it.
    fn names(&self, version: usize) -> bool {
        // Whoever sees that a slot names it no longer knows that what was read of it has been read.
        let is_loose = seeded!(VersionGivenUpUnordered);
        let order = if is_loose { Ordering::Relaxed } else { Ordering::Acquire };
        self.in_use().iter().any(|slot| slot.version.load(order) == version)
    }

    /// The writer's side of the readers' light fences. Who takes a slot passes a full fence: either
    /// it is seen here, or it sees what the caller did before. Without a slot nobody looks at
    /// frames. False where the system denies the fence: then nobody knows what readers have seen.
    #[must_use]
    pub(crate) fn fence(&self) -> bool {
        fence(Ordering::SeqCst);
        let is_read = self.in_use().iter().any(|slot| slot.version.load(Ordering::Acquire) != 0);
        !is_read || seeded!(HeavyFenceLeftOut) || heavy_fence()
    }

    /// The oldest epoch in which somebody still looks at frames. The caller's fence stands
    /// before it.
    pub(crate) fn oldest_epoch(&self) -> u64 {
        let epochs = self.in_use().iter().map(|slot| slot.epoch.load(Ordering::Acquire));
        epochs.filter(|&epoch| epoch != 0).min().unwrap_or(u64::MAX)
    }

    /// The frames that readers hold, ascending. A frame of which the caller had seen all epochs
    /// pass in which somebody may have begun to is among them as long as it is held.
    pub(crate) fn held_frames(&self) -> Vec<u32> {
        let places = self.in_use().iter().flat_map(|slot| &slot.frames);
        let held = places.filter_map(|place| place.load(Ordering::Acquire).checked_sub(1));
        let mut held: Vec<u32> = held.collect();
        held.sort_unstable();
        held
    }
}

/// A bug that is switched on must break what a test sees, not the memory.
fn forget_if_unsafe<T>(version: &Arc<T>) {
    let may_go_too_early = seeded!(
        ReaderRegistersAfterRootRead
            | HeldVersionsNotAsked
            | SlotTakenTwice
            | VersionGivenUpUnordered
    );
    if may_go_too_early {
        std::mem::forget(Arc::clone(version));
    }
}

/// A value of which readers hold the newest version or an older one.
pub(crate) struct Published<T> {
    newest: AtomicPtr<T>,
    slots: Arc<Slots>,
    /// The newest version, last, and older ones that a slot may name.
    kept: Mutex<Vec<Arc<T>>>,
    /// Every version. Addresses are compared; so whether the allocator gives one out again would
    /// be chance, and an interleaving could not be repeated.
    #[cfg(loom)]
    all: Mutex<Vec<Arc<T>>>,
}

impl<T> Published<T> {
    pub(crate) fn new(first: Arc<T>, slots: Arc<Slots>) -> Published<T> {
        forget_if_unsafe(&first);
        let newest = AtomicPtr::new(Arc::as_ptr(&first).cast_mut());
        Published {
            newest,
            slots,
            #[cfg(loom)]
            all: Mutex::new(vec![Arc::clone(&first)]),
            kept: Mutex::new(vec![first]),
        }
    }

    /// The slots in which readers name versions.
    pub(crate) fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    /// Holds the newest version. `None` when all slots are taken.
    pub(crate) fn hold(&self) -> Option<Hold<'_, T>> {
        let mut version = self.newest.load(Ordering::Acquire);
        if seeded!(ReaderRegistersAfterRootRead) {
            (0..100).for_each(|_| std::thread::yield_now());
        }
        let slot = self.slots.claim(version.addr())?;
        let seat = Seat { slots: &self.slots, slot };
        loop {
            let newest = self.newest.load(Ordering::Acquire);
            if seeded!(ReaderRegistersAfterRootRead) {
                return Some(Hold { seat, version });
            }
            if newest == version {
                // Not the first one: that may have been another version's, at the same address.
                return Some(Hold { seat, version: newest });
            }
            version = newest;
            slot.version.swap(version.addr(), Ordering::SeqCst);
            fence_after_rmw();
        }
    }

    /// Makes a version the newest, and gives up those that nobody holds.
    pub(crate) fn publish(&self, version: Arc<T>) {
        let mut kept = self.kept.lock();
        forget_if_unsafe(&version);
        #[cfg(loom)]
        self.all.lock().push(Arc::clone(&version));
        let is_late = seeded!(StateSeenBeforePages);
        let order = if is_late { Ordering::Relaxed } else { Ordering::Release };
        self.newest.store(Arc::as_ptr(&version).cast_mut(), order);
        kept.push(version);
        self.give_up(&mut kept);
    }

    /// Calls `each` with the newest version and every older one that somebody holds, the oldest
    /// first.
    pub(crate) fn for_each_held(&self, mut each: impl FnMut(&T)) {
        let mut kept = self.kept.lock();
        self.give_up(&mut kept);
        kept.iter().for_each(|version| each(version));
    }

    fn give_up(&self, kept: &mut Vec<Arc<T>>) {
        fence(Ordering::SeqCst);
        let newest = kept.len() - 1;
        let mut at = 0;
        kept.retain(|version| {
            at += 1;
            let is_named = || self.slots.names(Arc::as_ptr(version).addr());
            at > newest || is_named() && !seeded!(HeldVersionsNotAsked)
        });
    }
}

/// A slot that is taken.
pub(crate) struct Seat<'a> {
    slots: &'a Arc<Slots>,
    slot: &'a Slot,
}

impl Seat<'_> {
    /// The reader begins to look at frames in this epoch, which the caller got from a load that
    /// acquires.
    ///
    /// # Panics
    /// When it does already.
    #[inline]
    pub(crate) fn enter(&self, epoch: u64) -> Entered<'_> {
        // A seat stays with its thread; so nobody else changes the epoch meanwhile.
        assert!(self.slot.epoch.load(Ordering::Relaxed) == 0, "a reader looks at one page a time");
        // Whoever sees this epoch knows that what was read in the one before has been read.
        let is_loose = seeded!(NextLookHidesTheLast);
        let order = if is_loose { Ordering::Relaxed } else { Ordering::Release };
        self.slot.epoch.store(epoch, order);
        if !seeded!(ReaderEntersUnfenced) {
            light_fence();
        }
        Entered { slot: self.slot, held: Cell::new(0) }
    }

    /// Counts a look. True for the last of a round.
    #[inline(always)]
    pub(crate) fn count_look(&self) -> bool {
        let looks = self.slot.looks.load(Ordering::Relaxed).wrapping_add(1);
        self.slot.looks.store(looks, Ordering::Relaxed);
        looks.is_multiple_of(LOOKS_PER_ROUND)
    }

    /// How many rounds of looks ended in this state, one behind the other, as far as this slot's
    /// readers know; this one included.
    pub(crate) fn count_round(&self, state: u64) -> u64 {
        let (rounds, state) = (self.slot.rounds.load(Ordering::Relaxed), state << ROUND_BITS);
        let is_same = (rounds ^ state) >> ROUND_BITS == 0;
        let rounds = if is_same { rounds + 1 } else { state + 1 };
        self.slot.rounds.store(rounds, Ordering::Relaxed);
        rounds - state
    }

    /// Begins to count rounds anew.
    pub(crate) fn forget_rounds(&self) {
        self.slot.rounds.store(0, Ordering::Relaxed);
    }

    /// The slots among which this one is.
    pub(crate) fn slots(&self) -> &Arc<Slots> {
        self.slots
    }
}

impl Drop for Seat<'_> {
    #[inline]
    fn drop(&mut self) {
        self.slot.version.store(0, Ordering::Release);
    }
}

/// A version that is held, and the slot that says so.
pub(crate) struct Hold<'a, T> {
    seat: Seat<'a>,
    version: *mut T,
}

impl<'a, T> Hold<'a, T> {
    /// The slot.
    pub(crate) fn seat(&self) -> &Seat<'a> {
        &self.seat
    }
}

impl<T> std::ops::Deref for Hold<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `kept` owns the version: it was the newest after the slot had named it, and
        // `give_up` keeps the newest and what a slot names. The slot names it until the drop.
        unsafe { &*self.version }
    }
}

/// The time in which a reader looks at frames without pinning them.
pub(crate) struct Entered<'a> {
    slot: &'a Slot,
    /// Places in front of this one are not looked at again: the last hold took what it found.
    held: Cell<usize>,
}

impl<'a> Entered<'a> {
    /// Holds a frame beyond this time. `None` when the reader holds several already.
    #[inline(always)]
    pub(crate) fn hold_frame(&self, frame: u32) -> Option<&'a AtomicU32> {
        let mut at = self.held.get();
        // What was lent may have been given back by another thread, whose reads end before that.
        let is_loose = seeded!(NextLoanHidesTheLast);
        let order = if is_loose { Ordering::Relaxed } else { Ordering::Acquire };
        while self.slot.frames.get(at)?.load(order) != 0 {
            at += 1;
        }
        let place = &self.slot.frames[at];
        self.held.set(at + 1);
        // Whoever sees this epoch pass sees the frame held, and that the one before is not.
        place.store(frame + 1, Ordering::Release);
        Some(place)
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        self.slot.epoch.store(0, Ordering::Release);
    }
}
