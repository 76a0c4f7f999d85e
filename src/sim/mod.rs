//! The simulated disk and the crash explorer (layer L8): crash-test a store, or your own
//! application on top of one, over every way in which power can fail.
//!
//! Owns: [`SimDisk`], files in memory that lose power the way real ones do; [`Explorer`], which
//! runs your workload, crashes it everywhere, and runs your check on everything that can be left.
//! Must not know: the store, but for [`certify`], [`campaign`] and what serves them. Disk and
//! explorer see the [`Vfs`](crate::vfs::Vfs) trait and nothing above it.
//! Keeps: the model below, no more and no less.
//!
//! # How to use it
//!
//! Write a workload, which opens your store on the [`SimDisk`] it is given and works with it, and
//! a check, which opens it again after a crash and looks whether all is well. Let the workload
//! mark what has begun ([`SimDisk::started`]) and what was acknowledged
//! ([`SimDisk::acknowledged`]); the check reads that from [`Crash`].
//!
//! ```
//! use btree_store::sim::{Explorer, SimDisk};
//! use btree_store::{BTree, Error, Options};
//!
//! fn open(disk: &SimDisk) -> btree_store::Result<BTree> {
//!     Options::new().page_size(512).vfs(disk.vfs()).open("app.db")
//! }
//!
//! let report = Explorer::new("two puts").explore(
//!     |disk| {
//!         let db = open(disk)?;
//!         for n in 1..=2_u64 {
//!             disk.started(n);
//!             db.exec("app", |txn| txn.put("n", n.to_le_bytes()))?;
//!             disk.acknowledged(n);
//!         }
//!         Ok(())
//!     },
//!     |disk, crash| {
//!         let n = match open(disk)?.view("app", |txn| txn.get("n")) {
//!             Ok(bytes) => u64::from_le_bytes(bytes.as_slice().try_into()?),
//!             Err(Error::NotFound) => 0,
//!             Err(error) => return Err(error.into()),
//!         };
//!         if n < crash.acknowledged() || n > crash.started() {
//!             return Err(format!("found {n} after {crash:?}").into());
//!         }
//!         Ok(())
//!     },
//! );
//! assert!(report.is_verified(), "{report}");
//! ```
//!
//! A failure comes with the story of the run and with a token; [`Explorer::replay`] repeats it.
//! [`minimise`] leaves out what a failing workload does not need. [`Explorer::sample`] serves
//! what is too large to be searched, and fuzzers ([`Bytes`]).
//!
//! The store need not be part of it: all that is opened, made, renamed, removed, listed and synced
//! through [`Vfs`](crate::vfs::Vfs) is crashed. In `examples/` are an application on top of a
//! store, a file that is replaced as a whole, and segments in a directory with a manifest, each
//! right and with the mistakes that are often made. The shortest with a directory:
//!
//! ```
//! use btree_store::sim::Explorer;
//! use btree_store::vfs::{OpenMode, Vfs};
//! use std::path::Path;
//!
//! let explore = |syncs_parent: bool| {
//!     let (directory, segment) = (Path::new("log"), Path::new("log/1"));
//!     Explorer::new("a segment").explore(
//!         |disk| {
//!             disk.create_dir(directory)?;
//!             if syncs_parent {
//!                 disk.sync_dir(directory)?;
//!             }
//!             disk.open(segment, OpenMode::Create)?.sync_all()?;
//!             disk.sync_dir(segment)?;
//!             disk.acknowledged(1);
//!             Ok(())
//!         },
//!         |disk, crash| {
//!             if crash.acknowledged() == 1 && !disk.exists(segment)? {
//!                 return Err("the segment is gone".into());
//!             }
//!             Ok(())
//!         },
//!     )
//! };
//! assert!(explore(true).is_verified());
//! let violation = explore(false).violation.expect("the directory's own name is lost");
//! assert!(violation.story.contains("#1 create_dir log"), "{violation}");
//! ```
//!
//! # What may happen
//!
//! - A file consists of sectors ([`Profile::sector_bytes`]). The process reads what was written
//!   last. After a crash each sector that was written since the last sync holds any one of the
//!   versions that it had since then, independently of the others; likewise the size.
//! - Files have names in directories, and so have directories, but for the top, which is always
//!   there: see [`SimDisk`].
//! - `sync_all` makes data and size of a file durable, `sync_data` as well unless
//!   [`DataSync::LosesSize`] says otherwise; only `sync_dir` makes names durable, those in the
//!   directory that it is asked for. After a crash any subset of the creations, renamings and
//!   removals since then is there, of files and of directories; what lies in a directory whose own
//!   name is not there is gone, synced or not.
//! - Where a file grew and no data landed, it holds zeros, or old bytes ([`Growth::Stale`]).
//! - What is cut off by shrinking a file reads as zeros if the file grows again.
//! - Operations fail as [`Fault`]s tell them to: errors, short transfers, and syncs that fail in
//!   each of the ways in which real ones do ([`SyncFailure`]). [`When::Chosen`] has an exploration
//!   try every place.
//! - A machine that is restarted without a crash ([`SimDisk::kill`]) keeps its page cache, and
//!   with it whatever a failed sync left there, until memory is short and all of it goes
//!   ([`SimDisk::evict`]), or any part of it ([`SimDisk::evict_some`]).
//!
//! Which version of a sector survived is decided when it is first read, and whether a name did when
//! it is looked up, or its directory is listed. What nobody reads makes no difference, so that a
//! search through every outcome that *can be seen* is feasible where one through every image is
//! not. It is exact all the same: on more than five thousand small random programs, the tests
//! compare it with building every image at every operation.
//!
//! # What it costs
//!
//! A check runs once for each outcome that it can see. What it reads of n sectors, or names, that
//! were changed and not synced has 2ⁿ of them, more where one was written several times: a check
//! that lists a directory from which twelve files were removed since its last sync runs 4,096
//! times, after sixteen 65,536 times. So sync in the workload what is not in question, let a check
//! read what it judges, and take large sectors first. Each crash point is kept with all that the
//! disk holds: a thousand files, each synced, take some 400 MB. [`Explorer::executions_max`] ends a
//! search that is too long, [`Explorer::shard`] shares it, and [`Explorer::sample`] draws from it.
//! A workload or a check that tries again for ever what fails is ended, and told as a violation, if
//! each try asks the disk for something: a poisoned store asks for nothing, so that whoever tries
//! until a commit succeeds has to give up at [`Error::Poisoned`](crate::Error::Poisoned).
mod arena;
mod audit;
mod audited;
pub mod campaign;
pub mod certify;
mod choose;
mod chooser;
mod crash;
mod disk;
mod dump;
mod explore;
mod fault;
mod file;
mod guard;
mod known;
mod looks;
mod machine;
mod minimise;
mod monitor;
mod names;
mod naming;
mod operations;
pub mod oracle;
mod paths;
mod permission;
mod points;
mod process;
mod profile;
mod promise;
mod report;
mod requests;
mod run;
mod state;
mod story;
mod token;
mod trace;
mod trial;
mod workers;
mod workloads;

#[doc(hidden)]
pub use audited::{Audited, audit_slots};
pub use choose::{Bytes, Choice, Choose, Exhaustive, Newest, Script, Seeded};
pub use crash::{Checked, Crash};
pub use disk::SimDisk;
pub use explore::Explorer;
pub use fault::{Errno, Failure, Fault, OpSet, SyncFailure, When};
pub use minimise::minimise;
pub use monitor::{Monitor, WriteEvent};
pub use points::{CrashPoints, Images, Mark};
pub use profile::{DataSync, Flush, Growth, Profile};
pub use report::{PointReport, Report, Verdict, Violation};
pub use state::Snapshot;
pub use token::TokenError;
pub use trace::{Op, OpKind, Outcome, Trace};

/// A length as the 32-bit number that the disk counts sectors, files and choices with.
fn count(len: usize) -> u32 {
    u32::try_from(len).expect("a simulated disk counts in 32 bits")
}

/// A 32-bit number as an index.
fn index(number: u32) -> usize {
    usize::try_from(number).expect("an index has at least 32 bits")
}
