//! Frames that nobody may read, closed to `AddressSanitizer` (part of arena, layer L2).
//!
//! Owns: [`close`] and [`open`], which do nothing but where a program is built with
//! `--cfg poisoned`, as `fuzz/run` does. All frames are one piece of memory, in which a sanitizer
//! sees no borders by itself.
//! Must not know: which frames are in use.

#[cfg(poisoned)]
unsafe extern "C" {
    fn __asan_poison_memory_region(at: *const u8, len: usize);
    fn __asan_unpoison_memory_region(at: *const u8, len: usize);
}

/// From now on reading these bytes is an error.
#[inline]
pub(super) fn close(at: *const u8, len: usize) {
    #[cfg(poisoned)]
    // SAFETY: it notes that the bytes are closed, and looks at none of them.
    unsafe {
        __asan_poison_memory_region(at, len);
    }
    #[cfg(not(poisoned))]
    let (_, _) = (at, len);
}

/// From now on they may be read and written.
#[inline]
pub(super) fn open(at: *const u8, len: usize) {
    #[cfg(poisoned)]
    // SAFETY: it notes that the bytes are open, and looks at none of them.
    unsafe {
        __asan_unpoison_memory_region(at, len);
    }
    #[cfg(not(poisoned))]
    let (_, _) = (at, len);
}
