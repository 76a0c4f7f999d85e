//! A Raft group's part of a store.
//!
//! Owns: [`Group`], the names of its buckets, and [`Lane`], on which blocking work leaves the
//! asynchronous runtime in order. Must not know: what the buckets hold.

use crate::error::{Error, Result};
use btree_store::{BTree, Durability, MultiTxn, Snapshot};
use std::sync::Arc;
use tokio::sync::Mutex;

/// What [`FORMAT_KEY`] holds in each bucket of a group that has one record a key.
const FORMAT: &[u8] = b"btree-store-raft 1";
const FORMAT_KEY: &str = "format";

/// The part of a store that belongs to one Raft group: buckets whose names begin with the group's.
///
/// Log and state machine of a group may share a store, and so may several groups, with each other
/// and with what else the application keeps there: then threads that commit at the same time share
/// one flush of the disk. Or each has a store of its own.
///
/// ```
/// # use btree_store_raft::{Error, Group};
/// let db = btree_store::Options::new().open_in_memory()?;
/// let orders = Group::new(&db, "orders")?;
/// let stock = Group::new(&db, "stock")?;
/// assert_eq!(Group::new(&db, "a/b").unwrap_err(), Error::GroupName);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Group {
    /// Private: what is written is durable, and what is read too.
    db: BTree,
    name: Arc<str>,
}

impl Group {
    /// The group of this name, on a store. Writes nothing yet. What it writes later is durable,
    /// also where commits of the store's handle are [deferred](btree_store::Durability).
    ///
    /// Make it before the handle defers commits of its own, or from another handle. Where such
    /// commits are lost, what writes for a group that was made after them fails with what took
    /// them; it goes on with a group that is made after the handle's `sync`.
    ///
    /// The names of the application's buckets get the group's name and 23 bytes in front; together
    /// they have at most 1,024 bytes (a quarter of a page).
    ///
    /// # Errors
    /// [`Error::GroupName`] for a name that is empty or has a slash.
    pub fn new(db: &BTree, name: impl Into<String>) -> Result<Group> {
        let name = name.into();
        if name.is_empty() || name.contains('/') {
            return Err(Error::GroupName);
        }
        Ok(Group { db: db.clone(), name: name.into() })
    }

    /// Runs a write transaction that is durable when this returns, whatever the store's handle, or
    /// an application in the closure, defers.
    pub(crate) fn exec_multi<R>(
        &self,
        closure: impl FnOnce(&mut MultiTxn<'_>) -> btree_store::Result<R>,
    ) -> btree_store::Result<R> {
        self.db.exec_multi(|multi| {
            let value = closure(multi)?;
            // The last call counts, so it comes behind those of the application.
            multi.set_durability(Durability::Durable);
            Ok(value)
        })
    }

    /// As [`Group::exec_multi`], with errors of this crate.
    pub(crate) fn try_exec_multi<R>(
        &self,
        closure: impl FnOnce(&mut MultiTxn<'_>) -> Result<R>,
    ) -> Result<R> {
        self.db.try_exec_multi(|multi| {
            multi.set_durability(Durability::Durable);
            closure(multi)
        })
    }

    /// The newest durable state.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.db.snapshot()
    }

    /// A bucket of this group.
    pub(crate) fn bucket(&self, part: &str) -> String {
        format!("{}/{part}", self.name)
    }

    /// Makes buckets that are missing. The first of them says in which format they are.
    pub(crate) fn prepare(&self, first: &str, others: &[&str]) -> Result<()> {
        let found = self.exec_multi(|multi| {
            let found = multi.exec(self.bucket(first), |txn| match txn.get(FORMAT_KEY) {
                Err(btree_store::Error::NotFound) => {
                    txn.put(FORMAT_KEY, FORMAT)?;
                    Ok(FORMAT.to_vec())
                }
                other => other,
            })?;
            // What is refused is left as it is.
            for part in others.iter().filter(|_| found == FORMAT) {
                multi.exec(self.bucket(part), |_| Ok(()))?;
            }
            Ok(found)
        })?;
        if found == FORMAT {
            return Ok(());
        }
        let found = String::from_utf8_lossy(&found[..found.len().min(64)]).into_owned();
        Err(Error::damaged("group", format_args!("its format is {found:?}")))
    }
}

/// The record of a key, if there is one.
pub(crate) fn record(state: &Snapshot, bucket: &str, key: &str) -> Result<Option<Vec<u8>>> {
    let found = state.view(bucket, |txn| match txn.get(key) {
        Ok(record) => Ok(Some(record)),
        Err(btree_store::Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    })?;
    Ok(found)
}

/// Work on a group that blocks, done outside the runtime. What writes is done in the order in
/// which it was asked for, also where the caller lost interest meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    group: Group,
    turn: Arc<Mutex<()>>,
}

impl Lane {
    pub(crate) fn new(group: Group) -> Lane {
        Lane { group, turn: Arc::new(Mutex::new(())) }
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    /// Does what writes, after all that was begun before.
    pub(crate) async fn write<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Group) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        // The work keeps its turn to its end, even if nobody waits for it any more.
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let group = self.group.clone();
        blocking(move || {
            let _turn = turn;
            work(&group)
        })
        .await
    }

    /// Does what only reads, of the newest durable state.
    pub(crate) async fn read<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Group) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let group = self.group.clone();
        blocking(move || work(&group)).await
    }
}

/// Runs what blocks on a thread on which it may.
pub(crate) async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R> + Send + 'static,
) -> Result<R> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::Interrupted { why: error.to_string() }))
}

/// Puts a record where several buckets change together.
pub(crate) fn put(
    multi: &mut MultiTxn<'_>,
    bucket: &str,
    key: &str,
    record: &[u8],
) -> btree_store::Result<()> {
    multi.exec(bucket, |txn| txn.put(key, record))
}
