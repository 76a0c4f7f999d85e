//! The store and the oracle side by side, for the tests that compare the two.
#![allow(dead_code, reason = "each test that includes this file uses a part of it")]

use btree_store::sim::minimise;
use btree_store::sim::oracle::{
    Answer, Ending, Handle, Op, Oracle, Reply, compare, compare_snapshots,
};
use btree_store::verify::verify_file;
use btree_store::vfs::{MemVfs, OpenMode, Vfs};
use btree_store::{Barriers, Options};
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub page_size: u32,
    pub cache_bytes: u64,
    pub barriers: Barriers,
}

/// A store in memory and its oracle.
pub struct Pair {
    vfs: MemVfs,
    pub store: Handle,
    pub oracle: Oracle,
}

pub const PATH: &str = "data.db";

impl Pair {
    pub fn new(setting: Setting) -> Pair {
        let vfs = MemVfs::new();
        let options = Options::new()
            .page_size(setting.page_size)
            .cache_bytes(setting.cache_bytes)
            .barriers(setting.barriers)
            .vfs(Arc::new(vfs.clone()));
        let store = Handle::open(options, PATH).expect("a new store opens");
        Pair { vfs, store, oracle: Oracle::new(setting.page_size) }
    }

    /// Does an operation in both, and compares what they answer.
    pub fn step(&mut self, op: &Op) -> Result<(), String> {
        let found = self.store.run(op);
        let wanted = self.oracle.apply(op);
        if found != wanted {
            return Err(format!("{op:?}\n{}", difference(&found, &wanted)));
        }
        if wanted.end == Ending::Done && *op == Op::Reopen && !self.store.is_open() {
            return Err("the store did not open again".to_owned());
        }
        let (seq, wanted) = (self.store.db().current_seq(), self.oracle.seq());
        // How many states a compaction commits is the store's affair.
        let is_free = || {
            let flushes = seq == wanted + 1 && self.oracle.has_just_deferred();
            flushes || seq > wanted && format!("{op:?}").contains("Compact(")
        };
        if seq != wanted && !is_free() {
            return Err(format!("{op:?}\nleads to state {seq}, not {wanted}"));
        }
        self.oracle.follow(seq);
        let pending = self.store.db().pending_pages();
        if pending != (0, 0) {
            return Err(format!("{op:?}\nleaves pending pages {pending:?}"));
        }
        Ok(())
    }

    /// Compares all that the two hold, and checks the file.
    pub fn check(&self) -> Result<(), String> {
        compare(self.store.db(), &self.oracle.durable())
            .and_then(|()| compare_snapshots(&self.store, &self.oracle))
            .map_err(|difference| difference.to_string())?;
        check_file(&self.vfs)
    }
}

/// Walks the whole file, as it is now. The store may be open, but does not write meanwhile.
pub fn check_file(vfs: &dyn Vfs) -> Result<(), String> {
    let file = vfs.open(Path::new(PATH), OpenMode::Read).map_err(|error| error.to_string())?;
    let report = verify_file(&*file).map_err(|error| error.to_string())?;
    if report.is_sound() { Ok(()) } else { Err(report.to_string()) }
}

/// Runs operations from the start; all is compared after every `check_every`-th, and at the end.
pub fn run_all(setting: Setting, ops: &[Op], check_every: usize) -> Result<(), String> {
    let run = || {
        let mut pair = Pair::new(setting);
        for (at, op) in ops.iter().enumerate() {
            pair.step(op)?;
            if (at + 1) % check_every == 0 {
                pair.check()?;
            }
        }
        pair.check()?;
        pair.step(&Op::Reopen)?;
        pair.check()
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result,
        Err(payload) => Err(format!("panics: {}", message_of(&*payload))),
    }
}

pub fn message_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Where two replies differ first.
fn difference(found: &Reply, wanted: &Reply) -> String {
    for (at, pair) in found.steps.iter().zip(&wanted.steps).enumerate() {
        match pair {
            (Ok(Answer::Reply(found)), Ok(Answer::Reply(wanted))) if found != wanted => {
                return format!("step {at}, {}", difference(found, wanted));
            }
            (found, wanted) if found != wanted => {
                return format!("step {at} answers {found:?}\nnot {wanted:?}");
            }
            _ => {}
        }
    }
    let [found_len, wanted_len] = [found, wanted].map(|reply| reply.steps.len());
    let [found, wanted] = [&found.end, &wanted.end];
    format!("{found_len} steps and {found:?}, not {wanted_len} and {wanted:?}")
}

/// How many runs may be spent on making a failing list short.
const SHORTEN_RUNS: u32 = 3000;

/// A shorter list that still fails, printed, with what it does wrong.
pub fn report(setting: Setting, ops: &[Op], seed: u64, first: &str) -> String {
    let mut left = SHORTEN_RUNS;
    let mut fails = |ops: &[Op]| {
        left = left.saturating_sub(1);
        left > 0 && run_all(setting, ops, 1).is_err()
    };
    let mut small = minimise(ops, &mut fails);
    let mut at = 0;
    while at < small.len() {
        let plainer = small[at].simpler().into_iter().find(|plainer| {
            let mut ops = small.clone();
            ops[at] = plainer.clone();
            fails(&ops)
        });
        match plainer {
            Some(plainer) => small[at] = plainer,
            None => at += 1,
        }
    }
    let mut out = format!("seed {seed}, {setting:?}: {first}\n");
    let why = run_all(setting, &small, 1).err();
    writeln!(out, "{} of {} operations are enough:", small.len(), ops.len()).expect("a string");
    for op in &small {
        writeln!(out, "  {op:?}").expect("a string takes text");
    }
    out + why.as_deref().unwrap_or("(not when it runs from the start)")
}
