//! The families of workloads: four initial states, and from each all sequences of one to three
//! transactions of an alphabet of twelve; and, from the empty store, all of two alphabets of five:
//! in the one leaves that have lost entries become roots, and owned transactions fill leaves; in
//! the other there are buckets enough for a tree of them.
//!
//! Owns: [`Workload`], its number, its name and its code.
//! Must not know: what a transaction does, how it is certified.
//! Keeps: number, name and code stand for one workload each.

use super::super::workloads::{Initial, Step};
use std::ops::Range;

/// Workloads from one initial state: sequences of one, two, three of so many.
const fn per_initial(steps: usize) -> usize {
    steps + steps * steps + steps * steps * steps
}

const PER_INITIAL: usize = per_initial(Step::ALL.len());

/// How many workloads the family has that most parts of the certificate consist of.
pub const FAMILY: usize = Initial::ALL.len() * PER_INITIAL;

/// How many workloads each family has that begins with the empty store. Their numbers begin behind
/// the others, of one family after the other.
const OF_FIVE: usize = per_initial(5);

/// Which workloads there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Four initial states, twelve transactions.
    Common,
    /// The empty store, and five transactions: [`Step::OF_ROOTS`].
    Roots,
    /// The empty store, and five transactions: [`Step::OF_BUCKETS`].
    Buckets,
}

impl Family {
    /// All of them.
    const ALL: [Family; 3] = [Family::Common, Family::Roots, Family::Buckets];

    /// The transactions of its workloads.
    pub fn steps(self) -> &'static [Step] {
        match self {
            Family::Common => &Step::ALL,
            Family::Roots => &Step::OF_ROOTS,
            Family::Buckets => &Step::OF_BUCKETS,
        }
    }

    /// The numbers of its workloads.
    pub fn numbers(self) -> Range<usize> {
        match self {
            Family::Common => 0..FAMILY,
            Family::Roots => FAMILY..FAMILY + OF_FIVE,
            Family::Buckets => FAMILY + OF_FIVE..FAMILY + 2 * OF_FIVE,
        }
    }
}

/// One workload of the family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What the store holds at first.
    pub initial: Initial,
    /// The transactions, one to three.
    pub steps: Vec<Step>,
}

impl Workload {
    /// The workload with this number, from 0.
    ///
    /// # Panics
    /// If no family has such a number.
    pub fn numbered(number: usize) -> Workload {
        let family = Family::ALL.into_iter().find(|family| family.numbers().contains(&number));
        let Some(family) = family else { panic!("no workload has the number {number}") };
        let is_common = family == Family::Common;
        let place = number - family.numbers().start;
        let initial = if is_common { Initial::ALL[place / PER_INITIAL] } else { Initial::Empty };
        let mut place = if is_common { place % PER_INITIAL } else { place };
        let all = family.steps();
        let (mut len, mut sequences) = (1, all.len());
        while place >= sequences {
            place -= sequences;
            sequences *= all.len();
            len += 1;
        }
        let mut steps = Vec::new();
        for _ in 0..len {
            steps.push(all[place % all.len()]);
            place /= all.len();
        }
        Workload { initial, steps }
    }

    /// The name, as in tokens: `one-leaf/put-new,grow`.
    pub fn name(&self) -> String {
        let steps: Vec<&str> = self.steps.iter().map(|step| step.name()).collect();
        format!("{}/{}", self.initial.name(), steps.join(","))
    }

    /// The workload with this name.
    pub fn named(name: &str) -> Option<Workload> {
        let (initial, steps) = name.split_once('/')?;
        let initial = Initial::ALL.into_iter().find(|known| known.name() == initial)?;
        let step = |name: &str| Step::every().find(|known| known.name() == name);
        let steps: Vec<Step> = steps.split(',').map(step).collect::<Option<_>>()?;
        (1..=3).contains(&steps.len()).then_some(Workload { initial, steps })
    }

    /// The name in one digit and a letter for each transaction: `1aj`.
    pub fn code(&self) -> String {
        let place = |step: &Step| Step::every().position(|known| known == *step).unwrap_or(0);
        let letters = ('a'..='z').collect::<Vec<char>>();
        let mut code = (self.initial as usize).to_string();
        code.extend(self.steps.iter().map(|step| letters[place(step)]));
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_workload_has_one_number_one_name_and_one_code() {
        assert_eq!((FAMILY, OF_FIVE), (7536, 155));
        for family in Family::ALL {
            let (mut names, mut codes) = (BTreeSet::new(), BTreeSet::new());
            for number in family.numbers() {
                let workload = Workload::numbered(number);
                assert_eq!(Workload::named(&workload.name()), Some(workload.clone()));
                names.insert(workload.name());
                codes.insert(workload.code());
            }
            let len = family.numbers().len();
            assert_eq!((names.len(), codes.len()), (len, len));
        }
        assert_eq!(Workload::numbered(FAMILY + OF_FIVE - 1).code(), "0lll");
        assert_eq!(Workload::numbered(FAMILY + 5).code(), "0mm");
        assert_eq!(Workload::numbered(FAMILY + OF_FIVE + 5).code(), "0pp");
        assert_eq!(Workload::named("empty/put-new,unknown"), None);
        assert_eq!(Workload::named("empty/put-new,grow,grow,grow"), None);
    }
}
