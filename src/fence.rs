//! Fences of which one side is almost free (layer L0).
//!
//! Owns: [`light_fence`] and [`heavy_fence`]. Must not know: what they order.
//! Keeps: nothing of its own; who uses them writes down which steps stand on the two sides.
//!
//! A light fence in one thread and a heavy fence in another order memory as two `SeqCst` fences
//! would. Readers pass millions of light ones for each heavy one. Where the system has a call
//! that makes every running thread of the process pass a full barrier, the light one only keeps
//! the compiler from moving accesses; elsewhere both are full fences.

#[cfg(all(target_os = "linux", not(loom)))]
mod imp {
    use crate::sync::{AtomicU32, Ordering, compiler_fence, fence};
    use libc::{SYS_membarrier, c_int, c_long, syscall};

    const REGISTER_PRIVATE_EXPEDITED: c_int = 1 << 4;
    const PRIVATE_EXPEDITED: c_int = 1 << 3;

    const UNKNOWN: u32 = 0;
    pub(super) const FULL: u32 = 1;
    const ASYMMETRIC: u32 = 2;

    /// Decided once, before any light fence of the process.
    static KIND: AtomicU32 = AtomicU32::new(UNKNOWN);

    fn membarrier(command: c_int) -> c_long {
        let (flags, processor): (c_int, c_int) = (0, 0);
        // SAFETY: the call takes three numbers and touches no memory of the caller.
        unsafe { syscall(SYS_membarrier, command, flags, processor) }
    }

    pub(crate) fn prepare_fences() {
        if KIND.load(Ordering::Acquire) == UNKNOWN {
            let works =
                membarrier(REGISTER_PRIVATE_EXPEDITED) == 0 && membarrier(PRIVATE_EXPEDITED) == 0;
            let kind = if works { ASYMMETRIC } else { FULL };
            // Who came first has decided, whatever this thread was told.
            let before = KIND.compare_exchange(UNKNOWN, kind, Ordering::AcqRel, Ordering::Acquire);
            debug_assert_ne!(before, Err(UNKNOWN));
        }
    }

    #[inline]
    pub(crate) fn light_fence() {
        light_fence_of(&KIND);
    }

    pub(crate) fn heavy_fence() -> bool {
        heavy_fence_of(&KIND)
    }

    #[inline(always)]
    pub(super) fn light_fence_of(kind: &AtomicU32) {
        if kind.load(Ordering::Relaxed) == ASYMMETRIC {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    pub(super) fn heavy_fence_of(kind: &AtomicU32) -> bool {
        fence(Ordering::SeqCst);
        // A process that restricts itself later may take back what it was granted.
        kind.load(Ordering::Acquire) != ASYMMETRIC || membarrier(PRIVATE_EXPEDITED) == 0
    }
}

/// Fences that order those who pass them among each other only, so that a model sees where one is
/// missing. Those of the model checker would order the rest, too.
#[cfg(loom)]
mod imp {
    use crate::sync::{are_meetings_denied, meet};

    pub(crate) fn prepare_fences() {}

    pub(crate) fn light_fence() {
        meet();
    }

    pub(crate) fn heavy_fence() -> bool {
        // As where a process has restricted itself.
        if are_meetings_denied() {
            return false;
        }
        meet();
        true
    }
}

#[cfg(all(not(target_os = "linux"), not(loom)))]
mod imp {
    use crate::sync::{Ordering, fence};

    pub(crate) fn prepare_fences() {}

    #[inline]
    pub(crate) fn light_fence() {
        fence(Ordering::SeqCst);
    }

    pub(crate) fn heavy_fence() -> bool {
        fence(Ordering::SeqCst);
        true
    }
}

/// Decides which kind of fences this process has. To be called before the first light fence.
pub(crate) use imp::prepare_fences;

/// The side of those who pass often.
pub(crate) use imp::light_fence;

/// The side of those who pass seldom. False where the system denies it, and nothing is ordered.
pub(crate) use imp::heavy_fence;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use crate::sync::AtomicU32;
    use crate::sync::{AtomicU64, Ordering, yield_now};

    const ROUNDS: u64 = 25_000;

    /// On a line of its own, two wide as those of the readers.
    #[derive(Default)]
    #[repr(align(128))]
    struct Line(AtomicU64);

    /// Two threads that begin each round together.
    #[derive(Default)]
    struct Gate(Line);

    impl Gate {
        fn pass(&self, round: u64) {
            self.0.0.fetch_add(1, Ordering::AcqRel);
            let mut looks = 0_u32;
            while self.0.0.load(Ordering::Acquire) < 2 * round {
                looks += 1;
                // The other one may be waiting for this processor.
                if looks > 1_000 {
                    yield_now();
                }
            }
        }
    }

    /// Writes the own line and looks at the other, round by round; whether it saw it written.
    fn run(gate: &Gate, own: &Line, other: &Line, passes: impl Fn() -> bool) -> Vec<bool> {
        let round = |round| {
            gate.pass(round);
            own.0.store(round, Ordering::Relaxed);
            let is_ordered = passes();
            other.0.load(Ordering::Relaxed) >= round || !is_ordered
        };
        (1..=ROUNDS).map(round).collect()
    }

    /// Both write and then look: the processor may take the look first, unless a fence stands
    /// between the two. Then one at least must see the other.
    fn check(light: impl Fn() + Sync, heavy: impl Fn() -> bool) {
        let (gate, reader, writer) = (Gate::default(), Line::default(), Line::default());
        let (light, heavy) = std::thread::scope(|scope| {
            let light = scope.spawn(|| {
                run(&gate, &reader, &writer, || {
                    light();
                    true
                })
            });
            let heavy = run(&gate, &writer, &reader, heavy);
            (light.join().expect("the reader does not panic"), heavy)
        });
        let missed = light.iter().zip(&heavy).filter(|&(&light, &heavy)| !light && !heavy).count();
        assert_eq!(missed, 0, "of {ROUNDS} rounds, neither saw the other");
    }

    #[test]
    fn one_of_two_who_write_and_look_sees_the_other() {
        prepare_fences();
        check(light_fence, heavy_fence);
        // As they are on a system that has no such call. Not in a test beside this one: with more
        // threads than processors the rounds take long.
        #[cfg(target_os = "linux")]
        {
            let kind = AtomicU32::new(imp::FULL);
            check(|| imp::light_fence_of(&kind), || imp::heavy_fence_of(&kind));
        }
    }
}
