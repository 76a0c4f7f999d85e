//! Whose the state is.
//!
//! Owns: [`Owner`], the hold that one state machine has on a group's state. Must not know: what is
//! done with it.
//!
//! openraft's shutdown does not wait for the state machine: what is queued for it is done later,
//! while the program may have opened another one already. Each takes the next number when it is
//! opened, and looks inside of every transaction whether that is still the newest.

use crate::error::{Error, Result};
use crate::group::Group;
use crate::reader::MACHINE;
use btree_store::MultiTxn;

/// The key of the number of the state machine that was opened last.
const OWNER: &str = "owner";

/// A state machine's hold on its group, which ends when another one is opened.
#[derive(Clone)]
pub(crate) struct Owner {
    group: Group,
    number: [u8; 8],
}

impl Owner {
    /// Takes the group over. All that owners before have committed is durable then.
    pub(crate) fn next(group: &Group) -> Result<Owner> {
        let number = group.exec_multi(|multi| {
            multi.exec(group.bucket(MACHINE), |txn| {
                let last = match txn.get(OWNER) {
                    Ok(last) => last,
                    Err(btree_store::Error::NotFound) => vec![0; 8],
                    Err(error) => return Err(error),
                };
                let Ok(last) = <[u8; 8]>::try_from(last.as_slice()) else { return Ok(None) };
                let number = u64::from_be_bytes(last).wrapping_add(1).to_be_bytes();
                txn.put(OWNER, number)?;
                Ok(Some(number))
            })
        })?;
        let number = number.ok_or_else(|| Error::damaged("owner", "it has not 8 bytes"))?;
        Ok(Owner { group: group.clone(), number })
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    /// Runs a durable transaction.
    ///
    /// # Errors
    /// [`Error::Replaced`], with nothing changed, when another state machine was opened since.
    pub(crate) fn exec_multi<R>(
        &self,
        closure: impl FnOnce(&mut MultiTxn<'_>) -> btree_store::Result<R>,
    ) -> Result<R> {
        let mut is_replaced = false;
        let ended = self.group.exec_multi(|multi| {
            let newest = multi.exec(self.group.bucket(MACHINE), |txn| txn.get(OWNER))?;
            is_replaced = newest != self.number;
            if is_replaced {
                return Err(btree_store::Error::Conflict);
            }
            closure(multi)
        });
        if is_replaced { Err(Error::Replaced) } else { Ok(ended?) }
    }
}
