//! Locks and atomics (layer L0).
//!
//! Owns: the one place that names a lock, so that the models drive the real types under loom.
//! Must not know: what the locks protect.
//! Keeps: nothing; whoever uses a lock writes down its order.

#[cfg(not(loom))]
mod imp {
    pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
    pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
    pub use std::sync::{Arc, Weak};
}

#[cfg(loom)]
mod imp {
    pub use loom::sync::Arc;
    pub use loom::sync::MutexGuard;
    pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

    /// loom's mutex with the signatures of the production one.
    #[derive(Debug)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Mutex<T> {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("a model never panics while it holds a lock")
        }

        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    /// loom's read-write lock with the signatures of the production one.
    #[derive(Debug)]
    pub struct RwLock<T>(loom::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub fn new(value: T) -> RwLock<T> {
            RwLock(loom::sync::RwLock::new(value))
        }

        pub fn read(&self) -> loom::sync::RwLockReadGuard<'_, T> {
            self.0.read().expect("a model never panics while it holds a lock")
        }

        pub fn write(&self) -> loom::sync::RwLockWriteGuard<'_, T> {
            self.0.write().expect("a model never panics while it holds a lock")
        }
    }

    /// loom's condition variable with the signatures of the production one.
    #[derive(Debug)]
    pub struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub fn new() -> Condvar {
            Condvar(loom::sync::Condvar::new())
        }

        pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            // loom's wait takes the guard by value; a model loops on its condition, so that
            // giving the lock up and taking it again through the same guard is what it needs.
            replace_with(guard, |held| {
                self.0.wait(held).expect("a model never panics while it holds a lock")
            });
        }

        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    fn replace_with<T>(_slot: &mut T, _change: impl FnOnce(T) -> T) {
        unimplemented!("filled in with the models")
    }
}

pub use imp::*;
