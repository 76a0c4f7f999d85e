//! Values as bytes.
//!
//! Owns: the choice of `MessagePack`, which is compact, and knows its types, with the names of
//! fields, so that whatever serde can derive for an application's types can be read back: without
//! names, a field that is left out moves the next ones to its place. Limits: as with JSON,
//! `Some(None)` is read as `None`, and so is `Some(())`. Records without names are still read.
//!
//! Reading goes down a stack, and a record says how deep. So maps and arrays that nest too deep are
//! refused before: where they are read, by whomever they were written, and where they are written,
//! since nobody could read them again.

use crate::error::{Error, Result};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

/// How deep maps and arrays may nest in a record: as deep as `serde_json` has it. A level takes
/// some KiB of stack in a program that is not optimised, and tokio's threads have 2 MiB.
const DEPTH_MAX: usize = 128;

/// The bytes of a value.
pub(crate) fn encode<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>> {
    let failed = |why: String| Error::Encoding { what, why };
    let bytes = rmp_serde::to_vec_named(value).map_err(|error| failed(error.to_string()))?;
    step_over(&bytes).map_err(|error| failed(error.to_string()))?;
    Ok(bytes)
}

/// Reads a record for nothing but its form. A type does not count its variants, which nest as well.
fn step_over(bytes: &[u8]) -> std::result::Result<(), rmp_serde::decode::Error> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(DEPTH_MAX + 1);
    IgnoredAny::deserialize(&mut reader).map(drop)
}

/// The value of some bytes, all of which must belong to it.
pub(crate) fn decode<T: DeserializeOwned>(what: &'static str, mut bytes: &[u8]) -> Result<T> {
    step_over(bytes).map_err(|error| Error::damaged(what, error))?;
    let value = rmp_serde::from_read(&mut bytes).map_err(|error| Error::damaged(what, error))?;
    if bytes.is_empty() {
        return Ok(value);
    }
    Err(Error::damaged(what, format_args!("{} bytes are left over", bytes.len())))
}
