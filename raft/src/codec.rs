//! Values as bytes.
//!
//! Owns: the choice of `MessagePack`, which is compact, and knows its types, with the names of
//! fields, so that whatever serde can derive for an application's types can be read back: without
//! names, a field that is left out moves the next ones to its place. Limits: as with JSON,
//! `Some(None)` is read as `None`, and so is `Some(())`. Records without names are still read.

use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes of a value.
pub(crate) fn encode<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(value).map_err(|error| Error::Encoding { what, why: error.to_string() })
}

/// The value of some bytes, all of which must belong to it.
pub(crate) fn decode<T: DeserializeOwned>(what: &'static str, mut bytes: &[u8]) -> Result<T> {
    let value = rmp_serde::from_read(&mut bytes).map_err(|error| Error::damaged(what, error))?;
    if bytes.is_empty() {
        return Ok(value);
    }
    Err(Error::damaged(what, format_args!("{} bytes are left over", bytes.len())))
}
