//! A sample of the certificate's workloads, up to the first violation: whose workload is small
//! then, whose token is short, and which is found again from the token alone, at once.

use crate::matrix::budget::{Budget, Kill};
use btree_store::seeded::Bug;
use btree_store::sim::certify::{Certifier, Family, Workload};
use std::time::Instant;

/// Of so many workloads one is run.
const EVERY: usize = 301;
/// And this one: the file is longer than it needs to be when the power fails.
const LONG: &str = "three-levels/delete-merge,grow,compact";
/// Then this one, whose recoveries fail: its transaction writes two pages, so that the next one can
/// write one of them as it was.
const RECOVERED: &str = "two-levels/put-new";
/// Then these of the part about roots.
const OF_ROOTS: [&str; 2] = ["empty/put-large,delete-to-root", "empty/put-large,fill-owned"];
/// Last these of the part about buckets.
const OF_BUCKETS: [&str; 2] = ["empty/put-buckets,drop-bucket", "empty/put-runs,drop-bucket"];
/// What a failure shows is short: characters of its token, transactions, seconds of its replay.
const TOKEN_MAX: usize = 300;
const STEPS_MAX: usize = 3;
const SECONDS_MAX: f64 = 1.0;

/// A workload of a part, by name.
fn named<'c>(certifier: &'c Certifier, name: &str) -> Option<(&'c Certifier, usize)> {
    let is_it = |number: &usize| Workload::numbered(*number).name() == name;
    Some((certifier, certifier.numbers().into_iter().find(is_it)?))
}

pub fn run(budget: &mut Budget) -> Option<Kill> {
    let certifier = Certifier::new(512);
    let recovering = Certifier { recoveries_every: 1, ..certifier.clone() };
    let of_roots = Certifier::of_roots();
    let of_buckets = Certifier { family: Family::Buckets, ..of_roots.clone() };
    let some = certifier.numbers().into_iter().step_by(EVERY).map(|number| (&certifier, number));
    let recovered = named(&recovering, RECOVERED);
    let roots = OF_ROOTS.into_iter().filter_map(|name| named(&of_roots, name));
    let buckets = OF_BUCKETS.into_iter().filter_map(|name| named(&of_buckets, name));
    let others = recovered.into_iter().chain(roots).chain(buckets);
    for (certifier, number) in some.chain(named(&certifier, LONG)).chain(others) {
        let part = match certifier.run_some(&[number], 1) {
            Ok(part) => part,
            Err(error) => return Some(Kill(format!("an initial state: {error}"))),
        };
        budget.spend_many(part.executions());
        if let Some(violation) = part.failures().find_map(|row| row.violation.as_deref()) {
            // What goes by chance does not come again.
            if budget.bug != Some(Bug::PlacedByChance)
                && let Some(complaint) = complaint(violation)
            {
                print!("\nTOLD BADLY {complaint}");
            }
            return Some(Kill(violation.to_owned()));
        }
        // With a bug there may be many more executions; without one it is no pass.
        if let Some(row) = part.failures().next()
            && budget.bug.is_none()
        {
            let name = Workload::numbered(row.number).name();
            return Some(Kill(format!("{name}: {} executions are too few", row.executions)));
        }
    }
    None
}

/// What is wrong with how a failure was told.
fn complaint(violation: &str) -> Option<String> {
    let (_, token) = violation.rsplit_once("replay token: ")?;
    let name = token.split('@').next().unwrap_or_default();
    let steps = Workload::named(name).map_or(usize::MAX, |workload| workload.steps.len());
    let began = Instant::now();
    let replayed = Certifier::replay(token);
    let seconds = began.elapsed().as_secs_f64();
    let again = match replayed {
        Ok(Some(again)) if again == violation => None,
        Ok(Some(_)) => Some("a replay that tells something else".to_owned()),
        Ok(None) => Some("a replay that passes".to_owned()),
        Err(error) => Some(format!("a replay that fails: {error}")),
    };
    let long = (token.len() > TOKEN_MAX).then(|| format!("a token of {} characters", token.len()));
    let large = (steps > STEPS_MAX).then(|| format!("a workload of {steps} transactions"));
    let slow = (seconds > SECONDS_MAX).then(|| format!("a replay of {seconds:.1} s"));
    let complaint = [again, long, large, slow].into_iter().flatten().next()?;
    Some(format!("{complaint}: {token}"))
}
