//! Which stores a thread writes to (part of commit, layer L5).
//!
//! Owns: the list of a thread's running write transactions, by store.
//! Must not know: what a store is.
//! Keeps: nothing that is written anywhere; a thread that waited for itself would wait for ever.

use crate::sync::thread_local;
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;

/// The stores in whose write transaction a thread is: mostly one, or none.
struct Writing {
    /// 0 where there is none.
    first: Cell<usize>,
    others: RefCell<Vec<usize>>,
}

thread_local! {
    /// Never dropped: a destructor of another thread-local value may still write.
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const block")]
    static WRITING: ManuallyDrop<Writing> = ManuallyDrop::new(Writing {
        first: Cell::new(0),
        others: RefCell::new(Vec::new()),
    });
}

/// Whether the calling thread is in a write transaction of a store, and has the writer's turn.
pub(super) fn has_turn(store: usize) -> bool {
    WRITING.with(|writing| writing.first.get() == store || writing.others.borrow().contains(&store))
}

/// Whether the calling thread is in a write transaction of a store, or counts as if it were.
pub(super) fn is_in(store: usize) -> bool {
    has_turn(store) || has_turn(as_if_in(store))
}

/// How a store is listed in whose write transaction a thread is not: by an address that none has.
fn as_if_in(store: usize) -> usize {
    store + 1
}

/// While it lives, the calling thread counts as one in a write transaction of a store.
pub(crate) struct AsIfWriting(usize);

impl AsIfWriting {
    pub(super) fn new(store: usize) -> AsIfWriting {
        enter(as_if_in(store));
        AsIfWriting(store)
    }
}

impl Drop for AsIfWriting {
    fn drop(&mut self) {
        leave(as_if_in(self.0));
    }
}

/// The calling thread begins a write transaction of a store.
pub(super) fn enter(store: usize) {
    WRITING.with(|writing| match writing.first.get() {
        0 => writing.first.set(store),
        _ => writing.others.borrow_mut().push(store),
    });
}

/// The calling thread ends its write transaction of a store.
pub(super) fn leave(store: usize) {
    WRITING.with(|writing| {
        if writing.first.get() == store {
            return writing.first.set(0);
        }
        let mut others = writing.others.borrow_mut();
        // One of them: a thread may count more than once as one that writes.
        if let Some(at) = others.iter().rposition(|&other| other == store) {
            others.swap_remove(at);
        }
        if others.is_empty() {
            // Nobody else gives its memory back.
            *others = Vec::new();
        }
    });
}
