//! A state machine that is ready to be used: one bucket of keys and values.
//!
//! Owns: [`KeyValue`], its requests and answers. Must not know: Raft's own records.

use crate::file::SnapshotFile;
use crate::machine::{Application, Buckets};
use crate::reader::StateView;
use openraft::{BasicNode, Entry, RaftTypeConfig, TokioRuntime};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

const BUCKET: &str = "kv";

openraft::declare_raft_types!(
    /// The types of a cluster of [`KeyValue`] nodes.
    pub KeyValueConfig:
        D = Request,
        R = Response,
        NodeId = u64,
        Node = BasicNode,
        Entry = Entry<KeyValueConfig>,
        SnapshotData = SnapshotFile,
        AsyncRuntime = TokioRuntime,
);

/// What a client asks for.
///
/// ```
/// use btree_store_raft::kv::Request;
/// let put = Request::put("key", "value");
/// let swap = Request::compare_and_swap("key", Some(b"value"), None);
/// assert_ne!(put, swap);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Request {
    /// Inserts an entry, or replaces its value.
    Put {
        /// The key, of 1 to 1,024 bytes (a quarter of a page).
        key: ByteBuf,
        /// The value, of some bytes less than 4 GiB: the log keeps key, value and log id together
        /// in 4 GiB - 1. Refuse what is larger before Raft gets it: there it is an error of the
        /// log, which ends the leader.
        value: ByteBuf,
    },
    /// Removes an entry.
    Delete {
        /// Its key.
        key: ByteBuf,
    },
    /// Gives a key a new value, or removes it, if it has the expected one.
    CompareAndSwap {
        /// The key.
        key: ByteBuf,
        /// The value that it must have; `None` if it must be absent.
        expected: Option<ByteBuf>,
        /// The value that it gets; `None` if it is to be removed.
        new: Option<ByteBuf>,
    },
}

impl Request {
    /// Inserts an entry, or replaces its value.
    pub fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Request {
        Request::Put { key: ByteBuf::from(key), value: ByteBuf::from(value) }
    }

    /// Removes an entry.
    pub fn delete(key: impl Into<Vec<u8>>) -> Request {
        Request::Delete { key: ByteBuf::from(key) }
    }

    /// Gives a key a new value, or removes it, if it has the expected one; `None` stands for a key
    /// that is absent.
    pub fn compare_and_swap(
        key: impl Into<Vec<u8>>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Request {
        let key = ByteBuf::from(key);
        let (expected, new) = (expected.map(ByteBuf::from), new.map(ByteBuf::from));
        Request::CompareAndSwap { key, expected, new }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Response {
    /// It was done: the key has the value, or is gone.
    Done,
    /// Nothing has changed: the key to be deleted is absent, or does not have the expected value.
    Unchanged,
    /// Nothing has changed, since the key is empty, or key or value are too long.
    Refused,
}

/// A map from keys to values, on all nodes of a cluster.
///
/// All nodes have pages of the same size: the limit of a key depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyValue;

impl KeyValue {
    /// The value of a key in a state, if it is there.
    ///
    /// # Errors
    /// Those of the store; `Invalid` and `TooLarge` for what is no key.
    pub fn get<C: RaftTypeConfig>(
        view: &StateView<C>,
        key: impl AsRef<[u8]>,
    ) -> btree_store::Result<Option<Vec<u8>>> {
        match view.view(BUCKET, |txn| txn.get(key)) {
            Ok(value) => Ok(Some(value)),
            Err(btree_store::Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<C: RaftTypeConfig<D = Request, R = Response>> Application<C> for KeyValue {
    fn apply(
        &self,
        request: Request,
        buckets: &mut Buckets<'_, '_>,
    ) -> btree_store::Result<Response> {
        let mut has_bucket = false;
        let is_done = buckets.exec(BUCKET, |txn| {
            has_bucket = true;
            match request {
                Request::Put { key, value } => txn.put(&*key, &*value).map(|()| true),
                Request::Delete { key } => txn.del(&*key).map(|()| true),
                Request::CompareAndSwap { key, expected, new } => txn.compare_and_swap(
                    &*key,
                    expected.as_deref().map(|v| &**v),
                    new.as_deref().map(|v| &**v),
                ),
            }
        });
        match is_done {
            Ok(true) => Ok(Response::Done),
            Ok(false) | Err(btree_store::Error::NotFound) => Ok(Response::Unchanged),
            // Without a bucket it is the group's name that has no room, on this node.
            Err(btree_store::Error::Invalid | btree_store::Error::TooLarge) if has_bucket => {
                Ok(Response::Refused)
            }
            Err(error) => Err(error),
        }
    }

    fn answer_without_data(&self) -> Response {
        Response::Done
    }
}
