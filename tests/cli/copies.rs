//! Copies of a store, as files and as streams.

use super::Place;
use super::json::Json;

#[test]
fn a_copy_and_a_restored_stream_hold_what_the_store_holds() {
    let place = Place::with_store();
    let dump = place.run("dump @data.db").out;
    assert_eq!(place.run("backup @data.db @copy.db").done(), "201 entries of 21 buckets\n");
    let json = Json::read(place.run("backup @data.db @other.db --json").done());
    assert_eq!((json.number("entries"), json.number("buckets")), (201, 21));
    let stream = place.run("backup @data.db").out;
    let restored = place.run_with(&["restore", "@restored.db"], &stream);
    assert_eq!(restored.done(), "201 entries of 21 buckets\n");
    for name in ["copy.db", "other.db", "restored.db"] {
        assert!(place.run(&format!("check @{name}")).done().ends_with("sound\n"));
        assert!(place.run(&format!("dump @{name}")).out == dump, "{name}");
    }
}

#[test]
fn a_copy_takes_no_place_of_another_and_a_cut_stream_makes_none() {
    let place = Place::with_store();
    std::fs::write(place.path("there"), "something else").unwrap();
    place.run("backup @data.db @there").refused(5, &["there", "exists"]);
    place.run("restore @there").refused(3, &["there"]);
    assert_eq!(std::fs::read(place.path("there")).unwrap(), b"something else");
    let stream = place.run("backup @data.db").out;
    for len in [0, 7, stream.len() / 2, stream.len() - 1] {
        place.run_with(&["restore", "@new.db"], &stream[..len]).refused(3, &["new.db"]);
        assert!(!place.path("new.db").exists(), "{len} bytes");
    }
    place.run_with(&["restore", "@data.db"], &stream).refused(5, &["data.db"]);
    place.run("backup @missing.db").refused(5, &["missing.db"]);
    place.run("backup @data.db --json").refused(2, &["stream"]);
}
