//! The names of the invariants (layer L0).
//!
//! Owns: one variant for each heading of `docs/invariants.md`, and the macro that asserts one.
//! Must not know: anything else of the crate.
//! Keeps: every name is used by code and by a test (`tests/invariants.rs` checks it).

use std::fmt;

macro_rules! invariants {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The name of an invariant of the store.
        ///
        /// Each variant is a heading of `docs/invariants.md`, where its statement, its reason and
        /// the checks behind it stand. Corruption errors and verification reports carry it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Invariant {
            $($(#[$doc])* $variant,)*
        }

        impl Invariant {
            /// Every invariant, in the order of the document.
            pub const ALL: &'static [Invariant] = &[$(Invariant::$variant,)*];

            /// The heading in `docs/invariants.md`, in kebab case.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Invariant::$variant => $name,)*
                }
            }
        }
    };
}

invariants! {
    /// A page's checksum covers every byte of it but the checksum itself.
    ChecksumCoversPage = "checksum-covers-page",
    /// A page holds the id of the place where it lies.
    PageKnowsItsId = "page-knows-its-id",
    /// A parent holds the checksum of each child.
    ParentHoldsChecksum = "parent-holds-checksum",
    /// A child was written by its parent's transaction or by an earlier one.
    ChildNotNewer = "child-not-newer",
    /// Keys ascend strictly within a page and along the leaves.
    SortedKeys = "sorted-keys",
    /// A separator bounds the keys of the children on its two sides.
    SeparatorsBoundChildren = "separators-bound-children",
    /// All leaves of a tree lie at the same depth.
    UniformDepth = "uniform-depth",
    /// The cells of a page lie inside it and do not overlap.
    CellsDisjoint = "cells-disjoint",
    /// A tree's stored counts are the counts of what it holds.
    EntryCount = "entry-count",
    /// Every page of the file has exactly one owner.
    PageOwnedOnce = "page-owned-once",
    /// A page is not written again while a state that may be read can reach it.
    NoReuseWhileReachable = "no-reuse-while-reachable",
    /// Replaying the space log gives the free pages.
    SpaceLogReplays = "space-log-replays",
    /// A page of a committed state is never changed.
    CommittedPagesImmutable = "committed-pages-immutable",
    /// The meta page lists what its commit wrote, or was written after a data barrier.
    MetaListsPages = "meta-lists-pages",
    /// A commit writes the meta slot that does not hold the newest durable state.
    SlotsAlternate = "slots-alternate",
    /// Transaction ids increase by one from commit to commit.
    TxnIdsIncrease = "txn-ids-increase",
    /// A meta page is accepted only when all that it lists is whole.
    ValidMetaWhole = "valid-meta-whole",
    /// A commit returns success only when it is durable.
    DurableBeforeOk = "durable-before-ok",
    /// After a crash the file holds the state before or after each commit.
    CommitAtomic = "commit-atomic",
    /// At most one write transaction runs at a time.
    OneWriter = "one-writer",
    /// A snapshot never changes while it lives.
    SnapshotStable = "snapshot-stable",
    /// Readers see durable states only, in order.
    PublishAfterDurable = "publish-after-durable",
    /// The cache holds what the file holds, or will hold when the flush ends.
    CacheCoherent = "cache-coherent",
    /// An open transaction commits only if nobody changed what it has seen or written.
    FirstCommitterWins = "first-committer-wins",
    /// Bytes from outside lead to values or to typed errors.
    BytesNeverPanic = "bytes-never-panic",
    /// After a failed sync the store acknowledges nothing more.
    FailedSyncPoisons = "failed-sync-poisons",
    /// A transaction or cursor that met an error keeps failing.
    ErrorsStick = "errors-stick",
    /// The same calls write the same bytes.
    SameCallsSameBytes = "same-calls-same-bytes",
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Asserts a named invariant of our own code, in release builds too.
///
/// A failure is a defect of this crate, never the consequence of bytes read from a file.
macro_rules! invariant {
    ($name:ident, $condition:expr) => {
        assert!($condition, "invariant {} violated", $crate::invariant::Invariant::$name)
    };
    ($name:ident, $condition:expr, $($context:tt)+) => {
        assert!(
            $condition,
            "invariant {} violated: {}",
            $crate::invariant::Invariant::$name,
            format_args!($($context)+)
        )
    };
}
pub(crate) use invariant;
