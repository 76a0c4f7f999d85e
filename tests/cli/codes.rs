//! Each code, and that nothing else ever comes out.

use super::{Place, Random, command, run};
use std::io::Read;
use std::process::Stdio;

/// A run of each command that reads `@data.db`.
const READING: [&str; 8] = [
    "get @data.db users id:001",
    "scan @data.db users",
    "buckets @data.db",
    "dump @data.db",
    "stat @data.db",
    "stat @data.db --full",
    "check @data.db",
    "pages @data.db",
];
/// And of each that changes it.
const WRITING: [&str; 4] = [
    "put @data.db users key value",
    "del @data.db users id:001",
    "load @data.db",
    "compact @data.db",
];

const DUMP: &[u8] = b"btree-store dump 1\nbucket users\n k\tv\nend 1 1\n";

fn each(place: &Place, lines: &[&str], code: i32, says: &str) {
    for line in lines {
        let ended = place.run_with(&line.split(' ').collect::<Vec<_>>(), DUMP);
        assert_eq!(ended.code, code, "{line}: {}", ended.err);
        ended.refused(code, &[says]);
    }
}

#[test]
fn without_a_file_nothing_is_made() {
    let place = Place::new();
    each(&place, &READING, 5, "No such file");
    each(&place, &WRITING, 5, "No such file");
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 0);
    let place = Place::new();
    std::fs::create_dir(place.path("data.db")).unwrap();
    each(&place, &READING, 5, "data.db: ");
    each(&place, &WRITING, 5, "data.db: ");
}

#[test]
fn a_file_that_is_open_is_busy() {
    let place = Place::with_store();
    let db = place.store("data.db");
    each(&place, &READING, 4, "in use");
    each(&place, &WRITING, 4, "in use");
    drop(db);
    let db = btree_store::Options::new().read_only().open(place.path("data.db")).unwrap();
    for line in READING {
        place.run(line).done();
    }
    each(&place, &WRITING, 4, "in use");
    drop(db);
    for line in WRITING {
        place.run_with(&line.split(' ').collect::<Vec<_>>(), DUMP).done();
    }
}

#[test]
fn a_foreign_file_is_damage_and_stays_as_it_is() {
    for content in [b"".as_slice(), b"no store", &[0; 5000], &[0xff; 512]] {
        let place = Place::new();
        std::fs::write(place.path("data.db"), content).unwrap();
        for line in READING.into_iter().chain(WRITING) {
            let ended = place.run_with(&line.split(' ').collect::<Vec<_>>(), DUMP);
            assert_eq!(ended.code, 3, "{line}: {}", ended.err);
            if line.starts_with("check") {
                assert!(ended.err.is_empty() && ended.text().contains("violation"), "{line}");
            } else {
                ended.refused(3, &["data.db: "]);
            }
        }
        assert_eq!(std::fs::read(place.path("data.db")).unwrap(), content);
    }
}

#[test]
fn a_file_cut_anywhere_is_damage() {
    let place = Place::with_store();
    let whole = std::fs::read(place.path("data.db")).unwrap();
    for len in [1, 511, 512, 1024, 1500, whole.len() / 2, whole.len() - 1] {
        std::fs::write(place.path("data.db"), &whole[..len]).unwrap();
        for line in READING {
            let ended = place.run(line);
            assert_eq!(ended.code, 3, "{line}, {len} of {} bytes: {}", whole.len(), ended.err);
        }
    }
}

/// Changes a bit of the last leaf of `data.db`. Returns its page.
pub fn damage_a_leaf(place: &Place) -> usize {
    let report = place.store("data.db").verify().unwrap();
    let is_leaf = |owner: &btree_store::verify::Owner| *owner == btree_store::verify::Owner::Leaf;
    let page = report.owners().iter().rposition(is_leaf).unwrap();
    let mut bytes = std::fs::read(place.path("data.db")).unwrap();
    bytes[page * 512 + 300] ^= 1;
    std::fs::write(place.path("data.db"), bytes).unwrap();
    page
}

#[test]
fn a_damaged_page_is_named_by_whoever_meets_it() {
    let place = Place::with_store();
    let page = damage_a_leaf(&place);
    let (named, invariant) = (format!("page {page}: "), "checksum-covers-page");
    for line in ["scan @data.db users", "dump @data.db", "pages @data.db"] {
        place.run(line).refused(3, &[&named, invariant]);
    }
    let check = place.run("check @data.db");
    assert_eq!((check.code, check.err.as_str()), (3, ""));
    assert!(check.text().contains(&named) && check.text().contains(invariant), "{}", check.text());
    let json = super::json::Json::read(place.run("check @data.db --json").text());
    assert_eq!(json.list("violations")[0].number("page"), page as u64);
    // What was printed of the dump is refused.
    let dump = place.run("dump @data.db");
    place.run_with(&["load", "--create", "@copy.db"], &dump.out).refused(2, &["last line"]);
    assert_eq!(place.run("buckets @copy.db").done(), "");
}

#[test]
fn wrong_arguments_are_one_line() {
    let place = Place::with_store();
    let long = "k".repeat(200);
    let cases: [(&[&str], &str); 17] = [
        (&[], "a command is missing"),
        (&["frobnicate"], "unrecognized subcommand"),
        (&["get", "@data.db"], "<BUCKET> <KEY>"),
        (&["get", "@data.db", "users", ""], "at least one byte"),
        (&["get", "@data.db", "", "k"], "at least one byte"),
        (&["get", "@data.db", "users", &long], "key of 200 bytes, the limit is 128"),
        (&["put", "@data.db", "users", &long, "v"], "key of 200 bytes, the limit is 128"),
        (&["put", "@data.db", &long, "k", "v"], "bucket name of 200 bytes"),
        (&["del", "@data.db", "users"], "<KEY>"),
        (&["del", "@data.db", "users", "k", "--all"], "--all"),
        (&["scan", "@data.db", "users", "--limit", "-1"], "-1"),
        (&["load", "@data.db", "--batch", "0"], "--batch"),
        (&["torture", "--transactions", "0"], "1.."),
        (&["torture", "--shard", "3/2"], "K from 1 to N"),
        (&["torture", "--threads", "0"], "1..=1024"),
        (&["torture", "--threads", "1000000000000000000"], "--threads"),
        (&["replay", "no token"], "no workload"),
    ];
    for (line, says) in cases {
        place.run_with(line, b"").refused(2, &[says]);
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(b"\xff");
        let path = place.path("data.db");
        let args = ["get".as_ref(), path.as_os_str(), name, name];
        assert_eq!(run(args, b"").code, 2);
    }
}

#[test]
fn any_bytes_in_a_file_end_in_a_code() {
    let place = Place::with_store();
    let whole = std::fs::read(place.path("data.db")).unwrap();
    let mut random = Random(77);
    for round in 0..20 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(8) {
            // The meta pages and some pages behind them, which lead to all else.
            let at = random.below(4 * 512);
            bytes[at] = random.bytes(1)[0];
        }
        std::fs::write(place.path("data.db"), bytes).unwrap();
        for line in READING {
            let ended = place.run(line);
            assert!([0, 1, 3].contains(&ended.code), "round {round}, {line}: {}", ended.err);
            assert!(ended.err.lines().count() <= 1, "round {round}, {line}: {}", ended.err);
        }
    }
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let place = Place::new();
    let db = place.store("data.db");
    db.exec("b", |txn| (0..20_000_u32).try_for_each(|k| txn.put(k.to_be_bytes(), [7; 40])))
        .unwrap();
    drop(db);
    let path = place.path("data.db");
    for name in ["dump", "scan", "backup"] {
        let mut args = vec![name.as_ref(), path.as_os_str()];
        if name == "scan" {
            args.push("b".as_ref());
        }
        let mut child = command(args).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        // Of a backup all that is gathered in front of its first block.
        stdout.read_exact(&mut [0; 28]).unwrap();
        drop(stdout);
        let ended = child.wait_with_output().unwrap();
        // Of a copy too little was read.
        let code = if name == "scan" { 0 } else { 5 };
        assert_eq!((ended.status.code(), ended.stderr), (Some(code), Vec::new()), "{name}");
    }
}

#[test]
fn a_finding_counts_though_nobody_reads_all_of_it() {
    let place = Place::new();
    let db = place.store("data.db");
    db.exec_multi(|multi| {
        let name = |at| format!("bucket {at:05} {}", "x".repeat(100));
        (0..1_000).try_for_each(|at| multi.exec(name(at), |txn| txn.put("key", "the value")))
    })
    .unwrap();
    for value in ["1", "2"] {
        db.exec("last", |txn| txn.put("key", value)).unwrap();
    }
    drop(db);
    // In a page that only a walk reads: not in one of the last commit, which an open reads.
    let path = place.path("data.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(9).position(|window| window == b"the value").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let lines: [&[&str]; 4] =
        [&["stat", "--full"], &["stat", "--full", "--json"], &["check"], &["check", "--json"]];
    for line in lines {
        let args: Vec<&str> = line.iter().copied().chain(["@data.db"]).collect();
        let whole = place.run_with(&args, b"");
        // More than is gathered before it is written.
        let is_long = whole.out.len() > 100_000;
        assert!(whole.code == 3 && is_long, "{line:?}: {} bytes, {}", whole.out.len(), whole.err);
        let args = line.iter().map(std::ffi::OsStr::new).chain([path.as_os_str()]);
        let mut child = command(args).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(3), "{line:?}");
    }
}

/// Runs the command with a full disk behind its output. Returns its code, and what it says.
#[cfg(target_os = "linux")]
fn run_on_a_full_disk(place: &Place, line: &str) -> (Option<i32>, String) {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    let ended = command(place.args(&words)).stdout(Stdio::from(full)).output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let place = Place::with_store();
    for name in ["dump", "check", "stat"] {
        let (code, err) = run_on_a_full_disk(&place, &format!("{name} @data.db"));
        assert_eq!(code, Some(5), "{name}: {err}");
        assert!(err.contains("write the output: No space left"), "{name}: {err}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_finding_counts_though_it_cannot_be_written() {
    let place = Place::with_store();
    damage_a_leaf(&place);
    for line in
        ["check @data.db", "check @data.db --json", "stat @data.db --full", "pages @data.db"]
    {
        let (code, err) = run_on_a_full_disk(&place, line);
        assert_eq!(code, Some(3), "{line}: {err}");
        assert!(!err.is_empty(), "{line}");
    }
}

#[test]
fn a_directory_is_named_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_btree-store"));
    let run = command.arg("buckets").arg(dir.path()).output().unwrap();
    let told = String::from_utf8(run.stderr).unwrap();
    assert_eq!(told.matches(dir.path().to_str().unwrap()).count(), 1, "{told}");
}

#[test]
fn damage_counts_also_where_nobody_reads_the_copy() {
    let place = Place::with_store();
    let page = damage_a_leaf(&place);
    // All that is written before the damage fits into the command's buffer of 64 KiB.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut unread = command(["backup"]);
    let child = unread.arg(place.path("data.db")).stdout(writer).stderr(Stdio::piped()).spawn();
    let ended = child.unwrap().wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{err}");
    assert!(err.contains(&format!("page {page}: ")), "{err}");
}
