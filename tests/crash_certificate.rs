//! Does the store come back right from every crash, in a sample of the family of workloads that
//! the certificate covers as a whole?
#![cfg(feature = "sim")]

use btree_store::Barriers;
use btree_store::sim::certify::{Certifier, FAMILY, Faults, Initial, Row, Step, Workload, rows_of};
use std::collections::BTreeSet;

/// The levels of the tree after these steps, from each initial state.
fn heights(page_size: u32, steps: &[Step]) -> [u8; 4] {
    let certifier = Certifier::new(page_size);
    Initial::ALL.map(|initial| certifier.height(initial, steps).expect("the workload runs"))
}

#[test]
fn the_initial_states_have_the_shapes_they_are_named_for() {
    for page_size in [512, 4096] {
        assert_eq!(heights(page_size, &[]), [0, 1, 2, 3], "{page_size}");
        assert_eq!(heights(page_size, &[Step::PutSplit]), [2, 2, 3, 3], "{page_size}");
    }
}

/// A leaf that has lost an entry is held with a plan: the cache of a trial has room for that.
#[test]
fn a_leaf_that_has_lost_entries_becomes_the_root() {
    let certifier = Certifier::of_roots();
    let height = |steps: &[Step]| certifier.height(Initial::Empty, steps).expect("it runs");
    assert_eq!(height(&[Step::PutLarge]), 2);
    assert_eq!(height(&[Step::PutLarge, Step::DeleteToRoot]), 1);
}

/// No part, and none of its samples, leaves a transaction out at the beginning of a workload, or at
/// its end, where faults and crashes begin.
#[test]
fn samples_begin_and_end_with_every_transaction() {
    for certifier in Certifier::all() {
        let wanted = certifier
            .family
            .steps()
            .iter()
            .filter(|step| !certifier.without.contains(step))
            .count();
        let mut strides = vec![vec![1]];
        if certifier.faults == Faults::Each {
            let Certifier { all_faults_every, recoveries_every, behind_faults_every, .. } =
                certifier;
            let each = [all_faults_every, recoveries_every, behind_faults_every];
            strides.extend(each.map(|stride| vec![stride]));
            // Behind most faults the power fails again where both say so.
            strides.push(vec![all_faults_every, behind_faults_every]);
        }
        for stride in strides {
            let is_taken =
                |number: &usize| stride.iter().all(|stride| number.is_multiple_of(*stride));
            let numbers = certifier.numbers().into_iter().filter(is_taken);
            let steps: Vec<_> = numbers.map(|number| Workload::numbered(number).steps).collect();
            let first: BTreeSet<&str> = steps.iter().map(|steps| steps[0].name()).collect();
            let last: BTreeSet<&str> =
                steps.iter().map(|steps| steps[steps.len() - 1].name()).collect();
            for names in [first, last] {
                assert_eq!(names.len(), wanted, "{}, every {stride:?}: {names:?}", certifier.tag());
            }
        }
    }
}

/// Pages of 4,096 bytes are what most stores have: of their part a tenth of the family is asked
/// for.
#[test]
fn a_tenth_of_the_family_has_large_pages() {
    let all = Certifier::all();
    let large: Vec<_> = all.iter().filter(|certifier| certifier.tag() == "4096").collect();
    assert!(large.iter().any(|certifier| certifier.numbers().len() * 10 >= FAMILY), "{large:?}");
}

/// Another part of the family in each kind of disk, faults included where the part has them.
#[test]
fn a_sample_of_each_part_of_the_certificate_holds() {
    for (place, certifier) in Certifier::all().into_iter().enumerate() {
        let numbers = certifier.numbers();
        let wanted = numbers.len() / 8;
        let some: Vec<usize> = numbers.into_iter().skip(place * 7).step_by(wanted).collect();
        let part = certifier.run_some(&some, 2).expect("the initial states can be made");
        let failures: Vec<String> = part
            .failures()
            .map(|row| {
                let name = Workload::numbered(row.number).name();
                format!("{name}: {:?}, {:?}", row.verdict, row.violation)
            })
            .collect();
        assert!(failures.is_empty(), "{}: {failures:#?}", certifier.tag());
        assert!(part.executions() > 100, "{}: {}", certifier.tag(), part.executions());
    }
}

/// After a compaction that crashes once its last state is whole, the other slot holds a longer one:
/// the first commit once grew the file to a length that cut that one off.
#[test]
fn a_file_is_not_cut_while_a_slot_holds_a_longer_state() {
    let names = [
        "three-levels/delete-merge,delete-merge,compact",
        "three-levels/delete-merge,grow,compact",
    ];
    let is_named = |number: &usize| names.contains(&Workload::numbered(*number).name().as_str());
    let numbers: Vec<usize> = (0..FAMILY).filter(is_named).collect();
    assert_eq!(numbers.len(), names.len());
    let part = Certifier::new(512).run_some(&numbers, 2).expect("the initial states can be made");
    let found: Vec<_> = part.failures().map(|row| row.violation.as_deref()).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// The process that recovers from a crash meets a fault, and the next one commits.
#[test]
fn recoveries_that_fail_are_followed_by_ones_that_do_not() {
    let names = ["empty/put-new", "two-levels/put-new", "one-leaf/put-split,compact"];
    let is_named = |number: &usize| names.contains(&Workload::numbered(*number).name().as_str());
    let numbers: Vec<usize> = (0..FAMILY).filter(is_named).collect();
    for barriers in [Barriers::One, Barriers::Two] {
        let certifier = Certifier { barriers, recoveries_every: 1, ..Certifier::new(512) };
        let without = Certifier { recoveries_every: FAMILY, ..certifier.clone() };
        let part = certifier.run_some(&numbers, 2).expect("the initial states can be made");
        let found: Vec<_> = part.failures().map(|row| row.violation.as_deref()).collect();
        assert!(found.is_empty(), "{found:#?}");
        let fewer = without.run_some(&numbers[1..], 2).expect("the initial states can be made");
        let [all, fewer] =
            [&part, &fewer].map(|part| part.rows[part.rows.len() - 1].fault_executions);
        assert!(all > fewer + 100, "{all} after {fewer}");
    }
}

/// Behind a fault the recovery is crashed only in a sample.
#[test]
fn recoveries_behind_faults_are_crashed_where_the_certificate_says() {
    let fault_executions = |behind_faults_every| {
        let certifier = Certifier { behind_faults_every, ..Certifier::new(512) };
        let part = certifier.run_some(&[1], 2).expect("the initial states can be made");
        assert_eq!(part.failures().count(), 0, "{:?}", part.rows[0].violation);
        part.rows[0].fault_executions
    };
    let (crashed, others) = (fault_executions(1), fault_executions(2));
    assert!(crashed > 2 * others, "{crashed}, {others} without");
}

#[test]
fn a_search_that_is_cut_off_is_unverified_in_the_certificate() {
    let certifier = Certifier { executions_max: 20, ..Certifier::new(512) };
    let part = certifier.run_some(&[0], 1).expect("the initial states can be made");
    assert_eq!(part.failures().count(), 1);
    assert!(part.rows[0].line().contains("UNVERIFIED"), "{}", part.rows[0].line());
}

#[test]
fn the_same_workload_has_the_same_row_each_time() {
    let certifier = Certifier::new(512);
    let lines = || {
        let part = certifier.run_some(&[1, 4000], 2).expect("the initial states can be made");
        part.rows.iter().map(Row::line).collect::<Vec<_>>()
    };
    assert_eq!(lines(), lines());
}

/// The file is complete: each part has a row for each of its workloads, and all are verified.
/// That its rows are those of this very engine, `examples/certify.rs` shows with `recheck`.
#[test]
fn the_certificate_is_whole() {
    let text = include_str!("../docs/certificate.json");
    assert!(text.contains("\"verdict\": \"verified\""));
    assert!(text.contains(&format!("\"family\": {FAMILY}")));
    for certifier in Certifier::all() {
        let rows = rows_of(text, &certifier.tag());
        let numbers = certifier.numbers();
        assert_eq!(rows.len(), numbers.len(), "{}", certifier.tag());
        for (row, number) in rows.into_iter().zip(numbers) {
            let begin = format!("[\"{}\", \"verified\", ", Workload::numbered(number).code());
            assert!(row.starts_with(&begin), "{}: {row}", certifier.tag());
        }
    }
}
