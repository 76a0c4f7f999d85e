//! The error type (layer L1).
//!
//! Owns: [`Error`], whose names are plain values, and [`ErrorDetail`], which says more.
//! Must not know: who raises an error.
//! Keeps: errors-stick (a [`Fault`] raises the same error again, with its detail).

use crate::invariant::Invariant;
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::{fmt, io};

/// The result of every call that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, as a plain value that can be compared and matched.
///
/// Where more is known (the page, the invariant, the limit, the operating system's error),
/// [`Error::detail`] returns it on the thread that got the error. The error's own text does not
/// have it: a function that hands errors on as texts returns [`DetailedError`].
///
/// ```
/// use btree_store::{BTree, Error, Options};
/// let db = Options::new().open_in_memory()?;
/// db.exec("b", |txn| txn.put(b"k", b"v"))?;
/// assert_eq!(db.view("b", |txn| txn.get(b"missing")), Err(Error::NotFound));
/// assert_eq!(db.exec("b", |txn| txn.put(b"", b"v")), Err(Error::Invalid));
/// # Ok::<(), Error>(())
/// ```
// As wide as an address: in a result that is an address or an error it does not lie on top of a
// part of one, which would be put together of such parts each time, and slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u64)]
pub enum Error {
    /// The key or the bucket does not exist.
    NotFound,
    /// The bytes of a file, or of a backup stream, break an invariant; [`ErrorDetail::Corruption`]
    /// names page and invariant.
    Corruption,
    /// A key, a value or a bucket name exceeds its limit; [`ErrorDetail::Limit`] names it.
    TooLarge,
    /// A defect of this crate; it should not happen.
    Internal,
    /// The disk, or the 32-bit space of page ids, is full. The state is the one before the call.
    /// [`ErrorDetail::Io`] or [`ErrorDetail::Message`] says which.
    ///
    /// On a full disk a delete may fail as well, and so may
    /// [`BTree::compact`](crate::BTree::compact): pages are copied before others become free.
    /// [`BTree::del_bucket`](crate::BTree::del_bucket), and
    /// [`Txn::delete_range`](crate::Txn::delete_range) of all that a bucket holds, copy hardly any.
    /// What they free is used again two commits later.
    NoSpace,
    /// The operating system reported an error, or said only at a sync that the disk is full;
    /// [`ErrorDetail::Io`] holds it.
    IoError,
    /// The call is not allowed here: an empty key, a write to a read-only store, a write
    /// transaction inside another of the same thread; [`ErrorDetail::Message`] says which.
    Invalid,
    /// The key, the bucket, or the file of a backup or of
    /// [`Options::create_new`](crate::Options::create_new), exists already, where the call wants
    /// it absent.
    Duplicate,
    /// Another transaction committed first: what an [`OwnedTxn`](crate::OwnedTxn) read or wrote has
    /// changed since it began, and nothing of it has happened; [`ErrorDetail::Message`] says what.
    /// Or a commit of others failed since it put a value from a reader, which it may have taken; a
    /// call that cannot read the value any more says so before the commit does.
    Conflict,
    /// Another process, or another store object, has the file open; or this process has it open for
    /// reading only, and it is to be written.
    Busy,
    /// A sync failed earlier, so that nothing more is acknowledged; the detail says how. To go on,
    /// close the store, by dropping all handles, snapshots, cursors and owned transactions, and
    /// open it again: until then opening it fails with this, too.
    Poisoned,
}

impl Error {
    /// What is known beyond the name, or `None`.
    ///
    /// Each thread keeps one detail, whatever its error's name: that of the latest error with one
    /// that was raised there. It is the answer if that error had this name. So ask right after the
    /// call that failed. An error that a closure makes up, and returns, has none: what an earlier
    /// one of that name left is forgotten, unless a call in the closure left it.
    pub fn detail(self) -> Option<ErrorDetail> {
        let of_self = |latest: &RefCell<Option<(Error, ErrorDetail)>>| match &*latest.borrow() {
            Some((error, detail)) if *error == self => Some(detail.clone()),
            _ => None,
        };
        LATEST.try_with(of_self).unwrap_or_default()
    }

    /// A corruption error that names the page, the invariant, and what was expected and found.
    pub(crate) fn corruption(
        page: Option<u32>,
        invariant: Invariant,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Error {
        Error::Corruption.with(ErrorDetail::Corruption(Corruption {
            page,
            invariant,
            expected: expected.to_string(),
            found: found.to_string(),
        }))
    }

    /// An error of a size beyond its limit.
    pub(crate) fn too_large(what: &'static str, limit: u64, found: u64) -> Error {
        Error::TooLarge.with(ErrorDetail::Limit { what, limit, found })
    }

    /// An error of a call that is not allowed.
    pub(crate) fn invalid(message: &'static str) -> Error {
        Error::Invalid.with(ErrorDetail::Message(message))
    }

    /// An error of numbers that have run out, where the disk may have room.
    pub(crate) fn no_space(message: &'static str) -> Error {
        Error::NoSpace.with(ErrorDetail::Message(message))
    }

    /// An error of a transaction that others were ahead of.
    pub(crate) fn conflict(message: &'static str) -> Error {
        Error::Conflict.with(ErrorDetail::Message(message))
    }

    /// An error of this crate itself.
    pub(crate) fn internal(message: &'static str) -> Error {
        Error::Internal.with(ErrorDetail::Message(message))
    }

    /// The error of a failed operation of the storage.
    pub(crate) fn io(operation: &'static str, error: &io::Error) -> Error {
        let name = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace,
            _ => Error::IoError,
        };
        name.with(ErrorDetail::Io {
            operation,
            kind: error.kind(),
            os_code: error.raw_os_error(),
            message: error.to_string(),
        })
    }

    /// The error of a call on this file: where the storage failed, the detail names it, unless it
    /// names the one that stands for it until it is made.
    pub(crate) fn of_file(self, path: &Path) -> Error {
        match (self, self.detail()) {
            (
                Error::IoError | Error::NoSpace,
                Some(ErrorDetail::Io { operation, kind, os_code, message }),
            ) => {
                let file = path.display().to_string();
                if message.starts_with(&file) {
                    return self;
                }
                let message = format!("{file}: {message}");
                self.with(ErrorDetail::Io { operation, kind, os_code, message })
            }
            _ => self,
        }
    }

    /// The error where nobody knows what is durable: `NoSpace` would promise the state before.
    pub(crate) fn of_unknown_outcome(self) -> Error {
        match (self, self.detail()) {
            (Error::NoSpace, Some(detail)) => Error::IoError.with(detail),
            // A thread that is ending keeps no detail.
            (Error::NoSpace, None) => Error::IoError.bare(),
            (error, _) => error,
        }
    }

    /// Records `detail` as the latest of this thread.
    pub(crate) fn with(self, detail: ErrorDetail) -> Error {
        RAISED.with(|raised| raised.set(raised.get().wrapping_add(1)));
        // A thread that is ending keeps nothing.
        LATEST.try_with(|latest| *latest.borrow_mut() = Some((self, detail))).unwrap_or_default();
        self
    }

    /// The error without a detail. What an earlier error of this name left is not its own.
    pub(crate) fn bare(self) -> Error {
        let forget = |latest: &RefCell<Option<(Error, ErrorDetail)>>| {
            drop(latest.borrow_mut().take_if(|(error, _)| *error == self));
        };
        LATEST.try_with(forget).unwrap_or_default();
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::NotFound => "the key or the bucket does not exist",
            Error::Corruption => "the file is corrupted",
            Error::TooLarge => "a key, value or bucket name exceeds its limit",
            Error::Internal => "internal error",
            Error::NoSpace => "no space left",
            Error::IoError => "I/O error",
            Error::Invalid => "the call is not allowed here",
            Error::Duplicate => "the key, bucket or file exists already",
            Error::Conflict => "another transaction committed first",
            Error::Busy => "the file is in use",
            Error::Poisoned => "an earlier sync failed; reopen the store",
        })
    }
}

impl std::error::Error for Error {}

/// An error with what was known beyond its name, for whoever shows it, later perhaps and on another
/// thread. `?` makes one of an [`Error`], when [`Error::detail`] still says what belongs to it.
///
/// ```
/// use btree_store::{BTree, DetailedError, Error, Options};
/// fn first(path: &std::path::Path) -> Result<Vec<u8>, DetailedError> {
///     let db = Options::new().must_exist().open(path)?;
///     Ok(db.view("b", |txn| txn.get("k"))?)
/// }
/// let failed = first("no/such/file".as_ref()).unwrap_err();
/// assert_eq!(failed.error, Error::IoError);
/// assert!(failed.to_string().starts_with("I/O error: open: no/such/file: "));
/// let shown: Box<dyn std::error::Error + Send + Sync> = failed.into();
/// # drop(shown);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DetailedError {
    /// Which error it is.
    pub error: Error,
    /// What [`Error::detail`] said.
    pub detail: Option<ErrorDetail>,
}

impl From<Error> for DetailedError {
    fn from(error: Error) -> DetailedError {
        DetailedError { error, detail: error.detail() }
    }
}

impl fmt::Display for DetailedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{}: {detail}", self.error),
            None => self.error.fmt(f),
        }
    }
}

impl std::error::Error for DetailedError {}

/// The error of a reader: of the kind `InvalidData` for `Corruption`, and `Other` else. It holds a
/// [`DetailedError`].
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match error {
            Error::Corruption => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, DetailedError::from(error))
    }
}

/// The error of a closure that has met one of files or streams of its own: `NoSpace` where a disk
/// is full, and `IoError` else, with [`ErrorDetail::Io`]. One that was made of an [`Error`] is that
/// again.
///
/// ```
/// use btree_store::{Error, Options};
/// let db = Options::new().open_in_memory()?;
/// let done = db.exec("b", |txn| txn.put("k", std::fs::read("no/such/file")?));
/// assert_eq!(done, Err(Error::IoError));
/// let text = Error::IoError.detail().map(|detail| detail.to_string());
/// assert!(text.is_some_and(|text| text.starts_with("outside of the store: ")));
/// # Ok::<(), Error>(())
/// ```
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        if let Some(own) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            return own.bare();
        }
        match error.get_ref().and_then(|inner| inner.downcast_ref::<DetailedError>()) {
            Some(own) => Fault { error: own.error, detail: own.detail.clone() }.raise(),
            None => Error::io("outside of the store", &error),
        }
    }
}

/// What is known about an error beyond its name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorDetail {
    /// Which page broke which invariant.
    Corruption(Corruption),
    /// Which limit was exceeded.
    Limit {
        /// What is limited: "key", "value", "bucket name", in bytes.
        what: &'static str,
        /// The largest size allowed, in bytes.
        limit: u64,
        /// The size given, in bytes.
        found: u64,
    },
    /// What the operating system said.
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// The kind of the error.
        kind: io::ErrorKind,
        /// The operating system's code, where there is one.
        os_code: Option<i32>,
        /// The operating system's text; where a file is opened, begun, named or verified by its
        /// path, that and a colon in front.
        message: String,
    },
    /// A sentence that says what was wrong with the call.
    Message(&'static str),
}

/// A violated invariant in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The page, where the violation belongs to one.
    pub page: Option<u32>,
    /// The invariant that does not hold.
    pub invariant: Invariant,
    /// What the invariant asks for.
    pub expected: String,
    /// What the file holds.
    pub found: String,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(page) = self.page {
            write!(f, "page {page}: ")?;
        }
        write!(f, "{}: expected {}, found {}", self.invariant, self.expected, self.found)
    }
}

impl fmt::Display for ErrorDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorDetail::Corruption(corruption) => corruption.fmt(f),
            ErrorDetail::Limit { what, limit, found } => {
                write!(f, "{what} of {found} bytes, the limit is {limit}")
            }
            ErrorDetail::Io { operation, message, .. } => write!(f, "{operation}: {message}"),
            ErrorDetail::Message(message) => f.write_str(message),
        }
    }
}

thread_local! {
    /// How many errors with a detail were raised.
    static RAISED: Cell<u64> = const { Cell::new(0) };
    static LATEST: RefCell<Option<(Error, ErrorDetail)>> = const { RefCell::new(None) };
}

/// Runs a closure of the user's. An error that it made up is not told with the detail of one that
/// was raised before.
#[inline]
pub(crate) fn of_closure<R>(closure: impl FnOnce() -> Result<R>) -> Result<R> {
    match and_raised(closure) {
        (Err(error), false) => Err(error.bare()),
        (ended, _) => ended,
    }
}

/// As [`of_closure`], of one that fails with errors of the program's own: where it raised none of
/// the store's, no detail is left that one of them would be told with.
#[inline]
pub(crate) fn of_own_closure<R, E>(
    closure: impl FnOnce() -> std::result::Result<R, E>,
) -> std::result::Result<R, E> {
    let (ended, has_raised) = and_raised(closure);
    if ended.is_err() && !has_raised {
        LATEST.try_with(|latest| drop(latest.take())).unwrap_or_default();
    }
    ended
}

/// What a closure returns, and whether an error with a detail was raised meanwhile.
#[inline]
fn and_raised<T>(closure: impl FnOnce() -> T) -> (T, bool) {
    let before = RAISED.with(Cell::get);
    let ended = closure();
    (ended, RAISED.with(Cell::get) != before)
}

/// Does what may raise errors of which nobody is told: the thread's detail stays what it was.
pub(crate) fn unheard<R>(work: impl FnOnce() -> R) -> R {
    let raised = RAISED.with(Cell::get);
    let kept = LATEST.try_with(RefCell::take);
    let done = work();
    if let Ok(kept) = kept {
        LATEST.try_with(|latest| *latest.borrow_mut() = kept).unwrap_or_default();
    }
    // Nor does a closure that ends behind this count them as its own.
    RAISED.with(|count| count.set(raised));
    done
}

/// An error with its detail, kept so that it can be raised again, on another thread too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    error: Error,
    detail: Option<ErrorDetail>,
}

impl Fault {
    /// Keeps an error that was just raised on this thread.
    pub(crate) fn keep(error: Error) -> Fault {
        Fault { error, detail: error.detail() }
    }

    /// The error's name.
    pub(crate) fn error(&self) -> Error {
        self.error
    }

    /// Raises the error again, with its detail, on the calling thread.
    pub(crate) fn raise(&self) -> Error {
        self.raise_as(self.error)
    }

    /// Raises another error, because of this one.
    pub(crate) fn raise_as(&self, error: Error) -> Error {
        match &self.detail {
            Some(detail) => error.with(detail.clone()),
            None => error.bare(),
        }
    }
}
