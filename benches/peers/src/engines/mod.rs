//! The engines that are compared.

#[cfg(feature = "canopydb")]
mod canopy;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "lmdb")]
mod lmdb;
mod map;
mod ours;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "seed")]
mod seed;
#[cfg(feature = "sqlite")]
mod sqlite;

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
        #[cfg(feature = "seed")]
        seed::PEER,
        #[cfg(feature = "canopydb")]
        canopy::PEER,
        #[cfg(feature = "sqlite")]
        sqlite::PEER,
        #[cfg(feature = "fjall")]
        fjall::PEER,
        map::PEER,
    ]
}
