//! Does the store come back right from every crash, in a sample of the family of workloads that
//! the certificate covers as a whole?
#![cfg(feature = "sim")]

use btree_store::sim::certify::{Certifier, Faults, Initial, Step};

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

#[test]
fn a_sample_of_the_certificate_holds() {
    let mut certifier = Certifier::new(512);
    certifier.every = 101;
    certifier.faults = Faults::None;
    let certificate = certifier.run(2).expect("the initial states can be made");
    let failures: Vec<_> = certificate.failures().collect();
    assert!(failures.is_empty(), "{failures:#?}");
    println!("{}", certificate.to_json());
}
