//! An application on top of the store, crash-tested as a whole: a ledger of accounts, and a text
//! file beside it to which each transfer is exported once.
//!
//! `cargo run --release --features sim --example crash_test_your_app`
//!
//! The store keeps its own promises. What the application makes of them is its own affair: the
//! hasty export notes in the store that lines are exported before they are durable in the file.
//! The explorer finds the crash after which a line is missing for ever, makes the workload as
//! small as it can, and tells what happened; of the careful export it runs every outcome.

use btree_store::sim::{Checked, Crash, Explorer, Report, SimDisk, minimise};
use btree_store::vfs::{OpenMode, Vfs, VfsFile, read_exact_at, write_all_at};
use btree_store::{BTree, Error, Options};
use std::path::Path;
use std::sync::Arc;

/// An account's number.
pub type Account = u8;

const ACCOUNTS: Account = 3;
/// What each account begins with.
const OPENING: u64 = 100;
const STORE: &str = "ledger.db";
const EXPORT: &str = "export.txt";
/// Bytes of a line: the place of a transfer's line follows from its number.
const LINE: usize = 32;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How the export goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export {
    /// Writes the lines, and notes in the store that they are exported.
    Hasty,
    /// Makes the lines durable in between.
    Careful,
}

/// The application. It opens its files on what it is given: [`btree_store::vfs::OsVfs`] when it
/// serves its users, a [`SimDisk`] here.
struct Ledger {
    store: BTree,
    file: Box<dyn VfsFile>,
    export: Export,
}

impl Ledger {
    /// Opens the application's two files, or makes them.
    fn open(vfs: Arc<dyn Vfs>, export: Export) -> Result<Ledger> {
        let file = vfs.open(Path::new(EXPORT), OpenMode::Create)?;
        vfs.sync_dir(Path::new(EXPORT))?;
        let store = Options::new().page_size(512).vfs(vfs).open(STORE)?;
        Ok(Ledger { store, file, export })
    }

    /// Moves money, and writes it into the journal; both or nothing.
    fn transfer(&self, from: Account, to: Account, amount: u64) -> Result<()> {
        self.store.exec_multi(|multi| {
            multi.exec("accounts", |txn| {
                let balance = |stored: Option<Vec<u8>>| stored.map_or(Ok(OPENING), |n| number(&n));
                let left = balance(txn.find([from])?)?.checked_sub(amount).ok_or(Error::Invalid)?;
                txn.put([from], left.to_be_bytes())?;
                let sum = balance(txn.find([to])?)? + amount;
                txn.put([to], sum.to_be_bytes())
            })?;
            multi.exec("journal", |txn| {
                let line = line(txn.len() + 1, from, to, amount);
                txn.put((txn.len() + 1).to_be_bytes(), line)
            })
        })?;
        Ok(())
    }

    /// Exports the transfers that are not exported yet.
    fn export(&self) -> Result<()> {
        let exported = self.exported()?;
        let transfers = self.transfers()?;
        for n in exported + 1..=transfers {
            let line = self.store.view("journal", |txn| txn.get(n.to_be_bytes()))?;
            write_all_at(&*self.file, &line, (n - 1) * LINE as u64)?;
        }
        if exported == transfers {
            return Ok(());
        }
        if self.export == Export::Careful {
            self.file.sync_all()?;
        }
        self.store.exec("export", |txn| txn.put("exported", transfers.to_be_bytes()))?;
        Ok(())
    }

    /// How many transfers there were.
    fn transfers(&self) -> Result<u64> {
        match self.store.view("journal", |txn| Ok(txn.len())) {
            Err(Error::NotFound) => Ok(0),
            other => Ok(other?),
        }
    }

    /// How many of them were exported.
    fn exported(&self) -> Result<u64> {
        match self.store.view("export", |txn| number(&txn.get("exported")?)) {
            Err(Error::NotFound) => Ok(0),
            other => Ok(other?),
        }
    }

    fn balance(&self, account: Account) -> Result<u64> {
        match self.store.view("accounts", |txn| number(&txn.get([account])?)) {
            Err(Error::NotFound) => Ok(OPENING),
            other => Ok(other?),
        }
    }

    fn exported_lines(&self, count: u64) -> Result<Vec<u8>> {
        let mut lines = vec![0; usize::try_from(count)? * LINE];
        read_exact_at(&*self.file, &mut lines, 0)?;
        Ok(lines)
    }
}

fn number(bytes: &[u8]) -> btree_store::Result<u64> {
    Ok(u64::from_be_bytes(bytes.try_into().map_err(|_| Error::Invalid)?))
}

fn line(n: u64, from: Account, to: Account, amount: u64) -> Vec<u8> {
    let mut line = format!("{n} {from} -> {to}: {amount}").into_bytes();
    line.resize(LINE - 1, b' ');
    line.push(b'\n');
    line
}

/// What the application is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Moves money.
    Transfer {
        /// Whose.
        from: Account,
        /// To whom.
        to: Account,
        /// How much.
        amount: u64,
    },
    /// Exports what is new.
    Export,
}

/// A day at the bank.
pub const STEPS: [Step; 6] = [
    Step::Transfer { from: 0, to: 1, amount: 30 },
    Step::Transfer { from: 1, to: 2, amount: 120 },
    Step::Export,
    Step::Transfer { from: 2, to: 0, amount: 7 },
    Step::Export,
    Step::Transfer { from: 0, to: 2, amount: 1 },
];

fn transfers_of(steps: &[Step]) -> impl Iterator<Item = (Account, Account, u64)> + '_ {
    steps.iter().filter_map(|step| match *step {
        Step::Transfer { from, to, amount } => Some((from, to, amount)),
        Step::Export => None,
    })
}

/// The workload: the steps, with a mark before and behind each transfer. `started(n)` says that
/// transfer `n` may be found from here on, `acknowledged(n)` that it must be.
fn work(disk: &SimDisk, export: Export, steps: &[Step]) -> Checked {
    let ledger = Ledger::open(disk.vfs(), export)?;
    let mut transfers = 0;
    for step in steps {
        match *step {
            Step::Transfer { from, to, amount } => {
                transfers += 1;
                disk.started(transfers);
                ledger.transfer(from, to, amount)?;
                disk.acknowledged(transfers);
            }
            Step::Export => ledger.export()?,
        }
    }
    Ok(())
}

/// The check, after each crash: what the application promises its users, compared with a model
/// that knows neither store nor disk.
fn check(disk: &SimDisk, crash: &Crash, export: Export, steps: &[Step]) -> Checked {
    let ledger = Ledger::open(disk.vfs(), export)?;
    let transfers = ledger.transfers()?;
    if transfers < crash.acknowledged() || transfers > crash.started() {
        return Err(format!("{transfers} transfers are left").into());
    }
    let mut balances = [OPENING; ACCOUNTS as usize];
    let mut lines = Vec::new();
    let done = transfers_of(steps).take(usize::try_from(transfers)?);
    for (n, (from, to, amount)) in (1..).zip(done) {
        balances[usize::from(from)] -= amount;
        balances[usize::from(to)] += amount;
        lines.extend(line(n, from, to, amount));
    }
    for (account, expected) in (0..ACCOUNTS).zip(balances) {
        let found = ledger.balance(account)?;
        if found != expected {
            return Err(format!("account {account} has {found}, not {expected}").into());
        }
    }
    ledger.export()?;
    let exported = ledger.exported_lines(transfers)?;
    if exported != lines {
        let text = String::from_utf8_lossy(&exported).replace('\0', ".");
        return Err(format!("after another export the file is {text:?}").into());
    }
    Ok(())
}

/// The explorer for an application that exports like this.
fn explorer(export: Export) -> Explorer {
    Explorer::new(format!("{export:?} export"))
}

/// Every outcome of every crash of these steps; `nested` further crashes strike the recovery.
pub fn explore(export: Export, steps: &[Step], nested: u32) -> Report {
    explorer(export)
        .nested(nested)
        .explore(|disk| work(disk, export, steps), |disk, crash| check(disk, crash, export, steps))
}

/// The fewest of these steps that still fail.
pub fn smallest_failing(export: Export, steps: &[Step]) -> Vec<Step> {
    minimise(steps, |steps| explore(export, steps, 0).violation.is_some())
}

/// Runs what a token stands for; the message of the failure, if it still fails.
///
/// # Errors
/// The text is no token of these explorations.
pub fn replay(export: Export, steps: &[Step], token: &str) -> Result<Option<String>> {
    let violation = explorer(export).replay(
        token,
        |disk| work(disk, export, steps),
        |disk, crash| check(disk, crash, export, steps),
    )?;
    Ok(violation.map(|violation| violation.message))
}

/// Finds the bug, makes it small, tells of it, and shows that it is gone.
pub fn main() {
    let found = explore(Export::Hasty, &STEPS, 0);
    println!("{} steps, and {} executions until they fail.", STEPS.len(), found.executions);
    let steps = smallest_failing(Export::Hasty, &STEPS);
    println!("These are enough: {steps:?}\n");
    println!("{}\n", explore(Export::Hasty, &steps, 0));
    println!("{}", explore(Export::Careful, &STEPS, 1));
}
