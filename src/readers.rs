//! Live snapshots (layer L4).
//!
//! Owns: the newest durable state, and which states somebody still reads.
//! Must not know: pages, files. Keeps: snapshot-stable, publish-after-durable,
//! no-reuse-while-reachable (a state is pinned in the same step in which it is looked up).

use crate::catalog::Catalog;
use crate::page::TxnId;
use crate::seeded::seeded;
use crate::sync::{Arc, Mutex};
use std::collections::BTreeMap;

/// A committed state. It never changes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) txn: TxnId,
    pub(crate) page_count: u32,
    pub(crate) catalog: Catalog,
}

/// The newest durable state and the pinned ones.
pub(crate) struct Readers {
    table: Mutex<Table>,
}

struct Table {
    newest: Arc<State>,
    pins: BTreeMap<TxnId, u32>,
}

impl Readers {
    pub(crate) fn new(state: Arc<State>) -> Readers {
        Readers { table: Mutex::new(Table { newest: state, pins: BTreeMap::new() }) }
    }

    /// The newest durable state, not pinned.
    pub(crate) fn newest(&self) -> Arc<State> {
        Arc::clone(&self.table.lock().newest)
    }

    /// Pins the newest durable state.
    pub(crate) fn pin_newest(&self) -> Arc<State> {
        let mut table = self.table.lock();
        let state = Arc::clone(&table.newest);
        if seeded!(ReaderRegistersAfterRootRead) {
            drop(table);
            (0..100).for_each(|_| std::thread::yield_now());
            table = self.table.lock();
        }
        *table.pins.entry(state.txn).or_insert(0) += 1;
        state
    }

    /// Pins a state that cannot go away meanwhile: it is pinned already, or the writer's base.
    pub(crate) fn pin(&self, txn: TxnId) {
        *self.table.lock().pins.entry(txn).or_insert(0) += 1;
    }

    /// Takes one pin back.
    pub(crate) fn unpin(&self, txn: TxnId) {
        let mut table = self.table.lock();
        if let Some(count) = table.pins.get_mut(&txn) {
            *count -= 1;
            if *count == 0 {
                table.pins.remove(&txn);
            }
        }
    }

    /// Makes a durable state the newest.
    pub(crate) fn publish(&self, state: Arc<State>) {
        let mut table = self.table.lock();
        crate::invariant::invariant!(PublishAfterDurable, state.txn >= table.newest.txn);
        if seeded!(RefreshKeepsOldState) && state.txn.0 % 4 == 3 {
            return;
        }
        table.newest = state;
    }

    /// The pinned states, ascending. The newest durable one is among them: a reader may pin it
    /// at any moment.
    pub(crate) fn pinned(&self) -> Vec<TxnId> {
        let table = self.table.lock();
        let mut pinned: Vec<TxnId> = table.pins.keys().copied().collect();
        if seeded!(OldestReaderForgotten) && !pinned.is_empty() {
            pinned.remove(0);
        }
        if let Err(at) = pinned.binary_search(&table.newest.txn) {
            pinned.insert(at, table.newest.txn);
        }
        pinned
    }
}
