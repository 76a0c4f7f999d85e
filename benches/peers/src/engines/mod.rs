//! The engines that are compared.

#[cfg(feature = "lmdb")]
mod lmdb;
mod map;
mod ours;
#[cfg(feature = "redb")]
mod redb;

use crate::engine::Peer;

/// The name under which this project's own store runs.
pub const OURS: &str = "ours";

/// All engines that are compiled in, ours first.
pub fn all() -> Vec<Peer> {
    vec![
        ours::PEER,
        #[cfg(feature = "lmdb")]
        lmdb::PEER,
        #[cfg(feature = "redb")]
        redb::PEER,
        map::PEER,
    ]
}
