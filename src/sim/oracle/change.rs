//! Changes of a bucket (part of the oracle, layer L8).
//!
//! Owns: what a [`Write`] does and answers. Must not know: transactions.
//! Keeps: a change that is refused leaves all as it was.

use super::contents::keys_in;
use super::op::{Answer, Data, Write};
use super::{Effect, Oracle};
use crate::error::{Error, Result};
use std::cmp::Ordering;
use std::sync::Arc;

/// Refuses a key of a bulk load that is not above the one before.
pub(super) fn check_ascends(last: Option<&Data>, key: &Data) -> Result<()> {
    match last.map(|last| last.cmp(key)) {
        Some(Ordering::Equal) => Err(Error::Duplicate),
        Some(Ordering::Greater) => Err(Error::Invalid),
        Some(Ordering::Less) | None => Ok(()),
    }
}

impl Oracle {
    pub(super) fn write(
        &mut self,
        name: &Arc<str>,
        write: &Write,
        effect: &mut Effect,
    ) -> Result<Answer> {
        let bucket = self.now.bucket(name).expect("the bucket was made");
        let (key, value) = match write {
            Write::DeleteRange(start, end) => {
                let keys = keys_in(bucket, start, end);
                for key in &keys {
                    self.change(name, key, None, effect);
                }
                return Ok(Answer::Count(keys.len() as u64));
            }
            Write::BulkLoad(entries) => return self.bulk_load(name, entries, effect),
            Write::Swap { key, expected, new } => {
                self.check_key(key)?;
                let is_met = bucket.get(key) == expected.as_ref();
                if is_met && (expected, new) != (&None, &None) {
                    self.change(name, key, new.as_ref(), effect);
                }
                return Ok(Answer::Flag(is_met));
            }
            Write::PutFrom { key, value, source } => {
                self.check_key(key)?;
                source.check(value.bytes().len())?;
                (key, Some(value))
            }
            Write::Put(key, value) | Write::Insert(key, value) | Write::Update(key, value) => {
                (key, Some(value))
            }
            Write::Del(key) => (key, None),
        };
        self.check_key(key)?;
        let is_there = self.now.bucket(name).is_some_and(|bucket| bucket.contains_key(key));
        match write {
            Write::Insert(..) if is_there => return Err(Error::Duplicate),
            Write::Update(..) if !is_there => return Ok(Answer::Flag(false)),
            Write::Del(..) if !is_there => return Err(Error::NotFound),
            _ => {}
        }
        self.change(name, key, value, effect);
        let is_update = matches!(write, Write::Update(..));
        Ok(if is_update { Answer::Flag(true) } else { Answer::Done })
    }

    /// All entries, if their keys ascend and lie behind the last one; or none.
    fn bulk_load(
        &mut self,
        name: &Arc<str>,
        entries: &[(Data, Data)],
        effect: &mut Effect,
    ) -> Result<Answer> {
        let bucket = self.now.bucket(name).expect("the bucket was made");
        let mut last = bucket.last_key_value().map(|(key, _)| key);
        for (key, _) in entries {
            self.check_key(key)?;
            check_ascends(last, key)?;
            last = Some(key);
        }
        for (key, value) in entries {
            self.change(name, key, Some(value), effect);
        }
        Ok(Answer::Count(entries.len() as u64))
    }

    fn change(&mut self, name: &Arc<str>, key: &Data, value: Option<&Data>, effect: &mut Effect) {
        let undo = self.running.as_mut().expect("a write transaction runs");
        self.now.set(name, key, value, undo);
        *effect = Effect::Changed;
    }
}
