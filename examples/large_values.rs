//! How much memory large values take, and how long: 20 of 10 MB in one transaction, then one of
//! 64 MiB, put and read whole and piece by piece, and moved to where the others were.
//! Linux tells the peak.
//!
//! ```sh
//! cargo run --release --example large_values /tmp/large.db
//! ```

use btree_store::{BTree, Error, Options, Result};
use std::time::Instant;

const LEN: usize = 64 << 20;

/// The most memory since the last call, in MiB; begins anew.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    // Where the system does not know it, the peak is that of the process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    kib.unwrap_or(0) / 1024
}

fn measure(what: &str, call: impl FnOnce() -> Result<()>) -> Result<()> {
    peak_mib();
    let (before, start) = (peak_mib(), Instant::now());
    call()?;
    let millis = start.elapsed().as_millis();
    println!("{what:<28} {millis:>6} ms, {:>4} MiB more", peak_mib().saturating_sub(before));
    Ok(())
}

fn run(db: &BTree) -> Result<()> {
    let value = vec![7; 10_000_000];
    measure("put 20 of 10 MB", || {
        db.exec("b", |txn| (0..20_u32).try_for_each(|number| txn.put(number.to_be_bytes(), &value)))
    })?;
    let value = vec![7; LEN];
    measure("put 64 MiB", || db.exec("b", |txn| txn.put("k", &value)))?;
    measure("put_from, 64 MiB", || {
        db.exec("b", |txn| txn.put_from("k", LEN as u64, &mut value.as_slice()))
    })?;
    measure("get, 64 MiB", || db.view("b", |txn| txn.get("k")).map(drop))?;
    measure("get_reader, 64 MiB", || {
        let mut reader = db.view("b", |txn| txn.get_reader("k"))?;
        while reader.next_piece()?.is_some() {}
        Ok(())
    })?;
    db.exec("b", |txn| (0..20_u32).try_for_each(|number| txn.del(number.to_be_bytes())))?;
    measure("compact, 64 MiB are moved", || {
        let done = db.compact(0)?;
        assert!(done.moved_pages > LEN / 4096, "{done:?}");
        Ok(())
    })
}

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or(Error::Invalid)?;
    run(&Options::new().open(&path)?)
}
