//! How much memory a thread asks for at a time.
//!
//! A test program that measures makes [`Counting`] its allocator. The store has no threads of its
//! own, so that what a call asks for is its thread's. The frames of a cache are counted, as many
//! bytes as the options say, whether they are used or not.

#![allow(dead_code, reason = "each test uses a part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;

/// The system's allocator, which counts.
pub struct Counting;

thread_local! {
    /// What this thread has asked for and not given back; negative where it gives back others'.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
    /// Beyond this there is none.
    static CEILING: Cell<isize> = const { Cell::new(isize::MAX) };
}

fn count(change: isize) {
    let held = HELD.get().wrapping_add(change);
    HELD.set(held);
    MOST.set(MOST.get().max(held));
}

fn has_room(size: usize) -> bool {
    HELD.get().saturating_add(signed(size)) <= CEILING.get()
}

/// No size is larger than an `isize`.
fn signed(size: usize) -> isize {
    size.cast_signed()
}

// SAFETY: all memory is the system's, and counting asks for none.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !has_room(layout.size()) {
            return null_mut();
        }
        count(signed(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !has_room(layout.size()) {
            return null_mut();
        }
        count(signed(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !has_room(size) {
            return null_mut();
        }
        // Both are there for a moment, unless the system knows better.
        count(signed(size));
        count(-signed(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Runs something, and returns how many bytes this thread had more than before, at most.
pub fn most_of<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = HELD.get();
    let most = MOST.replace(before);
    let result = work();
    let taken = MOST.get() - before;
    MOST.set(most.max(MOST.get()));
    (result, taken.try_into().expect("the most is what there was, or more"))
}

/// Runs something that may take so many bytes and no more.
#[track_caller]
pub fn within<R>(limit: usize, context: &str, work: impl FnOnce() -> R) -> R {
    let (result, taken) = most_of(work);
    assert!(taken <= limit, "{context}: {taken} bytes of memory, at most {limit} are right");
    result
}

/// Runs something on a machine that has so many bytes left and no more.
pub fn with_memory<R>(bytes: usize, work: impl FnOnce() -> R) -> R {
    CEILING.set(HELD.get() + signed(bytes));
    let result = work();
    CEILING.set(isize::MAX);
    result
}
