//! Live snapshots (layer L4).
//!
//! Owns: the newest durable state, and which states somebody still reads.
//! Must not know: pages, files. Keeps: snapshot-stable, publish-after-durable,
//! no-reuse-while-reachable (a state counts as read from before its reader looks at it).

use crate::catalog::Catalog;
use crate::error::{Error, Fault};
use crate::page::TxnId;
use crate::seeded::seeded;
use crate::slots::{Hold, Published, Seat, Slots};
use crate::sync::{Arc, Mutex, OnceLock};
use crate::tree::sparse::SparseIndex;

/// Why something was lost, if the flush that was to make it durable failed.
#[derive(Debug)]
pub(crate) struct Loss(OnceLock<Fault>);

impl Loss {
    pub(crate) fn new() -> Loss {
        Loss(OnceLock::new())
    }

    /// The first failure counts.
    pub(crate) fn tell(&self, fault: &Fault) {
        self.0.get_or_init(|| fault.clone());
    }

    pub(crate) fn told(&self) -> Option<Error> {
        self.0.get().map(Fault::raise)
    }
}

/// A committed state. It never changes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) txn: TxnId,
    pub(crate) page_count: u32,
    pub(crate) catalog: Catalog,
    /// Why it was taken back, if its flush failed.
    lost: Loss,
    /// An index of one of its trees, if it was found to pay.
    pub(crate) index: OnceLock<Option<SparseIndex>>,
}

impl State {
    pub(crate) fn new(txn: TxnId, page_count: u32, catalog: Catalog) -> State {
        State { txn, page_count, catalog, lost: Loss::new(), index: OnceLock::new() }
    }

    /// The flush failed: what the state had of its own will not be found, or something else there.
    pub(crate) fn lose(&self, fault: &Fault) {
        self.lost.tell(fault);
    }

    /// What the flush met, if it failed.
    pub(crate) fn loss(&self) -> Option<Error> {
        self.lost.told()
    }
}

/// The newest durable state and the pinned ones.
pub(crate) struct Readers {
    published: Published<State>,
    table: Mutex<Table>,
}

struct Table {
    newest: Arc<State>,
    /// Pins that outlive a transaction, or found no slot: of each state how many, ascending. Each
    /// commit looks at all of them, and most come and go at the end.
    pins: Vec<(TxnId, u64)>,
}

impl Table {
    fn pin(&mut self, txn: TxnId) {
        match self.pins.binary_search_by_key(&txn, |&(pinned, _)| pinned) {
            Ok(at) => self.pins[at].1 += 1,
            Err(at) => self.pins.insert(at, (txn, 1)),
        }
    }

    fn unpin(&mut self, txn: TxnId) {
        let found = self.pins.binary_search_by_key(&txn, |&(pinned, _)| pinned);
        let Ok(at) = found else { return };
        self.pins[at].1 -= 1;
        if self.pins[at].1 == 0 {
            self.pins.remove(at);
        }
    }
}

/// A state that is pinned as long as this lives.
pub(crate) enum Pinned<'a> {
    /// By a slot.
    Held(Hold<'a, State>),
    /// By an entry of the table.
    Listed(&'a Readers, Arc<State>),
    /// By whoever lends it; with a slot to look at frames from, if one was free.
    Lent(&'a State, Option<Seat<'a>>),
}

impl<'a> Pinned<'a> {
    /// From where to look at frames.
    #[inline]
    pub(crate) fn seat(&self) -> Option<&Seat<'a>> {
        match self {
            Pinned::Held(hold) => Some(hold.seat()),
            Pinned::Listed(..) => None,
            Pinned::Lent(_, seat) => seat.as_ref(),
        }
    }
}

impl std::ops::Deref for Pinned<'_> {
    type Target = State;

    #[inline]
    fn deref(&self) -> &State {
        match self {
            Pinned::Held(hold) => hold,
            Pinned::Listed(_, state) => state,
            Pinned::Lent(state, _) => state,
        }
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        if let Pinned::Listed(readers, state) = self {
            readers.unpin(state.txn);
        }
    }
}

impl Readers {
    pub(crate) fn new(state: Arc<State>, slots: Arc<Slots>) -> Readers {
        let published = Published::new(Arc::clone(&state), slots);
        Readers { published, table: Mutex::new(Table { newest: state, pins: Vec::new() }) }
    }

    /// The newest durable state, not pinned.
    pub(crate) fn newest(&self) -> Arc<State> {
        Arc::clone(&self.table.lock().newest)
    }

    /// Pins the newest durable state.
    #[inline]
    pub(crate) fn pin_newest(&self) -> Pinned<'_> {
        match self.published.hold() {
            Some(hold) => Pinned::Held(hold),
            None => Pinned::Listed(self, self.keep_newest()),
        }
    }

    /// Pins the newest durable state until [`Readers::unpin`].
    #[cold]
    pub(crate) fn keep_newest(&self) -> Arc<State> {
        if seeded!(ReaderListedAfterRootRead) {
            let state = self.newest();
            self.pin(state.txn);
            return state;
        }
        let mut table = self.table.lock();
        let state = Arc::clone(&table.newest);
        table.pin(state.txn);
        state
    }

    /// Reads a state that stays pinned meanwhile.
    pub(crate) fn lend<'a>(&'a self, state: &'a State) -> Pinned<'a> {
        Pinned::Lent(state, self.published.slots().visit())
    }

    /// Pins a state that cannot go away meanwhile: it is pinned already, or the writer's base.
    pub(crate) fn pin(&self, txn: TxnId) {
        self.table.lock().pin(txn);
    }

    /// Takes one pin back.
    pub(crate) fn unpin(&self, txn: TxnId) {
        self.table.lock().unpin(txn);
    }

    /// Makes a durable state the newest.
    pub(crate) fn publish(&self, state: Arc<State>) {
        let mut table = self.table.lock();
        crate::invariant::invariant!(PublishAfterDurable, state.txn >= table.newest.txn);
        if seeded!(RefreshKeepsOldState) && state.txn.0 % 4 == 3 {
            return;
        }
        self.published.publish(Arc::clone(&state));
        table.newest = state;
    }

    /// The pinned states, ascending. The newest durable one is among them: a reader may pin it
    /// at any moment.
    pub(crate) fn pinned(&self) -> Vec<TxnId> {
        let table = self.table.lock();
        let mut pinned: Vec<TxnId> = table.pins.iter().map(|&(txn, _)| txn).collect();
        // Locked across both looks: who leaves a slot for the table is in one of them.
        if seeded!(PinsReadBeforeSlots) {
            drop(table);
        }
        self.published.for_each_held(|state| pinned.push(state.txn));
        pinned.sort_unstable();
        pinned.dedup();
        if seeded!(OldestReaderForgotten) && pinned.len() > 1 {
            pinned.remove(0);
        }
        pinned
    }
}
