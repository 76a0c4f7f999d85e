//! What can go wrong beneath Raft.
//!
//! Owns: [`Error`], and how openraft is told of one.

use btree_store::ErrorDetail;
use openraft::{AnyError, ErrorSubject, ErrorVerb, NodeId, StorageError, StorageIOError};
use std::{fmt, io};

/// The result of what this crate does itself. Through openraft's traits, an error arrives as a
/// [`StorageError`] with the same text.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the log or the state machine could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The store says so.
    Store {
        /// What it says.
        error: btree_store::Error,
        /// What it knows beyond that: the page, the limit, the system's error.
        detail: Option<ErrorDetail>,
    },
    /// What was read is not what this crate writes, though the store's checksums hold: other
    /// types wrote it, or somebody else. Of a snapshot it says that its bytes did not arrive whole.
    Damaged {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A value of the application's types cannot be serialised.
    Encoding {
        /// What was to be written.
        what: &'static str,
        /// What serde says.
        why: String,
    },
    /// Entries that do not follow each other, or what was applied.
    Order {
        /// The index in front, or the last one that was applied.
        before: u64,
        /// The index that was given.
        found: u64,
    },
    /// The directory for snapshots failed.
    Spool {
        /// What was done.
        operation: &'static str,
        /// The kind of the error.
        kind: io::ErrorKind,
        /// The system's text.
        message: String,
    },
    /// A group's name is empty, or has a slash.
    GroupName,
    /// Another state machine or log of the group was opened since: this one changes nothing more.
    Replaced,
    /// The work did not come to its end: the application panicked, the runtime shuts down, or the
    /// state machine ended for which a purge waited.
    Interrupted {
        /// What ended it.
        why: String,
    },
}

impl Error {
    /// Bytes that this crate would not have written.
    pub(crate) fn damaged(what: &'static str, why: impl fmt::Display) -> Error {
        Error::Damaged { what, why: why.to_string() }
    }

    /// A failure in the directory for snapshots.
    pub(crate) fn spool(operation: &'static str) -> impl Fn(io::Error) -> Error {
        move |error| Error::Spool { operation, kind: error.kind(), message: error.to_string() }
    }

    /// For openraft: what failed, while doing what.
    pub(crate) fn of<N: NodeId>(
        self,
        subject: ErrorSubject<N>,
        verb: ErrorVerb,
    ) -> StorageError<N> {
        StorageIOError::new(subject, verb, AnyError::new(&self)).into()
    }
}

/// Takes the detail along, so it is to be called on the thread that got the error.
impl From<btree_store::Error> for Error {
    fn from(error: btree_store::Error) -> Error {
        Error::Store { error, detail: error.detail() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Store { error, detail: Some(detail) } => write!(f, "{error}: {detail}"),
            Error::Store { error, detail: None } => error.fmt(f),
            Error::Damaged { what, why } => write!(f, "the {what} is damaged: {why}"),
            Error::Encoding { what, why } => write!(f, "the {what} cannot be serialised: {why}"),
            Error::Order { before, found } => write!(f, "index {found} does not follow {before}"),
            Error::Spool { operation, message, .. } => write!(f, "{operation}: {message}"),
            Error::GroupName => f.write_str("a group's name is empty or has a slash"),
            Error::Replaced => f.write_str("another state machine or log of the group was opened"),
            Error::Interrupted { why } => write!(f, "not done: {why}"),
        }
    }
}

impl std::error::Error for Error {}
