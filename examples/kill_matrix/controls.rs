//! The checkers themselves: each is shown something that it has to object to. One that does not is
//! broken.

use crate::matrix::budget::{Budget, Checked, Kill, ensure};
use crate::matrix::crash;
use crate::matrix::scripts::{PATH, key, options, value};
use btree_store::Invariant;
use btree_store::seeded::{Bug, switch_on};
use btree_store::sim::oracle::{End, Exec, Handle, Op, Oracle, Step, Write, compare};
use btree_store::vfs::MemVfs;
use std::sync::Arc;

pub fn run(budget: &mut Budget) -> Option<Kill> {
    let all: [fn(&mut Budget) -> Checked; 3] = [oracle, accounting, crashes];
    let found = all.iter().find_map(|check| check(budget).err());
    switch_on(budget.bug);
    found
}

/// Switches a plain bug on, beside the one in question if that is a checker's: of two bugs of the
/// engine one may hide the other.
fn plant(budget: &mut Budget, planted: Option<Bug>) {
    let checkers = [Bug::OracleAlwaysEqual, Bug::AccountingAlwaysZero, Bug::CrashKeepsAll];
    let broken = budget.bug.filter(|bug| checkers.contains(bug));
    switch_on(broken.into_iter().chain(planted));
}

/// The comparison tells a store from a model that holds another value.
fn oracle(budget: &mut Budget) -> Checked {
    budget.spend();
    plant(budget, None);
    let store = Handle::open(options(Arc::new(MemVfs::new())), PATH)?;
    let mut oracle = Oracle::new(crate::matrix::scripts::PAGE);
    let put = Step::Write(Write::Put("key".into(), "value".into()));
    let exec = Exec { bucket: "b".to_owned(), steps: vec![put], end: End::Commit };
    oracle.apply(&Op::Exec(exec));
    store.db().exec("b", |txn| txn.put("key", "other"))?;
    let told = compare(store.db(), oracle.now()).is_err();
    ensure(told, || "the comparison does not see another value".into())
}

/// The accounting finds pages that nobody owns.
fn accounting(budget: &mut Budget) -> Checked {
    budget.spend();
    plant(budget, Some(Bug::ReplacedRunNotFreed));
    let db = options(Arc::new(MemVfs::new())).open(PATH)?;
    for round in 0..2 {
        db.exec("b", |txn| txn.put(key(1), value(round, 1500)))?;
    }
    let report = db.verify()?;
    let owned = Invariant::PageOwnedOnce;
    let told = report.violations.iter().any(|violation| violation.invariant == owned);
    ensure(told, || "the accounting does not see lost pages".into())
}

/// The explorer finds a commit that is acknowledged before it is durable.
fn crashes(budget: &mut Budget) -> Checked {
    plant(budget, Some(Bug::AcknowledgedBeforeSync));
    let found = crash::run_plain(budget);
    ensure(found.is_some(), || "the explorer does not see an acknowledged commit lost".into())
}
