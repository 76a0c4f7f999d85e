//! Locks and atomics (layer L0).
//!
//! Owns: the one place that names a lock, so that the models drive the real types under loom.
//! Must not know: what the locks protect.
//! Keeps: same-calls-same-bytes (a clock weighs waits of threads for each other, and nothing else);
//! whoever uses a lock writes down its order.

#[cfg(not(loom))]
mod imp {
    pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
    #[cfg(any(target_arch = "x86_64", target_os = "linux"))]
    pub use std::sync::atomic::compiler_fence;
    pub use std::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
    pub use std::sync::{Arc, OnceLock, Weak};
    pub use std::thread::yield_now;
    pub use std::thread_local;

    /// Orders a `SeqCst` read-modify-write that was just made before every later load of this
    /// thread, as `fence(SeqCst)` would.
    #[inline]
    pub fn fence_after_rmw() {
        // A locked instruction of this architecture is a full barrier already.
        #[cfg(target_arch = "x86_64")]
        compiler_fence(Ordering::SeqCst);
        #[cfg(not(target_arch = "x86_64"))]
        fence(Ordering::SeqCst);
    }

    thread_local! {
        static THREAD: u32 = THREADS.fetch_add(1, Ordering::Relaxed);
    }

    static THREADS: AtomicU32 = AtomicU32::new(0);

    /// A small number of the calling thread, for spreading threads over slots.
    #[inline]
    pub fn thread_number() -> usize {
        // A destructor of another thread-local value may still read; then any number will do.
        THREAD.try_with(|number| *number as usize).unwrap_or(0)
    }
}

#[cfg(loom)]
mod imp {
    pub use loom::sync::MutexGuard;
    // The threads of a model share one thread of the system.
    pub use loom::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering,
    };
    pub use loom::thread_local;
    // What counted references share here never changes, so their counts need no model.
    pub use std::sync::Arc;

    loom::lazy_static! {
        static ref FENCES: AtomicUsize = AtomicUsize::new(0);
        static ref MEETINGS: AtomicUsize = AtomicUsize::new(0);
        static ref ARE_MEETINGS_DENIED: AtomicBool = AtomicBool::new(false);
    }

    /// Orders those who pass here among each other, and nobody who passes a [`fence`] only.
    pub fn meet() {
        MEETINGS.fetch_add(1, Ordering::AcqRel);
    }

    /// From here on, until the interleaving ends, who asks is told that they are denied.
    pub fn deny_meetings() {
        ARE_MEETINGS_DENIED.store(true, Ordering::Relaxed);
    }

    pub fn are_meetings_denied() -> bool {
        ARE_MEETINGS_DENIED.load(Ordering::Relaxed)
    }

    /// Fences are ordered among all threads, but loom switches threads only before an access, and
    /// tries two orders only of accesses to one thing; so each fence makes one first.
    pub fn fence(order: Ordering) {
        FENCES.fetch_add(1, Ordering::Relaxed);
        loom::sync::atomic::fence(order);
    }

    /// The fence itself: to the model a `SeqCst` access is no stronger than an `AcqRel` one.
    pub fn fence_after_rmw() {
        fence(Ordering::SeqCst);
    }

    /// All threads of a model begin at the same slot, so that they meet.
    pub fn thread_number() -> usize {
        0
    }

    /// A model lets every thread run at any point anyway.
    pub fn yield_now() {}

    /// A cell that is filled once, and by one thread at a time. What it holds may have atomics of
    /// its own: whoever finds it filled must come after who made them, to the model too.
    #[derive(Debug)]
    pub struct OnceLock<T> {
        cell: std::sync::OnceLock<T>,
        is_filled: AtomicBool,
    }

    impl<T> OnceLock<T> {
        pub fn new() -> OnceLock<T> {
            OnceLock { cell: std::sync::OnceLock::new(), is_filled: AtomicBool::new(false) }
        }

        pub fn get(&self) -> Option<&T> {
            if self.is_filled.load(Ordering::Acquire) { self.cell.get() } else { None }
        }

        pub fn get_or_init(&self, fill: impl FnOnce() -> T) -> &T {
            if self.get().is_none() {
                self.cell.get_or_init(fill);
                self.is_filled.store(true, Ordering::Release);
            }
            self.cell.get().expect("it was filled just now")
        }
    }

    impl<T> From<T> for OnceLock<T> {
        fn from(value: T) -> OnceLock<T> {
            OnceLock { cell: value.into(), is_filled: AtomicBool::new(true) }
        }
    }

    /// Stands for memory that is no atomic: a model fails when a write of it is not ordered with
    /// every other access.
    #[derive(Debug)]
    pub struct Watched(loom::cell::UnsafeCell<()>);

    impl Watched {
        pub fn new() -> Watched {
            Watched(loom::cell::UnsafeCell::new(()))
        }

        pub fn read(&self) {
            self.0.with(|_| ());
        }

        pub fn write(&self) {
            self.0.with_mut(|_| ());
        }
    }

    const SOUND: &str = "a model never panics while it holds a lock";

    /// loom's mutex with the signatures of the production one.
    #[derive(Debug)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Mutex<T> {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect(SOUND)
        }

        pub fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().expect(SOUND)
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
            self.0.read().expect(SOUND)
        }

        pub fn write(&self) -> loom::sync::RwLockWriteGuard<'_, T> {
            self.0.write().expect(SOUND)
        }
    }
}

/// Time that passes, to weigh one wait against another. What is written does not depend on it, but
/// for which transactions of several threads share a flush. A model has no time.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    #[cfg(not(loom))]
    begun: std::time::Instant,
}

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch {
            #[cfg(not(loom))]
            begun: std::time::Instant::now(),
        }
    }

    /// Nanoseconds since its start.
    pub fn nanos(&self) -> u64 {
        #[cfg(not(loom))]
        return u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        #[cfg(loom)]
        0
    }
}

#[cfg(loom)]
use loom::sync as plain;
#[cfg(not(loom))]
use std::sync as plain;

pub use imp::*;
use std::sync::PoisonError;

/// A value that threads wait for. All who wait are woken by one call of the system; the
/// condition variable of `parking_lot` makes one for each of them.
#[derive(Debug)]
pub struct Bell<T> {
    value: plain::Mutex<T>,
    rung: plain::Condvar,
}

impl<T> Bell<T> {
    pub fn new(value: T) -> Bell<T> {
        Bell { value: plain::Mutex::new(value), rung: plain::Condvar::new() }
    }

    /// Changes the value and wakes nobody.
    pub fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.lock());
    }

    /// Changes the value and wakes one of those who wait.
    pub fn ring_one(&self, change: impl FnOnce(&mut T)) {
        self.change(change);
        self.rung.notify_one();
    }

    /// Changes the value and wakes all who wait.
    pub fn ring_all(&self, change: impl FnOnce(&mut T)) {
        self.change(change);
        self.rung.notify_all();
    }

    /// Waits until the value has what is looked for.
    pub fn wait<R>(&self, mut look: impl FnMut(&mut T) -> Option<R>) -> R {
        let mut value = self.lock();
        loop {
            if let Some(found) = look(&mut value) {
                return found;
            }
            value = self.rung.wait(value).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> plain::MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Switches seeded bugs; no model follows it.
#[cfg(seeded_bug)]
pub use std::sync::atomic::AtomicU64 as Switch;
