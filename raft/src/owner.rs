//! Whose the state is, and whose the log.
//!
//! Owns: [`Owner`], the hold that one state machine has on a group's state, or one log store on its
//! log. Must not know: what is done with it.
//!
//! openraft's shutdown does not wait for the state machine, nor who drops a node for anything:
//! what is queued is done later, while the program may have opened another one already. Each takes
//! the next number when it is opened, and looks inside of every transaction whether that is still
//! the newest.

use crate::error::{Error, Result};
use crate::group::{Group, put};
use btree_store::MultiTxn;

/// The key of the number of who was opened last, in a bucket of what is owned.
const OWNER: &str = "owner";

/// A hold on a part of a group, which ends when the next one takes it over.
#[derive(Clone)]
pub(crate) struct Owner {
    group: Group,
    /// The bucket that has the number.
    bucket: String,
    number: [u8; 8],
}

impl Owner {
    /// Takes a part of the group over, in one transaction with what the closure changes. All that
    /// owners before have committed is durable then. If it fails, they go on.
    pub(crate) fn next<R>(
        group: &Group,
        part: &str,
        begin: impl FnOnce(&mut MultiTxn<'_>) -> Result<R>,
    ) -> Result<(Owner, R)> {
        let bucket = group.bucket(part);
        let (number, begun) = group.try_exec_multi(|multi| {
            let last = multi.exec(&bucket, |txn| txn.find(OWNER))?.unwrap_or_else(|| vec![0; 8]);
            let last = <[u8; 8]>::try_from(last.as_slice());
            let last = last.map_err(|_| Error::damaged("owner", "it has not 8 bytes"))?;
            let number = u64::from_be_bytes(last).wrapping_add(1).to_be_bytes();
            put(multi, &bucket, OWNER, &number)?;
            Ok((number, begin(multi)?))
        })?;
        Ok((Owner { group: group.clone(), bucket, number }, begun))
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    /// Runs a durable transaction.
    ///
    /// # Errors
    /// [`Error::Replaced`], with nothing changed, when another one took over since.
    pub(crate) fn exec_multi<R>(
        &self,
        closure: impl FnOnce(&mut MultiTxn<'_>) -> btree_store::Result<R>,
    ) -> Result<R> {
        let mut is_replaced = false;
        let ended = self.group.exec_multi(|multi| {
            let newest = multi.exec(&self.bucket, |txn| txn.get(OWNER))?;
            is_replaced = newest != self.number;
            if is_replaced {
                return Err(btree_store::Error::Conflict);
            }
            closure(multi)
        });
        if is_replaced { Err(Error::Replaced) } else { Ok(ended?) }
    }
}
