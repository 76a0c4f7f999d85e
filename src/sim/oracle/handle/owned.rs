//! Carrying owned transactions out on a store (part of the oracle, layer L8).
//!
//! Owns: what a step does to a bucket of one. Must not know: what the right answer is.
//! Keeps: a reply is made of what the store returned.

use super::awaited::read_later;
use super::{Runner, bytes_of, caught, entry, finish, read_ends};
use crate::TxnBucket;
use crate::error::{Error, Result};
use crate::sim::oracle::op::{Answer, By, Data, Exec, Peek, Read, Reply, Step, Write};

impl Runner<'_> {
    pub(super) fn owned(&mut self, by: By, exec: &Exec) -> Reply {
        let db = self.db;
        let mut steps = Vec::new();
        let end = caught(|| match by {
            By::Begin => {
                let txn = db.begin();
                self.steps(&mut txn.bucket(&exec.bucket)?, exec, by, &mut steps)?;
                txn.commit()
            }
            By::Transact => {
                db.transact(|txn| self.steps(&mut txn.bucket(&exec.bucket)?, exec, by, &mut steps))
            }
        });
        Reply { steps, end }
    }

    fn steps(
        &mut self,
        bucket: &mut TxnBucket<'_>,
        exec: &Exec,
        by: By,
        answers: &mut Vec<Result<Answer>>,
    ) -> Result<()> {
        for step in &exec.steps {
            answers.push(match step {
                Step::Peek(Peek::Nest(op)) if by == By::Begin => {
                    Ok(Answer::Reply(Box::new(self.run(op))))
                }
                Step::Peek(Peek::Nest(_)) | Step::Durability(_) => Ok(Answer::Done),
                Step::Peek(Peek::Read(read)) => look(bucket, read),
                Step::Write(write) => self.change_owned(bucket, write),
            });
        }
        finish(exec.end)
    }

    fn change_owned(&mut self, bucket: &mut TxnBucket<'_>, write: &Write) -> Result<Answer> {
        let answer = change(bucket, write)?;
        if let Some((key, value)) = read_later(write) {
            self.kept.awaited.push(bucket.get_reader(key.bytes())?, value.clone())?;
        }
        Ok(answer)
    }
}

fn look(bucket: &TxnBucket<'_>, read: &Read) -> Result<Answer> {
    match read {
        Read::Get(key) => Ok(Answer::Value(bucket.get(key.bytes())?.into())),
        Read::Contains(key) => bucket.contains(key.bytes()).map(Answer::Flag),
        Read::GetMany(keys) => {
            let get = |key: &Data| match bucket.get(key.bytes()) {
                Err(Error::NotFound) => Ok(None),
                found => found.map(|value| Some(Data::from(value))),
            };
            keys.iter().map(get).collect::<Result<_>>().map(Answer::Values)
        }
        Read::Range(start, end, ends) => {
            read_ends(bucket.range::<[u8]>((bytes_of(start), bytes_of(end))), *ends)
        }
        Read::Prefix(prefix, ends) => read_ends(bucket.prefix(prefix.bytes()), *ends),
        Read::Len => {
            let len = bucket.len();
            // In a transaction that has failed it may be any number.
            bucket.try_len().map(|_| Answer::Count(len))
        }
        Read::First => Ok(entry(bucket.first()?)),
        Read::Last => Ok(entry(bucket.last()?)),
        Read::Open { .. } | Read::Cursor(_) => Ok(Answer::Done),
    }
}

fn change(bucket: &mut TxnBucket<'_>, write: &Write) -> Result<Answer> {
    match write {
        Write::Put(key, value) => bucket.put(key.bytes(), value.bytes()).map(|()| Answer::Done),
        Write::PutFrom { key, value, source } => {
            let (len, mut reader) = (value.bytes().len() as u64, source.reader(value.bytes()));
            bucket.put_from(key.bytes(), len, &mut reader).map(|()| Answer::Done)
        }
        Write::Insert(key, value) => {
            bucket.insert(key.bytes(), value.bytes()).map(|()| Answer::Done)
        }
        Write::Update(key, value) => bucket.update(key.bytes(), value.bytes()).map(Answer::Flag),
        Write::Swap { key, expected, new } => {
            let (expected, new) =
                (expected.as_ref().map(Data::bytes), new.as_ref().map(Data::bytes));
            bucket.compare_and_swap(key.bytes(), expected, new).map(Answer::Flag)
        }
        Write::BulkLoad(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.bytes(), value.bytes()));
            bucket.bulk_load(entries).map(Answer::Count)
        }
        Write::Del(key) => bucket.del(key.bytes()).map(|()| Answer::Done),
        Write::DeleteRange(start, end) => {
            bucket.delete_range::<[u8]>((bytes_of(start), bytes_of(end))).map(Answer::Count)
        }
    }
}
