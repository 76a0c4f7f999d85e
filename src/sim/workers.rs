//! Work on several threads.
//!
//! Owns: [`on_threads`]. Must not know: what is worked at, or how it is shared out.

use std::thread::{Builder, scope};

/// Does some work on this thread, and on others beside it: on as many threads as wanted, or as the
/// system has. What each of them returns. So the work shares itself out, and one thread does all
/// of it where there is no other.
///
/// # Panics
/// If the work does.
pub(super) fn on_threads<T: Send>(threads: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    scope(|scope| {
        let begin = |_| Builder::new().spawn_scoped(scope, &work).ok();
        let others: Vec<_> = (1..threads).map_while(begin).collect();
        let mut all = vec![work()];
        for other in others {
            all.push(other.join().expect("the panic of a thread is told by itself"));
        }
        all
    })
}
