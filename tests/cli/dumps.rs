//! Whole stores as text, and back.

use super::json::Json;
use super::{Place, Random};
use btree_store::{BTree, Options};
use std::collections::BTreeMap;

type Contents = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

fn contents(db: &BTree) -> Contents {
    let entries = |name: &String| db.view(name, |txn| txn.range::<[u8]>(..).collect());
    let bucket = |name: String| (name.clone(), entries(&name).unwrap());
    db.buckets().unwrap().into_iter().map(bucket).collect()
}

fn opened(place: &Place, name: &str) -> Contents {
    contents(&Options::new().read_only().open(place.path(name)).unwrap())
}

/// Random bytes under random names, some of which look like lines of a dump.
fn random_contents(seed: u64) -> Contents {
    let mut random = Random(seed);
    let names = ["users", "end 0 0", " k\tv", "a\nb\r\\", "日本\u{200d}", "empty", "\0"];
    let mut contents: Contents =
        names.into_iter().map(|name| (name.to_owned(), BTreeMap::new())).collect();
    for name in names.into_iter().filter(|name| *name != "empty") {
        for _ in 0..60 {
            let (key, value) = (1 + random.below(40), random.below(90));
            let entry = (random.bytes(key), random.bytes(value));
            contents.get_mut(name).unwrap().extend([entry]);
        }
        contents.get_mut(name).unwrap().extend([
            (b"large".to_vec(), random.bytes(5_000)),
            (b"empty".to_vec(), Vec::new()),
            (b" \t\\".to_vec(), b" \\x \t ".to_vec()),
        ]);
    }
    // As long as what is written before its commit.
    contents.get_mut("users").unwrap().insert(b"huge".to_vec(), random.bytes(300_000));
    contents
}

#[test]
fn a_dump_that_is_loaded_gives_the_same_contents() {
    for seed in [1, 2, 3] {
        let (place, wanted) = (Place::new(), random_contents(seed));
        let db = place.store("a.db");
        for (name, entries) in &wanted {
            db.exec(name, |txn| entries.iter().try_for_each(|(k, v)| txn.put(k, v))).unwrap();
        }
        drop(db);
        let (text, hex) = (place.run("dump @a.db"), place.run("dump @a.db --hex"));
        assert!(text.done().starts_with("btree-store dump 1\nbucket \\x00\n "));
        assert!(hex.done().starts_with("btree-store dump 1 hex\nbucket \\x00\n "));
        let loads = [
            ("b.db", "load --create @b.db", &text),
            ("c.db", "load --create @c.db --batch 7 --page-size 512", &hex),
            // What is there already gets the new values.
            ("c.db", "load @c.db --batch 1", &text),
        ];
        for (name, line, dump) in loads {
            let line: Vec<&str> = line.split(' ').collect();
            place.run_with(&line, &dump.out).done();
            assert!(opened(&place, name) == wanted, "seed {seed}: {line:?}");
            assert_eq!(place.run(&format!("dump @{name}")).out, text.out, "seed {seed}");
            assert_eq!(place.run(&format!("check @{name}")).code, 0, "seed {seed}");
        }
    }
}

#[test]
fn single_buckets_can_be_dumped() {
    let place = Place::with_store();
    let dump = place.run_with(&["dump", "@data.db", "bucket 03", "bucket 01"], b"");
    assert_eq!(dump.done(), "btree-store dump 1\nbucket bucket 03\nbucket bucket 01\nend 2 0\n");
    place.run("dump @data.db users missing").refused(1, &["no bucket missing"]);
    let lines = Json::lines(place.run("dump @data.db users --json").done());
    assert_eq!((lines.len(), lines[0].number("entries")), (202, 201));
    assert_eq!(lines[1].text("value"), "name 0, round 2");
}

#[test]
fn a_load_says_what_it_did() {
    let place = Place::new();
    let dump = b"btree-store dump 1\nbucket a\n k\t1\n l\t2\nbucket b\nbucket a\n k\t3\nend 3 3";
    let load = place.run_with(&["load", "--create", "@a.db", "--batch", "2", "--json"], dump);
    let json = Json::read(load.done());
    let numbers = ["buckets", "entries", "transactions"].map(|name| json.number(name));
    assert_eq!(numbers, [3, 3, 2]);
    assert_eq!(place.run("scan @a.db a").done(), "k\t3\nl\t2\n");
    assert_eq!(place.run("buckets @a.db").done(), "a\t2\nb\t0\n");
    let again = place.run_with(&["load", "@a.db"], b"btree-store dump 1\nend 0 0\n");
    assert_eq!(again.done(), "buckets: 0, entries: 0\n");
}

#[test]
fn a_malformed_line_is_named_and_nothing_of_it_is_kept() {
    let cases: [(&[u8], &str); 18] = [
        (b"", "line 1: is not"),
        (b"btree-store dump 2\n", "line 1: is not"),
        (b"btree-store dump 1\n", "line 2: the dump ends without"),
        (b"btree-store dump 1\n k\tv\nend 0 1\n", "line 2: is an entry of no bucket"),
        (b"btree-store dump 1\nbucket \nend 1 0\n", "line 2: the call"),
        (b"btree-store dump 1\nbucket \\xff\nend 1 0\n", "line 2: a bucket's name is UTF-8"),
        (b"btree-store dump 1\nbucket b\n k\tv\n", "line 4: the dump ends without"),
        (b"btree-store dump 1\nbucket b\n k v\nend 1 1\n", "line 3: has no tab"),
        (b"btree-store dump 1\nbucket b\n k\tv\tw\nend 1 1\n", "line 3: has two tabs"),
        (b"btree-store dump 1\nbucket b\nk\tv\nend 1 1\n", "line 3: is neither"),
        (b"btree-store dump 1\nbucket b\n k\tv\n\nend 1 1\n", "line 4: is neither"),
        (b"btree-store dump 1\nbucket b\n k\t\\q\nend 1 1\n", "line 3: a backslash"),
        (b"btree-store dump 1\nbucket b\n \tv\nend 1 1\n", "line 3: the call is not allowed"),
        (b"btree-store dump 1\nbucket b\n k\tv\r\nend 1 1\n", "line 3: holds the byte 0x0d"),
        (b"btree-store dump 1 hex\nbucket b\n 6\t00\nend 1 1\n", "line 3: not hexadecimal"),
        (b"btree-store dump 1\nbucket b\n k\tv\nend 1 2\n", "line 4: says 1 2, but 1 1 were"),
        (b"btree-store dump 1\nbucket b\n k\tv\nend 1 1\nend 1 1\n", "line 5: follows the end"),
        (b"btree-store dump 1\nbucket b\n k\tv\nend 1 1\n\n", "line 5: follows the end"),
    ];
    for (dump, says) in cases {
        let place = Place::with_store();
        let before = opened(&place, "data.db");
        place.run_with(&["load", "@data.db"], dump).refused(2, &[says]);
        assert!(opened(&place, "data.db") == before, "{says}");
    }
}

#[test]
fn of_a_load_in_batches_the_batches_before_are_kept() {
    let place = Place::new();
    let mut dump = b"btree-store dump 1\nbucket b\n".to_vec();
    for number in 0..9 {
        dump.extend(format!(" key {number}\tvalue\n").into_bytes());
    }
    let long = format!(" {}\tvalue\nend 1 10\n", "k".repeat(2_000));
    dump.extend(long.into_bytes());
    let says = ["4 entries were kept", "8 entries were kept", "nothing was kept"];
    for (batch, says) in ["4", "8", "100"].into_iter().zip(says) {
        let name = format!("@{batch}.db");
        let load = place.run_with(&["load", "--create", &name, "--batch", batch], &dump);
        let says = if batch == "4" { "8 entries were kept" } else { says };
        load.refused(2, &[says, "line 12: ", "key of 2000 bytes, the limit is 1024"]);
        let kept = if batch == "100" { "" } else { "b\t8\n" };
        assert_eq!(place.run(&format!("buckets {name}")).done(), kept, "{batch}");
    }
}
