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

/// The same, in runs of so many steps together: a long workload of which nothing can be left out is
/// not run a hundred thousand times.
pub(super) fn minimise_within<S: Clone>(
    steps_max: usize,
    steps: &[S],
    mut fails: impl FnMut(&[S]) -> bool,
) -> Vec<S> {
    let mut left = steps_max;
    minimise(steps, |tried| {
        let Some(rest) = left.checked_sub(tried.len()) else { return false };
        left = rest;
        fails(tried)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_has_a_bound_and_what_is_left_fails() {
        let steps: Vec<u32> = (0..1_000).collect();
        let mut run = 0;
        let small = minimise_within(10_000, &steps, |tried| {
            run += tried.len();
            tried.contains(&17) && tried.len() > 900
        });
        assert!(run <= 10_000 && small.contains(&17) && small.len() > 900, "{run}: {small:?}");
        let small = minimise_within(100_000, &steps, |tried| tried.contains(&17));
        assert_eq!(small, [17]);
    }
}
