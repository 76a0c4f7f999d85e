//! SQLite: a table of two blobs without row ids, a write-ahead log, synced at each commit.

use crate::data::Queries;
use crate::engine::{
    Answer, BUCKET, Batch, Direction, Engine, Form, MIXED_VALUE, Peer, Result, Scope, Seen,
    directory_bytes,
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, TransactionBehavior};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub const PEER: Peer =
    Peer { name: "sqlite", open, lends: true, bulk_most: usize::MAX, is_durable: true };

/// How long one waits for a lock of the file, which is another's only by chance: writers wait for
/// each other before.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection serves one thread at a time; those that rest wait here.
struct Sqlite {
    path: PathBuf,
    cache_bytes: u64,
    idle: Mutex<Vec<Connection>>,
    /// Held by whoever writes. Without it a writer would find the file locked, and sleep for longer
    /// and longer before it looks again; in one process none would wait so.
    writer: Mutex<()>,
}

fn open(directory: &Path, cache_bytes: u64) -> Result<Box<dyn Engine>> {
    let path = directory.join("data.sqlite");
    let db = Sqlite { path, cache_bytes, idle: Mutex::default(), writer: Mutex::default() };
    db.with(|connection| {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        Ok(connection.execute_batch(&create(BUCKET))?)
    })?;
    Ok(Box::new(db))
}

fn create(name: &str) -> String {
    format!("CREATE TABLE IF NOT EXISTS {name} (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
}

fn put(connection: &Connection) -> Result<CachedStatement<'_>> {
    Ok(connection.prepare_cached(&format!("INSERT OR REPLACE INTO {BUCKET} VALUES (?1, ?2)"))?)
}

fn remove(connection: &Connection) -> Result<CachedStatement<'_>> {
    Ok(connection.prepare_cached(&format!("DELETE FROM {BUCKET} WHERE key = ?1"))?)
}

fn select(connection: &Connection) -> Result<CachedStatement<'_>> {
    Ok(connection.prepare_cached(&format!("SELECT value FROM {BUCKET} WHERE key = ?1"))?)
}

fn look_up(
    select: &mut CachedStatement<'_>,
    key: &[u8],
    form: Form,
    seen: &mut Seen,
) -> Result<()> {
    let found = select.query_row([key], |row| {
        let value = row.get_ref(0)?.as_blob()?;
        match form {
            Form::Borrowed => seen.value(value),
            Form::Copied => seen.value(&black_box(value.to_vec())),
        }
        Ok(())
    });
    found.optional()?;
    Ok(())
}

impl Sqlite {
    fn with<R>(&self, work: impl FnOnce(&mut Connection) -> Result<R>) -> Result<R> {
        let rested = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match rested {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let result = work(&mut connection);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        result
    }

    fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let cache_kib = i64::try_from(self.cache_bytes / 1024)?;
        connection.pragma_update(None, "cache_size", -cache_kib)?;
        Ok(connection)
    }

    /// Work that writes, one at a time.
    fn write_with<R>(&self, work: impl FnOnce(&mut Connection) -> Result<R>) -> Result<R> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.with(work)
    }

    fn execute(&self, statement: &str) -> Result<()> {
        self.write_with(|connection| Ok(connection.execute_batch(statement)?))
    }
}

impl Engine for Sqlite {
    fn write(&self, batch: &Batch<'_>) -> Result<()> {
        self.write_with(|connection| {
            let txn = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let (mut put, mut remove) = (put(&txn)?, remove(&txn)?);
                for (key, value) in batch.iter() {
                    match value {
                        Some(value) => put.execute([key, value])?,
                        None => remove.execute([key])?,
                    };
                }
            }
            Ok(txn.commit()?)
        })
    }

    fn get(&self, queries: &Queries, scope: Scope, form: Form) -> Answer<Seen> {
        let mut seen = Seen::default();
        self.with(|connection| {
            // Outside a transaction each statement is one of its own.
            let txn = match scope {
                Scope::PerGet => None,
                Scope::Long => Some(connection.unchecked_transaction()?),
            };
            let mut select = select(connection)?;
            for key in queries.iter() {
                look_up(&mut select, key, form, &mut seen)?;
            }
            drop(select);
            drop(txn);
            Ok(())
        })?;
        Ok(Some(seen))
    }

    fn scan(&self, direction: Direction) -> Answer<Seen> {
        let order = if direction == Direction::Forwards { "ASC" } else { "DESC" };
        self.with(|connection| {
            let all = format!("SELECT key, value FROM {BUCKET} ORDER BY key {order}");
            let (mut select, mut seen) = (connection.prepare_cached(&all)?, Seen::default());
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                seen.entry(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
            }
            Ok(Some(seen))
        })
    }

    fn seek(&self, queries: &Queries, entries: usize) -> Answer<Seen> {
        self.with(|connection| {
            let txn = connection.unchecked_transaction()?;
            let some = format!(
                "SELECT key, value FROM {BUCKET} WHERE key >= ?1 ORDER BY key LIMIT {entries}"
            );
            let (mut select, mut seen) = (txn.prepare_cached(&some)?, Seen::default());
            for query in queries.iter() {
                let mut rows = select.query([query])?;
                while let Some(row) = rows.next()? {
                    seen.entry(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
                }
            }
            Ok(Some(seen))
        })
    }

    fn create_and_drop(&self, name: &str) -> Answer<()> {
        self.execute(&create(name))?;
        self.execute(&format!("DROP TABLE {name}")).map(Some)
    }

    fn drop_bucket(&self) -> Answer<()> {
        self.execute(&format!("DROP TABLE {BUCKET}")).map(Some)
    }

    fn mixed(&self, queries: &Queries) -> Answer<()> {
        self.write_with(|connection| {
            let txn = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut seen = Seen::default();
                let (mut put, mut remove, mut select) = (put(&txn)?, remove(&txn)?, select(&txn)?);
                for key in queries.iter() {
                    put.execute([key, MIXED_VALUE])?;
                    put.execute([key, MIXED_VALUE])?;
                    look_up(&mut select, key, Form::Copied, &mut seen)?;
                    remove.execute([key])?;
                }
                black_box(seen);
            }
            Ok(Some(txn.commit()?))
        })
    }

    fn compact(&mut self, directory: &Path) -> Answer<u64> {
        self.execute("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")?;
        directory_bytes(directory).map(Some)
    }
}
