//! Do the examples of crash tests find what is wrong, and nothing in what is right?
#![cfg(feature = "sim")]

#[path = "../examples/crash_test_plain_files.rs"]
mod plain_files;
#[path = "../examples/crash_test_segments.rs"]
mod segments;
#[path = "../examples/crash_test_your_app.rs"]
mod your_app;

use btree_store::sim::Verdict;
use plain_files::Save;
use segments::Mistake;
use your_app::{Export, STEPS, Step};

#[test]
fn the_ledgers_hasty_export_is_found_and_made_small() {
    let report = your_app::explore(Export::Hasty, &STEPS, 0);
    assert_eq!(report.verdict, Verdict::Violated, "{report}");
    let steps = your_app::smallest_failing(Export::Hasty, &STEPS);
    assert!(matches!(steps[..], [Step::Transfer { .. }, Step::Export]), "{steps:?}");
    let violation = your_app::explore(Export::Hasty, &steps, 0).violation.expect("it fails");
    assert!(violation.message.starts_with("after another export"), "{violation}");
    assert!(violation.token.len() <= 300 && violation.story.contains("the power fails"));
    let again = your_app::replay(Export::Hasty, &steps, &violation.token).expect("a token");
    assert_eq!(again, Some(violation.message));
    let mended = your_app::replay(Export::Careful, &steps, &violation.token);
    assert!(mended.is_err(), "the token of another workload is refused");
}

#[test]
fn the_ledgers_careful_export_survives_every_crash_and_every_crash_after_it() {
    let report = your_app::explore(Export::Careful, &STEPS, 1);
    assert!(report.is_verified(), "{report}");
    assert!(report.points.len() >= 12 && report.executions >= 300, "{report}");
}

#[test]
fn a_file_renamed_before_it_is_durable_is_found() {
    let violation = plain_files::explore(Save::NoFileSync).violation.expect("it fails");
    assert!(violation.message.starts_with("found \"version"), "{violation}");
}

#[test]
fn a_name_that_is_not_made_durable_is_found() {
    let violation = plain_files::explore(Save::NoDirectorySync).violation.expect("it fails");
    assert!(violation.story.contains("the name changed by #5: lost"), "{violation}");
}

#[test]
fn write_sync_rename_sync_survives_every_crash() {
    let report = plain_files::explore(Save::Right);
    assert!(report.is_verified(), "{report}");
    assert_eq!(report.points.len(), 7, "two syncs for each of three versions, and the end");
    assert!(report.executions > report.points.len() as u64, "{report}");
}

#[test]
fn a_directory_whose_name_is_not_made_durable_is_found() {
    let violation = segments::explore(Mistake::NoParentSync).violation.expect("it fails");
    assert!(violation.message.starts_with("found \"\", not the first 1 to "), "{violation}");
    assert!(violation.story.contains("#1 create_dir log\n"), "{violation}");
    assert!(violation.story.contains("the name changed by #1: lost"), "{violation}");
}

#[test]
fn a_segment_whose_name_is_not_made_durable_is_found() {
    let violation = segments::explore(Mistake::NoSegmentNameSync).violation.expect("it fails");
    assert!(violation.story.contains("the name changed by #5: lost"), "{violation}");
    assert!(violation.story.contains("open: NotFound log/1"), "{violation}");
}

#[test]
fn a_listing_taken_for_a_manifest_is_found() {
    let violation = segments::explore(Mistake::TrustsListing).violation.expect("it fails");
    assert!(violation.message.starts_with("found \""), "{violation}");
    assert!(violation.story.contains("read_dir of log\n"), "{violation}");
}

#[test]
fn segments_and_a_manifest_survive_every_crash() {
    let report = segments::explore(Mistake::None);
    assert!(report.is_verified(), "{report}");
    assert_eq!(report.points.len(), 18, "the directory, four for each of four changes, the end");
    assert!(report.executions > 50, "{report}");
}

#[test]
fn the_examples_run() {
    your_app::main();
    plain_files::main();
    segments::main();
}
