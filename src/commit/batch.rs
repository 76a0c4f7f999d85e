//! The open batch: write transactions that no flush has taken yet (part of commit, layer L5).
//!
//! Owns: [`Batch`], the buckets that its transactions changed, on top of the newest sealed state;
//! [`View`], the buckets of a state or of a batch as they were.
//! Must not know: page ids to come, files, threads.
//! Keeps: commit-atomic (a transaction that fails is undone by putting old values back).

use crate::error::{Error, Fault, Result};
use crate::page::TxnId;
use crate::readers::{Loss, State};
use crate::seeded::seeded;
use crate::sync::Arc;
use crate::tree::{Edit, Freed, PageRead, Root, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// What a bucket that a transaction changes counts for, beside its name: about what it takes in
/// memory, the same on all machines, since it decides when a deferred commit waits.
const BUCKET_BYTES: u64 = 56;

/// A bucket that the batch changed.
#[derive(Clone, Debug)]
pub(crate) enum Bucket {
    Live(Tree),
    Dropped,
}

/// A bucket without entries.
#[derive(PartialEq, Eq)]
enum Hollow {
    Missing,
    Empty,
}

impl Bucket {
    fn hollow(&self) -> Option<Hollow> {
        match self {
            Bucket::Dropped => Some(Hollow::Missing),
            Bucket::Live(Tree { root: Root::Empty, .. }) => Some(Hollow::Empty),
            Bucket::Live(_) => None,
        }
    }
}

/// Buckets that were changed on top of a state.
pub(super) type Changed = BTreeMap<Vec<u8>, Bucket>;

fn find(
    (base, changed): (&State, &Changed),
    pages: &dyn PageRead,
    name: &[u8],
) -> Result<Option<Tree>> {
    match changed.get(name) {
        Some(Bucket::Live(tree)) => Ok(Some(tree.clone())),
        Some(Bucket::Dropped) => Ok(None),
        None => base.catalog.find(pages, name, base.txn),
    }
}

fn names((base, changed): (&State, &Changed), pages: &dyn PageRead) -> Result<BTreeSet<Vec<u8>>> {
    let list = base.catalog.list(pages)?;
    let mut names: BTreeSet<Vec<u8>> = list.into_iter().map(|(name, _)| name).collect();
    for (name, bucket) in changed {
        match bucket {
            Bucket::Live(_) => names.insert(name.clone()),
            Bucket::Dropped => names.remove(name),
        };
    }
    Ok(names)
}

/// All buckets as they were at one moment.
#[derive(Clone)]
pub(crate) struct View {
    /// The newest sealed state of that moment.
    pub(crate) base: Arc<State>,
    /// What the open batch had made of it.
    changed: Changed,
    /// Large values without pages have lower numbers.
    pub(crate) next_handle: u64,
}

impl View {
    /// Of a sealed state, without what came behind it.
    pub(crate) fn of(base: Arc<State>) -> View {
        View { base, changed: Changed::new(), next_handle: 0 }
    }

    /// A bucket's tree.
    pub(crate) fn bucket(&self, pages: &dyn PageRead, name: &[u8]) -> Result<Option<Tree>> {
        find((&self.base, &self.changed), pages, name)
    }

    /// The names of all buckets.
    pub(crate) fn names(&self, pages: &dyn PageRead) -> Result<BTreeSet<Vec<u8>>> {
        names((&self.base, &self.changed), pages)
    }
}

/// Changes on top of a sealed state.
pub(crate) struct Batch {
    /// The newest sealed state; it is durable, or its flush is under way.
    pub(crate) base: Arc<State>,
    /// Batches are numbered; a number is not used again when a batch fails.
    pub(super) number: u64,
    /// The batch that made `base`.
    pub(super) after: u64,
    pub(super) buckets: Changed,
    /// Transactions that changed something.
    pub(super) changes: u64,
    pub(crate) freed: Vec<Freed>,
    pub(crate) next_handle: u64,
    /// Bytes of entries that were put, and of buckets' names.
    pub(super) entered: u64,
    /// Of each bucket that the running transaction changed: what it was before.
    undo: Undo,
    /// Told when the batch fails, if somebody holds on to what it has of its own.
    held: Option<Arc<Loss>>,
}

/// A batch fails, of which somebody may hold on to something.
pub(super) fn lose(held: Option<&Loss>, fault: &Fault) {
    if let Some(held) = held {
        held.tell(fault);
    }
}

/// What buckets were before a transaction changed them.
pub(super) type Undo = BTreeMap<Vec<u8>, Option<Bucket>>;

/// A point to which a batch can be taken back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    freed: usize,
    entered: u64,
    next_handle: u64,
}

impl Batch {
    pub(super) fn new(base: Arc<State>, number: u64, after: u64) -> Batch {
        Batch {
            base,
            number,
            after,
            buckets: BTreeMap::new(),
            changes: 0,
            freed: Vec::new(),
            next_handle: 0,
            entered: 0,
            undo: BTreeMap::new(),
            held: None,
        }
    }

    /// What tells whoever holds on to what the batch has of its own, if that is lost.
    pub(crate) fn loss(&mut self) -> Arc<Loss> {
        Arc::clone(self.held.get_or_insert_with(|| Arc::new(Loss::new())))
    }

    /// As far as somebody holds on to it.
    pub(super) fn held(&self) -> Option<Arc<Loss>> {
        self.held.clone()
    }

    /// The batch fails.
    pub(super) fn lose(&self, fault: &Fault) {
        lose(self.held.as_deref(), fault);
    }

    /// The present point.
    pub(crate) fn mark(&self) -> Mark {
        Mark { freed: self.freed.len(), entered: self.entered, next_handle: self.next_handle }
    }

    /// What the batch took in, in bytes: entries that were put, whatever became of them since, and
    /// a page for each that was replaced or given up. Its own pages are others' copies, or what
    /// entries filled.
    pub(super) fn taken_bytes(&self, page_size: usize) -> u64 {
        self.entered + self.freed.len() as u64 * page_size as u64
    }

    /// Pages and runs freed since a mark.
    pub(crate) fn freed_since(&self, mark: Mark) -> u64 {
        (self.freed.len() - mark.freed) as u64
    }

    /// Takes back the whole transaction, which began at a mark.
    pub(crate) fn roll_back(&mut self, mark: Mark) {
        if seeded!(PanicKeepsHalf, std::thread::panicking()) {
            return;
        }
        for (name, old) in std::mem::take(&mut self.undo) {
            match old {
                Some(bucket) => self.buckets.insert(name, bucket),
                None => self.buckets.remove(&name),
            };
        }
        self.give_up(mark);
    }

    /// Forgets what was freed since a mark, for a tree that is not installed.
    pub(crate) fn give_up(&mut self, mark: Mark) {
        if seeded!(PanicKeepsHalf, std::thread::panicking()) {
            return;
        }
        if seeded!(LeakOnPanic, std::thread::panicking()) {
            return;
        }
        if seeded!(LeakOnFailedClosure, !std::thread::panicking()) {
            return;
        }
        self.freed.truncate(mark.freed);
        self.entered = mark.entered;
        self.next_handle = mark.next_handle;
    }

    /// Whether the transaction changed buckets, and left each of them as it was: missing, or
    /// empty. Entries are not compared, which would cost more than it finds. A compaction lets
    /// time pass without a change of a bucket, and is no such transaction.
    pub(super) fn left_all_as_it_was(&self, pages: &dyn PageRead) -> bool {
        let is_as_it_was = |(name, old): (&Vec<u8>, &Option<Bucket>)| {
            let old = match old {
                Some(bucket) => bucket.hollow(),
                // Where the catalog cannot be read, the flush says so.
                None => match self.base.catalog.find(pages, name, self.base.txn) {
                    Ok(found) => found.map_or(Bucket::Dropped, Bucket::Live).hollow(),
                    Err(_) => None,
                },
            };
            old.is_some() && old == self.buckets.get(name).and_then(Bucket::hollow)
        };
        !self.undo.is_empty() && self.undo.iter().all(is_as_it_was)
    }

    /// Ends the transaction; it cannot be taken back alone any more. What it replaced is to be
    /// dropped when others may run again: pages that are freed take their time.
    pub(super) fn settle(&mut self) -> Undo {
        std::mem::take(&mut self.undo)
    }

    /// A bucket as the batch has it.
    pub(crate) fn bucket(&self, pages: &dyn PageRead, name: &[u8]) -> Result<Option<Tree>> {
        find((&self.base, &self.buckets), pages, name)
    }

    /// The names of all buckets as the batch has them.
    pub(crate) fn names(&self, pages: &dyn PageRead) -> Result<BTreeSet<Vec<u8>>> {
        names((&self.base, &self.buckets), pages)
    }

    /// All buckets as they are now.
    pub(crate) fn view(&self) -> View {
        let (base, changed) = (Arc::clone(&self.base), self.buckets.clone());
        View { base, changed, next_handle: self.next_handle }
    }

    /// Replaces a bucket.
    pub(crate) fn install(&mut self, name: &[u8], bucket: Bucket) {
        let old = if let Some(there) = self.buckets.get_mut(name) {
            Some(std::mem::replace(there, bucket))
        } else {
            self.entered += name.len() as u64 + BUCKET_BYTES;
            self.buckets.insert(name.to_vec(), bucket)
        };
        if !self.undo.contains_key(name) {
            self.undo.insert(name.to_vec(), old);
        }
    }

    /// Changes a bucket's tree where it lies, so that nothing of it is copied that the running
    /// transaction has made; a bucket that is missing is made. Where the change fails, nobody knows
    /// what the bucket holds, before the transaction is taken back.
    ///
    /// # Errors
    /// What reading the catalog says; what the change says.
    pub(crate) fn change_in_place(
        &mut self,
        pages: &dyn PageRead,
        name: &[u8],
        change: impl FnOnce(&mut Tree, &mut Edit<'_>) -> Result<()>,
    ) -> Result<()> {
        let is_there = matches!(self.buckets.get(name), Some(Bucket::Live(_)));
        let has_undo = || self.undo.contains_key(name) || seeded!(MadeInPlaceWithoutUndo);
        if !(is_there && has_undo()) {
            let tree = self.bucket(pages, name)?.unwrap_or_else(Tree::empty);
            self.install(name, Bucket::Live(tree));
        }
        let (buckets, mut edit) = self.buckets_and_edit(pages);
        let Some(Bucket::Live(tree)) = buckets.get_mut(name) else {
            return Err(Error::internal("a bucket that was installed is missing"));
        };
        change(tree, &mut edit)
    }

    /// What a change of a tree needs.
    pub(crate) fn edit<'a>(&'a mut self, pages: &'a dyn PageRead) -> Edit<'a> {
        self.buckets_and_edit(pages).1
    }

    /// The buckets that the batch changed, and what a change of a tree needs, borrowed together.
    pub(super) fn buckets_and_edit<'a>(
        &'a mut self,
        pages: &'a dyn PageRead,
    ) -> (&'a mut Changed, Edit<'a>) {
        let edit = Edit {
            pages,
            base: self.base.txn,
            freed: &mut self.freed,
            next_handle: &mut self.next_handle,
            entered: &mut self.entered,
        };
        (&mut self.buckets, edit)
    }

    /// Its number among all, failed ones too.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The batch that holds the newest commit so far.
    pub(super) fn newest(&self) -> u64 {
        if self.changes > 0 { self.number } else { self.after }
    }

    /// The state that the batch will make.
    pub(super) fn txn(&self) -> TxnId {
        let txn = self.base.txn.next();
        if seeded!(TxnNumberLeftOut, txn.0.is_multiple_of(8)) { txn.next() } else { txn }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::{Error, Options};

    /// A program that only takes back what it wrote stays in one batch for ever.
    #[test]
    fn large_values_that_are_taken_back_use_up_no_numbers() {
        let db = Options::new().open_in_memory().unwrap();
        let core = crate::sync::Arc::clone(db.snapshot().core());
        for _ in 0..10 {
            let failed = db.exec("b", |txn| {
                txn.put("k", [7; 5_000])?;
                Err::<(), _>(Error::Invalid)
            });
            assert_eq!(failed, Err(Error::Invalid));
        }
        assert_eq!(core.begin().unwrap().batch().0.next_handle, 0);
    }
}
