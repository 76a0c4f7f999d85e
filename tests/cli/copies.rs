//! Copies of a store, as files and as streams.

use super::json::Json;
use super::{Place, command};

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

#[test]
fn a_chain_of_increments_is_restored_at_once_or_one_by_one() {
    let place = Place::with_store();
    let told = place.run("backup @data.db @full --since 0").done().to_owned();
    let (state, rest) = told.strip_prefix("state ").unwrap().split_once(": ").unwrap();
    assert!(rest.ends_with(" entries of 21 buckets\n"), "{told}");
    place.run("put @data.db users new entry").done();
    let next = format!("backup @data.db @next --since {state} --json");
    let next = Json::read(place.run(&next).done());
    assert_eq!(
        (next.number("seq"), next.number("buckets")),
        (state.parse::<u64>().unwrap() + 1, 21)
    );
    place.run("del @data.db users new").done();
    // The last one as a stream.
    let last = place.run(&format!("backup @data.db --since {}", next.number("seq")));
    assert_eq!(last.err, format!("state {}\n", next.number("seq") + 1));
    let last = last.out;
    std::fs::write(place.path("last"), &last).unwrap();
    assert_eq!(
        place.run("restore @all.db @full @next @last").done(),
        "201 entries of 21 buckets\n"
    );
    place.run("restore @one.db @full").done();
    place.run("restore @two.db --onto @one.db @next").done();
    let three = place.run_with(&["restore", "@three.db", "--onto", "@two.db"], &last);
    assert_eq!(three.done(), "201 entries of 21 buckets\n");
    let dump = place.run("dump @data.db").out;
    for name in ["all.db", "three.db"] {
        assert!(place.run(&format!("check @{name}")).done().ends_with("sound\n"));
        assert!(place.run(&format!("dump @{name}")).out == dump, "{name}");
    }
    place.run("restore @no.db @full @last").refused(2, &["no.db", "last: ", "another state"]);
    place.run("restore @no.db --onto @one.db @last").refused(2, &["another state"]);
    place.run("restore @no.db --onto @one.db @next @last").refused(2, &["one stream"]);
    place.run("restore @no.db --onto @missing.db @next").refused(5, &["missing.db"]);
    place.run("restore @no.db @missing").refused(5, &["missing"]);
    place.run("backup @data.db @full --since 0").refused(5, &["full", "exists"]);
    place.run("backup @data.db @no --since 999999").refused(2, &["no", "earlier state"]);
    assert!(!place.path("no.db").exists() && !place.path("no").exists());
    let both = ["full", "next"].map(|name| std::fs::read(place.path(name)).unwrap()).concat();
    place.run_with(&["restore", "@both.db"], &both).refused(2, &["follow"]);
    // Of whichever kind, from a file or from standard input: nothing is left of it.
    std::fs::write(place.path("both"), &both).unwrap();
    let whole = [&place.run("backup @data.db").out[..], b"x"].concat();
    std::fs::write(place.path("whole"), &whole).unwrap();
    let onto = [&std::fs::read(place.path("next")).unwrap()[..], b"x"].concat();
    std::fs::write(place.path("onto"), &onto).unwrap();
    let names = || std::fs::read_dir(place.dir.path()).unwrap().count();
    let before = names();
    place.run("restore @both.db @both").refused(2, &["both", "nothing was made", "follow"]);
    place.run("restore @both.db @whole").refused(2, &["nothing was made", "follow"]);
    place.run_with(&["restore", "@both.db"], &whole).refused(2, &["nothing was made", "follow"]);
    place.run("restore @both.db --onto @one.db @onto").refused(2, &["nothing was made", "follow"]);
    assert!(!place.path("both.db").exists() && names() == before, "{} names", names());
}

/// Its target had a piece of the stream.
#[cfg(unix)]
#[test]
fn a_part_that_ends_too_early_leaves_no_target() {
    use std::os::unix::process::ExitStatusExt;
    const SIGXFSZ: i32 = 25;
    let place = Place::with_store();
    let names = || std::fs::read_dir(place.dir.path()).unwrap().count();
    // The system kills a process that makes a file longer than this.
    let line = "ulimit -c 0; ulimit -f 4; exec \"$0\" backup data.db part --since 0";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", line, env!("CARGO_BIN_EXE_btree-store")]).current_dir(place.dir.path());
    let ended = shell.output().unwrap();
    assert_eq!(ended.status.signal(), Some(SIGXFSZ), "{ended:?}");
    assert!(!place.path("part").exists() && names() > 1, "it was killed before it wrote");
    // What is left of it is in nobody's way.
    part(&place, "part", 0);
    assert_eq!(names(), 2);
    place.run("restore @restored.db @part").done();
    let page = super::codes::damage_a_leaf(&place);
    let damaged = place.run("backup @data.db @other --since 0");
    damaged.refused(3, &["other: ", &format!("page {page}: ")]);
    assert_eq!(names(), 3, "something of it is left");
}

/// Writes what is newer than a state to a file. Returns the state that it leads to.
fn part(place: &Place, name: &str, since: u64) -> u64 {
    let line = format!("backup @data.db @{name} --since {since} --json");
    Json::read(place.run(&line).done()).number("seq")
}

#[test]
fn what_follows_a_stream_of_a_chain_is_told() {
    let place = Place::with_store();
    let full = part(&place, "full", 0);
    place.run("put @data.db users new 1").done();
    let next = part(&place, "next", full);
    place.run("put @data.db users new 2").done();
    part(&place, "last", next);
    let both = ["next", "last"].map(|name| std::fs::read(place.path(name)).unwrap()).concat();
    std::fs::write(place.path("both"), both).unwrap();
    place.run("restore @made.db @full @both").refused(2, &["both", "follow"]);
    let first = [&std::fs::read(place.path("full")).unwrap()[..], b"x"].concat();
    std::fs::write(place.path("first"), first).unwrap();
    place.run("restore @made.db @first @next @last").refused(2, &["first", "follow"]);
    place.run("restore @made.db @full @next @missing").refused(5, &["read", "missing", "No such"]);
    let whole = std::fs::read(place.path("next")).unwrap();
    std::fs::write(place.path("cut"), &whole[..whole.len() - 1]).unwrap();
    place.run("restore @made.db @full @cut @last").refused(3, &["made.db: ", "cut: "]);
    assert!(!place.path("made.db").exists());
    // Of the new file, and of no stream.
    let there = place.run("restore @data.db @full @next @last");
    there.refused(5, &["data.db: the file exists"]);
    place.run("restore @made.db @full @next @last").done();
    assert_eq!(place.run("get @made.db users new").done(), "2");
}

/// As long as all of them were open at once, a chain ended where the system ran out of files.
#[cfg(unix)]
#[test]
fn a_chain_may_have_more_streams_than_files_may_be_open() {
    let place = Place::with_store();
    let mut since = 0;
    for at in 0..40 {
        since = part(&place, &format!("part-{at:02}"), since);
        place.run(&format!("put @data.db users key {at}")).done();
    }
    let line = "ulimit -n 24; exec \"$0\" restore new.db part-*";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", line, env!("CARGO_BIN_EXE_btree-store")]).current_dir(place.dir.path());
    let ended = shell.output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(place.run("get @new.db users key").done(), "38");
}

#[test]
fn a_part_that_is_printed_tells_its_state_beside() {
    let place = Place::with_store();
    let full = part(&place, "full", 0);
    let printed = place.run("backup @data.db --since 0");
    assert_eq!((printed.code, printed.err), (0, format!("state {full}\n")));
    assert!(printed.out == std::fs::read(place.path("full")).unwrap());
    // A whole copy begins no chain, and a part that nobody reads to its end is none.
    assert_eq!(place.run("backup @data.db").err, "");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut unread = command(["backup", "--since", "0"]);
    let child = unread.arg(place.path("data.db")).stdout(writer).spawn().unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(5), &b""[..]));
}

/// What is read stays as it is, also where it has a name under which the new file is made.
#[test]
fn a_stream_is_not_written_over_by_what_is_made_of_it() {
    let place = Place::with_store();
    let stream = place.run("backup @data.db").out;
    let dump = place.run("dump @data.db").out;
    let names = ["copy.db-btree-store-backup", "copy.db-create"];
    for name in names {
        std::fs::write(place.path(name), &stream).unwrap();
        let is_kept = || std::fs::read(place.path(name)).unwrap() == stream;
        for line in ["restore @copy.db @NAME", "restore @copy.db @other @NAME"] {
            let ended = place.run(&line.replace("NAME", name));
            assert_eq!(ended.code, 2, "{}", ended.err);
            assert!(ended.err.contains("has a name under which it is made"), "{}", ended.err);
            assert!(is_kept() && !place.path("copy.db").exists());
        }
        let piped = |words: &[&str], input: &str| {
            let mut child = command(words);
            let input = std::fs::File::open(place.path(input)).unwrap();
            child.arg(place.path("copy.db")).stdin(input).output().unwrap()
        };
        if cfg!(unix) {
            let ended = piped(&["restore"], name);
            assert!(!ended.status.success());
            assert!(is_kept() && !place.path("copy.db").exists());
            std::fs::write(place.path(name), &dump).unwrap();
            let ended = piped(&["load", "--create"], name);
            // `load` makes no file of the other name.
            assert_eq!(ended.status.success(), name == names[0]);
            assert!(std::fs::read(place.path(name)).unwrap() == dump);
        }
        for left in names.iter().chain(&["copy.db"]) {
            drop(std::fs::remove_file(place.path(left)));
        }
    }
}
