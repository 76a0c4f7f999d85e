//! Single entries, ranges and buckets.

use super::json::Json;
use super::{Place, run};

#[test]
fn what_is_put_is_got_and_what_is_deleted_is_gone() {
    let place = Place::new();
    assert_eq!(place.run("put --create @a.db users id:100 Alice").done(), "");
    place.run("put @a.db users id:101 Bob").done();
    assert_eq!(place.run("get @a.db users id:100").done(), "Alice");
    place.run("put @a.db users id:100 Anna").done();
    assert_eq!(place.run("get @a.db users id:100").done(), "Anna");
    assert_eq!(place.run("del @a.db users id:100").done(), "");
    place.run("get @a.db users id:100").refused(1, &["a.db: no key id:100 in bucket users"]);
    place.run("del @a.db users id:100").refused(1, &["no key id:100"]);
    assert_eq!(place.run("buckets @a.db").done(), "users\t1\n");
    place.run("del @a.db users --all").done();
    assert_eq!(place.run("buckets @a.db").done(), "");
    place.run("get @a.db users id:101").refused(1, &["no bucket users"]);
    place.run("del @a.db users --all").refused(1, &["no bucket users"]);
    // A failed removal makes no bucket.
    place.run("del @a.db users id:100").refused(1, &["no key id:100"]);
    assert_eq!(place.run("buckets @a.db").done(), "");
}

#[test]
fn values_come_from_standard_input_and_from_files_as_they_are() {
    let place = Place::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(600_000).collect();
    for len in [0, 1, 256, 70_000, 600_000] {
        let value = &bytes[..len];
        std::fs::write(place.path("value"), value).unwrap();
        place.run_with(&["put", "--create", "@a.db", "b", "piped"], value).done();
        place.run("put @a.db b file --file @value").done();
        place.run("put @a.db b device --file /dev/null").done();
        for (key, wanted) in [("piped", value), ("file", value), ("device", b"")] {
            let got = place.run(&format!("get @a.db b {key}"));
            assert!(got.code == 0 && got.out == wanted, "{key}, {len} bytes: {}", got.err);
        }
    }
    place.run("put @a.db b k --file @missing").refused(5, &["missing", "read"]);
    place.run("put @a.db b k v --file @value").refused(2, &["--file"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_the_system_makes_up_is_read_to_its_end() {
    let place = Place::new();
    let len = |path| std::fs::metadata(path).map(|found| found.len());
    assert_eq!(len("/proc/version").unwrap(), 0);
    place.run("put --create @a.db b k --file /proc/version").done();
    let wanted = std::fs::read_to_string("/proc/version").unwrap();
    assert_eq!(place.run("get @a.db b k").done(), wanted);
    // Those of /sys say that they have a page, and have less.
    let of_sys = ["/sys/class/net/lo/mtu", "/sys/kernel/mm/transparent_hugepage/enabled"];
    let wanted = of_sys.map(|path| (path, std::fs::read(path)));
    let Some((path, Ok(wanted))) = wanted.into_iter().find(|(_, found)| found.is_ok()) else {
        println!("skipped: there is none of {of_sys:?}");
        return;
    };
    assert!(len(path).unwrap() > wanted.len() as u64, "{path}");
    place.run(&format!("put @a.db b k --file {path}")).done();
    assert_eq!(place.run("get @a.db b k").done().as_bytes(), wanted);
}

#[test]
fn a_file_is_made_only_when_asked_for_and_with_the_pages_asked_for() {
    let place = Place::new();
    place.run("put @a.db b k v").refused(5, &["a.db: I/O error: open: No such file"]);
    place.run("put @a.db b k v --page-size 512").refused(2, &["--create"]);
    place.run("put @a.db b k v --create --page-size 1000").refused(2, &["power of two"]);
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 0);
    place.run("put @a.db b k v --create --page-size 8192").done();
    assert_eq!(Json::read(place.run("stat @a.db --json").done()).number("page_size"), 8192);
}

#[test]
fn bytes_that_are_no_text_are_escaped_and_come_back() {
    let place = Place::new();
    let strange = r"tab\t null\x00 \\ half\xc3 Grüße";
    place.run_with(&["put", "--create", "@a.db", r"bucket\n1", strange, strange], b"").done();
    let scanned = place.run_with(&["scan", "@a.db", r"bucket\n1"], b"");
    assert_eq!(scanned.done(), format!("{strange}\t{strange}\n"));
    let got = place.run_with(&["get", "@a.db", r"bucket\n1", strange], b"");
    assert_eq!(got.out, b"tab\t null\0 \\ half\xc3 Gr\xc3\xbc\xc3\x9fe");
    assert_eq!(place.run("buckets @a.db").done(), "bucket\\n1\t1\n");

    place.run("put @a.db hex 00fF 0a --hex").done();
    assert_eq!(place.run("get @a.db hex 00ff --hex").done(), "0a\n");
    assert_eq!(
        place.run("get @a.db hex 00ff --hex --json").done(),
        "{\"bucket\":\"hex\",\"key\":\"00ff\",\"value\":\"0a\"}\n"
    );
    assert_eq!(place.run("scan @a.db hex --hex --from 00 --to 01").done(), "00ff\t0a\n");
    assert_eq!(place.run(r"scan @a.db hex").done(), "\\x00\\xff\t\\n\n");
    place.run("get @a.db hex 00f --hex").refused(2, &["key 00f: not hexadecimal"]);
    place.run(r"get @a.db hex \q").refused(2, &[r"key \\q: a backslash"]);
    place.run(r"get @a.db \xff k").refused(2, &["a name is UTF-8"]);
}

#[test]
fn ranges_end_where_they_are_told() {
    let place = Place::new();
    let db = place.store("a.db");
    db.exec("b", |txn| ["a", "b1", "b2", "b3", "c"].iter().try_for_each(|k| txn.put(k, k)))
        .unwrap();
    db.exec("high", |txn| [&[0xff_u8][..], &[0xff, 0xff]].iter().try_for_each(|k| txn.put(k, "")))
        .unwrap();
    drop(db);
    for (range, wanted) in [
        ("", "a b1 b2 b3 c"),
        (" --from b", "b1 b2 b3 c"),
        (" --to b2", "a b1"),
        (" --from b1 --to c", "b1 b2 b3"),
        (" --from c --to b", ""),
        (" --prefix b", "b1 b2 b3"),
        (" --prefix b --from b2", "b2 b3"),
        (" --prefix b --to b2", "b1"),
        (" --prefix b --from a --to d", "b1 b2 b3"),
        (" --reverse", "c b3 b2 b1 a"),
        (" --prefix b --reverse --limit 2", "b3 b2"),
        (" --limit 0", ""),
    ] {
        let scanned = place.run(&format!("scan @a.db b --keys{range}"));
        assert_eq!(scanned.done().lines().collect::<Vec<_>>().join(" "), wanted, "{range}");
    }
    assert_eq!(place.run(r"scan @a.db high --keys --prefix \xff").done().lines().count(), 2);
    assert_eq!(place.run("scan @a.db b --limit 1").done(), "a\ta\n");
    let lines = Json::lines(place.run("scan @a.db b --json --prefix b").done());
    let keys: Vec<&str> = lines.iter().map(|line| line.text("value")).collect();
    assert_eq!(keys, ["b1", "b2", "b3"]);
    place.run("scan @a.db c").refused(1, &["no bucket c"]);
}

#[test]
fn where_only_keys_are_wanted_no_large_value_is_read() {
    let place = Place::new();
    let db = place.store("a.db");
    db.exec("b", |txn| {
        txn.put("large", vec![b'v'; 9_000])?;
        txn.put("small", "v")
    })
    .unwrap();
    drop(db);
    // Damage that whoever reads the value meets.
    let mut bytes = std::fs::read(place.path("a.db")).unwrap();
    let at = bytes.windows(100).position(|part| part.iter().all(|&byte| byte == b'v')).unwrap();
    bytes[at] = b'w';
    std::fs::write(place.path("a.db"), bytes).unwrap();
    place.run("scan @a.db b").refused(3, &["parent-holds-checksum"]);
    assert_eq!(place.run("scan @a.db b --keys").done(), "large\nsmall\n");
    assert_eq!(place.run("scan @a.db b --keys --reverse").done(), "small\nlarge\n");
}

#[test]
fn json_tells_what_was_changed() {
    let place = Place::new();
    let put = Json::read(place.run("put --create @a.db b k value --json").done());
    assert_eq!((put.text("key"), put.number("value_bytes"), put.number("seq")), ("k", 5, 1));
    let del = Json::read(place.run("del @a.db b k --json").done());
    assert_eq!((del.text("bucket"), del.number("seq")), ("b", 2));
    let buckets = Json::read(place.run("--json buckets @a.db").done());
    assert_eq!(buckets.list("buckets")[0].number("entries"), 0);
}

#[test]
fn the_help_teaches() {
    let help = run(["--help"], b"");
    for part in ["EXAMPLES", "EXIT CODES", "TEXT", "torture", "--json"] {
        assert!(help.done().contains(part), "{part}");
    }
    let commands = "get put del scan buckets load dump stat check compact backup restore \
                    pages torture replay";
    for name in commands.split(' ') {
        assert!(run([name, "--help"], b"").done().contains("Usage: btree-store"), "{name}");
        assert!(help.text().contains(&format!("\n  {name} ")), "{name}");
    }
    assert!(run(["--version"], b"").done().starts_with("btree-store "));
}
