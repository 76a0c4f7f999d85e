//! What only the operating system can tell or do: clocks, bytes, syncs, priorities.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Calls of fdatasync, fsync, msync and sync_file_range by whatever engine of this process, but
/// not those that let the disk begin and wait for nothing.
static SYNCS: AtomicU64 = AtomicU64::new(0);

pub fn syncs() -> u64 {
    SYNCS.load(Ordering::Relaxed)
}

/// The linker finds these before those of the C library; so every engine that is linked into this
/// program is counted, be it in Rust or in C, and none needs a hook.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod counted {
    use super::SYNCS;
    use libc::{c_int, c_long, c_void, size_t};
    use std::sync::atomic::Ordering;

    fn counted(result: c_long) -> c_int {
        SYNCS.fetch_add(1, Ordering::Relaxed);
        result as c_int
    }

    // SAFETY: the name and signature are those of the C library, whose meaning it keeps.
    #[unsafe(no_mangle)]
    extern "C" fn fdatasync(file: c_int) -> c_int {
        // SAFETY: the call takes any number.
        counted(unsafe { libc::syscall(libc::SYS_fdatasync, file) })
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    extern "C" fn fsync(file: c_int) -> c_int {
        // SAFETY: the call takes any number.
        counted(unsafe { libc::syscall(libc::SYS_fsync, file) })
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn msync(start: *mut c_void, len: size_t, flags: c_int) -> c_int {
        // SAFETY: what the caller vouches for is passed on.
        counted(unsafe { libc::syscall(libc::SYS_msync, start, len, flags) })
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    extern "C" fn sync_file_range(file: c_int, start: i64, len: i64, flags: u32) -> c_int {
        // SAFETY: the call takes any numbers.
        let result = unsafe { libc::syscall(libc::SYS_sync_file_range, file, start, len, flags) };
        let waits = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        if flags & waits == 0 { result as c_int } else { counted(result) }
    }
}

/// Bytes that this process has given to write calls, whatever file they went to.
pub fn bytes_written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let field = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    field.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The greatest resident memory of this process so far, in bytes.
pub fn peak_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = field.and_then(|rest| rest.trim().strip_suffix(" kB"));
    number.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Forgets the greatest memory so far. Returns what is resident now, in bytes.
pub fn reset_peak_memory() -> std::io::Result<u64> {
    std::fs::write("/proc/self/clear_refs", "5")?;
    Ok(peak_memory())
}

/// Whether files in a directory lie in memory, where a sync waits for no disk.
pub fn is_in_memory(directory: &Path) -> bool {
    /// `RAMFS_MAGIC` of the kernel, which the crate does not name.
    const RAMFS: u64 = 0x8584_58f6;
    let Ok(path) = CString::new(directory.as_os_str().as_bytes()) else { return false };
    // SAFETY: all-zero bytes are a valid value of this plain struct.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero, `about` is valid for writing.
    let is_known = unsafe { libc::statfs(path.as_ptr(), &mut about) } == 0;
    is_known && [libc::TMPFS_MAGIC as u64, RAMFS].contains(&(about.f_type as u64))
}

/// Returns freed memory to the system, where the allocator knows how.
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call takes any number, and moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has so many bytes of memory that is free be memory indeed, which whoever asks next may get. A
/// machine that is simulated may have given free memory back to its host, and the first touch of it
/// then takes ten times as long and more.
pub fn back_free_memory(bytes: usize) {
    let (flags, protection) =
        (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: a mapping of its own at a place that the system chooses; a length of 0 is refused.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return;
    }
    #[cfg(target_os = "linux")]
    // SAFETY: the range is the mapping. Such pages are those that are given back.
    unsafe {
        libc::madvise(start, bytes, libc::MADV_HUGEPAGE);
    }
    // SAFETY: the mapping is as long, may be written, and nobody else knows of it.
    unsafe { std::ptr::write_bytes(start.cast::<u8>(), 1, bytes) };
    // SAFETY: the range is the mapping, of which nothing is kept.
    unsafe { libc::munmap(start, bytes) };
}

/// CPU time of the whole process.
pub fn process_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

thread_local! {
    static IS_URGENT: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, this thread runs before all ordinary ones; where that is not allowed, nothing
/// changes. Only for bursts of some milliseconds: neighbours wait meanwhile.
pub struct Urgent(());

impl Urgent {
    pub fn begin() -> Urgent {
        IS_URGENT.set(schedule(libc::SCHED_RR, 1));
        Urgent(())
    }
}

impl Drop for Urgent {
    fn drop(&mut self) {
        if IS_URGENT.replace(false) {
            schedule(libc::SCHED_OTHER, 0);
        }
    }
}

/// Whether this process may run urgent bursts.
pub fn may_be_urgent() -> bool {
    let _urgent = Urgent::begin();
    IS_URGENT.get()
}

fn schedule(policy: i32, priority: i32) -> bool {
    // SAFETY: all-zero bytes are a valid value of this plain struct.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = priority;
    // SAFETY: the thread is this one, the parameters are valid for reading.
    unsafe { libc::sched_setscheduler(0, policy, &parameters) == 0 }
}

/// Binds this thread to one of the processors.
pub fn pin(thread: usize) {
    bind(|processor, count| processor == thread % count);
}

/// Lets this thread run on all processors again.
pub fn unpin() {
    bind(|_, _| true);
}

fn bind(may: impl Fn(usize, usize) -> bool) {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    // What this thread may use now is less once it is bound; so the system is asked.
    // SAFETY: the call takes any number.
    let count =
        usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }).unwrap_or(count);
    // SAFETY: all-zero bytes are the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for processor in (0..count).filter(|processor| may(*processor, count)) {
        // SAFETY: the number is below the set's size on any machine with 1,024 processors or less.
        unsafe { libc::CPU_SET(processor, &mut set) };
    }
    // SAFETY: the thread is this one, the set is valid for reading.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
}
