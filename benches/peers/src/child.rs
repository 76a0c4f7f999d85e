//! Work that needs a process of its own: one that is killed, one whose memory is watched.

use crate::data::{Chance, Data, Kind, Order, Queries, Spread};
use crate::engine::{Batch, Change, Direction, Engine, Form, Peer, Result, Scope};
use crate::engines;
use crate::rig::{Rig, ample_cache};
use crate::system;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The first argument of such a process.
pub const ARGUMENT: &str = "--child";

/// Pairs that a transaction of the burst writes.
const BURST_PAIRS: usize = 20;
/// Transactions until the parent is told.
const BURST_BEGIN: usize = 20;
/// Pairs of a small store that it reads before.
const SMALL: usize = 2000;
/// Reads of the process whose memory is watched.
const READS: usize = 300_000;

/// Writes in another process, and kills it in the middle.
pub fn burst_and_kill(
    peer: &str,
    directory: &Path,
    data: &Data,
    seed: usize,
    time: Duration,
) -> Result<()> {
    let mut child = command("burst", peer, directory, data, seed as u64)?.spawn()?;
    let output = child.stdout.take().ok_or("the child has no output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    if line.trim() != "writing" {
        child.wait()?;
        return Err(format!("the child that writes to {peer} failed").into());
    }
    std::thread::sleep(time);
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// Bytes of memory that a process needs above its own, to read and scan a store.
pub fn peak_of_reads(peer: &str, directory: &Path, data: &Data, cache_bytes: u64) -> Result<u64> {
    let output = command("read", peer, directory, data, cache_bytes)?.output()?;
    let text = String::from_utf8(output.stdout)?;
    let number = text.trim().parse();
    Ok(number.map_err(|_| format!("the child that reads {peer} failed"))?)
}

fn command(work: &str, peer: &str, dir: &Path, data: &Data, number: u64) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ARGUMENT).arg(work).arg(peer).arg(dir);
    command.arg(format!("{:?}", data.kind)).arg(data.count.to_string()).arg(number.to_string());
    command.stdout(Stdio::piped());
    Ok(command)
}

/// The other end of the calls above.
pub fn run(arguments: &[String]) -> Result<()> {
    let [work, peer, directory, kind, count, number] = arguments else {
        return Err("this is for the program's own use".into());
    };
    let peer = engines::all().into_iter().find(|known| known.name == peer).ok_or("which peer?")?;
    let kind = if kind == "Small" { Kind::Small } else { Kind::Random };
    let (data, number) = (Data::new(kind, count.parse()?), number.parse()?);
    match work.as_str() {
        "burst" => burst(peer, Path::new(directory), &data, number),
        _ => read(peer, Path::new(directory), &data, number),
    }
}

fn burst(peer: Peer, directory: &Path, data: &Data, seed: u64) -> Result<()> {
    let engine = (peer.open)(directory, ample_cache(data))?;
    let mut chance = Chance::new(seed);
    for transaction in 0.. {
        let pairs: Vec<u32> = (0..BURST_PAIRS).map(|_| chance.below(data.count) as u32).collect();
        engine.write(&Batch { data, pairs: &pairs, change: Change::Put(transaction) })?;
        if transaction == BURST_BEGIN {
            println!("writing");
            std::io::stdout().flush()?;
        }
    }
    Ok(())
}

/// The same is done with a small store before, so that the pages of the program that run, which
/// the system counts, are there already.
fn read(peer: Peer, directory: &Path, data: &Data, cache_bytes: u64) -> Result<()> {
    let small = Data::new(data.kind, SMALL);
    let rig = Rig::new(peer, directory, ample_cache(&small))?;
    rig.load(&small, &small.order(Order::Random))?;
    let rig = rig.reopen(small.bytes() / 10)?;
    read_and_scan(&*rig.engine, &Queries::new(&small, Spread::Uniform, SMALL, 3))?;
    drop(rig);
    let queries = Queries::new(data, Spread::Uniform, READS, 3);
    system::give_back_memory();
    let before = system::reset_peak_memory()?;
    let engine = (peer.open)(directory, cache_bytes)?;
    read_and_scan(&*engine, &queries)?;
    println!("{}", system::peak_memory().saturating_sub(before));
    Ok(())
}

fn read_and_scan(engine: &dyn Engine, queries: &Queries) -> Result<()> {
    engine.get(queries, Scope::PerGet, Form::Copied)?;
    engine.scan(Direction::Forwards)?;
    engine.scan(Direction::Backwards)?;
    engine.get(queries, Scope::PerGet, Form::Borrowed)?;
    Ok(())
}
