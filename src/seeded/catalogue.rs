//! The seeded bugs by name (part of seeded, layer L0).
//!
//! Owns: [`Bug`]. Must not know: which of them are on. Keeps: nothing of its own.

use crate::invariant::Invariant;

macro_rules! bugs {
    ($($(#[$doc:meta])* $bug:ident = $name:literal breaks $invariant:ident,)*) => {
        /// A seeded bug: the shape of a real one, and where that comes from.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $($(#[$doc])* $bug,)*
        }

        impl Bug {
            /// Every bug.
            pub const ALL: &'static [Bug] = &[$(Bug::$bug,)*];

            /// The name in kebab case, as in `docs/invariants.md`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Bug::$bug => $name,)*
                }
            }

            /// The invariant that it breaks; of a broken checker, the one it is blind for.
            pub const fn breaks(self) -> Invariant {
                match self {
                    $(Bug::$bug => Invariant::$invariant,)*
                }
            }
        }
    };
}

bugs! {
    /// The checksum ends where the used bytes end: what comes behind is trusted.
    ChecksumOverUsedBytes = "checksum-over-used-bytes" breaks ChecksumCoversPage,
    /// A page is taken without its checksum being computed (a flipped bit came back as data).
    ChecksumNotCompared = "checksum-not-compared" breaks ChecksumCoversPage,
    /// The writer leaves the zeros behind a large value out of its checksum, the reader not.
    RunChecksumWithoutPadding = "run-checksum-without-padding" breaks ChecksumCoversPage,
    /// The pieces of a large value are all written where the first belongs.
    EarlyPiecesAtOnePlace = "early-pieces-at-one-place" breaks ChecksumCoversPage,
    /// A page is taken whatever id it holds (misdirected writes).
    IdNotCompared = "id-not-compared" breaks PageKnowsItsId,
    /// The id is written into the page when its checksum is computed already.
    IdStampedAfterChecksum = "id-stamped-after-checksum" breaks PageKnowsItsId,
    /// Only the page's own checksum counts: a lost write leaves an old page (SQLite, LMDB).
    ChildChecksumNotCompared = "child-checksum-not-compared" breaks ParentHoldsChecksum,
    /// A page of the space log is taken for what points to it means, whatever it holds.
    LogPageNotCompared = "log-page-not-compared" breaks ParentHoldsChecksum,
    /// The parent gets its child's place, but the checksum that the child had before.
    ParentSealedBeforeChild = "parent-sealed-before-child" breaks ParentHoldsChecksum,
    /// A large value is handed out unchecked (a flipped bit in one came back as data).
    RunChecksumNotCompared = "run-checksum-not-compared" breaks ParentHoldsChecksum,
    /// A large value that was found damaged is kept, and handed out the next time.
    DamagedRunKept = "damaged-run-kept" breaks ParentHoldsChecksum,
    /// An increment begins a transaction too late: what the first one behind its base wrote is
    /// missing.
    IncrementMissesTheNext = "increment-misses-the-next" breaks ParentHoldsChecksum,
    /// An increment has the leaf that refers to a large value, and not the value.
    IncrementMissesRuns = "increment-misses-runs" breaks ParentHoldsChecksum,
    /// A page of a later transaction is taken below an older parent.
    ChildTxnNotCompared = "child-txn-not-compared" breaks ChildNotNewer,
    /// Two keys with one head are equal when one ends within it: a key and its padded twin.
    HeadTieIgnoresLength = "head-tie-ignores-length" breaks SortedKeys,
    /// Keys with one head are ordered by length before bytes.
    TiedHeadsCompareByLength = "tied-heads-compare-by-length" breaks SortedKeys,
    /// Keys of one length that share prefix and head are taken for the same: a short cut that
    /// compares less than the way it stands for.
    RestsNotCompared = "rests-not-compared" breaks SortedKeys,
    /// The index of one tree is taken for that of each other.
    IndexOfAnotherTree = "index-of-another-tree" breaks SortedKeys,
    /// An index takes the head of a key for the key: one that begins like a separator is looked
    /// for in front of it.
    IndexBelievesHeads = "index-believes-heads" breaks SortedKeys,
    /// The entry in the middle of a split goes to neither half.
    SplitDropsMiddleEntry = "split-drops-middle-entry" breaks SortedKeys,
    /// The first entry that a leaf has no room for, when a compaction fills it, goes nowhere.
    FillingDropsTheNext = "filling-drops-the-next" breaks SortedKeys,
    /// The shared prefix of a page is taken one byte too long (prefix truncation, in
    /// changelogs).
    PrefixCutOneTooLong = "prefix-cut-one-too-long" breaks SortedKeys,
    /// A key that does not begin with the page's prefix is inserted as if it did.
    PrefixKeptThoughAKeyLeavesIt = "prefix-kept-though-a-key-leaves-it" breaks SortedKeys,
    /// A leaf with a plan that somebody looked at is sealed as it was seen, and the plan
    /// carried out once more.
    PlanCarriedOutTwice = "plan-carried-out-twice" breaks SortedKeys,
    /// The separator is the last key of the left half, which then is looked for on the right.
    SeparatorIsLeftMaximum = "separator-is-left-maximum" breaks SeparatorsBoundChildren,
    /// A leaf that a compaction filled from its neighbour keeps the separator it had.
    FilledLeafKeepsItsBound = "filled-leaf-keeps-its-bound" breaks SeparatorsBoundChildren,
    /// Of the entries that a leaf hands over to its neighbour it keeps one.
    HandedOverEntryStays = "handed-over-entry-stays" breaks SeparatorsBoundChildren,
    /// Two branches are merged without the separator between them.
    MergeDropsSeparator = "merge-drops-separator" breaks SeparatorsBoundChildren,
    /// With an empty child the separator on its other side is removed.
    RemovedChildTakesWrongSeparator = "removed-child-takes-wrong-separator"
        breaks SeparatorsBoundChildren,
    /// Two branches share their children anew, one child off.
    RebalanceOffByOne = "rebalance-off-by-one" breaks SeparatorsBoundChildren,
    /// A child of any level is taken.
    LevelNotCompared = "level-not-compared" breaks UniformDepth,
    /// A branch may point to itself (a cyclic pointer overflowed the stack, in a tracker).
    CyclicChildAccepted = "cyclic-child-accepted" breaks UniformDepth,
    /// A root of one child gives way to it, but keeps its own level.
    CollapseSkipsALevel = "collapse-skips-a-level" breaks UniformDepth,
    /// A removed cell's bytes are not counted as dead.
    DeadBytesNotCounted = "dead-bytes-not-counted" breaks CellsDisjoint,
    /// A cell may begin one byte too near to the page's end.
    CellBoundOffByOne = "cell-bound-off-by-one" breaks CellsDisjoint,
    /// When a page's heap is compacted, its last cell is left behind.
    CompactionForgetsLastCell = "compaction-forgets-last-cell" breaks CellsDisjoint,
    /// A page of a large value is taken for one of a tree whose parent names it so.
    RunTakenForNode = "run-taken-for-node" breaks CellsDisjoint,
    /// The number of slots is not held against the page (65,536 entries in one leaf, in an
    /// issue tracker).
    CountTrusted = "count-trusted" breaks CellsDisjoint,
    /// The last entry of a leaf is removed, the leaf stays.
    EmptyLeafLeft = "empty-leaf-left" breaks CellsDisjoint,
    /// An overwritten entry is counted as a new one.
    OverwriteCountsTwice = "overwrite-counts-twice" breaks EntryCount,
    /// A leaf with a plan that meets its next entry is copied without the first.
    PlanForgottenByTheNextChange = "plan-forgotten-by-the-next-change" breaks EntryCount,
    /// The pages of a large value that is replaced stay in the count.
    ReplacedRunNotSubtracted = "replaced-run-not-subtracted" breaks EntryCount,
    /// The number of buckets is not taken down with one.
    DroppedBucketStillCounted = "dropped-bucket-still-counted" breaks EntryCount,
    /// A transaction that only touches a missing bucket does not make it (a changelog).
    TouchMakesNoBucket = "touch-makes-no-bucket" breaks EntryCount,
    /// Two large values of one transaction get one number.
    LargeValuesShareHandle = "large-values-share-handle" breaks CommitAtomic,
    /// What a transaction gave up stays given up when it panics (pages leaked for good, redb).
    LeakOnPanic = "leak-on-panic" breaks PageOwnedOnce,
    /// What a transaction gave up stays given up when its closure fails.
    LeakOnFailedClosure = "leak-on-failed-closure" breaks PageOwnedOnce,
    /// The pages of a large value are not given up with it.
    ReplacedRunNotFreed = "replaced-run-not-freed" breaks PageOwnedOnce,
    /// A leaf that lost entries and became the root gives up the value of another entry.
    PlannedRootTakenForBuilt = "planned-root-taken-for-built" breaks PageOwnedOnce,
    /// A leaf that is held with a plan is not given up, unlike one that is copied.
    PlannedLeafNotFreed = "planned-leaf-not-freed" breaks PageOwnedOnce,
    /// What is set aside behind the end of the file does not count, and is set aside again.
    SecondEarlyRunOverlapsTheFirst = "second-early-run-overlaps-the-first"
        breaks PageOwnedOnce,
    /// A commit that cut the file off and failed frees what was set aside behind its end
    /// meanwhile.
    UndoneCutFreesWhatIsSetAside = "undone-cut-frees-what-is-set-aside"
        breaks PageOwnedOnce,
    /// A large value that came to nothing keeps the pages that were set aside for it.
    DroppedEarlyRunLeaks = "dropped-early-run-leaks" breaks PageOwnedOnce,
    /// Growth takes what was set aside behind the end of the file for free.
    GrowthFreesWhatIsSetAside = "growth-frees-what-is-set-aside" breaks PageOwnedOnce,
    /// A dropped bucket gives up its branches only.
    DroppedBucketLeaksLeaves = "dropped-bucket-leaks-leaves" breaks PageOwnedOnce,
    /// A dropped bucket keeps the pages of its large values.
    DroppedBucketLeaksRuns = "dropped-bucket-leaks-runs" breaks PageOwnedOnce,
    /// A page that the space log drops is not given up.
    DroppedLogPageLeaks = "dropped-log-page-leaks" breaks PageOwnedOnce,
    /// Free extents melt over a page in use (compact corrupted data, 25 of 25 seeds).
    ExtentsMergedOverAGap = "extents-merged-over-a-gap" breaks PageOwnedOnce,
    /// A commit that failed does not give back what it allocated (ENOSPC left the allocator
    /// dirty).
    UndoForgetsAllocations = "undo-forgets-allocations" breaks PageOwnedOnce,
    /// A commit that failed leaves pending what it gave up.
    UndoForgetsFrees = "undo-forgets-frees" breaks PageOwnedOnce,
    /// A commit that failed leaves the file longer than the log says.
    UndoForgetsGrowth = "undo-forgets-growth" breaks PageOwnedOnce,
    /// A commit that failed is not undone in the free space at all.
    NoSpaceLeavesAllocatorDirty = "no-space-leaves-allocator-dirty" breaks PageOwnedOnce,
    /// Compaction moves a large value and forgets its old pages.
    CompactionLosesRun = "compaction-loses-run" breaks PageOwnedOnce,
    /// A leaf that a compaction emptied into the one before is not given up.
    EmptiedLeafLeaks = "emptied-leaf-leaks" breaks PageOwnedOnce,
    /// A page is reused by the commit that gives it up.
    FreedAndReusedAtOnce = "freed-and-reused-at-once" breaks NoReuseWhileReachable,
    /// A page is reused one commit after it was given up, while a slot still holds a state with
    /// it.
    ReusedOneCommitEarly = "reused-one-commit-early" breaks NoReuseWhileReachable,
    /// After a reopen, what the last commit gave up is free at once (free and pending merged on
    /// disk).
    ReplayFreesAtOnce = "replay-frees-at-once" breaks NoReuseWhileReachable,
    /// A snapshot taken at a page's birth does not hold the page.
    PinnedBoundOffByOne = "pinned-bound-off-by-one" breaks NoReuseWhileReachable,
    /// What a reader is older than is taken for younger than those that come after it.
    YoungPagesOutliveTheirReader = "young-pages-outlive-their-reader" breaks
        NoReuseWhileReachable,
    /// Pages that were written before their commit, and read, count as if nobody had had them.
    AdoptedPagesAreYoung = "adopted-pages-are-young" breaks NoReuseWhileReachable,
    /// The oldest of the readers is not counted.
    OldestReaderForgotten = "oldest-reader-forgotten" breaks NoReuseWhileReachable,
    /// Slots are looked at when the table of pins is not locked any more: a reader that goes
    /// from its slot to the table meanwhile is seen in neither.
    PinsReadBeforeSlots = "pins-read-before-slots" breaks NoReuseWhileReachable,
    /// A reader looks its state up first and registers later (reader tables, in changelogs).
    ReaderRegistersAfterRootRead = "reader-registers-after-root-read"
        breaks NoReuseWhileReachable,
    /// A reader that got no slot looks its state up first and is listed later.
    ReaderListedAfterRootRead = "reader-listed-after-root-read" breaks NoReuseWhileReachable,
    /// A commit for a compaction does not ask who reads.
    CompactionIgnoresPins = "compaction-ignores-pins" breaks NoReuseWhileReachable,
    /// In a store that was restored page by page, the pages of large values count as free.
    RestoredRunsAreFree = "restored-runs-are-free" breaks NoReuseWhileReachable,
    /// The log does not say what a commit allocated.
    AllocationNotLogged = "allocation-not-logged" breaks SpaceLogReplays,
    /// The log does not say what a commit gave up (20 KB leaked at each reopen).
    FreeingNotLogged = "freeing-not-logged" breaks SpaceLogReplays,
    /// A state is written with the log's tail of the state before.
    FreeListPersistedLate = "free-list-persisted-late" breaks SpaceLogReplays,
    /// A log page is dropped before the sweep has come around.
    LogPageDroppedEarly = "log-page-dropped-early" breaks SpaceLogReplays,
    /// A snapshot in the log names the free pages and not the pending ones.
    SnapshotMissesPending = "snapshot-misses-pending" breaks SpaceLogReplays,
    /// A snapshot in the log counts as used what is set aside.
    SnapshotMissesWhatIsSetAside = "snapshot-misses-what-is-set-aside"
        breaks SpaceLogReplays,
    /// The log says that the file grew after it says what the new pages hold.
    ResizeAfterAllocation = "resize-after-allocation" breaks SpaceLogReplays,
    /// A large commit's meta page is not kept back until its data is durable.
    MetaBeforeData = "meta-before-data" breaks MetaListsPages,
    /// The list in the meta page leaves out pages of the space log.
    ListMissesLogPage = "list-misses-log-page" breaks MetaListsPages,
    /// The list in the meta page leaves out the pages of large values.
    ListMissesRun = "list-misses-run" breaks MetaListsPages,
    /// The list in the meta page leaves out large values that were written before.
    ListMissesEarlyRun = "list-misses-early-run" breaks MetaListsPages,
    /// A large commit does without the second barrier, which shows a failure that is told late.
    LateFailureBelieved = "late-failure-believed" breaks MetaListsPages,
    /// Every commit writes the same slot.
    SameSlotTwice = "same-slot-twice" breaks SlotsAlternate,
    /// A commit that failed turns the slots, so that the next writes over the newest state.
    SlotTurnsOnFailure = "slot-turns-on-failure" breaks SlotsAlternate,
    /// Closing writes the copy into the slot of the original.
    MirrorOverwritesNewest = "mirror-overwrites-newest" breaks SlotsAlternate,
    /// The file is cut while the older slot's state still has pages there.
    CutBeforeBothSlotsForget = "cut-before-both-slots-forget" breaks CommittedPagesImmutable,
    /// Sealed pages stay where they were before they were changed.
    SealedWhereItWas = "sealed-where-it-was" breaks CommittedPagesImmutable,
    /// Some commits leave a number out.
    TxnNumberLeftOut = "txn-number-left-out" breaks TxnIdsIncrease,
    /// Of two states that do not follow each other the older one is taken for the newer, whose
    /// commit was torn.
    LostStatesPassedOver = "lost-states-passed-over" breaks TxnIdsIncrease,
    /// A transaction that changes nothing makes a commit.
    NoOpMovesSequence = "no-op-moves-sequence" breaks TxnIdsIncrease,
    /// A commit returns before its last sync.
    AcknowledgedBeforeSync = "acknowledged-before-sync" breaks DurableBeforeOk,
    /// The file grew, its size is not made durable (header without growth: a foreign engine did
    /// not open).
    GrowthNotFenced = "growth-not-fenced" breaks DurableBeforeOk,
    /// Growth to a length that is less than the file has already (a compaction that crashed).
    GrowthCutsTheFile = "growth-cuts-the-file" breaks NoReuseWhileReachable,
    /// Growth of a commit that failed counts as durable.
    FailedGrowthBelieved = "failed-growth-believed" breaks DurableBeforeOk,
    /// Growth for a large value of the running transaction counts as durable.
    EarlyGrowthBelieved = "early-growth-believed" breaks DurableBeforeOk,
    /// A large value in what a commit under way adds to the file: another's growth cuts it off.
    GrowthUnderWayBelieved = "growth-under-way-believed" breaks DurableBeforeOk,
    /// The name of a new file is not made durable (ALICE).
    DirectoryNotSyncedOnCreate = "directory-not-synced-on-create" breaks DurableBeforeOk,
    /// A copy that got its name is reported before the name is durable.
    NameOfACopyNotSynced = "name-of-a-copy-not-synced" breaks DurableBeforeOk,
    /// A store that was restored page by page gets its name before its pages are durable.
    ImageNotSynced = "image-not-synced" breaks DurableBeforeOk,
    /// That a copy may have a name that is not durable, since its maker was killed, is not
    /// looked for.
    MarkOfACopyIgnored = "mark-of-a-copy-ignored" breaks DurableBeforeOk,
    /// A new file gets its name before its bytes are durable (ALICE).
    FileNotSyncedOnCreate = "file-not-synced-on-create" breaks ValidMetaWhole,
    /// A new file is written under its own name (8,192 zero bytes that never opened again).
    CreatedInPlace = "created-in-place" breaks ValidMetaWhole,
    /// A store that does not open is written over when another is made under its name.
    DamagedStoreWrittenOver = "damaged-store-written-over" breaks ValidMetaWhole,
    /// Who waits for another's flush returns before it has ended.
    FollowerReturnsEarly = "follower-returns-early" breaks DurableBeforeOk,
    /// Who was told Ok before a flush is not told that it failed (fsync errors that no
    /// descriptor reports).
    LossNotTold = "loss-not-told" breaks DurableBeforeOk,
    /// A sync waits for what others wait for, and not for what nobody does.
    SyncSkipsDeferred = "sync-skips-deferred" breaks DurableBeforeOk,
    /// Entries that go behind the last one without a way down do not count against the limit
    /// of what may wait.
    AppendedRunNotCounted = "appended-run-not-counted" breaks DurableBeforeOk,
    /// A store is closed without what nobody waits for.
    CloseForgetsDeferred = "close-forgets-deferred" breaks DurableBeforeOk,
    /// A commit is written over the copy of a state whose original is damaged.
    DamagedOriginalTrusted = "damaged-original-trusted" breaks SlotsAlternate,
    /// A meta page is accepted without a look at what it lists (one sync for data and meta).
    ListNotChecked = "list-not-checked" breaks ValidMetaWhole,
    /// A listed page counts as whole when it is some whole page.
    ListCheckedByPageOnly = "list-checked-by-page-only" breaks ValidMetaWhole,
    /// A meta page is accepted though the file is shorter than it says.
    FileLengthNotChecked = "file-length-not-checked" breaks ValidMetaWhole,
    /// Recovery takes the older of two whole states (durable commits rolled back).
    OlderSlotPreferred = "older-slot-preferred" breaks ValidMetaWhole,
    /// A refused slot may come back to life when its pages are written again.
    RejectedSlotLeftAlone = "rejected-slot-left-alone" breaks ValidMetaWhole,
    /// A refused slot gets a copy of the accepted state before it was emptied: a recovery that
    /// fails between them looks like a clean close.
    RefusedSlotNotEmptied = "refused-slot-not-emptied" breaks ValidMetaWhole,
    /// Recovery syncs without writing again what a failed sync left clean in the cache
    /// (ATC'20).
    RecoveryTrustsPageCache = "recovery-trusts-page-cache" breaks FailedSyncPoisons,
    /// Recovery writes again and does not sync.
    RecoveryNotFenced = "recovery-not-fenced" breaks FailedSyncPoisons,
    /// An open for reading mends the file.
    RecoveryWritesReadOnly = "recovery-writes-read-only" breaks ValidMetaWhole,
    /// A store that was opened for reading writes when it is closed.
    ReadOnlyCloseWrites = "read-only-close-writes" breaks ValidMetaWhole,
    /// Recovery writes again what the newest commit wrote, and not the one before, whose
    /// failure the device may have told late.
    OlderCommitNotWrittenAgain = "older-commit-not-written-again" breaks FailedSyncPoisons,
    /// Closing writes a copy before a failure that is told late can show.
    MirrorBeforeFence = "mirror-before-fence" breaks FailedSyncPoisons,
    /// An owned transaction commits a value that it wrote before another's flush failed, which
    /// may have taken it.
    EarlyRunOutlivesAFailure = "early-run-outlives-a-failure" breaks DurableBeforeOk,
    /// A commit without pages of its own has no barrier in front, where there are two: a
    /// failure of the one before is told when the slot before that is written over.
    NoBarrierWithoutPages = "no-barrier-without-pages" breaks FailedSyncPoisons,
    /// Recovery writes a copy into the slot that it refused before a failure that is told late
    /// can show: the next process takes the store for one that was closed, and the refused
    /// commit may come back.
    RecoveryMirrorsBeforeFence = "recovery-mirrors-before-fence" breaks FailedSyncPoisons,
    /// A panic keeps what the transaction had installed so far (the bucket was unreadable for
    /// good).
    PanicKeepsHalf = "panic-keeps-half" breaks CommitAtomic,
    /// What an inner closure did stays when it fails and the outer one goes on.
    InnerErrorKeptInMulti = "inner-error-kept-in-multi" breaks CommitAtomic,
    /// Puts that wait at the end of an inner closure stay when it fails.
    WaitingOutlivesFailedPart = "waiting-outlives-failed-part" breaks CommitAtomic,
    /// What parts of a transaction have put is made in what earlier commits of the batch left,
    /// which is not kept as it was: the whole cannot be taken back any more.
    MadeInPlaceWithoutUndo = "made-in-place-without-undo" breaks CommitAtomic,
    /// An inner failure that the outer closure swallows destroys the bucket for good.
    InnerErrorDestroysBucket = "inner-error-destroys-bucket" breaks CommitAtomic,
    /// A later call that changes nothing brings back the bucket's old root (a changelog).
    NoOpLosesEarlierRoot = "no-op-loses-earlier-root" breaks CommitAtomic,
    /// A failed flush fails its leader, and those who wait behind it are told success.
    FailureTellsTheLeaderOnly = "failure-tells-the-leader-only" breaks CommitAtomic,
    /// The transaction after a failed flush runs on the state that failed.
    NextRunsOnFailedState = "next-runs-on-failed-state" breaks CommitAtomic,
    /// Deleting while iterating skips entries (open in one tracker since 2015).
    DeletingSkipsTheNext = "deleting-skips-the-next" breaks CommitAtomic,
    /// A leaf is held with a plan for a large value, which only a copy would keep.
    PlanKeepsNoLargeValue = "plan-keeps-no-large-value" breaks CommitAtomic,
    /// A cursor shows a leaf with a plan as it was before.
    CursorMissesAPlannedEntry = "cursor-misses-a-planned-entry" breaks CommitAtomic,
    /// An increment is put on whatever state is below it.
    IncrementTakenAnywhere = "increment-taken-anywhere" breaks CommitAtomic,
    /// The lock on the file is not held while it is open.
    LockDroppedEarly = "lock-dropped-early" breaks OneWriter,
    /// The registry of open files goes by name: a hard link is another file.
    LockedByName = "locked-by-name" breaks OneWriter,
    /// A second open of one path makes a second store.
    SecondOpenMakesSecondStore = "second-open-makes-second-store" breaks OneWriter,
    /// Whoever cannot make a copy, since somebody holds the file, removes that file.
    HeldFileRemoved = "held-file-removed" breaks OneWriter,
    /// A write transaction within another waits for it (exec in exec).
    NestedExecDeadlocks = "nested-exec-deadlocks" breaks OneWriter,
    /// The leader leaves without waking who waits.
    LeaderWakesNobody = "leader-wakes-nobody" breaks OneWriter,
    /// A cursor does not hold its state once the transaction is over.
    PinReleasedWithTransaction = "pin-released-with-transaction" breaks SnapshotStable,
    /// A clone of a snapshot does not hold its state, and lets go of it all the same.
    ClonedSnapshotUnpinned = "cloned-snapshot-unpinned" breaks SnapshotStable,
    /// Who reads a large value that was not committed does not hold its pages.
    EarlyRunLetGoUnderAReader = "early-run-let-go-under-a-reader" breaks SnapshotStable,
    /// The end of the file is given back with what is set aside there.
    EarlyRunCutOff = "early-run-cut-off" breaks SnapshotStable,
    /// A durable state is sometimes not shown to new readers.
    RefreshKeepsOldState = "refresh-keeps-old-state" breaks PublishAfterDurable,
    /// Readers see a state before it is durable.
    PublishedBeforeSync = "published-before-sync" breaks PublishAfterDurable,
    /// Readers see a state whose flush failed.
    FailedFlushPublished = "failed-flush-published" breaks PublishAfterDurable,
    /// The cache keeps the old page of an id that is written anew.
    CacheServesReusedPage = "cache-serves-reused-page" breaks CacheCoherent,
    /// Sealed pages leave memory before they are in the file.
    FlightDroppedEarly = "flight-dropped-early" breaks CacheCoherent,
    /// A large value that is being written is found by its place, whoever wrote there before.
    RunInFlightFoundByPlace = "run-in-flight-found-by-place" breaks CacheCoherent,
    /// A page is found under its id, whatever checksum the parent holds.
    PageFoundByIdAlone = "page-found-by-id-alone" breaks CacheCoherent,
    /// A frame's tag may be seen before the page that it promises.
    TagSeenBeforePage = "tag-seen-before-page" breaks CacheCoherent,
    /// A reader looks at frames without a fence behind saying so.
    ReaderEntersUnfenced = "reader-enters-unfenced" breaks CacheCoherent,
    /// A reader that looks at its next page is not known to have read the last one.
    NextLookHidesTheLast = "next-look-hides-the-last" breaks CacheCoherent,
    /// A reader that lends again is not known to come after whoever gave the last loan back.
    NextLoanHidesTheLast = "next-loan-hides-the-last" breaks CacheCoherent,
    /// Whoever empties frames passes no fence that the readers' light ones are made for.
    HeavyFenceLeftOut = "heavy-fence-left-out" breaks CacheCoherent,
    /// Whoever empties frames goes on as if the system had not denied the fence.
    DeniedFenceBelieved = "denied-fence-believed" breaks CacheCoherent,
    /// A frame is emptied though a reader looks at it.
    FrameEmptiedWhileLookedAt = "frame-emptied-while-looked-at" breaks CacheCoherent,
    /// A frame is emptied though a reader was lent a value in it.
    FrameEmptiedWhileLent = "frame-emptied-while-lent" breaks CacheCoherent,
    /// A frame is emptied though somebody holds it.
    FrameEmptiedWhileHeld = "frame-emptied-while-held" breaks CacheCoherent,
    /// Hints lie where the frames would end if they had no headers.
    HintsInAFrame = "hints-in-a-frame" breaks CacheCoherent,
    /// Only what an open transaction wrote is compared when it commits: of two that each read
    /// what the other writes, both do.
    ReadsNotCompared = "reads-not-compared" breaks FirstCommitterWins,
    /// What an open transaction writes without a look is written over what others wrote.
    WritesNotCompared = "writes-not-compared" breaks FirstCommitterWins,
    /// Keys that came into a range after an open transaction walked it are not missed.
    RangesNotCompared = "ranges-not-compared" breaks FirstCommitterWins,
    /// An open transaction is compared with what readers see, and not with commits whose
    /// flush is under way.
    ComparedWithWhatIsDurable = "compared-with-what-is-durable" breaks FirstCommitterWins,
    /// Two readers take one slot; when one leaves, the other's state is not named.
    SlotTakenTwice = "slot-taken-twice" breaks NoReuseWhileReachable,
    /// A state may be seen as the newest before its pages are.
    StateSeenBeforePages = "state-seen-before-pages" breaks PublishAfterDurable,
    /// A state that a reader holds counts as free.
    HeldVersionsNotAsked = "held-versions-not-asked" breaks NoReuseWhileReachable,
    /// A version is given up when no slot names it any more, which does not say that those who
    /// held it have read what they read: its page is written over while they do.
    VersionGivenUpUnordered = "version-given-up-unordered" breaks NoReuseWhileReachable,
    /// Pages for a large value are found among those that a reader still needs.
    EarlyRunInPendingPages = "early-run-in-pending-pages" breaks NoReuseWhileReachable,
    /// A commit that failed frees what it had adopted, though somebody may still read it.
    UndoFreesWhatWasSetAside = "undo-frees-what-was-set-aside" breaks NoReuseWhileReachable,
    /// The length of a large value is not held against the file (a length asked for terabytes).
    LengthTrustedForAllocation = "length-trusted-for-allocation" breaks BytesNeverPanic,
    /// Who sees that nobody has an index takes the right to one a step later, and so do two.
    IndexClaimedTwice = "index-claimed-twice" breaks BytesNeverPanic,
    /// A damaged page met by a read panics (an engine of this line aborted).
    CorruptPageAborts = "corrupt-page-aborts" breaks BytesNeverPanic,
    /// A short write counts as a whole one.
    ShortWriteNotLooped = "short-write-not-looped" breaks DurableBeforeOk,
    /// A short read counts as a whole one.
    ShortReadNotLooped = "short-read-not-looped" breaks BytesNeverPanic,
    /// A write of nothing is tried again for ever.
    ZeroWriteLoops = "zero-write-loops" breaks BytesNeverPanic,
    /// An interrupted call counts as a failed one.
    InterruptNotRetried = "interrupt-not-retried" breaks DurableBeforeOk,
    /// A sync that failed is tried again, and believed (fsync after EIO).
    SyncRetriedAndBelieved = "sync-retried-and-believed" breaks FailedSyncPoisons,
    /// After a failed sync the store goes on.
    PoisonForgotten = "poison-forgotten" breaks FailedSyncPoisons,
    /// A disk that is full when pages are written ends all writing, though nothing is lost.
    FullDiskPoisons = "full-disk-poisons" breaks FailedSyncPoisons,
    /// A sync that fails for want of room counts as a write that did.
    FullDiskAtASyncForgiven = "full-disk-at-a-sync-forgiven" breaks FailedSyncPoisons,
    /// That the disk failed at what it was told to begin with counts for nothing, and the next
    /// sync, which has nothing left to write, is believed.
    FailureToBeginForgotten = "failure-to-begin-forgotten" breaks FailedSyncPoisons,
    /// A cursor that met an error goes on behind it (iterators that skipped data).
    IteratorGoesOnAfterError = "iterator-goes-on-after-error" breaks ErrorsStick,
    /// A cursor that met an error ends as if all was read.
    CursorForgetsItsError = "cursor-forgets-its-error" breaks ErrorsStick,
    /// A transaction whose closure swallowed an error of the storage returns success.
    SwallowedErrorCommits = "swallowed-error-commits" breaks ErrorsStick,
    /// A removal of a range that meets an error tells what it has removed until then.
    RemovalEndsAtAFailure = "removal-ends-at-a-failure" breaks ErrorsStick,
    /// Bytes of a page that are not used any more keep what they held.
    StaleMemoryInPage = "stale-memory-in-page" breaks SameCallsSameBytes,
    /// Where a page comes to lie depends on a clock, or on the order of a hash map.
    PlacedByChance = "placed-by-chance" breaks SameCallsSameBytes,
    /// A broken checker: the comparison with the model finds no difference.
    OracleAlwaysEqual = "oracle-always-equal" breaks CommitAtomic,
    /// A broken checker: no page is ever called lost.
    AccountingAlwaysZero = "accounting-always-zero" breaks PageOwnedOnce,
    /// A broken checker: a simulated crash loses nothing.
    CrashKeepsAll = "crash-keeps-all" breaks DurableBeforeOk,
}
