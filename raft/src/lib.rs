//! A log store and a state machine for [openraft](https://docs.rs/openraft/0.9), on
//! [btree-store](btree_store).
//!
//! [`LogStore`] keeps a Raft group's log and vote; [`StateMachine`] keeps what an
//! [`Application`] makes of the entries that the cluster has agreed upon; [`kv::KeyValue`] is an
//! application that is ready to be used. Both implement openraft's storage traits (`storage-v2`
//! of openraft 0.9), and pass its test suite. [`StateReader`] reads the state beside Raft.
//!
//! ```
//! use btree_store::BTree;
//! use btree_store_raft::kv::{KeyValue, KeyValueConfig, Request, Response};
//! use btree_store_raft::{Group, LogStore, StateMachine};
//! use openraft::storage::{RaftLogStorageExt, RaftStateMachine};
//! use openraft::testing::log_id;
//! use openraft::{Entry, EntryPayload, Vote};
//! use openraft::storage::RaftLogStorage;
//!
//! # let dir = tempfile::tempdir()?;
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! let db = BTree::open(dir.path().join("node.db"))?;
//! let group = Group::new(&db, "group")?;
//! let snapshots = dir.path().join("snapshots");
//! let mut machine = StateMachine::<KeyValueConfig, _>::open(&group, KeyValue, snapshots)?;
//! let reader = machine.reader();
//! let mut log = LogStore::open(&group, machine.progress())?;
//!
//! // What openraft does with them, once `Raft::new` has them.
//! log.save_vote(&Vote::new_committed(1, 1)).await?;
//! let payload = EntryPayload::Normal(Request::put("key", "value"));
//! let entry = Entry::<KeyValueConfig> { log_id: log_id(1, 1, 1), payload };
//! log.blocking_append([entry.clone()]).await?; // durable from here on
//! assert_eq!(machine.apply([entry]).await?, [Response::Done]); // and so is this
//!
//! let state = reader.view()?;
//! assert_eq!(state.last_applied(), Some(&log_id(1, 1, 1)));
//! assert_eq!(KeyValue::get(&state, "key")?.as_deref(), Some(b"value".as_slice()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is guaranteed
//!
//! - What an append's callback acknowledged, and a vote that was saved, survive a crash.
//! - State, last applied log id and membership change together, in one durable transaction for all
//!   entries that are applied together. An entry is applied once.
//! - The log is purged only where the state is: up to an entry that is durably applied, or is in a
//!   snapshot that was installed. While a large one is installed, openraft 0.9 keeps back the
//!   node's answers to votes and appends, and waits for the purge.
//! - A snapshot shows one state. One that is installed replaces the state as a whole or not at
//!   all, after its checksum was compared. It takes a few MiB of memory, and the largest entry.
//! - What is damaged is a typed error ([`Error`], as a `StorageError` for openraft), and no panic.
//!
//! The tests in the repository let the power fail at every sync of a small workload on a simulated
//! disk, in every way that can be told apart.

#![warn(clippy::unwrap_used)]

mod codec;
mod error;
mod file;
mod group;
pub mod kv;
mod log;
mod machine;
mod owner;
mod progress;
mod reader;
mod stream;

pub use error::{Error, Result};
pub use file::SnapshotFile;
pub use group::Group;
pub use log::{LogReader, LogStore};
pub use machine::{Application, Buckets, SnapshotBuilder, StateMachine};
pub use progress::Progress;
pub use reader::{StateReader, StateView};
