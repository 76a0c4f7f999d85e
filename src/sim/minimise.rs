//! Making a failing workload small.
//!
//! Owns: [`minimise`]. Must not know: what a step is. Keeps: what it returns fails.

/// Leaves out steps of a failing workload as long as it still fails: large pieces first, single
/// steps at last. `fails` says whether a workload of these steps fails.
///
/// ```
/// use btree_store::sim::minimise;
/// let steps: Vec<u32> = (0..100).collect();
/// let small = minimise(&steps, |steps| steps.contains(&17) && steps.contains(&71));
/// assert_eq!(small, [17, 71]);
/// ```
pub fn minimise<S: Clone>(steps: &[S], mut fails: impl FnMut(&[S]) -> bool) -> Vec<S> {
    let mut held = steps.to_vec();
    let mut piece = held.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        let mut shorter = false;
        while at < held.len() {
            let mut without = held.clone();
            without.drain(at..(at + piece).min(held.len()));
            if fails(&without) {
                held = without;
                shorter = true;
            } else {
                at += piece;
            }
        }
        // A single step may become superfluous once a later one is gone.
        if !(shorter && piece == 1) {
            piece /= 2;
        }
    }
    held
}
