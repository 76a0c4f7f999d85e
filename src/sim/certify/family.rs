//! The family of workloads: four initial states, and from each all sequences of one to three
//! transactions of an alphabet of twelve.
//!
//! Owns: [`Workload`], its number, its name and its code.
//! Must not know: what a transaction does, how it is certified.
//! Keeps: number, name and code stand for one workload each.

use super::super::workloads::{Initial, Step};

/// Workloads from one initial state: sequences of one, two, three of twelve.
const PER_INITIAL: usize = 12 + 12 * 12 + 12 * 12 * 12;

/// How many workloads the family has.
pub const FAMILY: usize = Initial::ALL.len() * PER_INITIAL;

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
    /// If the family has no such number.
    pub fn numbered(number: usize) -> Workload {
        let initial = Initial::ALL[number / PER_INITIAL];
        let mut place = number % PER_INITIAL;
        let mut len = 1;
        let mut sequences = Step::ALL.len();
        while place >= sequences {
            place -= sequences;
            sequences *= Step::ALL.len();
            len += 1;
        }
        let mut steps = Vec::new();
        for _ in 0..len {
            steps.push(Step::ALL[place % Step::ALL.len()]);
            place /= Step::ALL.len();
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
        let step = |name: &str| Step::ALL.into_iter().find(|known| known.name() == name);
        let steps: Vec<Step> = steps.split(',').map(step).collect::<Option<_>>()?;
        (1..=3).contains(&steps.len()).then_some(Workload { initial, steps })
    }

    /// The name in one digit and a letter for each transaction: `1aj`.
    pub fn code(&self) -> String {
        let place = |step: &Step| Step::ALL.iter().position(|known| known == step).unwrap_or(0);
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
        assert_eq!(FAMILY, 7536);
        let (mut names, mut codes) = (BTreeSet::new(), BTreeSet::new());
        for number in 0..FAMILY {
            let workload = Workload::numbered(number);
            assert_eq!(Workload::named(&workload.name()), Some(workload.clone()));
            names.insert(workload.name());
            codes.insert(workload.code());
        }
        assert_eq!((names.len(), codes.len()), (FAMILY, FAMILY));
        assert_eq!(Workload::named("empty/put-new,unknown"), None);
        assert_eq!(Workload::named("empty/put-new,grow,grow,grow"), None);
    }
}
